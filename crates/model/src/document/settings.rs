//! Reads `[server]` and `[[listener]]`.

use std::{net::SocketAddr, path::PathBuf};

use hashbrown::HashMap;

use super::{
    CentralStore, Listener, Positions, Settings, binding, fastcgi, log, pools,
    read::{Entry, Reader, Section, Text, called},
};
use crate::{
    binding::{Protocol, parse_listener},
    decide::{Fallback, ListenerRules, Order},
    problem::{Code, Problem, Span},
    upstream::ServerAddress,
};

/// The version of the file's format that is read.
pub(super) const VERSION: i64 = 1;
/// More threads than any machine has use for.
const WORKERS_MAX: i64 = 1024;
/// Who waits longer than an hour for requests to end waits for ever.
const DRAIN_SECONDS_MAX: i64 = 3600;
/// As many connections as a server takes, whatever is written.
const CONNECTIONS_MAX: u32 = 262_144;

const KEYS: [&str; 13] = [
    "state_dir",
    "workers",
    "order",
    "central_store",
    "user",
    "drain_seconds",
    "trusted_proxies",
    "access_log",
    "admin",
    "connections_max",
    "connections_per_address_max",
    "client_ca",
    "application_pools",
];

/// Reads `version`, which says how to read the rest.
pub(super) fn read_version(reader: &mut Reader<'_>, root: &Section<'_>) {
    let help = format!("write version = {VERSION} as the first line");
    let Some(entry) = root.entry("version") else {
        let message = "the file does not say which version of the format it is in";
        return reader.problem(Code::Version, root.span.clone(), message, help);
    };
    if entry.integer() != Some(VERSION) {
        let message =
            format!("version {VERSION} of the format is read, and the file is in another");
        reader.problem(Code::Version, entry.span, message, help);
    }
}

/// Reads `[server]`.
pub(super) fn read_server<'d>(
    reader: &mut Reader<'d>,
    root: &Section<'d>,
    positions: &mut Positions,
) -> Settings {
    let mut settings = Settings::default();
    let Some(server) = reader.table(root, "server", || "[server]".to_owned()) else {
        return settings;
    };
    reader.known(&server, &KEYS);
    settings.state_dir = reader.path(&server, "state_dir").map(|(path, _)| path);
    let workers = reader.integer(&server, "workers", 1..=WORKERS_MAX);
    settings.workers = workers.and_then(|(count, _)| usize::try_from(count).ok());
    let orders = [Order::HostFirst, Order::HttpSys];
    let orders = orders.map(|order| (order.to_string(), order));
    let orders: Vec<_> = orders.iter().map(|(word, order)| (word.as_str(), *order)).collect();
    if let Some(order) = reader.deciding(|reader| reader.choice(&server, "order", &orders)) {
        settings.order = order;
    }
    settings.central_store = read_central_store(reader, &server, positions);
    settings.user = read_user(reader, &server);
    if let Some((seconds, _)) = reader.integer(&server, "drain_seconds", 0..=DRAIN_SECONDS_MAX) {
        settings.drain_seconds = seconds.unsigned_abs();
    }
    settings.trusted_proxies = reader.networks(&server, "trusted_proxies").unwrap_or_default();
    settings.access_log = log::read(reader, &server);
    settings.admin = read_admin(reader, &server);
    settings.connections_max = reader.count(&server, "connections_max", 1..=CONNECTIONS_MAX);
    settings.connections_per_address_max =
        reader.count(&server, "connections_per_address_max", 1..=CONNECTIONS_MAX);
    settings.client_ca = reader.path(&server, "client_ca").map(|(path, _)| path);
    settings.application_pools = pools::read_pools(reader, &server);
    settings
}

