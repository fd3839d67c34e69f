//! The trap of IIS 7: https bindings on one address and port that ask for no server names share one
//! certificate, that of the record of the address and port, whatever each of them was meant to
//! show, and nobody says so. Here whoever would be shown another's certificate is found before it
//! comes to that, and told what there is to do.
//!
//! In IIS's form a binding whose `sslFlags` have neither 1 nor 2 shares. In `bindery.toml` the
//! server name always chooses, so bindings with hosts cannot; those without are one key, which two
//! sites cannot hold.
//!
//! What is in certificates is known to who calls: nothing here reads any.

use std::fmt::Write as _;

use hashbrown::HashMap;

use crate::{
    binding::{Binding, BindingInformation, Endpoint, Protocol},
    certificate::{CertificateChoice, CertificateReference},
    document::{Configuration, Parts},
    name::HostPattern,
    problem::{Code, Problem, Span, Way},
    record::{CENTRAL, RecordKey, Records, SNI},
};

/// Who makes records, as IIS writes it.
const OWNER: &str = "appid={4dc3e181-e14b-4a21-b022-59fc669b0914}";
/// What stands for the thumbprint of a certificate that nobody has named yet.
const HASH: &str = "THUMBPRINT";
/// So many hosts are listed.
const HOSTS_SHOWN_MAX: usize = 5;

/// Https bindings whose certificate goes by an address and port alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    /// The address and port whose record they share, or would if there were one.
    pub endpoint: Endpoint,
    /// Whether there is a record.
    pub has_record: bool,
    /// Their places in the table; two at least.
    pub bindings: Vec<usize>,
}

/// Everything that several bindings share in IIS's form, in the order of the first of each. Costs
/// what the bindings are many.
#[must_use]
pub fn shared(configuration: &Configuration) -> Vec<Shared> {
    let Some(records) = &configuration.records else { return Vec::new() };
    let mut groups: Vec<Shared> = Vec::new();
    let mut places: HashMap<(Endpoint, bool), usize> = HashMap::new();
    for (place, binding) in configuration.table.bindings.iter().enumerate() {
        let information = &binding.information;
        let flags = records.ssl_flags.get(place).copied().unwrap_or_default();
        let by_name = flags & SNI != 0 && information.host != HostPattern::Any;
        if information.protocol != Protocol::Https || by_name || flags & CENTRAL != 0 {
            continue;
        }
        let (endpoint, has_record) = match records.of_binding(place, binding) {
            Some(RecordKey::IpPort(endpoint)) => (endpoint, true),
            _ => (information.endpoint, false),
        };
        let group = *places.entry((endpoint, has_record)).or_insert_with(|| {
            groups.push(Shared { endpoint, has_record, bindings: Vec::new() });
            groups.len() - 1
        });
        if let Some(group) = groups.get_mut(group) {
            group.bindings.push(place);
        }
    }
    groups.retain(|group| group.bindings.len() > 1);
    groups
}

/// How what a binding is came about. What is to be typed depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stand {
    /// It is in force.
    InForce,
    /// Somebody wrote it into the file.
    InFile,
    /// It is asked for and not there.
    Asked,
    /// It is asked for in the place of another of its site.
    InPlaceOf(BindingInformation),
}

/// What is asked for of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordStand {
    /// Nothing.
    InForce,
    /// Another certificate.
    Changed,
    /// That it be there.
    Asked,
}

/// A binding that shows a certificate which is not for its host, because it shares a record.
#[derive(Clone, Debug)]
pub struct Loss<'a> {
    /// The address and port of the record.
    pub endpoint: Endpoint,
    /// What is asked for of the record itself.
    pub record: RecordStand,
    /// What the certificate of the record is called.
    pub shown: &'a str,
    /// What that is for, in words.
    pub shown_for: &'a str,
    /// Its site.
    pub site: &'a str,
    /// The binding.
    pub information: &'a BindingInformation,
    /// Its `sslFlags`.
    pub ssl_flags: u32,
    /// Another that shares the record, with its site.
    pub beside: (&'a str, &'a BindingInformation),
    /// How it came about.
    pub stand: Stand,
    /// Whether there is a record for its host.
    pub has_own_record: bool,
    /// A certificate for its host.
    pub own: Option<[u8; 20]>,
    /// The hosts of all who share the record.
    pub hosts: Vec<String>,
    /// A certificate for all of them.
    pub one_for_all: Option<[u8; 20]>,
}

