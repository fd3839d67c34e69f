//! The one writer. Requests queue; each is planned, proved, committed and published before the next.
//!
//! | step | what | may fail |
//! |---|---|---|
//! | compare | the file has the text in force; else what somebody wrote there comes first | yes |
//! | edit | changes are made in the text | yes |
//! | read | the new text is read as a configuration | yes |
//! | differ | what differs, by places | no |
//! | inspect | what is new holds on this machine: files, certificates, addresses | yes |
//! | prove | TLS policies; new sockets are opened, bound and listen | yes |
//! | intend | the history can bring the text back, and knows what is about to be done | yes |
//! | **commit** | the file is replaced, durable | yes, and then nothing has changed |
//! | publish | certificate records, the snapshot, sockets; connections that lost theirs are told | no |
//! | tell | the history, events | no |
//!
//! What a crash leaves at each of them is told in [`crate::history`].

mod machine;
mod past;
mod plan;

use std::{
    error::Error,
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::SystemTime,
};

use bindery_iis::netsh::records::{RecordChange, RecordError, Records};
use bindery_model::{
    change::{Change, Difference, EditError, Place},
    document::{Before, Configuration, Positions, Settings, write},
    problem::{Problem, Severity},
};
use bindery_server::{
    blocking::Background,
    clock,
    listener::ListenError,
    server::{Proof, Server, prove},
    snapshot::Revision,
};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use tracing::{error, warn};

use crate::{
    backup::Backups,
    history::{Actor, Door, History, Record, Texts},
    home::{Home, HomeError, InForce, Loaded, REPLACED, read_records, records_file},
    lock::Lock,
    problems::{PlacedProblem, all_placed},
    replace::{self, NotReplaced, Replacement},
    steps::Observer,
    things::list,
    written::{Author, Replaced},
};

use past::{between, kept};

pub use past::Past;

/// Who listens to events and falls behind by more has to look at the history again.
const EVENTS_KEPT: usize = 256;

/// So often it is looked at the file again when somebody writes there at the very moment of a
/// change. Nobody writes so fast for long.
const EDITS_FOLLOWED: usize = 10;

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
    /// Changes to certificate records, as `netsh` has them.
    Records(Vec<RecordChange>),
    /// Both, made as one: a binding that takes a record up.
    Both(Vec<Change>, Vec<RecordChange>),
    /// Another text in the place of the whole file.
    Text(String),
    /// The text of an earlier revision, and its certificate records.
    Undo(u64),
    /// What was kept under a name: the text, and its certificate records.
    Restore(String),
    /// Whatever the file says now: somebody edited it.
    Reload,
    /// Whatever the file says now, with everything it names read and looked at again.
    Anew,
}

impl Request {
    /// Whether who asks has the text that comes of it, and can look at a place in it.
    fn has_text(&self) -> bool {
        match self.what {
            // appcmd has changed what it was given.
            What::Text(_) => self.actor.door != Door::Appcmd,
            What::Reload | What::Anew => true,
            What::Changes(_)
            | What::Records(_)
            | What::Both(..)
            | What::Undo(_)
            | What::Restore(_) => false,
        }
    }
}

impl What {
    /// Whether the file is read and not written.
    fn is_of_file(&self) -> bool {
        matches!(self, Self::Reload | Self::Anew)
    }

    /// Whether it puts another text in the place of the whole file.
    fn is_whole(&self) -> bool {
        matches!(self, Self::Text(_) | Self::Undo(_) | Self::Restore(_))
    }
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

/// What is in force. Changes put another in its place; it never changes itself.
#[derive(Debug)]
pub struct Current {
    /// Where its text is.
    pub home: Home,
    /// Its number; grows with each change, over restarts too.
    pub revision: u64,
    /// The text of the file.
    pub text: String,
    /// Certificate records.
    pub records: Records,
    /// What it says.
    pub configuration: Arc<Configuration>,
    /// Where in the text that stands.
    pub positions: Positions,
    /// What is wrong with the text; nothing that is an error.
    pub problems: Vec<Problem>,
}

/// What the history keeps of a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The text of the file.
    pub text: String,
    /// Certificate records.
    pub records: Records,
}

