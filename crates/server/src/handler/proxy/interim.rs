//! Interim answers of an upstream (RFC 9110, 15.2): `100 Continue` is for us, `103 Early Hints` and
//! the like are passed on (RFC 8297).

use http::{HeaderMap, StatusCode, Version, header::CONTENT_LENGTH, response};

use super::headers::strip_hop_by_hop;
use crate::{http::dispatch::ConnInfo, limits::INTERIM_ANSWERS_MAX};

/// Who gets interim answers: a client that speaks HTTP/1.1. HTTP/1.0 knows none, and on HTTP/2 hyper
/// cannot send them.
///
/// The connection to the upstream is polled by who makes the answer for the client, and no longer
/// for a head once it has one: nothing here can come between two other answers.
pub(super) struct Interim<'a> {
    client: Option<&'a ConnInfo>,
    passed: u32,
}

impl<'a> Interim<'a> {
    pub(super) fn new(client: &'a ConnInfo, version: Version) -> Self {
        Self { client: (version == Version::HTTP_11).then_some(client), passed: 0 }
    }

    /// Interim answers that nobody gets.
    pub(super) fn dropped() -> Self {
        Self { client: None, passed: 0 }
    }

    /// Hands one on. Lost where the client does not take what was sent before: it is a hint and no
    /// more.
    pub(super) fn pass_on(&mut self, answer: &response::Parts) {
        if let Some(client) = self.client
            && self.passed < INTERIM_ANSWERS_MAX
        {
            self.passed += 1;
            client.inform(&head(answer.status, &answer.headers));
        }
    }
}

/// The head of an interim answer as it stands on HTTP/1.1.
fn head(status: StatusCode, fields: &HeaderMap) -> Vec<u8> {
    let mut fields = fields.clone();
    strip_hop_by_hop(&mut fields);
    // It has no content, and must not look as if it had.
    fields.remove(CONTENT_LENGTH);
    let reason = status.canonical_reason().unwrap_or_default();
    let mut head = format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).into_bytes();
    for (name, value) in &fields {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    head.extend_from_slice(b"\r\n");
    head
}

#[cfg(test)]
mod tests {
    use http::{
        HeaderValue,
        header::{CONNECTION, LINK, TRANSFER_ENCODING},
    };

    use super::*;

    #[test]
    fn a_head_has_its_fields_and_none_of_one_hop_only() {
        let mut fields = HeaderMap::new();
        fields.append(LINK, HeaderValue::from_static("</a.css>; rel=preload"));
        fields.append(LINK, HeaderValue::from_static("</b.css>; rel=preload"));
        fields.insert(CONNECTION, HeaderValue::from_static("x-own"));
        fields.insert("x-own", HeaderValue::from_static("1"));
        fields.insert(CONTENT_LENGTH, HeaderValue::from_static("5"));
        fields.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        assert_eq!(
            String::from_utf8(head(StatusCode::EARLY_HINTS, &fields)).unwrap(),
            "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\
             link: </b.css>; rel=preload\r\n\r\n"
        );
        let other = StatusCode::from_u16(199).unwrap();
        assert_eq!(head(other, &HeaderMap::new()), b"HTTP/1.1 199 \r\n\r\n");
    }
}
