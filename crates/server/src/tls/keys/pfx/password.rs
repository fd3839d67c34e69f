//! What a password does for a PFX: it proves the whole and decrypts the parts. The oldest ciphers
//! are here because old files have them; nothing is ever encrypted with them.

use std::num::NonZeroU32;

use aws_lc_rs::{
    cipher::{
        AES_128, AES_192, AES_256, Algorithm, DecryptionContext, PaddedBlockDecryptingKey,
        UnboundCipherKey,
    },
    digest, hmac, iv, pbkdf2,
};
use cbc::cipher::{BlockCipherDecrypt, BlockModeDecrypt, KeyInit, KeyIvInit, block_padding::Pkcs7};

use super::{Mac, PfxError};
use crate::{
    limits::PFX_ROUNDS_MAX,
    tls::keys::ber::{Reader, SEQUENCE, dotted},
};

/// The first bytes of pbeWithSHAAnd… (RFC 7292, appendix C); the last byte is the cipher.
const OID_PBE_SHA1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x01];
const OID_PBES2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d];
const OID_PBKDF2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0c];
/// The first bytes of hmacWithSHA… (RFC 8018, B.1.2).
const OID_HMAC: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02];
const OID_DES_EDE3_CBC: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x03, 0x07];
/// The first bytes of NIST's AES.
const OID_AES: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01];
const OID_SHA1: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1a];
/// The first bytes of NIST's digests.
const OID_SHA2: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02];

const TRIPLE_DES_KEY_BYTES: usize = 24;
const DES_BLOCK_BYTES: usize = 8;

/// What a derived key is for (RFC 7292, B.3).
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    Encryption = 1,
    Iv = 2,
    Mac = 3,
}

/// A password at work on one file.
pub(super) struct Opener {
    /// In UTF-8, for PBES2.
    text: String,
    /// In UTF-16 with an end, for all that is older; empty for no password at all.
    wide: Vec<u8>,
    rounds_left: u32,
    /// The MAC was right, so the password is.
    proved: bool,
}

impl Opener {
    /// With a password, which may be empty, or with none.
    pub(super) fn new(password: Option<&str>) -> Self {
        let text = password.unwrap_or_default();
        let ended = password.map(|text| text.encode_utf16().chain([0])).into_iter().flatten();
        let wide = ended.flat_map(u16::to_be_bytes).collect();
        Self { text: text.to_owned(), wide, rounds_left: PFX_ROUNDS_MAX, proved: false }
    }

    /// Proves the password by the MAC over the contents.
    pub(super) fn verify(&mut self, mac: Reader<'_>, contents: &[u8]) -> Result<(), PfxError> {
        let mac = Mac::read(mac).ok_or(PfxError::Malformed("its mac"))?;
        let (digest, hmac) = digest(mac.digest)?;
        self.spend(mac.rounds)?;
        let salted = Salted { digest, salt: &mac.salt, rounds: mac.rounds };
        let key = salted.derive(Purpose::Mac, &self.wide, digest.output_len);
        hmac::verify(&hmac::Key::new(hmac, &key), contents, &mac.value)
            .map_err(|_| PfxError::Password)?;
        self.proved = true;
        Ok(())
    }

    /// Decrypts by an `AlgorithmIdentifier` of PKCS #5 or PKCS #12.
    pub(super) fn decrypt(
        &mut self,
        mut algorithm: Reader<'_>,
        encrypted: &[u8],
    ) -> Result<Vec<u8>, PfxError> {
        let object = algorithm.object().ok_or(PfxError::Malformed("an algorithm"))?;
        let parameters = algorithm.sequence().ok_or(PfxError::Malformed("an algorithm"))?;
        if object == OID_PBES2 {
            return self.decrypt_pbes2(parameters, encrypted);
        }
        let key_bytes = match object.strip_prefix(OID_PBE_SHA1) {
            Some([3]) => TRIPLE_DES_KEY_BYTES,
            Some([5]) => 16,
            Some([6]) => 5,
            _ => return Err(PfxError::Algorithm(dotted(object))),
        };
        self.decrypt_pbe_sha1(parameters, key_bytes, encrypted)
    }

    /// What it means that decrypted bytes make no sense: without a MAC, that the password is wrong.
    pub(super) fn doubt(&self, what: &'static str) -> PfxError {
        if self.proved { PfxError::Malformed(what) } else { PfxError::Password }
    }

