//! A server that has its sites from an IIS: what clients get, beside what IIS answers.

use std::fs;

use bindery_testkit::{http1::Answer, tls::TestClient};

use crate::{
    program::{Background, Folder, free_port, local},
    run::plain,
    whole::php,
};
use bindery_testkit::http1::Http1;

/// Server-wide settings as a default installation has them, and a few of its own.
const SERVER: &str = r#"
    <system.webServer>
        <!-- as installed -->
        <defaultDocument enabled="true"><files><add value="Default.htm" /><add value="index.html" /></files></defaultDocument>
        <directoryBrowse enabled="false" />
        <httpErrors lockAttributes="allowAbsolutePathsWhenDelegated,defaultPath">
            <error statusCode="404" prefixLanguageFilePath="%SystemDrive%\inetpub\custerr" path="404.htm" />
        </httpErrors>
        <httpProtocol><customHeaders><clear /><add name="X-Server" value="one" /><add name="X-Locked" value="stays" lockItem="true" /></customHeaders></httpProtocol>
        <staticContent>
            <mimeMap fileExtension=".htm" mimeType="text/html" /><mimeMap fileExtension=".html" mimeType="text/html" />
            <mimeMap fileExtension=".txt" mimeType="text/plain" /><mimeMap fileExtension=".php" mimeType="text/plain" />
        </staticContent>
        <security><requestFiltering><hiddenSegments><add segment="bin" /></hiddenSegments></requestFiltering></security>
    </system.webServer>
"#;

/// What a `web.config` has around its sections.
fn web_config(inner: &str) -> String {
    format!(
        "\u{feff}<?xml version=\"1.0\"?>\r\n<configuration>\r\n\t<system.webServer>{inner}\
         </system.webServer>\r\n\t<system.web><compilation debug=\"false\" /></system.web>\r\n\
         </configuration>"
    )
}

/// An IIS home with the sites `main`, `old`, `off`, `rules` and `app`.
struct Iis {
    folder: Folder,
    http: u16,
    https: u16,
}

