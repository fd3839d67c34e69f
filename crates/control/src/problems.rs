//! Problems of a configuration by line and column.

use bindery_model::problem::Problem;
use serde::{Deserialize, Serialize};

/// A problem with its place in lines and columns, both from 1; columns count characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacedProblem {
    /// `error`, `warning` or `hint`.
    pub severity: String,
    /// Its stable code.
    pub code: String,
    /// The file.
    pub file: String,
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub help: String,
}

/// Places `problem` in `text`.
#[must_use]
pub fn placed(problem: &Problem, file: &str, text: &str) -> PlacedProblem {
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
