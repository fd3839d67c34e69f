//! What tests share: a certificate authority of their own, a running server, clients that can be
//! told what to say. Never part of the program.
//!
//! Everything here panics when it cannot do its work: a test that has no certificate has failed.

#![allow(clippy::panic, reason = "a test that cannot begin has failed")]

pub mod ca;
pub mod deaf;
pub mod http1;
pub mod http2;
pub mod openssl;
pub mod programs;
pub mod server;
pub mod tls;

/// The library that the clients are made of, so that tests name its types without a version of
/// their own.
pub use rustls;

use std::{future::Future, time::Duration};

/// Nothing on loopback takes that long, on however busy a machine; what does hangs.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// The outcome of `future`, which must come before [`DEADLINE`].
///
/// # Panics
///
/// When it does not. `what` says what was waited for.
#[track_caller]
pub fn soon<F: Future>(what: &str, future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(DEADLINE, future).await {
            Ok(output) => output,
            Err(_) => panic!("{what} took longer than {DEADLINE:?} ({caller})"),
        }
    }
}

/// Asks `holds` again and again until it says so.
///
/// # Panics
///
/// When it has not by [`DEADLINE`]. `what` says what was waited for.
#[track_caller]
pub fn eventually<F, Fut>(what: &str, mut holds: F) -> impl Future<Output = ()>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    soon(what, async move {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
}
