//! How it was written. A change that says again what was said before is written again as it was
//! written before: an empty element that had got an attribute, a line that had become too long, a
//! name in another case. The history knows what each change has replaced, so this lasts over a
//! restart.
//!
//! What a change makes anew is followed back, revision by revision, to what stood in its place. The
//! newest that says the same, construct by construct with every comment and whatever nobody knows,
//! takes its place. Nothing goes behind what somebody wrote there by hand, unless it was taken back
//! by hand too.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
    sync::Arc,
};

use bindery_iis::xml;
use bindery_model::document::edit;
use serde::{Deserialize, Serialize};

use crate::home::Form;

/// More pieces, or more of their text, are not kept: such a change has made everything anew, and
/// nothing is followed back beyond it.
const PIECES_MAX: usize = 64;
const REPLACED_BYTES_MAX: usize = 64 * 1024;

/// What is looked at around a piece: a site with hundreds of bindings.
const AROUND_BYTES_MAX: usize = 32 * 1024;

/// So much text is compared for one change: some milliseconds. Beyond that it is written as the
/// editor writes it.
const COMPARED_BYTES_MAX: usize = 64 * 1024;

/// How many states of a part are looked at.
const STATES_MAX: usize = 32;

/// What is around these is other things.
const WHOLE: [(&str, &str); 2] = [("<site", "</site>"), ("<location", "</location>")];

/// How many times what is around a piece is looked at: an attribute's element, the one around that,
/// and so on up to its site.
const AROUND_MAX: usize = 5;

/// Two texts are alike again where so many words in a row are: two lines and their ends.
const ALIKE_AGAIN: usize = 4;

/// Where two texts are alike again is not looked for beyond so many words.
const LOOKED_THROUGH_MAX: usize = 300;

/// What a change has replaced in the text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Replaced {
    /// Who wrote it.
    pub(crate) by: Author,
    /// In order.
    pub(crate) pieces: Vec<Piece>,
}

/// Who wrote a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Author {
    /// An editor that was told what the configuration is to say: it adds no notes, and nothing that
    /// Bindery does not know.
    Editor,
    /// `appcmd`, which can write anything but comments into IIS's form.
    Appcmd,
    /// Somebody wrote it so, or brought back what somebody had written.
    Hand,
}

/// A piece of a text, and what stood there before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Piece {
    /// Where it begins.
    pub(crate) at: usize,
    /// How long it is.
    pub(crate) length: usize,
    /// What stood in its place.
    pub(crate) was: String,
}

impl Replaced {
    /// What `after` has in the place of `before`; nothing where that is too much.
    pub(crate) fn between(before: &str, after: &str, by: Author) -> Option<Self> {
        Some(Self { by, pieces: pieces(before, after)? })
    }

    /// How much of a text it keeps.
    pub(crate) fn size(&self) -> usize {
        self.pieces.iter().map(|piece| piece.was.len() + size_of::<Piece>()).sum()
    }
}

/// The text `now`, made of `current` by a change, as it was written before where it says the same.
/// `before` are what the last changes replaced, newest first. `None` where nothing is otherwise.
pub(crate) fn as_before(
    form: Form,
    (current, now, by): (&str, &str, Author),
    before: &[Arc<Replaced>],
) -> Option<String> {
    if before.is_empty() {
        return None;
    }
    let own = Replaced::between(current, now, by)?;
    let mut text = now.to_owned();
    let mut from = now.len() + 1;
    let mut search = Search { form, now, own: &own, before, to_compare: COMPARED_BYTES_MAX };
    for piece in own.pieces.iter().rev() {
        let range = piece.at..piece.at + piece.length;
        if range.end >= from {
            // It was brought back with what is around it.
            continue;
        }
        if let Some((range, was)) = search.found(range)
            && range.end < from
        {
            from = range.start;
            text.replace_range(range, &was);
        }
    }
    (text != now).then_some(text)
}

