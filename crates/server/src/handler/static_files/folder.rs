//! One folder with its settings, and what a path leads to in it now. Everything here makes system
//! calls; with [`Patience::Never`] none of them waits.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use bindery_model::{decide::rewrite::PathMatcher, site::Files};
use bytes::Bytes;
use http::HeaderValue;

use super::{
    cache::{CachedFile, FileCache, Kept, Moment},
    find::{self, FindError, Found, Loaded, Named, Search, Source},
    listing::LastListing,
    mime::MediaTypes,
    path::RequestPath,
    pool::{OpenFile, Turns},
    representation::Description,
    root::{Access, Patience, Root, RootPlace},
    versions::Versions,
};

/// A folder and how its files are sent.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) place: RootPlace,
    /// For work that may wait.
    pub(super) turns: Turns,
    /// Below which path of its site it is served.
    pub(super) route: String,
    default_documents: Vec<String>,
    pub(super) hidden: Arc<[String]>,
    listing: Option<LastListing>,
    /// What answers where nothing is found.
    pub(super) fallback: Option<RequestPath<'static>>,
    precompressed: bool,
    types: MediaTypes,
    cache_control: Vec<(PathMatcher, Caching)>,
    pub(super) cache: Arc<FileCache>,
    /// Our files in the cache.
    pub(super) number: u64,
}

/// What a path leads to now.
pub(super) enum Answer {
    /// The file in memory, as it is.
    Unchanged,
    /// What was read.
    Found(Box<Read>),
    /// A folder, asked for without the slash at its end.
    Folder,
    Listing(Bytes),
}

/// A file that was read.
pub(super) struct Read {
    /// Its path below the root.
    pub(super) name: Vec<u8>,
    pub(super) versions: Versions<Opened>,
    /// When.
    pub(super) moment: Moment,
}

/// A version of a file, ready to be sent.
pub(super) struct Opened {
    pub(super) kept: Kept,
    /// Where its bytes are if they are not in memory.
    pub(super) file: Option<OpenFile>,
}

pub(super) enum LookError {
    File(FindError),
    Root(rustix::io::Errno),
}

impl From<FindError> for LookError {
    fn from(error: FindError) -> Self {
        Self::File(error)
    }
}

/// `Cache-Control` and `Expires`. The latter boxed, for hardly anybody has it.
type Caching = (Option<HeaderValue>, Option<Box<HeaderValue>>);

/// When a request is answered.
#[derive(Clone, Copy)]
pub(super) struct Clock {
    pub(super) now: Instant,
    /// The time of day, asked for only when a file is read: time stamps are compared with it.
    pub(super) wall: fn() -> SystemTime,
}

impl Folder {
    pub(super) fn new(route: &str, files: &Files, cache: Arc<FileCache>) -> Self {
        let mut default_documents = files.default_documents.clone();
        default_documents.retain(|name| is_name(name));
        let fallback = files.fallback.as_deref().map(|path| path.trim_start_matches('/'));
        let fallback = fallback.filter(|name| is_name(name));
        let rules = files.cache_control.iter().filter_map(|rule| {
            let matcher = PathMatcher::new(&rule.path).ok()?;
            let value = HeaderValue::try_from(&rule.value).ok()?;
            let expires = rule.expires.as_ref().and_then(|own| HeaderValue::try_from(own).ok());
            Some((matcher, ((!value.is_empty()).then_some(value), expires.map(Box::new))))
        });
        let number = cache.next_root();
        Self {
            place: RootPlace::new(files.root.clone(), files.symlinks),
            turns: Turns::new(&cache),
            route: route.to_owned(),
            default_documents,
            hidden: Arc::clone(&files.hidden),
            listing: files.listing.then(LastListing::default),
            fallback: fallback.map(|name| RequestPath::of_file(route, name)),
            precompressed: files.precompressed,
            types: MediaTypes::new(files),
            cache_control: rules.collect(),
            cache,
            number,
        }
    }

    pub(super) fn look(
        &self,
        path: &RequestPath<'_>,
        known: Option<&CachedFile>,
        clock: Clock,
        patience: Patience,
    ) -> Result<Answer, LookError> {
        // Both times are taken before the look: what is seen is at least as new.
        let moment = self.cache.moment(clock.now);
        let wall = (clock.wall)();
        let root = self.place.open(clock.now, patience).map_err(|error| match error {
            rustix::io::Errno::AGAIN => LookError::File(FindError::WouldWait),
            error => LookError::Root(error),
        })?;
        let search = |access| {
            let documents = &self.default_documents;
            let (hidden, siblings) = (&*self.hidden, self.precompressed);
            Search { documents, hidden, siblings, access, patience }
        };
        if let Some(known) = known
            && known.versions.all().all(|kept| kept.representation.settled)
            && let Found::File(found) = find::find(&root, path, search(Access::Look))?
            && found.versions.are(&known.versions, |a, b| a.stamp == b.representation.stamp)
        {
            known.set_verified(moment);
            return Ok(Answer::Unchanged);
        }
        let found = match find::find(&root, path, search(Access::Read)) {
            Ok(Found::File(found)) => found,
            Ok(Found::Folder) => return Ok(Answer::Folder),
            Err(FindError::NoDocument) => return self.list(&root, path, clock.now, patience),
            Err(error) => return Err(error.into()),
        };
        let described = self.describe(&found.name).ok_or(FindError::UnknownType)?;
        let Named { name, versions } = found;
        let varies = versions.vary();
        let opened = versions.try_map_into(|coding, file| {
            let Loaded { mut representation, source } =
                find::load(file, &described, wall, patience)?;
            if let Some(coding) = coding {
                representation = representation.encoded(coding);
            }
            representation.varies = varies;
            let (content, file) = match source {
                Source::Memory(content) => (Some(content), None),
                Source::Disk(file) => {
                    let speed = root.speed_of(representation.stamp.device());
                    (None, Some(OpenFile::new(file, self.turns.clone(), speed)))
                }
            };
            let kept = Kept::new(representation, content.as_deref());
            Ok::<_, FindError>(Opened { kept, file })
        })?;
        Ok(Answer::Found(Box::new(Read { name, versions: opened, moment })))
    }

    fn list(
        &self,
        root: &Root,
        path: &RequestPath<'_>,
        now: Instant,
        patience: Patience,
    ) -> Result<Answer, LookError> {
        let listing = self.listing.as_ref().ok_or(FindError::NoDocument)?;
        if let Some(page) = listing.find(path, now) {
            return Ok(Answer::Listing(page));
        }
        if patience == Patience::Never {
            return Err(FindError::WouldWait.into());
        }
        let page = listing.make(root, path, &self.hidden, now).map_err(FindError::from)?;
        Ok(Answer::Listing(page))
    }

    /// What is said of the file with this name; nothing if its type is not sent.
    fn describe(&self, name: &[u8]) -> Option<Description> {
        let content_type = self.types.of(name)?;
        let (mut cache_control, mut expires) = (None, None);
        if !self.cache_control.is_empty() {
            let route = if self.route == "/" { "" } else { &self.route };
            let path = [route.as_bytes(), b"/", name].concat();
            let rule = self.cache_control.iter().find(|(matcher, _)| matcher.fits(&path));
            if let Some((_, caching)) = rule {
                (cache_control, expires) = caching.clone();
            }
        }
        Some(Description { content_type, cache_control, expires })
    }
}

/// Whether it can be the name of a file below a root: as those that a request can have.
fn is_name(name: &str) -> bool {
    let is_segment = |segment: &str| !matches!(segment, "" | "." | "..");
    !name.contains('\0') && name.split('/').all(is_segment)
}
