//! The path of a request as the name of a file below a root: decoded once, refused when it is
//! anything but plain names.
//!
//! Nothing here keeps a request inside its root; the kernel does that (see `root`). What is refused
//! here is what no honest client sends, and what different readers would read differently:
//!
//! | in the path | answer | because |
//! |---|---|---|
//! | `.` or `..` as a segment, plain or encoded | 400 | clients remove them (RFC 3986, 5.2.4) |
//! | `%2f`, `\`, `%5c`, NUL, `%` without two digits | 400 | another program may see other segments |
//! | an empty segment, as in `//` | 404 | one file has one path, and routes are matched on it |
//! | a segment that begins with a dot | 404 | `.git`, `.env`; but `.well-known` as the first (RFC 8615) |
//! | `web.config` as a segment, in any case | 404 | IIS never sends it, so passwords stand in it |

use std::borrow::Cow;

use bindery_model::decide;

use crate::limits;

/// A path that names something below a root: `/`, then names between single slashes, then a slash
/// if a folder is meant. No name is empty, `.` or `..`, none holds a slash, a backslash or NUL.
/// The names are bytes, as Linux has them, and need not be UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestPath<'a> {
    whole: Cow<'a, [u8]>,
    /// Of the whole, so many bytes are the path of the route; the names are below it.
    route: usize,
}

/// Why a path names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// No honest client sends it: 400.
    #[error("{0}")]
    Malformed(&'static str),
    /// It has an empty segment: 404.
    #[error("the path has an empty segment")]
    NotFound,
    /// It has a segment that is never there for clients: 404.
    #[error("the path has a hidden segment")]
    Hidden,
    /// It is longer than [`limits::PATH_BYTES_MAX`]: 414.
    #[error("the path is too long")]
    TooLong,
}

/// Reads the path of a request target (RFC 9110, 4.2; without the query). Percent-encoding is
/// undone exactly once.
///
/// # Errors
///
/// As the module's table says.
pub fn parse(raw: &[u8]) -> Result<RequestPath<'_>, PathError> {
    if raw.len() > limits::PATH_BYTES_MAX {
        return Err(PathError::TooLong);
    }
    let decoded = if raw.contains(&b'%') { Cow::Owned(decode(raw)?) } else { Cow::Borrowed(raw) };
    let Some((b'/', rest)) = decoded.split_first() else {
        return Err(PathError::Malformed("the path does not begin with a slash"));
    };
    if rest.contains(&0) {
        return Err(PathError::Malformed("the path holds a NUL"));
    }
    if rest.contains(&b'\\') {
        return Err(PathError::Malformed("the path holds a backslash"));
    }
    read_segments(rest)?;
    Ok(RequestPath { whole: decoded, route: 0 })
}

fn decode(raw: &[u8]) -> Result<Vec<u8>, PathError> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let (Some(high), Some(low)) =
            (bytes.next().and_then(hexadecimal), bytes.next().and_then(hexadecimal))
        else {
            return Err(PathError::Malformed("a percent sign without two hexadecimal digits"));
        };
        let byte = high << 4 | low;
        if byte == b'/' {
            return Err(PathError::Malformed("the path holds an encoded slash"));
        }
        decoded.push(byte);
    }
    Ok(decoded)
}

