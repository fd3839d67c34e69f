//! The client's half of a handshake, watched. The only module of the program that names rustls
//! types: the data plane has a server's half only, and a probe must look at records, at what was
//! negotiated and at a chain that it does not trust.

use std::{
    fs,
    io::{self, Read, Write},
    net::TcpStream,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bindery_model::name::{Host, HostName};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind, InvalidMessage,
    RootCertStore, SignatureScheme, StreamOwned,
    client::{
        ResolvesClientCert, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _};

/// Whom to believe.
#[derive(Clone, Debug)]
pub(super) enum Trust {
    /// The authorities of this machine.
    System,
    /// Those in a PEM file.
    File(PathBuf),
    /// Everybody.
    Everybody,
}

/// What the client says first.
pub(super) struct Hello<'a> {
    pub(super) server_name: Option<&'a HostName>,
    /// For whom the certificate must be.
    pub(super) host: &'a Host,
    pub(super) alpn: &'a [&'a str],
}

/// What was seen of a handshake, as far as it went.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Bytes of the hello, and how long it took to make it.
    pub(super) hello: (usize, Duration),
    /// Bytes of the server's first record, and how long it took to come.
    pub(super) first_answer: Option<(usize, Duration)>,
    pub(super) version: Option<String>,
    pub(super) cipher: Option<String>,
    pub(super) group: Option<String>,
    pub(super) alpn: Option<String>,
    /// Whether the server asked for another hello.
    pub(super) retried: bool,
    /// The certificates that were shown, leaf first, as DER.
    pub(super) chain: Vec<Vec<u8>>,
    /// What came of verifying them, and how long it took.
    pub(super) verified: Option<(Result<(), String>, Duration)>,
    pub(super) client_certificate_asked: bool,
    pub(super) sent: usize,
    pub(super) received: usize,
    pub(super) time: Duration,
    /// The alert of the server.
    pub(super) alert: Option<String>,
    /// Why there is no handshake.
    pub(super) error: Option<String>,
}

/// A stream of any kind.
pub(super) trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// Does a handshake on `tcp`. What was seen is told in any case.
pub(super) fn handshake(
    mut tcp: TcpStream,
    hello: &Hello<'_>,
    trust: &Trust,
) -> (Seen, Option<Box<dyn Stream>>) {
    let mut seen = Seen::default();
    let (verifier, asked) = match (Recorder::new(hello.host, trust), Arc::default()) {
        (Ok(verifier), asked) => (Arc::new(verifier), asked),
        (Err(error), _) => return (Seen { error: Some(error), ..seen }, None),
    };
    // The first key share of a process waits for entropy far longer than all later ones.
    drop(connection(hello, &verifier, &asked));
    let started = Instant::now();
    let connection = connection(hello, &verifier, &asked);
    let mut connection = match connection {
        Ok(connection) => connection,
        Err(error) => return (Seen { error: Some(error.to_string()), ..seen }, None),
    };
    let done = drive(&mut tcp, &mut connection, &mut seen, started);
    seen.time = started.elapsed();
    seen.note(&connection);
    seen.client_certificate_asked = asked.0.load(Ordering::Relaxed);
    let found = verifier.found.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(found) = found {
        seen.chain = found.chain;
        seen.verified = Some((found.verdict, found.took));
    }
    match done {
        Ok(()) => (seen, Some(Box::new(StreamOwned::new(connection, tcp)))),
        Err(error) => {
            seen.alert = alert_of(&error);
            seen.error = Some(match error.get_ref().and_then(|source| source.downcast_ref()) {
                Some(error) => in_words(error),
                None => error.to_string(),
            });
            (seen, None)
        }
    }
}

/// The name of the alert that an error is about, as IANA has it.
pub(super) fn alert_of(error: &io::Error) -> Option<String> {
    let source = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let rustls::Error::AlertReceived(alert) = source else { return None };
    let mut name = String::new();
    let mut before_upper = true;
    for letter in format!("{alert:?}").chars() {
        if letter.is_uppercase() && !before_upper {
            name.push('_');
        }
        before_upper = letter.is_uppercase();
        name.push(letter.to_ascii_lowercase());
    }
    Some(name.replace("unrecognised", "unrecognized"))
}

impl Seen {
    fn note(&mut self, connection: &ClientConnection) {
        self.version = connection.protocol_version().map(|version| {
            let text = format!("{version:?}");
            text.replace("TLSv1_", "TLS 1.")
        });
        self.cipher =
            connection.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite()));
        self.group =
            connection.negotiated_key_exchange_group().map(|group| format!("{:?}", group.name()));
        self.alpn = connection.alpn_protocol().map(|name| String::from_utf8_lossy(name).into());
        self.retried =
            connection.handshake_kind() == Some(HandshakeKind::FullWithHelloRetryRequest);
    }
}

fn connection(
    hello: &Hello<'_>,
    verifier: &Arc<Recorder>,
    asked: &Arc<NoCertificate>,
) -> Result<ClientConnection, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&verifier.provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(verifier) as Arc<dyn ServerCertVerifier>)
        .with_client_cert_resolver(Arc::clone(asked) as Arc<dyn ResolvesClientCert>);
    config.alpn_protocols = hello.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config.enable_sni = hello.server_name.is_some();
    let name = match hello.server_name {
        Some(name) => server_name(&Host::Name(name.clone()))?,
        None => verifier.host.clone(),
    };
    ClientConnection::new(Arc::new(config), name)
}

