//! What an administrator sees of a certificate, and which hosts it covers. No secret is in it.

use std::{
    fmt,
    net::IpAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::digest;
use x509_parser::{
    certificate::X509Certificate, extensions::GeneralName, prelude::FromDer, public_key::PublicKey,
    x509::SubjectPublicKeyInfo,
};

use bindery_model::name::{HostName, HostPattern};

use super::{
    ber::dotted,
    distinguished_name,
    private::{OID_EC, OID_ED25519, OID_P256, OID_P384, OID_P521, OID_RSA, bits},
};

/// The public facts of a certificate.
#[derive(Clone, Debug, PartialEq)]
pub struct CertificateFacts {
    /// Whom it is for, as one line (RFC 4514).
    pub subject: String,
    /// Who issued it, likewise.
    pub issuer: String,
    /// The host names it is for: lower-case A-labels, wildcards as `*.example.com`. From the
    /// subject alternative names; from the common name only when there are none.
    pub names: Vec<String>,
    /// Whether `names` is the common name. Today's clients do not accept that (RFC 9525, 2).
    pub names_from_common_name: bool,
    /// The addresses it is for.
    pub addresses: Vec<IpAddr>,
    /// The first moment it is valid.
    pub not_before: SystemTime,
    /// The last second it is valid.
    pub not_after: SystemTime,
    /// SHA-256 of the certificate: our identity of it.
    pub fingerprint: [u8; 32],
    /// SHA-1 of the certificate: what the tools of IIS print.
    pub thumbprint: [u8; 20],
    /// The kind of its public key.
    pub key_kind: KeyKind,
    /// How many certificates are shown, this one included.
    pub chain_length: usize,
    /// Whether it names itself as its issuer.
    pub self_signed: bool,
}

/// The kind of a public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA, with the size of its modulus in bits.
    Rsa(usize),
    /// ECDSA on P-256.
    EcdsaP256,
    /// ECDSA on P-384.
    EcdsaP384,
    /// ECDSA on P-521.
    EcdsaP521,
    /// Ed25519.
    Ed25519,
    /// Another, which a peer may show but which cannot sign here: its object identifier.
    Other(String),
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa(bits) => write!(f, "RSA {bits}"),
            Self::EcdsaP256 => f.write_str("ECDSA P-256"),
            Self::EcdsaP384 => f.write_str("ECDSA P-384"),
            Self::EcdsaP521 => f.write_str("ECDSA P-521"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::Other(object) => write!(f, "key algorithm {object}"),
        }
    }
}

/// The bytes are not a certificate (RFC 5280, 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are not an x.509 certificate")]
pub struct NotACertificate;

/// The facts of one certificate as DER, with a chain length of one.
///
/// # Errors
///
/// When the bytes are not a certificate, or more than one.
pub fn facts_of_der(leaf: &[u8]) -> Result<CertificateFacts, NotACertificate> {
    Ok(facts(&parse(leaf)?))
}

/// Reads one certificate.
pub(super) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, NotACertificate> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(NotACertificate),
    }
}

/// The facts of a certificate that was read.
pub(super) fn facts(certificate: &X509Certificate<'_>) -> CertificateFacts {
    let names = Names::of(certificate);
    let validity = certificate.validity();
    CertificateFacts {
        subject: distinguished_name::text(certificate.subject()),
        issuer: distinguished_name::text(certificate.issuer()),
        names: names.hosts,
        names_from_common_name: names.from_common_name,
        addresses: names.addresses,
        not_before: time(validity.not_before.timestamp()),
        not_after: time(validity.not_after.timestamp()),
        fingerprint: hash(&digest::SHA256, certificate.as_raw()),
        thumbprint: hash(&digest::SHA1_FOR_LEGACY_USE_ONLY, certificate.as_raw()),
        key_kind: key_kind(certificate.public_key()),
        chain_length: 1,
        self_signed: certificate.subject().as_raw() == certificate.issuer().as_raw(),
    }
}

