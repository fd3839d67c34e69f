//! Other paths for some requests, before a handler sees them.

use bindery_model::{decide::rewrite::Replacement, rules::RewriteRule};
use http::{Uri, uri::PathAndQuery};

/// The target that a client asked for, where a rule has put another in its place. Among the
/// extensions of a request, for logs and programs behind us.
#[derive(Clone, Debug)]
pub struct OriginalUri(pub Uri);

/// A rule made ready.
pub(crate) struct Rewrite {
    replacement: Replacement,
    /// Whether it is for paths only at which nothing is.
    pub(crate) unless_file: bool,
}

impl Rewrite {
    /// `None` for a rule that is none, which no configuration has.
    pub(crate) fn new(rule: &RewriteRule) -> Option<Self> {
        let replacement = Replacement::new(&rule.path, &rule.to).ok()?;
        Some(Self { replacement, unless_file: rule.unless_file })
    }

    /// What to ask for instead of `uri`, whose path is `path` decoded. `None` where the rule is not
    /// for it, or leads to what is no path.
    pub(crate) fn target(&self, path: &[u8], uri: &Uri) -> Option<Uri> {
        let target = self.replacement.target(path, uri.query())?;
        if !target.starts_with('/') {
            return None;
        }
        // Nobody is told about a fragment.
        let target = target.split('#').next().unwrap_or_default();
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
        Uri::from_parts(parts).ok()
    }
}

#[cfg(test)]
mod tests {
    use bindery_model::{decide::route::decoded_path, rules::PathPattern};
    use proptest::prelude::*;

    use super::*;

    fn ask(pattern: &str, to: &str, asked: &str) -> Option<String> {
        let path = PathPattern::Regex(pattern.to_owned());
        let rule = RewriteRule { path, to: to.to_owned(), unless_file: false };
        let uri: Uri = asked.parse().unwrap();
        let path = decoded_path(uri.path()).unwrap();
        Rewrite::new(&rule).unwrap().target(&path, &uri).map(|uri| uri.to_string())
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
            if !text.split(['/', '\\']).any(|segment| matches!(segment, "." | "..")) {
                let target = ask("^/p/(.*)$", "/page?p=$1", &format!("/p/{encoded}")).unwrap();
                let (path, query) = target.split_once('?').unwrap();
                prop_assert_eq!(path, "/page");
                prop_assert!(!query.contains(['&', '#', '+', ' ']));
            }
        }
    }
}
