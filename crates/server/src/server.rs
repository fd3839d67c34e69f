//! A server from start to stop. A change is proved first, by what may fail and nobody sees; then
//! it is published, by what cannot fail.

use std::{
    collections::{BTreeSet, HashSet},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bindery_model::{
    apart::middles,
    binding::{Binding, Endpoint, Protocol},
    certificate::{CertificateChoice, CertificateReference},
    document::{CentralStore, Configuration},
};
use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval, timeout},
};
use tracing::{error, info, warn};

use crate::{
    Shared,
    blocking::Background,
    clock,
    handler::proxy::MemberStatus,
    limits::CERTIFICATE_SWEEP_INTERVAL,
    listener::{Listeners, Prepared},
    metrics::Scrape,
    process::Process,
    running::RunningRequest,
    snapshot::{Live, Policies, Revision, Snapshot},
    text_of,
    tls::{
        central::CentralFolder,
        index::{CertificateIndex, IndexedCertificates},
        policy::{self, PolicyConfig, PolicyError, Provider},
        tickets::NoRandomBytes,
    },
};

/// A configuration, made ready to be served.
pub struct Proof {
    configuration: Arc<Configuration>,
    policies: Policies,
    central: Option<Arc<CentralFolder>>,
    /// What was in force, where what is the same is kept from it.
    before: Option<Arc<Snapshot>>,
    certificates: Option<Arc<IndexedCertificates>>,
}

/// Makes a configuration ready: builds its TLS policies, with the client authorities they read,
/// and lists the central store. Blocks.
///
/// It cannot fail. A file that cannot be used is an error in the log and stops the bindings that
/// need it, as a broken certificate does: after a restart, one customer's mistake must not keep
/// all others from being served. Who wants to refuse such a configuration, as a reload does, asks
/// [`crate::inspect`] first.
#[must_use]
pub fn prove(configuration: impl Into<Arc<Configuration>>) -> Proof {
    make_ready(configuration.into(), None)
}

/// The same for a configuration that follows on another: what did not change is kept, and of all
/// files only those are read that the other does not name. So a change costs what it changes, and
/// cannot break what it does not name. Blocks.
#[must_use]
pub fn prove_next(configuration: impl Into<Arc<Configuration>>, before: &Arc<Snapshot>) -> Proof {
    make_ready(configuration.into(), Some(before))
}

fn make_ready(configuration: Arc<Configuration>, before: Option<&Arc<Snapshot>>) -> Proof {
    let provider = policy::provider();
    let mut policies = Policies::new();
    for binding in &configuration.table.bindings {
        if binding.information.protocol == Protocol::Https && !policies.contains_key(&binding.tls) {
            let base = base_of(binding, before, &provider);
            policies.insert(binding.tls.clone(), base);
        }
    }
    let kept = before.and_then(|before| before.central.clone());
    let central = configuration.settings.central_store.as_ref().map(|store| {
        let is_same = |folder: &Arc<CentralFolder>| folder.is_of(store);
        kept.filter(is_same).unwrap_or_else(|| opened(store))
    });
    Proof { configuration, policies, central, before: before.cloned(), certificates: None }
}

/// What the policy of a binding means. Authorities whose file has changed are read again; where
/// that fails, those that were known go on.
fn base_of(
    binding: &Binding,
    before: Option<&Arc<Snapshot>>,
    provider: &Provider,
) -> Result<Arc<PolicyConfig>, Arc<PolicyError>> {
    let known = before.and_then(|before| before.policies.get(&binding.tls)?.as_ref().ok());
    if let Some(known) = known
        && known.is_current(&binding.tls)
    {
        return Ok(Arc::clone(known));
    }
    let base = PolicyConfig::new(&binding.tls, provider).map(Arc::new).map_err(Arc::new);
    if let Err(error) = &base {
        error!(binding = %binding.information, error = %text_of(error.as_ref()), "the TLS settings cannot be used");
    }
    match known {
        Some(known) => base.or_else(|_| Ok(Arc::clone(known))),
        None => base,
    }
}

fn opened(store: &CentralStore) -> Arc<CentralFolder> {
    let folder = CentralFolder::open(store.folder.clone(), store.password_file.clone());
    if let Err(error) = folder.refresh() {
        error!(folder = %store.folder.display(), %error, "the central store cannot be read");
    }
    Arc::new(folder)
}

impl Proof {
    /// What was proved.
    #[must_use]
    pub fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    /// The same with what is in its certificates, where somebody has read all of them: nobody has
    /// to do so again.
    #[must_use]
    pub fn with_certificates(mut self, certificates: Arc<IndexedCertificates>) -> Self {
        if self.configuration.table.bindings.iter().any(asks_index) {
            certificates.prepare();
        }
        self.certificates = Some(certificates).filter(|known| known.is_whole());
        self
    }

