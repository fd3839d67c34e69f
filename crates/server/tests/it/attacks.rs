//! Clients that mean no good: those that hold a connection without using it. Time is paused: it
//! moves on when everybody waits.

use std::time::Duration;

use bindery_server::limits::{
    HTTP2_FRAMES_MAX, HTTP2_FRAMES_PER_REQUEST, HTTP2_FRAMES_PER_SECOND, HTTP2_STREAMS_MAX,
};
use bindery_testkit::{http2::Http2, server::TestServer, soon, tls::TestClient};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep},
};

use crate::{
    http1::bytes_of,
    setup::{Setup, connected, local},
    strict2::{PREFACE, frame},
};

/// After this, who does nothing useful is gone.
const CUT_OFF: Duration = Duration::from_secs(75);

/// How a client holds its connection.
struct Kind {
    what: &'static str,
    on: Layer,
    first: Vec<u8>,
    drip: Drip,
    every: Duration,
    reads: Reads,
}

#[derive(Clone, Copy)]
enum Layer {
    Plain,
    /// TCP, where TLS should be.
    NoHello,
    Https(&'static str),
    /// TCP, behind a handshake.
    BehindHello,
}

enum Drip {
    Nothing,
    /// One byte of these after another, from the beginning again at the end.
    Bytes(Vec<u8>),
    /// All of these each time.
    Whole(Vec<u8>),
    /// The end of what it sends.
    End,
}

#[derive(Clone, Copy, PartialEq)]
enum Reads {
    All,
    Byte,
    Nothing,
}

trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

fn kind(what: &'static str, on: Layer, first: impl Into<Vec<u8>>, drip: Drip) -> Kind {
    let every = Duration::from_secs(5);
    Kind { what, on, first: first.into(), drip, every, reads: Reads::All }
}

impl Kind {
    fn reading(self, reads: Reads) -> Self {
        Self { reads, ..self }
    }

