//! Connections to members that speak HTTP/2: a few for each member, shared by all requests. Each
//! is a task of its own, because no one request may drive what others use.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, response};
use http_body::{Body as _, Frame};
use hyper::{
    body::Incoming,
    client::conn::http2::{Builder, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    sync::Semaphore,
    time::{Instant, Sleep, sleep, timeout},
};
use tracing::debug;

use super::{
    connect::{Purpose, Way},
    link::LinkError,
    upload::{Source, Upload},
    wire::Transport,
};
use crate::{
    limits::{
        HTTP2_CONNECTION_WINDOW_BYTES, HTTP2_STREAM_WINDOW_BYTES, UPSTREAM_HTTP2_CONNECTIONS_MAX,
        UPSTREAM_HTTP2_HEADER_LIST_BYTES_MAX, UPSTREAM_HTTP2_STREAMS, UPSTREAM_IDLE_TIMEOUT,
        UPSTREAM_SWEEP_INTERVAL,
    },
    text_of,
};

/// The connections to one member.
pub(super) struct Connections {
    open: Mutex<Vec<Arc<Shared>>>,
    /// Held by who opens a connection; the others wait for what comes of it.
    opening: Semaphore,
}

/// A connection that requests share.
struct Shared {
    /// Requests for something else do not share it.
    purpose: Purpose,
    sender: SendRequest<Upload>,
    /// Requests under way.
    active: AtomicU32,
    /// Sweeps that found it without a request.
    quiet: AtomicU32,
}

/// A request's part of a connection.
pub(super) struct Stream {
    shared: Arc<Shared>,
    /// Whether the connection was there before.
    pub(super) used: bool,
    alarm: Option<Pin<Box<Sleep>>>,
    /// The content of the answer, when its head has come.
    incoming: Option<Incoming>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shared.active.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Default for Connections {
    fn default() -> Self {
        Self { open: Mutex::default(), opening: Semaphore::new(1) }
    }
}

impl Connections {
    fn open(&self) -> MutexGuard<'_, Vec<Arc<Shared>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A part of the connection that has the fewest requests. Not of a full one, unless there may be
    /// no more of them.
    fn part(&self, purpose: Purpose) -> Option<Stream> {
        let mut open = self.open();
        open.retain(|shared| !shared.sender.is_closed());
        let fit = || open.iter().filter(|shared| shared.purpose == purpose);
        let full = fit().count() >= UPSTREAM_HTTP2_CONNECTIONS_MAX;
        let active = |shared: &&Arc<Shared>| shared.active.load(Ordering::Relaxed);
        let shared = fit().min_by_key(active)?;
        if active(&shared) >= UPSTREAM_HTTP2_STREAMS && !full {
            return None;
        }
        Some(Stream::of(shared))
    }

    /// A part of a connection that is open already.
    pub(super) fn existing(&self, purpose: Purpose) -> Option<Stream> {
        let mut stream = self.part(purpose)?;
        stream.used = true;
        Some(stream)
    }

    /// A part of a new connection, or of one that somebody else has just opened.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::TimedOut`] when that takes too long, or what went wrong.
    pub(super) async fn stream(
        &self,
        way: &Way,
        purpose: Purpose,
        patience: Duration,
    ) -> io::Result<Stream> {
        // Others wait their own time for who opens one, not that of all before them.
        let permit = timeout(patience, self.opening.acquire()).await;
        let _permit = permit.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
        if let Some(stream) = self.part(purpose) {
            return Ok(stream);
        }
        let sender =
            handshake(way.open(patience, purpose).await?).await.map_err(io::Error::other)?;
        let (active, quiet) = (AtomicU32::new(0), AtomicU32::new(0));
        let shared = Arc::new(Shared { purpose, sender, active, quiet });
        let stream = Stream::of(&shared);
        self.keep(shared);
        Ok(stream)
    }

    fn keep(&self, shared: Arc<Shared>) {
        let mut open = self.open();
        let is_idle = |shared: &Arc<Shared>| shared.active.load(Ordering::Relaxed) == 0;
        let idle = open.iter().filter(|shared| is_idle(shared)).count();
        if shared.purpose.client.is_some() && idle >= UPSTREAM_HTTP2_CONNECTIONS_MAX {
            // Those of clients that went away are of no use to others.
            let oldest = open.iter().position(is_idle);
            oldest.map(|place| open.remove(place));
        }
        open.push(shared);
    }

    /// Closes connections that nobody has used for long.
    pub(super) fn sweep(&self) {
        let bound = UPSTREAM_IDLE_TIMEOUT.as_secs() / UPSTREAM_SWEEP_INTERVAL.as_secs();
        self.open().retain(|shared| {
            let idle = shared.active.load(Ordering::Relaxed) == 0;
            let quiet = if idle { shared.quiet.load(Ordering::Relaxed) + 1 } else { 0 };
            shared.quiet.store(quiet, Ordering::Relaxed);
            !shared.sender.is_closed() && u64::from(quiet) < bound
        });
    }

    pub(super) fn count(&self) -> usize {
        self.open().len()
    }
}

/// Begins to speak HTTP/2. The connection lives in a task of its own until the last sender is
/// gone.
pub(super) async fn handshake(transport: Transport) -> Result<SendRequest<Upload>, hyper::Error> {
    let (sender, connection) = Builder::new(TokioExecutor::new())
        .initial_stream_window_size(HTTP2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(HTTP2_CONNECTION_WINDOW_BYTES)
        .max_header_list_size(UPSTREAM_HTTP2_HEADER_LIST_BYTES_MAX)
        .handshake(TokioIo::new(transport))
        .await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            debug!(error = %text_of(&error), "an upstream connection ended early");
        }
    });
    Ok(sender)
}

