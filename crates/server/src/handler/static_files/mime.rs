//! The `Content-Type` of a file, by the ending of its name.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::Path};

use http::HeaderValue;

/// What is sent for a name without an ending, or with one that nobody knows (RFC 9110, 8.3).
const UNKNOWN: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// The type for a file of that name. Texts are said to be UTF-8.
pub(super) fn content_type(name: &[u8]) -> HeaderValue {
    let guess = mime_guess::from_path(Path::new(OsStr::from_bytes(name)));
    match guess.first_raw() {
        None => UNKNOWN,
        // The usual ones cost no allocation and no reference count.
        Some("text/html") => HeaderValue::from_static("text/html; charset=utf-8"),
        Some("text/css") => HeaderValue::from_static("text/css; charset=utf-8"),
        // RFC 9239 has one name for scripts and modules alike.
        Some("text/javascript" | "application/javascript") => {
            HeaderValue::from_static("text/javascript; charset=utf-8")
        }
        Some("text/plain") => HeaderValue::from_static("text/plain; charset=utf-8"),
        Some(text) if text.starts_with("text/") => {
            HeaderValue::try_from(format!("{text}; charset=utf-8")).unwrap_or(UNKNOWN)
        }
        Some(other) => HeaderValue::from_static(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_of_the_name_decides() {
        for (name, expected) in [
            (&b"a/index.html"[..], "text/html; charset=utf-8"),
            (b"INDEX.HTM", "text/html; charset=utf-8"),
            (b"a.css", "text/css; charset=utf-8"),
            (b"a.js", "text/javascript; charset=utf-8"),
            (b"a.mjs", "text/javascript; charset=utf-8"),
            (b"a.md", "text/markdown; charset=utf-8"),
            (b"a.json", "application/json"),
            (b"a.svg", "image/svg+xml"),
            (b"a.wasm", "application/wasm"),
            (b"a.tar.gz", "application/gzip"),
            (b"a.b/c", "application/octet-stream"),
            (b"a.nobodyknows", "application/octet-stream"),
            (b"\xff.png", "image/png"),
            (b"a.\xff", "application/octet-stream"),
            (b"", "application/octet-stream"),
        ] {
            assert_eq!(content_type(name), expected, "{}", String::from_utf8_lossy(name));
        }
    }
}
