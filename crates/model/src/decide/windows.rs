//! What Windows would do with the same bindings. There a certificate and a site are found one after
//! the other, by two lists of keys: the certificate in the records of HTTP.SYS before a request is
//! seen, the site by the Host of the request.

use std::{fmt, net::SocketAddr};

use super::{KeyHost, KeyRef};
use crate::{
    binding::{Binding, Endpoint, Protocol},
    certificate::CertificateChoice,
    name::{HostName, HostPattern},
    site::SiteState,
    table::MemoryTable,
};

/// Which Windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Windows {
    /// IIS 7 and 7.5: one certificate for each address and port, no server names, no wildcards.
    Iis7,
    /// IIS 8 and later, wildcards of IIS 10 included: records by name, and the central store.
    Iis,
}

impl fmt::Display for Windows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Iis7 => "IIS 7",
            Self::Iis => "IIS 8 and later",
        })
    }
}

/// Where a key of a list is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Address,
    All,
}

/// The host part of a key of a list, before the name is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Exact,
    Wildcard,
    Central,
    Any,
}

impl Windows {
    /// HTTP.SYS's order of certificate records. Those of names have no address.
    fn certificate_plan(self) -> &'static [(Part, At)] {
        match self {
            Self::Iis7 => &[(Part::Any, At::Address), (Part::Any, At::All)],
            Self::Iis => &[
                (Part::Any, At::Address),
                (Part::Exact, At::All),
                (Part::Wildcard, At::All),
                (Part::Central, At::All),
                (Part::Any, At::All),
            ],
        }
    }

    /// HTTP.SYS's order of URL prefixes: hosts, then addresses, then the weak wildcard.
    fn site_plan(self) -> &'static [(Part, At)] {
        match self {
            Self::Iis7 => &[
                (Part::Exact, At::Address),
                (Part::Exact, At::All),
                (Part::Any, At::Address),
                (Part::Any, At::All),
            ],
            Self::Iis => &[
                (Part::Exact, At::Address),
                (Part::Exact, At::All),
                (Part::Wildcard, At::Address),
                (Part::Wildcard, At::All),
                (Part::Any, At::Address),
                (Part::Any, At::All),
            ],
        }
    }
}

fn keys<'a>(
    plan: &'static [(Part, At)],
    local: SocketAddr,
    name: Option<&'a HostName>,
) -> impl Iterator<Item = KeyRef<'a>> {
    plan.iter().filter_map(move |(part, at)| {
        let host = match part {
            Part::Exact => KeyHost::Exact(name?.as_str()),
            Part::Wildcard => KeyHost::Wildcard(name?.parent()?),
            Part::Central => KeyHost::Central(name?.as_str()),
            Part::Any => KeyHost::Any,
        };
        let address = (*at == At::Address).then_some(local.ip());
        Some(KeyRef { endpoint: Endpoint { address, port: local.port() }, host })
    })
}

/// A certificate as Windows finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundCertificate<'a> {
    /// The record.
    pub key: KeyRef<'a>,
    /// The first binding that the record stands for: what it shows is in the record.
    pub binding: &'a Binding,
    /// How many bindings share the record.
    pub sharing: usize,
}

/// The certificate that a client gets who comes to `local` and names `name`; none where the
/// connection ends. A record has the certificate of the first binding that it stands for.
/// `has_file` says whether the central store has a file for a name.
#[must_use]
pub fn certificate<'a>(
    windows: Windows,
    table: &'a MemoryTable,
    local: SocketAddr,
    name: Option<&'a HostName>,
    has_file: impl Fn(&str) -> bool,
) -> Option<FoundCertificate<'a>> {
    let name = if windows == Windows::Iis7 { None } else { name };
    keys(windows.certificate_plan(), local, name).find_map(|key| {
        if let KeyHost::Central(name) = key.host
            && !has_file(name)
        {
            return None;
        }
        let mut standing = table.bindings.iter().filter(|own| stands_for(windows, &key, own));
        let binding = standing.next()?;
        Some(FoundCertificate { key, binding, sharing: standing.count() + 1 })
    })
}

/// Whether the record with this key is that of the binding.
fn stands_for(windows: Windows, key: &KeyRef<'_>, binding: &Binding) -> bool {
    let information = &binding.information;
    if information.protocol != Protocol::Https || information.endpoint.port != key.endpoint.port {
        return false;
    }
    let central = binding.certificate == CertificateChoice::Central;
    match (windows, key.host) {
        (Windows::Iis7, _) => information.endpoint == key.endpoint,
        (Windows::Iis, KeyHost::Central(_)) => central,
        (Windows::Iis, _) if central => false,
        (Windows::Iis, KeyHost::Any) => {
            information.host == HostPattern::Any && information.endpoint == key.endpoint
        }
        // Records of names have no address: bindings of one name on two addresses share one.
        (Windows::Iis, KeyHost::Exact(name)) => {
            matches!(&information.host, HostPattern::Exact(own) if own.as_str() == name)
        }
        (Windows::Iis, KeyHost::Wildcard(parent)) => {
            matches!(&information.host, HostPattern::Wildcard(own) if own.as_str() == parent)
        }
    }
}

