//! Certificate records that wait for a binding in `bindery.toml`, and who takes them up.

use std::fs;

use bindery_control::applier::{Applier, Refused, What};
use bindery_iis::netsh::records::{
    ApplicationId, Flag, Record, RecordChange, RecordError, RecordKey,
};
use bindery_model::change::{Act, Change, Fields, Place, Value};
use bindery_server::tls::keys::facts_of_der;
use bindery_testkit::ca::TestCa;

use crate::setup::{Setup, add, apply, ask, request};

const ON: &str = "https/*:8443:a.example";

/// A configuration with a certificate, and a record for [`ON`] that shows it.
fn setup() -> (Setup, Record) {
    let setup = Setup::new();
    let leaf = TestCa::new().leaf(&["a.example"]);
    drop(leaf.write(setup.folder.path(), "own"));
    let certificate = "\n[[certificate]]\nname = \"own\"\nfile = \"own.pem\"\n";
    setup.write(&(setup.text(&["a"]) + certificate));
    let key: RecordKey = "hostnameport=a.example:8443".parse().unwrap();
    let hash = Some(facts_of_der(&leaf.certificate_der).unwrap().thumbprint);
    let flags = [(Flag::DisableHttp2, true)].into_iter().collect();
    let record = Record { certificate_hash: hash, flags, ..Record::new(key, ApplicationId::IIS) };
    (setup, record)
}

fn at() -> Place {
    Place::Binding { site: "a".to_owned(), on: ON.to_owned() }
}

fn add_binding() -> Change {
    Change { at: at(), act: Act::Add(Fields::new()) }
}

async fn add_record(applier: &Applier, record: &Record) {
    let what = What::Records(vec![RecordChange::Add(record.clone())]);
    apply(applier, what).await.unwrap();
    assert_eq!(applier.current().records.len(), 1, "it waits");
}

#[tokio::test]
async fn the_next_binding_with_its_key_takes_a_record_up() {
    let (setup, record) = setup();
    let applier = setup.offline();
    add_record(&applier, &record).await;
    let before = setup.read();

    let mut tried = request(What::Changes(vec![add_binding()]));
    tried.dry_run = true;
    let would = ask(&applier, tried).await.unwrap();
    assert_eq!((setup.read(), applier.current().records.len()), (before.clone(), 1));

    let made = apply(&applier, What::Changes(vec![add_binding()])).await.unwrap();
    assert_eq!((made.revision, &made.difference), (3, &would.difference), "one change");
    let change = made.difference.0.iter().find(|one| one.at == at()).unwrap();
    let shown = serde_json::to_string(change).unwrap();
    let taken = setup.read();
    for said in [record.certificate_hash.map(hex).unwrap().as_str(), "http2"] {
        assert!(shown.contains(said) && taken.contains(said), "{said}: {shown}\n{taken}");
    }
    assert!(applier.current().records.is_empty());
    assert!(
        !fs::read_to_string(setup.folder.path().join("state/sslcert.json"))
            .unwrap()
            .contains("a.example")
    );

    apply(&applier, What::Undo(2)).await.unwrap();
    assert_eq!((setup.read(), applier.current().records.len()), (before, 1), "both come back");
    // A whole text is a door too.
    let text = setup.read().replace("bindings = [", &format!("bindings = [\"{ON}\", "));
    apply(&applier, What::Text(text)).await.unwrap();
    assert!(setup.read().contains(&record.certificate_hash.map(hex).unwrap()), "{}", setup.read());
    assert!(applier.current().records.is_empty());
}

#[tokio::test]
async fn a_record_and_its_binding_can_come_together() {
    let (setup, record) = setup();
    let applier = setup.offline();
    let what = What::Both(vec![add_binding()], vec![RecordChange::Add(record.clone())]);
    apply(&applier, what).await.unwrap();
    assert!(setup.read().contains(&record.certificate_hash.map(hex).unwrap()), "{}", setup.read());
    assert!(applier.current().records.is_empty());
}

