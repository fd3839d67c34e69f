//! The only place that reads the time of day.

use std::time::SystemTime;

/// Now.
#[must_use]
pub fn now() -> SystemTime {
    #[allow(clippy::disallowed_methods, reason = "this is the clock")]
    SystemTime::now()
}
