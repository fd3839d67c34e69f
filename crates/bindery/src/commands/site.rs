//! `bindery site`: sites as a whole.

use std::{collections::BTreeMap, process::ExitCode};

use bindery_control::things::{self, text};
use bindery_model::change::{Act, Change, Fields, Place, Value};
use clap_complete::ArgValueCompleter;

use super::{
    change::{ChangeOptions, SetOptions, Setting, fields, make, put},
    completions::{certificates, sites},
    listing::{Listing, LookOptions, print_one},
};
use crate::output::{self, Failure};

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
    look: LookOptions,
}

/// What `show` takes.
#[derive(clap::Args)]
pub(crate) struct ShowArguments {
    /// The site.
    #[arg(value_name = "SITE", add = ArgValueCompleter::new(sites))]
    site: String,
    #[command(flatten)]
    look: LookOptions,
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
        SiteCommand::Show(ShowArguments { site, look }) => {
            print_one(&Place::Site(site.clone()), look)
        }
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

fn list(arguments: &ListArguments) -> Result<ExitCode, Failure> {
    let ListArguments { search, look } = arguments;
    let all = look.look()?.sites(search.as_deref())?;
    if look.json {
        output::print_json(&all)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut listing = Listing::new(&["ID", "NAME", "STATE", "ANSWERS", "BINDINGS"]);
    for site in all {
        let id = site.get("id").map(Value::to_string).unwrap_or_default();
        let state = match text(&site, "state") {
            "" => "started",
            state => state,
        };
        let bindings = things::bindings(&site);
        let bindings: Vec<_> = bindings.iter().map(|own| text(own, "on")).collect();
        let (name, word) = (text(&site, "name"), answers(&site));
        listing.row([id, name.to_owned(), state.to_owned(), word.to_owned(), bindings.join(" ")]);
    }
    listing.print();
    Ok(ExitCode::SUCCESS)
}

/// How a site or application with these keys answers, in a word.
pub(crate) fn answers(keys: &Fields) -> &'static str {
    // The folder of a site is where the scripts of its fastcgi are, too.
    let words = ["fastcgi", "proxy", "redirect", "respond"];
    words.into_iter().find(|word| keys.contains_key(*word)).unwrap_or("files")
}
