//! Problems of a configuration as text: marked in their line for people, as records for programs.

use std::fmt::{self, Write as _};

use bindery_model::problem::{Problem, Severity};
use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode,
    SourceSpan,
};
use serde::{Deserialize, Serialize};

/// A problem with its place in lines and columns, both from 1; columns count characters.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PlacedProblem {
    pub(crate) severity: String,
    pub(crate) code: String,
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) message: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) help: String,
}

/// Places `problem` in `text`.
pub(crate) fn placed(problem: &Problem, file: &str, text: &str) -> PlacedProblem {
    let before = text.get(..problem.span.start).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    PlacedProblem {
        severity: problem.severity().to_string(),
        code: problem.code.to_string(),
        file: file.to_owned(),
        line: before.matches('\n').count() + 1,
        column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
        message: problem.message.clone(),
        help: problem.help.clone(),
    }
}

/// Problems for people: the line of each with the place marked, and what to do. With a count at
/// the end.
pub(crate) fn rendered(problems: &[Problem], file: &str, text: &str, colour: bool) -> String {
    let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::none() };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(80)
        .with_context_lines(0)
        .with_links(false);
    let source = NamedSource::new(file, text.to_owned());
    let mut out = String::new();
    for problem in problems {
        let marked = Marked { problem, source: &source };
        // Writing to a string does not fail.
        drop(handler.render_report(&mut out, &marked));
    }
    drop(writeln!(out, "{}", counted(problems)));
    out
}

/// How many problems of each kind there are, in words.
pub(crate) fn counted(problems: &[Problem]) -> String {
    let count = |severity| problems.iter().filter(|p| p.severity() == severity).count();
    let parts: Vec<String> = [Severity::Error, Severity::Warning, Severity::Hint]
        .into_iter()
        .map(|severity| (count(severity), severity))
        .filter(|(count, _)| *count > 0)
        .map(|(count, severity)| format!("{count} {severity}{}", if count == 1 { "" } else { "s" }))
        .collect();
    if parts.is_empty() { "no problems".to_owned() } else { parts.join(", ") }
}

struct Marked<'a> {
    problem: &'a Problem,
    source: &'a NamedSource<String>,
}

impl fmt::Debug for Marked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.problem, f)
    }
}

impl fmt::Display for Marked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem.message)
    }
}

impl std::error::Error for Marked<'_> {}

impl Diagnostic for Marked<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(format!("{}[{}]", self.problem.severity(), self.problem.code)))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.problem.severity() {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
            Severity::Hint => miette::Severity::Advice,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let help = &self.problem.help;
        (!help.is_empty()).then(|| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = |span: &std::ops::Range<usize>| SourceSpan::new(span.start.into(), span.len());
        let here = LabeledSpan::new_primary_with_span(None, span(&self.problem.span));
        let related =
            self.problem.related.iter().map(move |(place, why)| {
                LabeledSpan::new_with_span(Some(why.clone()), span(place))
            });
        Some(Box::new(std::iter::once(here).chain(related)))
    }
}
