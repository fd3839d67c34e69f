//! An export of `bindery.toml` says the same: what is read of it is what was written, but for what
//! the export itself says it left out.

use std::path::Path;

use bindery_iis::{
    config::{self, Sources},
    netsh::records::Records,
};
use bindery_model::{
    change::{Difference, Entry, How, Place},
    document::{Configuration, Document, parse, write},
    problem::{Problem, Severity},
};

const PLAIN: &str = "root = \"/srv/a\"\nbindings = [\"http/*:80:a.example\"]\n";

fn site(inner: &str) -> Configuration {
    let text = format!("version = 1\n[[site]]\nname = \"a\"\n{inner}");
    let document = parse(&text, Path::new("/"));
    let is_error = |one: &Problem| one.severity() == Severity::Error;
    assert!(!document.problems.iter().any(is_error), "{:?} in\n{text}", document.problems);
    document.configuration
}

fn read(text: &str, before: &Configuration) -> Configuration {
    let settings = before.settings.clone();
    let configuration = Configuration { settings, ..Configuration::default() };
    let positions = Default::default();
    let document = config::read(&Sources {
        text,
        folder: Path::new("/"),
        companion: &Document { configuration, positions, problems: Vec::new() },
        records: &Records::default(),
        web_config: &|_| None,
        folders_with_web_config: &|_| Vec::new(),
        folder_named: &|folder| Some(folder.to_owned()),
        environment: &|_| None,
    });
    assert!(document.problems.is_empty(), "{:?} in\n{text}", document.problems);
    document.configuration
}

/// What differs of sites, in the words in which an export says what it left out.
fn lost(Difference(entries): Difference) -> Vec<String> {
    let lines = |Entry { at, how }: Entry| {
        let How::Changed(keys) = how else { return vec![format!("{at}: {how:?}")] };
        let of_site = matches!(at, Place::Site(_));
        let line = |(key, values): (String, _)| match key.as_str() {
            "charset" | "https_redirect" | "ignore_case" | "precompressed" | "hidden"
                if of_site =>
            {
                format!("every site: {key}")
            }
            _ => format!("{at}: {key} {values:?}"),
        };
        keys.into_iter().map(line).collect()
    };
    entries.into_iter().flat_map(lines).collect()
}

const LEFT_OUT: [&str; 5] = ["charset", "hidden", "https_redirect", "ignore_case", "precompressed"];

#[track_caller]
fn check(inner: &str, places: &[&str]) {
    let configuration = site(inner);
    let (text, left_out) = config::write(&configuration);
    let again = read(&text, &configuration);
    let expected: Vec<_> = LEFT_OUT
        .into_iter()
        .filter(|key| !places.contains(key))
        .map(|key| format!("every site: {key}"))
        .collect();
    assert_eq!(left_out, expected, "{inner}");
    let lost = lost(write::difference(&configuration, &again));
    assert_eq!(lost, expected, "{inner}\ncame to\n{text}");
}

#[test]
fn defaults_are_said_where_iis_has_others() {
    check(PLAIN, &[]);
    let (text, _) = config::write(&site(PLAIN));
    let documents = "                <clear />
                <add value=\"index.html\" />
                <add value=\"index.htm\" />
                <add value=\"Default.htm\" />
";
    assert!(text.contains(documents), "{text}");
}

#[test]
fn what_sites_say_of_files_comes_back() {
    for own in [
        "default_documents = [\"home.html\", \"index.html\"]",
        "default_documents = []",
        "default_documents = []\n[[site.applications]]\npath = \"/b\"\nroot = \"/srv/b\"\n\
         default_documents = [\"b.html\"]",
        "https_only = true",
        "https_only = true\n[[site.applications]]\npath = \"/b\"\nroot = \"/srv/b\"\n\
         https_only = false",
        "listing = true",
        "unknown_types = \"listed\"",
        "media_types = { \".webx\" = \"image/webx\", \".a\" = \"text/a\" }",
        "unknown_types = \"listed\"\nmedia_types = { \".webx\" = \"image/webx\" }",
        "request_bytes_max = 1000",
        "access_log = false",
        "state = \"stopped\"",
        "limits = { requests_max = 5, bytes_per_second_max = 7 }",
        "response_headers = { set = { H = \"v\" } }",
        "response_headers = { remove = [\"Server\"] }",
        "response_headers = { set = { H = \"v\" }, remove = [\"Server\"] }",
        "error_pages = { 404 = \"/srv/404.html\" }",
        "[[site.virtual_directories]]\npath = \"/img\"\nroot = \"/srv/img\"\nlisting = true",
        "default_documents = [\"home.html\"]\n[[site.applications]]\npath = \"/b\"\n\
         root = \"/srv/b\"\ndefault_documents = [\"b.html\"]",
        "request_bytes_max = 5\nunknown_types = \"listed\"\n[[site.applications]]\npath = \"/b\"\n\
         root = \"/srv/b\"\nunknown_types = \"bytes\"\nrequest_bytes_max = false",
        "application_pool = \"P\"\n[[site.applications]]\npath = \"/b\"\nroot = \"/srv/b\"\n\
         application_pool = \"Q\"\n[server.application_pools.P]\nqueueLength = \"5\"\n\
         processModel.idleTimeout = \"00:00:00\"\n[server.application_pools.Q]\n\
         [server.application_pools.DefaultAppPool]\nautoStart = \"false\"",
    ] {
        check(&format!("{PLAIN}{own}\n"), &[]);
    }
}

#[test]
fn what_is_as_iis_has_it_is_not_left_out() {
    let own = "charset = \"\"\nprecompressed = false\nignore_case = true\nhttps_redirect = false\n\
               hidden = [\"bin\", \"web.config\"]\n";
    check(&format!("{PLAIN}{own}"), &LEFT_OUT);
    for own in ["hsts = true", "hsts = true\nhttps_redirect = false"] {
        check(&format!("{PLAIN}{own}\n"), &["https_redirect"]);
    }
}

#[test]
fn what_an_application_says_is_not_said_again_below_it() {
    let own = "[[site.applications]]\npath = \"/b\"\nroot = \"/srv/b\"\nhttps_only = true\n\
               listing = true\n[[site.virtual_directories]]\npath = \"/b/c\"\nroot = \"/srv/c\"\n\
               https_only = true\nlisting = true\ndefault_documents = [\"c.html\"]\n";
    let (text, _) = config::write(&site(&format!("{PLAIN}\n{own}")));
    assert_eq!(text.matches("sslFlags=\"Ssl\"").count(), 1, "{text}");
    assert_eq!(text.matches("directoryBrowse enabled=\"true\"").count(), 1, "{text}");
    assert!(text.contains("<add value=\"c.html\" />"), "{text}");
}
