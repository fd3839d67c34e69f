//! Certificates and private keys on disk: PEM, DER and PFX become a chain with a key that signs,
//! and the facts an administrator sees. Reads files and blocks; keeps nothing.

mod ber;
mod distinguished_name;
mod error;
mod facts;
pub(super) mod pem;
mod pfx;
mod private;
mod stamp;
#[cfg(test)]
mod tests;

use std::{
    fmt, fs,
    io::{self, Read},
    path::Path,
    sync::Arc,
};

use rustls::sign::{CertifiedKey, SigningKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::certificate::X509Certificate;

pub use self::{
    error::CertificateError,
    facts::{CertificateFacts, KeyKind, NotACertificate, facts_of_der},
    pem::{PemContents, PemError, parse_pem},
    pfx::PfxError,
    stamp::FileStamp,
};
use self::{
    pfx::PfxContents,
    private::{KeyProblem, signing_key},
};
use crate::limits::{CERTIFICATE_FILE_BYTES_MAX, PASSWORD_FILE_BYTES_MAX};

pub use bindery_model::certificate::CertificateFiles;

/// A chain with a key that signs for it, and its facts.
pub struct Certificate {
    /// What an administrator sees of it.
    pub facts: CertificateFacts,
    /// The chain, leaf first, and the key, which is proved to be the leaf's.
    pub key: Arc<CertifiedKey>,
    /// The files it was read from, as they were.
    pub stamp: FileStamp,
    /// Whether the leaf was not the first certificate of the file and was moved to the front.
    pub leaf_moved: bool,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("facts", &self.facts).finish_non_exhaustive()
    }
}

/// Reads a certificate and its key. Blocks: call it through [`crate::blocking::run`].
///
/// A certificate that is expired or not yet valid is read like any other; its facts tell.
///
/// # Errors
///
/// When a file cannot be read, holds too little, too much or something else, or when the key
/// does not belong to a certificate or cannot sign. See [`CertificateError`].
pub fn load(files: &CertificateFiles) -> Result<Certificate, CertificateError> {
    // Before reading: what is written meanwhile then counts as changed later.
    let stamp = FileStamp::of(files);
    let bytes = read(&files.file, CERTIFICATE_FILE_BYTES_MAX)?;
    let chain = if is_pfx(&files.file, &bytes) {
        chain_of_pfx(files, &bytes)?
    } else {
        chain_of_pem_or_der(files, &bytes)?
    };
    let facts = CertificateFacts { chain_length: chain.certificates.len(), ..chain.facts };
    let key = Arc::new(CertifiedKey::new(chain.certificates, chain.key));
    Ok(Certificate { facts, key, stamp, leaf_moved: chain.leaf_moved })
}

struct Chain {
    facts: CertificateFacts,
    certificates: Vec<CertificateDer<'static>>,
    key: Arc<dyn SigningKey>,
    leaf_moved: bool,
}

fn chain_of_pem_or_der(files: &CertificateFiles, bytes: &[u8]) -> Result<Chain, CertificateError> {
    let path = &files.file;
    let mut contents = contents(path, bytes)?;
    let certificates = std::mem::take(&mut contents.certificates);
    if certificates.is_empty() {
        return Err(CertificateError::NoCertificate { path: path.clone() });
    }
    let (key_path, contents) = match &files.key {
        Some(key) => (key, self::contents(key, &read(key, CERTIFICATE_FILE_BYTES_MAX)?)?),
        None => (path, contents),
    };
    let key = usable(key_path, &the_key(key_path, contents)?)?;
    let parsed = parse_all(path, &certificates)?;
    let Some((index, leaf)) = leaf_of(&*key, &parsed) else {
        return Err(CertificateError::KeyMismatch { path: path.clone(), key: key_path.clone() });
    };
    let facts = facts::facts(leaf);
    Ok(Chain { facts, certificates: leaf_first(certificates, index), key, leaf_moved: index != 0 })
}

/// A PFX has its certificates in no order, and often ones that have nothing to do with each other,
/// so the chain is made by following the issuers.
fn chain_of_pfx(files: &CertificateFiles, bytes: &[u8]) -> Result<Chain, CertificateError> {
    let path = &files.file;
    let PfxContents { keys, certificates } = open_pfx(files, bytes)?;
    if certificates.is_empty() {
        return Err(CertificateError::NoCertificate { path: path.clone() });
    }
    let parsed = parse_all(path, &certificates)?;
    // Why the last key could not be used, for when none can.
    let mut problem = CertificateError::NoKey { path: path.clone() };
    for key in keys {
        match usable(path, &PrivatePkcs8KeyDer::from(key).into()) {
            Ok(key) => {
                if let Some((_, leaf)) = leaf_of(&*key, &parsed) {
                    let facts = facts::facts(leaf);
                    let certificates = with_issuers(leaf, &parsed);
                    return Ok(Chain { facts, certificates, key, leaf_moved: false });
                }
                problem = CertificateError::KeyMismatch { path: path.clone(), key: path.clone() };
            }
            Err(error) => problem = error,
        }
    }
    Err(problem)
}

