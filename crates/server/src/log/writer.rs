//! The thread that writes the logs: it takes what waits, sorts it by file, and writes each file
//! once a round. Whatever happens to it, no request waits for it.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Instant, SystemTime},
};

use bindery_model::{log::AccessLog, site::SiteId};
use tracing::error;

use super::{
    access::{Batch, Inner, OfSite, Since},
    date,
    errors::FIELDS,
    files::{Files, Target, Written},
    sweep,
};
use crate::{
    clock,
    limits::{LOG_IDLE_INTERVAL, LOG_INTERVAL, LOG_LOST_SAID_INTERVAL, LOG_SHARD_BYTES_READY},
    snapshot::Revision,
};

/// Writes until the logs end.
#[allow(clippy::needless_pass_by_value, reason = "the thread keeps it")]
pub(super) fn run(inner: Arc<Inner>) {
    let mut writer = Writer::new(Arc::clone(&inner));
    loop {
        let stopping = inner.stopping.load(Ordering::Acquire);
        let wanted = inner.wanted.load(Ordering::Acquire);
        let wrote = writer.round(clock::now());
        inner.flushed.send_if_modified(|done| std::mem::replace(done, wanted) != wanted);
        if stopping {
            return;
        }
        if wrote {
            thread::park_timeout(LOG_INTERVAL);
            continue;
        }
        writer.spare = Vec::new();
        inner.asleep.store(true, Ordering::SeqCst);
        // Who came before this has not seen that the writer sleeps, and who comes after it wakes.
        let calm = !inner.is_waiting() && inner.wanted.load(Ordering::Acquire) == wanted;
        thread::park_timeout(if calm { LOG_IDLE_INTERVAL } else { LOG_INTERVAL });
        inner.asleep.store(false, Ordering::SeqCst);
    }
}

pub(super) struct Writer {
    inner: Arc<Inner>,
    files: Files,
    /// Batches that were written, for their room.
    spare: Vec<Batch>,
    /// Lines that were lost and not spoken of, and when such lines last were.
    lost: u64,
    last_error: Option<(PathBuf, String)>,
    said: Option<Instant>,
    /// What was last swept: the settings, and in which hour.
    swept: Option<(Arc<AccessLog>, u32)>,
    sweeping: Arc<AtomicBool>,
}

/// Lines of a batch that go to one file.
struct Piece {
    of: OfSite,
    hour: u32,
    batch: usize,
    from: usize,
    to: usize,
    lines: u64,
}

