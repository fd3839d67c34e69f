//! A small file of the configuration, kept in memory and read again when it has changed.

use std::{
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::blocking;

/// A file and what was made of it.
pub(crate) struct WatchedFile<T> {
    pub(crate) path: PathBuf,
    bytes_max: u64,
    /// It is believed to be as it was for so long.
    checked_for: Duration,
    make: fn(&Path, &[u8]) -> T,
    state: Mutex<State<T>>,
}

struct State<T> {
    checked: Option<Instant>,
    held: Held<T>,
}

enum Held<T> {
    Nothing,
    Made(Stamp, Arc<T>),
    Failed(io::ErrorKind, String),
}

/// What changes with a file.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl<T: Send + Sync + 'static> WatchedFile<T> {
    /// Reads nothing yet. `make` is called with the content whenever that has changed.
    pub(crate) fn new(
        path: PathBuf,
        bytes_max: u64,
        checked_for: Duration,
        make: fn(&Path, &[u8]) -> T,
    ) -> Self {
        let state = Mutex::new(State { checked: None, held: Held::Nothing });
        Self { path, bytes_max, checked_for, make, state }
    }

    /// What was made of it, where it was looked at a moment ago. Does not wait.
    pub(crate) fn recent(&self, now: Instant) -> Option<io::Result<Arc<T>>> {
        let state = self.state();
        let is_recent = now.saturating_duration_since(state.checked?) < self.checked_for;
        match &state.held {
            Held::Made(_, made) if is_recent => Some(Ok(Arc::clone(made))),
            Held::Failed(kind, text) if is_recent => Some(Err(io::Error::new(*kind, text.clone()))),
            Held::Made(..) | Held::Failed(..) | Held::Nothing => None,
        }
    }

    /// What can be made of it now. The second of a failure is whether it is a new one.
    pub(crate) async fn read(self: &Arc<Self>, now: Instant) -> Result<Arc<T>, (io::Error, bool)> {
        match self.recent(now) {
            Some(Ok(made)) => return Ok(made),
            Some(Err(error)) => return Err((error, false)),
            None => {}
        }
        let file = Arc::clone(self);
        match blocking::run("reading a file of a rule", move || file.look(now)).await {
            Ok(looked) => looked,
            Err(error) => Err((error, true)),
        }
    }

    fn look(&self, now: Instant) -> Result<Arc<T>, (io::Error, bool)> {
        self.look_at(now).map_err(|error| {
            let mut state = self.state();
            let failed = Held::Failed(error.kind(), error.to_string());
            let before = std::mem::replace(&mut state.held, failed);
            state.checked = Some(now);
            (error, !matches!(before, Held::Failed(..)))
        })
    }

    fn look_at(&self, now: Instant) -> io::Result<Arc<T>> {
        let found = std::fs::metadata(&self.path)?;
        // Another kind of file might never end, or not even open.
        if !found.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        let stamp = Stamp::of(&found);
        {
            let mut state = self.state();
            if let Held::Made(known, made) = &state.held
                && *known == stamp
            {
                let made = Arc::clone(made);
                state.checked = Some(now);
                return Ok(made);
            }
        }
        let mut content = Vec::new();
        let file = std::fs::File::open(&self.path)?;
        file.take(self.bytes_max + 1).read_to_end(&mut content)?;
        if content.len() as u64 > self.bytes_max {
            return Err(io::Error::other(format!("it is larger than {} bytes", self.bytes_max)));
        }
        let made = Arc::new((self.make)(&self.path, &content));
        let mut state = self.state();
        // With the stamp from before it was read: one that changed meanwhile is read again.
        *state = State { checked: Some(now), held: Held::Made(stamp, Arc::clone(&made)) };
        Ok(made)
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stamp {
    fn of(metadata: &std::fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn a_file_is_read_again_only_when_it_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let file =
            Arc::new(WatchedFile::new(path.clone(), 8, SECOND, |_, content| content.to_vec()));
        let mut now = Instant::now();
        assert!(file.recent(now).is_none());
        fs::write(&path, "one").unwrap();
        let one = file.read(now).await.unwrap();
        assert_eq!(*one, b"one");
        fs::write(&path, "three").unwrap();
        assert!(Arc::ptr_eq(&one, &file.recent(now).unwrap().unwrap()));
        now += SECOND;
        assert!(file.recent(now).is_none());
        let three = file.read(now).await.unwrap();
        assert_eq!(*three, b"three");
        now += SECOND;
        assert!(Arc::ptr_eq(&three, &file.read(now).await.unwrap()));
    }

    #[tokio::test]
    async fn a_failure_is_new_once_and_holds_until_the_file_is_looked_at_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let file =
            Arc::new(WatchedFile::new(path.clone(), 8, SECOND, |_, content| content.to_vec()));
        let mut now = Instant::now();
        let (error, is_new) = file.read(now).await.unwrap_err();
        assert_eq!((error.kind(), is_new), (io::ErrorKind::NotFound, true));
        fs::write(&path, "longer than 8").unwrap();
        assert!(!file.read(now).await.unwrap_err().1);
        assert!(file.recent(now).unwrap().is_err());
        now += SECOND;
        let (error, is_new) = file.read(now).await.unwrap_err();
        assert_eq!((error.to_string().as_str(), is_new), ("it is larger than 8 bytes", false));
        fs::write(&path, "8 bytes!").unwrap();
        now += SECOND;
        file.read(now).await.unwrap();
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        now += SECOND;
        let (error, is_new) = file.read(now).await.unwrap_err();
        assert_eq!((error.to_string().as_str(), is_new), ("it is no file", true));
    }
}
