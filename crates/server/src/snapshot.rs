//! What the server decides by: one immutable value behind the one `ArcSwap`.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use arc_swap::ArcSwap;
use bindery_model::{
    binding::Binding,
    decide::{KeyHost, KeyRef, Question, Rule, decide},
    document::Configuration,
    name::HostName,
    table::MemoryTable,
    tls::TlsPolicy,
};

use crate::{
    handler::SiteRuntime,
    process::Process,
    tls::{
        central::CentralFolder,
        index::{CertificateIndex, IndexedCertificates},
        policy::{Authorities, PolicyConfig, PolicyError},
    },
};

/// The number of a published configuration; it only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// What each TLS policy of the bindings means to the TLS library, or why it cannot be served.
pub(crate) type Policies = HashMap<TlsPolicy, Result<Arc<PolicyConfig>, Arc<PolicyError>>>;

/// What the server decides by. Built whole, replaced whole, never edited.
pub struct Snapshot {
    /// Which one.
    pub revision: Revision,
    /// Sites, bindings, rules and settings.
    pub configuration: Arc<Configuration>,
    /// What each policy of the bindings means to the TLS library.
    pub(crate) policies: Policies,
    /// The central certificate store, where one is configured.
    pub(crate) central: Option<Arc<CentralFolder>>,
    /// What is in the certificates that the configuration names; read when first needed.
    pub(crate) certificates: CertificateIndex,
    runtimes: Vec<OnceLock<Arc<SiteRuntime>>>,
}

/// What a decision came to.
#[derive(Clone, Copy)]
pub struct Decision<'a> {
    /// The rule that found it.
    pub rule: Rule,
    /// The binding that answers.
    pub binding: &'a Binding,
}

impl Snapshot {
    pub(crate) fn new(
        revision: Revision,
        configuration: Arc<Configuration>,
        policies: Policies,
        central: Option<Arc<CentralFolder>>,
    ) -> Self {
        let runtimes = configuration.table.sites.iter().map(|_| OnceLock::new()).collect();
        let certificates = CertificateIndex::default();
        Self { revision, configuration, policies, central, certificates, runtimes }
    }

    /// Takes from `before` what serves sites that are the same in both, so that their next request
    /// finds what the last one did.
    pub(crate) fn keep_runtimes(&mut self, before: &Self) {
        let (now, then) = (&self.configuration, &before.configuration);
        if now.settings.trusted_proxies != then.settings.trusted_proxies {
            return;
        }
        let made = then.table.sites.iter().zip(0_u32..).zip(&before.runtimes);
        let made: HashMap<_, _> =
            made.filter_map(|((site, place), own)| Some((site.id, (place, own.get()?)))).collect();
        for ((site, place), own) in now.table.sites.iter().zip(0..).zip(&self.runtimes) {
            let Some((old, made)) = made.get(&site.id) else { continue };
            let same_bindings = || {
                let all = |table: &'_ MemoryTable, place| -> Vec<_> {
                    table.bindings_of(place).map(|one| one.information.clone()).collect()
                };
                !site.https_redirect || all(&now.table, place) == all(&then.table, *old)
            };
            if then.table.sites.get(*old as usize) == Some(site) && same_bindings() {
                // It is new, and nobody else has it yet.
                drop(own.set(Arc::clone(made)));
            }
        }
    }

    /// A configuration to ask questions of and not to serve by: its policies are not built, so no
    /// handshake can be done with it. `explain` and `netsh` ask by it what a server would decide.
    #[must_use]
    pub fn unserved(
        configuration: impl Into<Arc<Configuration>>,
        central: Option<Arc<CentralFolder>>,
    ) -> Self {
        Self::new(Revision(0), configuration.into(), HashMap::new(), central)
    }

    /// What is in the certificates that the configuration names, if that was asked for already.
    #[must_use]
    pub fn known_certificates(&self) -> Option<Arc<IndexedCertificates>> {
        self.certificates.known()
    }

    /// What is in the certificates that the configuration names. Blocks while they are read.
    #[must_use]
    pub fn certificates_now(&self) -> Arc<IndexedCertificates> {
        self.certificates.get_now(&self.configuration.table.certificates)
    }

    /// What is in the certificates that the configuration names.
    pub async fn certificates(&self) -> Arc<IndexedCertificates> {
        self.certificates.get(&self.configuration.table.certificates).await
    }

    /// The central certificate store, where one is configured and could be opened.
    #[must_use]
    pub fn central(&self) -> Option<&CentralFolder> {
        self.central.as_deref()
    }

    /// What is asked when a client comes to `local` with `name`; `None` where no binding listens.
    #[must_use]
    pub fn question<'a>(
        &self,
        local: SocketAddr,
        name: Option<&'a HostName>,
    ) -> Option<Question<'a>> {
        let protocol = self.configuration.table.protocol(local)?;
        let order = self.configuration.settings.order.on(protocol);
        Some(Question { local, name, order, rules: self.configuration.rules(local) })
    }

    /// Who answers a client that came to `local` with `name`.
    #[must_use]
    pub fn decide<'a>(
        &'a self,
        local: SocketAddr,
        name: Option<&HostName>,
    ) -> Option<Decision<'a>> {
        let question = self.question(local, name)?;
        decide(question, |key| self.find(key)).map(|(rule, binding)| Decision { rule, binding })
    }

    /// What holds a key, the central store asked for its file.
    #[must_use]
    pub fn find(&self, key: &KeyRef<'_>) -> Option<&Binding> {
        let table = &self.configuration.table;
        let binding = table.binding(table.holder(key)?);
        match key.host {
            KeyHost::Central(name) => self.central.as_ref()?.find(name).map(|_| binding),
            _ => Some(binding),
        }
    }

    /// Whom a binding lets verify the certificates of its clients, where it asks for any.
    pub(crate) fn authorities(&self, binding: &Binding) -> Option<Authorities> {
        self.policies.get(&binding.tls)?.as_ref().ok()?.authorities
    }

    /// What serves the site of a binding, made when it is first asked for.
    pub(crate) fn runtime(&self, binding: &Binding, process: &Process) -> Arc<SiteRuntime> {
        let make = || Arc::new(SiteRuntime::new(&self.configuration, binding.site, process));
        match self.runtimes.get(binding.site as usize) {
            Some(runtime) => Arc::clone(runtime.get_or_init(make)),
            None => make(),
        }
    }
}

/// The snapshot in force.
pub struct Live(ArcSwap<Snapshot>);

impl Live {
    pub(crate) fn new(first: Arc<Snapshot>) -> Self {
        Self(ArcSwap::new(first))
    }

    /// Call once per decision and pass the result down: two calls may see two configurations.
    #[must_use]
    pub fn current(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }

    /// The revision in force, without taking hold of it.
    pub(crate) fn revision(&self) -> Revision {
        self.0.load().revision
    }

    /// From now on decisions are made by `next`. Gives what they were made by.
    pub(crate) fn publish(&self, next: Arc<Snapshot>) -> Arc<Snapshot> {
        debug_assert!(self.0.load().revision < next.revision, "revisions only grow");
        self.0.swap(next)
    }
}
