//! What answers a request once its site is known. A closed set: one enum, one line per kind.

pub mod fastcgi;
pub mod proxy;
pub mod redirect;
pub mod respond;
pub mod static_files;

use std::{cmp::Reverse, net::SocketAddr, sync::Arc};

use bindery_model::{
    binding::{BindingInformation, Protocol},
    decide::route,
    document::Configuration,
    name::Host,
    rules::Rules,
    site::{Route, RouteAction, SiteId, SiteState},
};
use http::{Response, request::Parts};
use ipnet::IpNet;

use self::{
    fastcgi::FastCgi, proxy::Proxy, redirect::Redirect, respond::Respond, static_files::StaticFiles,
};
use crate::{
    http::{
        authority,
        body::Body,
        client::{Client, client},
        content::Content,
        dispatch::ConnInfo,
        error::RequestError,
        waits::Waits,
    },
    metrics::HandlerKind,
    process::Process,
    rules::{RulesRuntime, site::LimitedSite},
};

/// What answers.
pub enum Handler {
    /// Files of a folder.
    StaticFiles(StaticFiles),
    /// Other servers that speak HTTP.
    Proxy(Proxy),
    /// Programs that speak FastCGI, and files beside their scripts.
    FastCgi(Box<FastCgi>),
    /// Another address.
    Redirect(Redirect),
    /// One answer to everything.
    Respond(Respond),
}

impl Handler {
    fn new(route: &Route, process: &Process) -> Self {
        let Route { path, action, .. } = route;
        match action {
            RouteAction::Files(files) => {
                Self::StaticFiles(StaticFiles::new(path, files, Arc::clone(&process.files)))
            }
            RouteAction::Redirect { to, status } => Self::Redirect(Redirect::new(to, *status)),
            RouteAction::Proxy(proxy) => Self::Proxy(Proxy::new(path, proxy, &process.upstreams)),
            RouteAction::FastCgi(fastcgi) => {
                let files = Arc::clone(&process.files);
                Self::FastCgi(Box::new(FastCgi::new(path, fastcgi, files, &process.fastcgi)))
            }
            RouteAction::Respond { status, body, content_type } => {
                Self::Respond(Respond::new(*status, body, content_type))
            }
        }
    }

    /// The files among which rules look, for handlers that have any.
    pub(crate) fn files(&self) -> Option<&StaticFiles> {
        match self {
            Self::StaticFiles(files) => Some(files),
            Self::FastCgi(fastcgi) => Some(&fastcgi.files),
            Self::Proxy(_) | Self::Redirect(_) | Self::Respond(_) => None,
        }
    }

    /// Whether it may turn a stream into a tunnel, so that a CONNECT with a protocol (RFC 8441) is
    /// one for it.
    pub(crate) fn opens_tunnels(&self) -> bool {
        matches!(self, Self::Proxy(_))
    }

    /// The answer to a request, where it can be given without waiting for anything.
    pub(crate) fn answer_now(
        &self,
        request: &Parts,
    ) -> Option<Result<Response<Body>, RequestError>> {
        match self {
            Self::StaticFiles(files) => files.answer_now(request),
            Self::Proxy(_) => None,
            Self::FastCgi(fastcgi) => fastcgi.answer_now(request),
            Self::Redirect(redirect) => Some(redirect.handle(request)),
            Self::Respond(respond) => Some(Ok(respond.response())),
        }
    }

    /// The answer to a request. Content that is not taken out is read and dropped later.
    ///
    /// # Errors
    ///
    /// When there is no ordinary one.
    pub async fn handle(
        &self,
        request: &mut Parts,
        content: &mut Content,
        ctx: &RequestCtx<'_>,
    ) -> Result<Response<Body>, RequestError> {
        match self {
            Self::StaticFiles(files) => files.handle(request).await,
            Self::Proxy(proxy) => proxy.handle(request, content, ctx).await,
            Self::FastCgi(fastcgi) => Box::pin(fastcgi.handle(request, content, ctx)).await,
            Self::Redirect(redirect) => redirect.handle(request),
            Self::Respond(respond) => Ok(respond.response()),
        }
    }
}

