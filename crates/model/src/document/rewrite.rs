//! Reads rules for some paths: redirects, rewrites, and the patterns that they and others go by.

use super::{
    action,
    read::{Reader, Section, Text},
    target::{read_path_target, read_target},
    value::{self, Wrong},
};
use crate::{
    decide::{
        rewrite::{PathMatcher, Replacement, ReplacementError},
        route::decoded_path,
    },
    problem::{Code, Problem},
    rules::{PathPattern, RedirectRule, RewriteRule},
};

/// The ways to say which paths are meant; exactly one of them.
const PATTERNS: [&str; 4] = ["path", "prefix", "suffix", "regex"];

/// A pattern of the text.
pub(super) struct Pattern<'d> {
    pub(super) value: PathPattern,
    /// As it is written.
    text: Text<'d>,
}

/// Reads which paths are meant.
pub(super) fn read_pattern<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
) -> Option<Pattern<'d>> {
    let mut given: Vec<_> = PATTERNS.into_iter().filter_map(|key| section.entry(key)).collect();
    given.sort_by_key(|entry| entry.key_span.start);
    let Some((first, others)) = given.split_first() else {
        let message = format!("{}: it does not say for which paths", section.owner);
        let help =
            "add path = \"/old\", prefix = \"/old\", suffix = \".html\" or regex = \"^/old\"";
        reader.problem(Code::MissingKey, section.span.clone(), message, help);
        return None;
    };
    for other in others {
        let message = format!("{} has {} and {}", section.owner, first.key, other.key);
        let help = "one of them says which paths are meant; write a rule for each";
        let problem = Problem::new(Code::Exclusive, other.key_span.clone(), message, help);
        reader.problems.push(problem.with_related(first.key_span.clone(), "the first"));
    }
    let text = reader.text_of(section, first)?;
    let value = text.value.to_owned();
    let pattern = match first.key {
        "path" | "prefix" => {
            if let Err(wrong) = value::site_path(text.value) {
                reader.wrong(Code::BadValue, section, &text, wrong);
                return None;
            }
            if first.key == "path" { PathPattern::Exact(value) } else { PathPattern::Prefix(value) }
        }
        "suffix" => {
            if value.is_empty() {
                reader.bad(section, text.span, "the suffix is empty", "write one, as in \".html\"");
                return None;
            }
            PathPattern::Suffix(value)
        }
        _ => {
            if let Some(wrong) = wrong_regex(text.value) {
                reader.wrong(Code::BadRegex, section, &text, wrong);
                return None;
            }
            PathPattern::Regex(value)
        }
    };
    Some(Pattern { value: pattern, text })
}

/// What is wrong with a regular expression, at its place.
fn wrong_regex(text: &str) -> Option<Wrong> {
    let error = crate::rules::regex(text).err()?;
    let syntax = "regular expressions are written as at https://docs.rs/regex/#syntax; '…' keeps backslashes";
    let (kind, span) = match regex_syntax::Parser::new().parse(text).err() {
        Some(regex_syntax::Error::Parse(error)) => (error.kind().to_string(), *error.span()),
        Some(regex_syntax::Error::Translate(error)) => (error.kind().to_string(), *error.span()),
        _ => {
            let what = match error {
                regex::Error::CompiledTooBig(_) => "the regular expression is too large".to_owned(),
                _ => "the regular expression is not understood".to_owned(),
            };
            let help = "repeat less, as in {1,10}, or write several rules";
            return Some(Wrong::whole(text, what, help));
        }
    };
    let (start, end) = (span.start.offset, span.end.offset.max(span.start.offset));
    let part = start..end.min(text.len());
    Some(Wrong::new(part, format!("the regular expression is wrong: {kind}"), syntax))
}

