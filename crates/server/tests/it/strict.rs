//! HTTP/1.1 to the letter: what is no message is answered as RFC 9110 and 9112 ask for, ends the
//! connection, and no byte behind it is ever read as a request.

use std::sync::{Arc, Mutex};

use bindery_server::http::framing::{Framing, Passed};
use bindery_testkit::soon;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::{
    proxy::{Front, to},
    setup::{Setup, connected, local},
};

/// What is sent, and the statuses that are the answer. The last is the end of the connection.
pub(crate) struct Case {
    pub(crate) what: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) statuses: &'static [u16],
}

/// What nobody may answer when it stands behind a broken request.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n";

fn case(what: &'static str, bytes: impl AsRef<[u8]>, statuses: &'static [u16]) -> Case {
    let bytes = [bytes.as_ref(), SMUGGLED.as_bytes()].concat();
    Case { what, bytes, statuses }
}

/// A request line that is wrong.
fn line(what: &'static str, line: impl AsRef<[u8]>, statuses: &'static [u16]) -> Case {
    case(what, [line.as_ref(), b"\r\nHost: a.example\r\n\r\n"].concat(), statuses)
}

/// Fields that are wrong.
fn fields(what: &'static str, fields: impl AsRef<[u8]>, statuses: &'static [u16]) -> Case {
    let head = b"POST / HTTP/1.1\r\nHost: a.example\r\n";
    case(what, [&head[..], fields.as_ref(), b"\r\n\r\nabcde"].concat(), statuses)
}

/// Content in chunks that is wrong.
fn chunks(what: &'static str, content: impl AsRef<[u8]>) -> Case {
    let head = b"POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n";
    case(what, [&head[..], content.as_ref()].concat(), &[400])
}

fn heads() -> Vec<Case> {
    let long = "a".repeat(25_000);
    vec![
        line("a method and nothing more", "GET", &[400]),
        line("HTTP/0.9", "GET /", &[400]),
        line("two spaces before the target", "GET  / HTTP/1.1", &[400]),
        line("two spaces before the version", "GET /  HTTP/1.1", &[400]),
        line("a space at the end", "GET / HTTP/1.1 ", &[400]),
        line("a space at the beginning", " GET / HTTP/1.1", &[400]),
        line("a space in the target", "GET /a b HTTP/1.1", &[400]),
        line("a tab for a space", "GET\t/\tHTTP/1.1", &[400]),
        line("a vertical tab for a space", "GET\x0b/ HTTP/1.1", &[400]),
        line("a fourth part", "GET / HTTP/1.1 x", &[400]),
        line("no target", "GET HTTP/1.1", &[400]),
        line("HTTP/1.2", "GET / HTTP/1.2", &[505]),
        line("HTTP/2.0", "GET / HTTP/2.0", &[505]),
        line("HTTP/0.9 with its name", "GET / HTTP/0.9", &[505]),
        line("HTTP/3.0", "GET / HTTP/3.0", &[505]),
        line("a version of two digits", "GET / HTTP/1.10", &[400]),
        line("a version without its minor", "GET / HTTP/1", &[400]),
        line("http in lower case", "GET / http/1.1", &[400]),
        line("HTTP with a space", "GET / HTTP /1.1", &[400]),
        line("a method with a bracket", "G(T / HTTP/1.1", &[400]),
        line("a method with a slash", "GE/T / HTTP/1.1", &[400]),
        line("a method that is no ASCII", "G\u{c9}T / HTTP/1.1", &[400]),
        line("a method that is too long", format!("{long} / HTTP/1.1"), &[501]),
        line("a target that is too long", format!("GET /{long} HTTP/1.1"), &[414]),
        line("a line that is too long", format!("GET /{} HTTP/1.1", long.repeat(3)), &[414]),
        line("an asterisk for a GET", "GET * HTTP/1.1", &[400]),
        line("an authority for a GET", "GET a.example:80 HTTP/1.1", &[400]),
        line("a target without its slash", "GET index.html HTTP/1.1", &[400]),
        line("a path for CONNECT", "CONNECT / HTTP/1.1", &[400]),
        line("an authority without a port", "CONNECT a.example HTTP/1.1", &[400]),
        line("another scheme", "GET ftp://a.example/ HTTP/1.1", &[400]),
        line("our own scheme", "GET refused://1/ HTTP/1.1", &[400]),
        line("a scheme without a host", "GET http:///x HTTP/1.1", &[400]),
        line("a user in the target", "GET http://u@a.example/ HTTP/1.1", &[400]),
        line("a fragment", "GET /#x HTTP/1.1", &[400]),
        line("a target that is no ASCII", "GET /\u{e4} HTTP/1.1", &[400]),
        line("a NUL in the target", "GET /\0 HTTP/1.1", &[400]),
        line("a DEL in the target", "GET /\x7f HTTP/1.1", &[400]),
        line("a byte of no text in the target", b"GET /\xff HTTP/1.1", &[400]),
        line("a CR in the target", "GET /\rx HTTP/1.1", &[400]),
        line("HTTP/2 by itself", "PRI * HTTP/2.0", &[505]),
    ]
}

