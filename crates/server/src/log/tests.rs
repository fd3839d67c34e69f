//! From lines that wait to files: everything but a server.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bindery_model::{
    log::{AccessLog, LogFormat, Roll},
    site::SiteId,
};
use http::Version;

use super::{
    access::{Logs, OfSite},
    date,
    errors::{ErrorsLine, Reason},
    files::{Files, LogName, Part, Target},
    sweep,
    writer::Writer,
};
use crate::{
    limits::LOG_FILES_OPEN_MAX,
    metrics::{HandlerKind, Outcome},
    snapshot::Revision,
};

/// 2026-11-23 00:00:00.
const MIDNIGHT: Duration = Duration::from_secs(1_795_392_000);
const HOUR: Duration = Duration::from_secs(3600);

fn at(after_midnight: Duration) -> SystemTime {
    UNIX_EPOCH + MIDNIGHT + after_midnight
}

fn daily(folder: &Path) -> Target {
    Target::access(folder.to_owned(), LogFormat::W3c, false, Roll::Daily)
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

/// The lines of a file that are none of its head.
fn entries(path: &Path) -> Vec<String> {
    lines(path).into_iter().filter(|line| !line.starts_with('#')).collect()
}

#[track_caller]
fn append(files: &mut Files, target: &Target, time: SystemTime, text: &str) {
    let written = files.append((target, None), date::hour_of(time), &[text.as_bytes()], time);
    assert!(written.error.is_none(), "{:?}", written.error);
    assert_eq!(written.lost, 0);
}

#[test]
fn a_new_file_begins_at_midnight_with_its_head() {
    let folder = tempfile::tempdir().unwrap();
    let (mut files, target) = (Files::default(), daily(folder.path()));
    append(&mut files, &target, at(HOUR * 23), "late\n");
    append(&mut files, &target, at(HOUR * 24), "early\n");
    append(&mut files, &target, at(HOUR * 23), "later than late\n");
    assert_eq!(names(folder.path()), ["u_ex261123.log", "u_ex261124.log"]);
    let first = lines(&folder.path().join("u_ex261123.log"));
    assert!(first[0].starts_with("#Software: Bindery "));
    assert_eq!(first[1..3], ["#Version: 1.0", "#Date: 2026-11-23 23:00:00"]);
    assert!(first[3].starts_with("#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query"));
    assert_eq!(first[4..], ["late"]);
    assert_eq!(entries(&folder.path().join("u_ex261124.log")), ["early", "later than late"]);
}

#[test]
fn a_new_file_begins_each_hour() {
    let folder = tempfile::tempdir().unwrap();
    let target = Target::access(folder.path().join("a/b"), LogFormat::Json, false, Roll::Hourly);
    let mut files = Files::default();
    append(&mut files, &target, at(HOUR), "{}\n");
    append(&mut files, &target, at(HOUR * 2), "{}\n{}\n");
    assert_eq!(names(&target.folder), ["u_js26112301.log", "u_js26112302.log"]);
    assert_eq!(lines(&target.folder.join("u_js26112302.log")).len(), 2, "JSON has no head");
}

#[test]
fn a_new_file_begins_when_one_is_full_and_no_line_is_divided() {
    let folder = tempfile::tempdir().unwrap();
    let target =
        Target::access(folder.path().to_owned(), LogFormat::Combined, false, Roll::Size(20));
    let mut files = Files::default();
    append(&mut files, &target, at(HOUR), "0123456\n0123456\n0123456\n0123456\n");
    assert_eq!(names(folder.path()), ["u_nctend1.log", "u_nctend2.log"]);
    assert_eq!(lines(&folder.path().join("u_nctend1.log")).len(), 3);
    assert_eq!(files.finished, [folder.path()]);
    // A new process goes on where the last one stopped.
    let mut files = Files::default();
    append(&mut files, &target, at(HOUR), "next\n");
    assert_eq!(lines(&folder.path().join("u_nctend2.log")), ["0123456", "next"]);
    fs::rename(folder.path().join("u_nctend2.log"), folder.path().join("u_nctend2.log.gz"))
        .unwrap();
    append(&mut files, &target, at(HOUR), "other\n");
    assert_eq!(names(folder.path())[1..], ["u_nctend2.log.gz", "u_nctend3.log"]);
}

#[test]
fn a_file_that_was_moved_or_removed_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (mut files, target) = (Files::default(), daily(folder.path()));
    let path = folder.path().join("u_ex261123.log");
    append(&mut files, &target, at(HOUR), "one\n");
    fs::rename(&path, folder.path().join("moved")).unwrap();
    append(&mut files, &target, at(HOUR), "two\n");
    fs::remove_file(&path).unwrap();
    append(&mut files, &target, at(HOUR), "three\n");
    fs::remove_dir_all(folder.path()).unwrap();
    append(&mut files, &target, at(HOUR), "four\n");
    assert_eq!(entries(&path), ["four"]);
    assert_eq!(lines(&path).len(), 5, "with its head");
}

