//! What real rules come to.

use bindery_model::{
    decide::{
        condition::Asked,
        rewrite::{Replacement, Target},
    },
    rules::Test,
};

use super::*;
use crate::xml;

/// What rules come to, each in its own element, with the maps that stand before them.
fn rules(text: &str, base: &str) -> Result<Rules, String> {
    let tree = xml::parse(text).unwrap();
    let mut maps = Maps::new();
    let mut all = Vec::new();
    let elements = match tree.root().name() {
        "rule" => vec![tree.root()],
        _ => tree.root().children().collect(),
    };
    for element in elements {
        if element.name() == "rule" {
            all.push((String::new(), Rule::read(element, base)?.outcomes(&maps)?));
            continue;
        }
        let value = |name: &str| element.value(name).unwrap_or_default().into_owned();
        let map = maps.entry(value("name").to_lowercase()).or_default();
        map.default = value("defaultValue");
        for pair in element.children() {
            let value = |name: &str| pair.value(name).unwrap().into_owned();
            map.entries.push((value("key"), value("value")));
        }
    }
    Ok(Rules(all))
}

/// What becomes of a request, where nothing is at its path.
fn asked(rules: &Rules, url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap();
    let (authority, target) = rest.split_at(rest.find('/').unwrap());
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let https = scheme == "https";
    let asked = Asked { query, authority, https, ..Asked::of(path.as_bytes()) };
    let held = |path: &_, when: &_, to: Option<&str>, keep: bool| -> Option<Target> {
        let made = Replacement::new(path, when, to).unwrap();
        made.target(&asked, keep).filter(|_| made.admits(false, false))
    };
    for rule in rules.redirects() {
        let to = match &rule.to {
            RedirectTo::Target(to) => Some(to.as_str()),
            _ => None,
        };
        if let Some(target) = held(&rule.path, &rule.when, to, rule.keep_query) {
            match rule.to {
                RedirectTo::Target(_) => return format!("{} {}", rule.status, target.text),
                RedirectTo::Refused => return rule.status.to_string(),
                RedirectTo::Here => break,
            }
        }
    }
    for RewriteRule { path, when, to } in rules.rewrites() {
        if let Some(target) = held(&path, &when, to.as_deref(), true) {
            return if to.is_some() { target.text } else { "here".to_owned() };
        }
    }
    "nothing".to_owned()
}

#[track_caller]
fn check(text: &str, base: &str, cases: &[(&str, &str)]) {
    let read = rules(text, base).unwrap();
    for (url, expected) in cases {
        assert_eq!(asked(&read, url), *expected, "{url}: {read:?}");
    }
}

fn rule(pattern: &str, more: &str) -> String {
    format!("<rule name='r' stopProcessing='true'><match url='{pattern}'/>{more}</rule>")
}

#[test]
fn back_references_are_those_of_the_path_below_the_level() {
    let to = "<action type='Redirect' url='https://n.example/{R:1}'/>";
    let go = |pattern: &str, base: &str, path: &str, expected: &str| {
        let url = format!("http://a{path}");
        check(&rule(pattern, to), base, &[(&url, expected)]);
    };
    go("(.*)", "/", "/a/b", "301 https://n.example/a/b");
    go("^(.*)$", "/", "/", "301 https://n.example/");
    go("^(.*)$", "/app", "/app/x", "301 https://n.example/x");
    go("^(.*)$", "/app", "/other", "nothing");
    go("^old/(.*)", "/", "/OLD/x", "301 https://n.example/x");
    go("^old/(.*)", "/", "/very/old/x", "nothing");
    go("old/(.*)", "/", "/very/old/x", "301 https://n.example/x");
    go("^(a)$|^(b)$", "/", "/a", "301 https://n.example/a");
    go("^(a)$|^(b)$", "/", "/b", "301 https://n.example/");
    let whole = "<action type='Redirect' url='/new/{R:0}'/>";
    check(&rule("x.*", whole), "/", &[("http://a/a/xyz", "301 /new/xyz")]);
}

#[test]
fn relative_targets_begin_at_the_level() {
    let to = "<action type='Rewrite' url='page.html?p={R:1}'/>";
    let pattern = "^p/([0-9]+)$";
    check(&rule(pattern, to), "/app", &[("http://a/app/p/7", "/app/page.html?p=7")]);
    check(&rule(pattern, to), "/", &[("http://a/p/7?q", "/page.html?p=7&q")]);
}

