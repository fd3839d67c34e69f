use std::{collections::BTreeSet, net::SocketAddr, path::Path};

use proptest::prelude::*;

use crate::{
    decide::{KeyHost, KeyRef, Order, Question, decide},
    document::{Configuration, Document, parse, tests::check as check_document},
    name::HostName,
    problem::Code,
};

/// Sites `s0`, `s1` ... with one https binding each; `!` behind a binding stands for the central
/// store. What is marked has the problems expected, in this order.
#[track_caller]
fn check(settings: &str, bindings: &str, expected: &[(&str, &str)]) -> Vec<String> {
    let sites = bindings.split_whitespace().enumerate().map(|(place, binding)| {
        let central = binding.contains('!');
        let certificate = if central { "certificate = 'central'" } else { "" };
        let on = binding.replace('!', "");
        let on = match on.strip_prefix('‹') {
            Some(rest) => format!("‹https/{rest}"),
            None => format!("https/{on}"),
        };
        format!(
            "[[site]]\nname = 's{place}'\nrespond = ''\n[[site.bindings]]\non = '{on}'\n{certificate}\n"
        )
    });
    let sites: String = sites.collect();
    let text = format!("[server]\ncentral_store.folder = 'c'\n{settings}\n{sites}");
    let document = check_document(&text, expected);
    let related = document.problems.into_iter().flat_map(|problem| problem.related);
    related.map(|(_, why)| why).collect()
}

const HTTP_SYS: &str = "order = 'http.sys'";

fn listener(on: &str, rules: &str) -> String {
    format!("[[listener]]\non = 'https/{on}'\n{rules}\n")
}

const REFUSE_BOTH: &str = "no_sni = 'refuse'\nunknown_name = 'refuse'";

#[test]
fn a_name_behind_the_catch_all_of_its_address_is_out_of_reach_in_the_order_of_http_sys() {
    let related = check(
        HTTP_SYS,
        "‹192.0.2.1:443:a› ‹192.0.2.1:443:*.b› ‹192.0.2.1:443:›! 192.0.2.1:443: 192.0.2.2:443: *:443:",
        &[
            (
                "unreachable-binding",
                "no client can reach https/192.0.2.1:443:a of site \"s0\": https/192.0.2.1:443: of site \"s3\" answers everybody there",
            ),
            ("unreachable-binding", "order = \"host-first\""),
            ("unreachable-binding", ""),
        ],
    );
    assert!(related.iter().all(|why| why == "of site \"s3\": answers instead"), "{related:?}");
}

#[test]
fn a_name_on_all_addresses_is_reached_where_there_is_no_catch_all() {
    check(
        HTTP_SYS,
        "‹*:443:a› 192.0.2.1:443: *:443:",
        &[(
            "order-differs",
            "a on 192.0.2.1:443 is answered by https/192.0.2.1:443: of site \"s1\" and not by https/*:443:a, because order is \"http.sys\"",
        )],
    );
}

#[test]
fn each_binding_that_http_sys_would_pass_over_is_named() {
    let related = check(
        "",
        "‹192.0.2.1:443:a› ‹*:443:b› ‹*:443:*.c› ‹*:443:›! 192.0.2.1:443: *:443:",
        &[
            (
                "order-differs",
                "a on 192.0.2.1:443 is answered by https/192.0.2.1:443:a; HTTP.SYS's order would give it to https/192.0.2.1:443: of site \"s4\"",
            ),
            ("order-differs", "b on 192.0.2.1:443"),
            ("order-differs", "*.c on 192.0.2.1:443"),
            ("order-differs", "a name of the central store on 192.0.2.1:443"),
        ],
    );
    assert!(related.iter().all(|why| why == "https/192.0.2.1:443: of site \"s4\""), "{related:?}");
}

#[test]
fn the_orders_agree_without_a_catch_all_of_one_address() {
    check("", "192.0.2.1:443:a *:443:b *:443:*.c *:443:! *:443: 192.0.2.1:8443: *:8443:", &[]);
    // The name on this address is the one that is passed over, not the same name elsewhere.
    check(
        "",
        "*:443:a ‹192.0.2.1:443:a› 192.0.2.1:443: *:443:",
        &[("order-differs", "192.0.2.1:443:a")],
    );
    // A second address with a catch-all is found behind the first.
    check(
        "",
        "‹*:443:a› ‹192.0.2.1:443:a› 192.0.2.1:443: 192.0.2.2:443: *:443:",
        &[("order-differs", "a on 192.0.2.2:443"), ("order-differs", "a on 192.0.2.1:443")],
    );
}

