//! Answers of upstreams on HTTP/1.1, as bytes (RFC 9112): their heads, and where their content ends.
//! Knows no socket.

use std::mem::MaybeUninit;

use bytes::{Buf as _, Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING},
    response,
};
use http_body::Frame;
use httparse::{ParserConfig, Status};
use hyper::ext::ReasonPhrase;
use memchr::memchr;

use super::headers::{self, Lie, is_hop_by_hop, strip_trailers};
use crate::{
    http::framing::{self, Chunked},
    limits::{UPSTREAM_BUFFER_BYTES_MAX, UPSTREAM_FIELDS_MAX, UPSTREAM_TRAILER_BYTES_MAX},
};

/// Why what came is no answer, or no more of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    /// The head.
    #[error("what came is no head of an answer: {0}")]
    Head(httparse::Error),
    /// Its status.
    #[error("a status that is none")]
    Status,
    /// Longer than [`UPSTREAM_BUFFER_BYTES_MAX`].
    #[error("a head that is longer than {UPSTREAM_BUFFER_BYTES_MAX} bytes")]
    HeadTooLarge,
    /// What it says of the content.
    #[error(transparent)]
    Lie(#[from] Lie),
    /// A chunk.
    #[error("{}", .0.reason())]
    Chunk(framing::Refusal),
    /// What follows the last chunk.
    #[error("trailers that are none: {0}")]
    Trailers(httparse::Error),
    /// Longer than [`UPSTREAM_TRAILER_BYTES_MAX`].
    #[error("trailers that are longer than {UPSTREAM_TRAILER_BYTES_MAX} bytes")]
    TrailersTooLarge,
    /// It ended before its end.
    #[error("the connection was closed before the end of the answer")]
    Truncated,
}

/// The head of an answer.
#[derive(Debug)]
pub(super) struct Head {
    /// Without what concerns one connection; of a 101, and of what comes before an answer, with all.
    pub(super) parts: response::Parts,
    pub(super) content: Coming,
    /// Whether another answer may follow on the connection.
    pub(super) keeps: bool,
}

impl Head {
    /// Whether another head follows, that of the answer or of one more like this.
    pub(super) fn is_interim(&self) -> bool {
        self.parts.status.is_informational() && self.parts.status != StatusCode::SWITCHING_PROTOCOLS
    }
}

/// Looks for heads at the beginning of what came.
#[derive(Debug, Default)]
pub(super) struct Heads {
    /// How far the end was looked for.
    searched: usize,
    /// What came is looked at without its end once it is as long as this.
    look_at: usize,
}

impl Heads {
    /// The first head, taken out of `input`; `None` until it has come to its end. `is_head` says
    /// whether the request was HEAD, whose answer has no content.
    pub(super) fn take(
        &mut self,
        input: &mut BytesMut,
        is_head: bool,
    ) -> Result<Option<Head>, Malformed> {
        let Some(end) = end_of_lines(input, &mut self.searched) else {
            if input.len() > UPSTREAM_BUFFER_BYTES_MAX {
                return Err(Malformed::HeadTooLarge);
            }
            // What cannot become one is not waited for. Each look at twice as much: bytes that come
            // one by one are not looked at again and again.
            if !input.is_empty() && input.len() >= self.look_at {
                self.look_at = input.len() * 2;
                parsed(input, |_, _| Ok(()))?;
            }
            return Ok(None);
        };
        if end > UPSTREAM_BUFFER_BYTES_MAX {
            return Err(Malformed::HeadTooLarge);
        }
        let bytes = input.split_to(end).freeze();
        *self = Self::default();
        head(&bytes, is_head).map(Some)
    }
}

/// Where an empty line ends, if it has come. `searched` is how far was looked before.
fn end_of_lines(bytes: &[u8], searched: &mut usize) -> Option<usize> {
    while let Some(lf) = memchr(b'\n', bytes.get(*searched..).unwrap_or_default()) {
        let after = *searched + lf + 1;
        match bytes.get(after..) {
            Some([b'\n', ..]) => return Some(after + 1),
            Some([b'\r', b'\n', ..]) => return Some(after + 2),
            // This line end is looked at again.
            Some([] | [b'\r']) | None => {
                *searched = after - 1;
                return None;
            }
            Some(_) => *searched = after,
        }
    }
    *searched = bytes.len();
    None
}

/// Gives what a head says to `read`, if it is complete.
fn parsed<'a, T>(
    bytes: &'a [u8],
    read: impl FnOnce(&httparse::Response<'_, 'a>, usize) -> Result<T, Malformed>,
) -> Result<Option<T>, Malformed> {
    let mut fields = [const { MaybeUninit::uninit() }; UPSTREAM_FIELDS_MAX];
    let mut response = httparse::Response::new(&mut []);
    let parsed = ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        bytes,
        &mut fields,
    );
    match parsed.map_err(Malformed::Head)? {
        Status::Complete(length) => read(&response, length).map(Some),
        Status::Partial => Ok(None),
    }
}