fn lines() -> Vec<Case> {
    let long = "a".repeat(25_000);
    let many: String = (0..120).map(|number| format!("x{number}: y\r\n")).collect();
    vec![
        case("a line without its CR", "GET / HTTP/1.1\nHost: a.example\r\n\r\n", &[400]),
        case("lines without their CR", "GET / HTTP/1.1\nHost: a.example\n\n", &[400]),
        case("an end without its CR", "GET / HTTP/1.1\r\nHost: a.example\r\n\n", &[400]),
        case("a field without its CR", "GET / HTTP/1.1\r\nHost: a.example\nX: y\r\n\r\n", &[400]),
        case("two CR", "GET / HTTP/1.1\r\r\nHost: a.example\r\n\r\n", &[400]),
        case("empty lines of LF", "\n\nGET / HTTP/1.1\r\nHost: a.example\r\n\r\n", &[400]),
        case("many empty lines", "\r\n".repeat(100), &[400]),
        case("no HTTP at all", "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", &[400]),
        fields("a line that goes on", "X: y\r\n z", &[400]),
        fields("a line that goes on with a tab", "X: y\r\n\tz", &[400]),
        case("a first line that goes on", "GET / HTTP/1.1\r\n Host: a.example\r\n\r\n", &[400]),
        fields("a space before the colon", "X : y", &[400]),
        fields("a tab before the colon", "X\t: y", &[400]),
        fields("a space in a name", "X Y: z", &[400]),
        fields("no name", ": y", &[400]),
        fields("no colon", "X", &[400]),
        fields("a NUL in a name", "X\0: y", &[400]),
        fields("a bracket in a name", "X(: y", &[400]),
        fields("a name that is no ASCII", "\u{e4}: y", &[400]),
        fields("a NUL in a value", "X: y\0", &[400]),
        fields("a bell in a value", "X: y\x07z", &[400]),
        fields("a DEL in a value", "X: y\x7f", &[400]),
        fields("a CR in a value", "X: y\rz", &[400]),
        fields("a CR at the end of a value", "X: y\r", &[400]),
        fields("too many fields", many, &[431]),
        fields("a field that is too large", format!("X: {}", long.repeat(2)), &[431]),
    ]
}

