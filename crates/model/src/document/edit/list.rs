//! Changes inside of brackets and braces: elements of arrays, keys of inline tables.

use std::ops::Range;

use toml_edit::{Array, InlineTable, Value};

use super::{
    Splice,
    blocks::{indent, line_end, line_start},
    part,
};
use crate::document::write::layout::LINE_MAX;

/// What stands between brackets or braces.
pub(super) struct List {
    /// Between them.
    inner: Range<usize>,
    /// Each element; of a table each key with its value.
    spans: Vec<Range<usize>>,
    braces: bool,
}

/// A key of an inline table with its value, dotted ones too.
pub(super) struct Inner {
    pub(super) path: Vec<String>,
    pub(super) value: Range<usize>,
}

/// Every key of an inline table, in the order of the text.
pub(super) fn inner(table: &InlineTable) -> Vec<Inner> {
    let mut all = Vec::new();
    collect(table, &mut Vec::new(), &mut all);
    all.sort_by_key(|own| own.value.start);
    all
}

fn collect(table: &InlineTable, path: &mut Vec<String>, all: &mut Vec<Inner>) {
    for (key, value) in table {
        path.push(key.to_owned());
        match value {
            Value::InlineTable(own) if own.is_dotted() => collect(own, path, all),
            _ => all.extend(value.span().map(|value| Inner { path: path.clone(), value })),
        }
        path.pop();
    }
}

impl List {
    pub(super) fn of_array(array: &Array) -> Option<Self> {
        let span = array.span()?;
        let spans = array.iter().map(Value::span).collect::<Option<_>>()?;
        Some(Self { inner: span.start + 1..span.end - 1, spans, braces: false })
    }

    pub(super) fn of_table(text: &str, table: &InlineTable) -> Option<Self> {
        let span = table.span()?;
        let inside = span.start + 1..span.end - 1;
        let mut from = inside.start;
        let mut spans = Vec::new();
        for own in inner(table) {
            spans.push(skip(text, from)..own.value.end);
            let next = skip(text, own.value.end);
            from = if part(text, next..text.len()).starts_with(',') { next + 1 } else { next };
        }
        Some(Self { inner: inside, spans, braces: true })
    }

    /// Where the comma behind an element is.
    fn comma(&self, text: &str, span: &Range<usize>) -> Option<usize> {
        let at = skip(text, span.end);
        (at < self.inner.end && part(text, at..text.len()).starts_with(',')).then_some(at)
    }

    /// Whether nothing but blanks is before an element on its line, and the line begins inside.
    fn begins_line(&self, text: &str, span: &Range<usize>) -> bool {
        let start = line_start(text, span.start);
        start > self.inner.start && part(text, start..span.start).trim().is_empty()
    }

    /// Behind the line of a place, where nothing but blanks and a comment is on the rest of it.
    fn rest_of_line(&self, text: &str, at: usize) -> Option<usize> {
        let end = line_end(text, at);
        let rest = part(text, at..end).trim();
        (end <= self.inner.end && (rest.is_empty() || rest.starts_with('#'))).then_some(end)
    }

    /// One more element behind the last, as the others are written.
    pub(super) fn push(&self, text: &str, new: &str) -> Vec<Splice> {
        let Some(last) = self.spans.last() else { return vec![self.first(text, new)] };
        let comma = self.comma(text, last);
        if !self.begins_line(text, last) {
            return match comma {
                Some(at) => vec![Splice::insert(at + 1, format!(" {new},"))],
                None => vec![Splice::insert(last.end, format!(", {new}"))],
            };
        }
        let blanks = indent(text, last.start);
        let behind = comma.map_or(last.end, |at| at + 1);
        let own_comma = if comma.is_some() { "," } else { "" };
        let Some(next) = self.rest_of_line(text, behind) else {
            let before = if comma.is_some() { "" } else { "," };
            return vec![Splice::insert(behind, format!("{before}\n{blanks}{new}{own_comma}"))];
        };
        let line = Splice::insert(next, format!("{blanks}{new}{own_comma}\n"));
        match comma {
            Some(_) => vec![line],
            None => vec![Splice::insert(last.end, ",".to_owned()), line],
        }
    }

    /// The only element.
    fn first(&self, text: &str, new: &str) -> Splice {
        let inside = part(text, self.inner.clone());
        if !inside.contains('\n') {
            let blanks = if inside.is_empty() && self.braces { " " } else { inside };
            return match inside.is_empty() {
                true => Splice::insert(self.inner.start, format!("{blanks}{new}{blanks}")),
                false => Splice::insert(self.inner.end, format!("{new}{blanks}")),
            };
        }
        let start = line_start(text, self.inner.end);
        let blanks = indent(text, self.inner.end);
        match part(text, start..self.inner.end).trim().is_empty() {
            true => Splice::insert(start, format!("{blanks}  {new},\n")),
            false => Splice::insert(self.inner.end, new.to_owned()),
        }
    }