impl CertificateFacts {
    /// Whether a client that asked for `host` may accept it (RFC 9525, 6). A wildcard stands for
    /// exactly one label; an address is covered by an address only. Brackets around an IPv6
    /// address and a trailing dot do not matter.
    #[must_use]
    pub fn covers(&self, host: &str) -> bool {
        let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if let Ok(address) = literal.unwrap_or(host).parse::<IpAddr>() {
            return self.addresses.contains(&address);
        }
        let Ok(host) = host.parse::<HostName>() else { return false };
        let parent = host.parent();
        self.names.iter().any(|name| match name.strip_prefix("*.") {
            Some(covered) => parent == Some(covered),
            None => name == host.as_str(),
        })
    }

    /// Whether it covers all that a host pattern stands for: a wildcard is covered by the same
    /// wildcard only, any other pattern is a host.
    #[must_use]
    pub fn covers_pattern(&self, pattern: &str) -> bool {
        if !pattern.starts_with("*.") {
            return self.covers(pattern);
        }
        normal(pattern).is_some_and(|pattern| self.names.contains(&pattern))
    }
}

#[derive(Default)]
struct Names {
    hosts: Vec<String>,
    addresses: Vec<IpAddr>,
    from_common_name: bool,
}

impl Names {
    fn of(certificate: &X509Certificate<'_>) -> Self {
        let mut names = Self::default();
        if let Ok(Some(alternative)) = certificate.subject_alternative_name() {
            for name in &alternative.value.general_names {
                match name {
                    GeneralName::DNSName(name) => names.add(name),
                    GeneralName::IPAddress(bytes) => names.addresses.extend(address(bytes)),
                    _ => {}
                }
            }
            return names;
        }
        for common_name in certificate.subject().iter_common_name() {
            if let Ok(name) = common_name.as_str() {
                names.add(name);
            }
        }
        names.from_common_name = !names.hosts.is_empty();
        names
    }

    /// Keeps what is a host name; anything else could never be asked for.
    fn add(&mut self, name: &str) {
        self.hosts.extend(normal(name));
    }
}

/// A host name or a whole wildcard as names are compared.
fn normal(name: &str) -> Option<String> {
    let pattern: HostPattern = name.parse().ok()?;
    (pattern != HostPattern::Any).then(|| pattern.to_string())
}

/// An address as a certificate has it: its bytes (RFC 5280, 4.2.1.6).
fn address(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

fn key_kind(key: &SubjectPublicKeyInfo<'_>) -> KeyKind {
    let algorithm = key.algorithm.algorithm.as_bytes();
    match algorithm {
        OID_RSA => match key.parsed() {
            Ok(PublicKey::RSA(key)) => KeyKind::Rsa(bits(key.modulus)),
            _ => KeyKind::Other(dotted(algorithm)),
        },
        OID_EC => match key.algorithm.parameters.as_ref().map(|curve| curve.data) {
            Some(OID_P256) => KeyKind::EcdsaP256,
            Some(OID_P384) => KeyKind::EcdsaP384,
            Some(OID_P521) => KeyKind::EcdsaP521,
            _ => KeyKind::Other(dotted(algorithm)),
        },
        OID_ED25519 => KeyKind::Ed25519,
        other => KeyKind::Other(dotted(other)),
    }
}

fn time(seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let time = if seconds < 0 {
        UNIX_EPOCH.checked_sub(distance)
    } else {
        UNIX_EPOCH.checked_add(distance)
    };
    // A certificate's years have four digits and fit everywhere.
    time.unwrap_or(UNIX_EPOCH)
}

fn hash<const LENGTH: usize>(algorithm: &'static digest::Algorithm, bytes: &[u8]) -> [u8; LENGTH] {
    digest::digest(algorithm, bytes).as_ref().try_into().unwrap_or([0; LENGTH])
}
