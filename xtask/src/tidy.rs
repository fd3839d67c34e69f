//! Rules of the repository that the compiler does not know: how long a file may be, which crate
//! may know which, what may be named where.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::code::{bare, has_word, imports};

/// Lines of a file, its tests included.
const FILE_LINES_MAX: usize = 800;

/// Files that are longer, with the number of lines that they must not exceed. May only shrink.
const LONGER_FILES: &[(&str, usize)] = &[];

/// A crate, and which of ours it may name.
struct Crate {
    folder: &'static str,
    uses: &'static [&'static str],
    /// In its tests besides.
    in_tests: &'static [&'static str],
}

/// The graph of crates: every arrow that may be there.
const CRATES: &[Crate] = &[
    Crate { folder: "crates/model", uses: &[], in_tests: &[] },
    Crate { folder: "crates/iis", uses: &["model"], in_tests: &[] },
    Crate { folder: "crates/store", uses: &["model"], in_tests: &["testkit"] },
    Crate { folder: "crates/server", uses: &["model", "store"], in_tests: &["testkit"] },
    Crate {
        folder: "crates/control",
        uses: &["iis", "model", "server", "store"],
        in_tests: &["testkit"],
    },
    Crate {
        folder: "crates/bindery",
        uses: &["control", "iis", "model", "server", "store"],
        in_tests: &["testkit"],
    },
    Crate { folder: "crates/testkit", uses: &["model", "server"], in_tests: &[] },
    Crate { folder: "bench", uses: &[], in_tests: &["testkit"] },
    Crate { folder: "xtask", uses: &[], in_tests: &[] },
];

/// Crates that do no I/O and read no clock.
const PURE: &[&str] = &["crates/model/src/", "crates/iis/src/"];

/// What a pure crate does not name.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
    "std::net::ToSocketAddrs",
    "std::os",
    "tokio",
    "socket2",
    "rustix",
];

/// Where types of the TLS library may be named: one module of the server, the probe, and tests.
const RUSTLS: &[&str] = &[
    "crates/server/src/tls/",
    "crates/server/tests/",
    "crates/bindery/src/commands/probe",
    "crates/bindery/tests/",
    "crates/testkit/",
    "bench/",
];

/// The one place of what is decided by.
const ARC_SWAP: &str = "crates/server/src/snapshot.rs";

/// The one place that may be unsafe, with its proof.
const UNSAFE: &str = "crates/server/src/scheduling.rs";

/// Everything that is untidy below `root`, each with its place.
pub(crate) fn problems(root: &Path) -> Vec<String> {
    let mut problems = Vec::new();
    let mut files = Vec::new();
    for folder in ["crates", "bench", "xtask", "fuzz"] {
        collect(&root.join(folder), &mut files);
    }
    files.sort();
    for file in files {
        let name = file.strip_prefix(root).unwrap_or(&file).to_string_lossy().replace('\\', "/");
        match fs::read_to_string(&file) {
            Ok(text) => in_file(&name, &text, &mut problems),
            Err(error) => problems.push(format!("{name}: cannot be read: {error}")),
        }
    }
    for own in CRATES {
        if let Ok(text) = fs::read_to_string(root.join(own.folder).join("Cargo.toml")) {
            in_manifest(own, &text, &mut problems);
        }
    }
    unknown_crates(root, &mut problems);
    problems
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            if !path.ends_with("target") && !path.ends_with("corpus") {
                collect(&path, files);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn in_file(name: &str, text: &str, problems: &mut Vec<String>) {
    let lines = text.lines().count();
    let longer = LONGER_FILES.iter().find(|(file, _)| *file == name);
    let lines_max = longer.map_or(FILE_LINES_MAX, |(_, lines)| *lines);
    if lines > lines_max {
        problems.push(format!("{name}: {lines} lines, and {lines_max} are the most"));
    }
    // Tests beside a module are part of what the module says of itself.
    let beside =
        name.contains("/src/") && (name.ends_with("/tests.rs") || name.contains("/tests/"));
    if !beside && !text.starts_with("//!") {
        problems.push(format!("{name}: does not begin with what it answers for (//!)"));
    }
    if text.contains('\r') {
        problems.push(format!("{name}: a line ends with CR LF"));
    }
    let bare = bare(text);
    let imports = imports(&bare);
    let names = |path: &str| {
        let below = format!("{path}::");
        has_word(&bare, path)
            || imports.iter().any(|import| import == path || import.starts_with(&below))
    };
    if PURE.iter().any(|place| name.starts_with(place)) {
        for path in IMPURE.iter().filter(|path| names(path)) {
            problems.push(format!("{name}: {path} has no place in a crate without I/O"));
        }
        for clock in ["SystemTime::now", "Instant::now"].iter().filter(|path| names(path)) {
            problems.push(format!("{name}: {clock}: time is an argument here"));
        }
    }
    if names("rustls") && !RUSTLS.iter().any(|place| name.starts_with(place)) {
        problems.push(format!("{name}: rustls has its place in crates/server/src/tls"));
    }
    if has_word(&bare, "unsafe") && name != UNSAFE {
        problems.push(format!("{name}: unsafe has its place in {UNSAFE}"));
    }
    let swaps = bare.matches("ArcSwap<").count();
    if swaps > usize::from(name == ARC_SWAP) || (swaps == 0 && name == ARC_SWAP) {
        problems.push(format!("{name}: {swaps} ArcSwap; there is one, in {ARC_SWAP}"));
    }
}

fn in_manifest(own: &Crate, text: &str, problems: &mut Vec<String>) {
    for (section, dependency) in own_dependencies(text) {
        let allowed = match section.contains("dev-dependencies") {
            true => own.uses.contains(&dependency) || own.in_tests.contains(&dependency),
            false => own.uses.contains(&dependency),
        };
        if !allowed {
            let folder = own.folder;
            problems.push(format!("{folder}/Cargo.toml: [{section}] may not name {dependency}"));
        }
    }
}

/// The crates of ours that a manifest names, each with its section.
fn own_dependencies(text: &str) -> Vec<(&str, &str)> {
    let mut section = "";
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
            if let Some((section, name)) = name.rsplit_once(".bindery-") {
                found.push((section, name));
            }
        } else if let Some(rest) = line.strip_prefix("bindery-")
            && section.contains("dependencies")
        {
            let end = rest.find(|one: char| !one.is_alphanumeric()).unwrap_or(rest.len());
            found.push((section, rest.get(..end).unwrap_or_default()));
        }
    }
    found
}

