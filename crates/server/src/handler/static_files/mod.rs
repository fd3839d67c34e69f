//! Files from a folder: names to files, small files from memory, large ones streamed, conditions
//! and ranges. It knows one root and its settings, and nothing of sites, hosts or connections.
//!
//! A request takes the shortest of three ways:
//!
//! 1. The file is in memory and was seen unchanged less than [`limits::FILE_VERIFIED_FOR`] ago: no
//!    system call.
//! 2. The kernel can answer from its caches: a few system calls on the reactor's thread, none of
//!    which waits.
//! 3. Otherwise the same calls are made on the blocking pool.

mod cache;
mod conditional;
mod find;
mod mime;
pub mod path;
pub mod probe;
pub mod range;
mod representation;
mod respond;
mod root;
pub mod stream;
#[cfg(test)]
mod tests;

use std::{
    ffi::OsStr,
    fs::File,
    os::unix::ffi::OsStrExt,
    path::Path,
    sync::Arc,
    time::{Instant, SystemTime},
};

use bindery_model::site::Files;
use http::{Method, Response, request::Parts};

pub use self::cache::FileCache;
use self::{
    cache::CachedFile,
    find::{FindError, Found, Loaded},
    path::{PathError, RequestPath},
    representation::Representation,
    respond::Content,
    root::{Access, Patience, RootPlace},
};
use crate::{
    blocking, clock,
    http::{body::Body, error::RequestError},
};

/// Serves a folder.
#[derive(Debug)]
pub struct StaticFiles {
    folder: Arc<Folder>,
}

/// What the blocking pool needs too.
#[derive(Debug)]
struct Folder {
    place: RootPlace,
    default_documents: Vec<String>,
    cache: Arc<FileCache>,
    /// Our files in the cache.
    number: u64,
}

/// Methods that mean something for a file. OPTIONS is answered too, with this.
const ALLOW: &str = "GET, HEAD";

impl StaticFiles {
    /// Opens nothing: the folder is opened by the first request.
    #[must_use]
    pub fn new(_route: &str, files: &Files, cache: Arc<FileCache>) -> Self {
        let mut default_documents = files.default_documents.clone();
        // No file has such a name.
        default_documents.retain(|name| !name.is_empty() && !name.contains('\0'));
        let number = cache.next_root();
        let place = RootPlace::new(files.root.clone());
        Self { folder: Arc::new(Folder { place, default_documents, cache, number }) }
    }

    /// Answers a request by the path of its target. `Date` and `Server` are added later.
    ///
    /// # Errors
    ///
    /// For everything that has no file to send: see [`path`], [`RequestError::NotFound`],
    /// `Forbidden`, `MethodNotAllowed`, `PreconditionFailed`, `RangeNotSatisfiable`, `File`.
    pub async fn handle(&self, request: &Parts) -> Result<Response<Body>, RequestError> {
        self.handle_at(request, Clock { now: Instant::now(), wall: clock::now }).await
    }

    /// The answer to a request for a file that is in memory and was looked at a moment ago, or
    /// that no file can be the answer to. `None` where the disk must be asked.
    pub(crate) fn answer_now(
        &self,
        request: &Parts,
    ) -> Option<Result<Response<Body>, RequestError>> {
        match self.recall(request, Instant::now()) {
            Ok(FromMemory::Answer(response)) => Some(Ok(response)),
            Ok(FromMemory::AskDisk(..)) => None,
            Err(error) => Some(Err(error)),
        }
    }

    async fn handle_at(
        &self,
        request: &Parts,
        clock: Clock,
    ) -> Result<Response<Body>, RequestError> {
        match self.recall(request, clock.now)? {
            FromMemory::Answer(response) => Ok(response),
            // Boxed, so that the usual way does not carry its state.
            FromMemory::AskDisk(path, known) => {
                Box::pin(self.look(request, path, known, clock)).await
            }
        }
    }

