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
mod folder;
mod listing;
mod mime;
mod multipart;
pub mod path;
mod pool;
pub mod probe;
pub mod range;
mod representation;
mod respond;
mod root;
pub mod stream;
#[cfg(test)]
mod tests;
pub mod told;
mod versions;

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use bindery_model::site::Files;
use http::{Method, Response, Version, request::Parts};

pub use self::{cache::FileCache, find::PERMISSION_DENIED};
use self::{
    cache::{CachedFile, Kept},
    find::FindError,
    folder::{Answer, Clock, Folder, LookError, Opened, Read},
    path::{PathError, RequestPath},
    respond::Content,
    root::Patience,
    stream::Reads,
};
use crate::{
    clock,
    http::{body::Body, error::RequestError},
};

/// Serves a folder.
#[derive(Debug)]
pub struct StaticFiles {
    folder: Arc<Folder>,
}

/// Methods that mean something for a file. OPTIONS is answered too, with this.
const ALLOW: &str = "GET, HEAD, OPTIONS";

impl StaticFiles {
    /// The files of a folder for a route at this path. Opens nothing: the folder is opened by the
    /// first request.
    #[must_use]
    pub fn new(route: &str, files: &Files, cache: Arc<FileCache>) -> Self {
        Self { folder: Arc::new(Folder::new(route, files, cache)) }
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
        let path = self.path_of(request.uri.path())?;
        Ok(match self.recall_at(request, &path, now) {
            Ok(answer) => FromMemory::Answer(answer?),
            Err(known) => FromMemory::AskDisk(path, known),
        })
    }

