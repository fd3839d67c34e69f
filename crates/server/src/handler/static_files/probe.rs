//! What a path leads to, without sending it: what rules ask that hold only where there is no file,
//! and who looks for a script. The same names are refused and the same resolver answers as when
//! files are sent, so that nothing is found here that could not be asked for.

use std::{borrow::Cow, sync::Arc, time::Instant};

use super::{
    Folder, StaticFiles,
    find::{self, FindError, Found, Search},
    path::{self, PathError, RequestPath},
    root::{Access, Patience},
};
use crate::http::error::RequestError;

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// Nothing that is ever given.
    Nothing,
}

impl StaticFiles {
    /// Looks where `path` leads: decoded, below the root, from its first slash on. With a slash at
    /// its end it leads to a folder or nowhere. What is found is not opened for reading, so it need
    /// not be readable.
    ///
    /// # Errors
    ///
    /// As for files that are sent: `BadRequest` and `UriTooLong` for what is no path, `Forbidden`
    /// for links that are not followed and what is neither file nor folder, `File` when the system
    /// fails.
    pub async fn probe(&self, path: &[u8]) -> Result<Probe, RequestError> {
        let path = match readable(path) {
            Ok(path) => path,
            Err(PathError::NotFound | PathError::Hidden) => return Ok(Probe::Nothing),
            Err(PathError::Malformed(reason)) => return Err(RequestError::BadRequest { reason }),
            Err(PathError::TooLong) => return Err(RequestError::UriTooLong),
        };
        let now = Instant::now();
        let mut found = self.folder.probe(&path, now, Patience::Never);
        if matches!(found, Err(FindError::WouldWait)) {
            let (folder, path) = (Arc::clone(&self.folder), path.clone());
            let (turns, speed) = (&self.folder.turns, self.folder.place.speed());
            let look = move || folder.probe(&path, now, Patience::Wait);
            found = turns
                .run(speed, "looking for a file", look)
                .await
                .unwrap_or_else(|error| Err(FindError::Failed(error)));
        }
        let shown = || String::from_utf8_lossy(path.decoded()).into_owned();
        match found {
            Ok(probe) => Ok(probe),
            Err(FindError::NotFound | FindError::Hidden) => Ok(Probe::Nothing),
            Err(FindError::NoDocument) => Ok(Probe::Folder),
            Err(FindError::UnknownType) => Ok(Probe::File),
            Err(FindError::Refused(reason)) => {
                Err(RequestError::Forbidden { path: shown(), reason, sub: 0 })
            }
            Err(FindError::Failed(source)) => {
                Err(RequestError::File { path: self.folder.place.path().clone(), source })
            }
            Err(FindError::WouldWait) => {
                let source = rustix::io::Errno::AGAIN.into();
                Err(RequestError::File { path: self.folder.place.path().clone(), source })
            }
        }
    }
}

impl Folder {
    fn probe(
        &self,
        path: &RequestPath<'_>,
        now: Instant,
        patience: Patience,
    ) -> Result<Probe, FindError> {
        let root = self.place.open(now, patience).map_err(|error| match error {
            rustix::io::Errno::AGAIN => FindError::WouldWait,
            error => FindError::Failed(error.into()),
        })?;
        if find::is_hidden(path.relative(), &self.hidden) {
            return Err(FindError::Hidden);
        }
        if path.is_folder() {
            return match root.open(path.relative(), Access::LookAtFolder, patience) {
                Ok(_) => Ok(Probe::Folder),
                Err(error) => Err(error.into()),
            };
        }
        let (documents, hidden) = (&[], &[]);
        let search = Search { documents, hidden, siblings: false, access: Access::Look, patience };
        match find::find(&root, path, search)? {
            Found::File(_) => Ok(Probe::File),
            Found::Folder => Ok(Probe::Folder),
        }
    }
}

/// A decoded path by the rules for those of requests: they undo percent-encoding, so a percent sign
/// is encoded first.
fn readable(decoded: &[u8]) -> Result<RequestPath<'static>, PathError> {
    let raw = if decoded.contains(&b'%') {
        let parts: Vec<_> = decoded.split(|byte| *byte == b'%').collect();
        Cow::Owned(parts.join(b"%25".as_slice()))
    } else {
        Cow::Borrowed(decoded)
    };
    path::parse(&raw).map(RequestPath::into_owned)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::{fs::symlink, net::UnixListener},
    };

    use bindery_model::site::Files;
    use tempfile::TempDir;

    use super::{super::FileCache, *};

    fn folder() -> (TempDir, StaticFiles) {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("root");
        fs::create_dir_all(root.join("folder/inner")).unwrap();
        fs::create_dir_all(root.join(".git")).unwrap();
        fs::write(outer.path().join("secret"), "").unwrap();
        for name in ["file", "100%", "folder/file", ".git/config"] {
            fs::write(root.join(name), "").unwrap();
        }
        symlink("../secret", root.join("out")).unwrap();
        symlink("folder/file", root.join("in")).unwrap();
        UnixListener::bind(root.join("socket")).unwrap();
        let files = StaticFiles::new("/", &Files::of(root), Arc::new(FileCache::default()));
        (outer, files)
    }

    #[tokio::test]
    async fn a_path_leads_to_a_file_or_a_folder_or_nowhere() {
        let (_outer, files) = folder();
        for (path, expected) in [
            ("/", Probe::Folder),
            ("/file", Probe::File),
            ("/file/", Probe::Nothing),
            ("/file/more", Probe::Nothing),
            ("/folder", Probe::Folder),
            ("/folder/", Probe::Folder),
            ("/folder/inner", Probe::Folder),
            ("/folder/file", Probe::File),
            ("/in", Probe::File),
            ("/100%", Probe::File),
            ("/100%25", Probe::Nothing),
            ("/none", Probe::Nothing),
            ("/File", Probe::Nothing),
            ("//file", Probe::Nothing),
            ("/.git/config", Probe::Nothing),
        ] {
            // The second time without waiting.
            for _ in 0..2 {
                assert_eq!(files.probe(path.as_bytes()).await.unwrap(), expected, "{path}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_refused_when_sent_is_refused_when_looked_for() {
        let (_outer, files) = folder();
        for (path, status) in [
            ("/../secret", 400),
            ("/a\\b", 400),
            ("/a\0b", 400),
            ("", 400),
            ("/out", 403),
            ("/socket", 403),
        ] {
            for _ in 0..2 {
                let error = files.probe(path.as_bytes()).await.unwrap_err();
                assert_eq!(error.status().as_u16(), status, "{path}");
            }
        }
        let long = format!("/{}", "a".repeat(9000));
        assert_eq!(files.probe(long.as_bytes()).await.unwrap_err().status().as_u16(), 414);
    }

    #[tokio::test]
    async fn a_root_that_is_gone_is_said_to_be() {
        let (outer, files) = folder();
        fs::remove_dir_all(outer.path().join("root")).unwrap();
        let error = files.probe(b"/file").await.unwrap_err();
        assert_eq!(error.status().as_u16(), 500);
    }
}
