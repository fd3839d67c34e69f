//! Other servers that answer: a request is handed on to one of them and its answer handed back,
//! both as streams.
//!
//! | module | answers |
//! |---|---|
//! | `group` | which groups and members are in use, whatever the configuration? |
//! | `balance` | which member answers? |
//! | `health`, `upkeep` | is it well? |
//! | `connect`, `wire` | how is it reached? |
//! | `member`, `link`, `http2` | which connection, and who drives it? |
//! | `target`, `headers`, `upload`, `output` | what does it get? |
//! | `proxy_protocol` | and who is told whom it serves? |
//! | `answer`, `interim`, `exchange` | what comes back? |
//! | `upgrade` | and when it is no HTTP any more? |

mod answer;
mod balance;
mod connect;
mod exchange;
pub(crate) mod group;
mod headers;
mod health;
mod http2;
mod interim;
mod link;
mod member;
mod output;
mod proxy_protocol;
mod target;
mod upgrade;
mod upkeep;
mod upload;
pub(crate) mod wire;

use std::{io, sync::Arc, time::Duration};

use bindery_model::upstream::{self, Sticky, Timeouts, UpstreamHost, UpstreamProtocol};
use http::{
    HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header::{ALLOW, EXPECT, MAX_FORWARDS, SET_COOKIE},
    request::Parts,
    response,
    uri::{Authority, PathAndQuery, Scheme},
};
use http_body::Body as _;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use self::{
    balance::Chosen,
    connect::Purpose,
    exchange::Carrier,
    group::{Group, Upstreams},
    headers::{Announced, Outgoing},
    interim::Interim,
    link::{Link, LinkError},
    member::{Lease, Member},
    output::Sending,
    upgrade::{NotSwitched, Wanted},
    upload::{Source, Upload},
};
use super::RequestCtx;
use crate::{
    http::{
        authority,
        body::Body,
        client::Client,
        content::Content,
        dispatch::ConnInfo,
        error::RequestError,
        tunnel::{Http2End, Tunnel},
    },
    limits::UPSTREAM_TRIES_MAX,
};

/// What is answered to `OPTIONS` that may go no further, and to `TRACE`.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// Hands requests on to a group of servers.
pub struct Proxy {
    group: Arc<Group>,
    /// The path of the route, and what takes its place.
    route: String,
    path: Option<String>,
    host: UpstreamHost,
    timeouts: Timeouts,
    forwarded: bool,
}

/// How a member fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// The member, as a URL.
    pub name: String,
    /// Whether requests are sent to it.
    pub well: bool,
    /// Requests under way.
    pub active: u32,
    /// Open connections that wait for a request or are shared by some.
    pub kept_connections: usize,
}

/// A request on its way up.
struct Exchange<'a> {
    request: &'a Parts,
    info: &'a Arc<ConnInfo>,
    client: Client<'a>,
    /// What is to be spoken from now on, where that is not HTTP.
    upgrade: Option<Wanted>,
    source: Option<Arc<Source>>,
    target: PathAndQuery,
    host: &'a str,
    begun: Instant,
}

/// What became of one try.
struct Failed {
    error: RequestError,
    /// Whether another may be made.
    again: bool,
}

impl Failed {
    fn finally(error: RequestError) -> Self {
        Self { error, again: false }
    }
}

impl Proxy {
    pub(super) fn new(route: &str, proxy: &upstream::Proxy, upstreams: &Upstreams) -> Self {
        Self {
            group: upstreams.group(&proxy.upstream),
            route: route.to_owned(),
            path: proxy.path.clone(),
            host: proxy.host.clone(),
            timeouts: proxy.timeouts,
            forwarded: proxy.forwarded,
        }
    }

    pub(super) async fn handle(
        &self,
        request: &mut Parts,
        content: &mut Content,
        ctx: &RequestCtx<'_>,
    ) -> Result<Response<Body>, RequestError> {
        if let Some(answer) = own_answer(request)? {
            return Ok(answer);
        }
        ctx.info.connection.note_upstream();
        let upgrade = upgrade::wanted(request, !content.is_end_stream());
        let end = Http2End::of(&mut request.extensions);
        if request.method == Method::CONNECT && (upgrade.is_none() || end.is_none()) {
            return Err(RequestError::MethodNotAllowed { method: Method::CONNECT, allow: METHODS });
        }
        let host = authority::authority(request.version, &request.uri, &request.headers)?;
        let target = target::target(&request.uri, &self.route, self.path.as_deref());
        let reason = "a target that cannot be sent on";
        let target = target.ok_or(RequestError::BadRequest { reason })?;
        let exchange = Exchange {
            client: ctx.client_of(request, host.unwrap_or_default()),
            host: host.unwrap_or_default(),
            source: (!content.is_end_stream()).then(|| Source::new(content.take())),
            target,
            begun: Instant::now(),
            info: ctx.info,
            upgrade,
            request,
        };
        let mut answer = self.answer(&exchange).await;
        if let Ok(answer) = &mut answer
            && let Some(mut tunnel) = Tunnel::attached_to(answer.extensions_mut())
        {
            // The request itself is over with the head of its answer.
            if let Some(limits) = ctx.site.limits() {
                tunnel.limit(limits);
            }
            tunnel.hold(ctx.waits.hand_over());
            match end {
                Some(end) => {
                    *answer.status_mut() = StatusCode::OK;
                    end.connect(*tunnel, &ctx.info.connection);
                }
                None => tunnel.attach(answer),
            }
        }
        if let (Err(_), Some(source)) = (&answer, &exchange.source) {
            // Who takes the error also takes what the client still sends.
            *content = source.take();
        }
        answer
    }

