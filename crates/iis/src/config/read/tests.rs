//! What real configurations come to.

use std::{
    cell::Cell,
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use bindery_model::{
    certificate::{CertificateChoice, CertificateReference},
    decide::rewrite::Replacement,
    document::{Configuration, parse},
    problem::Severity,
    rules::{AccessRule, HeaderRule, Hsts, RedirectTo},
    site::{Files, Route, RouteAction, Site, SiteState, UnknownTypes},
    tls::{ClientCertificate, TlsVersion},
    trap,
};
use proptest::prelude::*;

use super::*;
use crate::netsh::records::{ApplicationId, Flag, Record, RecordChange, RecordKey, Records};

mod handlers;
mod known;
mod samples;

/// Everything that a configuration is made of, in memory.
#[derive(Default)]
struct Given {
    text: String,
    companion: &'static str,
    records: Records,
    web_configs: HashMap<PathBuf, String>,
    asked: Cell<usize>,
}

impl Given {
    fn text(text: impl Into<String>) -> Self {
        let companion =
            "version = 1\n[paths]\n'C:\\inetpub' = \"/srv/inetpub\"\n'D:' = \"/srv/d\"\n";
        Self { text: text.into(), companion, ..Self::default() }
    }

    fn read(&self) -> Document {
        self.with_sources(read)
    }

    fn with_sources(&self, read: impl FnOnce(&Sources<'_>) -> Document) -> Document {
        let folder = Path::new("/etc/iis");
        read(&Sources {
            text: &self.text,
            folder,
            companion: &parse(self.companion, folder),
            records: &self.records,
            web_config: &|folder| {
                self.asked.set(self.asked.get() + 1);
                self.web_configs.get(folder).cloned().map(Ok)
            },
            folders_with_web_config: &|root| {
                let below = |folder: &&PathBuf| folder.starts_with(root) && *folder != root;
                let mut found: Vec<_> = self.web_configs.keys().filter(below).cloned().collect();
                found.sort();
                found
            },
            folder_named: &|folder| {
                let is_gone = folder.starts_with("/srv/d/a/gone");
                (!is_gone).then(|| folder.to_owned())
            },
            environment: &|_| None,
        })
    }
}

/// The problems, a line for each.
fn told(document: &Document, text: &str) -> String {
    let mut told = String::new();
    for problem in &document.problems {
        let before = text.get(..problem.span.start).unwrap_or_default();
        let line = 1 + before.matches('\n').count();
        writeln!(
            told,
            "{line} {} {}: {} [{}]",
            problem.severity(),
            problem.code,
            problem.message,
            problem.help
        )
        .unwrap();
    }
    told
}

const CONTOSO: &str = include_str!("../../../tests/samples/contoso.config");
const IIS7: &str = include_str!("../../../tests/samples/iis7.config");
const WEB_FARM: &str = include_str!("../../../tests/samples/web-farm.config");
const SAMPLES: [&str; 10] = [
    CONTOSO,
    IIS7,
    include_str!("../../../tests/samples/cut-off.config"),
    include_str!("../../../tests/samples/fragment-site.xml"),
    include_str!("../../../tests/samples/fragment-sites.xml"),
    include_str!("../../../tests/samples/fragment-appcmd.xml"),
    WEB_FARM,
    include_str!("../../../tests/samples/one-line.config"),
    include_str!("../../../tests/samples/odd-space.config"),
    include_str!("../../../tests/samples/rewrite.config"),
];

/// One site at `/srv/d/a` with what `inner` says of it, and what stands behind it.
fn one_site(inner: &str, behind: &str) -> String {
    format!(
        r#"<configuration><system.applicationHost><sites><site name="a" id="1">
<application path="/"><virtualDirectory path="/" physicalPath="D:\a" /></application>
{inner}</site></sites></system.applicationHost>
{behind}</configuration>"#
    )
}

const HTTP: &str = r#"<bindings><binding protocol="http" bindingInformation="*:80:" /></bindings>"#;

/// One site with these sections of the server.
fn sections(inner: &str) -> Given {
    let server = format!("<system.webServer>{inner}</system.webServer>");
    Given::text(one_site(HTTP, &server))
}

/// One site with sections of the server, and a `web.config` in a folder of it.
fn web_config(server: &str, folder: &str, inner: &str) -> Given {
    let mut given = sections(server);
    let text = format!(
        "<configuration>\n<system.webServer>\n{inner}\n</system.webServer>\n</configuration>"
    );
    given.web_configs.insert(PathBuf::from(folder), text);
    given
}

fn codes(document: &Document) -> Vec<&'static str> {
    document.problems.iter().map(|problem| problem.code.as_str()).collect()
}

fn site(document: &Document, name: &str) -> Site {
    let sites = &document.configuration.table.sites;
    sites.iter().find(|site| site.name == name).unwrap().as_ref().clone()
}

fn route(document: &Document, path: &str) -> Route {
    let site = document.configuration.table.sites.first().unwrap();
    site.all_routes().find(|route| route.path == path).unwrap_or_else(|| panic!("{path}")).clone()
}

fn files(route: &Route) -> &Files {
    match &route.action {
        RouteAction::Files(files) => files,
        other => panic!("{other:?}"),
    }
}

fn bindings(document: &Document) -> Vec<String> {
    let bindings = &document.configuration.table.bindings;
    bindings.iter().map(|binding| binding.information.to_string()).collect()
}

#[track_caller]
fn has(document: &Document, text: &str, code: Code, part: &str) {
    let found = document.problems.iter().any(|problem| {
        problem.code == code && format!("{} {}", problem.message, problem.help).contains(part)
    });
    assert!(found, "{code} {part}\n{}", told(document, text));
}

#[test]
fn a_redirect_goes_to_what_a_location_field_can_have() {
    let inner = "<httpRedirect enabled='true' destination='https://bücher.example$V$Q' exactDestination='true'/>
        <rewrite><rules><rule name='r'><match url='^a$'/><action type='Redirect' url='https://bücher.example/a'/></rule></rules></rewrite>";
    let document = web_config("", "/srv/d/a/f", inner).read();
    let sites = document.configuration.table.sites.iter();
    let rules = sites.flat_map(|site| site.all_routes()).flat_map(|route| &route.rules.redirects);
    let targets: Vec<_> = rules
        .map(|rule| match &rule.to {
            RedirectTo::Target(to) => to.as_str(),
            to => panic!("{to:?}"),
        })
        .collect();
    assert_eq!(targets.len(), 2, "{:?}", document.problems);
    assert!(
        targets.iter().all(|to| to.starts_with("https://xn--bcher-kva.example/")),
        "{targets:?}"
    );
}

#[test]
fn ssl_flags_are_what_they_say() {
    let text = one_site(
        r#"<bindings>
<binding protocol="https" bindingInformation="*:443:a" sslFlags="1" />
<binding protocol="https" bindingInformation="*:443:b" sslFlags="5" />
<binding protocol="https" bindingInformation="*:443:c" sslFlags="33" />
<binding protocol="https" bindingInformation="*:443:d" sslFlags="125" />
<binding protocol="https" bindingInformation="*:443:e" sslFlags="x" />
<binding protocol="https" bindingInformation="*:443:f" sslFlags="257" />
<binding protocol="https" bindingInformation="*:443:g" sslFlags="3" />
</bindings>"#,
        "",
    );
    let mut given = Given::text(&text);
    given.companion =
        "version = 1\n[server]\ncentral_store = { folder = 'central' }\n[paths]\n'D:' = '/srv/d'\n";
    let document = given.read();
    let bindings = &document.configuration.table.bindings;
    let tls: Vec<_> = bindings.iter().map(|own| (own.tls.http2, own.tls.maximum)).collect();
    let (old, new) = (TlsVersion::Tls12, TlsVersion::Tls13);
    let plain = (true, new);
    assert_eq!(tls, [plain, (false, new), (true, old), (false, old), plain, plain, plain]);
    assert_eq!(bindings[6].certificate, CertificateChoice::Central);
    has(&document, &text, Code::BadSslFlags, "\"x\" is no number");
    has(&document, &text, Code::NotSupportedHere, "bits 256 of sslFlags");
}

#[test]
fn certificates_come_from_the_records() {
    let record = |key: &str, hash: u8| {
        let mut record = Record::new(key.parse().unwrap(), ApplicationId::IIS);
        record.certificate_hash = Some([hash; 20]);
        record
    };
    let mut asking = record("hostnameport=b:443", 2);
    asking.flags.say(Flag::NegotiateClientCertificate, true);
    asking.flags.say(Flag::DisableHttp2, true);
    let text = one_site(
        r#"<bindings>
<binding protocol="https" bindingInformation="*:443:a" />
<binding protocol="https" bindingInformation="*:443:b" sslFlags="1" />
<binding protocol="https" bindingInformation="192.0.2.10:443:c" sslFlags="0" />
<binding protocol="https" bindingInformation="192.0.2.11:443:" />
<binding protocol="https" bindingInformation="*:443:d" sslFlags="1" />
</bindings>"#,
        "",
    );
    let mut given = Given::text(&text);
    given.companion = "version = 1\n[server]\nclient_ca = 'ca.pem'\n";
    let records = [record("ipport=0.0.0.0:443", 1), asking, record("ipport=192.0.2.10:443", 3)];
    given.records = Records::default().apply(&records.map(RecordChange::Add)).unwrap();
    let document = given.read();
    let bindings = &document.configuration.table.bindings;
    let listed =
        |hash: u8| CertificateChoice::Listed(vec![CertificateReference::Thumbprint([hash; 20])]);
    let choices: Vec<_> = bindings.iter().map(|binding| binding.certificate.clone()).collect();
    assert_eq!(choices, [listed(1), listed(2), listed(3), listed(1), CertificateChoice::Best]);
    let ca = PathBuf::from("/etc/iis/ca.pem");
    assert_eq!(bindings[1].tls.client_certificate, ClientCertificate::Optional { ca });
    assert!(!bindings[1].tls.http2 && bindings[0].tls.http2);
}

#[test]
fn records_and_flags_stand_beside_the_bindings() {
    let mut given = Given::text(IIS7);
    let mut record = Record::new("ipport=0.0.0.0:443".parse().unwrap(), ApplicationId::IIS);
    record.certificate_hash = Some([0xab; 20]);
    given.records = Records::default().apply(&[RecordChange::Add(record)]).unwrap();
    let configuration = given.read().configuration;
    let records = configuration.records.as_ref().unwrap();
    assert_eq!(records.ssl_flags.len(), configuration.table.bindings.len());
    let key = "ipport=0.0.0.0:443".parse().unwrap();
    assert_eq!(records.certificates, BTreeMap::from([(key, Some([0xab; 20]))]));
    let [shared] = trap::shared(&configuration).try_into().unwrap();
    assert_eq!((shared.endpoint.port, shared.has_record, shared.bindings.len()), (443, true, 3));
}

#[test]
fn two_started_sites_cannot_hold_one_binding() {
    let two = |state: &str| {
        let site = |name: &str, id: u8, state: &str| {
            format!(
                "<site name='{name}' id='{id}' {state}><application path='/'><virtualDirectory path='/' physicalPath='D:\\{name}'/></application>{HTTP}</site>"
            )
        };
        format!("<sites>{}{}</sites>", site("a", 1, state), site("b", 2, ""))
    };
    let text = two("");
    assert_eq!(codes(&Given::text(&text).read()), ["duplicate-binding"]);
    let text = two("serverAutoStart='false'");
    let document = Given::text(&text).read();
    assert_eq!(codes(&document), ["no-effect"], "{}", told(&document, &text));
    let table = &document.configuration.table;
    assert_eq!((table.bindings.len(), table.bindings[0].site), (1, 1));
}

#[test]
fn sites_without_name_or_number_or_with_those_of_others_are_refused() {
    let text = format!("<sites><site id='1'>{HTTP}</site></sites>");
    assert!(codes(&Given::text(&text).read()).contains(&"missing-key"));
    let text =
        "<sites><site name='a' id='1'/><site name='A' id='1'/><site name='b/c' id='x'/></sites>";
    let document = Given::text(text).read();
    let found = codes(&document);
    assert_eq!(found.iter().filter(|code| **code == "duplicate-site").count(), 2, "{found:?}");
    assert_eq!(found.iter().filter(|code| **code == "bad-value").count(), 2, "{found:?}");
}

#[test]
fn default_documents_of_an_inner_level_come_first() {
    let server = "<defaultDocument><files><add value='a.htm'/><add value='b.htm'/></files></defaultDocument>";
    let inner = "<defaultDocument><files><remove value='b.htm'/><add value='x.htm'/><add value='y.htm'/></files></defaultDocument>";
    let document = web_config(server, "/srv/d/a/sub", inner).read();
    assert_eq!(files(&route(&document, "/")).default_documents, ["a.htm", "b.htm"]);
    let sub = route(&document, "/sub");
    assert_eq!(files(&sub).default_documents, ["x.htm", "y.htm", "a.htm"]);
    assert_eq!(files(&sub).root, Path::new("/srv/d/a/sub"));
    let inner = "<defaultDocument enabled='false'/>";
    let document = web_config(server, "/srv/d/a", inner).read();
    assert!(files(&route(&document, "/")).default_documents.is_empty());
    assert_eq!(document.configuration.table.sites[0].routes.len(), 0);
}

#[test]
fn types_are_those_of_the_map_and_no_others() {
    let given = sections(
        "<staticContent><mimeMap fileExtension='.txt' mimeType='text/plain'/><mimeMap fileExtension='.JS' mimeType='text/javascript'/></staticContent>",
    );
    let document = given.read();
    let root = route(&document, "/");
    let own = files(&root);
    assert_eq!(own.unknown_types, UnknownTypes::Listed);
    let endings: Vec<_> = own.media_types.iter().map(|(ending, _)| ending.as_str()).collect();
    assert_eq!(endings, ["txt", "js"]);
    assert!(own.hidden.iter().any(|name| name == "web.config") && own.hidden.len() == 8);
    let server = "<staticContent><mimeMap fileExtension='.txt' mimeType='text/plain'/></staticContent><security><requestFiltering><fileExtensions><add fileExtension='.txt' allowed='false'/></fileExtensions><hiddenSegments><add segment='private'/></hiddenSegments></requestFiltering></security>";
    let inner = "<staticContent><mimeMap fileExtension='.txt' mimeType='text/x'/><mimeMap fileExtension='.md' mimeType='nonsense'/><mimeMap fileExtension='.woff' mimeType='font/woff'/></staticContent>";
    let given = web_config(server, "/srv/d/a/f", inner);
    let document = given.read();
    let sub = route(&document, "/f");
    assert_eq!(*files(&sub).media_types, [("woff".to_owned(), "font/woff".to_owned())]);
    assert_eq!(*files(&sub).hidden, ["private".to_owned(), "web.config".to_owned()]);
    has(
        &document,
        &given.text,
        Code::BadWebConfig,
        "/srv/d/a/f/web.config:3: .txt is in staticContent already",
    );
    has(&document, &given.text, Code::NotSupportedHere, "\"nonsense\" for .md is no media type");
}

#[test]
fn locked_sections_of_a_web_config_are_not_obeyed() {
    let inner = "<security><access sslFlags='Ssl'/></security><httpErrors allowAbsolutePathsWhenDelegated='true' errorMode='Custom'/>\n<directoryBrowse enabled='true'/>";
    let server = "<httpErrors lockAttributes='allowAbsolutePathsWhenDelegated'/>";
    let given = web_config(server, "/srv/d/a/f", inner);
    let document = given.read();
    let locked = |part: &str| has(&document, &given.text, Code::LockedSection, part);
    locked("/srv/d/a/f/web.config:3: security/access is locked");
    locked("bindery appcmd unlock config /section:security/access");
    locked("allowAbsolutePathsWhenDelegated of httpErrors is locked");
    let sub = route(&document, "/f");
    assert!(!sub.rules.https_only && files(&sub).listing);
    let span = &document.problems.iter().find(|one| one.code == Code::LockedSection).unwrap().span;
    assert_eq!(given.text.get(span.clone()), Some("D:\\a"), "the folder that it was found in");
    // Unlocked for this site, it is.
    let unlock = "<location path='a' overrideMode='Allow'><system.webServer><security><access sslFlags='None'/></security></system.webServer></location>";
    let mut unlocked = web_config("", "/srv/d/a/f", inner);
    unlocked.text = unlocked.text.replace("</configuration>", &format!("{unlock}</configuration>"));
    assert!(route(&unlocked.read(), "/f").rules.https_only);
    // And what is open may be locked.
    let lock = unlock
        .replace("Allow", "Deny")
        .replace("<security><access sslFlags='None'/></security>", "<directoryBrowse/>");
    let mut given = web_config("", "/srv/d/a/f", inner);
    given.text = given.text.replace("</configuration>", &format!("{lock}</configuration>"));
    assert_eq!(given.read().configuration.table.sites[0].routes.len(), 0);
}

#[test]
fn the_server_is_not_named_where_its_field_is_removed() {
    let hidden = "<security><requestFiltering removeServerHeader='true'/></security>";
    let shown = hidden.replace("true", "false");
    let own =
        "<httpProtocol><customHeaders><add name='X' value='1'/></customHeaders></httpProtocol>";
    let removed = HeaderRule::Remove("Server".to_owned());
    let set = HeaderRule::Set("X".to_owned(), "1".to_owned());
    let both = [removed, set];
    let given = web_config("", "/srv/d/a/f", &format!("{own}{hidden}"));
    assert_eq!(route(&given.read(), "/f").rules.response_headers, both);
    let [removed, set] = both;
    let given = web_config(hidden, "/srv/d/a/f", &format!("{shown}{own}"));
    let document = given.read();
    assert_eq!(route(&document, "/").rules.response_headers, [removed]);
    assert_eq!(route(&document, "/f").rules.response_headers, [set]);
}

#[test]
fn entries_that_are_locked_stay_as_they_are() {
    let server = "<httpProtocol><customHeaders><add name='X-A' value='1' lockItem='true'/><add name='X-B' value='1'/></customHeaders></httpProtocol><urlCompression lockItem='true' doStaticCompression='true'/><staticContent lockAllElementsExcept='mimeMap,remove'><mimeMap fileExtension='.a' mimeType='a/a' lockItem='true'/><mimeMap fileExtension='.b' mimeType='b/b'/></staticContent><defaultDocument lockAllAttributesExcept='x'/>";
    let inner = "<httpProtocol><customHeaders><remove name='x-a'/><remove name='X-B'/><clear/></customHeaders></httpProtocol>\
        <urlCompression doStaticCompression='false'/>\
        <staticContent><remove fileExtension='.A'/><remove fileExtension='.b'/><clientCache cacheControlMode='DisableCache'/></staticContent>\
        <defaultDocument enabled='false'><files><clear/><add value='x.htm'/></files></defaultDocument>";
    let given = web_config(server, "/srv/d/a/f", inner);
    let document = given.read();
    let sub = route(&document, "/f");
    let header = HeaderRule::Set("X-A".to_owned(), "1".to_owned());
    assert_eq!(sub.rules.response_headers, [header]);
    let own = files(&sub);
    assert_eq!(*own.media_types, [("a".to_owned(), "a/a".to_owned())]);
    assert!(own.cache_control.is_empty());
    assert_eq!(own.default_documents, ["x.htm"]);
    for part in [
        "<remove> in httpProtocol changes an entry",
        "<clear> in httpProtocol changes an entry",
        "urlCompression is locked",
        "clientCache of staticContent is locked",
        "<remove> in staticContent changes an entry",
        "enabled of defaultDocument is locked",
    ] {
        has(&document, &given.text, Code::LockedSection, part);
    }
    let locked = document.problems.iter().filter(|one| one.code == Code::LockedSection);
    assert_eq!(locked.count(), 6, "{}", told(&document, &given.text));
}

#[test]
fn a_location_of_a_folder_that_is_not_there_is_not_found() {
    let location = |path: &str| {
        format!(
            "<location path='a/{path}'><system.webServer><directoryBrowse enabled='true'/></system.webServer></location>"
        )
    };
    let mut given = sections("");
    let locations = ["there", "gone", "gone/more"].map(location).concat();
    given.text = given.text.replace("</configuration>", &format!("{locations}</configuration>"));
    let document = given.read();
    assert!(files(&route(&document, "/there")).listing);
    for path in ["/gone", "/gone/more"] {
        let found = document.configuration.table.sites[0].route(path.as_bytes());
        assert!(matches!(found.action, RouteAction::Respond { status: 404, .. }), "{found:?}");
    }
}

#[test]
fn expires_and_pages_of_one_sub_status_are_served() {
    let date = "Tue, 19 Jan 2038 03:14:07 GMT";
    let given = sections(&format!(
        "<staticContent><clientCache cacheControlMode='UseExpires' httpExpires='{date}'/></staticContent>\
         <httpErrors><error statusCode='403' subStatusCode='14' path='C:\\inetpub\\14.htm'/><error statusCode='403' path='C:\\inetpub\\403.htm'/></httpErrors>"
    ));
    let document = given.read();
    let root = route(&document, "/");
    let rule = &files(&root).cache_control[0];
    assert_eq!((rule.value.as_str(), rule.expires.as_deref()), ("", Some(date)));
    let pages: Vec<_> =
        root.rules.error_pages.iter().map(|(status, _)| status.to_string()).collect();
    assert_eq!(pages, ["403", "403.14"]);
    let wrong = sections(
        "<staticContent><clientCache cacheControlMode='UseExpires' httpExpires='soon'/></staticContent>",
    );
    let document = wrong.read();
    assert!(files(&route(&document, "/")).cache_control.is_empty());
    has(&document, &wrong.text, Code::NotSupportedHere, "\"soon\" is no date for Expires");
}

#[test]
fn levels_are_read_from_short_paths_to_long_ones() {
    let location = |path: &str, value: &str| {
        format!(
            "<location path='{path}'><system.webServer><httpProtocol><customHeaders><remove name='X'/><add name='X' value='{value}'/></customHeaders></httpProtocol></system.webServer></location>"
        )
    };
    let header = |document: &Document, path: &str| match route(document, path)
        .rules
        .response_headers
        .as_slice()
    {
        [HeaderRule::Set(name, value)] if name == "X" => value.clone(),
        other => panic!("{path}: {other:?}"),
    };
    let behind =
        [location("", "server"), location("A", "site"), location("a/deep/er", "deep")].concat();
    let mut given = Given::text(one_site(HTTP, &behind));
    let own = location("deep", "web").replace("<location", "<configuration><location")
        + "</configuration>";
    given.web_configs.insert("/srv/d/a".into(), own);
    let document = given.read();
    assert_eq!(header(&document, "/"), "site");
    assert_eq!(header(&document, "/deep"), "web");
    assert_eq!(header(&document, "/deep/er"), "deep");
    assert_eq!(files(&route(&document, "/deep/er")).root, Path::new("/srv/d/a/deep/er"));
    let text = one_site(HTTP, &location("nobody/x", "y"));
    has(&Given::text(&text).read(), &text, Code::NoEffect, "is of no site");
}

#[test]
fn applications_may_be_left_out_of_what_their_site_says() {
    let app = r#"<application path="/app"><virtualDirectory path="/" physicalPath="D:\app" /><virtualDirectory path="/img" physicalPath="D:\img" allowSubDirConfig="false" /></application>"#;
    let mut given = Given::text(one_site(&format!("{app}{HTTP}"), ""));
    let own = "<configuration><location path='.' inheritInChildApplications='false'><system.webServer><directoryBrowse enabled='true'/></system.webServer></location></configuration>";
    given.web_configs.insert("/srv/d/a".into(), own.to_owned());
    let ignored = "<configuration><system.webServer><directoryBrowse enabled='true'/></system.webServer></configuration>";
    given.web_configs.insert("/srv/d/img/x".into(), ignored.to_owned());
    // Behind an application of that name nobody sees it.
    given.web_configs.insert("/srv/d/a/app".into(), ignored.to_owned());
    let document = given.read();
    assert!(files(&route(&document, "/")).listing);
    let paths: Vec<_> = document.configuration.table.sites[0]
        .routes
        .iter()
        .map(|route| route.path.clone())
        .collect();
    assert_eq!(paths, ["/app", "/app/img"]);
    assert!(
        !files(&route(&document, "/app")).listing && !files(&route(&document, "/app/img")).listing
    );
}

#[test]
fn half_a_binding_is_an_error_as_in_iis() {
    for (binding, says) in [
        ("<binding bindingInformation='*:80:'/>", "it has no protocol"),
        ("<binding protocol='http'/>", "it has no bindingInformation"),
        ("<binding protocol='' bindingInformation='*:80:'/>", "it has no protocol"),
    ] {
        let bindings = format!("<bindings>{binding}</bindings>");
        let given = Given::text(one_site(&bindings, ""));
        let document = given.read();
        has(&document, &given.text, Code::BadBinding, says);
    }
}

#[test]
fn a_web_config_that_cannot_be_read_costs_its_folder() {
    let mut given = Given::text(one_site(HTTP, ""));
    given.web_configs.insert("/srv/d/a/f".into(), "<configuration>\n<system.webServer>".to_owned());
    given.web_configs.insert("/srv/d/a/f/g".into(), "<configuration/>".to_owned());
    let document = given.read();
    has(
        &document,
        &given.text,
        Code::BadWebConfig,
        "/srv/d/a/f/web.config:2: the web.config cannot be read",
    );
    let site = site(&document, "a");
    for path in ["/f", "/f/x", "/f/g/x"] {
        let action = &site.route(path.as_bytes()).action;
        assert!(matches!(action, RouteAction::Respond { status: 500, .. }), "{path}: {action:?}");
    }
    files(&route(&document, "/"));
}

#[test]
fn what_cannot_be_protected_is_closed() {
    let closed = |given: &Given, path: &str| {
        let document = given.read();
        let rules = route(&document, path).rules;
        let all = rules.access.len() == 2 && rules.access.iter().all(|rule| !rule.allow);
        let told = document.problems.iter().any(|problem| problem.code == Code::NotEnforced);
        assert_eq!(all, told, "{}", told_of(&document, given));
        all
    };
    let anonymous = "<security><authentication><anonymousAuthentication enabled='false'/></authentication></security>";
    assert!(closed(&sections(anonymous), "/"));
    let authorization = |entries: &str| {
        sections(&format!("<security><authorization>{entries}</authorization></security>"))
    };
    assert!(!closed(&authorization("<add accessType='Allow' users='*'/>"), "/"));
    assert!(closed(&authorization("<add accessType='Allow' roles='Administrators'/>"), "/"));
    assert!(closed(
        &authorization("<add accessType='Allow' users='*'/><add accessType='Deny' users='?'/>"),
        "/"
    ));
    let certificate =
        "<security><access sslFlags='Ssl, SslNegotiateCert, SslRequireCert'/></security>";
    let mut given = sections(certificate);
    assert!(closed(&given, "/"));
    given.companion = "version = 1\n[server]\nclient_ca = 'ca.pem'\n[paths]\n'D:' = '/srv/d'\n";
    assert!(!closed(&given, "/") && route(&given.read(), "/").rules.https_only);
    let location = format!(
        "<location path='a/x'><system.webServer>{certificate}</system.webServer></location>"
    );
    given.text = one_site(HTTP, &location);
    assert!(closed(&given, "/x") && !closed_quietly(&given, "/"));
    // A single file has no rules of its own.
    given.text = given.text.replace("a/x", "a/x.html");
    let document = given.read();
    assert!(matches!(route(&document, "/x.html").action, RouteAction::Respond { status: 403, .. }));
}

fn closed_quietly(given: &Given, path: &str) -> bool {
    !route(&given.read(), path).rules.access.is_empty()
}

fn told_of(document: &Document, given: &Given) -> String {
    told(document, &given.text)
}

#[test]
fn networks_are_let_in_as_they_are_listed() {
    let access = |inner: &str| {
        let document = sections(&format!("<security>{inner}</security>")).read();
        let rules = route(&document, "/").rules;
        let shown =
            |rule: &AccessRule| format!("{}{}", if rule.allow { "+" } else { "-" }, rule.network);
        rules.access.iter().map(shown).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(access("<ipSecurity allowUnlisted='true'/>"), "");
    assert_eq!(access("<ipSecurity allowUnlisted='false'/>"), "-0.0.0.0/0 -::/0");
    assert_eq!(
        access(
            "<ipSecurity allowUnlisted='false'><add ipAddress='127.0.0.1' allowed='true'/><add ipAddress='192.0.2.9' subnetMask='255.255.255.0' allowed='true'/></ipSecurity>"
        ),
        "+127.0.0.1/32 +192.0.2.0/24 -0.0.0.0/0 -::/0"
    );
    assert_eq!(
        access(
            "<ipSecurity><add ipAddress='10.0.0.1' subnetMask='8' allowed='false'/><add ipAddress='2001:db8::1' allowed='true'/><add domainName='x.example' allowed='false'/></ipSecurity>"
        ),
        "-10.0.0.0/8 +2001:db8::1/128 +0.0.0.0/0 +::/0"
    );
}

#[test]
fn the_companion_says_what_the_file_has_no_place_for() {
    let mut given = sections("");
    given.companion = "version = 1\n[server]\nstate_dir = '/s'\naccess_log = '/var/log/b'\n[[listener]]\non = 'https/*:444'\n[[certificate]]\nname = 'c'\nfile = 'c.pem'\n[paths]\n'D:' = '/srv/d'\n";
    let document = given.read();
    let mut found = codes(&document);
    found.sort_unstable();
    assert_eq!(found, ["idle-listener"], "{}", told(&document, &given.text));
    let settings = &document.configuration.settings;
    assert_eq!(settings.state_dir.as_deref(), Some(Path::new("/s")));
    assert_eq!(settings.access_log.as_ref().unwrap().folder, Path::new("/var/log/b"));
    assert_eq!(document.configuration.table.certificates.len(), 1);
    given.companion = "version = 1\n[[site]]\nname = 'x'\nroot = '.'\nbindings = ['http/*:80:']\n";
    let document = given.read();
    has(&document, &given.text, Code::Exclusive, "has sites of its own, \"x\" the first");
}

/// Sites as a host has them.
fn many(count: usize) -> String {
    let mut text = "<configuration><system.applicationHost><sites>\n".to_owned();
    for number in 1..=count {
        writeln!(
            text,
            r#"<site name="site{number}" id="{number}"><application path="/" applicationPool="p"><virtualDirectory path="/" physicalPath="D:\sites\{number}" /></application>
<bindings><binding protocol="http" bindingInformation="*:80:www{number}.example.com" /><binding protocol="https" bindingInformation="*:443:www{number}.example.com" sslFlags="1" /></bindings></site>"#
        )
        .unwrap();
    }
    let sections = CONTOSO.split_once("    <system.webServer>\n\n").unwrap().1;
    let sections = sections.split_once("    </system.webServer>").unwrap().0;
    text + "</sites></system.applicationHost><system.webServer>"
        + sections
        + "</system.webServer></configuration>"
}

#[test]
fn sites_that_say_nothing_of_their_own_share_what_the_server_says() {
    let given = Given::text(many(50));
    let document = given.read();
    let sites = &document.configuration.table.sites;
    assert!(sites.iter().all(|site| Arc::ptr_eq(&site.root.rules, &sites[0].root.rules)));
    let types = |site: &Site| Arc::clone(&files(&site.root).media_types);
    assert!(sites.iter().all(|site| Arc::ptr_eq(&types(site), &types(&sites[0]))));
    assert_eq!(given.asked.get(), 50, "one look for a web.config each");
}

/// What changes texts: pieces that make something else of what they stand in.
const PIECES: [&str; 24] = [
    "",
    "\"",
    "<",
    "/>",
    ">",
    "&",
    "&amp;",
    " ",
    "\u{feff}",
    "é",
    "\u{0}",
    "%",
    "%x%",
    "{R:9}",
    "$9",
    "(",
    "..",
    "\\\\",
    "0",
    "-1",
    "99999999999999999999",
    "<clear/>",
    "<site name='x' id='1'/>",
    "<location path='a/b'>",
];

fn sound(text: &str, document: &Document) -> Result<(), TestCaseError> {
    for problem in &document.problems {
        prop_assert!(text.get(problem.span.clone()).is_some(), "{:?}", problem);
        for (span, _) in &problem.related {
            prop_assert!(text.get(span.clone()).is_some(), "{:?}", problem);
        }
    }
    let table = &document.configuration.table;
    prop_assert_eq!(document.positions.bindings.len(), table.bindings.len());
    prop_assert_eq!(document.positions.sites.len(), table.sites.len());
    for route in table.sites.iter().flat_map(|site| site.all_routes()) {
        let rules = &route.rules;
        for rule in &rules.redirects {
            let to = match &rule.to {
                RedirectTo::Target(to) => Some(to.as_str()),
                RedirectTo::Refused | RedirectTo::Here => None,
            };
            prop_assert!(Replacement::new(&rule.path, &rule.when, to).is_ok(), "{:?}", rule);
        }
        for rule in &rules.rewrites {
            let made = Replacement::new(&rule.path, &rule.when, rule.to.target());
            prop_assert!(made.is_ok(), "{:?}", rule);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn no_change_of_a_sample_makes_it_unreadable_without_a_word(
        which in 0..SAMPLES.len(),
        changes in proptest::collection::vec((0.0..1.0_f64, 0..40_usize, 0..PIECES.len()), 1..6),
    ) {
        let mut text = SAMPLES[which].to_owned();
        for (at, removed, piece) in changes {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a place in a short text")]
            let start = (at * text.len() as f64) as usize;
            let start = (0..=start).rev().find(|at| text.is_char_boundary(*at)).unwrap();
            let end = (start + removed).min(text.len());
            let end = (end..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap();
            text.replace_range(start..end, PIECES[piece]);
        }
        let document = Given::text(text.as_str()).read();
        sound(&text, &document)?;
    }

    #[test]
    fn any_value_of_a_section_is_read_or_told(
        value in "\\PC{0,20}|[a-z0-9$(){}:|^.*/%\\\\]{0,30}",
    ) {
        let value = xml::escape(&value, xml::Quote::Single).into_owned();
        let inner = format!("<defaultDocument><files><add value='{value}'/></files></defaultDocument>\
            <staticContent><mimeMap fileExtension='{value}' mimeType='{value}'/>\
            <clientCache cacheControlMode='UseMaxAge' cacheControlMaxAge='{value}' cacheControlCustom='{value}'/></staticContent>\
            <httpErrors><error statusCode='404' path='{value}'/><error statusCode='403' path='/{value}.htm' responseMode='ExecuteURL'/></httpErrors>\
            <httpProtocol><customHeaders><add name='{value}' value='{value}'/></customHeaders></httpProtocol>\
            <httpRedirect enabled='true' destination='https://x.example/{value}' exactDestination='true'><add wildcard='{value}' destination='/{value}'/></httpRedirect>\
            <rewrite><rules><rule name='r'><match url='{value}'/><action type='Redirect' url='{value}'/></rule>\
            <rule name='s'><match url='{value}'/><action type='Rewrite' url='/{value}'/></rule>\
            <rule name='t'><match url='.*'/><conditions><add input='{{HTTP_HOST}}' pattern='{value}'/>\
            <add input='{value}' pattern='{value}'/></conditions><action type='Redirect' url='https://{{C:1}}/{value}'/></rule>\
            <rule name='u'><match url='^{value}(.*)'/><action type='Rewrite' url='http://{value}/{{R:1}}'/></rule></rules>\
            <rewriteMaps><rewriteMap name='{value}'><add key='{value}' value='{value}'/></rewriteMap></rewriteMaps></rewrite>");
        let given = web_config("", "/srv/d/a/f", &inner);
        let document = given.read();
        sound(&given.text, &document)?;
    }
}
