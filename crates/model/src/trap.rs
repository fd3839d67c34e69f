//! The trap of IIS 7: https bindings that share an address and port without server names are shown
//! one certificate, whatever each of them was meant to show, and nobody says so. Here it is found
//! and explained before it is made.
//!
//! In IIS's form a binding whose `sslFlags` have neither 1 nor 2 takes its certificate from the
//! record of its address and port, which it shares. In `bindery.toml` the server name always
//! chooses: bindings with hosts have certificates of their own whatever was asked for, and only two
//! without a host could collide, which are one key and refused.

use std::fmt;

use hashbrown::HashMap;
use serde::{Serialize, Serializer};

use crate::{
    binding::{BindingInformation, Endpoint, Protocol},
    certificate::{CertificateChoice, CertificateReference},
    document::Configuration,
    name::HostPattern,
};

/// Columns of an explanation. Commands are not broken.
const COLUMNS: usize = 80;

/// Where the certificate of a binding is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Home {
    /// At the binding, in `bindery.toml`. Records are kept only as long as no binding has their
    /// key.
    Toml,
    /// In the records, as on Windows: `applicationHost.config` has no place for it.
    Iis,
}

/// An https binding and the certificate that it is meant to show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Claim {
    /// Its site.
    pub site: String,
    /// Its key; in serialized form its text.
    #[serde(rename = "on", serialize_with = "as_text")]
    pub information: BindingInformation,
    /// Whether its certificate is chosen by server name: SNI or the central store.
    pub by_name: bool,
    /// The certificate, by its name or thumbprint; `None` where none is asked for.
    pub wants: Option<String>,
    /// Whether the certificate that it would share covers its host, where that is known.
    pub covered: Option<bool>,
}

/// Bindings that share what they should not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trap {
    /// Where certificates are written.
    pub home: Home,
    /// The address and port that they share.
    #[serde(serialize_with = "as_text")]
    pub endpoint: Endpoint,
    /// The certificate that all of them would show; `None` where there is none at all.
    pub shown: Option<String>,
    /// All that share it.
    pub sharing: Vec<Sharing>,
}

/// One that shares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sharing {
    /// The binding and what it is meant to show.
    pub claim: Claim,
    /// Whether its clients would get a certificate that is not meant for them.
    pub loses: bool,
}

