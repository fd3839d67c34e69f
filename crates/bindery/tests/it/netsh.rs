//! `bindery netsh`, to the letter.

use std::fs;

use bindery_server::tls::keys::facts_of_der;

use crate::program::Folder;

const CONFIG: &str = r#"
[server]
central_store = { folder = "central" }

[[certificate]]
name = "a"
file = "a.pem"

[[certificate]]
name = "gone"
file = "gone.pem"

[[site]]
name = "a"
respond = ""
bindings = [
  "http/*:80:a.example",
  { on = "https/*:443:a.example", tls = { minimum = "1.3", http2 = false } },
  { on = "https/*:443:", certificate = "a", tls = { maximum = "1.2" } },
  { on = "https/192.0.2.10:443:", certificate = "a", tls = { client_certificate = "require", client_ca = "ca.pem" } },
  { on = "https/*:443:*.c.example", certificate = "central" },
  { on = "https/*:443:d.example", certificate = "central" },
  { on = "https/*:443:gone.example", certificate = "gone" },
]
"#;

struct Expected<'a> {
    key: &'a str,
    hash: &'a str,
    store: &'a str,
    client: &'a str,
    http2: &'a str,
    tls: [&'a str; 2],
    tickets: &'a str,
}

impl Expected<'_> {
    fn text(&self) -> String {
        let Self { key, hash, store, client, http2, tls: [tls12, tls13], tickets } = self;
        format!(
            "    {key}
    Certificate Hash             : {hash}
    Application ID               : {{4dc3e181-e14b-4a21-b022-59fc669b0914}}
    Certificate Store Name       : {store}
    Verify Client Certificate Revocation : Disabled
    Verify Revocation Using Cached Client Certificate Only : Disabled
    Usage Check                  : Enabled
    Revocation Freshness Time    : 0
    URL Retrieval Timeout        : 0
    Ctl Identifier               : (null)
    Ctl Store Name               : (null)
    DS Mapper Usage              : Disabled
    Negotiate Client Certificate : {client}
    Reject Connections           : Disabled
    Disable HTTP2                : {http2}
    Disable QUIC                 : Set
    Disable TLS1.2               : {tls12}
    Disable TLS1.3               : {tls13}
    Disable OCSP Stapling        : Set
    Enable Token Binding         : Not Set
    Log Extended Events          : Not Set
    Disable Legacy TLS Versions  : Set
    Enable Session Ticket        : {tickets}
    Disable Session ID           : Set
    Enable Caching Client Hello  : Not Set

"
        )
    }
}

const TITLE: &str = "\nSSL Certificate bindings:\n-------------------------\n\n";

fn folder() -> (Folder, String) {
    let folder = Folder::new(CONFIG);
    fs::create_dir(folder.path().join("central")).unwrap();
    let leaf = folder.ca.leaf(&["a.example"]);
    drop(leaf.write(folder.path(), "a"));
    let thumbprint = facts_of_der(&leaf.certificate_der).unwrap().thumbprint;
    let hash = thumbprint.iter().map(|byte| format!("{byte:02x}")).collect();
    (folder, hash)
}

fn plain<'a>(key: &'a str, hash: &'a str) -> Expected<'a> {
    Expected {
        key,
        hash,
        store: "MY",
        client: "Disabled",
        http2: "Not Set",
        tls: ["Not Set", "Not Set"],
        tickets: "Set",
    }
}

#[test]
fn the_table_is_that_of_http_sys_to_the_letter() {
    let (folder, hash) = folder();
    let done = folder.run("netsh http show sslcert");
    let all = [
        Expected {
            tls: ["Not Set", "Set"],
            ..plain("IP:port                      : 0.0.0.0:443", &hash)
        },
        Expected {
            client: "Enabled",
            tickets: "Not Set",
            ..plain("IP:port                      : 192.0.2.10:443", &hash)
        },
        Expected {
            http2: "Set",
            tls: ["Set", "Not Set"],
            ..plain("Hostname:port                : a.example:443", &hash)
        },
        plain("Hostname:port                : gone.example:443", "(null)"),
        Expected { store: "(null)", ..plain("Central Certificate Store    : 443", "(null)") },
    ];
    let expected: String = all.iter().map(Expected::text).collect();
    assert_eq!(done.out, format!("{TITLE}{expected}"));
    assert_eq!(done.code, 0);
    assert!(done.err.contains("https/*:443:gone.example: "), "{}", done.err);
}

