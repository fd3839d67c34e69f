//! What is valid, in the words of `bindery.toml`: whole, or one thing at a time.

use super::Configuration;
use crate::change::{Change, Difference, Fields, Place};

/// The keys of one thing, without those that are at their default. `None` where it is not there.
#[must_use]
pub fn fields(_configuration: &Configuration, _at: &Place) -> Option<Fields> {
    todo!()
}

/// The whole configuration as a file.
#[must_use]
pub fn text(_configuration: &Configuration) -> String {
    todo!()
}

/// What differs between two configurations. Costs what differs: sites that are equal are not
/// written out.
#[must_use]
pub fn difference(_before: &Configuration, _after: &Configuration) -> Difference {
    todo!()
}

/// The changes that make a difference.
#[must_use]
pub fn changes(_difference: &Difference) -> Vec<Change> {
    todo!()
}
