//! Records of TLS 1.3 that are encrypted from where their content lies.
//!
//! rustls copies content into its record and encrypts it there. For large content that copy is a
//! tenth of the work of the whole server, and AWS-LC can do without: it reads here and writes there.
//! Everything else about the cipher suites, keys and nonces above all, is as rustls has it.

use std::iter::repeat_n;

use ::aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, Algorithm, Nonce, TlsProtocolId, TlsRecordSealingKey,
};
use rustls::{
    CipherSuite, CipherSuiteCommon, ConnectionTrafficSecrets, ContentType, Error, ProtocolVersion,
    SupportedCipherSuite, Tls13CipherSuite,
    crypto::{
        aws_lc_rs::cipher_suite::{TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384},
        cipher::{
            AeadKey, Iv, MessageDecrypter, MessageEncrypter, Nonce as RecordNonce, OutboundChunks,
            OutboundOpaqueMessage, OutboundPlainMessage, PrefixedPayload, Tls13AeadAlgorithm,
            UnsupportedOperationError, make_tls13_aad,
        },
    },
};

/// Less content than this is copied: that costs no more than making room for what is written.
const LARGE_BYTES: usize = 2048;

/// What AES-GCM writes behind the content.
const TAG_BYTES: usize = 16;

static AES_128: Tls13CipherSuite = suite(&TLS13_AES_128_GCM_SHA256, &AES_128_AEAD);
static AES_128_AEAD: OutOfPlace =
    OutOfPlace { usual: tls13(&TLS13_AES_128_GCM_SHA256).aead_alg, algorithm: &AES_128_GCM };

static AES_256: Tls13CipherSuite = suite(&TLS13_AES_256_GCM_SHA384, &AES_256_AEAD);
static AES_256_AEAD: OutOfPlace =
    OutOfPlace { usual: tls13(&TLS13_AES_256_GCM_SHA384).aead_alg, algorithm: &AES_256_GCM };

/// Puts suites that encrypt out of place where those of the same name are.
pub(super) fn out_of_place(suites: &mut [SupportedCipherSuite]) {
    for suite in suites {
        match suite.suite() {
            CipherSuite::TLS13_AES_128_GCM_SHA256 => *suite = SupportedCipherSuite::Tls13(&AES_128),
            CipherSuite::TLS13_AES_256_GCM_SHA384 => *suite = SupportedCipherSuite::Tls13(&AES_256),
            _ => {}
        }
    }
}

#[allow(clippy::panic, reason = "when it is compiled, not when it runs")]
const fn tls13(suite: &SupportedCipherSuite) -> &'static Tls13CipherSuite {
    match suite {
        SupportedCipherSuite::Tls13(suite) => suite,
        SupportedCipherSuite::Tls12(_) => panic!("a suite of TLS 1.3 is one of TLS 1.2"),
    }
}

const fn suite(usual: &SupportedCipherSuite, aead: &'static OutOfPlace) -> Tls13CipherSuite {
    let Tls13CipherSuite { common, hkdf_provider, quic, .. } = tls13(usual);
    Tls13CipherSuite {
        common: CipherSuiteCommon {
            suite: common.suite,
            hash_provider: common.hash_provider,
            confidentiality_limit: common.confidentiality_limit,
        },
        hkdf_provider: *hkdf_provider,
        aead_alg: aead,
        quic: *quic,
    }
}

/// AES-GCM as rustls has it, but for how records are encrypted.
struct OutOfPlace {
    usual: &'static dyn Tls13AeadAlgorithm,
    algorithm: &'static Algorithm,
}

impl Tls13AeadAlgorithm for OutOfPlace {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        match TlsRecordSealingKey::new(self.algorithm, TlsProtocolId::TLS13, key.as_ref()) {
            Ok(key) => Box::new(Encrypter { key, iv }),
            // Only a key of another length is refused, and rustls gives none.
            Err(_) => self.usual.encrypter(key, iv),
        }
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        self.usual.decrypter(key, iv)
    }

    fn key_len(&self) -> usize {
        self.usual.key_len()
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        iv: Iv,
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        self.usual.extract_keys(key, iv)
    }
}

