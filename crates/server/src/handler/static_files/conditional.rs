//! Preconditions and ranges of a request, in the order of RFC 9110, 13.2.2.

use std::time::SystemTime;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE},
};

use super::{
    range::{self, ByteRange, Ranges},
    representation::Representation,
};
use crate::http::error::RequestError;

/// What of a file is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Selection {
    Whole,
    Part(ByteRange),
    /// At least two, none of which has a byte of another.
    Parts(Vec<ByteRange>),
    NotModified,
}

/// For GET and HEAD of a file that exists.
///
/// # Errors
///
/// [`RequestError::PreconditionFailed`] and [`RequestError::RangeNotSatisfiable`].
pub(super) fn select(
    method: &Method,
    headers: &HeaderMap,
    file: &Representation,
) -> Result<Selection, RequestError> {
    let unchanged = match held(headers, &IF_MATCH, &file.etag, Comparison::Strong) {
        Some(matches) => matches,
        // A file without a date cannot fail it (RFC 9110, 13.1.4).
        None => match (date(headers, &IF_UNMODIFIED_SINCE), file.modified) {
            (Some(date), Some(modified)) => modified <= date,
            _ => true,
        },
    };
    if !unchanged {
        return Err(RequestError::PreconditionFailed);
    }
    let known = match held(headers, &IF_NONE_MATCH, &file.etag, Comparison::Weak) {
        Some(matches) => matches,
        None => is_unmodified_since(headers, file),
    };
    if known {
        return Ok(Selection::NotModified);
    }
    // Range means something for GET only (RFC 9110, 14.2).
    if *method != Method::GET {
        return Ok(Selection::Whole);
    }
    let Some(range) = only(headers, &RANGE) else {
        return Ok(Selection::Whole);
    };
    if !is_same_version(headers, file) {
        return Ok(Selection::Whole);
    }
    let length = file.stamp.length();
    match range::parse(range.as_bytes(), length) {
        Ranges::Ignored => Ok(Selection::Whole),
        Ranges::One(range) => Ok(Selection::Part(range)),
        Ranges::Many(ranges) => Ok(Selection::Parts(ranges)),
        Ranges::Unsatisfiable => Err(RequestError::RangeNotSatisfiable { length }),
    }
}

fn is_unmodified_since(headers: &HeaderMap, file: &Representation) -> bool {
    let Some(value) = only(headers, &IF_MODIFIED_SINCE) else {
        return false;
    };
    // Nearly always it is what we sent, and then there is nothing to parse.
    if file.last_modified.as_ref().is_some_and(|sent| sent == value) {
        return true;
    }
    match (parse_date(value), file.modified) {
        (Some(date), Some(modified)) => modified <= date,
        _ => false,
    }
}

/// `If-Range` (RFC 9110, 13.1.5): true if absent. Only a strong validator will do, because bytes of
/// two versions would be joined otherwise; a date is one when the file is settled.
fn is_same_version(headers: &HeaderMap, file: &Representation) -> bool {
    if !headers.contains_key(IF_RANGE) {
        return true;
    }
    let Some(value) = only(headers, &IF_RANGE) else {
        return false;
    };
    let text = value.as_bytes();
    if text.starts_with(b"\"") || text.starts_with(b"W/") {
        return list_has(text, file.etag.as_bytes(), Comparison::Strong);
    }
    file.settled && file.modified.is_some() && parse_date(value) == file.modified
}

/// RFC 9110, 8.8.3.2.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// Does a field with a list of entity tags name ours? `None` if there is no such field.
fn held(
    headers: &HeaderMap,
    name: &HeaderName,
    etag: &HeaderValue,
    comparison: Comparison,
) -> Option<bool> {
    if !headers.contains_key(name) {
        return None;
    }
    Some(headers.get_all(name).iter().any(|list| {
        let list = list.as_bytes().trim_ascii();
        list == b"*" || list_has(list, etag.as_bytes(), comparison)
    }))
}

