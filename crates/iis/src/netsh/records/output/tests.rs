//! Tables of all ages and languages, and what is left of them.

use proptest::prelude::*;

use super::*;
use crate::netsh::sslcert::{Table, table};

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const ID: &str = "{4dc3e181-e14b-4a21-b022-59fc669b0914}";

/// The keys that were read with the first digits of their hashes and what was said of them.
#[track_caller]
fn check(text: &str, expected: &[&str], unread: &[&str]) {
    let (records, left) = parse_output(text);
    let told = records.iter().map(|record| {
        let hash = record
            .certificate_hash
            .map_or_else(|| "-".to_owned(), |hash| format!("{:x}", hash[0] & 15));
        let flags = record.flags.iter().map(|(flag, on)| format!(" {}={on}", flag.tag()));
        format!("{} {hash}{}", String::from(record.key.clone()), flags.collect::<String>())
    });
    assert_eq!(told.collect::<Vec<_>>(), expected);
    let left: Vec<_> = left.iter().map(|own| format!("{}: {}", own.line, own.why)).collect();
    assert_eq!(left.len(), unread.len(), "{left:#?}");
    for (own, part) in left.iter().zip(unread) {
        assert!(own.starts_with(part), "{own}, not {part}");
    }
}

fn lines(pairs: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (label, value) in pairs {
        let width = 29usize.saturating_sub(label.chars().count());
        text.push_str(&format!("    {label}{}: {value}\n", " ".repeat(width.max(1))));
    }
    text.push('\n');
    text
}

#[test]
fn the_oldest_table_ends_where_it_ends() {
    let text = format!(
        "\nSSL Certificate bindings: \n------------------------- \n\n{}{}",
        lines(&[
            ("IP:port", "0.0.0.0:443"),
            ("Certificate Hash", A),
            ("Application ID", ID),
            ("Certificate Store Name", "MY"),
            ("Verify Client Certificate Revocation", "Enabled"),
            ("Verify Revocation Using Cached Client Certificate Only", "Disabled"),
            ("Usage Check", "Enabled"),
            ("Revocation Freshness Time", "0"),
            ("URL Retrieval Timeout", "0"),
            ("Ctl Identifier", ""),
            ("Ctl Store Name", "(null)"),
            ("DS Mapper Usage", "Disabled"),
            ("Negotiate Client Certificate", "Enabled"),
        ]),
        lines(&[("IP:port", "[::1]:8443"), ("Certificate Hash", B), ("Application ID", ID)]),
    );
    check(&text, &["ipport=0.0.0.0:443 a clientcertnegotiation=true", "ipport=[::1]:8443 b"], &[]);
}

/// Server 2025 in German, as far as its shape matters.
fn german() -> String {
    let checks = |usage| {
        [
            ("Clientzertifikatsperrung überprüfen", "Aktiviert"),
            ("Sperrung nur mit zwischengespeichertem Clientzertifikat überprüfen", "Deaktiviert"),
            ("Verwendungsüberprüfung", usage),
            ("Sperraktualisierungszeit", "0"),
            ("Zeitlimit für URL-Abruf", "5000"),
            ("Steuerelement-ID", "(null)"),
            ("Steuerelement-Speichername", "(null)"),
            ("DS-Zuordnungsverwendung", "Deaktiviert"),
            ("Clientzertifikat aushandeln", "Deaktiviert"),
            ("Verbindungen ablehnen", "Deaktiviert"),
        ]
    };
    let bits = [
        ("HTTP2 deaktivieren", "Festgelegt"),
        ("QUIC deaktivieren", "Nicht festgelegt"),
        ("TLS1.2 deaktivieren", "Nicht festgelegt"),
        ("TLS1.3 deaktivieren", "Nicht festgelegt"),
        ("OCSP-Stapling deaktivieren", "Nicht festgelegt"),
        ("Tokenbindung aktivieren", "Nicht festgelegt"),
        ("Erweiterte Ereignisse protokollieren", "Nicht festgelegt"),
        ("Ältere TLS-Versionen deaktivieren", "Festgelegt"),
    ];
    let head = |key, value, hash| {
        [
            (key, value),
            ("Zertifikathash", hash),
            ("Anwendungs-ID", ID),
            ("Name des Zertifikatspeichers", "My"),
        ]
    };
    let further = " Erweiterte Eigenschaften:\n    Eigenschafts-ID              : 0\n    \
                   Empfangsfenster              : 1048576\n Erweiterte Eigenschaften:\n    \
                   Eigenschafts-ID              : 443\n\n";
    let one = [&head("IP:Port", "192.0.2.1:443", A)[..], &checks("Aktiviert"), &bits].concat();
    let two =
        [&head("Hostname:Port", "b.example:443", B)[..], &checks("Deaktiviert"), &bits].concat();
    format!(
        "\u{feff}\r\nSSL-Zertifikatbindungen:\r\n------------------------\r\n\r\n{}{further}{}{further}",
        lines(&one).trim_end_matches('\n').to_owned() + "\n",
        lines(&two).trim_end_matches('\n').to_owned() + "\n",
    )
}

