//! The commands, one file each: what was asked for, what is done, what is printed.

pub(crate) mod check;
pub(crate) mod demo;
pub(crate) mod explain;
pub(crate) mod netsh;
pub(crate) mod probe;
pub(crate) mod status;
pub(crate) mod steps;
mod unserved;
