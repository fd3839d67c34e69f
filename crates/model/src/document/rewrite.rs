//! Reads rules for some paths: redirects, rewrites, and the patterns that they and others go by.

use super::{
    action,
    read::{Entry, Reader, Section, Text},
    target::{read_path_target, read_target},
    value::{self, Wrong},
};
use crate::{
    decide::{
        rewrite::{PathMatcher, Replacement, ReplacementError},
        route::decoded_path,
    },
    problem::{Code, Problem},
    rules::{Condition, Part, PathPattern, RedirectRule, RedirectTo, RewriteRule, RewriteTo, Test},
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

/// The parts of a request that conditions name by themselves; fields have a table.
pub(super) const PARTS: [(&str, Part); 7] = [
    ("host", Part::Host),
    ("port", Part::Port),
    ("path", Part::Path),
    ("query", Part::Query),
    ("uri", Part::Uri),
    ("method", Part::Method),
    ("client", Part::Client),
];
/// What is at the path.
pub(super) const FOUND: [(&str, Test); 2] = [("file", Test::File), ("folder", Test::Folder)];

/// Reads `when` and `unless`: what must be true of a request, and what must not.
fn read_conditions<'d>(
    reader: &mut Reader<'d>,
    rule: &Section<'d>,
    pattern: Option<&Pattern<'d>>,
) -> Vec<Condition> {
    let mut conditions = Vec::new();
    for (key, negate) in [("when", false), ("unless", true)] {
        let owner = || format!("{key} of {}", rule.owner);
        let Some(table) = reader.table(rule, key, owner) else { continue };
        let mut keys: Vec<_> = PARTS.iter().map(|(own, _)| *own).collect();
        keys.extend(FOUND.iter().map(|(own, _)| *own));
        keys.extend(["scheme", "fields", "texts"]);
        reader.known(&table, &keys);
        let schemes = [("https", negate), ("http", !negate)];
        if let Some(negate) = reader.choice(&table, "scheme", &schemes) {
            conditions.push(Condition { test: Test::Https, negate });
        }
        for (own, test) in FOUND {
            if let Some(wanted) = reader.boolean(&table, own) {
                conditions.push(Condition { test, negate: wanted == negate });
            }
        }
        for (own, part) in PARTS {
            if let Some(entry) = table.entry(own) {
                let texts = read_expressions(reader, &table, &entry);
                conditions.extend(texts.into_iter().map(|regex| Condition {
                    test: Test::Text { of: part.clone(), regex },
                    negate,
                }));
            }
        }
        for (key, kind) in [("fields", NamedBy::Field), ("texts", NamedBy::Template(pattern))] {
            conditions.extend(
                read_named(reader, &table, key, kind)
                    .into_iter()
                    .map(|(of, regex)| Condition { test: Test::Text { of, regex }, negate }),
            );
        }
    }
    if reader.boolean(rule, "unless_file") == Some(true) {
        conditions.extend(UNLESS_FILE);
    }
    // They have no order either.
    conditions.sort();
    conditions.dedup();
    conditions
}

/// What the keys of a table are, by which a condition says what it looks at.
#[derive(Clone, Copy)]
enum NamedBy<'p, 'd> {
    Field,
    /// Texts with variables, and with groups of the pattern.
    Template(Option<&'p Pattern<'d>>),
}

/// Reads `fields` or `texts`: what is looked at, and the expressions that are to be found there.
fn read_named<'d>(
    reader: &mut Reader<'d>,
    table: &Section<'d>,
    key: &'static str,
    named: NamedBy<'_, 'd>,
) -> Vec<(Part, String)> {
    let Some(own) = reader.table(table, key, || table.owner.clone()) else { return Vec::new() };
    let mut entries = own.entries();
    // They have no order: the same ones are the same configuration.
    entries.sort_by_key(|entry| entry.key);
    let mut all = Vec::new();
    for entry in entries {
        let of = match named {
            NamedBy::Field if value::is_token(entry.key) => {
                Part::Field(entry.key.to_ascii_lowercase())
            }
            NamedBy::Field => {
                let wrong = format!("{:?} is no name of a field", entry.key);
                reader.bad(&own, entry.key_span, wrong, "write letters, digits and dashes");
                continue;
            }
            NamedBy::Template(pattern) => {
                let of = Part::Template(entry.key.to_owned());
                let test = Test::Text { of: of.clone(), regex: String::new() };
                let any = PathPattern::Regex(String::new());
                let pattern = pattern.map_or(&any, |pattern| &pattern.value);
                let when = [Condition { test, negate: false }];
                if let Err(error) = Replacement::new(pattern, &when, None) {
                    let why = std::error::Error::source(&error).map(ToString::to_string);
                    let wrong = format!("{:?}: {}", entry.key, why.unwrap_or_default());
                    let help = "write variables as in to: \"${host}${path}\", \"$1\" for a group of regex, $$ for a plain $";
                    reader.bad(&own, entry.key_span, wrong, help);
                    continue;
                }
                of
            }
        };
        let texts = read_expressions(reader, &own, &entry);
        all.extend(texts.into_iter().map(|regex| (of.clone(), regex)));
    }
    all
}

/// A regular expression, or an array of them.
fn read_expressions<'d>(
    reader: &mut Reader<'d>,
    table: &Section<'d>,
    entry: &Entry<'d>,
) -> Vec<String> {
    let texts: Vec<Text<'_>> = match entry.is_array() {
        true => reader.texts(table, entry.key).unwrap_or_default(),
        false => reader.text_of(table, entry).into_iter().collect(),
    };
    let mut expressions = Vec::new();
    for text in texts {
        match wrong_regex(text.value) {
            Some(wrong) => reader.wrong(Code::BadRegex, table, &text, wrong),
            None => expressions.push(text.value.to_owned()),
        }
    }
    expressions
}

