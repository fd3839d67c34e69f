//! A binding: how a site is reached. Its text, `protocol/address:port:host`, is IIS's
//! `bindingInformation` behind its protocol, and is used everywhere: files, commands, logs.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    ops::Range,
    str::FromStr,
};

use crate::{
    certificate::CertificateChoice,
    name::{HostNameError, HostPattern},
    tls::TlsPolicy,
};

/// What is spoken on an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// HTTP/1.1 without TLS.
    Http,
    /// TLS with HTTP/2 or HTTP/1.1 inside.
    Https,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
        })
    }
}

/// An address, or all of them, and a port: what bindings share and a socket listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// One address; `None` for all addresses of the machine, IPv4 and IPv6.
    pub address: Option<IpAddr>,
    /// The port, never 0.
    pub port: u16,
}

impl Endpoint {
    /// Whether a connection to `local` arrives here.
    #[must_use]
    pub fn takes(&self, local: SocketAddr) -> bool {
        self.port == local.port() && self.address.is_none_or(|own| own == local.ip())
    }

    /// Whether some address belongs to both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.port == other.port
            && (self.address == other.address || self.address.is_none() || other.address.is_none())
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            None => write!(f, "*:{}", self.port),
            Some(address) => SocketAddr::new(address, self.port).fmt(f),
        }
    }
}

/// What a binding holds and nobody else may: protocol, endpoint and host.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BindingInformation {
    /// What is spoken.
    pub protocol: Protocol,
    /// Where.
    pub endpoint: Endpoint,
    /// For whom.
    pub host: HostPattern,
}

impl fmt::Display for BindingInformation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}:{}", self.protocol, self.endpoint, self.host)
    }
}

/// How a site is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The key it holds.
    pub information: BindingInformation,
    /// What may be negotiated; without meaning for http.
    pub tls: TlsPolicy,
    /// What is shown; without meaning for http.
    pub certificate: CertificateChoice,
    /// The place of its site in [`crate::table::MemoryTable::sites`].
    pub site: u32,
}

impl Binding {
    /// Whether it answers only for names that have a file in the central store: a binding without
    /// a host that takes its certificates from there.
    #[must_use]
    pub fn is_central_catch_all(&self) -> bool {
        self.information.host == HostPattern::Any && self.certificate == CertificateChoice::Central
    }
}

/// Why a text is no binding, and which part of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct BindingParseError {
    /// What is wrong.
    pub kind: BindingParseErrorKind,
    /// Where in the text, in bytes.
    pub span: Range<usize>,
}

/// What is wrong with the text of a binding.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindingParseErrorKind {
    /// Parts are missing.
    #[error("{0:?} is not protocol/address:port:host, as in https/*:443:www.example.com")]
    Form(String),
    /// Neither http nor https.
    #[error("{0:?} is no protocol that is served; there are http and https")]
    Protocol(String),
    /// No address literal.
    #[error("{0:?} is no address; write *, an IPv4 address, or an IPv6 address in brackets")]
    Address(String),
    /// Not 1 to 65535.
    #[error("{0:?} is no port; ports go from 1 to 65535")]
    Port(String),
    /// Not a host.
    #[error(transparent)]
    Host(#[from] HostNameError),
}

impl FromStr for BindingInformation {
    type Err = BindingParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        use BindingParseErrorKind as Kind;
        let whole = 0..text.len();
        let form = || BindingParseError { kind: Kind::Form(text.to_owned()), span: whole.clone() };
        let (protocol, rest) = text.split_once('/').ok_or_else(form)?;
        // From the right, because an IPv6 address has colons of its own.
        let (rest, host) = rest.rsplit_once(':').ok_or_else(form)?;
        let (address, port) = rest.rsplit_once(':').ok_or_else(form)?;
        let address_at = protocol.len() + 1;
        let port_at = address_at + address.len() + 1;
        let host_at = port_at + port.len() + 1;

        let protocol = match protocol.to_ascii_lowercase().as_str() {
            "http" => Protocol::Http,
            "https" => Protocol::Https,
            _ => {
                let kind = Kind::Protocol(protocol.to_owned());
                return Err(BindingParseError { kind, span: 0..protocol.len() });
            }
        };
        let address = parse_address(address).ok_or_else(|| BindingParseError {
            kind: Kind::Address(address.to_owned()),
            span: address_at..address_at + address.len(),
        })?;
        let port = parse_port(port).ok_or_else(|| BindingParseError {
            kind: Kind::Port(port.to_owned()),
            span: port_at..port_at + port.len(),
        })?;
        let host = host.parse().map_err(|error| BindingParseError {
            kind: Kind::Host(error),
            span: host_at..text.len(),
        })?;
        Ok(Self { protocol, endpoint: Endpoint { address, port }, host })
    }
}

