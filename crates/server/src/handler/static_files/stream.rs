//! A part of a file on its way to a peer: read when the peer can take more, never ahead.
//!
//! What the page cache holds is read at once, on the reactor's thread (`RWF_NOWAIT`). Only what
//! must come from the disk goes through the blocking pool.
//!
//! Over HTTP/1.1 a peer that takes all it is given gets it in large bursts: it then sleeps and is
//! woken less often, which is a third of the cost of a large file. A burst is memory that a peer can
//! make us hold, so there are only so many ([`limits::FILE_BURSTS_MAX`]).

use std::{
    fmt,
    fs::File,
    future::Future,
    io::{self, IoSliceMut},
    os::unix::fs::FileExt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use rustix::io::{Errno, ReadWriteFlags};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::coop,
};

use super::{pool::OpenFile, representation::Stamp};
use crate::limits;

/// The bytes of a file from one offset on, exactly as many as were announced. If the file has
/// become shorter, or was written anew with the same length, the stream ends with an error before
/// its last byte, so that the connection is cut instead of lying. What was appended meanwhile is
/// not sent.
pub struct FileStream {
    file: Arc<OpenFile>,
    /// What the file was when it was announced.
    stamp: Stamp,
    offset: u64,
    remaining_bytes: u64,
    /// How much the next read takes at most. It doubles with each chunk that was taken, because a
    /// peer that takes nothing holds the first, on each of its streams.
    chunk_bytes: usize,
    reads: Reads,
    /// Held while much is read at once.
    burst: Option<OwnedSemaphorePermit>,
    reading: Option<Reading>,
    spare: Spare,
}

/// A read on the blocking pool: the buffer, and how much of it is filled.
type Reading = Pin<Box<dyn Future<Output = io::Result<(Vec<u8>, usize)>> + Send>>;

/// Where buffers wait for the next reads once their bytes are sent.
type Spare = Arc<Mutex<Vec<Vec<u8>>>>;

impl fmt::Debug for FileStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("FileStream")
            .field("offset", &self.offset)
            .field("remaining_bytes", &self.remaining_bytes)
            .finish_non_exhaustive()
    }
}

/// How a file is read.
#[derive(Clone, Debug)]
pub(super) struct Reads {
    /// Whether a read that may not wait is worth trying: for file systems that answer from the page
    /// cache.
    pub(super) at_once: bool,
    /// Whom to ask before much is read at once; nobody where that gains nothing.
    pub(super) bursts: Option<Arc<Semaphore>>,
}

impl FileStream {
    pub(super) fn new(
        file: Arc<OpenFile>,
        stamp: Stamp,
        offset: u64,
        length: u64,
        reads: Reads,
    ) -> Self {
        Self {
            file,
            stamp,
            offset,
            remaining_bytes: length,
            chunk_bytes: limits::FILE_FIRST_CHUNK_BYTES,
            reads,
            burst: None,
            reading: None,
            spare: Spare::default(),
        }
    }

    /// The bytes that are still to come.
    #[must_use]
    pub(crate) fn remaining_bytes(&self) -> u64 {
        self.remaining_bytes
    }

    /// The next bytes, or none at the end. After an error there is nothing more.
    pub(crate) fn poll_chunk(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Bytes>>> {
        if self.remaining_bytes == 0 {
            return Poll::Ready(None);
        }
        if self.reading.is_none() {
            // One large read counts as the many small ones that it stands for: others have a turn.
            for _ in 0..self.chunk_bytes / limits::FILE_CHUNK_BYTES {
                ready!(coop::poll_proceed(context)).made_progress();
            }
        }
        let (buffer, filled) = match ready!(self.poll_read(context)) {
            Ok(read) => read,
            Err(error) => {
                self.remaining_bytes = 0;
                return Poll::Ready(Some(Err(error)));
            }
        };
        self.offset += filled as u64;
        self.remaining_bytes = self.remaining_bytes.saturating_sub(filled as u64);
        self.chunk_bytes = self.next_chunk_bytes();
        let chunk = Chunk { buffer, filled, spare: Arc::clone(&self.spare) };
        Poll::Ready(Some(Ok(Bytes::from_owner(chunk))))
    }

    /// More than [`limits::FILE_CHUNK_BYTES`] at once only with a permit, which is given back with
    /// the stream. The last two chunks are ordinary ones: when the last is asked for, all that is
    /// larger has left this process, because a connection takes no chunk while it holds two.
    fn next_chunk_bytes(&mut self) -> usize {
        const USUAL: usize = limits::FILE_CHUNK_BYTES;
        let next = (self.chunk_bytes * 2).min(limits::FILE_BURST_BYTES);
        let tail = 2 * USUAL as u64;
        let before_tail = usize::try_from(self.remaining_bytes.saturating_sub(tail));
        let most = before_tail.unwrap_or(usize::MAX);
        if next <= USUAL || most <= USUAL {
            return next.min(USUAL);
        }
        if self.burst.is_none() {
            let bursts = self.reads.bursts.as_ref().map(Arc::clone);
            self.burst = bursts.and_then(|bursts| bursts.try_acquire_owned().ok());
        }
        if self.burst.is_some() { next.min(most) } else { USUAL }
    }

    /// A buffer and how much of it is filled: at least one byte, at most what remains.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<(Vec<u8>, usize)>> {
        if self.reading.is_none() {
            let mut buffer = self.buffer();
            if self.reads.at_once {
                match self.read_at_once(&mut buffer) {
                    Ok(filled) => {
                        let ending = self.ending(filled).then_some(self.stamp);
                        let file = self.file.get()?;
                        return Poll::Ready(checked(file, ending, buffer, filled));
                    }
                    Err(Errno::AGAIN | Errno::INTR) => {}
                    // Not this file system, or not this kernel. The other way shows real errors.
                    Err(_) => self.reads.at_once = false,
                }
            }
            let ending = self.ending(buffer.len()).then_some(self.stamp);
            self.reading = Some(read_on_pool(Arc::clone(&self.file), self.offset, buffer, ending));
        }
        let Some(reading) = &mut self.reading else {
            return Poll::Pending;
        };
        let read = ready!(reading.as_mut().poll(context));
        self.reading = None;
        Poll::Ready(read)
    }