    fn decrypt_pbe_sha1(
        &mut self,
        mut parameters: Reader<'_>,
        key_bytes: usize,
        encrypted: &[u8],
    ) -> Result<Vec<u8>, PfxError> {
        let salt = parameters.octets().ok_or(PfxError::Malformed("a salt"))?;
        let rounds = parameters.number().ok_or(PfxError::Malformed("a number of rounds"))?;
        self.spend(rounds.saturating_mul(2))?;
        let salted = Salted { digest: &digest::SHA1_FOR_LEGACY_USE_ONLY, salt: &salt, rounds };
        let key = salted.derive(Purpose::Encryption, &self.wide, key_bytes);
        let iv = salted.derive(Purpose::Iv, &self.wide, DES_BLOCK_BYTES);
        let plain = if key_bytes == TRIPLE_DES_KEY_BYTES {
            decrypt_old::<des::TdesEde3>(&key, &iv, encrypted)
        } else {
            decrypt_old::<rc2::Rc2>(&key, &iv, encrypted)
        };
        plain.ok_or_else(|| self.doubt("an encrypted part"))
    }

    /// RFC 8018, 6.2 and A.4: a key derivation and a cipher.
    fn decrypt_pbes2(
        &mut self,
        mut parameters: Reader<'_>,
        encrypted: &[u8],
    ) -> Result<Vec<u8>, PfxError> {
        const BROKEN: PfxError = PfxError::Malformed("an encryption scheme");
        let mut derivation = parameters.sequence().ok_or(BROKEN)?;
        let mut cipher = parameters.sequence().ok_or(BROKEN)?;
        let object = derivation.object().ok_or(BROKEN)?;
        if object != OID_PBKDF2 {
            return Err(PfxError::Algorithm(dotted(object)));
        }
        let derivation = Pbkdf2::read(derivation.sequence().ok_or(BROKEN)?)?;
        let object = cipher.object().ok_or(BROKEN)?;
        let iv = cipher.octets().ok_or(BROKEN)?;
        let aes = match object.strip_prefix(OID_AES) {
            Some([2]) => Some((&AES_128, 16)),
            Some([22]) => Some((&AES_192, 24)),
            Some([42]) => Some((&AES_256, 32)),
            _ if object == OID_DES_EDE3_CBC => None,
            _ => return Err(PfxError::Algorithm(dotted(object))),
        };
        self.spend(derivation.rounds.get())?;
        let mut key = vec![0; aes.map_or(TRIPLE_DES_KEY_BYTES, |(_, key_bytes)| key_bytes)];
        derivation.derive(self.text.as_bytes(), &mut key);
        let plain = match aes {
            Some((aes, _)) => decrypt_aes(aes, &key, &iv, encrypted),
            None => decrypt_old::<des::TdesEde3>(&key, &iv, encrypted),
        };
        plain.ok_or_else(|| self.doubt("an encrypted part"))
    }

    /// Takes rounds from what the file may ask for.
    fn spend(&mut self, rounds: u32) -> Result<(), PfxError> {
        self.rounds_left = self.rounds_left.checked_sub(rounds).ok_or(PfxError::TooManyRounds)?;
        Ok(())
    }
}

/// The key derivation of PKCS #12 (RFC 7292, B.2).
pub(super) struct Salted<'a> {
    pub(super) digest: &'static digest::Algorithm,
    pub(super) salt: &'a [u8],
    pub(super) rounds: u32,
}

impl Salted<'_> {
    pub(super) fn derive(&self, purpose: Purpose, password: &[u8], key_bytes: usize) -> Vec<u8> {
        let block = self.digest.block_len();
        let filled = |bytes: &[u8]| -> Vec<u8> {
            let length = bytes.len().div_ceil(block) * block;
            bytes.iter().copied().cycle().take(length).collect()
        };
        let mut input = [filled(self.salt), filled(password)].concat();
        let mut key = Vec::with_capacity(key_bytes + self.digest.output_len);
        loop {
            let mut first = digest::Context::new(self.digest);
            first.update(&vec![purpose as u8; block]);
            first.update(&input);
            let mut hash = first.finish();
            for _ in 1..self.rounds {
                hash = digest::digest(self.digest, hash.as_ref());
            }
            key.extend_from_slice(hash.as_ref());
            if key.len() >= key_bytes {
                key.truncate(key_bytes);
                return key;
            }
            let added: Vec<u8> = hash.as_ref().iter().copied().cycle().take(block).collect();
            for chunk in input.chunks_mut(block) {
                add_with_one(chunk, &added);
            }
        }
    }
}