#[test]
fn one_record_can_be_asked_for_through_a_link_too() {
    let (folder, hash) = folder();
    let text = Expected {
        http2: "Set",
        tls: ["Set", "Not Set"],
        ..plain("Hostname:port                : a.example:443", &hash)
    };
    let expected = format!("{TITLE}{}", text.text());
    for words in [
        "http show sslcert hostnameport=a.example:443",
        "http SHOW SSLCERT hostnameport=A.Example:443 --config bindery.toml",
        "--config bindery.toml http show sslcert hostnameport=a.example:443",
        "http show ssl hostnameport=a.example:443 --config=bindery.toml",
    ] {
        let direct = folder.run(&format!("netsh {words}"));
        assert_eq!((direct.out.as_str(), direct.code), (expected.as_str(), 0), "{words}");
        let linked = folder.run_linked("netsh", words);
        assert_eq!((linked.out.as_str(), linked.code), (expected.as_str(), 0), "{words}");
        assert_eq!(linked.err, "");
    }
    let first = folder.run("--config bindery.toml netsh http show sslcert ccs=443");
    assert_eq!(first.code, 2, "--config stands behind the command");
}

#[test]
fn what_is_not_there_is_not_found_as_windows_says_it() {
    let (folder, _) = folder();
    for key in ["ipport=192.0.2.11:443", "hostnameport=b.example:443", "ccs=8443"] {
        let done = folder.run_linked("netsh", &format!("http show sslcert {key}"));
        assert_eq!(done.out, "\nThe system cannot find the file specified.\n\n", "{key}");
        assert_eq!(done.code, 1);
    }
}

#[test]
fn another_command_is_told_what_there_is() {
    let (folder, _) = folder();
    for (words, first) in [
        ("http show cachestate", "The following command was not found: http show cachestate."),
        ("http add urlacl", "The following command was not found: http add urlacl."),
        ("http add sslcert", "One or more essential parameters were not entered."),
        ("http show sslcert x=1", "x is not a valid argument for this command."),
    ] {
        let done = folder.run_linked("netsh", words);
        assert_eq!(done.out.lines().next(), Some(first));
        assert!(done.out.contains("http show sslcert   [ipport="), "{}", done.out);
        assert_eq!(done.code, 1);
    }
}

#[test]
fn json_has_the_lines_of_the_table() {
    let (folder, hash) = folder();
    let told = folder.run("netsh http show sslcert ipport=0.0.0.0:443 json=enable").json();
    let bindings = told["SSLCertificateBindings"].as_array().unwrap();
    assert_eq!(bindings.len(), 1);
    assert_eq!(bindings[0]["IPport"], "0.0.0.0:443");
    assert_eq!(bindings[0]["CertificateHash"], hash);
    assert_eq!(bindings[0]["DisableTLS13"], "Set");
}

/// What a change would come to, tried: nothing is changed.
fn tried(folder: &Folder, words: &str, hash: &str) -> (i32, String, String) {
    let id = "{4dc3e181-e14b-4a21-b022-59fc669b0914}";
    let words = words.replace("CERT", &format!("certhash={hash} appid={id}"));
    let done = folder.run_linked("netsh", &format!("http {words} --dry-run"));
    (done.code, done.out, done.err)
}

