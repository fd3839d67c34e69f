//! HTTP/1.1: whom a request asks for, whether this connection may answer, and the bytes of the
//! answer.

use bindery_testkit::{http1::Http1, soon, tls::TestClient};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::setup::{Setup, http, https, local};

#[track_caller]
fn statuses(expected: &[u16], got: &[u16]) {
    assert_eq!(got, expected);
}

#[tokio::test]
async fn a_request_that_does_not_say_whom_it_asks_for_is_refused() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.site("a", &[&format!("http/127.0.0.1:{port}:a.example")]);
    setup.site("b", &[&format!("http/127.0.0.1:{port}:b.example")]);
    let _server = setup.start();
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", 200),
        ("GET / HTTP/1.1\r\nHost: A.Example.:8080\r\n\r\n", 200),
        ("GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", 200),
        ("GET http://a.example/ HTTP/1.1\r\nHost: b.example\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a.example\r\nHost: a.example\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a.example, b.example\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: user@a.example\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a.example:port\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: c.example\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost : a.example\r\n\r\n", 400),
        ("GET / HTTP/1.0\r\n\r\n", 400),
        ("GET / HTTP/1.0\r\nHost: a.example\r\n\r\n", 200),
    ] {
        let mut client = http(port).await;
        client.send(request).await.unwrap();
        let answer = client.answer().await.unwrap();
        assert_eq!(answer.status, status, "{request:?}");
        if status == 200 {
            assert_eq!(answer.text(), "a", "{request:?}");
        }
    }
}

#[tokio::test]
async fn an_old_client_without_a_host_gets_the_catch_all() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.site("a", &[&format!("http/127.0.0.1:{port}:a.example")]);
    setup.site("rest", &[&format!("http/127.0.0.1:{port}:")]);
    let _server = setup.start();
    let mut client = http(port).await;
    client.send("GET / HTTP/1.0\r\n\r\n").await.unwrap();
    assert_eq!(client.answer().await.unwrap().text(), "rest");
    assert!(client.is_closed().await.unwrap(), "HTTP/1.0 is not kept open");
    for (host, site) in [("a.example", "a"), ("b.example", "rest"), ("127.0.0.1", "rest")] {
        assert_eq!(http(port).await.get(host, "/").await.unwrap().text(), site, "{host}");
    }
}

