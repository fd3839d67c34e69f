//! Reads what happens around an answer. The keys stand in a site, an application or a virtual
//! directory; one that is there replaces the whole key of the site, and `false` switches it off.

use std::{path::PathBuf, sync::Arc};

use super::{
    PathKind, cors, fields,
    read::{Entry, Reader, Section, Text},
    rewrite,
    value::{self, SECONDS_MAX, is_media_type},
};
use crate::{
    problem::{Code, Problem},
    rules::{AccessRule, BasicAuth, Compress, ErrorStatus, Hsts, RateLimit, Rules},
};

/// The keys of rules, in the order in which they act.
pub(super) const KEYS: [&str; 13] = [
    "access",
    "https_only",
    "rate_limit",
    "basic_auth",
    "redirects",
    "rewrites",
    "request_bytes_max",
    "cors",
    "request_headers",
    "response_headers",
    "hsts",
    "compress",
    "error_pages",
];

/// More requests than anybody makes.
const REQUESTS_MAX: u32 = 1_000_000;
/// What a browser shows who is asked for a password, unless the file says it.
pub(super) const REALM: &str = "restricted";
const YEAR_SECONDS: u64 = 365 * 24 * 3600;
/// Ten years.
const HSTS_SECONDS_MAX: i64 = 315_360_000;
const COMPRESS_BYTES_MIN: u64 = 1024;
const GIB: i64 = 1024 * 1024 * 1024;

/// Types whose content becomes smaller.
const COMPRESSED_TYPES: [&str; 13] = [
    "text/*",
    "application/atom+xml",
    "application/javascript",
    "application/json",
    "application/ld+json",
    "application/manifest+json",
    "application/rss+xml",
    "application/wasm",
    "application/xhtml+xml",
    "application/xml",
    "font/otf",
    "font/ttf",
    "image/svg+xml",
];

/// Reads the rules of a table; what it does not say is as in `inherited`.
pub(super) fn read<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    inherited: &Arc<Rules>,
) -> Arc<Rules> {
    if section.first_of(&KEYS).is_none() {
        return Arc::clone(inherited);
    }
    let mut rules = Rules::clone(inherited);
    for entry in KEYS.into_iter().filter_map(|key| section.entry(key)) {
        read_key(reader, section, &entry, &mut rules);
    }
    Arc::new(rules)
}

fn read_key<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    entry: &Entry<'d>,
    rules: &mut Rules,
) {
    match entry.key {
        "access" => rules.access = read_access(reader, section),
        "https_only" => rules.https_only = reader.boolean(section, entry.key).unwrap_or(false),
        "rate_limit" => rules.rate_limit = read_rate_limit(reader, section, entry),
        "basic_auth" => rules.basic_auth = read_basic_auth(reader, section, entry),
        "redirects" => rules.redirects = rewrite::read_redirects(reader, section),
        "rewrites" => rules.rewrites = rewrite::read_rewrites(reader, section),
        "request_bytes_max" if entry.is_false() => rules.request_bytes_max = None,
        "request_bytes_max" => {
            let read = reader.integer(section, entry.key, 0..=i64::MAX);
            rules.request_bytes_max = read.map(|(bytes, _)| bytes.unsigned_abs());
        }
        "cors" => rules.cors = cors::read(reader, section, entry),
        "request_headers" => {
            let read = fields::read(reader, section, entry.key, fields::Message::Request);
            rules.request_headers = read.unwrap_or_default();
        }
        "response_headers" => {
            let read = fields::read(reader, section, entry.key, fields::Message::Response);
            rules.response_headers = read.unwrap_or_default();
        }
        "hsts" => rules.hsts = read_hsts(reader, section, entry),
        "compress" => rules.compress = read_compress(reader, section, entry),
        _ => rules.error_pages = read_error_pages(reader, section),
    }
}

/// Reports the rules of a table that nothing has use for which goes by them: what answers there, and
/// for a site its applications and virtual directories.
pub(super) fn report_idle<'d>(reader: &mut Reader<'d>, section: &Section<'d>) {
    let headers = section.entry("request_headers");
    if let Some(entry) = headers.filter(|_| !has_any(reader, section, &["proxy", "fastcgi"])) {
        let message = format!("{}: request_headers goes with proxy or fastcgi", section.owner);
        let help =
            "remove it: nobody else gets the request; fields of the answer are response_headers";
        reader.problem(Code::Exclusive, entry.key_span, message, help);
    }
    if has_any(reader, section, &["root"]) {
        return;
    }
    for rule in reader.elements_if_any(section, "rewrites") {
        let Some(span) = rule.place_of("unless_file") else { continue };
        let message = format!("{}: unless_file goes with root", section.owner);
        let help = "remove it: where no files are served, none is looked for";
        reader.problem(Code::Exclusive, span, message, help);
    }
}

