//! What is taken, and what is not.

use proptest::prelude::*;

use super::*;

const HASH: &str = "abababababababababababababababababababab";
const ID: &str = "{4dc3e181-e14b-4a21-b022-59fc669b0914}";

fn ask(text: &str) -> Result<Request, GrammarError> {
    parse(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
}

#[track_caller]
fn shows(text: &str, key: Option<&str>, as_json: bool) {
    let Request::ShowSslcert { which, json } = ask(text).unwrap() else { panic!("{text}") };
    let which = match which {
        Which::All => None,
        Which::One(key) => Some(key.to_string()),
        Which::ScopedCentralStore => Some("scoped".to_owned()),
    };
    assert_eq!((which.as_deref(), json), (key, as_json), "{text}");
}

#[track_caller]
fn refused(text: &str, message: &str) {
    assert_eq!(ask(text).unwrap_err().to_string(), message, "{text}");
}

#[track_caller]
fn adds(text: &str) -> Record {
    match ask(text) {
        Ok(Request::Sslcert(RecordChange::Add(record))) => record,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn records_are_asked_for_as_netsh_takes_it() {
    shows("http show sslcert", None, false);
    shows("HTTP Show SSLCert", None, false);
    shows("http sh ssl", None, false);
    shows("http show sslcert json=enable", None, true);
    shows("http show sslcert ipport=0.0.0.0:443", Some("0.0.0.0:443"), false);
    shows("http show sslcert 192.0.2.10:443", Some("192.0.2.10:443"), false);
    shows("http show sslcert ipport=[::]:443", Some("0.0.0.0:443"), false);
    shows("http show sslcert ip=[2001:DB8::1]:443", Some("[2001:db8::1]:443"), false);
    shows("http show sslcert hostnameport=Shop.Example:443", Some("shop.example:443"), false);
    shows("http show sslcert HOSTNAMEPORT=*.a.example:443", Some("*.a.example:443"), false);
    shows("http show sslcert ccs=443 json=enable", Some("443"), true);
    shows("http show sslcert scopedccs=a.example:443", Some("scoped"), false);
}

#[test]
fn a_record_is_added_with_all_its_tags() {
    let record = adds(&format!(
        "http add sslcert hostnameport=a.example:443 certhash={HASH} appid={ID} \
         certstorename=WebHosting verifyclientcertrevocation=disable \
         verifyrevocationwithcachedclientcertonly=enable usagecheck=no \
         revocationfreshnesstime=5 urlretrievaltimeout=6 sslctlidentifier=i sslctlstorename=s \
         dsmapperusage=enable clientcertnegotiation=YES reject=disable disablehttp2=enable \
         disablequic=enable disablelegacytls=enable disabletls12=disable disabletls13=disable \
         disableocspstapling=enable enabletokenbinding=enable logextendedevents=enable \
         enablesessionticket=enable disablesessionid=enable"
    ));
    assert_eq!(record.key.to_string(), "a.example:443");
    assert_eq!(record.certificate_hash, Some([0xab; 20]));
    assert_eq!(record.store_name.as_deref(), Some("WebHosting"));
    assert_eq!((record.revocation_freshness_seconds, record.url_retrieval_milliseconds), (5, 6));
    assert_eq!(
        (record.ctl_identifier.as_deref(), record.ctl_store_name.as_deref()),
        (Some("i"), Some("s"))
    );
    let off: Vec<_> = record.flags.iter().filter(|(_, on)| !on).map(|(flag, _)| flag).collect();
    let expected = [
        Flag::VerifyRevocation,
        Flag::UsageCheck,
        Flag::Reject,
        Flag::DisableTls12,
        Flag::DisableTls13,
    ];
    assert_eq!(off, expected);
    assert_eq!(record.flags.iter().count(), 16);
}

#[test]
fn tags_can_be_short_and_the_first_three_be_left_out() {
    let long = adds(&format!("http add sslcert ipport=0.0.0.0:443 certhash={HASH} appid={ID}"));
    assert_eq!(adds(&format!("http add sslcert 0.0.0.0:443 {HASH} {ID}")), long);
    assert_eq!(adds(&format!("http ad ssl ipp=0.0.0.0:443 certh={HASH} app={ID}")), long);
    refused(
        &format!("http add sslcert 0.0.0.0:443 cert={HASH} {ID}"),
        "cert is not a valid argument for this command.",
    );
    let mark = format!("certhash=\u{200e}{HASH}");
    assert_eq!(adds(&format!("http add sslcert 0.0.0.0:443 {mark} appid={ID}")), long);
}

#[test]
fn the_central_store_needs_no_certificate_but_an_application() {
    assert_eq!(adds(&format!("http add sslcert ccs=443 appid={ID}")).certificate_hash, None);
    refused(
        "http add sslcert ccs=443",
        "One or more essential parameters were not entered: appid is missing.",
    );
    refused(
        &format!("http add sslcert ipport=0.0.0.0:443 appid={ID}"),
        "One or more essential parameters were not entered: certhash is missing.",
    );
    refused(
        &format!("http add sslcert certhash={HASH} appid={ID}"),
        "One or more essential parameters were not entered: ipport, hostnameport or ccs is \
         missing.",
    );
}

#[test]
fn an_update_says_only_what_is_given_and_a_delete_only_which() {
    let update = ask("http update sslcert ccs=443 disablehttp2=enable").unwrap();
    let Request::Sslcert(RecordChange::Update { key, settings }) = update else { panic!() };
    assert_eq!(String::from(key), "ccs=443");
    let flags = [(Flag::DisableHttp2, true)].into_iter().collect();
    assert_eq!(settings, Settings { flags, ..Settings::default() });
    refused(
        "http update sslcert ccs=443",
        "One or more essential parameters were not entered: what is to be updated is missing.",
    );
    let delete = ask("http delete sslcert hostnameport=192.0.2.1:443:a.example").unwrap();
    let Request::Sslcert(RecordChange::Delete(key)) = delete else { panic!() };
    assert_eq!(key.to_string(), "192.0.2.1:443:a.example");
    refused(
        "http delete sslcert ccs=443 reject=enable",
        "reject is not a valid argument for this command.",
    );
}

#[test]
fn a_file_can_say_what_is_added() {
    let file = "a.json".to_owned();
    let asked = ask("http add sslcert json=a.json").unwrap();
    assert_eq!(asked, Request::SslcertFile { verb: Verb::Add, file });
}

#[test]
fn what_else_there_is() {
    assert_eq!(ask("http show urlacl"), Ok(Request::ShowUrlacl));
    assert_eq!(ask("http show urlacl url=http://+:80/"), Ok(Request::ShowUrlacl));
    assert_eq!(ask("http show service view=session verbose=no"), Ok(Request::ShowServicestate));
    assert_eq!(ask("http show ipl"), Ok(Request::ShowIplisten));
}

#[test]
fn everything_else_is_told_apart() {
    for text in ["", "http", "http /?", "http add sslcert -?", "HTTP HELP", "http sh ?"] {
        assert_eq!(ask(text), Ok(Request::Help), "{text}");
    }
    for text in [
        "http show",
        "http show cachestate",
        "http add urlacl",
        "http flush logbuffer",
        "interface show x",
        "h show sslcert",
    ] {
        assert_eq!(ask(text), Err(GrammarError::UnknownCommand(text.to_owned())));
    }
    refused("http show sslcert colour=1", "colour is not a valid argument for this command.");
    refused("http show sslcert ipport=*:443", "The parameter is incorrect: ipport=*:443.");
    refused(
        "http show sslcert hostnameport=:443",
        "The parameter is incorrect: hostnameport=:443.",
    );
    for (tag, value, help) in [
        ("certhash", "ab-cd", "40 hexadecimal digits"),
        ("appid", "x", "in braces"),
        ("ipport", "localhost:443", "0.0.0.0:443"),
        ("hostnameport", "*:443", "ipport="),
        ("disablehttp2", "maybe", "enable or disable"),
        ("urlretrievaltimeout", "soon", "number"),
    ] {
        let error = ask(&format!("http add sslcert {tag}={value}")).unwrap_err();
        let said = error.help().unwrap_or_default();
        assert!(said.contains(help), "{tag}: {said}");
    }
    assert_eq!(GrammarError::TwoKeys.help(), None);
    refused("http show sslcert ccs=0", "The parameter is incorrect: ccs=0.");
    refused("http show sslcert ccs=1 ccs=2", "The parameter is incorrect: ccs is given twice.");
    assert_eq!(ask("http show sslcert ccs=1 ipport=1.2.3.4:1"), Err(GrammarError::TwoKeys));
    for wrong in ["certhash=ab", "appid=4dc3e181", "reject=maybe", "revocationfreshnesstime=-1"] {
        refused(
            &format!("http add sslcert ipport=1.2.3.4:443 {wrong}"),
            &format!("The parameter is incorrect: {wrong}."),
        );
    }
}

proptest! {
    #[test]
    fn any_words_are_read_or_refused(
        words in proptest::collection::vec("\\PC{0,20}|[a-z0-9]{0,12}=[0-9a-z:.]{0,20}", 0..6),
        verb in "show|add|update|delete",
    ) {
        drop(parse(&words));
        let command = ["http".to_owned(), verb, "sslcert".to_owned()];
        if let Ok(Request::Sslcert(change)) = parse(&command.into_iter().chain(words).collect::<Vec<_>>()) {
            let text = serde_json::to_string(&change).unwrap();
            prop_assert_eq!(serde_json::from_str::<RecordChange>(&text).unwrap(), change);
        }
    }
}
