//! A process of its own that makes a change. It ends at once in the midst of it: what is left is the
//! state before it or the state after it, and the next start goes on from there. Or the disk is
//! full: nothing has changed.

use std::{env, fs, path::PathBuf, process::Command};

use bindery_control::{
    applier::{Applier, What},
    home::Home,
    steps::{Observer, Step},
};
use rustix::process::{Signal, getpid, kill_process};

use crate::setup::{Setup, add, apply, both, has_texts, request};

/// What tells a process of this program that it is to make a change.
const CONFIG: &str = "BINDERY_TEST_CONFIG";
/// At which step it is to end.
const STEP: &str = "BINDERY_TEST_ENDS_AT";
/// What a process is called with that makes a change.
const WORDS: [&str; 3] = ["--exact", "crash::makes_a_change", "--nocapture"];

/// Not a test of its own: the process that makes a change.
#[test]
fn makes_a_change() {
    let Some(config) = env::var_os(CONFIG) else { return };
    let at = env::var_os(STEP).unwrap_or_default();
    let at = Step::ALL.into_iter().find(|step| *at == *format!("{step:?}"));
    let observer = Observer::new(move |step| {
        if Some(step) == at {
            kill_process(getpid(), Signal::KILL).unwrap();
        }
        Ok(())
    });
    let applier = Applier::open(Home::load(&PathBuf::from(config)).unwrap(), observer).unwrap();
    if let Err(refused) = applier.apply(&request(both("b", 1))) {
        panic!("{}", bindery_server::text_of(&refused));
    }
}

#[tokio::test]
async fn a_crash_at_any_step_leaves_what_was_before_or_what_comes_after() {
    for at in Step::ALL {
        let setup = Setup::new();
        let before = setup.read();
        drop(setup.offline());
        let me = env::current_exe().unwrap();
        let mut command = Command::new(me);
        command.args(WORDS).env(STEP, format!("{at:?}")).env(CONFIG, setup.path());
        let ended = command.output().unwrap();
        if at == Step::Proved {
            // Nothing is proved where nothing is served.
            assert!(ended.status.success());
        } else {
            assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended.status), Some(9));
        }
        let after = setup.read();
        let is_made = after != before;
        assert_eq!(is_made, at >= Step::Exchanged || at == Step::Proved, "{at:?}");
        // Readable, and with the right number and history.
        let applier = setup.offline();
        let revision = if is_made { 2 } else { 1 };
        assert_eq!(applier.current().revision, revision, "{at:?}");
        let records = applier.history(None, 10).unwrap();
        assert_eq!(records.len() as u64, revision, "{at:?}");
        assert_eq!(applier.current().records.len(), usize::from(is_made), "{at:?}");
        assert_eq!(records[0].actor.name, if is_made { "admin" } else { "" }, "{at:?}");
        assert_eq!(setup.names(), ["bindery.toml"], "{at:?}: nothing is left beside it");
        let state = fs::read_dir(setup.folder.path().join("state/history")).unwrap();
        let mut names: Vec<_> =
            state.map(|one| one.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, ["records.jsonl", "texts"], "{at:?}");
        assert_eq!(
            apply(&applier, What::Changes(vec![add("c", 1)])).await.unwrap().revision,
            revision + 1
        );
        apply(&applier, What::Undo(1)).await.unwrap();
        assert_eq!(setup.read(), before, "{at:?}");
        assert!(applier.current().records.is_empty(), "{at:?}");
    }
}

#[test]
fn a_torn_line_of_the_history_is_cut_off() {
    let setup = Setup::new();
    drop(setup.offline());
    let path = setup.folder.path().join("state/history/records.jsonl");
    let whole = fs::read(&path).unwrap();
    let mut torn = whole.clone();
    torn.extend_from_slice(&whole[..whole.len() / 2]);
    fs::write(&path, torn).unwrap();
    let applier = setup.offline();
    assert_eq!(applier.current().revision, 1);
    assert_eq!(fs::read(&path).unwrap(), whole);
    assert_eq!(applier.history(None, 10).unwrap().len(), 1);
}

#[tokio::test]
async fn a_disk_that_is_full_refuses_and_nothing_has_changed() {
    // What repeats is small in the history, and too large for the file itself; what does not is too
    // large for the history already.
    let repeats = "# the same\n".repeat(5000);
    let mut number = 1_u64;
    let mut random = || {
        number =
            number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        format!("# {number:x}\n")
    };
    let differs: String = (0..5000).map(|_| random()).collect();
    for (comment, what) in [(repeats, "cannot be replaced"), (differs, "the state folder")] {
        let setup = Setup::new();
        let before = setup.text(&["a"]) + &comment;
        setup.write(&before);
        drop(setup.offline());
        let texts = has_texts(setup.folder.path());
        // The kernel lets nobody write a file of more than 16 KiB from here on.
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "trap '' XFSZ; ulimit -f 32; exec \"$0\" \"$@\""]);
        command.arg(env::current_exe().unwrap()).args(WORDS).env(CONFIG, setup.path());
        let ended = command.output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(!ended.status.success() && said.contains(what), "{said}");
        assert!(said.contains("File too large"), "{said}");
        assert_eq!(setup.read(), before);
        assert_eq!(setup.names(), ["bindery.toml"]);
        assert_eq!(has_texts(setup.folder.path()), texts);
        let applier = setup.offline();
        assert_eq!(applier.history(None, 9).unwrap().len(), 1);
        assert_eq!(apply(&applier, What::Undo(1)).await.unwrap().revision, 1);
        assert_eq!(apply(&applier, What::Changes(vec![add("b", 1)])).await.unwrap().revision, 2);
    }
}
