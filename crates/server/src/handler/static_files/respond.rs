//! The answer for a file that was found.

use std::fs::File;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode, Uri,
    header::{
        ACCEPT_RANGES, ALLOW, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, LAST_MODIFIED,
        LOCATION,
    },
    request::Parts,
};

use super::{
    conditional::{self, Selection},
    range::ByteRange,
    representation::Representation,
    stream::FileStream,
};
use crate::http::{body::Body, error::RequestError};

/// Where the bytes of a file are.
pub(super) enum Content<'a> {
    Memory(&'a Bytes),
    Disk {
        file: File,
        /// Whether reads are tried without waiting.
        at_once: bool,
    },
}

/// Room for our fields and those that every answer gets later, so that the map never grows.
const FIELDS: usize = 12;

/// Answers GET and HEAD, with all the conditions and ranges of the request.
///
/// # Errors
///
/// As [`conditional::select`].
pub(super) fn file(
    request: &Parts,
    representation: &Representation,
    content: Content<'_>,
) -> Result<Response<Body>, RequestError> {
    let selection = conditional::select(&request.method, &request.headers, representation)?;
    let mut headers = HeaderMap::with_capacity(FIELDS);
    headers.insert(ETAG, representation.etag.clone());
    if let Some(last_modified) = &representation.last_modified {
        headers.insert(LAST_MODIFIED, last_modified.clone());
    }
    let (status, range) = match selection {
        Selection::NotModified => {
            return Ok(response(StatusCode::NOT_MODIFIED, headers, Body::empty()));
        }
        Selection::Whole => (StatusCode::OK, None),
        Selection::Part(range) => {
            let content_range = range.content_range(representation.stamp.length());
            headers.insert(CONTENT_RANGE, printable(content_range));
            (StatusCode::PARTIAL_CONTENT, Some(range))
        }
    };
    headers.insert(CONTENT_TYPE, representation.content_type.clone());
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // The length of a body is sent with it; only where there is none it has to be said.
    let body = if request.method == Method::HEAD {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(representation.stamp.length()));
        Body::empty()
    } else {
        body(content, range, representation.stamp.length())
    };
    Ok(response(status, headers, body))
}

fn body(content: Content<'_>, range: Option<ByteRange>, length: u64) -> Body {
    match (content, range) {
        (Content::Memory(bytes), None) => Body::full(bytes.clone()),
        (Content::Memory(bytes), Some(range)) => {
            let part = usize::try_from(range.first())
                .ok()
                .zip(usize::try_from(range.length()).ok())
                .and_then(|(first, length)| bytes.get(first..first + length))
                .unwrap_or_default();
            Body::full(bytes.slice_ref(part))
        }
        (Content::Disk { file, at_once }, range) => {
            let (first, length) = range.map_or((0, length), |r| (r.first(), r.length()));
            Body::File(Box::new(FileStream::new(file, first, length, at_once)))
        }
    }
}

/// Sends a client that asked for a folder to the same path with a slash, keeping the query.
///
/// `Location` is a path, not a URL: it keeps scheme, host and port whatever they are. It cannot
/// begin with two slashes, which would name another host, because such a path is never found.
pub(super) fn to_folder(uri: &Uri) -> Response<Body> {
    let mut location = String::with_capacity(uri.path().len() + 1);
    for byte in uri.path().bytes() {
        if byte.is_ascii_graphic() {
            location.push(char::from(byte));
        } else {
            location.push_str(percent_encoding::percent_encode_byte(byte));
        }
    }
    location.push('/');
    if let Some(query) = uri.query() {
        location.push('?');
        location.push_str(query);
    }
    let mut headers = HeaderMap::with_capacity(FIELDS);
    headers.insert(LOCATION, printable(location));
    response(StatusCode::MOVED_PERMANENTLY, headers, Body::empty())
}

/// Answers OPTIONS (RFC 9110, 9.3.7).
pub(super) fn options(allow: &'static str) -> Response<Body> {
    let mut headers = HeaderMap::with_capacity(FIELDS);
    headers.insert(ALLOW, HeaderValue::from_static(allow));
    response(StatusCode::NO_CONTENT, headers, Body::empty())
}

/// A query may hold bytes beyond ASCII, and so may a field. Nothing else can be wrong with it here.
fn printable(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("/"))
}

fn response(status: StatusCode, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
