//! [`TestCa`]: a certificate authority for one test, and the certificates it issues.
//! Keys are made anew for each test; nothing secret is in the repository.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SignatureAlgorithm,
};

/// The algorithm of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyAlgorithm {
    /// ECDSA with P-256: the cheapest, and what most tests want.
    #[default]
    EcdsaP256,
    /// ECDSA with P-384.
    EcdsaP384,
    /// ECDSA with P-521.
    EcdsaP521,
    /// Ed25519.
    Ed25519,
    /// RSA with 2048 bits; takes some tenths of a second to make.
    Rsa2048,
}

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Validity {
    /// From 2020 until 2099.
    #[default]
    Now,
    /// From 2019 until 2020.
    Expired,
    /// From 2098 until 2099.
    NotYet,
    /// From and until these times, since the Unix epoch. Whole seconds count.
    Between(Duration, Duration),
}

/// What a certificate may be used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Usage {
    /// To be shown by a server.
    #[default]
    Server,
    /// To be shown by a client.
    Client,
}

/// What a leaf certificate is to be, besides its names.
#[derive(Clone, Copy, Debug, Default)]
pub struct LeafOptions<'a> {
    /// The algorithm of its key.
    pub key: KeyAlgorithm,
    /// When it is valid.
    pub validity: Validity,
    /// Who may show it.
    pub usage: Usage,
    /// The common name of its subject; none when it is `None`.
    pub common_name: Option<&'a str>,
}

/// A certificate authority: a root, or an intermediate under one.
pub struct TestCa {
    issuer: Issuer<'static, KeyPair>,
    name: String,
    der: Vec<u8>,
    pem: String,
    /// The intermediates a leaf of this authority needs, its own certificate first; empty for a
    /// root.
    chain_pem: String,
}

impl Default for TestCa {
    fn default() -> Self {
        Self::new()
    }
}

impl TestCa {
    /// A new root.
    #[must_use]
    pub fn new() -> Self {
        Self::named("Test Root")
    }

    /// A new root with this common name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let key = generate(KeyAlgorithm::EcdsaP256);
        let params = authority(name);
        let certificate = params.self_signed(&key).expect("a root signs itself");
        Self {
            issuer: Issuer::new(params, key),
            name: name.to_owned(),
            der: certificate.der().to_vec(),
            pem: certificate.pem(),
            chain_pem: String::new(),
        }
    }

    /// A new intermediate under this authority. What it issues carries its certificate as chain.
    #[must_use]
    pub fn intermediate(&self, name: &str) -> Self {
        let key = generate(KeyAlgorithm::EcdsaP256);
        let params = authority(name);
        let certificate = params.signed_by(&key, &self.issuer).expect("an authority signs");
        Self {
            issuer: Issuer::new(params, key),
            name: name.to_owned(),
            der: certificate.der().to_vec(),
            pem: certificate.pem(),
            chain_pem: format!("{}{}", certificate.pem(), self.chain_pem),
        }
    }

    /// The common name of the authority.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its certificate as DER.
    #[must_use]
    pub fn certificate_der(&self) -> &[u8] {
        &self.der
    }

    /// Its certificate as PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.pem
    }

    /// Writes its certificate to `<dir>/<name>.pem`.
    #[must_use]
    pub fn write(&self, dir: &Path, name: &str) -> PathBuf {
        write(dir, &format!("{name}.pem"), self.pem.as_bytes())
    }

    /// A certificate for these names: host names, wildcards or addresses.
    #[must_use]
    pub fn leaf(&self, names: &[&str]) -> TestLeaf {
        self.leaf_with(names, LeafOptions::default())
    }

    /// A certificate for these names with these options. Without names it has no SAN extension.
    #[must_use]
    pub fn leaf_with(&self, names: &[&str], options: LeafOptions<'_>) -> TestLeaf {
        let key = generate(options.key);
        let certificate =
            leaf(names, options).signed_by(&key, &self.issuer).expect("an authority signs");
        TestLeaf::new(&certificate, &key, &self.chain_pem)
    }

    /// A further certificate for the key of `old`, as a renewal that keeps its key makes.
    #[must_use]
    pub fn renew(&self, old: &TestLeaf, names: &[&str]) -> TestLeaf {
        let key = KeyPair::try_from(old.key_der.as_slice()).expect("a key made here");
        let certificate = leaf(names, LeafOptions::default())
            .signed_by(&key, &self.issuer)
            .expect("an authority signs");
        TestLeaf::new(&certificate, &key, &self.chain_pem)
    }

    /// A certificate signed by its own key, by no authority.
    #[must_use]
    pub fn self_signed(names: &[&str]) -> TestLeaf {
        let key = generate(KeyAlgorithm::EcdsaP256);
        let options = LeafOptions { common_name: names.first().copied(), ..LeafOptions::default() };
        let certificate = leaf(names, options).self_signed(&key).expect("a key signs");
        TestLeaf::new(&certificate, &key, "")
    }
}

