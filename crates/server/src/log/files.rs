//! The files of the logs: how they are named, when a new one begins, and which are open.

use std::{
    collections::HashMap,
    fs::{self, DirBuilder, File, Metadata, OpenOptions},
    io::{self, IoSlice, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use bindery_model::log::{LogFormat, Roll};
use rustix::fs::OFlags;
use tracing::warn;

use super::{access::OfSite, date, line};
use crate::limits::LOG_FILES_OPEN_MAX;

/// Where lines of one kind go: a folder, and what the files in it are called.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Target {
    pub(super) folder: PathBuf,
    /// What names begin with.
    prefix: &'static str,
    roll: Roll,
    /// The fields of a W3C file; other formats have no head.
    fields: Option<&'static str>,
}

/// What says in the folder of a site whose it is.
pub(super) const OWNER_FILE: &str = "site.txt";

/// The folder of the errors log, as HTTP.SYS names it, and the size of its files.
pub(super) const ERRORS_FOLDER: &str = "HTTPERR";
pub(super) const ERRORS_PREFIX: &str = "httperr";
const ERRORS_ROLL: Roll = Roll::Size(1024 * 1024);

impl Target {
    /// The access log in a folder. `u_ex` are W3C files with IIS, `u_nc` those of NCSA.
    pub(super) fn access(folder: PathBuf, format: LogFormat, shared: bool, roll: Roll) -> Self {
        let (prefix, fields) = match format {
            LogFormat::W3c if shared => ("u_ex", Some(line::W3C_FIELDS_SHARED)),
            LogFormat::W3c => ("u_ex", Some(line::W3C_FIELDS)),
            LogFormat::Json => ("u_js", None),
            LogFormat::Combined => ("u_nc", None),
        };
        Self { folder, prefix, roll, fields }
    }

    /// The errors log below the folder of the access log.
    pub(super) fn errors(folder: &Path, fields: &'static str) -> Self {
        let folder = folder.join(ERRORS_FOLDER);
        Self { folder, prefix: ERRORS_PREFIX, roll: ERRORS_ROLL, fields: Some(fields) }
    }

    /// What hour a file is for, and how it is called. `number` is for those that roll by size.
    fn name(&self, hour: u32, number: u32) -> String {
        let prefix = self.prefix;
        match self.roll {
            Roll::Daily => format!("{prefix}{}.log", date::day_digits(hour)),
            Roll::Hourly => format!("{prefix}{}.log", date::hour_digits(hour)),
            Roll::Size(_) if prefix == ERRORS_PREFIX => format!("{prefix}{number}.log"),
            Roll::Size(_) => format!("{prefix}tend{number}.log"),
        }
    }

    /// Hours that share a file have the same number.
    fn period(&self, hour: u32) -> u32 {
        match self.roll {
            Roll::Daily => hour / 24,
            Roll::Hourly => hour,
            Roll::Size(_) => 0,
        }
    }
}

/// What the name of a file of ours says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LogName {
    /// What its name begins with.
    pub(super) prefix: &'static str,
    pub(super) part: Part,
    pub(super) compressed: bool,
}

/// Which of the files with its prefix a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// That of a day (6 digits) or an hour (8).
    Dated(String),
    /// That of a number.
    Numbered(u32),
}

impl LogName {
    /// `None` for whatever is not named by us.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (name, compressed) = match name.strip_suffix(".log.gz") {
            Some(name) => (name, true),
            None => (name.strip_suffix(".log")?, false),
        };
        let prefixes = ["u_ex", "u_js", "u_nc", ERRORS_PREFIX];
        let prefix = prefixes.into_iter().find(|prefix| name.starts_with(prefix))?;
        let rest = name.strip_prefix(prefix)?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let number = if prefix == ERRORS_PREFIX { Some(rest) } else { rest.strip_prefix("tend") };
        let part = match number {
            Some(number) if digits(number) => Part::Numbered(number.parse().ok()?),
            None if digits(rest) && matches!(rest.len(), 6 | 8) => Part::Dated(rest.to_owned()),
            _ => return None,
        };
        Some(Self { prefix, part, compressed })
    }
}

/// The files that are open, and what is to be said in those that are not.
#[derive(Default)]
pub(super) struct Files {
    open: HashMap<Target, OpenFile>,
    /// Targets whose head this process has written, with whose they are: a file that is opened
    /// again needs none.
    known: HashMap<Target, Option<OfSite>>,
    tick: u64,
    /// Folders in which a file that rolls by size was finished.
    pub(super) finished: Vec<PathBuf>,
}

/// Lines for a target, with the site that they are of, where the folder is one site's.
struct Owned<'a> {
    target: &'a Target,
    owner: Option<&'a OfSite>,
}

struct OpenFile {
    file: File,
    path: PathBuf,
    /// Device and inode.
    id: (u64, u64),
    bytes: u64,
    period: u32,
    number: u32,
    used: u64,
}

/// What became of lines.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) lost: u64,
    pub(super) error: Option<(PathBuf, io::Error)>,
}

