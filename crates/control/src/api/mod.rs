//! The REST API: everything that can be asked of a running server, and changed, in the words of
//! `bindery.toml`. On a Unix socket in the state folder and, with tokens, on the loopback address of
//! `[server] admin`; never where sites are served.
//!
//! | module | answers |
//! |---|---|
//! | `operations` | what can be asked, and what does each take? |
//! | `access`, `tokens` | who asks, and may they? |
//! | `body` | what do they send? |
//! | `things`, `certificates`, `whole`, `events`, `requests` | what is done, and answered? |
//! | `problem` | why not? |
//! | `openapi` | how is that said to programs? |
//! | `connection`, `socket` | where? |

mod access;
mod backups;
mod body;
mod certificates;
mod connection;
mod events;
mod openapi;
mod operations;
mod problem;
mod requests;
mod socket;
mod things;
mod tokens;
mod whole;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{
        Query as AxumQuery, RawPathParams, Request, State, rejection::RawPathParamsRejection,
    },
    response::{IntoResponse, Response},
    routing::MethodRouter,
};
use bindery_model::change::Place;
use bindery_server::blocking;
use http::{
    HeaderValue, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, LOCATION},
    request::Parts,
};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Body as HttpBody;
use hyper_util::service::TowerToHyperService;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use tokio::{sync::Semaphore, time::timeout};

pub use access::{DOOR, Peer, Role, is_local, user_name};
pub use backups::Backup;
pub use certificates::{BindingOfSite, CertificateRecord, certificates};
pub use connection::{Connections, serve_connection};
pub use openapi::document as openapi;
pub use problem::{ProblemDocument, ProblemItem};
pub use requests::RequestRecord;
pub use socket::{listen, serve, socket_path};
pub use tokens::{Token, TokenError, TokenFile};
pub use whole::{About, RevisionDifference, RevisionRecord};

use crate::applier::{Applier, Current, Outcome, Request as ChangeRequest, What};
use access::Caller;
use body::{JSON, Query};
use operations::{OPERATIONS, Operation, Takes};
use problem::{Kind, Problem, etag};
use tokens::Tokens;

/// The body of a request that is a whole configuration, which is some MB for 10,000 sites.
const TEXT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The body of any other.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// So long a body may take to arrive, from the same machine.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Requests that only look, at once: each is a thread while it is answered.
const READERS_MAX: usize = 8;

/// Event streams at once.
const STREAMS_MAX: usize = 32;

/// Answers requests. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    router: TowerToHyperService<Router>,
}

/// What all operations work with.
struct Shared {
    applier: Applier,
    tokens: Arc<Tokens>,
    readers: Semaphore,
    /// One change after the other, in the order in which they came, without a thread for each that
    /// waits.
    writer: Semaphore,
    streams: Arc<Semaphore>,
}

/// A request that was let in.
struct Call {
    operation: &'static Operation,
    shared: Arc<Shared>,
    caller: Caller,
    path: Vec<(String, String)>,
    query: Query,
    head: Parts,
    body: Bytes,
}

impl Api {
    /// The API to what `applier` serves.
    #[must_use]
    pub fn new(applier: Applier) -> Self {
        let state_dir = applier.current().state_folder();
        let shared = Arc::new(Shared {
            applier,
            tokens: Arc::new(Tokens::of(&state_dir)),
            readers: Semaphore::new(READERS_MAX),
            writer: Semaphore::new(1),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
        });
        let mut router = Router::new();
        for operation in OPERATIONS {
            router = router.route(operation.path, method_router(operation));
        }
        let router = router.method_not_allowed_fallback(not_allowed).fallback(not_found);
        Self { router: TowerToHyperService::new(router.with_state(shared)) }
    }

    /// The answer to a request that came from `peer`.
    pub async fn answer<B>(&self, mut request: Request<B>, peer: Peer) -> Response
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        use hyper::service::Service as _;
        request.extensions_mut().insert(peer);
        match self.router.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

fn method_router(operation: &'static Operation) -> MethodRouter<Arc<Shared>> {
    let answer = move |State(shared): State<Arc<Shared>>,
                       path: Result<RawPathParams, RawPathParamsRejection>,
                       request: Request| async move {
        match operation.answer(shared, path, request).await {
            Ok(response) => response,
            Err(problem) => problem.into_response(),
        }
    };
    MethodRouter::new().on(operation.verb.filter(), answer)
}

async fn not_found(request: Request) -> Problem {
    let path = request.uri().path();
    let detail = format!("there is nothing at {path}; /v1/openapi.json says what there is");
    Problem::new(Kind::NotFound, detail)
}

async fn not_allowed(request: Request) -> Problem {
    let detail = format!("{} is not for {}", request.method(), request.uri().path());
    Problem::new(Kind::Method, detail)
}

impl Operation {
    async fn answer(
        &'static self,
        shared: Arc<Shared>,
        path: Result<RawPathParams, RawPathParamsRejection>,
        request: Request,
    ) -> Result<Response, Problem> {
        let (head, body) = request.into_parts();
        let peer = head.extensions.get::<Peer>().copied();
        let caller = Caller::of(&shared, peer, &head.headers).await?;
        caller.expect(self.role)?;
        let malformed = |error: String| Problem::new(Kind::Malformed, error);
        let path = path.map_err(|error| malformed(error.body_text()))?;
        let path = path.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let given: AxumQuery<Vec<(String, String)>> =
            AxumQuery::try_from_uri(&head.uri).map_err(|error| malformed(error.body_text()))?;
        let query = Query::read(given.0, self.parameters)?;
        let body = self.body(&head, body).await?;
        let reads = self.role == Role::Read;
        let gate = if reads { &shared.readers } else { &shared.writer };
        let gate = gate.acquire().await;
        let shared_too = Arc::clone(&shared);
        let work = move || {
            let caller = caller.again(&shared_too.tokens)?;
            caller.expect(self.role)?;
            let call =
                Call { operation: self, shared: shared_too, caller, path, query, head, body };
            (self.run)(&call)
        };
        let answered = match reads {
            true => blocking::run(self.id, work).await,
            // A thread in between would push away one that serves.
            false => shared.applier.behind().run(self.id, work).await,
        };
        drop(gate);
        answered.unwrap_or_else(|error| Err(Problem::new(Kind::Internal, error.to_string())))
    }

