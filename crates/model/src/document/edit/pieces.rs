//! A text cut into pieces: the keys above all headers, and each site, listener and certificate with
//! its tables. What is between two pieces, blank lines and comments that touch neither, is the gap
//! in front of the second.

use std::borrow::Cow;

use hashbrown::HashMap;
use toml_edit::{Item, Table};

use super::{
    blocks::{Block, Step, blocks},
    things::identity,
};
use crate::document::cut::{Kind, Outline, cut, outline};

/// Sites and certificates that are not read.
#[derive(Default)]
struct Outlines<'t> {
    blocks: Vec<Block>,
    things: Vec<(&'static str, Outline<'t>)>,
}

/// A part of the text that is TOML by itself.
#[derive(Debug, Default)]
pub(super) struct Piece<'t> {
    pub(super) gap: Cow<'t, str>,
    pub(super) body: Cow<'t, str>,
    /// What of which there may be several begins in it, in the order of the text.
    pub(super) things: Vec<Thing<'t>>,
    /// The kinds of tables in it.
    pub(super) kinds: Vec<Cow<'static, str>>,
    before: Option<usize>,
    behind: Option<usize>,
}

/// A site, a listener or a certificate.
#[derive(Clone, Debug)]
pub(super) struct Thing<'t> {
    pub(super) kind: &'static str,
    /// What it is called, so that the same things are called the same; nothing where it has no
    /// name.
    pub(super) name: Option<Cow<'t, str>>,
    /// Its number, where one is written.
    pub(super) number: Option<u32>,
    /// The number that it had before all changes, of a site that was there.
    pub(super) was: Option<u32>,
}

/// All pieces, in the order of the text. What is removed is empty.
#[derive(Debug, Default)]
pub(super) struct Pieces<'t> {
    all: Vec<Piece<'t>>,
    first: Option<usize>,
    last: Option<usize>,
    /// What follows the last.
    pub(super) end: Cow<'t, str>,
}

/// The key that names a thing of a kind.
pub(super) fn name_key(kind: &str) -> &'static str {
    match kind {
        "site" | "certificate" => "name",
        "listener" | "bindings" => "on",
        _ => "path",
    }
}

pub(super) const KINDS: [&str; 3] = ["listener", "certificate", "site"];

impl<'t> Piece<'t> {
    pub(super) fn new(
        gap: Cow<'t, str>,
        body: Cow<'t, str>,
        kinds: Vec<Cow<'static, str>>,
        things: Vec<Thing<'t>>,
    ) -> Self {
        Self { gap, body, things, kinds, before: None, behind: None }
    }
}

impl<'t> Pieces<'t> {
    /// Cuts a text that is read whole.
    pub(super) fn cut(text: &'t str, root: &Table) -> Self {
        Self::cut_at(text, root, Outlines::default())
    }

    /// Cuts a text of which sites and certificates are not read; nothing where they have to be.
    pub(super) fn cut_unread(text: &'t str) -> Option<Self> {
        let parts = cut(text, None)?;
        let rest = toml_edit::Document::parse(parts.rest.as_str()).ok()?;
        let root = rest.as_table();
        if ["site", "certificate"].into_iter().any(|kind| root.contains_key(kind)) {
            return None;
        }
        let count = parts.things.len();
        let mut outlines =
            Outlines { blocks: Vec::with_capacity(count + 8), things: Vec::with_capacity(count) };
        for (name, kind) in [("site", Kind::Site), ("certificate", Kind::Certificate)] {
            for (place, span) in parts.spans(kind).enumerate() {
                let outline = outline(super::part(text, span.clone()))?;
                let path = vec![Step::Key(Cow::Borrowed(name)), Step::Index(place)];
                let (start, end) = (span.start, span.start + outline.end);
                outlines.blocks.push(Block { path, start, header: start..end, end });
                outlines.things.push((name, outline));
            }
        }
        Some(Self::cut_at(text, root, outlines))
    }

    /// That a text that is read whole gives the same pieces.
    #[cfg(test)]
    pub(super) fn assert_as_read(&self, text: &str) {
        if let Ok(read) = toml_edit::Document::parse(text) {
            let read = Pieces::cut(text, read.as_table());
            assert_eq!(format!("{self:?}"), format!("{read:?}"), "{text}");
        }
    }

    fn cut_at(text: &'t str, root: &Table, outlines: Outlines<'t>) -> Self {
        let blocks = blocks(text, root, outlines.blocks);
        // The first block of each.
        let mut owners: HashMap<&[Step], usize> = HashMap::with_capacity(blocks.len());
        // Of each piece its first and last block. Tables of one thing may stand apart: then the
        // piece has what is between them, too.
        let mut spans: Vec<(usize, usize)> = Vec::with_capacity(blocks.len());
        for (place, block) in blocks.iter().enumerate() {
            let owner = owner(block);
            match owners.get(owner) {
                Some(first) => {
                    spans.truncate(piece_with(&spans, *first) + 1);
                    if let Some(span) = spans.last_mut() {
                        span.1 = place;
                    }
                }
                None => {
                    owners.insert(owner, place);
                    spans.push((place, place));
                }
            }
        }
        // One more or two are to come.
        let mut pieces = Self { all: Vec::with_capacity(spans.len() + 8), ..Self::default() };
        let mut before = 0;
        for (first, last) in spans.iter().copied() {
            let own = blocks.get(first..=last).unwrap_or_default();
            let (start, end) = match (own.first(), own.last()) {
                (Some(first), Some(last)) => (first.start, last.end),
                _ => continue,
            };
            let kinds = own.iter().filter_map(|block| match block.path.first() {
                Some(Step::Key(key)) => Some(key.clone()),
                _ => None,
            });
            let mut kinds: Vec<_> = kinds.collect();
            kinds.dedup();
            let text = |from, to| Cow::Borrowed(super::part(text, from..to));
            let piece = Piece::new(text(before, start), text(start, end), kinds, Vec::new());
            pieces.insert(pieces.last, piece);
            before = end;
        }
        pieces.end = Cow::Borrowed(super::part(text, before..text.len()));
        let piece_of =
            |path: &[Step]| owners.get(path).map_or(0, |first| piece_with(&spans, *first));
        for kind in KINDS {
            let unread = outlines.things.iter().filter(|(own, _)| *own == kind).enumerate();
            for (place, (_, Outline { name, number, .. })) in unread {
                let path = [Step::Key(Cow::Borrowed(kind)), Step::Index(place)];
                let name = name.map(|name| match is_lower(name) {
                    true => Cow::Borrowed(name),
                    false => Cow::Owned(identity(kind, name)),
                });
                pieces.add_thing(piece_of(&path), kind, name, *number);
            }
            pieces.find_things(root, kind, piece_of);
        }
        pieces
    }

