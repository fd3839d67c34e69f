//! `bindery server`, `bindery listener` and `bindery cert`: what is not a site's own.

use std::{collections::BTreeMap, process::ExitCode};

use bindery_control::api::CertificateRecord;
use bindery_model::change::{Act, Change, Place};
use clap_complete::ArgValueCompleter;

use super::{
    change::{ChangeOptions, SetOptions, Setting, fields, make},
    completions::listeners,
    listing::{Listing, LookOptions, print_one},
};
use crate::output::{self, Failure};

/// What is done with settings of the whole server.
#[derive(clap::Subcommand)]
pub(crate) enum ServerCommand {
    /// Show those that are not at their default.
    Show(LookOptions),
    /// Set keys of the table [server].
    Set(ServerSetArguments),
}

/// What `server set` takes.
#[derive(clap::Args)]
pub(crate) struct ServerSetArguments {
    #[command(flatten)]
    set: SetOptions,
    #[command(flatten)]
    change: ChangeOptions,
}

/// Does it.
pub(crate) fn run(command: &ServerCommand) -> Result<ExitCode, Failure> {
    match command {
        ServerCommand::Show(look) => print_one(&Place::Server, look),
        ServerCommand::Set(ServerSetArguments { set, change }) => {
            make(vec![set.change(Place::Server, BTreeMap::new())?], change)
        }
    }
}

/// What is done with listeners that differ from the defaults.
#[derive(clap::Subcommand)]
pub(crate) enum ListenerCommand {
    /// List them.
    List(LookOptions),
    /// Add one.
    Add(ListenerAddArguments),
    /// Set keys of one.
    Set(ListenerSetArguments),
    /// Remove one, so that the defaults hold there.
    Remove(ListenerRemoveArguments),
}

/// What `listener add` takes.
#[derive(clap::Args)]
pub(crate) struct ListenerAddArguments {
    /// Where it listens, as https/192.0.2.10:443.
    #[arg(value_name = "LISTENER")]
    on: String,
    /// Keys of bindery.toml: no_sni=refuse
    #[arg(value_name = "KEY=VALUE")]
    settings: Vec<Setting>,
    #[command(flatten)]
    change: ChangeOptions,
}

/// What `listener set` takes.
#[derive(clap::Args)]
pub(crate) struct ListenerSetArguments {
    /// Where it listens, as https/192.0.2.10:443.
    #[arg(value_name = "LISTENER", add = ArgValueCompleter::new(listeners))]
    on: String,
    #[command(flatten)]
    set: SetOptions,
    #[command(flatten)]
    change: ChangeOptions,
}

/// What `listener remove` takes.
#[derive(clap::Args)]
pub(crate) struct ListenerRemoveArguments {
    /// Where it listens, as https/192.0.2.10:443.
    #[arg(value_name = "LISTENER", add = ArgValueCompleter::new(listeners))]
    on: String,
    #[command(flatten)]
    change: ChangeOptions,
}

/// Does it.
pub(crate) fn run_listener(command: &ListenerCommand) -> Result<ExitCode, Failure> {
    match command {
        ListenerCommand::List(look) => list_listeners(look),
        ListenerCommand::Add(ListenerAddArguments { on, settings, change }) => {
            let act = Act::Add(fields(settings)?);
            make(vec![Change { at: Place::Listener(on.clone()), act }], change)
        }
        ListenerCommand::Set(ListenerSetArguments { on, set, change }) => {
            make(vec![set.change(Place::Listener(on.clone()), BTreeMap::new())?], change)
        }
        ListenerCommand::Remove(ListenerRemoveArguments { on, change }) => {
            make(vec![Change { at: Place::Listener(on.clone()), act: Act::Remove }], change)
        }
    }
}

fn list_listeners(look: &LookOptions) -> Result<ExitCode, Failure> {
    let all = look.look()?.listeners()?;
    if look.json {
        output::print_json(&all)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut listing = Listing::new(&["LISTENER", "RULES"]);
    for mut keys in all {
        let on = keys.remove("on").map(|own| own.as_text().unwrap_or_default().to_owned());
        let rules: Vec<_> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
        listing.row([on.unwrap_or_default(), rules.join(" ")]);
    }
    listing.print();
    Ok(ExitCode::SUCCESS)
}

/// What is done with certificates.
#[derive(clap::Subcommand)]
pub(crate) enum CertCommand {
    /// List certificates with the names they cover, their end and how many bindings show them.
    List(LookOptions),
}

/// Does it.
pub(crate) fn run_cert(command: &CertCommand) -> Result<ExitCode, Failure> {
    let CertCommand::List(look) = command;
    let all = look.look()?.certificates()?;
    if look.json {
        output::print_json(&all)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut listing = Listing::new(&["NAME", "UNTIL", "BINDINGS", "COVERS"]);
    for CertificateRecord { name, not_after, names, bindings, problems, .. } in all {
        let day = |time: String| time.split('T').next().unwrap_or_default().to_owned();
        let until = not_after.map_or_else(|| "unknown".to_owned(), day);
        let covers = if names.is_empty() { problems } else { names }.join(" ");
        listing.row([name, until, bindings.len().to_string(), covers]);
    }
    listing.print();
    Ok(ExitCode::SUCCESS)
}
