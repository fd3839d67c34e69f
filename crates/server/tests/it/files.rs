//! Files as clients get them: parts, encoded siblings, and files that change on the way.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    os::unix::fs::FileExt as _,
    path::Path,
    time::SystemTime,
};

use bindery_testkit::{
    http2::{Http2, read},
    programs::run,
    tls::TestClient,
};
use http::Request;

use crate::{
    http1::bytes_of,
    setup::{Setup, connected, http, https},
};

/// More than sockets and windows hold on the way.
const LARGE_BYTES: u64 = 64 * 1024 * 1024;

/// A site with a folder `a`, on TLS and without, and the ports of both.
fn site(setup: &mut Setup, files: &[(&str, &[u8])]) -> (u16, u16) {
    let (plain, port) = (setup.port(), setup.port());
    setup.certificate("a", &["a.example"]);
    setup.files("a", &[&format!("https/127.0.0.1:{port}:a.example")], files);
    let on = format!("http/127.0.0.1:{plain}:a.example");
    setup.site_with("plain", &[&on], "root = \"a\"");
    (plain, port)
}

/// What curl says for a URL of this site.
async fn curl(port: u16, arguments: &[&str], url: &str) -> Option<String> {
    let resolve = format!("a.example:{port}:127.0.0.1");
    let base = ["-sS", "-k", "--noproxy", "*", "--resolve", &resolve];
    let said = run("curl", &[&base, arguments, &[url]].concat(), "").await?;
    assert!(said.ok(), "{said:?}");
    Some(said.stdout)
}

/// The parts of an answer: the value of `Content-Range` and the bytes.
fn parts(head: &str, content: &[u8]) -> Vec<(String, Vec<u8>)> {
    let boundary = head.split("multipart/byteranges; boundary=").nth(1).expect("several parts");
    let boundary = format!("--{}", boundary.split("\r\n").next().unwrap());
    let find = |text: &[u8], what: &[u8]| text.windows(what.len()).position(|part| part == what);
    let mut rest = content.strip_prefix(boundary.as_bytes()).unwrap();
    let mut parts = Vec::new();
    while rest != b"--\r\n" {
        let end = find(rest, b"\r\n\r\n").unwrap();
        let fields = str::from_utf8(&rest[..end]).unwrap();
        let range = fields.split("Content-Range: ").nth(1).unwrap().to_owned();
        rest = &rest[end + 4..];
        let end = find(rest, format!("\r\n{boundary}").as_bytes()).unwrap();
        parts.push((range, rest[..end].to_vec()));
        rest = &rest[end + 2 + boundary.len()..];
    }
    parts
}

#[tokio::test]
async fn curl_gets_the_parts_that_it_asks_for() {
    let mut setup = Setup::new();
    let (small, large) = (bytes_of(1000), bytes_of(3_000_000));
    let (plain, port) = site(&mut setup, &[("small.bin", &small), ("large.bin", &large)]);
    let _server = setup.start();
    let (head, got) = (setup.folder().join("head"), setup.folder().join("got"));
    let files = ["-D", head.to_str().unwrap(), "-o", got.to_str().unwrap()];
    for (version, scheme, port) in
        [("--http1.1", "http", plain), ("--http1.1", "https", port), ("--http2", "https", port)]
    {
        for (name, content) in [("small.bin", &small), ("large.bin", &large)] {
            let url = format!("{scheme}://a.example:{port}/{name}");
            let length = content.len();
            let arguments = [&files[..], &[version, "-r", "10-19"]].concat();
            let Some(_) = curl(port, &arguments, &url).await else { return };
            assert!(std::fs::read(&got).unwrap() == content[10..20]);
            let wanted = "900-,0-9,5-99,200-200";
            let arguments = [&files[..], &[version, "-r", wanted]].concat();
            let Some(_) = curl(port, &arguments, &url).await else { return };
            let said = std::fs::read_to_string(&head).unwrap();
            assert!(said.contains(" 206"), "{said}");
            let parts = parts(&said, &std::fs::read(&got).unwrap());
            for ((range, bytes), (first, last)) in
                parts.iter().zip([(900, length - 1), (0, 99), (200, 200)])
            {
                assert_eq!(*range, format!("bytes {first}-{last}/{length}"));
                assert!(*bytes == content[first..=last], "{range} by {version}");
            }
            assert_eq!(parts.len(), 3);
        }
    }
}

