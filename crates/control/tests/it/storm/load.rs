//! The load of a storm: clients that keep their connections, whose sites stay, and visitors of sites
//! that come and go.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bindery_server::server::Server;
use bindery_testkit::{
    http1::{Answer, Http1},
    http2::{self, Http2},
    soon,
    tls::{TestClient, TestConnection},
};
use http::Request;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::{
    ground::{ECHO, MARK, STAY, host},
    random::Random,
    timeline::{Seen, Sight},
};

/// Streams of a connection at once.
const STREAMS: usize = 4;

/// Who asks, and whom.
#[derive(Clone)]
pub(crate) struct Load {
    pub(crate) port: u16,
    pub(crate) server: Arc<Server>,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) large: Arc<Vec<u8>>,
    /// Sites that come and go.
    pub(crate) visited: Arc<Vec<String>>,
}

/// What a client has seen.
#[derive(Default)]
pub(crate) struct Sights {
    pub(crate) answers: u64,
    /// Each once: thousands of answers come in one revision.
    pub(crate) all: Vec<Sight>,
}

impl Sights {
    fn note(&mut self, sight: Sight) {
        self.answers += 1;
        let recent = self.all.iter().rev().take(8);
        if !recent.into_iter().any(|known| *known == sight) {
            self.all.push(sight);
        }
    }
}

/// An upstream that switches to what it is asked for and says everything again.
pub(crate) async fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                // It ends when the client goes.
                drop(echo_on(stream).await);
            });
        }
    });
    port
}

async fn echo_on(mut stream: TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let switching =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    stream.write_all(switching.as_bytes()).await?;
    let mut piece = vec![0; 4096];
    loop {
        let length = stream.read(&mut piece).await?;
        if length == 0 {
            return Ok(());
        }
        stream.write_all(&piece[..length]).await?;
    }
}

impl Load {
    /// Begins with all of it.
    pub(crate) fn start(&self, seed: u64, has_echo: bool) -> JoinSet<(&'static str, Sights)> {
        let mut clients = JoinSet::new();
        for number in 0..2 {
            let load = self.clone();
            clients.spawn(async move { ("keep-alive", load.keep_alive(seed + number).await) });
        }
        let load = self.clone();
        clients.spawn(async move { ("http/2", load.streams(seed).await) });
        let load = self.clone();
        clients.spawn(async move { ("downloads", load.downloads().await) });
        if has_echo {
            let load = self.clone();
            clients.spawn(async move { ("websocket", load.websocket().await) });
        }
        let load = self.clone();
        clients.spawn(async move { ("visitors", load.visitors(seed).await) });
        clients
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    fn revision(&self) -> u64 {
        self.server.snapshot().revision.0
    }

    async fn connect(&self, name: &str, alpn: &[&str]) -> TestConnection {
        let client = TestClient::with_alpn(alpn);
        client.connect(self.address(), Some(&host(name))).await.unwrap()
    }

    fn sight(&self, site: &str, first: u64, answer: &Answer) -> Sight {
        let seen = seen(answer);
        Sight { site: site.to_owned(), first, last: self.revision(), seen }
    }

    /// One request after the other on one connection, which must stay.
    async fn keep_alive(&self, seed: u64) -> Sights {
        let (mut random, mut sights) = (Random::new(seed, "keep-alive"), Sights::default());
        // The certificate covers all of them, and so one connection may ask for all.
        let mut client = Http1::new(self.connect(STAY[0], &["http/1.1"]).await.stream);
        while self.goes_on() {
            let site = STAY[random.below(STAY.len())];
            let first = self.revision();
            let answer = client.get(&host(site), "/").await.unwrap();
            sights.note(self.sight(site, first, &answer));
        }
        sights
    }

    async fn streams(&self, seed: u64) -> Sights {
        let (mut random, mut sights) = (Random::new(seed, "http/2"), Sights::default());
        let mut client = Http2::new(self.connect(STAY[0], &["h2"]).await.stream).await;
        while self.goes_on() {
            let first = self.revision();
            let mut begun = Vec::new();
            for _ in 0..STREAMS {
                let site = STAY[random.below(STAY.len())];
                let request = Request::get(format!("https://{}/", host(site))).body(()).unwrap();
                begun.push((site, client.begin(request).await.unwrap()));
            }
            for (site, answer) in begun {
                let answer = http2::read(answer).await.unwrap();
                sights.note(self.sight(site, first, &answer));
            }
        }
        sights
    }

    async fn downloads(&self) -> Sights {
        let mut sights = Sights::default();
        let mut client = Http1::new(self.connect("large", &["http/1.1"]).await.stream);
        while self.goes_on() {
            let first = self.revision();
            let answer = client.get(&host("large"), "/large.html").await.unwrap();
            assert!(answer.content == *self.large, "{}", answer.status);
            sights.note(self.sight("large", first, &answer));
        }
        sights
    }

    /// Frames to the upstream and back, on one connection.
    async fn websocket(&self) -> Sights {
        let mut sights = Sights::default();
        let mut client = Http1::new(self.connect(ECHO, &["http/1.1"]).await.stream);
        let asked = format!(
            "GET / HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            host(ECHO)
        );
        client.send(asked).await.unwrap();
        assert_eq!(client.head().await.unwrap().status, 101);
        for number in 0_u64.. {
            if !self.goes_on() {
                break;
            }
            // A masked frame with eight bytes, which nobody on the way looks into.
            let frame = [&[0x82, 0x88, 1, 2, 3, 4], &number.to_be_bytes()[..]].concat();
            client.send(&frame).await.unwrap();
            assert_eq!(client.take(frame.len()).await.unwrap(), frame);
            sights.answers += 1;
        }
        sights
    }

    /// A connection for each request, to sites that may be there or not.
    async fn visitors(&self, seed: u64) -> Sights {
        let (mut random, mut sights) = (Random::new(seed, "visitors"), Sights::default());
        let client = TestClient::with_alpn(&["http/1.1"]);
        while self.goes_on() {
            let site = &self.visited[random.below(self.visited.len())];
            let first = self.revision();
            let visit = soon("a visit", self.visit(&client, site)).await;
            let last = self.revision();
            sights.note(Sight { site: site.clone(), first, last, seen: visit });
        }
        sights
    }

    async fn visit(&self, client: &TestClient, site: &str) -> Seen {
        // Who asks for nobody's name is refused in the handshake.
        let Ok(connection) = client.connect(self.address(), Some(&host(site))).await else {
            return Seen::Absent;
        };
        // Or the site goes between the handshake and the request.
        match Http1::new(connection.stream).get(&host(site), "/").await {
            Ok(answer) => seen(&answer),
            Err(_) => Seen::Absent,
        }
    }
}

fn seen(answer: &Answer) -> Seen {
    match answer.status {
        200 => Seen::Marked(answer.field(&MARK.to_lowercase()).unwrap_or_default().to_owned()),
        503 => Seen::Stopped,
        421 => Seen::Absent,
        status => panic!("an answer with status {status}"),
    }
}

/// How many answers each kind of client had.
pub(crate) fn counted(all: &[(&'static str, Sights)]) -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::new();
    for (kind, sights) in all {
        *counts.entry(*kind).or_default() += sights.answers;
    }
    counts
}
