//! HTTP/2 to the letter (RFC 9113, 8): a malformed request is a stream error or a 400, reaches no
//! handler, and leaves the other streams alone.

use bindery_testkit::{soon, tls::TestClient};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::{
    proxy::{Front, to},
    setup::{Setup, connected},
    strict::Counting,
};

/// A request as its fields, with content and trailers.
#[derive(Clone, Default)]
pub(crate) struct Request {
    pub(crate) what: &'static str,
    fields: RawFields,
    content: Option<Vec<u8>>,
    trailers: Option<RawFields>,
}

type RawFields = Vec<(Vec<u8>, Vec<u8>)>;

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Status(u16),
    Reset,
    /// The whole connection was ended.
    GoneAway,
    Nothing,
}

type Fields<'a> = &'a [(&'a str, &'a str)];

fn bytes_of(fields: Fields<'_>) -> RawFields {
    fields
        .iter()
        .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
        .collect()
}

const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "https");
const HOST: (&str, &str) = (":authority", "a.example");
const PATH: (&str, &str) = (":path", "/");

fn raw(what: &'static str, fields: Fields<'_>) -> Request {
    Request { what, fields: bytes_of(fields), ..Request::default() }
}

/// A good request with these fields more.
fn with(what: &'static str, more: Fields<'_>) -> Request {
    raw(what, &[&[METHOD, SCHEME, HOST, PATH], more].concat())
}

/// A request with content.
fn post(what: &'static str, more: Fields<'_>, content: &str) -> Request {
    let fields = [&[(":method", "POST"), SCHEME, HOST, PATH], more].concat();
    Request { content: Some(content.as_bytes().to_vec()), ..raw(what, &fields) }
}

fn trailed(what: &'static str, trailers: Fields<'_>) -> Request {
    Request { trailers: Some(bytes_of(trailers)), ..post(what, &[], "abcde") }
}

/// A string of HPACK, as it is.
fn string(text: &[u8], out: &mut Vec<u8>) {
    // RFC 7541, 5.1: an integer with a prefix of seven bits.
    match u8::try_from(text.len()) {
        Ok(length) if length < 127 => out.push(length),
        _ => {
            out.push(127);
            let mut rest = text.len() - 127;
            while rest >= 128 {
                out.push(u8::try_from(rest % 128).unwrap() | 128);
                rest /= 128;
            }
            out.push(u8::try_from(rest).unwrap());
        }
    }
    out.extend_from_slice(text);
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = [&length[1..], &[kind, flags], &stream.to_be_bytes()[..]].concat();
    frame.extend_from_slice(payload);
    frame
}

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn headers(fields: &[(Vec<u8>, Vec<u8>)], flags: u8, stream: u32) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        // A literal that is not indexed (RFC 7541, 6.2.2).
        block.push(0);
        string(name, &mut block);
        string(value, &mut block);
    }
    frame(1, flags | 4, stream, &block)
}

impl Request {
    fn frames(&self, stream: u32) -> Vec<u8> {
        let end = u8::from(self.content.is_none());
        let mut out = headers(&self.fields, end, stream);
        if let Some(content) = &self.content {
            out.extend(frame(0, u8::from(self.trailers.is_none()), stream, content));
        }
        if let Some(trailers) = &self.trailers {
            out.extend(headers(trailers, 1, stream));
        }
        out
    }
}

/// The status at the beginning of a block of fields, which is where it must be.
fn status(block: &[u8]) -> u16 {
    match block {
        [0x88, ..] => 200,
        [0x8c, ..] => 400,
        [0x8d, ..] => 404,
        // A literal; what it is matters to nobody here.
        _ => 499,
    }
}

/// Sends `request` and then a good one, and tells what became of both.
pub(crate) async fn outcomes<S>(mut stream: S, request: &Request) -> (Outcome, Outcome)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let good = with("a good one", &[]);
    let bytes = [PREFACE, &frame(4, 0, 0, &[]), &request.frames(1), &good.frames(3)].concat();
    drop(stream.write_all(&bytes).await);
    drop(stream.flush().await);
    let mut outcomes = [Outcome::Nothing; 2];
    let mut head = [0; 9];
    while soon(request.what, stream.read_exact(&mut head)).await.is_ok() {
        let length = usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        if soon(request.what, stream.read_exact(&mut payload)).await.is_err() {
            break;
        }
        let Some(outcome) = outcomes.get_mut(usize::from(head[8] / 2)) else { continue };
        match head[3] {
            1 if *outcome == Outcome::Nothing => *outcome = Outcome::Status(status(&payload)),
            3 if *outcome == Outcome::Nothing => *outcome = Outcome::Reset,
            7 => {
                outcomes = outcomes.map(|one| match one {
                    Outcome::Nothing => Outcome::GoneAway,
                    other => other,
                });
            }
            _ => {}
        }
        if !outcomes.contains(&Outcome::Nothing) {
            break;
        }
    }
    (outcomes[0], outcomes[1])
}

