//! The answer for a file that was found.

use std::sync::Arc;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode, Uri,
    header::{
        ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
        CONTENT_TYPE, ETAG, EXPIRES, LAST_MODIFIED, LOCATION, VARY,
    },
    request::Parts as Request,
};

use super::{
    conditional::{self, Selection},
    multipart::{Boundary, Parts},
    pool::OpenFile,
    range::ByteRange,
    representation::Representation,
    stream::{FileStream, Reads},
};
use crate::http::{body::Body, error::RequestError};

/// Where the bytes of a file are.
pub(super) enum Content<'a> {
    Memory(&'a Bytes),
    Disk { file: OpenFile, reads: Reads },
}

/// Room for our fields and those that every answer gets later, so that the map never grows.
const FIELDS: usize = 12;

/// Answers GET and HEAD, with all the conditions and ranges of the request.
///
/// # Errors
///
/// As [`conditional::select`].
pub(super) fn file(
    request: &Request,
    representation: &Representation,
    content: Content<'_>,
    boundary: &Boundary,
) -> Result<Response<Body>, RequestError> {
    let selection = conditional::select(&request.method, &request.headers, representation)?;
    let mut headers = HeaderMap::with_capacity(FIELDS);
    headers.insert(ETAG, representation.etag.clone());
    if let Some(last_modified) = &representation.last_modified {
        headers.insert(LAST_MODIFIED, last_modified.clone());
    }
    if let Some(cache_control) = &representation.cache_control {
        headers.insert(CACHE_CONTROL, cache_control.clone());
    }
    if let Some(expires) = &representation.expires {
        headers.insert(EXPIRES, HeaderValue::clone(expires));
    }
    if representation.varies {
        headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    if selection == Selection::NotModified {
        return Ok(response(StatusCode::NOT_MODIFIED, headers, Body::empty()));
    }
    if let Some(coding) = representation.coding {
        headers.insert(CONTENT_ENCODING, coding.value());
    }
    headers.insert(CONTENT_TYPE, representation.content_type.clone());
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let length = representation.stamp.length();
    let (status, body) = match selection {
        Selection::Whole | Selection::NotModified if request.method == Method::HEAD => {
            // The length of a body is sent with it; only where there is none it has to be said.
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
            (StatusCode::OK, Body::empty())
        }
        Selection::Whole | Selection::NotModified => {
            (StatusCode::OK, body(content, None, representation))
        }
        Selection::Part(range) => {
            headers.insert(CONTENT_RANGE, printable(range.content_range(length)));
            (StatusCode::PARTIAL_CONTENT, body(content, Some(range), representation))
        }
        Selection::Parts(ranges) => {
            let parts = Parts::new(boundary, ranges, &representation.content_type, length);
            headers.insert(CONTENT_TYPE, boundary.content_type());
            (StatusCode::PARTIAL_CONTENT, parts_body(content, parts, representation))
        }
    };
    Ok(response(status, headers, body))
}

fn body(content: Content<'_>, range: Option<ByteRange>, of: &Representation) -> Body {
    match (content, range) {
        (Content::Memory(bytes), None) => Body::full(bytes.clone()),
        (Content::Memory(bytes), Some(range)) => Body::full(bytes.slice_ref(range.of(bytes))),
        (Content::Disk { file, reads }, range) => {
            let (first, length) = match range {
                Some(range) => (range.first(), range.length()),
                None => (0, of.stamp.length()),
            };
            let stream = FileStream::new(Arc::new(file), of.stamp, first, length, reads);
            Body::File(Box::new(stream))
        }
    }
}

fn parts_body(content: Content<'_>, parts: Parts, of: &Representation) -> Body {
    match content {
        Content::Memory(bytes) => parts.of_memory(bytes),
        Content::Disk { file, reads } => parts.of_disk(file, of.stamp, reads),
    }
}

/// Answers GET and HEAD with a page of ours that changes with the folder it is about.
pub(super) fn listing(request: &Request, page: &Bytes) -> Response<Body> {
    let mut headers = HeaderMap::with_capacity(FIELDS);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    let body = if request.method == Method::HEAD {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(page.len()));
        Body::empty()
    } else {
        Body::full(page.clone())
    };
    response(StatusCode::OK, headers, body)
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
