//! Who edits the file by hand: what is written there is served at once, if it can be.
//!
//! The kernel tells of changes; where it does not, as on a network share, a look every two seconds
//! finds them. A file is taken when who writes it has closed it or is silent: half of a
//! configuration may be a valid one.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    fs, io,
    path::{Path, PathBuf},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::Duration,
};

use bindery_server::{scheduling, text_of};
use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode, CreateKind, ModifyKind},
};
use tokio::runtime::Handle;
use tracing::{error, info, warn};

use crate::{
    applier::{Applier, Outcome, Refused, Request, What},
    history::{Actor, Door},
    home::{Stamp, stamp},
};

/// Where no events come, a change is seen by then.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Editors write in several steps; the last is followed by silence.
const QUIET: Duration = Duration::from_millis(20);

/// Who has a file open and writes nothing for so long is done with it.
const UNFINISHED: Duration = Duration::from_secs(1);

/// So many folders are watched: the kernel has room for some thousands for each user, and a look
/// finds what happens in the others.
const FOLDERS_WATCHED_MAX: usize = 4000;

/// A watch over the files of a configuration. It ends with this value.
#[derive(Debug)]
pub struct Watch {
    tell: Sender<Told>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.tell.send(Told::End));
    }
}

/// What the thread is told.
#[derive(Debug)]
enum Told {
    /// Something happened to these files; whether they are complete now.
    Touched {
        files: Vec<PathBuf>,
        complete: bool,
        /// Whether it may be a folder that is new.
        folder: bool,
    },
    /// Nobody wants to know any more.
    End,
}

struct Watcher {
    applier: Applier,
    told: Receiver<Told>,
    kernel: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
    /// The files as they were when they were last taken, or refused.
    seen: Stamps,
    runtime: Handle,
}

type Stamps = BTreeMap<PathBuf, Stamp>;

/// Watches the files of what is in force, from now on. Within a tokio runtime.
///
/// # Errors
///
/// When there can be no thread for it.
pub fn watch(applier: Applier) -> io::Result<Watch> {
    let (tell, told) = mpsc::channel();
    let teller = tell.clone();
    let home = applier.current().home.clone();
    let names =
        [home.path.file_name(), home.file.file_name()].map(|name| name.map(OsStr::to_owned));
    if home.folders_not_watched() > 0 {
        warn!(
            folders = home.folders_not_watched(),
            "not all folders of the sites are watched: a web.config that is new in one of the others is taken up by the next reload (SIGHUP)"
        );
    }
    let kernel = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else { return };
        let Some(complete) = meaning(&event.kind) else { return };
        let folder = may_be_folder(&event.kind);
        if !folder && !event.paths.iter().any(|path| is_named(path, &names)) {
            return;
        }
        // Nobody listens any more at the end.
        drop(teller.send(Told::Touched { files: event.paths, complete, folder }));
    });
    let kernel = kernel.inspect_err(|error| {
        warn!(%error, "the kernel does not tell of edited files; they are looked at instead");
    });
    let mut watcher = Watcher {
        applier,
        told,
        kernel: kernel.ok(),
        watched: BTreeSet::new(),
        seen: Stamps::new(),
        runtime: Handle::current(),
    };
    watcher.seen = watcher.stamps();
    watcher.follow();
    thread::Builder::new().name("bindery-watch".to_owned()).spawn(move || watcher.run())?;
    Ok(Watch { tell })
}

/// Whether a file is complete after an event; nothing for events of no interest.
fn meaning(kind: &EventKind) -> Option<bool> {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Name(_))
        | EventKind::Remove(_) => Some(true),
        EventKind::Create(_) | EventKind::Modify(_) | EventKind::Any | EventKind::Other => {
            Some(false)
        }
        EventKind::Access(_) => None,
    }
}

/// Whether it may be a folder that has come.
fn may_be_folder(kind: &EventKind) -> bool {
    matches!(
        kind,
        EventKind::Create(CreateKind::Folder | CreateKind::Any)
            | EventKind::Modify(ModifyKind::Name(_))
    )
}

