//! What a change to certificate records comes to: a change to a binding, where bindings have their
//! certificates in the configuration, or one to the records that are kept beside it.

use std::collections::BTreeMap;

use bindery_model::{
    binding::{Binding, Endpoint, Protocol},
    certificate::CertificateChoice,
    change::{Act, Change, Place, Value},
    decide::{KeyHost, KeyRef},
    document::Configuration,
    name::HostPattern,
    table::MemoryTable,
    tls::{ClientCertificate, TlsPolicy, TlsVersion},
};

use super::records::{Flag, Record, RecordChange, RecordError, RecordKey, Records, Settings, hex};

const NO_VERSION: &str = "TLS 1.2 and 1.3 are both off, and no other is spoken";

/// Where the certificate of a binding is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// At the binding, in `bindery.toml`. Records are kept only as long as no binding has their
    /// key.
    Toml,
    /// In the records, as on Windows: `applicationHost.config` has no place for it.
    Iis,
}

/// What a change is made to.
pub struct Known<'a> {
    /// Where certificates are written.
    pub home: Home,
    /// Sites and bindings in force.
    pub configuration: &'a Configuration,
    /// Records in force.
    pub records: &'a Records,
    /// Whether there is a certificate with this SHA-1, and its key.
    pub has_certificate: &'a dyn Fn(&[u8; 20]) -> bool,
}

/// What is to be done. Both parts belong together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Changes to the configuration.
    pub changes: Vec<Change>,
    /// Changes to the records.
    pub records: Vec<RecordChange>,
    /// What whoever asked should know.
    pub notes: Vec<String>,
}

/// What `change` comes to.
///
/// # Errors
///
/// As HTTP.SYS would refuse it, or because the binding cannot do what is asked.
pub fn plan(change: &RecordChange, known: &Known<'_>) -> Result<Plan, RecordError> {
    let (key, settings) = match change {
        RecordChange::Add(record) => (&record.key, Some(record.to_settings())),
        RecordChange::Update { key, settings } => (key, Some(settings.clone())),
        RecordChange::Delete(key) => (key, None),
    };
    let hash = settings.as_ref().and_then(|settings| settings.certificate_hash);
    if let Some(hash) = hash.filter(|hash| !(known.has_certificate)(hash)) {
        return Err(RecordError::NoCertificate { key: key.clone(), hash });
    }
    let mut bindings = match known.home {
        Home::Toml => bindings_of(&known.configuration.table, key),
        Home::Iis => Vec::new(),
    };
    if matches!(change, RecordChange::Add(_)) {
        if known.home == Home::Toml {
            free(known.configuration, key)?;
        }
    } else {
        bindings.retain(|own| is_shown(own));
    }
    if bindings.is_empty() {
        let after = known.records.apply(std::slice::from_ref(change))?;
        after.find(key).map_or(Ok(()), speaks)?;
        let notes = match (known.home, change) {
            (Home::Toml, RecordChange::Add(_)) => vec![format!(
                "no https binding has {}={key} yet: the record is kept, and the next one takes it",
                key.tag()
            )],
            (Home::Iis, _) => settings.map_or_else(Vec::new, |own| idle_at_record(known, &own)),
            _ => Vec::new(),
        };
        return Ok(Plan { records: vec![change.clone()], notes, ..Plan::default() });
    }
    let mut plan = Plan::default();
    // One that waited, for a binding that was written by hand since.
    if known.records.find(key).is_some() {
        plan.records.push(RecordChange::Delete(key.clone()));
    }
    for binding in bindings {
        let (set, notes) = match &settings {
            Some(settings) => to_binding(binding, key, settings)?,
            None => without_certificate(binding),
        };
        plan.notes.extend(notes);
        plan.changes.extend(change_of(&known.configuration.table, binding, set));
    }
    Ok(plan)
}

/// That a record with this key can be added where certificates are written at bindings.
///
/// # Errors
///
/// [`RecordError::Exists`] where a binding with the key says itself which certificate it shows: that
/// is its record.
pub fn free(configuration: &Configuration, key: &RecordKey) -> Result<(), RecordError> {
    match bindings_of(&configuration.table, key).into_iter().any(names_its_own) {
        true => Err(RecordError::Exists(key.clone())),
        false => Ok(()),
    }
}

