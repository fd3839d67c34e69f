//! A text cut into parts that can be read by themselves: each `[[site]]` and `[[certificate]]` with
//! the tables below it, and the rest. Read whole, ten thousand sites take tens of megabytes of
//! tables and most of a tenth of a second; a part at a time they take what one site does.
//!
//! Only headers are looked for here. What is not as people write it is not cut at all: then the text
//! is read whole, with the same result.

use super::Span;

/// A text in parts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parts {
    /// Everything else, at its place: sites and certificates are blanks.
    pub(super) rest: String,
    /// Each `[[site]]`.
    pub(super) sites: Vec<Span>,
    /// Each `[[certificate]]`.
    pub(super) certificates: Vec<Span>,
}

/// What stands for what is not part of the rest.
const BLANKS: &str = "                                                                ";

/// What a header begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rest,
    Site,
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

/// The parts of a text; nothing where it is not clear where they begin.
pub(super) fn cut(text: &str) -> Option<Parts> {
    let mut parts = Parts { rest: String::with_capacity(text.len()), ..Parts::default() };
    let mut scanner = Scanner { bytes: text.as_bytes(), at: 0, depth: 0 };
    let (mut kind, mut start) = (Kind::Rest, 0);
    while scanner.at < scanner.bytes.len() {
        scanner.blanks();
        let at = scanner.at;
        if scanner.peek() == Some(b'[') {
            let (next, begins) = scanner.header()?;
            // A table of the last of its kind, and that stands elsewhere.
            if !begins && next != Kind::Rest && next != kind {
                return None;
            }
            if begins || next != kind {
                parts.add(text, kind, start..at);
                (kind, start) = (next, at);
            }
        }
        scanner.lines()?;
    }
    parts.add(text, kind, start..text.len());
    Some(parts)
}

impl Parts {
    fn add(&mut self, text: &str, kind: Kind, part: Span) {
        let own = text.get(part.clone()).unwrap_or_default();
        match kind {
            Kind::Rest => return self.rest.push_str(own),
            Kind::Site => self.sites.push(part),
            Kind::Certificate => self.certificates.push(part),
        }
        let mut blanks = own.len().saturating_sub(1);
        while blanks > 0 {
            let some = BLANKS.get(..blanks).unwrap_or(BLANKS);
            self.rest.push_str(some);
            blanks -= some.len();
        }
        self.rest.push('\n');
    }
}

/// What can be said of a site or certificate without reading it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outline {
    /// Behind its last line that is neither blank nor a comment.
    pub(super) end: usize,
    /// Its name, where it has one.
    pub(super) name: Option<String>,
    /// Its number, where one is written.
    pub(super) number: Option<i64>,
}

/// The outline of a part of a text; nothing where it is not written as people write it.
pub(super) fn outline(text: &str) -> Option<Outline> {
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
                b"name" => outline.name = Some(scanner.simple_text()?.to_owned()),
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

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn rest(&self) -> &[u8] {
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
    fn key(&mut self) -> Option<&[u8]> {
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
    fn simple_text(&mut self) -> Option<&str> {
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
            let Some(byte) = self.peek() else { return (self.depth == 0).then_some(()) };
            self.at += 1;
            match byte {
                b'\n' if self.depth == 0 => return Some(()),
                b'#' => {
                    let rest = self.rest();
                    let end = rest.iter().position(|byte| *byte == b'\n');
                    self.at += end.unwrap_or(rest.len());
                }
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
        let parts = cut(text).unwrap();
        let own = |spans: &[Span]| -> Vec<String> {
            spans.iter().map(|span| text[span.clone()].to_owned()).collect()
        };
        assert_eq!(own(&parts.sites), sites, "sites");
        assert_eq!(own(&parts.certificates), certificates, "certificates");
        assert_eq!(parts.rest.split_whitespace().collect::<String>(), rest);
        assert_eq!(parts.rest.len(), text.len());
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
            assert_eq!(cut(text), None, "{text}");
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
            let Some(parts) = cut(&text) else { return Ok(()) };
            for span in parts.sites.iter().chain(&parts.certificates) {
                prop_assert!(text.get(span.clone()).is_some_and(|part| part.starts_with("[[")));
            }
            prop_assert_eq!(parts.rest.len(), text.len());
        }
    }
}
