//! Files that are no longer written: compressed, and in the end removed. Looks at nothing but
//! files that are named as ours are.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use bindery_model::log::AccessLog;
use flate2::{Compression, write::GzEncoder};
use tracing::warn;

use super::{
    date,
    files::{ERRORS_FOLDER, LogName, Part},
};

/// A file counts as finished so long after its time is over: lines that waited may still come.
pub(super) const FINISHED_AFTER: Duration = Duration::from_secs(60);

const DAY: Duration = Duration::from_secs(24 * 3600);

/// What the name of a file that is being made ends with.
const UNDER_WAY: &str = ".part";

/// Looks at all folders of a log. Blocks, long where there is much to compress.
pub(super) fn everything(log: &AccessLog, now: SystemTime) {
    folder(log, &log.folder, now);
    let Ok(entries) = fs::read_dir(&log.folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let site = name.to_str().and_then(|name| name.strip_prefix("W3SVC"));
        // `W3SVC7`, and `W3SVC7.1`, which a site has left.
        let numbers = |id: &str| id.splitn(2, '.').all(|number| number.parse::<u32>().is_ok());
        let ours = site.is_some_and(numbers) || name == ERRORS_FOLDER;
        if ours && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            folder(log, &entry.path(), now);
        }
    }
}

/// Looks at one folder.
pub(super) fn folder(log: &AccessLog, folder: &Path, now: SystemTime) {
    let files = match files_of(folder) {
        Ok(files) => files,
        // Made when first needed.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => {
            return warn!(folder = %folder.display(), %error, "a folder of logs cannot be listed");
        }
    };
    for (path, name) in &files {
        let done = if is_old(log, (path, name), &files, now) {
            fs::remove_file(path)
        } else if log.compress && !name.compressed && is_finished(name, &files, now) {
            compress(path)
        } else {
            Ok(())
        };
        if let Err(error) = done {
            warn!(path = %path.display(), %error, "a log file cannot be put away");
        }
    }
}

/// The files of ours in a folder. What a compression that was cut off has left is removed.
fn files_of(folder: &Path) -> io::Result<Vec<(PathBuf, LogName)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let whole = name.strip_suffix(UNDER_WAY);
        let Some(parsed) = LogName::parse(whole.unwrap_or(name)) else { continue };
        if !entry.file_type()?.is_file() {
            continue;
        }
        match whole {
            Some(_) => fs::remove_file(entry.path())?,
            None => files.push((entry.path(), parsed)),
        }
    }
    Ok(files)
}

/// Whether nothing is written to a file any more.
fn is_finished(name: &LogName, files: &[(PathBuf, LogName)], now: SystemTime) -> bool {
    match &name.part {
        Part::Dated(digits) => {
            let hour = date::hour_of(now.checked_sub(FINISHED_AFTER).unwrap_or(now));
            // Digits of one length are in the order of time.
            match digits.len() {
                6 => *digits < date::day_digits(hour),
                _ => *digits < date::hour_digits(hour),
            }
        }
        Part::Numbered(number) => files.iter().any(|(_, other)| {
            let later = matches!(other.part, Part::Numbered(other) if other > *number);
            other.prefix == name.prefix && later
        }),
    }
}

/// Whether a file is to be kept no longer.
fn is_old(
    log: &AccessLog,
    (path, name): (&Path, &LogName),
    files: &[(PathBuf, LogName)],
    now: SystemTime,
) -> bool {
    let Some(days) = log.keep_days else { return false };
    let Some(since) = now.checked_sub(DAY * days) else { return false };
    match &name.part {
        Part::Dated(digits) => {
            digits.get(..6).is_some_and(|day| *day < *date::day_digits(date::hour_of(since)))
        }
        Part::Numbered(_) => {
            let changed = fs::metadata(path).and_then(|metadata| metadata.modified());
            is_finished(name, files, now) && changed.is_ok_and(|changed| changed < since)
        }
    }
}

/// Puts a compressed file in the place of a file. Nothing is lost wherever it is cut off.
fn compress(path: &Path) -> io::Result<()> {
    let whole = path.with_extension("log.gz");
    let under_way = path.with_extension(format!("log.gz{UNDER_WAY}"));
    let made = write_compressed(path, &whole, &under_way);
    if made.is_err() {
        fs::remove_file(&under_way).ok();
        return made;
    }
    fs::rename(&under_way, &whole)?;
    fs::remove_file(path)
}

fn write_compressed(path: &Path, whole: &Path, under_way: &Path) -> io::Result<()> {
    let source = File::open(path)?;
    let mut target =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(under_way)?;
    // A line that came after the first compression has made the file anew. Members of gzip may
    // stand behind each other (RFC 1952, 2.2).
    match File::open(whole) {
        Ok(mut before) => drop(io::copy(&mut before, &mut target)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut encoder = GzEncoder::new(target, Compression::default());
    let changed = source.metadata()?.modified()?;
    io::copy(&mut BufReader::new(source), &mut encoder)?;
    let target = encoder.finish()?;
    target.set_modified(changed)?;
    target.sync_all()
}
