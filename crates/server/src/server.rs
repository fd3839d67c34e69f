//! A server from start to stop. A change is proved first, by what may fail and nobody sees; then
//! it is published, by what cannot fail.

use std::{
    collections::{BTreeSet, HashSet},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bindery_model::{
    binding::{Endpoint, Protocol},
    document::Configuration,
};
use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval, timeout},
};
use tracing::{error, info, warn};

use crate::{
    Shared, blocking, clock,
    handler::proxy::MemberStatus,
    limits::CERTIFICATE_SWEEP_INTERVAL,
    listener::{Listeners, Prepared},
    process::Process,
    snapshot::{Live, Policies, Revision, Snapshot},
    text_of,
    tls::{
        central::CentralFolder,
        policy::{self, PolicyConfig},
        tickets::NoRandomBytes,
    },
};

/// A configuration, made ready to be served.
pub struct Proof {
    configuration: Configuration,
    policies: Policies,
    central: Option<Arc<CentralFolder>>,
}

/// Makes a configuration ready: builds its TLS policies, with the client authorities they read,
/// and lists the central store. Blocks.
///
/// It cannot fail. A file that cannot be used is an error in the log and stops the bindings that
/// need it, as a broken certificate does: after a restart, one customer's mistake must not keep
/// all others from being served. Who wants to refuse such a configuration, as a reload does, asks
/// [`crate::inspect`] first.
#[must_use]
pub fn prove(configuration: Configuration) -> Proof {
    let provider = policy::provider();
    let mut policies = Policies::new();
    for binding in &configuration.table.bindings {
        if binding.information.protocol == Protocol::Https && !policies.contains_key(&binding.tls) {
            let base = PolicyConfig::new(&binding.tls, &provider).map_err(Arc::new);
            if let Err(error) = &base {
                error!(binding = %binding.information, error = %text_of(error.as_ref()), "the TLS settings cannot be used");
            }
            policies.insert(binding.tls.clone(), base);
        }
    }
    let central = configuration.settings.central_store.as_ref().map(|store| {
        let folder = CentralFolder::open(store.folder.clone(), store.password_file.clone());
        if let Err(error) = folder.refresh() {
            error!(folder = %store.folder.display(), %error, "the central store cannot be read");
        }
        Arc::new(folder)
    });
    Proof { configuration, policies, central }
}

impl Proof {
    /// What was proved.
    #[must_use]
    pub fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    fn snapshot(self, revision: Revision) -> Arc<Snapshot> {
        Arc::new(Snapshot::new(revision, self.configuration, self.policies, self.central))
    }
}

/// A running server.
pub struct Server {
    shared: Arc<Shared>,
    listeners: Listeners,
    revision: AtomicU64,
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
    /// Serves `proof` on the sockets that were opened for it. Within a tokio runtime.
    ///
    /// # Errors
    ///
    /// When the kernel gives no random bytes for the ticket keys.
    pub fn start(proof: Proof, sockets: Prepared) -> Result<Self, NoRandomBytes> {
        let first = Revision(1);
        let shared = Arc::new(Shared {
            live: Live::new(proof.snapshot(first)),
            process: Process::new(clock::now())?,
        });
        let listeners = Listeners::default();
        listeners.adopt(sockets, &shared);
        let upkeep = tokio::spawn(upkeep(Arc::clone(&shared)));
        Ok(Self { shared, listeners, revision: AtomicU64::new(first.0), upkeep })
    }

    /// Serves `proof` from now on. Answers how many connections lost their endpoint by it; all
    /// others go on, and are judged by the new configuration at their next request.
    pub fn replace(&self, proof: Proof, sockets: Prepared) -> usize {
        let revision = Revision(self.revision.fetch_add(1, Ordering::AcqRel) + 1);
        // Published before accepting: a new socket must find its sites.
        let snapshot = proof.snapshot(revision);
        self.shared.live.publish(Arc::clone(&snapshot));
        self.forget_certificates(&snapshot);
        let disturbed = self.listeners.adopt(sockets, &self.shared);
        info!(revision = revision.0, disturbed, "configuration published");
        disturbed
    }

    /// Of certificates that a configuration no longer names nothing is kept, least of all what was
    /// wrong with them.
    fn forget_certificates(&self, snapshot: &Snapshot) {
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
            revision: self.revision.load(Ordering::Acquire),
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
            return left;
        }
        0
    }
}

/// What a server does beside serving: looks for changed certificates, and turns the ticket keys.
async fn upkeep(shared: Arc<Shared>) {
    let mut tick = interval(CERTIFICATE_SWEEP_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut from, mut index_from) = (0, 0);
    let mut central_problem = None;
    loop {
        tick.tick().await;
        shared.process.fastcgi.sweep();
        from = shared.process.certificates.sweep(from).await;
        let snapshot = shared.live.current();
        let refreshed = blocking::run("look at all certificates", move || {
            let table = &snapshot.configuration.table;
            snapshot.certificates.refresh(&table.certificates, index_from)
        });
        index_from = refreshed.await.unwrap_or_default();
        if let Err(error) = shared.process.tickets.rotate_if_due(clock::now()) {
            warn!(%error, "the ticket keys stay as they are");
        }
        if let Some(central) = shared.live.current().central.clone() {
            let listed = blocking::run("list the central store", move || central.refresh());
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
