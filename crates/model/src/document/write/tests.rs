mod difference;
pub(in crate::document) mod generated;

use std::path::Path;

use proptest::prelude::*;

use super::{fields, text};
use crate::{
    change::{Fields, Place, Value},
    document::{Configuration, Document, parse},
    problem::Severity,
};

pub(in crate::document) fn read(text: &str) -> Document {
    parse(text, Path::new("/etc/bindery"))
}

pub(in crate::document) fn errors(document: &Document) -> Vec<String> {
    let errors = document.problems.iter().filter(|own| own.severity() == Severity::Error);
    errors.map(|own| format!("{}: {}", own.code, own.message)).collect()
}

/// What is read from a text is what is read from it when it was written again.
#[track_caller]
fn holds(given: &str) -> String {
    let first = read(given);
    let written = text(&first.configuration);
    let second = read(&written);
    assert_eq!(errors(&second), errors(&first), "{given}\n---\n{written}");
    assert_eq!(second.configuration, first.configuration, "{given}\n---\n{written}");
    assert_eq!(text(&second.configuration), written);
    written
}

const PAGES: [&str; 11] = [
    include_str!("../../../../../README.md"),
    include_str!("../../../../../docs/commands.md"),
    include_str!("../../../../../docs/configuration.md"),
    include_str!("../../../../../docs/files.md"),
    include_str!("../../../../../docs/limits.md"),
    include_str!("../../../../../docs/logs.md"),
    include_str!("../../../../../docs/performance.md"),
    include_str!("../../../../../docs/php.md"),
    include_str!("../../../../../docs/proxy.md"),
    include_str!("../../../../../docs/rules.md"),
    include_str!("../../../../../docs/running.md"),
];

/// The blocks of TOML in a page of the manual, each with what is around it in a file: some are of
/// the server or of a site.
fn blocks(page: &str) -> impl Iterator<Item = String> {
    let blocks = page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.map(|block| {
        let around = ["", "version = 1\n", "version = 1\n[server]\n", SITE, PROXY, WITH_ROOT];
        let texts = around.map(|before| format!("{before}{block}"));
        texts.into_iter().min_by_key(|text| errors(&read(text)).len()).unwrap()
    })
}

const SITE: &str = "version = 1\n[[site]]\nname = 'of the manual'\n";
const PROXY: &str = "version = 1\n[[site]]\nname = 'of the manual'\nproxy = 'http://a:1'\n";
const WITH_ROOT: &str = "version = 1\n[[site]]\nname = 'of the manual'\nroot = '/'\n";

#[test]
fn what_the_manual_shows_can_be_written_and_read_again() {
    let mut count = 0;
    for page in PAGES {
        for block in blocks(page) {
            assert_eq!(errors(&read(&block)), Vec::<String>::new(), "{block}");
            holds(&block);
            count += 1;
        }
    }
    assert!(count > 20, "{count}");
}

proptest! {
    #[test]
    fn whatever_is_read_can_be_written_and_read_again(given in generated::text()) {
        let first = read(&given);
        prop_assert_eq!(errors(&first), Vec::<String>::new(), "{}", given);
        holds(&given);
    }

    #[test]
    fn any_text_is_written_as_toml(value in "\\PC{0,40}|[\\x00-\\x7f]{0,20}") {
        let own = Value::from(value.as_str());
        let key = crate::change::toml_key(&value).into_owned();
        let line = format!("{key} = {own}");
        let read: toml_edit::DocumentMut = line.parse().unwrap();
        prop_assert_eq!(read.get(&value).and_then(|own| own.as_str()), Some(value.as_str()));
    }
}

