//! Small files in memory: one cache for all sites of a process, bounded in bytes.
//! Only files that exist get in, under their decoded path, so that nobody fills it by inventing
//! names or spellings.

use std::{
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::HeaderValue;
use quick_cache::{Equivalent, Weighter, sync::Cache};
use tokio::sync::Semaphore;

use super::{multipart::Boundary, representation::Representation, versions::Versions};
use crate::limits;

/// The small files of all sites. Share one per process; its bound is
/// [`limits::FILE_CACHE_BYTES_MAX`].
#[derive(Debug)]
pub struct FileCache {
    files: Cache<Key, Arc<CachedFile>, Weight>,
    /// Times are kept as microseconds since then, which fit an atomic.
    started: Instant,
    /// Tells the roots apart: a number is given once.
    roots: AtomicU64,
    /// Between the parts of an answer with several.
    boundary: Boundary,
    /// Who may read much of a large file at once.
    bursts: Arc<Semaphore>,
    /// Who may wait for a file system that is not known to be local.
    slow: Arc<Semaphore>,
}

impl Default for FileCache {
    fn default() -> Self {
        Self::with_capacity(limits::FILE_CACHE_BYTES_MAX)
    }
}

impl FileCache {
    /// At least 64 of the largest files, or some of them never fit.
    pub(super) fn with_capacity(bytes: u64) -> Self {
        // What it makes room for at once; it grows on need.
        let files = 1024;
        Self {
            files: Cache::with_weighter(files, bytes, Weight),
            started: Instant::now(),
            roots: AtomicU64::new(0),
            boundary: Boundary::new(),
            bursts: Arc::new(Semaphore::new(limits::FILE_BURSTS_MAX)),
            slow: Arc::new(Semaphore::new(limits::SLOW_THREADS_MAX)),
        }
    }

    /// A number for a root folder and its settings.
    pub(super) fn next_root(&self) -> u64 {
        self.roots.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn find(&self, root: u64, path: &[u8]) -> Option<Arc<CachedFile>> {
        self.files.get(&BorrowedKey { root, path })
    }

    pub(super) fn insert(&self, root: u64, path: &[u8], file: Arc<CachedFile>) {
        self.files.insert(Key { root, path: path.into() }, file);
    }

    pub(super) fn remove(&self, root: u64, path: &[u8]) {
        self.files.remove(&BorrowedKey { root, path });
    }

    /// What stands between the parts of an answer that has several, as long as the process lives.
    pub(super) fn boundary(&self) -> &Boundary {
        &self.boundary
    }

    /// A stream that reads much at once holds a permit of these.
    pub(super) fn bursts(&self) -> &Arc<Semaphore> {
        &self.bursts
    }

    /// Who waits for a file system that is not known to be local holds a permit of these.
    pub(super) fn slow(&self) -> &Arc<Semaphore> {
        &self.slow
    }

    /// `now` as files remember it.
    pub(super) fn moment(&self, now: Instant) -> Moment {
        Moment(microseconds(now.saturating_duration_since(self.started)))
    }

    /// Bytes it counts now.
    pub(crate) fn weight(&self) -> u64 {
        self.files.weight()
    }

    /// How many it holds.
    pub(crate) fn len(&self) -> usize {
        self.files.len()
    }
}

/// Microseconds since the cache began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment(u64);

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A file, its encoded siblings, and when they were last seen to be unchanged and all that there
/// are. At least one is small.
#[derive(Debug)]
pub(super) struct CachedFile {
    pub(super) versions: Versions<Kept>,
    verified: AtomicU64,
}

/// What is kept of a file.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) representation: Representation,
    /// Its bytes if it is small.
    pub(super) content: Option<Bytes>,
}

impl CachedFile {
    pub(super) fn new(versions: Versions<Kept>, read: Moment) -> Self {
        Self { versions, verified: AtomicU64::new(read.0) }
    }

    /// May it be sent without another look at the file?
    pub(super) fn is_verified(&self, now: Moment) -> bool {
        let age = now.0.saturating_sub(self.verified.load(Ordering::Relaxed));
        u128::from(age) < limits::FILE_VERIFIED_FOR.as_micros()
    }

    /// It was seen to be unchanged at a time not before `now`.
    pub(super) fn set_verified(&self, now: Moment) {
        self.verified.fetch_max(now.0, Ordering::Relaxed);
    }
}

impl Kept {
    /// The content and the fields get one allocation and so one reference count: each answer
    /// touches it, from every core, and a count is a cache line that travels between them.
    pub(super) fn new(mut representation: Representation, content: Option<&[u8]>) -> Self {
        let Some(content) = content else { return Self { representation, content: None } };
        let Representation { etag, last_modified, cache_control, .. } = &mut representation;
        let mut fields: [Option<&mut HeaderValue>; 3] =
            [Some(etag), last_modified.as_mut(), cache_control.as_mut()];
        let mut all = content.to_vec();
        for field in fields.iter().flatten() {
            all.extend_from_slice(field.as_bytes());
        }
        let mut rest = Bytes::from(all);
        let content = rest.split_to(content.len());
        for field in fields.iter_mut().flatten() {
            // It was a value before, so it is again.
            if let Ok(value) = HeaderValue::from_maybe_shared(rest.split_to(field.len())) {
                **field = value;
            }
        }
        Self { representation, content: Some(content) }
    }

    fn bytes(&self) -> u64 {
        let content = self.content.as_ref().map_or(0, Bytes::len);
        content as u64 + limits::CACHED_FILE_OVERHEAD_BYTES
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    root: u64,
    path: Box<[u8]>,
}

/// Hashes as [`Key`] does, and needs no allocation.
#[derive(Hash)]
struct BorrowedKey<'a> {
    root: u64,
    path: &'a [u8],
}

impl Equivalent<Key> for BorrowedKey<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.root == key.root && *self.path == *key.path
    }
}

