//! Lines of a head or of trailers: the request line, fields, and what they say about content
//! (RFC 9112, 2 to 6; RFC 9110, 5).

use memchr::memchr;

use super::{Content, Refusal};
use crate::limits::{
    LEADING_EMPTY_LINES_MAX, METHOD_BYTES_MAX, REQUEST_FIELDS_MAX, REQUEST_HEAD_BYTES_MAX,
    REQUEST_TARGET_BYTES_MAX,
};

/// Lines up to an empty one, as far as they have come.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// Where the line begins whose end is looked for.
    line: usize,
    /// How far its end was looked for.
    searched: usize,
    /// Empty lines before the request line.
    empty: usize,
    fields: usize,
    version: Option<Version>,
    length: Option<u64>,
    codings: Codings,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
}

/// What `Transfer-Encoding` names, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Codings {
    #[default]
    None,
    /// `chunked` and nothing else.
    Chunked,
    /// The last one is not `chunked`.
    Unknown,
    /// The last one is, and others come before it.
    UnknownThenChunked,
    /// Something follows `chunked`, or the field is empty.
    Wrong,
}

impl Lines {
    /// Whether nothing has come yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.searched == 0
    }

    /// The length of all lines with the empty one, when it has come. `bytes` begin where they began
    /// the last time.
    pub(super) fn scan(&mut self, bytes: &[u8], is_head: bool) -> Result<Option<usize>, Refusal> {
        loop {
            let rest = bytes.get(self.searched..).unwrap_or_default();
            let Some(lf) = memchr(b'\n', rest) else { return self.unfinished(bytes, is_head) };
            let lf = self.searched + lf;
            let line = bytes.get(self.line..lf).unwrap_or_default();
            let Some((b'\r', line)) = line.split_last() else { return Err(Refusal::BareLf) };
            (self.line, self.searched) = (lf + 1, lf + 1);
            self.check_size(lf + 1, is_head)?;
            if is_head && self.version.is_none() {
                if line.is_empty() {
                    // Old clients end their content with an empty line (RFC 9112, 2.2).
                    self.empty += 1;
                    if self.empty > LEADING_EMPTY_LINES_MAX {
                        return Err(Refusal::RequestLine);
                    }
                } else {
                    self.version = Some(request_line(line)?);
                }
            } else if line.is_empty() {
                return Ok(Some(lf + 1));
            } else {
                self.field(line, is_head)?;
            }
        }
    }

    /// What is already wrong without the end of the line. The rest waits for it.
    fn unfinished(&mut self, bytes: &[u8], is_head: bool) -> Result<Option<usize>, Refusal> {
        let new = bytes.get(self.searched..).unwrap_or_default();
        // A CR may be the last: its LF is on the way.
        let known = new.strip_suffix(b"\r").unwrap_or(new);
        if !is_text(known) {
            return Err(control(known));
        }
        // The CR is looked at again with what follows.
        self.searched += known.len();
        self.check_size(bytes.len(), is_head)?;
        Ok(None)
    }

    fn check_size(&self, bytes: usize, is_head: bool) -> Result<(), Refusal> {
        match bytes > REQUEST_HEAD_BYTES_MAX {
            true if is_head && self.version.is_none() => Err(Refusal::TargetTooLong),
            true => Err(Refusal::HeadTooLarge),
            false => Ok(()),
        }
    }

    fn field(&mut self, line: &[u8], is_head: bool) -> Result<(), Refusal> {
        self.fields += 1;
        if self.fields > REQUEST_FIELDS_MAX {
            return Err(Refusal::TooManyFields);
        }
        let name_end = line.iter().position(|byte| !is_token(*byte)).unwrap_or(line.len());
        let (name, value) = line.split_at_checked(name_end).unwrap_or_default();
        let Some((b':', value)) = value.split_first() else {
            return Err(match line.first() {
                Some(b' ' | b'\t') => Refusal::Folded,
                _ => Refusal::FieldName,
            });
        };
        if name.is_empty() {
            return Err(Refusal::FieldName);
        }
        if !is_text(value) {
            return Err(control(value));
        }
        match name.len() {
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                refuse_trailer(is_head)?;
                if self.length.is_some() {
                    return Err(Refusal::LengthTwice);
                }
                self.length = Some(length(value.trim_ascii())?);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                refuse_trailer(is_head)?;
                self.codings = self.codings.then(value);
            }
            4 if !is_head && name.eq_ignore_ascii_case(b"host") => return Err(Refusal::Trailer),
            _ => {}
        }
        Ok(())
    }

    /// What follows a head that is complete (RFC 9112, 6.3).
    pub(super) fn content(&self) -> Result<Content, Refusal> {
        match (self.codings, self.length) {
            (Codings::None, length) => Ok(Content::Length(length.unwrap_or(0))),
            (_, Some(_)) => Err(Refusal::LengthAndCoding),
            _ if self.version == Some(Version::Http10) => Err(Refusal::CodingInHttp10),
            (Codings::Chunked, None) => Ok(Content::Chunked),
            (Codings::UnknownThenChunked, None) => Err(Refusal::CodingUnknown),
            (Codings::Unknown | Codings::Wrong, None) => Err(Refusal::CodingNotChunked),
        }
    }
}

