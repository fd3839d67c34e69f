//! Where the truth is: one file, `bindery.toml` or `applicationHost.config`, by what it contains.

use std::{
    collections::{BTreeSet, HashMap},
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use bindery_iis::{
    config::{self, Proposed, Sources, WebConfigText},
    netsh::records::Records,
};
use bindery_model::{
    change::{Change, EditError},
    document::{self, Before, Document, Settings, edit},
    problem::{Problem, Severity},
};
use serde::{Deserialize, Serialize};

use crate::{
    problems::{self, PlacedProblem},
    replace::{self, NotReplaced, Replacement},
    steps::{Observer, Step},
};

/// A larger `web.config` is not read; it holds settings of a folder, a few KB.
const WEB_CONFIG_BYTES_MAX: u64 = 1024 * 1024;
/// So many folders are looked through for `web.config` below the folder of a site or application:
/// beyond that it is data and not an application, and would make a start take minutes.
const FOLDERS_LOOKED_THROUGH_MAX: usize = 20_000;
/// So many `web.config` are read below one folder.
const WEB_CONFIGS_MAX: usize = 1000;
/// So many folders below those of sites are watched for a `web.config` that is not there yet, so
/// many of them below one. The kernel has room for some thousands for each user.
const FOLDERS_NOTED_MAX: usize = 2000;
const FOLDERS_NOTED_BELOW_ONE_MAX: usize = 500;
/// So deep below it.
const DEPTH_MAX: usize = 16;
/// The file of settings that have no place in IIS's form.
const COMPANION: &str = "bindery.toml";
/// Where certificate records are, in the state folder.
const RECORDS: &str = "sslcert.json";
/// As IIS and people write it; file names differ in case here.
const WEB_CONFIG_NAMES: [&str; 3] = ["web.config", "Web.config", "WEB.CONFIG"];

/// What could not be done with a file that was to be changed.
pub(crate) const REPLACED: &str = "replaced";

/// Which form a configuration has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// `bindery.toml`.
    Toml,
    /// `applicationHost.config`.
    Iis,
}

/// A configuration as it was read.
#[derive(Debug)]
pub struct Loaded {
    /// Where it was read from.
    pub home: Home,
    /// The bytes of the file, as text. A byte order mark is part of it.
    pub text: String,
    /// Certificate records.
    pub records: Records,
    /// What it says, with what belongs to it: for IIS's form, the `bindery.toml` beside it,
    /// `web.config` files and certificate records.
    pub document: Document,
    /// What is wrong in files beside it, so that it cannot be served.
    pub beside: Vec<PlacedProblem>,
}

/// The file that is the truth.
#[derive(Clone, Debug)]
pub struct Home {
    /// Where it is, as it was named.
    pub path: PathBuf,
    /// Through every link.
    pub file: PathBuf,
    /// Where relative paths begin.
    pub folder: PathBuf,
    /// Its form.
    pub form: Form,
    /// What was read beside the file, so that a change does not read it again.
    beside: Arc<Mutex<Beside>>,
    /// Whether it is only read from, and sites beside it are served from there.
    is_source: bool,
}

#[derive(Debug, Default)]
struct Beside {
    /// What stood in the `bindery.toml` beside the file when it was looked at last.
    companion: Option<Arc<Companion>>,
    /// Of each folder, its `web.config`, and what the file system said of that before it was read.
    web_configs: HashMap<PathBuf, (Option<WebConfigText>, Stamp)>,
    folders: HashMap<PathBuf, Vec<PathBuf>>,
    /// Folders without a `web.config` that may get one.
    noted: BTreeSet<PathBuf>,
    /// How many of those there are beyond what is noted.
    not_noted: usize,
    /// Folders that settings speak of, by the path that is written; none for those that are not
    /// there.
    named: HashMap<PathBuf, Option<PathBuf>>,
}

/// Settings beside IIS's form.
#[derive(Debug)]
struct Companion {
    text: String,
    document: Document,
    /// What is wrong with it. Only errors count: what seems unused there is used by the sites.
    errors: Vec<PlacedProblem>,
}

