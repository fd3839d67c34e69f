//! The ring by itself, and in handshakes of a real client and server in memory.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bindery_testkit::ca::{TestCa, TestLeaf};
use proptest::prelude::{any, prop, proptest};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
    server::{NoServerSessionStorage, ProducesTickets},
    version::{TLS12, TLS13},
};

use super::{BoundTickets, ROTATION_PERIOD, TicketKeys};
use crate::limits::TICKET_BYTES_MAX;

const START: SystemTime = UNIX_EPOCH;

fn keys() -> Arc<TicketKeys> {
    Arc::new(TicketKeys::new(START).unwrap())
}

fn bound(keys: &Arc<TicketKeys>, binding: &str) -> BoundTickets {
    BoundTickets::new(Arc::clone(keys), Arc::from(binding.as_bytes()))
}

#[test]
fn what_was_sealed_is_opened_by_the_same_binding() {
    let tickets = bound(&keys(), "a");
    let ticket = tickets.encrypt(b"session").unwrap();
    assert_eq!(tickets.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
    assert_eq!(tickets.decrypt(&tickets.encrypt(b"").unwrap()).as_deref(), Some(&b""[..]));
}

#[test]
fn two_tickets_for_the_same_session_differ() {
    let tickets = bound(&keys(), "a");
    assert_ne!(tickets.encrypt(b"session"), tickets.encrypt(b"session"));
}

#[test]
fn another_binding_does_not_open_a_ticket() {
    let keys = keys();
    let ticket = bound(&keys, "a").encrypt(b"session").unwrap();
    for other in ["", "b", "aa", "A"] {
        assert_eq!(bound(&keys, other).decrypt(&ticket), None, "{other:?}");
    }
    assert!(bound(&keys, "a").decrypt(&ticket).is_some());
}

#[test]
fn another_ring_does_not_open_a_ticket() {
    let ticket = bound(&keys(), "a").encrypt(b"session").unwrap();
    assert_eq!(bound(&keys(), "a").decrypt(&ticket), None);
}

#[test]
fn a_ticket_with_any_bit_changed_or_any_byte_missing_is_refused() {
    let tickets = bound(&keys(), "a");
    let ticket = tickets.encrypt(b"session").unwrap();
    for index in 0..ticket.len() {
        let mut changed = ticket.clone();
        changed[index] ^= 1;
        assert_eq!(tickets.decrypt(&changed), None, "byte {index}");
        assert_eq!(tickets.decrypt(&ticket[..index]), None, "cut to {index}");
    }
}

#[test]
fn a_ticket_is_opened_after_one_rotation_and_not_after_two() {
    let keys = keys();
    let tickets = bound(&keys, "a");
    let ticket = tickets.encrypt(b"session").unwrap();
    assert_eq!(keys.rotate_if_due(START + ROTATION_PERIOD), Ok(true));
    assert!(tickets.decrypt(&ticket).is_some());
    assert_eq!(keys.rotate_if_due(START + 2 * ROTATION_PERIOD), Ok(true));
    assert_eq!(tickets.decrypt(&ticket), None);
}

#[test]
fn keys_are_rotated_when_due_and_not_before() {
    let keys = keys();
    assert_eq!(keys.rotate_if_due(START), Ok(false));
    assert_eq!(keys.rotate_if_due(START + ROTATION_PERIOD - Duration::from_nanos(1)), Ok(false));
    assert_eq!(keys.rotate_if_due(START + ROTATION_PERIOD), Ok(true));
    assert_eq!(keys.rotate_if_due(START + ROTATION_PERIOD), Ok(false));
}

#[test]
fn a_key_that_was_not_rotated_for_two_periods_opens_nothing_more() {
    let keys = keys();
    let tickets = bound(&keys, "a");
    let ticket = tickets.encrypt(b"session").unwrap();
    assert_eq!(keys.rotate_if_due(START + 2 * ROTATION_PERIOD), Ok(true));
    assert_eq!(tickets.decrypt(&ticket), None);
}

#[test]
fn a_clock_set_back_cannot_keep_a_key_in_use() {
    let keys = Arc::new(TicketKeys::new(START + Duration::from_secs(10)).unwrap());
    assert_eq!(keys.rotate_if_due(START), Ok(true));
    assert_eq!(keys.rotate_if_due(START), Ok(false));
}

#[test]
fn a_session_too_large_for_a_ticket_gets_none() {
    let tickets = bound(&keys(), "a");
    assert_eq!(tickets.encrypt(&vec![0; TICKET_BYTES_MAX]), None);
    assert_eq!(tickets.decrypt(&vec![0; TICKET_BYTES_MAX + 1]), None);
}

#[test]
fn debug_output_has_no_key_material() {
    let keys = keys();
    assert_eq!(format!("{keys:?}"), "TicketKeys { .. }");
    assert_eq!(format!("{:?}", bound(&keys, "a")), "BoundTickets { .. }");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_or_open(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let tickets = bound(&keys(), "a");
        assert_eq!(tickets.decrypt(&bytes), None);
        let mut known = tickets.encrypt(b"").unwrap()[..super::KEY_NAME_LEN].to_vec();
        known.extend_from_slice(&bytes);
        assert_eq!(tickets.decrypt(&known), None);
    }
}

#[test]
fn a_client_resumes_on_the_same_binding_and_on_no_other() {
    for version in [&TLS12, &TLS13] {
        let ca = TestCa::new();
        let leaf = ca.leaf(&["a.example"]);
        let keys = keys();
        let first = server(&leaf, bound(&keys, "first"));
        let second = server(&leaf, bound(&keys, "second"));
        let client = client(&ca, version);
        assert_eq!(handshake(&client, &first), HandshakeKind::Full, "{version:?}");
        assert_eq!(handshake(&client, &first), HandshakeKind::Resumed, "{version:?}");
        assert_eq!(handshake(&client, &second), HandshakeKind::Full, "{version:?}");
        assert_eq!(handshake(&client, &second), HandshakeKind::Resumed, "{version:?}");
    }
}

#[test]
fn a_client_resumes_after_one_rotation_and_not_after_two() {
    for version in [&TLS12, &TLS13] {
        let ca = TestCa::new();
        let keys = keys();
        let server = server(&ca.leaf(&["a.example"]), bound(&keys, "a"));
        let client = client(&ca, version);
        assert_eq!(handshake(&client, &server), HandshakeKind::Full, "{version:?}");
        keys.rotate_if_due(START + ROTATION_PERIOD).unwrap();
        assert_eq!(handshake(&client, &server), HandshakeKind::Resumed, "{version:?}");
        keys.rotate_if_due(START + 2 * ROTATION_PERIOD).unwrap();
        keys.rotate_if_due(START + 3 * ROTATION_PERIOD).unwrap();
        assert_eq!(handshake(&client, &server), HandshakeKind::Full, "{version:?}");
    }
}

fn server(leaf: &TestLeaf, tickets: BoundTickets) -> Arc<ServerConfig> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS12, &TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from(leaf.certificate_der.clone())],
            PrivateKeyDer::try_from(leaf.key_der.clone()).unwrap(),
        )
        .unwrap();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = Arc::new(tickets);
    Arc::new(config)
}

fn client(ca: &TestCa, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(ca.certificate_der().to_vec())).unwrap();
    Arc::new(
        ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth(),
    )
}

/// Runs a handshake in memory, with all that follows it, and says what kind the server saw.
fn handshake(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> HandshakeKind {
    let name = ServerName::try_from("a.example").unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    while client.wants_write() || server.wants_write() {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets().unwrap();
        }
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets().unwrap();
        }
    }
    server.handshake_kind().unwrap()
}
