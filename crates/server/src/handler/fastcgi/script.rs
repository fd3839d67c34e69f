//! Which script answers a path, if any does.
//!
//! A script is always a regular file inside the root, found by the resolver that finds files: no
//! name that only looks like one ever reaches a program, which may read paths in its own way
//! (`/upload.jpg/x.php` is no script unless `upload.jpg` is a folder that has it). And what has the
//! ending of a script is never sent as a file.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use bindery_model::{
    decide::route,
    site::{DEFAULT_DOCUMENTS, FastCgi},
};

use super::super::static_files::{StaticFiles, probe::Probe};
use crate::{
    http::error::RequestError,
    limits::{FASTCGI_SCRIPTS_IN_PATH_MAX, FILE_VERIFIED_FOR},
};

/// What is a script here.
#[derive(Debug)]
pub(super) struct Scripts {
    /// Where the route begins.
    route: Box<str>,
    /// Endings, without the dot.
    extensions: Vec<Box<str>>,
    /// What is looked for in a folder, scripts among it.
    default_documents: Vec<Box<str>>,
    /// The script of everything else, from its first slash on.
    front_controller: Option<Box<[u8]>>,
    /// Whether a folder without a default document is listed.
    listing: bool,
    seen: Seen,
}

/// Scripts that were there a moment ago. They are believed to be so as long as files are.
#[derive(Debug, Default)]
struct Seen([Mutex<Place>; SEEN]);

/// When a script was seen, and its path.
type Place = Option<(Instant, Box<[u8]>)>;

/// Most sites have a few scripts that answer nearly everything. Where two share a place, the last
/// one has it.
const SEEN: usize = 16;

impl Seen {
    fn place(&self, path: &[u8]) -> MutexGuard<'_, Place> {
        let hash = path
            .iter()
            .fold(0_usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(usize::from(*byte)));
        #[allow(clippy::indexing_slicing, reason = "a remainder is smaller")]
        let place = &self.0[hash % SEEN];
        place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, path: &[u8], now: Instant) -> bool {
        self.place(path).as_ref().is_some_and(|(seen, own)| {
            **own == *path && now.saturating_duration_since(*seen) < FILE_VERIFIED_FOR
        })
    }

    /// `now` is a time before the look.
    fn put(&self, path: &[u8], now: Instant) {
        let mut place = self.place(path);
        match &mut *place {
            Some((seen, own)) if **own == *path => *seen = now,
            other => *other = Some((now, path.into())),
        }
    }
}

/// What answers a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A script, below the root from its first slash on, and the rest of the path.
    Script { script: Vec<u8>, path_info: Vec<u8> },
    /// A file, or what is said where there is none.
    File,
    /// Nothing.
    Nothing,
}

/// Suffixes of compressed siblings: `index.php.gz` is a script's source too.
const COMPRESSED: [&[u8]; 3] = [b".gz", b".br", b".zst"];

impl Scripts {
    pub(super) fn new(route: &str, fastcgi: &FastCgi) -> Self {
        let mut scripts = Self {
            route: route.into(),
            extensions: fastcgi.extensions.iter().map(|one| one.as_str().into()).collect(),
            default_documents: Vec::new(),
            front_controller: None,
            listing: fastcgi.files.listing,
            seen: Seen::default(),
        };
        let documents = &fastcgi.files.default_documents;
        if *documents == DEFAULT_DOCUMENTS {
            // Who says nothing else expects that of a folder of scripts.
            let indexes = fastcgi.extensions.iter().map(|extension| format!("index.{extension}"));
            scripts.default_documents = indexes.map(Into::into).collect();
        }
        let documents = documents.iter().filter(|name| !name.is_empty());
        scripts.default_documents.extend(documents.map(|name| name.as_str().into()));
        // A script that answers where there is no file is the same by another name.
        let fallback =
            fastcgi.files.fallback.as_ref().filter(|path| scripts.is_script(path.as_bytes()));
        let front = fastcgi.front_controller.as_ref().or(fallback);
        scripts.front_controller = front.map(|path| match path.as_bytes() {
            [b'/', ..] => path.as_bytes().into(),
            other => [b"/", other].concat().into(),
        });
        scripts
    }

