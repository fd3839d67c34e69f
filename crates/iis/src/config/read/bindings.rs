//! Reads bindings: what they hold, what TLS they want, and which certificate record they stand for.

use std::sync::Arc;

use bindery_model::{
    binding::{Binding, BindingInformation, BindingParseErrorKind, Protocol},
    certificate::{CertificateChoice, CertificateReference},
    document::BindingPosition,
    name::{HostNameError, HostPattern},
    problem::{Code, Problem, Span},
    site::{Site, SiteState},
    tls::{ClientCertificate, TlsPolicy, TlsVersion},
};
use hashbrown::{HashMap, HashSet};

use super::{
    Named, Reader,
    report::{Report, Source},
    value,
};
use crate::{
    netsh::records::{Flag, RecordKey, Records, hex},
    xml::Element,
};

const SNI: u32 = 1;
const CENTRAL: u32 = 2;
const NO_HTTP2: u32 = 4;
const NO_TLS13: u32 = 32;
/// Every bit that IIS has.
const KNOWN: u32 = 127;

/// Bindings without server name indication, by the record that they share.
#[derive(Default)]
pub(super) struct Secure(HashMap<RecordKey, Vec<Sharing>>);

struct Sharing {
    site: usize,
    information: BindingInformation,
    span: Span,
}

impl<'a> Reader<'a> {
    pub(super) fn read_bindings(
        &mut self,
        site: Element<'a>,
        named: &Named,
        client_certificate: &ClientCertificate,
        secure: &mut Secure,
    ) {
        let before = self.parts.bindings.len();
        for element in site.children_named("bindings").flat_map(Element::children) {
            match element.name() {
                "binding" => self.read_binding(element, named, client_certificate, secure),
                "clear" => {}
                name => {
                    let message = format!("<{name}> in bindings is not known here");
                    self.shared.report.hint(&Source::Main, element.tag(), message);
                }
            }
        }
        if self.parts.bindings.len() == before {
            let message = format!("{} has no binding that is served", named.owner);
            let help = "add one: bindery appcmd set site NAME /+bindings.[protocol='https',bindingInformation='*:443:www.example.com',sslFlags='1']";
            let problem = Problem::new(Code::NoBinding, named.span.clone(), message, help);
            self.shared.report.problems.push(problem);
        }
    }

    fn read_binding(
        &mut self,
        element: Element<'a>,
        named: &Named,
        client_certificate: &ClientCertificate,
        secure: &mut Secure,
    ) {
        self.look_at(element, "sites/site/bindings/binding");
        let protocol = element.value("protocol").unwrap_or_default();
        let text = element.value("bindingInformation").unwrap_or_default();
        let span = value::place(element, "bindingInformation");
        if !["http", "https"].iter().any(|own| own.eq_ignore_ascii_case(protocol.trim())) {
            let message = format!(
                "{protocol}/{text} of {}: {protocol:?} is not served; there are http and https",
                named.owner
            );
            return self.shared.report.hint(&Source::Main, element.tag(), message);
        }
        let flags = self.read_flags(element);
        let Some(information) = self.read_information(element, &protocol, &text, named) else {
            return;
        };
        let site = self.parts.sites.len().saturating_sub(1);
        let mut binding = Binding {
            information,
            tls: TlsPolicy::default(),
            certificate: CertificateChoice::default(),
            site: u32::try_from(site).unwrap_or(u32::MAX),
        };
        if binding.information.protocol == Protocol::Https {
            self.report_flags(element, &binding.information, flags, named);
            self.secure(&mut binding, flags, client_certificate, element);
            let shares =
                flags & (SNI | CENTRAL) == 0 || binding.information.host == HostPattern::Any;
            if shares {
                secure.add(self.sources.records, site, &binding.information, &span);
            }
        }
        self.parts.bindings.push(binding);
        let (certificate, client_ca) = (span.clone(), span.clone());
        let position = BindingPosition { on: span, certificate, client_ca };
        self.parts.positions.bindings.push(position);
    }

