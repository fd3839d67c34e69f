//! The commands that administrators use most, with their output, exit codes and effects.

use bindery_iis::appcmd::{Answer, Effect, Request, World, run};
use proptest::prelude::*;

use crate::sample::{SAMPLE, difference};

/// Words as a shell makes them: blanks part them, double quotes are taken off.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut begun) = (Vec::new(), String::new(), false, false);
    for one in line.chars() {
        match one {
            '"' => (quoted, begun) = (!quoted, true),
            ' ' if !quoted => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            _ => {
                word.push(one);
                begun = true;
            }
        }
    }
    words.extend(begun.then_some(word));
    words
}

pub(super) fn on(text: &str, line: &str, stdin: Option<&str>) -> Answer {
    let request = Request {
        id: "fb0000008000000e".to_owned(),
        verb: "GET".to_owned(),
        url: "/wait.aspx?time=10000".to_owned(),
        time_ms: 4276,
        client: "localhost".to_owned(),
        site: "X".to_owned(),
        site_id: 3,
    };
    let backups = ["Monday".to_owned()];
    let world =
        World { text, backups: &backups, backup_name: "20260519T172530", requests: &[request] };
    run(&words(line), stdin, &world)
}

/// Output, exit code, and the lines of the file that differ.
#[track_caller]
fn check(line: &str, output: &str, exit: u16, changed: &str) {
    let answer = on(SAMPLE, line, None);
    assert_eq!(answer.output, output, "{line}");
    assert_eq!(answer.exit, exit, "{line}");
    let text = answer.text.unwrap_or_else(|| SAMPLE.to_owned());
    assert_eq!(difference(SAMPLE, &text), changed, "{line}");
}

#[track_caller]
fn says(line: &str, output: &str) {
    check(line, output, 0, "");
}

/// The file is changed, and one line says so.
#[track_caller]
pub(super) fn does(line: &str, output: &str, changed: &str) {
    check(line, &format!("{output}\n"), 0, changed);
}

#[track_caller]
pub(super) fn fails(line: &str, message: &str, exit: u16) {
    check(line, &format!("ERROR ( message:{message} )\n"), exit, "");
}

const DEFAULT: &str = "SITE \"Default Web Site\" (id:1,bindings:http/*:80:,state:Started)\n";
const X: &str = "SITE \"X\" (id:3,bindings:http/*:80:x.com,https/*:443:x.com,state:Started)\n";

#[test]
fn sites_are_listed() {
    says("list sites", &format!("{DEFAULT}{X}"));
    says("LIST SITE", &format!("{DEFAULT}{X}"));
    says("list site x", X);
    says("list site https://x.com/app1/a?b", X);
    says("list site http://other.example:80/", DEFAULT);
    says("list sites /id:3", X);
    says("list sites -serverAutoStart:TRUE /text:name", "Default Web Site\nX\n");
    says("list sites /text:limits.maxConnections", "4294967295\n4294967295\n");
    check("list sites /state:Stopped", "", 1, "");
    check("list site nobody", "", 1, "");
    says(
        "list site X /text:*",
        "SITE\n  SITE.NAME:\"X\"\n  SITE.ID:\"3\"\n  bindings:\"http/*:80:x.com,https/*:443:x.com\"\n  state:\"Started\"\n  [site]\n    name:\"X\"\n    id:\"3\"\n    [application]\n      path:\"/\"\n      applicationPool:\"P\"\n      [virtualDirectory]\n        path:\"/\"\n        physicalPath:\"D:\\x\"\n    [application]\n      path:\"/app1\"\n      [virtualDirectory]\n        path:\"/\"\n        physicalPath:\"D:\\app1\"\n    [bindings]\n      [binding]\n        protocol:\"http\"\n        bindingInformation:\"*:80:x.com\"\n      [binding]\n        protocol:\"https\"\n        bindingInformation:\"*:443:x.com\"\n\n",
    );
    says(
        "list site \"Default Web Site\" /xml",
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<appcmd>\n    <SITE SITE.NAME=\"Default Web Site\" SITE.ID=\"1\" bindings=\"http/*:80:\" state=\"Started\" />\n</appcmd>\n",
    );
    says(
        "list site \"Default Web Site\" /config",
        "<site name=\"Default Web Site\" id=\"1\">\n  <application path=\"/\">\n    <virtualDirectory path=\"/\" physicalPath=\"C:\\inetpub\\wwwroot\" />\n  </application>\n  <bindings>\n    <binding protocol=\"http\" bindingInformation=\"*:80:\" />\n  </bindings>\n</site>\n",
    );
}

