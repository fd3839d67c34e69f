//! What is written to an upstream server on HTTP/1.1: the head of a request and its content, by
//! length or in chunks (RFC 9112, 6 and 7.1).

use std::{
    io::{self, IoSlice, Write as _},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, HeaderName};
use http_body::Body as _;
use tokio::io::AsyncWrite;

use super::{headers::Announced, upload::Upload};
use crate::limits::{UPSTREAM_COPIED_BYTES_MAX, UPSTREAM_READ_BYTES};

/// Bytes on their way into a connection.
#[derive(Default)]
pub(super) struct Output {
    /// What is written first, from `at` on.
    lines: Vec<u8>,
    at: usize,
    /// What follows.
    piece: Bytes,
    /// And at last the line end of a chunk.
    end: &'static [u8],
}

impl Output {
    /// Whether everything is written.
    pub(super) fn is_empty(&self) -> bool {
        self.at == self.lines.len() && self.piece.is_empty() && self.end.is_empty()
    }

    /// Where a head is put down, when nothing waits to be written.
    pub(super) fn lines(&mut self) -> &mut Vec<u8> {
        self.clear();
        &mut self.lines
    }

    /// Drops what was not written.
    pub(super) fn clear(&mut self) {
        self.lines.clear();
        self.at = 0;
        self.piece = Bytes::new();
        self.end = b"";
    }

    /// Gives back memory that one request in many needs.
    pub(super) fn rest(&mut self) {
        if self.lines.capacity() > UPSTREAM_READ_BYTES {
            self.lines = Vec::new();
        }
        self.clear();
    }

    /// Whether there is room for another piece of content.
    fn takes_more(&self) -> bool {
        self.piece.is_empty() && self.lines.len() <= UPSTREAM_COPIED_BYTES_MAX
    }

    fn put(&mut self, piece: Bytes, end: &'static [u8]) {
        if piece.len() > UPSTREAM_COPIED_BYTES_MAX {
            (self.piece, self.end) = (piece, end);
        } else {
            self.lines.extend_from_slice(&piece);
            self.lines.extend_from_slice(end);
        }
    }

    /// Writes as much as the connection takes. Ready when that is all, with how much it was.
    pub(super) fn poll_write(
        &mut self,
        to: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let lines = self.lines.get(self.at..).unwrap_or_default();
        let polled = if self.piece.is_empty() && self.end.is_empty() {
            Pin::new(to).poll_write(cx, lines)
        } else if to.is_write_vectored() {
            let parts = [lines, &self.piece, self.end].map(IoSlice::new);
            Pin::new(to).poll_write_vectored(cx, &parts)
        } else {
            let first = [lines, &self.piece, self.end].into_iter().find(|part| !part.is_empty());
            Pin::new(to).poll_write(cx, first.unwrap_or_default())
        };
        polled.map(|written| match written {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                self.advance(written);
                Ok(written)
            }
            Err(error) => Err(error),
        })
    }

    fn advance(&mut self, written: usize) {
        let of_lines = written.min(self.lines.len() - self.at);
        self.at += of_lines;
        if self.at == self.lines.len() {
            self.lines.clear();
            self.at = 0;
        }
        let of_piece = (written - of_lines).min(self.piece.len());
        self.piece.advance(of_piece);
        self.end = self.end.get(written - of_lines - of_piece..).unwrap_or_default();
    }
}

/// The content of a request that is on its way.
pub(super) struct Sending {
    upload: Upload,
    /// How much is to come where that was announced; in chunks otherwise.
    left: Option<u64>,
    /// What may follow the last chunk.
    trailers: Vec<HeaderName>,
    /// Whether the upstream has not asked for it yet (RFC 9110, 10.1.1).
    pub(super) held: bool,
}

/// The content of a request did not come to its end.
#[derive(Debug, thiserror::Error)]
#[error("the content of the request did not come to the end that was announced")]
pub(super) struct SendingEnded;

impl Sending {
    /// `None` where nothing is sent. `trailers` are the names in Trailer.
    pub(super) fn new(
        upload: Upload,
        announced: Announced,
        trailers: Vec<HeaderName>,
        held: bool,
    ) -> Option<Self> {
        let left = match announced {
            Announced::Nothing => return None,
            Announced::Length(length) => Some(length),
            Announced::Stream => None,
        };
        Some(Self { upload, left, trailers, held })
    }

