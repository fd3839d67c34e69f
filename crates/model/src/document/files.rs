//! Reads `root` and the options of files.

use std::path::PathBuf;

use super::{
    PathKind,
    read::{Entry, Reader, Section},
    rewrite,
    value::{self, is_field_value, is_token},
};
use crate::{
    problem::{Code, Problem, Span},
    site::{CacheRule, Files, Symlinks, UnknownTypes},
};

/// What may be said of files. Applications and virtual directories inherit it from a site that
/// serves files.
pub(super) const OPTIONS: [&str; 10] = [
    "default_documents",
    "listing",
    "fallback",
    "symlinks",
    "precompressed",
    "media_types",
    "unknown_types",
    "hidden",
    "charset",
    "cache_control",
];

/// The options of a site that says none.
pub(super) fn standard() -> Files {
    Files::of(PathBuf::new())
}

/// Reads `root` and what is said of its files; what is not said is as in `inherited`.
pub(super) fn read<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    inherited: &Files,
) -> Option<(Files, Span)> {
    let options = read_options(reader, section, inherited);
    let (root, span) = reader.path(section, "root")?;
    reader.name_path(section, PathKind::Root, &root, &span);
    Some((Files { root, ..options }, span))
}

/// Reports each option of files where something else answers.
pub(super) fn report_options(reader: &mut Reader<'_>, section: &Section<'_>, first: &Entry<'_>) {
    for entry in OPTIONS.into_iter().filter_map(|key| section.entry(key)) {
        let message =
            format!("{}: {} goes with root, not with {}", section.owner, entry.key, first.key);
        let help = format!("remove {}, or write it where root is", entry.key);
        let problem = Problem::new(Code::Exclusive, entry.key_span, message, help);
        reader.problems.push(problem.with_related(first.key_span.clone(), "this answers"));
    }
}

fn read_options<'d>(reader: &mut Reader<'d>, section: &Section<'d>, inherited: &Files) -> Files {
    let mut files = inherited.clone();
    if let Some(documents) = read_names(reader, section, "default_documents", "index.html") {
        files.default_documents = documents;
    }
    if let Some(listing) = reader.boolean(section, "listing") {
        files.listing = listing;
    }
    if let Some(entry) = section.entry("fallback") {
        files.fallback = match entry.is_false() {
            true => None,
            false => read_file_path(reader, section, "fallback"),
        };
    }
    let links =
        [("refuse", Symlinks::Refuse), ("inside", Symlinks::Inside), ("follow", Symlinks::Follow)];
    if let Some(symlinks) = reader.choice(section, "symlinks", &links) {
        files.symlinks = symlinks;
    }
    if let Some(precompressed) = reader.boolean(section, "precompressed") {
        files.precompressed = precompressed;
    }
    if let Some(types) = read_media_types(reader, section) {
        files.media_types = types.into();
    }
    let unknown = [
        ("bytes", UnknownTypes::Bytes),
        ("refuse", UnknownTypes::Refuse),
        ("listed", UnknownTypes::Listed),
    ];
    if let Some(unknown) = reader.choice(section, "unknown_types", &unknown) {
        files.unknown_types = unknown;
    }
    if let Some(hidden) = read_names(reader, section, "hidden", "bin") {
        files.hidden = hidden.into();
    }
    if let Some(charset) = read_charset(reader, section) {
        files.charset = charset;
    }
    if let Some(rules) = read_cache_control(reader, section) {
        files.cache_control = rules;
    }
    files
}

/// Reads names of files or folders, each without its path.
fn read_names<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    key: &str,
    example: &str,
) -> Option<Vec<String>> {
    let texts = reader.texts(section, key)?;
    let mut names = Vec::new();
    for text in texts {
        let unusable = |c: char| matches!(c, '/' | '\\') || c.is_control();
        if ["", ".", ".."].contains(&text.value) || text.value.contains(unusable) {
            let wrong = format!("{:?} is not the name of a file in a folder", text.value);
            reader.bad(section, text.span, wrong, format!("write a name alone, as in {example:?}"));
            continue;
        }
        names.push(text.value.to_owned());
    }
    Some(names)
}

/// Reads the path of a file below the root.
pub(super) fn read_file_path<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    key: &str,
) -> Option<String> {
    let text = reader.text(section, key)?;
    let example = format!("write the path of a file below the root, as in {key} = \"/index.html\"");
    let wrong = match value::site_path(text.value) {
        Ok(()) if text.value.ends_with('/') => {
            value::Wrong::whole(text.value, "a folder, where a file must be named", example)
        }
        Ok(()) => return Some(text.value.to_owned()),
        Err(wrong) => wrong,
    };
    let wrong = value::Wrong { what: format!("{key} {:?}: {}", text.value, wrong.what), ..wrong };
    reader.wrong(Code::BadValue, section, &text, wrong);
    None
}