/// What a handler knows of a request beside its head and content.
#[derive(Clone, Copy)]
pub struct RequestCtx<'a> {
    /// The connection.
    pub info: &'a Arc<ConnInfo>,
    /// The site.
    pub site: &'a SiteRuntime,
    /// What of it answers.
    pub route: &'a RouteRuntime,
    /// What it waits for, and its place among the requests under way.
    pub(crate) waits: &'a Waits,
}

impl RequestCtx<'_> {
    /// Who asks: the peer, or whom a trusted proxy speaks for.
    #[must_use]
    pub fn client<'r>(&self, request: &'r Parts) -> Client<'r> {
        let host = authority::authority(request.version, &request.uri, &request.headers);
        self.client_of(request, host.ok().flatten().unwrap_or_default())
    }

    /// Who asks, where the host that is asked for is known.
    pub(crate) fn client_of<'r>(&self, request: &'r Parts, host: &'r str) -> Client<'r> {
        let peer = self.info.connection.peer;
        let https = self.info.tls.is_some();
        client(peer, https, host, &request.headers, &self.site.trusted_proxies)
    }
}

/// What answers below a path of a site.
pub struct RouteRuntime {
    /// As [`Route::path`].
    pub(crate) path: String,
    pub(crate) handler: Handler,
    /// What the handler is, for who counts.
    pub(crate) kind: HandlerKind,
    /// What happens around the answer; `None` for nothing.
    pub(crate) rules: Option<Arc<RulesRuntime>>,
}

impl RouteRuntime {
    fn new(route: &Route, rules: Option<Arc<RulesRuntime>>, process: &Process) -> Self {
        let kind = match route.action {
            RouteAction::Files(_) => HandlerKind::Files,
            RouteAction::Proxy(_) => HandlerKind::Proxy,
            RouteAction::FastCgi(_) => HandlerKind::FastCgi,
            RouteAction::Redirect { .. } => HandlerKind::Redirect,
            RouteAction::Respond { .. } => HandlerKind::Respond,
        };
        let handler = Handler::new(route, process);
        Self { path: route.path.clone(), handler, kind, rules }
    }
}

type Made<'a> = (&'a Arc<Rules>, Option<Arc<RulesRuntime>>);

/// The rules of the routes of a site, made ready once for all that share them.
struct SharedRules<'a> {
    site: SiteId,
    made: Vec<Made<'a>>,
}

impl<'a> SharedRules<'a> {
    fn of(&mut self, route: &'a Route) -> Option<Arc<RulesRuntime>> {
        if let Some((_, made)) = self.made.iter().find(|(rules, _)| **rules == route.rules) {
            return made.clone();
        }
        let made = RulesRuntime::new(&route.rules, self.site).map(Arc::new);
        self.made.push((&route.rules, made.clone()));
        made
    }
}

/// What serves a site, made when it is first asked for.
pub struct SiteRuntime {
    pub(crate) id: SiteId,
    /// Whether its requests are logged, where any are.
    pub(crate) access_log: bool,
    pub(crate) name: String,
    pub(crate) state: SiteState,
    root: RouteRuntime,
    /// What answers elsewhere, longest path first.
    routes: Vec<RouteRuntime>,
    ignore_case: bool,
    limits: Option<LimitedSite>,
    /// Whose word on their clients is believed.
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// Where its requests without TLS are sent, if they are.
    https: Vec<BindingInformation>,
}

