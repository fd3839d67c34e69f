//! Which paths a rule is for: [`PathPattern`] of a configuration, ready to be asked.

use bindery_model::{
    decide::route,
    rules::{self, PathPattern},
};
use regex::Regex;

/// A [`PathPattern`] that was compiled.
#[derive(Clone, Debug)]
pub enum PathMatcher {
    /// This path.
    Exact(Box<[u8]>),
    /// This path, without a slash at its end unless it is `/`, and all below it.
    Prefix(Box<str>),
    /// Paths that end so.
    Suffix(Box<[u8]>),
    /// Paths in which this is found. Paths that are not UTF-8 have nothing that it finds.
    Regex(Regex),
    /// No path.
    Never,
}

impl PathMatcher {
    /// A regular expression that does not compile fits nothing; who reads a configuration has
    /// refused it before.
    #[must_use]
    pub fn new(pattern: &PathPattern) -> Self {
        match pattern {
            PathPattern::Exact(path) => Self::Exact(path.as_bytes().into()),
            PathPattern::Prefix(path) => {
                let path = path.trim_end_matches('/');
                Self::Prefix(if path.is_empty() { "/".into() } else { path.into() })
            }
            PathPattern::Suffix(end) => Self::Suffix(end.as_bytes().into()),
            PathPattern::Regex(text) => rules::regex(text).map_or(Self::Never, Self::Regex),
        }
    }

    /// Whether a decoded path fits.
    #[must_use]
    pub fn is_match(&self, path: &[u8]) -> bool {
        match self {
            Self::Exact(own) => **own == *path,
            Self::Prefix(own) => route::covers(own, path),
            Self::Suffix(end) => path.ends_with(end),
            Self::Regex(regex) => str::from_utf8(path).is_ok_and(|path| regex.is_match(path)),
            Self::Never => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &PathPattern, fits: &[&str], others: &[&str]) {
        let matcher = PathMatcher::new(pattern);
        for path in fits {
            assert!(matcher.is_match(path.as_bytes()), "{path} and {pattern:?}");
        }
        for path in others {
            assert!(!matcher.is_match(path.as_bytes()), "{path} and {pattern:?}");
        }
    }

    #[test]
    fn each_kind_of_pattern_fits_what_it_says() {
        let of = str::to_owned;
        check(&PathPattern::Exact(of("/a")), &["/a"], &["/a/", "/", "/ab", "/A"]);
        for prefix in ["/a", "/a/"] {
            check(&PathPattern::Prefix(of(prefix)), &["/a", "/a/", "/a/b"], &["/ab", "/", "/b/a"]);
        }
        check(&PathPattern::Prefix(of("/")), &["/", "/a", "/a/b"], &[]);
        check(&PathPattern::Suffix(of(".css")), &["/a.css", "/a/.css"], &["/a.css/", "/a.CSS"]);
        check(&PathPattern::Regex(of(r"^/u/\d+$")), &["/u/1"], &["/u/", "/u/1/", "/v/u/1"]);
        check(&PathPattern::Regex(of("u")), &["/u", "/b/u/c"], &["/U"]);
        check(&PathPattern::Regex(of("(")), &[], &["/", "("]);
    }

    #[test]
    fn a_path_that_is_not_utf_8_fits_by_its_bytes_only() {
        let path = b"/\xff.css";
        assert!(PathMatcher::new(&PathPattern::Suffix(".css".to_owned())).is_match(path));
        assert!(PathMatcher::new(&PathPattern::Prefix("/".to_owned())).is_match(path));
        assert!(!PathMatcher::new(&PathPattern::Regex("css".to_owned())).is_match(path));
    }
}
