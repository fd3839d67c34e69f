//! What values mean that stand behind more than one key: media types, names and values of fields,
//! paths of a site, networks, spans of time.

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;

use super::read::{Reader, Section, Text};
use crate::problem::{Code, Span};

/// Who waits longer than a day waits for ever.
pub(super) const SECONDS_MAX: i64 = 86_400;

/// Whether a text is a token (RFC 9110, 5.6.2): a method, the name of a field or cookie.
#[must_use]
pub fn is_token(text: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(letter)
}

/// Whether a text can be the value of a field (RFC 9110, 5.5): visible ASCII, blanks inside.
#[must_use]
pub fn is_field_value(text: &str) -> bool {
    let printable = |b: u8| matches!(b, b' '..=b'~' | b'\t');
    text.bytes().all(printable) && text.trim_matches([' ', '\t']).len() == text.len()
}

/// Whether a text is a media type (RFC 9110, 8.3.1); its subtype may be `*` where `any` says so.
#[must_use]
pub fn is_media_type(text: &str, any: bool) -> bool {
    let essence = text.split(';').next().unwrap_or_default().trim_end();
    let token = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    let is_type = essence
        .split_once('/')
        .is_some_and(|(one, other)| token(one) && (token(other) || any && other == "*"));
    is_type && is_field_value(text) && (!any || essence == text)
}

/// What is wrong with a text: the part, what, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// In bytes of the text.
    pub(super) part: Span,
    pub(super) what: String,
    pub(super) help: String,
}

impl Wrong {
    pub(super) fn new(part: Span, what: impl Into<String>, help: impl Into<String>) -> Self {
        Self { part, what: what.into(), help: help.into() }
    }

    /// The whole text is wrong.
    pub(super) fn whole(text: &str, what: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(0..text.len(), what, help)
    }
}

/// Reads a path of a site as requests are compared with it: decoded, segments between single
/// slashes, none of them dots.
pub(super) fn site_path(text: &str) -> Result<(), Wrong> {
    let whole = |what: &str, help: String| Err(Wrong::whole(text, what, help));
    let Some(inner) = text.strip_prefix('/') else {
        return whole("the path does not begin with a slash", format!("write \"/{text}\""));
    };
    if let Some(at) = text.find(['?', '#']) {
        let help = "a path ends before its query: remove it";
        return Err(Wrong::new(at..text.len(), "a path has no query and no fragment", help));
    }
    if let Some((at, letter)) = text.char_indices().find(|(_, c)| *c == '\\' || c.is_control()) {
        let part = at..at + letter.len_utf8();
        return Err(Wrong::new(part, format!("no path has {letter:?} in it"), "remove it"));
    }
    let encoded = |rest: &str| {
        rest.get(..2).is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    for (at, _) in text.match_indices('%') {
        if text.get(at + 1..).is_some_and(encoded) {
            let help = "write the letter itself: paths are compared after decoding";
            return Err(Wrong::new(at..at + 3, "a percent-encoding in a path", help));
        }
    }
    let segments: Vec<&str> = inner.split('/').collect();
    let Some((last, before)) = segments.split_last() else { return Ok(()) };
    if before.iter().any(|segment| segment.is_empty()) {
        let kept: Vec<_> = segments.iter().copied().filter(|part| !part.is_empty()).collect();
        return whole("the path has an empty segment", format!("write \"/{}\"", kept.join("/")));
    }
    if before.iter().chain([last]).any(|segment| matches!(*segment, "." | "..")) {
        let help = "write it without; clients resolve them before they ask".to_owned();
        return whole("the path has a dot segment", help);
    }
    Ok(())
}

/// Reads a network; an address alone is the network of itself.
pub(super) fn network(text: &str) -> Result<IpNet, Wrong> {
    let example =
        "write an address or a network, as in \"192.0.2.7\", \"10.0.0.0/8\" or \"2001:db8::/32\"";
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        return Err(Wrong::whole(text, format!("{text:?} is no network"), example));
    };
    if let IpAddr::V6(own) = address
        && let Some(plain) = own.to_ipv4_mapped()
    {
        let what = "an IPv4 address inside of IPv6: clients are compared by their IPv4 address";
        return Err(Wrong::whole(text, what, format!("write it as IPv4, as in \"{plain}\"")));
    }
    let Some(length) = length else { return Ok(IpNet::from(address)) };
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = length.parse::<u8>().ok().filter(|bits| *bits <= most && is_digits(length));
    let Some(network) = bits.and_then(|bits| IpNet::new(address, bits).ok()) else {
        let at = text.len() - length.len();
        let what = format!("{length:?} is no length of a prefix");
        return Err(Wrong::new(at..text.len(), what, format!("write a number from 0 to {most}")));
    };
    if network.addr() != network.network() {
        let what = format!("{text:?} has bits behind its prefix");
        let help =
            format!("did you mean \"{}\", or the one address \"{address}\"?", network.trunc());
        return Err(Wrong::whole(text, what, help));
    }
    Ok(network)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

impl<'d> Reader<'d> {
    /// Says what is wrong with a text, at its part.
    pub(super) fn wrong(
        &mut self,
        code: Code,
        section: &Section<'_>,
        text: &Text<'_>,
        wrong: Wrong,
    ) {
        let message = format!("{}: {}", section.owner, wrong.what);
        let span = if wrong.part.is_empty() { text.span.clone() } else { text.part(&wrong.part) };
        self.problem(code, span, message, wrong.help);
    }

    /// Every network of an array.
    pub(super) fn networks(&mut self, section: &Section<'d>, key: &str) -> Option<Vec<IpNet>> {
        let texts = self.texts(section, key)?;
        let mut networks = Vec::new();
        for text in texts {
            match network(text.value) {
                Ok(network) => networks.push(network),
                Err(wrong) => self.wrong(Code::BadNetwork, section, &text, wrong),
            }
        }
        Some(networks)
    }

    /// A media type, with or without parameters.
    pub(super) fn media_type(&mut self, section: &Section<'_>, text: &Text<'_>) -> Option<String> {
        if is_media_type(text.value, false) {
            return Some(text.value.to_owned());
        }
        let help = "write type/subtype, as in \"text/html; charset=utf-8\"";
        let wrong = format!("{:?} is no media type", text.value);
        self.bad(section, text.span.clone(), wrong, help);
        None
    }

    /// Seconds, as a span of time.
    pub(super) fn seconds(
        &mut self,
        section: &Section<'d>,
        key: &str,
        standard: Duration,
    ) -> Duration {
        let read = self.integer(section, key, 1..=SECONDS_MAX);
        read.map_or(standard, |(seconds, _)| Duration::from_secs(seconds.unsigned_abs()))
    }

    /// A whole number within bounds that a `u32` holds.
    pub(super) fn count(
        &mut self,
        section: &Section<'d>,
        key: &str,
        bounds: std::ops::RangeInclusive<u32>,
    ) -> Option<u32> {
        let bounds = i64::from(*bounds.start())..=i64::from(*bounds.end());
        self.integer(section, key, bounds).and_then(|(number, _)| u32::try_from(number).ok())
    }
}
