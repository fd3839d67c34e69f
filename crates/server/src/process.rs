//! What outlives every snapshot: caches, ticket keys, open connections, counters.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Instant, SystemTime},
};

use crate::{
    connections::Connections,
    handler::static_files::FileCache,
    log::{StrangerLog, access::Logs, errors::ErrorsLine},
    snapshot::Snapshot,
    tls::{
        cache::CertificateCache,
        tickets::{NoRandomBytes, TicketKeys},
    },
};

/// What outlives every snapshot. Each part locks itself, and never across an await.
pub struct Process {
    pub(crate) started: Instant,
    pub(crate) connections: Connections,
    pub(crate) certificates: CertificateCache,
    pub(crate) tickets: Arc<TicketKeys>,
    pub(crate) files: Arc<FileCache>,
    pub(crate) strangers: StrangerLog,
    /// What strangers find broken here. Apart, so that a flood of bad handshakes hides none of it.
    pub(crate) faults: StrangerLog,
    /// The access log, the errors log, and what is counted on the way.
    pub(crate) logs: Logs,
    failed_handshakes: AtomicU64,
}

impl Process {
    pub(crate) fn new(now: SystemTime) -> Result<Self, NoRandomBytes> {
        Ok(Self {
            started: Instant::now(),
            connections: Connections::default(),
            certificates: CertificateCache::default(),
            tickets: Arc::new(TicketKeys::new(now)?),
            files: Arc::default(),
            strangers: StrangerLog::default(),
            faults: StrangerLog::default(),
            logs: Logs::default(),
            failed_handshakes: AtomicU64::new(0),
        })
    }

    /// Logs and counts what `snapshot` says, from its revision on. Before it is published.
    pub(crate) fn observe(&self, snapshot: &Snapshot) {
        let settings = &snapshot.configuration.settings;
        let counting = settings.admin.is_some();
        self.logs.configure(snapshot.revision, settings.access_log.as_ref(), counting);
    }

    /// Notes what never reached a site in the errors log.
    pub fn note(&self, line: &ErrorsLine<'_>) {
        self.logs.note(line);
    }

    /// Counts a handshake that came to nothing, by the word for why.
    pub(crate) fn count_failed_handshake(&self, word: &'static str) {
        self.failed_handshakes.fetch_add(1, Ordering::Relaxed);
        self.logs.inner().count_failed_handshake(word);
    }

    /// Handshakes that came to nothing since the start.
    pub(crate) fn failed_handshakes(&self) -> u64 {
        self.failed_handshakes.load(Ordering::Relaxed)
    }
}
