//! May this connection answer for that host?

use crate::{
    binding::{Binding, BindingInformation},
    tls::TlsPolicy,
};

/// Whether a connection on which `shown` was decided, under `policy`, may carry a request whose
/// host leads to `asked`. `covers` says whether the certificate shown covers the host. If not, the
/// answer is 421 (RFC 9110, 15.5.20; RFC 9113, 9.1.1).
///
/// The policy counts even for the very binding of the handshake: one that has come to ask for
/// client certificates must not be served over a connection that never showed any.
pub fn may_answer(
    shown: &BindingInformation,
    policy: &TlsPolicy,
    asked: &Binding,
    covers: impl FnOnce() -> bool,
) -> bool {
    *policy == asked.tls && (*shown == asked.information || covers())
}
