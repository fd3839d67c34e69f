//! What is known of a file without its content: the stamp by which a change is noticed, and the
//! fields of an answer that depend on nothing else (RFC 9110, 8).
//!
//! The entity tag is made of modification time in nanoseconds, size and inode. It is strong, which
//! promises that other bytes have another tag (RFC 9110, 8.8.1), except while the stamps are younger
//! than [`limits::FILE_SETTLED_AFTER`]: within one tick of the file system's clock a file can change
//! twice under one stamp. Such a file is *unsettled*; its tag is weak, so that no range of it is
//! ever joined with bytes of another version, and the same opaque tag becomes strong later.
//! Writes through a shared memory mapping reach the stamps late; that is the kernel's limit.

use std::{
    fs::Metadata,
    os::unix::fs::MetadataExt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::HeaderValue;

use crate::{http::accept::Coding, limits};

/// Two equal stamps of a settled file mean equal bytes. The change time is the kernel's own: it
/// also notices a modification time that was set back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    pub(super) fn device(&self) -> u64 {
        self.device
    }

    /// In bytes.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Whether a file of the same length had other bytes at the time of `then`. One that grew may
    /// have been appended to, as logs are, and one whose name or mode changed has the same bytes.
    pub(super) fn is_rewritten(&self, then: &Self) -> bool {
        self.length == then.length && self.modified != then.modified
    }

    /// Was the last change long enough before `read_at`, so that a later one has another stamp?
    fn is_settled(&self, read_at: SystemTime) -> bool {
        let Some(changed) = time(self.modified.max(self.changed)) else {
            return false;
        };
        read_at.duration_since(changed).is_ok_and(|age| age >= limits::FILE_SETTLED_AFTER)
    }
}

/// Seconds and nanoseconds of a time stamp as a time, unless it lies outside what can be counted.
fn time((seconds, nanoseconds): (i64, i64)) -> Option<SystemTime> {
    let nanoseconds = Duration::from_nanos(u64::try_from(nanoseconds).ok()?);
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let second =
        if seconds < 0 { UNIX_EPOCH.checked_sub(whole)? } else { UNIX_EPOCH.checked_add(whole)? };
    second.checked_add(nanoseconds)
}

/// A file without its content.
#[derive(Clone, Debug)]
pub(super) struct Representation {
    pub(super) stamp: Stamp,
    /// Whether the stamp would have noticed a change; decides if the validators are strong.
    pub(super) settled: bool,
    /// What `Last-Modified` says, in whole seconds; none for times before 1970.
    pub(super) modified: Option<SystemTime>,
    pub(super) etag: HeaderValue,
    pub(super) last_modified: Option<HeaderValue>,
    pub(super) content_type: HeaderValue,
    pub(super) cache_control: Option<HeaderValue>,
    /// Boxed, for hardly anybody has it.
    pub(super) expires: Option<Box<HeaderValue>>,
    /// How its bytes are encoded.
    pub(super) coding: Option<Coding>,
    /// Whether there are others, with another coding (RFC 9110, 12.5.5).
    pub(super) varies: bool,
}

/// What is said of a file whatever its bytes are.
#[derive(Clone, Debug)]
pub(super) struct Description {
    pub(super) content_type: HeaderValue,
    pub(super) cache_control: Option<HeaderValue>,
    pub(super) expires: Option<Box<HeaderValue>>,
}

impl Representation {
    /// `read_at` is a time not after the content was read.
    pub(super) fn new(stamp: Stamp, described: &Description, read_at: SystemTime) -> Self {
        let settled = stamp.is_settled(read_at);
        // A time in the future may not be sent (RFC 9110, 8.8.2.1).
        let modified = time(stamp.modified)
            .map(|modified| modified.min(read_at))
            .and_then(|modified| modified.duration_since(UNIX_EPOCH).ok())
            .map(|since| UNIX_EPOCH + Duration::from_secs(since.as_secs()));
        let last_modified = modified
            .and_then(|modified| HeaderValue::try_from(httpdate::fmt_http_date(modified)).ok());
        Self {
            stamp,
            settled,
            modified,
            etag: etag(&stamp, settled, None),
            last_modified,
            content_type: described.content_type.clone(),
            cache_control: described.cache_control.clone(),
            expires: described.expires.clone(),
            coding: None,
            varies: false,
        }
    }

