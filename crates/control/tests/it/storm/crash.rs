//! A process that is ended at any moment of a storm: what is left is what was before the change that
//! was under way, or what comes after it; and it goes on from there.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use bindery_control::{
    applier::{Applier, What},
    home::{Form, Home},
    steps::Observer,
};
use bindery_testkit::server::Sockets;

use super::{
    doors::Doors,
    ground::{Facts, Ground, serve},
    is_in_force, marks, number,
    random::Random,
    seed,
};
use crate::setup::request;

/// So often a process is ended, in either form, unless more is asked for.
const CRASHES: u64 = 5;

/// What tells a process of this program that it is to make changes: where and which.
const FACTS: &str = "BINDERY_TEST_STORM";

/// Doors whose changes each leave a mark, and nobody takes another's away.
const OPEN: [&str; 2] = ["applier", "api"];

/// Not a test of its own: the process that makes changes until it is ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn makes_changes_until_it_is_ended() {
    let Some(facts) = env::var_os(FACTS) else { return };
    let (facts, seed) = read(facts.to_str().unwrap());
    let served = serve(&facts.config(), &mut Sockets::new());
    let doors = Doors::new(&served, &facts, seed, true);
    let workers = doors.open(&[&OPEN[..], &["netsh"]].concat());
    bindery_server::blocking::run("doors", || workers.into_iter().for_each(|one| drop(one.join())))
        .await
        .unwrap();
}

#[test]
fn a_crash_at_any_moment_of_a_storm_leaves_what_was_before_or_what_comes_after() {
    let seed = seed();
    for form in [Form::Toml, Form::Iis] {
        let mut ground = Ground::new(tempfile::tempdir().unwrap(), form, 1);
        // The processes open them.
        drop(std::mem::take(&mut ground.sockets));
        let mut random = Random::new(seed, "crash");
        let mut revision = 1;
        for round in 0..number("BINDERY_STORM_CRASHES").unwrap_or(CRASHES) {
            let words = [write(&ground.facts), (seed ^ round).to_string()].join(";");
            let said = Said::until_killed(
                &words,
                Duration::from_millis(u64::try_from(random.below(400)).unwrap()),
            );
            revision = said.check(&ground.facts, revision);
        }
    }
}

/// What a process said it asked for and what was made.
#[derive(Debug, Default)]
struct Said {
    asks: BTreeMap<String, u64>,
    made: BTreeMap<String, u64>,
}

impl Said {
    /// Runs a process, and ends it so long after its first change.
    fn until_killed(facts: &str, after: Duration) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "storm::crash::makes_changes_until_it_is_ended", "--nocapture"]);
        let mut child = command.env(FACTS, facts).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut said = Self::default();
        while said.made.len() < OPEN.len() {
            assert!(said.read_line(&mut lines), "it ended by itself: {said:?}");
        }
        thread::scope(|scope| {
            scope.spawn(|| end(&mut child, after));
            while said.read_line(&mut lines) {}
        });
        said
    }

    fn read_line(&mut self, lines: &mut BufReader<ChildStdout>) -> bool {
        let mut line = String::new();
        if lines.read_line(&mut line).unwrap() == 0 {
            return false;
        }
        // The last one may be cut off.
        if let [what, door, mark] = line.split_ascii_whitespace().collect::<Vec<_>>()[..]
            && line.ends_with('\n')
            && let (Ok(mark), true) = (mark.parse(), OPEN.contains(&door))
        {
            let all = if what == "asks" { &mut self.asks } else { &mut self.made };
            all.insert(door.to_owned(), mark);
        }
        true
    }

    /// What is left is readable, and of each door has the last change that was made or the one that
    /// was asked for. Gives the revision that is in force.
    fn check(&self, facts: &Facts, before: u64) -> u64 {
        let config = facts.config();
        let applier = Applier::open(Home::load(&config).unwrap(), Observer::default()).unwrap();
        applier.state().unwrap();
        let found = marks(&applier.current());
        for door in OPEN {
            let (asked, made, found) = (self.asks[door], self.made[door], found[door]);
            assert!(found == made || found == asked, "{door}: {found}, {self:?}");
        }
        is_in_force(&applier);
        let revision = applier.current().revision;
        assert!(revision > before, "{before} and then {revision}");
        let numbers: Vec<_> =
            applier.history(None, 100).unwrap().iter().map(|one| one.revision).collect();
        let all: Vec<_> = (0..numbers.len() as u64).map(|back| revision - back).collect();
        assert_eq!(numbers, all);
        let beside = fs::read_dir(&facts.folder).unwrap();
        let mut names: Vec<_> =
            beside.map(|one| one.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| !name.ends_with(".toml") && !name.ends_with(".config"));
        names.sort();
        assert_eq!(names, ["one.pem", "state", "two.pem", "www"], "nothing is left beside it");
        // It can be changed, and what was before comes back.
        let text = applier.current().text.clone();
        let change = facts.site("after", "1", None);
        let next = applier.apply(&request(What::Changes(vec![change]))).unwrap().revision;
        assert_eq!(next, revision + 1);
        let undone = applier.apply(&request(What::Undo(revision))).unwrap().revision;
        assert_eq!(applier.current().text, text);
        undone
    }
}

fn end(child: &mut Child, after: Duration) {
    thread::sleep(after);
    // With SIGKILL.
    child.kill().unwrap();
    child.wait().unwrap();
}

fn write(facts: &Facts) -> String {
    let ports: Vec<_> = facts.ports.iter().map(u16::to_string).collect();
    let folder = facts.folder.display().to_string();
    let (port, form) = (facts.port.to_string(), format!("{:?}", facts.form));
    [folder, form, port, ports.join(","), facts.thumbprints.join(",")].join(";")
}

fn read(words: &str) -> (Facts, u64) {
    let [folder, form, port, ports, thumbprints, seed] = words.split(';').collect::<Vec<_>>()[..]
    else {
        panic!("{words}")
    };
    let facts = Facts {
        folder: PathBuf::from(folder),
        form: if form == "Toml" { Form::Toml } else { Form::Iis },
        port: port.parse().unwrap(),
        ports: ports.split(',').map(|port| port.parse().unwrap()).collect(),
        thumbprints: thumbprints.split(',').map(str::to_owned).collect(),
    };
    (facts, seed.parse().unwrap())
}
