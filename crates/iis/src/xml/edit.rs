//! Changes to a tree, made in its text: what is not named stays as it is, byte for byte.
//!
//! New elements take indentation, line ends and the form of an empty tag from what stands around
//! them. What is inserted and then removed leaves the text as it was; so does an attribute that is
//! added and removed, or set and set back.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use bindery_model::problem::Span;

use super::{Element, ElementId, PieceKind, Quote, Tree, escape, parse::is_space};

/// How deep an element stands in another where nothing shows it.
const STEP: &str = "    ";

/// An element to be inserted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewElement {
    /// Its name.
    pub name: String,
    /// Its attributes with their values, not escaped.
    pub attributes: Vec<(String, String)>,
    /// What stands in it.
    pub children: Vec<Self>,
}

/// Where in its parent an element is inserted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// Before all others.
    Start,
    /// Behind all others.
    End,
    /// Before this child.
    Before(ElementId),
    /// Behind this child.
    After(ElementId),
}

impl NewElement {
    /// An element without attributes.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// The same with one more attribute.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.attributes.push((name.to_owned(), value.into()));
        self
    }

    /// The same with one more element in it.
    #[must_use]
    pub fn holding(mut self, child: Self) -> Self {
        self.children.push(child);
        self
    }

    /// An element of a tree with all elements in it. Comments and text are left out.
    #[must_use]
    pub fn of(element: Element<'_>) -> Self {
        Self {
            name: element.name().to_owned(),
            attributes: element
                .attributes()
                .map(|attribute| (attribute.name().to_owned(), attribute.value().into_owned()))
                .collect(),
            children: element.children().map(Self::of).collect(),
        }
    }

    /// The value of an attribute.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// Gives an attribute a value.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        match self.attributes.iter_mut().find(|(own, _)| own == name) {
            Some((_, own)) => *own = value.into(),
            None => self.attributes.push((name.to_owned(), value.into())),
        }
    }

    /// The first element of a name in it, made where there is none.
    pub fn child(&mut self, name: &str) -> &mut Self {
        let place = self.children.iter().position(|child| child.name == name);
        let place = place.unwrap_or(self.children.len());
        if place == self.children.len() {
            self.children.push(Self::new(name));
        }
        #[allow(clippy::indexing_slicing, reason = "it was found or added")]
        &mut self.children[place]
    }

    /// The element as text, what stands in it indented by so much more.
    #[must_use]
    pub fn text(&self, step: &str) -> String {
        let mut text = String::new();
        let layout = Layout { line: Some("\n".to_owned()), step: step.to_owned(), empty: " />" };
        layout.write(self, &mut text);
        text
    }
}

/// Attributes with their new values; nothing for those that go.
pub(super) type NewValues = Vec<(String, Option<String>)>;

/// Changes that are made together. They name elements of the tree as it was read.
#[derive(Debug)]
pub struct Edits<'t> {
    tree: &'t Tree<'t>,
    attributes: BTreeMap<ElementId, NewValues>,
    inserted: BTreeMap<ElementId, Vec<(Position, NewElement)>>,
    removed: BTreeMap<ElementId, BTreeSet<ElementId>>,
}

impl<'t> Edits<'t> {
    /// No changes yet.
    #[must_use]
    pub fn new(tree: &'t Tree<'t>) -> Self {
        Self {
            tree,
            attributes: BTreeMap::new(),
            inserted: BTreeMap::new(),
            removed: BTreeMap::new(),
        }
    }

