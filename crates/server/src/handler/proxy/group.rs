//! The groups of upstream servers that are in use. They outlive a configuration: a change of
//! another site closes no connection here and forgets no failure.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use bindery_model::upstream::{
    HealthCheck, ProxyProtocol, ServerAddress, Upstream, UpstreamProtocol, UpstreamServer,
    UpstreamTls,
};

use super::{
    balance::Balancer,
    connect::{Way, Ways},
    health::{Condition, Health},
    member::Member,
    upkeep,
};
use crate::log::StrangerLog;

/// All groups in use, and what they share.
pub(crate) struct Upstreams {
    ways: Arc<Ways>,
    faults: Arc<StrangerLog>,
    groups: Mutex<HashMap<Upstream, Weak<Group>>>,
    members: Mutex<HashMap<MemberKey, Weak<Member>>>,
}

/// What makes two members one: what its connections and its health depend on. Weight and role in
/// a group do not.
#[derive(Clone, PartialEq, Eq, Hash)]
struct MemberKey {
    address: ServerAddress,
    https: bool,
    protocol: UpstreamProtocol,
    tls: UpstreamTls,
    proxy_protocol: Option<ProxyProtocol>,
    health_check: Option<HealthCheck>,
    failures_max: u32,
    failed_for: Duration,
}

/// A group of servers that share requests.
pub(super) struct Group {
    pub(super) upstream: Upstream,
    /// As the configuration writes it.
    pub(super) name: String,
    /// In the order of the configuration.
    pub(super) members: Vec<Arc<Member>>,
    pub(super) balancer: Balancer,
}

/// How a member fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// The member, as a URL.
    pub name: String,
    /// Whether requests are sent to it.
    pub well: bool,
    /// Requests under way.
    pub active: u32,
    /// Connections without a request.
    pub idle_connections: usize,
}

impl Upstreams {
    pub(crate) fn new(faults: Arc<StrangerLog>) -> Self {
        Self { ways: Arc::default(), faults, groups: Mutex::default(), members: Mutex::default() }
    }

    /// The group of an upstream, the one in use where there is one.
    pub(super) fn group(&self, upstream: &Upstream) -> Arc<Group> {
        shared(&self.groups, upstream, || {
            let members = upstream.servers.iter().map(|server| self.member(upstream, server));
            let names: Vec<_> = upstream.servers.iter().map(url).collect();
            Group {
                upstream: upstream.clone(),
                name: names.join(", "),
                members: members.collect(),
                balancer: Balancer::new(upstream),
            }
        })
    }

    fn member(&self, upstream: &Upstream, server: &UpstreamServer) -> Arc<Member> {
        let key = MemberKey {
            address: server.address.clone(),
            https: server.https,
            protocol: upstream.protocol,
            tls: upstream.tls.clone(),
            proxy_protocol: upstream.proxy_protocol,
            health_check: upstream.health_check.clone(),
            failures_max: upstream.failures_max,
            failed_for: upstream.failed_for,
        };
        let mut is_new = false;
        let member = shared(&self.members, &key, || {
            is_new = true;
            let tls = server.https.then(|| upstream.tls.clone());
            let shared = Arc::clone(&self.ways);
            let way = Way::new(server.address.clone(), upstream.protocol, tls, shared);
            let health = Health::new(upstream.failures_max, upstream.failed_for);
            Member::new(url(server), way, health, Arc::clone(&self.faults))
        });
        if is_new {
            upkeep::start(&member, upstream.health_check.clone());
        }
        member
    }

    /// How the members of all groups fare, by name.
    #[must_use]
    pub(crate) fn status(&self) -> Vec<MemberStatus> {
        let members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = members
            .values()
            .filter_map(Weak::upgrade)
            .map(|member| MemberStatus {
                name: member.name.clone(),
                well: member.health.condition() == Condition::Well,
                active: member.active(),
                idle_connections: member.idle_connections(),
            })
            .collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }
}

/// A member as a URL.
fn url(server: &UpstreamServer) -> String {
    match &server.address {
        ServerAddress::Unix(_) => server.address.to_string(),
        ServerAddress::Tcp { .. } if server.https => format!("https://{}", server.address),
        ServerAddress::Tcp { .. } => format!("http://{}", server.address),
    }
}

/// What is in use for `key`, or a new one. What nobody uses is forgotten.
fn shared<K: Clone + Eq + Hash, V>(
    all: &Mutex<HashMap<K, Weak<V>>>,
    key: &K,
    make: impl FnOnce() -> V,
) -> Arc<V> {
    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = all.get(key).and_then(Weak::upgrade) {
        return found;
    }
    all.retain(|_, value| value.strong_count() > 0);
    let made = Arc::new(make());
    all.insert(key.clone(), Arc::downgrade(&made));
    made
}
