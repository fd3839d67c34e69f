//! Finding and reading the configuration.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bindery_model::document::{self, Document};

use crate::{ConfigOption, output::Failure};

/// Where a configuration is looked for when none is named.
const PLACES: [&str; 2] = ["bindery.toml", "/etc/bindery/bindery.toml"];

/// A configuration as it was read.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// Where it was read from.
    pub(crate) path: PathBuf,
    /// Its text.
    pub(crate) text: String,
    /// Where its relative paths begin.
    pub(crate) folder: PathBuf,
    /// What it says.
    pub(crate) document: Document,
}

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

    /// Reads the file that is meant.
    pub(crate) fn load(&self) -> Result<Loaded, Failure> {
        load(&self.path()?)
    }
}

/// Reads a configuration. What is wrong inside it is no failure: the document lists it.
pub(crate) fn load(path: &Path) -> Result<Loaded, Failure> {
    let because = |error| Failure::because(format!("{} cannot be read", path.display()), error);
    // Read through any link now: paths in the file are meant from where it is written.
    let whole = fs::canonicalize(path).map_err(because)?;
    let bytes = fs::read(&whole).map_err(because)?;
    let text = String::from_utf8(bytes).map_err(|error| {
        Failure::because(format!("{} is not UTF-8", path.display()), error.utf8_error())
    })?;
    let folder = whole.parent().unwrap_or_else(|| Path::new("/"));
    let document = document::parse(&text, folder);
    Ok(Loaded { path: path.to_owned(), text, folder: folder.to_owned(), document })
}

impl Loaded {
    /// The same once more, for who has given the document away.
    pub(crate) fn again(path: &Path, text: &str, folder: &Path) -> Self {
        let document = document::parse(text, folder);
        Self { path: path.to_owned(), text: text.to_owned(), folder: folder.to_owned(), document }
    }
}
