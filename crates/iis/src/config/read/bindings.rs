//! Reads bindings: what they hold, what TLS they want, and which certificate record they stand for.

use bindery_model::{
    binding::{Binding, BindingInformation, BindingParseErrorKind, Protocol},
    certificate::{CertificateChoice, CertificateReference},
    document::BindingPosition,
    name::{HostNameError, HostPattern},
    problem::{Code, Problem},
    record::{CENTRAL, SNI},
    site::SiteState,
    tls::{ClientCertificate, TlsPolicy, TlsVersion},
};
use hashbrown::HashMap;

use super::{Named, Reader, report::Source, value};
use crate::{
    netsh::records::{Flag, RecordKey},
    xml::Element,
};

const NO_HTTP2: u32 = 4;
const NO_TLS13: u32 = 32;
/// Every bit that IIS has.
const KNOWN: u32 = 127;

impl<'a> Reader<'a> {
    pub(super) fn read_bindings(
        &mut self,
        site: Element<'a>,
        named: &Named,
        client_certificate: &ClientCertificate,
    ) {
        let before = self.parts.bindings.len();
        for element in site.children_named("bindings").flat_map(Element::children) {
            match element.name() {
                "binding" => self.read_binding(element, named, client_certificate),
                "clear" => {}
                name => {
                    let message = format!("<{name}> in bindings is not known here");
                    self.shared.report.hint(&Source::Main, element.tag(), message);
                }
            }
        }
        if self.parts.bindings.len() == before {
            let message = format!("{} has no binding that is served", named.owner);
            let name = site.value("name").unwrap_or_default();
            let help = format!(
                "add one: bindery appcmd set site \"{name}\" \"/+bindings.[protocol='https',bindingInformation='*:443:www.example.com',sslFlags='1']\""
            );
            let problem = Problem::new(Code::NoBinding, named.span.clone(), message, help);
            self.shared.report.problems.push(problem);
        }
    }

    fn read_binding(
        &mut self,
        element: Element<'a>,
        named: &Named,
        client_certificate: &ClientCertificate,
    ) {
        self.look_at(element, "sites/site/bindings/binding");
        let protocol = element.value("protocol").unwrap_or_default();
        let text = element.value("bindingInformation").unwrap_or_default();
        let span = value::place(element, "bindingInformation");
        let lacks = ["protocol", "bindingInformation"]
            .into_iter()
            .find(|name| element.value(name).is_none_or(|value| value.trim().is_empty()));
        if let Some(name) = lacks {
            self.parts.incomplete = true;
            let message = format!("binding of {}: it has no {name}", named.owner);
            let help = "write both, as in protocol=\"https\" bindingInformation=\"*:443:www.example.com\"; IIS takes neither without the other";
            let place = (&Source::Main, element.tag());
            return self.shared.report.problem(place, Code::BadBinding, message, help);
        }
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
        }
        self.parts.bindings.push(binding);
        self.parts.records.get_or_insert_default().ssl_flags.push(flags);
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
            // Nothing to choose one by.
            _ if *host == HostPattern::Any => CertificateChoice::None,
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
        if let Some(records) = &mut self.parts.records {
            let mut keep = kept.iter();
            records.ssl_flags.retain(|_| keep.next().copied().unwrap_or(true));
        }
        let mut keep = kept.iter();
        self.parts.positions.bindings.retain(|_| keep.next().copied().unwrap_or(true));
    }
}
