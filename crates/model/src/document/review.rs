//! What is valid and probably not meant.
//!
//! Nothing here knows the rules of the decision: [`decide`] itself is asked, as representative
//! clients would ask it. A binding is represented by a name that it covers and nobody holds more
//! exactly, at its own address; one for all addresses, at an address that nobody names and at each
//! that somebody names. If none of these clients is answered by the binding, none is.
//!
//! The work grows with the number of bindings, not with its square. A binding for all addresses is
//! nearly always reached at the address that nobody names, the first that is asked for. And where
//! the two orders are compared, each address that does not settle the matter has a binding of its
//! own for the same name.

use std::{
    cell::OnceCell,
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use hashbrown::{HashMap, HashSet};

use super::{Configuration, Positions};
use crate::{
    binding::{Binding, Endpoint, Protocol},
    decide::{Fallback, KeyHost, KeyRef, ListenerRules, Order, Question, decide},
    name::{HostName, HostPattern},
    problem::{Code, Problem, Span},
    record::RecordKey,
    table::BindingId,
};

/// What is valid and probably not meant: bindings that no client reaches, bindings that the other
/// order would pass over, endpoints that have nothing for clients without a server name.
#[must_use]
pub fn review(configuration: &Configuration, positions: &Positions) -> Vec<Problem> {
    let review = Review::new(configuration, positions);
    let mut problems = Vec::new();
    for (place, binding) in configuration.table.bindings.iter().enumerate() {
        let Some(port) = review.ports.get(&binding.information.endpoint.port) else { continue };
        let one = Reviewed { review: &review, port, binding, place };
        problems.extend(one.unreachable().or_else(|| one.order_differs()));
    }
    review.report_no_catch_all(&mut problems);
    problems
}

/// The configuration, with what makes questions to it quick.
struct Review<'a> {
    configuration: &'a Configuration,
    positions: &'a Positions,
    /// By endpoint: the place of its listener.
    listeners: HashMap<Endpoint, usize>,
    /// By endpoint: the place of its first binding.
    first: HashMap<Endpoint, usize>,
    ports: HashMap<u16, Port>,
    /// A label that no exact name begins with: below a wildcard, or alone, nobody holds it. Found
    /// by a look at all bindings, when it is first asked for.
    unheld: OnceCell<Option<HostName>>,
}

/// What the bindings and listeners of one port name.
#[derive(Default)]
struct Port {
    /// All addresses that are named.
    addresses: BTreeSet<IpAddr>,
    /// Those with a catch-all of their own that may answer clients with any name.
    catch_alls: Vec<IpAddr>,
    /// One that nobody names.
    unused: Option<IpAddr>,
}

/// A client that a binding should answer.
struct Client {
    name: Option<HostName>,
    /// Whether the central store has a file for the name.
    in_store: bool,
}

impl<'a> Review<'a> {
    fn new(configuration: &'a Configuration, positions: &'a Positions) -> Self {
        let mut listeners = HashMap::new();
        for (place, listener) in configuration.listeners.iter().enumerate() {
            listeners.entry(listener.endpoint).or_insert(place);
        }
        let mut first = HashMap::new();
        for (place, binding) in configuration.table.bindings.iter().enumerate() {
            first.entry(binding.information.endpoint).or_insert(place);
        }
        let (ports, unheld) = (HashMap::new(), OnceCell::new());
        let mut review = Self { configuration, positions, listeners, first, ports, unheld };
        review.ports = review.read_ports();
        review
    }

    fn unheld(&self) -> Option<HostName> {
        let find = || {
            let mut labels = HashSet::new();
            for binding in &self.configuration.table.bindings {
                if let HostPattern::Exact(name) = &binding.information.host {
                    labels.extend(name.as_str().split('.').next());
                }
            }
            let unheld = (0..).map(label).find(|own| !labels.contains(own.as_str()));
            unheld.and_then(|label| label.parse().ok())
        };
        self.unheld.get_or_init(find).clone()
    }

