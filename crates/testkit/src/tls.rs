//! [`TestClient`]: a TLS client that says exactly what a test wants it to say, and keeps what it
//! was told. It verifies signatures and no names: tests compare the certificate that was shown.

use std::{fmt, io, net::SocketAddr, sync::Arc};

use rustls::{
    AlertDescription, ClientConfig, DigitallySignedStruct, HandshakeKind, NamedGroup,
    ProtocolVersion, SignatureScheme, SupportedProtocolVersion,
    client::{
        ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue,
        Tls13ClientSessionValue,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{
        CryptoProvider, SupportedKxGroup, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
    },
};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime, pem::PemObject as _,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{ca::TestLeaf, soon};

/// What a client is to say.
pub struct ClientOptions<'a> {
    /// The versions it offers.
    pub versions: &'a [&'static SupportedProtocolVersion],
    /// The protocols it offers by ALPN.
    pub alpn: &'a [&'a str],
    /// The signatures it verifies; `None` for all that are known.
    pub schemes: Option<Vec<SignatureScheme>>,
    /// The groups it offers, best first; `None` for all that are known.
    pub groups: Option<Vec<NamedGroup>>,
    /// The certificate it shows when it is asked.
    pub identity: Option<&'a TestLeaf>,
    /// Which sessions it offers to resume.
    pub sessions: Sessions,
}

/// Which sessions a client offers to resume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sessions {
    /// None.
    Off,
    /// Those of the same name, as clients do.
    OfTheName,
    /// Any that it has, whatever name it was made for: what a client must not do.
    Any,
}

impl Default for ClientOptions<'_> {
    fn default() -> Self {
        Self {
            versions: rustls::ALL_VERSIONS,
            alpn: &[],
            schemes: None,
            groups: None,
            identity: None,
            sessions: Sessions::Off,
        }
    }
}

/// A TLS client. Sessions are kept from one connection to the next, as far as the options say.
#[derive(Clone)]
pub struct TestClient {
    config: Arc<ClientConfig>,
}

impl Default for TestClient {
    fn default() -> Self {
        Self::new(ClientOptions::default())
    }
}

impl TestClient {
    /// A client with these options.
    ///
    /// # Panics
    ///
    /// When the options contradict each other.
    #[must_use]
    pub fn new(options: ClientOptions<'_>) -> Self {
        let mut provider = aws_lc_rs::default_provider();
        if let Some(groups) = &options.groups {
            let known = aws_lc_rs::ALL_KX_GROUPS;
            provider.kx_groups = groups
                .iter()
                .map(|wanted| *known.iter().find(|own| own.name() == *wanted).expect("known"))
                .collect();
        }
        let provider = Arc::new(provider);
        let verifier =
            Arc::new(AnyName { provider: Arc::clone(&provider), schemes: options.schemes });
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(options.versions)
            .expect("versions that are known")
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match options.identity {
            None => builder.with_no_client_auth(),
            Some(leaf) => {
                let chain = CertificateDer::pem_slice_iter(leaf.chain_pem.as_bytes())
                    .collect::<Result<Vec<_>, _>>()
                    .expect("PEM made here");
                let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf.key_der.clone()));
                builder.with_client_auth_cert(chain, key).expect("a key made here")
            }
        };
        config.alpn_protocols = options.alpn.iter().map(|one| one.as_bytes().to_vec()).collect();
        config.resumption = match options.sessions {
            Sessions::Off => Resumption::disabled(),
            Sessions::OfTheName => Resumption::in_memory_sessions(64),
            Sessions::Any => Resumption::store(Arc::new(OneDrawer::default())),
        };
        Self { config: Arc::new(config) }
    }

    /// A client that offers these protocols.
    #[must_use]
    pub fn with_alpn(alpn: &[&str]) -> Self {
        Self::new(ClientOptions { alpn, ..ClientOptions::default() })
    }

    /// A client that offers these versions.
    #[must_use]
    pub fn with_versions(versions: &[&'static SupportedProtocolVersion]) -> Self {
        Self::new(ClientOptions { versions, ..ClientOptions::default() })
    }

    /// Connects to `address` and asks for `name`; for nobody when it is `None`.
    ///
    /// # Errors
    ///
    /// Why there is no connection.
    ///
    /// # Panics
    ///
    /// When it takes too long.
    pub async fn connect(
        &self,
        address: SocketAddr,
        name: Option<&str>,
    ) -> Result<TestConnection, Refused> {
        let tcp = TcpStream::connect(address).await.map_err(Refused::Broken)?;
        self.connect_over(tcp, name).await
    }

    /// The same over a connection that is open.
    ///
    /// # Errors
    ///
    /// Why there is no handshake.
    ///
    /// # Panics
    ///
    /// When it takes too long.
    pub async fn connect_over(
        &self,
        tcp: TcpStream,
        name: Option<&str>,
    ) -> Result<TestConnection, Refused> {
        let mut config = Arc::clone(&self.config);
        let name = match name {
            Some(name) => ServerName::try_from(name.to_owned()).expect("a name"),
            None => {
                Arc::make_mut(&mut config).enable_sni = false;
                ServerName::try_from("nobody.invalid").expect("a name")
            }
        };
        tcp.set_nodelay(true).map_err(Refused::Broken)?;
        let handshake = TlsConnector::from(config).connect(name, tcp);
        let stream = soon("a handshake", handshake).await.map_err(Refused::of)?;
        let tls = stream.get_ref().1;
        Ok(TestConnection {
            leaf: tls
                .peer_certificates()
                .and_then(|chain| chain.first())
                .map_or_else(Vec::new, |leaf| leaf.to_vec()),
            version: tls.protocol_version().expect("after the handshake"),
            group: tls.negotiated_key_exchange_group().map(SupportedKxGroup::name),
            alpn: tls.alpn_protocol().map(|alpn| String::from_utf8_lossy(alpn).into_owned()),
            resumed: tls.handshake_kind() == Some(HandshakeKind::Resumed),
            stream,
        })
    }
}

