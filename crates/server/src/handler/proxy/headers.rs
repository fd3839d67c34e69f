//! The fields of requests and answers on their way through (RFC 9110, 7.6).

use std::net::{IpAddr, SocketAddr};

use bindery_model::upstream::UpstreamProtocol;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version,
    header::{
        AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
        CONTENT_TYPE, COOKIE, EXPECT, FORWARDED, HOST, MAX_FORWARDS, SEC_WEBSOCKET_KEY, SET_COOKIE,
        TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
    },
    request, response,
};

use super::upgrade::Wanted;
use crate::http::{
    client::{
        self, Client, HandedOn, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PORT,
        X_FORWARDED_PROTO,
    },
    forwarded, framing,
};

/// What the fields of a request for an upstream are made of.
pub(super) struct Outgoing<'a> {
    pub(super) request: &'a request::Parts,
    pub(super) client: &'a Client<'a>,
    /// The peer of the connection, a proxy perhaps.
    pub(super) peer: SocketAddr,
    /// The port it came to.
    pub(super) port: u16,
    pub(super) protocol: UpstreamProtocol,
    /// The value of Host.
    pub(super) host: &'a str,
    /// Whether `Forwarded` is sent.
    pub(super) forwarded: bool,
    /// What is sent as content.
    pub(super) content: Announced,
    /// What is to be spoken from now on, where that is not HTTP.
    pub(super) upgrade: Option<&'a Wanted>,
}

/// The content of a request, as its head says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Announced {
    Nothing,
    Length(u64),
    /// Of a length that is not known.
    Stream,
}

/// Where fields are put, one after the other.
pub(super) trait Fields {
    /// One of somebody else's.
    fn value(&mut self, name: &HeaderName, value: &HeaderValue);
    /// One of ours. What cannot be a value is left out.
    fn own(&mut self, name: &HeaderName, value: &[u8]);
}

impl Fields for HeaderMap {
    fn value(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.append(name.clone(), value.clone());
    }

    fn own(&mut self, name: &HeaderName, value: &[u8]) {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            self.append(name.clone(), value);
        }
    }
}

/// As they stand in a message of HTTP/1.1.
impl Fields for Vec<u8> {
    fn value(&mut self, name: &HeaderName, value: &HeaderValue) {
        line(self, name, value.as_bytes());
    }

    fn own(&mut self, name: &HeaderName, value: &[u8]) {
        // What a header value may hold (RFC 9110, 5.5).
        if framing::is_text(value) {
            line(self, name, value);
        }
    }
}

fn line(lines: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    let name = name.as_str().as_bytes();
    lines.reserve(name.len() + value.len() + 4);
    for part in [name, b": ", value, b"\r\n"] {
        lines.extend_from_slice(part);
    }
}

