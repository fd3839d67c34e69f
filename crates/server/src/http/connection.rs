//! One connection from its first request to its end.
//!
//! hyper reads requests and writes answers; this task polls it, sends what a poll has written in
//! one go, looks at the clock now and then, and takes hyper's buffers away from a connection that
//! waits for its next request.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::Service,
};
use tokio::time::{Instant, Sleep};
use tracing::debug;

use super::{
    dispatch::{Answer, ConnInfo, Counted, dispatch},
    tasks::{NewTasks, Tasks},
};
use crate::{
    limits::{
        BUFFERS_KEPT_MAX, BUFFERS_KEPT_MIN, CONNECTION_TICK, HTTP2_CONNECTION_WINDOW_BYTES,
        HTTP2_HEADER_LIST_BYTES_MAX, HTTP2_PENDING_RESETS_MAX, HTTP2_STREAM_WINDOW_BYTES,
        HTTP2_STREAMS_MAX, KEEP_ALIVE_TIMEOUT, LINGER_TIMEOUT, REQUEST_FIELDS_MAX,
        REQUEST_HEAD_BYTES_MAX, REQUEST_HEAD_TIMEOUT, STALL_TIMEOUT,
    },
    log::errors::Reason,
    text_of,
    tls::stream::{Progress, Stream},
};

/// Serves a connection until it ends.
pub fn serve(stream: Stream, info: Arc<ConnInfo>) -> impl Future<Output = ()> + Send {
    let now = Instant::now();
    let progress = stream.progress();
    Driver {
        requests: Requests { info },
        engine: Engine::Asleep,
        tasks: Box::default(),
        tick: Box::pin(tokio::time::sleep(CONNECTION_TICK)),
        buffers_kept: BUFFERS_KEPT_MIN,
        clock: Clock::new(now, progress),
        told: false,
        stream,
    }
}

struct Driver {
    stream: Stream,
    requests: Requests,
    engine: Engine,
    tasks: Box<Tasks>,
    tick: Pin<Box<Sleep>>,
    /// How long hyper's buffers are kept without a request.
    buffers_kept: Duration,
    clock: Clock,
    /// Whether hyper was told to come to an end.
    told: bool,
}

enum Engine {
    /// No request is under way and no buffer is held: waiting for bytes.
    Asleep,
    Http1(Box<http1::Connection<Stream, Requests>>),
    Http2(Box<http2::Connection<Stream, Requests, NewTasks>>),
    /// Nothing is read or answered any more; what was written is sent.
    Closing,
    /// The sending side is closed; what still comes is dropped.
    Lingering,
}

/// When something last happened, to the precision of a tick.
struct Clock {
    progress: Progress,
    moved: Instant,
    idle_since: Instant,
    /// What had passed when the connection became idle.
    idle_from: Progress,
    /// How many requests had begun when the driver last looked.
    requests: u64,
    /// Whether any has begun since the last tick. Most begin and end between two.
    busy: bool,
}

impl Clock {
    fn new(now: Instant, progress: Progress) -> Self {
        Self {
            progress,
            moved: now,
            idle_since: now,
            idle_from: progress,
            requests: 0,
            busy: false,
        }
    }
}

/// The service of a connection.
#[derive(Clone)]
struct Requests {
    info: Arc<ConnInfo>,
}

impl Service<Request<Incoming>> for Requests {
    type Response = Response<Counted>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Answer {
        dispatch(request, &self.info)
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let driver = &mut *self;
        driver.requests.info.connection.register(cx.waker());
        if driver.requests.info.connection.is_draining() && !driver.told {
            driver.finish();
        }
        loop {
            match driver.poll_engine(cx) {
                Poll::Ready(Step::Again) => continue,
                Poll::Ready(Step::Over) => return Poll::Ready(()),
                Poll::Pending => {}
            }
            driver.note_requests();
            // After the engine, which may have set the clock anew.
            if driver.tick.as_mut().poll(cx).is_pending() {
                break;
            }
            if driver.on_tick() == Verdict::GiveUp {
                return Poll::Ready(());
            }
        }
        // All that this poll has written leaves in one go.
        match driver.stream.poll_send(cx) {
            Poll::Ready(Err(_)) => Poll::Ready(()),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        }
    }
}

enum Step {
    Again,
    Over,
}

#[derive(PartialEq, Eq)]
enum Verdict {
    GoOn,
    GiveUp,
}

