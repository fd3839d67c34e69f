//! The decision: which binding answers.
//!
//! A list of keys is tried in order and the first that a binding holds wins. The list is made by
//! [`keys`]; [`walk`] is the list with what each key found; [`decide`] is the first hit of that
//! walk. The handshake, the request, `explain` and `check` all come through here, so what is
//! explained cannot differ from what is served.

pub mod condition;
mod explain;
mod host;
mod keys;
pub mod rewrite;
pub mod route;
mod template;
pub mod windows;

use std::fmt;
use std::net::SocketAddr;

pub use explain::{Explained, Verdict, explain};
pub use host::may_answer;
pub use keys::{KeyHost, KeyRef, Rule, keys};

use crate::{binding::Protocol, name::HostName};

/// In which order the keys are tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Order {
    /// Names before catch-alls, one address before all of them.
    #[default]
    HostFirst,
    /// As Windows' HTTP.SYS chooses a certificate: the catch-all of the very address first, then
    /// names, then the central store, then the catch-all of all addresses.
    HttpSys,
}

impl Order {
    /// The order on an endpoint that speaks `protocol`. HTTP.SYS's is one of certificates; sites
    /// without TLS it finds by host first, as we do.
    #[must_use]
    pub fn on(self, protocol: Protocol) -> Self {
        match protocol {
            Protocol::Http => Self::HostFirst,
            Protocol::Https => self,
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HostFirst => "host-first",
            Self::HttpSys => "http.sys",
        })
    }
}

/// What answers where no key holds the name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Fallback {
    /// The catch-all bindings.
    #[default]
    CatchAll,
    /// Nobody.
    Refuse,
}

/// What a listener says about clients that name nobody it knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ListenerRules {
    /// For clients that send no name.
    pub no_sni: Fallback,
    /// For clients that send a name which no binding holds.
    pub unknown_name: Fallback,
}

impl ListenerRules {
    /// What applies to a client with this name, or with none.
    #[must_use]
    pub fn fallback(&self, name: Option<&HostName>) -> Fallback {
        if name.is_some() { self.unknown_name } else { self.no_sni }
    }
}

/// What is asked: a client came to this address with this name.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The address and port the client came to, in canonical form (no IPv4 inside of IPv6).
    pub local: SocketAddr,
    /// The name it asked for.
    pub name: Option<&'a HostName>,
    /// The order in force.
    pub order: Order,
    /// The rules of the listener it came to.
    pub rules: ListenerRules,
}

/// One key of the list, with what it found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step<'a, B> {
    /// The key.
    pub key: KeyRef<'a>,
    /// Which rule of the list it belongs to.
    pub rule: Rule,
    /// Whether the listener forbids it to answer this client.
    pub barred: bool,
    /// What holds it.
    pub found: Option<B>,
}

/// The whole list of keys, each with what `find` knows of it.
pub fn walk<'a, B>(
    question: Question<'a>,
    find: impl Fn(&KeyRef<'a>) -> Option<B>,
) -> impl Iterator<Item = Step<'a, B>> {
    let refuse = question.rules.fallback(question.name) == Fallback::Refuse;
    keys(question.local, question.name, question.order).map(move |key| {
        let rule = key.rule();
        let barred = refuse && rule.is_catch_all();
        Step { key, rule, barred, found: find(&key) }
    })
}

/// The first key that is held and may answer, and what holds it.
pub fn decide<'a, B>(
    question: Question<'a>,
    find: impl Fn(&KeyRef<'a>) -> Option<B>,
) -> Option<(Rule, B)> {
    walk(question, find)
        .filter(|step| !step.barred)
        .find_map(|step| step.found.map(|binding| (step.rule, binding)))
}

#[cfg(test)]
mod tests;
