//! Host names as they are compared: A-labels, lower case, without the trailing dot.

use std::{fmt, net::IpAddr, str::FromStr, sync::Arc};

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

/// The most bytes of a name in text form, without the trailing dot (RFC 1035, 2.3.4).
const NAME_BYTES_MAX: usize = 253;
/// The most bytes of one label (RFC 1035, 2.3.4).
const LABEL_BYTES_MAX: usize = 63;

/// A host name, normal: A-labels (RFC 5890), lower case, one trailing dot removed. Never an
/// address.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostName(Arc<str>);

/// Why a text is no host name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostNameError {
    /// Nothing was given.
    #[error("a host name is missing")]
    Empty,
    /// An address stands where a name must stand.
    #[error("{0:?} is an address, not a host name")]
    Address(String),
    /// A label is empty, or longer than 63 bytes, or the name is longer than 253 (RFC 1035).
    #[error("{0:?} has a label that is empty or longer than 63 bytes, or is longer than 253")]
    Length(String),
    /// A character that no host name has.
    #[error("{0:?} has a character that no host name has")]
    Character(String),
    /// A star that is not the whole left-most label.
    #[error("{0:?}: a wildcard must be the whole left-most label, as in *.example.com")]
    Wildcard(String),
}

impl HostName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What follows the left-most label: the name that a wildcard in its place would stand on.
    /// `None` for a name of one label.
    #[must_use]
    pub fn parent(&self) -> Option<&str> {
        self.0.split_once('.').map(|(_, parent)| parent)
    }

    /// The name as people read it: U-labels where they are valid (RFC 5891).
    #[must_use]
    pub fn to_unicode(&self) -> String {
        let (text, result) = idna::domain_to_unicode(&self.0);
        if result.is_ok() { text } else { self.0.to_string() }
    }
}

impl FromStr for HostName {
    type Err = HostNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.is_empty() {
            return Err(HostNameError::Empty);
        }
        let name = if name.is_ascii() { name.to_ascii_lowercase() } else { to_a_labels(name)? };
        // As it will be written: other digits, and what is not seen, become these or nothing.
        if address(&name).is_some() {
            return Err(HostNameError::Address(text.to_owned()));
        }
        for label in name.split('.') {
            if label.is_empty() || label.len() > LABEL_BYTES_MAX {
                return Err(HostNameError::Length(text.to_owned()));
            }
            // The underscore is no letter of a host name (RFC 1123), yet people use it.
            if !label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
                return Err(match label {
                    "*" => HostNameError::Wildcard(text.to_owned()),
                    _ if label.contains('*') => HostNameError::Wildcard(text.to_owned()),
                    _ => HostNameError::Character(text.to_owned()),
                });
            }
        }
        if name.len() > NAME_BYTES_MAX {
            return Err(HostNameError::Length(text.to_owned()));
        }
        Ok(Self(name.into()))
    }
}

fn to_a_labels(name: &str) -> Result<String, HostNameError> {
    Uts46::new()
        .to_ascii(name.as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow, DnsLength::Ignore)
        .map(|ascii| ascii.strip_suffix('.').unwrap_or(&ascii).to_owned())
        .map_err(|_| HostNameError::Character(name.to_owned()))
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Who a request or a URL asks for: a name, or an address as a literal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name.
    Name(HostName),
    /// An address. It names nobody: only catch-all bindings answer for it.
    Address(IpAddr),
}

impl Host {
    /// The name, if it is one.
    #[must_use]
    pub fn name(&self) -> Option<&HostName> {
        match self {
            Self::Name(name) => Some(name),
            Self::Address(_) => None,
        }
    }
}

impl FromStr for Host {
    type Err = HostNameError;

    /// Reads the host of an authority (RFC 3986, 3.2.2) without its port. IPv6 needs brackets.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match address(text) {
            Some(address) => Ok(Self::Address(address)),
            None => text.parse().map(Self::Name),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// An address literal: IPv4 bare, IPv6 in brackets.
fn address(text: &str) -> Option<IpAddr> {
    match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner.parse().ok().map(IpAddr::V6),
        None => text.parse().ok().map(IpAddr::V4),
    }
}

/// The host part of a binding: what it answers for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// No host was given: the binding answers for every name, and for none.
    Any,
    /// One name.
    Exact(HostName),
    /// `*.example.org`: one label in front of the name, never more. Holds `example.org`.
    Wildcard(HostName),
}

