//! The trap of IIS 7, at each door: two https bindings on one address and port, without server name
//! indication and with different certificates. It never comes about silently: what is printed says
//! what clients would get, and both ways out, which are typed here as they are printed.

use std::{collections::HashMap, fs, process::Command};

use bindery_server::tls::keys::facts_of_der;
use bindery_testkit::tls::TestClient;

use crate::{
    program::{Background, Folder, free_port, local, until},
    session::{steady, transcript, typed},
};

const CERTIFICATES: &str = "
[[certificate]]
name = \"one\"
file = \"one.pem\"

[[certificate]]
name = \"two\"
file = \"two.pem\"

[[certificate]]
name = \"both\"
file = \"both.pem\"
";
const OWNER: &str = "appid={4dc3e181-e14b-4a21-b022-59fc669b0914}";

/// A server under whose eyes somebody types.
struct Session {
    folder: Folder,
    server: Background,
    /// Where the sites are to meet.
    port: u16,
    /// Where the second one is until then.
    other: u16,
    /// SHA-1 of each certificate, by its name.
    hashes: HashMap<&'static str, String>,
    said: String,
    /// What was printed last.
    last: String,
}

/// A folder with certificates for the one site, for the other, and for both.
fn folder() -> (Folder, HashMap<&'static str, String>) {
    let folder = Folder::new(CERTIFICATES);
    let all: [(_, &[&str]); 3] =
        [("one", &["a.example"]), ("two", &["b.example"]), ("both", &["a.example", "b.example"])];
    let mut hashes = HashMap::new();
    for (name, names) in all {
        let leaf = folder.ca.leaf(names);
        drop(leaf.write(folder.path(), name));
        let facts = facts_of_der(&leaf.certificate_der).unwrap();
        let hash = facts.thumbprint.iter().map(|byte| format!("{byte:02x}")).collect();
        hashes.insert(name, hash);
    }
    (folder, hashes)
}

/// A site with one https binding.
fn site(name: &str, id: u8, on: &str) -> String {
    format!(
        "      <site name=\"{name}\" id=\"{id}\">\n        <application path=\"/\">\n          \
         <virtualDirectory path=\"/\" physicalPath=\"/srv\" />\n        </application>\n        \
         <bindings>\n          <binding protocol=\"https\" bindingInformation=\"{on}\" />\n        \
         </bindings>\n      </site>\n"
    )
}

pub(crate) fn application_host(sites: &[String]) -> String {
    format!(
        "<configuration>\n  <system.applicationHost>\n    <sites>\n{}    </sites>\n  \
         </system.applicationHost>\n</configuration>\n",
        sites.concat()
    )
}

/// Certificate records, each as `ipport=0.0.0.0:443 one`.
fn write_records(folder: &Folder, records: &[(String, &str)], hashes: &HashMap<&str, String>) {
    let all = records.iter().map(|(key, name)| {
        serde_json::json!({
            "key": key,
            "certificate_hash": hashes[name],
            "application_id": OWNER.trim_start_matches("appid="),
        })
    });
    let all = serde_json::json!({ "version": 1, "records": all.collect::<Vec<_>>() });
    fs::create_dir_all(folder.path().join("state")).unwrap();
    fs::write(folder.path().join("state/sslcert.json"), all.to_string()).unwrap();
}

impl Session {
    /// Two sites as IIS Manager leaves them: two ports, a record and a certificate for each.
    fn on_iis() -> Self {
        let (port, other) = (free_port(), free_port());
        let sites = [
            site("a", 1, &format!("*:{port}:a.example")),
            site("b", 2, &format!("*:{other}:b.example")),
        ];
        Self::of_iis((port, other), &sites, true)
    }

    fn of_iis((port, other): (u16, u16), sites: &[String], has_records: bool) -> Self {
        let (folder, hashes) = folder();
        fs::write(folder.path().join("applicationHost.config"), application_host(sites)).unwrap();
        if has_records {
            let records = [
                (format!("ipport=0.0.0.0:{port}"), "one"),
                (format!("ipport=0.0.0.0:{other}"), "two"),
            ];
            write_records(&folder, &records, &hashes);
        }
        Self::started((folder, hashes), (port, other), "applicationHost.config")
    }

