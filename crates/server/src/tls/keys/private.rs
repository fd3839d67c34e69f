//! A private key as DER becomes a key that signs. Its kind is read first and only that kind is
//! tried: finding it by trying RSA first costs as much again as reading a P-256 key.

use std::sync::Arc;

use rustls::{crypto::aws_lc_rs::sign, sign::SigningKey};
use rustls_pki_types::PrivateKeyDer;

use super::ber::{CONTEXT_0, INTEGER, OBJECT, Reader, dotted};

/// The smallest RSA modulus, in bits, that signs in TLS here; aws-lc refuses smaller ones.
pub(super) const RSA_BITS_MIN: usize = 2048;
/// The largest, likewise.
pub(super) const RSA_BITS_MAX: usize = 8192;

pub(super) const OID_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
pub(super) const OID_EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
pub(super) const OID_ED25519: &[u8] = &[0x2b, 0x65, 0x70];
pub(super) const OID_P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
pub(super) const OID_P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
pub(super) const OID_P521: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];

/// Why a private key cannot be used. Says nothing of its contents.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum KeyProblem {
    /// The bytes are not a private key.
    Broken,
    /// It is a key of a kind that cannot sign here; which, in words.
    Unsupported(String),
}

/// Reads a key.
pub(super) fn signing_key(der: &PrivateKeyDer<'_>) -> Result<Arc<dyn SigningKey>, KeyProblem> {
    let key = match kind(der).ok_or(KeyProblem::Broken)? {
        Kind::Rsa { bits } => {
            refuse_rsa_size(bits)?;
            sign::any_supported_type(der)
        }
        Kind::Ec => sign::any_ecdsa_type(der),
        Kind::Ed25519 => match der {
            PrivateKeyDer::Pkcs8(pkcs8) => sign::any_eddsa_type(pkcs8),
            _ => return Err(KeyProblem::Broken),
        },
        Kind::Other(what) => return Err(KeyProblem::Unsupported(what)),
    };
    // The cause is dropped on purpose: it only repeats that parsing failed.
    key.map_err(|_| KeyProblem::Broken)
}

enum Kind {
    Rsa { bits: usize },
    Ec,
    Ed25519,
    Other(String),
}

fn refuse_rsa_size(bits: usize) -> Result<(), KeyProblem> {
    if bits < RSA_BITS_MIN {
        return Err(KeyProblem::Unsupported(format!(
            "RSA with {bits} bits, at least {RSA_BITS_MIN} are needed"
        )));
    }
    if bits > RSA_BITS_MAX {
        return Err(KeyProblem::Unsupported(format!(
            "RSA with {bits} bits, at most {RSA_BITS_MAX} are possible"
        )));
    }
    Ok(())
}

fn kind(der: &PrivateKeyDer<'_>) -> Option<Kind> {
    match der {
        PrivateKeyDer::Pkcs1(key) => rsa(key.secret_pkcs1_der()),
        PrivateKeyDer::Sec1(key) => sec1(key.secret_sec1_der()),
        PrivateKeyDer::Pkcs8(key) => pkcs8(key.secret_pkcs8_der()),
        _ => Some(Kind::Other("a key of an unknown encoding".to_owned())),
    }
}

/// `PrivateKeyInfo` (RFC 5208, 5): version, algorithm with parameters, key.
fn pkcs8(der: &[u8]) -> Option<Kind> {
    let mut info = Reader::new(der).sequence()?;
    info.expect(INTEGER)?;
    let mut algorithm = info.sequence()?;
    Some(match algorithm.object()? {
        OID_RSA => return rsa(&info.octets()?),
        OID_EC => match algorithm.optional(OBJECT) {
            Some(curve) => ec(curve.contents),
            None => Kind::Other("ECDSA on a curve without a name".to_owned()),
        },
        OID_ED25519 => Kind::Ed25519,
        other => Kind::Other(format!("key algorithm {}", dotted(other))),
    })
}

/// `RSAPrivateKey` (RFC 8017, A.1.2): version, modulus, and the rest.
fn rsa(der: &[u8]) -> Option<Kind> {
    let mut key = Reader::new(der).sequence()?;
    key.expect(INTEGER)?;
    Some(Kind::Rsa { bits: bits(key.expect(INTEGER)?.contents) })
}

/// `ECPrivateKey` (RFC 5915, 3): version, key, then perhaps the curve.
fn sec1(der: &[u8]) -> Option<Kind> {
    let mut key = Reader::new(der).sequence()?;
    key.expect(INTEGER)?;
    key.octets()?;
    // Without a curve its size tells the curve, and reading the key will.
    let Some(parameters) = key.optional(CONTEXT_0) else { return Some(Kind::Ec) };
    Some(match parameters.reader().optional(OBJECT) {
        Some(curve) => ec(curve.contents),
        None => Kind::Other("ECDSA on a curve without a name".to_owned()),
    })
}

fn ec(curve: &[u8]) -> Kind {
    if [OID_P256, OID_P384, OID_P521].contains(&curve) {
        Kind::Ec
    } else {
        Kind::Other(format!("ECDSA on curve {}", dotted(curve)))
    }
}

/// The size of an unsigned number in bits.
pub(super) fn bits(number: &[u8]) -> usize {
    let significant = number.iter().position(|&byte| byte != 0).unwrap_or(number.len());
    let Some(number) = number.get(significant..) else { return 0 };
    let Some(first) = number.first() else { return 0 };
    number.len() * 8 - usize::try_from(first.leading_zeros()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::bits;

    #[test]
    fn bits_count_from_the_first_one() {
        assert_eq!(bits(&[]), 0);
        assert_eq!(bits(&[0, 0]), 0);
        assert_eq!(bits(&[1]), 1);
        assert_eq!(bits(&[0, 0x80, 0]), 16);
        assert_eq!(bits(&[0x7f, 0]), 15);
    }
}
