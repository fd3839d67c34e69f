//! Who changed what, when and by which door: in the state folder, each revision with its text.
//!
//! ```text
//! state_dir/history/
//!   records.jsonl     a line for each revision, oldest first
//!   texts/DIGEST.zst  what those lines name: texts of the file, and certificate records
//!   next.json         the change that is about to be made, or was just made
//! ```
//!
//! A change is made by the file that is the truth, in one moment. Around that moment stands
//! `next.json`: durable before it, with all that the change is; removed after its line stands in
//! `records.jsonl`. So a crash at any point leaves one of these, told apart at the next start:
//!
//! - `next.json` is torn or not there: nothing was begun, or all is done.
//! - It names another text than the file has: the change was not made, and is forgotten.
//! - It names the file's text: the change was made. Its certificate records are written once more,
//!   its line too where that is missing.

use std::{
    collections::{HashMap, VecDeque},
    fs::{self, File, OpenOptions},
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aws_lc_rs::digest::{SHA256, digest};
use bindery_model::change::Difference;
use serde::{Deserialize, Serialize};

use crate::{
    problems::PlacedProblem,
    replace::{NotReplaced, Replacement, sync_folder},
    written::Replaced,
};

/// So many revisions can be brought back. Beyond that nobody looks for a change by number, and a
/// script that makes one a minute has a day of them.
pub const REVISIONS_KEPT_MAX: usize = 1000;

/// So much they may take: their texts, compressed, and their lines, which say what differs. A file
/// of 10,000 sites takes some 150 KB of it, so all [`REVISIONS_KEPT_MAX`] of it fit; of one of
/// 100,000 sites fewer are kept. A line that adds 10,000 sites has 1 MB and more.
pub const BYTES_KEPT_MAX: u64 = 256 * 1024 * 1024;

/// Lines that are no longer kept are taken out of the file when they are so many, or so large.
const LINES_DROPPED_MAX: usize = 100;
const LINE_BYTES_DROPPED_MAX: u64 = 16 * 1024 * 1024;

/// So much of what changes have replaced is in memory: that of 1,000 usual changes, several times.
const REPLACED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A text may be so large when it is unpacked; larger ones were not written by us.
const TEXT_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// The fastest that still finds what repeats from site to site.
const COMPRESSION_LEVEL: i32 = 1;

/// By which door a change came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Door {
    /// The server started and found it so.
    Start,
    /// Somebody edited the file.
    File,
    /// `bindery site`, `binding`, `app` and the like.
    Cli,
    /// The REST API.
    Api,
    /// `bindery appcmd`.
    Appcmd,
    /// `bindery netsh`.
    Netsh,
}

/// Who asked for a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// A user of the machine or the name of a token.
    pub name: String,
    /// By which door.
    pub door: Door,
}

/// A change that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The revision that it made.
    pub revision: u64,
    /// When: seconds since 1970-01-01 UTC.
    pub at: u64,
    /// Who.
    pub actor: Actor,
    /// The revision whose text it brought back, where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo_to: Option<u64>,
    /// What.
    pub difference: Difference,
    /// Connections that lost what they used.
    pub disturbed: usize,
    /// What is wrong since, and was not before; without hints.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<PlacedProblem>,
}

/// What a revision was: the text of the file, and that of the certificate records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Texts {
    pub(crate) config: String,
    pub(crate) records: String,
}

/// SHA-256 of a text, in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Digest(String);

