//! A record of `netsh http show sslcert`, and the table that HTTP.SYS prints of them.
//!
//! The layout is that of Windows Server 2022: labels, their order, padding and vocabulary. Scripts
//! read it line by line. The blocks `Extended Properties`, which older versions do not print, are
//! left out: they tell of buffers that only HTTP.SYS has.

use std::{
    fmt::{self, Write as _},
    net::SocketAddr,
};

/// The application that IIS registers its records under. Scripts look for it.
pub const IIS_APPLICATION_ID: &str = "{4dc3e181-e14b-4a21-b022-59fc669b0914}";

/// So wide are labels, except for two that are longer.
const LABEL_WIDTH: usize = 29;

/// What a record is found by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RecordKey {
    /// An address and port, for clients without a server name: `0.0.0.0` stands for all.
    IpPort(SocketAddr),
    /// A name or wildcard, and a port.
    HostnamePort(String, u16),
    /// The central store of a port.
    CentralStore(u16),
}

impl RecordKey {
    fn label(&self) -> &'static str {
        match self {
            Self::IpPort(_) => "IP:port",
            Self::HostnamePort(..) => "Hostname:port",
            Self::CentralStore(_) => "Central Certificate Store",
        }
    }
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IpPort(address) => address.fmt(f),
            Self::HostnamePort(host, port) => write!(f, "{host}:{port}"),
            Self::CentralStore(port) => port.fmt(f),
        }
    }
}

/// What HTTP.SYS would keep for an https binding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it is found by.
    pub key: RecordKey,
    /// SHA-1 of the certificate; `None` where there is none to name, as for the central store.
    pub certificate_hash: Option<[u8; 20]>,
    /// The Windows store that scripts expect it in; `None` for the central store.
    pub store_name: Option<String>,
    /// Whether clients are asked for a certificate.
    pub negotiate_client_certificate: bool,
    /// Whether HTTP/2 is off.
    pub disable_http2: bool,
    /// Whether QUIC is off.
    pub disable_quic: bool,
    /// Whether TLS 1.2 is off.
    pub disable_tls12: bool,
    /// Whether TLS 1.3 is off.
    pub disable_tls13: bool,
    /// Whether the versions before TLS 1.2 are off.
    pub disable_legacy_tls: bool,
    /// Whether sessions are resumed by tickets.
    pub enable_session_ticket: bool,
}

impl Record {
    /// Every line of the record: its label and its value.
    #[must_use]
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let enabled = |yes| if yes { "Enabled" } else { "Disabled" }.to_owned();
        let set = |yes| if yes { "Set" } else { "Not Set" }.to_owned();
        let or_null = |text: Option<String>| text.unwrap_or_else(|| "(null)".to_owned());
        vec![
            (self.key.label(), self.key.to_string()),
            ("Certificate Hash", or_null(self.certificate_hash.map(|hash| hex(&hash)))),
            ("Application ID", IIS_APPLICATION_ID.to_owned()),
            ("Certificate Store Name", or_null(self.store_name.clone())),
            ("Verify Client Certificate Revocation", enabled(false)),
            ("Verify Revocation Using Cached Client Certificate Only", enabled(false)),
            ("Usage Check", enabled(true)),
            ("Revocation Freshness Time", "0".to_owned()),
            ("URL Retrieval Timeout", "0".to_owned()),
            ("Ctl Identifier", or_null(None)),
            ("Ctl Store Name", or_null(None)),
            ("DS Mapper Usage", enabled(false)),
            ("Negotiate Client Certificate", enabled(self.negotiate_client_certificate)),
            ("Reject Connections", enabled(false)),
            ("Disable HTTP2", set(self.disable_http2)),
            ("Disable QUIC", set(self.disable_quic)),
            ("Disable TLS1.2", set(self.disable_tls12)),
            ("Disable TLS1.3", set(self.disable_tls13)),
            ("Disable OCSP Stapling", set(true)),
            ("Enable Token Binding", set(false)),
            ("Log Extended Events", set(false)),
            ("Disable Legacy TLS Versions", set(self.disable_legacy_tls)),
            ("Enable Session Ticket", set(self.enable_session_ticket)),
            ("Disable Session ID", set(true)),
            ("Enable Caching Client Hello", set(false)),
        ]
    }
}

