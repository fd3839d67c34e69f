//! `bindery explain`: every rule as the winner, everybody who is refused, and what is printed.

use std::fs;

use bindery_testkit::ca::{KeyAlgorithm, LeafOptions, TestCa, Validity};

use crate::program::Folder;

/// Every rule has a binding for `shop.example.com` at 192.0.2.10, best first.
const ALL: &str = r#"
[server]
central_store = { folder = "central" }

[[certificate]]
name = "shop"
file = "shop.pem"

[[site]]
name = "s1"
respond = "1"
bindings = ["https/192.0.2.10:443:shop.example.com"]

[[site]]
name = "s2"
respond = "2"
bindings = ["https/*:443:shop.example.com"]

[[site]]
name = "s3"
respond = "3"
bindings = ["https/192.0.2.10:443:*.example.com"]

[[site]]
name = "s4"
respond = "4"
bindings = ["https/*:443:*.example.com"]

[[site]]
name = "s5"
respond = "5"
bindings = [{ on = "https/*:443:", certificate = "central" }]

[[site]]
name = "s6"
respond = "6"
bindings = [{ on = "https/192.0.2.10:443:", certificate = "shop" }]

[[site]]
name = "s7"
respond = "7"
bindings = [{ on = "https/*:443:", certificate = "shop" }]
"#;

fn all() -> Folder {
    let folder = Folder::new(ALL);
    folder.certificate("shop", &["shop.example.com", "*.example.com"]);
    fs::create_dir(folder.path().join("central")).unwrap();
    let leaf = folder.ca.leaf(&["shop.example.com"]);
    drop(leaf.write(&folder.path().join("central"), "shop.example.com"));
    folder
}

const URL: &str = "https://shop.example.com --ip 192.0.2.10";

#[test]
fn each_rule_wins_where_those_before_it_are_gone() {
    let folder = all();
    let mut config = ALL.to_owned();
    for rule in 1..=7 {
        let told = folder.run(&format!("explain {URL} --json")).json();
        let winner = &told["decide"]["winner"];
        assert_eq!(winner["rule"], rule, "{winner}");
        assert_eq!(winner["site"], format!("s{rule}"));
        assert_eq!(told["answered"], true);
        assert!(told["certificate"]["shown"]["thumbprint"].is_string());
        // Without the site of this rule the next one is asked.
        let start = config.find(&format!("[[site]]\nname = \"s{rule}\"")).unwrap();
        let end = config[start + 1..].find("[[site]]").map_or(config.len(), |at| start + 1 + at);
        config.replace_range(start..end, "");
        folder.configure(&config);
    }
    let done = folder.run(&format!("explain {URL}"));
    done.check(1, &["nothing listens there: the connection is refused", "No site answers."]);
}

#[test]
fn every_key_is_printed_with_what_it_came_to() {
    let done = all().run(&format!("explain {URL}"));
    let expected = "\
4  decide       https/192.0.2.10:443:shop.example.com of site s1
  > 1  192.0.2.10:443:shop.example.com  site s1: exact name on this address
    2  *:443:shop.example.com           site s2, lost to 1
    3  192.0.2.10:443:*.example.com     site s3, lost to 1
    4  *:443:*.example.com              site s4, lost to 1
    5  192.0.2.10:443:(central store)   no binding uses the store
    5  *:443:(central store)            site s5, lost to 1
    6  192.0.2.10:443:                  site s6, lost to 1
    7  *:443:                           site s7, lost to 1
";
    done.check(
        0,
        &[
            "1  resolve      shop.example.com is taken to be 192.0.2.10, by --ip\n",
            "2  connect      192.0.2.10:443, taken by socket *:443 (https)\n",
            "3  hello        server name shop.example.com\n",
            expected,
            "5  certificate  shop, in shop.pem\n",
            "why: the only one that covers shop.example.com\n",
            "6  policy       TLS 1.2 to 1.3; h2 or http/1.1; no client certificate; tickets\n",
            "7  handshake    at best TLS 1.3, X25519MLKEM768, ECDSA P-256\n",
            "8  request      Host shop.example.com: the same binding, site s1\n",
            "9  answer       always 200, 1 byte of text/plain; charset=utf-8\n",
            "A client without SNI would get: https/192.0.2.10:443: of site s6 (rule 6),\n",
            "HTTP.SYS's order would give: https/192.0.2.10:443: of site s6 (rule 6), because",
        ],
    );
}

