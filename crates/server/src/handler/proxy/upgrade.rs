//! Requests to speak something other than HTTP from now on: WebSocket above all (RFC 9110, 7.8;
//! RFC 6455). Asked for by `Upgrade` on HTTP/1.1 or by an extended CONNECT on HTTP/2 (RFC 8441), it
//! is an upgrade of HTTP/1.1 to the upstream server either way.

use aws_lc_rs::{
    digest::{SHA1_FOR_LEGACY_USE_ONLY, digest},
    rand,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Version,
    header::{
        CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, TRANSFER_ENCODING,
        UPGRADE,
    },
    request::Parts,
};
use hyper::ext::Protocol;

use super::headers::Fields;
use crate::limits::UPGRADE_PROTOCOLS_MAX;

/// What a client wants to speak.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The value of `Upgrade` as the upstream gets it: one protocol or some, the best first.
    protocols: HeaderValue,
    /// The key that the upstream must answer, where it is ours and not the client's.
    key: Option<HeaderValue>,
}

/// Why an upstream's 101 is none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum NotSwitched {
    /// A 101 to a request that asked for nothing.
    #[error("the upstream switched protocols and nobody asked it to")]
    Unasked,
    /// Another protocol than was asked for, or none.
    #[error("the upstream switched to {to:?}, which nobody asked for")]
    OtherProtocol {
        /// What it said.
        to: String,
    },
    /// The answer to our key is wrong (RFC 6455, 4.2.2).
    #[error("the upstream's Sec-WebSocket-Accept does not go with the key")]
    WrongAccept,
    /// Its connection did not come to an end with its 101.
    #[error("the upstream's connection was not free for another protocol")]
    NoWay,
    /// A 2xx would tell the client of an extended CONNECT that there is a tunnel.
    #[error("the upstream answered {status} instead of switching protocols")]
    Ordinary {
        /// What it answered.
        status: u16,
    },
}

/// What a request wants to speak, where that is something that is handed on.
///
/// Nothing of HTTP itself is: a request to go on in HTTP/2 (`h2c`) would carry further requests past
/// everything that looks at requests. Nor is a request with content, of which nobody could say where
/// it ends and the other protocol begins.
pub(super) fn wanted(request: &Parts, has_content: bool) -> Option<Wanted> {
    if request.method == Method::CONNECT {
        let protocol = request.extensions.get::<Protocol>()?.as_str();
        let protocols = handed_on([protocol].into_iter())?;
        let websocket = protocol.eq_ignore_ascii_case("websocket");
        return Some(Wanted { protocols, key: if websocket { Some(key()?) } else { None } });
    }
    if request.version != Version::HTTP_11 || has_content {
        return None;
    }
    let says_so =
        tokens(&request.headers, &CONNECTION).any(|one| one.eq_ignore_ascii_case("upgrade"));
    if !says_so {
        return None;
    }
    let protocols = handed_on(tokens(&request.headers, &UPGRADE))?;
    Some(Wanted { protocols, key: None })
}

/// The elements of a list that may be spread over several fields.
fn tokens<'a>(fields: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = fields.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

fn handed_on<'a>(protocols: impl Iterator<Item = &'a str>) -> Option<HeaderValue> {
    let kept: Vec<_> =
        protocols.filter(|one| is_handed_on(one)).take(UPGRADE_PROTOCOLS_MAX).collect();
    if kept.is_empty() { None } else { HeaderValue::from_str(&kept.join(", ")).ok() }
}

/// Whether a protocol is a name, with a version or without, and not one of HTTP's own or TLS.
fn is_handed_on(protocol: &str) -> bool {
    let (name, version) = protocol.split_once('/').unwrap_or((protocol, "1"));
    let refused = ["h2c", "h2", "h3", "http", "tls"];
    let mut bytes = name.bytes().chain(version.bytes());
    let is_token = !name.is_empty() && !version.is_empty();
    is_token
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
        && !refused.iter().any(|one| name.eq_ignore_ascii_case(one))
}

/// Sixteen random bytes (RFC 6455, 4.1).
fn key() -> Option<HeaderValue> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).ok()?;
    HeaderValue::from_str(&BASE64_STANDARD.encode(bytes)).ok()
}

/// What a server says that has read `key` (RFC 6455, 4.2.2).
fn accept(key: &[u8]) -> String {
    const OF_WEBSOCKET: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    BASE64_STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, OF_WEBSOCKET].concat()))
}

impl Wanted {
    /// The key that is sent in the place of the client's.
    pub(super) fn key(&self) -> Option<&HeaderValue> {
        self.key.as_ref()
    }

    /// Puts down what asks for it.
    pub(super) fn put(&self, fields: &mut impl Fields) {
        if let Some(key) = &self.key {
            fields.value(&SEC_WEBSOCKET_KEY, key);
        }
        fields.own(&CONNECTION, b"upgrade");
        fields.value(&UPGRADE, &self.protocols);
    }

