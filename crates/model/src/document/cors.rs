//! Reads `cors`: who may read the answers from pages of other origins.

use super::{
    read::{Entry, Reader, Section, Text},
    rules::table_or_off,
    value::{SECONDS_MAX, Wrong, is_token},
};
use crate::{
    name::Host,
    problem::{Code, Problem},
    rules::Cors,
};

/// What a preflight grants unless the file says it.
const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
/// How long a preflight is remembered, in seconds.
const MAX_AGE: u32 = 600;

/// Reads the rule: a word, a table, or `false`.
pub(super) fn read<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    entry: &Entry<'d>,
) -> Option<Cors> {
    let any = any();
    if entry.is_text() {
        return reader.choice(section, entry.key, &[("any", ())]).map(|()| any);
    }
    let table = table_or_off(reader, section, entry)?;
    reader.known(&table, &["origins", "methods", "headers", "credentials", "max_age"]);
    let origins = read_origins(reader, &table);
    let methods = read_tokens(reader, &table, "methods").unwrap_or(any.methods);
    let headers = read_tokens(reader, &table, "headers").unwrap_or_default();
    let credentials = reader.boolean(&table, "credentials").unwrap_or(false);
    let age_max = u32::try_from(SECONDS_MAX).unwrap_or(u32::MAX);
    let max_age = reader.count(&table, "max_age", 0..=age_max).unwrap_or(MAX_AGE);
    if credentials && table.entry("origins").is_none() {
        let span = table.key_at("credentials");
        let message = format!("{}: credentials go with origins, not with all of them", table.owner);
        let help = "add origins = [\"https://app.example.com\"], or remove credentials";
        reader.problems.push(Problem::new(Code::Exclusive, span, message, help));
    }
    Some(Cors { origins: origins.unwrap_or_default(), methods, headers, credentials, max_age })
}

/// What `cors = "any"` stands for.
pub(super) fn any() -> Cors {
    Cors {
        origins: Vec::new(),
        methods: METHODS.map(str::to_owned).to_vec(),
        headers: Vec::new(),
        credentials: false,
        max_age: MAX_AGE,
    }
}

fn read_origins<'d>(reader: &mut Reader<'d>, table: &Section<'d>) -> Option<Vec<String>> {
    let texts = reader.texts(table, "origins")?;
    let entry = table.entry("origins")?;
    if entry.is_empty() {
        let help = "name them, or remove origins: then pages of all origins may read";
        reader.bad(table, entry.span, "there are no origins", help);
    }
    let mut origins = Vec::new();
    for text in texts {
        match origin(text.value) {
            Ok(origin) => origins.push(origin),
            Err(wrong) => reader.wrong(Code::BadValue, table, &text, wrong),
        }
    }
    Some(origins)
}

/// Reads an origin as browsers write it (RFC 6454, 6.2): no path, no port that goes without saying.
fn origin(text: &str) -> Result<String, Wrong> {
    let example = "write scheme, host and port, as in \"https://app.example.com\"";
    let none = |what: String| Err(Wrong::whole(text, what, example));
    if text == "*" {
        let help = "remove origins, or write cors = \"any\": then pages of all origins may read";
        return Err(Wrong::whole(text, "\"*\" is no origin", help));
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return none(format!("{text:?} is no origin"));
    };
    let letter = |b: u8| b.is_ascii_alphanumeric() || b"+-.".contains(&b);
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.bytes().all(letter) {
        return none(format!("{scheme:?} is no scheme"));
    }
    let scheme = scheme.to_ascii_lowercase();
    if let Some(at) = rest.find(['/', '?', '#']) {
        let at = text.len() - rest.len() + at;
        let plain = text.get(..at).unwrap_or_default();
        let help = format!("write {plain:?}");
        return Err(Wrong::new(at..text.len(), "an origin ends with its host and port", help));
    }
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (rest, None),
    };
    let host: Host = match host.parse() {
        Ok(host) => host,
        Err(error) => return none(format!("{text:?} is no origin: {error}")),
    };
    let Some(port) = port else { return Ok(format!("{scheme}://{host}")) };
    match port.parse::<u16>() {
        Ok(port) if port > 0 => match (scheme.as_str(), port) {
            ("http", 80) | ("https", 443) => Ok(format!("{scheme}://{host}")),
            _ => Ok(format!("{scheme}://{host}:{port}")),
        },
        _ => none(format!("{port:?} is no port")),
    }
}

/// The tokens of a key: methods, or names of fields.
fn read_tokens<'d>(reader: &mut Reader<'d>, table: &Section<'d>, key: &str) -> Option<Vec<String>> {
    let texts = reader.texts(table, key)?;
    let good = |text: &Text<'_>| {
        let lower = key == "methods" && text.value.bytes().any(|b| b.is_ascii_lowercase());
        is_token(text.value) && text.value != "*" && !lower
    };
    let mut tokens = Vec::new();
    for text in texts {
        if good(&text) {
            tokens.push(text.value.to_owned());
            continue;
        }
        let (wrong, help) = match key {
            "methods" if is_token(text.value) && text.value != "*" => (
                format!("methods are written in capitals, not {:?}", text.value),
                format!("write {:?}", text.value.to_ascii_uppercase()),
            ),
            "methods" => (
                format!("{:?} is no method", text.value),
                "name them, as in [\"GET\", \"POST\"]".to_owned(),
            ),
            _ => (
                format!("{:?} is no name of a field", text.value),
                "name them, or remove headers to grant what is asked for".to_owned(),
            ),
        };
        reader.bad(table, text.span, wrong, help);
    }
    Some(tokens)
}
