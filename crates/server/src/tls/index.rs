//! What is in the certificates that a configuration names: who covers a name, who has a
//! thumbprint. Needed only where a binding does not say itself which file it wants; read once, in
//! the background or by the first who asks, while the others wait for it; and again when files
//! change.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, OnceLock, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use bindery_model::{
    apart::middles,
    certificate::{CertificateId, CertificateSource},
    name::HostName,
};
use tokio::sync::OnceCell;
use tracing::error;

use crate::{
    blocking,
    limits::CERTIFICATE_SWEEP_FILES,
    tls::keys::{self, CertificateError, CertificateFacts, FileStamp, KeyKind},
};

/// The certificates of a configuration by what is in them.
#[derive(Default)]
pub struct CertificateIndex {
    first: OnceCell<Arc<IndexedCertificates>>,
    /// What was read since, after files had changed.
    newer: RwLock<Option<Arc<IndexedCertificates>>>,
}

/// What was found in them.
#[derive(Clone, Default)]
pub struct IndexedCertificates {
    /// For each certificate of the configuration, in its order; nothing for one that was not read
    /// because nobody asks for it.
    pub entries: Vec<Option<Entry>>,
    /// What the file system said of the files of each.
    stamps: Vec<Option<Arc<FileStamp>>>,
    found: OnceLock<Found>,
}

/// Who has what is in a certificate. Made when it is first asked for, or before, where somebody
/// will ask who must not wait.
#[derive(Clone, Default)]
struct Found {
    by_name: HashMap<String, Vec<CertificateId>>,
    by_thumbprint: HashMap<[u8; 20], CertificateId>,
    by_fingerprint: HashMap<[u8; 32], CertificateId>,
}

impl CertificateIndex {
    /// What is in `sources`, read by the first who asks.
    pub async fn get(&self, sources: &[CertificateSource]) -> Arc<IndexedCertificates> {
        if let Some(newer) = &*self.newer.read().unwrap_or_else(PoisonError::into_inner) {
            return Arc::clone(newer);
        }
        let read = || async {
            let sources = sources.to_vec();
            let index =
                blocking::run("read all certificates", move || IndexedCertificates::read(&sources));
            Arc::new(index.await.unwrap_or_else(|error| {
                error!(%error, "the certificates could not be read");
                IndexedCertificates::default()
            }))
        };
        Arc::clone(self.first.get_or_init(read).await)
    }

    /// What is in `sources`; who asks first reads, and blocks.
    pub(crate) fn get_now(&self, sources: &[CertificateSource]) -> Arc<IndexedCertificates> {
        if let Some(known) = self.known() {
            return known;
        }
        let read = Arc::new(IndexedCertificates::read(sources));
        // Where somebody else reads at this moment, both have read the same.
        drop(self.first.set(Arc::clone(&read)));
        read
    }

    /// What was read, if anybody has asked.
    pub(crate) fn known(&self) -> Option<Arc<IndexedCertificates>> {
        let newer = self.newer.read().unwrap_or_else(PoisonError::into_inner).clone();
        newer.or_else(|| self.first.get().cloned())
    }

    /// An index of which this much is known.
    pub(crate) fn of(known: Arc<IndexedCertificates>) -> Self {
        Self { first: OnceCell::new_with(Some(known)), newer: RwLock::default() }
    }

    /// Looks at the files of up to [`CERTIFICATE_SWEEP_FILES`] certificates, from the one where
    /// the last round stopped, and reads those again that changed. Gives where to go on. Nothing
    /// is done before the index was first asked for. Blocks.
    pub(crate) fn refresh(&self, sources: &[CertificateSource], from: usize) -> usize {
        let Some(known) = self.known() else { return 0 };
        let round = sources.iter().enumerate().skip(from).take(CERTIFICATE_SWEEP_FILES);
        if let Some(next) = known.refreshed(round) {
            *self.newer.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(next));
        }
        let next = from + CERTIFICATE_SWEEP_FILES;
        if next < sources.len() { next } else { 0 }
    }
}

/// What is in a certificate, or why that cannot be said.
pub type Entry = Result<Arc<CertificateFacts>, Arc<CertificateError>>;

/// The stamp is taken before the files are read: what changes meanwhile is read again.
fn read_one(source: &CertificateSource) -> (Option<Arc<FileStamp>>, Option<Entry>) {
    let stamp = Arc::new(FileStamp::of(&source.files));
    let entry = keys::load(&source.files).map(|certificate| Arc::new(certificate.facts));
    (Some(stamp), Some(entry.map_err(Arc::new)))
}

impl IndexedCertificates {
    /// Reads all files. Blocks. What cannot be read keeps its error in its place.
    #[must_use]
    pub fn read(sources: &[CertificateSource]) -> Self {
        let (stamps, entries) = sources.iter().map(read_one).unzip();
        Self { entries, stamps, ..Self::default() }.ready()
    }

