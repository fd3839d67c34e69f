//! Which files a binding's certificate is in.

use bindery_model::{
    binding::Binding,
    certificate::{CertificateChoice, CertificateFiles, CertificateReference},
    name::{HostName, HostPattern},
};

use crate::{clock, snapshot::Snapshot};

/// Why a binding has no certificate to show.
#[derive(Debug, thiserror::Error)]
pub enum CertificateChoiceError {
    /// Nothing that is configured covers the name.
    #[error("no certificate of the configuration covers {0}")]
    NoneCovers(String),
    /// A catch-all without a choice, and a client without a name.
    #[error("a client without a server name leaves nothing to choose a certificate by")]
    NoName,
    /// No certificate has the thumbprint or fingerprint that the binding names.
    #[error("no certificate of the configuration has the thumbprint {0}")]
    NoThumbprint(String),
    /// The binding is to have none.
    #[error("the binding has no certificate")]
    NoneWanted,
    /// The central store has no file.
    #[error("the central store has no file for {0}")]
    NotInCentralStore(String),
}

/// The files of the certificates that `binding` may show to a client that asked for `name`, best
/// first.
///
/// # Errors
///
/// When there is none.
pub async fn candidates(
    snapshot: &Snapshot,
    binding: &Binding,
    name: Option<&HostName>,
) -> Result<Vec<CertificateFiles>, CertificateChoiceError> {
    match &binding.certificate {
        CertificateChoice::Listed(references) => listed(snapshot, references).await,
        CertificateChoice::Best => best(snapshot, binding, name).await,
        CertificateChoice::None => Err(CertificateChoiceError::NoneWanted),
        CertificateChoice::Central => {
            let host = match (&binding.information.host, name) {
                (HostPattern::Exact(host), _) | (_, Some(host)) => host.as_str(),
                (HostPattern::Wildcard(_) | HostPattern::Any, None) => {
                    return Err(CertificateChoiceError::NoName);
                }
            };
            let central = snapshot.central.as_ref();
            let file = central.and_then(|central| central.find(host));
            file.map(|file| vec![file.files])
                .ok_or_else(|| CertificateChoiceError::NotInCentralStore(host.to_owned()))
        }
    }
}

async fn listed(
    snapshot: &Snapshot,
    references: &[CertificateReference],
) -> Result<Vec<CertificateFiles>, CertificateChoiceError> {
    let table = &snapshot.configuration.table;
    let mut found = Vec::with_capacity(references.len());
    for reference in references {
        let id = match reference {
            CertificateReference::Source(id) => Some(*id),
            CertificateReference::Thumbprint(bytes) => {
                snapshot.certificates.get(&table.certificates).await.thumbprint(bytes)
            }
            CertificateReference::Fingerprint(bytes) => {
                snapshot.certificates.get(&table.certificates).await.fingerprint(bytes)
            }
        };
        found.extend(id.and_then(|id| table.certificate(id)).map(|source| source.files.clone()));
    }
    if found.is_empty() {
        let all: Vec<_> = references.iter().map(ToString::to_string).collect();
        return Err(CertificateChoiceError::NoThumbprint(all.join(", ")));
    }
    Ok(found)
}

async fn best(
    snapshot: &Snapshot,
    binding: &Binding,
    name: Option<&HostName>,
) -> Result<Vec<CertificateFiles>, CertificateChoiceError> {
    let table = &snapshot.configuration.table;
    let index = snapshot.certificates.get(&table.certificates).await;
    let now = clock::now();
    let ids = match (name, &binding.information.host) {
        (Some(name), _) | (None, HostPattern::Exact(name)) => index.best(name, now),
        (None, HostPattern::Wildcard(parent)) => index.best_for_wildcard(parent, now),
        (None, HostPattern::Any) => return Err(CertificateChoiceError::NoName),
    };
    if ids.is_empty() {
        let wanted = name.map_or_else(|| binding.information.host.to_string(), ToString::to_string);
        return Err(CertificateChoiceError::NoneCovers(wanted));
    }
    Ok(ids.into_iter().filter_map(|id| table.certificate(id)).map(|s| s.files.clone()).collect())
}