    fn read_ports(&self) -> HashMap<u16, Port> {
        let mut ports: HashMap<u16, Port> = HashMap::new();
        for endpoint in self.listeners.keys().chain(self.first.keys()) {
            let port = ports.entry(endpoint.port).or_default();
            port.addresses.extend(endpoint.address);
        }
        for (number, port) in &mut ports {
            // Any beginning will do: nobody names so many addresses that none is left behind it.
            let beginning = u32::from(Ipv4Addr::new(198, 51, 100, 1));
            let mut free = (beginning..).map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits)));
            port.unused = free.find(|one| !port.addresses.contains(one));
            let open = |address: &IpAddr| {
                let endpoint = Endpoint { address: Some(*address), port: *number };
                self.holds_catch_all(endpoint)
                    && self.rules(endpoint).unknown_name == Fallback::CatchAll
            };
            port.catch_alls = port.addresses.iter().copied().filter(open).collect();
        }
        ports
    }

    fn listener(&self, endpoint: Endpoint) -> Option<usize> {
        let everywhere = Endpoint { address: None, ..endpoint };
        self.listeners.get(&endpoint).or_else(|| self.listeners.get(&everywhere)).copied()
    }

    /// As [`Configuration::rules`], without looking through all listeners.
    fn rules(&self, endpoint: Endpoint) -> ListenerRules {
        let listener =
            self.listener(endpoint).and_then(|place| self.configuration.listeners.get(place));
        listener.map(|listener| listener.rules).unwrap_or_default()
    }

    fn ask(&self, local: SocketAddr, client: &Client, order: Order) -> Option<BindingId> {
        let endpoint = Endpoint { address: Some(local.ip()), port: local.port() };
        let rules = self.rules(endpoint);
        let order =
            self.configuration.table.protocol(local).map_or(order, |spoken| order.on(spoken));
        let question = Question { local, name: client.name.as_ref(), order, rules };
        let find = |key: &KeyRef<'_>| match key.host {
            KeyHost::Central(_) if !client.in_store => None,
            _ => self.configuration.table.holder(key),
        };
        decide(question, find).map(|(_, binding)| binding)
    }

    fn on(&self, place: usize) -> Span {
        self.positions.bindings.get(place).map(|position| position.on.clone()).unwrap_or_default()
    }

    fn site_of(&self, binding: &Binding) -> &'a str {
        &self.configuration.table.site(binding).name
    }

    fn holds_catch_all(&self, endpoint: Endpoint) -> bool {
        let key = KeyRef { endpoint, host: KeyHost::Any };
        self.configuration.table.holder(&key).is_some()
    }

    /// Whether a binding is there for all who name no host, whatever certificate it shows.
    fn has_without_host(&self, endpoint: Endpoint) -> bool {
        self.configuration.table.bindings.iter().any(|own| {
            own.information.endpoint == endpoint && own.information.host == HostPattern::Any
        })
    }

    fn report_no_catch_all(&self, problems: &mut Vec<Problem>) {
        // An endpoint for all addresses comes before those for one, and speaks for its port.
        let mut reported = HashSet::new();
        for (endpoint, protocol) in self.configuration.table.endpoints() {
            if *protocol == Protocol::Http
                || self.holds_catch_all(*endpoint)
                || self.holds_catch_all(Endpoint { address: None, ..*endpoint })
                || self.rules(*endpoint).no_sni == Fallback::Refuse
                || reported.contains(&endpoint.port)
            {
                continue;
            }
            if endpoint.address.is_none() {
                reported.insert(endpoint.port);
            }
            let span = self.first.get(endpoint).map(|place| self.on(*place)).unwrap_or_default();
            let message = format!(
                "clients without a server name (old programs, requests by address) get no certificate on {endpoint}"
            );
            let refuse =
                format!("write a [[listener]] on \"https/{endpoint}\" with no_sni = \"refuse\"");
            let help = match (&self.configuration.records, self.has_without_host(*endpoint)) {
                (Some(_), true) => format!(
                    "give its binding without a host a certificate: bindery netsh http add \
                     sslcert {} certhash=THUMBPRINT \
                     appid={{4dc3e181-e14b-4a21-b022-59fc669b0914}}",
                    String::from(RecordKey::IpPort(*endpoint)),
                ),
                (Some(_), false) => format!(
                    "give a site a binding https/{endpoint}: without SNI, and a certificate \
                     record for {}, or in bindery.toml beside this file {refuse}",
                    String::from(RecordKey::IpPort(*endpoint)),
                ),
                (None, _) => {
                    format!("give a site a binding such as \"https/{endpoint}:\", or {refuse}")
                }
            };
            problems.push(Problem::new(Code::NoCatchAll, span, message, help));
        }
    }
}

/// A binding under review.
struct Reviewed<'a> {
    review: &'a Review<'a>,
    port: &'a Port,
    binding: &'a Binding,
    place: usize,
}

