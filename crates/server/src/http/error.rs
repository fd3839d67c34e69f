//! What can go wrong with a request: whose fault it is, its status, and the page a stranger sees.
//! What the log says (`Display` and `source`) and what the stranger reads are two things.

use std::{fmt, io, path::PathBuf};

use http::{Method, StatusCode};

use super::content::ContentError;
use crate::log::substatus::Substatus;

/// Whose doing a failure is. Decides the level of the log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The peer asked for something that cannot be given.
    Client,
    /// Another server that answers for us.
    Upstream,
    /// Ours, or the administrator's: files, keys, configuration.
    Server,
}

/// Whose requests take what another one wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Those of the same client.
    Client,
    /// Those of all clients together.
    All,
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "this client",
            Self::All => "all clients",
        })
    }
}

/// Why a request got no ordinary answer.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The request contradicts itself or the protocol (RFC 9110, RFC 9112).
    #[error("bad request: {reason}")]
    BadRequest {
        /// What is wrong, in the words of the RFC.
        reason: &'static str,
    },

    /// The bytes of the request are no message of HTTP/1 (RFC 9112).
    #[error("bad request: {}", .0.reason())]
    Framing(super::framing::Refusal),

    /// More fields than [`crate::limits`] allows (RFC 6585, 5).
    #[error("too many fields")]
    TooManyFields,

    /// No binding answers for the host.
    #[error("no site answers for {host:?}")]
    NoSite {
        /// The host as the request gave it.
        host: String,
    },

    /// The host belongs to a binding that this connection may not speak for (RFC 9110, 15.5.20).
    #[error("{host:?} was asked on a connection for {server_name:?}")]
    Misdirected {
        /// The host the request asked for.
        host: String,
        /// The name the handshake asked for, empty for none.
        server_name: String,
    },

    /// The site is stopped.
    #[error("site {site} is stopped")]
    SiteStopped {
        /// The name of the site.
        site: String,
    },

    /// Nothing is there, or it may not be known that something is.
    #[error("{path} was not found{}", why_not_found(*.sub))]
    NotFound {
        /// The path that was asked for.
        path: String,
        /// Why, as IIS numbers it: 3 for a type that is not sent, 8 for a hidden name, otherwise 0.
        sub: u8,
    },

    /// It is there and is not given.
    #[error("{path} is refused: {reason}")]
    Forbidden {
        /// The path that was asked for.
        path: String,
        /// Why, for the log.
        reason: &'static str,
        /// The same as IIS numbers it: 6 for a network that is not let in, 14 for a folder that is
        /// not listed, otherwise 0.
        sub: u8,
    },

    /// A rule of the configuration refuses it.
    #[error("{path} is refused by a rule: {status}")]
    Refused {
        /// The path that was asked for.
        path: String,
        /// What the rule answers.
        status: StatusCode,
    },

    /// It is not given to who asks without TLS.
    #[error("{path} is refused without TLS")]
    TlsRequired {
        /// The path that was asked for.
        path: String,
    },

    /// The method has no meaning here (RFC 9110, 15.5.6).
    #[error("{method} is not allowed here, only {allow}")]
    MethodNotAllowed {
        /// What was tried.
        method: Method,
        /// The value of the `Allow` field.
        allow: &'static str,
    },

    /// `If-Match` or `If-Unmodified-Since` did not hold (RFC 9110, 15.5.13).
    #[error("a precondition of the request does not hold")]
    PreconditionFailed,

    /// No range of the request overlaps the file (RFC 9110, 15.5.17).
    #[error("no such range in {length} bytes")]
    RangeNotSatisfiable {
        /// The length of the whole, in bytes.
        length: u64,
    },

    /// The target is longer than [`crate::limits`] allows.
    #[error("the request target is too long")]
    UriTooLong,

    /// Who asks has not said who it is, or not rightly (RFC 9110, 15.5.2).
    #[error("{path} needs a name and a password: {reason}")]
    Unauthorized {
        /// The path that was asked for.
        path: String,
        /// The realm of the challenge.
        realm: String,
        /// What was wrong, for the log. Never the password.
        reason: &'static str,
    },

    /// The client takes too long to send its request (RFC 9110, 15.5.9).
    #[error("the request did not come in time")]
    RequestTimeout,

    /// The content of the request is larger than allowed (RFC 9110, 15.5.14).
    #[error("the content is larger than {bytes_max} bytes")]
    ContentTooLarge {
        /// What is allowed.
        bytes_max: u64,
    },

    /// The length of the content must be known and was not said (RFC 9110, 15.5.12).
    #[error("content without a length, and too much to gather")]
    LengthRequired,

    /// Content without a length must be gathered, and there is no room until other requests are
    /// over (RFC 9110, 15.6.4).
    #[error(
        "no room to gather content without a length: other requests of {whose} have {bytes} bytes"
    )]
    NoRoom {
        /// Whose requests take the room.
        whose: Whose,
        /// What they take.
        bytes: u64,
    },

    /// The content of the request broke off.
    #[error("the content of the request broke off")]
    Content(#[source] ContentError),

    /// The client makes more requests than it may (RFC 6585, 4).
    #[error("too many requests")]
    TooManyRequests {
        /// When it may try again.
        retry_after_seconds: u32,
    },

    /// The site has as many requests under way as it may.
    #[error("site {site} is busy: {requests_max} requests are under way")]
    SiteBusy {
        /// The name of the site.
        site: String,
        /// What it may have.
        requests_max: u32,
    },

    /// No upstream server could be asked, or its answer is none (RFC 9110, 15.6.3).
    #[error("{upstream} gave no answer")]
    BadGateway {
        /// Which, as the configuration writes it.
        upstream: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// No upstream server is well.
    #[error("no server of {upstream} is well")]
    NoUpstream {
        /// The group.
        upstream: String,
    },

    /// An upstream server says that it has too much to do (RFC 9110, 15.6.4).
    #[error("{upstream} has too much to do")]
    UpstreamBusy {
        /// Which, as the configuration writes it.
        upstream: String,
    },

    /// An upstream server did not answer in time (RFC 9110, 15.6.5).
    #[error("{upstream} did not answer within {seconds} s: {stage}")]
    GatewayTimeout {
        /// Which, as the configuration writes it.
        upstream: String,
        /// What was waited for.
        stage: &'static str,
        /// How long.
        seconds: u64,
    },

    /// A file could not be read.
    #[error("{} could not be read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },

    /// A handler panicked. The connection and every other request go on.
    #[error("a handler panicked")]
    Panicked,
}

fn why_not_found(sub: u8) -> &'static str {
    match sub {
        3 => ": files of its type are not sent",
        8 => ": a name in it is hidden",
        _ => "",
    }
}