    /// A site with a catch-all, and another with none.
    fn on_toml() -> Self {
        let (port, other) = (free_port(), free_port());
        let (folder, hashes) = folder();
        folder.configure(&format!(
            "{CERTIFICATES}\n[[site]]\nname = \"a\"\nrespond = \"a\"\n\
             bindings = [{{ on = \"https/*:{port}:\", certificate = \"one\" }}]\n\n\
             [[site]]\nname = \"b\"\nrespond = \"b\"\n\
             bindings = [\"http/*:{other}:b.example\"]\n"
        ));
        Self::started((folder, hashes), (port, other), "bindery.toml")
    }

    fn started(
        (folder, hashes): (Folder, HashMap<&'static str, String>),
        (port, other): (u16, u16),
        file: &str,
    ) -> Self {
        let server = Background::serving_in(&folder, file);
        let (said, last) = (String::new(), String::new());
        Self { folder, server, port, other, hashes, said, last }
    }

    /// Types a line, with `PORT`, `OTHER`, `ONE`, `TWO`, `BOTH` and `OWNER` in it replaced.
    fn types(&mut self, line: &str) -> &str {
        let mut line = line.replace("PORT", &self.port.to_string());
        line = line.replace("OTHER", &self.other.to_string()).replace("OWNER", OWNER);
        for (name, hash) in &self.hashes {
            line = line.replace(&name.to_uppercase(), hash);
        }
        self.last = typed(self.folder.path(), &line);
        self.said.push_str(&self.last);
        &self.last
    }

    /// The commands of the ways out that were printed last.
    fn ways(&self) -> [Vec<String>; 2] {
        let mut ways: Vec<Vec<String>> = Vec::new();
        for line in self.last.lines() {
            if line.starts_with("  1. ") || line.starts_with("  2. ") {
                ways.push(Vec::new());
            }
            if let (Some(way), true) = (ways.last_mut(), line.starts_with("       bindery ")) {
                way.push(line.trim().to_owned());
            }
        }
        ways.try_into().unwrap_or_else(|_| panic!("two ways out in\n{}", self.last))
    }

    /// Types what was printed for a way out.
    fn takes(&mut self, way: usize) {
        for command in self.ways()[way - 1].clone() {
            let said = self.types(&command);
            assert!(!said.contains("\n["), "a way out is not refused: {said}");
        }
    }

    /// Whose certificate clients of both names are shown.
    fn shows(&mut self, expected: [&str; 2]) {
        let names = [Some("a.example"), Some("b.example")];
        let got = names.map(|name| shown(self.port, name, &self.hashes));
        assert_eq!(got, expected, "{}", self.said);
        self.said.push_str(&format!(
            "(clients of a.example are shown {}, of b.example {})\n",
            got[0], got[1]
        ));
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    fn told(self, name: &str) {
        let mut said = steady(&self.said, self.folder.path(), self.port);
        said = said.replace(&self.other.to_string(), "OTHER");
        for (name, hash) in &self.hashes {
            said = said.replace(hash, &name.to_uppercase());
        }
        for line in said.lines() {
            // Titles of `check`, and errors as appcmd prints them, are one line each.
            let is_one =
                ["$ ", "ERROR ( ", "bindery: certificate record", "error[", "warning[", "hint["]
                    .iter()
                    .any(|first| line.starts_with(first));
            let is_command = line.trim_start().starts_with("bindery ");
            assert!(is_one || is_command || line.chars().count() <= 80, "too wide: {line}");
        }
        transcript(&said, name);
    }
}

/// The name of the certificate that a client is shown.
fn shown(port: u16, name: Option<&str>, hashes: &HashMap<&'static str, String>) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let connected = runtime.block_on(TestClient::default().connect(local(port), name));
    let Ok(connection) = connected else { return "nothing".to_owned() };
    let facts = facts_of_der(&connection.leaf).unwrap();
    let hash: String = facts.thumbprint.iter().map(|byte| format!("{byte:02x}")).collect();
    let found = hashes.iter().find(|(_, own)| **own == hash);
    found.map_or_else(|| hash.clone(), |(name, _)| (*name).to_owned())
}

/// Every certificate that OpenSSL is shown for a name, where it is installed.
fn shown_to_openssl(port: u16, name: &str) -> Option<String> {
    let line = format!(
        "openssl s_client -connect 127.0.0.1:{port} -servername {name} < /dev/null 2> /dev/null \
         | openssl x509 -noout -fingerprint -sha1"
    );
    let done = Command::new("sh").args(["-c", &line]).output().ok()?;
    let text = String::from_utf8(done.stdout).ok()?;
    let (_, hash) = text.trim().rsplit_once('=')?;
    Some(hash.replace(':', "").to_lowercase())
}

const HACK: &str = "bindery appcmd set site b /bindings:https/*:PORT:b.example";

#[test]
fn appcmd_does_what_the_seed_did_with_sni_instead() {
    let mut session = Session::on_iis();
    session.shows(["one", "nothing"]);
    let before = session.file("applicationHost.config");
    session.types(HACK);
    assert_eq!(session.file("applicationHost.config"), before, "nothing was changed");
    session.shows(["one", "nothing"]);
    session.takes(1);
    session.shows(["one", "two"]);
    if let Some(hash) = shown_to_openssl(session.port, "b.example") {
        assert_eq!(hash, session.hashes["two"], "OpenSSL is shown the same");
    }
    session.types("bindery check | tail -1");
    session.told("trap-appcmd-sni");
}

#[test]
fn appcmd_does_what_the_seed_did_with_one_certificate_for_both() {
    let mut session = Session::on_iis();
    session.types("bindery appcmd set site b \"/+bindings.[protocol='https',bindingInformation='*:PORT:b.example']\"");
    session.takes(2);
    session.shows(["both", "nothing"]);
    let again = session.types(HACK).to_owned();
    assert_eq!(again.lines().nth(1), Some("SITE object \"b\" changed"), "{again}");
    session.shows(["both", "both"]);
    session.told("trap-appcmd-one");
}

#[test]
fn a_binding_comes_before_its_certificate_as_scripts_for_windows_have_it() {
    let mut session = Session::on_iis();
    session.types(
        "bindery appcmd set site b \"/+bindings.[protocol='https',\
         bindingInformation='*:PORT:c.example',sslFlags='1']\"",
    );
    assert!(session.last.contains("SITE object \"b\" changed"), "{}", session.last);
    let leaf = session.folder.ca.leaf(&["c.example"]);
    drop(leaf.write(session.folder.path(), "c"));
    let hash: String = facts_of_der(&leaf.certificate_der)
        .unwrap()
        .thumbprint
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    session.hashes.insert("see", hash.clone());
    let seen = |session: &Session| shown(session.port, Some("c.example"), &session.hashes);
    assert_eq!(seen(&session), "nothing");
    // What is printed is one line where it is not wrapped.
    let said = session.last.split_whitespace().collect::<Vec<_>>().join(" ");
    let (_, command) = said.split_once("give it one: ").unwrap();
    let (command, _) = command.split_once('}').unwrap();
    let command = format!("{}}}", command.replace("THUMBPRINT", &hash));
    let file = session.folder.path().join("bindery.toml");
    let more = "\n[[certificate]]\nname = \"c\"\nfile = \"c.pem\"\n";
    fs::write(&file, session.file("bindery.toml") + more).unwrap();
    until("the certificate is shown", || seen(&session) == "see");
    session.types(&command);
    assert_eq!(seen(&session), "see");
    session.told("binding-first");
}

/// The same record is right for both.
fn together() -> Session {
    let (port, other) = (free_port(), free_port());
    let sites = [
        site("a", 1, &format!("*:{port}:a.example")),
        site("b", 2, &format!("*:{port}:b.example")),
    ];
    let (folder, hashes) = folder();
    fs::write(folder.path().join("applicationHost.config"), application_host(&sites)).unwrap();
    write_records(&folder, &[(format!("ipport=0.0.0.0:{port}"), "both")], &hashes);
    Session::started((folder, hashes), (port, other), "applicationHost.config")
}

#[test]
fn netsh_does_not_change_what_another_binding_shows() {
    for way in [1, 2] {
        let mut session = together();
        session.shows(["both", "both"]);
        session.types("bindery netsh http update sslcert ipport=0.0.0.0:PORT certhash=TWO");
        session.shows(["both", "both"]);
        session.takes(way);
        if way == 1 {
            session.types("bindery netsh http update sslcert ipport=0.0.0.0:PORT certhash=TWO");
            session.shows(["one", "two"]);
            session.told("trap-netsh");
        } else {
            session.shows(["both", "both"]);
        }
    }
}

#[test]
fn a_new_record_does_not_change_what_bindings_show_by_their_names() {
    for way in [1, 2] {
        let (port, other) = (free_port(), free_port());
        let sites = [
            site("a", 1, &format!("*:{port}:a.example")),
            site("b", 2, &format!("*:{port}:b.example")),
        ];
        let mut session = Session::of_iis((port, other), &sites, false);
        session.types("bindery check");
        // By the best certificate that covers each, which is the same here as it lasts longest.
        session.types("bindery netsh http add sslcert ipport=0.0.0.0:PORT certhash=ONE OWNER");
        session.takes(way);
        if way == 1 {
            session.types("bindery netsh http add sslcert ipport=0.0.0.0:PORT certhash=ONE OWNER");
            session.told("trap-netsh-add");
        } else {
            session.shows(["both", "both"]);
        }
    }
}

fn curl(session: &mut Session, words: &str) {
    let socket = "--unix-socket state/control.sock";
    session.types(&format!("curl -sS {socket} {words} | python3 -m json.tool"));
}

#[test]
fn the_api_refuses_it_with_both_ways_out() {
    let mut session = Session::on_iis();
    let text = session.file("applicationHost.config");
    let after = text.replace(
        &format!("*:{}:b.example", session.other),
        &format!("*:{}:b.example", session.port),
    );
    fs::write(session.folder.path().join("new.config"), after).unwrap();
    let put = "-X PUT -H 'Content-Type: application/xml' --data-binary @new.config";
    curl(&mut session, &format!("{put} http://localhost/v1/configuration"));
    let problem: serde_json::Value =
        serde_json::from_str(session.last.split_once('\n').unwrap().1).unwrap();
    assert_eq!(problem["status"], 422, "{problem}");
    let found = &problem["problems"][0];
    assert_eq!(found["code"], "shared-record");
    let commands = |way: usize| {
        let commands = found["ways"][way]["commands"].as_array().unwrap();
        commands.iter().map(|one| one.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for command in commands(0) {
        session.types(&command);
    }
    session.shows(["one", "two"]);
    // Whoever wants it all the same is told, and so are all who listen and look.
    let forced = session.types("bindery undo 1 --force --json").to_owned();
    assert!(!forced.contains("shared-record"), "{forced}");
    curl(&mut session, &format!("{put} 'http://localhost/v1/configuration?force=true'"));
    let outcome: serde_json::Value =
        serde_json::from_str(session.last.split_once('\n').unwrap().1).unwrap();
    assert_eq!(outcome["changed"], true, "{outcome}");
    assert_eq!(outcome["problems"][0]["code"], "shared-record");
    session.shows(["one", "one"]);
    for place in ["status", "history?limit=1"] {
        curl(&mut session, &format!("http://localhost/v1/{place}"));
        assert!(session.last.contains("shared-record"), "{}", session.last);
    }
    session.said.clear();
    let check = session.types("bindery check").to_owned();
    assert!(check.contains("\n[1]\n"), "{check}");
    session.told("trap-check");
}

#[test]
fn a_file_that_is_edited_by_hand_is_not_served_with_it() {
    let mut session = Session::on_iis();
    let file = session.folder.path().join("applicationHost.config");
    let text = session.file("applicationHost.config");
    let [other, port] = [session.other, session.port].map(|port| format!("\"*:{port}:b.example\""));
    fs::write(&file, text.replace(&other, &port)).unwrap();
    let log = session.server.logged("shared-record", 1);
    let line = log.lines().find(|line| line.contains("shared-record")).unwrap();
    assert!(line.contains("applicationHost.config:17:57:"), "{line}");
    assert!(line.contains("write sslFlags"), "{line}");
    session.shows(["one", "nothing"]);
    session.types("bindery netsh http update sslcert ipport=0.0.0.0:PORT certhash=BOTH");
    let netsh = session.ways()[0].clone();
    // As it says.
    fs::write(&file, text.replace(&other, &format!("{port} sslFlags=\"1\""))).unwrap();
    let port = session.port;
    let hashes = session.hashes.clone();
    until("the edit is taken up", || shown(port, Some("b.example"), &hashes) != "nothing");
    session.said.push_str("(sslFlags=\"1\" is written)\n");
    for command in netsh {
        session.types(&command);
    }
    session.shows(["one", "two"]);
    session.told("trap-by-hand");
}

#[test]
fn a_start_says_it_and_serves() {
    let (port, other) = (free_port(), free_port());
    let (folder, hashes) = folder();
    let sites = [
        site("a", 1, &format!("*:{port}:a.example")),
        site("b", 2, &format!("*:{port}:b.example")),
    ];
    fs::write(folder.path().join("applicationHost.config"), application_host(&sites)).unwrap();
    write_records(&folder, &[(format!("ipport=0.0.0.0:{port}"), "one")], &hashes);
    let checked = folder.run("check --config applicationHost.config --json");
    assert_eq!(checked.code, 1);
    let all = checked.json();
    let mut all = all.as_array().unwrap().iter();
    let problem = all.find(|one| one["code"] == "shared-record").unwrap().clone();
    let mut session = Session::started((folder, hashes), (port, other), "applicationHost.config");
    let log = session.server.logged("shared-record", 1);
    session.shows(["one", "one"]);
    for way in problem["ways"].as_array().unwrap() {
        for command in way["commands"].as_array().unwrap() {
            // There the configuration has to be named.
            let command = command.as_str().unwrap().replace(" --config applicationHost.config", "");
            assert!(log.contains(&command), "{command} in {log}");
        }
    }
    for command in problem["ways"][0]["commands"].as_array().unwrap() {
        session.types(command.as_str().unwrap());
    }
    session.shows(["one", "two"]);
    session.types("bindery check | tail -1");
}

const SECOND: &str = "bindery binding add b https/*:PORT: --certificate two";

#[test]
fn on_our_own_form_a_second_catch_all_is_refused_with_both_ways_out() {
    let mut session = Session::on_toml();
    session.shows(["one", "one"]);
    session.types(SECOND);
    session.shows(["one", "one"]);
    session.takes(1);
    session.shows(["one", "two"]);
    session.told("trap-toml");

    let mut session = Session::on_toml();
    session.types(SECOND);
    for command in session.ways()[1].clone() {
        session.types(&command.replace("CERTIFICATE", "both"));
    }
    session.shows(["both", "both"]);
    // The same certificate is still no way for two to hold one key, and nothing to warn of.
    session.types("bindery binding add b https/*:PORT: --certificate both");
    assert!(!session.last.contains("  1. "), "{}", session.last);
}

#[test]
fn on_our_own_form_a_hand_edit_and_the_api_say_the_same() {
    let mut session = Session::on_toml();
    let binding = format!("{{\"on\": \"https/*:{}:\", \"certificate\": \"two\"}}", session.port);
    let json = "-H 'Content-Type: application/json'";
    curl(&mut session, &format!("{json} -d '{binding}' http://localhost/v1/sites/b/bindings"));
    let by_api = session.last.clone();
    let text = session.file("bindery.toml");
    let edited = text.replace(
        "bindings = [\"http",
        &format!(
            "bindings = [{{ on = \"https/*:{}:\", certificate = \"two\" }}, \"http",
            session.port
        ),
    );
    fs::write(session.folder.path().join("bindery.toml"), edited).unwrap();
    let log = session.server.logged("duplicate-binding", 1);
    let command =
        format!("bindery binding add \"b\" https/*:{}:b.example --certificate two", session.port);
    assert!(log.contains(&command), "{log}");
    assert!(by_api.contains(&command.replace('"', "\\\"")), "{by_api}");
    session.shows(["one", "one"]);
}

#[test]
fn what_appcmd_asks_for_without_sni_is_chosen_by_name_on_our_own_form() {
    let mut session = Session::on_toml();
    session.types("bindery binding set a https/*:PORT: on=https/*:PORT:a.example");
    session.types("bindery appcmd set site b \"/+bindings.[protocol='https',bindingInformation='*:PORT:b.example']\"");
    let hashes = session.hashes.clone();
    let port = session.port;
    until("it is served", || shown(port, Some("b.example"), &hashes) != "nothing");
    session.told("trap-appcmd-toml");
}

#[test]
fn one_certificate_for_both_is_no_trap() {
    let mut session = together();
    session.types("bindery check | tail -1");
    session.types("bindery appcmd set site b /bindings:https/*:PORT:b.example");
    session.types("bindery netsh http update sslcert ipport=0.0.0.0:PORT disablehttp2=enable");
    for word in ["shared-record", "chosen-by-name", "SNI", "ERROR"] {
        assert!(!session.said.contains(word), "{}", session.said);
    }
    session.shows(["both", "both"]);
}

#[test]
fn netsh_takes_a_certificate_away_and_gives_it_back_on_our_own_form() {
    let mut session = Session::on_toml();
    session.types("bindery netsh http delete sslcert ipport=0.0.0.0:PORT");
    session.shows(["nothing", "nothing"]);
    session.types("bindery netsh http delete sslcert ipport=0.0.0.0:PORT");
    session.types("bindery check | grep without-certificate");
    assert!(session.last.contains("without-certificate"), "{}", session.last);
    session.types("bindery explain https://a.example --ip 127.0.0.1 --port PORT");
    assert!(session.last.contains("the binding has no certificate"), "{}", session.last);
    session.types("bindery netsh http add sslcert ipport=0.0.0.0:PORT certhash=ONE OWNER");
    session.shows(["one", "one"]);
    // A name that could choose one itself is without one too, until it is given one.
    session.types("bindery binding add b https/*:PORT:b.example");
    session.shows(["one", "two"]);
    session.types("bindery netsh http delete sslcert hostnameport=b.example:PORT");
    session.shows(["one", "nothing"]);
    session.types("bindery netsh http add sslcert hostnameport=b.example:PORT certhash=BOTH OWNER");
    session.shows(["one", "both"]);
    session.types("bindery netsh http show sslcert | grep -A1 :PORT");
    // What was kept has its records; a restore brings them back as one change.
    session.types("bindery netsh http add sslcert hostnameport=c.example:PORT certhash=TWO OWNER");
    session.types("bindery appcmd add backup kept");
    session.types("bindery netsh http delete sslcert hostnameport=b.example:PORT");
    session.types("bindery netsh http delete sslcert hostnameport=c.example:PORT");
    session.types("bindery appcmd list backups");
    session.types("bindery appcmd restore backup kept --dry-run");
    session.types("bindery appcmd restore backup kept");
    session.shows(["one", "both"]);
    session.types("bindery netsh http show sslcert hostnameport=c.example:PORT | grep :PORT");
    session.types("bindery undo");
    session.shows(["one", "nothing"]);
    session.types("bindery appcmd delete backup kept");
    session.types("bindery appcmd list backups");
    session.told("netsh-without");
}
