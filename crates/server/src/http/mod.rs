//! One connection, HTTP/1.1 or HTTP/2, from the first byte of a request to the last of its answer.

pub mod authority;
pub mod body;
pub mod connection;
pub mod content;
pub mod dispatch;
pub mod error;
pub mod page;
mod tasks;
pub mod user;
