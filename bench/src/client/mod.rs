//! The TLS client of the benchmark: what it offers, and what it checks.
//!
//! It is made to need little processor time itself. By default it takes any certificate and skips
//! the check of the signature; with an [`Audit`] it checks both, and that the certificate is the
//! very one that was made for the name.

pub(crate) mod answer;
pub(crate) mod echo;
pub(crate) mod exchange;
pub(crate) mod generator;
mod h2;
pub(crate) mod poll;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::{
    ClientConfig, DigitallySignedStruct, NamedGroup, RootCertStore, SignatureScheme, version,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::client::exchange::{Exchange, Fault, Progress, Task};
use crate::client::poll::Poll;
use crate::failure::{Context, Failure};
use crate::fleet::{self, Fleet};

/// The one TLS version that is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Version {
    #[value(name = "1.2")]
    Tls12,
    #[value(name = "1.3")]
    Tls13,
}

/// The one key exchange that is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Group {
    #[value(name = "x25519")]
    X25519,
    #[value(name = "x25519mlkem768")]
    X25519Mlkem768,
}

impl Group {
    /// What is offered. TLS 1.2 has one list for key exchange and certificates (RFC 8422, section
    /// 5.1.1), so there P-256 must follow, or a certificate with that curve may not be shown.
    fn offered(self, version: Version) -> Vec<&'static dyn SupportedKxGroup> {
        match version {
            Version::Tls12 => vec![self.exchange(), aws_lc_rs::kx_group::SECP256R1],
            Version::Tls13 => vec![self.exchange()],
        }
    }

    /// The number of the group that must be negotiated.
    pub(crate) fn number(self) -> NamedGroup {
        self.exchange().name()
    }

    fn exchange(self) -> &'static dyn SupportedKxGroup {
        match self {
            Self::X25519 => aws_lc_rs::kx_group::X25519,
            Self::X25519Mlkem768 => aws_lc_rs::kx_group::X25519MLKEM768,
        }
    }
}

/// What the client offers in its hello.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offer {
    pub version: Version,
    pub group: Group,
    /// The one protocol in ALPN: `http/1.1` or `h2`.
    pub protocol: &'static str,
    /// Sessions are kept for this many names; 0 means that none is resumed.
    pub sessions: u32,
}

impl Offer {
    /// The plainest offer: TLS 1.3, X25519, HTTP/1.1, no resumption.
    pub(crate) const PLAIN: Self =
        Self { version: Version::Tls13, group: Group::X25519, protocol: "http/1.1", sessions: 0 };

    /// A configuration that offers just this. All peers are given the same cipher, AES-128-GCM.
    pub(crate) fn config(&self, audit: Option<&Audit>) -> Result<Arc<ClientConfig>, Failure> {
        let provider = Arc::new(CryptoProvider {
            cipher_suites: vec![
                aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
                aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
                aws_lc_rs::cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            ],
            kx_groups: self.group.offered(self.version),
            ..aws_lc_rs::default_provider()
        });
        let version = match self.version {
            Version::Tls12 => &version::TLS12,
            Version::Tls13 => &version::TLS13,
        };
        let verifier: Arc<dyn ServerCertVerifier> = match audit {
            Some(audit) => Arc::clone(&audit.verifier) as Arc<dyn ServerCertVerifier>,
            None => Arc::new(Unverified(Arc::clone(&provider))),
        };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .context(|| format!("cannot offer {self:?}"))?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.alpn_protocols = vec![self.protocol.as_bytes().to_vec()];
        config.resumption = match self.sessions {
            0 => Resumption::disabled(),
            names => Resumption::in_memory_sessions(session_slots(names)),
        };
        Ok(Arc::new(config))
    }
}

/// rustls counts eight tickets for each server it remembers.
fn session_slots(names: u32) -> usize {
    const TICKETS_PER_SERVER: usize = 8;
    usize::try_from(names)
        .unwrap_or(usize::MAX)
        .saturating_add(1)
        .saturating_mul(TICKETS_PER_SERVER)
}

/// What must be shown for each name: a certificate that the CA signed for it, and that very one.
#[derive(Clone)]
pub(crate) struct Audit {
    verifier: Arc<WebPkiServerVerifier>,
    certificates: Arc<Vec<CertificateDer<'static>>>,
}

impl Audit {
    /// Reads the CA and all certificates of a fleet.
    pub(crate) fn of(fleet: &Fleet) -> Result<Self, Failure> {
        let mut roots = RootCertStore::empty();
        let authority = fleet::read_certificate(&fleet.authority())?;
        roots.add(authority).context(|| "cannot trust the local CA".to_owned())?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .context(|| "cannot trust the local CA".to_owned())?;
        let certificates = (0..fleet.names)
            .map(|index| fleet::read_certificate(&fleet.certificate(index)))
            .collect::<Result<_, _>>()?;
        Ok(Self { verifier, certificates: Arc::new(certificates) })
    }

    /// Whether this is the certificate that was made for the name with this number.
    pub(crate) fn is_own(&self, index: u32, shown: Option<&CertificateDer<'_>>) -> bool {
        let own = usize::try_from(index).ok().and_then(|index| self.certificates.get(index));
        own.is_some() && own == shown
    }
}

/// Server names by their numbers.
pub(crate) type ServerNames = Vec<ServerName<'static>>;

/// The server names of a fleet, parsed once.
pub(crate) fn server_names(names: u32) -> Result<ServerNames, Failure> {
    (0..names).map(|index| server_name(fleet::host(index))).collect()
}

/// A host as a TLS server name.
pub(crate) fn server_name(host: String) -> Result<ServerName<'static>, Failure> {
    let text = host.clone();
    ServerName::try_from(host).context(|| format!("{text} is no server name"))
}

/// One connection that must succeed; the server is then left alone.
pub(crate) fn probe(
    target: SocketAddr,
    offer: &Offer,
    host: &str,
    task: Task,
) -> Result<(), Failure> {
    const TIMEOUT: Duration = Duration::from_secs(5);
    let failed = |fault: Fault| Failure::new(format!("asked for {host}: {fault}"));
    let config = Offer { protocol: task.protocol(), ..*offer }.config(None)?;
    let name = server_name(host.to_owned())?;
    let mut poll = Poll::new()?;
    let mut exchange = Exchange::start(target, &config, (0, &name), task).map_err(failed)?;
    poll.add(exchange.stream(), 0)?;
    while exchange.started.elapsed() < TIMEOUT {
        poll.wait(Duration::from_millis(100))?;
        if exchange.drive().map_err(failed)? != Progress::Waiting {
            return Ok(());
        }
    }
    Err(failed(Fault::Answer("timed out")))
}

/// Takes every certificate and every signature: the client's time is not what is measured.
struct Unverified(Arc<CryptoProvider>);

impl fmt::Debug for Unverified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unverified")
    }
}

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