impl Current {
    /// The folder where state is kept between runs.
    #[must_use]
    pub fn state_folder(&self) -> PathBuf {
        self.home.state_folder(&self.configuration.settings)
    }

    /// What a text that is nearly the same is read after.
    fn in_force(&self) -> InForce<'_> {
        let Self { home, text, records, configuration, positions, problems, .. } = self;
        let before = Before { text, folder: &home.folder, configuration, positions, problems };
        InForce { home, records, before }
    }
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
    /// It cannot be made in the certificate records.
    #[error(transparent)]
    Records(#[from] RecordError),
    /// What it would make cannot be served.
    #[error("{}", counted(.0))]
    Problems(Vec<PlacedProblem>),
    /// This machine says something against it, which [`Request::force`] makes no obstacle.
    #[error("{}", counted(.0))]
    Inspected(Vec<PlacedProblem>),
    /// Somebody edits the file and it cannot be served as it is: it would be overwritten.
    #[error("the file was edited by hand and has errors; mend it first")]
    Edited(Vec<PlacedProblem>),
    /// There is no such revision in the history.
    #[error("revision {0} is not in the history")]
    NoRevision(u64),
    /// There is no such backup of a configuration of this form.
    #[error("there is no backup {0:?} of a configuration of this form")]
    NoBackup(String),
    /// A socket cannot be opened.
    #[error("cannot listen")]
    Listen(#[source] ListenError),
    /// What runs beside the server cannot take the change.
    #[error(transparent)]
    Beside(Box<dyn Error + Send + Sync>),
    /// The file cannot be read or replaced.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The text of a revision is no longer as it was written.
    #[error("what revision {revision} was cannot be read any more")]
    Lost {
        /// Which.
        revision: u64,
        /// Why.
        source: io::Error,
    },
    /// The state folder cannot be written, or is another server's.
    #[error("the state folder cannot be used")]
    State(#[source] io::Error),
}

impl Refused {
    /// What who asked can do about it, where the problems do not say it.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Outdated { expected, .. } => Some(format!(
                "`bindery diff {expected}` shows what has changed since; then ask again with the \
                 revision in force"
            )),
            Self::NoBackup(_) => Some("`bindery appcmd list backups` lists those that are kept".to_owned()),
            Self::NoRevision(_) => Some("`bindery history` lists those that are kept".to_owned()),
            Self::Lost { .. } => Some("`bindery history` lists others".to_owned()),
            // Who has ways out is not told to look away.
            Self::Inspected(problems) if problems.iter().all(|one| one.ways.is_empty()) => Some(
                "or make it all the same: --force of `bindery site` and the like, force=true of \
                 the API"
                    .to_owned(),
            ),
            Self::Edit(EditError::NotFound(at)) => Some(format!("{} shows what there is", list(at))),
            Self::Edit(EditError::NoPlace { at: Place::Record(_), .. }) => Some(
                "certificate records are no part of the configuration: `bindery netsh http add \
                 sslcert` and its like change them, and `records` of the API"
                    .to_owned(),
            ),
            Self::Edit(EditError::NoPlace {
                at: Place::Server | Place::Listener(_) | Place::Certificate(_),
                ..
            }) => Some(
                "it stands in the bindery.toml beside it: what is written there is in force at once"
                    .to_owned(),
            ),
            Self::Edited(_) => Some("`bindery check` shows what is wrong with it".to_owned()),
            Self::Home(HomeError::Edited { .. }) => {
                Some("look at what was changed, and ask again".to_owned())
            }
            Self::Home(HomeError::Io { what: REPLACED, .. }) => Some(
                "the user that the server runs as must own the file and be able to write to its \
                 folder"
                    .to_owned(),
            ),
            Self::Edit(_)
            | Self::Records(_)
            | Self::Problems(_)
            | Self::Inspected(_)
            | Self::Listen(_)
            | Self::Beside(_)
            | Self::Home(_)
            | Self::State(_) => None,
        }
    }
}

