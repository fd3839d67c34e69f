//! What somebody writes into the file by hand: taken up, never overwritten, and served only when it
//! can be.

use std::{fs, io, path::PathBuf, sync::Mutex};

use bindery_control::{
    applier::{Event, Refused, What},
    history::Door,
    home::HomeError,
    steps::{Observer, Step},
};

use crate::setup::{Setup, add, apply, ask, request};

#[tokio::test]
async fn an_edit_comes_before_the_change_that_finds_it() {
    let mut setup = Setup::new();
    let applier = setup.serving(Observer::default());
    let edited = setup.text(&["a", "c"]) + "# a comment\n";
    setup.write(&edited);
    let made = apply(&applier, What::Changes(vec![add("b", setup.port)])).await.unwrap();
    assert_eq!((made.revision, made.difference.0.len()), (3, 1), "{:?}", made.difference);
    assert!(setup.read().starts_with(&edited));
    for name in ["a", "b", "c"] {
        assert_eq!(setup.answer(name).await.as_deref(), Some(name));
    }
    let doors: Vec<_> =
        applier.history(None, 3).unwrap().into_iter().map(|one| one.actor.door).collect();
    assert_eq!(doors, [Door::Cli, Door::File, Door::Start]);
}

#[tokio::test]
async fn an_edit_that_cannot_be_served_is_told_and_kept_and_nothing_is_written_over_it() {
    let mut setup = Setup::new();
    let applier = setup.serving(Observer::default());
    let mut events = applier.events();
    let broken = setup.text(&["a"]) + "[[site]]\n";
    setup.write(&broken);
    let refused = apply(&applier, What::Reload).await.unwrap_err();
    assert!(matches!(refused, Refused::Problems(_)), "{refused}");
    let edited = applier.edited();
    assert_eq!(edited.iter().filter(|one| one.is_error()).count(), edited.len());
    assert_eq!(edited[0].line(), Some(setup.text(&["a"]).lines().count() + 1));
    let Event::Refused { problems } = events.try_recv().unwrap() else { panic!("it is broken") };
    assert_eq!(problems, *edited);
    let refused = apply(&applier, What::Changes(vec![add("b", setup.port)])).await.unwrap_err();
    assert!(matches!(refused, Refused::Edited(_)), "{refused}");
    assert_eq!(setup.read(), broken);
    assert_eq!(setup.answer("a").await.as_deref(), Some("a"), "the last good one serves on");
    assert_eq!(applier.current().revision, 1);
    setup.write(&setup.text(&["a"]));
    apply(&applier, What::Changes(vec![add("b", setup.port)])).await.unwrap();
    assert!(applier.edited().is_empty());
}

/// Somebody who writes into the file whenever a step is done, as editors do: another file in its
/// place.
fn editor(file: PathBuf, at: Step, text: impl FnMut() -> String + Send + 'static) -> Observer {
    let text = Mutex::new(text);
    Observer::new(move |step| {
        if step == at {
            let text = (text.lock().unwrap())();
            fs::write(file.with_extension("new"), &text)?;
            fs::rename(file.with_extension("new"), &file)?;
        }
        Ok::<_, io::Error>(())
    })
}

#[tokio::test]
async fn an_edit_in_the_moment_of_the_commit_is_taken_up_before_the_change() {
    for at in [Step::Intended, Step::Written, Step::Exchanged] {
        let setup = Setup::new();
        let edited = setup.text(&["a", "hand"]);
        let text = edited.clone();
        let applier = setup.observed(editor(setup.path(), at, move || text.clone()));
        let made = apply(&applier, What::Changes(vec![add("b", setup.port)])).await.unwrap();
        if at == Step::Exchanged {
            // Ours was in the place for a moment, and theirs came over it: both happened.
            assert_eq!((made.revision, setup.read()), (2, edited));
        } else {
            assert_eq!((made.revision, made.difference.0.len()), (3, 1), "{at:?}");
            assert!(setup.read().starts_with(&edited), "{at:?} {}", setup.read());
            assert!(setup.read().contains("name = \"b\""), "{at:?} {}", setup.read());
            let history = applier.history(None, 2).unwrap();
            let doors: Vec<_> = history.into_iter().map(|one| one.actor.door).collect();
            assert_eq!(doors, [Door::Cli, Door::File], "{at:?}");
        }
        assert_eq!(setup.names(), ["bindery.toml"], "{at:?}");
    }
}

