//! The numbers beside a status by which IIS says more: its own, and one of Win32.

use crate::http::error::RequestError;

/// What stands in `sc-substatus` and `sc-win32-status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Substatus {
    pub(crate) sub: u8,
    pub(crate) win32: u16,
}

/// Win32's ERROR_FILE_NOT_FOUND.
const NOT_FOUND: u16 = 2;
/// Win32's ERROR_ACCESS_DENIED.
const DENIED: u16 = 5;

impl Substatus {
    /// Of an answer to a request that failed: as IIS numbers it where it does, or 0.
    pub(crate) fn of(error: &RequestError) -> Self {
        let (sub, win32) = match error {
            RequestError::NotFound { sub, .. } => (*sub, NOT_FOUND),
            RequestError::Forbidden { sub, .. } => (*sub, DENIED),
            // TLS required.
            RequestError::TlsRequired { .. } => (4, DENIED),
            // Logon failed.
            RequestError::Unauthorized { .. } => (1, DENIED),
            // Request entity too large, of request filtering.
            RequestError::ContentTooLarge { .. } => (1, 0),
            // Too many concurrent requests.
            RequestError::SiteBusy { .. } => (2, 0),
            // The forwarder's failure to connect, and a gateway without a server (ARR).
            RequestError::BadGateway { .. } => (3, 0),
            RequestError::NoUpstream { .. } => (4, 0),
            // IIS has no number for it.
            _ => (0, 0),
        };
        Self { sub, win32 }
    }
}
