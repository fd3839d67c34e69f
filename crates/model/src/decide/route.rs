//! Which route of a site answers a path: the longest that covers it, on segment borders.

use std::borrow::Cow;

use crate::site::{Route, Site};

/// The path of a request as routes and rules see it: percent-encodings undone, empty segments left
/// out, and so the same for all spellings of one path.
///
/// # Errors
///
/// For what clients never send and different readers read differently: dot segments, plain or
/// encoded (clients remove them, RFC 3986, 5.2.4), `%` without two digits, and encoded NUL. The
/// text says which.
pub fn decoded_path(raw: &str) -> Result<Cow<'_, [u8]>, &'static str> {
    let bytes = raw.as_bytes();
    if is_plain(bytes) {
        return Ok(Cow::Borrowed(bytes));
    }
    let mut decoded: Vec<u8> = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter().copied();
    while let Some(byte) = rest.next() {
        let byte = match byte {
            b'%' => {
                let digits = (rest.next().and_then(digit), rest.next().and_then(digit));
                let (Some(high), Some(low)) = digits else {
                    return Err("a percent sign without two hexadecimal digits in the path");
                };
                high << 4 | low
            }
            other => other,
        };
        if byte == 0 {
            return Err("a NUL in the path");
        }
        if byte == b'/' && decoded.last() == Some(&b'/') {
            continue;
        }
        decoded.push(byte);
    }
    // And some take what follows a semicolon away before they look.
    let dots = |segment: &[u8]| {
        let end = segment.iter().position(|byte| *byte == b';').unwrap_or(segment.len());
        matches!(segment.get(..end), Some(b"." | b".."))
    };
    // A backslash is a slash to some readers.
    if decoded.split(|byte| matches!(byte, b'/' | b'\\')).any(dots) {
        return Err("a dot segment in the path");
    }
    Ok(Cow::Owned(decoded))
}

/// Whether the path is what it looks like: nothing encoded, no empty and no dot segment.
fn is_plain(bytes: &[u8]) -> bool {
    if bytes.starts_with(b".") {
        return false;
    }
    let mut before = 0;
    for &byte in bytes {
        if matches!(byte, b'%' | b'\\') || before == b'/' && matches!(byte, b'/' | b'.') {
            return false;
        }
        before = byte;
    }
    true
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Whether a route at `prefix` covers `path`: the path itself, or what follows after a slash. The
/// case of ASCII letters may be left out of account.
#[must_use]
pub fn covers(prefix: &str, path: &[u8], ignore_case: bool) -> bool {
    if prefix == "/" {
        return true;
    }
    let Some((head, rest)) = path.split_at_checked(prefix.len()) else { return false };
    let same = match ignore_case {
        true => head.eq_ignore_ascii_case(prefix.as_bytes()),
        false => head == prefix.as_bytes(),
    };
    same && matches!(rest, [] | [b'/', ..])
}

/// The place in [`Site::all_routes`] of the route that answers `path`, one that [`decoded_path`]
/// gave.
#[must_use]
pub fn route_of<'a>(
    routes: impl IntoIterator<Item = &'a str>,
    path: &[u8],
    ignore_case: bool,
) -> usize {
    let covering =
        routes.into_iter().enumerate().filter(|(_, prefix)| covers(prefix, path, ignore_case));
    covering.max_by_key(|(_, prefix)| prefix.len()).map_or(0, |(place, _)| place)
}

impl Site {
    /// The route that answers `path`, one that [`decoded_path`] gave.
    #[must_use]
    pub fn route(&self, path: &[u8]) -> &Route {
        let paths = self.all_routes().map(|route| route.path.as_str());
        let place = route_of(paths, path, self.ignore_case);
        self.all_routes().nth(place).unwrap_or(&self.root)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn all_spellings_of_a_path_are_one() {
        for (raw, expected) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/b/", "/a/b/"),
            ("/%61/b", "/a/b"),
            ("//a///b", "/a/b"),
            ("/a%2Fb", "/a/b"),
            ("/a%2f%2fb", "/a/b"),
            ("/.well-known/x", "/.well-known/x"),
            ("/...", "/..."),
            ("/a.b/c.", "/a.b/c."),
            ("*", "*"),
            ("", ""),
        ] {
            assert_eq!(decoded_path(raw).as_deref(), Ok(expected.as_bytes()), "{raw}");
        }
    }

    #[test]
    fn what_readers_read_differently_is_refused() {
        for raw in [
            "/..",
            "/a/../b",
            "/a/./b",
            "/%2e%2e/b",
            "/.%2E/b",
            "/a%2f..%2fb",
            "/a\\..\\b",
            "/a/..;/b",
            "/a/.;x=1/b",
            "/a/..%3bx",
            "/a%5c..%5cb",
            "/%00",
            "/%",
            "/%4",
            "/%zz",
        ] {
            assert!(decoded_path(raw).is_err(), "{raw}");
        }
    }

    #[test]
    fn the_longest_route_on_a_segment_border_answers() {
        let routes = ["/", "/shop", "/shop/images", "/sh"];
        for (path, expected) in [
            ("/", "/"),
            ("/shop", "/shop"),
            ("/shop/", "/shop"),
            ("/shop/a", "/shop"),
            ("/shopping", "/"),
            ("/shop/images", "/shop/images"),
            ("/shop/images/a", "/shop/images"),
            ("/shop/imagesa", "/shop"),
            ("/sh/op", "/sh"),
            ("/Shop", "/"),
            ("*", "/"),
        ] {
            assert_eq!(routes[route_of(routes, path.as_bytes(), false)], expected, "{path}");
        }
        for (path, expected) in [("/SHOP/a", "/shop"), ("/Shopping", "/"), ("/sH", "/sh")] {
            assert_eq!(routes[route_of(routes, path.as_bytes(), true)], expected, "{path}");
        }
    }

    proptest! {
        #[test]
        fn a_decoded_path_has_no_dot_segment_and_no_empty_one(raw in "(/|%2f|\\.|%2e|a|%61|\\\\|%)*") {
            if let Ok(path) = decoded_path(&raw) {
                prop_assert!(!path.windows(2).any(|pair| pair == b"//"));
                prop_assert!(!path.split(|byte| *byte == b'/').any(|s| s == b"." || s == b".."));
                prop_assert!(!path.contains(&0));
            }
        }
    }
}