#[test]
fn a_change_says_what_it_comes_to_and_why_not() {
    let (folder, hash) = folder();
    let check = |words: &str, code, out: &str, err: &str| {
        let got = tried(&folder, words, &hash);
        assert_eq!((got.0, got.1.as_str()), (code, out), "{words}");
        assert!(got.2.contains(err), "{words}: {}", got.2);
    };
    check(
        "add sslcert hostnameport=a.example:443 CERT disabletls12=disable",
        0,
        &format!(
            "~ binding https/*:443:a.example of site \"a\"\n    + certificate = \"{hash}\"\n    - \
             tls.minimum = \"1.3\"\n"
        ),
        "",
    );
    check(
        "add sslcert hostnameport=192.0.2.1:8443:new.example CERT",
        0,
        &format!(
            "+ record 192.0.2.1:8443:new.example\n    application_id = \
             \"{{4dc3e181-e14b-4a21-b022-59fc669b0914}}\"\n    certificate_hash = \"{hash}\"\n"
        ),
        "no https binding has hostnameport=192.0.2.1:8443:new.example yet",
    );
    check(
        "delete sslcert ipport=0.0.0.0:443",
        0,
        "~ binding https/*:443: of site \"a\"\n    certificate: \"a\" -> \"none\"\n",
        "handshakes that lead to it are refused",
    );
    check(
        "update sslcert ipport=0.0.0.0:443 CERT",
        0,
        &format!("~ binding https/*:443: of site \"a\"\n    certificate: \"a\" -> \"{hash}\"\n"),
        "",
    );
    check(
        "add sslcert ipport=0.0.0.0:443 CERT",
        1,
        "\nSSL Certificate add failed, Error: 183\n\
         Cannot create a file when that file already exists.\n\n",
        "there is a certificate record for 0.0.0.0:443 already",
    );
    check(
        "update sslcert ipport=192.0.2.77:443 CERT",
        1,
        "\nSSL Certificate update failed, Error: 2\n\
         The system cannot find the file specified.\n\n",
        "there is no certificate record for 192.0.2.77:443",
    );
    check(
        "delete sslcert ccs=8443",
        1,
        "\nSSL Certificate deletion failed, Error: 2\n\
         The system cannot find the file specified.\n\n",
        "",
    );
    let other = "0".repeat(40);
    let (code, out, err) = tried(&folder, "add sslcert ipport=192.0.2.77:443 CERT", &other);
    assert_eq!(code, 1);
    let text = "A specified logon session does not exist. It may already have been terminated.";
    assert_eq!(out, format!("\nSSL Certificate add failed, Error: 1312\n{text}\n\n"));
    let err = err.replace('\n', " ");
    assert!(err.contains(&format!("there is no certificate with the thumbprint {other}")), "{err}");
    let (code, out, err) = tried(&folder, "add sslcert ipport=192.0.2.77:443 CERT", "xyz");
    assert_eq!((code, err.contains("certhash=xyz")), (1, true), "{err}");
    assert_eq!(out, "\nSSL Certificate add failed, Error: 87\nThe parameter is incorrect.\n\n");
}