    fn snapshot(self, revision: Revision) -> Arc<Snapshot> {
        let Self { configuration, policies, central, before, certificates } = self;
        let mut snapshot = Snapshot::new(revision, configuration, policies, central);
        if let Some(certificates) = certificates {
            snapshot.certificates = CertificateIndex::of(certificates);
        }
        if let Some(before) = before {
            snapshot.keep_runtimes(&before);
        }
        Arc::new(snapshot)
    }
}

/// Whether a binding is answered by what is in certificates, whatever they are called.
fn asks_index(binding: &Binding) -> bool {
    let by_content = |one: &CertificateReference| !matches!(one, CertificateReference::Source(_));
    match &binding.certificate {
        _ if binding.information.protocol == Protocol::Http => false,
        CertificateChoice::Best => true,
        CertificateChoice::Listed(all) => all.iter().any(by_content),
        CertificateChoice::Central | CertificateChoice::None => false,
    }
}

/// A running server.
pub struct Server {
    shared: Arc<Shared>,
    listeners: Listeners,
    /// What was in force and may still be in use.
    retired: Arc<Mutex<Vec<Arc<Snapshot>>>>,
    upkeep: JoinHandle<()>,
}

/// What a server can say about itself.
#[derive(Clone, Debug)]
pub struct Counters {
    /// Since when it runs.
    pub uptime: Duration,
    /// The configuration in force.
    pub revision: u64,
    /// Where it listens.
    pub endpoints: BTreeSet<Endpoint>,
    /// Connections that are open.
    pub connections: usize,
    /// Connections since the start.
    pub connections_total: u64,
    /// Requests since the start.
    pub requests_total: u64,
    /// Connections that were closed because their client had too many, since the start.
    pub connections_refused: u64,
    /// Handshakes that came to nothing since the start.
    pub failed_handshakes: u64,
    /// Certificates in memory.
    pub certificates_in_memory: usize,
    /// Files of certificates that were asked for and could not be read, with why.
    pub certificate_problems: Vec<(PathBuf, String)>,
}

impl Server {
    /// Serves `proof`, which has this number, on the sockets that were opened for it. Within a
    /// tokio runtime.
    ///
    /// # Errors
    ///
    /// When the kernel gives no random bytes for the ticket keys.
    pub fn start(
        proof: Proof,
        sockets: Prepared,
        revision: Revision,
    ) -> Result<Self, NoRandomBytes> {
        let process = Process::new(clock::now())?;
        let snapshot = proof.snapshot(revision);
        process.observe(&snapshot);
        let shared = Arc::new(Shared { live: Live::new(snapshot), process });
        let listeners = Listeners::default();
        listeners.adopt(sockets, &shared);
        let retired = Arc::new(Mutex::default());
        let upkeep = tokio::spawn(upkeep(Arc::clone(&shared), Arc::clone(&retired)));
        Ok(Self { shared, listeners, retired, upkeep })
    }

    /// Serves `proof` from now on, under a number that is higher than the last. Within a tokio
    /// runtime. Answers how many connections lost what they came for, their endpoint or their
    /// binding, and were told to end; all others go on, and are judged by the new configuration at
    /// their next request. A site that is stopped keeps its bindings: its connections go on too,
    /// and are answered 503.
    pub fn replace(&self, proof: Proof, sockets: Prepared, revision: Revision) -> usize {
        // Published before accepting: a new socket must find its sites.
        let snapshot = proof.snapshot(revision);
        self.shared.process.observe(&snapshot);
        let last = self.shared.live.publish(Arc::clone(&snapshot));
        self.forget_certificates(&snapshot, &last);
        let disturbed = self.listeners.adopt(sockets, &self.shared)
            + self.shared.process.connections.drain(|connection| connection.lost(&snapshot));
        self.retire(last);
        info!(revision = revision.0, disturbed, "configuration published");
        disturbed
    }

    /// Keeps a snapshot until no request uses it: to take apart a large one takes milliseconds,
    /// which no client must wait for.
    fn retire(&self, last: Arc<Snapshot>) {
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        retired.push(last);
        let unused = take_unused(&mut retired);
        drop(retired);
        drop(unused);
    }

