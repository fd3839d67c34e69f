//! The commands as they are typed, and what they print: one test program, a module for each.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not as it must be ends a test"
)]

mod api;
mod check;
mod demo;
mod explain;
mod iis;
mod manual;
mod names;
mod netsh;
mod probe;
mod program;
mod refused;
mod reload;
mod requests;
mod root;
mod run;
mod session;
mod shells;
mod slow;
mod status;
mod systemd;
mod trap;
mod whole;