    fn read_information(
        &mut self,
        element: Element<'a>,
        protocol: &str,
        text: &str,
        named: &Named,
    ) -> Option<BindingInformation> {
        let whole = format!("{}/{}", protocol.trim(), text.trim());
        let error = match whole.parse::<BindingInformation>() {
            Ok(information) => return Some(information),
            Err(error) => error,
        };
        let span = value::place(element, "bindingInformation");
        let code = match &error.kind {
            // What asks for an address asks nobody by name: IIS takes it for a name.
            BindingParseErrorKind::Host(HostNameError::Address(host)) => {
                let message =
                    format!("{whole} of {}: {host} is an address and no host name", named.owner);
                let help = format!("give the binding that address and no host: {host}:PORT:");
                let code = Code::NotSupportedHere;
                self.shared.report.problem((&Source::Main, span), code, message, help);
                return None;
            }
            BindingParseErrorKind::Host(HostNameError::Wildcard(_)) => Code::BadWildcard,
            BindingParseErrorKind::Host(_) => Code::BadHost,
            _ => Code::BadBinding,
        };
        self.parts.incomplete = true;
        let attribute = element.attribute("bindingInformation");
        // The part that is wrong, where the text stands there as it is.
        let exact = attribute.filter(|own| own.raw_value() == text.trim());
        let part = exact.map(|own| {
            let start = own.value_span().start;
            let skipped = protocol.trim().len() + 1;
            let at = |place: usize| start + place.saturating_sub(skipped);
            at(error.span.start)..at(error.span.end)
        });
        let span = part.filter(|part| !part.is_empty()).unwrap_or(span);
        let message = format!("binding of {}: {}", named.owner, error);
        let help = "write address:port:host, as in *:443:www.example.com; the host may be empty";
        self.shared.report.problem((&Source::Main, span), code, message, help);
        None
    }

    fn read_flags(&mut self, element: Element<'a>) -> u32 {
        let Some(text) = element.value("sslFlags") else { return 0 };
        if let Ok(flags) = text.trim().parse() {
            return flags;
        }
        let span = value::place(element, "sslFlags");
        let message = format!("sslFlags {text:?} is no number: taken for 0");
        let help = "write the sum of 1 (SNI), 2 (central store), 4 (no HTTP/2), 32 (no TLS 1.3)";
        self.shared.report.problem((&Source::Main, span), Code::BadSslFlags, message, help);
        0
    }

    /// Reports flags that do not go together, and those that nobody knows.
    fn report_flags(
        &mut self,
        element: Element<'a>,
        information: &BindingInformation,
        flags: u32,
        named: &Named,
    ) {
        let span = value::place(element, "sslFlags");
        let report = &mut self.shared.report;
        let any = information.host == HostPattern::Any;
        if any && flags & CENTRAL != 0 {
            let message = format!(
                "{information} of {} takes its certificate from the central store and has no host: it answers for names that have a file there",
                named.owner
            );
            let help = "IIS refuses it: write a host, or take 2 off sslFlags";
            report.problem((&Source::Main, span.clone()), Code::BadSslFlags, message, help);
        } else if any && flags & SNI != 0 {
            let message = format!(
                "{information} of {} requires server name indication and has no host: taken without",
                named.owner
            );
            let help = "write a host, or take 1 off sslFlags";
            report.problem((&Source::Main, span.clone()), Code::BadSslFlags, message, help);
        }
        if flags & !KNOWN != 0 {
            let message = format!("bits {} of sslFlags are not known here", flags & !KNOWN);
            report.hint(&Source::Main, span, message);
        }
    }

    /// What a binding wants of TLS, and the certificate that it shows.
    fn secure(
        &mut self,
        binding: &mut Binding,
        flags: u32,
        client_certificate: &ClientCertificate,
        element: Element<'a>,
    ) {
        let records = self.sources.records;
        let BindingInformation { host, endpoint, .. } = &binding.information;
        let record = records.first_of(&RecordKey::candidates(host, *endpoint, flags));
        let says = |flag| record.is_some_and(|record| record.flags.is(flag));
        let tls = &mut binding.tls;
        tls.http2 = flags & NO_HTTP2 == 0 && !says(Flag::DisableHttp2);
        if flags & NO_TLS13 != 0 || says(Flag::DisableTls13) {
            tls.maximum = TlsVersion::Tls12;
        } else if says(Flag::DisableTls12) {
            tls.minimum = TlsVersion::Tls13;
        }
        tls.client_certificate = client_certificate.clone();
        let asked = says(Flag::NegotiateClientCertificate);
        if let Some(ca) = self.shared.client_ca.clone().filter(|_| asked)
            && tls.client_certificate == ClientCertificate::Off
        {
            tls.client_certificate = ClientCertificate::Optional { ca };
        }
        let store = self.parts.settings.central_store.is_some();
        let listed = record.and_then(|record| record.certificate_hash);
        binding.certificate = match listed {
            Some(hash) if flags & CENTRAL == 0 => {
                CertificateChoice::Listed(vec![CertificateReference::Thumbprint(hash)])
            }
            _ if store => CertificateChoice::Central,
            _ => CertificateChoice::Best,
        };
        if flags & CENTRAL != 0 && !store {
            let message = format!(
                "{} takes its certificate from the central store, and there is none: it shows the best one that covers its host",
                binding.information
            );
            let help = "add to bindery.toml beside this file, below [server]: central_store = { folder = \"...\" }";
            let span = value::place(element, "sslFlags");
            self.shared.report.problem((&Source::Main, span), Code::NoEffect, message, help);
        }
    }

