//! Reads what a site does with a request: exactly one of files, a redirect or a fixed response.

use super::read::{Entry, Reader, Section, Text};
use crate::{
    name::Host,
    problem::{Code, Problem, Span},
    site::{DEFAULT_DOCUMENTS, Files, RouteAction},
};

/// What answers. A site has exactly one of these.
const ACTIONS: [&str; 3] = ["root", "redirect", "respond"];
/// What a site can have in later versions.
const LATER: [&str; 4] = ["proxy", "fastcgi", "applications", "virtual_directories"];
const CONTENT_TYPE: &str = "text/plain; charset=utf-8";
const REDIRECT_STATUS: i64 = 308;

/// Reads what answers, and where that stands; `name_at` where the site does not say it.
pub(super) fn read<'d>(
    reader: &mut Reader<'d>,
    site: &Section<'d>,
    name_at: &Span,
) -> (RouteAction, Span) {
    let mut given = ACTIONS.into_iter().filter_map(|key| site.entry(key)).collect::<Vec<_>>();
    given.sort_by_key(|entry| entry.key_span.start);
    let mut later = false;
    for entry in LATER.into_iter().filter_map(|key| site.entry(key)) {
        later = true;
        let message = format!("{}: {} is not served by this version", site.owner, entry.key);
        let help = format!("a site has one of {} for now", ACTIONS.join(", "));
        reader.problem(Code::NotSupported, entry.key_span, message, help);
    }
    let Some((first, others)) = given.split_first() else {
        if !later {
            let message = format!("{} does not say what answers", site.owner);
            let help = "add root = \"a folder\", redirect = \"https://www.example.com\" or respond = \"a text\"";
            reader.problem(Code::MissingKey, name_at.clone(), message, help);
        }
        return (nothing(), name_at.clone());
    };
    for other in others {
        report_two(reader, site, first, other);
    }
    if let (Some(documents), None) = (site.entry("default_documents"), site.entry("root")) {
        let message =
            format!("{}: default_documents goes with root, not with {}", site.owner, first.key);
        let problem =
            Problem::new(Code::Exclusive, documents.key_span, message, "remove default_documents");
        reader.problems.push(problem.with_related(first.key_span.clone(), "this answers"));
    }
    let mut action = None;
    for entry in &given {
        let read = match entry.key {
            "root" => read_files(reader, site),
            "redirect" => read_redirect(reader, site, entry),
            _ => read_respond(reader, site, entry),
        };
        action = action.or(read);
    }
    action.unwrap_or_else(|| (nothing(), name_at.clone()))
}

/// What stands for an action that was not understood: it names no file that somebody would look
/// for.
fn nothing() -> RouteAction {
    RouteAction::Respond { status: 503, body: String::new(), content_type: CONTENT_TYPE.to_owned() }
}

fn report_two(reader: &mut Reader<'_>, site: &Section<'_>, first: &Entry<'_>, other: &Entry<'_>) {
    let message = format!("{} has {} and {}", site.owner, first.key, other.key);
    let help = "one of them answers; remove the other, or make it a site of its own";
    let problem = Problem::new(Code::Exclusive, other.key_span.clone(), message, help);
    reader.problems.push(problem.with_related(first.key_span.clone(), "the first"));
}

fn read_files<'d>(reader: &mut Reader<'d>, site: &Section<'d>) -> Option<(RouteAction, Span)> {
    let default_documents = read_default_documents(reader, site);
    let (root, span) = reader.path(site, "root")?;
    Some((RouteAction::Files(Files { default_documents, ..Files::of(root) }), span))
}

fn read_default_documents<'d>(reader: &mut Reader<'d>, site: &Section<'d>) -> Vec<String> {
    if site.entry("default_documents").is_none() {
        return DEFAULT_DOCUMENTS.map(str::to_owned).to_vec();
    }
    let mut documents = Vec::new();
    for entry in reader.elements(site, "default_documents", "an array") {
        let Some(text) = reader.text_of(site, &entry) else { continue };
        let unusable = |c: char| matches!(c, '/' | '\\') || c.is_control();
        if ["", ".", ".."].contains(&text.value) || text.value.contains(unusable) {
            let message =
                format!("{}: {:?} is not the name of a file in a folder", site.owner, text.value);
            reader.problem(
                Code::BadValue,
                text.span,
                message,
                "write a name alone, as in \"index.html\"",
            );
            continue;
        }
        documents.push(text.value.to_owned());
    }
    documents
}