/// A certificate with its key and the intermediates above it.
pub struct TestLeaf {
    /// The leaf alone, as PEM.
    pub certificate_pem: String,
    /// The leaf and the intermediates, leaf first, as PEM.
    pub chain_pem: String,
    /// The key as PEM (PKCS#8).
    pub key_pem: String,
    /// The leaf alone, as DER.
    pub certificate_der: Vec<u8>,
    /// The key as DER (PKCS#8).
    pub key_der: Vec<u8>,
}

impl TestLeaf {
    fn new(certificate: &rcgen::Certificate, key: &KeyPair, chain_pem: &str) -> Self {
        Self {
            certificate_pem: certificate.pem(),
            chain_pem: format!("{}{chain_pem}", certificate.pem()),
            key_pem: key.serialize_pem(),
            certificate_der: certificate.der().to_vec(),
            key_der: key.serialize_der(),
        }
    }

    /// Writes chain and key to one file, `<dir>/<name>.pem`.
    #[must_use]
    pub fn write(&self, dir: &Path, name: &str) -> PathBuf {
        write(dir, &format!("{name}.pem"), format!("{}{}", self.chain_pem, self.key_pem).as_bytes())
    }

    /// Writes the chain to `<dir>/<name>.crt` and the key to `<dir>/<name>.key`.
    #[must_use]
    pub fn write_apart(&self, dir: &Path, name: &str) -> (PathBuf, PathBuf) {
        (
            write(dir, &format!("{name}.crt"), self.chain_pem.as_bytes()),
            write(dir, &format!("{name}.key"), self.key_pem.as_bytes()),
        )
    }
}

fn write(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, bytes).expect("a test writes into its own folder");
    path
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(Some(name));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf(names: &[&str], options: LeafOptions<'_>) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("the names are ASCII");
    params.distinguished_name = common_name(options.common_name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![match options.usage {
        Usage::Server => ExtendedKeyUsagePurpose::ServerAuth,
        Usage::Client => ExtendedKeyUsagePurpose::ClientAuth,
    }];
    let year = |year| rcgen::date_time_ymd(year, 1, 1);
    (params.not_before, params.not_after) = match options.validity {
        Validity::Now => (year(2020), year(2099)),
        Validity::Expired => (year(2019), year(2020)),
        Validity::NotYet => (year(2098), year(2099)),
        Validity::Between(from, until) => (year(1970) + from, year(1970) + until),
    };
    params
}

fn common_name(name: Option<&str>) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    if let Some(name) = name {
        subject.push(DnType::CommonName, name);
    }
    subject
}

fn generate(algorithm: KeyAlgorithm) -> KeyPair {
    let algorithm: &'static SignatureAlgorithm = match algorithm {
        KeyAlgorithm::EcdsaP256 => &rcgen::PKCS_ECDSA_P256_SHA256,
        KeyAlgorithm::EcdsaP384 => &rcgen::PKCS_ECDSA_P384_SHA384,
        KeyAlgorithm::EcdsaP521 => &rcgen::PKCS_ECDSA_P521_SHA512,
        KeyAlgorithm::Ed25519 => &rcgen::PKCS_ED25519,
        KeyAlgorithm::Rsa2048 => &rcgen::PKCS_RSA_SHA256,
    };
    KeyPair::generate_for(algorithm).expect("a key can be made")
}

#[cfg(test)]
mod tests {
    use super::{KeyAlgorithm, LeafOptions, TestCa};

    #[test]
    fn every_kind_of_key_gets_a_certificate() {
        let ca = TestCa::new();
        for key in [
            KeyAlgorithm::EcdsaP256,
            KeyAlgorithm::EcdsaP384,
            KeyAlgorithm::EcdsaP521,
            KeyAlgorithm::Ed25519,
            KeyAlgorithm::Rsa2048,
        ] {
            let leaf = ca.leaf_with(&["a.example"], LeafOptions { key, ..LeafOptions::default() });
            assert!(leaf.key_pem.contains("PRIVATE KEY"), "{key:?}");
        }
    }

    #[test]
    fn a_leaf_of_an_intermediate_carries_the_intermediates_but_not_the_root() {
        let ca = TestCa::new();
        let lower = ca.intermediate("Upper").intermediate("Lower");
        let leaf = lower.leaf(&["a.example"]);
        assert_eq!(leaf.chain_pem.matches("BEGIN CERTIFICATE").count(), 3);
    }
}