    async fn body(&self, head: &Parts, body: Body) -> Result<Bytes, Problem> {
        let bytes_max = match self.takes {
            Takes::Nothing => return Ok(Bytes::new()),
            Takes::Json(_) => BODY_BYTES_MAX,
            Takes::Text => TEXT_BYTES_MAX,
        };
        let too_large =
            || Problem::new(Kind::TooLarge, format!("the body may have {bytes_max} bytes at most"));
        let length = head.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        if length.and_then(|length| length.parse().ok()).is_some_and(|own: usize| own > bytes_max) {
            return Err(too_large());
        }
        match timeout(BODY_TIMEOUT, Limited::new(body, bytes_max).collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(error)) => Err(Problem::new(Kind::Malformed, format!("the body: {error}"))),
            Err(_) => {
                let detail = format!("the body was not there after {} s", BODY_TIMEOUT.as_secs());
                Err(Problem::new(Kind::Timeout, detail))
            }
        }
    }
}

/// Some of what there is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// These.
    pub items: Vec<T>,
    /// What to ask with as `after` (`before` for the history) for those that follow; nothing where
    /// none do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Call {
    fn current(&self) -> Arc<Current> {
        self.shared.applier.current()
    }

    /// A part of the path.
    fn part(&self, name: &str) -> &str {
        let found = self.path.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    /// A part of the configuration, or all of it, at a revision.
    fn tagged(&self, revision: u64, answer: &impl Serialize) -> Result<Response, Problem> {
        if body::has_already(&self.head.headers, revision) {
            return Ok((StatusCode::NOT_MODIFIED, [(ETAG, etag(revision))]).into_response());
        }
        let mut response = json(StatusCode::OK, answer)?;
        response.headers_mut().insert(ETAG, etag(revision));
        Ok(response)
    }

    /// Makes a change, and says what came of it.
    fn change(&self, what: What) -> Result<Response, Problem> {
        let outcome = self.outcome(what)?;
        self.said(StatusCode::OK, &outcome)
    }

    /// Makes a change by which something comes to be, at this path.
    fn create(&self, what: What, location: &str) -> Result<Response, Problem> {
        let outcome = self.outcome(what)?;
        if !outcome.changed {
            return self.said(StatusCode::OK, &outcome);
        }
        let mut response = self.said(StatusCode::CREATED, &outcome)?;
        let location = HeaderValue::try_from(location);
        response.headers_mut().extend(location.ok().map(|location| (LOCATION, location)));
        Ok(response)
    }

    fn outcome(&self, what: What) -> Result<Outcome, Problem> {
        let is_json = !matches!(what, What::Text(_) | What::Reload | What::Anew);
        let request = ChangeRequest {
            what,
            expected: body::expected(&self.head.headers, self.current().revision)?,
            actor: self.caller.actor.clone(),
            dry_run: self.query.yes("dry_run"),
            force: self.query.yes("force"),
        };
        self.shared.applier.apply(&request).map_err(|refused| {
            let pointers = if is_json { body::pointers(&self.body) } else { Vec::new() };
            Problem::of_refused(refused, &pointers)
        })
    }

    fn said(&self, status: StatusCode, outcome: &Outcome) -> Result<Response, Problem> {
        let mut response = json(status, outcome)?;
        response.headers_mut().insert(ETAG, etag(outcome.revision));
        Ok(response)
    }
}

fn json(status: StatusCode, answer: &impl Serialize) -> Result<Response, Problem> {
    let text = serde_json::to_vec(answer)
        .map_err(|error| Problem::new(Kind::Internal, format!("the answer: {error}")))?;
    Ok((status, [(CONTENT_TYPE, HeaderValue::from_static(JSON))], text).into_response())
}

/// What stands as it is in a part of a path (RFC 3986, 2.3).
const IN_PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Where a thing is looked at and changed.
pub(crate) fn path_of(at: &Place) -> String {
    let part = part_of_path;
    match at {
        Place::Server => "/v1/server".to_owned(),
        Place::Listener(on) => format!("/v1/listeners/{}", part(on)),
        Place::Certificate(name) => format!("/v1/certificates/{}", part(name)),
        Place::Site(name) => format!("/v1/sites/{}", part(name)),
        Place::Binding { site, on } => format!("/v1/sites/{}/bindings/{}", part(site), part(on)),
        Place::Application { site, path } => {
            format!("/v1/sites/{}/applications/{}", part(site), part(path))
        }
        Place::VirtualDirectory { site, path } => {
            format!("/v1/sites/{}/virtual_directories/{}", part(site), part(path))
        }
        Place::Record(_) => "/v1/records".to_owned(),
    }
}

/// A name as a part of a path.
pub(crate) fn part_of_path(name: &str) -> String {
    utf8_percent_encode(name, IN_PART).to_string()
}
