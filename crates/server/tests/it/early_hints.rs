//! Interim answers: passed on before the answer, to who knows them, and never between others.

use std::time::Duration;

use bindery_server::limits::INTERIM_ANSWERS_MAX;
use bindery_testkit::{http1::Http1, http2::Http2, tls::TestClient};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    setup::{connected, http, https},
    tunnel::{Site, proxy_to, upstream},
};

const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\
     Connection: x-own\r\nX-Own: 1\r\n\r\n";

#[tokio::test]
async fn early_hints_come_before_the_answer_where_the_client_knows_them() {
    let (go_on, wait) = tokio::sync::watch::channel(false);
    let port = upstream(move |mut met| {
        let mut wait = wait.clone();
        async move {
            met.say("HTTP/1.1 100 Continue\r\n\r\n").await;
            met.say(HINTS).await;
            wait.wait_for(|go_on| *go_on).await.unwrap();
            met.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
    })
    .await;
    let mut site = Site::new(proxy_to(port));
    let _server = site.start();
    let mut client = https(site.port, "a.example").await;
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
    // They come when they come, not with the answer.
    let hints = client.head().await.unwrap();
    assert_eq!(hints.status, 103);
    assert_eq!(hints.field("link"), Some("</a.css>; rel=preload"));
    assert_eq!(hints.fields.len(), 1, "{hints:?}");
    go_on.send(true).unwrap();
    assert_eq!(client.answer().await.unwrap().text(), "ok");
    // Again on the same connection, and with a request behind it that waits.
    let two = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n".repeat(2);
    client.send(two).await.unwrap();
    for _ in 0..2 {
        assert_eq!(client.head().await.unwrap().status, 103);
        assert_eq!(client.answer().await.unwrap().text(), "ok");
    }
    let mut old = http(site.plain).await;
    old.send("GET / HTTP/1.0\r\nHost: a.example\r\n\r\n").await.unwrap();
    assert_eq!(old.answer().await.unwrap().status, 200);
    let client = TestClient::with_alpn(&["h2"]);
    let stream = connected(&client, site.port, "a.example").await.stream;
    let mut client = Http2::new(stream).await;
    assert_eq!(client.get("a.example", "/").await.unwrap().text(), "ok");
}

#[tokio::test]
async fn only_so_many_early_hints_are_passed_on() {
    let port = upstream(async |mut met| {
        met.say(HINTS.repeat(100)).await;
        met.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    })
    .await;
    let mut site = Site::new(proxy_to(port));
    let _server = site.start();
    let mut client = http(site.plain).await;
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
    for _ in 0..INTERIM_ANSWERS_MAX {
        assert_eq!(client.head().await.unwrap().status, 103);
    }
    assert_eq!(client.answer().await.unwrap().text(), "ok");
}

#[tokio::test]
async fn hints_never_come_between_the_parts_of_an_answer_before_them() {
    const LARGE: usize = 4 * 1024 * 1024;
    let port = upstream(async |mut met| {
        if met.head.starts_with("GET /large") {
            met.say(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n")).await;
            met.say(vec![b'x'; LARGE]).await;
        } else {
            met.say(HINTS).await;
            met.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
    })
    .await;
    let mut site = Site::new(proxy_to(port));
    let _server = site.start();
    for tls in [false, true] {
        let request = |path| format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n");
        let both = [request("/large"), request("/")].concat();
        match tls {
            true => read(https(site.port, "a.example").await, &both).await,
            false => read(http(site.plain).await, &both).await,
        }
    }
}

async fn read(mut client: Http1<impl AsyncRead + AsyncWrite + Unpin>, both: &str) {
    client.send(both).await.unwrap();
    // Until the answer waits for its reader.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(client.answer().await.unwrap().content.iter().all(|byte| *byte == b'x'));
    let mut next = client.head().await.unwrap();
    if next.status == 103 {
        next = client.head().await.unwrap();
    }
    assert_eq!(next.status, 200);
    assert_eq!(client.take(2).await.unwrap(), b"ok");
}
