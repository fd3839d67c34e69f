//! `httpRedirect`: every request below a path sent elsewhere.

use std::rc::Rc;

use bindery_model::{
    decide::rewrite::Replacement,
    document::read_target,
    problem::Span,
    rules::{PathPattern, RedirectRule, RedirectTo},
};

use super::{
    sections::{Sections, Shared, Written},
    value::{self, word},
};
use crate::xml::Element;

/// `httpRedirect`, and the rules that come of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Redirect {
    enabled: bool,
    destination: String,
    exact: bool,
    child_only: bool,
    status: Option<u16>,
    wildcards: Vec<(String, String)>,
    /// What it comes to, where it is enabled.
    pub(super) rules: Vec<RedirectRule>,
}

impl Sections {
    pub(super) fn read_redirect(&mut self, written: &Written<'_, '_>, shared: &mut Shared<'_>) {
        let redirect = Rc::make_mut(&mut self.redirect);
        let mut values = written.values(shared);
        if let Some(enabled) = values.boolean("enabled") {
            redirect.enabled = enabled;
        }
        if let Some(exact) = values.boolean("exactDestination") {
            redirect.exact = exact;
        }
        if let Some(child_only) = values.boolean("childOnly") {
            redirect.child_only = child_only;
        }
        let statuses = [
            ("Permanent", 301, 301),
            ("Found", 302, 302),
            ("Temporary", 307, 307),
            ("PermRedirect", 308, 308),
        ];
        let takes = "Permanent, Found, Temporary or PermRedirect";
        let status = values.read("httpResponseStatus", takes, |text| word(text, &statuses));
        redirect.status = status.or(redirect.status);
        if let Some(destination) = values.text("destination") {
            redirect.destination = destination.trim().to_owned();
        }
        for entry in written.children() {
            let wildcard = entry.value("wildcard").unwrap_or_default().trim().to_owned();
            match entry.name() {
                "clear" => redirect.wildcards.clear(),
                "remove" => redirect.wildcards.retain(|(own, _)| *own != wildcard),
                "add" => {
                    let to = entry.value("destination").unwrap_or_default().trim().to_owned();
                    redirect.wildcards.push((wildcard, to));
                }
                _ => written.unknown(entry, shared),
            }
        }
        redirect.rules = Vec::new();
        if redirect.enabled {
            redirect.make(written, shared);
        }
    }
}

impl Redirect {
    /// Makes rules of it, for the level that it is written at.
    fn make(&mut self, written: &Written<'_, '_>, shared: &mut Shared<'_>) {
        let status = self.status.unwrap_or(302);
        let base = written.level.path.trim_end_matches('/');
        for (wildcard, to) in &self.wildcards {
            let entry = written
                .children()
                .find(|entry| entry.value("wildcard").is_some_and(|own| own.trim() == wildcard));
            let at = entry.map_or_else(|| written.element.tag(), Element::tag);
            let rule = wildcard_rule(base, wildcard, to, status);
            self.rules.extend(usable(rule, to, at, written, shared));
        }
        let at = value::place(written.element, "destination");
        if self.destination.is_empty() {
            if self.wildcards.is_empty() {
                let message =
                    "httpRedirect is enabled and has no destination: nothing is redirected";
                written.hint(at, message, shared);
            }
            return;
        }
        let rule = match self.exact {
            true => exact_rule(base, &self.destination, self.child_only, status),
            false => relative_rule(base, &self.destination, self.child_only, status),
        };
        self.rules.extend(usable(rule, &self.destination, at, written, shared));
    }
}

/// The rule, where a redirect can go there.
fn usable(
    rule: Option<RedirectRule>,
    to: &str,
    at: Span,
    written: &Written<'_, '_>,
    shared: &mut Shared<'_>,
) -> Option<RedirectRule> {
    let why = match &rule {
        None => "a variable in it is not known here, or stands where it cannot".to_owned(),
        Some(RedirectRule { path, to: RedirectTo::Target(to), .. }) => match read_target(to) {
            Err(why) => why,
            Ok(to) if Replacement::new(path, &[], Some(&to)).is_ok() => {
                let to = RedirectTo::Target(to);
                return rule.map(|own| RedirectRule { to, ..own });
            }
            Ok(_) => "it does not go with its pattern".to_owned(),
        },
        Some(_) => return rule,
    };
    written.hint(at, format!("no redirect goes to {to:?}: {why}"), shared);
    None
}

