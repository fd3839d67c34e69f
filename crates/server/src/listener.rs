//! Sockets: opened before a change is committed, accepting after it, closed when no binding needs
//! them any more.
//!
//! All sockets carry `SO_REUSEPORT`, so that `*:443` can be opened beside a `10.0.0.1:443` that
//! stays. What it would hide, another program on the same port, is found out before.

mod proxy_protocol;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener as StdListener},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use bindery_model::{
    binding::{Endpoint, Protocol},
    document::Settings,
    endpoint::sockets,
    table::MemoryTable,
};
use rustix::process::{Resource, getrlimit};
use socket2::{Domain, SockRef, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::AbortHandle,
    time::{Instant, sleep, timeout_at},
};
use tracing::{debug, info, warn};

use crate::{
    Shared,
    connections::{Connection, Entered},
    http::{connection, dispatch::ConnInfo},
    limits::{
        ACCEPT_RETRY_DELAY, CONNECTIONS_MAX, CONNECTIONS_PER_ADDRESS_MAX,
        FILES_KEPT_FROM_CONNECTIONS, HANDSHAKE_PRESSED_TIMEOUT, HANDSHAKE_TIMEOUT,
        KERNEL_UNSENT_BYTES, LISTEN_BACKLOG,
    },
    log::errors::{ErrorsLine, Reason},
    process::Process,
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
    set_for_connections(&SockRef::from(&socket))?;
    Ok(socket)
}

/// Sets what accepted sockets inherit.
fn set_for_connections(socket: &SockRef<'_>) -> io::Result<()> {
    // An answer is written whole, so nothing is gained by waiting.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(KERNEL_UNSENT_BYTES)
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
        set_for_connections(&SockRef::from(&socket))?;
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
    open: Mutex<BTreeMap<Endpoint, Vec<Accepting>>>,
    slots: Arc<Slots>,
}

/// A socket with the task that accepts on it.
struct Accepting {
    socket: Arc<TcpListener>,
    task: AbortHandle,
}

impl Accepting {
    /// Nobody is accepted any more, and the endpoint can be opened again at once: the runtime drops
    /// the socket of a task that is aborted only when it comes to it, and until then its port would
    /// seem to be another program's.
    fn end(&self) {
        // First: to accept on what is shut down is an error.
        self.task.abort();
        if let Err(error) = SockRef::from(&*self.socket).shutdown(Shutdown::Both) {
            warn!(%error, "a socket could not be shut down before it is closed");
        }
    }
}

/// Room for connections.
struct Slots {
    free: Arc<Semaphore>,
    /// How many connections were accepted and are not over.
    taken: AtomicUsize,
}