/// A search for how something was written.
struct Search<'a> {
    form: Form,
    now: &'a str,
    own: &'a Replaced,
    before: &'a [Arc<Replaced>],
    /// How many bytes may be compared still.
    to_compare: usize,
}

impl Search<'_> {
    fn found(&mut self, piece: Range<usize>) -> Option<(Range<usize>, String)> {
        let now = self.now;
        let mut range = piece;
        for _ in 0..AROUND_MAX {
            let mut ranges = with_blanks(now, &range).to_vec();
            ranges.dedup();
            for range in ranges {
                match self.walk(&range) {
                    Walk::Untouched | Walk::Same => return None,
                    Walk::Found(was) => return Some((range, was)),
                    Walk::Nothing => {}
                }
            }
            let own = now.get(range.clone())?;
            let is_whole = |(tag, end): &(&str, &str)| own.starts_with(tag) && own.ends_with(end);
            if self.form == Form::Iis && WHOLE.iter().any(is_whole) {
                return None;
            }
            range = match self.form {
                Form::Toml => edit::enclosing(now, &range)?,
                Form::Iis => xml::enclosing(now, &range)?,
            };
            if range.len() > AROUND_BYTES_MAX {
                return None;
            }
        }
        None
    }

    /// What stood in the place of a part, change by change.
    fn walk(&mut self, range: &Range<usize>) -> Walk {
        let wanted = self.now.get(range.clone()).unwrap_or_default();
        let mut part = Part { at: range.start, text: wanted.to_owned() };
        if part.take_back(self.own) == Touch::Across {
            return Walk::Nothing;
        }
        let current = part.text.clone();
        // What stood there, and who has changed it since.
        let mut stood = vec![(part.text.clone(), self.own.by)];
        let (mut by, mut touched) = (self.own.by, false);
        for replaced in self.before {
            match part.take_back(replaced) {
                Touch::None => continue,
                Touch::Across => return Walk::Nothing,
                Touch::Within => touched = true,
            }
            let known = stood.iter().find(|(text, _)| *text == part.text);
            by = known.map_or_else(|| by.max(replaced.by), |(_, by)| *by);
            if known.is_some() {
                // It was looked at.
                continue;
            }
            stood.push((part.text.clone(), by));
            if by == Author::Hand || part.text == current {
                continue;
            }
            if part.text == wanted {
                return Walk::Same;
            }
            if stood.len() > STATES_MAX {
                return Walk::Nothing;
            }
            if !can_be_alike(self.form, wanted, &part.text) {
                continue;
            }
            let Some(left) = self.to_compare.checked_sub(part.text.len() + wanted.len()) else {
                return Walk::Nothing;
            };
            self.to_compare = left;
            let loose = by == Author::Editor;
            let alike = match self.form {
                Form::Toml => edit::alike(wanted, &part.text, loose),
                Form::Iis => xml::alike(wanted, &part.text, loose),
            };
            if alike {
                return Walk::Found(part.text);
            }
        }
        if touched { Walk::Nothing } else { Walk::Untouched }
    }
}

/// A part of a text, by itself and with blanks around it, which may have come with it or gone: as
/// whole lines, with the line end before it, and with all there are.
fn with_blanks(text: &str, part: &Range<usize>) -> [Range<usize>; 4] {
    let (before, behind) = text.split_at(part.start);
    let behind = behind.get(part.len()..).unwrap_or_default();
    let own = |text: &str| text.trim_end_matches([' ', '\t']).len();
    let line = own(before);
    let end_of = |text: &str| {
        ["\r\n", "\n"].iter().find(|end| text.starts_with(**end)).map_or(0, |end| end.len())
    };
    let blanks = behind.len() - behind.trim_start_matches([' ', '\t']).len();
    let next = end_of(behind.get(blanks..).unwrap_or_default());
    let next = if next > 0 { blanks + next } else { 0 };
    let above = before.get(..line).unwrap_or_default();
    let above = above.strip_suffix('\n').unwrap_or(above);
    let above = above.strip_suffix('\r').unwrap_or(above).len();
    let all = behind.len() - behind.trim_ascii_start().len();
    [
        part.clone(),
        line..part.end + next,
        above..part.end,
        before.trim_ascii_end().len()..part.end + all,
    ]
}

