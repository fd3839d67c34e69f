//! How long a change takes, step by step, at different numbers of sites:
//! `cargo run --release -p bindery-control --example change -- 100 1000 10000`.
//! With `certificates` as first word each site has a certificate of its own.

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
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bindery_control::{
    applier::{Adopt, Applier, Request, What},
    history::{Actor, Door},
    home::Home,
    steps::{Observer, Step},
};
use bindery_model::change::{Act, Change, Fields, Place, Value};
use bindery_server::server::Server;
use bindery_testkit::{ca::TestCa, server::Sockets, tls::TestClient};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Changes of which the median is told.
const CHANGES: usize = 7;

type Times = Arc<Mutex<Vec<(Step, Instant)>>>;

#[tokio::main]
async fn main() {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let certificates = words.first().is_some_and(|word| word == "certificates");
    if certificates {
        words.remove(0);
    }
    for sites in words {
        measure(sites.parse().unwrap(), certificates).await;
    }
}

/// A configuration with so many sites, and its certificates.
fn configured(folder: &Path, sites: usize, port: u16, certificates: bool) {
    let ca = TestCa::new();
    drop(ca.leaf(&["*.example"]).write(folder, "wildcard"));
    let mut text = "version = 1\n[server]\nstate_dir = \"state\"\n".to_owned();
    if !certificates {
        text.push_str("[[certificate]]\nname = \"wildcard\"\nfile = \"wildcard.pem\"\n");
    }
    for site in 0..sites {
        if certificates {
            std::os::unix::fs::symlink("wildcard.pem", folder.join(format!("{site}.pem"))).unwrap();
            write!(text, "\n[[certificate]]\nname = \"c{site}\"\nfile = \"{site}.pem\"\n").unwrap();
        }
        let choice = if certificates { format!("c{site}") } else { "wildcard".to_owned() };
        write!(
            text,
            "\n# Customer {site}\n[[site]]\nname = \"site {site}\"\nroot = \"www\"\nbindings = [\n\
             \x20 {{ on = \"https/127.0.0.1:{port}:s{site}.example\", certificate = \"{choice}\" }},\n]\n"
        )
        .unwrap();
    }
    fs::create_dir(folder.join("www")).unwrap();
    fs::write(folder.join("bindery.toml"), text).unwrap();
}

async fn measure(sites: usize, certificates: bool) {
    let folder = tempfile::tempdir().unwrap();
    let mut sockets = Sockets::new();
    let port = sockets.open("127.0.0.1");
    configured(folder.path(), sites, port, certificates);
    let times: Times = Arc::default();
    let told = Arc::clone(&times);
    let observer = Observer::new(move |step| {
        told.lock().unwrap().push((step, Instant::now()));
        Ok(())
    });
    let begun = Instant::now();
    let loaded = Home::load(&folder.path().join("bindery.toml")).unwrap();
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
        let on = Value::Text(format!("https/127.0.0.1:{port}:{name}.example"));
        let mut fields = Fields::from([("respond".to_owned(), Value::Text(name.clone()))]);
        fields.insert("bindings".to_owned(), Value::List(vec![on]));
        let change = Change { at: Place::Site(name.clone()), act: Act::Add(fields) };
        let actor = Actor { name: "measure".to_owned(), door: Door::Cli };
        let what = What::Changes(vec![change]);
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

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times.get(times.len() / 2).map_or(0.0, |time| milliseconds(*time))
}
