//! Finding the configuration.

use std::path::{Path, PathBuf};

use bindery_control::home::{Home, HomeError, Loaded};
use bindery_model::document::Settings;

use crate::{ConfigOption, output::Failure};

/// Where a configuration is looked for when none is named.
const PLACES: [&str; 2] = ["bindery.toml", "/etc/bindery/bindery.toml"];

impl ConfigOption {
    /// The file that is meant.
    pub(crate) fn path(&self) -> Result<PathBuf, Failure> {
        if let Some(path) = &self.config {
            return Ok(path.clone());
        }
        PLACES.iter().map(PathBuf::from).find(|path| path.exists()).ok_or_else(|| {
            Failure::new(
                "there is no bindery.toml here and none in /etc/bindery; \
                 name one by --config FILE, or try `bindery demo`",
            )
        })
    }

    /// Finds the file that is meant, and what it says of the whole server: where its state is.
    pub(crate) fn find(&self) -> Result<(Home, Settings), Failure> {
        Home::find_settings(&self.path()?).map_err(failure)
    }

    /// Reads the file that is meant.
    pub(crate) fn load(&self) -> Result<Loaded, Failure> {
        load(&self.path()?)
    }
}

/// Reads a configuration. What is wrong inside it is no failure: the document lists it.
pub(crate) fn load(path: &Path) -> Result<Loaded, Failure> {
    Home::load(path).map_err(failure)
}

fn failure(error: HomeError) -> Failure {
    let what = error.to_string();
    match error {
        HomeError::Io { source, .. } => Failure::because(what, source),
        HomeError::NotText { source, .. } => Failure::because(what, source),
        HomeError::Edited { .. } => Failure::new(what),
    }
}