impl Driver {
    fn poll_engine(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        match &mut self.engine {
            Engine::Asleep => match self.stream.poll_readable(cx) {
                Poll::Ready(Ok(())) => {
                    self.wake();
                    Poll::Ready(Step::Again)
                }
                Poll::Ready(Err(_)) => Poll::Ready(self.close()),
                Poll::Pending => Poll::Pending,
            },
            Engine::Http1(http) => match http.poll_without_shutdown(cx) {
                Poll::Ready(result) => Poll::Ready(self.ended(result)),
                Poll::Pending => Poll::Pending,
            },
            Engine::Http2(http) => loop {
                if let Poll::Ready(result) = Pin::new(&mut *http).poll(cx) {
                    return Poll::Ready(self.ended(result));
                }
                if !self.tasks.poll(cx) {
                    return Poll::Pending;
                }
            },
            Engine::Closing => match self.stream.poll_close(cx) {
                Poll::Ready(Ok(())) if self.requests.info.connection.has_unread_content() => {
                    self.engine = Engine::Lingering;
                    self.tick.as_mut().reset(Instant::now() + LINGER_TIMEOUT);
                    Poll::Ready(Step::Again)
                }
                Poll::Ready(_) => Poll::Ready(Step::Over),
                Poll::Pending => Poll::Pending,
            },
            Engine::Lingering => self.stream.poll_discard(cx).map(|_| Step::Over),
        }
    }

    fn ended(&mut self, result: hyper::Result<()>) -> Step {
        if matches!(self.engine, Engine::Http2(_)) {
            // Frames may be on their way, updates of windows at least. They must not meet a closed
            // socket: the reset would take the end of the last answer from the peer.
            self.requests.info.connection.note_unread_content();
        }
        if let Err(error) = result {
            let peer = self.requests.info.connection.peer;
            debug!(%peer, error = %text_of(&error), "connection ended early");
            self.note_error(&error);
            // What was wrong with it may not have been read to its end.
            self.requests.info.connection.note_unread_content();
        }
        self.close()
    }

    fn close(&mut self) -> Step {
        self.engine = Engine::Closing;
        self.tick.as_mut().reset(Instant::now() + CONNECTION_TICK);
        Step::Again
    }

    /// Gives the connection to hyper.
    fn wake(&mut self) {
        let (stream, requests) = (self.stream.clone(), self.requests.clone());
        let http2 = requests.info.tls.as_ref().is_some_and(|tls| tls.http2);
        self.engine = match http2 {
            true => Engine::Http2(Box::new(
                http2_builder(self.tasks.executor()).serve_connection(stream, requests),
            )),
            false => {
                self.buffers_kept = BUFFERS_KEPT_MIN;
                self.tick.as_mut().reset(Instant::now() + BUFFERS_KEPT_MIN);
                Engine::Http1(Box::new(http1_builder().serve_connection(stream, requests)))
            }
        };
    }

    /// Tells hyper to answer what has begun and then to end.
    fn finish(&mut self) {
        self.told = true;
        match &mut self.engine {
            Engine::Asleep => self.engine = Engine::Closing,
            Engine::Http1(http) => Pin::new(&mut **http).graceful_shutdown(),
            Engine::Http2(http) => Pin::new(&mut **http).graceful_shutdown(),
            Engine::Closing | Engine::Lingering => {}
        }
    }

    /// Bytes that come after a request has begun are those of the next.
    fn note_requests(&mut self) {
        let requests = self.requests.info.connection.begun();
        if requests != self.clock.requests {
            self.clock.requests = requests;
            self.clock.idle_from = self.stream.progress();
            self.clock.busy = true;
        }
    }

    fn on_tick(&mut self) -> Verdict {
        let now = Instant::now();
        let progress = self.stream.progress();
        if progress != self.clock.progress {
            self.clock.progress = progress;
            self.clock.moved = now;
        }
        let unmoved = now - self.clock.moved;
        if std::mem::take(&mut self.clock.busy) {
            self.clock.idle_since = now;
        }
        match &self.engine {
            Engine::Closing if unmoved < STALL_TIMEOUT => {}
            Engine::Closing | Engine::Lingering => return Verdict::GiveUp,
            Engine::Asleep | Engine::Http1(_) | Engine::Http2(_) => {
                if self.requests.info.connection.in_flight() > 0 {
                    self.clock.idle_since = now;
                    self.clock.idle_from = progress;
                    self.keep_buffers_longer();
                    if unmoved > STALL_TIMEOUT {
                        self.note(Reason::TimerMinBytesPerSecond, "");
                        return Verdict::GiveUp;
                    }
                } else if self.idle_too_long(now) {
                    if self.told {
                        return Verdict::GiveUp;
                    }
                    self.note(self.idle_reason(), "");
                    self.finish();
                } else if unmoved.is_zero() || self.has_begun() {
                    self.keep_buffers_longer();
                } else {
                    self.sleep();
                }
            }
        }
        let next = now + self.next_tick(now);
        self.tick.as_mut().reset(next);
        Verdict::GoOn
    }

