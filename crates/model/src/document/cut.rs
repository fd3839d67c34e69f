//! A text cut into parts that can be read by themselves: each `[[site]]` and `[[certificate]]` with
//! the tables below it, and the rest. Read whole, ten thousand sites take tens of megabytes of
//! tables and most of a tenth of a second; a part at a time they take what one site does.
//!
//! Only headers are looked for here. What is not as people write it is not cut at all: then the text
//! is read whole, with the same result.

use super::{Span, before::Known};

/// A text in parts.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// Everything else, at its place: sites and certificates above some of it are blanks.
    pub(super) rest: String,
    /// Sites and certificates, in the order of the text.
    pub(super) things: Vec<Part>,
    /// Blanks that are due when there is more of the rest.
    blanks: usize,
}

/// A part of a text that can be read by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What it is.
    pub kind: Kind,
    /// Where it stands: from its begin to what is not of it.
    pub span: Span,
    /// What else in the text is of it alone: each `location` of a site, in IIS's form.
    pub elsewhere: Vec<Span>,
    /// Whether it is read again though nothing of it has changed: what it says depends on more
    /// than it stands beside, or it has places in the text that are not within it.
    pub again: bool,
    /// Which part of the text before it is, letter for letter; nothing where it is none.
    pub(super) known: Option<usize>,
}

impl Part {
    /// A part that says the same wherever it stands.
    #[must_use]
    pub fn new(kind: Kind, span: Span) -> Self {
        Self { kind, span, elsewhere: Vec::new(), again: false, known: None }
    }
}

/// What a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What is neither: it may hold for all.
    Rest,
    /// A site.
    Site,
    /// A certificate that has a name.
    Certificate,
}

impl Kind {
    fn of(key: &[u8]) -> Self {
        match key {
            b"site" => Self::Site,
            b"certificate" => Self::Certificate,
            _ => Self::Rest,
        }
    }
}

/// The parts of a text; nothing where it is not clear where they begin. What stands there as it did
/// in the text before is passed over at once.
pub(super) fn cut(text: &str, known: Option<&Known<'_>>) -> Option<Parts> {
    let mut parts = Parts { rest: String::new(), ..Parts::default() };
    let mut scanner = Scanner { bytes: text.as_bytes(), at: 0, depth: 0 };
    let mut known = known.map(Known::walk);
    let mut part = Part::new(Kind::Rest, 0..0);
    while scanner.at < scanner.bytes.len() {
        scanner.blanks();
        let at = scanner.at;
        if scanner.peek() == Some(b'[') {
            let (next, begins) = scanner.header()?;
            // A table of the last of its kind, and that stands elsewhere.
            if !begins && next != Kind::Rest && next != part.kind {
                return None;
            }
            if begins || next != part.kind {
                parts.add(text, part, at);
                part = Part::new(next, at..at);
                let same = known.as_mut().filter(|_| next != Kind::Rest);
                let same = same.and_then(|known| known.at(text, at));
                // The last line of a text may go on in another.
                let is_whole = |end: &usize| {
                    let own = text.get(at..*end).unwrap_or_default();
                    *end == text.len() || own.trim_end_matches([' ', '\t']).ends_with('\n')
                };
                if let Some((place, end)) = same.filter(|(_, end)| is_whole(end)) {
                    part.known = Some(place);
                    scanner = Scanner { at: end, depth: 0, ..scanner };
                    continue;
                }
            } else {
                part.known = None;
            }
        } else if scanner.peek().is_some() {
            // It goes on behind what it was before.
            part.known = None;
        }
        scanner.lines()?;
    }
    parts.add(text, part, text.len());
    Some(parts)
}

impl Parts {
    fn add(&mut self, text: &str, mut part: Part, end: usize) {
        part.span.end = end;
        let own = text.get(part.span.clone()).unwrap_or_default();
        if part.kind == Kind::Rest {
            if !own.is_empty() {
                let blanks = std::mem::take(&mut self.blanks);
                self.rest.extend(std::iter::repeat_n(' ', blanks.saturating_sub(1)));
                self.rest.push_str(if blanks > 0 { "\n" } else { "" });
                self.rest.push_str(own);
            }
            return;
        }
        self.blanks += own.len();
        self.things.push(part);
    }

    /// Where the sites stand, or the certificates.
    pub(super) fn spans(&self, kind: Kind) -> impl Iterator<Item = &Span> {
        self.things.iter().filter(move |part| part.kind == kind).map(|part| &part.span)
    }
}

/// What can be said of a site or certificate without reading it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outline<'t> {
    /// Behind its last line that is neither blank nor a comment.
    pub(super) end: usize,
    /// Its name, where it has one.
    pub(super) name: Option<&'t str>,
    /// Its number, where one is written.
    pub(super) number: Option<i64>,
}