impl Iis {
    fn new() -> Self {
        let (http, https) = (free_port(), free_port());
        let folder = Folder::new("[paths]\n'C:\\inetpub' = 'inetpub'\n");
        folder.certificate("all", &["main.test", "rules.test", "www.rules.test"]);
        let own = Self { folder, http, https };
        let toml = fs::read_to_string(own.folder.path().join("bindery.toml")).unwrap();
        let certificate = "[[certificate]]\nname = 'all'\nfile = 'all.pem'\n";
        fs::write(own.folder.path().join("bindery.toml"), toml + certificate).unwrap();
        let site = |name: &str, id: u32, more: &str, inside: &str| {
            format!(
                "<site name=\"{name}\" id=\"{id}\"{more}>\n<application path=\"/\">\
                 <virtualDirectory path=\"/\" physicalPath=\"C:\\inetpub\\{name}\" /></application>{inside}\n\
                 <bindings><binding protocol=\"http\" bindingInformation=\"127.0.0.1:{http}:{name}.test\" />\
                 <binding protocol=\"http\" bindingInformation=\"127.0.0.1:{http}:www.{name}.test\" />\
                 <binding protocol=\"https\" bindingInformation=\"127.0.0.1:{https}:{name}.test\" sslFlags=\"1\" />\
                 <binding protocol=\"net.tcp\" bindingInformation=\"808:*\" /></bindings>\n</site>\n"
            )
        };
        let secure = |text: String| text;
        let plain = |text: String| {
            let at = text.find("<binding protocol=\"https\"").unwrap();
            let end = at + text[at..].find("/>").unwrap() + 2;
            text[..at].to_owned() + &text[end..]
        };
        let sites = [
            secure(site(
                "main",
                1,
                "",
                "<application path=\"/app\" applicationPool=\"P\"><virtualDirectory path=\"/\" physicalPath=\"C:\\inetpub\\app\" /><virtualDirectory path=\"/more\" physicalPath=\"C:\\inetpub\\more\" /></application>",
            )),
            plain(site("old", 2, "", "")),
            plain(site("off", 3, " serverAutoStart=\"false\"", "")),
            secure(site("rules", 4, "", "")),
            plain(site("app", 5, "", "")),
        ];
        let locations = r#"
    <location path="main/private" overrideMode="Deny"><system.webServer><security><ipSecurity allowUnlisted="false"><add ipAddress="192.0.2.1" allowed="true" /></ipSecurity></security></system.webServer></location>
    <location path="main/LIST" allowOverride="true"><system.webServer><directoryBrowse enabled="true" /></system.webServer></location>
    <location path="main/virtual"><system.webServer><directoryBrowse enabled="true" /></system.webServer></location>
    <location path="main" inheritInChildApplications="false"><system.webServer><httpProtocol><customHeaders><add name="X-Main" value="only" /></customHeaders></httpProtocol></system.webServer></location>
    <location path="old"><system.webServer><httpRedirect enabled="true" destination="https://new.test/base" httpResponseStatus="PermRedirect" /></system.webServer></location>
"#;
        let text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<configuration>\n<system.applicationHost>\n\
             <applicationPools><add name=\"P\" /></applicationPools>\n<sites>\n{}</sites>\n\
             </system.applicationHost>{SERVER}{locations}</configuration>\n",
            sites.concat()
        );
        fs::write(own.folder.path().join("applicationHost.config"), text).unwrap();
        own.write("main/index.html", "second");
        own.write("main/Default.htm", "first");
        own.write("main/home.txt", "home");
        own.write("main/note.unknown", "?");
        own.write("main/bin/x.txt", "hidden");
        own.write("main/empty/deep/x.txt", "deep");
        own.write("main/list/a.txt", "a");
        own.write("main/list/b.txt", "b");
        own.write("main/private/x.txt", "private");
        own.write("main/errors/lost.htm", "lost here");
        own.write("main/errors/list.htm", "no list");
        own.write("main/errors/type.htm", "no type");
        own.write("app/index.html", "app");
        own.write("more/x.txt", "more");
        own.write("old/x.txt", "old");
        own.write("off/index.html", "off");
        own.write("rules/index.php", "front");
        own.write("rules/real.txt", "real");
        own.write("rules/.well-known/acme-challenge/token.txt", "token");
        own
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join("inetpub").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn serving(&self) -> Background {
        Background::serving_in(&self.folder, "applicationHost.config")
    }

    async fn get(&self, host: &str, path: &str) -> Answer {
        let host = format!("{host}:{}", self.http);
        plain(local(self.http)).await.get(&host, path).await.unwrap()
    }

    async fn secure(&self, host: &str, path: &str) -> Answer {
        let client = TestClient::default();
        let open = client.connect(local(self.https), Some(host)).await.unwrap();
        let host = format!("{host}:{}", self.https);
        Http1::new(open.stream).get(&host, path).await.unwrap()
    }

