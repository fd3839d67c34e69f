//! Content in chunks (RFC 9112, 7.1): sizes, their extensions, and the line ends.

use super::Refusal;
use crate::limits::CHUNK_LINE_BYTES_MAX;

/// Where in a chunk the next byte belongs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Chunked {
    at: At,
    /// Of the size that is being read, and then what is left of the data.
    left: u64,
    /// Bytes of the line with the size.
    line_bytes: usize,
    /// Whether blanks may follow a size.
    blanks: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// The first digit of a size.
    #[default]
    Start,
    Size,
    /// White space that is only allowed before a `;`.
    Space,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    Trailers,
}

impl Chunked {
    /// Whether the last chunk has been read: trailers follow, or the empty line.
    pub(crate) fn is_at_trailers(&self) -> bool {
        self.at == At::Trailers
    }

    /// Where blanks behind a size are let pass, as some servers write them, for who undoes the
    /// chunks and hands them on as others.
    pub(crate) fn lenient() -> Self {
        Self { blanks: true, ..Self::default() }
    }

    /// How many of `bytes` are good: all, or those up to the trailers. With an error, those before
    /// it.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> Result<usize, (usize, Refusal)> {
        let mut used = 0;
        while let Some(rest @ [_, ..]) = bytes.get(used..)
            && !self.is_at_trailers()
        {
            used += match self.data(rest.len()) {
                0 => self.overhead(rest).map_err(|(good, refusal)| (used + good, refusal))?,
                data => data,
            };
        }
        Ok(used)
    }

    /// How many of so many bytes are data.
    pub(crate) fn data(&mut self, bytes: usize) -> usize {
        if self.at != At::Data {
            return 0;
        }
        let here = u64::try_from(bytes).unwrap_or(u64::MAX).min(self.left);
        self.left -= here;
        if self.left == 0 {
            self.at = At::DataCr;
        }
        usize::try_from(here).unwrap_or(bytes)
    }

    /// How many of `bytes` come before data or trailers. With an error, those before it.
    pub(crate) fn overhead(&mut self, bytes: &[u8]) -> Result<usize, (usize, Refusal)> {
        let mut used = 0;
        for byte in bytes {
            if matches!(self.at, At::Data | At::Trailers) {
                break;
            }
            self.at = self.step(*byte).map_err(|refusal| (used, refusal))?;
            used += 1;
        }
        Ok(used)
    }

    fn step(&mut self, byte: u8) -> Result<At, Refusal> {
        match self.at {
            At::DataCr if byte == b'\r' => return Ok(At::DataLf),
            At::DataLf if byte == b'\n' => {
                (self.left, self.line_bytes) = (0, 0);
                return Ok(At::Start);
            }
            At::DataCr | At::DataLf => return Err(Refusal::ChunkEnd),
            _ => {}
        }
        self.line_bytes += 1;
        if self.line_bytes > CHUNK_LINE_BYTES_MAX {
            return Err(Refusal::ChunkExtension);
        }
        match (self.at, byte) {
            (At::Start | At::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = u64::from(char::from(byte).to_digit(16).unwrap_or(0));
                // What no counter of bytes holds, signed ones included.
                let size = self.left.checked_mul(16).and_then(|size| size.checked_add(digit));
                let size = size.filter(|size| *size <= i64::MAX.unsigned_abs());
                self.left = size.ok_or(Refusal::ChunkSize)?;
                Ok(At::Size)
            }
            (At::Size | At::Space, b' ' | b'\t') => Ok(At::Space),
            (At::Size | At::Space, b';') => Ok(At::Extension),
            (At::Size | At::Extension, b'\r') => Ok(At::SizeLf),
            (At::Space, b'\r') if self.blanks => Ok(At::SizeLf),
            (At::Extension, b'\t' | b' '..=b'~' | 0x80..) => Ok(At::Extension),
            (At::Extension, _) => Err(Refusal::ChunkExtension),
            (At::SizeLf, b'\n') if self.left == 0 => Ok(At::Trailers),
            (At::SizeLf, b'\n') => Ok(At::Data),
            _ => Err(Refusal::ChunkSize),
        }
    }
}
