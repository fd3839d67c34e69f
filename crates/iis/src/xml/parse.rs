//! From a text to its tree: quick-xml finds where things begin and end, and what they are is
//! looked at here, with its place.

use bindery_model::problem::Span;
use quick_xml::{Reader, errors::Error, events::Event};

use super::{
    ElementId, Node, Piece, PieceKind, RawAttribute, Tree, XmlError,
    escape::{is_character, reference},
};

/// The most bytes of a text: ten times the configuration of 10,000 sites.
pub const TEXT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The most elements inside of one another. IIS's own go to 12.
pub const DEPTH_MAX: usize = 100;
/// The most elements: they take some 60 bytes of memory each.
pub const ELEMENTS_MAX: usize = 4_000_000;
/// The most attributes of an element: each is compared with all before it.
pub const ATTRIBUTES_MAX: usize = 200;

/// Reads a text: a whole file, with or without a byte order mark, or one element of it.
///
/// # Errors
///
/// When it is no well-formed XML, has a document type or entities of its own, or is larger than
/// what is taken.
pub fn parse(text: &str) -> Result<Tree<'_>, XmlError> {
    parse_passing(text, None)
}

/// Elements that stood in another text letter for letter, and are not looked into.
pub(crate) struct Passed<'p> {
    /// Where they stand: the names of the elements around them, then theirs.
    pub(crate) path: &'p [&'p str],
    /// Where such an element ends whose begin is given; nothing where it is to be read.
    pub(crate) end: &'p mut dyn FnMut(usize) -> Option<usize>,
}

/// The same, in the time of what was not read before: an element that is passed over has its
/// attributes in the tree, and nothing of what is in it.
pub(crate) fn parse_passing<'t>(
    text: &'t str,
    passed: Option<Passed<'_>>,
) -> Result<Tree<'t>, XmlError> {
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("the text has {} bytes; {TEXT_BYTES_MAX} are taken", text.len());
        return Err(XmlError { span: 0..0, message });
    }
    // Bytes first: hardly a text has one of these, and it would take a quarter of the time to look
    // at its characters.
    let control = |byte: u8| byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r');
    let suspicious =
        text.bytes().any(control) || text.contains("\u{fffe}") || text.contains("\u{ffff}");
    if suspicious && let Some((at, one)) = text.char_indices().find(|(_, one)| !is_character(*one))
    {
        let span = at..at + one.len_utf8();
        let message = format!("the character U+{:04X} cannot stand in XML", u32::from(one));
        return Err(XmlError { span, message });
    }
    let rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mark = text.len() - rest.len();
    // quick-xml would pass over a second one, and then count from behind it.
    if rest.starts_with('\u{feff}') {
        return Err(error(mark..2 * mark, "text stands outside of the outermost element"));
    }
    let known = passed.is_some();
    let mut builder = Builder::new(text, mark, if known { 0 } else { text.len() });
    builder.read(passed)?;
    Ok(builder.tree)
}

struct Builder<'t> {
    text: &'t str,
    /// How much stands before what quick-xml sees: the byte order mark.
    skipped: usize,
    tree: Tree<'t>,
    open: Vec<ElementId>,
}

impl<'t> Builder<'t> {
    /// `bytes` is how much is read at least.
    fn new(text: &'t str, skipped: usize, bytes: usize) -> Self {
        // What files come to: growing piece by piece would copy it all several times.
        let tree = Tree {
            text,
            nodes: Vec::with_capacity(bytes / 64),
            attributes: Vec::with_capacity(bytes / 48),
            pieces: Vec::new(),
        };
        Self { text, skipped, tree, open: Vec::new() }
    }

