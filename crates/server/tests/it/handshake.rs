//! Who gets which certificate, what is negotiated, and what happens when nothing can be.

use std::{fs, time::Duration};

use bindery_testkit::{
    ca::{KeyAlgorithm, LeafOptions, TestCa, Usage},
    eventually,
    http1::Http1,
    rustls::{
        AlertDescription, NamedGroup, ProtocolVersion, SignatureScheme,
        version::{TLS12, TLS13},
    },
    soon,
    tls::{ClientOptions, Refused, TestClient},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::setup::{Setup, connected, get, http, https, local, shown};

const UNRECOGNIZED: Option<AlertDescription> = Some(AlertDescription::UnrecognisedName);

#[tokio::test]
async fn every_name_of_a_port_gets_its_own_certificate() {
    let mut setup = Setup::new();
    let port = setup.port();
    let names: Vec<_> = (0..60).map(|number| format!("site{number}.example")).collect();
    let mut expected = Vec::new();
    for name in &names {
        expected.push(setup.certificate(name, &[name]));
        setup.site(name, &[&format!("https/127.0.0.1:{port}:{name}")]);
    }
    let _server = setup.start();
    for (name, expected) in names.iter().zip(&expected) {
        assert!(shown(port, Some(name)).await.unwrap() == *expected, "{name}");
        assert_eq!(get(port, name).await.text(), *name);
    }
}

#[tokio::test]
async fn of_two_kinds_of_key_the_client_gets_the_one_it_can_verify() {
    let mut setup = Setup::new();
    let port = setup.port();
    let rsa = LeafOptions { key: KeyAlgorithm::Rsa2048, ..LeafOptions::default() };
    let rsa = setup.certificate_with("rsa", &["a.example", "best.example"], rsa);
    let ecdsa = setup.certificate("ecdsa", &["a.example", "best.example"]);
    let listed =
        format!(r#"{{ on = "https/127.0.0.1:{port}:a.example", certificate = ["ecdsa", "rsa"] }}"#);
    setup.site("listed", &[&listed]);
    setup.site("best", &[&format!("https/127.0.0.1:{port}:best.example")]);
    let _server = setup.start();

    let only = |schemes: &[SignatureScheme], versions: &[_]| {
        let schemes = Some(schemes.to_vec());
        TestClient::new(ClientOptions { schemes, versions, ..ClientOptions::default() })
    };
    let rsa_schemes = [SignatureScheme::RSA_PSS_SHA256, SignatureScheme::RSA_PKCS1_SHA256];
    let ecdsa_schemes = [SignatureScheme::ECDSA_NISTP256_SHA256];
    for name in ["a.example", "best.example"] {
        for version in [&TLS12, &TLS13] {
            let leaf = connected(&only(&rsa_schemes, &[version]), port, name).await.leaf;
            assert!(leaf == rsa, "{name} {version:?}: RSA");
            let leaf = connected(&only(&ecdsa_schemes, &[version]), port, name).await.leaf;
            assert!(leaf == ecdsa, "{name} {version:?}: ECDSA");
        }
        let leaf = connected(&TestClient::default(), port, name).await.leaf;
        assert!(leaf == ecdsa, "{name}: who verifies both gets the cheaper one");
    }
}

#[tokio::test]
async fn every_kind_of_key_is_served_with_both_versions() {
    let kinds = [
        KeyAlgorithm::EcdsaP256,
        KeyAlgorithm::EcdsaP384,
        KeyAlgorithm::EcdsaP521,
        KeyAlgorithm::Ed25519,
        KeyAlgorithm::Rsa2048,
    ];
    let mut setup = Setup::new();
    let port = setup.port();
    let mut expected = Vec::new();
    for (number, key) in kinds.into_iter().enumerate() {
        let (name, host) = (format!("c{number}"), format!("c{number}.example"));
        let options = LeafOptions { key, ..LeafOptions::default() };
        expected.push((host.clone(), setup.certificate_with(&name, &[&host], options)));
        setup.site(&name, &[&format!("https/127.0.0.1:{port}:{host}")]);
    }
    let _server = setup.start();
    for (version, number) in
        [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)]
    {
        let client = TestClient::with_versions(&[version]);
        for (host, expected) in &expected {
            let connection = connected(&client, port, host).await;
            assert_eq!(connection.version, number, "{host}");
            assert!(connection.leaf == *expected, "{host}");
        }
    }
}

#[tokio::test]
async fn the_hybrid_group_comes_first_for_who_offers_it() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example"]);
    setup.site("a", &[&format!("https/127.0.0.1:{port}:a.example")]);
    let _server = setup.start();
    let group = async |groups: &[NamedGroup]| {
        let groups = Some(groups.to_vec());
        let client = TestClient::new(ClientOptions { groups, ..ClientOptions::default() });
        connected(&client, port, "a.example").await.group.unwrap()
    };
    let (hybrid, x25519) = (NamedGroup::X25519MLKEM768, NamedGroup::X25519);
    assert_eq!(group(&[hybrid, x25519]).await, hybrid);
    // Who sends a share of the other only is not asked to begin again.
    assert_eq!(group(&[x25519, hybrid]).await, x25519);
    assert_eq!(group(&[x25519, NamedGroup::secp256r1]).await, x25519);
    assert_eq!(group(&[NamedGroup::secp384r1]).await, NamedGroup::secp384r1);
}

