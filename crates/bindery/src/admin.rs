//! The admin endpoint on a loopback address: what the server counts, for Prometheus, and the API for
//! those who have a token. Apart from everything that clients reach, with small limits of its own.

use std::{
    io,
    net::{SocketAddr, TcpListener as StdTcpListener},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{body::Body, response::Response};
use bindery_control::{
    api::{Api, Connections, Peer, is_local, serve_connection},
    applier::Beside,
};
use bindery_server::{blocking, metrics::older_text};
use http::{
    HeaderValue, Method, Request, StatusCode,
    header::{ACCEPT, ALLOW, CONTENT_TYPE},
};
use hyper::body::Incoming;
use tokio::{net::TcpListener, task::AbortHandle, time::sleep};
use tracing::{info, warn};

use crate::output::Failure;

/// After an accept that failed for want of descriptors or memory.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// What a collector is told that the text is: OpenMetrics 1.0 where it asks for that, as Prometheus
/// does, else the older text format.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const OLDER: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Gives the text of all metrics. Blocks for a moment.
pub(crate) type Metrics = Arc<dyn Fn() -> String + Send + Sync>;

/// What is answered there.
#[derive(Clone)]
pub(crate) struct Answers {
    pub(crate) metrics: Metrics,
    pub(crate) api: Api,
}

/// The endpoint, where there is one. It ends with this value.
pub(crate) struct Admin {
    answers: Answers,
    open: Mutex<Option<Open>>,
}

struct Open {
    address: SocketAddr,
    task: AbortHandle,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A socket that listens, for an endpoint that is not open yet.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    wanted: Option<SocketAddr>,
    socket: Option<StdTcpListener>,
}

/// Opens what `wanted` needs, where nothing is open yet.
pub(crate) fn prepare(wanted: Option<SocketAddr>) -> Result<Prepared, Failure> {
    let socket = wanted.map(listen).transpose().map_err(|error| {
        let address = wanted.map(|address| address.to_string()).unwrap_or_default();
        Failure::because(format!("cannot listen on {address} for metrics"), error)
    })?;
    Ok(Prepared { wanted, socket })
}

impl Admin {
    /// One that is closed.
    pub(crate) fn new(answers: Answers) -> Self {
        Self { answers, open: Mutex::default() }
    }

    fn open(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens what `wanted` needs beside what is open.
    pub(crate) fn prepare(&self, wanted: Option<SocketAddr>) -> Result<Prepared, Failure> {
        let open = self.open().as_ref().map(|open| open.address);
        match wanted.is_some() && open == wanted {
            true => Ok(Prepared { wanted, socket: None }),
            false => prepare(wanted),
        }
    }

    /// Answers there from now on, and nowhere else. Within a tokio runtime.
    pub(crate) fn adopt(&self, prepared: Prepared) {
        let mut open = self.open();
        if prepared.wanted.is_none() && open.take().is_some() {
            info!("metrics are no longer told, and the API is at its socket only");
        }
        let (Some(address), Some(socket)) = (prepared.wanted, prepared.socket) else { return };
        match TcpListener::from_std(socket) {
            Ok(socket) => {
                let task = tokio::spawn(accept_loop(socket, self.answers.clone())).abort_handle();
                *open = Some(Open { address, task });
                info!(%address, "metrics at /metrics, the API below /v1");
            }
            Err(error) => warn!(%address, %error, "no metrics: the socket cannot be watched"),
        }
    }
}

/// The endpoint as what takes part in changes. It is somebody else's: the API in it has the one
/// writer, which has this.
pub(crate) fn beside(admin: &Arc<Admin>) -> Beside {
    let admin = Arc::downgrade(admin);
    Box::new(move |settings| {
        let Some(admin) = admin.upgrade() else { return Ok(Box::new(|| ())) };
        let prepared = admin.prepare(settings.admin)?;
        Ok(Box::new(move || admin.adopt(prepared)))
    })
}

fn listen(address: SocketAddr) -> io::Result<StdTcpListener> {
    let socket = StdTcpListener::bind(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

async fn accept_loop(socket: TcpListener, answers: Answers) {
    let connections = Connections::default();
    while let Some(place) = connections.place().await {
        let (stream, peer) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "a collector of metrics was lost");
                sleep(RETRY_DELAY).await;
                continue;
            }
        };
        let answers = answers.clone();
        tokio::spawn(async move {
            let peer = Peer::Address(peer.ip());
            serve_connection(stream, move |request| answer(request, peer, answers.clone())).await;
            drop(place);
        });
    }
}

async fn answer(request: Request<Incoming>, peer: Peer, answers: Answers) -> Response {
    let path = request.uri().path();
    if path == "/v1" || path.starts_with("/v1/") {
        return answers.api.answer(request, peer).await;
    }
    if !is_local(request.headers()) {
        // A web page could have its own name lead here, and read what its visitor's machine says.
        return text(StatusCode::FORBIDDEN, "ask by address, or as localhost\n");
    }
    if path != "/metrics" {
        return text(StatusCode::NOT_FOUND, "metrics are at /metrics, the API is below /v1\n");
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "metrics can only be read\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let mut accepted = request.headers().get_all(ACCEPT).iter();
    let open = accepted.any(|value| {
        value.to_str().is_ok_and(|value| value.contains("application/openmetrics-text"))
    });
    let tell = move || match (answers.metrics)() {
        all if open => all,
        all => older_text(&all),
    };
    match blocking::run("metrics", tell).await {
        Ok(all) => {
            let mut response = text(StatusCode::OK, all);
            let kind = HeaderValue::from_static(if open { OPENMETRICS } else { OLDER });
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response
        }
        Err(error) => {
            warn!(%error, "metrics cannot be told");
            text(StatusCode::INTERNAL_SERVER_ERROR, "metrics cannot be told\n")
        }
    }
}

fn text(status: StatusCode, text: impl Into<Body>) -> Response {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use bindery_control::{applier::Applier, home::Home, steps::Observer};
    use bindery_server::{listener, server::Server};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
    };

    use super::*;

    /// Metrics, and the API to an empty configuration.
    fn answers() -> Answers {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bindery.toml");
        std::fs::write(&file, "version = 1\n[server]\nstate_dir = 'state'\n").unwrap();
        let applier = Applier::open(Home::load(&file).unwrap(), Observer::default()).unwrap();
        Answers { metrics: Arc::new(|| "bindery_up 1\n# EOF\n".to_owned()), api: Api::new(applier) }
    }

    /// Opens the endpoint on a free port.
    fn open(admin: &Admin) -> SocketAddr {
        let socket = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        admin.adopt(Prepared { wanted: Some(address), socket: Some(socket) });
        address
    }

    #[tokio::test]
    async fn the_writer_ends_with_who_began_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bindery.toml");
        std::fs::write(&file, "version = 1\n[server]\nstate_dir = 'state'\n").unwrap();
        let begin = || Applier::open(Home::load(&file).unwrap(), Observer::default()).unwrap();
        let applier = begin();
        let (proof, revision) = applier.proof();
        let sockets = listener::Prepared::default();
        let server = Arc::new(Server::start(proof, sockets, revision).unwrap());
        let metrics = || -> Metrics { Arc::new(String::new) };
        let answers = Answers { metrics: metrics(), api: Api::new(applier.clone()) };
        let admin = Arc::new(Admin::new(answers));
        applier.serve(server, beside(&admin));
        let address = open(&admin);
        assert!(begin().state().is_err(), "there is one writer");
        drop((applier, admin));
        // The task ends at its next turn.
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        begin().state().unwrap();
    }

    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn metrics_are_told_to_who_asks_by_address() {
        let admin = Admin::new(answers());
        let address = open(&admin);
        for host in
            ["127.0.0.1", "[::1]", "[::1]:9180", "localhost", "LOCALHOST:9180", "127.0.0.1:1"]
        {
            let answer =
                ask(address, &format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{host}: {answer}");
            // Who does not ask for OpenMetrics gets what everybody reads.
            assert!(answer.contains("text/plain; version=0.0.4"), "{answer}");
            assert!(answer.ends_with("\r\n\r\nbindery_up 1\n"), "{answer}");
        }
        let accept = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;q=0.3";
        let request =
            format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n");
        let answer = ask(address, &request).await;
        assert!(answer.contains("application/openmetrics-text; version=1.0.0"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nbindery_up 1\n# EOF\n"), "{answer}");
        for (request, status) in [
            ("GET /metrics HTTP/1.0\r\n\r\n", 200),
            ("GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403),
            ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
            ("GET /v1/sites HTTP/1.1\r\nHost: localhost\r\n\r\n", 401),
            ("GET /v1/sites HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403),
            ("POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", 405),
            ("none\r\n\r\n", 400),
        ] {
            let answer = ask(address, request).await;
            assert_eq!(answer.split(' ').nth(1), Some(status.to_string().as_str()), "{answer}");
        }
    }

    #[tokio::test]
    async fn who_is_one_too_many_waits_until_who_is_silent_gives_its_place_back() {
        tokio::time::pause();
        let admin = Admin::new(answers());
        let address = open(&admin);
        let mut silent = Vec::new();
        for _ in 0..Connections::MAX {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        // Accepted in the order they came, so all places are taken when this one comes. It is
        // answered when the clock, which stands still while anything can be done, goes on.
        let began = tokio::time::Instant::now();
        let answer = ask(address, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(began.elapsed() >= Duration::from_secs(10), "{:?}", began.elapsed());
        for mut stream in silent {
            assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        }
    }

    #[tokio::test]
    async fn a_change_of_the_address_opens_one_and_closes_the_other() {
        let admin = Admin::new(answers());
        let first = open(&admin);
        // What is open already is not opened again.
        let same = admin.prepare(Some(first)).unwrap();
        assert!(same.socket.is_none());
        admin.adopt(same);
        assert!(TcpStream::connect(first).await.is_ok());
        let taken = StdTcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = admin.prepare(Some(address)).unwrap_err();
        assert!(error.to_string().contains(&address.to_string()), "{error}");
        let second = open(&admin);
        let answer = ask(second, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        admin.adopt(admin.prepare(None).unwrap());
        for address in [first, second] {
            // The task ends at its next turn.
            while TcpStream::connect(address).await.is_ok() {
                tokio::task::yield_now().await;
            }
        }
    }
}
