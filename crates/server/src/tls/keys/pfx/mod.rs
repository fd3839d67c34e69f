//! PFX files (PKCS #12, RFC 7292): keys and certificates behind a password.
//!
//! Written here because of two things that the files of IIS's central store have and that readers
//! of DER refuse: Bouncy Castle, in which many renewal programs write them, encodes in BER, and
//! "no password" can mean an empty password or none at all, from which different keys are derived.

mod password;

use std::borrow::Cow;

use rustls_pki_types::CertificateDer;

use self::password::Opener;
use super::ber::{CONTEXT_0, CONTEXT_0_PRIMITIVE, INTEGER, OCTETS, Reader, SEQUENCE, dotted};

/// PKCS #7 `data`, the first of RFC 2315's content types.
const OID_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
const OID_SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
const OID_ENVELOPED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x03];
const OID_ENCRYPTED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x06];
const OID_X509_CERTIFICATE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x16, 0x01];
/// The bags, RFC 7292, 4.2; the last byte is in [`bag`].
const OID_BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01];
/// Windows's protection by a group of a directory, 1.3.6.1.4.1.311.74.1, with tag and length.
const DIRECTORY_PROTECTION: &[u8] =
    &[0x06, 0x09, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x4a, 0x01];

/// Why a PFX cannot be opened. Says nothing of its contents.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PfxError {
    /// Its structure is not that of a PFX.
    #[error("it is damaged or no pfx: {0}")]
    Malformed(&'static str),

    /// Its password is another one.
    #[error("the password is wrong")]
    Password,

    /// It is protected for a group of an Active Directory and by no password that can be given.
    #[error(
        "it is protected for a group of an active directory, which only windows can open; \
         export it again with a password"
    )]
    DirectoryProtected,

    /// It is protected by a certificate and not by a password.
    #[error("it is protected by a certificate; export it again with a password")]
    CertificateProtected,

    /// It uses an algorithm that is not known here.
    #[error("its algorithm {0} is not supported")]
    Algorithm(String),

    /// Opening it would take too long, see [`crate::limits::PFX_ROUNDS_MAX`].
    #[error("it asks for too many rounds of key derivation")]
    TooManyRounds,
}

/// What a PFX holds, in its order.
#[derive(Default)]
pub(super) struct PfxContents {
    /// The private keys, as PKCS #8.
    pub(super) keys: Vec<Vec<u8>>,
    /// The certificates.
    pub(super) certificates: Vec<CertificateDer<'static>>,
}

/// Whether the bytes begin as a PFX does: a sequence of the number 3 and a content type.
pub(super) fn is_pfx(bytes: &[u8]) -> bool {
    // The length of the whole does not matter, so that a PFX cut off fails as a PFX.
    let Some([SEQUENCE, first, rest @ ..]) = bytes.get(..32.min(bytes.len())) else {
        return false;
    };
    let length_bytes = if *first > 0x80 { usize::from(first & 0x7f) } else { 0 };
    rest.get(length_bytes..).is_some_and(|rest| rest.starts_with(&[INTEGER, 1, 3, SEQUENCE]))
}

/// Opens a PFX. An empty password is tried as both kinds of none.
pub(super) fn open(bytes: &[u8], password: &str) -> Result<PfxContents, PfxError> {
    let opened = match open_with(bytes, Some(password)) {
        Err(PfxError::Password) if password.is_empty() => open_with(bytes, None),
        opened => opened,
    };
    let protected =
        || bytes.windows(DIRECTORY_PROTECTION.len()).any(|window| window == DIRECTORY_PROTECTION);
    opened.map_err(|error| match error {
        PfxError::Password if password.is_empty() && protected() => PfxError::DirectoryProtected,
        PfxError::CertificateProtected if protected() => PfxError::DirectoryProtected,
        other => other,
    })
}

/// `PFX` (RFC 7292, 4): version, contents, perhaps a MAC over the contents.
fn open_with(bytes: &[u8], password: Option<&str>) -> Result<PfxContents, PfxError> {
    let mut opener = Opener::new(password);
    let Outer { safes, mac } = outer(bytes)?;
    if let Some(mac) = mac {
        opener.verify(mac, &safes)?;
    }
    let mut contents = PfxContents::default();
    let mut safes = Reader::new(&safes).sequence().ok_or(PfxError::Malformed("its contents"))?;
    while !safes.is_empty() {
        let mut info = safes.sequence().ok_or(PfxError::Malformed("a part of its contents"))?;
        let kind = info.object().ok_or(PfxError::Malformed("the type of a part"))?;
        let content =
            info.expect(CONTEXT_0).ok_or(PfxError::Malformed("a part without content"))?;
        let bags = match kind {
            OID_DATA => content.reader().octets().ok_or(PfxError::Malformed("a plain part"))?,
            OID_ENCRYPTED_DATA => Cow::Owned(decrypt_part(content.reader(), &mut opener)?),
            OID_ENVELOPED_DATA => return Err(PfxError::CertificateProtected),
            other => return Err(PfxError::Algorithm(dotted(other))),
        };
        read_bags(&bags, &mut opener, &mut contents)?;
    }
    Ok(contents)
}

/// The outermost parts of a PFX.
struct Outer<'a> {
    /// `AuthenticatedSafe`, over which the MAC goes.
    safes: Cow<'a, [u8]>,
    /// The description of the MAC, if there is one.
    mac: Option<Reader<'a>>,
}