#[test]
fn another_order_can_be_asked_for() {
    let told = all().run(&format!("explain {URL} --as http.sys --json")).json();
    assert_eq!(told["order"], "http.sys");
    assert_eq!(told["decide"]["winner"]["rule"], 6);
    assert_eq!(told["other_order"]["order"], "host-first");
    assert_eq!(told["other_order"]["same"], false);
    assert_eq!(told["other_order"]["winner"]["rule"], 1);
}

#[test]
fn a_client_without_a_name_gets_a_catch_all_and_needs_no_url() {
    let folder = all();
    for words in [
        "explain --no-sni --ip 192.0.2.10",
        "explain --ip 192.0.2.10",
        "explain https://192.0.2.10/",
        "explain https://shop.example.com --no-sni --ip 192.0.2.10",
    ] {
        let told = folder.run(&format!("{words} --json")).json();
        assert_eq!(told["decide"]["keys"].as_array().unwrap().len(), 2, "{words}");
        assert_eq!(told["decide"]["winner"]["rule"], 6, "{words}");
        assert!(told["without_sni"].is_null(), "{words}");
    }
    folder.run("explain https://192.0.2.10/").check(
        0,
        &[
            "3  hello        no server name: an address is no server name (RFC 6066, 3)\n",
            "! it does not cover 192.0.2.10, but shop.example.com, *.example.com: browsers\n",
        ],
    );
    folder
        .run("explain --sni other.example.com --ip 192.0.2.1")
        .check(0, &["> 4  *:443:*.example.com"]);
}

#[test]
fn a_name_that_nobody_holds_gets_an_alert_and_exit_code_1() {
    let folder = Folder::new(
        "[[certificate]]\nname = 'a'\nfile = 'a.pem'\n\
         [[site]]\nname = 'a'\nrespond = ''\nbindings = ['https/*:443:a.example']\n",
    );
    folder.certificate("a", &["a.example"]);
    let done = folder.run("explain https://b.example --ip 127.0.0.1");
    done.check(
        1,
        &[
            "4  decide       nobody\n",
            "5  certificate  none: nobody answers\n",
            "7  handshake    alert unrecognized_name\n",
            "! no binding answers for b.example\n",
            "No site answers.\n",
            "A client without SNI would get: alert unrecognized_name: no binding without a\n",
        ],
    );
    assert_eq!(folder.run("explain https://a.example --ip 127.0.0.1").code, 0);
}

#[test]
fn a_listener_that_refuses_is_named() {
    let folder = Folder::new(
        "[[listener]]\non = 'https/*:443'\nno_sni = 'refuse'\nunknown_name = 'refuse'\n\
         [[certificate]]\nname = 'a'\nfile = 'a.pem'\n\
         [[site]]\nname = 'a'\nrespond = ''\n\
         bindings = ['https/*:443:a.example', { on = 'https/*:443:', certificate = 'a' }]\n",
    );
    folder.certificate("a", &["a.example"]);
    folder.run("explain https://a.example --ip 127.0.0.1 --no-sni").check(
        1,
        &[
            "    7  *:443:          site a, refused by the listener\n",
            "! refused by listener https/*:443: no_sni = \"refuse\"\n",
        ],
    );
    folder
        .run("explain https://b.example --ip 127.0.0.1")
        .check(1, &["! refused by listener https/*:443: unknown_name = \"refuse\"\n"]);
    folder.run("explain https://a.example --ip 127.0.0.1").check(
        0,
        &["A client without SNI would get: alert unrecognized_name: refused by listener\n"],
    );
}