struct Encrypter {
    /// Takes no nonce twice, nor one that is not larger than the last.
    key: TlsRecordSealingKey,
    iv: Iv,
}

impl MessageEncrypter for Encrypter {
    /// RFC 8446, 5.2.
    fn encrypt(
        &mut self,
        message: OutboundPlainMessage<'_>,
        number: u64,
    ) -> Result<OutboundOpaqueMessage, Error> {
        let length = self.encrypted_payload_len(message.payload.len());
        let mut payload = PrefixedPayload::with_capacity(length);
        let nonce = Nonce::assume_unique_for_key(RecordNonce::new(&self.iv, number).0);
        let aad = Aad::from(make_tls13_aad(length));
        let kind = message.typ.to_array();
        let sealed = match message.payload {
            OutboundChunks::Single(plain) if plain.len() >= LARGE_BYTES => {
                payload.extend(repeat_n(&0, length));
                let (content, behind) = payload.as_mut().split_at_mut(plain.len());
                self.key.seal_out_of_place_scatter(nonce, aad, plain, content, &kind, behind)
            }
            chunks => {
                payload.extend_from_chunks(&chunks);
                payload.extend_from_slice(&kind);
                self.key.seal_in_place_append_tag(nonce, aad, &mut payload)
            }
        };
        sealed.map_err(|_| Error::EncryptError)?;
        let (kind, version) = (ContentType::ApplicationData, ProtocolVersion::TLSv1_2);
        Ok(OutboundOpaqueMessage::new(kind, version, payload))
    }

    fn encrypted_payload_len(&self, payload_len: usize) -> usize {
        payload_len + 1 + TAG_BYTES
    }
}

#[cfg(test)]
mod tests {
    use rustls::crypto::aws_lc_rs::default_provider;

    use super::*;

    fn record(encrypter: &mut dyn MessageEncrypter, chunks: &[&[u8]], number: u64) -> Vec<u8> {
        let (typ, version) = (ContentType::ApplicationData, ProtocolVersion::TLSv1_2);
        let payload = OutboundChunks::new(chunks);
        assert_eq!(encrypter.encrypted_payload_len(payload.len()), payload.len() + 17);
        let message = OutboundPlainMessage { typ, version, payload };
        encrypter.encrypt(message, number).unwrap().encode()
    }

    #[test]
    fn records_are_those_of_rustls_to_the_byte() {
        let content: Vec<u8> = (0..16_384_u32).map(|place| place.to_le_bytes()[0]).collect();
        let own: &dyn Tls13AeadAlgorithm = &AES_256_AEAD;
        let make = |aead: &dyn Tls13AeadAlgorithm| {
            aead.encrypter(AeadKey::from([7; 32]), Iv::new([9; 12]))
        };
        let (mut own, mut usual) = (make(own), make(AES_256_AEAD.usual));
        let lengths = [0, 1, LARGE_BYTES - 1, LARGE_BYTES, LARGE_BYTES + 1, 5000, 16_383, 16_384];
        for (number, length) in (0..).zip(lengths) {
            let (one, other) = content[..length].split_at(length / 3);
            // In one piece and in two.
            for (number, chunks) in
                [(2 * number, &[&content[..length]][..]), (2 * number + 1, &[one, other])]
            {
                let expected = record(&mut *usual, chunks, number);
                assert!(record(&mut *own, chunks, number) == expected, "{length} bytes");
            }
        }
    }

    #[test]
    fn no_suite_is_lost_and_each_keeps_its_place() {
        let usual = default_provider().cipher_suites;
        let mut own = usual.clone();
        out_of_place(&mut own);
        assert!(
            own.iter()
                .map(SupportedCipherSuite::suite)
                .eq(usual.iter().map(SupportedCipherSuite::suite))
        );
        for (suite, length) in [(&AES_128, 16), (&AES_256, 32)] {
            assert_eq!(suite.aead_alg.key_len(), length);
        }
    }
}
