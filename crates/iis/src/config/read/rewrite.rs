//! Rules of the URL Rewrite module, as far as rules of ours can do the same: redirects, rewrites,
//! files that are looked for first, http to https, requests that are refused.

use std::rc::Rc;

use bindery_model::{
    decide::rewrite::Replacement,
    document::{read_path_target, read_target},
    rules::{PathPattern, RedirectRule, RewriteRule, regex},
};

use super::{
    redirect::escape,
    sections::{Sections, Shared, Written},
    value::{boolean, word},
};
use crate::xml::Element;

/// Nothing is ever found there: a name that begins with a dot.
const NOWHERE: &str = "/.refused";

/// `rewrite/rules`, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Rules(Vec<(String, Outcome)>);

/// What a rule comes to.
#[derive(Clone, Debug, PartialEq)]
enum Outcome {
    Redirect(RedirectRule),
    Rewrite(RewriteRule),
    /// Every request without TLS is sent to https.
    Https,
}

impl Rules {
    /// Those that redirect.
    pub(super) fn redirects(&self) -> impl Iterator<Item = &RedirectRule> {
        self.0.iter().filter_map(|(_, outcome)| match outcome {
            Outcome::Redirect(rule) => Some(rule),
            Outcome::Rewrite(_) | Outcome::Https => None,
        })
    }

    /// Those that rewrite.
    pub(super) fn rewrites(&self) -> impl Iterator<Item = &RewriteRule> {
        self.0.iter().filter_map(|(_, outcome)| match outcome {
            Outcome::Rewrite(rule) => Some(rule),
            Outcome::Redirect(_) | Outcome::Https => None,
        })
    }

    /// Whether one sends everything to https.
    pub(super) fn to_https(&self) -> bool {
        self.0.iter().any(|(_, outcome)| *outcome == Outcome::Https)
    }
}

impl Sections {
    pub(super) fn read_rules(&mut self, written: &Written<'_, '_>, shared: &mut Shared<'_>) {
        let rules = &mut Rc::make_mut(&mut self.rules).0;
        for entry in written.children() {
            let name = entry.value("name").unwrap_or_default().into_owned();
            match entry.name() {
                "clear" => rules.clear(),
                "remove" => rules.retain(|(own, _)| *own != name),
                "rule" => {
                    if entry.value("enabled").and_then(|text| boolean(&text)) == Some(false) {
                        continue;
                    }
                    match Rule::read(entry, written.level.path).and_then(Rule::outcome) {
                        Ok(outcome) => rules.push((name, outcome)),
                        Err(why) => {
                            let message = format!("the rewrite rule {name:?} is not done: {why}");
                            written.hint(entry.tag(), message, shared);
                        }
                    }
                }
                _ => written.unknown(entry, shared),
            }
        }
    }
}

/// A rule as it is written.
struct Rule<'a> {
    pattern: PathPattern,
    /// Whether it is for every path.
    everything: bool,
    base: &'a str,
    conditions: Conditions,
    action: Element<'a>,
}

/// What its conditions say, as far as that can be said here.
#[derive(Default)]
struct Conditions {
    not_file: bool,
    not_folder: bool,
    without_tls: bool,
}

impl<'a> Rule<'a> {
    fn read(entry: Element<'a>, base: &'a str) -> Result<Self, String> {
        let wanted = entry.child("match").ok_or("it has no match")?;
        let flag =
            |element: Element<'_>, name: &str| element.value(name).and_then(|text| boolean(&text));
        if flag(wanted, "negate") == Some(true) {
            return Err("its match is negated".to_owned());
        }
        let url = wanted.value("url").unwrap_or_default();
        let case = if flag(wanted, "ignoreCase") == Some(false) { "" } else { "(?i)" };
        let below = format!("{}/", base.trim_end_matches('/'));
        let syntaxes = [("ECMAScript", 0, 0), ("Wildcard", 1, 1), ("ExactMatch", 2, 2)];
        let syntax = entry.value("patternSyntax");
        let syntax = syntax.as_deref().map_or(Some(0), |text| word(text, &syntaxes));
        let inner = match syntax.ok_or("its patternSyntax is not known")? {
            0 => expression(&url)?,
            1 => format!("({})$", url.split('*').map(escape).collect::<Vec<_>>().join("(.*)")),
            _ => format!("({})$", escape(&url)),
        };
        let text = format!("{case}^{}{inner}", escape(&below));
        let compiled = regex(&text).map_err(
            |_| "its regular expression is not understood (no look-around, no back references)",
        )?;
        // What fits nothing and anything fits all.
        let everything = [below.as_str(), "/x", "/a/b.c"]
            .iter()
            .all(|path| compiled.is_match(&format!("{below}{}", path.trim_start_matches('/'))));
        let mut conditions = Conditions::default();
        for list in entry.children_named("conditions") {
            conditions.read(list)?;
        }
        if entry.child("serverVariables").is_some_and(|list| list.children().next().is_some()) {
            return Err("it sets server variables".to_owned());
        }
        let action = entry.child("action").ok_or("it has no action")?;
        Ok(Self { pattern: PathPattern::Regex(text), everything, base, conditions, action })
    }