impl Digest {
    pub(crate) fn of(text: &str) -> Self {
        let hash = digest(&SHA256, text.as_bytes());
        Self(hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// A line of `records.jsonl`, and what `next.json` holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Line {
    config: Digest,
    records: Digest,
    /// What it has replaced in the text of the revision before; nothing where that is too much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replaced: Option<Replaced>,
    #[serde(flatten)]
    record: Record,
}

/// What of a line is in memory.
#[derive(Clone, Debug)]
struct Kept {
    revision: u64,
    config: Digest,
    records: Digest,
    replaced: Option<Arc<Replaced>>,
    /// Where its line stands.
    line: (u64, usize),
}

/// The history of a state folder.
#[derive(Debug)]
pub(crate) struct History {
    folder: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    lines: Arc<File>,
    length: u64,
    kept: VecDeque<Kept>,
    /// Lines that are no longer kept and stand in the file still, before all that are.
    dropped: usize,
    /// Which texts there are, with their size on disk.
    texts: HashMap<Digest, u64>,
    /// A change that was made and whose line could not be written.
    unwritten: Option<Line>,
}

/// A change that is about to be made.
#[derive(Debug)]
pub(crate) struct Intended(Line);

/// What a start found that a crash had left.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unfinished {
    /// The certificate records that belong to the text of the file.
    pub(crate) records: String,
}

impl History {
    /// Whether a state folder has one.
    pub(crate) fn is_in(state_dir: &Path) -> bool {
        state_dir.join("history").join("records.jsonl").is_file()
    }

