//! A configuration to ask questions of, without a server: what `explain`, `probe` and `netsh` go
//! by.

use std::{path::PathBuf, sync::Arc};

use bindery_model::{
    binding::Binding,
    certificate::{CertificateFiles, CertificateSource},
    decide::Order,
    name::HostName,
};
use bindery_server::{
    inspect::has_errors,
    snapshot::Snapshot,
    text_of,
    tls::{
        candidates,
        central::CentralFolder,
        keys::{self, Certificate},
    },
};

use crate::{home::Loaded, problems::PlacedProblem};

/// A configuration with what is known about it as a whole.
pub struct Unserved {
    /// Where it was read from.
    pub config: PathBuf,
    /// The folder that relative paths in it are meant from.
    pub folder: PathBuf,
    /// What decides.
    pub snapshot: Snapshot,
    /// What is wrong with all of it, so that a server would not start.
    pub problems: Vec<String>,
}

/// Makes `loaded` ready for questions, in another order than its own where one is given.
#[must_use]
pub fn unserved(loaded: Loaded, order: Option<Order>) -> Unserved {
    let mut problems = Vec::new();
    let config = loaded.home.path.clone();
    let folder = loaded.home.folder.clone();
    problems.extend(loaded.beside.iter().map(PlacedProblem::said));
    if has_errors(&loaded.document.problems) {
        problems.push(format!(
            "{} has errors and cannot be served as it is; `bindery check` shows them",
            config.display()
        ));
    }
    let mut configuration = loaded.document.configuration;
    configuration.settings.order = order.unwrap_or(configuration.settings.order);
    let central = configuration.settings.central_store.as_ref().map(|store| {
        let folder = CentralFolder::open(store.folder.clone(), store.password_file.clone());
        if let Err(error) = folder.refresh() {
            let folder = store.folder.display();
            problems.push(format!("the central store {folder} cannot be read: {error}"));
        }
        Arc::new(folder)
    });
    Unserved { config, folder, snapshot: Snapshot::unserved(configuration, central), problems }
}

/// A certificate that a binding would show, with those that were passed over because they are
/// broken.
pub struct Choice {
    /// What is shown; `None` when nothing can be.
    pub shown: Option<(CertificateFiles, Certificate)>,
    /// All that could be shown, best first.
    pub candidates: Vec<CertificateFiles>,
    /// Why others are not.
    pub broken: Vec<String>,
}

/// What `binding` shows to a client that asked for `name` and can verify every kind of key.
pub async fn choice(snapshot: &Snapshot, binding: &Binding, name: Option<&HostName>) -> Choice {
    let candidates = match candidates(snapshot, binding, name).await {
        Ok(candidates) => candidates,
        Err(error) => {
            return Choice { shown: None, candidates: Vec::new(), broken: vec![text_of(&error)] };
        }
    };
    let mut broken = Vec::new();
    for files in &candidates {
        match keys::load(files) {
            Ok(certificate) => {
                return Choice { shown: Some((files.clone(), certificate)), candidates, broken };
            }
            Err(error) => broken.push(text_of(&error)),
        }
    }
    Choice { shown: None, candidates, broken }
}

/// What the configuration calls the certificate of these files.
#[must_use]
pub fn name_of<'a>(snapshot: &'a Snapshot, files: &CertificateFiles) -> Option<&'a str> {
    let sources = snapshot.configuration.table.certificates.iter();
    let mut named = sources.filter(|source: &&CertificateSource| source.files == *files);
    named.next().map(|source| source.name.as_str())
}
