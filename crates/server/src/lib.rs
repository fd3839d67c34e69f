//! The data plane: listeners, TLS, HTTP and handlers. It serves by a snapshot and knows nothing of
//! commands, dialects or where a configuration comes from.
//!
//! | module | answers |
//! |---|---|
//! | [`server`] | how is it started, changed and stopped? |
//! | [`snapshot`] | what does it decide by? |
//! | [`process`] | what outlives a change? |
//! | [`listener`] | who is accepted, and where? |
//! | [`tls`] | with which certificate? |
//! | [`http`] | what is asked, and may this connection answer it? |
//! | [`handler`] | what is the answer? |
//! | [`inspect`] | what is wrong with a configuration that only this machine can tell? |
//! | [`rules`] | what happens around the answer? |
//! | [`log`] | what is written about it? |
//! | [`running`] | which requests are under way? |
//! | [`limits`] | how much of anything can a peer have? |

mod addresses;
pub mod blocking;
pub mod clock;
pub mod connections;
pub mod handler;
pub mod http;
pub mod inspect;
pub mod limits;
pub mod listener;
pub mod log;
pub mod metrics;
pub mod process;
pub mod rules;
pub mod running;
pub mod scheduling;
pub mod server;
pub mod snapshot;
pub mod tls;

use std::error::Error;

/// What every task of a server shares.
pub struct Shared {
    /// What is decided by.
    pub live: snapshot::Live,
    /// What outlives it.
    pub process: process::Process,
}

/// An error with its causes in one line, outermost first.
#[must_use]
pub fn text_of(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Some libraries repeat their cause in their own text.
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}
