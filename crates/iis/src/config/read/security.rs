//! Sections about who may read: TLS and client certificates, networks, filtering, names.
//!
//! What cannot be checked here is not let through: a protection that is not supported closes what
//! it protects, and `check` says so.

use std::{net::IpAddr, rc::Rc, sync::Arc};

use bindery_model::{
    problem::{Code, Span},
    rules::AccessRule,
};
use ipnet::IpNet;

use super::{
    denied::Denied,
    report::Source,
    sections::{Sections, Shared, Written},
    value::{self, boolean, flags},
};
use crate::xml::Element;

/// Names that IIS hides as it is installed.
const HIDDEN: [&str; 8] = [
    "web.config",
    "bin",
    "App_code",
    "App_GlobalResources",
    "App_LocalResources",
    "App_WebReferences",
    "App_Data",
    "App_Browsers",
];
/// IIS's `maxAllowedContentLength`, where nothing is said.
const REQUEST_BYTES_MAX: u64 = 30_000_000;

/// The most that `maxAllowedContentLength` can say, which stands for no bound.
const NO_LIMIT: u64 = 4_294_967_295;

const SSL: u32 = 8;
const SSL_NEGOTIATE: u32 = 32;
const SSL_REQUIRE: u32 = 64;
const SSL_128: u32 = 256;

/// `security/access`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Access {
    flags: u32,
    /// Where it is said.
    at: Option<(Rc<Source>, Span)>,
}

impl Access {
    /// Whether requests without TLS are refused.
    pub(super) fn https_only(&self) -> bool {
        self.flags & (SSL | SSL_128) != 0
    }

    /// Whether clients are asked for a certificate.
    pub(super) fn asks(&self) -> bool {
        self.flags & (SSL_NEGOTIATE | SSL_REQUIRE) != 0
    }

    /// Whether they must have one.
    pub(super) fn requires(&self) -> bool {
        self.flags & SSL_REQUIRE != 0
    }

    /// Says that nobody is asked for a certificate.
    pub(super) fn report_not_asked(&self, owner: &str, shared: &mut Shared<'_>) {
        let Some((source, span)) = &self.at else { return };
        let message = format!(
            "SslNegotiateCert of {owner}: nobody is asked, for nothing says whose certificates are good (client_ca in bindery.toml)"
        );
        shared.report.hint(source, span.clone(), message);
    }

    /// Says that what it protects is closed.
    pub(super) fn report_closed(
        &self,
        owner: &str,
        why: &str,
        help: &str,
        shared: &mut Shared<'_>,
    ) {
        let Some((source, span)) = &self.at else { return };
        let message = format!("{owner} requires client certificates, and {why}: the answer is 403");
        shared.report.problem((source, span.clone()), Code::NotEnforced, message, help);
    }
}

/// `security/ipSecurity`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Networks {
    unlisted_refused: bool,
    rules: Vec<AccessRule>,
}

impl Networks {
    /// The rules of ours that do the same.
    pub(super) fn rules(&self) -> Vec<AccessRule> {
        let mut rules = self.rules.clone();
        if self.unlisted_refused {
            rules.extend(everybody(false));
        } else if rules.iter().any(|rule| rule.allow) {
            rules.extend(everybody(true));
        }
        rules
    }
}

/// A rule for everybody.
pub(super) fn everybody(allow: bool) -> [AccessRule; 2] {
    let all = |address: IpAddr| AccessRule { network: IpNet::new_assert(address, 0), allow };
    [all([0; 4].into()), all([0_u16; 8].into())]
}

/// `security/requestFiltering`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Filtering {
    bytes_max: Option<u64>,
    hidden: Option<Arc<[String]>>,
    /// Endings with whether they are sent, lower case, without the dot.
    endings: Vec<(String, bool)>,
    unlisted_refused: bool,
    /// Whether answers do not say which server they come from.
    pub(super) is_server_hidden: bool,
    /// What is refused by its text.
    pub(super) denied: Denied,
}

impl Filtering {
    /// Whether files with an ending are sent.
    pub(super) fn admits(&self, ending: &str) -> bool {
        let listed = self.endings.iter().find(|(own, _)| own == ending);
        listed.map_or(!self.unlisted_refused, |(_, allowed)| *allowed)
    }

    /// The most bytes of content, where it is bounded.
    pub(super) fn bytes_max(&self) -> Option<u64> {
        Some(self.bytes_max.unwrap_or(REQUEST_BYTES_MAX)).filter(|bytes| *bytes < NO_LIMIT)
    }

    /// Names that are not there for clients.
    pub(super) fn hidden(&self) -> Arc<[String]> {
        self.hidden.clone().unwrap_or_else(|| HIDDEN.map(str::to_owned).into())
    }
}

/// An entry of `security/authorization`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Authorized {
    allow: bool,
    users: String,
    roles: String,
    verbs: String,
}

