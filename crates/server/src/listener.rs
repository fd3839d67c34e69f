//! Sockets: opened before a change is committed, accepting after it, closed when no binding needs
//! them any more.
//!
//! All sockets carry `SO_REUSEPORT`, so that `*:443` can be opened beside a `10.0.0.1:443` that
//! stays. What it would hide, another program on the same port, is found out before.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener as StdListener},
    sync::{Arc, Mutex, PoisonError},
};

use bindery_model::{
    binding::{Endpoint, Protocol},
    endpoint::sockets,
    table::MemoryTable,
};
use rustix::process::{Resource, getrlimit};
use socket2::{Domain, SockRef, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::AbortHandle,
    time::{sleep, timeout},
};
use tracing::{debug, info, warn};

use crate::{
    Shared,
    connections::Connection,
    http::{connection, dispatch::ConnInfo},
    limits::{
        ACCEPT_RETRY_DELAY, CONNECTIONS_MAX, FILES_KEPT_FROM_CONNECTIONS, HANDSHAKE_TIMEOUT,
        LISTEN_BACKLOG,
    },
    log::errors::{ErrorsLine, Reason},
    text_of,
    tls::{self, HandshakeError, stream::Stream},
};

/// Why a socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody listens there already.
    #[error("{endpoint} is taken by another program (`ss -ltnp 'sport = :{}'` shows which)", endpoint.port)]
    Taken {
        /// Where.
        endpoint: Endpoint,
        /// Why.
        source: io::Error,
    },
    /// Ports below 1024 are for root.
    #[error(
        "{endpoint} may not be opened by this user; start as root, or give the program CAP_NET_BIND_SERVICE"
    )]
    Denied {
        /// Where.
        endpoint: Endpoint,
        /// Why.
        source: io::Error,
    },
    /// This machine does not have the address.
    #[error("{endpoint} is no address of this machine")]
    NotLocal {
        /// Where.
        endpoint: Endpoint,
        /// Why.
        source: io::Error,
    },
    /// Anything else.
    #[error("{endpoint} could not be opened")]
    Other {
        /// Where.
        endpoint: Endpoint,
        /// Why.
        source: io::Error,
    },
}

/// Sockets that listen and do not accept yet. Clients that come meanwhile wait in the kernel.
#[derive(Debug, Default)]
pub struct Prepared {
    wanted: BTreeSet<Endpoint>,
    new: Vec<(Endpoint, StdListener)>,
}

/// Opens what `table` needs beside what is `open`. Sockets that somebody else opened for us
/// (systemd, a test) are taken first, each for the endpoint that it is bound to.
///
/// # Errors
///
/// When one cannot be opened; all are closed again.
pub fn prepare(
    table: &MemoryTable,
    open: &BTreeSet<Endpoint>,
    inherited: Vec<StdListener>,
) -> Result<Prepared, ListenError> {
    let wanted = sockets(table.endpoints().iter().map(|(endpoint, _)| *endpoint), open);
    // All addresses can take two sockets: one for each family.
    let mut given: BTreeMap<Endpoint, Vec<StdListener>> = BTreeMap::new();
    for socket in inherited {
        if let Ok(address) = socket.local_addr() {
            given.entry(endpoint_of(address)).or_default().push(socket);
        }
    }
    let mut new = Vec::new();
    for endpoint in wanted.difference(open) {
        let sockets = match given.remove(endpoint) {
            Some(sockets) => sockets.into_iter().map(adapted).collect(),
            None => {
                let shared = open.iter().any(|other| other.port == endpoint.port)
                    || new.iter().any(|(other, _): &(Endpoint, _)| other.port == endpoint.port);
                listen(*endpoint, shared).map(|socket| vec![socket])
            }
        };
        let sockets = sockets.map_err(|source| listen_error(*endpoint, source))?;
        new.extend(sockets.into_iter().map(|socket| (*endpoint, socket)));
    }
    for endpoint in given.keys() {
        warn!(%endpoint, "a socket was passed in that no binding needs; it is closed");
    }
    Ok(Prepared { wanted, new })
}

/// A socket that somebody else opened, set as our own are.
fn adapted(socket: StdListener) -> io::Result<StdListener> {
    socket.set_nonblocking(true)?;
    SockRef::from(&socket).set_tcp_nodelay(true)?;
    Ok(socket)
}