impl Writer {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        Self {
            inner,
            files: Files::default(),
            spare: Vec::new(),
            lost: 0,
            last_error: None,
            said: None,
            swept: None,
            sweeping: Arc::default(),
        }
    }

    /// Writes all that waits. Whether there was anything.
    pub(super) fn round(&mut self, now: SystemTime) -> bool {
        let settings: Vec<Since> = self.inner.settings().iter().cloned().collect();
        let batches = self.inner.drain(&mut self.spare);
        let (errors, errors_lost) = self.inner.errors.take(now);
        self.lose(errors_lost);
        // These are counted already.
        self.lost += batches.iter().map(|batch| batch.lost).sum::<u64>();
        let any = !batches.is_empty() || !errors.is_empty();
        self.write_batches(&batches, &settings, now);
        let latest = settings.iter().rev().find_map(|since| since.settings.clone());
        if let Some(log) = latest.as_ref().filter(|_| !errors.is_empty()) {
            let errors_lines = errors.iter().filter(|byte| **byte == b'\n').count() as u64;
            let target = Target::errors(&log.folder, FIELDS);
            let written = self.files.append((&target, None), date::hour_of(now), &[&errors], now);
            self.wrote(written, errors_lines);
        }
        self.keep(batches);
        self.say_lost();
        if let Some(log) = settings.last().and_then(|since| since.settings.clone()) {
            self.sweep(log, now);
        }
        any
    }

    fn write_batches(&mut self, batches: &[Batch], settings: &[Since], now: SystemTime) {
        let mut pieces = pieces(batches);
        let nobody: Arc<str> = "".into();
        let log_of = |revision: Revision| {
            let since = settings.iter().rev().find(|since| since.from <= revision)?;
            since.settings.as_deref()
        };
        for piece in &mut pieces {
            if log_of(piece.of.revision).is_some_and(|log| log.shared) {
                (piece.of.site, piece.of.name) = (SiteId(0), Arc::clone(&nobody));
            }
        }
        let key = |piece: &Piece| (piece.of.revision, piece.of.site, piece.hour);
        // Stable: lines of one core stay in the order they came in.
        pieces.sort_by_key(key);
        for group in pieces.chunk_by(|a, b| key(a) == key(b)) {
            let text = |piece: &Piece| batches.get(piece.batch)?.text.get(piece.from..piece.to);
            let texts: Vec<&[u8]> = group.iter().filter_map(text).collect();
            let Some(first) = group.first() else { continue };
            match log_of(first.of.revision) {
                Some(log) => {
                    let target = target(log, first.of.site);
                    let owner = (!log.shared).then_some(&first.of);
                    let written = self.files.append((&target, owner), first.hour, &texts, now);
                    self.wrote(written, group.iter().map(|piece| piece.lines).sum());
                }
                // An answer that took longer than its settings are kept.
                None => self.lose(group.iter().map(|piece| piece.lines).sum()),
            }
        }
    }

    fn wrote(&mut self, written: Written, lines: u64) {
        self.inner.written.fetch_add(lines.saturating_sub(written.lost), Ordering::Relaxed);
        self.lose(written.lost);
        if let Some((path, error)) = written.error {
            self.last_error = Some((path, error.to_string()));
        }
    }

    fn lose(&mut self, lines: u64) {
        self.lost += lines;
        self.inner.lost.fetch_add(lines, Ordering::Relaxed);
    }

    fn say_lost(&mut self) {
        if self.lost == 0 || self.said.is_some_and(|said| said.elapsed() < LOG_LOST_SAID_INTERVAL) {
            return;
        }
        self.said = Some(Instant::now());
        let lines = std::mem::take(&mut self.lost);
        match self.last_error.take() {
            Some((path, error)) => {
                error!(lines, path = %path.display(), error, "lines of the access log were lost");
            }
            None => error!(lines, "lines of the access log were lost: they came too fast"),
        }
    }

    /// Keeps the room of batches, unless it is much.
    fn keep(&mut self, batches: Vec<Batch>) {
        for mut batch in batches {
            if batch.text.capacity() <= 4 * LOG_SHARD_BYTES_READY {
                batch.text.clear();
                batch.marks.clear();
                batch.lost = 0;
                self.spare.push(batch);
            }
        }
    }

    /// Puts finished files away, on a thread of its own: compressing takes long.
    fn sweep(&mut self, log: Arc<AccessLog>, now: SystemTime) {
        let hour = date::hour_of(now.checked_sub(sweep::FINISHED_AFTER).unwrap_or(now));
        let whole = !self.swept.as_ref().is_some_and(|(last, at)| *last == log && *at == hour);
        if !whole && self.files.finished.is_empty() {
            return;
        }
        if self.sweeping.swap(true, Ordering::AcqRel) {
            return;
        }
        if self.swept.as_ref().is_some_and(|(last, _)| *last != log) {
            self.files.forget();
        }
        let folders = std::mem::take(&mut self.files.finished);
        if whole {
            self.swept = Some((Arc::clone(&log), hour));
        }
        let sweeping = Arc::clone(&self.sweeping);
        let work = move || {
            // Of this thread alone: requests come first.
            rustix::process::nice(19).ok();
            match whole {
                true => sweep::everything(&log, now),
                false => folders.iter().for_each(|folder| sweep::folder(&log, folder, now)),
            }
            sweeping.store(false, Ordering::Release);
        };
        if let Err(error) = thread::Builder::new().name("bindery-log-old".to_owned()).spawn(work) {
            self.sweeping.store(false, Ordering::Release);
            error!(%error, "old logs are not put away: there is no thread for it");
        }
    }
}

fn target(log: &AccessLog, site: SiteId) -> Target {
    let folder = match log.shared {
        true => log.folder.clone(),
        false => log.folder.join(format!("W3SVC{site}")),
    };
    Target::access(folder, log.format, log.shared, log.roll)
}

fn pieces(batches: &[Batch]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (place, batch) in batches.iter().enumerate() {
        let mut from = 0;
        for mark in &batch.marks {
            pieces.push(Piece {
                of: mark.of.clone(),
                hour: mark.hour,
                batch: place,
                from,
                to: mark.end,
                lines: mark.lines,
            });
            from = mark.end;
        }
    }
    pieces
}
