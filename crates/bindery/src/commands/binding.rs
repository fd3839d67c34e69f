//! `bindery binding`: what a site answers on, with which certificate.

use std::{collections::BTreeMap, process::ExitCode};

use bindery_control::things::{self, text};
use bindery_model::change::{Act, Change, Place, Value};
use clap_complete::ArgValueCompleter;

use super::{
    change::{ChangeOptions, SetOptions, Setting, fields, make},
    completions::{bindings, certificates, sites},
    listing::{Listing, OfSiteArguments, print_of_sites},
    site::given,
};
use crate::output::Failure;

/// What is done with bindings.
#[derive(clap::Subcommand)]
pub(crate) enum BindingCommand {
    /// List bindings with their certificates.
    List(OfSiteArguments),
    /// Add a binding to a site.
    Add(AddArguments),
    /// Set keys of a binding; on=NEW makes it another.
    Set(SetArguments),
    /// Remove a binding.
    Remove(RemoveArguments),
}

/// Which binding.
#[derive(clap::Args)]
pub(crate) struct Which {
    /// The site.
    #[arg(value_name = "SITE", add = ArgValueCompleter::new(sites))]
    site: String,
    /// The binding, as https/*:443:shop.example.com.
    #[arg(value_name = "BINDING", add = ArgValueCompleter::new(bindings))]
    on: String,
}

impl Which {
    fn place(&self) -> Place {
        Place::Binding { site: self.site.clone(), on: self.on.clone() }
    }
}

/// What `add` takes.
#[derive(clap::Args)]
pub(crate) struct AddArguments {
    /// The site.
    #[arg(value_name = "SITE", add = ArgValueCompleter::new(sites))]
    site: String,
    /// The binding, as https/*:443:shop.example.com.
    #[arg(value_name = "BINDING")]
    on: String,
    #[command(flatten)]
    certificate: CertificateOption,
    /// Any other keys of bindery.toml: tls.minimum=1.3
    #[arg(value_name = "KEY=VALUE")]
    settings: Vec<Setting>,
    #[command(flatten)]
    change: ChangeOptions,
}

/// Which certificate.
#[derive(clap::Args)]
pub(crate) struct CertificateOption {
    /// Its certificate, by name or thumbprint, or central; otherwise the best that covers the host.
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(certificates))]
    certificate: Option<String>,
}

/// What `set` takes.
#[derive(clap::Args)]
pub(crate) struct SetArguments {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    certificate: CertificateOption,
    #[command(flatten)]
    set: SetOptions,
    #[command(flatten)]
    change: ChangeOptions,
}

/// What `remove` takes.
#[derive(clap::Args)]
pub(crate) struct RemoveArguments {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    change: ChangeOptions,
}

/// Does it.
pub(crate) fn run(command: &BindingCommand) -> Result<ExitCode, Failure> {
    match command {
        BindingCommand::List(arguments) => list(arguments),
        BindingCommand::Add(AddArguments { site, on, certificate, settings, change }) => {
            let mut keys = fields(settings)?;
            if let Some(certificate) = &certificate.certificate {
                given(&mut keys, "certificate", Value::from(certificate.as_str()))?;
            }
            let at = Place::Binding { site: site.clone(), on: on.clone() };
            make(vec![Change { at, act: Act::Add(keys) }], change)
        }
        BindingCommand::Set(SetArguments { which, certificate, set, change }) => {
            let certificate = certificate.certificate.as_ref();
            let own = certificate.map(|own| ("certificate".to_owned(), Some(own.as_str().into())));
            make(vec![set.change(which.place(), BTreeMap::from_iter(own))?], change)
        }
        BindingCommand::Remove(RemoveArguments { which, change }) => {
            make(vec![Change { at: which.place(), act: Act::Remove }], change)
        }
    }
}

fn list(arguments: &OfSiteArguments) -> Result<ExitCode, Failure> {
    let all = arguments.found(things::bindings)?;
    if arguments.look.json {
        return print_of_sites(all);
    }
    let mut listing = Listing::new(&["SITE", "BINDING", "CERTIFICATE"]);
    for (site, keys) in all {
        let on = text(&keys, "on");
        let certificate = match keys.get("certificate") {
            None if on.starts_with("https/") => "the best".to_owned(),
            None => String::new(),
            Some(Value::Text(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        listing.row([site, on.to_owned(), certificate]);
    }
    listing.print();
    Ok(ExitCode::SUCCESS)
}