fn heads() -> Vec<Request> {
    let many: Vec<_> = (0..120).map(|number| (format!("x{number}"), "y".to_owned())).collect();
    let many: Vec<_> = many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    vec![
        with("connection", &[("connection", "close")]),
        with("keep-alive", &[("keep-alive", "1")]),
        with("proxy-connection", &[("proxy-connection", "close")]),
        with("transfer-encoding", &[("transfer-encoding", "chunked")]),
        with("upgrade", &[("upgrade", "websocket")]),
        with("te of another value", &[("te", "gzip")]),
        with("te of two values", &[("te", "trailers, gzip")]),
        with("a name in upper case", &[("X-Y", "z")]),
        with("a pseudo-header after a field", &[("x", "y"), (":path", "/x")]),
        raw("its path after a field", &[METHOD, SCHEME, HOST, ("x", "y"), PATH]),
        with("an unknown pseudo-header", &[(":x", "y")]),
        with("a status", &[(":status", "200")]),
        with("two paths", &[PATH]),
        with("two methods", &[METHOD]),
        with("two authorities", &[HOST]),
        with("two schemes", &[SCHEME]),
        raw("no method", &[SCHEME, HOST, PATH]),
        raw("no scheme", &[METHOD, HOST, PATH]),
        raw("no path", &[METHOD, SCHEME, HOST]),
        raw("no authority", &[METHOD, SCHEME, PATH]),
        raw("an empty path", &[METHOD, SCHEME, HOST, (":path", "")]),
        raw("an empty method", &[(":method", ""), SCHEME, HOST, PATH]),
        raw("an empty scheme", &[METHOD, (":scheme", ""), HOST, PATH]),
        raw("an empty authority", &[METHOD, SCHEME, (":authority", ""), PATH]),
        raw("a path without its slash", &[METHOD, SCHEME, HOST, (":path", "x")]),
        raw("an absolute path", &[METHOD, SCHEME, HOST, (":path", "https://a.example/")]),
        raw("an asterisk for a GET", &[METHOD, SCHEME, HOST, (":path", "*")]),
        raw("a space in the path", &[METHOD, SCHEME, HOST, (":path", "/ x")]),
        raw("a path with HTTP/1.1", &[METHOD, SCHEME, HOST, (":path", "/ HTTP/1.1\r\nX: y")]),
        raw("a path that is no ASCII", &[METHOD, SCHEME, HOST, (":path", "/\u{e4}")]),
        raw("a NUL in the path", &[METHOD, SCHEME, HOST, (":path", "/\0")]),
        raw("a space in the method", &[(":method", "GET /x"), SCHEME, HOST, PATH]),
        raw("a line end in the method", &[(":method", "GET\r\n"), SCHEME, HOST, PATH]),
        raw("another scheme", &[METHOD, (":scheme", "ftp"), HOST, PATH]),
        raw("our own scheme", &[METHOD, (":scheme", "refused"), (":authority", "1"), PATH]),
        raw("a space in the scheme", &[METHOD, (":scheme", "https x"), HOST, PATH]),
        raw("a user", &[METHOD, SCHEME, (":authority", "u@a.example"), PATH]),
        raw("a path in the authority", &[METHOD, SCHEME, (":authority", "a.example/x"), PATH]),
        raw("a space in the authority", &[METHOD, SCHEME, (":authority", "a.example x"), PATH]),
        with("another host", &[("host", "b.example")]),
        with("two hosts", &[("host", "a.example"), ("host", "a.example")]),
        with("a user in the host", &[("host", "u@a.example")]),
        with("a LF in a value", &[("x", "y\nz: 1")]),
        with("a CR in a value", &[("x", "y\rz")]),
        with("a NUL in a value", &[("x", "y\0")]),
        with("a bell in a value", &[("x", "\x07")]),
        with("a DEL in a value", &[("x", "y\x7f")]),
        with("a space before a value", &[("x", " y")]),
        with("a space behind a value", &[("x", "y ")]),
        with("a tab behind a value", &[("x", "y\t")]),
        with("a name with a space", &[("x y", "z")]),
        with("a name with a colon", &[("x:y", "z")]),
        with("a name with a line end", &[("x\r\ny", "z")]),
        with("an empty name", &[("", "z")]),
        with("a name that is no ASCII", &[("\u{e4}", "z")]),
        with("too many fields", &many),
        raw("CONNECT with a path", &[(":method", "CONNECT"), HOST, PATH]),
        raw("CONNECT with a scheme", &[(":method", "CONNECT"), HOST, SCHEME]),
        raw("CONNECT", &[(":method", "CONNECT"), HOST]),
        raw("CONNECT without an authority", &[(":method", "CONNECT")]),
        with("a protocol without CONNECT", &[(":protocol", "websocket")]),
    ]
}