    /// Whether nothing is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.attributes.is_empty() && self.inserted.is_empty() && self.removed.is_empty()
    }

    /// Gives an attribute a value. A new one becomes the last.
    pub fn set_attribute(&mut self, element: ElementId, name: &str, value: impl Into<String>) {
        self.attribute(element, name, Some(value.into()));
    }

    /// Takes an attribute away, if it is there.
    pub fn remove_attribute(&mut self, element: ElementId, name: &str) {
        self.attribute(element, name, None);
    }

    fn attribute(&mut self, element: ElementId, name: &str, value: Option<String>) {
        let changes = self.attributes.entry(element).or_default();
        changes.retain(|(own, _)| own != name);
        changes.push((name.to_owned(), value));
    }

    /// Inserts an element into `parent`. Several at one place stand in the order they were given.
    pub fn insert(&mut self, parent: ElementId, at: Position, element: NewElement) {
        self.inserted.entry(parent).or_default().push((at, element));
    }

    /// Removes an element with everything in it. The root stays.
    pub fn remove(&mut self, element: ElementId) {
        if let Some(parent) = self.tree.element(element).parent() {
            self.removed.entry(parent.id()).or_default().insert(element);
        }
    }

    /// What is to be replaced by what, in order and without overlap.
    #[must_use]
    pub fn splices(&self) -> Vec<(Span, String)> {
        let mut splices = Vec::new();
        for (id, changes) in &self.attributes {
            attributes(self.tree.element(*id), changes, &mut splices);
        }
        for (id, inserted) in &self.inserted {
            insert(self.tree, self.tree.element(*id), inserted, &mut splices);
        }
        for (id, removed) in &self.removed {
            let parent = self.tree.element(*id);
            let gone = parent.children().all(|child| removed.contains(&child.id()));
            let closed = match gone && !self.inserted.contains_key(id) {
                true => close(self.tree, parent),
                false => None,
            };
            match closed {
                Some(splice) => splices.push(splice),
                None => {
                    let spans = removed.iter().map(|id| line_of(self.tree, self.tree.element(*id)));
                    splices.extend(spans.map(|span| (span, String::new())));
                }
            }
        }
        splices.sort_by_key(|(span, _)| (span.start, span.end));
        // What is changed inside of something that is removed is removed with it.
        let mut end = 0;
        splices.retain(|(span, _)| {
            let stays = span.start >= end;
            end = end.max(span.end);
            stays
        });
        splices
    }

    /// The text with the changes made.
    #[must_use]
    pub fn finish(&self) -> String {
        let text = self.tree.text();
        let splices = self.splices();
        let added: usize = splices.iter().map(|(_, new)| new.len()).sum();
        let mut result = String::with_capacity(text.len() + added);
        let mut kept = 0;
        for (span, new) in &splices {
            result.push_str(text.get(kept..span.start).unwrap_or_default());
            result.push_str(new);
            kept = span.end;
        }
        result.push_str(text.get(kept..).unwrap_or_default());
        result
    }
}