    fn recall<'a>(&self, request: &'a Parts, now: Instant) -> Result<FromMemory<'a>, RequestError> {
        match request.method {
            Method::GET | Method::HEAD => {}
            Method::OPTIONS => return Ok(FromMemory::Answer(respond::options(ALLOW))),
            ref other => {
                return Err(RequestError::MethodNotAllowed { method: other.clone(), allow: ALLOW });
            }
        }
        let path = path::parse(request.uri.path().as_bytes())
            .map_err(|error| refuse_path(error, request))?;
        let folder = &self.folder;
        let known = folder.cache.find(folder.number, path.decoded());
        if let Some(file) = &known
            && file.is_verified(folder.cache.moment(now))
        {
            let content = Content::Memory(&file.content);
            return respond::file(request, &file.representation, content).map(FromMemory::Answer);
        }
        Ok(FromMemory::AskDisk(path, known))
    }

    async fn look(
        &self,
        request: &Parts,
        path: RequestPath<'_>,
        known: Option<Arc<CachedFile>>,
        clock: Clock,
    ) -> Result<Response<Body>, RequestError> {
        let folder = &self.folder;
        let mut answer = folder.look(&path, known.as_deref(), clock, Patience::Never);
        if matches!(answer, Err(LookError::File(FindError::WouldWait))) {
            let (folder, path, known) =
                (Arc::clone(folder), path.clone().into_owned(), known.clone());
            answer = blocking::run("looking for a file", move || {
                folder.look(&path, known.as_deref(), clock, Patience::Wait)
            })
            .await
            .unwrap_or_else(|error| Err(LookError::File(FindError::Failed(error))));
        }
        match (answer, known) {
            (Ok(Answer::Unchanged), Some(file)) => {
                respond::file(request, &file.representation, Content::Memory(&file.content))
            }
            (Ok(Answer::Small(file)), _) => {
                folder.cache.insert(folder.number, path.decoded(), Arc::clone(&file));
                respond::file(request, &file.representation, Content::Memory(&file.content))
            }
            (other, known) => {
                // What was there is no more, or has become too large.
                if known.is_some() {
                    folder.cache.remove(folder.number, path.decoded());
                }
                self.answer_from_disk(request, &path, other)
            }
        }
    }

    fn answer_from_disk(
        &self,
        request: &Parts,
        path: &RequestPath<'_>,
        answer: Result<Answer, LookError>,
    ) -> Result<Response<Body>, RequestError> {
        let asked = || request.uri.path().to_owned();
        let root = self.folder.place.path();
        match answer {
            Ok(Answer::Large { representation, file, at_once }) => {
                respond::file(request, &representation, Content::Disk { file, at_once })
            }
            Ok(Answer::Folder) => Ok(respond::to_folder(&request.uri)),
            Err(LookError::File(FindError::NotFound)) => {
                Err(RequestError::NotFound { path: asked() })
            }
            Err(LookError::File(FindError::Refused(reason))) => {
                Err(RequestError::Forbidden { path: asked(), reason })
            }
            Err(LookError::File(FindError::Failed(source))) => {
                let path = root.join(Path::new(OsStr::from_bytes(path.relative())));
                Err(RequestError::File { path, source })
            }
            Err(LookError::Root(source)) => {
                Err(RequestError::File { path: root.clone(), source: source.into() })
            }
            // Small files were answered before; what remains is a file that could not be opened
            // however often the kernel was asked.
            Ok(Answer::Unchanged | Answer::Small(_))
            | Err(LookError::File(FindError::WouldWait)) => {
                let path = root.join(Path::new(OsStr::from_bytes(path.relative())));
                Err(RequestError::File { path, source: rustix::io::Errno::AGAIN.into() })
            }
        }
    }
}

/// What can be said of a request without asking the disk.
enum FromMemory<'a> {
    Answer(Response<Body>),
    /// The path, and what is in memory and must be looked at again.
    AskDisk(RequestPath<'a>, Option<Arc<CachedFile>>),
}

/// What a path leads to now.
enum Answer {
    /// The file in memory, as it is.
    Unchanged,
    Small(Arc<CachedFile>),
    Large {
        representation: Box<Representation>,
        file: File,
        at_once: bool,
    },
    Folder,
}

enum LookError {
    File(FindError),
    Root(rustix::io::Errno),
}

impl From<FindError> for LookError {
    fn from(error: FindError) -> Self {
        Self::File(error)
    }
}

impl Folder {
    fn look(
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
        let find = |access| find::find(&root, path, &self.default_documents, access, patience);
        if let Some(known) = known
            && known.representation.settled
            && let Found::File(found) = find(Access::Look)?
            && found.stamp == known.representation.stamp
        {
            known.set_verified(moment);
            return Ok(Answer::Unchanged);
        }
        let found = match find(Access::Read)? {
            Found::File(found) => found,
            Found::Folder => return Ok(Answer::Folder),
        };
        Ok(match find::load(found, wall, patience)? {
            Loaded::Small(representation, content) => {
                Answer::Small(Arc::new(CachedFile::new(representation, &content, moment)))
            }
            Loaded::Large(representation, file) => {
                let representation = Box::new(representation);
                Answer::Large { representation, file, at_once: root.reads_at_once() }
            }
        })
    }
}

/// When a request is answered.
#[derive(Clone, Copy)]
struct Clock {
    now: Instant,
    /// The time of day, asked for only when a file is read: time stamps are compared with it.
    wall: fn() -> SystemTime,
}

fn refuse_path(error: PathError, request: &Parts) -> RequestError {
    match error {
        PathError::Malformed(reason) => RequestError::BadRequest { reason },
        PathError::NotFound => RequestError::NotFound { path: request.uri.path().to_owned() },
        PathError::TooLong => RequestError::UriTooLong,
    }
}
