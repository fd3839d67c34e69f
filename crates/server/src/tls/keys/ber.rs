//! A reader for the few ASN.1 structures around private keys. It takes BER (X.690) and not only
//! DER, because PFX files by Bouncy Castle and NSS have indefinite lengths and octet strings in
//! pieces. It never panics and never allocates more than it was given.

use std::borrow::Cow;

pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTETS: u8 = 0x04;
pub(super) const OBJECT: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;
/// `[0]`, constructed.
pub(super) const CONTEXT_0: u8 = 0xa0;
/// `[0]`, primitive.
pub(super) const CONTEXT_0_PRIMITIVE: u8 = 0x80;

const CONSTRUCTED: u8 = 0x20;
const HIGH_TAG: u8 = 0x1f;
/// Indefinite lengths and pieces of octet strings may be this deep in each other.
const DEPTH_MAX: usize = 16;

/// One element: tag, contents, and both with the length between them.
#[derive(Clone, Copy)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    pub(super) contents: &'a [u8],
    pub(super) whole: &'a [u8],
}

impl<'a> Element<'a> {
    /// What is inside.
    pub(super) fn reader(&self) -> Reader<'a> {
        Reader::new(self.contents)
    }

    /// The bytes of an octet string, which may come in pieces. `[0]` counts as one too.
    pub(super) fn octets(&self) -> Option<Cow<'a, [u8]>> {
        match self.tag {
            OCTETS | CONTEXT_0_PRIMITIVE => Some(Cow::Borrowed(self.contents)),
            tag if tag == OCTETS | CONSTRUCTED || tag == CONTEXT_0 => {
                let mut joined = Vec::with_capacity(self.contents.len());
                join(self.reader(), &mut joined, DEPTH_MAX)?;
                Some(Cow::Owned(joined))
            }
            _ => None,
        }
    }

    /// A number that is not negative and fits.
    pub(super) fn number(&self) -> Option<u32> {
        if self.contents.first()? & 0x80 != 0 {
            return None;
        }
        self.contents.iter().try_fold(0_u32, |number, &byte| {
            number.checked_mul(256).map(|number| number | u32::from(byte))
        })
    }
}

/// Elements one after the other.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next element, whatever it is.
    pub(super) fn any(&mut self) -> Option<Element<'a>> {
        let (element, rest) = split(self.rest, DEPTH_MAX)?;
        self.rest = rest;
        Some(element)
    }

    /// The next element, which must have this tag.
    pub(super) fn expect(&mut self, tag: u8) -> Option<Element<'a>> {
        self.any().filter(|element| element.tag == tag)
    }

    /// The next element if it has this tag; nothing is taken otherwise.
    pub(super) fn optional(&mut self, tag: u8) -> Option<Element<'a>> {
        if *self.rest.first()? == tag { self.any() } else { None }
    }

    /// What is inside the next element, which must be a sequence.
    pub(super) fn sequence(&mut self) -> Option<Self> {
        Some(self.expect(SEQUENCE)?.reader())
    }

    /// The contents of the next element, which must be an object identifier.
    pub(super) fn object(&mut self) -> Option<&'a [u8]> {
        Some(self.expect(OBJECT)?.contents)
    }

    /// The bytes of the next element, which must be an octet string.
    pub(super) fn octets(&mut self) -> Option<Cow<'a, [u8]>> {
        let element = self.any()?;
        if element.tag & !CONSTRUCTED == OCTETS { element.octets() } else { None }
    }

    /// The next element as a number.
    pub(super) fn number(&mut self) -> Option<u32> {
        self.expect(INTEGER)?.number()
    }
}

/// An object identifier as people write it, for messages.
pub(super) fn dotted(object: &[u8]) -> String {
    let mut text = String::new();
    let mut arc = 0_u64;
    for &byte in object {
        arc = (arc << 7) | u64::from(byte & 0x7f);
        if byte & 0x80 != 0 {
            continue;
        }
        if text.is_empty() {
            let first = (arc / 40).min(2);
            text = format!("{first}.{}", arc - first * 40);
        } else {
            text.push_str(&format!(".{arc}"));
        }
        arc = 0;
    }
    text
}

