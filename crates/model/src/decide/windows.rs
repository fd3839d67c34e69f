//! What Windows would do with the same bindings. There a certificate and a site are found one after
//! the other, by two lists of keys: the certificate in the records of HTTP.SYS before a request is
//! seen, the site by the Host of the request.

use std::{fmt, net::SocketAddr};

use super::{KeyHost, KeyRef};
use crate::{
    binding::{Binding, BindingInformation, Endpoint, Protocol},
    certificate::CertificateChoice,
    document::Configuration,
    name::{HostName, HostPattern},
    record::{RecordKey, Records},
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundCertificate<'a> {
    /// The key of the record.
    pub record: RecordKey,
    /// What the record shows.
    pub shows: Shows<'a>,
    /// The first binding that the record stands for, where it stands for any.
    pub binding: Option<&'a Binding>,
    /// How many bindings share the record.
    pub sharing: usize,
}

/// What a record shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows<'a> {
    /// There are no records apart from bindings: what this one shows, taken for it.
    Binding(&'a Binding),
    /// The certificate with this SHA-1.
    Certificate([u8; 20]),
    /// The file that the central store has for the name.
    File,
    /// Nothing: it names no certificate.
    Nothing,
}

/// The certificate that a client gets who comes to `local` and names `name`; none where the
/// connection ends. In IIS's form it is that of the records; where there are none, each is taken to
/// have the certificate of the first binding that it would stand for. `has_file` says whether the
/// central store has a file for a name.
#[must_use]
pub fn certificate<'a>(
    windows: Windows,
    configuration: &'a Configuration,
    local: SocketAddr,
    name: Option<&HostName>,
    has_file: impl Fn(&str) -> bool,
) -> Option<FoundCertificate<'a>> {
    let Configuration { table, records, .. } = configuration;
    let name = if windows == Windows::Iis7 { None } else { name };
    keys(windows.certificate_plan(), local, name).find_map(|key| {
        if let KeyHost::Central(name) = key.host
            && !has_file(name)
        {
            return None;
        }
        let record = record_of(&key)?;
        if let Some(records) = records {
            let certificate = records.certificates.get(&record)?;
            let shows = match (&record, certificate) {
                (RecordKey::CentralStore(_), _) => Shows::File,
                (_, Some(hash)) => Shows::Certificate(*hash),
                (_, None) => Shows::Nothing,
            };
            let goes_by = |(place, binding): &(usize, &Binding)| {
                binding.information.protocol == Protocol::Https
                    && records.of_binding_on(windows, *place, binding).as_ref() == Some(&record)
            };
            let mut standing = table.bindings.iter().enumerate().filter(goes_by);
            let binding = standing.next().map(|(_, binding)| binding);
            let sharing = standing.count() + usize::from(binding.is_some());
            return Some(FoundCertificate { record, shows, binding, sharing });
        }
        let mut standing = table.bindings.iter().filter(|own| stands_for(windows, &key, own));
        let binding = standing.next()?;
        let (shows, sharing) = (Shows::Binding(binding), standing.count() + 1);
        Some(FoundCertificate { record, shows, binding: Some(binding), sharing })
    })
}

/// The record that a key stands for.
fn record_of(key: &KeyRef<'_>) -> Option<RecordKey> {
    let endpoint = key.endpoint;
    let host = match key.host {
        KeyHost::Any => return Some(RecordKey::IpPort(endpoint)),
        KeyHost::Central(_) => return Some(RecordKey::CentralStore(endpoint.port)),
        KeyHost::Exact(name) => name.parse().ok()?,
        KeyHost::Wildcard(parent) => format!("*.{parent}").parse().ok()?,
    };
    Some(RecordKey::HostnamePort { host, endpoint })
}

impl Records {
    /// The record that a binding takes its certificate from: on IIS 7 that of its address and port
    /// whatever its `sslFlags` say, which came with IIS 8.
    fn of_binding_on(
        &self,
        windows: Windows,
        place: usize,
        binding: &Binding,
    ) -> Option<RecordKey> {
        let BindingInformation { endpoint, host, .. } = &binding.information;
        match windows {
            Windows::Iis => self.of_binding(place, binding),
            Windows::Iis7 => {
                let mut keys = RecordKey::candidates(host, *endpoint, 0).into_iter();
                keys.find(|key| self.certificates.contains_key(key))
            }
        }
    }
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
        let configuration = &document.configuration;
        let shown = certificate(windows, configuration, local, name.as_ref(), has_file);
        let shown =
            shown.and_then(|own| Some(format!("{} {}", own.binding?.information, own.sharing)));
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

