//! Whom a request asks for: Host, `:authority` and the absolute form must agree (RFC 9110, 7.2;
//! RFC 9112, 3.2; RFC 9113, 8.3.1).

use bindery_model::name::Host;
use http::{HeaderMap, Uri, Version, header::HOST};

use super::error::RequestError;

const BAD: fn(&'static str) -> RequestError = |reason| RequestError::BadRequest { reason };

/// The authority of a request as it was sent: `host`, or `host:port`. `None` only for HTTP/1.0,
/// which knows none.
///
/// # Errors
///
/// 400 when it is missing, sent twice, or said in two ways that differ.
pub fn authority<'a>(
    version: Version,
    uri: &'a Uri,
    fields: &'a HeaderMap,
) -> Result<Option<&'a str>, RequestError> {
    let mut hosts = fields.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(BAD("more than one Host field"));
    }
    let host = match host {
        Some(value) => Some(value.to_str().map_err(|_| BAD("a Host field that is not ASCII"))?),
        None => None,
    };
    match (uri.authority(), host) {
        (Some(authority), Some(host)) if !authority.as_str().eq_ignore_ascii_case(host) => {
            Err(BAD("the Host field and the request target name different hosts"))
        }
        (Some(authority), _) => Ok(Some(authority.as_str())),
        (None, Some(host)) => Ok(Some(host)),
        (None, None) if version == Version::HTTP_10 => Ok(None),
        (None, None) => Err(BAD("no Host field")),
    }
}

/// Reads `host` or `host:port` (RFC 3986, 3.2). The port is looked at and dropped: who forwards
/// ports changes it on the way.
///
/// # Errors
///
/// 400 for user information, a port that is no number, or a host that is neither a name nor an
/// address.
pub fn parse(authority: &str) -> Result<Host, RequestError> {
    let host_end = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']').map_or(authority.len(), |end| end + 2),
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(host_end);
    if let Some(port) = port.strip_prefix(':') {
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        if !digits || (!port.is_empty() && port.parse::<u16>().is_err()) {
            return Err(BAD("a Host field with a port that is no number"));
        }
    } else if !port.is_empty() {
        return Err(BAD("a Host field with something behind the address"));
    }
    host.parse().map_err(|_| BAD("a Host field that is neither a name nor an address"))
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request};
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(authority: &str, expected: Option<&str>) {
        let got = parse(authority).ok().map(|host| host.to_string());
        assert_eq!(got.as_deref(), expected, "{authority:?}");
    }

    #[test]
    fn a_host_is_read_with_and_without_a_port() {
        check("a.example", Some("a.example"));
        check("A.Example:443", Some("a.example"));
        check("a.example.", Some("a.example"));
        check("a.example:", Some("a.example"));
        check("192.0.2.1:80", Some("192.0.2.1"));
        check("[2001:db8::1]:443", Some("[2001:db8::1]"));
        check("[2001:db8::1]", Some("[2001:db8::1]"));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in [
            "",
            ":443",
            "a b",
            "user@a.example",
            "a.example:x",
            "a.example:65536",
            "a.example:-1",
            "a.example:+1",
            "2001:db8::1",
            "[2001:db8::1",
            "[2001:db8::1]x",
            "[]",
            "[a]",
            "a/b",
            "a.example:443:443",
            "*.example",
            "a..b",
        ] {
            check(text, None);
        }
    }

    #[track_caller]
    fn agree(uri: &str, hosts: &[&str], version: Version, expected: Result<Option<&str>, &str>) {
        let mut request = Request::builder().uri(uri).version(version).body(()).unwrap();
        for host in hosts {
            request.headers_mut().append(HOST, HeaderValue::from_str(host).unwrap());
        }
        let got = authority(request.version(), request.uri(), request.headers());
        match (got, expected) {
            (Ok(got), Ok(expected)) => assert_eq!(got, expected),
            (Err(got), Err(expected)) => assert!(got.to_string().contains(expected), "{got}"),
            (got, _) => panic!("{uri} {hosts:?}: {got:?}"),
        }
    }

    #[test]
    fn host_authority_and_absolute_form_must_agree() {
        let (one, two) = (Version::HTTP_11, Version::HTTP_2);
        agree("/", &["a"], one, Ok(Some("a")));
        agree("/", &[], one, Err("no Host"));
        agree("/", &[], Version::HTTP_10, Ok(None));
        agree("/", &["a", "a"], one, Err("more than one"));
        agree("http://a/", &["a"], one, Ok(Some("a")));
        agree("http://a/", &["b"], one, Err("different"));
        agree("https://a/", &[], two, Ok(Some("a")));
        agree("https://a/", &["A"], two, Ok(Some("a")));
        agree("https://a/", &["b"], two, Err("different"));
    }

    proptest! {
        #[test]
        fn any_authority_is_refused_or_names_a_host_that_reads_the_same(text in "\\PC{0,60}") {
            if let Ok(host) = parse(&text) {
                prop_assert_eq!(parse(&host.to_string()).unwrap(), host);
            }
        }
    }
}