#[test]
fn sites_are_added_and_deleted() {
    does(
        "add site /name:Y /bindings:http/*:80:y.com /physicalPath:C:\\y",
        "SITE object \"Y\" added\nAPP object \"Y/\" added\nVDIR object \"Y/\" added",
        "+<site name=\"Y\" id=\"2\">\n+<application path=\"/\">\n+<virtualDirectory path=\"/\" physicalPath=\"C:\\y\" />\n+</application>\n+<bindings>\n+<binding protocol=\"http\" bindingInformation=\"*:80:y.com\" />\n+</bindings>\n+</site>",
    );
    does(
        "add site /name:Y /id:77",
        "SITE object \"Y\" added",
        "+<site name=\"Y\" id=\"77\">\n+<bindings />\n+</site>",
    );
    fails("add site /name:x", "Failed to add duplicate collection element \"x\".", 183);
    fails("add site /name:Y /id:3", "Failed to add duplicate collection element \"Y\".", 183);
    for path in ["bindings/binding", "limits/", "/limits", "bindings/binding[protocol='x']"] {
        let answer = on(SAMPLE, &format!("set site X /+{path}[a='b']"), None);
        assert_eq!((answer.exit, answer.text), (87, None), "{path}: {}", answer.output);
    }
    fails("add site /name:Y /xyz:1", "Unknown attribute \"xyz\".  Replace with -? for help.", 87);
    fails(
        "add site /id:9",
        "New SITE object missing required attributes.  The attribute \"name\" must be specified.",
        87,
    );
    let gone = SAMPLE.lines().skip_while(|line| !line.contains("name=\"X\"")).take(12);
    let gone: Vec<_> = gone.map(|line| format!("-{}", line.trim_start())).collect();
    does("delete site X", "SITE object \"X\" deleted", &gone.join("\n"));
    fails("delete site Missing", "Cannot find SITE object with identifier \"Missing\".", 1168);
    fails("delete site", "Must specify the SITE object with identifier.", 87);
}

#[test]
fn bindings_of_a_site_are_set() {
    let added = "+<binding protocol=\"https\" bindingInformation=\"*:443:y.com\" sslFlags=\"1\" />";
    for line in [
        "set site \"X\" /+bindings.[protocol='https',bindingInformation='*:443:y.com',sslFlags='1']",
        "set site X -+bindings.[PROTOCOL=https,bindinginformation=*:443:y.com,sslflags=1]",
        "set site /+bindings.[protocol='https',bindingInformation='*:443:y.com',sslFlags='1'] x",
    ] {
        does(line, "SITE object \"X\" changed", added);
    }
    let http = "<binding protocol=\"http\" bindingInformation=\"*:80:x.com\" />";
    does(
        "set site X /-bindings.[protocol='http',bindingInformation='*:80:x.com']",
        "SITE object \"X\" changed",
        &format!("-{http}"),
    );
    does(
        "set site X /bindings:\"http/*:80:x.com,https/*:443:y.com\"",
        "SITE object \"X\" changed",
        "-<binding protocol=\"https\" bindingInformation=\"*:443:x.com\" />\n+<binding protocol=\"https\" bindingInformation=\"*:443:y.com\" />",
    );
    does(
        "set site X /bindings.[protocol='http',bindingInformation='*:80:x.com'].bindingInformation:*:81:",
        "SITE object \"X\" changed",
        &format!("-{http}\n+{}", http.replace("80:x.com", "81:")),
    );
    fails(
        "set site X /+bindings.[protocol='http',bindingInformation='*:80:X.COM']",
        "Failed to add duplicate collection element \"http, *:80:X.COM\".",
        183,
    );
    fails(
        "set site X /-bindings.[protocol='http',bindingInformation='*:1:']",
        "Cannot find requested collection element.",
        1168,
    );
    fails(
        "set site X /+bindings.[protocol='http'",
        "Malformed collection indexer; format is [@position,name='value',name2='value2',...].  The @position specifier is optional, and be '@start', '@end', or '@N' where N is a numeric index into the collection.",
        87,
    );
}

#[test]
fn bindings_stand_in_the_order_of_the_list() {
    let http = "<binding protocol=\"http\" bindingInformation=\"*:80:x.com\" />";
    let https = "<binding protocol=\"https\" bindingInformation=\"*:443:x.com\" />";
    let new = "<binding protocol=\"http\" bindingInformation=\"*:81:x.com\" />";
    for (list, changed) in [
        ("http/*:80:x.com,https/*:443:x.com", String::new()),
        ("HTTP/*:80:X.com,https/*:443:x.com", String::new()),
        ("https/*:443:x.com,http/*:80:x.com", format!("-{http}\n+{http}")),
        ("http/*:81:x.com,http/*:80:x.com,https/*:443:x.com", format!("+{new}")),
        ("http/*:80:x.com,http/*:81:x.com,https/*:443:x.com", format!("+{new}")),
        ("http/*:81:x.com,https/*:443:x.com", format!("-{http}\n+{new}")),
        ("http/*:80:x.com", format!("-{https}")),
    ] {
        let line = format!("set site X /bindings:{list}");
        does(&line, "SITE object \"X\" changed", &changed);
        let text = on(SAMPLE, &line, None).text.unwrap_or_else(|| SAMPLE.to_owned());
        let listed = on(&text, "list site X /text:bindings", None).output;
        assert_eq!(listed.trim().to_lowercase(), list.to_lowercase());
    }
}