impl Outgoing<'_> {
    /// Puts down the fields that an upstream gets, in one go over those that came.
    pub(super) fn put(&self, fields: &mut impl Fields) {
        let came = &self.request.headers;
        let named = named(came);
        let http1 = self.protocol == UpstreamProtocol::Http1;
        let keeps_key = self.upgrade.is_none_or(|upgrade| upgrade.key().is_none());
        if http1 {
            // On HTTP/2 it is `:authority`.
            fields.own(&HOST, self.host.as_bytes());
        }
        let (mut trailers, mut cookies) = (false, false);
        for (name, value) in came {
            match *name {
                TE => trailers |= wants_trailers(value),
                _ if is_hop_by_hop(name) => {}
                HOST | CONTENT_LENGTH => {}
                _ if named.contains(name) => {}
                // hyper does not tell of a `100` on HTTP/2; the window says what is wanted.
                EXPECT if self.content == Announced::Nothing || !http1 => {}
                COOKIE if http1 => {
                    if !std::mem::replace(&mut cookies, true) {
                        put_cookies(fields, came, value);
                    }
                }
                SEC_WEBSOCKET_KEY if !keeps_key => {}
                _ if self.client.hands_on(name) != HandedOn::AsItCame => {}
                _ => fields.value(name, value),
            }
        }
        if trailers {
            fields.own(&TE, b"trailers");
        }
        match self.upgrade {
            Some(upgrade) => upgrade.put(fields),
            None if trailers && http1 => fields.own(&CONNECTION, b"te"),
            None => {}
        }
        self.put_framing(fields, http1);
        self.put_client(fields, &named);
        let via: &[u8] = match self.request.version {
            Version::HTTP_09 | Version::HTTP_10 => b"1.0 bindery",
            Version::HTTP_2 => b"2.0 bindery",
            _ => b"1.1 bindery",
        };
        fields.own(&VIA, via);
    }

    /// Says where the content ends, so that it is what will be sent and nothing else.
    fn put_framing(&self, fields: &mut impl Fields, http1: bool) {
        match self.content {
            // RFC 9110, 8.6: where the method makes a receiver expect content.
            Announced::Nothing
                if matches!(self.request.method, Method::POST | Method::PUT | Method::PATCH) =>
            {
                fields.own(&CONTENT_LENGTH, b"0");
            }
            Announced::Nothing => {}
            Announced::Length(length) => {
                fields.own(&CONTENT_LENGTH, itoa::Buffer::new().format(length).as_bytes());
            }
            Announced::Stream if http1 => fields.own(&TRANSFER_ENCODING, b"chunked"),
            Announced::Stream => {}
        }
    }

    /// Says whom the request is from.
    fn put_client(&self, fields: &mut impl Fields, named: &[HeaderName]) {
        let (came, client) = (&self.request.headers, self.client);
        // What a trusted proxy has said of it, one connection further down.
        let said = |name| client.by_proxy && !named.contains(name) && came.contains_key(name);
        let peer = self.peer.ip().to_canonical();
        let mut text = Text::new();
        let text = text.address(peer);
        match said(&X_FORWARDED_FOR) {
            true => fields.own(&X_FORWARDED_FOR, &joined(came, &X_FORWARDED_FOR, text)),
            false => fields.own(&X_FORWARDED_FOR, text),
        }
        fields.own(&X_FORWARDED_PROTO, client.scheme().as_bytes());
        if !client.host.is_empty() {
            fields.own(&X_FORWARDED_HOST, client.host.as_bytes());
        }
        let told = client.told_port(came).filter(|_| said(&X_FORWARDED_PORT));
        let port = told.unwrap_or(self.port);
        fields.own(&X_FORWARDED_PORT, itoa::Buffer::new().format(port).as_bytes());
        let given = said(&FORWARDED);
        if given || self.forwarded {
            // Of this hop: the peer, and what it asked for.
            let element = forwarded::write(peer, &client.host, client.https);
            match given {
                true => fields.own(&FORWARDED, &joined(came, &FORWARDED, element.as_bytes())),
                false => fields.own(&FORWARDED, element.as_bytes()),
            }
        }
    }
}

/// A short text that needs no memory of its own: an address is the longest.
struct Text {
    bytes: [u8; 48],
    length: usize,
}

impl Text {
    fn new() -> Self {
        Self { bytes: [0; 48], length: 0 }
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    fn push(&mut self, more: &[u8]) {
        let end = self.length + more.len();
        if let Some(room) = self.bytes.get_mut(self.length..end) {
            room.copy_from_slice(more);
            self.length = end;
        }
    }

    /// An address, written without the machinery of formatting where it is short.
    fn address(&mut self, address: IpAddr) -> &[u8] {
        match address {
            IpAddr::V4(four) => {
                for (place, part) in four.octets().into_iter().enumerate() {
                    if place > 0 {
                        self.push(b".");
                    }
                    self.push(itoa::Buffer::new().format(part).as_bytes());
                }
            }
            IpAddr::V6(six) => self.push(six.to_string().as_bytes()),
        }
        self.bytes()
    }
}

/// Whether the client takes trailers, the one thing in TE that concerns more than one hop.
fn wants_trailers(value: &HeaderValue) -> bool {
    value.as_bytes().split(|byte| *byte == b',').any(|one| {
        let coding = one.split(|byte| *byte == b';').next().unwrap_or_default();
        coding.trim_ascii().eq_ignore_ascii_case(b"trailers")
    })
}

/// Whether a field concerns one connection, whatever Connection names.
pub(super) fn is_hop_by_hop(name: &HeaderName) -> bool {
    match *name {
        CONNECTION | TE | TRANSFER_ENCODING | UPGRADE => true,
        _ => {
            let name = name.as_str();
            matches!(name.len(), 10 | 16) && matches!(name, "keep-alive" | "proxy-connection")
        }
    }
}

/// What an element of Connection names. Who names some would change where a message ends or whom
/// it is for.
pub(super) fn named_by_connection(element: &[u8]) -> Option<HeaderName> {
    let name = HeaderName::from_bytes(element.trim_ascii()).ok()?;
    (!matches!(name, CONTENT_LENGTH | HOST | TRAILER)).then_some(name)
}

/// All that Connection names.
fn named(fields: &HeaderMap) -> Vec<HeaderName> {
    let values = fields.get_all(CONNECTION).iter();
    let elements = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    elements.filter_map(named_by_connection).collect()
}

/// Takes out what concerns one connection: Connection, all it names, and what is known to.
pub(super) fn strip_hop_by_hop(fields: &mut HeaderMap) {
    for name in named(fields) {
        fields.remove(name);
    }
    let found: Vec<_> = fields.keys().filter(|name| is_hop_by_hop(name)).cloned().collect();
    for name in found {
        fields.remove(name);
    }
}

/// The trailers that a client has said it will send.
pub(super) fn announced_trailers(fields: &HeaderMap) -> Vec<HeaderName> {
    let values = fields.get_all(TRAILER).iter();
    let elements = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    elements.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()).collect()
}

