mod laws;

use std::path::Path;

use super::{apply, keys::meaning};
use crate::{
    change::{Act, Change, EditError, Fields, Place, Value},
    document::{Document, parse},
};

fn read(text: &str) -> Document {
    parse(text, Path::new("/etc/bindery"))
}

/// The keys of a text of TOML.
fn keys(text: &str) -> Fields {
    let table: toml_edit::InlineTable = format!("{{ {text} }}")
        .parse::<toml_edit::Value>()
        .unwrap()
        .as_inline_table()
        .unwrap()
        .clone();
    match meaning(&toml_edit::Value::InlineTable(table)) {
        Some(Value::Table(fields)) => fields,
        other => panic!("{other:?}"),
    }
}

/// A place: `site a`, `binding a https/*:443:`, `server`.
fn place(text: &str) -> Place {
    let mut words = text.split(' ');
    let kind = words.next().unwrap();
    let mut next = || words.next().unwrap_or_default().to_owned();
    match kind {
        "server" => Place::Server,
        "listener" => Place::Listener(next()),
        "certificate" => Place::Certificate(next()),
        "site" => Place::Site(next()),
        "binding" => Place::Binding { site: next(), on: next() },
        "app" => Place::Application { site: next(), path: next() },
        "folder" => Place::VirtualDirectory { site: next(), path: next() },
        other => panic!("{other}"),
    }
}

fn add(at: &str, fields: &str) -> Change {
    Change { at: place(at), act: Act::Add(keys(fields)) }
}

fn set(at: &str, key: &str, value: &str) -> Change {
    let value = keys(&format!("value = {value}")).remove("value");
    Change { at: place(at), act: Act::Set([(key.to_owned(), value)].into()) }
}

fn unset(at: &str, key: &str) -> Change {
    Change { at: place(at), act: Act::Set([(key.to_owned(), None)].into()) }
}

fn remove(at: &str) -> Change {
    Change { at: place(at), act: Act::Remove }
}

#[track_caller]
fn check(before: &str, changes: &[Change], after: &str) {
    let made = apply(before, changes).unwrap();
    assert_eq!(made, after, "\n{made}\n--- and not\n{after}");
}

const TWO: &str = "\
version = 1   # the format

# Shops
[[site]]      # the first
name = \"Shop\"
root = '/srv/shop'
bindings = [
  \"http/*:80:shop.example.com\",   # plain
  \"https/*:443:shop.example.com\"  # secure
]
# state = \"stopped\"

# ---- below: others ----