    async fn answer(&self, exchange: &Exchange<'_>) -> Result<Response<Body>, RequestError> {
        let mut tried = Vec::new();
        let mut error = None;
        for _ in 0..UPSTREAM_TRIES_MAX {
            let fields = &exchange.request.headers;
            let chosen = self.group.choose(exchange.client.address, fields, &tried);
            let Some(chosen) = chosen else { break };
            match self.ask(exchange, &chosen).await {
                Ok(answer) => return Ok(answer),
                Err(Failed { error, again: false }) => return Err(error),
                Err(Failed { error: this, again: true }) => error = Some(this),
            }
            tried.push(chosen.place);
        }
        Err(error.unwrap_or_else(|| RequestError::NoUpstream { upstream: self.group.name.clone() }))
    }

    /// Asks one member: on a connection that is open, or on a new one.
    async fn ask(
        &self,
        exchange: &Exchange<'_>,
        chosen: &Chosen<'_>,
    ) -> Result<Response<Body>, Failed> {
        let member = chosen.member;
        let _lease = Lease::new(&**member);
        let (mut carrier, mut begun) = match self.open_already(member, exchange) {
            Some(carrier) => (carrier, exchange.begun),
            // Boxed, because it is large and rare.
            None => Box::pin(self.connected(member, exchange)).await?,
        };
        let mut head = loop {
            match self.ask_on(&mut carrier, exchange, member, begun).await {
                Ok(head) => break head,
                // It was closed when the request was on its way. That says nothing of the member.
                Err(failed) if failed.again && carrier.is_old() => {
                    (carrier, begun) = Box::pin(self.connected(member, exchange)).await?;
                }
                Err(failed) => return Err(failed),
            }
        };
        let mut answer = match exchange.switched(&mut head) {
            Some(Ok(())) => tunnel(head, carrier, member, self.timeouts.idle)?,
            Some(Err(lie)) => {
                member.has_failed();
                return Err(Failed::finally(bad_gateway(member, lie)));
            }
            None => self.handed_back(head, carrier, member).await?,
        };
        if let (Some(mark), Sticky::Cookie(name)) = (chosen.mark, &self.group.upstream.sticky) {
            let cookie = balance::set_cookie(name, mark, &self.route, exchange.client.https);
            answer.headers_mut().extend(cookie.map(|cookie| (SET_COOKIE, cookie)));
        }
        Ok(answer)
    }

    /// What a connection must be good for to carry this.
    fn purpose(&self, exchange: &Exchange<'_>) -> Purpose {
        let connection = &exchange.info.connection;
        let client = self.group.upstream.proxy_protocol.map(|_| proxy_protocol::Client {
            source: connection.peer,
            destination: connection.destination,
        });
        Purpose { client, upgrade: exchange.upgrade.is_some() }
    }

    /// What is spoken for this. Only HTTP/1.1 leads to another protocol.
    fn protocol(&self, exchange: &Exchange<'_>) -> UpstreamProtocol {
        match exchange.upgrade {
            Some(_) => UpstreamProtocol::Http1,
            None => self.group.upstream.protocol,
        }
    }

    fn open_already(&self, member: &Member, exchange: &Exchange<'_>) -> Option<Carrier> {
        let purpose = self.purpose(exchange);
        match self.protocol(exchange) {
            UpstreamProtocol::Http1 => {
                member.idle_link(purpose, exchange.begun).map(Carrier::Http1)
            }
            UpstreamProtocol::Http2 => member.http2.existing(purpose).map(Carrier::Http2),
        }
    }