    /// Takes an element out, with its line where it has one of its own.
    pub(super) fn remove(&self, text: &str, place: usize) -> Vec<Splice> {
        let Some(span) = self.spans.get(place) else { return Vec::new() };
        let comma = self.comma(text, span);
        let behind = comma.map_or(span.end, |at| at + 1);
        let before = place.checked_sub(1).and_then(|before| self.spans.get(before));
        let comma_before = before.and_then(|before| self.comma(text, before));
        if self.begins_line(text, span)
            && let Some(next) = self.rest_of_line(text, behind)
        {
            let line = Splice::remove(line_start(text, span.start)..next);
            return match comma_before.filter(|_| comma.is_none()) {
                Some(at) => vec![Splice::remove(at..at + 1), line],
                None => vec![line],
            };
        }
        let quiet = |range: Range<usize>| !part(text, range).contains(['#', '\n']);
        let next = self.spans.get(place + 1);
        match (next, before, comma_before) {
            (Some(next), ..) if quiet(behind..next.start) => {
                vec![Splice::remove(span.start..next.start)]
            }
            (None, Some(_), Some(at)) if comma.is_some() && !self.has_comment(text, at..behind) => {
                vec![Splice::remove(at + 1..behind)]
            }
            (None, Some(before), Some(_))
                if comma.is_none() && !self.has_comment(text, before.end..span.start) =>
            {
                vec![Splice::remove(before.end..span.end)]
            }
            (None, Some(_), Some(at)) if comma.is_none() => {
                vec![Splice::remove(at..at + 1), Splice::remove(span.clone())]
            }
            _ => {
                let rest = part(text, behind..self.inner.end);
                let blanks = rest.len() - rest.trim_start_matches([' ', '\t']).len();
                vec![Splice::remove(span.start..behind + blanks)]
            }
        }
    }

    /// Whether there is a comment between two elements.
    fn has_comment(&self, text: &str, range: Range<usize>) -> bool {
        let mut at = range.start;
        let comments = part(text, range.clone()).split('\n').filter(|line| {
            let begins = at;
            at += line.len() + 1;
            // The first line may end an element, in which a `#` means nothing.
            let line = if begins == range.start { line.trim_start_matches(',') } else { line };
            line.trim_start().starts_with('#')
        });
        comments.count() > 0
    }

    /// Each element on a line of its own, where one line would be too long for all.
    pub(super) fn broken(&self, text: &str, new: &str) -> Option<Splice> {
        let inside = part(text, self.inner.clone());
        if self.braces || self.spans.is_empty() || inside.contains('\n') {
            return None;
        }
        let line = part(text, line_start(text, self.inner.start)..line_end(text, self.inner.end));
        if line.trim_end().chars().count() + ", ".len() + new.chars().count() <= LINE_MAX {
            return None;
        }
        let blanks = indent(text, self.inner.start);
        let mut lines = String::from("\n");
        let elements = self.spans.iter().map(|span| part(text, span.clone())).chain([new]);
        for element in elements {
            lines.push_str(&format!("{blanks}  {element},\n"));
        }
        lines.push_str(blanks);
        Some(Splice { range: self.inner.clone(), with: lines })
    }

    /// Where an element is.
    pub(super) fn span(&self, place: usize) -> Option<Range<usize>> {
        self.spans.get(place).cloned()
    }

    /// One more element in front of another.
    pub(super) fn insert(&self, text: &str, place: usize, new: &str) -> Vec<Splice> {
        let Some(span) = self.spans.get(place) else { return self.push(text, new) };
        let between = match self.begins_line(text, span) {
            true => format!("{new},\n{}", indent(text, span.start)),
            false => format!("{new}, "),
        };
        vec![Splice::insert(span.start, between)]
    }

    /// Whether there is nothing inside, not even a comment.
    pub(super) fn is_bare(&self, text: &str) -> bool {
        self.spans.is_empty() && part(text, self.inner.clone()).trim().is_empty()
    }
}

/// Behind blanks, line breaks and comments.
fn skip(text: &str, from: usize) -> usize {
    let mut at = from;
    loop {
        let rest = part(text, at..text.len());
        let trimmed = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        at = text.len() - trimmed.len();
        if !trimmed.starts_with('#') {
            return at;
        }
        at = line_end(text, at);
    }
}
