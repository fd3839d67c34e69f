//! `bindery completions` and `bindery man`, and what stands to choose from while something is
//! typed: names are asked from the server, or read from the file, at that moment.

use std::{ffi::OsStr, fs, path::PathBuf, process::ExitCode};

use bindery_control::things::{self, text};
use bindery_model::{
    change::{Fields, Place},
    site::RouteKind,
};
use clap_complete::{CompletionCandidate, env::Shells};

use crate::{
    ConfigOption,
    door::Things,
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

/// For bash, which ends words elsewhere and does not quote what it is given.
const BASH: &str = include_str!("complete.bash");

/// Prints what the shell has to read.
pub(crate) fn run(arguments: &CompletionsArguments) -> Result<ExitCode, Failure> {
    if arguments.shell == "bash" {
        output::print(BASH);
        return Ok(ExitCode::SUCCESS);
    }
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

/// What is in force, of the configuration that is meant by what is typed so far.
fn looked() -> Option<Things> {
    let words = words();
    let mut config = None;
    for (place, word) in words.iter().enumerate() {
        if word == "--config" {
            config = words.get(place + 1).map(PathBuf::from);
        } else if let Some(file) = word.strip_prefix("--config=") {
            config = Some(PathBuf::from(file));
        }
    }
    Things::look(&ConfigOption { config }).ok()
}

fn words() -> Vec<String> {
    std::env::args_os().map(|own| own.to_string_lossy().into_owned()).collect()
}

/// Those of the names that `names` finds which begin with what is typed.
fn candidates(
    current: &OsStr,
    names: impl Fn(&Things, &str) -> Result<Vec<String>, Failure>,
) -> Vec<CompletionCandidate> {
    let begun = current.to_string_lossy().to_lowercase();
    // There is nobody to tell of an error: what is typed is the next line already.
    let names = looked().and_then(|things| names(&things, &begun).ok()).unwrap_or_default();
    let names = names.into_iter().filter(|name| name.to_lowercase().starts_with(&begun));
    names.map(CompletionCandidate::new).collect()
}

fn named(all: &[Fields], key: &str) -> Vec<String> {
    all.iter().map(|own| text(own, key).to_owned()).collect()
}

/// Names of sites.
pub(crate) fn sites(current: &OsStr) -> Vec<CompletionCandidate> {
    candidates(current, |things, begun| Ok(named(&things.sites(Some(begun))?, "name")))
}

/// What belongs to the site that is named already; without one, to all of them.
fn of_site(
    current: &OsStr,
    key: &str,
    of: impl Fn(&Fields) -> Vec<Fields>,
) -> Vec<CompletionCandidate> {
    candidates(current, |things, _| {
        // It stands behind the noun and the verb.
        let is_verb =
            |word: &String| matches!(word.as_str(), "add" | "list" | "remove" | "set" | "show");
        let words = words();
        let behind = words.iter().skip_while(|word| !is_verb(word)).skip(1);
        let mut sites = behind.filter(|word| !word.starts_with('-'));
        let site = sites.find_map(|word| things.one(&Place::Site(word.clone())).ok());
        let sites = match site {
            Some(site) => vec![site],
            None => things.sites(None)?,
        };
        Ok(sites.iter().flat_map(|site| named(&of(site), key)).collect())
    })
}

/// Texts of bindings.
pub(crate) fn bindings(current: &OsStr) -> Vec<CompletionCandidate> {
    of_site(current, "on", things::bindings)
}

/// Paths of applications, or of virtual directories, as the noun says.
pub(crate) fn paths(current: &OsStr) -> Vec<CompletionCandidate> {
    let kind = match words().iter().any(|word| word == "vdir") {
        true => RouteKind::VirtualDirectory,
        false => RouteKind::Application,
    };
    of_site(current, "path", |site| things::routes(site, kind))
}

/// Texts of listeners.
pub(crate) fn listeners(current: &OsStr) -> Vec<CompletionCandidate> {
    candidates(current, |things, _| Ok(named(&things.listeners()?, "on")))
}

/// Names of certificates, and the word for the central store.
pub(crate) fn certificates(current: &OsStr) -> Vec<CompletionCandidate> {
    candidates(current, |things, _| {
        let mut names: Vec<_> = things.certificates()?.into_iter().map(|own| own.name).collect();
        let has_store = things.one(&Place::Server)?.contains_key("central_store");
        names.extend(has_store.then(|| "central".to_owned()));
        Ok(names)
    })
}
