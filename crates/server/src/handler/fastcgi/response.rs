//! The head of a CGI answer (RFC 3875, 6): bytes to a status and fields, or a reason why not.

use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{CONTENT_LENGTH, LOCATION},
};
use memchr::memchr;

use crate::limits::{FASTCGI_FIELDS_MAX, FASTCGI_HEAD_BYTES_MAX};

/// The head of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// What `Status` says; without it 302 where there is a `Location`, and else 200.
    pub status: StatusCode,
    /// All other fields but those that are between two neighbours of a connection only.
    pub fields: HeaderMap,
    /// What `Content-Length` says.
    pub length: Option<u64>,
}

/// Why a head is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// It does not come to its end.
    #[error("the head of the answer is longer than {FASTCGI_HEAD_BYTES_MAX} bytes")]
    TooLong,
    /// It ended before.
    #[error("the answer ended within its head")]
    Unfinished,
    /// A line without a colon, or with a name that is none.
    #[error("a line in the head of the answer that is no field")]
    Field,
    /// A value with control characters.
    #[error("a field in the head of the answer whose value holds control characters")]
    Value,
    /// More than [`FASTCGI_FIELDS_MAX`].
    #[error("too many fields in the head of the answer")]
    TooManyFields,
    /// No number of three digits, one below 200, or two of them.
    #[error("the status of the answer is none")]
    Status,
    /// No number, or two that differ.
    #[error("the length of the answer is none")]
    Length,
}

/// Gathers a head from pieces of an answer.
#[derive(Debug, Default)]
pub struct HeadReader {
    gathered: BytesMut,
}

impl HeadReader {
    /// Takes the next piece. When the head is complete, it and what follows it in the piece.
    ///
    /// # Errors
    ///
    /// For what is no head.
    pub fn read(&mut self, piece: Bytes) -> Result<Option<(ResponseHead, Bytes)>, HeadError> {
        // Most heads come in one piece, which then is not copied.
        let (mut head, from) = if self.gathered.is_empty() {
            (piece, 0)
        } else {
            let from = self.gathered.len().saturating_sub(3);
            self.gathered.extend_from_slice(&piece);
            (self.gathered.split().freeze(), from)
        };
        match end(&head, from) {
            Some(length) if length <= FASTCGI_HEAD_BYTES_MAX => {
                let rest = head.split_off(length);
                Ok(Some((parse(&head)?, rest)))
            }
            None if head.len() <= FASTCGI_HEAD_BYTES_MAX => {
                self.gathered = BytesMut::from(head);
                Ok(None)
            }
            _ => Err(HeadError::TooLong),
        }
    }
}

/// Where the empty line ends, looked for from `from` on. Lines end with LF, or CR and LF: programs
/// do either (RFC 3875, 6.1).
fn end(head: &[u8], from: usize) -> Option<usize> {
    // A head may be empty: nothing but its last line.
    match head {
        [b'\n', ..] => return Some(1),
        [b'\r', b'\n', ..] => return Some(2),
        _ => {}
    }
    let mut rest = head.get(from..)?;
    while let Some(at) = memchr(b'\n', rest) {
        rest = rest.get(at + 1..)?;
        let blank = match rest {
            [b'\n', ..] => 1,
            [b'\r', b'\n', ..] => 2,
            _ => continue,
        };
        return Some(head.len() - rest.len() + blank);
    }
    None
}

fn parse(head: &Bytes) -> Result<ResponseHead, HeadError> {
    let (mut status, mut length) = (None, None);
    // Room for what every answer gets, so that the map seldom grows.
    let mut fields = HeaderMap::with_capacity(12);
    for line in head.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        let colon = memchr(b':', line).ok_or(HeadError::Field)?;
        let (name, value) = line.split_at_checked(colon).ok_or(HeadError::Field)?;
        let value = trimmed(value.get(1..).unwrap_or_default());
        let name = HeaderName::from_bytes(name).map_err(|_| HeadError::Field)?;
        if name.as_str() == "status" {
            if status.replace(read_status(value)?).is_some() {
                return Err(HeadError::Status);
            }
            continue;
        }
        if name == CONTENT_LENGTH {
            let value = read_length(value)?;
            if length.replace(value).is_some_and(|before| before != value) {
                return Err(HeadError::Length);
            }
            continue;
        }
        if is_of_the_connection(&name) {
            continue;
        }
        if fields.len() == FASTCGI_FIELDS_MAX {
            return Err(HeadError::TooManyFields);
        }
        let value = HeaderValue::from_maybe_shared(head.slice_ref(value));
        fields.append(name, value.map_err(|_| HeadError::Value)?);
    }
    let otherwise = if fields.contains_key(LOCATION) { StatusCode::FOUND } else { StatusCode::OK };
    Ok(ResponseHead { status: status.unwrap_or(otherwise), fields, length })
}

/// Without spaces and tabs around it. A CR is none of them: it is looked at as what it is.
fn trimmed(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Three digits, and a reason that nobody reads. Answers before the answer are not a program's.
fn read_status(value: &[u8]) -> Result<StatusCode, HeadError> {
    let ([a, b, c] | [a, b, c, b' ', ..]) = value else {
        return Err(HeadError::Status);
    };
    let status = StatusCode::from_bytes(&[*a, *b, *c]).map_err(|_| HeadError::Status)?;
    if status.is_informational() { Err(HeadError::Status) } else { Ok(status) }
}

fn read_length(value: &[u8]) -> Result<u64, HeadError> {
    let text = std::str::from_utf8(value).map_err(|_| HeadError::Length)?;
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().map_err(|_| HeadError::Length)
    } else {
        Err(HeadError::Length)
    }
}

