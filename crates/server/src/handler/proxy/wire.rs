//! The socket to an upstream server: TCP or Unix, with TLS or without.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    pin::Pin,
    task::{Context, Poll, Waker},
};

use rustix::net::{RecvFlags, recv};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};

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

impl Transport {
    /// Whether nothing has come that nobody asked for, and the other side has not closed. Asks the
    /// kernel where that is told to; what came just before is known from the reactor.
    pub(super) fn is_silent(&mut self, ask: bool) -> bool {
        let mut one = [0_u8; 1];
        match self {
            Self::Plain(socket) if ask => socket.is_silent(),
            Self::Plain(socket) => {
                let read = on_socket!(socket, inner => inner.try_read(&mut one));
                matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
            }
            // Beside content TLS has messages of its own.
            Self::Tls(tls) => {
                let mut cx = Context::from_waker(Waker::noop());
                Pin::new(&mut **tls).poll_read(&mut cx, &mut ReadBuf::new(&mut one)).is_pending()
            }
        }
    }

    /// Whether what was written may wait here for a flush.
    pub(super) fn holds_back(&self) -> bool {
        matches!(self, Self::Tls(_))
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        on_transport!(self.get_mut(), inner => Pin::new(inner).poll_read(cx, buf))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        on_transport!(self.get_mut(), inner => Pin::new(inner).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on_transport!(self.get_mut(), inner => Pin::new(inner).poll_write_vectored(cx, parts))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(_) => true,
            Self::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_transport!(self.get_mut(), inner => Pin::new(inner).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_transport!(self.get_mut(), inner => Pin::new(inner).poll_shutdown(cx))
    }
}