    async fn connected(
        &self,
        member: &Member,
        exchange: &Exchange<'_>,
    ) -> Result<(Carrier, Instant), Failed> {
        let patience = self.timeouts.connect;
        let purpose = self.purpose(exchange);
        let opened = match self.protocol(exchange) {
            UpstreamProtocol::Http1 => {
                let transport = member.way.open(patience, purpose).await;
                transport.map(|transport| Carrier::Http1(Box::new(Link::new(transport, purpose))))
            }
            UpstreamProtocol::Http2 => {
                let stream = member.http2.stream(&member.way, purpose, patience).await;
                stream.map(Carrier::Http2)
            }
        };
        opened.map(|carrier| (carrier, Instant::now())).map_err(|error| {
            member.has_failed();
            let error = match error.kind() {
                io::ErrorKind::TimedOut => RequestError::GatewayTimeout {
                    upstream: member.name.clone(),
                    stage: "a connection",
                    seconds: patience.as_secs(),
                },
                _ => bad_gateway(member, error),
            };
            Failed { error, again: true }
        })
    }

    async fn ask_on(
        &self,
        carrier: &mut Carrier,
        exchange: &Exchange<'_>,
        member: &Member,
        begun: Instant,
    ) -> Result<response::Parts, Failed> {
        let source = exchange.source.as_deref();
        let patience = self.timeouts.first_byte;
        let asked = match carrier {
            Carrier::Http1(link) => {
                self.begin(link, exchange, member);
                let version = exchange.request.version;
                let mut interim = Interim::new(exchange.info, version);
                let is_head = exchange.request.method == Method::HEAD;
                link.ask(is_head, source, &mut interim, (begun, patience)).await
            }
            // Boxed, so that exchanges on HTTP/1.1 need not keep room for it.
            Carrier::Http2(stream) => {
                let request = self.request(exchange, member);
                Box::pin(stream.ask(request, source, patience)).await
            }
        };
        let error = match asked {
            Ok(head) => return Ok(head),
            Err(error) => error,
        };
        if let Some(error) = source.and_then(Source::failure) {
            return Err(Failed::finally(RequestError::Content(error)));
        }
        let safe = exchange.request.method.is_idempotent() || carrier.sent_nothing(&error);
        let begun = source.is_some_and(Source::has_begun);
        let silent = matches!(error, LinkError::Silent(_));
        let again = safe && !begun && !silent && !carrier.has_answered();
        // A kept connection that was closed meanwhile says nothing of the member.
        if !carrier.is_old() || carrier.has_answered() || silent {
            member.has_failed();
        }
        let error = match error {
            LinkError::Silent(patience) => RequestError::GatewayTimeout {
                upstream: member.name.clone(),
                stage: "the head of the answer",
                seconds: patience.as_secs(),
            },
            error => bad_gateway(member, error),
        };
        Err(Failed { error, again })
    }

    fn outgoing<'a>(&self, exchange: &'a Exchange<'_>, host: &'a str) -> Outgoing<'a> {
        let content = match &exchange.source {
            None => Announced::Nothing,
            Some(source) => source.length().map_or(Announced::Stream, Announced::Length),
        };
        Outgoing {
            request: exchange.request,
            client: &exchange.client,
            peer: exchange.info.connection.peer,
            port: exchange.info.connection.destination.port(),
            protocol: self.protocol(exchange),
            host,
            forwarded: self.forwarded,
            content,
            upgrade: exchange.upgrade.as_ref(),
        }
    }

    /// Begins a request on a connection that speaks HTTP/1.1.
    fn begin(&self, link: &mut Link, exchange: &Exchange<'_>, member: &Member) {
        let outgoing = self.outgoing(exchange, self.host(exchange, member));
        let request = exchange.request;
        let sending = exchange.source.as_ref().and_then(|source| {
            let trailers = match outgoing.content {
                Announced::Stream => headers::announced_trailers(&request.headers),
                Announced::Nothing | Announced::Length(_) => Vec::new(),
            };
            let held = request.headers.contains_key(EXPECT);
            Sending::new(Upload::new(Some(source)), outgoing.content, trailers, held)
        });
        let put = |lines: &mut Vec<u8>| {
            // An extended CONNECT is a GET on HTTP/1.1 (RFC 8441, 5).
            let method = match &request.method {
                &Method::CONNECT => "GET",
                method => method.as_str(),
            };
            for part in [method, " ", exchange.target.as_str(), " HTTP/1.1\r\n"] {
                lines.extend_from_slice(part.as_bytes());
            }
            outgoing.put(lines);
        };
        link.begin(put, sending);
    }

    /// A request for a connection that speaks HTTP/2.
    fn request(&self, exchange: &Exchange<'_>, member: &Member) -> Request<Upload> {
        let host = self.host(exchange, member);
        let mut request = Request::new(Upload::new(exchange.source.as_ref()));
        *request.method_mut() = exchange.request.method.clone();
        *request.uri_mut() = absolute(&exchange.target, host.as_bytes(), member.way.is_https());
        *request.version_mut() = Version::HTTP_2;
        request.headers_mut().reserve(exchange.request.headers.len());
        self.outgoing(exchange, host).put(request.headers_mut());
        request
    }

    /// The value of Host.
    fn host<'a>(&'a self, exchange: &'a Exchange<'_>, member: &'a Member) -> &'a str {
        match &self.host {
            UpstreamHost::Keep if !exchange.host.is_empty() => exchange.host,
            UpstreamHost::Keep | UpstreamHost::Server => member.way.authority(),
            UpstreamHost::Fixed(host) => host,
        }
    }

    /// The answer of a member as one of ours.
    async fn handed_back(
        &self,
        mut head: response::Parts,
        carrier: Carrier,
        member: &Arc<Member>,
    ) -> Result<Response<Body>, Failed> {
        if let Carrier::Http2(_) = carrier
            && let Err(lie) = headers::of_http2(&mut head)
        {
            member.has_failed();
            return Err(Failed::finally(bad_gateway(member, lie)));
        }
        member.health.succeeded();
        let idle_max = self.group.upstream.idle_connections_max;
        let body = exchange::body(carrier, member, self.timeouts.idle, idle_max).await;
        let body = body.map_err(|error| Failed::finally(bad_gateway(member, error)))?;
        Ok(Response::from_parts(head, body))
    }
}