/// What a walk back comes to.
enum Walk {
    /// Nobody has changed anything there.
    Untouched,
    /// It stood there letter for letter already.
    Same,
    /// It said the same, and was written so.
    Found(String),
    /// It never said the same.
    Nothing,
}

/// Whether nothing is in the way of two parts being alike at a first look: what is said now was said
/// before, word by word, unless it was written by the numbers of its letters.
fn can_be_alike(form: Form, now: &str, before: &str) -> bool {
    let escape = match form {
        Form::Toml => '\\',
        Form::Iis => '&',
    };
    if before.contains(escape) {
        return true;
    }
    let words = |text| str::split(text, |one: char| !one.is_alphanumeric());
    let had: HashSet<_> = words(before).map(str::to_lowercase).collect();
    let has = |text| words(text).all(|word| had.contains(&word.to_lowercase()));
    match form {
        Form::Toml => has(now),
        // Elements in which there is nothing say nothing, nor does a `location` of them.
        Form::Iis => now.split('<').all(|tag| {
            let tag = tag.trim_start_matches('/');
            let name = tag.find([' ', '\t', '\r', '\n', '/', '>']).unwrap_or(tag.len());
            tag.starts_with("location") || has(tag.get(name..).unwrap_or_default())
        }),
    }
}

/// A part of a text.
struct Part {
    at: usize,
    text: String,
}

#[derive(PartialEq, Eq)]
enum Touch {
    /// Nothing of the part was changed.
    None,
    /// Something within it was.
    Within,
    /// Something was that is partly outside of it.
    Across,
}

impl Part {
    /// Makes it what it was before a change.
    fn take_back(&mut self, replaced: &Replaced) -> Touch {
        let (start, end) = (self.at, self.at + self.text.len());
        let mut touch = Touch::None;
        for piece in replaced.pieces.iter().rev() {
            let piece_end = piece.at + piece.length;
            // At its very ends something can only have gone where nothing else stands.
            let within = match piece.length {
                0 if start == end => piece.at == start,
                0 => piece.at > start && piece.at < end,
                _ => piece.at < end && piece_end > start,
            };
            if !within {
                if piece_end <= start {
                    self.at = self.at + piece.was.len() - piece.length;
                }
                continue;
            }
            if piece.at < start || piece_end > end {
                return Touch::Across;
            }
            self.text.replace_range(piece.at - start..piece_end - start, &piece.was);
            touch = Touch::Within;
        }
        touch
    }
}

/// The pieces of a text that are otherwise than in another. Nothing where they are too many.
fn pieces(before: &str, after: &str) -> Option<Vec<Piece>> {
    let (head, tail) = ends(before, after);
    let middle = |text: &'_ str| head..text.len() - tail;
    let (old, new) = (before.get(middle(before))?, after.get(middle(after))?);
    let (old, new): (Vec<_>, Vec<_>) = (words(old).collect(), words(new).collect());
    let (mut old, mut new) = (old.as_slice(), new.as_slice());
    let mut pieces = Vec::new();
    let (mut at, mut kept) = (head, 0);
    loop {
        let same = old.iter().zip(new).take_while(|(old, new)| old == new).count();
        let length = |words: &[&str]| words.iter().map(|word| word.len()).sum::<usize>();
        at += length(new.get(..same)?);
        (old, new) = (old.get(same..)?, new.get(same..)?);
        if old.is_empty() && new.is_empty() {
            return Some(pieces);
        }
        let (gone, come) = alike_again(old, new);
        let was = old.get(..gone)?.concat();
        let length = length(new.get(..come)?);
        kept += was.len();
        if pieces.len() == PIECES_MAX || kept > REPLACED_BYTES_MAX {
            return None;
        }
        pieces.push(Piece { at, length, was });
        at += length;
        (old, new) = (old.get(gone..)?, new.get(come..)?);
    }
}