/// The room of one connection.
struct Slot {
    slots: Arc<Slots>,
    #[allow(dead_code, reason = "is given back when it is dropped")]
    permit: OwnedSemaphorePermit,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Default for Listeners {
    fn default() -> Self {
        let files = getrlimit(Resource::Nofile).current;
        let slots = Slots { free: Arc::new(Semaphore::new(slots(files))), taken: 0.into() };
        Self { open: Mutex::default(), slots: Arc::new(slots) }
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
                    let (socket, slots) = (Arc::new(socket), Arc::clone(&self.slots));
                    let task =
                        accept_loop(Arc::clone(&socket), endpoint, Arc::clone(shared), slots);
                    let task = tokio::spawn(task).abort_handle();
                    open.entry(endpoint).or_default().push(Accepting { socket, task });
                    info!(%endpoint, "listening");
                }
                // It takes a kernel without room for one more descriptor in epoll.
                Err(error) => warn!(%endpoint, %error, "a socket could not be watched"),
            }
        }
        open.retain(|endpoint, sockets| {
            let keep = prepared.wanted.contains(endpoint);
            if !keep {
                sockets.iter().for_each(Accepting::end);
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
        open.values().flatten().for_each(Accepting::end);
    }
}

/// Accepts until it is aborted. Nothing a peer does ends it or makes it wait.
async fn accept_loop(
    socket: Arc<TcpListener>,
    endpoint: Endpoint,
    shared: Arc<Shared>,
    slots: Arc<Slots>,
) {
    loop {
        // Without a free slot clients wait in the kernel.
        let Ok(permit) = Arc::clone(&slots.free).acquire_owned().await else { return };
        while slots.are_full(&shared) {
            sleep(ACCEPT_RETRY_DELAY).await;
        }
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
        slots.taken.fetch_add(1, Ordering::AcqRel);
        let slot = Slot { slots: Arc::clone(&slots), permit };
        tokio::spawn(async move {
            serve(tcp, peer, endpoint, shared).await;
            drop(slot);
        });
    }
}

impl Slots {
    /// Whether there are as many connections as the configuration allows. Each listener may have
    /// begun to accept one more.
    fn are_full(&self, shared: &Shared) -> bool {
        let max = shared.live.current().configuration.settings.connections_max;
        let max = max.and_then(|max| usize::try_from(max).ok());
        max.is_some_and(|max| self.taken.load(Ordering::Acquire) >= max)
    }
}

/// How many connections a client may have.
fn connections_max(settings: &Settings, client: IpAddr) -> u32 {
    match settings.connections_per_address_max {
        Some(max) => max,
        None if client.is_loopback() => u32::MAX,
        None if settings.trusted_proxies.iter().any(|one| one.contains(&client)) => u32::MAX,
        None => CONNECTIONS_PER_ADDRESS_MAX,
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
    let deadline = Instant::now() + HANDSHAKE_TIMEOUT;
    let mut entered = shared.process.connections.enter(local, peer);
    let (protocol, behind_balancer) = {
        let snapshot = shared.live.current();
        let configuration = &snapshot.configuration;
        let networks = configuration.listener(local).map(|listener| &listener.proxy_protocol);
        let behind_balancer =
            networks.is_some_and(|all| all.iter().any(|one| one.contains(&peer.ip())));
        (configuration.table.protocol(local), behind_balancer)
    };
    if behind_balancer && !Box::pin(learn_client(&tcp, &mut entered, (&shared, deadline))).await {
        return;
    }
    let connection = Arc::clone(&entered.connection);
    let client = connection.peer.ip();
    let max = connections_max(&shared.live.current().configuration.settings, client);
    let Some(_place) = shared.process.addresses.enter(client, max) else {
        note(Reason::ConnLimit, "", &connection, (&Default::default(), &shared));
        return;
    };
    let (stream, tls) = match protocol {
        None => return,
        Some(Protocol::Http) => (Stream::plain(tcp), None),
        // Boxed: what a handshake needs is freed when it is over, not when the connection is.
        Some(Protocol::Https) => {
            match Box::pin(handshake(tcp, &connection, (&shared, deadline))).await {
                Some((stream, tls)) => {
                    connection.came_for(&tls.binding);
                    // Taken away while the handshake was made, when nobody knew of it.
                    if connection.lost(&shared.live.current()) {
                        connection.drain();
                    }
                    (stream, Some(tls))
                }
                None => return,
            }
        }
    };
    let info = ConnInfo::new(connection, (stream.clone(), tls), Arc::clone(&shared));
    connection::serve(stream, Arc::new(info)).await;
}

/// Reads the PROXY protocol header of a connection that must begin with one. Whether it does.
async fn learn_client(
    tcp: &TcpStream,
    entered: &mut Entered<'_>,
    (shared, deadline): (&Shared, Instant),
) -> bool {
    let told = Arc::clone(&entered.connection);
    let read = async {
        tokio::select! {
            read = proxy_protocol::read(tcp) => read.map_err(|error| match error {
                // How load balancers look whether a port is open.
                proxy_protocol::HeaderError::Silent => None,
                error => Some(text_of(&error)),
            }),
            () = told.drained() => Err(None),
        }
    };
    let late = || Err(Some("the PROXY protocol header took too long".to_owned()));
    match timeout_at(deadline, read).await.unwrap_or_else(|_| late()) {
        Ok(Some(addresses)) => entered.is_for(addresses.source, addresses.destination),
        Ok(None) => {}
        Err(reason) => {
            let (peer, local) = (told.peer, told.local);
            if let Some(reason) = reason
                && shared.process.strangers.may_write()
            {
                warn!(%peer, %local, reason, "connection from a load balancer refused");
            }
            return false;
        }
    }
    true
}

async fn handshake(
    tcp: TcpStream,
    connection: &Connection,
    (shared, deadline): (&Shared, Instant),
) -> Option<(Stream, tls::TlsInfo)> {
    let (local, peer) = (connection.local, connection.peer);
    let mut seen = tls::HelloInfo::default();
    let mut first = [0];
    let error = {
        // Pinned where it is: it is large, and each move would make room for it once more.
        let accept = pin!(async {
            // Who has said nothing yet has nothing that would have to be finished first.
            tokio::select! {
                said = tcp.peek(&mut first) => { said?; }
                () = connection.drained() => return Err(HandshakeError::Silent),
            }
            tls::accept(tcp, (local, peer), (&shared.live, &shared.process), &mut seen).await
        });
        match shared.process.begin_handshake() {
            None => HandshakeError::TooMany,
            Some(_handshake) => match in_time(accept, (&shared.process, deadline)).await {
                Some(Ok(done)) => {
                    shared.process.logs.inner().count_handshake(done.1.negotiated);
                    return Some(done);
                }
                Some(Err(error)) => error,
                None => HandshakeError::Timeout,
            },
        }
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

/// What a handshake comes to, if it does in time: less of it while there are too many of them.
async fn in_time<T>(
    mut handshake: Pin<&mut impl Future<Output = T>>,
    (process, deadline): (&Process, Instant),
) -> Option<T> {
    let pressed = deadline.min(Instant::now() + HANDSHAKE_PRESSED_TIMEOUT);
    if let Ok(done) = timeout_at(pressed, &mut handshake).await {
        return Some(done);
    }
    if process.is_pressed() {
        return None;
    }
    timeout_at(deadline, handshake).await.ok()
}

/// In the errors log, but for who only looked whether anybody listens.
fn note_failed_handshake(
    error: &HandshakeError,
    connection: &Connection,
    seen: &tls::HelloInfo,
    shared: &Shared,
) {
    if !matches!(error, HandshakeError::Silent) && shared.process.logs.is_observing() {
        let detail = text_of(error);
        note(Reason::Handshake(error.word()), &detail, connection, (seen, shared));
    }
}

fn note(
    reason: Reason,
    detail: &str,
    connection: &Connection,
    (seen, shared): (&tls::HelloInfo, &Shared),
) {
    shared.process.note(&ErrorsLine {
        client: connection.peer,
        server: connection.local,
        request: None,
        status: None,
        site: None,
        reason,
        server_name: seen.server_name.as_ref().map_or("", |name| name.as_str()),
        detail,
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{HANDSHAKES_MAX, HANDSHAKES_PRESSED};

    #[test]
    fn connections_leave_descriptors_for_files() {
        assert_eq!(slots(None), CONNECTIONS_MAX);
        assert_eq!(slots(Some(u64::MAX)), CONNECTIONS_MAX);
        assert_eq!(slots(Some(1024)), 768);
        assert_eq!(slots(Some(1)), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn with_too_many_handshakes_the_slow_ones_end_and_then_new_ones() {
        let process = Process::new(crate::clock::now()).unwrap();
        let deadline = Instant::now() + HANDSHAKE_TIMEOUT;
        let slow = || sleep(2 * HANDSHAKE_PRESSED_TIMEOUT);
        assert!(in_time(pin!(slow()), (&process, deadline)).await.is_some());
        let begin = |_| process.begin_handshake().unwrap();
        let mut others: Vec<_> = (0..=HANDSHAKES_PRESSED).map(begin).collect();
        let began = Instant::now();
        assert!(in_time(pin!(slow()), (&process, deadline)).await.is_none());
        assert_eq!(began.elapsed(), HANDSHAKE_PRESSED_TIMEOUT);
        let quick = sleep(HANDSHAKE_PRESSED_TIMEOUT / 2);
        assert!(in_time(pin!(quick), (&process, deadline)).await.is_some());
        others.extend((others.len()..HANDSHAKES_MAX).map(begin));
        assert!(process.begin_handshake().is_none());
        drop(others.pop());
        assert!(process.begin_handshake().is_some());
    }

    #[test]
    fn trusted_proxies_and_this_machine_have_as_many_connections_as_they_like() {
        let mut settings = Settings::default();
        let [client, proxy, own] =
            ["192.0.2.1", "10.0.0.1", "127.0.0.1"].map(|one| one.parse().unwrap());
        settings.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
        assert_eq!(connections_max(&settings, client), CONNECTIONS_PER_ADDRESS_MAX);
        assert_eq!(connections_max(&settings, proxy), u32::MAX);
        assert_eq!(connections_max(&settings, own), u32::MAX);
        settings.connections_per_address_max = Some(7);
        for address in [client, proxy, own] {
            assert_eq!(connections_max(&settings, address), 7);
        }
    }
}