#[test]
fn http_goes_to_https() {
    for condition in [
        "<add input='{HTTPS}' pattern='^OFF$'/>",
        "<add input='{HTTPS}' pattern='on' negate='true'/>",
        "<add input='{SERVER_PORT_SECURE}' pattern='^0$'/>",
    ] {
        for to in ["https://{HTTP_HOST}/{R:1}", "https://{HTTP_HOST}{REQUEST_URI}"] {
            let text =
                format!("<conditions>{condition}</conditions><action type='Redirect' url='{to}'/>");
            check(
                &rule("(.*)", &text),
                "/",
                &[
                    ("http://a.example:8080/x/y?q=1", "301 https://a.example:8080/x/y?q=1"),
                    ("https://a.example/x", "nothing"),
                ],
            );
        }
    }
}

#[test]
fn a_bare_domain_goes_to_www_and_back() {
    let to_www = "<conditions><add input='{HTTP_HOST}' pattern='^contoso\\.example$'/>\
        </conditions><action type='Redirect' url='https://www.contoso.example/{R:1}'/>";
    check(
        &rule("(.*)", to_www),
        "/",
        &[
            ("http://Contoso.example/a?b", "301 https://www.contoso.example/a?b"),
            ("http://www.contoso.example/a", "nothing"),
        ],
    );
    let any = "<conditions><add input='{HTTP_HOST}' pattern='^(?!www\\.)(.*)$'/></conditions>\
        <action type='Redirect' url='https://www.{C:1}/{R:1}' redirectType='Found'/>";
    check(
        &rule("(.*)", any),
        "/",
        &[("https://a.example/x", "302 https://www.a.example/x"), ("https://www.a/x", "nothing")],
    );
    let off = "<conditions><add input='{HTTP_HOST}' pattern='^(www\\.)(.*)$'/>\
        <add input='{CACHE_URL}' pattern='^(https?)://'/></conditions>\
        <action type='Redirect' url='{C:1}://a.example/{R:1}'/>";
    check(
        &rule("(.*)", off),
        "/",
        &[
            ("https://www.a/x", "301 https://a.example/x"),
            ("http://www.a/x", "301 http://a.example/x"),
        ],
    );
    let tracked = "<conditions trackAllCaptures='true'>\
        <add input='{HTTP_HOST}' pattern='^www\\.(.*)$'/>\
        <add input='{QUERY_STRING}' pattern='^id=([0-9]+)$'/></conditions>\
        <action type='Redirect' url='https://{C:1}/{C:2}' appendQueryString='false'/>";
    check(
        &rule(".*", tracked),
        "/",
        &[("http://www.a/x?id=7", "301 https://a/7"), ("http://www.a/x", "nothing")],
    );
}

#[test]
fn a_front_controller_answers_where_no_file_is() {
    let front = "<conditions logicalGrouping='MatchAll'>\
        <add input='{REQUEST_FILENAME}' matchType='IsFile' negate='true'/>\
        <add input='{REQUEST_FILENAME}' matchType='IsDirectory' negate='true'/>\
        </conditions><action type='Rewrite' url='index.php/{R:1}'/>";
    let read = rules(&rule("^(.*)$", front), "/").unwrap();
    assert_eq!(asked(&read, "http://a/x/y?q"), "/index.php/x/y?q");
    let [rewrite] = read.rewrites().try_into().unwrap();
    let not = |test| Condition { test, negate: true };
    assert_eq!(rewrite.when, [not(Test::File), not(Test::Folder)]);
}

#[test]
fn the_order_of_rules_counts() {
    let text = "<rules>\
        <rule stopProcessing='true'><match url='^\\.well-known/acme-challenge/'/>\
        <action type='None'/></rule>\
        <rule><match url='^in/'/><action type='Rewrite' url='/inner'/></rule>\
        <rule><match url='(.*)'/><conditions><add input='{HTTPS}' pattern='off'/></conditions>\
        <action type='Redirect' url='https://{HTTP_HOST}/{R:1}'/></rule>\
        <rule><match url='.*'/><action type='Rewrite' url='/index.html'/></rule></rules>";
    check(
        text,
        "/",
        &[
            ("http://a/.well-known/acme-challenge/t", "here"),
            ("http://a/in/x", "/inner"),
            ("http://a/x", "301 https://a/x"),
            ("https://a/x", "/index.html"),
        ],
    );
}

