//! What the configuration says to a client. Every answer about who wins is a walk of
//! `bindery_model::decide`; here it is only told.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::SystemTime,
};

use bindery_model::{
    binding::{Binding, Protocol},
    decide::{KeyHost, Order, Question, Verdict, decide, explain, windows::Windows},
    endpoint::sockets,
    name::{Host, HostName},
};
use bindery_server::snapshot::Snapshot;

use super::{
    certificate,
    record::{Connect, Decide, Explanation, Hello, Key, OtherOrder, Outcome, Resolve, Winner},
    request,
    resolve::resolve,
    target::Target,
    unserved::{Unserved, choice, name_of},
    windows,
};
use crate::words::hex;

/// Where a client is taken to come to when nothing tells.
const ASSUMED_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Why a client that opens an address sends no name.
pub const NO_NAME_FOR_ADDRESS: &str = "an address is no server name (RFC 6066, 3)";
/// What a client gets when nobody answers.
pub(super) const UNRECOGNIZED_NAME: &str = "unrecognized_name";

/// A client.
pub struct Asked {
    /// What it opens.
    pub target: Target,
    /// What it names in its hello.
    pub server_name: Option<HostName>,
    /// Why it names nobody.
    pub why_none: Option<&'static str>,
    /// The address it comes to, where that is known.
    pub address: Option<IpAddr>,
    /// The Windows whose answer is told beside it.
    pub windows: Option<Windows>,
}

/// What is known of a client that is to be explained.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// What it opens.
    pub target: Option<Target>,
    /// The server name in its hello, where that is not the host of what it opens.
    pub server_name: Option<HostName>,
    /// Whether it sends none.
    pub no_server_name: bool,
    /// The address that it comes to.
    pub address: Option<IpAddr>,
    /// The port that it comes to, where that is not the one of what it opens.
    pub port: Option<u16>,
    /// The Windows whose answer is told beside it.
    pub windows: Option<Windows>,
}

impl From<Known> for Asked {
    fn from(known: Known) -> Self {
        let Known { target, server_name, no_server_name, address, port, windows } = known;
        let host = match (&server_name, address) {
            (Some(name), _) => Host::Name(name.clone()),
            (None, Some(address)) => Host::Address(address),
            // It names nobody and no address: whichever address is assumed for it.
            (None, None) => Host::Address(ASSUMED_ADDRESS),
        };
        let mut target = target.unwrap_or_else(|| Target {
            protocol: Protocol::Https,
            host,
            port: Target::default_port(Protocol::Https),
            path: "/".to_owned(),
        });
        target.port = port.unwrap_or(target.port);
        let (server_name, why_none) = match (server_name, no_server_name, &target.host) {
            (Some(name), _, _) => (Some(name), None),
            (None, true, _) => (None, Some("by --no-sni")),
            (None, false, Host::Name(name)) => (Some(name.clone()), None),
            (None, false, Host::Address(_)) => (None, Some(NO_NAME_FOR_ADDRESS)),
        };
        let address = address.map(|ip| ip.to_canonical());
        Self { target, server_name, why_none, address, windows }
    }
}

/// The nine steps of this client's connection.
pub async fn explanation(unserved: &Unserved, asked: &Asked, now: SystemTime) -> Explanation {
    let snapshot = &unserved.snapshot;
    let resolve = resolved(snapshot, asked);
    let local = SocketAddr::new(resolve.used, asked.target.port);
    let mut told = Explanation {
        url: asked.target.to_string(),
        config: unserved.config.clone(),
        order: snapshot.configuration.settings.order.on(asked.target.protocol).to_string(),
        answered: false,
        problems: unserved.problems.clone(),
        resolve,
        connect: connect(snapshot, asked, local),
        hello: hello(asked),
        decide: Decide::default(),
        certificate: None,
        policy: None,
        handshake: None,
        request: None,
        answer: None,
        without_sni: None,
        other_order: None,
        windows: None,
        folder: unserved.folder.clone(),
    };
    // Who speaks the wrong protocol gets no further.
    if told.connect.problem.is_some() {
        return told;
    }
    match asked.target.protocol {
        Protocol::Http => {
            let name = asked.target.host.name();
            told.decide = walked(snapshot, local, name);
            request::plain(&mut told, snapshot, asked, local).await;
        }
        Protocol::Https => secure(&mut told, snapshot, asked, (local, now)).await,
    }
    if let Some(windows) = asked.windows {
        told.windows = windows::told(windows, snapshot, asked, &told).await;
    }
    told
}

