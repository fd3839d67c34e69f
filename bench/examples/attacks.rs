//! Attacks a server on loopback, one way after another, and says what honest clients notice and
//! what it costs the server in memory: `cargo run --release -p bindery-bench --example attacks --
//! target/release/bindery [seconds] [name …]`. Bounded in count and time. The attackers are another
//! process with the lowest priority: it is not their use of the processor that is measured.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::exit,
    reason = "a program for the terminal; what is not as it must be ends it"
)]

use std::{
    fs,
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bindery_testkit::{ca::TestCa, http1::Http1, tls::TestClient};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};

/// What honest clients may wait, and what memory may grow by (issue 3).
const P99_MAX: Duration = Duration::from_millis(100);
const GROWTH_MAX: u64 = 128 * 1024 * 1024;

/// An attack: its name, so many connections, what it does on each.
struct Attack {
    name: &'static str,
    connections: usize,
    on: On,
    first: Vec<u8>,
    /// Written again and again, after a rest.
    again: Vec<u8>,
    rest: Duration,
    reads: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum On {
    Plain,
    NoHello,
    Http1,
    Http2,
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn preface(window: u32) -> Vec<u8> {
    let settings = [&[0, 4][..], &window.to_be_bytes()].concat();
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(4, 0, 0, &settings)[..]].concat()
}

fn request(stream: u32, path: &str, flags: u8, more: &[u8]) -> Vec<u8> {
    let mut block = vec![0x82, 0x87, 0x41, 9];
    block.extend(b"a.example");
    block.extend([0x44, u8::try_from(path.len()).unwrap()]);
    block.extend(path.as_bytes());
    block.extend(more);
    frame(1, flags, stream, &block)
}

/// For each of many streams, one after another.
fn streams(count: u32, frames: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    (0..count).flat_map(|number| frames(2 * number + 1)).collect()
}

fn attack_of(name: &'static str, connections: usize, on: On) -> Attack {
    let rest = Duration::from_secs(1);
    Attack { name, connections, on, first: Vec::new(), again: Vec::new(), rest, reads: true }
}

fn attacks() -> Vec<Attack> {
    [held(), floods(), bombs()].into_iter().flatten().collect()
}

/// Connections, and what they hold.
fn held() -> Vec<Attack> {
    let head = b"GET /large HTTP/1.1\r\nHost: a.example\r\n";
    let post = b"POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n";
    let ranges = [&head[..], b"Range: bytes=", "0-,".repeat(15).as_bytes(), b"1-\r\n\r\n"].concat();
    let closed = streams(100, |stream| request(stream, "/large", 5, &[]));
    vec![
        attack_of("nothing", 0, On::Plain),
        Attack {
            first: head.to_vec(),
            again: b"X: y\r\n".to_vec(),
            ..attack_of("slow heads", 2000, On::Plain)
        },
        Attack {
            first: post.to_vec(),
            again: b"1\r\nx\r\n".to_vec(),
            ..attack_of("slow bodies", 2000, On::Plain)
        },
        Attack {
            first: [&head[..], b"\r\n"].concat(),
            reads: false,
            ..attack_of("slow readers", 500, On::Http1)
        },
        Attack {
            first: ranges,
            reads: false,
            ..attack_of("16 ranges of a large file", 500, On::Http1)
        },
        Attack {
            first: [preface(0), closed].concat(),
            ..attack_of("closed windows", 100, On::Http2)
        },
        Attack {
            first: vec![22, 3, 1, 2, 0, 1, 0],
            ..attack_of("half a hello", 4000, On::NoHello)
        },
        attack_of("idle connections", 4000, On::Plain),
        attack_of("idle connections with TLS", 2000, On::Http1),
        attack_of("idle connections with HTTP/2", 1000, On::Http2),
    ]
}

/// As much as the server takes.
fn floods() -> Vec<Attack> {
    let none = Duration::from_millis(1);
    vec![
        Attack {
            first: [
                preface(65535),
                streams(5000, |stream| {
                    [request(stream, "/large", 5, &[]), frame(3, 0, stream, &[0, 0, 0, 8])].concat()
                }),
            ]
            .concat(),
            ..attack_of("rapid resets", 20, On::Http2)
        },
        Attack {
            first: [
                preface(65535),
                streams(5000, |stream| {
                    [request(stream, "/large", 5, &[]), frame(8, 0, stream, &[0; 4])].concat()
                }),
            ]
            .concat(),
            ..attack_of("resets made by errors", 20, On::Http2)
        },
        Attack {
            first: [preface(65535), frame(1, 1, 1, &[0x82])].concat(),
            again: frame(9, 0, 1, &[0x87; 16_384]),
            rest: none,
            ..attack_of("CONTINUATION", 50, On::Http2)
        },
        Attack {
            first: preface(65535),
            again: frame(4, 0, 0, &[]).repeat(5000),
            rest: none,
            reads: false,
            ..attack_of("SETTINGS", 20, On::Http2)
        },
        Attack {
            first: preface(65535),
            again: frame(6, 0, 0, &[0; 8]).repeat(5000),
            rest: none,
            reads: false,
            ..attack_of("PING", 20, On::Http2)
        },
        Attack {
            first: [preface(65535), request(1, "/", 4, &[])].concat(),
            again: frame(0, 0, 1, &[]).repeat(5000),
            rest: none,
            ..attack_of("empty DATA", 20, On::Http2)
        },
        Attack {
            first: preface(65535),
            again: frame(2, 0, 3, &[0, 0, 0, 0, 1]).repeat(5000),
            rest: none,
            ..attack_of("PRIORITY", 20, On::Http2)
        },
    ]
}

/// Little that becomes much.
fn bombs() -> Vec<Attack> {
    // One field of 3,900 bytes in the table of HPACK, named again and again.
    let mut large = vec![0x40, 1, b'x', 0x7f, 0xbd, 0x1d];
    large.extend([b'y'; 127 + 0x3d + (0x1d << 7)]);
    let bomb = [large, vec![0xbe; 10_000]].concat();
    let crumbs = [&[0x60, 3][..], b"a=b", &[0xbe; 5000]].concat();
    vec![
        Attack {
            first: [preface(0), streams(100, |stream| request(stream, "/large", 5, &bomb))]
                .concat(),
            ..attack_of("HPACK bomb", 50, On::Http2)
        },
        Attack {
            first: [preface(0), streams(100, |stream| request(stream, "/large", 5, &crumbs))]
                .concat(),
            ..attack_of("crumbs", 50, On::Http2)
        },
    ]
}

/// One connection of an attack after another, for ever.
async fn one(attack: &Attack, plain: SocketAddr, tls: SocketAddr, client: &TestClient) {
    loop {
        let address = if attack.on == On::Plain { plain } else { tls };
        match attack.on {
            On::Plain | On::NoHello => {
                if let Ok(stream) = TcpStream::connect(address).await {
                    hold(attack, stream).await;
                }
            }
            On::Http1 | On::Http2 => {
                if let Ok(connection) = client.connect(address, Some("a.example")).await {
                    hold(attack, connection.stream).await;
                }
            }
        }
        sleep(Duration::from_millis(50)).await;
    }
}

async fn hold<S>(attack: &Attack, stream: S)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send,
{
    let (mut read, mut write) = tokio::io::split(stream);
    let reading = async {
        let mut chunk = vec![0; 16 * 1024];
        while attack.reads && read.read(&mut chunk).await.is_ok_and(|read| read > 0) {}
        if !attack.reads {
            std::future::pending::<()>().await;
        }
    };
    let writing = async {
        if write.write_all(&attack.first).await.is_err() || write.flush().await.is_err() {
            return;
        }
        loop {
            sleep(attack.rest).await;
            if write.write_all(&attack.again).await.is_err() || write.flush().await.is_err() {
                return;
            }
        }
    };
    tokio::select! { () = reading => {} () = writing => {} }
}

async fn attack(name: &str, plain: SocketAddr, tls: SocketAddr) {
    let attack = Arc::new(attacks().into_iter().find(|one| one.name == name).unwrap());
    let alpn = if attack.on == On::Http2 { "h2" } else { "http/1.1" };
    let client = Arc::new(TestClient::with_alpn(&[alpn]));
    for _ in 0..attack.connections {
        let (attack, client) = (Arc::clone(&attack), Arc::clone(&client));
        tokio::spawn(async move { one(&attack, plain, tls, &client).await });
        tokio::task::yield_now().await;
    }
    std::future::pending::<()>().await;
}

/// What honest clients see: new connections with TLS, and one that is kept.
async fn honest(tls: SocketAddr, seconds: u64) -> (Vec<Duration>, u64) {
    let client = TestClient::default();
    let failed = AtomicU64::new(0);
    let mut took = Vec::new();
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut kept: Option<Http1<_>> = None;
    while Instant::now() < end {
        let began = Instant::now();
        let asked = timeout(Duration::from_secs(5), async {
            let connection = client.connect(tls, Some("a.example")).await.ok()?;
            let mut fresh = Http1::new(connection.stream);
            let answer = fresh.get("a.example", "/small").await.ok()?;
            (answer.status == 200).then_some(fresh)
        });
        match asked.await {
            Ok(Some(fresh)) => kept = kept.or(Some(fresh)),
            _ => drop(failed.fetch_add(1, Ordering::Relaxed)),
        }
        took.push(began.elapsed());
        let began = Instant::now();
        if let Some(client) = &mut kept {
            if !client.get("a.example", "/small").await.is_ok_and(|answer| answer.status == 200) {
                failed.fetch_add(1, Ordering::Relaxed);
                kept = None;
            }
            took.push(began.elapsed());
        }
        sleep(Duration::from_millis(5)).await;
    }
    took.sort_unstable();
    (took, failed.into_inner())
}

fn memory_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

async fn serve(bindery: &str) -> (Running, tempfile::TempDir, SocketAddr, SocketAddr) {
    let folder = tempfile::tempdir().unwrap();
    drop(TestCa::new().leaf(&["a.example"]).write(folder.path(), "a"));
    let [plain, tls] = [0, 0].map(|port| {
        std::net::TcpListener::bind(("127.0.0.1", port)).unwrap().local_addr().unwrap()
    });
    fs::create_dir(folder.path().join("www")).unwrap();
    fs::write(folder.path().join("www/small"), vec![b'x'; 1024]).unwrap();
    fs::write(folder.path().join("www/large"), vec![b'x'; 64 * 1024 * 1024]).unwrap();
    let text = format!(
        "version = 1\n[[certificate]]\nname = 'a'\nfile = 'a.pem'\n[[site]]\nname = 'a'\n\
         root = 'www'\nhttps_redirect = false\n\
         bindings = ['https/{tls}:a.example', 'http/{plain}:a.example']\n"
    );
    fs::write(folder.path().join("bindery.toml"), text).unwrap();
    let mut command = Command::new(bindery);
    command.arg("run").current_dir(folder.path()).stderr(Stdio::null()).stdout(Stdio::null());
    let server = Running(command.spawn().unwrap());
    while TcpStream::connect(tls).await.is_err() {
        sleep(Duration::from_millis(20)).await;
    }
    (server, folder, plain, tls)
}

async fn measure(bindery: &str, attack: &Attack, seconds: u64) -> bool {
    let (server, _folder, plain, tls) = serve(bindery).await;
    honest(tls, 1).await;
    let before = memory_bytes(server.0.id());
    let mut attacker = Command::new("nice");
    attacker.args(["-n", "19"]).arg(std::env::current_exe().unwrap());
    attacker.args(["--attack", attack.name, &plain.to_string(), &tls.to_string()]);
    let attacker = Running(attacker.spawn().unwrap());
    let pid = server.0.id();
    let watching = tokio::spawn(async move {
        let mut most = 0;
        loop {
            most = memory_bytes(pid).max(most);
            MOST.store(most, Ordering::Relaxed);
            sleep(Duration::from_millis(100)).await;
        }
    });
    let (took, failed) = honest(tls, seconds).await;
    watching.abort();
    drop(attacker);
    let growth = MOST.load(Ordering::Relaxed).max(memory_bytes(pid)).saturating_sub(before);
    let at = |percent: usize| took[(took.len() - 1) * percent / 100];
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    let good = at(99) < P99_MAX && growth < GROWTH_MAX && failed == 0;
    println!(
        "{:30} {:>6} {:>8.1} {:>8.1} {:>8.1} {:>7} {:>8.1}  {}",
        attack.name,
        took.len(),
        milliseconds(at(50)),
        milliseconds(at(99)),
        milliseconds(at(100)),
        failed,
        f64::from(u32::try_from(growth / 1024).unwrap()) / 1024.0,
        if good { "" } else { "TOO MUCH" }
    );
    good
}

/// The most memory of the attack that runs.
static MOST: AtomicU64 = AtomicU64::new(0);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, name, plain, tls] = &words[..]
        && flag == "--attack"
    {
        return attack(name, plain.parse().unwrap(), tls.parse().unwrap()).await;
    }
    let (bindery, words) = words.split_first().expect("the program to attack");
    let seconds = words.first().map_or(6, |seconds| seconds.parse().expect("seconds"));
    let only = words.get(1..).unwrap_or_default();
    println!(
        "{:30} {:>6} {:>8} {:>8} {:>8} {:>7} {:>8}",
        "attack", "asked", "p50 ms", "p99 ms", "max ms", "failed", "MiB"
    );
    let mut good = true;
    for attack in attacks() {
        if only.is_empty() || only.iter().any(|name| name == attack.name) {
            MOST.store(0, Ordering::Relaxed);
            good &= measure(bindery, &attack, seconds).await;
        }
    }
    if !good {
        std::process::exit(1);
    }
}
