//! Connections that stopped speaking HTTP: bytes carried between a client and an upstream server
//! that both agreed to another protocol (RFC 9110, 7.8; RFC 8441).
//!
//! Of HTTP/1.1 a tunnel is the connection: its own task carries the bytes, and all that a turn
//! wrote to the client leaves in one go, as everything else. Of HTTP/2 it is one stream of many,
//! carried by a future among the others of the connection. An idle tunnel holds no buffer.

use std::{
    any::Any,
    future::{Future as _, poll_fn},
    io,
    mem::MaybeUninit,
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Extensions, Response};
use hyper::{
    rt::{Executor as _, Read, ReadBuf, Write},
    upgrade::OnUpgrade,
};
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::{body::Body, logged::TunnelLog, tasks::NewTasks, waits::Waits};
use crate::{
    connections::Connection,
    limits::{CONNECTION_TICK, TUNNEL_READ_BYTES},
    rules::site::{LimitedSite, Pace},
    text_of,
};

/// An upstream connection that does not speak HTTP any more.
pub(crate) trait Upstream: Read + Write + Send + Unpin {}
impl<T: Read + Write + Send + Unpin> Upstream for T {}

/// The way to an upstream server, open for bytes of any kind.
pub(crate) struct Tunnel {
    upstream: Box<dyn Upstream>,
    to_upstream: Half,
    to_client: Half,
    /// How long no byte may move in either direction.
    pub(crate) idle: Duration,
    log: TunnelLog,
    /// Whether the client's side broke.
    lost: bool,
    #[allow(dead_code, reason = "counts down when it is dropped")]
    guard: Box<dyn Any + Send>,
}

