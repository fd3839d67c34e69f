//! `bindery app` and `bindery vdir`: what answers at the paths of a site.

use std::{collections::BTreeMap, process::ExitCode};

use bindery_control::things::{self, text};
use bindery_model::{
    change::{Act, Change, Place, Value},
    site::RouteKind,
};
use clap_complete::ArgValueCompleter;

use super::{
    change::{ChangeOptions, SetOptions, Setting, fields, make},
    completions::{paths, sites},
    listing::{Listing, LookOptions, OfSiteArguments, print_of_sites, print_one},
    site::{AnswerOptions, answers},
};
use crate::output::Failure;

/// What is done with applications, or virtual directories.
#[derive(clap::Subcommand)]
pub(crate) enum RouteCommand {
    /// List them.
    List(OfSiteArguments),
    /// Show one.
    Show(ShowArguments),
    /// Add one to a site.
    Add(AddArguments),
    /// Set keys of one; path=NEW moves it.
    Set(SetArguments),
    /// Remove one.
    Remove(RemoveArguments),
}

/// Which one.
#[derive(clap::Args)]
pub(crate) struct Which {
    /// The site.
    #[arg(value_name = "SITE", add = ArgValueCompleter::new(sites))]
    site: String,
    /// Its path, as /shop.
    #[arg(value_name = "PATH", add = ArgValueCompleter::new(paths))]
    path: String,
}

impl Which {
    fn place(&self, kind: RouteKind) -> Place {
        let (site, path) = (self.site.clone(), self.path.clone());
        match kind {
            RouteKind::Application => Place::Application { site, path },
            RouteKind::VirtualDirectory => Place::VirtualDirectory { site, path },
        }
    }
}

/// What `show` takes.
#[derive(clap::Args)]
pub(crate) struct ShowArguments {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    look: LookOptions,
}

/// What `add` takes.
#[derive(clap::Args)]
pub(crate) struct AddArguments {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    answer: AnswerOptions,
    /// Any other keys of bindery.toml.
    #[arg(value_name = "KEY=VALUE")]
    settings: Vec<Setting>,
    #[command(flatten)]
    change: ChangeOptions,
}

/// What `set` takes.
#[derive(clap::Args)]
pub(crate) struct SetArguments {
    #[command(flatten)]
    which: Which,
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

/// Does it with one of the two kinds.
pub(crate) fn run(kind: RouteKind, command: &RouteCommand) -> Result<ExitCode, Failure> {
    match command {
        RouteCommand::List(arguments) => list(kind, arguments),
        RouteCommand::Show(ShowArguments { which, look }) => print_one(&which.place(kind), look),
        RouteCommand::Add(AddArguments { which, answer, settings, change }) => {
            let mut keys = fields(settings)?;
            answer.put(&mut keys)?;
            make(vec![Change { at: which.place(kind), act: Act::Add(keys) }], change)
        }
        RouteCommand::Set(SetArguments { which, set, change }) => {
            make(vec![set.change(which.place(kind), BTreeMap::new())?], change)
        }
        RouteCommand::Remove(RemoveArguments { which, change }) => {
            make(vec![Change { at: which.place(kind), act: Act::Remove }], change)
        }
    }
}

fn list(kind: RouteKind, arguments: &OfSiteArguments) -> Result<ExitCode, Failure> {
    let all = arguments.found(|site| things::routes(site, kind))?;
    if arguments.look.json {
        return print_of_sites(all);
    }
    let mut listing = Listing::new(&["SITE", "PATH", "ANSWERS", "BY"]);
    for (site, keys) in all {
        let word = answers(&keys);
        let by = match keys.get(if word == "files" { "root" } else { word }) {
            // What is answered is no place to look at.
            _ if word == "respond" => String::new(),
            Some(Value::Text(text)) => text.clone(),
            Some(Value::List(all)) => {
                let texts: Vec<_> = all.iter().filter_map(Value::as_text).collect();
                texts.join(" ")
            }
            Some(Value::Table(own)) => text(own, "to").to_owned(),
            Some(Value::Boolean(_) | Value::Integer(_)) | None => String::new(),
        };
        listing.row([site, text(&keys, "path").to_owned(), word.to_owned(), by]);
    }
    listing.print();
    Ok(ExitCode::SUCCESS)
}
