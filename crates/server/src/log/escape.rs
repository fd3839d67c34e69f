//! What a client sent, made harmless for one line of text: no value can end its field, its quotes
//! or its line, and nothing but printable ASCII is left.

use crate::limits::LOG_FIELD_BYTES_MAX;

/// What is put behind a value that was cut.
const CUT: &[u8] = b"...";

/// A value of the W3C format: `-` for an empty one, `+` for spaces as IIS writes them, and `%22`
/// for quotes and everything that is not printable ASCII.
pub(crate) fn w3c(out: &mut Vec<u8>, value: &[u8]) {
    if value.is_empty() {
        return out.push(b'-');
    }
    let (value, cut) = bounded(value);
    let from = out.len();
    out.extend_from_slice(value);
    // Without a branch, so that the compiler takes many bytes at once. Nearly all values end here.
    let mut odd = false;
    for byte in out.get_mut(from..).unwrap_or_default() {
        odd |= !(b' '..=b'~').contains(byte) | (*byte == b'"');
        *byte = if *byte == b' ' { b'+' } else { *byte };
    }
    if odd {
        out.truncate(from);
        for byte in value {
            match byte {
                b' ' => out.push(b'+'),
                b'"' | ..b' ' | 0x7f.. => hex(out, b"%", *byte),
                _ => out.push(*byte),
            }
        }
    }
    out.extend_from_slice(cut);
}

/// A value between quotes of the combined format, or one without quotes around it: `\x22` for what
/// could end it and for everything that is not printable ASCII, as nginx writes it.
pub(crate) fn combined(out: &mut Vec<u8>, value: &[u8], quoted: bool) {
    if value.is_empty() {
        return out.push(b'-');
    }
    let (value, cut) = bounded(value);
    for byte in value {
        match byte {
            b' ' if quoted => out.push(b' '),
            b'"' | b'\\' | ..=b' ' | 0x7f.. => hex(out, b"\\x", *byte),
            _ => out.push(*byte),
        }
    }
    out.extend_from_slice(cut);
}

/// The inside of a JSON string (RFC 8259, 7). What is not UTF-8 becomes U+FFFD.
pub(crate) fn json(out: &mut Vec<u8>, value: &[u8]) {
    let (value, cut) = bounded(value);
    let plain = |byte: &u8| (b' '..=b'~').contains(byte) & (*byte != b'"') & (*byte != b'\\');
    if value.iter().all(plain) {
        out.extend_from_slice(value);
    } else {
        let mut units = [0; 2];
        for one in String::from_utf8_lossy(value).chars() {
            match u8::try_from(one) {
                Ok(byte) if plain(&byte) => out.push(byte),
                _ => {
                    for unit in one.encode_utf16(&mut units) {
                        let [high, low] = unit.to_be_bytes();
                        hex(out, b"\\u", high);
                        hex(out, b"", low);
                    }
                }
            }
        }
    }
    out.extend_from_slice(cut);
}

fn bounded(value: &[u8]) -> (&[u8], &'static [u8]) {
    match value.get(..LOG_FIELD_BYTES_MAX) {
        Some(start) if start.len() < value.len() => (start, CUT),
        _ => (value, b""),
    }
}

fn hex(out: &mut Vec<u8>, before: &[u8], byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(before);
    for digit in [byte >> 4, byte & 15] {
        out.extend(DIGITS.get(usize::from(digit)));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_value_stays_in_its_field() {
        let check = |value: &[u8], expected: &str| {
            assert_eq!(of(|out| w3c(out, value)), expected);
        };
        check(b"", "-");
        check(b"Mozilla/5.0 (X11; Linux)", "Mozilla/5.0+(X11;+Linux)");
        check(b"a\r\n#Fields: x\t\"", "a%0D%0A#Fields:+x%09%22");
        check("ä".as_bytes(), "%C3%A4");
        check(&[0, 0x7f, 0xff], "%00%7F%FF");
    }

    #[test]
    fn a_value_stays_in_its_quotes() {
        assert_eq!(of(|out| combined(out, b"", true)), "-");
        assert_eq!(of(|out| combined(out, b"a \"\\\n\xff", true)), "a \\x22\\x5C\\x0A\\xFF");
        assert_eq!(of(|out| combined(out, b"a b", false)), "a\\x20b");
        assert_eq!(of(|out| json(out, b"a \"\\\n")), "a \\u0022\\u005C\\u000A");
        assert_eq!(of(|out| json(out, "ä\u{1f600}".as_bytes())), "\\u00E4\\uD83D\\uDE00");
        assert_eq!(of(|out| json(out, b"\xff")), "\\uFFFD");
    }

    #[test]
    fn a_value_without_end_is_cut() {
        let long = vec![b'a'; LOG_FIELD_BYTES_MAX + 1];
        for text in [
            of(|out| w3c(out, &long)),
            of(|out| combined(out, &long, true)),
            of(|out| json(out, &long)),
        ] {
            assert_eq!(text.len(), LOG_FIELD_BYTES_MAX + CUT.len());
            assert!(text.ends_with("a..."));
        }
    }

    proptest! {
        #[test]
        fn nothing_but_printable_ascii_is_left(value in prop::collection::vec(any::<u8>(), 0..100)) {
            let text = of(|out| w3c(out, &value));
            prop_assert!(!text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && b != b'"'));
            let text = of(|out| combined(out, &value, false));
            prop_assert!(!text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && b != b'"'));
            let text = of(|out| combined(out, &value, true));
            prop_assert!(text.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'"'));
            let text = of(|out| json(out, &value));
            let ascii = text.bytes().all(|b| (b' '..=b'~').contains(&b));
            prop_assert!(ascii && !text.contains('"'));
        }
    }
}
