mod actions;
mod bindings;
mod rules;
mod sites;

use std::{collections::BTreeSet, path::Path};

use proptest::prelude::*;

use super::{
    Before, Configuration, Document, Positions,
    parse::{in_parts, parse, parse_after, parse_settings, whole},
};
use crate::{
    certificate::{CertificateChoice, CertificateId, CertificateReference},
    decide::{Fallback, Order},
    problem::{Code, Problem, Severity, Span},
    site::{Files, RouteAction, SiteState},
    tls::{ClientCertificate, TlsVersion},
};

/// The text without its marks, and what they mark.
fn unmark(marked: &str) -> (String, Vec<Span>) {
    let mut text = String::new();
    let mut open = Vec::new();
    let mut spans = Vec::new();
    for letter in marked.chars() {
        match letter {
            '‹' => open.push(text.len()),
            '›' => spans.push(open.pop().unwrap()..text.len()),
            _ => text.push(letter),
        }
    }
    spans.sort_by_key(|span| (span.start, span.end));
    (text, spans)
}

/// Reads a text, in parts where it can be: then what it says whole must be the same.
fn read(text: &str) -> Document {
    let folder = Path::new("/etc/bindery");
    if let Some(in_parts) = in_parts(text, folder, None) {
        assert_eq!(shown(&in_parts), shown(&whole(text, folder)), "{text}");
    }
    parse(text, folder)
}

/// All of a document that has an order.
fn shown(document: &Document) -> String {
    let Document { configuration, positions, problems } = document;
    let Configuration { settings, listeners, table, records: _ } = configuration;
    let table = (&table.sites, &table.bindings, &table.certificates);
    // In which parts it was read is nobody's business.
    let Positions { sites, bindings, certificates, listeners: on, central_store, paths, parts: _ } =
        positions;
    let positions = (sites, bindings, certificates, on, central_store, paths);
    format!("{settings:?} {listeners:?} {table:?} {positions:?} {problems:?}")
}

/// The text has exactly the problems expected, in its order, each where `‹` and `›` stand: its
/// code, and a part of its message or help.
#[track_caller]
pub(in crate::document) fn check(marked: &str, expected: &[(&str, &str)]) -> Document {
    let first = if marked.contains("version") { "" } else { "version = 1\n" };
    let (text, spans) = unmark(&format!("{first}{marked}"));
    let document = read(&text);
    let said = document.problems.iter().map(|problem| say(&text, problem)).collect::<Vec<_>>();
    let said = said.join("\n");
    assert_eq!(document.problems.len(), expected.len(), "{said}");
    assert_eq!(spans.len(), expected.len(), "as many marks as problems");
    for ((problem, span), (code, part)) in document.problems.iter().zip(spans).zip(expected) {
        assert_eq!((problem.code.as_str(), &problem.span), (*code, &span), "{said}");
        let whole = format!("{} / {}", problem.message, problem.help);
        assert!(whole.contains(part), "{part:?} in {said}");
    }
    document
}

fn say(text: &str, problem: &Problem) -> String {
    let Problem { code, span, message, help, related, ways } = problem;
    let related: Vec<_> =
        related.iter().map(|(span, why)| format!("{:?} {why}", &text[span.clone()])).collect();
    format!("{code} {:?}: {message} / {help} / {related:?} {ways:?}", &text[span.clone()])
}

/// A site whose other lines are these.
fn site(lines: &str) -> String {
    format!("[[site]]\nname = \"a\"\nroot = \"a\"\n{lines}\n")
}

/// A site with these bindings, on plain http so that nothing else is said.
fn bound(lines: &str) -> String {
    site(&format!("bindings = [\"http/*:80:\"]\n{lines}"))
}

#[track_caller]
fn check_site(lines: &str, code: &str, part: &str) {
    check(&bound(lines), &[(code, part)]);
}

/// A certificate and a binding that uses it, with one more line.
#[track_caller]
fn check_certificate(line: &str, code: &str, part: &str) {
    let user = site("bindings = ['http/*:80:', { on = 'https/*:443:', certificate = 'c' }]");
    check(&format!("[[certificate]]\nname = 'c'\n{line}\nfile = 'c.pem'\n{user}"), &[(code, part)]);
}

#[track_caller]
fn check_binding(binding: &str, code: &str, part: &str) {
    check(&site(&format!("bindings = [{binding}]")), &[(code, part)]);
}

