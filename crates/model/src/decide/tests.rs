use proptest::prelude::*;

use super::*;
use crate::{
    binding::{Binding, BindingInformation},
    certificate::CertificateChoice,
    name::HostPattern,
    table::MemoryTable,
    tls::TlsPolicy,
};

/// `key=site` pairs; `!` behind the key stands for the central store.
fn table(bindings: &str) -> MemoryTable {
    let bindings = bindings.split_whitespace().map(|text| {
        let (text, site) = text.rsplit_once('=').unwrap();
        let (text, certificate) = match text.strip_suffix('!') {
            Some(text) => (text, CertificateChoice::Central),
            None => (text, CertificateChoice::Best),
        };
        let information = format!("https/{text}").parse().unwrap();
        Binding { information, tls: TlsPolicy::default(), certificate, site: site.parse().unwrap() }
    });
    let mut bindings: Vec<_> = bindings.collect();
    bindings.sort_by_key(|binding: &Binding| binding.site);
    MemoryTable::new(Vec::new(), bindings, Vec::new())
}

fn ask(table: &MemoryTable, question: Question<'_>, central: &[&str]) -> Option<(Rule, u32)> {
    decide(question, |key| find(table, key, central))
}

fn find(table: &MemoryTable, key: &KeyRef<'_>, central: &[&str]) -> Option<u32> {
    let binding = table.binding(table.holder(key)?);
    match key.host {
        KeyHost::Central(name) => central.contains(&name).then_some(binding.site),
        _ => Some(binding.site),
    }
}

struct Case {
    order: Order,
    rules: ListenerRules,
}

impl Case {
    #[track_caller]
    fn check(&self, bindings: &str, local: &str, name: &str, expected: Option<(u8, u32)>) {
        let parsed = (!name.is_empty()).then(|| name.parse().unwrap());
        let question = Question {
            local: local.parse().unwrap(),
            name: parsed.as_ref(),
            order: self.order,
            rules: self.rules,
        };
        let got = ask(&table(bindings), question, &["in.store"]);
        assert_eq!(got.map(|(rule, site)| (rule.number(), site)), expected, "{name:?} {bindings}");
    }
}

const HOST_FIRST: Case = Case {
    order: Order::HostFirst,
    rules: ListenerRules { no_sni: Fallback::CatchAll, unknown_name: Fallback::CatchAll },
};
const HTTP_SYS: Case = Case { order: Order::HttpSys, ..HOST_FIRST };

const ALL: &str = "10.0.0.1:443:a.b=1 *:443:a.b=2 10.0.0.1:443:*.b=3 *:443:*.b=4 \
                   *:443:!=5 10.0.0.1:443:=6 *:443:=7";

#[test]
fn the_keys_are_tried_in_the_order_of_the_manual() {
    let mut left: Vec<&str> = ALL.split_whitespace().collect();
    for number in [1, 2, 3, 4, 6, 7] {
        let bindings = left.join(" ");
        HOST_FIRST.check(&bindings, "10.0.0.1:443", "a.b", Some((number, u32::from(number))));
        left.retain(|text| !text.ends_with(&format!("={number}")));
    }
    HOST_FIRST.check(&left.join(" "), "10.0.0.1:443", "a.b", None);
    HOST_FIRST.check(ALL, "10.0.0.1:443", "in.store", Some((5, 5)));
}

#[test]
fn http_sys_puts_the_catch_all_of_the_address_first() {
    HTTP_SYS.check(ALL, "10.0.0.1:443", "a.b", Some((6, 6)));
    HTTP_SYS.check(ALL, "10.0.0.2:443", "a.b", Some((2, 2)));
    HTTP_SYS.check(ALL, "10.0.0.2:443", "in.store", Some((5, 5)));
    HTTP_SYS.check("*:443:=7 *:443:a.b=2", "10.0.0.1:443", "a.b", Some((2, 2)));
}

#[test]
fn a_client_without_a_name_gets_a_catch_all_or_nothing() {
    HOST_FIRST.check(ALL, "10.0.0.1:443", "", Some((6, 6)));
    HOST_FIRST.check(ALL, "10.0.0.2:443", "", Some((7, 7)));
    HOST_FIRST.check("*:443:a.b=1 *:443:!=2", "10.0.0.1:443", "", None);
}

#[test]
fn an_unknown_name_never_gets_another_sites_certificate() {
    HOST_FIRST.check("*:443:a.b=1 *:443:*.b=2", "10.0.0.1:443", "x.y", None);
    HOST_FIRST.check("*:443:a.b=1", "10.0.0.1:8443", "a.b", None);
    HOST_FIRST.check("10.0.0.1:443:a.b=1", "10.0.0.2:443", "a.b", None);
    HOST_FIRST.check("*:443:!=1", "10.0.0.1:443", "not.in.store", None);
}

