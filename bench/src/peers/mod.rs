//! The servers that are compared: where they are, how they are configured, started and ended.

pub(crate) mod bindery;
mod caddy;
mod h2o;
mod haproxy;
mod nginx;
mod running;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum;

use crate::failure::{Context, Failure};
use crate::fleet::Fleet;
use crate::upstreams::Ports;

pub(crate) use running::{Cores, Running, free_port};

/// A connection that says nothing must stay open for as long as the measurement of idle
/// connections takes.
const IDLE_TIMEOUT_SECONDS: u32 = 600;

/// More connections than any scenario opens; below half of 20,000 files, as HAProxy wants two each.
const CONNECTIONS_MAX: u32 = 9_900;

/// Where Debian and administrators put programs.
const PROGRAM_FOLDERS: [&str; 4] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"];

/// The kinds of server this program can configure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Kind {
    Nginx,
    Haproxy,
    Caddy,
    H2o,
    Bindery,
}

impl Kind {
    /// The name of the program, and of the Debian package that brings it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Caddy => "caddy",
            Self::H2o => "h2o",
            Self::Bindery => "bindery",
        }
    }

    fn hint(self) -> &'static str {
        match self {
            Self::Nginx => "apt-get install nginx, or give --nginx PATH",
            Self::Haproxy => "apt-get install haproxy, or give --haproxy PATH",
            Self::Caddy => "apt-get install caddy, or give --caddy PATH",
            Self::H2o => "apt-get install h2o, or give --h2o PATH",
            Self::Bindery => "cargo build --release -p bindery, or give --bindery PATH",
        }
    }

    /// The commands that tell the version, and what the lines that matter contain.
    fn version_questions(self) -> &'static [(&'static [&'static str], &'static str)] {
        match self {
            Self::Nginx => &[(&["-V"], "nginx version"), (&["-V"], "built with")],
            Self::Haproxy => &[(&["-v"], "version"), (&["-vv"], "Running on OpenSSL")],
            Self::Caddy => &[(&["version"], ""), (&["build-info"], "go\t")],
            Self::H2o => &[(&["-v"], "version"), (&["-v"], "OpenSSL")],
            Self::Bindery => &[(&["--version"], "")],
        }
    }
}

/// A server program to measure.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub kind: Kind,
    /// What its rows are called.
    pub label: String,
    pub program: PathBuf,
    pub version: String,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}

impl Peer {
    /// The program at `path`, or the one that is installed.
    pub(crate) fn find(kind: Kind, label: &str, path: Option<&Path>) -> Result<Self, Failure> {
        let program = match path {
            Some(path) => fs::canonicalize(path).ok(),
            None => program(kind.name()),
        };
        let missing = || Failure::new(format!("{label} is not here: {}", kind.hint()));
        let program = program.ok_or_else(missing)?;
        let mut answers: Vec<String> = Vec::new();
        for (question, mark) in kind.version_questions() {
            answers.extend(first_line(&program, question, mark));
        }
        Ok(Self { kind, label: label.to_owned(), program, version: answers.join(", ") })
    }

    /// Writes the configuration for `place` and gives the command that starts the server.
    fn configure(&self, place: &Place) -> Result<Launch, Failure> {
        match self.kind {
            Kind::Nginx => nginx::configure(self, place),
            Kind::Haproxy => haproxy::configure(place),
            Kind::Caddy => caddy::configure(place),
            Kind::H2o => h2o::configure(place),
            Kind::Bindery => bindery::configure(place),
        }
    }
}

/// What a server is to serve, and where.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub fleet: Fleet,
    pub port: u16,
    /// For the configuration, logs and whatever else the server writes.
    pub folder: PathBuf,
    pub given: Given,
}

/// What a server has beside names and files.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Given {
    /// Upstreams for `/proxied/`, `/echo` and `/app/hello.php`.
    pub upstreams: Option<Ports>,
    /// A log of all requests, in each server's own default format.
    pub access_log: bool,
    /// It can be told of new names while it runs.
    pub changeable: bool,
    /// Bindery has its sites in an `applicationHost.config`, a certificate record for each, and
    /// certificates of so many names more: in that form they do not come with a change.
    pub iis: Option<u32>,
    /// nginx may remember open files and what it knows of them.
    pub open_file_cache: bool,
}

impl Place {
    fn write(&self, file: &str, text: &str) -> Result<String, Failure> {
        let path = self.folder.join(file);
        fs::write(&path, text).context(|| format!("cannot write {}", path.display()))?;
        Ok(path.display().to_string())
    }
}

/// Arguments and environment of a server.
struct Launch {
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
}

impl Launch {
    fn new<const N: usize>(arguments: [&str; N]) -> Self {
        let arguments = arguments.iter().map(|text| (*text).to_owned()).collect();
        Self { arguments, environment: Vec::new() }
    }
}

/// An installed program.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    PROGRAM_FOLDERS.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.exists())
}

/// The first line of what a program prints that contains `mark`.
pub(crate) fn first_line(program: &Path, arguments: &[&str], mark: &str) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().find(|line| line.contains(mark) && !line.trim().is_empty())?;
    Some(line.split_whitespace().collect::<Vec<_>>().join(" "))
}