    /// Takes the next pieces and puts them down. Ready when there are no more, pending when they
    /// have not come, `None` when some must be written first.
    pub(super) fn poll_put(
        &mut self,
        output: &mut Output,
        cx: &mut Context<'_>,
    ) -> Option<Poll<Result<(), SendingEnded>>> {
        while !self.held {
            if !output.takes_more() {
                return None;
            }
            let frame = match Pin::new(&mut self.upload).poll_frame(cx) {
                Poll::Pending => break,
                Poll::Ready(None) => return Some(Poll::Ready(self.end(output, &HeaderMap::new()))),
                Poll::Ready(Some(Err(_))) => return Some(Poll::Ready(Err(SendingEnded))),
                Poll::Ready(Some(Ok(frame))) => frame,
            };
            match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => match self.put(output, data) {
                    // Nothing of it is missing, whatever the client says behind it.
                    Ok(()) if self.left == Some(0) => return Some(Poll::Ready(Ok(()))),
                    Ok(()) => {}
                    Err(error) => return Some(Poll::Ready(Err(error))),
                },
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    return Some(Poll::Ready(self.end(output, &trailers)));
                }
            }
        }
        Some(Poll::Pending)
    }

    fn put(&mut self, output: &mut Output, data: Bytes) -> Result<(), SendingEnded> {
        match &mut self.left {
            Some(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(SendingEnded)?;
                output.put(data, b"");
            }
            None => {
                // Writing to memory does not fail.
                write!(output.lines, "{:X}\r\n", data.len()).map_err(|_| SendingEnded)?;
                output.put(data, b"\r\n");
            }
        }
        Ok(())
    }

    fn end(&self, output: &mut Output, trailers: &HeaderMap) -> Result<(), SendingEnded> {
        match self.left {
            Some(0) => return Ok(()),
            Some(_) => return Err(SendingEnded),
            None => {}
        }
        // Nothing waits behind the lines: no piece is taken before the last is written.
        let lines = &mut output.lines;
        lines.extend_from_slice(b"0\r\n");
        for (name, value) in trailers {
            if self.trailers.contains(name) {
                for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                    lines.extend_from_slice(part);
                }
            }
        }
        lines.extend_from_slice(b"\r\n");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::ReadBuf;

    use super::*;

    /// A connection that takes so many bytes at once.
    struct Slow {
        taken: Vec<u8>,
        at_once: usize,
        vectored: bool,
    }

    impl tokio::io::AsyncRead for Slow {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Slow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let taken = bytes.len().min(self.at_once);
            self.taken.extend_from_slice(&bytes[..taken]);
            Poll::Ready(Ok(taken))
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            parts: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let all: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
            self.poll_write(cx, &all)
        }

        fn is_write_vectored(&self) -> bool {
            self.vectored
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn sending(announced: Announced) -> Sending {
        let trailers = vec![HeaderName::from_static("x-told")];
        Sending::new(Upload::new(None), announced, trailers, false).unwrap()
    }

    #[test]
    fn a_request_is_written_whole_however_little_is_taken_at_once() {
        for (at_once, vectored) in [(1, true), (3, false), (7, true), (100_000, true)] {
            for size in [1, UPSTREAM_COPIED_BYTES_MAX, UPSTREAM_COPIED_BYTES_MAX + 1] {
                let mut output = Output::default();
                output.lines().extend_from_slice(b"HEAD\r\n");
                let content = Bytes::from(vec![b'x'; size]);
                let mut sending = sending(Announced::Stream);
                sending.put(&mut output, content.clone()).unwrap();
                let mut to = Slow { taken: Vec::new(), at_once, vectored };
                let mut cx = Context::from_waker(Waker::noop());
                while !output.is_empty() {
                    assert!(matches!(output.poll_write(&mut to, &mut cx), Poll::Ready(Ok(1..))));
                }
                let expected =
                    [format!("HEAD\r\n{size:X}\r\n").as_bytes(), &content, b"\r\n"].concat();
                assert_eq!(to.taken, expected, "{at_once} {size}");
            }
        }
    }

    #[test]
    fn content_is_as_long_as_was_announced_or_has_failed() {
        let mut output = Output::default();
        let mut short = sending(Announced::Length(5));
        short.put(&mut output, Bytes::from_static(b"four")).unwrap();
        assert!(short.end(&mut output, &HeaderMap::new()).is_err(), "one byte is missing");
        assert!(short.put(&mut output, Bytes::from_static(b"ab")).is_err(), "one is too much");
        let mut right = sending(Announced::Length(4));
        right.put(&mut output, Bytes::from_static(b"four")).unwrap();
        right.end(&mut output, &HeaderMap::new()).unwrap();
        assert_eq!(output.lines, b"fourfour");
        assert!(Sending::new(Upload::new(None), Announced::Nothing, Vec::new(), false).is_none());
    }

    #[test]
    fn only_trailers_that_were_announced_are_sent() {
        let mut output = Output::default();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-told", http::HeaderValue::from_static("1"));
        trailers.insert("x-untold", http::HeaderValue::from_static("2"));
        sending(Announced::Stream).end(&mut output, &trailers).unwrap();
        assert_eq!(output.lines, b"0\r\nx-told: 1\r\n\r\n");
    }
}
