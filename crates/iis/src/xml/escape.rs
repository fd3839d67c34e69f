//! The five entities, and characters by number.

use std::borrow::Cow;

use super::Quote;

/// A value as it is written between quotes. `>` is escaped too, as IIS does.
#[must_use]
pub fn escape(value: &str, quote: Quote) -> Cow<'_, str> {
    let mut escaped = String::new();
    let mut kept = 0;
    for (at, one) in value.char_indices() {
        let entity = match one {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            '"' if quote == Quote::Double => "&quot;",
            '\'' if quote == Quote::Single => "&apos;",
            // As they are they would be read as blanks.
            '\t' => "&#x9;",
            '\n' => "&#xA;",
            '\r' => "&#xD;",
            _ => continue,
        };
        escaped.push_str(value.get(kept..at).unwrap_or_default());
        escaped.push_str(entity);
        kept = at + one.len_utf8();
    }
    if kept == 0 {
        return Cow::Borrowed(value);
    }
    escaped.push_str(value.get(kept..).unwrap_or_default());
    Cow::Owned(escaped)
}

/// What a text says. It was read before: what is no reference stays as it is.
pub(super) fn unescape(raw: &str) -> Cow<'_, str> {
    resolve(raw, false)
}

/// What an attribute's value says: white space is blanks, unless it is written by its number.
pub(super) fn unescape_attribute(raw: &str) -> Cow<'_, str> {
    resolve(raw, true)
}

fn resolve(raw: &str, blanks: bool) -> Cow<'_, str> {
    let special = |byte: u8| byte == b'&' || (blanks && matches!(byte, b'\t' | b'\n' | b'\r'));
    if !raw.bytes().any(special) {
        return Cow::Borrowed(raw);
    }
    let mut value = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.bytes().position(special) {
        let (before, from) = rest.split_at(at);
        value.push_str(before);
        let taken = match reference(from) {
            _ if from.starts_with("\r\n") => {
                value.push(' ');
                2
            }
            _ if !from.starts_with('&') => {
                value.push(' ');
                1
            }
            Some((one, length)) => {
                value.push(one);
                length
            }
            None => {
                value.push('&');
                1
            }
        };
        rest = from.get(taken..).unwrap_or_default();
    }
    value.push_str(rest);
    Cow::Owned(value)
}

/// The character that a reference at the beginning of `text` stands for, and how long it is.
pub(super) fn reference(text: &str) -> Option<(char, usize)> {
    let (name, _) = text.strip_prefix('&')?.split_once(';')?;
    let one = match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix('x') {
                Some(hex) if hex.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                    u32::from_str_radix(hex, 16).ok()?
                }
                None if number.bytes().all(|byte| byte.is_ascii_digit()) => number.parse().ok()?,
                _ => return None,
            };
            char::from_u32(code).filter(|one| is_character(*one))?
        }
    };
    Some((one, name.len() + 2))
}

/// What a text may have in it (XML 1.0, 2.2).
pub(crate) fn is_character(one: char) -> bool {
    matches!(one, '\t' | '\n' | '\r') || (one >= ' ' && !matches!(one, '\u{fffe}' | '\u{ffff}'))
}