#[test]
fn what_is_wrong_with_a_certificate_is_said() {
    let folder = Folder::new(
        "[[certificate]]\nname = 'gone'\nfile = 'gone.pem'\n\
         [[certificate]]\nname = 'old'\nfile = 'old.pem'\n\
         [[certificate]]\nname = 'self'\nfile = 'self.pem'\n\
         [[site]]\nname = 'a'\nrespond = ''\nbindings = [\n\
         { on = 'https/*:443:gone.example', certificate = 'gone' },\n\
         { on = 'https/*:443:old.example', certificate = 'old' },\n\
         { on = 'https/*:443:self.example', certificate = 'self' },\n\
         'https/*:443:none.example']\n",
    );
    let expired = LeafOptions { validity: Validity::Expired, ..LeafOptions::default() };
    drop(folder.ca.leaf_with(&["old.example"], expired).write(folder.path(), "old"));
    drop(TestCa::self_signed(&["other.example"]).write(folder.path(), "self"));
    let ask = |name: &str| folder.run(&format!("explain https://{name}.example --ip 127.0.0.1"));
    ask("gone").check(
        1,
        &[
            "5  certificate  none that can be shown\n",
            "gone.pem could not be read: No such file or",
            "7  handshake    alert internal_error\n",
        ],
    );
    ask("none").check(1, &["! no certificate of the configuration covers none.example\n"]);
    ask("old").check(0, &["why: named by the binding\n", "! it expired on 2020-01-01,"]);
    ask("self").check(
        0,
        &[
            "! it does not cover self.example, but other.example: browsers refuse it\n",
            "! it signed itself: clients must be told to trust it\n",
        ],
    );
}

#[test]
fn the_central_store_answers_with_the_file_of_the_name_or_of_its_wildcard() {
    let folder = Folder::new(
        "[server]\ncentral_store = { folder = 'central' }\n\
         [[site]]\nname = 'a'\nrespond = ''\n\
         bindings = [{ on = 'https/*:443:', certificate = 'central' }]\n",
    );
    let ask = |name: &str| folder.run(&format!("explain https://{name} --ip 127.0.0.1"));
    ask("a.example").check(1, &["! the central store /", "cannot be read: No such file"]);
    let central = folder.path().join("central");
    fs::create_dir(&central).unwrap();
    drop(folder.ca.leaf(&["a.example"]).write(&central, "a.example"));
    drop(folder.ca.leaf(&["*.b.example"]).write(&central, "_.b.example"));
    ask("a.example").check(
        0,
        &[
            "> 5  *:443:(central store)          site a: central store of this port",
            "5  certificate  central/a.example.pem\n",
            "why: the file that the central store has for the name\n",
        ],
    );
    ask("x.b.example").check(0, &["why: the file that the central store has for *.b.example\n"]);
    ask("c.example").check(
        1,
        &["site a uses the store, which has no file for c.example", "alert unrecognized_name"],
    );
}