/// The table, as HTTP.SYS prints it.
#[must_use]
pub fn table(records: &[Record]) -> String {
    let mut out = String::from("\nSSL Certificate bindings:\n-------------------------\n\n");
    for record in records {
        for (label, value) in record.fields() {
            // Writing to a string does not fail.
            writeln!(out, "    {label:<LABEL_WIDTH$}{}{value}", separator(label)).ok();
        }
        out.push('\n');
    }
    out
}

/// The two labels that are wider than their column have a space of their own.
fn separator(label: &str) -> &'static str {
    if label.len() < LABEL_WIDTH { ": " } else { " : " }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(text, "{byte:02x}").ok();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: RecordKey) -> Record {
        Record {
            key,
            certificate_hash: Some([0xab; 20]),
            store_name: Some("MY".to_owned()),
            negotiate_client_certificate: false,
            disable_http2: false,
            disable_quic: true,
            disable_tls12: false,
            disable_tls13: false,
            disable_legacy_tls: true,
            enable_session_ticket: true,
        }
    }

    #[test]
    fn a_record_is_laid_out_as_windows_does() {
        let text = table(&[record(RecordKey::IpPort("0.0.0.0:443".parse().unwrap()))]);
        let expected = "
SSL Certificate bindings:
-------------------------

    IP:port                      : 0.0.0.0:443
    Certificate Hash             : abababababababababababababababababababab
    Application ID               : {4dc3e181-e14b-4a21-b022-59fc669b0914}
    Certificate Store Name       : MY
    Verify Client Certificate Revocation : Disabled
    Verify Revocation Using Cached Client Certificate Only : Disabled
    Usage Check                  : Enabled
    Revocation Freshness Time    : 0
    URL Retrieval Timeout        : 0
    Ctl Identifier               : (null)
    Ctl Store Name               : (null)
    DS Mapper Usage              : Disabled
    Negotiate Client Certificate : Disabled
    Reject Connections           : Disabled
    Disable HTTP2                : Not Set
    Disable QUIC                 : Set
    Disable TLS1.2               : Not Set
    Disable TLS1.3               : Not Set
    Disable OCSP Stapling        : Set
    Enable Token Binding         : Not Set
    Log Extended Events          : Not Set
    Disable Legacy TLS Versions  : Set
    Enable Session Ticket        : Set
    Disable Session ID           : Set
    Enable Caching Client Hello  : Not Set

";
        assert_eq!(text, expected);
    }

    #[test]
    fn the_first_line_says_what_kind_of_record_it_is() {
        let first = |key| table(&[record(key)]).lines().nth(4).unwrap().to_owned();
        assert_eq!(
            first(RecordKey::HostnamePort("a.example".to_owned(), 443)),
            "    Hostname:port                : a.example:443"
        );
        assert_eq!(
            first(RecordKey::IpPort("[2001:db8::1]:8443".parse().unwrap())),
            "    IP:port                      : [2001:db8::1]:8443"
        );
        assert_eq!(first(RecordKey::CentralStore(443)), "    Central Certificate Store    : 443");
    }

    #[test]
    fn what_a_record_has_not_is_null() {
        let record = Record {
            certificate_hash: None,
            store_name: None,
            ..record(RecordKey::CentralStore(443))
        };
        let text = table(&[record]);
        assert!(text.contains("    Certificate Hash             : (null)\n"), "{text}");
        assert!(text.contains("    Certificate Store Name       : (null)\n"), "{text}");
    }

    #[test]
    fn one_blank_line_stands_between_records() {
        let key = |port| RecordKey::HostnamePort("a.example".to_owned(), port);
        let text = table(&[record(key(443)), record(key(8443))]);
        assert_eq!(text.matches("\n\n").count(), 3, "title, between, end");
        assert_eq!(text.matches("\n\n\n").count(), 0);
    }
}
