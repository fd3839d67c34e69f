//! HTTP/2: requests on one connection, and how the connection ended.

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use http::Request;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinHandle,
};

use crate::{http1::Answer, soon};

/// A connection that speaks HTTP/2.
pub struct Http2 {
    requests: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

impl Http2 {
    /// Over a connection that is open.
    ///
    /// # Panics
    ///
    /// When the server does not speak HTTP/2.
    pub async fn new<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S) -> Self {
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(1024 * 1024).initial_connection_window_size(4 * 1024 * 1024);
        let handshake = builder.handshake(stream);
        let (requests, connection) = soon("settings", handshake).await.expect("HTTP/2");
        Self { requests, connection: tokio::spawn(connection) }
    }

    /// Asks for `path` of `host` and reads the answer.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub async fn get(&mut self, host: &str, path: &str) -> Result<Answer, h2::Error> {
        let request = Request::get(format!("https://{host}{path}")).body(());
        self.ask(request.expect("a request")).await
    }

    /// Sends a request without content and reads the answer.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub async fn ask(&mut self, request: Request<()>) -> Result<Answer, h2::Error> {
        let answer = self.begin(request).await?;
        read(answer).await
    }

    /// Sends a request without content; [`read`] reads its answer.
    ///
    /// # Errors
    ///
    /// When it cannot be sent.
    pub async fn begin(&mut self, request: Request<()>) -> Result<ResponseFuture, h2::Error> {
        soon("a free stream", std::future::poll_fn(|cx| self.requests.poll_ready(cx))).await?;
        Ok(self.requests.send_request(request, true)?.0)
    }

    /// Sends a request with content and reads the answer.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub async fn ask_with(
        &mut self,
        request: Request<()>,
        content: Bytes,
    ) -> Result<Answer, h2::Error> {
        soon("a free stream", std::future::poll_fn(|cx| self.requests.poll_ready(cx))).await?;
        let (answer, mut stream) = self.requests.send_request(request, false)?;
        stream.send_data(content, true)?;
        read(answer).await
    }

    /// Waits for the end of the connection, which somebody else brings about.
    ///
    /// # Errors
    ///
    /// When it does not end in peace.
    ///
    /// # Panics
    ///
    /// When it does not end.
    pub async fn ended(self) -> Result<(), h2::Error> {
        let Self { requests, connection } = self;
        // Kept until the end: without it the client itself would end the connection.
        let end = soon("the end of a connection", connection).await.expect("no panic");
        drop(requests);
        end
    }
}

/// Reads an answer with its content.
///
/// # Errors
///
/// When it does not come, or not whole.
pub async fn read(answer: ResponseFuture) -> Result<Answer, h2::Error> {
    soon("an answer", async {
        let (head, mut body) = answer.await?.into_parts();
        let mut content = Vec::new();
        while let Some(chunk) = body.data().await {
            let chunk = chunk?;
            body.flow_control().release_capacity(chunk.len())?;
            content.extend_from_slice(&chunk);
        }
        let fields = head.headers.iter().map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        });
        Ok(Answer { status: head.status.as_u16(), fields: fields.collect(), content })
    })
    .await
}