    const IIS: &str = r#"
[server]
central_store = { folder = "central" }

[[site]]
name = "s"
respond = ""
bindings = [
  "https/*:443:zero.example",
  "https/*:443:one.example",
  "https/*:443:two.example",
  "https/*:443:three.example",
  "https/192.0.2.1:443:zero.example",
  "https/192.0.2.2:443:one.example",
  "https/*:443:",
]
"#;

    /// What is shown by records, each with the byte that its hash is made of: `record shown sharing`.
    #[track_caller]
    fn by_records(records: &[(&str, u8)], asked: (Windows, &str, &str), expected: &str) {
        let mut configuration = parse(IIS, std::path::Path::new("/")).configuration;
        assert_eq!(configuration.table.bindings.len(), 7);
        let hash = |byte: u8| (byte > 0).then_some([byte; 20]);
        let certificates =
            records.iter().map(|(key, byte)| (key.parse().unwrap(), hash(*byte))).collect();
        let ssl_flags = vec![0, 1, 2, 3, 0, 1, 0];
        configuration.records = Some(Records { ssl_flags, certificates });
        let (windows, local, name) = asked;
        let local = format!("{local}:443").parse().unwrap();
        let name = (!name.is_empty()).then(|| name.parse().unwrap());
        let has_file = |name: &str| ["two.example", "three.example"].contains(&name);
        let found = certificate(windows, &configuration, local, name.as_ref(), has_file);
        let found = found.map_or_else(
            || "-".to_owned(),
            |found| {
                let shows = match found.shows {
                    Shows::Certificate([byte, ..]) => byte.to_string(),
                    Shows::File => "file".to_owned(),
                    Shows::Nothing => "nothing".to_owned(),
                    Shows::Binding(_) => panic!("there are records"),
                };
                format!("{} {shows} {}", String::from(found.record), found.sharing)
            },
        );
        assert_eq!(found, expected, "{asked:?} {records:?}");
    }

    /// The table of what HTTP.SYS takes first: an exact address, the name, the central store of the
    /// port, all addresses; nothing else, whatever bindings say.
    #[test]
    fn in_iis_s_form_the_records_choose() {
        let (all, one) = (("ipport=0.0.0.0:443", 9), ("ipport=192.0.2.1:443", 8));
        let named = ("hostnameport=one.example:443", 1);
        let wild = ("hostnameport=*.example:443", 4);
        let store = ("ccs=443", 0);
        let (elsewhere, iis, iis7) = ("198.51.100.1", Windows::Iis, Windows::Iis7);

        by_records(&[], (iis, elsewhere, "one.example"), "-");
        by_records(&[], (iis7, elsewhere, "one.example"), "-");
        // All that go by the address and port share: of IIS 8 those without 1 and 2 in sslFlags.
        by_records(&[all], (iis, elsewhere, "zero.example"), "ipport=0.0.0.0:443 9 3");
        by_records(&[all], (iis7, elsewhere, "one.example"), "ipport=0.0.0.0:443 9 7");
        by_records(&[all, one], (iis7, elsewhere, "a.b"), "ipport=0.0.0.0:443 9 6");
        by_records(&[all, one], (iis, "192.0.2.1", "zero.example"), "ipport=192.0.2.1:443 8 1");
        // A name comes before all addresses, and behind its own: for bindings with 0 too.
        let both = &[all, one, named];
        let shown = "hostnameport=one.example:443 1 2";
        by_records(both, (iis, elsewhere, "one.example"), shown);
        by_records(both, (iis, "192.0.2.1", "one.example"), "ipport=192.0.2.1:443 8 1");
        by_records(both, (iis7, elsewhere, "one.example"), "ipport=0.0.0.0:443 9 6");
        by_records(both, (iis, elsewhere, ""), "ipport=0.0.0.0:443 9 2");
        by_records(&[named], (iis, elsewhere, ""), "-");
        by_records(&[named, wild], (iis, elsewhere, "one.example"), shown);
        by_records(&[named, wild], (iis, elsewhere, "x.example"), "hostnameport=*.example:443 4 0");
        // The central store of the port, for names that it has a file for, with 2 and 3 alike.
        let stored = &[store, all];
        for name in ["two.example", "three.example"] {
            by_records(stored, (iis, elsewhere, name), "ccs=443 file 2");
            by_records(stored, (iis7, elsewhere, name), "ipport=0.0.0.0:443 9 7");
            by_records(&[all], (iis, elsewhere, name), "ipport=0.0.0.0:443 9 3");
        }
        by_records(stored, (iis, elsewhere, "zero.example"), "ipport=0.0.0.0:443 9 3");
        by_records(&[store], (iis, elsewhere, "zero.example"), "-");
        by_records(&[store, named], (iis, elsewhere, "one.example"), shown);
        by_records(&[(all.0, 0)], (iis, elsewhere, "x"), "ipport=0.0.0.0:443 nothing 3");
    }
}
