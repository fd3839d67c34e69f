//! HTTP/1.1 as bytes: requests are written as a test writes them, right or wrong, and answers are
//! read by the rules (RFC 9112, 6).

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::soon;

/// A connection on which requests are written as bytes.
#[derive(Debug)]
pub struct Http1<S> {
    stream: S,
    unread: Vec<u8>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its fields, with names in lower case.
    pub fields: Vec<(String, String)>,
    /// Its content.
    pub content: Vec<u8>,
}

impl Answer {
    /// The value of a field, by its name in lower case.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// The content as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.content).into_owned()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Http1<S> {
    /// Over a connection that is open.
    #[must_use]
    pub fn new(stream: S) -> Self {
        Self { stream, unread: Vec::new() }
    }

    /// Writes these bytes.
    ///
    /// # Errors
    ///
    /// When the connection is broken.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await?;
        self.stream.flush().await
    }

    /// Asks for `path` of `host` and reads the answer.
    ///
    /// # Errors
    ///
    /// When the connection is broken.
    pub async fn get(&mut self, host: &str, path: &str) -> io::Result<Answer> {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await?;
        self.answer().await
    }

    /// Reads an answer with its content.
    ///
    /// # Errors
    ///
    /// When the connection ends before the answer does.
    pub async fn answer(&mut self) -> io::Result<Answer> {
        let mut answer = self.head().await?;
        let length = answer.field("content-length").map(str::parse::<usize>);
        let none = matches!(answer.status, 204 | 304);
        answer.content = match length {
            _ if none => Vec::new(),
            Some(Ok(length)) => self.take(length).await?,
            Some(Err(_)) => return Err(io::Error::other("a length that is no number")),
            None => self.rest().await?,
        };
        Ok(answer)
    }

    /// Reads the head of an answer and leaves its content.
    ///
    /// # Errors
    ///
    /// When the connection ends before the head does.
    pub async fn head(&mut self) -> io::Result<Answer> {
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break at;
            }
            if self.more().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        let head: Vec<u8> = self.unread.drain(..end + 4).collect();
        let head = String::from_utf8_lossy(&head);
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let fields = lines.filter_map(|line| line.split_once(':'));
        Ok(Answer {
            status: status.ok_or_else(|| io::Error::other("no status line"))?,
            fields: fields
                .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
                .collect(),
            content: Vec::new(),
        })
    }

    /// Reads so many bytes.
    ///
    /// # Errors
    ///
    /// When there are fewer.
    pub async fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.unread.len() < length {
            if self.more().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.unread.drain(..length).collect())
    }

    /// Reads until the server closes.
    ///
    /// # Errors
    ///
    /// When it does not close but reset.
    pub async fn rest(&mut self) -> io::Result<Vec<u8>> {
        while self.more().await? > 0 {}
        Ok(std::mem::take(&mut self.unread))
    }

    /// Whether the server closes without saying anything more.
    ///
    /// # Errors
    ///
    /// When it resets the connection.
    pub async fn is_closed(&mut self) -> io::Result<bool> {
        Ok(self.unread.is_empty() && self.more().await? == 0)
    }

    /// The connection. Bytes that were read already are lost.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.stream
    }

    async fn more(&mut self) -> io::Result<usize> {
        let mut chunk = vec![0; 64 * 1024];
        let read = soon("an answer", self.stream.read(&mut chunk)).await?;
        self.unread.extend_from_slice(chunk.get(..read).unwrap_or_default());
        Ok(read)
    }
}