fn hexadecimal(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

fn read_segments(rest: &[u8]) -> Result<(), PathError> {
    let mut segments = rest.split(|&byte| byte == b'/').peekable();
    let mut first = true;
    while let Some(segment) = segments.next() {
        match segment {
            b"." | b".." => return Err(PathError::Malformed("the path holds a dot segment")),
            b"" if segments.peek().is_none() => {}
            b".well-known" if first => {}
            b"" => return Err(PathError::NotFound),
            name if is_hidden(name) => return Err(PathError::Hidden),
            _ => {}
        }
        first = false;
    }
    Ok(())
}

/// Whether a name is never there for clients, at any depth.
pub(super) fn is_hidden(name: &[u8]) -> bool {
    name.starts_with(b".") || name.eq_ignore_ascii_case(b"web.config")
}

impl<'a> RequestPath<'a> {
    /// The same path as that of a file below a route: `/`, or segments without a slash at the end.
    /// `None` where the route does not cover it.
    #[must_use]
    pub fn below(self, route: &str) -> Option<Self> {
        if route == "/" {
            return Some(self);
        }
        // Whether case counts was a matter of finding the route.
        decide::route::covers(route, &self.whole, true)
            .then_some(Self { route: route.len(), ..self })
    }

    /// The path at which a file with this name below a route is found.
    #[must_use]
    pub fn of_file(route: &str, name: &str) -> RequestPath<'static> {
        let route = if route == "/" { "" } else { route };
        let whole = Cow::Owned(format!("{route}/{name}").into_bytes());
        RequestPath { whole, route: route.len() }
    }

    /// The whole, from the first slash on.
    #[must_use]
    pub fn decoded(&self) -> &[u8] {
        &self.whole
    }

    /// Does it end with a slash?
    #[must_use]
    pub fn is_folder(&self) -> bool {
        self.whole.ends_with(b"/")
    }

    /// The names without the slashes around them: what to open below the root. Empty for the root.
    #[must_use]
    pub fn relative(&self) -> &[u8] {
        let path = self.whole.get(self.route..).unwrap_or_default();
        let path = path.strip_prefix(b"/").unwrap_or_default();
        path.strip_suffix(b"/").unwrap_or(path)
    }

    /// The same, for longer than the request lives.
    #[must_use]
    pub fn into_owned(self) -> RequestPath<'static> {
        RequestPath { whole: Cow::Owned(self.whole.into_owned()), route: self.route }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(raw: &str, expected: Result<(&str, bool), u16>) {
        let answer = match parse(raw.as_bytes()) {
            Ok(path) => {
                Ok((String::from_utf8(path.relative().to_vec()).unwrap(), path.is_folder()))
            }
            Err(PathError::Malformed(_)) => Err(400),
            Err(PathError::NotFound | PathError::Hidden) => Err(404),
            Err(PathError::TooLong) => Err(414),
        };
        assert_eq!(answer, expected.map(|(name, folder)| (name.to_owned(), folder)), "{raw:?}");
    }

    #[test]
    fn plain_names_are_taken_as_they_are() {
        check("/", Ok(("", true)));
        check("/a", Ok(("a", false)));
        check("/a/", Ok(("a", true)));
        check("/a/b.c/d", Ok(("a/b.c/d", false)));
        check("/a..b/c.", Ok(("a..b/c.", false)));
        check("/web.config.txt", Ok(("web.config.txt", false)));
        check("/~user/a;b=c", Ok(("~user/a;b=c", false)));
        check("/%7euser/%41%20b", Ok(("~user/A b", false)));
        check("/a?b", Ok(("a?b", false)));
    }

    #[test]
    fn encoding_is_undone_exactly_once() {
        check("/a%2562", Ok(("a%62", false)));
        check("/%252e%252e/a", Ok(("%2e%2e/a", false)));
        check("/%25", Ok(("%", false)));
    }

    #[test]
    fn what_no_honest_client_sends_is_a_bad_request() {
        for raw in [
            "",
            "a",
            "*",
            "/..",
            "/../a",
            "/a/..",
            "/a/../b",
            "/.",
            "/./a",
            "/a/./b",
            "/%2e%2e/a",
            "/%2E%2e/",
            "/.%2e/a",
            "/%2e/a",
            "/a%2fb",
            "/a%2Fb",
            "/..%2fa",
            "/..%5ca",
            "/a\\b",
            "/%5c",
            "/a%00",
            "/%00",
            "/%",
            "/%2",
            "/%zz",
            "/%+1",
            "/a%",
            "/\0",
        ] {
            check(raw, Err(400));
        }
    }

    #[test]
    fn empty_and_hidden_segments_name_nothing() {
        for raw in [
            "//",
            "//a",
            "/a//b",
            "/a//",
            "//example.com/",
            "/.git/config",
            "/.env",
            "/a/.htaccess",
            "/%2egit",
            "/...",
            "/a/.well-known/b",
            "/.well-known/.env",
            "/.well-knownx",
            "/web.config",
            "/a/WEB.config",
            "/web.%63onfig/",
        ] {
            check(raw, Err(404));
        }
    }

    #[test]
    fn the_well_known_folder_is_not_hidden() {
        check("/.well-known/security.txt", Ok((".well-known/security.txt", false)));
        check("/.well-known", Ok((".well-known", false)));
    }

    #[test]
    fn a_path_may_be_as_long_as_its_limit_and_no_longer() {
        let longest = format!("/{}", "a".repeat(limits::PATH_BYTES_MAX - 1));
        check(&longest, Ok((&longest[1..], false)));
        check(&format!("{longest}a"), Err(414));
    }

    #[test]
    fn a_name_need_not_be_utf_8() {
        assert_eq!(parse(b"/%ff\xfe").unwrap().relative(), b"\xff\xfe");
    }

    #[test]
    fn below_a_route_names_begin_after_it() {
        for (route, raw, expected) in [
            ("/shop", "/shop", Some(("", false))),
            ("/shop", "/shop/", Some(("", true))),
            ("/shop", "/%73hop/a/b", Some(("a/b", false))),
            ("/shop", "/shopping", None),
            ("/shop", "/a", None),
            ("/a/b", "/a/b/c/", Some(("c", true))),
            ("/", "/a", Some(("a", false))),
        ] {
            let path = parse(raw.as_bytes()).unwrap().below(route);
            let names = path.as_ref().map(|path| (path.relative(), path.is_folder()));
            let expected = expected.map(|(name, folder): (&str, bool)| (name.as_bytes(), folder));
            assert_eq!(names, expected, "{raw} below {route}");
        }
        for (route, whole) in [("/", "/a/b"), ("/shop", "/shop/a/b")] {
            let path = RequestPath::of_file(route, "a/b");
            assert_eq!((path.decoded(), path.relative()), (whole.as_bytes(), &b"a/b"[..]));
            assert_eq!(parse(whole.as_bytes()).unwrap().below(route).as_ref(), Some(&path));
        }
    }

    /// Paths as strangers write them: mostly made of what matters here.
    fn raw_paths() -> impl Strategy<Value = Vec<u8>> {
        let pieces = proptest::sample::select(vec![
            "/", ".", "..", "%2e", "%2f", "%5c", "\\", "%00", "%", "%25", "a", "B", "é", "?", " ",
        ]);
        let nasty = proptest::collection::vec(pieces, 0..12).prop_map(|p| p.concat().into_bytes());
        prop_oneof![nasty, proptest::collection::vec(any::<u8>(), 0..40)]
    }

    proptest! {
        #[test]
        fn no_path_ever_leads_out_of_the_root(raw in raw_paths()) {
            if let Ok(path) = parse(&raw) {
                let relative = path.relative();
                prop_assert!(!relative.starts_with(b"/") && !relative.ends_with(b"/"));
                prop_assert!(!relative.contains(&0) && !relative.contains(&b'\\'));
                for (index, segment) in relative.split(|&byte| byte == b'/').enumerate() {
                    prop_assert!(!segment.is_empty() || relative.is_empty());
                    let hidden = segment.starts_with(b".");
                    prop_assert!(!hidden || (index == 0 && segment == b".well-known"));
                }
                prop_assert!(path.decoded().len() <= raw.len());
            }
        }

        #[test]
        fn an_encoded_name_comes_back_as_it_was(name in "[^/\\\\.\0][^/\\\\\0]{0,20}") {
            let encoded: String = name.bytes().map(|byte| format!("%{byte:02x}")).collect();
            let raw = format!("/{encoded}");
            let path = parse(raw.as_bytes()).unwrap();
            prop_assert_eq!(path.relative(), name.as_bytes());
        }
    }
}
