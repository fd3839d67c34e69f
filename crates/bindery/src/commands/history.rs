//! `bindery history`, `bindery undo` and `bindery diff`: what was changed, and back.

use std::{
    fmt::Write as _,
    process::ExitCode,
    time::{Duration, UNIX_EPOCH},
};

use bindery_control::{
    applier::What,
    history::{Door as By, Record},
    problems::all_placed,
    words::timestamp,
};
use bindery_model::{
    change::How,
    document::{Document, write},
    problem::Severity,
};
use serde_json::json;

use super::{
    change::{ChangeOptions, coloured, make_at, problems_text},
    listing::Listing,
};
use crate::{
    ConfigOption,
    door::{Door, NotMade, past, unread},
    output::{self, Failure},
};

/// What `history` takes.
#[derive(clap::Args)]
pub(crate) struct HistoryArguments {
    /// So many changes, newest first: 1 to 1000.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1000))]
    count: u16,
    /// Only those from before this revision.
    #[arg(long, value_name = "REV")]
    before: Option<u64>,
    #[command(flatten)]
    config: ConfigOption,
    /// Print them as JSON.
    #[arg(long)]
    json: bool,
}

/// Lists changes.
pub(crate) fn history(arguments: &HistoryArguments) -> Result<ExitCode, Failure> {
    let HistoryArguments { count, before, ref config, .. } = *arguments;
    let records = match past(config)? {
        Some(past) => past.history(before, count.into()).map_err(unread)?,
        None => Door::open(config, By::Cli)?.history(before, count.into())?,
    };
    if arguments.json {
        output::print_json(&records)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut listing = Listing::new(&["REV", "WHEN", "WHO", "DOOR", "WHAT"]);
    for record in &records {
        let Record { revision, at, actor, .. } = record;
        let when = timestamp(UNIX_EPOCH + Duration::from_secs(*at));
        listing.row([
            revision.to_string(),
            when,
            actor.name.clone(),
            door_name(actor.door).to_owned(),
            summary(record),
        ]);
    }
    listing.print();
    Ok(ExitCode::SUCCESS)
}

fn door_name(door: By) -> &'static str {
    match door {
        By::Start => "start",
        By::File => "file",
        By::Cli => "cli",
        By::Api => "api",
        By::Appcmd => "appcmd",
        By::Netsh => "netsh",
    }
}

/// What a change did, in a line.
fn summary(record: &Record) -> String {
    /// So many things are named.
    const NAMED: usize = 3;
    let mut text = String::new();
    if let Some(to) = record.undo_to {
        write!(text, "undo to {to}: ").ok();
    }
    let entries = &record.difference.0;
    let named = entries.iter().take(NAMED).map(|entry| {
        let mark = match entry.how {
            How::Added(_) => '+',
            How::Removed(_) => '-',
            How::Changed(_) => '~',
        };
        format!("{mark} {}", entry.at)
    });
    text.push_str(&named.collect::<Vec<_>>().join(", "));
    if entries.len() > NAMED {
        write!(text, " and {} more", entries.len() - NAMED).ok();
    }
    if entries.is_empty() {
        text.push_str(match record.actor.door {
            By::Start => "as the server found it",
            _ => "comments, order or white space",
        });
    }
    text
}

/// What `undo` takes.
#[derive(clap::Args)]
pub(crate) struct UndoArguments {
    /// The revision to go back to; otherwise the one before the last change.
    #[arg(value_name = "REV")]
    to: Option<u64>,
    #[command(flatten)]
    change: ChangeOptions,
}

/// Goes back, which is a change of its own.
pub(crate) fn undo(arguments: &UndoArguments) -> Result<ExitCode, Failure> {
    let UndoArguments { to, change } = arguments;
    let door = Door::open(&change.config, By::Cli)?;
    let to = match to {
        Some(to) => *to,
        None => door.history(None, 2)?.get(1).map(|record| record.revision).ok_or_else(|| {
            Failure::new("there is nothing to go back to: the history has no earlier revision")
        })?,
    };
    make_at(&door, What::Undo(to), change)
}

/// What `diff` takes.
#[derive(clap::Args)]
pub(crate) struct DiffArguments {
    /// The first of the two; otherwise what is in force.
    #[arg(value_name = "REV")]
    from: Option<u64>,
    /// The other one; otherwise what is in force, or the file where no revision is named.
    #[arg(value_name = "REV")]
    to: Option<u64>,
    #[command(flatten)]
    config: ConfigOption,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

/// Shows what differs.
pub(crate) fn diff(arguments: &DiffArguments) -> Result<ExitCode, Failure> {
    let DiffArguments { from, to, config, json } = arguments;
    // What was needs no file without errors.
    let past = if from.is_some() && to.is_some() { past(config)? } else { None };
    let difference = match (from, to, past) {
        (Some(from), Some(to), Some(past)) => {
            past.difference(*from, *to).map_err(|refused| Failure::from(NotMade::from(refused)))?
        }
        (Some(from), ..) => Door::open(config, By::Cli)?.difference(*from, *to)?,
        (None, ..) => {
            let seen = Door::open(config, By::Cli)?.seen()?;
            let text = seen.home.text();
            let text =
                text.map_err(|error| Failure::because("the file cannot be compared", error))?;
            let Document { configuration, problems, .. } = seen.read(&text)?;
            // What it would be without them nobody knows: a file that is cut off has no sites.
            let errors = problems.iter().filter(|one| one.severity() == Severity::Error);
            let errors = all_placed(errors, &seen.home.path.display().to_string(), &text);
            if !errors.is_empty() {
                output::note_text(&problems_text(&errors));
                return Err(Failure::new("the file has errors and cannot be compared"));
            }
            write::difference(seen.configuration(), &configuration)
        }
    };
    match json {
        true => output::print_json(&json!({ "difference": difference }))?,
        false if difference.0.is_empty() => output::print("nothing differs\n"),
        false => {
            output::print(coloured(&difference.to_string(), output::is_colourful()));
        }
    }
    Ok(ExitCode::SUCCESS)
}
