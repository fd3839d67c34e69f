//! Reads what answers: exactly one of files, a proxy, FastCGI, a redirect or a fixed response. A site,
//! an application and a virtual directory are read alike.

use super::{
    fastcgi, files, proxy,
    read::{Entry, Reader, Section, Text},
    target::read_target,
};
use crate::{
    problem::{Code, Problem, Span},
    site::{Files, RouteAction},
};

/// What answers. A site has exactly one of these; `fastcgi` stands beside `root`.
pub(super) const ACTIONS: [&str; 5] = ["root", "proxy", "fastcgi", "redirect", "respond"];
pub(super) const CONTENT_TYPE: &str = "text/plain; charset=utf-8";
/// The status of a redirect that says none: 308, permanent, with the method kept (RFC 9110, 15.4.9).
pub const REDIRECT_STATUS: u16 = 308;

/// Reads what answers, and where that stands; `name_at` where it is not said. What is not said of
/// files is as in `options`.
pub(super) fn read<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    options: &Files,
    name_at: &Span,
) -> (RouteAction, Span) {
    let scripts = section.entry("fastcgi").is_some();
    let mut given: Vec<_> = ACTIONS
        .into_iter()
        .filter(|key| !(scripts && *key == "root"))
        .filter_map(|key| section.entry(key))
        .collect();
    given.sort_by_key(|entry| entry.key_span.start);
    let Some((first, others)) = given.split_first() else {
        let message = format!("{} does not say what answers", section.owner);
        let help = "add root = \"a folder\", proxy = \"http://127.0.0.1:9000\", redirect = \"https://www.example.com\" or respond = \"a text\"";
        reader.problem(Code::MissingKey, name_at.clone(), message, help);
        return (nothing(), name_at.clone());
    };
    for other in others {
        report_two(reader, section, first, other);
    }
    if section.entry("root").is_none() && !scripts {
        files::report_options(reader, section, first);
    }
    let mut action = None;
    for entry in &given {
        let read = match entry.key {
            "root" => files::read(reader, section, options)
                .map(|(files, span)| (RouteAction::Files(files), span)),
            "fastcgi" => fastcgi::read(reader, section, entry, options),
            "proxy" => proxy::read(reader, section, entry)
                .map(|proxy| (RouteAction::Proxy(Box::new(proxy)), entry.span.clone())),
            "redirect" => read_redirect(reader, section, entry),
            _ => read_respond(reader, section, entry),
        };
        action = action.or(read);
    }
    action.unwrap_or_else(|| (nothing(), name_at.clone()))
}

/// What stands for an action that was not understood: it names no file that somebody would look
/// for.
pub(super) fn nothing() -> RouteAction {
    RouteAction::Respond { status: 503, body: String::new(), content_type: CONTENT_TYPE.to_owned() }
}

fn report_two(reader: &mut Reader<'_>, site: &Section<'_>, first: &Entry<'_>, other: &Entry<'_>) {
    let message = format!("{} has {} and {}", site.owner, first.key, other.key);
    let help = "one of them answers; remove the other, or make it a site of its own";
    let problem = Problem::new(Code::Exclusive, other.key_span.clone(), message, help);
    reader.problems.push(problem.with_related(first.key_span.clone(), "the first"));
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
        Ok(target) => Some((RouteAction::Redirect { to: target, status }, to.span)),
        Err(why) => {
            report_target(reader, site, &to, &why);
            None
        }
    }
}

/// Says why a redirect cannot go somewhere.
pub(super) fn report_target(reader: &mut Reader<'_>, site: &Section<'_>, to: &Text<'_>, why: &str) {
    let message = format!("{}: no redirect can go there: {why}", site.owner);
    let help = "write an URL such as \"https://www.example.com\", or a path such as \"/new/\"";
    reader.problem(Code::BadValue, to.span.clone(), message, help);
}

/// The status of a redirect.
pub(super) fn read_redirect_status<'d>(reader: &mut Reader<'d>, redirect: &Section<'d>) -> u16 {
    match reader.integer(redirect, "status", 300..=399) {
        Some((status @ (301 | 302 | 303 | 307 | 308), _)) => {
            u16::try_from(status).unwrap_or(REDIRECT_STATUS)
        }
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

/// The status of a rule that names no target and refuses.
pub(super) fn read_refusal(rule: &Section<'_>) -> Option<u16> {
    let status = rule.entry("status").filter(|_| rule.entry("to").is_none())?.integer()?;
    u16::try_from(status).ok().filter(|status| (400..=599).contains(status))
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
    let named = reader.text(&respond, "content_type");
    let named = named.and_then(|text| reader.media_type(&respond, &text));
    let content_type = named.unwrap_or(content_type);
    let status = u16::try_from(status).unwrap_or_default();
    let body = body.map_or_else(String::new, |body| body.value.to_owned());
    Some((RouteAction::Respond { status, body, content_type }, entry.span.clone()))
}
