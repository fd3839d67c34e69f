use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{errors, generated, read};
use crate::{
    change::{Act, Difference, Fields, Place, Value},
    document::{
        Configuration, edit,
        write::{changes, difference, fields, text},
    },
};

/// Everything that a configuration says, whatever its order.
fn said(configuration: &Configuration) -> BTreeMap<String, Fields> {
    let Configuration { listeners, table, .. } = configuration;
    let listeners =
        listeners.iter().map(|own| Place::Listener(format!("{}/{}", own.protocol, own.endpoint)));
    let certificates = table.certificates.iter().map(|own| Place::Certificate(own.name.clone()));
    let sites = table.sites.iter().map(|own| Place::Site(own.name.clone()));
    let places = listeners.chain(certificates).chain(sites).chain([Place::Server]);
    let said = places.map(|at| {
        let mut own = fields(configuration, &at).unwrap();
        for key in ["bindings", "applications", "virtual_directories"] {
            if let Some(Value::List(list)) = own.get_mut(key) {
                list.sort_by_key(Value::to_string);
            }
        }
        (at.to_string(), own)
    });
    said.collect()
}

proptest! {
    #[test]
    fn changes_of_a_difference_make_it_and_leave_none(
        before in generated::text(),
        after in generated::text(),
    ) {
        let (before, after) = (read(&before).configuration, read(&after).configuration);
        let difference = difference(&before, &after);
        let given = text(&before);
        let made = edit::apply(&given, &changes(&difference)).unwrap();
        let made = read(&made);
        prop_assert_eq!(errors(&made), Vec::<String>::new());
        prop_assert_eq!(said(&made.configuration), said(&after), "{}\n{}", given, difference);
        let rest = super::super::difference(&made.configuration, &after);
        prop_assert_eq!(rest, Difference::default());
        // Each entry is shown.
        prop_assert!(difference.to_string().lines().count() >= difference.0.len());
    }

    #[test]
    fn equal_configurations_do_not_differ(given in generated::text()) {
        let (one, other) = (read(&given).configuration, read(&given).configuration);
        prop_assert_eq!(difference(&one, &other), Difference::default());
        prop_assert!(difference(&Configuration::default(), &one).0.len() >= one.table.sites.len());
    }
}

fn differs(before: &str, after: &str) -> Difference {
    let document = |sites: &str| {
        let document = read(&format!("version = 1\n{sites}"));
        assert_eq!(errors(&document), Vec::<String>::new(), "{sites}");
        document.configuration
    };
    difference(&document(before), &document(after))
}

#[track_caller]
fn check(before: &str, after: &str, expected: &str) {
    assert_eq!(differs(before, after).to_string(), expected);
}

#[test]
fn a_difference_reads_well_in_80_columns() {
    let before = r#"
server = { workers = 2 }
certificate = [{ name = "old", file = "/old.pem" }]
[[site]]
name = "gone"
respond = "x"
bindings = ["http/*:80:gone.example.com"]
[[site]]
name = "shop"
root = "/srv/shop"
limits = { requests_max = 9 }
bindings = ["http/*:80:shop.example.com", "https/*:443:shop.example.com"]
applications = [{ path = "/a", respond = "a" }]
"#;
    let after = r#"
[[listener]]
on = "https/*:443"
no_sni = "refuse"
[[site]]
name = "shop"
id = 2
root = "/srv/a/long/path/of/a/folder/somewhere/deep/in/the/tree/of/the/machine/shop"
limits = { requests_max = 10, bytes_per_second_max = 1000 }
bindings = [
  "http/*:80:shop.example.com",
  { on = "https/*:443:shop.example.com", certificate = "central", tls = { minimum = "1.3" } },
  "https/*:443:www.example.com",
]
applications = [{ path = "/b", respond = "b" }]
[[site]]
name = "new"
id = 7
root = "/srv/new"
access = ["deny 192.0.2.1", "deny 192.0.2.2", "deny 192.0.2.3", "deny 192.0.2.4", "allow all"]
[server]
central_store = { folder = "/central" }
"#;
    let expected = r#"~ server
    - workers = 2
    + central_store.folder = "/central"
+ listener "https/*:443"
    no_sni = "refuse"
- certificate "old"
    file = "/old.pem"
- site "gone"
    id = 1
    respond = "x"
    bindings = ["http/*:80:gone.example.com"]
~ site "shop"
    root:
      - "/srv/shop"
      + "/srv/a/long/path/of/a/folder/somewhere/deep/in/the/tree/of/the/machine/shop"
    + limits.bytes_per_second_max = 1000
    limits.requests_max: 9 -> 10
~ binding https/*:443:shop.example.com of site "shop"
    + certificate = "central"
    + tls.minimum = "1.3"
+ binding https/*:443:www.example.com of site "shop"
- application /a of site "shop"
    respond = "a"
+ application /b of site "shop"
    respond = "b"
+ site "new"
    id = 7
    root = "/srv/new"
    access:
      "deny 192.0.2.1"
      "deny 192.0.2.2"
      "deny 192.0.2.3"
      "deny 192.0.2.4"
      "allow all"
"#;
    check(before, after, expected);
}

#[test]
fn what_is_inherited_is_no_difference() {
    let site = |own: &str, app: &str| {
        format!(
            "[[site]]\nname = 'a'\nroot = '/a'\n{own}\napplications = [{{ path = '/b', root = '/b'{app} }}]"
        )
    };
    check(&site("", ""), &site("", ", compress = false"), "");
    let expected = "~ site \"a\"\n    + compress = true\n";
    check(&site("", ""), &site("compress = true", ""), expected);
    let expected = format!("{expected}~ application /b of site \"a\"\n    + compress = false\n");
    check(&site("", ""), &site("compress = true", ", compress = false"), &expected);
}

#[test]
fn a_site_is_the_same_by_its_name_or_else_by_its_number() {
    let sites = |all: &[(&str, u32)]| {
        let sites = all.iter().map(|(name, id)| {
            format!(
                "[[site]]\nname = '{name}'\nid = {id}\nrespond = ''\nbindings = ['http/*:{id}:']\n"
            )
        });
        sites.collect::<String>()
    };
    let check = |before: &[(&str, u32)], after: &[(&str, u32)], expected: &str| {
        check(&sites(before), &sites(after), expected);
    };
    check(&[("a", 1), ("b", 2)], &[("b", 2), ("a", 1)], "");
    check(&[("a", 1), ("b", 2)], &[("c", 1), ("b", 2)], "~ site \"c\"\n    name: \"a\" -> \"c\"\n");
    check(&[("a", 1)], &[("A", 1)], "~ site \"A\"\n    name: \"a\" -> \"A\"\n");
    let renamed = differs(&sites(&[("a", 1)]), &sites(&[("c", 1)]));
    let change = changes(&renamed).remove(0);
    assert_eq!(change.at, Place::Site("a".to_owned()));
    assert!(matches!(change.act, Act::Set(keys) if keys["name"] == Some("c".into())));
}

#[test]
fn certificates_are_compared_by_name_wherever_they_stand() {
    let site = "[[site]]\nname = 'a'\nrespond = ''\nbindings = [{ on = 'https/*:443:', certificate = 'b' }]";
    let both = "certificate = [{ name = 'a', file = '/a' }, { name = 'b', file = '/b' }]\n";
    let one = "certificate = [{ name = 'B', file = '/b' }]\n";
    let expected =
        "- certificate \"a\"\n    file = \"/a\"\n~ certificate \"B\"\n    name: \"b\" -> \"B\"\n";
    check(&format!("{both}{site}"), &format!("{one}{site}"), expected);
}
