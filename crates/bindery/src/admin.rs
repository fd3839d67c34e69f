//! The admin endpoint: what the server counts, for Prometheus, on a loopback address. Apart from
//! everything that clients reach, with small limits of its own.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr, TcpListener as StdTcpListener},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bindery_server::blocking;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE, HOST},
};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    task::AbortHandle,
    time::{sleep, timeout},
};
use tracing::{info, warn};

use crate::output::Failure;

/// Connections at once; further ones are closed. One collector asks, or a few.
const CONNECTIONS_MAX: usize = 8;

/// From the connection to its end: one request each.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// The head of a request.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// After an accept that failed for want of descriptors or memory.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// What a collector is told that the text is (OpenMetrics 1.0).
const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Gives the text of all metrics. Blocks for a moment.
pub(crate) type Metrics = Arc<dyn Fn() -> String + Send + Sync>;

/// The endpoint, where there is one. It ends with this value.
#[derive(Default)]
pub(crate) struct Admin(Mutex<Option<Open>>);

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

impl Admin {
    /// Opens what `wanted` needs beside what is open.
    pub(crate) fn prepare(&self, wanted: Option<SocketAddr>) -> Result<Prepared, Failure> {
        let open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let open = open.as_ref().map(|open| open.address);
        let new = wanted.filter(|address| open != Some(*address));
        let socket = new.map(listen).transpose().map_err(|error| {
            let address = wanted.map(|address| address.to_string()).unwrap_or_default();
            Failure::because(format!("cannot listen on {address} for metrics"), error)
        })?;
        Ok(Prepared { wanted, socket })
    }

    /// Answers there from now on, and nowhere else. Within a tokio runtime.
    pub(crate) fn adopt(&self, prepared: Prepared, metrics: &Metrics) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if prepared.wanted.is_none() && open.take().is_some() {
            info!("metrics are no longer told");
        }
        let (Some(address), Some(socket)) = (prepared.wanted, prepared.socket) else { return };
        match TcpListener::from_std(socket) {
            Ok(socket) => {
                let task = tokio::spawn(accept_loop(socket, Arc::clone(metrics))).abort_handle();
                *open = Some(Open { address, task });
                info!(%address, "metrics at /metrics");
            }
            Err(error) => warn!(%address, %error, "no metrics: the socket cannot be watched"),
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<StdTcpListener> {
    let socket = StdTcpListener::bind(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

async fn accept_loop(socket: TcpListener, metrics: Metrics) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let stream = match socket.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "a collector of metrics was lost");
                sleep(RETRY_DELAY).await;
                continue;
            }
        };
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else { continue };
        let metrics = Arc::clone(&metrics);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, Arc::clone(&metrics)));
            let mut builder = http1::Builder::new();
            // The time of the connection bounds that of the head.
            builder.keep_alive(false).max_buf_size(HEAD_BYTES_MAX).header_read_timeout(None);
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            // Who breaks off needs no answer.
            drop(timeout(CONNECTION_TIMEOUT, connection).await);
            drop(slot);
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    metrics: Metrics,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if !is_local(&request) {
        // A web page could have its own name lead here, and read what its visitor's machine says.
        return Ok(text(StatusCode::FORBIDDEN, "ask by address, or as localhost\n"));
    }
    if request.uri().path() != "/metrics" {
        return Ok(text(StatusCode::NOT_FOUND, "metrics are at /metrics\n"));
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "metrics can only be read\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Ok(response);
    }
    Ok(match blocking::run("metrics", move || metrics()).await {
        Ok(all) => {
            let mut response = text(StatusCode::OK, all);
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(TEXT));
            response
        }
        Err(error) => {
            warn!(%error, "metrics cannot be told");
            text(StatusCode::INTERNAL_SERVER_ERROR, "metrics cannot be told\n")
        }
    })
}

/// Whether the host that was asked for is an address or `localhost`.
fn is_local(request: &Request<Incoming>) -> bool {
    let Some(host) = request.headers().get(HOST) else { return true };
    let Ok(host) = host.to_str() else { return false };
    if host.parse::<SocketAddr>().is_ok() {
        return true;
    }
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
    };

    use super::*;

    fn metrics() -> Metrics {
        Arc::new(|| "bindery_up 1\n# EOF\n".to_owned())
    }

    /// Opens the endpoint on a free port.
    fn open(admin: &Admin) -> SocketAddr {
        let socket = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        admin.adopt(Prepared { wanted: Some(address), socket: Some(socket) }, &metrics());
        address
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
        let admin = Admin::default();
        let address = open(&admin);
        for host in
            ["127.0.0.1", "[::1]", "[::1]:9180", "localhost", "LOCALHOST:9180", "127.0.0.1:1"]
        {
            let answer =
                ask(address, &format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{host}: {answer}");
            assert!(answer.contains("application/openmetrics-text"), "{answer}");
            assert!(answer.ends_with("\r\n\r\nbindery_up 1\n# EOF\n"), "{answer}");
        }
        for (request, status) in [
            ("GET /metrics HTTP/1.0\r\n\r\n", 200),
            ("GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403),
            ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
            ("POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", 405),
            ("none\r\n\r\n", 400),
        ] {
            let answer = ask(address, request).await;
            assert_eq!(answer.split(' ').nth(1), Some(status.to_string().as_str()), "{answer}");
        }
    }

    #[tokio::test]
    async fn who_is_one_too_many_is_closed_and_who_is_silent_gives_its_place_back() {
        tokio::time::pause();
        let admin = Admin::default();
        let address = open(&admin);
        let mut silent = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        // Accepted in the order they came, so the first places are taken by then.
        let mut late = TcpStream::connect(address).await.unwrap();
        assert_eq!(late.read(&mut [0]).await.unwrap(), 0);
        for mut stream in silent {
            assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        }
        let answer = ask(address, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    #[tokio::test]
    async fn a_change_of_the_address_opens_one_and_closes_the_other() {
        let admin = Admin::default();
        let first = open(&admin);
        // What is open already is not opened again.
        let same = admin.prepare(Some(first)).unwrap();
        assert!(same.socket.is_none());
        admin.adopt(same, &metrics());
        assert!(TcpStream::connect(first).await.is_ok());
        let taken = StdTcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = admin.prepare(Some(address)).unwrap_err();
        assert!(error.to_string().contains(&address.to_string()), "{error}");
        let second = open(&admin);
        let answer = ask(second, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        admin.adopt(admin.prepare(None).unwrap(), &metrics());
        for address in [first, second] {
            // The task ends at its next turn.
            while TcpStream::connect(address).await.is_ok() {
                tokio::task::yield_now().await;
            }
        }
    }
}
