//! Other servers that answer: a request is handed on to one of them and its answer handed back,
//! both as streams.
//!
//! | module | answers |
//! |---|---|
//! | `group` | which groups and members are in use, whatever the configuration? |
//! | `balance` | which member answers? |
//! | `health`, `upkeep` | is it well? |
//! | `connect`, `wire` | how is it reached? |
//! | `member`, `link`, `http2`, `hub` | which connection, and who drives it? |
//! | `target`, `headers`, `upload` | what does it get? |
//! | `proxy_protocol` | and who is told whom it serves? |
//! | `exchange`, `interim` | what comes back? |
//! | `upgrade` | and when it is no HTTP any more? |

mod balance;
mod connect;
mod exchange;
pub(crate) mod group;
mod headers;
mod health;
mod http2;
mod hub;
mod interim;
mod link;
mod member;
mod proxy_protocol;
mod target;
mod upgrade;
mod upkeep;
mod upload;
pub(crate) mod wire;

use std::{io, sync::Arc};

use bindery_model::upstream::{self, Sticky, Timeouts, UpstreamHost, UpstreamProtocol};
use http::{
    HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header::{ALLOW, EXPECT, MAX_FORWARDS, SET_COOKIE},
    request::Parts,
    uri::{Authority, Scheme},
};
use http_body::Body as _;
use hyper::body::Incoming;

