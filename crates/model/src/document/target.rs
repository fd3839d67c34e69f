//! What a redirect can go to: an http or https URL, or a path of the same site.

use crate::name::Host;

/// The target as a `Location` field can have it (RFC 9110, 10.2.2): ASCII, its host as A-labels.
/// Its scheme and parts of its host may be variables, as in `${scheme}://www.${host}/`.
///
/// # Errors
///
/// With what is wrong with it.
pub fn read_target(text: &str) -> Result<String, String> {
    let unusable = |c: &char| c.is_control() || matches!(c, ' ' | '\\' | '"' | '<' | '>');
    if let Some(letter) = text.chars().find(unusable) {
        return Err(format!("no URL has {letter:?} in it"));
    }
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) if !text.starts_with('/') => (scheme, rest),
        _ if begins_with_path(text) => return only_ascii(text),
        // Two slashes begin a host without a scheme.
        _ if text.starts_with('/') && !text.starts_with("//") => return only_ascii(text),
        _ => {
            return Err(
                "it is no http or https URL and no path that begins with one slash".to_owned()
            );
        }
    };
    let is_variable = scheme == "${scheme}";
    if !is_variable && !["http", "https"].iter().any(|own| scheme.eq_ignore_ascii_case(own)) {
        return Err(format!("{scheme:?} is neither http nor https"));
    }
    let behind_host = |(at, letter): &(usize, char)| {
        ['/', '?', '#'].contains(letter) || rest.get(*at..).is_some_and(begins_with_path)
    };
    let end = rest.char_indices().find(behind_host).map_or(rest.len(), |(at, _)| at);
    let (authority, path) = rest.split_at(end);
    if authority.contains('@') {
        return Err("there is a user name in it, which every client would get".to_owned());
    }
    if let Some(known) = without_variables(authority) {
        read_target(&format!("http://{known}/"))?;
        return only_ascii(path).map(|path| format!("{scheme}://{authority}{path}"));
    }
    let (host, port) = match authority.rsplit_once(':') {
        // A colon inside of brackets belongs to the address.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let host: Host = host.parse().map_err(|error: crate::name::HostNameError| error.to_string())?;
    if let Some(port) = port
        && (!port.bytes().all(|b| b.is_ascii_digit()) || port.parse::<u16>().unwrap_or(0) == 0)
    {
        return Err(format!("{port:?} is no port"));
    }
    let port = port.map_or_else(String::new, |port| format!(":{port}"));
    only_ascii(path).map(|path| format!("{scheme}://{host}{port}{path}"))
}

/// Whether a text begins with a variable that begins with a slash.
fn begins_with_path(text: &str) -> bool {
    let name = text.strip_prefix("${").and_then(|rest| rest.split_once('}'));
    let name = name.map(|(name, _)| name.trim_start_matches("lower:"));
    matches!(name, Some("path" | "uri"))
}

/// An authority with a letter or digit in the place of each variable, where it has any.
fn without_variables(authority: &str) -> Option<String> {
    let mut known = String::new();
    let mut rest = authority;
    while let Some((before, behind)) = rest.split_once("${") {
        let (name, after) = behind.split_once('}')?;
        name.starts_with(|first: char| first.is_ascii_alphabetic()).then_some(())?;
        known.push_str(before);
        known.push(if name == "port" { '1' } else { 'x' });
        rest = after;
    }
    (!known.is_empty()).then(|| known + rest)
}

fn only_ascii(path: &str) -> Result<String, String> {
    match path.chars().find(|letter| !letter.is_ascii()) {
        Some(letter) => {
            let mut bytes = [0; 4];
            let bytes = letter.encode_utf8(&mut bytes).bytes();
            let encoded: String = bytes.map(|byte| format!("%{byte:02X}")).collect();
            Err(format!("{letter:?} must be written as {encoded}"))
        }
        None => Ok(path.to_owned()),
    }
}

/// Whether a text is a path of the same site, as it stands in a request, with or without a query.
///
/// # Errors
///
/// With what is wrong with it.
pub fn read_path_target(text: &str) -> Result<(), String> {
    if !begins_with_path(text) && (!text.starts_with('/') || text.starts_with("//")) {
        return Err("it is no path that begins with one slash".to_owned());
    }
    if text.contains('#') {
        return Err("a fragment stays with the client".to_owned());
    }
    read_target(text).map(|_| ())
}