/// The certificates and keys of a file that is not a PFX.
fn contents(path: &Path, bytes: &[u8]) -> Result<PemContents, CertificateError> {
    if pem::is_pem(bytes) {
        return parse_pem(bytes)
            .map_err(|source| CertificateError::Pem { path: path.to_owned(), source });
    }
    let mut contents = PemContents::default();
    if facts::parse(bytes).is_ok() {
        contents.certificates.push(CertificateDer::from(bytes.to_vec()));
    } else if let Ok(key) = PrivateKeyDer::try_from(bytes) {
        contents.keys.push(key.clone_key());
    }
    Ok(contents)
}

/// The one key of a file.
fn the_key(path: &Path, contents: PemContents) -> Result<PrivateKeyDer<'static>, CertificateError> {
    let path = path.to_owned();
    let encrypted = contents.encrypted_keys > 0;
    let count = contents.keys.len();
    let mut keys = contents.keys.into_iter();
    match (keys.next(), keys.next()) {
        (Some(key), None) => Ok(key),
        (Some(_), Some(_)) => Err(CertificateError::ManyKeys { path, count }),
        (None, _) if encrypted => Err(CertificateError::EncryptedKey { path }),
        (None, _) => Err(CertificateError::NoKey { path }),
    }
}

fn usable(path: &Path, key: &PrivateKeyDer<'_>) -> Result<Arc<dyn SigningKey>, CertificateError> {
    signing_key(key).map_err(|problem| match problem {
        KeyProblem::Broken => CertificateError::BrokenKey { path: path.to_owned() },
        KeyProblem::Unsupported(what) => {
            CertificateError::UnsupportedKey { path: path.to_owned(), what }
        }
    })
}

fn parse_all<'a>(
    path: &Path,
    certificates: &'a [CertificateDer<'static>],
) -> Result<Vec<X509Certificate<'a>>, CertificateError> {
    let parse = |(index, certificate): (usize, &'a CertificateDer<'static>)| {
        facts::parse(certificate).map_err(|NotACertificate| CertificateError::BrokenCertificate {
            path: path.to_owned(),
            number: index + 1,
        })
    };
    certificates.iter().enumerate().map(parse).collect()
}

/// The first certificate for the public half of `key`: this is the proof that the two belong
/// together.
fn leaf_of<'a, 'b>(
    key: &dyn SigningKey,
    certificates: &'a [X509Certificate<'b>],
) -> Option<(usize, &'a X509Certificate<'b>)> {
    let public = key.public_key()?;
    let is_leaf = |leaf: &X509Certificate<'_>| leaf.public_key().raw == public.as_ref();
    certificates.iter().enumerate().find(|(_, certificate)| is_leaf(certificate))
}

fn leaf_first(
    mut certificates: Vec<CertificateDer<'static>>,
    leaf: usize,
) -> Vec<CertificateDer<'static>> {
    let first = certificates.remove(leaf);
    certificates.retain(|certificate| *certificate != first);
    certificates.insert(0, first);
    certificates
}

/// The leaf and those above it, each the issuer of the one before, without the root: a client that
/// trusts it has it (RFC 8446, 4.4.2).
fn with_issuers(
    leaf: &X509Certificate<'_>,
    certificates: &[X509Certificate<'_>],
) -> Vec<CertificateDer<'static>> {
    let is_root = |one: &X509Certificate<'_>| one.subject().as_raw() == one.issuer().as_raw();
    let mut chain = vec![leaf];
    // Each certificate is taken once at most, so a circle of issuers ends.
    while let Some(issuer) = chain.last().and_then(|lowest| {
        certificates.iter().find(|candidate| {
            candidate.subject().as_raw() == lowest.issuer().as_raw()
                && !is_root(candidate)
                && !chain.contains(candidate)
        })
    }) {
        chain.push(issuer);
    }
    chain.into_iter().map(|one| CertificateDer::from(one.as_raw().to_vec())).collect()
}

/// By what is in the file first; a file that says it is a PFX and is none shall fail as a PFX.
fn is_pfx(path: &Path, bytes: &[u8]) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let named = ["pfx", "p12"].iter().any(|known| extension.eq_ignore_ascii_case(known));
    pfx::is_pfx(bytes) || (named && !pem::is_pem(bytes))
}

fn open_pfx(files: &CertificateFiles, bytes: &[u8]) -> Result<PfxContents, CertificateError> {
    let path = files.file.clone();
    let password = files.password_file.as_deref().map(password).transpose()?;
    pfx::open(bytes, password.as_deref().unwrap_or_default()).map_err(|problem| {
        match (problem, &files.password_file) {
            (PfxError::Password, Some(password_file)) => {
                CertificateError::WrongPassword { path, password_file: password_file.clone() }
            }
            (PfxError::Password, None) => CertificateError::PasswordNeeded { path },
            (source, _) => CertificateError::Pfx { path, source },
        }
    })
}

/// The text of a password file without the one line end an editor puts there.
fn password(path: &Path) -> Result<String, CertificateError> {
    let bytes = read(path, PASSWORD_FILE_BYTES_MAX)?;
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        // The cause is dropped on purpose: it would tell about the password.
        Err(_) => Err(CertificateError::PasswordNotText { path: path.to_owned() }),
    }
}

fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, CertificateError> {
    let failed = |source| CertificateError::Read { path: path.to_owned(), source };
    // Opening a pipe would wait for its other end.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")));
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(failed)?;
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(failed)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > bytes_max) {
        return Err(CertificateError::TooLarge { path: path.to_owned(), bytes_max });
    }
    Ok(bytes)
}
