//! `bindery site`: sites as a whole.

use std::{collections::BTreeMap, process::ExitCode};

use bindery_model::{
    binding::Binding,
    change::{Act, Change, Fields, Place, Value},
    document::write,
    site::{RouteAction, SiteState},
    table::MemoryTable,
};
use clap_complete::ArgValueCompleter;

use super::{
    change::{ChangeOptions, SetOptions, Setting, fields, make, put},
    completions::{certificates, sites},
    listing::{Listing, print_fields},
};
use crate::{
    ConfigOption,
    door::Seen,
    output::{self, Failure},
};

/// What is done with sites.
#[derive(clap::Subcommand)]
pub(crate) enum SiteCommand {
    /// List sites with their bindings.
    List(ListArguments),
    /// Show one site with all that belongs to it.
    Show(ShowArguments),
    /// Add a site.
    Add(AddArguments),
    /// Set keys of a site; another name is set by name=NEW.
    Set(SetArguments),
    /// Remove sites with all that belongs to them.
    Remove(NamesArguments),
    /// Let sites answer again.
    Start(NamesArguments),
    /// Let sites answer every request with 503; their bindings stay.
    Stop(NamesArguments),
}

/// What `list` takes.
#[derive(clap::Args)]
pub(crate) struct ListArguments {
    /// Only those whose name or host has this in it.
    #[arg(value_name = "TEXT")]
    search: Option<String>,
    #[command(flatten)]
    config: ConfigOption,
    /// Print them as JSON.
    #[arg(long)]
    json: bool,
}

/// What `show` takes.
#[derive(clap::Args)]
pub(crate) struct ShowArguments {
    /// The site.
    #[arg(value_name = "SITE", add = ArgValueCompleter::new(sites))]
    site: String,
    #[command(flatten)]
    config: ConfigOption,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

/// What `add` takes.
#[derive(clap::Args)]
pub(crate) struct AddArguments {
    /// Its name.
    #[arg(value_name = "SITE")]
    site: String,
    #[command(flatten)]
    answer: AnswerOptions,
    /// A binding, as https/*:443:shop.example.com. Can be given again.
    #[arg(long, value_name = "BINDING")]
    binding: Vec<String>,
    /// The certificate of its https bindings, by name or thumbprint, or central.
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(certificates))]
    certificate: Option<String>,
    /// Its number; otherwise the next that is free.
    #[arg(long, value_name = "N")]
    id: Option<u32>,
    /// Any other keys of bindery.toml: hsts=true limits.requests_max=100
    #[arg(value_name = "KEY=VALUE")]
    settings: Vec<Setting>,
    #[command(flatten)]
    change: ChangeOptions,
}

/// What answers: of sites and of applications.
#[derive(clap::Args)]
pub(crate) struct AnswerOptions {
    /// The folder whose files it serves.
    #[arg(long, value_name = "FOLDER", value_hint = clap::ValueHint::DirPath)]
    root: Option<std::path::PathBuf>,
    /// A server that it passes requests to, as http://127.0.0.1:9000. Can be given again.
    #[arg(long, value_name = "URL")]
    proxy: Vec<String>,
}

impl AnswerOptions {
    /// As keys. A folder is meant from here, not from where the configuration is.
    pub(crate) fn put(&self, keys: &mut Fields) -> Result<(), Failure> {
        if let Some(root) = &self.root {
            let root = std::path::absolute(root)
                .map_err(|error| Failure::because("this folder cannot be told", error))?;
            // A blank component at the end would stand in the file.
            let root: std::path::PathBuf = root.components().collect();
            given(keys, "root", Value::from(root.as_path()))?;
        }
        if !self.proxy.is_empty() {
            given(keys, "proxy", Value::texts(self.proxy.iter().cloned()))?;
        }
        Ok(())
    }
}

/// Puts what an option says.
pub(crate) fn given(keys: &mut Fields, key: &str, value: Value) -> Result<(), Failure> {
    put(keys, key, value).map_err(|()| Failure::usage(format!("{key} is given twice")))
}

/// What `set` takes.
#[derive(clap::Args)]
pub(crate) struct SetArguments {
    /// The site.
    #[arg(value_name = "SITE", add = ArgValueCompleter::new(sites))]
    site: String,
    #[command(flatten)]
    set: SetOptions,
    #[command(flatten)]
    change: ChangeOptions,
}

/// What takes several sites.
#[derive(clap::Args)]
pub(crate) struct NamesArguments {
    /// The sites.
    #[arg(value_name = "SITE", required = true, add = ArgValueCompleter::new(sites))]
    sites: Vec<String>,
    #[command(flatten)]
    change: ChangeOptions,
}

