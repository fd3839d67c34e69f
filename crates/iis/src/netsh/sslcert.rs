//! The table that `netsh http show sslcert` prints of certificate records.
//!
//! The layout is that of Windows Server 2022: labels, their order, padding and vocabulary. Scripts
//! read it line by line. The blocks `Extended Properties`, which older versions do not print, are
//! left out: they tell of buffers that only HTTP.SYS has.

use std::fmt::Write as _;

use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::records::{FLAGS, Flag, Record, RecordKey, hex};

/// So wide are labels, except for two that are longer.
const LABEL_WIDTH: usize = 29;

/// A line of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Key,
    Hash,
    ApplicationId,
    StoreName,
    RevocationFreshness,
    UrlRetrieval,
    CtlIdentifier,
    CtlStoreName,
    Flag(Flag),
}

/// Every line of a record, in their order. Older versions print the first ones only.
pub(super) fn fields() -> impl Iterator<Item = Field> {
    let named = [Field::Key, Field::Hash, Field::ApplicationId, Field::StoreName];
    let times = [
        Field::RevocationFreshness,
        Field::UrlRetrieval,
        Field::CtlIdentifier,
        Field::CtlStoreName,
    ];
    let (checks, rest) = FLAGS.split_at(3);
    let flags = |facts: &'static [super::records::FlagFacts]| {
        facts.iter().map(|facts| Field::Flag(facts.flag))
    };
    named.into_iter().chain(flags(checks)).chain(times).chain(flags(rest))
}

impl Field {
    /// What stands before the value.
    pub(super) fn label(self, key: &RecordKey) -> &'static str {
        match self {
            Self::Key => match key {
                RecordKey::IpPort(_) => "IP:port",
                RecordKey::HostnamePort { .. } => "Hostname:port",
                RecordKey::CentralStore(_) => "Central Certificate Store",
            },
            Self::Hash => "Certificate Hash",
            Self::ApplicationId => "Application ID",
            Self::StoreName => "Certificate Store Name",
            Self::RevocationFreshness => "Revocation Freshness Time",
            Self::UrlRetrieval => "URL Retrieval Timeout",
            Self::CtlIdentifier => "Ctl Identifier",
            Self::CtlStoreName => "Ctl Store Name",
            Self::Flag(flag) => flag.facts().label,
        }
    }

    fn value(self, record: &Record) -> String {
        let or_null = |text: Option<String>| text.unwrap_or_else(|| "(null)".to_owned());
        match self {
            Self::Key => record.key.to_string(),
            Self::Hash => or_null(record.certificate_hash.map(|hash| hex(&hash))),
            Self::ApplicationId => record.application_id.to_string(),
            Self::StoreName => or_null(record.store_name.clone()),
            Self::RevocationFreshness => record.revocation_freshness_seconds.to_string(),
            Self::UrlRetrieval => record.url_retrieval_milliseconds.to_string(),
            Self::CtlIdentifier => or_null(record.ctl_identifier.clone()),
            Self::CtlStoreName => or_null(record.ctl_store_name.clone()),
            Self::Flag(flag) => match (flag.facts().enabled, record.flags.is(flag)) {
                (true, true) => "Enabled",
                (true, false) => "Disabled",
                (false, true) => "Set",
                (false, false) => "Not Set",
            }
            .to_owned(),
        }
    }
}

/// Every line of a record: its label and its value.
fn lines(record: &Record) -> impl Iterator<Item = (&'static str, String)> {
    fields().map(|field| (field.label(&record.key), field.value(record)))
}

/// The table, as HTTP.SYS prints it.
#[must_use]
pub fn table<'a>(records: impl IntoIterator<Item = &'a Record>) -> String {
    let mut out = String::from("\nSSL Certificate bindings:\n-------------------------\n\n");
    for record in records {
        for (label, value) in lines(record) {
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

/// The table as JSON. Its names are those of the lines, without what is no letter or digit.
#[derive(Serialize)]
pub struct Table<'a> {
    #[serde(rename = "SSLCertificateBindings")]
    bindings: Vec<Lines<'a>>,
}

struct Lines<'a>(&'a Record);

impl<'a> FromIterator<&'a Record> for Table<'a> {
    fn from_iter<T: IntoIterator<Item = &'a Record>>(records: T) -> Self {
        Self { bindings: records.into_iter().map(Lines).collect() }
    }
}

impl Serialize for Lines<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (label, value) in lines(self.0) {
            let name: String = label.chars().filter(char::is_ascii_alphanumeric).collect();
            map.serialize_entry(&name, &value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netsh::records::ApplicationId;

    fn record(key: &str) -> Record {
        let said = [Flag::DisableQuic, Flag::DisableOcspStapling, Flag::DisableLegacyTls];
        Record {
            certificate_hash: Some([0xab; 20]),
            store_name: Some("MY".to_owned()),
            flags: said.into_iter().map(|flag| (flag, true)).collect(),
            ..Record::new(key.parse().unwrap(), ApplicationId::IIS)
        }
    }

    #[test]
    fn a_record_is_laid_out_as_windows_does() {
        let text = table(&[record("ipport=0.0.0.0:443")]);
        let expected = "
SSL Certificate bindings:
-------------------------

    IP:port                      : 0.0.0.0:443
    Certificate Hash             : abababababababababababababababababababab
    Application ID               : {4dc3e181-e14b-4a21-b022-59fc669b0914}
    Certificate Store Name       : MY
    Verify Client Certificate Revocation : Enabled
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
    Enable Session Ticket        : Not Set
    Disable Session ID           : Not Set
    Enable Caching Client Hello  : Not Set

";
        assert_eq!(text, expected);
    }

    #[test]
    fn the_first_line_says_what_kind_of_record_it_is() {
        let first = |key| table(&[record(key)]).lines().nth(4).unwrap().to_owned();
        assert_eq!(
            first("hostnameport=a.example:443"),
            "    Hostname:port                : a.example:443"
        );
        assert_eq!(
            first("hostnameport=192.0.2.10:443:a.example"),
            "    Hostname:port                : 192.0.2.10:443:a.example"
        );
        assert_eq!(
            first("ipport=[2001:db8::1]:8443"),
            "    IP:port                      : [2001:db8::1]:8443"
        );
        assert_eq!(first("ccs=443"), "    Central Certificate Store    : 443");
    }

    #[test]
    fn what_a_record_has_not_is_null() {
        let text = table(&[Record::new("ccs=443".parse().unwrap(), ApplicationId::IIS)]);
        assert!(text.contains("    Certificate Hash             : (null)\n"), "{text}");
        assert!(text.contains("    Certificate Store Name       : (null)\n"), "{text}");
    }

    #[test]
    fn one_blank_line_stands_between_records() {
        let records = [record("hostnameport=a.example:443"), record("hostnameport=a.example:8443")];
        let text = table(&records);
        assert_eq!(text.matches("\n\n").count(), 3, "title, between, end");
        assert_eq!(text.matches("\n\n\n").count(), 0);
    }
}
