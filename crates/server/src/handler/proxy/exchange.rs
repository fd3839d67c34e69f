//! A request and its answer on one connection to a member, to the last byte.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;
use tracing::error;

use super::{
    headers::strip_trailers,
    link::{Link, LinkError},
    member::Lease,
};
use crate::{connections::Waiting, http::body::Body, text_of};

/// The content of an answer on its way. Dropped before its end, it closes the connection: the
/// member sees that nobody waits any more.
pub(super) struct Answer {
    link: Option<Box<Link>>,
    incoming: Incoming,
    /// A piece that was there when the head was.
    first: Option<Frame<Bytes>>,
    lease: Lease,
    waiting: Waiting,
    /// How long the next piece may take, and since when it is waited for.
    patience: Duration,
    waits_since: Option<Instant>,
    idle_max: u32,
}

/// What an answer needs to be sent on.
pub(super) struct Parts {
    pub(super) link: Box<Link>,
    pub(super) incoming: Incoming,
    pub(super) lease: Lease,
    pub(super) waiting: Waiting,
    pub(super) patience: Duration,
    pub(super) idle_max: u32,
}

/// The body of an answer whose head has come. What is small has come whole, and then the
/// connection is free at once.
pub(super) async fn body(parts: Parts) -> io::Result<Body> {
    let Parts { link, incoming, lease, waiting, patience, idle_max } = parts;
    let mut answer = Answer {
        link: Some(link),
        incoming,
        first: None,
        lease,
        waiting,
        patience,
        waits_since: None,
        idle_max,
    };
    if answer.incoming.is_end_stream() {
        answer.finish();
        return Ok(Body::Empty);
    }
    let first = std::future::poll_fn(|cx| match Pin::new(&mut answer).poll_frame(cx) {
        Poll::Ready(frame) => Poll::Ready(frame),
        Poll::Pending => Poll::Ready(None),
    });
    let first = first.await.transpose()?;
    if answer.link.is_none() {
        match first.map(Frame::into_data) {
            None => return Ok(Body::Empty),
            Some(Ok(bytes)) => return Ok(Body::full(bytes)),
            Some(Err(trailers)) => answer.first = Some(trailers),
        }
    } else {
        answer.first = first;
    }
    Ok(Body::stream(answer))
}

impl Answer {
    /// The answer is over; the connection is kept if it is good for another.
    fn finish(&mut self) {
        if let Some(mut link) = self.link.take()
            && link.is_idle()
        {
            self.lease.0.keep(link, self.idle_max);
        }
        self.waiting.set(false);
    }

    fn broke_off(&mut self, error: LinkError) -> io::Error {
        self.link = None;
        let member = &self.lease.0;
        if member.faults.may_write() {
            error!(upstream = %member.name, error = %text_of(&error), "the answer broke off");
        }
        io::Error::other(error)
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let answer = self.get_mut();
        if let Some(first) = answer.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        let Some(link) = &mut answer.link else { return Poll::Ready(None) };
        let Poll::Ready(polled) = link.poll_frame(cx, &mut answer.incoming) else {
            answer.waiting.set(true);
            let since = *answer.waits_since.get_or_insert_with(Instant::now);
            ready!(link.poll_deadline(cx, since + answer.patience));
            let silent = LinkError::Silent(answer.patience);
            return Poll::Ready(Some(Err(answer.broke_off(silent))));
        };
        answer.waits_since = None;
        match polled {
            Ok(Some(mut frame)) => {
                answer.waiting.set(false);
                if let Some(trailers) = frame.trailers_mut() {
                    strip_trailers(trailers);
                }
                if answer.incoming.is_end_stream() {
                    answer.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Ok(None) => {
                answer.finish();
                Poll::Ready(None)
            }
            Err(error) => Poll::Ready(Some(Err(answer.broke_off(error)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.link.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let first = match &self.first {
            None => Some(0),
            // Trailers have no place behind a length.
            Some(first) => first.data_ref().map(|data| data.len() as u64),
        };
        let rest = match self.link {
            Some(_) => self.incoming.size_hint().exact(),
            None => Some(0),
        };
        match (first, rest) {
            (Some(first), Some(rest)) => SizeHint::with_exact(first + rest),
            _ => SizeHint::default(),
        }
    }
}
