//! The way to an upstream server: its name resolved, a socket opened, TLS spoken.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bindery_model::upstream::{ProxyProtocol, ServerAddress, UpstreamProtocol, UpstreamTls};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpStream, UnixStream},
    sync::OnceCell,
    time::{Instant, timeout},
};

use super::{
    proxy_protocol::Client,
    wire::{Socket, Transport},
};
use crate::{
    limits::{RESOLVED_FOR, RESOLVED_NAMES_MAX},
    tls::upstream::{Connector, SystemRoots, speaks_http2},
};

/// Addresses of names, and until when they are believed.
type Names = HashMap<String, (Instant, Arc<[IpAddr]>)>;

/// What all ways share, whatever the configuration.
#[derive(Default)]
pub(crate) struct Ways {
    names: Mutex<Names>,
    roots: SystemRoots,
}

impl Ways {
    /// The addresses of a host.
    async fn addresses(&self, host: &str) -> io::Result<Arc<[IpAddr]>> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(Arc::from([address]));
        }
        let now = Instant::now();
        if let Some((until, addresses)) = self.names().get(host)
            && *until > now
        {
            return Ok(Arc::clone(addresses));
        }
        let found = tokio::net::lookup_host((host, 0)).await?;
        let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
        addresses.dedup();
        if addresses.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address")));
        }
        let addresses: Arc<[IpAddr]> = addresses.into();
        let mut names = self.names();
        if names.len() >= RESOLVED_NAMES_MAX {
            names.retain(|_, (until, _)| *until > now);
        }
        if names.len() < RESOLVED_NAMES_MAX {
            names.insert(host.to_owned(), (now + RESOLVED_FOR, Arc::clone(&addresses)));
        }
        Ok(addresses)
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way to one member.
pub(super) struct Way {
    address: ServerAddress,
    authority: String,
    protocol: UpstreamProtocol,
    proxy_protocol: Option<ProxyProtocol>,
    tls: Option<Tls>,
    shared: Arc<Ways>,
}

/// TLS to a member. It is made when it is first needed.
struct Tls {
    settings: UpstreamTls,
    /// With HTTP/2, where the member speaks that, or with HTTP/1.1.
    connector: OnceCell<Connector>,
    /// With HTTP/1.1 for upgrades, where all else is HTTP/2.
    upgrading: OnceCell<Connector>,
}

/// What a connection is opened for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Purpose {
    /// Whom it serves, where the member is told; nobody but Bindery itself otherwise.
    pub(super) client: Option<Client>,
    /// Whether another protocol is to be spoken on it, to which only HTTP/1.1 leads.
    pub(super) upgrade: bool,
}

impl Way {
    pub(super) fn new(
        address: ServerAddress,
        (protocol, proxy_protocol): (UpstreamProtocol, Option<ProxyProtocol>),
        tls: Option<UpstreamTls>,
        shared: Arc<Ways>,
    ) -> Self {
        let authority = match &address {
            ServerAddress::Unix(_) => "localhost".to_owned(),
            ServerAddress::Tcp { port, .. } => {
                let text = address.to_string();
                let default = if tls.is_some() { 443 } else { 80 };
                let host = text.rsplit_once(':').filter(|_| *port == default);
                host.map(|(host, _)| host.to_owned()).unwrap_or(text)
            }
        };
        let tls = tls.map(|settings| Tls {
            settings,
            connector: OnceCell::new(),
            upgrading: OnceCell::new(),
        });
        Self { address, authority, protocol, proxy_protocol, tls, shared }
    }

    /// The host in URLs and certificates. A Unix socket has none.
    fn host(&self) -> &str {
        match &self.address {
            ServerAddress::Tcp { host, .. } => host,
            ServerAddress::Unix(_) => "localhost",
        }
    }

    /// What stands for the member in Host.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// Whether TLS is spoken.
    pub(super) fn is_https(&self) -> bool {
        self.tls.is_some()
    }

