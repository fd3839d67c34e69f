//! Who changed what, when and by which door: in the state folder, each revision with its text.

use bindery_model::change::Difference;
use serde::{Deserialize, Serialize};

/// By which door a change came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Door {
    /// The server started and found it so.
    Start,
    /// Somebody edited the file.
    File,
    /// `bindery site`, `binding`, `app` and the like.
    Cli,
    /// The REST API.
    Api,
    /// `bindery appcmd`.
    Appcmd,
    /// `bindery netsh`.
    Netsh,
}

/// Who asked for a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// A user of the machine or the name of a token.
    pub name: String,
    /// By which door.
    pub door: Door,
}

/// A change that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The revision that it made.
    pub revision: u64,
    /// When: seconds since 1970-01-01 UTC.
    pub at: u64,
    /// Who.
    pub actor: Actor,
    /// The revision whose text it brought back, where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo_to: Option<u64>,
    /// What.
    pub difference: Difference,
    /// Connections that lost what they used.
    pub disturbed: usize,
}