    fn outcome(self) -> Result<Outcome, String> {
        let kinds = [
            ("None", 0, Action::Nothing),
            ("Rewrite", 1, Action::Rewrite),
            ("Redirect", 2, Action::Redirect),
            ("CustomResponse", 3, Action::Refuse),
            ("AbortRequest", 4, Action::Refuse),
        ];
        let kind = self.action.value("type").unwrap_or_default();
        let url = self.action.value("url").unwrap_or_default().into_owned();
        match word(&kind, &kinds).ok_or("its action is not known")? {
            Action::Nothing => Err("its action is to stop where it fits".to_owned()),
            Action::Redirect => self.redirect(&url),
            Action::Rewrite => self.rewrite(&url),
            Action::Refuse => {
                if self.conditions.without_tls {
                    return Err("it depends on HTTPS".to_owned());
                }
                self.rewrite_to(NOWHERE.to_owned())
            }
        }
    }

    fn redirect(self, url: &str) -> Result<Outcome, String> {
        let Conditions { not_file, not_folder, without_tls } = self.conditions;
        if not_file || not_folder {
            return Err("it redirects only where no file is".to_owned());
        }
        if without_tls {
            let same = url.to_ascii_lowercase().starts_with("https://{http_host}")
                || url.to_ascii_lowercase().starts_with("https://{server_name}");
            return match same && self.everything && self.base == "/" {
                true => Ok(Outcome::Https),
                false => Err("it depends on HTTPS".to_owned()),
            };
        }
        let kinds = [
            ("Permanent", 301, 301),
            ("Found", 302, 302),
            ("SeeOther", 303, 303),
            ("Temporary", 307, 307),
        ];
        let kind = self.action.value("redirectType");
        let status = kind.as_deref().map_or(Some(301), |text| word(text, &kinds));
        let status = status.ok_or("its redirectType is not known")?;
        let to = self.target(url)?;
        let to = read_target(&to).map_err(|why| format!("no redirect goes to {url:?}: {why}"))?;
        Replacement::new(&self.pattern, &to).map_err(|error| error.to_string())?;
        let keep_query = self.keeps_query();
        Ok(Outcome::Redirect(RedirectRule { path: self.pattern, to, status, keep_query }))
    }

    fn rewrite(self, url: &str) -> Result<Outcome, String> {
        if self.conditions.without_tls {
            return Err("it depends on HTTPS".to_owned());
        }
        if url.contains("://") {
            return Err("it hands requests to another server: [[site]] has proxy".to_owned());
        }
        if !self.keeps_query() {
            return Err("it drops the query".to_owned());
        }
        let to = self.target(url)?;
        self.rewrite_to(to)
    }

    fn rewrite_to(self, to: String) -> Result<Outcome, String> {
        read_path_target(&to).map_err(|why| format!("no rewrite goes to {to:?}: {why}"))?;
        Replacement::new(&self.pattern, &to).map_err(|error| error.to_string())?;
        let Conditions { not_file, not_folder, .. } = self.conditions;
        match (not_file, not_folder) {
            (false, true) => Err("it depends on folders alone".to_owned()),
            (unless_file, _) => {
                Ok(Outcome::Rewrite(RewriteRule { path: self.pattern, to, unless_file }))
            }
        }
    }

    fn keeps_query(&self) -> bool {
        let said = self.action.value("appendQueryString");
        said.and_then(|text| boolean(&text)).unwrap_or(true)
    }