#[tokio::test]
async fn alpn_is_chosen_from_what_the_client_offers() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example", "b.example"]);
    setup.site("a", &[&format!("https/127.0.0.1:{port}:a.example")]);
    let without =
        format!(r#"{{ on = "https/127.0.0.1:{port}:b.example", tls = {{ http2 = false }} }}"#);
    setup.site("b", &[&without]);
    let _server = setup.start();
    let chosen = async |name: &str, offered: &[&str]| {
        let connection = TestClient::with_alpn(offered).connect(local(port), Some(name)).await?;
        Ok::<_, Refused>(connection.alpn)
    };
    let is = |text: &str| Some(text.to_owned());
    assert_eq!(chosen("a.example", &["h2", "http/1.1"]).await.unwrap(), is("h2"));
    assert_eq!(chosen("a.example", &["http/1.1", "h2"]).await.unwrap(), is("h2"));
    assert_eq!(chosen("a.example", &["http/1.1"]).await.unwrap(), is("http/1.1"));
    assert_eq!(chosen("a.example", &[]).await.unwrap(), None);
    assert_eq!(chosen("b.example", &["h2", "http/1.1"]).await.unwrap(), is("http/1.1"));
    let nothing = Some(AlertDescription::NoApplicationProtocol);
    assert_eq!(chosen("a.example", &["spdy/3"]).await.unwrap_err().alert(), nothing);
    assert_eq!(chosen("b.example", &["h2"]).await.unwrap_err().alert(), nothing);
}

#[tokio::test]
async fn a_client_without_alpn_speaks_http_1() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example"]);
    setup.site("a", &[&format!("https/127.0.0.1:{port}:a.example")]);
    let _server = setup.start();
    assert_eq!(get(port, "a.example").await.text(), "a");
}

