//! Programs that speak FastCGI, php-fpm above all: which script answers, what it is told, and its
//! answer. Everything else below the same root is sent as files.
//!
//! | module | answers |
//! |---|---|
//! | [`script`] | which script answers a path, if any? |
//! | [`params`] | what is it told? |
//! | [`source`] | where does the content of the request come from? |
//! | [`share`] | how much of it may wait for its end? |
//! | [`pool`] | by which connection? |
//! | [`exchange`] | what goes up and comes down on it? |
//! | [`record`] | in which bytes? |
//! | [`response`] | what is the head of the answer? |
//! | [`answer`] | how does the rest get to the client? |
//! | [`stderr`] | what does the script say to the administrator? |
//!
//! A request drives its connection itself: there is no task, channel or buffer between the client
//! and the program, so each is as fast as the slower of the two.

mod answer;
mod exchange;
mod params;
mod pool;
pub mod record;
pub mod response;
mod script;
mod share;
mod source;
mod stderr;

use std::{
    collections::VecDeque,
    sync::{Arc, OnceLock},
};

use bindery_model::{name::HostName, site, upstream::Timeouts};
use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header::CONTENT_LENGTH, request::Parts};
use tokio::time::timeout;
use tracing::error;

pub use self::pool::Programs;
use self::{
    answer::{Answer, Back},
    exchange::{Exchange, ExchangeError, Outgoing, Part},
    params::{Facts, Settings},
    pool::{Link, Program},
    record::ProtocolStatus,
    response::{HeadError, HeadReader, ResponseHead},
    script::{Scripts, Target},
    share::Gathered,
    source::{Source, SourceError},
    stderr::Stderr,
};
use super::{
    RequestCtx,
    static_files::{FileCache, StaticFiles},
};
use crate::{
    http::{authority, body::Body, content::Content, error::RequestError, user::User},
    limits::{FASTCGI_READ_BYTES, FASTCGI_STARVED_AFTER, LINGER_TIMEOUT},
    log::StrangerLog,
    rules::rewrite::OriginalUri,
};

/// Serves a folder of scripts and files.
pub struct FastCgi {
    scripts: Scripts,
    pub(super) files: StaticFiles,
    settings: Settings,
    program: Arc<Program>,
    timeouts: Timeouts,
    idle_max: u32,
    gathered: Arc<Gathered>,
    /// The name of the site, once it is known.
    site: OnceLock<Arc<str>>,
    lines: Arc<StrangerLog>,
}

impl FastCgi {
    /// Opens nothing: neither folder nor connection.
    #[must_use]
    pub fn new(
        route: &str,
        fastcgi: &site::FastCgi,
        cache: Arc<FileCache>,
        programs: &Programs,
    ) -> Self {
        let scripts = Scripts::new(route, fastcgi);
        let mut files = fastcgi.files.clone();
        // What sends files must never choose a script.
        files.default_documents.retain(|name| !scripts.is_script(name.as_bytes()));
        files.fallback = files.fallback.filter(|name| !scripts.is_script(name.as_bytes()));
        let settings = Settings::new(route, fastcgi);
        for name in &settings.too_long {
            error!(%name, "a FastCGI parameter is too long and is left out");
        }
        Self {
            files: StaticFiles::new(route, &files, cache),
            program: programs.at(&fastcgi.server),
            timeouts: fastcgi.timeouts,
            idle_max: fastcgi.idle_connections_max,
            gathered: Arc::clone(&programs.gathered),
            site: OnceLock::new(),
            lines: Arc::default(),
            scripts,
            settings,
        }
    }

    /// The answer, where it is a file in memory.
    pub(crate) fn answer_now(
        &self,
        request: &Parts,
    ) -> Option<Result<Response<Body>, RequestError>> {
        let is_read = matches!(request.method, Method::GET | Method::HEAD);
        if !is_read || !self.scripts.is_file_only(request.uri.path()) {
            return None;
        }
        // What is no file may be a script's all the same.
        self.files.answer_now(request).filter(Result::is_ok)
    }