    /// A target of ours: back references are captures, which begin with the whole of what fits.
    fn target(&self, url: &str) -> Result<String, String> {
        let mut whole = String::new();
        let mut rest = url;
        while let Some((before, behind)) = rest.split_once('{') {
            whole.push_str(&before.replace('$', "$$"));
            let (name, after) = behind.split_once('}').ok_or("a brace in it does not end")?;
            let number = name.strip_prefix("R:").and_then(|number| number.parse::<u8>().ok());
            let number = number.filter(|number| *number < 10);
            let number = number.ok_or_else(|| format!("{{{name}}} is not known here"))?;
            whole.push_str(&format!("${{{}}}", number + 1));
            rest = after;
        }
        whole.push_str(&rest.replace('$', "$$"));
        if whole.contains("://") || whole.starts_with('/') {
            return Ok(whole);
        }
        Ok(format!("{}/{whole}", self.base.trim_end_matches('/')))
    }
}

#[derive(Clone, Copy)]
enum Action {
    Nothing,
    Rewrite,
    Redirect,
    Refuse,
}

impl Conditions {
    fn read(&mut self, list: Element<'_>) -> Result<(), String> {
        let any = list.value("logicalGrouping").is_some_and(|text| text == "MatchAny");
        let entries: Vec<_> = list.children_named("add").collect();
        if any && entries.len() > 1 {
            return Err("one of several conditions is enough for it".to_owned());
        }
        for entry in entries {
            let input = entry.value("input").unwrap_or_default().to_ascii_uppercase();
            let kind = entry.value("matchType").unwrap_or_default().to_ascii_lowercase();
            let pattern = entry.value("pattern").unwrap_or_default().to_ascii_lowercase();
            let negate = entry.value("negate").and_then(|text| boolean(&text)) == Some(true);
            let off = matches!(pattern.trim_matches(['^', '$']), "off" | "0");
            let on = matches!(pattern.trim_matches(['^', '$']), "on" | "1");
            match (input.as_str(), kind.as_str(), negate) {
                ("{REQUEST_FILENAME}", "isfile", true) => self.not_file = true,
                ("{REQUEST_FILENAME}", "isdirectory", true) => self.not_folder = true,
                ("{HTTPS}", "" | "pattern", false) if off => self.without_tls = true,
                ("{HTTPS}", "" | "pattern", true) if on => self.without_tls = true,
                ("{SERVER_PORT_SECURE}", "" | "pattern", false) if off => self.without_tls = true,
                _ => return Err(format!("its condition on {input} cannot be said here")),
            }
        }
        Ok(())
    }
}

/// A regular expression of the module as the end of one of ours, behind the path of its level and a
/// slash. The first group is the whole of what fits.
///
/// The module finds a pattern anywhere, unless it begins with `^`. One that has `^` elsewhere, or at
/// the beginning of some alternatives only, cannot be moved behind a path.
fn expression(text: &str) -> Result<String, String> {
    let alternatives = alternatives(text)?;
    let anchored = alternatives.iter().filter(|one| one.starts_with('^')).count();
    let bare: Vec<_> =
        alternatives.iter().map(|one| one.strip_prefix('^').unwrap_or(one)).collect();
    if anchored == 0 {
        return Ok(format!(".*?({})", bare.join("|")));
    }
    match anchored == alternatives.len() {
        true => Ok(format!("({})", bare.join("|"))),
        false => Err("only some of its alternatives begin with ^".to_owned()),
    }
}

