//! One connection, HTTP/1.1 or HTTP/2, from the first byte of a request to the last of its answer.

pub(crate) mod accept;
pub mod authority;
pub mod body;
pub mod client;
pub(crate) mod compress;
pub mod connection;
pub mod content;
pub mod dispatch;
pub mod error;
pub mod forwarded;
pub mod framing;
mod logged;
pub mod malformed;
pub mod page;
mod passage;
mod tasks;
pub(crate) mod tunnel;
pub mod user;
pub(crate) mod waits;