impl Authorized {
    fn of(entry: Element<'_>) -> Self {
        let text = |name| entry.value(name).unwrap_or_default().trim().to_owned();
        let allow = !text("accessType").eq_ignore_ascii_case("Deny");
        Self { allow, users: text("users"), roles: text("roles"), verbs: text("verbs") }
    }

    fn is_for_all(&self) -> bool {
        let all = self.users.split(',').any(|user| matches!(user.trim(), "*" | "?"));
        self.allow && all && self.verbs.is_empty()
    }
}

impl Sections {
    /// Whether nobody may read who comes without a name.
    pub(super) fn is_closed(&self) -> bool {
        let open = |entries: &[Authorized]| {
            entries.iter().any(Authorized::is_for_all) && entries.iter().all(|entry| entry.allow)
        };
        self.no_anonymous || self.authorization.as_deref().is_some_and(|entries| !open(entries))
    }

    /// The access rules at this level.
    pub(super) fn access_rules(&self) -> Vec<AccessRule> {
        match self.is_closed() {
            true => everybody(false).to_vec(),
            false => self.networks.rules(),
        }
    }

    pub(super) fn read_access(&mut self, written: &Written<'_, '_>, shared: &mut Shared<'_>) {
        let names = [
            ("None", 0),
            ("Ssl", SSL),
            ("SslNegotiateCert", SSL_NEGOTIATE),
            ("SslRequireCert", SSL_REQUIRE),
            ("SslMapCert", 128),
            ("Ssl128", SSL_128),
        ];
        let takes = "None, Ssl, Ssl128, SslNegotiateCert and SslRequireCert";
        let mut values = written.values(shared);
        let Some(bits) = values.read("sslFlags", takes, |text| flags(text, &names)) else { return };
        let at = (Rc::clone(&written.level.source), values.place("sslFlags"));
        self.access = Access { flags: bits, at: Some(at) };
        if bits & 128 != 0 {
            let message = "SslMapCert: accounts of Windows are not known";
            written.hint(value::place(written.element, "sslFlags"), message, shared);
        }
    }

    pub(super) fn read_networks(&mut self, written: &Written<'_, '_>, shared: &mut Shared<'_>) {
        let networks = Rc::make_mut(&mut self.networks);
        if let Some(allowed) = written.values(shared).boolean("allowUnlisted") {
            networks.unlisted_refused = !allowed;
        }
        for entry in written.children() {
            match entry.name() {
                "clear" => networks.rules.clear(),
                "remove" => {
                    if let Some(network) = network_of(entry) {
                        networks.rules.retain(|rule| rule.network != network);
                    }
                }
                "add" => {
                    written.look_at(entry, "add", shared);
                    let allow = entry.value("allowed").and_then(|text| boolean(text.trim()));
                    let allow = allow.unwrap_or(false);
                    let named = entry.value("domainName").is_some_and(|name| !name.is_empty());
                    match network_of(entry).filter(|_| !named) {
                        Some(network) => networks.rules.push(AccessRule { network, allow }),
                        None => {
                            let what = if named {
                                "names of clients are not looked up"
                            } else {
                                "no network comes of the address and its mask"
                            };
                            let message = match allow {
                                true => format!("{what}: the entry lets nobody in"),
                                false => format!("{what}: the entry keeps nobody out"),
                            };
                            written.hint(entry.tag(), message, shared);
                        }
                    }
                }
                _ => written.unknown(entry, shared),
            }
        }
    }

    pub(super) fn read_filtering(&mut self, written: &Written<'_, '_>, shared: &mut Shared<'_>) {
        if let Some(hidden) = written.values(shared).boolean("removeServerHeader") {
            Rc::make_mut(&mut self.filtering).is_server_hidden = hidden;
        }
        for child in written.children() {
            let path = format!("{}/{}", written.path, child.name());
            match child.name() {
                "requestLimits" => {
                    written.look_at(child, child.name(), shared);
                    self.read_limits(written, child, shared);
                }
                "hiddenSegments" => self.read_hidden(written, child, shared),
                "fileExtensions" => {
                    written.look_at(child, child.name(), shared);
                    self.read_endings(written, child, shared);
                }
                _ if Rc::make_mut(&mut self.filtering).denied.read(written, child, shared) => {}
                _ => match super::support::section(&path) {
                    Some(kind) if kind.how == super::support::How::Kept => {}
                    Some(_) if child.children().next().is_none() => {}
                    Some(kind) => {
                        let message = format!("{path}: {}", kind.meaning);
                        written.hint(child.tag(), message, shared);
                    }
                    None => written.unknown(child, shared),
                },
            }
        }
    }

