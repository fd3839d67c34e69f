//! Other addresses for some requests.

use std::fmt::Write as _;

use bindery_model::{
    decide::{
        condition::Asked,
        rewrite::{Replacement, Target},
    },
    rules::{RedirectRule, RedirectTo},
};
use http::{HeaderValue, Response, StatusCode, header::LOCATION};

use crate::http::{body::Body, error::RequestError};

/// A rule made ready.
pub(crate) struct Redirect {
    replacement: Replacement,
    to: To,
    status: StatusCode,
    keep_query: bool,
}

/// What becomes of a request.
#[derive(Clone, Copy, PartialEq)]
enum To {
    Target,
    Refused,
    Here,
}

impl Redirect {
    /// `None` for a rule that is none, which no configuration has.
    pub(crate) fn new(rule: &RedirectRule) -> Option<Self> {
        let (to, target) = match &rule.to {
            RedirectTo::Target(target) => (To::Target, Some(target.as_str())),
            RedirectTo::Refused => (To::Refused, None),
            RedirectTo::Here => (To::Here, None),
        };
        let fits = |status: &StatusCode| match to {
            To::Target => status.is_redirection(),
            To::Refused => status.is_client_error() || status.is_server_error(),
            To::Here => true,
        };
        Some(Self {
            replacement: Replacement::new(&rule.path, &rule.when, target).ok()?,
            to,
            status: StatusCode::from_u16(rule.status).ok().filter(fits)?,
            keep_query: rule.keep_query,
        })
    }

    /// Which requests it is for.
    pub(crate) fn replacement(&self) -> &Replacement {
        &self.replacement
    }

    /// Where the rule leads a request, unless it is not for it.
    pub(crate) fn target(&self, asked: &Asked<'_>) -> Option<Target> {
        self.replacement.target(asked, self.keep_query)
    }

    /// The answer to a request that it leads to a target, `None` where it stays.
    ///
    /// # Errors
    ///
    /// What it is refused with; 400 where the path would become a part of the host:
    /// `https://a.example$1` is to lead to a.example and not to a.example.other.
    pub(crate) fn answer(
        &self,
        target: &Target,
        path: &str,
    ) -> Option<Result<Response<Body>, RequestError>> {
        match self.to {
            To::Here => None,
            To::Refused => {
                Some(Err(RequestError::Refused { path: path.to_owned(), status: self.status }))
            }
            To::Target => Some(location(target).map(|location| {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = self.status;
                response.headers_mut().insert(LOCATION, location);
                response
            })),
        }
    }
}

fn location(target: &Target) -> Result<HeaderValue, RequestError> {
    let reason = "a path that would change the host of a redirect";
    let bad = || RequestError::BadRequest { reason };
    let (host, path) = target.text.split_at_checked(target.host_end).ok_or_else(bad)?;
    let begins = path.starts_with(['/', '?', '#']);
    let is_local = host.is_empty()
        && path.starts_with(['/', '\\'])
        && path.get(1..).is_some_and(|rest| rest.starts_with(['/', '\\']));
    if !begins || is_local {
        return Err(bad());
    }
    HeaderValue::try_from(printable(&target.text)).map_err(|_| bad())
}

