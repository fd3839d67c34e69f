//! Where one HTTP/1 message ends and the next begins, read strictly (RFC 9112).
//!
//! hyper reads requests, and is lenient where many servers are: what two servers on the way of one
//! request read differently, one of them can be made to take for two requests. This stands in front
//! of it. Bytes go in; those that are good come out, whole heads at a time; with the first bad one
//! nothing follows any more. It knows no socket and no answer. Of HTTP/2 it counts frames, in the
//! same place.

mod chunked;
mod frames;
mod head;
mod refusal;
#[cfg(test)]
mod tests;

use bytes::{Bytes, BytesMut};

pub use self::refusal::Refusal;
pub(crate) use self::{
    chunked::Chunked,
    head::{is_text, length},
};
use self::{frames::Frames, head::Lines};

/// The bytes of one connection, from the first request on.
#[derive(Debug, Default)]
pub struct Framing {
    state: State,
    /// A head, or trailers, whose end has not come.
    held: BytesMut,
}

#[derive(Debug, Default)]
enum State {
    /// Nothing is looked at: a tunnel.
    #[default]
    Off,
    Head(Lines),
    /// Content of a length that was announced; so much is still to come.
    Length(u64),
    Chunks(Chunked),
    Trailers(Lines),
    Refused(Refused),
    Http2(Frames),
    /// There were too many frames.
    Flood(Frames),
}

#[derive(Clone, Copy, Debug)]
struct Refused {
    refusal: Refusal,
    /// Whether it was in the content of a request whose head is out already.
    in_content: bool,
}

/// What follows a head.
enum Content {
    Length(u64),
    Chunked,
}

/// What may be handed on of the bytes that were given.
#[derive(Debug)]
pub enum Passed {
    /// So many of them.
    Prefix(usize),
    /// Bytes that came before, and of the new ones those that belong to them.
    Held(Bytes),
}

impl Framing {
    /// From the first byte of a request.
    #[must_use]
    pub fn http1() -> Self {
        Self { state: State::Head(Lines::default()), held: BytesMut::new() }
    }

    /// From the preface of HTTP/2.
    #[must_use]
    pub fn http2() -> Self {
        Self { state: State::Http2(Frames::new()), held: BytesMut::new() }
    }

    /// So many bytes were written to the client, which explain what it sends on HTTP/2.
    pub fn note_sent(&mut self, bytes: usize) {
        if let State::Http2(frames) = &mut self.state {
            frames.note_sent(bytes);
        }
    }

    /// What is to be written to a client of HTTP/2 that was refused, once.
    pub fn goaway(&mut self) -> Option<[u8; 17]> {
        match &mut self.state {
            State::Flood(frames) => frames.goaway(),
            _ => None,
        }
    }

    /// Whether bytes need not be given.
    #[must_use]
    pub fn is_off(&self) -> bool {
        matches!(self.state, State::Off)
    }

    /// Why nothing more is handed on, and whether that was within the content of a request that
    /// has been.
    #[must_use]
    pub fn refused(&self) -> Option<(Refusal, bool)> {
        match &self.state {
            State::Refused(refused) => Some((refused.refusal, refused.in_content)),
            State::Flood(_) => Some((Refusal::Frames, true)),
            _ => None,
        }
    }

    /// Whether the last message has been handed on to its end, and nothing of the next has come.
    #[must_use]
    pub fn is_between(&self) -> bool {
        self.held.is_empty() && matches!(&self.state, State::Head(lines) if lines.is_fresh())
    }

    /// Bytes of a head that is not complete.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held.len()
    }

    /// What follows is no HTTP/1 any more. Gives what was held back.
    #[must_use]
    pub fn end(&mut self) -> Bytes {
        self.state = State::Off;
        std::mem::take(&mut self.held).freeze()
    }

    /// Takes what was read. All of it is used: handed on, held, or, behind an error, dropped.
    pub fn take(&mut self, input: &[u8]) -> Passed {
        if let State::Http2(frames) = &mut self.state {
            return match frames.scan(input) {
                Ok(()) => Passed::Prefix(input.len()),
                Err(frames::Flood) => {
                    if let State::Http2(frames) = std::mem::take(&mut self.state) {
                        self.state = State::Flood(frames);
                    }
                    Passed::Prefix(0)
                }
            };
        }
        if self.held.is_empty() {
            let passed = self.scan(input);
            if self.refused().is_none()
                && let Some(rest @ [_, ..]) = input.get(passed..)
            {
                self.held.extend_from_slice(rest);
            }
            return Passed::Prefix(passed);
        }
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(input);
        let passed = self.scan(&held);
        let good = held.split_to(passed.min(held.len()));
        if self.refused().is_none() {
            self.held = held;
        }
        Passed::Held(good.freeze())
    }

    /// How much of `bytes`, which begin with what is held, may be handed on.
    fn scan(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some(rest @ [_, ..]) = bytes.get(at..) {
            match self.step(rest) {
                Ok(0) => break,
                Ok(used) => at += used,
                Err((good, refusal)) => {
                    at += good;
                    let in_content = matches!(self.state, State::Chunks(_) | State::Trailers(_));
                    self.state = State::Refused(Refused { refusal, in_content });
                    break;
                }
            }
        }
        at
    }

    /// How many bytes are good, of as many as one state has something to say about. None when more
    /// have to come.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, (usize, Refusal)> {
        match &mut self.state {
            State::Off | State::Http2(_) => Ok(bytes.len()),
            State::Refused(_) | State::Flood(_) => Ok(0),
            State::Head(lines) => {
                let end = lines.scan(bytes, true).map_err(|refusal| (0, refusal))?;
                let Some(end) = end else { return Ok(0) };
                let content = lines.content().map_err(|refusal| (0, refusal))?;
                self.state = match content {
                    Content::Length(0) => State::Head(Lines::default()),
                    Content::Length(bytes) => State::Length(bytes),
                    Content::Chunked => State::Chunks(Chunked::default()),
                };
                Ok(end)
            }
            State::Length(left) => {
                let here = u64::try_from(bytes.len()).unwrap_or(u64::MAX).min(*left);
                *left -= here;
                if *left == 0 {
                    self.state = State::Head(Lines::default());
                }
                Ok(usize::try_from(here).unwrap_or(bytes.len()))
            }
            State::Chunks(chunked) => {
                let used = chunked.scan(bytes)?;
                if chunked.is_at_trailers() {
                    self.state = State::Trailers(Lines::default());
                }
                Ok(used)
            }
            State::Trailers(lines) => {
                let end = lines.scan(bytes, false).map_err(|refusal| (0, refusal))?;
                if end.is_some() {
                    self.state = State::Head(Lines::default());
                }
                Ok(end.unwrap_or(0))
            }
        }
    }
}