/// What the file system says of a file that is there.
pub(crate) type Stamp = Option<(u64, u64, i64, i64, u64)>;

pub(crate) fn stamp(file: &Path) -> Stamp {
    let found = fs::metadata(file).ok()?;
    Some((found.dev(), found.ino(), found.ctime(), found.ctime_nsec(), found.size()))
}

/// What is in force, for a text that is nearly the same.
#[derive(Clone, Copy, Debug)]
pub struct InForce<'a> {
    /// The file that it was read from.
    pub home: &'a Home,
    /// What it was read with.
    pub records: &'a Records,
    /// What was read.
    pub before: Before<'a>,
}

impl Beside {
    /// Where a folder is whatever the case of its name is.
    fn folder_named(&mut self, folder: &Path) -> Option<PathBuf> {
        if let Some(known) = self.named.get(folder) {
            return known.clone();
        }
        let found = match folder.is_dir() {
            true => Some(folder.to_owned()),
            false => folder.parent().zip(folder.file_name()).and_then(|(above, name)| {
                let name = name.to_str()?.to_lowercase();
                let is_same = |entry: &fs::DirEntry| {
                    entry.file_name().to_str().is_some_and(|own| own.to_lowercase() == name)
                };
                let entries = fs::read_dir(self.folder_named(above)?).ok()?;
                let mut same = entries.flatten().filter(is_same).map(|entry| entry.path());
                same.find(|path| path.is_dir())
            }),
        };
        self.named.insert(folder.to_owned(), found.clone());
        found
    }

    /// Looks through a folder for those with a `web.config`, and notes the others.
    fn look_through(&mut self, folder: &Path) -> Vec<PathBuf> {
        let Looked { with, without } = look_through(folder);
        let room = FOLDERS_NOTED_MAX.saturating_sub(self.noted.len());
        let (count, room) = (without.len(), room.min(FOLDERS_NOTED_BELOW_ONE_MAX));
        self.not_noted += count.saturating_sub(room);
        self.noted.extend(without.into_iter().take(room));
        with
    }
}

impl Loaded {
    /// The folder where its state is kept between runs.
    #[must_use]
    pub fn state_folder(&self) -> PathBuf {
        self.home.state_folder(&self.document.configuration.settings)
    }
}

impl Home {
    /// Finds the file and its form.
    ///
    /// # Errors
    ///
    /// When there is no such file, or it cannot be read.
    pub fn find(path: &Path) -> Result<Self, HomeError> {
        Ok(Self::find_with_text(path)?.0)
    }

    pub(crate) fn find_with_text(path: &Path) -> Result<(Self, String), HomeError> {
        let io = |source| HomeError::Io { what: "read", file: path.to_owned(), source };
        // Through any link, now: paths in the file are meant from where it is written, and the
        // link must lead to the new file after a change.
        let file = fs::canonicalize(path).map_err(io)?;
        let text = text_of(fs::read(&file).map_err(io)?, path)?;
        let folder = file.parent().unwrap_or_else(|| Path::new("/")).to_owned();
        let form = form(&text, &file);
        let beside = Arc::default();
        let path = path.to_owned();
        Ok((Self { path, file, folder, form, beside, is_source: false }, text))
    }

    /// The same as something to import: the `bindery.toml` beside it, which may be what takes its
    /// sites, may have sites of its own.
    #[must_use]
    pub fn as_source(self) -> Self {
        Self { is_source: true, beside: Arc::default(), ..self }
    }

    /// The folder where state is kept between runs.
    #[must_use]
    pub fn state_folder(&self, settings: &Settings) -> PathBuf {
        match &settings.state_dir {
            Some(folder) => folder.clone(),
            None if self.folder.starts_with("/etc") => PathBuf::from("/var/lib/bindery"),
            None => self.folder.join(".bindery"),
        }
    }

    /// Finds the file and reads it, with all that belongs to it. What is wrong inside it is no
    /// error: the document lists it.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is no UTF-8.
    pub fn load(path: &Path) -> Result<Loaded, HomeError> {
        let (home, text) = Self::find_with_text(path)?;
        home.loaded(text)
    }