    fn every(self, milliseconds: u64) -> Self {
        Self { every: Duration::from_millis(milliseconds), ..self }
    }
}

/// HEADERS that open a stream for `path` (RFC 7541, Appendix A names the numbers).
fn open(stream: u32, path: &str, ends: bool) -> Vec<u8> {
    let method = if ends { 0x82 } else { 0x83 };
    let mut block = vec![method, 0x87, 0x41, 9];
    block.extend(b"a.example");
    block.extend([0x44, u8::try_from(path.len()).unwrap()]);
    block.extend(path.as_bytes());
    frame(1, 4 | u8::from(ends), stream, &block)
}

/// The beginning of HTTP/2, with a window of so many bytes for each stream, and these frames.
fn http2(window: u32, frames: &[Vec<u8>]) -> Vec<u8> {
    let settings = [&[0, 4][..], &window.to_be_bytes()].concat();
    [PREFACE, &frame(4, 0, 0, &settings), &frames.concat()].concat()
}

fn before_requests() -> Vec<Kind> {
    let (h1, h2) = (Layer::Https("http/1.1"), Layer::Https("h2"));
    let head = "GET / HTTP/1.1\r\nHost: a.example\r\n";
    let hello = [22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3].to_vec();
    let large = b"x".repeat(1000);
    vec![
        kind("nothing", Layer::Plain, "", Drip::Nothing),
        kind("a head by bytes", Layer::Plain, "", Drip::Bytes(head.into())),
        kind("fields without an end", Layer::Plain, head, Drip::Whole(b"X: y\r\n".to_vec())),
        kind("many fields", Layer::Plain, head, Drip::Whole(b"X: y\r\n".to_vec())).every(1000),
        kind("empty lines", Layer::Plain, "", Drip::Bytes(b"\r\n".to_vec())),
        kind("half a head", h1, head, Drip::Nothing),
        kind("half a head, ended", Layer::Plain, head, Drip::End),
        kind("one request and no more", h1, format!("{head}\r\n"), Drip::Nothing),
        kind("an empty line after a request", h1, format!("{head}\r\n\r\n"), Drip::Nothing),
        kind("a request and its end", h1, format!("{head}\r\n"), Drip::End),
        kind("no hello", Layer::NoHello, "", Drip::Nothing),
        kind("a hello by bytes", Layer::NoHello, "", Drip::Bytes(hello)),
        kind("nothing after a hello", h1, "", Drip::Nothing),
        kind("nothing after a hello for HTTP/2", h2, "", Drip::Nothing),
        kind("a record by bytes", Layer::BehindHello, [23, 3, 3, 64, 0], Drip::Bytes(large)),
        kind("a preface by bytes", h2, "", Drip::Bytes(http2(0, &[]))),
        kind("settings that are never confirmed", h2, http2(0, &[]), Drip::Nothing),
    ]
}

fn contents() -> Vec<Kind> {
    let (h1, h2) = (Layer::Https("http/1.1"), Layer::Https("h2"));
    let post = "POST / HTTP/1.1\r\nHost: a.example\r\n";
    let sized = format!("{post}Content-Length: 10000\r\n\r\n");
    let chunked = format!("{post}Transfer-Encoding: chunked\r\n\r\n");
    let posted = || http2(65535, &[open(1, "/", false)]);
    let byte = || b"x".to_vec();
    vec![
        kind("content by bytes", h1, sized, Drip::Bytes(byte())),
        kind("a chunk by bytes", h1, format!("{chunked}1000\r\n"), Drip::Bytes(byte())),
        kind("an extension by bytes", h1, format!("{chunked}1;"), Drip::Bytes(byte())),
        kind("chunks of a byte", h1, chunked.clone(), Drip::Whole(b"1\r\nx\r\n".to_vec())),
        kind("a trailer by bytes", h1, format!("{chunked}0\r\nx:"), Drip::Bytes(byte())),
        kind("DATA by bytes", h2, posted(), Drip::Whole(frame(0, 0, 1, b"x"))),
        kind("empty DATA", h2, posted(), Drip::Whole(frame(0, 0, 1, b""))).every(1000),
        kind("a frame by bytes", h2, posted(), Drip::Bytes(frame(0, 0, 1, &[b'x'; 1000]))),
        kind(
            "CONTINUATION without an end",
            h2,
            http2(0, &[frame(1, 1, 1, &[0x82])]),
            Drip::Whole(frame(9, 0, 1, &[0x87])),
        )
        .every(20_000),
    ]
}

fn answers() -> Vec<Kind> {
    let (h1, h2) = (Layer::Https("http/1.1"), Layer::Https("h2"));
    let get = "GET /large HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let streams: Vec<_> =
        (0..HTTP2_STREAMS_MAX).map(|number| open(2 * number + 1, "/large", true)).collect();
    let closed = || http2(0, &streams);
    let update = |stream: u32| frame(8, 0, stream, &1_u32.to_be_bytes());
    let ping = || Drip::Whole(frame(6, 0, 0, &[0; 8]));
    let settings = || Drip::Whole(frame(4, 0, 0, &[]));
    vec![
        kind("an answer not read", h1, get, Drip::Nothing).reading(Reads::Nothing),
        kind("an answer not read, plain", Layer::Plain, get, Drip::Nothing).reading(Reads::Nothing),
        kind("an answer by bytes", Layer::Plain, get, Drip::Nothing).reading(Reads::Byte),
        kind("an answer not read, ended", Layer::Plain, get, Drip::End).reading(Reads::Nothing),
        kind("an answer not read on HTTP/2", h2, http2(1 << 30, &streams[..1]), Drip::Nothing)
            .reading(Reads::Nothing),
        kind("closed windows", h2, closed(), Drip::Nothing),
        kind("closed windows and PING", h2, closed(), ping()).every(1000),
        kind("closed windows and SETTINGS", h2, closed(), settings()).every(1000),
        kind("closed windows and empty updates", h2, closed(), Drip::Whole(update(0))),
        kind("windows of a byte", h2, closed(), Drip::Whole(update(1))),
        kind("windows of a byte, often", h2, closed(), Drip::Whole(update(1))).every(500),
        kind("PING and no request", h2, http2(0, &[]), ping()).every(1000),
        kind("SETTINGS and no request", h2, http2(0, &[]), settings()).every(1000),
        kind("PRIORITY and no request", h2, http2(0, &[]), Drip::Whole(frame(2, 0, 1, &[0; 5]))),
        kind("unknown frames", h2, http2(0, &[]), Drip::Whole(frame(200, 0, 0, b"x"))),
    ]
}

/// The connection of a kind.
async fn connect(on: Layer, plain: u16, port: u16) -> Box<dyn Wire> {
    match on {
        Layer::Plain => Box::new(TcpStream::connect(local(plain)).await.unwrap()),
        Layer::NoHello => Box::new(TcpStream::connect(local(port)).await.unwrap()),
        Layer::Https(alpn) => {
            Box::new(connected(&TestClient::with_alpn(&[alpn]), port, "a.example").await.stream)
        }
        Layer::BehindHello => {
            let stream = connected(&TestClient::default(), port, "a.example").await.stream;
            Box::new(stream.into_inner().0)
        }
    }
}

/// Waits until the kernel holds all that it takes for a client that reads nothing. It paces what it
/// sends by its own clock, and the paused one must not run ahead of that.
async fn settled(ports: [u16; 2]) {
    tokio::time::resume();
    let (mut before, mut same) = (queues(ports), 0);
    while same < 5 {
        sleep(Duration::from_millis(10)).await;
        let now = queues(ports);
        same = if now == before { same + 1 } else { 0 };
        before = now;
    }
    tokio::time::pause();
}

/// What waits to be sent and to be read on sockets of these ports.
pub(crate) fn queues(ports: [u16; 2]) -> Vec<String> {
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let ends = ports.map(|port| format!(":{port:04X}"));
    let ours = |field: &&str| ends.iter().any(|end| field.ends_with(end));
    let queue = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().take(5).collect();
        fields.get(1..3)?.iter().any(ours).then(|| fields[4].to_owned())
    };
    table.lines().skip(1).filter_map(queue).collect()
}