/// `Some(None)` stands for all addresses: `*`, nothing (as IIS Express writes it), `0.0.0.0` and
/// `[::]`.
fn parse_address(text: &str) -> Option<Option<IpAddr>> {
    if text.is_empty() || text == "*" {
        return Some(None);
    }
    let address = match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => IpAddr::V6(inner.parse().ok()?),
        None => IpAddr::V4(text.parse().ok()?),
    };
    let address = address.to_canonical();
    Some((!address.is_unspecified()).then_some(address))
}

fn parse_port(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0)
}

/// Reads `protocol/address:port`, what a `[[listener]]` stands for.
///
/// # Errors
///
/// As for a binding; the form is that of one without its host.
pub fn parse_listener(text: &str) -> Result<(Protocol, Endpoint), BindingParseError> {
    let form = |kind_text: &str| BindingParseError {
        kind: BindingParseErrorKind::Form(kind_text.to_owned()),
        span: 0..text.len(),
    };
    let information: BindingInformation = format!("{}:", text.strip_suffix(':').unwrap_or(text))
        .parse()
        .map_err(|error: BindingParseError| match error.kind {
            BindingParseErrorKind::Form(_) => form(text),
            kind => BindingParseError { kind, span: error.span },
        })?;
    Ok((information.protocol, information.endpoint))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(text.parse::<BindingInformation>().unwrap().to_string(), expected);
    }

    #[track_caller]
    fn refused(text: &str, marked: &str) {
        let error = text.parse::<BindingInformation>().unwrap_err();
        assert_eq!(&text[error.span.clone()], marked, "{error}");
    }

    #[test]
    fn a_binding_reads_as_iis_writes_it() {
        check("https/*:443:shop.example.com", "https/*:443:shop.example.com");
        check("HTTPS/*:443:Shop.Example.com.", "https/*:443:shop.example.com");
        check("http/:8080:localhost", "http/*:8080:localhost");
        check("https/0.0.0.0:443:", "https/*:443:");
        check("https/[::]:443:", "https/*:443:");
        check("https/192.0.2.10:443:", "https/192.0.2.10:443:");
        check("https/[2001:DB8::10]:443:", "https/[2001:db8::10]:443:");
        check("https/[::ffff:192.0.2.1]:443:a", "https/192.0.2.1:443:a");
        check("https/*:443:*.bücher.example", "https/*:443:*.xn--bcher-kva.example");
    }

    #[test]
    fn what_is_no_binding_is_marked_where_it_is_wrong() {
        refused("*:443:a", "*:443:a");
        refused("https/443", "https/443");
        refused("https/*:443", "https/*:443");
        refused("ftp/*:21:", "ftp");
        refused("https/2001:db8::10:443:", "2001:db8::10");
        refused("https/[192.0.2.1]:443:", "[192.0.2.1]");
        refused("https/host:443:", "host");
        refused("https/*:0:", "0");
        refused("https/*:65536:", "65536");
        refused("https/*:+443:", "+443");
        refused("https/*::a", "");
        refused("https/*:443:a b", "a b");
        refused("https/*:443:x.*.example", "x.*.example");
        refused("https/*:443:192.0.2.1", "192.0.2.1");
    }

    #[test]
    fn a_listener_is_a_binding_without_its_host() {
        let (protocol, endpoint) = parse_listener("https/192.0.2.10:443").unwrap();
        assert_eq!((protocol, endpoint.to_string().as_str()), (Protocol::Https, "192.0.2.10:443"));
        assert_eq!(parse_listener("https/[::1]:443").unwrap().1.to_string(), "[::1]:443");
        assert!(parse_listener("https/*").is_err());
        assert!(parse_listener("https/*:443:a").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_refused_with_a_span_inside_or_prints_back(
            text in "\\PC{0,60}|https?/[0-9a-f:.*\\[\\]]{0,20}:[0-9]{0,6}:[a-z.*é]{0,20}"
        ) {
            match text.parse::<BindingInformation>() {
                Ok(information) => {
                    prop_assert_eq!(information.to_string().parse(), Ok(information));
                }
                Err(error) => prop_assert!(text.get(error.span).is_some()),
            }
        }
    }
}
