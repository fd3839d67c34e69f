//! Tests of the control plane: real files, a real server, a real disk that is full.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "what is not as it must be ends a test"
)]

mod api;
mod api_doors;
mod api_requests;
mod api_words;
mod crash;
mod edited;
mod failing;
mod iis;
mod made;
mod records;
mod roundtrip;
mod setup;
mod storm;
