//! Changes in the words of `bindery.toml`, made in `applicationHost.config`.

use std::collections::BTreeMap;

use bindery_iis::config::edit;
use bindery_model::change::{Act, Change, EditError, Fields, Place, Value};

use crate::sample::difference;

const FILE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<configuration>
    <system.applicationHost>
        <sites>
            <!-- the first -->
            <site name="Default Web Site" id="1" serverAutoStart="true">
                <application path="/">
                    <virtualDirectory path="/" physicalPath="C:\inetpub\wwwroot" />
                </application>
                <bindings>
                    <binding protocol="http" bindingInformation="*:80:" />
                </bindings>
            </site>
            <site name="shop" id="3">
                <application path="/" applicationPool="p">
                    <virtualDirectory path="/" physicalPath="D:\shop" />
                    <virtualDirectory path="/img" physicalPath="D:\img" />
                </application>
                <application path="/api">
                    <virtualDirectory path="/" physicalPath="D:\api" />
                </application>
                <bindings>
                    <binding protocol="https" bindingInformation="*:443:shop.example" sslFlags="1" />
                    <binding protocol="net.tcp" bindingInformation="808:*" />
                </bindings>
                <limits connectionTimeout="00:01:00" />
            </site>
            <siteDefaults>
                <logFile logFormat="W3C" />
            </siteDefaults>
        </sites>
    </system.applicationHost>
    <location path="Shop">
        <system.webServer>
            <directoryBrowse enabled="true" />
        </system.webServer>
    </location>
</configuration>
"#;

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

fn site(name: &str) -> Place {
    Place::Site(name.to_owned())
}

fn binding(site: &str, on: &str) -> Place {
    Place::Binding { site: site.to_owned(), on: on.to_owned() }
}

