//! The numbers beside a status by which IIS says more: its own, and one of Win32.

use std::{error::Error, io};

use crate::http::{content::ContentError, error::RequestError};

/// What stands in `sc-substatus` and `sc-win32-status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Substatus {
    pub(crate) sub: u8,
    pub(crate) win32: u16,
}

/// The numbers of Win32 and WinHTTP that IIS and its proxy (ARR) write.
pub(crate) struct Win32;

impl Win32 {
    /// ERROR_FILE_NOT_FOUND.
    const NOT_FOUND: u16 = 2;
    /// ERROR_ACCESS_DENIED.
    const DENIED: u16 = 5;
    /// ERROR_HANDLE_EOF: a file became shorter while it was sent.
    pub(crate) const END_OF_FILE: u16 = 38;
    /// ERROR_NETNAME_DELETED: the client is gone.
    pub(crate) const CLIENT_LOST: u16 = 64;
    /// ERROR_WINHTTP_TIMEOUT.
    const TIMED_OUT: u16 = 12002;
    /// ERROR_WINHTTP_CANNOT_CONNECT.
    const CANNOT_CONNECT: u16 = 12029;
    /// ERROR_WINHTTP_CONNECTION_ERROR: an upstream server's connection broke.
    pub(crate) const CONNECTION_BROKE: u16 = 12030;
    /// ERROR_WINHTTP_INVALID_SERVER_RESPONSE.
    const NO_ANSWER: u16 = 12152;
}

impl Substatus {
    /// Of an answer to a request that failed: as IIS numbers it where it does, or 0.
    pub(crate) fn of(error: &RequestError) -> Self {
        let (sub, win32) = match error {
            RequestError::NotFound { sub, .. } => (*sub, Win32::NOT_FOUND),
            RequestError::Forbidden { sub, .. } => (*sub, Win32::DENIED),
            // TLS required.
            RequestError::TlsRequired { .. } => (4, Win32::DENIED),
            // Logon failed.
            RequestError::Unauthorized { .. } => (1, Win32::DENIED),
            // Request entity too large, of request filtering.
            RequestError::ContentTooLarge { .. } => (1, 0),
            RequestError::Content(ContentError::Broken(_)) => (0, Win32::CLIENT_LOST),
            // Too many concurrent requests.
            RequestError::SiteBusy { .. } => (2, 0),
            // The forwarder's failures, and a gateway without a server (ARR).
            RequestError::BadGateway { source, .. } => (3, of_upstream(&**source)),
            RequestError::GatewayTimeout { .. } => (0, Win32::TIMED_OUT),
            RequestError::NoUpstream { .. } => (4, 0),
            // IIS has no number for it.
            _ => (0, 0),
        };
        Self { sub, win32 }
    }
}

/// What was wrong with an upstream server.
fn of_upstream(error: &(dyn Error + 'static)) -> u16 {
    let mut cause = Some(error);
    let broken = std::iter::from_fn(|| {
        let error = cause?;
        cause = error.source();
        Some(error.downcast_ref::<io::Error>().map(io::Error::kind))
    });
    match broken.flatten().next() {
        // What came is no answer, or none came.
        None => Win32::NO_ANSWER,
        Some(io::ErrorKind::TimedOut) => Win32::TIMED_OUT,
        Some(
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof,
        ) => Win32::CONNECTION_BROKE,
        Some(_) => Win32::CANNOT_CONNECT,
    }
}