#[test]
fn a_listener_may_refuse_whom_nobody_holds() {
    let no_sni = ListenerRules { no_sni: Fallback::Refuse, ..ListenerRules::default() };
    let unknown = ListenerRules { unknown_name: Fallback::Refuse, ..ListenerRules::default() };
    for order in [Order::HostFirst, Order::HttpSys] {
        let case = Case { order, rules: no_sni };
        case.check("*:443:=7 10.0.0.1:443:=6", "10.0.0.1:443", "", None);
        case.check("*:443:=7", "10.0.0.1:443", "x.y", Some((7, 7)));
        let case = Case { order, rules: unknown };
        case.check("*:443:=7 10.0.0.1:443:=6", "10.0.0.1:443", "x.y", None);
        case.check("*:443:=7", "10.0.0.1:443", "", Some((7, 7)));
        case.check("*:443:=7 *:443:x.y=1", "10.0.0.1:443", "x.y", Some((2, 1)));
    }
}

#[test]
fn a_host_is_answered_on_a_connection_only_under_the_same_policy_and_a_name_that_is_covered() {
    let table = table("*:443:a=1 *:443:b=2");
    let [a, b] = table.bindings.as_slice() else { panic!("two bindings") };
    let strict = TlsPolicy { http2: false, ..TlsPolicy::default() };
    let may =
        |shown: &Binding, policy, covers| may_answer(&shown.information, policy, b, || covers);
    assert!(may(b, &b.tls, false), "the binding of the handshake");
    assert!(may(a, &a.tls, true), "covered");
    assert!(!may(a, &a.tls, false), "not covered");
    assert!(!may(a, &strict, true), "covered under another policy");
    assert!(!may(b, &strict, true), "the same binding, whose policy was changed since");
}

/// The decision told as people tell it: of all bindings that could answer, the best.
fn naive(bindings: &[Binding], question: Question<'_>, central: &[&str]) -> Option<u32> {
    let rank = |binding: &Binding| {
        let BindingInformation { endpoint, host, .. } = &binding.information;
        let here = endpoint.address.is_some();
        let covered = question.name.is_some_and(|name| host.covers(name));
        let rank = match host {
            HostPattern::Exact(_) if covered => 10,
            HostPattern::Wildcard(_) if covered => 20,
            HostPattern::Any if binding.is_central_catch_all() => {
                question.name.filter(|name| central.contains(&name.as_str()))?;
                30
            }
            HostPattern::Any if question.rules.fallback(question.name) == Fallback::Refuse => {
                return None;
            }
            HostPattern::Any if here && question.order == Order::HttpSys => 0,
            HostPattern::Any => 40,
            _ => return None,
        };
        endpoint.takes(question.local).then_some(rank + u32::from(!here))
    };
    bindings.iter().filter_map(|b| Some((rank(b)?, b.site))).min().map(|(_, site)| site)
}

proptest! {
    #[test]
    fn the_first_hit_of_the_list_is_what_a_scan_of_all_bindings_finds(
        parts in proptest::collection::btree_set((0..3u8, 0..2u8, 0..8u8), 0..30),
        (local, port, name) in (0..3u8, 0..2u8, 0..7u8),
        (http_sys, no_sni, unknown) in (any::<bool>(), any::<bool>(), any::<bool>()),
    ) {
        let hosts = ["", "!", "a.b", "c.b", "*.b", "x.a.b", "*.a.b", "in.store"];
        let text: Vec<String> = parts.iter().zip(1..).map(|((address, port, host), site)| {
            let address = ["*".to_owned(), "10.0.0.1".to_owned(), "[::1]".to_owned()][*address as usize].clone();
            format!("{address}:{}:{}={site}", 443 + u16::from(*port), hosts[*host as usize])
        }).collect();
        let table = table(&text.join(" "));
        let local = ["10.0.0.1", "[::1]", "10.0.0.2"][local as usize];
        let name = ["", "a.b", "z.b", "x.a.b", "y.a.b", "in.store", "other"][name as usize];
        let name = (!name.is_empty()).then(|| name.parse().unwrap());
        let refuse = |yes| if yes { Fallback::Refuse } else { Fallback::CatchAll };
        let question = Question {
            local: format!("{local}:{}", 443 + u16::from(port)).parse().unwrap(),
            name: name.as_ref(),
            order: if http_sys { Order::HttpSys } else { Order::HostFirst },
            rules: ListenerRules { no_sni: refuse(no_sni), unknown_name: refuse(unknown) },
        };
        let got = ask(&table, question, &["in.store"]);
        prop_assert_eq!(got.map(|(_, site)| site), naive(&table.bindings, question, &["in.store"]));
        // What explain prints is the same walk.
        let steps: Vec<_> = walk(question, |key| find(&table, key, &["in.store"])).collect();
        let first = steps.iter().find(|step| step.found.is_some() && !step.barred);
        prop_assert_eq!(got, first.map(|step| (step.rule, step.found.unwrap())));
        prop_assert!(steps.len() <= 8);
    }
}
