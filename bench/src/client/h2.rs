//! One HTTP/2 request, for connections that are then left open (RFC 9113).
//!
//! Load over HTTP/2 is h2load's business; this is only enough to bring a connection into the
//! state of a browser's that has fetched one file.

use crate::fleet::{BODY_BYTES, BODY_PATH};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEAD_BYTES: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

const END_STREAM: u8 = 1;
const PADDED: u8 = 8;

/// Preface, settings, and one GET on stream 1.
pub(crate) fn request(authority: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x87]; // :method GET, :scheme https (RFC 7541, appendix A)
    literal(&mut block, 0x01, authority);
    literal(&mut block, 0x04, BODY_PATH);
    let mut bytes = PREFACE.to_vec();
    frame(&mut bytes, SETTINGS, 0, &[]);
    bytes.extend(frame_head(block.len(), HEADERS, END_STREAM | 4, 1));
    bytes.extend(block);
    bytes
}

/// The acknowledgement of the server's settings.
pub(crate) fn settings_acknowledged() -> Vec<u8> {
    frame_head(0, SETTINGS, 1, 0).to_vec()
}

/// A header field whose name is entry `index` of the static table, without Huffman coding.
fn literal(block: &mut Vec<u8>, index: u8, value: &str) {
    block.push(index); // "literal without indexing": four zero bits, then the index
    block.push(u8::try_from(value.len().min(126)).unwrap_or(0));
    block.extend_from_slice(value.as_bytes().get(..value.len().min(126)).unwrap_or_default());
}

fn frame(bytes: &mut Vec<u8>, kind: u8, flags: u8, payload: &[u8]) {
    bytes.extend(frame_head(payload.len(), kind, flags, 0));
    bytes.extend_from_slice(payload);
}

fn frame_head(length: usize, kind: u8, flags: u8, stream: u8) -> [u8; FRAME_HEAD_BYTES] {
    let [_, _, _, _, _, high, middle, low] = u64::try_from(length).unwrap_or(0).to_be_bytes();
    [high, middle, low, kind, flags, 0, 0, 0, stream]
}

/// The frames of the answer: counts the bytes of the body and looks for the first byte of the
/// header block, which is 0x88 for status 200 (an entry of the static table), possibly after a
/// change of the table's size.
#[derive(Default)]
pub(crate) struct Frames {
    received: Vec<u8>,
    status_seen: bool,
    body_bytes: usize,
    settings_seen: bool,
    whole: bool,
}

impl Frames {
    pub(crate) fn is_whole(&self) -> bool {
        self.whole && self.settings_seen
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<bool, &'static str> {
        self.received.extend_from_slice(bytes);
        while let Some((kind, flags, payload)) = take_frame(&mut self.received) {
            self.frame(kind, flags, &payload)?;
        }
        Ok(self.is_whole())
    }

    fn frame(&mut self, kind: u8, flags: u8, payload: &[u8]) -> Result<(), &'static str> {
        match kind {
            HEADERS => {
                let first = payload.iter().find(|byte| **byte & 0xe0 != 0x20);
                self.status_seen = first == Some(&0x88);
                if !self.status_seen {
                    return Err("the status is not 200");
                }
            }
            DATA if flags & PADDED != 0 => return Err("padding was not expected"),
            DATA => self.body_bytes += payload.len(),
            SETTINGS if flags & 1 == 0 => self.settings_seen = true,
            RST_STREAM => return Err("the stream was reset"),
            GOAWAY => return Err("the server said goodbye"),
            _ => {}
        }
        if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
            if self.body_bytes != BODY_BYTES {
                return Err("the length of the body is wrong");
            }
            self.whole = true;
        }
        Ok(())
    }
}

fn take_frame(received: &mut Vec<u8>) -> Option<(u8, u8, Vec<u8>)> {
    let (&[high, middle, low, kind, flags, ..], rest) =
        received.split_first_chunk::<FRAME_HEAD_BYTES>()?;
    let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
    let payload = rest.get(..length)?.to_vec();
    received.drain(..FRAME_HEAD_BYTES + length);
    Some((kind, flags, payload))
}

#[cfg(test)]
mod tests {
    use super::{BODY_BYTES, DATA, END_STREAM, FRAME_HEAD_BYTES, Frames, HEADERS, SETTINGS};

    fn answer(status: u8, body: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        super::frame(&mut bytes, SETTINGS, 0, &[]);
        super::frame(&mut bytes, HEADERS, 4, &[0x3f, status]);
        super::frame(&mut bytes, DATA, END_STREAM, &vec![7; body]);
        bytes
    }

    #[test]
    fn an_answer_may_come_in_any_pieces() {
        for size in [1, 5, 100, 5000] {
            let mut frames = Frames::default();
            for piece in answer(0x88, BODY_BYTES).chunks(size) {
                frames.feed(piece).unwrap();
            }
            assert!(frames.is_whole(), "in pieces of {size}");
        }
    }

    #[test]
    fn another_status_or_length_is_an_error() {
        assert_eq!(Frames::default().feed(&answer(0x8d, BODY_BYTES)), Err("the status is not 200"));
        let short = Frames::default().feed(&answer(0x88, BODY_BYTES - 1));
        assert_eq!(short, Err("the length of the body is wrong"));
    }

    #[test]
    fn the_request_is_a_preface_and_whole_frames() {
        let mut rest = super::request("localhost:8443").split_off(super::PREFACE.len());
        let mut kinds = Vec::new();
        while let Some((kind, _, _)) = super::take_frame(&mut rest) {
            kinds.push(kind);
        }
        assert_eq!(kinds, [SETTINGS, HEADERS]);
        assert!(rest.is_empty());
        assert_eq!(super::settings_acknowledged().len(), FRAME_HEAD_BYTES);
    }
}
