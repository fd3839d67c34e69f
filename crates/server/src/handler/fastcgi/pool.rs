//! Connections to programs: opened, kept between requests, given up.
//!
//! A process of php-fpm serves one connection at a time, and a connection without a request keeps
//! it from everybody else. So they are kept for a short time only, all routes and sites that name
//! one program share its connections, and none is kept while a request seems to wait for a process.

use std::{
    collections::HashMap,
    future::Future as _,
    io::{self, IoSlice},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bindery_model::upstream::ServerAddress;
use bytes::BytesMut;
use rustix::net::RecvFlags;
use tokio::{
    io::{AsyncReadExt as _, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::{Instant, Sleep, sleep},
};

use super::{exchange::Exchange, share::Gathered};
use crate::limits::{FASTCGI_CONNECT_RETRY_DELAY, FASTCGI_FIRST_READ_BYTES, FASTCGI_KEPT_FOR};

/// All programs that are in use.
#[derive(Debug, Default)]
pub struct Programs {
    programs: Mutex<HashMap<ServerAddress, Weak<Program>>>,
    /// What content without a known length takes until it is whole.
    pub(super) gathered: Arc<Gathered>,
}

impl Programs {
    /// The program at an address, the same for all who ask while one of them holds it.
    pub(super) fn at(&self, address: &ServerAddress) -> Arc<Program> {
        let mut programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(program) = programs.get(address).and_then(Weak::upgrade) {
            return program;
        }
        let program = Arc::new(Program {
            address: address.clone(),
            idle: Mutex::default(),
            starving: AtomicU32::new(0),
        });
        programs.insert(address.clone(), Arc::downgrade(&program));
        program
    }

    /// Closes connections that have not been used for long, and forgets programs that no
    /// configuration names any more. To be called now and then.
    pub(crate) fn sweep(&self) {
        let mut in_use = Vec::new();
        {
            let mut programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
            programs.retain(|_, program| match program.upgrade() {
                Some(program) => {
                    in_use.push(program);
                    true
                }
                None => false,
            });
        }
        let now = Instant::now();
        for program in in_use {
            program.close_idle(|link| now - link.idle_since >= FASTCGI_KEPT_FOR);
        }
    }
}

/// A program, by where it listens.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) address: ServerAddress,
    /// Connections without a request, the last used one last. Boxed, as they are everywhere: they
    /// are moved from hand to hand.
    #[allow(clippy::vec_box, reason = "else each use would allocate")]
    idle: Mutex<Vec<Box<Link>>>,
    /// Requests that may wait for a process.
    starving: AtomicU32,
}

impl Program {
    /// A connection that was used before. With `surely`, the kernel is asked whether the program
    /// has closed it; otherwise what is known already decides.
    pub(super) fn kept(&self, surely: bool) -> Option<Box<Link>> {
        loop {
            let link = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
            if link.stream.is_alive(surely) {
                return Some(link);
            }
        }
    }

    /// A new connection, whatever time that takes.
    pub(super) async fn connect(&self) -> io::Result<Box<Link>> {
        let stream = match &self.address {
            ServerAddress::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                Stream::Tcp(stream)
            }
            ServerAddress::Unix(path) => {
                let mut delay = FASTCGI_CONNECT_RETRY_DELAY;
                loop {
                    match UnixStream::connect(path).await {
                        Ok(stream) => break Stream::Unix(stream),
                        // Its queue is full, and nobody tells when it no longer is.
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                            sleep(delay).await;
                            delay = (delay * 2).min(16 * FASTCGI_CONNECT_RETRY_DELAY);
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
        };
        let now = Instant::now();
        Ok(Box::new(Link {
            stream,
            unread: BytesMut::new(),
            timer: Box::pin(sleep(Duration::ZERO)),
            used: false,
            idle_since: now,
        }))
    }

    /// Keeps the connection of an exchange that is over, if another request can use it.
    pub(super) fn take_back(&self, exchange: Exchange, idle_max: u32) {
        if let Some(link) = exchange.into_link() {
            self.keep(link, idle_max);
        }
    }

    /// Takes back a connection whose request is over, both ways. Of those without a request up to
    /// `idle_max` are kept.
    pub(super) fn keep(&self, mut link: Box<Link>, idle_max: u32) {
        if self.starving.load(Ordering::Acquire) > 0 || !link.unread.is_empty() {
            return;
        }
        if link.unread.capacity() > FASTCGI_FIRST_READ_BYTES {
            link.unread = BytesMut::new();
        }
        link.used = true;
        link.idle_since = Instant::now();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < idle_max as usize {
            idle.push(link);
        }
    }

    /// Says that a request may wait for a process until the answer is dropped: connections without
    /// a request are closed, and none is kept.
    pub(super) fn starve(&self) -> Starving<'_> {
        self.starving.fetch_add(1, Ordering::AcqRel);
        self.close_idle(|_| true);
        Starving(self)
    }

    fn close_idle(&self, which: impl Fn(&Link) -> bool) {
        let closed: Vec<_> = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.extract_if(.., |link| which(link)).collect()
        };
        // System calls, so not under the lock.
        drop(closed);
    }
}

/// A request that may wait for a process.
pub(super) struct Starving<'a>(&'a Program);

