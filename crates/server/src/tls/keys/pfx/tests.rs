//! Files by OpenSSL in every encryption it has, and files built here for what it does not write:
//! BER as Bouncy Castle encodes, no password in the sense of none at all, and damage.

use bindery_testkit::{
    ca::{TestCa, TestLeaf},
    openssl::{self, PfxEncryption, made, write_pfx},
};
use cbc::cipher::{BlockModeEncrypt, KeyIvInit, block_padding::Pkcs7};
use proptest::prelude::{any, prop, proptest};

use super::{
    DIRECTORY_PROTECTION, OID_BAG, OID_DATA, OID_ENCRYPTED_DATA, OID_ENVELOPED_DATA,
    OID_SIGNED_DATA, OID_X509_CERTIFICATE, PfxError, is_pfx, open,
    password::{Purpose, Salted},
};

fn assert_holds(bytes: &[u8], password: &str, leaf: &TestLeaf, what: &str) {
    assert!(is_pfx(bytes), "{what}");
    let contents = open(bytes, password).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(contents.keys.len(), 1, "{what}");
    let certificate = contents.certificates.first().map(AsRef::as_ref);
    assert_eq!(certificate, Some(leaf.certificate_der.as_slice()), "{what}");
}

#[test]
fn every_encryption_of_openssl_is_opened_with_the_password_and_not_with_another() {
    let dir = tempfile::tempdir().unwrap();
    let leaf = TestCa::new().leaf(&["a.example"]);
    for encryption in PfxEncryption::ALL {
        for password in ["secret", "", "pässwörd €", "key 🔑"] {
            let written = write_pfx(&leaf, dir.path(), "a", password, encryption);
            let Some(path) = made(written) else { continue };
            let bytes = std::fs::read(path).unwrap();
            let what = format!("{encryption:?} with {password:?}");
            assert_holds(&bytes, password, &leaf, &what);
            let other = open(&bytes, "another").err();
            assert_eq!(other, Some(PfxError::Password), "{what}");
        }
    }
}

#[test]
fn no_password_is_opened_in_both_its_senses_and_in_both_encodings() {
    let dir = tempfile::tempdir().unwrap();
    let leaf = TestCa::new().leaf(&["a.example"]);
    for ber in [false, true] {
        for password in [None, Some(""), Some("secret")] {
            let bytes = Build { ber, password, rounds: 2000 }.pfx(&leaf);
            let what = format!("{password:?}, ber {ber}");
            assert_holds(&bytes, password.unwrap_or_default(), &leaf, &what);
            assert_eq!(open(&bytes, "another").err(), Some(PfxError::Password), "{what}");
            // OpenSSL judges whether what is built here is a PFX at all.
            let path = dir.path().join("built.pfx");
            std::fs::write(&path, &bytes).unwrap();
            let password = format!("pass:{}", password.unwrap_or_default());
            let path = path.to_str().unwrap();
            let arguments = ["pkcs12", "-in", path, "-passin", &password, "-nodes", "-legacy"];
            if let Some(text) = made(openssl::run(&arguments, &[])) {
                assert!(text.windows(11).any(|window| window == b"PRIVATE KEY"), "{what}");
            }
        }
    }
}

#[test]
fn a_file_for_a_directory_group_or_a_certificate_says_so() {
    let directory = pfx_of(OID_DATA, &part(OID_ENVELOPED_DATA, DIRECTORY_PROTECTION));
    assert_eq!(open(&directory, "").err(), Some(PfxError::DirectoryProtected));
    let certificate = pfx_of(OID_DATA, &part(OID_ENVELOPED_DATA, &[]));
    assert_eq!(open(&certificate, "").err(), Some(PfxError::CertificateProtected));
    let signed = pfx_of(OID_SIGNED_DATA, &[]);
    assert_eq!(open(&signed, "").err(), Some(PfxError::CertificateProtected));
}