/// How much two texts have in common at their beginnings and at their ends, in whole words.
fn ends(before: &str, after: &str) -> (usize, usize) {
    let (before, after) = (before.as_bytes(), after.as_bytes());
    let least = before.len().min(after.len());
    // Byte by byte only where they differ.
    let blocks = before.chunks(BLOCK).zip(after.chunks(BLOCK));
    let head = BLOCK * blocks.take_while(|(old, new)| old == new).count();
    let head = head.min(least);
    let rest = before.iter().skip(head).zip(after.iter().skip(head));
    let head = head + rest.take_while(|(old, new)| old == new).count();
    let is_end = |byte: Option<&u8>| byte.is_none_or(|byte| ENDS.contains(&char::from(*byte)));
    let head = (0..=head).rev().find(|at| is_end(at.checked_sub(1).and_then(|at| before.get(at))));
    let head = head.unwrap_or(0);
    let least = least - head;
    let blocks = before.rchunks(BLOCK).zip(after.rchunks(BLOCK));
    let tail = BLOCK * blocks.take_while(|(old, new)| old == new).count();
    let tail = tail.min(least);
    let rest = before.iter().rev().skip(tail).zip(after.iter().rev().skip(tail));
    let most = least - tail;
    let tail = tail + rest.take(most).take_while(|(old, new)| old == new).count();
    let begins = |text: &[u8], tail: usize| {
        let at = text.len() - tail;
        at == head || is_end(at.checked_sub(1).and_then(|at| text.get(at)))
    };
    let tail = (0..=tail).rev().find(|tail| begins(before, *tail) && begins(after, *tail));
    (head, tail.unwrap_or(0))
}

const BLOCK: usize = 4096;

/// What words end with: lines, and the tags of XML.
const ENDS: [char; 2] = ['\n', '>'];

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(ENDS)
}

