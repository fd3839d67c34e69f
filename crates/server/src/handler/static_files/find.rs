//! From a path to a file: which file answers, whether it may, and its content if it is small.
//! Everything here makes system calls; with [`Patience::Never`] none of them waits.

use std::{
    fs::File,
    io::{self, IoSliceMut},
    os::unix::fs::FileExt,
    time::SystemTime,
};

use rustix::io::{Errno, ReadWriteFlags};

use super::{
    path::RequestPath,
    representation::{Representation, Stamp},
    root::{Access, Patience, Root},
};
use crate::limits;

/// What a path leads to.
#[derive(Debug)]
pub(super) enum Found {
    File(FoundFile),
    /// A folder, asked for without the slash at its end.
    Folder,
}

/// A regular file, open as was asked.
#[derive(Debug)]
pub(super) struct FoundFile {
    pub(super) file: File,
    pub(super) stamp: Stamp,
    /// Its path below the root.
    pub(super) name: Vec<u8>,
}

/// Why there is no file to send.
#[derive(Debug)]
pub(super) enum FindError {
    /// Only a thread that may wait can tell.
    WouldWait,
    /// There is none.
    NotFound,
    /// It is not given, and why.
    Refused(&'static str),
    /// The system failed.
    Failed(io::Error),
}

impl From<Errno> for FindError {
    fn from(error: Errno) -> Self {
        match error {
            Errno::AGAIN => Self::WouldWait,
            Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG => Self::NotFound,
            Errno::ACCESS | Errno::PERM => Self::Refused("permission denied"),
            Errno::LOOP => Self::Refused("a symbolic link that is not followed"),
            Errno::XDEV => Self::Refused("a symbolic link leads out of the root"),
            // What opening a socket or a device without a driver says.
            Errno::NXIO | Errno::NODEV => Self::Refused(SPECIAL),
            other => Self::Failed(other.into()),
        }
    }
}

impl From<io::Error> for FindError {
    fn from(error: io::Error) -> Self {
        Errno::from_io_error(&error).map_or(Self::Failed(error), Self::from)
    }
}

const SPECIAL: &str = "not a regular file";

/// The file for a path: itself, or the first default document of a folder.
pub(super) fn find(
    root: &Root,
    path: &RequestPath<'_>,
    documents: &[String],
    access: Access,
    patience: Patience,
) -> Result<Found, FindError> {
    if !path.is_folder() {
        return open(root, path.relative().to_vec(), access, patience);
    }
    for document in documents {
        let name = match path.relative() {
            b"" => document.as_bytes().to_vec(),
            folder => [folder, b"/", document.as_bytes()].concat(),
        };
        match open(root, name, access, patience) {
            Err(FindError::NotFound) | Ok(Found::Folder) => {}
            found => return found,
        }
    }
    root.open(path.relative(), Access::LookAtFolder, patience)?;
    Err(FindError::Refused("no default document, and no listing"))
}

fn open(
    root: &Root,
    name: Vec<u8>,
    access: Access,
    patience: Patience,
) -> Result<Found, FindError> {
    let file = root.open(&name, access, patience)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Ok(Found::Folder);
    }
    if !metadata.is_file() {
        return Err(FindError::Refused(SPECIAL));
    }
    Ok(Found::File(FoundFile { stamp: Stamp::of(&metadata), file, name }))
}

/// A file ready to be sent.
#[derive(Debug)]
pub(super) enum Loaded {
    /// With its content.
    Small(Representation, Vec<u8>),
    /// To be streamed.
    Large(Representation, File),
}

/// Reads a file that was opened for it if it is small. `now` is a time before it was opened.
///
/// A file that changes under the reader is read again, and streamed if it goes on changing: what is
/// kept in memory was unchanged, as far as stamps can tell, from before the first byte was read
/// until after the last.
pub(super) fn load(
    found: FoundFile,
    now: SystemTime,
    patience: Patience,
) -> Result<Loaded, FindError> {
    let FoundFile { file, mut stamp, name } = found;
    for _ in 0..limits::FILE_READ_ATTEMPTS_MAX {
        let Some(length) = small(stamp.length()) else {
            break;
        };
        let content = read(&file, length, patience)?;
        let after = Stamp::of(&file.metadata()?);
        if after == stamp && content.len() == length {
            return Ok(Loaded::Small(Representation::new(stamp, &name, now), content));
        }
        stamp = after;
    }
    Ok(Loaded::Large(Representation::new(stamp, &name, now), file))
}

/// The length, if a file of it is kept in memory.
fn small(length: u64) -> Option<usize> {
    usize::try_from(length).ok().filter(|&length| length <= limits::CACHED_FILE_BYTES_MAX)
}

/// The first `length` bytes, or fewer if the file ends before.
fn read(file: &File, length: usize, patience: Patience) -> Result<Vec<u8>, FindError> {
    let mut content = vec![0; length];
    let mut filled = 0;
    while let Some(rest) = content.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let read = match patience {
            Patience::Wait => file.read_at(rest, filled as u64),
            Patience::Never => {
                let mut buffers = [IoSliceMut::new(rest)];
                let flags = ReadWriteFlags::NOWAIT;
                rustix::io::preadv2(file, &mut buffers, filled as u64, flags)
                    // A file system that cannot promise not to wait has to wait.
                    .map_err(|_| Errno::AGAIN.into())
            }
        };
        match read {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    content.truncate(filled);
    Ok(content)
}
