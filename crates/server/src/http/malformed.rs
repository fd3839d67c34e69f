//! What h2 lets through and RFC 9113 does not: a request that is malformed is refused before anybody
//! decides whose it is. HTTP/1 is read strictly before hyper sees it, by [`super::framing`].

use http::{
    HeaderMap, HeaderName, Method, Version,
    header::{CONNECTION, CONTENT_LENGTH, COOKIE, HOST, TE, TRANSFER_ENCODING},
    request::Parts,
    uri::Scheme,
};

use super::error::RequestError;
use crate::limits::{HTTP2_COOKIES_MAX, REQUEST_FIELDS_MAX};

/// Looks at the head of a request.
///
/// # Errors
///
/// 400 for what is malformed, 431 for too many fields.
pub fn check(request: &Parts) -> Result<(), RequestError> {
    if request.version < Version::HTTP_2 {
        return Ok(());
    }
    let bad = |reason| Err(RequestError::BadRequest { reason });
    let target = &request.uri;
    // RFC 9113, 8.3.1.
    if target.scheme().is_some_and(|own| *own != Scheme::HTTPS && *own != Scheme::HTTP) {
        return bad("a scheme that is neither https nor http");
    }
    // With a protocol it has a path as any other request (RFC 8441, 4).
    let extended = request.extensions.get::<hyper::ext::Protocol>().is_some();
    if request.method != Method::CONNECT || extended {
        let path = target.path_and_query().map_or("", |path| path.as_str());
        let asterisk = path == "*" && request.method == Method::OPTIONS;
        if !asterisk && !path.starts_with('/') {
            return bad("a path that does not begin with a slash");
        }
        if !path.bytes().fold(true, |good, byte| good & byte.is_ascii_graphic()) {
            return bad("a path with characters that are none of a path");
        }
    }
    check_fields(&request.headers)
}

fn check_fields(fields: &HeaderMap) -> Result<(), RequestError> {
    if fields.len() > REQUEST_FIELDS_MAX {
        // A cookie may come in crumbs (RFC 9113, 8.2.3).
        let cookies = fields.get_all(COOKIE).iter().count();
        if cookies > HTTP2_COOKIES_MAX || fields.len() - cookies > REQUEST_FIELDS_MAX {
            return Err(RequestError::TooManyFields);
        }
    }
    // RFC 9113, 8.2.1.
    let space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    if fields.values().any(|value| {
        let value = value.as_bytes();
        space(value.first()) || space(value.last())
    }) {
        return Err(RequestError::BadRequest { reason: "a field value with space around it" });
    }
    if fields.get_all(CONTENT_LENGTH).iter().nth(1).is_some() {
        return Err(RequestError::BadRequest { reason: "more than one Content-Length" });
    }
    Ok(())
}

/// Whether trailers have a field that may not come after the content, because it says where the
/// message ends, whom it is for, or how it travels (RFC 9110, 6.5.1).
#[must_use]
pub fn has_forbidden_trailer(trailers: &HeaderMap) -> bool {
    const FORBIDDEN: [HeaderName; 5] = [CONTENT_LENGTH, TRANSFER_ENCODING, HOST, TE, CONNECTION];
    FORBIDDEN.iter().any(|name| trailers.contains_key(name))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn an_extended_connect_has_a_path_as_any_request() {
        for (target, good) in [("/chat", true), ("*", false), ("/caf\u{e9}", false)] {
            let request = Request::builder().method(Method::CONNECT).version(Version::HTTP_2);
            let mut request = request.uri(target).body(()).unwrap().into_parts().0;
            assert!(check(&request).is_ok(), "{target} of a plain one: that is refused elsewhere");
            request.extensions.insert(hyper::ext::Protocol::from_static("websocket"));
            assert_eq!(check(&request).is_ok(), good, "{target}");
        }
    }
}
