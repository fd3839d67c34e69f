//! Which paths a pattern fits, and where a redirect or a rewrite then leads. Served requests and
//! `explain` come through here, so what is explained cannot differ from what is served.
//!
//! What a client wrote is put into a target only percent-encoded (RFC 3986, 2.1), and never into
//! its host: a redirect cannot be bent to another server, and holds no line break.

use std::{fmt, ops::Range};

use crate::rules::{self, PathPattern};

/// A [`PathPattern`] that was made ready to be compared with many paths.
#[derive(Clone, Debug)]
pub struct PathMatcher(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Exact(Box<str>),
    Prefix(Box<str>),
    Suffix(Box<str>),
    Regex(regex::Regex),
}

impl PathMatcher {
    /// Makes a pattern ready.
    ///
    /// # Errors
    ///
    /// When its regular expression is none, or a larger one than is taken.
    pub fn new(pattern: &PathPattern) -> Result<Self, regex::Error> {
        Ok(Self(match pattern {
            PathPattern::Exact(path) => Kind::Exact(path.as_str().into()),
            PathPattern::Prefix(path) => Kind::Prefix(path.as_str().into()),
            PathPattern::Suffix(end) => Kind::Suffix(end.as_str().into()),
            PathPattern::Regex(text) => Kind::Regex(rules::regex(text)?),
        }))
    }

    /// Whether it fits a path, one that [`decoded_path`](super::route::decoded_path) gave. A
    /// regular expression fits no path that is not UTF-8.
    #[must_use]
    pub fn fits(&self, path: &[u8]) -> bool {
        match &self.0 {
            Kind::Exact(own) => own.as_bytes() == path,
            Kind::Prefix(prefix) => rest_below(prefix, path).is_some(),
            Kind::Suffix(end) => path.ends_with(end.as_bytes()),
            Kind::Regex(regex) => std::str::from_utf8(path).is_ok_and(|path| regex.is_match(path)),
        }
    }
}

/// What follows a prefix, on a segment border: nothing, or from a slash on.
fn rest_below<'p>(prefix: &str, path: &'p [u8]) -> Option<&'p [u8]> {
    let rest = path.strip_prefix(prefix.trim_end_matches('/').as_bytes())?;
    matches!(rest, [] | [b'/', ..]).then_some(rest)
}

/// A pattern and where a path that it fits leads.
#[derive(Clone, Debug)]
pub struct Replacement {
    matcher: PathMatcher,
    parts: Vec<Part>,
}

/// A piece of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// As it is.
    Text(Box<str>),
    /// What this group of the regular expression holds.
    Group(usize),
}

/// Why a pattern and a target make no replacement.
#[derive(Debug, thiserror::Error)]
pub enum ReplacementError {
    /// The regular expression is none, or too large.
    #[error("the regular expression is not usable")]
    Regex(#[source] regex::Error),
    /// The target has a capture that is not there.
    #[error("{capture} stands for nothing")]
    NoCapture {
        /// As it is written.
        capture: String,
        /// Where in the target, in bytes.
        span: Range<usize>,
    },
    /// The target has a `$` that begins no capture.
    #[error("a $ that begins no capture")]
    Dollar {
        /// Where in the target, in bytes.
        span: Range<usize>,
    },
    /// What follows a prefix is appended to the path, and the target goes on behind its path.
    #[error("a target with a query or fragment, and a prefix")]
    BehindPath {
        /// Where in the target, in bytes.
        span: Range<usize>,
    },
}

impl Replacement {
    /// Makes a pattern and a target ready. In the target of a regular expression `$1`, `${1}` and
    /// `${name}` stand for what its groups hold, and `$$` for `$`.
    ///
    /// # Errors
    ///
    /// When the pattern is not usable, or does not go with the target.
    pub fn new(pattern: &PathPattern, to: &str) -> Result<Self, ReplacementError> {
        let matcher = PathMatcher::new(pattern).map_err(ReplacementError::Regex)?;
        let parts = match &matcher.0 {
            Kind::Regex(regex) => parts(to, |name| group(regex, name))?,
            Kind::Prefix(_) => {
                without_captures(to)?;
                if let Some(at) = to.find(['?', '#']) {
                    return Err(ReplacementError::BehindPath { span: at..to.len() });
                }
                vec![Part::Text(to.into())]
            }
            Kind::Exact(_) | Kind::Suffix(_) => {
                without_captures(to)?;
                vec![Part::Text(to.into())]
            }
        };
        Ok(Self { matcher, parts })
    }

