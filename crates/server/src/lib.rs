//! The data plane: listeners, TLS, HTTP and handlers. It serves by a snapshot and knows nothing of
//! files of configuration, commands or dialects.

pub mod blocking;
pub mod handler;
pub mod http;
pub mod limits;
pub mod tls;
