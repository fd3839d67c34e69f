//! What the access log says of requests that end otherwise than with an answer from here: clients
//! that are gone, tunnels, upstream servers that fail.

use bindery_testkit::{http2::Http2, soon, tls::TestClient};
use http::Request;
use tokio::net::TcpListener;

use crate::{
    log::{Line, check, lines, logging, metric},
    setup::{connected, http, https},
    tunnel::{Met, Site, http2, proxy_to, stream2, switched, upstream, upstream_queue},
};

#[tokio::test]
async fn a_client_that_is_gone_before_its_answer_is_logged() {
    let (port, mut asked) = upstream_queue().await;
    let mut site = Site::new(proxy_to(port));
    let change = logging(&site.setup);
    let server = site.start_changed(change);
    // Each waits for an upstream that never answers, until its client goes.
    let mut plain = http(site.plain).await;
    plain.send("GET /plain HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
    let first = soon("the request", asked.recv()).await.unwrap();
    drop(plain);
    let mut tls = https(site.port, "a.example").await;
    let head = "POST /tls?q HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\nabc";
    tls.send(head).await.unwrap();
    let second = soon("the request", asked.recv()).await.unwrap();
    drop(tls);
    let stream = connected(&TestClient::with_alpn(&["h2"]), site.port, "a.example").await.stream;
    let mut requests = Http2::new(stream).await;
    let request = Request::get("https://a.example/reset").body(()).unwrap();
    let answer = requests.begin(request).await.unwrap();
    let third = soon("the request", asked.recv()).await.unwrap();
    // Which resets the stream.
    drop(answer);
    let lines = lines(&site.setup, &server, 3).await;
    for (path, bytes) in [("/plain", "0"), ("/tls", "3"), ("/reset", "0")] {
        check(
            of(&lines, path),
            &[
                ("sc-status", "499"),
                ("sc-win32-status", "64"),
                ("sc-bytes", "0"),
                ("cs-bytes", bytes),
                ("cs-host", "a.example"),
            ],
        );
    }
    assert_eq!(metric(&server, "bindery_requests_incomplete_total"), 3);
    drop((first, second, third));
}

/// The line of a path.
#[track_caller]
fn of<'l>(lines: &'l [Line], path: &str) -> &'l Line {
    lines.iter().find(|line| line["cs-uri-stem"] == path).unwrap()
}

#[tokio::test]
async fn a_tunnel_is_logged_when_it_ends_with_what_went_through_it() {
    let port = upstream(async |mut met| {
        met.switch().await;
        met.hear(5).await;
        met.say("seven..").await;
    })
    .await;
    let mut site = Site::new(proxy_to(port));
    let change = logging(&site.setup);
    let server = site.start_changed(change);
    let mut client = http(site.plain).await;
    switched(&mut client).await;
    server.server().flush_logs().await;
    assert!(!site.setup.folder().join("logs/W3SVC1").exists(), "it goes on");
    client.send("hello").await.unwrap();
    assert_eq!(client.rest().await.unwrap(), b"seven..");
    drop(client);
    let mut requests = http2(site.port).await;
    let mut stream = stream2(&mut requests, "test").await.into_body();
    stream.say(b"hello").await;
    stream.hear(7).await;
    drop(stream);
    let lines = lines(&site.setup, &server, 2).await;
    for (line, (method, status)) in lines.iter().zip([("GET", "101"), ("CONNECT", "200")]) {
        check(
            line,
            &[
                ("cs-method", method),
                ("sc-status", status),
                ("cs-uri-stem", "/chat"),
                ("sc-bytes", "7"),
                ("cs-bytes", "5"),
            ],
        );
    }
    check(&lines[0], &[("sc-win32-status", "0")]);
}

#[tokio::test]
async fn a_line_says_what_was_wrong_with_an_upstream_server() {
    let port = upstream(async |mut met: Met| {
        if met.head.starts_with("GET /garbage ") {
            met.say("no answer\r\n\r\n").await;
        } else if met.head.starts_with("GET /short ") {
            met.say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfour").await;
        }
    })
    .await;
    let mut site = Site::new(proxy_to(port));
    let change = logging(&site.setup);
    let server = site.start_changed(change);
    for (path, status) in [("/garbage", 502), ("/nothing", 502), ("/short", 200)] {
        let mut client = http(site.plain).await;
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n")).await.unwrap();
        let answer = client.answer().await;
        assert_eq!(answer.map_or(200, |answer| answer.status), status, "{path}");
    }
    let lines = lines(&site.setup, &server, 3).await;
    check(of(&lines, "/garbage"), &[("sc-substatus", "3"), ("sc-win32-status", "12152")]);
    check(of(&lines, "/nothing"), &[("sc-substatus", "3"), ("sc-win32-status", "12152")]);
    check(of(&lines, "/short"), &[("sc-bytes", "4"), ("sc-win32-status", "12030")]);
}

#[tokio::test]
async fn a_line_says_that_nobody_listened() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let mut site = Site::new(proxy_to(port));
    let change = logging(&site.setup);
    let server = site.start_changed(change);
    assert_eq!(http(site.plain).await.get("a.example", "/").await.unwrap().status, 502);
    let lines = lines(&site.setup, &server, 1).await;
    check(&lines[0], &[("sc-substatus", "3"), ("sc-win32-status", "12029")]);
}
