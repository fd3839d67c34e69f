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

use super::representation::Representation;
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

/// A small file and when it was last seen to be unchanged.
#[derive(Debug)]
pub(super) struct CachedFile {
    pub(super) representation: Representation,
    pub(super) content: Bytes,
    verified: AtomicU64,
}

impl CachedFile {
    /// The content and the validators get one allocation and so one reference count: each answer
    /// touches it, from every core, and a count is a cache line that travels between them.
    pub(super) fn new(mut representation: Representation, content: &[u8], read: Moment) -> Self {
        let etag = representation.etag.as_bytes();
        let last_modified = representation.last_modified.as_ref().map(HeaderValue::as_bytes);
        let pieces = [content, etag, last_modified.unwrap_or_default()];
        let mut rest = Bytes::from(pieces.concat());
        let content = rest.split_to(content.len());
        let etag = rest.split_to(etag.len());
        let last_modified = last_modified.map(|_| rest);
        // Both were values before, so they are again.
        if let Ok(etag) = HeaderValue::from_maybe_shared(etag) {
            representation.etag = etag;
        }
        if let Some(Ok(value)) = last_modified.map(HeaderValue::from_maybe_shared) {
            representation.last_modified = Some(value);
        }
        Self { representation, content, verified: AtomicU64::new(read.0) }
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
        (key.path.len() + file.content.len()) as u64 + limits::CACHED_FILE_OVERHEAD_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::{super::representation::tests::file, *};

    fn cached(length: usize, moment: Moment) -> Arc<CachedFile> {
        Arc::new(CachedFile::new(file(1, 1, 9), &vec![7; length], moment))
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
