//! The ways to upstream servers: names, connections that do not come about, TLS, members that
//! recover; and content that is too large for them.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bindery_model::{
    document::Configuration,
    rules::Rules,
    upstream::{
        HealthCheck, Proxy, ServerAddress, Upstream, UpstreamHost, UpstreamProtocol, UpstreamServer,
    },
};
use bindery_testkit::{ca::TestCa, deaf::Deaf, eventually, soon};
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::Request;
use tokio::{io::AsyncReadExt as _, net::TcpListener};

use crate::{
    proxy::{Front, HELLO, Told, at, to},
    setup::Setup,
    tunnel::upstream,
};

/// A member by name.
fn named(host: &str, port: u16) -> Proxy {
    let address = ServerAddress::Tcp { host: host.to_owned(), port };
    let server = UpstreamServer { address, https: false, weight: 1, backup: false };
    Proxy::to(Upstream::of(vec![server]))
}

#[tokio::test]
async fn a_member_may_be_named_and_any_of_its_addresses_answers() {
    // Nobody listens on ::1, which most machines find first for this name.
    let member = Told::new(&[HELLO]).await;
    let front = Front::new(named("localhost", member.port));
    assert_eq!(front.http().await.get("a.example", "/").await.unwrap().text(), "hello");
    assert_eq!(member.heads().len(), 1);
}

#[tokio::test]
async fn a_member_that_takes_no_connection_is_given_up_in_time_and_others_are_asked() {
    let deaf = Deaf::at("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let port = deaf.address().port();
    let patience = Duration::from_millis(100);
    let mut proxy = to(&[port]);
    proxy.timeouts.connect = patience;
    for protocol in [UpstreamProtocol::Http1, UpstreamProtocol::Http2] {
        proxy.upstream.protocol = protocol;
        let front = Front::new(proxy.clone());
        let began = std::time::Instant::now();
        let answer = front.http().await.get("a.example", "/").await.unwrap();
        assert_eq!(answer.status, 504, "{protocol:?}");
        assert!(began.elapsed() >= patience);
    }

    let well = Told::new(&[HELLO]).await;
    let mut proxy = to(&[port, well.port]);
    proxy.timeouts.connect = patience;
    let front = Front::new(proxy);
    let mut client = front.http().await;
    for _ in 0..4 {
        client
            .send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\nhi")
            .await
            .unwrap();
        assert_eq!(client.answer().await.unwrap().text(), "hello", "nothing had been sent");
    }
    assert_eq!(well.heads().len(), 4);
}

#[tokio::test]
async fn a_member_that_a_health_check_finds_well_again_is_asked_again() {
    let sick = Arc::new(AtomicBool::new(true));
    let is_sick = Arc::clone(&sick);
    let heads = Arc::<Mutex<Vec<String>>>::default();
    let seen = Arc::clone(&heads);
    let changing = upstream(move |mut met| {
        let sick = is_sick.load(Ordering::Relaxed);
        seen.lock().unwrap().push(met.head.clone());
        async move {
            let status = if sick { "503 Sick" } else { "200 OK" };
            met.say(format!(
                "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 5\r\n\r\nfirst"
            ))
            .await;
        }
    })
    .await;
    let other = Told::new(&["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother"]).await;
    let mut proxy = to(&[changing, other.port]);
    // Only when nobody else can would the second be asked.
    proxy.upstream.servers = vec![at(changing), UpstreamServer { backup: true, ..at(other.port) }];
    proxy.upstream.health_check = Some(HealthCheck {
        path: "/healthz".to_owned(),
        interval: Duration::from_millis(20),
        timeout: Duration::from_secs(5),
        rise: 3,
        fall: 2,
    });
    let front = Front::new(proxy);
    let mut client = front.http().await;
    drop(client.get("a.example", "/").await.unwrap());
    let well = async |wanted: bool| {
        let status = front.server.server().upstreams();
        let name = format!("http://127.0.0.1:{changing}");
        let member = status.iter().find(|member| member.name == name).expect("the member");
        member.well == wanted
    };
    eventually("it is found unwell", async || well(false).await).await;
    let asked = || {
        let heads = heads.lock().unwrap();
        let health = |head: &&String| head.starts_with("GET /healthz ");
        (heads.iter().filter(health).count(), heads.iter().filter(|head| !health(head)).count())
    };
    let (_, before) = asked();
    for _ in 0..3 {
        assert_eq!(client.get("a.example", "/").await.unwrap().text(), "other");
    }
    assert_eq!(asked().1, before, "nobody is sent to it");

    let (checks, _) = asked();
    sick.store(false, Ordering::Relaxed);
    eventually("it is found well", async || well(true).await).await;
    assert!(asked().0 >= checks + 3, "by as many checks as it takes");
    for _ in 0..3 {
        assert_eq!(client.get("a.example", "/").await.unwrap().text(), "first");
    }
    assert_eq!(asked().1, before + 3);
}

/// Up to so many bytes of content.
fn bounded(bytes: u64) -> impl FnOnce(&mut Configuration) {
    move |configuration| {
        let rules = Rules { request_bytes_max: Some(bytes), ..Rules::default() };
        Arc::make_mut(&mut configuration.table.sites[0]).root.rules = Arc::new(rules);
    }
}

#[tokio::test]
async fn content_over_the_limit_is_refused_and_never_looks_whole_to_a_member() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let front = Front::with(to(&[port]), bounded(10));
    let post = "POST / HTTP/1.1\r\nHost: a.example\r\n";

    // By a length: no connection is opened for it.
    for lines in [
        "Content-Length: 11\r\n\r\n0123456789a",
        "Content-Length: 4000000000\r\nExpect: 100-continue\r\n\r\n",
    ] {
        let mut client = front.http().await;
        client.send(format!("{post}{lines}")).await.unwrap();
        assert_eq!(client.answer().await.unwrap().status, 413, "{lines}");
    }
    let mut http2 = front.http2().await;
    let request = || Request::post("https://a.example/");
    let length = request().header("content-length", "11").body(()).unwrap();
    let answer = http2.ask_with(length, Bytes::from_static(b"0123456789a")).await.unwrap();
    assert_eq!(answer.status, 413);
    let opened = std::pin::pin!(listener.accept()).now_or_never();
    assert!(opened.is_none(), "{opened:?}");

    // In chunks: what came before has gone up, and is followed by no end.
    let mut client = front.http().await;
    let chunked = "Transfer-Encoding: chunked\r\n\r\n8\r\n01234567\r\n";
    client.send(format!("{post}{chunked}")).await.unwrap();
    let (mut up, _) = soon("a connection", listener.accept()).await.unwrap();
    let mut said = Vec::new();
    while !said.ends_with(b"01234567\r\n") {
        assert!(soon("the first chunk", up.read_buf(&mut said)).await.unwrap() > 0);
    }
    client.send("3\r\n89a\r\n0\r\n\r\n").await.unwrap();
    assert_eq!(client.answer().await.unwrap().status, 413);
    said.clear();
    // Closed or reset.
    drop(soon("its end", up.read_to_end(&mut said)).await);
    assert_eq!(said, b"");

    let all = Bytes::from_static(b"0123456789a");
    assert_eq!(http2.ask_with(request().body(()).unwrap(), all).await.unwrap().status, 413);
}

