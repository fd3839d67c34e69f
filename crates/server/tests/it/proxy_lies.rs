//! Upstreams that lie, as bytes: what the client gets, and that the next request is well.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use bindery_model::upstream::UpstreamProtocol;
use bindery_testkit::{http1::Http1, soon};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::proxy::{Front, HELLO, Told, to};
use crate::setup::local;

/// What a client made of an answer.
#[derive(Debug, PartialEq, Eq)]
enum Got {
    Whole(u16, String),
    Broken,
}

const BAD_GATEWAY: Got = Got::Whole(502, String::new());

/// What a client without TLS gets, read by the rules of RFC 9112, 6.
async fn over_http1(front: &Front) -> Got {
    let mut client = front.http().await;
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
    read(&mut client).await
}

async fn read(client: &mut Http1<TcpStream>) -> Got {
    let head = loop {
        match client.head().await {
            // Interim answers are passed on, some of them.
            Ok(head) if head.status < 200 => {}
            Ok(head) => break head,
            // One that breaks off at once may take its head along.
            Err(_) => return Got::Broken,
        }
    };
    if head.status >= 400 {
        return Got::Whole(head.status, String::new());
    }
    if let Some(length) = head.field("content-length") {
        return match client.take(length.parse().unwrap()).await {
            Ok(content) => Got::Whole(head.status, String::from_utf8(content).unwrap()),
            Err(_) => Got::Broken,
        };
    }
    assert_eq!(head.field("transfer-encoding"), Some("chunked"));
    let mut content = String::new();
    loop {
        let Some(size) = line(client).await else { return Got::Broken };
        let size = usize::from_str_radix(&size, 16).unwrap();
        if size == 0 {
            while let Some(trailer) = line(client).await {
                if trailer.is_empty() {
                    return Got::Whole(head.status, content);
                }
            }
            return Got::Broken;
        }
        let Ok(chunk) = client.take(size + 2).await else { return Got::Broken };
        content.push_str(std::str::from_utf8(&chunk[..size]).unwrap());
    }
}

/// What breaks off before the head was handed on is no answer at all.
#[track_caller]
fn check(got: &Got, expected: &Got, why: &str) {
    assert!(got == expected || (*expected == Got::Broken && *got == BAD_GATEWAY), "{got:?}: {why}");
}

async fn line(client: &mut Http1<TcpStream>) -> Option<String> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.extend(client.take(1).await.ok()?);
    }
    line.truncate(line.len() - 2);
    Some(String::from_utf8(line).unwrap())
}

