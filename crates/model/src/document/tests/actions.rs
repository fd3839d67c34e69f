use std::{path::PathBuf, time::Duration};

use super::*;
use crate::{
    site::{FastCgi, Route, Site, Symlinks, UnknownTypes},
    upstream::{
        Balance, HealthCheck, Proxy, ProxyProtocol, ServerAddress, Sticky, Timeouts, Upstream,
        UpstreamHost, UpstreamProtocol, UpstreamServer, UpstreamTls,
    },
};

const ON: &str = "[[site]]\nname = 'a'\nbindings = ['http/*:80:']\n";

#[track_caller]
fn only_site(lines: &str) -> Site {
    check(&format!("{ON}{lines}"), &[]).configuration.table.sites[0].as_ref().clone()
}

#[track_caller]
fn wrong(lines: &str, code: &str, part: &str) {
    check(&format!("{ON}{lines}"), &[(code, part)]);
}

fn at(place: &str) -> PathBuf {
    Path::new("/etc/bindery").join(place)
}

fn tcp(host: &str, port: u16) -> ServerAddress {
    ServerAddress::Tcp { host: host.to_owned(), port }
}

fn server(address: ServerAddress) -> UpstreamServer {
    UpstreamServer { address, https: false, weight: 1, backup: false }
}

#[track_caller]
fn files(lines: &str) -> Files {
    match only_site(lines).root.action {
        RouteAction::Files(files) => files,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn proxy(lines: &str) -> Proxy {
    match only_site(lines).root.action {
        RouteAction::Proxy(proxy) => *proxy,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_option_of_files_is_read() {
    let lines = r#"
root = "www"
default_documents = ["a.html"]
listing = true
fallback = "/app/index.html"
symlinks = "follow"
precompressed = false
media_types = { ".FOO" = "application/x-foo" }
unknown_types = "refuse"
charset = ""
cache_control = [
  { suffix = ".css", value = "max-age=31536000, immutable" },
  { path = "/a b", value = "no-store" },
  { prefix = "/img/", value = "max-age=60" },
  { regex = '^/[a-z]+\.js$', value = "no-cache" },
]
"#;
    let read = files(lines);
    let patterns: Vec<_> =
        read.cache_control.iter().map(|rule| format!("{:?}", rule.path)).collect();
    assert_eq!(
        patterns,
        ["Suffix(\".css\")", "Exact(\"/a b\")", "Prefix(\"/img/\")", "Regex(\"^/[a-z]+\\\\.js$\")"]
    );
    assert_eq!(read.cache_control[0].value, "max-age=31536000, immutable");
    let expected = Files {
        default_documents: vec!["a.html".to_owned()],
        listing: true,
        fallback: Some("/app/index.html".to_owned()),
        symlinks: Symlinks::Follow,
        precompressed: false,
        media_types: [("foo".to_owned(), "application/x-foo".to_owned())].into(),
        unknown_types: UnknownTypes::Refuse,
        charset: None,
        cache_control: read.cache_control.clone(),
        ..Files::of(at("www"))
    };
    assert_eq!(read, expected);
    assert_eq!(files("root = 'www'"), Files::of(at("www")));
}

#[test]
fn what_is_listed_may_be_all_that_is_sent_and_names_may_be_hidden() {
    let read = files("root = 'www'\nunknown_types = \"listed\"\nhidden = [\"bin\", \"App_Data\"]");
    assert_eq!(read.unknown_types, UnknownTypes::Listed);
    assert_eq!(*read.hidden, ["bin", "App_Data"]);
    wrong(
        "root = 'r'\nhidden = [\"a\", \"‹a/b›\"]",
        "bad-value",
        "write a name alone, as in \"bin\"",
    );
}

#[test]
fn options_of_files_that_make_no_sense_are_refused() {
    let refused = |line: &str, part: &str| wrong(&format!("root = 'r'\n{line}"), "bad-value", part);
    refused("fallback = '‹index.html›'", "write \"/index.html\"");
    refused("fallback = '‹/a/../b›'", "dot segment");
    refused("fallback = '‹/a//b›'", "write \"/a/b\"");
    refused("fallback = '‹/a/›'", "a folder, where a file");
    refused("fallback = '/a‹?b›'", "no query");
    refused("fallback = '/a‹%20›b'", "percent-encoding");
    refused("symlinks = '‹insde›'", "did you mean \"inside\"?");
    refused("media_types = { ‹foo› = 'a/b' }", "write \".foo\"");
    refused(
        "media_types = { ‹\".tar.gz\"› = 'a/b' }",
        "after the last dot".replace("after", "what follows").as_str(),
    );
    refused("media_types = { \".a\" = '‹html›' }", "no media type");
    refused("media_types = { \".a\" = 'a/b', ‹\".A\"› = 'a/b' }", "there twice");
    refused("charset = '‹utf 8›'", "character set");
    refused("cache_control = [{ path = '/a', value = ‹\"a\\nb\"› }]", "value of a field");
    refused("cache_control = [{ path = '/a', value = ‹''› }]", "value of a field");
    wrong("root = 'r'\ncache_control = [‹{ value = 'a' }›]", "missing-key", "for which paths");
    wrong(
        "root = 'r'\ncache_control = [{ path = '/a', ‹suffix› = '.b', value = 'a' }]",
        "exclusive",
        "has path and suffix",
    );
    wrong("root = 'r'\nlisting = ‹'true'›", "wrong-type", "without quotes: listing = true");
    wrong(
        "‹listing› = true\nproxy = 'http://b'",
        "exclusive",
        "listing goes with root, not with proxy",
    );
}

#[test]
fn a_proxy_is_a_url_several_or_a_table() {
    let one = Upstream::of(vec![server(tcp("127.0.0.1", 9000))]);
    assert_eq!(proxy("proxy = 'http://127.0.0.1:9000'"), Proxy::to(one.clone()));
    assert_eq!(proxy("proxy = ['http://127.0.0.1:9000']"), Proxy::to(one.clone()));
    assert_eq!(proxy("proxy.to = 'http://127.0.0.1:9000'"), Proxy::to(one.clone()));
    assert_eq!(proxy("proxy = { to = ['http://127.0.0.1:9000'] }"), Proxy::to(one.clone()));
    let below = |path: &str| Proxy { path: Some(path.to_owned()), ..Proxy::to(one.clone()) };
    assert_eq!(proxy("proxy = 'http://127.0.0.1:9000/v2'"), below("/v2"));
    assert_eq!(proxy("proxy = 'http://127.0.0.1:9000/'"), below("/"));
    let addresses = |text: &str| proxy(&format!("proxy = {text}")).upstream.servers;
    let secure = UpstreamServer { https: true, ..server(tcp("app.internal", 443)) };
    assert_eq!(addresses("'https://App.Internal'"), [secure]);
    assert_eq!(addresses("'http://[2001:db8::1]'"), [server(tcp("2001:db8::1", 80))]);
    assert_eq!(addresses("'unix:run/a.sock'"), [server(ServerAddress::Unix(at("run/a.sock")))]);
}

#[test]
fn every_key_of_a_proxy_is_read() {
    let lines = r#"
[site.proxy]
to = ["http://127.0.0.1:9000", { to = "http://127.0.0.1:9001", weight = 3, backup = true }, "https://app.internal:8443", "unix:/run/app.sock"]
host = "server"
balance = "least-connections"
sticky = { cookie = "route" }
http2 = true
tls = { ca = "ca.pem", server_name = "app.internal" }
proxy_protocol = "v2"
health_check = { path = "/healthz?a", interval_seconds = 7, timeout_seconds = 3, rise = 4, fall = 5 }
failures_max = 0
failed_for_seconds = 11
idle_connections_max = 12
connect_timeout_seconds = 1
first_byte_timeout_seconds = 2
idle_timeout_seconds = 86400
forwarded = true
"#;
    let seconds = Duration::from_secs;
    let upstream = Upstream {
        servers: vec![
            server(tcp("127.0.0.1", 9000)),
            UpstreamServer { weight: 3, backup: true, ..server(tcp("127.0.0.1", 9001)) },
            UpstreamServer { https: true, ..server(tcp("app.internal", 8443)) },
            server(ServerAddress::Unix(PathBuf::from("/run/app.sock"))),
        ],
        balance: Balance::LeastConnections,
        sticky: Sticky::Cookie("route".to_owned()),
        protocol: UpstreamProtocol::Http2,
        tls: UpstreamTls {
            ca: Some(at("ca.pem")),
            server_name: Some("app.internal".to_owned()),
            insecure: false,
        },
        proxy_protocol: Some(ProxyProtocol::V2),
        health_check: Some(HealthCheck {
            path: "/healthz?a".to_owned(),
            interval: seconds(7),
            timeout: seconds(3),
            rise: 4,
            fall: 5,
        }),
        failures_max: 0,
        failed_for: seconds(11),
        idle_connections_max: 12,
    };
    let expected = Proxy {
        upstream,
        path: None,
        host: UpstreamHost::Server,
        timeouts: Timeouts { connect: seconds(1), first_byte: seconds(2), idle: seconds(86400) },
        forwarded: true,
    };
    assert_eq!(proxy(lines), expected);
    let fixed = proxy("proxy = { to = 'http://b', host = 'App.example:8080', sticky = 'address' }");
    assert_eq!(fixed.host, UpstreamHost::Fixed("app.example:8080".to_owned()));
    assert_eq!(fixed.upstream.sticky, Sticky::Address);
}

#[test]
fn a_server_that_is_none_is_refused_at_its_part() {
    let refused = |url: &str, part: &str| wrong(&format!("proxy = '{url}'"), "bad-value", part);
    refused("‹127.0.0.1:9000›", "did you mean \"http://127.0.0.1:9000\"?");
    refused("‹app›", "write a URL");
    refused("‹ftp›://a", "neither http nor https");
    refused("‹h2c›://a", "http2 = true");
    refused("‹wss›://a", "WebSockets begin as requests");
    refused("http://‹u:p@›a", "user name");
    refused("http://‹a:0›", "\"0\" is no port");
    refused("http://‹a b›/", "character that no host name has");
    refused("http://‹:80›", "host name is missing");
    refused("http://a/b‹?c›", "the query is that of the request");
    refused("http://a‹/b/›", "write \"/b\"");
    refused("http://a‹/b//c›", "write \"/b/c\"");
    refused("http://a‹/../b›", "dot segment");
    refused("http://a/‹ü›", "percent-encoded");
    refused("‹unix:›", "path of the socket is missing");
    refused("unix:‹///run/a›", "write \"unix:/run/a\"");
    refused(&format!("unix:‹/{}›", "a".repeat(107)), "at most 107 bytes");
    wrong("proxy = ‹[]›", "bad-value", "there is no server");
    wrong("proxy = ‹1›", "wrong-type", "a URL, an array of them or a table");
    wrong("proxy = ['http://a', ‹1›]", "wrong-type", "a table");
    wrong("proxy = ['http://a', 'http://‹@›b']", "bad-value", "user name");
}

#[test]
fn servers_that_cannot_stand_together_are_refused() {
    wrong("proxy = ['http://a/x', '‹http://b›']", "exclusive", "the path of this server is none");
    wrong("proxy = ['http://a', '‹http://A:80›']", "bad-value", "a:80 is there twice");
    wrong(
        "proxy.to = [{ to = '‹http://a›', backup = true }]",
        "bad-value",
        "every server is a backup",
    );
    wrong("proxy.to = [{ to = 'http://a', weight = ‹0› }]", "bad-value", "from 1 to 256");
    wrong("proxy = { to = 'http://a', ‹tls› = {} }", "tls-without-https", "write https://");
    wrong(
        "proxy = { to = 'https://a', tls = { insecure = true, ‹ca› = 'x' } }",
        "exclusive",
        "has insecure and ca",
    );
    wrong("proxy = { to = 'https://a', tls.server_name = '‹1.2.3.4›' }", "bad-host", "an address");
    wrong("proxy = ‹{}›", "missing-key", "proxy of site \"a\": to is missing");
    wrong("proxy = { to = 'http://a', host = '‹kep›' }", "bad-value", "did you mean \"keep\"?");
    wrong("proxy = { to = 'http://a', host = '‹a b›' }", "bad-value", "no host");
    wrong("proxy = { to = 'http://a', sticky.cookie = '‹a;b›' }", "bad-value", "name of a cookie");
    wrong("proxy = { to = 'http://a', sticky = '‹cookie›' }", "bad-value", "takes \"address\"");
    wrong("proxy = { to = 'http://a', ‹balanc› = 1 }", "unknown-key", "did you mean \"balance\"?");
    wrong(
        "proxy = { to = 'http://a', idle_timeout_seconds = ‹0› }",
        "bad-value",
        "from 1 to 86400",
    );
    wrong("proxy = { to = 'http://a', health_check = ‹{}› }", "missing-key", "path is missing");
    wrong(
        "proxy = { to = 'http://a', health_check.path = '‹healthz›' }",
        "bad-value",
        "begins with one slash",
    );
}

#[test]
fn fastcgi_stands_beside_root() {
    let lines = r#"
root = "www"
[site.fastcgi]
to = "127.0.0.1:9000"
extensions = [".PHP", ".phtml"]
front_controller = "/index.php"
parameters = { APP_ENV = "production" }
connect_timeout_seconds = 1
idle_connections_max = 2
"#;
    let expected = FastCgi {
        server: tcp("127.0.0.1", 9000),
        files: Files::of(at("www")),
        extensions: vec!["php".to_owned(), "phtml".to_owned()],
        front_controller: Some("/index.php".to_owned()),
        parameters: vec![("APP_ENV".to_owned(), "production".to_owned())],
        timeouts: Timeouts { connect: Duration::from_secs(1), ..Timeouts::default() },
        idle_connections_max: 2,
    };
    assert_eq!(only_site(lines).root.action, RouteAction::FastCgi(Box::new(expected)));
    match only_site("fastcgi = 'unix:/run/php.sock'\nroot = 'www'\nlisting = true").root.action {
        RouteAction::FastCgi(program) => {
            assert_eq!(program.server.to_string(), "unix:/run/php.sock");
            assert_eq!(program.extensions, ["php"]);
            assert!(program.files.listing);
        }
        other => panic!("{other:?}"),
    }
    let refused = |line: &str, part: &str| wrong(&format!("root = 'r'\n{line}"), "bad-value", part);
    wrong("‹fastcgi› = '127.0.0.1:9000'", "missing-key", "fastcgi needs root");
    wrong("root = 'r'\nproxy = 'http://a'\n‹fastcgi› = 'a:1'", "exclusive", "proxy and fastcgi");
    wrong("root = 'r'\nfastcgi = ‹{}›", "missing-key", "to is missing");
    wrong("root = 'r'\nfastcgi = ‹1›", "wrong-type", "an address or a table");
    refused("fastcgi = '‹http://127.0.0.1:9000›'", "write \"127.0.0.1:9000\"");
    refused("fastcgi = '‹/run/php.sock›'", "did you mean \"unix:/run/php.sock\"?");
    refused("fastcgi = '‹127.0.0.1›'", "has no port");
    let table =
        |rest: &str, part: &str| refused(&format!("fastcgi = {{ to = 'a:1', {rest} }}"), part);
    table("extensions = ['‹php›']", "write \".php\"");
    table("extensions = ‹[]›", "no endings");
    table("front_controller = ‹'/index.html'›", "no ending of a script");
    table("front_controller = '‹index.php›'", "write \"/index.php\"");
    table("parameters = { ‹HTTP_PROXY› = 'x' }", "field of the request");
    table("parameters = { ‹a-b› = 'x' }", "no name of a parameter");
    table("parameters = { A = ‹\"x\\u0000\"› }", "control character");
}

#[track_caller]
fn routes(lines: &str) -> Vec<Route> {
    only_site(lines).routes
}

#[test]
fn applications_and_virtual_directories_inherit_options_and_rules() {
    let read = routes(
        r#"
root = "www"
listing = true
request_bytes_max = 1
compress = true
[[site.applications]]
path = "/api"
proxy = "http://127.0.0.1:9000"
request_bytes_max = 2
[[site.applications]]
path = "/app"
root = "app"
listing = false
[[site.applications]]
path = "/gone"
respond = { status = 410 }
compress = false
[[site.virtual_directories]]
path = "/images/big"
root = "images"
"#,
    );
    let paths: Vec<_> = read.iter().map(|route| route.path.as_str()).collect();
    assert_eq!(paths, ["/api", "/app", "/gone", "/images/big"]);
    let bytes: Vec<_> = read.iter().map(|route| route.rules.request_bytes_max).collect();
    assert_eq!(bytes, [Some(2), Some(1), Some(1), Some(1)]);
    let compress: Vec<_> = read.iter().map(|route| route.rules.compress.is_some()).collect();
    assert_eq!(compress, [true, true, false, true]);
    assert_eq!(read[1].action, RouteAction::Files(Files::of(at("app"))));
    let listed = Files { listing: true, ..Files::of(at("images")) };
    assert_eq!(read[3].action, RouteAction::Files(listed));
    let below_a_proxy = routes("proxy = 'http://a'\napplications = [{ path = '/a', root = 'b' }]");
    assert_eq!(below_a_proxy[0].action, RouteAction::Files(Files::of(at("b"))));
}

#[test]
fn a_route_without_rules_of_its_own_shares_those_of_its_site() {
    let site =
        only_site("root = 'r'\ncompress = true\napplications = [{ path = '/a', root = 'b' }]");
    assert!(std::sync::Arc::ptr_eq(&site.root.rules, &site.routes[0].rules));
}

#[test]
fn paths_of_routes_are_plain_and_unique() {
    let path =
        |text: &str| format!("root = 'r'\napplications = [{{ path = '{text}', root = 'b' }}]");
    wrong(&path("‹api›"), "bad-value", "write \"/api\"");
    wrong(&path("‹/›"), "bad-value", "the site's own");
    wrong(&path("‹/a/›"), "bad-value", "write \"/a\"");
    wrong(&path("‹/a//b›"), "bad-value", "write \"/a/b\"");
    wrong(&path("‹/a/./b›"), "bad-value", "dot segment");
    wrong(&path("/a‹%2f›b"), "bad-value", "percent-encoding");
    wrong(&path("/a‹?b›"), "bad-value", "no query");
    wrong(&path("/a‹\\›b"), "bad-value", "no path has");
    wrong("root = 'r'\napplications = [‹{ root = 'b' }›]", "missing-key", "path is missing");
    let two = |one: &str, other: &str| {
        format!(
            "root = 'r'\napplications = [{{ path = '{one}', root = 'b' }}]\nvirtual_directories = [{{ path = '‹{other}›', root = 'b' }}]"
        )
    };
    wrong(&two("/a", "/a"), "duplicate-route", "another answers at \"/a\"");
    wrong(&two("/a", "/A"), "case-differs", "differ in case only");
    wrong(
        "root = 'r'\n[[site.applications]]\npath = ‹''›\nroot = 'b'",
        "bad-value",
        "begin with a slash",
    );
    wrong(
        "root = 'r'\n[[site.applications]]\npath = '‹api/›'\nroot = 'b'",
        "bad-value",
        "begin with a slash / write \"/api\"",
    );
}

#[test]
fn a_virtual_directory_has_files_only() {
    let lines = "root = 'r'\n[[site.virtual_directories]]\npath = '/a'\nroot = 'b'\n";
    wrong(&format!("{lines}‹proxy› = 'http://a'"), "exclusive", "has files only");
    wrong(
        "root = 'r'\nvirtual_directories = [‹{ path = '/a' }›]",
        "missing-key",
        "virtual directory \"/a\" of site \"a\": root is missing",
    );
    wrong(
        "root = 'r'\napplications = [{ path = '‹/a›' }]",
        "missing-key",
        "application \"/a\" of site \"a\" does not say what answers",
    );
}

#[test]
fn a_key_of_the_site_below_a_table_of_it_is_told_where_it_belongs() {
    let site = "[[site]]\nname = 'a'\n";
    let text =
        format!("{site}bindings = ['http/*:80:']\n[site.proxy]\nto = 'http://a'\n‹hsts› = true");
    check(&text, &[("unknown-key", "above tables such as [site.proxy]")]);
    let text = format!(
        "{site}respond = ''\nbindings = ['http/*:80:']\n[[site.applications]]\npath = '/a'\nroot = 'b'\n‹limits› = {{}}"
    );
    check(&text, &[("unknown-key", "it is a key of [[site]]")]);
}

#[test]
fn a_secret_in_a_folder_that_is_served_is_a_warning() {
    let shown = |lines: &str, part: &str| wrong(lines, "secret-served", part);
    shown("root = 'www'\nbasic_auth.file = '‹www/x/passwords›'", "the password file of site");
    shown("root = 'www'\nbasic_auth.file = '‹a/../www/passwords›'", "the password file of site");
    only_site("root = 'www'\nbasic_auth.file = 'www/.htpasswd'");
    only_site("root = 'www'\nbasic_auth.file = 'www-passwords'");
    let log = "[server]\naccess_log = '‹logs›'\n";
    check(&format!("{log}{ON}root = '.'"), &[("secret-served", "the access log")]);
    let key = "[[certificate]]\nname = 'c'\nfile = '‹www/c.pem›'\n";
    let users = "[[site]]\nname = 'b'\nrespond = ''\nbindings = [{ on = 'https/*:443:', certificate = 'c' }]\n";
    check(&format!("{key}{users}{ON}root = 'www'"), &[("secret-served", "the private key")]);
}