/// How a tunnel ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// The client's side.
    #[error("the client's side of the tunnel broke")]
    Client(#[source] io::Error),
    /// The upstream server's side.
    #[error("the upstream's side of the tunnel broke")]
    Upstream(#[source] io::Error),
    /// Neither side said anything for too long.
    #[error("the tunnel was idle for too long")]
    Idle,
}

impl Tunnel {
    /// A tunnel to the upstream server at the other end of `upstream`, of which `early` was read
    /// already. It may be silent for `idle`. `guard` is dropped when it ends.
    pub(crate) fn new(
        upstream: impl Upstream + 'static,
        early: Bytes,
        idle: Duration,
        guard: impl Any + Send,
    ) -> Self {
        Self {
            upstream: Box::new(upstream),
            to_upstream: Half::default(),
            to_client: Half { waiting: early, ..Half::default() },
            idle,
            log: TunnelLog::default(),
            lost: false,
            guard: Box::new(guard),
        }
    }

    /// `guard` too is dropped when it ends.
    pub(crate) fn hold(&mut self, guard: impl Any + Send) {
        let before = std::mem::replace(&mut self.guard, Box::new(()));
        self.guard = Box::new((before, guard));
    }

    /// Counts among the requests of its site until it ends, and sends to the client at its pace, as
    /// answers do.
    pub(crate) fn limit(&mut self, site: &LimitedSite) {
        self.hold(site.go_on());
        self.to_client.pace = site.pace().map(Box::new);
    }

    /// Whether the pace of its site is waited for, and neither side.
    pub(crate) fn is_held_back(&self) -> bool {
        self.to_client.pace.as_ref().is_some_and(|pace| pace.is_in_line())
    }

    /// Carries what can be carried now. Ready when nothing will come any more from either side.
    ///
    /// # Errors
    ///
    /// When one side breaks. What came from it before was written.
    pub(crate) fn poll(
        &mut self,
        client: &mut (impl Read + Write + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>> {
        let Self { upstream, to_upstream, to_client, .. } = self;
        let upstream = &mut **upstream;
        let there = to_upstream.poll(client, upstream, cx).map_err(|failed| match failed {
            Failed::Reading(error) => Broken::Client(error),
            Failed::Writing(error) => Broken::Upstream(error),
        });
        // What an upstream said before it broke is the client's all the same.
        let back = to_client.poll(upstream, client, cx).map_err(|failed| match failed {
            Failed::Reading(error) => Broken::Upstream(error),
            Failed::Writing(error) => Broken::Client(error),
        });
        match (there, back) {
            (_, Poll::Ready(Err(error))) | (Poll::Ready(Err(error)), _) => {
                self.lost = matches!(error, Broken::Client(_));
                Poll::Ready(Err(error))
            }
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(Ok(())),
            (Poll::Pending, _) | (_, Poll::Pending) => Poll::Pending,
        }
    }

    /// How often to look whether it is idle.
    pub(crate) fn tick(&self) -> Duration {
        (self.idle / 4).clamp(Duration::from_millis(1), CONNECTION_TICK)
    }

    /// How many bytes were carried.
    fn carried(&self) -> u64 {
        self.to_upstream.carried + self.to_client.carried
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.log.end(self.to_client.carried, self.to_upstream.carried, self.lost);
    }
}

/// One direction.
#[derive(Default)]
struct Half {
    /// What was read and not taken yet. While there is any nothing is read.
    waiting: Bytes,
    carried: u64,
    /// Whether something was written and not flushed.
    unflushed: bool,
    state: HalfState,
    /// Where the site has one. What is read then waits for its time.
    pace: Option<Box<Pace>>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum HalfState {
    #[default]
    Open,
    /// Nothing more comes; the other side is to be told.
    Ending,
    Ended,
}

enum Failed {
    Reading(io::Error),
    Writing(io::Error),
}

impl Half {
    fn poll(
        &mut self,
        from: &mut (impl Read + Unpin + ?Sized),
        to: &mut (impl Write + Unpin + ?Sized),
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Failed>> {
        loop {
            while !self.waiting.is_empty() {
                let mut turn = self.waiting.len();
                if let Some(pace) = &mut self.pace {
                    turn = match pace.poll_turn(turn, cx) {
                        Poll::Ready(turn) => turn,
                        Poll::Pending => return self.poll_flush(to, cx),
                    };
                }
                let turn = self.waiting.get(..turn).unwrap_or(&self.waiting);
                let write = Pin::new(&mut *to).poll_write(cx, turn);
                let taken = written(ready!(write)).map_err(Failed::Writing)?;
                self.took(taken);
                drop(self.waiting.split_to(taken.min(self.waiting.len())));
            }
            match self.state {
                HalfState::Open => {}
                HalfState::Ending => {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx)).map_err(Failed::Writing)?;
                    self.state = HalfState::Ended;
                    return Poll::Ready(Ok(()));
                }
                HalfState::Ended => return Poll::Ready(Ok(())),
            }
            let mut scratch = [MaybeUninit::uninit(); TUNNEL_READ_BYTES];
            let mut buf = ReadBuf::uninit(&mut scratch);
            if Pin::new(&mut *from)
                .poll_read(cx, buf.unfilled())
                .map_err(Failed::Reading)?
                .is_pending()
            {
                return self.poll_flush(to, cx);
            }
            let read = buf.filled();
            if read.is_empty() {
                self.state = HalfState::Ending;
                continue;
            }
            if self.pace.is_some() {
                self.waiting = Bytes::copy_from_slice(read);
                continue;
            }
            // Most is taken at once and needs no buffer of its own.
            let taken = match Pin::new(&mut *to).poll_write(cx, read) {
                Poll::Ready(taken) => written(taken).map_err(Failed::Writing)?,
                Poll::Pending => 0,
            };
            self.took(taken);
            if let Some(rest @ [_, ..]) = read.get(taken..) {
                self.waiting = Bytes::copy_from_slice(rest);
            }
        }
    }

    /// Sends what was written, when there is nothing more to write. Never ready.
    fn poll_flush(
        &mut self,
        to: &mut (impl Write + Unpin + ?Sized),
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Failed>> {
        if self.unflushed {
            ready!(Pin::new(&mut *to).poll_flush(cx)).map_err(Failed::Writing)?;
            self.unflushed = false;
        }
        Poll::Pending
    }

    fn took(&mut self, bytes: usize) {
        self.carried += bytes as u64;
        self.unflushed = true;
        if let Some(pace) = &mut self.pace {
            pace.sent(bytes);
        }
    }
}

fn written(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Ok(0) => Err(io::ErrorKind::WriteZero.into()),
        result => result,
    }
}

/// A tunnel in the extensions of an answer, which must be `Clone`. Taken out once.
#[derive(Clone)]
struct Attached(Arc<Mutex<Option<Box<Tunnel>>>>);

impl Tunnel {
    /// Gives it to the connection that this answer, a 101, goes out on. Where another answer goes
    /// out in the end the tunnel is dropped with this one.
    pub(crate) fn attach(self, response: &mut Response<Body>) {
        response.extensions_mut().insert(self.log.clone());
        let attached = Attached(Arc::new(Mutex::new(Some(Box::new(self)))));
        response.extensions_mut().insert(attached);
    }

    /// The tunnel of an answer.
    pub(crate) fn attached_to(extensions: &mut Extensions) -> Option<Box<Self>> {
        let Attached(slot) = extensions.remove()?;
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        slot.take()
    }
}

/// The client's end of a tunnel that was asked for by an extended CONNECT (RFC 8441, 4).
pub(crate) struct Http2End {
    upgraded: OnUpgrade,
    tasks: NewTasks,
}

impl Http2End {
    /// Out of the extensions of the request.
    pub(crate) fn of(extensions: &mut Extensions) -> Option<Self> {
        Some(Self { upgraded: extensions.remove()?, tasks: extensions.remove()? })
    }

    /// Carries bytes once the answer, a 200, is on its way. Where another goes out in the end
    /// nothing is carried.
    pub(crate) fn connect(self, mut tunnel: Tunnel, connection: &Arc<Connection>) {
        let (peer, in_flight) = (connection.peer, connection.go_on());
        // The tunnel has a clock of its own.
        let waits = Waits::new(connection);
        waits.set_source(true);
        let Self { upgraded, tasks } = self;
        tasks.execute(async move {
            let Ok(mut client) = upgraded.await else { return };
            if let Err(error) = carry(&mut tunnel, &mut client).await {
                debug!(%peer, error = %text_of(&error), "tunnel ended early");
            }
            drop((waits, in_flight));
        });
    }
}

/// Carries bytes until both sides have ended, one breaks, or none has said anything for too long.
async fn carry(
    tunnel: &mut Tunnel,
    client: &mut (impl Read + Write + Unpin),
) -> Result<(), Broken> {
    let mut tick = pin!(sleep(tunnel.tick()));
    let (mut carried, mut moved) = (tunnel.carried(), Instant::now());
    poll_fn(|cx| {
        if let Poll::Ready(ended) = tunnel.poll(client, cx) {
            return Poll::Ready(ended);
        }
        while tick.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if tunnel.carried() != carried || tunnel.is_held_back() {
                (carried, moved) = (tunnel.carried(), now);
            } else if now - moved >= tunnel.idle {
                return Poll::Ready(Err(Broken::Idle));
            }
            tick.as_mut().reset(now + tunnel.tick());
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests;
