//! Certificates in memory: read when first asked for, once for all who wait, bounded in bytes, and
//! read again when their files change. It outlives every snapshot.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Instant, SystemTime},
};

use bindery_model::certificate::CertificateFiles;
use quick_cache::{Weighter, sync::Cache};
use tracing::{error, info};

use crate::{
    blocking,
    limits::{CERTIFICATE_CACHE_BYTES, CERTIFICATE_RETRY_DELAY, CERTIFICATE_SWEEP_FILES},
    tls::keys::{self, Certificate, CertificateError, FileStamp},
};

/// Certificates in memory.
pub struct CertificateCache {
    cache: Cache<CertificateFiles, Entry, Weight>,
    /// What could not be read when it was last tried, with what was said of it: said once.
    said: Mutex<HashMap<CertificateFiles, String>>,
}

/// What reading came to.
#[derive(Clone)]
enum Entry {
    Good(Arc<Certificate>),
    Bad(Arc<Failure>),
}

struct Failure {
    error: Arc<CertificateError>,
    since: Instant,
    /// The files as they were, or were not.
    stamp: FileStamp,
}

/// About what an entry takes: its chain, and the key and the maps around it.
#[derive(Clone)]
struct Weight;

/// A parsed P-256 key and its bookkeeping, measured; RSA keys take twice as much.
const ENTRY_BYTES: u64 = 2 * 1024;

impl Weighter<CertificateFiles, Entry> for Weight {
    fn weight(&self, files: &CertificateFiles, entry: &Entry) -> u64 {
        let chain = match entry {
            Entry::Good(certificate) => certificate.key.cert.iter().map(|der| der.len()).sum(),
            Entry::Bad(_) => 0,
        };
        ENTRY_BYTES + (chain + files.file.as_os_str().len()) as u64
    }
}

impl Default for CertificateCache {
    fn default() -> Self {
        let estimated = CERTIFICATE_CACHE_BYTES / (2 * ENTRY_BYTES);
        let estimated = usize::try_from(estimated).unwrap_or(usize::MAX);
        let cache = Cache::with_weighter(estimated, CERTIFICATE_CACHE_BYTES, Weight);
        Self { cache, said: Mutex::default() }
    }
}

impl CertificateCache {
    /// The certificate of these files. A hit takes no await; of those who miss at the same time
    /// one reads and the others wait for it.
    ///
    /// # Errors
    ///
    /// What reading said, for [`CERTIFICATE_RETRY_DELAY`] after it did.
    pub async fn get(
        &self,
        files: &CertificateFiles,
    ) -> Result<Arc<Certificate>, Arc<CertificateError>> {
        match self.cache.get(files) {
            Some(Entry::Good(certificate)) => return Ok(certificate),
            Some(Entry::Bad(failure)) if failure.since.elapsed() < CERTIFICATE_RETRY_DELAY => {
                return Err(Arc::clone(&failure.error));
            }
            Some(Entry::Bad(_)) => {
                self.cache.remove(files);
            }
            None => {}
        }
        let entry = match self.cache.get_value_or_guard_async(files).await {
            Ok(entry) => entry,
            Err(guard) => {
                let entry = read(files.clone()).await;
                match &entry {
                    Entry::Good(_) => self.unsay(files),
                    Entry::Bad(failure) => self.say(files, &failure.error),
                }
                // It fails only if the entry was replaced meanwhile; what was read still holds.
                drop(guard.insert(entry.clone()));
                entry
            }
        };
        match entry {
            Entry::Good(certificate) => Ok(certificate),
            Entry::Bad(failure) => Err(Arc::clone(&failure.error)),
        }
    }

    /// Looks at the files of up to [`CERTIFICATE_SWEEP_FILES`] entries, from the one where the
    /// last round stopped, and reads those again that changed. One that cannot be read any more
    /// is served on as it was: better an old certificate than none. Gives where to go on.
    pub async fn sweep(&self, from: usize) -> usize {
        let round: Vec<_> = self.cache.iter().skip(from).take(CERTIFICATE_SWEEP_FILES).collect();
        let next = if round.len() < CERTIFICATE_SWEEP_FILES { 0 } else { from + round.len() };
        if round.is_empty() {
            return 0;
        }
        let changed = blocking::run("look at certificate files", move || {
            round.into_iter().filter(|(files, entry)| entry.is_stale(files)).collect::<Vec<_>>()
        });
        for (files, old) in changed.await.unwrap_or_default() {
            match (read(files.clone()).await, old) {
                (Entry::Good(new), _) => {
                    info!(file = %files.file.display(), "certificate read again, its file changed");
                    self.unsay(&files);
                    self.cache.insert(files, Entry::Good(new));
                }
                (Entry::Bad(failure), Entry::Good(_)) => self.say(&files, &failure.error),
                (bad @ Entry::Bad(_), Entry::Bad(_)) => self.cache.insert(files, bad),
            }
        }
        next
    }

    /// Says what is wrong with a certificate, once until it is something else.
    fn say(&self, files: &CertificateFiles, error: &Arc<CertificateError>) {
        let text = crate::text_of(error.as_ref());
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.get(files) != Some(&text) {
            error!(file = %files.file.display(), error = %text, "certificate cannot be used");
            said.insert(files.clone(), text);
        }
    }

    fn unsay(&self, files: &CertificateFiles) {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).remove(files);
    }

    /// Forgets all but those that are `wanted`.
    pub(crate) fn retain(&self, wanted: impl Fn(&CertificateFiles) -> bool) {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).retain(|files, _| wanted(files));
        self.cache.retain(|files, _| wanted(files));
    }

    /// What could not be read, with why, as far as it was asked for.
    pub fn problems(&self) -> Vec<(CertificateFiles, String)> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.iter().map(|(files, text)| (files.clone(), text.clone())).collect()
    }

    /// When those in memory expire.
    pub(crate) fn expiries(&self) -> impl Iterator<Item = SystemTime> {
        self.cache.iter().filter_map(|(_, entry)| match entry {
            Entry::Good(certificate) => Some(certificate.facts.not_after),
            Entry::Bad(_) => None,
        })
    }

    /// How many are in memory.
    pub fn count(&self) -> usize {
        self.cache.len()
    }
}

impl Entry {
    fn is_stale(&self, files: &CertificateFiles) -> bool {
        match self {
            Self::Good(certificate) => certificate.stamp.changed(files),
            Self::Bad(failure) => failure.stamp.changed(files),
        }
    }
}

async fn read(files: CertificateFiles) -> Entry {
    let bad = |error, stamp| {
        Entry::Bad(Arc::new(Failure { error: Arc::new(error), since: Instant::now(), stamp }))
    };
    let stamp_and_result = blocking::run("read a certificate", {
        let files = files.clone();
        move || (FileStamp::of(&files), keys::load(&files))
    });
    match stamp_and_result.await {
        Ok((_, Ok(certificate))) => Entry::Good(Arc::new(certificate)),
        Ok((stamp, Err(error))) => bad(error, stamp),
        Err(source) => {
            let path = files.file.clone();
            bad(CertificateError::Read { path, source }, FileStamp::of(&files))
        }
    }
}
