//! What netsh says when something was done or refused.

use super::{
    grammar::{GrammarError, SUPPORTED, Verb},
    records::RecordError,
};

/// What Windows says when a record that is to be shown is not there.
pub const NOT_FOUND: &str = "\nThe system cannot find the file specified.\n\n";

/// A record was added, updated or deleted.
#[must_use]
pub fn done(verb: Verb) -> String {
    let done = match verb {
        Verb::Show => "shown",
        Verb::Add => "added",
        Verb::Update => "updated",
        Verb::Delete => "deleted",
    };
    format!("\nSSL Certificate successfully {done}\n\n")
}

/// A record was not.
#[must_use]
pub fn failed(verb: Verb, error: &RecordError) -> String {
    refused(verb, error.number(), error.system_text())
}

/// A change was understood and cannot be made, by a reason that HTTP.SYS does not have.
#[must_use]
pub fn not_made(verb: Verb) -> String {
    refused(verb, 87, "The parameter is incorrect.")
}

fn refused(verb: Verb, number: u32, text: &str) -> String {
    let what = match verb {
        Verb::Show => "query",
        Verb::Add => "add",
        Verb::Update => "update",
        Verb::Delete => "deletion",
    };
    format!("\nSSL Certificate {what} failed, Error: {number}\n{text}\n\n")
}

/// A command that was not understood.
#[must_use]
pub fn not_understood(error: &GrammarError) -> String {
    match error {
        GrammarError::Value { verb: verb @ (Verb::Add | Verb::Update | Verb::Delete), .. } => {
            refused(*verb, 87, "The parameter is incorrect.")
        }
        GrammarError::Missing(_) => format!(
            "One or more essential parameters were not entered.\n\
             Verify the required parameters, and reenter them.\n{SUPPORTED}\n"
        ),
        GrammarError::UnknownCommand(_)
        | GrammarError::UnknownTag(_)
        | GrammarError::Value { .. }
        | GrammarError::TwoKeys
        | GrammarError::Twice(_) => format!("{error}\n{SUPPORTED}\n"),
    }
}

/// Whether the error itself says more than [`not_understood`] does.
#[must_use]
pub fn explains(error: &GrammarError) -> bool {
    matches!(error, GrammarError::Missing(_))
        || matches!(error, GrammarError::Value { verb, .. } if *verb != Verb::Show)
}