impl Loss<'_> {
    /// It told: what is asked for, whose certificate clients get, and the two ways out. The
    /// message is the same however the binding came about.
    #[must_use]
    pub fn problem(&self, span: Span) -> Problem {
        let Self { endpoint, shown, shown_for, site, information, beside, .. } = self;
        let host = &information.host;
        let record = RecordKey::IpPort(*endpoint);
        let message = format!(
            "{information} of site {site:?} asks for no server name indication (SNI), so its \
             certificate is that of the address and port, {record}, which it shares with {} of \
             site {:?}: clients of {host} get the certificate {shown:?}, which is for {shown_for}",
            beside.1, beside.0,
        );
        Problem::new(Code::SharedRecord, span, message, "")
            .with_ways([self.by_name(), self.one_certificate()])
    }

    fn again(&self) -> &'static str {
        match (&self.stand, self.record) {
            (Stand::InForce, RecordStand::InForce) | (Stand::InFile, _) => "",
            _ => ", and then ask again",
        }
    }

    fn by_name(&self) -> Way {
        let Self { information, site, .. } = self;
        let BindingInformation { endpoint, host, .. } = information;
        let mut what = format!("let the server name choose, with a certificate for {host} alone");
        if self.own.is_none() {
            write!(what, " ({HASH}; none is known here yet)").ok();
        }
        // What asks for a binding is done by these; what asks for a record is not.
        if self.stand == Stand::InForce {
            what.push_str(self.again());
        }
        let verb = if self.has_own_record { "update" } else { "add" };
        let id = if self.has_own_record { String::new() } else { format!(" {OWNER}") };
        let hash = self.own.map_or_else(|| HASH.to_owned(), hex);
        let record = format!(
            "bindery netsh http {verb} sslcert hostnameport={host}:{} certhash={hash}{id}",
            endpoint.port
        );
        let site = quoted(site);
        let text = |own: &BindingInformation| format!("{}:{}", own.endpoint, own.host);
        let key = |own| format!("/bindings.[protocol='https',bindingInformation='{}']", text(own));
        let flags = self.ssl_flags | SNI;
        let set = match &self.stand {
            Stand::InForce => format!("\"{}.sslFlags:{flags}\"", key(information)),
            Stand::InPlaceOf(other) => format!(
                "\"{0}.sslFlags:{flags}\" \"{0}.bindingInformation:{1}\"",
                key(other),
                text(information)
            ),
            Stand::Asked => format!(
                "\"/+bindings.[protocol='https',bindingInformation='{}',sslFlags='{flags}']\"",
                text(information)
            ),
            Stand::InFile => {
                write!(what, ": write sslFlags=\"{flags}\" at this binding, and then").ok();
                return Way { what, commands: vec![record] };
            }
        };
        let set = format!("bindery appcmd set site {site} {set}");
        Way { what, commands: vec![record, set] }
    }

    fn one_certificate(&self) -> Way {
        let hosts = some_of(&self.hosts);
        let mut what = format!("use one certificate that covers {hosts}");
        if self.one_for_all.is_none() {
            write!(what, " ({HASH}; none is known here yet)").ok();
        }
        match self.stand {
            Stand::InFile => what.push_str(": take the edit back, type this, and edit again"),
            Stand::InForce if self.record != RecordStand::InForce => what.push_str(" instead"),
            Stand::InForce => {}
            Stand::Asked | Stand::InPlaceOf(_) => what.push_str(self.again()),
        }
        let hash = self.one_for_all.map_or_else(|| HASH.to_owned(), hex);
        let record = RecordKey::IpPort(self.endpoint);
        let (verb, id) = match self.record {
            RecordStand::Asked => ("add", format!(" {OWNER}")),
            RecordStand::InForce | RecordStand::Changed => ("update", String::new()),
        };
        let command =
            format!("bindery netsh http {verb} sslcert ipport={record} certhash={hash}{id}");
        Way { what, commands: vec![command] }
    }
}