    /// Whether a read of so many bytes would be the last.
    fn ending(&self, filled: usize) -> bool {
        filled as u64 >= self.remaining_bytes
    }

    /// The spare buffer or a new one, not longer than what remains. Its old bytes stay in it, which
    /// is why `Chunk` shows only what was filled.
    fn buffer(&self) -> Vec<u8> {
        let length = usize::try_from(self.remaining_bytes)
            .map_or(self.chunk_bytes, |remaining| remaining.min(self.chunk_bytes));
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match spare {
            Some(mut buffer) if buffer.len() >= length => {
                buffer.truncate(length);
                buffer
            }
            _ => vec![0; length],
        }
    }

    fn read_at_once(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        let mut buffers = [IoSliceMut::new(buffer)];
        rustix::io::preadv2(self.file.get()?, &mut buffers, self.offset, ReadWriteFlags::NOWAIT)
    }
}

/// What was read, unless it is nothing, or the last of a file that is another now than `ending`.
fn checked(
    file: &File,
    ending: Option<Stamp>,
    buffer: Vec<u8>,
    filled: usize,
) -> io::Result<(Vec<u8>, usize)> {
    let now = ending.map(|_| file.metadata()).transpose()?.as_ref().map(Stamp::of);
    let (shorter, rewritten) = match ending.zip(now) {
        Some((then, now)) => (now.length() < then.length(), now.is_rewritten(&then)),
        None => (false, false),
    };
    if shorter || filled == 0 {
        let error = "the file became shorter while it was sent";
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, error));
    }
    if rewritten {
        return Err(io::Error::other("the file was changed while it was sent"));
    }
    Ok((buffer, filled))
}

fn read_on_pool(
    file: Arc<OpenFile>,
    offset: u64,
    mut buffer: Vec<u8>,
    ending: Option<Stamp>,
) -> Reading {
    Box::pin(file.run("reading a file", move |file| {
        loop {
            match file.read_at(&mut buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read.and_then(|filled| checked(file, ending, buffer, filled)),
            }
        }
    }))
}

