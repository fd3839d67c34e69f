//! Changes made in the text of `bindery.toml`: comments, order and formatting of all else stay.

use crate::change::{Change, EditError};

/// The text with all `changes` made, in their order.
///
/// # Errors
///
/// When one of them cannot be made.
pub fn apply(_text: &str, _changes: &[Change]) -> Result<String, EditError> {
    todo!()
}