#[test]
fn a_catch_all_that_refuses_unknown_names_takes_no_name_in_either_order() {
    let rules = listener("192.0.2.1:443", "unknown_name = 'refuse'");
    check(&rules, "192.0.2.1:443:a *:443:b 192.0.2.1:443: *:443:", &[]);
    check(&format!("{HTTP_SYS}\n{rules}"), "192.0.2.1:443:a *:443:b 192.0.2.1:443: *:443:", &[]);
}

#[test]
fn a_catch_all_is_out_of_reach_where_its_listener_refuses_everybody() {
    let related = check(
        &listener("*:443", REFUSE_BOTH),
        "‹*:443:› *:443:a",
        &[(
            "unreachable-binding",
            "no client can reach https/*:443: of site \"s0\": its listener refuses",
        )],
    );
    assert_eq!(related, ["this listener"]);
    check(
        &listener("192.0.2.1:443", REFUSE_BOTH),
        "‹192.0.2.1:443:› *:443:",
        &[("unreachable-binding", "its listener refuses")],
    );
    check(&listener("*:443", "no_sni = 'refuse'"), "*:443:", &[]);
    check(&listener("*:443", "unknown_name = 'refuse'"), "*:443:", &[]);
    // The central store answers for names that it holds, whatever becomes of others.
    check(&listener("*:443", REFUSE_BOTH), "*:443:!", &[]);
}

#[test]
fn a_catch_all_that_is_refused_nearly_everywhere_is_in_reach() {
    let open = format!("{}{}", listener("*:443", REFUSE_BOTH), listener("192.0.2.1:443", ""));
    check(&open, "*:443:", &[]);
    let taken = "‹*:443:› 192.0.2.1:443:";
    check(&open, taken, &[("unreachable-binding", "its listener refuses")]);
    // The address that stands for all others may not be one that is named.
    let named = format!("{}{}", listener("*:443", ""), listener("198.51.100.1:443", REFUSE_BOTH));
    check(&named, "*:443:", &[]);
}

#[test]
fn a_wildcard_is_asked_with_a_label_that_nobody_holds() {
    let names = "*:443:a *:443:a.x *:443:b.x 192.0.2.1:443:c.x";
    check(HTTP_SYS, &format!("{names} *:443:*.x 192.0.2.1:443:*.x *:443:"), &[]);
}

#[test]
fn clients_without_a_name_need_a_catch_all_on_each_port() {
    let no_names = listener("192.0.2.2:443", "unknown_name = 'refuse'");
    check(
        &no_names,
        "‹*:443:a› 192.0.2.1:443:b 192.0.2.2:443: *:8443:",
        &[(
            "no-catch-all",
            "get no certificate on *:443 / give a site a binding such as \"https/*:443:\"",
        )],
    );
    check(
        "",
        "‹192.0.2.1:443:a› 192.0.2.1:443:b 192.0.2.2:443: ‹[2001:db8::1]:443:c›",
        &[("no-catch-all", "on 192.0.2.1:443"), ("no-catch-all", "on [2001:db8::1]:443")],
    );
    check("", "‹*:443:›!", &[("no-catch-all", "")]);
    check(&listener("*:443", "no_sni = 'refuse'"), "*:443:a 192.0.2.1:443:b", &[]);
    let one = listener("192.0.2.1:443", "no_sni = 'refuse'");
    check(&one, "192.0.2.1:443:b ‹192.0.2.2:443:b›", &[("no-catch-all", "on 192.0.2.2:443")]);
    check(&one, "192.0.2.1:443:b ‹*:443:b›", &[("no-catch-all", "on *:443")]);
}

#[test]
fn a_wildcard_below_which_no_name_fits_covers_nobody() {
    let label = "x".repeat(62);
    let parent = [label.as_str(), &label, &label, &label].join(".");
    assert_eq!(parent.len(), 251);
    check("", &format!("*:443:*.{parent} *:443:"), &[]);
    check(
        "",
        &format!("‹*:443:*.{parent}y› *:443:"),
        &[("unreachable-binding", "no host name is short enough")],
    );
}

