//! The steps of a request, as one readable list.

use std::{
    convert::Infallible,
    net::SocketAddr,
    panic::{self, AssertUnwindSafe},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
    task::{Context, Poll},
    time::Instant,
};

use bindery_model::{binding::Protocol, decide::may_answer, name::Host, site::SiteState};
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{
    HeaderValue, Method, Request, Response,
    header::{EXPECT, SERVER},
};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::timeout;
use tracing::{debug, error};

use super::{
    authority,
    body::Body,
    content::Content,
    error::{Fault, RequestError},
    page,
};
use crate::{
    Shared,
    connections::{Connection, InFlight},
    handler::{RequestCtx, SiteRuntime},
    limits::{LINGER_TIMEOUT, UNWANTED_CONTENT_BYTES_MAX},
    log::{
        errors::{ErrorsLine, Reason},
        line::{Connected, Head, Line, SiteLog},
        substatus::Substatus,
    },
    metrics::{HandlerKind, Outcome},
    snapshot::{Revision, Snapshot},
    text_of,
    tls::TlsInfo,
};

/// What all requests of a connection share.
pub struct ConnInfo {
    /// Its entry among the open connections.
    pub connection: Arc<Connection>,
    /// What its handshake came to; `None` without TLS.
    pub tls: Option<TlsInfo>,
    shared: Arc<Shared>,
    /// The last answer to "whose is this host?". Valid for its revision; nearly every request of
    /// a connection asks for the same host. Handed out in an `Arc` of the connection's own: one
    /// that all connections share would be fought over by all cores.
    last: Mutex<Option<Arc<Remembered>>>,
}

struct Remembered {
    authority: Box<str>,
    revision: Revision,
    runtime: Arc<SiteRuntime>,
    /// How its requests are logged and counted, where somebody wants to know.
    log: Option<SiteLog>,
}

/// What is found out about a request on its way, for the access log.
#[derive(Default)]
struct Seen {
    /// When it began; `None` where nobody wants to know.
    begun: Option<Instant>,
    site: Option<Arc<Remembered>>,
    kind: HandlerKind,
    received: Option<Arc<AtomicU64>>,
}

impl ConnInfo {
    pub(crate) fn new(
        connection: Arc<Connection>,
        tls: Option<TlsInfo>,
        shared: Arc<Shared>,
    ) -> Self {
        Self { connection, tls, shared, last: Mutex::default() }
    }

    fn local(&self) -> SocketAddr {
        self.connection.local
    }

    /// Notes in the errors log what never reached a site.
    pub(super) fn note(
        &self,
        reason: Reason,
        detail: &str,
        (request, status): (Option<&http::request::Parts>, Option<u16>),
    ) {
        let server_name = self.tls.as_ref().and_then(|tls| tls.server_name.as_ref());
        self.shared.process.note(&ErrorsLine {
            client: self.connection.peer,
            server: self.local(),
            request,
            status,
            site: None,
            reason,
            server_name: server_name.map_or("", |name| name.as_str()),
            detail,
        });
    }
}

/// Answers a request. Never fails: what goes wrong is an answer too.
///
/// Most requests are answered here and now, from memory. Only one that has to wait, for a file or
/// for its own content, becomes a future with a state of its own.
pub(super) fn dispatch(request: Request<Incoming>, info: &Arc<ConnInfo>) -> Answer {
    let in_flight = info.connection.begin();
    let (request, content) = request.into_parts();
    let content = Content::new(content, &info.connection);
    let begun = info.shared.process.logs.is_observing().then(Instant::now);
    let mut seen = Seen { begun, received: content.received(), ..Seen::default() };
    if content.is_end_stream() {
        let now = panic::catch_unwind(AssertUnwindSafe(|| answer_now(&request, info, &mut seen)));
        if let Some(answer) = now.unwrap_or(Some(Err(RequestError::Panicked))) {
            return Answer::Now(Some(finish(answer, &request, seen, info, in_flight)));
        }
    }
    Answer::Later(Box::pin(answer_later(request, content, seen, Arc::clone(info), in_flight)))
}

/// An answer that is there, or will be.
pub(super) enum Answer {
    /// Taken out by the first poll.
    Now(Option<Response<Counted>>),
    Later(Pin<Box<dyn Future<Output = Response<Counted>> + Send>>),
}

impl Future for Answer {
    type Output = Result<Response<Counted>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Now(response) => response.take().map_or(Poll::Pending, |r| Poll::Ready(Ok(r))),
            Self::Later(answer) => answer.as_mut().poll(cx).map(Ok),
        }
    }
}

fn answer_now(
    request: &http::request::Parts,
    info: &ConnInfo,
    seen: &mut Seen,
) -> Option<Result<Response<Body>, RequestError>> {
    match route(request, info, seen) {
        Ok(Route::Site(site)) => match site.runtime.route(request.uri.path()) {
            Ok(route) => {
                seen.kind = route.kind;
                route.handler.answer_now(request)
            }
            Err(error) => Some(Err(error)),
        },
        Ok(Route::Answered(response)) => Some(Ok(response)),
        Err(error) => Some(Err(error)),
    }
}

