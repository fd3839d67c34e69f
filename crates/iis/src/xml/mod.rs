//! XML as it stands in a text: every element and attribute with its place, so that a change
//! touches the bytes it names and no others.
//!
//! | module | answers |
//! |---|---|
//! | `parse` | what does a text say? |
//! | [`edit`] | how is it changed? |
//! | [`draft`] | how does it look with the changes so far? |
//! | `escape` | how is a value written? |
//!
//! What is not an element (comments, text, CDATA, processing instructions) is known by its place.
//! There are no document types and no entities beyond the five: a configuration has none.

pub mod draft;
pub mod edit;
mod escape;
mod parse;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use bindery_model::problem::Span;

pub use escape::escape;
pub(crate) use escape::is_character;
pub use parse::{ATTRIBUTES_MAX, DEPTH_MAX, ELEMENTS_MAX, TEXT_BYTES_MAX, parse};
pub(crate) use parse::{Passed, parse_passing};

/// Why a text is no XML, or none that is taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct XmlError {
    /// Where.
    pub span: Span,
    /// What is wrong. Lower case, no full stop.
    pub message: String,
}

/// A text and everything that stands in it.
#[derive(Debug)]
pub struct Tree<'t> {
    text: &'t str,
    nodes: Vec<Node>,
    attributes: Vec<RawAttribute>,
    pieces: Vec<Piece>,
}

/// The place of an element in a [`Tree`]; the root has the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ElementId(u32);

/// An element. Offsets are 32 bits wide, as texts are shorter.
#[derive(Debug)]
struct Node {
    start: u32,
    name_end: u32,
    /// Where the start tag ends and the content begins.
    content_start: u32,
    /// Where the content ends; at `content_start` for an element that closes itself.
    content_end: u32,
    end: u32,
    attributes: (u32, u32),
    parent: Option<ElementId>,
    first_child: Option<ElementId>,
    last_child: Option<ElementId>,
    previous: Option<ElementId>,
    next: Option<ElementId>,
}

#[derive(Debug)]
struct RawAttribute {
    name: (u32, u32),
    value: (u32, u32),
}

/// What is not an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceKind {
    /// `<!-- ... -->`.
    Comment,
    /// Text that is more than white space.
    Text,
    /// `<![CDATA[ ... ]]>`.
    CData,
    /// `<? ... ?>`, the XML declaration too.
    Instruction,
}

#[derive(Debug)]
struct Piece {
    kind: PieceKind,
    start: u32,
    end: u32,
}

/// How an attribute's value is quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quote {
    /// `'`
    Single,
    /// `"`
    Double,
}

impl<'t> Tree<'t> {
    /// The text.
    #[must_use]
    pub fn text(&self) -> &'t str {
        self.text
    }

    /// The outermost element.
    #[must_use]
    pub fn root(&self) -> Element<'_> {
        self.element(ElementId(0))
    }

    /// The element of an id.
    ///
    /// # Panics
    ///
    /// When the id comes from another tree.
    #[must_use]
    pub fn element(&self, id: ElementId) -> Element<'_> {
        #[allow(clippy::indexing_slicing, reason = "ids are made by `parse`, one for each node")]
        let node = &self.nodes[id.0 as usize];
        Element { tree: self, id, node }
    }

    /// How many elements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Never: there is a root.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// What is not an element and stands in `within`, in order; white space left out.
    pub fn pieces(&self, within: Span) -> impl Iterator<Item = (PieceKind, Span)> + '_ {
        let first = self.pieces.partition_point(|piece| (piece.start as usize) < within.start);
        let rest = self.pieces.iter().skip(first);
        rest.take_while(move |piece| piece.end as usize <= within.end)
            .map(|piece| (piece.kind, span(piece.start, piece.end)))
    }
}

/// An element of a tree.
#[derive(Clone, Copy)]
pub struct Element<'a> {
    tree: &'a Tree<'a>,
    id: ElementId,
    node: &'a Node,
}

impl std::fmt::Debug for Element<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "<{}> at {:?}", self.name(), self.span())
    }
}

impl<'a> Element<'a> {
    /// Its place in the tree.
    #[must_use]
    pub fn id(self) -> ElementId {
        self.id
    }