# The blog.
# Ask Ann.
[[site]]
name = \"blog\"
root = '/srv/blog'
bindings = [\"http/*:80:blog.example.com\"]
";

#[test]
fn a_site_is_added_behind_the_last_as_that_is_written() {
    let fields = "root = '/n', bindings = ['http/*:80:n.example.com']";
    let new = "[[site]]\nname = \"new\"\nroot = \"/n\"\nbindings = [\"http/*:80:n.example.com\"]\n";
    check(TWO, &[add("site new", fields)], &format!("{TWO}\n{new}"));

    let tight = "version = 1\n[[site]]\nname = 'a'\nroot = '/a'\n[[site]]\nname = 'b'\nroot = '/b'\n\n# end";
    let expected = "version = 1\n[[site]]\nname = 'a'\nroot = '/a'\n[[site]]\nname = 'b'\nroot = '/b'\n\
                    [[site]]\nname = \"new\"\nroot = \"/n\"\n\n# end";
    check(tight, &[add("site new", "root = '/n'")], expected);

    let deep = "version = 1\n\n  [[site]]\n    name = 'a'\n    root = '/a'\n\n    [[site.bindings]]\n    on = 'http/*:80:'\n";
    let expected = format!(
        "{deep}\n  [[site]]\n    name = \"new\"\n    root = \"/n\"\n\n  [[site.bindings]]\n    on = \"http/*:80:n.example.com\"\n"
    );
    check(deep, &[add("site new", fields)], &expected);

    let braces = "version = 1\nsite = [{ name = 'a', root = '/a' }]\n";
    let expected =
        "version = 1\nsite = [{ name = 'a', root = '/a' }, { name = \"new\", root = \"/n\" }]\n";
    check(braces, &[add("site new", "root = '/n'")], expected);
    let lines = "version = 1\nsite = [\n\t{ name = 'a', root = '/a' }, # one\n]\n";
    let expected = "version = 1\nsite = [\n\t{ name = 'a', root = '/a' }, # one\n\t{ name = \"new\", root = \"/n\" },\n]\n";
    check(lines, &[add("site new", "root = '/n'")], expected);
}

#[test]
fn the_first_of_a_kind_comes_where_people_look_for_it() {
    let fields = "file = 'c.pem'";
    let new = "[[certificate]]\nname = \"c\"\nfile = \"c.pem\"\n";
    check("version = 1\n", &[add("certificate c", fields)], &format!("version = 1\n\n{new}"));
    check("", &[add("certificate c", fields)], new);
    check("# empty\n", &[add("certificate c", fields)], &format!("# empty\n\n{new}"));
    let expected = TWO.replacen("\n\n# Shops", &format!("\n\n{new}\n# Shops"), 1);
    check(TWO, &[add("certificate c", fields)], &expected);
    let both = [add("listener https/*:443", ""), add("certificate c", fields)];
    let expected = format!("version = 1\n\n[[listener]]\non = \"https/*:443\"\n\n{new}");
    check("version = 1\n", &both, &expected);
}

#[test]
fn a_site_goes_with_its_own_comment_and_nothing_of_its_neighbours() {
    let removed = "\
version = 1   # the format

# ---- below: others ----

# The blog.
# Ask Ann.
[[site]]
name = \"blog\"
root = '/srv/blog'
bindings = [\"http/*:80:blog.example.com\"]
id = 2
";
    check(TWO, &[remove("site SHOP")], removed);
    let (kept, _) = TWO.split_once("\n# The blog").unwrap();
    check(TWO, &[remove("site blog")], kept);
    let none = "version = 1   # the format\n\n# ---- below: others ----\n";
    check(TWO, &[remove("site blog"), remove("site shop")], none);
    check(
        "[[site]]\nname = 'a'\n\n\n[[site]]\nname = 'b'",
        &[remove("site a")],
        "[[site]]\nname = 'b'\nid = 2",
    );
    check(
        "site = [{ name = 'a' }, { name = 'b' }]",
        &[remove("site b")],
        "site = [{ name = 'a' }]",
    );
    check("version = 1\nsite = [{ name = 'a' }]", &[remove("site a")], "version = 1");
}

#[test]
fn sites_keep_their_numbers() {
    let site = |name: &str| format!("[[site]]\nname = '{name}'\n");
    let given = site("a") + &site("b") + &site("c");
    let expected = site("b") + "id = 2\n" + &site("c") + "id = 3\n";
    check(&given, &[remove("site a")], &expected);
    check(&given, &[remove("site c")], &(site("a") + &site("b")));
    // Who takes the number of another is refused for it, and does not move the other.
    let made = apply(&given, &[add("site d", "id = 2, respond = ''")]).unwrap();
    assert!(made.contains("name = 'b'\nid = 2\n"), "{made}");
    let expected = site("a") + "id = 9\n" + &site("b") + "id = 2\n" + &site("c") + "id = 3\n";
    check(&given, &[set("site a", "id", "9")], &expected);
}

#[test]
fn a_binding_is_added_as_the_others_are_written() {
    let added = |before: &str, after: &str| {
        let text =
            |bindings: &str| format!("[[site]]\nname = 'a'\n{bindings}\nroot = '/' # here\n");
        let change = [add("binding A http/*:80:x", "")];
        check(&text(before), &change, &text(after));
        check(&text(after), &[remove("binding a HTTP/:80:X")], &text(before));
    };
    added("bindings = ['http/*:80:b']", "bindings = ['http/*:80:b', \"http/*:80:x\"]");
    added("bindings = ['http/*:80:b',]", "bindings = ['http/*:80:b', \"http/*:80:x\",]");
    added("bindings = [ 'http/*:80:b' ] # c", "bindings = [ 'http/*:80:b', \"http/*:80:x\" ] # c");
    added("bindings = ['http/*:80:b' , ]", "bindings = ['http/*:80:b' , \"http/*:80:x\", ]");
    added(
        "bindings = [\n  'http/*:80:b'  # c\n]",
        "bindings = [\n  'http/*:80:b',  # c\n  \"http/*:80:x\"\n]",
    );
    added(
        "bindings = [\n\t'http/*:80:b', # c\n\t# d\n  ]",
        "bindings = [\n\t'http/*:80:b', # c\n\t\"http/*:80:x\",\n\t# d\n  ]",
    );
    added(
        "bindings = ['http/*:80:b',\n            'http/*:80:c']",
        "bindings = ['http/*:80:b',\n            'http/*:80:c',\n            \"http/*:80:x\"]",
    );
    added(
        "bindings = [\n  'http/*:80:b', 'http/*:80:c',\n]",
        "bindings = [\n  'http/*:80:b', 'http/*:80:c', \"http/*:80:x\",\n]",
    );
    added(
        "bindings = [{ on = 'http/*:80:b' }]",
        "bindings = [{ on = 'http/*:80:b' }, \"http/*:80:x\"]",
    );
}

#[test]
fn bindings_with_headers_stay_so() {
    let given = "[[site]]\nname = 'a'\nroot = '/'\n\n  # b\n  [[site.bindings]]\n  on = 'https/*:443:b' # b\n\n[[site]]\nname = 'c'\n";
    let expected = "[[site]]\nname = 'a'\nroot = '/'\n\n  # b\n  [[site.bindings]]\n  on = 'https/*:443:b' # b\n\n  \
                    [[site.bindings]]\n  on = \"https/*:443:x\"\n  certificate = \"c\"\n\n[[site]]\nname = 'c'\n";
    check(given, &[add("binding a https/*:443:x", "certificate = 'c'")], expected);
    check(expected, &[remove("binding a https/*:443:x")], given);
    let gone = "[[site]]\nname = 'a'\nroot = '/'\n\n[[site]]\nname = 'c'\n";
    check(given, &[remove("binding a https/*:443:b")], gone);
}

#[test]
fn a_line_is_broken_when_it_becomes_too_long() {
    let host = "a-rather-long-name-of-a-host.example.com";
    let given =
        format!("[[site]]\nname = 'a'\nbindings = ['http/*:80:{host}', 'http/*:81:{host}']\n");
    let expected = format!(
        "[[site]]\nname = 'a'\nbindings = [\n  'http/*:80:{host}',\n  'http/*:81:{host}',\n  \"http/*:82:{host}\",\n]\n"
    );
    check(&given, &[add(&format!("binding a http/*:82:{host}"), "")], &expected);
}

#[test]
fn a_binding_changes_between_text_and_table() {
    let given = "[[site]]\nname = 'a'\nbindings = ['https/*:443:a', 'https/*:443:b'] # c\n";
    let tls = given.replace(
        "'https/*:443:a'",
        "{ on = \"https/*:443:a\", certificate = \"x\", tls = { minimum = \"1.3\" } }",
    );
    let at = "binding a https/*:443:a";
    let changes = [set(at, "certificate", "'x'"), set(at, "tls.minimum", "'1.3'")];
    check(given, &changes, &tls);
    let back = given.replace("'https/*:443:a'", "\"https/*:443:a\"");
    check(&tls, &[unset(at, "tls.minimum"), unset(at, "certificate")], &back);
    let renamed = given.replace("'https/*:443:a'", "\"https/*:443:z\"");
    check(given, &[set(at, "on", "'https/*:443:z'")], &renamed);
    check(given, &[unset(at, "tls")], given);
    let odd = "[[site]]\nname = 'a'\nbindings = ['net.tcp/808:*']\n";
    check(odd, &[remove("binding a net.tcp/808:*")], "[[site]]\nname = 'a'\n");
}

#[test]
fn keys_are_set_where_they_stand() {
    let given = "\
[server] # s
workers = 2 # two
central_store.folder = 'c'

[[site]]
name = 'a'
limits.requests_max = 9   # nine
proxy = 'http://a:1'
error_pages = { 404 = '4' }

[site.rate_limit] # r
# so many
requests = 5

[[site.applications]]
path = '/b'
root = 'b'
";
    let is = |changes: &[Change], old: &str, new: &str| {
        check(given, changes, &given.replacen(old, new, 1));
    };
    is(&[set("server", "workers", "3")], "workers = 2 #", "workers = 3 #");
    is(&[set("server", "workers", "2")], "", "");
    is(&[unset("server", "workers")], "workers = 2 # two\n", "");
    is(&[set("server", "user", "'w'")], "'c'\n", "'c'\nuser = \"w\"\n");
    let file = "central_store.password_file = \"p\"\n";
    is(&[set("server", "central_store.password_file", "'p'")], "'c'\n", &format!("'c'\n{file}"));
    let table = "{ folder = 'c', password_file = 'p' }";
    is(&[set("server", "central_store", table)], "'c'\n", &format!("'c'\n{file}"));
    is(&[unset("server", "central_store")], "central_store.folder = 'c'\n", "");
    is(&[unset("site a", "limits.requests_max")], "limits.requests_max = 9   # nine\n", "");
    is(
        &[set("site a", "limits.bytes_per_second_max", "7")],
        "# nine\n",
        "# nine\nlimits.bytes_per_second_max = 7\n",
    );
    let proxy = "proxy = { to = \"http://a:1\", http2 = true }";
    is(&[set("site a", "proxy.http2", "true")], "proxy = 'http://a:1'", proxy);
    is(&[unset("site a", "proxy.http2")], "", "");
    is(&[set("site a", "proxy", "'http://b:1'")], "'http://a:1'", "\"http://b:1\"");
    let pages = "{ 404 = '4', 503 = \"5\" }";
    is(&[set("site a", "error_pages.503", "'5'")], "{ 404 = '4' }", pages);
    is(&[set("site a", "error_pages", "{ 503 = '5' }")], "{ 404 = '4' }", "{ 503 = \"5\" }");
    is(&[unset("site a", "error_pages.404")], "error_pages = { 404 = '4' }\n", "");
    is(&[set("site a", "rate_limit.burst", "8")], "requests = 5\n", "requests = 5\nburst = 8\n");
    is(&[set("site a", "rate_limit", "{ requests = 6 }")], "requests = 5", "requests = 6");
    is(&[unset("site a", "rate_limit")], "\n[site.rate_limit] # r\n# so many\nrequests = 5\n", "");
    is(&[set("site a", "listing", "true")], "{ 404 = '4' }\n", "{ 404 = '4' }\nlisting = true\n");
    is(&[set("site a", "name", "'A'")], "name = 'a'", "name = \"A\"");
    is(&[set("app a /b", "root", "'c'")], "root = 'b'", "root = \"c\"");
    is(&[set("app a /b", "path", "'/c'")], "'/b'", "\"/c\"");
    let off = "root = 'b'\nrate_limit = false\n";
    is(&[set("app a /b", "rate_limit", "false")], "root = 'b'\n", off);
    is(&[remove("app a /b")], "\n[[site.applications]]\npath = '/b'\nroot = 'b'\n", "");
    let both = [unset("site a", "rate_limit"), set("site a", "rate_limit", "false")];
    let expected = given
        .replacen("\n[site.rate_limit] # r\n# so many\nrequests = 5\n", "", 1)
        .replacen("'4' }\n", "'4' }\nrate_limit = false\n", 1);
    check(given, &both, &expected);
    check(given, &both[1..], &expected);
}

#[test]
fn a_table_that_needs_a_header_gets_one() {
    let given = "version = 1\n\n# c\n[server.central_store]\nfolder = 'c'\n";
    let expected =
        "version = 1\n\n[server]\nworkers = 2\n\n# c\n[server.central_store]\nfolder = 'c'\n";
    check(given, &[set("server", "workers", "2")], expected);
    let given = "version = 1\n\n[[site]]\nname = 'a'\n";
    let expected = "version = 1\n\n[server]\nworkers = 2\n\n[[site]]\nname = 'a'\n";
    check(given, &[set("server", "workers", "2")], expected);
    check(expected, &[unset("server", "workers")], given);
    let apart = "[server.central_store]\nfolder = 'c'\n[[site]]\nname = 'a'\n[server]\n[[site]]\nname = 'b'\n";
    let expected = apart.replace("[server]\n", "[server]\nworkers = 2\n");
    check(apart, &[set("server", "workers", "2")], &expected);
    let between = "[[site]]\nname = 'a'\n[server]\n[[site.bindings]]\non = 'http/*:80:b'\n";
    let expected = format!("{between}[[site.bindings]]\non = \"http/*:80:c\"\n");
    check(between, &[add("binding a http/*:80:c", "")], &expected);
    check(between, &[remove("site a")], "[server]\n");
    let long = "{ to = 'http://a.example.com:9000', balance = 'least-connections', sticky = 'address', http2 = true }";
    let expected = "[[site]]\nname = 'a'\n\n[site.proxy]\nto = \"http://a.example.com:9000\"\n\
                    balance = \"least-connections\"\nhttp2 = true\nsticky = \"address\"\n";
    check("[[site]]\nname = 'a'\n", &[set("site a", "proxy", long)], expected);
    check(expected, &[unset("site a", "proxy")], "[[site]]\nname = 'a'\n");
}

#[test]
fn lists_change_by_what_differs_in_them() {
    let site = |list: &str| format!("[[site]]\nname = 'a'\naccess = {list} # c\n");
    let is = |before: &str, value: &str, after: &str| {
        check(&site(before), &[set("site a", "access", value)], &site(after));
    };
    is("['a', 'b']", "['a', 'b', 'c']", "['a', 'b', \"c\"]");
    is("['b', 'c']", "['a', 'b', 'c']", "[\"a\", 'b', 'c']");
    is("[\n  'b', # b\n  'c',\n]", "['b', 'a', 'c']", "[\n  'b', # b\n  \"a\",\n  'c',\n]");
    is("[\n  'b', # b\n  'c', # c\n]", "['c']", "[\n  'c', # c\n]");
    is("['b', 'c']", "[]", "[]");
    is("[]", "['b']", "[\"b\"]");
    is("['b', 'c', 'd']", "['x', 'd']", "[\"x\", 'd']");
    let rules = "[{ path = '/a', to = '/b' }, { path = '/c', to = '/d' }]";
    let new = "[{ path = '/a', to = '/b' }, { path = '/c', to = '/e', status = 302 }]";
    let expected = "[{ path = '/a', to = '/b' }, { path = '/c', to = \"/e\", status = 302 }]";
    is(rules, new, expected);
    let tables = "[[site]]\nname = 'a'\n\n# b\n[[site.redirects]]\npath = '/b' # b\nto = '/c'\n\n[[site.redirects]]\npath = '/d'\nto = '/e'\n";
    let expected =
        "[[site]]\nname = 'a'\n\n# b\n[[site.redirects]]\npath = '/b' # b\nto = \"/x\"\n";
    check(tables, &[set("site a", "redirects", "[{ path = '/b', to = '/x' }]")], expected);
}

#[test]
fn what_cannot_be_done_is_said() {
    let refused = |text: &str, change: Change, expected: &str| {
        let error = apply(text, &[change]).unwrap_err();
        assert_eq!(error.to_string(), expected);
    };
    refused(TWO, add("site SHOP", ""), "there is site \"SHOP\" already");
    refused(TWO, remove("site x"), "there is no site \"x\"");
    refused(TWO, add("binding x http/*:80:", ""), "there is no site \"x\"");
    refused(TWO, set("certificate x", "file", "''"), "there is no certificate \"x\"");
    let on = "http/*:80:shop.example.com";
    let expected = format!("there is binding {on} of site \"Shop\" already");
    refused(TWO, add(&format!("binding Shop {on}"), ""), &expected);
    refused(
        TWO,
        set("binding Shop https/*:443:shop.example.com", "on", &format!("'{on}'")),
        &expected,
    );
    refused(TWO, set("site blog", "name", "'SHOP'"), "there is site \"SHOP\" already");
    refused(
        TWO,
        unset("site blog", "name"),
        "site \"blog\": name must be a text: it says what this is",
    );
    refused(TWO, set("site blog", "root.x", "1"), "site \"blog\": root is no table");
    refused(TWO, set("site blog", "a b", "1"), "site \"blog\": \"a b\" is no key");
    refused(TWO, remove("server"), "server: it is always there; take its keys out");
    refused(
        TWO,
        add("site n", "name = 'm'"),
        "site \"n\": name says something else than what is added",
    );
    refused("[site]\nname = 'a'\n", add("site b", ""), "site \"b\": site is no array of tables");
    refused("site = 1\n", add("site b", ""), "site \"b\": site is no array");
    refused("server = 1\n", set("server", "user", "'w'"), "server: server is no table");
    let wrong = "[[site]]\nname = 'a'\nbindings = 'http/*:80:'\n";
    refused(
        wrong,
        add("binding a http/*:80:", ""),
        "binding http/*:80: of site \"a\": bindings is no array",
    );
    let error = apply("a = 1\nb =\n", &[]).unwrap_err();
    assert!(matches!(&error, EditError::Unreadable(why) if why.starts_with("line 2: ")), "{error}");
}