    /// Whether a name has the ending of a script, in whatever case.
    pub(super) fn is_script(&self, name: &[u8]) -> bool {
        self.extensions.iter().any(|extension| {
            let dot = name.len().checked_sub(extension.len() + 1);
            dot.and_then(|dot| name.split_at_checked(dot)).is_some_and(|(_, ending)| {
                matches!(ending, [b'.', rest @ ..] if rest.eq_ignore_ascii_case(extension.as_bytes()))
            })
        })
    }

    /// Whether a name could only be the source of a script, compressed or not.
    fn is_source(&self, name: &[u8]) -> bool {
        let plain = COMPRESSED.iter().find_map(|suffix| {
            let dot = name.len().checked_sub(suffix.len())?;
            let (plain, ending) = name.split_at_checked(dot)?;
            ending.eq_ignore_ascii_case(suffix).then_some(plain)
        });
        self.is_script(name) || plain.is_some_and(|plain| self.is_source(plain))
    }

    /// Whether a path is surely that of a file, if anything is there: no script and no folder.
    pub(super) fn is_file_only(&self, raw: &str) -> bool {
        let bytes = raw.as_bytes();
        !bytes.ends_with(b"/")
            && !bytes.contains(&b'%')
            && !bytes.split(|byte| *byte == b'/').any(|name| self.is_source(name))
    }

    /// What answers where nothing is found, if anything does.
    pub(super) fn front(&self) -> Option<Target> {
        let script = self.front_controller.as_ref()?;
        Some(Target::Script { script: script.to_vec(), path_info: Vec::new() })
    }

    /// What answers the path of a request. `is_read`: whether it asks for content, as only that of
    /// files can be asked for.
    pub(super) async fn find(
        &self,
        raw: &str,
        is_read: bool,
        files: &StaticFiles,
    ) -> Result<Target, RequestError> {
        let decoded =
            route::decoded_path(raw).map_err(|reason| RequestError::BadRequest { reason })?;
        let below = self.below_route(&decoded);
        let Some(path) = below else { return Ok(Target::File) };
        if let Some(target) = self.script_in(path, files).await? {
            return Ok(target);
        }
        let last = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        if path.ends_with(b"/") {
            return self.document_of(path, files).await;
        }
        if self.is_source(last) && !self.is_script(last) {
            return Ok(self.front().unwrap_or(Target::Nothing));
        }
        if self.front_controller.is_none() && is_read {
            return Ok(Target::File);
        }
        Ok(match self.probe(path, files).await? {
            Probe::File | Probe::Folder => Target::File,
            Probe::Nothing => self.front().unwrap_or(Target::File),
        })
    }

