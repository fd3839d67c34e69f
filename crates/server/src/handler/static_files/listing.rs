//! The page that lists a folder without a default document, where a site wants that.

use std::{
    cmp::Ordering,
    fmt::Write as _,
    os::fd::{AsFd, OwnedFd},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use rustix::{
    fs::{AtFlags, Dir, FileType, Stat},
    io::Errno,
};

use super::{
    find::is_hidden,
    path::{self, RequestPath},
    root::{Access, Patience, Root},
};
use crate::limits;

/// All but what a name in a URL may hold as it is (RFC 3986, 2.3).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// From then on a date has no form (RFC 9110, 5.6.7), in seconds.
const YEAR_10000: u64 = 253_402_300_800;

/// The last listing of a site.
#[derive(Debug, Default)]
pub(super) struct LastListing(Mutex<Option<Listed>>);

#[derive(Debug)]
struct Listed {
    path: Vec<u8>,
    at: Instant,
    page: Bytes,
}

impl LastListing {
    /// The page of this path, if it was made a moment ago.
    pub(super) fn find(&self, path: &RequestPath<'_>, now: Instant) -> Option<Bytes> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = last.as_ref().filter(|last| last.path == path.decoded())?;
        let age = now.saturating_duration_since(last.at);
        (age < limits::LISTING_KEPT_FOR).then(|| last.page.clone())
    }

    /// Lists a folder. Waits for the disk.
    pub(super) fn make(
        &self,
        root: &Root,
        path: &RequestPath<'_>,
        hidden: &[String],
        now: Instant,
    ) -> Result<Bytes, Errno> {
        let page = Bytes::from(page(path.decoded(), read(root, path.relative(), hidden)?));
        let listed = Listed { path: path.decoded().to_vec(), at: now, page: page.clone() };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(listed);
        Ok(page)
    }
}

/// What can be asked for in a folder.
struct Listing {
    entries: Vec<Entry>,
    /// Whether there is more than is listed.
    cut: bool,
}

struct Entry {
    name: Vec<u8>,
    folder: bool,
    bytes: u64,
    modified: Option<SystemTime>,
}

fn read(root: &Root, relative: &[u8], hidden: &[String]) -> Result<Listing, Errno> {
    let folder: OwnedFd = root.open(relative, Access::ReadFolder, Patience::Wait)?.into();
    let mut listing = Listing { entries: Vec::new(), cut: false };
    for entry in Dir::read_from(&folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        // Hidden, or with a byte that no path of a request may hold.
        if path::is_hidden(name) || name.contains(&b'\\') || is_hidden(name, hidden) {
            continue;
        }
        if listing.entries.len() == limits::LISTING_ENTRIES_MAX {
            listing.cut = true;
            break;
        }
        listing.entries.extend(look(root, &folder, relative, name));
    }
    listing.entries.sort_unstable_by(Entry::order);
    Ok(listing)
}

/// A file or folder that would be sent; a link is what it leads to.
fn look(root: &Root, folder: &OwnedFd, relative: &[u8], name: &[u8]) -> Option<Entry> {
    let mut stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    if kind(&stat) == FileType::Symlink {
        let path =
            if relative.is_empty() { name.to_vec() } else { [relative, b"/", name].concat() };
        let target = root.open(&path, Access::Look, Patience::Wait).ok()?;
        stat = rustix::fs::fstat(target.as_fd()).ok()?;
    }
    let folder = match kind(&stat) {
        FileType::Directory => true,
        FileType::RegularFile => false,
        _ => return None,
    };
    let modified = u64::try_from(stat.st_mtime).ok().filter(|since| *since < YEAR_10000);
    Some(Entry {
        name: name.to_vec(),
        folder,
        bytes: u64::try_from(stat.st_size).unwrap_or_default(),
        modified: modified.and_then(|since| UNIX_EPOCH.checked_add(Duration::from_secs(since))),
    })
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

impl Entry {
    /// Folders first, then by name without regard to case.
    fn order(&self, other: &Self) -> Ordering {
        let lower = |name: &[u8]| name.to_ascii_lowercase();
        other
            .folder
            .cmp(&self.folder)
            .then_with(|| lower(&self.name).cmp(&lower(&other.name)))
            .then_with(|| self.name.cmp(&other.name))
    }

    fn write(&self, page: &mut String) {
        let slash = if self.folder { "/" } else { "" };
        let link = percent_encode(&self.name, ENCODED);
        write!(page, "<tr><td><a href=\"{link}{slash}\">").ok();
        escape(&String::from_utf8_lossy(&self.name), page);
        write!(page, "{slash}</a><td>").ok();
        if !self.folder {
            write!(page, "<span title=\"{} bytes\">{}</span>", self.bytes, size(self.bytes)).ok();
        }
        page.push_str("<td>");
        page.push_str(&self.modified.map(date).unwrap_or_default());
        page.push('\n');
    }
}

const HEAD: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width\">
<meta name=\"robots\" content=\"noindex\">
<style>
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:60em;margin:5vh auto;padding:0 1em;color:#222;\
background:#fff}
h1{font-size:1.4em;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.3em .6em;border-bottom:1px solid #8884;vertical-align:top}
td:first-child{overflow-wrap:anywhere}
th:nth-child(n+2),td:nth-child(n+2){text-align:right;white-space:nowrap;\
font-variant-numeric:tabular-nums}
tbody tr:hover{background:#8881}
a{color:#0b57d0}
@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}a{color:#8ab4f8}}
@media(max-width:30em){th:nth-child(3),td:nth-child(3){display:none}}
</style>
";

fn page(path: &[u8], listing: Listing) -> String {
    let Listing { entries, mut cut } = listing;
    let mut title = String::new();
    escape(&String::from_utf8_lossy(path), &mut title);
    let mut page = String::from(HEAD);
    write!(page, "<title>{title}</title>\n<h1>{title}</h1>\n").ok();
    page.push_str(
        "<table>\n<thead><tr><th scope=\"col\">Name<th scope=\"col\">Size\
         <th scope=\"col\">Modified (UTC)\n<tbody>\n",
    );
    if path != b"/" {
        page.push_str("<tr><td><a href=\"../\">Parent folder</a><td><td>\n");
    }
    let mut shown = 0;
    for entry in &entries {
        if page.len() > limits::LISTING_BYTES_MAX {
            cut = true;
            break;
        }
        entry.write(&mut page);
        shown += 1;
    }
    page.push_str("</table>\n");
    if cut {
        writeln!(page, "<p>There is more here than these {shown} entries.").ok();
    } else if entries.is_empty() {
        page.push_str("<p>This folder is empty.\n");
    }
    page.push_str("</html>\n");
    page
}

fn escape(text: &str, page: &mut String) {
    for character in text.chars() {
        match character {
            '&' => page.push_str("&amp;"),
            '<' => page.push_str("&lt;"),
            '>' => page.push_str("&gt;"),
            '"' => page.push_str("&quot;"),
            '\'' => page.push_str("&#39;"),
            // Invisible, or able to turn the text around it.
            c if c.is_control()
                || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
            {
                page.push('\u{fffd}');
            }
            other => page.push(other),
        }
    }
}

/// As people read it: three digits or four.
fn size(bytes: u64) -> String {
    let mut unit = 1_u64;
    let mut name = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] {
        if bytes / unit < 1024 {
            break;
        }
        (unit, name) = (unit * 1024, larger);
    }
    let whole = bytes / unit;
    if unit == 1 || whole >= 100 {
        return format!("{whole} {name}");
    }
    // No overflow: the remainder is below the unit, which is 2^60 at most.
    format!("{whole}.{} {name}", bytes % unit * 10 / unit)
}

/// Day and minute, of the form that has the names of months in it.
fn date(time: SystemTime) -> String {
    // "Sun, 06 Nov 1994 08:49:37 GMT"
    let text = httpdate::fmt_http_date(time);
    text.get(5..22).unwrap_or_default().to_owned()
}
