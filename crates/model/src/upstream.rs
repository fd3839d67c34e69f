//! Other servers that answer for a route, and how the requests are shared among them.

use std::{fmt, path::PathBuf, time::Duration};

/// Requests handed on to other servers that speak HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Proxy {
    /// Who answers.
    pub upstream: Upstream,
    /// What takes the place of the route's path, where anything does: with `/v2` here and a route
    /// at `/api`, `/api/users` is asked for as `/v2/users`. `None` leaves the path as it is.
    pub path: Option<String>,
    /// What the upstream gets as Host.
    pub host: UpstreamHost,
    /// Bounds on waiting.
    pub timeouts: Timeouts,
    /// Whether `Forwarded` (RFC 7239) is sent beside the `X-Forwarded-` fields.
    pub forwarded: bool,
}

/// What the upstream gets as Host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum UpstreamHost {
    /// That of the request.
    #[default]
    Keep,
    /// The upstream server's own name.
    Server,
    /// This.
    Fixed(String),
}

/// A balanced group of servers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Upstream {
    /// Its members, at least one.
    pub servers: Vec<UpstreamServer>,
    /// How a member is chosen.
    pub balance: Balance,
    /// Whether a client stays with its member.
    pub sticky: Sticky,
    /// What is spoken.
    pub protocol: UpstreamProtocol,
    /// TLS to members that are reached by https.
    pub tls: UpstreamTls,
    /// Whether a PROXY protocol header tells the member whom it serves. Such connections are not
    /// shared between clients.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Asking members whether they are well.
    pub health_check: Option<HealthCheck>,
    /// So many failures in a row take a member out; 0 for never.
    pub failures_max: u32,
    /// How long a member that failed stays out.
    pub failed_for: Duration,
    /// Connections kept open to a member without a request.
    pub idle_connections_max: u32,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamServer {
    /// Where it listens.
    pub address: ServerAddress,
    /// Whether it is reached by TLS.
    pub https: bool,
    /// How much it gets in proportion to the others: 1 to 256.
    pub weight: u16,
    /// Whether it is asked only when no other is well.
    pub backup: bool,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ServerAddress {
    /// A name or address and a port.
    Tcp {
        /// A name, an IPv4 address, or an IPv6 address without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// How a member is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Balance {
    /// Each in turn, by weight.
    #[default]
    RoundRobin,
    /// The one with the fewest requests under way, by weight.
    LeastConnections,
}

/// Whether a client stays with its member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sticky {
    /// No.
    #[default]
    No,
    /// By a cookie of this name, which the server sets.
    Cookie(String),
    /// By its address.
    Address,
}

/// What is spoken to the members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum UpstreamProtocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2; without TLS by prior knowledge (RFC 9113, 3.3). What gRPC needs.
    Http2,
}

/// TLS to members.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct UpstreamTls {
    /// PEM with the authorities that are trusted; those of the system where there is none.
    pub ca: Option<PathBuf>,
    /// The name that is asked for and must be in the certificate; the member's host where there is
    /// none.
    pub server_name: Option<String>,
    /// Whether any certificate is taken.
    pub insecure: bool,
}

/// Versions of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyProtocol {
    /// The line of text.
    V1,
    /// The binary header.
    V2,
}

/// Asking members whether they are well.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HealthCheck {
    /// What is asked for by GET; a status below 400 is well.
    pub path: String,
    /// From one question to the next.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// So many good answers bring a member back.
    pub rise: u32,
    /// So many failures take it out.
    pub fall: u32,
}

/// Bounds on waiting for another server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timeouts {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// From the end of the request to the head of the answer.
    pub first_byte: Duration,
    /// Between two pieces of the answer; of a tunnel, in either direction.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(60),
            idle: Duration::from_secs(60),
        }
    }
}

impl Upstream {
    /// A group of these with the defaults of everything else.
    #[must_use]
    pub fn of(servers: Vec<UpstreamServer>) -> Self {
        Self {
            servers,
            balance: Balance::default(),
            sticky: Sticky::default(),
            protocol: UpstreamProtocol::default(),
            tls: UpstreamTls::default(),
            proxy_protocol: None,
            health_check: None,
            failures_max: 3,
            failed_for: Duration::from_secs(10),
            idle_connections_max: 64,
        }
    }
}

impl Proxy {
    /// Requests handed on to this group, with the defaults of everything else.
    #[must_use]
    pub fn to(upstream: Upstream) -> Self {
        Self {
            upstream,
            path: None,
            host: UpstreamHost::default(),
            timeouts: Timeouts::default(),
            forwarded: false,
        }
    }
}
