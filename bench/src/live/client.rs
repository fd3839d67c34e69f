//! Who asks: a load of kept connections at a fixed rate, and who waits for a new name.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_pki_types::CertificateDer;

use crate::client::{Offer, server_name};
use crate::failure::Failure;
use crate::fleet::{BODY_BYTES, BODY_PATH, Fleet, host, read_certificate};

/// Connections of the load.
const CONNECTIONS: u32 = 8;

/// Each asks so often: a hundred requests a second, whatever the answers take.
const INTERVAL: Duration = Duration::from_millis(10);

/// An answer that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A name that is not there by then will never be.
const VISIBLE_TIMEOUT: Duration = Duration::from_secs(120);

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// What a load has noticed.
#[derive(Clone, Debug, Default)]
pub(super) struct Noticed {
    /// From when a request was due until its answer was there: what a server makes clients wait is
    /// counted for each of them.
    pub(super) latencies: Vec<Duration>,
    /// Requests without a right answer, on a new connection neither.
    pub(super) failed: u64,
    /// Connections that the server closed.
    pub(super) closed: u64,
}

/// Requests for one name.
pub(super) struct Load {
    target: SocketAddr,
    name: String,
}

/// A load that goes on.
pub(super) struct Going {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Noticed>>,
}

impl Load {
    pub(super) fn new(target: SocketAddr, name: &str) -> Self {
        Self { target, name: name.to_owned() }
    }

    pub(super) fn start(&self) -> Going {
        let stop = Arc::new(AtomicBool::new(false));
        let client = |number: u32| {
            let (stop, target, name) = (Arc::clone(&stop), self.target, self.name.clone());
            // Not all at once.
            let first = Instant::now() + INTERVAL * number / CONNECTIONS;
            thread::spawn(move || kept(target, &name, first, &stop))
        };
        let clients = (0..CONNECTIONS).map(client).collect();
        Going { stop, clients }
    }
}

impl Going {
    pub(super) fn end(self) -> Noticed {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Noticed::default();
        for client in self.clients {
            // One that panics has noticed something worse.
            let one = client.join().unwrap_or_else(|_| Noticed { failed: 1, ..Noticed::default() });
            all.latencies.extend(one.latencies);
            all.failed += one.failed;
            all.closed += one.closed;
        }
        all.latencies.sort_unstable();
        all
    }
}

fn kept(target: SocketAddr, name: &str, first: Instant, stop: &AtomicBool) -> Noticed {
    let mut noticed = Noticed::default();
    let mut due = first;
    let mut stream: Option<Stream> = None;
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let was_open = stream.is_some();
        let mut answered = ask_on(&mut stream, target, name);
        if answered.is_err() && was_open {
            // A client takes another connection when one was closed between two requests.
            noticed.closed += 1;
            answered = ask_on(&mut stream, target, name);
        }
        match answered {
            Ok(()) => noticed.latencies.push(due.elapsed()),
            Err(_) => noticed.failed += 1,
        }
        due += INTERVAL;
    }
    noticed
}

/// Asks on the connection that is open, else on a new one. After an error none is.
fn ask_on(stream: &mut Option<Stream>, target: SocketAddr, name: &str) -> io::Result<()> {
    let mut open = match stream.take() {
        Some(open) => open,
        None => connect(target, name)?,
    };
    ask(&mut open, name, "keep-alive")?;
    *stream = Some(open);
    Ok(())
}

fn config() -> io::Result<Arc<ClientConfig>> {
    Offer::PLAIN.config(None).map_err(io::Error::other)
}

fn connect(target: SocketAddr, name: &str) -> io::Result<Stream> {
    let name = server_name(name.to_owned()).map_err(io::Error::other)?;
    let session = ClientConnection::new(config()?, name).map_err(io::Error::other)?;
    let socket = TcpStream::connect(target)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    Ok(StreamOwned::new(session, socket))
}

/// One request for the file, and its whole answer.
fn ask(stream: &mut Stream, host: &str, connection: &str) -> io::Result<()> {
    let request =
        format!("GET {BODY_PATH} HTTP/1.1\r\nHost: {host}\r\nConnection: {connection}\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    stream.flush()?;
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let length = stream.read(&mut piece)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        answer.extend_from_slice(piece.get(..length).unwrap_or_default());
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
        if end.is_some_and(|end| answer.len() >= end + 4 + BODY_BYTES) {
            break;
        }
    }
    match answer.starts_with(b"HTTP/1.1 200") {
        true => Ok(()),
        false => Err(io::Error::other("another status")),
    }
}

/// Who waits for a name.
pub(super) struct New {
    target: SocketAddr,
    host: String,
    certificate: CertificateDer<'static>,
}

impl New {
    /// The name with this number, with the certificate that was made for it.
    pub(super) fn of(fleet: &Fleet, number: u32, target: SocketAddr) -> Result<Self, Failure> {
        let certificate = read_certificate(&fleet.certificate(number))?;
        Ok(Self { target, host: host(number), certificate })
    }

    /// Asks again and again until the name answers with its certificate; gives the time since
    /// `asked`.
    pub(super) fn wait(&self, asked: Instant) -> Result<Duration, Failure> {
        loop {
            if self.is_there() {
                return Ok(asked.elapsed());
            }
            if asked.elapsed() > VISIBLE_TIMEOUT {
                return Err(Failure::new(format!("{} never answers", self.host)));
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn is_there(&self) -> bool {
        let Ok(mut stream) = connect(self.target, &self.host) else { return false };
        let answered = ask(&mut stream, &self.host, "close");
        let shown = stream.conn.peer_certificates().and_then(<[_]>::first);
        answered.is_ok() && shown == Some(&self.certificate)
    }
}
