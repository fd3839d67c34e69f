//! The socket to an upstream server: TCP or Unix, with TLS or without, its bytes counted.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use rustix::net::{RecvFlags, recv};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};

use super::hub::Hub;
use crate::tls::upstream::TlsStream;

/// A socket to an upstream server.
pub(crate) enum Socket {
    /// A connection over TCP.
    Tcp(TcpStream),
    /// A connection to a Unix socket.
    Unix(UnixStream),
}

impl Socket {
    /// Whether nothing has come and the other side has not closed.
    fn is_silent(&self) -> bool {
        let fd: BorrowedFd<'_> = match self {
            Self::Tcp(tcp) => tcp.as_fd(),
            Self::Unix(unix) => unix.as_fd(),
        };
        let mut one = [0_u8; 1];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        matches!(recv(fd, one.as_mut_slice(), flags), Err(rustix::io::Errno::AGAIN))
    }
}

macro_rules! on_socket {
    ($socket:expr, $inner:ident => $call:expr) => {
        match $socket {
            Socket::Tcp($inner) => $call,
            Socket::Unix($inner) => $call,
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        on_socket!(self.get_mut(), inner => Pin::new(inner).poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        on_socket!(self.get_mut(), inner => Pin::new(inner).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on_socket!(self.get_mut(), inner => Pin::new(inner).poll_write_vectored(cx, parts))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_socket!(self.get_mut(), inner => Pin::new(inner).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_socket!(self.get_mut(), inner => Pin::new(inner).poll_shutdown(cx))
    }
}

/// What is spoken over.
pub(crate) enum Transport {
    /// The socket as it is.
    Plain(Socket),
    /// TLS over it.
    Tls(Box<TlsStream>),
}

macro_rules! on_transport {
    ($transport:expr, $inner:ident => $call:expr) => {
        match $transport {
            Transport::Plain($inner) => $call,
            Transport::Tls(boxed) => {
                let $inner = &mut **boxed;
                $call
            }
        }
    };
}

/// A transport whose bytes are counted.
pub(super) struct Wire {
    transport: Transport,
    hub: Arc<Hub>,
    /// Whether an answer may still be there when the other side takes nothing any more.
    answers_early: bool,
}

impl Wire {
    pub(super) fn new(transport: Transport, hub: Arc<Hub>) -> Self {
        Self { transport, hub, answers_early: false }
    }

    /// For a connection with one exchange at a time. A server may answer and close before it has
    /// read all of a request (RFC 9112, 9.6): what it does not take is dropped then, and its answer
    /// is read.
    pub(super) fn answering_early(transport: Transport, hub: Arc<Hub>) -> Self {
        Self { answers_early: true, ..Self::new(transport, hub) }
    }

    /// What came of writing `length` bytes.
    fn written(&mut self, result: io::Result<usize>, length: usize) -> io::Result<usize> {
        match result {
            Ok(sent) => {
                self.hub.note_sent(sent);
                Ok(sent)
            }
            Err(error) if self.answers_early && is_closed(&error) => {
                self.hub.set_deaf();
                Ok(length)
            }
            Err(error) => Err(error),
        }
    }
}

fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        if let (true, Transport::Plain(socket)) = (wire.hub.is_probing(), &wire.transport) {
            // The kernel knows earlier than the reactor.
            return match socket.is_silent() {
                true => Poll::Pending,
                false => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
            };
        }
        let before = buf.filled().len();
        ready!(on_transport!(&mut wire.transport, inner => Pin::new(inner).poll_read(cx, buf)))?;
        wire.hub.note_received(buf.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        if wire.hub.is_deaf() {
            return Poll::Ready(Ok(buf.len()));
        }
        let result = ready!(
            on_transport!(&mut wire.transport, inner => Pin::new(inner).poll_write(cx, buf))
        );
        Poll::Ready(wire.written(result, buf.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        let length = parts.iter().map(|part| part.len()).sum();
        if wire.hub.is_deaf() {
            return Poll::Ready(Ok(length));
        }
        let result = ready!(on_transport!(
            &mut wire.transport, inner => Pin::new(inner).poll_write_vectored(cx, parts)
        ));
        Poll::Ready(wire.written(result, length))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Plain(_) => true,
            Transport::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        if wire.hub.is_deaf() {
            return Poll::Ready(Ok(()));
        }
        let result =
            ready!(on_transport!(&mut wire.transport, inner => Pin::new(inner).poll_flush(cx)));
        Poll::Ready(result.or_else(|error| wire.written(Err(error), 0).map(|_| ())))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_transport!(&mut self.get_mut().transport, inner => Pin::new(inner).poll_shutdown(cx))
    }
}
