//! The `Content-Type` of a file, by the ending of its name: what the configuration says, then what
//! everybody knows, then bytes or nothing.

use std::{collections::HashMap, ffi::OsStr, os::unix::ffi::OsStrExt, path::Path};

use bindery_model::site::{Files, UnknownTypes};
use http::HeaderValue;

/// What is sent for a name without an ending, or with one that nobody knows (RFC 9110, 8.3).
const UNKNOWN: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// The types of one folder.
#[derive(Debug)]
pub(super) struct MediaTypes {
    own: HashMap<Vec<u8>, HeaderValue>,
    charset: Option<String>,
    unknown: UnknownTypes,
}

impl MediaTypes {
    pub(super) fn new(files: &Files) -> Self {
        let mut types = Self {
            own: HashMap::new(),
            charset: files.charset.clone(),
            unknown: files.unknown_types,
        };
        for (ending, name) in files.media_types.iter() {
            let value = HeaderValue::try_from(types.with_charset(name)).unwrap_or(UNKNOWN);
            types.own.insert(ending.to_ascii_lowercase().into_bytes(), value);
        }
        types
    }

    /// The type for a file of that name; none where it is not to be sent (IIS: 404.3).
    pub(super) fn of(&self, name: &[u8]) -> Option<HeaderValue> {
        let name = Path::new(OsStr::from_bytes(name));
        let own = name
            .extension()
            .filter(|_| !self.own.is_empty())
            .and_then(|ending| self.own.get(ending.to_ascii_lowercase().as_bytes()));
        if let Some(own) = own {
            return Some(own.clone());
        }
        if self.unknown == UnknownTypes::Listed {
            return None;
        }
        match (mime_guess::from_path(name).first_raw(), self.unknown) {
            (Some(known), _) => Some(self.known(known)),
            (None, UnknownTypes::Bytes) => Some(UNKNOWN),
            (None, UnknownTypes::Refuse | UnknownTypes::Listed) => None,
        }
    }

    fn known(&self, name: &'static str) -> HeaderValue {
        // RFC 9239 has one name for scripts and modules alike.
        let name = if name == "application/javascript" { "text/javascript" } else { name };
        // The usual ones cost no allocation and no reference count.
        match (name, self.charset.as_deref()) {
            ("text/html", Some("utf-8")) => HeaderValue::from_static("text/html; charset=utf-8"),
            ("text/css", Some("utf-8")) => HeaderValue::from_static("text/css; charset=utf-8"),
            ("text/plain", Some("utf-8")) => HeaderValue::from_static("text/plain; charset=utf-8"),
            ("text/javascript", Some("utf-8")) => {
                HeaderValue::from_static("text/javascript; charset=utf-8")
            }
            (text, Some(_)) if text.starts_with("text/") => {
                HeaderValue::try_from(self.with_charset(text)).unwrap_or(UNKNOWN)
            }
            (other, _) => HeaderValue::from_static(other),
        }
    }

    /// Texts get the charset unless they say one.
    fn with_charset(&self, name: &str) -> String {
        let lower = name.to_ascii_lowercase();
        match &self.charset {
            Some(charset) if lower.starts_with("text/") && !lower.contains("charset=") => {
                format!("{name}; charset={charset}")
            }
            _ => name.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn files() -> Files {
        Files::of(PathBuf::new())
    }

    #[track_caller]
    fn check(files: &Files, name: &[u8], expected: &str) {
        let value = MediaTypes::new(files).of(name);
        let value = value.as_ref().map_or("none", |value| value.to_str().unwrap());
        assert_eq!(value, expected, "{}", String::from_utf8_lossy(name));
    }

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
            (b"a.woff2", "font/woff2"),
            (b"a.avif", "image/avif"),
            (b"a.webp", "image/webp"),
            (b"a.mp4", "video/mp4"),
            (b"a.pdf", "application/pdf"),
            (b"a.webmanifest", "application/manifest+json"),
            (b"a.tar.gz", "application/gzip"),
            (b"a.b/c", "application/octet-stream"),
            (b"a.nobodyknows", "application/octet-stream"),
            (b"\xff.png", "image/png"),
            (b"a.\xff", "application/octet-stream"),
            (b"", "application/octet-stream"),
        ] {
            check(&files(), name, expected);
        }
    }

    #[test]
    fn types_of_the_configuration_come_before_those_that_everybody_knows() {
        let own =
            [("foo", "application/x-foo"), ("css", "text/x-css"), ("l1", "text/x; CHARSET=l1")];
        let own = own.map(|(ending, name)| (ending.to_owned(), name.to_owned()));
        let files = Files { media_types: own.into(), ..files() };
        check(&files, b"a.foo", "application/x-foo");
        check(&files, b"a.FOO", "application/x-foo");
        check(&files, b"a.css", "text/x-css; charset=utf-8");
        check(&files, b"a.l1", "text/x; CHARSET=l1");
        check(&files, b"a.html", "text/html; charset=utf-8");
        check(&files, b"foo", "application/octet-stream");
    }

    #[test]
    fn texts_have_the_charset_of_the_configuration_or_none() {
        let latin = Files { charset: Some("iso-8859-1".to_owned()), ..files() };
        check(&latin, b"a.html", "text/html; charset=iso-8859-1");
        check(&latin, b"a.js", "text/javascript; charset=iso-8859-1");
        check(&latin, b"a.json", "application/json");
        let none = Files { charset: None, ..files() };
        check(&none, b"a.html", "text/html");
        check(&none, b"a.md", "text/markdown");
    }

    #[test]
    fn what_no_table_knows_may_be_refused() {
        let own = [("foo".to_owned(), "application/x-foo".to_owned())];
        let unknown_types = UnknownTypes::Refuse;
        let files = Files { media_types: own.into(), unknown_types, ..files() };
        check(&files, b"a.nobodyknows", "none");
        check(&files, b"LICENSE", "none");
        check(&files, b"a.foo", "application/x-foo");
        check(&files, b"a.txt", "text/plain; charset=utf-8");
    }

    #[test]
    fn the_list_of_the_configuration_may_be_all_there_is() {
        let own = [("foo".to_owned(), "application/x-foo".to_owned())];
        let unknown_types = UnknownTypes::Listed;
        let files = Files { media_types: own.into(), unknown_types, ..files() };
        check(&files, b"a.foo", "application/x-foo");
        for name in ["a.txt", "a.html", "a.nobodyknows", "LICENSE"] {
            check(&files, name.as_bytes(), "none");
        }
    }
}