    /// Opens the history of a state folder, and repairs what a crash left in its files.
    pub(crate) fn open(state_dir: &Path) -> io::Result<Self> {
        let folder = state_dir.join("history");
        fs::create_dir_all(folder.join("texts"))?;
        let path = folder.join("records.jsonl");
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).mode(0o600).open(&path)?;
        let Lines { kept, dropped, length } = read_lines(&file)?;
        if file.metadata()?.len() > length {
            // The last line is torn: its change is in `next.json`, or was never begun.
            file.set_len(length)?;
            file.sync_all()?;
        }
        let texts = sizes(&folder.join("texts"))?;
        let state = State { lines: Arc::new(file), length, kept, dropped, texts, unwritten: None };
        sync_folder(&folder)?;
        Ok(Self { folder, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> PathBuf {
        self.folder.join("next.json")
    }

    fn text_file(&self, digest: &Digest) -> PathBuf {
        self.folder.join("texts").join(format!("{}.zst", digest.0))
    }

    /// Ends what a crash interrupted, where the file has this text. Gives what else belongs to it.
    pub(crate) fn recover(&self, config: &str) -> io::Result<Option<Unfinished>> {
        let text = match fs::read(self.next()) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut unfinished = None;
        if let Ok(line) = serde_json::from_slice::<Line>(&text)
            && line.config == Digest::of(config)
        {
            let records = self.read_text(&line.records)?;
            unfinished = Some(Unfinished { records });
            if self.last_revision() < Some(line.record.revision) {
                self.append(&line)?;
            }
        }
        fs::remove_file(self.next())?;
        Ok(unfinished)
    }

    /// Removes texts that no line names: of changes that were not made in the end.
    pub(crate) fn sweep(&self) {
        let mut state = self.state();
        let unused: Vec<_> = state.texts.keys().filter(|one| !state.names(one)).cloned().collect();
        for digest in unused {
            state.texts.remove(&digest);
            drop(fs::remove_file(self.text_file(&digest)));
        }
    }

    /// The number of the last revision.
    pub(crate) fn last_revision(&self) -> Option<u64> {
        self.state().kept.back().map(|kept| kept.revision)
    }

    /// What the last changes up to a revision have replaced in the text, newest first, as far as
    /// that is known without a gap. Nothing where another revision is the last.
    pub(crate) fn replaced(&self, last: u64) -> Vec<Arc<Replaced>> {
        let state = self.state();
        if state.kept.back().is_none_or(|kept| kept.revision != last) {
            return Vec::new();
        }
        state.kept.iter().rev().map_while(|kept| kept.replaced.clone()).collect()
    }

    /// Whether the last revision was this.
    pub(crate) fn is_last(&self, texts: &Texts) -> bool {
        let state = self.state();
        let last = state.kept.back();
        last.is_some_and(|last| {
            last.config == Digest::of(&texts.config) && last.records == Digest::of(&texts.records)
        })
    }

    /// The texts of a revision; `None` when it is not kept.
    pub(crate) fn texts(&self, revision: u64) -> io::Result<Option<Texts>> {
        let kept = {
            let state = self.state();
            let place = state.kept.binary_search_by_key(&revision, |kept| kept.revision).ok();
            place.and_then(|place| state.kept.get(place).cloned())
        };
        let Some(kept) = kept else { return Ok(None) };
        let config = self.read_text(&kept.config)?;
        Ok(Some(Texts { config, records: self.read_text(&kept.records)? }))
    }

    /// Up to `count` records, newest first, from before `before` where that is given.
    pub(crate) fn records(&self, before: Option<u64>, count: usize) -> io::Result<Vec<Record>> {
        let (file, places) = {
            let state = self.state();
            let older = |kept: &&Kept| before.is_none_or(|before| kept.revision < before);
            let places: Vec<_> = state.kept.iter().rev().filter(older).take(count).collect();
            let places: Vec<_> = places.into_iter().map(|kept| kept.line).collect();
            (Arc::clone(&state.lines), places)
        };
        let read = |(at, length): (u64, usize)| {
            let mut text = vec![0; length];
            file.read_exact_at(&mut text, at)?;
            Ok(serde_json::from_slice::<Line>(&text)?.record)
        };
        places.into_iter().map(read).collect()
    }

    /// Makes a change one that a crash cannot lose, before it is made: its texts can be brought
    /// back, and `next.json` says all of it.
    /// Certificate records that are none are those of the last revision.
    pub(crate) fn intend(
        &self,
        record: Record,
        config: &str,
        records: Option<&str>,
        replaced: Option<Replaced>,
    ) -> io::Result<Intended> {
        self.finish()?;
        let config = self.write_text(config)?;
        let last = || self.state().kept.back().map(|kept| kept.records.clone());
        let records = match records {
            Some(records) => self.write_text(records)?,
            None => last().ok_or_else(|| io::Error::other("there is no last revision"))?,
        };
        let line = Line { config, records, replaced, record };
        let text = serde_json::to_vec(&line)?;
        let new = Replacement::prepare(&self.next(), &text)?;
        new.commit(None, || Ok(())).map_err(|error| match error {
            NotReplaced::Io(error) => error,
            NotReplaced::Edited => io::Error::other("next.json was edited"),
        })?;
        Ok(Intended(line))
    }

    /// A change was not made after all.
    pub(crate) fn forget(&self, _: Intended) {
        // Where it stays, it names a text that the file does not have.
        drop(fs::remove_file(self.next()));
        self.sweep();
    }

    /// A change was made. Gives its record. What cannot be written now is in `next.json`, and is
    /// written before the next change.
    pub(crate) fn made(&self, intended: Intended, disturbed: usize) -> (Record, io::Result<()>) {
        let mut line = intended.0;
        line.record.disturbed = disturbed;
        let record = line.record.clone();
        self.state().unwritten = Some(line);
        (record, self.finish())
    }

    /// Writes the line that is not written yet.
    fn finish(&self) -> io::Result<()> {
        let Some(line) = self.state().unwritten.clone() else { return Ok(()) };
        self.append(&line)?;
        self.state().unwritten = None;
        drop(fs::remove_file(self.next()));
        self.bound(REVISIONS_KEPT_MAX, BYTES_KEPT_MAX)
    }

    fn append(&self, line: &Line) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        let length = text.len();
        text.push(b'\n');
        let mut state = self.state();
        let at = state.length;
        let written = (&*state.lines).write_all(&text).and_then(|()| state.lines.sync_data());
        if let Err(error) = written {
            // What stands of it would be the torn beginning of the next one.
            drop(state.lines.set_len(at));
            return Err(error);
        }
        state.length += text.len() as u64;
        let Line { config, records, replaced, record } = line.clone();
        let (revision, replaced) = (record.revision, replaced.map(Arc::new));
        state.kept.push_back(Kept { revision, config, records, replaced, line: (at, length) });
        forget_replaced(&mut state.kept);
        Ok(())
    }

    /// Forgets the oldest revisions that are too many.
    fn bound(&self, revisions_max: usize, bytes_max: u64) -> io::Result<()> {
        let mut state = self.state();
        let state = &mut *state;
        while state.kept.len() > revisions_max
            || state.kept.len() > 1 && state.bytes_kept() > bytes_max
        {
            let Some(old) = state.kept.pop_front() else { break };
            state.dropped += 1;
            for digest in [old.config, old.records] {
                if !state.names(&digest) {
                    state.texts.remove(&digest);
                    drop(fs::remove_file(self.text_file(&digest)));
                }
            }
        }
        let is_much = state.dropped > LINES_DROPPED_MAX
            || state.bytes_dropped() > LINE_BYTES_DROPPED_MAX.max(state.length / 2);
        if is_much { self.compact(state) } else { Ok(()) }
    }

    /// Writes the lines that are kept, and no others, into a new file.
    fn compact(&self, state: &mut State) -> io::Result<()> {
        let Some(first) = state.kept.front().map(|kept| kept.line.0) else { return Ok(()) };
        let length = usize::try_from(state.length - first).map_err(io::Error::other)?;
        let mut text = vec![0; length];
        state.lines.read_exact_at(&mut text, first)?;
        let path = self.folder.join("records.jsonl");
        let new = Replacement::prepare(&path, &text)?;
        if let Err(NotReplaced::Io(error)) = new.commit(None, || Ok(())) {
            return Err(error);
        }
        state.lines = Arc::new(OpenOptions::new().read(true).append(true).open(&path)?);
        state.length -= first;
        state.dropped = 0;
        for kept in &mut state.kept {
            kept.line.0 -= first;
        }
        Ok(())
    }

    fn write_text(&self, text: &str) -> io::Result<Digest> {
        let digest = Digest::of(text);
        let file = self.text_file(&digest);
        // One that somebody removed meanwhile is written again.
        if self.state().texts.contains_key(&digest) && file.exists() {
            return Ok(digest);
        }
        let packed = zstd::bulk::compress(text.as_bytes(), COMPRESSION_LEVEL)?;
        let new = Replacement::prepare(&file, &packed)?;
        new.commit(None, || Ok(())).map_err(|error| match error {
            NotReplaced::Io(error) => error,
            NotReplaced::Edited => io::Error::other("a text was edited"),
        })?;
        self.state().texts.insert(digest.clone(), packed.len() as u64);
        Ok(digest)
    }

    fn read_text(&self, digest: &Digest) -> io::Result<String> {
        let file = self.text_file(digest);
        let unread = |error: io::Error| {
            io::Error::new(error.kind(), format!("{} cannot be read: {error}", file.display()))
        };
        let mut text = String::new();
        let unpacked = File::open(&file).and_then(zstd::Decoder::new).map_err(unread)?;
        unpacked.take(TEXT_BYTES_MAX).read_to_string(&mut text).map_err(unread)?;
        if Digest::of(&text) != *digest {
            let message = format!("{} is not what was written there", file.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(text)
    }
}

impl State {
    /// Where the first line that is kept begins.
    fn bytes_dropped(&self) -> u64 {
        self.kept.front().map_or(self.length, |kept| kept.line.0)
    }

    fn bytes_kept(&self) -> u64 {
        self.texts.values().sum::<u64>() + (self.length - self.bytes_dropped())
    }

    fn names(&self, digest: &Digest) -> bool {
        self.kept.iter().any(|kept| kept.config == *digest || kept.records == *digest)
    }
}

/// Forgets what the oldest changes have replaced where that is too much.
fn forget_replaced(kept: &mut VecDeque<Kept>) {
    let mut size = 0;
    for one in kept.iter_mut().rev() {
        size += one.replaced.as_ref().map_or(0, |replaced| replaced.size());
        if size > REPLACED_BYTES_MAX {
            one.replaced = None;
        }
    }
}

/// What stands in a file of lines.
struct Lines {
    /// The last that are whole.
    kept: VecDeque<Kept>,
    /// How many stand before them.
    dropped: usize,
    /// Where the last of them ends.
    length: u64,
}

fn read_lines(file: &File) -> io::Result<Lines> {
    let (mut kept, mut dropped, mut at) = (VecDeque::new(), 0, 0);
    let mut reader = BufReader::new(file);
    let mut text = Vec::new();
    loop {
        text.clear();
        let read = reader.read_until(b'\n', &mut text)?;
        if read == 0 || text.pop() != Some(b'\n') {
            forget_replaced(&mut kept);
            return Ok(Lines { kept, dropped, length: at });
        }
        // One that cannot be read in the midst is no reason to lose the others.
        if let Ok(Line { config, records, replaced, record }) = serde_json::from_slice(&text) {
            let line = (at, text.len());
            // Numbers only grow; one that does not stands for a line that was written twice.
            if kept.back().is_none_or(|last: &Kept| last.revision < record.revision) {
                let (revision, replaced) = (record.revision, replaced.map(Arc::new));
                kept.push_back(Kept { revision, config, records, replaced, line });
            }
            if kept.len() > REVISIONS_KEPT_MAX {
                kept.pop_front();
                dropped += 1;
            }
        }
        at += read as u64;
    }
}

/// The texts of a folder. What a crash left half-written is removed.
fn sizes(folder: &Path) -> io::Result<HashMap<Digest, u64>> {
    let mut sizes = HashMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().into_string().unwrap_or_default();
        match name.strip_suffix(".zst") {
            Some(digest) => {
                sizes.insert(Digest(digest.to_owned()), entry.metadata()?.len());
            }
            None => drop(fs::remove_file(entry.path())),
        }
    }
    Ok(sizes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(revision: u64, name: &str) -> Record {
        Record {
            revision,
            at: 0,
            actor: Actor { name: name.to_owned(), door: Door::Cli },
            undo_to: None,
            difference: Difference::default(),
            disturbed: 0,
            problems: Vec::new(),
        }
    }

    /// A change by `name` to a text of its own.
    fn make(history: &History, revision: u64, name: &str) {
        let text = format!("# {revision}");
        let intended = history.intend(record(revision, name), &text, Some("[]"), None).unwrap();
        history.made(intended, 0).1.unwrap();
    }

    fn revisions(history: &History) -> Vec<u64> {
        let all = history.records(None, usize::MAX).unwrap();
        all.iter().rev().map(|record| record.revision).collect()
    }

    #[test]
    fn lines_go_too_where_every_change_is_made_by_a_process_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        make(&History::open(folder.path()).unwrap(), 1, "a");
        let file = folder.path().join("history/records.jsonl");
        let first: Line = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        let last = (REVISIONS_KEPT_MAX + LINES_DROPPED_MAX) as u64;
        let lines = (1..=last).map(|revision| {
            let record = record(revision, "a");
            serde_json::to_string(&Line { record, ..first.clone() }).unwrap() + "\n"
        });
        fs::write(&file, lines.collect::<String>()).unwrap();
        make(&History::open(folder.path()).unwrap(), last + 1, "a");
        assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), REVISIONS_KEPT_MAX);
        let kept = revisions(&History::open(folder.path()).unwrap());
        assert_eq!((kept.len(), kept.last()), (REVISIONS_KEPT_MAX, Some(&(last + 1))));
    }

    #[test]
    fn what_differs_counts_as_what_the_texts_are() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::open(folder.path()).unwrap();
        for revision in 1..=6 {
            make(&history, revision, &"a".repeat(10_000));
        }
        history.bound(REVISIONS_KEPT_MAX, 35_000).unwrap();
        assert_eq!(revisions(&history), [4, 5, 6]);
        assert!(history.texts(3).unwrap().is_none());
        assert_eq!(history.texts(4).unwrap().unwrap().config, "# 4");
        // The last one is kept, however large it is.
        history.bound(REVISIONS_KEPT_MAX, 1).unwrap();
        assert_eq!(revisions(&history), [6]);
    }

    #[test]
    fn a_text_that_somebody_removed_is_named_and_written_again_when_it_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::open(folder.path()).unwrap();
        make(&history, 1, "a");
        let file = history.text_file(&Digest::of("# 1"));
        fs::remove_file(&file).unwrap();
        let error = history.texts(1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
        let intended = history.intend(record(2, "a"), "# 1", None, None).unwrap();
        history.made(intended, 0).1.unwrap();
        assert_eq!(history.texts(2).unwrap().unwrap().config, "# 1");
    }
}