#[test]
fn a_file_that_asks_for_too_much_work_is_refused_before_the_work() {
    let leaf = TestCa::new().leaf(&["a.example"]);
    let costly = Build { ber: false, password: Some("secret"), rounds: 2000 }.pfx(&leaf);
    let asked = [2, 2, 0x07, 0xd0];
    let at = costly.windows(asked.len()).rposition(|window| window == asked).unwrap();
    // Two bytes hold too little, so the salt in front gives two of its own.
    let mut costly = costly;
    let salt = [4, 8];
    let salt_at = at - 8 - salt.len();
    assert_eq!(costly[salt_at..salt_at + 2], salt);
    costly[salt_at + 1] = 6;
    costly[at - 2..at + 4].copy_from_slice(&[2, 4, 0x7f, 0xff, 0xff, 0xff]);
    assert_eq!(open(&costly, "secret").err(), Some(PfxError::TooManyRounds));
}

#[test]
fn an_algorithm_that_is_not_known_is_named() {
    let rc4 = [OID_PBE, &[1][..]].concat();
    let parameters = tlv(0x30, &[&[4, 1, 0, 2, 1, 1][..]]);
    let algorithm = tlv(0x30, &[&tlv(6, &[&rc4]), &parameters]);
    let info = tlv(0x30, &[&tlv(6, &[OID_DATA]), &algorithm, &[0x80, 1, 0]]);
    let encrypted = part(OID_ENCRYPTED_DATA, &tlv(0x30, &[&[2, 1, 0], &info]));
    let error = open(&pfx_of(OID_DATA, &encrypted), "").err().unwrap();
    assert_eq!(error, PfxError::Algorithm("1.2.840.113549.1.12.1.1".to_owned()));
}

#[test]
fn damage_anywhere_is_an_error_and_never_a_panic() {
    let leaf = TestCa::new().leaf(&["a.example"]);
    let bytes = Build { ber: false, password: Some("secret"), rounds: 1 }.pfx(&leaf);
    for index in 0..bytes.len() {
        assert!(open(&bytes[..index], "secret").is_err(), "cut to {index}");
        let mut damaged = bytes.clone();
        damaged[index] ^= 0x81;
        drop(open(&damaged, "secret"));
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        assert!(open(&bytes, "").is_err());
        assert!(open(&pfx_of(OID_DATA, &bytes), "").is_err() || bytes.is_empty());
    }
}

/// pbeWithSHAAnd… without the last byte.
const OID_PBE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x01];
const SALT: &[u8] = b"8 bytes.";

/// A PFX as older programs write it: 3DES and SHA-1 throughout.
struct Build<'a> {
    ber: bool,
    password: Option<&'a str>,
    rounds: u16,
}

