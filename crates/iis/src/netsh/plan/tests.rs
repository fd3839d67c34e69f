//! What changes to records come to on both homes.

use bindery_model::document::parse;

use super::*;
use crate::netsh::grammar;

const HASH: &str = "abababababababababababababababababababab";
const ID: &str = "{4dc3e181-e14b-4a21-b022-59fc669b0914}";

const CONFIG: &str = r#"
[server]
central_store = { folder = "central" }

[[site]]
name = "a"
respond = ""
bindings = [
  "http/*:80:a.example",
  "https/*:443:a.example",
  { on = "https/*:443:b.example", certificate = "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd", tls = { http2 = false } },
  { on = "https/192.0.2.1:443:c.example", tls = { maximum = "1.2" } },
  { on = "https/192.0.2.2:443:c.example", tls = { client_certificate = "require", client_ca = "ca.pem" } },
  { on = "https/*:443:d.example", certificate = "central" },
  "https/192.0.2.1:443:",
]
"#;

fn configuration() -> Configuration {
    let document = parse(CONFIG, std::path::Path::new("/"));
    assert!(document.configuration.table.bindings.len() == 7, "{:?}", document.problems);
    document.configuration
}

fn request(words: &str) -> RecordChange {
    let words = words.replace("CERT", &format!("certhash={HASH} appid={ID}"));
    let words: Vec<_> = format!("http {words}").split_whitespace().map(str::to_owned).collect();
    match grammar::parse(&words) {
        Ok(grammar::Request::Sslcert(change)) => change,
        other => panic!("{other:?}"),
    }
}

fn planned(home: Home, words: &str) -> Result<Plan, RecordError> {
    let records = Records::default().apply(&[request("add sslcert ipport=0.0.0.0:8443 CERT")]);
    let known = Known {
        home,
        configuration: &configuration(),
        records: &records.unwrap(),
        has_certificate: &|hash| *hash == [0xab; 20],
    };
    plan(&request(words), &known)
}

/// The changes of a plan, short: `binding key=value key=`.
fn short(plan: &Plan) -> Vec<String> {
    let text = |value: &Option<Value>| match value {
        Some(Value::Text(text)) if text == HASH => "HASH".to_owned(),
        Some(Value::Text(text)) => text.clone(),
        Some(Value::Boolean(own)) => own.to_string(),
        Some(other) => format!("{other:?}"),
        None => String::new(),
    };
    let changes = plan.changes.iter().map(|change| match (&change.at, &change.act) {
        (Place::Binding { site, on }, Act::Set(set)) if site == "a" => {
            let set: Vec<_> =
                set.iter().map(|(key, value)| format!("{key}={}", text(value))).collect();
            format!("{on} {}", set.join(" "))
        }
        other => panic!("{other:?}"),
    });
    changes.collect()
}

#[track_caller]
fn check(words: &str, changes: &[&str]) {
    let plan = planned(Home::Toml, words).unwrap();
    assert_eq!(short(&plan), changes, "{words}");
    assert_eq!(plan.records, [], "{words}");
}

#[track_caller]
fn refused(home: Home, words: &str, number: u32) -> String {
    let error = planned(home, words).unwrap_err();
    assert_eq!(error.number(), number, "{words}: {error}");
    error.to_string()
}

#[test]
fn a_record_of_a_binding_is_written_at_the_binding() {
    check(
        "add sslcert hostnameport=a.example:443 CERT",
        &["https/*:443:a.example certificate=HASH"],
    );
    check(
        "add sslcert hostnameport=a.example:443 CERT disablehttp2=enable disabletls12=enable",
        &["https/*:443:a.example certificate=HASH tls.http2=false tls.minimum=1.3"],
    );
    check(
        "update sslcert hostnameport=b.example:443 CERT",
        &["https/*:443:b.example certificate=HASH"],
    );
    check(
        "update sslcert hostnameport=b.example:443 disablehttp2=disable",
        &["https/*:443:b.example tls.http2="],
    );
    check("delete sslcert hostnameport=b.example:443", &["https/*:443:b.example certificate=none"]);
    check("add sslcert ipport=192.0.2.1:443 CERT", &["https/192.0.2.1:443: certificate=HASH"]);
}