/// Reads a head that is complete.
fn head(bytes: &Bytes, is_head: bool) -> Result<Head, Malformed> {
    let read = |response: &httparse::Response<'_, '_>, _| read_head(bytes, response, is_head);
    // A line that ends what does not begin with a status line.
    parsed(bytes, read)?.ok_or(Malformed::Head(httparse::Error::Status))
}

fn read_head(
    bytes: &Bytes,
    response: &httparse::Response<'_, '_>,
    is_head: bool,
) -> Result<Head, Malformed> {
    let status = response.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or(Malformed::Status)?;
    let is_http11 = response.version == Some(1);
    let (mut parts, ()) = Response::new(()).into_parts();
    parts.status = status;
    // Those of one connection are needed where it becomes another.
    let all = status.is_informational();
    let mut said = Said::default();
    let mut fields = HeaderMap::with_capacity(response.headers.len() + FIELDS_OF_OURS);
    for field in response.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let name = name.map_err(|_| Malformed::Head(httparse::Error::HeaderName))?;
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(field.value));
        let value = value.map_err(|_| Malformed::Head(httparse::Error::HeaderValue))?;
        match name {
            CONTENT_LENGTH => {
                if !said.length(field.value)? {
                    continue;
                }
                match one_length(field.value) {
                    Some(one) => fields.append(name, one),
                    None => fields.append(name, value),
                };
                continue;
            }
            TRANSFER_ENCODING => said.coding(field.value),
            CONNECTION => said.connection(field.value),
            _ => {}
        }
        if all || !is_hop_by_hop(&name) {
            fields.append(name, value);
        }
    }
    for name in said.named.iter().filter(|_| !all) {
        fields.remove(name);
    }
    if status == StatusCode::NO_CONTENT {
        // RFC 9110, 8.6.
        fields.remove(CONTENT_LENGTH);
    }
    parts.headers = fields;
    if let Some(reason) = response.reason
        && Some(reason) != status.canonical_reason()
        && let Ok(reason) = ReasonPhrase::try_from(reason.as_bytes())
    {
        parts.extensions.insert(reason);
    }
    let content = said.content(status, is_head, is_http11)?;
    let keeps = match is_http11 {
        true => !said.close,
        false => said.keep_alive && !said.close,
    };
    Ok(Head { parts, content, keeps: keeps && content.is_framed() })
}

/// Room for the fields that an answer gets here, so that its map need not grow.
const FIELDS_OF_OURS: usize = 2;

/// The one length of a list of some. That they agree is known.
fn one_length(value: &[u8]) -> Option<HeaderValue> {
    let comma = value.iter().position(|byte| *byte == b',')?;
    HeaderValue::from_bytes(value.get(..comma)?.trim_ascii()).ok()
}

/// What the fields of an answer say of its content and its connection.
#[derive(Default)]
struct Said {
    length: Option<u64>,
    /// How often a coding was named, and whether that is `chunked`.
    codings: usize,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    /// What Connection names besides.
    named: Vec<HeaderName>,
}

impl Said {
    /// One more length, or some that agree. Whether it is the first.
    fn length(&mut self, value: &[u8]) -> Result<bool, Malformed> {
        let is_first = self.length.is_none();
        for one in value.split(|byte| *byte == b',') {
            let length = framing::length(one.trim_ascii()).map_err(|_| Lie::Length)?;
            if *self.length.get_or_insert(length) != length {
                return Err(Lie::Length.into());
            }
        }
        Ok(is_first)
    }

    fn coding(&mut self, value: &[u8]) {
        self.codings += 1;
        self.chunked = value.eq_ignore_ascii_case(b"chunked");
    }

    fn connection(&mut self, value: &[u8]) {
        for token in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if token.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if token.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else {
                self.named.extend(headers::named_by_connection(token));
            }
        }
    }

    /// RFC 9112, 6.3.
    fn content(&self, status: StatusCode, is_head: bool, is_http11: bool) -> Result<Coming, Lie> {
        if self.codings > 0 {
            if self.length.is_some() {
                return Err(Lie::TwoFramings);
            }
            if !self.chunked || self.codings > 1 || !is_http11 {
                return Err(Lie::UnknownCoding);
            }
        }
        let none = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        Ok(match self.length {
            _ if status == StatusCode::SWITCHING_PROTOCOLS => Coming::NoHttp,
            _ if is_head || none || status.is_informational() => Coming::Over,
            Some(0) => Coming::Over,
            Some(length) => Coming::Length(length),
            None if self.codings > 0 => Coming::Chunks(Chunked::lenient()),
            None => Coming::UntilClosed,
        })
    }
}