/// HTTP/2 may send a cookie in several fields. On HTTP/1.1 there is one (RFC 9113, 8.2.3).
fn put_cookies(fields: &mut impl Fields, came: &HeaderMap, first: &HeaderValue) {
    let cookies = came.get_all(COOKIE);
    if cookies.iter().nth(1).is_none() {
        return fields.value(&COOKIE, first);
    }
    let all: Vec<_> = cookies.iter().map(HeaderValue::as_bytes).collect();
    fields.own(&COOKIE, &all.join(&b"; "[..]));
}

/// The values of a list in one, and one more.
fn joined(fields: &HeaderMap, name: &HeaderName, last: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    for value in fields.get_all(name) {
        all.extend_from_slice(value.as_bytes());
        all.extend_from_slice(b", ");
    }
    all.extend_from_slice(last);
    all
}

/// Why an answer is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Lie {
    /// A length and chunks: one of both is a lie (RFC 9112, 6.3).
    #[error("it sent both Content-Length and Transfer-Encoding")]
    TwoFramings,
    /// No number, or some that differ (RFC 9112, 6.3).
    #[error("its Content-Length is no number, or is more than one")]
    Length,
    /// A coding that is not undone here.
    #[error("its transfer coding is not \"chunked\"")]
    UnknownCoding,
}

/// Makes the head of an upstream's answer on HTTP/2 one of ours.
pub(super) fn of_http2(answer: &mut response::Parts) -> Result<(), Lie> {
    let fields = &mut answer.headers;
    strip_hop_by_hop(fields);
    if fields.get_all(CONTENT_LENGTH).iter().nth(1).is_some() {
        // One of them is a lie, or one is enough.
        let first = fields.get(CONTENT_LENGTH).cloned();
        if fields.get_all(CONTENT_LENGTH).iter().any(|other| Some(other) != first.as_ref()) {
            return Err(Lie::Length);
        }
        first.map(|length| fields.insert(CONTENT_LENGTH, length));
    }
    if answer.status == StatusCode::NO_CONTENT {
        // RFC 9110, 8.6.
        answer.headers.remove(CONTENT_LENGTH);
    }
    answer.version = Version::HTTP_11;
    Ok(())
}

