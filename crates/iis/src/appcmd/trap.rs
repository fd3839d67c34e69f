//! Bindings of several sites that share one certificate record without wanting it.
//!
//! HTTP.SYS has one record for an IP address and port. Two https bindings there without SNI show
//! the same certificate, whatever their administrators chose, and IIS says nothing about it.

use std::collections::BTreeMap;

use crate::{
    config::{host::Host, keys},
    netsh::records::ApplicationId,
    xml::draft::{Draft, Node},
};

/// Whose records IIS's own are.
const IIS: ApplicationId = ApplicationId::IIS;

/// A binding without SNI.
#[derive(Clone)]
struct Holder {
    /// Its site, which may get another name.
    node: Node,
    site: String,
    /// Its `bindingInformation`.
    information: String,
}

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
    pub(super) fn of(draft: &Draft<'_>, sites: Vec<Node>) -> Self {
        let mut shared: BTreeMap<String, Vec<Holder>> = BTreeMap::new();
        for site in sites {
            let Some(bindings) = draft.child(site, "bindings") else { continue };
            for binding in draft.children_named(bindings, "binding") {
                let protocol = draft.value(binding, "protocol").unwrap_or_default();
                if !protocol.eq_ignore_ascii_case("https")
                    || keys::is_sni(keys::flags(draft, binding))
                {
                    continue;
                }
                let information = draft.value(binding, "bindingInformation").unwrap_or_default();
                let Some((endpoint, _)) = information.rsplit_once(':') else { continue };
                let name = draft.value(site, "name").unwrap_or_default().into_owned();
                let holder =
                    Holder { node: site, site: name, information: information.to_string() };
                shared.entry(record(endpoint)).or_default().push(holder);
            }
        }
        Self(shared)
    }

    /// The first binding that has come to share a record with another site since.
    pub(super) fn compare(&self, now: &Host<'_>) -> Option<Warning> {
        let none = Vec::new();
        Self::of(&now.draft, now.sites()).0.into_iter().find_map(|(record, holders)| {
            let before = self.0.get(&record).unwrap_or(&none);
            let known = |holder: &&Holder| {
                let mut before = before.iter();
                before.any(|own| own.node == holder.node && own.information == holder.information)
            };
            let new = holders.iter().find(|holder| !known(holder))?;
            let others: Vec<_> =
                holders.iter().filter(|other| other.node != new.node).cloned().collect();
            if others.is_empty() {
                return None;
            }
            Some(warning(&record, new, &others))
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

fn warning(record: &str, new: &Holder, others: &[Holder]) -> Warning {
    let Holder { site, information, .. } = new;
    let (endpoint, host) = information.rsplit_once(':').unwrap_or((information, ""));
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
        others.iter().filter_map(|other| other.information.rsplit(':').next()).collect();
    names.push(host);
    names.retain(|name| !name.is_empty());
    names.dedup();
    let covered = if names.is_empty() { "both sites".to_owned() } else { names.join(" and ") };
    let whose: Vec<_> = others
        .iter()
        .map(|other| format!("https/{} of site \"{}\"", other.information, other.site))
        .collect();
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
    Warning {
        site: site.clone(),
        binding: format!("https/{information}"),
        others: others.iter().map(|own| (own.site.clone(), own.information.clone())).collect(),
        message,
        ways,
    }
}