async fn secure(
    told: &mut Explanation,
    snapshot: &Snapshot,
    asked: &Asked,
    (local, now): (SocketAddr, SystemTime),
) {
    let name = asked.server_name.as_ref();
    told.decide = walked(snapshot, local, name);
    told.other_order = other_order(snapshot, local, name, told.decide.winner.as_ref());
    if name.is_some() {
        told.without_sni = Some(without_sni(snapshot, local).await);
    }
    let Some(decision) = snapshot.decide(local, name) else {
        told.handshake = Some(certificate::refused(nobody(snapshot, local, name)));
        return;
    };
    let choice = choice(snapshot, decision.binding, name).await;
    let client = certificate::Client { name, host: &asked.target.host, now };
    let step = certificate::step(snapshot, decision.binding, &choice, &client).await;
    told.policy = Some(certificate::policy(decision.binding));
    told.handshake = Some(certificate::handshake(decision.binding, step.shown.as_ref()));
    told.certificate = Some(step);
    if let Some((_, certificate)) = &choice.shown {
        let shown = (decision.binding, &certificate.facts);
        request::secure(told, snapshot, (asked, local), shown).await;
    }
}

fn resolved(snapshot: &Snapshot, asked: &Asked) -> Resolve {
    let name = asked.target.host.name();
    let known = |by, used| Resolve {
        name: name.map(ToString::to_string),
        by,
        addresses: vec![used],
        used,
        error: None,
    };
    match (asked.address, &asked.target.host) {
        (Some(address), _) => known("option", address),
        (None, Host::Address(address)) => known("literal", address.to_canonical()),
        (None, Host::Name(name)) => match resolve(name.as_str()) {
            Ok(addresses) => {
                let used = addresses.first().copied().unwrap_or(ASSUMED_ADDRESS);
                Resolve { addresses, ..known("resolver", used) }
            }
            Err(error) => {
                let (by, used) = match address_of_a_binding(snapshot, asked) {
                    Some(address) => ("binding", address),
                    None => ("assumed", ASSUMED_ADDRESS),
                };
                Resolve { error: Some(error), addresses: Vec::new(), ..known(by, used) }
            }
        },
    }
}

/// The address of a binding that covers the name, most exactly first, where the bindings for it are
/// all for single addresses.
fn address_of_a_binding(snapshot: &Snapshot, asked: &Asked) -> Option<IpAddr> {
    let name = asked.server_name.as_ref().or_else(|| asked.target.host.name());
    let bindings = snapshot.configuration.table.bindings.iter().map(|one| &one.information);
    let covering = bindings.filter(|information| {
        information.endpoint.port == asked.target.port
            && information.protocol == asked.target.protocol
            && name.is_none_or(|name| information.host.covers(name))
    });
    covering.min_by_key(|one| rank(&one.host)).and_then(|one| one.endpoint.address)
}

fn rank(host: &bindery_model::name::HostPattern) -> u8 {
    use bindery_model::name::HostPattern;
    match host {
        HostPattern::Exact(_) => 0,
        HostPattern::Wildcard(_) => 1,
        HostPattern::Any => 2,
    }
}

fn connect(snapshot: &Snapshot, asked: &Asked, local: SocketAddr) -> Connect {
    let table = &snapshot.configuration.table;
    let wanted = table.endpoints().iter().map(|(endpoint, _)| *endpoint);
    let sockets = sockets(wanted, &BTreeSet::new());
    // One on the very address comes before one on all: as the kernel chooses.
    let mut taking: Vec<_> = sockets.iter().filter(|socket| socket.takes(local)).collect();
    taking.sort_by_key(|socket| socket.address.is_none());
    let spoken = table.protocol(local);
    let problem = match spoken {
        None => Some("nothing listens there: the connection is refused".to_owned()),
        Some(spoken) if spoken == asked.target.protocol => None,
        Some(Protocol::Http) => Some("http is spoken there: a hello is not understood".to_owned()),
        Some(Protocol::Https) => {
            Some("https is spoken there: a request without TLS gets 400".to_owned())
        }
    };
    Connect {
        address: local.to_string(),
        socket: taking.first().map(ToString::to_string),
        protocol: spoken.map(|spoken| spoken.to_string()),
        problem,
    }
}

fn hello(asked: &Asked) -> Hello {
    match (asked.target.protocol, &asked.server_name) {
        (Protocol::Http, _) => {
            Hello { server_name: None, why: Some("http has no handshake".to_owned()) }
        }
        (Protocol::Https, name) => Hello {
            server_name: name.as_ref().map(ToString::to_string),
            why: asked.why_none.map(str::to_owned),
        },
    }
}

