use std::{net::IpAddr, path::PathBuf};

use super::*;
use crate::{
    log::{AccessLog, LogFormat, Roll},
    rules::{
        BasicAuth, Compress, Condition, Cors, ErrorStatus, HeaderRule, Hsts, Part, PathPattern,
        RateLimit, RedirectRule, RedirectTo, RewriteRule, RewriteTo, Rules, Test,
    },
    site::SiteLimits,
};

#[track_caller]
fn rules(lines: &str) -> Rules {
    let both = "bindings = ['http/*:80:', { on = 'https/*:443:', certificate = 'c' }]";
    let text = format!("[[certificate]]\nname = 'c'\nfile = 'c.pem'\n{}", site(both));
    let document = check(&format!("{text}{lines}"), &[]);
    Rules::clone(&document.configuration.table.sites[0].root.rules)
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn every_rule_is_read() {
    let read = rules(
        r#"
access = ["allow 10.0.0.0/8", "allow 192.0.2.7", "deny all"]
https_only = true
rate_limit = { requests = 10, seconds = 2, burst = 20 }
basic_auth = { file = "htpasswd", realm = "staff" }
redirects = [
  { path = "/old", to = "/new", status = 301, keep_query = false },
  { prefix = "/blog", to = "https://Blog.example.com" },
  { regex = '^/u/(\d+)$', to = "/users/$1" },
]
rewrites = [{ regex = "^/p/(.*)$", to = "/page.php?p=$1", unless_file = true }]
request_bytes_max = 10485760
cors = { origins = ["https://App.example.com:443"], methods = ["GET"], headers = ["X-A"], credentials = true, max_age = 60 }
response_headers = { set = { X-A = "b" }, add = { X-B = ["c", "d"] }, remove = ["X-C"] }
hsts = { max_age = 63072000, include_subdomains = true, preload = true }
compress = { bytes_min = 1, types = ["text/*", "Application/JSON"] }
error_pages = { 503 = "b.html", 404 = "errors/404.html", "404.3" = "type.html" }
"#,
    );
    let networks: Vec<_> =
        read.access.iter().map(|rule| format!("{} {}", rule.allow, rule.network)).collect();
    assert_eq!(networks, ["true 10.0.0.0/8", "true 192.0.2.7/32", "false 0.0.0.0/0", "false ::/0"]);
    let at = |place: &str| Path::new("/etc/bindery").join(place);
    let redirect = |path, to: &str| RedirectRule {
        path,
        when: Vec::new(),
        to: RedirectTo::Target(to.to_owned()),
        status: 308,
        keep_query: true,
    };
    let unless = |test| Condition { test, negate: true };
    let expected = Rules {
        access: read.access.clone(),
        https_only: true,
        rate_limit: Some(RateLimit { requests: 10, seconds: 2, burst: 20 }),
        basic_auth: Some(BasicAuth { file: at("htpasswd"), realm: "staff".to_owned() }),
        redirects: vec![
            RedirectRule {
                status: 301,
                keep_query: false,
                ..redirect(PathPattern::Exact("/old".to_owned()), "/new")
            },
            redirect(PathPattern::Prefix("/blog".to_owned()), "https://blog.example.com"),
            redirect(PathPattern::Regex(r"^/u/(\d+)$".to_owned()), "/users/$1"),
        ],
        rewrites: vec![RewriteRule {
            path: PathPattern::Regex("^/p/(.*)$".to_owned()),
            when: vec![unless(Test::File), unless(Test::Folder)],
            to: RewriteTo::path("/page.php?p=$1"),
        }],
        request_bytes_max: Some(10_485_760),
        cors: Some(Cors {
            origins: texts(&["https://app.example.com"]),
            methods: texts(&["GET"]),
            headers: texts(&["X-A"]),
            credentials: true,
            max_age: 60,
        }),
        request_headers: Vec::new(),
        response_headers: vec![
            HeaderRule::Remove("X-C".to_owned()),
            HeaderRule::Set("X-A".to_owned(), "b".to_owned()),
            HeaderRule::Add("X-B".to_owned(), "c".to_owned()),
            HeaderRule::Add("X-B".to_owned(), "d".to_owned()),
        ],
        hsts: Some(Hsts { max_age: 63_072_000, include_subdomains: true, preload: true }),
        compress: Some(Compress { bytes_min: 1, types: texts(&["text/*", "application/json"]) }),
        error_pages: vec![
            (404.into(), at("errors/404.html")),
            (ErrorStatus { status: 404, sub: Some(3) }, at("type.html")),
            (503.into(), at("b.html")),
        ],
    };
    assert_eq!(read, expected);
}

#[test]
fn a_rule_may_have_conditions() {
    let read = rules(
        r#"
redirects = [
  { prefix = "/.well-known/acme-challenge", to = false },
  { suffix = ".bak", status = 404 },
  { regex = "^/(.*)$", when = { host = '^(?P<apex>[a-z.]+)$', scheme = "http", fields = { X-A = ["1", "2"] } }, unless = { folder = true }, to = "${scheme}://www.${apex}/$1" },
]
rewrites = [{ path = "/a", when = { file = false }, to = false }]
"#,
    );
    let text = |of: Part, regex: &str| Test::Text { of, regex: regex.to_owned() };
    let field = || Part::Field("x-a".to_owned());
    let is = |test| Condition { test, negate: false };
    let not = |test| Condition { test, negate: true };
    let [acme, backup, apex] = read.redirects.as_slice() else { panic!("{read:?}") };
    assert_eq!(
        (&acme.to, &backup.to, backup.status),
        (&RedirectTo::Here, &RedirectTo::Refused, 404)
    );
    let expected = [
        not(Test::Https),
        not(Test::Folder),
        is(text(Part::Host, "^(?P<apex>[a-z.]+)$")),
        is(text(field(), "1")),
        is(text(field(), "2")),
    ];
    assert_eq!(apex.when, expected);
    assert_eq!(apex.to, RedirectTo::Target("${scheme}://www.${apex}/$1".to_owned()));
    assert_eq!(
        (&read.rewrites[0].when[..], &read.rewrites[0].to),
        (&[not(Test::File)][..], &RewriteTo::Here)
    );
}

#[test]
fn a_rewrite_may_go_on_answer_or_drop_the_query() {
    let read = rules(
        r#"
rewrites = [
  { regex = "^/(.*)$", to = "${lower:path}", keep_query = false, next = 2 },
  { prefix = "/old", to = "https://${host}:${port}${uri}", status = 301 },
  { regex = "^/(a+)", status = 410, unless = { texts = { "${host}/$1" = ["^b", "c$"] } } },
]
"#,
    );
    let to: Vec<_> = read.rewrites.iter().map(|rule| rule.to.clone()).collect();
    let target = "https://${host}:${port}${uri}".to_owned();
    assert_eq!(
        to,
        [
            RewriteTo::Path { to: "${lower:path}".to_owned(), keep_query: false, next: 2 },
            RewriteTo::Answer { to: Some(target), status: 301, keep_query: true },
            RewriteTo::Answer { to: None, status: 410, keep_query: true },
        ]
    );
    let texts = ["^b", "c$"].map(|regex| Condition {
        test: Test::Text { of: Part::Template("${host}/$1".to_owned()), regex: regex.to_owned() },
        negate: true,
    });
    assert_eq!(read.rewrites[2].when, texts);
}

#[test]
fn conditions_that_make_no_sense_are_refused() {
    let rewrite = |rule: &str, code: &str, part: &str| {
        check_site(&format!("rewrites = [{{ path = '/a', {rule} }}]"), code, part);
    };
    rewrite("to = '/b', next = ‹-1›", "bad-value", "next");
    rewrite("to = false, next = ‹1›", "bad-value", "goes on to no later rule");
    rewrite("to = '/b', when = { texts = { ‹'$1'› = 'a' } }", "bad-value", "$1");
    rewrite("to = '/b', when = { texts = { ‹'${x:path}'› = 'a' } }", "bad-value", "${x:path}");
    rewrite("to = '‹${upper:path}›'", "bad-value", "no path that begins");
    let redirect = |rule: &str, code: &str, part: &str| {
        check_site(&format!("redirects = [{{ path = '/a', to = '/b', {rule} }}]"), code, part);
    };
    redirect("when = { host = '‹(›' }", "bad-regex", "unclosed group");
    redirect("when = { ‹hosts› = 'a' }", "unknown-key", "did you mean \"host\"?");
    redirect("when = { scheme = '‹ftp›' }", "bad-value", "\"https\" or \"http\"");
    redirect("unless = { file = ‹'x'› }", "wrong-type", "true or false");
    redirect("when = { fields = { ‹'a b'› = 'x' } }", "bad-value", "no name of a field");
    redirect("when = ‹'x'›", "wrong-type", "takes a table");
    check_site(
        "redirects = [{ path = '/a', to = 'https://‹${x}›/' }]",
        "bad-value",
        "stands for nothing",
    );
    check_site(
        "redirects = [{ path = '/a', to = '‹${x}://b/›' }]",
        "bad-value",
        "neither http nor https",
    );
}

#[test]
fn short_forms_take_the_defaults() {
    let read = rules("cors = 'any'\nhsts = true\ncompress = true\nrate_limit.requests = 5");
    assert_eq!(
        read.hsts,
        Some(Hsts { max_age: 31_536_000, include_subdomains: false, preload: false })
    );
    assert_eq!(read.rate_limit, Some(RateLimit { requests: 5, seconds: 1, burst: 5 }));
    let cors = read.cors.unwrap();
    assert!(cors.origins.is_empty() && cors.methods.contains(&"PUT".to_owned()));
    assert_eq!(read.compress.unwrap().bytes_min, 1024);
    assert_eq!(
        rules(
            "cors = false\nhsts = false\ncompress = false\nrate_limit = false\nbasic_auth = false\nrequest_bytes_max = false\naccess = []"
        ),
        Rules::default()
    );
    assert_eq!(rules("basic_auth.file = '/x'").basic_auth.unwrap().realm, "restricted");
}

#[test]
fn a_list_of_access_has_words_and_networks() {
    let access = |list: &str, code: &str, part: &str| {
        check_site(&format!("access = [{list}]"), code, part);
    };
    access("'‹alow 10.0.0.0/8›'", "bad-value", "did you mean \"allow\"?");
    access("'‹10.0.0.0/8›'", "bad-value", "neither allow nor deny");
    access("'‹allow›'", "bad-network", "network is missing");
    access("'allow ‹10.0.0.1/8›'", "bad-network", "did you mean \"10.0.0.0/8\"");
    access("'allow 10.0.0.0/‹33›'", "bad-network", "from 0 to 32");
    access("'allow 2001:db8::/‹129›'", "bad-network", "from 0 to 128");
    access("'allow ‹example.com›'", "bad-network", "no network");
    access("'allow ‹::ffff:10.0.0.1›'", "bad-network", "\"10.0.0.1\"");
    access("'deny all', '‹allow 10.0.0.1›'", "no-effect", "never reached");
    access("‹1›", "wrong-type", "access takes a string");
    check_site("access = ‹'deny all'›", "wrong-type", "access = [\"deny all\"]");
}

#[test]
fn rules_that_make_no_sense_are_refused() {
    check_site("rate_limit = ‹{ seconds = 1 }›", "missing-key", "requests is missing");
    check_site("rate_limit.requests = ‹0›", "bad-value", "from 1 to 1000000");
    check_site("rate_limit = ‹true›", "wrong-type", "rate_limit takes a table");
    check_site("basic_auth = ‹{}›", "missing-key", "file is missing");
    check_site("basic_auth = { file = '/x', realm = '‹a\"b›' }", "bad-value", "as a realm");
    check_site("request_bytes_max = ‹-1›", "bad-value", "from 0 to");
    check(
        &bound("‹hsts› = { max_age = ‹-1›, ‹preload› = true }"),
        &[
            ("no-effect", "no binding is https"),
            ("bad-value", "from 0 to 315360000"),
            ("bad-value", "preload needs include_subdomains"),
        ],
    );
    check_site("‹access_log› = true", "no-effect", "no log is configured");
    check_site("compress.types = ['‹text›']", "bad-value", "no media type");
    check_site("compress.types = ['‹text/css; q=1›']", "bad-value", "no media type");
    check_site("error_pages = { ‹200› = 'x' }", "bad-value", "status from 400 to 599");
    check_site("error_pages = { ‹'404.x'› = 'x' }", "bad-value", "status from 400 to 599");
    check_site("error_pages = { ‹notfound› = 'x' }", "bad-value", "status from 400 to 599");
    check_site("error_pages = { 404 = ‹''› }", "bad-value", "404 is empty");
    check_site("‹acces› = []", "unknown-key", "did you mean \"access\"?");
}

#[test]
fn origins_are_as_browsers_write_them() {
    let cors = |table: &str, code: &str, part: &str| {
        check_site(&format!("cors = {table}"), code, part);
    };
    cors("'‹all›'", "bad-value", "cors takes \"any\"");
    cors("{ origins = ['‹*›'] }", "bad-value", "no origin");
    cors("{ origins = ['‹app.example.com›'] }", "bad-value", "no origin");
    cors("{ origins = ['https://a‹/›'] }", "bad-value", "write \"https://a\"");
    cors("{ origins = ['‹https://a:x›'] }", "bad-value", "no port");
    cors("{ origins = ‹[]› }", "bad-value", "there are no origins");
    cors("{ ‹credentials› = true }", "exclusive", "not with all of them");
    cors("{ methods = ['‹get›'] }", "bad-value", "write \"GET\"");
    cors("{ headers = ['‹a b›'] }", "bad-value", "no name of a field");
    cors("{ max_age = ‹86401› }", "bad-value", "from 0 to 86400");
    let origins = ["https://192.0.2.1:8443", "http://[2001:db8::1]", "capacitor://localhost"];
    let read = rules(&format!("cors.origins = {origins:?}"));
    assert_eq!(read.cors.unwrap().origins, origins);
}

#[test]
fn fields_of_the_server_are_its_own() {
    let fields = |table: &str, code: &str, part: &str| {
        check_site(&format!("response_headers = {table}"), code, part);
    };
    for name in ["Content-Length", "transfer-encoding", "Connection", "Keep-Alive", "Upgrade", "TE"]
    {
        fields(&format!("{{ set = {{ ‹{name}› = '1' }} }}"), "bad-value", "the server's own");
    }
    fields("{ remove = ['‹Transfer-Encoding›'] }", "bad-value", "the server's own");
    fields("{ add = { ‹Host› = 'a' } }", "bad-value", "no answer has");
    fields("{ set = { ‹'a b'› = 'a' } }", "bad-value", "no name of a field");
    fields("{ set = { A = ‹\"a\\r\\nb\"› } }", "bad-value", "cannot be the value");
    fields("{ set = { A = '‹ü›' } }", "bad-value", "cannot be the value");
    fields("{ set = { A = 'a', ‹a› = 'b' } }", "bad-value", "there twice");
    fields("{ set = { ‹A› = 'a' }, remove = ['a'] }", "exclusive", "written and removed");
    fields("{ ‹sets› = {} }", "unknown-key", "did you mean \"set\"?");
    fields("{ set = { A = ‹1› } }", "wrong-type", "put it in quotes");
    check_site("‹request_headers› = {}", "exclusive", "goes with proxy or fastcgi");
    let document = check(
        &bound("request_headers.set.A = 'b'\napplications = [{ path = '/a', proxy = 'http://b' }]"),
        &[],
    );
    let route = &document.configuration.table.sites[0].routes[0];
    let set = HeaderRule::Set("A".to_owned(), "b".to_owned());
    assert_eq!(route.rules.request_headers, [set]);
    let host = "[[site]]\nname = 'a'\nbindings = ['http/*:80:']\nproxy = 'http://b'\n";
    let line = "request_headers.set.‹Host› = 'a'";
    check(&format!("{host}{line}"), &[("bad-value", "host = \"...\" in the proxy table")]);
}

#[test]
fn a_redirect_or_rewrite_that_cannot_work_is_refused() {
    let redirect = |rule: &str, code: &str, part: &str| {
        check_site(&format!("redirects = [{rule}]"), code, part);
    };
    let rewrite = |rule: &str, code: &str, part: &str| {
        check_site(&format!("rewrites = [{rule}]"), code, part);
    };
    redirect("‹{ to = '/a' }›", "missing-key", "for which paths");
    redirect("‹{ path = '/a' }›", "missing-key", "to is missing");
    redirect("{ path = '/a', ‹prefix› = '/b', to = '/c' }", "exclusive", "path and prefix");
    redirect("{ path = '‹a›', to = '/c' }", "bad-value", "write \"/a\"");
    redirect("{ regex = '/a‹(›b', to = '/c' }", "bad-regex", "unclosed group");
    redirect("{ regex = 'a‹{5,2}›', to = '/c' }", "bad-regex", "start must be");
    redirect("{ regex = '‹(((a{1,100}){1,100}){1,100})›', to = '/c' }", "bad-regex", "too large");
    redirect("{ regex = '(a)', to = '/b‹$2›' }", "bad-value", "no such group");
    redirect("{ regex = '(a)', to = '/b‹${x}›c' }", "bad-value", "no such group");
    redirect("{ regex = '(a)', to = '/b‹$›x' }", "bad-value", "$$ for a plain $");
    redirect("{ path = '/a', to = '/b‹$1›' }", "bad-value", "only regular expressions");
    redirect("{ prefix = '/a', to = '/b‹?c=›' }", "bad-value", "write regex");
    redirect("{ path = '/a', to = '‹//evil›' }", "bad-value", "no http or https URL");
    redirect("{ regex = '(a)', to = '‹https://$1.example›' }", "bad-value", "no host name has");
    redirect("{ path = '/a', to = '/b', status = ‹304› }", "bad-value", "sends nobody anywhere");
    redirect("{ path = '/a', to = '‹/a?b›' }", "bad-value", "which it is for itself");
    redirect("{ prefix = '/a', to = '‹/a/b›' }", "bad-value", "which it is for itself");
    redirect("{ suffix = ‹''›, to = '/a' }", "bad-value", "suffix is empty");
    rewrite("{ path = '/a', to = '‹https://b›' }", "bad-value", "redirects go elsewhere");
    rewrite("{ path = '/a', to = '‹/b#c›' }", "bad-value", "stays with the client");
    rewrite("{ path = '/a', to = '/b', ‹code› = 301 }", "unknown-key", "the keys here");
    rewrite("{ path = '/a', to = '/b', status = 301, next = ‹1› }", "bad-value", "remove next");
    check(
        "[[site]]\nname = 'a'\nbindings = ['http/*:80:']\nproxy = 'http://b'\nrewrites = [{ path = '/a', to = '/b', ‹unless_file› = true }]",
        &[("exclusive", "unless_file goes with root")],
    );
}

#[test]
fn a_rule_may_stand_in_tables_of_its_own() {
    let read = rules(
        "[[site.redirects]]\npath = '/a'\nto = '/b'\n[[site.redirects]]\nprefix = '/c'\nto = '/d'",
    );
    assert_eq!(read.redirects.len(), 2);
}

#[test]
fn a_site_has_limits_and_may_go_without_a_log() {
    let document = check(
        &bound(
            "limits = { requests_max = 1, bytes_per_second_max = 2 }\naccess_log = false\nignore_case = true",
        ),
        &[],
    );
    let site = &document.configuration.table.sites[0];
    let limits = SiteLimits { requests_max: Some(1), bytes_per_second_max: Some(2) };
    assert_eq!((&site.limits, site.access_log), (&limits, false));
    assert!(site.ignore_case);
    check_site("limits.requests_max = ‹0›", "bad-value", "from 1 to 4294967295");
    check_site("limits.‹request_max› = 1", "unknown-key", "did you mean \"requests_max\"?");
    check_site("access_log = ‹'x'›", "wrong-type", "true or false");
}

#[test]
fn the_server_has_networks_logs_and_bounds() {
    let document = check(
        r#"
[server]
trusted_proxies = ["10.0.0.0/8", "2001:db8::/32", "192.0.2.7"]
access_log = { folder = "logs", format = "json", shared = true, roll = 1048576, compress = false, keep_days = 30 }
admin = "[::1]:9180"
connections_max = 100000
connections_per_address_max = 1000
[[listener]]
on = "http/*:80"
proxy_protocol = ["10.0.0.0/8"]
[[site]]
name = "a"
respond = ""
bindings = ["http/*:80:"]
"#,
        &[],
    );
    let settings = &document.configuration.settings;
    let networks: Vec<_> = settings.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "2001:db8::/32", "192.0.2.7/32"]);
    let log = AccessLog {
        folder: PathBuf::from("/etc/bindery/logs"),
        format: LogFormat::Json,
        shared: true,
        roll: Roll::Size(1_048_576),
        compress: false,
        keep_days: Some(30),
    };
    assert_eq!(settings.access_log, Some(log));
    assert_eq!(settings.admin.unwrap().ip(), "::1".parse::<IpAddr>().unwrap());
    assert_eq!(settings.connections_max, Some(100_000));
    assert_eq!(settings.connections_per_address_max, Some(1000));
    let networks = &document.configuration.listeners[0].proxy_protocol;
    assert_eq!(networks[0].to_string(), "10.0.0.0/8");
    let short = check("[server]\naccess_log = '/var/log/bindery'", &[]);
    let log = AccessLog::of(PathBuf::from("/var/log/bindery"));
    assert_eq!(short.configuration.settings.access_log, Some(log));
}