fn read_redirect<'d>(
    reader: &mut Reader<'d>,
    site: &Section<'d>,
    entry: &Entry<'d>,
) -> Option<(RouteAction, Span)> {
    let (to, status) = if entry.is_text() {
        (reader.text_of(site, entry)?, REDIRECT_STATUS)
    } else {
        let redirect = reader.section(site, entry, || format!("redirect of {}", site.owner))?;
        reader.known(&redirect, &["to", "status"]);
        let status = read_redirect_status(reader, &redirect);
        (reader.required_text(&redirect, "to", "https://www.example.com")?, status)
    };
    match read_target(to.value) {
        Ok(target) => {
            let status = u16::try_from(status).unwrap_or_default();
            Some((RouteAction::Redirect { to: target, status }, to.span))
        }
        Err(why) => {
            report_target(reader, site, to, &why);
            None
        }
    }
}

fn report_target(reader: &mut Reader<'_>, site: &Section<'_>, to: Text<'_>, why: &str) {
    let message = format!("{}: no redirect can go there: {why}", site.owner);
    let help = "write an URL such as \"https://www.example.com\", or a path such as \"/new/\"";
    reader.problem(Code::BadValue, to.span, message, help);
}

fn read_redirect_status<'d>(reader: &mut Reader<'d>, redirect: &Section<'d>) -> i64 {
    match reader.integer(redirect, "status", 300..=399) {
        Some((status @ (301 | 302 | 303 | 307 | 308), _)) => status,
        Some((status, span)) => {
            let message = format!("{}: {status} sends nobody anywhere", redirect.owner);
            let help =
                "write 301 or 308 for ever, 302 or 307 for now, 303 to another page after a form";
            reader.problem(Code::BadValue, span, message, help);
            REDIRECT_STATUS
        }
        None => REDIRECT_STATUS,
    }
}

/// The target as a `Location` field can have it (RFC 9110, 10.2.2): ASCII, its host as A-labels.
fn read_target(text: &str) -> Result<String, String> {
    let unusable = |c: &char| c.is_control() || matches!(c, ' ' | '\\' | '"' | '<' | '>');
    if let Some(letter) = text.chars().find(unusable) {
        return Err(format!("no URL has {letter:?} in it"));
    }
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) if !text.starts_with('/') => (scheme, rest),
        // Two slashes begin a host without a scheme.
        _ if text.starts_with('/') && !text.starts_with("//") => return only_ascii(text),
        _ => {
            return Err(
                "it is no http or https URL and no path that begins with one slash".to_owned()
            );
        }
    };
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(format!("{scheme:?} is neither http nor https"));
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.contains('@') {
        return Err("there is a user name in it, which every client would get".to_owned());
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

fn read_respond<'d>(
    reader: &mut Reader<'d>,
    site: &Section<'d>,
    entry: &Entry<'d>,
) -> Option<(RouteAction, Span)> {
    let content_type = CONTENT_TYPE.to_owned();
    if entry.is_text() {
        let body = reader.text_of(site, entry)?;
        let action =
            RouteAction::Respond { status: 200, body: body.value.to_owned(), content_type };
        return Some((action, body.span));
    }
    let respond = reader.section(site, entry, || format!("respond of {}", site.owner))?;
    reader.known(&respond, &["status", "body", "content_type"]);
    let status = reader.integer(&respond, "status", 200..=599).map_or(200, |(status, _)| status);
    let body = reader.text(&respond, "body");
    if let Some(body) = &body
        && !body.value.is_empty()
        && matches!(status, 204 | 205 | 304)
    {
        let message = format!("{}: an answer with status {status} has no body", respond.owner);
        reader.problem(
            Code::BadValue,
            body.span.clone(),
            message,
            "remove body, or take another status",
        );
    }
    let content_type = read_content_type(reader, &respond).unwrap_or(content_type);
    let status = u16::try_from(status).unwrap_or_default();
    let body = body.map_or_else(String::new, |body| body.value.to_owned());
    Some((RouteAction::Respond { status, body, content_type }, entry.span.clone()))
}

fn read_content_type<'d>(reader: &mut Reader<'d>, respond: &Section<'d>) -> Option<String> {
    let text = reader.text(respond, "content_type")?;
    let essence = text.value.split(';').next().unwrap_or_default().trim_end();
    let token = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    let is_type = essence.split_once('/').is_some_and(|(one, other)| token(one) && token(other));
    if is_type && text.value.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        return Some(text.value.to_owned());
    }
    let message = format!("{}: {:?} is no media type", respond.owner, text.value);
    let help = "write type/subtype, as in \"text/html; charset=utf-8\"";
    reader.problem(Code::BadValue, text.span, message, help);
    None
}