fn endpoint_of(address: SocketAddr) -> Endpoint {
    let ip = address.ip().to_canonical();
    Endpoint { address: (!ip.is_unspecified()).then_some(ip), port: address.port() }
}

fn listen_error(endpoint: Endpoint, source: io::Error) -> ListenError {
    match source.kind() {
        io::ErrorKind::AddrInUse => ListenError::Taken { endpoint, source },
        io::ErrorKind::PermissionDenied => ListenError::Denied { endpoint, source },
        io::ErrorKind::AddrNotAvailable => ListenError::NotLocal { endpoint, source },
        _ => ListenError::Other { endpoint, source },
    }
}

/// `shared` says that the port has a socket of ours already.
fn listen(endpoint: Endpoint, shared: bool) -> io::Result<StdListener> {
    if !shared {
        // Without SO_REUSEPORT: fails if anybody listens there, of whatever kind.
        drop(bind(endpoint, false)?);
    }
    let socket = bind(endpoint, true)?;
    Ok(socket.into())
}

fn bind(endpoint: Endpoint, reuse_port: bool) -> io::Result<Socket> {
    let open = |ip: IpAddr| {
        let address = SocketAddr::new(ip, endpoint.port);
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(reuse_port)?;
        socket.set_nonblocking(true)?;
        // Accepted sockets inherit it: an answer is written whole, so nothing is gained by waiting.
        socket.set_tcp_nodelay(true)?;
        if ip == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
            socket.set_only_v6(false)?;
        }
        socket.bind(&address.into())?;
        socket.listen(LISTEN_BACKLOG)?;
        Ok(socket)
    };
    match endpoint.address {
        Some(ip) => open(ip),
        None => open(IpAddr::V6(Ipv6Addr::UNSPECIFIED)).or_else(|error: io::Error| {
            // A kernel without IPv6.
            match error.raw_os_error() {
                Some(code) if code == rustix::io::Errno::AFNOSUPPORT.raw_os_error() => {
                    open(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
                }
                _ => Err(error),
            }
        }),
    }
}

/// The sockets that accept.
pub struct Listeners {
    open: Mutex<BTreeMap<Endpoint, Vec<AbortHandle>>>,
    slots: Arc<Semaphore>,
}

impl Default for Listeners {
    fn default() -> Self {
        let files = getrlimit(Resource::Nofile).current;
        Self { open: Mutex::default(), slots: Arc::new(Semaphore::new(slots(files))) }
    }
}

/// How many connections there may be where so many files may be open; `None` for any number.
fn slots(files: Option<u64>) -> usize {
    let left = files.map(|files| files - files / FILES_KEPT_FROM_CONNECTIONS);
    left.and_then(|left| usize::try_from(left).ok())
        .map_or(CONNECTIONS_MAX, |left| left.min(CONNECTIONS_MAX))
}

impl Listeners {
    /// What accepts now.
    pub fn open(&self) -> BTreeSet<Endpoint> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    /// Lets the new sockets accept and closes those that are not wanted any more. Connections of
    /// a closed endpoint finish what they do and end. Answers how many those are.
    pub(crate) fn adopt(&self, prepared: Prepared, shared: &Arc<Shared>) -> usize {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        for (endpoint, socket) in prepared.new {
            match TcpListener::from_std(socket) {
                Ok(socket) => {
                    let slots = Arc::clone(&self.slots);
                    let task = accept_loop(socket, endpoint, Arc::clone(shared), slots);
                    open.entry(endpoint).or_default().push(tokio::spawn(task).abort_handle());
                    info!(%endpoint, "listening");
                }
                // It takes a kernel without room for one more descriptor in epoll.
                Err(error) => warn!(%endpoint, %error, "a socket could not be watched"),
            }
        }
        open.retain(|endpoint, tasks| {
            let keep = prepared.wanted.contains(endpoint);
            if !keep {
                tasks.iter().for_each(AbortHandle::abort);
                info!(%endpoint, "no longer listening");
            }
            keep
        });
        let open: BTreeSet<_> = open.keys().copied().collect();
        shared
            .process
            .connections
            .drain(|connection| !open.iter().any(|endpoint| endpoint.takes(connection.local)))
    }

