//! One certificate record: everything that `netsh http add sslcert` can say of it.

use std::{collections::BTreeMap, fmt, str::FromStr};

use bindery_model::record::RecordKey;
use serde::{Deserialize, Serialize, Serializer};

/// Who made a record: a GUID. It only tells; nothing is allowed or refused by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ApplicationId(pub u128);

impl ApplicationId {
    /// The one that IIS writes. Scripts look for it.
    pub const IIS: Self = Self(0x4dc3_e181_e14b_4a21_b022_59fc_669b_0914);
}

impl fmt::Display for ApplicationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:032x}", self.0);
        let part = |from, to| digits.get(from..to).unwrap_or_default();
        let [a, b, c, d, e] = [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)];
        write!(f, "{{{a}-{b}-{c}-{d}-{e}}}")
    }
}

impl From<ApplicationId> for String {
    fn from(id: ApplicationId) -> Self {
        id.to_string()
    }
}

/// No GUID in braces.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no GUID, as {{00112233-4455-6677-8899-aabbccddeeff}}")]
pub struct ApplicationIdError(pub String);

impl FromStr for ApplicationId {
    type Err = ApplicationIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ApplicationIdError(text.to_owned());
        let inner = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let inner = inner.ok_or_else(error)?;
        let lengths: Vec<_> = inner.split('-').map(str::len).collect();
        let digits: String = inner.split('-').collect();
        let hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        match (lengths == [8, 4, 4, 4, 12] && hex, u128::from_str_radix(&digits, 16)) {
            (true, Ok(id)) => Ok(Self(id)),
            _ => Err(error()),
        }
    }
}

impl TryFrom<String> for ApplicationId {
    type Error = ApplicationIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// What is on or off in a record. The first six are printed as Enabled or Disabled, the others as
/// Set or Not Set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Flag {
    /// Client certificates are looked up among the revoked ones; on unless said otherwise.
    VerifyRevocation,
    /// Only in lists that are at hand.
    VerifyCachedOnly,
    /// Client certificates must be made for that use; on unless said otherwise.
    UsageCheck,
    /// Client certificates are mapped to accounts by the directory.
    DsMapper,
    /// Clients are asked for a certificate.
    NegotiateClientCertificate,
    /// Connections are refused.
    Reject,
    /// No HTTP/2.
    DisableHttp2,
    /// No HTTP/3.
    DisableQuic,
    /// No TLS 1.2.
    DisableTls12,
    /// No TLS 1.3.
    DisableTls13,
    /// No stapled OCSP answers.
    DisableOcspStapling,
    /// Token binding (RFC 8471).
    EnableTokenBinding,
    /// Further events are logged.
    LogExtendedEvents,
    /// No TLS before 1.2.
    DisableLegacyTls,
    /// Sessions are resumed by tickets.
    EnableSessionTicket,
    /// Sessions are not resumed by number.
    DisableSessionId,
    /// Hellos are kept.
    EnableCachingClientHello,
}

/// A flag with its tag on netsh's command line, its line in the table and what it is unless said.
pub(crate) struct FlagFacts {
    pub(crate) flag: Flag,
    pub(crate) tag: &'static str,
    pub(crate) label: &'static str,
    pub(crate) standard: bool,
    /// Whether it is printed as Enabled or Disabled.
    pub(crate) enabled: bool,
}

const fn switch(flag: Flag, tag: &'static str, label: &'static str, standard: bool) -> FlagFacts {
    FlagFacts { flag, tag, label, standard, enabled: true }
}

const fn bit(flag: Flag, tag: &'static str, label: &'static str) -> FlagFacts {
    FlagFacts { flag, tag, label, standard: false, enabled: false }
}