/// What is still to come of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Coming {
    /// Nothing.
    Over,
    /// So many bytes.
    Length(u64),
    Chunks(Chunked),
    /// The lines behind the last chunk, whose end was looked for so far.
    Trailers(usize),
    /// All until the connection is closed.
    UntilClosed,
    /// Another protocol.
    NoHttp,
}

impl Coming {
    /// Whether the answer has an end of its own.
    fn is_framed(&self) -> bool {
        !matches!(self, Self::UntilClosed | Self::NoHttp)
    }

    /// Whether all of it has come.
    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Over)
    }

    /// How many bytes of content will come, where that is known.
    pub(super) fn exact(&self) -> Option<u64> {
        match self {
            Self::Over | Self::NoHttp => Some(0),
            Self::Length(left) => Some(*left),
            Self::Chunks(_) | Self::Trailers(_) | Self::UntilClosed => None,
        }
    }

    /// The next piece, taken out of what came. `None` when more must come, or nothing will.
    pub(super) fn take(&mut self, input: &mut BytesMut) -> Result<Option<Frame<Bytes>>, Malformed> {
        let piece = match self {
            Self::Over | Self::NoHttp => return Ok(None),
            Self::Length(left) => {
                let here = in_memory(*left).min(input.len());
                *left -= here as u64;
                if *left == 0 {
                    *self = Self::Over;
                }
                here
            }
            Self::UntilClosed => input.len(),
            Self::Chunks(chunked) => {
                overhead(chunked, input).map_err(Malformed::Chunk)?;
                chunked.data(input.len())
            }
            Self::Trailers(_) => 0,
        };
        let data = (piece > 0).then(|| Frame::data(input.split_to(piece).freeze()));
        // The end is most often there together with the last piece. What is wrong there is said
        // when more is asked for.
        if let Self::Chunks(chunked) = self
            && (data.is_none() || overhead(chunked, input).is_ok())
            && chunked.is_at_trailers()
        {
            *self = Self::Trailers(0);
        }
        if let Self::Trailers(_) = self {
            match (data, input.as_ref()) {
                (data, [b'\r', b'\n', ..]) => {
                    input.advance(2);
                    *self = Self::Over;
                    return Ok(data);
                }
                (None, _) => return self.take_trailers(input),
                (data, _) => return Ok(data),
            }
        }
        Ok(data)
    }

    fn take_trailers(&mut self, input: &mut BytesMut) -> Result<Option<Frame<Bytes>>, Malformed> {
        let Self::Trailers(searched) = self else { return Ok(None) };
        if input.first() == Some(&b'\n') {
            return Err(Malformed::Trailers(httparse::Error::NewLine));
        }
        let Some(end) = end_of_lines(input, searched) else {
            let too_large = input.len() > UPSTREAM_TRAILER_BYTES_MAX;
            return if too_large { Err(Malformed::TrailersTooLarge) } else { Ok(None) };
        };
        if end > UPSTREAM_TRAILER_BYTES_MAX {
            return Err(Malformed::TrailersTooLarge);
        }
        let lines = input.split_to(end).freeze();
        *self = Self::Over;
        let mut fields = [httparse::EMPTY_HEADER; UPSTREAM_FIELDS_MAX];
        let parsed = httparse::parse_headers(&lines, &mut fields).map_err(Malformed::Trailers)?;
        let Status::Complete((_, fields)) = parsed else {
            return Err(Malformed::Trailers(httparse::Error::NewLine));
        };
        let mut trailers = HeaderMap::with_capacity(fields.len());
        for field in fields {
            let name = HeaderName::from_bytes(field.name.as_bytes())
                .map_err(|_| Malformed::Trailers(httparse::Error::HeaderName))?;
            let value = HeaderValue::from_maybe_shared(lines.slice_ref(field.value))
                .map_err(|_| Malformed::Trailers(httparse::Error::HeaderValue))?;
            trailers.append(name, value);
        }
        strip_trailers(&mut trailers);
        Ok(Some(Frame::trailers(trailers)))
    }

    /// The connection was closed.
    pub(super) fn closed(&mut self) -> Result<(), Malformed> {
        match self {
            Self::Over | Self::UntilClosed => *self = Self::Over,
            _ => return Err(Malformed::Truncated),
        }
        Ok(())
    }
}

fn in_memory(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Drops what comes before data or trailers.
fn overhead(chunked: &mut Chunked, input: &mut BytesMut) -> Result<(), framing::Refusal> {
    let (used, result) = match chunked.overhead(input) {
        Ok(used) => (used, Ok(())),
        Err((used, refusal)) => (used, Err(refusal)),
    };
    input.advance(used);
    result
}

#[cfg(test)]
mod tests;