fn as_text<S: Serializer>(value: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// The https bindings of a configuration as it is served: chosen by name wherever there is a host.
#[must_use]
pub fn claims(configuration: &Configuration) -> Vec<Claim> {
    let table = &configuration.table;
    let secure = table.bindings.iter().filter(|own| own.information.protocol == Protocol::Https);
    let name = |reference: &CertificateReference| match reference {
        CertificateReference::Source(id) => {
            table.certificate(*id).map(|source| source.name.clone())
        }
        other => Some(other.to_string()),
    };
    secure
        .map(|binding| Claim {
            site: table.site(binding).name.clone(),
            information: binding.information.clone(),
            by_name: binding.information.host != HostPattern::Any
                || binding.certificate == CertificateChoice::Central,
            wants: match &binding.certificate {
                CertificateChoice::Listed(listed) => listed.first().and_then(name),
                CertificateChoice::Best | CertificateChoice::Central => None,
            },
            covered: None,
        })
        .collect()
}

/// The claims after a change, with what new ones are meant to show where nobody said so: what the
/// same site showed on the binding that the change took away. So it goes where a port is given up
/// to join another (`*:444:` becomes `*:443:b.example`). Those that stay have no wish of their own.
#[must_use]
pub fn carried_over(before: &[Claim], after: &[Claim]) -> Vec<Claim> {
    fn key(claim: &Claim) -> (&str, &BindingInformation) {
        (claim.site.as_str(), &claim.information)
    }
    let old: HashMap<_, _> = before.iter().map(|claim| (key(claim), claim)).collect();
    let kept: HashMap<_, ()> = after.iter().map(|claim| (key(claim), ())).collect();
    let mut gone: HashMap<&str, Vec<&Claim>> = HashMap::new();
    for claim in before.iter().rev().filter(|claim| !kept.contains_key(&key(claim))) {
        gone.entry(claim.site.as_str()).or_default().push(claim);
    }
    let wish = |claim: &Claim| {
        if old.contains_key(&key(claim)) {
            return None;
        }
        let left = gone.get_mut(claim.site.as_str()).and_then(Vec::pop);
        left.and_then(|left| left.wants.clone()).or_else(|| claim.wants.clone())
    };
    let wishes: Vec<_> = after.iter().map(wish).collect();
    after.iter().zip(wishes).map(|(claim, wants)| Claim { wants, ..claim.clone() }).collect()
}

/// Every endpoint whose bindings would share one certificate and are meant to show several.
/// `record` is the certificate that the record of an address and port names, where there are
/// records. Costs what the claims are many.
#[must_use]
pub fn traps(
    home: Home,
    claims: &[Claim],
    record: &dyn Fn(Endpoint) -> Option<String>,
) -> Vec<Trap> {
    let mut places: Vec<Endpoint> = Vec::new();
    let mut groups: HashMap<Endpoint, Vec<&Claim>> = HashMap::new();
    for claim in claims.iter().filter(|claim| !claim.by_name) {
        let own = claim.information.endpoint;
        let everywhere = Endpoint { address: None, ..own };
        // An address without a record of its own uses that of all addresses.
        let all = record(own).is_none() && record(everywhere).is_some();
        let place = if all { everywhere } else { own };
        let group = groups.entry(place).or_default();
        if group.is_empty() {
            places.push(place);
        }
        group.push(claim);
    }
    let traps = places.into_iter().filter_map(|endpoint| {
        let group = groups.get(&endpoint)?;
        let first = || group.iter().find_map(|claim| claim.wants.clone());
        let shown = record(endpoint).or_else(first);
        let sharing: Vec<_> = group
            .iter()
            .map(|claim| {
                let other = claim.wants.is_some() && claim.wants != shown;
                Sharing { claim: (*claim).clone(), loses: other || claim.covered == Some(false) }
            })
            .collect();
        let trapped = sharing.len() > 1 && sharing.iter().any(|one| one.loses);
        trapped.then_some(Trap { home, endpoint, shown, sharing })
    });
    traps.collect()
}

impl Trap {
    /// Whether it does no harm here: the server name chooses all the same, and each binding shows
    /// its own certificate.
    #[must_use]
    pub fn is_disarmed(&self) -> bool {
        let named = |one: &Sharing| one.claim.information.host != HostPattern::Any;
        self.home == Home::Toml && self.losers().all(named)
    }

    fn losers(&self) -> impl Iterator<Item = &Sharing> {
        self.sharing.iter().filter(|one| one.loses)
    }

    fn shown(&self) -> &str {
        self.shown.as_deref().unwrap_or("no certificate")
    }

    /// The hosts of all who share, as one certificate would have to cover them.
    fn hosts(&self) -> String {
        let hosts = self.sharing.iter().map(|one| one.claim.information.host.to_string());
        let mut hosts: Vec<_> = hosts.filter(|host| !host.is_empty()).collect();
        hosts.sort_unstable();
        hosts.dedup();
        match hosts.len() {
            0 => "the names of all of them".to_owned(),
            _ => hosts.join(", "),
        }
    }

    /// The commands that let the server name choose for one that loses.
    fn by_name(&self, claim: &Claim) -> Vec<String> {
        let BindingInformation { endpoint, host, .. } = &claim.information;
        let address = match endpoint.address {
            None => format!("*:{}", endpoint.port),
            Some(_) => endpoint.to_string(),
        };
        let name = match host {
            HostPattern::Any => "NAME".to_owned(),
            host => host.to_string(),
        };
        let wants = claim.wants.as_deref().unwrap_or("CERTIFICATE");
        let site = &claim.site;
        match self.home {
            Home::Iis => vec![
                format!(
                    "appcmd set site \"{site}\" /bindings.[protocol='https',bindingInformation=\
                     '{address}:{host}'].sslFlags:1{}",
                    match host {
                        HostPattern::Any => format!(
                            " /bindings.[protocol='https',bindingInformation='{address}:'].bindingInformation:{address}:NAME"
                        ),
                        _ => String::new(),
                    }
                ),
                format!(
                    "netsh http add sslcert hostnameport={name}:{} certhash={wants} \
                     appid={{4dc3e181-e14b-4a21-b022-59fc669b0914}}",
                    endpoint.port
                ),
            ],
            Home::Toml => vec![format!(
                "bindery binding add \"{site}\" https/{address}:{name} --certificate {wants}"
            )],
        }
    }

    /// The command that gives all of them one certificate.
    fn one_for_all(&self) -> Option<String> {
        let all = match self.endpoint.address {
            None => format!("0.0.0.0:{}", self.endpoint.port),
            Some(_) => self.endpoint.to_string(),
        };
        match self.home {
            Home::Iis => {
                let verb = if self.shown.is_some() { "update" } else { "add" };
                let id = match verb {
                    "add" => " appid={4dc3e181-e14b-4a21-b022-59fc669b0914}",
                    _ => "",
                };
                Some(format!("netsh http {verb} sslcert ipport={all} certhash=THUMBPRINT{id}"))
            }
            Home::Toml => {
                let claim = &self.sharing.first()?.claim;
                Some(format!(
                    "bindery binding set \"{}\" {} --certificate CERTIFICATE",
                    claim.site, claim.information
                ))
            }
        }
    }
}

/// What was asked for, what clients would have got, and the two ways out. Text is at most 80
/// columns wide; commands stand on lines of their own.
impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.sharing.len();
        let endpoint = self.endpoint;
        paragraph(
            f,
            &format!(
                "{count} https bindings on {endpoint} were asked for without SNI, and they are \
                 not meant to show the same certificate:"
            ),
        )?;
        for Sharing { claim, .. } in &self.sharing {
            let wants = match (&claim.wants, claim.covered) {
                (Some(wants), _) => format!("certificate {wants}"),
                (None, Some(false)) => format!("one that covers {}", claim.information.host),
                (None, _) => "whichever is there".to_owned(),
            };
            writeln!(f, "  {} of site {:?}:", claim.information, claim.site)?;
            writeln!(f, "    {wants}")?;
        }
        let shown = self.shown();
        if self.is_disarmed() {
            return paragraph(
                f,
                &format!(
                    "On IIS 7 all clients of {endpoint} would have got {shown}. Here the server \
                     name (SNI) always chooses: each binding shows its own certificate. A client \
                     that sends no name gets the binding without a host, if there is one, and \
                     otherwise no connection."
                ),
            );
        }
        paragraph(
            f,
            &format!(
                "Without SNI the address and port alone choose the certificate. Clients of \
                 {endpoint} would have got {shown}, whether they send a server name or not."
            ),
        )?;
        paragraph(f, "Either let the server name choose:")?;
        for line in self.losers().flat_map(|one| self.by_name(&one.claim)) {
            writeln!(f, "  {line}")?;
        }
        paragraph(f, &format!("Or give them one certificate that covers {}:", self.hosts()))?;
        self.one_for_all().map_or(Ok(()), |line| writeln!(f, "  {line}"))
    }
}

