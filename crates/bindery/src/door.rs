//! The way to what is in force: the server that runs with this configuration, or its files where
//! none does. Commands go by one door and do not know which.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use bindery_control::{
    api::user_name,
    applier::{Applier, Outcome, Refused, Request, What},
    backup::Backups,
    client::{Client, ClientError, Refusal, Terms},
    history::{self, Actor, Record},
    home::{Home, HomeError, Loaded},
    problems::PlacedProblem,
    steps::Observer,
};
use bindery_iis::netsh::records::Records;
use bindery_model::document::{Configuration, Document, Settings};
use bindery_server::text_of;

use crate::{
    ConfigOption, config,
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
    /// Its number, where it has one.
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
        let loaded = config.load()?;
        let settings = &loaded.document.configuration.settings;
        if let Some(client) = server_of(settings, &loaded.home, history::Door::Cli)? {
            return seen_at(&client, loaded.home);
        }
        let Loaded { home, text, records, document, .. } = loaded;
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
            Some(PlacedProblem { file, line, message, .. }) => {
                Err(Failure::new(format!("{file}:{line}: {message}")))
            }
        }
    }

    /// As what is read from files.
    pub(crate) fn into_loaded(self) -> Loaded {
        let Self { home, text, records, document, .. } = self;
        Loaded { home, text, records, document, beside: Vec::new() }
    }
}

/// What was kept under names.
pub(crate) fn backups(config: &ConfigOption) -> Result<Vec<String>, Failure> {
    let loaded = config.load()?;
    let settings = &loaded.document.configuration.settings;
    if let Some(client) = server_of(settings, &loaded.home, history::Door::Cli)? {
        return client.backups().map_err(failure);
    }
    let names = Backups::of(&settings.state_dir).names();
    names.map_err(|error| Failure::because("the backups cannot be read", error))
}

