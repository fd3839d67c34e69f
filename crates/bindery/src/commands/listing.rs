//! What commands show: one thing with its keys, or many in columns, a table on a terminal and one line
//! for each thing in a pipe.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal as _},
    process::ExitCode,
};

use bindery_control::things;
use bindery_model::change::{Difference, Entry, Fields, How, Place, Value};
use clap_complete::ArgValueCompleter;

use super::{
    completions::sites,
    steps::{COLUMNS, wrapped},
};
use crate::{
    ConfigOption,
    door::Things,
    output::{self, Failure},
};

/// Between two columns.
const GAP: usize = 2;

/// A list in the making.
pub(crate) struct Listing {
    heads: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

impl Listing {
    /// A list with these columns. The last one takes texts of any length.
    pub(crate) fn new(heads: &'static [&'static str]) -> Self {
        Self { heads, rows: Vec::new() }
    }

    /// One more line.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Prints it.
    pub(crate) fn print(&self) {
        let terminal = io::stdout().is_terminal();
        output::print(self.text(terminal, output::is_colourful()));
    }

    fn text(&self, terminal: bool, colour: bool) -> String {
        let columns = self.heads.len();
        let heads = terminal.then(|| self.heads.iter().map(ToString::to_string).collect());
        let all: Vec<&Vec<String>> = heads.iter().chain(&self.rows).collect();
        let width = |place: usize| {
            let cells = all.iter().filter_map(|row| row.get(place));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<_> = (0..columns.saturating_sub(1)).map(width).collect();
        let last_at: usize = widths.iter().map(|width| width + GAP).sum();
        let mut out = String::new();
        for (place, row) in all.iter().enumerate() {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                write!(line, "{cell:<0$}", width + GAP).ok();
            }
            let last = row.get(widths.len()).map(String::as_str).unwrap_or_default();
            // A column that leaves nothing to the last one makes lines longer than the terminal.
            match terminal && last_at + 20 <= COLUMNS {
                true => {
                    let lines = wrapped(last, COLUMNS - last_at);
                    line.push_str(&lines.join(&format!("\n{:last_at$}", "")));
                }
                false => line.push_str(last),
            }
            let line = line.trim_end();
            match colour && terminal && place == 0 {
                true => writeln!(out, "\u{1b}[1m{line}\u{1b}[0m"),
                false => writeln!(out, "{line}"),
            }
            .ok();
        }
        out
    }
}

/// What every command takes that only looks.
#[derive(clap::Args)]
pub(crate) struct LookOptions {
    #[command(flatten)]
    config: ConfigOption,
    /// Print it as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

impl LookOptions {
    /// What is in force, thing by thing.
    pub(crate) fn look(&self) -> Result<Things, Failure> {
        Things::look(&self.config)
    }
}

/// What takes all there is, or what one site has.
#[derive(clap::Args)]
pub(crate) struct OfSiteArguments {
    /// Only those of this site.
    #[arg(value_name = "SITE", add = ArgValueCompleter::new(sites))]
    site: Option<String>,
    #[command(flatten)]
    pub(crate) look: LookOptions,
}

impl OfSiteArguments {
    /// What `of` finds in each site that is meant, with the name of its site.
    pub(crate) fn found(
        &self,
        of: impl Fn(&Fields) -> Vec<Fields>,
    ) -> Result<Vec<(String, Fields)>, Failure> {
        let sites = self.look.look()?.site_or_all(self.site.as_deref())?;
        let named = |site: &Fields| -> Vec<_> {
            let name = things::text(site, "name");
            of(site).into_iter().map(|own| (name.to_owned(), own)).collect()
        };
        Ok(sites.iter().flat_map(named).collect())
    }
}

/// Prints things of sites as JSON.
pub(crate) fn print_of_sites(found: Vec<(String, Fields)>) -> Result<ExitCode, Failure> {
    let with_site = |(site, mut keys): (String, Fields)| {
        keys.insert("site".to_owned(), Value::Text(site));
        keys
    };
    output::print_json(&found.into_iter().map(with_site).collect::<Vec<_>>())?;
    Ok(ExitCode::SUCCESS)
}

/// Prints one thing with its keys.
pub(crate) fn print_one(at: &Place, look: &LookOptions) -> Result<ExitCode, Failure> {
    let mut keys = look.look()?.one(at)?;
    if look.json {
        output::print_json(&keys)?;
    } else {
        if let Some(name) = things::naming_key(at) {
            keys.remove(name);
        }
        output::print(keys_text(at, keys));
    }
    Ok(ExitCode::SUCCESS)
}

/// A thing with its keys, as a difference shows what is new.
fn keys_text(at: &Place, keys: Fields) -> String {
    let text = Difference(vec![Entry { at: at.clone(), how: How::Added(keys) }]).to_string();
    let lines = text.lines().enumerate().map(|(place, line)| match place {
        0 => line.strip_prefix("+ ").unwrap_or(line),
        _ => line.strip_prefix("  ").unwrap_or(line),
    });
    lines.map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing() -> Listing {
        let mut listing = Listing::new(&["ID", "NAME", "BINDINGS"]);
        let long = ["https/*:443:a.example"; 4].join(" ");
        listing.row(["1".to_owned(), "a".to_owned(), long]);
        listing.row(["10".to_owned(), "shop".to_owned(), String::new()]);
        listing
    }

    #[test]
    fn on_a_terminal_it_has_a_head_and_fits() {
        let text = "\
ID  NAME  BINDINGS
1   a     https/*:443:a.example https/*:443:a.example https/*:443:a.example
          https/*:443:a.example
10  shop
";
        assert_eq!(listing().text(true, false), text);
        assert!(listing().text(true, true).starts_with("\u{1b}[1mID  NAME  BINDINGS\u{1b}[0m\n"));
    }

    #[test]
    fn in_a_pipe_each_thing_is_a_line() {
        let text = "\
1   a     https/*:443:a.example https/*:443:a.example https/*:443:a.example https/*:443:a.example
10  shop
";
        assert_eq!(listing().text(false, true), text);
    }
}
