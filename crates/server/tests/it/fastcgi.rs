//! FastCGI: scripts by a real php-fpm, and what is made of a program that lies.

mod liar;
mod php;
mod shares;

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use bindery_testkit::{http1::Answer, soon};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};
use tracing_subscriber::fmt::MakeWriter;

use crate::setup::local;

/// Sends `request` on a connection of its own, which it must ask to be closed, and reads all.
async fn ask(port: u16, request: impl AsRef<[u8]>) -> Read {
    let mut stream = TcpStream::connect(local(port)).await.unwrap();
    // Who answers before it has read all may close before all is sent.
    drop(stream.write_all(request.as_ref()).await);
    read(&mut stream).await
}

/// The answer to GET.
async fn get(port: u16, path: &str) -> Read {
    ask(port, format!("GET {path} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")).await
}

/// The answer to POST.
async fn post(port: u16, path: &str, fields: &str, content: &[u8]) -> Read {
    let length = content.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\nContent-Length: {length}\r\n{fields}\r\n"
    );
    ask(port, [head.as_bytes(), content].concat()).await
}

/// An answer as it came.
#[derive(Debug)]
struct Read {
    answer: Answer,
    /// Whether its content came to the end that its head promises.
    complete: bool,
}

impl Read {
    fn status(&self) -> u16 {
        self.answer.status
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.answer.field(name)
    }

    #[track_caller]
    fn text(&self) -> String {
        assert!(self.complete, "{self:?}");
        self.answer.text()
    }
}

/// Reads to the end of the connection.
async fn read(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Read {
    let mut bytes = Vec::new();
    // Reset or closed: the end.
    drop(soon("the end of an answer", stream.read_to_end(&mut bytes)).await);
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> Read {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let fields: Vec<_> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut answer = Answer { status, fields, content: bytes[end + 4..].to_vec() };
    let complete = if answer.field("transfer-encoding") == Some("chunked") {
        let (content, complete) = dechunked(&answer.content);
        answer.content = content;
        complete
    } else {
        let length = answer.field("content-length").and_then(|length| length.parse().ok());
        length.is_none_or(|length: usize| length == answer.content.len())
    };
    Read { answer, complete }
}

fn dechunked(mut bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut content = Vec::new();
    while let Some(line) = bytes.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&bytes[..line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        bytes = &bytes[line + 2..];
        if size == 0 {
            return (content, bytes == b"\r\n");
        }
        if bytes.len() < size + 2 {
            break;
        }
        content.extend_from_slice(&bytes[..size]);
        bytes = &bytes[size + 2..];
    }
    (content, false)
}

/// What is logged on this thread while it lives.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn begin() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing::Level::WARN)
            .with_writer(log.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