fn split(bytes: &[u8], depth: usize) -> Option<(Element<'_>, &[u8])> {
    let (&tag, after_tag) = bytes.split_first()?;
    if tag & HIGH_TAG == HIGH_TAG {
        return None;
    }
    let (&first, after_length) = after_tag.split_first()?;
    let (contents, rest) = match first {
        0..0x80 => after_length.split_at_checked(usize::from(first))?,
        0x80 => split_indefinite(tag, after_length, depth)?,
        _ => {
            let (length, rest) = after_length.split_at_checked(usize::from(first & 0x7f))?;
            let length = length.iter().try_fold(0_usize, |length, &byte| {
                length.checked_mul(256).map(|length| length | usize::from(byte))
            })?;
            rest.split_at_checked(length)?
        }
    };
    let whole = bytes.get(..bytes.len() - rest.len())?;
    Some((Element { tag, contents, whole }, rest))
}

/// Contents that end with two zero bytes where an element would begin (X.690, 8.1.3.6).
fn split_indefinite(tag: u8, bytes: &[u8], depth: usize) -> Option<(&[u8], &[u8])> {
    if tag & CONSTRUCTED == 0 {
        return None;
    }
    let mut inner = bytes;
    loop {
        if let Some(rest) = inner.strip_prefix(&[0, 0]) {
            return Some((bytes.get(..bytes.len() - inner.len())?, rest));
        }
        inner = split(inner, depth.checked_sub(1)?)?.1;
    }
}

fn join(mut pieces: Reader<'_>, joined: &mut Vec<u8>, depth: usize) -> Option<()> {
    while !pieces.is_empty() {
        let piece = pieces.any()?;
        match piece.tag {
            OCTETS => joined.extend_from_slice(piece.contents),
            tag if tag == OCTETS | CONSTRUCTED => {
                join(piece.reader(), joined, depth.checked_sub(1)?)?;
            }
            _ => return None,
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, proptest};

    use super::{Reader, SEQUENCE, dotted};

    #[test]
    fn definite_and_indefinite_lengths_read_alike() {
        for bytes in [
            &[0x30, 0x05, 0x04, 0x03, 1, 2, 3][..],
            &[0x30, 0x81, 0x05, 0x04, 0x03, 1, 2, 3],
            &[0x30, 0x80, 0x04, 0x03, 1, 2, 3, 0, 0],
            &[0x30, 0x80, 0x24, 0x80, 0x04, 0x01, 1, 0x04, 0x02, 2, 3, 0, 0, 0, 0],
            &[0x30, 0x09, 0x24, 0x07, 0x04, 0x01, 1, 0x04, 0x02, 2, 3],
        ] {
            let octets = Reader::new(bytes).sequence().and_then(|mut inside| inside.octets());
            assert_eq!(octets.as_deref(), Some(&[1, 2, 3][..]), "{bytes:02x?}");
        }
    }

    #[test]
    fn what_is_cut_off_or_not_closed_is_refused() {
        for bytes in [
            &[][..],
            &[0x30],
            &[0x30, 0x05, 0x04],
            &[0x30, 0x80, 0x04, 0x01, 1],
            &[0x30, 0x89, 1, 1, 1, 1, 1, 1, 1, 1, 1],
            &[0x1f, 0x01, 0x00],
            &[0x04, 0x80, 0, 0],
        ] {
            assert!(Reader::new(bytes).any().is_none(), "{bytes:02x?}");
        }
        assert!(Reader::new(&[0x30, 0x80].repeat(100_000)).any().is_none());
    }

    #[test]
    fn an_object_identifier_is_written_with_dots() {
        assert_eq!(dotted(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d]), "1.2.840.113549");
        assert_eq!(dotted(&[0x60, 0x86, 0x48]), "2.16.840");
        assert_eq!(dotted(&[]), "");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = Reader::new(&bytes);
            while let Some(element) = reader.any() {
                let _contents = (element.octets(), element.number(), dotted(element.contents));
                let _inner = Reader::new(element.contents).expect(SEQUENCE);
            }
        }
    }
}