#[test]
fn a_file_that_was_cut_short_goes_on_with_a_head_and_no_hole() {
    let folder = tempfile::tempdir().unwrap();
    let target = Target::access(folder.path().to_owned(), LogFormat::W3c, false, Roll::Size(800));
    let path = folder.path().join("u_extend1.log");
    let mut files = Files::default();
    append(&mut files, &target, at(HOUR), &format!("{}\n", "x".repeat(300)));
    fs::File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
    append(&mut files, &target, at(HOUR), "two\n");
    append(&mut files, &target, at(HOUR), &format!("{}\n", "y".repeat(300)));
    assert_eq!(names(folder.path()), ["u_extend1.log"], "there is room again");
    assert_eq!((lines(&path).len(), entries(&path)[0].as_str()), (4 + 2, "two"));
}

/// The site of this name, with the number 7 from a revision on.
fn seven(name: &str, revision: u64) -> OfSite {
    OfSite { revision: Revision(revision), site: SiteId(7), name: name.into() }
}

#[test]
fn a_site_never_finds_the_logs_of_another_that_had_its_number() {
    let folder = tempfile::tempdir().unwrap();
    let target = daily(&folder.path().join("W3SVC7"));
    let write = |files: &mut Files, owner: &OfSite, text: &str| {
        let hour = date::hour_of(at(HOUR));
        files.append((&target, Some(owner)), hour, &[text.as_bytes()], at(HOUR)).lost
    };
    let read = |place: &str| {
        let place = folder.path().join(place);
        let name = fs::read_to_string(place.join("site.txt")).unwrap();
        format!("{name}{}", entries(&place.join("u_ex261123.log")).join(" "))
    };
    let mut files = Files::default();
    assert_eq!(write(&mut files, &seven("old", 1), "one\n"), 0);
    assert_eq!(write(&mut files, &seven("new", 3), "two\n"), 0);
    // An answer that took long. Its log is no longer where it was.
    assert_eq!(write(&mut files, &seven("old", 2), "late\n"), 1);
    assert_eq!(write(&mut files, &seven("new", 4), "three\n"), 0);
    assert_eq!(read("W3SVC7.1"), "old\none");
    assert_eq!(read("W3SVC7"), "new\ntwo three");
    // The same after a start, whatever was between.
    let mut files = Files::default();
    assert_eq!(write(&mut files, &seven("new", 1), "four\n"), 0);
    assert_eq!(read("W3SVC7"), "new\ntwo three four");
    let mut files = Files::default();
    assert_eq!(write(&mut files, &seven("third", 1), "five\n"), 0);
    assert_eq!(read("W3SVC7.2"), "new\ntwo three four");
    assert_eq!(read("W3SVC7"), "third\nfive");
    assert_eq!(names(folder.path()), ["W3SVC7", "W3SVC7.1", "W3SVC7.2"]);
    // What was put aside is put away as the rest.
    sweep::everything(&log(folder.path()), at(HOUR * 24 * 5));
    assert_eq!(names(&folder.path().join("W3SVC7.1")), ["site.txt"]);
}

#[test]
fn a_start_writes_the_head_again_and_a_file_that_was_closed_for_others_gets_none() {
    let folder = tempfile::tempdir().unwrap();
    let target = daily(&folder.path().join("first"));
    let path = target.folder.join("u_ex261123.log");
    let mut files = Files::default();
    append(&mut files, &target, at(HOUR), "one\n");
    for other in 0..LOG_FILES_OPEN_MAX {
        append(&mut files, &daily(&folder.path().join(other.to_string())), at(HOUR), "x\n");
    }
    append(&mut files, &target, at(HOUR), "two\n");
    assert_eq!(lines(&path).len(), 4 + 2);
    append(&mut Files::default(), &target, at(HOUR), "three\n");
    assert_eq!(lines(&path).len(), 4 + 2 + 4 + 1);
}

