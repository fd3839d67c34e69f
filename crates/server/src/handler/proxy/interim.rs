//! Interim answers of an upstream (RFC 9110, 15.2): `100 Continue` is for us, `103 Early Hints` and
//! the like are passed on (RFC 8297).

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use http::{HeaderMap, Request, StatusCode, Version, header::CONTENT_LENGTH};

use super::{headers::strip_hop_by_hop, upload::Source};
use crate::{http::dispatch::ConnInfo, limits::INTERIM_ANSWERS_MAX};

/// Watches for interim answers to `request`. `held` is content that waits for a `100`; `client` gets
/// the others, where it speaks HTTP/1.1: HTTP/1.0 knows none, and on HTTP/2 hyper cannot send them.
///
/// The connection to the upstream is polled by who makes the answer for the client, and no longer
/// once it has the head of one: nothing here can come between two other answers.
pub(super) fn watch<B>(
    request: &mut Request<B>,
    held: Option<Arc<Source>>,
    (client, version): (&Arc<ConnInfo>, Version),
) {
    let client = (version == Version::HTTP_11).then(|| Arc::clone(client));
    if held.is_none() && client.is_none() {
        return;
    }
    let passed = AtomicU32::new(0);
    hyper::ext::on_informational(request, move |answer| {
        let status = answer.status();
        if status == StatusCode::CONTINUE {
            if let Some(held) = &held {
                held.release();
            }
        } else if let Some(client) = &client
            && passed.fetch_add(1, Ordering::Relaxed) < INTERIM_ANSWERS_MAX
        {
            // Lost where the client does not take what was sent before: it is a hint and no more.
            client.inform(&head(status, answer.headers()));
        }
    });
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