    /// Answers by a script or a file.
    ///
    /// # Errors
    ///
    /// As [`StaticFiles::handle`] where it is a file's turn; otherwise `NotFound`, `BadGateway`,
    /// `GatewayTimeout`, `UpstreamBusy`, and what is wrong with the content.
    pub async fn handle(
        &self,
        request: &Parts,
        content: &mut Content,
        ctx: &RequestCtx<'_>,
    ) -> Result<Response<Body>, RequestError> {
        let path = request.uri.path();
        let is_read = matches!(request.method, Method::GET | Method::HEAD);
        let target = match self.scripts.find(path, is_read, &self.files).await? {
            // Boxed, as everything below that few requests need: each carries the largest of it.
            Target::File => match Box::pin(self.files.handle(request)).await {
                // It went away in this moment.
                Err(error @ RequestError::NotFound { .. }) => self.scripts.front().ok_or(error)?,
                answer => return answer,
            },
            target => target,
        };
        let Target::Script { script, path_info } = target else {
            return Err(RequestError::NotFound { path: path.to_owned(), sub: 0 });
        };
        ctx.info.connection.note_upstream();
        let client = ctx.client(request);
        let share = || self.gathered.share(client.address);
        let (source, length) = Source::of(content, share).await?;
        let nothing = request.headers.contains_key(CONTENT_LENGTH).then_some(0);
        let authority = authority::authority(request.version, &request.uri, &request.headers)?;
        let asked = request.extensions.get::<OriginalUri>().map_or(&request.uri, |asked| &asked.0);
        let tls = ctx.info.tls.as_ref();
        let peer = ctx.info.connection.peer;
        let proxied = client.address != peer.ip().to_canonical();
        let facts = Facts {
            request,
            asked,
            authority,
            local: ctx.info.connection.local,
            client: &client,
            client_port: (!proxied).then(|| peer.port()),
            server_name: tls.and_then(|tls| tls.server_name.as_ref()).map(HostName::as_str),
            negotiated: tls.map(|tls| tls.negotiated),
            remote_user: request.extensions.get::<User>().map(|user| &*user.0),
            script: &script,
            path_info: &path_info,
            length: length.or(nothing),
        };
        let front = params::head(&self.settings, &facts).finish(length.is_some());
        let site = self.site.get_or_init(|| ctx.site.name.as_str().into());
        let stderr = Stderr::new(Arc::clone(site), script, &self.lines);
        // What cannot be asked for twice gets a connection that surely lives.
        let repeatable = request.method.is_idempotent() && source.is_nothing();
        let kept = self.program.kept(!repeatable);
        let was_kept = kept.is_some();
        let link = match kept {
            Some(link) => link,
            None => Box::pin(self.connect()).await?,
        };
        let exchange = Box::new(Exchange::new(link, Outgoing::new(front, source), stderr));
        self.run(&request.method, exchange, was_kept).await
    }

    async fn run(
        &self,
        method: &Method,
        mut exchange: Box<Exchange>,
        mut was_kept: bool,
    ) -> Result<Response<Body>, RequestError> {
        loop {
            match self.head(&mut exchange, was_kept).await {
                Ok((head, rest)) => return self.answer(method, head, rest, exchange).await,
                // The program closed it while nobody used it, as it may at any time.
                Err(Failure::Exchange(error))
                    if was_kept && exchange.can_begin_anew(&error, method.is_idempotent()) =>
                {
                    exchange.begin_anew(Box::pin(self.connect()).await?);
                    was_kept = false;
                }
                Err(failure) => return Err(self.refuse(failure)),
            }
        }
    }

    async fn connect(&self) -> Result<Box<Link>, RequestError> {
        let bound = self.timeouts.connect;
        let upstream = || self.program.address.to_string();
        match timeout(bound, self.program.connect()).await {
            Ok(Ok(link)) => Ok(link),
            Ok(Err(error)) => {
                Err(RequestError::BadGateway { upstream: upstream(), source: error.into() })
            }
            Err(_) => Err(RequestError::GatewayTimeout {
                upstream: upstream(),
                stage: "a connection",
                seconds: bound.as_secs(),
            }),
        }
    }

    /// The head of the answer, and what came with it.
    async fn head(
        &self,
        exchange: &mut Exchange,
        was_kept: bool,
    ) -> Result<(ResponseHead, Bytes), Failure> {
        let mut reader = HeadReader::default();
        let bound = self.timeouts.first_byte;
        if was_kept {
            return read_head(exchange, &mut reader, bound).await;
        }
        let reading = read_head(exchange, &mut reader, bound);
        if let Ok(head) = Box::pin(timeout(FASTCGI_STARVED_AFTER, reading)).await {
            return head;
        }
        let _starving = self.program.starve();
        read_head(exchange, &mut reader, bound).await
    }

