//! Questions to a configuration, asked without a server.

use std::future::Future;

use crate::output::Failure;

/// Runs a question to its end.
pub(crate) fn block_on<T>(question: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Failure::because("the threads cannot be started", error))?;
    let answer = runtime.block_on(question);
    // A resolver that still waits is not waited for.
    runtime.shutdown_background();
    Ok(answer)
}