/// Every cipher suite, by a client that is not ours: content of one record, of part of one, of many.
#[tokio::test]
async fn openssl_reads_what_each_suite_encrypts() {
    let mut setup = Setup::new();
    let contents = [1, 2000, 2048, 16_384, 3_000_000].map(bytes_of);
    let names = contents.each_ref().map(|content| format!("{}.bin", content.len()));
    let files: Vec<_> =
        names.iter().zip(&contents).map(|(name, bytes)| (name.as_str(), &bytes[..])).collect();
    let (_, port) = site(&mut setup, &files);
    let _server = setup.start();
    let got = setup.folder().join("got");
    for suite in
        ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"]
    {
        for (name, content) in names.iter().zip(&contents) {
            let url = format!("https://a.example:{port}/{name}");
            let arguments = ["--tls13-ciphers", suite, "-o", got.to_str().unwrap()];
            let Some(_) = curl(port, &arguments, &url).await else { return };
            assert!(std::fs::read(&got).unwrap() == *content, "{name} by {suite}");
        }
    }
}

#[tokio::test]
async fn curl_unpacks_the_sibling_that_it_is_sent() {
    let mut setup = Setup::new();
    let text = "body { color: black }\n".repeat(20_000);
    let (plain, port) = site(&mut setup, &[("a.css", text.as_bytes())]);
    let file = setup.folder().join("a/a.css");
    let Some(said) = run("gzip", &["-k", file.to_str().unwrap()], "").await else { return };
    assert!(said.ok(), "{said:?}");
    let packed = std::fs::metadata(setup.folder().join("a/a.css.gz")).unwrap().len();
    let _server = setup.start();
    let got = setup.folder().join("got");
    let base = ["-o", got.to_str().unwrap(), "-w"];
    let said = "%{size_download} %header{content-encoding} %header{vary} %{content_type}";
    for (scheme, port) in [("http", plain), ("https", port)] {
        let url = format!("{scheme}://a.example:{port}/a.css");
        for (ask, expected) in [
            (
                &["--compressed"][..],
                format!("{packed} gzip Accept-Encoding text/css; charset=utf-8"),
            ),
            (&[], format!("{}  Accept-Encoding text/css; charset=utf-8", text.len())),
        ] {
            let arguments = [&base[..], &[said], ask].concat();
            let Some(said) = curl(port, &arguments, &url).await else { return };
            assert_eq!(said, expected);
            assert!(std::fs::read(&got).unwrap() == text.as_bytes());
        }
    }
}

/// What happens to a file while it is sent.
#[derive(Clone, Copy, Debug)]
enum Change {
    Shrinks,
    IsRewritten,
    Grows,
}

impl Change {
    fn happen(self, path: &Path) {
        let mut file =
            OpenOptions::new().append(matches!(self, Self::Grows)).write(true).open(path);
        let file = file.as_mut().unwrap();
        match self {
            Self::Shrinks => file.set_len(100_000).unwrap(),
            Self::IsRewritten => file.write_all_at(b"other", 0).unwrap(),
            Self::Grows => file.write_all(&[7; 100_000]).unwrap(),
        }
    }
}

/// Served as `large.bin`: long unchanged, of zeros that take no place.
fn large_file(setup: &Setup) -> std::path::PathBuf {
    let path = setup.folder().join("a/large.bin");
    let file = File::create(&path).unwrap();
    file.set_len(LARGE_BYTES).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    path
}

const ASK: &str = "GET /large.bin HTTP/1.1\r\nHost: a.example\r\n\r\n";

#[tokio::test]
async fn over_http_1_a_file_that_changes_on_the_way_ends_the_connection_before_its_length() {
    let mut setup = Setup::new();
    let (plain, port) = site(&mut setup, &[]);
    let _server = setup.start();
    for change in [Change::Shrinks, Change::IsRewritten] {
        let path = large_file(&setup);
        let mut client = http(plain).await;
        client.send(ASK).await.unwrap();
        let head = client.head().await.unwrap();
        assert_eq!(head.field("content-length"), Some(LARGE_BYTES.to_string().as_str()));
        change.happen(&path);
        // A reset, or less than was announced.
        let content = client.rest().await.unwrap_or_default();
        assert!((content.len() as u64) < LARGE_BYTES, "{change:?}");
        let path = large_file(&setup);
        let mut client = https(port, "a.example").await;
        client.send(ASK).await.unwrap();
        client.head().await.unwrap();
        change.happen(&path);
        let whole = client.take(usize::try_from(LARGE_BYTES).unwrap()).await;
        assert!(whole.is_err(), "{change:?}");
    }
}

