//! What real rules come to.

use bindery_model::{
    decide::{
        condition::Asked,
        rewrite::{Replacement, Target},
        route::decoded_path,
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
    let port = if https { 443 } else { 80 };
    let asked = Asked { query, authority, https, port, ..Asked::of(path.as_bytes()) };
    let held = |path: &_, when: &_, to: Option<&str>, keep: bool, asked: &Asked<'_>| {
        let made = Replacement::new(path, when, to).unwrap();
        made.target(asked, keep).filter(|_| made.admits(false, false))
    };
    for rule in rules.redirects() {
        let to = match &rule.to {
            RedirectTo::Target(to) => Some(to.as_str()),
            _ => None,
        };
        if let Some(target) = held(&rule.path, &rule.when, to, rule.keep_query, &asked) {
            match rule.to {
                RedirectTo::Target(_) => return format!("{} {}", rule.status, target.text),
                RedirectTo::Refused => return rule.status.to_string(),
                RedirectTo::Here => break,
            }
        }
    }
    let (mut now, mut from) = (None::<String>, 0);
    let rewrites = rules.rewrites();
    while let Some(RewriteRule { path, when, to }) = rewrites.get(from) {
        from += 1;
        let target = now.clone().unwrap_or_else(|| target.to_owned());
        let (own, query) = match target.split_once('?') {
            Some((own, query)) => (own, Some(query)),
            None => (target.as_str(), None),
        };
        let own = decoded_path(own).unwrap();
        let asked = Asked { query, authority, https, port, ..Asked::of(&own) };
        let Some(Target { text, .. }) = held(path, when, to.target(), to.keeps_query(), &asked)
        else {
            continue;
        };
        match to {
            RewriteTo::Path { next: 0, .. } => return text,
            RewriteTo::Path { next, .. } => from += usize::from(*next) - 1,
            RewriteTo::Answer { to: Some(_), status, .. } => return format!("{status} {text}"),
            RewriteTo::Answer { to: None, status, .. } => return status.to_string(),
            RewriteTo::Here => return now.unwrap_or_else(|| "here".to_owned()),
        }
        now = Some(text);
    }
    now.unwrap_or_else(|| "nothing".to_owned())
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
        <rule stopProcessing='true'><match url='^in/'/>\
        <action type='Rewrite' url='/inner'/></rule>\
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
        &rule("\\.(inc|po)$|^(\\..*|entries)$", refuse),
        "/app",
        &[
            ("http://a/app/x/y.inc", "403"),
            ("http://a/app/.git", "403"),
            ("http://a/app/Entries", "403"),
            ("http://a/app/x/entries", "nothing"),
            ("http://a/app/x.incl", "nothing"),
            ("http://a/x.inc", "nothing"),
        ],
    );
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
    let whole = "<action type='Redirect' url='/{R:0}'/>";
    assert!(refused(&format!("<match url='^a|b'/>{whole}")).contains("some of its alternatives"));
    let on = |input: &str| {
        let list = format!("<conditions><add input='{input}' pattern='a'/></conditions>");
        refused(&format!("<match url='(a).*'/>{list}{go}"))
    };
    assert!(on("{APPL_PHYSICAL_PATH}").contains("{APPL_PHYSICAL_PATH}"));
    assert!(on("{ToLower:{C:1}}").contains("{ToLower:{C:1}}"));
    assert!(on("{Map:{R:1}}").contains("not known"));
    let to =
        |url: &str| refused(&format!("<match url='(.*)'/><action type='Redirect' url='{url}'/>"));
    assert!(to("{Map:{R:1}}").contains("not known"));
    assert!(to("{ToUpper:{R:1}}").contains("{toupper:...} is not known"));
    assert!(to("{HTTP_REFERER}").contains("wherever a client wants"));
    assert!(to("/{C:1}").contains("stands for nothing"));
    assert!(to("{").contains("does not end"));
    assert!(
        refused("<match url='a'/><action type='CustomResponse' statusCode='200'/>")
            .contains("answers 200")
    );
}

#[test]
fn the_templates_of_iis_manager_are_served() {
    let lower = "<rule name='l' stopProcessing='true'><match url='[A-Z]' ignoreCase='false'/>\
        <action type='Redirect' url='{ToLower:{URL}}'/></rule>";
    check(
        lower,
        "/",
        &[("http://a/About/Us?Q=A", "301 /about/us?Q=A"), ("http://a/about", "nothing")],
    );
    let lower_host =
        lower.replace("{ToLower:{URL}}", "https://{ToLower:{HTTP_HOST}}{ToLower:{URL}}");
    check(&lower_host, "/", &[("http://A.example/X", "301 https://a.example/x")]);
    let nothing_there = "<conditions>\
        <add input='{REQUEST_FILENAME}' matchType='IsDirectory' negate='true'/>\
        <add input='{REQUEST_FILENAME}' matchType='IsFile' negate='true'/></conditions>";
    let to = |url: &str| format!("{nothing_there}<action type='Redirect' url='{url}'/>");
    check(
        &rule("(.*)/$", &to("{R:1}")),
        "/",
        &[("http://a/b/c/?d", "301 /b/c?d"), ("http://a/b", "nothing"), ("http://a/", "nothing")],
    );
    check(
        &rule("(.*[^/])$", &to("{R:1}/")),
        "/app",
        &[("http://a/app/b?d", "301 /app/b/?d"), ("http://a/app/b/", "nothing")],
    );
    let canonical = "<conditions>\
        <add input='{HTTP_HOST}' pattern='^www\\.a\\.example$' negate='true'/></conditions>\
        <action type='Redirect' url='http://www.a.example/{R:1}'/>";
    check(
        &rule("(.*)", canonical),
        "/",
        &[
            ("https://a.example/x?y", "301 http://www.a.example/x?y"),
            ("http://www.a.example/x", "nothing"),
        ],
    );
}

