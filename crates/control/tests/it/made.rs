//! Changes that are made: what they come to, who sees them, how they are brought back.

use bindery_control::{
    applier::{Event, Refused, What},
    history::Door,
    steps::Observer,
};

use crate::setup::{Setup, add, apply, ask, request, site};

#[tokio::test]
async fn a_change_is_in_the_file_and_answers_and_stands_in_the_history() {
    let mut setup = Setup::new();
    let applier = setup.serving(Observer::default());
    let mut events = applier.events();
    let before = setup.read();
    let made = apply(&applier, What::Changes(vec![add("b", setup.port)])).await.unwrap();
    assert_eq!((made.revision, made.changed, made.disturbed), (2, true, 0));
    assert!(setup.read().starts_with(&before), "all else stays as it is written");
    for name in ["a", "b"] {
        assert_eq!(setup.answer(name).await.as_deref(), Some(name));
    }
    let record = applier.history(None, 10).unwrap().remove(0);
    assert_eq!((record.revision, record.actor.name.as_str()), (2, "admin"));
    assert_eq!(record.difference, made.difference);
    let Event::Changed(told) = events.try_recv().unwrap() else { panic!("it was made") };
    assert_eq!(told, record);
    assert_eq!(applier.server().unwrap().counters().revision, 2, "one number");
    assert_eq!(setup.names(), ["bindery.toml"], "nothing is left beside it");
}

