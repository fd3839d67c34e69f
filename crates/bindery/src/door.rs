//! The way to what is in force: a running server, or the file where none runs. Commands go by one
//! door and do not know which.

use std::path::{Path, PathBuf};

use bindery_control::{
    applier::{Applier, Outcome, Refused, Request},
    history::{self, Actor, Record},
    home::{Form, Home, Loaded},
    problems::PlacedProblem,
    steps::Observer,
};
use bindery_iis::netsh::records::Records;
use bindery_model::document::{Configuration, Document};
use bindery_server::text_of;

use crate::{
    ConfigOption, config,
    output::{self, Failure},
    privileges::{self, User},
};

/// One of the two.
pub(crate) enum Door {
    /// No server runs: this process is the one writer for as long as the command takes.
    Offline(Offline),
}

/// The writer of a configuration that no server serves.
pub(crate) struct Offline {
    applier: Applier,
    /// Whose the state folder is, where this is root and a server would become somebody else.
    owner: Option<(User, PathBuf)>,
}

/// What is in force, or what a start would serve.
pub(crate) struct Seen {
    /// Where it is.
    pub(crate) home: Home,
    /// Its number, where a server has given it one.
    pub(crate) revision: Option<u64>,
    /// The text of the file.
    pub(crate) text: String,
    /// Certificate records.
    pub(crate) records: Records,
    /// What both say.
    pub(crate) document: Document,
}

impl Seen {
    /// Looks without changing anything, also where the state folder is not ours to write.
    pub(crate) fn look(config: &ConfigOption) -> Result<Self, Failure> {
        let Loaded { home, text, records, document, .. } = config.load()?;
        Ok(Self { home, revision: None, text, records, document })
    }

    pub(crate) fn configuration(&self) -> &Configuration {
        &self.document.configuration
    }

    pub(crate) fn form(&self) -> Form {
        self.home.form
    }

    /// What another text would say in the place of this one.
    pub(crate) fn read(&self, text: &str) -> Result<Document, Failure> {
        let (document, beside) = self.home.read(text, &self.records);
        match beside.first() {
            None => Ok(document),
            Some(problem) => {
                Err(Failure::new(format!("{}:{}: {}", problem.file, problem.line, problem.message)))
            }
        }
    }
}

/// Why a change was not made. Nothing has changed.
#[derive(Debug)]
pub(crate) struct NotMade {
    /// Why, as an error says it.
    pub(crate) what: String,
    /// What is wrong with what it would make.
    pub(crate) problems: Vec<PlacedProblem>,
    /// What to do about it.
    pub(crate) help: Option<String>,
}

impl From<Refused> for NotMade {
    fn from(refused: Refused) -> Self {
        let what = text_of(&refused);
        let help = match &refused {
            Refused::Outdated { expected, .. } => Some(format!(
                "`bindery diff {expected}` shows what has changed since; then ask again with \
                 --expect and the new revision"
            )),
            Refused::NoRevision(_) => Some("`bindery history` lists those that are kept".into()),
            Refused::Edited(_) => Some("mend the file, or put back what was there".into()),
            Refused::State(_) => Some(
                "ask as root or as the server's user; a server that holds the folder must be the \
                 one that is asked"
                    .into(),
            ),
            _ => None,
        };
        let problems = match refused {
            Refused::Problems(problems) | Refused::Edited(problems) => problems,
            _ => Vec::new(),
        };
        Self { what, problems, help }
    }
}

impl From<NotMade> for Failure {
    fn from(refused: NotMade) -> Self {
        let mut text = refused.what;
        for problem in &refused.problems {
            let PlacedProblem { file, line, column, message, code, .. } = problem;
            text.push_str(&format!("\n{file}:{line}:{column}: {message} [{code}]"));
        }
        Self::new(text)
    }
}

impl Door {
    /// Opens the door to the configuration that is meant.
    pub(crate) fn open(config: &ConfigOption) -> Result<Self, Failure> {
        let path = config.path()?;
        Self::offline(&path)
    }

    fn offline(path: &Path) -> Result<Self, Failure> {
        let loaded = config::load(path)?;
        let settings = &loaded.document.configuration.settings;
        let owner = settings.user.as_deref().map(User::to_become).transpose()?.flatten();
        let owner = owner.map(|user| (user, settings.state_dir.clone()));
        let applier = Applier::open(loaded, Observer::default())
            .map_err(|refused| Failure::from(NotMade::from(refused)))?;
        Ok(Self::Offline(Offline { applier, owner }))
    }

    /// Makes a change.
    pub(crate) fn apply(&self, request: &Request) -> Result<Outcome, NotMade> {
        match self {
            Self::Offline(Offline { applier, .. }) => applier.apply(request).map_err(NotMade::from),
        }
    }

    /// What is in force.
    pub(crate) fn seen(&self) -> Result<Seen, Failure> {
        match self {
            Self::Offline(Offline { applier, .. }) => {
                let current = applier.current();
                let (document, _) = current.home.read(&current.text, &current.records);
                Ok(Seen {
                    home: current.home.clone(),
                    revision: Some(current.revision),
                    text: current.text.clone(),
                    records: current.records.clone(),
                    document,
                })
            }
        }
    }

    /// The last changes, newest first.
    pub(crate) fn history(&self, before: Option<u64>, count: usize) -> Result<Vec<Record>, Failure> {
        let unread = |error| Failure::because("the history cannot be read", error);
        match self {
            Self::Offline(Offline { applier, .. }) => applier.history(before, count).map_err(unread),
        }
    }

    /// The text that a revision had.
    pub(crate) fn text_of(&self, revision: u64) -> Result<String, Failure> {
        let unread = |error: std::io::Error| Failure::because("the history cannot be read", error);
        let text = match self {
            Self::Offline(Offline { applier, .. }) => applier.text_of(revision).map_err(unread)?,
        };
        text.ok_or_else(|| {
            Failure::new(format!(
                "revision {revision} is not in the history; `bindery history` lists those that are"
            ))
        })
    }

    /// Whether a server is asked.
    pub(crate) fn is_server(&self) -> bool {
        match self {
            Self::Offline(_) => false,
        }
    }
}

impl Drop for Offline {
    /// What root made in the state folder is the server's.
    fn drop(&mut self) {
        if let Some((user, folder)) = &self.owner
            && let Err(error) = user.own_all(folder)
        {
            let (folder, error) = (folder.display(), text_of(&error));
            output::note(format_args!("bindery: {folder} cannot be given to the server: {error}"));
        }
    }
}

/// Who asks, by this door of ours.
pub(crate) fn actor(door: history::Door) -> Actor {
    Actor { name: privileges::user_name(), door }
}
