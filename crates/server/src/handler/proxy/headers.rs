//! The fields of requests and answers on their way through (RFC 9110, 7.6).

use std::net::SocketAddr;

use bindery_model::upstream::UpstreamProtocol;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version,
    header::{
        CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, FORWARDED, HOST, TE, TRAILER,
        TRANSFER_ENCODING, UPGRADE, VIA,
    },
    request, response,
};

use super::upload::Source;
use crate::http::{
    client::{Client, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PORT, X_FORWARDED_PROTO},
    forwarded,
};

static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

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
    pub(super) host: HeaderValue,
    /// Whether `Forwarded` is sent.
    pub(super) forwarded: bool,
    /// The content, where there is any.
    pub(super) source: Option<&'a Source>,
}

/// The fields that an upstream gets.
pub(super) fn outgoing(out: &Outgoing<'_>) -> HeaderMap {
    let request = out.request;
    let mut fields = request.headers.clone();
    let trailers = wants_trailers(&fields);
    strip_hop_by_hop(&mut fields);
    if trailers {
        fields.insert(TE, HeaderValue::from_static("trailers"));
        if out.protocol == UpstreamProtocol::Http1 {
            fields.insert(CONNECTION, HeaderValue::from_static("te"));
        }
    }
    frame(&mut fields, out);
    if out.protocol == UpstreamProtocol::Http1 {
        join_cookies(&mut fields);
    }
    match out.protocol {
        UpstreamProtocol::Http1 => fields.insert(HOST, out.host.clone()),
        // There it is `:authority`.
        UpstreamProtocol::Http2 => fields.remove(HOST),
    };
    forward(&mut fields, out);
    let via = match request.version {
        Version::HTTP_09 | Version::HTTP_10 => "1.0 bindery",
        Version::HTTP_2 => "2.0 bindery",
        _ => "1.1 bindery",
    };
    fields.append(VIA, HeaderValue::from_static(via));
    fields
}

/// Whether the client takes trailers, the one thing in TE that concerns more than one hop.
fn wants_trailers(fields: &HeaderMap) -> bool {
    let elements = fields.get_all(TE).iter().filter_map(|value| value.to_str().ok());
    elements.flat_map(|value| value.split(',')).any(|one| {
        let coding = one.split(';').next().unwrap_or_default();
        coding.trim().eq_ignore_ascii_case("trailers")
    })
}

/// Takes out what concerns one connection: Connection, all it names, and what is known to.
pub(super) fn strip_hop_by_hop(fields: &mut HeaderMap) {
    if fields.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = fields
            .get_all(CONNECTION)
            .iter()
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
            .collect();
        for name in named {
            // Who names these would change where a message ends or whom it is for.
            if !matches!(name, CONTENT_LENGTH | HOST | TRAILER) {
                fields.remove(name);
            }
        }
        fields.remove(CONNECTION);
    }
    for name in [&KEEP_ALIVE, &PROXY_CONNECTION, &TE, &TRANSFER_ENCODING, &UPGRADE] {
        fields.remove(name);
    }
}

/// HTTP/2 may send a cookie in several fields. On HTTP/1.1 there is one (RFC 9113, 8.2.3).
fn join_cookies(fields: &mut HeaderMap) {
    let mut cookies = fields.get_all(COOKIE).iter();
    if cookies.next().is_none() || cookies.next().is_none() {
        return;
    }
    let all: Vec<_> = fields.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::try_from(all.join(&b"; "[..])) {
        fields.insert(COOKIE, joined);
    }
}

/// Says where the content ends, so that it is what will be sent and nothing else.
fn frame(fields: &mut HeaderMap, out: &Outgoing<'_>) {
    let http1 = out.protocol == UpstreamProtocol::Http1;
    match out.source {
        None => {
            fields.remove(EXPECT);
            fields.remove(CONTENT_LENGTH);
            // RFC 9110, 8.6: where the method makes a receiver expect content.
            if matches!(out.request.method, Method::POST | Method::PUT | Method::PATCH) {
                fields.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
            }
        }
        Some(source) => {
            if !http1 {
                // hyper does not tell of a `100` on HTTP/2; the window says what is wanted.
                fields.remove(EXPECT);
            }
            match source.length() {
                Some(length) => {
                    if !fields.contains_key(CONTENT_LENGTH) {
                        fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
                    }
                }
                None => {
                    fields.remove(CONTENT_LENGTH);
                    if http1 {
                        let chunked = HeaderValue::from_static("chunked");
                        fields.insert(TRANSFER_ENCODING, chunked);
                    }
                }
            }
        }
    }
}

