//! A configuration replaced under running connections: what changed is seen, nothing else is.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bindery_testkit::{
    ca::{LeafOptions, TestCa, Usage},
    eventually,
    http1::Http1,
    http2::Http2,
    soon,
    tls::{ClientOptions, TestClient},
};
use tokio::{net::TcpStream, task::JoinSet};

use crate::{
    http1::bytes_of,
    setup::{Setup, connected, get, http, https, local, shown},
};

#[tokio::test]
async fn a_site_is_added_while_connections_go_on() {
    let mut setup = Setup::new();
    let (plain, port) = (setup.port(), setup.port());
    setup.certificate("a", &["a.example"]);
    setup.site("p", &[&format!("http/127.0.0.1:{plain}:a.example")]);
    setup.site("a", &[&format!("https/127.0.0.1:{port}:a.example")]);
    let server = setup.start();
    let mut kept = https(port, "a.example").await;
    let mut kept_plain = http(plain).await;
    let client = TestClient::with_alpn(&["h2"]);
    let mut kept2 = Http2::new(connected(&client, port, "a.example").await.stream).await;
    assert_eq!(kept.get("a.example", "/").await.unwrap().text(), "a");
    assert_eq!(kept_plain.get("a.example", "/").await.unwrap().text(), "p");
    assert_eq!(kept2.get("a.example", "/").await.unwrap().text(), "a");
    assert!(shown(port, Some("b.example")).await.is_err());

    let added = setup.certificate("b", &["b.example"]);
    setup.site("b", &[&format!("https/127.0.0.1:{port}:b.example")]);
    assert_eq!(setup.replace(&server), 0, "nobody is disturbed");
    assert!(shown(port, Some("b.example")).await.unwrap() == added);
    assert_eq!(get(port, "b.example").await.text(), "b");
    for _ in 0..3 {
        assert_eq!(kept.get("a.example", "/").await.unwrap().text(), "a");
        assert_eq!(kept_plain.get("a.example", "/").await.unwrap().text(), "p");
        assert_eq!(kept2.get("a.example", "/").await.unwrap().text(), "a");
    }
    // Three that are kept, and the two that asked for the new name.
    assert_eq!(server.counters().requests_total, 13);
}