    /// The path of a target as that of a file below this route.
    fn path_of<'a>(&self, asked: &'a str) -> Result<RequestPath<'a>, RequestError> {
        path::parse(asked.as_bytes())
            .and_then(|path| path.below(&self.folder.route).ok_or(PathError::NotFound))
            .map_err(|error| refuse_path(error, asked))
    }

    /// The answer, if the file is in memory and was seen a moment ago. Otherwise what is there and
    /// must be looked at again.
    fn recall_at(
        &self,
        request: &Parts,
        path: &RequestPath<'_>,
        now: Instant,
    ) -> Result<Answered, Option<Arc<CachedFile>>> {
        let folder = &self.folder;
        let Some(file) = folder.cache.find(folder.number, path.decoded()) else {
            return Err(None);
        };
        if !file.is_verified(folder.cache.moment(now)) {
            return Err(Some(file));
        }
        // A large one must be opened.
        self.answer_kept(request, &file).ok_or(None)
    }

    fn answer_kept(&self, request: &Parts, file: &CachedFile) -> Option<Answered> {
        let Kept { representation, content } = file.versions.choose(&request.headers);
        let content = Content::Memory(content.as_ref()?);
        Some(respond::file(request, representation, content, self.folder.cache.boundary()))
    }

    async fn look(
        &self,
        request: &Parts,
        path: RequestPath<'_>,
        known: Option<Arc<CachedFile>>,
        clock: Clock,
    ) -> Result<Response<Body>, RequestError> {
        let answer = self.look_at(request, &path, known, clock).await;
        let nothing = FindError::NotFound;
        match (answer, &self.folder.fallback) {
            (Err(LookError::File(FindError::NotFound | FindError::NoDocument)), Some(fallback)) => {
                let answer = match self.recall_at(request, fallback, clock.now) {
                    Ok(answer) => return answer,
                    Err(known) => self.look_at(request, fallback, known, clock).await,
                };
                // Where that leads nowhere, there is nothing at the path that was asked for.
                let answer = answer.and_then(|found| found.ok_or(LookError::File(nothing)));
                answer.unwrap_or_else(|error| Err(self.failed(request.uri.path(), fallback, error)))
            }
            (Ok(Some(response)), _) => response,
            (Ok(None), _) => Ok(respond::to_folder(&request.uri)),
            (Err(error), _) => Err(self.failed(request.uri.path(), &path, error)),
        }
    }

    /// The answer from what is on disk now; nothing for a folder that was asked for without the
    /// slash at its end.
    async fn look_at(
        &self,
        request: &Parts,
        path: &RequestPath<'_>,
        known: Option<Arc<CachedFile>>,
        clock: Clock,
    ) -> Result<Option<Answered>, LookError> {
        let folder = &self.folder;
        // What changed between two looks is looked at once more, as if nothing were known of it.
        for known in [known, None] {
            match self.ask_disk(path, known.clone(), clock).await {
                Ok(Answer::Unchanged) => {
                    let answer = known.and_then(|file| self.answer_kept(request, &file));
                    if answer.is_some() {
                        return Ok(answer);
                    }
                }
                Ok(Answer::Found(read)) => {
                    self.keep(path, &read, known.is_some());
                    let Opened { kept, file } = read.versions.into_chosen(&request.headers);
                    let content = match (file, &kept.content) {
                        (Some(file), _) => {
                            let reads = self.reads(request, file.reads_at_once());
                            Content::Disk { file, reads }
                        }
                        (None, Some(content)) => Content::Memory(content),
                        (None, None) => continue,
                    };
                    let boundary = folder.cache.boundary();
                    let answer = respond::file(request, &kept.representation, content, boundary);
                    return Ok(Some(answer));
                }
                other => {
                    // What was there is no more.
                    if known.is_some() {
                        folder.cache.remove(folder.number, path.decoded());
                    }
                    return other.map(|answer| match answer {
                        Answer::Listing(page) => Some(Ok(respond::listing(request, &page))),
                        _ => None,
                    });
                }
            }
        }
        Err(FindError::WouldWait.into())
    }

    /// Without waiting if that is enough, or else on the blocking pool.
    async fn ask_disk(
        &self,
        path: &RequestPath<'_>,
        known: Option<Arc<CachedFile>>,
        clock: Clock,
    ) -> Result<Answer, LookError> {
        let answer = self.folder.look(path, known.as_deref(), clock, Patience::Never);
        if !matches!(answer, Err(LookError::File(FindError::WouldWait))) {
            return answer;
        }
        let (folder, path) = (Arc::clone(&self.folder), path.clone().into_owned());
        let (turns, speed) = (&self.folder.turns, self.folder.place.speed());
        let look = move || folder.look(&path, known.as_deref(), clock, Patience::Wait);
        turns
            .run(speed, "looking for a file", look)
            .await
            .unwrap_or_else(|error| Err(LookError::File(FindError::Failed(error))))
    }

    /// Many small frames are made of what is read for HTTP/2, so large reads gain nothing there.
    fn reads(&self, request: &Parts, at_once: bool) -> Reads {
        let bursts = self.folder.cache.bursts();
        Reads { at_once, bursts: (request.version < Version::HTTP_2).then(|| Arc::clone(bursts)) }
    }

    /// Keeps a file in memory if any version of it is small.
    fn keep(&self, path: &RequestPath<'_>, Read { versions, moment, .. }: &Read, was_kept: bool) {
        let folder = &self.folder;
        if versions.all().any(|version| version.kept.content.is_some()) {
            let file = CachedFile::new(versions.map(|version| version.kept.clone()), *moment);
            folder.cache.insert(folder.number, path.decoded(), Arc::new(file));
        } else if was_kept {
            // It has become too large.
            folder.cache.remove(folder.number, path.decoded());
        }
    }

    /// Why there is no answer.
    fn failed(&self, asked: &str, path: &RequestPath<'_>, error: LookError) -> RequestError {
        let asked = || asked.to_owned();
        let root = self.folder.place.path();
        let file = || -> PathBuf { root.join(Path::new(OsStr::from_bytes(path.relative()))) };
        match error {
            LookError::File(FindError::NotFound) => {
                RequestError::NotFound { path: asked(), sub: 0 }
            }
            LookError::File(FindError::Hidden) => {
                RequestError::NotFound { path: asked(), sub: HIDDEN }
            }
            LookError::File(FindError::UnknownType) => {
                RequestError::NotFound { path: asked(), sub: 3 }
            }
            LookError::File(FindError::NoDocument) => {
                let reason = "no default document, and no listing";
                RequestError::Forbidden { path: asked(), reason, sub: 14 }
            }
            LookError::File(FindError::Refused(reason)) => {
                RequestError::Forbidden { path: asked(), reason, sub: 0 }
            }
            LookError::File(FindError::Failed(source)) => {
                RequestError::File { path: file(), source }
            }
            // It could not be opened however often the kernel was asked.
            LookError::File(FindError::WouldWait) => {
                RequestError::File { path: file(), source: rustix::io::Errno::AGAIN.into() }
            }
            LookError::Root(source) => {
                RequestError::File { path: root.clone(), source: source.into() }
            }
        }
    }
}

/// How IIS numbers a name that is hidden beside its 404.
const HIDDEN: u8 = 8;

/// What a file was answered with: its conditions may fail.
type Answered = Result<Response<Body>, RequestError>;

/// What can be said of a request without asking the disk.
enum FromMemory<'a> {
    Answer(Response<Body>),
    /// The path, and what is in memory and must be looked at again.
    AskDisk(RequestPath<'a>, Option<Arc<CachedFile>>),
}

fn refuse_path(error: PathError, asked: &str) -> RequestError {
    match error {
        PathError::Malformed(reason) => RequestError::BadRequest { reason },
        PathError::NotFound => RequestError::NotFound { path: asked.to_owned(), sub: 0 },
        PathError::Hidden => RequestError::NotFound { path: asked.to_owned(), sub: HIDDEN },
        PathError::TooLong => RequestError::UriTooLong,
    }
}
