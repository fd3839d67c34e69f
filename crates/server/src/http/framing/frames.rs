//! Frames of HTTP/2 that carry nothing: how many of them a client has left (RFC 9113, 10.5).
//!
//! A frame is nine bytes for who sends it and some work for who gets it. Only heads of frames are
//! looked at here, and nothing is copied but a head that comes in two parts.

use tokio::time::Instant;

use crate::limits::{
    HTTP2_FRAMES_EXPLAINED_MAX, HTTP2_FRAMES_MAX, HTTP2_FRAMES_PER_REQUEST,
    HTTP2_FRAMES_PER_SECOND, HTTP2_SENT_BYTES_PER_FRAME,
};

const HEAD_BYTES: usize = 9;
const PREFACE_BYTES: u32 = 24;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PADDED: u8 = 8;

/// The most bytes of a DATA frame that may all be padding: a length and so much of it.
const PADDING_BYTES_MAX: u32 = 256;

/// What a client sends on one connection, from the preface on.
#[derive(Debug)]
pub(super) struct Frames {
    /// Bytes of the preface, or of the payload of a frame, that are still to come.
    payload: u32,
    /// The beginning of a head whose end has not come.
    head: [u8; HEAD_BYTES],
    held: usize,
    /// So many frames without content may come now.
    left: u32,
    /// When some were added for the time that passed.
    added: Instant,
    /// Bytes written to the client that no frame was added for yet.
    sent: usize,
    /// The last stream that the client has opened.
    last_stream: u32,
    gone_away: bool,
}

/// More came than there were left.
#[derive(Debug)]
pub(super) struct Flood;

impl Frames {
    pub(super) fn new() -> Self {
        Self {
            payload: PREFACE_BYTES,
            head: [0; HEAD_BYTES],
            held: 0,
            left: HTTP2_FRAMES_MAX,
            added: Instant::now(),
            sent: 0,
            last_stream: 0,
            gone_away: false,
        }
    }

