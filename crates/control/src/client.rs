//! How a command asks a running server: the API at the socket of its state folder. Blocks.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};

use bindery_iis::netsh::records::{RecordChange, Records};
use bindery_model::change::{Change, Fields, Place};
use http::{
    HeaderMap, HeaderValue, Method, Request, StatusCode,
    header::{CONTENT_TYPE, ETAG, HOST, IF_MATCH},
};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{net::UnixStream, runtime::Runtime, time::timeout};

use crate::{
    api::{
        About, Backup, CertificateRecord, DOOR, Page, ProblemDocument, RequestRecord,
        RevisionDifference, RevisionRecord, part_of_path, path_of, socket_path,
    },
    applier::Outcome,
    history::{Door, Record},
    home::Form,
    status::Status,
};

/// So long a server may take to answer: changes wait for those before them.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// So many things are asked for at once where all are wanted.
const PAGE: usize = 1000;

/// How a change is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// The revision that it is based on.
    pub expected: Option<u64>,
    /// Whether everything is done but the change.
    pub dry_run: bool,
    /// Whether what only the machine of the server can tell is no obstacle.
    pub force: bool,
}

/// Which sites, certificates or changes are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Those whose name or host has this in it.
    pub search: Option<String>,
    /// Those that follow: [`Page::next`].
    pub after: Option<String>,
    /// So many at most.
    pub limit: Option<usize>,
}

/// The text of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// Its revision.
    pub revision: u64,
    /// Its form.
    pub form: Form,
    /// The text.
    pub text: String,
}

/// Why there is no answer, or none that helps.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody is there to ask.
    #[error("no server runs with this state folder ({})", .0.display())]
    NotRunning(PathBuf),
    /// Somebody is, and is not for us.
    #[error("only root and the server's user may ask ({})", .0.display())]
    Denied(PathBuf),
    /// The server says no.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// The connection.
    #[error("the server does not answer ({})", socket.display())]
    Io {
        /// Where.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The connection, after all was said: whether it was done nobody knows.
    #[error("the server was asked and has not answered ({})", socket.display())]
    Broken {
        /// Where.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What it says is not what such a server says.
    #[error("the server's answer cannot be read: {0}")]
    Answer(String),
}

/// A problem document as an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(pub ProblemDocument);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.detail)
    }
}

/// Asks a server.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
    door: Door,
    runtime: Runtime,
}

/// A request in the making.
struct Asked<'a> {
    method: Method,
    path: String,
    query: Vec<(&'a str, String)>,
    body: Option<(&'static str, Vec<u8>)>,
    expected: Option<u64>,
}

impl Asked<'_> {
    fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), query: Vec::new(), body: None, expected: None }
    }

    fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    fn on(mut self, terms: Terms) -> Self {
        for (name, yes) in [("dry_run", terms.dry_run), ("force", terms.force)] {
            if yes {
                self.query.push((name, "true".to_owned()));
            }
        }
        self.expected = terms.expected;
        self
    }

    fn with(mut self, name: &'static str, value: Option<impl fmt::Display>) -> Self {
        self.query.extend(value.map(|value| (name, value.to_string())));
        self
    }

    fn page(self, wanted: &Wanted) -> Self {
        let Wanted { search, after, limit } = wanted;
        self.with("search", search.as_ref()).with("after", after.as_ref()).with("limit", *limit)
    }

    fn target(&self) -> String {
        let mut target = self.path.clone();
        for (place, (name, value)) in self.query.iter().enumerate() {
            target.push(if place == 0 { '?' } else { '&' });
            target.push_str(&format!("{name}={}", part_of_path(value)));
        }
        target
    }
}

/// All pages of what is asked for.
///
/// # Errors
///
/// When one of them is not answered.
pub fn all<T>(
    search: Option<&str>,
    page: impl Fn(&Wanted) -> Result<Page<T>, ClientError>,
) -> Result<Vec<T>, ClientError> {
    let search = search.map(str::to_owned);
    let mut wanted = Wanted { search, after: None, limit: Some(PAGE) };
    let mut found = Vec::new();
    loop {
        let Page { items, next } = page(&wanted)?;
        found.extend(items);
        match next {
            Some(next) => wanted.after = Some(next),
            None => return Ok(found),
        }
    }
}