/// Said by appcmd where an object or an element of a collection lacks what tells it apart.
pub(super) fn lacks(what: &str, attribute: &str) -> String {
    format!(
        "New {what} missing required attributes.  The attribute \"{attribute}\" must be specified."
    )
}

#[test]
fn half_a_binding_is_neither_added_nor_meant() {
    for (item, lacking) in [
        ("bindingInformation='*:80:y.com'", "protocol"),
        ("protocol='http'", "bindingInformation"),
        ("protocol='http',bindingInformation=''", "bindingInformation"),
        ("sslFlags='1'", "protocol"),
        ("", "protocol"),
    ] {
        let line = format!("set site X /+bindings.[{item}]");
        fails(&line, &lacks("binding element", lacking), 87);
    }
    fails(
        "set site X /bindings:http/",
        "\"http/\" is neither protocol/bindingInformation nor http://domain:port.",
        87,
    );
    fails(
        "set site X /bindings:/*:80:",
        "\"/*:80:\" is neither protocol/bindingInformation nor http://domain:port.",
        87,
    );
    fails(
        "set config X /section:httpProtocol /+customHeaders.[value='v']",
        &lacks("add element", "name"),
        87,
    );
    // One of several is taken away only when it is told which.
    let added = "set site X /+bindings.[protocol='http',bindingInformation='*:80:y.com']";
    let text = on(SAMPLE, added, None).text.unwrap();
    let answer = on(&text, "set site X /-bindings.[protocol='http']", None);
    let said = "ERROR ( message:2 <binding> elements are meant: name one by protocol and bindingInformation. )\n";
    assert_eq!((answer.output.as_str(), answer.exit, answer.text), (said, 87, None));
}

#[test]
fn what_iis_would_not_read_is_not_written() {
    for (line, value, attribute) in [
        ("set site X /limits.maxConnections:99999999999", "99999999999", "maxConnections"),
        ("set site X /limits.maxConnections:-1", "-1", "maxConnections"),
        ("set site X /limits.maxConnections:", "", "maxConnections"),
        ("set site X /limits.connectionTimeout:5", "5", "connectionTimeout"),
        ("set site X /limits.connectionTimeout:1:2:x", "1:2:x", "connectionTimeout"),
        ("set site X /serverAutoStart:yes", "yes", "serverAutoStart"),
        ("set apppool P /queueLength:many", "many", "queueLength"),
        ("set config X /section:directoryBrowse /enabled:perhaps", "perhaps", "enabled"),
        (
            "set site X /+bindings.[protocol='https',bindingInformation='*:443:y',sslFlags='SNI']",
            "SNI",
            "sslFlags",
        ),
    ] {
        let message = format!("\"{value}\" is not a valid value for attribute \"{attribute}\".");
        fails(line, &message, 87);
    }
    for value in ["29:00:00", "1.05:00:00", "00:02:00"] {
        let line = format!("set apppool P /recycling.periodicRestart.time:{value}");
        assert_eq!(on(SAMPLE, &line, None).exit, 0, "{value}");
    }
}

#[test]
fn nothing_that_is_typed_is_lost() {
    fails("add site /name:N /Name:M", "The parameter \"name\" is given twice.", 87);
    fails(
        "set site X /limits.maxConnections:4 /limits.maxConnections:5",
        "The parameter \"limits.maxconnections\" is given twice.",
        87,
    );
    fails("list site X /text:name /text:id", "The parameter \"text\" is given twice.", 87);
}

#[test]
fn help_is_about_what_it_is_asked_for_and_fits_a_terminal() {
    let help = |line: &str| {
        let answer = on(SAMPLE, line, None);
        assert_eq!(answer.exit, 1, "{line}");
        assert!(answer.output.lines().all(|line| line.len() <= 80), "{}", answer.output);
        answer.output
    };
    // The error for an unknown verb says to ask this.
    let site = help("SITE /?");
    assert_eq!(help("sites /?"), site);
    assert_eq!(help("set site /?"), site);
    assert!(site.contains("  SITE      list set add delete start stop\n"), "{site}");
    assert!(site.contains("\n  /limits.maxConnections:4294967295\n"), "{site}");
    assert!(!site.contains("VDIR") && !site.contains("/bindings.binding"), "{site}");
    assert!(help("/?").contains("  VDIR      list set add delete\n"));
}

const ONE_IS_TAKEN: &str = "site \"Default Web Site\" has the id 1";

