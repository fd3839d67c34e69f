//! The steps of a request, as one readable list.

use std::{
    convert::Infallible,
    net::SocketAddr,
    panic::{self, AssertUnwindSafe},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Instant,
};

use bindery_model::{binding::Protocol, decide::may_answer, name::Host, site::SiteState};
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{
    HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{CONNECTION, CONTENT_LENGTH, EXPECT, SERVER},
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
    framing::Refusal,
    logged::{Logged, Seen, TunnelLog, Waiting},
    malformed, page,
    passage::{self, Passage, Stage},
    tunnel::Tunnel,
    waits::Waits,
};
use crate::{
    Shared,
    connections::{Connection, InFlight},
    handler::{RequestCtx, SiteRuntime},
    limits::{LINGER_TIMEOUT, UNWANTED_CONTENT_BYTES_MAX},
    log::{
        errors::{ErrorsLine, Reason},
        line::{Connected, SiteLog, asked},
        substatus::Substatus,
    },
    rules::{self, site::Share},
    running::{self, Noted},
    snapshot::{Revision, Snapshot},
    text_of,
    tls::{TlsInfo, stream::Stream},
};

/// What all requests of a connection share.
pub struct ConnInfo {
    /// Its entry among the open connections.
    pub connection: Arc<Connection>,
    /// What its handshake came to; `None` without TLS.
    pub tls: Option<TlsInfo>,
    pub(super) shared: Arc<Shared>,
    /// The last answer to "whose is this host?". Valid for its revision; nearly every request of
    /// a connection asks for the same host. Handed out in an `Arc` of the connection's own: one
    /// that all connections share would be fought over by all cores.
    last: Mutex<Option<Arc<Remembered>>>,
    /// What its answer, a 101 on its way, makes of an HTTP/1.1 connection.
    tunnel: Mutex<Option<Box<Tunnel>>>,
    stream: Stream,
}

pub(super) struct Remembered {
    pub(super) authority: Arc<str>,
    revision: Revision,
    pub(super) runtime: Arc<SiteRuntime>,
    /// How its requests are logged and counted, where somebody wants to know.
    pub(super) log: Option<SiteLog>,
}

impl ConnInfo {
    pub(crate) fn new(
        connection: Arc<Connection>,
        (stream, tls): (Stream, Option<TlsInfo>),
        shared: Arc<Shared>,
    ) -> Self {
        Self { connection, tls, shared, last: Mutex::default(), tunnel: Mutex::default(), stream }
    }

    /// Writes the head of an interim answer (1xx) before that of the answer, on HTTP/1.1. Only
    /// while an answer is being made, and by who makes it. Whether it was written.
    pub(crate) fn inform(&self, head: &[u8]) -> bool {
        self.stream.interject(head)
    }

    /// What the last answer makes of the connection.
    pub(super) fn take_tunnel(&self) -> Option<Box<Tunnel>> {
        self.tunnel.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
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
    let (mut request, content) = request.into_parts();
    let content = Content::new(content, &info.connection);
    let begun = info.shared.process.logs.is_observing().then(Instant::now);
    let mut seen = Seen { begun, received: content.received(), ..Seen::default() };
    let mut begun = None;
    if content.is_end_stream() {
        let now = AssertUnwindSafe(|| answer_now(&mut request, info, &mut seen));
        match panic::catch_unwind(now).unwrap_or(Now::Answer(Err(RequestError::Panicked), None)) {
            Now::Answer(answer, passage) => {
                let rest = (in_flight, passage);
                return Answer::Now(Some(finish(answer, &request, seen, info, rest)));
            }
            Now::Later(stage) => begun = stage,
        }
    }
    let waits = content.waits();
    let in_flight = in_flight.watched_by(&waits);
    let rest = (begun, in_flight, Arc::clone(&waits));
    let answer = answer_later(request, content, seen, Arc::clone(info), rest);
    Answer::Later(Box::pin(answer), waits)
}

/// What can be done at once.
enum Now {
    /// The answer, and where there are rules around it, the request on its way.
    Answer(Result<Response<Body>, RequestError>, Option<Box<Passage>>),
    /// From here on it takes time.
    Later(Option<Begun>),
}

/// What is known already of a request that takes time.
enum Begun {
    /// Where it leads; there are no rules around that.
    Plain(Arc<Remembered>, usize),
    /// How far it has come through the rules.
    Passage(Box<Passage>, Stage),
}

/// An answer that is there, or will be.
pub(super) enum Answer {
    /// Taken out by the first poll.
    Now(Option<Response<Counted>>),
    /// With what tells who is waited for.
    Later(Pin<Box<dyn Future<Output = Response<Counted>> + Send>>, Arc<Waits>),
}

impl Future for Answer {
    type Output = Result<Response<Counted>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Now(response) => response.take().map_or(Poll::Pending, |r| Poll::Ready(Ok(r))),
            Self::Later(answer, waits) => waits.poll(answer.as_mut(), cx).map(Ok),
        }
    }
}