fn counted(problems: &[PlacedProblem]) -> String {
    match problems.iter().filter(|one| one.is_error()).count() {
        1 => "it has an error".to_owned(),
        count => format!("it has {count} errors"),
    }
}

/// What else takes part in a change, as an endpoint of its own: opens what the new settings need,
/// which may fail, and gives what makes it so, which may not. The one writer has it, so it may not
/// have the one writer.
pub type Beside =
    Box<dyn Fn(&Settings) -> Result<Adopt, Box<dyn Error + Send + Sync>> + Send + Sync>;

/// Makes it so. Within a tokio runtime.
pub type Adopt = Box<dyn FnOnce() + Send>;

/// The one writer. Cheap to clone.
#[derive(Clone)]
pub struct Applier {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    running: OnceLock<Running>,
    observer: Observer,
    events: broadcast::Sender<Event>,
    /// The state folder, or why there is none.
    state: Result<State, io::Error>,
    shown: Mutex<Shown>,
    /// Held by who asks, until it is made.
    turn: Mutex<()>,
    /// Held while a change is made.
    writer: Mutex<Writer>,
    /// Where changes are made, one after the other: who is served does not wait for them.
    background: Background,
}

/// A server that is told of changes.
struct Running {
    server: Arc<Server>,
    beside: Beside,
}

struct State {
    history: History,
    /// The file of certificate records.
    records: PathBuf,
    #[allow(dead_code, reason = "held as long as there is somebody who writes")]
    lock: Lock,
}

/// What anybody may look at.
#[derive(Clone)]
struct Shown {
    current: Arc<Current>,
    problems: Arc<Vec<PlacedProblem>>,
    edited: Arc<Vec<PlacedProblem>>,
}

/// What only the writer needs.
#[derive(Default)]
struct Writer {
    /// What this machine says against what is in force, as far as it was looked at.
    machine: Vec<Problem>,
    /// Whether all of it was.
    inspected: bool,
}

