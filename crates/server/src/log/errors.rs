//! What never reached a site, as HTTP.SYS logs it in HTTPERR: failed handshakes, hosts that nobody
//! answers for, requests that are none, clients that were cut off.

use std::{
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use bindery_model::site::SiteId;
use http::{StatusCode, request::Parts};

use super::{date, escape, line};
use crate::http::{
    error::{Fault, RequestError},
    framing::Refusal,
};
use crate::limits::{LOG_ERRORS_BYTES_MAX, LOG_ERRORS_LINES_PER_SECOND};

/// HTTP.SYS's fields in its order, and ours behind them.
pub(super) const FIELDS: &str = "date time c-ip c-port s-ip s-port cs-version cs-method cs-uri \
    sc-status s-siteid s-reason s-queuename x-tls-server-name x-detail";

/// Why a request or a connection came to nothing: HTTP.SYS's words, and words for handshakes,
/// which it does not log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The request is none.
    BadRequest,
    /// No site answers for the host, or this connection may not speak for it.
    Hostname,
    /// A field of the request is too long, or there are too many.
    FieldLength,
    /// The head of the request is too long.
    RequestLength,
    /// The target is too long.
    UrlLength,
    /// The content is too large.
    EntityTooLarge,
    /// The method means nothing here.
    Verb,
    /// The version of HTTP is none that is spoken here.
    Version,
    /// Nothing failed but the server.
    Internal,
    /// The client closed the connection in the middle of a request.
    ConnectionDropped,
    /// There are as many connections as there may be.
    ConnLimit,
    /// A kept connection waited too long for a request.
    TimerConnectionIdle,
    /// The content of the request did not come in time.
    TimerEntityBody,
    /// The head of the request did not come in time.
    TimerHeaderWait,
    /// The client took its answer too slowly.
    TimerMinBytesPerSecond,
    /// The handshake failed; the word says how.
    Handshake(&'static str),
}

impl Reason {
    /// Why a request reached no site.
    pub(crate) fn of(error: &RequestError) -> Self {
        match error {
            RequestError::NoSite { .. } | RequestError::Misdirected { .. } => Self::Hostname,
            RequestError::BadRequest { reason } if reason.contains("Host") => Self::Hostname,
            RequestError::MethodNotAllowed { .. } => Self::Verb,
            RequestError::RequestTimeout => Self::TimerEntityBody,
            RequestError::Framing(Refusal::HeadTooLarge) => Self::RequestLength,
            error => match error.status() {
                StatusCode::URI_TOO_LONG => Self::UrlLength,
                StatusCode::PAYLOAD_TOO_LARGE => Self::EntityTooLarge,
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Self::FieldLength,
                StatusCode::HTTP_VERSION_NOT_SUPPORTED => Self::Version,
                _ if error.fault() == Fault::Client => Self::BadRequest,
                _ => Self::Internal,
            },
        }
    }

    /// The word in the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "BadRequest",
            Self::Hostname => "Hostname",
            Self::FieldLength => "FieldLength",
            Self::RequestLength => "RequestLength",
            Self::UrlLength => "URL_Length",
            Self::EntityTooLarge => "EntityTooLarge",
            Self::Verb => "Verb",
            Self::Version => "Version_N/S",
            Self::Internal => "Internal",
            Self::ConnectionDropped => "Connection_Dropped",
            Self::ConnLimit => "ConnLimit",
            Self::TimerConnectionIdle => "Timer_ConnectionIdle",
            Self::TimerEntityBody => "Timer_EntityBody",
            Self::TimerHeaderWait => "Timer_HeaderWait",
            Self::TimerMinBytesPerSecond => "Timer_MinBytesPerSecond",
            Self::Handshake(word) => word,
        }
    }
}

/// A line of the errors log.
#[derive(Clone, Copy)]
pub struct ErrorsLine<'a> {
    /// The client.
    pub client: SocketAddr,
    /// Where it came to.
    pub server: SocketAddr,
    /// What it asked for, where that could be read.
    pub request: Option<&'a Parts>,
    /// The status of the answer, where there was one.
    pub status: Option<u16>,
    /// The site, where one is known.
    pub site: Option<SiteId>,
    /// Why.
    pub reason: Reason,
    /// The name in the client hello; empty for none.
    pub server_name: &'a str,
    /// Why, in more words; empty for none.
    pub detail: &'a str,
}

/// The lines that wait for the writer.
#[derive(Default)]
pub(super) struct Errors(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    text: Vec<u8>,
    /// The second, and how many lines were taken and left out in it.
    second: u64,
    taken: u32,
    left_out: u64,
    lost: u64,
}

impl Errors {
    /// Takes a line, unless there are too many this second. Whether it is the first that waits.
    pub(super) fn push(&self, line: &ErrorsLine<'_>, now: SystemTime) -> bool {
        let second =
            now.duration_since(SystemTime::UNIX_EPOCH).as_ref().map_or(0, Duration::as_secs);
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = waiting.text.is_empty();
        if waiting.second != second {
            waiting.say_left_out();
            waiting.second = second;
            waiting.taken = 0;
        }
        if waiting.taken >= LOG_ERRORS_LINES_PER_SECOND {
            waiting.left_out += 1;
        } else if waiting.text.len() >= LOG_ERRORS_BYTES_MAX {
            waiting.lost += 1;
        } else {
            waiting.taken += 1;
            write(&mut waiting.text, line, now);
        }
        first
    }

    /// Takes the lines away, and how many there was no room for.
    pub(super) fn take(&self, now: SystemTime) -> (Vec<u8>, u64) {
        let second =
            now.duration_since(SystemTime::UNIX_EPOCH).as_ref().map_or(0, Duration::as_secs);
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.second != second {
            waiting.say_left_out();
        }
        (std::mem::take(&mut waiting.text), std::mem::take(&mut waiting.lost))
    }

    /// Whether any line waits, or the number of those that were left out.
    pub(super) fn is_waiting(&self) -> bool {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        !waiting.text.is_empty() || waiting.left_out > 0 || waiting.lost > 0
    }
}

impl Waiting {
    fn say_left_out(&mut self) {
        let left_out = std::mem::take(&mut self.left_out);
        if left_out > 0 {
            // The W3C format has a directive for what is no line.
            let remark = format!("#Remark: {left_out} lines were left out\n");
            self.text.extend_from_slice(remark.as_bytes());
        }
    }
}

fn write(out: &mut Vec<u8>, errors: &ErrorsLine<'_>, now: SystemTime) {
    let ErrorsLine { client, server, request, status, site, reason, server_name, detail } = errors;
    let mut field = |value: &str| {
        escape::w3c(out, value.as_bytes());
        out.push(b' ');
    };
    let date = date::text(now);
    let (day, clock) = date.split_once(' ').unwrap_or_default();
    field(day);
    field(clock);
    field(&client.ip().to_string());
    field(&client.port().to_string());
    field(&server.ip().to_string());
    field(&server.port().to_string());
    let target = request.map(|request| match request.uri.path_and_query() {
        Some(target) => target.as_str(),
        None => request.uri.path(),
    });
    field(request.map_or("", |request| line::version(request.version)));
    field(request.map_or("", |request| request.method.as_str()));
    field(target.unwrap_or_default());
    field(&status.map_or(String::new(), |status| status.to_string()));
    field(&site.map_or(String::new(), |site| site.to_string()));
    field(reason.as_str());
    // There are no queues.
    field("");
    field(server_name);
    escape::w3c(out, detail.as_bytes());
    out.push(b'\n');
}
