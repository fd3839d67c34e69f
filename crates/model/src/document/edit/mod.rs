//! Changes made in the text of `bindery.toml`: comments, order and formatting of all else stay.
//!
//! | module | answers |
//! |---|---|
//! | `pieces` | which part of the text is a site's, a listener's, a certificate's? |
//! | `blocks` | where does a table with a header stand? |
//! | `things` | how does one of them come, change and go? |
//! | `parts` | how does a part of a site? |
//! | `keys` | how does a key? |
//! | `alike` | does a part of a text say what another says? |
//! | `list` | how does what stands in brackets or braces? |
//!
//! A text is read once and cut into pieces that are TOML by themselves. A change reads and changes
//! its piece only, by taking out and putting in bytes, so that everything else stays by
//! construction, and many changes cost what they touch.

mod alike;
mod blocks;
mod keys;
mod list;
mod parts;
mod pieces;
mod things;

use std::ops::Range;

use crate::change::{Change, EditError};

pub use alike::{alike, enclosing};
use things::Editor;

/// The text with all `changes` made, in their order. What it says then is for the parser to judge.
///
/// - What is added comes behind the last of its kind and is written as that is. What is removed
///   goes with the comment lines directly above it.
/// - A value that is said already stays as it is written.
/// - The last key that leaves an inline table, and the last of the bindings, applications or sites
///   that leaves an array, takes that along.
/// - A site keeps its number: where a change would give another to sites that have none written
///   down, theirs is written down.
///
/// # Errors
///
/// When one of them cannot be made.
pub fn apply(text: &str, changes: &[Change]) -> Result<String, EditError> {
    let (plain, form) = Form::take(text);
    let mut editor = Editor::read(&plain)?;
    for change in changes {
        editor.make(change)?;
    }
    editor.keep_numbers();
    Ok(form.give(editor.finish()))
}

/// What a text has around its content.
struct Form {
    byte_order_mark: bool,
    /// Whether every line ends as on Windows.
    windows: bool,
    /// Whether the last line does not end.
    unended: bool,
}

impl Form {
    /// The text with line ends of Unix, the last one too.
    fn take(text: &str) -> (String, Self) {
        let (byte_order_mark, text) = match text.strip_prefix('\u{feff}') {
            Some(text) => (true, text),
            None => (false, text),
        };
        let windows = text.contains('\r') && {
            let breaks = text.matches('\n').count();
            breaks > 0 && text.matches("\r\n").count() == breaks
        };
        let mut plain = if windows { text.replace("\r\n", "\n") } else { text.to_owned() };
        let unended = !plain.is_empty() && !plain.ends_with('\n');
        if unended {
            plain.push('\n');
        }
        (plain, Self { byte_order_mark, windows, unended })
    }

    /// The text as it was.
    fn give(self, mut text: String) -> String {
        if self.unended && text.ends_with('\n') {
            text.pop();
        }
        if self.windows {
            text = text.replace('\n', "\r\n");
        }
        if self.byte_order_mark {
            text.insert(0, '\u{feff}');
        }
        text
    }
}

/// A change of bytes.
#[derive(Debug)]
struct Splice {
    range: Range<usize>,
    with: String,
}

impl Splice {
    fn insert(at: usize, with: String) -> Self {
        Self { range: at..at, with }
    }

    fn remove(range: Range<usize>) -> Self {
        Self { range, with: String::new() }
    }
}

/// Makes changes of bytes that do not overlap.
fn splice(text: &mut String, mut splices: Vec<Splice>) {
    splices.sort_by_key(|one| (one.range.start, one.range.end));
    for one in splices.into_iter().rev() {
        text.replace_range(one.range, &one.with);
    }
}

/// A part of a text; nothing where it has none such.
fn part(text: &str, range: Range<usize>) -> &str {
    text.get(range).unwrap_or_default()
}

#[cfg(test)]
mod tests;
