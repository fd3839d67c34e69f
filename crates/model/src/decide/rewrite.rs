//! Which paths a pattern fits, and where a redirect or a rewrite then leads. Served requests and
//! `explain` come through here, so what is explained cannot differ from what is served.
//! How targets are put together is in [`super::template`].

use std::ops::Range;

pub use super::template::{Function, Target};
use super::{
    condition::{Asked, Conditions, NoConditions},
    template::{Draft, NoTemplate, Source, Template},
};
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
    to: Template,
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
    /// What a condition looks at is a text in which something is wrong.
    #[error("{text:?}, which a condition looks at, is none")]
    Condition {
        /// The text.
        text: String,
        /// What is wrong with it.
        source: Box<Self>,
    },
    /// What follows a prefix is appended to the path, and the target goes on behind its path.
    #[error("a target with a query or fragment, and a prefix")]
    BehindPath {
        /// Where in the target, in bytes.
        span: Range<usize>,
    },
}

impl From<NoTemplate> for ReplacementError {
    fn from(why: NoTemplate) -> Self {
        match why {
            NoTemplate::Nothing { capture, span } => Self::NoCapture { capture, span },
            NoTemplate::Dollar { span } => Self::Dollar { span },
        }
    }
}

impl From<NoConditions> for ReplacementError {
    fn from(why: NoConditions) -> Self {
        match why {
            NoConditions::Regex(error) => Self::Regex(error),
            NoConditions::Template(text, why) => {
                Self::Condition { text, source: Box::new(why.into()) }
            }
        }
    }
}

impl Replacement {
    /// Makes a rule ready. In its target `$1`, `${1}` and `${name}` stand for what the groups of
    /// the path's regular expression hold, `${name}` also for those of conditions and for
    /// `${host}`, `${authority}`, `${scheme}`, `${port}`, `${path}`, `${query}`, `${uri}`,
    /// `${method}`, `${client}` and `${field:NAME}`; `lower:`, `encode:` and `decode:` before a name
    /// are done with what it stands for. Behind a regular expression `$$` is `$`. In what conditions
    /// look at it is the same, without groups of conditions.
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
        let own = |name: &str| match &matcher.0 {
            Kind::Regex(regex) => group(regex, name),
            Kind::Exact(_) | Kind::Prefix(_) | Kind::Suffix(_) => None,
        };
        let conditions = Conditions::new(when, own)?;
        let held = |name: &str| {
            let held = || conditions.group(name).map(|(place, group)| Source::Held(place, group));
            own(name).map(Source::Group).or_else(held)
        };
        let text = to.unwrap_or_default();
        let to = Template::read(text, matches!(matcher.0, Kind::Regex(_)), held)?;
        if let (Kind::Prefix(_), Some(at)) = (&matcher.0, text.find(['?', '#'])) {
            return Err(ReplacementError::BehindPath { span: at..text.len() });
        }
        Ok(Self { matcher, conditions, to })
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
        self.conditions.look_at_client() || self.to.looks_at_client()
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
                // A rule that uses no groups need not find them.
                if !self.to.has_groups() && !self.conditions.look_at_groups() {
                    regex.is_match(path).then_some(())?;
                    self.put(&mut target, asked, &|_| "")?;
                } else {
                    let captures = regex.captures(path)?;
                    let held = |number| captures.get(number).map_or("", |held| held.as_str());
                    self.put(&mut target, asked, &held)?;
                }
            }
            Kind::Prefix(prefix) => {
                let rest = rest_below(prefix, asked.path)?;
                self.put(&mut target, asked, &|_| "")?;
                if !self.to.is_empty() {
                    if target.text.ends_with('/') && !rest.is_empty() {
                        target.text.pop();
                    }
                    target.push_encoded(rest);
                }
            }
            Kind::Exact(_) | Kind::Suffix(_) => {
                self.matcher.fits(asked.path).then_some(())?;
                self.put(&mut target, asked, &|_| "")?;
            }
        }
        Some(match self.to.is_empty() {
            true => Target::default(),
            false => target.finish(query),
        })
    }

    /// Puts the target together, if the conditions hold.
    fn put<'h>(
        &self,
        target: &mut Draft,
        asked: &Asked<'_>,
        group: &dyn Fn(usize) -> &'h str,
    ) -> Option<()> {
        let held = self.conditions.hold(asked, group)?;
        self.to.each(asked, group, Some(&held), &mut |bytes, kind| target.put(bytes, kind));
        Some(())
    }
}

/// The number of a group by its name or number, where the expression has it.
pub(super) fn group(regex: &regex::Regex, name: &str) -> Option<usize> {
    match name.parse::<usize>() {
        Ok(number) => (number < regex.captures_len()).then_some(number),
        Err(_) => regex.capture_names().position(|own| own == Some(name)),
    }
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
                ReplacementError::Condition { text, .. } => text,
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
