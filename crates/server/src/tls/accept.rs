//! One handshake, from the first byte of the hello to the stream.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bindery_model::{
    binding::{Binding, BindingInformation},
    name::HostName,
    tls::TlsPolicy,
};
use rustls::{
    AlertDescription, CipherSuite, ServerConnection,
    server::{Accepted, Acceptor, ClientHello},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tracing::info;

use super::{
    choice::{CertificateChoiceError, candidates},
    keys::{Certificate, CertificateError, KeyKind, facts_of_der},
    policy::{Authorities, PolicyConfig, PolicyError},
    stream::{PollIo, Stream},
    tickets::BoundTickets,
};
use crate::{
    limits::LINGER_TIMEOUT,
    process::Process,
    snapshot::{Live, Snapshot},
};

/// What a handshake came to.
pub struct TlsInfo {
    /// The name that the client asked for.
    pub server_name: Option<HostName>,
    /// The binding that answered.
    pub binding: BindingInformation,
    /// What was negotiated under.
    pub policy: TlsPolicy,
    /// Whom the client's certificate was verified by, where one was asked for.
    pub authorities: Option<Authorities>,
    /// The certificate that was shown; on a resumed connection, that would have been.
    pub certificate: Arc<Certificate>,
    /// Whether ALPN chose HTTP/2.
    pub http2: bool,
}

/// Why there was no handshake.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The peer went away before it said anything.
    #[error("the client closed the connection without a hello")]
    Silent,
    /// The first bytes are HTTP.
    #[error("the client speaks plain HTTP on an https port")]
    PlainHttp,
    /// The hello is none.
    #[error("the hello cannot be read")]
    Hello(#[source] rustls::Error),
    /// No binding answers: `unrecognized_name`.
    #[error("no binding answers for the name")]
    NoBinding,
    /// The binding has no certificate to choose.
    #[error("binding {binding} has no certificate")]
    Choice {
        /// The binding.
        binding: BindingInformation,
        /// Why.
        source: CertificateChoiceError,
    },
    /// The TLS settings of the binding cannot be used.
    #[error("the tls settings of binding {binding} cannot be used")]
    Policy {
        /// The binding.
        binding: BindingInformation,
        /// Why.
        source: Arc<PolicyError>,
    },
    /// The certificate of the binding is broken.
    #[error("the certificate of binding {binding} cannot be used")]
    Certificate {
        /// The binding.
        binding: BindingInformation,
        /// Why.
        source: Arc<CertificateError>,
    },
    /// The two ends do not agree, or one of them lies.
    #[error("the handshake failed")]
    Tls(#[source] rustls::Error),
    /// The connection broke.
    #[error("the connection broke")]
    Io(#[from] io::Error),
    /// It took too long.
    #[error("the handshake took too long")]
    Timeout,
    /// There are more handshakes under way than [`crate::limits`] allows.
    #[error("too many handshakes are under way")]
    TooMany,
}

/// What is known of a client when its handshake fails.
#[derive(Debug, Default)]
pub struct HelloInfo {
    /// The name it asked for.
    pub server_name: Option<HostName>,
    /// The protocols it offered (RFC 7301).
    pub alpn: String,
}

/// Does the handshake of the client `peer`, which came to `local`.
///
/// # Errors
///
/// When there is none. The client has then been told, by an alert where it understands one.
pub async fn accept(
    mut tcp: TcpStream,
    (local, peer): (SocketAddr, SocketAddr),
    (live, process): (&Live, &Process),
    seen: &mut HelloInfo,
) -> Result<(Stream, TlsInfo), HandshakeError> {
    let accepted = match read_hello(&mut tcp).await {
        Ok(accepted) => accepted,
        Err(HandshakeError::PlainHttp) => {
            tcp.write_all(PLAIN_HTTP_ANSWER).await?;
            linger(&mut tcp).await?;
            return Err(HandshakeError::PlainHttp);
        }
        Err(error) => return Err(error),
    };
    let snapshot = live.current();
    let hello = accepted.client_hello();
    // A name that is no host name (an underscore at most is forgiven) is a name nobody holds.
    let server_name = hello.server_name().map(str::parse::<HostName>).transpose();
    seen.server_name = server_name.as_ref().ok().cloned().flatten();
    seen.alpn = alpn_text(&hello);

    let decided = match &server_name {
        Ok(name) => snapshot.decide(local, name.as_ref()),
        Err(_) => None,
    };
    let Some(decision) = decided else {
        refuse(&mut tcp, AlertDescription::UnrecognisedName).await?;
        return Err(HandshakeError::NoBinding);
    };
    let binding = decision.binding;
    let certificate = match certificate(&snapshot, binding, &hello, seen, process).await {
        Ok(certificate) => certificate,
        Err(error) => {
            refuse(&mut tcp, AlertDescription::InternalError).await?;
            return Err(error);
        }
    };
    let connection =
        negotiate(&mut tcp, accepted, (&snapshot, binding, process), &certificate).await?;
    if let Some(client) = client_certificate(&connection) {
        info!(%peer, binding = %binding.information, client, "client certificate accepted");
    }
    let http2 = connection.alpn_protocol() == Some(b"h2");
    let info = TlsInfo {
        server_name: seen.server_name.take(),
        binding: binding.information.clone(),
        policy: binding.tls.clone(),
        authorities: snapshot.authorities(binding),
        certificate,
        http2,
    };
    Ok((Stream::tls(tcp, connection), info))
}

/// What a browser shows that was sent to the wrong port.
const PLAIN_HTTP_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain\r\n\
    Content-Length: 57\r\n\
    Connection: close\r\n\
    \r\n\
    This port speaks HTTPS. Put https:// in front of the URL.";

async fn read_hello(tcp: &mut TcpStream) -> Result<Accepted, HandshakeError> {
    let mut acceptor = Acceptor::default();
    let mut first = true;
    loop {
        let mut taken = poll_fn(|cx| {
            let mut io = Watched { io: PollIo { tcp, cx }, first_byte: None };
            match acceptor.read_tls(&mut io) {
                Ok(bytes) => Poll::Ready(Ok((bytes, io.first_byte))),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
                Err(error) => Poll::Ready(Err(error)),
            }
        })
        .await?;
        if taken.0 == 0 {
            return Err(HandshakeError::Silent);
        }
        // Every TLS hello begins with 22; a letter is the method of a request.
        if std::mem::take(&mut first)
            && taken.1.take().is_some_and(|byte| byte.is_ascii_uppercase())
        {
            return Err(HandshakeError::PlainHttp);
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => return Ok(accepted),
            Ok(None) => {}
            Err((error, mut alert)) => {
                let mut bytes = Vec::new();
                alert.write_all(&mut bytes)?;
                tcp.write_all(&bytes).await?;
                linger(tcp).await?;
                return Err(HandshakeError::Hello(error));
            }
        }
    }
}

/// Remembers the first byte that passes.
struct Watched<'a, 'b> {
    io: PollIo<'a, 'b>,
    first_byte: Option<u8>,
}

impl io::Read for Watched<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.io.read(buf)?;
        self.first_byte = buf.first().copied().filter(|_| read > 0);
        Ok(read)
    }
}

/// Closes the sending side and drops what still comes, for a short time. Closing a socket with
/// unread bytes would reset the connection and take the answer from the peer (RFC 9112, 9.6).
async fn linger(tcp: &mut TcpStream) -> io::Result<()> {
    tcp.shutdown().await?;
    let discard = async {
        let mut scratch = [0; 1024];
        while tcp.read(&mut scratch).await? > 0 {}
        Ok(())
    };
    timeout(LINGER_TIMEOUT, discard).await.unwrap_or(Ok(()))
}

/// Sends a fatal alert in the clear, as long as there are no keys (RFC 8446, 6).
async fn refuse(tcp: &mut TcpStream, alert: AlertDescription) -> io::Result<()> {
    const ALERT: u8 = 21;
    const FATAL: u8 = 2;
    tcp.write_all(&[ALERT, 3, 3, 0, 2, FATAL, u8::from(alert)]).await?;
    tcp.shutdown().await
}

/// The certificate to show: the first of the binding's that this client can verify, or else the
/// first that can be used at all.
async fn certificate(
    snapshot: &Snapshot,
    binding: &Binding,
    hello: &ClientHello<'_>,
    seen: &HelloInfo,
    process: &Process,
) -> Result<Arc<Certificate>, HandshakeError> {
    let files =
        candidates(snapshot, binding, seen.server_name.as_ref()).await.map_err(|source| {
            HandshakeError::Choice { binding: binding.information.clone(), source }
        })?;
    let (mut usable, mut broken) = (None, None);
    for files in &files {
        match process.certificates.get(files).await {
            Ok(certificate) if can_verify(hello, &certificate) => return Ok(certificate),
            Ok(certificate) => usable = usable.or(Some(certificate)),
            Err(error) => broken = broken.or(Some(error)),
        }
    }
    match (usable, broken) {
        (Some(certificate), _) => Ok(certificate),
        (None, Some(source)) => {
            Err(HandshakeError::Certificate { binding: binding.information.clone(), source })
        }
        (None, None) => Err(HandshakeError::Choice {
            binding: binding.information.clone(),
            source: CertificateChoiceError::NoName,
        }),
    }
}

/// Whether the client can verify signatures by this key: by its list of schemes and, up to TLS
/// 1.2, by its suites (RFC 5246, 7.4.2; RFC 8422, 2).
fn can_verify(hello: &ClientHello<'_>, certificate: &Certificate) -> bool {
    if certificate.key.key.choose_scheme(hello.signature_schemes()).is_none() {
        return false;
    }
    matches!(certificate.facts.key_kind, KeyKind::Rsa(_))
        || hello.cipher_suites().iter().any(|suite| is_free_of_rsa(*suite))
}

/// TLS 1.3 suites name no kind of key; of the older ones these go with elliptic curves.
fn is_free_of_rsa(suite: CipherSuite) -> bool {
    matches!(
        suite,
        CipherSuite::TLS13_AES_128_GCM_SHA256
            | CipherSuite::TLS13_AES_256_GCM_SHA384
            | CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
    )
}

async fn negotiate(
    tcp: &mut TcpStream,
    accepted: Accepted,
    (snapshot, binding, process): (&Snapshot, &Binding, &Process),
    certificate: &Certificate,
) -> Result<ServerConnection, HandshakeError> {
    let policy = match snapshot.policies.get(&binding.tls) {
        Some(Ok(policy)) => policy,
        Some(Err(source)) => {
            refuse(tcp, AlertDescription::InternalError).await?;
            let (binding, source) = (binding.information.clone(), Arc::clone(source));
            return Err(HandshakeError::Policy { binding, source });
        }
        None => {
            // Every policy of a table is built when the table is proved.
            let error = rustls::Error::General("the policy of the binding is not built".to_owned());
            return Err(HandshakeError::Tls(error));
        }
    };
    let config = handshake_config(policy, binding, certificate, process);
    let mut connection = match accepted.into_connection(Arc::new(config)) {
        Ok(connection) => connection,
        Err((error, mut alert)) => {
            let mut bytes = Vec::new();
            alert.write_all(&mut bytes)?;
            tcp.write_all(&bytes).await?;
            linger(tcp).await?;
            return Err(HandshakeError::Tls(error));
        }
    };
    let outcome = poll_fn(|cx| poll_handshake(tcp, &mut connection, cx)).await;
    if matches!(outcome, Err(HandshakeError::Tls(_))) {
        // A client whose certificate is refused has often sent its first request by now.
        linger(tcp).await?;
    }
    outcome.map(|()| connection)
}

fn handshake_config(
    policy: &PolicyConfig,
    binding: &Binding,
    certificate: &Certificate,
    process: &Process,
) -> rustls::ServerConfig {
    let mut config = policy.with_key(Arc::clone(&certificate.key));
    if policy.resumable {
        let identity = binding.information.to_string();
        config.ticketer =
            Arc::new(BoundTickets::new(Arc::clone(&process.tickets), identity.into_bytes().into()));
    }
    config
}

/// Sends and receives until the handshake is over. What is left to send then, the session
/// tickets, goes with the first answer.
fn poll_handshake(
    tcp: &mut TcpStream,
    connection: &mut ServerConnection,
    cx: &mut Context<'_>,
) -> Poll<Result<(), HandshakeError>> {
    while connection.is_handshaking() {
        ready!(poll_write(tcp, connection, cx))?;
        match connection.read_tls(&mut PollIo { tcp, cx }) {
            Ok(0) => {
                return Poll::Ready(Err(HandshakeError::Io(io::ErrorKind::UnexpectedEof.into())));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            Err(error) => return Poll::Ready(Err(error.into())),
        }
        if let Err(error) = connection.process_new_packets() {
            // The alert is worth one try; the connection ends whether it arrives or not.
            drop(poll_write(tcp, connection, cx));
            return Poll::Ready(Err(HandshakeError::Tls(error)));
        }
    }
    Poll::Ready(Ok(()))
}

fn poll_write(
    tcp: &mut TcpStream,
    connection: &mut ServerConnection,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    while connection.wants_write() {
        match connection.write_tls(&mut PollIo { tcp, cx }) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
    Poll::Ready(Ok(()))
}

/// Who the client is, by its certificate.
fn client_certificate(connection: &ServerConnection) -> Option<String> {
    let leaf = connection.peer_certificates()?.first()?;
    Some(match facts_of_der(leaf) {
        Ok(facts) => facts.subject,
        Err(_) => "unreadable".to_owned(),
    })
}

fn alpn_text(hello: &ClientHello<'_>) -> String {
    let offered = hello.alpn().into_iter().flatten();
    let mut text = String::new();
    for protocol in offered.take(4) {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(&String::from_utf8_lossy(protocol));
    }
    text
}
