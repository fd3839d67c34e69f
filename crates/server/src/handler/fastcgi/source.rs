//! The content of a request on its way to a program. Programs are told its length first, so content
//! that comes without one is gathered before: in memory, or in a file without a name.

use std::{
    io::SeekFrom,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::{
    fs::File,
    io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _},
};

use crate::{
    blocking,
    http::{
        content::{Content, ContentError},
        error::RequestError,
    },
    limits::{FASTCGI_FILED_BYTES_MAX, FASTCGI_GATHERED_BYTES_MAX, FASTCGI_READ_BYTES},
};

/// Where content comes from.
pub(super) enum Source {
    /// There is none.
    Nothing,
    /// The client, while it sends it.
    Live(Content),
    /// It was gathered in memory.
    Memory(Bytes),
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
    /// The content of a request and its length, gathered if it comes without one.
    pub(super) async fn of(
        content: &mut Content,
        filed_bytes: &Arc<AtomicU64>,
    ) -> Result<(Self, Option<u64>), RequestError> {
        if content.is_end_stream() {
            // A length of zero was said, or there is no content. Programs treat both alike.
            return Ok((Self::Nothing, None));
        }
        if let Some(length) = content.size_hint().exact() {
            return Ok((Self::Live(content.take()), Some(length)));
        }
        Box::pin(gather(content, filed_bytes)).await
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
            Self::Memory(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Nothing;
                Poll::Ready(Ok(Some(bytes)))
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
            Self::Memory(_) | Self::File(_) => false,
        }
    }
}

async fn gather(
    content: &mut Content,
    filed_bytes: &Arc<AtomicU64>,
) -> Result<(Source, Option<u64>), RequestError> {
    let mut gathered = BytesMut::new();
    let mut filed: Option<Filed> = None;
    while let Some(frame) = content.frame().await {
        let Ok(bytes) = frame.map_err(RequestError::Content)?.into_data() else { continue };
        gathered.extend_from_slice(&bytes);
        if gathered.len() > FASTCGI_GATHERED_BYTES_MAX {
            let mut file = match filed.take() {
                Some(file) => file,
                None => Filed::new(filed_bytes).await?,
            };
            file.append(&gathered).await?;
            gathered.clear();
            filed = Some(file);
        }
    }
    let Some(mut file) = filed else {
        let length = gathered.len() as u64;
        return Ok((Source::Memory(gathered.freeze()), Some(length)));
    };
    file.append(&gathered).await?;
    file.file.seek(SeekFrom::Start(0)).await.map_err(Filed::error)?;
    let length = file.share.bytes;
    Ok((Source::File(Box::new(file)), Some(length)))
}

/// Content in a file without a name.
pub(super) struct Filed {
    file: File,
    piece: BytesMut,
    share: Share,
}

impl Filed {
    async fn new(all: &Arc<AtomicU64>) -> Result<Self, RequestError> {
        let file = blocking::run("making a file for content", tempfile::tempfile).await;
        let file = file.and_then(|file| file).map_err(Self::error)?;
        let share = Share { all: Arc::clone(all), bytes: 0 };
        Ok(Self { file: File::from_std(file), piece: BytesMut::new(), share })
    }

    async fn append(&mut self, bytes: &[u8]) -> Result<(), RequestError> {
        if !self.share.grow(bytes.len() as u64) {
            return Err(RequestError::LengthRequired);
        }
        self.file.write_all(bytes).await.map_err(Self::error)?;
        self.file.flush().await.map_err(Self::error)
    }

    fn error(source: std::io::Error) -> RequestError {
        RequestError::File { path: std::env::temp_dir(), source }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, SourceError>> {
        self.piece.reserve(FASTCGI_READ_BYTES);
        let reading = std::pin::pin!(self.file.read_buf(&mut self.piece));
        let read = ready!(reading.poll(cx))?;
        Poll::Ready(Ok((read > 0).then(|| self.piece.split().freeze())))
    }
}

/// A part of what all files together may hold.
struct Share {
    all: Arc<AtomicU64>,
    bytes: u64,
}

impl Share {
    fn grow(&mut self, bytes: u64) -> bool {
        let before = self.all.fetch_add(bytes, Ordering::AcqRel);
        self.bytes += bytes;
        before + bytes <= FASTCGI_FILED_BYTES_MAX
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn files_take_from_one_bound_and_give_back() {
        let all = Arc::new(AtomicU64::new(0));
        let mut one = Filed::new(&all).await.unwrap();
        one.append(&[1; 1000]).await.unwrap();
        let mut other = Share { all: Arc::clone(&all), bytes: 0 };
        assert!(other.grow(FASTCGI_FILED_BYTES_MAX - 1000));
        let refused = one.append(&[1]).await.unwrap_err();
        assert_eq!(refused.status().as_u16(), 411);
        drop(other);
        one.append(&[1]).await.unwrap();
        drop(one);
        assert_eq!(all.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_file_gives_what_it_was_given() {
        let mut filed = Filed::new(&Arc::default()).await.unwrap();
        for byte in 0..200 {
            filed.append(&[byte; 1000]).await.unwrap();
        }
        filed.file.seek(SeekFrom::Start(0)).await.unwrap();
        let mut source = Source::File(Box::new(filed));
        let mut got = Vec::new();
        while let Some(piece) = std::future::poll_fn(|cx| source.poll_piece(cx)).await.unwrap() {
            assert!(!piece.is_empty());
            got.extend_from_slice(&piece);
        }
        let expected: Vec<_> = (0..200).flat_map(|byte| [byte; 1000]).collect();
        assert!(got == expected);
    }
}
