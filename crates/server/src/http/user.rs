//! Who a request is from, once a password has shown it.

/// The name of the user. Whoever verifies it puts it into the extensions of the request, where the
/// access log reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User(pub String);
