//! Whether files are still those that were read, by what the file system says of them.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use super::CertificateFiles;

/// What the file system said of the files of a certificate when they were read. A file that was
/// not there has its place too, so the stamp of a failure tells when it is worth another try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileStamp {
    file: Option<Seen>,
    key: Option<Seen>,
    password_file: Option<Seen>,
}

impl FileStamp {
    /// Asks the file system about each file. Blocks, for a `stat` each.
    #[must_use]
    pub fn of(files: &CertificateFiles) -> Self {
        Self {
            file: seen(&files.file),
            key: files.key.as_deref().and_then(seen),
            password_file: files.password_file.as_deref().and_then(seen),
        }
    }

    /// Whether any of the files is another one, was written to, came or went. Blocks, for a `stat`
    /// each.
    #[must_use]
    pub fn changed(&self, files: &CertificateFiles) -> bool {
        Self::of(files) != *self
    }
}

/// Device and inode tell a file that was put in its place, the rest one that was written to. The
/// change time catches a modification time that was set back by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    device: u64,
    inode: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    bytes: u64,
}

fn seen(path: &Path) -> Option<Seen> {
    let metadata = fs::metadata(path).ok()?;
    Some(Seen {
        device: metadata.dev(),
        inode: metadata.ino(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
        bytes: metadata.size(),
    })
}