fn lengths() -> Vec<Case> {
    let te = "Transfer-Encoding: chunked";
    vec![
        fields("two lengths", "Content-Length: 5\r\nContent-Length: 6", &[400]),
        fields("one length twice", "Content-Length: 5\r\nContent-Length: 5", &[400]),
        fields("two lengths in one", "Content-Length: 5, 5", &[400]),
        fields("a length with a sign", "Content-Length: +5", &[400]),
        fields("a length below zero", "Content-Length: -5", &[400]),
        fields("a length in hex", "Content-Length: 0x5", &[400]),
        fields("a length with a space", "Content-Length: 5 5", &[400]),
        fields("a length with a tab", "Content-Length: 5\t5", &[400]),
        fields("a length with a dot", "Content-Length: 5.0", &[400]),
        fields("an empty length", "Content-Length:", &[400]),
        fields("a length with a form feed", "Content-Length: \x0c5", &[400]),
        fields("a length of 65 bits", "Content-Length: 18446744073709551621", &[400]),
        fields("a length of 64 bits", "Content-Length: 18446744073709551615", &[413]),
        fields("a length of -1", "Content-Length: 9223372036854775808", &[413]),
        fields("a length and chunks", format!("Content-Length: 5\r\n{te}"), &[400]),
        fields("chunks and a length", format!("{te}\r\nContent-Length: 5"), &[400]),
        fields("identity", "Transfer-Encoding: identity", &[400]),
        fields("chunked twice", "Transfer-Encoding: chunked, chunked", &[400]),
        fields("chunked in two fields", format!("{te}\r\n{te}"), &[400]),
        fields("chunked and identity", format!("{te}\r\nTransfer-Encoding: identity"), &[400]),
        fields("chunked not last", "Transfer-Encoding: chunked, gzip", &[400]),
        fields("another coding before", "Transfer-Encoding: gzip, chunked", &[501]),
        fields(
            "another coding in a field before",
            format!("Transfer-Encoding: gzip\r\n{te}"),
            &[501],
        ),
        fields("something like chunked", "Transfer-Encoding: xchunked", &[400]),
        fields("chunked with a parameter", "Transfer-Encoding: chunked;a=b", &[400]),
        fields("chunked in quotes", "Transfer-Encoding: \"chunked\"", &[400]),
        fields("an empty coding", "Transfer-Encoding:", &[400]),
        fields("a comma more", "Transfer-Encoding: ,chunked", &[400]),
        fields("chunked with a control", "Transfer-Encoding: \x0bchunked", &[400]),
        case(
            "chunks in HTTP/1.0",
            format!("POST / HTTP/1.0\r\nHost: a.example\r\n{te}\r\n\r\n0\r\n\r\n"),
            &[400],
        ),
    ]
}

fn contents() -> Vec<Case> {
    let extension = format!("5;{}\r\nabcde\r\n0\r\n\r\n", "x".repeat(100_000));
    vec![
        chunks("no size", "\r\nabcde\r\n0\r\n\r\n"),
        chunks("a size that is none", "g\r\nabcde\r\n0\r\n\r\n"),
        chunks("a size below zero", "-5\r\nabcde\r\n0\r\n\r\n"),
        chunks("a size with a sign", "+5\r\nabcde\r\n0\r\n\r\n"),
        chunks("a size with 0x", "0x5\r\nabcde\r\n0\r\n\r\n"),
        chunks("a size of 65 bits", "10000000000000005\r\nabcde\r\n0\r\n\r\n"),
        chunks("a size of 64 bits", "ffffffffffffffff\r\nabcde\r\n0\r\n\r\n"),
        chunks("a space before the size", " 5\r\nabcde\r\n0\r\n\r\n"),
        chunks("a space behind the size", "5 \r\nabcde\r\n0\r\n\r\n"),
        chunks("two sizes", "5 5\r\nabcde\r\n0\r\n\r\n"),
        chunks("a size without its CR", "5\nabcde\r\n0\r\n\r\n"),
        chunks("a size without its LF", "5\rabcde\r\n0\r\n\r\n"),
        chunks("a long extension", extension),
        chunks("a LF in an extension", "5;x\nabcde\r\n0\r\n\r\n"),
        chunks("a CR in an extension", "5;x\ry\r\nabcde\r\n0\r\n\r\n"),
        chunks("a NUL in an extension", "5;\0\r\nabcde\r\n0\r\n\r\n"),
        chunks("no end of a chunk", "5\r\nabcde0\r\n\r\n"),
        chunks("a chunk that is longer", "5\r\nabcdef\r\n0\r\n\r\n"),
        chunks("a chunk that ends without CR", "5\r\nabcde\n0\r\n\r\n"),
        chunks("a last chunk that ends without CR", "5\r\nabcde\r\n0\n\n"),
        chunks("an end without its CR", "5\r\nabcde\r\n0\r\n\n"),
        chunks("a trailer without its CR", "5\r\nabcde\r\n0\r\nX: y\n\r\n"),
        chunks("a trailer that is none", "5\r\nabcde\r\n0\r\nX\r\n\r\n"),
        chunks("a trailer with a space", "5\r\nabcde\r\n0\r\nX : y\r\n\r\n"),
        chunks("a trailer that goes on", "5\r\nabcde\r\n0\r\nX: y\r\n z\r\n\r\n"),
        chunks("a length behind", "5\r\nabcde\r\n0\r\nContent-Length: 5\r\n\r\n"),
        chunks("a coding behind", "5\r\nabcde\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        chunks("a host behind", "5\r\nabcde\r\n0\r\nHost: b.example\r\n\r\n"),
    ]
}

/// Requests that are messages, but say not whom they ask for. Not an error of framing: the
/// connection goes on, and so does what stands behind.
fn hosts() -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, host) in [
        ("a user in the host", "Host: user@a.example"),
        ("a path in the host", "Host: a.example/x"),
        ("a port that is none", "Host: a.example:x"),
        ("two hosts in one", "Host: a.example, a.example"),
        ("two hosts", "Host: a.example\r\nHost: a.example"),
        ("no host", "X: y"),
        ("a host that is no ASCII", "Host: \u{e4}.example"),
        ("a host with a quote", "Host: a.example\""),
    ] {
        let bytes = format!("GET / HTTP/1.1\r\n{host}\r\n\r\n");
        cases.push(case(what, bytes, &[400, 200]));
    }
    let disagree = "GET http://b.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n";
    cases.push(case("a target and a host that disagree", disagree, &[400, 200]));
    cases
}

