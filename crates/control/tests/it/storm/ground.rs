//! What a storm goes over: a configuration in either form, with sites that stay and a server that
//! serves them.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use bindery_control::{
    api::{self, Api},
    applier::{Adopt, Applier},
    home::{Form, Home},
    steps::{Observer, Step},
    watch::{Watch, watch},
};
use bindery_model::change::{Act, Change, Fields, Place, Value};
use bindery_server::server::Server;
use bindery_testkit::{ca::TestCa, server::Sockets};
use tempfile::TempDir;
use tokio::net::UnixListener;

use super::timeline::Timeline;

/// The header by which a site says in which revision it answers.
pub(crate) const MARK: &str = "X-Mark";

/// Sites that stay, by what they are asked for.
pub(crate) const STAY: [&str; 6] = ["applier", "api", "editor", "appcmd", "netsh", "large"];

/// The site that hands on to an upstream, where the form has such sites.
pub(crate) const ECHO: &str = "echo";

/// The large file.
const LARGE_BYTES: usize = 3 * 1024 * 1024;

/// A folder with a configuration, certificates and content.
pub(crate) struct Ground {
    pub(crate) facts: Facts,
    pub(crate) large: Vec<u8>,
    /// The ports, held until they are served.
    pub(crate) sockets: Sockets,
    #[allow(dead_code, reason = "it is there as long as it lives")]
    folder: TempDir,
}

/// What who changes something has to know.
#[derive(Clone)]
pub(crate) struct Facts {
    pub(crate) folder: PathBuf,
    pub(crate) form: Form,
    /// Of TLS.
    pub(crate) port: u16,
    /// Of sites that come and go; each may be open or not.
    pub(crate) ports: Vec<u16>,
    /// SHA-1 of the two certificates.
    pub(crate) thumbprints: Vec<String>,
}

impl Facts {
    pub(crate) fn config(&self) -> PathBuf {
        self.folder.join(match self.form {
            Form::Toml => "bindery.toml",
            Form::Iis => "applicationHost.config",
        })
    }

    pub(crate) fn root(&self) -> String {
        self.folder.join("www").display().to_string()
    }

    /// A site with files, on the port of TLS and on `more`.
    pub(crate) fn site(&self, name: &str, mark: &str, more: Option<u16>) -> Change {
        let mut on = vec![text(format!("https/127.0.0.1:{}:{}", self.port, host(name)))];
        on.extend(more.map(|port| text(format!("http/127.0.0.1:{port}:{}", host(name)))));
        let keys = [
            ("root".to_owned(), text(self.root())),
            ("bindings".to_owned(), Value::List(on)),
            marked(mark),
        ];
        Change { at: place(name), act: Act::Add(Fields::from(keys)) }
    }
}

/// Where everything is served, and what was in force when.
pub(crate) struct Served {
    pub(crate) applier: Applier,
    pub(crate) timeline: Arc<Timeline>,
    #[allow(dead_code, reason = "the file is watched as long as it lives")]
    watch: Watch,
}

pub(crate) fn text(value: impl Into<String>) -> Value {
    Value::Text(value.into())
}

pub(crate) fn host(site: &str) -> String {
    format!("{site}.example")
}

pub(crate) fn place(site: &str) -> Place {
    Place::Site(site.to_owned())
}

/// What makes a site answer with a mark.
pub(crate) fn marked(mark: &str) -> (String, Value) {
    let set = Value::Table(Fields::from([(MARK.to_owned(), text(mark))]));
    ("response_headers".to_owned(), Value::Table(Fields::from([("set".to_owned(), set)])))
}

