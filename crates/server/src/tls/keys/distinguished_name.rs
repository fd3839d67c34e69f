//! A distinguished name as one line of text (RFC 4514), with the short names that IIS uses too.

use std::fmt::Write;

use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use super::ber::dotted;

/// Attribute types by their object identifier: those of RFC 4514, 3, and what else certificates
/// really have.
const SHORT_NAMES: [(&[u8], &str); 13] = [
    (&[0x55, 0x04, 0x03], "CN"),
    (&[0x55, 0x04, 0x0a], "O"),
    (&[0x55, 0x04, 0x0b], "OU"),
    (&[0x55, 0x04, 0x06], "C"),
    (&[0x55, 0x04, 0x08], "ST"),
    (&[0x55, 0x04, 0x07], "L"),
    (&[0x55, 0x04, 0x09], "STREET"),
    (&[0x55, 0x04, 0x05], "SERIALNUMBER"),
    (&[0x55, 0x04, 0x04], "SN"),
    (&[0x55, 0x04, 0x2a], "G"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x19], "DC"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x01], "UID"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x01], "E"),
];

/// The name as text, the most specific part first, as the RFC has it. Empty for an empty name.
pub(super) fn text(name: &X509Name<'_>) -> String {
    let parts: Vec<String> =
        name.iter().map(|part| part.iter().map(attribute).collect::<Vec<_>>().join("+")).collect();
    parts.into_iter().rev().collect::<Vec<_>>().join(",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let object = attribute.attr_type().as_bytes();
    let known = SHORT_NAMES.iter().find(|(bytes, _)| *bytes == object);
    let name = known.map_or_else(|| dotted(object), |(_, name)| (*name).to_owned());
    match attribute.as_str() {
        Ok(value) => format!("{name}={}", escaped(value)),
        Err(_) => format!("{name}={}", hexadecimal(attribute.attr_value().data)),
    }
}

/// Escapes by RFC 4514, 2.4, and control characters besides, because the text goes into logs.
fn escaped(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut text = String::with_capacity(value.len());
    for (index, character) in value.chars().enumerate() {
        match character {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => text.extend(['\\', character]),
            '#' if index == 0 => text.push_str("\\#"),
            ' ' if index == 0 || index == last => text.push_str("\\ "),
            control if control.is_control() => {
                let mut utf8 = [0; 4];
                for byte in control.encode_utf8(&mut utf8).bytes() {
                    push_byte(&mut text, "\\", byte);
                }
            }
            other => text.push(other),
        }
    }
    text
}

/// A value that is not text.
fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = "#".to_owned();
    for &byte in bytes {
        push_byte(&mut text, "", byte);
    }
    text
}

fn push_byte(text: &mut String, before: &str, byte: u8) {
    write!(text, "{before}{byte:02x}").unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn what_would_be_read_as_syntax_is_escaped() {
        assert_eq!(escaped("Example, Inc."), "Example\\, Inc.");
        assert_eq!(escaped(" #a b "), "\\ #a b\\ ");
        assert_eq!(escaped("#a"), "\\#a");
        assert_eq!(escaped("a\nb\u{85}"), "a\\0ab\\c2\\85");
        assert_eq!(escaped("Bücher"), "Bücher");
        assert_eq!(escaped(""), "");
        assert_eq!(escaped(" "), "\\ ");
    }
}