/// Only what may stand in a URL, for some readers of fields decode what is beyond.
fn printable(target: &str) -> String {
    let mut text = String::with_capacity(target.len());
    for byte in target.bytes() {
        match byte.is_ascii_graphic() {
            true => text.push(char::from(byte)),
            // Writing to a string does not fail.
            false => write!(text, "%{byte:02X}").unwrap_or_default(),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use bindery_model::rules::PathPattern;
    use proptest::prelude::*;

    use super::*;

    fn redirect(path: PathPattern, to: &str, keep_query: bool) -> Redirect {
        let to = RedirectTo::Target(to.to_owned());
        let when = Vec::new();
        Redirect::new(&RedirectRule { path, when, to, status: 308, keep_query }).unwrap()
    }

    fn regex(text: &str) -> PathPattern {
        PathPattern::Regex(text.to_owned())
    }

    /// The target of a request, or its status.
    fn ask(redirect: &Redirect, asked: &str) -> String {
        let (path, query) =
            asked.split_once('?').map_or((asked, None), |(path, query)| (path, Some(query)));
        let asked = Asked { query, ..Asked::of(path.as_bytes()) };
        match redirect.target(&asked).and_then(|target| redirect.answer(&target, path)) {
            None => "none".to_owned(),
            Some(Err(error)) => error.status().as_u16().to_string(),
            Some(Ok(response)) => {
                assert_eq!(response.status(), 308);
                response.headers()[LOCATION].to_str().unwrap().to_owned()
            }
        }
    }

    #[test]
    fn a_redirect_leads_where_its_rule_says() {
        let exact = || PathPattern::Exact("/old".to_owned());
        let prefix = || PathPattern::Prefix("/blog".to_owned());
        for (path, to, keep, asked, expected) in [
            (exact(), "/new", true, "/old?a=b", "/new?a=b"),
            (exact(), "/new", false, "/old?a=b", "/new"),
            (exact(), "/new", true, "/older", "none"),
            (prefix(), "https://b.example", true, "/blog/a/b?c", "https://b.example/a/b?c"),
            (prefix(), "/news", true, "/blogs", "none"),
            (PathPattern::Suffix(".php".to_owned()), "/gone", false, "/a/b.php", "/gone"),
            (regex(r"^/u/(\d+)$"), "/users/$1", true, "/u/7?x", "/users/7?x"),
            (
                regex("^/(?P<who>.*)$"),
                "https://a.example/${who}",
                true,
                "/é",
                "https://a.example/%C3%A9",
            ),
            (exact(), "/neu-für", true, "/old", "/neu-f%C3%BCr"),
            (exact(), "/a b", true, "/old?\u{e9}", "/a%20b?%C3%A9"),
        ] {
            assert_eq!(ask(&redirect(path, to, keep), asked), expected, "{to} {asked}");
        }
    }

    #[test]
    fn no_path_leads_to_another_host() {
        let any = || regex("^/r(.*)$");
        for (to, asked, expected) in [
            ("/$1", "/r/evil.example", "/evil.example"),
            ("$1", "/r//evil.example", "/evil.example"),
            ("$1", "/r/\\evil.example", "/%5Cevil.example"),
            ("https://a.example$1", "/r/x", "https://a.example/x"),
            ("https://a.example$1", "/r", "https://a.example/"),
            ("https://a.example$1", "/r.evil.example", "400"),
            ("https://a.example$1", "/r@evil.example", "400"),
            ("https://a.example$1", "/r:80", "400"),
            ("https://$1.a.example/", "/rx", "400"),
            ("https://a.example/$1", "/r@evil.example", "https://a.example/@evil.example"),
        ] {
            assert_eq!(ask(&redirect(any(), to, true), asked), expected, "{to} {asked}");
        }
    }

    #[test]
    fn a_rule_that_is_none_is_left_out() {
        let rule = |path, status, to| RedirectRule {
            path,
            when: Vec::new(),
            to,
            status,
            keep_query: true,
        };
        let to = || RedirectTo::Target("/".to_owned());
        assert!(Redirect::new(&rule(regex("("), 308, to())).is_none());
        assert!(Redirect::new(&rule(regex("a"), 200, to())).is_none());
        assert!(Redirect::new(&rule(regex("a"), 308, RedirectTo::Refused)).is_none());
    }

    #[test]
    fn a_rule_may_refuse_or_leave_a_request_where_it_is() {
        let made = |to, status| {
            let (path, when) = (regex("a"), Vec::new());
            Redirect::new(&RedirectRule { path, when, to, status, keep_query: true }).unwrap()
        };
        assert_eq!(ask(&made(RedirectTo::Refused, 410), "/a"), "410");
        let here = made(RedirectTo::Here, 308);
        let target = here.target(&Asked::of(b"/a")).unwrap();
        assert!(here.answer(&target, "/a").is_none());
        assert!(here.target(&Asked::of(b"/b")).is_none());
    }

    proptest! {
        #[test]
        fn a_target_stays_on_its_host_and_is_one_line(
            path in proptest::collection::vec(any::<u8>(), 0..30),
            query in proptest::option::of("[ -~\u{80}-\u{ff}]{0,10}"),
            to in 0..4_usize,
        ) {
            let (to, host) = [
                ("$1", ""),
                ("/$1", ""),
                ("https://h.example$1", "https://h.example"),
                ("https://h.example/a?b=$1", "https://h.example"),
            ][to];
            let asked = [b"/r", &path[..]].concat();
            let redirect = redirect(regex("(?s)^/r(.*)$"), to, true);
            let asked = Asked { query: query.as_deref(), ..Asked::of(&asked) };
            let target = redirect.target(&asked);
            if let Some(Ok(response)) = target.and_then(|to| redirect.answer(&to, "")) {
                let location = response.headers()[LOCATION].to_str().unwrap();
                prop_assert!(location.bytes().all(|byte| byte.is_ascii_graphic()));
                let rest = location.strip_prefix(host).unwrap();
                prop_assert!(rest.starts_with('/') && !rest.starts_with("/\\"), "{}", location);
                prop_assert!(!host.is_empty() || !rest.starts_with("//"), "{}", location);
            }
        }
    }
}
