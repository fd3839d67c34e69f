//! What answers a request once its site is known. A closed set: one enum, one line per kind.

pub mod redirect;
pub mod respond;
pub mod static_files;

use std::{cmp::Reverse, net::SocketAddr, sync::Arc};

use bindery_model::{
    binding::{BindingInformation, Protocol},
    decide::route,
    name::Host,
    site::{Route, RouteAction, SiteId, SiteState},
    table::MemoryTable,
};
use http::{Response, request::Parts};

use self::{redirect::Redirect, respond::Respond, static_files::StaticFiles};
use crate::{
    http::{authority, body::Body, content::Content, dispatch::ConnInfo, error::RequestError},
    metrics::HandlerKind,
    process::Process,
};

/// What answers.
pub enum Handler {
    /// Files of a folder.
    StaticFiles(StaticFiles),
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
            RouteAction::Proxy(_) | RouteAction::FastCgi(_) => {
                Self::Respond(Respond::new(501, "", ""))
            }
            RouteAction::Respond { status, body, content_type } => {
                Self::Respond(Respond::new(*status, body, content_type))
            }
        }
    }

    /// The answer to a request, where it can be given without waiting for anything.
    pub(crate) fn answer_now(
        &self,
        request: &Parts,
    ) -> Option<Result<Response<Body>, RequestError>> {
        match self {
            Self::StaticFiles(files) => files.answer_now(request),
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
        _content: &mut Content,
        _ctx: &RequestCtx<'_>,
    ) -> Result<Response<Body>, RequestError> {
        match self {
            Self::StaticFiles(files) => files.handle(request).await,
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
}

/// What answers below a path of a site.
pub struct RouteRuntime {
    /// As [`Route::path`].
    pub(crate) path: String,
    pub(crate) handler: Handler,
    /// What the handler is, for who counts.
    pub(crate) kind: HandlerKind,
}

impl RouteRuntime {
    fn new(route: &Route, process: &Process) -> Self {
        let kind = match route.action {
            RouteAction::Files(_) => HandlerKind::Files,
            RouteAction::Proxy(_) => HandlerKind::Proxy,
            RouteAction::FastCgi(_) => HandlerKind::FastCgi,
            RouteAction::Redirect { .. } => HandlerKind::Redirect,
            RouteAction::Respond { .. } => HandlerKind::Respond,
        };
        Self { path: route.path.clone(), handler: Handler::new(route, process), kind }
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
    /// Where its requests without TLS are sent, if they are.
    https: Vec<BindingInformation>,
}

impl SiteRuntime {
    pub(crate) fn new(table: &MemoryTable, site: u32, process: &Process) -> Self {
        #[allow(clippy::indexing_slicing, reason = "a binding is made with the place of its site")]
        let record = &table.sites[site as usize];
        let bindings = table.bindings_of(site).map(|binding| &binding.information);
        let https = bindings
            .filter(|information| record.https_redirect && information.protocol == Protocol::Https)
            .cloned()
            .collect();
        let root = RouteRuntime::new(&record.root, process);
        let mut routes: Vec<_> =
            record.routes.iter().map(|route| RouteRuntime::new(route, process)).collect();
        routes.sort_by_key(|route| Reverse(route.path.len()));
        Self {
            id: record.id,
            access_log: record.access_log,
            name: record.name.clone(),
            state: record.state,
            root,
            routes,
            https,
        }
    }

    /// What answers at the path of a request.
    ///
    /// # Errors
    ///
    /// 400 when the path is one that different readers read differently.
    pub(crate) fn route(&self, path: &str) -> Result<&RouteRuntime, RequestError> {
        let path =
            route::decoded_path(path).map_err(|reason| RequestError::BadRequest { reason })?;
        let longest = self.routes.iter().find(|route| route::covers(&route.path, &path));
        Ok(longest.unwrap_or(&self.root))
    }

    /// The way to the https binding of the same host, for a request that came without TLS to
    /// `local`. `None` where the site has none that answers for the host there.
    pub(crate) fn https_redirect(
        &self,
        authority: Option<&str>,
        request: &Parts,
        local: SocketAddr,
    ) -> Option<Response<Body>> {
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