use self::{
    balance::Chosen,
    connect::Purpose,
    exchange::{Carrier, Parts as ExchangeParts},
    group::{Group, Upstreams},
    headers::Outgoing,
    link::{Link, LinkError},
    member::{Lease, Member},
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
    target: Uri,
    host: &'a str,
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
            client: ctx.client(request),
            host: host.unwrap_or_default(),
            source: (!content.is_end_stream()).then(|| Source::new(content.take())),
            target: Uri::from(target),
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
        let lease = Lease::new(member);
        let mut carrier = match self.open_already(member, exchange) {
            Some(carrier) => carrier,
            // Boxed, because it is large and rare.
            None => Box::pin(self.connected(member, exchange)).await?,
        };
        let answer = loop {
            match self.ask_on(&mut carrier, exchange, member).await {
                Ok(answer) => break answer,
                // It was closed when the request was on its way. That says nothing of the member.
                Err(failed) if failed.again && carrier.is_old() => {
                    carrier = Box::pin(self.connected(member, exchange)).await?;
                }
                Err(failed) => return Err(failed),
            }
        };
        let (mut head, incoming) = answer.into_parts();
        let idle_max = self.group.upstream.idle_connections_max;
        let patience = self.timeouts.idle;
        let parts = ExchangeParts { carrier, incoming, lease, patience, idle_max };
        let mut answer = match exchange.switched(&mut head) {
            Some(Ok(())) => tunnel(head, parts)?,
            Some(Err(lie)) => {
                member.has_failed();
                return Err(Failed::finally(bad_gateway(member, lie)));
            }
            None => handed_back(head, parts).await?,
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
            UpstreamProtocol::Http1 => member.idle_link(purpose).map(Carrier::Http1),
            UpstreamProtocol::Http2 => member.http2.existing(purpose).map(Carrier::Http2),
        }
    }

    async fn connected(&self, member: &Member, exchange: &Exchange<'_>) -> Result<Carrier, Failed> {
        let patience = self.timeouts.connect;
        let purpose = self.purpose(exchange);
        let opened = match self.protocol(exchange) {
            UpstreamProtocol::Http1 => match member.way.open(patience, purpose).await {
                Ok(transport) => {
                    let link = Link::new(transport, purpose).await.map_err(io::Error::other);
                    link.map(|link| Carrier::Http1(Box::new(link)))
                }
                Err(error) => Err(error),
            },
            UpstreamProtocol::Http2 => {
                let stream = member.http2.stream(&member.way, purpose, patience).await;
                stream.map(Carrier::Http2)
            }
        };
        opened.map_err(|error| {
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
    ) -> Result<Response<Incoming>, Failed> {
        let source = exchange.source.as_deref();
        let request = self.request(exchange, member);
        let error = match carrier.ask(request, source, self.timeouts.first_byte).await {
            Ok(answer) => return Ok(answer),
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

    fn request(&self, exchange: &Exchange<'_>, member: &Member) -> Request<Upload> {
        let Exchange { request: parts, info, client, source, .. } = exchange;
        let mut request = Request::new(Upload::new(source.as_ref()));
        *request.method_mut() = parts.method.clone();
        let host = self.host_value(exchange, member);
        let protocol = self.protocol(exchange);
        match protocol {
            UpstreamProtocol::Http1 => *request.uri_mut() = exchange.target.clone(),
            UpstreamProtocol::Http2 => {
                *request.uri_mut() = absolute(&exchange.target, &host, member.way.is_https());
                *request.version_mut() = Version::HTTP_2;
            }
        }
        *request.headers_mut() = headers::outgoing(&Outgoing {
            request: parts,
            client,
            peer: info.connection.peer,
            port: info.connection.destination.port(),
            protocol,
            host,
            forwarded: self.forwarded,
            source: source.as_deref(),
        });
        if let Some(upgrade) = &exchange.upgrade {
            let (mut method, mut fields) =
                (parts.method.clone(), std::mem::take(request.headers_mut()));
            upgrade.ask(&mut method, &mut fields);
            (*request.method_mut(), *request.headers_mut()) = (method, fields);
        }
        let expects = request.headers().contains_key(EXPECT);
        let held = source.as_ref().filter(|_| expects).map(Arc::clone);
        if let Some(held) = &held {
            held.hold();
        }
        interim::watch(&mut request, held, (info, parts.version));
        request
    }

    fn host_value(&self, exchange: &Exchange<'_>, member: &Member) -> HeaderValue {
        let host = match &self.host {
            UpstreamHost::Keep if !exchange.host.is_empty() => exchange.host,
            UpstreamHost::Keep | UpstreamHost::Server => member.way.authority(),
            UpstreamHost::Fixed(host) => host,
        };
        HeaderValue::from_str(host).unwrap_or_else(|_| HeaderValue::from_static("localhost"))
    }
}

/// The answer of a member as one of ours.
async fn handed_back(
    mut head: http::response::Parts,
    parts: ExchangeParts,
) -> Result<Response<Body>, Failed> {
    let member = Arc::clone(&parts.lease.0);
    if let Err(lie) = headers::incoming(&mut head) {
        member.has_failed();
        return Err(Failed::finally(bad_gateway(&member, lie)));
    }
    member.health.succeeded();
    let body = exchange::body(parts).await;
    let body = body.map_err(|error| Failed::finally(bad_gateway(&member, error)))?;
    Ok(Response::from_parts(head, body))
}

/// A 101 whose connection is a tunnel from now on.
fn tunnel(head: http::response::Parts, parts: ExchangeParts) -> Result<Response<Body>, Failed> {
    let ExchangeParts { carrier, lease, patience, .. } = parts;
    let opened = match carrier {
        Carrier::Http1(link) => link.into_tunnel(),
        Carrier::Http2(_) => None,
    };
    let Some((wire, early)) = opened else {
        lease.0.has_failed();
        return Err(Failed::finally(bad_gateway(&lease.0, NotSwitched::NoWay)));
    };
    lease.0.health.succeeded();
    let mut answer = Response::from_parts(head, Body::Empty);
    Tunnel::new(wire, early, patience, lease).attach(&mut answer);
    Ok(answer)
}

impl Exchange<'_> {
    /// Makes the head of a 101 one for the client. `None` where it is the head of an ordinary answer.
    fn switched(&self, head: &mut http::response::Parts) -> Option<Result<(), NotSwitched>> {
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
fn absolute(target: &Uri, host: &HeaderValue, https: bool) -> Uri {
    let scheme = if https { Scheme::HTTPS } else { Scheme::HTTP };
    let mut parts = target.clone().into_parts();
    parts.authority = Authority::try_from(host.as_bytes()).ok();
    parts.scheme = parts.authority.is_some().then_some(scheme);
    Uri::from_parts(parts).unwrap_or_else(|_| target.clone())
}

fn bad_gateway(
    member: &Member,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> RequestError {
    RequestError::BadGateway { upstream: member.name.clone(), source: source.into() }
}
