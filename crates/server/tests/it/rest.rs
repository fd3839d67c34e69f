//! A connection that rests gives its buffers back, wherever in a request it rests. Nobody must
//! notice. These waits are real: they are what is tested.

use std::time::Duration;

use bindery_server::limits::BUFFERS_KEPT_MIN;
use bindery_testkit::http1::Http1;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinSet,
};

use crate::setup::{Setup, http, https};

const PAUSES: [Duration; 3] = [
    BUFFERS_KEPT_MIN.saturating_sub(Duration::from_millis(10)),
    BUFFERS_KEPT_MIN.saturating_add(Duration::from_millis(10)),
    BUFFERS_KEPT_MIN.saturating_mul(5),
];

const GET: &str = "GET /f.txt HTTP/1.1\r\nHost: a.example\r\nx-field: value\r\n\r\n";

async fn expect_file<S: AsyncRead + AsyncWrite + Unpin>(client: &mut Http1<S>, why: &str) {
    let answer = client.answer().await.unwrap_or_else(|error| panic!("{why}: {error}"));
    assert_eq!((answer.status, answer.text().as_str()), (200, "content"), "{why}");
}

/// Sends a request with a pause after its first bytes, then one more.
async fn rests_inside<S: AsyncRead + AsyncWrite + Unpin>(
    mut client: Http1<S>,
    (at, pause, used): (usize, Duration, bool),
) {
    let why = format!("a pause of {pause:?} after {at} bytes, used before: {used}");
    if used {
        client.send(GET).await.unwrap();
        expect_file(&mut client, &why).await;
    }
    client.send(&GET[..at]).await.unwrap();
    tokio::time::sleep(pause).await;
    client.send(&GET[at..]).await.unwrap();
    expect_file(&mut client, &why).await;
    client.send(GET).await.unwrap();
    expect_file(&mut client, &why).await;
}

/// Sends a request whole and a part of the next one at once, and the rest after a pause.
async fn rests_in_the_pipe<S: AsyncRead + AsyncWrite + Unpin>(
    mut client: Http1<S>,
    (at, pause): (usize, Duration),
) {
    let why = format!("a pause of {pause:?} after a request and {at} bytes of the next");
    client.send(format!("{GET}{}", &GET[..at])).await.unwrap();
    expect_file(&mut client, &why).await;
    tokio::time::sleep(pause).await;
    client.send(format!("{}{GET}", &GET[at..])).await.unwrap();
    expect_file(&mut client, &why).await;
    expect_file(&mut client, &why).await;
}

fn files() -> (Setup, u16, u16) {
    let mut setup = Setup::new();
    let (plain, port) = (setup.port(), setup.port());
    setup.certificate("a", &["a.example"]);
    let on = format!("https/127.0.0.1:{port}:a.example");
    setup.files("a", &[&on], &[("f.txt", b"content")]);
    setup.site_with("p", &[&format!("http/127.0.0.1:{plain}:a.example")], "root = \"a\"");
    (setup, plain, port)
}

#[tokio::test]
async fn a_pause_at_any_place_of_a_request_is_not_noticed() {
    let (mut setup, plain, port) = files();
    let server = setup.start();
    let mut clients = JoinSet::new();
    for at in (0..GET.len()).step_by(3) {
        for pause in PAUSES {
            for used in [false, true] {
                let case = (at, pause, used);
                clients.spawn(async move { rests_inside(http(plain).await, case).await });
                clients.spawn(async move {
                    rests_inside(https(port, "a.example").await, case).await;
                });
            }
            clients.spawn(async move {
                rests_in_the_pipe(http(plain).await, (at, pause)).await;
            });
            clients.spawn(async move {
                rests_in_the_pipe(https(port, "a.example").await, (at, pause)).await;
            });
        }
    }
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
    assert_eq!(server.counters().failed_handshakes, 0);
}

#[tokio::test]
async fn a_pause_inside_of_content_that_nobody_reads_does_not_mix_requests_up() {
    let (mut setup, plain, port) = files();
    let _server = setup.start();
    let content = GET.repeat(3);
    let head = |rest: &str| format!("POST /f.txt HTTP/1.1\r\nHost: a.example\r\n{rest}\r\n\r\n");
    let counted = head(&format!("Content-Length: {}", content.len()));
    let chunked = head("Transfer-Encoding: chunked");
    let mut clients = JoinSet::new();
    let chunk = format!("{:x}\r\n{content}\r\n0\r\n\r\n", content.len());
    for (head, content) in [(counted, content), (chunked, chunk)] {
        for pause in PAUSES {
            for half in [0, 10, content.len() / 2, content.len()] {
                let why = format!("{half} bytes of content, then {pause:?}");
                let parts = [format!("{head}{}", &content[..half]), content[half..].to_owned()];
                clients.spawn(async move {
                    ends_or_goes_on(http(plain).await, &parts, pause, &why).await;
                    let client = https(port, "a.example").await;
                    ends_or_goes_on(client, &parts, pause, &why).await;
                });
            }
        }
    }
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
}

/// A 405 and then the end, or the answer to the next request: never an answer to the content,
/// which looks like requests.
async fn ends_or_goes_on<S: AsyncRead + AsyncWrite + Unpin>(
    mut client: Http1<S>,
    parts: &[String; 2],
    pause: Duration,
    why: &str,
) {
    client.send(&parts[0]).await.unwrap();
    assert_eq!(client.answer().await.unwrap().status, 405, "{why}");
    tokio::time::sleep(pause).await;
    let sent = client.send(&parts[1]).await.is_ok()
        && client.send("GET /missing HTTP/1.1\r\nHost: a.example\r\n\r\n").await.is_ok();
    if let Ok(answer) = client.answer().await {
        assert_eq!((sent, answer.status), (true, 404), "{why}");
    }
}
