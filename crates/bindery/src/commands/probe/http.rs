//! One request by hand, and its answer.

use std::{
    io,
    time::{Duration, Instant},
};

use super::tls::Stream;

/// So much of an answer is read; the rest is not counted.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// So much of it is kept, for the status line.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// What came of a request.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    pub(super) request_bytes: usize,
    pub(super) sent_in: Duration,
    pub(super) first_byte: Option<Duration>,
    pub(super) total: Duration,
    pub(super) answer_bytes: usize,
    /// As it came: `HTTP/1.1 200 OK`.
    pub(super) status_line: Option<String>,
    pub(super) status: Option<u16>,
    pub(super) location: Option<String>,
}

/// Sends a GET and reads until the server closes.
///
/// # Errors
///
/// With what was seen until then.
pub(super) fn exchange(
    stream: &mut dyn Stream,
    authority: &str,
    path: &str,
) -> (Exchange, io::Result<()>) {
    let mut seen = Exchange::default();
    let done = drive(stream, authority, path, &mut seen);
    (seen, done)
}

fn drive(
    stream: &mut dyn Stream,
    authority: &str,
    path: &str,
    seen: &mut Exchange,
) -> io::Result<()> {
    let started = Instant::now();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: bindery-probe/{}\r\n\
         Accept: */*\r\nConnection: close\r\n\r\n",
        env!("CARGO_PKG_VERSION")
    );
    stream.write_all(request.as_bytes())?;
    stream.flush()?;
    seen.request_bytes = request.len();
    seen.sent_in = started.elapsed();
    let mut head = Vec::new();
    let mut bytes = [0; 16 * 1024];
    while seen.answer_bytes < ANSWER_BYTES_MAX {
        let length = match stream.read(&mut bytes) {
            Ok(length) => length,
            // Some servers close without saying so.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && !head.is_empty() => 0,
            Err(error) => return Err(error),
        };
        let first = started.elapsed();
        seen.first_byte.get_or_insert(first);
        if length == 0 {
            break;
        }
        seen.answer_bytes += length;
        let room = HEAD_BYTES_MAX.saturating_sub(head.len());
        head.extend_from_slice(bytes.get(..length.min(room)).unwrap_or_default());
    }
    seen.total = started.elapsed();
    read_head(&head, seen)
}

fn read_head(head: &[u8], seen: &mut Exchange) -> io::Result<()> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.split("\r\n").take_while(|line| !line.is_empty());
    let status_line = lines.next().unwrap_or_default();
    let status = status_line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5));
    seen.status = status.and_then(|status| status.parse().ok());
    if seen.status.is_none() {
        let why = if head.is_empty() { "no answer came" } else { "the answer is not HTTP/1" };
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    seen.status_line = Some(status_line.to_owned());
    let location = lines.filter_map(|line| line.split_once(':'));
    let mut location = location.filter(|(name, _)| name.eq_ignore_ascii_case("location"));
    seen.location = location.next().map(|(_, value)| value.trim().to_owned());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(head: &str, status: Option<u16>, location: Option<&str>) {
        let mut seen = Exchange::default();
        assert_eq!(read_head(head.as_bytes(), &mut seen).is_ok(), status.is_some(), "{head:?}");
        assert_eq!((seen.status, seen.location.as_deref()), (status, location), "{head:?}");
    }

    #[test]
    fn the_status_and_the_target_of_a_redirect_are_read() {
        check("HTTP/1.1 200 OK\r\nA: b\r\n\r\nLocation: no", Some(200), None);
        check("HTTP/1.0 308 \r\nLOCATION:  https://a/ \r\n\r\n", Some(308), Some("https://a/"));
        check("SSH-2.0-x\r\n", None, None);
        check("HTTP/1.1 2é", None, None);
        check("", None, None);
    }
}