/// Whether a binding says itself which certificate it shows, so that there is a record already.
fn names_its_own(binding: &Binding) -> bool {
    matches!(binding.certificate, CertificateChoice::Listed(_) | CertificateChoice::Central)
}

/// Whether a binding in `bindery.toml` stands for a record: one that shows a certificate does.
#[must_use]
pub fn is_shown(binding: &Binding) -> bool {
    match binding.certificate {
        CertificateChoice::None => false,
        CertificateChoice::Best => binding.information.host != HostPattern::Any,
        CertificateChoice::Listed(_) | CertificateChoice::Central => true,
    }
}

/// What bindings take from records that were kept for them, where certificates are written at
/// bindings: to be done together with the change that `after` is the result of.
///
/// # Errors
///
/// When a binding cannot do what its record says.
pub fn taken_up(records: &Records, after: &Configuration) -> Result<Plan, RecordError> {
    let mut plan = Plan::default();
    for record in records.iter() {
        let bindings = bindings_of(&after.table, &record.key);
        if bindings.is_empty() {
            continue;
        }
        plan.records.push(RecordChange::Delete(record.key.clone()));
        for binding in bindings {
            let on = &binding.information;
            let key = &record.key;
            // What the binding says itself was said later than the record.
            if matches!(binding.certificate, CertificateChoice::Listed(_)) {
                plan.notes.push(format!(
                    "{on} names its certificate: the record {}={key} is dropped",
                    key.tag()
                ));
                continue;
            }
            let (set, notes) = to_binding(binding, key, &record.to_settings())?;
            plan.notes.push(format!("{on} takes the record {}={key}", key.tag()));
            plan.notes.extend(notes);
            plan.changes.extend(change_of(&after.table, binding, set));
        }
    }
    Ok(plan)
}

/// The https bindings that a record with this key is about: the binding that holds it. A name
/// without an address stands for the same name on single addresses too where no binding has it on
/// all of them: HTTP.SYS has no other record for those.
#[must_use]
pub fn bindings_of<'a>(table: &'a MemoryTable, key: &RecordKey) -> Vec<&'a Binding> {
    let held = |endpoint: Endpoint, host: KeyHost<'_>| {
        let binding = table.binding(table.holder(&KeyRef { endpoint, host })?);
        let own = binding.information.protocol == Protocol::Https
            && binding.certificate != CertificateChoice::Central;
        own.then_some(binding)
    };
    match key {
        RecordKey::IpPort(endpoint) => held(*endpoint, KeyHost::Any).into_iter().collect(),
        RecordKey::HostnamePort { host, endpoint } => {
            let host = match host {
                HostPattern::Any => return Vec::new(),
                HostPattern::Exact(name) => KeyHost::Exact(name.as_str()),
                HostPattern::Wildcard(parent) => KeyHost::Wildcard(parent.as_str()),
            };
            match (held(*endpoint, host), endpoint.address) {
                (Some(binding), _) => vec![binding],
                (None, Some(_)) => Vec::new(),
                (None, None) => {
                    let endpoints = table.endpoints().iter().map(|(own, _)| *own);
                    let of_port = endpoints.filter(|own| own.port == endpoint.port);
                    of_port.filter_map(|own| held(own, host)).collect()
                }
            }
        }
        RecordKey::CentralStore(port) => {
            let all = table.bindings.iter();
            let central = all.filter(|own| own.certificate == CertificateChoice::Central);
            central
                .filter(|own| {
                    let information = &own.information;
                    information.protocol == Protocol::Https && information.endpoint.port == *port
                })
                .collect()
        }
    }
}

type Set = BTreeMap<String, Option<Value>>;

fn change_of(table: &MemoryTable, binding: &Binding, set: Set) -> Option<Change> {
    let at = Place::Binding {
        site: table.site(binding).name.clone(),
        on: binding.information.to_string(),
    };
    (!set.is_empty()).then_some(Change { at, act: Act::Set(set) })
}