#[test]
fn what_the_server_cannot_have_is_refused() {
    check_server("trusted_proxies = ['‹10.0.0.1/8›']", "bad-network", "did you mean");
    check_server("trusted_proxies = ‹'10.0.0.0/8'›", "wrong-type", "put it in brackets");
    check_server("admin = '‹0.0.0.0:9180›'", "bad-value", "asked by other machines");
    check_server("admin = '‹192.0.2.1:9180›'", "bad-value", "127.0.0.1:9180");
    check_server("admin = '‹localhost:9180›'", "bad-value", "no address with a port");
    check_server("admin = '‹127.0.0.1:0›'", "bad-value", "0 is no port");
    check_server("connections_max = ‹0›", "bad-value", "from 1 to");
    check_server("access_log = ‹true›", "wrong-type", "a folder or a table");
    check_server("access_log = ‹{ format = 'json' }›", "missing-key", "folder is missing");
    check_server(
        "access_log = { folder = 'a', format = '‹jsn›' }",
        "bad-value",
        "did you mean \"json\"?",
    );
    check_server("access_log = { folder = 'a', roll = ‹5› }", "bad-value", "from 1048576");
    check_server(
        "access_log = { folder = 'a', roll = '‹weekly›' }",
        "bad-value",
        "\"daily\" or \"hourly\"",
    );
    check_server("access_log = { folder = 'a', roll = ‹true› }", "wrong-type", "number of bytes");
    check_server("access_log = { folder = 'a', keep_days = ‹0› }", "bad-value", "from 1 to 36500");
}

