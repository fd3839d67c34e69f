//! One HTTP/1.1 connection to an upstream server, driven by who uses it.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as _;
use hyper::{
    body::{Frame, Incoming},
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, Sleep};

use super::{
    connect::Purpose,
    hub::Hub,
    upload::{Source, Upload},
    wire::{Transport, Wire},
};
use crate::limits::{
    UPSTREAM_BUFFER_BYTES_MAX, UPSTREAM_CONTINUE_TIMEOUT, UPSTREAM_HEAD_BYTES_MAX,
    UPSTREAM_VERIFIED_FOR,
};

/// A connection that carries one request after the other.
pub(super) struct Link {
    connection: http1::Connection<TokioIo<Wire>, Upload>,
    sender: SendRequest<Upload>,
    hub: Arc<Hub>,
    /// Wakes the hub.
    waker: Waker,
    /// Set anew only when it has run out: it may ring too early, never too late.
    alarm: Pin<Box<Sleep>>,
    /// What hyper's connection came to.
    ended: Option<hyper::Result<()>>,
    /// What had been sent and received when the last request was begun.
    before: (u64, u64),
    /// Since when it has no request.
    pub(super) idle_since: Instant,
    /// Whether it has carried a request before.
    pub(super) used: bool,
    /// What it was opened for.
    pub(super) purpose: Purpose,
}

/// Why there is no answer, or no more of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    /// The connection broke, or what came is no HTTP.
    #[error(transparent)]
    Http(#[from] hyper::Error),
    /// It ended before the answer.
    #[error("the connection was closed before an answer")]
    Closed,
    /// Interim answers or a head without end.
    #[error("no answer within {UPSTREAM_HEAD_BYTES_MAX} bytes")]
    EndlessHead,
    /// Nothing came in time.
    #[error("nothing came for {} s", .0.as_secs())]
    Silent(Duration),
}

impl Link {
    pub(super) async fn new(transport: Transport, purpose: Purpose) -> Result<Self, hyper::Error> {
        let hub = Arc::new(Hub::default());
        let wire = Wire::answering_early(transport, Arc::clone(&hub));
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(UPSTREAM_BUFFER_BYTES_MAX)
            .max_header_size(UPSTREAM_BUFFER_BYTES_MAX)
            .handshake(TokioIo::new(wire))
            .await?;
        let now = Instant::now();
        Ok(Self {
            connection,
            sender,
            waker: Waker::from(Arc::clone(&hub)),
            hub,
            alarm: Box::pin(tokio::time::sleep_until(now)),
            ended: None,
            before: (0, 0),
            idle_since: now,
            used: false,
            purpose,
        })
    }

    /// Bytes sent and received since the last request was begun.
    pub(super) fn exchanged(&self) -> (u64, u64) {
        let (sent, received) = self.hub.moved();
        (sent - self.before.0, received - self.before.1)
    }

    /// It waits for its next request from now on.
    pub(super) fn rest(&mut self) {
        self.idle_since = Instant::now();
        self.used = true;
        // The task may end, and its memory must not be kept for this.
        self.hub.forget_task();
    }

    /// Whether a request may be sent: it is open, and nothing has come that nobody asked for.
    pub(super) fn is_fit(&mut self) -> bool {
        // The reactor tells soon enough of a connection that was busy just now.
        self.hub.set_probing(self.idle_since.elapsed() > UPSTREAM_VERIFIED_FOR);
        let fit = self.is_idle();
        self.hub.set_probing(false);
        fit
    }

    /// Whether the last exchange is over and the connection good for another.
    pub(super) fn is_idle(&mut self) -> bool {
        if self.ended.is_none() {
            let mut cx = Context::from_waker(&self.waker);
            if let Poll::Ready(end) = self.connection.poll_without_shutdown(&mut cx) {
                self.ended = Some(end);
            }
        }
        self.ended.is_none() && self.sender.is_ready() && !self.hub.is_deaf()
    }

    /// The socket, and what was read of it, when a 101 has ended what was HTTP on it.
    pub(super) fn into_tunnel(mut self) -> Option<(TokioIo<Wire>, Bytes)> {
        let free = !self.is_idle() && matches!(self.ended, Some(Ok(())));
        let parts = free.then(|| self.connection.into_parts());
        parts.map(|parts| (parts.io, parts.read_buf))
    }

    /// Polls `part`, the connection, and both again as long as that moves anything.
    fn drive<T>(
        &mut self,
        cx: &Context<'_>,
        mut part: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<Result<T, LinkError>> {
        let Self { connection, waker, ended, hub, .. } = self;
        let mut inner = Context::from_waker(waker);
        hub.drive(cx, || {
            if let Poll::Ready(value) = part(&mut inner) {
                return Poll::Ready(Ok(value));
            }
            if ended.is_some() {
                // Nothing will wake the part any more, were it to be ready later.
                return Poll::Ready(Err(LinkError::Closed));
            }
            if let Poll::Ready(end) = connection.poll_without_shutdown(&mut inner) {
                *ended = Some(end);
                inner.waker().wake_by_ref();
            }
            Poll::Pending
        })
    }

    /// Sends a request and waits for the head of its answer: `patience` from the end of the request.
    pub(super) async fn ask(
        &mut self,
        request: Request<Upload>,
        source: Option<&Source>,
        patience: Duration,
    ) -> Result<Response<Incoming>, LinkError> {
        self.before = self.hub.moved();
        let begun = Instant::now();
        let mut sent = 0;
        let mut sent_at = begun;
        let mut response = std::pin::pin!(self.sender.send_request(request));
        std::future::poll_fn(|cx| {
            match self.drive(cx, |cx| response.as_mut().poll(cx)) {
                Poll::Ready(Ok(answer)) => return Poll::Ready(answer.map_err(LinkError::from)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {}
            }
            let exchanged = self.exchanged();
            if exchanged.1 > UPSTREAM_HEAD_BYTES_MAX {
                return Poll::Ready(Err(LinkError::EndlessHead));
            }
            if exchanged.0 != sent {
                sent = exchanged.0;
                sent_at = Instant::now();
            }
            if source.is_some_and(Source::waits_for_client) {
                return Poll::Pending;
            }
            if let Some(source) = source.filter(|source| source.is_held()) {
                if self.poll_deadline(cx, begun + UPSTREAM_CONTINUE_TIMEOUT).is_ready() {
                    source.release();
                }
                return Poll::Pending;
            }
            self.poll_deadline(cx, sent_at + patience).map(|()| Err(LinkError::Silent(patience)))
        })
        .await
    }

    /// The next piece of an answer's content.
    pub(super) fn poll_frame(
        &mut self,
        cx: &Context<'_>,
        incoming: &mut Incoming,
    ) -> Poll<Result<Option<Frame<Bytes>>, LinkError>> {
        let polled = self.drive(cx, |cx| Pin::new(&mut *incoming).poll_frame(cx));
        polled.map(|polled| Ok(polled?.transpose()?))
    }

    /// Ready when `deadline` has passed.
    pub(super) fn poll_deadline(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        if self.alarm.deadline() > deadline {
            self.alarm.as_mut().reset(deadline);
        }
        while self.alarm.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            self.alarm.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}