/// The server that runs with this state folder, where one does and serves this file.
fn server_of(
    settings: &Settings,
    home: &Home,
    door: history::Door,
) -> Result<Option<Client>, Failure> {
    let state_dir = &settings.state_dir;
    let client = Client::new(state_dir, door).map_err(failure)?;
    match client.is_running() {
        Ok(true) => {}
        Ok(false) => return Ok(None),
        Err(error) => return Err(failure(error)),
    }
    let status = client.status().map_err(failure)?;
    // As the server was told, from where it was started.
    let serves = Path::new("/proc").join(status.pid.to_string()).join("cwd").join(&status.config);
    match fs::canonicalize(serves) {
        Ok(serves) if serves != home.file => Err(Failure::new(format!(
            "the server with the state folder {} serves {}; name that by --config, or give this \
             configuration a state_dir of its own",
            state_dir.display(),
            serves.display()
        ))),
        _ => Ok(Some(client)),
    }
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
        ClientError::Io { source, .. } => Failure::because(what, source),
        ClientError::Refused(_)
        | ClientError::NotRunning(_)
        | ClientError::Denied(_)
        | ClientError::Answer(_) => Failure::new(what),
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

/// What to do where a change was based on another revision.
fn since(expected: u64) -> String {
    format!(
        "`bindery diff {expected}` shows what has changed since; then ask again with the revision \
         in force"
    )
}

/// What to do where a revision is not there.
const NO_REVISION_HELP: &str = "`bindery history` lists those that are kept";

impl From<Refused> for NotMade {
    fn from(refused: Refused) -> Self {
        let what = text_of(&refused);
        let help = match &refused {
            Refused::Outdated { expected, .. } => Some(since(*expected)),
            Refused::NoRevision(_) => Some(NO_REVISION_HELP.into()),
            Refused::Home(HomeError::Edited { .. }) => Some("ask again".into()),
            Refused::State(_) | Refused::Home(_) => {
                Some("ask as root or as the user that the server runs as".into())
            }
            _ => None,
        };
        let problems = match refused {
            Refused::Problems(problems) | Refused::Edited(problems) => problems,
            _ => Vec::new(),
        };
        Self { what, problems, help }
    }
}

impl NotMade {
    fn of_server(error: ClientError, expected: Option<u64>) -> Self {
        let ClientError::Refused(refusal) = error else {
            return Self { what: text_of(&error), problems: Vec::new(), help: None };
        };
        let Refusal(document) = *refusal;
        let (mut what, mut help) = (document.detail.clone(), None);
        match (document.word(), expected, document.revision) {
            ("outdated", Some(expected), Some(current)) => {
                what = Refused::Outdated { expected, current }.to_string();
                help = Some(since(expected));
            }
            ("not-found", ..) if what.contains("is not in the history") => {
                help = Some(NO_REVISION_HELP.to_owned());
            }
            _ => {}
        }
        let problems = document.problems.into_iter().filter(|own| own.file.is_some());
        let problems = problems.map(|own| PlacedProblem {
            severity: own.severity,
            code: own.code,
            file: own.file.unwrap_or_default(),
            line: own.line.unwrap_or(1),
            column: own.column.unwrap_or(1),
            message: own.message,
            help: own.help,
            ways: own.ways,
        });
        Self { what, problems: problems.collect(), help }
    }
}

impl From<NotMade> for Failure {
    fn from(refused: NotMade) -> Self {
        let mut text = refused.what;
        for problem in &refused.problems {
            let PlacedProblem { file, line, column, message, code, .. } = problem;
            text.push_str(&format!("\n{file}:{line}:{column}: {message} [{code}]"));
        }
        if let Some(help) = refused.help {
            text.push_str(&format!("\n{help}"));
        }
        Self::new(text)
    }
}

impl Door {
    /// Opens the door to the configuration that is meant.
    pub(crate) fn open(config: &ConfigOption, door: history::Door) -> Result<Self, Failure> {
        let loaded = config::load(&config.path()?)?;
        let settings = &loaded.document.configuration.settings;
        if let Some(client) = server_of(settings, &loaded.home, door)? {
            return Ok(Self::Server(Box::new(client), loaded.home));
        }
        let owner = settings.user.as_deref().map(User::to_become).transpose()?.flatten();
        let owner = owner.map(|user| (user, settings.state_dir.clone()));
        let applier = Applier::open(loaded, Observer::default()).map_err(|refused| {
            let problems = "it has errors and cannot be changed by commands; `bindery check` \
                            explains them";
            let NotMade { problems: all, .. } = NotMade::from(refused);
            Failure::from(NotMade { what: problems.to_owned(), problems: all, help: None })
        })?;
        Ok(Self::Offline(Offline { applier, owner }))
    }

    /// Makes a change.
    pub(crate) fn apply(&self, request: &Request) -> Result<Outcome, NotMade> {
        let path = match self {
            Self::Server(_, home) => home.path.clone(),
            Self::Offline(Offline { applier, .. }) => applier.current().home.path.clone(),
        };
        let named = |problems: &mut Vec<PlacedProblem>| {
            config::name_in_commands(&path, problems.iter_mut().flat_map(|one| &mut one.ways));
        };
        let mut made = self.made(request);
        match &mut made {
            Ok(outcome) => named(&mut outcome.problems),
            Err(refused) => named(&mut refused.problems),
        }
        made
    }

    fn made(&self, request: &Request) -> Result<Outcome, NotMade> {
        let (client, home) = match self {
            Self::Server(client, home) => (client, home),
            Self::Offline(Offline { applier, .. }) => {
                return applier.apply(request).map_err(NotMade::from);
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
        .map_err(|error| NotMade::of_server(error, expected))
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

    /// The text that a revision had.
    pub(crate) fn text_of(&self, revision: u64) -> Result<String, Failure> {
        let text = match self {
            Self::Server(client, _) => match client.revision(revision) {
                Ok(found) => Some(found.text),
                Err(ClientError::Refused(_)) => None,
                Err(error) => return Err(failure(error)),
            },
            Self::Offline(Offline { applier, .. }) => applier.text_of(revision).map_err(unread)?,
        };
        text.ok_or_else(|| {
            Failure::new(format!(
                "revision {revision} is not in the history; `bindery history` lists those that are"
            ))
        })
    }
}

fn unread(error: io::Error) -> Failure {
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