#[allow(clippy::too_many_lines, reason = "a table")]
fn lies() -> Vec<(String, Got, &'static str)> {
    let whole = |text: &str| Got::Whole(200, text.to_owned());
    let many: String = (0..300).map(|number| format!("X-{number}: 1\r\n")).collect();
    let long = "x".repeat(100 * 1024);
    let head = "HTTP/1.1 200 OK\r\n";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n";
    vec![
        (
            format!("{head}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
            BAD_GATEWAY,
            "two lengths",
        ),
        (
            format!("{head}Content-Length: 5, 6\r\n\r\nhello!"),
            BAD_GATEWAY,
            "two lengths in one field",
        ),
        (
            format!("{head}Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
            whole("hello"),
            "one length said twice",
        ),
        (format!("{head}Content-Length: -1\r\n\r\nhello"), BAD_GATEWAY, "a negative length"),
        (format!("{head}Content-Length: 5x\r\n\r\nhello"), BAD_GATEWAY, "no length"),
        (
            format!("{head}Content-Length: 99999999999999999999\r\n\r\nhello"),
            BAD_GATEWAY,
            "an overflow",
        ),
        (
            format!("{chunked}Content-Length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
            BAD_GATEWAY,
            "a length and chunks",
        ),
        (
            format!("{head}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
            BAD_GATEWAY,
            "another coding",
        ),
        (format!("{head}Transfer-Encoding: identity\r\n\r\nhelloCLOSE"), BAD_GATEWAY, "no chunks"),
        (
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
            BAD_GATEWAY,
            "chunks in HTTP/1.0",
        ),
        (
            format!("{HELLO}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"),
            whole("hello"),
            "too much",
        ),
        (
            format!(
                "{chunked}\r\n5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
            ),
            whole("hello"),
            "too much behind chunks",
        ),
        (format!("{head}Content-Length: 9\r\n\r\nhelloCLOSE"), Got::Broken, "too little"),
        (format!("{chunked}\r\n5\r\nhello\r\nCLOSE"), Got::Broken, "no last chunk"),
        (format!("{chunked}\r\n9\r\nhelloCLOSE"), Got::Broken, "a chunk cut short"),
        (
            format!("{chunked}\r\n5\r\nhelloXX0\r\n\r\n"),
            Got::Broken,
            "a chunk that is longer than it says",
        ),
        (format!("{chunked}\r\nxyz\r\nhello\r\n"), Got::Broken, "a size that is no number"),
        (
            format!("{chunked}\r\nffffffffffffffffff\r\nhello\r\n"),
            Got::Broken,
            "a size that overflows",
        ),
        (
            format!("{chunked}\r\n5\r\nhello\r\n0\r\nX: {long}\r\n\r\n"),
            Got::Broken,
            "endless trailers",
        ),
        (format!("{chunked}\r\n5\r\nhello\r\n0\r\n{many}\r\n"), Got::Broken, "too many trailers"),
        ("rubbish\r\n\r\n".to_owned(), BAD_GATEWAY, "no HTTP"),
        ("\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00".to_owned(), BAD_GATEWAY, "TLS"),
        (
            "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned(),
            BAD_GATEWAY,
            "an unknown version",
        ),
        (
            "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n".to_owned(),
            BAD_GATEWAY,
            "a status that is none",
        ),
        ("HTTP/1.1 200 OKCLOSE".to_owned(), BAD_GATEWAY, "half a head"),
        ("CLOSE".to_owned(), BAD_GATEWAY, "nothing"),
        (
            format!("{head}X: a\r\n folded\r\nContent-Length: 0\r\n\r\n"),
            BAD_GATEWAY,
            "a folded line",
        ),
        (
            format!("{head}X : a\r\nContent-Length: 0\r\n\r\n"),
            BAD_GATEWAY,
            "a blank before a colon",
        ),
        (format!("{head}X: a\0b\r\nContent-Length: 0\r\n\r\n"), BAD_GATEWAY, "a NUL in a field"),
        (format!("{head}X: {long}\r\nContent-Length: 0\r\n\r\n"), BAD_GATEWAY, "a huge head"),
        (format!("{head}{many}Content-Length: 0\r\n\r\n"), BAD_GATEWAY, "too many fields"),
        (
            "HTTP/1.1 102 Processing\r\n\r\n".repeat(20_000),
            BAD_GATEWAY,
            "interim answers without end",
        ),
        (format!("HTTP/1.1 100 Continue\r\n\r\n{HELLO}"), whole("hello"), "an interim answer"),
        (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
                .to_owned(),
            BAD_GATEWAY,
            "another protocol",
        ),
    ]
}

#[tokio::test]
async fn a_lying_upstream_harms_nobody_but_the_request_it_answers() {
    for (answer, expected, why) in lies() {
        // The second answer is for the second request, whichever connection it comes on.
        let upstream = Told::new(&[&answer, HELLO]).await;
        let front = Front::new(to(&[upstream.port]));
        check(&over_http1(&front).await, &expected, why);
        check(&over_http1(&front).await, &Got::Whole(200, "hello".to_owned()), why);

        let upstream = Told::new(&[&answer, HELLO]).await;
        let front = Front::new(to(&[upstream.port]));
        let mut client = front.http2().await;
        let got = match client.get("a.example", "/").await {
            Ok(answer) if answer.status >= 400 => Got::Whole(answer.status, String::new()),
            Ok(answer) => Got::Whole(answer.status, answer.text()),
            Err(error) => {
                assert!(error.is_reset(), "only the stream ends: {error} ({why})");
                Got::Broken
            }
        };
        check(&got, &expected, why);
        let next = client.get("a.example", "/").await.unwrap();
        assert_eq!(next.text(), "hello", "after {why}, on the same HTTP/2 connection");
    }
}

#[tokio::test]
async fn an_answer_before_the_request_is_nobody_s() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(HELLO.as_bytes()).await.unwrap();
        }
    });
    let front = Front::new(to(&[port]));
    for _ in 0..5 {
        let got = over_http1(&front).await;
        // Whether it is there before the request is written is a matter of luck.
        assert!(got == BAD_GATEWAY || got == Got::Whole(200, "hello".to_owned()), "{got:?}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_a_reset_to_who_cannot_tell_otherwise() {
    let upstream =
        Told::new(&["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nCLOSE"])
            .await;
    let front = Front::new(to(&[upstream.port]));
    let mut client = TcpStream::connect(local(front.plain)).await.unwrap();
    client.write_all(b"GET / HTTP/1.0\r\nHost: a.example\r\n\r\n").await.unwrap();
    let mut bytes = Vec::new();
    let end = soon("the end", client.read_to_end(&mut bytes)).await;
    assert!(end.is_err(), "{:?}", String::from_utf8_lossy(&bytes));
}

#[tokio::test]
async fn an_answer_may_end_where_the_connection_does() {
    let upstream = Told::new(&["HTTP/1.0 200 OK\r\n\r\nhelloCLOSE"]).await;
    let front = Front::new(to(&[upstream.port]));
    for _ in 0..2 {
        assert_eq!(over_http1(&front).await, Got::Whole(200, "hello".to_owned()));
    }
}

/// An upstream that speaks HTTP/2 by prior knowledge. It does with each request, whichever
/// connection it comes on, the next of these.
async fn http2_upstream(acts: Vec<Act>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acts = Arc::new(Mutex::new(VecDeque::from(acts)));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acts = Arc::clone(&acts);
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                let mut silent = Vec::new();
                while let Some(Ok((_, mut answer))) = connection.accept().await {
                    let act = acts.lock().unwrap().pop_front().unwrap_or(Act::Answer);
                    let head = http::Response::new(());
                    match act {
                        Act::Refuse => answer.send_reset(h2::Reason::REFUSED_STREAM),
                        Act::Answer => {
                            let mut body = answer.send_response(head, false).unwrap();
                            body.send_data("hello".into(), true).unwrap();
                        }
                        Act::BreakOff => {
                            let mut body = answer.send_response(head, false).unwrap();
                            body.send_data("hel".into(), false).unwrap();
                            body.send_reset(h2::Reason::INTERNAL_ERROR);
                        }
                        Act::KeepSilent => silent.push(answer),
                        Act::Leave => return,
                    }
                }
            });
        }
    });
    port
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Refuse,
    Answer,
    BreakOff,
    KeepSilent,
    Leave,
}