impl Applier {
    /// Begins with what a file says. Takes the lock of the state folder, and ends there what a
    /// crash has interrupted. Where the state folder cannot be used, [`Self::state`] says why: a
    /// server can serve on and follow its file then, and nothing else can be changed.
    ///
    /// # Errors
    ///
    /// [`Refused::Problems`] when the configuration has errors.
    pub fn open(loaded: Loaded, observer: Observer) -> Result<Self, Refused> {
        let state_dir = loaded.home.state_folder(&loaded.document.configuration.settings);
        let state = State::open(&state_dir, &loaded.home.path);
        // Who had the lock before may have changed what was read by then.
        let is_old = state.is_ok()
            && (loaded.home.text().is_ok_and(|text| text != loaded.text)
                || read_records(&state_dir).is_ok_and(|records| records != loaded.records));
        let loaded = if is_old { Home::load(&loaded.home.path)? } else { loaded };
        let Loaded { home, text, records, document, beside } = loaded;
        let file = home.path.display().to_string();
        let errors = document.problems.iter().filter(|one| one.severity() == Severity::Error);
        let errors = [all_placed(errors, &file, &text), beside].concat();
        if !errors.is_empty() {
            return Err(Refused::Problems(errors));
        }
        let mut current = Current {
            revision: 1,
            text,
            records,
            configuration: Arc::new(document.configuration),
            positions: document.positions,
            problems: document.problems,
            home,
        };
        let state = state.and_then(|state| {
            current.home.clean();
            state.begin(&mut current)?;
            Ok(state)
        });
        let state = state.map_err(|error| match error.kind() {
            // That says who has it.
            io::ErrorKind::WouldBlock => error,
            kind => io::Error::new(kind, format!("{}: {error}", state_dir.display())),
        });
        let problems = all_placed(&current.problems, &file, &current.text);
        let path = current.home.path.clone();
        let shown = Shown {
            current: Arc::new(current),
            problems: Arc::new(problems),
            edited: Arc::default(),
        };
        let inner = Inner {
            path,
            running: OnceLock::new(),
            observer,
            events: broadcast::Sender::new(EVENTS_KEPT),
            state,
            shown: Mutex::new(shown),
            turn: Mutex::default(),
            writer: Mutex::default(),
            background: Background::start("bindery-writer"),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Why the state folder cannot be used, if so.
    ///
    /// # Errors
    ///
    /// That.
    pub fn state(&self) -> Result<(), &io::Error> {
        self.inner.state.as_ref().map(|_| ())
    }

    /// What is in force, made ready to be served under its number.
    #[must_use]
    pub fn proof(&self) -> (Proof, Revision) {
        let current = self.current();
        (prove(Arc::clone(&current.configuration)), Revision(current.revision))
    }

    /// From now on `server`, which serves what is in force, is told of changes, and what runs
    /// beside it. Only the first is.
    pub fn serve(&self, server: Arc<Server>, beside: Beside) {
        drop(self.inner.running.set(Running { server, beside }));
    }

    /// The server that is told of changes, where there is one.
    #[must_use]
    pub fn server(&self) -> Option<&Arc<Server>> {
        self.inner.running.get().map(|running| &running.server)
    }

    /// Where changes are made. Who asks for one from there does not wait for its turn.
    pub(crate) fn behind(&self) -> &Background {
        &self.inner.background
    }

    /// Makes a change. Blocks; call it where blocking is allowed, and within a tokio runtime where
    /// a server is told.
    ///
    /// # Errors
    ///
    /// When it is refused; nothing has changed then.
    pub fn apply(&self, request: &Request) -> Result<Outcome, Refused> {
        // No queue: there, who asks on the basis of what it has just seen stands behind others
        // and is always outdated.
        let waits = !self.inner.background.is_here();
        let turn = || self.inner.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let _turn = waits.then(turn);
        let (applier, request) = (self.clone(), request.clone());
        self.inner.background.wait(move || {
            let made = applier.inner.apply(&request);
            // Before anybody knows: the lock of the state folder may go with it.
            drop(applier);
            made
        })
    }

    /// Looks at everything that the configuration in force names on this machine. Blocks. Gives
    /// what is wrong.
    #[must_use]
    pub fn inspect(&self) -> Arc<Vec<PlacedProblem>> {
        let [found, _] = self.inner.inspect();
        found
    }

    /// The same, without what changes have told since `known` was all that was known.
    #[must_use]
    pub fn inspect_untold(&self, known: &[PlacedProblem]) -> Vec<PlacedProblem> {
        let [found, before] = self.inner.inspect();
        let told = |one: &PlacedProblem| before.contains(one) && !known.contains(one);
        found.iter().filter(|one| !told(one)).cloned().collect()
    }

    /// What is in force.
    #[must_use]
    pub fn current(&self) -> Arc<Current> {
        Arc::clone(&self.inner.shown().current)
    }

    /// What is in force when a change that is under way is made or refused. Blocks.
    #[must_use]
    pub(crate) fn settled(&self) -> Arc<Current> {
        let _writer = self.inner.writer();
        self.current()
    }

    /// What is wrong with what is in force, this machine's files included as far as they were
    /// looked at.
    #[must_use]
    pub fn problems(&self) -> Arc<Vec<PlacedProblem>> {
        Arc::clone(&self.inner.shown().problems)
    }

    /// What is wrong with what somebody wrote into the file, while the last good state serves on.
    #[must_use]
    pub fn edited(&self) -> Arc<Vec<PlacedProblem>> {
        Arc::clone(&self.inner.shown().edited)
    }

    /// The last changes, newest first, from before `before` where that is given.
    ///
    /// # Errors
    ///
    /// When the history cannot be read.
    pub fn history(&self, before: Option<u64>, count: usize) -> io::Result<Vec<Record>> {
        let state = self.inner.state.as_ref();
        state.map_err(again)?.history.records(before, count)
    }

    /// What a revision was, where it is kept.
    ///
    /// # Errors
    ///
    /// When the history cannot be read.
    pub fn kept(&self, revision: u64) -> io::Result<Option<Kept>> {
        kept(&self.inner.state.as_ref().map_err(again)?.history, revision)
    }

    /// What the revision `to` has otherwise than `from`, each read with its own certificate
    /// records. Files beside the text, as `web.config`, are read as they are now.
    ///
    /// # Errors
    ///
    /// [`Refused::NoRevision`], or that the history cannot be read.
    pub fn difference(&self, from: u64, to: u64) -> Result<Difference, Refused> {
        let state = self.inner.state.as_ref().map_err(|error| Refused::State(again(error)))?;
        between(&self.current().home, &state.history, [from, to])
    }

    /// What was kept under names.
    #[must_use]
    pub fn backups(&self) -> Backups {
        Backups::of(&self.current().state_folder())
    }

    /// Keeps what is in force under a name. Blocks.
    ///
    /// # Errors
    ///
    /// When there is one of that name, or it cannot be written.
    pub fn add_backup(&self, name: &str) -> io::Result<()> {
        let writer = self.inner.writer();
        let current = self.current();
        let Current { home, text, records, .. } = &*current;
        let added = self.backups().add(name, home.form, text, records);
        drop(writer);
        added
    }

    /// Takes away what was kept under a name. Blocks.
    ///
    /// # Errors
    ///
    /// When there is none, or it cannot be removed.
    pub fn remove_backup(&self, name: &str) -> io::Result<()> {
        let writer = self.inner.writer();
        let removed = self.backups().remove(name);
        drop(writer);
        removed
    }

    /// Events from now on.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.inner.events.subscribe()
    }
}

impl State {
    fn open(state_dir: &Path, config: &Path) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(state_dir)?;
        let lock = Lock::take(state_dir, config)?;
        let history = History::open(state_dir)?;
        let records = records_file(state_dir);
        replace::clean(&records);
        Ok(Self { history, records, lock })
    }