    /// Looks at what was read.
    pub(super) fn scan(&mut self, mut bytes: &[u8]) -> Result<(), Flood> {
        while !bytes.is_empty() {
            if self.payload > 0 {
                let here = u32::try_from(bytes.len()).unwrap_or(u32::MAX).min(self.payload);
                self.payload -= here;
                bytes = bytes.get(here as usize..).unwrap_or_default();
            } else if self.held == 0
                && let Some((head, rest)) = bytes.split_first_chunk()
            {
                self.begin(*head)?;
                bytes = rest;
            } else {
                let (first, rest) = bytes.split_at(bytes.len().min(HEAD_BYTES - self.held));
                if let Some(place) = self.head.get_mut(self.held..self.held + first.len()) {
                    place.copy_from_slice(first);
                }
                self.held += first.len();
                bytes = rest;
                if self.held == HEAD_BYTES {
                    self.held = 0;
                    self.begin(self.head)?;
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, head: [u8; HEAD_BYTES]) -> Result<(), Flood> {
        let [a, b, c, kind, flags, d, e, f, g] = head;
        let length = u32::from_be_bytes([0, a, b, c]);
        let stream = u32::from_be_bytes([d & 0x7f, e, f, g]);
        self.payload = length;
        match kind {
            DATA if length > PADDING_BYTES_MAX => Ok(()),
            DATA if length > 0 && flags & PADDED == 0 => Ok(()),
            HEADERS if stream > self.last_stream => {
                self.last_stream = stream;
                self.explain(HTTP2_FRAMES_PER_REQUEST);
                Ok(())
            }
            _ => self.take_one(),
        }
    }

    fn take_one(&mut self) -> Result<(), Flood> {
        if self.left == 0 {
            // Only now, so that no frame of those that are few costs a look at the clock.
            let now = Instant::now();
            let passed = u32::try_from((now - self.added).as_millis()).unwrap_or(u32::MAX);
            self.left =
                (passed.saturating_mul(HTTP2_FRAMES_PER_SECOND) / 1000).min(HTTP2_FRAMES_MAX);
            self.added = now;
        }
        self.left = self.left.checked_sub(1).ok_or(Flood)?;
        Ok(())
    }

    /// So many bytes were written to the client: updates of windows will come for them.
    pub(super) fn note_sent(&mut self, bytes: usize) {
        self.sent += bytes;
        let frames = self.sent / HTTP2_SENT_BYTES_PER_FRAME;
        self.sent %= HTTP2_SENT_BYTES_PER_FRAME;
        self.explain(u32::try_from(frames).unwrap_or(u32::MAX));
    }

    fn explain(&mut self, frames: u32) {
        self.left = self.left.saturating_add(frames).min(HTTP2_FRAMES_EXPLAINED_MAX);
    }

    /// What ends a connection with too many of them, said once: GOAWAY, ENHANCE_YOUR_CALM (RFC
    /// 9113, 6.8). Requests up to the last stream may have been answered.
    pub(super) fn goaway(&mut self) -> Option<[u8; 17]> {
        if std::mem::replace(&mut self.gone_away, true) {
            return None;
        }
        let [a, b, c, d] = self.last_stream.to_be_bytes();
        Some([0, 0, 8, 7, 0, 0, 0, 0, 0, a, b, c, d, 0, 0, 0, 0xb])
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use tokio::time::advance;

    use super::*;

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    fn begun() -> Frames {
        let mut frames = Frames::new();
        frames.scan(PREFACE).unwrap();
        frames
    }

    /// How many of these come before it is a flood, if it becomes one.
    fn before_flood(frames: &mut Frames, one: &[u8]) -> Option<u32> {
        (0..4 * HTTP2_FRAMES_EXPLAINED_MAX).find(|_| frames.scan(one).is_err())
    }

    #[tokio::test(start_paused = true)]
    async fn frames_that_carry_nothing_are_a_flood_and_those_with_content_are_none() {
        let ping = frame(6, 0, 0, &[0; 8]);
        for one in [
            frame(4, 0, 0, &[]),
            frame(4, 1, 0, &[]),
            ping.clone(),
            frame(6, 1, 0, &[0; 8]),
            frame(2, 0, 3, &[0; 5]),
            frame(8, 0, 0, &[0, 0, 0, 1]),
            frame(0, 0, 1, &[]),
            frame(0, 8, 1, &[0]),
            frame(0, 8, 1, &[254; 255]),
            frame(3, 0, 1, &[0; 4]),
            frame(16, 0, 0, &[0, 0, 0, 1, b'u']),
            frame(200, 0, 0, b"grease"),
        ] {
            assert_eq!(before_flood(&mut begun(), &one), Some(HTTP2_FRAMES_MAX), "{one:?}");
        }
        for one in [frame(0, 0, 1, b"x"), frame(0, 8, 1, &[0; 300])] {
            assert_eq!(before_flood(&mut begun(), &one), None, "{one:?}");
        }
        // What looks like frames within content is none.
        assert_eq!(before_flood(&mut begun(), &frame(0, 0, 1, &ping.repeat(100))), None);
    }

    #[tokio::test(start_paused = true)]
    async fn each_request_explains_some_frames_and_so_do_bytes_that_were_sent() {
        let ping = frame(6, 0, 0, &[0; 8]);
        let mut frames = begun();
        for stream in 0..10_000 {
            let request = frame(1, 5, 2 * stream + 1, b"block");
            let all = [request, ping.repeat(HTTP2_FRAMES_PER_REQUEST as usize)].concat();
            frames.scan(&all).unwrap();
        }
        assert_eq!(before_flood(&mut frames, &ping), Some(HTTP2_FRAMES_MAX));
        let mut frames = begun();
        for _ in 0..100_000 {
            frames.note_sent(HTTP2_SENT_BYTES_PER_FRAME / 2);
            frames.note_sent(HTTP2_SENT_BYTES_PER_FRAME / 2);
            frames.scan(&ping).unwrap();
        }
        assert_eq!(before_flood(&mut frames, &ping), Some(HTTP2_FRAMES_MAX));
        frames.note_sent(usize::MAX / 2);
        assert_eq!(before_flood(&mut frames, &ping), Some(HTTP2_FRAMES_EXPLAINED_MAX), "a bound");
        let (mut frames, request) = (begun(), frame(1, 5, 1, b"block"));
        frames.scan(&request).unwrap();
        let left = HTTP2_FRAMES_MAX + HTTP2_FRAMES_PER_REQUEST;
        assert_eq!(before_flood(&mut frames, &request), Some(left), "no new stream");
    }

    #[tokio::test(start_paused = true)]
    async fn some_frames_a_second_need_no_reason() {
        let ping = frame(6, 0, 0, &[0; 8]);
        let mut frames = begun();
        assert_eq!(before_flood(&mut frames, &ping), Some(HTTP2_FRAMES_MAX));
        advance(Duration::from_secs(2)).await;
        assert_eq!(before_flood(&mut frames, &ping), Some(2 * HTTP2_FRAMES_PER_SECOND));
        advance(Duration::from_secs(3600)).await;
        assert_eq!(before_flood(&mut frames, &ping), Some(HTTP2_FRAMES_MAX));
    }

    #[test]
    fn the_end_names_the_last_stream_and_is_said_once() {
        let mut frames = begun();
        frames.scan(&frame(1, 4, 0x0102_0305, b"")).unwrap();
        let last = frame(7, 0, 0, &[1, 2, 3, 5, 0, 0, 0, 0xb]);
        assert_eq!(frames.goaway().map(Vec::from), Some(last));
        assert_eq!(frames.goaway(), None);
    }

    proptest! {
        #[test]
        fn how_the_bytes_come_makes_no_difference(
            cuts in proptest::collection::vec(1..40_usize, 1..60)
        ) {
            let frames = [frame(6, 0, 0, &[0; 8]), frame(0, 0, 1, &[6; 30]), frame(1, 5, 9, b"b")];
            let all = [PREFACE, &frames.concat().repeat(8)].concat();
            let (mut whole, mut parts) = (Frames::new(), Frames::new());
            whole.scan(&all).unwrap();
            let mut rest = &all[..];
            for cut in cuts.iter().cycle() {
                let (part, more) = rest.split_at((*cut).min(rest.len()));
                parts.scan(part).unwrap();
                rest = more;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!((whole.left, whole.payload, whole.held, whole.last_stream),
                (parts.left, parts.payload, parts.held, parts.last_stream));
            // One PING in each of eight, and all requests but the first for the same stream.
            let left = HTTP2_FRAMES_MAX - 8 + HTTP2_FRAMES_PER_REQUEST - 7;
            prop_assert_eq!(whole.left, left);
        }
    }
}