impl Files {
    /// Writes whole lines. Those that cannot be written are lost; the file keeps no half of one.
    pub(super) fn append(
        &mut self,
        (target, owner): (&Target, Option<&OfSite>),
        hour: u32,
        texts: &[&[u8]],
        now: SystemTime,
    ) -> Written {
        let target = &Owned { target, owner };
        let mut written = Written::default();
        match target.target.roll {
            Roll::Daily | Roll::Hourly => self.append_to(target, (hour, now), texts, &mut written),
            Roll::Size(bytes_max) => {
                for text in texts {
                    let mut rest = *text;
                    while !rest.is_empty() {
                        let used = self.open.get(target.target).map_or(0, |open| open.bytes);
                        let room = usize::try_from(bytes_max.saturating_sub(used)).unwrap_or(0);
                        let (now_written, later) = rest.split_at(lines_within(rest, room));
                        self.append_to(target, (hour, now), &[now_written], &mut written);
                        rest = later;
                        if written.error.is_some() {
                            // What is full or not there is so for the next line too.
                            written.lost += lines(rest);
                            rest = &[];
                        }
                    }
                }
            }
        }
        written
    }

    fn append_to(
        &mut self,
        target: &Owned<'_>,
        (hour, now): (u32, SystemTime),
        texts: &[&[u8]],
        written: &mut Written,
    ) {
        let lost = match self.file(target, hour, now) {
            Ok(open) => open.append(texts).map_or_else(
                |(lost, error)| (lost, Some((open.path.clone(), error))),
                |()| (0, None),
            ),
            // Counted only where they are lost: it takes as long as writing them.
            Err(error) => (
                texts.iter().map(|text| lines(text)).sum(),
                Some((target.target.folder.clone(), error)),
            ),
        };
        written.lost += lost.0;
        written.error = lost.1.or_else(|| written.error.take());
    }

