//! Records of FastCGI 1.0: bytes in, bytes out. One request at a time on a connection, as every
//! program in use speaks it, so its number is always 1. Knows no sockets and no HTTP.

use bytes::{Buf as _, Bytes, BytesMut};

/// Content of one record. The format could hold 65,535, but php-fpm takes no more than this.
pub const CONTENT_BYTES_MAX: usize = 0xfff8;

/// The empty record that ends the content of a request.
pub const STDIN_END: [u8; HEADER_BYTES] = header(STDIN, 0);

/// Bytes before the content of a record.
pub const HEADER_BYTES: usize = 8;

const VERSION: u8 = 1;
const REQUEST: u16 = 1;

const BEGIN_REQUEST: u8 = 1;
const END_REQUEST: u8 = 3;
const PARAMS: u8 = 4;
const STDIN: u8 = 5;
const STDOUT: u8 = 6;
const STDERR: u8 = 7;

/// The role of an ordinary web program, and the flag that keeps the connection open.
const RESPONDER_KEPT_OPEN: [u8; 8] = [0, 1, 1, 0, 0, 0, 0, 0];

/// The content of an END_REQUEST record.
const END_BYTES: u16 = 8;

const fn header(kind: u8, length: u16) -> [u8; HEADER_BYTES] {
    let ([id0, id1], [length0, length1]) = (REQUEST.to_be_bytes(), length.to_be_bytes());
    [VERSION, kind, id0, id1, length0, length1, 0, 0]
}

/// The header of a record with so many bytes of the content of a request, up to
/// [`CONTENT_BYTES_MAX`].
#[must_use]
pub fn stdin(length: usize) -> [u8; HEADER_BYTES] {
    header(STDIN, u16::try_from(length).unwrap_or(u16::MAX))
}

/// The beginning of a request with its parameters, in the making.
#[derive(Debug)]
pub struct Head {
    bytes: Vec<u8>,
    /// Where the header of the open record of parameters is.
    record: usize,
}

impl Head {
    /// A request without a parameter.
    #[must_use]
    pub fn new() -> Self {
        let mut bytes = Vec::with_capacity(2048);
        bytes.extend_from_slice(&header(BEGIN_REQUEST, 8));
        bytes.extend_from_slice(&RESPONDER_KEPT_OPEN);
        let record = bytes.len();
        bytes.extend_from_slice(&[0; HEADER_BYTES]);
        Self { bytes, record }
    }

    /// Adds a parameter whose value is made of these parts. Whether it fits into a record: a
    /// parameter is never spread over two, because php-fpm reads each by itself.
    pub fn put(&mut self, name: &[u8], value: &[&[u8]]) -> bool {
        let length = value.iter().map(|part| part.len()).sum();
        let bytes = length_bytes(name.len()) + length_bytes(length) + name.len() + length;
        if !self.make_room(bytes) {
            return false;
        }
        put_length(&mut self.bytes, name.len());
        put_length(&mut self.bytes, length);
        self.bytes.extend_from_slice(name);
        for part in value {
            self.bytes.extend_from_slice(part);
        }
        true
    }

    /// Adds parameters that were written before.
    pub fn put_all(&mut self, parameters: &Parameters) {
        for pair in &parameters.pairs {
            if self.make_room(pair.len()) {
                self.bytes.extend_from_slice(pair);
            }
        }
    }

    fn make_room(&mut self, bytes: usize) -> bool {
        if bytes > CONTENT_BYTES_MAX {
            return false;
        }
        if self.bytes.len() - self.record - HEADER_BYTES + bytes > CONTENT_BYTES_MAX {
            self.close_record();
            self.record = self.bytes.len();
            self.bytes.extend_from_slice(&[0; HEADER_BYTES]);
        }
        true
    }

    fn close_record(&mut self) {
        let length = self.bytes.len() - self.record - HEADER_BYTES;
        let length = u16::try_from(length).unwrap_or(u16::MAX);
        if let Some(place) = self.bytes.get_mut(self.record..self.record + HEADER_BYTES) {
            place.copy_from_slice(&header(PARAMS, length));
        }
    }

    /// The bytes; without content they are the whole request.
    #[must_use]
    pub fn finish(mut self, has_content: bool) -> Vec<u8> {
        // An empty record would be the end of the parameters already.
        if self.bytes.len() == self.record + HEADER_BYTES {
            self.bytes.truncate(self.record);
        } else {
            self.close_record();
        }
        self.bytes.extend_from_slice(&header(PARAMS, 0));
        if !has_content {
            self.bytes.extend_from_slice(&STDIN_END);
        }
        self.bytes
    }
}

impl Default for Head {
    fn default() -> Self {
        Self::new()
    }
}