fn answer_now(request: &mut http::request::Parts, info: &ConnInfo, seen: &mut Seen) -> Now {
    let site = match route(request, info, seen) {
        Ok(Route::Site(site)) => site,
        Ok(Route::Answered(response)) => return Now::Answer(Ok(response), None),
        Err(error) => return Now::Answer(Err(error), None),
    };
    let place = match site.runtime.place(request.uri.path()) {
        Ok(place) => place,
        Err(error) => return Now::Answer(Err(error), None),
    };
    if let Some(route) = site.runtime.plain(place) {
        seen.kind = route.kind;
        return match route.handler.answer_now(request) {
            Some(answer) => Now::Answer(answer, None),
            None => Now::Later(Some(Begun::Plain(site, place))),
        };
    }
    let (passage, mut stage) = Passage::begin(site, place, request, info);
    seen.kind = passage.route().kind;
    if let Stage::Handler = stage
        && let Some(answer) = passage.route().handler.answer_now(request)
    {
        stage = Stage::Answered(answer);
    }
    if let Stage::Answered(answer) = stage {
        stage = passage.page(answer, request, info);
    }
    match stage {
        Stage::Answered(answer) => Now::Answer(answer, Some(passage)),
        stage => Now::Later(Some(Begun::Passage(passage, stage))),
    }
}

async fn answer_later(
    request: http::request::Parts,
    mut content: Content,
    seen: Seen,
    info: Arc<ConnInfo>,
    (begun, in_flight, waits): (Option<Begun>, InFlight, Arc<Waits>),
) -> Response<Counted> {
    let mut passage = None;
    let mut waiting = Waiting { request, seen, info };
    let Waiting { request, seen, info } = &mut waiting;
    let known = (begun, &mut *seen, &*waits);
    let answer = answer(request, &mut content, info, known, &mut passage);
    let answer = AssertUnwindSafe(answer).catch_unwind().await;
    let mut answer = answer.unwrap_or(Err(RequestError::Panicked));
    if let Err(error) = drop_content(content, request).await {
        answer = Err(error);
    }
    if let Some(passage) = &passage {
        seen.kind = passage.route().kind;
    }
    finish(answer, request, std::mem::take(seen), info, (in_flight, passage))
}

/// Takes a request from where it is to its answer. `kept` gets the request on its way, where there
/// are rules around it.
async fn answer(
    request: &mut http::request::Parts,
    content: &mut Content,
    info: &Arc<ConnInfo>,
    (begun, seen, waits): (Option<Begun>, &mut Seen, &Waits),
    kept: &mut Option<Box<Passage>>,
) -> Result<Response<Body>, RequestError> {
    let begun = match begun {
        Some(begun) => begun,
        None => {
            let site = match route(request, info, seen)? {
                Route::Site(site) => site,
                Route::Answered(response) => return Ok(response),
            };
            let place = site.runtime.place(request.uri.path())?;
            match site.runtime.plain(place) {
                Some(_) => Begun::Plain(site, place),
                None => {
                    let (passage, stage) = Passage::begin(site, place, request, info);
                    Begun::Passage(passage, stage)
                }
            }
        }
    };
    waits.list(noted(&begun, request, info, seen.begun));
    let (passage, stage) = match begun {
        Begun::Passage(passage, stage) => (passage, stage),
        Begun::Plain(site, place) => {
            let (site, route) = (&site.runtime, site.runtime.route_at(place));
            seen.kind = route.kind;
            let ctx = RequestCtx { info, site, route, waits };
            return route.handler.handle(request, content, &ctx).await;
        }
    };
    // Boxed, so that requests without rules do not carry its state.
    Box::pin(walk(kept.insert(passage), stage, request, content, (info, waits))).await
}

