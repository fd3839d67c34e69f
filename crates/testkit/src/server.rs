//! [`TestServer`]: a server in the process of the test, from the text of a configuration, on ports
//! that the kernel chose.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bindery_model::{
    document::{self, Configuration},
    problem::Severity,
    table::MemoryTable,
};
use bindery_server::{
    listener,
    server::{Counters, Proof, Server, prove},
    snapshot::Revision,
};
use socket2::{Domain, Socket, Type};

/// Sockets that were opened before the text that names their ports was written. The kernel chooses
/// the ports, and each is held on all addresses until the server ends: no two tests share one, in
/// this process or another.
#[derive(Debug, Default)]
pub struct Sockets {
    listening: Vec<TcpListener>,
    held: Vec<Socket>,
}

impl Sockets {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens a socket on a free port of `address` (`*` for all addresses) and gives the port.
    ///
    /// # Panics
    ///
    /// When there is no such address.
    pub fn open(&mut self, address: &str) -> u16 {
        self.open_all(&[address])
    }

    /// Opens one socket for each of `addresses`, all on one port, and gives the port.
    ///
    /// # Panics
    ///
    /// When there is no such address.
    pub fn open_all(&mut self, addresses: &[&str]) -> u16 {
        let held = bound("*", 0);
        let address = held.local_addr().expect("a bound socket has an address");
        let port = address.as_socket().expect("an address of TCP").port();
        self.held.push(held);
        for address in addresses {
            self.open_on(address, port);
        }
        port
    }

    /// What a configuration needs, for who starts a server without [`TestServer`]. Ports stay held
    /// as long as this lives.
    ///
    /// # Panics
    ///
    /// When something else that it needs cannot be opened.
    #[must_use]
    #[track_caller]
    pub fn prepare(&mut self, table: &MemoryTable) -> listener::Prepared {
        listener::prepare(table, &Default::default(), std::mem::take(&mut self.listening))
            .unwrap_or_else(|error| panic!("{}", bindery_server::text_of(&error)))
    }

    /// Opens one more socket on a port that was given.
    ///
    /// # Panics
    ///
    /// When there is no such address.
    pub fn open_on(&mut self, address: &str, port: u16) {
        let socket = bound(address, port);
        socket.listen(1024).expect("a bound socket listens");
        self.listening.push(socket.into());
    }
}

/// A socket that has a port and does not listen. As the server's own it lets others of this user
/// join; but the kernel gives its port to nobody who asks for a free one.
fn bound(address: &str, port: u16) -> Socket {
    let bind = |ip: IpAddr| -> io::Result<Socket> {
        let address = SocketAddr::new(ip, port);
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        if ip == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
            socket.set_only_v6(false)?;
        }
        socket.set_reuse_port(true)?;
        socket.set_tcp_nodelay(true)?;
        socket.bind(&address.into())?;
        Ok(socket)
    };
    let socket = match address {
        // The second is for a kernel without IPv6.
        "*" => bind(Ipv6Addr::UNSPECIFIED.into()).or_else(|_| bind(Ipv4Addr::UNSPECIFIED.into())),
        literal => bind(literal.parse().expect("an address")),
    };
    socket.unwrap_or_else(|error| panic!("{address}:{port} cannot be opened: {error}"))
}

/// Reads a configuration that must be right.
///
/// # Panics
///
/// When it is not.
#[must_use]
#[track_caller]
pub fn configuration(text: &str, folder: &Path) -> Configuration {
    let document = document::parse(text, folder);
    let errors: Vec<_> = document
        .problems
        .iter()
        .filter(|problem| problem.severity() == Severity::Error)
        .map(|problem| format!("{}: {}", problem.code, problem.message))
        .collect();
    assert!(errors.is_empty(), "{errors:?} in\n{text}");
    document.configuration
}

/// Reads a configuration that must be right, and makes it ready.
///
/// # Panics
///
/// When it is not.
#[must_use]
#[track_caller]
pub fn proof(text: &str, folder: &Path) -> Proof {
    prove(configuration(text, folder))
}

/// A server in the process of the test. It ends with the runtime of the test.
pub struct TestServer {
    server: Server,
    held: Mutex<Vec<Socket>>,
}

impl TestServer {
    /// Serves `text`, whose relative paths begin in `folder`, on `sockets`. Within a runtime.
    ///
    /// # Panics
    ///
    /// When the text is wrong or cannot be served.
    #[must_use]
    #[track_caller]
    pub fn start(text: &str, folder: &Path, sockets: Sockets) -> Self {
        Self::start_with(configuration(text, folder), sockets)
    }

    /// Serves a configuration on `sockets`. Within a runtime.
    ///
    /// # Panics
    ///
    /// When it cannot be served.
    #[must_use]
    #[track_caller]
    pub fn start_with(configuration: Configuration, sockets: Sockets) -> Self {
        let proof = prove(configuration);
        let table = &proof.configuration().table;
        let prepared = listener::prepare(table, &Default::default(), sockets.listening)
            .unwrap_or_else(|error| panic!("{}", bindery_server::text_of(&error)));
        let server =
            Server::start(proof, prepared, Revision(1)).expect("the kernel gives random bytes");
        Self { server, held: Mutex::new(sockets.held) }
    }

    /// Serves `text` from now on, on `sockets` beside those that are open. Answers how many
    /// connections were disturbed.
    ///
    /// # Panics
    ///
    /// When the text is wrong or cannot be served.
    #[track_caller]
    pub fn replace(&self, text: &str, folder: &Path, sockets: Sockets) -> usize {
        self.replace_with(configuration(text, folder), sockets)
    }

    /// Serves a configuration from now on, on `sockets` beside those that are open. Answers how
    /// many connections were disturbed.
    ///
    /// # Panics
    ///
    /// When it cannot be served.
    #[track_caller]
    pub fn replace_with(&self, configuration: Configuration, sockets: Sockets) -> usize {
        let proof = prove(configuration);
        let table = &proof.configuration().table;
        let prepared = listener::prepare(table, &self.server.endpoints(), sockets.listening)
            .unwrap_or_else(|error| panic!("{}", bindery_server::text_of(&error)));
        self.held.lock().unwrap_or_else(PoisonError::into_inner).extend(sockets.held);
        let next = Revision(self.server.counters().revision + 1);
        self.server.replace(proof, prepared, next)
    }

    /// The server itself.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// What it says about itself.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.server.counters()
    }

    /// Stops it. Answers how many connections were cut off.
    pub async fn stop(&self, drain: Duration) -> usize {
        self.server.stop(drain).await
    }
}