/// Words in lines of at most [`COLUMNS`].
fn paragraph(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let mut column = 0;
    for word in text.split(' ') {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > COLUMNS {
            f.write_str("\n")?;
            column = 0;
        } else if column > 0 {
            f.write_str(" ")?;
            column += 1;
        }
        f.write_str(word)?;
        column += width;
    }
    f.write_str("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::parse;

    /// A claim as `site on wants`; `on` begins with `sni/` where the name chooses.
    fn claim(text: &str) -> Claim {
        let [site, on, wants] = text.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let by_name = on.starts_with("sni/");
        let on = on.rsplit_once('/').unwrap().1;
        Claim {
            site: site.to_owned(),
            information: format!("https/{on}").parse().unwrap(),
            by_name,
            wants: (wants != "-").then(|| wants.to_owned()),
            covered: None,
        }
    }

    fn claims_of(text: &[&str]) -> Vec<Claim> {
        text.iter().map(|one| claim(one)).collect()
    }

    fn record(endpoint: Endpoint) -> Option<String> {
        (endpoint.to_string() == "*:443").then(|| "one".to_owned())
    }

    /// The endpoints of traps, each with who loses.
    fn found(claims: &[Claim]) -> Vec<String> {
        let traps = traps(Home::Iis, claims, &record);
        let told = traps.iter().map(|trap| {
            let losers: Vec<_> = trap.losers().map(|one| one.claim.site.as_str()).collect();
            format!("{} {}: {}", trap.endpoint, trap.shown(), losers.join(" "))
        });
        told.collect()
    }

    #[test]
    fn who_shares_and_wants_another_is_trapped() {
        let check = |claims: &[&str], expected: &[&str]| {
            assert_eq!(found(&claims_of(claims)), expected, "{claims:?}");
        };
        check(&["a x/*:443:a one", "b x/*:443:b two"], &["*:443 one: b"]);
        check(&["a x/*:443:a -", "b x/*:443:b two"], &["*:443 one: b"]);
        check(&["a x/*:444:a one", "b x/*:444:b two", "c x/*:444: one"], &["*:444 one: b"]);
        check(&["a x/*:443:a one", "b x/192.0.2.1:443:b two"], &["*:443 one: b"]);
        check(&["a x/192.0.2.1:444: one", "b x/192.0.2.2:444: two"], &[]);
        check(&["a x/*:443:a one", "b sni/*:443:b two"], &[]);
        check(&["a x/*:443:a one", "b x/*:443:b one"], &[]);
        check(&["a x/*:443:a one", "b x/*:443:b -"], &[]);
        check(&["a x/*:443:a two"], &[]);
    }

    #[test]
    fn a_shared_certificate_that_does_not_cover_the_host_is_a_trap() {
        let mut claims = claims_of(&["a x/*:443:a -", "b x/*:443:b -"]);
        assert_eq!(found(&claims), [""; 0]);
        claims[1].covered = Some(false);
        assert_eq!(found(&claims), ["*:443 one: b"]);
    }

    #[test]
    fn the_hack_of_the_other_port_is_seen_through() {
        let before = claims_of(&["a x/*:443: one", "b x/*:444: two"]);
        let after = claims_of(&["a x/*:443:a -", "b x/*:443:b -"]);
        let after = carried_over(&before, &after);
        assert_eq!(after, claims_of(&["a x/*:443:a one", "b x/*:443:b two"]));
        assert_eq!(found(&after), ["*:443 one: b"]);
    }

    #[test]
    fn those_that_stay_have_no_wish_of_their_own() {
        let before = claims_of(&["a x/*:443:a old", "b x/*:443:b old"]);
        let after = carried_over(&before, &claims_of(&["a x/*:443:a new", "c x/*:443:c -"]));
        assert_eq!(after, claims_of(&["a x/*:443:a -", "c x/*:443:c -"]));
        assert_eq!(found(&after), [""; 0]);
    }

    #[test]
    fn it_is_explained_with_both_ways_out() {
        let claims = claims_of(&["a x/*:443:a.example one", "b x/*:443:b.example two"]);
        let [trap] = traps(Home::Iis, &claims, &record).try_into().unwrap();
        assert!(!trap.is_disarmed());
        let expected = "\
2 https bindings on *:443 were asked for without SNI, and they are not meant to
show the same certificate:
  https/*:443:a.example of site \"a\":
    certificate one
  https/*:443:b.example of site \"b\":
    certificate two
Without SNI the address and port alone choose the certificate. Clients of *:443
would have got one, whether they send a server name or not.
Either let the server name choose:
  appcmd set site \"b\" /bindings.[protocol='https',bindingInformation='*:443:b.example'].sslFlags:1
  netsh http add sslcert hostnameport=b.example:443 certhash=two appid={4dc3e181-e14b-4a21-b022-59fc669b0914}
Or give them one certificate that covers a.example, b.example:
  netsh http update sslcert ipport=0.0.0.0:443 certhash=THUMBPRINT
";
        assert_eq!(trap.to_string(), expected);
    }

    #[test]
    fn at_home_the_name_always_chooses() {
        let claims = claims_of(&["a x/*:443:a.example one", "b x/*:443:b.example two"]);
        let none = |_| None;
        let [trap] = traps(Home::Toml, &claims, &none).try_into().unwrap();
        assert!(trap.is_disarmed());
        let text = trap.to_string();
        assert!(text.contains("On IIS 7 all clients of *:443 would have got one."), "{text}");
        assert!(!text.contains("Either"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS), "{text}");

        let claims = claims_of(&["a x/*:443: one", "b x/*:443: two"]);
        let [trap] = traps(Home::Toml, &claims, &none).try_into().unwrap();
        assert!(!trap.is_disarmed());
        let text = trap.to_string();
        let way = "\n  bindery binding add \"b\" https/*:443:NAME --certificate two\n";
        assert!(text.contains(way), "{text}");
        let other = "\n  bindery binding set \"a\" https/*:443: --certificate CERTIFICATE\n";
        assert!(text.contains(other), "{text}");
    }

    #[test]
    fn a_configuration_has_a_trap_only_where_a_key_is_held_twice() {
        let config = |second: &str| {
            let text = format!(
                "[[certificate]]\nname = \"one\"\nfile = \"1.pem\"\n\
                 [[certificate]]\nname = \"two\"\nfile = \"2.pem\"\n\
                 [[site]]\nname = \"a\"\nrespond = \"\"\n\
                 bindings = [{{ on = \"https/*:443:\", certificate = \"one\" }}]\n\
                 [[site]]\nname = \"b\"\nrespond = \"\"\n\
                 bindings = [{{ on = \"https/{second}\", certificate = \"two\" }}]\n"
            );
            let claims = claims(&parse(&text, std::path::Path::new("/")).configuration);
            assert_eq!(claims.len(), 2);
            traps(Home::Toml, &claims, &|_| None)
        };
        assert_eq!(config("*:443:b.example"), []);
        assert_eq!(config("192.0.2.1:443:"), []);
        let [trap] = config("*:443:").try_into().unwrap();
        assert_eq!(trap.shown.as_deref(), Some("one"));
    }
}
