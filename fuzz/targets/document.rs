//! A configuration: whatever it is, every problem stands at a place of the text, and what has no
//! error can be asked who answers.
#![no_main]

use std::{net::SocketAddr, path::Path};

use bindery_model::{
    decide::{
        Question,
        condition::Asked,
        decide,
        rewrite::{PathMatcher, Replacement},
    },
    document::parse,
    name::HostPattern,
    problem::Severity,
    rules::RedirectTo,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let document = parse(text, Path::new("/etc/bindery"));
    for problem in &document.problems {
        assert!(text.get(problem.span.clone()).is_some(), "{problem:?}");
        for (span, _) in &problem.related {
            assert!(text.get(span.clone()).is_some(), "{problem:?}");
        }
        assert!(!problem.message.is_empty());
    }
    let configuration = &document.configuration;
    let table = &configuration.table;
    assert_eq!(document.positions.bindings.len(), table.bindings.len());
    assert_eq!(document.positions.sites.len(), table.sites.len());
    assert_eq!(document.positions.certificates.len(), table.certificates.len());
    if document.problems.iter().any(|problem| problem.severity() == Severity::Error) {
        return;
    }
    for site in &table.sites {
        for route in site.all_routes() {
            // The paths of routes are decoded ones.
            let path = route.path.as_bytes();
            assert_eq!(site.route(path).path, route.path);
            let rules = &route.rules;
            let redirects = rules.redirects.iter().map(|rule| match &rule.to {
                RedirectTo::Target(to) => (&rule.path, &rule.when, Some(to.as_str())),
                RedirectTo::Refused | RedirectTo::Here => (&rule.path, &rule.when, None),
            });
            let rewrites =
                rules.rewrites.iter().map(|rule| (&rule.path, &rule.when, rule.to.target()));
            let asked = Asked { query: Some("a=b"), authority: "a.example", ..Asked::of(path) };
            for (pattern, when, to) in redirects.chain(rewrites) {
                let made = Replacement::new(pattern, when, to).expect("a rule that works");
                if let Some(target) = made.target(&asked, true) {
                    assert!(target.text.is_ascii() && target.host_end <= target.text.len());
                }
                assert!(PathMatcher::new(pattern).is_ok());
            }
        }
    }
    for binding in &table.bindings {
        let endpoint = binding.information.endpoint;
        let address = endpoint.address.unwrap_or_else(|| [192, 0, 2, 1].into());
        let local = SocketAddr::new(address, endpoint.port);
        assert!(table.protocol(local).is_some());
        assert!(!table.site(binding).name.is_empty());
        if let HostPattern::Exact(name) = &binding.information.host {
            let (order, rules) = (configuration.settings.order, configuration.rules(local));
            let question = Question { local, name: Some(name), order, rules };
            assert!(decide(question, |key| table.holder(key)).is_some(), "{name} is held");
        }
    }
});
