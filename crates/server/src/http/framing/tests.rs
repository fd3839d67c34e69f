use std::{
    convert::Infallible,
    future::Future as _,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, Uri, Version};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Incoming, rt::ReadBufCursor, server::conn::http1, service::service_fn};
use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
};

use super::{Framing, Passed, Refusal};

/// What is handed on of parts that were read one after another, and why no more.
fn handed_on<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, Option<Refusal>, Framing) {
    let (mut framing, mut out) = (Framing::http1(), Vec::new());
    for part in parts {
        match framing.take(part) {
            Passed::Prefix(good) => out.extend_from_slice(&part[..good]),
            Passed::Held(good) => out.extend_from_slice(&good),
        }
    }
    let refusal = framing.refused().map(|(refusal, _)| refusal);
    (out, refusal, framing)
}

#[test]
fn a_head_is_handed_on_when_it_is_complete() {
    let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut framing = Framing::http1();
    for cut in 1..head.len() {
        assert!(matches!(framing.take(&head[cut - 1..cut]), Passed::Prefix(0) | Passed::Held(_)));
        assert_eq!(framing.held_bytes(), cut);
        assert!(!framing.is_between());
    }
    let Passed::Held(held) = framing.take(b"\n") else { panic!("it was held") };
    assert_eq!(held, head[..]);
    assert!(framing.is_between());
}

#[test]
fn content_is_handed_on_as_it_comes() {
    let mut framing = Framing::http1();
    let head = b"PUT / HTTP/1.1\r\nContent-Length: 3\r\n\r\n";
    assert!(matches!(framing.take(head), Passed::Prefix(37)));
    assert!(matches!(framing.take(b"a"), Passed::Prefix(1)));
    assert!(!framing.is_between());
    assert!(matches!(framing.take(b"bcGET"), Passed::Prefix(2)));
    assert_eq!(framing.held_bytes(), 3);
}

#[test]
fn behind_an_error_nothing_is_handed_on() {
    let (out, refusal, mut framing) = handed_on([&b"GET / HTTP/1.1\r\n\r\nGET /\n\r\n"[..]]);
    assert_eq!(out, b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(refusal, Some(Refusal::BareLf));
    assert!(matches!(framing.take(b"GET / HTTP/1.1\r\n\r\n"), Passed::Prefix(0)));
    assert_eq!(framing.held_bytes(), 0);
}

#[test]
fn what_is_held_is_given_to_a_tunnel() {
    let (_, _, mut framing) = handed_on([&b"GET / HTTP/1.1\r\n\r\nGE"[..]]);
    assert_eq!(framing.end(), "GE");
    assert!(matches!(framing.take(b"\0\n"), Passed::Prefix(2)));
}

#[test]
fn a_refusal_is_found_again_in_the_request_that_stands_for_it() {
    for refusal in Refusal::ALL {
        let text = refusal.request();
        let (out, refused, framing) = handed_on([&text[..]]);
        assert!(out.is_empty() && refused.is_some(), "a client could send it: {framing:?}");
        let text = String::from_utf8(text.to_vec()).unwrap();
        let uri: Uri = text.split(' ').nth(1).unwrap().parse().unwrap();
        assert_eq!(Refusal::of(Version::HTTP_11, &uri), Some(*refusal));
        assert_eq!(Refusal::of(Version::HTTP_2, &uri), None);
    }
    assert_eq!(Refusal::of(Version::HTTP_11, &Uri::from_static("http://a/")), None);
}

/// Messages, some of them almost.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let line = select(vec![
        "GET / HTTP/1.1\r\n",
        "POST /x?y HTTP/1.1\r\n",
        "\r\nPUT http://a/ HTTP/1.0\r\n",
        "OPTIONS * HTTP/1.1\r\n",
        "CONNECT a:1 HTTP/1.1\r\n",
    ]);
    let field = select(vec![
        "Host: a\r\n",
        "X:\ty \r\n",
        "Connection: keep-alive\r\n",
        "Upgrade: h2c\r\n",
        "Expect: 100-continue\r\n",
        "Content-Length: 5\r\n",
        "content-length:0\r\n",
        "Transfer-Encoding: chunked\r\n",
        "transfer-encoding:\tchunked \r\n",
        "Transfer-Encoding: gzip\r\n",
    ]);
    let content = select(vec![
        "",
        "abcde",
        "5\r\nabcde\r\n0\r\n\r\n",
        "1;a=b\r\nx\r\n00\r\nX: y\r\n\r\n",
        "A\r\n0\r\n\r\nGET /\r\n0\r\n\r\n",
    ]);
    (line, vec(field, 0..4), content).prop_map(|(line, fields, content)| {
        [line, &fields.concat(), "\r\n", content].concat().into_bytes()
    })
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let noise = vec((any::<Index>(), select(b"\r\n\0 \t:,5;a\x7f\xff".to_vec()), 0..3_u8), 0..3);
    (vec(message(), 1..5), noise).prop_map(|(messages, noise)| {
        let mut bytes = messages.concat();
        for (at, byte, how) in noise {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
            if bytes.is_empty() {
                bytes.push(byte);
            }
        }
        bytes
    })
}