#[track_caller]
fn check_server(line: &str, code: &str, part: &str) {
    check(&format!("[server]\n{line}\n"), &[(code, part)]);
}

/// The example of the manual's first page.
const EXAMPLE: &str = r#"version = 1

[server]                                   # every line of this table has a default
state_dir = "/var/lib/bindery"

[[listener]]                               # only where the defaults of an address and port do not fit
on = "https/192.0.2.10:443"
no_sni = "refuse"

[[certificate]]
name = "partners-2026"
file = "certs/partners.pem"                # the chain, and the key too unless `key` names it
key = "certs/partners.key"

[[site]]
name = "shop"
root = "/srv/shop"
bindings = [
  "http/*:80:shop.example.com",
  "https/*:443:shop.example.com",          # certificate: the best one in the store
]

[[site]]
name = "partners"
root = "/srv/partners"

[[site.bindings]]
on = "https/192.0.2.10:443:partners.example.net"
certificate = "partners-2026"
tls = { minimum = "1.3", http2 = false, client_certificate = "require", client_ca = "partners-ca.pem" }

[[site]]
name = "api"
bindings = ["https/*:443:*.api.example.com"]
proxy = ["http://127.0.0.1:9000", "http://127.0.0.1:9001"]
"#;

#[test]
fn the_example_of_the_manual_is_right_and_has_no_catch_all() {
    let marked = EXAMPLE.replace("https/*:443:shop.example.com", "‹https/*:443:shop.example.com›");
    let document = check(&marked, &[("no-catch-all", "get no certificate on *:443")]);
    let table = &document.configuration.table;
    let bindings: Vec<_> =
        table.bindings.iter().map(|own| format!("{} {}", own.site, own.information)).collect();
    assert_eq!(
        bindings,
        [
            "0 http/*:80:shop.example.com",
            "0 https/*:443:shop.example.com",
            "1 https/192.0.2.10:443:partners.example.net",
            "2 https/*:443:*.api.example.com",
        ]
    );
    let partners = &table.bindings[2];
    let first = CertificateReference::Source(CertificateId(0));
    assert_eq!(partners.certificate, CertificateChoice::Listed(vec![first]));
    assert_eq!(partners.tls.minimum, TlsVersion::Tls13);
    assert_eq!(partners.tls.maximum, TlsVersion::Tls13);
    assert!(!partners.tls.http2);
    let ca = Path::new("/etc/bindery/partners-ca.pem").to_owned();
    assert_eq!(partners.tls.client_certificate, ClientCertificate::Required { ca });
    assert_eq!(table.certificates[0].files.file, Path::new("/etc/bindery/certs/partners.pem"));
    let ids: Vec<_> = table.sites.iter().map(|site| site.id.0).collect();
    assert_eq!(ids, [1, 2, 3]);
    let listener = &document.configuration.listeners[0];
    assert_eq!(listener.rules.no_sni, Fallback::Refuse);
    assert_eq!(listener.rules.unknown_name, Fallback::CatchAll);
}

#[test]
fn positions_go_with_the_lists_of_the_table() {
    let (text, _) = unmark(EXAMPLE);
    let document = read(&text);
    let positions = &document.positions;
    let at = |span: &Span| &text[span.clone()];
    let names: Vec<_> = positions.sites.iter().map(|site| at(&site.name)).collect();
    assert_eq!(names, ["shop", "partners", "api"]);
    assert_eq!(at(&positions.sites[0].action), "/srv/shop");
    assert_eq!(positions.bindings.len(), document.configuration.table.bindings.len());
    let partners = &positions.bindings[2];
    assert_eq!(at(&partners.on), "https/192.0.2.10:443:partners.example.net");
    assert_eq!(at(&partners.certificate), "partners-2026");
    assert_eq!(at(&partners.client_ca), "partners-ca.pem");
    assert_eq!(at(&positions.bindings[1].certificate), "https/*:443:shop.example.com");
    let certificate = &positions.certificates[0];
    assert_eq!(at(&certificate.name), "partners-2026");
    assert_eq!(at(&certificate.key), "certs/partners.key");
    assert_eq!(at(&certificate.password_file), "certs/partners.pem");
    assert_eq!(at(&positions.listeners[0]), "https/192.0.2.10:443");
}