#[tokio::test]
async fn what_the_binding_says_itself_counts() {
    let (setup, record) = setup();
    let applier = setup.offline();
    add_record(&applier, &record).await;
    let fields = Fields::from([("certificate".to_owned(), Value::Text("own".to_owned()))]);
    let what = What::Changes(vec![Change { at: at(), act: Act::Add(fields) }]);
    apply(&applier, what).await.unwrap();
    assert!(setup.read().contains("certificate = \"own\""), "{}", setup.read());
    assert!(!setup.read().contains("http2"), "{}", setup.read());
    assert!(applier.current().records.is_empty());
}

#[tokio::test]
async fn a_file_that_is_edited_is_not_edited_back() {
    let (setup, record) = setup();
    let applier = setup.offline();
    add_record(&applier, &record).await;
    let text = setup.read().replace("bindings = [", &format!("bindings = [\"{ON}\", "));
    setup.write(&text);
    apply(&applier, What::Reload).await.unwrap();
    assert_eq!((setup.read(), applier.current().records.len()), (text.clone(), 1));
    // Nor with the next change of something else.
    apply(&applier, What::Changes(vec![add("b", setup.port)])).await.unwrap();
    assert!(setup.read().starts_with(text.split("[[certificate]]").next().unwrap()));
    assert_eq!(applier.current().records.len(), 1);
}

#[tokio::test]
async fn a_binding_that_cannot_do_what_its_record_says_is_refused() {
    let (setup, mut record) = setup();
    record.flags = [(Flag::NegotiateClientCertificate, true)].into_iter().collect();
    let applier = setup.offline();
    add_record(&applier, &record).await;
    let before = setup.read();
    let refused = apply(&applier, What::Changes(vec![add_binding()])).await.unwrap_err();
    assert!(matches!(refused, Refused::Records(_)), "{refused}");
    assert!(refused.to_string().contains("tls.client_ca"), "{refused}");
    assert_eq!((setup.read(), applier.current().records.len()), (before, 1));
}

#[tokio::test]
async fn a_record_for_a_binding_that_names_its_certificate_is_a_conflict() {
    let (setup, record) = setup();
    let fields = Fields::from([("certificate".to_owned(), Value::Text("own".to_owned()))]);
    let bound = Change { at: at(), act: Act::Add(fields) };
    let applier = setup.offline();
    let add = || RecordChange::Add(record.clone());
    // Together, and one after the other.
    let both = What::Both(vec![bound.clone()], vec![add()]);
    apply(&applier, What::Changes(vec![bound.clone()])).await.unwrap();
    let before = setup.read();
    for what in [What::Records(vec![add()]), What::Both(Vec::new(), vec![add()])] {
        let refused = apply(&applier, what).await.unwrap_err();
        assert!(matches!(refused, Refused::Records(RecordError::Exists(_))), "{refused}");
        assert_eq!((setup.read(), applier.current().records.len()), (before.clone(), 0));
    }
    apply(&applier, What::Undo(1)).await.unwrap();
    let refused = apply(&applier, both).await.unwrap_err();
    assert!(matches!(refused, Refused::Records(RecordError::Exists(_))), "{refused}");
    // A record that is there is the binding's: it changes and goes with it.
    apply(&applier, What::Changes(vec![bound])).await.unwrap();
    let delete = What::Records(vec![RecordChange::Delete(record.key.clone())]);
    apply(&applier, delete.clone()).await.unwrap();
    assert!(setup.read().contains("certificate = \"none\""), "{}", setup.read());
    let gone = apply(&applier, delete).await.unwrap_err();
    assert!(matches!(gone, Refused::Records(RecordError::NotFound(_))), "{gone}");
    apply(&applier, What::Records(vec![add()])).await.unwrap();
    assert!(setup.read().contains(&record.certificate_hash.map(hex).unwrap()), "{}", setup.read());
}

fn hex(hash: [u8; 20]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
