//! The `Range` field (RFC 9110, 14): which bytes of a file of a known length are asked for.
//!
//! Several ranges are served too, in the order in which they were asked for, but no byte twice:
//! ranges that overlap or touch become one. Without that, `multipart/byteranges` is what attackers
//! use to multiply work (CVE-2011-3192).

use std::fmt;

use crate::limits;

/// Bytes `first` to `last` of a file, both included: `first <= last < length`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    first: u64,
    last: u64,
}

/// What a `Range` field asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ranges {
    /// The field says nothing that is served: answer as if it were not there.
    Ignored,
    /// One range, inside the file.
    One(ByteRange),
    /// At least two, inside the file, that neither overlap nor touch.
    Many(Vec<ByteRange>),
    /// Well-formed, and nothing of it lies inside the file: 416.
    Unsatisfiable,
}

/// Reads a `Range` field for a file of `length` bytes.
///
/// Malformed fields, other units, and more than [`limits::RANGES_MAX`] ranges are ignored.
/// An end behind the file's is cut; a number too large for 64 bits is behind every end.
/// A suffix of an empty file is the whole of it and has no `Content-Range`, so it is ignored.
#[must_use]
pub fn parse(value: &[u8], length: u64) -> Ranges {
    let Some((unit, set)) = split_once(value, b'=') else {
        return Ranges::Ignored;
    };
    if !unit.eq_ignore_ascii_case(b"bytes") {
        return Ranges::Ignored;
    }
    let mut seen = 0;
    let mut first = None;
    // Most ask for one, which needs no list.
    let mut further = Vec::new();
    // Empty elements of a list count for nothing (RFC 9110, 5.6.1.2).
    for spec in set.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|s| !s.is_empty()) {
        seen += 1;
        if seen > limits::RANGES_MAX {
            return Ranges::Ignored;
        }
        match parse_one(spec, length) {
            Spec::Malformed | Spec::EmptyFile => return Ranges::Ignored,
            Spec::Behind => {}
            Spec::Inside(range) if first.is_none() => first = Some(range),
            Spec::Inside(range) => further.push(range),
        }
    }
    match first {
        Some(range) if further.is_empty() => Ranges::One(range),
        Some(range) => {
            let mut all = vec![range];
            further.into_iter().for_each(|range| add(&mut all, range));
            if let [range] = *all { Ranges::One(range) } else { Ranges::Many(all) }
        }
        None if seen == 0 => Ranges::Ignored,
        None => Ranges::Unsatisfiable,
    }
}

/// Adds a range to others that neither overlap nor touch; those that it meets become one with it,
/// in the place of the first of them (RFC 9110, 15.3.7.2).
fn add(all: &mut Vec<ByteRange>, mut range: ByteRange) {
    let mut place = None;
    let mut at = 0;
    all.retain(|other| {
        let meets = other.first <= range.last.saturating_add(1)
            && range.first <= other.last.saturating_add(1);
        if meets {
            range =
                ByteRange { first: range.first.min(other.first), last: range.last.max(other.last) };
            place = place.or(Some(at));
        }
        at += 1;
        !meets
    });
    // Those that it did not meet, it does not meet now: it became no more than it and what it met.
    all.insert(place.unwrap_or(all.len()).min(all.len()), range);
}

enum Spec {
    Malformed,
    EmptyFile,
    Behind,
    Inside(ByteRange),
}

fn parse_one(spec: &[u8], length: u64) -> Spec {
    match split_once(spec, b'-') {
        Some((b"", suffix)) => match number(suffix) {
            None => Spec::Malformed,
            Some(0) => Spec::Behind,
            Some(_) if length == 0 => Spec::EmptyFile,
            Some(count) => {
                Spec::Inside(ByteRange { first: length.saturating_sub(count), last: length - 1 })
            }
        },
        Some((first, last)) => {
            let last = if last.is_empty() { Some(u64::MAX) } else { number(last) };
            match (number(first), last) {
                (Some(first), Some(last)) if first <= last => {
                    if first < length {
                        Spec::Inside(ByteRange { first, last: last.min(length - 1) })
                    } else {
                        Spec::Behind
                    }
                }
                _ => Spec::Malformed,
            }
        }
        None => Spec::Malformed,
    }
}

fn split_once(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let mut parts = text.splitn(2, |&byte| byte == at);
    Some((parts.next()?, parts.next()?))
}

/// Digits and nothing else: no sign, no white space.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |sum, digit| {
        digit
            .is_ascii_digit()
            .then(|| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
    })
}

impl ByteRange {
    /// Bytes before it.
    #[must_use]
    pub fn first(self) -> u64 {
        self.first
    }

    /// The number of bytes, at least one.
    #[must_use]
    pub fn length(self) -> u64 {
        self.last - self.first + 1
    }

    /// These bytes of a file's content; none if it does not hold them.
    pub(super) fn of(self, content: &[u8]) -> &[u8] {
        let first = usize::try_from(self.first).ok();
        let end = usize::try_from(self.last).ok().and_then(|last| last.checked_add(1));
        first.zip(end).and_then(|(first, end)| content.get(first..end)).unwrap_or_default()
    }

    /// The value of `Content-Range` (RFC 9110, 14.4) within `length` bytes.
    #[must_use]
    pub fn content_range(self, length: u64) -> String {
        format!("bytes {}-{}/{length}", self.first, self.last)
    }
}

