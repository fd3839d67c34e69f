//! Writes what answers: files and their options, proxy, FastCGI, redirect, respond.

use std::time::Duration;

use super::{Keys, rules};
use crate::{
    change::{Fields, Value},
    document::{
        action::{CONTENT_TYPE, REDIRECT_STATUS},
        proxy::{self, TIMEOUT_KEYS},
    },
    site::{CacheRule, FastCgi, Files, RouteAction, Symlinks, UnknownTypes},
    upstream::{
        Balance, HealthCheck, Proxy, ProxyProtocol, ServerAddress, Sticky, Timeouts, Upstream,
        UpstreamHost, UpstreamProtocol, UpstreamServer, UpstreamTls,
    },
};

/// Puts what answers. Options of files are those that differ from the `inherited`.
pub(super) fn put(keys: &mut Keys, action: &RouteAction, inherited: &Files) {
    match action {
        RouteAction::Files(files) => put_files(keys, files, inherited),
        RouteAction::FastCgi(program) => {
            put_files(keys, &program.files, inherited);
            keys.put("fastcgi", fast_cgi(program));
        }
        RouteAction::Proxy(proxy) => keys.put("proxy", proxy_value(proxy)),
        RouteAction::Redirect { to, status } if *status == REDIRECT_STATUS => {
            keys.put("redirect", to.as_str());
        }
        RouteAction::Redirect { to, status } => {
            let mut own = Keys::default();
            own.put("to", to.as_str());
            own.put("status", *status);
            keys.put("redirect", own.0);
        }
        RouteAction::Respond { status: 200, body, content_type }
            if content_type == CONTENT_TYPE =>
        {
            keys.put("respond", body.as_str());
        }
        RouteAction::Respond { status, body, content_type } => {
            let mut own = Keys::default();
            own.put_other("status", (*status, 200), |own| own);
            own.put_other("body", (body.as_str(), ""), |own| own);
            own.put_other("content_type", (content_type.as_str(), CONTENT_TYPE), |own| own);
            keys.put("respond", own.0);
        }
    }
}

fn put_files(keys: &mut Keys, own: &Files, inherited: &Files) {
    let Files {
        root,
        default_documents,
        listing,
        fallback,
        symlinks,
        precompressed,
        media_types,
        unknown_types,
        hidden,
        charset,
        cache_control,
    } = own;
    keys.put("root", root.as_path());
    keys.put_other("default_documents", (default_documents, &inherited.default_documents), |own| {
        Value::texts(own.iter().cloned())
    });
    keys.put_other("listing", (*listing, inherited.listing), |own| own);
    keys.put_other("fallback", (fallback, &inherited.fallback), |own| match own {
        Some(path) => Value::from(path.as_str()),
        None => Value::from(false),
    });
    keys.put_other("symlinks", (*symlinks, inherited.symlinks), |own| match own {
        Symlinks::Refuse => "refuse",
        Symlinks::Inside => "inside",
        Symlinks::Follow => "follow",
    });
    keys.put_other("precompressed", (*precompressed, inherited.precompressed), |own| own);
    keys.put_other("media_types", (media_types, &inherited.media_types), |own| {
        let types = own.iter();
        types.map(|(ending, own)| (format!(".{ending}"), own.as_str().into())).collect::<Fields>()
    });
    keys.put_other("unknown_types", (*unknown_types, inherited.unknown_types), |own| match own {
        UnknownTypes::Bytes => "bytes",
        UnknownTypes::Refuse => "refuse",
        UnknownTypes::Listed => "listed",
    });
    keys.put_other("hidden", (hidden, &inherited.hidden), |own| Value::texts(own.iter().cloned()));
    keys.put_other("charset", (charset, &inherited.charset), |own| {
        own.as_deref().unwrap_or_default()
    });
    keys.put_other("cache_control", (cache_control, &inherited.cache_control), |own| {
        own.iter().map(cache_rule).collect::<Vec<_>>()
    });
}

fn cache_rule(rule: &CacheRule) -> Value {
    let CacheRule { path, value, expires } = rule;
    let mut keys = rules::pattern(path);
    keys.put_other("value", (value.as_str(), ""), |own| own);
    keys.put_some("expires", expires.as_deref());
    keys.0.into()
}

fn fast_cgi(program: &FastCgi) -> Value {
    let FastCgi {
        server,
        files: _,
        extensions,
        front_controller,
        parameters,
        timeouts,
        idle_connections_max,
    } = program;
    let mut keys = Keys::default();
    let standard = [FastCgi::EXTENSION];
    if !extensions.iter().eq(standard) {
        let endings = extensions.iter().map(|ending| format!(".{ending}"));
        keys.put("extensions", Value::texts(endings));
    }
    keys.put_some("front_controller", front_controller.as_deref());
    if !parameters.is_empty() {
        let all = parameters.iter().map(|(name, own)| (name.clone(), own.as_str().into()));
        keys.put("parameters", all.collect::<Fields>());
    }
    put_timeouts(&mut keys, timeouts);
    let idle = (*idle_connections_max, FastCgi::IDLE_CONNECTIONS);
    keys.put_other("idle_connections_max", idle, |own| own);
    or_short(keys, server.to_string().into())
}

