//! HTTP/2: the same answers on many streams at once, and an end without losses.

use bindery_testkit::{
    http1::Http1,
    http2::{Http2, read},
    soon,
    tls::TestClient,
};
use bytes::Bytes;
use http::{Method, Request};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    http1::bytes_of,
    setup::{Setup, connected},
};

/// The code of a GOAWAY to a client that asks for too much (RFC 9113, 7).
const ENHANCE_YOUR_CALM: [u8; 4] = [0, 0, 0, 11];

/// An HTTP/2 connection for this name.
async fn http2(port: u16, name: &str) -> Http2 {
    let connection = connected(&TestClient::with_alpn(&["h2"]), port, name).await;
    assert_eq!(connection.alpn.as_deref(), Some("h2"));
    Http2::new(connection.stream).await
}

fn request(method: Method, url: &str) -> Request<()> {
    Request::builder().method(method).uri(url).body(()).unwrap()
}

#[tokio::test]
async fn a_connection_answers_only_for_hosts_that_its_handshake_allows() {
    let mut setup = Setup::new();
    let port = setup.port();
    let on = |host: &str, rest: &str| {
        format!(r#"{{ on = "https/127.0.0.1:{port}:{host}", certificate = "shared"{rest} }}"#)
    };
    setup.certificate("shared", &["a.example", "b.example", "strict.example"]);
    setup.certificate("other", &["other.example"]);
    setup.site("a", &[&on("a.example", "")]);
    setup.site("b", &[&on("b.example", "")]);
    setup.site("strict", &[&on("strict.example", r#", tls = { minimum = "1.3" }"#)]);
    setup.site("other", &[&format!("https/127.0.0.1:{port}:other.example")]);
    let _server = setup.start();
    let mut client = http2(port, "a.example").await;
    for (host, status) in [
        ("a.example", 200),
        ("b.example", 200),
        ("strict.example", 421),
        ("other.example", 421),
        ("unknown.example", 421),
        ("a.example", 200),
    ] {
        let answer = client.get(host, "/").await.unwrap();
        assert_eq!(answer.status, status, "{host}");
        if status == 200 {
            assert_eq!(answer.text(), host.strip_suffix(".example").unwrap());
        }
    }
    let mut disagrees = request(Method::GET, "https://a.example/");
    disagrees.headers_mut().insert("host", "b.example".parse().unwrap());
    assert_eq!(client.ask(disagrees).await.unwrap().status, 400);
    let mut agrees = request(Method::GET, "https://a.example/");
    agrees.headers_mut().insert("host", "a.example".parse().unwrap());
    assert_eq!(client.ask(agrees).await.unwrap().status, 200);
}

#[tokio::test]
async fn the_answer_to_head_has_the_length_and_no_content_whatever_answers() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("shared", &["a.example", "b.example"]);
    let on = |host: &str| {
        format!(r#"{{ on = "https/127.0.0.1:{port}:{host}", certificate = "shared" }}"#)
    };
    setup.files("a", &[&on("a.example")], &[("small", b"12345"), ("large", &bytes_of(100_000))]);
    setup.site("b", &[&on("b.example")]);
    let _server = setup.start();
    let mut client = http2(port, "a.example").await;
    for (url, status) in [
        ("https://a.example/small", 200),
        ("https://a.example/large", 200),
        ("https://a.example/none", 404),
        ("https://a.example/", 403),
        ("https://a.example/%zz", 400),
        ("https://b.example/", 200),
        ("https://c.example/", 421),
    ] {
        let whole = client.ask(request(Method::GET, url)).await.unwrap();
        let head = client.ask(request(Method::HEAD, url)).await.unwrap();
        assert_eq!((whole.status, head.status), (status, status), "{url}");
        let length = whole.content.len().to_string();
        assert_eq!(head.field("content-length"), Some(length.as_str()), "{url}");
        assert!(head.content.is_empty() && !whole.content.is_empty(), "{url}");
    }
}

#[tokio::test]
async fn a_hundred_streams_at_once_are_all_answered() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example"]);
    let files: Vec<_> =
        (0..100).map(|number| (format!("{number}.bin"), bytes_of(number * 1000))).collect();
    let named: Vec<_> = files.iter().map(|(name, bytes)| (name.as_str(), &bytes[..])).collect();
    setup.files("a", &[&format!("https/127.0.0.1:{port}:a.example")], &named);
    let server = setup.start();
    let mut client = http2(port, "a.example").await;
    let mut answers = Vec::new();
    for (name, _) in &files {
        let request = request(Method::GET, &format!("https://a.example/{name}"));
        answers.push(client.begin(request).await.unwrap());
    }
    // Read together: a stream that is not read must not hold up the others.
    let mut reading = tokio::task::JoinSet::new();
    for (number, answer) in answers.into_iter().enumerate() {
        reading.spawn(async move { (number, read(answer).await.unwrap()) });
    }
    while let Some(done) = reading.join_next().await {
        let (number, answer) = done.unwrap();
        assert_eq!(answer.status, 200);
        assert!(answer.content == files[number].1, "{number}");
    }
    assert_eq!(server.counters().connections_total, 1);
    assert_eq!(server.counters().requests_total, 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_file_arrives_whole_and_in_parts() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example"]);
    let content = bytes_of(20 * 1024 * 1024);
    let on = format!("https/127.0.0.1:{port}:a.example");
    setup.files("a", &[&on], &[("large.bin", &content), ("small.txt", b"small")]);
    let _server = setup.start();
    let mut client = http2(port, "a.example").await;
    let large = request(Method::GET, "https://a.example/large.bin");
    let large = client.begin(large).await.unwrap();
    // Others pass while it is on its way.
    assert_eq!(client.get("a.example", "/small.txt").await.unwrap().text(), "small");
    assert!(read(large).await.unwrap().content == content);
    let mut part = request(Method::GET, "https://a.example/large.bin");
    part.headers_mut().insert("range", "bytes=5000000-15000000".parse().unwrap());
    let part = client.ask(part).await.unwrap();
    assert_eq!(part.status, 206);
    assert!(part.content == content[5_000_000..=15_000_000]);
    let head = client.ask(request(Method::HEAD, "https://a.example/large.bin")).await.unwrap();
    assert_eq!(head.field("content-length"), Some("20971520"));
    assert!(head.content.is_empty());
}

#[tokio::test]
async fn an_answer_that_comes_before_the_content_is_not_lost() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example"]);
    setup.files("a", &[&format!("https/127.0.0.1:{port}:a.example")], &[("f.txt", b"content")]);
    let _server = setup.start();
    let mut client = http2(port, "a.example").await;
    for size in [1, 100_000, 4_000_000] {
        let post = request(Method::POST, "https://a.example/f.txt");
        let answer = client.ask_with(post, Bytes::from(vec![b'x'; size])).await.unwrap();
        assert_eq!(answer.status, 405, "{size}");
        assert_eq!(client.get("a.example", "/f.txt").await.unwrap().text(), "content", "{size}");
    }
}

#[tokio::test]
async fn streams_that_are_given_up_hurt_nobody() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example"]);
    let content = bytes_of(4 * 1024 * 1024);
    let on = format!("https/127.0.0.1:{port}:a.example");
    setup.files("a", &[&on], &[("large.bin", &content)]);
    let _server = setup.start();
    let mut client = http2(port, "a.example").await;
    for _ in 0..50 {
        let request = request(Method::GET, "https://a.example/large.bin");
        let answer = client.begin(request).await.unwrap();
        // The first bytes, then enough of it.
        drop(soon("an answer", answer).await.unwrap());
    }
    assert!(client.get("a.example", "/large.bin").await.unwrap().content == content);
}

#[tokio::test]
async fn a_connection_that_rested_answers_its_next_request() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example"]);
    setup.site("a", &[&format!("https/127.0.0.1:{port}:a.example")]);
    let _server = setup.start();
    let fresh = connected(&TestClient::with_alpn(&["h2"]), port, "a.example").await;
    let mut used = http2(port, "a.example").await;
    assert_eq!(used.get("a.example", "/").await.unwrap().text(), "a");
    let pause = bindery_server::limits::BUFFERS_KEPT_MIN * 10;
    tokio::time::sleep(pause).await;
    let mut fresh = Http2::new(fresh.stream).await;
    for _ in 0..2 {
        assert_eq!(fresh.get("a.example", "/").await.unwrap().text(), "a");
        assert_eq!(used.get("a.example", "/").await.unwrap().text(), "a");
    }
}

#[tokio::test]
async fn what_is_no_http_2_is_refused_and_hurts_nobody() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example"]);
    setup.site("a", &[&format!("https/127.0.0.1:{port}:a.example")]);
    let _server = setup.start();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let frame = |kind: u8, length: u8| vec![0, 0, length, kind, 0, 0, 0, 0, 0];
    let with = |rest: Vec<u8>| [preface.clone(), frame(4, 0), rest].concat();
    for bytes in [
        b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n".to_vec(),
        vec![0; 64],
        // DATA on stream 0, and a frame longer than was allowed.
        with(frame(0, 0)),
        with(vec![0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]),
    ] {
        let client = TestClient::with_alpn(&["h2"]);
        let mut stream = connected(&client, port, "a.example").await.stream;
        stream.write_all(&bytes).await.unwrap();
        let mut rest = Vec::new();
        // The end, by whatever way; nothing of it may look like an answer of HTTP/1.1.
        drop(soon("the end", stream.read_to_end(&mut rest)).await);
        assert!(!rest.starts_with(b"HTTP/1.1"));
    }
    let client = TestClient::with_alpn(&["http/1.1"]);
    let stream = connected(&client, port, "a.example").await.stream;
    assert_eq!(Http1::new(stream).get("a.example", "/").await.unwrap().text(), "a");
}

