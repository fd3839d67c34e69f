//! The byte stream of a connection, with TLS inside or without.
//!
//! What makes it ours instead of a ready-made one: writes are gathered while the connection is
//! polled and leave in one go when the poll is over. A response of several frames, the session
//! ticket and the close_notify then share records and system calls. Who polls the connection must
//! call [`Stream::poll_send`] afterwards; nothing else sends.

use std::{
    borrow::Cow,
    fmt, io,
    io::{BufRead as _, Read, Write},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::FutureExt as _;
use hyper::rt::ReadBufCursor;
use rustls::ServerConnection;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
    time::Instant,
};

use crate::{
    http::framing::{Framing, Passed, Refusal},
    limits::{
        FAST_CLIENT_BYTES, FAST_CLIENT_TIME, KERNEL_UNSENT_FAST_BYTES, PLAIN_READ_BYTES,
        TLS_WRITE_BYTES_MAX, TURN_RECEIVED_BYTES_MAX, TURN_SENT_BYTES_MAX, UNSENT_BYTES_MAX,
    },
};

/// A handle on the stream. One is given to hyper, the other stays with who drives the connection.
#[derive(Clone)]
pub struct Stream(Arc<Mutex<Wire>>);

struct Wire {
    tcp: TcpStream,
    layer: Layer,
    /// Bytes that were read from the peer and given back, or wait for room; they come first.
    unread: Bytes,
    /// What is read is handed on only as far as it is HTTP/1.
    framing: Framing,
    /// What was written and not yet handed to the layer below: plain text above TLS, or what goes
    /// out as it is.
    unsent: Vec<u8>,
    /// How much the last turn wrote, which the next will write too: a buffer of that size need
    /// not grow.
    expected: usize,
    /// Whether the socket refused bytes and has not taken them since.
    blocked: bool,
    turn: Turn,
    /// Whether the last write was refused: who writes holds bytes that come next.
    refused: bool,
    progress: Progress,
    pace: Pace,
}

/// Whether the client takes much, so that the kernel may hold more for it.
enum Pace {
    /// What had been sent, in bytes, and when.
    Since(u64, Instant),
    Fast,
}

/// What has passed, in bytes, since the connection was polled.
#[derive(Clone, Copy, Default)]
struct Turn {
    received: usize,
    written: usize,
}

/// Whether so much is enough for one turn: the others of this thread come first, and then this
/// connection again.
fn is_enough(bytes: usize, max: usize, cx: &Context<'_>) -> bool {
    let enough = bytes >= max;
    if enough {
        cx.waker().wake_by_ref();
    }
    enough
}

enum Layer {
    Plain,
    Tls(Box<ServerConnection>),
}

/// How much has passed, in bytes on the socket. Who does not move it is idle, slow or hostile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Received.
    pub received: u64,
    /// Sent.
    pub sent: u64,
}

impl Stream {
    /// A stream without TLS.
    #[must_use]
    pub fn plain(tcp: TcpStream) -> Self {
        Self::new(tcp, Layer::Plain)
    }

    /// A stream over a finished handshake. What the handshake left to send goes out with the
    /// first answer.
    #[must_use]
    pub fn tls(tcp: TcpStream, mut connection: ServerConnection) -> Self {
        // What waits to be sent is bounded here, in `poll_write`.
        connection.set_buffer_limit(None);
        Self::new(tcp, Layer::Tls(Box::new(connection)))
    }

    fn new(tcp: TcpStream, layer: Layer) -> Self {
        let wire = Wire {
            tcp,
            layer,
            unread: Bytes::new(),
            framing: Framing::default(),
            unsent: Vec::new(),
            expected: 0,
            blocked: false,
            turn: Turn::default(),
            refused: false,
            progress: Progress::default(),
            pace: Pace::Since(0, Instant::now()),
        };
        Self(Arc::new(Mutex::new(wire)))
    }

    /// Only this connection's own task locks it, so nobody ever waits.
    fn wire(&self) -> MutexGuard<'_, Wire> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends all that was written. `Pending` when the peer does not take it.
    pub fn poll_send(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut wire = self.wire();
        wire.turn = Turn::default();
        wire.poll_send(cx)
    }