#[tokio::test]
async fn a_connection_answers_only_for_hosts_that_its_handshake_allows() {
    let mut setup = Setup::new();
    let port = setup.port();
    let on = |host: &str, rest: &str| {
        format!(r#"{{ on = "https/127.0.0.1:{port}:{host}", certificate = "shared"{rest} }}"#)
    };
    setup.certificate("shared", &["a.example", "b.example", "strict.example", "*.w.example"]);
    setup.certificate("other", &["other.example"]);
    setup.site("a", &[&on("a.example", "")]);
    setup.site("b", &[&on("b.example", "")]);
    setup.site("w", &[&on("*.w.example", "")]);
    setup.site("strict", &[&on("strict.example", r#", tls = { minimum = "1.3" }"#)]);
    setup.site("other", &[&format!("https/127.0.0.1:{port}:other.example")]);
    let _server = setup.start();

    for (name, host, status, why) in [
        ("a.example", "a.example", 200, "its own name"),
        ("a.example", "A.example:443", 200, "its own name, written otherwise"),
        ("a.example", "b.example", 200, "covered by the certificate, same policy"),
        ("a.example", "x.w.example", 200, "covered by its wildcard"),
        ("x.w.example", "y.w.example", 200, "the same binding"),
        ("a.example", "strict.example", 421, "covered, but another policy"),
        ("strict.example", "a.example", 421, "covered, but another policy"),
        ("a.example", "other.example", 421, "not covered"),
        ("other.example", "a.example", 421, "not covered"),
        ("a.example", "unknown.example", 421, "nobody's"),
        ("a.example", "x.y.w.example", 421, "two labels under a wildcard"),
        ("a.example", "127.0.0.1", 421, "an address is nobody's here"),
    ] {
        let mut client = https(port, name).await;
        let answer = client.get(host, "/").await.unwrap();
        assert_eq!(answer.status, status, "{name} asked for {host}: {why}");
        // The connection is as good as before for what it may answer.
        let again = client.get(name, "/").await.unwrap();
        assert_eq!(again.status, 200, "{name} after {host}");
        assert_eq!(client.get(host, "/").await.unwrap().status, status, "{host} again");
    }
}

#[tokio::test]
async fn a_client_without_a_server_name_gets_what_the_certificate_shown_covers() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("rest", &["rest.example", "a.example", "127.0.0.1"]);
    setup.certificate("b", &["b.example"]);
    let on = |host: &str| format!("https/127.0.0.1:{port}:{host}");
    let rest = |host: &str| format!(r#"{{ on = "{}", certificate = "rest" }}"#, on(host));
    setup.site("rest", &[&rest("")]);
    setup.site("a", &[&rest("a.example")]);
    setup.site("b", &[&on("b.example")]);
    let _server = setup.start();
    for (host, status, text) in [
        ("127.0.0.1", 200, "rest"),
        ("rest.example", 200, "rest"),
        // The catch-all is the binding of the handshake, whatever its certificate covers.
        ("unknown.example", 200, "rest"),
        ("a.example", 200, "a"),
        ("b.example", 421, "421"),
    ] {
        let connection = TestClient::default().connect(local(port), None).await.unwrap();
        let answer = Http1::new(connection.stream).get(host, "/").await.unwrap();
        assert_eq!(answer.status, status, "{host}");
        assert!(answer.text().contains(text), "{host}");
    }
}

#[tokio::test]
async fn nobody_gets_a_tunnel() {
    let mut setup = Setup::new();
    let (port, files) = (setup.port(), setup.port());
    setup.site("a", &[&format!("http/127.0.0.1:{port}:a.example")]);
    setup.files("f", &[&format!("http/127.0.0.1:{files}:a.example")], &[]);
    let _server = setup.start();
    for port in [port, files] {
        let mut client = http(port).await;
        client.send("CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n").await.unwrap();
        let answer = client.answer().await.unwrap();
        assert!((400..500).contains(&answer.status), "{}", answer.status);
    }
}

#[tokio::test]
async fn a_stopped_site_answers_503_and_keeps_its_name() {
    let mut setup = Setup::new();
    let (plain, port) = (setup.port(), setup.port());
    setup.certificate("a", &["a.example"]);
    let bindings =
        [format!("http/127.0.0.1:{plain}:a.example"), format!("https/127.0.0.1:{port}:a.example")];
    let bindings: Vec<_> = bindings.iter().map(String::as_str).collect();
    setup.site_with("a", &bindings, "state = \"stopped\"\nrespond = \"a\"");
    setup.site("rest", &[&format!("http/127.0.0.1:{plain}:")]);
    let _server = setup.start();
    assert_eq!(http(plain).await.get("a.example", "/").await.unwrap().status, 503);
    assert_eq!(https(port, "a.example").await.get("a.example", "/").await.unwrap().status, 503);
}

#[tokio::test]
async fn a_plain_request_is_sent_to_the_https_binding_of_its_host() {
    let mut setup = Setup::new();
    let (plain, port) = (setup.port(), setup.port());
    setup.certificate("a", &["a.example"]);
    let on = |protocol: &str, port: u16, host: &str| format!("{protocol}/127.0.0.1:{port}:{host}");
    setup.site("a", &[&on("http", plain, "a.example"), &on("https", port, "a.example")]);
    let both = [on("http", plain, "both.example"), on("https", port, "both.example")];
    let both: Vec<_> = both.iter().map(String::as_str).collect();
    setup.site_with("both", &both, "https_redirect = false\nrespond = \"both\"");
    setup.site("plain", &[&on("http", plain, "plain.example")]);
    // Its https binding answers for another name.
    setup.site("half", &[&on("http", plain, "half.example"), &on("https", port, "x.example")]);
    let _server = setup.start();
    let mut client = http(plain).await;
    let answer = client.get(&format!("a.example:{plain}"), "/b/c?d=e%20f").await.unwrap();
    assert_eq!(answer.status, 308);
    let target = format!("https://a.example:{port}/b/c?d=e%20f");
    assert_eq!(answer.field("location"), Some(target.as_str()));
    for host in ["both", "plain", "half"] {
        let answer = client.get(&format!("{host}.example"), "/").await.unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, host));
    }
}

#[tokio::test]
async fn a_kept_connection_answers_one_request_after_another() {
    let mut setup = Setup::new();
    let (plain, port) = (setup.port(), setup.port());
    setup.certificate("a", &["a.example"]);
    setup.files("a", &[&format!("https/127.0.0.1:{port}:a.example")], &[("f.txt", b"content")]);
    setup.site("p", &[&format!("http/127.0.0.1:{plain}:a.example")]);
    let server = setup.start();
    let mut tls = https(port, "a.example").await;
    let mut tcp = http(plain).await;
    for _ in 0..50 {
        assert_eq!(tls.get("a.example", "/f.txt").await.unwrap().text(), "content");
        assert_eq!(tcp.get("a.example", "/").await.unwrap().text(), "p");
    }
    assert_eq!(server.counters().connections_total, 2);
    assert_eq!(server.counters().requests_total, 100);
    tls.send("GET /f.txt HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n").await.unwrap();
    assert_eq!(tls.answer().await.unwrap().text(), "content");
    assert!(tls.is_closed().await.unwrap());
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example"]);
    let files: Vec<_> =
        (0..20).map(|number| (format!("{number}.txt"), vec![b'x'; number])).collect();
    let files: Vec<_> =
        files.iter().map(|(name, content)| (name.as_str(), content.as_slice())).collect();
    setup.files("a", &[&format!("https/127.0.0.1:{port}:a.example")], &files);
    let _server = setup.start();
    let mut client = https(port, "a.example").await;
    let requests: String = (0..20)
        .map(|number| format!("GET /{number}.txt HTTP/1.1\r\nHost: a.example\r\n\r\n"))
        .collect();
    client.send(requests).await.unwrap();
    for number in 0..20 {
        let answer = client.answer().await.unwrap();
        assert_eq!((answer.status, answer.content.len()), (200, number));
    }
    // The second of two is only half there at first.
    client.send("GET /1.txt HTTP/1.1\r\nHost: a.example\r\n\r\nGET /2.t").await.unwrap();
    assert_eq!(client.answer().await.unwrap().content.len(), 1);
    client.send("xt HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
    assert_eq!(client.answer().await.unwrap().content.len(), 2);
}

#[tokio::test]
async fn head_tells_the_length_and_sends_nothing() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example"]);
    setup.files("a", &[&format!("https/127.0.0.1:{port}:a.example")], &[("f.txt", &[7; 1000])]);
    let _server = setup.start();
    let mut client = https(port, "a.example").await;
    for path in ["/f.txt", "/missing.txt"] {
        client.send(format!("HEAD {path} HTTP/1.1\r\nHost: a.example\r\n\r\n")).await.unwrap();
        let head = client.head().await.unwrap();
        // What follows is the answer to the next request and no content.
        let got = client.get("a.example", path).await.unwrap();
        assert_eq!(head.status, got.status, "{path}");
        assert_eq!(head.field("content-length"), got.field("content-length"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_file_arrives_whole_and_in_parts() {
    let mut setup = Setup::new();
    let (plain, port) = (setup.port(), setup.port());
    setup.certificate("a", &["a.example"]);
    let content = bytes_of(20 * 1024 * 1024);
    let on = format!("https/127.0.0.1:{port}:a.example");
    setup.files("a", &[&on], &[("large.bin", &content)]);
    let plain_on = format!("http/127.0.0.1:{plain}:a.example");
    setup.site_with("plain", &[&plain_on], "root = \"a\"");
    let _server = setup.start();

    let mut tls = https(port, "a.example").await;
    assert!(tls.get("a.example", "/large.bin").await.unwrap().content == content);
    assert!(http(plain).await.get("a.example", "/large.bin").await.unwrap().content == content);
    for (range, from, until) in [
        ("0-0", 0, 1),
        ("1000000-17000000", 1_000_000, 17_000_001),
        ("-5", content.len() - 5, content.len()),
        ("20971000-", 20_971_000, content.len()),
    ] {
        let request =
            format!("GET /large.bin HTTP/1.1\r\nHost: a.example\r\nRange: bytes={range}\r\n\r\n");
        tls.send(request).await.unwrap();
        let answer = tls.answer().await.unwrap();
        assert_eq!(answer.status, 206, "{range}");
        assert!(answer.content == content[from..until], "{range}");
        let expected = format!("bytes {from}-{}/{}", until - 1, content.len());
        assert_eq!(answer.field("content-range"), Some(expected.as_str()));
    }
    tls.send("GET /large.bin HTTP/1.1\r\nHost: a.example\r\nRange: bytes=99999999-\r\n\r\n")
        .await
        .unwrap();
    let answer = tls.answer().await.unwrap();
    assert_eq!(answer.status, 416);
    assert_eq!(answer.field("content-range"), Some("bytes */20971520"));
}

/// Bytes that do not repeat in step with any buffer.
pub(crate) fn bytes_of(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .collect()
}

#[tokio::test]
async fn an_answer_that_comes_before_the_content_is_not_lost() {
    let mut setup = Setup::new();
    let (plain, port) = (setup.port(), setup.port());
    setup.certificate("a", &["a.example"]);
    let plain_on = format!("http/127.0.0.1:{plain}:a.example");
    let on = format!("https/127.0.0.1:{port}:a.example");
    setup.files("a", &[&plain_on, &on], &[("f.txt", b"content")]);
    setup.line("https_redirect = false");
    let _server = setup.start();
    let content = vec![b'x'; 4 * 1024 * 1024];
    let head = format!(
        "POST /f.txt HTTP/1.1\r\nHost: a.example\r\nContent-Length: {}\r\n\r\n",
        content.len()
    );
    // More than any buffer on the way holds: the server must not close with bytes unread.
    let mut client = http(plain).await;
    client.send(&head).await.unwrap();
    let answer = upload(&mut client, &content).await;
    assert_eq!((answer.status, answer.field("allow")), (405, Some("GET, HEAD, OPTIONS")));
    let mut client = https(port, "a.example").await;
    client.send(&head).await.unwrap();
    assert_eq!(upload(&mut client, &content).await.status, 405);
    let mut client = https(port, "a.example").await;
    let chunked = "POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send(chunked).await.unwrap();
    client.send("5\r\nhello\r\n0\r\n\r\n").await.unwrap();
    assert_eq!(client.answer().await.unwrap().status, 405);
    let mut client = https(port, "a.example").await;
    client.send(head.replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n")).await.unwrap();
    assert_eq!(client.answer().await.unwrap().status, 405, "without asking for the content");
}

/// Sends content as a client does that looks for an answer only afterwards. The connection must
/// take all of it and end in peace: a reset could overtake the answer.
async fn upload<S>(client: &mut Http1<S>, content: &[u8]) -> bindery_testkit::http1::Answer
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    for chunk in content.chunks(64 * 1024) {
        client.send(chunk).await.expect("the server takes it, or drops it");
    }
    let answer = client.answer().await.expect("the answer arrives");
    assert!(client.is_closed().await.expect("no reset"));
    answer
}

#[tokio::test]
async fn too_much_head_is_refused_with_an_answer() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.site("a", &[&format!("http/127.0.0.1:{port}:a.example")]);
    let _server = setup.start();
    let many: String = (0..150).map(|number| format!("x-{number}: 1\r\n")).collect();
    let long = format!("x-long: {}\r\n", "y".repeat(40 * 1024));
    for fields in [many, long] {
        let mut client = http(port).await;
        client.send(format!("GET / HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n")).await.unwrap();
        assert_eq!(client.answer().await.unwrap().status, 431);
    }
    let mut client = http(port).await;
    let path = "x".repeat(20 * 1024);
    assert_eq!(client.get("a.example", &format!("/{path}")).await.unwrap().status, 200);
}

#[tokio::test]
async fn what_is_no_http_is_refused_and_hurts_nobody() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.site("a", &[&format!("http/127.0.0.1:{port}:a.example")]);
    let _server = setup.start();
    for bytes in [
        "rubbish\r\n\r\n",
        "GET / HTTP/9.9\r\nHost: a.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.example\r\nContent-Length: x\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: gzip\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.example\r\nbad field\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.example\r\n folded: 1\r\n\r\n",
        "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
    ] {
        let mut client = http(port).await;
        client.send(bytes).await.unwrap();
        match client.answer().await {
            Ok(answer) => assert!(matches!(answer.status, 400 | 505), "{bytes:?}"),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "{bytes:?}"),
        }
    }
    assert_eq!(http(port).await.get("a.example", "/").await.unwrap().text(), "a");
}

#[tokio::test]
async fn a_connection_that_rested_answers_its_next_request() {
    let mut setup = Setup::new();
    let (plain, port) = (setup.port(), setup.port());
    setup.certificate("a", &["a.example"]);
    setup.site("p", &[&format!("http/127.0.0.1:{plain}:a.example")]);
    setup.site("a", &[&format!("https/127.0.0.1:{port}:a.example")]);
    let _server = setup.start();
    // Never used, used, and in the middle of a request; with TLS and without.
    let (mut fresh, mut used, mut half) = (
        https(port, "a.example").await,
        https(port, "a.example").await,
        https(port, "a.example").await,
    );
    let (mut fresh_plain, mut used_plain, mut half_plain) =
        (http(plain).await, http(plain).await, http(plain).await);
    assert_eq!(used.get("a.example", "/").await.unwrap().text(), "a");
    assert_eq!(half.get("a.example", "/").await.unwrap().text(), "a");
    assert_eq!(used_plain.get("a.example", "/").await.unwrap().text(), "p");
    assert_eq!(half_plain.get("a.example", "/").await.unwrap().text(), "p");
    half.send("GET / HTTP/1.1\r\nHo").await.unwrap();
    half_plain.send("GET / HTTP/1.1\r\nHo").await.unwrap();
    // The one wait of these tests that is a wait: buffers are given back when nothing happens.
    tokio::time::sleep(bindery_server::limits::BUFFERS_KEPT_MIN * 10).await;
    for _ in 0..2 {
        assert_eq!(fresh.get("a.example", "/").await.unwrap().text(), "a");
        assert_eq!(used.get("a.example", "/").await.unwrap().text(), "a");
        assert_eq!(fresh_plain.get("a.example", "/").await.unwrap().text(), "p");
        assert_eq!(used_plain.get("a.example", "/").await.unwrap().text(), "p");
    }
    half.send("st: a.example\r\n\r\n").await.unwrap();
    assert_eq!(half.answer().await.unwrap().text(), "a");
    half_plain.send("st: a.example\r\n\r\n").await.unwrap();
    assert_eq!(half_plain.answer().await.unwrap().text(), "p");
}

#[tokio::test]
async fn a_client_that_sends_its_request_and_closes_its_side_is_answered() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.site("a", &[&format!("http/127.0.0.1:{port}:a.example")]);
    let _server = setup.start();
    let mut tcp = TcpStream::connect(local(port)).await.unwrap();
    tcp.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
    tcp.shutdown().await.unwrap();
    let mut client = Http1::new(tcp);
    assert_eq!(client.answer().await.unwrap().text(), "a");
    assert!(client.is_closed().await.unwrap());
}

#[tokio::test]
async fn what_a_method_means_is_the_handler_s_to_say() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example"]);
    setup.files("a", &[&format!("https/127.0.0.1:{port}:a.example")], &[("index.html", b"x")]);
    let _server = setup.start();
    let mut got = Vec::new();
    for method in ["GET", "OPTIONS", "DELETE", "PUT", "TRACE", "PROPFIND"] {
        let mut client = https(port, "a.example").await;
        client.send(format!("{method} / HTTP/1.1\r\nHost: a.example\r\n\r\n")).await.unwrap();
        got.push(client.answer().await.unwrap().status);
    }
    statuses(&[200, 204, 405, 405, 405, 405], &got);
}

#[tokio::test]
async fn nothing_outside_of_the_folder_is_served() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example"]);
    setup.files("a", &[&format!("https/127.0.0.1:{port}:a.example")], &[(".hidden", b"x")]);
    std::fs::write(setup.folder().join("secret.txt"), "secret").unwrap();
    std::os::unix::fs::symlink(setup.folder(), setup.folder().join("a/out")).unwrap();
    let _server = setup.start();
    let mut client = https(port, "a.example").await;
    for path in [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/.%2e/secret.txt",
        "/out/secret.txt",
        "/.hidden",
        "/%2ehidden",
        "/a%00b",
        "/..\\secret.txt",
        "//secret.txt",
    ] {
        let answer = client.get("a.example", path).await.unwrap();
        assert!((400..500).contains(&answer.status), "{path}: {}", answer.status);
        assert!(!answer.text().contains("secret"), "{path}");
    }
}

#[tokio::test]
async fn the_last_answer_reaches_a_client_that_reads_slowly_whole() {
    let mut setup = Setup::new();
    let port = setup.port();
    let content = bytes_of(3 * 1024 * 1024);
    setup.files("a", &[&format!("http/127.0.0.1:{port}:a.example")], &[("f.bin", &content)]);
    let _server = setup.start();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    // So that the server's own buffers are full up to the last byte.
    socket.set_recv_buffer_size(4096).unwrap();
    let mut client = socket.connect(local(port)).await.unwrap();
    let request = b"GET /f.bin HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
    client.write_all(request).await.unwrap();
    let (mut answer, mut chunk) = (Vec::new(), [0; 2048]);
    loop {
        match soon("more of the answer", client.read(&mut chunk)).await.unwrap() {
            0 => break,
            read => answer.extend_from_slice(&chunk[..read]),
        }
    }
    assert!(answer.ends_with(&content), "{} bytes of {}", answer.len(), content.len());
}