#[test]
fn later_rules_see_the_path_that_a_rewrite_gave() {
    let text = "<rules>\
        <rule name='1'><match url='^old/(.*)'/><action type='Rewrite' url='new/{R:1}'/></rule>\
        <rule name='2'><match url='^new/secret'/><action type='AbortRequest'/></rule>\
        <rule name='3'><match url='^new/(.*)\\.asp$'/>\
        <action type='Redirect' url='/moved/{R:1}' appendQueryString='false'/></rule>\
        <rule name='4' stopProcessing='true'><match url='^new/(.*)'/>\
        <action type='Rewrite' url='page?p={R:1}' appendQueryString='false'/></rule>\
        <rule name='5'><match url='.*'/><action type='Rewrite' url='/last'/></rule></rules>";
    check(
        text,
        "/",
        &[
            ("http://a/old/x", "/page?p=x"),
            ("http://a/new/x?q", "/page?p=x"),
            ("http://a/old/secret", "403"),
            ("http://a/new/secret", "403"),
            ("http://a/old/x.asp?q", "301 /moved/x"),
            ("http://a/other", "/last"),
        ],
    );
}

#[test]
fn a_rule_is_for_a_request_once_whatever_it_is_taken_apart_into() {
    let any = "<rules><rule><match url='(.*)'/><conditions logicalGrouping='MatchAny'>\
        <add input='{URL}' pattern='a'/><add input='{URL}' pattern='x'/></conditions>\
        <action type='Rewrite' url='x{R:1}'/></rule>\
        <rule><match url='(.*)'/><action type='Rewrite' url='{R:1}z'/></rule></rules>";
    check(any, "/", &[("http://h/a", "/xaz"), ("http://h/x", "/xxz"), ("http://h/b", "/bz")]);
    let map = "<rewrite><rewriteMap name='M'><add key='/1' value='/2'/><add key='/2' value='/3'/>\
        </rewriteMap><rule><match url='.*'/>\
        <conditions><add input='{M:{ToLower:{REQUEST_URI}}}' pattern='(.+)'/></conditions>\
        <action type='Rewrite' url='{C:1}'/></rule></rewrite>";
    check(map, "/", &[("http://h/1", "/2"), ("http://h/2", "/3"), ("http://h/3", "nothing")]);
}

#[test]
fn conditions_look_at_several_parts_and_at_groups() {
    let when = |input: &str, pattern: &str| {
        format!(
            "<conditions><add input='{input}' pattern='{pattern}'/></conditions>\
             <action type='Redirect' url='https://n/{{C:1}}'/>"
        )
    };
    let go = |input: &str, pattern: &str, url: &str, expected: &str| {
        check(&rule("^([a-z]+)/(.*)$", &when(input, pattern)), "/", &[(url, expected)]);
    };
    go("{HTTP_HOST}{URL}", "^h/(b/.*)$", "http://h/b/c", "301 https://n/b/c");
    go("{HTTP_HOST}", "^h:(81)$", "http://H:81/b/c", "301 https://n/81");
    go("{HTTP_HOST}", "^h:(81)$", "http://h/b/c", "nothing");
    go("{R:2}", "^(x)y", "http://h/b/xy", "301 https://n/x");
    go("{R:2}", "^(x)y", "http://h/xy/b", "nothing");
    go("{CACHE_URL}", "^https://(.*):443/b", "https://h/b/c", "301 https://n/h");
    go("{QUERY_STRING}", "q=([^&amp;]*)", "http://h/b/c?q=a%20b", "301 https://n/a%20b?q=a%20b");
    let decoded = "<conditions><add input='{UrlDecode:{QUERY_STRING}}' pattern='^q=(.* .*)$'/>\
        </conditions><action type='Redirect' url='/s?t={UrlEncode:{C:1}}' appendQueryString='false'/>";
    check(&rule(".*", decoded), "/", &[("http://h/?q=a%20b", "301 /s?t=a%20b")]);
    let login = "<action type='Redirect' url='/login?to={UrlEncode:{REQUEST_URI}}' \
        appendQueryString='false'/>";
    check(&rule("^in/", login), "/", &[("http://h/in/x?y=z", "301 /login?to=%2Fin%2Fx%3Fy%3Dz")]);
    let port = "<action type='Redirect' url='https://{SERVER_NAME}:{SERVER_PORT}/{R:1}'/>";
    check(&rule("^(in)$", port), "/", &[("http://h:99/in", "301 https://h:80/in")]);
}