/// Parameters that many requests have in common, written once.
#[derive(Debug, Default)]
pub struct Parameters {
    /// Each no larger than a few records, so that one of them is open for the next.
    pairs: Vec<Vec<u8>>,
}

impl Parameters {
    /// Adds one. Whether it fits into a record.
    pub fn put(&mut self, name: &[u8], value: &[u8]) -> bool {
        let mut pair = Vec::with_capacity(name.len() + value.len() + 8);
        put_length(&mut pair, name.len());
        put_length(&mut pair, value.len());
        pair.extend_from_slice(name);
        pair.extend_from_slice(value);
        if pair.len() > CONTENT_BYTES_MAX {
            return false;
        }
        match self.pairs.last_mut() {
            Some(last) if last.len() + pair.len() <= JOINED_BYTES_MAX => last.append(&mut pair),
            _ => self.pairs.push(pair),
        }
        true
    }
}

const JOINED_BYTES_MAX: usize = 8 * 1024;

const fn length_bytes(length: usize) -> usize {
    if length < 0x80 { 1 } else { 4 }
}

/// One byte below 128, otherwise four with the highest bit set.
fn put_length(bytes: &mut Vec<u8>, length: usize) {
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => bytes.push(short),
        _ => {
            let long = u32::try_from(length).unwrap_or(u32::MAX) | 0x8000_0000;
            bytes.extend_from_slice(&long.to_be_bytes());
        }
    }
}

/// What a program says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A piece of the answer, never empty.
    Stdout(Bytes),
    /// A piece of what it logs, never empty.
    Stderr(Bytes),
    /// The end of the request.
    End {
        /// What the program says of its success.
        app_status: u32,
        /// Whether it took the request.
        protocol_status: ProtocolStatus,
    },
}

/// Whether a program took the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolStatus {
    /// It did.
    Complete,
    /// It takes one request at a time, and has one.
    CannotMultiplex,
    /// It has too much to do.
    Overloaded,
    /// It answers no web requests.
    UnknownRole,
}

/// What is no record of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Something else is spoken.
    #[error("a record of version {0}, not 1")]
    Version(u8),
    /// No request has that number.
    #[error("a record for request {0}, which there is not")]
    Request(u16),
    /// Programs do not send it.
    #[error("a record of kind {0}, which no program sends")]
    Kind(u8),
    /// Too short, or with a status that is not known.
    #[error("the end of the request is malformed")]
    End,
}

/// Reads what a program sends.
#[derive(Debug, Default)]
pub struct Decoder {
    state: State,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Header,
    Stdout(Left),
    Stderr(Left),
    End(Left),
    /// What means nothing to us, and padding.
    Skip(u32),
}

/// What is left of a record.
#[derive(Clone, Copy, Debug)]
struct Left {
    content: u16,
    padding: u8,
}

impl Decoder {
    /// The next event in `bytes`, which are taken out as far as they were understood. A piece is as
    /// large as what has come of its record: nothing is gathered here. `None` when more must come.
    ///
    /// # Errors
    ///
    /// For what is no answer. Nothing on the connection can be understood from then on.
    pub fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<Event>, RecordError> {
        loop {
            match self.state {
                State::Header => match bytes.first_chunk::<HEADER_BYTES>() {
                    Some(header) => {
                        self.state = begin(*header)?;
                        bytes.advance(HEADER_BYTES);
                    }
                    None => return Ok(None),
                },
                State::Stdout(left) => {
                    let Some((piece, state)) = piece(bytes, left, State::Stdout) else {
                        return Ok(None);
                    };
                    self.state = state;
                    if !piece.is_empty() {
                        return Ok(Some(Event::Stdout(piece)));
                    }
                }
                State::Stderr(left) => {
                    let Some((piece, state)) = piece(bytes, left, State::Stderr) else {
                        return Ok(None);
                    };
                    self.state = state;
                    if !piece.is_empty() {
                        return Ok(Some(Event::Stderr(piece)));
                    }
                }
                State::End(left) => {
                    let Some(&[a, b, c, d, status, ..]) = bytes.first_chunk::<8>() else {
                        return Ok(None);
                    };
                    bytes.advance(usize::from(END_BYTES));
                    self.state = State::Skip(u32::from(left.padding));
                    let protocol_status = match status {
                        0 => ProtocolStatus::Complete,
                        1 => ProtocolStatus::CannotMultiplex,
                        2 => ProtocolStatus::Overloaded,
                        3 => ProtocolStatus::UnknownRole,
                        _ => return Err(RecordError::End),
                    };
                    let app_status = u32::from_be_bytes([a, b, c, d]);
                    return Ok(Some(Event::End { app_status, protocol_status }));
                }
                State::Skip(left) => {
                    let skipped = bytes.len().min(left as usize);
                    bytes.advance(skipped);
                    let left = left.saturating_sub(u32::try_from(skipped).unwrap_or(u32::MAX));
                    if left > 0 {
                        self.state = State::Skip(left);
                        return Ok(None);
                    }
                    self.state = State::Header;
                }
            }
        }
    }