    /// Where `path` leads, one that [`decoded_path`](super::route::decoded_path) gave; `None` where
    /// the pattern does not fit it. What `query` has is kept, behind the query of the target.
    #[must_use]
    pub fn target(&self, path: &[u8], query: Option<&str>) -> Option<String> {
        let mut target = Target::default();
        match &self.matcher.0 {
            Kind::Regex(regex) => {
                let captures = regex.captures(std::str::from_utf8(path).ok()?)?;
                for part in &self.parts {
                    match part {
                        Part::Text(text) => target.push(text),
                        Part::Group(number) => {
                            let held = captures.get(*number).map_or("", |held| held.as_str());
                            target.push_encoded(held.as_bytes());
                        }
                    }
                }
            }
            Kind::Prefix(prefix) => {
                let rest = rest_below(prefix, path)?;
                self.push_texts(&mut target);
                if target.text.ends_with('/') && !rest.is_empty() {
                    target.text.pop();
                }
                target.push_encoded(rest);
            }
            Kind::Exact(_) | Kind::Suffix(_) => {
                self.matcher.fits(path).then_some(())?;
                self.push_texts(&mut target);
            }
        }
        Some(target.finish(query))
    }

    fn push_texts(&self, target: &mut Target) {
        for part in &self.parts {
            if let Part::Text(text) = part {
                target.push(text);
            }
        }
    }
}

/// A target in the making.
#[derive(Default)]
struct Target {
    text: String,
}

impl Target {
    fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Puts in what a client wrote: in a query nothing that ends a parameter.
    fn push_encoded(&mut self, bytes: &[u8]) {
        let in_query = self.text.contains(['?', '#']);
        for &byte in bytes {
            let plain = byte.is_ascii_alphanumeric()
                || b"-._~/:@,".contains(&byte)
                || !in_query && b"!$&'()*+;=".contains(&byte);
            if plain {
                self.text.push(char::from(byte));
            } else {
                use fmt::Write as _;
                // Writing to a string does not fail.
                write!(self.text, "%{byte:02X}").ok();
            }
        }
    }

