//! Where lines wait for the writer, and where requests are counted: one place for each core, so
//! that cores do not meet.
//!
//! A request takes the lock of its core's place once, at its end. The writer takes all that has
//! come together away, a few times a second.

use std::{
    collections::VecDeque,
    hash::{Hash as _, Hasher},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, Thread},
    time::{Duration, Instant, SystemTime},
};

use bindery_model::{log::AccessLog, site::SiteId};
use tokio::{sync::watch, time::timeout};
use tracing::{error, warn};

use super::{
    date::Date,
    errors::{Errors, ErrorsLine},
    writer,
};
use crate::{
    clock,
    limits::{
        LOG_FLUSH_TIMEOUT, LOG_SETTINGS_KEPT_MAX, LOG_SHARD_BYTES_READY, LOG_SHARDS_MAX,
        LOG_WAITING_BYTES_MAX,
    },
    metrics::{Outcome, Stats},
    snapshot::Revision,
    tls::Negotiated,
};

/// The logs of a process. Its end is the end of the thread that writes them.
pub(crate) struct Logs(Arc<Inner>);

/// What the logs share with those who write them.
pub(crate) struct Inner {
    shards: Box<[Shard]>,
    pub(super) errors: Errors,
    /// The settings in force from a revision on. A few old ones are kept for answers that are still
    /// on their way.
    settings: Mutex<VecDeque<Since>>,
    /// Whether requests are counted or logged at all.
    observing: AtomicBool,
    /// Whether there is a log.
    logging: AtomicBool,
    thread: OnceLock<Thread>,
    /// Whether the writer sleeps until it is woken.
    pub(super) asleep: AtomicBool,
    pub(super) stopping: AtomicBool,
    /// How many flushes were asked for; and how many were done.
    pub(super) wanted: AtomicU64,
    pub(super) flushed: watch::Sender<u64>,
    /// Lines that could not be written.
    pub(super) lost: AtomicU64,
    pub(super) written: AtomicU64,
}

/// The settings from a revision on.
#[derive(Clone)]
pub(super) struct Since {
    pub(super) from: Revision,
    pub(super) settings: Option<Arc<AccessLog>>,
}

/// The place of a core, alone in its cache lines.
#[repr(align(128))]
#[derive(Default)]
struct Shard(Mutex<Waiting>);

/// What waits in a place.
#[derive(Default)]
struct Waiting {
    batch: Batch,
    /// The second, and until when it is the present one.
    date: Option<(Date, Instant)>,
    stats: Stats,
}

/// Lines one after another, and whose they are.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) text: Vec<u8>,
    pub(super) marks: Vec<Mark>,
    /// Lines for which there was no room.
    pub(super) lost: u64,
}

/// Whose the lines are that end here and began where the last mark stood.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    pub(super) end: usize,
    pub(super) lines: u64,
    pub(super) of: OfSite,
    /// Hours since 1970.
    pub(super) hour: u32,
}

/// Whose a line is.
#[derive(Clone, Debug)]
pub(super) struct OfSite {
    pub(super) revision: Revision,
    pub(super) site: SiteId,
    /// Its name: another site may get its number some day.
    pub(super) name: Arc<str>,
}

impl Default for Logs {
    fn default() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let shards = (0..cores.min(LOG_SHARDS_MAX)).map(|_| Shard::default()).collect();
        Self(Arc::new(Inner {
            shards,
            errors: Errors::default(),
            settings: Mutex::default(),
            observing: AtomicBool::new(false),
            logging: AtomicBool::new(false),
            thread: OnceLock::new(),
            asleep: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            wanted: AtomicU64::new(0),
            flushed: watch::Sender::new(0),
            lost: AtomicU64::new(0),
            written: AtomicU64::new(0),
        }))
    }
}

impl Logs {
    /// From this revision on requests are logged so, and counted if `counting` says so.
    pub(crate) fn configure(&self, from: Revision, settings: Option<&AccessLog>, counting: bool) {
        let inner = &self.0;
        self.keep(from, settings);
        inner.logging.store(settings.is_some(), Ordering::Release);
        inner.observing.store(settings.is_some() || counting, Ordering::Release);
        if settings.is_some() && inner.thread.get().is_none() {
            let own = Arc::clone(inner);
            match thread::Builder::new().name("bindery-log".to_owned()).spawn(|| writer::run(own)) {
                Ok(thread) => drop(inner.thread.set(thread.thread().clone())),
                Err(error) => error!(%error, "nothing is logged: there is no thread to write"),
            }
        }
        inner.wake();
    }

    /// From this revision on lines are written so.
    fn keep(&self, from: Revision, settings: Option<&AccessLog>) {
        let mut all = self.0.settings();
        let last = all.back().and_then(|last| last.settings.as_deref());
        if all.is_empty() || last != settings {
            all.push_back(Since { from, settings: settings.cloned().map(Arc::new) });
            if all.len() > LOG_SETTINGS_KEPT_MAX {
                all.pop_front();
            }
        }
    }

    /// The same without a thread that writes.
    #[cfg(test)]
    pub(super) fn settings_for_tests(&self, from: Revision, settings: Option<&AccessLog>) {
        self.keep(from, settings);
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.0
    }

    /// Whether anybody wants to know of requests.
    pub(crate) fn is_observing(&self) -> bool {
        self.0.observing.load(Ordering::Relaxed)
    }

    /// Notes what never reached a site.
    pub(crate) fn note(&self, line: &ErrorsLine<'_>) {
        if self.0.logging.load(Ordering::Relaxed) && self.0.errors.push(line, clock::now()) {
            self.0.wake();
        }
    }

