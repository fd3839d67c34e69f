//! Certificate records as HTTP.SYS keeps them beside bindings: what each is found by, and which of
//! them a binding of IIS's form takes its certificate from.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use crate::{
    binding::{Binding, Endpoint},
    certificate::CertificateChoice,
    name::HostPattern,
};

/// The bit of `sslFlags` that asks for server name indication.
pub const SNI: u32 = 1;
/// The bit of `sslFlags` that asks for the central store.
pub const CENTRAL: u32 = 2;

/// What IIS's form says of certificates apart from its bindings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// The `sslFlags` of each binding of the table, in its order.
    pub ssl_flags: Vec<u32>,
    /// The SHA-1 of the certificate that each record names. That of a central store names none.
    pub certificates: BTreeMap<RecordKey, Option<[u8; 20]>>,
}

impl Records {
    /// Whether the binding at a place of the table asks for the central store by its `sslFlags`.
    #[must_use]
    pub fn asks_central(&self, place: usize) -> bool {
        self.ssl_flags.get(place).is_some_and(|flags| flags & CENTRAL != 0)
    }

    /// The key of the record that the binding at a place of the table takes its certificate from,
    /// if there is such a record.
    #[must_use]
    pub fn of_binding(&self, place: usize, binding: &Binding) -> Option<RecordKey> {
        let flags = self.ssl_flags.get(place).copied().unwrap_or_default();
        let information = &binding.information;
        let mut keys =
            RecordKey::candidates(&information.host, information.endpoint, flags).into_iter();
        keys.find(|key| self.certificates.contains_key(key))
    }
}

/// What a record is found by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RecordKey {
    /// An address or all, and a port. Windows has `0.0.0.0` and `[::]`; here both stand for all
    /// addresses and are one key, which is printed as `0.0.0.0`.
    IpPort(Endpoint),
    /// A name or wildcard, never [`HostPattern::Any`], and a port: `shop.example:443`. With an
    /// address, which Windows cannot say, it is written as a binding is:
    /// `192.0.2.10:443:shop.example`.
    HostnamePort {
        /// For whom.
        host: HostPattern,
        /// Where.
        endpoint: Endpoint,
    },
    /// The central store of a port.
    CentralStore(u16),
}

impl RecordKey {
    /// Reads the value of `ipport=`: `192.0.2.10:443`, `[2001:db8::1]:443`, `0.0.0.0:443`.
    #[must_use]
    pub fn ip_port(text: &str) -> Option<Self> {
        let address: SocketAddr = text.parse().ok()?;
        let ip = address.ip().to_canonical();
        let address_or_all = (!ip.is_unspecified()).then_some(ip);
        (address.port() > 0)
            .then(|| Self::IpPort(Endpoint { address: address_or_all, port: address.port() }))
    }

    /// Reads the value of `hostnameport=`: `NAME:PORT`, or `ADDRESS:PORT:NAME`.
    #[must_use]
    pub fn hostname_port(text: &str) -> Option<Self> {
        let (before, last) = text.rsplit_once(':')?;
        let (host, endpoint) = match port(last) {
            Some(port) => (before, Endpoint { address: None, port }),
            None => match Self::ip_port(before)? {
                Self::IpPort(endpoint) => (last, endpoint),
                Self::HostnamePort { .. } | Self::CentralStore(_) => return None,
            },
        };
        let host: HostPattern = host.parse().ok()?;
        (host != HostPattern::Any).then_some(Self::HostnamePort { host, endpoint })
    }

    /// Reads the value of `ccs=`: a port.
    #[must_use]
    pub fn central_store(text: &str) -> Option<Self> {
        port(text).map(Self::CentralStore)
    }

    /// The record that stands for a binding of ours, which always go by the server name: its name
    /// with its address, its address alone, or the central store of its port.
    #[must_use]
    pub fn of(binding: &Binding) -> Self {
        let endpoint = binding.information.endpoint;
        match &binding.information.host {
            _ if binding.certificate == CertificateChoice::Central => {
                Self::CentralStore(endpoint.port)
            }
            HostPattern::Any => Self::IpPort(endpoint),
            host @ (HostPattern::Exact(_) | HostPattern::Wildcard(_)) => {
                Self::HostnamePort { host: host.clone(), endpoint }
            }
        }
    }

    /// The records that HTTP.SYS would take the certificate of a binding from, best first, by the
    /// bits of its `sslFlags`: 1 for a record of its own name, 2 for the central store, otherwise
    /// that of its address and port, which it shares.
    #[must_use]
    pub fn candidates(host: &HostPattern, endpoint: Endpoint, ssl_flags: u32) -> Vec<Self> {
        let everywhere = Endpoint { address: None, ..endpoint };
        let endpoints = [endpoint, everywhere];
        let endpoints = endpoints.into_iter().take(if endpoint == everywhere { 1 } else { 2 });
        if ssl_flags & 2 != 0 {
            return vec![Self::CentralStore(endpoint.port)];
        }
        let named = ssl_flags & 1 != 0 && *host != HostPattern::Any;
        endpoints
            .map(|endpoint| match named {
                true => Self::HostnamePort { host: host.clone(), endpoint },
                false => Self::IpPort(endpoint),
            })
            .collect()
    }

    /// The tag that names it on netsh's command line.
    #[must_use]
    pub fn tag(&self) -> &'static str {
        match self {
            Self::IpPort(_) => "ipport",
            Self::HostnamePort { .. } => "hostnameport",
            Self::CentralStore(_) => "ccs",
        }
    }

    /// The port, which every key has.
    #[must_use]
    pub fn port(&self) -> u16 {
        match self {
            Self::IpPort(endpoint) | Self::HostnamePort { endpoint, .. } => endpoint.port,
            Self::CentralStore(port) => *port,
        }
    }
}

fn port(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port > 0)
}

/// As `show sslcert` prints it, without its tag.
impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IpPort(Endpoint { address, port }) => {
                let address = address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
                SocketAddr::new(address, *port).fmt(f)
            }
            Self::HostnamePort { host, endpoint: Endpoint { address: None, port } } => {
                write!(f, "{host}:{port}")
            }
            Self::HostnamePort { host, endpoint } => write!(f, "{endpoint}:{host}"),
            Self::CentralStore(port) => port.fmt(f),
        }
    }
}

/// With its tag, as netsh's command line and the stored form have it: `ccs=443`.
impl From<RecordKey> for String {
    fn from(key: RecordKey) -> Self {
        format!("{}={key}", key.tag())
    }
}

/// No key: neither `ipport=`, `hostnameport=` nor `ccs=` with a value that is one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not ipport=ADDRESS:PORT, hostnameport=NAME:PORT or ccs=PORT")]
pub struct RecordKeyError(pub String);

impl FromStr for RecordKey {
    type Err = RecordKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let key =
            text.split_once('=').and_then(|(tag, value)| match tag.to_ascii_lowercase().as_str() {
                "ipport" => Self::ip_port(value),
                "hostnameport" => Self::hostname_port(value),
                "ccs" => Self::central_store(value),
                _ => None,
            });
        key.ok_or_else(|| RecordKeyError(text.to_owned()))
    }
}

impl TryFrom<String> for RecordKey {
    type Error = RecordKeyError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}