#[test]
fn what_else_a_site_has_is_set() {
    let changed = "SITE object \"X\" changed";
    does(
        "set site X /name:Y",
        changed,
        "-<site name=\"X\" id=\"3\">\n+<site name=\"Y\" id=\"3\">\n-<location path=\"X\">\n+<location path=\"Y\">\n-<location path=\"X/app1\">\n+<location path=\"Y/app1\">",
    );
    does("set site X /id:9", changed, "-<site name=\"X\" id=\"3\">\n+<site name=\"X\" id=\"9\">");
    does(
        "set site X /serverautostart:false",
        changed,
        "-<site name=\"X\" id=\"3\">\n+<site name=\"X\" id=\"3\" serverAutoStart=\"false\">",
    );
    does(
        "set site X /limits.maxConnections:100 /logFile.directory:D:\\logs",
        changed,
        "+<limits maxConnections=\"100\" />\n+<logFile directory=\"D:\\logs\" />",
    );
    let folder = "<virtualDirectory path=\"/\" physicalPath=\"D:\\x\" />";
    does(
        "set site X /[path='/'].[path='/'].physicalPath:D:\\new",
        changed,
        &format!("-{folder}\n+{}", folder.replace("D:\\x", "D:\\new")),
    );
    fails("set site X /xyz:1", "Unknown attribute \"xyz\".  Replace with -? for help.", 87);
    fails("set site X /id:1", "Failed to add duplicate collection element \"X\".", 183);
    for line in ["set site X /id:1", "add site /name:New /id:1"] {
        // IIS does not say that it is the number, nor whose it is.
        assert_eq!(on(SAMPLE, line, None).notes, [ONE_IS_TAKEN], "{line}");
    }
    fails("set site Y /id:1", "Cannot find SITE object with identifier \"Y\".", 1168);
    does(
        "stop site X",
        "\"X\" successfully stopped",
        "-<site name=\"X\" id=\"3\">\n+<site name=\"X\" id=\"3\" serverAutoStart=\"false\">",
    );
    says("start site x", "\"X\" successfully started.\n");
    let stopped = on(SAMPLE, "stop site X", None).text.unwrap();
    let listed = on(&stopped, "list sites /state:stopped", None).output;
    assert_eq!(listed, X.replace("Started", "Stopped"));
    assert_eq!(on(&stopped, "start site X", None).text.as_deref(), Some(SAMPLE));
}

#[test]
fn applications_and_virtual_directories() {
    says(
        "list apps",
        "APP \"Default Web Site/\" (applicationPool:DefaultAppPool)\nAPP \"X/\" (applicationPool:P)\nAPP \"X/app1\" (applicationPool:DefaultAppPool)\n",
    );
    says(
        "list apps /site.name:\"x\" /path:/app1",
        "APP \"X/app1\" (applicationPool:DefaultAppPool)\n",
    );
    says("list apps /apppool.name:p", "APP \"X/\" (applicationPool:P)\n");
    does(
        "add app /site.name:X /path:/app2 /physicalPath:C:\\app2",
        "APP object \"X/app2\" added\nVDIR object \"X/app2/\" added",
        "+<application path=\"/app2\">\n+<virtualDirectory path=\"/\" physicalPath=\"C:\\app2\" />\n+</application>",
    );
    does(
        "set app X/app1 /applicationPool:P",
        "APP object \"X/app1\" changed",
        "-<application path=\"/app1\">\n+<application path=\"/app1\" applicationPool=\"P\">",
    );
    does(
        "delete app \"X/app1\"",
        "APP object \"X/app1\" deleted",
        "-<application path=\"/app1\">\n-<virtualDirectory path=\"/\" physicalPath=\"D:\\app1\" />\n-</application>",
    );
    fails(
        "delete app http://x.com/app1",
        "Must use exact identifier for APP object with verb DELETE.",
        87,
    );
    fails(
        "add app /site.name:X /path:/app1",
        "Failed to add duplicate collection element \"/app1\".",
        183,
    );
    says("list vdirs /text:physicalPath", "C:\\inetpub\\wwwroot\nD:\\x\nD:\\app1\n");
    says("list vdir X/app1", "VDIR \"X/app1/\" (physicalPath:D:\\app1)\n");
    does(
        "add vdir /app.name:\"X/\" /path:/img /physicalPath:C:\\img",
        "VDIR object \"X/img\" added",
        "+<virtualDirectory path=\"/img\" physicalPath=\"C:\\img\" />",
    );
    let folder = "<virtualDirectory path=\"/\" physicalPath=\"D:\\x\" />";
    does(
        "set vdir \"X/\" /physicalPath:D:\\new",
        "VDIR object \"X/\" changed",
        &format!("-{folder}\n+{}", folder.replace("D:\\x", "D:\\new")),
    );
}

