//! TLS to upstream servers.

use std::{io, path::Path, sync::Arc};

use bindery_model::upstream::UpstreamTls;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;

use super::{keys::pem, policy};
use crate::{blocking, handler::proxy::wire::Socket, limits::CERTIFICATE_FILE_BYTES_MAX};

/// A TLS connection to an upstream server.
pub(crate) type TlsStream = tokio_rustls::client::TlsStream<Socket>;

/// The authorities of this machine, read when they are first needed.
#[derive(Default)]
pub(crate) struct SystemRoots(OnceCell<Arc<RootCertStore>>);

impl SystemRoots {
    async fn get(&self) -> io::Result<Arc<RootCertStore>> {
        let read = || async {
            let found = blocking::run("reading the system's authorities", || {
                rustls_native_certs::load_native_certs()
            });
            let found = found.await?;
            let mut roots = RootCertStore::empty();
            let (usable, _) = roots.add_parsable_certificates(found.certs);
            if usable == 0 {
                return Err(io::Error::other("this system has no certificate authorities"));
            }
            Ok(Arc::new(roots))
        };
        self.0.get_or_try_init(read).await.cloned()
    }
}

/// How TLS is spoken to one member.
pub(crate) struct Connector {
    connector: TlsConnector,
    server_name: Option<String>,
}

impl Connector {
    /// Reads what is needed to verify the member.
    ///
    /// # Errors
    ///
    /// When the file of authorities cannot be used, or there are none.
    pub(crate) async fn new(
        tls: &UpstreamTls,
        http2: bool,
        system: &SystemRoots,
    ) -> io::Result<Self> {
        let provider = policy::provider();
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let builder = match (&tls.ca, tls.insecure) {
            (_, true) => {
                let verifier = Arc::new(Anybody(provider));
                builder.dangerous().with_custom_certificate_verifier(verifier)
            }
            (Some(file), false) => {
                let file = file.clone();
                let roots = blocking::run("reading authorities", move || authorities(&file));
                builder.with_root_certificates(roots.await??)
            }
            (None, false) => builder.with_root_certificates(system.get().await?),
        };
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = vec![if http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        let server_name = tls.server_name.clone();
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), server_name })
    }

    /// The handshake. The certificate must be that of the configured name, or of `host`.
    ///
    /// # Errors
    ///
    /// When there is no such name, or the handshake fails.
    pub(crate) async fn connect(&self, socket: Socket, host: &str) -> io::Result<Box<TlsStream>> {
        let name = self.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(name.to_owned()).map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("{name:?} is no server name"))
        })?;
        let stream = Box::pin(self.connector.connect(name, socket)).await?;
        Ok(Box::new(stream))
    }
}

/// Whether HTTP/2 was agreed upon.
pub(crate) fn speaks_http2(stream: &TlsStream) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(b"h2")
}

fn authorities(file: &Path) -> io::Result<RootCertStore> {
    let named = |error: &dyn std::fmt::Display| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", file.display()))
    };
    let length = std::fs::metadata(file).map_err(|error| named(&error))?.len();
    if length > CERTIFICATE_FILE_BYTES_MAX {
        return Err(named(&"it is too large"));
    }
    let bytes = std::fs::read(file).map_err(|error| named(&error))?;
    let contents = pem::parse_pem(&bytes).map_err(|error| named(&error))?;
    let mut roots = RootCertStore::empty();
    for certificate in contents.certificates {
        roots.add(certificate).map_err(|error| named(&error))?;
    }
    if roots.is_empty() {
        return Err(named(&"it holds no certificate"));
    }
    Ok(roots)
}

/// Takes any certificate, as the configuration asks for. The handshake is still one with who holds
/// its key.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
