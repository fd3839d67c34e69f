//! The content of a request on its way up. It stays where a second try can find it until its first
//! piece is taken, and it knows for whom it waits.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::headers::strip_trailers;
use crate::http::content::{Content, ContentError};

/// The content as it is sent.
pub(super) struct Upload(Option<Arc<Source>>);

/// The content as the request keeps it.
pub(super) struct Source {
    content: Mutex<Content>,
    /// Whether a piece was taken: it cannot be sent again.
    begun: AtomicBool,
    /// Whether a piece was taken since somebody looked.
    moved: AtomicBool,
    /// Whether the next piece is the client's to send.
    waits_for_client: AtomicBool,
    failure: Mutex<Option<ContentError>>,
}

/// The content could not be read to its end. Why is in the [`Source`].
#[derive(Debug, thiserror::Error)]
#[error("the content of the request ended early")]
pub(super) struct UploadEnded;

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Source {
    pub(super) fn new(content: Content) -> Arc<Self> {
        Arc::new(Self {
            content: Mutex::new(content),
            begun: AtomicBool::new(false),
            moved: AtomicBool::new(false),
            waits_for_client: AtomicBool::new(false),
            failure: Mutex::new(None),
        })
    }

    /// Whether a piece was taken, so that it cannot be sent again.
    pub(super) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// Whether a piece was taken since the last look.
    pub(super) fn has_moved(&self) -> bool {
        self.moved.swap(false, Ordering::Relaxed)
    }

    /// Whether the next step is the client's.
    pub(super) fn waits_for_client(&self) -> bool {
        self.waits_for_client.load(Ordering::Relaxed)
    }

    /// The number of its bytes, where the client has said it.
    pub(super) fn length(&self) -> Option<u64> {
        locked(&self.content).size_hint().exact()
    }

    /// Why it could not be read to its end.
    pub(super) fn failure(&self) -> Option<ContentError> {
        locked(&self.failure).take()
    }

    /// The content, or what is left of it.
    pub(super) fn take(&self) -> Content {
        locked(&self.content).take()
    }
}

impl Upload {
    pub(super) fn new(source: Option<&Arc<Source>>) -> Self {
        Self(source.map(Arc::clone))
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = UploadEnded;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadEnded>>> {
        let Some(source) = &self.0 else { return Poll::Ready(None) };
        let polled = Pin::new(&mut *locked(&source.content)).poll_frame(cx);
        source.waits_for_client.store(polled.is_pending(), Ordering::Relaxed);
        match polled {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Ready(Some(Ok(mut frame))) => {
                source.begun.store(true, Ordering::Relaxed);
                source.moved.store(true, Ordering::Relaxed);
                if let Some(trailers) = frame.trailers_mut() {
                    strip_trailers(trailers);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                source.begun.store(true, Ordering::Relaxed);
                *locked(&source.failure) = Some(error);
                Poll::Ready(Some(Err(UploadEnded)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|source| locked(&source.content).is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), |source| locked(&source.content).size_hint())
    }
}
