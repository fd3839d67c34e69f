//! A connection to the API: one request and its answer, within bounds.

use std::{
    convert::Infallible,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::response::Response;
use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};

/// From the connection to its end, event streams aside. Changes wait for those before them.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);

/// So long a head may take to arrive, from the same machine: who sends none has a place that others
/// wait for.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The head of a request.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Marks an answer that lasts as long as somebody listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lasting;

/// Places for connections.
#[derive(Clone, Debug)]
pub struct Connections(Arc<Semaphore>);

impl Default for Connections {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(Self::MAX)))
    }
}

impl Connections {
    /// Connections at once; further ones wait in the kernel's queue, whose places are a script's
    /// that asks for hundreds of changes at a time. Event streams are among them.
    pub const MAX: usize = 64;

    /// A place, as soon as there is one; it is given back with the value.
    pub async fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).acquire_owned().await.ok()
    }
}

/// Answers the request of one connection.
pub async fn serve_connection<F>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    answer: impl Fn(Request<Incoming>) -> F,
) where
    F: Future<Output = Response>,
{
    let lasts = Arc::new(AtomicBool::new(false));
    let marker = Arc::clone(&lasts);
    let service = service_fn(move |request| {
        let (answer, marker) = (answer(request), Arc::clone(&marker));
        async move {
            let response = answer.await;
            marker.store(response.extensions().get::<Lasting>().is_some(), Ordering::Relaxed);
            Ok::<_, Infallible>(response)
        }
    });
    let mut builder = http1::Builder::new();
    builder.keep_alive(false).max_buf_size(HEAD_BYTES_MAX);
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        // Who breaks off needs no answer.
        _ = &mut connection => return,
        () = sleep(CONNECTION_TIMEOUT) => {}
    }
    if lasts.load(Ordering::Relaxed) {
        drop(connection.await);
    }
}
