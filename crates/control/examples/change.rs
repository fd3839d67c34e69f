//! How long a change takes, step by step, at different numbers of sites:
//! `cargo run --release -p bindery-control --example change -- 100 1000 10000`.
//! With `certificates` before the numbers each site has a certificate of its own, and with `iis` the
//! sites stand in an `applicationHost.config`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a measurement, run by hand"
)]

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bindery_control::{
    applier::{Adopt, Applier, Request, What},
    history::{Actor, Door},
    home::Home,
    steps::{Observer, Step},
};
use bindery_iis::netsh::records::{ApplicationId, Record, RecordKey, Records};
use bindery_model::{
    certificate::{CertificateFiles, CertificateId, CertificateSource},
    change::{Act, Change, Fields, Place, Value},
};
use bindery_server::{server::Server, tls::index::IndexedCertificates};
use bindery_testkit::{ca::TestCa, server::Sockets, tls::TestClient};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Changes of which the median is told.
const CHANGES: usize = 7;

type Times = Arc<Mutex<Vec<(Step, Instant)>>>;

#[tokio::main]
async fn main() {
    let mut form = Form { iis: false, certificates: false };
    for word in std::env::args().skip(1) {
        match word.as_str() {
            "iis" => form.iis = true,
            "certificates" => form.certificates = true,
            sites => measure(sites.parse().unwrap(), form).await,
        }
    }
}

/// What is measured.
#[derive(Clone, Copy)]
struct Form {
    /// `applicationHost.config` instead of `bindery.toml`.
    iis: bool,
    /// A certificate for each site, of whose one file each has a name of its own; in IIS's form a
    /// certificate record for each site names it.
    certificates: bool,
}

/// Writes a configuration with so many sites, and its certificates. Gives its file.
fn configured(folder: &Path, sites: usize, port: u16, form: Form) -> PathBuf {
    let ca = TestCa::new();
    drop(ca.leaf(&["*.example"]).write(folder, "wildcard"));
    let mut settings = "version = 1\n[server]\nstate_dir = \"state\"\n".to_owned();
    if !form.certificates {
        settings.push_str("[[certificate]]\nname = \"wildcard\"\nfile = \"wildcard.pem\"\n");
    }
    let mut own = String::new();
    for site in 0..sites {
        let certificate =
            if form.certificates { format!("c{site}") } else { "wildcard".to_owned() };
        if form.certificates {
            std::os::unix::fs::symlink("wildcard.pem", folder.join(format!("{site}.pem"))).unwrap();
            let to = if form.iis { &mut settings } else { &mut own };
            write!(to, "\n[[certificate]]\nname = \"c{site}\"\nfile = \"{site}.pem\"\n").unwrap();
        }
        match form.iis {
            true => write!(
                own,
                "      <site name=\"site {site}\" id=\"{number}\" serverAutoStart=\"true\">\r\n\
                 \x20       <application path=\"/\">\r\n\
                 \x20         <virtualDirectory path=\"/\" physicalPath=\"{www}\" />\r\n\
                 \x20       </application>\r\n\
                 \x20       <bindings>\r\n\
                 \x20         <binding protocol=\"https\" bindingInformation=\"127.0.0.1:{port}:s{site}.example\" sslFlags=\"1\" />\r\n\
                 \x20       </bindings>\r\n\
                 \x20     </site>\r\n",
                number = site + 1,
                www = folder.join("www").display(),
            ),
            false => write!(
                own,
                "\n# Customer {site}\n[[site]]\nname = \"site {site}\"\nroot = \"www\"\nbindings = [\n\
                 \x20 {{ on = \"https/127.0.0.1:{port}:s{site}.example\", certificate = \"{certificate}\" }},\n]\n"
            ),
        }
        .unwrap();
    }
    fs::create_dir(folder.join("www")).unwrap();
    let companion = folder.join("bindery.toml");
    if !form.iis {
        fs::write(&companion, settings + &own).unwrap();
        return companion;
    }
    fs::write(&companion, settings).unwrap();
    if form.certificates {
        records(folder, sites, port);
    }
    let file = folder.join("applicationHost.config");
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<configuration>\r\n  \
         <system.applicationHost>\r\n    <sites>\r\n{own}    </sites>\r\n  \
         </system.applicationHost>\r\n</configuration>\r\n"
    );
    fs::write(&file, text).unwrap();
    file
}