#[test]
fn a_record_of_a_name_is_for_single_addresses_too() {
    check(
        "add sslcert hostnameport=c.example:443 CERT disabletls13=disable",
        &[
            "https/192.0.2.1:443:c.example certificate=HASH tls.maximum=",
            "https/192.0.2.2:443:c.example certificate=HASH",
        ],
    );
    check(
        "add sslcert hostnameport=192.0.2.2:443:c.example CERT clientcertnegotiation=enable",
        &["https/192.0.2.2:443:c.example certificate=HASH"],
    );
    check(
        "update sslcert hostnameport=192.0.2.2:443:c.example clientcertnegotiation=disable",
        &["https/192.0.2.2:443:c.example tls.client_ca= tls.client_certificate="],
    );
}

#[test]
fn the_record_of_the_central_store_is_that_of_all_who_use_it() {
    check("update sslcert ccs=443 disablehttp2=enable", &["https/*:443:d.example tls.http2=false"]);
    check("delete sslcert ccs=443", &["https/*:443:d.example certificate=none"]);
    refused(Home::Toml, &format!("add sslcert ccs=443 appid={ID}"), 183);
}

#[test]
fn what_is_there_is_not_added_and_what_is_not_there_not_changed() {
    for home in [Home::Toml, Home::Iis] {
        refused(home, "add sslcert ipport=0.0.0.0:8443 CERT", 183);
        refused(home, "update sslcert ipport=0.0.0.0:444 CERT", 2);
        refused(home, "delete sslcert ccs=444", 2);
        let other = HASH.replace('a', "0");
        let words = format!("add sslcert hostnameport=x:1 certhash={other} appid={ID}");
        assert!(refused(home, &words, 1312).contains(&other));
    }
    refused(Home::Toml, "add sslcert hostnameport=b.example:443 CERT", 183);
}

#[test]
fn a_record_without_a_binding_is_kept_and_taken_by_the_next() {
    let words = "add sslcert hostnameport=new.example:443 CERT disablehttp2=enable";
    let plan = planned(Home::Toml, words).unwrap();
    assert_eq!((short(&plan), &plan.records), (Vec::new(), &vec![request(words)]));
    assert!(plan.notes[0].contains("the next one takes it"), "{:?}", plan.notes);

    let records = Records::default().apply(&plan.records).unwrap();
    let after = parse(
        &CONFIG.replace("\"https/192.0.2.1:443:\",", "\"https/*:443:new.example\","),
        std::path::Path::new("/"),
    );
    let taken = taken_up(&records, &after.configuration).unwrap();
    assert_eq!(short(&taken), ["https/*:443:new.example certificate=HASH tls.http2=false"]);
    let key = "hostnameport=new.example:443".parse().unwrap();
    assert_eq!(taken.records, [RecordChange::Delete(key)]);
    assert!(records.apply(&taken.records).unwrap().is_empty());
    let none = taken_up(&records, &configuration()).unwrap();
    assert_eq!(none, Plan::default(), "not without the binding");
}

#[test]
fn a_binding_that_names_its_certificate_drops_the_record() {
    let records =
        Records::default().apply(&[request("add sslcert hostnameport=b.example:443 CERT")]);
    let taken = taken_up(&records.unwrap(), &configuration()).unwrap();
    assert_eq!((taken.changes.len(), taken.records.len()), (0, 1));
    assert!(taken.notes[0].contains("is dropped"), "{:?}", taken.notes);
}

#[test]
fn a_record_that_a_binding_cannot_do_is_not_taken_by_half() {
    let words = "add sslcert hostnameport=a.example:443 CERT clientcertnegotiation=enable";
    let records = Records::default().apply(&[request(words)]).unwrap();
    let error = taken_up(&records, &configuration()).unwrap_err();
    assert!(error.to_string().contains("tls.client_ca of https/*:443:a.example"), "{error}");
}

#[test]
fn a_record_beside_a_binding_goes_with_the_next_change_of_either() {
    let key = "hostnameport=a.example:443";
    let add = format!("add sslcert {key} CERT");
    let records = Records::default().apply(&[request(&add)]).unwrap();
    let known = Known {
        home: Home::Toml,
        configuration: &configuration(),
        records: &records,
        has_certificate: &|_| true,
    };
    for (words, changes) in [
        (add, &["https/*:443:a.example certificate=HASH"] as &[_]),
        (format!("delete sslcert {key}"), &["https/*:443:a.example certificate=none"]),
    ] {
        let plan = plan(&request(&words), &known).unwrap();
        assert_eq!(short(&plan), changes, "{words}");
        assert_eq!(plan.records, [RecordChange::Delete(key.parse().unwrap())], "{words}");
    }
}

