//! Lists of things in columns: a table on a terminal, one line for each thing in a pipe.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal as _},
    process::ExitCode,
};

use bindery_model::{
    change::{Difference, Entry, Fields, How, Place, Value},
    document::write,
};

use crate::{
    commands::steps::{COLUMNS, wrapped},
    door::Seen,
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

/// Prints one thing with its keys, `name` being the one that names it.
pub(crate) fn print_fields(
    seen: &Seen,
    at: &Place,
    name: &str,
    json: bool,
) -> Result<ExitCode, Failure> {
    let Some(mut keys) = write::fields(seen.configuration(), at) else {
        let message = format!("there is no {at}; `bindery site list` shows what there is");
        return Err(Failure::new(message));
    };
    if json {
        let own = match at {
            Place::Server => None,
            Place::Listener(own) | Place::Certificate(own) | Place::Site(own) => Some(own),
            Place::Binding { on, .. } => Some(on),
            Place::Application { path, .. } | Place::VirtualDirectory { path, .. } => Some(path),
        };
        keys.extend(own.map(|own| (name.to_owned(), Value::from(own.as_str()))));
        output::print_json(&keys)?;
    } else {
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
