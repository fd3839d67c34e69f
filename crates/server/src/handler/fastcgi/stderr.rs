//! What programs write to their log: lines in ours, within bounds, with the name of the site.

use std::sync::Arc;

use tracing::{debug, warn};

use crate::{
    limits::{FASTCGI_STDERR_BYTES_MAX, FASTCGI_STDERR_LINE_BYTES_MAX},
    log::StrangerLog,
};

/// The log of a program in one request.
#[derive(Debug)]
pub(super) struct Stderr {
    site: Arc<str>,
    script: Vec<u8>,
    lines: Arc<StrangerLog>,
    /// What was not written yet.
    text: Vec<u8>,
    /// How much was taken.
    bytes: usize,
    left_out: usize,
}

impl Stderr {
    pub(super) fn new(
        site: Arc<str>,
        script: impl Into<Vec<u8>>,
        lines: &Arc<StrangerLog>,
    ) -> Self {
        Self {
            site,
            script: script.into(),
            lines: Arc::clone(lines),
            text: Vec::new(),
            bytes: 0,
            left_out: 0,
        }
    }

    /// Takes a piece; a line may go on in the next.
    pub(super) fn take(&mut self, piece: &[u8]) {
        let room = FASTCGI_STDERR_BYTES_MAX - self.bytes;
        let (taken, rest) = piece.split_at(piece.len().min(room));
        self.text.extend_from_slice(taken);
        self.bytes += taken.len();
        self.left_out += rest.len();
    }

    /// Writes what was taken.
    pub(super) fn write(&mut self) {
        if self.text.is_empty() {
            return;
        }
        for line in std::mem::take(&mut self.text).split(|byte| *byte == b'\n') {
            let line = line.trim_ascii();
            if !line.is_empty() && self.lines.may_write() {
                let (site, script) = (&self.site, String::from_utf8_lossy(&self.script));
                warn!(%site, %script, text = %printable(line), "said by a script");
            }
        }
    }

    /// Writes what was taken, at the end of the request.
    pub(super) fn end(&mut self, app_status: u32) {
        self.write();
        if app_status != 0 {
            let script = String::from_utf8_lossy(&self.script);
            debug!(site = %self.site, %script, app_status, "a script ended with a status of its own");
        }
    }
}

impl Drop for Stderr {
    fn drop(&mut self) {
        self.write();
        if self.left_out > 0 && self.lines.may_write() {
            let Self { site, left_out, .. } = self;
            let script = String::from_utf8_lossy(&self.script);
            warn!(%site, %script, bytes = *left_out, "a script said more, which was left out");
        }
    }
}

/// One line of text, without what could look like another or move a cursor.
fn printable(line: &[u8]) -> String {
    let line = line.get(..FASTCGI_STDERR_LINE_BYTES_MAX).unwrap_or(line);
    let text = String::from_utf8_lossy(line);
    text.chars().map(|one| if one.is_control() { ' ' } else { one }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_and_made_printable() {
        assert_eq!(printable(b"PHP\x1b[31m a\tb\xff"), "PHP [31m a b\u{fffd}");
        let long = vec![b'x'; 2 * FASTCGI_STDERR_LINE_BYTES_MAX];
        assert_eq!(printable(&long).len(), FASTCGI_STDERR_LINE_BYTES_MAX);
    }

    #[test]
    fn a_request_says_no_more_than_its_bound() {
        let mut stderr = Stderr::new("a".into(), b"/a.php", &Arc::default());
        for _ in 0..10 {
            stderr.take(&vec![b'x'; FASTCGI_STDERR_BYTES_MAX / 2 - 1]);
            assert!(stderr.text.len() <= FASTCGI_STDERR_BYTES_MAX);
            stderr.write();
        }
        assert_eq!(stderr.bytes, FASTCGI_STDERR_BYTES_MAX);
        assert_eq!(stderr.left_out, 10 * (FASTCGI_STDERR_BYTES_MAX / 2 - 1) - stderr.bytes);
    }
}
