//! The server as its clients see it: real sockets on loopback, certificates of the test's own
//! authority. One program for all of it, because each further one would link everything again.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not as it must be ends a test"
)]

mod attacks;
mod decision;
mod early_hints;
mod fastcgi;
mod files;
mod handshake;
mod http1;
mod http2;
mod limits;
mod log;
mod log_ends;
mod proxy;
mod proxy_lies;
mod proxy_protocol;
mod proxy_real;
mod proxy_ways;
mod rest;
mod resumption;
mod rules;
mod running;
mod setup;
mod sockets;
mod stop;
mod strict;
mod strict2;
mod swap;
mod tools;
mod tunnel;
mod waits;