#[test]
fn what_stands_in_the_place_of_a_file_loses_lines_until_it_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let (mut files, target) = (Files::default(), daily(folder.path()));
    let path = folder.path().join("u_ex261123.log");
    let lost = |files: &mut Files| {
        let written =
            files.append((&target, None), date::hour_of(at(HOUR)), &[b"a\nb\n"], at(HOUR));
        assert!(written.error.is_some());
        written.lost
    };
    fs::create_dir(&path).unwrap();
    assert_eq!(lost(&mut files), 2);
    fs::remove_dir(&path).unwrap();
    std::os::unix::fs::symlink(folder.path().join("elsewhere"), &path).unwrap();
    assert_eq!(lost(&mut files), 2);
    fs::remove_file(&path).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).ok();
    assert_eq!(lost(&mut files), 2);
    fs::remove_file(&path).unwrap();
    append(&mut files, &target, at(HOUR), "c\n");
    assert_eq!(entries(&path), ["c"]);
}

fn log(folder: &Path) -> AccessLog {
    AccessLog { keep_days: Some(2), ..AccessLog::of(folder.to_owned()) }
}

fn unpacked(path: &Path) -> String {
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(fs::File::open(path).unwrap())
        .read_to_string(&mut text)
        .unwrap();
    text
}

#[test]
fn finished_files_are_compressed_and_old_ones_removed_and_no_others_are_touched() {
    let folder = tempfile::tempdir().unwrap();
    let site = folder.path().join("W3SVC7");
    fs::create_dir(&site).unwrap();
    for name in [
        "u_ex261120.log",
        "u_ex261121.log.gz",
        "u_ex261122.log",
        "u_ex261123.log",
        "u_ex26112305.log",
        "u_ex26112306.log",
        "u_ex261122.log.gz.part",
        "notes.log",
        "u_ex261120.txt",
        "u_exabc.log",
    ] {
        fs::write(site.join(name), format!("{name}\n")).unwrap();
    }
    fs::create_dir(site.join("u_ex261119.log")).unwrap();
    sweep::everything(&log(folder.path()), at(HOUR * 6 + Duration::from_secs(61)));
    assert_eq!(
        names(&site),
        [
            "notes.log",
            "u_ex261119.log",
            "u_ex261120.txt",
            "u_ex261121.log.gz",
            "u_ex261122.log.gz",
            "u_ex261123.log",
            "u_ex26112305.log.gz",
            "u_ex26112306.log",
            "u_exabc.log",
        ]
    );
    assert_eq!(unpacked(&site.join("u_ex261122.log.gz")), "u_ex261122.log\n");
    // What came late joins what is compressed.
    fs::write(site.join("u_ex261122.log"), "late\n").unwrap();
    sweep::everything(&log(folder.path()), at(HOUR * 7));
    assert_eq!(unpacked(&site.join("u_ex261122.log.gz")), "u_ex261122.log\nlate\n");
    assert!(!site.join("u_ex261122.log").exists());
}

#[test]
fn numbered_files_are_put_away_but_for_the_last() {
    let folder = tempfile::tempdir().unwrap();
    let errors = folder.path().join("HTTPERR");
    fs::create_dir(&errors).unwrap();
    let old = at(HOUR) - HOUR * 24 * 3;
    for (name, changed) in
        [("httperr1.log", old), ("httperr2.log", at(HOUR)), ("httperr3.log", old)]
    {
        fs::write(errors.join(name), name).unwrap();
        fs::File::open(errors.join(name)).unwrap().set_modified(changed).unwrap();
    }
    sweep::everything(&log(folder.path()), at(HOUR));
    assert_eq!(names(&errors), ["httperr2.log.gz", "httperr3.log"]);
    let changed = fs::metadata(errors.join("httperr2.log.gz")).unwrap().modified().unwrap();
    assert_eq!(changed, at(HOUR), "its age is that of its lines");
}

#[test]
fn only_names_of_ours_are_read_as_names_of_ours() {
    let part = |name: &str| LogName::parse(name).map(|name| (name.part, name.compressed));
    assert_eq!(part("u_ex261123.log"), Some((Part::Dated("261123".to_owned()), false)));
    assert_eq!(part("u_nc26112301.log.gz"), Some((Part::Dated("26112301".to_owned()), true)));
    assert_eq!(part("u_extend12.log"), Some((Part::Numbered(12), false)));
    assert_eq!(part("httperr2.log.gz"), Some((Part::Numbered(2), true)));
    for name in [
        "u_ex.log",
        "u_ex2611230.log",
        "u_ex26112é.log",
        "u_extend.log",
        "u_extend99999999999.log",
        "u_ex261123.log.bak",
        "u_ex261123_x.log",
        "httperr.log",
        "access.log",
        "",
    ] {
        assert_eq!(part(name), None, "{name}");
    }
}

