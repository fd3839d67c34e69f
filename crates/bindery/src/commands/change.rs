//! What every command that changes something takes, does and prints.

use std::{collections::BTreeMap, fmt::Write as _, process::ExitCode};

use bindery_control::{
    applier::{Outcome, Request, What},
    history,
    problems::PlacedProblem,
};
use bindery_model::{
    change::{Act, Change, Fields, Place, Value},
    problem::Way,
};
use serde_json::json;

use crate::{
    ConfigOption,
    commands::steps::{COLUMNS, wrapped},
    door::{Door, NotMade, actor},
    output::{self, Failure},
};

/// What every change takes.
#[derive(clap::Args)]
pub(crate) struct ChangeOptions {
    #[command(flatten)]
    pub(crate) config: ConfigOption,
    /// Do all of it but the change itself, and say what it would be.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print what became of it as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Refuse it when another revision than this is in force.
    #[arg(long, value_name = "REV")]
    pub(crate) expect: Option<u64>,
    /// Make it although files or certificates that it names cannot be used.
    #[arg(long)]
    pub(crate) force: bool,
}

impl ChangeOptions {
    /// The request for it.
    pub(crate) fn request(&self, what: What, door: history::Door) -> Request {
        Request {
            what,
            expected: self.expect,
            actor: actor(door),
            dry_run: self.dry_run,
            force: self.force,
        }
    }
}

/// Makes changes as one, and says what became of them.
pub(crate) fn make(changes: Vec<Change>, options: &ChangeOptions) -> Result<ExitCode, Failure> {
    make_at(&Door::open(&options.config, history::Door::Cli)?, What::Changes(changes), options)
}

/// Makes a change at a door that is open, and says what became of it.
pub(crate) fn make_at(
    door: &Door,
    what: What,
    options: &ChangeOptions,
) -> Result<ExitCode, Failure> {
    let made = door.apply(&options.request(what, history::Door::Cli));
    said(made, options)
}