    /// Its name, prefix included.
    #[must_use]
    pub fn name(self) -> &'a str {
        self.slice(self.node.start + 1, self.node.name_end)
    }

    /// Where its name stands in the start tag.
    #[must_use]
    pub fn name_span(self) -> Span {
        span(self.node.start + 1, self.node.name_end)
    }

    /// From its first byte to its last.
    #[must_use]
    pub fn span(self) -> Span {
        span(self.node.start, self.node.end)
    }

    /// Its start tag.
    #[must_use]
    pub fn tag(self) -> Span {
        span(self.node.start, self.node.content_start)
    }

    /// What stands between its tags; empty, at the end, where it closes itself.
    #[must_use]
    pub fn content(self) -> Span {
        span(self.node.content_start, self.node.content_end)
    }

    /// Its text, tags included.
    #[must_use]
    pub fn source(self) -> &'a str {
        self.slice(self.node.start, self.node.end)
    }

    /// Whether it is written `<a />`.
    #[must_use]
    pub fn closes_itself(self) -> bool {
        self.node.content_start == self.node.end
    }

    /// Its attributes, in order.
    pub fn attributes(self) -> impl DoubleEndedIterator<Item = Attribute<'a>> + 'a {
        let (first, last) = self.node.attributes;
        let raw = self.tree.attributes.get(first as usize..last as usize).unwrap_or_default();
        raw.iter().map(move |raw| Attribute { text: self.tree.text, raw })
    }

    /// The attribute of a name.
    #[must_use]
    pub fn attribute(self, name: &str) -> Option<Attribute<'a>> {
        self.attributes().find(|attribute| attribute.name() == name)
    }

    /// The value of an attribute.
    #[must_use]
    pub fn value(self, name: &str) -> Option<Cow<'a, str>> {
        self.attribute(name).map(Attribute::value)
    }

    /// The elements in it, in order.
    pub fn children(self) -> impl Iterator<Item = Self> + 'a {
        let first = self.node.first_child.map(|id| self.tree.element(id));
        std::iter::successors(first, |child| child.next())
    }

    /// The elements of a name in it, in order.
    pub fn children_named(self, name: &'a str) -> impl Iterator<Item = Self> + 'a {
        self.children().filter(move |child| child.name() == name)
    }

    /// The first element of a name in it.
    #[must_use]
    pub fn child(self, name: &str) -> Option<Self> {
        self.children().find(|child| child.name() == name)
    }

    /// The last element in it.
    #[must_use]
    pub fn last_child(self) -> Option<Self> {
        self.node.last_child.map(|id| self.tree.element(id))
    }

    /// The element around it.
    #[must_use]
    pub fn parent(self) -> Option<Self> {
        self.node.parent.map(|id| self.tree.element(id))
    }

    /// The element behind it with the same parent.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        self.node.next.map(|id| self.tree.element(id))
    }

    /// The element before it with the same parent.
    #[must_use]
    pub fn previous(self) -> Option<Self> {
        self.node.previous.map(|id| self.tree.element(id))
    }

    /// Its text without that of elements in it: text and CDATA, unescaped.
    #[must_use]
    pub fn own_text(self) -> String {
        let markup = self.tree.pieces(self.content()).filter(|(kind, _)| *kind != PieceKind::Text);
        let children = self.children().map(|child| (PieceKind::Comment, child.span()));
        let mut markup: Vec<_> = markup.chain(children).collect();
        markup.sort_by_key(|(_, at)| (at.start, std::cmp::Reverse(at.end)));
        let end = self.content().end;
        markup.push((PieceKind::Comment, end..end));
        let (mut own, mut read) = (String::new(), self.content().start);
        for (kind, at) in markup {
            // What stands inside of a child is not its own.
            let Some(before) = self.tree.text.get(read..at.start) else { continue };
            own.push_str(&escape::unescape(before));
            if kind == PieceKind::CData {
                let raw = self.tree.text.get(at.clone()).unwrap_or_default();
                let inner = raw.strip_prefix("<![CDATA[").and_then(|raw| raw.strip_suffix("]]>"));
                own.push_str(inner.unwrap_or_default());
            }
            read = at.end;
        }
        own
    }

    fn slice(self, start: u32, end: u32) -> &'a str {
        self.tree.text.get(span(start, end)).unwrap_or_default()
    }
}

/// An attribute of an element.
#[derive(Clone, Copy)]
pub struct Attribute<'a> {
    text: &'a str,
    raw: &'a RawAttribute,
}

impl<'a> Attribute<'a> {
    /// Its name, prefix included.
    #[must_use]
    pub fn name(self) -> &'a str {
        self.text.get(self.name_span()).unwrap_or_default()
    }

    /// What it says: entities resolved, line ends and tabs as blanks (XML 1.0, 3.3.3).
    #[must_use]
    pub fn value(self) -> Cow<'a, str> {
        escape::unescape_attribute(self.raw_value())
    }

    /// What stands between the quotes.
    #[must_use]
    pub fn raw_value(self) -> &'a str {
        self.text.get(self.value_span()).unwrap_or_default()
    }

    /// Where its name stands.
    #[must_use]
    pub fn name_span(self) -> Span {
        span(self.raw.name.0, self.raw.name.1)
    }

    /// Where its value stands, without the quotes.
    #[must_use]
    pub fn value_span(self) -> Span {
        span(self.raw.value.0, self.raw.value.1)
    }

    /// All of it, from the name to the closing quote.
    #[must_use]
    pub fn span(self) -> Span {
        span(self.raw.name.0, self.raw.value.1 + 1)
    }

    /// How its value is quoted.
    #[must_use]
    pub fn quote(self) -> Quote {
        match self.text.as_bytes().get(self.raw.value.1 as usize) {
            Some(b'\'') => Quote::Single,
            _ => Quote::Double,
        }
    }
}

fn span(start: u32, end: u32) -> Span {
    start as usize..end as usize
}