#[test]
fn a_german_table_is_read_by_its_shape() {
    let both = "disablehttp2=true disablelegacytls=true";
    check(
        &german(),
        &[
            &format!("ipport=192.0.2.1:443 a {both}"),
            &format!("hostnameport=b.example:443 b usagecheck=false {both}"),
        ],
        &[],
    );
    let (records, _) = parse_output(&german());
    let first = records.iter().next().unwrap();
    assert_eq!((first.url_retrieval_milliseconds, first.store_name.as_deref()), (5000, Some("My")));
    assert_eq!(first.application_id, ApplicationId::IIS);
}

#[test]
fn a_table_without_blank_lines_is_the_same_one() {
    let text: String = german()
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| format!("{}\n", line.trim()))
        .collect();
    let (records, left) = parse_output(&text);
    assert_eq!((records, left), (parse_output(&german()).0, Vec::new()));
}

/// Japanese has wide colons in some texts and words that deny by one sign.
#[test]
fn a_japanese_table_is_read_by_its_shape() {
    let text = format!(
        "\nSSL 証明書のバインド:\n---------------------\n\n{}",
        lines(&[
            ("ホスト名:ポート", "a.example:443"),
            ("証明書ハッシュ", A),
            ("アプリケーション ID", ID),
            ("証明書ストア名", "WebHosting"),
            ("クライアント証明書の失効の検証", "有効"),
            ("キャッシュされたクライアント証明書のみを使用した失効の検証", "無効"),
            ("使用法の確認", "有効"),
            ("失効の最新状態の期間", "0"),
            ("URL 取得タイムアウト", "0"),
            ("Ctl 識別子", "(null)"),
            ("Ctl ストア名", "(null)"),
            ("DS マッパーの使用", "無効"),
            ("クライアント証明書のネゴシエーション", "有効"),
            ("接続の拒否", "無効"),
            ("HTTP2 を無効にする", "未設定"),
            ("TLS1.3 を無効にする", "設定"),
            ("OCSP ステープリングを無効にする", "未設定"),
        ])
    );
    let expected = "hostnameport=a.example:443 a clientcertnegotiation=true disabletls13=true";
    check(&text, &[expected], &[]);
    check(&text.replace(" : ", "： ").replace(": ", "： "), &[expected], &[]);
}

#[test]
fn words_that_cannot_be_told_are_named() {
    let text = lines(&[
        ("x", "0.0.0.0:443"),
        ("x", A),
        ("x", ID),
        ("x", "MY"),
        ("x", "oui"),
        ("x", "oui"),
        ("x", "oui"),
    ]);
    check(&text, &["ipport=0.0.0.0:443 a"], &["5: whether \"oui\"", "6: ", "7: "]);
}

#[test]
fn all_three_kinds_of_keys_are_told_apart() {
    let null = "(null)";
    let text = [
        lines(&[("Central Certificate Store", "443"), ("Certificate Hash", null), ("i", ID)]),
        lines(&[("Hostname:port", "*:8443"), ("Certificate Hash", null), ("i", ID)]),
        lines(&[("Hostname:port", "*.a.example:443"), ("Certificate Hash", A), ("i", ID)]),
        lines(&[("Hostname:port", "192.0.2.1:443:a.example"), ("Certificate Hash", B), ("i", ID)]),
    ]
    .concat();
    let expected = [
        "hostnameport=192.0.2.1:443:a.example b",
        "hostnameport=*.a.example:443 a",
        "ccs=443 -",
        "ccs=8443 -",
    ];
    check(&text, &expected, &[]);
}

#[test]
fn a_list_that_is_named_like_a_hash_begins_no_record() {
    let ctl = lines(&[
        ("Central Certificate Store", "5"),
        ("Certificate Hash", "(null)"),
        ("Application ID", ID),
        ("URL Retrieval Timeout", "4"),
        ("Ctl Identifier", A),
        ("Ctl Store Name", ID),
    ]);
    check(&ctl, &["ccs=5 -"], &[]);
}

#[test]
fn both_wildcard_addresses_are_one_record() {
    let one = |key, hash| lines(&[("IP:port", key), ("Certificate Hash", hash), ("i", ID)]);
    check(&[one("0.0.0.0:443", A), one("[::]:443", A)].concat(), &["ipport=0.0.0.0:443 a"], &[]);
    check(
        &[one("0.0.0.0:443", A), one("[::]:443", B)].concat(),
        &["ipport=0.0.0.0:443 a"],
        &["5: 0.0.0.0:443 has a record already"],
    );
}

