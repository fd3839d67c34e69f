//! Servers that rewrite rules name.

use bindery_model::{
    name::Host,
    upstream::{ServerAddress, UpstreamServer},
};

/// The server of a URL, and its path, which begins with a slash.
pub(super) fn upstream_of(url: &str) -> Option<(UpstreamServer, String)> {
    let (scheme, rest) = url.split_once("://")?;
    let https = match scheme.to_ascii_lowercase().as_str() {
        "http" => false,
        "https" => true,
        _ => return None,
    };
    let end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end)?;
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port > 0)?,
        None => {
            if https {
                443
            } else {
                80
            }
        }
    };
    host.parse::<Host>().ok()?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    if path.contains(['?', '#']) {
        return None;
    }
    let address = ServerAddress::Tcp { host, port };
    Some((UpstreamServer { address, https, weight: 1, backup: false }, path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_server_and_a_path() {
        for (url, expected) in [
            ("http://localhost:3000/", Some("localhost:3000 false /")),
            ("https://Api.example/v1/", Some("api.example:443 true /v1/")),
            ("http://[::1]:8080/", Some("[::1]:8080 false /")),
            ("http://a", Some("a:80 false ")),
            ("ftp://a/", None),
            ("http://a:0/", None),
            ("http://a b/", None),
            ("http:///", None),
        ] {
            let read = upstream_of(url);
            let read = read.map(|(own, path)| format!("{} {} {path}", own.address, own.https));
            assert_eq!(read.as_deref(), expected, "{url}");
        }
    }
}
