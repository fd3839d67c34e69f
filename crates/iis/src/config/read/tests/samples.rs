//! What the samples come to.

use super::{
    handlers::{PHP, WITH_PHP, scripts},
    *,
};

#[test]
fn the_sample_is_served_without_an_error() {
    let given = Given::text(CONTOSO);
    let document = given.read();
    let worst = document.problems.iter().map(Problem::severity).max();
    assert_eq!(worst, Some(Severity::Warning), "{}", told(&document, CONTOSO));
    let sites = &document.configuration.table.sites;
    let named: Vec<_> = sites.iter().map(|site| (site.id.0, site.name.as_str())).collect();
    assert_eq!(named[..3], [(1, "Default Web Site"), (2, "contoso-www"), (3, "fabrikam")]);
    assert_eq!(named.len(), 10);
    // One of staging's is another site's, one is net.tcp.
    assert_eq!(document.configuration.table.bindings.len(), 20);
    let contoso = site(&document, "contoso-www");
    assert_eq!(contoso.limits.requests_max, Some(5000));
    assert_eq!(contoso.limits.bytes_per_second_max, Some(10_485_760));
    assert!(contoso.https_redirect && !site(&document, "fabrikam").https_redirect);
    let hsts = Hsts { max_age: 31_536_000, include_subdomains: true, preload: false };
    assert_eq!(contoso.root.rules.hsts, Some(hsts));
    let paths: Vec<_> = contoso.routes.iter().map(|route| route.path.as_str()).collect();
    assert_eq!(paths, ["/downloads", "/images", "/shop", "/shop/admin", "/shop/media/large"]);
    let root = files(&contoso.root);
    assert_eq!(root.root, Path::new("/srv/d/sites/contoso/www"));
    assert_eq!(root.default_documents, ["index.html", "home.html"]);
    assert_eq!(root.cache_control[0].value, "public,max-age=604800");
    assert!(root.media_types.contains(&("js".to_owned(), "text/javascript".to_owned())));
    assert_eq!(
        contoso.root.rules.response_headers.last(),
        Some(&HeaderRule::Set("X-Site".to_owned(), "contoso".to_owned()))
    );
    assert_eq!(
        contoso.root.rules.error_pages,
        [(404.into(), "/srv/d/sites/contoso/www/errors/404.html".into())]
    );
    assert_eq!(contoso.root.rules.rewrites[0].when.len(), 2);
    let to = RedirectTo::Target("https://www.contoso.example/${2}".to_owned());
    // TRACE, which requestFiltering refuses, comes first.
    let [trace, apex, ..] = &contoso.root.rules.redirects[..] else { panic!() };
    assert_eq!((&trace.to, trace.status), (&RedirectTo::Refused, 404));
    assert_eq!((&apex.to, apex.status, apex.when.len()), (&to, 301, 1));
    assert!(!contoso.root.rules.https_only);
    assert_eq!(site(&document, "staging").state, SiteState::Stopped);
    let log = document.configuration.settings.access_log.as_ref().unwrap();
    assert_eq!(log.folder, Path::new("/srv/inetpub/logs/LogFiles"));
    let redirect = &site(&document, "legacy-redirect").root.rules.redirects;
    assert_eq!(redirect.iter().map(|rule| rule.status).collect::<Vec<_>>(), [404, 308, 308]);
}

#[test]
fn every_problem_of_the_sample_has_its_line() {
    let document = Given::text(CONTOSO).read();
    let told = told(&document, CONTOSO);
    for line in [
        "115 hint not-supported-here: property 5506",
        "147 warning unmapped-path: nothing says where \"\\\\\\\\files.contoso.example\\\\pub\"",
        "147 hint not-supported-here: password of <virtualDirectory>",
        "159 hint not-supported-here: connectionTimeout=\"00:01:30\"",
        "210 warning no-effect: https/*:443:alpha.ccs.example.net",
        "253 warning no-effect: http/*:80:www.contoso.example of site \"staging\"",
        "254 hint not-supported-here: net.tcp/808:*",
        "468 warning not-enforced: /shop/admin",
    ] {
        assert!(told.contains(line), "{line}\n{told}");
    }
    assert!(!told.contains("enc:") && !told.contains("applicationPool"), "{told}");
}

#[test]
fn an_iis_7_with_mark_and_line_ends_of_windows_is_read() {
    let document = Given::text(IIS7).read();
    assert_eq!(
        bindings(&document),
        [
            "http/*:80:shop.example.com",
            "https/*:443:shop.example.com",
            "https/*:443:partners.example.com",
            "https/*:443:",
        ]
    );
    assert_eq!(site(&document, "partners & co").id.0, 871_234_567);
    assert_eq!(files(&site(&document, "shop").root).root, Path::new("/srv/inetpub/shop"));
    has(&document, IIS7, Code::BadSslFlags, "requires server name indication and has no host");
    has(&document, IIS7, Code::NoBinding, "site \"files\"");
    has(&document, IIS7, Code::UnmappedPath, "is encrypted");
    for part in [
        "ftp/*:21:",
        "net.pipe",
        "net.msmq",
        "<ftpServer>",
        "<system.ftpServer>",
        "contosoModule",
        "5506",
        "NCSA",
    ] {
        has(&document, IIS7, Code::NotSupportedHere, part);
    }
}

