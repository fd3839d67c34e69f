//! The body of an answer: one type for all versions of HTTP and all handlers.
//! Its size is always known, so that `Content-Length` and the end of the stream are right without
//! anybody's help.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::handler::static_files::stream::FileStream;

/// The body of an answer.
#[derive(Debug, Default)]
pub enum Body {
    /// Nothing, or nothing any more.
    #[default]
    Empty,
    /// Bytes in memory, sent as one frame. Not empty.
    Full(Bytes),
    /// A part of a file, or the whole. Boxed, because most answers are small ones from memory.
    File(Box<FileStream>),
}

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

    /// The bytes that are still to come.
    fn remaining_bytes(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Full(bytes) => bytes.len() as u64,
            Self::File(stream) => stream.remaining_bytes(),
        }
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
        }
    }

    fn is_end_stream(&self) -> bool {
        self.remaining_bytes() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining_bytes())
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
