//! Who may read the answers from pages of other origins: the CORS protocol of the Fetch standard
//! (3.3).

use bindery_model::rules::Cors;
use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS,
        ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE,
        ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
    },
    request::Parts,
};

use super::headers::vary;
use crate::http::body::Body;

const ANY: HeaderValue = HeaderValue::from_static("*");

/// Who may read the answers from pages of other origins.
pub(crate) struct CorsPolicy {
    /// Empty for all.
    origins: Vec<HeaderValue>,
    methods: HeaderValue,
    /// `None` for those that are asked for.
    headers: Option<HeaderValue>,
    credentials: bool,
    max_age: HeaderValue,
}

/// What is said of one request's origin.
#[derive(Debug, Default)]
pub(crate) enum Grant {
    /// Nothing.
    #[default]
    Nothing,
    /// All may read it.
    All,
    /// This origin may.
    Origin(HeaderValue),
}

impl CorsPolicy {
    pub(crate) fn new(cors: &Cors) -> Self {
        let list = |items: &[String]| HeaderValue::try_from(items.join(", ")).ok();
        // An origin is sent as a browser writes it: lower case, nothing behind the port.
        let origin = |text: &String| {
            HeaderValue::try_from(text.trim_end_matches('/').to_ascii_lowercase()).ok()
        };
        Self {
            origins: cors.origins.iter().filter_map(origin).collect(),
            methods: list(&cors.methods).unwrap_or(HeaderValue::from_static("GET, HEAD, POST")),
            headers: list(&cors.headers).filter(|value| !value.is_empty()),
            // Never with all origins: every page could then act for who looks at it.
            credentials: cors.credentials && !cors.origins.is_empty(),
            max_age: HeaderValue::from(cors.max_age),
        }
    }

    /// What is said to the origin of a request.
    pub(crate) fn grant(&self, request: &Parts) -> Grant {
        match request.headers.get(ORIGIN) {
            None => Grant::Nothing,
            Some(_) if self.origins.is_empty() => Grant::All,
            Some(origin) if self.origins.contains(origin) => Grant::Origin(origin.clone()),
            Some(_) => Grant::Nothing,
        }
    }