#[tokio::test]
async fn versions_are_a_matter_of_the_binding() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["*.example"]);
    let binding = |name: &str, tls: &str| {
        format!(r#"{{ on = "https/127.0.0.1:{port}:{name}.example", tls = {{ {tls} }} }}"#)
    };
    setup.site("new", &[&binding("new", r#"minimum = "1.3""#)]);
    setup.site("old", &[&binding("old", r#"maximum = "1.2""#)]);
    setup.site("any", &[&binding("any", "")]);
    let _server = setup.start();
    let (old, new) = (TestClient::with_versions(&[&TLS12]), TestClient::with_versions(&[&TLS13]));
    let both = TestClient::default();
    let version = async |client: &TestClient, name: &str| {
        client.connect(local(port), Some(name)).await.map(|connection| connection.version)
    };
    let refused = Some(AlertDescription::ProtocolVersion);
    assert_eq!(version(&old, "new.example").await.unwrap_err().alert(), refused);
    assert_eq!(version(&new, "old.example").await.unwrap_err().alert(), refused);
    assert_eq!(version(&both, "new.example").await.unwrap(), ProtocolVersion::TLSv1_3);
    assert_eq!(version(&both, "old.example").await.unwrap(), ProtocolVersion::TLSv1_2);
    assert_eq!(version(&both, "any.example").await.unwrap(), ProtocolVersion::TLSv1_3);
    assert_eq!(version(&old, "any.example").await.unwrap(), ProtocolVersion::TLSv1_2);
}

#[tokio::test]
async fn a_client_certificate_is_verified_where_it_is_asked_for() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["*.example"]);
    let clients = TestCa::named("Clients");
    drop(clients.write(setup.folder(), "clients"));
    for asks in ["optional", "require"] {
        let tls = format!(r#"client_certificate = "{asks}", client_ca = "clients.pem""#);
        let on = format!("https/127.0.0.1:{port}:{asks}.example");
        setup.site(asks, &[&format!(r#"{{ on = "{on}", tls = {{ {tls} }} }}"#)]);
    }
    setup.site("off", &[&format!("https/127.0.0.1:{port}:off.example")]);
    let server = setup.start();

    let client = LeafOptions {
        usage: Usage::Client,
        common_name: Some("Somebody"),
        ..LeafOptions::default()
    };
    let good = clients.leaf_with(&[], client);
    let stranger = TestCa::named("Others").leaf_with(&[], client);
    let not_for_clients = clients.leaf(&["server.example"]);
    let outcome = async |name: &str, identity, version| {
        let options = ClientOptions { identity, versions: &[version], ..ClientOptions::default() };
        let host = format!("{name}.example");
        // With TLS 1.3 the refusal comes after the client's own handshake is over.
        let connection = TestClient::new(options).connect(local(port), Some(&host)).await?;
        let answer = Http1::new(connection.stream).get(&host, "/").await.map_err(Refused::of)?;
        Ok::<_, Refused>(answer.text())
    };
    for version in [&TLS12, &TLS13] {
        for (name, identity, served) in [
            ("off", None, true),
            ("off", Some(&stranger), true),
            ("optional", None, true),
            ("optional", Some(&good), true),
            ("optional", Some(&stranger), false),
            ("require", None, false),
            ("require", Some(&good), true),
            ("require", Some(&stranger), false),
            ("require", Some(&not_for_clients), false),
        ] {
            let shows = identity.is_some();
            match outcome(name, identity, version).await {
                Ok(text) if served => assert_eq!(text, name),
                Err(error) if !served => {
                    assert!(error.alert().is_some(), "{name} {shows} {version:?}: {error:?}");
                }
                other => panic!("{name} {shows} {version:?}: {other:?}"),
            }
        }
    }
    eventually("all refused are counted", async || server.counters().failed_handshakes == 8).await;
}

#[tokio::test]
async fn a_client_that_asked_before_it_was_refused_hears_why() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example"]);
    drop(TestCa::named("Clients").write(setup.folder(), "clients"));
    let tls = r#"client_certificate = "require", client_ca = "clients.pem""#;
    let on = format!("https/127.0.0.1:{port}:a.example");
    setup.site("a", &[&format!(r#"{{ on = "{on}", tls = {{ {tls} }} }}"#)]);
    let _server = setup.start();
    for _ in 0..20 {
        let client = TestClient::with_versions(&[&TLS13]);
        let mut stream = connected(&client, port, "a.example").await.stream;
        // More than the server reads before it refuses, and sent on after it has.
        for _ in 0..64 {
            stream.write_all(&[b'x'; 16 * 1024]).await.expect("no reset");
        }
        let mut answer = Vec::new();
        let error = soon("an alert", stream.read_to_end(&mut answer)).await.unwrap_err();
        let alert = Refused::of(error).alert();
        assert_eq!(alert, Some(AlertDescription::CertificateRequired));
    }
}

#[tokio::test]
async fn nobody_is_shown_another_name_s_certificate() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example"]);
    setup.certificate("w", &["*.w.example"]);
    setup.site("a", &[&format!("https/127.0.0.1:{port}:a.example")]);
    setup.site("w", &[&format!("https/127.0.0.1:{port}:*.w.example")]);
    let server = setup.start();
    let unknown =
        ["b.example", "example", "x.a.example", "w.example", "x.y.w.example", "a.example.com"];
    for name in unknown {
        assert_eq!(shown(port, Some(name)).await.unwrap_err().alert(), UNRECOGNIZED, "{name}");
    }
    assert_eq!(shown(port, None).await.unwrap_err().alert(), UNRECOGNIZED, "no name");
    let literal = TestClient::default().connect(local(port), Some("127.0.0.1")).await;
    assert_eq!(literal.unwrap_err().alert(), UNRECOGNIZED, "an address instead of a name");
    let refused = unknown.len() as u64 + 2;
    eventually("all are counted", async || server.counters().failed_handshakes == refused).await;
    assert_eq!(get(port, "a.example").await.text(), "a", "and who asks rightly is served");
}

#[tokio::test]
async fn a_name_is_compared_without_regard_to_case() {
    let mut setup = Setup::new();
    let port = setup.port();
    let leaf = setup.certificate("a", &["a.example"]);
    setup.site("a", &[&format!("https/127.0.0.1:{port}:A.Example")]);
    let _server = setup.start();
    assert!(shown(port, Some("a.EXAMPLE")).await.unwrap() == leaf);
    let mut client = https(port, "A.example").await;
    assert_eq!(client.get("a.Example.", "/").await.unwrap().text(), "a", "one dot may trail");
}

#[tokio::test]
async fn the_catch_all_answers_who_names_nobody_and_whom_nobody_knows() {
    let mut setup = Setup::new();
    let port = setup.port();
    let own = setup.certificate("a", &["a.example"]);
    let rest = setup.certificate("rest", &["rest.example", "127.0.0.1"]);
    setup.site("a", &[&format!("https/127.0.0.1:{port}:a.example")]);
    let on = format!("https/127.0.0.1:{port}:");
    setup.site("rest", &[&format!(r#"{{ on = "{on}", certificate = "rest" }}"#)]);
    let _server = setup.start();
    assert!(shown(port, Some("a.example")).await.unwrap() == own);
    assert!(shown(port, Some("b.example")).await.unwrap() == rest);
    assert!(shown(port, None).await.unwrap() == rest);
    assert!(shown(port, Some("127.0.0.1")).await.unwrap() == rest);

    let connection = TestClient::default().connect(local(port), None).await.unwrap();
    let mut client = Http1::new(connection.stream);
    let answer = client.get(&format!("127.0.0.1:{port}"), "/").await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "rest"));
}

#[tokio::test]
async fn a_listener_may_refuse_who_names_nobody_or_somebody_unknown() {
    for (refused, no_name, unknown) in [("no_sni", false, true), ("unknown_name", true, false)] {
        let mut setup = Setup::new();
        let port = setup.port();
        setup.line(&format!(
            "[[listener]]\non = \"https/127.0.0.1:{port}\"\n{refused} = \"refuse\""
        ));
        setup.certificate("rest", &["rest.example"]);
        setup.certificate("a", &["a.example"]);
        setup.site("a", &[&format!("https/127.0.0.1:{port}:a.example")]);
        let on = format!("https/127.0.0.1:{port}:");
        setup.site("rest", &[&format!(r#"{{ on = "{on}", certificate = "rest" }}"#)]);
        let _server = setup.start();
        assert_eq!(shown(port, None).await.is_ok(), no_name, "{refused}");
        assert_eq!(shown(port, Some("b.example")).await.is_ok(), unknown, "{refused}");
        assert!(shown(port, Some("a.example")).await.is_ok(), "{refused}");
    }
}

#[tokio::test]
async fn plain_http_on_an_https_port_is_told_so() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example"]);
    setup.site("a", &[&format!("https/127.0.0.1:{port}:a.example")]);
    let _server = setup.start();
    let long = format!("GET /{} HTTP/1.1\r\nHost: a.example\r\n\r\n", "x".repeat(100_000));
    for request in ["GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", "POST / HTTP/1.0\r\n\r\n", &long] {
        let mut client = http(port).await;
        client.send(request).await.unwrap();
        let answer = client.head().await.unwrap();
        assert_eq!(answer.status, 400);
        assert_eq!(answer.field("connection"), Some("close"));
        let length: usize = answer.field("content-length").unwrap().parse().unwrap();
        let content = client.rest().await.unwrap();
        assert_eq!(content.len(), length, "the length is that of the content");
        assert!(String::from_utf8(content).unwrap().contains("https://"));
    }
}

#[tokio::test]
async fn what_is_no_hello_is_told_so_and_hurts_nobody() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example"]);
    setup.site("a", &[&format!("https/127.0.0.1:{port}:a.example")]);
    let server = setup.start();
    let rubbish: [&[u8]; 5] = [
        b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09",
        // A record of a hello that is none.
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
        // A record longer than records are.
        b"\x16\x03\x01\xff\xff\x01\x00",
        // Application data before any handshake.
        b"\x17\x03\x03\x00\x01\x00",
        b"\x80\x2e\x01\x00\x02",
    ];
    for bytes in rubbish {
        let mut tcp = TcpStream::connect(local(port)).await.unwrap();
        tcp.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        soon("the end", tcp.read_to_end(&mut answer)).await.unwrap();
        assert!(answer.is_empty() || answer[0] == 21, "an alert or nothing: {answer:?}");
    }
    eventually("all are counted", async || {
        server.counters().failed_handshakes == rubbish.len() as u64
    })
    .await;
    assert_eq!(get(port, "a.example").await.text(), "a");
}

#[tokio::test]
async fn a_client_that_leaves_at_any_byte_of_its_hello_hurts_nobody() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example"]);
    setup.site("a", &[&format!("https/127.0.0.1:{port}:a.example")]);
    let server = setup.start();
    let hello = hello_of("a.example").await;
    for end in (0..hello.len()).step_by(7) {
        let mut tcp = TcpStream::connect(local(port)).await.unwrap();
        tcp.write_all(&hello[..end]).await.unwrap();
    }
    // Byte by byte it is understood all the same.
    let mut tcp = TcpStream::connect(local(port)).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    for byte in &hello {
        tcp.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut record = [0; 5];
    soon("a server hello", tcp.read_exact(&mut record)).await.unwrap();
    assert_eq!(record[0], 22, "a handshake record");
    drop(tcp);
    eventually("all are gone", async || server.counters().connections == 0).await;
    assert_eq!(get(port, "a.example").await.text(), "a");
}

/// What a client says first to a server of this name.
async fn hello_of(name: &str) -> Vec<u8> {
    let trap = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = trap.local_addr().unwrap();
    let name = name.to_owned();
    let client =
        tokio::spawn(async move { TestClient::default().connect(address, Some(&name)).await });
    let (mut tcp, _) = trap.accept().await.unwrap();
    let mut head = [0; 5];
    tcp.read_exact(&mut head).await.unwrap();
    let mut rest = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
    tcp.read_exact(&mut rest).await.unwrap();
    client.abort();
    [head.to_vec(), rest].concat()
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_given_up() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example"]);
    setup.site("a", &[&format!("https/127.0.0.1:{port}:a.example")]);
    let server = setup.start();
    let mut silent = TcpStream::connect(local(port)).await.unwrap();
    let mut slow = TcpStream::connect(local(port)).await.unwrap();
    slow.write_all(b"\x16\x03\x01\x01").await.unwrap();
    // Time is paused: it moves on when everybody waits.
    let began = tokio::time::Instant::now();
    assert_eq!(silent.read(&mut [0]).await.unwrap_or(0), 0);
    assert_eq!(slow.read(&mut [0]).await.unwrap_or(0), 0);
    let limit = bindery_server::limits::HANDSHAKE_TIMEOUT;
    assert!(began.elapsed() >= limit && began.elapsed() < limit * 2, "{:?}", began.elapsed());
    eventually("both are counted", async || server.counters().failed_handshakes == 2).await;
}

#[tokio::test]
async fn a_broken_certificate_stops_its_own_names_until_it_is_mended() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("good", &["good.example"]);
    setup.site("good", &[&format!("https/127.0.0.1:{port}:good.example")]);
    let bad = setup.ca.leaf(&["bad.example"]);
    let path = setup.certificate_of("bad", &bad);
    let on = format!("https/127.0.0.1:{port}:bad.example");
    setup.site("bad", &[&format!(r#"{{ on = "{on}", certificate = "bad" }}"#)]);
    let mended = fs::read(&path).unwrap();
    fs::write(&path, "-----BEGIN CERTIFICATE-----\nrubbish\n").unwrap();
    let server = setup.start();

    let error = shown(port, Some("bad.example")).await.unwrap_err();
    assert_eq!(error.alert(), Some(AlertDescription::InternalError));
    assert_eq!(get(port, "good.example").await.text(), "good");
    assert!(shown(port, Some("bad.example")).await.is_err());
    let problems = server.counters().certificate_problems;
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].0, path);

    fs::write(&path, mended).unwrap();
    eventually("it is served again", async || shown(port, Some("bad.example")).await.is_ok()).await;
    assert_eq!(get(port, "bad.example").await.text(), "bad");
    eventually("nothing is wrong any more", async || {
        server.counters().certificate_problems.is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_certificate_that_comes_later_is_found_by_the_names_in_it() {
    let mut setup = Setup::new();
    let port = setup.port();
    let leaf = setup.ca.leaf(&["a.example"]);
    let path = setup.certificate_of("a", &leaf);
    let other = setup.certificate("wide", &["*.example"]);
    setup.site("a", &[&format!("https/127.0.0.1:{port}:a.example")]);
    setup.site("b", &[&format!("https/127.0.0.1:{port}:b.other")]);
    let whole = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let server = setup.start();
    assert!(shown(port, Some("a.example")).await.unwrap() == other);
    assert!(shown(port, Some("b.other")).await.is_err());

    fs::write(&path, whole).unwrap();
    let own = leaf.certificate_der;
    eventually("its own is shown", async || shown(port, Some("a.example")).await.unwrap() == own)
        .await;
    // For other names than before, and then for none.
    let renamed = setup.ca.leaf(&["b.other"]);
    drop(renamed.write(setup.folder(), "a"));
    eventually("the new name is", async || shown(port, Some("b.other")).await.is_ok()).await;
    assert!(shown(port, Some("a.example")).await.unwrap() == other);
    fs::write(&path, "half").unwrap();
    eventually("it is noticed", async || !server.counters().certificate_problems.is_empty()).await;
    assert!(shown(port, Some("b.other")).await.is_ok());
}

#[tokio::test]
async fn a_changed_certificate_is_noticed() {
    let mut setup = Setup::new();
    let port = setup.port();
    let old = setup.certificate("a", &["a.example"]);
    setup.site("a", &[&format!("https/127.0.0.1:{port}:a.example")]);
    let _server = setup.start();
    assert!(shown(port, Some("a.example")).await.unwrap() == old);
    let mut kept = https(port, "a.example").await;
    assert_eq!(kept.get("a.example", "/").await.unwrap().status, 200);

    let new = setup.ca.leaf(&["a.example"]);
    // As certbot does it: beside, then moved into its place.
    let beside = new.write(setup.folder(), "beside");
    fs::rename(beside, setup.folder().join("a.pem")).unwrap();
    eventually("the new one is shown", async || {
        shown(port, Some("a.example")).await.unwrap() == new.certificate_der
    })
    .await;
    assert_eq!(kept.get("a.example", "/").await.unwrap().status, 200, "the old connection goes on");
}

#[tokio::test]
async fn a_certificate_that_broke_is_served_as_it_was() {
    let mut setup = Setup::new();
    let port = setup.port();
    let leaf = setup.certificate("a", &["a.example"]);
    setup.site("a", &[&format!("https/127.0.0.1:{port}:a.example")]);
    let server = setup.start();
    assert!(shown(port, Some("a.example")).await.unwrap() == leaf);
    fs::write(setup.folder().join("a.pem"), "rubbish").unwrap();
    eventually("it is noticed", async || !server.counters().certificate_problems.is_empty()).await;
    assert!(shown(port, Some("a.example")).await.unwrap() == leaf);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_first_handshakes_at_once_all_succeed() {
    let mut setup = Setup::new();
    let port = setup.port();
    let leaf = setup.certificate("a", &["a.example"]);
    let on = format!("https/127.0.0.1:{port}:a.example");
    setup.site("a", &[&format!(r#"{{ on = "{on}", certificate = "a" }}"#)]);
    let server = setup.start();
    let all: Vec<_> = (0..200).map(|_| tokio::spawn(shown(port, Some("a.example")))).collect();
    for one in all {
        assert!(one.await.unwrap().unwrap() == leaf);
    }
    let counters = server.counters();
    assert_eq!((counters.failed_handshakes, counters.certificates_in_memory), (0, 1));
}

#[tokio::test]
async fn client_authorities_that_cannot_be_read_stop_their_own_binding_only() {
    for file in [None, Some(""), Some("rubbish")] {
        let mut setup = Setup::new();
        let port = setup.port();
        setup.certificate("both", &["good.example", "bad.example"]);
        if let Some(content) = file {
            fs::write(setup.folder().join("ca.pem"), content).unwrap();
        }
        setup.site("good", &[&format!("https/127.0.0.1:{port}:good.example")]);
        let on = format!("https/127.0.0.1:{port}:bad.example");
        let tls = r#"{ client_certificate = "require", client_ca = "ca.pem" }"#;
        setup.site("bad", &[&format!(r#"{{ on = "{on}", tls = {tls} }}"#)]);
        let _server = setup.start();
        let error = shown(port, Some("bad.example")).await.unwrap_err();
        assert_eq!(error.alert(), Some(AlertDescription::InternalError), "{file:?}");
        assert_eq!(get(port, "good.example").await.text(), "good");
    }
}

#[tokio::test]
async fn a_central_store_that_comes_late_is_found() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("good", &["good.example"]);
    setup.line("[server]\ncentral_store = { folder = \"store\" }");
    setup.site("good", &[&format!("https/127.0.0.1:{port}:good.example")]);
    let on = format!("https/127.0.0.1:{port}:");
    setup.site("central", &[&format!(r#"{{ on = "{on}", certificate = "central" }}"#)]);
    let _server = setup.start();
    assert_eq!(get(port, "good.example").await.text(), "good");
    assert_eq!(shown(port, Some("a.example")).await.unwrap_err().alert(), UNRECOGNIZED);
    let store = setup.folder().join("store");
    fs::create_dir(&store).unwrap();
    let file = setup.ca.leaf(&["a.example"]).write(&store, "a.example");
    assert!(file.exists());
    eventually("it is found", async || shown(port, Some("a.example")).await.is_ok()).await;
    assert_eq!(get(port, "a.example").await.text(), "central");
}

#[tokio::test]
async fn the_central_store_answers_for_the_names_it_has_a_file_for() {
    let mut setup = Setup::new();
    let port = setup.port();
    let store = setup.folder().join("store");
    fs::create_dir(&store).unwrap();
    let exact = setup.ca.leaf(&["a.example"]);
    let wildcard = setup.ca.leaf(&["*.example"]);
    drop(exact.write(&store, "a.example"));
    drop(wildcard.write(&store, "_.example"));
    setup.line("[server]\ncentral_store = { folder = \"store\" }");
    let on = format!("https/127.0.0.1:{port}:");
    setup.site("central", &[&format!(r#"{{ on = "{on}", certificate = "central" }}"#)]);
    let _server = setup.start();

    assert!(shown(port, Some("a.example")).await.unwrap() == exact.certificate_der);
    assert!(shown(port, Some("b.example")).await.unwrap() == wildcard.certificate_der);
    assert_eq!(get(port, "b.example").await.text(), "central");
    assert_eq!(shown(port, Some("new.other")).await.unwrap_err().alert(), UNRECOGNIZED);
    assert_eq!(shown(port, None).await.unwrap_err().alert(), UNRECOGNIZED);

    let added = setup.ca.leaf(&["new.other"]);
    drop(added.write(&store, "new.other"));
    eventually("the new file is found", async || {
        shown(port, Some("new.other")).await.is_ok_and(|leaf| leaf == added.certificate_der)
    })
    .await;
    fs::remove_file(store.join("new.other.pem")).unwrap();
    eventually("the file is gone", async || shown(port, Some("new.other")).await.is_err()).await;
}

#[tokio::test]
async fn a_certificate_is_found_by_its_thumbprint() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("other", &["a.example"]);
    let leaf = setup.certificate("wanted", &["a.example"]);
    let facts = bindery_server::tls::keys::facts_of_der(&leaf).unwrap();
    let hex: String = facts.thumbprint.iter().map(|byte| format!("{byte:02X}")).collect();
    let on = format!("https/127.0.0.1:{port}:a.example");
    setup.site("a", &[&format!(r#"{{ on = "{on}", certificate = "{hex}" }}"#)]);
    let _server = setup.start();
    assert!(shown(port, Some("a.example")).await.unwrap() == leaf);
}

#[tokio::test]
async fn a_peer_that_does_not_read_delays_nobody() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example"]);
    setup.site("a", &[&format!("https/127.0.0.1:{port}:a.example")]);
    let _server = setup.start();
    let mut idle = Vec::new();
    for _ in 0..100 {
        idle.push(TcpStream::connect(local(port)).await.unwrap());
    }
    let answer = tokio::time::timeout(Duration::from_secs(5), get(port, "a.example")).await;
    assert_eq!(answer.expect("nobody waits for the silent").text(), "a");
}
