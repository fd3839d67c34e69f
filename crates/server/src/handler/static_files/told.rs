//! What a GET of a path is answered with, told instead of sent: for who explains a configuration.
//! The same lookups tell it as answer a request.

use std::{
    ffi::OsStr,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use rustix::fs::Dir;

use super::{
    StaticFiles,
    find::FindError,
    folder::{Answer, Clock, LookError},
    path::is_hidden,
    root::{Access, Patience, Root},
};
use crate::{
    clock,
    http::{accept::Coding, error::RequestError},
    limits,
};

/// What is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A file: 200.
    File(ToldFile),
    /// The list of a folder: 200.
    Listing,
    /// A folder is sent to its path with a slash: 301.
    ToFolder,
}

/// A file that is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldFile {
    /// Where it lies.
    pub path: PathBuf,
    /// Its length, in bytes.
    pub length: u64,
    /// What `Content-Type` says.
    pub content_type: String,
    /// The codings of the siblings that are sent in its place to who takes them, best first.
    pub codings: Vec<&'static str>,
    /// Whether nothing is at the path, and the fallback answers.
    pub is_fallback: bool,
}

impl StaticFiles {
    /// What a GET of `path`, percent-encoded as in a target, is answered with now.
    ///
    /// # Errors
    ///
    /// As [`StaticFiles::handle`].
    pub async fn tell(&self, path: &str) -> Result<Told, RequestError> {
        let folder = &self.folder;
        let asked = self.path_of(path)?;
        let clock = Clock { now: Instant::now(), wall: clock::now };
        let mut found = (&asked, self.ask_disk(&asked, None, clock).await);
        if let (Err(LookError::File(FindError::NotFound | FindError::NoDocument)), Some(fallback)) =
            (&found.1, &folder.fallback)
        {
            found = (fallback, self.ask_disk(fallback, None, clock).await);
        }
        let (at, answer) = found;
        let is_fallback = !std::ptr::eq(at, &raw const asked);
        match answer.map_err(|error| self.failed(path, at, error))? {
            Answer::Found(found) => {
                let plain = &found.versions.plain.kept.representation;
                let content_type = String::from_utf8_lossy(plain.content_type.as_bytes());
                Ok(Told::File(ToldFile {
                    path: folder.place.path().join(Path::new(OsStr::from_bytes(&found.name))),
                    length: plain.stamp.length(),
                    content_type: content_type.into_owned(),
                    codings: found.versions.codings().map(Coding::name).collect(),
                    is_fallback,
                }))
            }
            Answer::Folder if !is_fallback => Ok(Told::ToFolder),
            // Nothing is in memory for this one; and a fallback is a file.
            Answer::Unchanged | Answer::Folder => {
                Err(RequestError::NotFound { path: path.to_owned(), sub: 0 })
            }
            Answer::Listing(_) => Ok(Told::Listing),
        }
    }
}

impl StaticFiles {
    /// The path of a file or folder that differs from `path`, where nothing is, in case only.
    pub async fn in_other_case(&self, path: &str) -> Option<String> {
        let path = self.path_of(path).ok()?.into_owned();
        let folder = Arc::clone(&self.folder);
        let look = move || {
            let root = folder.place.open(Instant::now(), Patience::Wait).ok()?;
            let names = in_other_case(&root, path.relative())?;
            let route = folder.route.trim_end_matches('/');
            Some(format!("{route}/{}", String::from_utf8_lossy(&names)))
        };
        let (turns, speed) = (&self.folder.turns, self.folder.place.speed());
        turns.run(speed, "looking for a file", look).await.ok()?
    }
}

