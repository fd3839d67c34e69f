//! Reading an answer: status 200 and a body of the right length, or it does not count.

use crate::client::h2;
use crate::fleet::BODY_BYTES;

/// A head longer than this is no answer to our request.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// What is expected on the connection, and how much of it has come.
pub(crate) enum Answer {
    /// Nothing was asked.
    None,
    Http1(Http1),
    Http2(h2::Frames),
}

impl Answer {
    /// Takes decrypted bytes; true once the answer is whole.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<bool, &'static str> {
        match self {
            Self::None => Err("an answer without a request"),
            Self::Http1(answer) => answer.feed(bytes),
            Self::Http2(frames) => frames.feed(bytes),
        }
    }

    /// Whether nothing more is to come.
    pub(crate) fn is_whole(&self) -> bool {
        match self {
            Self::None => true,
            Self::Http1(answer) => answer.whole,
            Self::Http2(frames) => frames.is_whole(),
        }
    }
}

/// An HTTP/1.1 answer with `Content-Length` (RFC 9112, section 6.3).
#[derive(Default)]
pub(crate) struct Http1 {
    received: Vec<u8>,
    whole: bool,
}

impl Http1 {
    fn feed(&mut self, bytes: &[u8]) -> Result<bool, &'static str> {
        self.received.extend_from_slice(bytes);
        let Some(head_bytes) = head_length(&self.received) else {
            return if self.received.len() > HEAD_BYTES_MAX {
                Err("the head of the answer is too long")
            } else {
                Ok(false)
            };
        };
        let (head, body) = self.received.split_at(head_bytes);
        if !head.starts_with(b"HTTP/1.1 200") {
            return Err("the status is not 200");
        }
        if content_length(head) != Some(BODY_BYTES) || body.len() > BODY_BYTES {
            return Err("the length of the body is wrong");
        }
        self.whole = body.len() == BODY_BYTES;
        Ok(self.whole)
    }
}

fn head_length(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

fn content_length(head: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(head).ok()?;
    let mut fields = text.split("\r\n").filter_map(|line| line.split_once(':'));
    let (_, value) = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
    value.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{BODY_BYTES, Http1};

    #[test]
    fn an_answer_may_come_in_any_pieces() {
        let mut bytes = b"HTTP/1.1 200 OK\r\nServer: x\r\ncontent-length: 1024\r\n\r\n".to_vec();
        bytes.extend([b'a'; BODY_BYTES]);
        for size in [1, 7, 500, 5000] {
            let mut answer = Http1::default();
            let ends: Vec<_> = bytes.chunks(size).map(|piece| answer.feed(piece)).collect();
            let (last, before) = ends.split_last().unwrap();
            assert_eq!(*last, Ok(true), "in pieces of {size}");
            assert!(before.iter().all(|end| *end == Ok(false)), "in pieces of {size}");
        }
    }

    #[test]
    fn another_status_is_an_error() {
        check("HTTP/1.1 404 Not Found\r\nContent-Length: 1024\r\n\r\n", "the status is not 200");
        check("HTTP/1.1 421 No\r\n\r\n", "the status is not 200");
    }

    #[test]
    fn another_length_is_an_error() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 1023\r\n\r\n", "the length of the body is wrong");
        check("HTTP/1.1 200 OK\r\n\r\n", "the length of the body is wrong");
        let long = format!("HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\n{}", "a".repeat(1025));
        check(&long, "the length of the body is wrong");
    }

    #[test]
    fn an_endless_head_is_an_error() {
        check(&"x".repeat(9000), "the head of the answer is too long");
    }

    #[track_caller]
    fn check(bytes: &str, expected: &'static str) {
        assert_eq!(Http1::default().feed(bytes.as_bytes()), Err(expected));
    }
}
