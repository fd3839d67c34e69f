//! What may be negotiated on a binding. Data only: what it means to a TLS library is known where
//! connections are accepted.

use std::{fmt, path::PathBuf};

/// A version of TLS that can be spoken. Older ones cannot (RFC 8996).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TlsVersion {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls12 => "1.2",
            Self::Tls13 => "1.3",
        })
    }
}

/// Whether a client shows a certificate, and who must have signed it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum ClientCertificate {
    /// None is asked for.
    #[default]
    Off,
    /// One is asked for; who has none is served all the same. A bad one ends the handshake.
    Optional {
        /// PEM file of the authorities that are believed.
        ca: PathBuf,
    },
    /// Without a good one there is no connection.
    Required {
        /// PEM file of the authorities that are believed.
        ca: PathBuf,
    },
}

impl ClientCertificate {
    /// The file of authorities, where certificates are asked for.
    #[must_use]
    pub fn ca(&self) -> Option<&PathBuf> {
        match self {
            Self::Off => None,
            Self::Optional { ca } | Self::Required { ca } => Some(ca),
        }
    }
}

/// What may be negotiated on a binding. Two bindings with equal policies may share a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TlsPolicy {
    /// The oldest version that is spoken.
    pub minimum: TlsVersion,
    /// The newest version that is spoken; never older than `minimum`.
    pub maximum: TlsVersion,
    /// Whether HTTP/2 is offered by ALPN (RFC 7301) beside HTTP/1.1.
    pub http2: bool,
    /// Whether clients show certificates.
    pub client_certificate: ClientCertificate,
}

impl Default for TlsPolicy {
    fn default() -> Self {
        Self {
            minimum: TlsVersion::Tls12,
            maximum: TlsVersion::Tls13,
            http2: true,
            client_certificate: ClientCertificate::Off,
        }
    }
}