    /// Whether all of them were read.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.entries.iter().all(Option::is_some)
    }

    /// Reads those at `places` only. Blocks.
    #[must_use]
    pub fn read_some(sources: &[CertificateSource], places: &HashSet<usize>) -> Self {
        let read = |(source, place)| match places.contains(&place) {
            true => read_one(source),
            false => (None, None),
        };
        let (stamps, entries) = sources.iter().zip(0..).map(read).unzip();
        Self { entries, stamps, ..Self::default() }
    }

    /// The index of `sources`, of which `before` is known of `known`: only what is not among those
    /// is read. Blocks.
    #[must_use]
    pub fn after(
        known: &Arc<Self>,
        before: &[CertificateSource],
        sources: &[CertificateSource],
    ) -> Arc<Self> {
        let (old, new) = middles(before, sources, |old, new| old.files == new.files);
        if old.is_empty() && new.is_empty() {
            return Arc::clone(known);
        }
        let others = before.iter().zip(0..).take(old.end).skip(old.start);
        let others: HashMap<_, usize> =
            others.map(|(source, place)| (&source.files, place)).collect();
        let kept = |source: &CertificateSource, place: usize| {
            let place = match place {
                _ if place < new.start => place,
                _ if place >= new.end => place - new.end + old.end,
                _ => *others.get(&source.files)?,
            };
            Some((known.stamps.get(place)?.clone(), known.entries.get(place)?.clone()))
        };
        let read = |(source, place)| kept(source, place).unwrap_or_else(|| read_one(source));
        let (stamps, entries) = sources.iter().zip(0..).map(read).unzip();
        Arc::new(Self { entries, stamps, ..Self::default() })
    }

    /// The same with those of `round` read again whose files changed; `None` when none did. One
    /// that cannot be read any more stays as it was, as in the cache.
    fn refreshed<'a>(
        &self,
        round: impl Iterator<Item = (usize, &'a CertificateSource)>,
    ) -> Option<Self> {
        let mut next = None;
        for (place, source) in round {
            let (Some(Some(stamp)), Some(Some(entry))) =
                (self.stamps.get(place), self.entries.get(place))
            else {
                break;
            };
            if !stamp.changed(&source.files) {
                continue;
            }
            let (stamp, read) = read_one(source);
            if matches!(read, Some(Err(_))) && entry.is_ok() {
                continue;
            }
            let next = next.get_or_insert_with(|| self.clone());
            if let (Some(own), Some(known)) =
                (next.entries.get_mut(place), next.stamps.get_mut(place))
            {
                (*own, *known) = (read, stamp);
            }
        }
        next.map(|next| Self { found: OnceLock::new(), ..next }.ready())
    }

    /// The same, with all made that anybody may ask for.
    fn ready(self) -> Self {
        self.prepare();
        self
    }

    /// Makes all that anybody may ask for, so that nobody who is served waits for it.
    pub(crate) fn prepare(&self) {
        self.found();
    }

    fn found(&self) -> &Found {
        self.found.get_or_init(|| {
            let mut found = Found::default();
            for (place, entry) in (0..).zip(&self.entries) {
                if let Some(Ok(facts)) = entry {
                    found.add(CertificateId(place), facts);
                }
            }
            found
        })
    }

    /// The certificate whose leaf has this SHA-1.
    #[must_use]
    pub fn thumbprint(&self, thumbprint: &[u8; 20]) -> Option<CertificateId> {
        self.found().by_thumbprint.get(thumbprint).copied()
    }

    /// The certificate whose leaf has this SHA-256.
    #[must_use]
    pub fn fingerprint(&self, fingerprint: &[u8; 32]) -> Option<CertificateId> {
        self.found().by_fingerprint.get(fingerprint).copied()
    }

    /// The facts of a certificate that could be read.
    #[must_use]
    pub fn facts(&self, id: CertificateId) -> Option<&CertificateFacts> {
        self.entries.get(id.0 as usize)?.as_ref()?.as_deref().ok()
    }

    /// The best certificates for `name`, at most one of each kind of key, best first: valid now
    /// before not, the exact name before a wildcard, then the one that lasts longest.
    #[must_use]
    pub fn best(&self, name: &HostName, now: SystemTime) -> Vec<CertificateId> {
        let by_name = &self.found().by_name;
        let exact = by_name.get(name.as_str());
        let parent = name.parent().and_then(|parent| by_name.get(&format!("*.{parent}")));
        self.ranked(exact, parent, now)
    }

    /// The best certificates for a whole wildcard `*.parent`, ranked as by [`Self::best`].
    #[must_use]
    pub fn best_for_wildcard(&self, parent: &HostName, now: SystemTime) -> Vec<CertificateId> {
        self.ranked(None, self.found().by_name.get(&format!("*.{parent}")), now)
    }

    fn ranked(
        &self,
        exact: Option<&Vec<CertificateId>>,
        wildcard: Option<&Vec<CertificateId>>,
        now: SystemTime,
    ) -> Vec<CertificateId> {
        let all = [(exact, true), (wildcard, false)];
        let mut ranked: Vec<_> = all
            .into_iter()
            .flat_map(|(ids, exact)| ids.into_iter().flatten().map(move |id| (*id, exact)))
            .filter_map(|(id, exact)| {
                let facts = self.facts(id)?;
                let valid = facts.not_before <= now && now < facts.not_after;
                let lasts = facts
                    .not_after
                    .duration_since(SystemTime::UNIX_EPOCH)
                    .unwrap_or(Duration::ZERO);
                let rsa = matches!(facts.key_kind, KeyKind::Rsa(_));
                Some(((valid, exact, lasts), rsa, id))
            })
            .collect();
        // The first of the file wins where all else is equal: the sort is stable.
        ranked.sort_by_key(|(rank, _, _)| std::cmp::Reverse(*rank));
        let mut chosen: Vec<(bool, CertificateId)> = Vec::new();
        for (_, rsa, id) in ranked {
            if !chosen.iter().any(|(other, _)| *other == rsa) {
                chosen.push((rsa, id));
            }
        }
        // Elliptic curves first: cheaper for both ends, for all who can verify them.
        chosen.sort_by_key(|(rsa, _)| *rsa);
        chosen.into_iter().map(|(_, id)| id).collect()
    }
}

impl Found {
    fn add(&mut self, id: CertificateId, facts: &CertificateFacts) {
        for name in &facts.names {
            self.by_name.entry(name.clone()).or_default().push(id);
        }
        self.by_thumbprint.entry(facts.thumbprint).or_insert(id);
        self.by_fingerprint.entry(facts.fingerprint).or_insert(id);
    }
}
