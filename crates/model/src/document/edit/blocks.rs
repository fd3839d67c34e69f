//! Where tables stand in a text: from their header, with the comment that belongs to them, to
//! their last key.

use std::{borrow::Cow, ops::Range};

use toml_edit::{Item, Table};

use super::part;

/// A step from a table to what is in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    Key(Cow<'static, str>),
    Index(usize),
}

impl Step {
    pub(super) fn key(key: &str) -> Self {
        Self::Key(Cow::Owned(key.to_owned()))
    }
}

/// A table with a header; or the keys above the first header.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) path: Vec<Step>,
    /// Where the comment directly above it begins; its header where there is none.
    pub(super) start: usize,
    /// The line of its header.
    pub(super) header: Range<usize>,
    /// Behind the line of its last key, and comments directly below that.
    pub(super) end: usize,
}

impl Block {
    pub(super) fn belongs_to(&self, path: &[Step]) -> bool {
        self.path.starts_with(path)
    }
}

/// A key with its value, in a line of its own.
pub(super) struct Leaf {
    /// The key, from the table with the header on.
    pub(super) path: Vec<String>,
    /// Where the last part of the key begins.
    pub(super) key: usize,
    pub(super) value: Range<usize>,
}

/// The keys that stand below the header of a table, dotted ones too.
pub(super) fn leaves(table: &Table) -> Vec<Leaf> {
    let mut all = Vec::new();
    collect(table, &mut Vec::new(), &mut all);
    all.sort_by_key(|leaf| leaf.value.start);
    all
}

fn collect(table: &Table, path: &mut Vec<String>, all: &mut Vec<Leaf>) {
    for (key, item) in table {
        path.push(key.to_owned());
        match item {
            Item::Value(value) => {
                let key = table.key(key).and_then(toml_edit::Key::span);
                if let (Some(key), Some(value)) = (key, value.span()) {
                    all.push(Leaf { path: path.clone(), key: key.start, value });
                }
            }
            Item::Table(own) if own.is_dotted() => collect(own, path, all),
            _ => {}
        }
        path.pop();
    }
}

/// Every block, in the order of the text; `found` are those that are not in `root`.
pub(super) fn blocks(text: &str, root: &Table, mut found: Vec<Block>) -> Vec<Block> {
    if let Some(end) = last_value(root) {
        found.push(Block { path: Vec::new(), start: 0, header: 0..0, end });
    }
    headers(root, &mut Vec::new(), &mut found);
    found.sort_by_key(|block| (block.header.start, block.path.len()));
    let mut before = 0;
    let ahead: Vec<_> = found.iter().skip(1).map(|block| block.header.start).collect();
    let ahead = ahead.into_iter().chain([text.len()]);
    for (block, next) in found.iter_mut().zip(ahead) {
        block.start = match block.path.is_empty() {
            true => 0,
            false => comments_above(text, block.header.start, before),
        };
        let content = line_end(text, block.end.saturating_sub(1).max(block.header.start));
        let below = comments_below(text, content);
        // What touches the next header is its comment.
        let of_next = below == next && next < text.len();
        block.end = if of_next { content } else { below };
        before = block.end;
    }
    found
}

fn headers(table: &Table, path: &mut Vec<Step>, found: &mut Vec<Block>) {
    let mut one = |table: &Table, path: &mut Vec<Step>| {
        if let (false, false, Some(span)) = (table.is_implicit(), table.is_dotted(), table.span()) {
            let end = last_value(table).unwrap_or(span.end);
            let start = span.start;
            found.push(Block { path: path.clone(), start, header: span, end });
        }
        headers(table, path, found);
    };
    for (key, item) in table {
        path.push(Step::key(key));
        match item {
            Item::Table(own) => one(own, path),
            Item::ArrayOfTables(all) => {
                for (place, own) in all.iter().enumerate() {
                    path.push(Step::Index(place));
                    one(own, path);
                    path.pop();
                }
            }
            _ => {}
        }
        path.pop();
    }
}

/// Where the last value of a table's own keys ends.
fn last_value(table: &Table) -> Option<usize> {
    let ends = table.iter().filter_map(|(_, item)| match item {
        Item::Value(value) => value.span().map(|span| span.end),
        Item::Table(own) if own.is_dotted() => last_value(own),
        _ => None,
    });
    ends.max()
}

/// Where the line of a place begins.
pub(super) fn line_start(text: &str, at: usize) -> usize {
    part(text, 0..at).rfind('\n').map_or(0, |end| end + 1)
}

/// Behind the end of the line of a place, its line break included.
pub(super) fn line_end(text: &str, at: usize) -> usize {
    part(text, at..text.len()).find('\n').map_or(text.len(), |end| at + end + 1)
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

/// Where the comment lines directly above `at` begin, not above `least`.
fn comments_above(text: &str, at: usize, least: usize) -> usize {
    let mut start = line_start(text, at);
    while start > least {
        let above = line_start(text, start - 1);
        if above < least || !is_comment(part(text, above..start)) {
            break;
        }
        start = above;
    }
    start
}

/// Behind the comment lines that begin at `at`.
fn comments_below(text: &str, at: usize) -> usize {
    let mut end = at;
    while end < text.len() && is_comment(part(text, end..line_end(text, end))) {
        end = line_end(text, end);
    }
    end
}

/// Where the blank lines directly above `at` begin, not above `least`.
pub(super) fn blanks_above(text: &str, at: usize, least: usize) -> usize {
    let mut start = at;
    while start > least {
        let above = line_start(text, start - 1);
        if above < least || !part(text, above..start).trim().is_empty() {
            break;
        }
        start = above;
    }
    start
}

/// The blanks that begin the line of a place.
pub(super) fn indent(text: &str, at: usize) -> &str {
    let line = part(text, line_start(text, at)..line_end(text, at));
    let blanks = line.len() - line.trim_start_matches([' ', '\t']).len();
    part(line, 0..blanks)
}
