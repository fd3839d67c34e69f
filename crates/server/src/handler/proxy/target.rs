//! What an upstream is asked for: the target of the request as it came, or with another beginning.

use bytes::Bytes;
use http::{Uri, uri::PathAndQuery};

/// The target of a request in origin form, or `*`. With `path`, that takes the place of the route's
/// path `route`.
pub(super) fn target(uri: &Uri, route: &str, path: Option<&str>) -> Option<PathAndQuery> {
    let own = uri.path_and_query();
    let Some(path) = path else {
        return Some(own.cloned().unwrap_or_else(|| PathAndQuery::from_static("/")));
    };
    let raw = own.map_or("/", PathAndQuery::path);
    if raw == "*" {
        return own.cloned();
    }
    let rest = after(raw, route);
    let path = path.trim_end_matches('/');
    let slash = if rest.is_empty() && path.is_empty() { "/" } else { "" };
    let query = own.and_then(PathAndQuery::query);
    let mark = if query.is_some() { "?" } else { "" };
    let parts = [path, slash, rest, mark, query.unwrap_or_default()];
    PathAndQuery::from_maybe_shared(Bytes::from(parts.concat())).ok()
}

/// What follows in a raw path after its route, whatever the spelling of that.
fn after<'a>(raw: &'a str, route: &str) -> &'a str {
    if route == "/" {
        return raw;
    }
    if let Some(rest) = raw.strip_prefix(route)
        && (rest.is_empty() || rest.starts_with('/'))
    {
        return rest;
    }
    // Its spelling has encoded characters or empty segments, as `decoded_path` undoes them.
    let (mut at, mut before) = (0, 0);
    let mut left = route.bytes().peekable();
    while let (Some(&wanted), Some(&first)) = (left.peek(), raw.as_bytes().get(at)) {
        let digits = raw.get(at + 1..at + 3).filter(|_| first == b'%');
        let byte = digits.and_then(|two| u8::from_str_radix(two, 16).ok()).unwrap_or(first);
        at += if first == b'%' { 3 } else { 1 };
        if byte == b'/' && before == b'/' {
            continue;
        }
        if byte != wanted {
            return raw;
        }
        before = byte;
        left.next();
    }
    raw.get(at..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(raw: &str, route: &str, path: Option<&str>, expected: &str) {
        let uri: Uri = raw.parse().unwrap();
        assert_eq!(target(&uri, route, path).unwrap(), expected, "{raw}");
    }

    #[test]
    fn a_target_goes_up_as_it_came() {
        for raw in ["/", "/a/b?c=d", "/%61//b?", "/a%2Fb", "*", "/?q", "/a;b=c/@:!$&'()*+,="] {
            check(raw, "/", None, raw);
        }
        check("http://a.example/b?c", "/", None, "/b?c");
        check("http://a.example", "/", None, "/");
    }

    #[test]
    fn another_path_takes_the_place_of_the_route_s() {
        check("/api/users?x=/api", "/api", Some("/v2"), "/v2/users?x=/api");
        check("/api", "/api", Some("/v2"), "/v2");
        check("/api/", "/api", Some("/v2"), "/v2/");
        check("/api", "/api", Some("/"), "/");
        check("/api?x", "/api", Some("/"), "/?x");
        check("/api/x", "/api", Some("/"), "/x");
        check("/users", "/", Some("/v2"), "/v2/users");
        check("/", "/", Some("/v2/"), "/v2/");
        check("*", "/", Some("/v2"), "*");
        check("/a/b/c%2Fd", "/a/b", Some("/x/y"), "/x/y/c%2Fd");
    }

    #[test]
    fn the_route_s_path_is_found_in_all_its_spellings() {
        check("/%61pi/users", "/api", Some("/v2"), "/v2/users");
        check("//api//users", "/api", Some("/v2"), "/v2//users");
        check("/%61%70i", "/api", Some("/v2"), "/v2");
        check("/a%2Fb/c", "/a/b", Some("/v2"), "/v2/c");
        check("/a//b/c", "/a/b", Some("/v2"), "/v2/c");
    }
}