impl Build<'_> {
    fn pfx(&self, leaf: &TestLeaf) -> Vec<u8> {
        let (algorithm, key) = self.encrypted(&leaf.key_der);
        let key = tlv(0x30, &[&algorithm, &tlv(4, &[&key])]);
        let keys = tlv(0x30, &[&self.bag(2, &key)]);
        let der = self.octets(&leaf.certificate_der);
        let certificate = tlv(0x30, &[&tlv(6, &[OID_X509_CERTIFICATE]), &self.tlv(0xa0, &[&der])]);
        let (algorithm, bags) = self.encrypted(&tlv(0x30, &[&self.bag(3, &certificate)]));
        let encrypted = if self.ber {
            self.tlv(0xa0, &[&tlv(4, &[&bags[..8]]), &tlv(4, &[&bags[8..]])])
        } else {
            tlv(0x80, &[&bags])
        };
        let info = self.tlv(0x30, &[&tlv(6, &[OID_DATA]), &algorithm, &encrypted]);
        let certificates = self.tlv(0x30, &[&[2, 1, 0], &info]);
        let safes = self.tlv(
            0x30,
            &[
                &self.info(OID_ENCRYPTED_DATA, &certificates),
                &self.info(OID_DATA, &self.octets(&keys)),
            ],
        );
        let contents = self.info(OID_DATA, &self.octets(&safes));
        self.tlv(0x30, &[&[2, 1, 3], &contents, &self.mac(&safes)])
    }

    fn bag(&self, number: u8, value: &[u8]) -> Vec<u8> {
        self.tlv(0x30, &[&tlv(6, &[OID_BAG, &[number]]), &self.tlv(0xa0, &[value])])
    }

    fn info(&self, object: &[u8], content: &[u8]) -> Vec<u8> {
        self.tlv(0x30, &[&tlv(6, &[object]), &self.tlv(0xa0, &[content])])
    }

    fn mac(&self, contents: &[u8]) -> Vec<u8> {
        let key = self.derive(Purpose::Mac, 20);
        let algorithm = aws_lc_rs::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY;
        let key = aws_lc_rs::hmac::Key::new(algorithm, &key);
        let value = aws_lc_rs::hmac::sign(&key, contents);
        let sha1 = tlv(0x30, &[&tlv(6, &[&[0x2b, 0x0e, 0x03, 0x02, 0x1a]]), &[5, 0]]);
        let digest = tlv(0x30, &[&sha1, &tlv(4, &[value.as_ref()])]);
        tlv(0x30, &[&digest, &tlv(4, &[SALT]), &self.rounds()])
    }

    fn encrypted(&self, plain: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let parameters = tlv(0x30, &[&tlv(4, &[SALT]), &self.rounds()]);
        let algorithm = tlv(0x30, &[&tlv(6, &[OID_PBE, &[3]]), &parameters]);
        let (key, iv) = (self.derive(Purpose::Encryption, 24), self.derive(Purpose::Iv, 8));
        let cipher = cbc::Encryptor::<des::TdesEde3>::new_from_slices(&key, &iv).unwrap();
        (algorithm, cipher.encrypt_padded_vec::<Pkcs7>(plain))
    }

    fn derive(&self, purpose: Purpose, length: usize) -> Vec<u8> {
        let wide = self.password.map(|text| text.encode_utf16().chain([0]));
        let wide: Vec<u8> = wide.into_iter().flatten().flat_map(u16::to_be_bytes).collect();
        let digest = &aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY;
        Salted { digest, salt: SALT, rounds: self.rounds.into() }.derive(purpose, &wide, length)
    }

    fn rounds(&self) -> Vec<u8> {
        tlv(2, &[&self.rounds.to_be_bytes()])
    }

    /// An octet string, in BER in pieces.
    fn octets(&self, bytes: &[u8]) -> Vec<u8> {
        if !self.ber {
            return tlv(4, &[bytes]);
        }
        let pieces: Vec<_> = bytes.chunks(100).map(|piece| tlv(4, &[piece])).collect();
        self.tlv(0x24, &[&pieces.concat()])
    }

    /// A constructed element, in BER of indefinite length.
    fn tlv(&self, tag: u8, contents: &[&[u8]]) -> Vec<u8> {
        if self.ber {
            [&[tag, 0x80], &*contents.concat(), &[0, 0]].concat()
        } else {
            tlv(tag, contents)
        }
    }
}

fn tlv(tag: u8, contents: &[&[u8]]) -> Vec<u8> {
    let contents = contents.concat();
    let length = u16::try_from(contents.len()).unwrap().to_be_bytes();
    let header = match contents.len() {
        short @ 0..0x80 => vec![tag, u8::try_from(short).unwrap()],
        0x80..0x100 => vec![tag, 0x81, length[1]],
        _ => vec![tag, 0x82, length[0], length[1]],
    };
    [header, contents].concat()
}

/// One part of the contents.
fn part(object: &[u8], content: &[u8]) -> Vec<u8> {
    tlv(0x30, &[&tlv(6, &[object]), &tlv(0xa0, &[content])])
}

/// A PFX without a MAC, of these parts.
fn pfx_of(object: &[u8], parts: &[u8]) -> Vec<u8> {
    let safes = tlv(4, &[&tlv(0x30, &[parts])]);
    tlv(0x30, &[&[2, 1, 3], &part(object, &safes)])
}
