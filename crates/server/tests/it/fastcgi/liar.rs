//! A program that does not do what it should: what it sends is a table, and what it was sent is
//! looked at.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bindery_testkit::{server::TestServer, soon};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::{Log, ask, get, post};
use crate::setup::{Setup, local};

const STDOUT: u8 = 6;
const STDERR: u8 = 7;

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    let padding = (8 - content.len() % 8) % 8;
    let header = [1, kind, 0, 1, length[0], length[1], u8::try_from(padding).unwrap(), 0];
    [&header[..], content, &vec![0; padding]].concat()
}

fn end(protocol_status: u8) -> Vec<u8> {
    record(3, &[0, 0, 0, 0, protocol_status, 0, 0, 0])
}

/// An answer as it should be.
fn hello() -> Vec<u8> {
    [record(STDOUT, b"A: b\r\n\r\nhello"), end(0)].concat()
}

/// What a program does with a request.
#[derive(Clone)]
enum Act {
    /// Says this and goes on.
    Say(Vec<u8>),
    /// Says this and closes.
    Last(Vec<u8>),
    /// Says this and never anything more.
    Hang(Vec<u8>),
}

/// Takes connections one after the other and requests on each, and does what it is told.
struct Liar {
    address: String,
    connections: Arc<AtomicUsize>,
}