/// The binding whose site answers a request for `host`; none where the answer is 400. A site that
/// is stopped has given up its prefixes, so the next key is asked.
#[must_use]
pub fn site<'a>(
    windows: Windows,
    table: &'a MemoryTable,
    local: SocketAddr,
    host: Option<&'a HostName>,
) -> Option<(KeyRef<'a>, &'a Binding)> {
    let held = |key: &KeyRef<'_>| {
        let central = KeyRef { host: KeyHost::Central(""), ..*key };
        let catch_all = || (key.host == KeyHost::Any).then(|| table.holder(&central)).flatten();
        let binding = table.binding(table.holder(key).or_else(catch_all)?);
        (table.site(binding).state == SiteState::Started).then_some(binding)
    };
    keys(windows.site_plan(), local, host).find_map(|key| Some((key, held(&key)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::parse;

    const CONFIG: &str = r#"
[server]
central_store = { folder = "central" }

[[site]]
name = "stopped"
respond = ""
state = "stopped"
bindings = ["https/*:443:off.example"]

[[site]]
name = "a"
respond = ""
bindings = ["https/*:443:a.example", "https/192.0.2.1:443:a.example"]

[[site]]
name = "b"
respond = ""
bindings = ["https/*:443:b.example", "https/192.0.2.1:443:"]

[[site]]
name = "wild"
respond = ""
bindings = ["https/*:443:*.w.example"]

[[site]]
name = "store"
respond = ""
bindings = [{ on = "https/*:443:c.example", certificate = "central" }]

[[site]]
name = "rest"
respond = ""
bindings = ["https/*:443:"]
"#;

    /// The binding whose certificate is shown, with how many share it, and that of the site.
    #[track_caller]
    fn check(windows: Windows, local: &str, name: &str, expected: [&str; 2]) {
        let document = parse(CONFIG, std::path::Path::new("/"));
        let table = &document.configuration.table;
        assert_eq!(table.bindings.len(), 8, "{:?}", document.problems);
        let local = format!("{local}:443").parse().unwrap();
        let name = (!name.is_empty()).then(|| name.parse().unwrap());
        let has_file = |name: &str| name == "c.example";
        let shown = certificate(windows, table, local, name.as_ref(), has_file);
        let shown = shown.map(|own| format!("{} {}", own.binding.information, own.sharing));
        let site = site(windows, table, local, name.as_ref());
        let site = site.map(|(_, binding)| table.site(binding).name.as_str());
        let got = [shown.as_deref().unwrap_or("-"), site.unwrap_or("-")];
        let on = |text: &str| text.replacen("https/", "", 1);
        assert_eq!([on(got[0]).as_str(), got[1]], expected, "{windows} {local} {name:?}");
    }

    #[test]
    fn iis_7_has_one_certificate_for_each_address_and_port() {
        let all = "*:443:off.example 6";
        check(Windows::Iis7, "198.51.100.1", "a.example", [all, "a"]);
        check(Windows::Iis7, "198.51.100.1", "b.example", [all, "b"]);
        check(Windows::Iis7, "198.51.100.1", "x.w.example", [all, "rest"]);
        check(Windows::Iis7, "198.51.100.1", "", [all, "rest"]);
        check(Windows::Iis7, "192.0.2.1", "b.example", ["192.0.2.1:443:a.example 2", "b"]);
        check(Windows::Iis7, "192.0.2.1", "x.example", ["192.0.2.1:443:a.example 2", "b"]);
    }

    #[test]
    fn later_ones_have_records_of_names_but_an_address_comes_first() {
        let at = "198.51.100.1";
        check(Windows::Iis, at, "a.example", ["*:443:a.example 2", "a"]);
        check(Windows::Iis, at, "b.example", ["*:443:b.example 1", "b"]);
        check(Windows::Iis, at, "x.w.example", ["*:443:*.w.example 1", "wild"]);
        check(Windows::Iis, at, "c.example", ["*:443:c.example 1", "store"]);
        check(Windows::Iis, at, "x.example", ["*:443: 1", "rest"]);
        check(Windows::Iis, at, "", ["*:443: 1", "rest"]);
        check(Windows::Iis, "192.0.2.1", "a.example", ["192.0.2.1:443: 1", "a"]);
    }

    #[test]
    fn a_stopped_site_leaves_its_names_to_the_next() {
        check(Windows::Iis, "198.51.100.1", "off.example", ["*:443:off.example 1", "rest"]);
    }
}