/// What who looks at requests under way is shown of this one.
fn noted(
    begun: &Begun,
    request: &http::request::Parts,
    info: &ConnInfo,
    since: Option<Instant>,
) -> Noted {
    let site = match begun {
        Begun::Plain(site, _) => site,
        Begun::Passage(passage, _) => passage.remembered(),
    };
    let asked = asked(request);
    Noted {
        site: site.runtime.id,
        method: request.method.clone(),
        host: Arc::clone(&site.authority),
        url: running::cut(asked.path_and_query().map_or("/", |url| url.as_str())),
        client: rules::client(request, info, &site.runtime).0,
        begun: since.unwrap_or_else(Instant::now),
    }
}

/// Takes a request through the steps that take time.
async fn walk(
    passage: &mut Passage,
    mut stage: Stage,
    request: &mut http::request::Parts,
    content: &mut Content,
    (info, waits): (&Arc<ConnInfo>, &Waits),
) -> Result<Response<Body>, RequestError> {
    loop {
        stage = match stage {
            Stage::Verify(attempt) => passage.verify(attempt, request, info).await,
            Stage::Look(rule) => passage.look(rule, request, info).await,
            Stage::Handler => match passage.limit(request, content) {
                Ok(()) => {
                    let (site, route) = (passage.site(), passage.route());
                    let ctx = RequestCtx { info, site, route, waits };
                    Stage::Answered(route.handler.handle(request, content, &ctx).await)
                }
                Err(error) => error.into(),
            },
            Stage::Answered(answer) => match passage.page(answer, request, info) {
                Stage::Answered(answer) => return answer,
                stage => stage,
            },
            Stage::Page(error, page) => {
                return passage::read_page(error, &page, request, info).await;
            }
        }
    }
}

/// What every answer gets.
fn finish(
    answer: Result<Response<Body>, RequestError>,
    request: &http::request::Parts,
    seen: Seen,
    info: &ConnInfo,
    (in_flight, passage): (InFlight, Option<Box<Passage>>),
) -> Response<Counted> {
    let mut substatus = Substatus::default();
    let mut response = answer.unwrap_or_else(|error| {
        note(&error, request, info);
        substatus = Substatus::of(&error);
        let response = page::response(&error);
        if seen.site.is_none() {
            let status = Some(response.status().as_u16());
            // In the place of a head that is none stands one of ours.
            let shown = Some(request).filter(|_| !matches!(error, RequestError::Framing(_)));
            info.note(Reason::of(&error), &text_of(&error), (shown, status));
        }
        response
    });
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let tunnel = Tunnel::attached_to(response.extensions_mut());
        *info.tunnel.lock().unwrap_or_else(PoisonError::into_inner) = tunnel;
    }
    response.headers_mut().insert(SERVER, HeaderValue::from_static("Bindery"));
    let share = passage.and_then(|passage| {
        passage.dress(&mut response, request, info);
        passage.into_share()
    });
    if info.connection.is_draining()
        && request.version < Version::HTTP_2
        && response.status() != StatusCode::SWITCHING_PROTOCOLS
    {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let logged = seen.begun.and_then(|begun| {
        // An error with a page of the administrator's.
        let substatus = response.extensions_mut().remove().unwrap_or(substatus);
        let answered = (response.status().as_u16(), substatus);
        let logged = Logged::begin((begun, seen), request, answered, info)?;
        match response.extensions_mut().remove::<TunnelLog>() {
            Some(tunnel) => tunnel.begin(logged),
            None => Some(logged),
        }
    });
    if request.method == Method::HEAD {
        take_content(&mut response);
    }
    response.map(|body| Counted { body, share, logged, in_flight })
}

