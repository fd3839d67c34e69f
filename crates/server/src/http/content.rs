//! The content of a request: hyper's, within a bound, and never left half read without a word.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{malformed::has_forbidden_trailer, waits::Waits};
use crate::connections::Connection;

/// The content of a request. Dropped before its end, it says so to its connection, which then does
/// not take what follows for the next request.
pub struct Content {
    incoming: Option<Incoming>,
    bytes_left: u64,
    connection: Arc<Connection>,
    waits: Option<Arc<Waits>>,
}

/// Why there is no more content.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// The client broke off, or sent what is no content.
    #[error("the content of the request broke off")]
    Broken(#[source] hyper::Error),
    /// It is larger than allowed.
    #[error("the content of the request is larger than allowed")]
    TooLarge,
    /// It ends with a field that may not be there (RFC 9110, 6.5.1).
    #[error("the content of the request ends with a field that may not be there")]
    Trailer,
}

impl Content {
    pub(crate) fn new(incoming: Incoming, connection: &Arc<Connection>) -> Self {
        let incoming = (!incoming.is_end_stream()).then_some(incoming);
        let waits = incoming.is_some().then(|| Waits::new(connection));
        Self { incoming, bytes_left: u64::MAX, connection: Arc::clone(connection), waits }
    }

    /// What tells who is waited for, of the request that this belongs to.
    pub(crate) fn waits(&self) -> Arc<Waits> {
        self.waits.clone().unwrap_or_else(|| Waits::new(&self.connection))
    }

    /// Takes it out, for who reads it while the answer is on its way.
    #[must_use]
    pub fn take(&mut self) -> Self {
        Self {
            incoming: self.incoming.take(),
            bytes_left: self.bytes_left,
            connection: Arc::clone(&self.connection),
            waits: self.waits.take(),
        }
    }

    /// From now on at most so many bytes are given out. Whether the length that the client announced
    /// is within.
    pub fn limit(&mut self, bytes_max: u64) -> bool {
        self.bytes_left = bytes_max;
        self.size_hint().lower() <= bytes_max
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = ContentError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ContentError>>> {
        let content = &mut *self;
        let Some(incoming) = &mut content.incoming else { return Poll::Ready(None) };
        let polled = Pin::new(incoming).poll_frame(cx);
        if let Some(waits) = &content.waits {
            waits.set_content(polled.is_pending());
        }
        match polled {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => {
                content.incoming = None;
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                content.incoming = None;
                content.connection.note_unread_content();
                Poll::Ready(Some(Err(ContentError::Broken(error))))
            }
            Poll::Ready(Some(Ok(frame)))
                if frame.trailers_ref().is_some_and(has_forbidden_trailer) =>
            {
                content.incoming = None;
                Poll::Ready(Some(Err(ContentError::Trailer)))
            }
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
                match content.bytes_left.checked_sub(bytes) {
                    Some(left) => {
                        content.connection.count_content(usize::try_from(bytes).unwrap_or(0));
                        content.bytes_left = left;
                        Poll::Ready(Some(Ok(frame)))
                    }
                    None => {
                        content.incoming = None;
                        content.connection.note_unread_content();
                        Poll::Ready(Some(Err(ContentError::TooLarge)))
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        if let Some(waits) = &self.waits {
            waits.set_content(false);
        }
        if !self.is_end_stream() {
            self.connection.note_unread_content();
        }
    }
}