#[tokio::test]
async fn a_change_that_changes_nothing_makes_no_revision() {
    let setup = Setup::new();
    let applier = setup.offline();
    let same = apply(&applier, What::Text(setup.read())).await.unwrap();
    assert_eq!((same.revision, same.changed), (1, false));
    assert_eq!(applier.history(None, 10).unwrap().len(), 1, "the start");
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_and_changes_nothing() {
    let mut setup = Setup::new();
    let applier = setup.serving(Observer::default());
    let (before, history) = (setup.read(), applier.history(None, 10).unwrap());
    let mut asked = request(What::Changes(vec![add("b", setup.port)]));
    asked.dry_run = true;
    let would = ask(&applier, asked).await.unwrap();
    assert_eq!((would.revision, would.changed, would.difference.0.len()), (1, false, 1));
    assert_eq!(setup.answer("b").await, None);
    assert_eq!((setup.read(), applier.history(None, 10).unwrap()), (before, history));
}

#[tokio::test]
async fn a_change_that_is_based_on_another_revision_is_refused() {
    let setup = Setup::new();
    let applier = setup.offline();
    let mut asked = request(What::Changes(vec![add("b", setup.port)]));
    asked.expected = Some(1);
    assert_eq!(ask(&applier, asked.clone()).await.unwrap().revision, 2);
    let refused = ask(&applier, asked).await.unwrap_err();
    assert!(matches!(refused, Refused::Outdated { expected: 1, current: 2 }), "{refused}");
}

#[tokio::test]
async fn changes_that_come_at_once_are_all_made() {
    let mut setup = Setup::new();
    let applier = setup.serving(Observer::default());
    let names: Vec<String> = (0..16).map(|number| format!("s{number}")).collect();
    let mut all = tokio::task::JoinSet::new();
    for name in &names {
        let (applier, change) = (applier.clone(), add(name, setup.port));
        all.spawn(
            async move { apply(&applier, What::Changes(vec![change])).await.unwrap().revision },
        );
    }
    let mut revisions = all.join_all().await;
    revisions.sort_unstable();
    assert_eq!(revisions, (2..18).collect::<Vec<_>>());
    for name in &names {
        assert_eq!(setup.answer(name).await.as_ref(), Some(name));
    }
}

#[tokio::test]
async fn every_revision_can_be_brought_back_and_that_is_a_change() {
    let mut setup = Setup::new();
    let applier = setup.serving(Observer::default());
    let first = setup.read();
    apply(&applier, What::Changes(vec![add("b", setup.port)])).await.unwrap();
    let second = setup.read();
    let undone = apply(&applier, What::Undo(1)).await.unwrap();
    assert_eq!((undone.revision, setup.read()), (3, first));
    assert_eq!(setup.answer("b").await, None);
    apply(&applier, What::Undo(2)).await.unwrap();
    assert_eq!(setup.read(), second);
    assert_eq!(setup.answer("b").await.as_deref(), Some("b"));
    let records = applier.history(None, 10).unwrap();
    let undone: Vec<_> = records.iter().map(|one| (one.revision, one.undo_to)).collect();
    assert_eq!(undone, [(4, Some(2)), (3, Some(1)), (2, None), (1, None)]);
    assert_eq!(applier.history(Some(3), 1).unwrap(), records[2..3]);
    let refused = apply(&applier, What::Undo(99)).await.unwrap_err();
    assert!(matches!(refused, Refused::NoRevision(99)), "{refused}");
}

#[tokio::test]
async fn numbers_go_on_after_a_restart_and_what_happened_meanwhile_is_told() {
    let setup = Setup::new();
    let applier = setup.offline();
    apply(&applier, What::Changes(vec![add("b", setup.port)])).await.unwrap();
    drop(applier);
    let applier = setup.offline();
    assert_eq!(applier.current().revision, 2, "nothing has changed");
    drop(applier);
    setup.write(&setup.text(&["a", "c"]));
    let applier = setup.offline();
    let record = applier.history(None, 1).unwrap().remove(0);
    assert_eq!((record.revision, record.actor.door), (3, Door::Start));
    assert!(!record.difference.0.is_empty());
    apply(&applier, What::Undo(1)).await.unwrap();
    assert_eq!(setup.read(), setup.text(&["a"]));
}

#[tokio::test]
async fn there_is_one_writer_for_a_state_folder() {
    let setup = Setup::new();
    let first = setup.offline();
    let loaded = bindery_control::home::Home::load(&setup.path()).unwrap();
    let second = bindery_control::applier::Applier::open(loaded, Observer::default()).unwrap();
    assert!(second.state().unwrap_err().to_string().contains("in use by process"));
    let refused = apply(&second, What::Text(setup.text(&["b"]))).await.unwrap_err();
    assert!(matches!(refused, Refused::State(_)), "{refused}");
    assert_eq!(setup.read(), setup.text(&["a"]));
    drop(first);
}

#[tokio::test]
async fn connections_that_lost_their_binding_are_told_and_counted_and_no_others() {
    let mut setup = Setup::new();
    setup.write(&setup.text(&["a", "b"]));
    let applier = setup.serving(Observer::default());
    let connect = async || {
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", setup.port)).await.unwrap();
        bindery_testkit::http1::Http1::new(stream)
    };
    let (mut stays, mut goes, mut silent) = (connect().await, connect().await, connect().await);
    assert_eq!(stays.get("a.example", "/").await.unwrap().text(), "a");
    assert_eq!(goes.get("b.example", "/").await.unwrap().text(), "b");
    let made = apply(&applier, What::Text(setup.text(&["a"]))).await.unwrap();
    assert_eq!(made.disturbed, 1);
    assert!(goes.is_closed().await.unwrap());
    assert_eq!(stays.get("a.example", "/").await.unwrap().text(), "a");
    assert_eq!(silent.get("a.example", "/").await.unwrap().text(), "a");
    assert_eq!(applier.history(None, 1).unwrap()[0].disturbed, 1);
    // The binding changes hands; nobody loses it.
    let other = setup.text(&["a"]).replace("name = \"a\"", "name = \"other\"");
    assert_eq!(apply(&applier, What::Text(other)).await.unwrap().disturbed, 0);
    assert_eq!(stays.get("a.example", "/").await.unwrap().text(), "a");
}

#[tokio::test]
async fn what_was_broken_before_is_in_nobodys_way_and_keeps_its_place() {
    let mut setup = Setup::new();
    let on = format!("http/127.0.0.1:{}:broken.example", setup.port);
    let broken = format!("\n[[site]]\nname = \"broken\"\nroot = \"gone\"\nbindings = [\"{on}\"]\n");
    setup.write(&(setup.text(&["a"]) + &broken));
    let applier = setup.serving(Observer::default());
    let looker = applier.clone();
    let problems = bindery_server::blocking::run("look", move || looker.inspect()).await.unwrap();
    let line = problems.iter().find(|one| one.code == "unreadable-folder").unwrap().line();
    let text = setup.text(&["b", "a"]) + &broken;
    assert!(apply(&applier, What::Text(text)).await.unwrap().problems.is_empty());
    let now = applier.problems();
    let now = now.iter().find(|one| one.code == "unreadable-folder").unwrap();
    assert_eq!(now.line(), line.map(|line| line + site("b", setup.port).lines().count()));

    // One that is new is refused, unless it is meant.
    let more = broken.replace("broken", "more").replace("gone", "missing");
    let text = setup.text(&["b", "a"]) + &broken + &more;
    let mut asked = request(What::Text(text));
    let refused = ask(&applier, asked.clone()).await.unwrap_err();
    let Refused::Inspected(problems) = &refused else { panic!("{refused}") };
    assert!(refused.help().unwrap().contains("--force"), "{refused:?}");
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].message.contains("missing"), "{problems:?}");
    asked.force = true;
    let made = ask(&applier, asked).await.unwrap();
    assert_eq!(made.problems.len(), 1, "{:?}", made.problems);
    // And when it is gone, so is the problem.
    apply(&applier, What::Text(setup.text(&["a"]))).await.unwrap();
    assert!(applier.problems().iter().all(|one| !one.is_error()), "{:?}", applier.problems());
}

#[tokio::test]
async fn a_port_that_was_closed_can_be_opened_again_at_once() {
    let mut setup = Setup::new();
    let applier = setup.serving(Observer::default());
    let port = crate::setup::free_port();
    let with = setup.read() + &site("b", port);
    let without = setup.read();
    // On the only thread of the runtime, which therefore comes to nothing else meanwhile.
    for text in [&with, &without, &with, &without] {
        applier.apply(&request(What::Text(text.clone()))).unwrap();
    }
    let refused = tokio::net::TcpStream::connect(("127.0.0.1", port)).await;
    assert!(refused.is_err(), "nobody listens any more");
}
