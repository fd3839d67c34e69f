//! `count`: how many instructions the paths take that everything goes through. Unlike times they
//! hardly differ on a busy machine, so that a loss of some percent is seen with the change that
//! brings it.
//!
//! Each path is taken N times and 2 N times under callgrind; the difference divided by N is what
//! one takes, without the start.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::count_server::{Site, counted};

/// The counts that were agreed on, from the root of the repository.
const STORED: &str = "xtask/counts.txt";
/// What takes so many percent more than what is stored has become worse.
const GROWTH_PERCENT_MAX: f64 = 5.0;

/// What is counted: its name, and how often it is done in the shorter run.
const DECISION: (&str, u64) = ("decision among 10,000 bindings", 20_000);
const HANDSHAKE: (&str, u64) = ("TLS 1.3 handshake and request", 50);
const RESUMED: (&str, u64) = ("resumed handshake and request", 50);
const HTTP1: (&str, u64) = ("HTTP/1.1 request, kept alive", 1000);
const HTTP2: (&str, u64) = ("HTTP/2 request", 1000);

/// The instructions of each path, by its name.
type Counts = Vec<(String, u64)>;

/// Builds, counts, compares and prints. Fails where a path has grown, unless the counts are to be
/// saved.
pub(crate) fn run(root: &Path, save: bool) -> Result<(), String> {
    let programs = Programs::build(root)?;
    let folder = std::env::temp_dir().join(format!("bindery-count-{}", std::process::id()));
    fs::create_dir_all(&folder).map_err(|error| because(&folder, &error))?;
    let counts = count_all(&programs, &folder);
    fs::remove_dir_all(&folder).ok();
    let counts = counts?;
    let path = root.join(STORED);
    let stored = parse(&fs::read_to_string(&path).unwrap_or_default());
    let (table, grown) = compare(&counts, &stored);
    say(&table);
    if save {
        return fs::write(&path, written(&counts)).map_err(|error| because(&path, &error));
    }
    match grown.as_slice() {
        [] => Ok(()),
        names => Err(format!("more than {GROWTH_PERCENT_MAX} % more: {}", names.join(", "))),
    }
}

/// The programs that take part. What is counted is built for release; who asks need not be.
pub(crate) struct Programs {
    pub(crate) bindery: PathBuf,
    pub(crate) bench: PathBuf,
    decide: PathBuf,
}

impl Programs {
    fn build(root: &Path) -> Result<Self, String> {
        for program in ["valgrind", "curl"] {
            output(Command::new(program).arg("--version"))
                .map_err(|error| format!("{error}; install it: apt-get install {program}"))?;
        }
        let cargo = |words: &[&str]| {
            output(Command::new(env!("CARGO")).args(words).current_dir(root)).map(drop)
        };
        cargo(&["build", "--release", "-p", "bindery"])?;
        cargo(&["build", "--release", "-p", "bindery-model", "--example", "decide"])?;
        cargo(&["build", "-p", "bindery-bench"])?;
        let target = root.join("target");
        Ok(Self {
            bindery: target.join("release/bindery"),
            bench: target.join("debug/bindery-bench"),
            decide: target.join("release/examples/decide"),
        })
    }
}

fn count_all(programs: &Programs, folder: &Path) -> Result<Counts, String> {
    let mut counts = vec![one(DECISION, |times| {
        let mut command = Command::new("valgrind");
        counted(&mut command, folder, &programs.decide).arg(times.to_string());
        output(&mut command)?;
        total(folder)
    })?];
    let site = Site::make(programs, folder)?;
    for path in [HANDSHAKE, RESUMED] {
        counts.push(one(path, |times| site.count(|site| site.handshakes(times, path == RESUMED)))?);
    }
    for path in [HTTP1, HTTP2] {
        counts.push(one(path, |times| site.count(|site| site.requests(times, path == HTTP2)))?);
    }
    Ok(counts)
}

/// What one of a path takes.
fn one(
    (name, times): (&str, u64),
    mut run: impl FnMut(u64) -> Result<u64, String>,
) -> Result<(String, u64), String> {
    let (shorter, longer) = (run(times)?, run(2 * times)?);
    let more = longer.checked_sub(shorter).ok_or_else(|| format!("{name}: twice is less"))?;
    Ok((name.to_owned(), more / times))
}

/// The instructions of the last run, by the file that callgrind left.
pub(crate) fn total(folder: &Path) -> Result<u64, String> {
    let path = folder.join("callgrind.out");
    let text = fs::read_to_string(&path).map_err(|error| because(&path, &error))?;
    text.lines()
        .find_map(|line| line.strip_prefix("totals:").or_else(|| line.strip_prefix("summary:")))
        .and_then(|numbers| numbers.split_whitespace().next()?.parse().ok())
        .ok_or_else(|| format!("{} has no total", path.display()))
}

/// The output of a command that must succeed.
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{name} cannot be run: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(format!("{name} failed: {}{}", text(&output.stdout), text(&output.stderr))),
    }
}

pub(crate) fn because(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

fn parse(text: &str) -> Counts {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let (count, name) = line.trim().split_once("  ")?;
            Some((name.to_owned(), count.parse().ok()?))
        })
        .collect()
}

fn written(counts: &[(String, u64)]) -> String {
    let version = |program: &str| {
        let text = output(Command::new(program).arg("--version")).unwrap_or_default();
        text.lines().next().unwrap_or_default().to_owned()
    };
    let mut text = format!(
        "# Instructions of each path; written by `cargo run -p xtask -- count --save`.\n\
         # {}, {}, {}\n",
        version("rustc"),
        version("valgrind"),
        std::env::consts::ARCH
    );
    for (name, count) in counts {
        writeln!(text, "{count:>9}  {name}").ok();
    }
    text
}

/// The table of what was counted beside what is stored, and the names of what has grown.
fn compare(counts: &[(String, u64)], stored: &[(String, u64)]) -> (String, Vec<String>) {
    let mut table = format!("{:32}{:>12}{:>12}{:>10}\n", "", "counted", "stored", "change");
    let mut grown = Vec::new();
    for (name, count) in counts {
        write!(table, "{name:32}{count:>12}").ok();
        if let Some((_, before)) = stored.iter().find(|(stored, _)| stored == name) {
            let percent = percent(*count, *before);
            write!(table, "{before:>12}{percent:>+8.1} %").ok();
            if percent > GROWTH_PERCENT_MAX {
                grown.push(name.clone());
            }
        }
        table.push('\n');
    }
    (table, grown)
}

fn percent(count: u64, before: u64) -> f64 {
    let exact = |number: u64| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
    (exact(count) / exact(before).max(1.0) - 1.0) * 100.0
}

#[allow(clippy::print_stdout, reason = "a command speaks to its terminal")]
fn say(text: &str) {
    print!("{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let counts = vec![("HTTP/2 request".to_owned(), 12), ("a decision".to_owned(), 3_456_789)];
        assert_eq!(parse(&written(&counts)), counts);
    }

    #[test]
    fn only_what_grew_by_more_than_allowed_is_named() {
        let counts = [("same", 100), ("less", 50), ("more", 106), ("a bit", 104), ("new", 7)];
        let counts = counts.map(|(name, count)| (name.to_owned(), count));
        let stored = ["same", "less", "more", "a bit"].map(|name| (name.to_owned(), 100));
        let (table, grown) = compare(&counts, &stored);
        assert_eq!(grown, ["more"]);
        assert!(table.contains("-50.0 %") && table.contains("+6.0 %"), "{table}");
        assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    }
}
