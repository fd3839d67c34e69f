//! Work that may wait for a disk, or for whoever is behind one: done on the blocking pool, in turn.
//! A file system that hangs (NFS or FUSE, whose server is gone) holds the threads that wait for it;
//! so a folder has only so many of them, and the file systems that are not known to be local have
//! only so many together. Everybody else goes on.

use std::{fs::File, io, sync::Arc};

use rustix::io::Errno;
use tokio::{runtime::Handle, sync::Semaphore, time::timeout};

use super::{cache::FileCache, root::Speed};
use crate::{blocking, limits};

/// The turns of one folder.
#[derive(Clone, Debug)]
pub(super) struct Turns {
    folder: Arc<Semaphore>,
    /// Of all file systems that may wait for somebody.
    slow: Arc<Semaphore>,
}

impl Turns {
    pub(super) fn new(cache: &FileCache) -> Self {
        let folder = Arc::new(Semaphore::new(limits::FOLDER_THREADS_MAX));
        Self { folder, slow: Arc::clone(cache.slow()) }
    }

    /// Runs `work` on the blocking pool when it is its turn, and waits for it as long as
    /// [`limits::DISK_TIMEOUT`]. It keeps its turn until it is over, even when nobody waits for it
    /// any more.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        speed: Speed,
        what: &'static str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let late = |_| {
            let text = format!("{what}: the disk did not answer in time");
            io::Error::new(io::ErrorKind::TimedOut, text)
        };
        timeout(limits::DISK_TIMEOUT, self.in_turn(speed, what, work)).await.map_err(late)?
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        speed: Speed,
        what: &'static str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let folder = Arc::clone(&self.folder).acquire_owned().await;
        let slow = match speed {
            Speed::Local => None,
            Speed::Slow => Some(Arc::clone(&self.slow).acquire_owned().await),
        };
        blocking::run(what, move || {
            let _turn = (folder, slow);
            work()
        })
        .await
    }
}

/// A file that is open for reading. Closing one may wait too, where its file system is not local:
/// that is left to the pool.
#[derive(Debug)]
pub(super) struct OpenFile {
    /// There until it is closed.
    file: Option<File>,
    turns: Turns,
    speed: Speed,
}

impl OpenFile {
    pub(super) fn new(file: File, turns: Turns, speed: Speed) -> Self {
        Self { file: Some(file), turns, speed }
    }

    /// Can a read be tried without waiting?
    pub(super) fn reads_at_once(&self) -> bool {
        self.speed == Speed::Local
    }

    pub(super) fn get(&self) -> Result<&File, Errno> {
        self.file.as_ref().ok_or(Errno::BADF)
    }

    /// Runs `work` with it on the pool.
    pub(super) async fn run<T: Send + 'static>(
        self: Arc<Self>,
        what: &'static str,
        work: impl FnOnce(&File) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let own = Arc::clone(&self);
        self.turns.run(self.speed, what, move || work(own.get()?)).await?
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        if self.speed == Speed::Local {
            return;
        }
        // Without a runtime nobody is served meanwhile.
        let (Some(file), Ok(runtime)) = (self.file.take(), Handle::try_current()) else { return };
        let turns = self.turns.clone();
        runtime.spawn(async move {
            turns.in_turn(Speed::Slow, "closing a file", move || drop(file)).await.ok();
        });
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::{io::Write as _, os::fd::OwnedFd};

    use super::*;

    pub(in super::super) fn open_file(file: File, speed: Speed) -> Arc<OpenFile> {
        Arc::new(OpenFile::new(file, Turns::new(&FileCache::default()), speed))
    }

    /// A file that tells when it is closed: nobody takes what is written then.
    fn pipe() -> (File, File) {
        let (reader, writer) = io::pipe().unwrap();
        (OwnedFd::from(reader).into(), OwnedFd::from(writer).into())
    }

    #[tokio::test]
    async fn a_file_whose_closing_may_wait_is_closed_by_the_pool_in_its_turn() {
        let turns = Turns::new(&FileCache::default());
        let all = u32::try_from(limits::FOLDER_THREADS_MAX).unwrap();
        let busy = turns.folder.acquire_many(all).await.unwrap();
        let (file, mut peer) = pipe();
        drop(OpenFile::new(file, turns.clone(), Speed::Slow));
        tokio::task::yield_now().await;
        peer.write_all(b"a").unwrap();
        drop(busy);
        while peer.write_all(b"a").is_ok() {
            tokio::task::yield_now().await;
        }
        let (file, mut peer) = pipe();
        drop(OpenFile::new(file, turns, Speed::Local));
        assert_eq!(peer.write_all(b"a").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_does_not_answer_is_given_up() {
        let turns = Turns::new(&FileCache::default());
        let all = u32::try_from(limits::FOLDER_THREADS_MAX).unwrap();
        let _busy = turns.folder.acquire_many(all).await.unwrap();
        let (file, _peer) = pipe();
        let file = Arc::new(OpenFile::new(file, turns.clone(), Speed::Local));
        let error = file.run("reading a file", |_| Ok(())).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(error.to_string(), "reading a file: the disk did not answer in time");
    }

    #[tokio::test]
    async fn a_folder_that_hangs_holds_its_threads_and_no_others() {
        let cache = FileCache::default();
        let (hanging, other) = (Turns::new(&cache), Turns::new(&cache));
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let stopped = Arc::new(std::sync::Mutex::new(stopped));
        let mut all = Vec::new();
        for _ in 0..2 * limits::FOLDER_THREADS_MAX {
            let (turns, stopped) = (hanging.clone(), Arc::clone(&stopped));
            all.push(tokio::spawn(async move {
                let hang = move || drop(stopped.lock().map(|until| until.recv()));
                turns.run(Speed::Slow, "hanging", hang).await
            }));
        }
        while hanging.folder.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(
            cache.slow().available_permits(),
            limits::SLOW_THREADS_MAX - limits::FOLDER_THREADS_MAX
        );
        assert_eq!(other.run(Speed::Slow, "reading", || 1).await.unwrap(), 1);
        // Who waited and gave up keeps its turn as long as its thread.
        all.iter().for_each(tokio::task::JoinHandle::abort);
        assert_eq!(hanging.folder.available_permits(), 0);
        drop(stop);
        while hanging.folder.available_permits() < limits::FOLDER_THREADS_MAX {
            tokio::task::yield_now().await;
        }
    }
}