impl Liar {
    async fn start(act: impl Fn(usize) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let connections = Arc::new(AtomicUsize::new(0));
        let (act, requests) = (Arc::new(act), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
                let (act, requests) = (Arc::clone(&act), Arc::clone(&requests));
                tokio::spawn(async move {
                    serve(stream, || act(requests.fetch_add(1, Ordering::Relaxed))).await;
                });
            }
        });
        Self { address, connections }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn serve(mut stream: TcpStream, act: impl Fn() -> Act) -> Option<()> {
    loop {
        read_request(&mut stream).await?;
        match act() {
            Act::Say(bytes) => stream.write_all(&bytes).await.ok()?,
            Act::Last(bytes) => return stream.write_all(&bytes).await.ok(),
            Act::Hang(bytes) => {
                stream.write_all(&bytes).await.ok()?;
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Reads a request to its end.
async fn read_request(stream: &mut TcpStream) -> Option<()> {
    loop {
        let mut header = [0; 8];
        stream.read_exact(&mut header).await.ok()?;
        let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
        stream.read_exact(&mut vec![0; length]).await.ok()?;
        if header[1] == 5 && length == 0 {
            return Some(());
        }
    }
}

struct Site {
    liar: Liar,
    port: u16,
    _server: TestServer,
    _setup: Setup,
}

async fn site(act: impl Fn(usize) -> Act + Send + Sync + 'static) -> Site {
    site_of(Liar::start(act).await)
}

fn site_of(liar: Liar) -> Site {
    let mut setup = Setup::new();
    let port = setup.port();
    let lines = format!(
        "root = \"shop\"\n[site.fastcgi]\nto = \"{}\"\nfirst_byte_timeout_seconds = 1\nidle_timeout_seconds = 1",
        liar.address
    );
    std::fs::create_dir(setup.folder().join("shop")).unwrap();
    std::fs::write(setup.folder().join("shop/a.php"), "").unwrap();
    setup.site_with("shop", &[&format!("http/127.0.0.1:{port}:a.example")], &lines);
    let server = setup.start();
    Site { liar, port, _server: server, _setup: setup }
}

#[tokio::test]
async fn what_is_no_answer_is_a_bad_gateway() {
    let long = vec![b'a'; 60_000];
    for (why, bytes, status) in [
        ("nothing", vec![], 502),
        ("half a header", hello()[..5].to_vec(), 502),
        ("another version", [&[2], &hello()[1..]].concat(), 502),
        ("another protocol", b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), 502),
        ("another request", [&[1, 6, 0, 2], &hello()[4..]].concat(), 502),
        ("a kind that only servers send", record(4, b"A: b\r\n\r\n"), 502),
        ("an unknown kind", record(77, b""), 502),
        ("half a head", record(STDOUT, b"A: b\r\n"), 502),
        ("no head", [record(STDOUT, b"A: b\r\n"), end(0)].concat(), 502),
        ("no answer", end(0), 502),
        ("cannot multiplex", end(1), 502),
        ("overloaded", end(2), 503),
        ("an unknown role", end(3), 502),
        ("an unknown status", end(4), 502),
        ("a short end", [record(STDOUT, b"\r\n"), record(3, b"")].concat(), 502),
        ("no field", [record(STDOUT, b"<html>\r\n\r\n"), end(0)].concat(), 502),
        (
            "a status before the answer",
            [record(STDOUT, b"Status: 100\r\n\r\n"), end(0)].concat(),
            502,
        ),
        (
            "two lengths",
            [record(STDOUT, b"Content-Length: 1\nContent-Length: 2\n\na"), end(0)].concat(),
            502,
        ),
        ("too little", [record(STDOUT, b"Content-Length: 9\n\na"), end(0)].concat(), 502),
        ("a head without end", [record(STDOUT, &long), record(STDOUT, &long)].concat(), 502),
        ("a head that splits an answer", [record(STDOUT, b"A: b\r\r\n\r\n"), end(0)].concat(), 502),
        ("a name that is none", [record(STDOUT, b"A\x01: b\n\n"), end(0)].concat(), 502),
    ] {
        let site = site(move |_| Act::Last(bytes.clone())).await;
        assert_eq!(get(site.port, "/a.php").await.status(), status, "{why}");
    }
}

#[tokio::test]
async fn what_is_odd_and_yet_an_answer_is_one() {
    let split: Vec<_> =
        b"A: b\r\n\r\nhello".iter().flat_map(|byte| record(STDOUT, &[*byte])).collect();
    let about = [&[1, 10, 0, 0, 0, 4, 4, 0, 1, 2, 3, 4, 0, 0, 0, 0][..], &hello()].concat();
    for (why, bytes) in [
        ("byte by byte", [split, end(0)].concat()),
        ("too much", [record(STDOUT, b"A: b\nContent-Length: 5\n\nhello\n\n"), end(0)].concat()),
        ("empty pieces", [record(STDOUT, b""), record(STDERR, b""), hello()].concat()),
        ("about the connection", about),
        ("more after the end", [hello(), hello()].concat()),
    ] {
        let site = site(move |_| Act::Say(bytes.clone())).await;
        for _ in 0..2 {
            let answer = get(site.port, "/a.php").await;
            assert_eq!((answer.status(), answer.field("a")), (200, Some("b")), "{why}");
            assert_eq!(answer.text(), "hello", "{why}");
        }
        let connections = if why.starts_with("more") { 2 } else { 1 };
        assert_eq!(site.liar.connections(), connections, "{why}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_never_taken_for_whole() {
    let begun = |rest: &[u8]| {
        [record(STDOUT, b"A: b\r\n\r\n"), record(STDOUT, &[b'x'; 20_000]), rest.to_vec()].concat()
    };
    let promised =
        [record(STDOUT, b"Content-Length: 30000\r\n\r\n"), record(STDOUT, &[b'x'; 20_000])];
    let (log, _guard) = Log::begin();
    for (why, act) in [
        ("closed", Act::Last(begun(b""))),
        ("closed in a record", Act::Last(begun(&record(STDOUT, b"more")[..10]))),
        ("garbage", Act::Last(begun(b"garbage!"))),
        ("another request", Act::Last(begun(&[1, 6, 0, 2, 0, 0, 0, 0]))),
        ("overloaded after all", Act::Last(begun(&end(2)))),
        ("less than promised", Act::Say([promised.concat(), end(0)].concat())),
        ("silence", Act::Hang(begun(b""))),
    ] {
        let site = site(move |_| act.clone()).await;
        let mut stream = TcpStream::connect(local(site.port)).await.unwrap();
        let request = b"GET /a.php HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut bytes = Vec::new();
        drop(soon("the end", stream.read_to_end(&mut bytes)).await);
        // What breaks at once may leave nothing at all.
        assert!(bytes.is_empty() || !super::parse(&bytes).complete, "{why}");
    }
    assert!(log.text().contains("answer broken off"), "{}", log.text());
}

#[tokio::test]
async fn a_program_that_is_silent_is_given_up() {
    let (log, _guard) = Log::begin();
    for said in [vec![], record(STDOUT, b"A: b\r\n"), record(STDERR, b"still working")] {
        let site = site(move |_| Act::Hang(said.clone())).await;
        assert_eq!(get(site.port, "/a.php").await.status(), 504);
    }
    let text = log.text();
    assert!(text.contains("did not answer within 1 s"), "{text}");
    assert!(text.contains("site=shop script=/a.php text=still working"), "{text}");
}

#[tokio::test]
async fn a_program_that_cannot_be_reached_is_a_bad_gateway() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for address in [free.to_string(), "unix:/nowhere/fpm.sock".to_owned()] {
        let (log, _guard) = Log::begin();
        let site = site_of(Liar { address, connections: Arc::default() });
        assert_eq!(get(site.port, "/a.php").await.status(), 502);
        assert!(log.text().contains(&site.liar.address), "{}", log.text());
    }
}

#[tokio::test]
async fn a_kept_connection_that_the_program_closes_is_no_failure() {
    // Each connection answers once and closes without a word when it is asked again.
    let site = site(|number| match number % 2 {
        0 => Act::Say(hello()),
        _ => Act::Last(Vec::new()),
    })
    .await;
    assert_eq!(get(site.port, "/a.php").await.text(), "hello");
    assert_eq!(get(site.port, "/a.php").await.text(), "hello");
    assert_eq!(site.liar.connections(), 2);
    // What may not be done twice is not: the program may have begun.
    assert_eq!(post(site.port, "/a.php", "", b"").await.status(), 502);
    assert_eq!(post(site.port, "/a.php", "", b"content").await.text(), "hello");
    assert_eq!(site.liar.connections(), 3);
}

#[tokio::test]
async fn a_program_that_always_closes_is_asked_twice_at_most() {
    let site = site(|number| match number {
        0 => Act::Say(hello()),
        _ => Act::Last(Vec::new()),
    })
    .await;
    assert_eq!(get(site.port, "/a.php").await.text(), "hello");
    assert_eq!(get(site.port, "/a.php").await.status(), 502);
    assert_eq!(site.liar.connections(), 2);
}

#[tokio::test]
async fn a_connection_is_kept_where_all_was_said_and_heard() {
    let site = site(|_| Act::Say(hello())).await;
    let head = "HEAD /a.php HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
    for _ in 0..3 {
        assert_eq!(get(site.port, "/a.php").await.text(), "hello");
        assert_eq!(post(site.port, "/a.php", "", b"content").await.text(), "hello");
        assert_eq!(ask(site.port, head).await.status(), 200);
    }
    assert_eq!(site.liar.connections(), 1);
}

#[tokio::test]
async fn a_flood_of_what_a_program_logs_is_cut() {
    let line = [&[b'x'; 1000][..], b"\n"].concat();
    let flood: Vec<_> = (0..2000).flat_map(|_| record(STDERR, &line)).collect();
    let bytes = [flood, hello()].concat();
    let (log, _guard) = Log::begin();
    let site = site(move |_| Act::Say(bytes.clone())).await;
    assert_eq!(get(site.port, "/a.php").await.text(), "hello");
    let text = log.text();
    assert!(text.contains("which was left out"), "{}", text.len());
    assert!(text.len() < 40_000, "{}", text.len());
}

#[tokio::test]
async fn content_that_breaks_off_is_not_taken_for_whole() {
    let site = site(|_| Act::Say(hello())).await;
    let request = "POST /a.php HTTP/1.1\r\nHost: a.example\r\nContent-Length: 100\r\n\r\npart";
    let mut stream = TcpStream::connect(local(site.port)).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut bytes = Vec::new();
    drop(soon("the end", stream.read_to_end(&mut bytes)).await);
    assert!(!bytes.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&bytes));
    // And its connection to the program is not used again.
    assert_eq!(get(site.port, "/a.php").await.text(), "hello");
    assert_eq!(site.liar.connections(), 2);
}
