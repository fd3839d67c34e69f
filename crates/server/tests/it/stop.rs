//! A server that stops: what runs is finished, what waits is told, nobody new is taken.

use std::time::{Duration, Instant};

use bindery_server::limits::{BUFFERS_KEPT_MIN, CONNECTION_TICK, HANDSHAKE_TIMEOUT};
use bindery_testkit::{
    eventually,
    http1::Http1,
    http2::{Http2, read},
    soon,
    tls::TestClient,
};
use http::Request;
use tokio::net::TcpStream;

use crate::{
    http1::bytes_of,
    setup::{Setup, connected, http, https, local},
};

const LARGE: usize = 20 * 1024 * 1024;

#[tokio::test]
async fn a_stop_finishes_what_runs_and_ends_what_waits() {
    let mut setup = Setup::new();
    let (plain, port) = (setup.port(), setup.port());
    setup.certificate("a", &["a.example"]);
    let content = bytes_of(LARGE);
    setup.files("a", &[&format!("https/127.0.0.1:{port}:a.example")], &[("large", &content)]);
    setup.site("p", &[&format!("http/127.0.0.1:{plain}:a.example")]);
    let server = setup.start();

    // One that loads, one that rests after a request, one that never asked, each way.
    let mut loads = https(port, "a.example").await;
    loads.send("GET /large HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
    assert_eq!(loads.head().await.unwrap().status, 200);
    let client = TestClient::with_alpn(&["h2"]);
    let mut loads2 = Http2::new(connected(&client, port, "a.example").await.stream).await;
    let request = Request::get("https://a.example/large").body(()).unwrap();
    let answer = loads2.begin(request).await.unwrap();
    let (head, body) = soon("an answer", answer).await.unwrap().into_parts();
    assert_eq!(head.status, 200);
    let mut rests = http(plain).await;
    assert_eq!(rests.get("a.example", "/").await.unwrap().text(), "p");
    let mut rests_tls = https(port, "a.example").await;
    assert_eq!(rests_tls.get("a.example", "/missing").await.unwrap().status, 404);
    let mut rests2 = Http2::new(connected(&client, port, "a.example").await.stream).await;
    assert_eq!(rests2.get("a.example", "/missing").await.unwrap().status, 404);
    let mut silent = http(plain).await;
    let mut silent_tls = https(port, "a.example").await;
    eventually("all are taken in", async || server.counters().connections == 7).await;
    // Deep enough asleep that only being told can wake them.
    tokio::time::sleep(BUFFERS_KEPT_MIN * 10).await;
    let began = Instant::now();

    let stopping = server.stop(Duration::from_secs(20));
    let watching = async {
        for ended in [&mut rests, &mut silent] {
            assert!(ended.is_closed().await.unwrap());
        }
        for ended in [&mut rests_tls, &mut silent_tls] {
            assert!(ended.is_closed().await.unwrap());
        }
        rests2.ended().await.expect("GOAWAY without an error");
        assert!(began.elapsed() < CONNECTION_TICK / 2, "at once: {:?}", began.elapsed());
        for port in [plain, port] {
            let refused = TcpStream::connect(local(port)).await.unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        }
        assert_eq!(server.counters().connections, 2, "those that load go on");
        assert!(loads.take(LARGE).await.unwrap() == content);
        assert!(loads.is_closed().await.unwrap());
        assert!(rest_of(body).await == content);
        loads2.ended().await.expect("GOAWAY without an error");
    };
    let (cut_off, ()) = soon("the stop", async { tokio::join!(stopping, watching) }).await;
    assert_eq!(cut_off, 0);
    assert_eq!(server.counters().connections, 0);
}

async fn rest_of(mut body: h2::RecvStream) -> Vec<u8> {
    let mut content = Vec::new();
    while let Some(chunk) = soon("a chunk", body.data()).await {
        let chunk = chunk.unwrap();
        body.flow_control().release_capacity(chunk.len()).unwrap();
        content.extend_from_slice(&chunk);
    }
    content
}

#[tokio::test]
async fn a_request_that_arrives_while_stopping_is_answered_or_never_taken() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example"]);
    let content = bytes_of(LARGE);
    setup.files("a", &[&format!("https/127.0.0.1:{port}:a.example")], &[("large", &content)]);
    let server = setup.start();
    let client = TestClient::with_alpn(&["h2"]);
    let mut busy = Http2::new(connected(&client, port, "a.example").await.stream).await;
    let request = || Request::get("https://a.example/large").body(()).unwrap();
    let first = busy.begin(request()).await.unwrap();
    let (_, body) = soon("an answer", first).await.unwrap().into_parts();
    let stopping = server.stop(Duration::from_secs(20));
    let watching = async {
        eventually("it is stopping", async || server.server().endpoints().is_empty()).await;
        // The server has said GOAWAY, or is about to: the stream is served or refused unprocessed.
        if let Ok(late) = busy.begin(request()).await {
            match read(late).await {
                Ok(answer) => assert!(answer.content == content),
                Err(error) => assert!(
                    error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM),
                    "{error}"
                ),
            }
        }
        assert!(rest_of(body).await == content);
        drop(busy);
    };
    let (cut_off, ()) = soon("the stop", async { tokio::join!(stopping, watching) }).await;
    assert_eq!(cut_off, 0);
}

#[tokio::test]
async fn a_client_that_said_nothing_yet_does_not_delay_a_stop() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example"]);
    setup.site("a", &[&format!("https/127.0.0.1:{port}:a.example")]);
    let server = setup.start();
    let silent = TcpStream::connect(local(port)).await.unwrap();
    eventually("it is taken in", async || server.counters().connections == 1).await;
    let began = Instant::now();
    assert_eq!(soon("the stop", server.stop(HANDSHAKE_TIMEOUT * 2)).await, 0);
    assert!(began.elapsed() < HANDSHAKE_TIMEOUT / 2, "{:?}", began.elapsed());
    drop(silent);
}

#[tokio::test]
async fn who_does_not_come_to_an_end_is_cut_off_at_the_deadline() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example"]);
    let content = bytes_of(LARGE);
    setup.files("a", &[&format!("https/127.0.0.1:{port}:a.example")], &[("large", &content)]);
    let server = setup.start();
    let mut stuck = https(port, "a.example").await;
    stuck.send("GET /large HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
    assert_eq!(stuck.head().await.unwrap().status, 200);
    let cut_off = soon("the stop", server.stop(Duration::from_millis(200))).await;
    assert_eq!(cut_off, 1);
}

#[tokio::test]
async fn an_answer_while_stopping_says_that_it_is_the_last() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example"]);
    setup.files("a", &[&format!("https/127.0.0.1:{port}:a.example")], &[("f", b"content")]);
    let server = setup.start();
    let mut client: Http1<_> = https(port, "a.example").await;
    // Half a request: it runs in the eyes of the client.
    client.send("GET /f HTTP/1.1\r\nHost: a.ex").await.unwrap();
    eventually("it is taken in", async || server.counters().connections == 1).await;
    // Until the half has been read; there is nothing to wait for by.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let stopping = server.stop(Duration::from_secs(10));
    let watching = async {
        eventually("it is stopping", async || server.server().endpoints().is_empty()).await;
        client.send("ample\r\n\r\n").await.unwrap();
        let answer = client.answer().await.unwrap();
        assert_eq!(answer.text(), "content");
        assert_eq!(answer.field("connection"), Some("close"));
        assert!(client.is_closed().await.unwrap());
    };
    let (cut_off, ()) = soon("the stop", async { tokio::join!(stopping, watching) }).await;
    assert_eq!(cut_off, 0);
}
