//! A session at a Windows prompt, on records alone: each command, what it prints and what is there
//! afterwards.

use std::path::Path;

use bindery_iis::netsh::{
    grammar::{self, Request, Verb, Which},
    plan::{Home, Known, plan, taken_up},
    records::{RecordChange, Records, parse_output},
    sslcert::table,
    text,
};
use bindery_model::{
    change::{Act, Change, Place},
    document::parse,
};

const ID: &str = "{4dc3e181-e14b-4a21-b022-59fc669b0914}";

/// A server whose certificates are all that begin with `ab`.
#[derive(Default)]
struct Session {
    records: Records,
}

impl Session {
    /// What is printed, and the exit code.
    fn run(&mut self, home: Home, words: &str) -> (String, u8) {
        let words: Vec<_> = words.split_whitespace().map(str::to_owned).collect();
        let change = match grammar::parse(&words) {
            Err(error) => return (text::not_understood(&error), 1),
            Ok(Request::ShowSslcert { which: Which::One(key), .. }) => {
                return match self.records.find(&key) {
                    Some(record) => (table([record]), 0),
                    None => (text::NOT_FOUND.to_owned(), 1),
                };
            }
            Ok(Request::ShowSslcert { .. }) => return (table(self.records.iter()), 0),
            Ok(Request::Sslcert(change)) => change,
            Ok(other) => return (format!("{other:?}"), 255),
        };
        let verb = Verb::of(&change);
        let known = Known {
            home,
            configuration: &parse("", Path::new("/")).configuration,
            records: &self.records,
            has_certificate: &|hash| hash[0] == 0xab,
        };
        let planned = plan(&change, &known).and_then(|plan| self.records.apply(&plan.records));
        match planned {
            Ok(records) => {
                self.records = records;
                (text::done(verb), 0)
            }
            Err(error) => (text::failed(verb, &error), 1),
        }
    }
}

#[track_caller]
fn says(session: &mut Session, words: &str, code: u8, expected: &str) {
    let got = session.run(Home::Iis, words);
    assert_eq!((got.0.as_str(), got.1), (expected, code), "{words}");
}

#[test]
fn records_come_change_and_go_as_on_windows() {
    let mut session = Session::default();
    let hash = "ab".repeat(20);
    let add = format!("http add sslcert ipport=0.0.0.0:443 certhash={hash} appid={ID}");
    says(&mut session, &add, 0, "\nSSL Certificate successfully added\n\n");
    let there = "\nSSL Certificate add failed, Error: 183\n\
                 Cannot create a file when that file already exists.\n\n";
    says(&mut session, &add, 1, there);
    let v6 = add.replace("0.0.0.0", "[::]");
    says(&mut session, &v6, 1, there);
    let update = "http update sslcert ipport=0.0.0.0:443 disablehttp2=enable";
    says(&mut session, update, 0, "\nSSL Certificate successfully updated\n\n");
    let shown = format!(
        "
SSL Certificate bindings:
-------------------------

    IP:port                      : 0.0.0.0:443
    Certificate Hash             : {hash}
    Application ID               : {ID}
    Certificate Store Name       : (null)
    Verify Client Certificate Revocation : Enabled
    Verify Revocation Using Cached Client Certificate Only : Disabled
    Usage Check                  : Enabled
    Revocation Freshness Time    : 0
    URL Retrieval Timeout        : 0
    Ctl Identifier               : (null)
    Ctl Store Name               : (null)
    DS Mapper Usage              : Disabled
    Negotiate Client Certificate : Disabled
    Reject Connections           : Disabled
    Disable HTTP2                : Set
    Disable QUIC                 : Not Set
    Disable TLS1.2               : Not Set
    Disable TLS1.3               : Not Set
    Disable OCSP Stapling        : Not Set
    Enable Token Binding         : Not Set
    Log Extended Events          : Not Set
    Disable Legacy TLS Versions  : Not Set
    Enable Session Ticket        : Not Set
    Disable Session ID           : Not Set
    Enable Caching Client Hello  : Not Set

"
    );
    says(&mut session, "http show sslcert ipport=0.0.0.0:443", 0, &shown);
    assert_eq!(parse_output(&shown), (session.records.clone(), Vec::new()));
    let delete = "http delete sslcert ipport=0.0.0.0:443";
    says(&mut session, delete, 0, "\nSSL Certificate successfully deleted\n\n");
    let gone = "\nSSL Certificate deletion failed, Error: 2\n\
                The system cannot find the file specified.\n\n";
    says(&mut session, delete, 1, gone);
    says(&mut session, "http show sslcert ipport=0.0.0.0:443", 1, text::NOT_FOUND);
    says(&mut session, update, 1, &gone.replace("deletion", "update"));
}

#[test]
fn what_is_wrong_gets_the_number_of_windows() {
    let mut session = Session::default();
    let unknown = "cd".repeat(20);
    says(
        &mut session,
        &format!("http add sslcert hostnameport=a:443 certhash={unknown} appid={ID}"),
        1,
        "\nSSL Certificate add failed, Error: 1312\n\
         A specified logon session does not exist. It may already have been terminated.\n\n",
    );
    let incorrect = "\nSSL Certificate add failed, Error: 87\nThe parameter is incorrect.\n\n";
    for wrong in ["ipport=a.example:443", "ipport=0.0.0.0", "certhash=abc", "appid=4dc3e181"] {
        says(&mut session, &format!("http add sslcert {wrong}"), 1, incorrect);
    }
    let (missing, code) = session.run(Home::Iis, "http add sslcert ipport=0.0.0.0:443");
    assert!(missing.starts_with("One or more essential parameters were not entered.\n"));
    assert_eq!(code, 1);
    assert!(session.records.is_empty());
}

#[test]
fn a_record_waits_for_its_binding() {
    let mut session = Session::default();
    let hash = "ab".repeat(20);
    let add = format!("http add sslcert hostnameport=a.example:443 certhash={hash} appid={ID}");
    assert_eq!(session.run(Home::Toml, &add).1, 0);
    assert_eq!(session.run(Home::Toml, "http show sslcert hostnameport=a.example:443").1, 0);
    let text = "[[site]]\nname = \"a\"\nrespond = \"\"\nbindings = [\"https/*:443:a.example\"]\n";
    let taken = taken_up(&session.records, &parse(text, Path::new("/")).configuration).unwrap();
    let on = "https/*:443:a.example".to_owned();
    let set = [("certificate".to_owned(), Some(hash.as_str().into()))].into();
    let at = Place::Binding { site: "a".to_owned(), on };
    assert_eq!(taken.changes, [Change { at, act: Act::Set(set) }]);
    let key = "hostnameport=a.example:443".parse().unwrap();
    assert_eq!(taken.records, [RecordChange::Delete(key)]);
}
