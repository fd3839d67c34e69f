//! Lines and tables of `bindery.toml` as a person writes them. Line ends are those of Unix.

use crate::change::{Fields, Value, in_order, toml_key};

/// The longest line that is written where it can be broken, in characters.
pub(in crate::document) const LINE_MAX: usize = 100;

/// How the bindings of a site are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::document) enum Bindings {
    /// As texts in an array; as tables of their own where one has more than its text.
    Auto,
    /// As an array, whatever they have.
    Array,
    /// As tables of their own.
    Sections,
}

/// Writes keys, and behind them the tables `[path.key]` that are too long for a line. The header
/// of the table itself is there already.
pub(in crate::document) fn table(
    out: &mut String,
    path: &str,
    fields: &Fields,
    bindings: Bindings,
) {
    let mut sections = Vec::new();
    for (key, value) in in_order(fields) {
        match as_sections(key, value, bindings) {
            Some(list) => sections.push((key, Section::Several(list))),
            None => match value {
                Value::Table(own) if !fits(key, value) => sections.push((key, Section::One(own))),
                _ => line(out, key, value),
            },
        }
    }
    for (key, section) in sections {
        let path = format!("{path}.{}", toml_key(key));
        match section {
            Section::One(own) => {
                out.push_str(&format!("\n[{path}]\n"));
                table(out, &path, own, bindings);
            }
            Section::Several(list) => {
                for own in list {
                    out.push('\n');
                    element(out, &path, &own, bindings);
                }
            }
        }
    }
}

/// Writes one `[[path]]`.
pub(in crate::document) fn element(
    out: &mut String,
    path: &str,
    fields: &Fields,
    bindings: Bindings,
) {
    out.push_str(&format!("[[{path}]]\n"));
    table(out, path, fields, bindings);
}

enum Section<'v> {
    One(&'v Fields),
    Several(Vec<Fields>),
}

/// What is written as `[[path.key]]`, if it is.
fn as_sections(key: &str, value: &Value, bindings: Bindings) -> Option<Vec<Fields>> {
    let Value::List(list) = value else { return None };
    let tables = || list.iter().map(as_table).collect::<Option<Vec<_>>>();
    match key {
        "applications" | "virtual_directories" if !list.is_empty() => tables(),
        "bindings" if !list.is_empty() => {
            let any = list.iter().any(|own| matches!(own, Value::Table(_)));
            let wanted = match bindings {
                Bindings::Auto => any,
                Bindings::Array => false,
                Bindings::Sections => true,
            };
            wanted.then(tables).flatten()
        }
        _ => None,
    }
}

/// One of a list as a table: of a binding that is a text, the table with that text.
pub(in crate::document) fn as_table(value: &Value) -> Option<Fields> {
    match value {
        Value::Table(own) => Some(own.clone()),
        Value::Text(_) => Some(Fields::from([("on".to_owned(), value.clone())])),
        _ => None,
    }
}

/// Whether a key and its value fit into a line.
pub(in crate::document) fn fits(key: &str, value: &Value) -> bool {
    let length = toml_key(key).chars().count() + " = ".len() + value.to_string().chars().count();
    length <= LINE_MAX
}

/// Writes a key with its value; an array that is too long for one line in several.
pub(in crate::document) fn line(out: &mut String, key: &str, value: &Value) {
    out.push_str(&format!("{} = ", toml_key(key)));
    match value {
        Value::List(list) if !list.is_empty() && !fits(key, value) => {
            out.push_str("[\n");
            for own in list {
                out.push_str(&format!("  {own},\n"));
            }
            out.push_str("]\n");
        }
        _ => out.push_str(&format!("{value}\n")),
    }
}