impl Reviewed<'_> {
    /// The clients that stand for all that the binding should answer.
    fn clients(&self) -> [Option<Client>; 2] {
        let unheld = || self.review.unheld();
        match &self.binding.information.host {
            HostPattern::Exact(name) => {
                [Some(Client { name: Some(name.clone()), in_store: false }), None]
            }
            HostPattern::Wildcard(parent) => {
                let name = unheld().and_then(|label| format!("{label}.{parent}").parse().ok());
                [name.map(|name| Client { name: Some(name), in_store: false }), None]
            }
            HostPattern::Any if self.binding.is_central_catch_all() => {
                [Some(Client { name: unheld(), in_store: true }), None]
            }
            HostPattern::Any => [
                Some(Client { name: None, in_store: false }),
                Some(Client { name: unheld(), in_store: false }),
            ],
        }
    }

    fn is_own(&self, id: BindingId) -> bool {
        id.place() == self.place
    }

    fn unreachable(&self) -> Option<Problem> {
        let order = self.review.configuration.settings.order;
        let own = self.binding.information.endpoint.address;
        let named: Box<dyn Iterator<Item = IpAddr>> = match own {
            Some(address) => Box::new(std::iter::once(address)),
            None => {
                Box::new(self.port.unused.into_iter().chain(self.port.addresses.iter().copied()))
            }
        };
        let clients = self.clients();
        if clients.iter().all(Option::is_none) {
            return Some(self.report_unreachable(
                "no host name is short enough to be covered",
                "shorten the host",
            ));
        }
        let mut answer = None;
        for address in named {
            let local = SocketAddr::new(address, self.binding.information.endpoint.port);
            for client in clients.iter().flatten() {
                match self.review.ask(local, client, order) {
                    Some(id) if self.is_own(id) => return None,
                    other => answer = answer.or(Some((local, other))),
                }
            }
        }
        let (local, other) = answer?;
        Some(self.explain_unreachable(local, other))
    }

    fn explain_unreachable(&self, local: SocketAddr, other: Option<BindingId>) -> Problem {
        let review = self.review;
        let Some(id) = other else {
            let endpoint = Endpoint { address: Some(local.ip()), port: local.port() };
            let why = "its listener refuses clients without a server name and clients with an unknown one";
            let help = "let the listener say \"catch-all\" for no_sni or unknown_name, or remove the binding";
            let problem = self.report_unreachable(why, help);
            let listener =
                review.listener(endpoint).and_then(|place| review.positions.listeners.get(place));
            return match listener {
                Some(span) => problem.with_related(span.clone(), "this listener"),
                None => problem,
            };
        };
        let winner = review.configuration.table.binding(id);
        let why = format!(
            "{} of site {:?} answers everybody there, as order = {:?} has it",
            winner.information,
            review.site_of(winner),
            review.configuration.settings.order.to_string(),
        );
        let help = "remove one of the two, or write order = \"host-first\" in [server]";
        let why_related = format!("of site {:?}: answers instead", review.site_of(winner));
        self.report_unreachable(&why, help).with_related(review.on(id.place()), why_related)
    }

    fn report_unreachable(&self, why: &str, help: &str) -> Problem {
        let Binding { information, .. } = self.binding;
        let site = self.review.site_of(self.binding);
        let message = format!("no client can reach {information} of site {site:?}: {why}");
        Problem::new(Code::Unreachable, self.review.on(self.place), message, help)
    }

    fn order_differs(&self) -> Option<Problem> {
        let [client, None] = self.clients() else { return None };
        let client = client?;
        let own = self.binding.information.endpoint;
        let addresses = match &own.address {
            Some(address) => std::slice::from_ref(address),
            // Elsewhere the two orders are the same.
            None => self.port.catch_alls.as_slice(),
        };
        for address in addresses {
            let local = SocketAddr::new(*address, own.port);
            let ours = self.review.ask(local, &client, Order::HostFirst);
            let theirs = self.review.ask(local, &client, Order::HttpSys);
            if let (Some(ours), Some(theirs)) = (ours, theirs)
                && self.is_own(ours)
                && ours != theirs
            {
                return Some(self.report_order(local, theirs));
            }
        }
        None
    }

    fn report_order(&self, local: SocketAddr, theirs: BindingId) -> Problem {
        let review = self.review;
        let Binding { information, .. } = self.binding;
        let asked = match &information.host {
            HostPattern::Any => "a name of the central store".to_owned(),
            host => host.to_string(),
        };
        let other = review.configuration.table.binding(theirs);
        let site = review.site_of(other);
        let (message, help) = match review.configuration.settings.order {
            Order::HostFirst => (
                format!(
                    "{asked} on {local} is answered by {information}; HTTP.SYS's order would give it \
                     to {} of site {site:?}",
                    other.information
                ),
                "right unless you count on what Windows does: then write order = \"http.sys\" in [server]",
            ),
            Order::HttpSys => (
                format!(
                    "{asked} on {local} is answered by {} of site {site:?} and not by {information}, \
                     because order is \"http.sys\"",
                    other.information
                ),
                "write order = \"host-first\" in [server] to have names come before addresses",
            ),
        };
        let why = format!("{} of site {site:?}", other.information);
        Problem::new(Code::OrderDiffers, self.review.on(self.place), message, help)
            .with_related(review.on(theirs.place()), why)
    }
}

/// The labels a, b ... z, aa, ab ...: letters only, so that no address comes of it.
fn label(number: u32) -> String {
    let mut letters = Vec::new();
    let mut rest = number;
    loop {
        letters.push(char::from(b'a' + u8::try_from(rest % 26).unwrap_or(0)));
        rest /= 26;
        match rest {
            0 => break,
            _ => rest -= 1,
        }
    }
    letters.iter().rev().collect()
}

#[cfg(test)]
mod tests;
