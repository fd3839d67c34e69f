//! From a path to a file: which file answers, whether it may, what lies encoded beside it, and its
//! content if it is small.
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
    representation::{Description, Representation, Stamp},
    root::{Access, Patience, Root},
    versions::{CODINGS, Versions},
};
use crate::limits;

/// What a path leads to.
#[derive(Debug)]
pub(super) enum Found {
    File(Named),
    /// A folder, asked for without the slash at its end.
    Folder,
}

/// A regular file, its encoded siblings, and where it was found.
#[derive(Debug)]
pub(super) struct Named {
    /// Its path below the root.
    pub(super) name: Vec<u8>,
    pub(super) versions: Versions<FoundFile>,
}

/// A regular file, open as was asked.
#[derive(Debug)]
pub(super) struct FoundFile {
    pub(super) file: File,
    pub(super) stamp: Stamp,
}

/// How files are looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Search<'a> {
    /// What answers for a folder, in this order.
    pub(super) documents: &'a [String],
    /// Names that lead nowhere, whatever is there.
    pub(super) hidden: &'a [String],
    /// Whether siblings are looked for.
    pub(super) siblings: bool,
    pub(super) access: Access,
    pub(super) patience: Patience,
}

/// Why there is no file to send.
#[derive(Debug)]
pub(super) enum FindError {
    /// Only a thread that may wait can tell.
    WouldWait,
    /// There is none.
    NotFound,
    /// A name of the path is hidden, whatever is there.
    Hidden,
    /// There is a folder, and nothing in it that answers for it.
    NoDocument,
    /// There is one, of a type that is not sent.
    UnknownType,
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
            Errno::ACCESS | Errno::PERM => Self::Refused(PERMISSION_DENIED),
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

/// Why a file is refused that the server's user may not read.
pub const PERMISSION_DENIED: &str = "permission denied";

const SPECIAL: &str = "not a regular file";

/// The file for a path: itself, or the first default document of a folder.
pub(super) fn find(
    root: &Root,
    path: &RequestPath<'_>,
    search: Search<'_>,
) -> Result<Found, FindError> {
    if is_hidden(path.relative(), search.hidden) {
        return Err(FindError::Hidden);
    }
    if !path.is_folder() {
        return open(root, path.relative().to_vec(), search);
    }
    for document in search.documents {
        let name = match path.relative() {
            b"" => document.as_bytes().to_vec(),
            folder => [folder, b"/", document.as_bytes()].concat(),
        };
        match open(root, name, search) {
            Err(FindError::NotFound) | Ok(Found::Folder) => {}
            found => return found,
        }
    }
    root.open(path.relative(), Access::LookAtFolder, search.patience)?;
    Err(FindError::NoDocument)
}

/// Whether one of the names of a path is hidden.
pub(super) fn is_hidden(relative: &[u8], hidden: &[String]) -> bool {
    !hidden.is_empty()
        && relative
            .split(|byte| *byte == b'/')
            .any(|name| hidden.iter().any(|own| own.as_bytes().eq_ignore_ascii_case(name)))
}

fn open(root: &Root, mut name: Vec<u8>, search: Search<'_>) -> Result<Found, FindError> {
    let Some(file) = open_one(root, &name, search)? else {
        return Ok(Found::Folder);
    };
    let mut versions = Versions::of(file);
    if search.siblings {
        let length = name.len();
        for (coding, ending) in CODINGS {
            name.extend_from_slice(ending.as_bytes());
            match open_one(root, &name, search) {
                Ok(Some(file)) => versions.add(coding, file),
                Err(FindError::WouldWait) => return Err(FindError::WouldWait),
                // What is no file that may be read is no sibling.
                Ok(None) | Err(_) => {}
            }
            name.truncate(length);
        }
    }
    Ok(Found::File(Named { name, versions }))
}

/// A file, or nothing for a folder.
fn open_one(root: &Root, name: &[u8], search: Search<'_>) -> Result<Option<FoundFile>, FindError> {
    let file = root.open(name, search.access, search.patience)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Ok(None);
    }
    if !metadata.is_file() {
        return Err(FindError::Refused(SPECIAL));
    }
    Ok(Some(FoundFile { stamp: Stamp::of(&metadata), file }))
}

/// A file ready to be sent.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) representation: Representation,
    pub(super) source: Source,
}

/// Where its bytes are.
#[derive(Debug)]
pub(super) enum Source {
    /// All of them here.
    Memory(Vec<u8>),
    /// To be streamed.
    Disk(File),
}

/// Reads a file that was opened for it if it is small. `now` is a time before it was opened.
///
/// A file that changes under the reader is read again, and streamed if it goes on changing: what is
/// kept in memory was unchanged, as far as stamps can tell, from before the first byte was read
/// until after the last.
pub(super) fn load(
    found: FoundFile,
    described: &Description,
    now: SystemTime,
    patience: Patience,
) -> Result<Loaded, FindError> {
    let FoundFile { file, mut stamp } = found;
    for _ in 0..limits::FILE_READ_ATTEMPTS_MAX {
        let Some(length) = small(stamp.length()) else {
            break;
        };
        let content = read(&file, length, patience)?;
        let after = Stamp::of(&file.metadata()?);
        if after == stamp && content.len() == length {
            let representation = Representation::new(stamp, described, now);
            return Ok(Loaded { representation, source: Source::Memory(content) });
        }
        stamp = after;
    }
    let representation = Representation::new(stamp, described, now);
    Ok(Loaded { representation, source: Source::Disk(file) })
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