#[test]
fn what_is_cut_off_or_damaged_is_named_by_its_line() {
    check(
        "    IP:port                      : 0.0.0.0:443\n    Certificate Hash             : aaaa",
        &[],
        &["1: certificate record for 0.0.0.0:443: it names no", "2: \"aaaa\" is no 40 hex"],
    );
    check("    IP:port                      : 0.0.0.0:4", &[], &["1: "]);
    check("Access is denied.\n", &[], &["1: \"Access is denied.\" is no line"]);
    check("a : b\n", &[], &["1: \"b\" is no key"]);
    let text = lines(&[
        ("k", "1.2.3.4:5"),
        ("h", A),
        ("i", "{x}"),
        ("s", "MY"),
        ("v", "Enabled"),
        ("v", "Disabled"),
        ("v", "Enabled"),
        ("f", "soon"),
    ]);
    check(&text, &["ipport=1.2.3.4:5 a"], &["3: \"{x}\" is no GUID", "8: \"soon\" is no number"]);
    check("", &[], &[]);
}

#[test]
fn json_is_read_by_its_names() {
    let ours = parse_output(&german()).0;
    let printed = serde_json::to_string(&ours.iter().collect::<Table<'_>>()).unwrap();
    assert_eq!(parse_output(&printed), (ours.clone(), Vec::new()));
    let stored = serde_json::to_string(&ours).unwrap();
    assert_eq!(parse_output(&stored), (ours, Vec::new()));
    let other = format!(
        r#"[{{"HostnamePort": "a:1", "CertHash": "{A}", "more": {{"reject": true, "x": 1}}}}, {{"ccs": 0}}]"#
    );
    check(&other, &["hostnameport=a:1 a reject=true"], &["1: ccs is \"0\""]);
    check("{\n1", &[], &["2: "]);
    check("[\n", &[], &["1: "]);
    check("{}", &[], &["1: there is no record"]);
}

#[test]
fn a_file_of_changes_is_all_or_nothing() {
    use super::super::{RecordChange, changes_of_json};
    use crate::netsh::grammar::Verb;
    let text = format!(r#"{{"ipport": "0.0.0.0:443", "certhash": "{A}", "appid": "{ID}"}}"#);
    let changes = changes_of_json(Verb::Add, &text).unwrap();
    assert!(
        matches!(changes.as_slice(), [RecordChange::Add(record)] if record.certificate_hash == Some([0xaa; 20]))
    );
    for (wrong, why) in [
        (text.replace(A, "a"), "certhash is \"a\""),
        (text.replace("appid", "x"), "appid is missing"),
        ("[]".to_owned(), "no object in it"),
        ("[".to_owned(), "EOF"),
    ] {
        let error = changes_of_json(Verb::Add, &wrong).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
}

fn any_record() -> impl Strategy<Value = Record> {
    let key = "ipport=192\\.0\\.2\\.[0-9]:[1-9]{1,4}|hostnameport=(\\*\\.)?[a-z]{1,9}:[1-9]{1,4}|ccs=[1-9]{1,4}";
    let flags = proptest::collection::vec(any::<bool>(), 17);
    let numbers = any::<(u32, u32)>();
    let text = || proptest::option::of("[A-Za-z]{1,9}");
    (key, any::<[u8; 20]>(), any::<u128>(), flags, numbers, (text(), text(), text())).prop_map(
        |(key, hash, id, flags, (freshness, timeout), (store_name, identifier, list))| Record {
            certificate_hash: Some(hash),
            store_name,
            revocation_freshness_seconds: freshness,
            url_retrieval_milliseconds: timeout,
            ctl_identifier: identifier,
            ctl_store_name: list,
            flags: super::super::FLAGS
                .iter()
                .zip(flags)
                .filter(|(own, on)| own.standard != *on)
                .map(|(own, on)| (own.flag, on))
                .collect(),
            ..Record::new(key.parse().unwrap(), ApplicationId(id))
        },
    )
}

proptest! {
    #[test]
    fn what_is_printed_is_read_back(all in proptest::collection::vec(any_record(), 0..5)) {
        let records: Records = all.into_iter().collect();
        prop_assert_eq!(parse_output(&table(records.iter())), (records, Vec::new()));
    }

    #[test]
    fn any_text_is_read_or_named_by_a_line_of_it(text in "(\\PC|\n| : |[0-9]:[0-9]){0,200}") {
        let (_, left) = parse_output(&text);
        let count = text.lines().count().max(1);
        prop_assert!(left.iter().all(|own| own.line >= 1 && own.line <= count), "{left:?}");
    }
}
