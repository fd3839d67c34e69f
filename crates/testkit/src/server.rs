//! [`TestServer`]: a server in the process of the test, from the text of a configuration, on ports
//! that the kernel chose.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bindery_model::{
    document::{self, Configuration},
    problem::Severity,
};
use bindery_server::{
    listener,
    server::{Counters, Proof, Server, prove},
};
use socket2::{Domain, Socket, Type};

/// Sockets that were opened before the text that names their ports was written. The kernel chooses
/// the ports, so two tests never want the same one.
#[derive(Debug, Default)]
pub struct Sockets(Vec<TcpListener>);

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
    /// When there is no such address, or no port that is free on all of them.
    pub fn open_all(&mut self, addresses: &[&str]) -> u16 {
        for _ in 0..100 {
            if let Some((port, sockets)) = open_together(addresses) {
                self.0.extend(sockets);
                return port;
            }
        }
        panic!("no port is free on all of {addresses:?}");
    }

    /// Opens one more socket on a port that is open already on other addresses.
    ///
    /// # Panics
    ///
    /// When that cannot be.
    pub fn open_on(&mut self, address: &str, port: u16) {
        self.0.push(listen(SocketAddr::new(ip(address), port)).expect("a port of ours"));
    }
}

fn ip(address: &str) -> IpAddr {
    match address {
        "*" => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        literal => literal.parse().expect("an address"),
    }
}

fn open_together(addresses: &[&str]) -> Option<(u16, Vec<TcpListener>)> {
    let port = free_port()?;
    let open = |address: &&str| listen(SocketAddr::new(ip(address), port)).ok();
    Some((port, addresses.iter().map(open).collect::<Option<_>>()?))
}

/// A port that nobody holds on any address. Each is given once: sockets that may share a port
/// would let two tests meet on one, each on an address of its own.
fn free_port() -> Option<u16> {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let trial = bind(SocketAddr::new(ip("*"), 0), false).ok()?;
    let port = trial.local_addr().ok()?.as_socket()?.port();
    GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(port).then_some(port)
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = bind(address, true)?;
    socket.listen(1024)?;
    Ok(socket.into())
}

/// `shared`: as the server opens its own, so that further sockets may join the port.
fn bind(address: SocketAddr, shared: bool) -> std::io::Result<Socket> {
    let mut address = address;
    let mut socket = Socket::new(Domain::for_address(address), Type::STREAM, None);
    if socket.is_err() && address.ip() == Ipv6Addr::UNSPECIFIED {
        // A kernel without IPv6.
        address.set_ip(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        socket = Socket::new(Domain::IPV4, Type::STREAM, None);
    }
    let socket = socket?;
    if address.ip() == Ipv6Addr::UNSPECIFIED {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_port(shared)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
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

/// Reads and proves a configuration that must be right.
///
/// # Panics
///
/// When it is not.
#[must_use]
#[track_caller]
pub fn proof(text: &str, folder: &Path) -> Proof {
    match prove(configuration(text, folder)) {
        Ok(proof) => proof,
        Err(error) => panic!("{}", bindery_server::text_of(&error)),
    }
}

/// A server in the process of the test. It ends with the runtime of the test.
pub struct TestServer {
    server: Server,
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
        let proof = proof(text, folder);
        let table = &proof.configuration().table;
        let prepared = listener::prepare(table, &Default::default(), sockets.0)
            .unwrap_or_else(|error| panic!("{}", bindery_server::text_of(&error)));
        let server = Server::start(proof, prepared).expect("the kernel gives random bytes");
        Self { server }
    }

    /// Serves `text` from now on, on `sockets` beside those that are open. Answers how many
    /// connections were disturbed.
    ///
    /// # Panics
    ///
    /// When the text is wrong or cannot be served.
    #[track_caller]
    pub fn replace(&self, text: &str, folder: &Path, sockets: Sockets) -> usize {
        let proof = proof(text, folder);
        let table = &proof.configuration().table;
        let prepared = listener::prepare(table, &self.server.endpoints(), sockets.0)
            .unwrap_or_else(|error| panic!("{}", bindery_server::text_of(&error)));
        self.server.replace(proof, prepared)
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
