//! What the access log and the metrics are told of a request: begun with the head of its answer,
//! ended with the last byte, or with whatever comes in its place.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use http::{Method, request::Parts};

use super::dispatch::{ConnInfo, Remembered};
use crate::{
    log::{
        line::{Head, Line},
        substatus::{Substatus, Win32},
    },
    metrics::{HandlerKind, Outcome},
    rules,
};

/// nginx's number for a request whose client went away before there was an answer.
const CLIENT_GONE: u16 = 499;

/// What is found out about a request on its way.
#[derive(Default)]
pub(super) struct Seen {
    /// When it began; `None` where nobody wants to know.
    pub(super) begun: Option<Instant>,
    pub(super) site: Option<Arc<Remembered>>,
    pub(super) kind: HandlerKind,
    pub(super) received: Option<Arc<AtomicU64>>,
}

/// A line of the access log whose answer is on its way.
pub(super) struct Logged {
    line: Line,
    site: Arc<Remembered>,
    pub(super) sent: u64,
    /// Whether there is no more to come.
    pub(super) ended: bool,
    /// Why it does not come to its end.
    failed: Option<u16>,
}

impl Logged {
    /// Begins a line. A request without a site has none and is only counted.
    pub(super) fn begin(
        (begun, seen): (Instant, Seen),
        request: &Parts,
        (status, substatus): (u16, Substatus),
        info: &ConnInfo,
    ) -> Option<Box<Self>> {
        let Seen { site, kind, received, .. } = seen;
        let Some(site) = site else {
            let (version, taken) = (request.version, begun.elapsed());
            let complete = status != CLIENT_GONE;
            let (sent, received) = (0, 0);
            let outcome = Outcome { version, status, kind, taken, sent, received, complete };
            info.shared.process.logs.inner().count(&outcome);
            return None;
        };
        let client = match site.runtime.trusted_proxies.is_empty() {
            true => None,
            false => Some(rules::client(request, info, &site.runtime).0),
        };
        let head = Head { request, begun, client, received, status, substatus, kind };
        let line = Line::begin(site.log.as_ref()?, head);
        // These have no content, whatever the body says (RFC 9110, 6.4.1).
        let ended = request.method == Method::HEAD || matches!(status, 100..200 | 204 | 304);
        Some(Box::new(Self { line, site, sent: 0, ended, failed: None }))
    }

    /// More of the answer could not be had.
    pub(super) fn fail(&mut self) {
        self.failed = Some(match self.line.kind() {
            HandlerKind::Proxy | HandlerKind::FastCgi => Win32::CONNECTION_BROKE,
            _ => Win32::END_OF_FILE,
        });
    }

    /// Nothing more is sent. `whole` says whether that was all.
    pub(super) fn end(self, whole: bool) {
        let Self { line, site, sent, ended, failed } = self;
        let lost = (!ended && !whole).then_some(Win32::CLIENT_LOST);
        if let Some(log) = &site.log {
            line.end(log, sent, failed.or(lost));
        }
    }
}

/// A request that waits for its answer. Dropped before that, it is logged and counted all the same:
/// its client is gone.
pub(super) struct Waiting {
    pub(super) request: Parts,
    /// Taken out when there is an answer.
    pub(super) seen: Seen,
    pub(super) info: Arc<ConnInfo>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let seen = std::mem::take(&mut self.seen);
        let Some(begun) = seen.begun else { return };
        let answered = (CLIENT_GONE, Substatus::default());
        if let Some(mut logged) = Logged::begin((begun, seen), &self.request, answered, &self.info)
        {
            logged.ended = false;
            logged.end(false);
        }
    }
}

/// The line of a tunnel, which ends with it: shared by the tunnel and by the answer that begins it,
/// in whose extensions it is.
#[derive(Clone, Default)]
pub(crate) struct TunnelLog(Arc<TunnelLine>);

#[derive(Default)]
struct TunnelLine {
    logged: Mutex<Option<Box<Logged>>>,
    to_client: AtomicU64,
    /// What the line has as the content of the request.
    to_upstream: OnceLock<Arc<AtomicU64>>,
    lost: AtomicBool,
}

impl TunnelLog {
    /// The answer that begins the tunnel is on its way. Gives back nothing, as an answer without a
    /// line has nothing.
    pub(super) fn begin(&self, mut logged: Box<Logged>) -> Option<Box<Logged>> {
        let to_upstream = Arc::clone(self.0.to_upstream.get_or_init(Arc::default));
        logged.line.becomes_tunnel(to_upstream);
        *self.0.logged.lock().unwrap_or_else(PoisonError::into_inner) = Some(logged);
        None
    }

    /// So many bytes were carried in all. `lost` says whether the client's side broke.
    pub(super) fn end(&self, to_client: u64, to_upstream: u64, lost: bool) {
        self.0.to_client.store(to_client, Ordering::Relaxed);
        self.0.to_upstream.get_or_init(Arc::default).store(to_upstream, Ordering::Relaxed);
        self.0.lost.store(lost, Ordering::Relaxed);
    }
}

impl Drop for TunnelLine {
    fn drop(&mut self) {
        let logged = self.logged.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut logged) = logged.take() {
            logged.sent = *self.to_client.get_mut();
            logged.ended = !*self.lost.get_mut();
            logged.end(false);
        }
    }
}
