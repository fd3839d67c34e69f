//! Which paths a pattern fits, and where a redirect or a rewrite then leads. Served requests and
//! `explain` come through here, so what is explained cannot differ from what is served.
//!
//! What a client wrote is put into a target only percent-encoded (RFC 3986, 2.1), and never into
//! its host: a redirect cannot be bent to another server, and holds no line break. Only the host that
//! was asked for, which is a valid name, may become one.

use std::{fmt, ops::Range};

use super::condition::{Asked, Conditions};
use crate::rules::{self, Condition, PathPattern};

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

/// A rule made ready: which requests it is for, and where it leads.
#[derive(Clone, Debug)]
pub struct Replacement {
    matcher: PathMatcher,
    conditions: Conditions,
    parts: Vec<Piece>,
}

/// A piece of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// As it is.
    Text(Box<str>),
    /// What this group of the path's regular expression holds.
    Group(usize),
    /// What a group of a condition's holds: the place of the condition, and of the group.
    Held(usize, usize),
    /// Something of the request.
    Variable(Variable),
}

/// What a target can have of a request, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variable {
    Host,
    Authority,
    Scheme,
    Path,
    Query,
}

const VARIABLES: [(&str, Variable); 5] = [
    ("host", Variable::Host),
    ("authority", Variable::Authority),
    ("scheme", Variable::Scheme),
    ("path", Variable::Path),
    ("query", Variable::Query),
];

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

/// Where a rule leads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// The whole: a path or a URL; empty for a rule that leads nowhere.
    pub text: String,
    /// How many bytes of it say the scheme and the host, as the rule has them. What follows must
    /// begin a path, a query or a fragment: otherwise a path would have become a part of the host.
    pub host_end: usize,
}

impl Replacement {
    /// Makes a rule ready. In its target `$1`, `${1}` and `${name}` stand for what the groups of
    /// the path's regular expression hold, `${name}` also for those of conditions and for
    /// `${host}`, `${authority}`, `${scheme}`, `${path}` and `${query}`; behind a regular
    /// expression `$$` is `$`.
    ///
    /// # Errors
    ///
    /// When the pattern or a condition is not usable, or does not go with the target.
    pub fn new(
        pattern: &PathPattern,
        when: &[Condition],
        to: Option<&str>,
    ) -> Result<Self, ReplacementError> {
        let matcher = PathMatcher::new(pattern).map_err(ReplacementError::Regex)?;
        let conditions = Conditions::new(when).map_err(ReplacementError::Regex)?;
        let known = |name: &str| {
            let own = match &matcher.0 {
                Kind::Regex(regex) => group(regex, name).map(Piece::Group),
                _ => None,
            };
            own.or_else(|| conditions.group(name).map(|(place, group)| Piece::Held(place, group)))
                .or_else(|| {
                    let variable = VARIABLES.iter().find(|(own, _)| *own == name);
                    variable.map(|(_, variable)| Piece::Variable(*variable))
                })
        };
        let to = to.unwrap_or_default();
        let parts = pieces(to, matches!(matcher.0, Kind::Regex(_)), known)?;
        if let (Kind::Prefix(_), Some(at)) = (&matcher.0, to.find(['?', '#'])) {
            return Err(ReplacementError::BehindPath { span: at..to.len() });
        }
        Ok(Self { matcher, conditions, parts })
    }

    /// Whether it depends on what is at the path, which the caller looks for: see
    /// [`Self::admits`].
    #[must_use]
    pub fn looks_for_files(&self) -> bool {
        self.conditions.look_for_files()
    }

    /// Whether the rule is for a path at which this is.
    #[must_use]
    pub fn admits(&self, is_file: bool, is_folder: bool) -> bool {
        self.conditions.admit(is_file, is_folder)
    }

    /// Whether it depends on what only a client sends: its method, its fields, its address.
    #[must_use]
    pub fn looks_at_client(&self) -> bool {
        self.conditions.look_at_client()
    }

    /// Where a request leads; `None` where the rule is not for it, files aside. The query is kept
    /// behind that of the target where `keep_query` says so.
    #[must_use]
    pub fn target(&self, asked: &Asked<'_>, keep_query: bool) -> Option<Target> {
        let query = asked.query.filter(|_| keep_query);
        let mut target = Draft::default();
        match &self.matcher.0 {
            Kind::Regex(regex) => {
                let path = std::str::from_utf8(asked.path).ok()?;
                // A rule without groups in its target need not find them.
                if self.parts.iter().all(|part| !matches!(part, Piece::Group(_))) {
                    regex.is_match(path).then_some(())?;
                    self.put(&mut target, asked, |_| "")?;
                } else {
                    let captures = regex.captures(path)?;
                    let held = |number| captures.get(number).map_or("", |held| held.as_str());
                    self.put(&mut target, asked, held)?;
                }
            }
            Kind::Prefix(prefix) => {
                let rest = rest_below(prefix, asked.path)?;
                self.put(&mut target, asked, |_| "")?;
                if !self.parts.is_empty() {
                    if target.text.ends_with('/') && !rest.is_empty() {
                        target.text.pop();
                    }
                    target.push_encoded(rest);
                }
            }
            Kind::Exact(_) | Kind::Suffix(_) => {
                self.matcher.fits(asked.path).then_some(())?;
                self.put(&mut target, asked, |_| "")?;
            }
        }
        Some(match self.parts.is_empty() {
            true => Target::default(),
            false => target.finish(query),
        })
    }