    /// The file for an hour, open, with its head, and still where its name says.
    fn file(&mut self, owned: &Owned<'_>, hour: u32, now: SystemTime) -> io::Result<&mut OpenFile> {
        let Owned { target, owner } = owned;
        self.tick += 1;
        let tick = self.tick;
        let period = target.period(hour);
        let known = self.known.get(*target);
        let is_owner = known.is_some_and(|known| {
            known.as_ref().map(|known| &known.name) == owner.map(|owner| &owner.name)
        });
        if !is_owner {
            let known = known.and_then(Option::as_ref);
            if known.is_some_and(|known| owner.is_none_or(|owner| known.revision > owner.revision))
            {
                return Err(io::Error::other("another site has its number by now"));
            }
            if let Some(owner) = owner {
                claim(&target.folder, &owner.name)?;
            }
            self.open.remove(*target);
        }
        let stays = is_owner
            && self.open.get_mut(*target).is_some_and(|open| {
                let in_place = open.is_in_place();
                let full = matches!(target.roll, Roll::Size(bytes_max) if open.bytes >= bytes_max);
                // A line of the hour before that comes late goes with those of this one.
                period <= open.period && !full && in_place
            });
        if !stays {
            let before = self.open.remove(*target).map(|open| open.number);
            self.make_room();
            let open = OpenFile::open(target, hour, before)?;
            if before.is_some_and(|number| number < open.number) {
                self.finished.push(target.folder.clone());
            }
            self.open.insert((*target).clone(), open);
        }
        let open = self.open.get_mut(*target).ok_or(io::ErrorKind::NotFound)?;
        open.used = tick;
        // After a start too, as IIS does; not where the file was only closed to open others.
        if open.bytes == 0 || !is_owner {
            if let Err(error) = open.write_head(target, now) {
                self.open.remove(*target);
                return Err(error);
            }
            self.known.insert((*target).clone(), owner.cloned());
        }
        self.open.get_mut(*target).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Closes half of the files when there are too many: those that were not used the longest.
    fn make_room(&mut self) {
        if self.open.len() < LOG_FILES_OPEN_MAX {
            return;
        }
        let mut used: Vec<u64> = self.open.values().map(|open| open.used).collect();
        let (_, median, _) = used.select_nth_unstable(LOG_FILES_OPEN_MAX / 2);
        let median = *median;
        self.open.retain(|_, open| open.used >= median);
    }

    /// Forgets what belongs to targets that are not written any more.
    pub(super) fn forget(&mut self) {
        self.open.clear();
        self.known.clear();
    }
}

impl OpenFile {
    /// `before` is the number of the file that is full, or was taken away.
    fn open(target: &Target, hour: u32, before: Option<u32>) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o750).create(&target.folder)?;
        let mut number = match target.roll {
            Roll::Size(_) => last_number(target)?.max(before.unwrap_or(1)),
            Roll::Daily | Roll::Hourly => 0,
        };
        loop {
            let path = target.folder.join(target.name(hour, number));
            // A link or a pipe in its place is an error and no way to somewhere else.
            let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
            let file = OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o640)
                .custom_flags(flags.bits().cast_signed())
                .open(&path)?;
            let metadata = file.metadata()?;
            if !metadata.is_file() {
                return Err(io::Error::other("it is no ordinary file"));
            }
            let (bytes, id) = (metadata.len(), id_of(&metadata));
            match target.roll {
                Roll::Size(bytes_max) if bytes >= bytes_max => number += 1,
                _ => {
                    let period = target.period(hour);
                    return Ok(Self { file, path, id, bytes, period, number, used: 0 });
                }
            }
        }
    }

    fn write_head(&mut self, target: &Target, now: SystemTime) -> io::Result<()> {
        let Some(fields) = target.fields else { return Ok(()) };
        let version = env!("CARGO_PKG_VERSION");
        let date = date::text(now);
        let head = format!(
            "#Software: Bindery {version}\n#Version: 1.0\n#Date: {date}\n#Fields: {fields}\n"
        );
        self.append(&[head.as_bytes()]).map_err(|(_, error)| error)
    }

    /// Whether its name still leads to it: nobody has moved or removed it. Where somebody has cut it
    /// short, as logrotate's `copytruncate` does, its length is known again.
    fn is_in_place(&mut self) -> bool {
        let metadata = fs::symlink_metadata(&self.path);
        let here = metadata.ok().filter(|metadata| id_of(metadata) == self.id);
        if let Some(metadata) = &here {
            self.bytes = metadata.len();
        }
        here.is_some()
    }

    /// Writes all lines, or answers how many it could not.
    fn append(&mut self, texts: &[&[u8]]) -> Result<(), (u64, io::Error)> {
        let mut slices: Vec<_> = texts.iter().map(|text| IoSlice::new(text)).collect();
        let mut left = &mut slices[..];
        let mut done = 0;
        let error = loop {
            if left.iter().all(|slice| slice.is_empty()) {
                self.bytes += done as u64;
                return Ok(());
            }
            match self.file.write_vectored(left) {
                Ok(0) => break io::ErrorKind::WriteZero.into(),
                Ok(bytes) => {
                    done += bytes;
                    IoSlice::advance_slices(&mut left, bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break error,
            }
        };
        // What is there of the line that was begun is taken back.
        let text = texts.concat();
        let (there, missing) = text.split_at(done.min(text.len()));
        let whole = there.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let torn = u64::from(whole < there.len());
        self.bytes += whole as u64;
        if torn > 0 && self.file.set_len(self.bytes).is_err() {
            self.bytes += (there.len() - whole) as u64;
        }
        // The newline of a torn line is among those that are missing.
        Err((lines(missing), error))
    }
}

/// Says in a site's folder whose it is. One that another site has left, whose number this one has
/// now, is put aside with all that is in it: nobody gets the logs of another.
fn claim(folder: &Path, name: &str) -> io::Result<()> {
    let path = folder.join(OWNER_FILE);
    match fs::read(&path) {
        Ok(owner) if owner.strip_suffix(b"\n").unwrap_or(&owner) == name.as_bytes() => {
            return Ok(());
        }
        // Cut off when it was written.
        Ok(owner) if owner.is_empty() => {}
        Ok(_) => {
            let aside = (1_u32..).map(|number| aside(folder, number));
            let free = |path: &PathBuf| fs::symlink_metadata(path).is_err();
            let aside = aside.into_iter().find(free).ok_or(io::ErrorKind::AlreadyExists)?;
            fs::rename(folder, &aside)?;
            warn!(
                folder = %folder.display(), aside = %aside.display(), site = name,
                "a log folder of another site was put aside"
            );
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    DirBuilder::new().recursive(true).mode(0o750).create(folder)?;
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(&path)?;
    file.write_all(format!("{name}\n").as_bytes()).inspect_err(|_| drop(fs::remove_file(&path)))
}

/// `W3SVC7.1` beside `W3SVC7`.
fn aside(folder: &Path, number: u32) -> PathBuf {
    let mut aside = folder.as_os_str().to_owned();
    aside.push(format!(".{number}"));
    aside.into()
}

fn id_of(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn lines(text: &[u8]) -> u64 {
    text.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// The end of the line in which `room` is used up.
fn lines_within(text: &[u8], room: usize) -> usize {
    let rest = text.get(room.saturating_sub(1)..).unwrap_or_default();
    let end = rest.iter().position(|byte| *byte == b'\n');
    end.map_or(text.len(), |at| room.saturating_sub(1) + at + 1)
}

/// The highest number of a file of this target; one more, where that is compressed already.
fn last_number(target: &Target) -> io::Result<u32> {
    let mut last = 1;
    for entry in fs::read_dir(&target.folder)? {
        let name = entry?.file_name();
        match name.to_str().and_then(LogName::parse) {
            Some(LogName { prefix, part: Part::Numbered(number), compressed })
                if prefix == target.prefix =>
            {
                last = last.max(number.saturating_add(compressed.into()));
            }
            _ => {}
        }
    }
    Ok(last)
}