impl SiteRuntime {
    pub(crate) fn new(configuration: &Configuration, site: u32, process: &Process) -> Self {
        let table = &configuration.table;
        #[allow(clippy::indexing_slicing, reason = "a binding is made with the place of its site")]
        let record = &table.sites[site as usize];
        let bindings = table.bindings_of(site).map(|binding| &binding.information);
        let https = bindings
            .filter(|information| record.https_redirect && information.protocol == Protocol::Https)
            .cloned()
            .collect();
        let mut rules = SharedRules { site: record.id, made: Vec::new() };
        let mut make = |route| RouteRuntime::new(route, rules.of(route), process);
        let root = make(&record.root);
        let mut routes: Vec<_> = record.routes.iter().map(make).collect();
        routes.sort_by_key(|route| Reverse(route.path.len()));
        Self {
            id: record.id,
            access_log: record.access_log,
            name: record.name.clone(),
            state: record.state,
            root,
            routes,
            ignore_case: record.ignore_case,
            limits: LimitedSite::new(record, &process.loads),
            trusted_proxies: configuration.settings.trusted_proxies.clone(),
            https,
        }
    }

    /// How much of the machine it may take.
    pub(crate) fn limits(&self) -> Option<&LimitedSite> {
        self.limits.as_ref()
    }

    /// The place of what answers at the path of a request.
    ///
    /// # Errors
    ///
    /// 400 when the path is one that different readers read differently.
    pub(crate) fn place(&self, path: &str) -> Result<usize, RequestError> {
        let path =
            route::decoded_path(path).map_err(|reason| RequestError::BadRequest { reason })?;
        let covers = |route: &RouteRuntime| route::covers(&route.path, &path, self.ignore_case);
        let longest = self.routes.iter().position(covers);
        Ok(longest.unwrap_or(usize::MAX))
    }

    /// What answers at the path of a request.
    ///
    /// # Errors
    ///
    /// As [`Self::place`].
    pub(crate) fn route(&self, path: &str) -> Result<&RouteRuntime, RequestError> {
        self.place(path).map(|place| self.route_at(place))
    }

    /// What answers at a place that [`Self::place`] gave.
    pub(crate) fn route_at(&self, place: usize) -> &RouteRuntime {
        self.routes.get(place).unwrap_or(&self.root)
    }

    /// What answers at a place, where nothing happens around the answer.
    pub(crate) fn plain(&self, place: usize) -> Option<&RouteRuntime> {
        let route = self.route_at(place);
        (route.rules.is_none() && self.limits.is_none()).then_some(route)
    }

    /// The way to the https binding of the same host, for a request that came without TLS to
    /// `local`. `None` where the site has none that answers for the host there.
    pub(crate) fn https_redirect(
        &self,
        authority: Option<&str>,
        request: &Parts,
        local: SocketAddr,
    ) -> Option<Response<Body>> {
        if self.https.is_empty() {
            return None;
        }
        let host = authority::parse(authority?).ok()?;
        let port = https_port(&self.https, &host, local)?;
        Some(redirect::to_https(&host, port, request))
    }
}

/// The port of the binding among `https`, those of one site, that answers for `host` to clients
/// that come to the address of `local`.
pub fn https_port<'a>(
    https: impl IntoIterator<Item = &'a BindingInformation>,
    host: &Host,
    local: SocketAddr,
) -> Option<u16> {
    let answers = |information: &&BindingInformation| {
        let address = information.endpoint.address;
        address.is_none_or(|own| own == local.ip())
            && host.name().map_or_else(
                || information.host == bindery_model::name::HostPattern::Any,
                |name| information.host.covers(name),
            )
    };
    // The port that needs not be said is the one people expect.
    let ports = https.into_iter().filter(answers).map(|information| information.endpoint.port);
    ports.min_by_key(|port| (*port != 443, *port))
}

/// The host as it stands in a URL: names as they are, IPv6 in brackets, the port unless it is the
/// default.
#[must_use]
pub fn url_host(host: &Host, port: u16, default: u16) -> String {
    if port == default { host.to_string() } else { format!("{host}:{port}") }
}
