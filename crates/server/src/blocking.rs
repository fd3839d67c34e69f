//! Blocking work, file system above all. Nothing else does it: one pool, whose size is set where
//! the runtime is built ([`crate::limits::BLOCKING_THREADS_MAX`]), for what a client waits for; and
//! threads of low priority for what nobody who is served should feel.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::mpsc::{self, Sender},
    thread::{self, ThreadId},
};

use tokio::{runtime::Handle, sync::oneshot};
use tracing::warn;

use crate::scheduling;

/// Runs `work` on the blocking pool. A panic in it becomes an error that names `what`.
pub async fn run<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    #[allow(clippy::disallowed_methods, reason = "this is the one door to the pool")]
    let task = tokio::task::spawn_blocking(work);
    task.await.map_err(|error| io::Error::other(format!("{what}: {error}")))
}

/// A thread of low priority that does one thing after the other, and ends with this value. What
/// it has allocated is freed there too, and is at hand for the next thing.
pub struct Background {
    /// Nothing where there is no thread.
    thread: Option<(ThreadId, Sender<Job>)>,
}

type Job = Box<dyn FnOnce() + Send>;

impl Background {
    /// Starts it under a name that tools show. Where there can be no further thread, work is done
    /// where everything else is.
    #[must_use]
    pub fn start(name: &str) -> Self {
        let (jobs, asked) = mpsc::channel::<Job>();
        let run = move || {
            scheduling::give_way();
            asked.into_iter().for_each(|work| work());
        };
        let started = thread::Builder::new().name(name.to_owned()).spawn(run);
        let started = started.inspect_err(|error| warn!(%error, name, "no thread can be started"));
        Self { thread: started.ok().map(|started| (started.thread().id(), jobs)) }
    }

    /// Runs `work` there, within the runtime that this is called in. A panic in it becomes an error
    /// that names `what`.
    ///
    /// # Errors
    ///
    /// When it panics.
    pub async fn run<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let Some((_, jobs)) = &self.thread else { return run(what, work).await };
        let (done, result) = oneshot::channel();
        let runtime = Handle::try_current().ok();
        give(jobs, move || {
            let _within = runtime.as_ref().map(Handle::enter);
            drop(done.send(catch_unwind(AssertUnwindSafe(work))));
        });
        match result.await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(_)) | Err(_) => Err(io::Error::other(format!("{what}: it panicked"))),
        }
    }

    /// Whether this is called there.
    #[must_use]
    pub fn is_here(&self) -> bool {
        self.thread.as_ref().is_some_and(|(own, _)| *own == thread::current().id())
    }

    /// Runs `work` there, within the runtime that this is called in, and waits for it. A panic in it
    /// is one here. What runs there already does it itself.
    pub fn wait<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let jobs = match &self.thread {
            Some((_, jobs)) if !self.is_here() => jobs,
            _ => return work(),
        };
        let (done, result) = mpsc::sync_channel(1);
        let runtime = Handle::try_current().ok();
        give(jobs, move || {
            let _within = runtime.as_ref().map(Handle::enter);
            // Who asked waits.
            drop(done.send(catch_unwind(AssertUnwindSafe(work))));
        });
        match result.recv() {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => resume_unwind(Box::new("the background thread has ended")),
        }
    }
}

fn give(jobs: &Sender<Job>, work: impl FnOnce() + Send + 'static) {
    // Where nobody takes it, it is dropped with its channel, and who waits is told.
    drop(jobs.send(Box::new(work)));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustix::process::getpriority_process;

    use super::*;

    #[tokio::test]
    async fn background_work_gives_way_and_survives_a_panic() {
        let background = Background::start("test");
        assert!(background.run("fail", || panic!("no")).await.is_err());
        let niceness = || getpriority_process(None).unwrap();
        let (before, there) = (niceness(), background.run("look", niceness).await.unwrap());
        assert!(there > before || there == 19);
        assert_eq!(niceness(), before, "who asked is as it was");
    }

    #[tokio::test]
    async fn who_waits_gets_the_result_within_the_runtime_or_the_panic() {
        let background = Background::start("test");
        assert!(background.wait(|| Handle::try_current().is_ok()));
        let panic = catch_unwind(AssertUnwindSafe(|| background.wait(|| panic!("no"))));
        assert!(panic.is_err());
        assert_eq!(background.wait(|| 1), 1);
    }

    #[test]
    fn who_is_there_already_waits_for_nobody() {
        let background = Arc::new(Background::start("test"));
        let too = Arc::clone(&background);
        assert_eq!(background.wait(move || too.wait(|| 1)), 1);
    }
}