/// Bindings without server name indication where no record says which certificate they share. Each
/// shows its own, which Windows would not do.
#[must_use]
pub fn chosen_by_name(endpoint: Endpoint, span: Span) -> Problem {
    let record = RecordKey::IpPort(endpoint);
    let message = format!(
        "https bindings on {endpoint} ask for no server name indication (SNI), have different \
         certificates, and there is no certificate record for {record}: the server name chooses \
         all the same, and each shows its own; Windows would show all clients the same, or none"
    );
    let help = "write sslFlags=\"1\" at each, which says the same on both";
    Problem::new(Code::ChosenByName, span, message, help)
}

/// What two sites come to that want to hold one key without a host, and show different
/// certificates: nothing where they show the same, or have hosts.
pub(crate) fn held_twice(all: &Parts, problem: Problem, [first, second]: [usize; 2]) -> Problem {
    let (Some(one), Some(other)) = (all.bindings.get(first), all.bindings.get(second)) else {
        return problem;
    };
    let information = &other.information;
    let is_secure = information.protocol == Protocol::Https;
    if !is_secure || information.host != HostPattern::Any || one.site == other.site {
        return problem;
    }
    let (shown, wanted) = (first_named(all, one), first_named(all, other));
    if shown == wanted && all.records.is_none() {
        return problem;
    }
    // What somebody called it tells people more than its digest, which is none of a name.
    let shown = shown.filter(|shown| all.certificates.iter().any(|own| own.name == *shown));
    let site = |own: u32| all.sites.get(own as usize).map_or("", |site| site.name.as_str());
    let endpoint = information.endpoint;
    let mut problem = problem;
    let shown_text = shown.as_ref().map_or_else(String::new, |shown| format!(", {shown:?}"));
    write!(
        problem.message,
        "; whoever comes to {endpoint} without a server name would get the certificate of one of \
         them, that of site {:?}{shown_text}",
        site(one.site)
    )
    .ok();
    let host = match host_of(all, other) {
        Host::Own(host) => host.to_string(),
        Host::HasAll(host) => {
            let name = site(other.site);
            let what = format!(
                "leave it away: by its name, site {name:?} answers on https/{endpoint}:{host} \
                 already"
            );
            return problem.with_ways([Way { what, commands: Vec::new() }]);
        }
        Host::Unknown => "NAME".to_owned(),
    };
    let (site, holder) = (quoted(site(other.site)), quoted(site(one.site)));
    let by_name = format!("let the server name choose: give it its host, https/{endpoint}:{host}");
    let both = "the same, with one certificate that covers both".to_owned();
    let [named, shared] = match &all.records {
        None => {
            let add = |certificate: &str| {
                format!(
                    "bindery binding add {site} https/{endpoint}:{host} --certificate {certificate}"
                )
            };
            let set =
                format!("bindery binding set {holder} {information} --certificate CERTIFICATE");
            let wanted = wanted.map_or_else(|| "CERTIFICATE".to_owned(), |own| as_word(&own));
            [vec![add(&wanted)], vec![set, add("CERTIFICATE")]]
        }
        Some(records) => by_records(records, endpoint, &host, &site),
    };
    let ways = [(by_name, named), (both, shared)];
    problem.with_ways(ways.map(|(what, commands)| Way { what, commands }))
}

/// What is typed where certificates stand in records, for either way out. Keys that have a record
/// are not added, and those that have none are not updated.
fn by_records(records: &Records, endpoint: Endpoint, host: &str, site: &str) -> [Vec<String>; 2] {
    let add = |flags| {
        format!(
            "bindery appcmd set site {site} \"/+bindings.[protocol='https',bindingInformation='{endpoint}:{host}'{flags}]\""
        )
    };
    let has = |key: &str| {
        let key = key.parse().ok();
        key.is_some_and(|key: RecordKey| records.certificates.contains_key(&key))
    };
    let key = format!("hostnameport={host}:{}", endpoint.port);
    let own = format!("bindery netsh http add sslcert {key} certhash={HASH} {OWNER}");
    let own = (!has(&key)).then_some(own);
    let key = format!("ipport={}", RecordKey::IpPort(endpoint));
    let all = match has(&key) {
        true => format!("bindery netsh http update sslcert {key} certhash={HASH}"),
        false => format!("bindery netsh http add sslcert {key} certhash={HASH} {OWNER}"),
    };
    let named = own.into_iter().chain([add(",sslFlags='1'")]).collect();
    [named, vec![all, add("")]]
}

