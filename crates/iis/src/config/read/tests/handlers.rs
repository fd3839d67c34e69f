//! Which programs run, and what is told of the others.

use super::*;

/// A program of Windows that runs `*.php`.
pub(super) const PHP: &str = r#"<add name="PHP" path="*.php" verb="GET,HEAD,POST" modules="FastCgiModule" scriptProcessor="%SystemDrive%\PHP\php-cgi.exe|-d a=b" resourceType="Either" requireAccess="Script" />"#;
pub(super) const WITH_PHP: &str = "version = 1\n[paths]\n'D:' = \"/srv/d\"\n[fastcgi]\n'c:/php/PHP-cgi.exe' = \"unix:/run/php.sock\"\n";

pub(super) fn scripts(route: &Route) -> Option<(String, &[String], &Path)> {
    match &route.action {
        RouteAction::FastCgi(own) => {
            Some((own.server.to_string(), &own.extensions[..], own.files.root.as_path()))
        }
        _ => None,
    }
}

#[test]
fn a_program_that_a_server_stands_for_runs_scripts() {
    let server = format!(
        "<handlers>{PHP}</handlers><defaultDocument><files><add value='index.php'/></files></defaultDocument>"
    );
    let mut given = web_config(&server, "/srv/d/a/in", "<directoryBrowse enabled='true'/>");
    for (folder, inner) in [
        (
            "/srv/d/a/none",
            "<handlers><clear/><add name='S' path='*' verb='*' modules='StaticFileModule'/></handlers>",
        ),
        ("/srv/d/a/read", "<handlers accessPolicy='Read'/>"),
        ("/srv/d/a/gone", "<handlers><remove name='php'/></handlers>"),
        (
            "/srv/d/a/other",
            "<handlers><add name='N' path='*.php' verb='*' modules='CgiModule'/></handlers>",
        ),
        (
            "/srv/d/a/more",
            "<handlers><add name='P' path='*.phtml,*.PHP5' verb='*' modules='FastCgiModule' scriptProcessor='C:\\PHP\\php-cgi.exe'/></handlers>",
        ),
    ] {
        let text =
            format!("<configuration><system.webServer>{inner}</system.webServer></configuration>");
        given.web_configs.insert(folder.into(), text);
    }
    let unmapped = given.read();
    assert_eq!(scripts(&route(&unmapped, "/")), None);
    let help = "below [fastcgi]: 'C:\\PHP\\php-cgi.exe' = \"unix:/run/php/php-fpm.sock\"";
    has(&unmapped, &given.text, Code::UnmappedPath, help);
    let count = unmapped.problems.iter().filter(|own| own.code == Code::UnmappedPath).count();
    assert_eq!(count, 1, "a program is told once");
    let proposed = proposed(&unmapped.problems);
    assert_eq!(proposed.fastcgi[0].0, r"C:\PHP\php-cgi.exe");
    assert_eq!(proposed.fastcgi[0].1.to_string(), "unix:/run/php/php-fpm.sock");

    given.companion = WITH_PHP;
    let document = given.read();
    let root = route(&document, "/");
    let php = ["php".to_owned()];
    let is = ("unix:/run/php.sock".to_owned(), &php[..], Path::new("/srv/d/a"));
    assert_eq!(scripts(&root), Some(is), "{}", told(&document, &given.text));
    let RouteAction::FastCgi(own) = &root.action else { panic!("{root:?}") };
    assert_eq!(own.files.default_documents[0], "index.php");
    assert!(scripts(&route(&document, "/in")).is_some());
    let more = route(&document, "/more");
    assert_eq!(scripts(&more).unwrap().1, ["phtml", "php5", "php"]);
    for path in ["/none", "/read", "/gone", "/other"] {
        assert_eq!(scripts(&route(&document, path)), None, "{path}");
    }
    has(&document, &given.text, Code::NotSupportedHere, "CGI programs are not started");
    assert!(document.problems.iter().all(|own| own.code != Code::UnmappedPath));
}

#[test]
fn programs_that_do_not_run_are_told_with_what_to_do() {
    for (handler, part) in [
        ("path='*' modules='AspNetCoreModuleV2'", "run the ASP.NET Core program as a service"),
        ("path='server.js' modules='iisnode'", "run its program as a service"),
        ("path='*' modules='httpPlatformHandler'", "run its program as a service"),
        ("path='*.axd' type='A.B, C' preCondition='integratedMode'", "stay on Windows"),
        ("path='*.dll' modules='IsapiModule' scriptProcessor='a.dll'", "stay on Windows"),
        (
            "path='*' modules='FastCgiModule' scriptProcessor='C:\\py.exe|x.py'",
            "proxy for programs",
        ),
        ("path='*.x' modules='Other'", "module is one of IIS"),
    ] {
        let inner = format!("<handlers><add name='h' verb='*' {handler}/></handlers>");
        let given = web_config("", "/srv/d/a", &inner);
        has(&given.read(), &given.text, Code::NotSupportedHere, part);
    }
    let quiet = "<handlers><remove name='x'/><add name='s' path='*' verb='*' modules='StaticFileModule,DefaultDocumentModule'/></handlers>";
    let given =
        web_config("<handlers><add name='T' path='*.axd' type='A'/></handlers>", "/srv/d/a", quiet);
    assert_eq!(codes(&given.read()), [""; 0]);
}
