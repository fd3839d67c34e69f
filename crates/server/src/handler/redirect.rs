//! Another address.

use bindery_model::name::Host;
use http::{HeaderValue, Response, StatusCode, header::LOCATION};

use super::url_host;
use crate::http::{body::Body, error::RequestError};

/// Sends every request elsewhere.
pub struct Redirect {
    to: String,
    status: StatusCode,
    /// Whether the target is only a scheme and a host, and gets the path and query of the
    /// request.
    append: bool,
}

impl Redirect {
    pub(super) fn new(to: &str, status: u16) -> Self {
        let append = takes_path(to);
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::PERMANENT_REDIRECT);
        Self { to: to.to_owned(), status, append }
    }

    pub(super) fn handle(
        &self,
        request: &http::request::Parts,
    ) -> Result<Response<Body>, RequestError> {
        let target = match self.append {
            true => format!("{}{}", self.to, path_and_query(request)),
            false => self.to.clone(),
        };
        let reason = "a target that cannot stand in a field";
        moved(self.status, &target).ok_or(RequestError::BadRequest { reason })
    }
}

/// Whether a target is only a scheme and a host, and gets the path and query of the request.
#[must_use]
pub fn takes_path(to: &str) -> bool {
    let after_scheme = to.split_once("://").map(|(_, rest)| rest);
    after_scheme.is_some_and(|rest| !rest.contains(['/', '?', '#']))
}

/// The same address by https. 308 keeps the method (RFC 9110, 15.4.9).
pub(super) fn to_https(host: &Host, port: u16, request: &http::request::Parts) -> Response<Body> {
    let target = format!("https://{}{}", url_host(host, port, 443), path_and_query(request));
    moved(StatusCode::PERMANENT_REDIRECT, &target).unwrap_or_else(|| Response::new(Body::empty()))
}

fn path_and_query(request: &http::request::Parts) -> &str {
    let path = request.uri.path_and_query().map_or("/", |both| both.as_str());
    if path.starts_with('/') { path } else { "/" }
}

fn moved(status: StatusCode, target: &str) -> Option<Response<Body>> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(LOCATION, HeaderValue::from_str(target).ok()?);
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(to: &str, asked: &str, expected: &str) {
        let request = http::Request::builder().uri(asked).body(()).unwrap().into_parts().0;
        let response = Redirect::new(to, 302).handle(&request).unwrap();
        assert_eq!(response.status(), 302);
        assert_eq!(response.headers()[LOCATION], expected);
    }

    #[test]
    fn a_target_without_a_path_gets_that_of_the_request() {
        check("https://new.example", "/a/b?c=d", "https://new.example/a/b?c=d");
        check("https://new.example", "*", "https://new.example/");
        check("https://new.example/", "/a/b?c=d", "https://new.example/");
        check("https://new.example/x", "/a", "https://new.example/x");
        check("/moved", "/a?b", "/moved");
    }

    #[test]
    fn the_way_to_https_keeps_host_path_and_query() {
        let request = http::Request::builder().uri("/a?b").body(()).unwrap().into_parts().0;
        let to = |host: &str, port| {
            to_https(&host.parse().unwrap(), port, &request).headers()[LOCATION].clone()
        };
        assert_eq!(to("a.example", 443), "https://a.example/a?b");
        assert_eq!(to("a.example", 8443), "https://a.example:8443/a?b");
        assert_eq!(to("[::1]", 8443), "https://[::1]:8443/a?b");
    }
}
