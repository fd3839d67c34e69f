//! What is wrong between things that are right alone: keys held twice, http beside https on one
//! endpoint, listeners that nothing listens behind, certificates that nothing uses.

use std::net::IpAddr;

use hashbrown::{HashMap, hash_map::Entry};

use super::Parts;
use crate::{
    binding::{Binding, Endpoint, Protocol},
    certificate::{CertificateChoice, CertificateReference},
    problem::{Code, Problem},
    trap,
};

/// Reports bindings that cannot stand together: the later one, with the earlier one beside it.
pub(super) fn bindings(all: &Parts) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut held = HashMap::with_capacity(all.bindings.len());
    let mut ports = Ports::default();
    let positions = &all.positions.bindings;
    for (place, (binding, position)) in all.bindings.iter().zip(positions).enumerate() {
        let information = &binding.information;
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
                let problem =
                    Problem::new(Code::DuplicateBinding, position.on.clone(), message, help);
                let problem = trap::held_twice(all, problem, [*first.get(), place]);
                problems.push(all.beside(problem, *first.get()));
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
            let problem = Problem::new(Code::MixedProtocols, position.on.clone(), message, help);
            problems.push(all.beside(problem, first));
        }
        ports.add(binding, place);
    }
    problems
}

/// Reports listeners whose endpoint no binding uses, or uses otherwise.
pub(super) fn listeners(all: &Parts) -> Vec<Problem> {
    let mut problems = Vec::new();
    if all.listeners.is_empty() {
        return problems;
    }
    let mut ports = Ports::default();
    for (place, binding) in all.bindings.iter().enumerate() {
        ports.add(binding, place);
    }
    for (listener, span) in all.listeners.iter().zip(&all.positions.listeners) {
        let (endpoint, protocol) = (&listener.endpoint, &listener.protocol);
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
            problems.push(all.beside(problem, first));
        } else if !all.incomplete {
            let message =
                format!("no binding uses {protocol}/{endpoint}, so the listener means nothing");
            let help = "remove it, or give a site a binding there";
            problems.push(Problem::new(Code::IdleListener, span.clone(), message, help));
        }
    }
    problems
}

/// Reports certificates that no binding could use. Who takes the best, or names a certificate by
/// what is in it, may use any.
pub(super) fn certificates(all: &Parts) -> Vec<Problem> {
    if all.records.is_some() {
        // They stand in another file, and as in the store of Windows wait there for a record.
        return Vec::new();
    }
    let mut unused = vec![true; all.certificates.len()];
    let secure = all.bindings.iter().filter(|own| own.information.protocol == Protocol::Https);
    for binding in secure {
        let listed = match &binding.certificate {
            CertificateChoice::Best => return Vec::new(),
            CertificateChoice::Central | CertificateChoice::None => continue,
            CertificateChoice::Listed(listed) => listed,
        };
        for reference in listed {
            let CertificateReference::Source(id) = reference else { return Vec::new() };
            if let Some(one) = unused.get_mut(id.0 as usize) {
                *one = false;
            }
        }
    }
    let all = all.certificates.iter().zip(&all.positions.certificates).zip(unused);
    all.filter(|(_, unused)| *unused)
        .map(|((source, position), _)| {
            let message = format!("no binding uses the certificate {:?}", source.name);
            let help = format!("write certificate = {:?} at a binding, or remove it", source.name);
            Problem::new(Code::UnusedCertificate, position.name.clone(), message, help)
        })
        .collect()
}

fn other(protocol: Protocol) -> Protocol {
    match protocol {
        Protocol::Http => Protocol::Https,
        Protocol::Https => Protocol::Http,
    }
}

impl Parts {
    fn site_of(&self, binding: usize) -> &str {
        let binding = self.bindings.get(binding);
        binding.and_then(|own| self.sites.get(own.site as usize)).map_or("", |site| &site.name)
    }

    /// The problem with the binding at `first` as the place that belongs to it.
    fn beside(&self, problem: Problem, first: usize) -> Problem {
        match (self.bindings.get(first), self.positions.bindings.get(first)) {
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