    /// Whether everything so far was whole records.
    #[must_use]
    pub fn is_between_records(&self) -> bool {
        matches!(self.state, State::Header | State::Skip(0))
    }
}

/// What follows a header.
fn begin(header: [u8; HEADER_BYTES]) -> Result<State, RecordError> {
    let [version, kind, id0, id1, length0, length1, padding, _] = header;
    if version != VERSION {
        return Err(RecordError::Version(version));
    }
    let request = u16::from_be_bytes([id0, id1]);
    let left = Left { content: u16::from_be_bytes([length0, length1]), padding };
    match (request, kind) {
        // About the connection, not the request.
        (0, _) => Ok(State::Skip(u32::from(left.content) + u32::from(padding))),
        (REQUEST, STDOUT) => Ok(State::Stdout(left)),
        (REQUEST, STDERR) => Ok(State::Stderr(left)),
        (REQUEST, END_REQUEST) if left.content == END_BYTES => Ok(State::End(left)),
        (REQUEST, END_REQUEST) => Err(RecordError::End),
        (REQUEST, kind) => Err(RecordError::Kind(kind)),
        (request, _) => Err(RecordError::Request(request)),
    }
}

/// As much of a record's content as has come, and what is left of it. `None` when nothing has.
fn piece(bytes: &mut BytesMut, left: Left, state: fn(Left) -> State) -> Option<(Bytes, State)> {
    let length = bytes.len().min(usize::from(left.content));
    if length == 0 && left.content > 0 {
        return None;
    }
    let content = left.content - u16::try_from(length).unwrap_or(left.content);
    let next = match content {
        0 => State::Skip(u32::from(left.padding)),
        content => state(Left { content, ..left }),
    };
    Some((bytes.split_to(length).freeze(), next))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(kind: u8, request: u16, content: &[u8], padding: u8) -> Vec<u8> {
        let mut header = header(kind, u16::try_from(content.len()).unwrap());
        [header[2], header[3]] = request.to_be_bytes();
        header[6] = padding;
        [&header[..], content, &vec![0; usize::from(padding)]].concat()
    }

    fn end(status: u8) -> Event {
        let protocol_status = match status {
            0 => ProtocolStatus::Complete,
            _ => ProtocolStatus::Overloaded,
        };
        Event::End { app_status: 7, protocol_status }
    }

    /// Everything in `bytes`, which come in pieces of this size; pieces of one stream are joined.
    fn decode_all(bytes: &[u8], step: usize) -> Result<Vec<Event>, RecordError> {
        let (mut decoder, mut buffer, mut events) =
            (Decoder::default(), BytesMut::new(), Vec::<Event>::new());
        for bytes in bytes.chunks(step.max(1)) {
            buffer.extend_from_slice(bytes);
            while let Some(event) = decoder.decode(&mut buffer)? {
                let joined = match (events.last_mut(), &event) {
                    (Some(Event::Stdout(last)), Event::Stdout(next))
                    | (Some(Event::Stderr(last)), Event::Stderr(next)) => {
                        *last = [&last[..], next].concat().into();
                        true
                    }
                    _ => false,
                };
                if !joined {
                    events.push(event);
                }
            }
        }
        Ok(events)
    }

    #[test]
    fn an_answer_is_read_however_it_is_cut() {
        let bytes = [
            record(STDOUT, 1, b"one", 5),
            record(STDERR, 1, b"log", 0),
            record(10, 0, &[1; 300], 255),
            record(STDERR, 1, b"", 3),
            record(STDOUT, 1, b"two", 0),
            record(STDOUT, 1, b"", 0),
            record(END_REQUEST, 1, &[0, 0, 0, 7, 0, 9, 9, 9], 8),
        ]
        .concat();
        let expected = vec![
            Event::Stdout(Bytes::from_static(b"one")),
            Event::Stderr(Bytes::from_static(b"log")),
            Event::Stdout(Bytes::from_static(b"two")),
            end(0),
        ];
        for step in 1..=bytes.len() {
            assert_eq!(decode_all(&bytes, step), Ok(expected.clone()), "in steps of {step}");
        }
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for (bytes, error) in [
            (b"HTTP/1.1 400 Bad Request\r\n".to_vec(), RecordError::Version(b'H')),
            (record(STDOUT, 2, b"", 0), RecordError::Request(2)),
            (record(STDIN, 1, b"", 0), RecordError::Kind(5)),
            (record(11, 1, b"", 0), RecordError::Kind(11)),
            (record(END_REQUEST, 1, &[0; 7], 0), RecordError::End),
            (record(END_REQUEST, 1, &[0; 9], 0), RecordError::End),
            (record(END_REQUEST, 1, &[0, 0, 0, 0, 4, 0, 0, 0], 0), RecordError::End),
        ] {
            assert_eq!(decode_all(&bytes, bytes.len()), Err(error));
        }
    }

    #[test]
    fn a_decoder_knows_whether_a_record_is_whole() {
        let mut decoder = Decoder::default();
        let mut bytes = BytesMut::from(&record(END_REQUEST, 1, &[0; 8], 2)[..]);
        let rest = bytes.split_off(bytes.len() - 1);
        decoder.decode(&mut bytes).unwrap().unwrap();
        assert!(!decoder.is_between_records());
        bytes.unsplit(rest);
        assert_eq!(decoder.decode(&mut bytes), Ok(None));
        assert!(decoder.is_between_records());
    }

    type Pair = (Vec<u8>, Vec<u8>);

    /// What a program would read: the records with their kinds, and the parameters.
    fn read(mut bytes: &[u8]) -> (Vec<(u8, usize)>, Vec<Pair>) {
        let (mut records, mut pairs) = (Vec::new(), Vec::new());
        while let Some((header, rest)) = bytes.split_first_chunk::<8>() {
            let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
            let (mut content, rest) = rest.split_at(length);
            records.push((header[1], length));
            bytes = rest;
            while header[1] == PARAMS && !content.is_empty() {
                let mut lengths = [0, 0];
                for length in &mut lengths {
                    let long = content[0] & 0x80 != 0;
                    let (number, rest) = content.split_at(if long { 4 } else { 1 });
                    *length = number.iter().fold(0, |all, byte| all << 8 | usize::from(*byte));
                    *length &= if long { 0x7fff_ffff } else { 0x7f };
                    content = rest;
                }
                let (name, rest) = content.split_at(lengths[0]);
                let (value, rest) = rest.split_at(lengths[1]);
                pairs.push((name.to_vec(), value.to_vec()));
                content = rest;
            }
        }
        assert!(bytes.is_empty());
        (records, pairs)
    }

    #[test]
    fn a_request_without_parameters_ends_them_once() {
        let (records, _) = read(&Head::new().finish(true));
        assert_eq!(records, [(BEGIN_REQUEST, 8), (PARAMS, 0)]);
        let (records, _) = read(&Head::new().finish(false));
        assert_eq!(records, [(BEGIN_REQUEST, 8), (PARAMS, 0), (STDIN, 0)]);
    }

    #[test]
    fn what_does_not_fit_into_a_record_is_not_put() {
        let mut head = Head::new();
        assert!(head.put(b"A", &[&vec![0; CONTENT_BYTES_MAX - 6]]));
        assert!(!head.put(b"A", &[&vec![0; CONTENT_BYTES_MAX - 5]]));
        assert!(!Parameters::default().put(b"A", &vec![0; CONTENT_BYTES_MAX]));
        let (records, _) = read(&head.finish(false));
        assert_eq!(records[1], (PARAMS, CONTENT_BYTES_MAX));
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_decoder(bytes: Vec<u8>, step in 1..64_usize) {
            drop(decode_all(&bytes, step));
        }

        #[test]
        fn parameters_arrive_as_they_were_put(
            fixed in prop::collection::vec((0..200_usize, 0..5000_usize), 0..8),
            pairs in prop::collection::vec((0..200_usize, 0..40_000_usize), 0..12),
        ) {
            let mut head = Head::new();
            let mut parameters = Parameters::default();
            for (name, value) in &fixed {
                prop_assert!(parameters.put(&vec![b'n'; *name], &vec![b'v'; *value]));
            }
            head.put_all(&parameters);
            for (name, value) in &pairs {
                let value = vec![b'v'; *value];
                prop_assert!(head.put(&vec![b'n'; *name], &[&value[..value.len() / 2], &value[value.len() / 2..]]));
            }
            let (records, got) = read(&head.finish(false));
            let got: Vec<_> = got.iter().map(|(name, value)| (name.len(), value.len())).collect();
            prop_assert_eq!(got, [fixed, pairs].concat());
            prop_assert!(records.iter().all(|(_, length)| *length <= CONTENT_BYTES_MAX));
            prop_assert_eq!(&records[records.len() - 2..], &[(PARAMS, 0), (STDIN, 0)]);
        }
    }
}
