use std::{
    io::Read as _,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, StreamBody};
use tokio::sync::mpsc;

use super::*;

const ALL: [Coding; 3] = [Coding::Brotli, Coding::Zstd, Coding::Gzip];

fn compression() -> Compression {
    let types = ["text/*", "application/JSON"].map(str::to_owned).to_vec();
    Compression::new(&Compress { bytes_min: 100, types })
}

fn decode(coding: Coding, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match coding {
        Coding::Brotli => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut out),
        Coding::Zstd => zstd::stream::read::Decoder::new(bytes).unwrap().read_to_end(&mut out),
        Coding::Gzip => flate2::read::GzDecoder::new(bytes).read_to_end(&mut out),
    }
    .unwrap();
    out
}

/// What of a stream can be read before its end has come.
fn decode_begun(coding: Coding, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 1024 * 1024];
    let mut reader: Box<dyn io::Read> = match coding {
        Coding::Brotli => Box::new(brotli::Decompressor::new(bytes, 4096)),
        Coding::Zstd => Box::new(zstd::stream::read::Decoder::new(bytes).unwrap()),
        Coding::Gzip => Box::new(flate2::read::GzDecoder::new(bytes)),
    };
    let mut length = 0;
    while let Ok(read @ 1..) = reader.read(&mut out[length..]) {
        length += read;
    }
    out.truncate(length);
    out
}

fn text(bytes: usize) -> Bytes {
    let words = (0_u32..)
        .flat_map(|n| format!("word {} ", n.wrapping_mul(2_654_435_761) % 977).into_bytes());
    words.take(bytes).collect::<Vec<_>>().into()
}

fn response(fields: &[(&str, &str)], body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    for (name, value) in fields {
        let name: HeaderName = name.parse().unwrap();
        response.headers_mut().append(name, value.parse().unwrap());
    }
    response
}

fn pieces(pieces: Vec<Bytes>) -> Body {
    let frames = pieces.into_iter().map(|piece| Ok::<_, io::Error>(Frame::data(piece)));
    Body::stream(StreamBody::new(stream::iter(frames)))
}

#[tokio::test]
async fn what_is_compressed_is_what_was_there() {
    for coding in ALL {
        for length in [100, 5000, 70_000, 1_000_000] {
            let whole = text(length);
            let streamed = whole.chunks(7777).map(Bytes::copy_from_slice).collect();
            for body in [Body::full(whole.clone()), pieces(streamed)] {
                let mut response = response(&[("content-type", "text/plain")], body);
                let compressions = Compressions::default();
                compression().dress(
                    Some(coding),
                    (&Method::GET, &HeaderMap::new()),
                    &mut response,
                    &compressions,
                );
                assert_eq!(response.headers()[CONTENT_ENCODING], coding.value());
                let sent = response.into_body().collect().await.unwrap().to_bytes();
                assert!(sent.len() < length / 2 + 100, "{coding:?} {length} {}", sent.len());
                assert!(decode(coding, &sent) == whole, "{coding:?} {length}");
                assert_eq!(compressions.0.available_permits(), COMPRESSIONS_MAX);
            }
        }
    }
}

#[tokio::test]
async fn what_a_program_says_leaves_when_it_pauses() {
    for coding in ALL {
        let (sender, receiver) = mpsc::channel::<io::Result<Frame<Bytes>>>(1);
        let frames = stream::unfold(receiver, async |mut receiver| {
            receiver.recv().await.map(|frame| (frame, receiver))
        });
        let body = Body::stream(StreamBody::new(frames));
        let mut response = response(&[("content-type", "text/event-stream")], body);
        compression().dress(
            Some(coding),
            (&Method::GET, &HeaderMap::new()),
            &mut response,
            &Compressions::default(),
        );
        let mut body = response.into_body();
        let (mut sent, mut expected) = (Vec::new(), Vec::new());
        for number in 0..10 {
            let event = format!("data: event {number}\n\n");
            expected.extend_from_slice(event.as_bytes());
            sender.send(Ok(Frame::data(event.into()))).await.unwrap();
            let frame = body.frame().await.unwrap().unwrap();
            sent.extend_from_slice(&frame.into_data().unwrap());
            assert_eq!(decode_begun(coding, &sent), expected, "{coding:?} {number}");
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("1"));
        sender.send(Ok(Frame::trailers(trailers.clone()))).await.unwrap();
        drop(sender);
        let rest = body.collect().await.unwrap();
        assert_eq!(rest.trailers(), Some(&trailers));
        sent.extend_from_slice(&rest.to_bytes());
        assert_eq!(decode(coding, &sent), expected);
    }
}

