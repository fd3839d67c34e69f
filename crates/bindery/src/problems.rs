//! Problems of a configuration as text: marked in their line for people.

use std::{fmt::Write as _, ops::Range};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use bindery_control::problems::PlacedProblem;
use bindery_model::problem::{Problem, Severity, Way};

use crate::commands::{change::problems_text, steps::wrapped};

/// The width of the terminal that everything is laid out for.
const COLUMNS: usize = 80;
/// What is left of it beside a line number of four digits and the word help.
const HELP_COLUMNS: usize = COLUMNS - 13;

/// Problems for people: those of files beside the configuration, and of each in its text the line
/// with the place marked, and what to do. With a count of all at the end.
pub(crate) fn rendered(
    beside: &[PlacedProblem],
    problems: &[Problem],
    (file, text): (&str, &str),
    colour: bool,
) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.term_width(COLUMNS);
    let mut out = problems_text(beside);
    if !beside.is_empty() {
        out.push('\n');
    }
    for problem in problems {
        let report = renderer.render(&[report(problem, file, text)]);
        writeln!(out, "{report}\n").ok();
    }
    writeln!(out, "{}", counted(beside, problems)).ok();
    out
}

fn report<'a>(problem: &'a Problem, file: &'a str, text: &'a str) -> Group<'a> {
    let level = match problem.severity() {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Hint => Level::NOTE.with_name("hint"),
    };
    let title = level.primary_title(problem.message.as_str()).id(problem.code.as_str());
    let mut group = title.element(snippet(&problem.span, None, file, text));
    for (span, why) in &problem.related {
        group = group.element(snippet(span, Some(why), file, text));
    }
    if !problem.help.is_empty() {
        group = group.element(Level::HELP.message(in_lines(&problem.help)));
    }
    for way in &problem.ways {
        group = group.element(Level::HELP.message(way_text(way)));
    }
    group
}

/// A way out. Commands are not broken.
fn way_text(Way { what, commands }: &Way) -> String {
    let colon = if commands.is_empty() { "" } else { ":" };
    let mut text = in_lines(&format!("{what}{colon}"));
    for command in commands {
        text.push_str(&format!("\n  {command}"));
    }
    text
}

/// A help in lines that fit beside a line number. A key stays with its value.
fn in_lines(help: &str) -> String {
    let glued = help.replace(" = ", "\u{a0}=\u{a0}");
    wrapped(&glued, HELP_COLUMNS).join("\n").replace('\u{a0}', " ")
}

/// The lines of `span`, and only those: the renderer reads all that it is given.
fn snippet<'a>(
    span: &Range<usize>,
    why: Option<&'a str>,
    file: &'a str,
    text: &'a str,
) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    let start = text.get(..span.start).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
    // Neither a byte order mark nor a carriage return is of the line.
    let mark = text.get(start..).is_some_and(|line| line.starts_with('\u{feff}'));
    let start = if mark { start + '\u{feff}'.len_utf8() } else { start };
    let rest = text.get(span.end..).unwrap_or_default();
    let rest = rest.find('\n').map_or(rest, |at| rest.get(..at).unwrap_or_default());
    let end = span.end.max(start) + rest.strip_suffix('\r').unwrap_or(rest).len();
    let line = text.get(..start).unwrap_or_default().matches('\n').count() + 1;
    let kind = if why.is_some() { AnnotationKind::Context } else { AnnotationKind::Primary };
    let place = kind.span(span.start.saturating_sub(start)..span.end.saturating_sub(start));
    Snippet::source(text.get(start..end).unwrap_or_default())
        .line_start(line)
        .path(file)
        .annotation(match why {
            Some(why) => place.label(why),
            None => place,
        })
}

/// How many problems of each kind there are, in words.
fn counted(beside: &[PlacedProblem], problems: &[Problem]) -> String {
    let count = |severity: Severity| {
        problems.iter().filter(|own| own.severity() == severity).count()
            + beside.iter().filter(|own| own.severity == severity.to_string()).count()
    };
    let parts: Vec<String> = [Severity::Error, Severity::Warning, Severity::Hint]
        .into_iter()
        .map(|severity| (count(severity), severity))
        .filter(|(count, _)| *count > 0)
        .map(|(count, severity)| format!("{count} {severity}{}", if count == 1 { "" } else { "s" }))
        .collect();
    if parts.is_empty() { "no problems".to_owned() } else { parts.join(", ") }
}