/// Reads `[paths]`: where the folders of Windows are here. Beside sites of its own a file has no
/// use for it, nor for `client_ca`.
pub(super) fn read_paths<'d>(
    reader: &mut Reader<'d>,
    root: &Section<'d>,
    sites: bool,
) -> Vec<(String, PathBuf)> {
    let server = root.entry("server").filter(|server| sites && server.has("client_ca"));
    if let Some(place) = server.and_then(|server| server.place_of("client_ca")) {
        let message = "[server]: client_ca does nothing: the sites are in this file";
        let help = "write client_ca at the binding, beside client_certificate";
        reader.problem(Code::NoEffect, place, message, help);
    }
    let Some(table) = reader.table(root, "paths", || "[paths]".to_owned()) else {
        return Vec::new();
    };
    if sites {
        let message = "[paths] does nothing: the sites are in this file";
        let help =
            "remove it; it says where the folders of an applicationHost.config beside it are";
        reader.problem(Code::NoEffect, root.key_at("paths"), message, help);
    }
    let help = r#"write it from its drive or server on, as in 'C:\inetpub' = "/srv/inetpub""#;
    read_windows(reader, &table, ("folder", help), |reader, entry, text| {
        reader.path_of(&table, entry.key, text).map(|(path, _)| path)
    })
}

/// Reads `[fastcgi]`: which servers stand for programs of Windows. As [`read_paths`].
pub(super) fn read_programs<'d>(
    reader: &mut Reader<'d>,
    root: &Section<'d>,
    sites: bool,
) -> Vec<(String, ServerAddress)> {
    let Some(table) = reader.table(root, "fastcgi", || "[fastcgi]".to_owned()) else {
        return Vec::new();
    };
    if sites {
        let message = "[fastcgi] does nothing: the sites are in this file";
        let help = "remove it; it is for the programs of an applicationHost.config beside it, and a site has fastcgi of its own";
        reader.problem(Code::NoEffect, root.key_at("fastcgi"), message, help);
    }
    let help =
        r#"write it from its drive on, as in 'C:\PHP\php-cgi.exe' = "unix:/run/php/php-fpm.sock""#;
    read_windows(reader, &table, ("program", help), |reader, _, text| {
        fastcgi::read_server(reader, &table, &text)
    })
}

/// Reads a table whose keys are absolute paths of Windows, each once.
fn read_windows<'d, T>(
    reader: &mut Reader<'d>,
    table: &Section<'d>,
    (what, help): (&str, &str),
    read: impl Fn(&mut Reader<'d>, &Entry<'d>, Text<'d>) -> Option<T>,
) -> Vec<(String, T)> {
    let mut all: Vec<(String, T)> = Vec::new();
    let mut seen: HashMap<String, Span> = HashMap::new();
    for entry in table.entries() {
        let span = entry.key_span.clone();
        if !is_windows_folder(entry.key) {
            let wrong = format!("{:?} is no {what} of Windows", entry.key);
            reader.bad(table, span, wrong, help);
            continue;
        }
        let text = reader.text_of(table, &entry);
        let Some(value) = text.and_then(|text| read(reader, &entry, text)) else { continue };
        let folded = entry.key.replace('/', "\\").trim_end_matches('\\').to_lowercase();
        if let Some(first) = seen.insert(folded, span.clone()) {
            let message = format!("{}: {:?} is there twice", table.owner, entry.key);
            let help = "remove one; case and a slash at the end do not count";
            let problem = Problem::new(Code::BadValue, span, message, help);
            reader.problems.push(problem.with_related(first, "the first"));
            continue;
        }
        all.push((entry.key.to_owned(), value));
    }
    all
}

/// Whether a text is the absolute path of a folder as Windows writes it: from a drive or a server.
fn is_windows_folder(text: &str) -> bool {
    let slash = |byte: u8| matches!(byte, b'\\' | b'/');
    match text.as_bytes() {
        [drive, b':'] => drive.is_ascii_alphabetic(),
        [drive, b':', next, ..] => drive.is_ascii_alphabetic() && slash(*next),
        [first, second, third, ..] => slash(*first) && slash(*second) && !slash(*third),
        _ => false,
    }
}

/// Reads where metrics can be asked for.
fn read_admin<'d>(reader: &mut Reader<'d>, server: &Section<'d>) -> Option<SocketAddr> {
    let text = reader.text(server, "admin")?;
    let example = "write a loopback address and a port, as in admin = \"127.0.0.1:9180\"";
    let (wrong, help) = match text.value.parse::<SocketAddr>() {
        Ok(address) if address.port() == 0 => ("0 is no port".to_owned(), example.to_owned()),
        Ok(address) if address.ip().to_canonical().is_loopback() => return Some(address),
        Ok(address) => (
            format!("admin on {address} could be asked by other machines, without TLS or password"),
            format!("write \"127.0.0.1:{}\" or \"[::1]:{0}\"", address.port()),
        ),
        Err(_) => (format!("{:?} is no address with a port", text.value), example.to_owned()),
    };
    reader.bad(server, text.span, wrong, help);
    None
}

