//! What a client is asked to open: the URL of `explain` and `probe`.

use std::{fmt, str::FromStr};

use bindery_model::{binding::Protocol, name::Host};
use bindery_server::{handler::url_host, http::authority};

/// A URL, as far as a connection needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// http or https.
    pub protocol: Protocol,
    /// Whom it asks for.
    pub host: Host,
    /// Its port, or that of the protocol.
    pub port: u16,
    /// Path and query, from the slash on, without the fragment.
    pub path: String,
}

/// Why a text is no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Neither http nor https.
    #[error("{0:?} is no protocol that is served; there are http and https")]
    Protocol(String),
    /// No host.
    #[error("{0:?} is no host with or without a port")]
    Host(String),
    /// A path that is none.
    #[error("{0:?} has a character that must be written with %")]
    Path(String),
}

impl Target {
    /// The port that a URL of this protocol needs not name.
    pub fn default_port(protocol: Protocol) -> u16 {
        match protocol {
            Protocol::Http => 80,
            Protocol::Https => 443,
        }
    }

    /// Host and port as the Host field has them.
    pub fn authority(&self) -> String {
        url_host(&self.host, self.port, Self::default_port(self.protocol))
    }
}

impl FromStr for Target {
    type Err = TargetError;

    /// Reads `https://host[:port][/path]`; without a protocol, https is meant.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (protocol, rest) = match text.split_once("://") {
            None => (Protocol::Https, text),
            Some((scheme, rest)) => match scheme.to_ascii_lowercase().as_str() {
                "https" => (Protocol::Https, rest),
                "http" => (Protocol::Http, rest),
                _ => return Err(TargetError::Protocol(scheme.to_owned())),
            },
        };
        let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let no_host = || TargetError::Host(authority.to_owned());
        let host = authority::parse(authority).map_err(|_| no_host())?;
        let port = match authority.rsplit_once(':') {
            Some((_, port)) if !port.is_empty() && !port.ends_with(']') => {
                port.parse().ok().filter(|port| *port > 0).ok_or_else(no_host)?
            }
            _ => Self::default_port(protocol),
        };
        if path.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return Err(TargetError::Path(path.to_owned()));
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self { protocol, host, port, path: format!("{slash}{path}") })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.protocol, self.authority(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(text.parse::<Target>().unwrap().to_string(), expected);
    }

    #[test]
    fn a_url_is_read_as_a_browser_reads_it() {
        check("https://Shop.Example", "https://shop.example/");
        check("shop.example:8443", "https://shop.example:8443/");
        check("http://shop.example:80/a?b#c", "http://shop.example/a?b");
        check("HTTPS://shop.example:443?x", "https://shop.example/?x");
        check("https://bücher.example/", "https://xn--bcher-kva.example/");
        check("https://[::1]:8443/", "https://[::1]:8443/");
        check("https://[::1]/", "https://[::1]/");
        check("https://192.0.2.1", "https://192.0.2.1/");
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for text in
            ["", "https://", "ftp://a.example", "https://a b", "https://a:0/", "https://a:x", "a/ä"]
        {
            assert!(text.parse::<Target>().is_err(), "{text:?}");
        }
    }
}
