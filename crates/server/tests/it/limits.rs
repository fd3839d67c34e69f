//! The clocks of a connection. Time is paused: it moves on when everybody waits, so nothing here
//! takes as long as it says.

use std::time::Duration;

use bindery_server::limits::{
    CONNECTION_TICK, KEEP_ALIVE_TIMEOUT, REQUEST_HEAD_TIMEOUT, STALL_TIMEOUT,
};
use bindery_testkit::{eventually, http1::Http1, http2::Http2, tls::TestClient};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::Instant,
};

use crate::{
    http1::bytes_of,
    setup::{Setup, connected, https, local},
};

/// How long the server waits until it closes, and what it said before.
async fn closed_after(mut stream: impl AsyncRead + Unpin) -> (Duration, Vec<u8>) {
    let began = Instant::now();
    let mut said = Vec::new();
    // Closed or reset: both are the end.
    drop(stream.read_to_end(&mut said).await);
    (began.elapsed(), said)
}

#[track_caller]
fn about(took: Duration, limit: Duration) {
    assert!(took >= limit && took <= limit + 3 * CONNECTION_TICK, "{took:?}, not {limit:?}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_request_is_closed_after_a_while() {
    let mut setup = Setup::new();
    let (plain, port) = (setup.port(), setup.port());
    setup.certificate("a", &["a.example"]);
    setup.site("p", &[&format!("http/127.0.0.1:{plain}:a.example")]);
    setup.site("a", &[&format!("https/127.0.0.1:{port}:a.example")]);
    let server = setup.start();
    let never_asked = TcpStream::connect(local(plain)).await.unwrap();
    about(closed_after(never_asked).await.0, KEEP_ALIVE_TIMEOUT);
    let mut asked = Http1::new(TcpStream::connect(local(plain)).await.unwrap());
    assert_eq!(asked.get("a.example", "/").await.unwrap().text(), "p");
    about(closed_after(asked.into_inner()).await.0, KEEP_ALIVE_TIMEOUT);
    let mut asked = https(port, "a.example").await;
    assert_eq!(asked.get("a.example", "/").await.unwrap().text(), "a");
    about(closed_after(asked.into_inner()).await.0, KEEP_ALIVE_TIMEOUT);
    let client = TestClient::with_alpn(&["h2"]);
    let mut idle = connected(&client, port, "a.example").await.stream;
    let preface = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &[0, 0, 0, 4, 0, 0, 0, 0, 0]];
    idle.write_all(&preface.concat()).await.unwrap();
    about(closed_after(idle).await.0, KEEP_ALIVE_TIMEOUT);
    assert_eq!(server.counters().connections, 0);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_to_its_end_is_given_up() {
    let mut setup = Setup::new();
    let (plain, port) = (setup.port(), setup.port());
    setup.certificate("a", &["a.example"]);
    setup.site("p", &[&format!("http/127.0.0.1:{plain}:a.example")]);
    setup.site("a", &[&format!("https/127.0.0.1:{port}:a.example")]);
    let _server = setup.start();
    let mut stops = TcpStream::connect(local(plain)).await.unwrap();
    stops.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
    about(closed_after(stops).await.0, REQUEST_HEAD_TIMEOUT);
    let mut stops = https(port, "a.example").await;
    assert_eq!(stops.get("a.example", "/").await.unwrap().text(), "a");
    stops.send("GET / HTTP/1.1\r\nHo").await.unwrap();
    about(closed_after(stops.into_inner()).await.0, REQUEST_HEAD_TIMEOUT);

    // Nor one that drips.
    let drips = TcpStream::connect(local(plain)).await.unwrap();
    let (read, mut write) = drips.into_split();
    let dripping = tokio::spawn(async move {
        write.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        while write.write_all(b"x: y\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    about(closed_after(read).await.0, REQUEST_HEAD_TIMEOUT);
    dripping.abort();
}

#[tokio::test(start_paused = true)]
async fn a_connection_with_a_request_now_and_then_is_kept() {
    let mut setup = Setup::new();
    let (plain, port) = (setup.port(), setup.port());
    setup.certificate("a", &["a.example"]);
    setup.site("p", &[&format!("http/127.0.0.1:{plain}:a.example")]);
    setup.site("a", &[&format!("https/127.0.0.1:{port}:a.example")]);
    let _server = setup.start();
    let mut one = Http1::new(TcpStream::connect(local(plain)).await.unwrap());
    let client = TestClient::with_alpn(&["h2"]);
    let mut two = Http2::new(connected(&client, port, "a.example").await.stream).await;
    let began = Instant::now();
    // Rests and none, and more of both than any clock allows an idle connection.
    for pause in [10, 1300, 20_000].into_iter().cycle().take(40) {
        let answer = one.get("a.example", "/").await.unwrap();
        assert_eq!((answer.text().as_str(), answer.field("connection")), ("p", None));
        assert_eq!(two.get("a.example", "/").await.unwrap().text(), "a");
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    assert!(began.elapsed() > 2 * KEEP_ALIVE_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_came_with_the_last_request_is_given_up_too() {
    let mut setup = Setup::new();
    let plain = setup.port();
    setup.site("p", &[&format!("http/127.0.0.1:{plain}:a.example")]);
    let _server = setup.start();
    let mut stops = Http1::new(TcpStream::connect(local(plain)).await.unwrap());
    stops.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\nGET / HT").await.unwrap();
    assert_eq!(stops.answer().await.unwrap().text(), "p");
    about(closed_after(stops.into_inner()).await.0, REQUEST_HEAD_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_take_its_answer_is_given_up() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example"]);
    let content = bytes_of(20 * 1024 * 1024);
    setup.files("a", &[&format!("https/127.0.0.1:{port}:a.example")], &[("large", &content)]);
    let server = setup.start();
    let mut stuck = https(port, "a.example").await;
    stuck.send("GET /large HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
    assert_eq!(stuck.head().await.unwrap().status, 200);
    let began = Instant::now();
    while server.counters().connections > 0 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(began.elapsed() < 2 * STALL_TIMEOUT, "still there");
    }
    about(began.elapsed(), STALL_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_its_answer_slowly_gets_it_whole() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example"]);
    let content = bytes_of(20 * 1024 * 1024);
    setup.files("a", &[&format!("https/127.0.0.1:{port}:a.example")], &[("large", &content)]);
    let _server = setup.start();
    let mut slow = https(port, "a.example").await;
    slow.send("GET /large HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
    assert_eq!(slow.head().await.unwrap().status, 200);
    let mut got = Vec::new();
    // Longer in all than any clock of the connection runs.
    while got.len() < content.len() {
        tokio::time::sleep(STALL_TIMEOUT / 2).await;
        let part = (4 * 1024 * 1024).min(content.len() - got.len());
        got.extend(slow.take(part).await.unwrap());
    }
    assert!(got == content);
    assert_eq!(slow.get("a.example", "/missing").await.unwrap().status, 404);
}

#[tokio::test]
async fn a_client_with_too_many_connections_is_refused_more_and_nobody_else_is() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.site("p", &[&format!("http/127.0.0.1:{port}:a.example")]);
    let server = setup.start_changed(|configuration| {
        configuration.settings.connections_per_address_max = Some(3);
    });
    let mut kept = Vec::new();
    for _ in 0..3 {
        let mut client = Http1::new(TcpStream::connect(local(port)).await.unwrap());
        assert_eq!(client.get("a.example", "/").await.unwrap().status, 200);
        kept.push(client);
    }
    let refused = TcpStream::connect(local(port)).await.unwrap();
    assert_eq!(closed_after(refused).await.1, b"");
    assert_eq!(server.counters().connections_refused, 1);
    let other = tokio::net::TcpSocket::new_v4().unwrap();
    other.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = Http1::new(other.connect(local(port)).await.unwrap());
    assert_eq!(other.get("a.example", "/").await.unwrap().status, 200);
    drop(kept.pop());
    eventually("a place", || async {
        let mut client = Http1::new(TcpStream::connect(local(port)).await.unwrap());
        client.get("a.example", "/").await.is_ok_and(|answer| answer.status == 200)
    })
    .await;
}

#[tokio::test]
async fn with_as_many_connections_as_are_allowed_the_next_waits() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.site("p", &[&format!("http/127.0.0.1:{port}:a.example")]);
    let server = setup.start_changed(|configuration| {
        configuration.settings.connections_max = Some(2);
    });
    let mut kept = Vec::new();
    // The listener has begun to accept one more than that.
    for _ in 0..2 {
        let mut client = Http1::new(TcpStream::connect(local(port)).await.unwrap());
        assert_eq!(client.get("a.example", "/").await.unwrap().status, 200);
        kept.push(client);
    }
    let mut waits = Http1::new(TcpStream::connect(local(port)).await.unwrap());
    waits.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
    let answered = tokio::time::timeout(Duration::from_millis(300), waits.head()).await;
    assert!(answered.is_err(), "nobody listens to it");
    assert_eq!(server.counters().connections, 2);
    drop(kept);
    let mut next = Http1::new(TcpStream::connect(local(port)).await.unwrap());
    assert_eq!(next.get("a.example", "/").await.unwrap().status, 200);
    // What was sent is answered late, but it is.
    assert!(waits.is_closed().await.is_ok());
}