/// What looks odd and is right.
fn good() -> Vec<Case> {
    let host = "Host: a.example\r\n";
    let post = format!("POST / HTTP/1.1\r\n{host}");
    let chunked = format!("{post}Transfer-Encoding: chunked\r\n\r\n");
    let ok: &[u16] = &[200, 200];
    vec![
        case("an absolute form", format!("GET http://a.example/ HTTP/1.1\r\n{host}\r\n"), ok),
        case("another case", format!("GET HTTP://A.example/ HTTP/1.1\r\n{host}\r\n"), ok),
        case("an asterisk", format!("OPTIONS * HTTP/1.1\r\n{host}\r\n"), ok),
        case("an empty line before", format!("\r\nGET / HTTP/1.1\r\n{host}\r\n"), ok),
        case("a method of our own", format!("X-!#$%&'*+.^_`|~ / HTTP/1.1\r\n{host}\r\n"), ok),
        case("tabs around a value", format!("GET / HTTP/1.1\r\n{host}X:\ty z\t \r\n\r\n"), ok),
        case("an empty value", format!("GET / HTTP/1.1\r\n{host}X:\r\n\r\n"), ok),
        case("obs-text in a value", format!("GET / HTTP/1.1\r\n{host}X: \u{e4}\r\n\r\n"), ok),
        case("zeros before a length", format!("{post}Content-Length: 0005\r\n\r\nabcde"), ok),
        case("spaces around a length", format!("{post}Content-Length: \t5 \r\n\r\nabcde"), ok),
        case("chunked", format!("{chunked}5\r\nabcde\r\n0\r\n\r\n"), ok),
        case("CHUNKED", format!("{post}transfer-encoding: CHUNKED\r\n\r\n0\r\n\r\n"), ok),
        case("an extension", format!("{chunked}5 ; a=\"b\"\r\nabcde\r\n0;c\r\n\r\n"), ok),
        case("a trailer", format!("{chunked}0005\r\nabcde\r\n000\r\nX-Sum: 1\r\n\r\n"), ok),
    ]
}

/// All of it.
pub(crate) fn cases() -> Vec<Case> {
    [heads(), lines(), lengths(), contents(), hosts(), good()].into_iter().flatten().collect()
}

/// How the bytes are cut.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Parts {
    Whole,
    /// Two parts, in the middle.
    Halves,
    Bytes,
}

/// The statuses of the answers, up to the end that the server makes, or ours.
pub(crate) async fn statuses<S>(stream: S, case: &Case, parts: Parts) -> Vec<u16>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut read, mut write) = tokio::io::split(stream);
    let length = match parts {
        Parts::Whole => case.bytes.len(),
        Parts::Halves => case.bytes.len() / 2,
        Parts::Bytes => 1,
    };
    let bytes = case.bytes.clone();
    let writing = tokio::spawn(async move {
        for part in bytes.chunks(length) {
            // The server may be through with us before the end.
            if write.write_all(part).await.is_err() || write.flush().await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        write
    });
    let mut said = Vec::new();
    while statuses_in(&said).len() < case.statuses.len()
        && soon(case.what, read.read_buf(&mut said)).await.unwrap() > 0
    {}
    // What is right is not ended by the server. Nor is it asked of another server for a client that
    // seems to be gone, so this comes after the last answer.
    drop(writing.await.unwrap().shutdown().await);
    soon(case.what, read.read_to_end(&mut said)).await.unwrap();
    statuses_in(&said)
}