    fn read(&mut self, mut passed: Option<Passed<'_>>) -> Result<(), XmlError> {
        let mut base = self.skipped;
        let mut reader = reader(self.text, base);
        loop {
            let start = base + place(reader.buffer_position());
            let event = match reader.read_event() {
                Ok(event) => event,
                Err(error) => {
                    let at = base + place(reader.error_position());
                    return Err(self.broken(at, &error));
                }
            };
            let at = start..base + place(reader.buffer_position());
            match event {
                Event::Start(_) | Event::Empty(_) => {
                    let end = passed.as_mut().and_then(|passed| self.passes(&at, passed));
                    self.element(&at, matches!(event, Event::Empty(_)))?;
                    if let Some(end) = end.filter(|end| *end > at.end) {
                        self.pass(end);
                        base = end;
                        reader = self::reader(self.text, base);
                    }
                }
                Event::End(_) => self.end(&at)?,
                Event::Text(_) => self.characters(&at)?,
                Event::GeneralRef(_) => self.reference(&at)?,
                Event::CData(_) => self.piece(PieceKind::CData, &at, true)?,
                Event::Comment(_) => self.piece(PieceKind::Comment, &at, false)?,
                Event::PI(_) => self.piece(PieceKind::Instruction, &at, false)?,
                Event::Decl(_) if at.start == self.skipped => {
                    self.piece(PieceKind::Instruction, &at, false)?;
                }
                Event::Decl(_) => {
                    return Err(error(at, "<?xml ...?> stands at the beginning or nowhere"));
                }
                Event::DocType(_) => {
                    return Err(error(at, "a document type has no place in a configuration"));
                }
                Event::Eof => break,
            }
        }
        if let Some(id) = self.open.last() {
            let open = self.tree.element(*id);
            let message = format!("<{}> is not closed: the text ends before", open.name());
            return Err(XmlError { span: open.tag(), message });
        }
        if self.tree.nodes.is_empty() {
            return Err(error(self.text.len()..self.text.len(), "there is no element"));
        }
        Ok(())
    }

    /// Where an element ends that is passed over.
    fn passes(&self, at: &Span, passed: &mut Passed<'_>) -> Option<usize> {
        let (name, around) = passed.path.split_last()?;
        let open = self.open.iter().map(|id| self.tree.element(*id).name());
        let tag = self.text.get(at.start + 1..at.end).and_then(|tag| tag.strip_prefix(name))?;
        let is_named = tag.starts_with(|one| is_space(one) || matches!(one, '>' | '/'));
        if !is_named || self.open.len() != around.len() || !open.eq(around.iter().copied()) {
            return None;
        }
        let end = (passed.end)(at.start)?;
        // quick-xml takes what stands first there for a byte order mark.
        let is_marked = self.text.get(end..).is_none_or(|rest| rest.starts_with('\u{feff}'));
        (!is_marked).then_some(end)
    }

    /// Goes to the end of the element that was read last.
    fn pass(&mut self, end: usize) {
        let Some(id) = self.open.pop() else { return };
        let text = self.text;
        let node = self.node(id);
        let content = text.get(node.content_start as usize..end).unwrap_or_default();
        let length = content.rfind("</").unwrap_or(content.len());
        node.content_end = node.content_start + narrow(length);
        node.end = narrow(end);
    }

    /// What quick-xml could not read.
    fn broken(&self, at: usize, error: &Error) -> XmlError {
        let start = at.min(self.text.len());
        let start = (0..=start).rev().find(|at| self.text.is_char_boundary(*at)).unwrap_or(0);
        let line = self.text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        XmlError { span: start..start + line.len(), message: error.to_string() }
    }