#[tokio::test]
async fn the_next_request_of_a_kept_connection_sees_the_change() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example", "b.example"]);
    let before = setup.text.clone();
    let on = format!("https/127.0.0.1:{port}:a.example");
    setup.site("old", &[&on]);
    setup.site("b", &[&format!("https/127.0.0.1:{port}:b.example")]);
    let server = setup.start();
    let mut kept = https(port, "a.example").await;
    assert_eq!(kept.get("a.example", "/").await.unwrap().text(), "old");
    assert_eq!(kept.get("b.example", "/").await.unwrap().text(), "b");

    setup.text.clone_from(&before);
    setup.site("new", &[&on]);
    assert_eq!(setup.replace(&server), 0);
    assert_eq!(kept.get("a.example", "/").await.unwrap().text(), "new");
    assert_eq!(kept.get("b.example", "/").await.unwrap().status, 421, "nobody's any more");

    setup.text.clone_from(&before);
    setup.site_with("new", &[&on], "state = \"stopped\"\nrespond = \"new\"");
    assert_eq!(setup.replace(&server), 0);
    assert_eq!(kept.get("a.example", "/").await.unwrap().status, 503);

    // A connection under yesterday's policy does not answer under today's.
    setup.text = before;
    setup.site("new", &[&format!(r#"{{ on = "{on}", tls = {{ minimum = "1.3" }} }}"#)]);
    assert_eq!(setup.replace(&server), 0);
    assert_eq!(kept.get("a.example", "/").await.unwrap().status, 421);
    assert_eq!(get(port, "a.example").await.text(), "new");
}

#[tokio::test]
async fn an_endpoint_that_is_removed_drains_its_own_connections_only() {
    let mut setup = Setup::new();
    let (stays, goes) = (setup.port(), setup.port());
    setup.certificate("a", &["a.example"]);
    let content = bytes_of(20 * 1024 * 1024);
    setup.files("a", &[&format!("https/127.0.0.1:{stays}:a.example")], &[("large", &content)]);
    let remaining = setup.text.clone();
    setup.site_with("b", &[&format!("https/127.0.0.1:{goes}:a.example")], "root = \"a\"");
    let server = setup.start();
    let mut kept = https(stays, "a.example").await;
    assert_eq!(kept.get("a.example", "/missing").await.unwrap().status, 404);
    let mut idle = https(goes, "a.example").await;
    assert_eq!(idle.get("a.example", "/missing").await.unwrap().status, 404);
    let client = TestClient::with_alpn(&["h2"]);
    let mut idle2 = Http2::new(connected(&client, goes, "a.example").await.stream).await;
    assert_eq!(idle2.get("a.example", "/missing").await.unwrap().status, 404);
    let mut loads = https(goes, "a.example").await;
    loads.send("GET /large HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
    assert_eq!(loads.head().await.unwrap().status, 200);

    setup.text = remaining;
    assert_eq!(setup.replace(&server), 3, "the three of that endpoint");
    assert!(idle.is_closed().await.unwrap());
    idle2.ended().await.expect("GOAWAY without an error");
    assert!(loads.take(content.len()).await.unwrap() == content, "what runs is finished");
    assert!(loads.is_closed().await.unwrap());
    // The accept loop is stopped by its runtime, an instant later.
    eventually("the port is closed", async || TcpStream::connect(local(goes)).await.is_err()).await;
    assert_eq!(kept.get("a.example", "/missing").await.unwrap().status, 404);
    eventually("only one is left", async || server.counters().connections == 1).await;
}

#[tokio::test]
async fn an_endpoint_is_added_and_the_others_keep_their_sockets() {
    let mut setup = Setup::new();
    let first = setup.port();
    setup.certificate("a", &["a.example"]);
    setup.site("a", &[&format!("https/127.0.0.1:{first}:a.example")]);
    let server = setup.start();
    // In the queue of the kernel, not accepted, or just so: it must not be reset.
    let waiting = TcpStream::connect(local(first)).await.unwrap();
    let second = setup.port();
    setup.site("b", &[&format!("https/127.0.0.1:{second}:a.example")]);
    assert_eq!(setup.replace(&server), 0);
    assert_eq!(get(second, "a.example").await.text(), "b");
    let connection = TestClient::default().connect_over(waiting, Some("a.example")).await.unwrap();
    let mut waiting = Http1::new(connection.stream);
    assert_eq!(waiting.get("a.example", "/").await.unwrap().text(), "a");
    assert_eq!(server.counters().endpoints.len(), 2);
}

#[tokio::test]
async fn a_port_that_becomes_https_speaks_it_with_the_next_connection() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example"]);
    let before = setup.text.clone();
    setup.site("plain", &[&format!("http/127.0.0.1:{port}:a.example")]);
    let server = setup.start();
    let mut old = http(port).await;
    assert_eq!(old.get("a.example", "/").await.unwrap().text(), "plain");
    setup.text = before;
    setup.site("tls", &[&format!("https/127.0.0.1:{port}:a.example")]);
    setup.replace(&server);
    assert_eq!(get(port, "a.example").await.text(), "tls");
    let answer = old.get("a.example", "/").await;
    assert!(answer.is_err() || answer.unwrap().status == 400, "no site without TLS any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_in_a_storm_of_changes() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example", "b.example"]);
    setup.site("a", &[&format!("https/127.0.0.1:{port}:a.example")]);
    let small = setup.text.clone();
    let server = setup.start();
    let asked: Arc<[AtomicUsize; 4]> = Arc::default();
    let stop = Arc::new(AtomicBool::new(false));
    let mut askers = JoinSet::new();
    for number in 0..asked.len() {
        let (asked, stop) = (Arc::clone(&asked), Arc::clone(&stop));
        askers.spawn(async move {
            let mut kept = https(port, "a.example").await;
            while !stop.load(Relaxed) {
                // Half of them on a kept connection, half on new ones.
                let answer = match number % 2 {
                    0 => kept.get("a.example", "/").await.unwrap(),
                    _ => get(port, "a.example").await,
                };
                assert_eq!((answer.status, answer.text().as_str()), (200, "a"));
                asked[number].fetch_add(1, Relaxed);
            }
        });
    }
    let mut rounds = 0;
    let enough = || asked.iter().all(|asked| asked.load(Relaxed) >= 50);
    while rounds < 100 || !enough() {
        setup.text.clone_from(&small);
        if rounds % 2 == 0 {
            setup.site("b", &[&format!("https/127.0.0.1:{port}:b.example")]);
        }
        assert_eq!(setup.replace(&server), 0);
        rounds += 1;
        tokio::time::sleep(Duration::from_millis(1)).await;
        // One that has ended has failed; waiting for it would take for ever.
        assert_eq!(askers.len(), asked.len());
        if let Some(done) = askers.try_join_next() {
            done.unwrap();
        }
    }
    stop.store(true, Relaxed);
    while let Some(done) = soon("the askers", askers.join_next()).await {
        done.unwrap();
    }
    assert_eq!(server.counters().failed_handshakes, 0);
}

#[tokio::test]
async fn who_was_verified_by_an_authority_of_before_is_not_served_any_more() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example"]);
    let clients = TestCa::named("Clients");
    drop(clients.write(setup.folder(), "clients"));
    let tls = r#"client_certificate = "require", client_ca = "clients.pem""#;
    let on = format!("https/127.0.0.1:{port}:a.example");
    setup.site("a", &[&format!(r#"{{ on = "{on}", tls = {{ {tls} }} }}"#)]);
    let server = setup.start();
    let known = LeafOptions { usage: Usage::Client, ..LeafOptions::default() };
    let identity = clients.leaf_with(&[], known);
    let options = ClientOptions { identity: Some(&identity), ..ClientOptions::default() };
    let connection = connected(&TestClient::new(options), port, "a.example").await;
    let mut kept = Http1::new(connection.stream);
    assert_eq!(kept.get("a.example", "/").await.unwrap().text(), "a");
    setup.replace(&server);
    assert_eq!(kept.get("a.example", "/").await.unwrap().text(), "a", "nothing has changed");
    drop(TestCa::named("Others").write(setup.folder(), "clients"));
    setup.replace(&server);
    assert_eq!(kept.get("a.example", "/").await.unwrap().status, 421);
}

#[tokio::test]
async fn a_certificate_that_is_no_longer_named_is_forgotten_with_its_problems() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("good", &["good.example"]);
    setup.site("good", &[&format!("https/127.0.0.1:{port}:good.example")]);
    let kept = setup.text.clone();
    let bad = setup.ca.leaf(&["bad.example"]);
    std::fs::write(setup.certificate_of("bad", &bad), "rubbish").unwrap();
    let on = format!("https/127.0.0.1:{port}:bad.example");
    setup.site("bad", &[&format!(r#"{{ on = "{on}", certificate = "bad" }}"#)]);
    let server = setup.start();
    assert_eq!(get(port, "good.example").await.text(), "good");
    assert!(shown(port, Some("bad.example")).await.is_err());
    let counters = server.counters();
    assert_eq!((counters.certificates_in_memory, counters.certificate_problems.len()), (2, 1));

    setup.text = kept;
    assert_eq!(setup.replace(&server), 0);
    let counters = server.counters();
    assert_eq!((counters.certificates_in_memory, counters.certificate_problems.len()), (1, 0));
    assert_eq!(get(port, "good.example").await.text(), "good");
}
