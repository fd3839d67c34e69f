//! Work that may block, off the reactor. The only place that hands work to tokio's blocking pool,
//! whose size is set where the runtime is built ([`crate::limits::BLOCKING_THREADS_MAX`]).

use std::io;

/// Runs `work` on the blocking pool. A panic in it becomes an error that names `what`.
pub async fn run<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    #[allow(clippy::disallowed_methods, reason = "this is the one door to the pool")]
    let task = tokio::task::spawn_blocking(work);
    task.await.map_err(|error| io::Error::other(format!("{what}: {error}")))
}