    /// The whole, with this query.
    fn finish(mut self, query: Option<&str>) -> String {
        // A capture may begin with a slash: two of them would begin a host (RFC 3986, 4.2).
        let slashes = self.text.bytes().take_while(|byte| *byte == b'/').count();
        if slashes > 1 {
            self.text.drain(1..slashes);
        }
        let path_at = match self.text.split_once("://") {
            Some((scheme, rest)) if !self.text.starts_with('/') => {
                let host_at = scheme.len() + "://".len();
                let host_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
                host_at + host_end
            }
            _ => 0,
        };
        if !self.text.get(path_at..).is_some_and(|path| path.starts_with('/')) {
            self.text.insert(path_at, '/');
        }
        if let Some(query) = query.filter(|query| !query.is_empty()) {
            let end = self.text.find('#').unwrap_or(self.text.len());
            let own = self.text.get(..end).unwrap_or_default();
            let between = match own.find('?') {
                None => "?",
                Some(at) if at + 1 == end => "",
                Some(_) => "&",
            };
            self.text.insert_str(end, &format!("{between}{query}"));
        }
        self.text
    }
}

/// The number of a group by its name or number, where the expression has it.
fn group(regex: &regex::Regex, name: &str) -> Option<usize> {
    match name.parse::<usize>() {
        Ok(number) => (number < regex.captures_len()).then_some(number),
        Err(_) => regex.capture_names().position(|own| own == Some(name)),
    }
}

/// A target of a pattern without groups has nothing that looks like one.
fn without_captures(to: &str) -> Result<(), ReplacementError> {
    let begins = |rest: &str| rest.starts_with(|next: char| next.is_ascii_digit() || next == '{');
    for (at, _) in to.match_indices('$') {
        let rest = to.get(at + 1..).unwrap_or_default();
        if begins(rest) {
            let capture =
                first_capture(rest).map_or("$", |len| to.get(at..=at + len).unwrap_or("$"));
            let span = at..at + capture.len();
            return Err(ReplacementError::NoCapture { capture: capture.to_owned(), span });
        }
    }
    Ok(())
}

/// How many bytes of `rest`, what follows a `$`, belong to a capture.
fn first_capture(rest: &str) -> Option<usize> {
    if rest.starts_with('{') {
        return rest.find('}').map(|end| end + 1);
    }
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    (digits > 0).then_some(digits)
}

/// Takes a target apart.
fn parts(to: &str, group: impl Fn(&str) -> Option<usize>) -> Result<Vec<Part>, ReplacementError> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut rest = to;
    while let Some((before, behind)) = rest.split_once('$') {
        let at = to.len() - behind.len() - 1;
        text.push_str(before);
        if let Some(behind) = behind.strip_prefix('$') {
            text.push('$');
            rest = behind;
            continue;
        }
        let Some(len) = first_capture(behind) else {
            return Err(ReplacementError::Dollar { span: at..at + 1 });
        };
        let (capture, after) = behind.split_at(len);
        let Some(number) = group(capture.trim_start_matches('{').trim_end_matches('}')) else {
            let capture = format!("${capture}");
            return Err(ReplacementError::NoCapture { capture, span: at..at + 1 + len });
        };
        if !text.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut text).into()));
        }
        parts.push(Part::Group(number));
        rest = after;
    }
    text.push_str(rest);
    if !text.is_empty() {
        parts.push(Part::Text(text.into()));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn regex(text: &str) -> PathPattern {
        PathPattern::Regex(text.to_owned())
    }

    fn prefix(text: &str) -> PathPattern {
        PathPattern::Prefix(text.to_owned())
    }

    #[track_caller]
    fn check(pattern: &PathPattern, to: &str, asked: &str, expected: Option<&str>) {
        let (path, query) = match asked.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (asked, None),
        };
        let target = Replacement::new(pattern, to).unwrap().target(path.as_bytes(), query);
        assert_eq!(target.as_deref(), expected, "{pattern:?} {to} {asked}");
    }

    #[test]
    fn an_exact_path_is_that_path() {
        let old = PathPattern::Exact("/old".to_owned());
        check(&old, "/new", "/old", Some("/new"));
        check(&old, "/new", "/old?a=b", Some("/new?a=b"));
        check(&old, "/new?x=1", "/old?a=b", Some("/new?x=1&a=b"));
        check(&old, "/new?#top", "/old?a=b", Some("/new?a=b#top"));
        check(&old, "https://a.example", "/old?a", Some("https://a.example/?a"));
        check(&old, "https://a.example?b#c", "/old", Some("https://a.example/?b#c"));
        check(&old, "/new", "/old/", None);
        check(&old, "/new", "/older", None);
    }

    #[test]
    fn what_follows_a_prefix_is_appended() {
        let blog = prefix("/blog");
        check(&blog, "https://blog.example", "/blog", Some("https://blog.example/"));
        check(&blog, "https://blog.example", "/blog/a b?c", Some("https://blog.example/a%20b?c"));
        check(&blog, "/new", "/blog/a", Some("/new/a"));
        check(&blog, "/new/", "/blog/a", Some("/new/a"));
        check(&blog, "/", "/blog/a", Some("/a"));
        check(&blog, "/", "/blog", Some("/"));
        check(&blog, "/new", "/blogs", None);
        check(&prefix("/blog/"), "/new", "/blog/a", Some("/new/a"));
        check(&prefix("/"), "https://a.example/b", "/c", Some("https://a.example/b/c"));
    }

    #[test]
    fn a_suffix_ends_a_path() {
        let css = PathPattern::Suffix(".css".to_owned());
        check(&css, "/all.css", "/a/b.css", Some("/all.css"));
        check(&css, "/all.css", "/a/b.css/", None);
    }

    #[test]
    fn captures_stand_in_the_target() {
        check(&regex(r"^/u/(\d+)$"), "/users/$1", "/u/17", Some("/users/17"));
        check(&regex(r"^/u/(\d+)$"), "/users/${1}0", "/u/17", Some("/users/170"));
        check(&regex(r"^/u/(\d+)$"), "/users/$1", "/u/x", None);
        check(&regex("^/(?P<who>[a-z]+)/"), "/${who}s?$$=$1", "/cat/x?y", Some("/cats?$=cat&y"));
        check(&regex("b"), "/c", "/abc", Some("/c"));
        check(&regex("^/(a)?(b)?"), "/$1-$2", "/b", Some("/-b"));
        check(&regex("^/p/(.*)$"), "/page?p=$1", "/p/a&b=c+d", Some("/page?p=a%26b%3Dc%2Bd"));
        check(&regex("^/p/(.*)$"), "/page/$1", "/p/a&b%c?q", Some("/page/a&b%25c?q"));
    }

    #[test]
    fn a_capture_leads_to_no_other_host() {
        check(&regex("^/old(.*)$"), "/$1", "/old/evil.example", Some("/evil.example"));
        check(&regex("^/old(.*)$"), "/$1", "/old\\evil.example", Some("/%5Cevil.example"));
        check(&prefix("/old"), "/", "/old/evil.example", Some("/evil.example"));
    }

    #[test]
    fn a_path_that_is_not_utf_8_fits_what_looks_at_bytes() {
        let target = |pattern: &PathPattern| {
            Replacement::new(pattern, "/n").unwrap().target(b"/a/\xff", None)
        };
        assert_eq!(target(&prefix("/a")).as_deref(), Some("/n/%FF"));
        assert_eq!(target(&regex(".")), None);
    }

    #[test]
    fn a_target_that_does_not_go_with_its_pattern_is_refused() {
        let refused =
            |pattern: &PathPattern, to: &str| match Replacement::new(pattern, to).unwrap_err() {
                ReplacementError::Regex(_) => "regex".to_owned(),
                ReplacementError::NoCapture { capture, span } => {
                    assert_eq!(to[span], capture);
                    capture
                }
                ReplacementError::Dollar { span } => format!("dollar {}", span.start),
                ReplacementError::BehindPath { span } => to[span].to_owned(),
            };
        assert_eq!(refused(&regex("("), "/"), "regex");
        assert_eq!(refused(&regex("(a)"), "/$2"), "$2");
        assert_eq!(refused(&regex("(a)"), "/${b}"), "${b}");
        assert_eq!(refused(&regex("(a)"), "/$b"), "dollar 1");
        assert_eq!(refused(&regex("(a)"), "/$$$"), "dollar 3");
        assert_eq!(refused(&prefix("/a"), "/b/$1/c"), "$1");
        assert_eq!(refused(&prefix("/a"), "/b?c"), "?c");
        assert_eq!(refused(&PathPattern::Exact("/a".to_owned()), "/${1}"), "${1}");
    }

    proptest! {
        #[test]
        fn a_target_stays_where_it_is_sent_and_is_one_line(
            path in proptest::collection::vec(any::<u8>(), 0..30),
        ) {
            let mut asked = b"/a/".to_vec();
            asked.extend(path);
            for pattern in [prefix("/a"), regex("(?s)^/a(.*)$")] {
                for (to, begins) in [("/b", "/b"), ("https://h.example", "https://h.example/")] {
                    let captured = if matches!(pattern, PathPattern::Regex(_)) { "/$1" } else { "" };
                    let made = Replacement::new(&pattern, &format!("{to}{captured}")).unwrap();
                    if let Some(target) = made.target(&asked, None) {
                        prop_assert!(target.starts_with(begins), "{}", target);
                        prop_assert!(target.bytes().all(|byte| byte.is_ascii_graphic()));
                    }
                }
            }
        }
    }
}
