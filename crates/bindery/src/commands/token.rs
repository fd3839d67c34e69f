//! `bindery token`: tokens of those who ask the API on the loopback address. They are made and taken
//! back in the state folder; a server that runs sees it at the next request.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bindery_control::{
    api::{Role, Token, TokenError, TokenFile},
    words::date,
};
use bindery_server::clock;
use serde_json::json;

use crate::{
    ConfigOption,
    output::{self, Failure},
};

/// A token that lives longer than ten years is one without an end.
const DAYS_MAX: i64 = 3650;

/// What `token` takes.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Make a token, and print what its owner sends: once.
    Add {
        /// Its name, which stands in the history of changes.
        #[arg(value_name = "NAME")]
        name: String,
        /// What it may do.
        #[arg(long, value_name = "ROLE")]
        role: RoleArgument,
        /// After so many days it ends; otherwise it has no end.
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=DAYS_MAX))]
        days: Option<u32>,
        #[command(flatten)]
        how: How,
        #[command(flatten)]
        of: Of,
    },
    /// Show the tokens that there are, without what their owners send.
    List {
        /// Print all of it as JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        of: Of,
    },
    /// Take a token back: from now on it is wrong.
    Remove {
        /// Its name.
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        how: How,
        #[command(flatten)]
        of: Of,
    },
}

/// How a token is made or taken back.
#[derive(clap::Args)]
struct How {
    /// Say what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print what became of it as JSON.
    #[arg(long)]
    json: bool,
}

impl How {
    /// Says what became of a token; `sent` is what its owner sends, where it was made.
    fn said(&self, done: &str, name: &str, sent: Option<&str>) -> Result<(), Failure> {
        let Self { dry_run, json } = *self;
        match (json, sent) {
            (true, _) => {
                let told = json!({ "name": name, "changed": !dry_run, "token": sent });
                output::print_json(&told)
            }
            (false, Some(sent)) => {
                output::note(format_args!("This is shown once; the server keeps its hash only."));
                output::print(format_args!("{sent}\n"));
                Ok(())
            }
            (false, None) => {
                if dry_run {
                    output::print(format_args!("{done} token {name}\nthis was a dry run\n"));
                }
                Ok(())
            }
        }
    }
}

/// Whose tokens.
#[derive(clap::Args)]
struct Of {
    #[command(flatten)]
    config: ConfigOption,
    /// The state folder of the server; otherwise the configuration says it.
    #[arg(long, value_name = "FOLDER")]
    state_dir: Option<PathBuf>,
}

/// A role by its name.
#[derive(Clone, Copy, clap::ValueEnum)]
enum RoleArgument {
    /// Look at everything.
    Read,
    /// Start and stop sites too.
    Operate,
    /// Change everything.
    Admin,
}

impl From<RoleArgument> for Role {
    fn from(argument: RoleArgument) -> Self {
        match argument {
            RoleArgument::Read => Self::Read,
            RoleArgument::Operate => Self::Operate,
            RoleArgument::Admin => Self::Admin,
        }
    }
}

/// Makes, shows or takes back.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    match &arguments.what {
        What::Add { name, how, of, .. } if how.dry_run => {
            of.tokens()?.can_add(name).map_err(failure)?;
            how.said("+", name, None)?;
        }
        What::Add { name, role, days, how, of } => {
            let day = |days: &u32| Duration::from_secs(u64::from(*days) * 86_400);
            let expires = days.as_ref().map(|days| clock::now() + day(days));
            let sent = of.tokens()?.add(name, (*role).into(), expires).map_err(failure)?;
            how.said("+", name, Some(&sent))?;
        }
        What::List { json, of } => {
            let all = of.tokens()?.list().map_err(failure)?;
            if *json {
                output::print_json(&all)?;
            } else {
                output::print(text(&all, clock::now()));
            }
        }
        What::Remove { name, how, of } => {
            let tokens = of.tokens()?;
            match how.dry_run {
                true => tokens.can_remove(name),
                false => tokens.remove(name),
            }
            .map_err(failure)?;
            how.said("-", name, None)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl Of {
    fn tokens(&self) -> Result<TokenFile, Failure> {
        let folder = match &self.state_dir {
            Some(folder) => folder.clone(),
            None => {
                let (home, settings) = self.config.find()?;
                home.state_folder(&settings)
            }
        };
        expect_folder(&folder)?;
        Ok(TokenFile::of(&folder))
    }
}

/// The folder is made by the server, for the user that it runs as.
fn expect_folder(folder: &Path) -> Result<(), Failure> {
    if folder.is_dir() {
        return Ok(());
    }
    let folder = folder.display();
    Err(Failure::new(format!("there is no state folder {folder}; start the server once")))
}

fn failure(error: TokenError) -> Failure {
    let what = error.to_string();
    match error {
        TokenError::Io { source, .. } => Failure::because(what, source),
        _ => Failure::new(what),
    }
}

/// A line for each.
fn text(all: &[Token], now: SystemTime) -> String {
    let width = all.iter().map(|token| token.name.len()).max().unwrap_or_default();
    let at = |seconds: u64| UNIX_EPOCH + Duration::from_secs(seconds);
    let mut out = String::new();
    for Token { name, role, created, expires } in all {
        let end = match expires.map(at) {
            None => "no end".to_owned(),
            Some(end) if end <= now => format!("ended {}", date(end)),
            Some(end) => format!("ends {}", date(end)),
        };
        let (role, made) = (role.word(), date(at(*created)));
        // Writing to a string does not fail.
        writeln!(out, "{name:width$}  {role:7}  made {made}  {end}").ok();
    }
    out
}
