//! `bindery export`: what is in force, in another form.

use std::process::ExitCode;

use bindery_control::home::Form;
use bindery_iis::config;
use bindery_model::{change::Fields, document::write};

use super::change::toml_value;
use crate::{
    ConfigOption,
    door::Seen,
    output::{self, Failure},
};

/// What `export` takes.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// bindery.toml, applicationHost.config, or JSON with the keys of bindery.toml.
    #[arg(value_enum)]
    form: ExportForm,
    #[command(flatten)]
    config: ConfigOption,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum ExportForm {
    Toml,
    Iis,
    Json,
}

/// Prints it.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let seen = Seen::look(&arguments.config)?;
    let configuration = seen.configuration();
    match (arguments.form, seen.home.form) {
        // Its own form is what somebody wrote, with all comments.
        (ExportForm::Toml, Form::Toml) | (ExportForm::Iis, Form::Iis) => output::print(&seen.text),
        (ExportForm::Toml, Form::Iis) => output::print(write::text(configuration)),
        (ExportForm::Iis, Form::Toml) => {
            let (text, left_out) = config::write(configuration);
            output::print(text);
            for left in left_out {
                output::note(format_args!("bindery: left out: {left}"));
            }
        }
        (ExportForm::Json, _) => output::print_json(&keys(&write::text(configuration))?)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The keys of a text of `bindery.toml`.
fn keys(text: &str) -> Result<Fields, Failure> {
    let document: toml_edit::DocumentMut = text
        .parse()
        .map_err(|error| Failure::because("the configuration cannot be written", error))?;
    let table = document.as_table().clone().into_inline_table();
    let keys = table.iter().filter_map(|(key, value)| Some((key.to_owned(), toml_value(value)?)));
    Ok(keys.collect())
}