async fn answer_later(
    mut request: http::request::Parts,
    mut content: Content,
    mut seen: Seen,
    info: Arc<ConnInfo>,
    in_flight: InFlight,
) -> Response<Counted> {
    let answer = async {
        match route(&request, &info, &mut seen)? {
            Route::Site(site) => {
                let site = &site.runtime;
                let route = site.route(request.uri.path())?;
                seen.kind = route.kind;
                let ctx = RequestCtx { info: &info, site, route };
                route.handler.handle(&mut request, &mut content, &ctx).await
            }
            Route::Answered(response) => Ok(response),
        }
    };
    let answer = AssertUnwindSafe(answer).catch_unwind().await;
    let mut answer = answer.unwrap_or(Err(RequestError::Panicked));
    if let Err(error) = drop_content(content, &request).await {
        answer = Err(error);
    }
    finish(answer, &request, seen, &info, in_flight)
}

/// What every answer gets.
fn finish(
    answer: Result<Response<Body>, RequestError>,
    request: &http::request::Parts,
    seen: Seen,
    info: &ConnInfo,
    in_flight: InFlight,
) -> Response<Counted> {
    let mut substatus = Substatus::default();
    let mut response = answer.unwrap_or_else(|error| {
        note(&error, request, info);
        substatus = Substatus::of(&error);
        let response = page::response(&error);
        if seen.site.is_none() {
            let status = Some(response.status().as_u16());
            info.note(Reason::of(&error), &text_of(&error), (Some(request), status));
        }
        response
    });
    response.headers_mut().insert(SERVER, HeaderValue::from_static("Bindery"));
    let logged =
        seen.begun.and_then(|begun| logged((begun, seen), request, &response, substatus, info));
    response.map(|body| Counted { body, logged, in_flight })
}

/// Begins the line of the access log. A request without a site has none and is only counted.
fn logged(
    (begun, seen): (Instant, Seen),
    request: &http::request::Parts,
    response: &Response<Body>,
    substatus: Substatus,
    info: &ConnInfo,
) -> Option<Box<Logged>> {
    let (status, kind) = (response.status().as_u16(), seen.kind);
    let Some(site) = seen.site else {
        let (version, taken) = (request.version, begun.elapsed());
        info.shared.process.logs.inner().count(&Outcome {
            version,
            status,
            kind,
            taken,
            sent: 0,
            received: 0,
            complete: true,
        });
        return None;
    };
    let head = Head { request, begun, received: seen.received, status, substatus, kind };
    let line = Line::begin(site.log.as_ref()?, head);
    // These have no content, whatever the body says (RFC 9110, 6.4.1).
    let ended = request.method == Method::HEAD || matches!(status, 100..200 | 204 | 304);
    Some(Box::new(Logged { line, site, sent: 0, ended, failed: false }))
}

/// Reads content to its end and drops it, within bounds. Read whole, it does not stand in the way
/// of the next request; and what is wrong with it shows (RFC 9113, 8.1.1).
async fn drop_content(
    mut content: Content,
    request: &http::request::Parts,
) -> Result<(), RequestError> {
    // Who waits for a 100 has sent nothing yet and is told the answer instead.
    if content.is_end_stream() || request.headers.contains_key(EXPECT) {
        return Ok(());
    }
    let mut bytes = 0;
    let reading = async {
        while let Some(frame) = content.frame().await {
            bytes += frame.map_err(RequestError::Content)?.data_ref().map_or(0, Bytes::len);
            if bytes > UNWANTED_CONTENT_BYTES_MAX {
                break;
            }
        }
        Ok(())
    };
    timeout(LINGER_TIMEOUT, reading).await.unwrap_or(Ok(()))
}

/// Where a request leads.
enum Route {
    Site(Arc<Remembered>),
    Answered(Response<Body>),
}

fn route(
    request: &http::request::Parts,
    info: &ConnInfo,
    seen: &mut Seen,
) -> Result<Route, RequestError> {
    // Nothing here is a way to somewhere else, and a 2xx would say that it is (RFC 9110, 9.3.6).
    if request.method == Method::CONNECT {
        return Err(RequestError::MethodNotAllowed { method: Method::CONNECT, allow: "GET, HEAD" });
    }
    let authority = authority::authority(request.version, &request.uri, &request.headers)?;
    let site = site(authority.unwrap_or_default(), info)?;
    seen.site = seen.begun.map(|_| Arc::clone(&site));
    if site.runtime.state == SiteState::Stopped {
        return Err(RequestError::SiteStopped { site: site.runtime.name.clone() });
    }
    if info.tls.is_none()
        && let Some(response) = site.runtime.https_redirect(authority, request, info.local())
    {
        return Ok(Route::Answered(response));
    }
    Ok(Route::Site(site))
}

