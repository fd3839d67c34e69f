//! Certificate records that wait for a binding in `bindery.toml`, and who takes them up.

use std::fs;

use bindery_control::applier::{Applier, Event, Refused, What};
use bindery_iis::netsh::records::{
    ApplicationId, Flag, Record, RecordChange, RecordError, RecordKey, Settings,
};
use bindery_model::change::{Act, Change, Difference, Fields, Place, Value};
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
async fn a_change_to_records_alone_is_told_by_its_difference_and_in_the_history() {
    let (setup, mut record) = setup();
    record.store_name = Some("MY".to_owned());
    let applier = setup.offline();
    let mut events = applier.events();
    let at = Place::Record(record.key.clone());
    let said = |difference: &Difference| {
        let [entry] = difference.0.as_slice() else { panic!("{difference}") };
        assert_eq!(entry.at, at);
        difference.to_string()
    };

    let add = What::Records(vec![RecordChange::Add(record.clone())]);
    let mut tried = request(add.clone());
    tried.dry_run = true;
    let would = ask(&applier, tried).await.unwrap();
    let added = apply(&applier, add).await.unwrap();
    assert_eq!(would.difference, added.difference);
    let text = said(&added.difference);
    let hash = record.certificate_hash.map(hex).unwrap();
    for part in ["+ record a.example:8443\n", hash.as_str(), "store_name = \"MY\"", "disablehttp2"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let settings = Settings { store_name: Some("WebHosting".to_owned()), ..Settings::default() };
    let update = RecordChange::Update { key: record.key.clone(), settings };
    let updated = apply(&applier, What::Records(vec![update])).await.unwrap();
    assert_eq!(
        said(&updated.difference),
        "~ record a.example:8443\n    store_name: \"MY\" -> \"WebHosting\"\n"
    );
    let delete = What::Records(vec![RecordChange::Delete(record.key.clone())]);
    let deleted = apply(&applier, delete).await.unwrap();
    assert!(said(&deleted.difference).starts_with("- record a.example:8443\n"));
    let undone = apply(&applier, What::Undo(2)).await.unwrap();
    assert_eq!(undone.difference, added.difference);

    let made = [undone, deleted, updated, added].map(|outcome| outcome.difference);
    let history = applier.history(None, 4).unwrap();
    let told: Vec<_> = history.into_iter().map(|record| record.difference).collect();
    assert_eq!(told, made);
    for (revision, difference) in (2..).zip(made.iter().rev()) {
        assert_eq!(applier.difference(revision - 1, revision).unwrap(), *difference);
        let Event::Changed(record) = events.recv().await.unwrap() else { panic!("{revision}") };
        assert_eq!(record.difference, *difference);
    }
    // It tells; records are changed by changes to records.
    let add = Change { at, act: Act::Remove };
    let refused = apply(&applier, What::Changes(vec![add])).await.unwrap_err();
    assert!(refused.to_string().contains("bindery.toml has no place"), "{refused}");
    assert!(refused.help().unwrap().contains("netsh http add sslcert"), "{refused}");
}

#[tokio::test]
async fn what_changed_records_while_nobody_was_there_is_told_at_the_start() {
    let (setup, record) = setup();
    add_record(&setup.offline(), &record).await;
    fs::remove_file(setup.folder.path().join("state/sslcert.json")).unwrap();
    let history = setup.offline().history(None, 1).unwrap();
    let told = history.first().unwrap().difference.to_string();
    assert!(told.starts_with("- record a.example:8443\n"), "{told}");
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
