//! One writer for each state folder: a lock that ends with its process, however that ends.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use rustix::fs::{FlockOperation, OFlags, flock};

/// The lock of a state folder, held until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    #[allow(dead_code, reason = "closing it gives the lock back")]
    file: File,
}

impl Lock {
    /// Takes the lock. Who holds it says so by process and configuration.
    pub(crate) fn take(state_dir: &Path, config: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let flags = OFlags::NOFOLLOW.bits().cast_signed();
        let mut file = options.custom_flags(flags).open(state_dir.join("lock"))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut holder = String::new();
            // Who it is makes the message better, and nothing else.
            drop(file.read_to_string(&mut holder));
            let holder = holder.trim();
            return Err(io::Error::new(
                io::ErrorKind::WouldBlock,
                format!("{} is in use by {holder}", state_dir.display()),
            ));
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "process {} with {}", std::process::id(), config.display())?;
        Ok(Self { file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_writer_and_the_second_is_told_who() {
        let folder = tempfile::tempdir().unwrap();
        let first = Lock::take(folder.path(), Path::new("first.toml")).unwrap();
        let error = Lock::take(folder.path(), Path::new("second.toml")).unwrap_err();
        let process = format!("in use by process {} with first.toml", std::process::id());
        assert!(error.to_string().contains(&process), "{error}");
        drop(first);
        drop(Lock::take(folder.path(), Path::new("second.toml")).unwrap());
    }
}
