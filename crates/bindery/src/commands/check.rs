//! `bindery check`: everything that is wrong with a configuration, with its place and what to do.

use std::process::ExitCode;

use bindery_control::{home::Loaded, problems::all_placed};
use bindery_model::problem::Problem;
use bindery_server::{
    clock,
    inspect::{Scope, has_errors, inspect},
    tls::index::IndexedCertificates,
};

use crate::{
    ConfigOption, config,
    output::{self, Failure},
    privileges, problems,
};

/// What `check` takes.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    config: ConfigOption,
    /// Print the problems as JSON.
    #[arg(long)]
    json: bool,
}

/// Checks a configuration. Fails, with exit code 1, when it cannot be served as it is.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let loaded = arguments.config.load()?;
    privileges::look_as(loaded.document.configuration.settings.user.as_deref())?;
    let mut problems = all_problems(&loaded);
    config::name_in_commands(
        &loaded.home.path,
        problems.iter_mut().flat_map(|problem| &mut problem.ways),
    );
    let file = loaded.home.path.display().to_string();
    let is_broken = has_errors(&problems) || !loaded.beside.is_empty();
    if arguments.json {
        let mut placed = loaded.beside.clone();
        placed.extend(all_placed(&problems, &file, &loaded.text));
        output::print_json(&placed)?;
    } else {
        let colour = output::is_colourful();
        let own = (file.as_str(), loaded.text.as_str());
        output::print(problems::rendered(&loaded.beside, &problems, own, colour));
    }
    Ok(if is_broken { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What is wrong in the text, and what this machine adds to it.
pub(crate) fn all_problems(loaded: &Loaded) -> Vec<Problem> {
    let table = &loaded.document.configuration.table;
    let certificates = IndexedCertificates::read(&table.certificates);
    let mut problems = loaded.document.problems.clone();
    let read = (&loaded.document.configuration, &loaded.document.positions);
    problems.extend(inspect(read, &certificates, clock::now(), &Scope::all()));
    problems.sort_by_key(|problem| problem.span.start);
    problems
}
