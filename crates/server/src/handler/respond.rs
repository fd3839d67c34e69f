//! One answer to everything.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header::CONTENT_TYPE};

use crate::http::body::Body;

/// One answer to everything.
pub struct Respond {
    status: StatusCode,
    content: Bytes,
    content_type: Option<HeaderValue>,
}

impl Respond {
    pub(super) fn new(status: u16, body: &str, content_type: &str) -> Self {
        Self {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::OK),
            content: Bytes::copy_from_slice(body.as_bytes()),
            content_type: HeaderValue::from_str(content_type).ok(),
        }
    }

    pub(super) fn response(&self) -> Response<Body> {
        let mut response = Response::new(Body::full(self.content.clone()));
        *response.status_mut() = self.status;
        if let (false, Some(kind)) = (self.content.is_empty(), &self.content_type) {
            response.headers_mut().insert(CONTENT_TYPE, kind.clone());
        }
        response
    }
}
