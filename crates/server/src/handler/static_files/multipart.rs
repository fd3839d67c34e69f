//! Several ranges of a file in one answer: `multipart/byteranges` (RFC 9110, 14.6).

use std::{
    collections::{VecDeque, hash_map::RandomState},
    fmt::Write as _,
    hash::{BuildHasher as _, Hasher as _},
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http::HeaderValue;
use http_body::{Frame, SizeHint};

use super::{
    pool::OpenFile,
    range::ByteRange,
    representation::Stamp,
    stream::{FileStream, Reads},
};
use crate::http::body::Body;

/// What stands between the parts. Nobody knows it before a process has begun, so no file was made
/// to hold it.
#[derive(Clone, Debug)]
pub(super) struct Boundary(String);

impl Boundary {
    pub(super) fn new() -> Self {
        let mut text = String::new();
        for _ in 0..2 {
            // Keyed at random, which is all that is wanted of it.
            let random = RandomState::new().build_hasher().finish();
            write!(text, "{random:016x}").ok();
        }
        Self(text)
    }

    /// The value of `Content-Type` of the whole.
    pub(super) fn content_type(&self) -> HeaderValue {
        HeaderValue::try_from(format!("multipart/byteranges; boundary={}", self.0))
            .unwrap_or(HeaderValue::from_static("multipart/byteranges"))
    }
}

/// The heads of the parts and the end after the last.
pub(super) struct Parts {
    parts: VecDeque<(Bytes, ByteRange)>,
    end: Bytes,
    bytes: u64,
}

impl Parts {
    /// For ranges of a file of `length` bytes and this type.
    pub(super) fn new(
        boundary: &Boundary,
        ranges: Vec<ByteRange>,
        content_type: &HeaderValue,
        length: u64,
    ) -> Self {
        let Boundary(boundary) = boundary;
        let mut parts = VecDeque::with_capacity(ranges.len());
        for range in ranges {
            let mut head = if parts.is_empty() { BytesMut::new() } else { BytesMut::from("\r\n") };
            head.extend_from_slice(format!("--{boundary}\r\nContent-Type: ").as_bytes());
            head.extend_from_slice(content_type.as_bytes());
            let content_range = range.content_range(length);
            head.extend_from_slice(
                format!("\r\nContent-Range: {content_range}\r\n\r\n").as_bytes(),
            );
            parts.push_back((head.freeze(), range));
        }
        let end = Bytes::from(format!("\r\n--{boundary}--\r\n"));
        let of_parts = parts.iter().map(|(head, range)| head.len() as u64 + range.length());
        let bytes = of_parts.sum::<u64>() + end.len() as u64;
        Self { parts, end, bytes }
    }

    /// Of a file in memory.
    pub(super) fn of_memory(self, content: &Bytes) -> Body {
        let mut all = BytesMut::with_capacity(usize::try_from(self.bytes).unwrap_or_default());
        for (head, range) in self.parts {
            all.extend_from_slice(&head);
            all.extend_from_slice(range.of(content));
        }
        all.extend_from_slice(&self.end);
        Body::full(all.freeze())
    }

    /// Of a file that is streamed.
    pub(super) fn of_disk(self, file: OpenFile, stamp: Stamp, reads: Reads) -> Body {
        let Self { parts, end, bytes } = self;
        let file = Arc::new(file);
        Body::stream(Streamed { file, stamp, reads, parts, current: None, end, left: bytes })
    }
}

/// Head after part after head, each part as any file is streamed.
struct Streamed {
    file: Arc<OpenFile>,
    stamp: Stamp,
    reads: Reads,
    parts: VecDeque<(Bytes, ByteRange)>,
    current: Option<FileStream>,
    end: Bytes,
    left: u64,
}

impl http_body::Body for Streamed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let body = self.get_mut();
        if body.left == 0 {
            return Poll::Ready(None);
        }
        if let Some(current) = &mut body.current {
            match ready!(current.poll_chunk(context)) {
                Some(Ok(bytes)) => return Poll::Ready(Some(Ok(body.frame(bytes)))),
                Some(Err(error)) => {
                    body.left = 0;
                    return Poll::Ready(Some(Err(error)));
                }
                None => body.current = None,
            }
        }
        let bytes = match body.parts.pop_front() {
            Some((head, range)) => {
                let file = Arc::clone(&body.file);
                let (first, length) = (range.first(), range.length());
                let stream = FileStream::new(file, body.stamp, first, length, body.reads.clone());
                body.current = Some(stream);
                head
            }
            None => std::mem::take(&mut body.end),
        };
        Poll::Ready(Some(Ok(body.frame(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

impl Streamed {
    fn frame(&mut self, bytes: Bytes) -> Frame<Bytes> {
        self.left = self.left.saturating_sub(bytes.len() as u64);
        Frame::data(bytes)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write as _;

    use http_body::Body as _;
    use http_body_util::BodyExt as _;
    use proptest::prelude::*;

    use super::{
        super::{cache::FileCache, pool::Turns, range::Ranges, root::Speed},
        *,
    };
    use crate::limits;

    /// Reads an answer as a client does (RFC 2046, 5.1): each part's range and bytes.
    pub(in super::super) fn read(content_type: &str, content: &[u8]) -> Vec<(String, Vec<u8>)> {
        let boundary = content_type.strip_prefix("multipart/byteranges; boundary=").unwrap();
        let find = |text: &[u8], what: &str| {
            text.windows(what.len()).position(|window| window == what.as_bytes())
        };
        let delimiter = format!("--{boundary}");
        let mut rest = content.strip_prefix(delimiter.as_bytes()).unwrap();
        let mut parts = Vec::new();
        while rest != b"--\r\n" {
            rest = rest.strip_prefix(b"\r\n").unwrap();
            let end = find(rest, "\r\n\r\n").unwrap();
            let head = str::from_utf8(&rest[..end]).unwrap();
            let range = head.split("\r\n").find_map(|line| line.strip_prefix("Content-Range: "));
            rest = &rest[end + 4..];
            let end = find(rest, &format!("\r\n{delimiter}")).unwrap();
            parts.push((range.unwrap().to_owned(), rest[..end].to_vec()));
            rest = &rest[end + 2 + delimiter.len()..];
        }
        parts
    }

    const READS: Reads = Reads { at_once: true, bursts: None };

    fn file_of(content: &[u8]) -> OpenFile {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        OpenFile::new(file, Turns::new(&FileCache::default()), Speed::Local)
    }

    fn collected(body: Body) -> io::Result<Vec<u8>> {
        let announced = body.size_hint().exact().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let bytes = runtime.block_on(body.collect())?.to_bytes();
        assert_eq!(announced, bytes.len() as u64);
        Ok(bytes.to_vec())
    }

    fn parts(field: &str, length: usize, boundary: &Boundary) -> Parts {
        let kind = HeaderValue::from_static("text/plain");
        match super::super::range::parse(field.as_bytes(), length as u64) {
            Ranges::Many(ranges) => Parts::new(boundary, ranges, &kind, length as u64),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_part_has_its_type_and_its_place() {
        let boundary = Boundary("b".to_owned());
        let body = parts("bytes=0-1,-2", 10, &boundary).of_memory(&Bytes::from("0123456789"));
        let text = String::from_utf8(collected(body).unwrap()).unwrap();
        assert_eq!(
            text,
            "--b\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/10\r\n\r\n01\r\n\
             --b\r\nContent-Type: text/plain\r\nContent-Range: bytes 8-9/10\r\n\r\n89\r\n--b--\r\n"
        );
    }

    #[test]
    fn a_file_that_becomes_shorter_ends_the_parts_with_an_error() {
        let file = file_of(&[7; 1000]);
        let same = file.get().unwrap().try_clone().unwrap();
        let stamp = Stamp::of(&same.metadata().unwrap());
        let body = parts("bytes=0-1,500-", 1000, &Boundary::new()).of_disk(file, stamp, READS);
        same.set_len(600).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let error = runtime.block_on(body.collect()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn no_two_processes_have_one_boundary() {
        assert_ne!(Boundary::new().0, Boundary::new().0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_parts_are_the_slices_of_the_file(
            asked in proptest::collection::vec((0_usize..3000, 0_usize..1000), 2..=limits::RANGES_MAX),
            at_once: bool,
        ) {
            let content: Vec<u8> = (0..2500_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
            let text: Vec<_> =
                asked.iter().map(|(first, more)| format!("{first}-{}", first + more)).collect();
            let field = format!("bytes={}", text.join(","));
            let length = content.len() as u64;
            let Ranges::Many(ranges) = super::super::range::parse(field.as_bytes(), length) else {
                return Ok(());
            };
            let boundary = Boundary::new();
            let made = || Parts::new(&boundary, ranges.clone(), &HeaderValue::from_static("a/b"), length);
            let memory = collected(made().of_memory(&Bytes::from(content.clone()))).unwrap();
            let file = file_of(&content);
            let stamp = Stamp::of(&file.get().unwrap().metadata().unwrap());
            let disk = collected(made().of_disk(file, stamp, Reads { at_once, bursts: None })).unwrap();
            prop_assert!(memory == disk);
            let read = read(boundary.content_type().to_str().unwrap(), &disk);
            prop_assert_eq!(read.len(), ranges.len());
            for ((said, bytes), range) in read.iter().zip(&ranges) {
                prop_assert_eq!(said, &range.content_range(length));
                prop_assert!(bytes.as_slice() == range.of(&Bytes::from(content.clone())));
            }
        }
    }
}
