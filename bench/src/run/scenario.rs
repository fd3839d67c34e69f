//! What is measured.

use clap::ValueEnum;

use crate::client::exchange::Task;
use crate::client::{Group, Offer, Version};
use crate::fleet::BODY_PATH;

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
    /// HTTP/1.1, access log on (wrk)
    Logged,
    /// HTTP/1.1 handed on to an upstream (wrk)
    ProxiedHttp1,
    /// HTTP/2 handed on to an upstream (h2load)
    ProxiedHttp2,
    /// HTTP/1.1 handed on to a FastCGI program (wrk)
    Fastcgi,
    /// Messages through an upgraded connection to an upstream
    Websocket,
    /// A file of 1 GiB (curl)
    Large,
    /// Memory of idle connections
    Idle,
}

/// How the load of a scenario is made.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Load {
    /// This program's generator.
    Handshakes(Offer),
    /// wrk on kept connections, asking for this path.
    Wrk(&'static str),
    /// h2load, several streams on each connection, asking for this path.
    H2load(&'static str),
    /// Messages to the echo and back.
    Echo,
    /// curl, one file after the other.
    Large,
    /// Connections that are only held open.
    Idle,
}

/// What the servers of a scenario are given. Those with the same share one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    /// Names drawn from many.
    ManyNames,
    /// One name that all connections ask for, and upstreams.
    FewNames,
    /// The same, with access logs.
    Logged,
}

impl Setting {
    pub(crate) const ALL: [Self; 3] = [Self::ManyNames, Self::FewNames, Self::Logged];

    /// A folder's name.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::ManyNames => "many",
            Self::FewNames => "few",
            Self::Logged => "logged",
        }
    }
}

/// The path that leads to the upstream's file.
pub(crate) const PROXIED_PATH: &str = "/proxied/1k.bin";

/// The path that leads to the FastCGI program.
pub(crate) const SCRIPT_PATH: &str = "/app/hello.php";

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
            Self::Http1 | Self::Logged => Load::Wrk(BODY_PATH),
            Self::Http2 => Load::H2load(BODY_PATH),
            Self::ProxiedHttp1 => Load::Wrk(PROXIED_PATH),
            Self::ProxiedHttp2 => Load::H2load(PROXIED_PATH),
            Self::Fastcgi => Load::Wrk(SCRIPT_PATH),
            Self::Websocket => Load::Echo,
            Self::Large => Load::Large,
            Self::Idle => Load::Idle,
        }
    }

    /// The servers that it needs.
    pub(crate) fn setting(self) -> Setting {
        match self {
            Self::Tls13 | Self::Tls12 | Self::Mlkem768 | Self::Resumed => Setting::ManyNames,
            Self::Logged => Setting::Logged,
            _ => Setting::FewNames,
        }
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
            Self::Logged => "HTTP/1.1, 1 KiB, access log on",
            Self::ProxiedHttp1 => "HTTP/1.1, 1 KiB from an upstream",
            Self::ProxiedHttp2 => "HTTP/2, 1 KiB from an upstream",
            Self::Fastcgi => "HTTP/1.1, 1 KiB from a FastCGI program",
            Self::Websocket => "WebSocket messages, to an upstream and back",
            Self::Large => "A file of 1 GiB, for each MiB",
            Self::Idle => "Idle TLS connections",
        }
    }
}