#[test]
fn pools_are_kept_and_shown() {
    says(
        "list apppools",
        "APPPOOL \"DefaultAppPool\" (MgdVersion:v4.0,MgdMode:Integrated,state:Started)\nAPPPOOL \"P\" (MgdVersion:,MgdMode:Integrated,state:Stopped)\n",
    );
    does("add apppool /name:Q", "APPPOOL object \"Q\" added", "+<add name=\"Q\" />");
    does(
        "set apppool \"P\" /processModel.idleTimeout:00:00:00",
        "APPPOOL object \"P\" changed",
        "-<processModel userName=\"svc\" password=\"not shown\" />\n+<processModel userName=\"svc\" password=\"not shown\" idleTimeout=\"00:00:00\" />",
    );
    says("recycle apppool P", "\"P\" successfully recycled\n");
    does(
        "start apppool P",
        "\"P\" successfully started.",
        "-<add name=\"P\" autoStart=\"false\">\n+<add name=\"P\">",
    );
    says("stop apppool P", "\"P\" successfully stopped\n");
    let answer = on(SAMPLE, "recycle apppool P", None);
    assert!(answer.notes.concat().contains("no worker processes"));
    for line in ["list apppool P /text:*", "list apppool P /config", "list apppool P /config /xml"]
    {
        let answer = on(SAMPLE, line, None).output;
        assert!(answer.contains("svc") && !answer.contains("not shown"), "{answer}");
    }
}

const APPLIED: &str = "Applied configuration changes to section \"system.webServer/";

fn applied(section: &str) -> String {
    format!(
        "{APPLIED}{section}\" for \"MACHINE/WEBROOT/APPHOST/X\" at configuration commit path \"MACHINE/WEBROOT/APPHOST\""
    )
}

#[test]
fn sections_are_set_at_the_location_of_their_path() {
    does(
        "set config \"X\" /section:directoryBrowse /enabled:false /commit:apphost",
        &applied("directoryBrowse"),
        "-<directoryBrowse enabled=\"true\" />\n+<directoryBrowse enabled=\"false\" />",
    );
    does(
        "set config X /section:httpProtocol /+customHeaders.[name='H',value='v']",
        &applied("httpProtocol"),
        "+<httpProtocol>\n+<customHeaders>\n+<add name=\"H\" value=\"v\" />\n+</customHeaders>\n+</httpProtocol>",
    );
    does(
        "set config X /section:staticContent /+[fileExtension='.webp',mimeType='image/webp']",
        &applied("staticContent"),
        "+<staticContent>\n+<mimeMap fileExtension=\".webp\" mimeType=\"image/webp\" />\n+</staticContent>",
    );
    does(
        "set config X -section:system.webserver/defaultdocument /+files.[value='home.html']",
        &applied("defaultDocument"),
        "+<defaultDocument>\n+<files>\n+<add value=\"home.html\" />\n+</files>\n+</defaultDocument>",
    );
    does(
        "set config X /section:access /sslFlags:Ssl /commit:apphost",
        &applied("security/access"),
        "+<security>\n+<access sslFlags=\"Ssl\" />\n+</security>",
    );
    does(
        "set config \"X/app1/old\" /section:httpRedirect /enabled:true /destination:https://y",
        &applied("httpRedirect").replace("APPHOST/X", "APPHOST/X/app1/old"),
        "+<location path=\"X/app1/old\">\n+<system.webServer>\n+<httpRedirect enabled=\"true\" destination=\"https://y\" />\n+</system.webServer>\n+</location>",
    );
    does(
        "set config /section:defaultDocument /+files.[value='first.html',@start]",
        &applied("defaultDocument").replace("APPHOST/X", "APPHOST"),
        "+<add value=\"first.html\" />",
    );
}

#[test]
fn what_is_inherited_is_taken_out_and_what_is_locked_stays() {
    does(
        "set config X /section:httpProtocol /-customHeaders.[name='x-server']",
        &applied("httpProtocol"),
        "+<httpProtocol>\n+<customHeaders>\n+<remove name=\"X-Server\" />\n+</customHeaders>\n+</httpProtocol>",
    );
    does(
        "set config X /section:ownModule /any.thing:1",
        &applied("ownModule"),
        "+<ownModule>\n+<any thing=\"1\" />\n+</ownModule>",
    );
    does(
        "clear config X /section:directoryBrowse",
        &applied("directoryBrowse"),
        "-<location path=\"X\">\n-<system.webServer>\n-<directoryBrowse enabled=\"true\" />\n-</system.webServer>\n-</location>",
    );
    fails(
        "set config X /section:httpProtocol /+customHeaders.[name='X-Server',value='2']",
        "Failed to add duplicate collection element \"X-Server\".",
        183,
    );
    fails(
        "set config X /section:httpErrors /defaultPath:/a",
        "Lock violation: attribute \"defaultPath\" of section \"system.webServer/httpErrors\" is locked at MACHINE/WEBROOT/APPHOST.",
        33,
    );
    fails(
        "set config X /section:nonsense /a:b",
        "Unknown config section \"nonsense\".  Replace with -? for help.",
        87,
    );
    fails(
        "set config Z /section:access /sslFlags:Ssl",
        "Cannot find CONFIG object with identifier \"Z\".",
        1168,
    );
}