/// Reads tags until ours is found or the list is not one any more.
fn list_has(mut list: &[u8], ours: &[u8], comparison: Comparison) -> bool {
    let (our_weakness, our_tag) = weakness(ours);
    loop {
        list = skip(list, |byte| matches!(byte, b' ' | b'\t' | b','));
        let (weak, tag) = weakness(list);
        let Some(opaque) = tag.strip_prefix(b"\"") else {
            return false;
        };
        let Some(end) = opaque.iter().position(|&byte| byte == b'"') else {
            return false;
        };
        // With both its quotes, as `our_tag` is.
        let (Some(tag), Some(rest)) = (tag.get(..end + 2), opaque.get(end + 1..)) else {
            return false;
        };
        let strong_enough = comparison == Comparison::Weak || !(weak || our_weakness);
        if strong_enough && tag == our_tag {
            return true;
        }
        list = skip(rest, |byte| matches!(byte, b' ' | b'\t'));
        if !list.starts_with(b",") {
            return false;
        }
    }
}

fn weakness(tag: &[u8]) -> (bool, &[u8]) {
    match tag.strip_prefix(b"W/") {
        Some(opaque) => (true, opaque),
        None => (false, tag),
    }
}

fn skip(text: &[u8], what: impl Fn(u8) -> bool) -> &[u8] {
    let end = text.iter().position(|&byte| !what(byte)).unwrap_or(text.len());
    text.get(end..).unwrap_or_default()
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    parse_date(only(headers, name)?)
}

fn parse_date(value: &HeaderValue) -> Option<SystemTime> {
    httpdate::parse_http_date(value.to_str().ok()?).ok()
}

