//! A certificate authority that lives as long as the demo. Its key is never written.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// So long its certificates are valid.
const VALIDITY: Duration = Duration::from_secs(30 * 24 * 3600);
/// Clocks of this machine's clients may be late, as those of virtual machines are.
const BACKDATED: Duration = Duration::from_secs(3600);

/// A root.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
    now: SystemTime,
}

/// A certificate with its key.
pub(super) struct Leaf {
    pub(super) certificate_pem: String,
    pub(super) certificate_der: Vec<u8>,
    pub(super) key_pem: String,
}

impl Authority {
    /// A new root, valid from `now`.
    pub(super) fn new(now: SystemTime) -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "Bindery demo CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        valid(&mut params, now);
        let key = KeyPair::generate()?;
        let certificate_pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate_pem, now })
    }

    /// Its certificate.
    pub(super) fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// A certificate for these names and addresses.
    pub(super) fn leaf(&self, names: &[&str]) -> Result<Leaf, rcgen::Error> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        valid(&mut params, self.now);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Leaf {
            certificate_pem: certificate.pem(),
            certificate_der: certificate.der().to_vec(),
            key_pem: key.serialize_pem(),
        })
    }
}

fn valid(params: &mut CertificateParams, now: SystemTime) {
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + VALIDITY).into();
}