#[test]
fn settings_are_committed_to_the_location_of_their_path() {
    let whole = "set config X/app1 /section:access /sslFlags:Ssl";
    let changed = "+<security>\n+<access sslFlags=\"Ssl\" />\n+</security>";
    let output = applied("security/access").replace("APPHOST/X", "APPHOST/X/app1");
    for commit in ["apphost", "site", "APP", "url", "path", "parent", "MACHINE/WEBROOT/APPHOST/X"] {
        let line = format!("{whole} /commit:{commit}");
        does(&line, &output, changed);
        let told = on(SAMPLE, &line, None).notes.concat();
        assert_eq!(told.contains("web.config"), commit != "apphost", "{line}: {told}");
    }
    does(whole, &output, changed);
    fails(
        "set config /section:access /sslFlags:Ssl /commit:site",
        "/commit:site needs a path of a site to set the section for.",
        87,
    );
    for framework in ["webroot", "machine"] {
        fails(
            &format!("{whole} /commit:{framework}"),
            &format!(
                "/commit:{framework} is not supported: there is no .NET framework here whose configuration could be changed.  Use /commit:apphost."
            ),
            87,
        );
    }
    for nonsense in ["nowhere", "MACHINE/WEBROOT/APPHOST/Y", ""] {
        let answer = on(SAMPLE, &format!("{whole} /commit:{nonsense}"), None);
        assert_eq!((answer.exit, answer.text), (87, None), "{nonsense}");
    }
}

#[test]
fn sections_are_reset_and_there_is_nothing_to_migrate() {
    let gone = "-<location path=\"X\">\n-<system.webServer>\n-<directoryBrowse enabled=\"true\" />\n-</system.webServer>\n-</location>";
    does("reset config X /section:directoryBrowse", &applied("directoryBrowse"), gone);
    does("reset config X /section:httpLogging", &applied("httpLogging"), "");
    fails("reset config X", "Must specify the section with /section:name.", 87);
    fails(
        "migrate config X",
        "Nothing can be migrated: httpModules and httpHandlers of system.web are of ASP.NET, which is not run here.",
        50,
    );
}

/// The text after a command that must be done.
#[track_caller]
fn after(text: &str, line: &str) -> String {
    let answer = on(text, line, None);
    assert_eq!(answer.exit, 0, "{line}: {}", answer.output);
    answer.text.unwrap_or_else(|| text.to_owned())
}

#[track_caller]
fn locked(text: &str, line: &str, what: &str) {
    let answer = on(text, line, None);
    let message = format!("ERROR ( message:Lock violation: {what}");
    assert!(answer.output.starts_with(&message), "{line}: {}", answer.output);
    assert_eq!((answer.exit, answer.text), (33, None), "{line}");
}

#[test]
fn fine_locks_are_set_and_hold_below() {
    let section = "system.webServer/httpProtocol";
    let text = after(SAMPLE, "set config /section:httpProtocol /lockAttributes:allowKeepAlive");
    let keep = "set config X /section:httpProtocol /allowKeepAlive:false";
    locked(&text, keep, &format!("attribute \"allowKeepAlive\" of section \"{section}\""));
    let same = "set config X /section:httpProtocol /allowKeepAlive:true";
    locked(&text, same, &format!("attribute \"allowKeepAlive\" of section \"{section}\""));
    // Where the lock is it can be set, and taken away again.
    after(&text, "set config /section:httpProtocol /allowKeepAlive:false");
    let open = after(&text, "set config /section:httpProtocol /~lockAttributes");
    after(&open, keep);
    let header = "set config X /section:httpProtocol /+customHeaders.[name='H',value='v']";
    after(&text, header);

    let text = after(SAMPLE, "set config /section:httpProtocol /lockElements:customHeaders");
    locked(&text, header, "element \"customHeaders\"");
    after(&text, keep);
    let text =
        after(SAMPLE, "set config /section:httpProtocol /customHeaders.lockElements:add,remove");
    locked(&text, header, "element \"add\"");
    let remove = "set config X /section:httpProtocol /-customHeaders.[name='X-Server']";
    locked(&text, remove, "element \"remove\"");

    let all = "set config /section:httpErrors /lockAllAttributesExcept:errorMode";
    let text = after(SAMPLE, all);
    after(&text, "set config X /section:httpErrors /errorMode:Custom");
    locked(&text, "set config X /section:httpErrors /existingResponse:Auto", "attribute");
    // A level below adds its locks, and takes none away.
    let text = after(SAMPLE, "set config X /section:httpErrors /lockAttributes:errorMode");
    for name in ["defaultPath", "errorMode"] {
        let line = format!("set config X/app1 /section:httpErrors /{name}:Custom");
        locked(&text, &line, &format!("attribute \"{name}\""));
    }

    let line =
        "set config /section:httpProtocol /+customHeaders.[name='Z',value='z',lockItem='true']";
    let text = after(SAMPLE, line);
    locked(
        &text,
        "set config X /section:httpProtocol /-customHeaders.[name='Z']",
        "element \"add\"",
    );
    after(&text, remove);
    fails(
        "set site X /lockItem:true",
        "Unknown attribute \"lockItem\".  Replace with -? for help.",
        87,
    );
}

