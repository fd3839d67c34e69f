//! What goes to the terminal: text for people, JSON for programs. The only place that prints.

use std::{
    error::Error,
    fmt::{self, Display},
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

use crate::commands::steps::{COLUMNS, wrapped};

/// An error of a command: what it was about, with its cause.
#[derive(Debug)]
pub(crate) struct Failure {
    what: String,
    source: Option<Box<dyn Error + Send + Sync>>,
    usage: bool,
    /// Lines that stand below it.
    below: String,
}

impl Failure {
    /// A failure that says all itself.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), source: None, usage: false, below: String::new() }
    }

    /// What was typed makes no sense.
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self { usage: true, ..Self::new(what) }
    }

    /// How the program ends: 2 where what was typed makes no sense, as when an option is unknown.
    pub(crate) fn code(&self) -> ExitCode {
        if self.usage { ExitCode::from(2) } else { ExitCode::FAILURE }
    }

    /// A failure with its cause.
    pub(crate) fn because(
        what: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self { source: Some(source.into()), ..Self::new(what) }
    }

    /// The same with lines below it, each with its end: problems one by one, or what to do.
    pub(crate) fn with(mut self, below: &str) -> Self {
        self.below.push_str(below);
        self
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

/// Prints to standard output. A reader that went away ends the program's interest quietly.
pub(crate) fn print(text: impl Display) {
    drop(write!(io::stdout().lock(), "{text}"));
}

/// Prints to standard error.
pub(crate) fn note(text: impl Display) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}

/// Prints lines, each with its end, to standard error.
pub(crate) fn note_text(text: &str) {
    drop(write!(io::stderr().lock(), "{text}"));
}

/// Prints why a command failed; lines are broken where people read them.
pub(crate) fn error(error: &Failure) {
    let text = format!("bindery: {}", bindery_server::text_of(error));
    match io::stderr().is_terminal() {
        true => note(wrapped(&text, COLUMNS).join("\n")),
        false => note(text),
    }
    note_text(&error.below);
}

/// Whether standard output is a terminal that takes colours (<https://no-color.org>).
pub(crate) fn is_colourful() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Prints a value as JSON, for programs.
pub(crate) fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::because("the answer cannot be written as JSON", error))?;
    print(format_args!("{text}\n"));
    Ok(())
}