impl Ground {
    /// A new one below `folder`, with `echo` as the port of an upstream.
    pub(crate) fn new(folder: TempDir, form: Form, echo: u16) -> Self {
        let mut sockets = Sockets::new();
        let port = sockets.open("127.0.0.1");
        let ca = TestCa::new();
        let thumbprint = |name: &str| {
            let leaf = ca.leaf(&["*.example"]);
            drop(leaf.write(folder.path(), name));
            let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &leaf.certificate_der);
            hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
        };
        let thumbprints = ["one", "two"].map(thumbprint).to_vec();
        let www = folder.path().join("www");
        fs::create_dir(&www).unwrap();
        let large: Vec<u8> = (0..=250_u8).cycle().take(LARGE_BYTES).collect();
        fs::write(www.join("index.html"), "here").unwrap();
        fs::write(www.join("large.html"), &large).unwrap();
        let ports = (0..4).map(|_| crate::setup::free_port()).collect();
        let facts = Facts { folder: folder.path().to_owned(), form, port, ports, thumbprints };
        let own = Self { facts, large, sockets, folder };
        own.write_first(echo);
        own
    }

    fn write_first(&self, echo: u16) {
        let settings = "version = 1\n\n[server]\nstate_dir = \"state\" # here\n\n[[certificate]]\n\
                        name = \"one\"\nfile = \"one.pem\"\n\n[[certificate]]\nname = \"two\"\n\
                        file = \"two.pem\"\n";
        let Facts { folder, form, port, .. } = &self.facts;
        let config = self.facts.config();
        let skeleton = match form {
            Form::Toml => settings,
            Form::Iis => {
                fs::write(folder.join("bindery.toml"), settings).unwrap();
                "\u{feff}<?xml version=\"1.0\"?>\r\n<configuration>\r\n  <system.applicationHost>\r\n    \
                 <!-- kept -->\r\n    <sites>\r\n    </sites>\r\n  </system.applicationHost>\r\n\
                 </configuration>\r\n"
            }
        };
        fs::write(&config, skeleton).unwrap();
        let mut sites: Vec<_> = STAY.iter().map(|name| self.facts.site(name, "0", None)).collect();
        if *form == Form::Toml {
            let on = format!("https/127.0.0.1:{port}:{}", host(ECHO));
            let keys = Fields::from([
                ("proxy".to_owned(), text(format!("http://127.0.0.1:{echo}"))),
                ("bindings".to_owned(), Value::List(vec![text(on)])),
            ]);
            sites.push(Change { at: place(ECHO), act: Act::Add(keys) });
        }
        let home = Home::find(&config).unwrap();
        fs::write(&config, home.edit(skeleton, &sites).unwrap()).unwrap();
    }

    /// Serves it, with all doors open. Within a runtime.
    pub(crate) fn serve(&mut self) -> Served {
        serve(&self.facts.config(), &mut self.sockets)
    }
}

/// Serves a configuration, with all doors open. Within a runtime.
pub(crate) fn serve(config: &Path, sockets: &mut Sockets) -> Served {
    let timeline = Arc::new(Timeline::default());
    let told: Arc<OnceLock<Applier>> = Arc::default();
    let (told_of, kept) = (Arc::clone(&told), Arc::clone(&timeline));
    // When a change is recorded, it is the one in force, and no other is made meanwhile.
    let observer = Observer::new(move |step| {
        if let (Step::Recorded, Some(applier)) = (step, told_of.get()) {
            kept.keep(&applier.current());
        }
        Ok(())
    });
    let applier = Applier::open(Home::load(config).unwrap(), observer).unwrap();
    applier.state().unwrap();
    timeline.keep(&applier.current());
    drop(told.set(applier.clone()));
    let (proof, revision) = applier.proof();
    let prepared = sockets.prepare(&proof.configuration().table);
    let server = Server::start(proof, prepared, revision).unwrap();
    applier.serve(Arc::new(server), Box::new(|_| Ok::<Adopt, _>(Box::new(|| ()))));
    let state_dir = applier.current().state_folder();
    let socket = UnixListener::from_std(api::listen(&state_dir).unwrap()).unwrap();
    tokio::spawn(api::serve(socket, Api::new(applier.clone())));
    let watch = watch(applier.clone()).unwrap();
    Served { applier, timeline, watch }
}
