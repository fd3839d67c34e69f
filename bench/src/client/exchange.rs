//! One connection: TCP, handshake, at most one request, and its end.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use rustls::crypto::SupportedKxGroup;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, NamedGroup};
use rustls_pki_types::{CertificateDer, ServerName};

use crate::client::answer::{Answer, Http1};
use crate::client::h2;
use crate::fleet::BODY_PATH;

/// What is asked once the handshake is done, and who closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// The handshake and nothing more; the connection stays open.
    Handshake,
    /// One HTTP/1.1 request; the connection stays open.
    KeepHttp1,
    /// One HTTP/2 request; the connection stays open.
    KeepHttp2,
    /// One HTTP/1.1 request with `Connection: close`; done when the server has closed.
    CloseHttp1,
}

impl Task {
    fn start(self, authority: &str) -> (Vec<u8>, Answer) {
        let http1 = |ending: &str| {
            let head = format!("GET {BODY_PATH} HTTP/1.1\r\nHost: {authority}\r\n{ending}\r\n");
            (head.into_bytes(), Answer::Http1(Http1::default()))
        };
        match self {
            Self::Handshake => (Vec::new(), Answer::None),
            Self::KeepHttp1 => http1(""),
            Self::CloseHttp1 => http1("Connection: close\r\n"),
            Self::KeepHttp2 => (h2::request(authority), Answer::Http2(h2::Frames::default())),
        }
    }

    /// The protocol that must be negotiated for this.
    pub(crate) fn protocol(self) -> &'static str {
        if self == Self::KeepHttp2 { "h2" } else { "http/1.1" }
    }
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Bytes are to come.
    Waiting,
    /// Everything asked for has come, and the connection is open.
    Whole,
    /// Everything asked for has come, and the server has closed.
    Closed,
}

/// Why a connection does not count.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    Io(&'static str, ErrorKind),
    Tls(rustls::Error),
    Answer(&'static str),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(what, kind) => write!(f, "{what}: {kind}"),
            Self::Tls(error) => write!(f, "tls: {error}"),
            Self::Answer(what) => f.write_str(what),
        }
    }
}

/// An open connection and what is still expected on it.
pub(crate) struct Exchange {
    stream: TcpStream,
    tls: ClientConnection,
    answer: Answer,
    task: Task,
    /// The number of the name that was asked for.
    pub name: u32,
    pub started: Instant,
    /// When the answer was whole.
    pub answered: Option<Instant>,
}

impl Exchange {
    /// Starts to connect. The request is handed to TLS at once, so that it leaves together with
    /// the end of the handshake, as browsers do it.
    pub(crate) fn start(
        target: SocketAddr,
        config: &Arc<ClientConfig>,
        (name, server): (u32, &ServerName<'static>),
        task: Task,
    ) -> Result<Self, Fault> {
        let started = Instant::now();
        let stream = connect(target).map_err(|error| Fault::Io("connect", error.kind()))?;
        let mut tls =
            ClientConnection::new(Arc::clone(config), server.clone()).map_err(Fault::Tls)?;
        let authority = format!("{}:{}", server.to_str(), target.port());
        let (request, answer) = task.start(&authority);
        tls.writer()
            .write_all(&request)
            .map_err(|error| Fault::Io("keep the request", error.kind()))?;
        Ok(Self { stream, tls, answer, task, name, started, answered: None })
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(crate) fn was_resumed(&self) -> bool {
        self.tls.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The key exchange that was negotiated; none where a TLS 1.2 session was resumed.
    pub(crate) fn group(&self) -> Option<NamedGroup> {
        self.tls.negotiated_key_exchange_group().map(SupportedKxGroup::name)
    }

    /// The certificate that the server has shown.
    pub(crate) fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.tls.peer_certificates()?.first()
    }

    /// Writes and reads all that is possible without waiting.
    pub(crate) fn drive(&mut self) -> Result<Progress, Fault> {
        loop {
            self.write()?;
            match self.tls.read_tls(&mut self.stream) {
                Ok(0) => return self.ended(),
                Ok(_) => self.take()?,
                Err(error) if is_later(&error) => return Ok(self.progress()),
                Err(error) if self.is_whole() && error.kind() == ErrorKind::ConnectionReset => {
                    return self.ended();
                }
                Err(error) => return Err(Fault::Io("read", error.kind())),
            }
        }
    }

    fn write(&mut self) -> Result<(), Fault> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.stream) {
                Ok(_) => {}
                Err(error) if is_later(&error) => break,
                // A server that refuses may have closed: its alert says more than this error.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
                Err(error) => return Err(Fault::Io("write", error.kind())),
            }
        }
        Ok(())
    }

    fn take(&mut self) -> Result<(), Fault> {
        self.tls.process_new_packets().map_err(Fault::Tls)?;
        if !self.tls.is_handshaking() {
            let protocol = self.task.protocol().as_bytes();
            if self.tls.alpn_protocol().is_some_and(|chosen| chosen != protocol) {
                return Err(Fault::Answer("another protocol was negotiated"));
            }
        }
        let mut bytes = [0; 4096];
        loop {
            match self.tls.reader().read(&mut bytes) {
                Ok(0) => return Ok(()),
                Ok(count) => self.feed(bytes.get(..count).unwrap_or_default())?,
                Err(error) if is_later(&error) => return Ok(()),
                Err(error) => return Err(Fault::Io("read", error.kind())),
            }
        }
    }

    fn feed(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if !self.answer.feed(bytes).map_err(Fault::Answer)? || self.answered.is_some() {
            return Ok(());
        }
        self.answered = Some(Instant::now());
        if self.task == Task::KeepHttp2 {
            let bytes = h2::settings_acknowledged();
            let written = self.tls.writer().write_all(&bytes);
            written.map_err(|error| Fault::Io("write", error.kind()))?;
        }
        Ok(())
    }

    fn is_whole(&self) -> bool {
        !self.tls.is_handshaking() && self.answer.is_whole()
    }

    fn progress(&self) -> Progress {
        if self.is_whole() { Progress::Whole } else { Progress::Waiting }
    }

    fn ended(&self) -> Result<Progress, Fault> {
        if self.is_whole() {
            Ok(Progress::Closed)
        } else if self.tls.is_handshaking() {
            Err(Fault::Answer("closed during the handshake"))
        } else {
            Err(Fault::Answer("closed before the whole answer"))
        }
    }
}

fn connect(target: SocketAddr) -> io::Result<TcpStream> {
    let family = if target.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket: OwnedFd = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    match rustix::net::connect(&socket, &target) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(TcpStream::from(socket)),
        Err(error) => Err(error.into()),
    }
}

/// Not an error: the socket is not ready.
fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::NotConnected)
}
