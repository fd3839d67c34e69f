//! The list of keys, in our order and in HTTP.SYS's.

use std::fmt;
use std::net::SocketAddr;

use super::Order;
use crate::{binding::Endpoint, name::HostName};

/// A key that a decision looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyRef<'a> {
    /// One address or all, and the port.
    pub endpoint: Endpoint,
    /// For whom.
    pub host: KeyHost<'a>,
}

/// The host part of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyHost<'a> {
    /// This name.
    Exact(&'a str),
    /// `*.` in front of this.
    Wildcard(&'a str),
    /// A file of the central store for this name.
    Central(&'a str),
    /// Everybody.
    Any,
}

impl KeyRef<'_> {
    /// The rule that the key belongs to.
    #[must_use]
    pub fn rule(&self) -> Rule {
        match (self.host, self.endpoint.address.is_some()) {
            (KeyHost::Exact(_), true) => Rule::ExactOnAddress,
            (KeyHost::Exact(_), false) => Rule::ExactOnAll,
            (KeyHost::Wildcard(_), true) => Rule::WildcardOnAddress,
            (KeyHost::Wildcard(_), false) => Rule::WildcardOnAll,
            (KeyHost::Central(_), _) => Rule::CentralStore,
            (KeyHost::Any, true) => Rule::CatchAllOnAddress,
            (KeyHost::Any, false) => Rule::CatchAllOnAll,
        }
    }
}

impl fmt::Display for KeyRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.endpoint)?;
        match self.host {
            KeyHost::Exact(name) => f.write_str(name),
            KeyHost::Wildcard(parent) => write!(f, "*.{parent}"),
            KeyHost::Central(name) => write!(f, "(central store: {name})"),
            KeyHost::Any => Ok(()),
        }
    }
}

/// The rules of the decision, numbered as the manual numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// Exact name on this address.
    ExactOnAddress = 1,
    /// Exact name on all addresses.
    ExactOnAll = 2,
    /// Wildcard on this address.
    WildcardOnAddress = 3,
    /// Wildcard on all addresses.
    WildcardOnAll = 4,
    /// The central store of the port.
    CentralStore = 5,
    /// Catch-all of this address.
    CatchAllOnAddress = 6,
    /// Catch-all of all addresses.
    CatchAllOnAll = 7,
}

impl Rule {
    /// Its number in the manual.
    #[must_use]
    pub fn number(self) -> u8 {
        self as u8
    }

    /// Whether it answers for names that nobody holds.
    #[must_use]
    pub fn is_catch_all(self) -> bool {
        matches!(self, Self::CatchAllOnAddress | Self::CatchAllOnAll)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ExactOnAddress => "exact name on this address",
            Self::ExactOnAll => "exact name on all addresses",
            Self::WildcardOnAddress => "wildcard on this address",
            Self::WildcardOnAll => "wildcard on all addresses",
            Self::CentralStore => "central store of this port",
            Self::CatchAllOnAddress => "catch-all of this address",
            Self::CatchAllOnAll => "catch-all of all addresses",
        })
    }
}

/// The keys that may answer a client that came to `local` with `name`, best first.
///
/// [`Order::HttpSys`] is the order Microsoft documents for certificates: exact address and port,
/// host and port, central store, wildcard address. It puts the catch-all of the very address
/// before everything and changes nothing else.
pub fn keys(
    local: SocketAddr,
    name: Option<&HostName>,
    order: Order,
) -> impl Iterator<Item = KeyRef<'_>> {
    let exact = name.map(|name| KeyHost::Exact(name.as_str()));
    let wildcard = name.and_then(HostName::parent).map(KeyHost::Wildcard);
    let central = name.map(|name| KeyHost::Central(name.as_str()));
    let any = Some(KeyHost::Any);

    let (here, all) = ([true].as_slice(), [false].as_slice());
    let both = [true, false].as_slice();
    let plan = match order {
        Order::HostFirst => {
            [(exact, both), (wildcard, both), (central, both), (any, both), (None, all)]
        }
        Order::HttpSys => {
            [(any, here), (exact, both), (wildcard, both), (central, both), (any, all)]
        }
    };
    plan.into_iter().filter_map(|(host, at)| host.map(|host| (host, at))).flat_map(
        move |(host, at)| {
            at.iter().map(move |on_address| {
                let address = on_address.then_some(local.ip());
                KeyRef { endpoint: Endpoint { address, port: local.port() }, host }
            })
        },
    )
}
