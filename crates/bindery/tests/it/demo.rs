//! `bindery demo`: the lines it prints are run as they are printed.

use std::{
    path::PathBuf,
    process::{Command, Output},
};

use crate::program::{Background, Done, PROGRAM, free_port};

/// Runs a line of the list as a shell does.
fn shell(line: &str) -> Output {
    Command::new("sh").args(["-c", &format!("{line} --silent --show-error")]).output().unwrap()
}

#[test]
fn every_line_that_is_printed_works_and_nothing_stays_behind() {
    let port = free_port().to_string();
    let elsewhere = tempfile::tempdir().unwrap();
    let mut demo = Background::start(elsewhere.path(), &["demo", "--port", &port]);
    let text = demo.printed_until("a connection, step by step");
    check_lines(&text);
    let folder = text.lines().next().unwrap().rsplit_once(" in ").unwrap().1;
    let folder = PathBuf::from(folder);
    assert!(folder.join("bindery.toml").exists());
    assert_eq!(demo.stop(), Some(0));
    assert!(!folder.exists(), "the folder is removed");
}

fn check_lines(text: &str) {
    let whole = text.replace(" \\\n   ", "");
    let (mut fetched, mut explained) = (0, 0);
    for block in whole.split("\n\n").skip(1) {
        let mut lines = block.lines();
        let title = lines.next().unwrap();
        let (site, _) = title.split_once([',', ':']).unwrap_or((title, ""));
        for line in lines {
            let words = line.trim();
            if words.starts_with("curl ") {
                let output = shell(words);
                let page = String::from_utf8_lossy(&output.stdout).into_owned();
                match site {
                    "nobody" => assert_eq!(output.status.code(), Some(35), "{page}"),
                    _ if title.contains("/v1") => assert_eq!(page, "{\"site\":\"shop\"}"),
                    _ => assert!(page.contains(&format!("<h1>{site}</h1>")), "{words}\n{page}"),
                }
                fetched += 1;
            } else if words.contains(" explain ") {
                explained += 1;
                let done = Done::of(&Command::new("sh").args(["-c", words]).output().unwrap());
                match site {
                    "nobody" => assert_eq!(done.code, 1, "{}", done.out),
                    _ if title.contains("/v1") => done.check(0, &["308 to /api/users\n"]),
                    _ => done.check(0, &[&format!("site {site}: ")]),
                }
            }
        }
    }
    assert_eq!((fetched, explained), (7, 3));
    assert!(text.lines().count() < 45, "it fits on two screens");
}

#[test]
fn a_port_that_is_taken_is_an_error_that_names_the_option() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let output = Command::new(PROGRAM).args(["demo", "--port", &port.to_string()]).output();
    let done = Done::of(&output.unwrap());
    assert_eq!(done.code, 1);
    assert_eq!(
        done.err,
        format!("bindery: port {port} is taken by another program; choose another one by --port\n")
    );
}

#[test]
fn a_folder_that_is_named_stays() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("mine");
    let port = free_port().to_string();
    let named = folder.to_str().unwrap();
    let mut demo = Background::start(dir.path(), &["demo", "--port", &port, "--folder", named]);
    let text = demo.printed_until("a connection, step by step");
    assert!(text.contains("Ctrl-C ends it; the folder stays.\n"), "{text}");
    assert_eq!(demo.stop(), Some(0));
    assert!(folder.join("bindery.toml").exists());
    let again = Command::new(PROGRAM).args(["demo", "--folder", named, "--port", "0"]).output();
    let again = Done::of(&again.unwrap());
    assert_eq!(again.code, 1);
    assert!(again.err.contains("is not empty"), "{}", again.err);
}
