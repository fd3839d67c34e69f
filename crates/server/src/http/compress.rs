//! Compression of answers while they are sent.
//!
//! A compressed answer that holds a secret and repeats what the request says can give the secret
//! away by its length (BREACH), so nothing is compressed unless the configuration asks for it.
//!
//! The work is done where the answer is polled, a piece at a time, and what was compressed leaves
//! whenever the source pauses: events that a program sends one by one arrive one by one.

use std::{
    io::{self, Write},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bindery_model::rules::Compress;
use bytes::{Buf as _, Bytes};
use flate2::write::GzEncoder;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode,
    header::{
        ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
        CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE,
    },
};
use http_body::{Body as _, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    accept::{self, Coding},
    body::Body,
};
use crate::{
    limits::{COMPRESSED_AT_ONCE_BYTES, COMPRESSED_WHOLE_BYTES_MAX, COMPRESSIONS_MAX},
    rules::headers::vary,
};

/// What we offer: of what a client likes equally, the smallest first.
const OFFERED: [Coding; 3] = [Coding::Brotli, Coding::Zstd, Coding::Gzip];
const BROTLI_QUALITY: u32 = 4;
const ZSTD_LEVEL: i32 = 3;
const GZIP_LEVEL: u32 = 5;
/// How far back a repetition is found, as a power of two: 128 KiB. It is most of what the state of
/// a compression takes.
const WINDOW_BITS: u32 = 17;
/// So much goes out in one frame, about.
const FRAME_BYTES: usize = 16 * 1024;

/// What is compressed.
pub(crate) struct Compression {
    bytes_min: u64,
    types: Vec<Type>,
}

enum Type {
    All,
    /// `text/*`, without the star.
    Begin(Box<str>),
    Whole(Box<str>),
}

/// How many answers may be compressed at once, over all sites.
pub(crate) struct Compressions(Arc<Semaphore>);

impl Default for Compressions {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(COMPRESSIONS_MAX)))
    }
}

impl Compression {
    pub(crate) fn new(compress: &Compress) -> Self {
        let kind = |text: &String| match text.to_ascii_lowercase() {
            all if all == "*" || all == "*/*" => Type::All,
            text => match text.strip_suffix('*') {
                Some(begin) => Type::Begin(begin.into()),
                None => Type::Whole(text.into()),
            },
        };
        Self { bytes_min: compress.bytes_min, types: compress.types.iter().map(kind).collect() }
    }

    /// The coding that a client would like best. If it takes any, it is given the whole where it
    /// asks for a part of what it knows by a date only: what was compressed for it has the same
    /// date, and bytes of both would be joined (RFC 9110, 13.1.5).
    pub(crate) fn choose(request: &mut HeaderMap) -> Option<Coding> {
        let coding = accept::choose_for(request, &OFFERED)?;
        let is_date = |value: &HeaderValue| !value.as_bytes().contains(&b'"');
        if request.get(IF_RANGE).is_some_and(is_date) {
            request.remove(IF_RANGE);
            request.remove(RANGE);
        }
        Some(coding)
    }

    /// Compresses an answer, where that makes sense. Says what it depends on also where it does
    /// not for this client, for caches.
    pub(crate) fn dress(
        &self,
        coding: Option<Coding>,
        (method, request): (&Method, &HeaderMap),
        response: &mut Response<Body>,
        compressions: &Compressions,
    ) {
        match response.status() {
            StatusCode::NOT_MODIFIED => {
                return self.dress_unchanged(request, response.headers_mut());
            }
            StatusCode::PARTIAL_CONTENT => return self.dress_part(response.headers_mut()),
            _ => {}
        }
        if !self.is_for(method, response) {
            return;
        }
        vary(response.headers_mut(), "Accept-Encoding");
        let Some(coding) = coding else { return };
        let body = std::mem::take(response.body_mut());
        let body = match method {
            &Method::HEAD => Body::Empty,
            _ => match Compressed::new(body, coding, compressions) {
                Ok(compressed) => Body::Stream(Box::pin(compressed)),
                Err(body) => {
                    *response.body_mut() = body;
                    return;
                }
            },
        };
        *response.body_mut() = body;
        let fields = response.headers_mut();
        fields.insert(CONTENT_ENCODING, coding.value());
        fields.remove(CONTENT_LENGTH);
        // A part of what is compressed now would be no part of what is compressed then.
        fields.remove(ACCEPT_RANGES);
        // It is not the same byte for byte any more (RFC 9110, 8.8.1).
        if let Some(weak) = fields.get(ETAG).and_then(weakened) {
            fields.insert(ETAG, weak);
        }
    }

