//! Certificates with what is in them, and who shows them.

use std::{collections::HashMap, path::PathBuf, time::SystemTime};

use axum::response::Response;
use bindery_model::{
    binding::{Binding, Protocol},
    certificate::{CertificateChoice, CertificateId, CertificateReference, CertificateSource},
    change::Place,
    name::HostPattern,
    table::MemoryTable,
};
use bindery_server::{
    clock, text_of,
    tls::index::{Entry, IndexedCertificates},
};
use serde::{Deserialize, Serialize};

use super::{
    Call, Page,
    problem::Problem,
    things::{not_found, page_of},
};
use crate::{
    applier::Current,
    things::is_same,
    words::{hex, timestamp},
};

/// A certificate that the configuration names, with what is in its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateRecord {
    /// What the configuration calls it.
    pub name: String,
    /// Its file: PEM or PFX.
    pub file: PathBuf,
    /// The file of its key, where that is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// The file of its password, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// Whom it is for, as one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Who issued it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The names and addresses that it covers.
    #[serde(default)]
    pub names: Vec<String>,
    /// The first moment it is valid (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<String>,
    /// The last second it is valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<String>,
    /// The kind of its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_kind: Option<String>,
    /// SHA-1 of it, as the tools of IIS print it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thumbprint: Option<String>,
    /// SHA-256 of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// The bindings that show it.
    pub bindings: Vec<BindingOfSite>,
    /// What is wrong with it.
    pub problems: Vec<String>,
}

/// A binding with its site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindingOfSite {
    /// The site.
    pub site: String,
    /// The binding's text.
    pub on: String,
}

pub(super) fn list(call: &Call) -> Result<Response, Problem> {
    let current = call.current();
    let search = call.query.text("search").map(str::to_lowercase);
    let entries = known(call, &current);
    let all = current.configuration.table.certificates.iter().zip(0_usize..);
    let wanted = all.filter(|(source, place)| {
        let Some(search) = search.as_deref() else { return true };
        let known =
            entries.as_ref().and_then(|own| own.entries.get(*place)?.as_ref()?.as_ref().ok());
        source.name.to_lowercase().contains(search)
            || known.is_some_and(|facts| facts.names.iter().any(|name| name.contains(search)))
    });
    let all = wanted.map(|(source, place)| (source.name.clone(), place)).collect();
    let (found, next) = page_of(call, all)?;
    let places: Vec<usize> = found.into_iter().map(|(_, place)| place).collect();
    let items = records(&current.configuration.table, &places, entries.as_deref());
    call.tagged(current.revision, &Page { items, next })
}

pub(super) fn show(call: &Call) -> Result<Response, Problem> {
    let current = call.current();
    let name = call.part("certificate");
    let all = &current.configuration.table.certificates;
    let place = all.iter().position(|own| is_same(&own.name, name));
    let place = place.ok_or_else(|| not_found(&Place::Certificate(name.to_owned())))?;
    let known = known(call, &current);
    let found = records(&current.configuration.table, &[place], known.as_deref()).pop();
    call.tagged(current.revision, &found)
}

/// What the server knows of the files already.
fn known(call: &Call, current: &Current) -> Option<std::sync::Arc<IndexedCertificates>> {
    let snapshot = call.shared.applier.server()?.snapshot();
    // While a change is published, the two can be of different revisions.
    let same = std::sync::Arc::ptr_eq(&snapshot.configuration, &current.configuration);
    snapshot.known_certificates().filter(|_| same)
}

/// All certificates that a configuration names, their files read now.
#[must_use]
pub fn certificates(table: &MemoryTable) -> Vec<CertificateRecord> {
    let read = IndexedCertificates::read(&table.certificates);
    let places: Vec<_> = (0..table.certificates.len()).collect();
    records(table, &places, Some(&read))
}