    /// Stops accepting everywhere.
    pub(crate) fn close(&self) {
        let open = std::mem::take(&mut *self.open.lock().unwrap_or_else(PoisonError::into_inner));
        open.values().flatten().for_each(AbortHandle::abort);
    }
}

/// Accepts until it is aborted. Nothing a peer does ends it or makes it wait.
async fn accept_loop(
    socket: TcpListener,
    endpoint: Endpoint,
    shared: Arc<Shared>,
    slots: Arc<Semaphore>,
) {
    loop {
        // Without a free slot clients wait in the kernel.
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let (tcp, peer) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // No descriptor left, or a peer that is already gone. Both pass.
                if shared.process.faults.may_write() {
                    warn!(%endpoint, %error, "accept failed");
                }
                sleep(ACCEPT_RETRY_DELAY).await;
                continue;
            }
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            serve(tcp, peer, endpoint, shared).await;
            drop(slot);
        });
    }
}

async fn serve(tcp: TcpStream, peer: SocketAddr, endpoint: Endpoint, shared: Arc<Shared>) {
    // Who listens on one address knows it without asking the kernel.
    let local = match endpoint.address {
        Some(address) => SocketAddr::new(address, endpoint.port),
        None => match tcp.local_addr() {
            Ok(local) => SocketAddr::new(local.ip().to_canonical(), local.port()),
            Err(_) => return,
        },
    };
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    let entered = shared.process.connections.enter(local, peer);
    let protocol = shared.live.current().configuration.table.protocol(local);
    let connection = Arc::clone(&entered.connection);
    let (stream, tls) = match protocol {
        None => return,
        Some(Protocol::Http) => (Stream::plain(tcp), None),
        // Boxed: what a handshake needs is freed when it is over, not when the connection is.
        Some(Protocol::Https) => match Box::pin(handshake(tcp, &connection, &shared)).await {
            Some((stream, tls)) => (stream, Some(tls)),
            None => return,
        },
    };
    let info = Arc::new(ConnInfo::new(connection, tls, Arc::clone(&shared)));
    connection::serve(stream, info).await;
}

async fn handshake(
    tcp: TcpStream,
    connection: &Connection,
    shared: &Shared,
) -> Option<(Stream, tls::TlsInfo)> {
    let (local, peer) = (connection.local, connection.peer);
    let mut seen = tls::HelloInfo::default();
    let mut first = [0];
    let accept = async {
        // Who has said nothing yet has nothing that would have to be finished first.
        tokio::select! {
            said = tcp.peek(&mut first) => { said?; }
            () = connection.drained() => return Err(HandshakeError::Silent),
        }
        tls::accept(tcp, local, (&shared.live, &shared.process), &mut seen).await
    };
    let error = match timeout(HANDSHAKE_TIMEOUT, accept).await {
        Ok(Ok(done)) => {
            shared.process.logs.inner().count_handshake(done.1.negotiated);
            return Some(done);
        }
        Ok(Err(error)) => error,
        Err(_) => HandshakeError::Timeout,
    };
    shared.process.count_failed_handshake(error.word());
    note_failed_handshake(&error, connection, &seen, shared);
    if matches!(error, HandshakeError::Silent) {
        debug!(%peer, %local, "{error}");
    } else if shared.process.strangers.may_write() {
        let name = seen.server_name.as_ref().map_or("(none)", |name| name.as_str());
        let reason = text_of(&error);
        warn!(%peer, %local, server_name = name, alpn = seen.alpn, reason, "tls handshake failed");
    }
    None
}

/// In the errors log, but for who only looked whether anybody listens.
fn note_failed_handshake(
    error: &HandshakeError,
    connection: &Connection,
    seen: &tls::HelloInfo,
    shared: &Shared,
) {
    if matches!(error, HandshakeError::Silent) || !shared.process.logs.is_observing() {
        return;
    }
    shared.process.note(&ErrorsLine {
        client: connection.peer,
        server: connection.local,
        request: None,
        status: None,
        site: None,
        reason: Reason::Handshake(error.word()),
        server_name: seen.server_name.as_ref().map_or("", |name| name.as_str()),
        detail: &text_of(error),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_files() {
        assert_eq!(slots(None), CONNECTIONS_MAX);
        assert_eq!(slots(Some(u64::MAX)), CONNECTIONS_MAX);
        assert_eq!(slots(Some(1024)), 768);
        assert_eq!(slots(Some(1)), 1);
    }
}