/// The host that a binding without one is meant for.
enum Host<'a> {
    /// One that its site answers for, and not on this address and port.
    Own(&'a HostPattern),
    /// Its site answers here for all that it answers for, this one first.
    HasAll(&'a HostPattern),
    /// The site has none.
    Unknown,
}

fn host_of<'a>(all: &'a Parts, meant: &Binding) -> Host<'a> {
    let own = all.bindings.iter().filter(|own| own.site == meant.site);
    let hosts =
        || own.clone().map(|own| &own.information.host).filter(|own| **own != HostPattern::Any);
    let is_free = |host: &&HostPattern| {
        let key = BindingInformation { host: (**host).clone(), ..meant.information.clone() };
        !all.bindings.iter().any(|own| own.information == key)
    };
    match (hosts().find(is_free), hosts().next()) {
        (Some(free), _) => Host::Own(free),
        (None, Some(first)) => Host::HasAll(first),
        (None, None) => Host::Unknown,
    }
}

/// A word of a command line, in quotes only where it needs them.
fn as_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match word.chars().all(plain) {
        true => word.to_owned(),
        false => quoted(word),
    }
}

/// What the first certificate that a binding names is called.
fn first_named(all: &Parts, binding: &Binding) -> Option<String> {
    let CertificateChoice::Listed(listed) = &binding.certificate else { return None };
    match listed.first()? {
        CertificateReference::Source(id) => {
            all.certificates.get(id.0 as usize).map(|source| source.name.clone())
        }
        digest => Some(digest.to_string()),
    }
}

