//! Who is waited for: clients that keep a server behind this one waiting are given up, and servers
//! that keep their clients waiting are not. Time is paused, as in [`crate::limits`].

use std::{fs, time::Duration};

use bindery_server::limits::{CONNECTION_TICK, STALL_TIMEOUT};
use bindery_testkit::{server::TestServer, soon};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{Instant, sleep},
};

use crate::setup::{Setup, local};

/// What is said for a server that speaks HTTP, and for a program that speaks FastCGI.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Proxy,
    FastCgi,
}

const KINDS: [Kind; 2] = [Kind::Proxy, Kind::FastCgi];

impl Kind {
    fn head(self) -> Vec<u8> {
        match self {
            Self::Proxy => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n".to_vec(),
            Self::FastCgi => record(6, b"Content-Length: 2\r\n\r\n"),
        }
    }

    fn rest(self) -> Vec<u8> {
        match self {
            Self::Proxy => b"ok".to_vec(),
            Self::FastCgi => [record(6, b"ok"), record(3, &[0; 8])].concat(),
        }
    }
}

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[1, kind, 0, 1, high, low, 0, 0], content].concat()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Nothing,
    Request,
    End,
}

/// A site and the server behind it, which says this after so long and reads all that comes.
struct Site {
    port: u16,
    /// What became of the server's connection.
    seen: watch::Receiver<Seen>,
    _server: TestServer,
    _setup: Setup,
}

async fn site(kind: Kind, after: Duration, says: Vec<u8>) -> Site {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (see, seen) = watch::channel(Seen::Nothing);
    tokio::spawn(async move {
        let (mut read, mut write) = listener.accept().await.unwrap().0.into_split();
        let saying = tokio::spawn(async move {
            sleep(after).await;
            drop(write.write_all(&says).await);
            std::future::pending::<()>().await;
        });
        let mut bytes = [0; 4096];
        while read.read(&mut bytes).await.is_ok_and(|read| read > 0) {
            see.send_replace(Seen::Request);
        }
        saying.abort();
        see.send_replace(Seen::End);
    });
    let mut setup = Setup::new();
    let port = setup.port();
    let lines = match kind {
        Kind::Proxy => format!("proxy = \"http://{address}\""),
        Kind::FastCgi => format!("root = \"shop\"\n[site.fastcgi]\nto = \"{address}\""),
    };
    fs::create_dir(setup.folder().join("shop")).unwrap();
    fs::write(setup.folder().join("shop/a.php"), "").unwrap();
    setup.site_with("shop", &[&format!("http/127.0.0.1:{port}:a.example")], &lines);
    let server = setup.start();
    Site { port, seen, _server: server, _setup: setup }
}

const GET: &[u8] = b"GET /a.php HTTP/1.1\r\nHost: a.example\r\n\r\n";
const POST: &[u8] = b"POST /a.php HTTP/1.1\r\nHost: a.example\r\nContent-Length: 9999\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn a_server_that_takes_its_time_does_not_cost_its_client_the_answer() {
    for kind in KINDS {
        let after = 4 * STALL_TIMEOUT;
        let site = site(kind, after, [kind.head(), kind.rest()].concat()).await;
        let mut client = TcpStream::connect(local(site.port)).await.unwrap();
        let began = Instant::now();
        client.write_all(GET).await.unwrap();
        let mut said = [0; 15];
        client.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"HTTP/1.1 200 OK", "{kind:?}");
        assert!(began.elapsed() >= after);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_drips_its_content_is_given_up_whoever_gets_it() {
    for kind in KINDS {
        let site = site(kind, Duration::MAX, Vec::new()).await;
        let (mut read, mut write) =
            TcpStream::connect(local(site.port)).await.unwrap().into_split();
        let began = Instant::now();
        let dripping = tokio::spawn(async move {
            write.write_all(POST).await.unwrap();
            while write.write_all(b"x").await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        });
        drop(read.read_to_end(&mut Vec::new()).await);
        let took = began.elapsed();
        assert!(took < 2 * STALL_TIMEOUT + 2 * CONNECTION_TICK, "{kind:?}: {took:?}");
        dripping.abort();
        let mut seen = site.seen.clone();
        seen.wait_for(|seen| *seen == Seen::End).await.unwrap();
    }
}

#[tokio::test]
async fn nobody_works_for_a_client_that_is_gone() {
    for kind in KINDS {
        let site = site(kind, Duration::MAX, Vec::new()).await;
        let mut client = TcpStream::connect(local(site.port)).await.unwrap();
        client.write_all(GET).await.unwrap();
        let mut seen = site.seen.clone();
        soon("the request", seen.wait_for(|seen| *seen == Seen::Request)).await.unwrap();
        drop(client);
        soon("the end of it", seen.wait_for(|seen| *seen == Seen::End)).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_keeps_a_program_waiting_in_the_middle_of_an_answer_is_given_up() {
    for kind in KINDS {
        let site = site(kind, Duration::from_secs(1), kind.head()).await;
        let mut client = TcpStream::connect(local(site.port)).await.unwrap();
        client.write_all(POST).await.unwrap();
        let began = Instant::now();
        drop(client.read_to_end(&mut Vec::new()).await);
        let took = began.elapsed();
        assert!(took < Duration::from_secs(300), "{kind:?}: {took:?}");
    }
}
