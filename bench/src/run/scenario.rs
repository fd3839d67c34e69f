//! What is measured.

use clap::ValueEnum;

use crate::client::exchange::Task;
use crate::client::{Group, Offer, Version};

/// One column of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Scenario {
    /// Full TLS 1.3 handshakes, X25519
    Tls13,
    /// Full TLS 1.2 handshakes, X25519
    Tls12,
    /// Full TLS 1.3 handshakes, X25519MLKEM768
    Mlkem768,
    /// Resumed TLS 1.3 handshakes
    Resumed,
    /// HTTP/1.1 on kept connections (wrk)
    Http1,
    /// HTTP/2 (h2load)
    Http2,
    /// Memory of idle connections
    Idle,
}

/// How the load of a scenario is made.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Load {
    /// This program's generator.
    Handshakes(Offer),
    /// wrk on kept connections.
    Wrk,
    /// h2load, several streams on each connection.
    H2load,
    /// Connections that are only held open.
    Idle,
}

/// Connections of wrk and h2load.
pub(crate) const KEPT_CONNECTIONS: u32 = 32;

/// Streams on each HTTP/2 connection.
pub(crate) const STREAMS: u32 = 16;

/// The states in which an idle connection is measured.
pub(crate) const IDLE_TASKS: [(Task, &str); 3] = [
    (Task::Handshake, "handshake only"),
    (Task::KeepHttp1, "after one HTTP/1.1 request"),
    (Task::KeepHttp2, "after one HTTP/2 request"),
];

impl Scenario {
    pub(crate) fn all() -> Vec<Self> {
        Self::value_variants().to_vec()
    }

    /// The load, with sessions kept for `names` names where sessions are resumed.
    pub(crate) fn load(self, names: u32) -> Load {
        let plain = Offer::PLAIN;
        match self {
            Self::Tls13 => Load::Handshakes(plain),
            Self::Tls12 => Load::Handshakes(Offer { version: Version::Tls12, ..plain }),
            Self::Mlkem768 => Load::Handshakes(Offer { group: Group::X25519Mlkem768, ..plain }),
            Self::Resumed => Load::Handshakes(Offer { sessions: names, ..plain }),
            Self::Http1 => Load::Wrk,
            Self::Http2 => Load::H2load,
            Self::Idle => Load::Idle,
        }
    }

    /// Whether names are drawn from many; else there is one that all connections ask for.
    pub(crate) fn has_many_names(self) -> bool {
        !matches!(self, Self::Http1 | Self::Http2 | Self::Idle)
    }

    /// A heading.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Tls13 => "Full handshakes, TLS 1.3, X25519",
            Self::Tls12 => "Full handshakes, TLS 1.2, X25519",
            Self::Mlkem768 => "Full handshakes, TLS 1.3, X25519MLKEM768",
            Self::Resumed => "Resumed handshakes, TLS 1.3, X25519",
            Self::Http1 => "HTTP/1.1 on kept connections, 1 KiB",
            Self::Http2 => "HTTP/2, 32 connections x 16 streams, 1 KiB",
            Self::Idle => "Idle TLS connections",
        }
    }
}
