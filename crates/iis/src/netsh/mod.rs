//! `netsh http`: its grammar, as far as it is answered, and its layout.

pub mod grammar;
pub mod records;
pub mod sslcert;
