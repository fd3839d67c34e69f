//! What an administrator asks to be changed, in the words of `bindery.toml`, and what a change came
//! to. Every door speaks these: files, commands, the API, `appcmd`, `netsh`.

mod show;
mod value;

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::record::RecordKey;

pub(crate) use value::rank;
pub use value::{Fields, Value, in_order, toml_key};

/// What a change is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The table `[server]`.
    Server,
    /// A `[[listener]]`, by its text: `https/192.0.2.10:443`.
    Listener(String),
    /// A `[[certificate]]`, by its name.
    Certificate(String),
    /// A site, by its name, without regard to case.
    Site(String),
    /// A binding of a site.
    Binding {
        /// The site.
        site: String,
        /// Its text: `https/*:443:shop.example.com`, compared by what it means.
        on: String,
    },
    /// One of a site's `applications`.
    Application {
        /// The site.
        site: String,
        /// Its path, as `/shop`.
        path: String,
    },
    /// One of a site's `virtual_directories`.
    VirtualDirectory {
        /// The site.
        site: String,
        /// Its whole path, that of its application included.
        path: String,
    },
    /// A certificate record, which stands in no configuration but beside it. Changes to records
    /// are no [`Change`]s: `netsh` makes them. What they came to is told by this place.
    Record(RecordKey),
}

/// What happens there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// It is added, with these keys beside the one that names it.
    Add(Fields),
    /// Keys are set or, with nothing, taken out. A table is set whole; a dot leads into one:
    /// `limits.requests_max`. Setting the key that names it gives it another name.
    Set(BTreeMap<String, Option<Value>>),
    /// It is removed, with all that belongs to it.
    Remove,
}

/// One change. Several can be made as one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Where.
    pub at: Place,
    /// What.
    pub act: Act,
}

/// Why a change cannot be made in a text. The text stays as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// There is no such thing.
    #[error("there is no {0}")]
    NotFound(Place),
    /// There is one already.
    #[error("there is {0} already")]
    Exists(Place),
    /// The keys do not fit what they are for, before anything is read as a configuration.
    #[error("{at}: {reason}")]
    Wrong {
        /// What was to be changed.
        at: Place,
        /// Why not.
        reason: String,
    },
    /// This form of configuration has no place for it.
    #[error("{at}: {file} has no place for {key}")]
    NoPlace {
        /// What was to be changed.
        at: Place,
        /// The key.
        key: String,
        /// The form, by its usual name.
        file: &'static str,
    },
    /// The text itself cannot be read.
    #[error("the configuration cannot be edited: {0}")]
    Unreadable(String),
}

/// What differs between two configurations: the server, listeners, certificates, then site by site,
/// of each kind what is gone, what is otherwise and what is new; certificate records in the order of
/// their keys at the end. Displayed for a terminal of 80
/// columns, each entry from its own line on, so that nothing is shown where nothing differs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference(pub Vec<Entry>);

/// One thing that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What.
    pub at: Place,
    /// How.
    pub how: How,
}

/// How a thing differs.
///
/// Bindings, applications and virtual directories are places of their own in a site that is there
/// before and after: each is an [`Entry`], and the site's own [`How::Changed`] has none of the keys
/// `bindings`, `applications` and `virtual_directories`. A site that comes or goes as a whole comes
/// and goes with them: then they stand in its fields, as in the file, and there is one entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// It is new, and has these keys beside the one that names it.
    Added(Fields),
    /// It is gone; it had these keys beside the one that names it.
    Removed(Fields),
    /// These keys are others: before and after, nothing where a key is absent. The place has the
    /// name that holds after; the key that names it is among them where it had another before.
    Changed(BTreeMap<String, (Option<Value>, Option<Value>)>),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server => f.write_str("server"),
            Self::Listener(on) => write!(f, "listener {on:?}"),
            Self::Certificate(name) => write!(f, "certificate {name:?}"),
            Self::Site(name) => write!(f, "site {name:?}"),
            Self::Binding { site, on } => write!(f, "binding {on} of site {site:?}"),
            Self::Application { site, path } => write!(f, "application {path} of site {site:?}"),
            Self::VirtualDirectory { site, path } => {
                write!(f, "virtual directory {path} of site {site:?}")
            }
            // A number alone would say nothing.
            Self::Record(key @ RecordKey::CentralStore(_)) => {
                write!(f, "record {}={key}", key.tag())
            }
            Self::Record(key) => write!(f, "record {key}"),
        }
    }
}