/// How many messages are complete in `bytes`, which are good.
fn messages(bytes: &[u8]) -> usize {
    let mut framing = Framing::http1();
    let mut count = 0;
    for byte in bytes.chunks(1) {
        framing.take(byte);
        count += usize::from(framing.is_between());
    }
    count
}

/// How many requests hyper reads in `bytes` to the end of their content, and how much that is.
fn hyper_reads(bytes: Vec<u8>) -> usize {
    struct Wire(Bytes);
    impl hyper::rt::Read for Wire {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            mut buf: ReadBufCursor<'_>,
        ) -> Poll<io::Result<()>> {
            let here = self.0.len().min(buf.remaining());
            let bytes = self.0.split_to(here);
            buf.put_slice(&bytes);
            Poll::Ready(Ok(()))
        }
    }
    impl hyper::rt::Write for Wire {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }
    let whole = Arc::new(Mutex::new(0));
    let seen = Arc::clone(&whole);
    let service = service_fn(move |request: Request<Incoming>| {
        let seen = Arc::clone(&seen);
        async move {
            if request.into_body().collect().await.is_ok() {
                *seen.lock().unwrap() += 1;
            }
            // Keeps the old ones open, too.
            let answer = Response::builder().header("connection", "keep-alive");
            Ok::<_, Infallible>(answer.body(Empty::<Bytes>::new()).unwrap())
        }
    });
    let mut builder = http1::Builder::new();
    builder.half_close(true);
    let served = builder.serve_connection(Wire(bytes.into()), service);
    let mut served = std::pin::pin!(served);
    let mut cx = Context::from_waker(std::task::Waker::noop());
    // It gives way to the service now and then, and nobody else is waited for.
    for _ in 0..200 {
        if served.as_mut().poll(&mut cx).is_ready() {
            break;
        }
    }
    *whole.lock().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn how_bytes_are_cut_does_not_change_what_is_read(
        bytes in stream(),
        cuts in vec(any::<Index>(), 0..8),
    ) {
        let (whole, refusal, _) = handed_on([&bytes[..]]);
        prop_assert!(bytes.starts_with(&whole));
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let parts = cuts.windows(2).map(|ends| &bytes[ends[0]..ends[1]]);
        let (cut, cut_refusal, _) = handed_on(parts);
        prop_assert_eq!(&cut, &whole);
        prop_assert_eq!(cut_refusal.is_some(), refusal.is_some());
        let (single, single_refusal, _) = handed_on(bytes.chunks(1));
        prop_assert_eq!(&single, &whole);
        prop_assert_eq!(single_refusal.is_some(), refusal.is_some());
        // And what is good is good again.
        let (again, refusal, _) = handed_on([&whole[..]]);
        prop_assert_eq!(again, whole);
        prop_assert_eq!(refusal, None);
    }

    #[test]
    fn hyper_reads_as_many_messages_as_are_handed_on(bytes in stream()) {
        let (good, _, _) = handed_on([&bytes[..]]);
        // It stops at an upgrade, an asked for end, or a target that it does not like; but it
        // never finds more.
        let (ours, hypers) = (messages(&good), hyper_reads(good.clone()));
        prop_assert!(hypers <= ours, "{} of {}", hypers, ours);
        let text = String::from_utf8_lossy(&good);
        if !text.contains("HTTP/1.0") && !text.contains("CONNECT") && bytes == good {
            prop_assert_eq!(hypers, ours, "{:?}", text);
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_fault(parts in vec(vec(any::<u8>(), 0..40), 0..8)) {
        let (out, _, _) = handed_on(parts.iter().map(|part| &part[..]));
        prop_assert!(parts.concat().starts_with(&out));
    }
}