#[test]
fn a_file_is_written_as_a_person_would() {
    let given = r#"
version = 1
server = { workers = 2, access_log = { folder = "log", roll = 2097152 } }
certificate = [{ name = "C", file = "c.pem" }]
[[listener]]
on = "https/192.0.2.10:443"
no_sni = "refuse"
[[site]]
name = "plain"
id = 1
bindings = ["https/*:443:a.example.com.", "HTTP/:80:A.example.com"]
root = "/srv/a"
compress = true
[[site]]
name = "more"
proxy = { to = ["http://10.0.0.1:9000", "http://10.0.0.2:80"], health_check = { path = "/up", rise = 5 }, failed_for_seconds = 77 }
bindings = [{ on = "https/192.0.2.10:443:", certificate = "c" }, "http/*:80:more.example.com"]
applications = [{ path = "/b", respond = "\"b\"", compress = true }]
[[site]]
name = "last"
id = 9
root = 'C:\a'
access = ["allow 10.0.0.0/8", "allow 192.0.2.1/32", "deny all"]
redirects = [
  { path = "/old", to = "/new" }, { regex = '^/(\d+)$', to = "/number/$1", status = 302 }, { suffix = ".asp", to = "/" },
]
"#;
    let expected = r#"version = 1

[server]
workers = 2
access_log = { folder = "/etc/bindery/log", roll = 2097152 }

[[listener]]
on = "https/192.0.2.10:443"
no_sni = "refuse"

[[certificate]]
name = "C"
file = "/etc/bindery/c.pem"

[[site]]
name = "plain"
root = "/srv/a"
bindings = ["https/*:443:a.example.com", "http/*:80:a.example.com"]
compress = true

[[site]]
name = "more"

[site.proxy]
to = ["http://10.0.0.1:9000", "http://10.0.0.2"]
failed_for_seconds = 77
health_check = { path = "/up", rise = 5 }

[[site.bindings]]
on = "https/192.0.2.10:443:"
certificate = "C"

[[site.bindings]]
on = "http/*:80:more.example.com"

[[site.applications]]
path = "/b"
respond = '"b"'
compress = true

[[site]]
name = "last"
id = 9
root = '/etc/bindery/C:\a'
access = ["allow 10.0.0.0/8", "allow 192.0.2.1", "deny all"]
redirects = [
  { path = "/old", to = "/new" },
  { regex = '^/(\d+)$', to = "/number/$1", status = 302 },
  { suffix = ".asp", to = "/" },
]
"#;
    assert_eq!(holds(given), expected);
}

#[test]
fn numbers_are_written_where_they_would_be_others() {
    let site = |name: &str, id: &str| format!("[[site]]\nname = '{name}'\n{id}\nroot = '/'\n");
    let given = |ids: [&str; 4]| {
        let sites = ["a", "b", "c", "d"].into_iter().zip(ids).map(|(name, id)| match id {
            "" => site(name, ""),
            id => site(name, &format!("id = {id}")),
        });
        format!("version = 1\n{}", sites.collect::<String>())
    };
    for (ids, lines) in [
        (["1", "2", "3", "4"], vec![]),
        (["", "", "", ""], vec![]),
        (["7", "", "", ""], vec!["id = 7"]),
        (["2", "1", "", ""], vec!["id = 1"]),
        (["1", "2", "5", "3"], vec!["id = 5"]),
        (["2", "3", "4", "5"], vec!["id = 2", "id = 3", "id = 4", "id = 5"]),
    ] {
        let written = holds(&given(ids));
        let found: Vec<_> = written.lines().filter(|line| line.starts_with("id")).collect();
        assert_eq!(found, lines, "{ids:?}");
    }
}

fn place_fields(configuration: &Configuration, at: &Place) -> Option<String> {
    fields(configuration, at).map(|fields| Value::from(fields).to_string())
}