impl HostPattern {
    /// Whether the pattern answers for `name`.
    #[must_use]
    pub fn covers(&self, name: &HostName) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => exact == name,
            Self::Wildcard(parent) => name.parent() == Some(parent.as_str()),
        }
    }
}

impl FromStr for HostPattern {
    type Err = HostNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("*.") {
            Some(parent) => parent
                .parse()
                .map(Self::Wildcard)
                .map_err(|_| HostNameError::Wildcard(text.to_owned())),
            None if text.is_empty() => Ok(Self::Any),
            None => text.parse().map(Self::Exact),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => Ok(()),
            Self::Exact(name) => name.fmt(f),
            Self::Wildcard(parent) => write!(f, "*.{parent}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, &str>) {
        let got = text.parse::<HostPattern>().map(|p| p.to_string()).map_err(|e| format!("{e:?}"));
        match (&got, expected) {
            (Ok(got), Ok(expected)) => assert_eq!(got, expected, "{text:?}"),
            (Err(got), Err(expected)) => assert!(got.starts_with(expected), "{text:?}: {got}"),
            _ => panic!("{text:?} gave {got:?}, not {expected:?}"),
        }
    }

    #[test]
    fn names_become_lower_case_a_labels_without_the_last_dot() {
        check("Shop.Example.COM", Ok("shop.example.com"));
        check("shop.example.com.", Ok("shop.example.com"));
        for hidden in ["5.0.0.0\u{feff}", "５.0.0.0"] {
            check(hidden, Err("Address"));
        }
        check("bücher.example", Ok("xn--bcher-kva.example"));
        check("BÜCHER.example.", Ok("xn--bcher-kva.example"));
        check("*.bücher.example", Ok("*.xn--bcher-kva.example"));
        check("例え。テスト", Ok("xn--r8jz45g.xn--zckzah"));
        check("_dmarc.example.com", Ok("_dmarc.example.com"));
        check("localhost", Ok("localhost"));
        check("", Ok(""));
    }

    #[test]
    fn what_is_no_name_is_refused_with_its_reason() {
        check("192.0.2.1", Err("Address"));
        check("[2001:db8::1]", Err("Address"));
        check("１９２.0.2.1", Err("Address"));
        check("\u{feff}192.0.2.1", Err("Address"));
        check("a..b", Err("Length"));
        check(".", Err("Empty"));
        check(&"a".repeat(64), Err("Length"));
        check(&["a".repeat(60).as_str(); 5].join("."), Err("Length"));
        check("a b", Err("Character"));
        check("a/b", Err("Character"));
        check("a\u{0}b", Err("Character"));
        check("service.*.example.com", Err("Wildcard"));
        check("*", Err("Wildcard"));
        check("*.", Err("Wildcard"));
        check("*.*.example.com", Err("Wildcard"));
        check("a*.example.com", Err("Wildcard"));
    }

    #[test]
    fn a_wildcard_covers_one_label_only() {
        let pattern: HostPattern = "*.example.com".parse().unwrap();
        for (name, covered) in
            [("a.example.com", true), ("a.b.example.com", false), ("example.com", false)]
        {
            assert_eq!(pattern.covers(&name.parse().unwrap()), covered, "{name}");
        }
    }

    #[test]
    fn a_host_is_a_name_or_an_address() {
        assert_eq!("[::1]".parse(), Ok(Host::Address("::1".parse().unwrap())));
        assert_eq!("127.0.0.2".parse(), Ok(Host::Address("127.0.0.2".parse().unwrap())));
        assert!(matches!("a.example".parse(), Ok(Host::Name(_))));
        assert!("::1".parse::<Host>().is_err(), "IPv6 without brackets");
        assert_eq!("xn--bcher-kva.de".parse::<HostName>().unwrap().to_unicode(), "bücher.de");
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_becomes_a_normal_name(text in "\\PC{0,80}|[a-zA-Z0-9.*_-]{0,80}") {
            if let Ok(name) = text.parse::<HostName>() {
                prop_assert_eq!(&name.as_str().parse::<HostName>().unwrap(), &name);
                prop_assert_eq!(name.as_str(), name.as_str().to_ascii_lowercase());
                prop_assert!(!name.as_str().ends_with('.'));
            }
            if let Ok(pattern) = text.parse::<HostPattern>() {
                prop_assert_eq!(pattern.to_string().parse::<HostPattern>().unwrap(), pattern);
            }
        }
    }
}