    /// The answer to a preflight; `None` for a request that is none.
    pub(crate) fn preflight(&self, request: &Parts) -> Option<Response<Body>> {
        let is_preflight = request.method == Method::OPTIONS
            && request.headers.contains_key(ORIGIN)
            && request.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if !is_preflight {
            return None;
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let fields = response.headers_mut();
        let grant = self.grant(request);
        if !matches!(grant, Grant::Nothing) {
            fields.insert(ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
            let asked = || request.headers.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned();
            if let Some(headers) = self.headers.clone().or_else(asked) {
                fields.insert(ACCESS_CONTROL_ALLOW_HEADERS, headers);
            }
            fields.insert(ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        }
        if self.headers.is_none() {
            vary(fields, "Access-Control-Request-Headers");
        }
        self.dress(&grant, fields);
        Some(response)
    }

    /// Puts what is granted into an answer, in the place of what a program behind us may have said.
    pub(crate) fn dress(&self, grant: &Grant, fields: &mut HeaderMap) {
        match grant {
            Grant::Nothing => {
                fields.remove(ACCESS_CONTROL_ALLOW_ORIGIN);
                fields.remove(ACCESS_CONTROL_ALLOW_CREDENTIALS);
            }
            Grant::All => {
                fields.insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
                fields.remove(ACCESS_CONTROL_ALLOW_CREDENTIALS);
            }
            Grant::Origin(origin) => {
                fields.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
                match self.credentials {
                    true => fields
                        .insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true")),
                    false => fields.remove(ACCESS_CONTROL_ALLOW_CREDENTIALS),
                };
            }
        }
        // A cache must not give one origin what was meant for another, nor one what was for none.
        if !self.origins.is_empty() {
            vary(fields, "Origin");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cors(origins: &[&str], headers: &[&str], credentials: bool) -> CorsPolicy {
        let owned = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect();
        CorsPolicy::new(&Cors {
            origins: owned(origins),
            methods: owned(&["GET", "PUT"]),
            headers: owned(headers),
            credentials,
            max_age: 600,
        })
    }

    fn request(method: &str, fields: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().method(method).uri("/");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    /// The CORS fields of the answer to a request, preflight or not, one line each.
    #[track_caller]
    fn check(policy: &CorsPolicy, request: &Parts, expected: &[&str]) {
        let response = policy.preflight(request).unwrap_or_else(|| {
            let mut response = Response::new(Body::empty());
            // What a program behind us may have said.
            response
                .headers_mut()
                .insert(ACCESS_CONTROL_ALLOW_ORIGIN, "https://own".parse().unwrap());
            response
                .headers_mut()
                .insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            policy.dress(&policy.grant(request), response.headers_mut());
            response
        });
        let mut lines: Vec<_> = response
            .headers()
            .iter()
            .map(|(name, value)| {
                let name = name.as_str().trim_start_matches("access-control-");
                format!("{name}: {}", value.to_str().unwrap())
            })
            .collect();
        lines.sort_unstable();
        assert_eq!(lines, expected);
    }

    const A: &str = "https://a.example";

    #[test]
    fn a_simple_request_is_granted_to_the_origins_of_the_list() {
        let listed = cors(&["https://A.example/"], &[], false);
        check(
            &listed,
            &request("GET", &[("origin", A)]),
            &["allow-origin: https://a.example", "vary: Origin"],
        );
        check(&listed, &request("GET", &[("origin", "https://b.example")]), &["vary: Origin"]);
        check(&listed, &request("GET", &[("origin", "null")]), &["vary: Origin"]);
        check(&listed, &request("GET", &[]), &["vary: Origin"]);
        let open = cors(&[], &[], false);
        check(&open, &request("GET", &[("origin", A)]), &["allow-origin: *"]);
        check(&open, &request("GET", &[]), &[]);
    }

    #[test]
    fn credentials_are_never_for_all_origins() {
        let fields = &[("origin", A)];
        let listed = ["allow-credentials: true", "allow-origin: https://a.example", "vary: Origin"];
        check(&cors(&[A], &[], true), &request("GET", fields), &listed);
        check(&cors(&[], &[], true), &request("GET", fields), &["allow-origin: *"]);
    }

    #[test]
    fn a_preflight_is_answered_with_what_is_granted() {
        let fields = [
            ("origin", A),
            ("access-control-request-method", "PUT"),
            ("access-control-request-headers", "x-a, x-b"),
        ];
        let preflight = request("OPTIONS", &fields);
        check(
            &cors(&[A], &["x-c"], true),
            &preflight,
            &[
                "allow-credentials: true",
                "allow-headers: x-c",
                "allow-methods: GET, PUT",
                "allow-origin: https://a.example",
                "max-age: 600",
                "vary: Origin",
            ],
        );
        check(
            &cors(&[], &[], false),
            &preflight,
            &[
                "allow-headers: x-a, x-b",
                "allow-methods: GET, PUT",
                "allow-origin: *",
                "max-age: 600",
                "vary: Access-Control-Request-Headers",
            ],
        );
        let other = cors(&["https://b.example"], &["x-c"], true);
        check(&other, &preflight, &["vary: Origin"]);
    }

    #[test]
    fn only_an_options_request_with_origin_and_method_is_a_preflight() {
        let policy = cors(&[], &[], false);
        let (origin, method) = (("origin", A), ("access-control-request-method", "PUT"));
        for (verb, fields, expected) in [
            ("OPTIONS", vec![origin, method], true),
            ("OPTIONS", vec![origin], false),
            ("OPTIONS", vec![method], false),
            ("GET", vec![origin, method], false),
        ] {
            assert_eq!(policy.preflight(&request(verb, &fields)).is_some(), expected);
        }
    }
}
