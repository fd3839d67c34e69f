//! Reads `access_log` of `[server]`: a folder, or a table.

use super::{
    PathKind,
    read::{Reader, Section},
};
use crate::log::{AccessLog, LogFormat, Roll};

/// Smaller files would be rolled with every batch of lines.
const ROLL_BYTES_MIN: i64 = 1024 * 1024;
/// A tebibyte.
const ROLL_BYTES_MAX: i64 = 1024 * 1024 * 1024 * 1024;
/// A century.
const KEEP_DAYS_MAX: u32 = 36_500;

/// Reads where and how requests are logged.
pub(super) fn read<'d>(reader: &mut Reader<'d>, server: &Section<'d>) -> Option<AccessLog> {
    let entry = server.entry("access_log")?;
    if entry.is_text() {
        let (folder, span) = reader.path(server, "access_log")?;
        reader.name_path(server, PathKind::LogFolder, &folder, &span);
        return Some(AccessLog::of(folder));
    }
    if !entry.is_table() {
        reader.wrong_type(server, &entry, "a folder or a table");
        return None;
    }
    let table = reader.section(server, &entry, || "access_log".to_owned())?;
    reader.known(&table, &["folder", "format", "shared", "roll", "compress", "keep_days"]);
    let formats =
        [("w3c", LogFormat::W3c), ("json", LogFormat::Json), ("combined", LogFormat::Combined)];
    let format = reader.choice(&table, "format", &formats).unwrap_or_default();
    let shared = reader.boolean(&table, "shared").unwrap_or(false);
    let roll = read_roll(reader, &table);
    let compress = reader.boolean(&table, "compress").unwrap_or(true);
    let keep_days = reader.count(&table, "keep_days", 1..=KEEP_DAYS_MAX);
    let folder = reader.required_text(&table, "folder", "/var/log/bindery")?;
    let (folder, span) = reader.path_of(&table, "folder", folder)?;
    reader.name_path(server, PathKind::LogFolder, &folder, &span);
    Some(AccessLog { folder, format, shared, roll, compress, keep_days })
}

fn read_roll<'d>(reader: &mut Reader<'d>, table: &Section<'d>) -> Roll {
    let Some(entry) = table.entry("roll") else { return Roll::default() };
    if entry.integer().is_some() {
        let bytes = reader.integer(table, "roll", ROLL_BYTES_MIN..=ROLL_BYTES_MAX);
        return bytes.map_or_else(Roll::default, |(bytes, _)| Roll::Size(bytes.unsigned_abs()));
    }
    if entry.is_text() {
        let words = [("daily", Roll::Daily), ("hourly", Roll::Hourly)];
        return reader.choice(table, "roll", &words).unwrap_or_default();
    }
    reader.wrong_type(table, &entry, "\"daily\", \"hourly\" or a number of bytes");
    Roll::default()
}