/// That a record leaves a version of TLS to be spoken.
fn speaks(record: &Record) -> Result<(), RecordError> {
    let mut tls = TlsPolicy::default();
    for (flag, on) in record.flags.iter() {
        say(flag, on, &mut tls);
    }
    match tls.minimum > tls.maximum {
        true => {
            let reason = NO_VERSION.to_owned();
            Err(RecordError::Parameter { key: record.key.clone(), reason })
        }
        false => Ok(()),
    }
}

/// What of the settings of a record means nothing here to those who are served by it.
fn idle_at_record(known: &Known<'_>, settings: &Settings) -> Vec<String> {
    let mut tls = TlsPolicy::default();
    let mut notes = Vec::new();
    for (flag, on) in settings.flags.iter() {
        match say(flag, on, &mut tls) {
            Said::Done => {}
            Said::Idle(why) => notes.push(idle(flag, on, why)),
            Said::NoAuthorities if known.configuration.settings.client_ca.is_some() => {}
            Said::NoAuthorities => notes.push(
                "clientcertnegotiation=enable asks nobody yet: client_ca, below [server] in \
                 bindery.toml, says whose certificates are good"
                    .to_owned(),
            ),
        }
    }
    notes.extend(without_place(settings, known.home));
    notes
}

fn idle(flag: Flag, on: bool, why: &str) -> String {
    let word = if on { "enable" } else { "disable" };
    format!("{}={word} changes nothing here: {why}", flag.tag())
}

/// The binding stays, as on Windows, and shows nothing: which is warned of as with any change.
fn without_certificate(binding: &Binding) -> (Set, Vec<String>) {
    let on = &binding.information;
    let notes = match binding.certificate {
        CertificateChoice::Central => {
            vec![format!("`certificate = \"central\"` at {on} gives it back to the central store")]
        }
        CertificateChoice::Best | CertificateChoice::Listed(_) | CertificateChoice::None => {
            Vec::new()
        }
    };
    (Set::from([("certificate".to_owned(), Some("none".into()))]), notes)
}

/// What settings come to at a binding, and what of them has no meaning there.
fn to_binding(
    binding: &Binding,
    key: &RecordKey,
    settings: &Settings,
) -> Result<(Set, Vec<String>), RecordError> {
    let refuse = |reason: String| RecordError::Parameter { key: key.clone(), reason };
    let mut set = Set::new();
    if let Some(hash) = settings.certificate_hash
        && binding.certificate != CertificateChoice::Central
    {
        set.insert("certificate".to_owned(), Some(Value::Text(hex(&hash))));
    }
    let mut tls = binding.tls.clone();
    let mut notes = Vec::new();
    for (flag, on) in settings.flags.iter() {
        match say(flag, on, &mut tls) {
            Said::Done => {}
            Said::Idle(why) => notes.push(idle(flag, on, why)),
            Said::NoAuthorities => {
                return Err(refuse(format!(
                    "client certificates are verified by a file of authorities: set \
                     tls.client_certificate and tls.client_ca of {}",
                    binding.information
                )));
            }
        }
    }
    if tls.minimum > tls.maximum {
        return Err(refuse(NO_VERSION.to_owned()));
    }
    notes.extend(without_place(settings, Home::Toml));
    set.extend(difference(&binding.tls, &tls));
    Ok((set, notes))
}