/// Takes out of trailers what must not be there (RFC 9110, 6.5.1): what frames a message, says whom
/// it is for or from, or how it is to be read.
pub(super) fn strip_trailers(trailers: &mut HeaderMap) {
    const NONE: [HeaderName; 10] = [
        AUTHORIZATION,
        CACHE_CONTROL,
        CONTENT_ENCODING,
        CONTENT_LENGTH,
        CONTENT_RANGE,
        CONTENT_TYPE,
        HOST,
        MAX_FORWARDS,
        SET_COOKIE,
        TRAILER,
    ];
    strip_hop_by_hop(trailers);
    for name in &NONE {
        trailers.remove(name);
    }
    let words: Vec<_> =
        trailers.keys().filter(|name| client::speaks_of_clients(name.as_str())).cloned().collect();
    for name in words {
        trailers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use proptest::prelude::*;

    use super::*;

    /// What an upstream gets of a request with these fields, on HTTP/1.1 and on HTTP/2.
    fn outgoing(fields: &[(String, String)], by_proxy: bool) -> (Vec<(String, String)>, HeaderMap) {
        let mut request = Request::get("/");
        for (name, value) in fields {
            request = request.header(name, value);
        }
        let (request, ()) = request.body(()).unwrap().into_parts();
        let client = Client {
            address: "192.0.2.1".parse().unwrap(),
            https: true,
            host: "a.example".into(),
            by_proxy,
        };
        let mut outgoing = Outgoing {
            request: &request,
            client: &client,
            peer: "[::ffff:192.0.2.1]:5".parse().unwrap(),
            port: 8443,
            protocol: UpstreamProtocol::Http1,
            host: "a.example",
            forwarded: false,
            content: Announced::Nothing,
            upgrade: None,
        };
        let mut lines = Vec::new();
        outgoing.put(&mut lines);
        outgoing.protocol = UpstreamProtocol::Http2;
        let mut map = HeaderMap::new();
        outgoing.put(&mut map);
        let lines = String::from_utf8(lines).unwrap();
        let lines = lines.strip_suffix("\r\n").unwrap().split("\r\n");
        let split = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_owned(), value.to_owned())
        };
        (lines.map(split).collect(), map)
    }

    #[test]
    fn an_address_is_written_as_everywhere() {
        for address in ["0.0.0.0", "192.0.2.1", "255.255.255.255", "::1", "2001:db8::1"] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(Text::new().address(address), address.to_string().as_bytes());
        }
    }

    fn field() -> impl Strategy<Value = (String, String)> {
        let known = prop::sample::select(vec![
            "connection",
            "keep-alive",
            "te",
            "upgrade",
            "x-forwarded-for",
            "x_forwarded_host",
            "forwarded",
            "cookie",
            "expect",
            "content-length",
            "host",
            "trailer",
            "x-a",
        ]);
        let name = prop_oneof![known.prop_map(str::to_owned), "x-[a-c]{1,2}"];
        let value = prop_oneof!["[a-z]{0,4}", "(x-a|host|cookie|close|te)(, (x-b|trailers)){0,2}"];
        (name, value)
    }

    proptest! {
        #[test]
        fn both_protocols_get_the_same_but_what_is_their_own(
            fields in proptest::collection::vec(field(), 0..12), by_proxy in any::<bool>(),
        ) {
            let (lines, map) = outgoing(&fields, by_proxy);
            let own = |name: &str| matches!(name, "host" | "connection" | "cookie");
            let mut one: Vec<_> = lines.iter().filter(|(name, _)| !own(name)).cloned().collect();
            let mut other: Vec<_> = map
                .iter()
                .map(|(name, value)| (name.as_str().to_owned(), value.to_str().unwrap().to_owned()))
                .filter(|(name, _)| !own(name))
                .collect();
            one.sort();
            other.sort();
            prop_assert_eq!(one, other);
        }

        #[test]
        fn no_stranger_says_where_a_request_ends_or_whom_it_is_from(
            fields in proptest::collection::vec(field(), 0..12),
        ) {
            let (lines, map) = outgoing(&fields, false);
            let values = |name: &str| -> Vec<_> {
                lines.iter().filter(|(own, _)| own == name).map(|(_, value)| &**value).collect()
            };
            prop_assert_eq!(values("host"), ["a.example"]);
            prop_assert_eq!(values("x-forwarded-for"), ["192.0.2.1"]);
            prop_assert_eq!(values("x-forwarded-host"), ["a.example"]);
            prop_assert!(values("cookie").len() <= 1);
            for gone in ["content-length", "transfer-encoding", "keep-alive", "upgrade", "expect",
                "forwarded", "x_forwarded_host"]
            {
                prop_assert!(values(gone).is_empty(), "{}", gone);
                prop_assert!(!map.contains_key(gone), "{}", gone);
            }
            let connection = values("connection");
            prop_assert!(connection.is_empty() || connection == ["te"]);
        }
    }
}