fn fields<const N: usize>(keys: [(&str, Value); N]) -> Fields {
    keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn add<const N: usize>(at: Place, keys: [(&str, Value); N]) -> Change {
    Change { at, act: Act::Add(fields(keys)) }
}

fn set<const N: usize>(at: Place, keys: [(&str, Option<Value>); N]) -> Change {
    let keys: BTreeMap<_, _> =
        keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    Change { at, act: Act::Set(keys) }
}

fn remove(at: Place) -> Change {
    Change { at, act: Act::Remove }
}

/// The lines that a change takes away and those that it adds.
#[track_caller]
fn check(changes: &[Change], expected: &str) {
    let shown = edit(FILE, changes).map(|text| difference(FILE, &text));
    assert_eq!(shown.as_deref(), Ok(expected.trim_matches('\n')));
}

#[test]
fn a_site_is_added_in_iis_order_with_the_next_free_number() {
    let change = add(
        site("new"),
        [
            ("root", text("D:\\new")),
            ("state", text("stopped")),
            (
                "bindings",
                Value::List(vec![
                    text("http/*:80:new.example"),
                    Value::Table(fields([
                        ("on", text("https/*:443:bücher.example")),
                        ("tls", Value::Table(fields([("http2", Value::Boolean(false))]))),
                    ])),
                ]),
            ),
        ],
    );
    check(
        &[change],
        r#"
+<site name="new" id="2" serverAutoStart="false">
+<application path="/">
+<virtualDirectory path="/" physicalPath="D:\new" />
+</application>
+<bindings>
+<binding protocol="http" bindingInformation="*:80:new.example" />
+<binding protocol="https" bindingInformation="*:443:bücher.example" sslFlags="5" />
+</bindings>
+</site>
"#,
    );
}

#[test]
fn what_is_set_stands_where_iis_has_it() {
    check(
        &[set(site("SHOP"), [("state", Some(text("stopped")))])],
        "-<site name=\"shop\" id=\"3\">\n+<site name=\"shop\" id=\"3\" serverAutoStart=\"false\">",
    );
    check(&[set(site("default web site"), [("state", None)])], "");
    let limits = Value::Table(fields([("requests_max", Value::Integer(100))]));
    check(
        &[set(site("shop"), [("limits", Some(limits))])],
        "-<limits connectionTimeout=\"00:01:00\" />\n+<limits connectionTimeout=\"00:01:00\" maxConnections=\"100\" />",
    );
    check(
        &[set(site("shop"), [("root", Some(text("/srv/<shop>")))])],
        "-<virtualDirectory path=\"/\" physicalPath=\"D:\\shop\" />\n+<virtualDirectory path=\"/\" physicalPath=\"/srv/&lt;shop&gt;\" />",
    );
    check(
        &[set(site("shop"), [("listing", None)])],
        "-<location path=\"Shop\">\n-<system.webServer>\n-<directoryBrowse enabled=\"true\" />\n-</system.webServer>\n-</location>",
    );
    check(
        &[set(site("shop"), [("default_documents", Some(Value::List(vec![text("a.html")])))])],
        "+<defaultDocument>\n+<files>\n+<clear />\n+<add value=\"a.html\" />\n+</files>\n+</defaultDocument>",
    );
    check(
        &[set(site("Default Web Site"), [("redirect", Some(text("https://shop.example")))])],
        "+<location path=\"Default Web Site\">\n+<system.webServer>\n+<httpRedirect enabled=\"true\" destination=\"https://shop.example\" httpResponseStatus=\"PermRedirect\" />\n+</system.webServer>\n+</location>",
    );
    let name = set(site("shop"), [("name", Some(text("store"))), ("id", Some(Value::Integer(9)))]);
    check(
        &[name, set(site("store"), [("access_log", Some(Value::Boolean(false)))])],
        "-<site name=\"shop\" id=\"3\">\n+<site name=\"store\" id=\"9\">\n+<logFile enabled=\"false\" />\n-<location path=\"Shop\">\n+<location path=\"store\">",
    );
}

#[test]
fn bindings_are_found_by_what_they_mean() {
    let at = binding("Shop", "HTTPS/0.0.0.0:443:SHOP.example");
    let line =
        "<binding protocol=\"https\" bindingInformation=\"*:443:shop.example\" sslFlags=\"1\" />";
    check(&[remove(at.clone())], &format!("-{line}"));
    check(
        &[set(
            at.clone(),
            [("certificate", Some(text("central"))), ("tls.maximum", Some(text("1.2")))],
        )],
        &format!("-{line}\n+{}", line.replace("\"1\"", "\"35\"")),
    );
    check(
        &[set(at.clone(), [("on", Some(text("https/*:443:")))])],
        &format!("-{line}\n+<binding protocol=\"https\" bindingInformation=\"*:443:\" />"),
    );
    let all =
        set(site("shop"), [("bindings", Some(Value::List(vec![text("http/*:80:a.example")])))]);
    check(
        &[all],
        &format!("-{line}\n+<binding protocol=\"http\" bindingInformation=\"*:80:a.example\" />")
            .replace("-<b", "-<b"),
    );
    assert_eq!(edit(FILE, &[add(at.clone(), [])]), Err(EditError::Exists(at.clone())));
    let named = edit(FILE, &[set(at, [("certificate", Some(text("shop")))])]).unwrap_err();
    assert_eq!(
        named.to_string(),
        "binding HTTPS/0.0.0.0:443:SHOP.example of site \"Shop\": applicationHost.config has no place for certificate"
    );
}

#[test]
fn applications_and_directories_have_their_places() {
    let at =
        |path: &str| Place::VirtualDirectory { site: "shop".to_owned(), path: path.to_owned() };
    check(&[remove(at("/IMG"))], "-<virtualDirectory path=\"/img\" physicalPath=\"D:\\img\" />");
    check(
        &[add(at("/api/docs"), [("root", text("D:\\docs"))])],
        "+<virtualDirectory path=\"/docs\" physicalPath=\"D:\\docs\" />",
    );
    let application =
        |path: &str| Place::Application { site: "shop".to_owned(), path: path.to_owned() };
    check(
        &[add(
            application("/cart"),
            [("root", text("D:\\cart")), ("listing", Value::Boolean(true))],
        )],
        "+<application path=\"/cart\">\n+<virtualDirectory path=\"/\" physicalPath=\"D:\\cart\" />\n+</application>\n+<location path=\"shop/cart\">\n+<system.webServer>\n+<directoryBrowse enabled=\"true\" />\n+</system.webServer>\n+</location>",
    );
    assert!(matches!(edit(FILE, &[remove(application("/"))]), Err(EditError::Wrong { .. })));
    assert!(matches!(edit(FILE, &[remove(application("/no"))]), Err(EditError::NotFound(_))));
}

#[test]
fn what_cannot_be_is_refused_and_names_its_place() {
    let message = |change: Change| edit(FILE, &[change]).unwrap_err().to_string();
    assert_eq!(
        message(set(site("shop"), [("proxy", Some(text("http://127.0.0.1:1")))])),
        "site \"shop\": applicationHost.config has no place for proxy"
    );
    assert_eq!(message(add(site("SHOP"), [])), "there is site \"SHOP\" already");
    assert_eq!(message(remove(site("x"))), "there is no site \"x\"");
    assert_eq!(
        message(set(site("shop"), [("id", Some(Value::Integer(1)))])),
        "site \"shop\": another site has the number 1"
    );
    assert_eq!(
        edit("<a>\n <b></a>", &[]).unwrap_err().to_string(),
        "the configuration cannot be edited: line 2, column 5: </a> closes <b>"
    );
}

#[test]
fn a_change_and_its_inverse_leave_the_text_as_it_was() {
    let on = "https/*:443:new.example";
    let all = [
        (
            add(site("n"), [("root", text("x")), ("bindings", Value::List(vec![text(on)]))]),
            remove(site("n")),
        ),
        (add(binding("shop", on), []), remove(binding("shop", on))),
        (
            set(site("shop"), [("state", Some(text("stopped")))]),
            set(site("shop"), [("state", None)]),
        ),
        (
            set(site("shop"), [("access_log", Some(Value::Boolean(false)))]),
            set(site("shop"), [("access_log", None)]),
        ),
        (
            set(site("shop"), [("default_documents", Some(Value::List(vec![text("a")])))]),
            set(site("shop"), [("default_documents", None)]),
        ),
        (
            set(site("shop"), [("default_documents", Some(Value::List(Vec::new())))]),
            set(site("shop"), [("default_documents", None)]),
        ),
        (
            set(site("shop"), [("https_only", Some(Value::Boolean(true)))]),
            set(site("shop"), [("https_only", None)]),
        ),
        (
            set(site("shop"), [("name", Some(text("Shop2")))]),
            set(site("Shop2"), [("name", Some(text("shop")))]),
        ),
    ];
    for (change, back) in all {
        let changed = edit(FILE, std::slice::from_ref(&change)).unwrap();
        assert_ne!(changed, FILE);
        let again = edit(&changed, std::slice::from_ref(&back)).unwrap();
        // A location's path is written as its site is called.
        assert_eq!(again.replace("path=\"shop\"", "path=\"Shop\""), FILE, "{change:?}");
    }
}

#[test]
fn pools_are_set_for_the_server_and_for_applications() {
    let table = |pairs: Fields| Value::Table(pairs);
    let idle = table(fields([("idleTimeout", text("00:00:00"))]));
    let pools = table(fields([
        ("P", table(fields([("queueLength", text("5")), ("processModel", idle)]))),
        ("q", table(Fields::new())),
    ]));
    let application = Place::Application { site: "shop".to_owned(), path: "/api".to_owned() };
    let changes = [
        set(Place::Server, [("application_pools", Some(pools))]),
        set(site("shop"), [("application_pool", Some(text("q")))]),
        set(application.clone(), [("application_pool", Some(text("q")))]),
    ];
    check(
        &changes,
        r#"
+<applicationPools>
+<add name="P" queueLength="5">
+<processModel idleTimeout="00:00:00" />
+</add>
+<add name="q" />
+</applicationPools>
-<application path="/" applicationPool="p">
+<application path="/" applicationPool="q">
-<application path="/api">
+<application path="/api" applicationPool="q">
"#,
    );
    let made = edit(FILE, &changes).unwrap();
    // What is not kept of a pool stays; what is not said of it any more goes, as pools do.
    let kept = made.replace(
        "<add name=\"q\" />",
        "<add name=\"q\" autoStart=\"false\"><processModel password=\"x\" idleTimeout=\"1\" /></add>",
    );
    let only = table(fields([("Q", table(Fields::new()))]));
    let fewer = edit(&kept, &[set(Place::Server, [("application_pools", Some(only))])]).unwrap();
    assert_eq!(
        difference(&kept, &fewer),
        "-<add name=\"P\" queueLength=\"5\">\n-<processModel idleTimeout=\"00:00:00\" />\n-</add>\n\
         -<add name=\"q\" autoStart=\"false\"><processModel password=\"x\" idleTimeout=\"1\" /></add>\n\
         +<add name=\"q\"><processModel password=\"x\" /></add>"
    );
    let back = edit(&made, &[set(application, [("application_pool", None)])]).unwrap();
    assert_eq!(
        difference(&made, &back),
        "-<application path=\"/api\" applicationPool=\"q\">\n+<application path=\"/api\">"
    );
    for wrong in [text("P"), Value::Table(fields([("P", text("x"))]))] {
        let refused = edit(FILE, &[set(Place::Server, [("application_pools", Some(wrong))])]);
        assert!(matches!(refused, Err(EditError::Wrong { .. })), "{refused:?}");
    }
    let elsewhere = edit(FILE, &[set(Place::Server, [("workers", Some(Value::Integer(2)))])]);
    assert!(matches!(elsewhere, Err(EditError::NoPlace { .. })), "{elsewhere:?}");
}

#[test]
fn what_else_is_asked_of_clients_stays_beside_https_only() {
    let flags = |before: &str, on: Option<bool>| {
        let access = format!("<security>\n<access sslFlags=\"{before}\" />\n</security>\n");
        let text = format!(
            "<configuration><system.applicationHost><sites><site name=\"shop\" id=\"1\" /></sites>\
             </system.applicationHost><location path=\"shop\"><system.webServer>{access}\
             </system.webServer></location></configuration>"
        );
        let on = on.map(Value::Boolean);
        let text = edit(&text, &[set(site("shop"), [("https_only", on)])]).unwrap();
        let own = text.split_once("sslFlags=\"").map_or("", |(_, own)| own);
        own.split('"').next().unwrap_or_default().to_owned()
    };
    assert_eq!(flags("SslNegotiateCert", Some(true)), "Ssl, SslNegotiateCert");
    assert_eq!(flags("Ssl,SslNegotiateCert, Ssl128", Some(false)), "SslNegotiateCert");
    assert_eq!(flags("Ssl", Some(false)), "None");
    assert_eq!(flags("Ssl", None), "");
}