    /// What a client has already, and how: it knows what was compressed for it by a weak tag, and
    /// finds it again by that only (RFC 9110, 15.4.5; RFC 9111, 4.3.4).
    fn dress_unchanged(&self, request: &HeaderMap, fields: &mut HeaderMap) {
        let kind = fields.get(CONTENT_TYPE);
        if is_fixed(fields) || kind.is_some_and(|value| !self.has_type(value.as_bytes())) {
            return;
        }
        vary(fields, "Accept-Encoding");
        let Some(weak) = fields.get(ETAG).and_then(weakened) else { return };
        let names = |value: &HeaderValue| {
            let mut tags = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            tags.any(|tag| tag == weak.as_bytes())
        };
        if request.get_all(IF_NONE_MATCH).iter().any(names) {
            fields.insert(ETAG, weak);
        }
    }

    /// A part says what the whole would say that it depends on (RFC 9110, 15.3.7).
    fn dress_part(&self, fields: &mut HeaderMap) {
        let kind = fields.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
        let whole = self.has_type(kind) || kind.starts_with(b"multipart/byteranges");
        if whole && !fields.contains_key(CONTENT_ENCODING) && !is_final(fields) {
            vary(fields, "Accept-Encoding");
        }
    }

    /// Whether an answer may be compressed for anybody.
    fn is_for(&self, method: &Method, response: &Response<Body>) -> bool {
        let status = response.status();
        // What follows a 2xx to CONNECT is no content.
        if *method == Method::CONNECT {
            return false;
        }
        let without =
            [StatusCode::NO_CONTENT, StatusCode::PARTIAL_CONTENT, StatusCode::NOT_MODIFIED];
        if status.is_informational() || without.contains(&status) {
            return false;
        }
        let fields = response.headers();
        if is_fixed(fields) {
            return false;
        }
        let kind = fields.get(CONTENT_TYPE).is_some_and(|value| self.has_type(value.as_bytes()));
        kind && self.is_large_enough(method, response)
    }

    fn has_type(&self, value: &[u8]) -> bool {
        let own = value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let begins = |begin: &str| {
            own.get(..begin.len()).is_some_and(|own| own.eq_ignore_ascii_case(begin.as_bytes()))
        };
        self.types.iter().any(|kind| match kind {
            Type::All => true,
            Type::Begin(begin) => begins(begin),
            Type::Whole(whole) => own.len() == whole.len() && begins(whole),
        })
    }

    fn is_large_enough(&self, method: &Method, response: &Response<Body>) -> bool {
        // The answer to HEAD says a length and has none.
        let said = || response.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
        let length = match response.body() {
            Body::Empty if *method == Method::HEAD => said(),
            Body::Empty => Some(0),
            body => body.size_hint().exact(),
        };
        length.is_none_or(|length: u64| length > 0 && length >= self.bytes_min)
    }
}

/// Whether an answer is encoded already, is told a digest of (RFC 9530; RFC 1864), or must stay.
fn is_fixed(fields: &HeaderMap) -> bool {
    let fixed = ["repr-digest", "content-digest", "digest", "content-md5"];
    let says_so = |name: &HeaderName| {
        *name == CONTENT_ENCODING || *name == CONTENT_RANGE || fixed.contains(&name.as_str())
    };
    fields.keys().any(says_so) || is_final(fields)
}

/// Whether nobody on the way may change it (RFC 9111, 5.2.2.6).
fn is_final(fields: &HeaderMap) -> bool {
    let says = |value: &HeaderValue| {
        let mut own = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        own.any(|own| own.eq_ignore_ascii_case(b"no-transform"))
    };
    fields.get_all(CACHE_CONTROL).iter().any(says)
}

/// `None` for a tag that is weak already.
fn weakened(tag: &HeaderValue) -> Option<HeaderValue> {
    let tag = tag.as_bytes();
    (!tag.starts_with(b"W/")).then(|| HeaderValue::from_bytes(&[b"W/", tag].concat()).ok())?
}

/// A body on its way through a codec.
struct Compressed {
    source: Body,
    coding: Coding,
    state: State,
    /// Taken out of the source and not compressed yet.
    input: Bytes,
    trailers: Option<HeaderMap>,
    /// Whether there is something in the codec that nobody has seen.
    unseen: bool,
    /// Whether the codec is run to its end before anything is given out. What is in memory is; its
    /// codec is gone in a moment, however slowly the peer reads.
    whole: bool,
    #[allow(dead_code, reason = "given back when it is dropped")]
    permit: Option<OwnedSemaphorePermit>,
}

enum State {
    /// Nobody has asked for anything yet, and no memory is taken.
    Begin,
    Running(Encoder),
    /// The last of it, and then the trailers.
    Ended(Vec<u8>),
}

