//! The body of an answer: one type for all versions of HTTP and all handlers.
//! Where its size is known, `Content-Length` and the end of the stream are right without anybody's
//! help.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::handler::static_files::stream::FileStream;

/// The body of an answer.
#[derive(Default)]
pub enum Body {
    /// Nothing, or nothing any more.
    #[default]
    Empty,
    /// Bytes in memory, sent as one frame. Not empty.
    Full(Bytes),
    /// A part of a file, or the whole. Boxed, because most answers are small ones from memory.
    File(Box<FileStream>),
    /// What comes from elsewhere while it is sent, trailers included.
    Stream(Stream),
}

/// A body that somebody else makes.
pub type Stream = Pin<Box<dyn http_body::Body<Data = Bytes, Error = io::Error> + Send>>;

impl Body {
    /// A body of no bytes.
    #[must_use]
    pub fn empty() -> Self {
        Self::Empty
    }

    /// A body of these bytes.
    #[must_use]
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() { Self::Empty } else { Self::Full(bytes) }
    }

    /// A body that comes from elsewhere.
    #[must_use]
    pub fn stream(
        body: impl http_body::Body<Data = Bytes, Error = io::Error> + Send + 'static,
    ) -> Self {
        if body.is_end_stream() { Self::Empty } else { Self::Stream(Box::pin(body)) }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Full(_) => "Full",
            Self::File(_) => "File",
            Self::Stream(_) => "Stream",
        })
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let body = self.get_mut();
        match body {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *body = Self::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::File(stream) => {
                stream.poll_chunk(context).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
            }
            Self::Stream(stream) => stream.as_mut().poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            // Never made of nothing.
            Self::Full(_) => false,
            Self::File(stream) => stream.remaining_bytes() == 0,
            Self::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::File(stream) => SizeHint::with_exact(stream.remaining_bytes()),
            Self::Stream(stream) => stream.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;
    use http_body_util::BodyExt;

    use super::*;

    fn needs_what_hyper_needs<B: http_body::Body + Send + Unpin + 'static>(_: &B) {}

    #[test]
    fn an_empty_body_is_at_its_end_from_the_start() {
        for body in [Body::empty(), Body::full(Bytes::new()), Body::default()] {
            needs_what_hyper_needs(&body);
            assert!(body.is_end_stream());
            assert_eq!(body.size_hint().exact(), Some(0));
        }
    }

    #[tokio::test]
    async fn a_full_body_is_one_frame_and_then_at_its_end() {
        let mut body = Body::full("four");
        assert!(!body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(4));
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "four");
        assert!(body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(0));
        assert!(body.frame().await.is_none());
    }
}