#[tokio::test]
async fn a_client_that_resets_without_end_is_cut_off() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example"]);
    setup.files("a", &[&format!("https/127.0.0.1:{port}:a.example")], &[("f", &[1; 1000])]);
    let server = setup.start();
    let client = TestClient::with_alpn(&["h2"]);
    let mut stream = connected(&client, port, "a.example").await.stream;
    let mut flood =
        [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
    // GET https://a.example/f, and at once RST_STREAM: CVE-2023-44487.
    let fields = [&[0x82, 0x87, 0x41, 9][..], b"a.example", &[0x44, 2], b"/f"].concat();
    for number in 0..2000_u32 {
        let stream = (2 * number + 1).to_be_bytes();
        let length = u8::try_from(fields.len()).unwrap();
        flood.extend([0, 0, length, 1, 5]);
        flood.extend(stream);
        flood.extend(&fields);
        flood.extend([0, 0, 4, 3, 0]);
        flood.extend(stream);
        flood.extend([0, 0, 0, 8]);
    }
    drop(stream.write_all(&flood).await);
    drop(stream.flush().await);
    let mut rest = Vec::new();
    drop(soon("the end", stream.read_to_end(&mut rest)).await);
    assert!(rest.windows(4).any(|four| four == ENHANCE_YOUR_CALM), "{rest:?}");
    assert!(server.counters().requests_total < 2000);
    let mut client = http2(port, "a.example").await;
    assert_eq!(client.get("a.example", "/f").await.unwrap().status, 200);
}
