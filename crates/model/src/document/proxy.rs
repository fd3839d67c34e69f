//! Reads `proxy`: other servers that answer by HTTP. A URL, an array of them, or a table.

use std::time::Duration;

use super::{
    PathKind,
    address::{self, ServerUrl},
    nearest::nearest,
    read::{Entry, Reader, Section, Text},
    value::{self, is_token},
};
use crate::{
    name::HostName,
    problem::{Code, Problem, Span},
    upstream::{
        Balance, HealthCheck, Proxy, ProxyProtocol, ServerAddress, Sticky, Timeouts, Upstream,
        UpstreamHost, UpstreamProtocol, UpstreamServer, UpstreamTls,
    },
};

const WEIGHT_MAX: u32 = 256;
/// More failures, questions or answers in a row than anybody waits for.
const TIMES_MAX: u32 = 1000;
pub(super) const IDLE_CONNECTIONS_MAX: u32 = 65_535;
pub(super) const TIMEOUT_KEYS: [&str; 3] =
    ["connect_timeout_seconds", "first_byte_timeout_seconds", "idle_timeout_seconds"];

/// A member, and where it stands.
struct Member {
    url: ServerUrl,
    span: Span,
    weight: u16,
    backup: bool,
}

/// Reads the value of `proxy`.
pub(super) fn read<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    entry: &Entry<'d>,
) -> Option<Proxy> {
    if !entry.is_table() || entry.is_array() {
        let own = section.called(format!("proxy of {}", section.owner));
        let (servers, path) = read_members(reader, &own, entry)?;
        return Some(Proxy { path, ..Proxy::to(Upstream::of(servers)) });
    }
    let table = reader.section(section, entry, || format!("proxy of {}", section.owner))?;
    let mut keys = vec![
        "to",
        "host",
        "balance",
        "sticky",
        "http2",
        "tls",
        "proxy_protocol",
        "health_check",
        "failures_max",
        "failed_for_seconds",
        "idle_connections_max",
        "forwarded",
    ];
    keys.extend(TIMEOUT_KEYS);
    reader.known(&table, &keys);
    let members = match table.entry("to") {
        Some(to) => read_members(reader, &table, &to),
        None => {
            let message = format!("{}: to is missing", table.owner);
            let help = "add to = \"http://127.0.0.1:9000\", or an array of such";
            reader.problem(Code::MissingKey, table.span.clone(), message, help);
            None
        }
    };
    let https = members.as_ref().is_none_or(|(servers, _)| servers.iter().any(|own| own.https));
    let mut upstream = read_group(reader, &table);
    upstream.tls = read_tls(reader, &table, https);
    let host = read_host(reader, &table);
    let timeouts = read_timeouts(reader, &table);
    let forwarded = reader.boolean(&table, "forwarded").unwrap_or(false);
    let (servers, path) = members?;
    Some(Proxy { upstream: Upstream { servers, ..upstream }, path, host, timeouts, forwarded })
}

/// How the members are used: everything but who they are and TLS.
fn read_group<'d>(reader: &mut Reader<'d>, table: &Section<'d>) -> Upstream {
    let standard = Upstream::of(Vec::new());
    let ways =
        [("round-robin", Balance::RoundRobin), ("least-connections", Balance::LeastConnections)];
    let balance = reader.choice(table, "balance", &ways).unwrap_or_default();
    let sticky = read_sticky(reader, table);
    let protocol = match reader.boolean(table, "http2") {
        Some(true) => UpstreamProtocol::Http2,
        _ => UpstreamProtocol::Http1,
    };
    let versions = [("v1", ProxyProtocol::V1), ("v2", ProxyProtocol::V2)];
    let failures_max = reader.count(table, "failures_max", 0..=TIMES_MAX);
    let idle = reader.count(table, "idle_connections_max", 0..=IDLE_CONNECTIONS_MAX);
    Upstream {
        balance,
        sticky,
        protocol,
        proxy_protocol: reader.choice(table, "proxy_protocol", &versions),
        health_check: read_health_check(reader, table),
        failures_max: failures_max.unwrap_or(standard.failures_max),
        failed_for: reader.seconds(table, "failed_for_seconds", standard.failed_for),
        idle_connections_max: idle.unwrap_or(standard.idle_connections_max),
        ..standard
    }
}

