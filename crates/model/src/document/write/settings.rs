//! Writes what holds for the whole server, listeners and certificates.

use ipnet::IpNet;

use super::Keys;
use crate::{
    binding::Protocol,
    certificate::{CertificateFiles, CertificateSource},
    change::{Fields, Value},
    decide::{Fallback, ListenerRules},
    document::{CentralStore, Listener, Settings, pools},
    log::{AccessLog, LogFormat, Roll},
};

pub(super) fn server(settings: &Settings) -> Fields {
    let standard = Settings::default();
    let Settings {
        state_dir,
        workers,
        order,
        central_store,
        user,
        drain_seconds,
        trusted_proxies,
        access_log,
        admin,
        client_ca,
        paths: _,
        fastcgi: _,
        connections_max,
        connections_per_address_max,
        application_pools,
    } = settings;
    let mut keys = Keys::default();
    keys.put_some("state_dir", state_dir.as_deref());
    keys.put_some("workers", workers.map(|count| count as u64));
    keys.put_other("order", (*order, standard.order), |own| own.to_string());
    keys.put_some("central_store", central_store.as_ref().map(store));
    keys.put_some("user", user.as_deref());
    keys.put_other("drain_seconds", (*drain_seconds, standard.drain_seconds), |own| own);
    keys.put_other("trusted_proxies", (trusted_proxies, &standard.trusted_proxies), |own| {
        networks(own)
    });
    keys.put_some("access_log", access_log.as_ref().map(log));
    keys.put_some("admin", admin.map(|address| address.to_string()));
    keys.put_some("client_ca", client_ca.as_deref());
    keys.put_some("connections_max", *connections_max);
    keys.put_some("connections_per_address_max", *connections_per_address_max);
    if !application_pools.is_empty() {
        keys.put("application_pools", pools::value(application_pools));
    }
    keys.0
}

fn store(store: &CentralStore) -> Fields {
    let CentralStore { folder, password_file } = store;
    let mut keys = Keys::default();
    keys.put("folder", folder.as_path());
    keys.put_some("password_file", password_file.as_deref());
    keys.0
}

fn log(log: &AccessLog) -> Value {
    let AccessLog { folder, format, shared, roll, compress, keep_days } = log;
    let standard = AccessLog::of(folder.clone());
    if *log == standard {
        return folder.as_path().into();
    }
    let mut keys = Keys::default();
    keys.put("folder", folder.as_path());
    keys.put_other("format", (*format, standard.format), |own| match own {
        LogFormat::W3c => "w3c",
        LogFormat::Json => "json",
        LogFormat::Combined => "combined",
    });
    keys.put_other("shared", (*shared, standard.shared), |own| own);
    keys.put_other("roll", (*roll, standard.roll), |own| match own {
        Roll::Daily => Value::from("daily"),
        Roll::Hourly => Value::from("hourly"),
        Roll::Size(bytes) => Value::from(bytes),
    });
    keys.put_other("compress", (*compress, standard.compress), |own| own);
    keys.put_some("keep_days", *keep_days);
    keys.0.into()
}

/// Networks; one that holds one address only is written as that.
pub(super) fn networks(networks: &[IpNet]) -> Value {
    Value::texts(networks.iter().map(network))
}

pub(super) fn network(network: &IpNet) -> String {
    match network.prefix_len() == network.max_prefix_len() {
        true => network.addr().to_string(),
        false => network.to_string(),
    }
}

/// The text of a listener, which names it.
pub(super) fn listener_name(listener: &Listener) -> String {
    format!("{}/{}", listener.protocol, listener.endpoint)
}

pub(super) fn listener(listener: &Listener) -> Fields {
    let Listener { protocol, endpoint: _, rules, proxy_protocol } = listener;
    let ListenerRules { no_sni, unknown_name } = *rules;
    let word = |own| match own {
        Fallback::CatchAll => "catch-all",
        Fallback::Refuse => "refuse",
    };
    let mut keys = Keys::default();
    if *protocol == Protocol::Https {
        keys.put_other("no_sni", (no_sni, Fallback::default()), word);
    }
    keys.put_other("unknown_name", (unknown_name, Fallback::default()), word);
    if !proxy_protocol.is_empty() {
        keys.put("proxy_protocol", networks(proxy_protocol));
    }
    keys.0
}

pub(super) fn certificate(source: &CertificateSource) -> Fields {
    let CertificateFiles { file, key, password_file } = &source.files;
    let mut keys = Keys::default();
    keys.put("file", file.as_path());
    keys.put_some("key", key.as_deref());
    keys.put_some("password_file", password_file.as_deref());
    keys.0
}