    /// Ends what a crash interrupted, finds the number of what is in force, and notes what was
    /// changed while nobody was there.
    fn begin(&self, current: &mut Current) -> io::Result<()> {
        if let Some(unfinished) = self.history.recover(&current.text)? {
            let wanted: Records = serde_json::from_str(&unfinished.records)?;
            if wanted != current.records {
                self.write_records(&wanted, None)?.map_or(Ok(()), Prepared::put)?;
                let (document, _) = current.home.read(&current.text, &wanted);
                current.configuration = Arc::new(document.configuration);
                current.positions = document.positions;
                current.problems = document.problems;
                current.records = wanted;
            }
        }
        self.history.sweep();
        let texts = texts(&current.text, &current.records)?;
        let last = self.history.last_revision();
        if let Some(last) = last
            && self.history.is_last(&texts)
        {
            current.revision = last;
            return Ok(());
        }
        current.revision = last.unwrap_or(0) + 1;
        // What the history cannot bring back is not compared with.
        let before = last.and_then(|last| self.history.texts(last).ok().flatten());
        let replaced = before
            .as_ref()
            .and_then(|before| Replaced::between(&before.config, &texts.config, Author::Hand));
        let difference = before.map(|before| {
            let records = serde_json::from_str(&before.records).unwrap_or_default();
            let (before, _) = current.home.read(&before.config, &records);
            let after = (&*current.configuration, &current.records);
            difference((&before.configuration, &records), after)
        });
        let record = Record {
            revision: current.revision,
            at: seconds(clock::now()),
            actor: Actor { name: String::new(), door: Door::Start },
            undo_to: None,
            difference: difference.unwrap_or_default(),
            disturbed: 0,
            problems: Vec::new(),
        };
        let intended =
            self.history.intend(record, &texts.config, Some(&texts.records), replaced)?;
        self.history.made(intended, 0).1
    }

