//! Commands one after the other, as somebody types them, with all they print: whole sessions are in
//! `transcripts/`; with `REWRITE_TRANSCRIPTS` set they are written anew.

use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use bindery_control::words::date;

use crate::program::{Background, Folder, PROGRAM, free_port};

/// What is typed, with what it prints and its exit code where that is not 0.
pub(crate) fn typed(folder: &Path, commands: &str) -> String {
    let links = folder.join("links");
    if !links.exists() {
        fs::create_dir(&links).unwrap();
        for name in ["bindery", "appcmd", "netsh"] {
            symlink(PROGRAM, links.join(name)).unwrap();
        }
    }
    let path = std::env::var_os("PATH").unwrap().into_string().unwrap();
    let path = format!("{}:{path}", links.display());
    let mut said = String::new();
    for line in commands.lines().map(str::trim).filter(|line| !line.is_empty()) {
        writeln!(said, "$ {line}").unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("exec 2>&1; {line}")]).current_dir(folder).env("PATH", &path);
        let done = shell.stdin(Stdio::null()).output().unwrap();
        said.push_str(&String::from_utf8(done.stdout).unwrap());
        if let Some(code @ 1..) = done.status.code() {
            writeln!(said, "[{code}]").unwrap();
        }
    }
    said
}

/// The text with what differs from run to run replaced.
pub(crate) fn steady(text: &str, folder: &Path, port: u16) -> String {
    let text = text.replace(fs::canonicalize(folder).unwrap().to_str().unwrap(), "FOLDER");
    let text = text.replace(&port.to_string(), "PORT");
    let user = Command::new("id").arg("-un").output().unwrap().stdout;
    let user = String::from_utf8(user).unwrap().trim().to_owned();
    let mut out = String::new();
    for line in text.lines() {
        let mut line = line.to_owned();
        // 2026-11-23T20:08:20Z
        if let Some(at) = line.find("Z  ").and_then(|end| end.checked_sub(19))
            && line.as_bytes()[at + 4] == b'-'
        {
            line.replace_range(at..at + 20, "TIME");
            line = line.replacen(&format!("  {user}  "), "  USER  ", 1);
        }
        writeln!(out, "{line}").unwrap();
    }
    out
}