fn refuse_trailer(is_head: bool) -> Result<(), Refusal> {
    if is_head { Ok(()) } else { Err(Refusal::Trailer) }
}

impl Codings {
    /// With the codings of one more field.
    fn then(self, value: &[u8]) -> Self {
        value.split(|byte| *byte == b',').fold(self, |before, name| {
            let name = name.trim_ascii();
            match (before, name.eq_ignore_ascii_case(b"chunked")) {
                _ if name.is_empty() => Self::Wrong,
                (Self::None, true) => Self::Chunked,
                (Self::Unknown, true) => Self::UnknownThenChunked,
                (Self::None | Self::Unknown, false) => Self::Unknown,
                (Self::Chunked | Self::UnknownThenChunked | Self::Wrong, _) => Self::Wrong,
            }
        })
    }
}

/// Digits, and nothing else (RFC 9110, 8.6).
pub(crate) fn length(text: &[u8]) -> Result<u64, Refusal> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::Length);
    }
    let length = text.iter().try_fold(0_u64, |length, digit| {
        length.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    });
    match length {
        None => Err(Refusal::Length),
        // A number, but of more bytes than there are.
        Some(length) if length > i64::MAX.unsigned_abs() => Err(Refusal::LengthTooLarge),
        Some(length) => Ok(length),
    }
}

/// Exactly a method, a target and a version, with one space between (RFC 9112, 3).
fn request_line(line: &[u8]) -> Result<Version, Refusal> {
    let method_end = line.iter().position(|byte| !is_token(*byte)).unwrap_or(line.len());
    if method_end > METHOD_BYTES_MAX {
        return Err(Refusal::Method);
    }
    let (method, rest) = line.split_at_checked(method_end).unwrap_or_default();
    let Some((b' ', rest)) = rest.split_first() else { return Err(Refusal::RequestLine) };
    let target_end = rest.len().checked_sub(b" HTTP/1.1".len()).ok_or(Refusal::RequestLine)?;
    let (target, version) = rest.split_at_checked(target_end).unwrap_or_default();
    if method.is_empty() {
        return Err(Refusal::RequestLine);
    }
    let version = match version {
        b" HTTP/1.1" => Version::Http11,
        b" HTTP/1.0" => Version::Http10,
        [b' ', b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
            return Err(Refusal::Version);
        }
        _ => return Err(Refusal::RequestLine),
    };
    check_target(method, target)?;
    Ok(version)
}

/// One of the four forms, of characters that a target can have (RFC 9112, 3.2).
fn check_target(method: &[u8], target: &[u8]) -> Result<(), Refusal> {
    if target.len() > REQUEST_TARGET_BYTES_MAX {
        return Err(Refusal::TargetTooLong);
    }
    if !is_target(target) {
        return Err(Refusal::Target);
    }
    let is_connect = method == b"CONNECT";
    let good = match target {
        [b'/', ..] => !is_connect,
        b"*" => method == b"OPTIONS",
        _ if is_connect => {
            target.iter().all(|byte| !b"/?@".contains(byte)) && target.contains(&b':')
        }
        _ => is_absolute(target),
    };
    if good { Ok(()) } else { Err(Refusal::Target) }
}