/// The alternatives of an expression, at its outermost level.
fn alternatives(text: &str) -> Result<Vec<&str>, String> {
    let (mut depth, mut class, mut escaped) = (0_u32, false, false);
    let mut parts = Vec::new();
    let mut start = 0;
    for (at, letter) in text.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ']' if class => class = false,
            _ if class => {}
            '[' => class = true,
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            '|' if depth == 0 => {
                parts.extend(text.get(start..at));
                start = at + 1;
            }
            '^' if at != start => return Err("it has ^ within".to_owned()),
            _ => {}
        }
    }
    parts.extend(text.get(start..));
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml;

    fn outcome(rule: &str, base: &str) -> Result<Outcome, String> {
        let tree = xml::parse(rule).unwrap();
        Rule::read(tree.root(), base).and_then(Rule::outcome)
    }

    #[track_caller]
    fn check(pattern: &str, action: &str, base: &str, asked: &str, expected: Option<&str>) {
        let rule = format!("<rule name='r'><match url='{pattern}'/>{action}</rule>");
        let (path, to) = match outcome(&rule, base).unwrap() {
            Outcome::Redirect(rule) => (rule.path, rule.to),
            Outcome::Rewrite(rule) => (rule.path, rule.to),
            Outcome::Https => panic!("{rule}"),
        };
        let target = Replacement::new(&path, &to).unwrap().target(asked.as_bytes(), None);
        assert_eq!(target.as_deref(), expected, "{rule}: {path:?} {to} {asked}");
    }

    #[test]
    fn back_references_are_those_of_the_path_below_the_level() {
        let to = "<action type='Redirect' url='https://n.example/{R:1}'/>";
        check("(.*)", to, "/", "/a/b", Some("https://n.example/a/b"));
        check("^(.*)$", to, "/", "/", Some("https://n.example/"));
        check("^(.*)$", to, "/app", "/app/x", Some("https://n.example/x"));
        check("^(.*)$", to, "/app", "/other", None);
        check("^old/(.*)", to, "/", "/OLD/x", Some("https://n.example/x"));
        check("^old/(.*)", to, "/", "/very/old/x", None);
        check("old/(.*)", to, "/", "/very/old/x", Some("https://n.example/x"));
        check("^(a)$|^(b)$", to, "/", "/a", Some("https://n.example/a"));
        check("^(a)$|^(b)$", to, "/", "/b", Some("https://n.example/"));
        let whole = "<action type='Redirect' url='/new/{R:0}'/>";
        check("x.*", whole, "/", "/a/xyz", Some("/new/xyz"));
    }

    #[test]
    fn relative_targets_begin_at_the_level() {
        let to = "<action type='Rewrite' url='page.html?p={R:1}'/>";
        check("^p/([0-9]+)$", to, "/app", "/app/p/7", Some("/app/page.html?p=7"));
        check("^p/([0-9]+)$", to, "/", "/p/7", Some("/page.html?p=7"));
    }

    #[test]
    fn a_rule_that_refuses_leads_nowhere() {
        let refuse = "<action type='CustomResponse' statusCode='403'/>";
        check("^private/", refuse, "/", "/private/x", Some(NOWHERE));
        check("^private/", refuse, "/", "/public/x", None);
    }

    #[test]
    fn what_is_looked_for_first_is_a_file() {
        let rule = "<rule><match url='.*'/><conditions>\
            <add input='{REQUEST_FILENAME}' matchType='IsFile' negate='true'/>\
            <add input='{REQUEST_FILENAME}' matchType='IsDirectory' negate='true'/>\
            </conditions><action type='Rewrite' url='/index.html'/></rule>";
        let Ok(Outcome::Rewrite(rule)) = outcome(rule, "/") else { panic!() };
        assert!(rule.unless_file);
    }

    #[test]
    fn http_to_https_is_the_site_s_own_redirect() {
        let rule = |pattern: &str, url: &str| {
            format!(
                "<rule><match url='{pattern}'/><conditions>\
                <add input='{{HTTPS}}' pattern='^OFF$'/></conditions>\
                <action type='Redirect' url='{url}'/></rule>"
            )
        };
        let same = "https://{HTTP_HOST}/{R:1}";
        assert_eq!(outcome(&rule("(.*)", same), "/"), Ok(Outcome::Https));
        assert!(outcome(&rule("^a/(.*)", same), "/").is_err());
        assert!(outcome(&rule("(.*)", "https://other.example/"), "/").is_err());
        assert!(outcome(&rule("(.*)", same), "/app").is_err());
    }

    #[test]
    fn what_cannot_be_said_is_refused_with_its_reason() {
        let rule = |inner: &str| outcome(&format!("<rule>{inner}</rule>"), "/").unwrap_err();
        let go = "<action type='Redirect' url='/x'/>";
        assert_eq!(rule(go), "it has no match");
        assert!(rule(&format!("<match url='a' negate='true'/>{go}")).contains("negated"));
        assert!(rule(&format!("<match url='(?=a)'/>{go}")).contains("look-around"));
        assert!(rule(&format!("<match url='(^a|b)'/>{go}")).contains("^ within"));
        assert!(rule(&format!("<match url='^a|b'/>{go}")).contains("some of its alternatives"));
        let host = "<conditions><add input='{HTTP_HOST}' pattern='a'/></conditions>";
        assert!(rule(&format!("<match url='a'/>{host}{go}")).contains("{HTTP_HOST}"));
        let proxy = "<action type='Rewrite' url='http://localhost:3000/{R:0}'/>";
        assert!(rule(&format!("<match url='a'/>{proxy}")).contains("proxy"));
        let map = "<action type='Redirect' url='{Map:{R:0}}'/>";
        assert!(rule(&format!("<match url='a'/>{map}")).contains("not known"));
    }
}
