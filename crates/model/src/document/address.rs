//! Reads where another server listens: an http or https URL, a host and a port, a Unix socket.

use std::path::Path;

use super::value::Wrong;
use crate::{name::Host, upstream::ServerAddress};

/// The most bytes of the path of a socket: `sun_path` of unix(7), without the NUL.
const SOCKET_BYTES_MAX: usize = 107;
const UNIX: &str = "unix:";

/// A server of an upstream.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ServerUrl {
    pub(super) address: ServerAddress,
    pub(super) https: bool,
    /// The path, where there is one: it takes the place of the route's.
    pub(super) path: Option<String>,
}

/// Reads `http://host:port/path`, the same with https, or `unix:path`.
pub(super) fn server_url(text: &str, folder: &Path) -> Result<ServerUrl, Wrong> {
    if let Some(address) = unix(text, folder)? {
        return Ok(ServerUrl { address, https: false, path: None });
    }
    let example = "write a URL such as \"http://127.0.0.1:9000\", or \"unix:/run/app.sock\"";
    let Some((scheme, rest)) = text.split_once("://") else {
        let help = match host_port(text, 0) {
            Ok(_) => format!("did you mean \"http://{text}\"?"),
            Err(_) => example.to_owned(),
        };
        return Err(Wrong::whole(text, format!("{text:?} is no URL of a server"), help));
    };
    let https = match scheme.to_ascii_lowercase().as_str() {
        "http" => false,
        "https" => true,
        "h2c" | "grpc" => {
            let help = format!("write \"http://{rest}\", and http2 = true beside to");
            return Err(Wrong::new(0..scheme.len(), format!("{scheme} is no scheme here"), help));
        }
        "ws" | "wss" => {
            let help = "write http or https: WebSockets begin as requests";
            return Err(Wrong::new(0..scheme.len(), format!("{scheme} is no scheme here"), help));
        }
        _ => {
            let what = format!("{scheme:?} is neither http nor https");
            return Err(Wrong::new(0..scheme.len(), what, example));
        }
    };
    let begins = text.len() - rest.len();
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if let Some(at) = authority.rfind('@') {
        let help = "remove it; request_headers = { set = { Authorization = \"...\" } } sends one";
        return Err(Wrong::new(begins..begins + at + 1, "a user name in a URL is not sent", help));
    }
    let (host, port) = split_port(authority);
    let default = if https { 443 } else { 80 };
    let (host, port) = host_and_port(host, port.unwrap_or(&default.to_string()))
        .map_err(|what| Wrong::new(begins..begins + authority.len(), what, example))?;
    let path = url_path(path).map_err(|wrong| {
        let at = begins + end;
        Wrong { part: wrong.part.start + at..wrong.part.end + at, ..wrong }
    })?;
    Ok(ServerUrl { address: ServerAddress::Tcp { host, port }, https, path })
}

/// Reads `host:port` or `unix:path`.
pub(super) fn server(text: &str, folder: &Path) -> Result<ServerAddress, Wrong> {
    if let Some(address) = unix(text, folder)? {
        return Ok(address);
    }
    let example = "write \"unix:/run/php/php-fpm.sock\" or \"127.0.0.1:9000\"";
    if let Some((scheme, rest)) = text.split_once("://") {
        let help = match host_port(rest, 0) {
            Ok(_) => format!("write \"{rest}\""),
            Err(_) => example.to_owned(),
        };
        let what = format!("FastCGI is not spoken by {scheme}");
        return Err(Wrong::whole(text, what, help));
    }
    if text.starts_with(['/', '.']) {
        let help = format!("did you mean \"unix:{text}\"?");
        return Err(Wrong::whole(text, format!("{text:?} is no address of a server"), help));
    }
    host_port(text, 0).map_err(|what| Wrong::whole(text, what, example))
}

/// Reads `unix:path`; nothing where it is not one.
fn unix(text: &str, folder: &Path) -> Result<Option<ServerAddress>, Wrong> {
    let Some(path) = text.strip_prefix(UNIX) else { return Ok(None) };
    let wrong = |what: &str, help: String| Err(Wrong::new(UNIX.len()..text.len(), what, help));
    let example = "write the path of a socket, as in \"unix:/run/app.sock\"";
    if path.is_empty() {
        return Err(Wrong::whole(text, "the path of the socket is missing", example));
    }
    if path.contains(char::is_control) {
        return wrong("the path of the socket has a control character", example.to_owned());
    }
    if let Some(rest) = path.strip_prefix("//") {
        let help = format!("write \"unix:/{}\"", rest.trim_start_matches('/'));
        return wrong("one slash begins the path of a socket", help);
    }
    let whole = folder.join(path);
    if whole.as_os_str().len() > SOCKET_BYTES_MAX {
        let help = "take a shorter one, or a link to it".to_owned();
        let what = format!("the path of a socket has at most {SOCKET_BYTES_MAX} bytes");
        return wrong(&what, help);
    }
    Ok(Some(ServerAddress::Unix(whole)))
}

/// A host and, behind the last colon that is not inside of brackets, a port.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

/// Reads `host:port`; the port may be missing where there is a `default`, one above 0.
pub(super) fn host_port(text: &str, default: u16) -> Result<ServerAddress, String> {
    let (host, port) = match split_port(text) {
        (host, Some(port)) => (host, port.to_owned()),
        (_, None) if default == 0 => return Err(format!("{text:?} has no port")),
        (host, None) => (host, default.to_string()),
    };
    let (host, port) = host_and_port(host, &port)?;
    Ok(ServerAddress::Tcp { host, port })
}

fn host_and_port(host: &str, port: &str) -> Result<(String, u16), String> {
    let host: Host = host.parse().map_err(|error: crate::name::HostNameError| error.to_string())?;
    let digits = port.bytes().all(|b| b.is_ascii_digit());
    let port = match port.parse::<u16>() {
        Ok(number) if number > 0 && digits => number,
        _ => return Err(format!("{port:?} is no port")),
    };
    let host = match host {
        Host::Name(name) => name.as_str().to_owned(),
        Host::Address(address) => address.to_string(),
    };
    Ok((host, port))
}

/// Reads the path of a server's URL. One slash alone takes the route's path away.
fn url_path(path: &str) -> Result<Option<String>, Wrong> {
    if path.is_empty() {
        return Ok(None);
    }
    if let Some(at) = path.find(['?', '#']) {
        let help = "remove it: the query is that of the request";
        return Err(Wrong::new(at..path.len(), "a server has no query and no fragment", help));
    }
    let plain = |b: u8| b.is_ascii_graphic() && !b"\\\"<>^`{|}".contains(&b);
    if let Some(at) = path.bytes().position(|b| !plain(b)) {
        let help = "write it percent-encoded";
        return Err(Wrong::new(at..path.len(), "a character that no URL has", help));
    }
    let inner = path.trim_start_matches('/');
    if path == "/" {
        return Ok(Some("/".to_owned()));
    }
    if path.ends_with('/') || path.len() - inner.len() > 1 || path.contains("//") {
        let kept: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
        let help = format!("write \"/{}\"", kept.join("/"));
        return Err(Wrong::new(0..path.len(), "slashes that stand for nothing", help));
    }
    if inner.split('/').any(|segment| matches!(segment, "." | "..")) {
        let help = "write it without";
        return Err(Wrong::new(0..path.len(), "the path has a dot segment", help));
    }
    Ok(Some(path.to_owned()))
}