/// An absolute form with a host and without a user (RFC 9110, 4.2.4).
fn is_absolute(target: &[u8]) -> bool {
    let after = |scheme: &[u8]| {
        let (own, rest) = target.split_at_checked(scheme.len())?;
        own.eq_ignore_ascii_case(scheme).then_some(rest)
    };
    let Some(rest) = after(b"http://").or_else(|| after(b"https://")) else { return false };
    let end = rest.iter().position(|byte| b"/?".contains(byte)).unwrap_or(rest.len());
    rest.get(..end).is_some_and(|authority| !authority.is_empty() && !authority.contains(&b'@'))
}

/// A character of a token (RFC 9110, 5.6.2).
fn is_token(byte: u8) -> bool {
    #[allow(clippy::indexing_slicing, reason = "a table for every byte")]
    TOKEN[usize::from(byte)]
}

#[allow(clippy::indexing_slicing, reason = "a table for every byte")]
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut characters: &[u8] = b"!#$%&'*+-.^_`|~0123456789\
        abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    while let [first, rest @ ..] = characters {
        table[*first as usize] = true;
        characters = rest;
    }
    table
};

/// Whether there is no control character but the tab (RFC 9110, 5.5).
pub(crate) fn is_text(bytes: &[u8]) -> bool {
    let plain = |word| (below(word, b' ') | equal(word, 127)) == 0;
    let one = |byte: u8| (byte >= b' ' || byte == b'\t') && byte != 127;
    // Tabs are few: where a word has something below a space, its bytes are looked at.
    all(bytes, plain, one) || bytes.iter().all(|byte| one(*byte))
}

/// Whether these are visible characters of ASCII that may stand in a target. What starts a fragment
/// may not.
fn is_target(bytes: &[u8]) -> bool {
    let plain =
        |word| (below(word, b'!') | equal(word, 127) | equal(word, b'#') | (word & HIGH)) == 0;
    all(bytes, plain, |byte| byte.is_ascii_graphic() && byte != b'#')
}

const EACH: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Not zero when one of eight bytes is below `limit`, which is at most 128.
fn below(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(EACH * u64::from(limit)) & !word & HIGH
}

/// Not zero when one of eight bytes is this.
fn equal(word: u64, byte: u8) -> u64 {
    below(word ^ (EACH * u64::from(byte)), 1)
}

/// Whether all eights of bytes, and what is left of less than eight, are as asked for.
fn all(bytes: &[u8], eight: impl Fn(u64) -> bool, one: impl Fn(u8) -> bool) -> bool {
    let (words, rest) = bytes.as_chunks::<8>();
    if !words.iter().all(|word| eight(u64::from_ne_bytes(*word))) {
        return false;
    }
    match bytes.last_chunk::<8>() {
        // Some are looked at twice, which costs less than one after another.
        Some(last) => rest.is_empty() || eight(u64::from_ne_bytes(*last)),
        None => rest.iter().all(|byte| one(*byte)),
    }
}

/// Which one it is.
fn control(bytes: &[u8]) -> Refusal {
    if bytes.contains(&b'\r') { Refusal::BareCr } else { Refusal::Control }
}

#[cfg(test)]
mod tests {
    use super::{is_target, is_text};

    #[test]
    fn a_token_has_letters_digits_and_some_others() {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        assert!((0..=u8::MAX).all(|byte| super::is_token(byte) == token(byte)));
    }

    #[test]
    fn each_byte_is_judged_alike_at_each_place() {
        for byte in 0..=u8::MAX {
            let text = byte == b'\t' || (byte >= b' ' && byte != 127);
            let target = byte.is_ascii_graphic() && byte != b'#';
            for length in 1..20 {
                for at in 0..length {
                    let mut bytes = vec![b'a'; length];
                    bytes[at] = byte;
                    assert_eq!(is_text(&bytes), text, "{byte} at {at} of {length}");
                    assert_eq!(is_target(&bytes), target, "{byte} at {at} of {length}");
                    bytes.push(0x1f);
                    assert!(!is_text(&bytes) && !is_target(&bytes));
                }
            }
        }
    }
}
