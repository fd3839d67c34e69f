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

/// Every key of a table.
fn all(f: &mut fmt::Formatter<'_>, indent: &str, fields: &Fields) -> fmt::Result {
    in_order(fields)
        .into_iter()
        .try_for_each(|(key, value)| key_with(f, indent, &toml_key(key), value))
}

/// A key with its value; lists and tables that are too long for a line one by one.
fn key_with(f: &mut fmt::Formatter<'_>, begin: &str, key: &str, value: &Value) -> fmt::Result {
    let short = format!("{key} = {value}");
    if begin.len() + short.chars().count() <= COLUMNS {
        return writeln!(f, "{begin}{short}");
    }
    let deeper = " ".repeat(begin.len() + 2);
    match value {
        Value::List(values) => {
            writeln!(f, "{begin}{key}:")?;
            values.iter().try_for_each(|value| line(f, &deeper, &value.to_string()))
        }
        Value::Table(fields) => {
            writeln!(f, "{begin}{key}:")?;
            all(f, &deeper, fields)
        }
        _ => line(f, begin, &short),
    }
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
    match (before, after) {
        (None, Some(new)) if !is_filled(new) => return key_with(f, "    + ", key, new),
        (Some(old), None) if !is_filled(old) => return key_with(f, "    - ", key, old),
        _ => {}
    }
    let none = Fields::new();
    let table = |value: Option<&Value>| match value {
        Some(Value::Table(fields)) => Some(fields.clone()),
        None => Some(none.clone()),
        Some(_) => None,
    };
    if let (Some(old), Some(new)) = (table(before), table(after)) {
        let mut both = old.clone();
        both.extend(new.clone());
        for (inner, _) in in_order(&both) {
            let (old, new) = (old.get(inner), new.get(inner));
            if old != new {
                one(f, &format!("{key}.{}", toml_key(inner)), old, new)?;
            }
        }
        return Ok(());
    }
    // Where one is absent, the other was told above.
    let (Some(before), Some(after)) = (before, after) else { return Ok(()) };
    let short = format!("    {key}: {before} -> {after}");
    if short.chars().count() <= COLUMNS {
        return writeln!(f, "{short}");
    }
    writeln!(f, "    {key}:")?;
    let list = |value: &Value| match value {
        Value::List(values) => values.clone(),
        other => vec![other.clone()],
    };
    let (old, new) = (list(before), list(after));
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

/// Whether it is a table with keys in it, which are told one by one.
fn is_filled(value: &Value) -> bool {
    matches!(value, Value::Table(fields) if !fields.is_empty())
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
