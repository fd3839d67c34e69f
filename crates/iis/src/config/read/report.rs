//! What is wrong, and where it is said: in the text itself at its place, and of a `web.config` at
//! the folder that it was found in, with file and line in the message.

use std::path::PathBuf;

use bindery_model::problem::{Code, Problem, Span};

use super::support::{Attribute, How, Kind};
use crate::xml::Element;

/// The text that something stands in.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Source {
    /// `applicationHost.config`.
    #[default]
    Main,
    /// A `web.config`.
    WebConfig {
        /// The file.
        file: PathBuf,
        /// Where its lines begin.
        lines: Vec<usize>,
        /// Where the folder stands that it was found in, in `applicationHost.config`.
        folder: Span,
    },
}

impl Source {
    /// A `web.config` with that text in a folder that stands at `folder`.
    pub(super) fn web_config(file: PathBuf, text: &str, folder: Span) -> Self {
        let lines = text.match_indices('\n').map(|(at, _)| at + 1).collect();
        Self::WebConfig { file, lines, folder }
    }

    /// Where something of it stands in `applicationHost.config`.
    pub(super) fn in_main(&self, span: Span) -> Span {
        match self {
            Self::Main => span,
            Self::WebConfig { folder, .. } => folder.clone(),
        }
    }

    /// Whether it is subject to locks.
    pub(super) fn is_delegated(&self) -> bool {
        matches!(self, Self::WebConfig { .. })
    }
}

/// Everything wrong.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) problems: Vec<Problem>,
}

impl Report {
    /// Something wrong at a place of a text.
    pub(super) fn problem(
        &mut self,
        (source, span): (&Source, Span),
        code: Code,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let problem = match source {
            Source::Main => Problem::new(code, span, message, help),
            Source::WebConfig { file, lines, folder } => {
                let line = 1 + lines.partition_point(|start| *start <= span.start);
                let message = format!("{}:{line}: {}", file.display(), message.into());
                Problem::new(code, folder.clone(), message, help)
            }
        };
        self.problems.push(problem);
    }

    /// A hint that something stays in the file and is not done.
    pub(super) fn hint(&mut self, source: &Source, span: Span, message: impl Into<String>) {
        self.problem((source, span), Code::NotSupportedHere, message, "");
    }

    /// A value that is none. In `applicationHost.config` it is an error, as IIS does not start with
    /// it; a `web.config` costs its own folder only.
    pub(super) fn bad(
        &mut self,
        source: &Source,
        span: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let code = match source {
            Source::Main => Code::BadValue,
            Source::WebConfig { .. } => Code::BadWebConfig,
        };
        self.problem((source, span), code, message, help);
    }

    /// Reports each attribute of an element that is not served, and each that nobody knows.
    pub(super) fn attributes(&mut self, source: &Source, element: Element<'_>, kind: &Kind) {
        for attribute in element.attributes() {
            let name = attribute.name();
            let Some(Attribute { how, default, meaning, .. }) = kind.attribute(name) else {
                // Of what does nothing not every attribute is known.
                if !is_of_the_form(name) && kind.how != How::Kept {
                    let message = format!("{name} of <{}> is not known here", element.name());
                    self.hint(source, attribute.span(), message);
                }
                continue;
            };
            if *how != How::Reported {
                continue;
            }
            let value = attribute.value();
            if *default == Some(value.as_ref()) {
                continue;
            }
            let shown = if is_encrypted(&value) { "[enc:...]" } else { value.as_ref() };
            let shown = match SECRET.contains(&name) {
                true => String::new(),
                false => format!("={shown:?}"),
            };
            let message = format!("{name}{shown} of <{}>: {meaning}", element.name());
            self.hint(source, attribute.span(), message);
        }
    }
}

/// Attributes whose values are shown nowhere.
const SECRET: [&str; 1] = ["password"];

/// Attributes that any element may have: locks, and what belongs to XML.
fn is_of_the_form(name: &str) -> bool {
    name.starts_with("lock") || name.starts_with("xmlns") || name.contains(':')
}

/// Whether a value can be read by the machine alone that wrote it.
pub(super) fn is_encrypted(value: &str) -> bool {
    value.starts_with("[enc:") && value.ends_with(":enc]")
}
