//! What tests share: a certificate authority of their own. Never part of the program.
//!
//! Everything here panics when it cannot do its work: a test that has no certificate has failed.

pub mod ca;
pub mod openssl;
