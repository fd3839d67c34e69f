//! Which certificate a binding wants, and where the certificates of a configuration are. What is
//! in them is known where files are read.

use std::{fmt, path::PathBuf};

/// Where a certificate and its key are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CertificateFiles {
    /// PEM with the chain, and the key too unless `key` names it; or PFX (RFC 7292).
    pub file: PathBuf,
    /// PEM with the private key.
    pub key: Option<PathBuf>,
    /// The password of a PFX, alone in a file.
    pub password_file: Option<PathBuf>,
}

/// A certificate that the configuration names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CertificateSource {
    /// What bindings call it.
    pub name: String,
    /// Where it is.
    pub files: CertificateFiles,
}

/// How a binding points at a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CertificateReference {
    /// By its place in the list of certificates.
    Source(CertificateId),
    /// By the SHA-1 of the leaf, as IIS tools print it.
    Thumbprint([u8; 20]),
    /// By the SHA-256 of the leaf.
    Fingerprint([u8; 32]),
}

/// The place of a certificate in [`crate::table::MemoryTable::certificates`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CertificateId(pub u32);

/// Which certificate a binding wants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum CertificateChoice {
    /// The best of all certificates that cover the host: valid now, exact before wildcard, the
    /// one that lasts longest; one of each kind of key.
    #[default]
    Best,
    /// These, in this order, by what the client can verify.
    Listed(Vec<CertificateReference>),
    /// The file that the central store has for the name.
    Central,
    /// None: handshakes that lead to the binding are refused, as where IIS has no record.
    None,
}

impl fmt::Display for CertificateReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: &[u8] = match self {
            Self::Source(id) => return write!(f, "#{}", id.0),
            Self::Thumbprint(bytes) => bytes,
            Self::Fingerprint(bytes) => bytes,
        };
        bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
