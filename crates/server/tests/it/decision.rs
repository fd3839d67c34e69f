//! What the server serves is what the decision says, and both are what a naive reading of the
//! bindings says: for random sets of bindings, in both orders.

use std::net::{IpAddr, SocketAddr};

use bindery_model::{
    binding::{Binding, Protocol},
    certificate::CertificateChoice,
    decide::{Order, Question, decide},
    document::Configuration,
    name::{HostName, HostPattern},
};
use bindery_testkit::{
    http1::Http1,
    server::{self, TestServer},
    tls::TestClient,
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use crate::setup::Setup;

const ADDRESSES: [&str; 3] = ["127.0.0.1", "127.0.0.2", "127.0.0.3"];
const HOSTS: [&str; 7] =
    ["", "a.example", "b.example", "*.example", "x.a.example", "*.a.example", "example"];
const ASKED: [Option<&str>; 8] = [
    None,
    Some("a.example"),
    Some("b.example"),
    Some("c.example"),
    Some("x.a.example"),
    Some("y.a.example"),
    Some("example"),
    Some("other.test"),
];

/// One random configuration: which bindings there are, how the sockets are opened, what listeners
/// forbid.
#[derive(Clone, Debug)]
struct Case {
    /// For each place of an address (the last stands for all) and each host, whether it is bound.
    bound: Vec<(usize, usize)>,
    http_sys: bool,
    one_socket: bool,
    no_sni_refused: bool,
    unknown_refused: bool,
}

fn cases() -> impl Strategy<Value = Case> {
    let binding = (0..=ADDRESSES.len(), 0..HOSTS.len());
    let bound = proptest::collection::btree_set(binding, 1..12);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (bound, flags).prop_map(|(bound, (http_sys, one_socket, no_sni_refused, unknown_refused))| {
        let bound = bound.into_iter().collect();
        Case { bound, http_sys, one_socket, no_sni_refused, unknown_refused }
    })
}

#[test]
fn what_is_served_is_what_is_decided_and_what_the_bindings_say() {
    // Handshakes are not free: a fixed number of cases, the same ones each time.
    let config = Config { cases: 100, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(
        config,
        proptest::test_runner::TestRng::deterministic_rng(
            proptest::test_runner::RngAlgorithm::ChaCha,
        ),
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let result = runner.run(&cases(), |case| {
        runtime.block_on(check(&case));
        Ok(())
    });
    result.unwrap();
}

async fn check(case: &Case) {
    let (mut setup, running, port) = begin(case);
    let leaves = write_sites(&mut setup, case, port, "site");
    let configuration = server::configuration(&setup.text, setup.folder());
    let running = match running {
        None => setup.start(),
        Some(running) => {
            setup.sockets.open_on("*", port);
            setup.replace(&running);
            running
        }
    };
    for address in ADDRESSES {
        let local = SocketAddr::new(address.parse().unwrap(), port);
        // No binding for this address: nobody listens there, or nobody answers.
        for name in ASKED {
            let expected = naive(&configuration, local, name).map(|binding| binding.site);
            let decided = decided(&configuration, local, name).map(|binding| binding.site);
            assert_eq!(decided, expected, "decided: {local} {name:?} {case:?}");
            let snapshot = running.server().snapshot();
            let host = name.map(|name| name.parse().unwrap());
            let found = snapshot.decide(local, host.as_ref()).map(|found| found.binding.site);
            assert_eq!(found, expected, "snapshot: {local} {name:?} {case:?}");
            let served = match TestClient::default().connect(local, name).await {
                Ok(connection) => {
                    let leaf = leaves.iter().position(|leaf| *leaf == connection.leaf);
                    let host = name.map_or_else(|| format!("127.0.0.1:{port}"), str::to_owned);
                    let answer = Http1::new(connection.stream).get(&host, "/").await.unwrap();
                    let site = leaf.map(|site| u32::try_from(site).unwrap());
                    assert_eq!(answer.status, 200, "{local} {name:?} {case:?}");
                    assert_eq!(answer.text(), format!("site{}", leaf.unwrap()));
                    site
                }
                Err(_) => None,
            };
            assert_eq!(served, expected, "served: {local} {name:?} {case:?}");
        }
    }
}

/// Opens the sockets: one for all addresses where one is enough, or one for each, so that the
/// kernel chooses. Where both are needed those of single addresses serve before the other comes.
fn begin(case: &Case) -> (Setup, Option<TestServer>, u16) {
    let mut setup = Setup::new();
    let order = if case.http_sys { "http.sys" } else { "host-first" };
    setup.line(&format!("[server]\norder = \"{order}\""));
    let is_single = |(address, _): &(usize, usize)| *address < ADDRESSES.len();
    let singles: Vec<_> = case.bound.iter().copied().filter(is_single).collect();
    if singles.len() == case.bound.len() {
        let port = setup.sockets.open_all(&ADDRESSES);
        return (setup, None, port);
    }
    if singles.is_empty() || case.one_socket {
        let port = setup.sockets.open("*");
        return (setup, None, port);
    }
    let port = setup.sockets.open_all(&ADDRESSES);
    let before = setup.text.clone();
    write_sites(&mut setup, &Case { bound: singles, ..case.clone() }, port, "before");
    let running = setup.start();
    setup.text = before;
    (setup, Some(running), port)
}

/// One site with a certificate of its own for each binding. Gives the certificates.
fn write_sites(setup: &mut Setup, case: &Case, port: u16, prefix: &str) -> Vec<Vec<u8>> {
    let mut leaves = Vec::new();
    let mut listeners = std::collections::BTreeSet::new();
    for (number, (address, host)) in case.bound.iter().enumerate() {
        let address = ADDRESSES.get(*address).unwrap_or(&"*");
        listeners.insert(*address);
        let (name, host) = (format!("{prefix}{number}"), HOSTS[*host]);
        leaves.push(setup.certificate(&name, &["example", "*.example", "*.a.example"]));
        let on = format!("https/{address}:{port}:{host}");
        setup.site(&name, &[&format!(r#"{{ on = "{on}", certificate = "{name}" }}"#)]);
    }
    for address in listeners {
        let word = |refused: bool| if refused { "refuse" } else { "catch-all" };
        let (no_sni, unknown) = (word(case.no_sni_refused), word(case.unknown_refused));
        setup.line(&format!(
            "[[listener]]\non = \"https/{address}:{port}\"\n\
             no_sni = \"{no_sni}\"\nunknown_name = \"{unknown}\""
        ));
    }
    leaves
}

/// The decision by the model, over a plain list of bindings.
fn decided<'a>(
    configuration: &'a Configuration,
    local: SocketAddr,
    name: Option<&str>,
) -> Option<&'a Binding> {
    let name: Option<HostName> = name.map(|name| name.parse().unwrap());
    let order = configuration.settings.order;
    let rules = configuration.rules(local);
    let question = Question { local, name: name.as_ref(), order, rules };
    let table = &configuration.table;
    decide(question, |key| table.holder(key)).map(|(_, id)| table.binding(id))
}

/// What the manual says, in the simplest words: of all bindings that cover the name here, the one
/// with the best rank.
fn naive<'a>(
    configuration: &'a Configuration,
    local: SocketAddr,
    name: Option<&str>,
) -> Option<&'a Binding> {
    let name: Option<HostName> = name.map(|name| name.parse().unwrap());
    let rules = configuration.rules(local);
    let refused = rules.fallback(name.as_ref()) == bindery_model::decide::Fallback::Refuse;
    let rank = |binding: &Binding| {
        let information = &binding.information;
        let own: Option<IpAddr> = information.endpoint.address;
        if information.protocol != Protocol::Https
            || binding.certificate == CertificateChoice::Central
            || information.endpoint.port != local.port()
            || own.is_some_and(|own| own != local.ip())
        {
            return None;
        }
        let here = u8::from(own.is_none());
        match (&information.host, &name) {
            (HostPattern::Any, _) if refused => None,
            (HostPattern::Any, _) => match configuration.settings.order {
                Order::HttpSys if own.is_some() => Some(0),
                _ => Some(20 + here),
            },
            (_, None) => None,
            (HostPattern::Exact(own), Some(name)) => (own == name).then_some(10 + here),
            (wildcard, Some(name)) => wildcard.covers(name).then_some(12 + here),
        }
    };
    let all = configuration.table.bindings.iter();
    all.filter_map(|one| Some((rank(one)?, one))).min_by_key(|(rank, _)| *rank).map(|(_, one)| one)
}
