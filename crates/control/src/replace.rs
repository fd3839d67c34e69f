//! A file replaced whole: its new content lies durable beside it before it takes its place, and
//! what was there before is looked at once more in the moment of the exchange.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, OFlags, RenameFlags, renameat_with},
    io::Errno,
};

/// Somebody who replaces a file as often as this while it is exchanged is a program gone wild.
const EXCHANGES_MAX: usize = 64;

/// The new content of a file, beside it. Removed with this value unless it took its place.
#[derive(Debug)]
pub(crate) struct Replacement {
    file: PathBuf,
    beside: PathBuf,
    content: Vec<u8>,
}

/// Why a file was not replaced. It is as it was, or as somebody else has made it meanwhile.
#[derive(Debug)]
pub(crate) enum NotReplaced {
    /// It is not what it was expected to be.
    Edited,
    /// The disk, or permission.
    Io(io::Error),
}

impl From<io::Error> for NotReplaced {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Where the new content of `file` lies until it is complete. One name, so that what a crash left
/// is found and removed; there is one writer, by the lock of the state folder.
fn beside(file: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(file.file_name().unwrap_or_default());
    name.push(".bindery-new");
    file.with_file_name(name)
}

/// Removes what a crash left beside a file.
pub(crate) fn clean(file: &Path) {
    // Where there is nothing, or no right to remove it, nothing is lost by it either.
    drop(fs::remove_file(beside(file)));
}

/// Makes names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

impl Replacement {
    /// Writes `content` beside `file`, durable, with its mode and owner.
    pub(crate) fn prepare(file: &Path, content: &[u8]) -> io::Result<Self> {
        clean(file);
        let own = Self { file: file.to_owned(), beside: beside(file), content: content.to_owned() };
        let mut options = OpenOptions::new();
        let flags = OFlags::NOFOLLOW.bits().cast_signed();
        let mut new = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(flags)
            .open(&own.beside)?;
        new.write_all(content)?;
        match fs::metadata(file) {
            Ok(old) => {
                let made = new.metadata()?;
                if (made.uid(), made.gid()) != (old.uid(), old.gid()) {
                    fchown(&new, Some(old.uid()), Some(old.gid())).map_err(|error| {
                        let (user, group) = (old.uid(), old.gid());
                        let why = format!(
                            "it belongs to user {user} and group {group}, and this user cannot \
                             leave it so: give it to both of this user, or ask as root"
                        );
                        io::Error::new(error.kind(), why)
                    })?;
                }
                new.set_permissions(Permissions::from_mode(old.mode() & 0o7777))?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        new.sync_all()?;
        Ok(own)
    }

    /// Puts it into its place, where `before` is; with nothing, where no file is or any. `exchanged`
    /// is asked between the exchange and the look at what was there; when it says no, all is
    /// undone.
    pub(crate) fn commit(
        self,
        before: Option<&[u8]>,
        exchanged: impl Fn() -> io::Result<()>,
    ) -> Result<(), NotReplaced> {
        let folder = self.file.parent().unwrap_or_else(|| Path::new("/"));
        let Some(before) = before else {
            fs::rename(&self.beside, &self.file)?;
            return Ok(sync_folder(folder)?);
        };
        match self.exchange() {
            Ok(()) => {}
            Err(Errno::NOENT) => return Err(NotReplaced::Edited),
            // A file system, or a kernel, that cannot.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                if fs::read(&self.file)? != before {
                    return Err(NotReplaced::Edited);
                }
                exchanged()?;
                fs::rename(&self.beside, &self.file)?;
                return Ok(sync_folder(folder)?);
            }
            Err(error) => return Err(NotReplaced::Io(error.into())),
        }
        let looked = exchanged().and_then(|()| fs::read(&self.beside));
        let failed = match looked {
            Ok(old) if old == before => match sync_folder(folder) {
                Ok(()) => return Ok(()),
                Err(error) => NotReplaced::Io(error),
            },
            Ok(old) => return Err(self.give_back(old)),
            Err(error) => NotReplaced::Io(error),
        };
        self.exchange().map_err(io::Error::from)?;
        Err(failed)
    }

    fn exchange(&self) -> Result<(), Errno> {
        renameat_with(CWD, &self.beside, CWD, &self.file, RenameFlags::EXCHANGE)
    }

    /// Puts what somebody wrote in between back into its place. While that is done they may write
    /// again, over ours: then what came out of the place is the newer one, and goes back in.
    fn give_back(&self, mut newest: Vec<u8>) -> NotReplaced {
        let mut in_place = self.content.clone();
        for _ in 0..EXCHANGES_MAX {
            if let Err(error) = self.exchange() {
                return NotReplaced::Io(error.into());
            }
            match fs::read(&self.beside) {
                Ok(taken_out) if taken_out == in_place => break,
                Ok(taken_out) => (in_place, newest) = (newest, taken_out),
                Err(error) => return NotReplaced::Io(error),
            }
        }
        NotReplaced::Edited
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        // After the exchange it is the old file, after a rename nothing.
        drop(fs::remove_file(&self.beside));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn replaced(file: &Path, before: &str, after: &str) -> Result<(), NotReplaced> {
        Replacement::prepare(file, after.as_bytes())?.commit(Some(before.as_bytes()), || Ok(()))
    }

    fn names(folder: &Path) -> Vec<OsString> {
        let mut all: Vec<_> =
            fs::read_dir(folder).unwrap().map(|one| one.unwrap().file_name()).collect();
        all.sort();
        all
    }

    #[test]
    fn the_file_is_another_and_keeps_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        replaced(&file, "old", "new").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o640);
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn what_somebody_wrote_in_between_stays() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        fs::write(&file, "edited").unwrap();
        assert!(matches!(replaced(&file, "old", "new"), Err(NotReplaced::Edited)));
        assert_eq!(fs::read(&file).unwrap(), b"edited");
        fs::remove_file(&file).unwrap();
        assert!(matches!(replaced(&file, "old", "new"), Err(NotReplaced::Edited)));
        assert_eq!(names(folder.path()), Vec::<OsString>::new());
    }

    #[test]
    fn what_somebody_wrote_over_ours_while_theirs_was_given_back_is_the_newest() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        fs::write(&file, "first edit").unwrap();
        let new = Replacement::prepare(&file, b"new").unwrap();
        let editor = || fs::write(&file, "second edit");
        assert!(matches!(new.commit(Some(b"old"), editor), Err(NotReplaced::Edited)));
        assert_eq!(fs::read(&file).unwrap(), b"second edit");
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn a_failure_leaves_the_old_file_and_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        fs::write(&file, "old").unwrap();
        let new = Replacement::prepare(&file, b"new").unwrap();
        let no = || Err(io::Error::other("no"));
        assert!(matches!(new.commit(Some(b"old"), no), Err(NotReplaced::Io(_))));
        assert_eq!(fs::read(&file).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn what_a_crash_or_a_stranger_left_is_not_written_through() {
        let folder = tempfile::tempdir().unwrap();
        let (file, other) = (folder.path().join("a"), folder.path().join("other"));
        fs::write(&file, "old").unwrap();
        fs::write(&other, "other").unwrap();
        symlink(&other, beside(&file)).unwrap();
        replaced(&file, "old", "new").unwrap();
        assert_eq!(fs::read(&other).unwrap(), b"other");
        assert_eq!(fs::read(&file).unwrap(), b"new");
    }
}