#[test]
fn what_is_cut_off_is_an_error_at_its_place() {
    let text = SAMPLES[2];
    let document = Given::text(text).read();
    assert_eq!(codes(&document), ["syntax"]);
    let span = &document.problems[0].span;
    assert!(text.get(span.clone()).is_some() && span.start > 0, "{span:?}");
    assert!(document.configuration.table.sites.is_empty());
}

#[test]
fn wherever_a_file_is_cut_off_it_is_told_with_its_place() {
    for text in SAMPLES.iter().filter(|text| **text != SAMPLES[2]) {
        let end = text.rfind("</").unwrap();
        let cuts = (1..end).step_by(131).filter(|at| text.is_char_boundary(*at));
        for at in cuts.chain([end, end + 1, end + 5]) {
            let cut = &text[..at];
            let document = Given::text(cut).read();
            let problem = &document.problems[0];
            let is_blank = cut.trim_start_matches('\u{feff}').trim().is_empty();
            assert!(document.configuration.table.sites.is_empty(), "{at}");
            assert_eq!(problem.code, Code::Syntax, "{at}: {}", problem.message);
            assert!(cut.get(problem.span.clone()).is_some(), "{at}: {:?}", problem.span);
            assert!(problem.message.len() > 30 || is_blank, "{at}: {}", problem.message);
        }
    }
}

#[test]
fn a_web_farm_that_has_come_a_long_way_is_read() {
    let document = Given::text(WEB_FARM).read();
    let named: Vec<_> = document.configuration.table.sites.iter().map(|own| own.id.0).collect();
    assert_eq!(named, [1, 2, 3, 4, 5, 12]);
    let shop = site(&document, "Shop");
    let paths: Vec<_> = shop.all_routes().map(|route| route.path.as_str()).collect();
    assert_eq!(paths, ["/", "/api", "/api/v2", "/api/v2/docs", "/media"]);
    let own = |path: &str| shop.all_routes().find(|route| route.path == path).unwrap();
    // What is not inherited by applications, and what is.
    assert!(files(own("/")).cache_control[0].expires.is_some());
    assert!(files(own("/api")).cache_control.is_empty() && files(own("/api")).listing);
    assert_eq!(files(own("/api/v2/docs")).default_documents, ["readme.html"]);
    let networks: Vec<_> =
        own("/api/v2/docs").rules.access.iter().map(|rule| rule.network.to_string()).collect();
    assert_eq!(networks[0], "10.0.0.0/8");
    let policies: Vec<_> = document
        .configuration
        .table
        .bindings
        .iter()
        .map(|binding| {
            let (http2, maximum) = (binding.tls.http2, binding.tls.maximum);
            format!("{} {http2} {maximum:?}", binding.information)
        })
        .collect();
    assert!(
        policies.contains(&"https/*:443:h1.contoso.test false Tls13".to_owned()),
        "{policies:?}"
    );
    assert!(
        policies.contains(&"https/*:443:no13.contoso.test true Tls12".to_owned()),
        "{policies:?}"
    );
    assert!(
        policies.contains(&"https/*:443:all.contoso.test false Tls12".to_owned()),
        "{policies:?}"
    );
    let intranet = site(&document, "Intranet & Extranet");
    let [node] = intranet.routes.as_slice() else { panic!("{:?}", intranet.routes) };
    let RouteAction::Proxy(proxy) = &node.action else { panic!("{node:?}") };
    assert_eq!((node.path.as_str(), proxy.path.as_deref()), ("/node", Some("/")));
    assert_eq!(proxy.host, bindery_model::upstream::UpstreamHost::Keep);
    let told = told(&document, WEB_FARM);
    for part in ["ftp/*:21:", "net.tcp/808:*", "msmq.formatname", "<ftpServer>", "\"Gone\""] {
        assert!(told.contains(part), "{part}\n{told}");
    }
    assert!(!told.contains("enc:") && !told.contains("webdav"), "{told}");
}

#[test]
fn fragments_are_read_as_whole_files() {
    let document = Given::text(SAMPLES[3]).read();
    assert_eq!(bindings(&document), ["https/192.0.2.10:443:shop.example.com"]);
    assert_eq!(site(&document, "shop").state, SiteState::Stopped);
    let document = Given::text(SAMPLES[4]).read();
    assert_eq!(site(&document, "a").limits.requests_max, Some(50));
    let document = Given::text(SAMPLES[5]).read();
    assert_eq!(bindings(&document), ["http/*:80:one.example.com", "http/*:80:two.example.com"]);
    assert_eq!(site(&document, "one").limits.requests_max, Some(100));
    let document = Given::text("<html/>").read();
    assert_eq!(codes(&document), ["missing-key"]);
}

