//! What values are: booleans, numbers, spans of time, flags.

use bindery_model::problem::Span;

use super::report::{Report, Source};
use crate::xml::{Attribute, Element};

/// Reads the attributes of one element.
pub(super) struct Values<'a, 'r> {
    pub(super) element: Element<'a>,
    pub(super) source: &'r Source,
    /// Attributes that are locked, so that they are as if they were not there.
    pub(super) locked: &'r [String],
    pub(super) report: &'r mut Report,
}

impl<'a> Values<'a, '_> {
    fn attribute(&self, name: &str) -> Option<Attribute<'a>> {
        self.element.attribute(name).filter(|_| !self.locked.iter().any(|own| own == name))
    }

    /// The text of an attribute.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.attribute(name).map(|attribute| attribute.value().into_owned())
    }

    /// Where the value of an attribute stands; the element's tag where it has none.
    pub(super) fn place(&self, name: &str) -> Span {
        place(self.element, name)
    }

    /// An attribute as `read` understands it; a problem where it does not.
    pub(super) fn read<T>(
        &mut self,
        name: &str,
        takes: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let attribute = self.attribute(name)?;
        let text = attribute.value();
        let value = read(text.trim());
        if value.is_none() {
            let message =
                format!("{name} of <{}> takes {takes}, not {text:?}", self.element.name());
            let span = value_span(attribute);
            self.report.bad(self.source, span, message, "IIS does not take it either");
        }
        value
    }

    /// True or false.
    pub(super) fn boolean(&mut self, name: &str) -> Option<bool> {
        self.read(name, "true or false", boolean)
    }

    /// A whole number.
    pub(super) fn number(&mut self, name: &str) -> Option<u64> {
        self.read(name, "a whole number", |text| text.parse().ok())
    }
}

/// Where the value of an attribute stands; the element's tag where it has none.
pub(super) fn place(element: Element<'_>, name: &str) -> Span {
    element.attribute(name).map_or_else(|| element.tag(), value_span)
}

/// Where a value stands; all of the attribute where it is empty.
pub(super) fn value_span(attribute: Attribute<'_>) -> Span {
    let span = attribute.value_span();
    if span.is_empty() { attribute.span() } else { span }
}

/// `true` or `false`; IIS's own tools write lower case and take any.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// `[d.]hh:mm:ss`, in seconds. Hours may be more than 24.
pub(super) fn seconds(text: &str) -> Option<u64> {
    let (days, rest) = match text.split_once('.') {
        Some((days, rest)) if rest.contains(':') => (days.parse().ok()?, rest),
        _ => (0_u64, text),
    };
    let parts: Vec<u64> = rest.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let [hours, minutes, seconds] = parts.as_slice() else { return None };
    let whole = days.checked_mul(24)?.checked_add(*hours)?.checked_mul(3600)?;
    whole.checked_add(minutes.checked_mul(60)?)?.checked_add(*seconds)
}

/// The sum of flags, by name or as a number.
pub(super) fn flags(text: &str, names: &[(&str, u32)]) -> Option<u32> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let one = |one: &str| {
        names.iter().find(|(name, _)| name.eq_ignore_ascii_case(one.trim())).map(|own| own.1)
    };
    text.split(',').map(one).try_fold(0, |all, bits| Some(all | bits?))
}

/// One of some words, without regard to case, or its number.
pub(super) fn word<T: Copy>(text: &str, words: &[(&str, u32, T)]) -> Option<T> {
    let number = text.parse::<u32>().ok();
    let found = words
        .iter()
        .find(|(name, value, _)| name.eq_ignore_ascii_case(text) || number == Some(*value));
    found.map(|(.., meaning)| *meaning)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_time_have_days_and_long_hours() {
        for (text, expected) in [
            ("00:02:00", Some(120)),
            ("29:00:00", Some(104_400)),
            ("7.00:00:00", Some(604_800)),
            ("1.01:01:01", Some(90_061)),
            ("120", None),
            ("", None),
            ("a:b:c", None),
            ("-1:00:00", None),
            ("18446744073709551615:00:00", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }

    #[test]
    fn flags_are_words_or_a_number() {
        let names = [("None", 0), ("Ssl", 8), ("SslNegotiateCert", 32)];
        assert_eq!(flags("Ssl, SslNegotiateCert", &names), Some(40));
        assert_eq!(flags("ssl,Ssl", &names), Some(8));
        assert_eq!(flags("40", &names), Some(40));
        assert_eq!(flags("None", &names), Some(0));
        assert_eq!(flags("Ssl;", &names), None);
        assert_eq!(flags("", &names), None);
    }
}