/// Whether a table, or one of the routes in it, has one of these keys.
fn has_any<'d>(reader: &mut Reader<'d>, section: &Section<'d>, keys: &[&str]) -> bool {
    section.first_of(keys).is_some()
        || ["applications", "virtual_directories"].iter().any(|kind| {
            let routes = reader.elements_if_any(section, kind);
            routes.iter().any(|route| keys.iter().any(|key| route.has(key)))
        })
}

fn read_access<'d>(reader: &mut Reader<'d>, section: &Section<'d>) -> Vec<AccessRule> {
    let mut rules = Vec::new();
    let mut all: Option<Text<'d>> = None;
    for text in reader.texts(section, "access").unwrap_or_default() {
        if let Some(all) = &all {
            let message = format!("{}: {:?} is never reached", section.owner, text.value);
            let help = format!("move it before {:?}, which is for everybody", all.value);
            let problem = Problem::new(Code::NoEffect, text.span.clone(), message, help);
            reader.problems.push(problem.with_related(all.span.clone(), "for everybody"));
        }
        let read = read_access_rule(reader, section, &text);
        rules.extend(read.iter().flatten());
        if all.is_none() && text.value.ends_with(" all") && read.is_some() {
            all = Some(text);
        }
    }
    rules
}

fn read_access_rule(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    text: &Text<'_>,
) -> Option<Vec<AccessRule>> {
    let example = "write allow or deny and a network, as in \"allow 10.0.0.0/8\" or \"deny all\"";
    let (word, network) = text.value.split_once(' ').unwrap_or((text.value, ""));
    let network_at = text.value.len() - network.len();
    let network = network.trim_start();
    let allow = match word {
        "allow" => true,
        "deny" => false,
        _ => {
            let help = reader.did_you_mean(word, ["allow", "deny"].into_iter());
            let wrong = format!("{:?} begins with neither allow nor deny", text.value);
            reader.bad(
                section,
                text.span.clone(),
                wrong,
                help.unwrap_or_else(|| example.to_owned()),
            );
            return None;
        }
    };
    let networks = match network {
        "all" => ["0.0.0.0/0", "::/0"].map(value::network).into_iter().collect(),
        "" => Err(value::Wrong::whole(text.value, "a network is missing", example)),
        one => value::network(one).map(|network| vec![network]).map_err(|wrong| {
            let part = wrong.part.start + network_at..wrong.part.end + network_at;
            value::Wrong { part, ..wrong }
        }),
    };
    match networks {
        Ok(networks) => {
            Some(networks.into_iter().map(|network| AccessRule { network, allow }).collect())
        }
        Err(wrong) => {
            reader.wrong(Code::BadNetwork, section, text, wrong);
            None
        }
    }
}

/// The table of a rule that may also be `false`: then, or where it is something else, nothing.
pub(super) fn table_or_off<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    entry: &Entry<'d>,
) -> Option<Section<'d>> {
    if entry.is_false() {
        return None;
    }
    reader.section(section, entry, || format!("{} of {}", entry.key, section.owner))
}

fn read_rate_limit<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    entry: &Entry<'d>,
) -> Option<RateLimit> {
    let table = table_or_off(reader, section, entry)?;
    reader.known(&table, &["requests", "seconds", "burst"]);
    if table.entry("requests").is_none() {
        let message = format!("{}: requests is missing", table.owner);
        let help = "add how many a client may make, as in { requests = 10, seconds = 1 }";
        reader.problem(Code::MissingKey, table.span.clone(), message, help);
    }
    let requests = reader.count(&table, "requests", 1..=REQUESTS_MAX);
    let seconds_max = u32::try_from(SECONDS_MAX).unwrap_or(u32::MAX);
    let seconds = reader.count(&table, "seconds", 1..=seconds_max).unwrap_or(1);
    let burst = reader.count(&table, "burst", 1..=REQUESTS_MAX);
    let requests = requests?;
    Some(RateLimit { requests, seconds, burst: burst.unwrap_or(requests) })
}