/// What is told of a `web.config` at the root of a site with PHP, beside what stays unsaid.
fn told_of(text: &str) -> String {
    let mut given = sections("");
    given.companion = "version = 1\n[paths]\n'D:' = \"/srv/d\"\n[fastcgi]\n'C:\\PHP\\8.2\\php-cgi.exe' = \"unix:/run/php.sock\"\n";
    given.web_configs.insert(PathBuf::from("/srv/d/a"), text.to_owned());
    let document = given.read();
    let told = told(&document, &given.text);
    told.replace("2 hint not-supported-here: /srv/d/a/web.config:", "hint ")
        .replace("/srv/d/a/", "")
}

#[test]
fn what_web_configs_of_well_known_programs_have_is_served_or_told() {
    const ASPNET: &str = "does not run: ASP.NET and ISAPI stay on Windows";
    for (name, text, expected) in [
        (
            "wordpress",
            include_str!("../../../../tests/web_configs/wordpress.config"),
            vec!["23: maxQueryString"],
        ),
        (
            "drupal",
            include_str!("../../../../tests/web_configs/drupal.config"),
            vec![
                "below [fastcgi]: 'C:\\Program Files\\PHP\\php-cgi.exe' = \"unix:",
                "38: ExecuteURL \"/index.php\": only static files",
            ],
        ),
        ("laravel", include_str!("../../../../tests/web_configs/laravel.config"), vec![]),
        (
            "umbraco",
            include_str!("../../../../tests/web_configs/umbraco.config"),
            vec![
                "6: <appSettings>",
                "7: <connectionStrings>",
                "8: <system.web>",
                ASPNET,
                "37: rewrite/outboundRules",
                "41: <runtime>",
            ],
        ),
        (
            "dotnetnuke",
            include_str!("../../../../tests/web_configs/dotnetnuke.config"),
            vec![ASPNET, ASPNET, "10: maxUrl"],
        ),
        ("single-page", include_str!("../../../../tests/web_configs/single-page.config"), vec![]),
        (
            "aspnet-core",
            include_str!("../../../../tests/web_configs/aspnet-core.config"),
            vec![
                "6: the handler of \"*\" does not run: run the ASP.NET Core program",
                "8: aspNetCore",
            ],
        ),
        (
            "static",
            include_str!("../../../../tests/web_configs/static.config"),
            vec![
                "23: the rewrite rule \"Without ending\" is not done: its condition on {REQUEST_FILENAME}.html",
            ],
        ),
    ] {
        let told = told_of(text);
        let lines: Vec<_> = told.lines().collect();
        assert_eq!(lines.len(), expected.len(), "{name}\n{told}");
        for (line, part) in lines.iter().zip(expected) {
            assert!(line.contains(part), "{name}: {part}\n{line}");
        }
        assert!(!told.contains("not-to-be-shown"), "{told}");
    }
}

#[test]
fn what_requests_may_not_have_is_refused() {
    let server = "<security><requestFiltering>\
        <denyUrlSequences><add sequence='wp-config'/><add sequence='..'/></denyUrlSequences>\
        <alwaysAllowedUrls><add url='/wp-config/open'/></alwaysAllowedUrls>\
        <denyQueryStringSequences><add sequence='&lt;script'/></denyQueryStringSequences>\
        <verbs allowUnlisted='false'><add verb='GET' allowed='true'/><add verb='TRACE' allowed='false'/></verbs>\
        <fileExtensions><add fileExtension='.php' allowed='false'/></fileExtensions>\
        </requestFiltering></security>";
    let mut given = sections(&format!("{server}<handlers>{PHP}</handlers>"));
    given.companion = WITH_PHP;
    let document = given.read();
    let root = route(&document, "/");
    assert_eq!(codes(&document), [""; 0]);
    assert_eq!(scripts(&root), None, "an ending that is refused is not run either");
    let refused = |method: &str, path: &[u8], query: Option<&str>| {
        let asked = bindery_model::decide::condition::Asked {
            method,
            query,
            ..bindery_model::decide::condition::Asked::of(path)
        };
        root.rules.redirects.iter().any(|rule| {
            assert_eq!((&rule.to, rule.status), (&RedirectTo::Refused, 404));
            let made = Replacement::new(&rule.path, &rule.when, None).unwrap();
            made.target(&asked, true).is_some()
        })
    };
    assert!(refused("GET", b"/a/WP-Config.php", None) && refused("GET", b"/wp-config\xff", None));
    assert!(!refused("GET", b"/wp-config/open", None) && !refused("GET", b"/a", Some("b=c")));
    assert!(refused("GET", b"/a", Some("b=<SCRIPT")) && refused("GET", b"/a", Some("b=%3cscript")));
    assert!(refused("TRACE", b"/a", None) && refused("PUT", b"/a", None));
}

#[test]
fn a_rule_that_refuses_and_is_not_done_is_a_warning() {
    for (action, code) in [
        ("type='AbortRequest'", Code::NotEnforced),
        ("type='CustomResponse' statusCode='403'", Code::NotEnforced),
        ("type='Redirect' url='/x'", Code::NotSupportedHere),
    ] {
        let inner = format!(
            "<rewrite><rules><rule name='r'><match url='(?=a)'/><action {action}/></rule></rules></rewrite>"
        );
        let given = web_config("", "/srv/d/a", &inner);
        has(&given.read(), &given.text, code, "is not done: its regular expression");
    }
}