fn attributes(
    element: Element<'_>,
    changes: &[(String, Option<String>)],
    splices: &mut Vec<(Span, String)>,
) {
    let text = element.tree.text();
    let last = element.attributes().next_back();
    let end = last.map_or_else(|| element.name_span().end, |last| last.span().end);
    let mut added = String::new();
    for (name, value) in changes {
        match (element.attribute(name), value) {
            (Some(own), Some(value)) if own.value() != value.as_str() => {
                splices.push((own.value_span(), escape(value, own.quote()).into_owned()));
            }
            (None, Some(value)) => {
                let before = last.map(|last| blanks_before(text, last.name_span().start));
                let before = before.and_then(|span| text.get(span)).unwrap_or(" ");
                let quote = last.map_or(Quote::Double, super::Attribute::quote);
                added.push_str(before);
                write_attribute(name, value, quote, &mut added);
            }
            (Some(own), None) => {
                let start = blanks_before(text, own.span().start).start;
                splices.push((start..own.span().end, String::new()));
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
    }
    if !added.is_empty() {
        splices.push((end..end, added));
    }
}

fn write_attribute(name: &str, value: &str, quote: Quote, text: &mut String) {
    let mark = if quote == Quote::Single { '\'' } else { '"' };
    text.push_str(name);
    text.push('=');
    text.push(mark);
    text.push_str(&escape(value, quote));
    text.push(mark);
}

fn insert(
    tree: &Tree<'_>,
    parent: Element<'_>,
    inserted: &[(Position, NewElement)],
    splices: &mut Vec<(Span, String)>,
) {
    if parent.closes_itself() {
        let layout = Layout::inside(tree, parent);
        let tag = parent.tag();
        let blanks = blanks_before(tree.text(), tag.end - 2);
        // More than the usual blank is kept, so that closing it again gives the same.
        let usual = ["", " "].contains(&tree.text().get(blanks.clone()).unwrap_or_default());
        let start = if usual { blanks.start } else { blanks.end };
        let mut opened = String::from(">");
        for (_, element) in inserted {
            opened.push_str(layout.line.as_deref().unwrap_or_default());
            layout.write(element, &mut opened);
        }
        opened.push_str(&closing(tree, parent));
        splices.push((start..tag.end, opened));
        return;
    }
    for (at, element) in inserted {
        let (offset, layout, line) = place(tree, parent, *at);
        let mut new = if line { layout.line.clone().unwrap_or_default() } else { String::new() };
        layout.write(element, &mut new);
        splices.push((offset..offset, new));
    }
}

/// Where a new element goes, how it is laid out, and whether it begins a line.
fn place(tree: &Tree<'_>, parent: Element<'_>, at: Position) -> (usize, Layout, bool) {
    let text = tree.text();
    let content = parent.content();
    let beside = match at {
        Position::Start => parent.children().next(),
        Position::End => parent.last_child(),
        Position::Before(id) | Position::After(id) => Some(tree.element(id)),
    };
    let Some(beside) = beside else {
        let inside = Layout::inside(tree, parent);
        let last = tree.pieces(content.clone()).last();
        let Some((_, piece)) = last else {
            // Nothing but white space, which stays as it is.
            return (content.start, inside, false);
        };
        return match line_before(text, piece.start) {
            Some(line) => {
                (piece.end, Layout { line: text.get(line).map(str::to_owned), ..inside }, true)
            }
            // Right behind it: on a line of its own it would be removed with that.
            None => {
                let source = text.get(piece.clone()).unwrap_or_default();
                let end = piece.start + source.trim_end_matches(is_space).len();
                (end, Layout { line: None, ..inside }, false)
            }
        };
    };
    let layout = Layout::beside(tree, beside);
    let span = beside.span();
    let line = line_before(text, span.start);
    let (offset, fits) = match (at, &line) {
        (Position::Before(_), Some(line)) => (line.start, true),
        (Position::Before(_), None) => (span.start, false),
        (Position::Start, line) => behind(tree, content.start, line.is_some()),
        (Position::End, line) => {
            let inner = text.get(content.clone()).unwrap_or_default();
            let trimmed = content.start + inner.trim_end_matches(is_space).len();
            (trimmed, line.is_some())
        }
        (Position::After(_), line) => behind(tree, span.end, line.is_some()),
    };
    let layout = if fits { layout } else { Layout { line: None, ..layout } };
    (offset, layout, fits)
}

/// The place for a new line behind `at`, which comments on the line of `at` go before; `at` itself
/// where something else follows on the line.
fn behind(tree: &Tree<'_>, at: usize, lines: bool) -> (usize, bool) {
    let text = tree.text();
    if !lines {
        return (at, false);
    }
    let mut end = at;
    loop {
        let rest = text.get(end..).unwrap_or_default();
        let trimmed = rest.trim_start_matches([' ', '\t']);
        if trimmed.is_empty() || trimmed.starts_with(['\r', '\n']) || trimmed.starts_with("</") {
            return (end, true);
        }
        let start = end + (rest.len() - trimmed.len());
        let comment = tree.pieces(start..text.len()).next();
        match comment {
            Some((PieceKind::Comment, span)) if span.start == start => end = span.end,
            _ => return (at, false),
        }
    }
}

/// What is removed with an element: the line break and the indentation before it, where it does not
/// share its line with others.
fn line_of(tree: &Tree<'_>, element: Element<'_>) -> Span {
    let text = tree.text();
    let span = element.span();
    let rest = text.get(span.end..).unwrap_or_default().trim_start_matches([' ', '\t']);
    let alone = rest.starts_with(['\r', '\n']) || rest.starts_with("</");
    match line_before(text, span.start).filter(|_| alone) {
        Some(line) => line.start..span.end,
        None => span,
    }
}

/// How an element is closed in its start tag once everything in it is gone; nothing where it is
/// not laid out as one that was opened here.
fn close(tree: &Tree<'_>, parent: Element<'_>) -> Option<(Span, String)> {
    let text = tree.text();
    let line = Layout::inside(tree, parent).line?;
    let mut laid_out = String::new();
    for child in parent.children() {
        laid_out.push_str(&line);
        laid_out.push_str(child.source());
    }
    laid_out.push_str(&closing(tree, parent));
    let tag = parent.tag();
    if text.get(tag.end..parent.span().end) != Some(laid_out.as_str()) {
        return None;
    }
    let spaced = !blanks_before(text, tag.end - 1).is_empty();
    let empty = if spaced { "/>" } else { empty_form(parent.last_child()?.source())? };
    Some((tag.end - 1..parent.span().end, empty.to_owned()))
}

/// The end tag of an element that was opened, on its own line.
fn closing(tree: &Tree<'_>, parent: Element<'_>) -> String {
    let text = tree.text();
    let start = parent.span().start;
    format!("{}{}</{}>", line_end(text, start), indent_of(text, start), parent.name())
}

/// How the last empty tag of a text ends.
fn empty_form(text: &str) -> Option<&'static str> {
    let at = text.rfind("/>")?;
    Some(if text.get(..at)?.ends_with(is_space) { " />" } else { "/>" })
}

/// How new elements are written.
struct Layout {
    /// Line end and indentation; none where everything stands on one line.
    line: Option<String>,
    /// How much further the elements in one are indented.
    step: String,
    /// How an empty tag ends.
    empty: &'static str,
}

impl Layout {
    /// As the children of `parent`, if it had any.
    fn inside(tree: &Tree<'_>, parent: Element<'_>) -> Self {
        let text = tree.text();
        let step = step_of(tree, parent);
        let start = parent.span().start;
        let line = format!("{}{}{step}", line_end(text, start), indent_of(text, start));
        let empty = match parent.closes_itself() {
            true => empty_form(parent.source()),
            false => None,
        };
        Self { line: Some(line), step: step.into_owned(), empty: empty.unwrap_or(" />") }
    }

    /// As its sibling.
    fn beside(tree: &Tree<'_>, sibling: Element<'_>) -> Self {
        let text = tree.text();
        let line = line_before(text, sibling.span().start);
        // A blank line before the sibling is its own.
        let line = line.and_then(|line| text.get(line)).map(str::to_owned);
        let step = match sibling.children().next() {
            Some(child) => step_between(text, sibling, child),
            None => None,
        };
        let step = step.or_else(|| sibling.parent().map(|parent| step_of(tree, parent)));
        let step = step.unwrap_or(Cow::Borrowed(STEP)).into_owned();
        Self { line, step, empty: empty_form(sibling.source()).unwrap_or(" />") }
    }

    fn write(&self, element: &NewElement, text: &mut String) {
        self.write_at(element, self.line.as_deref(), text);
    }

    fn write_at(&self, element: &NewElement, line: Option<&str>, text: &mut String) {
        text.push('<');
        text.push_str(&element.name);
        for (name, value) in &element.attributes {
            text.push(' ');
            write_attribute(name, value, Quote::Double, text);
        }
        if element.children.is_empty() {
            text.push_str(self.empty);
            return;
        }
        text.push('>');
        let inner = line.map(|line| format!("{line}{}", self.step));
        for child in &element.children {
            text.push_str(inner.as_deref().unwrap_or_default());
            self.write_at(child, inner.as_deref(), text);
        }
        text.push_str(line.unwrap_or_default());
        text.push_str("</");
        text.push_str(&element.name);
        text.push('>');
    }
}

/// How much further children are indented than `parent`, as elements around it show.
fn step_of<'t>(tree: &'t Tree<'_>, parent: Element<'_>) -> Cow<'t, str> {
    let text = tree.text();
    let mut outer = parent;
    while let Some(around) = outer.parent() {
        if let Some(step) = step_between(text, around, outer) {
            return step;
        }
        outer = around;
    }
    let first = outer.children().find_map(|child| step_between(text, outer, child));
    first.unwrap_or(Cow::Borrowed(STEP))
}

