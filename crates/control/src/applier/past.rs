//! What was: revisions as the history has them, also of a configuration that nobody serves.

use std::{io, path::Path};

use bindery_iis::netsh::records::Records;
use bindery_model::{change::Difference, document::Configuration};

use super::{Kept, Refused, difference};
use crate::{
    history::{History, Record, Texts},
    home::Home,
    lock::Lock,
};

/// The history of a configuration that nobody serves, whatever is in its file now. Nothing is
/// noted in it.
pub struct Past {
    home: Home,
    history: History,
    #[allow(dead_code, reason = "held as long as it is looked at")]
    lock: Lock,
}

impl Past {
    /// Opens it; nothing where there is none yet.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or somebody else has the state folder
    /// ([`io::ErrorKind::WouldBlock`]).
    pub fn open(home: Home, state_dir: &Path) -> io::Result<Option<Self>> {
        if !History::is_in(state_dir) {
            return Ok(None);
        }
        let lock = Lock::take(state_dir, &home.path)?;
        let history = History::open(state_dir)?;
        Ok(Some(Self { home, history, lock }))
    }

    /// As [`super::Applier::history`].
    ///
    /// # Errors
    ///
    /// When the history cannot be read.
    pub fn history(&self, before: Option<u64>, count: usize) -> io::Result<Vec<Record>> {
        self.history.records(before, count)
    }

    /// As [`super::Applier::difference`].
    ///
    /// # Errors
    ///
    /// [`Refused::NoRevision`], or that the history cannot be read.
    pub fn difference(&self, from: u64, to: u64) -> Result<Difference, Refused> {
        between(&self.home, &self.history, [from, to])
    }
}

/// What a revision was, where it is kept.
pub(super) fn kept(history: &History, revision: u64) -> io::Result<Option<Kept>> {
    let Some(Texts { config, records }) = history.texts(revision)? else { return Ok(None) };
    Ok(Some(Kept { text: config, records: serde_json::from_str(&records)? }))
}

/// What the second of two revisions has otherwise.
pub(super) fn between(
    home: &Home,
    history: &History,
    revisions: [u64; 2],
) -> Result<Difference, Refused> {
    let read = |revision| -> Result<(Configuration, Records), Refused> {
        let kept = kept(history, revision).map_err(|error| unkept(revision, error))?;
        let Kept { text, records } = kept.ok_or(Refused::NoRevision(revision))?;
        Ok((home.holding(&text).read(&text, &records).0.configuration, records))
    };
    let [from, to] = revisions;
    let (before, after) = (read(from)?, read(to)?);
    Ok(difference((&before.0, &before.1), (&after.0, &after.1)))
}

/// Why a revision of the history cannot be brought back.
pub(super) fn unkept(revision: u64, source: io::Error) -> Refused {
    match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::InvalidData => Refused::Lost { revision, source },
        _ => Refused::State(source),
    }
}
