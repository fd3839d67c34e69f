//! Host names as certificates and file names spell them, brought to the one form that names are
//! compared in: lower-case A-labels (RFC 5890, 2.3.2.1) without a trailing dot.

use std::borrow::Cow;

use idna::{
    AsciiDenyList,
    uts46::{DnsLength, Hyphens, Uts46},
};

/// The longest host name, in bytes (RFC 1035, 2.3.4, without the root's dot).
const NAME_BYTES_MAX: usize = 253;
/// The longest label, in bytes (RFC 1035, 2.3.4).
const LABEL_BYTES_MAX: usize = 63;

/// `text` as lower-case A-labels, or nothing when it is not a host name. Underscores pass: they
/// are in real use, and nothing is decided by refusing them here.
pub(super) fn a_labels(text: &str) -> Option<Cow<'_, str>> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let name = if text.bytes().all(is_normal) {
        Cow::Borrowed(text)
    } else {
        Uts46::new()
            .to_ascii(text.as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow, DnsLength::Ignore)
            .ok()?
    };
    let labels_fit = name.split('.').all(|label| (1..=LABEL_BYTES_MAX).contains(&label.len()));
    (labels_fit && name.len() <= NAME_BYTES_MAX && name.bytes().all(is_normal)).then_some(name)
}

/// The same for a name whose left-most label may be `*`, as in a certificate.
pub(super) fn a_labels_or_wildcard(text: &str) -> Option<Cow<'_, str>> {
    match text.strip_prefix("*.") {
        Some(parent) => Some(Cow::Owned(format!("*.{}", a_labels(parent)?))),
        None => a_labels(text),
    }
}

fn is_normal(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.')
}

#[cfg(test)]
mod tests {
    use super::{a_labels, a_labels_or_wildcard};

    #[test]
    fn names_become_lower_case_a_labels_without_the_last_dot() {
        for (text, expected) in [
            ("a.example", Some("a.example")),
            ("A.Example.", Some("a.example")),
            ("bücher.example", Some("xn--bcher-kva.example")),
            ("BÜCHER.example", Some("xn--bcher-kva.example")),
            ("under_score.example", Some("under_score.example")),
            ("a..example", None),
            ("", None),
            (".", None),
            ("a b.example", None),
            ("a.example\0.other", None),
            ("*.example", None),
        ] {
            assert_eq!(a_labels(text).as_deref(), expected, "{text:?}");
        }
        assert_eq!(a_labels(&format!("{}.example", "a".repeat(64))), None);
        assert_eq!(a_labels(&"a.".repeat(127)).map(|name| name.len()), Some(253));
        assert_eq!(a_labels(&"a.".repeat(128)), None);
    }

    #[test]
    fn a_wildcard_is_the_whole_left_most_label_or_no_name() {
        assert_eq!(a_labels_or_wildcard("*.Example").as_deref(), Some("*.example"));
        assert_eq!(a_labels_or_wildcard("w*.example"), None);
        assert_eq!(a_labels_or_wildcard("*.*.example"), None);
        assert_eq!(a_labels_or_wildcard("a.*.example"), None);
        assert_eq!(a_labels_or_wildcard("*"), None);
    }
}