#[test]
fn one_thing_has_its_keys_and_no_defaults() {
    let document = read(
        r#"
version = 1
server = { workers = 3, drain_seconds = 30 }
listener = [{ on = "https/*:443", unknown_name = "refuse" }]
certificate = [{ name = "c", file = "/c.pem" }]
[[site]]
name = "Shop"
root = "/srv"
listing = true
compress = true
hsts = { max_age = 5 }
bindings = ["http/*:80:", { on = "https/*:443:", certificate = ["c", "AA:BB0000000000000000000000000000000000CC"], tls = { minimum = "1.3" } }]
applications = [{ path = "/a", root = "/a", compress = true }, { path = "/b", redirect = "/", hsts = false }]
virtual_directories = [{ path = "/a/v", root = "/v", listing = false }]
"#,
    );
    assert_eq!(errors(&document), Vec::<String>::new());
    let check = |at: Place, expected: Option<&str>| {
        let found = place_fields(&document.configuration, &at);
        assert_eq!(found.as_deref(), expected, "{at}");
    };
    let site = || "SHOP".to_owned();
    check(Place::Server, Some("{ workers = 3 }"));
    check(Place::Listener("https/:443".to_owned()), Some("{ unknown_name = \"refuse\" }"));
    check(Place::Listener("http/*:443".to_owned()), None);
    check(Place::Certificate("C".to_owned()), Some("{ file = \"/c.pem\" }"));
    let on = |on: &str| Place::Binding { site: site(), on: on.to_owned() };
    check(on("HTTP/0.0.0.0:80:"), Some("{}"));
    let expected = "{ certificate = [\"c\", \"aabb0000000000000000000000000000000000cc\"], \
                    tls = { minimum = \"1.3\" } }";
    check(on("https/*:443:"), Some(expected));
    check(on("https/*:443:x"), None);
    check(on("nothing"), None);
    let app = |path: &str| Place::Application { site: site(), path: path.to_owned() };
    check(app("/a"), Some("{ root = \"/a\" }"));
    check(app("/b"), Some("{ redirect = \"/\", hsts = false }"));
    check(app("/a/v"), None);
    let folder = Place::VirtualDirectory { site: site(), path: "/a/v".to_owned() };
    check(folder, Some("{ root = \"/v\", listing = false }"));
    check(Place::Site("shop2".to_owned()), None);
    let whole = fields(&document.configuration, &Place::Site(site())).unwrap();
    let keys: Vec<_> = whole.keys().map(String::as_str).collect();
    let expected = [
        "applications",
        "bindings",
        "compress",
        "hsts",
        "id",
        "listing",
        "root",
        "virtual_directories",
    ];
    assert_eq!(keys, expected);
    assert!(matches!(&whole["bindings"], Value::List(list) if list[0] == "http/*:80:".into()));
}

#[test]
fn fields_of_messages_in_any_order_become_an_order_that_can_be_read() {
    use crate::rules::{HeaderRule, Rules};
    let rule = |kind: &str, name: &str, value: &str| match kind {
        "remove" => HeaderRule::Remove(name.to_owned()),
        "set" => HeaderRule::Set(name.to_owned(), value.to_owned()),
        _ => HeaderRule::Add(name.to_owned(), value.to_owned()),
    };
    let rules = [
        ("add", "gone", "1"),
        ("set", "a", "1"),
        ("remove", "Gone", ""),
        ("remove", "b", ""),
        ("add", "B", "1"),
        ("add", "b", "2"),
        ("set", "A", "2"),
        ("add", "c", "1"),
        ("add", "C", "2"),
    ];
    let own = Rules {
        response_headers: rules.map(|(kind, name, value)| rule(kind, name, value)).to_vec(),
        ..Rules::default()
    };
    let mut keys = super::Keys::default();
    super::rules::put(&mut keys, &own, &Rules::default());
    let expected = "{ response_headers = { add = { b = \"2\", c = [\"1\", \"2\"] }, \
                    remove = [\"Gone\"], set = { A = \"2\", B = \"1\" } } }";
    assert_eq!(Value::from(keys.0).to_string(), expected);
    let empty: Fields = Fields::new();
    assert_eq!(Value::from(empty).to_string(), "{}");
}
