//! What is said where somebody asks for https bindings as on IIS 7, without server name indication,
//! and `bindery.toml` has no such thing: the server name always chooses.

use bindery_model::{
    binding::{Binding, Protocol},
    certificate::{CertificateChoice, CertificateId, CertificateReference},
    document::Configuration,
    name::HostPattern,
    record::{CENTRAL, SNI},
};
use bindery_server::{clock, tls::index::IndexedCertificates};

/// A note for each binding that `after`, of IIS's form, brings to `before` without asking for SNI,
/// beside another with a certificate that is not the same.
pub(super) fn asked_without_sni(before: &Configuration, after: &Configuration) -> Vec<String> {
    let Some(records) = &after.records else { return Vec::new() };
    let table = &before.table;
    let is_secure = |own: &&Binding| own.information.protocol == Protocol::Https;
    let known = |own: &Binding| table.bindings.iter().any(|old| old.information == own.information);
    let new = after.table.bindings.iter().zip(&records.ssl_flags).filter(|(own, flags)| {
        is_secure(own)
            && own.information.host != HostPattern::Any
            && **flags & (SNI | CENTRAL) == 0
            && !known(own)
    });
    let mut certificates = None;
    let mut notes = Vec::new();
    for (own, _) in new {
        let on = &own.information;
        let at = |other: &&Binding| other.information.endpoint == on.endpoint;
        let others: Vec<_> = table.bindings.iter().filter(is_secure).filter(at).collect();
        if others.is_empty() {
            continue;
        }
        let known =
            certificates.get_or_insert_with(|| IndexedCertificates::read(&table.certificates));
        let Some(shown) = shown(known, own) else { continue };
        let name = |id: CertificateId| table.certificate(id).map_or("", |own| own.name.as_str());
        let differs = |other: &&Binding| {
            let theirs = self::shown(known, other).filter(|theirs| *theirs != shown)?;
            Some((other.information.clone(), theirs))
        };
        if let Some((other, theirs)) = others.iter().find_map(differs) {
            notes.push(format!(
                "{on} was asked for without SNI. On IIS 7 it would have shared one certificate \
                 with {other}, {}. Here the server name always chooses: each shows its own, {on} \
                 shows {}",
                name(theirs),
                name(shown),
            ));
        }
    }
    notes
}

/// The certificate that a binding shows as far as it can be said.
fn shown(known: &IndexedCertificates, binding: &Binding) -> Option<CertificateId> {
    match (&binding.certificate, &binding.information.host) {
        (CertificateChoice::Listed(listed), _) => match listed.first()? {
            CertificateReference::Source(id) => Some(*id),
            CertificateReference::Thumbprint(bytes) => known.thumbprint(bytes),
            CertificateReference::Fingerprint(bytes) => known.fingerprint(bytes),
        },
        (CertificateChoice::Best, HostPattern::Exact(name)) => {
            known.best(name, clock::now()).first().copied()
        }
        (CertificateChoice::Best, HostPattern::Wildcard(parent)) => {
            known.best_for_wildcard(parent, clock::now()).first().copied()
        }
        _ => None,
    }
}