#[test]
fn one_of_several_conditions_may_be_enough() {
    let any = "<conditions logicalGrouping='MatchAny'>\
        <add input='{HTTP_HOST}' pattern='^a$'/>\
        <add input='{HTTP_USER_AGENT}' pattern='bot'/>\
        <add input='{REQUEST_URI}' pattern='^/x'/></conditions>\
        <action type='CustomResponse' statusCode='410'/>";
    check(
        &rule(".*", any),
        "/",
        &[("http://a/", "410"), ("http://b/x", "410"), ("http://b/", "nothing")],
    );
}

#[test]
fn what_must_not_fit_does_not() {
    let refuse = "<action type='AbortRequest'/>";
    let text = format!("<rule><match url='^open/' negate='true'/>{refuse}</rule>");
    check(&text, "/app", &[("http://a/app/x", "403"), ("http://a/app/open/x", "nothing")]);
    check(
        &rule("^(?!api/)(?!img/).*$", refuse),
        "/",
        &[("http://a/x", "403"), ("http://a/api/x", "nothing"), ("http://a/img/x", "nothing")],
    );
}

#[test]
fn maps_are_looked_up() {
    let map = "<rewriteMap name='Old'><add key='/a.asp' value='/a'/>\
        <add key='/b.asp?id=1' value='/b'/></rewriteMap>";
    let go = "<conditions><add input='{Old:{REQUEST_URI}}' pattern='(.+)'/></conditions>\
        <action type='Redirect' url='{C:1}' appendQueryString='false'/>";
    let text = format!("<rewrite>{map}{}</rewrite>", rule(".*", go));
    check(
        &text,
        "/",
        &[
            ("http://h/A.asp", "301 /a"),
            ("http://h/b.asp?id=1", "301 /b"),
            ("http://h/b.asp?id=2", "nothing"),
            ("http://h/a.asp?q", "nothing"),
            ("http://h/c", "nothing"),
        ],
    );
    let secure = "<rewriteMap name='Scheme' defaultValue='http://'>\
        <add key='on' value='https://'/></rewriteMap>";
    let go = "<conditions><add input='{HTTP_HOST}' pattern='^www\\.a$' negate='true'/>\
        </conditions><action type='Redirect' url='{Scheme:{HTTPS}}www.a/{R:1}'/>";
    let text = format!("<rewrite>{secure}{}</rewrite>", rule("(.*)", go));
    check(
        &text,
        "/",
        &[
            ("http://a/x", "301 http://www.a/x"),
            ("https://a/x", "301 https://www.a/x"),
            ("https://www.a/x", "nothing"),
        ],
    );
    let by_path =
        "<rewriteMap name='M' defaultValue='/none'><add key='x' value='/1'/></rewriteMap>";
    let go = "<action type='Rewrite' url='{M:{R:1}}'/>";
    let text = format!("<rewrite>{by_path}{}</rewrite>", rule("^(.*)$", go));
    check(&text, "/app", &[("http://h/app/x", "/1"), ("http://h/app/y", "/none")]);
}

