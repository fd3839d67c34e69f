//! Has many sites log at once, each into its own folder: `cargo run --release -p bindery-bench
//! --example many_logs -- target/release/bindery [sites]`. Asks every site in turn over plain HTTP,
//! twice, and says how fast that went, whether a line was lost, and how many descriptors and how
//! much memory it took. Fails when a line or a folder is missing.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a program for the terminal; what is not as it must be ends it"
)]

use std::{
    fmt::Write as _,
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Requests that are sent before their answers are read.
const PIPELINED: usize = 100;
const ROUNDS: usize = 2;
/// Descriptors of everything but log files.
const OTHER_FILES_MAX: u64 = 64;
/// `LOG_FILES_OPEN_MAX` of the server.
const LOG_FILES_MAX: u64 = 256;
/// What the memory may grow by while all sites are asked for the first time.
const GROWTH_MAX: u64 = 384 * 1024 * 1024;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let sites: usize = arguments.get(1).map_or(100_000, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let (address, admin) = (free(), free());
    write_configuration(folder.path(), sites, address, admin);
    let mut server = Server::start(&arguments[0], folder.path());
    server.wait_for(address);
    let pid = server.0.id();
    let before = memory(pid);
    println!("{sites} sites, {} MiB", before >> 20);
    let most = Arc::new(Most::default());
    let watching = Most::watch(&most, pid);
    for round in 1..=ROUNDS {
        let began = Instant::now();
        ask_all(address, sites);
        let asked = began.elapsed();
        let wanted = (round * sites) as u64;
        let lost = loop {
            let text = metrics(admin);
            let lost = value(&text, "bindery_log_lines_lost_total");
            if value(&text, "bindery_log_lines_total") + lost >= wanted {
                break lost;
            }
            assert!(began.elapsed() < Duration::from_secs(300), "lines never came: {text}");
            thread::sleep(Duration::from_millis(50));
        };
        println!(
            "round {round}: asked in {:.1} s, written after {:.1} s, {lost} lines lost",
            asked.as_secs_f64(),
            began.elapsed().as_secs_f64()
        );
        assert_eq!(lost, 0);
    }
    most.done.store(true, Ordering::Relaxed);
    watching.join().unwrap();
    let (files, peak) = (most.files.load(Ordering::Relaxed), most.bytes.load(Ordering::Relaxed));
    println!(
        "at most {files} descriptors and {} MiB; {} MiB afterwards",
        peak >> 20,
        memory(pid) >> 20
    );
    let logs = folder.path().join("logs");
    for site in 1..=sites {
        let own = logs.join(format!("W3SVC{site}"));
        assert_eq!(fs::read_to_string(own.join("site.txt")).unwrap(), format!("s{site}\n"));
        let log = fs::read_dir(&own).unwrap().map(|entry| entry.unwrap().path());
        let log = log.into_iter().find(|path| path.extension().is_some_and(|own| own == "log"));
        let text = fs::read_to_string(log.unwrap()).unwrap();
        assert_eq!(text.matches(&format!(" s{site}.example HTTP/1.1 ")).count(), ROUNDS, "{text}");
    }
    assert!(files <= LOG_FILES_MAX + OTHER_FILES_MAX, "{files} descriptors");
    assert!(peak - before <= GROWTH_MAX, "{} MiB more", (peak - before) >> 20);
    println!("every line is in the file of its site");
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn write_configuration(folder: &Path, sites: usize, address: SocketAddr, admin: SocketAddr) {
    let mut text = format!(
        "version = 1\n[server]\nadmin = \"{admin}\"\nstate_dir = \"state\"\naccess_log = \"logs\"\n"
    );
    for site in 1..=sites {
        writeln!(text, "[[site]]\nname = \"s{site}\"\nrespond = \"s{site}\"").unwrap();
        writeln!(text, "bindings = [\"http/{address}:s{site}.example\"]").unwrap();
    }
    fs::write(folder.join("bindery.toml"), text).unwrap();
}

/// A server, which ends with this value.
struct Server(Child);

impl Server {
    fn start(program: &str, folder: &Path) -> Self {
        let child = Command::new(program)
            .args(["run", "--config"])
            .arg(folder.join("bindery.toml"))
            .stderr(Stdio::inherit())
            .spawn();
        Self(child.unwrap())
    }

    fn wait_for(&mut self, address: SocketAddr) {
        while TcpStream::connect(address).is_err() {
            assert!(self.0.try_wait().unwrap().is_none(), "it has ended");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Asks every site once, on one connection.
fn ask_all(address: SocketAddr, sites: usize) {
    let mut stream = TcpStream::connect(address).unwrap();
    let all: Vec<usize> = (1..=sites).collect();
    for some in all.chunks(PIPELINED) {
        let mut requests = String::new();
        for site in some {
            write!(requests, "GET / HTTP/1.1\r\nHost: s{site}.example\r\n\r\n").unwrap();
        }
        stream.write_all(requests.as_bytes()).unwrap();
        // Each answer ends with the name of its site.
        let end = format!("\r\n\r\ns{}", some[some.len() - 1]);
        let (mut answers, mut piece) = (Vec::new(), [0; 65_536]);
        while !answers.ends_with(end.as_bytes()) {
            let read = stream.read(&mut piece).unwrap();
            assert!(read > 0, "the connection was closed");
            answers.extend_from_slice(&piece[..read]);
        }
        let answers = String::from_utf8(answers).unwrap();
        assert_eq!(answers.matches("HTTP/1.1 200 ").count(), some.len());
    }
}

fn metrics(admin: SocketAddr) -> String {
    let mut stream = TcpStream::connect(admin).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn value(metrics: &str, name: &str) -> u64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap().parse().unwrap()
}

/// What a process has in memory, in bytes.
fn memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix("kB").unwrap().trim().parse::<u64>().unwrap() * 1024
}

/// The most descriptors and memory that were seen.
#[derive(Default)]
struct Most {
    files: AtomicU64,
    bytes: AtomicU64,
    done: AtomicBool,
}

impl Most {
    fn watch(own: &Arc<Self>, pid: u32) -> thread::JoinHandle<()> {
        let own = Arc::clone(own);
        thread::spawn(move || {
            while !own.done.load(Ordering::Relaxed) {
                let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() as u64;
                own.files.fetch_max(files, Ordering::Relaxed);
                own.bytes.fetch_max(memory(pid), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(10));
            }
        })
    }
}