/// The answer to HEAD says how long the content would be, and has none (RFC 9110, 9.3.2). hyper
/// sees to that on HTTP/1.1 only.
fn take_content(response: &mut Response<Body>) {
    let body = std::mem::take(response.body_mut());
    if let Some(length) = body.size_hint().exact().filter(|length| *length > 0) {
        response.headers_mut().entry(CONTENT_LENGTH).or_insert_with(|| length.into());
    }
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
    if let Some(refusal) = Refusal::of(request.version, &request.uri) {
        return Err(RequestError::Framing(refusal));
    }
    malformed::check(request)?;
    // Nothing here is a way to somewhere else, and a 2xx would say that it is (RFC 9110, 9.3.6).
    // With a protocol it is a request for another protocol instead (RFC 8441).
    let connect = request.method == Method::CONNECT;
    let refused = || RequestError::MethodNotAllowed { method: Method::CONNECT, allow: "GET, HEAD" };
    if connect && request.extensions.get::<hyper::ext::Protocol>().is_none() {
        return Err(refused());
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
    if connect && !site.runtime.route(request.uri.path())?.handler.opens_tunnels() {
        return Err(refused());
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
        site: (site.id, &site.name),
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
        info.connection.came_for(&decision.binding.information);
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
pub(super) fn note(error: &RequestError, request: &http::request::Parts, info: &ConnInfo) {
    let peer = info.connection.peer;
    let (method, uri) = (&request.method, &request.uri);
    // HTTP/2 has it in the URI, HTTP/1.1 in a field. As a text, so that it is written in quotes.
    let host = request.headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
    let host = host.filter(|_| uri.authority().is_none());
    match error.fault() {
        Fault::Client => {
            debug!(%peer, %method, host, %uri, error = %text_of(error), "request refused");
        }
        Fault::Server | Fault::Upstream if info.shared.process.faults.may_write() => {
            error!(%peer, %method, host, %uri, error = %text_of(error), "request failed");
        }
        Fault::Server | Fault::Upstream => {}
    }
}

/// A body that counts as a request under way until it is sent or given up, and is logged then.
pub struct Counted {
    body: Body,
    /// The part of the request in the load of a site with limits.
    share: Option<Box<Share>>,
    /// Boxed, because it is moved a few times on its way through hyper.
    logged: Option<Box<Logged>>,
    in_flight: InFlight,
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(logged) = self.logged.take() {
            logged.end(self.body.is_end_stream());
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
        let Self { body, share, logged, in_flight } = &mut *self;
        let polled = match share {
            None => Pin::new(body).poll_frame(cx),
            Some(share) => share.poll_frame(body, cx),
        };
        if let (Some(logged), Poll::Ready(frame)) = (logged, &polled) {
            match frame {
                Some(Ok(frame)) => {
                    logged.sent += frame.data_ref().map_or(0, |data| data.len() as u64);
                }
                Some(Err(_)) => logged.fail(),
                None => logged.ended = true,
            }
        }
        in_flight.note_answer(match &polled {
            Poll::Pending => None,
            Poll::Ready(Some(Ok(frame))) => Some(frame.data_ref().map_or(0, Bytes::len)),
            Poll::Ready(_) => Some(0),
        });
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream() && self.held_bytes() == 0
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        match (hint.exact(), self.held_bytes()) {
            (_, 0) => {}
            (Some(exact), held) => hint.set_exact(exact.saturating_add(held)),
            (None, held) => hint.set_lower(hint.lower().saturating_add(held)),
        }
        hint
    }
}

impl Counted {
    fn held_bytes(&self) -> u64 {
        self.share.as_ref().map_or(0, |share| share.held_bytes())
    }
}
