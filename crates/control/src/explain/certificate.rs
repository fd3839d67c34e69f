//! Steps 5 to 7: what is shown, what may be negotiated, and what that comes to.

use std::{sync::Arc, time::SystemTime};

use bindery_model::{
    binding::Binding,
    certificate::{CertificateChoice, CertificateFiles, CertificateReference},
    name::{Host, HostName},
    tls::{ClientCertificate, TlsVersion},
};
use bindery_server::{
    snapshot::Snapshot,
    text_of,
    tls::{
        keys::{Certificate, CertificateFacts},
        policy::{PolicyConfig, provider},
    },
};

use super::{
    ask::UNRECOGNIZED_NAME,
    record::{CertificateStep, Handshake, Policy, Shown},
    unserved::{Choice, name_of},
};
use crate::words::{date, days_until, hex, in_days, some_of, timestamp};

/// What a client gets whose binding has no usable certificate.
pub(super) const INTERNAL_ERROR: &str = "internal_error";

/// Who looks at the certificate.
pub(super) struct Client<'a> {
    pub(super) name: Option<&'a HostName>,
    /// Whom it believes to talk to.
    pub(super) host: &'a Host,
    pub(super) now: SystemTime,
}

/// Which certificate is shown, why, and what is wrong with it.
pub(super) async fn step(
    snapshot: &Snapshot,
    binding: &Binding,
    choice: &Choice,
    client: &Client<'_>,
) -> CertificateStep {
    let mut problems = choice.broken.clone();
    let Some((files, certificate)) = &choice.shown else {
        return CertificateStep { shown: None, problems };
    };
    problems.extend(wrong_with(certificate, client));
    let facts = &certificate.facts;
    let addresses = facts.addresses.iter().map(ToString::to_string);
    let shown = Shown {
        name: name_of(snapshot, files).map(str::to_owned),
        file: files.file.clone(),
        subject: facts.subject.clone(),
        issuer: facts.issuer.clone(),
        names: facts.names.iter().cloned().chain(addresses).collect(),
        key: facts.key_kind.to_string(),
        not_before: timestamp(facts.not_before),
        not_after: timestamp(facts.not_after),
        days_left: days_until(client.now, facts.not_after),
        thumbprint: hex(&facts.thumbprint),
        fingerprint: hex(&facts.fingerprint),
        chain_length: facts.chain_length,
        why: why(snapshot, binding, (choice, files), client.name).await,
    };
    CertificateStep { shown: Some(shown), problems }
}

/// Why this one is shown.
async fn why(
    snapshot: &Snapshot,
    binding: &Binding,
    (choice, files): (&Choice, &CertificateFiles),
    name: Option<&HostName>,
) -> String {
    let mut why = match &binding.certificate {
        CertificateChoice::Listed(references) => {
            let place = choice.candidates.iter().position(|one| one == files).unwrap_or(0);
            match references.get(place) {
                Some(
                    CertificateReference::Thumbprint(_) | CertificateReference::Fingerprint(_),
                ) => "named by the binding, by its thumbprint".to_owned(),
                Some(CertificateReference::Source(_)) | None => "named by the binding".to_owned(),
            }
        }
        CertificateChoice::Best => {
            let wanted =
                name.map_or_else(|| binding.information.host.to_string(), ToString::to_string);
            let index = snapshot.certificates().await;
            let covering = |facts: &&Arc<CertificateFacts>| facts.covers_pattern(&wanted);
            match index.entries.iter().flatten().flatten().filter(covering).count() {
                0 | 1 => format!("the only one that covers {wanted}"),
                count => format!("the best of {count} that cover {wanted}"),
            }
        }
        // Nothing is shown, so nobody asks.
        CertificateChoice::None => String::new(),
        CertificateChoice::Central => {
            let found = name.and_then(|name| snapshot.central()?.find(name.as_str()));
            match (found, name.and_then(HostName::parent)) {
                (Some(found), Some(parent)) if found.wildcard => {
                    format!("the file that the central store has for *.{parent}")
                }
                _ => "the file that the central store has for the name".to_owned(),
            }
        }
    };
    // Those before it are broken, and said to be.
    let after = choice.candidates.iter().skip_while(|one| *one != files).skip(1);
    let after: Vec<_> = after.map(|files| called(snapshot, files)).collect();
    if !after.is_empty() {
        why.push_str(&format!("; clients that cannot verify it get {}", after.join(" or ")));
    }
    why
}

fn called(snapshot: &Snapshot, files: &CertificateFiles) -> String {
    name_of(snapshot, files).map_or_else(|| files.file.display().to_string(), str::to_owned)
}

/// Why a client may refuse it.
fn wrong_with(certificate: &Certificate, client: &Client<'_>) -> Vec<String> {
    let facts = &certificate.facts;
    let mut problems = Vec::new();
    if facts.not_after <= client.now {
        let days = in_days(days_until(client.now, facts.not_after));
        problems
            .push(format!("it expired on {}, {days}: browsers refuse it", date(facts.not_after)));
    }
    if facts.not_before > client.now {
        problems.push(format!("it is not valid before {}", timestamp(facts.not_before)));
    }
    let host = client.host.to_string();
    if !facts.covers(&host) {
        let names = some_of(&facts.names, 4);
        problems.push(format!("it does not cover {host}, but {names}: browsers refuse it"));
    }
    if facts.names_from_common_name {
        problems
            .push("it has no alternative names, only a common name: browsers refuse it".to_owned());
    }
    if facts.self_signed {
        problems.push("it signed itself: clients must be told to trust it".to_owned());
    }
    problems
}

/// What may be negotiated on the binding.
pub(super) fn policy(binding: &Binding) -> Policy {
    let tls = &binding.tls;
    let built = PolicyConfig::new(tls, &provider());
    Policy {
        minimum: tls.minimum.to_string(),
        maximum: tls.maximum.to_string(),
        alpn: if tls.http2 { vec!["h2", "http/1.1"] } else { vec!["http/1.1"] },
        client_certificate: match tls.client_certificate {
            ClientCertificate::Off => "off",
            ClientCertificate::Optional { .. } => "optional",
            ClientCertificate::Required { .. } => "require",
        },
        client_ca: tls.client_certificate.ca().cloned(),
        resumption: tls.client_certificate == ClientCertificate::Off,
        problem: built.err().map(|error| text_of(&error)),
    }
}

/// What is negotiated with a client that can do everything.
pub(super) fn handshake(binding: &Binding, shown: Option<&Shown>) -> Handshake {
    let Some(shown) = shown else {
        let why = "the binding has no certificate that can be shown".to_owned();
        return Handshake { alert: Some(INTERNAL_ERROR), why: Some(why), ..Handshake::default() };
    };
    let groups = provider().kx_groups.iter().map(|group| format!("{:?}", group.name())).collect();
    Handshake {
        version: Some(binding.tls.maximum.to_string()),
        group: best_group(groups, binding.tls.maximum),
        signature: Some(shown.key.clone()),
        alert: None,
        why: None,
    }
}

/// Hybrid groups are for TLS 1.3 only (draft-ietf-tls-ecdhe-mlkem).
fn best_group(groups: Vec<String>, version: TlsVersion) -> Option<String> {
    groups.into_iter().find(|group| version == TlsVersion::Tls13 || !group.contains("MLKEM"))
}

/// What a client gets whom nobody answers.
pub(super) fn refused(why: String) -> Handshake {
    Handshake { alert: Some(UNRECOGNIZED_NAME), why: Some(why), ..Handshake::default() }
}
