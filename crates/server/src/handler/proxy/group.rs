//! The groups of upstream servers that are in use. They outlive a configuration: a change of
//! another site closes no connection here and forgets no failure.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use aws_lc_rs::{hmac, rand::SystemRandom};
use bindery_model::upstream::{
    HealthCheck, ProxyProtocol, ServerAddress, Upstream, UpstreamProtocol, UpstreamServer,
    UpstreamTls,
};

use super::{
    MemberStatus,
    balance::Balancer,
    connect::{Way, Ways},
    health::{Condition, Health},
    member::Member,
    upkeep,
};
use crate::{log::StrangerLog, tls::tickets::NoRandomBytes};

/// All groups in use, and what they share.
pub(crate) struct Upstreams {
    ways: Arc<Ways>,
    faults: Arc<StrangerLog>,
    /// Of what stands for members in cookies.
    key: hmac::Key,
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

impl Upstreams {
    /// # Errors
    ///
    /// When the system has no random bytes.
    pub(crate) fn new(faults: Arc<StrangerLog>) -> Result<Self, NoRandomBytes> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        Ok(Self {
            ways: Arc::default(),
            faults,
            key: key.map_err(|_| NoRandomBytes)?,
            groups: Mutex::default(),
            members: Mutex::default(),
        })
    }

    /// The group of an upstream, the one in use where there is one.
    pub(super) fn group(&self, upstream: &Upstream) -> Arc<Group> {
        shared(&self.groups, upstream, || {
            let servers = upstream.servers.iter();
            let members: Vec<_> = servers.map(|server| self.member(upstream, server)).collect();
            let names: Vec<_> = upstream.servers.iter().map(url).collect();
            let balancer = Balancer::new(upstream, &members, &self.key);
            Group { upstream: upstream.clone(), name: names.join(", "), members, balancer }
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
            let speaks = (upstream.protocol, upstream.proxy_protocol);
            let way = Way::new(server.address.clone(), speaks, tls, shared);
            let health = Health::new(upstream.failures_max, upstream.failed_for);
            Member::new(url(server), way, health, Arc::clone(&self.faults))
        });
        if is_new {
            upkeep::start(&member, upstream);
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
                kept_connections: member.kept_connections(),
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