/// A crate that has no line in [`CRATES`] has no direction.
fn unknown_crates(root: &Path, problems: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(root.join("crates")) else { return };
    for entry in entries.flatten() {
        let name = format!("crates/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() && !CRATES.iter().any(|own| own.folder == name) {
            problems.push(format!("{name}: not in the graph of crates (xtask/src/tidy.rs)"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_tidy() {
        let problems = problems(&crate::root());
        assert!(problems.is_empty(), "\n{}", problems.join("\n"));
    }

    #[track_caller]
    fn check(name: &str, text: &str, expected: &str) {
        let mut problems = Vec::new();
        in_file(name, text, &mut problems);
        assert_eq!(problems.len(), usize::from(!expected.is_empty()), "{problems:?}");
        assert!(problems.concat().contains(expected), "{problems:?}");
    }

    #[test]
    fn each_rule_finds_what_breaks_it_and_nothing_else() {
        let (model, server) = ("crates/model/src/a.rs", "crates/server/src/a.rs");
        check(model, "//! Does.\nfn f() {}\n", "");
        check(model, "fn f() {}\n", "does not begin");
        check("crates/model/src/a/tests.rs", "fn f() {}\n", "");
        check(model, &"//! x\n".repeat(801), "801 lines");
        check(model, "//! Does.\nuse std::{fmt, fs};\n", "std::fs");
        check(
            model,
            "//! Does.\nuse std::{fmt, net::{IpAddr, TcpStream}};\n",
            "std::net::TcpStream",
        );
        check(model, "//! Does.\nfn f() { std::fs::read(); }\n", "std::fs");
        check(
            model,
            "//! Does std::fs.\nconst A: &str = \"tokio::x\";\nuse std::net::IpAddr;\n",
            "",
        );
        check(model, "//! Does.\nfn f() { SystemTime::now(); }\n", "time is an argument");
        check(server, "//! Does.\nfn f() { std::fs::read(); SystemTime::now(); }\n", "");
        check(server, "//! Does.\nuse rustls::ServerConfig;\n", "rustls");
        check(server, "//! Does.\nfn f(_: rustls::Error) {}\n", "rustls");
        check("crates/server/src/tls/a.rs", "//! Does.\nuse rustls::ServerConfig;\n", "");
        check(server, "//! Does.\nfn f() { unsafe {} }\n", "unsafe");
        check(UNSAFE, "//! Does.\nfn f() { unsafe {} }\n", "");
        check(server, "//! Does.\nstruct S(ArcSwap<u8>);\n", "ArcSwap");
        check(server, "//! Does.\r\n", "CR LF");
    }

    #[test]
    fn a_manifest_may_name_only_what_is_below_it() {
        let check = |folder: &str, text: &str, expected: usize| {
            let own = CRATES.iter().find(|own| own.folder == folder).unwrap();
            let mut problems = Vec::new();
            in_manifest(own, text, &mut problems);
            assert_eq!(problems.len(), expected, "{problems:?}");
        };
        check("crates/server", "[dependencies]\nbindery-model.workspace = true\n", 0);
        check("crates/server", "[dependencies]\nbindery-control = { path = \"x\" }\n", 1);
        check("crates/server", "[dev-dependencies]\nbindery-testkit.workspace = true\n", 0);
        check("crates/server", "[dependencies]\nbindery-testkit.workspace = true\n", 1);
        check("crates/model", "[dependencies.bindery-iis]\npath = \"x\"\n", 1);
        check("crates/model", "[package]\nbindery-iis = 1\n", 0);
    }
}