#[test]
fn folders_of_windows_are_for_a_file_without_sites() {
    let text = "version = 1\n[server]\nclient_ca = 'ca.pem'\n[paths]\n'C:\\inetpub' = \"inetpub\"\n\"d:\" = \"/srv/d\"\n'\\\\nas\\web' = \"/mnt/web\"\n";
    let document = read(text);
    assert!(document.problems.is_empty(), "{:?}", document.problems);
    let settings = &document.configuration.settings;
    assert_eq!(settings.client_ca.as_deref(), Some(Path::new("/etc/bindery/ca.pem")));
    let paths: Vec<_> =
        settings.paths.iter().map(|(key, path)| format!("{key} {}", path.display())).collect();
    assert_eq!(paths, ["C:\\inetpub /etc/bindery/inetpub", "d: /srv/d", "\\\\nas\\web /mnt/web"]);
    for (line, part) in [
        ("'inetpub' = '/x'", "no folder of Windows"),
        ("'C:inetpub' = '/x'", "no folder of Windows"),
        ("'C:\\a' = ''", "is empty"),
        ("'C:\\a' = '/x'\n'c:/A/' = '/y'", "is there twice"),
    ] {
        let document = read(&format!("version = 1\n[paths]\n{line}\n"));
        let [problem] = document.problems.as_slice() else { panic!("{line}") };
        assert!(problem.message.contains(part), "{line}: {}", problem.message);
    }
    let beside = "[[site]]\nname = 'a'\nroot = '.'\nbindings = ['http/*:80:']\n";
    let codes: Vec<_> =
        read(&format!("{text}{beside}")).problems.iter().map(|problem| problem.code).collect();
    assert_eq!(codes, [Code::NoEffect, Code::NoEffect]);
}