#[test]
fn who_deletes_the_record_of_a_name_hears_what_its_clients_get_from_then_on() {
    let folder = Folder::new("\n[[certificate]]\nname = \"a\"\nfile = \"a.pem\"\n");
    let leaf = folder.ca.leaf(&["a.example"]);
    drop(leaf.write(folder.path(), "a"));
    let thumbprint = facts_of_der(&leaf.certificate_der).unwrap().thumbprint;
    let hash: String = thumbprint.iter().map(|byte| format!("{byte:02x}")).collect();
    let text = "<configuration><system.applicationHost><sites><site name=\"a\" id=\"1\">\
                <application path=\"/\"><virtualDirectory path=\"/\" physicalPath=\"/\" />\
                </application><bindings><binding protocol=\"https\" \
                bindingInformation=\"*:443:a.example\" sslFlags=\"1\" /></bindings></site></sites>\
                </system.applicationHost></configuration>";
    fs::write(folder.path().join("applicationHost.config"), text).unwrap();
    let run = |words: &str| {
        let done = folder.run(&format!("netsh http {words} --config applicationHost.config"));
        assert_eq!(done.code, 0, "{words}: {}{}", done.out, done.err);
        done.err.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let id = "appid={4dc3e181-e14b-4a21-b022-59fc669b0914}";
    let key = "hostnameport=a.example:443";
    run(&format!("add sslcert {key} certhash={hash} {id}"));
    let told = format!("clients of https/*:443:a.example get the certificate {hash} from now on");
    let out = "`bindery binding remove \"a\" https/*:443:a.example`";
    let none = "`certificate = \"none\"`";
    for words in [format!("delete sslcert {key} --dry-run"), format!("delete sslcert {key}")] {
        let said = run(&words);
        for part in [told.as_str(), out, none] {
            assert!(said.contains(part), "{words}: {part}: {said}");
        }
    }
    // One that no binding has is nobody's.
    run(&format!("add sslcert hostnameport=b.example:443 certhash={hash} {id}"));
    assert_eq!(run("delete sslcert hostnameport=b.example:443"), "");
}

#[test]
fn a_file_can_say_what_is_added() {
    let (folder, hash) = folder();
    let id = "{4dc3e181-e14b-4a21-b022-59fc669b0914}";
    let text = format!(r#"{{"ccs": 8443, "appid": "{id}", "disablehttp2": "enable"}}"#);
    fs::write(folder.path().join("add.json"), text).unwrap();
    let (code, out, _) = tried(&folder, "add sslcert json=add.json", &hash);
    let kept = format!(
        "+ record ccs=8443\n    application_id = \"{id}\"\n    flags = {{ disablehttp2 = true }}\n"
    );
    assert_eq!((code, out), (0, kept));
    let (code, _, err) = tried(&folder, "add sslcert json=none.json", &hash);
    assert_eq!((code, err.contains("none.json cannot be read")), (1, true), "{err}");
}

#[test]
fn records_that_wait_for_a_binding_are_shown() {
    let (folder, hash) = folder();
    let state = folder.path().join("state");
    fs::create_dir(&state).unwrap();
    let key = "hostnameport=192.0.2.1:8443:new.example";
    let stored = format!(
        r#"{{"version": 1, "records": [{{"key": "{key}", "certificate_hash": "{hash}",
            "application_id": "{{00112233-4455-6677-8899-aabbccddeeff}}"}}]}}"#
    );
    fs::write(state.join("sslcert.json"), stored).unwrap();
    let done = folder.run_linked("netsh", &format!("http show sslcert {key}"));
    assert_eq!(done.code, 0);
    let first = "    Hostname:port                : 192.0.2.1:8443:new.example";
    assert_eq!(done.out.lines().nth(4), Some(first));
    assert!(done.out.contains("{00112233-4455-6677-8899-aabbccddeeff}"), "{}", done.out);
    fs::write(state.join("sslcert.json"), "{").unwrap();
    let done = folder.run_linked("netsh", "http show sslcert");
    assert_eq!(
        (done.code, done.err.contains("sslcert.json cannot be read")),
        (1, true),
        "{}",
        done.err
    );
}

#[test]
fn who_owns_a_url_is_told_by_site() {
    let (folder, _) = folder();
    let done = folder.run_linked("netsh", "http show servicestate");
    assert_eq!(done.code, 0);
    for line in [
        "Snapshot of HTTP service state (Server Session View):",
        "    URL group ID: 0000000000000001",
        "        Request queue name: a",
        "                HTTP://A.EXAMPLE:80/",
        "                HTTPS://192.0.2.10:443/",
    ] {
        assert!(done.out.lines().any(|own| own == line), "{line} in {}", done.out);
    }
    let done = folder.run_linked("netsh", "http show iplisten");
    assert_eq!(done.out.lines().count(), 4, "all addresses: none is listed");
    let done = folder.run_linked("netsh", "http show urlacl");
    assert_eq!((done.out.as_str(), done.code), ("\nURL Reservations:\n-----------------\n\n", 0));
}