/// Every key, told.
fn walked(snapshot: &Snapshot, local: SocketAddr, name: Option<&HostName>) -> Decide {
    let Some(question) = snapshot.question(local, name) else { return Decide::default() };
    let told = explain(question, |key| snapshot.find(key));
    let mut decide = Decide::default();
    for one in told {
        let held = one.found.map(|binding| winner(snapshot, one.rule, binding));
        let (verdict, why) = match one.verdict {
            Verdict::Wins => ("wins", String::new()),
            Verdict::LostTo(rule) => ("lost", format!("lost to {}", rule.number())),
            Verdict::Refused => ("refused", refusal(snapshot, local, name)),
            Verdict::NotHeld => ("not-held", not_held(snapshot, &one.key)),
        };
        decide.keys.push(Key {
            rule: one.rule.number(),
            key: key_text(&one.key),
            binding: held.as_ref().map(|held| held.binding.clone()),
            site: held.as_ref().map(|held| held.site.clone()),
            verdict,
            why,
        });
        if one.verdict == Verdict::Wins {
            decide.winner = held;
        }
    }
    decide
}

/// The name that the central store is asked for is known by then, so it is not said again.
fn key_text(key: &bindery_model::decide::KeyRef<'_>) -> String {
    match key.host {
        KeyHost::Central(_) => format!("{}:(central store)", key.endpoint),
        KeyHost::Exact(_) | KeyHost::Wildcard(_) | KeyHost::Any => key.to_string(),
    }
}

fn not_held(snapshot: &Snapshot, key: &bindery_model::decide::KeyRef<'_>) -> String {
    let table = &snapshot.configuration.table;
    match (key.host, table.holder(key)) {
        (KeyHost::Central(name), Some(id)) => {
            let site = &table.site(table.binding(id)).name;
            format!("site {site} uses the store, which has no file for {name}")
        }
        (KeyHost::Central(_), None) => "no binding uses the store".to_owned(),
        (KeyHost::Exact(_) | KeyHost::Wildcard(_) | KeyHost::Any, _) => {
            "no binding holds it".to_owned()
        }
    }
}

/// Which line of the configuration keeps the catch-alls from answering.
fn refusal(snapshot: &Snapshot, local: SocketAddr, name: Option<&HostName>) -> String {
    let rule = if name.is_some() { "unknown_name" } else { "no_sni" };
    match snapshot.configuration.listener(local) {
        Some(listener) => format!(
            "refused by listener {}/{}: {rule} = \"refuse\"",
            listener.protocol, listener.endpoint
        ),
        None => format!("refused by {rule} = \"refuse\""),
    }
}

/// Why nobody answers.
fn nobody(snapshot: &Snapshot, local: SocketAddr, name: Option<&HostName>) -> String {
    let decide = walked(snapshot, local, name);
    let refused = decide.keys.into_iter().find(|key| key.verdict == "refused");
    match (refused, name) {
        (Some(key), _) => key.why,
        (None, Some(name)) => format!("no binding answers for {name}"),
        (None, None) => "no binding without a host answers there".to_owned(),
    }
}

pub(super) fn winner(
    snapshot: &Snapshot,
    rule: bindery_model::decide::Rule,
    binding: &Binding,
) -> Winner {
    Winner {
        rule: rule.number(),
        rule_text: rule.to_string(),
        binding: binding.information.to_string(),
        site: snapshot.configuration.table.site(binding).name.clone(),
    }
}

async fn without_sni(snapshot: &Snapshot, local: SocketAddr) -> Outcome {
    let none =
        Outcome { winner: None, certificate: None, thumbprint: None, alert: None, why: None };
    let Some(decision) = snapshot.decide(local, None) else {
        let why = Some(nobody(snapshot, local, None));
        return Outcome { alert: Some(UNRECOGNIZED_NAME), why, ..none };
    };
    let winner = Some(winner(snapshot, decision.rule, decision.binding));
    let choice = choice(snapshot, decision.binding, None).await;
    match choice.shown {
        None => {
            let why = Some(choice.broken.join("; "));
            Outcome { winner, alert: Some(certificate::INTERNAL_ERROR), why, ..none }
        }
        Some((files, certificate)) => Outcome {
            winner,
            certificate: Some(match name_of(snapshot, &files) {
                Some(name) => name.to_owned(),
                None => files.file.display().to_string(),
            }),
            thumbprint: Some(hex(&certificate.facts.thumbprint)),
            ..none
        },
    }
}

fn other_order(
    snapshot: &Snapshot,
    local: SocketAddr,
    name: Option<&HostName>,
    winner_here: Option<&Winner>,
) -> Option<OtherOrder> {
    let question = snapshot.question(local, name)?;
    let order = match question.order {
        Order::HostFirst => Order::HttpSys,
        Order::HttpSys => Order::HostFirst,
    };
    let decided = decide(Question { order, ..question }, |key| snapshot.find(key));
    let winner_there = decided.map(|(rule, binding)| winner(snapshot, rule, binding));
    let same = winner_there.as_ref() == winner_here;
    let why = match order {
        _ if same => None,
        Order::HttpSys => Some("it tries the catch-all of the very address before names"),
        Order::HostFirst => Some("it tries names before catch-alls"),
    };
    let why = why.map(str::to_owned);
    Some(OtherOrder { order: order.to_string(), same, winner: winner_there, why })
}