#[test]
fn whether_a_section_is_locked_is_shown() {
    let shown = |text: &str, line: &str| {
        let output = on(text, line, None).output;
        let at = output.find(" locked=\"").unwrap() + " locked=\"".len();
        output[at..].split('"').next().unwrap().to_owned()
    };
    let handlers = "list config X /section:handlers /xml";
    assert_eq!(shown(SAMPLE, handlers), "true", "as it is declared");
    let open = after(SAMPLE, "unlock config /section:handlers");
    assert_eq!(shown(&open, handlers), "false");
    let browse = "list config X/app1 /section:directoryBrowse /xml";
    assert_eq!(shown(SAMPLE, browse), "false");
    let text = after(SAMPLE, "lock config X /section:directoryBrowse");
    assert_eq!(shown(&text, browse), "true");
}

#[test]
fn sections_are_listed_searched_and_locked() {
    says(
        "list config X /section:defaultDocument",
        "<system.webServer>\n  <defaultDocument enabled=\"true\">\n    <files>\n      <add value=\"Default.htm\" />\n      <add value=\"index.html\" />\n    </files>\n  </defaultDocument>\n</system.webServer>\n",
    );
    // As they are looked for: IIS puts those of an inner level first.
    let line = "set config X /section:defaultDocument /+files.[value='own.html']";
    let text = on(SAMPLE, line, None).text.unwrap();
    let listed = on(&text, "list config X /section:defaultDocument", None).output;
    let places = ["own.html", "Default.htm", "index.html"].map(|name| listed.find(name).unwrap());
    assert!(places.is_sorted(), "{listed}");
    says(
        "list config X /section:directoryBrowse /config:*",
        "<system.webServer>\n  <directoryBrowse enabled=\"true\" />\n</system.webServer>\n",
    );
    says(
        "list config X/app1 /section:httpErrors",
        "<system.webServer>\n  <httpErrors lockAttributes=\"defaultPath\">\n    <error statusCode=\"500\" path=\"500.htm\" />\n    <error statusCode=\"404\" path=\"/404.html\" />\n  </httpErrors>\n</system.webServer>\n",
    );
    says(
        "list config /section:httpLogging /config:*",
        "<system.webServer>\n  <httpLogging dontLog=\"false\" selectiveLogging=\"LogAll\" />\n</system.webServer>\n",
    );
    says("list config X /section:directoryBrowse /text:enabled", "true\n");
    says(
        "search config /section:httpErrors /lockAttributes",
        "CONFIGSEARCH \"MACHINE/WEBROOT/APPHOST\"\n",
    );
    check("search config X /section:httpProtocol /customHeaders.none:1", "", 1, "");
    says(
        "search config /section:directoryBrowse /enabled:true",
        "CONFIGSEARCH \"MACHINE/WEBROOT/APPHOST/X\"\n",
    );
    does(
        "unlock config /section:handlers",
        "Unlocked section \"system.webServer/handlers\" at configuration path \"MACHINE/WEBROOT/APPHOST\".",
        "-<section name=\"handlers\" overrideModeDefault=\"Deny\" />\n+<section name=\"handlers\" overrideModeDefault=\"Allow\" />",
    );
    does(
        "lock config X /section:directoryBrowse",
        "Locked section \"system.webServer/directoryBrowse\" at configuration path \"MACHINE/WEBROOT/APPHOST/X\".",
        "-<location path=\"X\">\n+<location path=\"X\" overrideMode=\"Deny\">",
    );
    let locked = on(SAMPLE, "lock config X /section:directoryBrowse", None).text.unwrap();
    assert_eq!(on(&locked, "lock config X /section:directoryBrowse", None).text, None);
    let locked = on(SAMPLE, "lock config /section:access", None).text.unwrap();
    assert_eq!(
        difference(SAMPLE, &locked),
        "-<security>\n-<access sslFlags=\"None\" />\n-</security>\n+<security />\n+<location path=\"\" overrideMode=\"Deny\">\n+<system.webServer>\n+<security>\n+<access sslFlags=\"None\" />\n+</security>\n+</system.webServer>\n+</location>"
    );
}