    /// And look at the clock less often.
    fn keep_buffers_longer(&mut self) {
        self.buffers_kept = (self.buffers_kept * 2).min(BUFFERS_KEPT_MAX);
    }

    /// Whether a part of the next request has come.
    fn has_begun(&self) -> bool {
        self.clock.idle_from.received != self.clock.progress.received
    }

    /// Notes in the errors log why the connection ends.
    fn note(&self, reason: Reason, detail: &str) {
        self.requests.info.note(reason, detail, (None, None));
    }

    /// Notes what hyper found wrong with what the client sent. A client that goes away is no error.
    fn note_error(&self, error: &hyper::Error) {
        let detail = text_of(error);
        if error.is_parse_too_large() {
            self.requests.info.note(Reason::RequestLength, &detail, (None, Some(431)));
        } else if error.is_parse() {
            self.requests.info.note(Reason::BadRequest, &detail, (None, Some(400)));
        } else if error.is_incomplete_message() {
            self.note(Reason::ConnectionDropped, &detail);
        } else if matches!(self.engine, Engine::Http2(_)) && !is_broken(error) {
            self.note(Reason::BadRequest, &detail);
        }
    }

    fn idle_reason(&self) -> Reason {
        match (&self.engine, self.has_begun()) {
            (Engine::Http1(_), true) => Reason::TimerHeaderWait,
            _ => Reason::TimerConnectionIdle,
        }
    }

    /// A connection without a request may wait for one; one that has begun to send it must go on.
    fn idle_too_long(&self, now: Instant) -> bool {
        let bound = match (&self.engine, self.has_begun()) {
            (Engine::Http1(_), true) => REQUEST_HEAD_TIMEOUT,
            _ => KEEP_ALIVE_TIMEOUT,
        };
        now - self.clock.idle_since > bound
    }

    fn next_tick(&self, now: Instant) -> Duration {
        match &self.engine {
            Engine::Asleep => {
                let left = KEEP_ALIVE_TIMEOUT.saturating_sub(now - self.clock.idle_since);
                left.max(CONNECTION_TICK)
            }
            Engine::Http1(_) => self.buffers_kept,
            Engine::Http2(_) | Engine::Closing | Engine::Lingering => CONNECTION_TICK,
        }
    }

    /// Takes hyper's buffers away. Only between two requests: with nothing under way, nothing left
    /// to send, and the last request read to its end, hyper holds nothing but those buffers, and
    /// bytes of the next head, which are given back to the stream.
    fn sleep(&mut self) {
        let connection = &self.requests.info.connection;
        if connection.has_unread_content() || !self.stream.is_sent() || self.told {
            return;
        }
        match std::mem::replace(&mut self.engine, Engine::Asleep) {
            Engine::Http1(http) => {
                let parts = http.into_parts();
                if !parts.read_buf.is_empty() {
                    // It came together with the last request. From now on it counts as begun, so
                    // that this is not done again at every tick.
                    let left = parts.read_buf.len() as u64;
                    self.clock.idle_from.received =
                        self.clock.progress.received.saturating_sub(left);
                    self.stream.unread(parts.read_buf);
                    self.wake();
                }
            }
            other => self.engine = other,
        }
    }
}

/// Whether the connection itself broke, which is nobody's request.
fn is_broken(error: &hyper::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if error.is::<std::io::Error>() {
            return true;
        }
        cause = error.source();
    }
    false
}

fn http1_builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .half_close(true)
        .max_headers(REQUEST_FIELDS_MAX)
        .max_buf_size(REQUEST_HEAD_BYTES_MAX)
        // The clock of the connection closes slow heads.
        .header_read_timeout(None);
    builder
}

fn http2_builder(tasks: NewTasks) -> http2::Builder<NewTasks> {
    let mut builder = http2::Builder::new(tasks);
    builder
        .max_concurrent_streams(HTTP2_STREAMS_MAX)
        .max_header_list_size(HTTP2_HEADER_LIST_BYTES_MAX)
        .max_pending_accept_reset_streams(HTTP2_PENDING_RESETS_MAX)
        .initial_stream_window_size(HTTP2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(HTTP2_CONNECTION_WINDOW_BYTES);
    builder
}
