//! TLS: certificates and keys, tickets, and (by the accept path) the handshake. The only place
//! that names types of rustls.

pub mod central;
pub mod keys;
mod names;
pub mod tickets;
