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
        ("http show urlacl", "The following command was not found: http show urlacl."),
        ("http add sslcert", "The following command was not found: http add sslcert."),
        ("http show sslcert x=1", "x is not a valid argument for this command."),
    ] {
        let done = folder.run_linked("netsh", words);
        assert_eq!(done.out.lines().next(), Some(first));
        assert!(done.out.contains("http show sslcert [ipport="), "{}", done.out);
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
