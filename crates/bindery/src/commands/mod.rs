//! The commands, one file each: what was asked for, what is done, what is printed.

pub(crate) mod check;
pub(crate) mod demo;
pub(crate) mod explain;
pub(crate) mod netsh;
pub(crate) mod probe;
mod resolve;
pub(crate) mod status;
pub(crate) mod steps;
mod target;
mod unserved;
