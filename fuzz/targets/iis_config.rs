//! A configuration of IIS: whatever it is, every problem stands at a place of the text, and every rule
//! that comes of it works. Half of the text is a `web.config` of its sites.
#![no_main]

use std::path::{Path, PathBuf};

use bindery_iis::{
    config::{Sources, read},
    netsh::records::Records,
};
use bindery_model::{
    decide::{condition::Asked, rewrite::Replacement},
    document::parse,
    rules::RedirectTo,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (text, web_config) = text.split_once("\n---\n").unwrap_or((text, ""));
    let paths = "version = 1\n[paths]\n'C:' = '/c'\n'D:' = '/d'\n";
    let records = Records::default();
    let found = |folder: &Path| -> Vec<PathBuf> { vec![folder.join("sub"), folder.to_owned()] };
    let document = read(&Sources {
        text,
        folder: Path::new("/etc/iis"),
        companion: &parse(paths, Path::new("/etc/iis")),
        records: &records,
        web_config: &|_| (!web_config.is_empty()).then(|| Ok(web_config.to_owned())),
        folders_with_web_config: &found,
        folder_named: &|folder| Some(folder.to_owned()),
        environment: &|_| None,
    });
    for problem in &document.problems {
        assert!(text.get(problem.span.clone()).is_some(), "{problem:?}");
        for (span, _) in &problem.related {
            assert!(text.get(span.clone()).is_some(), "{problem:?}");
        }
        assert!(!problem.message.is_empty());
    }
    let table = &document.configuration.table;
    assert_eq!(document.positions.bindings.len(), table.bindings.len());
    assert_eq!(document.positions.sites.len(), table.sites.len());
    for route in table.sites.iter().flat_map(|site| site.all_routes()) {
        let redirects = route.rules.redirects.iter().map(|rule| match &rule.to {
            RedirectTo::Target(to) => (&rule.path, &rule.when, Some(to.as_str())),
            RedirectTo::Refused | RedirectTo::Here => (&rule.path, &rule.when, None),
        });
        let rewrites =
            route.rules.rewrites.iter().map(|rule| (&rule.path, &rule.when, rule.to.target()));
        let asked = Asked { query: Some("c=d"), authority: "a.example:80", ..Asked::of(b"/a/b") };
        for (pattern, when, to) in redirects.chain(rewrites) {
            let made = Replacement::new(pattern, when, to).expect("a rule that works");
            if let Some(target) = made.target(&asked, true) {
                assert!(target.text.is_ascii() && target.host_end <= target.text.len());
            }
        }
    }
});