fn server_name(host: &Host) -> Result<ServerName<'static>, rustls::Error> {
    match host {
        Host::Address(address) => Ok(ServerName::IpAddress((*address).into())),
        Host::Name(name) => ServerName::try_from(name.to_string())
            .map_err(|_| rustls::Error::General(format!("{name} cannot stand in a hello"))),
    }
}

/// Sends and receives until the handshake is over.
fn drive(
    tcp: &mut TcpStream,
    connection: &mut ClientConnection,
    seen: &mut Seen,
    started: Instant,
) -> io::Result<()> {
    while connection.is_handshaking() {
        // Before sending: on one machine the answer can be there when the call returns.
        let sending = started.elapsed();
        while connection.wants_write() {
            seen.sent += connection.write_tls(tcp)?;
        }
        if seen.hello.0 == 0 {
            seen.hello = (seen.sent, sending);
        }
        let mut bytes = [0; 16 * 1024];
        let length = tcp.read(&mut bytes)?;
        let bytes = bytes.get(..length).unwrap_or_default();
        if bytes.is_empty() {
            let why = "the server closed the connection";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
        }
        seen.received += length;
        if seen.first_answer.is_none() {
            seen.first_answer = Some((first_record(bytes), started.elapsed() - seen.hello.1));
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            connection.read_tls(&mut rest)?;
            if let Err(error) = connection.process_new_packets() {
                // The alert is worth one try; the connection ends whether it arrives or not.
                drop(connection.write_tls(tcp));
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
    }
    // The end of the handshake goes out with the request in TLS 1.3; a probe counts it here.
    while connection.wants_write() {
        seen.sent += connection.write_tls(tcp)?;
    }
    Ok(())
}

/// The bytes of a record's content, by its header (RFC 8446, 5.1).
fn first_record(bytes: &[u8]) -> usize {
    match bytes {
        [_, _, _, high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])),
        _ => 0,
    }
}

/// Has no certificate, and remembers that it was asked for one.
#[derive(Debug, Default)]
struct NoCertificate(AtomicBool);

impl ResolvesClientCert for NoCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.store(true, Ordering::Relaxed);
        None
    }

    fn has_certs(&self) -> bool {
        // It must look as if there were some, or it would not be asked.
        true
    }
}

/// Verifies, writes down what comes of it, and goes on whatever it is: a probe wants to see the
/// rest. Signatures are verified in earnest.
#[derive(Debug)]
struct Recorder {
    provider: Arc<CryptoProvider>,
    host: ServerName<'static>,
    /// `None` where nothing is verified.
    inner: Option<Arc<WebPkiServerVerifier>>,
    found: Mutex<Option<Found>>,
}

#[derive(Debug)]
struct Found {
    chain: Vec<Vec<u8>>,
    verdict: Result<(), String>,
    took: Duration,
}

impl Recorder {
    fn new(host: &Host, trust: &Trust) -> Result<Self, String> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let inner = match roots(trust)? {
            None => None,
            Some(roots) => Some(
                WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
                    .build()
                    .map_err(|error| format!("the authorities cannot be used: {error}"))?,
            ),
        };
        let host = server_name(host).map_err(|error| error.to_string())?;
        Ok(Self { provider, host, inner, found: Mutex::default() })
    }
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let started = Instant::now();
        // For the host of the URL: what the hello names may be another, on purpose.
        let verdict = match &self.inner {
            None => Ok(()),
            Some(inner) => inner
                .verify_server_cert(leaf, others, &self.host, ocsp, now)
                .map(|_| ())
                .map_err(|error| in_words(&error)),
        };
        let chain = std::iter::once(leaf).chain(others).map(|one| one.to_vec()).collect();
        let found = Found { chain, verdict, took: started.elapsed() };
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, leaf, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, leaf, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Why a chain is not accepted, or a handshake not done.
fn in_words(error: &rustls::Error) -> String {
    use rustls::CertificateError as Why;
    match error {
        rustls::Error::InvalidCertificate(Why::UnknownIssuer) => {
            "no authority that is trusted here issued it (--ca FILE names one)".to_owned()
        }
        rustls::Error::InvalidCertificate(Why::Other(why)) => match why.0.to_string().as_str() {
            "CaUsedAsEndEntity" => "it is the certificate of an authority, not of a server".into(),
            other => other.to_owned(),
        },
        rustls::Error::InvalidCertificate(why) => why.to_string(),
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "the answer is not TLS; is something else spoken there?".to_owned()
        }
        other => other.to_string(),
    }
}

/// Where Linux distributions keep the authorities they trust, all in one file.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The authorities to believe; `None` for everybody.
fn roots(trust: &Trust) -> Result<Option<Arc<RootCertStore>>, String> {
    let path = match trust {
        Trust::Everybody => return Ok(None),
        Trust::File(path) => path.clone(),
        Trust::System => SYSTEM_ROOTS
            .iter()
            .map(PathBuf::from)
            .find(|path| path.exists())
            .ok_or("this machine has no authorities to believe; name some by --ca FILE")?,
    };
    let text = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_slice_iter(&text).filter_map(Result::ok);
    // Old roots of a system may have forms that are not taken any more.
    roots.add_parsable_certificates(certificates);
    match roots.is_empty() {
        true => Err(format!("{} has no certificate of an authority", path.display())),
        false => Ok(Some(Arc::new(roots))),
    }
}
