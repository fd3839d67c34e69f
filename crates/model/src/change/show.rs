//! A difference as people read it in a terminal.

use std::{collections::BTreeMap, fmt};

use super::{Difference, Entry, Fields, How, Value, in_order, toml_key};

/// The longest line, in characters; a longer one is broken between words.
const COLUMNS: usize = 80;

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|entry| entry.fmt(f))
    }
}

impl fmt::Display for Entry {
    /// A line that says what it is about, and below it its keys, each line with its end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, how } = self;
        match how {
            How::Added(fields) => {
                line(f, "+ ", &at.to_string())?;
                all(f, "    ", fields)
            }
            How::Removed(fields) => {
                line(f, "- ", &at.to_string())?;
                all(f, "    ", fields)
            }
            How::Changed(keys) => {
                line(f, "~ ", &at.to_string())?;
                changed(f, keys)
            }
        }
    }
}

/// Every key of a table; lists that are too long for a line one by one.
fn all(f: &mut fmt::Formatter<'_>, indent: &str, fields: &Fields) -> fmt::Result {
    for (key, value) in in_order(fields) {
        let short = format!("{} = {value}", toml_key(key));
        if indent.len() + short.chars().count() <= COLUMNS {
            writeln!(f, "{indent}{short}")?;
            continue;
        }
        let deeper = format!("{indent}  ");
        match value {
            Value::List(values) => {
                writeln!(f, "{indent}{}:", toml_key(key))?;
                values.iter().try_for_each(|value| line(f, &deeper, &value.to_string()))?;
            }
            Value::Table(fields) => {
                writeln!(f, "{indent}{}:", toml_key(key))?;
                all(f, &deeper, fields)?;
            }
            _ => line(f, indent, &short)?,
        }
    }
    Ok(())
}

type Changed = BTreeMap<String, (Option<Value>, Option<Value>)>;

fn changed(f: &mut fmt::Formatter<'_>, keys: &Changed) -> fmt::Result {
    // In the order of all keys, whichever of them are there before and after.
    let either = keys.iter().filter_map(|(key, (before, after))| {
        before.as_ref().or(after.as_ref()).map(|value| (key.clone(), value.clone()))
    });
    let either: Fields = either.collect();
    for (key, _) in in_order(&either) {
        if let Some((before, after)) = keys.get(key) {
            one(f, &toml_key(key), before.as_ref(), after.as_ref())?;
        }
    }
    Ok(())
}

/// One key that changed; of tables and lists what is otherwise in them.
fn one(
    f: &mut fmt::Formatter<'_>,
    key: &str,
    before: Option<&Value>,
    after: Option<&Value>,
) -> fmt::Result {
    let none = Fields::new();
    let table = |value: Option<&Value>| match value {
        Some(Value::Table(fields)) => Some(fields.clone()),
        None => Some(none.clone()),
        Some(_) => None,
    };
    if let (Some(old), Some(new)) = (table(before), table(after)) {
        let mut both = old.clone();
        both.extend(new.clone());
        if both.is_empty() {
            return writeln!(
                f,
                "    {key}: {}",
                if after.is_some() { "none -> {}" } else { "{} -> none" }
            );
        }
        for (inner, _) in in_order(&both) {
            let (old, new) = (old.get(inner), new.get(inner));
            if old != new {
                one(f, &format!("{key}.{}", toml_key(inner)), old, new)?;
            }
        }
        return Ok(());
    }
    let say = |value: Option<&Value>| value.map_or_else(|| "none".to_owned(), Value::to_string);
    let (old, new) = (say(before), say(after));
    let short = format!("    {key}: {old} -> {new}");
    if short.chars().count() <= COLUMNS {
        return writeln!(f, "{short}");
    }
    writeln!(f, "    {key}:")?;
    let list = |value| match value {
        Some(Value::List(values)) => values,
        Some(other) => vec![other],
        None => Vec::new(),
    };
    let (old, new) = (list(before.cloned()), list(after.cloned()));
    for value in old.iter().filter(|value| !new.contains(value)) {
        line(f, "      - ", &value.to_string())?;
    }
    for value in new.iter().filter(|value| !old.contains(value)) {
        line(f, "      + ", &value.to_string())?;
    }
    // Nothing came or went: they stand in another order.
    if old.iter().all(|value| new.contains(value)) && new.iter().all(|value| old.contains(value)) {
        new.iter().try_for_each(|value| line(f, "        ", &value.to_string()))?;
    }
    Ok(())
}

/// A text behind its beginning, broken at blanks so that it fits.
fn line(f: &mut fmt::Formatter<'_>, begin: &str, text: &str) -> fmt::Result {
    let indent = " ".repeat(begin.chars().count() + 2);
    let mut written = begin.chars().count();
    f.write_str(begin)?;
    for (place, word) in text.split(' ').enumerate() {
        let length = word.chars().count();
        if place > 0 && written + 1 + length > COLUMNS {
            write!(f, "\n{indent}")?;
            written = indent.len();
        } else if place > 0 {
            f.write_str(" ")?;
            written += 1;
        }
        f.write_str(word)?;
        written += length;
    }
    writeln!(f)
}