/// Writes a certificate record for each site.
fn records(folder: &Path, sites: usize, port: u16) {
    let files =
        CertificateFiles { file: folder.join("wildcard.pem"), key: None, password_file: None };
    let sources = [CertificateSource { name: String::new(), files }];
    let read = IndexedCertificates::read(&sources);
    let hash = read.facts(CertificateId(0)).unwrap().thumbprint;
    let record = |site| {
        let key = RecordKey::hostname_port(&format!("127.0.0.1:{port}:s{site}.example")).unwrap();
        Record { certificate_hash: Some(hash), ..Record::new(key, ApplicationId(0)) }
    };
    let records: Records = (0..sites).map(record).collect();
    fs::create_dir(folder.join("state")).unwrap();
    let text = serde_json::to_vec_pretty(&records).unwrap();
    fs::write(folder.join("state/sslcert.json"), text).unwrap();
}

async fn measure(sites: usize, form: Form) {
    let folder = tempfile::tempdir().unwrap();
    let mut sockets = Sockets::new();
    let port = sockets.open("127.0.0.1");
    let file = configured(folder.path(), sites, port, form);
    let times: Times = Arc::default();
    let told = Arc::clone(&times);
    let observer = Observer::new(move |step| {
        told.lock().unwrap().push((step, Instant::now()));
        Ok(())
    });
    let begun = Instant::now();
    let loaded = Home::load(&file).unwrap();
    let bytes = loaded.text.len();
    let applier = Applier::open(loaded, observer).unwrap();
    let (proof, revision) = applier.proof();
    let prepared = sockets.prepare(&proof.configuration().table);
    let server = Arc::new(Server::start(proof, prepared, revision).unwrap());
    applier.serve(server, Box::new(|_| Ok(Box::new(|| ()) as Adopt)));
    let started = begun.elapsed();
    let inspector = applier.clone();
    let begun = Instant::now();
    bindery_server::blocking::run("inspect", move || drop(inspector.inspect())).await.unwrap();
    println!(
        "{sites} sites, {} KB: start {:.1} ms, inspection {:.1} ms",
        bytes / 1024,
        milliseconds(started),
        milliseconds(begun.elapsed())
    );
    let mut all: BTreeMap<Step, Vec<Duration>> = BTreeMap::new();
    let (mut totals, mut answers) = (Vec::new(), Vec::new());
    for number in 0..CHANGES {
        let name = format!("new{number}");
        let changes = changes(&name, folder.path(), port, form);
        let actor = Actor { name: "measure".to_owned(), door: Door::Cli };
        let what = What::Changes(changes);
        let request = Request { what, expected: None, actor, dry_run: false, force: false };
        times.lock().unwrap().clear();
        let asked = applier.clone();
        let begun = Instant::now();
        let made = bindery_server::blocking::run("change", move || asked.apply(&request));
        made.await.unwrap().unwrap();
        let returned = Instant::now();
        totals.push(returned - begun);
        let address = ([127, 0, 0, 1], port).into();
        let host = format!("{name}.example");
        drop(TestClient::default().connect(address, Some(&host)).await.unwrap());
        answers.push(returned.elapsed());
        let mut last = begun;
        for (step, at) in times.lock().unwrap().iter() {
            all.entry(*step).or_default().push(*at - last);
            last = *at;
        }
    }
    for (step, times) in all {
        println!("  {:>10} {:8.2} ms", format!("{step:?}").to_lowercase(), median(times));
    }
    println!("  {:>10} {:8.2} ms", "total", median(totals));
    println!("  {:>10} {:8.2} ms, a handshake of the new name after it", "answer", median(answers));
}

/// A site that is added, with a certificate of its own where the others have that.
fn changes(name: &str, folder: &Path, port: u16, form: Form) -> Vec<Change> {
    let mut changes = Vec::new();
    let on = Value::Text(format!("https/127.0.0.1:{port}:{name}.example"));
    let mut binding = Fields::from([("on".to_owned(), on)]);
    if form.certificates && !form.iis {
        let file = Fields::from([("file".to_owned(), Value::Text("wildcard.pem".to_owned()))]);
        changes.push(Change { at: Place::Certificate(name.to_owned()), act: Act::Add(file) });
        binding.insert("certificate".to_owned(), Value::Text(name.to_owned()));
    }
    let www = Value::Text(folder.join("www").display().to_string());
    let mut fields = Fields::from([("root".to_owned(), www)]);
    fields.insert("bindings".to_owned(), Value::List(vec![Value::Table(binding)]));
    changes.push(Change { at: Place::Site(name.to_owned()), act: Act::Add(fields) });
    changes
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times.get(times.len() / 2).map_or(0.0, |time| milliseconds(*time))
}