#[test]
fn labels_are_letters_and_none_comes_twice() {
    let labels: Vec<_> = [0, 1, 25, 26, 27, 51, 52, 701, 702].map(super::label).into();
    assert_eq!(labels, ["a", "b", "z", "aa", "ab", "az", "ba", "zz", "aaa"]);
}

#[test]
fn a_text_with_an_error_that_hides_a_binding_is_not_reviewed() {
    check("", "*:443:a *:443:‹x*.b›", &[("bad-wildcard", "")]);
}

/// Everything that any client of a small world gets: the places of the bindings that answer, in our
/// order and in that of HTTP.SYS.
fn every_answer(configuration: &Configuration) -> Vec<[Option<usize>; 2]> {
    let locals = ["192.0.2.1:443", "192.0.2.2:443", "192.0.2.3:443", "203.0.113.9:443"];
    let names = ["", "n", "m", "n.x", "m.x", "zz.x", "zz", "zz.n"];
    let mut answers = Vec::new();
    for (local, name) in locals.iter().flat_map(|local| names.iter().map(move |name| (local, name)))
    {
        let local: SocketAddr = local.parse().unwrap();
        let name: Option<HostName> = (!name.is_empty()).then(|| name.parse().unwrap());
        for in_store in [false, true] {
            let ask = |order| {
                let rules = configuration.rules(local);
                let find = |key: &KeyRef<'_>| match key.host {
                    KeyHost::Central(_) if !in_store => None,
                    _ => configuration.table.holder(key),
                };
                let question = Question { local, name: name.as_ref(), order, rules };
                decide(question, find).map(|(_, id)| id.place())
            };
            answers.push([ask(Order::HostFirst), ask(Order::HttpSys)]);
        }
    }
    answers
}

proptest! {
    #[test]
    fn a_binding_is_called_out_of_reach_or_passed_over_when_asking_every_client_says_so(
        bindings in proptest::collection::btree_set((0..3_usize, 0..6_usize), 1..14),
        listeners in proptest::collection::btree_map(0..4_usize, (any::<bool>(), any::<bool>()), 0..3),
        http_sys in any::<bool>(),
    ) {
        let addresses = ["*", "192.0.2.1", "192.0.2.2", "192.0.2.3"];
        let hosts = ["n", "n.x", "*.x", "m.x", "", "!"];
        let order = if http_sys { "http.sys" } else { "host-first" };
        let mut text = format!("version = 1\nserver = {{ order = '{order}', central_store.folder = 'c' }}\n");
        for (address, (no_sni, unknown)) in &listeners {
            let word = |refuse: &bool| if *refuse { "refuse" } else { "catch-all" };
            text += &format!(
                "[[listener]]\non = 'https/{}:443'\nno_sni = '{}'\nunknown_name = '{}'\n",
                addresses[*address], word(no_sni), word(unknown),
            );
        }
        text += "[[site]]\nname = 'a'\nrespond = ''\n";
        for (address, host) in &bindings {
            let (host, certificate) = match hosts[*host] {
                "!" => ("", "central"),
                host => (host, "best"),
            };
            let on = format!("https/{}:443:{host}", addresses[*address]);
            text += &format!("[[site.bindings]]\non = '{on}'\ncertificate = '{certificate}'\n");
        }
        let Document { configuration, positions, problems } = parse(&text, Path::new("/"));
        let said = |code| -> BTreeSet<usize> {
            let of_code = problems.iter().filter(|problem| problem.code == code);
            let place = |span| positions.bindings.iter().position(|own| own.on == span).unwrap();
            of_code.map(|problem| place(problem.span.clone())).collect()
        };
        let answers = every_answer(&configuration);
        let reached: BTreeSet<_> = answers.iter().filter_map(|answer| answer[usize::from(http_sys)]).collect();
        let mut unreached: BTreeSet<_> = (0..bindings.len()).collect();
        unreached.retain(|place| !reached.contains(place));
        let mut passed_over: BTreeSet<_> =
            answers.iter().filter(|[ours, theirs]| ours != theirs).filter_map(|[ours, _]| *ours).collect();
        passed_over.retain(|place| reached.contains(place));
        prop_assert_eq!(said(Code::Unreachable), unreached, "{}", text);
        prop_assert_eq!(said(Code::OrderDiffers), passed_over, "{}", text);
    }
}
