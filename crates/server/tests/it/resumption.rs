//! Sessions are resumed where they were made, and nowhere else.

use bindery_testkit::{
    ca::{LeafOptions, TestCa, Usage},
    http1::Http1,
    rustls::{
        SupportedProtocolVersion,
        version::{TLS12, TLS13},
    },
    tls::{ClientOptions, Sessions, TestClient},
};

use crate::setup::{Setup, local};

static VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

fn client(version: &'static SupportedProtocolVersion, sessions: Sessions) -> TestClient {
    TestClient::new(ClientOptions { versions: &[version], sessions, ..ClientOptions::default() })
}

/// Connects, asks for something (tickets come with the first answer) and says whether a session
/// was resumed.
async fn resumes(client: &TestClient, port: u16, name: &str) -> bool {
    let connection = client.connect(local(port), Some(name)).await.unwrap();
    let resumed = connection.resumed;
    let answer = Http1::new(connection.stream).get(name, "/").await.unwrap();
    assert_eq!(answer.status, 200);
    resumed
}

#[tokio::test]
async fn a_session_is_resumed_on_its_own_name() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example"]);
    setup.site("a", &[&format!("https/127.0.0.1:{port}:a.example")]);
    let _server = setup.start();
    for version in VERSIONS {
        let client = client(version, Sessions::OfTheName);
        assert!(!resumes(&client, port, "a.example").await, "{version:?}: the first is new");
        for _ in 0..3 {
            assert!(resumes(&client, port, "a.example").await, "{version:?}");
        }
    }
}

#[tokio::test]
async fn a_session_survives_a_change_of_the_configuration() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example", "b.example"]);
    setup.site("a", &[&format!("https/127.0.0.1:{port}:a.example")]);
    let server = setup.start();
    let clients = VERSIONS.map(|version| client(version, Sessions::OfTheName));
    for client in &clients {
        assert!(!resumes(client, port, "a.example").await);
    }
    setup.site("b", &[&format!("https/127.0.0.1:{port}:b.example")]);
    assert_eq!(setup.replace(&server), 0, "nobody is disturbed");
    for client in &clients {
        assert!(resumes(client, port, "a.example").await);
        assert!(!resumes(client, port, "b.example").await);
    }
}

#[tokio::test]
async fn a_session_is_not_resumed_under_another_name() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example", "*.w.example"]);
    setup.site("a", &[&format!("https/127.0.0.1:{port}:a.example")]);
    setup.site("w", &[&format!("https/127.0.0.1:{port}:*.w.example")]);
    let _server = setup.start();
    for version in VERSIONS {
        // Even by a client that offers what it must not offer, and on the very same binding.
        let client = client(version, Sessions::Any);
        assert!(!resumes(&client, port, "a.example").await);
        assert!(!resumes(&client, port, "1.w.example").await, "{version:?}: another binding");
        assert!(!resumes(&client, port, "2.w.example").await, "{version:?}: the same binding");
        assert!(resumes(&client, port, "2.w.example").await, "{version:?}");
    }
}

#[tokio::test]
async fn a_session_is_not_resumed_by_another_binding_of_its_name() {
    let mut setup = Setup::new();
    let one = setup.port();
    let two = setup.port();
    setup.certificate("a", &["a.example"]);
    setup.site("one", &[&format!("https/127.0.0.1:{one}:a.example")]);
    setup.site("two", &[&format!("https/127.0.0.1:{two}:a.example")]);
    let _server = setup.start();
    for version in VERSIONS {
        let client = client(version, Sessions::OfTheName);
        assert!(!resumes(&client, one, "a.example").await);
        assert!(!resumes(&client, two, "a.example").await, "{version:?}");
    }
}

#[tokio::test]
async fn a_session_is_not_resumed_where_client_certificates_are_asked_for() {
    for asks in ["optional", "require"] {
        let mut setup = Setup::new();
        let port = setup.port();
        setup.certificate("a", &["a.example"]);
        let clients = TestCa::named("Clients");
        drop(clients.write(setup.folder(), "clients"));
        let tls = format!(r#"{{ client_certificate = "{asks}", client_ca = "clients.pem" }}"#);
        let on = format!("https/127.0.0.1:{port}:a.example");
        setup.site("a", &[&format!(r#"{{ on = "{on}", tls = {tls} }}"#)]);
        let _server = setup.start();
        let usage = LeafOptions { usage: Usage::Client, ..LeafOptions::default() };
        let identity = clients.leaf_with(&["client.example"], usage);
        for version in VERSIONS {
            let client = TestClient::new(ClientOptions {
                versions: &[version],
                sessions: Sessions::Any,
                identity: Some(&identity),
                ..ClientOptions::default()
            });
            for _ in 0..3 {
                assert!(!resumes(&client, port, "a.example").await, "{asks} {version:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_session_from_before_client_certificates_were_asked_for_is_not_resumed() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example"]);
    let clients = TestCa::named("Clients");
    drop(clients.write(setup.folder(), "clients"));
    let before = setup.text.clone();
    setup.site("a", &[&format!("https/127.0.0.1:{port}:a.example")]);
    let server = setup.start();
    let clients = VERSIONS.map(|version| client(version, Sessions::Any));
    for client in &clients {
        assert!(!resumes(client, port, "a.example").await);
    }
    setup.text = before;
    let tls = r#"{ client_certificate = "require", client_ca = "clients.pem" }"#;
    let on = format!("https/127.0.0.1:{port}:a.example");
    setup.site("a", &[&format!(r#"{{ on = "{on}", tls = {tls} }}"#)]);
    setup.replace(&server);
    for client in &clients {
        let served = match client.connect(local(port), Some("a.example")).await {
            Err(_) => false,
            Ok(connection) => {
                assert!(!connection.resumed);
                Http1::new(connection.stream).get("a.example", "/").await.is_ok()
            }
        };
        assert!(!served, "who shows no certificate gets nothing");
    }
}

#[tokio::test]
async fn a_session_does_not_outlive_the_removal_of_its_binding() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example", "b.example"]);
    setup.site("b", &[&format!("https/127.0.0.1:{port}:b.example")]);
    let without = setup.text.clone();
    setup.site("a", &[&format!("https/127.0.0.1:{port}:a.example")]);
    let server = setup.start();
    let clients = VERSIONS.map(|version| client(version, Sessions::OfTheName));
    for client in &clients {
        assert!(!resumes(client, port, "a.example").await);
    }
    setup.text = without;
    setup.replace(&server);
    for client in &clients {
        let refused = client.connect(local(port), Some("a.example")).await.unwrap_err();
        assert!(refused.alert().is_some());
    }
}