#[derive(Clone, Debug)]
struct Weight;

impl Weighter<Key, Arc<CachedFile>> for Weight {
    fn weight(&self, key: &Key, file: &Arc<CachedFile>) -> u64 {
        key.path.len() as u64 + file.versions.all().map(Kept::bytes).sum::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::representation::tests::file, *};
    use crate::http::accept::Coding;

    fn cached(length: usize, moment: Moment) -> Arc<CachedFile> {
        let kept = Kept::new(file(1, 1, 9), Some(&vec![7; length]));
        Arc::new(CachedFile::new(Versions::of(kept), moment))
    }

    #[test]
    fn a_file_is_found_under_its_root_and_path_only() {
        let cache = FileCache::default();
        let moment = cache.moment(Instant::now());
        let (one, two) = (cache.next_root(), cache.next_root());
        cache.insert(one, b"/a", cached(1, moment));
        assert!(cache.find(one, b"/a").is_some());
        assert!(cache.find(one, b"/b").is_none());
        assert!(cache.find(two, b"/a").is_none());
        cache.remove(one, b"/a");
        assert!(cache.find(one, b"/a").is_none());
    }

    #[test]
    fn fields_are_the_same_in_memory() {
        let mut before = file(1, 1, 9).encoded(Coding::Gzip);
        before.cache_control = Some(HeaderValue::from_static("no-cache"));
        let kept = Kept::new(before.clone(), Some(b"content"));
        assert_eq!(kept.content.as_deref(), Some(&b"content"[..]));
        let after = kept.representation;
        assert_eq!(after.etag, before.etag);
        assert_eq!(after.last_modified, before.last_modified);
        assert_eq!(after.cache_control, before.cache_control);
    }

    #[test]
    fn siblings_count_too() {
        let cache = FileCache::default();
        let moment = cache.moment(Instant::now());
        let mut versions = Versions::of(Kept::new(file(1, 1, 9), None));
        for coding in [Coding::Brotli, Coding::Gzip] {
            versions.add(coding, Kept::new(file(1, 1, 9), Some(&[7; 1000])));
        }
        cache.insert(0, b"/a", Arc::new(CachedFile::new(versions, moment)));
        assert_eq!(cache.weight(), 2 + 2000 + 3 * limits::CACHED_FILE_OVERHEAD_BYTES);
    }

    #[test]
    fn the_cache_never_holds_more_bytes_than_its_bound() {
        let bound = 8 * 1024 * 1024;
        let cache = FileCache::with_capacity(bound);
        let moment = cache.moment(Instant::now());
        for number in 0..1000 {
            let path = format!("/{number}");
            cache.insert(0, path.as_bytes(), cached(limits::CACHED_FILE_BYTES_MAX, moment));
            assert!(cache.weight() <= bound);
        }
        assert!(cache.len() > 64);
    }

    #[test]
    fn a_file_is_believed_unchanged_for_its_window_and_no_longer() {
        let cache = FileCache::default();
        let start = Instant::now();
        let at = |duration| cache.moment(start + duration);
        let file = cached(1, at(Duration::ZERO));
        let last = limits::FILE_VERIFIED_FOR - Duration::from_micros(1);
        assert!(file.is_verified(at(last)));
        assert!(!file.is_verified(at(limits::FILE_VERIFIED_FOR)));
        file.set_verified(at(last));
        file.set_verified(at(Duration::ZERO));
        assert!(file.is_verified(at(last + last)));
    }
}