/// The value of a field that may come once. Twice is malformed, and then it is as if absent.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let value = headers.get(name)?;
    let mut all = headers.get_all(name).iter();
    all.next();
    all.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::{super::representation::tests::file, *};

    const MINUTE_0: &str = "Thu, 01 Jan 1970 00:00:00 GMT";
    const MINUTE_1: &str = "Thu, 01 Jan 1970 00:01:00 GMT";
    const MINUTE_2: &str = "Thu, 01 Jan 1970 00:02:00 GMT";

    fn outcome(method: &Method, request: &str, file: &Representation) -> String {
        let mut headers = HeaderMap::new();
        for line in request.split('|').filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(": ").unwrap();
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                value.replace("TAG", "\"df8475805-a-abc\"").parse().unwrap(),
            );
        }
        match select(method, &headers, file) {
            Ok(Selection::Whole) => "200".to_owned(),
            Ok(Selection::NotModified) => "304".to_owned(),
            Ok(Selection::Part(range)) => format!("206 {range}"),
            Ok(Selection::Parts(ranges)) => format!("206 with {} parts", ranges.len()),
            Err(error) => error.status().as_str().to_owned(),
        }
    }

    /// A settled file of ten bytes, modified at minute 1. Fields are split by a bar.
    #[track_caller]
    fn check(request: &str, expected: &str) {
        let file = file(60, 60, 600);
        assert_eq!(file.etag, "\"df8475805-a-abc\"");
        assert_eq!(outcome(&Method::GET, request, &file), expected, "{request}");
    }

    #[track_caller]
    fn check_unsettled(request: &str, expected: &str) {
        let file = file(60, 60, 61);
        assert_eq!(file.etag, "W/\"df8475805-a-abc\"");
        assert_eq!(outcome(&Method::GET, request, &file), expected, "{request}");
    }

    #[test]
    fn without_conditions_the_whole_is_sent() {
        check("", "200");
        check("accept: */*", "200");
    }

    #[test]
    fn if_match_needs_our_strong_tag() {
        check("if-match: TAG", "200");
        check("if-match: *", "200");
        check("if-match: \"x\", TAG", "200");
        check("if-match: \"x\"|if-match: TAG", "200");
        check("if-match: \"a,b\" ,,\t TAG", "200");
        check("if-match: \"x\"", "412");
        check("if-match: W/TAG", "412");
        check("if-match: df8475805-a-abc", "412");
        check("if-match: \"x\" TAG", "412");
        check("if-match: TAGx, \"", "200");
        check("if-match: \"", "412");
        check("if-match: ", "412");
        check_unsettled("if-match: TAG", "412");
        check_unsettled("if-match: W/TAG", "412");
        check_unsettled("if-match: *", "200");
    }

    #[test]
    fn if_unmodified_since_counts_without_if_match_only() {
        check(&format!("if-unmodified-since: {MINUTE_0}"), "412");
        check(&format!("if-unmodified-since: {MINUTE_1}"), "200");
        check(&format!("if-unmodified-since: {MINUTE_2}"), "200");
        check("if-unmodified-since: yesterday", "200");
        check(&format!("if-match: TAG|if-unmodified-since: {MINUTE_0}"), "200");
    }

    #[test]
    fn if_none_match_compares_weakly() {
        check("if-none-match: TAG", "304");
        check("if-none-match: W/TAG", "304");
        check("if-none-match: \"x\", W/\"y\", TAG", "304");
        check("if-none-match: *", "304");
        check("if-none-match: \"x\"", "200");
        check("if-none-match: TAG\"", "304");
        check("if-none-match: \"x\" \"y\" TAG", "200");
        check_unsettled("if-none-match: TAG", "304");
        check_unsettled("if-none-match: W/TAG", "304");
    }

    #[test]
    fn if_modified_since_counts_without_if_none_match_only() {
        check(&format!("if-modified-since: {MINUTE_0}"), "200");
        check(&format!("if-modified-since: {MINUTE_1}"), "304");
        check(&format!("if-modified-since: {MINUTE_2}"), "304");
        check("if-modified-since: Thursday, 01-Jan-70 00:02:00 GMT", "304");
        check("if-modified-since: Thu Jan  1 00:02:00 1970", "304");
        check("if-modified-since: 1970", "200");
        check(&format!("if-modified-since: {MINUTE_1}|if-modified-since: {MINUTE_2}"), "200");
        check(&format!("if-none-match: \"x\"|if-modified-since: {MINUTE_1}"), "200");
    }

    #[test]
    fn a_failed_condition_comes_before_an_unmodified_file_and_both_before_a_range() {
        check("if-match: \"x\"|if-none-match: TAG|range: bytes=0-1", "412");
        check("if-match: TAG|if-none-match: TAG|range: bytes=0-1", "304");
        check("if-none-match: TAG|range: bytes=20-", "304");
        check("if-match: \"x\"|range: bytes=20-", "412");
    }

    #[test]
    fn a_range_is_for_get_and_for_the_version_that_if_range_names() {
        check("range: bytes=2-3", "206 bytes=2-3");
        check("range: bytes=20-", "416");
        check("range: bytes=0-1|range: bytes=2-3", "200");
        check("range: bytes=2-3, 6-7", "206 with 2 parts");
        check("if-range: \"x\"|range: bytes=2-3, 6-7", "200");
        check("if-range: TAG", "200");
        check("if-range: TAG|range: bytes=2-3", "206 bytes=2-3");
        check("if-range: W/TAG|range: bytes=2-3", "200");
        check("if-range: \"x\"|range: bytes=2-3", "200");
        check("if-range: \"x\"|range: bytes=20-", "200");
        check("if-range: x|range: bytes=2-3", "200");
        check("if-range: TAG|if-range: TAG|range: bytes=2-3", "200");
        check(&format!("if-range: {MINUTE_1}|range: bytes=2-3"), "206 bytes=2-3");
        check(&format!("if-range: {MINUTE_2}|range: bytes=2-3"), "200");
        check_unsettled(&format!("if-range: {MINUTE_1}|range: bytes=2-3"), "200");
        check_unsettled("if-range: TAG|range: bytes=2-3", "200");
        assert_eq!(outcome(&Method::HEAD, "range: bytes=2-3", &file(60, 60, 600)), "200");
        assert_eq!(outcome(&Method::HEAD, "range: bytes=20-", &file(60, 60, 600)), "200");
    }

    #[test]
    fn a_file_without_a_date_fails_no_condition_on_dates() {
        let old = file(-60, 60, 600);
        for name in ["if-modified-since", "if-unmodified-since"] {
            assert_eq!(outcome(&Method::GET, &format!("{name}: {MINUTE_1}"), &old), "200");
        }
        let request = format!("if-range: {MINUTE_1}|range: bytes=2-3");
        assert_eq!(outcome(&Method::GET, &request, &old), "200");
    }
}
