//! The `bindery.toml` beside an `applicationHost.config`: settings, listeners, certificates and where
//! folders are. It has no sites. What is wrong in it stands in another text, and is said by who has
//! that.

use bindery_model::{
    document::{Document, Parts},
    problem::{Code, Problem},
};

/// What a companion says, as the beginning of the whole. Nothing of it stands in the other text.
pub(super) fn parts(companion: Document) -> Parts {
    let Document { configuration, mut positions, .. } = companion;
    let nowhere = || 0..0;
    positions.sites.clear();
    positions.bindings.clear();
    for position in &mut positions.certificates {
        position.name = nowhere();
        position.file = nowhere();
        position.key = nowhere();
        position.password_file = nowhere();
    }
    positions.listeners.fill(nowhere());
    positions.central_store = positions.central_store.map(|_| nowhere());
    for path in &mut positions.paths {
        path.span = nowhere();
    }
    let sites = configuration.table.sites.first().map(|site| {
        let message = format!(
            "the bindery.toml beside this file has sites of its own, {:?} the first",
            site.name
        );
        let help = "move them into one of the two files, or run with --config bindery.toml";
        Problem::new(Code::Exclusive, nowhere(), message, help)
    });
    Parts {
        settings: configuration.settings,
        listeners: configuration.listeners,
        certificates: configuration.table.certificates,
        positions,
        problems: sites.into_iter().collect(),
        ..Parts::default()
    }
}