    async fn answer(
        &self,
        method: &Method,
        head: ResponseHead,
        rest: Bytes,
        mut exchange: Box<Exchange>,
    ) -> Result<Response<Body>, RequestError> {
        let ResponseHead { status, fields, length } = head;
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = status;
        *response.headers_mut() = fields;
        let no_content = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if *method == Method::HEAD || no_content || length == Some(0) {
            if let Some(length) = length.filter(|_| !no_content) {
                response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
            if Box::pin(drain(&mut exchange)).await {
                self.program.take_back(*exchange, self.idle_max);
            }
            return Ok(response);
        }
        // Most answers are one piece.
        let (mut first, mut pieces) = (rest, VecDeque::new());
        let mut ended = false;
        while !ended {
            match exchange.part_at_hand().map_err(|error| self.refuse(error.into()))? {
                None => break,
                Some(Part::Piece(piece)) if first.is_empty() => first = piece,
                Some(Part::Piece(piece)) => pieces.push_back(piece),
                Some(Part::End(ProtocolStatus::Complete)) => ended = true,
                Some(Part::End(status)) => return Err(self.refuse(Failure::Rejected(status))),
            }
        }
        if !ended {
            exchange.note_head_out();
            if !first.is_empty() {
                pieces.push_front(first);
            }
            let (exchange, back) = (Some(exchange), self.back());
            *response.body_mut() = Body::stream(Answer { pieces, exchange, left: length, back });
            return Ok(response);
        }
        self.program.take_back(*exchange, self.idle_max);
        let mut whole = match pieces.is_empty() {
            true => first,
            false => first.iter().chain(pieces.iter().flatten()).copied().collect(),
        };
        if let Some(length) = length {
            if (whole.len() as u64) < length {
                return Err(self.refuse(Failure::TooShort));
            }
            whole.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        }
        *response.body_mut() = Body::full(whole);
        Ok(response)
    }

    fn back(&self) -> Back {
        Back {
            program: Arc::clone(&self.program),
            idle_max: self.idle_max,
            idle_timeout: self.timeouts.idle,
            site: self.site.get().cloned().unwrap_or_default(),
            lines: Arc::clone(&self.lines),
        }
    }

    fn refuse(&self, failure: Failure) -> RequestError {
        let upstream = self.program.address.to_string();
        match failure {
            Failure::Rejected(ProtocolStatus::Overloaded) => {
                RequestError::UpstreamBusy { upstream }
            }
            Failure::Exchange(ExchangeError::Source(SourceError::Content(error))) => {
                RequestError::Content(error)
            }
            Failure::Exchange(ExchangeError::TimedOut(bound)) => RequestError::GatewayTimeout {
                upstream,
                stage: "the head of an answer",
                seconds: bound.as_secs(),
            },
            other => RequestError::BadGateway { upstream, source: Box::new(other) },
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    #[error(transparent)]
    Head(#[from] HeadError),
    #[error("the program did not take the request: {0:?}")]
    Rejected(ProtocolStatus),
    #[error("the answer is shorter than it says")]
    TooShort,
}

async fn read_head(
    exchange: &mut Exchange,
    reader: &mut HeadReader,
    patience: std::time::Duration,
) -> Result<(ResponseHead, Bytes), Failure> {
    loop {
        match exchange.part(patience).await? {
            Part::Piece(piece) => {
                if let Some(head) = reader.read(piece)? {
                    return Ok(head);
                }
            }
            Part::End(ProtocolStatus::Complete) => return Err(HeadError::Unfinished.into()),
            Part::End(status) => return Err(Failure::Rejected(status)),
        }
    }
}

/// Reads an answer whose content nobody gets to its end, so that its connection can be used again.
/// Whether it came to its end in reasonable time and size.
async fn drain(exchange: &mut Exchange) -> bool {
    let reading = async {
        let mut bytes = 0;
        while bytes <= FASTCGI_READ_BYTES {
            match exchange.part(LINGER_TIMEOUT).await {
                Ok(Part::Piece(piece)) => bytes += piece.len(),
                Ok(Part::End(status)) => return status == ProtocolStatus::Complete,
                Err(_) => return false,
            }
        }
        false
    };
    timeout(LINGER_TIMEOUT, reading).await.unwrap_or(false)
}
