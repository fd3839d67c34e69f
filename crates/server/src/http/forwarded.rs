//! The field `Forwarded` (RFC 7239): read from proxies that are trusted, written for upstreams.

use std::net::{IpAddr, SocketAddr};

/// One element: what one proxy said of its client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// `for`: the node that made the request to the proxy.
    pub client: Option<String>,
    /// `by`: where the request came in.
    pub by: Option<String>,
    /// `host`: whom it asked for.
    pub host: Option<String>,
    /// `proto`: the scheme.
    pub proto: Option<String>,
}

/// Reads the value of a `Forwarded` field (RFC 7239, 4). `None` when it is none; parameters that
/// nobody knows are read and left out.
#[must_use]
pub fn parse(value: &str) -> Option<Vec<Element>> {
    let mut elements = Vec::new();
    let mut rest = value.trim_matches(WHITE);
    loop {
        let (element, after) = element(rest)?;
        elements.push(element);
        let after = after.trim_start_matches(WHITE);
        match after.strip_prefix(',') {
            Some(next) => rest = next.trim_start_matches(WHITE),
            None if after.is_empty() => return Some(elements),
            None => return None,
        }
    }
}

const WHITE: [char; 2] = [' ', '\t'];

/// One element and what follows it. Each parameter at most once.
fn element(mut rest: &str) -> Option<(Element, &str)> {
    let mut element = Element::default();
    loop {
        let (name, after) = token(rest)?;
        let (value, after) = value(after.strip_prefix('=')?)?;
        let place = match name.to_ascii_lowercase().as_str() {
            "for" => Some(&mut element.client),
            "by" => Some(&mut element.by),
            "host" => Some(&mut element.host),
            "proto" => Some(&mut element.proto),
            _ => None,
        };
        if place.is_some_and(|place| place.replace(value).is_some()) {
            return None;
        }
        match after.strip_prefix(';') {
            Some(next) => rest = next,
            None => return Some((element, after)),
        }
    }
}

/// A token (RFC 9110, 5.6.2) and what follows it.
fn token(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !is_token(c)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

/// A token or a quoted string, and what follows it.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        return token(text).map(|(value, after)| (value.to_owned(), after));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Some((value, quoted.get(at + 1..)?)),
            '\\' => value.push(characters.next()?.1),
            c => value.push(c),
        }
    }
    None
}

/// The address of a node: `192.0.2.1`, `[2001:db8::1]` or `2001:db8::1`, with or without a port.
/// `None` for `unknown`, for names that hide one (RFC 7239, 6) and for what is no node.
#[must_use]
pub fn node(text: &str) -> Option<IpAddr> {
    let address = text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    address.or_else(with_port).or_else(bracketed).map(|address| address.to_canonical())
}

/// Writes one element; RFC 7239, 4 asks for quotes around whatever is no token.
#[must_use]
pub fn write(client: IpAddr, host: &str, https: bool) -> String {
    let mut text = match client {
        IpAddr::V4(address) => format!("for={address}"),
        IpAddr::V6(address) => format!("for=\"[{address}]\""),
    };
    if !host.is_empty() {
        text.push_str(";host=");
        match host.chars().all(is_token) {
            true => text.push_str(host),
            false => {
                text.push('"');
                for c in host.chars() {
                    if matches!(c, '"' | '\\') {
                        text.push('\\');
                    }
                    text.push(c);
                }
                text.push('"');
            }
        }
    }
    text.push_str(if https { ";proto=https" } else { ";proto=http" });
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_examples_of_the_rfc_are_read() {
        for (text, clients) in [
            ("for=\"_gazonk\"", &["_gazonk"][..]),
            ("For=\"[2001:db8:cafe::17]:4711\"", &["[2001:db8:cafe::17]:4711"]),
            ("for=192.0.2.60;proto=http;by=203.0.113.43", &["192.0.2.60"]),
            ("for=192.0.2.43, for=198.51.100.17", &["192.0.2.43", "198.51.100.17"]),
            ("for=192.0.2.43,for=\"[2001:db8:cafe::17]\"", &["192.0.2.43", "[2001:db8:cafe::17]"]),
            ("for=_hidden, for=_SEVKISEK", &["_hidden", "_SEVKISEK"]),
            ("for=unknown;ext=\"a, b; c\\\"\"", &["unknown"]),
        ] {
            let elements = parse(text).unwrap_or_else(|| panic!("{text}"));
            let got: Vec<_> = elements.iter().map(|one| one.client.clone().unwrap()).collect();
            assert_eq!(got, clients, "{text}");
        }
    }

    #[test]
    fn what_is_no_forwarded_field_is_refused_whole() {
        for text in [
            "",
            "for",
            "for=",
            "=a",
            "for=a;",
            "for=a,",
            ",for=a",
            "for=a for=b",
            "for=a;for=b",
            "for=\"a",
            "for=\"a\\",
            "for=[::1]",
            "for = a",
            "for=a b",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_node_is_an_address_with_or_without_a_port() {
        for (text, expected) in [
            ("192.0.2.1", Some("192.0.2.1")),
            ("192.0.2.1:80", Some("192.0.2.1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("[2001:db8::1]:80", Some("2001:db8::1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("::ffff:192.0.2.1", Some("192.0.2.1")),
            ("unknown", None),
            ("_hidden", None),
            ("192.0.2.1:_port", None),
            ("192.0.2.1:99999", None),
            ("[192.0.2.1]", None),
            ("", None),
        ] {
            assert_eq!(node(text), expected.map(|one| one.parse().unwrap()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            address in any::<u128>(), v4 in any::<u32>(), host in "[ -~]{0,40}", https: bool
        ) {
            for address in [IpAddr::from(address.to_be_bytes()), IpAddr::from(v4.to_be_bytes())] {
                let elements = parse(&write(address, &host, https)).unwrap();
                prop_assert_eq!(elements.len(), 1);
                let one = &elements[0];
                prop_assert_eq!(node(one.client.as_deref().unwrap()), Some(address.to_canonical()));
                prop_assert_eq!(one.host.as_deref().unwrap_or_default(), host.as_str());
                let proto = if https { "https" } else { "http" };
                prop_assert_eq!(one.proto.as_deref(), Some(proto));
            }
        }

        #[test]
        fn no_text_is_too_much(text in "\\PC{0,60}|[for=\"\\\\;, ]{0,40}") {
            drop(parse(&text));
            let _any = node(&text);
        }
    }
}
