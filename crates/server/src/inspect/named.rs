//! The files and folders that sites and logs name: whether this machine has them, and whether they
//! are what they must be.

use std::{
    collections::HashMap,
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use bindery_model::{
    document::{NamedPath, PathKind},
    problem::{Code, Problem},
};
use rustix::fs::{Access, access};

use crate::tls::policy;

/// Everything that is wrong with these paths. Blocks.
pub(super) fn inspect<'a>(paths: impl Iterator<Item = &'a NamedPath>) -> Vec<Problem> {
    // Many routes may name one file; each is told, and the disk is asked once.
    let mut seen: HashMap<(PathKind, &Path), Option<String>> = HashMap::new();
    let mut problems = Vec::new();
    for named in paths {
        let key = (named.kind, named.path.as_path());
        let why = seen.entry(key).or_insert_with(|| look(named.kind, &named.path));
        if let Some(why) = why {
            problems.push(problem(named, why));
        }
    }
    problems
}

/// Why a path cannot be used; `None` where it can.
fn look(kind: PathKind, path: &Path) -> Option<String> {
    match kind {
        PathKind::Root => fs::read_dir(path).err().map(|error| error.to_string()),
        PathKind::Passwords | PathKind::ErrorPage => {
            read_some(path).err().map(|error| error.to_string())
        }
        PathKind::UpstreamCa => authorities(path).err(),
        PathKind::Socket => socket(path).err().map(|error| error.to_string()),
        PathKind::LogFolder => writable(path).err().map(|error| error.to_string()),
    }
}

/// Reads the beginning: a folder can be opened, and only reading tells.
fn read_some(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.read(&mut [0]).map(drop)
}

fn authorities(path: &Path) -> Result<(), String> {
    let text = fs::read(path).map_err(|error| error.to_string())?;
    policy::authorities(&text).map(drop)
}

fn socket(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt as _;
    match fs::metadata(path)?.file_type().is_socket() {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no socket")),
    }
}

/// Whether files can be made in a folder, or the folder itself in the nearest one that there is.
fn writable(path: &Path) -> io::Result<()> {
    let mut nearest: Option<PathBuf> = None;
    for folder in path.ancestors() {
        match fs::metadata(folder) {
            Ok(found) if found.is_dir() => {
                nearest = Some(folder.to_owned());
                break;
            }
            Ok(_) => return Err(io::Error::new(io::ErrorKind::NotADirectory, "it is no folder")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    let folder = nearest.unwrap_or_else(|| PathBuf::from("/"));
    Ok(access(&folder, Access::WRITE_OK | Access::EXEC_OK)?)
}

fn problem(named: &NamedPath, why: &str) -> Problem {
    let (path, owner) = (named.path.display(), &named.owner);
    let (code, message, help) = match named.kind {
        PathKind::Root => (
            Code::UnreadableFolder,
            format!("the folder {path} of {owner} cannot be read: {why}"),
            "create it, correct its path, or let the server's user read it",
        ),
        PathKind::Passwords => (
            Code::UnreadableFile,
            format!("the password file {path} of {owner} cannot be read: {why}"),
            "`htpasswd -c FILE NAME` makes one; the server's user must be able to read it",
        ),
        PathKind::ErrorPage => (
            Code::UnreadableFile,
            format!("the error page {path} of {owner} cannot be read: {why}"),
            "create it, correct its path, or let the server's user read it",
        ),
        PathKind::UpstreamCa => (
            Code::UnreadableFile,
            format!("the authorities {path} of {owner} cannot be used: {why}"),
            "ca is a PEM file with the certificates of the authorities that sign the servers",
        ),
        PathKind::Socket => (
            Code::NoSocket,
            format!("the socket {path} of {owner} cannot be used: {why}"),
            "start the program that listens there, or correct the path",
        ),
        PathKind::LogFolder => (
            Code::UnwritableFolder,
            format!("the log folder {path} cannot be written to: {why}"),
            "correct its path, or let the server's user write to it",
        ),
    };
    Problem::new(code, named.span.clone(), message, help)
}
