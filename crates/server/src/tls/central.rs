//! The central certificate store: a folder of files named after hosts, as IIS has it. Which file
//! answers for a host is decided by a listing kept in memory; nothing is read for a name that has
//! no file, and no certificate before it is asked for.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use bindery_model::{certificate::CertificateFiles, document::CentralStore, name::HostName};

use crate::limits::CENTRAL_FILES_MAX;

/// What stands for `*` in the name of a file.
const WILDCARD_LABEL: &str = "_.";

/// The folder of a central store.
#[derive(Debug)]
pub struct CentralFolder {
    folder: PathBuf,
    password_file: Option<PathBuf>,
    state: RwLock<State>,
}

/// The file that answers for a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CentralFile {
    /// Where it is, and where the password of all files of the folder is.
    pub files: CertificateFiles,
    /// Whether it is the file of a wildcard and not of the host itself.
    pub wildcard: bool,
}

#[derive(Debug, Default)]
struct State {
    listing: Arc<[Entry]>,
    /// What the folder said of itself before it was listed.
    seen: Option<Seen>,
    /// Whether it still said so when it was listed again. Clocks of file systems tick too slowly
    /// to tell a change in the moment of the listing.
    settled: bool,
}

/// A file. Sorted by `host`, hosts being unique.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    /// The host, or `*.` and the parent of a wildcard.
    host: Box<str>,
    kind: Kind,
    /// The name as it is on disk when it is not the host and the kind, as with upper case.
    spelling: Option<Box<str>>,
}

/// In order of preference: where two files are for one host, IIS's kind answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Pfx,
    Pem,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    device: u64,
    inode: u64,
    modified: (i64, i64),
}

impl CentralFolder {
    /// A store in this folder, with nothing in it until [`Self::refresh`]. Does no I/O.
    /// `password_file` is for all PFX files of the folder.
    #[must_use]
    pub fn open(folder: PathBuf, password_file: Option<PathBuf>) -> Self {
        Self { folder, password_file, state: RwLock::default() }
    }

    /// Whether it is the store that a configuration means.
    pub(crate) fn is_of(&self, store: &CentralStore) -> bool {
        self.folder == store.folder && self.password_file == store.password_file
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Lists the folder when it has changed. Blocks; call it at the start and each second, from one
    /// task. True when another set of files answers now. That a file was replaced by another of its
    /// name is for [`super::keys::FileStamp`] to tell.
    ///
    /// # Errors
    ///
    /// When the folder cannot be listed or holds more than
    /// [`crate::limits::CENTRAL_FILES_MAX`] certificates. The files known so far stay.
    pub fn refresh(&self) -> io::Result<bool> {
        let seen = Some(seen(&self.folder)?);
        let (same, settled) = {
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            (state.seen == seen, state.settled)
        };
        if same && settled {
            return Ok(false);
        }
        let listing: Arc<[Entry]> = list(&self.folder)?.into();
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let changed = state.listing != listing;
        *state = State { listing, seen, settled: same };
        Ok(changed)
    }

    /// The file for `host`: its own, else that of the wildcard one label above it. Does no I/O, so
    /// the file may be gone by now.
    #[must_use]
    pub fn find(&self, host: &str) -> Option<CentralFile> {
        let host: HostName = host.parse().ok()?;
        let listing =
            Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner).listing);
        if let Some(entry) = entry(&listing, host.as_str()) {
            return Some(self.file(entry, false));
        }
        let parent = host.parent()?;
        Some(self.file(entry(&listing, &format!("*.{parent}"))?, true))
    }

    /// How many hosts and wildcards have a file.
    #[must_use]
    pub fn len(&self) -> usize {
        self.state.read().unwrap_or_else(PoisonError::into_inner).listing.len()
    }

    /// Whether no host has a file.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn file(&self, entry: &Entry, wildcard: bool) -> CentralFile {
        let password_file = match entry.kind {
            Kind::Pfx => self.password_file.clone(),
            Kind::Pem => None,
        };
        let file = self.folder.join(entry.file_name());
        CentralFile { files: CertificateFiles { file, key: None, password_file }, wildcard }
    }
}

impl Entry {
    /// The entry of a file, if its name is one: `host.pfx`, `_.parent.pfx`, or the same with `pem`.
    fn of(file_name: &str) -> Option<Self> {
        let (stem, extension) = file_name.rsplit_once('.')?;
        let kind = Kind::of(extension)?;
        let host = match stem.strip_prefix(WILDCARD_LABEL) {
            Some(parent) => format!("*.{}", parent.parse::<HostName>().ok()?),
            None => stem.parse::<HostName>().ok()?.to_string(),
        };
        let mut entry = Self { host: host.into(), kind, spelling: None };
        if entry.file_name() != file_name {
            entry.spelling = Some(file_name.into());
        }
        Some(entry)
    }

    fn file_name(&self) -> String {
        if let Some(spelling) = &self.spelling {
            return spelling.clone().into();
        }
        let extension = self.kind.extension();
        match self.host.strip_prefix("*.") {
            Some(parent) => format!("{WILDCARD_LABEL}{parent}.{extension}"),
            None => format!("{}.{extension}", self.host),
        }
    }
}

impl Kind {
    fn of(extension: &str) -> Option<Self> {
        [Self::Pfx, Self::Pem]
            .into_iter()
            .find(|kind| extension.eq_ignore_ascii_case(kind.extension()))
    }

    fn extension(self) -> &'static str {
        match self {
            Self::Pfx => "pfx",
            Self::Pem => "pem",
        }
    }
}

fn entry<'a>(listing: &'a [Entry], host: &str) -> Option<&'a Entry> {
    let index = listing.binary_search_by(|entry| entry.host.as_ref().cmp(host)).ok()?;
    listing.get(index)
}

/// The files of the folder that are named after hosts, one for each host.
fn list(folder: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for file in fs::read_dir(folder)? {
        let file = file?;
        // A name that is not UTF-8 is no host; a folder is no certificate.
        let named = file.file_name().to_str().and_then(Entry::of);
        let Some(entry) = named.filter(|_| file.file_type().is_ok_and(|kind| !kind.is_dir()))
        else {
            continue;
        };
        if entries.len() == CENTRAL_FILES_MAX {
            let problem = format!("there are more than {CENTRAL_FILES_MAX} certificates");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, problem));
        }
        entries.push(entry);
    }
    // Of several files for one host always the same one answers, in whatever order they came.
    entries.sort_unstable();
    entries.dedup_by(|next, first| next.host == first.host);
    Ok(entries)
}

fn seen(folder: &Path) -> io::Result<Seen> {
    let metadata = fs::metadata(folder)?;
    Ok(Seen {
        device: metadata.dev(),
        inode: metadata.ino(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
    })
}

#[cfg(test)]
mod tests;