/// What a flag came to.
enum Said {
    Done,
    /// It has no meaning here.
    Idle(&'static str),
    /// Client certificates are asked for, and nobody says whose are good.
    NoAuthorities,
}

fn say(flag: Flag, on: bool, tls: &mut TlsPolicy) -> Said {
    let standard = TlsPolicy::default();
    match (flag, on) {
        (Flag::DisableHttp2, _) => tls.http2 = !on,
        (Flag::DisableTls12, true) => tls.minimum = TlsVersion::Tls13,
        (Flag::DisableTls12, false) => tls.minimum = standard.minimum,
        (Flag::DisableTls13, true) => tls.maximum = TlsVersion::Tls12,
        (Flag::DisableTls13, false) => tls.maximum = standard.maximum,
        (Flag::NegotiateClientCertificate, true)
            if tls.client_certificate == ClientCertificate::Off =>
        {
            return Said::NoAuthorities;
        }
        (Flag::NegotiateClientCertificate, true) => {}
        (Flag::NegotiateClientCertificate, false) => {
            tls.client_certificate = ClientCertificate::Off;
        }
        // These are as they are here.
        (Flag::DisableQuic | Flag::DisableLegacyTls | Flag::DisableSessionId, true)
        | (Flag::DisableOcspStapling, true)
        | (Flag::VerifyRevocation | Flag::VerifyCachedOnly | Flag::DsMapper, false)
        | (Flag::Reject | Flag::EnableTokenBinding | Flag::LogExtendedEvents, false)
        | (Flag::UsageCheck | Flag::EnableSessionTicket, true)
        | (Flag::EnableCachingClientHello, false) => {}
        (Flag::DisableQuic, false) => return Said::Idle("HTTP/3 is not spoken"),
        (Flag::DisableLegacyTls, false) => return Said::Idle("TLS before 1.2 is not spoken"),
        (Flag::DisableSessionId, false) => return Said::Idle("sessions resume by tickets only"),
        (Flag::DisableOcspStapling, false) => return Said::Idle("OCSP answers are not stapled"),
        (Flag::VerifyRevocation | Flag::VerifyCachedOnly, true) => {
            return Said::Idle("revocation is not looked up");
        }
        (Flag::UsageCheck, false) => return Said::Idle("the use is always checked"),
        (Flag::DsMapper, true) => return Said::Idle("there is no directory of accounts"),
        (Flag::Reject, true) => {
            return Said::Idle("stop the site, or remove the binding, to answer nobody");
        }
        (Flag::EnableSessionTicket, false) => {
            return Said::Idle("sessions resume unless client certificates are asked for");
        }
        (Flag::EnableTokenBinding, true) => return Said::Idle("token binding is not spoken"),
        (Flag::LogExtendedEvents, true) => return Said::Idle("the log has them"),
        (Flag::EnableCachingClientHello, true) => return Said::Idle("hellos are not kept"),
    }
    Said::Done
}

/// What is said of lists of revoked certificates and of issuers.
fn without_place(settings: &Settings, home: Home) -> Vec<String> {
    let issuers = match home {
        Home::Toml => "tls.client_ca of the binding",
        Home::Iis => "client_ca, below [server] in bindery.toml,",
    };
    let said = [
        ("revocationfreshnesstime", settings.revocation_freshness_seconds.is_some_and(|n| n > 0)),
        ("urlretrievaltimeout", settings.url_retrieval_milliseconds.is_some_and(|n| n > 0)),
        ("sslctlidentifier", settings.ctl_identifier.is_some()),
        ("sslctlstorename", settings.ctl_store_name.is_some()),
    ];
    let said = said.into_iter().filter(|(_, said)| *said);
    said.map(|(tag, _)| match tag.starts_with("sslctl") {
        true => {
            format!("{tag} changes nothing here: {issuers} says whose client certificates are good")
        }
        false => format!("{tag} changes nothing here: revocation is not looked up"),
    })
    .collect()
}

/// The keys of `bindery.toml` that differ. What is at its default is taken out.
fn difference(before: &TlsPolicy, after: &TlsPolicy) -> Set {
    let standard = TlsPolicy::default();
    let mut set = Set::new();
    let mut say = |key: &str, value: Option<Value>| set.insert(format!("tls.{key}"), value);
    if before.http2 != after.http2 {
        let value = (after.http2 != standard.http2).then_some(Value::Boolean(after.http2));
        say("http2", value);
    }
    let version = |own: TlsVersion, standard: TlsVersion| {
        (own != standard).then(|| Value::Text(own.to_string()))
    };
    if before.minimum != after.minimum {
        say("minimum", version(after.minimum, standard.minimum));
    }
    if before.maximum != after.maximum {
        say("maximum", version(after.maximum, standard.maximum));
    }
    if before.client_certificate != after.client_certificate {
        say("client_certificate", None);
        say("client_ca", None);
    }
    set
}

#[cfg(test)]
mod tests;