/// A writer without a thread.
fn writer() -> (Logs, Writer) {
    let logs = Logs::default();
    let writer = Writer::new(Arc::clone(logs.inner()));
    (logs, writer)
}

fn request(logs: &Logs, site: u32, text: &str) {
    let outcome = Outcome {
        version: Version::HTTP_11,
        status: 200,
        kind: HandlerKind::Files,
        taken: Duration::ZERO,
        sent: 0,
        received: 0,
        complete: true,
    };
    let write = |out: &mut Vec<u8>, _: &date::Date| {
        out.extend_from_slice(text.as_bytes());
        out.push(b'\n');
    };
    let of = OfSite { revision: Revision(1), site: SiteId(site), name: format!("s{site}").into() };
    let at = (logs.inner().place(), &of);
    logs.inner().write(&outcome, at, Instant::now(), (text.len(), write));
}

fn today(folder: &Path, prefix: &str) -> PathBuf {
    let hour = date::hour_of(crate::clock::now());
    folder.join(format!("{prefix}{}.log", date::day_digits(hour)))
}

#[test]
fn lines_go_to_the_folder_of_their_site_or_to_one_file_for_all() {
    for shared in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let (logs, mut writer) = writer();
        let settings = AccessLog { shared, ..AccessLog::of(folder.path().to_owned()) };
        logs.settings_for_tests(Revision(1), Some(&settings));
        for (site, text) in [(1, "a"), (2, "b"), (1, "c")] {
            request(&logs, site, text);
        }
        assert!(writer.round(crate::clock::now()));
        assert!(!writer.round(crate::clock::now()));
        let mut found = Vec::new();
        for place in ["", "W3SVC1", "W3SVC2"] {
            let path = today(&folder.path().join(place), "u_ex");
            if path.exists() {
                let entries = entries(&path);
                found.push(entries.join(""));
            }
        }
        assert_eq!(found, if shared { vec!["abc"] } else { vec!["ac", "b"] });
        assert_eq!((logs.inner().written(), logs.inner().lost()), (3, 0));
    }
}

#[test]
fn what_waits_has_a_bound_and_beyond_it_lines_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (logs, mut writer) = writer();
    logs.settings_for_tests(Revision(1), Some(&AccessLog::of(folder.path().to_owned())));
    let text = "x".repeat(64 * 1024);
    let lines = logs.inner().shard_bytes_max() / text.len() + 1;
    for _ in 0..lines {
        request(&logs, 1, &text);
    }
    writer.round(crate::clock::now());
    let (written, lost) = (logs.inner().written(), logs.inner().lost());
    assert_eq!(written + lost, lines as u64);
    assert!(lost > 0);
    request(&logs, 1, "room again");
    writer.round(crate::clock::now());
    assert_eq!(logs.inner().written(), written + 1);
}

#[test]
fn lines_of_settings_that_are_long_gone_are_lost_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (logs, mut writer) = writer();
    for revision in 2..40 {
        let log = AccessLog::of(folder.path().join(revision.to_string()));
        logs.settings_for_tests(Revision(revision), Some(&log));
    }
    request(&logs, 1, "old");
    writer.round(crate::clock::now());
    assert_eq!((logs.inner().written(), logs.inner().lost()), (0, 1));
}

#[test]
fn a_flood_of_errors_is_cut_to_its_bound_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (logs, mut writer) = writer();
    logs.settings_for_tests(Revision(1), Some(&AccessLog::of(folder.path().to_owned())));
    let address = "192.0.2.1:9".parse().unwrap();
    let line = ErrorsLine {
        client: address,
        server: address,
        request: None,
        status: Some(400),
        site: None,
        reason: Reason::BadRequest,
        server_name: "",
        detail: "a \"line\"\nof text",
    };
    for second in [1, 2] {
        for _ in 0..1500 {
            logs.inner().errors.push(&line, at(Duration::from_secs(second)));
        }
    }
    writer.round(at(Duration::from_secs(3)));
    let lines = lines(&folder.path().join("HTTPERR/httperr1.log"));
    let left_out = lines.iter().filter(|line| *line == "#Remark: 500 lines were left out").count();
    assert_eq!((lines.len(), left_out), (4 + 2000 + 2, 2));
    assert_eq!(
        lines[4],
        "2026-11-23 00:00:01 192.0.2.1 9 192.0.2.1 9 - - - 400 - BadRequest - - \
         a+%22line%22%0Aof+text"
    );
}