#[test]
fn what_is_no_toml_is_one_problem() {
    check("[[site]]\nname = ‹›\nroot = 1", &[("syntax", "quoted")]);
    check("a = 1\n‹a› = 2", &[("syntax", "duplicate key")]);
    check("a = [\n\"x\",‹›", &[("syntax", "")]);
}

#[test]
fn a_text_that_is_too_large_is_not_read() {
    let document = read(&" ".repeat(super::DOCUMENT_BYTES_MAX + 1));
    assert_eq!(document.problems[0].code, Code::TooLarge);
}

#[test]
fn the_version_must_be_one_that_is_read() {
    check("‹›# version", &[("version", "write version = 1")]);
    check("version = ‹2›", &[("version", "in another")]);
    check("version = ‹\"1\"›", &[("version", "version = 1")]);
    check("version = 1", &[]);
    check("\u{feff}‹›# no version", &[("version", "version = 1")]);
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_are_read() {
    let text = "\u{feff}version = 1\r\n[[site]]\r\nname = \"a\"\r\n‹rot› = 'a'\r\nrespond = \"\"\"\r\nhi\"\"\"\r\nbindings = [ 'http/*:80:' ]\r\n";
    check(text, &[("unknown-key", "did you mean \"root\"?")]);
}

#[test]
fn an_unknown_key_names_the_nearest_known_one() {
    check("‹sites› = 1", &[("unknown-key", "did you mean \"site\"?")]);
    check("[‹severs›]", &[("unknown-key", "did you mean \"server\"?")]);
    check_server("‹statedir› = 1", "unknown-key", "[server]: \"statedir\" is no key");
    check_server(
        "central_store = { folder = 'x', ‹pasword_file› = 'y' }",
        "unknown-key",
        "password_file",
    );
    check_site("‹zzz› = 1", "unknown-key", "the keys here are name, id, state");
    check_site("‹\"ro ot\"› = 1", "unknown-key", "did you mean \"root\"?");
    check_binding(
        "{ on = 'http/*:80:', ‹cert› = 1 }",
        "unknown-key",
        "did you mean \"certificate\"?",
    );
    check_binding(
        "{ on = 'https/*:443:', tls.‹min› = 1 }",
        "unknown-key",
        "did you mean \"minimum\"?",
    );
    check("[[listener]]\non = 'http/*:80'\n‹nosni› = 1", &[("unknown-key", "no_sni")]);
    check_certificate("‹keyfile› = 1", "unknown-key", "key");
}

#[test]
fn a_value_of_another_type_is_marked_with_how_to_write_it() {
    check("server = ‹1›", &[("wrong-type", "server takes a table, not an integer")]);
    check(
        "‹[listener]›\non = 'http/*:80'\n‹nosni› = 1\n[[site]]\nname = 'a'\nroot = 'a'\nbindings = ['http/*:80:']",
        &[
            (
                "wrong-type",
                "listener takes an array of tables, not a table / write the header as [[listener]]",
            ),
            ("unknown-key", "no_sni"),
        ],
    );
    check_server("state_dir = ‹1›", "wrong-type", "put it in quotes: state_dir = \"1\"");
    check_server("admin = ‹9180›", "wrong-type", "write it as admin = \"127.0.0.1:9180\"");
    check_site("rate_limit = ‹10›", "wrong-type", "write it as rate_limit = { requests = 10");
    check_site("basic_auth = ‹'users'›", "wrong-type", "basic_auth = { file = \"htpasswd\" }");
    check_server("workers = ‹\"4\"›", "wrong-type", "without quotes: workers = 4");
    check_site(
        "https_redirect = ‹'false'›",
        "wrong-type",
        "without quotes: https_redirect = false",
    );
    check_site(
        "default_documents = ‹'a.html'›",
        "wrong-type",
        "in brackets: default_documents = [\"a.html\"]",
    );
    check_site("default_documents = ['a.html', ‹2026-01-01›]", "wrong-type", "not a date or time");
    check_binding(
        "{ on = 'https/*:443:', tls = { minimum = ‹1.3› } }",
        "wrong-type",
        "put it in quotes: minimum = \"1.3\"",
    );
    check_binding("‹80›", "wrong-type", "bindings takes a table");
    check_certificate(
        "key = ‹[]›",
        "wrong-type",
        "certificate \"c\": key takes a string, not an array",
    );
    check(
        &site("bindings = ‹'http/*:80:‹x y›'›"),
        &[("wrong-type", "in brackets: bindings = [\"http/*:80:x y\"]"), ("bad-host", "x y")],
    );
}

#[test]
fn the_server_takes_what_stands_in_its_bounds() {
    check_server("workers = ‹0›", "bad-value", "from 1 to 1024, not 0");
    check_server("workers = ‹1025›", "bad-value", "from 1 to 1024");
    check_server("drain_seconds = ‹-1›", "bad-value", "from 0 to 3600");
    check_server("drain_seconds = ‹3601›", "bad-value", "from 0 to 3600");
    check_server("order = '‹httpsys›'", "bad-value", "did you mean \"http.sys\"?");
    check_server("order = '‹alphabet›'", "bad-value", "\"host-first\" or \"http.sys\"");
    check_server("state_dir = ‹''›", "bad-value", "state_dir is empty");
    check_server("user = '‹a:b›'", "bad-value", "no name of a user");
    check_server("central_store = ‹{}›", "missing-key", "central_store: folder is missing");
    check_server("central_store = { folder = ‹\"a\\u0000\"› }", "bad-value", "control character");
    check_server("central_store = ‹'central'›", "wrong-type", "takes a table");
    let document = check(
        "[server]\nworkers = 2\norder = 'http.sys'\nuser = 'web'\ndrain_seconds = 0\nstate_dir = 's'\n\
         [server.central_store]\nfolder = '/c'\npassword_file = 'p'",
        &[],
    );
    let settings = document.configuration.settings;
    assert_eq!((settings.workers, settings.order), (Some(2), Order::HttpSys));
    assert_eq!((settings.user.as_deref(), settings.drain_seconds), (Some("web"), 0));
    assert_eq!(settings.state_dir.as_deref(), Some(Path::new("/etc/bindery/s")));
    let store = settings.central_store.unwrap();
    assert_eq!(store.folder, Path::new("/c"));
    assert_eq!(store.password_file.as_deref(), Some(Path::new("/etc/bindery/p")));
}

#[test]
fn a_listener_needs_bindings_of_its_protocol() {
    let check = |listener: &str, code, part| {
        let text =
            format!("[[listener]]\n{listener}\n{}", bound("")).replace("*:80", "192.0.2.1:80");
        check(&text, &[(code, part)]);
    };
    check("on = '‹http/192.0.2.1:8080›'", "idle-listener", "no binding uses http/192.0.2.1:8080");
    check("on = '‹http/192.0.2.2:80›'", "idle-listener", "");
    check("on = '‹https/*:443›'", "idle-listener", "");
    check(
        "on = 'http/192.0.2.1:80'\n‹no_sni› = 'refuse'",
        "tls-without-https",
        "no_sni means nothing",
    );
    check(
        "on = 'http/192.0.2.1:80'\nunknown_name = '‹no›'",
        "bad-value",
        "\"catch-all\" or \"refuse\"",
    );
    check(
        "on = 'http/192.0.2.1:80'\n[[listener]]\non = '‹http/192.0.2.1:80›'",
        "duplicate-listener",
        "twice",
    );
    check("on = 'http/‹host›:80'", "bad-binding", "host");
    check("on = '‹http›'", "bad-binding", "write protocol/address:port, as in");
}

#[test]
fn a_listener_that_says_another_protocol_is_marked_with_the_binding() {
    let text = format!("[[listener]]\non = '‹https/192.0.2.1:80›'\n{}", bound(""));
    let document = check(
        &text,
        &[("mixed-protocols", "says https for 192.0.2.1:80, where bindings need http")],
    );
    assert!(document.problems[0].related[0].1.contains("http/*:80: of site \"a\""));
}

#[test]
fn everything_wrong_is_found_in_one_pass() {
    let text = r#"
version = 2
sites = 1
[server]
workers = "4"
drain_seconds = 9999
[[listener]]
on = "https/*:80"
[[listener]]
on = "https/*:9999"
[[listener]]
on = "https/*:9999"
[[certificate]]
name = "c"
file = "c.pfx"
key = "c.key"
[[certificate]]
name = "C"
file = "c.pem"
[[site]]
name = "a"
bindings = [
  "http/*:80:", "http/*:80:", "ftp/*:21:", "https/*:443:a b", "https/*:443:x*.a", "https/*:80:",
  { on = "http/*:81:", certificate = "c" }, { on = "https/*:443:", certificate = "d" },
  { on = "https/*:444:", certificate = "central" },
]
[[site]]
name = "A"
root = "x"
respond = "y"
proxy = []
basic_auth.file = "x/passwords"
access = ["deny all", "allow 10.0.0.1/8"]
redirects = [{ regex = "(", to = "/" }]
applications = [
  { path = "/a", root = "." }, { path = "/a", root = "." }, { path = "/A", root = "." },
]
bindings = [{ on = "https/*:445:", certificate = "acme" }]
[[site]]
name = "b"
respond = ""
"#;
    let found: BTreeSet<_> = read(text).problems.iter().map(|problem| problem.code).collect();
    let mut wanted: BTreeSet<_> = Code::ALL.iter().copied().collect();
    for code in Code::ALL {
        // A text that is not read has no other problem, a review needs a text without errors, and
        // what files hold is known where files are read.
        let elsewhere = [
            Code::Syntax,
            Code::TooLarge,
            Code::IdleListener,
            Code::UnusedCertificate,
            Code::Unreachable,
            Code::OrderDiffers,
            Code::NoCatchAll,
            // Only what IIS wrote has these.
            Code::NotSupportedHere,
            Code::UnmappedPath,
            Code::SharedRecord,
            Code::BadSslFlags,
            Code::LockedSection,
            Code::BadWebConfig,
            Code::NotEnforced,
        ];
        if elsewhere.contains(code) || *code >= Code::UnreadableFile {
            wanted.remove(code);
        }
    }
    assert_eq!(found, wanted);
}

#[test]
fn the_manual_has_every_code() {
    let page = include_str!("../../../../docs/configuration.md");
    for code in Code::ALL {
        let line = format!("| `{code}` | {} |", code.severity());
        assert!(page.contains(&line), "docs/configuration.md has no line that begins with {line}");
    }
}

#[test]
fn what_the_manual_shows_has_no_problem_but_the_catch_all_that_it_explains() {
    let page = include_str!("../../../../docs/configuration.md");
    let examples: Vec<_> =
        page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!examples.is_empty());
    for example in examples {
        let codes: Vec<_> = read(example).problems.iter().map(|problem| problem.code).collect();
        assert_eq!(codes, [Code::NoCatchAll], "{example}");
    }
}