/// The members, and the path that all their URLs have.
fn read_members<'d>(
    reader: &mut Reader<'d>,
    owner: &Section<'d>,
    entry: &Entry<'d>,
) -> Option<(Vec<UpstreamServer>, Option<String>)> {
    if entry.is_empty() {
        let help = "name one, as in \"http://127.0.0.1:9000\"";
        reader.bad(owner, entry.span.clone(), "there is no server", help);
        return None;
    }
    let elements = if entry.is_array() {
        reader.elements(owner, entry.key, "an array")
    } else if entry.is_text() || entry.is_table() {
        Vec::new()
    } else {
        reader.wrong_type(owner, entry, "a URL, an array of them or a table");
        return None;
    };
    let mut members = Vec::new();
    let mut whole = true;
    let alone = elements.is_empty().then_some(entry);
    for element in elements.iter().chain(alone) {
        let member = read_member(reader, owner, element);
        whole &= member.is_some();
        members.extend(member);
    }
    report_together(reader, owner, &members, whole);
    let path = members.first().and_then(|first| first.url.path.clone());
    let servers = members.into_iter().map(|member| UpstreamServer {
        address: member.url.address,
        https: member.url.https,
        weight: member.weight,
        backup: member.backup,
    });
    let servers: Vec<_> = servers.collect();
    (!servers.is_empty()).then_some((servers, path))
}

fn read_member<'d>(
    reader: &mut Reader<'d>,
    owner: &Section<'d>,
    entry: &Entry<'d>,
) -> Option<Member> {
    if entry.is_text() {
        let text = reader.text_of(owner, entry)?;
        let url = read_url(reader, owner, &text)?;
        return Some(Member { url, span: text.span, weight: 1, backup: false });
    }
    let table = reader.section(owner, entry, || format!("a server of {}", owner.owner))?;
    reader.known(&table, &["to", "weight", "backup"]);
    let weight = reader.count(&table, "weight", 1..=WEIGHT_MAX);
    let weight = weight.and_then(|weight| u16::try_from(weight).ok()).unwrap_or(1);
    let backup = reader.boolean(&table, "backup").unwrap_or(false);
    let text = reader.required_text(&table, "to", "http://127.0.0.1:9000")?;
    let url = read_url(reader, owner, &text)?;
    Some(Member { url, span: text.span, weight, backup })
}

fn read_url<'d>(
    reader: &mut Reader<'d>,
    owner: &Section<'d>,
    text: &Text<'d>,
) -> Option<ServerUrl> {
    match address::server_url(text.value, reader.folder()) {
        Ok(url) => {
            if let ServerAddress::Unix(path) = &url.address {
                reader.name_path(owner, PathKind::Socket, path, &text.span);
            }
            Some(url)
        }
        Err(wrong) => {
            reader.wrong(Code::BadValue, owner, text, wrong);
            None
        }
    }
}

/// Reports members that cannot stand together; all are there where they are `whole`.
fn report_together(reader: &mut Reader<'_>, owner: &Section<'_>, members: &[Member], whole: bool) {
    let Some(first) = members.first() else { return };
    for (place, member) in members.iter().enumerate() {
        if member.url.path != first.url.path {
            let path = |own: &Member| own.url.path.clone().unwrap_or_else(|| "none".to_owned());
            let message = format!(
                "{}: the path of this server is {}, that of the first is {}",
                owner.owner,
                path(member),
                path(first)
            );
            let help = "all servers have one path or none: it takes the place of the route's";
            let problem = Problem::new(Code::Exclusive, member.span.clone(), message, help);
            reader.problems.push(problem.with_related(first.span.clone(), "the first"));
        }
        let twin = members.iter().take(place).find(|other| {
            other.url.address == member.url.address && other.url.https == member.url.https
        });
        if let Some(twin) = twin {
            let message = format!("{}: {} is there twice", owner.owner, member.url.address);
            let help = "remove one; weight says how much a server gets";
            let problem = Problem::new(Code::BadValue, member.span.clone(), message, help);
            reader.problems.push(problem.with_related(twin.span.clone(), "the first"));
        }
    }
    if whole && members.iter().all(|member| member.backup) {
        let wrong = "every server is a backup";
        reader.bad(owner, first.span.clone(), wrong, "remove backup from those that answer first");
    }
}

fn read_host<'d>(reader: &mut Reader<'d>, table: &Section<'d>) -> UpstreamHost {
    let Some(text) = reader.text(table, "host") else { return UpstreamHost::Keep };
    let help = match text.value {
        "keep" => return UpstreamHost::Keep,
        "server" => return UpstreamHost::Server,
        // A name of one letter more or less is a word that was mistyped.
        other => match nearest(other, ["keep", "server"].into_iter()) {
            Some(word) => format!("did you mean {word:?}?"),
            None => match address::host_port(other, 80) {
                Ok(_) => return UpstreamHost::Fixed(other.to_ascii_lowercase()),
                Err(_) => {
                    "write \"keep\", \"server\", or a host, with a port where it has one".to_owned()
                }
            },
        },
    };
    reader.bad(table, text.span, format!("{:?} is no host", text.value), help);
    UpstreamHost::Keep
}