    /// The path from where the route ends: with its first slash. The route's own path without the
    /// slash, and `*`, are nothing below it.
    fn below_route<'a>(&self, path: &'a [u8]) -> Option<&'a [u8]> {
        let prefix = self.route.strip_suffix('/').unwrap_or(&self.route);
        path.strip_prefix(prefix.as_bytes()).filter(|rest| rest.starts_with(b"/"))
    }

    /// The first script that a path leads to or through. `None` where no name in it is one's.
    async fn script_in(
        &self,
        path: &[u8],
        files: &StaticFiles,
    ) -> Result<Option<Target>, RequestError> {
        let (mut from, mut looked) = (1, 0);
        while let Some(rest) = path.get(from..).filter(|rest| !rest.is_empty()) {
            let length = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
            let end = from + length;
            let name = rest.get(..length).unwrap_or_default();
            if self.is_script(name) {
                looked += 1;
                let (script, path_info) = path.split_at_checked(end).unwrap_or((path, b""));
                let found = match looked > FASTCGI_SCRIPTS_IN_PATH_MAX {
                    true => Probe::Nothing,
                    false => self.probe_script(script, files).await?,
                };
                match found {
                    Probe::File => {
                        return Ok(Some(Target::Script {
                            script: script.to_vec(),
                            path_info: path_info.to_vec(),
                        }));
                    }
                    // And so nothing is below it.
                    Probe::Nothing => return Ok(Some(self.front().unwrap_or(Target::Nothing))),
                    Probe::Folder if path_info.is_empty() => return Ok(Some(Target::File)),
                    Probe::Folder => {}
                }
            }
            from = end + 1;
        }
        Ok(None)
    }

    /// What answers for a folder.
    async fn document_of(
        &self,
        folder: &[u8],
        files: &StaticFiles,
    ) -> Result<Target, RequestError> {
        for document in &self.default_documents {
            let path = [folder, document.as_bytes()].concat();
            if self.probe(&path, files).await? == Probe::File {
                return Ok(match self.is_script(&path) {
                    true => Target::Script { script: path, path_info: Vec::new() },
                    false => Target::File,
                });
            }
        }
        if self.listing && self.probe(folder, files).await? == Probe::Folder {
            return Ok(Target::File);
        }
        Ok(self.front().unwrap_or(Target::File))
    }

    async fn probe_script(&self, path: &[u8], files: &StaticFiles) -> Result<Probe, RequestError> {
        let now = Instant::now();
        if self.seen.has(path, now) {
            return Ok(Probe::File);
        }
        let probe = self.probe(path, files).await?;
        if probe == Probe::File {
            self.seen.put(path, now);
        }
        Ok(probe)
    }

    /// With a script for everything else, a path that names no file is that script's to judge.
    async fn probe(&self, path: &[u8], files: &StaticFiles) -> Result<Probe, RequestError> {
        // Boxed, because most scripts were seen a moment ago.
        match Box::pin(files.probe(path)).await {
            Err(RequestError::BadRequest { .. }) if self.front_controller.is_some() => {
                Ok(Probe::Nothing)
            }
            probe => probe,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::Arc};

    use bindery_model::{
        site::Files,
        upstream::{ServerAddress, Timeouts},
    };

    use super::{super::super::static_files::FileCache, *};

    struct Site {
        _folder: tempfile::TempDir,
        files: StaticFiles,
        fastcgi: FastCgi,
    }

    fn site() -> Site {
        let folder = tempfile::tempdir().unwrap();
        for path in [
            "index.php",
            "a.php",
            "UP.PHP",
            "plain.txt",
            "upload.jpg",
            "old.php.gz",
            "old.php.GZ.br",
            ".hidden.php",
            "dir/index.html",
            "dir/deep/b.php",
            "dir.php/c.php",
            "dir.php/plain.txt",
            "empty/x.txt",
        ] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let mut files = Files::of(folder.path().to_owned());
        files.default_documents = vec!["index.php".to_owned(), "index.html".to_owned()];
        let fastcgi = FastCgi {
            server: ServerAddress::Unix("none".into()),
            files,
            extensions: vec!["php".to_owned()],
            front_controller: None,
            parameters: Vec::new(),
            timeouts: Timeouts::default(),
            idle_connections_max: 0,
        };
        let files = StaticFiles::new("/", &fastcgi.files, Arc::new(FileCache::default()));
        Site { _folder: folder, files, fastcgi }
    }

    impl Site {
        async fn find(&self, route: &str, path: &str) -> String {
            let scripts = Scripts::new(route, &self.fastcgi);
            match scripts.find(path, true, &self.files).await {
                Ok(Target::Script { script, path_info }) => {
                    let text = |bytes| String::from_utf8(bytes).unwrap();
                    format!("{} + {}", text(script), text(path_info))
                }
                Ok(Target::File) => "file".to_owned(),
                Ok(Target::Nothing) => "nothing".to_owned(),
                Err(error) => error.status().as_u16().to_string(),
            }
        }
    }

    #[tokio::test]
    async fn a_script_is_a_file_that_is_there() {
        let site = site();
        for (path, expected) in [
            ("/a.php", "/a.php + "),
            ("/%61.ph%70", "/a.php + "),
            ("/a.php/", "/a.php + /"),
            ("/a.php/b/c", "/a.php + /b/c"),
            ("/a.php/b.php", "/a.php + /b.php"),
            ("/a.php/%20%2f%C3%A4", "/a.php + / /ä"),
            ("//a.php//b", "/a.php + /b"),
            ("/dir/deep/b.php/x", "/dir/deep/b.php + /x"),
            ("/dir.php/c.php/x", "/dir.php/c.php + /x"),
            ("/UP.PHP", "/UP.PHP + "),
            ("/up.php", "nothing"),
            ("/a.PHP", "nothing"),
            ("/none.php", "nothing"),
            ("/none.php/x", "nothing"),
            ("/upload.jpg/x.php", "nothing"),
            ("/plain.txt/x.php", "nothing"),
            ("/none/a.php", "nothing"),
            ("/.hidden.php", "nothing"),
            ("/a.php%00.txt", "400"),
            ("/../a.php", "400"),
            ("/a.php/../x", "400"),
            ("/x\\a.php", "400"),
        ] {
            assert_eq!(site.find("/", path).await, expected, "{path}");
        }
    }

    #[tokio::test]
    async fn everything_else_is_a_file() {
        let site = site();
        for (path, expected) in [
            ("/", "/index.php + "),
            ("/dir/", "file"),
            ("/dir", "file"),
            ("/dir.php", "file"),
            ("/dir.php/", "file"),
            ("/dir.php/plain.txt", "file"),
            ("/empty/", "file"),
            ("/plain.txt", "file"),
            ("/none", "file"),
            ("/a.php5", "file"),
            ("/aphp", "file"),
            ("/old.php.gz", "nothing"),
            ("/OLD.PHP.GZ", "nothing"),
            ("/old.php.GZ.br", "nothing"),
            ("*", "file"),
        ] {
            assert_eq!(site.find("/", path).await, expected, "{path}");
        }
    }

    #[tokio::test]
    async fn a_front_controller_answers_for_what_is_not_there() {
        let mut site = site();
        site.fastcgi.front_controller = Some("/index.php".to_owned());
        for (path, expected) in [
            ("/", "/index.php + "),
            ("/none", "/index.php + "),
            ("/none/", "/index.php + "),
            ("/none/more?x", "/index.php + "),
            ("/empty/", "/index.php + "),
            ("/none.php", "/index.php + "),
            ("/upload.jpg/x.php", "/index.php + "),
            ("/old.php.gz", "/index.php + "),
            ("/App%5CModel", "/index.php + "),
            ("/.env", "/index.php + "),
            ("/a.php/x", "/a.php + /x"),
            ("/dir/", "file"),
            ("/dir", "file"),
            ("/plain.txt", "file"),
            ("/..", "400"),
        ] {
            assert_eq!(site.find("/", path).await, expected, "{path}");
        }
        site.fastcgi.files.listing = true;
        assert_eq!(site.find("/", "/empty/").await, "file");
        assert_eq!(site.find("/", "/none/").await, "/index.php + ");
    }

    #[tokio::test]
    async fn a_fallback_that_is_a_script_is_a_front_controller() {
        let mut site = site();
        site.fastcgi.files.fallback = Some("index.php".to_owned());
        assert_eq!(site.find("/", "/none").await, "/index.php + ");
        site.fastcgi.files.fallback = Some("/index.html".to_owned());
        assert_eq!(site.find("/", "/none").await, "file");
    }

    #[tokio::test]
    async fn a_folder_s_index_is_a_script_s_unless_others_are_named() {
        let mut site = site();
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        site.fastcgi.files.default_documents = names(&DEFAULT_DOCUMENTS);
        assert_eq!(site.find("/", "/").await, "/index.php + ");
        assert_eq!(site.find("/", "/dir/").await, "file");
        site.fastcgi.files.default_documents = names(&["index.html"]);
        assert_eq!(site.find("/", "/").await, "file");
    }

    #[tokio::test]
    async fn a_path_is_looked_for_below_its_route() {
        let site = site();
        for (path, expected) in [
            ("/app/a.php/x", "/a.php + /x"),
            ("/app/", "/index.php + "),
            ("/app", "file"),
            ("/%61pp/a.php", "/a.php + "),
        ] {
            assert_eq!(site.find("/app", path).await, expected, "{path}");
        }
    }

    #[test]
    fn a_script_is_believed_to_be_there_for_a_moment() {
        let seen = Seen::default();
        let now = Instant::now();
        seen.put(b"/a.php", now);
        assert!(seen.has(b"/a.php", now));
        assert!(!seen.has(b"/b.php", now));
        assert!(!seen.has(b"/a.php", now + FILE_VERIFIED_FOR));
        for number in 0..1000 {
            seen.put(format!("/{number}.php").as_bytes(), now);
        }
        let kept = (0..1000).filter(|number| seen.has(format!("/{number}.php").as_bytes(), now));
        assert!((1..=SEEN).contains(&kept.count()));
    }

    #[tokio::test]
    async fn a_path_of_scripts_is_looked_at_a_few_times_only() {
        let mut folder = String::new();
        let site = site();
        for _ in 0..20 {
            folder.push_str("/x.php");
        }
        let root = &site.fastcgi.files.root;
        fs::create_dir_all(root.join(folder.trim_start_matches('/'))).unwrap();
        fs::write(root.join(format!("{}/a.php", folder.trim_start_matches('/'))), "").unwrap();
        assert_eq!(site.find("/", &format!("{folder}/a.php")).await, "nothing");
    }
}
