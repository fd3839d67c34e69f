//! Bindings of several sites that share one certificate record without wanting it.
//!
//! HTTP.SYS has one record for an IP address and port. Two https bindings there without SNI show
//! the same certificate, whatever their administrators chose, and IIS says nothing about it.

use std::collections::BTreeMap;

use crate::{
    config::{host::Host, keys},
    netsh::records::ApplicationId,
};

/// Whose records IIS's own are.
const IIS: ApplicationId = ApplicationId::IIS;

/// A site and the `bindingInformation` of one of its bindings.
type Holder = (String, String);

/// Two sites that would show one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The site whose binding was asked for.
    pub site: String,
    /// The binding, as `https/*:443:shop.example`.
    pub binding: String,
    /// Others on the same address and port, with their sites.
    pub others: Vec<(String, String)>,
    /// What that comes to.
    pub message: String,
    /// What can be done instead.
    pub ways: Vec<Way>,
}

/// A way out, with the commands for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// What it does.
    pub what: String,
    /// In this order.
    pub commands: Vec<String>,
}

/// The bindings of each address and port whose certificate goes by that alone.
pub(super) struct Shared(BTreeMap<String, Vec<Holder>>);

impl Shared {
    pub(super) fn of(host: &Host<'_>) -> Self {
        let mut shared: BTreeMap<String, Vec<Holder>> = BTreeMap::new();
        for site in host.sites() {
            let Some(bindings) = host.draft.child(site, "bindings") else { continue };
            for binding in host.draft.children_named(bindings, "binding") {
                let protocol = host.draft.value(binding, "protocol").unwrap_or_default();
                if !protocol.eq_ignore_ascii_case("https")
                    || keys::is_sni(keys::flags(&host.draft, binding))
                {
                    continue;
                }
                let information =
                    host.draft.value(binding, "bindingInformation").unwrap_or_default();
                let Some((endpoint, _)) = information.rsplit_once(':') else { continue };
                let name = host.draft.value(site, "name").unwrap_or_default().into_owned();
                let holders = shared.entry(record(endpoint)).or_default();
                holders.push((name, information.into_owned()));
            }
        }
        Self(shared)
    }

    /// The first binding that has come to share a record with another site since.
    pub(super) fn compare(&self, now: &Host<'_>) -> Option<Warning> {
        let none = Vec::new();
        Self::of(now).0.into_iter().find_map(|(record, holders)| {
            let before = self.0.get(&record).unwrap_or(&none);
            let new = holders.iter().find(|holder| !before.contains(holder))?;
            let others: Vec<_> =
                holders.iter().filter(|(site, _)| *site != new.0).cloned().collect();
            if others.is_empty() {
                return None;
            }
            Some(warning(&record, new.clone(), others))
        })
    }
}

/// The address and port of a record: all addresses are `0.0.0.0`.
fn record(endpoint: &str) -> String {
    let (address, port) = endpoint.rsplit_once(':').unwrap_or((endpoint, ""));
    match address {
        "*" | "" | "[::]" => format!("0.0.0.0:{port}"),
        _ => endpoint.to_ascii_lowercase(),
    }
}

fn warning(record: &str, (site, information): Holder, others: Vec<Holder>) -> Warning {
    let (endpoint, host) = information.rsplit_once(':').unwrap_or((information.as_str(), ""));
    let port = endpoint.rsplit(':').next().unwrap_or("443");
    let named = if host.is_empty() { "<name>" } else { host };
    let key = format!("[protocol='https',bindingInformation='{information}']");
    let mut commands = Vec::new();
    if host.is_empty() {
        commands.push(format!(
            "appcmd set site \"{site}\" \"/bindings.{key}.bindingInformation:{endpoint}:{named}\""
        ));
    }
    let key = format!("[protocol='https',bindingInformation='{endpoint}:{named}']");
    commands.push(format!("appcmd set site \"{site}\" \"/bindings.{key}.sslFlags:1\""));
    commands.push(format!(
        "netsh http add sslcert hostnameport={named}:{port} certhash=<thumbprint> appid={IIS} certstorename=MY"
    ));
    let mut names: Vec<_> =
        others.iter().filter_map(|(_, other)| other.rsplit(':').next()).collect();
    names.push(host);
    names.retain(|name| !name.is_empty());
    names.dedup();
    let covered = if names.is_empty() { "both sites".to_owned() } else { names.join(" and ") };
    let whose: Vec<_> =
        others.iter().map(|(site, other)| format!("https/{other} of site \"{site}\"")).collect();
    let message = format!(
        "https/{information} of site \"{site}\" asks for no SNI, and neither does {}: one IP address and port has one certificate record, {record}, so all of them show the same certificate to every client",
        whose.join(", ")
    );
    let ways = vec![
        Way {
            what: format!(
                "let the name choose (SNI): clients that ask for {named} get a certificate of its own"
            ),
            commands,
        },
        Way {
            what: format!("use one certificate that covers {covered}"),
            commands: vec![format!(
                "netsh http update sslcert ipport={record} certhash=<thumbprint> appid={IIS} certstorename=MY"
            )],
        },
    ];
    Warning { site, binding: format!("https/{information}"), others, message, ways }
}
