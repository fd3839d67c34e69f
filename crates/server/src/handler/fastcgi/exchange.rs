//! One request on one connection: content goes up and the answer comes down in the same poll, so
//! neither waits for the other, and both wait for whoever is slow.

use std::{
    future::{Future as _, poll_fn},
    io::{self, IoSlice},
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use tokio::time::Instant;

use super::{
    pool::Link,
    record::{self, CONTENT_BYTES_MAX, Decoder, Event, ProtocolStatus, RecordError, STDIN_END},
    source::{Source, SourceError},
    stderr::Stderr,
};
use crate::limits::{FASTCGI_FIRST_READ_BYTES, FASTCGI_READ_BYTES};

/// What goes to the program.
pub(super) struct Outgoing {
    /// Written first: the beginning of the request, or the header of a record of content.
    front: Vec<u8>,
    written: usize,
    /// The content of the record.
    data: Bytes,
    /// Content that is in no record yet.
    held: Bytes,
    /// How much of [`STDIN_END`] follows the record.
    end: &'static [u8],
    source: Source,
    /// Whether the source was asked. Until then the request can begin anew elsewhere.
    touched: bool,
    finished: bool,
    waits_for_client: bool,
}

impl Outgoing {
    /// A request that begins with `front`, which says that it is without content if it is.
    pub(super) fn new(front: Vec<u8>, source: Source) -> Self {
        let finished = source.is_nothing();
        Self {
            front,
            written: 0,
            data: Bytes::new(),
            held: Bytes::new(),
            end: &[],
            source,
            touched: false,
            finished,
            waits_for_client: false,
        }
    }

    fn is_written(&self) -> bool {
        self.written == self.front.len() && self.data.is_empty() && self.end.is_empty()
    }

    fn advance(&mut self, mut bytes: usize) {
        let front = bytes.min(self.front.len() - self.written);
        self.written += front;
        bytes -= front;
        let data = bytes.min(self.data.len());
        self.data.advance(data);
        self.end = self.end.get(bytes - data..).unwrap_or_default();
    }

    /// Puts the next record in place. `false` when there is none any more.
    fn poll_record(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, SourceError>> {
        if self.finished {
            return Poll::Ready(Ok(false));
        }
        self.touched = true;
        if self.held.is_empty() {
            let piece = match self.source.poll_piece(cx)? {
                Poll::Ready(piece) => piece,
                Poll::Pending => {
                    self.waits_for_client = self.source.is_live();
                    return Poll::Pending;
                }
            };
            self.waits_for_client = false;
            self.front.clear();
            self.written = 0;
            let Some(piece) = piece else {
                self.finished = true;
                self.end = &STDIN_END;
                return Poll::Ready(Ok(true));
            };
            self.held = piece;
        }
        self.data = self.held.split_to(self.held.len().min(CONTENT_BYTES_MAX));
        self.front.clear();
        self.written = 0;
        self.front.extend_from_slice(&record::stdin(self.data.len()));
        if self.held.is_empty() && self.source.is_over() {
            self.finished = true;
            self.end = &STDIN_END;
        }
        Poll::Ready(Ok(true))
    }
}

/// Why there is no answer, or no more of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExchangeError {
    /// Nothing of the request was taken.
    #[error("the connection to the program broke before the request was sent")]
    Unsent(#[source] io::Error),
    #[error("the connection to the program broke")]
    Broken(#[source] io::Error),
    #[error("the program closed the connection before the end of its answer")]
    Closed,
    #[error("the program sent what is no answer")]
    Record(#[from] RecordError),
    #[error("nothing moved for {} s", .0.as_secs())]
    TimedOut(Duration),
    #[error("the content of the request is not complete")]
    Source(#[from] SourceError),
}

/// A part of an answer.
pub(super) enum Part {
    Piece(Bytes),
    End(ProtocolStatus),
}

/// One request on one connection.
pub(super) struct Exchange {
    link: Box<Link>,
    decoder: Decoder,
    outgoing: Outgoing,
    stderr: Stderr,
    /// Whether the program takes nothing any more.
    deaf: bool,
    /// Whether anything was read.
    answered: bool,
    /// Whether the end was read.
    ended: bool,
    /// Whether the client has the head of the answer.
    head_is_out: bool,
    /// Bytes that moved, either way.
    moved: u64,
    /// What had moved when the wait began that goes on now.
    waiting: Option<u64>,
}

impl Exchange {
    pub(super) fn new(link: Box<Link>, outgoing: Outgoing, stderr: Stderr) -> Self {
        Self {
            link,
            decoder: Decoder::default(),
            outgoing,
            stderr,
            deaf: false,
            answered: false,
            ended: false,
            head_is_out: false,
            moved: 0,
            waiting: None,
        }
    }

    /// Whether the request may be sent again on another connection after `error`: nothing of its
    /// content is lost, nothing of an answer was seen, and it either never arrived or may be done
    /// twice (RFC 9110, 9.2.2).
    pub(super) fn can_begin_anew(&self, error: &ExchangeError, idempotent: bool) -> bool {
        let allowed = match error {
            ExchangeError::Unsent(_) => true,
            ExchangeError::Broken(_) | ExchangeError::Closed => idempotent,
            ExchangeError::Record(_) | ExchangeError::TimedOut(_) | ExchangeError::Source(_) => {
                false
            }
        };
        allowed && !self.answered && !self.outgoing.touched
    }

    /// Sends the request again on another connection, from its beginning.
    pub(super) fn begin_anew(&mut self, link: Box<Link>) {
        self.link = link;
        self.decoder = Decoder::default();
        self.outgoing.written = 0;
        self.deaf = false;
        self.moved = 0;
        self.waiting = None;
    }

    /// The connection, if another request can use it.
    pub(super) fn into_link(self) -> Option<Box<Link>> {
        let clean = self.ended
            && !self.deaf
            && self.outgoing.finished
            && self.outgoing.is_written()
            && self.decoder.is_between_records();
        clean.then_some(self.link)
    }

    /// The next part, if it has come already.
    pub(super) fn part_at_hand(&mut self) -> Result<Option<Part>, ExchangeError> {
        loop {
            match self.decoder.decode(&mut self.link.unread)? {
                None => return Ok(None),
                Some(Event::Stdout(piece)) => return Ok(Some(Part::Piece(piece))),
                Some(Event::Stderr(piece)) => self.stderr.take(&piece),
                Some(Event::End { app_status, protocol_status }) => {
                    // Padding of the last record.
                    drop(self.decoder.decode(&mut self.link.unread));
                    self.ended = true;
                    self.stderr.end(app_status);
                    return Ok(Some(Part::End(protocol_status)));
                }
            }
        }
    }

    /// The client gets the head of the answer. From then on nobody but us ends a wait of client and
    /// program for each other.
    pub(super) fn note_head_out(&mut self) {
        self.head_is_out = true;
    }

    /// The next part. Fails when the program keeps us waiting for longer than `patience`; how long
    /// the client does is its connection's matter until it has the head of the answer.
    pub(super) fn poll_part(
        &mut self,
        cx: &mut Context<'_>,
        patience: Duration,
    ) -> Poll<Result<Part, ExchangeError>> {
        if let Poll::Ready(part) = self.poll_now(cx) {
            self.waiting = None;
            return Poll::Ready(part);
        }
        self.stderr.write();
        if self.outgoing.waits_for_client && !self.head_is_out {
            self.waiting = None;
            return Poll::Pending;
        }
        if self.waiting != Some(self.moved) {
            self.waiting = Some(self.moved);
            self.link.timer.as_mut().reset(Instant::now() + patience);
        }
        self.link.timer.as_mut().poll(cx).map(|()| Err(ExchangeError::TimedOut(patience)))
    }

    fn poll_now(&mut self, cx: &mut Context<'_>) -> Poll<Result<Part, ExchangeError>> {
        self.poll_send(cx)?;
        loop {
            if let Some(part) = self.part_at_hand()? {
                return Poll::Ready(Ok(part));
            }
            let bytes = if self.answered { FASTCGI_READ_BYTES } else { FASTCGI_FIRST_READ_BYTES };
            match self.link.poll_read(cx, bytes) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(ExchangeError::Closed)),
                Poll::Ready(Ok(bytes)) => {
                    self.answered = true;
                    self.moved += bytes as u64;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(ExchangeError::Broken(error))),
            }
        }
    }

    /// Sends what can be sent now.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<(), ExchangeError> {
        while !self.deaf {
            let outgoing = &mut self.outgoing;
            if outgoing.is_written() {
                match outgoing.poll_record(cx) {
                    Poll::Ready(Ok(true)) => {}
                    Poll::Ready(Err(error)) => return Err(error.into()),
                    Poll::Ready(Ok(false)) | Poll::Pending => return Ok(()),
                }
            }
            let front = outgoing.front.get(outgoing.written..).unwrap_or_default();
            let pieces = [front, &outgoing.data, outgoing.end].map(IoSlice::new);
            let pieces = match outgoing.data.is_empty() && outgoing.end.is_empty() {
                true => pieces.get(..1).unwrap_or(&pieces),
                false => &pieces,
            };
            match self.link.stream.poll_write(cx, pieces) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(bytes)) if bytes > 0 => {
                    outgoing.advance(bytes);
                    self.moved += bytes as u64;
                }
                Poll::Ready(written) => {
                    if self.moved == 0 {
                        let error =
                            written.err().unwrap_or_else(|| io::ErrorKind::WriteZero.into());
                        return Err(ExchangeError::Unsent(error));
                    }
                    // It may have said why before it stopped to listen.
                    self.deaf = true;
                    outgoing.waits_for_client = false;
                }
            }
        }
        Ok(())
    }

    /// The same as [`Self::poll_part`], to be awaited.
    pub(super) async fn part(&mut self, patience: Duration) -> Result<Part, ExchangeError> {
        poll_fn(|cx| self.poll_part(cx, patience)).await
    }
}