    fn element(&mut self, at: &Span, closes_itself: bool) -> Result<(), XmlError> {
        if self.open.is_empty() && !self.tree.nodes.is_empty() {
            return Err(error(at.clone(), "a second outermost element"));
        }
        if self.open.len() >= DEPTH_MAX {
            let message = format!("more than {DEPTH_MAX} elements inside of one another");
            return Err(XmlError { span: at.clone(), message });
        }
        if self.tree.nodes.len() >= ELEMENTS_MAX {
            let message = format!("more than {ELEMENTS_MAX} elements");
            return Err(XmlError { span: at.clone(), message });
        }
        let tag_end = at.end - if closes_itself { 2 } else { 1 };
        let inner = self.text.get(at.start + 1..tag_end).unwrap_or_default();
        let length = find(inner, is_blank).unwrap_or(inner.len());
        let name = inner.get(..length).unwrap_or_default();
        let name_end = at.start + 1 + length;
        if !is_name(name) {
            let message = format!("{name:?} is no name of an element");
            return Err(XmlError { span: at.start + 1..name_end, message });
        }
        let first = self.tree.attributes.len();
        self.attributes(name_end, tag_end)?;
        let id = ElementId(narrow(self.tree.nodes.len()));
        let parent = self.open.last().copied();
        let previous = parent.and_then(|parent| self.node(parent).last_child);
        self.tree.nodes.push(Node {
            start: narrow(at.start),
            name_end: narrow(name_end),
            content_start: narrow(at.end),
            content_end: narrow(at.end),
            end: narrow(at.end),
            attributes: (narrow(first), narrow(self.tree.attributes.len())),
            parent,
            first_child: None,
            last_child: None,
            previous,
            next: None,
        });
        if let Some(previous) = previous {
            self.node(previous).next = Some(id);
        }
        if let Some(parent) = parent {
            let parent = self.node(parent);
            parent.first_child = parent.first_child.or(Some(id));
            parent.last_child = Some(id);
        }
        if !closes_itself {
            self.open.push(id);
        }
        Ok(())
    }

    fn node(&mut self, id: ElementId) -> &mut Node {
        #[allow(clippy::indexing_slicing, reason = "ids are made beside their nodes")]
        &mut self.tree.nodes[id.0 as usize]
    }

    /// Reads what stands between the name of an element and the end of its tag.
    fn attributes(&mut self, from: usize, to: usize) -> Result<(), XmlError> {
        let text = self.text;
        let first = self.tree.attributes.len();
        let mut at = from;
        loop {
            let rest = text.get(at..to).unwrap_or_default();
            let trimmed = behind_blanks(rest);
            if trimmed.is_empty() {
                return Ok(());
            }
            let name_start = at + (rest.len() - trimmed.len());
            let length = find(trimmed, |byte| byte == b'=' || is_blank(byte));
            let name = trimmed.get(..length.unwrap_or(trimmed.len())).unwrap_or_default();
            let name_at = name_start..name_start + name.len();
            if !is_name(name) {
                let message = format!("{name:?} is no name of an attribute");
                return Err(XmlError { span: name_at, message });
            }
            if name_start == at {
                return Err(error(name_at, "a blank is missing before the attribute"));
            }
            let value = self.value(name, &name_at, to)?;
            let twice = self.tree.attributes.iter().skip(first);
            if twice.clone().count() >= ATTRIBUTES_MAX {
                let message = format!("more than {ATTRIBUTES_MAX} attributes");
                return Err(XmlError { span: name_at, message });
            }
            let same = |raw: &RawAttribute| text.get(super::span(raw.name.0, raw.name.1));
            if twice.clone().any(|raw| same(raw) == Some(name)) {
                let message = format!("the attribute {name} is there twice");
                return Err(XmlError { span: name_at, message });
            }
            at = value.end + 1;
            self.tree.attributes.push(RawAttribute {
                name: (narrow(name_at.start), narrow(name_at.end)),
                value: (narrow(value.start), narrow(value.end)),
            });
        }
    }

    /// Where the value of an attribute stands, between its quotes.
    fn value(&self, name: &str, name_at: &Span, to: usize) -> Result<Span, XmlError> {
        let rest = self.text.get(name_at.end..to).unwrap_or_default();
        let quoted = behind_blanks(rest).strip_prefix('=').map(behind_blanks);
        let quote = quoted.and_then(|rest| rest.bytes().next());
        let (Some(quoted), Some(quote @ (b'"' | b'\''))) = (quoted, quote) else {
            let message = format!("the attribute {name} has no value in quotes");
            return Err(XmlError { span: name_at.clone(), message });
        };
        let start = to - quoted.len() + 1;
        let Some(length) = quoted.get(1..).and_then(|rest| find(rest, |byte| byte == quote)) else {
            let message = format!("the value of {name} does not end");
            return Err(XmlError { span: name_at.start..to, message });
        };
        let at = start..start + length;
        let value = self.text.get(at.clone()).unwrap_or_default();
        if find(value, |byte| matches!(byte, b'<' | b'&')).is_none() {
            return Ok(at);
        }
        if let Some(place) = value.find('<') {
            let span = start + place..start + place + 1;
            return Err(error(span, "< is written &lt; in a value"));
        }
        for (place, _) in value.match_indices('&') {
            self.check_reference(start + place, at.end)?;
        }
        Ok(at)
    }

