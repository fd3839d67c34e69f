use super::*;

#[test]
fn a_site_has_a_name_that_tools_can_use() {
    let named = |name: &str| format!("[[site]]\n{name}\nroot = 'a'\nbindings = ['http/*:80:']");
    check(&named("").replace("[[site]]", "‹[[site]]›"), &[("missing-key", "name is missing")]);
    check(&named("name = ‹''›"), &[("bad-value", "cannot be empty")]);
    check(&named("name = '‹a/b›'"), &[("bad-value", "cannot have '/'")]);
    check(&named("name = '‹a?›'"), &[("bad-value", "cannot have '?'")]);
    check(&named("name = ‹\"a\\u0007\"›"), &[("bad-value", "cannot have '\\u{7}'")]);
    check(
        &named(&format!("name = '‹{}›'", "x".repeat(256))),
        &[("bad-value", "at most 255 bytes")],
    );
    check(&named("name = 'Bücher & mehr'"), &[]);
}

#[test]
fn names_and_numbers_of_sites_are_unique() {
    let document = check(
        "[[site]]\nname = 'Shop'\nroot = 'a'\nbindings = ['http/*:80:']\n[[site]]\nname = '‹shop›'\nroot = 'a'\nbindings = ['http/*:81:']",
        &[("duplicate-site", "two sites are called \"shop\"")],
    );
    assert_eq!(document.problems[0].related[0].1, "the first");
    check(
        "[[site]]\nname = 'a'\nid = 7\nroot = 'a'\nbindings = ['http/*:80:']\n[[site]]\nname = 'b'\nid = ‹7›\nroot = 'a'\nbindings = ['http/*:81:']",
        &[("duplicate-site", "site \"b\" and site \"a\" both have the number 7")],
    );
    check_site("id = ‹0›", "bad-value", "id goes from 1 to 4294967295");
    check_site("state = '‹stoped›'", "bad-value", "did you mean \"stopped\"?");
}

#[test]
fn sites_without_a_number_get_the_next_that_is_free() {
    let ids = ["", "id = 2", "", "id = 1", "id = 9", "", ""];
    let text: String = ids
        .iter()
        .enumerate()
        .map(|(place, id)| {
            format!(
                "[[site]]\nname = 's{place}'\nroot = 'r'\nbindings = ['http/*:{}:']\n{id}\n",
                place + 1
            )
        })
        .collect();
    let document = check(&text, &[]);
    let ids: Vec<_> = document.configuration.table.sites.iter().map(|site| site.id.0).collect();
    assert_eq!(ids, [3, 2, 4, 1, 9, 5, 6]);
}

#[test]
fn a_site_without_a_binding_is_a_warning() {
    let document =
        check("[[site]]\nname = '‹a›'\nroot = 'a'", &[("no-binding", "nobody can reach it")]);
    assert_eq!(document.problems[0].severity(), Severity::Warning);
    check(
        "[[site]]\nname = '‹a›'\nroot = 'a'\nbindings = []",
        &[("no-binding", "site \"a\" has no binding")],
    );
    check("[[site]]\nname = 'a'\nroot = 'a'\n‹binding› = []", &[("unknown-key", "bindings")]);
}

#[test]
fn exactly_one_thing_answers() {
    let answering = |lines: &str| format!("[[site]]\nbindings = ['http/*:80:']\nname = {lines}");
    check(&answering("'‹a›'"), &[("missing-key", "does not say what answers")]);
    check(
        &answering("'a'\nroot = 'a'\n‹respond› = 'x'\n‹redirect› = '/x'"),
        &[
            ("exclusive", "site \"a\" has root and respond"),
            ("exclusive", "site \"a\" has root and redirect"),
        ],
    );
    check(
        &answering("'a'\n‹default_documents› = []\nrespond = 'x'"),
        &[("exclusive", "goes with root")],
    );
}