    fn read_limits<'a>(
        &mut self,
        written: &Written<'a, '_>,
        limits: Element<'a>,
        shared: &mut Shared<'_>,
    ) {
        let bytes = written.values_of(limits, shared).number("maxAllowedContentLength");
        if bytes.is_some() {
            Rc::make_mut(&mut self.filtering).bytes_max = bytes;
        }
        for entry in limits.children_named("headerLimits").flat_map(Element::children) {
            if entry.name() == "add" {
                let name = entry.value("header").unwrap_or_default();
                let message =
                    format!("the bound on the field {name:?}: fields are bounded together");
                written.hint(entry.tag(), message, shared);
            }
        }
    }

    fn read_hidden<'a>(
        &mut self,
        written: &Written<'a, '_>,
        segments: Element<'a>,
        shared: &mut Shared<'_>,
    ) {
        let filtering = Rc::make_mut(&mut self.filtering);
        let mut hidden = filtering.hidden.as_deref().map(<[_]>::to_vec).unwrap_or_default();
        for entry in segments.children() {
            let name = entry.value("segment").unwrap_or_default().into_owned();
            let same = |own: &String| own.eq_ignore_ascii_case(&name);
            match entry.name() {
                "clear" => hidden.clear(),
                "remove" => hidden.retain(|own| !same(own)),
                "add" if hidden.iter().any(same) => written.twice(entry, &name, shared),
                "add" => hidden.push(name),
                _ => written.unknown(entry, shared),
            }
        }
        // The configuration itself is never sent.
        if !hidden.iter().any(|own| own.eq_ignore_ascii_case("web.config")) {
            hidden.push("web.config".to_owned());
        }
        filtering.hidden = Some(hidden.into());
    }

    fn read_endings<'a>(
        &mut self,
        written: &Written<'a, '_>,
        list: Element<'a>,
        shared: &mut Shared<'_>,
    ) {
        let filtering = Rc::make_mut(&mut self.filtering);
        if let Some(allowed) = written.values_of(list, shared).boolean("allowUnlisted") {
            filtering.unlisted_refused = !allowed;
        }
        for entry in list.children() {
            let ending = entry.value("fileExtension").unwrap_or_default().to_lowercase();
            let ending = ending.trim_start_matches('.').to_owned();
            match entry.name() {
                "clear" => filtering.endings.clear(),
                "remove" => filtering.endings.retain(|(own, _)| *own != ending),
                "add" => {
                    let allowed = entry.value("allowed").is_none_or(|text| text.trim() != "false");
                    if filtering.endings.iter().any(|(own, _)| *own == ending) {
                        written.twice(entry, &format!(".{ending}"), shared);
                        filtering.endings.retain(|(own, _)| *own != ending);
                    }
                    filtering.endings.push((ending, allowed));
                }
                _ => written.unknown(entry, shared),
            }
        }
    }

    pub(super) fn read_authorization(
        &mut self,
        written: &Written<'_, '_>,
        shared: &mut Shared<'_>,
    ) {
        let before = self.is_closed();
        let mut entries = self.authorization.as_deref().cloned().unwrap_or_default();
        for entry in written.children() {
            let own = Authorized::of(entry);
            match entry.name() {
                "clear" => entries.clear(),
                "remove" => entries.retain(|one| {
                    (&one.users, &one.roles, &one.verbs) != (&own.users, &own.roles, &own.verbs)
                }),
                "add" if entries.contains(&own) => {}
                "add" => entries.push(own),
                _ => written.unknown(entry, shared),
            }
        }
        self.authorization = Some(Rc::new(entries));
        if self.is_closed() && !before {
            report_closed(written, "not everybody is authorized", shared);
        }
    }

    pub(super) fn read_anonymous(&mut self, written: &Written<'_, '_>, shared: &mut Shared<'_>) {
        let before = self.is_closed();
        if let Some(enabled) = written.values(shared).boolean("enabled") {
            self.no_anonymous = !enabled;
        }
        if self.is_closed() && !before {
            report_closed(written, "nobody may read without a name", shared);
        }
    }
}

fn report_closed(written: &Written<'_, '_>, why: &str, shared: &mut Shared<'_>) {
    let owner = written.level.owner;
    let message =
        format!("{owner}: {why}, and accounts of Windows are not known: the answer is 403");
    let help = "protect it otherwise (ipSecurity, client certificates), or move the site into bindery.toml and use basic_auth";
    let (source, span) = (&*written.level.source, written.element.tag());
    shared.report.problem((source, span), Code::NotEnforced, message, help);
}

/// The network of an address and its mask, which may be a number of bits.
fn network_of(entry: Element<'_>) -> Option<IpNet> {
    let address: IpAddr = entry.value("ipAddress")?.trim().parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let mask = entry.value("subnetMask").unwrap_or_default();
    let bits = match mask.trim() {
        "" => most,
        text => match text.parse::<u8>() {
            Ok(bits) => bits,
            Err(_) => ipnet::ip_mask_to_prefix(text.parse().ok()?).ok()?,
        },
    };
    IpNet::new(address, bits).ok().map(|network| network.trunc())
}