#[track_caller]
pub(crate) fn transcript(said: &str, name: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let path = path.join("tests/it/transcripts").join(format!("{name}.txt"));
    if std::env::var_os("REWRITE_TRANSCRIPTS").is_some() {
        fs::write(&path, said).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(said == expected, "{}:\n{expected}\nis not what was said:\n{said}", path.display());
}

const SITES: &str = r#"
bindery site list
bindery site add api --root www --binding http/*:PORT:api.example limits.requests_max=7
bindery site add api --root www
bindery site add other --root nowhere --binding http/*:PORT:o.example
bindery site add other --root nowhere --binding http/*:PORT:o.example --dry-run --force
bindery site list
bindery site list api --json
bindery binding add shop http/*:PORT:www.shop.example --dry-run
bindery binding add shop http/*:PORT:www.shop.example
bindery binding add api http/*:PORT:www.shop.example
bindery binding set shop http/*:PORT:www.shop.example on=http/*:PORT:w.shop.example
bindery binding list shop
bindery site show shop
bindery site stop shop api
bindery site start shop
bindery site set shop 'limits.requests_max=100' default_documents='["home.html"]'
bindery site set shop --unset limits.requests_max --expect 1
bindery site set shop --unset limits.requests_max
bindery site set shop colour=red
bindery site set shop
bindery app add shop /app --root www
bindery app set shop /app respond=hello --unset root
bindery app list
bindery app remove shop /app
bindery vdir add shop /img --root www
bindery vdir list shop
bindery vdir show shop /img
bindery listener add http/*:PORT
bindery server set drain_seconds=3
bindery server show
bindery site remove nobody
bindery site remove api
bindery history -n 3
bindery diff 1
bindery undo
bindery undo 1
bindery undo 999
bindery diff
cat bindery.toml
"#;

fn shop(port: u16) -> Folder {
    let folder = Folder::new(&format!(
        "\n# The shop.\n[[site]]\nname = \"shop\"   # kept\nroot = \"www\"\n\
         bindings = [\"http/*:{port}:shop.example\"]\n"
    ));
    fs::create_dir(folder.path().join("www")).unwrap();
    folder
}

#[test]
fn sites_are_administered_alike_with_a_server_and_without() {
    let port = free_port();
    let commands = SITES.replace("PORT", &port.to_string());
    let folder = shop(port);
    let offline = steady(&typed(folder.path(), &commands), folder.path(), port);
    transcript(&offline, "sites");

    let folder = shop(port);
    let server = Background::serving(&folder);
    let online = steady(&typed(folder.path(), &commands), folder.path(), port);
    assert!(online == offline, "with a server it is\n{online}\nand without\n{offline}");
    assert_eq!(server.stop(), Some(0));
}

const APPCMD: &str = r#"
appcmd list sites
appcmd list site "X" /text:*
appcmd list sites /state:Stopped
appcmd add site /name:Y /bindings:http/*:PORT:y.com /physicalPath:FOLDER/www
appcmd add site /name:Y /bindings:http/*:PORT:z.com /physicalPath:FOLDER/www
appcmd set site "X" "/+bindings.[protocol='http',bindingInformation='*:PORT:b.com']"
appcmd set site "X" "/-bindings.[protocol='http',bindingInformation='*:PORT:b.com']"
appcmd set site "X" "/+bindings.[protocol='https',bindingInformation='*:SECURE:x.com',sslFlags='1']"
appcmd list site "X"
appcmd set site "X" "/-bindings.[protocol='https',bindingInformation='*:SECURE:x.com']"
appcmd set site "X" /bindings:"http/*:PORT:x.com,http/*:PORT:www.x.com"
appcmd set site "Y" /name:Z
appcmd set site "Z" /id:7
appcmd set site "Z" /serverAutoStart:false
appcmd list site Z
appcmd set site "X" /limits.maxConnections:100
appcmd set site "X" /logFile.directory:FOLDER/logs
appcmd stop site "X"
appcmd start site "X"
appcmd list apps /site.name:"X"
appcmd add app /site.name:X /path:/app1 /physicalPath:FOLDER/www
appcmd list app
appcmd set app "X/app1" /applicationPool:DefaultAppPool
appcmd list vdirs
appcmd list vdirs /text:physicalPath
appcmd add vdir /app.name:"X/" /path:/img /physicalPath:FOLDER/www
appcmd set vdir "X/img" /physicalPath:FOLDER/new
appcmd set vdir "X/" /physicalPath:FOLDER/nowhere
appcmd delete vdir "X/img"
appcmd list apppools
appcmd add apppool /name:P
appcmd set apppool "P" /processModel.idleTimeout:00:00:00
appcmd recycle apppool "P"
appcmd stop apppool "P"
appcmd start apppool "P"
appcmd set app "X/app1" /applicationPool:P
appcmd list apps /apppool.name:P
appcmd list apppool P /text:processModel.idleTimeout
appcmd add apppool /name:Q /managedRuntimeVersion:v4.0
appcmd set apppool "Q" "/+environmentVariables.[name='A',value='1']"
appcmd list apppools
appcmd delete apppool "Q"
appcmd delete app "X/app1"
appcmd set config "X" /section:directoryBrowse /enabled:true
appcmd set config "X" /section:httpProtocol "/+customHeaders.[name='H',value='v']"
appcmd set config "X" /section:staticContent "/+[fileExtension='.webx',mimeType='image/webx']"
appcmd set config "X" /section:defaultDocument "/+files.[value='home.html']"
appcmd set config "X" /section:access /sslFlags:Ssl /commit:apphost
appcmd set config "X" /section:httpRedirect /enabled:true /destination:https://y
appcmd list config "X" /section:defaultDocument
appcmd list config "X" /section:directoryBrowse /config:*
appcmd set config "X" /section:directoryBrowse /showFlags:Date /commit:site
appcmd set config /section:directoryBrowse /lockAttributes:showFlags
appcmd reset config /section:directoryBrowse
appcmd search config /section:directoryBrowse /enabled:true
appcmd migrate config
appcmd unlock config /section:access
appcmd lock config /section:access
appcmd clear config "X" /section:httpRedirect
appcmd add backup "B"
appcmd list backups
appcmd delete site "Z"
appcmd list sites
appcmd restore backup "B"
appcmd list sites
appcmd list wps
appcmd list requests /elapsed:1000
appcmd list request
appcmd list sites /xml > sites.xml; appcmd set site /in /limits.maxConnections:5 < sites.xml
appcmd list site X --dry-run
appcmd set site X /name:Q --dry-run
appcmd list nothing
appcmd list site nobody
appcmd delete backup B
appcmd add site /name:F /bindings:http://f.com:PORT /physicalPath:FOLDER/www /applicationDefaults.applicationPool:P
appcmd list app F/
appcmd set site /site.name:F "/[path='/'].applicationPool:DefaultAppPool"
appcmd set site /site.name:F "/[path='/'].applicationPool:DefaultAppPool"
appcmd set config F /section:directoryBrowse /enabled:false /commit:apphost
appcmd set config F /section:access /sslFlags:None /commit:apphost
appcmd set config F /section:access /sslFlags:Ssl /commit:apphost
appcmd list config F /section:access
appcmd set config F /section:access /sslFlags:None /commit:apphost
appcmd set config F /section:defaultDocument /enabled:false /commit:apphost
appcmd set config F /section:defaultDocument /enabled:true /commit:apphost
appcmd set config F /section:httpErrors /errorMode:Custom /commit:apphost
appcmd set config -section:system.applicationHost/sites "/+[name='F'].bindings.[protocol='http',bindingInformation='*:PORT:g.com']" /commit:apphost
appcmd list site F
appcmd set site F /bindings:http/*:PORT:f.com,net.tcp/808:*
appcmd set site F /limits.maxConnections:9 /limits.connectionTimeout:00:05:00
appcmd set vdir F/ '/physicalPath:C:\inetpub\f'
appcmd set config F /section:access /sslFlags:Ssl,SslRequireCert /commit:apphost
appcmd set config /section:directoryBrowse /enabled:true
appcmd delete site /site.name:F
"#;

/// What commands say is the same whether a server is asked or the files are changed: with one that
/// runs, and without.
#[track_caller]
fn alike(config: &str, said: impl Fn() -> (Folder, Box<dyn FnOnce(&Folder) -> String>)) -> String {
    let (folder, commands) = said();
    // Which requests are under way can be told where a server runs.
    let offline = commands(&folder).replace(
        "bindery: no server runs with this configuration, so no request is under way\n",
        "",
    );
    let (folder, commands) = said();
    let server = Background::serving_in(&folder, config);
    let online = commands(&folder);
    assert!(online == offline, "with a server it is\n{online}\nand without\n{offline}");
    assert_eq!(server.stop(), Some(0));
    offline
}

/// The commands of [`APPCMD`] on this configuration, and what it is in the end.
fn appcmd(folder: &Folder, config: &str, port: u16) -> String {
    let whole = fs::canonicalize(folder.path()).unwrap();
    let option = format!("appcmd --config {config} ");
    let secure = free_port().to_string();
    let commands = APPCMD
        .replace("PORT", &port.to_string())
        .replace("SECURE", &secure)
        .replace("FOLDER", whole.to_str().unwrap())
        .replace("appcmd ", &option);
    let said = typed(folder.path(), &commands).replace(&option, "appcmd ");
    let said = said.replace(&secure, "SECURE");
    let file = fs::read_to_string(folder.path().join(config)).unwrap();
    steady(&(said + &file), folder.path(), port)
}

fn with_folders(config: &str) -> Folder {
    let folder = Folder::new(config);
    for name in ["www", "new", "logs"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    folder
}

#[test]
fn appcmd_changes_bindery_toml() {
    let port = free_port();
    let said = alike("bindery.toml", || {
        let folder = with_folders(&format!(
            "\n[[certificate]]\nname = \"x\"\nfile = \"x.pem\"\n\n[[site]]\nname = \"X\"   # kept\n\
             root = \"www\"\nbindings = [\"http/*:{port}:x.com\"]\n"
        ));
        folder.certificate("x", &["x.com"]);
        (folder, Box::new(move |folder| appcmd(folder, "bindery.toml", port)))
    });
    transcript(&said, "appcmd-toml");
}

const LOST: &str = r#"
bindery appcmd add apppool /in < pools.xml
bindery appcmd list apppools
bindery appcmd add apppool /in < password.xml
bindery appcmd add apppool /in < plain.xml
bindery appcmd set apppool P /autoStart:false /processModel.userName:u /processModel.password:secret
bindery appcmd set apppool P "/+recycling.periodicRestart.schedule.[value='03:00:00']"
bindery appcmd add site /in < sites.xml
bindery appcmd set site X /serverAutoStart:true
bindery appcmd set site X /limits.maxConnections:7 /limits.maxUrlSegments:9
bindery appcmd add app /site.name:X /path:/p /physicalPath:www /preloadEnabled:true
bindery appcmd set vdir X/ /userName:u /password:secret
bindery appcmd set config X /section:httpRedirect /enabled:true /destination:https://y /httpResponseStatus:Permanent
bindery appcmd list config X /section:httpRedirect
bindery appcmd clear config X /section:httpRedirect /httpResponseStatus
bindery appcmd list config X /section:httpRedirect
bindery appcmd clear config X /section:httpRedirect
bindery appcmd clear config X
cat bindery.toml
"#;

#[test]
fn appcmd_says_success_where_bindery_toml_keeps_all_that_was_asked_for() {
    let port = free_port();
    let folder = with_folders(&format!(
        "\n[[site]]\nname = \"X\"\nroot = \"www\"\nbindings = [\"http/*:{port}:x.com\"]\n"
    ));
    let pool = |inner: &str| {
        format!(
            "<appcmd><APPPOOL APPPOOL.NAME=\"P\"><add name=\"P\" queueLength=\"7\">{inner}</add>\
             </APPPOOL></appcmd>"
        )
    };
    let variables = "<environmentVariables><add name=\"A\" value=\"1\"/></environmentVariables>";
    let process = "<processModel userName=\"u\" password=\"secret\"/>";
    let site = format!(
        "<appcmd><SITE SITE.NAME=\"Y\"><site name=\"Y\" id=\"5\"><application path=\"/\">\
         <virtualDirectory path=\"/\" physicalPath=\"{}\"/></application><bindings/>\
         <logFile period=\"Hourly\"/></site></SITE></appcmd>",
        folder.path().join("www").display()
    );
    for (name, text) in [
        ("pools.xml", pool(variables)),
        ("password.xml", pool(process)),
        ("plain.xml", pool("<cpu limit=\"5\"/>")),
        ("sites.xml", site),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let said = typed(folder.path(), LOST);
    assert_eq!(said.matches("secret").count(), LOST.matches("secret").count(), "{said}");
    transcript(&steady(&said, folder.path(), port), "appcmd-lost");
}

#[test]
fn appcmd_changes_application_host_config_in_place() {
    const CONFIG: &str = "applicationHost.config";
    let port = free_port();
    let said = alike(CONFIG, || {
        let folder = with_folders("\n[[certificate]]\nname = \"x\"\nfile = \"x.pem\"\n");
        folder.certificate("x", &["x.com"]);
        let www = fs::canonicalize(folder.path()).unwrap().join("www");
        let text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<configuration>\r\n  \
             <!-- kept -->\r\n  <system.applicationHost>\r\n    <applicationPools>\r\n      \
             <add name=\"DefaultAppPool\" />\r\n    </applicationPools>\r\n    <sites>\r\n      \
             <site name=\"X\" id=\"1\">\r\n        <application path=\"/\">\r\n          \
             <virtualDirectory path=\"/\" physicalPath=\"{}\" />\r\n        \
             </application>\r\n        <bindings>\r\n          <binding protocol=\"http\" \
             bindingInformation=\"*:{port}:x.com\" />\r\n        </bindings>\r\n      \
             </site>\r\n    </sites>\r\n  </system.applicationHost>\r\n</configuration>\r\n",
            www.display()
        );
        fs::write(folder.path().join(CONFIG), &text).unwrap();
        let run = move |folder: &Folder| {
            let said = appcmd(folder, CONFIG, port);
            let there =
                typed(folder.path(), "appcmd list sites /apphostconfig:applicationHost.config");
            assert!(there.contains("SITE \"X\" (id:1,"), "{there}");
            let file = fs::read_to_string(folder.path().join(CONFIG)).unwrap();
            assert!(file.contains("\r\n  <!-- kept -->\r\n"), "{file}");
            said
        };
        (folder, Box::new(run))
    });
    transcript(&said, "appcmd-iis");
}

const IMPORT: &str = r#"
bindery import iis iis/applicationHost.config --sslcert iis/netsh.txt --certificates iis/certs --dry-run
bindery import iis iis/applicationHost.config --sslcert iis/netsh.txt --certificates iis/certs --plain
cat bindery.toml
bindery import iis iis/applicationHost.config --sslcert iis/netsh.txt --to bindery.toml
bindery import iis bindery.toml
bindery binding list
bindery cert list
bindery import iis iis/applicationHost.config
bindery export iis
"#;

#[test]
fn sites_of_an_iis_are_imported_with_a_report() {
    let folder = Folder::new("");
    let iis = folder.path().join("iis");
    fs::create_dir_all(iis.join("certs")).unwrap();
    fs::create_dir_all(iis.join("www/img")).unwrap();
    let leaf = folder.ca.leaf(&["x.example"]);
    drop(leaf.write(&iis.join("certs"), "x"));
    fs::write(iis.join("certs/broken.pem"), "no certificate").unwrap();
    let facts = bindery_server::tls::keys::facts_of_der(&leaf.certificate_der).unwrap();
    let hash: String = facts.thumbprint.iter().map(|byte| format!("{byte:02x}")).collect();
    fs::write(
        iis.join("netsh.txt"),
        include_str!("transcripts/netsh-german.txt").replace("HASH", &hash),
    )
    .unwrap();
    let paths = format!("version = 1\n[paths]\n'C:\\www' = \"{}\"\n", iis.join("www").display());
    fs::write(iis.join("bindery.toml"), paths).unwrap();
    fs::write(iis.join("applicationHost.config"), include_str!("transcripts/import.config"))
        .unwrap();
    fs::remove_file(folder.path().join("bindery.toml")).unwrap();
    let said = steady(&typed(folder.path(), IMPORT), folder.path(), u16::MAX);
    let said = said.replace(&hash, "HASH").replace(&date(facts.not_after), "DATE");
    transcript(&said, "import");
}

const NETSH: &str = r#"
netsh http add sslcert ipport=0.0.0.0:443 certhash=HASH appid={4dc3e181-e14b-4a21-b022-59fc669b0914}
netsh http add sslcert ipport=0.0.0.0:443 certhash=HASH appid={4dc3e181-e14b-4a21-b022-59fc669b0914}
netsh http add sslcert hostnameport=a.example:443 certhash=HASH appid={4dc3e181-e14b-4a21-b022-59fc669b0914}
netsh http add sslcert hostnameport=c.example:443 certhash=0000000000000000000000000000000000000000 appid={4dc3e181-e14b-4a21-b022-59fc669b0914}
netsh http add sslcert hostnameport=c.example:443
netsh http update sslcert hostnameport=a.example:443 disablehttp2=enable --dry-run
netsh http update sslcert hostnameport=a.example:443 disablehttp2=enable
netsh http update sslcert hostnameport=b.example:443 disablehttp2=enable
netsh http show sslcert hostnameport=a.example:443
netsh http delete sslcert ipport=0.0.0.0:443
netsh http delete sslcert ipport=0.0.0.0:443
netsh http delete sslcert hostnameport=a.example:443
bindery history -n 4
"#;

/// What a record cannot do, or does without anybody noticing.
const WITHOUT_EFFECT: &str = r#"
netsh http add sslcert hostnameport=d.example:443 certhash=HASH appid={4dc3e181-e14b-4a21-b022-59fc669b0914} clientcertnegotiation=enable reject=enable
netsh http update sslcert hostnameport=d.example:443 disabletls12=enable
netsh http update sslcert hostnameport=d.example:443 disabletls13=enable
netsh http delete sslcert hostnameport=d.example:443
netsh http add sslcert hostnameport=d.example:443 "certhash=ab cd" appid={4dc3e181-e14b-4a21-b022-59fc669b0914}
"#;

/// A record that is there before its binding, as scripts for IIS do it; on a catch-all too.
const RECORD_FIRST: &str = r#"
netsh http add sslcert ipport=0.0.0.0:8443 certhash=HASH appid={4dc3e181-e14b-4a21-b022-59fc669b0914} disablehttp2=enable
bindery binding add OPTIONS a https/*:8443: --dry-run
bindery binding add OPTIONS a https/*:8443:
netsh http show sslcert | grep -A1 :8443
netsh http delete sslcert ipport=0.0.0.0:8443
netsh http update sslcert ipport=0.0.0.0:8443 certhash=HASH disablehttp2=disable
bindery undo OPTIONS 7
netsh http show sslcert ipport=0.0.0.0:8443 | grep 8443
netsh http delete sslcert ipport=0.0.0.0:8443
"#;

/// Makes a certificate for `a.example`. Its thumbprint.
fn certificate(folder: &Folder) -> String {
    let leaf = folder.ca.leaf(&["a.example"]);
    drop(leaf.write(folder.path(), "a"));
    let facts = bindery_server::tls::keys::facts_of_der(&leaf.certificate_der).unwrap();
    facts.thumbprint.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn netsh(folder: &Folder, hash: &str, commands: &str, options: &str) -> String {
    let commands = commands.replace("HASH", hash).replace("http ", &format!("{options}http "));
    let commands = commands.replace("history", &format!("history {options}"));
    let commands = commands.replace("OPTIONS", options.trim_end());
    let said = steady(&typed(folder.path(), &commands), folder.path(), u16::MAX);
    said.replace(hash, "HASH").replace(options.trim_end(), "OPTIONS")
}

#[test]
fn netsh_changes_bindings_of_bindery_toml_and_keeps_what_has_none() {
    let folder = Folder::new(
        "\n[[certificate]]\nname = \"a\"\nfile = \"a.pem\"\n\n[[site]]\nname = \"a\"\n\
         respond = \"\"\nbindings = [\"https/*:443:a.example\"]   # kept\n",
    );
    let commands = NETSH.to_owned() + RECORD_FIRST;
    let said = netsh(&folder, &certificate(&folder), &commands, "--config=bindery.toml ");
    let file = fs::read_to_string(folder.path().join("bindery.toml")).unwrap();
    transcript(&(said + &file), "netsh-toml");
}

#[test]
fn an_update_that_changes_nothing_is_made_with_a_server_and_without() {
    let port = free_port().to_string();
    let said = alike("bindery.toml", || {
        let folder = Folder::new(&format!(
            "\n[[certificate]]\nname = \"a\"\nfile = \"a.pem\"\n\n[[site]]\nname = \"a\"\n\
             respond = \"\"\nbindings = [\"https/*:{port}:a.example\"]   # kept\n"
        ));
        let hash = certificate(&folder);
        let commands = "\
netsh http update sslcert hostnameport=a.example:PORT certhash=HASH
netsh http update sslcert hostnameport=a.example:PORT certhash=HASH
netsh http update sslcert hostnameport=a.example:PORT verifyclientcertrevocation=disable
netsh http update sslcert hostnameport=a.example:PORT reject=enable
netsh http update sslcert hostnameport=a.example:PORT clientcertnegotiation=disable --dry-run
netsh http update sslcert hostnameport=a.example:PORT disabletls12=yes disabletls13=yes
netsh http update sslcert hostnameport=a.example:PORT disablehttp2=on
netsh http add sslcert /?
"
        .replace("PORT", &port);
        let said = move |folder: &Folder| netsh(folder, &hash, &commands, "--config=bindery.toml ");
        (folder, Box::new(said))
    });
    transcript(&said.replace(&port, "PORT"), "netsh-nothing-new");
}

#[test]
fn netsh_changes_records_beside_application_host_config() {
    let folder = Folder::new("\n[[certificate]]\nname = \"a\"\nfile = \"a.pem\"\n");
    let text = include_str!("transcripts/import.config");
    fs::write(folder.path().join("applicationHost.config"), text).unwrap();
    let hash = certificate(&folder);
    let said = netsh(
        &folder,
        &hash,
        &(NETSH.to_owned() + WITHOUT_EFFECT),
        "--config=applicationHost.config ",
    );
    let after = fs::read_to_string(folder.path().join("applicationHost.config")).unwrap();
    assert_eq!(after, text, "no record stands in it");
    transcript(&said, "netsh-iis");
}

#[test]
fn netsh_says_the_same_when_a_server_runs() {
    let (one, two, plain) = (free_port(), free_port(), free_port());
    let ported = |text: &str| {
        let text = text.replace(":8443", &format!(":{two}")).replace(":443", &format!(":{one}"));
        text.replace("*:80:", &format!("*:{plain}:"))
    };
    let commands = ported(&(NETSH.to_owned() + RECORD_FIRST));
    let said = alike("bindery.toml", || {
        let folder = Folder::new(&ported(
            "\n[[certificate]]\nname = \"a\"\nfile = \"a.pem\"\n\n[[site]]\nname = \"a\"\n\
             respond = \"\"\nbindings = [\"https/*:443:a.example\"]\n",
        ));
        let (hash, commands) = (certificate(&folder), commands.clone());
        let run = move |folder: &Folder| netsh(folder, &hash, &commands, "--config=bindery.toml ");
        (folder, Box::new(run))
    });
    assert!(said.contains("SSL Certificate successfully updated"), "{said}");
    let commands = ported(NETSH);
    let said = alike("applicationHost.config", || {
        let folder = Folder::new("\n[[certificate]]\nname = \"a\"\nfile = \"a.pem\"\n");
        let text = ported(include_str!("transcripts/import.config"));
        fs::write(folder.path().join("applicationHost.config"), text).unwrap();
        let (hash, commands) = (certificate(&folder), commands.clone());
        let option = "--config=applicationHost.config ";
        let run = move |folder: &Folder| netsh(folder, &hash, &commands, option);
        (folder, Box::new(run))
    });
    assert!(said.contains("SSL Certificate successfully added"), "{said}");
}

const LEAVING_WINDOWS: &str = r#"
bindery check | grep -A7 without
bindery appcmd set site X "/+bindings.[protocol='https',bindingInformation='*:443:b.example',sslFlags='1']"
bindery import sslcert sslcert.txt --dry-run
bindery import sslcert sslcert.txt
bindery import sslcert sslcert.txt
bindery netsh http show sslcert hostnameport=a.example:443 | head -7
bindery import sslcert newer.txt
bindery import sslcert newer.txt --force
bindery netsh http show sslcert hostnameport=a.example:443 | grep Usage
bindery import sslcert applicationHost.config
sed -i "s/<bindings>/&<binding bindingInformation='*:80:'\/>/" applicationHost.config
bindery appcmd set site X /limits.maxConnections:5
"#;

/// Records as a German Windows prints them, one with a certificate that is not here.
fn printed(hash: &str, usage: &str) -> String {
    let record = |key: &str, hash: &str| {
        format!(
            "    {key}\n    Zertifikathash               : {hash}\n    Anwendungs-ID                : \
             {{4dc3e181-e14b-4a21-b022-59fc669b0914}}\n    Zertifikatspeichername       : WebHosting\n    \
             Clientzertifikatsperre \u{fc}berpr\u{fc}fen : Aktiviert\n    Sperre \u{fc}berpr\u{fc}fen : \
             Deaktiviert\n    Verwendung \u{fc}berpr\u{fc}fen        : {usage}\n    Sperraktualit\u{e4}t              : 0\n    \
             URL-Abruftimeout             : 0\n    Ctl-Bezeichner               : (null)\n    \
             Ctl-Speichername             : (null)\n    DS-Zuordnungsverwendung      : Deaktiviert\n    \
             Clientzertifikat aushandeln  : Deaktiviert\n    Verbindungen ablehnen        : Deaktiviert\n    \
             HTTP2 deaktivieren           : Nicht festgelegt\n\n"
        )
    };
    format!(
        "\nSSL-Zertifikatbindungen:\n-------------------------\n\n{}{}",
        record("Hostname:Port                : a.example:443", hash),
        record("IP:Port                      : 0.0.0.0:443", &"0".repeat(40))
    )
}

#[test]
fn records_of_a_windows_server_are_taken_beside_application_host_config() {
    let folder = Folder::new(
        "\n[server]\ncentral_store = { folder = \"central\" }\n\n\
         [[certificate]]\nname = \"a\"\nfile = \"a.pem\"\n\n[paths]\n'C:\\www' = \"www\"\n",
    );
    let hash = certificate(&folder);
    for name in ["central", "www", "www/img"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    // As Windows writes it: a byte order mark, and carriage returns.
    let text = include_str!("transcripts/import.config").replace("x.example", "a.example");
    let text = format!("\u{feff}{}", text.replace('\n', "\r\n"));
    fs::write(folder.path().join("applicationHost.config"), text).unwrap();
    for (name, usage) in [("sslcert.txt", "Aktiviert"), ("newer.txt", "Deaktiviert")] {
        let units = printed(&hash, usage);
        let units = units.encode_utf16().flat_map(u16::to_le_bytes);
        let bytes: Vec<u8> = [0xff, 0xfe].into_iter().chain(units).collect();
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    let said = typed(folder.path(), LEAVING_WINDOWS);
    let said = steady(&said, folder.path(), u16::MAX).replace(&hash, "HASH");
    transcript(&said, "leaving-windows");
}

const IMPORT_INTO: &str = r#"
bindery import iis other/applicationHost.config --config CONFIG --dry-run
bindery import iis other/applicationHost.config --config CONFIG
bindery import iis other/applicationHost.config --config CONFIG
bindery site list --config CONFIG
bindery site show x --config CONFIG
bindery diff 1 --config CONFIG
bindery undo --config CONFIG
bindery history --config CONFIG
"#;

#[test]
fn an_iis_is_imported_into_what_is_there_alike_with_a_server_and_without() {
    let (port, other) = (free_port(), free_port());
    for config in ["bindery.toml", "applicationHost.config"] {
        let said = alike(config, || {
            let own = format!(
                "[[site]]\nname = \"own\"\nrespond = \"own\"\n\
                 bindings = [\"http/*:{port}:own.example\"]\n"
            );
            let iis = config != "bindery.toml";
            let folder = Folder::new(if iis { "" } else { &own });
            let there = folder.path().join("other");
            fs::create_dir_all(there.join("www")).unwrap();
            let www = fs::canonicalize(&there).unwrap().join("www");
            let host = |name: &str, port: u16| {
                format!(
                    "<configuration><system.applicationHost><sites>\n\
                     <site name=\"{name}\" id=\"1\"><application path=\"/\">\
                     <virtualDirectory path=\"/\" physicalPath=\"{}\" /></application>\
                     <bindings><binding protocol=\"http\" \
                     bindingInformation=\"*:{port}:{name}.example\" />\
                     </bindings></site>\n</sites></system.applicationHost></configuration>\n",
                    www.display()
                )
            };
            fs::write(there.join("applicationHost.config"), host("x", other)).unwrap();
            if iis {
                fs::write(folder.path().join(config), host("own", port)).unwrap();
            }
            let commands = IMPORT_INTO.replace("CONFIG", config);
            let run = move |folder: &Folder| {
                steady(&typed(folder.path(), &commands), folder.path(), other)
            };
            (folder, Box::new(run))
        });
        for expected in ["revision 2, connections disturbed: 0", "there is site \"x\" already"] {
            assert!(said.contains(expected), "{config}: {said}");
        }
    }
}

#[test]
fn an_iis_is_imported_into_the_file_that_lies_beside_it_with_its_pools_and_once() {
    let folder = Folder::new(
        "[server.application_pools.Mine]\nautoStart = 'false'\n[[site]]\nname = \"own\"\n\
         respond = \"own\"\nbindings = [\"https/*:444:own.example\"]\n[[certificate]]\n\
         name = \"c\"\nfile = \"c.pem\"\n[[listener]]\non = \"https/*:444\"\n\
         no_sni = \"refuse\"\n",
    );
    folder.certificate("c", &["own.example"]);
    let host = |name: &str| {
        format!(
            "<configuration><system.applicationHost><applicationPools>\
             <add name=\"DefaultAppPool\" /><add name=\"mine\" autoStart=\"true\" />\
             <add name=\"Shop\" queueLength=\"2000\"><processModel idleTimeout=\"00:00:00\" />\
             </add></applicationPools><sites><site name=\"{name}\" id=\"1\">\
             <application path=\"/\" applicationPool=\"Shop\">\
             <virtualDirectory path=\"/\" physicalPath=\"{}\" /></application>\
             <bindings><binding protocol=\"http\" bindingInformation=\"*:81:{name}.example\" />\
             </bindings></site></sites></system.applicationHost></configuration>\n",
            folder.path().display()
        )
    };
    for (round, name) in ["x", "y"].into_iter().enumerate() {
        fs::write(folder.path().join("old.config"), host(name)).unwrap();
        let done = folder.run("import iis old.config");
        assert_eq!(done.code, 0, "{done:?}");
        for text in ["taken: 1 site, ", "2 application pools", &format!("+ site \"{name}\"")] {
            assert!(done.out.contains(text), "{done:?}");
        }
        assert_eq!(done.out.contains("queueLength"), round == 0, "{done:?}");
    }
    let text = fs::read_to_string(folder.path().join("bindery.toml")).unwrap();
    let settings = bindery_model::document::parse(&text, folder.path()).configuration.settings;
    let pools = settings.application_pools;
    assert_eq!(pools.keys().collect::<Vec<_>>(), ["Mine", "Shop"], "{text}");
    assert_eq!(pools["Mine"]["autoStart"], "false", "{text}");
    assert_eq!(pools["Shop"]["processModel.idleTimeout"], "00:00:00", "{text}");
}