fn read_sticky<'d>(reader: &mut Reader<'d>, table: &Section<'d>) -> Sticky {
    let Some(entry) = table.entry("sticky") else { return Sticky::No };
    if entry.is_false() {
        return Sticky::No;
    }
    if entry.is_text() {
        let word = reader.choice(table, "sticky", &[("address", ())]);
        return word.map_or(Sticky::No, |()| Sticky::Address);
    }
    let own = reader.section(table, &entry, || format!("sticky of {}", table.owner));
    let Some(own) = own else { return Sticky::No };
    reader.known(&own, &["cookie"]);
    match reader.required_text(&own, "cookie", "route") {
        Some(name) if is_token(name.value) => Sticky::Cookie(name.value.to_owned()),
        Some(name) => {
            let wrong = format!("{:?} is no name of a cookie", name.value);
            reader.bad(&own, name.span, wrong, "write letters and digits, as in \"route\"");
            Sticky::No
        }
        None => Sticky::No,
    }
}

fn read_tls<'d>(reader: &mut Reader<'d>, table: &Section<'d>, https: bool) -> UpstreamTls {
    let owner = || format!("tls of {}", table.owner);
    let Some(tls) = reader.table(table, "tls", owner) else { return UpstreamTls::default() };
    reader.known(&tls, &["ca", "server_name", "insecure"]);
    if !https {
        let span = table.key_at("tls");
        let message =
            format!("{}: tls means nothing where no server is reached by https", table.owner);
        let help = "write https:// in the URL of a server, or remove tls";
        reader.problem(Code::TlsWithoutHttps, span, message, help);
    }
    let insecure = reader.boolean(&tls, "insecure").unwrap_or(false);
    let ca = reader.path(&tls, "ca");
    if let Some((path, span)) = &ca {
        reader.name_path(table, PathKind::UpstreamCa, path, span);
    }
    for key in ["ca", "server_name"] {
        if let (true, Some(entry)) = (insecure, tls.entry(key)) {
            let message = format!("{} has insecure and {key}", tls.owner);
            let help = format!("{key} says whom to trust: remove insecure, which trusts anybody");
            reader.problems.push(Problem::new(Code::Exclusive, entry.key_span, message, help));
        }
    }
    let server_name =
        reader.text(&tls, "server_name").and_then(|text| match text.value.parse::<HostName>() {
            Ok(name) => Some(name.as_str().to_owned()),
            Err(error) => {
                let help = "write the name in the server's certificate, as in \"app.internal\"";
                let message = format!("{}: {error}", tls.owner);
                reader.problem(Code::BadHost, text.span, message, help);
                None
            }
        });
    UpstreamTls { ca: ca.map(|(path, _)| path), server_name, insecure }
}

fn read_health_check<'d>(reader: &mut Reader<'d>, table: &Section<'d>) -> Option<HealthCheck> {
    let check =
        reader.table(table, "health_check", || format!("health_check of {}", table.owner))?;
    let keys = ["path", "interval_seconds", "timeout_seconds", "rise", "fall"];
    reader.known(&check, &keys);
    let path = reader.required_text(&check, "path", "/healthz");
    let path = path.and_then(|text| match super::target::read_path_target(text.value) {
        Ok(()) => Some(text.value.to_owned()),
        Err(why) => {
            let wrong = value::Wrong::whole(text.value, why, "write a path, as in \"/healthz\"");
            reader.wrong(Code::BadValue, &check, &text, wrong);
            None
        }
    });
    let standard = health_check(String::new());
    let interval = reader.seconds(&check, "interval_seconds", standard.interval);
    let timeout = reader.seconds(&check, "timeout_seconds", standard.timeout);
    let rise = reader.count(&check, "rise", 1..=TIMES_MAX).unwrap_or(standard.rise);
    let fall = reader.count(&check, "fall", 1..=TIMES_MAX).unwrap_or(standard.fall);
    Some(HealthCheck { path: path?, interval, timeout, rise, fall })
}

/// A health check of this path with the defaults of everything else.
pub(super) fn health_check(path: String) -> HealthCheck {
    HealthCheck {
        path,
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(2),
        rise: 2,
        fall: 3,
    }
}

/// Reads the bounds on waiting for another server.
pub(super) fn read_timeouts<'d>(reader: &mut Reader<'d>, table: &Section<'d>) -> Timeouts {
    let standard = Timeouts::default();
    let [connect, first_byte, idle] = TIMEOUT_KEYS;
    Timeouts {
        connect: reader.seconds(table, connect, standard.connect),
        first_byte: reader.seconds(table, first_byte, standard.first_byte),
        idle: reader.seconds(table, idle, standard.idle),
    }
}