/// Whether a file may be one of a configuration, by its name. Folders of content are watched too,
/// and what is written there is of no interest.
fn is_named(path: &Path, own: &[Option<OsString>]) -> bool {
    let name = path.file_name();
    let ending = path.extension().unwrap_or_default().to_ascii_lowercase();
    ending == "config" || ending == "toml" || own.iter().any(|own| own.as_deref() == name)
}

impl Watcher {
    fn run(mut self) {
        // Thousands of files may have to be looked at, every two seconds.
        scheduling::give_way();
        // A server is told within the runtime.
        let runtime = self.runtime.clone();
        let _within = runtime.enter();
        let mut unfinished: Option<Stamps> = None;
        loop {
            let wait = if unfinished.is_some() { UNFINISHED } else { LOOK_INTERVAL };
            match self.told.recv_timeout(wait) {
                Ok(Told::Touched { files, complete, folder })
                    if self.concerns(&files) || folder && self.notice(&files) =>
                {
                    // Who has made a folder may still write into it.
                    if !self.settle(complete && self.concerns(&files)) {
                        return;
                    }
                    // Between two names of a file there is none; if that lasts, the next look tells.
                    if self.applier.current().home.path.exists() {
                        self.look();
                        unfinished = None;
                    }
                }
                Ok(Told::Touched { .. }) => {}
                Ok(Told::End) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    let now = Some(self.stamps()).filter(|now| *now != self.seen);
                    if now.is_some() && now == unfinished {
                        self.look();
                        unfinished = None;
                    } else {
                        unfinished = now;
                    }
                }
            }
        }
    }

    fn concerns(&self, files: &[PathBuf]) -> bool {
        files.iter().any(|file| self.seen.contains_key(file))
    }

    /// Takes notice of folders that are new where a `web.config` may stand. Whether there is one.
    fn notice(&mut self, files: &[PathBuf]) -> bool {
        let home = self.applier.current().home.clone();
        let before = home.files_beside().len();
        let mut found = false;
        for folder in files.iter().filter(|file| home.note_folder(file)) {
            found = true;
            // Nothing has this stamp: it is looked at.
            self.seen.insert(folder.join("web.config"), Some((0, 0, 0, 0, 0)));
        }
        if home.files_beside().len() > before {
            // What is there already is not looked at yet.
            for file in self.files() {
                self.seen.entry(file).or_insert(None);
            }
            self.follow();
        }
        found
    }

    /// Waits until who writes is done. False at the end.
    fn settle(&mut self, mut complete: bool) -> bool {
        loop {
            let wait = if complete { QUIET } else { UNFINISHED };
            match self.told.recv_timeout(wait) {
                Ok(Told::Touched { files, complete: now, folder }) => {
                    if self.concerns(&files) {
                        complete = now;
                    }
                    if folder {
                        self.notice(&files);
                    }
                }
                Err(RecvTimeoutError::Timeout) => return true,
                Ok(Told::End) | Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    /// Takes what the files say, unless that is in force or was looked at already.
    fn look(&mut self) {
        // What is told may be a change that is not yet in force.
        let current = self.applier.settled();
        let stamps = self.stamps();
        if stamps == self.seen {
            return;
        }
        let own = [&whole(&current.home.path), &current.home.file];
        let mut others = stamps.iter().filter(|(file, _)| !own.contains(file));
        // Files of a new site were read by the change that made it.
        let is_ours = others.all(|(file, stamp)| match self.seen.get(file) {
            Some(seen) => seen == stamp,
            None => current.home.stamp_when_read(file) == *stamp,
        }) && fs::canonicalize(&current.home.path)
            .is_ok_and(|file| file == current.home.file)
            && current.home.text().is_ok_and(|text| text == current.text)
            && self.applier.edited().is_empty();
        let others = !stamps.keys().eq(self.seen.keys());
        self.seen = stamps;
        if is_ours {
            if others {
                self.follow();
            }
            return;
        }
        drop(current);
        let actor = Actor { name: String::new(), door: Door::File };
        let request =
            Request { what: What::Reload, expected: None, actor, dry_run: false, force: false };
        match self.applier.apply(&request) {
            Ok(Outcome { changed: true, revision, disturbed, .. }) => {
                info!(revision, disturbed, "the edited configuration is in force");
            }
            Ok(_) => {}
            // It is told with the places of all that is wrong.
            Err(Refused::Problems(_) | Refused::Inspected(_)) => {
                warn!(
                    "the edited configuration cannot be served; the last good one stays in force"
                );
            }
            Err(refused) => {
                error!(error = %text_of(&refused), "the edited configuration was not taken");
            }
        }
        self.follow();
        // Files that are read from now on.
        let known = std::mem::take(&mut self.seen);
        self.seen = self.stamps();
        self.seen.extend(known);
    }

    fn files(&self) -> BTreeSet<PathBuf> {
        let home = &self.applier.current().home;
        let mut files = BTreeSet::from_iter(home.files_beside());
        files.extend([whole(&home.path), home.file.clone()]);
        files
    }

    fn stamps(&self) -> Stamps {
        self.files().into_iter().map(|file| (file.clone(), stamp(&file))).collect()
    }

    /// Watches the folders that the files are in, and no others.
    fn follow(&mut self) {
        let files = self.files();
        let folders = files.iter().filter_map(|file| file.parent()).map(Path::to_owned);
        let wanted: BTreeSet<_> = folders.take(FOLDERS_WATCHED_MAX).collect();
        let Some(kernel) = &mut self.kernel else { return };
        for folder in self.watched.difference(&wanted) {
            // One that is gone is watched no more.
            drop(kernel.unwatch(folder));
        }
        for folder in wanted.difference(&self.watched) {
            if let Err(error) = kernel.watch(folder, RecursiveMode::NonRecursive) {
                warn!(folder = %folder.display(), %error, "edits there are seen with a delay");
            }
        }
        self.watched = wanted;
    }
}

/// As the kernel names it: with its folder.
fn whole(path: &Path) -> PathBuf {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    match (fs::canonicalize(folder), path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use bindery_model::change::{Act, Change, Fields, Place, Value};

    use super::*;
    use crate::{
        home::Home,
        steps::{Observer, Step},
    };

    #[test]
    fn what_a_change_has_just_read_is_not_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("applicationHost.config");
        fs::write(folder.path().join("bindery.toml"), "version = 1\n[server]\nstate_dir = \"s\"\n")
            .unwrap();
        let text = "<configuration><system.applicationHost><sites></sites>\
                    </system.applicationHost></configuration>";
        fs::write(&path, text).unwrap();
        let reads = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&reads);
        let observer = Observer::new(move |step| {
            counted.fetch_add(usize::from(step == Step::Read), Ordering::Relaxed);
            Ok(())
        });
        let applier = Applier::open(Home::load(&path).unwrap(), observer).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (_tell, told) = mpsc::channel();
        let mut watcher = Watcher {
            applier: applier.clone(),
            told,
            kernel: None,
            watched: BTreeSet::new(),
            seen: Stamps::new(),
            runtime: runtime.handle().clone(),
        };
        watcher.seen = watcher.stamps();
        // A site with a web.config, and one without.
        let listing = "<configuration><system.webServer><directoryBrowse enabled=\"true\" />\
                       </system.webServer></configuration>";
        for name in ["a", "b"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        fs::write(folder.path().join("a/web.config"), listing).unwrap();
        for name in ["a", "b"] {
            let root = Value::Text(folder.path().join(name).display().to_string());
            let on = Value::List(vec![Value::Text(format!("http/127.0.0.1:8080:{name}.example"))]);
            let fields = Fields::from([("root".to_owned(), root), ("bindings".to_owned(), on)]);
            let change = Change { at: Place::Site(name.to_owned()), act: Act::Add(fields) };
            let what = What::Changes(vec![change]);
            let actor = Actor { name: String::new(), door: Door::Cli };
            let request = Request { what, expected: None, actor, dry_run: false, force: false };
            assert!(applier.apply(&request).unwrap().changed);
        }
        watcher.look();
        assert_eq!(reads.load(Ordering::Relaxed), 2, "each change, once");
        for (file, expected) in [("a/web.config", 3), ("b/web.config", 4)] {
            fs::write(folder.path().join(file), "<configuration></configuration>").unwrap();
            watcher.look();
            assert_eq!(reads.load(Ordering::Relaxed), expected, "{file} is another");
            watcher.look();
            assert_eq!(reads.load(Ordering::Relaxed), expected, "and is known now");
        }
    }
}
