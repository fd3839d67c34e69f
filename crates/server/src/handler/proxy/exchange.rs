//! A request and its answer on one connection to a member, to the last byte.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;
use tracing::error;

use super::{
    headers::strip_trailers,
    http2::{self, Stream},
    link::{Link, LinkError},
    member::Lease,
    upload::{Source, Upload},
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
    /// Sends a request and waits for the head of its answer.
    pub(super) async fn ask(
        &mut self,
        request: Request<Upload>,
        source: Option<&Source>,
        patience: Duration,
    ) -> Result<Response<Incoming>, LinkError> {
        match self {
            Self::Http1(link) => link.ask(request, source, patience).await,
            // Boxed, so that exchanges on HTTP/1.1 need not keep room for it.
            Self::Http2(stream) => Box::pin(stream.ask(request, source, patience)).await,
        }
    }

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

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        incoming: &mut Incoming,
    ) -> Poll<Result<Option<Frame<Bytes>>, LinkError>> {
        match self {
            Self::Http1(link) => link.poll_frame(cx, incoming),
            Self::Http2(_) => Pin::new(incoming).poll_frame(cx).map(|frame| Ok(frame.transpose()?)),
        }
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        match self {
            Self::Http1(link) => link.poll_deadline(cx, deadline),
            Self::Http2(stream) => stream.poll_deadline(cx, deadline),
        }
    }
}

/// The content of an answer on its way. Dropped before its end, it closes the connection: the
/// member sees that nobody waits any more.
pub(super) struct Answer {
    carrier: Option<Carrier>,
    incoming: Incoming,
    /// A piece that was there when the head was.
    first: Option<Frame<Bytes>>,
    lease: Lease,
    /// How long the next piece may take, and since when it is waited for.
    patience: Duration,
    waits_since: Option<Instant>,
    idle_max: u32,
}

/// What an answer needs to be sent on.
pub(super) struct Parts {
    pub(super) carrier: Carrier,
    pub(super) incoming: Incoming,
    pub(super) lease: Lease,
    pub(super) patience: Duration,
    pub(super) idle_max: u32,
}

/// The body of an answer whose head has come. What is small has come whole, and then the
/// connection is free at once.
pub(super) async fn body(parts: Parts) -> io::Result<Body> {
    let Parts { carrier, incoming, lease, patience, idle_max } = parts;
    let mut answer = Answer {
        carrier: Some(carrier),
        incoming,
        first: None,
        lease,
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
    /// The answer is over; the connection is kept if it is good for another.
    fn finish(&mut self) {
        if let Some(Carrier::Http1(mut link)) = self.carrier.take()
            && link.is_idle()
        {
            self.lease.0.keep(link, self.idle_max);
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
        let Poll::Ready(polled) = carrier.poll_frame(cx, &mut answer.incoming) else {
            let since = *answer.waits_since.get_or_insert_with(Instant::now);
            ready!(carrier.poll_deadline(cx, since + answer.patience));
            let silent = LinkError::Silent(answer.patience);
            return Poll::Ready(Some(Err(answer.broke_off(silent))));
        };
        answer.waits_since = None;
        match polled {
            Ok(Some(mut frame)) => {
                // Nothing follows trailers, and nobody asks whether something does.
                let trailers = frame.trailers_mut().map(strip_trailers).is_some();
                if trailers || answer.incoming.is_end_stream() {
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
        let rest = match self.carrier {
            Some(_) => self.incoming.size_hint().exact(),
            None => Some(0),
        };
        match (first, rest) {
            (Some(first), Some(rest)) => SizeHint::with_exact(first + rest),
            _ => SizeHint::default(),
        }
    }
}
