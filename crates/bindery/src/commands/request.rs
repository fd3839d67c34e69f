//! `bindery request`: requests under way.

use std::process::ExitCode;

use bindery_control::api::RequestRecord;
use clap_complete::ArgValueCompleter;

use super::{completions::sites, listing::Listing};
use crate::{
    ConfigOption,
    door::running,
    output::{self, Failure},
};

/// What is said where there is no server to ask.
pub(crate) const NO_SERVER: &str = "no server runs with this configuration, so no request is \
                                    under way";

/// What is done with requests.
#[derive(clap::Subcommand)]
pub(crate) enum RequestCommand {
    /// List those that take time, the longest first.
    List(ListArguments),
}

/// What `request list` takes.
#[derive(clap::Args)]
pub(crate) struct ListArguments {
    /// Those of this site.
    #[arg(long, value_name = "SITE", add = ArgValueCompleter::new(sites))]
    site: Option<String>,
    /// Those that take so many milliseconds already.
    #[arg(long, value_name = "MS")]
    elapsed: Option<u64>,
    /// Those whose host or URL has this in it.
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    #[command(flatten)]
    config: ConfigOption,
    /// Print them as JSON.
    #[arg(long)]
    json: bool,
}

/// Does it.
pub(crate) fn run(command: &RequestCommand) -> Result<ExitCode, Failure> {
    let RequestCommand::List(ListArguments { site, elapsed, search, config, json }) = command;
    let found =
        running(config, |client| client.requests(site.as_deref(), *elapsed, search.as_deref()))?;
    if found.is_none() {
        output::note(format_args!("bindery: {NO_SERVER}"));
    }
    let mut all = found.unwrap_or_default();
    all.sort_by_key(|own| std::cmp::Reverse(own.elapsed_ms));
    if *json {
        output::print_json(&all)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut listing = Listing::new(&["ID", "SITE", "MS", "CLIENT", "REQUEST"]);
    for RequestRecord { id, site, site_id, method, host, url, client, elapsed_ms } in all {
        listing.row([
            id,
            site.unwrap_or_else(|| site_id.to_string()),
            elapsed_ms.to_string(),
            client.to_string(),
            format!("{method} {host}{url}"),
        ]);
    }
    listing.print();
    Ok(ExitCode::SUCCESS)
}
