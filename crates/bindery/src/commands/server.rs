//! `bindery server`, `bindery listener` and `bindery cert`: what is not a site's own.

use std::{collections::BTreeMap, process::ExitCode};

use bindery_control::words::{date, hex};
use bindery_model::{
    certificate::{CertificateChoice, CertificateReference},
    change::{Act, Change, Fields, Place, Value},
    document::write,
};
use bindery_server::{
    text_of,
    tls::{index::IndexedCertificates, keys::CertificateFacts},
};
use serde_json::json;

use super::{
    change::{ChangeOptions, SetOptions, Setting, fields, make},
    listing::{Listing, print_fields},
};
use crate::{
    ConfigOption,
    door::Seen,
    output::{self, Failure},
};

/// What is shown.
#[derive(clap::Args)]
pub(crate) struct ShowArguments {
    #[command(flatten)]
    config: ConfigOption,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

/// What is done with settings of the whole server.
#[derive(clap::Subcommand)]
pub(crate) enum ServerCommand {
    /// Show those that are not at their default.
    Show(ShowArguments),
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
        ServerCommand::Show(ShowArguments { config, json }) => {
            print_fields(&Seen::look(config)?, &Place::Server, "", *json)
        }
        ServerCommand::Set(ServerSetArguments { set, change }) => {
            make(vec![set.change(Place::Server, BTreeMap::new())?], change)
        }
    }
}

/// What is done with listeners that differ from the defaults.
#[derive(clap::Subcommand)]
pub(crate) enum ListenerCommand {
    /// List them.
    List(ShowArguments),
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
    #[arg(value_name = "LISTENER")]
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
    #[arg(value_name = "LISTENER")]
    on: String,
    #[command(flatten)]
    change: ChangeOptions,
}

/// Does it.
pub(crate) fn run_listener(command: &ListenerCommand) -> Result<ExitCode, Failure> {
    match command {
        ListenerCommand::List(arguments) => list_listeners(arguments),
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

fn list_listeners(arguments: &ShowArguments) -> Result<ExitCode, Failure> {
    let seen = Seen::look(&arguments.config)?;
    let configuration = seen.configuration();
    let all = configuration.listeners.iter().map(|own| {
        let on = format!("{}/{}", own.protocol, own.endpoint);
        let keys = write::fields(configuration, &Place::Listener(on.clone()));
        (on, keys.unwrap_or_default())
    });
    if arguments.json {
        let named = all.map(|(on, mut keys)| {
            keys.insert("on".to_owned(), Value::from(on));
            keys
        });
        output::print_json(&named.collect::<Vec<Fields>>())?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut listing = Listing::new(&["LISTENER", "RULES"]);
    for (on, keys) in all {
        let rules: Vec<_> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
        listing.row([on, rules.join(" ")]);
    }
    listing.print();
    Ok(ExitCode::SUCCESS)
}

/// What is done with certificates.
#[derive(clap::Subcommand)]
pub(crate) enum CertCommand {
    /// List certificates with the names they cover, their end and the bindings that name them.
    List(ShowArguments),
}

/// Does it.
pub(crate) fn run_cert(command: &CertCommand) -> Result<ExitCode, Failure> {
    let CertCommand::List(ShowArguments { config, json }) = command;
    let seen = Seen::look(config)?;
    let table = &seen.configuration().table;
    let read = IndexedCertificates::read(&table.certificates);
    let mut listing = Listing::new(&["NAME", "UNTIL", "BINDINGS", "COVERS"]);
    let mut records = Vec::new();
    for ((place, source), entry) in (0..).zip(&table.certificates).zip(&read.entries) {
        let facts: Option<&CertificateFacts> = entry.as_ref().and_then(|own| own.as_deref().ok());
        let names = |reference: &CertificateReference| match reference {
            CertificateReference::Source(id) => id.0 == place,
            CertificateReference::Thumbprint(own) => facts.is_some_and(|f| f.thumbprint == *own),
            CertificateReference::Fingerprint(own) => facts.is_some_and(|f| f.fingerprint == *own),
        };
        let naming = table.bindings.iter().filter(|binding| match &binding.certificate {
            CertificateChoice::Listed(all) => all.iter().any(names),
            CertificateChoice::Best | CertificateChoice::Central | CertificateChoice::None => false,
        });
        let naming: Vec<_> = naming.map(|binding| binding.information.to_string()).collect();
        let problem = match entry {
            Some(Err(error)) => Some(text_of(&**error)),
            Some(Ok(_)) | None => None,
        };
        if *json {
            records.push(json!({
                "name": source.name,
                "file": source.files.file,
                "names": facts.map(|facts| &facts.names),
                "not_after": facts.map(|facts| date(facts.not_after)),
                "thumbprint": facts.map(|facts| hex(&facts.thumbprint)),
                "fingerprint": facts.map(|facts| hex(&facts.fingerprint)),
                "bindings": naming,
                "problem": problem,
            }));
            continue;
        }
        let until = facts.map_or_else(|| "unknown".to_owned(), |facts| date(facts.not_after));
        let covers = facts.map(|facts| facts.names.join(" ")).or(problem).unwrap_or_default();
        listing.row([source.name.clone(), until, naming.len().to_string(), covers]);
    }
    match json {
        true => output::print_json(&records)?,
        false => listing.print(),
    }
    Ok(ExitCode::SUCCESS)
}
