//! One HTTP/1.1 connection to an upstream server, driven by who uses it: within the future of the
//! request, and woken with it.

use std::{
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{StatusCode, response};
use http_body::Frame;
use tokio::{
    io::{AsyncReadExt as _, AsyncWrite as _},
    time::{Instant, Sleep},
};

use super::{
    answer::{Coming, Head, Heads, Malformed},
    connect::Purpose,
    interim::Interim,
    output::{Output, Sending, SendingEnded},
    upload::Source,
    wire::Transport,
};
use crate::limits::{
    UPSTREAM_BUFFER_BYTES_MAX, UPSTREAM_CONTINUE_TIMEOUT, UPSTREAM_HEAD_BYTES_MAX,
    UPSTREAM_READ_BYTES, UPSTREAM_VERIFIED_FOR,
};

/// A connection that carries one request after the other.
pub(super) struct Link {
    transport: Transport,
    output: Output,
    /// The content of the request that is not taken yet.
    sending: Option<Sending>,
    /// Whether TLS may hold back what was written.
    unflushed: bool,
    input: BytesMut,
    /// How much is read at once.
    read_bytes: usize,
    heads: Heads,
    /// What is still to come of the answer. Over, too, where none was asked for.
    coming: Coming,
    /// Whether a request waits for the head of its answer.
    asked: bool,
    /// Whether the last answer lets another follow.
    keeps: bool,
    /// Whether the other side takes nothing any more. A server may answer and close before it has
    /// read all of a request (RFC 9112, 9.6): what it does not take is dropped then, and its answer
    /// is read.
    deaf: bool,
    /// Bytes sent and received since the last request was begun.
    sent: u64,
    received: u64,
    /// Set anew only when it has run out: it may ring too early, never too late.
    alarm: Option<Pin<Box<Sleep>>>,
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
    /// The connection broke, or what came is no HTTP/2.
    #[error(transparent)]
    Http2(#[from] hyper::Error),
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[from] io::Error),
    /// What came is no answer.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// What was to be sent did not come.
    #[error(transparent)]
    Sending(#[from] SendingEnded),
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
    pub(super) fn new(transport: Transport, purpose: Purpose) -> Self {
        Self {
            transport,
            output: Output::default(),
            sending: None,
            unflushed: false,
            input: BytesMut::new(),
            read_bytes: UPSTREAM_READ_BYTES,
            heads: Heads::default(),
            coming: Coming::Over,
            asked: false,
            keeps: true,
            deaf: false,
            sent: 0,
            received: 0,
            alarm: None,
            idle_since: Instant::now(),
            used: false,
            purpose,
        }
    }

    /// Bytes sent and received since the last request was begun.
    pub(super) fn exchanged(&self) -> (u64, u64) {
        (self.sent, self.received)
    }

    /// It waits for its next request from now on.
    pub(super) fn rest(&mut self) {
        self.idle_since = Instant::now();
        self.used = true;
        self.output.rest();
        if self.read_bytes > UPSTREAM_READ_BYTES {
            self.read_bytes = UPSTREAM_READ_BYTES;
            self.input = BytesMut::new();
        }
    }

    /// Whether a request may be sent: it is open, and nothing has come that nobody asked for.
    pub(super) fn is_fit(&mut self, now: Instant) -> bool {
        // The reactor tells soon enough of a connection that was busy just now.
        let ask = now.saturating_duration_since(self.idle_since) > UPSTREAM_VERIFIED_FOR;
        self.is_idle() && self.transport.is_silent(ask)
    }

    /// Whether the last exchange is over, to the last byte of both sides, and the connection good
    /// for another.
    pub(super) fn is_idle(&self) -> bool {
        !self.asked
            && self.keeps
            && !self.deaf
            && self.coming.is_over()
            && self.input.is_empty()
            && self.sending.is_none()
            && self.output.is_empty()
            && !self.unflushed
    }

    /// The socket, and what was read of it, when a 101 has ended what was HTTP on it.
    pub(super) fn into_tunnel(self) -> Option<(Transport, Bytes)> {
        let free = matches!(self.coming, Coming::NoHttp)
            && self.sending.is_none()
            && self.output.is_empty()
            && !self.deaf;
        free.then(|| (self.transport, self.input.freeze()))
    }

    /// Begins a request, whose head `put` writes down. Nothing is sent yet.
    pub(super) fn begin(&mut self, put: impl FnOnce(&mut Vec<u8>), sending: Option<Sending>) {
        let lines = self.output.lines();
        put(lines);
        lines.extend_from_slice(b"\r\n");
        self.sending = sending;
        (self.sent, self.received) = (0, 0);
        (self.asked, self.keeps) = (true, false);
    }

    /// Sends what was begun and waits for the head of its answer: `patience` from the end of the
    /// request. `is_head` says whether the request is HEAD.
    pub(super) async fn ask(
        &mut self,
        is_head: bool,
        source: Option<&Source>,
        interim: &mut Interim<'_>,
        (begun, patience): (Instant, Duration),
    ) -> Result<response::Parts, LinkError> {
        let (mut sent, mut sent_at) = (0, begun);
        std::future::poll_fn(|cx| {
            loop {
                if let Poll::Ready(head) = self.poll_head(cx, is_head, interim) {
                    return Poll::Ready(head);
                }
                if self.sent != sent {
                    // The first poll sends what it can at once.
                    sent_at = if sent == 0 { begun } else { Instant::now() };
                    sent = self.sent;
                }
                if let Some(sending) = &mut self.sending {
                    if sending.held {
                        ready!(self.poll_deadline(cx, begun + UPSTREAM_CONTINUE_TIMEOUT));
                        self.release();
                        continue;
                    }
                    if source.is_some_and(Source::waits_for_client) {
                        return Poll::Pending;
                    }
                }
                ready!(self.poll_deadline(cx, sent_at + patience));
                return Poll::Ready(Err(LinkError::Silent(patience)));
            }
        })
        .await
    }

    /// The upstream wants the content of the request, or shall have it.
    fn release(&mut self) {
        if let Some(sending) = &mut self.sending {
            sending.held = false;
        }
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        is_head: bool,
        interim: &mut Interim<'_>,
    ) -> Poll<Result<response::Parts, LinkError>> {
        loop {
            self.poll_send(cx)?;
            while !self.input.is_empty() {
                let Some(head) = self.heads.take(&mut self.input, is_head)? else { break };
                if head.is_interim() {
                    if head.parts.status == StatusCode::CONTINUE {
                        self.release();
                        self.poll_send(cx)?;
                    } else {
                        interim.pass_on(&head.parts);
                    }
                    continue;
                }
                let Head { parts, content, keeps } = head;
                (self.asked, self.coming, self.keeps) = (false, content, keeps);
                return Poll::Ready(Ok(parts));
            }
            if self.received > UPSTREAM_HEAD_BYTES_MAX {
                return Poll::Ready(Err(LinkError::EndlessHead));
            }
            if ready!(self.poll_read(cx))? == 0 {
                return Poll::Ready(Err(LinkError::Closed));
            }
        }
    }

    /// The next piece of an answer's content, while content of the request may still be sent.
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Frame<Bytes>>, LinkError>> {
        loop {
            if self.coming.is_over() {
                return Poll::Ready(Ok(None));
            }
            self.poll_send(cx)?;
            if let Some(frame) = self.coming.take(&mut self.input)? {
                return Poll::Ready(Ok(Some(frame)));
            }
            if !self.coming.is_over() && ready!(self.poll_read(cx))? == 0 {
                self.coming.closed()?;
            }
        }
    }

    /// Whether all of the answer has come.
    pub(super) fn is_answered(&self) -> bool {
        self.coming.is_over()
    }

    /// How many bytes of content will come, where that is known.
    pub(super) fn exact(&self) -> Option<u64> {
        self.coming.exact()
    }

    /// Content that is here already, if that is all of it.
    pub(super) fn all_at_once(&mut self) -> Option<Bytes> {
        let Coming::Length(length) = self.coming else { return None };
        let length = usize::try_from(length).ok().filter(|length| *length <= self.input.len())?;
        self.coming = Coming::Over;
        Some(self.input.split_to(length).freeze())
    }

    /// Writes what there is to write, as far as the other side takes it.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<(), LinkError> {
        loop {
            while !self.output.is_empty() {
                match self.output.poll_write(&mut self.transport, cx) {
                    Poll::Pending => return Ok(()),
                    Poll::Ready(Ok(sent)) => {
                        self.sent += sent as u64;
                        self.unflushed = self.transport.holds_back();
                    }
                    Poll::Ready(Err(error)) => self.not_taken(error)?,
                }
            }
            let put = self.sending.as_mut().and_then(|one| one.poll_put(&mut self.output, cx));
            if let Some(Poll::Ready(ended)) = put {
                self.sending = None;
                ended?;
            }
            if !self.output.is_empty() {
                continue;
            }
            if self.unflushed {
                match Pin::new(&mut self.transport).poll_flush(cx) {
                    Poll::Pending => {}
                    Poll::Ready(Ok(())) => self.unflushed = false,
                    Poll::Ready(Err(error)) => self.not_taken(error)?,
                }
            }
            return Ok(());
        }
    }

    /// What was not written goes nowhere. An answer may still be there.
    fn not_taken(&mut self, error: io::Error) -> Result<(), LinkError> {
        if !matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) {
            return Err(error.into());
        }
        self.deaf = true;
        self.output.clear();
        self.sending = None;
        self.unflushed = false;
        Ok(())
    }

    /// Reads what has come; nothing when the other side has closed.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        // Where nobody holds what was read before, its place is used again.
        self.input.reserve(self.read_bytes);
        let read = ready!(pin!(self.transport.read_buf(&mut self.input)).poll(cx))?;
        self.received += read as u64;
        if read >= self.read_bytes {
            self.read_bytes = (self.read_bytes * 2).min(UPSTREAM_BUFFER_BYTES_MAX);
        }
        Poll::Ready(Ok(read))
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