    /// Ready when there is something to read, or nothing will come any more.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire().poll_readable(cx)
    }

    /// Ready when the peer has closed its side, or is gone. Bytes that wait to be read hide it.
    pub fn poll_peer_closed(&self, cx: &mut Context<'_>) -> Poll<()> {
        let wire = self.wire();
        if ready!(wire.tcp.poll_read_ready(cx)).is_err() {
            return Poll::Ready(());
        }
        match wire.tcp.ready(Interest::READABLE).now_or_never() {
            Some(Ok(readiness)) if readiness.is_read_closed() => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }

    /// From now on the end of the connection is a reset, which nobody takes for the end of an
    /// answer.
    pub fn abort(&self) {
        // It fails on a socket that is closed already, and then there is nothing to do.
        drop(self.wire().tcp.set_zero_linger());
    }

    /// Tells the peer that nothing follows and closes the sending side.
    pub fn poll_close(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire().poll_close(cx)
    }

    /// Reads what still comes and throws it away; ready at its end. Closing a socket with unread
    /// bytes would reset the connection and take the answer from the peer (RFC 9112, 9.6).
    pub fn poll_discard(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut wire = self.wire();
        let mut scratch = [0; PLAIN_READ_BYTES];
        loop {
            if ready!(wire.poll_receive_raw(cx, &mut scratch))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Gives back bytes that were read and not used.
    pub fn unread(&self, bytes: Bytes) {
        let mut wire = self.wire();
        wire.unread = match wire.unread.is_empty() {
            true => bytes,
            false => [bytes, std::mem::take(&mut wire.unread)].concat().into(),
        };
    }

    /// From now on only what is HTTP/1 to the letter is handed on.
    pub fn begin_framing(&self) {
        self.wire().framing = Framing::http1();
    }

    /// From now on frames of HTTP/2 are counted.
    pub fn begin_frames(&self) {
        self.wire().framing = Framing::http2();
    }

    /// From now on all is handed on as it comes: to a tunnel.
    pub fn end_framing(&self) {
        let mut wire = self.wire();
        let held = wire.framing.end();
        if !held.is_empty() {
            wire.unread = [std::mem::take(&mut wire.unread), held].concat().into();
        }
    }

    /// What was refused, so that nothing is read any more.
    #[must_use]
    pub fn refused(&self) -> Option<Refusal> {
        self.wire().framing.refused().map(|(refusal, _)| refusal)
    }

    /// Whether the peer has sent whole messages only, and all of them were read.
    #[must_use]
    pub fn is_between_messages(&self) -> bool {
        let wire = self.wire();
        wire.unread.is_empty() && wire.framing.is_between()
    }

    /// Bytes of a head that is not complete, which nobody has seen.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.wire().framing.held_bytes()
    }

    /// Writes between two writes of who else writes here. Whether it was written: not where that
    /// one has bytes left that come first, nor to a peer that takes nothing.
    pub(crate) fn interject(&self, bytes: &[u8]) -> bool {
        let mut wire = self.wire();
        let may = !wire.refused && wire.unsent.len() + bytes.len() <= UNSENT_BYTES_MAX;
        if may {
            wire.unsent.extend_from_slice(bytes);
        }
        may
    }

    /// What has passed so far.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.wire().progress
    }

    /// Whether the last write was refused, so that who writes still holds bytes.
    #[must_use]
    pub fn is_owed_a_write(&self) -> bool {
        self.wire().refused
    }

    /// Whether everything written was sent, and what was refused came again.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        let wire = self.wire();
        wire.unsent.is_empty() && !wire.layer.wants_write() && !wire.refused
    }
}

impl Layer {
    fn wants_write(&self) -> bool {
        match self {
            Self::Plain => false,
            Self::Tls(tls) => tls.wants_write(),
        }
    }
}