fn contents() -> Vec<Request> {
    vec![
        post("a length that is too large", &[("content-length", "6")], "abcde"),
        post("a length that is too small", &[("content-length", "4")], "abcde"),
        post("a length of nothing", &[("content-length", "0")], "abcde"),
        with("a length without content", &[("content-length", "5")]),
        post("two lengths", &[("content-length", "5"), ("content-length", "6")], "abcde"),
        post("one length twice", &[("content-length", "5"), ("content-length", "5")], "abcde"),
        post("two lengths in one", &[("content-length", "5, 5")], "abcde"),
        post("a length with a sign", &[("content-length", "+5")], "abcde"),
        post("a length that is none", &[("content-length", "x")], "abcde"),
        post("an empty length", &[("content-length", "")], "abcde"),
        post("a length of 65 bits", &[("content-length", "18446744073709551621")], "abcde"),
        trailed("a name in upper case behind", &[("X-Y", "z")]),
        trailed("a connection behind", &[("connection", "close")]),
        trailed("a length behind", &[("content-length", "5")]),
        trailed("a host behind", &[("host", "a.example")]),
        trailed("a coding behind", &[("transfer-encoding", "chunked")]),
        trailed("a NUL behind", &[("x", "\0")]),
    ]
}

fn good() -> Vec<Request> {
    vec![
        with("an ordinary one", &[("x", "y z"), ("empty", ""), ("te", "trailers")]),
        with("its host again", &[("host", "a.example")]),
        with("crumbs", &[("cookie", "a=b"), ("cookie", "c=d")]),
        raw("a host alone", &[METHOD, SCHEME, PATH, ("host", "a.example")]),
        raw("an asterisk", &[(":method", "OPTIONS"), SCHEME, HOST, (":path", "*")]),
        post("a length", &[("content-length", "5")], "abcde"),
        post("no length", &[], "abcde"),
        trailed("a trailer", &[("x-sum", "1")]),
        // Malformed (RFC 9113, 8.1), but h2 drops it without a word, so that nobody sees it.
        trailed("a pseudo-header behind", &[(":path", "/x")]),
    ]
}

/// What is malformed.
pub(crate) fn bad() -> Vec<Request> {
    [heads(), contents()].into_iter().flatten().collect()
}

#[tokio::test]
async fn what_is_malformed_is_refused_and_hurts_no_other_stream() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example"]);
    setup.site("a", &[&format!("https/127.0.0.1:{port}:a.example")]);
    let _server = setup.start();
    let client = TestClient::with_alpn(&["h2"]);
    let mut wrong = Vec::new();
    for (requests, good) in [(bad(), false), (good(), true)] {
        for request in requests {
            let stream = connected(&client, port, "a.example").await.stream;
            let (first, second) = outcomes(stream, &request).await;
            let right = match first {
                Outcome::Status(200) => good,
                Outcome::Status(_) | Outcome::Reset => !good && second == Outcome::Status(200),
                Outcome::GoneAway => !good,
                Outcome::Nothing => false,
            };
            if !right || (second == Outcome::Nothing) {
                wrong.push(format!("{}: {first:?}, then {second:?}", request.what));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[tokio::test]
async fn an_upstream_sees_nothing_of_what_is_malformed() {
    let upstream = Counting::new().await;
    let front = Front::new(to(&[upstream.port]));
    let client = TestClient::with_alpn(&["h2"]);
    let mut wrong = Vec::new();
    for request in bad() {
        let stream = connected(&client, front.tls, "a.example").await.stream;
        let (first, second) = outcomes(stream, &request).await;
        let seen = upstream.seen();
        let text = String::from_utf8_lossy(&seen.bytes).into_owned();
        if request.what == "a length of nothing" {
            // h2 says that a stream it has reset is at its end, so that this looks like a request
            // without content, and goes on as one. What came with it does not.
            assert!(!text.contains("abcde"), "{text}");
            continue;
        }
        let right = match first {
            Outcome::Status(400..500) | Outcome::Reset => second == Outcome::Status(200),
            Outcome::GoneAway => true,
            Outcome::Status(_) | Outcome::Nothing => false,
        };
        if !right || seen.messages > usize::from(second == Outcome::Status(200)) {
            wrong.push(format!("{}: {first:?}, {second:?}, upstream: {text:?}", request.what));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