/// Reads an ending as `.css`, in lower case and without its dot.
pub(super) fn read_ending(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    text: &str,
    span: Span,
) -> Option<String> {
    let unusable = |c: char| matches!(c, '.' | '/' | '\\') || c.is_control();
    match text.strip_prefix('.') {
        Some(ending) if !ending.is_empty() && !ending.contains(unusable) => {
            return Some(ending.to_lowercase());
        }
        Some(_) => {
            let wrong = format!("{text:?} is not the ending of a name");
            let help = "write what follows the last dot, with the dot, as in \".gz\"";
            reader.bad(section, span, wrong, help);
        }
        None => {
            let wrong = format!("the ending {text:?} does not begin with a dot");
            reader.bad(section, span, wrong, format!("write \".{text}\""));
        }
    }
    None
}

fn read_media_types<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
) -> Option<Vec<(String, String)>> {
    let owner = || format!("media_types of {}", section.owner);
    let table = reader.table(section, "media_types", owner)?;
    let mut types: Vec<(String, String)> = Vec::new();
    for entry in table.entries() {
        let ending = read_ending(reader, &table, entry.key, entry.key_span.clone());
        let media_type = reader.text_of(&table, &entry);
        let media_type = media_type.and_then(|text| reader.media_type(&table, &text));
        let Some((ending, media_type)) = ending.zip(media_type) else { continue };
        if types.iter().any(|(own, _)| *own == ending) {
            let wrong = format!("the ending .{ending} is there twice");
            reader.bad(&table, entry.key_span, wrong, "remove one; case does not count");
            continue;
        }
        types.push((ending, media_type));
    }
    // They have no order: the same types are the same configuration.
    types.sort_unstable();
    Some(types)
}

fn read_charset<'d>(reader: &mut Reader<'d>, section: &Section<'d>) -> Option<Option<String>> {
    let text = reader.text(section, "charset")?;
    if text.value.is_empty() {
        return Some(None);
    }
    if is_token(text.value) {
        return Some(Some(text.value.to_owned()));
    }
    let wrong = format!("{:?} is no name of a character set", text.value);
    reader.bad(section, text.span, wrong, "write \"utf-8\", or \"\" to say none");
    None
}

/// Whether a text is a date in the one form that is sent (RFC 9110, 5.6.7).
#[must_use]
pub fn is_http_date(text: &str) -> bool {
    const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let number = |text: &str, digits: usize, max: u32| {
        text.len() == digits
            && text.bytes().all(|byte| byte.is_ascii_digit())
            && text.parse::<u32>().is_ok_and(|number| number <= max)
    };
    let parts: Vec<_> = text.split(' ').collect();
    let [name, day, month, year, time, "GMT"] = parts.as_slice() else { return false };
    let time: Vec<_> = time.split(':').collect();
    let [hours, minutes, seconds] = time.as_slice() else { return false };
    name.strip_suffix(',').is_some_and(|name| DAYS.contains(&name))
        && number(day, 2, 31)
        && MONTHS.contains(month)
        && number(year, 4, 9999)
        && number(hours, 2, 23)
        && number(minutes, 2, 59)
        && number(seconds, 2, 60)
}

fn read_cache_control<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
) -> Option<Vec<CacheRule>> {
    section.entry("cache_control")?;
    let owner = format!("cache_control of {}", section.owner);
    let mut rules = Vec::new();
    for rule in reader.tables(section, "cache_control", |_| owner.clone()) {
        reader.known(&rule, &["path", "prefix", "suffix", "regex", "value", "expires"]);
        let pattern = rewrite::read_pattern(reader, &rule);
        let expires = reader.text(&rule, "expires").and_then(|text| {
            let good = is_http_date(text.value);
            if !good {
                let wrong = format!("{:?} is no date as fields have them", text.value);
                let help = "write it as in \"Tue, 19 Jan 2038 03:14:07 GMT\"";
                reader.bad(&rule, text.span.clone(), wrong, help);
            }
            good.then(|| text.value.to_owned())
        });
        let value = match expires.is_some() && rule.entry("value").is_none() {
            true => None,
            false => reader.required_text(&rule, "value", "max-age=3600"),
        };
        let value = value.filter(|text| {
            let good = !text.value.is_empty() && is_field_value(text.value);
            if !good {
                let wrong = format!("{:?} cannot be the value of a field", text.value);
                reader.bad(&rule, text.span.clone(), wrong, "write it as in \"max-age=3600\"");
            }
            good
        });
        let Some(pattern) = pattern.filter(|_| value.is_some() || expires.is_some()) else {
            continue;
        };
        let value = value.map_or_else(String::new, |text| text.value.to_owned());
        rules.push(CacheRule { path: pattern.value, value, expires });
    }
    Some(rules)
}