#[tokio::test]
async fn a_source_that_breaks_off_breaks_the_answer_off() {
    for coding in ALL {
        let frames = [Ok(Frame::data(text(1000))), Err(io::Error::other("the upstream is gone"))];
        let body = Body::stream(StreamBody::new(stream::iter(frames)));
        let mut response = response(&[("content-type", "text/plain")], body);
        compression().dress(
            Some(coding),
            (&Method::GET, &HeaderMap::new()),
            &mut response,
            &Compressions::default(),
        );
        let mut body = response.into_body();
        let error = loop {
            match body.frame().await.unwrap() {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(error.to_string(), "the upstream is gone");
        assert!(body.frame().await.is_none());
    }
}

struct Wakes(Arc<Mutex<u32>>);

impl std::task::Wake for Wakes {
    fn wake(self: Arc<Self>) {
        *self.0.lock().unwrap() += 1;
    }
}

#[test]
fn a_poll_does_a_bounded_piece_of_work() {
    let read = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&read);
    let frames = stream::repeat_with(move || {
        counted.fetch_add(4096, Ordering::Relaxed);
        // Nothing comes out of it soon.
        Ok::<_, io::Error>(Frame::data(Bytes::from_static(&[b' '; 4096])))
    });
    let body = Body::stream(StreamBody::new(frames.take(1000)));
    let mut body = Compressed::new(body, Coding::Zstd, &Compressions::default()).ok().unwrap();
    let woken = Arc::new(Mutex::new(0));
    let waker = Arc::new(Wakes(Arc::clone(&woken))).into();
    let mut cx = Context::from_waker(&waker);
    assert!(Pin::new(&mut body).poll_frame(&mut cx).is_pending());
    assert_eq!(read.load(Ordering::Relaxed), COMPRESSED_AT_ONCE_BYTES);
    assert_eq!(*woken.lock().unwrap(), 1, "it goes on by itself");
}

#[tokio::test]
async fn beyond_the_bound_answers_are_sent_as_they_are() {
    let compressions = Compressions(Arc::new(Semaphore::new(1)));
    let dressed = || {
        let body = pieces(vec![text(1000)]);
        let mut response = response(&[("content-type", "text/plain")], body);
        compression().dress(
            Some(Coding::Gzip),
            (&Method::GET, &HeaderMap::new()),
            &mut response,
            &compressions,
        );
        response
    };
    let first = dressed();
    assert!(first.headers().contains_key(CONTENT_ENCODING));
    let second = dressed();
    assert!(!second.headers().contains_key(CONTENT_ENCODING));
    assert_eq!(second.headers()["vary"], "Accept-Encoding");
    assert_eq!(second.into_body().collect().await.unwrap().to_bytes(), text(1000));
    drop(first);
    assert!(dressed().headers().contains_key(CONTENT_ENCODING));
}

/// Whether an answer of 1000 bytes is compressed, and its Vary.
#[track_caller]
fn check(status: u16, fields: &[(&str, &str)], coding: Option<Coding>, expected: (bool, bool)) {
    let mut response = response(fields, Body::full(text(1000)));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    compression().dress(
        coding,
        (&Method::GET, &HeaderMap::new()),
        &mut response,
        &Compressions::default(),
    );
    let compressed = matches!(response.body(), Body::Stream(_));
    let varies = response.headers().get_all("vary").iter().any(|one| one == "Accept-Encoding");
    assert_eq!((compressed, varies), expected, "{status} {fields:?}");
}

#[test]
fn only_what_may_be_compressed_is() {
    let gzip = Some(Coding::Gzip);
    let text = ("content-type", "text/plain; charset=utf-8");
    check(200, &[text], gzip, (true, true));
    check(200, &[text], None, (false, true));
    check(404, &[text], gzip, (true, true));
    for kind in ["TEXT/css", "application/json;a=b", "application/json ; a=b"] {
        check(200, &[("content-type", kind)], gzip, (true, true));
    }
    for kind in ["image/png", "application/json5", "application/jso", "texts/a", "text", ""] {
        check(200, &[("content-type", kind)], gzip, (false, false));
    }
    check(200, &[], gzip, (false, false));
    check(204, &[text], gzip, (false, false));
    check(206, &[text], gzip, (false, true));
    check(304, &[text], gzip, (false, true));
    for field in [
        ("content-encoding", "br"),
        ("content-encoding", "identity"),
        ("content-range", "bytes 0-999/2000"),
        ("cache-control", "public, No-Transform"),
        ("content-digest", "sha-256=:AAAA:"),
        ("content-md5", "AAAA"),
    ] {
        check(200, &[text, field], gzip, (false, false));
    }
    check(200, &[text, ("cache-control", "no-transformation")], gzip, (true, true));
    check(200, &[text, ("vary", "Origin")], gzip, (true, true));
}

#[test]
fn a_part_says_that_the_whole_depends_on_what_is_accepted() {
    let vary = |fields: &[(&str, &str)]| {
        let mut response = response(fields, Body::full(text(10)));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let request = (&Method::GET, &HeaderMap::new());
        compression().dress(None, request, &mut response, &Compressions::default());
        response.headers().contains_key(http::header::VARY)
    };
    let range = ("content-range", "bytes 0-9/1000");
    assert!(vary(&[("content-type", "text/css"), range]));
    assert!(vary(&[("content-type", "multipart/byteranges; boundary=b")]));
    assert!(!vary(&[("content-type", "video/mp4"), range]));
    assert!(!vary(&[("content-type", "text/css"), range, ("content-encoding", "br")]));
    assert!(!vary(&[("content-type", "text/css"), range, ("cache-control", "no-transform")]));
}

#[test]
fn no_part_is_sent_to_who_may_have_another_coding_of_the_same_date() {
    let date = "Tue, 24 Nov 2026 04:07:44 GMT";
    for (accepted, known, part) in [
        ("gzip", date, false),
        ("identity", date, true),
        ("gzip;q=0", date, true),
        ("gzip", "\"tag\"", true),
        ("gzip", "W/\"tag\"", true),
    ] {
        let mut request = HeaderMap::new();
        request.insert(http::header::ACCEPT_ENCODING, accepted.parse().unwrap());
        request.insert(RANGE, "bytes=5-".parse().unwrap());
        request.insert(IF_RANGE, known.parse().unwrap());
        Compression::choose(&mut request);
        assert_eq!(request.contains_key(RANGE), part, "{accepted} {known}");
    }
}

#[test]
fn small_answers_stay_as_they_are() {
    for (length, expected) in [(0, false), (99, false), (100, true)] {
        let mut response = response(&[("content-type", "text/plain")], Body::full(text(length)));
        compression().dress(
            Some(Coding::Gzip),
            (&Method::GET, &HeaderMap::new()),
            &mut response,
            &Compressions::default(),
        );
        assert_eq!(response.headers().contains_key(CONTENT_ENCODING), expected, "{length}");
    }
}

#[test]
fn the_answer_to_head_has_the_fields_of_the_answer_to_get() {
    let fields = [
        ("content-type", "text/plain"),
        ("etag", "\"abc\""),
        ("accept-ranges", "bytes"),
        ("content-length", "1000"),
    ];
    let dressed = |method: &Method, body: Body, fields: &[(&str, &str)]| {
        let mut response = response(fields, body);
        compression().dress(
            Some(Coding::Zstd),
            (method, &HeaderMap::new()),
            &mut response,
            &Compressions::default(),
        );
        response
    };
    let get = dressed(&Method::GET, Body::full(text(1000)), &fields);
    let head = dressed(&Method::HEAD, Body::empty(), &fields);
    assert_eq!(get.headers(), head.headers());
    assert!(matches!(head.body(), Body::Empty));
    assert_eq!(get.headers()[ETAG], "W/\"abc\"");
    assert_eq!(get.headers()["content-encoding"], "zstd");
    assert!(!get.headers().contains_key(ACCEPT_RANGES));
    assert!(!get.headers().contains_key(CONTENT_LENGTH));
    let small = [("content-type", "text/plain"), ("content-length", "99")];
    let head = dressed(&Method::HEAD, Body::empty(), &small);
    assert_eq!(head.headers()[CONTENT_LENGTH], "99");
    let weak = [("content-type", "text/plain"), ("etag", "W/\"abc\"")];
    assert_eq!(dressed(&Method::HEAD, Body::empty(), &weak).headers()[ETAG], "W/\"abc\"");
}

#[test]
fn what_is_unchanged_is_called_what_the_client_calls_it() {
    for (asked, fields, etag, vary) in [
        ("W/\"abc\"", &[("etag", "\"abc\"")][..], "W/\"abc\"", true),
        ("\"x\", W/\"abc\"", &[("etag", "\"abc\"")], "W/\"abc\"", true),
        ("\"abc\"", &[("etag", "\"abc\"")], "\"abc\"", true),
        ("*", &[("etag", "\"abc\"")], "\"abc\"", true),
        ("W/\"abc\"", &[("etag", "\"abc\""), ("content-type", "image/png")], "\"abc\"", false),
        ("W/\"abc\"", &[("etag", "\"abc\""), ("content-encoding", "br")], "\"abc\"", false),
    ] {
        let mut response = response(fields, Body::Empty);
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        let mut request = HeaderMap::new();
        request.insert(IF_NONE_MATCH, HeaderValue::from_static(asked));
        let compressions = Compressions::default();
        let asked_by = (&Method::GET, &request);
        compression().dress(Some(Coding::Zstd), asked_by, &mut response, &compressions);
        assert_eq!(response.headers()[ETAG], etag, "{asked} {fields:?}");
        assert_eq!(response.headers().contains_key("vary"), vary, "{asked} {fields:?}");
    }
}