#[tokio::test]
async fn content_within_the_limit_is_handed_on() {
    let port = upstream(async |mut met| {
        let mut content = vec![0; 10];
        if met.field("content-length").is_none() {
            content = vec![0; "a\r\n0123456789\r\n0\r\n\r\n".len()];
        }
        soon("the content", met.stream.read_exact(&mut content)).await.unwrap();
        met.say(HELLO).await;
    })
    .await;
    let front = Front::with(to(&[port]), bounded(10));
    for content in [
        "Content-Length: 10\r\n\r\n0123456789",
        "Transfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n",
    ] {
        let mut client = front.http().await;
        client.send(format!("POST / HTTP/1.1\r\nHost: a.example\r\n{content}")).await.unwrap();
        assert_eq!(client.answer().await.unwrap().text(), "hello", "{content}");
    }
}

#[tokio::test]
async fn a_member_behind_tls_must_show_a_certificate_of_its_authority_and_name() {
    let mut back = Setup::new();
    let port = back.port();
    back.certificate("up", &["up.internal"]);
    back.site("up", &[&format!("https/127.0.0.1:{port}:up.internal")]);
    let back_server = back.start();
    let right = back.ca.write(back.folder(), "ca");
    let wrong = TestCa::new().write(back.folder(), "other-ca");
    let mut proxy = to(&[port]);
    proxy.upstream.servers[0].https = true;
    proxy.host = UpstreamHost::Fixed("up.internal".to_owned());

    for protocol in [UpstreamProtocol::Http1, UpstreamProtocol::Http2] {
        proxy.upstream.protocol = protocol;
        for (ca, name, expected) in [
            (Some(&right), Some("up.internal"), 200),
            (Some(&wrong), Some("up.internal"), 502),
            (Some(&right), Some("other.internal"), 502),
            // The member's host is an address, which the certificate does not name.
            (Some(&right), None, 502),
            // No authority of this machine vouches for it.
            (None, Some("up.internal"), 502),
        ] {
            let before = back_server.counters().requests_total;
            proxy.upstream.tls.ca = ca.cloned();
            proxy.upstream.tls.server_name = name.map(str::to_owned);
            let front = Front::new(proxy.clone());
            let answer = front.http().await.get("a.example", "/").await.unwrap();
            assert_eq!(answer.status, expected, "{ca:?} {name:?} {protocol:?}");
            if expected == 200 {
                assert_eq!(answer.text(), "up");
            } else {
                // It has heard nothing of the request.
                assert_eq!(back_server.counters().requests_total, before);
            }
        }
    }
}