impl Stream {
    fn of(shared: &Arc<Shared>) -> Self {
        shared.active.fetch_add(1, Ordering::Relaxed);
        shared.quiet.store(0, Ordering::Relaxed);
        Self { shared: Arc::clone(shared), used: false, alarm: None, incoming: None }
    }

    /// Sends a request and waits for the head of its answer: `patience` from the end of the
    /// request, to twice of it where content is sent.
    pub(super) async fn ask(
        &mut self,
        request: Request<Upload>,
        source: Option<&Source>,
        patience: Duration,
    ) -> Result<response::Parts, LinkError> {
        let mut sender = self.shared.sender.clone();
        let mut response = std::pin::pin!(sender.send_request(request));
        let mut alarm = std::pin::pin!(sleep(patience));
        let answer = std::future::poll_fn(|cx| {
            if let Poll::Ready(answer) = response.as_mut().poll(cx) {
                return Poll::Ready(answer.map_err(LinkError::from));
            }
            while alarm.as_mut().poll(cx).is_ready() {
                let moved = source.is_some_and(Source::has_moved);
                let client_s_turn = source.is_some_and(Source::waits_for_client);
                if !moved && !client_s_turn {
                    return Poll::Ready(Err(LinkError::Silent(patience)));
                }
                alarm.as_mut().reset(Instant::now() + patience);
            }
            Poll::Pending
        });
        let (head, incoming) = answer.await?.into_parts();
        self.incoming = Some(incoming);
        Ok(head)
    }

    /// The next piece of an answer's content.
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Frame<Bytes>>, LinkError>> {
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(Ok(None)) };
        Pin::new(incoming).poll_frame(cx).map(|frame| Ok(frame.transpose()?))
    }

    /// Whether all of the answer has come.
    pub(super) fn is_answered(&self) -> bool {
        self.incoming.as_ref().is_none_or(Incoming::is_end_stream)
    }

    /// How many bytes of content will come, where that is known.
    pub(super) fn exact(&self) -> Option<u64> {
        self.incoming.as_ref().map_or(Some(0), |incoming| incoming.size_hint().exact())
    }

    /// Ready when `deadline` has passed.
    pub(super) fn poll_deadline(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if alarm.deadline() > deadline {
            alarm.as_mut().reset(deadline);
        }
        while alarm.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            alarm.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

/// Whether a member has said that it did nothing with a request (RFC 9113, 8.7), or never got it.
pub(super) fn was_refused(error: &LinkError) -> bool {
    let LinkError::Http2(error) = error else { return false };
    if error.is_canceled() {
        return true;
    }
    let source = std::error::Error::source(error);
    let reset = source.and_then(|source| source.downcast_ref::<h2::Error>());
    reset
        .is_some_and(|error| error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM))
}