    fn check_reference(&self, at: usize, to: usize) -> Result<(), XmlError> {
        let text = self.text.get(at..to).unwrap_or_default();
        if reference(text).is_some() {
            return Ok(());
        }
        let length = text.find(';').map_or(1, |end| end + 1);
        let name = text.get(..length).unwrap_or_default();
        let message = match name {
            "&" => "& is written &amp;".to_owned(),
            _ => format!("{name} stands for nothing here; there are the five entities of XML"),
        };
        Err(XmlError { span: at..at + length, message })
    }

    fn end(&mut self, at: &Span) -> Result<(), XmlError> {
        let tag = self.text.get(at.start + 2..at.end - 1).unwrap_or_default();
        let name = tag.trim_end_matches(is_space);
        let Some(id) = self.open.pop() else {
            return Err(error(at.clone(), "this closes nothing"));
        };
        let open = self.tree.element(id);
        if open.name() != name {
            let message = format!("</{name}> closes <{}>", open.name());
            return Err(XmlError { span: at.clone(), message });
        }
        let node = self.node(id);
        node.content_end = narrow(at.start);
        node.end = narrow(at.end);
        Ok(())
    }

    fn characters(&mut self, at: &Span) -> Result<(), XmlError> {
        let text = self.text.get(at.clone()).unwrap_or_default();
        match text.bytes().all(is_blank) {
            true => Ok(()),
            false => self.piece(PieceKind::Text, at, true),
        }
    }

    fn reference(&mut self, at: &Span) -> Result<(), XmlError> {
        self.check_reference(at.start, at.end)?;
        self.piece(PieceKind::Text, at, true)
    }

    fn piece(&mut self, kind: PieceKind, at: &Span, inside: bool) -> Result<(), XmlError> {
        if inside && self.open.is_empty() {
            return Err(error(at.clone(), "text stands outside of the outermost element"));
        }
        self.tree.pieces.push(Piece { kind, start: narrow(at.start), end: narrow(at.end) });
        Ok(())
    }
}

/// Reads a text from some place on.
fn reader(text: &str, from: usize) -> Reader<&[u8]> {
    let mut reader = Reader::from_str(text.get(from..).unwrap_or_default());
    let config = reader.config_mut();
    // Tags are matched here, where both places are known.
    config.check_end_names = false;
    config.allow_unmatched_ends = true;
    config.check_comments = true;
    reader
}

fn error(span: Span, message: &str) -> XmlError {
    XmlError { span, message: message.to_owned() }
}

/// The place of the first byte that is so. Everything that markup is made of is ASCII, so it is one
/// of a character.
fn find(text: &str, is: impl Fn(u8) -> bool) -> Option<usize> {
    text.bytes().position(is)
}

fn behind_blanks(text: &str) -> &str {
    let blanks = find(text, |byte| !is_blank(byte)).unwrap_or(text.len());
    text.get(blanks..).unwrap_or_default()
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// White space (XML 1.0, 2.3).
pub(super) fn is_space(one: char) -> bool {
    matches!(one, ' ' | '\t' | '\n' | '\r')
}

/// Whether a text is a name (XML 1.0, 2.3), with every letter beyond ASCII taken for one.
pub(super) fn is_name(text: &str) -> bool {
    let begins =
        |one: u8| one.is_ascii_alphabetic() || matches!(one, b'_' | b':') || !one.is_ascii();
    let goes_on = |one: u8| begins(one) || one.is_ascii_digit() || matches!(one, b'-' | b'.');
    text.bytes().next().is_some_and(begins) && text.bytes().all(goes_on)
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

/// An offset as it is kept: [`TEXT_BYTES_MAX`] and [`ELEMENTS_MAX`] are far below 4 billion.
fn narrow(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}
