//! The commands, one file each: what was asked for, what is done, what is printed.

pub(crate) mod appcmd;
pub(crate) mod binding;
pub(crate) mod change;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod demo;
mod dialect;
pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod history;
pub(crate) mod import;
mod listing;
pub(crate) mod netsh;
pub(crate) mod probe;
pub(crate) mod request;
pub(crate) mod route;
pub(crate) mod server;
pub(crate) mod site;
mod sni;
pub(crate) mod sslcert;
pub(crate) mod status;
pub(crate) mod steps;
pub(crate) mod token;
mod unserved;
