//! The content of a request on its way to a program. Programs are told its length first, so content
//! that comes without one is gathered before: in memory, or in a file without a name.

use std::{
    io::SeekFrom,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::{
    fs::File,
    io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _},
};

use super::share::Share;
use crate::{
    blocking,
    http::{
        content::{Content, ContentError},
        error::RequestError,
    },
    limits::{FASTCGI_IN_MEMORY_BYTES_MAX, FASTCGI_READ_BYTES},
};

/// Where content comes from.
pub(super) enum Source {
    /// There is none.
    Nothing,
    /// The client, while it sends it.
    Live(Content),
    /// It was gathered in memory, and takes its share until the request is over.
    Memory(Bytes, #[allow(dead_code, reason = "counts down when it is dropped")] Share),
    /// It was gathered in a file.
    File(Box<Filed>),
}

/// Why there is no more content.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    #[error(transparent)]
    Content(#[from] ContentError),
    #[error("gathered content cannot be read again")]
    File(#[from] std::io::Error),
}

impl Source {
    /// The content of a request and its length, gathered into a share if it comes without one.
    pub(super) async fn of(
        content: &mut Content,
        share: impl FnOnce() -> Share,
    ) -> Result<(Self, Option<u64>), RequestError> {
        if content.is_end_stream() {
            // A length of zero was said, or there is no content. Programs treat both alike.
            return Ok((Self::Nothing, None));
        }
        if let Some(length) = content.size_hint().exact() {
            return Ok((Self::Live(content.take()), Some(length)));
        }
        Box::pin(gather(content, share())).await
    }

    /// Whether there is none.
    pub(super) fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing)
    }

    /// The next piece; `None` at the end.
    pub(super) fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, SourceError>> {
        match self {
            Self::Nothing => Poll::Ready(Ok(None)),
            Self::Memory(bytes, _) => {
                let bytes = std::mem::take(bytes);
                Poll::Ready(Ok((!bytes.is_empty()).then_some(bytes)))
            }
            Self::Live(content) => loop {
                match ready!(Pin::new(&mut *content).poll_frame(cx)) {
                    None => return Poll::Ready(Ok(None)),
                    Some(Err(error)) => return Poll::Ready(Err(error.into())),
                    // Trailers have no variable.
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(bytes) if !bytes.is_empty() => return Poll::Ready(Ok(Some(bytes))),
                        _ => {}
                    },
                }
            },
            Self::File(filed) => filed.poll_piece(cx),
        }
    }

    /// Whether it is the client who is waited for when there is no piece.
    pub(super) fn is_live(&self) -> bool {
        matches!(self, Self::Live(_))
    }

    /// Whether there is surely no further piece.
    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Live(content) => content.is_end_stream(),
            Self::Memory(bytes, _) => bytes.is_empty(),
            Self::File(_) => false,
        }
    }
}

async fn gather(
    content: &mut Content,
    mut share: Share,
) -> Result<(Source, Option<u64>), RequestError> {
    let mut gathered = BytesMut::new();
    let mut filed: Option<Writing> = None;
    while let Some(frame) = content.frame().await {
        let Ok(bytes) = frame.map_err(RequestError::Content)?.into_data() else { continue };
        share.grow(bytes.len() as u64)?;
        gathered.extend_from_slice(&bytes);
        if gathered.len() > FASTCGI_IN_MEMORY_BYTES_MAX {
            let mut file = match filed.take() {
                Some(file) => file,
                None => Writing::new().await?,
            };
            file.append(&gathered).await?;
            gathered.clear();
            filed = Some(file);
        }
    }
    let length = Some(share.bytes());
    let Some(mut file) = filed else {
        return Ok((Source::Memory(gathered.freeze(), share), length));
    };
    file.append(&gathered).await?;
    let file = file.read(share).await?;
    Ok((Source::File(Box::new(file)), length))
}

/// A file without a name that content is written to.
struct Writing(File);

impl Writing {
    async fn new() -> Result<Self, RequestError> {
        let file = blocking::run("making a file for content", tempfile::tempfile).await;
        let file = file.and_then(|file| file).map_err(Self::error)?;
        Ok(Self(File::from_std(file)))
    }

    async fn append(&mut self, bytes: &[u8]) -> Result<(), RequestError> {
        self.0.write_all(bytes).await.map_err(Self::error)?;
        self.0.flush().await.map_err(Self::error)
    }

    /// What was written, from its beginning.
    async fn read(mut self, share: Share) -> Result<Filed, RequestError> {
        self.0.seek(SeekFrom::Start(0)).await.map_err(Self::error)?;
        Ok(Filed { file: self.0, piece: BytesMut::new(), share })
    }

    fn error(source: std::io::Error) -> RequestError {
        RequestError::File { path: std::env::temp_dir(), source }
    }
}

/// Content in a file without a name. It takes its share until the request is over.
pub(super) struct Filed {
    file: File,
    piece: BytesMut,
    #[allow(dead_code, reason = "counts down when it is dropped")]
    share: Share,
}

impl Filed {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, SourceError>> {
        self.piece.reserve(FASTCGI_READ_BYTES);
        let reading = std::pin::pin!(self.file.read_buf(&mut self.piece));
        let read = ready!(reading.poll(cx))?;
        Poll::Ready(Ok((read > 0).then(|| self.piece.split().freeze())))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{super::share::Gathered, *};

    #[tokio::test]
    async fn a_file_gives_what_it_was_given() {
        let mut filed = Writing::new().await.unwrap();
        for byte in 0..200 {
            filed.append(&[byte; 1000]).await.unwrap();
        }
        let share = Arc::new(Gathered::default()).share([192, 0, 2, 1].into());
        let mut source = Source::File(Box::new(filed.read(share).await.unwrap()));
        let mut got = Vec::new();
        while let Some(piece) = std::future::poll_fn(|cx| source.poll_piece(cx)).await.unwrap() {
            assert!(!piece.is_empty());
            got.extend_from_slice(&piece);
        }
        let expected: Vec<_> = (0..200).flat_map(|byte| [byte; 1000]).collect();
        assert!(got == expected);
    }
}
