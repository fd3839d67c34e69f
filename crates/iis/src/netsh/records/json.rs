//! Records as JSON: what `show sslcert json=enable` gives, what `add sslcert json=FILE` takes, and
//! our own stored form. Objects that have a key are looked for at any depth; names are those of the
//! tags or of the English lines, without regard to case and signs.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    Flag, Record, RecordChange, RecordKey, Records, Settings,
    output::{Unread, keep},
    parse_hash,
};
use crate::netsh::{
    grammar::{Verb, added},
    sslcert::{Field, fields},
};

/// What an object says: its values by their short names.
type Said = BTreeMap<String, String>;

/// Reads records. JSON has no lines: what is not understood is said of line 1, or of where the text
/// ends to be JSON.
pub(super) fn parse_output(text: &str) -> (Records, Vec<Unread>) {
    let mut records = Records::default();
    let mut unread = Vec::new();
    let value: Value = match serde_json::from_str(text) {
        Ok(value) => value,
        Err(error) => {
            // It may end behind the last line.
            let line = error.line().clamp(1, text.lines().count().max(1));
            unread.push(Unread { line, why: error.to_string() });
            return (records, unread);
        }
    };
    let mut objects = Vec::new();
    collect(&value, &mut objects);
    if objects.is_empty() {
        unread.push(Unread { line: 1, why: "there is no record in it".to_owned() });
    }
    for said in objects {
        let (key, settings, wrong) = understood(&said);
        unread.extend(wrong.into_iter().map(|why| Unread { line: 1, why }));
        if let Some(key) = key {
            let id = settings.application_id.unwrap_or(super::ApplicationId(0));
            keep(&mut records, Record::new(key, id).with(&settings), 1, &mut unread);
        }
    }
    (records, unread)
}

/// Reads what a file of `add` or `update sslcert json=FILE` asks for.
///
/// # Errors
///
/// When something in it is not understood, or missing; then nothing of it is done.
pub fn changes_of_json(verb: Verb, text: &str) -> Result<Vec<RecordChange>, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut objects = Vec::new();
    collect(&value, &mut objects);
    if objects.is_empty() {
        return Err("no object in it has ipport, hostnameport or ccs".to_owned());
    }
    let mut changes = Vec::new();
    for said in objects {
        let (key, settings, wrong) = understood(&said);
        if let Some(why) = wrong.into_iter().next() {
            return Err(why);
        }
        let Some(key) = key else { continue };
        changes.push(match verb {
            Verb::Add => {
                RecordChange::Add(added(key, &settings).map_err(|error| error.to_string())?)
            }
            Verb::Update => RecordChange::Update { key, settings },
            Verb::Show | Verb::Delete => RecordChange::Delete(key),
        });
    }
    Ok(changes)
}

/// Every object with a key, with what stands in objects inside of it.
fn collect(value: &Value, objects: &mut Vec<Said>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| collect(value, objects)),
        Value::Object(map) => {
            let own = |value: &Value| text(value).is_some();
            let has_key = map.iter().any(|(name, value)| is_key(&short(name)) && own(value));
            if has_key {
                let mut said = Said::new();
                flatten(value, &mut said);
                objects.push(said);
            } else {
                map.values().for_each(|value| collect(value, objects));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn flatten(value: &Value, said: &mut Said) {
    let Value::Object(map) = value else { return };
    for (name, value) in map {
        match text(value) {
            Some(text) => drop(said.insert(short(name), text)),
            None => flatten(value, said),
        }
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(on) => Some(on.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Letters and digits, in lower case.
fn short(name: &str) -> String {
    let letters = name.chars().filter(char::is_ascii_alphanumeric);
    letters.map(|letter| letter.to_ascii_lowercase()).collect()
}

fn is_key(name: &str) -> bool {
    matches!(name, "key" | "ipport" | "hostnameport" | "ccs" | "centralcertificatestore")
}

/// The key, what is said beside it, and what is not understood. Names that nobody knows are passed
/// over.
fn understood(said: &Said) -> (Option<RecordKey>, Settings, Vec<String>) {
    let (mut key, mut settings, mut wrong) = (None, Settings::default(), Vec::new());
    for (name, value) in said {
        if is_key(name) {
            key = match name.as_str() {
                "key" => value.parse().ok(),
                "ipport" => RecordKey::ip_port(value),
                "hostnameport" => RecordKey::hostname_port(value),
                _ => RecordKey::central_store(value),
            };
            if key.is_none() {
                wrong.push(format!("{name} is {value:?}, which is no key"));
            }
        } else if let Some(field) = field(name)
            && take(&mut settings, field, value).is_none()
        {
            wrong.push(format!("{name} is {value:?}, which is not understood"));
        }
    }
    (key, settings, wrong)
}

/// The field of a short name: a tag, the English line, or a name of the stored form.
fn field(name: &str) -> Option<Field> {
    let any_key = RecordKey::CentralStore(1);
    let tags = [
        ("certhash", Field::Hash),
        ("appid", Field::ApplicationId),
        ("certstorename", Field::StoreName),
        ("storename", Field::StoreName),
        ("revocationfreshnessseconds", Field::RevocationFreshness),
        ("urlretrievalmilliseconds", Field::UrlRetrieval),
        ("sslctlidentifier", Field::CtlIdentifier),
        ("sslctlstorename", Field::CtlStoreName),
    ];
    let by_tag = tags.into_iter().find(|(tag, _)| *tag == name).map(|(_, field)| field);
    by_tag
        .or_else(|| Flag::by_tag(name).map(Field::Flag))
        .or_else(|| fields().skip(1).find(|field| short(field.label(&any_key)) == name))
}

fn take(settings: &mut Settings, field: Field, value: &str) -> Option<()> {
    let null = value.is_empty() || value.eq_ignore_ascii_case("(null)");
    let text = || (!null).then(|| value.to_owned());
    match field {
        Field::Key => return None,
        Field::Hash if null => {}
        Field::Hash => settings.certificate_hash = Some(parse_hash(value)?),
        Field::ApplicationId => settings.application_id = Some(value.parse().ok()?),
        Field::StoreName => settings.store_name = text(),
        Field::RevocationFreshness => {
            settings.revocation_freshness_seconds = Some(value.parse().ok()?);
        }
        Field::UrlRetrieval => settings.url_retrieval_milliseconds = Some(value.parse().ok()?),
        Field::CtlIdentifier => settings.ctl_identifier = text(),
        Field::CtlStoreName => settings.ctl_store_name = text(),
        Field::Flag(flag) => {
            let on = switch(&value.to_lowercase())?;
            if on != flag.facts().standard {
                settings.flags.say(flag, on);
            }
        }
    }
    Some(())
}

/// A word for on or off, in lower case, as far as it is known.
pub(super) fn switch(word: &str) -> Option<bool> {
    match word {
        "enabled" | "set" | "enable" | "yes" | "true" | "1" => Some(true),
        "disabled" | "not set" | "notset" | "disable" | "no" | "false" | "0" => Some(false),
        _ => None,
    }
}