/// Whose the host is, and whether this connection may speak for it.
fn site(authority: &str, info: &ConnInfo) -> Result<Arc<Remembered>, RequestError> {
    let revision = info.shared.live.revision();
    let mut last = info.last.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(last) = &*last
        && last.revision == revision
        && *last.authority == *authority
    {
        return Ok(Arc::clone(last));
    }
    let snapshot = info.shared.live.current();
    let runtime = decided(authority, info, &snapshot)?;
    let log = site_log(authority, info, &snapshot, &runtime);
    let (authority, revision) = (authority.into(), snapshot.revision);
    let remembered = Arc::new(Remembered { authority, revision, runtime, log });
    *last = Some(Arc::clone(&remembered));
    Ok(remembered)
}

/// How requests of this connection for a host are logged and counted, where they are.
fn site_log(
    authority: &str,
    info: &ConnInfo,
    snapshot: &Snapshot,
    site: &SiteRuntime,
) -> Option<SiteLog> {
    let settings = &snapshot.configuration.settings;
    let log = settings.access_log.as_ref().filter(|_| site.access_log);
    if log.is_none() && settings.admin.is_none() {
        return None;
    }
    let logs = Arc::clone(info.shared.process.logs.inner());
    let connected = Connected {
        local: info.local(),
        peer: info.connection.peer,
        tls: info.tls.as_ref(),
        authority,
        site: site.id,
    };
    Some(SiteLog::new(logs, snapshot.revision, log, &connected))
}

fn decided(
    authority: &str,
    info: &ConnInfo,
    snapshot: &Snapshot,
) -> Result<Arc<SiteRuntime>, RequestError> {
    let host = match authority {
        // HTTP/1.0 may leave it out (RFC 1945); that names nobody.
        "" => None,
        text => Some(authority::parse(text)?),
    };
    let name = host.as_ref().and_then(Host::name);
    let spoken = if info.tls.is_some() { Protocol::Https } else { Protocol::Http };
    let no_site = || RequestError::NoSite { host: authority.to_owned() };
    if snapshot.configuration.table.protocol(info.local()) != Some(spoken) {
        return Err(no_site());
    }
    let decision = snapshot.decide(info.local(), name);
    let Some(tls) = &info.tls else {
        let decision = decision.ok_or_else(no_site)?;
        return Ok(snapshot.runtime(decision.binding, &info.shared.process));
    };
    let misdirected = || RequestError::Misdirected {
        host: authority.to_owned(),
        server_name: tls.server_name.as_ref().map(ToString::to_string).unwrap_or_default(),
    };
    let binding = decision.ok_or_else(misdirected)?.binding;
    let covers = || host.is_some_and(|host| tls.certificate.facts.covers(&host.to_string()));
    // The policy names a file of authorities. One that was taken out of it must not go on to vouch
    // for the clients of open connections.
    let verified = snapshot.authorities(binding) == tls.authorities;
    if verified && may_answer(&tls.binding, &tls.policy, binding, covers) {
        Ok(snapshot.runtime(binding, &info.shared.process))
    } else {
        Err(misdirected())
    }
}

/// Writes what went wrong, at the level of whose doing it is.
fn note(error: &RequestError, request: &http::request::Parts, info: &ConnInfo) {
    let peer = info.connection.peer;
    let (method, uri) = (&request.method, &request.uri);
    match error.fault() {
        Fault::Client => debug!(%peer, %method, %uri, error = %text_of(error), "request refused"),
        Fault::Server | Fault::Upstream if info.shared.process.faults.may_write() => {
            error!(%peer, %method, %uri, error = %text_of(error), "request failed");
        }
        Fault::Server | Fault::Upstream => {}
    }
}

/// A body that counts as a request under way until it is sent or given up, and is logged then.
pub struct Counted {
    body: Body,
    /// Boxed, because it is moved a few times on its way through hyper.
    logged: Option<Box<Logged>>,
    #[allow(dead_code, reason = "counts down when it is dropped")]
    in_flight: InFlight,
}

/// A line of the access log that ends with the body.
struct Logged {
    line: Line,
    site: Arc<Remembered>,
    sent: u64,
    /// Whether there is no more to come.
    ended: bool,
    failed: bool,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let Some(logged) = self.logged.take() else { return };
        let Logged { line, site, sent, ended, failed } = *logged;
        if let Some(log) = &site.log {
            let complete = !failed && (ended || self.body.is_end_stream());
            line.end(log, sent, complete);
        }
    }
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let (Some(logged), Poll::Ready(frame)) = (&mut self.logged, &polled) {
            match frame {
                Some(Ok(frame)) => {
                    logged.sent += frame.data_ref().map_or(0, |data| data.len() as u64);
                }
                Some(Err(_)) => logged.failed = true,
                None => logged.ended = true,
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
