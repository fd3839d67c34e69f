//! Thousands of changes by every door at once, while clients keep their connections, load large
//! files and speak WebSocket; and the same cut off at any moment.
//!
//! What each door and client asks for comes from a seed, which is printed; when it comes is the
//! machine's. `BINDERY_STORM_SEED` repeats one, `BINDERY_STORM_SECONDS` makes it last longer than
//! [`SECONDS`] and `BINDERY_STORM_CRASHES` has more of them than [`crash::CRASHES`].

mod crash;
mod doors;
mod ground;
mod load;
mod random;
mod timeline;

use std::{
    collections::BTreeMap,
    env, fs,
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use bindery_control::{
    applier::{Applier, Current, What},
    home::{Form, Home},
};
use bindery_model::document::write;
use bindery_testkit::DEADLINE;
use doors::{COME_AND_GO, Doors};
use ground::Ground;
use load::{Load, counted, echo};
use tempfile::TempDir;
use timeline::Seen;

use crate::setup::request;

/// So long a storm lasts in each form unless it is asked to last longer.
const SECONDS: u64 = 10;

/// Each door makes more changes than that, and has so long for them.
const CHANGES_LEAST: u64 = 5;
const SLOWEST: Duration = Duration::from_secs(120);

fn number(variable: &str) -> Option<u64> {
    env::var_os(variable)?.to_str()?.parse().ok()
}

/// The seed of this run.
fn seed() -> u64 {
    let seed = number("BINDERY_STORM_SEED").unwrap_or_else(|| {
        let now = bindery_server::clock::now();
        now.duration_since(std::time::UNIX_EPOCH).unwrap().as_micros().try_into().unwrap()
    });
    println!("BINDERY_STORM_SEED={seed}");
    seed
}

/// Waits until something holds.
#[track_caller]
fn wait(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < end, "{what} took longer than {DEADLINE:?}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// The numbers that sites are marked with.
fn marks(current: &Current) -> BTreeMap<String, u64> {
    let table = &current.configuration.table;
    let sites = table.sites.iter().zip(0..);
    let mark = |place| match timeline::seen(&write::site(table, place)) {
        Seen::Marked(mark) => mark.parse().ok(),
        Seen::Stopped | Seen::Absent => None,
    };
    sites.filter_map(|(site, place)| Some((site.name.clone(), mark(place)?))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_who_keeps_a_binding_notices_a_storm_of_changes_to_bindery_toml() {
    storm(Form::Toml, &["applier", "api", "editor", "netsh"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_who_keeps_a_binding_notices_a_storm_of_changes_to_application_host_config() {
    storm(Form::Iis, &["applier", "api", "editor", "netsh", "appcmd"]).await;
}

/// In memory where that can be: what a disk keeps is not what this is about, and each change waits
/// for it several times.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

async fn storm(form: Form, open: &[&'static str]) {
    let seed = seed();
    let mut ground = Ground::new(folder(), form, echo().await);
    let first = fs::read_to_string(ground.facts.config()).unwrap();
    let served = ground.serve();
    let doors = Doors::new(&served, &ground.facts, seed, false);
    let come_and_go = open.iter().filter(|door| **door != "netsh");
    let names = |door: &&str| {
        let door = (*door).to_owned();
        (0..COME_AND_GO).map(move |number| format!("{door}-{number}"))
    };
    let load = Load {
        port: ground.facts.port,
        server: Arc::clone(served.applier.server().unwrap()),
        stop: Arc::default(),
        large: Arc::new(ground.large.clone()),
        visited: Arc::new(come_and_go.flat_map(names).collect()),
    };
    let clients = load.start(seed, form == Form::Toml);
    let workers = doors.open(open);
    let end =
        Instant::now() + Duration::from_secs(number("BINDERY_STORM_SECONDS").unwrap_or(SECONDS));
    // A machine that has much else to do takes longer for as much.
    let goes_on = || {
        Instant::now() < end
            || !doors.have_made(open, CHANGES_LEAST) && Instant::now() < end + SLOWEST
    };
    while goes_on() && !workers.iter().any(thread::JoinHandle::is_finished) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    doors.stop.store(true, Ordering::Relaxed);
    let works: Vec<_> = bindery_server::blocking::run("the doors", || {
        workers.into_iter().map(|one| one.join().unwrap()).collect()
    })
    .await
    .unwrap();
    load.stop.store(true, Ordering::Relaxed);
    let sights = clients.join_all().await;
    let (timeline, applier) = (&served.timeline, &served.applier);
    println!("{} revisions, {:?}", timeline.len(), counted(&sights));
    println!("{works:?}");
    for (door, work) in &works {
        assert!(work.made > CHANGES_LEAST, "{door}: {work:?}");
    }
    for (kind, answers) in counted(&sights) {
        assert!(answers > 10, "{kind}: {answers}");
    }
    timeline.check_numbers();
    for (_, sights) in &sights {
        sights.all.iter().for_each(|sight| timeline.check(sight));
    }
    is_in_force(applier);
    if timeline.len() < bindery_control::history::REVISIONS_KEPT_MAX {
        applier.apply(&request(What::Undo(1))).unwrap();
        assert_eq!(fs::read_to_string(ground.facts.config()).unwrap(), first);
    }
}

/// The file is read as what is in force, and the history has the same.
fn is_in_force(applier: &Applier) {
    let current = applier.current();
    let now = Home::load(&current.home.path).unwrap();
    assert_eq!(now.text, current.text);
    assert_eq!(now.records, current.records);
    let differs = write::difference(&now.document.configuration, &current.configuration);
    assert!(differs.0.is_empty(), "{differs:?}");
    let record = applier.history(None, 1).unwrap().remove(0);
    assert_eq!(record.revision, current.revision);
    let kept = applier.kept(current.revision).unwrap();
    assert_eq!(kept.map(|own| own.text).as_ref(), Some(&current.text));
}
