//! What a FastCGI program sends: understood or refused, and the same however it is cut.
#![no_main]

use bindery_server::handler::fastcgi::{
    record::{Decoder, Event},
    response::HeadReader,
};
use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;

/// Everything of each kind, joined, and whether it ended in an error.
fn read(bytes: &[u8], step: usize) -> (Vec<u8>, Vec<u8>, usize, bool) {
    let (mut decoder, mut buffer) = (Decoder::default(), BytesMut::new());
    let (mut stdout, mut stderr, mut ends) = (Vec::new(), Vec::new(), 0);
    for piece in bytes.chunks(step) {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buffer) {
                Ok(None) => break,
                Ok(Some(Event::Stdout(piece))) => stdout.extend_from_slice(&piece),
                Ok(Some(Event::Stderr(piece))) => stderr.extend_from_slice(&piece),
                Ok(Some(Event::End { .. })) => ends += 1,
                Err(_) => return (stdout, stderr, ends, true),
            }
        }
        assert!(buffer.len() < 8, "what can be understood is not left");
    }
    (stdout, stderr, ends, false)
}

fuzz_target!(|bytes: &[u8]| {
    let whole = read(bytes, usize::MAX);
    for step in [1, 7] {
        assert_eq!(read(bytes, step), whole);
    }
    let mut reader = HeadReader::default();
    if let Ok(Some((head, rest))) = reader.read(Bytes::copy_from_slice(bytes)) {
        assert!(head.status.as_u16() >= 200);
        assert!(bytes.ends_with(&rest));
    }
});