/// A word of a command line, for a shell.
fn quoted(word: &str) -> String {
    let mut out = String::from("\"");
    for c in word.chars() {
        if matches!(c, '"' | '\\' | '$' | '`') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

fn hex(thumbprint: [u8; 20]) -> String {
    CertificateReference::Thumbprint(thumbprint).to_string()
}

fn some_of(hosts: &[String]) -> String {
    let shown: Vec<_> = hosts.iter().take(HOSTS_SHOWN_MAX).map(String::as_str).collect();
    match (hosts.len().saturating_sub(shown.len()), shown.as_slice()) {
        (0, [one]) => (*one).to_owned(),
        (0, [all @ .., last]) => format!("{} and {last}", all.join(", ")),
        (more, _) => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, path::Path};

    use super::*;
    use crate::document::parse;

    /// A configuration of IIS's form: bindings with their `sslFlags`, and records.
    fn configuration(bindings: &[(&str, u32)], records: &[&str]) -> Configuration {
        let list: Vec<_> = bindings.iter().map(|(on, _)| format!("\"https/{on}\"")).collect();
        let text =
            format!("[[site]]\nname = \"s\"\nrespond = \"\"\nbindings = [{}]\n", list.join(", "));
        let mut configuration = parse(&text, Path::new("/")).configuration;
        let ssl_flags = bindings.iter().map(|(_, flags)| *flags).collect();
        let keys = records.iter().map(|key| (key.parse().unwrap(), Some([1; 20])));
        let certificates: BTreeMap<_, _> = keys.collect();
        configuration.records = Some(Records { ssl_flags, certificates });
        configuration
    }

    #[track_caller]
    fn shares(bindings: &[(&str, u32)], records: &[&str], expected: &[(&str, bool, &[usize])]) {
        let found = shared(&configuration(bindings, records));
        let found: Vec<_> = found
            .iter()
            .map(|one| (one.endpoint.to_string(), one.has_record, one.bindings.clone()))
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(endpoint, has, places)| ((*endpoint).to_owned(), *has, places.to_vec()))
            .collect();
        assert_eq!(found, expected, "{bindings:?} {records:?}");
    }

    #[test]
    fn who_goes_by_the_address_and_port_shares_its_record() {
        let two = &[("*:443:a.b", 0), ("*:443:c.d", 0)];
        shares(two, &["ipport=0.0.0.0:443"], &[("*:443", true, &[0, 1])]);
        shares(two, &[], &[("*:443", false, &[0, 1])]);
        let all = &["ipport=0.0.0.0:443"];
        shares(&[("*:443:a.b", 0)], all, &[]);
        for flags in [1, 2, 3, 5] {
            shares(&[("*:443:a.b", 0), ("*:443:c.d", flags)], all, &[]);
        }
        // Without a host there is no name to choose by; other bits have no part in it.
        shares(&[("*:443:", 1), ("*:443:c.d", 36)], all, &[("*:443", true, &[0, 1])]);
        shares(&[("*:443:a.b", 0), ("*:444:c.d", 0)], all, &[]);
        // An address without a record of its own has that of all.
        let apart = &[("*:443:a.b", 0), ("192.0.2.1:443:c.d", 0)];
        shares(apart, all, &[("*:443", true, &[0, 1])]);
        shares(apart, &["ipport=0.0.0.0:443", "ipport=192.0.2.1:443"], &[]);
        shares(apart, &[], &[]);
        let toml = Configuration { records: None, ..configuration(two, all) };
        assert_eq!(shared(&toml), []);
    }

    fn told(stand: Stand, record: RecordStand) -> Problem {
        let [a, b] = ["https/*:443:a.b", "https/*:443:c.d"]
            .map(|text| text.parse::<BindingInformation>().unwrap());
        let loss = Loss {
            endpoint: b.endpoint,
            record,
            shown: "one",
            shown_for: "a.b",
            site: "it's \"$s\"",
            information: &b,
            ssl_flags: 4,
            beside: ("a", &a),
            stand,
            has_own_record: false,
            own: Some([2; 20]),
            hosts: vec!["a.b".to_owned(), "c.d".to_owned()],
            one_for_all: None,
        };
        loss.problem(0..1)
    }

    #[test]
    fn what_is_to_be_typed_depends_on_what_is_there() {
        let other = "https/*:444:".parse().unwrap();
        let hash = "02".repeat(20);
        let first =
            format!("bindery netsh http add sslcert hostnameport=c.d:443 certhash={hash} {OWNER}");
        let site = "bindery appcmd set site \"it's \\\"\\$s\\\"\" \"/";
        let set = [
            (
                Stand::InForce,
                "bindings.[protocol='https',bindingInformation='*:443:c.d'].sslFlags:5\"",
            ),
            (
                Stand::Asked,
                "+bindings.[protocol='https',bindingInformation='*:443:c.d',sslFlags='5']\"",
            ),
            (
                Stand::InPlaceOf(other),
                "bindings.[protocol='https',bindingInformation='*:444:'].sslFlags:5\" \
                 \"/bindings.[protocol='https',bindingInformation='*:444:'].bindingInformation:*:443:c.d\"",
            ),
        ];
        let message = told(Stand::InForce, RecordStand::InForce).message;
        for (stand, command) in set {
            let problem = told(stand, RecordStand::InForce);
            let [name, one] = problem.ways.try_into().unwrap();
            assert_eq!(name.commands, [first.clone(), format!("{site}{command}")]);
            let all = "bindery netsh http update sslcert ipport=0.0.0.0:443 certhash=THUMBPRINT";
            assert_eq!(one.commands, [all]);
            assert!(one.what.contains("a.b and c.d (THUMBPRINT; none is known"), "{}", one.what);
            assert_eq!(problem.message, message, "what is known is not said again");
        }
        let by_hand = told(Stand::InFile, RecordStand::InForce);
        assert_eq!(by_hand.ways[0].commands, [first]);
        assert!(by_hand.ways[0].what.contains("write sslFlags=\"5\""), "{by_hand:?}");
        let changed = told(Stand::InForce, RecordStand::Changed);
        assert!(changed.ways[1].commands[0].contains("http update sslcert ipport="), "{changed:?}");
        assert!(changed.ways[1].what.ends_with(" instead"), "{changed:?}");
        let new = told(Stand::InForce, RecordStand::Asked);
        assert!(new.ways[1].commands[0].contains("http add sslcert ipport="), "{new:?}");
        assert!(new.ways[0].what.ends_with(", and then ask again"), "{new:?}");
    }

    /// What is said of two sites of `bindery.toml` that hold one key, the second with these others.
    fn held_by_two(others: &str, wanted: &str) -> Problem {
        let text = format!(
            "[[certificate]]\nname = \"one\"\nfile = \"1\"\n[[certificate]]\nname = \"the two\"\n\
             file = \"2\"\n[[site]]\nname = \"a\"\nrespond = \"\"\n\
             bindings = [{{ on = \"https/*:443:\", certificate = \"one\" }}]\n\
             [[site]]\nname = \"b\"\nrespond = \"\"\n\
             bindings = [{others}{{ on = \"https/*:443:\", certificate = \"{wanted}\" }}]\n"
        );
        let document = parse(&format!("version = 1\n{text}"), Path::new("/"));
        let twice = |one: &Problem| one.code == Code::DuplicateBinding;
        document.problems.into_iter().find(twice).unwrap()
    }

    #[test]
    fn the_host_that_is_proposed_is_one_that_the_site_does_not_have_there() {
        let commands = |others: &str| {
            let ways = held_by_two(others, "the two").ways;
            let all = ways.into_iter().map(|way| (way.what, way.commands));
            all.collect::<Vec<_>>()
        };
        let add = |host: &str| {
            format!("bindery binding add \"b\" https/*:443:{host} --certificate \"the two\"")
        };
        for (others, host) in [
            ("", "NAME"),
            ("\"http/*:80:b.c\", ", "b.c"),
            ("\"https/*:443:b.c\", \"http/*:80:d.c\", ", "d.c"),
            ("\"https/*:444:b.c\", ", "b.c"),
        ] {
            assert_eq!(commands(others)[0].1, [add(host)], "{others}");
        }
        let known = commands("\"https/*:443:b.c\", \"http/*:80:b.c\", ");
        let [(what, none)] = known.as_slice() else { panic!("{known:?}") };
        assert_eq!(none.len(), 0);
        assert!(what.contains("site \"b\" answers on https/*:443:b.c already"), "{what}");
    }

    #[test]
    fn a_certificate_is_called_by_its_name_or_not_at_all() {
        let by_name = held_by_two("", "the two");
        assert!(by_name.message.ends_with("that of site \"a\", \"one\""), "{by_name:?}");
        let hash = "05".repeat(20);
        let by_hash = held_by_two("", &hash);
        assert!(by_hash.ways[0].commands[0].ends_with(&hash), "{by_hash:?}");
        assert!(!by_hash.message.contains(&hash), "{by_hash:?}");
    }

    #[test]
    fn in_a_file_it_comes_out_before_commands_are_typed() {
        let mut problem = held_by_two("", "the two");
        problem.stands_in_file();
        assert!(problem.ways[0].what.ends_with("take it out of the file, and then type"));
    }

    #[test]
    fn records_are_added_where_there_are_none_and_else_updated() {
        let keys = |all: &[&str]| Records {
            ssl_flags: Vec::new(),
            certificates: all.iter().map(|key| (key.parse().unwrap(), None)).collect(),
        };
        let endpoint = Endpoint { address: None, port: 443 };
        let verbs = |all: &[&str]| {
            let [named, shared] = by_records(&keys(all), endpoint, "b.c", "\"b\"");
            let verb = |line: &String| line.split(' ').nth(3).map(str::to_owned);
            (named.len(), verb(&shared[0]).unwrap())
        };
        assert_eq!(verbs(&[]), (2, "add".to_owned()));
        assert_eq!(verbs(&["ipport=0.0.0.0:443"]), (2, "update".to_owned()));
        assert_eq!(verbs(&["hostnameport=b.c:443"]), (1, "add".to_owned()));
        assert_eq!(verbs(&["hostnameport=*.b.c:443"]), (2, "add".to_owned()));
    }
}