/// Every flag, in the order of the table.
pub(crate) const FLAGS: [FlagFacts; 17] = [
    switch(
        Flag::VerifyRevocation,
        "verifyclientcertrevocation",
        "Verify Client Certificate Revocation",
        true,
    ),
    switch(
        Flag::VerifyCachedOnly,
        "verifyrevocationwithcachedclientcertonly",
        "Verify Revocation Using Cached Client Certificate Only",
        false,
    ),
    switch(Flag::UsageCheck, "usagecheck", "Usage Check", true),
    switch(Flag::DsMapper, "dsmapperusage", "DS Mapper Usage", false),
    switch(
        Flag::NegotiateClientCertificate,
        "clientcertnegotiation",
        "Negotiate Client Certificate",
        false,
    ),
    switch(Flag::Reject, "reject", "Reject Connections", false),
    bit(Flag::DisableHttp2, "disablehttp2", "Disable HTTP2"),
    bit(Flag::DisableQuic, "disablequic", "Disable QUIC"),
    bit(Flag::DisableTls12, "disabletls12", "Disable TLS1.2"),
    bit(Flag::DisableTls13, "disabletls13", "Disable TLS1.3"),
    bit(Flag::DisableOcspStapling, "disableocspstapling", "Disable OCSP Stapling"),
    bit(Flag::EnableTokenBinding, "enabletokenbinding", "Enable Token Binding"),
    bit(Flag::LogExtendedEvents, "logextendedevents", "Log Extended Events"),
    bit(Flag::DisableLegacyTls, "disablelegacytls", "Disable Legacy TLS Versions"),
    bit(Flag::EnableSessionTicket, "enablesessionticket", "Enable Session Ticket"),
    bit(Flag::DisableSessionId, "disablesessionid", "Disable Session ID"),
    bit(Flag::EnableCachingClientHello, "enablecachingclienthello", "Enable Caching Client Hello"),
];

impl Flag {
    pub(crate) fn facts(self) -> &'static FlagFacts {
        #[allow(clippy::indexing_slicing, reason = "FLAGS has every flag, in their order")]
        &FLAGS[self as usize]
    }

    /// Its tag on netsh's command line.
    #[must_use]
    pub fn tag(self) -> &'static str {
        self.facts().tag
    }

    /// The flag of a tag, in lower case.
    #[must_use]
    pub fn by_tag(tag: &str) -> Option<Self> {
        FLAGS.iter().find(|facts| facts.tag == tag).map(|facts| facts.flag)
    }
}

/// The flags that something was said of: on, off, or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "BTreeMap<String, bool>")]
pub struct Flags(BTreeMap<Flag, bool>);

impl Flags {
    /// What was said of a flag.
    #[must_use]
    pub fn said(&self, flag: Flag) -> Option<bool> {
        self.0.get(&flag).copied()
    }

    /// Whether it is on: as was said, or as it is unless said.
    #[must_use]
    pub fn is(&self, flag: Flag) -> bool {
        self.said(flag).unwrap_or_else(|| flag.facts().standard)
    }

    /// Says that it is on or off.
    pub fn say(&mut self, flag: Flag, on: bool) {
        self.0.insert(flag, on);
    }

    /// Everything that was said, in the order of the table.
    pub fn iter(&self) -> impl Iterator<Item = (Flag, bool)> + '_ {
        self.0.iter().map(|(flag, on)| (*flag, *on))
    }
}

impl FromIterator<(Flag, bool)> for Flags {
    fn from_iter<T: IntoIterator<Item = (Flag, bool)>>(said: T) -> Self {
        Self(said.into_iter().collect())
    }
}

impl Serialize for Flags {
    /// By their tags, in alphabetical order.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut said: Vec<_> = self.iter().map(|(flag, on)| (flag.tag(), on)).collect();
        said.sort_unstable();
        serializer.collect_map(said)
    }
}

/// A flag of a later version is passed over.
impl From<BTreeMap<String, bool>> for Flags {
    fn from(said: BTreeMap<String, bool>) -> Self {
        said.into_iter().filter_map(|(tag, on)| Some((Flag::by_tag(&tag)?, on))).collect()
    }
}

/// A certificate record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What it is found by.
    pub key: RecordKey,
    /// SHA-1 of the certificate; `None` where there is none to name, as for the central store.
    #[serde(default, with = "hash", skip_serializing_if = "Option::is_none")]
    pub certificate_hash: Option<[u8; 20]>,
    /// Who made it.
    pub application_id: ApplicationId,
    /// The Windows store that the certificate is in, as it was typed; none means `MY`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_name: Option<String>,
    /// How long a list of revoked certificates is good; 0 for as long as it says itself.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub revocation_freshness_seconds: u32,
    /// How long the retrieval of such a list may take; 0 for the system's own limit.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub url_retrieval_milliseconds: u32,
    /// The list of authorities that client certificates may come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ctl_identifier: Option<String>,
    /// Where that list is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ctl_store_name: Option<String>,
    /// What is on or off.
    #[serde(default)]
    pub flags: Flags,
}

