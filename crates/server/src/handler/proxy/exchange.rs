//! A request and its answer on one connection to a member, to the last byte.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::Instant;
use tracing::error;

use super::{
    headers::strip_trailers,
    http2::{self, Stream},
    link::{Link, LinkError},
    member::{Lease, Member},
};
use crate::{http::body::Body, text_of};

/// What carries an exchange.
pub(super) enum Carrier {
    /// A connection of its own for as long as it lasts.
    Http1(Box<Link>),
    /// A part of one.
    Http2(Stream),
}

impl Carrier {
    /// Whether the connection is older than the request: it may have been closed on the other side
    /// without anybody's fault.
    pub(super) fn is_old(&self) -> bool {
        match self {
            Self::Http1(link) => link.used,
            Self::Http2(stream) => stream.used,
        }
    }

    /// Whether a request that failed so left nothing at the member.
    pub(super) fn sent_nothing(&self, error: &LinkError) -> bool {
        match self {
            Self::Http1(link) => link.exchanged().0 == 0,
            Self::Http2(_) => http2::was_refused(error),
        }
    }

    /// Whether anything of an answer has come.
    pub(super) fn has_answered(&self) -> bool {
        match self {
            Self::Http1(link) => link.exchanged().1 > 0,
            Self::Http2(_) => false,
        }
    }

    fn is_answered(&self) -> bool {
        match self {
            Self::Http1(link) => link.is_answered(),
            Self::Http2(stream) => stream.is_answered(),
        }
    }

    fn exact(&self) -> Option<u64> {
        match self {
            Self::Http1(link) => link.exact(),
            Self::Http2(stream) => stream.exact(),
        }
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Frame<Bytes>>, LinkError>> {
        match self {
            Self::Http1(link) => link.poll_frame(cx),
            Self::Http2(stream) => stream.poll_frame(cx),
        }
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        match self {
            Self::Http1(link) => link.poll_deadline(cx, deadline),
            Self::Http2(stream) => stream.poll_deadline(cx, deadline),
        }
    }

    /// The answer is over; the connection is kept if it is good for another.
    fn finish(self, member: &Member, idle_max: u32) {
        if let Self::Http1(link) = self
            && link.is_idle()
        {
            member.keep(link, idle_max);
        }
    }
}

/// The content of an answer on its way. Dropped before its end, it closes the connection: the
/// member sees that nobody waits any more.
pub(super) struct Answer {
    carrier: Option<Carrier>,
    /// A piece that was there when the head was.
    first: Option<Frame<Bytes>>,
    lease: Lease<Arc<Member>>,
    /// How long the next piece may take, and since when it is waited for.
    patience: Duration,
    waits_since: Option<Instant>,
    idle_max: u32,
}

/// The body of an answer whose head has come. What is small has come whole, and then the
/// connection is free at once. `patience` is for each piece that has not.
pub(super) async fn body(
    mut carrier: Carrier,
    member: &Arc<Member>,
    patience: Duration,
    idle_max: u32,
) -> io::Result<Body> {
    let all = match &mut carrier {
        Carrier::Http1(link) => link.all_at_once(),
        Carrier::Http2(_) => None,
    };
    if carrier.is_answered() {
        carrier.finish(member, idle_max);
        return Ok(all.map_or(Body::Empty, Body::full));
    }
    let mut answer = Answer {
        carrier: Some(carrier),
        first: None,
        lease: Lease::new(Arc::clone(member)),
        patience,
        waits_since: None,
        idle_max,
    };
    let first = std::future::poll_fn(|cx| match Pin::new(&mut answer).poll_frame(cx) {
        Poll::Ready(frame) => Poll::Ready(frame),
        Poll::Pending => Poll::Ready(None),
    });
    let first = first.await.transpose()?;
    if answer.carrier.is_none() {
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
    fn finish(&mut self) {
        if let Some(carrier) = self.carrier.take() {
            carrier.finish(&self.lease.0, self.idle_max);
        }
    }

    fn broke_off(&mut self, error: LinkError) -> io::Error {
        self.carrier = None;
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
        let Some(carrier) = &mut answer.carrier else { return Poll::Ready(None) };
        let Poll::Ready(polled) = carrier.poll_frame(cx) else {
            let since = *answer.waits_since.get_or_insert_with(Instant::now);
            ready!(carrier.poll_deadline(cx, since + answer.patience));
            let silent = LinkError::Silent(answer.patience);
            return Poll::Ready(Some(Err(answer.broke_off(silent))));
        };
        answer.waits_since = None;
        match polled {
            Ok(Some(mut frame)) => {
                if let (Carrier::Http2(_), Some(trailers)) = (&*carrier, frame.trailers_mut()) {
                    strip_trailers(trailers);
                }
                // Nothing follows trailers, and nobody asks whether something does.
                if frame.is_trailers() || carrier.is_answered() {
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
        self.first.is_none() && self.carrier.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let first = match &self.first {
            None => Some(0),
            // Trailers have no place behind a length.
            Some(first) => first.data_ref().map(|data| data.len() as u64),
        };
        let rest = self.carrier.as_ref().map_or(Some(0), Carrier::exact);
        match (first, rest) {
            (Some(first), Some(rest)) => SizeHint::with_exact(first + rest),
            _ => SizeHint::default(),
        }
    }
}
