//! What outlives every snapshot: caches, ticket keys, open connections, counters.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Instant, SystemTime},
};

use crate::{
    addresses::Addresses,
    connections::Connections,
    handler::{fastcgi::Programs, proxy::group::Upstreams, static_files::FileCache},
    http::compress::Compressions,
    limits::{HANDSHAKES_MAX, HANDSHAKES_PRESSED},
    log::StrangerLog,
    rules::{auth::Passwords, rate::RateTable, site::SiteLoads},
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
    /// How often clients have come.
    pub(crate) rates: RateTable,
    pub(crate) passwords: Passwords,
    /// What is under way at sites with limits.
    pub(crate) loads: SiteLoads,
    pub(crate) compressions: Compressions,
    pub(crate) fastcgi: Programs,
    pub(crate) strangers: StrangerLog,
    /// What strangers find broken here. Apart, so that a flood of bad handshakes hides none of it.
    pub(crate) faults: Arc<StrangerLog>,
    pub(crate) upstreams: Upstreams,
    failed_handshakes: AtomicU64,
    pub(crate) addresses: Addresses,
    handshakes: AtomicUsize,
}

/// A handshake under way, until it is dropped.
pub(crate) struct Handshake<'a>(&'a AtomicUsize);

impl Drop for Handshake<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Process {
    pub(crate) fn new(now: SystemTime) -> Result<Self, NoRandomBytes> {
        let faults: Arc<StrangerLog> = Arc::default();
        Ok(Self {
            started: Instant::now(),
            connections: Connections::default(),
            certificates: CertificateCache::default(),
            tickets: Arc::new(TicketKeys::new(now)?),
            files: Arc::default(),
            rates: RateTable::default(),
            passwords: Passwords::new().ok_or(NoRandomBytes)?,
            loads: SiteLoads::default(),
            compressions: Compressions::default(),
            fastcgi: Programs::default(),
            strangers: StrangerLog::default(),
            upstreams: Upstreams::new(Arc::clone(&faults))?,
            faults,
            failed_handshakes: AtomicU64::new(0),
            addresses: Addresses::default(),
            handshakes: AtomicUsize::new(0),
        })
    }

    /// One handshake more, unless there are too many.
    pub(crate) fn begin_handshake(&self) -> Option<Handshake<'_>> {
        let handshake = Handshake(&self.handshakes);
        (self.handshakes.fetch_add(1, Ordering::Relaxed) < HANDSHAKES_MAX).then_some(handshake)
    }

    /// Whether there are more handshakes under way than honest clients alone would make.
    pub(crate) fn is_pressed(&self) -> bool {
        self.handshakes.load(Ordering::Relaxed) > HANDSHAKES_PRESSED
    }

    pub(crate) fn count_failed_handshake(&self) {
        self.failed_handshakes.fetch_add(1, Ordering::Relaxed);
    }

    /// Handshakes that came to nothing since the start.
    pub(crate) fn failed_handshakes(&self) -> u64 {
        self.failed_handshakes.load(Ordering::Relaxed)
    }
}