/// `httpRedirect` as it is written.
#[derive(Debug, PartialEq)]
pub(in crate::config) struct WrittenRedirect {
    pub(in crate::config) destination: String,
    pub(in crate::config) exact: bool,
    pub(in crate::config) child_only: bool,
}

/// What is written at a level for this rule, where there is such a thing: what would be read as the
/// same rule again.
pub(in crate::config) fn written(base: &str, rule: &RedirectRule) -> Option<WrittenRedirect> {
    let RedirectTo::Target(to) = &rule.to else { return None };
    let base = base.trim_end_matches('/');
    let mut tried = Vec::new();
    for child_only in [false, true] {
        if let Some(before) = to.strip_suffix("/$2") {
            let before = if before.is_empty() { "/" } else { before };
            tried.push((before.replace("$$", "$"), false, child_only));
        }
        let mut exact = to.clone();
        for (group, variable) in [("/${1}", "$V"), ("/${2}", "$S"), ("${1}", "$V"), ("${2}", "$S")]
        {
            exact = exact.replace(group, variable);
        }
        if rule.keep_query {
            exact.push_str("$Q");
        }
        tried.push((exact, true, child_only));
    }
    let same = |(destination, exact, child_only): &(String, bool, bool)| {
        let make = if *exact { exact_rule } else { relative_rule };
        make(base, destination, *child_only, rule.status).as_ref() == Some(rule)
    };
    let (destination, exact, child_only) = tried.into_iter().find(same)?;
    Some(WrittenRedirect { destination, exact, child_only })
}

/// The path of a level as the beginning of a regular expression, and what follows it: the first
/// group is the whole path without its first slash, the second what is below the level.
fn pattern(base: &str, child_only: bool) -> PathPattern {
    let below = if child_only { "[^/]*" } else { ".*" };
    PathPattern::Regex(match base.trim_start_matches('/') {
        "" => format!("^/(({below}))$"),
        base => format!("(?i)^/({}(?:/({below}))?)$", escape(base)),
    })
}

/// The rest of the path is appended, and the query is kept.
fn relative_rule(base: &str, to: &str, child_only: bool, status: u16) -> Option<RedirectRule> {
    if to.contains("$V") || to.contains("$S") || to.contains("$Q") {
        return exact_rule(base, to, child_only, status);
    }
    let to = format!("{}/$2", to.trim_end_matches('/').replace('$', "$$"));
    Some(redirect(pattern(base, child_only), to, status, true))
}

/// Nothing is appended but what variables stand for.
fn exact_rule(base: &str, to: &str, child_only: bool, status: u16) -> Option<RedirectRule> {
    let kept = to.strip_suffix("$Q").or_else(|| to.strip_suffix("?$P"));
    let to = variables(kept.unwrap_or(to))?;
    Some(redirect(pattern(base, child_only), to, status, kept.is_some()))
}

/// `$V` is the path that was asked for, `$S` what of it is below the level.
fn variables(to: &str) -> Option<String> {
    let mut whole = String::new();
    let mut rest = to;
    while let Some((before, behind)) = rest.split_once('$') {
        whole.push_str(before);
        let slash = if whole.ends_with('/') { "" } else { "/" };
        let (group, after) = match behind.as_bytes().first()? {
            b'V' => ("1", behind.get(1..)?),
            b'S' => ("2", behind.get(1..)?),
            _ => return None,
        };
        whole.push_str(&format!("{slash}${{{group}}}"));
        rest = after;
    }
    whole.push_str(rest);
    Some(whole)
}

/// `*` is what the next of `$1`, `$2` stands for.
fn wildcard_rule(base: &str, wildcard: &str, to: &str, status: u16) -> Option<RedirectRule> {
    let kept = to.strip_suffix("$Q").or_else(|| to.strip_suffix("?$P"));
    let to = kept.unwrap_or(to);
    let whole = match wildcard.starts_with(['/', '*']) {
        true => wildcard.to_owned(),
        false => format!("{base}/{wildcard}"),
    };
    let parts: Vec<_> = whole.split('*').map(escape).collect();
    let path = PathPattern::Regex(format!("(?i)^{}$", parts.join("(.*)")));
    let stars = parts.len() - 1;
    let mut target = String::new();
    let mut rest = to;
    while let Some((before, behind)) = rest.split_once('$') {
        target.push_str(before);
        let digit = char::from(*behind.as_bytes().first()?).to_digit(10)?;
        if usize::try_from(digit).ok()? > stars {
            return None;
        }
        target.push_str(&format!("${{{digit}}}"));
        rest = behind.get(1..)?;
    }
    target.push_str(rest);
    Some(redirect(path, target, status, kept.is_some()))
}

