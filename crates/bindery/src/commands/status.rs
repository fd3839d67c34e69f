//! `bindery status`: what a running server does.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use bindery_control::{
    client::{Client, ClientError},
    history::Door,
    problems::PlacedProblem,
    status::{Status, UpstreamStatus},
};

use crate::{
    ConfigOption,
    commands::steps::{COLUMNS, wrapped},
    output::{self, Failure},
};

/// What `status` takes.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    config: ConfigOption,
    /// The state folder of the server; otherwise the configuration says it.
    #[arg(long, value_name = "FOLDER")]
    state_dir: Option<PathBuf>,
    /// Print all of it as JSON.
    #[arg(long)]
    json: bool,
}

/// The column of the values.
const VALUE_AT: usize = 15;
/// So many sites are shown; `--json` has all of them.
const SITES_SHOWN: usize = 20;
/// So many upstream servers that are out are shown.
const UPSTREAMS_SHOWN: usize = 10;
/// So many problems are shown.
const PROBLEMS_SHOWN: usize = 10;

/// Asks the server and prints what it says.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let state_dir = match &arguments.state_dir {
        Some(folder) => folder.clone(),
        None => {
            let (home, settings) = arguments.config.find()?;
            home.state_folder(&settings)
        }
    };
    let status = ask(&state_dir)?;
    if arguments.json {
        output::print_json(&status)?;
    } else {
        output::print(text(&status));
    }
    Ok(ExitCode::SUCCESS)
}

fn ask(state_dir: &Path) -> Result<Status, Failure> {
    let asked = Client::new(state_dir, Door::Cli).and_then(|client| client.status());
    asked.map_err(|error| {
        let what = error.to_string();
        match error {
            ClientError::Io { source, .. } | ClientError::Broken { source, .. } => {
                Failure::because(what, source)
            }
            _ => Failure::new(what),
        }
    })
}

fn text(status: &Status) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    write(&mut out, status).ok();
    out
}

fn write(out: &mut String, status: &Status) -> std::fmt::Result {
    let uptime = uptime(status.uptime_seconds);
    writeln!(out, "bindery {}, process {}, up {uptime}", status.version, status.pid)?;
    writeln!(out, "configuration  {} (revision {})", status.config.display(), status.revision)?;
    let listeners = wrapped(&status.listeners.join(" "), COLUMNS - VALUE_AT);
    writeln!(out, "listening      {}", listeners.join(&format!("\n{:VALUE_AT$}", "")))?;
    let Status { connections, connections_total, connections_refused, .. } = status;
    let refused = match connections_refused {
        0 => String::new(),
        refused => format!(", {refused} refused: too many of one client"),
    };
    writeln!(out, "connections    {connections} open, {connections_total} in all{refused}")?;
    writeln!(out, "requests       {}", status.requests_total)?;
    writeln!(out, "handshakes     {} failed", status.failed_handshakes)?;
    writeln!(out, "certificates   {} in memory", status.certificates_in_memory)?;
    upstreams(out, &status.upstreams)?;
    let stopped = status.sites.iter().filter(|site| site.state == "stopped").count();
    writeln!(out, "sites          {}, {stopped} stopped", status.sites.len())?;
    for site in status.sites.iter().take(SITES_SHOWN) {
        let mark = if site.state == "stopped" { "  (stopped)" } else { "" };
        writeln!(out, "  {:>4}  {}{mark}", site.id, site.name)?;
        for binding in &site.bindings {
            writeln!(out, "        {binding}")?;
        }
    }
    more(out, status.sites.len(), SITES_SHOWN, "sites")?;
    edited(out, &status.edited)?;
    let problems: Vec<_> = status.problems.iter().filter(|p| p.severity != "hint").collect();
    writeln!(out, "problems       {}", problems.len())?;
    for problem in problems.iter().take(PROBLEMS_SHOWN) {
        let text = format!("{}: {} [{}]", problem.severity, problem.message, problem.code);
        writeln!(out, "  {}", wrapped(&text, COLUMNS - 4).join("\n    "))?;
    }
    more(out, problems.len(), PROBLEMS_SHOWN, "problems; `bindery check` explains them")
}

/// What keeps an edited file from being in force.
fn edited(out: &mut String, all: &[PlacedProblem]) -> std::fmt::Result {
    let errors: Vec<_> = all.iter().filter(|one| one.is_error()).collect();
    if errors.is_empty() {
        return Ok(());
    }
    writeln!(out, "edited         the file, which is not in force: errors {}", errors.len())?;
    for error in errors.iter().take(PROBLEMS_SHOWN) {
        let text = format!("{} [{}]", error.said(), error.code);
        writeln!(out, "  {}", wrapped(&text, COLUMNS - 4).join("\n    "))?;
    }
    more(out, errors.len(), PROBLEMS_SHOWN, "errors; `bindery check` explains them")
}

/// How many there are, and those that are out.
fn upstreams(out: &mut String, all: &[UpstreamStatus]) -> std::fmt::Result {
    if all.is_empty() {
        return Ok(());
    }
    let bad: Vec<_> = all.iter().filter(|one| !one.well).collect();
    writeln!(out, "upstreams      {}, {} out", all.len(), bad.len())?;
    for one in bad.iter().take(UPSTREAMS_SHOWN) {
        writeln!(out, "  {}  (out)", wrapped(&one.server, COLUMNS - 10).join("\n    "))?;
    }
    more(out, bad.len(), UPSTREAMS_SHOWN, "that are out")
}

fn more(out: &mut String, all: usize, shown: usize, what: &str) -> std::fmt::Result {
    match all.saturating_sub(shown) {
        0 => Ok(()),
        left => writeln!(out, "  and {left} more {what}"),
    }
}

fn uptime(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} days", seconds / 86400),
    }
}