/// Fields about one connection, which ends here (RFC 9110, 7.6.1).
fn is_of_the_connection(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type HeadAndRest = (ResponseHead, Vec<u8>);

    fn read(text: &str, step: usize) -> Result<Option<HeadAndRest>, HeadError> {
        let mut reader = HeadReader::default();
        let mut pieces = text.as_bytes().chunks(step);
        while let Some(piece) = pieces.next() {
            if let Some((head, rest)) = reader.read(Bytes::copy_from_slice(piece))? {
                let rest = std::iter::once(&rest[..]).chain(pieces).collect::<Vec<_>>().concat();
                return Ok(Some((head, rest)));
            }
        }
        Ok(None)
    }

    #[track_caller]
    fn check(text: &str, status: u16, fields: &[(&str, &str)], length: Option<u64>, rest: &str) {
        for step in 1..=text.len() {
            let (head, left) = read(text, step).unwrap().unwrap();
            assert_eq!(head.status.as_u16(), status, "{text:?}");
            let got: Vec<_> =
                head.fields.iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
            assert_eq!(got, fields, "{text:?}");
            assert_eq!(head.length, length, "{text:?}");
            assert_eq!(left, rest.as_bytes(), "{text:?} in steps of {step}");
        }
    }

    #[test]
    fn a_head_is_read_however_it_is_cut() {
        check("\r\nbody", 200, &[], None, "body");
        check("\n", 200, &[], None, "");
        check("A: b\r\n\r\n\r\nbody", 200, &[("a", "b")], None, "\r\nbody");
        check("A: b\n\nbody\n\n", 200, &[("a", "b")], None, "body\n\n");
        check("A: b\r\nC:d\n\r\nx", 200, &[("a", "b"), ("c", "d")], None, "x");
        check("Status: 404 Not Found\r\nA:\r\n\r\n", 404, &[("a", "")], None, "");
        check("Status: 201\r\n\r\n", 201, &[], None, "");
        check("status:299 \r\n\r\n", 299, &[], None, "");
        check("Location: /x\r\n\r\n", 302, &[("location", "/x")], None, "");
        check("Location: /x\r\nStatus: 201 Created\r\n\r\n", 201, &[("location", "/x")], None, "");
        check("Content-Length: 3\r\nContent-length: 3\r\n\r\nabc", 200, &[], Some(3), "abc");
        check(
            "Set-Cookie: a=1\nSet-Cookie: b=2\n\n",
            200,
            &[("set-cookie", "a=1"), ("set-cookie", "b=2")],
            None,
            "",
        );
        check(
            "Connection: close\nTransfer-Encoding: chunked\nUpgrade: x\nKeep-Alive: y\nA: b\n\n",
            200,
            &[("a", "b")],
            None,
            "",
        );
    }

    #[test]
    fn what_is_no_head_is_refused() {
        for (text, error) in [
            ("<html>\r\n\r\n", HeadError::Field),
            ("HTTP/1.1 200 OK\r\n\r\n", HeadError::Field),
            (": a\n\n", HeadError::Field),
            ("A b: c\n\n", HeadError::Field),
            ("A : c\n\n", HeadError::Field),
            ("A: b\n c\n\n", HeadError::Field),
            ("A: b\rc\n\n", HeadError::Value),
            ("A: b\r\r\n\n", HeadError::Value),
            ("A: b\0\n\n", HeadError::Value),
            ("Status: \n\n", HeadError::Status),
            ("Status: 99\n\n", HeadError::Status),
            ("Status: 2000\n\n", HeadError::Status),
            ("Status: 100 Continue\n\n", HeadError::Status),
            ("Status: 101 Switching Protocols\n\n", HeadError::Status),
            ("Status: OK\n\n", HeadError::Status),
            ("Status: 200\nStatus: 200\n\n", HeadError::Status),
            ("Content-Length: 3\nContent-Length: 4\n\n", HeadError::Length),
            ("Content-Length: +3\n\n", HeadError::Length),
            ("Content-Length: 3, 3\n\n", HeadError::Length),
            ("Content-Length:\n\n", HeadError::Length),
            ("Content-Length: 18446744073709551616\n\n", HeadError::Length),
        ] {
            for step in [1, text.len()] {
                assert_eq!(read(text, step), Err(error), "{text:?}");
            }
        }
    }

    #[test]
    fn a_head_has_bounds() {
        let endless = format!("A: {}", "x".repeat(2 * FASTCGI_HEAD_BYTES_MAX));
        let long = format!("A: {}\n\n", "x".repeat(FASTCGI_HEAD_BYTES_MAX));
        for step in [1000, 1 << 20] {
            assert_eq!(read(&endless, step), Err(HeadError::TooLong));
            assert_eq!(read(&long, step), Err(HeadError::TooLong));
        }
        let longest = format!("A: {}\n\n", "x".repeat(FASTCGI_HEAD_BYTES_MAX - 5));
        assert!(read(&longest, 1000).unwrap().is_some());
        let many = "A: b\n".repeat(FASTCGI_FIELDS_MAX + 1) + "\n";
        assert_eq!(read(&many, 1000), Err(HeadError::TooManyFields));
        assert_eq!(read("A: b\r\n", 1), Ok(None));
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_reader(bytes: Vec<u8>, step in 1..64_usize) {
            let mut reader = HeadReader::default();
            for piece in bytes.chunks(step) {
                if !matches!(reader.read(Bytes::copy_from_slice(piece)), Ok(None)) {
                    break;
                }
            }
        }

        #[test]
        fn a_head_reads_the_same_in_pieces(text in "(A|:| |b|\r|\n|\n\n|Status: 200|Location: /){0,12}", step in 1..9_usize) {
            let whole = read(&text, text.len().max(1));
            // In pieces an error may show only at the end; what is read is the same.
            prop_assert_eq!(read(&text, step), whole);
        }
    }
}