#[tokio::test]
async fn an_edit_in_the_moment_of_the_commit_makes_a_change_outdated_and_is_not_written_over() {
    for at in [Step::Intended, Step::Written] {
        let setup = Setup::new();
        let edited = setup.text(&["a", "hand"]);
        let text = edited.clone();
        let applier = setup.observed(editor(setup.path(), at, move || text.clone()));
        let mut based = request(What::Changes(vec![add("b", setup.port)]));
        based.expected = Some(1);
        let refused = ask(&applier, based).await.unwrap_err();
        assert!(matches!(refused, Refused::Outdated { expected: 1, current: 2 }), "{refused}");
        assert_eq!(setup.read(), edited, "{at:?}");
    }
    // A whole text is none that both can be in.
    let setup = Setup::new();
    let edited = setup.text(&["a", "hand"]);
    let text = edited.clone();
    let applier = setup.observed(editor(setup.path(), Step::Written, move || text.clone()));
    let refused = apply(&applier, What::Text(setup.text(&["b"]))).await.unwrap_err();
    assert!(matches!(refused, Refused::Home(HomeError::Edited { .. })), "{refused}");
    assert_eq!(setup.read(), edited);
}

#[tokio::test]
async fn somebody_who_never_stops_writing_is_not_followed_for_ever() {
    let setup = Setup::new();
    let (base, mut count) = (setup.text(&["a"]), 0);
    let endless = move || {
        count += 1;
        format!("{base}# {count}\n")
    };
    let applier = setup.observed(editor(setup.path(), Step::Written, endless));
    let refused = apply(&applier, What::Changes(vec![add("b", setup.port)])).await.unwrap_err();
    assert!(matches!(refused, Refused::Home(HomeError::Edited { .. })), "{refused}");
    assert_eq!(setup.read(), format!("{}# 11\n", setup.text(&["a"])));
}

#[tokio::test]
async fn a_file_that_is_gone_refuses_and_is_not_made_anew() {
    let setup = Setup::new();
    let applier = setup.offline();
    fs::remove_file(setup.path()).unwrap();
    let refused = apply(&applier, What::Changes(vec![add("b", setup.port)])).await.unwrap_err();
    assert!(matches!(refused, Refused::Home(_)), "{refused}");
    assert!(!setup.path().exists());
}

#[tokio::test]
async fn a_link_that_leads_elsewhere_is_an_edit() {
    let setup = Setup::new();
    let (one, two) = (setup.folder.path().join("one"), setup.folder.path().join("two"));
    fs::rename(setup.path(), &one).unwrap();
    fs::write(&two, setup.text(&["b"])).unwrap();
    std::os::unix::fs::symlink(&one, setup.path()).unwrap();
    let applier = setup.offline();
    fs::remove_file(setup.path()).unwrap();
    std::os::unix::fs::symlink(&two, setup.path()).unwrap();
    let made = apply(&applier, What::Reload).await.unwrap();
    assert_eq!((made.revision, made.changed), (2, true));
    apply(&applier, What::Changes(vec![add("c", setup.port)])).await.unwrap();
    assert_eq!(fs::read_to_string(&one).unwrap(), setup.text(&["a"]));
    assert!(fs::read_to_string(&two).unwrap().contains("\"c\""));
}

/// Waits until an edit is in force, or refused.
async fn told(events: &mut tokio::sync::broadcast::Receiver<Event>) -> Event {
    bindery_testkit::soon("an event", events.recv()).await.expect("somebody tells")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_is_taken_up_at_once_however_it_is_written() {
    let mut setup = Setup::new();
    let applier = setup.serving(Observer::default());
    let mut events = applier.events();
    let _watch = bindery_control::watch::watch(applier.clone()).unwrap();
    // Written in place, a piece at a time.
    let text = setup.text(&["a", "b"]);
    let mut file = fs::File::create(setup.path()).unwrap();
    for piece in text.as_bytes().chunks(16) {
        io::Write::write_all(&mut file, piece).unwrap();
    }
    drop(file);
    let Event::Changed(record) = told(&mut events).await else { panic!("it is right") };
    assert_eq!((record.revision, record.actor.door), (2, Door::File));
    assert_eq!(setup.answer("b").await.as_deref(), Some("b"));
    // Another file in its place.
    let beside = setup.folder.path().join("beside");
    fs::write(&beside, setup.text(&["a", "c"])).unwrap();
    fs::rename(&beside, setup.path()).unwrap();
    let Event::Changed(record) = told(&mut events).await else { panic!("it is right") };
    assert_eq!(record.revision, 3);
    assert_eq!(setup.answer("c").await.as_deref(), Some("c"));
    // Wrong, and mended.
    setup.write("version = 1\n[[site]]\n");
    let Event::Refused { problems } = told(&mut events).await else { panic!("it is wrong") };
    assert!(problems.iter().any(|one| one.line() == Some(2)), "{problems:?}");
    assert_eq!(setup.answer("c").await.as_deref(), Some("c"));
    setup.write(&setup.text(&["d"]));
    let Event::Changed(record) = told(&mut events).await else { panic!("it is right") };
    assert_eq!(record.revision, 4);
    // What we write ourselves is no edit.
    apply(&applier, What::Changes(vec![add("e", setup.port)])).await.unwrap();
    setup.write(&setup.text(&["f"]));
    for revision in [5, 6] {
        let Event::Changed(record) = told(&mut events).await else { panic!("it is right") };
        assert_eq!(record.revision, revision);
    }
    assert_eq!(setup.answer("f").await.as_deref(), Some("f"));
}