/// A table with `to`, or that alone where there is nothing else to say.
fn or_short(mut keys: Keys, to: Value) -> Value {
    if keys.0.is_empty() {
        return to;
    }
    keys.put("to", to);
    keys.0.into()
}

fn put_timeouts(keys: &mut Keys, timeouts: &Timeouts) {
    let standard = Timeouts::default();
    let Timeouts { connect, first_byte, idle } = *timeouts;
    let own =
        [(connect, standard.connect), (first_byte, standard.first_byte), (idle, standard.idle)];
    for (key, pair) in TIMEOUT_KEYS.into_iter().zip(own) {
        keys.put_other(key, pair, seconds);
    }
}

/// Whole seconds; what is shorter than one is one.
fn seconds(time: Duration) -> u64 {
    time.as_secs().max(1)
}

fn proxy_value(proxy: &Proxy) -> Value {
    let Proxy { upstream, path, host, timeouts, forwarded } = proxy;
    let standard = Upstream::of(Vec::new());
    let Upstream {
        servers,
        balance,
        sticky,
        protocol,
        tls,
        proxy_protocol,
        health_check,
        failures_max,
        failed_for,
        idle_connections_max,
    } = upstream;
    let mut keys = Keys::default();
    match host {
        UpstreamHost::Keep => {}
        UpstreamHost::Server => keys.put("host", "server"),
        UpstreamHost::Fixed(host) => keys.put("host", host.as_str()),
    }
    keys.put_other("balance", (*balance, standard.balance), |own| match own {
        Balance::RoundRobin => "round-robin",
        Balance::LeastConnections => "least-connections",
    });
    match sticky {
        Sticky::No => {}
        Sticky::Address => keys.put("sticky", "address"),
        Sticky::Cookie(name) => {
            let cookie = Fields::from([("cookie".to_owned(), name.as_str().into())]);
            keys.put("sticky", cookie);
        }
    }
    keys.put_other("http2", (*protocol, standard.protocol), |own| own == UpstreamProtocol::Http2);
    keys.put_other("tls", (tls, &standard.tls), upstream_tls);
    let version = proxy_protocol.map(|own| match own {
        ProxyProtocol::V1 => "v1",
        ProxyProtocol::V2 => "v2",
    });
    keys.put_some("proxy_protocol", version);
    keys.put_some("health_check", health_check.as_ref().map(check));
    keys.put_other("failures_max", (*failures_max, standard.failures_max), |own| own);
    keys.put_other("failed_for_seconds", (*failed_for, standard.failed_for), seconds);
    let idle = (*idle_connections_max, standard.idle_connections_max);
    keys.put_other("idle_connections_max", idle, |own| own);
    put_timeouts(&mut keys, timeouts);
    keys.put_other("forwarded", (*forwarded, false), |own| own);
    let mut members: Vec<_> =
        servers.iter().map(|server| member(server, path.as_deref())).collect();
    let to = match (members.pop(), members.is_empty()) {
        (Some(only @ Value::Text(_)), true) => only,
        (last, _) => members.into_iter().chain(last).collect::<Vec<_>>().into(),
    };
    or_short(keys, to)
}

fn member(server: &UpstreamServer, path: Option<&str>) -> Value {
    let UpstreamServer { address, https, weight, backup } = server;
    let url = match address {
        ServerAddress::Unix(_) => address.to_string(),
        ServerAddress::Tcp { .. } => {
            let (scheme, port) = if *https { ("https", ":443") } else { ("http", ":80") };
            let address = address.to_string();
            let address = address.strip_suffix(port).unwrap_or(&address);
            format!("{scheme}://{address}{}", path.unwrap_or_default())
        }
    };
    let mut keys = Keys::default();
    keys.put_other("weight", (*weight, 1), |own| own);
    keys.put_other("backup", (*backup, false), |own| own);
    or_short(keys, url.into())
}

fn upstream_tls(tls: &UpstreamTls) -> Fields {
    let UpstreamTls { ca, server_name, insecure } = tls;
    let mut keys = Keys::default();
    keys.put_some("ca", ca.as_deref());
    keys.put_some("server_name", server_name.as_deref());
    keys.put_other("insecure", (*insecure, false), |own| own);
    keys.0
}

fn check(own: &HealthCheck) -> Fields {
    let standard = proxy::health_check(own.path.clone());
    let HealthCheck { path, interval, timeout, rise, fall } = own;
    let mut keys = Keys::default();
    keys.put("path", path.as_str());
    keys.put_other("interval_seconds", (*interval, standard.interval), seconds);
    keys.put_other("timeout_seconds", (*timeout, standard.timeout), seconds);
    keys.put_other("rise", (*rise, standard.rise), |own| own);
    keys.put_other("fall", (*fall, standard.fall), |own| own);
    keys.0
}
