//! `bindery completions` and `bindery man`, and what stands to choose from while something is
//! typed: names are asked from the server, or read from the file, at that moment.

use std::{
    ffi::{OsStr, OsString},
    fs,
    path::PathBuf,
    process::ExitCode,
};

use bindery_model::document::Configuration;
use clap_complete::{CompletionCandidate, env::Shells};

use crate::{
    ConfigOption,
    door::Seen,
    output::{self, Failure},
};

/// Where a shell says that it wants completions.
pub(crate) const VARIABLE: &str = "COMPLETE";
/// What the program is called.
const PROGRAM: &str = "bindery";

/// What `completions` takes.
#[derive(clap::Args)]
pub(crate) struct CompletionsArguments {
    /// The shell.
    #[arg(value_parser = ["bash", "zsh", "fish", "elvish", "powershell"])]
    shell: String,
}

/// Prints what the shell has to read.
pub(crate) fn run(arguments: &CompletionsArguments) -> Result<ExitCode, Failure> {
    let shells = Shells::builtins();
    let shell = shells.completer(&arguments.shell).ok_or_else(|| {
        Failure::usage(format!("there are no completions for {}", arguments.shell))
    })?;
    let mut text = Vec::new();
    shell
        .write_registration(VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut text)
        .map_err(|error| Failure::because("the completions cannot be written", error))?;
    output::print(String::from_utf8_lossy(&text));
    Ok(ExitCode::SUCCESS)
}

/// What `man` takes.
#[derive(clap::Args)]
pub(crate) struct ManArguments {
    /// The folder that the pages are written to, a file for each command.
    #[arg(long, value_name = "FOLDER", value_hint = clap::ValueHint::DirPath)]
    to: PathBuf,
}

/// Writes manual pages of `command`.
pub(crate) fn man(arguments: &ManArguments, command: clap::Command) -> Result<ExitCode, Failure> {
    let to = &arguments.to;
    fs::create_dir_all(to)
        .and_then(|()| clap_mangen::generate_to(command, to))
        .map_err(|error| Failure::because(format!("cannot write to {}", to.display()), error))?;
    Ok(ExitCode::SUCCESS)
}

/// The configuration that is meant by what is typed so far.
fn configuration() -> Option<Seen> {
    let words: Vec<OsString> = std::env::args_os().collect();
    let mut config = None;
    for (place, word) in words.iter().enumerate() {
        let text = word.to_string_lossy();
        if text == "--config" {
            config = words.get(place + 1).map(PathBuf::from);
        } else if let Some(file) = text.strip_prefix("--config=") {
            config = Some(PathBuf::from(file));
        }
    }
    Seen::look(&ConfigOption { config }).ok()
}

fn candidates(
    current: &OsStr,
    names: impl Fn(&Configuration) -> Vec<String>,
) -> Vec<CompletionCandidate> {
    let begun = current.to_string_lossy().to_lowercase();
    let Some(seen) = configuration() else { return Vec::new() };
    let names = names(seen.configuration()).into_iter();
    names
        .filter(|name| name.to_lowercase().starts_with(&begun))
        .map(CompletionCandidate::new)
        .collect()
}

/// Names of sites.
pub(crate) fn sites(current: &OsStr) -> Vec<CompletionCandidate> {
    candidates(current, |own| own.table.sites.iter().map(|site| site.name.clone()).collect())
}

/// Texts of bindings: those of the site that is named, where one is.
pub(crate) fn bindings(current: &OsStr) -> Vec<CompletionCandidate> {
    let words: Vec<_> = std::env::args_os().map(|own| own.to_string_lossy().into_owned()).collect();
    candidates(current, |own| {
        let table = &own.table;
        let of_named = |site: &str| words.iter().any(|word| word.eq_ignore_ascii_case(site));
        let any_named = table.sites.iter().any(|site| of_named(&site.name));
        let all = table.bindings.iter();
        all.filter(|own| !any_named || of_named(&table.site(own).name))
            .map(|own| own.information.to_string())
            .collect()
    })
}

/// Names of certificates, and the word for the central store.
pub(crate) fn certificates(current: &OsStr) -> Vec<CompletionCandidate> {
    candidates(current, |own| {
        let names = own.table.certificates.iter().map(|source| source.name.clone());
        names.chain(own.settings.central_store.is_some().then(|| "central".to_owned())).collect()
    })
}
