//! Each step of a change made to fail: the file has the same bytes, the same answers are given,
//! nothing is left behind, and the next change is made.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::setup::{Setup, add, apply, both, free_port, has_texts, request, site};
use bindery_control::{
    applier::{Refused, Request, What},
    history::{Actor, Door},
    home::Form,
    steps::{Observer, Step},
};
use bindery_model::change::{Act, Change, Value};

#[tokio::test]
async fn a_step_that_fails_leaves_everything_as_it_was() {
    for at in Step::ALL.into_iter().filter(|step| step.may_fail()) {
        let mut setup = Setup::new();
        let fails = Arc::new(AtomicBool::new(true));
        let is_on = Arc::clone(&fails);
        let observer =
            Observer::new(move |step| match step == at && is_on.load(Ordering::Relaxed) {
                true => Err(io::Error::other("as the test wants it")),
                false => Ok(()),
            });
        let applier = setup.serving(observer);
        let (before, texts) = (setup.read(), has_texts(setup.folder.path()));
        let inode = fs::metadata(setup.path()).unwrap().ino();
        // On a port of its own: its socket must be free again.
        let port = free_port();
        let change = || both("b", port);
        let refused = apply(&applier, change()).await.unwrap_err();
        assert!(bindery_server::text_of(&refused).contains("as the test wants it"), "{refused}");
        assert_eq!(setup.read(), before, "{at:?}");
        assert_eq!(fs::metadata(setup.path()).unwrap().ino(), inode, "{at:?}");
        assert_eq!(setup.names(), ["bindery.toml"], "{at:?}");
        assert_eq!(has_texts(setup.folder.path()), texts, "{at:?}");
        assert_eq!(applier.history(None, 10).unwrap().len(), 1, "{at:?}");
        assert!(applier.current().records.is_empty(), "{at:?}");
        assert!(!setup.folder.path().join("state/sslcert.json").exists(), "{at:?}");
        assert_eq!(setup.answer("a").await.as_deref(), Some("a"), "{at:?}");
        let taken = tokio::net::TcpStream::connect(("127.0.0.1", port)).await;
        assert!(taken.is_err(), "{at:?}: nobody listens");
        fails.store(false, Ordering::Relaxed);
        assert_eq!(apply(&applier, change()).await.unwrap().revision, 2, "{at:?}");
        assert!(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok(), "{at:?}");
    }
}

#[tokio::test]
async fn errors_of_the_text_refuse_with_their_places() {
    let setup = Setup::new();
    let applier = setup.offline();
    let text = setup.text(&["a"]) + "colour = 'red'\n";
    let Err(Refused::Problems(problems)) = apply(&applier, What::Text(text)).await else {
        panic!("it is wrong")
    };
    assert_eq!(problems.len(), 1);
    assert_eq!((problems[0].code.as_str(), problems[0].line()), ("unknown-key", Some(10)));
    // Two bindings with one key, by whichever door.
    let again = site("b", setup.port).replace("b.example", "a.example");
    let refused = apply(&applier, What::Text(setup.text(&["a"]) + &again)).await.unwrap_err();
    assert!(matches!(refused, Refused::Problems(_)), "{refused}");
    assert_eq!(setup.read(), setup.text(&["a"]));
}

#[tokio::test]
async fn a_change_is_refused_without_places_in_a_text_that_nobody_has() {
    let setup = Setup::new();
    let applier = setup.offline();
    let with = |key: &str, value: Value| {
        let Change { at, act: Act::Add(mut fields) } = add("b", setup.port) else {
            panic!("it adds")
        };
        fields.insert(key.to_owned(), value);
        if key == "root" {
            fields.remove("respond");
        }
        What::Changes(vec![Change { at, act: Act::Add(fields) }])
    };
    let Err(Refused::Problems(problems)) = apply(&applier, with("colour", "red".into())).await
    else {
        panic!("no site has that key")
    };
    assert_eq!(problems[0].place, None);
    assert!(problems[0].said().starts_with("site \"b\": \"colour\""), "{problems:?}");
    let Err(Refused::Inspected(problems)) =
        apply(&applier, with("root", "/nowhere/at/all".into())).await
    else {
        panic!("there is no such folder")
    };
    assert_eq!(problems[0].place, None, "{problems:?}");
    // What it is warned of stands in the file when it is made, and not before.
    let change = with("bindings", Value::List(Vec::new()));
    for (dry_run, is_placed) in [(true, false), (false, true)] {
        let made = applier.apply(&Request { dry_run, ..request(change.clone()) }).unwrap();
        assert_eq!(made.problems[0].code, "no-binding");
        assert_eq!(made.problems[0].place.is_some(), is_placed, "dry run: {dry_run}");
    }
}

#[tokio::test]
async fn appcmd_has_changed_the_text_that_it_sends() {
    let setup = Setup::of(Form::Iis);
    let applier = setup.offline();
    let text = setup.text(&["a"]).replace("protocol=\"http\"", "");
    for (door, is_placed) in [(Door::Api, true), (Door::Appcmd, false)] {
        let what = What::Text(text.clone());
        let actor = Actor { name: "admin".to_owned(), door };
        let Err(Refused::Problems(problems)) = applier.apply(&Request { actor, ..request(what) })
        else {
            panic!("a binding has a protocol")
        };
        assert_eq!(problems[0].place.is_some(), is_placed, "{problems:?}");
    }
}

#[tokio::test]
async fn a_port_that_somebody_else_has_refuses() {
    let mut setup = Setup::new();
    let applier = setup.serving(Observer::default());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let refused = apply(&applier, What::Changes(vec![add("b", port)])).await.unwrap_err();
    assert!(matches!(refused, Refused::Listen(_)), "{refused}");
    assert_eq!(setup.read(), setup.text(&["a"]));
}

#[tokio::test]
async fn a_file_that_cannot_be_replaced_refuses() {
    let setup = Setup::new();
    let applier = setup.offline();
    // Root may write into folders that nobody may write into; not beside a name like this.
    fs::create_dir(setup.folder.path().join(".bindery.toml.bindery-new")).unwrap();
    let refused = apply(&applier, What::Changes(vec![add("b", setup.port)])).await.unwrap_err();
    assert!(matches!(refused, Refused::Home(_)), "{refused}");
    assert_eq!(setup.read(), setup.text(&["a"]));
    assert_eq!(applier.history(None, 10).unwrap().len(), 1);
}

#[tokio::test]
async fn a_state_folder_that_cannot_be_written_refuses() {
    let setup = Setup::new();
    let applier = setup.offline();
    fs::create_dir(setup.folder.path().join("state/history/.next.json.bindery-new")).unwrap();
    let refused = apply(&applier, What::Changes(vec![add("b", setup.port)])).await.unwrap_err();
    assert!(matches!(refused, Refused::State(_)), "{refused}");
    assert_eq!(setup.read(), setup.text(&["a"]));
}

#[tokio::test]
async fn links_to_the_file_and_its_mode_stay() {
    let setup = Setup::new();
    let real = setup.folder.path().join("real.toml");
    fs::rename(setup.path(), &real).unwrap();
    symlink("real.toml", setup.path()).unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
    let applier = setup.offline();
    apply(&applier, What::Changes(vec![add("b", setup.port)])).await.unwrap();
    assert!(fs::symlink_metadata(setup.path()).unwrap().is_symlink());
    assert_eq!(fs::metadata(&real).unwrap().mode() & 0o777, 0o640);
    assert!(fs::read_to_string(&real).unwrap().contains("\"b\""));
    assert_eq!(setup.names(), ["bindery.toml", "real.toml"]);
}
