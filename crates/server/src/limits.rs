//! Every bound on what a peer can grow, each with its reason and with what happens when it is
//! reached. Relations between bounds are checked when the code is compiled.

/// Threads for work that may block (files, keys). Further work waits in line.
pub const BLOCKING_THREADS_MAX: usize = 64;