struct Answer {
    headers: HeaderMap,
    body: Bytes,
}

impl Client {
    /// Asks the server that has this state folder, as who came by `door`. Does not connect yet.
    ///
    /// # Errors
    ///
    /// When this process cannot wait for answers.
    pub fn new(state_dir: &Path, door: Door) -> Result<Self, ClientError> {
        let socket = socket_path(state_dir);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|source| ClientError::Io { socket: socket.clone(), source })?;
        Ok(Self { socket, door, runtime })
    }

    async fn connect(&self) -> Result<UnixStream, ClientError> {
        let socket = || self.socket.clone();
        UnixStream::connect(&self.socket).await.map_err(|source| match source.kind() {
            // A state folder that cannot be one has no server either.
            io::ErrorKind::NotFound
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::NotADirectory => ClientError::NotRunning(socket()),
            io::ErrorKind::PermissionDenied => ClientError::Denied(socket()),
            _ => ClientError::Io { socket: socket(), source },
        })
    }

    fn send(&self, asked: Asked<'_>) -> Result<Answer, ClientError> {
        let asking = async { timeout(ANSWER_TIMEOUT, self.exchange(asked)).await };
        self.runtime.block_on(asking).unwrap_or_else(|_| {
            let source = io::Error::new(io::ErrorKind::TimedOut, "it took too long");
            Err(ClientError::Broken { socket: self.socket.clone(), source })
        })
    }

    async fn exchange(&self, asked: Asked<'_>) -> Result<Answer, ClientError> {
        let stream = self.connect().await?;
        let failed = |error: hyper::Error| ClientError::Io {
            socket: self.socket.clone(),
            source: io::Error::other(error),
        };
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        let mut request = Request::builder().method(&asked.method).uri(asked.target());
        request = request.header(HOST, "localhost");
        let door = match self.door {
            Door::Cli => Some("cli"),
            Door::Appcmd => Some("appcmd"),
            Door::Netsh => Some("netsh"),
            Door::Api | Door::File | Door::Start => None,
        };
        if let Some(door) = door {
            request = request.header(DOOR, door);
        }
        if let Some(expected) = asked.expected {
            request = request.header(IF_MATCH, format!("\"{expected}\""));
        }
        let body = match asked.body {
            Some((media_type, body)) => {
                request = request.header(CONTENT_TYPE, media_type);
                body
            }
            None => Vec::new(),
        };
        let request = request.body(Full::new(Bytes::from(body)));
        let request = request.map_err(|error| ClientError::Answer(error.to_string()))?;
        let failed = |error: hyper::Error| ClientError::Broken {
            socket: self.socket.clone(),
            source: io::Error::other(error),
        };
        let answering = async {
            let response = sender.send_request(request).await.map_err(failed)?;
            let (head, body) = response.into_parts();
            Ok::<_, ClientError>((head, body.collect().await.map_err(failed)?.to_bytes()))
        };
        tokio::pin!(connection);
        tokio::pin!(answering);
        let (head, body) = tokio::select! {
            answer = &mut answering => answer?,
            // All of the answer may have come before the connection ended.
            ended = &mut connection => match answering.await {
                Ok(answer) => answer,
                Err(error) => return Err(ended.map_err(failed).err().unwrap_or(error)),
            },
        };
        if head.status.is_success() {
            return Ok(Answer { headers: head.headers, body });
        }
        match serde_json::from_slice::<ProblemDocument>(&body) {
            Ok(_) if head.status == StatusCode::FORBIDDEN => {
                Err(ClientError::Denied(self.socket.clone()))
            }
            Ok(problem) => Err(ClientError::Refused(Box::new(Refusal(problem)))),
            Err(_) => Err(ClientError::Answer(format!("status {}", head.status))),
        }
    }

    fn json<T: DeserializeOwned>(&self, asked: Asked<'_>) -> Result<T, ClientError> {
        let answer = self.send(asked)?;
        serde_json::from_slice(&answer.body).map_err(|error| ClientError::Answer(error.to_string()))
    }

    fn post(
        &self,
        path: &str,
        body: &impl Serialize,
        terms: Terms,
    ) -> Result<Outcome, ClientError> {
        let body = serde_json::to_vec(body);
        let body = body.map_err(|error| ClientError::Answer(error.to_string()))?;
        let body = Some(("application/json", body));
        self.json(Asked { body, ..Asked::new(Method::POST, path) }.on(terms))
    }

    /// Which server this is; the same little work whatever it serves.
    ///
    /// # Errors
    ///
    /// When there is no answer, as for all that follow.
    pub fn about(&self) -> Result<About, ClientError> {
        self.json(Asked::get("/v1"))
    }

    /// What the server does.
    ///
    /// # Errors
    ///
    /// When there is no answer, as for all that follow.
    pub fn status(&self) -> Result<Status, ClientError> {
        self.json(Asked::get("/v1/status"))
    }

    /// Makes changes, and changes to certificate records, as one.
    ///
    /// # Errors
    ///
    /// [`ClientError::Refused`] says why they were not made.
    pub fn change(
        &self,
        changes: &[Change],
        records: &[RecordChange],
        terms: Terms,
    ) -> Result<Outcome, ClientError> {
        #[derive(Serialize)]
        struct Both<'a> {
            changes: &'a [Change],
            records: &'a [RecordChange],
        }
        self.post("/v1/changes", &Both { changes, records }, terms)
    }

    /// Puts another text in the place of the whole configuration.
    ///
    /// # Errors
    ///
    /// As [`Self::change`].
    pub fn put_text(&self, form: Form, text: &str, terms: Terms) -> Result<Outcome, ClientError> {
        let media_type = match form {
            Form::Toml => "application/toml",
            Form::Iis => "application/xml",
        };
        let body = Some((media_type, text.as_bytes().to_vec()));
        self.json(Asked { body, ..Asked::new(Method::PUT, "/v1/configuration") }.on(terms))
    }

    /// Brings an earlier revision back.
    ///
    /// # Errors
    ///
    /// As [`Self::change`].
    pub fn undo(&self, to: u64, terms: Terms) -> Result<Outcome, ClientError> {
        self.post("/v1/undo", &serde_json::json!({ "to": to }), terms)
    }

    /// The names of backups.
    ///
    /// # Errors
    ///
    /// When there is no answer.
    pub fn backups(&self) -> Result<Vec<String>, ClientError> {
        let page: Page<Backup> = self.json(Asked::get("/v1/backups"))?;
        Ok(page.items.into_iter().map(|backup| backup.name).collect())
    }

    /// Keeps what is in force under a name.
    ///
    /// # Errors
    ///
    /// [`ClientError::Refused`] says why it was not kept.
    pub fn add_backup(&self, name: &str) -> Result<(), ClientError> {
        let body = serde_json::to_vec(&Backup { name: name.to_owned() });
        let body = body.map_err(|error| ClientError::Answer(error.to_string()))?;
        let body = Some(("application/json", body));
        self.send(Asked { body, ..Asked::new(Method::POST, "/v1/backups") }).map(drop)
    }

    /// Takes away what was kept under a name.
    ///
    /// # Errors
    ///
    /// [`ClientError::Refused`] where there is none.
    pub fn remove_backup(&self, name: &str) -> Result<(), ClientError> {
        let path = format!("/v1/backups/{}", part_of_path(name));
        self.send(Asked::new(Method::DELETE, path)).map(drop)
    }

    /// Brings back what was kept under a name.
    ///
    /// # Errors
    ///
    /// As [`Self::change`].
    pub fn restore(&self, name: &str, terms: Terms) -> Result<Outcome, ClientError> {
        let path = format!("/v1/backups/{}/restore", part_of_path(name));
        self.json(Asked::new(Method::POST, path).on(terms))
    }

    /// Has the configuration read again, with every file that it names.
    ///
    /// # Errors
    ///
    /// As [`Self::change`].
    pub fn reload(&self, terms: Terms) -> Result<Outcome, ClientError> {
        self.json(Asked::new(Method::POST, "/v1/reload").on(terms))
    }

    /// The text of the configuration in force.
    ///
    /// # Errors
    ///
    /// When there is no answer.
    pub fn text(&self) -> Result<Text, ClientError> {
        let answer = self.send(Asked::get("/v1/configuration"))?;
        let wrong = |what: &str| ClientError::Answer(what.to_owned());
        let header =
            |name| answer.headers.get(name).and_then(|one: &HeaderValue| one.to_str().ok());
        let revision =
            header(ETAG).map(|tag| tag.trim_matches('"')).and_then(|tag| tag.parse().ok());
        let form = match header(CONTENT_TYPE) {
            Some("application/toml") => Form::Toml,
            Some("application/xml") => Form::Iis,
            _ => return Err(wrong("the configuration has no type")),
        };
        let text = String::from_utf8(answer.body.to_vec()).map_err(|_| wrong("it is no UTF-8"))?;
        let revision = revision.ok_or_else(|| wrong("the configuration has no revision"))?;
        Ok(Text { revision, form, text })
    }

    /// All requests under way that fit: those of `site`, and those that take `elapsed_ms` already.
    ///
    /// # Errors
    ///
    /// When there is no answer.
    pub fn requests(
        &self,
        site: Option<&str>,
        elapsed_ms: Option<u64>,
        search: Option<&str>,
    ) -> Result<Vec<RequestRecord>, ClientError> {
        let mut all = Vec::new();
        let mut wanted =
            Wanted { search: search.map(str::to_owned), after: None, limit: Some(1000) };
        loop {
            let asked = Asked::get("/v1/requests").page(&wanted);
            let asked = asked.with("site", site).with("elapsed_ms", elapsed_ms);
            let Page { items, next } = self.json(asked)?;
            all.extend(items);
            match next {
                None => return Ok(all),
                next => wanted.after = next,
            }
        }
    }

    /// Certificate records.
    ///
    /// # Errors
    ///
    /// When there is no answer.
    pub fn records(&self) -> Result<Records, ClientError> {
        self.json(Asked::get("/v1/records"))
    }

    /// Sites, in the order of their numbers: keys of `bindery.toml`, with `name`.
    ///
    /// # Errors
    ///
    /// When there is no answer.
    pub fn sites(&self, wanted: &Wanted) -> Result<Page<Fields>, ClientError> {
        self.json(Asked::get("/v1/sites").page(wanted))
    }

    /// A thing with the key that names it. Of a certificate there is more: [`Self::certificates`].
    ///
    /// # Errors
    ///
    /// [`ClientError::Refused`] where there is no such thing.
    pub fn one(&self, at: &Place) -> Result<Fields, ClientError> {
        self.json(Asked::get(path_of(at)))
    }

    /// Listeners with rules of their own: keys of `bindery.toml`, with `on`.
    ///
    /// # Errors
    ///
    /// When there is no answer.
    pub fn listeners(&self, wanted: &Wanted) -> Result<Page<Fields>, ClientError> {
        self.json(Asked::get("/v1/listeners").page(wanted))
    }

    /// Certificates, in the order of their names.
    ///
    /// # Errors
    ///
    /// When there is no answer.
    pub fn certificates(&self, wanted: &Wanted) -> Result<Page<CertificateRecord>, ClientError> {
        self.json(Asked::get("/v1/certificates").page(wanted))
    }

    /// Changes, newest first, from before `before` where that is given.
    ///
    /// # Errors
    ///
    /// When there is no answer.
    pub fn history(
        &self,
        before: Option<u64>,
        limit: Option<usize>,
    ) -> Result<Page<Record>, ClientError> {
        self.json(Asked::get("/v1/history").with("before", before).with("limit", limit))
    }

    /// A change, with the text that it made.
    ///
    /// # Errors
    ///
    /// When it is not in the history.
    pub fn revision(&self, revision: u64) -> Result<RevisionRecord, ClientError> {
        self.json(Asked::get(format!("/v1/history/{revision}")))
    }

    /// What `to` has otherwise than `from`; the one before where there is none.
    ///
    /// # Errors
    ///
    /// When one of them is not in the history.
    pub fn difference(
        &self,
        from: Option<u64>,
        to: u64,
    ) -> Result<RevisionDifference, ClientError> {
        self.json(Asked::get(format!("/v1/history/{to}/difference")).with("from", from))
    }
}