#[tokio::test]
async fn an_http2_upstream_that_misbehaves_harms_only_the_request_it_answers() {
    let post = "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n";
    let get = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
    for (act, request, expected, why) in [
        (
            Act::Refuse,
            post,
            Got::Whole(502, String::new()),
            "refused on a new connection, and no other member",
        ),
        (Act::BreakOff, get, Got::Broken, "broken off"),
        (Act::KeepSilent, get, Got::Whole(504, String::new()), "silent"),
        (Act::Leave, get, BAD_GATEWAY, "gone"),
    ] {
        let mut proxy = to(&[http2_upstream(vec![act]).await]);
        proxy.upstream.protocol = UpstreamProtocol::Http2;
        proxy.timeouts.first_byte = Duration::from_millis(200);
        let front = Front::new(proxy);
        let mut client = front.http().await;
        client.send(request).await.unwrap();
        check(&read(&mut client).await, &expected, why);
        check(&over_http1(&front).await, &Got::Whole(200, "hello".to_owned()), why);
    }
    // On a connection that was there before, a refusal is no failure even for POST, and neither is
    // its end for GET.
    for (act, request) in [(Act::Refuse, post), (Act::Leave, get)] {
        let mut proxy = to(&[http2_upstream(vec![Act::Answer, act]).await]);
        proxy.upstream.protocol = UpstreamProtocol::Http2;
        let front = Front::new(proxy);
        check(&over_http1(&front).await, &Got::Whole(200, "hello".to_owned()), "the first");
        let mut client = front.http().await;
        client.send(request).await.unwrap();
        let got = read(&mut client).await;
        assert_eq!(got, Got::Whole(200, "hello".to_owned()), "{act:?}");
    }
}
