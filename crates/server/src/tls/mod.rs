//! From a connection to a stream with a binding: the hello is read, the decision made, its
//! certificate found, the handshake done. The only module that names rustls types.

pub mod cache;
pub mod central;
pub mod index;
pub mod keys;
pub mod policy;
pub mod stream;
pub mod tickets;
pub(crate) mod upstream;

mod accept;
mod choice;
mod negotiated;
mod sealing;

pub use accept::{HandshakeError, HelloInfo, TlsInfo, accept};
pub use choice::{CertificateChoiceError, candidates};
pub use negotiated::Negotiated;
