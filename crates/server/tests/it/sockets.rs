//! Sockets: what can be opened is, what cannot is said, and nothing stays open after a failure.

use std::{collections::BTreeSet, error::Error as _, net::TcpListener};

use bindery_server::listener::{ListenError, prepare};
use bindery_testkit::{http1::Http1, server, tls::TestClient};
use tokio::net::TcpStream;

use crate::setup::{Setup, local};

/// What opening the sockets of this configuration says.
#[track_caller]
fn refused(setup: &Setup) -> ListenError {
    let configuration = server::configuration(&setup.text, setup.folder());
    prepare(&configuration.table, &BTreeSet::new(), Vec::new()).unwrap_err()
}

#[test]
fn a_port_that_somebody_listens_on_is_not_shared() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    for address in ["127.0.0.1", "*"] {
        let mut setup = Setup::new();
        setup.site("a", &[&format!("http/{address}:{port}:")]);
        let error = refused(&setup);
        assert!(matches!(error, ListenError::Taken { .. }), "{error}");
        assert!(error.to_string().contains(&format!("{address}:{port}")), "{error}");
        assert!(error.source().is_some());
    }
}

#[test]
fn a_port_that_another_program_would_share_is_not_shared_either() {
    let mut sockets = server::Sockets::new();
    let port = sockets.open("127.0.0.1");
    let mut setup = Setup::new();
    setup.site("a", &[&format!("http/127.0.0.1:{port}:")]);
    let error = refused(&setup);
    assert!(matches!(error, ListenError::Taken { .. }), "{error}");
}

#[test]
fn an_address_of_another_machine_is_said_to_be_one() {
    let mut setup = Setup::new();
    // RFC 5737: nobody has it.
    setup.site("a", &["http/192.0.2.1:8080:"]);
    let error = refused(&setup);
    assert!(matches!(error, ListenError::NotLocal { .. }), "{error}");
}

#[test]
fn sockets_are_closed_again_when_one_cannot_be_opened() {
    let mut setup = Setup::new();
    let configuration = |text: &str, setup: &Setup| server::configuration(text, setup.folder());
    // A port of 127.0.0.3 that was free a moment ago, and comes before the one that fails.
    let free = TcpListener::bind("127.0.0.3:0").unwrap().local_addr().unwrap().port();
    let first = format!("http/127.0.0.3:{free}:");
    setup.site("a", &[&first, "http/192.0.2.1:8080:"]);
    let table = configuration(&setup.text, &setup).table;
    prepare(&table, &BTreeSet::new(), Vec::new()).unwrap_err();
    TcpListener::bind(("127.0.0.3", free)).expect("nobody listens there any more");
}

#[tokio::test]
async fn one_socket_for_all_addresses_serves_ipv4_and_ipv6() {
    let mut setup = Setup::new();
    let port = setup.sockets.open("*");
    let all = setup.certificate("all", &["a.example"]);
    let four = setup.certificate("four", &["a.example"]);
    let six = setup.certificate("six", &["a.example"]);
    for (name, address) in [("all", "*"), ("four", "127.0.0.2"), ("six", "[::1]")] {
        let on = format!("https/{address}:{port}:a.example");
        setup.site(name, &[&format!(r#"{{ on = "{on}", certificate = "{name}" }}"#)]);
    }
    let _server = setup.start();
    for (address, name, leaf) in
        [("127.0.0.1", "all", all), ("127.0.0.2", "four", four), ("[::1]", "six", six)]
    {
        let address = format!("{address}:{port}").parse().unwrap();
        let client = TestClient::default();
        match client.connect(address, Some("a.example")).await {
            Ok(connection) => {
                assert!(connection.leaf == leaf, "{address}");
                let answer = Http1::new(connection.stream).get("a.example", "/").await.unwrap();
                assert_eq!(answer.text(), name);
            }
            // A machine without IPv6.
            Err(error) => assert!(address.is_ipv6(), "{address}: {error:?}"),
        }
    }
}

#[tokio::test]
async fn a_socket_for_all_addresses_joins_one_that_stays() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.site("one", &[&format!("http/127.0.0.1:{port}:")]);
    let server = setup.start();
    // Opened by the server itself this time, beside its own.
    setup.site("all", &[&format!("http/*:{port}:")]);
    assert_eq!(setup.replace(&server), 0);
    let mut here = Http1::new(TcpStream::connect(local(port)).await.unwrap());
    assert_eq!(here.get("x.example", "/").await.unwrap().text(), "one");
    let mut there = Http1::new(TcpStream::connect(("127.0.0.2", port)).await.unwrap());
    assert_eq!(there.get("x.example", "/").await.unwrap().text(), "all");
    assert_eq!(server.counters().endpoints.len(), 2);
}
