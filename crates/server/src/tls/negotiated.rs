//! What a handshake agreed on, in the words of logs.

use rustls::{CipherSuite, HandshakeKind, ProtocolVersion, ServerConnection};

/// What a handshake agreed on. The texts are those of a closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Negotiated {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The name in IANA's registry.
    pub cipher_suite: &'static str,
    /// The group of the key exchange; empty on a resumed TLS 1.2 session, which has none.
    pub group: &'static str,
    /// Whether a session was resumed.
    pub resumed: bool,
}

impl Negotiated {
    pub(super) fn of(connection: &ServerConnection) -> Self {
        let version = match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "",
        };
        let suite = connection.negotiated_cipher_suite().map(|suite| suite.suite());
        let group = connection.negotiated_key_exchange_group();
        Self {
            version,
            cipher_suite: suite.map_or("", iana_name),
            group: group.and_then(|group| group.name().as_str()).unwrap_or_default(),
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }
}

/// rustls has a name of its own for the suites of TLS 1.3.
fn iana_name(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        other => other.as_str().unwrap_or_default(),
    }
}