    /// What `text`, which the file has, says with what belongs to it.
    ///
    /// # Errors
    ///
    /// When certificate records cannot be read.
    pub fn loaded(self, text: String) -> Result<Loaded, HomeError> {
        let (document, beside) = self.read(&text, &Records::default());
        // Where records are is known when the settings are.
        let records = read_records(&self.state_folder(&document.configuration.settings))?;
        let (mut document, beside) = match records == Records::default() {
            true => (document, beside),
            false => self.read(&text, &records),
        };
        document.problems.iter_mut().for_each(Problem::stands_in_file);
        Ok(Loaded { home: self, text, records, document, beside })
    }

    /// What the table `[server]` says, without the sites. Of IIS's form that is the `bindery.toml`
    /// beside it. Takes a small part of the time of [`Self::load`]; what is wrong is not told.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or is no UTF-8.
    pub fn find_settings(path: &Path) -> Result<(Self, Settings), HomeError> {
        let (home, text) = Self::find_with_text(path)?;
        let settings = match home.form {
            Form::Toml => document::parse_settings(&text, &home.folder),
            Form::Iis => home.companion().0.document.configuration.settings.clone(),
        };
        Ok((home, settings))
    }

    /// The same file with another text in it, which decides on the form.
    #[must_use]
    pub(crate) fn holding(&self, text: &str) -> Self {
        Self { form: form(text, &self.file), ..self.clone() }
    }

    /// The text that the file has now.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is no UTF-8.
    pub fn text(&self) -> Result<String, HomeError> {
        let read = fs::read(&self.path);
        let io = |source| HomeError::Io { what: "read", file: self.path.clone(), source };
        text_of(read.map_err(io)?, &self.path)
    }

    /// What a text would say in the place of the file, with these certificate records; and what is
    /// wrong in files beside it.
    #[must_use]
    pub fn read(&self, text: &str, records: &Records) -> (Document, Vec<PlacedProblem>) {
        match self.form {
            Form::Toml => (document::parse(text, &self.folder), Vec::new()),
            Form::Iis => self.read_iis(text, records),
        }
    }

    /// The same, for a text that is nearly that in force: what is the same in both is taken over.
    #[must_use]
    pub fn read_after(
        &self,
        text: &str,
        records: &Records,
        InForce { home, records: last, before }: InForce<'_>,
    ) -> (Document, Vec<PlacedProblem>) {
        match self.form {
            Form::Toml => (document::parse_after(text, &self.folder, before), Vec::new()),
            // Files beside it were looked at once for both.
            Form::Iis if home.form == Form::Iis && Arc::ptr_eq(&home.beside, &self.beside) => {
                let (companion, problems) = self.companion();
                let read = |sources: &Sources<'_>| config::read_after(sources, before, last);
                (self.with_sources(text, records, &companion.document, read), problems)
            }
            Form::Iis => self.read_iis(text, records),
        }
    }

    fn read_iis(&self, text: &str, records: &Records) -> (Document, Vec<PlacedProblem>) {
        let (companion, problems) = self.companion();
        (self.with_sources(text, records, &companion.document, config::read), problems)
    }

    /// What a text of IIS's form says, if the file beside it had these lines too.
    #[must_use]
    pub fn read_assuming(
        &self,
        text: &str,
        records: &Records,
        proposed: &Proposed,
    ) -> (Document, Vec<PlacedProblem>) {
        let (written, problems) = (self.companion_text().0, self.companion().1);
        let mut companion = self.companion_of(&written);
        let settings = &mut companion.configuration.settings;
        settings.paths.extend_from_slice(&proposed.paths);
        settings.fastcgi.extend_from_slice(&proposed.fastcgi);
        (self.with_sources(text, records, &companion, config::read), problems)
    }

