//! The `bindery.toml` beside an `applicationHost.config`: settings, listeners, certificates and where
//! folders are. It has no sites. What is wrong in it stands in another text, and is said by who has
//! that.

use bindery_model::{
    certificate::CertificateSource,
    document::{CertificatePosition, Document, NamedPath, Parts, Positions},
    problem::{Code, Problem},
};

/// What a companion says, as the beginning of the whole. Nothing of it stands in the other text.
pub(super) fn parts(companion: &Document) -> Parts {
    let Document { configuration, positions, .. } = companion;
    let nowhere = || 0..0;
    let certificate = |_: &CertificateSource| CertificatePosition {
        name: nowhere(),
        file: nowhere(),
        key: nowhere(),
        password_file: nowhere(),
    };
    let path = |path: &NamedPath| NamedPath { span: nowhere(), ..path.clone() };
    let certificates = &configuration.table.certificates;
    let sites = configuration.table.sites.first().map(|site| {
        let message = format!(
            "the bindery.toml beside this file has sites of its own, {:?} the first",
            site.name
        );
        let help = "move them into one of the two files, or run with --config bindery.toml";
        Problem::new(Code::Exclusive, nowhere(), message, help)
    });
    Parts {
        settings: configuration.settings.clone(),
        listeners: configuration.listeners.clone(),
        certificates: certificates.clone(),
        positions: Positions {
            certificates: certificates.iter().map(certificate).collect(),
            listeners: configuration.listeners.iter().map(|_| nowhere()).collect(),
            central_store: positions.central_store.as_ref().map(|_| nowhere()),
            paths: positions.paths.iter().map(path).collect(),
            ..Positions::default()
        },
        problems: sites.into_iter().collect(),
        ..Parts::default()
    }
}