#[test]
fn policy_and_second_certificate_are_told() {
    let folder = Folder::new(
        "[[certificate]]\nname = 'ec'\nfile = 'ec.pem'\n\
         [[certificate]]\nname = 'rsa'\nfile = 'rsa.pem'\n\
         [[site]]\nname = 'a'\nrespond = ''\nbindings = [\n\
         { on = 'https/*:443:a.example', certificate = ['ec', 'rsa'], tls = { maximum = '1.2' } },\n\
         { on = 'https/*:443:m.example', certificate = 'ec', tls = { minimum = '1.3', http2 = false,\n\
           client_certificate = 'require', client_ca = 'ca.pem' } },\n\
         { on = 'https/*:443:n.example', certificate = 'ec', tls = {\n\
           client_certificate = 'optional', client_ca = 'gone.pem' } }]\n",
    );
    folder.certificate("ec", &["a.example", "m.example", "n.example"]);
    let rsa = LeafOptions { key: KeyAlgorithm::Rsa2048, ..LeafOptions::default() };
    drop(folder.ca.leaf_with(&["a.example"], rsa).write(folder.path(), "rsa"));
    let ask = |name: &str| folder.run(&format!("explain https://{name}.example --ip 127.0.0.1"));
    ask("a").check(
        0,
        &[
            "why: named by the binding; clients that cannot verify it get rsa\n",
            "6  policy       TLS 1.2 only; h2 or http/1.1; no client certificate; tickets\n",
            "7  handshake    at best TLS 1.2, X25519, ECDSA P-256\n",
        ],
    );
    ask("m").check(
        0,
        &[
            "TLS 1.3 only; http/1.1; client certificate required, by ca.pem; no tickets\n",
            "without a client certificate: alert certificate_required\n",
        ],
    );
    ask("n").check(0, &["client certificate optional, by gone.pem", "could not be read"]);
    // The first of the two is broken: the second is shown, and the first is a problem.
    fs::write(folder.path().join("ec.pem"), "nothing").unwrap();
    ask("a").check(
        0,
        &[
            "5  certificate  rsa, in rsa.pem\n",
            "why: named by the binding\n",
            "! there is no certificate in",
        ],
    );
}

#[test]
fn the_request_is_judged_by_its_host() {
    let folder = Folder::new(
        "[[certificate]]\nname = 'ab'\nfile = 'ab.pem'\n\
         [[certificate]]\nname = 'c'\nfile = 'c.pem'\n\
         [[site]]\nname = 'a'\nrespond = ''\nbindings = ['https/*:443:a.example']\n\
         [[site]]\nname = 'b'\nredirect = 'https://c.example'\nbindings = ['https/*:443:b.example']\n\
         [[site]]\nname = 'c'\nstate = 'stopped'\nrespond = ''\n\
         bindings = ['https/*:443:c.example', 'http/*:80:c.example']\n\
         [[site]]\nname = 'd'\nroot = 'nowhere'\n\
         bindings = ['http/*:80:a.example', 'https/*:443:d.example']\n",
    );
    folder.certificate("ab", &["a.example", "b.example", "d.example"]);
    folder.certificate("c", &["c.example"]);
    let ask = |words: &str| folder.run(&format!("explain {words} --ip 127.0.0.1"));
    ask("https://b.example/x?y --sni a.example").check(
        0,
        &[
            "8  request      Host b.example: https/*:443:b.example, of the same policy and",
            "9  answer       308 to https://c.example/x?y\n",
        ],
    );
    ask("https://c.example --sni a.example")
        .check(1, &["! 421: it leads to https/*:443:c.example"]);
    ask("https://x.example --sni a.example").check(1, &["! 421: no binding answers for it\n"]);
    ask("https://c.example").check(1, &["! 503: the site is stopped\n"]);
    ask("http://x.example").check(1, &["! 400: no binding answers for it\n"]);
    ask("http://a.example").check(0, &["9  answer       files of /", "the folder cannot be read"]);
    ask("http://a.example:443").check(1, &["! https is spoken there"]);
    ask("https://a.example:80").check(1, &["! http is spoken there"]);
}

#[test]
fn plain_requests_go_to_https_where_the_site_has_it() {
    let folder = Folder::new(
        "[[certificate]]\nname = 'a'\nfile = 'a.pem'\n\
         [[site]]\nname = 'a'\nrespond = ''\n\
         bindings = ['http/*:80:a.example', 'https/*:8443:a.example']\n",
    );
    folder.certificate("a", &["a.example"]);
    let done = folder.run("explain http://a.example/x?y --ip 127.0.0.1");
    done.check(0, &["9  answer       308 to https://a.example:8443/x?y"]);
    let told = folder.run("explain http://a.example/x --ip 127.0.0.1 --json").json();
    assert_eq!(told["request"]["https_redirect"], "https://a.example:8443/x");
}