    fn find_things(
        &mut self,
        root: &Table,
        kind: &'static str,
        piece_of: impl Fn(&[Step]) -> usize,
    ) {
        match root.get(kind) {
            Some(Item::ArrayOfTables(tables)) => {
                for (place, table) in tables.iter().enumerate() {
                    let path = [Step::key(kind), Step::Index(place)];
                    let name = table.get(name_key(kind)).and_then(Item::as_str);
                    let number = table.get("id").and_then(Item::as_integer);
                    let piece = piece_of(&path);
                    let name = name.map(|name| Cow::Owned(identity(kind, name)));
                    self.add_thing(piece, kind, name, number);
                }
            }
            Some(Item::Value(toml_edit::Value::Array(array))) => {
                let piece = piece_of(&[]);
                for value in array {
                    let table = value.as_inline_table();
                    let get = |key| table.and_then(|table| table.get(key));
                    let name = get(name_key(kind)).and_then(toml_edit::Value::as_str);
                    let number = get("id").and_then(toml_edit::Value::as_integer);
                    let name = name.map(|name| Cow::Owned(identity(kind, name)));
                    self.add_thing(piece, kind, name, number);
                }
            }
            _ => {}
        }
    }

    fn add_thing(
        &mut self,
        piece: usize,
        kind: &'static str,
        name: Option<Cow<'t, str>>,
        number: Option<i64>,
    ) {
        if let Some(piece) = self.all.get_mut(piece) {
            let number = number.and_then(|number| u32::try_from(number).ok());
            piece.things.push(Thing { kind, name, number, was: None });
        }
    }

    pub(super) fn get(&self, place: usize) -> Option<&Piece<'t>> {
        self.all.get(place)
    }

    pub(super) fn get_mut(&mut self, place: usize) -> Option<&mut Piece<'t>> {
        self.all.get_mut(place)
    }

    /// Puts a piece behind another; in front of all where there is none.
    pub(super) fn insert(&mut self, before: Option<usize>, piece: Piece<'t>) -> usize {
        let place = self.all.len();
        let behind = match before.and_then(|before| self.all.get_mut(before)) {
            Some(before) => before.behind.replace(place),
            None => self.first.replace(place),
        };
        match behind.and_then(|behind| self.all.get_mut(behind)) {
            Some(behind) => behind.before = Some(place),
            None => self.last = Some(place),
        }
        self.all.push(Piece { before, behind, ..piece });
        place
    }

    /// The places of all pieces, in the order of the text.
    pub(super) fn order(&self) -> impl Iterator<Item = usize> {
        std::iter::successors(self.first, |place| self.all.get(*place)?.behind)
    }

    /// The places of all pieces from the end on.
    pub(super) fn backwards(&self) -> impl Iterator<Item = usize> {
        std::iter::successors(self.last, |place| self.all.get(*place)?.before)
    }

    /// What follows a piece.
    pub(super) fn behind(&mut self, place: usize) -> &mut Cow<'t, str> {
        match self.all.get(place).and_then(|piece| piece.behind) {
            Some(behind) if behind < self.all.len() => match self.all.get_mut(behind) {
                Some(piece) => &mut piece.gap,
                None => &mut self.end,
            },
            _ => &mut self.end,
        }
    }

    /// Whether nothing is written in front of a piece.
    pub(super) fn is_first(&self, place: usize) -> bool {
        let before = std::iter::successors(self.all.get(place).and_then(|own| own.before), |own| {
            self.all.get(*own)?.before
        });
        before
            .filter_map(|own| self.all.get(own))
            .all(|own| own.gap.is_empty() && own.body.is_empty())
    }

    pub(super) fn finish(&self) -> String {
        let pieces = self.all.iter().map(|piece| piece.gap.len() + piece.body.len());
        let mut text = String::with_capacity(pieces.sum::<usize>() + self.end.len());
        for piece in self.order().filter_map(|place| self.all.get(place)) {
            text.push_str(&piece.gap);
            text.push_str(&piece.body);
        }
        text.push_str(&self.end);
        text
    }
}

/// Whether a name is as it is compared, without a look at what letters there are.
fn is_lower(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase())
}

/// Which of the pieces with these first and last blocks has a block.
fn piece_with(spans: &[(usize, usize)], block: usize) -> usize {
    spans.partition_point(|(first, _)| *first <= block).saturating_sub(1)
}

/// The thing or table that a block belongs to.
fn owner(block: &Block) -> &[Step] {
    let depth = match block.path.get(1) {
        Some(Step::Index(_)) => 2,
        _ => 1,
    };
    block.path.get(..depth).unwrap_or(&block.path)
}
