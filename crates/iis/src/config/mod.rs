//! `applicationHost.config` and `web.config`: read, edited in place, written.

mod edit;
pub(crate) mod host;
pub(crate) mod keys;
pub(crate) mod pools;
mod read;
mod write;

use std::path::{Path, PathBuf};

use bindery_model::document::{Before, Document};

pub use edit::edit;
pub(crate) use edit::text_of;
pub use read::{Proposed, proposed};
pub use write::{BARE, write};

use crate::netsh::records::Records;

/// The field that `removeServerHeader` is about.
const SERVER_FIELD: &str = "Server";

/// The text of a `web.config`, or why it cannot be read.
pub type WebConfigText = Result<String, String>;

/// Everything that a configuration in IIS's form is made of.
pub struct Sources<'a> {
    /// The text of `applicationHost.config`.
    pub text: &'a str,
    /// The folder that relative paths begin in.
    pub folder: &'a Path,
    /// What the `bindery.toml` beside it says: settings, listeners, certificates and where the
    /// folders of Windows are here. It has no sites. Its problems stand in its own text and are not
    /// repeated.
    pub companion: &'a Document,
    /// Certificate records.
    pub records: &'a Records,
    /// The text of the `web.config` of a folder, where there is one; or why it cannot be read.
    pub web_config: &'a dyn Fn(&Path) -> Option<WebConfigText>,
    /// Folders inside a folder that have a `web.config`, at any depth, bounded.
    pub folders_with_web_config: &'a dyn Fn(&Path) -> Vec<PathBuf>,
    /// Where a folder is whatever the case of its name is: Windows' paths have none. `None` where
    /// there is no such folder.
    pub folder_named: &'a dyn Fn(&Path) -> Option<PathBuf>,
    /// The value of an environment variable.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
}

/// What the text says. Positions and problems point into it; what is not supported is a problem
/// that names line, element and meaning, and never an error.
#[must_use]
pub fn read(sources: &Sources<'_>) -> Document {
    read::read(sources)
}

/// The same, for a text that is nearly that which stood there `before` and was read with `records`:
/// sites that are the same in both are taken over, so that it costs what differs. What the functions
/// of `sources` answer must be what they answered then.
#[must_use]
pub fn read_after(sources: &Sources<'_>, before: Before<'_>, records: &Records) -> Document {
    read::read_after(sources, before, records)
}