/// As a `Range` field asks for it.
impl fmt::Display for ByteRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "bytes={}-{}", self.first, self.last)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `expected`: "first-last", "ignored" or "416".
    #[track_caller]
    fn check(value: &str, length: u64, expected: &str) {
        let answer = match parse(value.as_bytes(), length) {
            Ranges::Ignored => "ignored".to_owned(),
            Ranges::Unsatisfiable => "416".to_owned(),
            Ranges::One(range) => format!("{}-{}", range.first, range.last),
            Ranges::Many(all) => all
                .iter()
                .map(|range| format!("{}-{}", range.first, range.last))
                .collect::<Vec<_>>()
                .join(" "),
        };
        assert_eq!(answer, expected, "{value:?} of {length} bytes");
    }

    #[test]
    fn one_range_is_cut_to_the_file() {
        check("bytes=0-0", 10, "0-0");
        check("bytes=0-9", 10, "0-9");
        check("bytes=3-5", 10, "3-5");
        check("bytes=3-", 10, "3-9");
        check("bytes=9-", 10, "9-9");
        check("bytes=5-100", 10, "5-9");
        check("bytes=-1", 10, "9-9");
        check("bytes=-10", 10, "0-9");
        check("bytes=-11", 10, "0-9");
        check("BYTES=0-1", 10, "0-1");
        check("bytes= 0-1 ", 10, "0-1");
        check("bytes=0-99999999999999999999999", 10, "0-9");
        check("bytes=-99999999999999999999999", 10, "0-9");
    }

    #[test]
    fn what_lies_behind_the_end_is_unsatisfiable() {
        check("bytes=10-", 10, "416");
        check("bytes=10-20", 10, "416");
        check("bytes=-0", 10, "416");
        check("bytes=0-", 0, "416");
        check("bytes=99999999999999999999999-", 10, "416");
        check("bytes=10-,20-30", 10, "416");
    }

    #[test]
    fn a_malformed_field_is_ignored() {
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=a-b",
            "bytes=1",
            "bytes=5-3",
            "bytes=1-2-3",
            "bytes=--1",
            "bytes=+1-2",
            "bytes=1 -2",
            "bytes=0x1-2",
            "lines=1-2",
            "bytes =0-1",
            " bytes=0-1",
            "bytes=0-1,x",
            "bytes=0-1;",
            "bytes 0-1",
            "bytes==0-1",
        ] {
            check(value, 10, "ignored");
        }
        check("bytes=-5", 0, "ignored");
    }

    #[test]
    fn several_ranges_are_served_in_their_order_and_no_byte_twice() {
        check("bytes=0-1,5-6", 10, "0-1 5-6");
        check("bytes=5-6,0-1", 10, "5-6 0-1");
        check("bytes=8-,0-1,-1,4-4", 10, "8-9 0-1 4-4");
        check("bytes=0-1,2-3", 10, "0-3");
        check("bytes=2-3,0-1", 10, "0-3");
        check("bytes=0-1,8-9,4-5,1-4", 10, "0-5 8-9");
        check("bytes=4-5,8-9,0-1,2-7", 10, "0-9");
        check("bytes=0-,0-,0-", 10, "0-9");
        check("bytes=0-1,20-30", 10, "0-1");
        check("bytes=20-30,0-1,-0,5-", 10, "0-1 5-9");
        check("bytes=,0-1,", 10, "0-1");
        check(
            "bytes=0-0,18446744073709551614-",
            u64::MAX,
            "0-0 18446744073709551614-18446744073709551614",
        );
        let many = |count: usize| format!("bytes=0-1{}", ",20-30".repeat(count - 1));
        check(&many(limits::RANGES_MAX), 10, "0-1");
        check(&many(limits::RANGES_MAX + 1), 10, "ignored");
    }

    proptest! {
        #[test]
        fn a_range_lies_inside_the_file_whatever_is_sent(
            value in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..40),
                "bytes=[0-9,\\- ]{0,30}".prop_map(String::into_bytes),
            ],
            length in prop_oneof![0_u64..20, any::<u64>()],
        ) {
            let ranges = match parse(&value, length) {
                Ranges::One(range) => vec![range],
                Ranges::Many(all) => all,
                Ranges::Ignored | Ranges::Unsatisfiable => Vec::new(),
            };
            for range in &ranges {
                prop_assert!(range.first <= range.last && range.last < length);
                prop_assert!(range.length() >= 1 && range.length() <= length);
            }
        }

        #[test]
        fn a_range_that_is_printed_is_read_back(length in 1..u64::MAX, a: u64, b: u64) {
            let (a, b) = (a % length, b % length);
            let range = ByteRange { first: a.min(b), last: a.max(b) };
            prop_assert_eq!(parse(range.to_string().as_bytes(), length), Ranges::One(range));
        }

        #[test]
        fn several_ranges_have_exactly_the_bytes_that_were_asked_for(
            asked in proptest::collection::vec((0_u64..60, 0_u64..20), 1..=limits::RANGES_MAX),
        ) {
            let length = 50;
            let text: Vec<_> =
                asked.iter().map(|(first, more)| format!("{first}-{}", first + more)).collect();
            let ranges = match parse(format!("bytes={}", text.join(", ")).as_bytes(), length) {
                Ranges::One(range) => vec![range],
                Ranges::Many(all) => {
                    prop_assert!(all.len() > 1);
                    all
                }
                Ranges::Unsatisfiable => Vec::new(),
                Ranges::Ignored => return Err(TestCaseError::fail("well-formed")),
            };
            for byte in 0..length {
                let wanted = asked.iter().any(|(first, more)| (*first..=first + more).contains(&byte));
                let held = ranges.iter().filter(|r| (r.first..=r.last).contains(&byte)).count();
                prop_assert_eq!(held, usize::from(wanted), "byte {}", byte);
                let touched = ranges.iter().any(|r| r.first == byte)
                    && ranges.iter().any(|r| r.last + 1 == byte);
                prop_assert!(!touched, "two ranges touch before byte {}", byte);
            }
        }
    }
}
