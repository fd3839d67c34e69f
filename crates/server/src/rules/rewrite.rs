//! Other paths for some requests, before a handler sees them.

use bindery_model::{
    decide::{
        condition::Asked,
        rewrite::{Replacement, Target},
    },
    rules::{RedirectRule, RedirectTo, RewriteRule, RewriteTo},
};
use http::{Response, Uri, uri::PathAndQuery};

use super::redirect::Redirect;
use crate::http::{body::Body, error::RequestError};

/// The target that a client asked for, where a rule has put another in its place. Among the
/// extensions of a request, for logs and programs behind us.
#[derive(Clone, Debug)]
pub struct OriginalUri(pub Uri);

/// A rule made ready.
pub(crate) enum Rewrite {
    /// To another path.
    Path {
        replacement: Replacement,
        keep_query: bool,
        /// With which rule behind this one it goes on; 0 for none.
        next: usize,
    },
    /// Answered.
    Answer(Redirect),
    /// No later rule is for it.
    Here(Replacement),
}

/// What becomes of a request.
#[derive(Debug)]
pub(crate) enum Rewritten {
    /// It is for another target, and goes on with this rule behind; 0 for none.
    To(Uri, usize),
    /// It is answered.
    Answer(Result<Response<Body>, RequestError>),
    /// It stays as it is, and no later rule is for it.
    Here,
}

impl Rewrite {
    /// `None` for a rule that is none, which no configuration has.
    pub(crate) fn new(rule: &RewriteRule) -> Option<Self> {
        let RewriteRule { path, when, to } = rule;
        let replacement = || Replacement::new(path, when, to.target()).ok();
        Some(match to {
            RewriteTo::Path { keep_query, next, .. } => Self::Path {
                replacement: replacement()?,
                keep_query: *keep_query,
                next: usize::from(*next),
            },
            RewriteTo::Answer { to, status, keep_query } => {
                let (path, when) = (path.clone(), when.clone());
                let to = to.clone().map_or(RedirectTo::Refused, RedirectTo::Target);
                let (status, keep_query) = (*status, *keep_query);
                Self::Answer(Redirect::new(&RedirectRule { path, when, to, status, keep_query })?)
            }
            RewriteTo::Here => Self::Here(replacement()?),
        })
    }

    /// Which requests it is for.
    pub(crate) fn replacement(&self) -> &Replacement {
        match self {
            Self::Path { replacement, .. } | Self::Here(replacement) => replacement,
            Self::Answer(redirect) => redirect.replacement(),
        }
    }

    /// Whether it gives requests another path.
    pub(crate) fn leads_elsewhere(&self) -> bool {
        matches!(self, Self::Path { .. })
    }

    /// What becomes of a request for `uri`, of which `asked` has the parts. `None` where the rule is
    /// not for it, or leads to what is no path.
    pub(crate) fn target(&self, asked: &Asked<'_>, uri: &Uri) -> Option<Rewritten> {
        match self {
            Self::Path { replacement, keep_query, next } => {
                let target = replacement.target(asked, *keep_query)?;
                Some(Rewritten::To(uri_of(&target, uri)?, *next))
            }
            Self::Answer(redirect) => {
                let target = redirect.target(asked)?;
                Some(
                    redirect.answer(&target, uri.path()).map_or(Rewritten::Here, Rewritten::Answer),
                )
            }
            Self::Here(replacement) => replacement.target(asked, true).map(|_| Rewritten::Here),
        }
    }
}

/// `uri` with the path and query of a target.
fn uri_of(target: &Target, uri: &Uri) -> Option<Uri> {
    // Nobody is told about a fragment.
    let target = target.text.split('#').next().filter(|target| target.starts_with('/'))?;
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use bindery_model::{decide::route::decoded_path, rules::PathPattern};
    use proptest::prelude::*;

    use super::*;

    fn ask(pattern: &str, to: &str, asked: &str) -> Option<String> {
        let path = PathPattern::Regex(pattern.to_owned());
        let rule = RewriteRule { path, when: Vec::new(), to: RewriteTo::path(to) };
        let uri: Uri = asked.parse().unwrap();
        let path = decoded_path(uri.path()).unwrap();
        let asked = Asked { query: uri.query(), ..Asked::of(&path) };
        match Rewrite::new(&rule).unwrap().target(&asked, &uri)? {
            Rewritten::To(uri, 0) => Some(uri.to_string()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_path_becomes_another_and_the_query_is_kept() {
        for (pattern, to, asked, expected) in [
            ("^/p/(.*)$", "/page.php?p=$1", "/p/a%20b?c=d", Some("/page.php?p=a%20b&c=d")),
            ("^/p/(.*)$", "/page.php?p=$1", "/p/a&b=c", Some("/page.php?p=a%26b%3Dc")),
            ("^/(.*)$", "/index.php", "/a/b?c", Some("/index.php?c")),
            ("^/p$", "/new#there", "/p?q", Some("/new?q")),
            ("^/p$", "/new", "/q", None),
            ("^/p$", "https://a.example/", "/p", None),
            ("^/p$", "/new", "http://a.example/p?q", Some("http://a.example/new?q")),
            ("^/p(.*)$", "/new$1", "/p/%c3%a9%0a", None),
            ("(?s)^/p(.*)$", "/new$1", "/p/%c3%a9%0a", Some("/new/%C3%A9%0A")),
        ] {
            assert_eq!(ask(pattern, to, asked).as_deref(), expected, "{pattern} {to} {asked}");
        }
    }

    proptest! {
        #[test]
        fn what_a_client_writes_stays_where_it_is_put(text in "[ -~]{0,20}") {
            let encoded: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
            // Dot segments are refused before, with parameters behind them too.
            let dots = |part: &str| matches!(part.split(';').next(), Some("." | ".."));
            if !text.split(['/', '\\']).any(dots) {
                let target = ask("^/p/(.*)$", "/page?p=$1", &format!("/p/{encoded}")).unwrap();
                let (path, query) = target.split_once('?').unwrap();
                prop_assert_eq!(path, "/page");
                prop_assert!(!query.contains(['&', '#', '+', ' ']));
            }
        }
    }
}