/// The outline of a part of a text; nothing where it is not written as people write it.
pub(super) fn outline(text: &str) -> Option<Outline<'_>> {
    let mut outline = Outline::default();
    let mut scanner = Scanner { bytes: text.as_bytes(), at: 0, depth: 0 };
    scanner.header()?;
    scanner.lines()?;
    outline.end = scanner.at;
    let mut own = true;
    while scanner.at < scanner.bytes.len() {
        scanner.blanks();
        match scanner.peek() {
            None | Some(b'\n' | b'\r' | b'#') => {
                scanner.lines()?;
                continue;
            }
            Some(b'[') => {
                own = false;
                scanner.header()?;
            }
            Some(b'"' | b'\'') if own => return None,
            Some(_) if own => match scanner.key()? {
                b"name" => outline.name = Some(scanner.simple_text()?),
                b"id" => outline.number = Some(scanner.simple_number()?),
                _ => {}
            },
            Some(_) => {}
        }
        scanner.lines()?;
        outline.end = scanner.at;
    }
    Some(outline)
}

struct Scanner<'t> {
    bytes: &'t [u8],
    at: usize,
    /// How many brackets and braces are open.
    depth: usize,
}

impl<'t> Scanner<'t> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn rest(&self) -> &'t [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn blanks(&mut self) {
        while let Some(b' ' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// Reads as much of a header as says what it begins, and whether that is another one of its
    /// kind. Nothing for a header of a site or certificate that does not belong to one above it.
    fn header(&mut self) -> Option<(Kind, bool)> {
        self.at += 1;
        let is_array = self.peek() == Some(b'[');
        self.at += usize::from(is_array);
        self.depth = 1 + usize::from(is_array);
        self.blanks();
        let key = self.rest();
        let length = key.iter().take_while(|byte| is_bare(**byte)).count();
        let kind = Kind::of(key.get(..length)?);
        self.at += length;
        self.blanks();
        match (kind, self.peek()?) {
            // Quotes can hide a name, and brackets.
            _ if length == 0 => None,
            (Kind::Rest, b']' | b'.') => Some((kind, false)),
            (_, b']') => is_array.then_some((kind, true)),
            (_, b'.') => Some((kind, false)),
            _ => None,
        }
    }

    /// Reads a bare key and what stands behind it up to its value. A key with dots is none that
    /// is asked for.
    fn key(&mut self) -> Option<&'t [u8]> {
        let from = self.at;
        while self.peek().is_some_and(is_bare) {
            self.at += 1;
        }
        let to = self.at;
        self.blanks();
        match self.peek()? {
            b'=' => self.at += 1,
            b'.' => return Some(b""),
            _ => return None,
        }
        self.blanks();
        self.bytes.get(from..to)
    }

    /// The string that stands here, in one line and without escapes; behind it is the next place.
    fn simple_text(&mut self) -> Option<&'t str> {
        let quote = self.peek().filter(|byte| matches!(byte, b'"' | b'\''))?;
        let inner = self.bytes.get(self.at + 1..)?;
        let length = inner.iter().position(|byte| *byte == quote)?;
        let text = inner.get(..length)?;
        if text.iter().any(|byte| matches!(byte, b'\\' | b'\n')) || length == 0 {
            return None;
        }
        self.at += length + 2;
        std::str::from_utf8(text).ok()
    }

    /// The number that stands here, in plain digits.
    fn simple_number(&mut self) -> Option<i64> {
        let rest = self.rest();
        let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let digits = std::str::from_utf8(rest.get(..length)?).ok()?;
        let number = digits.parse().ok()?;
        self.at += length;
        let is_whole = matches!(self.peek(), None | Some(b' ' | b'\t' | b'\r' | b'\n' | b'#'));
        is_whole.then_some(number)
    }

    /// Goes to the begin of the next line that is inside of nothing.
    fn lines(&mut self) -> Option<()> {
        loop {
            let plain = self.rest().iter().take_while(|byte| is_plain(**byte)).count();
            self.at += plain;
            let Some(byte) = self.peek() else { return (self.depth == 0).then_some(()) };
            self.at += 1;
            match byte {
                b'\n' if self.depth == 0 => return Some(()),
                b'#' => self.at += self.rest().iter().take_while(|byte| **byte != b'\n').count(),
                b'[' | b'{' => self.depth += 1,
                b']' | b'}' => self.depth = self.depth.checked_sub(1)?,
                b'"' | b'\'' => self.text(byte)?,
                _ => {}
            }
        }
    }

    /// Goes behind a string whose first quote was just read.
    fn text(&mut self, quote: u8) -> Option<()> {
        let is_long = self.rest().starts_with(&[quote, quote]);
        if is_long {
            self.at += 2;
        }
        loop {
            let ends = |byte: u8| byte == quote || matches!(byte, b'\\' | b'\n');
            self.at += self.rest().iter().take_while(|byte| !ends(**byte)).count();
            let byte = self.peek()?;
            self.at += 1;
            match byte {
                b'\\' if quote == b'"' => self.at += 1,
                b'\n' if !is_long => return None,
                _ if byte != quote => {}
                _ if !is_long => return Some(()),
                _ if self.rest().starts_with(&[quote, quote]) => {
                    self.at += 2;
                    // Up to two quotes may stand before the three that end it.
                    for _ in 0..2 {
                        self.at += usize::from(self.peek() == Some(quote));
                    }
                    return Some(());
                }
                _ => {}
            }
        }
    }
}

