//! Who holds a key: sites, bindings and certificates of a configuration, in memory.

use std::{net::SocketAddr, sync::Arc};

use hashbrown::{DefaultHashBuilder, Equivalent, HashMap};

use crate::{
    binding::{Binding, BindingInformation, Endpoint, Protocol},
    certificate::{CertificateId, CertificateSource},
    decide::{KeyHost, KeyRef},
    name::HostPattern,
    site::Site,
};

/// The place of a binding in [`MemoryTable::bindings`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BindingId(u32);

impl BindingId {
    /// The place itself.
    #[must_use]
    pub fn place(self) -> usize {
        self.0 as usize
    }
}

/// Valid records, each key held once. Built whole, never edited.
#[derive(Debug, Default)]
pub struct MemoryTable {
    /// All sites. Revisions share those that are the same.
    pub sites: Vec<Arc<Site>>,
    /// All bindings, site by site, those of one site in its order.
    pub bindings: Vec<Binding>,
    /// All certificates that have a name.
    pub certificates: Vec<CertificateSource>,
    holders: HashMap<HeldKey, BindingId>,
    endpoints: Vec<(Endpoint, Protocol)>,
}

/// By their records: all else is made of them.
impl PartialEq for MemoryTable {
    fn eq(&self, other: &Self) -> bool {
        let Self { sites, bindings, certificates, holders: _, endpoints: _ } = self;
        *sites == other.sites && *bindings == other.bindings && *certificates == other.certificates
    }
}

/// A key as it is kept. Equivalent to the borrowed [`KeyRef`] that a decision asks with.
#[derive(Debug, PartialEq, Eq)]
struct HeldKey {
    endpoint: Endpoint,
    host: HostPattern,
    central: bool,
}

impl HeldKey {
    fn as_ref(&self) -> KeyRef<'_> {
        let host = match &self.host {
            HostPattern::Exact(name) => KeyHost::Exact(name.as_str()),
            HostPattern::Wildcard(parent) => KeyHost::Wildcard(parent.as_str()),
            HostPattern::Any if self.central => KeyHost::Central(""),
            HostPattern::Any => KeyHost::Any,
        };
        KeyRef { endpoint: self.endpoint, host }
    }
}

impl std::hash::Hash for HeldKey {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_ref().hash(state);
    }
}

/// The central store answers for many names by one binding: the name is no part of what is held.
fn as_held<'a>(key: &KeyRef<'a>) -> KeyRef<'a> {
    match key.host {
        KeyHost::Central(_) => KeyRef { host: KeyHost::Central(""), ..*key },
        _ => *key,
    }
}

impl Equivalent<HeldKey> for KeyRef<'_> {
    fn equivalent(&self, held: &HeldKey) -> bool {
        *self == held.as_ref()
    }
}

impl MemoryTable {
    /// A table of these records. Where two bindings hold one key the first keeps it; a document
    /// with such a pair is refused before it comes here.
    #[must_use]
    pub fn new(
        sites: Vec<Arc<Site>>,
        bindings: Vec<Binding>,
        certificates: Vec<CertificateSource>,
    ) -> Self {
        debug_assert!(bindings.is_sorted_by_key(|binding| binding.site), "site by site");
        let mut holders =
            HashMap::with_capacity_and_hasher(bindings.len(), DefaultHashBuilder::default());
        let mut endpoints = Vec::new();
        for (place, binding) in (0..).zip(&bindings) {
            let held = HeldKey {
                endpoint: binding.information.endpoint,
                host: binding.information.host.clone(),
                central: binding.is_central_catch_all(),
            };
            holders.entry(held).or_insert(BindingId(place));
            endpoints.push((binding.information.endpoint, binding.information.protocol));
        }
        endpoints.sort_unstable();
        endpoints.dedup();
        Self { sites, bindings, certificates, holders, endpoints }
    }

    /// What holds `key`, if anything does. For the central store: what would answer if the store
    /// has a file for the name.
    #[must_use]
    pub fn holder(&self, key: &KeyRef<'_>) -> Option<BindingId> {
        self.holders.get(&as_held(key)).copied()
    }

    /// Whether there is a binding with this text.
    #[must_use]
    pub fn has(&self, information: &BindingInformation) -> bool {
        let host = match &information.host {
            HostPattern::Exact(name) => KeyHost::Exact(name.as_str()),
            HostPattern::Wildcard(parent) => KeyHost::Wildcard(parent.as_str()),
            HostPattern::Any => KeyHost::Any,
        };
        let held = |host| {
            let id = self.holder(&KeyRef { endpoint: information.endpoint, host });
            id.is_some_and(|id| self.binding(id).information == *information)
        };
        held(host) || information.host == HostPattern::Any && held(KeyHost::Central(""))
    }

    /// The binding at a place that [`Self::holder`] gave.
    ///
    /// # Panics
    ///
    /// When the id comes from another table.
    #[must_use]
    pub fn binding(&self, id: BindingId) -> &Binding {
        #[allow(clippy::indexing_slicing, reason = "ids are made by `new`, one for each binding")]
        &self.bindings[id.0 as usize]
    }

    /// The site of a binding.
    ///
    /// # Panics
    ///
    /// When the binding comes from another table.
    #[must_use]
    pub fn site(&self, binding: &Binding) -> &Site {
        #[allow(clippy::indexing_slicing, reason = "a binding is made with the place of its site")]
        &self.sites[binding.site as usize]
    }

    /// A certificate by its place.
    #[must_use]
    pub fn certificate(&self, id: CertificateId) -> Option<&CertificateSource> {
        self.certificates.get(id.0 as usize)
    }

    /// The bindings of a site, in its order.
    pub fn bindings_of(&self, site: u32) -> impl Iterator<Item = &Binding> {
        let first = self.bindings.partition_point(|binding| binding.site < site);
        self.bindings.iter().skip(first).take_while(move |binding| binding.site == site)
    }

    /// Every endpoint that a binding needs, once, in order.
    #[must_use]
    pub fn endpoints(&self) -> &[(Endpoint, Protocol)] {
        &self.endpoints
    }

    /// What is spoken with a client that came to `local`; `None` where no binding listens.
    #[must_use]
    pub fn protocol(&self, local: SocketAddr) -> Option<Protocol> {
        let spoken = |address| {
            let endpoint = Endpoint { address, port: local.port() };
            let place = self.endpoints.binary_search_by_key(&endpoint, |(own, _)| *own).ok()?;
            self.endpoints.get(place).map(|(_, protocol)| *protocol)
        };
        spoken(Some(local.ip())).or_else(|| spoken(None))
    }
}