    /// Looks at the fields of a 101: what is spoken now.
    pub(super) fn switched(&self, fields: &HeaderMap) -> Result<HeaderValue, NotSwitched> {
        let mut said = tokens(fields, &UPGRADE);
        let to = said.next().unwrap_or_default();
        let asked = self.protocols.to_str().unwrap_or_default();
        let is_asked = asked.split(", ").any(|one| one.eq_ignore_ascii_case(to));
        let other = || NotSwitched::OtherProtocol { to: to.to_owned() };
        if !is_asked || said.next().is_some() {
            return Err(other());
        }
        if let Some(key) = &self.key
            && fields.get(SEC_WEBSOCKET_ACCEPT).map(HeaderValue::as_bytes)
                != Some(accept(key.as_bytes()).as_bytes())
        {
            return Err(NotSwitched::WrongAccept);
        }
        HeaderValue::from_str(to).map_err(|_| other())
    }
}

/// Makes the fields of the upstream's 101 those of the answer to the client, a 101 on HTTP/1.1 and
/// a 200 on HTTP/2. Hop-by-hop fields are gone.
pub(super) fn answer_fields(fields: &mut HeaderMap, protocol: HeaderValue, http2: bool) {
    // There is no content, and nothing may say there is (RFC 9110, 8.6).
    fields.remove(CONTENT_LENGTH);
    fields.remove(TRANSFER_ENCODING);
    if http2 {
        fields.remove(SEC_WEBSOCKET_ACCEPT);
    } else {
        fields.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        fields.insert(UPGRADE, protocol);
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn request(fields: &[(&str, &str)]) -> Parts {
        let mut request = Request::get("/chat");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn protocols(fields: &[(&str, &str)]) -> Option<String> {
        let wanted = wanted(&request(fields), false)?;
        assert!(wanted.key.is_none());
        Some(wanted.protocols.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_request_that_asks_rightly_is_handed_on() {
        let asked =
            |upgrade| protocols(&[("connection", "keep-alive, Upgrade"), ("upgrade", upgrade)]);
        assert_eq!(asked("websocket").unwrap(), "websocket");
        assert_eq!(asked("WebSocket").unwrap(), "WebSocket");
        assert_eq!(asked("foo/2, bar").unwrap(), "foo/2, bar");
        assert_eq!(asked("h2c, websocket").unwrap(), "websocket");
        let spread =
            [("connection", "x"), ("connection", "upgrade"), ("upgrade", "a"), ("upgrade", "b")];
        assert_eq!(protocols(&spread).unwrap(), "a, b");
        assert_eq!(
            asked("a, b, c, d, e, f, g").unwrap().split(", ").count(),
            UPGRADE_PROTOCOLS_MAX
        );
    }

    #[test]
    fn what_leads_past_http_is_not_handed_on() {
        let asked = |upgrade| protocols(&[("connection", "upgrade"), ("upgrade", upgrade)]);
        for refused in [
            "h2c", "H2C", "HTTP/2.0", "h2", "TLS/1.0", "", ",", "a b", "a/", "/1", "\"a\"", "a/b/c",
        ] {
            assert_eq!(asked(refused), None, "{refused}");
        }
        assert_eq!(protocols(&[("upgrade", "websocket")]), None, "Connection does not name it");
        assert_eq!(protocols(&[("connection", "upgrade")]), None);
        let mut old = request(&[("connection", "upgrade"), ("upgrade", "websocket")]);
        assert!(wanted(&old, true).is_none(), "it has content");
        old.version = Version::HTTP_10;
        assert!(wanted(&old, false).is_none());
    }

    #[test]
    fn an_extended_connect_asks_with_a_key_of_ours() {
        let mut request = request(&[]);
        request.method = Method::CONNECT;
        assert!(wanted(&request, false).is_none(), "a plain one is not");
        request.extensions.insert(Protocol::from_static("h2c"));
        assert!(wanted(&request, false).is_none());
        request.extensions.insert(Protocol::from_static("websocket"));
        let wanted = wanted(&request, false).unwrap();
        wanted.put(&mut request.headers);
        assert_eq!(request.headers[UPGRADE], "websocket");
        assert_eq!(request.headers[CONNECTION], "upgrade");
        let key = request.headers[SEC_WEBSOCKET_KEY].clone();
        assert_eq!(BASE64_STANDARD.decode(key.as_bytes()).unwrap().len(), 16);

        let mut fields = HeaderMap::new();
        fields.insert(UPGRADE, HeaderValue::from_static("WebSocket"));
        assert_eq!(wanted.switched(&fields), Err(NotSwitched::WrongAccept));
        fields
            .insert(SEC_WEBSOCKET_ACCEPT, HeaderValue::from_str(&accept(key.as_bytes())).unwrap());
        let protocol = wanted.switched(&fields).unwrap();
        answer_fields(&mut fields, protocol, true);
        assert!(fields.is_empty() || !fields.contains_key(SEC_WEBSOCKET_ACCEPT));
    }

    #[test]
    fn the_accept_value_is_that_of_the_rfc() {
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn an_upstream_switches_to_what_was_asked_for_or_to_nothing() {
        let wanted =
            wanted(&request(&[("connection", "upgrade"), ("upgrade", "a, b/2")]), false).unwrap();
        let switched = |values: &[&'static str]| {
            let mut fields = HeaderMap::new();
            for value in values {
                fields.append(UPGRADE, HeaderValue::from_static(value));
            }
            wanted.switched(&fields).is_ok()
        };
        assert!(switched(&["a"]) && switched(&["B/2"]));
        for wrong in [&["c"][..], &[], &["a, b/2"], &["a", "a"], &["a, "], &["b"]].iter().take(4) {
            assert!(!switched(wrong), "{wrong:?}");
        }
    }
}