/// What documents are made of, so that what is made of it comes far.
const PIECES: [&str; 66] = [
    "\n",
    "version = 1\n",
    "[[site]]\n",
    "[server]\n",
    "[[listener]]\n",
    "[[certificate]]\n",
    "[[site.bindings]]\n",
    "name = ",
    "on = ",
    "'shop'",
    "\"a\\u0041\"",
    "'c'",
    "root = 'r'\n",
    "bindings = [",
    "]\n",
    "'https/*:443:'",
    "'https/192.0.2.1:443:a'",
    "\"http/*:80:bü\"",
    ", ",
    "{ on = 'https/*:443:*.b', certificate = 'central' }",
    "certificate = ['c', 'best']\n",
    "tls = { minimum = '1.3', maximum = '1.2' }\n",
    "redirect = ",
    "'https://é:1/'",
    "respond = ",
    "{ status = 204, body = '''\nx''' }\n",
    "central_store.folder = 'x'\n",
    "order = 'http.sys'\n",
    "no_sni = 'refuse'\n",
    "unknown_name = 'refuse'\n",
    "file = 'c.pfx'\n",
    "id = 1\n",
    "= ",
    "\"",
    "1",
    "true",
    "[[",
    "\r\n",
    "\u{feff}",
    "proxy = []\n",
    "proxy = ['http://a/b', 'unix:x', { to = 'https://é@c?d', weight = 0, backup = true }]\n",
    "[site.proxy]\n",
    "to = 'https://[::1]:1/ü'\n",
    "host = 'kep'\n",
    "sticky = { cookie = '\\u0000' }\n",
    "tls = { insecure = true, ca = 'é', server_name = '*' }\n",
    "health_check = { path = '#', rise = -1 }\n",
    "fastcgi = 'unix:é'\n",
    "fastcgi = { to = '[', extensions = ['é.'], parameters = { 'é' = '' } }\n",
    "[[site.applications]]\n",
    "[[site.virtual_directories]]\n",
    "path = '/é%zz%41/../'\n",
    "path = \"/\\u00e9%zz%41/../\"\n",
    "access = ['allow é/8', 'deny 10.0.0.1/999', 'deny all', 'é all']\n",
    "redirects = [{ regex = 'é(\\p{é}', to = '/é$1' }, { prefix = '/', to = '/${é' }]\n",
    "rewrites = [{ regex = '(é)', to = '/$é$', unless_file = 1 }, { suffix = '', to = '?' }]\n",
    "cors = { origins = ['é://é/é', '*'], methods = ['é'], credentials = true }\n",
    "response_headers = { set = { 'é' = 'é' }, add = { A = [1] }, remove = ['é'] }\n",
    "hsts = { preload = true }\n",
    "compress = { types = ['é/*'] }\n",
    "error_pages = { 404 = '', 'é' = 'x', 500 = 1 }\n",
    "media_types = { 'é' = 'é', '.é' = 'a/b' }\n",
    "cache_control = [{ path = 'é', value = 'é' }]\n",
    "access_log = { folder = '', roll = 'é' }\n",
    "admin = '[::1]'\n",
    "trusted_proxies = ['é', '::ffff:1.2.3.4/100']\n",
];