    /// Opens a connection, TLS included.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::TimedOut`] when it takes longer than `patience`; otherwise the last of
    /// what went wrong.
    pub(super) async fn open(&self, patience: Duration, purpose: Purpose) -> io::Result<Transport> {
        let opening = async {
            let mut socket = self.socket(Instant::now() + patience).await?;
            if let Some(version) = self.proxy_protocol {
                socket.write_all(&Client::header(purpose.client, version)).await?;
            }
            let Some(tls) = &self.tls else { return Ok(Transport::Plain(socket)) };
            let http2 = self.protocol == UpstreamProtocol::Http2 && !purpose.upgrade;
            let make = || Connector::new(&tls.settings, http2, &self.shared.roots);
            let connector = if purpose.upgrade { &tls.upgrading } else { &tls.connector };
            let connector = connector.get_or_try_init(make).await?;
            let stream = connector.connect(socket, self.host()).await?;
            if http2 && !speaks_http2(&stream) {
                return Err(io::Error::other("it does not speak HTTP/2 over TLS"));
            }
            Ok(Transport::Tls(stream))
        };
        timeout(patience, opening).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn socket(&self, deadline: Instant) -> io::Result<Socket> {
        let (host, port) = match &self.address {
            ServerAddress::Unix(path) => return UnixStream::connect(path).await.map(Socket::Unix),
            ServerAddress::Tcp { host, port } => (host, *port),
        };
        let addresses = self.shared.addresses(host).await?;
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for (tried, address) in addresses.iter().enumerate() {
            // One that does not answer leaves time for the others.
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(addresses.len() - tried).unwrap_or(1);
            let connecting = TcpStream::connect(SocketAddr::new(*address, port));
            match timeout(share, connecting).await {
                Ok(Ok(tcp)) => {
                    tcp.set_nodelay(true)?;
                    return Ok(Socket::Tcp(tcp));
                }
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(last)
    }
}

#[cfg(test)]
mod tests {
    use bindery_testkit::{deaf::Deaf, soon};
    use tokio::net::TcpListener;

    use super::*;

    /// The way to a server with a name that has these addresses.
    fn way(addresses: &[[u8; 4]], port: u16) -> Way {
        let ways = Arc::new(Ways::default());
        let addresses: Vec<_> = addresses.iter().map(|address| IpAddr::from(*address)).collect();
        let until = Instant::now() + Duration::from_secs(3600);
        ways.names().insert("up.example".to_owned(), (until, addresses.into()));
        let address = ServerAddress::Tcp { host: "up.example".to_owned(), port };
        Way::new(address, (UpstreamProtocol::Http1, None), None, ways)
    }

    /// Which address took a connection.
    async fn opened(way: &Way, patience: Duration) -> io::Result<IpAddr> {
        match way.open(patience, Purpose::default()).await? {
            Transport::Plain(Socket::Tcp(tcp)) => Ok(tcp.peer_addr()?.ip()),
            _ => panic!("not TCP"),
        }
    }

    #[tokio::test]
    async fn the_addresses_of_a_name_are_tried_in_turn() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let patience = Duration::from_secs(10);
        let (open, closed, other) = ([127, 0, 0, 1], [127, 0, 0, 2], [127, 0, 0, 3]);
        for addresses in
            [&[open][..], &[closed, open], &[closed, other, open], &[open, closed, other]]
        {
            let found = opened(&way(addresses, port), patience).await.unwrap();
            assert_eq!(found, IpAddr::from(open), "{addresses:?}");
        }
        let refused = opened(&way(&[closed, other], port), patience).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn an_address_that_does_not_answer_leaves_time_for_the_next() {
        let deaf = Deaf::at("127.0.0.2:0".parse().unwrap()).await.unwrap();
        let port = deaf.address().port();
        let _listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let way_past = way(&[[127, 0, 0, 2], [127, 0, 0, 1]], port);
        let patience = Duration::from_secs(2);
        let found = soon("the second", opened(&way_past, patience)).await.unwrap();
        assert_eq!(found, IpAddr::from([127, 0, 0, 1]));
        let nowhere = way(&[[127, 0, 0, 2]], port);
        let late = opened(&nowhere, Duration::from_millis(50)).await.unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
    }
}
