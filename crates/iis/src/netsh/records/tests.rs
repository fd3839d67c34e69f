//! Keys, changes and the stored form.

use bindery_model::binding::Endpoint;
use proptest::prelude::*;

use super::*;

fn key(text: &str) -> RecordKey {
    text.parse().unwrap()
}

fn record(text: &str, hash: u8) -> Record {
    Record { certificate_hash: Some([hash; 20]), ..Record::new(key(text), ApplicationId::IIS) }
}

#[track_caller]
fn check_key(text: &str, expected: Option<&str>) {
    let key = text.parse::<RecordKey>().ok();
    assert_eq!(key.map(String::from).as_deref(), expected, "{text}");
}

#[test]
fn a_key_is_read_as_netsh_takes_it_and_printed_as_it_shows_it() {
    check_key("ipport=0.0.0.0:443", Some("ipport=0.0.0.0:443"));
    check_key("IPPORT=[::]:443", Some("ipport=0.0.0.0:443"));
    check_key("ipport=[2001:DB8::1]:443", Some("ipport=[2001:db8::1]:443"));
    check_key("hostnameport=Shop.Example.:443", Some("hostnameport=shop.example:443"));
    check_key("hostnameport=*.a.example:443", Some("hostnameport=*.a.example:443"));
    check_key("ccs=443", Some("ccs=443"));
    for wrong in [
        "",
        "ipport",
        "ipport=*:443",
        "ipport=1.2.3.4",
        "ipport=1.2.3.4:0",
        "ipport=a.example:443",
        "hostnameport=:443",
        "hostnameport=1.2.3.4:443",
        "hostnameport=a.example",
        "hostnameport=*:443",
        "hostnameport=1.2.3.4:443:",
        "ccs=0",
        "ccs=+1",
        "x=1",
    ] {
        check_key(wrong, None);
    }
}

#[test]
fn a_name_can_be_scoped_to_an_address() {
    check_key(
        "hostnameport=192.0.2.10:443:a.example",
        Some("hostnameport=192.0.2.10:443:a.example"),
    );
    check_key("hostnameport=[::1]:443:*.a.example", Some("hostnameport=[::1]:443:*.a.example"));
    check_key("hostnameport=0.0.0.0:443:a.example", Some("hostnameport=a.example:443"));
}

#[test]
fn a_binding_takes_its_certificate_by_its_flags() {
    let host = "a.example".parse().unwrap();
    let at = |address: &str, flags| {
        let endpoint = Endpoint { address: address.parse().ok(), port: 443 };
        let keys = RecordKey::candidates(&host, endpoint, flags);
        keys.into_iter().map(String::from).collect::<Vec<_>>()
    };
    assert_eq!(at("*", 0), ["ipport=0.0.0.0:443"]);
    assert_eq!(at("192.0.2.1", 4), ["ipport=192.0.2.1:443", "ipport=0.0.0.0:443"]);
    assert_eq!(at("*", 1), ["hostnameport=a.example:443"]);
    assert_eq!(
        at("192.0.2.1", 5),
        ["hostnameport=192.0.2.1:443:a.example", "hostnameport=a.example:443"]
    );
    assert_eq!(at("192.0.2.1", 3), ["ccs=443"]);
}

#[test]
fn changes_are_made_all_or_none() {
    let records = Records::default();
    let add = |text, hash| RecordChange::Add(record(text, hash));
    let two = records.apply(&[add("hostnameport=a:443", 1), add("ipport=0.0.0.0:443", 2)]).unwrap();
    let keys: Vec<_> = two.iter().map(|record| record.key.to_string()).collect();
    assert_eq!(keys, ["0.0.0.0:443", "a:443"], "addresses come first");

    let error = two.apply(&[add("ccs=1", 0), add("ipport=0.0.0.0:443", 3)]).unwrap_err();
    assert_eq!((error.number(), &error), (183, &RecordError::Exists(key("ipport=0.0.0.0:443"))));

    let settings = Settings {
        certificate_hash: Some([9; 20]),
        flags: [(Flag::DisableHttp2, true)].into_iter().collect(),
        ..Settings::default()
    };
    let update = |text| RecordChange::Update { key: key(text), settings: settings.clone() };
    let updated = two.apply(&[update("hostnameport=a:443")]).unwrap();
    let found = updated.find(&key("hostnameport=a:443")).unwrap();
    assert_eq!(found.certificate_hash, Some([9; 20]));
    assert!(found.flags.is(Flag::DisableHttp2) && found.flags.is(Flag::UsageCheck));
    assert_eq!(updated.find(&key("ipport=0.0.0.0:443")), two.find(&key("ipport=0.0.0.0:443")));

    assert_eq!(two.apply(&[update("ccs=443")]).unwrap_err().number(), 2);
    let delete = |text| RecordChange::Delete(key(text));
    assert_eq!(two.apply(&[delete("ccs=443")]).unwrap_err().number(), 2);
    let none = two.apply(&[delete("hostnameport=a:443"), delete("ipport=0.0.0.0:443")]).unwrap();
    assert!(none.is_empty());
}