/// A buffer with bytes to send, which goes back to its stream when they are sent.
struct Chunk {
    buffer: Vec<u8>,
    filled: usize,
    spare: Spare,
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        self.buffer.get(..self.filled).unwrap_or_default()
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Seek as _, SeekFrom, Write as _},
        os::fd::OwnedFd,
    };

    use http_body_util::BodyExt;

    use super::{
        super::{pool::tests::open_file, root::Speed},
        *,
    };
    use crate::http::body::Body;

    fn content(length: usize) -> Vec<u8> {
        (0..length).map(|index| u8::try_from(index % 251).unwrap()).collect()
    }

    fn file_of(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file
    }

    fn stream(file: File, offset: u64, length: u64, at_once: bool) -> Body {
        let stamp = Stamp::of(&file.metadata().unwrap());
        let reads = Reads { at_once, bursts: None };
        let speed = if at_once { Speed::Local } else { Speed::Slow };
        Body::File(Box::new(FileStream::new(open_file(file, speed), stamp, offset, length, reads)))
    }

    async fn collect(mut body: Body) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(frame) = body.frame().await {
            all.extend_from_slice(&frame?.into_data().unwrap());
        }
        Ok(all)
    }

    #[tokio::test]
    async fn the_announced_bytes_are_sent_at_once_or_by_the_pool() {
        let content = content(3 * limits::FILE_CHUNK_BYTES + 17);
        let end = content.len();
        for at_once in [true, false] {
            for (offset, length) in [(0, end), (1, end - 1), (70_000, 3), (end - 1, 1), (5, 0)] {
                let file = file_of(&content);
                let body = stream(file, offset as u64, length as u64, at_once);
                assert_eq!(http_body::Body::size_hint(&body).exact(), Some(length as u64));
                assert_eq!(http_body::Body::is_end_stream(&body), length == 0);
                assert!(collect(body).await.unwrap() == content[offset..offset + length]);
            }
        }
    }

    #[tokio::test]
    async fn a_file_that_becomes_shorter_ends_the_body_with_an_error() {
        for at_once in [true, false] {
            let file = file_of(&content(3 * limits::FILE_CHUNK_BYTES));
            let same = file.try_clone().unwrap();
            let length = 3 * limits::FILE_CHUNK_BYTES as u64;
            let mut body = stream(file, 0, length, at_once);
            body.frame().await.unwrap().unwrap();
            same.set_len(100_000).unwrap();
            let mut sent = limits::FILE_FIRST_CHUNK_BYTES;
            let error = loop {
                match body.frame().await.unwrap() {
                    Ok(frame) => sent += frame.into_data().unwrap().len(),
                    Err(error) => break error,
                }
            };
            assert_eq!(sent, 100_000);
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
            assert!(body.frame().await.is_none());
        }
    }

    #[tokio::test]
    async fn a_file_that_is_written_anew_with_the_same_length_ends_the_body_with_an_error() {
        for at_once in [true, false] {
            let length = 3 * limits::FILE_CHUNK_BYTES;
            let mut file = file_of(&content(length));
            file.set_modified(std::time::UNIX_EPOCH).unwrap();
            let mut body = stream(file.try_clone().unwrap(), 0, length as u64, at_once);
            let mut sent = body.frame().await.unwrap().unwrap().into_data().unwrap().len();
            file.seek(SeekFrom::Start(0)).unwrap();
            file.write_all(b"other").unwrap();
            let error = loop {
                match body.frame().await.unwrap() {
                    Ok(frame) => sent += frame.into_data().unwrap().len(),
                    Err(error) => break error,
                }
            };
            assert!(sent < length, "the last bytes are not sent");
            assert_eq!(error.to_string(), "the file was changed while it was sent");
            assert!(body.frame().await.is_none());
        }
    }

    #[tokio::test]
    async fn a_file_that_grows_sends_what_was_announced() {
        let mut file = file_of(&content(1000));
        let body = stream(file.try_clone().unwrap(), 0, 1000, true);
        file.write_all(b"more").unwrap();
        assert_eq!(collect(body).await.unwrap(), content(1000));
    }

    #[tokio::test]
    async fn a_slow_peer_holds_no_more_than_the_chunks_it_was_given() {
        let file = file_of(&content(4 * limits::FILE_CHUNK_BYTES));
        let length = 4 * limits::FILE_CHUNK_BYTES as u64;
        let mut body = stream(file, 0, length, true);
        let mut first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(first.len(), limits::FILE_FIRST_CHUNK_BYTES, "who takes nothing holds little");
        while first.len() < limits::FILE_CHUNK_BYTES {
            first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        }
        let address = first.as_ptr();
        drop(first);
        let second = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(second.as_ptr(), address, "the buffer of the first is used again");
        assert_eq!(second.len(), limits::FILE_CHUNK_BYTES);
    }

    #[tokio::test]
    async fn only_so_many_streams_read_in_bursts_and_each_ends_with_ordinary_chunks() {
        const BURST: usize = limits::FILE_BURST_BYTES;
        let content = content(6 * BURST + 17);
        let bursts = Arc::new(Semaphore::new(1));
        let stream = || {
            let file = file_of(&content);
            let stamp = Stamp::of(&file.metadata().unwrap());
            let reads = Reads { at_once: true, bursts: Some(Arc::clone(&bursts)) };
            let length = content.len() as u64;
            let file = open_file(file, Speed::Local);
            Body::File(Box::new(FileStream::new(file, stamp, 0, length, reads)))
        };
        let mut first = stream();
        let mut taken = Vec::new();
        let mut lengths = Vec::new();
        while taken.len() < BURST {
            let chunk = first.frame().await.unwrap().unwrap().into_data().unwrap();
            taken.extend_from_slice(&chunk);
        }
        assert_eq!(bursts.available_permits(), 0);
        // Another has to do without, and is sent whole all the same.
        let mut second = stream();
        let mut all = Vec::new();
        while let Some(frame) = second.frame().await {
            let chunk = frame.unwrap().into_data().unwrap();
            assert!(chunk.len() <= limits::FILE_CHUNK_BYTES);
            all.extend_from_slice(&chunk);
        }
        assert!(all == content);
        while let Some(frame) = first.frame().await {
            let chunk = frame.unwrap().into_data().unwrap();
            lengths.push(chunk.len());
            taken.extend_from_slice(&chunk);
        }
        assert!(taken == content);
        assert_eq!(lengths.iter().max(), Some(&BURST));
        assert!(lengths[lengths.len() - 2..].iter().all(|one| *one <= limits::FILE_CHUNK_BYTES));
        drop(first);
        assert_eq!(bursts.available_permits(), 1);
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_read_ends_the_body_with_its_error() {
        let folder: OwnedFd = File::open("/").unwrap().into();
        let mut body = stream(folder.into(), 0, 10, true);
        let error = body.frame().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
        assert!(http_body::Body::is_end_stream(&body));
    }
}
