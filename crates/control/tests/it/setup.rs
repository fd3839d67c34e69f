//! A configuration in a folder of its own, with the one writer and a server that is told.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
};

use bindery_control::{
    applier::{Adopt, Applier, Outcome, Refused, Request, What},
    history::{Actor, Door},
    home::{Form, Home},
    steps::Observer,
};
use bindery_iis::netsh::records::{ApplicationId, Record, RecordChange, RecordKey};
use bindery_model::{
    binding::Endpoint,
    change::{Act, Change, Fields, Place, Value},
};
use bindery_server::server::Server;
use bindery_testkit::{http1::Http1, server::Sockets};
use tempfile::TempDir;
use tokio::net::TcpStream;

/// A folder with a configuration on a port of its own.
pub(crate) struct Setup {
    pub(crate) folder: TempDir,
    pub(crate) port: u16,
    pub(crate) form: Form,
    sockets: Sockets,
}

/// A site over plain HTTP that answers with its name.
pub(crate) fn site(name: &str, port: u16) -> String {
    format!(
        "\n[[site]]\nname = \"{name}\"\nrespond = \"{name}\"\n\
         bindings = [\"http/127.0.0.1:{port}:{name}.example\"]\n"
    )
}

/// The same, as a change.
pub(crate) fn add(name: &str, port: u16) -> Change {
    let on = Value::Text(format!("http/127.0.0.1:{port}:{name}.example"));
    let fields = Fields::from([
        ("respond".to_owned(), Value::Text(name.to_owned())),
        ("bindings".to_owned(), Value::List(vec![on])),
    ]);
    Change { at: Place::Site(name.to_owned()), act: Act::Add(fields) }
}

/// The same, and a certificate record with it.
pub(crate) fn both(name: &str, port: u16) -> What {
    let key = RecordKey::IpPort(Endpoint { address: None, port: 443 });
    let record = Record { certificate_hash: Some([7; 20]), ..Record::new(key, ApplicationId::IIS) };
    What::Both(vec![add(name, port)], vec![RecordChange::Add(record)])
}

/// Asks for something, as an administrator who is called `admin`.
pub(crate) fn request(what: What) -> Request {
    let actor = Actor { name: "admin".to_owned(), door: Door::Cli };
    Request { what, expected: None, actor, dry_run: false, force: false }
}

impl Setup {
    /// A configuration with one site, `a`.
    pub(crate) fn new() -> Self {
        Self::of(Form::Toml)
    }

    /// The same in this form.
    pub(crate) fn of(form: Form) -> Self {
        let mut sockets = Sockets::new();
        let port = sockets.open("127.0.0.1");
        let own = Self { folder: tempfile::tempdir().unwrap(), port, form, sockets };
        if form == Form::Iis {
            let companion = own.folder.path().join("bindery.toml");
            fs::write(companion, "version = 1\n[server]\nstate_dir = \"state\"\n").unwrap();
        }
        own.write(&own.text(&["a"]));
        own
    }

    /// The text of a configuration with these sites.
    pub(crate) fn text(&self, sites: &[&str]) -> String {
        let port = self.port;
        if self.form == Form::Toml {
            let sites: String = sites.iter().map(|name| site(name, port)).collect();
            return format!("version = 1\n\n[server]\nstate_dir = \"state\" # here\n{sites}");
        }
        let site = |(id, name): (usize, &&str)| {
            format!(
                "\t\t\t<site name=\"{name}\" id=\"{}\">\r\n\
                 \t\t\t\t<application path=\"/\">\r\n\
                 \t\t\t\t\t<virtualDirectory path=\"/\" physicalPath=\"{}\" />\r\n\
                 \t\t\t\t</application>\r\n\
                 \t\t\t\t<bindings>\r\n\
                 \t\t\t\t\t<binding protocol=\"http\"   \
                 bindingInformation=\"127.0.0.1:{port}:{name}.example\" />\r\n\
                 \t\t\t\t</bindings>\r\n\
                 \t\t\t</site>\r\n",
                id + 1,
                self.page(name).display()
            )
        };
        let sites: String = sites.iter().enumerate().map(site).collect();
        format!(
            "\u{feff}<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<configuration>\r\n\
             \t<!-- ours -->\r\n\t<system.applicationHost>\r\n\t\t<sites>\r\n{sites}\
             \t\t</sites>\r\n\t</system.applicationHost>\r\n</configuration>\r\n"
        )
    }

    /// A folder with a page that says this.
    pub(crate) fn page(&self, text: &str) -> PathBuf {
        let folder = fs::canonicalize(self.folder.path()).unwrap().join("pages").join(text);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("index.html"), text).unwrap();
        folder
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join(match self.form {
            Form::Toml => "bindery.toml",
            Form::Iis => "applicationHost.config",
        })
    }

    pub(crate) fn write(&self, text: &str) {
        fs::write(self.path(), text).unwrap();
    }

    pub(crate) fn read(&self) -> String {
        fs::read_to_string(self.path()).unwrap()
    }

    /// The one writer, and nobody who is told.
    pub(crate) fn offline(&self) -> Applier {
        self.observed(Observer::default())
    }

    pub(crate) fn observed(&self, observer: Observer) -> Applier {
        let applier = Applier::open(Home::load(&self.path()).unwrap(), observer).unwrap();
        applier.state().unwrap();
        applier
    }

    /// The one writer and its server. Within a runtime.
    pub(crate) fn serving(&mut self, observer: Observer) -> Applier {
        let applier = self.observed(observer);
        let (proof, revision) = applier.proof();
        let prepared = self.sockets.prepare(&proof.configuration().table);
        let server = Server::start(proof, prepared, revision).unwrap();
        let adopt = || -> Adopt { Box::new(|| ()) };
        applier.serve(Arc::new(server), Box::new(move |_| Ok(adopt())));
        applier
    }

    /// What the site with this name answers; `None` where it is nobody's.
    pub(crate) async fn answer(&self, name: &str) -> Option<String> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let mut client = Http1::new(stream);
        let answer = client.get(&format!("{name}.example"), "/").await.unwrap();
        (answer.status == 200).then(|| answer.text())
    }

    /// Everything in the folder of the configuration but the state.
    pub(crate) fn names(&self) -> Vec<String> {
        let all = fs::read_dir(self.folder.path()).unwrap();
        let names = all.map(|one| one.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name != "state").collect();
        names.sort();
        names
    }
}

/// Applies where blocking is allowed.
pub(crate) async fn apply(applier: &Applier, what: What) -> Result<Outcome, Refused> {
    ask(applier, request(what)).await
}

pub(crate) async fn ask(applier: &Applier, request: Request) -> Result<Outcome, Refused> {
    let applier = applier.clone();
    bindery_server::blocking::run("a change", move || applier.apply(&request)).await.unwrap()
}

/// A port that nobody listens on. The kernel's own choice could be given to somebody else before
/// it is used; these lie below those, and each is given once.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 200 * 50).expect("less than 10,000");
    loop {
        let port = 20_000 + first + NEXT.fetch_add(1, Ordering::Relaxed) % 50;
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
}

/// How many texts the history has.
pub(crate) fn has_texts(folder: &Path) -> usize {
    fs::read_dir(folder.join("state/history/texts")).unwrap().count()
}