#[test]
fn only_the_central_store_needs_no_certificate() {
    let without = |text| RecordChange::Add(Record::new(key(text), ApplicationId::IIS));
    assert_eq!(Records::default().apply(&[without("ipport=1.2.3.4:1")]).unwrap_err().number(), 87);
    assert_eq!(Records::default().apply(&[without("ccs=443")]).unwrap().len(), 1);
}

#[test]
fn the_stored_form_can_be_read_and_has_room() {
    let mut one = record("hostnameport=a:443", 1);
    one.store_name = Some("WebHosting".to_owned());
    one.revocation_freshness_seconds = 5;
    one.flags.say(Flag::UsageCheck, false);
    let records: Records = [one, record("ccs=443", 0)].into_iter().collect();
    let text = serde_json::to_string(&records).unwrap();
    assert_eq!(serde_json::from_str::<Records>(&text).unwrap(), records, "{text}");

    let hash = "01".repeat(20);
    let id = ApplicationId::IIS;
    let later = format!(
        r#"{{"version": 1, "by": "x", "records": [{{"key": "ipport=[::]:443",
            "certificate_hash": "{hash}", "application_id": "{id}", "more": [],
            "flags": {{"usagecheck": false, "enablewarp": true}}}}]}}"#
    );
    let read: Records = serde_json::from_str(&later).unwrap();
    let found = read.find(&key("ipport=0.0.0.0:443")).unwrap();
    assert_eq!(found.flags.iter().collect::<Vec<_>>(), [(Flag::UsageCheck, false)]);

    for (wrong, why) in [
        (r#"{"version": 2}"#.to_owned(), "later than 1"),
        (later.replace(&hash, "zz"), "40 hex digits"),
        (later.replace("ipport=[::]:443", "x"), "is not ipport="),
        (later.replace("\"certificate_hash\"", "\"hash\""), "it names no certificate"),
        (later.replace(['{', '}'], ""), ""),
    ] {
        let error = serde_json::from_str::<Records>(&wrong).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn every_flag_stands_where_it_is_looked_for() {
    for (place, facts) in FLAGS.iter().enumerate() {
        assert_eq!(facts.flag as usize, place);
        assert_eq!(Flag::by_tag(facts.tag), Some(facts.flag));
    }
}

#[test]
fn a_guid_is_one_in_braces() {
    let text = "{4DC3E181-E14B-4A21-B022-59FC669B0914}";
    assert_eq!(text.parse(), Ok(ApplicationId::IIS));
    assert_eq!(ApplicationId::IIS.to_string(), text.to_lowercase());
    for wrong in [
        "",
        "{}",
        "4dc3e181-e14b-4a21-b022-59fc669b0914",
        "{4dc3e181e14b4a21b02259fc669b0914}",
        "{+dc3e181-e14b-4a21-b022-59fc669b0914}",
    ] {
        assert!(wrong.parse::<ApplicationId>().is_err(), "{wrong}");
    }
}

proptest! {
    #[test]
    fn any_key_is_refused_or_prints_back(
        text in "\\PC{0,40}|(ipport|hostnameport|ccs)=[0-9a-f:.*\\[\\]]{0,30}"
    ) {
        if let Ok(key) = text.parse::<RecordKey>() {
            prop_assert_eq!(String::from(key.clone()).parse(), Ok(key));
        }
    }
}