fn redirect(path: PathPattern, to: String, status: u16, keep_query: bool) -> RedirectRule {
    RedirectRule { path, when: Vec::new(), to: RedirectTo::Target(to), status, keep_query }
}

/// A text as a regular expression that fits that text.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if "\\.+*?()|[]{}^$#&-~/".contains(letter) && letter != '/' {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use bindery_model::decide::condition::Asked;

    use super::*;

    #[test]
    fn what_is_read_is_written_again() {
        for base in ["", "/app", "/a.b/c"] {
            for to in ["https://y", "https://y/", "/", "/x", "https://y/$V", "$S", "/a$Q", "$V$Q"] {
                for (exact, child_only) in
                    [(false, false), (true, false), (false, true), (true, true)]
                {
                    let make = if exact { exact_rule } else { relative_rule };
                    let rule = make(base, to, child_only, 302).unwrap();
                    let said = written(base, &rule).unwrap();
                    let make = if said.exact { exact_rule } else { relative_rule };
                    let again = make(base, &said.destination, said.child_only, 302).unwrap();
                    assert_eq!(again, rule, "{base} {to} {exact} {child_only}: {said:?}");
                }
            }
        }
        let mut other = relative_rule("", "https://y", false, 302).unwrap();
        assert_eq!(written("/app", &other), None);
        other.keep_query = false;
        assert_eq!(written("", &other), None);
        other.to = RedirectTo::Here;
        assert_eq!(written("", &other), None);
    }

    #[track_caller]
    fn check(rule: Option<RedirectRule>, asked: &str, expected: Option<&str>) {
        let rule = rule.unwrap();
        let (path, query) = match asked.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (asked, None),
        };
        let RedirectTo::Target(to) = &rule.to else { panic!("{rule:?}") };
        let made = Replacement::new(&rule.path, &[], Some(to)).unwrap();
        let request = Asked { query, ..Asked::of(path.as_bytes()) };
        let target = made.target(&request, rule.keep_query).map(|target| target.text);
        assert_eq!(target.as_deref(), expected, "{rule:?} {asked}");
    }

    #[test]
    fn a_relative_redirect_appends_the_rest_and_the_query() {
        let rule = |base, child_only| relative_rule(base, "https://n.example/", child_only, 302);
        check(rule("", false), "/", Some("https://n.example/"));
        check(rule("", false), "/a/b?c=d", Some("https://n.example/a/b?c=d"));
        check(rule("/Old", false), "/old/a", Some("https://n.example/a"));
        check(rule("/old", false), "/old", Some("https://n.example/"));
        check(rule("/old", false), "/older", None);
        check(rule("/old", true), "/old/a", Some("https://n.example/a"));
        check(rule("/old", true), "/old/a/b", None);
        check(relative_rule("/o.d", "/new", false, 302), "/oxd/a", None);
        check(relative_rule("/o.d", "/new", false, 302), "/o.d/a", Some("/new/a"));
    }

    #[test]
    fn an_exact_redirect_has_what_its_variables_say() {
        let rule = |to| exact_rule("/old", to, false, 301);
        check(rule("https://n.example/x"), "/old/a?b", Some("https://n.example/x"));
        check(rule("https://n.example$V$Q"), "/old/a?b", Some("https://n.example/old/a?b"));
        check(rule("https://n.example$S"), "/old/a?b", Some("https://n.example/a"));
        check(rule("https://n.example/x$S?$P"), "/old/a?b", Some("https://n.example/x/a?b"));
        check(
            exact_rule("", "https://n.example$V", false, 301),
            "/a/b",
            Some("https://n.example/a/b"),
        );
        assert_eq!(rule("https://n.example/$X"), None);
        assert_eq!(rule("https://n.example/$"), None);
    }

    #[test]
    fn a_wildcard_gives_its_parts() {
        let rule = wildcard_rule("/x", "/blog/*", "https://b.example/$1", 302);
        check(rule, "/blog/a/b", Some("https://b.example/a/b"));
        check(wildcard_rule("/x", "*.asp", "/default.htm", 302), "/y/a.ASP", Some("/default.htm"));
        check(wildcard_rule("/x", "a*", "/b/$1", 302), "/x/abc", Some("/b/bc"));
        assert_eq!(wildcard_rule("", "/a/*", "/$2", 302), None);
    }
}