fn step_between<'t>(
    text: &'t str,
    parent: Element<'_>,
    child: Element<'_>,
) -> Option<Cow<'t, str>> {
    line_before(text, child.span().start)?;
    let outer = indent_of(text, parent.span().start);
    let inner = indent_of(text, child.span().start);
    inner.strip_prefix(outer).filter(|step| !step.is_empty()).map(Cow::Borrowed)
}

/// The line break and the indentation right before `at`, where it begins a line.
fn line_before(text: &str, at: usize) -> Option<Span> {
    let before = text.get(..at)?;
    let line = before.trim_end_matches([' ', '\t']);
    let above = line.strip_suffix('\n')?;
    let above = above.strip_suffix('\r').unwrap_or(above);
    Some(above.len()..at)
}

/// What stands at the beginning of the line of `at`.
fn indent_of(text: &str, at: usize) -> &str {
    let before = text.get(..at).unwrap_or_default();
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    let line = text.get(start..at).unwrap_or_default();
    line.get(..line.len() - line.trim_start_matches([' ', '\t']).len()).unwrap_or_default()
}

/// How lines end near `at`.
fn line_end(text: &str, at: usize) -> &'static str {
    let (before, behind) = text.split_at(at.min(text.len()));
    let before = before.rfind('\n').map(|end| before.get(..end).unwrap_or_default());
    let line = before.or_else(|| behind.split_once('\n').map(|(line, _)| line));
    if line.is_some_and(|line| line.ends_with('\r')) { "\r\n" } else { "\n" }
}

fn blanks_before(text: &str, at: usize) -> Span {
    let before = text.get(..at).unwrap_or_default();
    before.trim_end_matches(is_space).len()..at
}