impl Wire {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.unread.is_empty() {
            return Poll::Ready(Ok(()));
        }
        loop {
            match &mut self.layer {
                Layer::Plain => return self.tcp.poll_read_ready(cx),
                Layer::Tls(tls) => match tls.reader().fill_buf() {
                    Ok(_) => return Poll::Ready(Ok(())),
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                        return Poll::Ready(Ok(()));
                    }
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                        return Poll::Ready(Err(error));
                    }
                    Err(_) => ready!(self.poll_receive(cx))?,
                },
            }
        }
    }

    /// Reads plain text into `buf`; nothing at the end of the stream.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if !self.unread.is_empty() {
                let bytes = self.unread.split_to(self.unread.len().min(buf.remaining()));
                buf.put_slice(&bytes);
                return Poll::Ready(Ok(()));
            }
            match self.framing.refused() {
                None => {}
                Some((refusal, true)) => {
                    self.go_away();
                    let error = io::Error::new(io::ErrorKind::InvalidData, refusal.reason());
                    return Poll::Ready(Err(error));
                }
                // Nothing comes any more. An end would look like the client's.
                Some((_, false)) => return Poll::Pending,
            }
            // Nothing is handed on, but more was read: of a head that is not complete.
            if ready!(self.poll_read_some(cx, buf))? {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Says why nothing more is read, where HTTP/2 is spoken. Not behind a frame of which a part is
    /// written: then the client sees the end alone.
    fn go_away(&mut self) {
        if let Some(frame) = self.framing.goaway().filter(|_| !self.refused) {
            self.unsent.extend_from_slice(&frame);
        }
    }

    /// Reads once. Whether there was anything to hand on, or the end.
    fn poll_read_some(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBufCursor<'_>,
    ) -> Poll<io::Result<bool>> {
        loop {
            let tls = match &mut self.layer {
                Layer::Tls(tls) => tls,
                Layer::Plain => {
                    let mut scratch = [0; PLAIN_READ_BYTES];
                    let room = buf.remaining().min(scratch.len());
                    let scratch = scratch.get_mut(..room).unwrap_or_default();
                    let read = ready!(self.poll_receive_raw(cx, scratch))?;
                    let bytes = scratch.get(..read).unwrap_or_default();
                    return Poll::Ready(Ok(hand_on(
                        &mut self.framing,
                        &mut self.unread,
                        bytes,
                        buf,
                    )));
                }
            };
            let mut reader = tls.reader();
            match reader.fill_buf() {
                Ok(bytes) => {
                    let bytes = bytes.get(..buf.remaining()).unwrap_or(bytes);
                    let any = hand_on(&mut self.framing, &mut self.unread, bytes, buf);
                    let used = bytes.len();
                    reader.consume(used);
                    return Poll::Ready(Ok(any));
                }
                // An end without close_notify. A request says itself where it ends, so nothing
                // that was cut off can pass for whole (RFC 9112, 9.8).
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Poll::Ready(Ok(true));
                }
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                    return Poll::Ready(Err(error));
                }
                Err(_) => ready!(self.poll_receive(cx))?,
            }
        }
    }

    /// Takes what the socket has into TLS.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if is_enough(self.turn.received, TURN_RECEIVED_BYTES_MAX, cx) {
            return Poll::Pending;
        }
        let Layer::Tls(tls) = &mut self.layer else { return Poll::Ready(Ok(())) };
        match tls.read_tls(&mut PollIo { tcp: &mut self.tcp, cx }) {
            Ok(received) => {
                self.turn.received += received;
                self.progress.received += received as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            Err(error) => return Poll::Ready(Err(error)),
        }
        Poll::Ready(tls.process_new_packets().map(|_| ()).map_err(|error| {
            // The alert that tells the peer why is sent with what else is waiting.
            io::Error::new(io::ErrorKind::InvalidData, error)
        }))
    }

    fn poll_receive_raw(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if is_enough(self.turn.received, TURN_RECEIVED_BYTES_MAX, cx) {
            return Poll::Pending;
        }
        let mut buf = ReadBuf::new(buf);
        ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut buf))?;
        self.turn.received += buf.filled().len();
        self.progress.received += buf.filled().len() as u64;
        Poll::Ready(Ok(buf.filled().len()))
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // Not for what was received: who sends without a pause would get no answer.
        if is_enough(self.turn.written, TURN_SENT_BYTES_MAX, cx) {
            self.refused = true;
            return Poll::Pending;
        }
        let written = self.poll_take(cx, parts);
        self.refused = written.is_pending();
        if let Poll::Ready(Ok(bytes)) = &written {
            self.turn.written += bytes;
            self.framing.note_sent(*bytes);
        }
        written
    }

    fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.blocked || self.unsent.len() >= UNSENT_BYTES_MAX {
            ready!(self.poll_send(cx))?;
        }
        let length: usize = parts.iter().map(|part| part.len()).sum();
        // What is large gains nothing by waiting and loses by being copied.
        if length >= UNSENT_BYTES_MAX {
            return self.poll_write_large(cx, parts);
        }
        if self.unsent.is_empty() {
            self.unsent.reserve(length.max(self.expected));
        }
        for part in parts {
            self.unsent.extend_from_slice(part);
        }
        Poll::Ready(Ok(length))
    }

    /// Writes past the gathered bytes, which go first.
    fn poll_write_large(
        &mut self,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.layer.wants_write() || !self.unsent.is_empty() {
            ready!(self.poll_send(cx))?;
        }
        match &mut self.layer {
            Layer::Tls(tls) => {
                // All that is taken is encrypted at once and held until it is sent.
                let parts = beginning(parts, TLS_WRITE_BYTES_MAX);
                Poll::Ready(tls.writer().write_vectored(&parts))
            }
            Layer::Plain => {
                let bytes = ready!(Pin::new(&mut self.tcp).poll_write_vectored(cx, parts))?;
                self.progress.sent += bytes as u64;
                Poll::Ready(Ok(bytes))
            }
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.note_pace();
        if !self.unsent.is_empty() {
            self.expected = self.unsent.len();
        }
        let Self { tcp, layer, unsent, progress, .. } = self;
        let mut io = PollIo { tcp, cx };
        match layer {
            Layer::Plain => {
                let mut sent = 0;
                while let Some(rest @ [_, ..]) = unsent.get(sent..) {
                    match io.write(rest) {
                        Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                        Ok(bytes) => sent += bytes,
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                        Err(error) => return Poll::Ready(Err(error)),
                    }
                }
                progress.sent += sent as u64;
                unsent.drain(..sent);
            }
            Layer::Tls(tls) => {
                if !unsent.is_empty() {
                    tls.writer().write_all(unsent)?;
                    unsent.clear();
                }
                while tls.wants_write() {
                    match tls.write_tls(&mut io) {
                        Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                        Ok(bytes) => progress.sent += bytes as u64,
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                        Err(error) => return Poll::Ready(Err(error)),
                    }
                }
            }
        }
        self.blocked = !unsent.is_empty() || layer.wants_write();
        if !self.blocked {
            // An idle connection keeps no buffer.
            self.unsent = Vec::new();
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }

    fn note_pace(&mut self) {
        let Pace::Since(sent, since) = self.pace else { return };
        if self.progress.sent - sent < FAST_CLIENT_BYTES {
            return;
        }
        let now = Instant::now();
        self.pace = match now - since < FAST_CLIENT_TIME {
            true => Pace::Fast,
            false => Pace::Since(self.progress.sent, now),
        };
        if let Pace::Fast = self.pace {
            // Without it, it is only slower.
            drop(SockRef::from(&self.tcp).set_tcp_notsent_lowat(KERNEL_UNSENT_FAST_BYTES));
        }
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Layer::Tls(tls) = &mut self.layer {
            if !self.unsent.is_empty() {
                tls.writer().write_all(&self.unsent)?;
                self.unsent.clear();
            }
            // Said once: rustls ignores it the second time.
            tls.send_close_notify();
        }
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

/// Hands on what is good of `bytes`: into `buf`, or `unread` where it may not have room. Whether that
/// was anything, or the end.
fn hand_on(
    framing: &mut Framing,
    unread: &mut Bytes,
    bytes: &[u8],
    buf: &mut ReadBufCursor<'_>,
) -> bool {
    if framing.is_off() || bytes.is_empty() {
        buf.put_slice(bytes);
        return true;
    }
    let any = match framing.take(bytes) {
        Passed::Prefix(good) => {
            buf.put_slice(bytes.get(..good).unwrap_or_default());
            good > 0
        }
        Passed::Held(good) => {
            *unread = good;
            false
        }
    };
    if let Some((refusal, false)) = framing.refused() {
        // In the place of a head that was refused comes one that says so. All before it is read
        // first, and answered first.
        *unread = match unread.is_empty() {
            true => refusal.request(),
            false => [std::mem::take(unread), refusal.request()].concat().into(),
        };
    }
    any
}

/// The first `bytes` of some parts, or all.
fn beginning<'a>(parts: &'a [io::IoSlice<'a>], mut bytes: usize) -> Cow<'a, [io::IoSlice<'a>]> {
    if parts.iter().map(|part| part.len()).sum::<usize>() <= bytes {
        return Cow::Borrowed(parts);
    }
    let mut taken = Vec::with_capacity(parts.len());
    for part in parts {
        let part = part.get(..bytes).unwrap_or(part);
        bytes -= part.len();
        taken.push(io::IoSlice::new(part));
    }
    Cow::Owned(taken)
}

/// The socket as rustls wants it: `Pending` becomes `WouldBlock`, and the waker stays registered.
pub(super) struct PollIo<'a, 'b> {
    pub(super) tcp: &'a mut TcpStream,
    pub(super) cx: &'a mut Context<'b>,
}

fn would_block<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl Read for PollIo<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut buf = ReadBuf::new(buf);
        would_block(Pin::new(&mut *self.tcp).poll_read(self.cx, &mut buf))?;
        Ok(buf.filled().len())
    }
}

impl Write for PollIo<'_, '_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        would_block(Pin::new(&mut *self.tcp).poll_write(self.cx, buf))
    }

    fn write_vectored(&mut self, parts: &[io::IoSlice<'_>]) -> io::Result<usize> {
        // Most answers are one record, and a list of one costs the kernel more than the one.
        if let [one] = parts {
            return self.write(one);
        }
        would_block(Pin::new(&mut *self.tcp).poll_write_vectored(self.cx, parts))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl hyper::rt::Read for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.wire().poll_read(cx, &mut buf)
    }
}

impl hyper::rt::Write for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.wire().poll_write(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.wire().poll_write(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Ready at once: what was written leaves when the poll is over.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire().poll_close(cx)
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}