fn read_basic_auth<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    entry: &Entry<'d>,
) -> Option<BasicAuth> {
    let table = table_or_off(reader, section, entry)?;
    reader.known(&table, &["file", "realm"]);
    let realm = reader.text(&table, "realm");
    let realm = realm.and_then(|text| {
        let good = value::is_field_value(text.value) && !text.value.contains(['"', '\\']);
        if good && !text.value.is_empty() {
            return Some(text.value.to_owned());
        }
        let wrong = format!("{:?} cannot be shown as a realm", text.value);
        reader.bad(&table, text.span, wrong, "write visible ASCII letters without quotes");
        None
    });
    let file = reader.required_text(&table, "file", "htpasswd")?;
    let (file, span) = reader.path_of(&table, "file", file)?;
    reader.name_path(section, PathKind::Passwords, &file, &span);
    Some(BasicAuth { file, realm: realm.unwrap_or_else(|| REALM.to_owned()) })
}

/// What `hsts = true` stands for.
pub(super) fn standard_hsts() -> Hsts {
    Hsts { max_age: YEAR_SECONDS, include_subdomains: false, preload: false }
}

fn read_hsts<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    entry: &Entry<'d>,
) -> Option<Hsts> {
    let standard = standard_hsts();
    if entry.is_true() {
        return Some(standard);
    }
    let table = table_or_off(reader, section, entry)?;
    reader.known(&table, &["max_age", "include_subdomains", "preload"]);
    let max_age = reader.integer(&table, "max_age", 0..=HSTS_SECONDS_MAX);
    let hsts = Hsts {
        max_age: max_age.map_or(standard.max_age, |(seconds, _)| seconds.unsigned_abs()),
        include_subdomains: reader.boolean(&table, "include_subdomains").unwrap_or(false),
        preload: reader.boolean(&table, "preload").unwrap_or(false),
    };
    if hsts.preload && (!hsts.include_subdomains || hsts.max_age < YEAR_SECONDS) {
        let span = table.key_at("preload");
        let wrong = "preload needs include_subdomains and a max_age of a year";
        let help = "add include_subdomains = true and max_age = 31536000, or remove preload";
        reader.bad(&table, span, wrong, help);
    }
    Some(hsts)
}

/// What `compress = true` stands for.
pub(super) fn standard_compress() -> Compress {
    let types = COMPRESSED_TYPES.map(str::to_owned).to_vec();
    Compress { bytes_min: COMPRESS_BYTES_MIN, types }
}

fn read_compress<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    entry: &Entry<'d>,
) -> Option<Compress> {
    let standard = standard_compress();
    if entry.is_true() {
        return Some(standard);
    }
    let table = table_or_off(reader, section, entry)?;
    reader.known(&table, &["bytes_min", "types"]);
    let bytes_min = reader.integer(&table, "bytes_min", 0..=GIB);
    let types = reader.texts(&table, "types").map(|texts| {
        let mut types = Vec::new();
        for text in texts {
            if is_media_type(text.value, true) {
                types.push(text.value.to_ascii_lowercase());
                continue;
            }
            let wrong = format!("{:?} is no media type", text.value);
            let help = "write type/subtype or type/*, as in \"application/json\" or \"text/*\"";
            reader.bad(&table, text.span, wrong, help);
        }
        types
    });
    Some(Compress {
        bytes_min: bytes_min.map_or(standard.bytes_min, |(bytes, _)| bytes.unsigned_abs()),
        types: types.unwrap_or(standard.types),
    })
}

fn read_error_pages<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
) -> Vec<(ErrorStatus, PathBuf)> {
    let owner = || format!("error_pages of {}", section.owner);
    let Some(table) = reader.table(section, "error_pages", owner) else { return Vec::new() };
    let mut pages = Vec::new();
    for entry in table.entries() {
        let status = entry.key.parse::<ErrorStatus>().ok();
        if status.is_none() {
            let wrong = format!("{:?} is no status of an error", entry.key);
            let help = "write a status from 400 to 599, as in { 404 = \"errors/404.html\", \"403.14\" = \"errors/no-list.html\" }";
            reader.bad(&table, entry.key_span.clone(), wrong, help);
        }
        let text = reader.text_of(&table, &entry);
        let path = text.and_then(|text| reader.path_of(&table, entry.key, text));
        let Some((status, (path, span))) = status.zip(path) else { continue };
        if pages.iter().any(|(own, _)| *own == status) {
            let wrong = format!("{status} is there twice");
            reader.bad(&table, entry.key_span, wrong, "remove one");
            continue;
        }
        reader.name_path(section, PathKind::ErrorPage, &path, &span);
        pages.push((status, path));
    }
    pages.sort_unstable();
    pages
}