/// Says what became of a change.
pub(crate) fn said(
    made: Result<Outcome, NotMade>,
    options: &ChangeOptions,
) -> Result<ExitCode, Failure> {
    match made {
        Ok(outcome) if options.json => {
            output::print_json(&outcome)?;
            Ok(ExitCode::SUCCESS)
        }
        Ok(outcome) => {
            output::print(outcome_text(&outcome, options.dry_run, output::is_colourful()));
            output::note_text(&problems_text(&outcome.problems));
            Ok(ExitCode::SUCCESS)
        }
        Err(refused) => {
            refused_said(&refused, options.json)?;
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Says why a change was refused.
pub(crate) fn refused_said(refused: &NotMade, json: bool) -> Result<(), Failure> {
    let NotMade { what, problems, help, is_unknown } = refused;
    if json {
        let word = if *is_unknown { "unknown" } else { "refused" };
        return output::print_json(&json!({ word: what, "problems": problems, "help": help }));
    }
    let said = if *is_unknown { "" } else { "nothing was changed: " };
    let mut text = wrapped(&format!("bindery: {said}{what}"), COLUMNS).join("\n");
    text.push('\n');
    text.push_str(&problems_text(problems));
    if let Some(help) = help {
        text.push_str(&helped(help));
    }
    output::note_text(&text);
    Ok(())
}

/// What a change came to: what differs, then the revision.
fn outcome_text(outcome: &Outcome, dry_run: bool, colour: bool) -> String {
    let Outcome { revision, changed, difference, disturbed, .. } = outcome;
    let mut out = coloured(&difference.to_string(), colour);
    match (changed, dry_run) {
        (true, _) => writeln!(out, "revision {revision}, connections disturbed: {disturbed}"),
        (false, true) => writeln!(out, "revision {revision} stays: this was a dry run"),
        (false, false) => writeln!(out, "revision {revision} stays: nothing differs"),
    }
    // Writing to a string does not fail.
    .ok();
    out
}

/// A difference in colours: what comes green, what goes red, what changes yellow.
pub(crate) fn coloured(text: &str, colour: bool) -> String {
    if !colour {
        return text.to_owned();
    }
    let mut out = String::new();
    for line in text.lines() {
        let code = match line.trim_start().as_bytes() {
            [b'+', b' ', ..] => 32,
            [b'-', b' ', ..] => 31,
            [b'~', b' ', ..] => 33,
            _ => 0,
        };
        match code {
            0 => writeln!(out, "{line}"),
            code => writeln!(out, "\u{1b}[{code}m{line}\u{1b}[0m"),
        }
        .ok();
    }
    out
}

/// Problems, each with its place and what to do.
pub(crate) fn problems_text(problems: &[PlacedProblem]) -> String {
    let mut out = String::new();
    for problem in problems {
        let PlacedProblem { severity, code, help, ways, .. } = problem;
        let text = format!("{severity}[{code}]: {}", problem.said());
        writeln!(out, "{}", wrapped(&text, COLUMNS - 2).join("\n  ")).ok();
        if !help.is_empty() {
            out.push_str(&helped(help));
        }
        out.push_str(&ways_text(ways));
    }
    out
}

/// What a change is warned of, where hints have no place: beside the output of another program.
pub(crate) fn warned_said(problems: &[PlacedProblem]) {
    let warned: Vec<_> = problems.iter().filter(|one| one.severity != "hint").cloned().collect();
    output::note_text(&problems_text(&warned));
}

/// Ways out of a problem, numbered; commands stand on lines of their own, as they are typed.
pub(crate) fn ways_text(ways: &[Way]) -> String {
    let mut out = String::new();
    for (number, Way { what, commands }) in (1..).zip(ways) {
        let what = format!("{number}. {what}{}", if commands.is_empty() { "" } else { ":" });
        writeln!(out, "  {}", wrapped(&what, COLUMNS - 5).join("\n     ")).ok();
        for command in commands {
            writeln!(out, "       {command}").ok();
        }
    }
    out
}

/// What to do, below what it is about.
pub(crate) fn helped(help: &str) -> String {
    format!("  help: {}\n", wrapped(help, COLUMNS - 8).join("\n        "))
}

/// A key and its value as they are typed: `root=/srv/shop`, `limits.requests_max=100`,
/// `tls={ minimum = "1.3" }`. What is no value of TOML is a text.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// A dot leads into a table.
    pub(crate) key: String,
    /// What is set.
    pub(crate) value: Value,
}

impl std::str::FromStr for Setting {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let (key, value) = word
            .split_once('=')
            .ok_or("a key and a value are meant, as root=/srv/shop or cache_control=no-cache")?;
        if key.is_empty() || key.split('.').any(str::is_empty) {
            return Err(format!("{key:?} is no key, as root or limits.requests_max"));
        }
        Ok(Self { key: key.to_owned(), value: value_of(value) })
    }
}

/// A value as TOML has it where it is one of those that configurations have, else a text.
fn value_of(word: &str) -> Value {
    let parsed: Option<toml_edit::Value> = word.trim().parse().ok();
    parsed.as_ref().and_then(toml_value).unwrap_or_else(|| Value::Text(word.to_owned()))
}

/// A value of TOML. There are no fractions or times in configurations: those are texts, as the
/// 1.3 of `tls.minimum=1.3`.
pub(crate) fn toml_value(value: &toml_edit::Value) -> Option<Value> {
    Some(match value {
        toml_edit::Value::String(text) => Value::Text(text.value().clone()),
        toml_edit::Value::Integer(number) => Value::Integer(*number.value()),
        toml_edit::Value::Boolean(own) => Value::Boolean(*own.value()),
        toml_edit::Value::Array(values) => {
            Value::List(values.iter().map(toml_value).collect::<Option<_>>()?)
        }
        toml_edit::Value::InlineTable(table) => {
            let own = table.iter().map(|(key, value)| Some((key.to_owned(), toml_value(value)?)));
            Value::Table(own.collect::<Option<_>>()?)
        }
        toml_edit::Value::Float(_) | toml_edit::Value::Datetime(_) => return None,
    })
}

/// The keys of a new thing: `a.b=1` makes a table `a`.
pub(crate) fn fields(settings: &[Setting]) -> Result<Fields, Failure> {
    let mut fields = Fields::new();
    for Setting { key, value } in settings {
        put(&mut fields, key, value.clone())
            .map_err(|()| Failure::usage(format!("{key} is given twice")))?;
    }
    Ok(fields)
}

/// Puts a value where a key leads.
pub(crate) fn put(fields: &mut Fields, key: &str, value: Value) -> Result<(), ()> {
    let Some((first, rest)) = key.split_once('.') else {
        return match fields.insert(key.to_owned(), value) {
            None => Ok(()),
            Some(_) => Err(()),
        };
    };
    match fields.entry(first.to_owned()).or_insert_with(|| Value::Table(Fields::new())) {
        Value::Table(inner) => put(inner, rest, value),
        _ => Err(()),
    }
}

/// What `set` takes besides what it is about.
#[derive(clap::Args)]
pub(crate) struct SetOptions {
    /// Keys of bindery.toml with their values, as docs/configuration.md lists them; a dot leads
    /// into a table: tls.minimum=1.3
    #[arg(value_name = "KEY=VALUE")]
    pub(crate) settings: Vec<Setting>,
    /// Take this key out, so that its default holds. Can be given again.
    #[arg(long, value_name = "KEY")]
    pub(crate) unset: Vec<String>,
}

impl SetOptions {
    /// The change at `at`, with what other options have set.
    pub(crate) fn change(
        &self,
        at: Place,
        others: BTreeMap<String, Option<Value>>,
    ) -> Result<Change, Failure> {
        let mut set = others;
        let settings = self.settings.iter().map(|own| (&own.key, Some(own.value.clone())));
        for (key, value) in settings.chain(self.unset.iter().map(|key| (key, None))) {
            if set.insert(key.clone(), value).is_some() {
                return Err(Failure::usage(format!("{key} is given twice")));
            }
        }
        if set.is_empty() {
            let message = "nothing is to be set: say KEY=VALUE, or --unset KEY";
            return Err(Failure::usage(message));
        }
        Ok(Change { at, act: Act::Set(set) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_what_toml_makes_of_it_and_else_a_text() {
        let value = |word: &str| word.parse::<Setting>().unwrap().value;
        assert_eq!(value("a=1"), Value::Integer(1));
        assert_eq!(value("a=true"), Value::Boolean(true));
        assert_eq!(value("a=\"1\""), Value::Text("1".to_owned()));
        assert_eq!(value("a=1.3"), Value::Text("1.3".to_owned()));
        assert_eq!(value("a=2026-01-01"), Value::Text("2026-01-01".to_owned()));
        assert_eq!(value("a=/srv/a b=c"), Value::Text("/srv/a b=c".to_owned()));
        assert_eq!(value("a="), Value::Text(String::new()));
        let list = Value::List(vec![Value::Text("x".to_owned()), Value::Integer(2)]);
        assert_eq!(value("a=[\"x\", 2]"), list);
        let table = Fields::from([("b".to_owned(), list)]);
        assert_eq!(value("a={ b = ['x', 2] }"), Value::Table(table));
    }

    #[test]
    fn a_dot_leads_into_a_table() {
        let settings = ["a.b=1", "a.c.d=2", "e=3"].map(|word| word.parse().unwrap());
        let text = serde_json::to_string(&fields(&settings).unwrap()).unwrap();
        assert_eq!(text, r#"{"a":{"b":1,"c":{"d":2}},"e":3}"#);
        for words in [["a=1", "a=2"], ["a=1", "a.b=2"], ["a.b=1", "a=2"]] {
            let settings = words.map(|word| word.parse().unwrap());
            assert!(fields(&settings).is_err(), "{words:?}");
        }
        for word in ["a", "=1", "a.=1", ".a=1"] {
            assert!(word.parse::<Setting>().is_err(), "{word}");
        }
    }
}
