//! What a [`TlsPolicy`] means to rustls: one base configuration for each distinct policy, made
//! when a configuration is proved. A handshake clones it (0.2 µs) and adds its key and tickets, so
//! nothing is kept for a name but its certificate.

use std::{fs, io, path::PathBuf, sync::Arc};

use ::aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use bindery_model::{
    certificate::CertificateFiles,
    tls::{ClientCertificate, TlsPolicy, TlsVersion},
};
use rustls::{
    RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{
        ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
        danger::ClientCertVerifier,
    },
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};

use super::{keys::FileStamp, sealing};

/// The base configuration of a policy.
#[derive(Debug)]
pub struct PolicyConfig {
    base: ServerConfig,
    /// A session under a policy with client certificates is not resumed: a resumed handshake
    /// verifies none, so its owner could outlive its revocation by the life of the ticket.
    pub(super) resumable: bool,
    /// What the file of client authorities held, where there is one.
    pub(crate) authorities: Option<Authorities>,
    /// What the file system said of that file before it was read.
    stamp: Option<FileStamp>,
}

/// SHA-256 of a file of client authorities. A policy names the file, and what is in it may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authorities([u8; SHA256_OUTPUT_LEN]);

impl Authorities {
    fn of(text: &[u8]) -> Self {
        let mut hash = [0; SHA256_OUTPUT_LEN];
        hash.copy_from_slice(digest(&SHA256, text).as_ref());
        Self(hash)
    }
}

/// Why a policy cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The authorities for client certificates cannot be read.
    #[error("client_ca {} could not be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no usable authority in it.
    #[error("client_ca {} holds no usable certificate: {reason}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What the reader of it says.
        reason: String,
    },
    /// rustls does not take the combination.
    #[error("the TLS settings cannot be combined")]
    Rejected(#[from] rustls::Error),
}

/// The cryptography of handshakes.
pub(crate) type Provider = Arc<CryptoProvider>;

/// The cryptography of every handshake. X25519MLKEM768 comes first.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    sealing::out_of_place(&mut provider.cipher_suites);
    Arc::new(provider)
}

impl PolicyConfig {
    /// The base of `policy`. Reads the file of client authorities, where there is one.
    ///
    /// # Errors
    ///
    /// When that file is of no use.
    pub fn new(policy: &TlsPolicy, provider: &Arc<CryptoProvider>) -> Result<Self, PolicyError> {
        let stamp = stamp(policy);
        let versions: &[&SupportedProtocolVersion] = match (policy.minimum, policy.maximum) {
            (TlsVersion::Tls12, TlsVersion::Tls12) => &[&TLS12],
            (TlsVersion::Tls12, TlsVersion::Tls13) => &[&TLS13, &TLS12],
            (TlsVersion::Tls13, _) => &[&TLS13],
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
            .with_protocol_versions(versions)?;
        let (builder, authorities) = match client_verifier(&policy.client_certificate, provider)? {
            Some((verifier, found)) => (builder.with_client_cert_verifier(verifier), Some(found)),
            None => (builder.with_no_client_auth(), None),
        };
        let mut base = builder.with_cert_resolver(Arc::new(OneKey(None)));
        base.session_storage = Arc::new(NoServerSessionStorage {});
        // A second ticket would cost 5 µs a handshake, for clients that open several connections
        // at once and do not mind a full handshake for the second.
        base.send_tls13_tickets = 1;
        base.alpn_protocols = match policy.http2 {
            true => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            false => vec![b"http/1.1".to_vec()],
        };
        let resumable = policy.client_certificate == ClientCertificate::Off;
        if !resumable {
            base.send_tls13_tickets = 0;
        }
        Ok(Self { base, resumable, authorities, stamp })
    }

    /// Whether the files that it was made of are as they were. Blocks for a `stat`.
    pub(crate) fn is_current(&self, policy: &TlsPolicy) -> bool {
        self.stamp == stamp(policy)
    }

    /// The configuration of one handshake, which shows `key`.
    pub(super) fn with_key(&self, key: Arc<CertifiedKey>) -> ServerConfig {
        let mut config = self.base.clone();
        config.cert_resolver = Arc::new(OneKey(Some(key)));
        config
    }
}

fn stamp(policy: &TlsPolicy) -> Option<FileStamp> {
    let file = policy.client_certificate.ca()?.clone();
    Some(FileStamp::of(&CertificateFiles { file, key: None, password_file: None }))
}

/// What verifies client certificates, and whom it believes.
type Verifier = (Arc<dyn ClientCertVerifier>, Authorities);

fn client_verifier(
    policy: &ClientCertificate,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Verifier>, PolicyError> {
    let Some(path) = policy.ca() else { return Ok(None) };
    let unusable = |reason: String| PolicyError::Unusable { path: path.clone(), reason };
    let text =
        fs::read(path).map_err(|source| PolicyError::Unreadable { path: path.clone(), source })?;
    let roots = authorities(&text).map_err(unusable)?;
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = match policy {
        ClientCertificate::Optional { .. } => builder.allow_unauthenticated(),
        ClientCertificate::Required { .. } | ClientCertificate::Off => builder,
    };
    let verifier = builder.build().map_err(|error| unusable(error.to_string()))?;
    Ok(Some((verifier, Authorities::of(&text))))
}

/// The certificates of a PEM text, as authorities.
///
/// # Errors
///
/// When there is none, or one that is broken; the text says why.
pub(crate) fn authorities(text: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(text) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    match roots.is_empty() {
        true => Err("no PEM block of a certificate in it".to_owned()),
        false => Ok(roots),
    }
}

/// Shows the key that was decided on.
#[derive(Debug)]
struct OneKey(Option<Arc<CertifiedKey>>);

impl ResolvesServerCert for OneKey {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }
}