/// Behind how many words of each two texts are alike again that are not at their beginning. What
/// they have in common at their ends is not in them.
fn alike_again(old: &[&str], new: &[&str]) -> (usize, usize) {
    let mut runs = HashMap::new();
    for (gone, run) in old.windows(ALIKE_AGAIN).take(LOOKED_THROUGH_MAX).enumerate() {
        runs.entry(run).or_insert(gone);
    }
    let mut best = None;
    for (come, run) in new.windows(ALIKE_AGAIN).take(LOOKED_THROUGH_MAX).enumerate() {
        if best.is_some_and(|(gone, least)| come >= gone + least) {
            break;
        }
        if let Some(gone) = runs.get(run).copied()
            && best.is_none_or(|(least, other)| gone + come < least + other)
        {
            best = Some((gone, come));
        }
    }
    best.unwrap_or((old.len(), new.len()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::{
        Author::{self, Appcmd, Editor, Hand},
        Part, Piece, Replaced, as_before,
    };
    use crate::home::Form;

    /// What the last of these texts is written as, when the others came before it.
    fn written(form: Form, texts: &[(&str, Author)]) -> Option<String> {
        let ((now, by), rest) = texts.split_last().unwrap();
        let pair = |pair: &[(&str, Author)]| Replaced::between(pair[0].0, pair[1].0, pair[1].1);
        let before = rest.windows(2).map(|two| Arc::new(pair(two).unwrap()));
        let mut before: Vec<_> = before.collect();
        before.reverse();
        as_before(form, (rest.last().unwrap().0, now, *by), &before)
    }

    #[test]
    fn what_says_the_same_again_is_written_as_it_was() {
        let site =
            |inner: &str| format!("<sites>\n  <site name='a'>\n{inner}  </site>\n</sites>\n");
        let first = site("    <limits />\n    <!-- c -->\n");
        let set = site("    <limits maxBandwidth=\"5\" />\n    <!-- c -->\n");
        let unset = site("    <!-- c -->\n");
        for by in [Editor, Appcmd] {
            let texts = [(&*first, Hand), (&*set, by), (&*unset, by)];
            assert_eq!(written(Form::Iis, &texts).as_ref(), Some(&first));
        }
        // Whoever takes the element away themselves has it gone.
        assert_eq!(written(Form::Iis, &[(&first, Hand), (&unset, Appcmd)]), None);
        // Nothing goes behind what somebody wrote there by hand,
        let noted = site("    <limits maxBandwidth=\"5\" /><!-- d -->\n    <!-- c -->\n");
        let gone = site("    <!-- d -->\n    <!-- c -->\n");
        let texts = [(&*first, Hand), (&set, Editor), (&noted, Hand), (&gone, Editor)];
        assert_eq!(written(Form::Iis, &texts), None);
        // unless it was taken back by hand too.
        let texts =
            [(&*first, Hand), (&set, Editor), (&noted, Hand), (&set, Hand), (&unset, Editor)];
        assert_eq!(written(Form::Iis, &texts), Some(first));
    }

    #[test]
    fn a_line_that_was_broken_is_whole_again() {
        let first = "version = 1\n\n[[site]]\nname = 'a'\nbindings = ['b'] # c\n";
        let broken = "version = 1\n\n[[site]]\nname = 'a'\nbindings = [\n  'b',\n  'd',\n] # c\n";
        let less = "version = 1\n\n[[site]]\nname = 'a'\nbindings = [\n  'b',\n] # c\n";
        let texts = [(first, Hand), (broken, Editor), (less, Editor)];
        assert_eq!(written(Form::Toml, &texts).as_deref(), Some(first));
        let other = less.replace('b', "e");
        assert_eq!(written(Form::Toml, &[(first, Hand), (broken, Editor), (&other, Editor)]), None);
    }

    #[test]
    fn other_changes_elsewhere_are_in_nobodys_way() {
        let text = |first: &str, last: &str| {
            let lines: String = (0..400).map(|line| format!("<b n='{line}' />\n")).collect();
            format!("<r>\n<s n='1'>\n{first}</s>\n{lines}<s n='2'>\n{last}</s>\n</r>\n")
        };
        let (bare, set) = ("<limits />\n", "<limits a=\"1\" />\n");
        let texts = [text(bare, bare), text(set, bare), text(set, set), text("", set)];
        let texts: Vec<_> = texts.iter().map(|text| (&**text, Editor)).collect();
        assert_eq!(written(Form::Iis, &texts), Some(text(bare, set)));
    }

    proptest! {
        #[test]
        fn what_was_replaced_gives_the_text_before(
            before in "([a-c]{0,2}[>\n]){0,40}[a-c]{0,2}",
            after in "([a-c]{0,2}[>\n]){0,40}[a-c]{0,2}",
        ) {
            if let Some(replaced) = Replaced::between(&before, &after, Hand) {
                // A piece at the very end of a text would be beside it, not in it.
                let around = |piece: &Piece| Piece { at: piece.at + 1, ..piece.clone() };
                let pieces = replaced.pieces.iter().map(around).collect();
                let mut part = Part { at: 0, text: format!("<{after}>") };
                part.take_back(&Replaced { pieces, ..replaced });
                prop_assert_eq!(part.text, format!("<{before}>"));
            }
        }

        #[test]
        fn any_text_is_looked_at(
            texts in prop::collection::vec("(<a|<b |c='1'|/>|>|</a>|</b>|<!--|-->|\n|é|\\[\\[s\\]\\]|d = 1|'){0,12}", 2..6),
        ) {
            for form in [Form::Toml, Form::Iis] {
                let texts: Vec<_> = texts.iter().map(|text| (&**text, Editor)).collect();
                written(form, &texts);
            }
        }
    }
}