fn read_user<'d>(reader: &mut Reader<'d>, server: &Section<'d>) -> Option<String> {
    let user = reader.text(server, "user")?;
    if user.value.is_empty() || user.value.contains(|c: char| c.is_control() || c == ':') {
        let message = format!("{}: {:?} is no name of a user", server.owner, user.value);
        reader.problem(
            Code::BadValue,
            user.span,
            message,
            "name a user of this machine, as in user = \"bindery\"",
        );
        return None;
    }
    Some(user.value.to_owned())
}

fn read_central_store<'d>(
    reader: &mut Reader<'d>,
    server: &Section<'d>,
    positions: &mut Positions,
) -> Option<CentralStore> {
    let store = reader.table(server, "central_store", || "central_store".to_owned())?;
    reader.known(&store, &["folder", "password_file"]);
    let password_file = reader.path(&store, "password_file").map(|(path, _)| path);
    let folder = reader.required_text(&store, "folder", "central")?;
    let (folder, span) = reader.path_of(&store, "folder", folder)?;
    positions.central_store = Some(span);
    Some(CentralStore { folder, password_file })
}

/// Whether `[server]` has a central store, be it right or wrong.
pub(super) fn names_central_store(root: &Section<'_>) -> bool {
    let server = root.entry("server");
    server.is_some_and(|server| server.has("central_store"))
}

/// Reads every `[[listener]]`.
pub(super) fn read_listeners<'d>(
    reader: &mut Reader<'d>,
    root: &Section<'d>,
    positions: &mut Positions,
) -> Vec<Listener> {
    let mut listeners = Vec::new();
    let mut seen = HashMap::new();
    for section in reader.tables(root, "listener", |section| called("listener", section, "on")) {
        let Some((listener, span)) = read_listener(reader, &section) else { continue };
        if let Some(first) = seen.insert(listener.endpoint, span.clone()) {
            let message = format!("{} has rules twice", listener.endpoint);
            let help = "say everything about it in one [[listener]]";
            let problem = Problem::new(Code::DuplicateListener, span.clone(), message, help);
            reader.problems.push(problem.with_related(first, "first here"));
            reader.incomplete = true;
        }
        listeners.push(listener);
        positions.listeners.push(span);
    }
    listeners
}

fn read_listener<'d>(reader: &mut Reader<'d>, section: &Section<'d>) -> Option<(Listener, Span)> {
    reader.known(section, &["on", "no_sni", "unknown_name", "proxy_protocol"]);
    let answers = [("catch-all", Fallback::CatchAll), ("refuse", Fallback::Refuse)];
    let no_sni = reader.choice(section, "no_sni", &answers);
    let unknown_name = reader.choice(section, "unknown_name", &answers);
    let proxy_protocol = reader.networks(section, "proxy_protocol").unwrap_or_default();
    let on = reader.required_text(section, "on", "https/*:443")?;
    let (protocol, endpoint) = match parse_listener(on.value) {
        Ok(parsed) => parsed,
        Err(error) => {
            let example =
                "write protocol/address:port, as in \"https/*:443\" or \"https/192.0.2.10:443\"";
            binding::report(reader, &section.owner, &on, &error, example);
            return None;
        }
    };
    if let Some(entry) = section.entry("no_sni")
        && protocol == Protocol::Http
    {
        let message = format!("{}: no_sni means nothing without TLS", section.owner);
        let help = "remove no_sni; unknown_name holds for http too";
        reader.problem(Code::TlsWithoutHttps, entry.key_span, message, help);
    }
    let rules = ListenerRules {
        no_sni: no_sni.unwrap_or_default(),
        unknown_name: unknown_name.unwrap_or_default(),
    };
    Some((Listener { protocol, endpoint, rules, proxy_protocol }, on.span))
}