    /// Makes the file of certificate records ready to be replaced, where they differ.
    fn write_records(
        &self,
        records: &Records,
        before: Option<&Records>,
    ) -> io::Result<Option<Prepared>> {
        if before == Some(records) {
            return Ok(None);
        }
        let text = serde_json::to_vec_pretty(records)?;
        Ok(Some(Prepared(Replacement::prepare(&self.records, &text)?)))
    }
}

/// What differs between two configurations, and between their certificate records.
fn difference(before: (&Configuration, &Records), after: (&Configuration, &Records)) -> Difference {
    let mut differs = write::difference(before.0, after.0);
    differs.0.extend(before.1.difference(after.1));
    differs
}

/// Certificate records that lie beside their file.
struct Prepared(Replacement);

impl Prepared {
    fn put(self) -> io::Result<()> {
        self.0.commit(None, || Ok(())).map_err(|error| match error {
            NotReplaced::Io(error) => error,
            NotReplaced::Edited => io::Error::other("certificate records were edited"),
        })
    }
}

/// What the history keeps of a revision.
fn texts(config: &str, records: &Records) -> io::Result<Texts> {
    Ok(Texts { config: config.to_owned(), records: serde_json::to_string(records)? })
}

/// Why the state folder cannot be used, once more.
fn again(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl Inner {
    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply(&self, request: &Request) -> Result<Outcome, Refused> {
        let mut writer = self.writer();
        if request.what.is_of_file() {
            self.check_expected(request)?;
            return self.take_edit(&mut writer, request);
        }
        if let Err(error) = &self.state {
            return Err(Refused::State(again(error)));
        }
        let mut looks = 0;
        loop {
            self.take_edit_first(&mut writer)?;
            self.check_expected(request)?;
            match self.make(&mut writer, request) {
                // Somebody wrote into the file at that very moment. What is based on a revision is
                // outdated then; what is edited in the text is asked for whatever they wrote there.
                // Another whole text would be written over theirs.
                Err(Refused::Home(HomeError::Edited { .. }))
                    if looks < EDITS_FOLLOWED
                        && (request.expected.is_some() || !request.what.is_whole()) =>
                {
                    looks += 1;
                }
                made => return made,
            }
        }
    }

    fn check_expected(&self, request: &Request) -> Result<(), Refused> {
        let current = self.shown().current.revision;
        match request.expected {
            Some(expected) if expected != current => Err(Refused::Outdated { expected, current }),
            _ => Ok(()),
        }
    }

    /// Tells that what somebody wrote into the file cannot be served, once.
    fn tell_refused(&self, problems: &[PlacedProblem]) {
        let mut shown = self.shown();
        if **shown.edited == *problems {
            return;
        }
        shown.edited = Arc::new(problems.to_vec());
        drop(shown);
        for problem in problems.iter().filter(|one| one.is_error()) {
            error!("{} [{}]{}", problem.said(), problem.code, problem.advice());
        }
        // Nobody may be listening.
        drop(self.events.send(Event::Refused { problems: problems.to_vec() }));
    }

    /// Writes the history of a change that was made; what cannot be written is written before the
    /// next change.
    fn tell_made(&self, record: Record, written: io::Result<()>) {
        if let Err(error) = written {
            warn!(%error, revision = record.revision, "the history could not be written yet");
        }
        drop(self.events.send(Event::Changed(record)));
    }
}
