//! Reads changes to fields: `request_headers` and `response_headers`.

use super::{
    read::{Entry, Reader, Section, Text},
    value::{is_field_value, is_token},
};
use crate::{
    problem::{Code, Problem, Span},
    rules::HeaderRule,
};

/// Fields that belong to a connection or say where a message ends (RFC 9110, 7.6.1; RFC 9112, 6).
/// Who changes them has one request read as another.
const OF_THE_SERVER: [&str; 9] = [
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Whether a field is the server's own, so that no configuration changes it.
#[must_use]
pub fn is_of_the_server(name: &str) -> bool {
    OF_THE_SERVER.iter().any(|own| name.eq_ignore_ascii_case(own))
}

/// Which message is changed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Message {
    /// That of the client, before an upstream gets it.
    Request,
    /// The answer.
    Response,
}

/// Reads the changes of one key, in the order in which they are made: what is removed, set, added.
pub(super) fn read<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    key: &str,
    message: Message,
) -> Option<Vec<HeaderRule>> {
    let table = reader.table(section, key, || format!("{key} of {}", section.owner))?;
    reader.known(&table, &["set", "add", "remove"]);
    let mut rules = Vec::new();
    let mut removed: Vec<(String, Span)> = Vec::new();
    for text in reader.texts(&table, "remove").unwrap_or_default() {
        if let Some(name) = read_name(reader, &table, message, text.value, &text.span) {
            removed.push((name.to_ascii_lowercase(), text.span));
            rules.push(HeaderRule::Remove(name));
        }
    }
    for kind in ["set", "add"] {
        let Some(own) = reader.table(&table, kind, || table.owner.clone()) else { continue };
        let mut seen: Vec<String> = Vec::new();
        let mut entries = own.entries();
        // They have no order: the same fields are the same configuration.
        entries.sort_by_key(|entry| entry.key);
        for entry in entries {
            let name = read_name(reader, &own, message, entry.key, &entry.key_span);
            let values = read_values(reader, &own, &entry, kind);
            let Some(name) = name else { continue };
            let lower = name.to_ascii_lowercase();
            report_contradiction(reader, &own, &removed, &entry);
            if seen.contains(&lower) {
                let wrong = format!("{name} is there twice in {kind}");
                reader.bad(&own, entry.key_span, wrong, "remove one; case does not count");
                continue;
            }
            seen.push(lower);
            rules.extend(values.into_iter().map(|value| match kind {
                "set" => HeaderRule::Set(name.clone(), value),
                _ => HeaderRule::Add(name.clone(), value),
            }));
        }
    }
    Some(rules)
}

/// The value of a field; of `add` an array of them too.
fn read_values<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    entry: &Entry<'d>,
    kind: &str,
) -> Vec<String> {
    let texts: Vec<Text<'_>> = match kind {
        "add" if entry.is_array() => reader.texts(section, entry.key).unwrap_or_default(),
        _ => reader.text_of(section, entry).into_iter().collect(),
    };
    let mut values = Vec::new();
    for text in texts {
        if is_field_value(text.value) {
            values.push(text.value.to_owned());
            continue;
        }
        let wrong = format!("{:?} cannot be the value of {}", text.value, entry.key);
        let help = "write visible ASCII letters, with blanks between them only";
        reader.bad(section, text.span, wrong, help);
    }
    values
}

fn read_name(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    message: Message,
    name: &str,
    span: &Span,
) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    let (wrong, help) = if !is_token(name) {
        (format!("{name:?} is no name of a field"), "write letters, digits and dashes")
    } else if OF_THE_SERVER.contains(&lower.as_str()) {
        let wrong = format!("{name} is the server's own: it says how messages are sent");
        (wrong, "remove it; the server writes it as it must be")
    } else if lower == "host" && message == Message::Request {
        (format!("{name} is not changed here"), "write host = \"...\" in the proxy table")
    } else if lower == "host" {
        (format!("no answer has a field {name}"), "remove it; request_headers are for upstreams")
    } else {
        return Some(name.to_owned());
    };
    reader.bad(section, span.clone(), wrong, help);
    None
}

fn report_contradiction(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    removed: &[(String, Span)],
    entry: &Entry<'_>,
) {
    let twice = removed.iter().find(|(name, _)| name.eq_ignore_ascii_case(entry.key));
    let Some((_, span)) = twice else { return };
    let message = format!("{}: {} is written and removed", section.owner, entry.key);
    let help = "set takes the place of what was there: remove need not be said";
    let problem = Problem::new(Code::Exclusive, entry.key_span.clone(), message, help);
    reader.problems.push(problem.with_related(span.clone(), "removed here"));
}