    /// The same for a file whose bytes are encoded.
    pub(super) fn encoded(mut self, coding: Coding) -> Self {
        // Two names may be one file; its tags still differ, because the coding does.
        self.etag = etag(&self.stamp, self.settled, Some(coding));
        self.coding = Some(coding);
        self
    }
}

fn etag(stamp: &Stamp, strong: bool, coding: Option<Coding>) -> HeaderValue {
    let weakness = if strong { "" } else { "W/" };
    let (seconds, nanoseconds) = stamp.modified;
    let modified = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
    let (length, inode) = (stamp.length, stamp.inode);
    let (dash, coding) = coding.map_or(("", ""), |coding| ("-", coding.name()));
    let text = format!("{weakness}\"{modified:x}-{length:x}-{inode:x}{dash}{coding}\"");
    // Only letters, digits, quotes and dashes: the other case does not occur, and matches nothing if it did.
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("W/\"\""))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A file of ten bytes that was last changed at this time, read at the other.
    pub(in super::super) fn file(modified: i64, changed: i64, read_at: u64) -> Representation {
        let stamp = Stamp {
            device: 1,
            inode: 0xabc,
            length: 10,
            modified: (modified, 5),
            changed: (changed, 5),
        };
        let content_type = HeaderValue::from_static("text/plain; charset=utf-8");
        let described = Description { content_type, cache_control: None, expires: None };
        Representation::new(stamp, &described, UNIX_EPOCH + Duration::from_secs(read_at))
    }

    #[test]
    fn a_tag_is_strong_once_time_stamps_can_tell_versions_apart() {
        assert_eq!(file(100, 100, 200).etag, "\"174876e805-a-abc\"");
        assert_eq!(file(100, 100, 103).etag, "\"174876e805-a-abc\"");
        assert_eq!(file(100, 100, 102).etag, "W/\"174876e805-a-abc\"");
        assert_eq!(file(100, 199, 200).etag, "W/\"174876e805-a-abc\"", "changed, and set back");
        assert_eq!(file(300, 100, 200).etag, "W/\"45d964b805-a-abc\"", "in the future");
    }

    #[test]
    fn each_coding_has_a_tag_of_its_own() {
        let tag = |coding| file(100, 100, 200).encoded(coding).etag;
        assert_eq!(tag(Coding::Brotli), "\"174876e805-a-abc-br\"");
        assert_eq!(tag(Coding::Gzip), "\"174876e805-a-abc-gzip\"");
        assert_eq!(file(100, 100, 102).encoded(Coding::Zstd).etag, "W/\"174876e805-a-abc-zstd\"");
    }

    #[test]
    fn what_was_appended_does_not_rewrite_a_file() {
        let stamp = |length, modified, changed| Stamp {
            length,
            modified: (modified, 0),
            changed: (changed, 0),
            ..file(1, 1, 9).stamp
        };
        let then = stamp(10, 1, 1);
        for (now, rewritten) in [
            (stamp(10, 1, 1), false),
            (stamp(10, 1, 2), false),
            (stamp(11, 2, 2), false),
            (stamp(10, 2, 2), true),
            (stamp(10, 0, 2), true),
        ] {
            assert_eq!(now.is_rewritten(&then), rewritten, "{now:?}");
        }
    }

    #[test]
    fn last_modified_is_never_in_the_future_nor_before_1970() {
        let text = |file: Representation| {
            file.last_modified.map(|value| value.to_str().unwrap().to_owned())
        };
        let minute = |minute| Some(format!("Thu, 01 Jan 1970 00:0{minute}:00 GMT"));
        assert_eq!(text(file(60, 60, 120)), minute(1));
        assert_eq!(text(file(600, 60, 120)), minute(2));
        assert_eq!(text(file(-60, 60, 120)), None);
        assert_eq!(text(file(i64::MIN, 60, 120)), None);
        assert_eq!(text(file(i64::MAX, 60, 120)), minute(2));
    }
}
