//! The one writer. Requests queue; each is planned, proved, committed and published before the next.

use std::sync::Arc;

use bindery_iis::netsh::records::{RecordChange, Records};
use bindery_model::{
    change::{Change, Difference, EditError},
    document::Document,
};
use bindery_server::{listener::ListenError, server::Server};
use serde::{Deserialize, Serialize};

use crate::{
    history::{Actor, Record},
    home::{Home, HomeError},
    problems::PlacedProblem,
};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// What is to be done.
    pub what: What,
    /// The revision that it is based on; refused when another is in force.
    pub expected: Option<u64>,
    /// Who asks.
    pub actor: Actor,
    /// Whether everything is done but commit and publish.
    pub dry_run: bool,
    /// Whether what only this machine can tell (a file that cannot be read, a certificate that
    /// does not cover its host) is no obstacle.
    pub force: bool,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub enum What {
    /// Changes, made as one.
    Changes(Vec<Change>),
    /// Another text in the place of the whole file.
    Text(String),
    /// The text of an earlier revision.
    Undo(u64),
    /// Whatever the file says now: somebody edited it.
    Reload,
    /// Certificate records, as `netsh` has them.
    Records(Vec<RecordChange>),
}

/// What a change came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// The revision in force now.
    pub revision: u64,
    /// Whether it was made: not by a dry run, nor where nothing differs.
    pub changed: bool,
    /// What differs.
    pub difference: Difference,
    /// Connections that lost what they used.
    pub disturbed: usize,
    /// What the new configuration is warned of and the old was not.
    pub problems: Vec<PlacedProblem>,
}

/// What is in force.
pub struct Current {
    /// Its number; grows with each change, over restarts too.
    pub revision: u64,
    /// The text of the file.
    pub text: String,
    /// What it says.
    pub document: Document,
    /// Certificate records.
    pub records: Records,
    /// What is wrong with it, this machine's files included.
    pub problems: Vec<PlacedProblem>,
    /// What is wrong with what somebody wrote into the file, while the last good state serves on.
    pub edited: Vec<PlacedProblem>,
}

/// What others are told.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// A change was made.
    Changed(Record),
    /// The file was edited and cannot be served.
    Refused {
        /// What is wrong.
        problems: Vec<PlacedProblem>,
    },
}

/// Why a change was refused. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It was based on another revision.
    #[error("it is based on revision {expected}, and {current} is in force")]
    Outdated {
        /// The one it is based on.
        expected: u64,
        /// The one in force.
        current: u64,
    },
    /// It cannot be made in the text.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// What it would make cannot be served.
    #[error("it cannot be served: {}", .0.first().map_or("", |problem| problem.message.as_str()))]
    Problems(Vec<PlacedProblem>),
    /// Somebody edits the file and it cannot be served as it is: it would be overwritten.
    #[error("the file was edited by hand and has errors; mend it first")]
    Edited(Vec<PlacedProblem>),
    /// There is no such revision in the history.
    #[error("revision {0} is not in the history")]
    NoRevision(u64),
    /// A socket cannot be opened.
    #[error("cannot listen")]
    Listen(#[source] ListenError),
    /// The file cannot be read or replaced.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The state folder cannot be written.
    #[error("the state folder cannot be written")]
    State(#[source] std::io::Error),
}

/// The one writer. Cheap to clone.
#[derive(Clone)]
pub struct Applier {
    _own: Arc<()>,
}

impl Applier {
    /// Begins with what is in force. `server` is the one that runs, `None` where only the file is
    /// changed: then nobody else may hold the lock of the state folder.
    ///
    /// # Errors
    ///
    /// When the state folder cannot be locked or written.
    pub fn new(
        _home: Home,
        _current: Current,
        _server: Option<Arc<Server>>,
    ) -> Result<Self, Refused> {
        todo!()
    }

    /// Makes a change. Blocks; call it where blocking is allowed.
    ///
    /// # Errors
    ///
    /// When it is refused; nothing has changed then.
    pub fn apply(&self, _request: Request) -> Result<Outcome, Refused> {
        todo!()
    }

    /// What is in force.
    #[must_use]
    pub fn current(&self) -> Arc<Current> {
        todo!()
    }

    /// The last changes, newest first, from before `before` where that is given.
    ///
    /// # Errors
    ///
    /// When the history cannot be read.
    pub fn history(&self, _before: Option<u64>, _count: usize) -> std::io::Result<Vec<Record>> {
        todo!()
    }

    /// Events from now on.
    #[must_use]
    pub fn events(&self) -> tokio::sync::broadcast::Receiver<Event> {
        todo!()
    }
}