impl Compressed {
    /// Gives the body back where too many are compressed already.
    fn new(source: Body, coding: Coding, compressions: &Compressions) -> Result<Self, Body> {
        let whole =
            matches!(&source, Body::Full(bytes) if bytes.len() <= COMPRESSED_WHOLE_BYTES_MAX);
        let permit = match whole {
            true => None,
            false => match Arc::clone(&compressions.0).try_acquire_owned() {
                Ok(permit) => Some(permit),
                Err(_) => return Err(source),
            },
        };
        let (state, input) = (State::Begin, Bytes::new());
        Ok(Self { source, coding, state, input, trailers: None, unseen: false, whole, permit })
    }

    /// Compresses for a while. `Ready` when there is something to give out or nothing more to do.
    fn poll_compress(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut left = COMPRESSED_AT_ONCE_BYTES;
        while let State::Running(encoder) = &mut self.state {
            let enough = if self.whole { usize::MAX } else { FRAME_BYTES };
            if encoder.output().len() >= enough {
                return Poll::Ready(Ok(()));
            }
            if left == 0 {
                // Others first.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if !self.input.is_empty() {
                let piece = self.input.split_to(self.input.len().min(left));
                left -= piece.len();
                encoder.writer().write_all(piece.chunk())?;
                self.unseen = true;
                continue;
            }
            match Pin::new(&mut self.source).poll_frame(cx) {
                Poll::Ready(Some(frame)) => match frame?.into_data() {
                    Ok(bytes) => self.input = bytes,
                    Err(trailers) => {
                        self.trailers = trailers.into_trailers().ok();
                        self.end()?;
                    }
                },
                Poll::Ready(None) => self.end()?,
                Poll::Pending => {
                    // A file goes on by itself; what a program sends must not wait for its next
                    // words.
                    if self.unseen && matches!(self.source, Body::Stream(_)) {
                        encoder.writer().flush()?;
                        self.unseen = false;
                    }
                    let seen = !encoder.output().is_empty();
                    return if seen { Poll::Ready(Ok(())) } else { Poll::Pending };
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn end(&mut self) -> io::Result<()> {
        if let State::Running(encoder) = std::mem::replace(&mut self.state, State::Begin) {
            self.state = State::Ended(encoder.finish()?);
        }
        Ok(())
    }
}

impl http_body::Body for Compressed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let body = &mut *self;
        if matches!(body.state, State::Begin) {
            let length = body.source.size_hint().exact();
            match Encoder::new(body.coding, length) {
                Ok(encoder) => body.state = State::Running(encoder),
                Err(error) => {
                    body.state = State::Ended(Vec::new());
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
        if let Err(error) = std::task::ready!(body.poll_compress(cx)) {
            body.state = State::Ended(Vec::new());
            return Poll::Ready(Some(Err(error)));
        }
        let bytes = match &mut body.state {
            State::Begin => Vec::new(),
            State::Running(encoder) => std::mem::take(encoder.output()),
            State::Ended(rest) => std::mem::take(rest),
        };
        if !bytes.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(bytes.into()))));
        }
        Poll::Ready(body.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.state, State::Ended(rest) if rest.is_empty()) && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// A codec that writes into memory.
enum Encoder {
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(Box<zstd::stream::write::Encoder<'static, Vec<u8>>>),
    Gzip(Box<GzEncoder<Vec<u8>>>),
}

impl Encoder {
    fn new(coding: Coding, length: Option<u64>) -> io::Result<Self> {
        // Of something small a small window holds the whole.
        let needed = length.map_or(WINDOW_BITS, |length| u64::BITS - length.leading_zeros());
        let window = needed.clamp(12, WINDOW_BITS);
        Ok(match coding {
            Coding::Brotli => Self::Brotli(Box::new(brotli::CompressorWriter::new(
                Vec::new(),
                FRAME_BYTES,
                BROTLI_QUALITY,
                window,
            ))),
            Coding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
                encoder.window_log(window)?;
                encoder.set_pledged_src_size(length)?;
                Self::Zstd(Box::new(encoder))
            }
            Coding::Gzip => {
                let level = flate2::Compression::new(GZIP_LEVEL);
                Self::Gzip(Box::new(GzEncoder::new(Vec::new(), level)))
            }
        })
    }

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Brotli(encoder) => encoder,
            Self::Zstd(encoder) => encoder,
            Self::Gzip(encoder) => encoder,
        }
    }

    /// What has come out and was not taken yet.
    fn output(&mut self) -> &mut Vec<u8> {
        match self {
            Self::Brotli(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
            Self::Gzip(encoder) => encoder.get_mut(),
        }
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Brotli(encoder) => Ok(encoder.into_inner()),
            Self::Zstd(encoder) => encoder.finish(),
            Self::Gzip(encoder) => encoder.finish(),
        }
    }
}

#[cfg(test)]
mod tests;