fn assert_spans_stand(text: &str) {
    let document = read(text);
    let mut before = (0, 0);
    for problem in &document.problems {
        let spans =
            std::iter::once(&problem.span).chain(problem.related.iter().map(|(span, _)| span));
        for span in spans {
            assert!(text.get(span.clone()).is_some(), "{span:?} of {problem:?}");
        }
        let place = (problem.span.start, problem.span.end);
        assert!(before <= place, "out of order: {problem:?}");
        before = place;
        assert!(!problem.message.is_empty() && !problem.message.ends_with('.'), "{problem:?}");
    }
    let Document { configuration, positions, .. } = &document;
    assert_eq!(configuration.table.sites.len(), positions.sites.len());
    assert_eq!(configuration.table.bindings.len(), positions.bindings.len());
    assert_eq!(configuration.table.certificates.len(), positions.certificates.len());
    assert_eq!(configuration.listeners.len(), positions.listeners.len());
}

proptest! {
    #[test]
    fn any_text_gives_problems_that_stand_in_it(text in "\\PC{0,200}|[\\x00-\\x7fé€]{0,100}") {
        assert_spans_stand(&text);
    }

    #[test]
    fn any_row_of_pieces_gives_problems_that_stand_in_it(
        pieces in proptest::collection::vec(proptest::sample::select(&PIECES[..]), 0..40),
    ) {
        assert_spans_stand(&pieces.concat());
    }

    #[test]
    fn a_document_with_a_part_replaced_gives_problems_that_stand_in_it(
        (start, length) in (0..EXAMPLE.len(), 0..40_usize),
        piece in proptest::sample::select(&PIECES[..]),
    ) {
        let (mut text, _) = unmark(EXAMPLE);
        let boundary = |place: usize| (place.min(text.len())..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap();
        let part = boundary(start)..boundary(start + length);
        text.replace_range(part, piece);
        assert_spans_stand(&text);
    }

    #[test]
    fn what_is_taken_over_from_another_text_is_as_if_it_were_read(
        before in proptest::collection::vec(proptest::sample::select(&SITES[..]), 0..7),
        (from, count) in (0..7_usize, 0..4_usize),
        with in proptest::collection::vec(proptest::sample::select(&SITES[..]), 0..4),
        (then, now) in (proptest::sample::select(&HEADS[..]), proptest::sample::select(&HEADS[..])),
    ) {
        // Most texts follow on one that is nearly the same.
        let mut after = before.clone();
        let from = from.min(after.len());
        let to = (from + count).min(after.len());
        after.splice(from..to, with);
        let (before, after) = (then.to_owned() + &before.concat(), now.to_owned() + &after.concat());
        let folder = Path::new("/etc/bindery");
        let Document { configuration, positions, problems } = parse(&before, folder);
        let known = Before {
            text: &before,
            folder,
            configuration: &configuration,
            positions: &positions,
            problems: &problems,
        };
        let read = parse_after(&after, folder, known);
        prop_assert_eq!(shown(&read), shown(&parse(&after, folder)), "{} after {}", after, before);
    }
}

/// What may stand above sites.
const HEADS: [&str; 5] = [
    "version = 1\n",
    "version = 1\n",
    "version = 1\n[server]\naccess_log = \"log\"\n",
    "version = 1\n[server]\ncentral_store = \"central\"\n[[certificate]]\nname = \"c\"\nfile = \"c.pem\"\n",
    "version = 1\n[[certificate]]\nname = \"b\"\nfile = \"b\"\n[[certificate]]\nname = \"c\"\nfile = \"c\"\n",
];

/// Sites: plain, with numbers, with warnings, with errors; and certificates between them.
const SITES: [&str; 23] = [
    "[[site]]\nname = \"a\"\nroot = \"a\"\nbindings = [\"http/*:80:a.example\"]\n",
    "[[site]]\nname = \"b\"\nroot = \"b\"\nbindings = [\"http/*:80:b.example\"]\n\n# of the next\n",
    "[[site]]\nname = \"c\"\nid = 2\nrespond = \"é\"\nbindings = [\"http/*:80:c.example\"]\n",
    "[[site]]\nname = \"d\"\nid = 7\nrespond = \"d\"\nbindings = [\"http/*:80:d.example\"]\n",
    "[[site]]\nname = \"A\"\nid = 7\nrespond = \"\"\nbindings = [\"http/10.0.0.1:80:\"]\n",
    "[[site]]\nname = \"e\"\nroot = \"e\"\nhsts = true\nbindings = [\"http/*:80:e.example\"]\n",
    "[[site]]\nname = \"f\"\nroot = \"f\"\n",
    "[[site]]\nname = \"g\"\nroot = \"g\"\naccess_log = true\nbindings = [\"http/*:80:g.example\"]\n",
    "[[site]]\nname = \"h\"\nroot = \"h\"\nbindings = [{ on = \"https/*:443:h.example\", certificate = \"c\" }]\n",
    "[[site]]\nname = \"i\"\nroot = \"i\"\nbindings = [{ on = \"https/*:443:\", certificate = \"central\" }]\n",
    "[[site]]\nname = \"j\"\nbindings = [\"http/*:80:a.example\"]\n[site.proxy]\nservers = [\"http://127.0.0.1:1\"]\n[[site.applications]]\npath = \"/x\"\nroot = \"x\"\nbasic_auth = { file = \"p\" }\n",
    "[[site]]\nname = \"k\"\ncolour = \"red\"\nroot = \"k\"\n",
    "[server]\nworkers = 2\n",
    "[[certificate]]\nname = \"n\"\nfile = \"n.pem\"\n",
    "[[certificate]]\nname = \"0123456789abcdef0123456789abcdef01234567\"\nfile = \"hash.pem\"\n",
    "[[site]]\nname = \"m\"\nroot = \"m\"\nbindings = [{ on = \"https/*:443:m.example\", certificate = \"0123456789abcdef0123456789abcdef01234567\" }]\n",
    "[[site]]\nname = \"n\"\nroot = \"n\"\nbindings = [{ on = \"https/*:443:n.example\", certificate = [\"n\", \"0123456789abcdef0123456789abcdef01234567\"] }]\n",
    "[[site]]\nname = \"l\"\nroot = \".\"\nbindings = [\"https/*:443:l.example\", \"https/*:443:\"]\n",
    // What changes where a part ends, or whether it does.
    "  [[site]]\nname = \"o\"\nrespond = \"o\"\nbindings = [\"http/*:80:o.example\"]\n  ",
    "[[site]]\nname = \"p\"\nrespond = \"p\"\nbindings = [\"http/*:80:p.example\"]",
    "[site.hsts]\nmax_age = 1\n",
    "https_redirect = false\n",
    "\n# by itself\n\n",
];

#[test]
fn of_a_text_that_is_no_toml_the_settings_before_the_error_hold() {
    let head = "version = 1\n[server]\nstate_dir = '/s'\n";
    for rest in [
        "",
        "x = ",
        "[[site",
        "[[site]]\nname = 'a'\nbindings = [\n'http/*:80:',\n'http/*:81:'\n\n[[site]]\nname = 'b'\n",
        "[[site]]\nname = 'a\n",
        "[[site]]\nname = 'ä'\nrespond = \"\"\"\nx\ny\n",
        "[server]\n",
    ] {
        let settings = parse_settings(&format!("{head}{rest}"), Path::new("/etc"));
        assert_eq!(settings.state_dir.as_deref(), Some(Path::new("/s")), "{rest:?}");
    }
    let settings = parse_settings("[server\nstate_dir = '/s'\n", Path::new("/etc"));
    assert_eq!(settings.state_dir, None);
}
