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

use http::{Method, Request, Response};
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
    tunnel::{Broken, Tunnel},
};
use crate::{
    connections::InFlight,
    limits::{
        BUFFERS_KEPT_MAX, BUFFERS_KEPT_MIN, CLIENT_BYTES_PER_SECOND_MIN, CONNECTION_TICK,
        HTTP2_CONNECTION_WINDOW_BYTES, HTTP2_ERROR_RESETS_MAX, HTTP2_HEADER_LIST_BYTES_MAX,
        HTTP2_PENDING_RESETS_MAX, HTTP2_STREAM_WINDOW_BYTES, HTTP2_STREAMS_MAX,
        HTTP2_UNSENT_BYTES_MAX, KEEP_ALIVE_TIMEOUT, LINGER_TIMEOUT, REQUEST_FIELDS_MAX,
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
    let tasks = Box::<Tasks>::default();
    match info.tls.as_ref().is_some_and(|tls| tls.http2) {
        true => stream.begin_frames(),
        false => stream.begin_framing(),
    }
    Driver {
        requests: Requests { info, tasks: tasks.executor() },
        engine: Engine::Asleep,
        tasks,
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
    /// Not HTTP any more: bytes are carried to an upstream server and back.
    Tunnel(Box<Tunnel>, #[allow(dead_code, reason = "counts down when it is dropped")] InFlight),
    /// Nothing is read or answered any more; what was written is sent.
    Closing,
    /// The sending side is closed; what still comes is dropped.
    Lingering,
}

/// When something last happened, to the precision of a tick.
struct Clock {
    ticked: Instant,
    progress: Progress,
    moved: Instant,
    /// Of content, in bytes.
    content: u64,
    /// What the client owes of [`CLIENT_BYTES_PER_SECOND_MIN`], times a thousand.
    debt: u64,
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
            ticked: now,
            progress,
            moved: now,
            content: 0,
            debt: 0,
            idle_since: now,
            idle_from: progress,
            requests: 0,
            busy: false,
        }
    }
}

/// What a client may owe, in thousandths of a byte.
const DEBT_MAX: u64 = CLIENT_BYTES_PER_SECOND_MIN * 1000 * STALL_TIMEOUT.as_secs();

/// The service of a connection.
#[derive(Clone)]
struct Requests {
    info: Arc<ConnInfo>,
    /// Where a stream that becomes a tunnel goes on.
    tasks: NewTasks,
}

impl Service<Request<Incoming>> for Requests {
    type Response = Response<Counted>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, mut request: Request<Incoming>) -> Answer {
        if request.method() == Method::CONNECT {
            request.extensions_mut().insert(self.tasks.clone());
        }
        dispatch(request, &self.info)
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let driver = &mut *self;
        driver.requests.info.connection.register(cx.waker());
        // A request that has begun to come is answered first. Hyper knows nothing of it yet.
        if driver.requests.info.connection.is_draining()
            && !driver.told
            && driver.stream.held_bytes() == 0
        {
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
                Poll::Ready(Err(error)) if error.is_user() => {
                    // The body of an answer broke off. To a client that takes the end of the
                    // connection for the end of the answer, only a reset tells the difference.
                    drop(self.stream.poll_send(cx));
                    self.stream.abort();
                    Poll::Ready(Step::Over)
                }
                // hyper calls itself done while it holds the end of an answer that the socket does
                // not take. It writes that when it is polled again.
                Poll::Ready(Ok(())) if self.stream.is_owed_a_write() => Poll::Pending,
                Poll::Ready(result) => Poll::Ready(self.ended(result)),
                // hyper reads nothing while it waits for an answer. Nobody has another server work
                // for a client that is gone.
                Poll::Pending if self.requests.info.connection.waits_for_upstream() => {
                    self.stream.poll_peer_closed(cx).map(|()| Step::Over)
                }
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
            Engine::Tunnel(tunnel, _) => match tunnel.poll(&mut self.stream, cx) {
                Poll::Ready(ended) => Poll::Ready(self.tunnel_ended(ended)),
                Poll::Pending => Poll::Pending,
            },
            Engine::Closing => match self.stream.poll_close(cx) {
                Poll::Ready(Ok(())) if self.may_have_unread() => {
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

    /// Whether bytes may be on their way that nobody will read.
    fn may_have_unread(&self) -> bool {
        self.requests.info.connection.has_unread_content() || self.stream.refused().is_some()
    }

    fn ended(&mut self, result: hyper::Result<()>) -> Step {
        if let Some(tunnel) = self.requests.info.take_tunnel()
            && result.is_ok()
        {
            return self.become_tunnel(tunnel);
        }
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

    /// The answer was a 101, and it is written.
    fn become_tunnel(&mut self, tunnel: Box<Tunnel>) -> Step {
        if self.stream.refused().is_some() {
            // It has spoken something other than HTTP before it was told that it may, and that is
            // lost.
            return self.close();
        }
        self.tick.as_mut().reset(Instant::now() + tunnel.tick());
        let engine = Engine::Tunnel(tunnel, self.requests.info.connection.go_on());
        if let Engine::Http1(http) = std::mem::replace(&mut self.engine, engine) {
            // What came with the request belongs to what is spoken from now on.
            self.stream.end_framing();
            self.stream.unread(http.into_parts().read_buf);
        }
        Step::Again
    }

    fn tunnel_ended(&mut self, ended: Result<(), Broken>) -> Step {
        if let Err(error) = ended {
            let peer = self.requests.info.connection.peer;
            debug!(%peer, error = %text_of(&error), "tunnel ended early");
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
            // What is spoken in a tunnel has no end that could be asked for.
            Engine::Tunnel(..) | Engine::Closing | Engine::Lingering => {}
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
        self.note_debt(now, progress);
        let held_back = matches!(&self.engine, Engine::Tunnel(tunnel, _) if tunnel.is_held_back());
        if progress != self.clock.progress || held_back {
            self.clock.progress = progress;
            self.clock.moved = now;
        }
        let unmoved = now - self.clock.moved;
        if std::mem::take(&mut self.clock.busy) {
            self.clock.idle_since = now;
        }
        match &self.engine {
            Engine::Lingering => return Verdict::GiveUp,
            Engine::Closing | Engine::Http1(_) | Engine::Http2(_) if self.owes_too_much() => {
                self.note(Reason::TimerMinBytesPerSecond, "");
                return Verdict::GiveUp;
            }
            Engine::Closing => {}
            Engine::Tunnel(tunnel, _) if unmoved < tunnel.idle => {}
            Engine::Tunnel(..) => {
                self.tunnel_ended(Err(Broken::Idle));
            }
            Engine::Asleep | Engine::Http1(_) | Engine::Http2(_) => {
                if self.requests.info.connection.in_flight() > 0 {
                    self.clock.idle_since = now;
                    self.clock.idle_from = progress;
                    self.keep_buffers_longer();
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

    /// Whether nobody but the client is waited for.
    fn waits_for_client(&self) -> bool {
        let connection = &self.requests.info.connection;
        match &self.engine {
            Engine::Closing => true,
            // The answer is there, and the client does not take it.
            Engine::Http1(_) if !self.stream.is_sent() => true,
            // Tunnels have a clock of their own.
            Engine::Http1(_) | Engine::Http2(_) => {
                connection.in_flight() > 0 && !connection.waits_for_us()
            }
            Engine::Asleep | Engine::Tunnel(..) | Engine::Lingering => false,
        }
    }

    /// Adds what the client owes for the time since the last tick, and takes off what it moved.
    fn note_debt(&mut self, now: Instant, progress: Progress) {
        let before = self.clock.progress;
        let (received, sent) = (progress.received - before.received, progress.sent - before.sent);
        let content = self.requests.info.connection.content_bytes();
        let moved = match &self.engine {
            // What moves there need not be content. But while the socket is full, all that leaves
            // it was waited for.
            Engine::Http2(_) => {
                let blocked = if self.stream.is_sent() { 0 } else { sent };
                content.wrapping_sub(self.clock.content) + blocked
            }
            _ => received + sent,
        };
        self.clock.content = content;
        let passed = now - std::mem::replace(&mut self.clock.ticked, now);
        self.clock.debt = match self.waits_for_client() {
            true => {
                let passed = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
                let owed = passed.saturating_mul(CLIENT_BYTES_PER_SECOND_MIN);
                self.clock.debt.saturating_add(owed).saturating_sub(moved.saturating_mul(1000))
            }
            false => 0,
        };
    }

    fn owes_too_much(&self) -> bool {
        self.clock.debt >= DEBT_MAX
    }

    /// How long it takes until the client owes too much, if it moves nothing.
    fn patience(&self) -> Duration {
        let left = DEBT_MAX.saturating_sub(self.clock.debt);
        Duration::from_millis(left.div_ceil(CLIENT_BYTES_PER_SECOND_MIN))
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
        if let (Engine::Http2(_), Some(refusal)) = (&self.engine, self.stream.refused()) {
            self.note(Reason::BadRequest, refusal.reason());
        } else if error.is_parse_too_large() {
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
        now - self.clock.idle_since > self.idle_bound()
    }

    fn idle_bound(&self) -> Duration {
        match (&self.engine, self.has_begun()) {
            (Engine::Http1(_) | Engine::Asleep, true) => REQUEST_HEAD_TIMEOUT,
            _ => KEEP_ALIVE_TIMEOUT,
        }
    }

    fn next_tick(&self, now: Instant) -> Duration {
        let left = self.idle_bound().saturating_sub(now - self.clock.idle_since);
        match &self.engine {
            Engine::Asleep => left.max(BUFFERS_KEPT_MIN),
            Engine::Http1(_) => self.buffers_kept,
            Engine::Tunnel(tunnel, _) => tunnel.tick(),
            // What was told to end, and has nothing under way, may answer that, and no more.
            Engine::Http2(_) if self.told => LINGER_TIMEOUT,
            Engine::Http2(_) => left.min(self.patience()).clamp(BUFFERS_KEPT_MIN, CONNECTION_TICK),
            Engine::Closing | Engine::Lingering => CONNECTION_TICK.min(self.patience()),
        }
    }

    /// Takes hyper's buffers away. Only between two requests: with nothing under way, nothing left
    /// to send, and the last request read to its end, hyper holds nothing but those buffers. It
    /// never has a part of a head: that is the stream's.
    fn sleep(&mut self) {
        if !self.stream.is_between_messages() && self.stream.held_bytes() == 0
            || !self.stream.is_sent()
            || self.told
        {
            return;
        }
        match std::mem::replace(&mut self.engine, Engine::Asleep) {
            Engine::Http1(http) => {
                let connection = &self.requests.info.connection;
                let left = http.into_parts().read_buf;
                if left.is_empty() {
                    connection.forget_unread_content();
                } else if connection.has_unread_content() {
                    // Of content that nobody read, perhaps.
                    self.close();
                    return;
                } else {
                    self.stream.unread(left);
                    self.wake();
                }
                let held = self.stream.held_bytes() as u64;
                if held > 0 {
                    // It came together with the last request, and counts as begun from now on.
                    self.clock.idle_from.received =
                        self.clock.progress.received.saturating_sub(held);
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
        // WebSocket and the like by extended CONNECT (RFC 8441); who may is for dispatch to say.
        .enable_connect_protocol()
        .max_send_buf_size(HTTP2_UNSENT_BYTES_MAX)
        .max_pending_accept_reset_streams(HTTP2_PENDING_RESETS_MAX)
        .max_local_error_reset_streams(HTTP2_ERROR_RESETS_MAX)
        .initial_stream_window_size(HTTP2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(HTTP2_CONNECTION_WINDOW_BYTES);
    builder
}