/// Which bytes, outside of strings and comments, are of interest.
const SPECIAL: [bool; 256] = {
    let mut special = [false; 256];
    let mut bytes: &[u8] = b"\n#[]{}\"'";
    while let [byte, rest @ ..] = bytes {
        #[allow(clippy::indexing_slicing, reason = "there is a place for each byte")]
        {
            special[*byte as usize] = true;
        }
        bytes = rest;
    }
    special
};

fn is_plain(byte: u8) -> bool {
    SPECIAL.get(usize::from(byte)) == Some(&false)
}

fn is_bare(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a text is cut into: sites, certificates, and the rest without blanks.
    #[track_caller]
    fn check(text: &str, sites: &[&str], certificates: &[&str], rest: &str) {
        let parts = cut(text, None).unwrap();
        let own = |kind: Kind| -> Vec<String> {
            parts.spans(kind).map(|span| text[span.clone()].to_owned()).collect()
        };
        assert_eq!(own(Kind::Site), sites, "sites");
        assert_eq!(own(Kind::Certificate), certificates, "certificates");
        assert_eq!(parts.rest.split_whitespace().collect::<String>(), rest);
        assert_stands(&parts, text);
    }

    /// What is not blank of the rest stands where it does in the text.
    #[track_caller]
    fn assert_stands(parts: &Parts, text: &str) {
        let all = parts.rest.bytes().zip(text.bytes());
        let differs = |(own, other): (u8, u8)| !matches!(own, b' ' | b'\n') && own != other;
        assert!(parts.rest.len() <= text.len() && !all.into_iter().any(differs), "{text}");
    }

    #[test]
    fn sites_and_certificates_end_where_something_else_begins() {
        let first = "[[site]]\na=1\n[site.proxy]\n[[ site . redirects ]]\n";
        let (second, certificate) = ("[[site]]\nb=2\n", "[[certificate]]\nd=4");
        let text = format!("v=1\n{first}{second}[server]\nc=3\n{certificate}");
        check(&text, &[first, second], &[certificate], "v=1[server]c=3");
        check("[sites]\n[[site-x]]\n[a.site]\n", &[], &[], "[sites][[site-x]][a.site]");
    }

    #[test]
    fn what_looks_like_a_header_inside_of_a_value_is_none() {
        for value in [
            r#""""
[[site]]
"" \"""""#,
            "'''\n[server]\n''''",
            "[\n[ 1 ],\n[[2]],\n]",
            r#""\"" # ["#,
            "'\\' # [",
            "{ b = \"}\", c = [\n[3]\n] }",
        ] {
            let text = format!("[[site]]\na = {value}\n");
            check(&text, &[&text], &[], "");
        }
    }

    #[test]
    fn what_is_not_clear_is_not_cut() {
        for text in [
            "[site]\n",
            "[site.proxy]\n",
            "[[site]]\n[server]\n[site.proxy]\n",
            "[[site]]\n[certificate.a]\n",
            "[\"site\"]\n",
            "[[\"site\"]]\n",
            "a = \"b\nc = 1\n",
            "a = [\n[[site]]\n",
            "a = ]\n",
            "a = '''",
            "[",
        ] {
            assert!(cut(text, None).is_none(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_cut_at_whole_characters_and_nothing_is_lost(
            pieces in proptest::collection::vec(
                proptest::sample::select(vec![
                    "[[site]]", "[[certificate]]", "[server]", "[site.a]", "\n", "\"", "'", "[", "]",
                    "{", "}", "#", "\\", "a=", " ", "é",
                ]),
                0..40,
            ),
        ) {
            let text = pieces.concat();
            let Some(parts) = cut(&text, None) else { return Ok(()) };
            for Part { span, .. } in &parts.things {
                prop_assert!(text.get(span.clone()).is_some_and(|part| part.starts_with("[[")));
            }
            assert_stands(&parts, &text);
            let blank = |byte: &u8| matches!(byte, b' ' | b'\n');
            let kept = |text: &str| text.bytes().filter(|byte| !blank(byte)).count();
            let own: String =
                parts.things.iter().map(|part| &text[part.span.clone()]).collect();
            prop_assert_eq!(kept(&own) + kept(&parts.rest), kept(&text));
        }
    }
}