#[test]
fn a_name_that_does_not_resolve_is_explained_all_the_same() {
    let folder = all();
    let done = folder.run("explain https://shop.example.com.invalid");
    done.check(0, &["no address for shop.example.com.invalid ("]);
    let told = folder.run("explain https://shop.example.com.invalid --json").json();
    assert_eq!(told["resolve"]["by"], "assumed");
}

#[test]
fn bad_usage_is_exit_code_2_and_no_configuration_is_1() {
    let folder = all();
    for words in [
        "explain",
        "explain ftp://a",
        "explain https://a --sni 192.0.2.1",
        "explain https://a --sni b --no-sni",
        "explain https://a --as iis6",
        "explain https://a --port 0",
    ] {
        assert_eq!(folder.run(words).code, 2, "{words}");
    }
    let done = folder.run("explain https://a.example --ip 127.0.0.1 --config nowhere.toml");
    assert_eq!(done.code, 1);
    assert!(done.err.contains("nowhere.toml cannot be read"), "{}", done.err);
}

/// Names with certificates of their own, one address that has another, and none without a name.
const NAMES: &str = r#"
[[certificate]]
name = "a"
file = "a.pem"

[[certificate]]
name = "b"
file = "b.pem"

[[site]]
name = "a"
respond = "a"
bindings = [
  { on = "https/*:443:a.example", certificate = "a" },
  { on = "https/192.0.2.10:443:", certificate = "a" },
]

[[site]]
name = "b"
respond = "b"
bindings = [{ on = "https/*:443:b.example", certificate = "b" }, "http/*:80:b.example"]
"#;

fn names() -> Folder {
    let folder = Folder::new(NAMES);
    folder.certificate("a", &["a.example"]);
    folder.certificate("b", &["b.example"]);
    folder
}

/// What follows the explanation where Windows is asked for.
#[track_caller]
fn as_windows(folder: &Folder, words: &str, expected: &str) {
    let done = folder.run(&format!("explain {words}"));
    let at = done.out.find(" would do this:").unwrap_or_else(|| panic!("{}", done.out));
    let start = done.out[..at].rfind('\n').map_or(0, |start| start + 1);
    assert_eq!(&done.out[start..], expected, "{words}");
    assert!(done.out.lines().all(|line| line.chars().count() <= 80), "{}", done.out);
}