#[test]
fn other_servers_get_whole_paths() {
    let hand = |pattern: &str, to: &str, base: &str| {
        let text = rule(pattern, &format!("<action type='Rewrite' url='{to}'/>"));
        let read = rules(&text, base)?;
        let [handed] = read.handed().cloned().collect::<Vec<_>>().try_into().unwrap();
        let server = &handed.proxy.upstream.servers[0];
        let path = handed.proxy.path.as_deref().unwrap_or("as it is");
        Ok::<_, String>(format!("{} {} {path}", handed.path, server.address))
    };
    let is = |pattern, to, base, expected: &str| {
        assert_eq!(hand(pattern, to, base).as_deref(), Ok(expected), "{pattern} {to} {base}");
    };
    is("(.*)", "http://localhost:3000/{R:1}", "/", "/ localhost:3000 as it is");
    is("^(.*)$", "http://localhost:3000/{R:0}", "/app", "/app localhost:3000 /");
    is("(.*)", "https://b.example{REQUEST_URI}", "/", "/ b.example:443 as it is");
    is("^api/(.*)", "http://127.0.0.1:5000/api/{R:1}", "/", "/api 127.0.0.1:5000 as it is");
    is("^api/(.*)", "http://127.0.0.1:5000/{R:1}", "/", "/api 127.0.0.1:5000 /");
    is("^api/(.*)", "http://127.0.0.1:5000/v2/{R:1}", "/x", "/x/api 127.0.0.1:5000 /v2");
    is("^api/.*", "http://127.0.0.1:5000/{R:0}", "/", "/api 127.0.0.1:5000 as it is");
    for (pattern, to) in [
        ("api/(.*)", "http://b/{R:1}"),
        ("^(a|b)/(.*)", "http://b/{R:2}"),
        ("^api/(.*)", "http://b/?p={R:1}"),
        ("^api/(.*)", "http://{R:1}/"),
        ("^api/(.*)", "http://b/x"),
    ] {
        assert!(hand(pattern, to, "/").is_err(), "{pattern} {to}");
    }
    let read = rules(&rule("^api/(.*)", "<action type='Rewrite' url='http://b/v/{R:1}'/>"), "/");
    let read = read.unwrap();
    let handed = read.handed().next().unwrap();
    assert_eq!(handed.at("/API/x").unwrap().path.as_deref(), Some("/v/x"));
    assert!(handed.at("/apis").is_none());
}

#[test]
fn what_rules_before_keep_here_is_known_by_its_beginning() {
    for (text, start, whole) in [
        (r"(?i)^/(\.well\-known/acme-challenge/)", "/.well-known/acme-challenge/", true),
        ("^/(a/.*)", "/a/", true),
        ("^/(a/(.*)$)", "/a/", true),
        ("^/(ab?c)", "/a", false),
        ("^/(a|b)", "", false),
        ("^/.*?(x)", "/", false),
        (r"^/(a\d)", "/a", false),
        ("^/(a$)", "/a", false),
    ] {
        assert_eq!(literal_start(text), (start.to_owned(), whole), "{text}");
    }
    let before = |pattern: &str, more: &str| {
        let text =
            format!("<rules>{}</rules>", rule(pattern, &format!("{more}<action type='None'/>")));
        rules(&text, "/").unwrap()
    };
    let acme = before(r"^\.well-known/acme-challenge/", "");
    assert_eq!(acme.kept_below("/"), Some(vec!["/.well-known/acme-challenge".to_owned()]));
    assert_eq!(acme.kept_below("/api"), Some(Vec::new()));
    assert_eq!(before("^api", "").kept_below("/api"), None);
    assert_eq!(before(".*", "").kept_below("/api"), None);
    let host = "<conditions><add input='{HTTP_HOST}' pattern='a'/></conditions>";
    assert_eq!(before("^x/", host).kept_below("/"), None);
}

#[test]
fn what_cannot_be_said_is_refused_with_its_reason() {
    let refused = |inner: &str| rules(&format!("<rule>{inner}</rule>"), "/").unwrap_err();
    let go = "<action type='Redirect' url='/x'/>";
    assert_eq!(refused(go), "it has no match");
    assert!(refused(&format!("<match url='(?=a)'/>{go}")).contains("look-around"));
    assert!(refused(&format!("<match url='(^a|b)'/>{go}")).contains("^ within"));
    assert!(refused(&format!("<match url='^a|b'/>{go}")).contains("some of its alternatives"));
    let on = |input: &str| {
        let list = format!("<conditions><add input='{input}' pattern='a'/></conditions>");
        refused(&format!("<match url='(a).*'/>{list}{go}"))
    };
    assert!(on("{APPL_PHYSICAL_PATH}").contains("{APPL_PHYSICAL_PATH}"));
    assert!(on("{HTTP_HOST}{URL}").contains("{HTTP_HOST}{URL}"));
    assert!(on("{R:1}").contains("{R:1}"));
    let to =
        |url: &str| refused(&format!("<match url='(.*)'/><action type='Redirect' url='{url}'/>"));
    assert!(to("{Map:{R:1}}").contains("not known"));
    assert!(to("{ToLower:{R:1}}").contains("{tolower:...} is not known"));
    assert!(to("/{C:1}").contains("stands for nothing"));
    assert!(to("{").contains("does not end"));
    assert!(
        refused("<match url='a'/><action type='CustomResponse' statusCode='200'/>")
            .contains("answers 200")
    );
}