impl Drop for Starving<'_> {
    fn drop(&mut self) {
        self.0.starving.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A connection to a program.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) stream: Stream,
    /// What has come and is not understood yet.
    pub(super) unread: BytesMut,
    /// For who waits on it. Kept, because setting one anew is cheaper than making one.
    pub(super) timer: Pin<Box<Sleep>>,
    /// Whether it has served a request.
    pub(super) used: bool,
    idle_since: Instant,
}

impl Link {
    /// Reads up to so many bytes behind those that are not understood yet; 0 at the end.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        bytes: usize,
    ) -> Poll<io::Result<usize>> {
        self.unread.reserve(bytes);
        let unread = &mut self.unread;
        match &mut self.stream {
            Stream::Tcp(stream) => pin!(stream.read_buf(unread)).poll(cx),
            Stream::Unix(stream) => pin!(stream.read_buf(unread)).poll(cx),
        }
    }
}

/// The socket of a connection.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // Requests without content are one piece, which the kernel takes more easily.
        match (self, pieces) {
            (Self::Tcp(stream), [one]) => Pin::new(stream).poll_write(cx, one),
            (Self::Tcp(stream), pieces) => Pin::new(stream).poll_write_vectored(cx, pieces),
            (Self::Unix(stream), [one]) => Pin::new(stream).poll_write(cx, one),
            (Self::Unix(stream), pieces) => Pin::new(stream).poll_write_vectored(cx, pieces),
        }
    }

    /// Neither at its end nor with anything to say unasked.
    fn is_alive(&self, surely: bool) -> bool {
        let mut byte = [0];
        let quiet = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
        if !surely {
            return match self {
                Self::Tcp(stream) => stream.try_read(&mut byte).is_err_and(|error| quiet(&error)),
                Self::Unix(stream) => stream.try_read(&mut byte).is_err_and(|error| quiet(&error)),
            };
        }
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let peeked = match self {
            Self::Tcp(stream) => rustix::net::recv(stream, &mut byte, flags),
            Self::Unix(stream) => rustix::net::recv(stream, &mut byte, flags),
        };
        peeked.is_err_and(|error| error == rustix::io::Errno::AGAIN)
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use tokio::net::UnixListener;

    use super::*;

    fn program() -> (TempDir, UnixListener, Programs, Arc<Program>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let programs = Programs::default();
        let program = programs.at(&ServerAddress::Unix(path));
        (folder, listener, programs, program)
    }

    #[tokio::test]
    async fn all_who_name_a_program_share_it_as_long_as_one_does() {
        let (_folder, _listener, programs, program) = program();
        assert!(Arc::ptr_eq(&program, &programs.at(&program.address)));
        let address = program.address.clone();
        program.keep(program.connect().await.unwrap(), 8);
        drop(program);
        programs.sweep();
        assert!(programs.programs.lock().unwrap().is_empty());
        assert!(programs.at(&address).kept(true).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_kept_for_its_time_and_no_longer() {
        let (_folder, _listener, programs, program) = program();
        program.keep(program.connect().await.unwrap(), 8);
        tokio::time::advance(FASTCGI_KEPT_FOR - Duration::from_millis(1)).await;
        programs.sweep();
        let link = program.kept(true).unwrap();
        program.keep(link, 8);
        tokio::time::advance(FASTCGI_KEPT_FOR).await;
        programs.sweep();
        assert!(program.kept(true).is_none());
    }

    #[tokio::test]
    async fn no_more_are_kept_than_allowed_and_none_while_a_request_starves() {
        let (_folder, _listener, _programs, program) = program();
        for _ in 0..3 {
            let link = program.connect().await.unwrap();
            program.keep(link, 2);
        }
        assert_eq!(program.idle.lock().unwrap().len(), 2);
        let starving = program.starve();
        assert_eq!(program.idle.lock().unwrap().len(), 0);
        program.keep(program.connect().await.unwrap(), 2);
        assert!(program.kept(true).is_none());
        drop(starving);
        program.keep(program.connect().await.unwrap(), 2);
        assert!(program.kept(true).is_some());
    }

    #[tokio::test]
    async fn what_the_program_closed_or_said_unasked_is_not_used_again() {
        use tokio::io::AsyncWriteExt as _;
        let (_folder, listener, _programs, program) = program();
        for says in [b"".as_slice(), b"x"] {
            let link = program.connect().await.unwrap();
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(says).await.unwrap();
            let held = (!says.is_empty()).then_some(stream);
            program.keep(link, 8);
            assert!(program.kept(true).is_none());
            drop(held);
        }
    }
}