#[test]
fn iis_7_would_have_shown_one_certificate_to_all() {
    as_windows(
        &names(),
        "https://b.example --ip 198.51.100.1 --as iis7",
        "\
IIS 7 would do this:
   certificate  a, of the record ipport=0.0.0.0:443, which 2 bindings share:
                taken to be that of the first, https/*:443:a.example; the server
                name is not looked at; it does not cover b.example: browsers
                refuse it
   site         b, by *:443:b.example
   here         the certificate is b
",
    );
}

#[test]
fn an_address_shadows_names_on_windows() {
    as_windows(
        &names(),
        "https://b.example --ip 192.0.2.10 --as iis",
        "\
IIS 8 and later would do this:
   certificate  a, of the record ipport=192.0.2.10:443; it does not cover
                b.example: browsers refuse it
   site         b, by *:443:b.example
   here         the certificate is b
",
    );
    as_windows(
        &names(),
        "https://b.example --ip 198.51.100.1 --as iis",
        "\
IIS 8 and later would do this:
   certificate  b, of the record hostnameport=b.example:443
   site         b, by *:443:b.example
   here         the same
",
    );
}

#[test]
fn who_gets_no_certificate_on_windows_is_told_too() {
    as_windows(
        &names(),
        "https://c.example --ip 198.51.100.1 --as iis",
        "\
IIS 8 and later would do this:
   certificate  none: the connection ends in the handshake
   site         none is asked
   here         the same
",
    );
    as_windows(
        &names(),
        "https://c.example --ip 198.51.100.1 --as iis7",
        "\
IIS 7 would do this:
   certificate  a, of the record ipport=0.0.0.0:443, which 2 bindings share:
                taken to be that of the first, https/*:443:a.example; the server
                name is not looked at; it does not cover c.example: browsers
                refuse it
   site         none: 400, the request hostname is invalid
   here         no certificate is shown
",
    );
    as_windows(
        &names(),
        "http://c.example --ip 198.51.100.1 --as iis",
        "\
IIS 8 and later would do this:
   site         none: 400, the request hostname is invalid
   here         the same
",
    );
}

#[test]
fn a_program_is_told_what_windows_would_do() {
    let told = names().run("explain https://b.example --ip 192.0.2.10 --as iis --json").json();
    let windows = &told["windows"];
    assert_eq!(windows["certificate"]["record"], "ipport=192.0.2.10:443");
    assert_eq!(windows["certificate"]["covers"], false);
    assert_eq!((&windows["site"], &told["order"]), (&"b".into(), &"host-first".into()));
    let plain = names().run("explain https://b.example --ip 192.0.2.10 --json").json();
    assert!(plain["windows"].is_null());
}

/// A site with something of everything at its paths.
const ROUTES: &str = r#"
[[site]]
name = "shop"
root = "www"
fallback = "/app.html"
bindings = ["http/*:80:shop.example"]
limits = { requests_max = 100 }
access = ["allow 10.0.0.0/8", "deny all"]
redirects = [
  { path = "/old", to = "/new", status = 301 },
  { regex = '^/u/(\d+)$', to = "https://users.example/$1", keep_query = false },
]
rewrites = [
  { regex = "^/p/(.*)$", to = "/page.html?p=$1" },
  { prefix = "/v1", to = "/api" },
  { path = "/maybe", to = "/sure", unless_file = true },
]
hsts = true

[[site.applications]]
path = "/api"
proxy = { to = ["http://127.0.0.1:9000/v2", { to = "https://app.internal/v2", backup = true }] }
access = []
rate_limit = { requests = 10, seconds = 60 }
basic_auth = { file = ".passwords", realm = "staff" }
request_bytes_max = 1000
cors = "any"
request_headers = { set = { Authorization = "Bearer secret" }, remove = ["Cookie"] }
response_headers = { add = { X-A = "b" } }
compress = true
error_pages = { 404 = "404.html", 502 = "502.html" }

[[site.applications]]
path = "/php"
root = "www"
fastcgi = "unix:/run/php.sock"

[[site.virtual_directories]]
path = "/images"
root = "images"
"#;

fn routes() -> Folder {
    let folder = Folder::new(ROUTES);
    fs::create_dir(folder.path().join("www")).unwrap();
    folder
}

#[test]
fn the_route_of_a_path_is_named_and_its_rules() {
    let folder = routes();
    let ask = |path: &str| folder.run(&format!("explain http://shop.example{path} --ip 127.0.0.1"));
    ask("/a").check(
        0,
        &[
            "9  answer       files of ",
            "; /app.html where nothing is found",
            "limits: at most 100 requests of the site at once\n",
            "access: allow 10.0.0.0/8, deny all\n",
        ],
    );
    let done = ask("/api/users?a");
    done.check(
        0,
        &[
            "9  answer       at /api: asks http://127.0.0.1:9000, https://app.internal:443\n",
            "(backup), with /v2 in place of its path\n",
            "rate_limit: 10 requests in 60 seconds, 10 at once, by client\n",
            "basic_auth: a password of ",
            "request_bytes_max: content of at most 1000 bytes\n",
            "cors: pages of all origins may read\n",
            "request_headers: remove Cookie, set Authorization\n",
            "response_headers: add X-A\n",
            "compress: answers of 1024 bytes and more\n",
            "error_pages: own pages for 404, 502\n",
        ],
    );
    assert!(!done.out.contains("secret") && !done.out.contains("allow"), "{}", done.out);
    assert!(!done.out.contains("hsts"), "not without TLS");
    ask("/php/a").check(0, &["at /php: scripts of ", "by unix:/run/php.sock\n"]);
    ask("/images/a").check(0, &["at /images: files of ", "! the folder cannot be read"]);
    ask("/imagesx").check(0, &["9  answer       files of "]);
}

#[test]
fn the_file_that_is_sent_is_named_or_why_none_is() {
    let folder = Folder::new(
        "[[site]]\nname = 'a'\nroot = 'www'\nhidden = ['bin']\nunknown_types = 'refuse'\n\
         bindings = ['http/*:80:a.example']\n\
         [[site.applications]]\npath = '/app'\nroot = 'app'\nfallback = '/index.html'\n",
    );
    for path in ["www/bin", "www/empty", "app"] {
        fs::create_dir_all(folder.path().join(path)).unwrap();
    }
    for path in ["www/index.htm", "www/a.css", "www/a.css.br", "www/a.xyzzy", "app/index.html"] {
        fs::write(folder.path().join(path), "12").unwrap();
    }
    std::os::unix::fs::symlink("/etc/passwd", folder.path().join("www/out")).unwrap();
    let ask = |path: &str| {
        let run = |more: &str| {
            folder.run(&format!("explain http://a.example{path} --ip 127.0.0.1{more}"))
        };
        let found = run(" --json").json()["answer"]["found"].clone();
        let number = |key: &str| found[key].as_u64().unwrap();
        let file = found["file"].as_str().map(|file| {
            let below = std::path::Path::new(file).strip_prefix(folder.path()).unwrap();
            below.to_str().unwrap().to_owned()
        });
        let text = run("").out.split_whitespace().collect::<Vec<_>>().join(" ");
        (number("status"), number("substatus"), file.unwrap_or_default(), text)
    };
    for (path, status, substatus, file, said) in [
        ("/", 200, 0, "www/index.htm", "index.htm, 2 bytes of text/html; charset=utf-8"),
        ("/a.css", 200, 0, "www/a.css", "charset=utf-8; or its sibling, for who takes br"),
        ("/empty?a=b", 301, 0, "", "301 to /empty/?a=b: it is a folder"),
        ("/empty/", 403, 14, "", "! 403.14: /empty/ is refused: no default document, and no"),
        ("/a.xyzzy", 404, 3, "", "! 404.3: /a.xyzzy was not found: files of its type are not"),
        ("/bin/x", 404, 8, "", "! 404.8: /bin/x was not found: a name in it is hidden"),
        ("/out", 403, 0, "", "! 403: /out is refused: a symbolic link leads out of the root"),
        ("/none", 404, 0, "", "! 404: /none was not found"),
        ("/A.Css", 404, 0, "", "! 404: /A.Css was not found; /a.css is there: case counts"),
        ("/web.config", 404, 8, "", "! 404.8: /web.config was not found: a name in it is hidden"),
        ("/app/x", 200, 0, "app/index.html", "200: nothing is there, so the fallback answers:"),
        ("/app/.x", 404, 8, "", "! 404.8: /app/.x was not found: a name in it is hidden"),
    ] {
        let found = ask(path);
        assert_eq!((found.0, found.1, found.2.as_str()), (status, substatus, file), "{path}");
        assert!(found.3.contains(said), "{path}: {}", found.3);
    }
}

#[test]
fn a_redirect_or_rewrite_is_followed() {
    let folder = routes();
    let ask = |path: &str| {
        let told = folder.run(&format!("explain http://shop.example{path} --ip 127.0.0.1 --json"));
        told.json()["answer"].clone()
    };
    let old = ask("/old?a=b");
    assert_eq!((&old["status"], &old["location"]), (&301.into(), &"/new?a=b".into()));
    assert_eq!(old["rules"][2]["rule"], "redirects");
    assert_eq!(old["rules"][2]["target"], "/new?a=b");
    assert_eq!(ask("/u/17?a=b")["location"], "https://users.example/17");
    let page = ask("/p/a%20b?c");
    assert_eq!(
        (&page["handler"], &page["target"]),
        (&"files".into(), &"/page.html?p=a%20b&c".into())
    );
    let api = ask("/v1/users");
    assert_eq!((&api["route"], &api["target"]), (&"/api".into(), &"/api/users".into()));
    assert_eq!(
        api["rules"].as_array().unwrap().iter().filter(|own| own["route"] == "/").count(),
        3
    );
    let maybe = ask("/maybe");
    assert_eq!((&maybe["route"], &maybe["target"]), (&"/".into(), &"/maybe".into()));
    assert_eq!(maybe["rules"][2]["text"], "to /sure, if no file is there");
}

#[test]
fn a_path_that_is_refused_is_told_so() {
    let done = routes().run("explain http://shop.example/a/%2e%2e/b --ip 127.0.0.1");
    done.check(1, &["9  answer       none\n", "! 400: a dot segment in the path\n"]);
}

/// Two sites of an IIS: one by the address and port, one by its name.
fn iis(records: &[(&str, &str)]) -> Folder {
    let folder = Folder::new(
        "[[certificate]]\nname = \"a\"\nfile = \"a.pem\"\n\
         [[certificate]]\nname = \"b\"\nfile = \"b.pem\"\n",
    );
    let site = |name: &str, id: u8, flags: &str| {
        format!(
            "<site name=\"{name}\" id=\"{id}\"><application path=\"/\"><virtualDirectory \
             path=\"/\" physicalPath=\"/srv\" /></application><bindings><binding \
             protocol=\"https\" bindingInformation=\"*:443:{name}.example\" {flags}/>\
             </bindings></site>"
        )
    };
    let sites = [site("a", 1, ""), site("b", 2, "sslFlags=\"1\"")].concat();
    let text = format!(
        "<configuration><system.applicationHost><sites>{sites}</sites></system.applicationHost></configuration>"
    );
    fs::write(folder.path().join("applicationHost.config"), text).unwrap();
    let hash = |name: &str| {
        let leaf = folder.ca.leaf(&[&format!("{name}.example")]);
        drop(leaf.write(folder.path(), name));
        let facts = bindery_server::tls::keys::facts_of_der(&leaf.certificate_der).unwrap();
        facts.thumbprint.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let hashes = std::collections::HashMap::from([("a", hash("a")), ("b", hash("b"))]);
    for (key, name) in records {
        let hash = &hashes[name];
        let id = "{4dc3e181-e14b-4a21-b022-59fc669b0914}";
        let done = folder.run(&format!("netsh http add sslcert {key} certhash={hash} appid={id}"));
        assert_eq!(done.code, 0, "{}", done.err);
    }
    folder
}

#[test]
fn an_iis_of_ours_is_explained_by_its_records() {
    let folder = iis(&[("ipport=0.0.0.0:443", "a"), ("hostnameport=b.example:443", "b")]);
    as_windows(
        &folder,
        "https://b.example --ip 198.51.100.1 --as iis7",
        "\
IIS 7 would do this:
   certificate  a, of the record ipport=0.0.0.0:443, which 2 bindings share; the
                server name is not looked at; it does not cover b.example:
                browsers refuse it
   site         b, by *:443:b.example
   here         the certificate is b
",
    );
    as_windows(
        &folder,
        "https://b.example --ip 198.51.100.1 --as iis",
        "\
IIS 8 and later would do this:
   certificate  b, of the record hostnameport=b.example:443
   site         b, by *:443:b.example
   here         the same
",
    );
    // Nobody made a record for the name, so the flag alone brings nothing there.
    let folder = iis(&[("ipport=0.0.0.0:443", "a")]);
    as_windows(
        &folder,
        "https://b.example --ip 198.51.100.1 --as iis",
        "\
IIS 8 and later would do this:
   certificate  a, of the record ipport=0.0.0.0:443; it does not cover
                b.example: browsers refuse it
   site         b, by *:443:b.example
   here         the certificate is b
",
    );
    let folder = iis(&[]);
    as_windows(
        &folder,
        "https://a.example --ip 198.51.100.1 --as iis",
        "\
IIS 8 and later would do this:
   certificate  none: the connection ends in the handshake
   site         none is asked
   here         the certificate is a; site a answers
",
    );
}
