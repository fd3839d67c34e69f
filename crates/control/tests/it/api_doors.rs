//! Who may ask, from where, and who listens.

use std::{net::IpAddr, time::Duration};

use axum::body::Body;
use bindery_control::{
    api::{Peer, ProblemDocument, Role, TokenFile},
    client::{Client, ClientError, Terms, Wanted},
    history::Door,
    home::Form,
};
use bindery_model::change::{Act, Change, Place, Value as Setting};
use http::Request;
use http_body_util::BodyExt as _;
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    net::UnixStream,
    time::timeout,
};

use crate::{
    api::{Sent, Served},
    setup::add,
};

const LOOPBACK: Peer = Peer::Address(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

/// What somebody is told who comes from `peer`.
async fn asked(
    served: &Served,
    peer: Peer,
    target: &str,
    headers: &[(&str, &str)],
) -> (u16, String) {
    let (method, target) = target.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = served.api.answer(request.body(Body::empty()).unwrap(), peer).await;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn the_socket_is_for_root_and_the_servers_own_user() {
    let served = Served::new();
    let own = rustix::process::geteuid().as_raw();
    for user in [0, own] {
        assert_eq!(asked(&served, Peer::User(user), "GET /v1/sites", &[]).await.0, 200);
    }
    let (status, text) = asked(&served, Peer::User(own + 4321), "GET /v1/sites", &[]).await;
    assert_eq!(status, 403);
    assert!(text.contains("only root and"), "{text}");
}

#[tokio::test]
async fn a_change_stands_in_the_history_with_who_asked_by_which_door() {
    let served = Served::new();
    let sent = |text: &str| Sent::Json(json!({ "respond": text }));
    for (door, header) in [("cli", Some("cli")), ("netsh", Some("netsh")), ("api", None)] {
        let headers: Vec<_> = header.into_iter().map(|door| ("bindery-door", door)).collect();
        let made = served.send("PATCH /v1/sites/a", &headers, sent(door)).await;
        assert_eq!(made.status, 200, "{made:?}");
        let actor = served.applier.history(None, 1).unwrap().remove(0).actor;
        assert_eq!(serde_json::to_value(actor.door).unwrap(), door);
        let own = rustix::process::geteuid().as_raw();
        assert_eq!(actor.name, bindery_control::api::user_name(own));
    }
    let wrong = served.send("PATCH /v1/sites/a", &[("bindery-door", "file")], sent("x")).await;
    wrong.refused(400, "malformed");
}

#[tokio::test]
async fn a_token_may_do_what_its_role_says() {
    let served = Served::new();
    let tokens = TokenFile::of(&served.setup.folder.path().join("state"));
    let sent: Vec<_> = Role::ALL
        .into_iter()
        .map(|role| format!("Bearer {}", tokens.add(role.word(), role, None).unwrap()))
        .collect();
    for (target, allowed) in [
        ("GET /v1/sites", [200, 200, 200]),
        ("POST /v1/sites/a/stop", [403, 200, 200]),
        ("POST /v1/sites/a/start", [403, 200, 200]),
        ("POST /v1/reload", [403, 403, 200]),
        ("DELETE /v1/sites/none", [403, 403, 404]),
    ] {
        for (token, status) in sent.iter().zip(allowed) {
            let headers = [("authorization", token.as_str()), ("host", "127.0.0.1:9180")];
            let (told, text) = asked(&served, LOOPBACK, target, &headers).await;
            assert_eq!(told, status, "{target}: {text}");
        }
    }
    let actor = served.applier.history(None, 1).unwrap().remove(0).actor;
    assert_eq!((actor.name.as_str(), actor.door), ("admin", Door::Api));
    // A door is believed of nobody there, and a page's own name leads nowhere.
    let admin = ("authorization", sent[2].as_str());
    let (status, _) =
        asked(&served, LOOPBACK, "GET /v1/sites", &[admin, ("bindery-door", "x")]).await;
    assert_eq!(status, 200);
    let (status, _) =
        asked(&served, LOOPBACK, "GET /v1/sites", &[admin, ("host", "evil.example")]).await;
    assert_eq!(status, 403);
    for wrong in [None, Some("Bearer admin.00"), Some("Basic YTpi"), Some("Bearer ")] {
        let headers: Vec<_> = wrong.into_iter().map(|own| ("authorization", own)).collect();
        let (status, text) = asked(&served, LOOPBACK, "GET /v1/sites", &headers).await;
        assert_eq!(status, 401, "{text}");
    }
    tokens.remove("admin").unwrap();
    let (status, _) = asked(&served, LOOPBACK, "GET /v1/sites", &[admin]).await;
    assert_eq!(status, 401, "it was taken back");
}

/// The next event that is no heartbeat: its lines.
async fn event(lines: &mut Lines<BufReader<UnixStream>>) -> Vec<String> {
    let mut event = Vec::new();
    loop {
        let line = timeout(Duration::from_secs(10), lines.next_line()).await.unwrap();
        let line = line.unwrap().unwrap();
        // The lengths of chunks stand between them.
        let is_field = ["id:", "event:", "data:"].iter().any(|name| line.starts_with(name));
        if is_field {
            event.push(line);
        } else if line.is_empty() && !event.is_empty() {
            return event;
        }
    }
}

async fn listen(served: &Served, last: Option<u64>) -> Lines<BufReader<UnixStream>> {
    let mut stream = UnixStream::connect(&served.socket).await.unwrap();
    let last = last.map_or_else(String::new, |last| format!("Last-Event-ID: {last}\r\n"));
    let head = format!("GET /v1/events HTTP/1.1\r\nHost: localhost\r\n{last}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next_line().await.unwrap().unwrap();
    assert_eq!(first, "HTTP/1.1 200 OK");
    while !lines.next_line().await.unwrap().unwrap().is_empty() {}
    lines
}

#[tokio::test]
async fn who_listens_is_told_of_changes_and_of_edits_that_cannot_be_served() {
    let served = Served::new();
    let mut lines = listen(&served, None).await;
    let set = |text: &'static str| served.tell("PATCH /v1/sites/a", json!({ "respond": text }));
    assert_eq!(set("b").await.status, 200);
    let told = event(&mut lines).await;
    let id = |told: &[String]| told.iter().find(|line| line.starts_with("id:")).cloned();
    assert!(told.contains(&"event: changed".to_owned()), "{told:?}");
    assert_eq!(id(&told).as_deref(), Some("id: 2"));
    let data = told.iter().find_map(|line| line.strip_prefix("data: ")).unwrap();
    let record: serde_json::Value = serde_json::from_str(data).unwrap();
    assert_eq!((&record["revision"], &record["actor"]["door"]), (&json!(2), &json!("api")));

    let good = served.setup.read();
    served.setup.write("version = 1\n[[site]\n");
    set("c").await.refused(423, "edited");
    let told = event(&mut lines).await;
    assert!(told.contains(&"event: refused".to_owned()), "{told:?}");
    assert_eq!(id(&told), None, "nothing was changed");
    served.setup.write(&good);

    // Who was away is told what it has missed, once.
    drop(lines);
    for text in ["c", "d"] {
        assert_eq!(set(text).await.status, 200);
    }
    let mut lines = listen(&served, Some(2)).await;
    assert_eq!(set("e").await.status, 200);
    for revision in 3..6 {
        assert_eq!(id(&event(&mut lines).await), Some(format!("id: {revision}")));
    }
    let wrong = [("last-event-id", "x")];
    served.send("GET /v1/events", &wrong, Sent::Nothing).await.refused(400, "malformed");
}

#[tokio::test]
async fn a_command_asks_by_the_client() {
    let served = Served::new();
    let (state, port) = (served.setup.folder.path().join("state"), served.setup.port);
    let text = served.setup.read();
    let asked = bindery_server::blocking::run("a command", move || {
        let client = Client::new(&state, Door::Cli).unwrap();
        assert_eq!(client.status().unwrap().sites[0].name, "a");
        let (now, terms) = (client.text().unwrap(), Terms::default());
        assert_eq!((now.revision, now.form, &now.text), (1, Form::Toml, &text));
        let dry = Terms { dry_run: true, ..terms };
        assert!(!client.change(&[add("b", port)], &[], dry).unwrap().changed);
        let made = client.change(&[add("b", port)], &[], Terms { expected: Some(1), ..terms });
        assert_eq!(made.unwrap().revision, 2);
        let old = client.change(&[add("c", port)], &[], Terms { expected: Some(1), ..terms });
        let Err(ClientError::Refused(refusal)) = old else { panic!("{old:?}") };
        let ProblemDocument { status, revision, .. } = &refusal.0;
        assert_eq!((*status, *revision, refusal.0.word()), (412, Some(2), "outdated"));
        let set = Act::Set([("respond".to_owned(), Some(Setting::Text("x".to_owned())))].into());
        let change = Change { at: Place::Site("b".to_owned()), act: set };
        assert_eq!(client.change(&[change], &[], terms).unwrap().revision, 3);
        let b = client.one(&Place::Site("b".to_owned())).unwrap();
        assert_eq!(b["respond"], Setting::Text("x".to_owned()));
        let about = client.about().unwrap();
        assert_eq!((about.revision, about.form), (3, Form::Toml));
        assert_eq!(std::fs::read_to_string(about.file).unwrap(), client.text().unwrap().text);
        let wanted = Wanted { search: Some("b".to_owned()), ..Wanted::default() };
        assert_eq!(client.sites(&wanted).unwrap().items.len(), 1);
        assert_eq!(client.difference(None, 3).unwrap().from, 2);
        assert_eq!(client.revision(1).unwrap().text, text);
        assert_eq!(client.history(None, Some(2)).unwrap().next.as_deref(), Some("2"));
        assert_eq!(client.undo(1, terms).unwrap().revision, 4);
        assert_eq!(client.put_text(Form::Toml, &text, terms).unwrap().revision, 4);
        assert!(client.records().unwrap().is_empty());
        assert!(client.certificates(&Wanted::default()).unwrap().items.is_empty());
        assert!(client.listeners(&Wanted::default()).unwrap().items.is_empty());
        assert!(client.one(&Place::Server).unwrap().contains_key("state_dir"));
        assert_eq!(client.reload(terms).unwrap().revision, 5);
        let nobody = Client::new(&state.join("none"), Door::Cli).unwrap();
        assert!(matches!(nobody.about(), Err(ClientError::NotRunning(_))));
    });
    asked.await.unwrap();
    let record = served.applier.history(None, 2).unwrap().pop().unwrap();
    assert_eq!(record.actor.door, Door::Cli);
}