fn outer(bytes: &[u8]) -> Result<Outer<'_>, PfxError> {
    let mut pfx = Reader::new(bytes).sequence().ok_or(PfxError::Malformed("its outermost part"))?;
    if pfx.number() != Some(3) {
        return Err(PfxError::Malformed("its version is not 3"));
    }
    let mut info = pfx.sequence().ok_or(PfxError::Malformed("it has no contents"))?;
    match info.object().ok_or(PfxError::Malformed("the type of its contents"))? {
        OID_DATA => {}
        OID_SIGNED_DATA => return Err(PfxError::CertificateProtected),
        _ => return Err(PfxError::Malformed("the type of its contents")),
    }
    let content = info.expect(CONTEXT_0).and_then(|content| content.reader().octets());
    let safes = content.ok_or(PfxError::Malformed("its contents"))?;
    Ok(Outer { safes, mac: pfx.optional(SEQUENCE).map(|mac| mac.reader()) })
}

/// `EncryptedData` (RFC 2315, 13): version, then type, algorithm and encrypted bytes.
fn decrypt_part(mut part: Reader<'_>, opener: &mut Opener) -> Result<Vec<u8>, PfxError> {
    const BROKEN: PfxError = PfxError::Malformed("an encrypted part");
    let mut data = part.sequence().ok_or(BROKEN)?;
    data.number().ok_or(BROKEN)?;
    let mut info = data.sequence().ok_or(BROKEN)?;
    info.object().ok_or(BROKEN)?;
    let algorithm = info.sequence().ok_or(BROKEN)?;
    let encrypted = info.any().filter(|e| [CONTEXT_0, CONTEXT_0_PRIMITIVE].contains(&e.tag));
    let encrypted = encrypted.and_then(|encrypted| encrypted.octets()).ok_or(BROKEN)?;
    opener.decrypt(algorithm, &encrypted)
}

/// `SafeContents` (RFC 7292, 4.2): bags, each with type, value and attributes.
fn read_bags(
    bytes: &[u8],
    opener: &mut Opener,
    contents: &mut PfxContents,
) -> Result<(), PfxError> {
    let mut bags = Reader::new(bytes).sequence().ok_or_else(|| opener.doubt("its bags"))?;
    while !bags.is_empty() {
        let mut bag = bags.sequence().ok_or_else(|| opener.doubt("a bag"))?;
        let kind = bag.object().ok_or_else(|| opener.doubt("the type of a bag"))?;
        let value = bag.expect(CONTEXT_0).ok_or_else(|| opener.doubt("a bag without value"))?;
        read_bag(kind, value.reader(), opener, contents)?;
    }
    Ok(())
}

fn read_bag(
    kind: &[u8],
    mut value: Reader<'_>,
    opener: &mut Opener,
    contents: &mut PfxContents,
) -> Result<(), PfxError> {
    let Some([number]) = kind.strip_prefix(OID_BAG) else { return Ok(()) };
    match *number {
        bag::KEY => {
            let key = value.expect(SEQUENCE).ok_or(PfxError::Malformed("a key"))?;
            contents.keys.push(key.whole.to_vec());
        }
        bag::ENCRYPTED_KEY => {
            const BROKEN: PfxError = PfxError::Malformed("an encrypted key");
            let mut key = value.sequence().ok_or(BROKEN)?;
            let algorithm = key.sequence().ok_or(BROKEN)?;
            let encrypted = key.octets().ok_or(BROKEN)?;
            let decrypted = opener.decrypt(algorithm, &encrypted)?;
            // One wrong password in 256 leaves a padding that looks right.
            let mut whole = Reader::new(&decrypted);
            if whole.sequence().is_none() || !whole.is_empty() {
                return Err(opener.doubt("a key"));
            }
            contents.keys.push(decrypted);
        }
        bag::CERTIFICATE => {
            const BROKEN: PfxError = PfxError::Malformed("a certificate");
            let mut certificate = value.sequence().ok_or(BROKEN)?;
            // The other kind, SDSI, never came into use.
            if certificate.object().ok_or(BROKEN)? == OID_X509_CERTIFICATE {
                let content = certificate.expect(CONTEXT_0).ok_or(BROKEN)?;
                let der = content.reader().octets().ok_or(BROKEN)?;
                contents.certificates.push(CertificateDer::from(der.into_owned()));
            }
        }
        // Revocation lists, secrets and bags in bags are of no use here.
        _ => {}
    }
    Ok(())
}

mod bag {
    pub(super) const KEY: u8 = 1;
    pub(super) const ENCRYPTED_KEY: u8 = 2;
    pub(super) const CERTIFICATE: u8 = 3;
}

/// The digest, salt and rounds of a MAC (RFC 7292, 4).
struct Mac<'a> {
    digest: &'a [u8],
    value: Cow<'a, [u8]>,
    salt: Cow<'a, [u8]>,
    rounds: u32,
}

impl<'a> Mac<'a> {
    fn read(mut mac: Reader<'a>) -> Option<Self> {
        let mut digest_info = mac.sequence()?;
        let digest = digest_info.sequence()?.object()?;
        let value = digest_info.expect(OCTETS)?.octets()?;
        let salt = mac.octets()?;
        let rounds = if mac.is_empty() { 1 } else { mac.number()? };
        Some(Self { digest, value, salt, rounds })
    }
}

#[cfg(test)]
mod tests;