    /// Of certificates that a configuration no longer names nothing is kept, least of all what was
    /// wrong with them.
    fn forget_certificates(&self, snapshot: &Snapshot, last: &Snapshot) {
        let (now, then) = (&snapshot.configuration, &last.configuration);
        let (gone, _) = middles(&then.table.certificates, &now.table.certificates, |old, new| {
            old.files == new.files
        });
        if gone.is_empty() && now.settings.central_store == then.settings.central_store {
            return;
        }
        let named: HashSet<_> =
            snapshot.configuration.table.certificates.iter().map(|source| &source.files).collect();
        let central = snapshot.central().map(CentralFolder::folder);
        self.shared.process.certificates.retain(|files| {
            named.contains(files) || central.is_some() && files.file.parent() == central
        });
    }

    /// What is decided by now.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.live.current()
    }

    /// Where it listens.
    #[must_use]
    pub fn endpoints(&self) -> BTreeSet<Endpoint> {
        self.listeners.open()
    }

    /// What it can say about itself.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let process = &self.shared.process;
        let problems = process.certificates.problems().into_iter();
        Counters {
            uptime: process.started.elapsed(),
            revision: self.shared.live.revision().0,
            endpoints: self.endpoints(),
            connections: process.connections.open(),
            connections_total: process.connections.total(),
            requests_total: process.connections.requests(),
            connections_refused: process.addresses.refused(),
            failed_handshakes: process.failed_handshakes(),
            certificates_in_memory: process.certificates.count(),
            certificate_problems: problems.map(|(files, text)| (files.file, text)).collect(),
        }
    }

    /// The requests that take time and are under way, those that came to be tunnels too, in the order
    /// of their ids.
    #[must_use]
    pub fn running(&self) -> Vec<RunningRequest> {
        let mut all = self.shared.process.connections.running();
        all.sort_unstable_by_key(|request| request.id);
        all
    }

    /// How the upstream servers in use fare.
    #[must_use]
    pub fn upstreams(&self) -> Vec<MemberStatus> {
        self.shared.process.upstreams.status()
    }

    /// Accepts nobody any more, lets running requests finish for up to `drain`, and ends. Answers
    /// how many connections were cut off.
    pub async fn stop(&self, drain: Duration) -> usize {
        self.listeners.close();
        self.upkeep.abort();
        let connections = &self.shared.process.connections;
        let told = connections.drain(|_| true);
        info!(connections = told, "stopping");
        if timeout(drain, connections.all_closed()).await.is_err() {
            let left = connections.open();
            warn!(connections = left, "cut off at the end of the drain time");
            self.shared.process.logs.flush().await;
            return left;
        }
        self.shared.process.logs.flush().await;
        0
    }

    /// Waits until all that was logged by now is in its files.
    pub async fn flush_logs(&self) {
        self.shared.process.logs.flush().await;
    }

    /// What it counts, as OpenMetrics has it. Reads files of `/proc` and blocks for a moment.
    #[must_use]
    pub fn metrics_text(&self) -> String {
        let (process, counters) = (&self.shared.process, self.counters());
        Scrape::new(process, &counters).text()
    }
}

/// Those that nobody else has.
fn take_unused(retired: &mut Vec<Arc<Snapshot>>) -> Vec<Arc<Snapshot>> {
    retired.extract_if(.., |one| Arc::strong_count(one) == 1).collect()
}

/// What a server does beside serving: looks for changed certificates, and turns the ticket keys.
async fn upkeep(shared: Arc<Shared>, retired: Arc<Mutex<Vec<Arc<Snapshot>>>>) {
    let mut tick = interval(CERTIFICATE_SWEEP_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut from, mut index_from) = (0, 0);
    let mut central_problem = None;
    let background = Background::start("bindery-upkeep");
    loop {
        tick.tick().await;
        shared.process.fastcgi.sweep();
        from = shared.process.certificates.sweep(from).await;
        let snapshot = shared.live.current();
        let retired = Arc::clone(&retired);
        let refreshed = background.run("look at all certificates", move || {
            let unused = take_unused(&mut retired.lock().unwrap_or_else(PoisonError::into_inner));
            drop(unused);
            let table = &snapshot.configuration.table;
            snapshot.certificates.refresh(&table.certificates, index_from)
        });
        index_from = refreshed.await.unwrap_or_default();
        if let Err(error) = shared.process.tickets.rotate_if_due(clock::now()) {
            warn!(%error, "the ticket keys stay as they are");
        }
        if let Some(central) = shared.live.current().central.clone() {
            let listed = background.run("list the central store", move || central.refresh());
            let problem = match listed.await {
                Ok(Ok(changed)) => {
                    if changed {
                        info!("the central store has changed");
                    }
                    None
                }
                Ok(Err(error)) | Err(error) => Some(error.to_string()),
            };
            // Said once, not each second.
            if let Some(error) = problem.as_ref().filter(|_| problem != central_problem) {
                error!(%error, "the central store cannot be read");
            }
            central_problem = problem;
        }
    }
}
