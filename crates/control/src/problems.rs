//! Problems of a configuration by line and column.

use bindery_model::problem::{Problem, Severity, Way};
use serde::{Deserialize, Serialize};

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePlace {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
}

/// A problem with its place in lines and columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacedProblem {
    /// `error`, `warning` or `hint`.
    pub severity: String,
    /// Its stable code.
    pub code: String,
    /// Where. None in a text that nobody can look at: one that a change would have made.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub place: Option<FilePlace>,
    /// What is wrong, with the names of the objects.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub help: String,
    /// Ways out, each of which will do, where there are commands for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ways: Vec<Way>,
}

impl PlacedProblem {
    /// An error of a whole file.
    #[must_use]
    pub fn of_file(file: &str, message: &str) -> Self {
        Self {
            severity: Severity::Error.to_string(),
            code: "file".to_owned(),
            place: Some(FilePlace { file: file.to_owned(), line: 1, column: 1 }),
            message: message.to_owned(),
            help: String::new(),
            ways: Vec::new(),
        }
    }

    /// Where it is, as far as that can be looked at, and what is wrong.
    #[must_use]
    pub fn said(&self) -> String {
        match &self.place {
            Some(FilePlace { file, line, column }) => {
                format!("{file}:{line}:{column}: {}", self.message)
            }
            None => self.message.clone(),
        }
    }

    /// The line, where it is in a file.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.place.as_ref().map(|place| place.line)
    }

    /// What to do about it, on one line: for a log.
    #[must_use]
    pub fn advice(&self) -> String {
        let help = Some(self.help.clone()).filter(|help| !help.is_empty());
        let ways = self.ways.iter().map(|way| match way.commands.as_slice() {
            [] => way.what.clone(),
            commands => format!("{}: {}", way.what, commands.join(" && ")),
        });
        let ways: Vec<_> = ways.collect();
        let ways = Some(ways.join("; or ")).filter(|ways| !ways.is_empty());
        help.into_iter().chain(ways).map(|part| format!("; {part}")).collect()
    }

    /// Whether it keeps something from being served.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == "error"
    }
}

/// Places `problem` in `text`.
#[must_use]
pub fn placed(problem: &Problem, file: &str, text: &str) -> PlacedProblem {
    let before = text.get(..problem.span.start).unwrap_or(text);
    at_line(problem, file, text, before.matches('\n').count() + 1)
}

/// Places problems in `text`, in their order, which is best that of the text: it is gone through
/// once then, however many there are.
#[must_use]
pub fn all_placed<'a>(
    problems: impl IntoIterator<Item = &'a Problem>,
    file: &str,
    text: &str,
) -> Vec<PlacedProblem> {
    // Up to which place so many lines have ended.
    let (mut at, mut ended) = (0, 0);
    let mut line = |place: usize| {
        if place < at {
            (at, ended) = (0, 0);
        }
        let between = text.as_bytes().get(at..place).unwrap_or_default();
        ended += between.iter().filter(|byte| **byte == b'\n').count();
        at = place;
        ended + 1
    };
    let place = |problem: &Problem| problem.span.start.min(text.len());
    problems.into_iter().map(|problem| at_line(problem, file, text, line(place(problem)))).collect()
}

fn at_line(problem: &Problem, file: &str, text: &str, line: usize) -> PlacedProblem {
    let before = text.get(..problem.span.start).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
    PlacedProblem {
        severity: problem.severity().to_string(),
        code: problem.code.to_string(),
        place: Some(FilePlace { file: file.to_owned(), line, column }),
        message: problem.message.clone(),
        help: problem.help.clone(),
        ways: problem.ways.clone(),
    }
}

#[cfg(test)]
mod tests {
    use bindery_model::problem::Code;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn all_are_placed_as_one(text in "[aé\\n]{0,40}", starts in proptest::collection::vec(0_usize..50, 0..5)) {
            let problems: Vec<_> = starts
                .into_iter()
                .map(|start| Problem::new(Code::Syntax, start..start, "wrong", ""))
                .filter(|problem| text.is_char_boundary(problem.span.start))
                .collect();
            let each: Vec<_> = problems.iter().map(|one| placed(one, "f", &text)).collect();
            prop_assert_eq!(all_placed(&problems, "f", &text), each);
        }
    }
}