/// A 101 whose connection is a tunnel from now on.
fn tunnel(
    head: response::Parts,
    carrier: Carrier,
    member: &Arc<Member>,
    patience: Duration,
) -> Result<Response<Body>, Failed> {
    let opened = match carrier {
        Carrier::Http1(link) => link.into_tunnel(),
        Carrier::Http2(_) => None,
    };
    let Some((transport, early)) = opened else {
        member.has_failed();
        return Err(Failed::finally(bad_gateway(member, NotSwitched::NoWay)));
    };
    member.health.succeeded();
    let lease = Lease::new(Arc::clone(member));
    let mut answer = Response::from_parts(head, Body::Empty);
    Tunnel::new(TokioIo::new(transport), early, patience, lease).attach(&mut answer);
    Ok(answer)
}

impl Exchange<'_> {
    /// Makes the head of a 101 one for the client. `None` where it is the head of an ordinary answer.
    fn switched(&self, head: &mut response::Parts) -> Option<Result<(), NotSwitched>> {
        let extended = self.request.method == Method::CONNECT;
        match head.status {
            StatusCode::SWITCHING_PROTOCOLS => {}
            status if extended && status.is_success() => {
                return Some(Err(NotSwitched::Ordinary { status: status.as_u16() }));
            }
            _ => return None,
        }
        let wanted = self.upgrade.as_ref().ok_or(NotSwitched::Unasked);
        Some(wanted.and_then(|wanted| wanted.switched(&head.headers)).map(|protocol| {
            head.extensions.clear();
            headers::strip_hop_by_hop(&mut head.headers);
            upgrade::answer_fields(&mut head.headers, protocol, extended);
        }))
    }
}

/// What is answered here and by nobody else.
fn own_answer(request: &mut Parts) -> Result<Option<Response<Body>>, RequestError> {
    match request.method {
        // It would show fields that are not the client's own (RFC 9110, 9.3.8).
        Method::TRACE => {
            Err(RequestError::MethodNotAllowed { method: Method::TRACE, allow: METHODS })
        }
        Method::OPTIONS => {
            let left = request.headers.get(MAX_FORWARDS).and_then(|left| left.to_str().ok());
            match left.and_then(|left| left.parse::<u32>().ok()) {
                None => Ok(None),
                Some(0) => {
                    let mut response = Response::new(Body::empty());
                    response.headers_mut().insert(ALLOW, HeaderValue::from_static(METHODS));
                    Ok(Some(response))
                }
                Some(left) => {
                    request.headers.insert(MAX_FORWARDS, HeaderValue::from(left - 1));
                    Ok(None)
                }
            }
        }
        _ => Ok(None),
    }
}

/// A target with scheme and authority, as HTTP/2 has them (RFC 9113, 8.3.1).
fn absolute(target: &PathAndQuery, host: &[u8], https: bool) -> Uri {
    let scheme = if https { Scheme::HTTPS } else { Scheme::HTTP };
    let mut parts = Uri::from(target.clone()).into_parts();
    parts.authority = Authority::try_from(host).ok();
    parts.scheme = parts.authority.is_some().then_some(scheme);
    Uri::from_parts(parts).unwrap_or_else(|_| Uri::from(target.clone()))
}

fn bad_gateway(
    member: &Member,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> RequestError {
    RequestError::BadGateway { upstream: member.name.clone(), source: source.into() }
}
