//! The rest of an answer, sent on while it comes. The connection to the program is driven by who
//! takes the answer: a client that takes nothing keeps the program waiting, one that goes away
//! closes its connection.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tracing::error;

use super::{
    exchange::{Exchange, ExchangeError, Part},
    pool::Program,
    record::ProtocolStatus,
};
use crate::{log::StrangerLog, text_of};

/// The rest of an answer.
pub(super) struct Answer {
    /// What has come already.
    pub(super) pieces: VecDeque<Bytes>,
    /// What it comes by; nothing after the end.
    pub(super) exchange: Option<Box<Exchange>>,
    /// What was promised and not sent yet, where a length was.
    pub(super) left: Option<u64>,
    pub(super) back: Back,
}

/// Where a connection goes after a request, and whose it was.
pub(super) struct Back {
    pub(super) program: Arc<Program>,
    pub(super) idle_max: u32,
    pub(super) idle_timeout: Duration,
    pub(super) site: Arc<str>,
    pub(super) lines: Arc<StrangerLog>,
}

impl Answer {
    fn broken(&mut self, error: &ExchangeError) -> io::Error {
        self.exchange = None;
        self.pieces.clear();
        // The client's part in it is no news.
        if !matches!(error, ExchangeError::Source(_)) && self.back.lines.may_write() {
            let Back { program, site, .. } = &self.back;
            error!(%site, program = %program.address, error = %text_of(error), "answer broken off");
        }
        io::Error::other("the answer of the program broke off")
    }

    /// The end of the answer was read.
    fn end(&mut self, status: ProtocolStatus) -> Result<(), ExchangeError> {
        if let Some(exchange) = self.exchange.take() {
            self.back.program.take_back(*exchange, self.back.idle_max);
        }
        match status {
            ProtocolStatus::Complete if self.left.unwrap_or(0) == 0 => Ok(()),
            _ => Err(ExchangeError::Closed),
        }
    }

    /// As much of a piece as was promised. Programs often say more: a line break behind the last
    /// `?>` of a script.
    fn promised(&mut self, mut piece: Bytes) -> Bytes {
        if let Some(left) = &mut self.left {
            piece.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= piece.len() as u64;
        }
        piece
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, ExchangeError>>> {
        loop {
            let piece = match (self.pieces.pop_front(), &mut self.exchange) {
                (Some(piece), _) => piece,
                (None, None) => return Poll::Ready(None),
                (None, Some(exchange)) => {
                    match ready!(exchange.poll_part(cx, self.back.idle_timeout)) {
                        Ok(Part::Piece(piece)) => piece,
                        Ok(Part::End(status)) => {
                            return Poll::Ready(self.end(status).err().map(Err));
                        }
                        Err(error) => return Poll::Ready(Some(Err(error))),
                    }
                }
            };
            let piece = self.promised(piece);
            if self.left == Some(0) && self.pieces.is_empty() {
                // Nobody asks for more than was promised, so the end is looked for now.
                self.look_for_end(cx);
            }
            if !piece.is_empty() {
                return Poll::Ready(Some(Ok(piece)));
            }
        }
    }

    fn look_for_end(&mut self, cx: &mut Context<'_>) {
        while let Some(exchange) = &mut self.exchange {
            match exchange.poll_part(cx, self.back.idle_timeout) {
                Poll::Ready(Ok(Part::Piece(_))) => {}
                Poll::Ready(Ok(Part::End(status))) => drop(self.end(status)),
                Poll::Ready(Err(_)) => self.exchange = None,
                Poll::Pending => return,
            }
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let answer = self.get_mut();
        Poll::Ready(match ready!(answer.poll_piece(cx)) {
            None => None,
            Some(Ok(piece)) => Some(Ok(Frame::data(piece))),
            Some(Err(error)) => Some(Err(answer.broken(&error))),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.exchange.is_none() && self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