/// `number + added + 1` for big-endian numbers of one length, without the carry out.
fn add_with_one(number: &mut [u8], added: &[u8]) {
    let mut carry = 1_u16;
    for (digit, added) in number.iter_mut().zip(added).rev() {
        carry += u16::from(*digit) + u16::from(*added);
        let [high, low] = carry.to_be_bytes();
        *digit = low;
        carry = u16::from(high);
    }
}

/// The parameters of PBKDF2 (RFC 8018, A.2).
struct Pbkdf2<'a> {
    salt: std::borrow::Cow<'a, [u8]>,
    rounds: NonZeroU32,
    algorithm: pbkdf2::Algorithm,
}

impl<'a> Pbkdf2<'a> {
    fn read(mut parameters: Reader<'a>) -> Result<Self, PfxError> {
        const BROKEN: PfxError = PfxError::Malformed("a key derivation");
        let salt = parameters.octets().ok_or(BROKEN)?;
        let rounds = parameters.number().and_then(NonZeroU32::new).ok_or(BROKEN)?;
        // The length of the key may follow; the cipher says the same.
        let mut next = parameters.any();
        if next.is_some_and(|element| element.tag != SEQUENCE) {
            next = parameters.any();
        }
        let function = match next {
            Some(function) => function.reader().object().ok_or(BROKEN)?,
            None => &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x07],
        };
        let algorithm = match function.strip_prefix(OID_HMAC) {
            Some([7]) => pbkdf2::PBKDF2_HMAC_SHA1,
            Some([9]) => pbkdf2::PBKDF2_HMAC_SHA256,
            Some([10]) => pbkdf2::PBKDF2_HMAC_SHA384,
            Some([11]) => pbkdf2::PBKDF2_HMAC_SHA512,
            _ => return Err(PfxError::Algorithm(dotted(function))),
        };
        Ok(Self { salt, rounds, algorithm })
    }

    fn derive(&self, password: &[u8], key: &mut [u8]) {
        pbkdf2::derive(self.algorithm, self.rounds, &self.salt, password, key);
    }
}

fn digest(object: &[u8]) -> Result<(&'static digest::Algorithm, hmac::Algorithm), PfxError> {
    match object.strip_prefix(OID_SHA2) {
        Some([1]) => Ok((&digest::SHA256, hmac::HMAC_SHA256)),
        Some([2]) => Ok((&digest::SHA384, hmac::HMAC_SHA384)),
        Some([3]) => Ok((&digest::SHA512, hmac::HMAC_SHA512)),
        Some([4]) => Ok((&digest::SHA224, hmac::HMAC_SHA224)),
        _ if object == OID_SHA1 => {
            Ok((&digest::SHA1_FOR_LEGACY_USE_ONLY, hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY))
        }
        _ => Err(PfxError::Algorithm(dotted(object))),
    }
}

fn decrypt_aes(
    algorithm: &'static Algorithm,
    key: &[u8],
    iv: &[u8],
    encrypted: &[u8],
) -> Option<Vec<u8>> {
    let iv: &[u8; 16] = iv.try_into().ok()?;
    let key = UnboundCipherKey::new(algorithm, key).ok()?;
    let key = PaddedBlockDecryptingKey::cbc_pkcs7(key).ok()?;
    let mut bytes = encrypted.to_vec();
    let context = DecryptionContext::Iv128(iv::FixedLength::from(iv));
    Some(key.decrypt(&mut bytes, context).ok()?.to_vec())
}

fn decrypt_old<Cipher: KeyInit + BlockCipherDecrypt>(
    key: &[u8],
    iv: &[u8],
    encrypted: &[u8],
) -> Option<Vec<u8>> {
    let cipher = cbc::Decryptor::<Cipher>::new_from_slices(key, iv).ok()?;
    cipher.decrypt_padded_vec::<Pkcs7>(encrypted).ok()
}