#[tokio::test]
async fn over_http_1_a_file_that_grows_on_the_way_is_sent_as_long_as_announced() {
    let mut setup = Setup::new();
    let (plain, _) = site(&mut setup, &[("small.txt", b"small")]);
    let path = large_file(&setup);
    let _server = setup.start();
    let mut client = http(plain).await;
    client.send(ASK).await.unwrap();
    client.head().await.unwrap();
    Change::Grows.happen(&path);
    let content = client.take(usize::try_from(LARGE_BYTES).unwrap()).await.unwrap();
    assert!(content.iter().all(|byte| *byte == 0), "nothing of what was appended");
    // And nothing stands between this answer and the next.
    assert_eq!(client.get("a.example", "/small.txt").await.unwrap().text(), "small");
}

#[tokio::test]
async fn over_http_2_a_file_that_changes_on_the_way_ends_its_stream_alone() {
    let mut setup = Setup::new();
    let (_, port) = site(&mut setup, &[("small.txt", b"small")]);
    let _server = setup.start();
    let mut clients = Vec::new();
    for change in [Change::Shrinks, Change::IsRewritten, Change::Grows] {
        let path = large_file(&setup);
        let connection = connected(&TestClient::with_alpn(&["h2"]), port, "a.example").await;
        let mut client = Http2::new(connection.stream).await;
        let request = Request::get("https://a.example/large.bin").body(()).unwrap();
        // Its window is smaller than the file, so the server cannot be done yet.
        let mut answer = client.begin(request).await.unwrap();
        let small = client.get("a.example", "/small.txt").await.unwrap();
        assert_eq!(small.text(), "small");
        let head = std::future::poll_fn(|cx| std::pin::Pin::new(&mut answer).poll(cx));
        let (head, mut body) = head.await.unwrap().into_parts();
        assert_eq!(head.headers["content-length"], LARGE_BYTES.to_string());
        change.happen(&path);
        let (mut bytes, mut broken) = (0, false);
        while let Some(chunk) = body.data().await {
            let Ok(chunk) = chunk else {
                broken = true;
                break;
            };
            body.flow_control().release_capacity(chunk.len()).unwrap();
            bytes += chunk.len() as u64;
        }
        match change {
            Change::Grows => assert_eq!((bytes, broken), (LARGE_BYTES, false)),
            _ => assert!(broken && bytes < LARGE_BYTES, "{change:?} after {bytes}"),
        }
        let small = Request::get("https://a.example/small.txt").body(()).unwrap();
        let small = client.begin(small).await.unwrap();
        assert_eq!(read(small).await.unwrap().text(), "small");
        clients.push(client);
    }
}

#[tokio::test]
async fn an_answer_larger_than_any_buffer_waits_for_a_client_that_reads_late() {
    let mut setup = Setup::new();
    let (plain, port) = (setup.port(), setup.port());
    setup.certificate("a", &["a.example"]);
    let text: String = (0..2_000_000).map(|number| format!("{number:08}")).collect();
    let lines = format!("respond = \"{text}\"");
    setup.site_with("a", &[&format!("https/127.0.0.1:{port}:a.example")], &lines);
    setup.site_with("plain", &[&format!("http/127.0.0.1:{plain}:a.example")], &lines);
    let _server = setup.start();
    let ask = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let (mut plain, mut tls) = (http(plain).await, https(port, "a.example").await);
    plain.send(ask).await.unwrap();
    tls.send(ask).await.unwrap();
    // Long enough for buffers to be taken away from a connection that seems to have nothing to do.
    tokio::time::sleep(bindery_server::limits::BUFFERS_KEPT_MIN * 10).await;
    for answer in [plain.answer().await.unwrap(), tls.answer().await.unwrap()] {
        assert!(answer.content == text.as_bytes());
    }
    assert!(plain.get("a.example", "/").await.unwrap().content == text.as_bytes());
    assert!(tls.get("a.example", "/").await.unwrap().content == text.as_bytes());
}