    /// Waits until all that was logged by now is written.
    pub(crate) async fn flush(&self) {
        if self.0.thread.get().is_none() {
            return;
        }
        let mut flushed = self.0.flushed.subscribe();
        let ticket = self.0.wanted.fetch_add(1, Ordering::AcqRel) + 1;
        self.0.wake_now();
        let done = flushed.wait_for(|done| *done >= ticket);
        if !matches!(timeout(LOG_FLUSH_TIMEOUT, done).await, Ok(Ok(_))) {
            warn!("the access log could not be written in time");
        }
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        self.0.stopping.store(true, Ordering::Release);
        self.0.wake_now();
    }
}

impl Inner {
    /// Counts a request in a place.
    pub(super) fn count_at(&self, place: usize, outcome: &Outcome) {
        self.shard(place).stats.count(outcome);
    }

    /// Counts a request.
    pub(crate) fn count(&self, outcome: &Outcome) {
        self.count_at(self.place(), outcome);
    }

    /// Counts a handshake.
    pub(crate) fn count_handshake(&self, negotiated: Negotiated) {
        self.shard(self.place()).stats.count_handshake(negotiated);
    }

    /// Counts a handshake that came to nothing.
    pub(crate) fn count_failed_handshake(&self, word: &'static str) {
        self.shard(self.place()).stats.count_failed_handshake(word);
    }

    /// Counts a request and takes its line. `write` is called with room for about so many bytes.
    pub(super) fn write(
        &self,
        outcome: &Outcome,
        (place, of): (usize, &OfSite),
        now: Instant,
        (bytes, write): (usize, impl FnOnce(&mut Vec<u8>, &Date)),
    ) {
        let mut shard = self.shard(place);
        let Waiting { batch, date, stats } = &mut *shard;
        stats.count(outcome);
        let before = batch.text.len();
        if before + bytes > self.shard_bytes_max() {
            batch.lost += 1;
            // Here, because the writer may hang with the disk.
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let date = match date {
            Some((date, until)) if now < *until => &*date,
            _ => &date.insert(second(now, clock::now())).0,
        };
        write(&mut batch.text, date);
        let after = batch.text.len();
        batch.mark(after, of, date.hour);
        drop(shard);
        if before == 0 {
            self.wake();
        } else if before < LOG_SHARD_BYTES_READY && after >= LOG_SHARD_BYTES_READY {
            self.wake_now();
        }
    }

    /// How much may wait in one place, in bytes.
    pub(super) fn shard_bytes_max(&self) -> usize {
        LOG_WAITING_BYTES_MAX / self.shards.len().max(1)
    }

    /// Takes all lines that wait. `spare` are batches that were written, whose room is used again.
    pub(super) fn drain(&self, spare: &mut Vec<Batch>) -> Vec<Batch> {
        let mut full = Vec::new();
        for shard in &self.shards {
            let mut shard = shard.0.lock().unwrap_or_else(PoisonError::into_inner);
            if !shard.batch.text.is_empty() || shard.batch.lost > 0 {
                let empty = spare.pop().unwrap_or_default();
                full.push(std::mem::replace(&mut shard.batch, empty));
            }
        }
        full
    }

    /// Whether anything waits to be written.
    pub(super) fn is_waiting(&self) -> bool {
        let waits = |shard: &Shard| {
            let shard = shard.0.lock().unwrap_or_else(PoisonError::into_inner);
            !shard.batch.text.is_empty() || shard.batch.lost > 0
        };
        self.errors.is_waiting() || self.shards.iter().any(waits)
    }

    /// The sum of all that was counted.
    pub(crate) fn stats(&self) -> Stats {
        let mut sum = Stats::default();
        for shard in &self.shards {
            sum.add(&shard.0.lock().unwrap_or_else(PoisonError::into_inner).stats);
        }
        sum
    }

    /// Lines that were lost since the start.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Lines that were written since the start.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    pub(super) fn settings(&self) -> MutexGuard<'_, VecDeque<Since>> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the writer if it sleeps for want of work.
    fn wake(&self) {
        if self.asleep.load(Ordering::SeqCst) {
            self.wake_now();
        }
    }

    /// Lets the writer begin now.
    fn wake_now(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// The place of the thread that asks. Workers are born one after another, so each has its own
    /// as long as there are no more of them than cores.
    pub(super) fn place(&self) -> usize {
        let mut number = Number(0);
        thread::current().id().hash(&mut number);
        usize::try_from(number.0).unwrap_or_default() % self.shards.len()
    }

    fn shard(&self, place: usize) -> MutexGuard<'_, Waiting> {
        #[allow(clippy::indexing_slicing, reason = "a remainder; there is one shard at least")]
        self.shards[place % self.shards.len()].0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The number of a thread, which std gives to nobody but a hasher.
struct Number(u64);

impl Hasher for Number {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |sum, byte| sum.wrapping_mul(31) + u64::from(*byte));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

/// The second that `time` is in, and when it is over.
fn second(now: Instant, time: SystemTime) -> (Date, Instant) {
    let into = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().subsec_nanos();
    let left = Duration::from_secs(1).saturating_sub(Duration::from_nanos(into.into()));
    (Date::of(time), now + left)
}

impl Batch {
    /// Another line of a site ends here.
    fn mark(&mut self, end: usize, of: &OfSite, hour: u32) {
        match self.marks.last_mut() {
            Some(last)
                if (last.of.revision, last.of.site, last.hour) == (of.revision, of.site, hour) =>
            {
                last.end = end;
                last.lines += 1;
            }
            _ => self.marks.push(Mark { end, lines: 1, of: of.clone(), hour }),
        }
    }
}