    fn with_sources(
        &self,
        text: &str,
        records: &Records,
        companion: &Document,
        read: impl FnOnce(&Sources<'_>) -> Document,
    ) -> Document {
        read(&Sources {
            text,
            folder: &self.folder,
            companion,
            records,
            web_config: &|folder| self.web_config(folder),
            folders_with_web_config: &|folder| self.folders_with_web_config(folder),
            folder_named: &|folder| self.beside().folder_named(folder),
            environment: &|name| std::env::var_os(name)?.into_string().ok(),
        })
    }

    /// Settings beside IIS's form, and what is wrong with them. They are understood anew where
    /// their text is another.
    fn companion(&self) -> (Arc<Companion>, Vec<PlacedProblem>) {
        let (text, unread) = self.companion_text();
        let name = self.path.with_file_name(COMPANION).display().to_string();
        let known = self.beside().companion.clone().filter(|known| known.text == text);
        let companion = known.unwrap_or_else(|| {
            let document = self.companion_of(&text);
            let errors = document.problems.iter().filter(|one| one.severity() == Severity::Error);
            let errors = problems::all_placed(errors, &name, &text);
            let companion = Arc::new(Companion { text, document, errors });
            self.beside().companion = Some(Arc::clone(&companion));
            companion
        });
        let mut placed = companion.errors.clone();
        if let Some(error) = unread {
            placed.push(PlacedProblem::of_file(&name, &format!("it cannot be read: {error}")));
        }
        (companion, placed)
    }

    fn companion_of(&self, text: &str) -> Document {
        let mut companion = document::parse(text, &self.folder);
        if self.is_source {
            companion.configuration.table.sites.clear();
        }
        companion
    }

    fn companion_text(&self) -> (String, Option<io::Error>) {
        let (text, unread) = match fs::read_to_string(self.folder.join(COMPANION)) {
            Ok(text) => (text, None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (String::new(), None),
            Err(error) => (String::new(), Some(error)),
        };
        let text = if text.is_empty() { "version = 1\n".to_owned() } else { text };
        (text, unread)
    }

    fn beside(&self) -> std::sync::MutexGuard<'_, Beside> {
        self.beside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn web_config(&self, folder: &Path) -> Option<WebConfigText> {
        let mut beside = self.beside();
        if let Some((known, _)) = beside.web_configs.get(folder) {
            return known.clone();
        }
        let file = web_config_file(folder);
        let stamp = file.as_deref().and_then(stamp);
        let read = file.map(|file| read_web_config(&file));
        beside.web_configs.insert(folder.to_owned(), (read.clone(), stamp));
        read
    }

    fn folders_with_web_config(&self, folder: &Path) -> Vec<PathBuf> {
        let mut beside = self.beside();
        if let Some(known) = beside.folders.get(folder) {
            return known.clone();
        }
        let found = beside.look_through(folder);
        beside.folders.insert(folder.to_owned(), found.clone());
        found
    }

    /// The files beside the text that were looked for, whether they are there or not.
    #[must_use]
    pub fn files_beside(&self) -> Vec<PathBuf> {
        if self.form == Form::Toml {
            return Vec::new();
        }
        let beside = self.beside();
        let file = |folder: &PathBuf| {
            web_config_file(folder).unwrap_or_else(|| folder.join(WEB_CONFIG_NAMES[0]))
        };
        let mut files: Vec<_> = beside.web_configs.keys().chain(&beside.noted).map(file).collect();
        files.sort();
        files.dedup();
        files.insert(0, self.folder.join(COMPANION));
        files
    }

    /// What the file system said of one of [`Self::files_beside`] before it was read: nothing where
    /// there was none.
    pub(crate) fn stamp_when_read(&self, file: &Path) -> Stamp {
        let beside = self.beside();
        let (_, stamp) = beside.web_configs.get(file.parent()?)?;
        *stamp
    }

    /// How many folders of sites are not among those that [`Self::files_beside`] speaks of: a
    /// `web.config` that is new there is found when everything is read again.
    #[must_use]
    pub fn folders_not_watched(&self) -> usize {
        self.beside().not_noted
    }

    /// Takes notice of a folder that is new in one of those of the sites. True where it, or one in
    /// it, has a `web.config`.
    #[must_use]
    pub fn note_folder(&self, folder: &Path) -> bool {
        let mut beside = self.beside();
        let above = folder.parent().is_some_and(|above| {
            let known = beside.folders.contains_key(above) || beside.noted.contains(above);
            known || beside.folders.values().flatten().any(|own| own == above)
        });
        if !above || !folder.is_dir() || folder.is_symlink() {
            return false;
        }
        let same = |own: &Path| own.to_string_lossy().to_lowercase();
        let is_awaited = beside
            .named
            .iter()
            .any(|(own, found)| found.is_none() && same(own).starts_with(&same(folder)));
        let mut with = beside.look_through(folder);
        with.extend(web_config_file(folder).map(|_| folder.to_owned()));
        if is_awaited {
            // It is read again for its own sake.
            with.push(folder.to_owned());
        }
        let has = !with.is_empty();
        if beside.noted.len() < FOLDERS_NOTED_MAX {
            beside.noted.insert(folder.to_owned());
        }
        // They are read with everything else.
        beside.noted.extend(with);
        has
    }

    /// The text with changes made in it.
    ///
    /// # Errors
    ///
    /// When one cannot be made.
    pub fn edit(&self, text: &str, changes: &[Change]) -> Result<String, EditError> {
        match self.form {
            Form::Toml => edit::apply(text, changes),
            Form::Iis => config::edit(text, changes),
        }
    }

    /// Removes what a crash in the midst of a change left beside the file.
    pub(crate) fn clean(&self) {
        replace::clean(&self.file);
    }

    /// Replaces the file: whole, durable, and only if it still has the text `before`. Links that
    /// lead to it stay.
    ///
    /// # Errors
    ///
    /// [`HomeError::Edited`] when somebody else has changed it; otherwise what the disk says. The
    /// file is then as it was, or as somebody else has made it.
    pub(crate) fn commit(
        &self,
        before: &str,
        after: &str,
        observer: &Observer,
    ) -> Result<(), HomeError> {
        let replaced = || {
            // A link that leads elsewhere by now is an edit too.
            if fs::canonicalize(&self.path)? != self.file {
                return Err(NotReplaced::Edited);
            }
            let new = Replacement::prepare(&self.file, after.as_bytes())?;
            observer.done(Step::Written)?;
            new.commit(Some(before.as_bytes()), || observer.done(Step::Exchanged))
        };
        replaced().map_err(|error| match error {
            NotReplaced::Edited => HomeError::Edited { file: self.path.clone() },
            NotReplaced::Io(source) => {
                HomeError::Io { what: REPLACED, file: self.path.clone(), source }
            }
        })
    }
}

/// By its content: XML begins with `<`, which no TOML does. What is empty says nothing; an
/// `applicationHost.config` that somebody emptied is one still.
fn form(text: &str, file: &Path) -> Form {
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let is_config = || file.extension().is_some_and(|own| own.eq_ignore_ascii_case("config"));
    if text.starts_with('<') || (text.is_empty() && is_config()) { Form::Iis } else { Form::Toml }
}

fn text_of(bytes: Vec<u8>, path: &Path) -> Result<String, HomeError> {
    String::from_utf8(bytes).map_err(|error| {
        let (good, bytes) = (error.utf8_error().valid_up_to(), error.as_bytes());
        let source = match bytes {
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => NotUtf8::Utf16,
            bytes => {
                let before = bytes.get(..good).unwrap_or_default();
                let before = String::from_utf8_lossy(before);
                let last = before.rsplit('\n').next().unwrap_or_default();
                let line = before.matches('\n').count() + 1;
                NotUtf8::At { line, column: last.chars().count() + 1 }
            }
        };
        HomeError::NotText { file: path.to_owned(), source }
    })
}

/// Where the certificate records of a server with this state folder are.
#[must_use]
pub fn records_file(state_dir: &Path) -> PathBuf {
    state_dir.join(RECORDS)
}

/// Certificate records, where there are any.
///
/// # Errors
///
/// When they cannot be read, or are none.
pub fn read_records(state_dir: &Path) -> Result<Records, HomeError> {
    let file = records_file(state_dir);
    let failed = |source| HomeError::Io { what: "read", file: file.clone(), source };
    match fs::read(&file) {
        Ok(text) => serde_json::from_slice(&text)
            .map_err(|source| HomeError::Records { file: file.clone(), source }),
        // Nobody but the server may look into its state folder; then nobody has records.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound
                    | io::ErrorKind::PermissionDenied
                    | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(Records::default())
        }
        Err(error) => Err(failed(error)),
    }
}

fn web_config_file(folder: &Path) -> Option<PathBuf> {
    WEB_CONFIG_NAMES.into_iter().map(|name| folder.join(name)).find(|file| file.is_file())
}

/// The text of a `web.config`, which Windows' editors write as UTF-16 too; or why there is none.
fn read_web_config(file: &Path) -> WebConfigText {
    let bytes = fs::metadata(file).map_err(|error| error.to_string())?.len();
    if bytes > WEB_CONFIG_BYTES_MAX {
        return Err(format!("it has {bytes} bytes; up to {WEB_CONFIG_BYTES_MAX} are read"));
    }
    let bytes = fs::read(file).map_err(|error| error.to_string())?;
    let utf16 = |unit: fn([u8; 2]) -> u16, rest: &[u8]| {
        let units: Vec<u16> =
            rest.chunks_exact(2).filter_map(|pair| Some(unit(pair.try_into().ok()?))).collect();
        String::from_utf16(&units).map_err(|error| error.to_string())
    };
    match bytes.as_slice() {
        [0xff, 0xfe, rest @ ..] => utf16(u16::from_le_bytes, rest),
        [0xfe, 0xff, rest @ ..] => utf16(u16::from_be_bytes, rest),
        _ => String::from_utf8(bytes)
            .map_err(|error| format!("it is neither UTF-8 nor UTF-16: {}", error.utf8_error())),
    }
}

/// Folders below one, nearest first.
struct Looked {
    with: Vec<PathBuf>,
    without: Vec<PathBuf>,
}

/// Looks for `web.config` in the folders below `folder`. Links are not followed.
fn look_through(folder: &Path) -> Looked {
    let mut found = Looked { with: Vec::new(), without: Vec::new() };
    let mut looked = 0;
    let mut level = vec![folder.to_owned()];
    for _ in 0..DEPTH_MAX {
        let mut next = Vec::new();
        for folder in &level {
            let Ok(entries) = fs::read_dir(folder) else { continue };
            for entry in entries.flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    looked += 1;
                    if looked > FOLDERS_LOOKED_THROUGH_MAX || found.with.len() >= WEB_CONFIGS_MAX {
                        return found;
                    }
                    next.push(entry.path());
                }
            }
        }
        next.sort();
        for folder in &next {
            let list = match web_config_file(folder) {
                Some(_) => &mut found.with,
                None => &mut found.without,
            };
            list.push(folder.clone());
        }
        level = next;
    }
    found
}

/// What a text is that is not UTF-8, and what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotUtf8 {
    /// What editors of Windows call Unicode.
    #[error("it is UTF-16; save it as UTF-8")]
    Utf16,
    /// Anything else.
    #[error("line {line}, column {column} is of another encoding; save the file as UTF-8")]
    At {
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
    },
}

/// Why a file cannot be read or replaced.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// The disk, or permission.
    #[error("{} cannot be {what}", file.display())]
    Io {
        /// `read` or `replaced`.
        what: &'static str,
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not UTF-8.
    #[error("{} is not UTF-8", file.display())]
    NotText {
        /// The file.
        file: PathBuf,
        /// What it is, or where it is none.
        source: NotUtf8,
    },
    /// The file of certificate records is not as it was written.
    #[error("{} cannot be read as certificate records", file.display())]
    Records {
        /// The file.
        file: PathBuf,
        /// What is wrong, and where.
        source: serde_json::Error,
    },
    /// Somebody else has changed it meanwhile.
    #[error("{} was changed by somebody else meanwhile", file.display())]
    Edited {
        /// The file.
        file: PathBuf,
    },
}