impl RequestError {
    /// Whose doing it is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::BadRequest { .. }
            | Self::Framing(_)
            | Self::TooManyFields
            | Self::NoSite { .. }
            | Self::Misdirected { .. }
            | Self::NotFound { .. }
            | Self::Forbidden { .. }
            | Self::Refused { .. }
            | Self::TlsRequired { .. }
            | Self::MethodNotAllowed { .. }
            | Self::PreconditionFailed
            | Self::RangeNotSatisfiable { .. }
            | Self::UriTooLong
            | Self::Unauthorized { .. }
            | Self::RequestTimeout
            | Self::ContentTooLarge { .. }
            | Self::LengthRequired
            | Self::NoRoom { whose: Whose::Client, .. }
            | Self::Content(_)
            | Self::TooManyRequests { .. } => Fault::Client,
            Self::BadGateway { .. }
            | Self::NoUpstream { .. }
            | Self::UpstreamBusy { .. }
            | Self::GatewayTimeout { .. } => Fault::Upstream,
            Self::SiteStopped { .. }
            | Self::SiteBusy { .. }
            | Self::NoRoom { whose: Whose::All, .. }
            | Self::File { .. }
            | Self::Panicked => Fault::Server,
        }
    }

    /// What IIS says beside the status, as the access log has it.
    #[must_use]
    pub fn sub_status(&self) -> u8 {
        Substatus::of(self).sub
    }

    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest { .. }
            | Self::NoSite { .. }
            | Self::Content(ContentError::Broken(_) | ContentError::Trailer) => {
                StatusCode::BAD_REQUEST
            }
            Self::Framing(refusal) => refusal.status(),
            Self::Refused { status, .. } => *status,
            Self::TooManyFields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Unauthorized { .. } => StatusCode::UNAUTHORIZED,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::LengthRequired => StatusCode::LENGTH_REQUIRED,
            Self::ContentTooLarge { .. } | Self::Content(ContentError::TooLarge) => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::TooManyRequests { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::BadGateway { .. } | Self::NoUpstream { .. } => StatusCode::BAD_GATEWAY,
            Self::GatewayTimeout { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::Misdirected { .. } => StatusCode::MISDIRECTED_REQUEST,
            Self::SiteStopped { .. }
            | Self::SiteBusy { .. }
            | Self::NoRoom { .. }
            | Self::UpstreamBusy { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::NotFound { .. } => StatusCode::NOT_FOUND,
            Self::Forbidden { .. } | Self::TlsRequired { .. } => StatusCode::FORBIDDEN,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Self::RangeNotSatisfiable { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::File { .. } | Self::Panicked => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}