fn statuses_in(said: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(said);
    text.match_indices("HTTP/1.")
        .filter_map(|(at, _)| text.get(at + 9..at + 12)?.parse().ok())
        .collect()
}

/// Sends each case on a connection of its own and compares.
async fn check_all<S, F>(mut open: impl FnMut() -> F, parts: Parts)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = S>,
{
    let mut wrong = Vec::new();
    for case in cases() {
        if matches!(parts, Parts::Bytes) && case.bytes.len() > 2000 {
            continue;
        }
        let got = statuses(open().await, &case, parts).await;
        if got != case.statuses {
            wrong.push(format!("{}: {got:?} instead of {:?}", case.what, case.statuses));
        }
    }
    assert!(wrong.is_empty(), "{parts:?}:\n{}", wrong.join("\n"));
}

#[tokio::test]
async fn what_is_no_message_is_refused_and_nothing_behind_it_is_read() {
    let mut setup = Setup::new();
    let (plain, port) = (setup.port(), setup.port());
    setup.certificate("a", &["a.example"]);
    setup.site("p", &[&format!("http/127.0.0.1:{plain}:a.example")]);
    setup.site("a", &[&format!("https/127.0.0.1:{port}:a.example")]);
    let _server = setup.start();
    for parts in [Parts::Whole, Parts::Halves, Parts::Bytes] {
        check_all(|| async { TcpStream::connect(local(plain)).await.unwrap() }, parts).await;
    }
    let client = bindery_testkit::tls::TestClient::default();
    for parts in [Parts::Whole, Parts::Halves] {
        check_all(|| async { connected(&client, port, "a.example").await.stream }, parts).await;
    }
}

#[tokio::test]
async fn requests_before_a_bad_one_are_answered_first() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.site("p", &[&format!("http/127.0.0.1:{port}:a.example")]);
    let server = setup.start();
    let good = "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nabcde";
    let bad = "GET / HTTP/1.1\nHost: a.example\r\n\r\n";
    let case = case("a bad one at the end", [good, good, good, bad].concat(), &[]);
    for parts in [Parts::Whole, Parts::Halves, Parts::Bytes] {
        let stream = TcpStream::connect(local(port)).await.unwrap();
        assert_eq!(statuses(stream, &case, parts).await, [200, 200, 200, 400], "{parts:?}");
    }
    bindery_testkit::eventually("the end", || async { server.counters().connections == 0 }).await;
}

/// An upstream that counts whole messages, and answers each.
pub(crate) struct Counting {
    pub(crate) port: u16,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) messages: usize,
    pub(crate) bytes: Vec<u8>,
}

impl Counting {
    pub(crate) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::<Mutex<Seen>>::default();
        let counting = Self { port, seen: Arc::clone(&seen) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(count(stream, Arc::clone(&seen)));
            }
        });
        counting
    }

    /// What has come since the last time.
    pub(crate) fn seen(&self) -> Seen {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

async fn count(mut stream: TcpStream, seen: Arc<Mutex<Seen>>) {
    let mut framing = Framing::http1();
    let mut chunk = [0; 16 * 1024];
    while let Ok(read @ 1..) = stream.read(&mut chunk).await {
        seen.lock().unwrap().bytes.extend(&chunk[..read]);
        for byte in chunk[..read].chunks(1) {
            drop::<Passed>(framing.take(byte));
            if framing.is_between() {
                seen.lock().unwrap().messages += 1;
                drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await);
            }
        }
        assert_eq!(framing.refused(), None, "an upstream gets what is right");
    }
}

#[tokio::test]
async fn an_upstream_sees_nothing_of_what_is_no_message() {
    let upstream = Counting::new().await;
    let front = Front::new(to(&[upstream.port]));
    let mut wrong = Vec::new();
    for parts in [Parts::Whole, Parts::Halves] {
        for case in cases() {
            let stream = TcpStream::connect(local(front.plain)).await.unwrap();
            let got = statuses(stream, &case, parts).await;
            let answered = case.statuses.iter().filter(|status| **status == 200).count();
            let seen = upstream.seen();
            let text = String::from_utf8_lossy(&seen.bytes).into_owned();
            let smuggled = text.matches("/smuggled").count();
            let may = usize::from(case.statuses.len() > 1);
            if got != case.statuses || seen.messages != answered || smuggled != may {
                wrong.push(format!("{}: {got:?}, and upstream: {text:?}", case.what));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