/// A connection, with what its handshake came to.
#[derive(Debug)]
pub struct TestConnection {
    /// The certificate that was shown, as DER.
    pub leaf: Vec<u8>,
    /// The version.
    pub version: ProtocolVersion,
    /// The group of the key exchange; `None` on some that were resumed.
    pub group: Option<NamedGroup>,
    /// The protocol that was chosen.
    pub alpn: Option<String>,
    /// Whether a session was resumed.
    pub resumed: bool,
    /// The connection.
    pub stream: TlsStream<TcpStream>,
}

/// Why there is no connection.
#[derive(Debug)]
pub enum Refused {
    /// The server said so.
    Alert(AlertDescription),
    /// The client said so.
    Tls(rustls::Error),
    /// The connection broke.
    Broken(io::Error),
}

impl Refused {
    /// Sorts an error of a TLS stream.
    #[must_use]
    pub fn of(error: io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::AlertReceived(alert)) => Self::Alert(*alert),
            Some(error) => Self::Tls(error.clone()),
            None => Self::Broken(error),
        }
    }

    /// The alert that the server sent.
    #[must_use]
    pub fn alert(&self) -> Option<AlertDescription> {
        match self {
            Self::Alert(alert) => Some(*alert),
            Self::Tls(_) | Self::Broken(_) => None,
        }
    }
}

/// Believes every certificate whose key made the signature.
struct AnyName {
    provider: Arc<CryptoProvider>,
    schemes: Option<Vec<SignatureScheme>>,
}

impl fmt::Debug for AnyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyName")
    }
}

impl ServerCertVerifier for AnyName {
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
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let known = || self.provider.signature_verification_algorithms.supported_schemes();
        self.schemes.clone().unwrap_or_else(known)
    }
}

/// All sessions in one drawer, whatever name they were made for.
struct OneDrawer(ClientSessionMemoryCache);

impl Default for OneDrawer {
    fn default() -> Self {
        Self(ClientSessionMemoryCache::new(64))
    }
}

impl fmt::Debug for OneDrawer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneDrawer")
    }
}

fn drawer() -> ServerName<'static> {
    ServerName::try_from("drawer.invalid").expect("a name")
}

impl ClientSessionStore for OneDrawer {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(drawer(), group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.kx_hint(&drawer())
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.set_tls12_session(drawer(), value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(&drawer())
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.0.remove_tls12_session(&drawer());
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(drawer(), value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&drawer())
    }
}
