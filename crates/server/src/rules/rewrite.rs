//! Other paths for some requests, before a handler sees them.

use bindery_model::{
    decide::{condition::Asked, rewrite::Replacement},
    rules::RewriteRule,
};
use http::{Uri, uri::PathAndQuery};

/// The target that a client asked for, where a rule has put another in its place. Among the
/// extensions of a request, for logs and programs behind us.
#[derive(Clone, Debug)]
pub struct OriginalUri(pub Uri);

/// A rule made ready.
pub(crate) struct Rewrite {
    replacement: Replacement,
    /// Whether it leads anywhere.
    leads: bool,
}

/// What becomes of a request.
#[derive(Debug, PartialEq)]
pub(crate) enum Rewritten {
    /// It is for another target.
    To(Uri),
    /// It stays as it is, and no later rule is for it.
    Here,
}

impl Rewrite {
    /// `None` for a rule that is none, which no configuration has.
    pub(crate) fn new(rule: &RewriteRule) -> Option<Self> {
        let replacement = Replacement::new(&rule.path, &rule.when, rule.to.as_deref()).ok()?;
        Some(Self { replacement, leads: rule.to.is_some() })
    }

    /// Which requests it is for.
    pub(crate) fn replacement(&self) -> &Replacement {
        &self.replacement
    }

    /// What to ask for instead of `uri`, of which `asked` has the parts. `None` where the rule is
    /// not for it, or leads to what is no path.
    pub(crate) fn target(&self, asked: &Asked<'_>, uri: &Uri) -> Option<Rewritten> {
        let target = self.replacement.target(asked, true)?.text;
        if !self.leads {
            return Some(Rewritten::Here);
        }
        if !target.starts_with('/') {
            return None;
        }
        // Nobody is told about a fragment.
        let target = target.split('#').next().unwrap_or_default();
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
        Some(Rewritten::To(Uri::from_parts(parts).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use bindery_model::{decide::route::decoded_path, rules::PathPattern};
    use proptest::prelude::*;

    use super::*;

    fn ask(pattern: &str, to: &str, asked: &str) -> Option<String> {
        let path = PathPattern::Regex(pattern.to_owned());
        let rule = RewriteRule { path, when: Vec::new(), to: Some(to.to_owned()) };
        let uri: Uri = asked.parse().unwrap();
        let path = decoded_path(uri.path()).unwrap();
        let asked = Asked { query: uri.query(), ..Asked::of(&path) };
        match Rewrite::new(&rule).unwrap().target(&asked, &uri)? {
            Rewritten::To(uri) => Some(uri.to_string()),
            Rewritten::Here => None,
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