#[test]
fn backups_requests_and_what_is_not_here() {
    let backup = |line: &str, output: &str, effect: Effect| {
        let answer = on(SAMPLE, line, None);
        assert_eq!((answer.output.as_str(), answer.exit), (output, 0), "{line}");
        assert_eq!((answer.effect, answer.text), (Some(effect), None));
    };
    backup("add backup \"B\"", "BACKUP object \"B\" added\n", Effect::AddBackup("B".to_owned()));
    let time = "20260519T172530";
    backup(
        "add backup",
        &format!("BACKUP object \"{time}\" added\n"),
        Effect::AddBackup(time.to_owned()),
    );
    says("list backups", "BACKUP \"Monday\"\n");
    backup(
        "restore backup monday",
        "Restored configuration from backup \"Monday\"\n",
        Effect::RestoreBackup("Monday".to_owned()),
    );
    backup(
        "delete backup Monday",
        "BACKUP object \"Monday\" deleted\n",
        Effect::DeleteBackup("Monday".to_owned()),
    );
    fails("restore backup B", "Cannot find BACKUP object with identifier \"B\".", 1168);
    fails("add backup ../x", "\"../x\" cannot be the name of a backup.", 87);
    let request = "REQUEST \"fb0000008000000e\" (url:GET /wait.aspx?time=10000,time:4276 msec,client:localhost)\n";
    says("list requests /elapsed:1000", request);
    says("list requests /site.id:3 /url:/wait.aspx?time=10000", request);
    says("list requests /apppool.name:p /text:APPPOOL.NAME", "P\n");
    check("list requests /apppool.name:DefaultAppPool", "", 1, "");
    check("list requests /wp.name:3577", "", 1, "");
    check("list requests /elapsed:5000", "", 1, "");
    says("list wps", "");
    says("list modules", "");
    assert!(on(SAMPLE, "list wp", None).notes.concat().contains("no worker processes"));
    fails(
        "list foo",
        "Object 'FOO' is not supported.  Run 'appcmd.exe /?' to display supported objects.",
        87,
    );
    fails(
        "restart site X",
        "Command 'RESTART' is not supported on object 'SITE'.  Run 'appcmd.exe SITE /?' to display supported commands.",
        87,
    );
    assert_eq!((on(SAMPLE, "/?", None).exit, on(SAMPLE, "", None).exit), (1, 1));
    let broken = on("<configuration>\n<sites>", "list sites", None);
    assert_eq!((broken.exit, broken.text), (13, None));
    assert!(broken.output.contains("line 2"), "{}", broken.output);
}

#[test]
fn what_could_not_be_read_again_is_not_written() {
    let deep = format!("set config /section:own/section /+{}", "a.".repeat(200));
    let wide: String = (0..300).map(|number| format!(" /a{number}:1")).collect();
    for line in [format!("{deep}[b=1]"), format!("set config /section:own/section{wide}")] {
        let answer = on(SAMPLE, &line, None);
        assert_eq!((answer.exit, answer.text), (87, None), "{}", answer.output);
        assert!(answer.output.contains("cannot be read again: more than"), "{}", answer.output);
    }
}

#[test]
fn what_one_command_lists_another_takes() {
    let sites = on(SAMPLE, "list site /config /xml", None).output;
    let empty = "<configuration>\n    <system.applicationHost>\n        <sites />\n    </system.applicationHost>\n</configuration>\n";
    let answer = on(empty, "add site /in", Some(&sites));
    assert_eq!(answer.output, "SITE object \"Default Web Site\" added\nSITE object \"X\" added\n");
    let moved = answer.text.unwrap();
    assert_eq!(on(&moved, "list sites", None).output, format!("{DEFAULT}{X}"));
    let own = |text: &str| {
        let from = text.find("<site name").unwrap();
        text[from..text.rfind("</site>").unwrap()].to_owned()
    };
    assert_eq!(own(&moved), own(SAMPLE), "with everything in them");
    let plain = on(SAMPLE, "list sites /xml", None).output;
    let stopped = on(SAMPLE, "stop site -", Some(&plain));
    assert_eq!(
        stopped.output,
        "\"Default Web Site\" successfully stopped\n\"X\" successfully stopped\n"
    );
    assert_eq!(stopped.text.unwrap().matches("serverAutoStart=\"false\"").count(), 2);
    let apps = on(SAMPLE, "list app /in", Some(&plain)).output;
    assert_eq!(apps, on(SAMPLE, "list apps", None).output);
    let twice = on(SAMPLE, "add site /in", Some(&sites));
    assert_eq!((twice.exit, twice.text), (183, None), "all or none");
    assert_eq!(on(SAMPLE, "add site /in", Some("<appcmd>")).exit, 87);
}

proptest! {
    #[test]
    fn any_command_leaves_a_file_that_can_be_read(
        line in "(list|set|add|delete|start|stop|search|lock|unlock|clear) (site|app|vdir|apppool|config|backup)( X| X/app1| \"Default Web Site\")?( /[+~-]?[a-z.\\[\\]='@,]{0,12}(:[ -~]{0,10})?){0,3}",
        section in prop_oneof![Just(""), Just(" /section:access"), Just(" /section:system.webServer/a/b")],
    ) {
        let answer = on(SAMPLE, &format!("{line}{section}"), None);
        if let Some(text) = answer.text {
            let again = on(&text, "list sites", None);
            prop_assert_ne!(again.exit, 13, "{}", again.output);
        }
    }
}