/// Says whom the request is from. What a stranger says of it does not get through.
fn forward(fields: &mut HeaderMap, out: &Outgoing<'_>) {
    let client = out.client;
    let own_words: Vec<HeaderName> =
        fields.keys().filter(|name| !client.hands_on(name.as_str())).cloned().collect();
    for name in own_words {
        fields.remove(name);
    }
    let peer = out.peer.ip().to_canonical();
    let chain = match client.by_proxy {
        true => joined(fields, &X_FORWARDED_FOR, &peer.to_string()),
        false => HeaderValue::try_from(peer.to_string()).ok(),
    };
    set(fields, &X_FORWARDED_FOR, chain);
    set(fields, &X_FORWARDED_PROTO, Some(HeaderValue::from_static(client.scheme())));
    let host = match &client.host {
        // The same bytes as Host, most often.
        host if host.as_bytes() == out.host.as_bytes() => Some(out.host.clone()),
        host if host.is_empty() => None,
        host => HeaderValue::from_str(host).ok(),
    };
    set(fields, &X_FORWARDED_HOST, host);
    let port = match client.told_port(fields).unwrap_or(out.port) {
        443 => HeaderValue::from_static("443"),
        80 => HeaderValue::from_static("80"),
        port => HeaderValue::from(port),
    };
    fields.insert(&X_FORWARDED_PORT, port);
    let given = client.by_proxy && fields.contains_key(FORWARDED);
    if given || out.forwarded {
        // Of this hop: the peer, and what it asked for.
        let element = forwarded::write(peer, &client.host, client.https);
        let value = match given {
            true => joined(fields, &FORWARDED, &element),
            false => HeaderValue::try_from(element).ok(),
        };
        set(fields, &FORWARDED, value);
    }
}

fn set(fields: &mut HeaderMap, name: &HeaderName, value: Option<HeaderValue>) {
    match value {
        Some(value) => fields.insert(name, value),
        None => fields.remove(name),
    };
}

/// The values of a list in one, and one more.
fn joined(fields: &HeaderMap, name: &HeaderName, last: &str) -> Option<HeaderValue> {
    let mut all = Vec::new();
    for value in fields.get_all(name) {
        all.extend_from_slice(value.as_bytes());
        all.extend_from_slice(b", ");
    }
    all.extend_from_slice(last.as_bytes());
    HeaderValue::try_from(all).ok()
}

/// Why an answer is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Lie {
    /// Nobody asked for another protocol (RFC 9110, 15.2.2).
    #[error("it switched protocols, and nobody had asked for that")]
    SwitchedProtocols,
    /// A length and chunks: one of both is a lie (RFC 9112, 6.3).
    #[error("it sent both Content-Length and Transfer-Encoding")]
    TwoFramings,
    /// A coding that is not undone here.
    #[error("its transfer coding is not \"chunked\"")]
    UnknownCoding,
}

/// Makes the head of an upstream's answer one of ours.
pub(super) fn incoming(answer: &mut response::Parts) -> Result<(), Lie> {
    if answer.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Lie::SwitchedProtocols);
    }
    let fields = &mut answer.headers;
    if fields.contains_key(TRANSFER_ENCODING) {
        if fields.contains_key(CONTENT_LENGTH) {
            return Err(Lie::TwoFramings);
        }
        let mut codings = fields.get_all(TRANSFER_ENCODING).iter();
        let chunked =
            codings.next().is_some_and(|one| one.as_bytes().eq_ignore_ascii_case(b"chunked"));
        if !chunked || codings.next().is_some() {
            return Err(Lie::UnknownCoding);
        }
    }
    strip_hop_by_hop(fields);
    if let Some(length) = repeated_length(fields) {
        fields.insert(CONTENT_LENGTH, length);
    }
    if answer.status == StatusCode::NO_CONTENT {
        // RFC 9110, 8.6.
        fields.remove(CONTENT_LENGTH);
    }
    answer.version = Version::HTTP_11;
    Ok(())
}

/// The one length that was said more than once. That they agree is known.
fn repeated_length(fields: &HeaderMap) -> Option<HeaderValue> {
    let mut lengths = fields.get_all(CONTENT_LENGTH).iter();
    let first = lengths.next()?;
    let list = first.as_bytes().contains(&b',');
    if lengths.next().is_none() && !list {
        return None;
    }
    let one = first.as_bytes().split(|byte| *byte == b',').next()?;
    HeaderValue::from_bytes(one.trim_ascii()).ok()
}

/// Takes out of trailers what must not be there (RFC 9110, 6.5.1): what frames a message or says
/// whom it is for.
pub(super) fn strip_trailers(trailers: &mut HeaderMap) {
    strip_hop_by_hop(trailers);
    for name in [&CONTENT_LENGTH, &HOST, &TRAILER, &FORWARDED] {
        trailers.remove(name);
    }
    for name in [&X_FORWARDED_FOR, &X_FORWARDED_PROTO, &X_FORWARDED_HOST, &X_FORWARDED_PORT] {
        trailers.remove(name);
    }
}