    #[track_caller]
    fn is(answer: &Answer, status: u16, text: &str) {
        assert!(
            answer.status == status && answer.text().contains(text),
            "{status} {text}: {answer:?} {}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn files_are_served_as_their_sections_say() {
    let iis = Iis::new();
    iis.write("main/sub/web.config", &web_config(
        "<defaultDocument><files><add value=\"home.txt\" /></files></defaultDocument>\
         <httpProtocol><customHeaders><remove name=\"X-Server\" /><remove name=\"X-Locked\" /><add name=\"X-Sub\" value=\"s\" /></customHeaders></httpProtocol>\
         <staticContent><remove fileExtension=\".txt\" /><mimeMap fileExtension=\".txt\" mimeType=\"text/x-own\" /><mimeMap fileExtension=\".unknown\" mimeType=\"a/b\" />\
         <clientCache cacheControlMode=\"UseExpires\" httpExpires=\"Tue, 19 Jan 2038 03:14:07 GMT\" /></staticContent>\
         <security><access sslFlags=\"Ssl\" /></security>",
    ));
    for name in ["home.txt", "index.html", "x.unknown"] {
        iis.write(&format!("main/sub/{name}"), name);
    }
    iis.write("main/web.config", &web_config(
        "<httpErrors errorMode=\"Custom\"><remove statusCode=\"404\" /><error statusCode=\"404\" path=\"errors\\lost.htm\" />\
         <error statusCode=\"404\" subStatusCode=\"3\" path=\"/errors/type.htm\" responseMode=\"ExecuteURL\" />\
         <error statusCode=\"403\" subStatusCode=\"14\" path=\"errors\\list.htm\" /></httpErrors>\
         <staticContent><clientCache cacheControlMode=\"UseMaxAge\" cacheControlMaxAge=\"7.00:00:00\" /></staticContent>",
    ));
    let server = iis.serving();
    let get = async |path: &str| iis.get("main.test", path).await;
    // The order of default documents, and that of an inner level first.
    Iis::is(&get("/").await, 200, "first");
    let sub = get("/sub/").await;
    Iis::is(&sub, 200, "home.txt");
    assert_eq!(sub.field("content-type"), Some("text/x-own"));
    assert_eq!(sub.field("expires"), Some("Tue, 19 Jan 2038 03:14:07 GMT"));
    assert_eq!((sub.field("x-server"), sub.field("x-sub")), (None, Some("s")));
    assert_eq!(sub.field("x-locked"), Some("stays"), "a locked entry is not taken away");
    assert_eq!(sub.field("cache-control"), None);
    assert_eq!(get("/sub/x.unknown").await.field("content-type"), Some("a/b"));
    let root = get("/home.txt").await;
    assert_eq!(root.field("cache-control"), Some("max-age=604800"));
    assert_eq!((root.field("x-server"), root.field("x-main")), (Some("one"), Some("only")));
    // Errors and their pages.
    Iis::is(&get("/none").await, 404, "lost here");
    Iis::is(&get("/note.unknown").await, 404, "no type");
    Iis::is(&get("/empty/deep/").await, 403, "no list");
    Iis::is(&get("/bin/x.txt").await, 404, "lost here");
    Iis::is(&get("/web.config").await, 404, "lost here");
    Iis::is(&get("/private/x.txt").await, 403, "");
    Iis::is(&get("/PRIVATE/x.txt").await, 403, "");
    // A location of another case, and what an application does not inherit.
    Iis::is(&get("/list/").await, 200, "b.txt");
    Iis::is(&get("/LIST/").await, 200, "b.txt");
    Iis::is(&get("/virtual/").await, 404, "");
    iis.write("main/Virtual/x.txt", "no more");
    let soon = async || get("/virtual/").await.text().contains("x.txt");
    bindery_testkit::eventually("a folder that settings wait for", soon).await;
    let app = get("/app/").await;
    Iis::is(&app, 200, "app");
    assert_eq!((app.field("x-main"), app.field("x-server")), (None, Some("one")));
    Iis::is(&get("/app/more/x.txt").await, 200, "more");
    Iis::is(&iis.secure("main.test", "/").await, 200, "first");
    // Sites that redirect and that are stopped.
    let moved = iis.get("old.test", "/x/y?q=1").await;
    assert_eq!(
        (moved.status, moved.field("location")),
        (308, Some("https://new.test/base/x/y?q=1"))
    );
    Iis::is(&iis.get("off.test", "/").await, 503, "");
    assert_eq!(server.stop(), Some(0));
    // What is locked was told.
    let told = iis.folder.run("check --config applicationHost.config");
    for part in ["security/access is locked", "<remove> in httpProtocol changes", "net.tcp/808:*"] {
        assert!(told.out.contains(part) || told.err.contains(part), "{part}\n{told:?}");
    }
}

#[tokio::test]
async fn everyday_rewrite_rules_are_served() {
    let iis = Iis::new();
    iis.write("rules/web.config", &web_config(
        "<rewrite><rules>\
         <rule name=\"acme\" stopProcessing=\"true\"><match url=\"^\\.well-known/\" /><action type=\"None\" /></rule>\
         <rule name=\"https\" stopProcessing=\"true\"><match url=\"(.*)\" /><conditions><add input=\"{HTTPS}\" pattern=\"off\" /></conditions>\
         <action type=\"Redirect\" url=\"https://{HTTP_HOST}/{R:1}\" redirectType=\"Permanent\" /></rule>\
         <rule name=\"old\"><match url=\".*\" /><conditions><add input=\"{Old:{REQUEST_URI}}\" pattern=\"(.+)\" /></conditions>\
         <action type=\"Redirect\" url=\"{C:1}\" appendQueryString=\"false\" redirectType=\"Found\" /></rule>\
         <rule name=\"closed\"><match url=\"^closed/\" /><action type=\"CustomResponse\" statusCode=\"410\" statusReason=\"Gone\" /></rule>\
         <rule name=\"front\"><match url=\"^(.*)$\" /><conditions logicalGrouping=\"MatchAll\">\
         <add input=\"{REQUEST_FILENAME}\" matchType=\"IsFile\" negate=\"true\" /><add input=\"{REQUEST_FILENAME}\" matchType=\"IsDirectory\" negate=\"true\" /></conditions>\
         <action type=\"Rewrite\" url=\"index.php?q={R:1}\" /></rule></rules>\
         <rewriteMaps><rewriteMap name=\"Old\"><add key=\"/a.asp\" value=\"/a\" /></rewriteMap></rewriteMaps></rewrite>",
    ));
    iis.write("app/web.config", &web_config(
        "<rewrite><rules><rule name=\"www\" stopProcessing=\"true\"><match url=\"(.*)\" />\
         <conditions><add input=\"{HTTP_HOST}\" pattern=\"^(?!www\\.)(.+)$\" /></conditions>\
         <action type=\"Redirect\" url=\"http://www.{C:1}/{R:1}\" /></rule>\
         <rule name=\"api\"><match url=\"^api/(.*)\" /><action type=\"Rewrite\" url=\"http://127.0.0.1:1/{R:1}\" /></rule></rules></rewrite>",
    ));
    let server = iis.serving();
    let location = |answer: &Answer| answer.field("location").map(str::to_owned);
    let http = iis.http;
    let https = iis.https;
    Iis::is(&iis.get("rules.test", "/.well-known/acme-challenge/token.txt").await, 200, "token");
    let to = iis.get("rules.test", "/x/y?q=1").await;
    // As IIS does: the port is that of the request.
    assert_eq!(
        (to.status, location(&to)),
        (301, Some(format!("https://rules.test:{http}/x/y?q=1")))
    );
    let to = iis.secure("rules.test", "/a.asp").await;
    assert_eq!((to.status, location(&to)), (302, Some("/a".to_owned())));
    Iis::is(&iis.secure("rules.test", "/closed/x").await, 410, "");
    Iis::is(&iis.secure("rules.test", "/any/page").await, 200, "front");
    Iis::is(&iis.secure("rules.test", "/real.txt").await, 200, "real");
    let to = iis.get("app.test", "/x").await;
    let expected = "http://www.app.test/x".to_owned();
    assert_eq!((to.status, location(&to)), (301, Some(expected)));
    Iis::is(&iis.get("www.app.test", "/").await, 200, "app");
    Iis::is(&iis.get("www.app.test", "/api/x").await, 502, "");
    // A rule that is new in a folder that had no web.config is there at once.
    iis.write("app/new/index.html", "new");
    iis.write("app/new/web.config", &web_config("<httpRedirect enabled=\"true\" destination=\"/elsewhere\" exactDestination=\"true\" />"));
    let soon = async || iis.get("www.app.test", "/new/").await.status == 302;
    bindery_testkit::eventually("a redirect", soon).await;
    // And one that is broken closes its folder alone.
    iis.write("app/new/web.config", "<configuration><system.webServer>");
    let soon = async || iis.get("www.app.test", "/new/").await.status == 500;
    bindery_testkit::eventually("a broken folder", soon).await;
    // Editors of Windows write UTF-16 too; what cannot be read at all opens nothing.
    let redirect = web_config(
        "<httpRedirect enabled=\"true\" destination=\"/utf-16\" exactDestination=\"true\" />",
    );
    let units = redirect.encode_utf16().flat_map(u16::to_le_bytes);
    let bytes: Vec<u8> = [0xff, 0xfe].into_iter().chain(units).collect();
    let own = iis.folder.path().join("inetpub/app/new/web.config");
    fs::write(&own, bytes).unwrap();
    let soon = async || location(&iis.get("www.app.test", "/new/").await).is_some();
    bindery_testkit::eventually("a redirect in UTF-16", soon).await;
    fs::write(&own, b"<configuration><!-- \xfc --></configuration>").unwrap();
    let soon = async || iis.get("www.app.test", "/new/").await.status == 500;
    bindery_testkit::eventually("a folder in another encoding", soon).await;
    Iis::is(&iis.get("www.app.test", "/").await, 200, "app");
    // What is explained is what is served.
    let words = format!(
        "explain --config applicationHost.config https://rules.test:{https}/any/page --ip 127.0.0.1"
    );
    let told = iis.folder.run(&words);
    assert!(told.out.contains("if no file is there"), "{told:?}");
    assert_eq!(server.stop(), Some(0));
}

#[tokio::test]
async fn php_of_an_iis_runs_by_a_real_php_fpm() {
    let iis = Iis::new();
    let Some(_php) = php(iis.folder.path()) else { return };
    let front = "<rewrite><rules><rule name=\"WordPress\" patternSyntax=\"Wildcard\"><match url=\"*\" />\
         <conditions><add input=\"{REQUEST_FILENAME}\" matchType=\"IsFile\" negate=\"true\" />\
         <add input=\"{REQUEST_FILENAME}\" matchType=\"IsDirectory\" negate=\"true\" /></conditions>\
         <action type=\"Rewrite\" url=\"index.php\" /></rule></rules></rewrite>";
    let handler = "<handlers><add name=\"PHP\" path=\"*.php\" verb=\"GET,HEAD,POST\" modules=\"FastCgiModule\" \
         scriptProcessor=\"C:\\PHP\\php-cgi.exe\" resourceType=\"Either\" /></handlers>";
    let documents =
        "<defaultDocument><files><clear /><add value=\"index.php\" /></files></defaultDocument>";
    iis.write("app/web.config", &web_config(&format!("{handler}{documents}{front}")));
    iis.write(
        "app/index.php",
        "<?php echo 'by php: ', $_SERVER['REQUEST_URI'], ' ', $_SERVER['SCRIPT_NAME'];",
    );
    iis.write("app/style.txt", "plain");
    iis.write("app/uploads/evil.php", "<?php echo 'ran';");
    iis.write("app/uploads/web.config", &web_config(
        "<handlers accessPolicy=\"Read\" /><staticContent><remove fileExtension=\".php\" /></staticContent>",
    ));
    let check = || iis.folder.run("check --config applicationHost.config");
    let line = "'C:\\PHP\\php-cgi.exe' = \"unix:/run/php/php-fpm.sock\"";
    let told = check();
    assert!(format!("{}{}", told.out, told.err).contains(line), "{told:?}");
    let imported = iis.folder.run("import iis applicationHost.config --to new.toml --dry-run");
    let imported = format!("{}{}", imported.out, imported.err);
    assert!(imported.contains(&format!("[fastcgi]\n{line}")), "{imported}");
    assert!(imported.contains("fastcgi"), "{imported}");

    let toml = iis.folder.path().join("bindery.toml");
    let text = fs::read_to_string(&toml).unwrap();
    fs::write(&toml, format!("{text}\n[fastcgi]\n'C:\\PHP\\php-cgi.exe' = \"unix:php.sock\"\n"))
        .unwrap();
    assert!(!format!("{:?}", check()).contains("php-cgi"), "{:?}", check());
    let server = iis.serving();
    Iis::is(&iis.get("app.test", "/").await, 200, "by php: / /index.php");
    Iis::is(&iis.get("app.test", "/a/page?b=c").await, 200, "by php: /a/page?b=c /index.php");
    Iis::is(&iis.get("app.test", "/style.txt").await, 200, "plain");
    Iis::is(&iis.get("app.test", "/uploads/evil.php").await, 404, "");
    let told = iis.folder.run(&format!(
        "explain --config applicationHost.config http://app.test:{}/ --ip 127.0.0.1",
        iis.http
    ));
    assert!(told.out.contains("php.sock"), "{told:?}");
    let exported = iis.folder.run("export --config applicationHost.config toml");
    assert!(format!("{exported:?}").contains("fastcgi"), "{exported:?}");
    assert_eq!(server.stop(), Some(0));
}
