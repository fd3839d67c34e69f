//! Messages through an upgraded connection: each of a number of connections sends one, waits until
//! it has come back, and sends the next.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;

use crate::client::poll::Poll;
use crate::client::{Offer, server_name};
use crate::failure::{Context, Failure};
use crate::fleet::LOCALHOST;
use crate::run::tools::Count;

/// A masked text frame with 64 bytes (RFC 6455, 5.2): two bytes of head, four of the mask.
const MESSAGE_BYTES: usize = 2 + 4 + 64;

/// Connections at a time.
const CONNECTIONS: usize = 32;

/// The path that leads to the echo.
pub(crate) const ECHO_PATH: &str = "/echo";

/// A connection that does not answer by then has failed.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

struct Connection {
    stream: StreamOwned<ClientConnection, TcpStream>,
    /// Bytes of the message that have come back.
    returned: usize,
}

/// Echoes messages for `time`.
pub(crate) fn run(target: SocketAddr, time: Duration) -> Result<Count, Failure> {
    let config = Offer::PLAIN.config(None)?;
    let name = server_name(LOCALHOST.to_owned())?;
    let mut poll = Poll::new()?;
    let mut connections = Vec::new();
    for slot in 0..CONNECTIONS {
        let mut connection = Connection::open(target, &config, &name)?;
        poll.add(connection.stream.get_ref(), slot)?;
        connection.send()?;
        connections.push(connection);
    }
    let started = Instant::now();
    let mut last = started;
    let mut operations = 0;
    while started.elapsed() < time {
        for slot in poll.wait(Duration::from_millis(100))? {
            let Some(connection) = connections.get_mut(slot) else { continue };
            operations += connection.drive()?;
            last = Instant::now();
        }
        if last.elapsed() > ANSWER_TIMEOUT {
            return Err(Failure::new("no message comes back"));
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    Ok(Count { operations, errors: 0, seconds, latency_us: None })
}

impl Connection {
    /// Connects and upgrades, blocking.
    fn open(
        target: SocketAddr,
        config: &Arc<ClientConfig>,
        name: &ServerName<'static>,
    ) -> Result<Self, Failure> {
        let what = || format!("cannot upgrade a connection to {target}");
        let tls = ClientConnection::new(Arc::clone(config), name.clone()).context(what)?;
        let socket = TcpStream::connect(target).context(what)?;
        socket.set_nodelay(true).context(what)?;
        socket.set_read_timeout(Some(ANSWER_TIMEOUT)).context(what)?;
        let mut stream = StreamOwned::new(tls, socket);
        let request = format!(
            "GET {ECHO_PATH} HTTP/1.1\r\nHost: {LOCALHOST}:{}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            target.port()
        );
        stream.write_all(request.as_bytes()).context(what)?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).context(what)?;
            head.extend_from_slice(&byte);
        }
        if !head.starts_with(b"HTTP/1.1 101 ") {
            let head = String::from_utf8_lossy(&head);
            let line = head.lines().next().unwrap_or_default().to_owned();
            return Err(Failure::new(format!("no upgrade but {line}")));
        }
        stream.get_ref().set_nonblocking(true).context(what)?;
        Ok(Self { stream, returned: 0 })
    }

    fn send(&mut self) -> Result<(), Failure> {
        let mut message = [b'x'; MESSAGE_BYTES];
        let [first, second, ..] = &mut message;
        (*first, *second) = (0x81, 0x80 | 64);
        self.returned = 0;
        self.stream.write_all(&message).context(|| "cannot send a message".to_owned())
    }

    /// Reads what has come; how many messages are whole by it.
    fn drive(&mut self) -> Result<u64, Failure> {
        let mut messages = 0;
        let mut bytes = [0; 1024];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err(Failure::new("a connection was closed")),
                Ok(read) => self.returned += read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(messages),
                Err(error) => return Err(error).context(|| "no message".to_owned()),
            }
            if self.returned >= MESSAGE_BYTES {
                messages += 1;
                self.send()?;
            }
        }
    }
}
