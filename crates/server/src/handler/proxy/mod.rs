//! Other servers that answer: a request is handed on to one of them and its answer handed back,
//! both as streams.
//!
//! | module | answers |
//! |---|---|
//! | `group` | which groups and members are in use, whatever the configuration? |
//! | `balance` | which member answers? |
//! | `health`, `upkeep` | is it well? |
//! | `connect`, `wire` | how is it reached? |
//! | `member`, `link`, `hub` | which connection, and who drives it? |
//! | `target`, `headers`, `upload` | what does it get? |
//! | `exchange` | what comes back? |

mod balance;
mod connect;
mod exchange;
pub(crate) mod group;
mod headers;
mod health;
mod hub;
mod link;
mod member;
mod target;
mod upkeep;
mod upload;
pub(crate) mod wire;

use std::{io, sync::Arc};

use bindery_model::upstream::{self, Timeouts, UpstreamHost};
use http::{
    HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header::{ALLOW, EXPECT, MAX_FORWARDS},
    request::Parts,
};
use http_body::Body as _;

use self::{
    exchange::Parts as ExchangeParts,
    group::{Group, Upstreams},
    headers::Outgoing,
    link::{Link, LinkError},
    member::{Lease, Member},
    upload::{Source, Upload},
};
use super::RequestCtx;
use crate::{
    connections::Waiting,
    http::{
        authority, body::Body, client::Client, content::Content, dispatch::ConnInfo,
        error::RequestError,
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

/// A request on its way up.
struct Exchange<'a> {
    request: &'a Parts,
    info: &'a ConnInfo,
    client: Client<'a>,
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
            request,
        };
        let answer = self.answer(&exchange).await;
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
            let chosen = self.group.choose(exchange.client.address, &tried);
            let Some((place, member)) = chosen else { break };
            match self.ask(exchange, member).await {
                Ok(answer) => return Ok(answer),
                Err(Failed { error, again: false }) => return Err(error),
                Err(Failed { error: this, again: true }) => error = Some(this),
            }
            tried.push(place);
        }
        Err(error.unwrap_or_else(|| RequestError::NoUpstream { upstream: self.group.name.clone() }))
    }

    /// Asks one member: on a connection that is open, or on a new one.
    async fn ask(
        &self,
        exchange: &Exchange<'_>,
        member: &Arc<Member>,
    ) -> Result<Response<Body>, Failed> {
        let lease = Lease::new(member);
        let mut waiting = Waiting::new(&exchange.info.connection);
        if let Some(mut link) = member.idle_link() {
            match self.ask_on(&mut link, exchange, member, &mut waiting).await {
                Ok(answer) => return self.handed_back(answer, link, lease, waiting).await,
                // It was closed when the request was on its way. That says nothing of the member.
                Err(Failed { again: true, .. }) => {}
                Err(failed) => return Err(failed),
            }
        }
        let mut link = self.connected(member, &mut waiting).await?;
        let answer = self.ask_on(&mut link, exchange, member, &mut waiting).await?;
        self.handed_back(answer, link, lease, waiting).await
    }

    async fn connected(&self, member: &Member, waiting: &mut Waiting) -> Result<Box<Link>, Failed> {
        waiting.set(true);
        let opened = match member.way.open(self.timeouts.connect).await {
            Ok(transport) => Link::new(transport).await.map_err(io::Error::other),
            Err(error) => Err(error),
        };
        opened.map(Box::new).map_err(|error| {
            member.health.failed();
            let error = match error.kind() {
                io::ErrorKind::TimedOut => RequestError::GatewayTimeout {
                    upstream: member.name.clone(),
                    stage: "a connection",
                    seconds: self.timeouts.connect.as_secs(),
                },
                _ => bad_gateway(member, error),
            };
            Failed { error, again: true }
        })
    }

    async fn ask_on(
        &self,
        link: &mut Link,
        exchange: &Exchange<'_>,
        member: &Member,
        waiting: &mut Waiting,
    ) -> Result<Response<hyper::body::Incoming>, Failed> {
        let was_used = link.used;
        let before = link.moved();
        let source = exchange.source.as_deref();
        let request = self.request(exchange, member);
        let error = match link.ask(request, source, waiting, self.timeouts.first_byte).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        if let Some(error) = source.and_then(Source::failure) {
            return Err(Failed::finally(RequestError::Content(error)));
        }
        let after = link.moved();
        let (sent, received) = (after.0 > before.0, after.1 > before.1);
        let silent = matches!(error, LinkError::Silent(_));
        let begun = source.is_some_and(Source::has_begun);
        let again =
            !silent && !received && !begun && (!sent || exchange.request.method.is_idempotent());
        if !(was_used && again) {
            member.health.failed();
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
        let host = self.host_value(exchange, member);
        let mut request = Request::new(Upload::new(source.as_ref()));
        *request.method_mut() = parts.method.clone();
        *request.uri_mut() = exchange.target.clone();
        *request.version_mut() = Version::HTTP_11;
        *request.headers_mut() = headers::outgoing(&Outgoing {
            request: parts,
            client,
            peer: info.connection.peer,
            port: info.connection.local.port(),
            protocol: self.group.upstream.protocol,
            host,
            forwarded: self.forwarded,
            source: source.as_deref(),
        });
        let expects = request.headers().contains_key(EXPECT);
        if let (true, Some(source)) = (expects, source) {
            source.hold();
            let source = Arc::clone(source);
            hyper::ext::on_informational(&mut request, move |answer| {
                if answer.status() == StatusCode::CONTINUE {
                    source.release();
                }
            });
        }
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

    async fn handed_back(
        &self,
        answer: Response<hyper::body::Incoming>,
        link: Box<Link>,
        lease: Lease,
        waiting: Waiting,
    ) -> Result<Response<Body>, Failed> {
        let member = Arc::clone(&lease.0);
        let (mut head, incoming) = answer.into_parts();
        if let Err(lie) = headers::incoming(&mut head) {
            member.health.failed();
            return Err(Failed::finally(bad_gateway(&member, lie)));
        }
        member.health.succeeded();
        let idle_max = self.group.upstream.idle_connections_max;
        let patience = self.timeouts.idle;
        let parts = ExchangeParts { link, incoming, lease, waiting, patience, idle_max };
        let body = exchange::body(parts).await;
        let body = body.map_err(|error| Failed::finally(bad_gateway(&member, error)))?;
        Ok(Response::from_parts(head, body))
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

fn bad_gateway(
    member: &Member,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> RequestError {
    RequestError::BadGateway { upstream: member.name.clone(), source: source.into() }
}
