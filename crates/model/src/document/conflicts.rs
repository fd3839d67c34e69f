//! What is wrong between things that are right alone: keys held twice, http beside https on one
//! endpoint, listeners that nothing listens behind, certificates that nothing uses.

use std::net::IpAddr;

use hashbrown::{HashMap, hash_map::Entry};

use super::{Listener, certificate::Certificates, read::Reader, site::Sites};
use crate::{
    binding::{Binding, Endpoint, Protocol},
    certificate::{CertificateChoice, CertificateReference},
    problem::{Code, Problem, Span},
};

/// Reports bindings that cannot stand together: the later one, with the earlier one beside it.
pub(super) fn report_bindings(reader: &mut Reader<'_>, all: &Sites) {
    let mut held = HashMap::new();
    let mut ports = Ports::default();
    for (place, (binding, position)) in all.bindings.iter().zip(&all.binding_positions).enumerate()
    {
        let information = &binding.information;
        let on = position.on.clone();
        match held.entry((information, binding.is_central_catch_all())) {
            Entry::Vacant(vacant) => {
                vacant.insert(place);
            }
            Entry::Occupied(first) => {
                let (site, other) = (all.site_of(place), all.site_of(*first.get()));
                let message = match site == other {
                    true => format!("site {site:?} has the binding {information} twice"),
                    false => {
                        format!("{information} is a binding of site {site:?} and of site {other:?}")
                    }
                };
                let help = "remove one of them, or give it another host, address or port";
                let problem = Problem::new(Code::DuplicateBinding, on.clone(), message, help);
                reader.problems.push(all.beside(problem, *first.get()));
            }
        }
        if let Some(first) = ports.first(information.endpoint, other(information.protocol)) {
            let message = format!(
                "{information} of site {:?} needs {} on {}, where another binding needs {}",
                all.site_of(place),
                information.protocol,
                information.endpoint,
                other(information.protocol),
            );
            let help = "one address and port speaks one of both; take another port for one of them";
            let problem = Problem::new(Code::MixedProtocols, on, message, help);
            reader.problems.push(all.beside(problem, first));
        }
        ports.add(binding, place);
    }
}

/// Reports listeners whose endpoint no binding uses, or uses otherwise.
pub(super) fn report_listeners(
    reader: &mut Reader<'_>,
    listeners: &[Listener],
    spans: &[Span],
    all: &Sites,
) {
    let mut ports = Ports::default();
    for (place, binding) in all.bindings.iter().enumerate() {
        ports.add(binding, place);
    }
    for (listener, span) in listeners.iter().zip(spans) {
        let Listener { endpoint, protocol, .. } = listener;
        if ports.first(*endpoint, *protocol).is_some() {
            continue;
        }
        if let Some(first) = ports.first(*endpoint, other(*protocol)) {
            let message = format!(
                "the listener says {protocol} for {endpoint}, where bindings need {}",
                other(*protocol)
            );
            let help = format!("write {}/{endpoint}", other(*protocol));
            let problem = Problem::new(Code::MixedProtocols, span.clone(), message, help);
            reader.problems.push(all.beside(problem, first));
        } else if !reader.incomplete {
            let message =
                format!("no binding uses {protocol}/{endpoint}, so the listener means nothing");
            let help = "remove it, or give a site a binding there";
            reader.problem(Code::IdleListener, span.clone(), message, help);
        }
    }
}

/// Reports certificates that no binding could use. Who takes the best, or names a certificate by
/// what is in it, may use any.
pub(super) fn report_certificates(
    reader: &mut Reader<'_>,
    certificates: &Certificates,
    bindings: &[Binding],
) {
    let secure = || bindings.iter().filter(|own| own.information.protocol == Protocol::Https);
    let any = secure().any(|binding| match &binding.certificate {
        CertificateChoice::Best => true,
        CertificateChoice::Central => false,
        CertificateChoice::Listed(listed) => {
            listed.iter().any(|one| !matches!(one, CertificateReference::Source(_)))
        }
    });
    if any || reader.incomplete {
        return;
    }
    let listed = secure().filter_map(|binding| match &binding.certificate {
        CertificateChoice::Listed(listed) => Some(listed),
        CertificateChoice::Best | CertificateChoice::Central => None,
    });
    let used = listed.flatten().filter_map(|reference| match reference {
        CertificateReference::Source(id) => Some(*id),
        CertificateReference::Thumbprint(_) | CertificateReference::Fingerprint(_) => None,
    });
    certificates.report_unused(reader, used);
}

fn other(protocol: Protocol) -> Protocol {
    match protocol {
        Protocol::Http => Protocol::Https,
        Protocol::Https => Protocol::Http,
    }
}

impl Sites {
    fn site_of(&self, binding: usize) -> &str {
        let binding = self.bindings.get(binding);
        binding.and_then(|own| self.sites.get(own.site as usize)).map_or("", |site| &site.name)
    }

    /// The problem with the binding at `first` as the place that belongs to it.
    fn beside(&self, problem: Problem, first: usize) -> Problem {
        match (self.bindings.get(first), self.binding_positions.get(first)) {
            (Some(binding), Some(position)) => {
                let why = format!("{} of site {:?}", binding.information, self.site_of(first));
                problem.with_related(position.on.clone(), why)
            }
            _ => problem,
        }
    }
}

/// The first binding of each protocol by port and address, and by port alone.
#[derive(Default)]
struct Ports {
    on: HashMap<(Endpoint, Protocol), usize>,
    of_port: HashMap<(u16, Protocol), usize>,
}

impl Ports {
    fn add(&mut self, binding: &Binding, place: usize) {
        let information = &binding.information;
        self.on.entry((information.endpoint, information.protocol)).or_insert(place);
        self.of_port.entry((information.endpoint.port, information.protocol)).or_insert(place);
    }

    /// The first binding of that protocol whose endpoint overlaps.
    fn first(&self, endpoint: Endpoint, protocol: Protocol) -> Option<usize> {
        let Endpoint { address, port } = endpoint;
        let on = |address: Option<IpAddr>| self.on.get(&(Endpoint { address, port }, protocol));
        match address {
            None => self.of_port.get(&(port, protocol)).copied(),
            Some(_) => [on(address), on(None)].into_iter().flatten().min().copied(),
        }
    }
}
