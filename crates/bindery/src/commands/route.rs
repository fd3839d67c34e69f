//! `bindery app` and `bindery vdir`: what answers at the paths of a site.

use std::{collections::BTreeMap, process::ExitCode};

use bindery_model::{
    change::{Act, Change, Fields, Place, Value},
    document::write,
    site::{RouteAction, RouteKind},
};
use clap_complete::ArgValueCompleter;

use super::{
    change::{ChangeOptions, SetOptions, Setting, fields, make},
    completions::sites,
    listing::{Listing, print_fields},
    site::{AnswerOptions, answers, wanted},
};
use crate::{
    ConfigOption,
    door::Seen,
    output::{self, Failure},
};

/// What is done with applications, or virtual directories.
#[derive(clap::Subcommand)]
pub(crate) enum RouteCommand {
    /// List them.
    List(ListArguments),
    /// Show one.
    Show(ShowArguments),
    /// Add one to a site.
    Add(AddArguments),
    /// Set keys of one; path=NEW moves it.
    Set(SetArguments),
    /// Remove one.
    Remove(RemoveArguments),
}

/// What `list` takes.
#[derive(clap::Args)]
pub(crate) struct ListArguments {
    /// Only those of this site.
    #[arg(value_name = "SITE", add = ArgValueCompleter::new(sites))]
    site: Option<String>,
    #[command(flatten)]
    config: ConfigOption,
    /// Print them as JSON.
    #[arg(long)]
    json: bool,
}

/// Which one.
#[derive(clap::Args)]
pub(crate) struct Which {
    /// The site.
    #[arg(value_name = "SITE", add = ArgValueCompleter::new(sites))]
    site: String,
    /// Its path, as /shop.
    #[arg(value_name = "PATH")]
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
    config: ConfigOption,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
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
        RouteCommand::Show(ShowArguments { which, config, json }) => {
            print_fields(&Seen::look(config)?, &which.place(kind), "path", *json)
        }
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

fn list(kind: RouteKind, arguments: &ListArguments) -> Result<ExitCode, Failure> {
    let seen = Seen::look(&arguments.config)?;
    let table = &seen.configuration().table;
    let is_wanted = |name: &str| match &arguments.site {
        None => true,
        Some(own) => own.to_lowercase() == name.to_lowercase(),
    };
    let sites = wanted(table, None).into_iter().filter(|(_, name)| is_wanted(name));
    let all = sites.filter_map(|(place, _)| table.sites.get(place as usize)).flat_map(|site| {
        let own = site.routes.iter().filter(move |route| route.kind == kind);
        own.map(move |route| (site, route))
    });
    if arguments.json {
        let keys = all.map(|(site, route)| {
            let which = Which { site: site.name.clone(), path: route.path.clone() };
            let mut keys = write::fields(seen.configuration(), &which.place(kind));
            if let Some(keys) = &mut keys {
                keys.insert("site".to_owned(), Value::from(which.site));
                keys.insert("path".to_owned(), Value::from(which.path));
            }
            keys.unwrap_or_default()
        });
        output::print_json(&keys.collect::<Vec<Fields>>())?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut listing = Listing::new(&["SITE", "PATH", "ANSWERS", "BY"]);
    for (site, route) in all {
        let by = match &route.action {
            RouteAction::Files(files) => files.root.display().to_string(),
            RouteAction::Redirect { to, .. } => to.clone(),
            RouteAction::Proxy(_) | RouteAction::FastCgi(_) | RouteAction::Respond { .. } => {
                String::new()
            }
        };
        let word = answers(&route.action).to_owned();
        listing.row([site.name.clone(), route.path.clone(), word, by]);
    }
    listing.print();
    Ok(ExitCode::SUCCESS)
}