    /// Puts the pieces of the target together, if the conditions hold.
    fn put<'h>(
        &self,
        target: &mut Draft,
        asked: &Asked<'_>,
        held: impl Fn(usize) -> &'h str,
    ) -> Option<()> {
        let conditions = self.conditions.hold(asked)?;
        for part in &self.parts {
            match part {
                Piece::Text(text) => target.push(text),
                Piece::Group(number) => target.push_encoded(held(*number).as_bytes()),
                Piece::Held(place, group) => {
                    let (text, is_host) = conditions.text(*place, *group);
                    match is_host {
                        true => target.push(text),
                        false => target.push_encoded(text.as_bytes()),
                    }
                }
                Piece::Variable(Variable::Host) => target.push(&asked.host()),
                Piece::Variable(Variable::Authority) => target.push(asked.authority),
                Piece::Variable(Variable::Scheme) => {
                    target.push(if asked.https { "https" } else { "http" });
                }
                Piece::Variable(Variable::Path) => target.push_encoded(asked.path),
                // It was sent as it may stand in one.
                Piece::Variable(Variable::Query) => {
                    target.close_host();
                    target.push(asked.query.unwrap_or_default());
                }
            }
        }
        Some(())
    }
}

/// A target in the making.
#[derive(Default)]
struct Draft {
    text: String,
    host_end: Option<usize>,
}

impl Draft {
    fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// What comes from now on is no part of the host.
    fn close_host(&mut self) {
        let end = || match self.text.split_once("://") {
            Some((scheme, rest)) if !self.text.starts_with('/') => {
                let host_at = scheme.len() + "://".len();
                host_at + rest.find(['/', '?', '#']).unwrap_or(rest.len())
            }
            _ => 0,
        };
        self.host_end = Some(self.host_end.unwrap_or_else(end));
    }

    /// Puts in what a client wrote: in a query nothing that ends a parameter.
    fn push_encoded(&mut self, bytes: &[u8]) {
        self.close_host();
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
    fn finish(mut self, query: Option<&str>) -> Target {
        self.close_host();
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
        Target { text: self.text, host_end: self.host_end.unwrap_or_default() }
    }
}

/// The number of a group by its name or number, where the expression has it.
pub(super) fn group(regex: &regex::Regex, name: &str) -> Option<usize> {
    match name.parse::<usize>() {
        Ok(number) => (number < regex.captures_len()).then_some(number),
        Err(_) => regex.capture_names().position(|own| own == Some(name)),
    }
}

/// How many bytes of `rest`, what follows a `$`, belong to a capture.
fn first_capture(rest: &str) -> Option<usize> {
    if rest.starts_with('{') {
        return rest.find('}').map(|end| end + 1);
    }
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    (digits > 0).then_some(digits)
}

/// Takes a target apart. Only behind a regular expression a `$` must begin something.
fn pieces(
    to: &str,
    is_regex: bool,
    known: impl Fn(&str) -> Option<Piece>,
) -> Result<Vec<Piece>, ReplacementError> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut rest = to;
    while let Some((before, behind)) = rest.split_once('$') {
        let at = to.len() - behind.len() - 1;
        text.push_str(before);
        if let Some(behind) = behind.strip_prefix('$').filter(|_| is_regex) {
            text.push('$');
            rest = behind;
            continue;
        }
        let Some(len) = first_capture(behind) else {
            if is_regex {
                return Err(ReplacementError::Dollar { span: at..at + 1 });
            }
            if behind.starts_with('{') {
                let capture = "$".to_owned();
                return Err(ReplacementError::NoCapture { capture, span: at..at + 1 });
            }
            text.push('$');
            rest = behind;
            continue;
        };
        let (capture, after) = behind.split_at(len);
        let Some(piece) = known(capture.trim_start_matches('{').trim_end_matches('}')) else {
            let capture = format!("${capture}");
            return Err(ReplacementError::NoCapture { capture, span: at..at + 1 + len });
        };
        if !text.is_empty() {
            parts.push(Piece::Text(std::mem::take(&mut text).into()));
        }
        parts.push(piece);
        rest = after;
    }
    text.push_str(rest);
    if !text.is_empty() {
        parts.push(Piece::Text(text.into()));
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
        let made = Replacement::new(pattern, &[], Some(to)).unwrap();
        let target = made.target(&Asked { query, ..Asked::of(path.as_bytes()) }, true);
        let target = target.map(|target| target.text);
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
            let made = Replacement::new(pattern, &[], Some("/n")).unwrap();
            made.target(&Asked::of(b"/a/\xff"), true).map(|target| target.text)
        };
        assert_eq!(target(&prefix("/a")).as_deref(), Some("/n/%FF"));
        assert_eq!(target(&regex(".")), None);
    }

    #[test]
    fn a_target_that_does_not_go_with_its_pattern_is_refused() {
        let refused =
            |pattern: &PathPattern, to: &str| match Replacement::new(pattern, &[], Some(to))
                .unwrap_err()
            {
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
                    let to = format!("{to}{captured}");
                    let made = Replacement::new(&pattern, &[], Some(&to)).unwrap();
                    if let Some(Target { text: target, .. }) = made.target(&Asked::of(&asked), true) {
                        prop_assert!(target.starts_with(begins), "{}", target);
                        prop_assert!(target.bytes().all(|byte| byte.is_ascii_graphic()));
                    }
                }
            }
        }
    }
}