/// Reads `redirects`.
pub(super) fn read_redirects<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
) -> Vec<RedirectRule> {
    let owner = format!("redirects of {}", section.owner);
    let mut rules = Vec::new();
    for rule in reader.tables(section, "redirects", |_| owner.clone()) {
        reader.known(&rule, &["path", "prefix", "suffix", "regex", "to", "status", "keep_query"]);
        let pattern = read_pattern(reader, &rule);
        let to = reader.required_text(&rule, "to", "/new");
        let to = to.and_then(|to| match read_target(to.value) {
            Ok(target) => Some((to, target)),
            Err(why) => {
                action::report_target(reader, &rule, &to, &why);
                None
            }
        });
        let status = action::read_redirect_status(reader, &rule);
        let keep_query = reader.boolean(&rule, "keep_query").unwrap_or(true);
        let Some((pattern, (to, target))) = pattern.zip(to) else { continue };
        if fits_together(reader, &rule, &pattern, &to) {
            report_loop(reader, &rule, &pattern, &to);
            rules.push(RedirectRule { path: pattern.value, to: target, status, keep_query });
        }
    }
    rules
}

/// Reads `rewrites`.
pub(super) fn read_rewrites<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
) -> Vec<RewriteRule> {
    let owner = format!("rewrites of {}", section.owner);
    let mut rules = Vec::new();
    for rule in reader.tables(section, "rewrites", |_| owner.clone()) {
        reader.known(&rule, &["path", "prefix", "suffix", "regex", "to", "unless_file"]);
        let pattern = read_pattern(reader, &rule);
        let to = reader.required_text(&rule, "to", "/index.php");
        let to = to.and_then(|to| match read_path_target(to.value) {
            Ok(()) => Some(to),
            Err(why) => {
                let wrong = format!("no rewrite can go there: {why}");
                let help =
                    "write a path of this site, as in \"/page.php?p=$1\"; redirects go elsewhere";
                reader.bad(&rule, to.span, wrong, help);
                None
            }
        });
        let unless_file = reader.boolean(&rule, "unless_file").unwrap_or(false);
        let Some((pattern, to)) = pattern.zip(to) else { continue };
        if fits_together(reader, &rule, &pattern, &to) {
            let to = to.value.to_owned();
            rules.push(RewriteRule { path: pattern.value, to, unless_file });
        }
    }
    rules
}

/// Whether a pattern and a target make a rule.
fn fits_together(
    reader: &mut Reader<'_>,
    rule: &Section<'_>,
    pattern: &Pattern<'_>,
    to: &Text<'_>,
) -> bool {
    let wrong = match Replacement::new(&pattern.value, to.value) {
        Ok(_) => return true,
        // Was looked at when it was read.
        Err(ReplacementError::Regex(_)) => return false,
        Err(ReplacementError::NoCapture { capture, span }) => {
            let (what, help) = match &pattern.value {
                PathPattern::Regex(_) => (
                    format!(
                        "{capture} stands for nothing: the regular expression has no such group"
                    ),
                    "put what it should stand for in parentheses; $$ is a plain $",
                ),
                _ => (
                    format!("{capture} stands for nothing: only regular expressions have groups"),
                    "write regex instead, with what it should stand for in parentheses",
                ),
            };
            Wrong::new(span, what, help)
        }
        Err(ReplacementError::Dollar { span }) => {
            Wrong::new(span, "this $ begins no capture", "write $1, ${name}, or $$ for a plain $")
        }
        Err(ReplacementError::BehindPath { span }) => Wrong::new(
            span,
            "what follows a prefix is appended to the path, which ends here",
            "write regex = \"^/old(.*)$\" and put $1 where the rest belongs",
        ),
    };
    reader.wrong(Code::BadValue, rule, to, wrong);
    false
}

/// Reports a redirect that leads to a path which it is for. Of regular expressions nobody knows.
fn report_loop(reader: &mut Reader<'_>, rule: &Section<'_>, pattern: &Pattern<'_>, to: &Text<'_>) {
    if matches!(pattern.value, PathPattern::Regex(_)) || !to.value.starts_with('/') {
        return;
    }
    let target = to.value.split(['?', '#']).next().unwrap_or_default();
    let fits = PathMatcher::new(&pattern.value)
        .is_ok_and(|matcher| decoded_path(target).is_ok_and(|path| matcher.fits(&path)));
    if fits {
        let message = format!("{}: it leads to {:?}, which it is for itself", rule.owner, to.value);
        let help = "clients would follow it for ever: name another target, or fewer paths";
        let problem = Problem::new(Code::BadValue, to.span.clone(), message, help);
        reader.problems.push(problem.with_related(pattern.text.span.clone(), "for these"));
    }
}
