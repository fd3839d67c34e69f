//! The way to what is in force: the server that runs with this configuration, or its files where
//! none does. Commands go by one door and do not know which.

use std::{
    io,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use bindery_control::{
    api::{CertificateRecord, ProblemDocument, certificates, user_name},
    applier::{Applier, Outcome, Past, Refused, Request, What},
    backup::Backups,
    client::{Client, ClientError, Refusal, Terms, all},
    history::{self, Actor, Record},
    home::{Home, HomeError, Loaded},
    problems::{FilePlace, PlacedProblem},
    steps::Observer,
    things,
};
use bindery_iis::netsh::records::Records;
use bindery_model::{
    change::{Difference, Fields, Place},
    document::{Configuration, Document, Settings},
};
use bindery_server::{inspect::has_errors, text_of};

use crate::{
    ConfigOption,
    commands::change::{helped, problems_text},
    config,
    output::{self, Failure},
    privileges::User,
};

/// One of the two.
pub(crate) enum Door {
    /// A server runs, and is asked.
    Server(Box<Client>, Home),
    /// None does: this process is the one writer for as long as the command takes.
    Offline(Offline),
}

/// Other commands that change the files may take so long: of fifty at once, the last waits for all.
const LOCK_TIMEOUT: Duration = Duration::from_secs(60);

/// So long after the first look it is looked again whether it is done, then twice as long each
/// time up to [`LOCK_INTERVAL_MAX`]: a look reads the files, which takes time from who has the turn.
const LOCK_INTERVAL: Duration = Duration::from_millis(20);

/// So long at most.
const LOCK_INTERVAL_MAX: Duration = Duration::from_millis(320);

/// The writer of a configuration that no server serves.
pub(crate) struct Offline {
    applier: Applier,
    /// Whose the state folder is, where this is root and the server is somebody else.
    owner: Option<(User, PathBuf)>,
}

/// What is in force, or what a start would serve.
pub(crate) struct Seen {
    /// Where it is.
    pub(crate) home: Home,
    /// Its number, where it has one.
    pub(crate) revision: Option<u64>,
    /// The text of the file.
    pub(crate) text: String,
    /// Certificate records.
    pub(crate) records: Records,
    /// What both say.
    pub(crate) document: Document,
}

/// Of what was seen that which a change is made to.
pub(crate) struct Basis {
    revision: Option<u64>,
    text: String,
    records: Records,
}

impl Seen {
    /// That which a change of it is made to.
    pub(crate) fn basis(&self) -> Basis {
        Basis { revision: self.revision, text: self.text.clone(), records: self.records.clone() }
    }

    /// Looks without changing anything, also where the state folder is not ours to write.
    pub(crate) fn look(config: &ConfigOption) -> Result<Self, Failure> {
        let (home, settings) = config.find()?;
        if let Some(client) = server_of(&settings, &home, history::Door::Cli)? {
            return seen_at(&client, home);
        }
        let Loaded { home, text, records, document, .. } = config.load()?;
        Ok(Self { home, revision: None, text, records, document })
    }

    /// What it says.
    pub(crate) fn configuration(&self) -> &Configuration {
        &self.document.configuration
    }

    /// What another text would say in the place of this one.
    pub(crate) fn read(&self, text: &str) -> Result<Document, Failure> {
        let (document, beside) = self.home.read(text, &self.records);
        match beside.first() {
            None => Ok(document),
            Some(problem) => Err(Failure::new(problem.said())),
        }
    }

    /// As what is read from files.
    pub(crate) fn into_loaded(self) -> Loaded {
        let Self { home, text, records, document, .. } = self;
        Loaded { home, text, records, document, beside: Vec::new() }
    }
}

/// What is in force, thing by thing: of a server only what is asked for is told, and read.
pub(crate) enum Things {
    /// A server runs, and is asked.
    Server(Box<Client>),
    /// None does.
    Files(Box<Document>),
}

impl Things {
    /// Looks without changing anything.
    pub(crate) fn look(config: &ConfigOption) -> Result<Self, Failure> {
        let (home, settings) = config.find()?;
        Ok(match server_of(&settings, &home, history::Door::Cli)? {
            Some(client) => Self::Server(Box::new(client)),
            None => Self::Files(Box::new(config.load()?.document)),
        })
    }

    /// A thing with the key that names it.
    pub(crate) fn one(&self, at: &Place) -> Result<Fields, Failure> {
        let found = match self {
            Self::Server(client) => match client.one(at) {
                Ok(found) => Some(found),
                Err(ClientError::Refused(refusal)) if refusal.0.word() == "not-found" => None,
                Err(error) => return Err(failure(error)),
            },
            Self::Files(document) => things::one(&document.configuration, at),
        };
        found.ok_or_else(|| {
            Failure::new(format!("there is no {at}; {} shows what there is", things::list(at)))
        })
    }

    /// Sites in the order of their numbers, whose name or a host has this in it.
    pub(crate) fn sites(&self, search: Option<&str>) -> Result<Vec<Fields>, Failure> {
        match self {
            Self::Server(client) => all(search, |wanted| client.sites(wanted)).map_err(failure),
            Self::Files(document) => {
                let table = &document.configuration.table;
                let mut found = things::sites(table, search, None);
                found.sort_unstable();
                Ok(found.into_iter().map(|(_, place)| things::site(table, place)).collect())
            }
        }
    }

    /// This site, or all of them.
    pub(crate) fn site_or_all(&self, name: Option<&str>) -> Result<Vec<Fields>, Failure> {
        match name {
            Some(name) => Ok(vec![self.one(&Place::Site(name.to_owned()))?]),
            None => self.sites(None),
        }
    }

    /// Listeners that have rules of their own.
    pub(crate) fn listeners(&self) -> Result<Vec<Fields>, Failure> {
        match self {
            Self::Server(client) => all(None, |wanted| client.listeners(wanted)).map_err(failure),
            Self::Files(document) => Ok(things::listeners(&document.configuration)),
        }
    }

    /// Certificates with what is in their files.
    pub(crate) fn certificates(&self) -> Result<Vec<CertificateRecord>, Failure> {
        match self {
            Self::Server(client) => {
                all(None, |wanted| client.certificates(wanted)).map_err(failure)
            }
            Self::Files(document) => Ok(certificates(&document.configuration.table)),
        }
    }
}

/// What was, where no server runs and the file has errors, so that it is not in force.
pub(crate) fn past(config: &ConfigOption) -> Result<Option<Past>, Failure> {
    let began = Instant::now();
    loop {
        let (home, settings) = config.find()?;
        if server_of(&settings, &home, history::Door::Cli)?.is_some() {
            return Ok(None);
        }
        let loaded = config.load()?;
        if !has_errors(&loaded.document.problems) && loaded.beside.is_empty() {
            return Ok(None);
        }
        // What a broken file says of it may be read in part only.
        let folder = home.state_folder(&settings);
        match Past::open(home, &folder) {
            Err(error)
                if error.kind() == io::ErrorKind::WouldBlock && began.elapsed() < LOCK_TIMEOUT =>
            {
                thread::sleep(LOCK_INTERVAL);
            }
            opened => return opened.map_err(unread),
        }
    }
}

/// What was kept under names.
pub(crate) fn backups(config: &ConfigOption) -> Result<Vec<String>, Failure> {
    if let Some(names) = running(config, Client::backups)? {
        return Ok(names);
    }
    let (home, settings) = config.find()?;
    let names = Backups::of(&home.state_folder(&settings)).names();
    names.map_err(|error| Failure::because("the backups cannot be read", error))
}

/// The server that runs with this state folder, where one does and serves this file.
fn server_of(
    settings: &Settings,
    home: &Home,
    door: history::Door,
) -> Result<Option<Client>, Failure> {
    let state_dir = home.state_folder(settings);
    let client = Client::new(&state_dir, door).map_err(failure)?;
    match client.about() {
        Err(ClientError::NotRunning(_)) => Ok(None),
        Err(error) => Err(failure(error)),
        Ok(about) if about.file != home.file => Err(Failure::new(format!(
            "the server with the state folder {} serves {}; name that by --config, or give this \
             configuration a state_dir of its own",
            state_dir.display(),
            about.file.display()
        ))),
        Ok(_) => Ok(Some(client)),
    }
}

/// What `ask` gets of the server that runs with this configuration; nothing where none does.
pub(crate) fn running<T>(
    config: &ConfigOption,
    ask: impl FnOnce(&Client) -> Result<T, ClientError>,
) -> Result<Option<T>, Failure> {
    let (home, settings) = config.find()?;
    let client = server_of(&settings, &home, history::Door::Cli)?;
    client.map(|client| ask(&client).map_err(failure)).transpose()
}

fn seen_at(client: &Client, home: Home) -> Result<Seen, Failure> {
    let text = client.text().map_err(failure)?;
    let records = client.records().map_err(failure)?;
    if text.form != home.form {
        return Err(Failure::new(format!(
            "{} has another form than the configuration in force: mend it first",
            home.path.display()
        )));
    }
    let (document, _) = home.read(&text.text, &records);
    Ok(Seen { home, revision: Some(text.revision), text: text.text, records, document })
}

fn failure(error: ClientError) -> Failure {
    let what = error.to_string();
    match error {
        ClientError::Io { source, .. } | ClientError::Broken { source, .. } => {
            Failure::because(what, source)
        }
        ClientError::Refused(_)
        | ClientError::NotRunning(_)
        | ClientError::Denied(_)
        | ClientError::Answer(_) => Failure::new(what),
    }
}

/// Why a change was not made. Nothing has changed, as far as is known.
#[derive(Debug, Default)]
pub(crate) struct NotMade {
    /// Why, as an error says it.
    pub(crate) what: String,
    /// What is wrong with what it would make.
    pub(crate) problems: Vec<PlacedProblem>,
    /// What to do about it.
    pub(crate) help: Option<String>,
    /// Whether nobody knows whether it was made after all.
    pub(crate) is_unknown: bool,
}

/// Why not, as it was told.
enum Unmade {
    Refused(Refused),
    Server(ClientError),
}

impl Unmade {
    /// Whether it was based on another revision than that in force.
    fn is_outdated(&self) -> bool {
        match self {
            Self::Refused(refused) => matches!(refused, Refused::Outdated { .. }),
            Self::Server(ClientError::Refused(refusal)) => refusal.0.word() == "outdated",
            Self::Server(_) => false,
        }
    }
}

impl From<Unmade> for NotMade {
    fn from(unmade: Unmade) -> Self {
        match unmade {
            Unmade::Refused(refused) => refused.into(),
            Unmade::Server(error) => error.into(),
        }
    }
}

/// What to do where files cannot be used.
const PERMISSION_HELP: &str = "ask as root or as the user that the server runs as";

impl From<Refused> for NotMade {
    fn from(refused: Refused) -> Self {
        let (what, mut help) = (text_of(&refused), refused.help());
        let is_for_others = match &refused {
            Refused::State(error) | Refused::Home(HomeError::Io { source: error, .. }) => {
                error.kind() == io::ErrorKind::PermissionDenied
            }
            _ => false,
        };
        if is_for_others && help.is_none() {
            help = Some(PERMISSION_HELP.to_owned());
        }
        let problems = match refused {
            Refused::Problems(problems)
            | Refused::Inspected(problems)
            | Refused::Edited(problems) => problems,
            _ => Vec::new(),
        };
        Self { what, problems, help, is_unknown: false }
    }
}

impl From<ClientError> for NotMade {
    fn from(error: ClientError) -> Self {
        let is_unknown = matches!(error, ClientError::Broken { .. });
        let ClientError::Refused(refusal) = error else {
            let help = is_unknown
                .then(|| "`bindery history` shows whether the change was made".to_owned());
            return Self { what: text_of(&error), help, is_unknown, ..Self::default() };
        };
        let Refusal(ProblemDocument { detail, help, problems, .. }) = *refusal;
        // What the whole says already is not said again.
        let problems = problems.into_iter().filter(|own| own.message != detail);
        let problems = problems.map(|own| PlacedProblem {
            severity: own.severity,
            code: own.code,
            place: own.file.map(|file| FilePlace {
                file,
                line: own.line.unwrap_or(1),
                column: own.column.unwrap_or(1),
            }),
            message: own.message,
            help: own.help,
            ways: own.ways,
        });
        let problems = problems.collect();
        Self { what: detail, problems, help, is_unknown }
    }
}

impl From<NotMade> for Failure {
    fn from(refused: NotMade) -> Self {
        let mut below = problems_text(&refused.problems);
        if let Some(help) = &refused.help {
            below.push_str(&helped(help));
        }
        Self::new(refused.what).with(&below)
    }
}

impl Door {
    /// Opens the door to the configuration that is meant.
    pub(crate) fn open(config: &ConfigOption, door: history::Door) -> Result<Self, Failure> {
        let (began, mut interval) = (Instant::now(), LOCK_INTERVAL);
        loop {
            let (home, settings) = config.find()?;
            if let Some(client) = server_of(&settings, &home, door)? {
                return Ok(Self::Server(Box::new(client), home));
            }
            let applier =
                Applier::open(config.load()?, Observer::default()).map_err(|refused| {
                    let file = home.path.display();
                    let what = format!("{file} has errors, and cannot be changed by commands");
                    let help = Some("`bindery check` shows them in their lines".to_owned());
                    Failure::from(NotMade { what, help, ..NotMade::from(refused) })
                })?;
            let busy = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
            if applier.state().is_err_and(busy) && began.elapsed() < LOCK_TIMEOUT {
                // Another command, which ends soon, or a server that begins, which answers soon.
                drop(applier);
                thread::sleep(interval);
                interval = (interval * 2).min(LOCK_INTERVAL_MAX);
                continue;
            }
            let folder = home.state_folder(&settings);
            let owner = match settings.user.as_deref() {
                Some(name) => User::to_become(name)?,
                // A service is somebody else without the configuration saying so.
                None => User::owning(&folder),
            };
            let owner = owner.map(|user| (user, folder));
            return Ok(Self::Offline(Offline { applier, owner }));
        }
    }

    /// Makes a change.
    pub(crate) fn apply(&self, request: &Request) -> Result<Outcome, NotMade> {
        self.told(self.asked(request))
    }

    /// What came of a change, with commands that name the configuration where that is needed.
    fn told(&self, made: Result<Outcome, Unmade>) -> Result<Outcome, NotMade> {
        let path = match self {
            Self::Server(_, home) => home.path.clone(),
            Self::Offline(Offline { applier, .. }) => applier.current().home.path.clone(),
        };
        let named = |problems: &mut Vec<PlacedProblem>| {
            config::name_in_commands(&path, problems.iter_mut().flat_map(|one| &mut one.ways));
        };
        let mut made = made.map_err(NotMade::from);
        match &mut made {
            Ok(outcome) => named(&mut outcome.problems),
            Err(refused) => named(&mut refused.problems),
        }
        made
    }

    /// Makes a change to what was seen; nothing where somebody else was faster, so that it is to
    /// be seen again.
    pub(crate) fn apply_to(
        &self,
        seen: &Basis,
        mut request: Request,
    ) -> Option<Result<Outcome, NotMade>> {
        request.expected = match self {
            Self::Server(..) => seen.revision,
            Self::Offline(Offline { applier, .. }) => {
                let current = applier.current();
                if current.text != seen.text || current.records != seen.records {
                    return None;
                }
                Some(current.revision)
            }
        };
        match self.asked(&request) {
            Err(unmade) if unmade.is_outdated() => None,
            made => Some(self.told(made)),
        }
    }

    fn asked(&self, request: &Request) -> Result<Outcome, Unmade> {
        let (client, home) = match self {
            Self::Server(client, home) => (client, home),
            Self::Offline(Offline { applier, .. }) => {
                return applier.apply(request).map_err(Unmade::Refused);
            }
        };
        let &Request { expected, dry_run, force, .. } = request;
        let terms = Terms { expected, dry_run, force };
        match &request.what {
            What::Changes(changes) => client.change(changes, &[], terms),
            What::Records(records) => client.change(&[], records, terms),
            What::Both(changes, records) => client.change(changes, records, terms),
            What::Text(text) => client.put_text(home.form, text, terms),
            What::Undo(to) => client.undo(*to, terms),
            What::Restore(name) => client.restore(name, terms),
            What::Reload | What::Anew => client.reload(terms),
        }
        .map_err(Unmade::Server)
    }

    /// Keeps what is in force under a name.
    pub(crate) fn add_backup(&self, name: &str) -> Result<(), Failure> {
        match self {
            Self::Server(client, _) => client.add_backup(name).map_err(failure),
            Self::Offline(Offline { applier, .. }) => applier
                .add_backup(name)
                .map_err(|error| Failure::because(format!("backup {name} cannot be kept"), error)),
        }
    }

    /// Takes away what was kept under a name.
    pub(crate) fn remove_backup(&self, name: &str) -> Result<(), Failure> {
        match self {
            Self::Server(client, _) => client.remove_backup(name).map_err(failure),
            Self::Offline(Offline { applier, .. }) => {
                applier.remove_backup(name).map_err(|error| {
                    Failure::because(format!("backup {name} cannot be removed"), error)
                })
            }
        }
    }

    /// What is in force.
    pub(crate) fn seen(&self) -> Result<Seen, Failure> {
        let applier = match self {
            Self::Server(client, home) => return seen_at(client, home.clone()),
            Self::Offline(Offline { applier, .. }) => applier,
        };
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

    /// The last changes, newest first.
    pub(crate) fn history(
        &self,
        before: Option<u64>,
        count: usize,
    ) -> Result<Vec<Record>, Failure> {
        match self {
            Self::Server(client, _) => {
                client.history(before, Some(count)).map(|page| page.items).map_err(failure)
            }
            Self::Offline(Offline { applier, .. }) => {
                applier.history(before, count).map_err(unread)
            }
        }
    }

    /// What the revision `to` has otherwise than `from`; what is in force has, where there is none.
    pub(crate) fn difference(&self, from: u64, to: Option<u64>) -> Result<Difference, Failure> {
        match self {
            Self::Server(client, _) => {
                let to = to.map_or_else(|| client.about().map(|about| about.revision), Ok);
                let told = to.and_then(|to| client.difference(Some(from), to));
                told.map(|told| told.difference).map_err(NotMade::from)
            }
            Self::Offline(Offline { applier, .. }) => {
                let to = to.unwrap_or_else(|| applier.current().revision);
                applier.difference(from, to).map_err(NotMade::from)
            }
        }
        .map_err(Failure::from)
    }
}

/// Why the history cannot be shown.
pub(crate) fn unread(error: io::Error) -> Failure {
    Failure::because("the history cannot be read", error)
}

impl Drop for Offline {
    /// What root made in the state folder is the server's.
    fn drop(&mut self) {
        if let Some((user, folder)) = &self.owner
            && let Err(error) = user.own_all(folder)
        {
            let folder = folder.display();
            output::note(format_args!("bindery: {folder} cannot be given to the server: {error}"));
        }
    }
}

/// Who asks, by this door.
pub(crate) fn actor(door: history::Door) -> Actor {
    Actor { name: user_name(rustix::process::geteuid().as_raw()), door }
}