/// Does it.
pub(crate) fn run(command: &SiteCommand) -> Result<ExitCode, Failure> {
    match command {
        SiteCommand::List(arguments) => list(arguments),
        SiteCommand::Show(arguments) => show(arguments),
        SiteCommand::Add(arguments) => add(arguments),
        SiteCommand::Set(SetArguments { site, set, change }) => {
            make(vec![set.change(Place::Site(site.clone()), BTreeMap::new())?], change)
        }
        SiteCommand::Remove(NamesArguments { sites, change }) => each(sites, &Act::Remove, change),
        SiteCommand::Start(NamesArguments { sites, change }) => {
            each(sites, &Act::Set(BTreeMap::from([("state".to_owned(), None)])), change)
        }
        SiteCommand::Stop(NamesArguments { sites, change }) => {
            let stopped = Some(Value::from("stopped"));
            each(sites, &Act::Set(BTreeMap::from([("state".to_owned(), stopped)])), change)
        }
    }
}

fn each(sites: &[String], act: &Act, options: &ChangeOptions) -> Result<ExitCode, Failure> {
    let change = |site: &String| Change { at: Place::Site(site.clone()), act: act.clone() };
    make(sites.iter().map(change).collect(), options)
}

fn add(arguments: &AddArguments) -> Result<ExitCode, Failure> {
    let AddArguments { site, answer, binding, certificate, id, settings, change } = arguments;
    let mut keys = fields(settings)?;
    answer.put(&mut keys)?;
    if let Some(id) = id {
        given(&mut keys, "id", Value::from(*id))?;
    }
    if !binding.is_empty() {
        let value = |on: &String| binding_value(on, certificate.as_deref());
        given(&mut keys, "bindings", Value::List(binding.iter().map(value).collect()))?;
    } else if certificate.is_some() {
        return Err(Failure::usage("--certificate needs a --binding that shows it"));
    }
    make(vec![Change { at: Place::Site(site.clone()), act: Act::Add(keys) }], change)
}

fn binding_value(on: &str, certificate: Option<&str>) -> Value {
    let secure = on.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("https"));
    match certificate {
        Some(certificate) if secure => Value::Table(Fields::from([
            ("on".to_owned(), Value::from(on)),
            ("certificate".to_owned(), Value::from(certificate)),
        ])),
        _ => Value::from(on),
    }
}

/// Sites with their places, in the order of their numbers, whose name or a host has this in it.
pub(crate) fn wanted<'a>(table: &'a MemoryTable, search: Option<&str>) -> Vec<(u32, &'a str)> {
    let search = search.unwrap_or_default().to_lowercase();
    let mut all: Vec<_> = (0_u32..).zip(&table.sites).collect();
    all.sort_by_key(|(_, site)| site.id);
    let host = |binding: &Binding| binding.information.host.to_string().contains(&search);
    all.into_iter()
        .filter(|(place, site)| {
            search.is_empty()
                || site.name.to_lowercase().contains(&search)
                || table.bindings_of(*place).any(host)
        })
        .map(|(place, site)| (place, site.name.as_str()))
        .collect()
}

fn list(arguments: &ListArguments) -> Result<ExitCode, Failure> {
    let seen = Seen::look(&arguments.config)?;
    let table = &seen.configuration().table;
    let all = wanted(table, arguments.search.as_deref());
    if arguments.json {
        let named = |(place, name): (u32, &str)| {
            let mut keys = write::site(table, place);
            keys.insert("name".to_owned(), Value::from(name));
            keys
        };
        output::print_json(&all.into_iter().map(named).collect::<Vec<_>>())?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut listing = Listing::new(&["ID", "NAME", "STATE", "ANSWERS", "BINDINGS"]);
    for (place, name) in all {
        let Some(site) = table.sites.get(place as usize) else { continue };
        let state = match site.state {
            SiteState::Started => "started",
            SiteState::Stopped => "stopped",
        };
        let bindings: Vec<_> =
            table.bindings_of(place).map(|own| own.information.to_string()).collect();
        listing.row([
            site.id.to_string(),
            name.to_owned(),
            state.to_owned(),
            answers(&site.root.action).to_owned(),
            bindings.join(" "),
        ]);
    }
    listing.print();
    Ok(ExitCode::SUCCESS)
}

/// How something answers, in a word.
pub(crate) fn answers(action: &RouteAction) -> &'static str {
    match action {
        RouteAction::Files(_) => "files",
        RouteAction::Proxy(_) => "proxy",
        RouteAction::FastCgi(_) => "fastcgi",
        RouteAction::Redirect { .. } => "redirect",
        RouteAction::Respond { .. } => "respond",
    }
}

fn show(arguments: &ShowArguments) -> Result<ExitCode, Failure> {
    let seen = Seen::look(&arguments.config)?;
    let place = Place::Site(arguments.site.clone());
    print_fields(&seen, &place, "name", arguments.json)
}