/// Holds a connection until the server has none any more. How long that was.
async fn held(
    kind: Kind,
    stream: Box<dyn Wire>,
    (server, ports): (&TestServer, [u16; 2]),
) -> Duration {
    let (mut read, mut write) = tokio::io::split(stream);
    write.write_all(&kind.first).await.unwrap();
    write.flush().await.unwrap();
    if kind.reads == Reads::Nothing {
        settled(ports).await;
    }
    let began = Instant::now();
    let reading = tokio::spawn(async move {
        let mut chunk = vec![0; if kind.reads == Reads::All { 64 * 1024 } else { 1 }];
        while kind.reads != Reads::Nothing && read.read(&mut chunk).await.is_ok_and(|read| read > 0)
        {
            if kind.reads == Reads::Byte {
                sleep(kind.every).await;
            }
        }
        // What is not read stays open.
        std::future::pending::<()>().await;
    });
    let dripping = tokio::spawn(async move {
        if matches!(kind.drip, Drip::End) {
            drop(write.shutdown().await);
        }
        for at in 0.. {
            sleep(kind.every).await;
            let sent = match &kind.drip {
                Drip::Bytes(bytes) => write.write_all(&[bytes[at % bytes.len()]]).await,
                Drip::Whole(bytes) => write.write_all(bytes).await,
                Drip::Nothing | Drip::End => Ok(()),
            };
            if sent.is_err() || write.flush().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    });
    while server.counters().connections > 0 && began.elapsed() < 3 * CUT_OFF {
        sleep(Duration::from_millis(500)).await;
    }
    reading.abort();
    dripping.abort();
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn who_holds_a_connection_without_using_it_is_cut_off() {
    let mut setup = Setup::new();
    let (plain, port) = (setup.port(), setup.port());
    setup.certificate("a", &["a.example"]);
    let bindings =
        [format!("https/127.0.0.1:{port}:a.example"), format!("http/127.0.0.1:{plain}:a.example")];
    let bindings: Vec<_> = bindings.iter().map(String::as_str).collect();
    let content = bytes_of(20 * 1024 * 1024);
    setup.files("a", &bindings[..1], &[("large", &content)]);
    let files = setup.folder().join("a");
    setup.site_with("p", &bindings[1..], &format!("root = '{}'", files.display()));
    let server = setup.start();
    let mut late = Vec::new();
    let kinds: Vec<_> = [before_requests(), contents(), answers()].into_iter().flatten().collect();
    for kind in kinds {
        let what = kind.what;
        let stream = connect(kind.on, plain, port).await;
        let took = held(kind, stream, (&server, [plain, port])).await;
        if took > CUT_OFF {
            late.push(format!("{what}: {took:?}"));
        }
        // The slow ones must not stand in the way of the next.
        while server.counters().connections > 0 {
            sleep(Duration::from_secs(1)).await;
        }
    }
    assert!(late.is_empty(), "\n{}", late.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn who_takes_an_answer_slowly_but_steadily_gets_it() {
    let mut setup = Setup::new();
    let (plain, port) = (setup.port(), setup.port());
    setup.certificate("a", &["a.example"]);
    let bindings =
        [format!("https/127.0.0.1:{port}:a.example"), format!("http/127.0.0.1:{plain}:a.example")];
    let bindings: Vec<_> = bindings.iter().map(String::as_str).collect();
    let content = bytes_of(3 * 1024 * 1024);
    setup.files("a", &bindings[..1], &[("large", &content)]);
    let files = setup.folder().join("a");
    setup.site_with("p", &bindings[1..], &format!("root = '{}'", files.display()));
    let _server = setup.start();
    let get = b"GET /large HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
    let on_http2 = http2(1 << 30, &[frame(8, 0, 0, &[0x3f, 0, 0, 0]), open(1, "/large", true)]);
    for (on, first) in
        [(Layer::Plain, &get[..]), (Layer::Https("http/1.1"), get), (Layer::Https("h2"), &on_http2)]
    {
        let mut stream = connect(on, plain, port).await;
        stream.write_all(first).await.unwrap();
        stream.flush().await.unwrap();
        let (began, mut taken, mut chunk) = (Instant::now(), 0, [0; 10_000]);
        // 10 KB a second: five minutes.
        while taken < content.len() {
            sleep(Duration::from_secs(1)).await;
            let read = stream.read(&mut chunk).await.unwrap();
            assert!(read > 0, "cut off after {taken} bytes and {:?}", began.elapsed());
            taken += read;
        }
        assert!(began.elapsed() > Duration::from_secs(250), "{:?}", began.elapsed());
    }
}

/// What a server says on HTTP/2 to these bytes, up to the end that it makes.
async fn said(port: u16, bytes: &[u8]) -> Vec<u8> {
    let client = TestClient::with_alpn(&["h2"]);
    let stream = connected(&client, port, "a.example").await.stream;
    let (mut read, mut write) = tokio::io::split(stream);
    let mut said = Vec::new();
    let writing = async {
        // The server may be through with us before the end.
        drop(write.write_all(bytes).await);
        drop(write.flush().await);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        // Closed or reset: both are the end.
        _ = soon("the end", read.read_to_end(&mut said)) => {}
        () = writing => {}
    }
    said
}

#[tokio::test]
async fn floods_on_http2_end_their_own_connection() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example"]);
    setup.files("a", &[&format!("https/127.0.0.1:{port}:a.example")], &[("f", b"f")]);
    let _server = setup.start();
    let many = |frames: fn(u32) -> Vec<u8>| {
        let frames: Vec<_> = (0..2000).map(|number| frames(2 * number + 1)).collect();
        http2(65535, &frames)
    };
    // A field of 3,900 bytes in the table of HPACK, and then named 20,000 times.
    let mut bomb = vec![0x40, 1, b'x', 0x7f, 0xbd, 0x1d];
    bomb.extend([b'y'; 127 + 0x3d + (0x1d << 7)]);
    let bomb = [frame(1, 1, 1, &bomb), frame(9, 4, 1, &[0xbe; 10_000])].concat();
    for (what, bytes) in [
        (
            "resets",
            many(|stream| [open(stream, "/f", true), frame(3, 0, stream, &[0, 0, 0, 8])].concat()),
        ),
        (
            "resets that errors make",
            many(|stream| [open(stream, "/f", false), frame(8, 0, stream, &[0; 4])].concat()),
        ),
        (
            "resets that lengths make",
            many(|stream| {
                let block = [&[0x83, 0x87, 0x84, 0x41, 9][..], b"a.example", &[0x5c, 1, b'1']];
                [frame(1, 4, stream, &block.concat()), frame(0, 0, stream, b"xx")].concat()
            }),
        ),
        ("CONTINUATION", http2(0, &[frame(1, 1, 1, &[0x82]), frame(9, 0, 1, &[]).repeat(100)])),
        (
            "fields without an end",
            http2(0, &[frame(1, 1, 1, &[]), frame(9, 0, 1, &[0x82; 16_000]).repeat(5)]),
        ),
        ("an HPACK bomb", http2(0, &[bomb])),
        ("SETTINGS", flood(&frame(4, 0, 0, &[]))),
        ("PING", flood(&frame(6, 0, 0, &[0; 8]))),
        ("PRIORITY", flood(&frame(2, 0, 3, &[0, 0, 0, 0, 1]))),
        ("empty DATA", flood(&frame(0, 0, 1, &[]))),
        ("windows of a byte", flood(&frame(8, 0, 0, &[0, 0, 0, 1]))),
        ("unknown frames", flood(&frame(200, 0, 0, b"x"))),
    ] {
        let said = said(port, &bytes).await;
        // GOAWAY, ENHANCE_YOUR_CALM or COMPRESSION_ERROR.
        let gone = said.windows(9).any(|head| head[3..] == [7, 0, 0, 0, 0, 0]);
        assert!(gone, "{what}: {said:?}");
        let mut client =
            Http2::new(connected(&TestClient::with_alpn(&["h2"]), port, "a.example").await.stream)
                .await;
        assert_eq!(client.get("a.example", "/f").await.unwrap().text(), "f", "after {what}");
    }
}

/// More of a frame than anybody may send without a reason, behind a request that has not ended.
fn flood(one: &[u8]) -> Vec<u8> {
    let count = HTTP2_FRAMES_MAX + HTTP2_FRAMES_PER_REQUEST + 8 * HTTP2_FRAMES_PER_SECOND;
    http2(65535, &[open(1, "/f", false), one.repeat(count as usize)])
}

#[tokio::test]
async fn who_asks_much_may_send_many_frames() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example"]);
    setup.files("a", &[&format!("https/127.0.0.1:{port}:a.example")], &[("f", b"f")]);
    let _server = setup.start();
    let client = TestClient::with_alpn(&["h2"]);
    let stream = connected(&client, port, "a.example").await.stream;
    let (mut read, mut write) = tokio::io::split(stream);
    let rounds = HTTP2_FRAMES_MAX;
    let writing = async {
        write.write_all(&http2(65535, &[])).await.unwrap();
        for round in 0..rounds {
            let stream = 2 * round + 1;
            // As browsers and libraries do it: a priority, a PING now and then, windows.
            let more = [
                frame(2, 0, stream, &[0, 0, 0, 0, 1]),
                frame(16, 0, 0, &[&stream.to_be_bytes()[..], b"u=1"].concat()),
                frame(6, 0, 0, &[0; 8]),
                frame(8, 0, 0, &[0, 0, 0, 1]),
            ];
            write.write_all(&[open(stream, "/f", true), more.concat()].concat()).await.unwrap();
            write.flush().await.unwrap();
            tokio::task::yield_now().await;
        }
        std::future::pending::<()>().await;
    };
    // The last answer to a PING, of as many as there were requests.
    let reading = async {
        let (mut said, mut pings) = (Vec::new(), 0);
        while pings < rounds {
            assert!(read.read_buf(&mut said).await.unwrap() > 0, "the end after {pings}");
            let mut at = 0;
            while let Some(head) = said.get(at..at + 9) {
                let length = usize::from(head[1]) << 8 | usize::from(head[2]);
                if said.len() < at + 9 + length {
                    break;
                }
                assert_ne!(head[3], 7, "GOAWAY after {pings}");
                pings += u32::from(head[3] == 6);
                at += 9 + length;
            }
            said.drain(..at);
        }
    };
    tokio::select! { () = soon("all answers", reading) => {} () = writing => {} }
}

#[tokio::test]
async fn more_requests_at_once_than_are_allowed_are_refused() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example"]);
    let content = bytes_of(1024 * 1024);
    setup.files("a", &[&format!("https/127.0.0.1:{port}:a.example")], &[("large", &content)]);
    let _server = setup.start();
    let client = TestClient::with_alpn(&["h2"]);
    let mut stream = connected(&client, port, "a.example").await.stream;
    let frames: Vec<_> =
        (0..=HTTP2_STREAMS_MAX).map(|number| open(2 * number + 1, "/large", true)).collect();
    stream.write_all(&http2(0, &frames)).await.unwrap();
    stream.flush().await.unwrap();
    let last = (2 * HTTP2_STREAMS_MAX + 1).to_be_bytes();
    // RST_STREAM of the last one, REFUSED_STREAM.
    let refused = [&[0, 0, 4, 3, 0][..], &last, &[0, 0, 0, 7]].concat();
    let mut said = Vec::new();
    while !said.windows(refused.len()).any(|bytes| bytes == refused) {
        assert!(soon("a refusal", stream.read_buf(&mut said)).await.unwrap() > 0);
    }
}
