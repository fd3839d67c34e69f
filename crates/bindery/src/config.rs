//! Finding the configuration.

use std::path::{Path, PathBuf};

use bindery_control::home::{Home, HomeError, Loaded};
use bindery_model::{document::Settings, problem::Way};

use crate::{ConfigOption, commands::change::ways_text, output::Failure};

/// The folders in which a configuration is looked for when none is named.
const FOLDERS: [&str; 2] = ["", "/etc/bindery"];
/// Its name.
const TOML: &str = "bindery.toml";
/// Its name in IIS's form. With a `bindery.toml` beside it that has no sites, those are here.
const IIS: &str = "applicationHost.config";

impl ConfigOption {
    /// The file that is meant.
    pub(crate) fn path(&self) -> Result<PathBuf, Failure> {
        if let Some(path) = &self.config {
            return Ok(path.clone());
        }
        FOLDERS.iter().find_map(|folder| found_in(Path::new(folder))).ok_or_else(|| {
            Failure::new(
                "there is no bindery.toml here and none in /etc/bindery; \
                 name one by --config FILE, or try `bindery demo`",
            )
        })
    }

    /// Finds the file that is meant, and what it says of the whole server: where its state is.
    pub(crate) fn find(&self) -> Result<(Home, Settings), Failure> {
        Home::find_settings(&self.path()?).map_err(failure)
    }

    /// Reads the file that is meant.
    pub(crate) fn load(&self) -> Result<Loaded, Failure> {
        load(&self.path()?)
    }
}

fn found_in(folder: &Path) -> Option<PathBuf> {
    let (toml, iis) = (folder.join(TOML), folder.join(IIS));
    match (toml.exists(), iis.exists()) {
        (true, true) => {
            let sites = Home::load(&toml).map(|own| own.document.configuration.table.sites.len());
            Some(if matches!(sites, Ok(0)) { iis } else { toml })
        }
        (true, false) => Some(toml),
        (false, true) => Some(iis),
        (false, false) => None,
    }
}

/// Names the configuration at `path` in commands that are printed, where it would not be found.
pub(crate) fn name_in_commands<'a>(path: &Path, ways: impl IntoIterator<Item = &'a mut Way>) {
    let option = option_for(path);
    if option.is_empty() {
        return;
    }
    for command in ways.into_iter().flat_map(|way| &mut way.commands) {
        // Behind the subcommand.
        let words = if command.starts_with("bindery binding") { 3 } else { 2 };
        if let Some((at, _)) = command.match_indices(' ').nth(words - 1) {
            command.insert_str(at, &option);
        }
    }
}

/// What names the configuration at `path` in a command; nothing where it is found.
fn option_for(path: &Path) -> String {
    match ConfigOption::default().path().is_ok_and(|found| found == path) {
        true => String::new(),
        false => format!(" --config {}", as_word(path)),
    }
}

/// A path as a word of a shell.
fn as_word(path: &Path) -> String {
    let text = path.display().to_string();
    match text.contains(|c: char| !c.is_alphanumeric() && !"/._-".contains(c)) {
        true => format!("'{}'", text.replace('\'', "'\\''")),
        false => text,
    }
}

/// Reads a configuration. What is wrong inside it is no failure: the document lists it.
pub(crate) fn load(path: &Path) -> Result<Loaded, Failure> {
    Home::load(path).map_err(|error| match error {
        HomeError::Records { ref file, .. } => {
            let way = Way {
                what: "move it away, and go back to the last revision of the history, which has \
                       them with their configuration"
                    .to_owned(),
                commands: vec![
                    format!("mv {0} {0}.broken", as_word(file)),
                    format!("bindery undo{}", option_for(path)),
                ],
            };
            failure(error).with(&ways_text(&[way]))
        }
        error => failure(error),
    })
}

fn failure(error: HomeError) -> Failure {
    let what = error.to_string();
    match error {
        HomeError::Io { source, .. } => Failure::because(what, source),
        HomeError::NotText { source, .. } => Failure::because(what, source),
        HomeError::Records { source, .. } => Failure::because(what, source),
        HomeError::Edited { .. } => Failure::new(what),
    }
}