/// Some of what a record says: what `add` and `update` are given beside the key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// As [`Record::certificate_hash`].
    #[serde(with = "hash", skip_serializing_if = "Option::is_none")]
    pub certificate_hash: Option<[u8; 20]>,
    /// As [`Record::application_id`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application_id: Option<ApplicationId>,
    /// As [`Record::store_name`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_name: Option<String>,
    /// As [`Record::revocation_freshness_seconds`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revocation_freshness_seconds: Option<u32>,
    /// As [`Record::url_retrieval_milliseconds`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_retrieval_milliseconds: Option<u32>,
    /// As [`Record::ctl_identifier`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ctl_identifier: Option<String>,
    /// As [`Record::ctl_store_name`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ctl_store_name: Option<String>,
    /// What is on or off, as far as it is said.
    pub flags: Flags,
}

impl Record {
    /// A record that says nothing but its key and who made it.
    #[must_use]
    pub fn new(key: RecordKey, application_id: ApplicationId) -> Self {
        Self {
            key,
            certificate_hash: None,
            application_id,
            store_name: None,
            revocation_freshness_seconds: 0,
            url_retrieval_milliseconds: 0,
            ctl_identifier: None,
            ctl_store_name: None,
            flags: Flags::default(),
        }
    }

    /// The record with everything that `settings` say; the rest stays.
    #[must_use]
    pub fn with(mut self, settings: &Settings) -> Self {
        let Settings { ctl_identifier, ctl_store_name, store_name, .. } = settings;
        let text = |new: &Option<String>, old| new.clone().or(old);
        self.certificate_hash = settings.certificate_hash.or(self.certificate_hash);
        self.application_id = settings.application_id.unwrap_or(self.application_id);
        self.store_name = text(store_name, self.store_name);
        self.ctl_identifier = text(ctl_identifier, self.ctl_identifier);
        self.ctl_store_name = text(ctl_store_name, self.ctl_store_name);
        self.revocation_freshness_seconds =
            settings.revocation_freshness_seconds.unwrap_or(self.revocation_freshness_seconds);
        self.url_retrieval_milliseconds =
            settings.url_retrieval_milliseconds.unwrap_or(self.url_retrieval_milliseconds);
        for (flag, on) in settings.flags.iter() {
            self.flags.say(flag, on);
        }
        self
    }

    /// Everything that it says beside its key.
    #[must_use]
    pub fn to_settings(&self) -> Settings {
        Settings {
            certificate_hash: self.certificate_hash,
            application_id: Some(self.application_id),
            store_name: self.store_name.clone(),
            revocation_freshness_seconds: Some(self.revocation_freshness_seconds),
            url_retrieval_milliseconds: Some(self.url_retrieval_milliseconds),
            ctl_identifier: self.ctl_identifier.clone(),
            ctl_store_name: self.ctl_store_name.clone(),
            flags: self.flags.clone(),
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Reads 40 hex digits.
#[must_use]
pub fn parse_hash(text: &str) -> Option<[u8; 20]> {
    if text.len() != 40 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 20];
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// Lower-case hex digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(digit).collect()
}

fn digit(half: u8) -> char {
    char::from_digit(u32::from(half), 16).unwrap_or('0')
}

/// A hash as text.
mod hash {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, de::Error as _};

    #[allow(clippy::ref_option, reason = "serde hands out references")]
    pub(super) fn serialize<S: Serializer>(
        hash: &Option<[u8; 20]>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        hash.map(|hash| super::hex(&hash)).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<[u8; 20]>, D::Error> {
        let text: Option<String> = Option::deserialize(deserializer)?;
        text.map(|text| {
            super::parse_hash(&text)
                .ok_or_else(|| D::Error::custom(format!("{text:?} are not 40 hex digits")))
        })
        .transpose()
    }
}