/// The certificates at these places. Files that nobody has read yet are read now.
fn records(
    table: &MemoryTable,
    places: &[usize],
    known: Option<&IndexedCertificates>,
) -> Vec<CertificateRecord> {
    let mut users: HashMap<usize, Vec<BindingOfSite>> =
        places.iter().map(|place| (*place, Vec::new())).collect();
    let now = clock::now();
    let https = |binding: &&Binding| binding.information.protocol == Protocol::Https;
    for binding in table.bindings.iter().filter(https) {
        for CertificateId(place) in used_by(binding, known, now) {
            if let Some(users) = users.get_mut(&(place as usize)) {
                let site = table.site(binding).name.clone();
                users.push(BindingOfSite { site, on: binding.information.to_string() });
            }
        }
    }
    let sources = places.iter().filter_map(|place| Some((*place, table.certificates.get(*place)?)));
    sources
        .map(|(place, source)| {
            let entry = known.and_then(|own| own.entries.get(place)?.clone());
            let entry = entry.or_else(|| {
                IndexedCertificates::read(std::slice::from_ref(source)).entries.pop().flatten()
            });
            record(source, entry, users.remove(&place).unwrap_or_default(), now)
        })
        .collect()
}

/// The certificates that a binding shows, as far as it is known what is in them.
fn used_by(
    binding: &Binding,
    known: Option<&IndexedCertificates>,
    now: SystemTime,
) -> Vec<CertificateId> {
    let listed = |reference: &CertificateReference| match reference {
        CertificateReference::Source(id) => Some(*id),
        CertificateReference::Thumbprint(bytes) => known?.thumbprint(bytes),
        CertificateReference::Fingerprint(bytes) => known?.fingerprint(bytes),
    };
    match (&binding.certificate, &binding.information.host, known) {
        (CertificateChoice::Listed(all), ..) => all.iter().filter_map(listed).collect(),
        (CertificateChoice::Best, HostPattern::Exact(name), Some(known)) => known.best(name, now),
        (CertificateChoice::Best, HostPattern::Wildcard(parent), Some(known)) => {
            known.best_for_wildcard(parent, now)
        }
        (CertificateChoice::Best | CertificateChoice::Central | CertificateChoice::None, ..) => {
            Vec::new()
        }
    }
}

fn record(
    source: &CertificateSource,
    entry: Option<Entry>,
    bindings: Vec<BindingOfSite>,
    now: SystemTime,
) -> CertificateRecord {
    let files = &source.files;
    let mut record = CertificateRecord {
        name: source.name.clone(),
        file: files.file.clone(),
        key: files.key.clone(),
        password_file: files.password_file.clone(),
        subject: None,
        issuer: None,
        names: Vec::new(),
        not_before: None,
        not_after: None,
        key_kind: None,
        thumbprint: None,
        fingerprint: None,
        bindings,
        problems: Vec::new(),
    };
    let facts = match entry {
        Some(Ok(facts)) => facts,
        Some(Err(error)) => {
            record.problems.push(text_of(&*error));
            return record;
        }
        None => return record,
    };
    let addresses = facts.addresses.iter().map(ToString::to_string);
    record.names = facts.names.iter().cloned().chain(addresses).collect();
    record.subject = Some(facts.subject.clone());
    record.issuer = Some(facts.issuer.clone());
    record.not_before = Some(timestamp(facts.not_before));
    record.not_after = Some(timestamp(facts.not_after));
    record.key_kind = Some(facts.key_kind.to_string());
    record.thumbprint = Some(hex(&facts.thumbprint));
    record.fingerprint = Some(hex(&facts.fingerprint));
    if facts.not_after < now {
        record.problems.push(format!("its time was over at {}", timestamp(facts.not_after)));
    }
    if facts.not_before > now {
        record.problems.push(format!("its time comes at {}", timestamp(facts.not_before)));
    }
    if facts.names_from_common_name {
        record.problems.push(
            "it names its hosts in its subject only, where clients no longer look".to_owned(),
        );
    }
    record
}