fn in_other_case(root: &Root, relative: &[u8]) -> Option<Vec<u8>> {
    let lower = |name: &[u8]| String::from_utf8_lossy(name).to_lowercase();
    let mut found = Vec::new();
    for name in relative.split(|byte| *byte == b'/') {
        let folder: OwnedFd = root.open(&found, Access::ReadFolder, Patience::Wait).ok()?.into();
        let entries = Dir::read_from(&folder).ok()?.take(limits::LISTING_ENTRIES_MAX);
        let mut own = None;
        for entry in entries.filter_map(Result::ok) {
            let entry = entry.file_name().to_bytes();
            if entry == name {
                own = Some(name.to_vec());
                break;
            }
            if !is_hidden(entry) && lower(entry) == lower(name) {
                own = Some(entry.to_vec());
            }
        }
        if !found.is_empty() {
            found.push(b'/');
        }
        found.extend(own?);
    }
    (found != relative).then_some(found)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use bindery_model::site::{Files, UnknownTypes};

    use super::{super::FileCache, *};

    /// What is told in one line.
    async fn told(files: &StaticFiles, path: &str) -> String {
        match files.tell(path).await {
            Ok(Told::File(file)) => {
                let name = file.path.file_name().unwrap().to_str().unwrap().to_owned();
                let coded = file.codings.concat();
                let fallback = if file.is_fallback { " fallback" } else { "" };
                format!("{name} {} {}{coded}{fallback}", file.length, file.content_type)
            }
            Ok(Told::Listing) => "listing".to_owned(),
            Ok(Told::ToFolder) => "folder".to_owned(),
            Err(error) => format!("{}.{}", error.status().as_u16(), error.sub_status()),
        }
    }

    #[tokio::test]
    async fn what_would_be_sent_is_told_and_why_nothing_is() {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("root");
        fs::create_dir_all(root.join("a")).unwrap();
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::write(root.join("Default.htm"), "d").unwrap();
        fs::write(root.join("a.css"), "a{}").unwrap();
        fs::write(root.join("a.css.gz"), "z").unwrap();
        fs::write(root.join("a.xyzzy"), "x").unwrap();
        symlink("/etc/passwd", root.join("out")).unwrap();
        let settings = Files {
            hidden: ["bin".to_owned()].into(),
            unknown_types: UnknownTypes::Refuse,
            ..Files::of(root)
        };
        let files =
            |settings: &Files| StaticFiles::new("/r", settings, Arc::new(FileCache::default()));
        let plain = files(&settings);
        for (path, expected) in [
            ("/r/", "Default.htm 1 text/html; charset=utf-8"),
            ("/r/a.css", "a.css 3 text/css; charset=utf-8gzip"),
            ("/r", "folder"),
            ("/r/a", "folder"),
            ("/r/a/", "403.14"),
            ("/r/a.xyzzy", "404.3"),
            ("/r/bin/x", "404.8"),
            ("/r/BIN", "404.8"),
            ("/r/.git", "404.8"),
            ("/r//", "404.0"),
            ("/r/none", "404.0"),
            ("/r/out", "403.0"),
            ("/r/%2e%2e", "400.0"),
        ] {
            assert_eq!(told(&plain, path).await, expected, "{path}");
        }
        let app = files(&Files { fallback: Some("/Default.htm".to_owned()), ..settings.clone() });
        for (path, expected) in [
            ("/r/none", "Default.htm 1 text/html; charset=utf-8 fallback"),
            ("/r/a/", "Default.htm 1 text/html; charset=utf-8 fallback"),
            ("/r/Default.htm", "Default.htm 1 text/html; charset=utf-8"),
            ("/r/bin/x", "404.8"),
            ("/r/.git", "404.8"),
        ] {
            assert_eq!(told(&app, path).await, expected, "{path}");
        }
        for (path, expected) in [
            ("/r/A/", Some("/r/a")),
            ("/r/A.CSS", Some("/r/a.css")),
            ("/r/a.css", None),
            ("/r/a/b", None),
            ("/r/BIN/x", None),
        ] {
            assert_eq!(plain.in_other_case(path).await.as_deref(), expected, "{path}");
        }
        assert_eq!(told(&files(&Files { listing: true, ..settings }), "/r/a/").await, "listing");
    }
}