#[test]
fn files_are_served_with_the_default_documents_of_iis_or_those_named() {
    let documents = |lines: &str| {
        let document = check(&bound(lines), &[]);
        match &document.configuration.table.sites[0].root.action {
            RouteAction::Files(Files { root, default_documents, .. }) => {
                assert_eq!(root, Path::new("/etc/bindery/a"));
                default_documents.clone()
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(documents(""), ["index.html", "index.htm", "Default.htm"]);
    assert_eq!(documents("default_documents = ['a.html']"), ["a.html"]);
    assert!(documents("default_documents = []").is_empty());
    for bad in ["a/b", "..", "a\\b"] {
        check_site(
            &format!("default_documents = ['‹{bad}›']"),
            "bad-value",
            "not the name of a file",
        );
    }
}

#[track_caller]
fn action(lines: &str) -> RouteAction {
    let text = format!("[[site]]\nname = 'a'\nbindings = ['http/*:80:']\n{lines}");
    check(&text, &[]).configuration.table.sites[0].root.action.clone()
}

#[track_caller]
fn check_action(lines: &str, code: &str, part: &str) {
    check(&format!("[[site]]\nname = 'a'\nbindings = ['http/*:80:']\n{lines}"), &[(code, part)]);
}

#[test]
fn a_redirect_goes_to_a_url_or_a_path() {
    let to = |target: &str| match action(&format!("redirect = {target:?}")) {
        RouteAction::Redirect { to, status: 308 } => to,
        other => panic!("{other:?}"),
    };
    for same in [
        "https://www.example.com",
        "HTTP://a:8080/b?c#d",
        "/new/",
        "/",
        "https://[2001:db8::1]:8443/",
        "https://192.0.2.1?a",
        "/a://b",
    ] {
        assert_eq!(to(same), same);
    }
    assert_eq!(to("https://Bücher.example/a"), "https://xn--bcher-kva.example/a");
    let refused = |target: &str, part: &str| {
        check_action(&format!("redirect = '‹{target}›'"), "bad-value", part);
    };
    refused("www.example.com", "no http or https URL");
    refused("//evil.example", "no http or https URL");
    refused("/\\evil.example", "no URL has");
    refused("ftp://a", "neither http nor https");
    refused("javascript://a", "neither http nor https");
    refused("https://", "host name is missing");
    refused("https:///a", "host name is missing");
    refused("https://a b", "no URL has ' '");
    refused("https://u:p@a/", "user name in it");
    refused("https://a:0/", "\"0\" is no port");
    refused("https://a:/", "\"\" is no port");
    refused("https://a/ü", "must be written as %C3%BC");
    check_action("redirect = ‹\"/a\\r\\nSet-Cookie: x\"›", "bad-value", "no URL has '\\r'");
}

#[test]
fn a_redirect_may_name_its_status() {
    let expected = RouteAction::Redirect { to: "/a".to_owned(), status: 302 };
    assert_eq!(action("redirect = { to = '/a', status = 302 }"), expected);
    check_action("redirect = { to = '/a', status = ‹304› }", "bad-value", "sends nobody anywhere");
    check_action("redirect = { to = '/a', status = ‹200› }", "bad-value", "from 300 to 399");
    check_action(
        "redirect = ‹{ status = 301 }›",
        "missing-key",
        "redirect of site \"a\": to is missing",
    );
    check_action("redirect = ‹1›", "wrong-type", "redirect takes a table");
}

#[test]
fn a_fixed_response_is_a_text_or_a_table() {
    let respond = |status, body: &str, content_type: &str| RouteAction::Respond {
        status,
        body: body.to_owned(),
        content_type: content_type.to_owned(),
    };
    let plain = "text/plain; charset=utf-8";
    assert_eq!(action("respond = 'hi'"), respond(200, "hi", plain));
    assert_eq!(action("respond = ''"), respond(200, "", plain));
    assert_eq!(action("respond = { status = 204 }"), respond(204, "", plain));
    let html = "respond = { body = '<p>', content_type = 'text/html' }";
    assert_eq!(action(html), respond(200, "<p>", "text/html"));
    check_action("respond = { status = 204, body = '‹x›' }", "bad-value", "status 204 has no body");
    check_action("respond = { status = 304, body = '‹x›' }", "bad-value", "status 304 has no body");
    check_action("respond = { status = ‹101›, body = 'x' }", "bad-value", "from 200 to 599");
    check_action("respond = { content_type = '‹html›' }", "bad-value", "no media type");
    check_action("respond = { content_type = ‹\"a/b;\\r\\nx: y\"› }", "bad-value", "no media type");
}

#[test]
fn a_site_may_be_stopped_and_stay_on_plain_http() {
    let document = check(&bound("state = 'stopped'\nhttps_redirect = false"), &[]);
    let site = &document.configuration.table.sites[0];
    assert_eq!((site.state, site.https_redirect), (SiteState::Stopped, false));
    let document = check(&bound(""), &[]);
    let site = &document.configuration.table.sites[0];
    assert_eq!((site.state, site.https_redirect), (SiteState::Started, true));
}