/// Reads `redirects`.
pub(super) fn read_redirects<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
) -> Vec<RedirectRule> {
    let owner = format!("redirects of {}", section.owner);
    let mut rules = Vec::new();
    for rule in reader.tables(section, "redirects", |_| owner.clone()) {
        let keys = ["when", "unless", "to", "status", "keep_query"];
        reader.known(&rule, &[&PATTERNS[..], &keys].concat());
        let pattern = read_pattern(reader, &rule);
        let when = read_conditions(reader, &rule, pattern.as_ref());
        let own = match stays(&rule) {
            true => Some((RedirectTo::Here, action::REDIRECT_STATUS)),
            false => match action::read_refusal(&rule) {
                Some(status) => Some((RedirectTo::Refused, status)),
                None => read_redirect(reader, &rule, pattern.as_ref(), &when),
            },
        };
        let keep_query = reader.boolean(&rule, "keep_query").unwrap_or(true);
        let Some((pattern, (to, status))) = pattern.zip(own) else { continue };
        rules.push(RedirectRule { path: pattern.value, when, to, status, keep_query });
    }
    rules
}

/// Whether a rule says that what it is for stays as it is.
fn stays(rule: &Section<'_>) -> bool {
    rule.entry("to").is_some_and(|to| to.is_false())
}

/// Where a redirect leads, and its status.
fn read_redirect<'d>(
    reader: &mut Reader<'d>,
    rule: &Section<'d>,
    pattern: Option<&Pattern<'d>>,
    when: &[Condition],
) -> Option<(RedirectTo, u16)> {
    let to = reader.required_text(rule, "to", "/new");
    let to = to.and_then(|to| match read_target(to.value) {
        Ok(target) => Some((to, target)),
        Err(why) => {
            action::report_target(reader, rule, &to, &why);
            None
        }
    });
    let status = action::read_redirect_status(reader, rule);
    let (pattern, (to, target)) = pattern.zip(to)?;
    fits_together(reader, rule, pattern, when, &to).then_some(())?;
    if when.is_empty() {
        report_loop(reader, rule, pattern, &to);
    }
    Some((RedirectTo::Target(target), status))
}

/// Reads `rewrites`.
pub(super) fn read_rewrites<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
) -> Vec<RewriteRule> {
    let owner = format!("rewrites of {}", section.owner);
    let mut rules = Vec::new();
    for rule in reader.tables(section, "rewrites", |_| owner.clone()) {
        let keys = ["when", "unless", "to", "unless_file", "status", "keep_query", "next"];
        reader.known(&rule, &[&PATTERNS[..], &keys].concat());
        let pattern = read_pattern(reader, &rule);
        let when = read_conditions(reader, &rule, pattern.as_ref());
        let keep_query = reader.boolean(&rule, "keep_query").unwrap_or(true);
        let next = reader.integer(&rule, "next", 0..=NEXT_MAX);
        let next = next.and_then(|(next, _)| u16::try_from(next).ok()).unwrap_or_default();
        let answers = rule.entry("status").is_some() && !stays(&rule);
        if let Some(entry) = rule.entry("next").filter(|_| answers || stays(&rule)) {
            let wrong = "next is for what gets another path: this goes on to no later rule";
            reader.bad(&rule, entry.span, wrong, "remove next, or status");
        }
        let to = match (stays(&rule), answers) {
            (true, _) => Some(RewriteTo::Here),
            (false, true) => match action::read_refusal(&rule) {
                Some(status) => Some(RewriteTo::Answer { to: None, status, keep_query }),
                None => {
                    read_redirect(reader, &rule, pattern.as_ref(), &when).map(|(to, status)| {
                        RewriteTo::Answer {
                            to: match to {
                                RedirectTo::Target(to) => Some(to),
                                RedirectTo::Refused | RedirectTo::Here => None,
                            },
                            status,
                            keep_query,
                        }
                    })
                }
            },
            (false, false) => read_new_path(reader, &rule, pattern.as_ref(), &when)
                .map(|to| RewriteTo::Path { to, keep_query, next }),
        };
        let Some((pattern, to)) = pattern.zip(to) else { continue };
        rules.push(RewriteRule { path: pattern.value, when, to });
    }
    rules
}

/// More rules than anybody has.
const NEXT_MAX: i64 = 10_000;

/// The path that a rewrite leads to.
fn read_new_path<'d>(
    reader: &mut Reader<'d>,
    rule: &Section<'d>,
    pattern: Option<&Pattern<'d>>,
    when: &[Condition],
) -> Option<String> {
    let to = reader.required_text(rule, "to", "/index.php")?;
    if let Err(why) = read_path_target(to.value) {
        let wrong = format!("no rewrite can go there: {why}");
        let help = "write a path of this site, as in \"/page.php?p=$1\"; redirects go elsewhere";
        reader.bad(rule, to.span, wrong, help);
        return None;
    }
    fits_together(reader, rule, pattern?, when, &to).then(|| to.value.to_owned())
}

/// What `unless_file` says.
const UNLESS_FILE: [Condition; 2] =
    [Condition { test: Test::File, negate: true }, Condition { test: Test::Folder, negate: true }];

/// Whether a pattern and a target make a rule.
fn fits_together(
    reader: &mut Reader<'_>,
    rule: &Section<'_>,
    pattern: &Pattern<'_>,
    when: &[Condition],
    to: &Text<'_>,
) -> bool {
    let wrong = match Replacement::new(&pattern.value, when, Some(to.value)) {
        Ok(_) => return true,
        // Was looked at when it was read.
        Err(ReplacementError::Regex(_) | ReplacementError::Condition { .. }) => return false,
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