    /// Takes bindings away that a stopped site has and another too: IIS gives them to who is
    /// started, and so do we.
    pub(super) fn drop_bindings_of_stopped_sites(&mut self) {
        let sites = &self.parts.sites;
        let stopped = |binding: &Binding| {
            let site = sites.get(binding.site as usize);
            site.is_some_and(|site| site.state == SiteState::Stopped)
        };
        if !sites.iter().any(|site| site.state == SiteState::Stopped) {
            return;
        }
        let key = |binding: &Binding| (binding.information.clone(), binding.is_central_catch_all());
        let bindings = &self.parts.bindings;
        let mut held: HashMap<_, u32> = bindings
            .iter()
            .filter(|binding| !stopped(binding))
            .map(|binding| (key(binding), binding.site))
            .collect();
        let mut kept = Vec::with_capacity(bindings.len());
        for (binding, position) in bindings.iter().zip(&self.parts.positions.bindings) {
            let holder = match stopped(binding) {
                true => *held.entry(key(binding)).or_insert(binding.site),
                false => binding.site,
            };
            kept.push(holder == binding.site);
            if holder != binding.site {
                let name = |site: u32| sites.get(site as usize).map_or("", |site| &site.name);
                let message = format!(
                    "{} of site {:?}, which is stopped, is a binding of site {:?} too, and is that one's",
                    binding.information,
                    name(binding.site),
                    name(holder),
                );
                let help = "remove one of the two before both are started";
                let span = position.on.clone();
                self.shared.report.problem((&Source::Main, span), Code::NoEffect, message, help);
            }
        }
        let mut keep = kept.iter();
        self.parts.bindings.retain(|_| keep.next().copied().unwrap_or(true));
        let mut keep = kept.iter();
        self.parts.positions.bindings.retain(|_| keep.next().copied().unwrap_or(true));
    }
}

impl Secure {
    fn add(
        &mut self,
        records: &Records,
        site: usize,
        information: &BindingInformation,
        span: &Span,
    ) {
        let keys = RecordKey::candidates(&HostPattern::Any, information.endpoint, 0);
        let Some(record) = records.first_of(&keys) else { return };
        let sharing = Sharing { site, information: information.clone(), span: span.clone() };
        self.0.entry(record.key.clone()).or_default().push(sharing);
    }

    /// Reports each record that several sites share: what clients get, and the two ways out.
    pub(super) fn report(self, records: &Records, sites: &[Arc<Site>], report: &mut Report) {
        for (key, sharing) in self.0 {
            let numbers: HashSet<usize> = sharing.iter().map(|one| one.site).collect();
            let named = sharing.iter().filter(|one| one.information.host != HostPattern::Any);
            let Some(last) = named.clone().next_back().filter(|_| numbers.len() > 1) else {
                continue;
            };
            let Some(record) = records.find(&key) else { continue };
            let name = |site: usize| sites.get(site).map_or("", |site| &site.name);
            let mut hosts: Vec<_> = named.map(|one| one.information.host.to_string()).collect();
            hosts.dedup();
            let count = hosts.len();
            hosts.truncate(HOSTS_SHOWN_MAX);
            let more = match count.saturating_sub(HOSTS_SHOWN_MAX) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let hash = record.certificate_hash.map(|hash| hex(&hash)).unwrap_or_default();
            let message = format!(
                "{} sites on {key} have no server name indication and share one certificate, {hash}: clients of {}{more} get it, whichever site they ask for",
                numbers.len(),
                hosts.join(", "),
            );
            let BindingInformation { endpoint, host, .. } = &last.information;
            let help = format!(
                "right if it covers all of them; if not, either: bindery appcmd set site {name:?} \"/bindings.[protocol='https',bindingInformation='{endpoint}:{host}'].sslFlags:1\" and bindery netsh http add sslcert hostnameport={host}:{port} certhash=HASH appid={id}; or, with one that covers all: bindery netsh http update sslcert {tag}={key} certhash=HASH appid={id}",
                name = name(last.site),
                port = endpoint.port,
                tag = key.tag(),
                id = record.application_id,
            );
            let mut problem = Problem::new(Code::SharedRecord, last.span.clone(), message, help);
            for one in sharing.iter().filter(|one| one.span != last.span).take(HOSTS_SHOWN_MAX) {
                problem =
                    problem.with_related(one.span.clone(), format!("of site {:?}", name(one.site)));
            }
            report.problems.push(problem);
        }
    }
}

/// How many hosts are named that share a certificate.
const HOSTS_SHOWN_MAX: usize = 5;