#[test]
fn a_catch_all_is_renewed_by_update_or_by_delete_and_add() {
    let text = CONFIG.replace(
        "\"https/192.0.2.1:443:\",",
        "{ on = \"https/*:443:\", certificate = \"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd\" },",
    );
    let configuration = parse(&text, std::path::Path::new("/")).configuration;
    let of = |configuration: &Configuration, words: &str| {
        let known = Known {
            home: Home::Toml,
            configuration,
            records: &Records::default(),
            has_certificate: &|_| true,
        };
        plan(&request(words), &known)
    };
    let renewed = of(&configuration, "update sslcert ipport=0.0.0.0:443 CERT").unwrap();
    assert_eq!(short(&renewed), ["https/*:443: certificate=HASH"]);
    let deleted = of(&configuration, "delete sslcert ipport=0.0.0.0:443").unwrap();
    assert_eq!(short(&deleted), ["https/*:443: certificate=none"]);

    let text = text.replace("\"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd\" },", "\"none\" },");
    let without = parse(&text, std::path::Path::new("/")).configuration;
    for words in ["delete sslcert ipport=0.0.0.0:443", "update sslcert ipport=0.0.0.0:443 CERT"] {
        assert_eq!(of(&without, words).unwrap_err().number(), 2, "{words}");
    }
    let added = of(&without, "add sslcert ipport=0.0.0.0:443 CERT").unwrap();
    assert_eq!(short(&added), ["https/*:443: certificate=HASH"]);
}

#[test]
fn on_windows_own_home_all_of_it_is_a_record() {
    for words in
        ["add sslcert hostnameport=a.example:443 CERT reject=enable", "add sslcert ccs=443 CERT"]
    {
        let plan = planned(Home::Iis, words).unwrap();
        assert_eq!((plan.changes, plan.records), (vec![], vec![request(words)]));
    }
}

#[test]
fn a_record_is_told_what_of_it_means_nothing_there_too() {
    let add = |more: &str| format!("add sslcert hostnameport=a.example:443 CERT {more}");
    let notes = |more: &str| planned(Home::Iis, &add(more)).unwrap().notes;
    assert_eq!(notes("disablehttp2=enable verifyclientcertrevocation=disable"), [""; 0]);
    for (more, told) in [
        ("reject=enable", "stop the site"),
        ("clientcertnegotiation=enable", "client_ca, below [server]"),
        ("sslctlstorename=CA", "client_ca, below [server]"),
    ] {
        let notes = notes(more);
        assert!(notes.len() == 1 && notes[0].contains(told), "{more}: {notes:?}");
    }
    let none = add("disabletls12=enable disabletls13=enable");
    assert!(refused(Home::Iis, &none, 87).contains("both off"));
    // What the record says already counts.
    let records = Records::default().apply(&[request(&add("disabletls12=enable"))]).unwrap();
    let known = Known {
        home: Home::Iis,
        configuration: &configuration(),
        records: &records,
        has_certificate: &|_| true,
    };
    let rest = request("update sslcert hostnameport=a.example:443 disabletls13=enable");
    assert_eq!(plan(&rest, &known).unwrap_err().number(), 87);
}

#[test]
fn what_cannot_be_is_refused_and_what_means_nothing_is_said() {
    let none = "update sslcert hostnameport=a.example:443 disabletls12=enable disabletls13=enable";
    assert!(refused(Home::Toml, none, 87).contains("both off"));
    let asks = "update sslcert hostnameport=a.example:443 clientcertnegotiation=enable";
    assert!(refused(Home::Toml, asks, 87).contains("tls.client_ca of https/*:443:a.example"));
    let idle = "update sslcert hostnameport=a.example:443 disablequic=disable reject=enable \
                revocationfreshnesstime=5 verifyclientcertrevocation=disable";
    let plan = planned(Home::Toml, idle).unwrap();
    assert_eq!(plan.changes, []);
    assert_eq!(plan.notes.len(), 3, "{:?}", plan.notes);
}

#[test]
fn what_is_shown_without_being_named_can_be_taken_away() {
    check("delete sslcert hostnameport=a.example:443", &["https/*:443:a.example certificate=none"]);
}
