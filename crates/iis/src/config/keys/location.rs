//! Where keys stand that are written into sections, at the `location` of a path.

use bindery_model::{
    change::{EditError, Fields, Place, Value},
    document::REDIRECT_STATUS,
    rules::{PathPattern, RedirectRule, RedirectTo},
};

use super::{boolean, number, set_flag, text, texts, wrong};
use crate::{
    config::{SERVER_FIELD, edit::Editor, host, read},
    xml::{
        draft::{Draft, Node},
        edit::{NewElement, Position},
    },
};

const ACCESS: &str = "system.webServer/security/access";
const DEFAULT_DOCUMENT: &str = "system.webServer/defaultDocument";
const DIRECTORY_BROWSE: &str = "system.webServer/directoryBrowse";
const HTTP_PROTOCOL: &str = "system.webServer/httpProtocol";
const HTTP_REDIRECT: &str = "system.webServer/httpRedirect";
const HTTP_ERRORS: &str = "system.webServer/httpErrors";
const STATIC_CONTENT: &str = "system.webServer/staticContent";
const REQUEST_FILTERING: &str = "system.webServer/security/requestFiltering";
/// Whether the field `Server` is not sent.
const SERVER_HIDDEN: &str = "removeServerHeader";
/// The ending that stands for all others.
const ANY_ENDING: &str = ".*";
/// `maxAllowedContentLength` where content is not bounded.
const NO_LIMIT: u32 = u32::MAX;

/// What stands in `location` elements.
pub(super) fn in_location(
    editor: &mut Editor<'_>,
    at: &Place,
    node: Node,
    key: &str,
    value: Option<&Value>,
) -> Result<(), EditError> {
    match location_of(editor, at, node) {
        Some(location) => at_location(editor, at, &location, key, value),
        None => editor.no_place(at, key),
    }
}

/// What stands in sections, at a location; at the server where it is empty.
pub(in crate::config) fn at_location(
    editor: &mut Editor<'_>,
    at: &Place,
    location: &str,
    key: &str,
    value: Option<&Value>,
) -> Result<(), EditError> {
    match (key, value) {
        ("default_documents", value) => return set_documents(editor, at, location, value),
        ("listing", None) => unset_section(editor, location, DIRECTORY_BROWSE, &["enabled"]),
        ("listing", Some(value)) => {
            let on = boolean(at, key, value)?;
            let section = editor.host.ensure_section(location, DIRECTORY_BROWSE);
            editor.host.draft.set(section, "enabled", on.to_string());
        }
        ("https_only", value) => return set_https_only(editor, at, location, value),
        ("response_headers", value) => return set_headers(editor, at, location, value),
        ("redirect", value) => return set_redirect(editor, at, location, value),
        ("redirects", Some(value)) => return set_redirects(editor, at, location, value),
        ("redirects", None) => drop(editor.host.remove_section(location, HTTP_REDIRECT)),
        ("request_bytes_max", None) => {
            let section = format!("{REQUEST_FILTERING}/requestLimits");
            unset_section(editor, location, &section, &["maxAllowedContentLength"]);
        }
        ("request_bytes_max", Some(value)) => {
            let bytes = match value {
                Value::Boolean(false) => NO_LIMIT,
                value => number(at, key, value)?,
            };
            let section = format!("{REQUEST_FILTERING}/requestLimits");
            let section = editor.host.ensure_section(location, &section);
            editor.host.draft.set(section, "maxAllowedContentLength", bytes.to_string());
        }
        ("hidden", value) => {
            let names = value.map(|value| texts(at, key, value)).transpose()?;
            let adds = names.map(|all| {
                all.into_iter().map(|name| NewElement::new("add").with("segment", name)).collect()
            });
            set_collection(editor, location, (REQUEST_FILTERING, Some("hiddenSegments")), adds);
        }
        ("media_types" | "unknown_types", value) => {
            return set_types(editor, at, location, key, value);
        }
        ("error_pages", None) => remove_named(editor, location, HTTP_ERRORS, "error"),
        ("error_pages", Some(Value::Table(pages))) => {
            remove_named(editor, location, HTTP_ERRORS, "error");
            for (status, path) in pages {
                let path = text(at, key, path)?.to_owned();
                let section = editor.host.ensure_section(location, HTTP_ERRORS);
                let (status, sub) = status.split_once('.').unwrap_or((status, "-1"));
                let of = |name| NewElement::new(name).with("statusCode", status);
                let removed = of("remove").with("subStatusCode", sub);
                let added = match sub {
                    "-1" => of("error"),
                    sub => of("error").with("subStatusCode", sub),
                };
                let added = added.with("path", path).with("responseMode", "File");
                editor.host.draft.insert(section, Position::End, &removed);
                editor.host.draft.insert(section, Position::End, &added);
            }
        }
        // What this form has no place for is not there either.
        (_, None) => {}
        _ => return editor.no_place(at, key),
    }
    Ok(())
}

/// The path of the `location` element that a place has.
fn location_of(editor: &Editor<'_>, at: &Place, node: Node) -> Option<String> {
    match at {
        // As it is written there, whatever case it was asked in.
        Place::Site(_) => Some(editor.host.draft.value(node, "name")?.into_owned()),
        Place::Application { site, path } | Place::VirtualDirectory { site, path } => {
            let site = editor.host.site(site)?;
            let name = editor.host.draft.value(site, "name")?;
            Some(format!("{name}/{}", path.trim_matches('/')).trim_end_matches('/').to_owned())
        }
        _ => None,
    }
}

/// `defaultDocument`: its files, or that there are none.
fn set_documents(
    editor: &mut Editor<'_>,
    at: &Place,
    location: &str,
    value: Option<&Value>,
) -> Result<(), EditError> {
    let documents = value.map(|value| texts(at, "default_documents", value)).transpose()?;
    // None at all is said by the switch: whoever turns it on again has what there was.
    if documents.as_ref().is_some_and(Vec::is_empty) && !is_said_below(editor, location) {
        let section = editor.host.ensure_section(location, DEFAULT_DOCUMENT);
        editor.host.draft.set(section, "enabled", "false");
        return Ok(());
    }
    let own = editor.host.section(location, DEFAULT_DOCUMENT);
    let own = own.and_then(|own| editor.host.draft.value(own, "enabled"));
    if own.is_some_and(|own| own.eq_ignore_ascii_case("false")) {
        unset_section(editor, location, DEFAULT_DOCUMENT, &["enabled"]);
    }
    if documents.is_some() && is_off_above(editor, location) {
        let section = editor.host.ensure_section(location, DEFAULT_DOCUMENT);
        editor.host.draft.set(section, "enabled", "true");
    }
    let adds = documents.map(|all| {
        all.into_iter().map(|name| NewElement::new("add").with("value", name)).collect()
    });
    set_collection(editor, location, (DEFAULT_DOCUMENT, Some("files")), adds);
    Ok(())
}

/// Whether a path below says which default documents it has.
fn is_said_below(editor: &mut Editor<'_>, location: &str) -> bool {
    let draft = &editor.host.draft;
    let all = draft.children_named(draft.root(), "location").into_iter();
    let mut paths: Vec<String> = all
        .filter_map(|node| Some(draft.value(node, "path")?.trim_matches('/').to_owned()))
        .collect();
    paths.retain(|path| match location {
        "" => !matches!(path.as_str(), "" | "."),
        above => host::below(path, above).is_some_and(|rest| !rest.is_empty()),
    });
    paths.iter().any(|path| editor.host.section(path, DEFAULT_DOCUMENT).is_some())
}

/// Whether default documents are turned off for the path above.
fn is_off_above(editor: &mut Editor<'_>, location: &str) -> bool {
    let mut rest = location;
    while !rest.is_empty() {
        rest = rest.rsplit_once('/').map_or("", |(above, _)| above);
        let section = editor.host.section(rest, DEFAULT_DOCUMENT);
        let said = section.and_then(|section| editor.host.draft.value(section, "enabled"));
        if let Some(said) = said {
            return said.eq_ignore_ascii_case("false");
        }
    }
    false
}

/// `access`: requests without TLS are refused. What is asked of clients besides stays.
fn set_https_only(
    editor: &mut Editor<'_>,
    at: &Place,
    location: &str,
    value: Option<&Value>,
) -> Result<(), EditError> {
    let on = value.map(|value| boolean(at, "https_only", value)).transpose()?;
    let section = editor.host.section(location, ACCESS);
    let own = section.and_then(|section| editor.host.draft.value(section, "sslFlags"));
    let mut flags: Vec<String> = own
        .iter()
        .flat_map(|own| own.split(','))
        .map(|own| own.trim().to_owned())
        .filter(|own| !["", "None", "Ssl", "Ssl128"].iter().any(|no| own.eq_ignore_ascii_case(no)))
        .collect();
    if on == Some(true) {
        flags.insert(0, "Ssl".to_owned());
    }
    match (flags.is_empty(), on) {
        (true, None) => unset_section(editor, location, ACCESS, &["sslFlags"]),
        (is_none, _) => {
            let section = editor.host.ensure_section(location, ACCESS);
            let flags = if is_none { "None".to_owned() } else { flags.join(", ") };
            editor.host.draft.set(section, "sslFlags", flags);
        }
    }
    Ok(())
}

/// Gives a collection other elements than those that are inherited; takes it away without any.
fn set_collection(
    editor: &mut Editor<'_>,
    location: &str,
    (section, collection): (&str, Option<&str>),
    elements: Option<Vec<NewElement>>,
) {
    let whole = collection.map_or_else(|| section.to_owned(), |inner| format!("{section}/{inner}"));
    let Some(elements) = elements else {
        editor.host.remove_section(location, &whole);
        return;
    };
    let node = editor.host.ensure_section(location, &whole);
    let draft = &mut editor.host.draft;
    let wanted: Vec<_> = std::iter::once(NewElement::new("clear")).chain(elements).collect();
    let own = draft.children(node);
    if own.iter().map(|child| draft.copy(*child)).eq(wanted.iter().cloned()) {
        return;
    }
    for child in own {
        draft.remove(child);
    }
    for element in &wanted {
        draft.insert(node, Position::End, element);
    }
}

fn unset_section(editor: &mut Editor<'_>, location: &str, section: &str, names: &[&str]) {
    let Some(node) = editor.host.section(location, section) else { return };
    for name in names {
        editor.host.draft.unset(node, name);
    }
    if editor.host.draft.is_left_bare(node) {
        editor.host.remove_section(location, section);
    }
}

/// Removes all elements of a name from a section, and the `remove` elements that go before them.
fn remove_named(editor: &mut Editor<'_>, location: &str, section: &str, name: &str) {
    remove_where(editor, (location, section), name, |_, _| true);
}

/// The same, of those that something holds for.
fn remove_where(
    editor: &mut Editor<'_>,
    (location, section): (&str, &str),
    name: &str,
    goes: impl Fn(&Draft<'_>, Node) -> bool,
) {
    let Some(node) = editor.host.section(location, section) else { return };
    let draft = &mut editor.host.draft;
    for child in draft.children(node) {
        if [name, "remove"].contains(&draft.name(child)) && goes(draft, child) {
            draft.remove(child);
        }
    }
    unset_section(editor, location, section, &[]);
}

/// `staticContent`: the types of endings, and that of all others.
fn set_types(
    editor: &mut Editor<'_>,
    at: &Place,
    location: &str,
    key: &str,
    value: Option<&Value>,
) -> Result<(), EditError> {
    match (key, value) {
        ("unknown_types", None) => remove_types(editor, location, true),
        ("unknown_types", Some(Value::Text(word))) if word == "bytes" || word == "listed" => {
            remove_types(editor, location, true);
            let section = editor.host.ensure_section(location, STATIC_CONTENT);
            let of = |name| NewElement::new(name).with("fileExtension", ANY_ENDING);
            editor.host.draft.insert(section, Position::End, &of("remove"));
            if word == "bytes" {
                let added = of("mimeMap").with("mimeType", "application/octet-stream");
                editor.host.draft.insert(section, Position::End, &added);
            }
        }
        ("media_types", None) => remove_types(editor, location, false),
        ("media_types", Some(Value::Table(types))) => {
            remove_types(editor, location, false);
            for (ending, media_type) in types {
                let media_type = text(at, key, media_type)?.to_owned();
                let section = editor.host.ensure_section(location, STATIC_CONTENT);
                // One that is inherited would be a duplicate.
                let removed = NewElement::new("remove").with("fileExtension", ending.as_str());
                let added = NewElement::new("mimeMap").with("fileExtension", ending.as_str());
                let added = added.with("mimeType", media_type);
                editor.host.draft.insert(section, Position::End, &removed);
                editor.host.draft.insert(section, Position::End, &added);
            }
        }
        (_, None) => {}
        _ => return editor.no_place(at, key),
    }
    Ok(())
}

/// Removes types, and the `remove` elements that go before them: what is said of all endings that
/// have none, or of all others.
fn remove_types(editor: &mut Editor<'_>, location: &str, of_any: bool) {
    remove_where(editor, (location, STATIC_CONTENT), "mimeMap", |draft, child| {
        draft.value(child, "fileExtension").is_some_and(|own| own == ANY_ENDING) == of_any
    });
}

/// `customHeaders`: fields that are set; and `removeServerHeader`. What is added beside others, or
/// removed from the answers of applications, IIS cannot say.
fn set_headers(
    editor: &mut Editor<'_>,
    at: &Place,
    location: &str,
    value: Option<&Value>,
) -> Result<(), EditError> {
    let mut hides_server = false;
    let adds = match value {
        None => None,
        Some(Value::Table(table)) => {
            let is_server = |name: &String| name.eq_ignore_ascii_case(SERVER_FIELD);
            let removed = table.get("remove").map(|own| texts(at, "response_headers.remove", own));
            let removed = removed.transpose()?.unwrap_or_default();
            hides_server = removed.iter().any(is_server);
            if !removed.iter().all(is_server) {
                editor.no_place(at, "response_headers.remove")?;
            }
            for key in table.keys().filter(|key| !["set", "remove"].contains(&key.as_str())) {
                editor.no_place(at, &format!("response_headers.{key}"))?;
            }
            let set = match table.get("set") {
                Some(Value::Table(set)) => set.clone(),
                None => Fields::new(),
                Some(_) => return Err(wrong(at, "response_headers.set", "a table")),
            };
            let mut adds = Vec::new();
            for (name, value) in &set {
                let value = text(at, "response_headers.set", value)?;
                let add = NewElement::new("add").with("name", name.as_str());
                adds.push(add.with("value", value));
            }
            Some(adds)
        }
        Some(_) => return Err(wrong(at, "response_headers", "a table")),
    };
    set_collection(editor, location, (HTTP_PROTOCOL, Some("customHeaders")), adds);
    match value {
        None => unset_section(editor, location, REQUEST_FILTERING, &[SERVER_HIDDEN]),
        Some(_) => set_server_hidden(editor, location, hides_server),
    }
    Ok(())
}

/// `removeServerHeader`, written where it differs from what is inherited.
fn set_server_hidden(editor: &mut Editor<'_>, location: &str, hidden: bool) {
    let mut outer = location;
    let mut inherited = false;
    while !outer.is_empty() {
        outer = outer.rsplit_once('/').map_or("", |(outer, _)| outer);
        let node = editor.host.section(outer, REQUEST_FILTERING);
        if let Some(own) = node.and_then(|node| editor.host.draft.value(node, SERVER_HIDDEN)) {
            inherited = own == "true";
            break;
        }
    }
    if hidden == inherited {
        unset_section(editor, location, REQUEST_FILTERING, &[SERVER_HIDDEN]);
    } else {
        let section = editor.host.ensure_section(location, REQUEST_FILTERING);
        editor.host.draft.set(section, SERVER_HIDDEN, hidden.to_string());
    }
}

/// `httpRedirect`. A URL without a path gets that of the request, as in bindery.
fn set_redirect(
    editor: &mut Editor<'_>,
    at: &Place,
    location: &str,
    value: Option<&Value>,
) -> Result<(), EditError> {
    let (to, status) = match value {
        None => {
            editor.host.remove_section(location, HTTP_REDIRECT);
            return Ok(());
        }
        Some(Value::Text(to)) => (to.as_str(), 308),
        Some(Value::Table(table)) => {
            let to = table.get("to").ok_or_else(|| wrong(at, "redirect.to", "a text"))?;
            let status = match table.get("status") {
                Some(Value::Integer(status)) => *status,
                None => 308,
                Some(_) => return Err(wrong(at, "redirect.status", "a number")),
            };
            (text(at, "redirect.to", to)?, status)
        }
        Some(_) => return Err(wrong(at, "redirect", "a text or a table")),
    };
    let status = u16::try_from(status).ok().and_then(redirect_status);
    let Some(status) = status else { return editor.no_place(at, "redirect.status") };
    let path = to.split_once("://").map_or(to, |(_, rest)| rest);
    let exact = path.contains(['/', '?', '#']) || !to.contains("://");
    let section = editor.host.ensure_section(location, HTTP_REDIRECT);
    let draft = &mut editor.host.draft;
    draft.set(section, "enabled", "true");
    draft.set(section, "destination", to);
    set_flag(draft, section, "exactDestination", exact, false);
    draft.set(section, "httpResponseStatus", status);
    Ok(())
}

/// `httpRedirect` of the rule that is read of one; there is no place for others.
fn set_redirects(
    editor: &mut Editor<'_>,
    at: &Place,
    location: &str,
    value: &Value,
) -> Result<(), EditError> {
    const KEY: &str = "redirects";
    let Value::List(rules) = value else { return Err(wrong(at, KEY, "an array of tables")) };
    let rule = match rules.as_slice() {
        [] => None,
        [Value::Table(rule)] => {
            let Some(rule) = redirect_rule(rule) else { return editor.no_place(at, KEY) };
            let base =
                location.split_once('/').map_or(String::new(), |(_, path)| format!("/{path}"));
            match (read::redirect_written(&base, &rule), redirect_status(rule.status)) {
                (Some(written), Some(status)) => Some((written, status)),
                _ => return editor.no_place(at, KEY),
            }
        }
        _ => return editor.no_place(at, KEY),
    };
    editor.host.remove_section(location, HTTP_REDIRECT);
    let section = editor.host.ensure_section(location, HTTP_REDIRECT);
    let draft = &mut editor.host.draft;
    draft.set(section, "enabled", rule.is_some().to_string());
    if let Some((written, status)) = rule {
        draft.set(section, "destination", written.destination);
        set_flag(draft, section, "exactDestination", written.exact, false);
        set_flag(draft, section, "childOnly", written.child_only, false);
        draft.set(section, "httpResponseStatus", status);
    }
    Ok(())
}

/// A rule of `redirects` without conditions that sends by a regular expression.
fn redirect_rule(rule: &Fields) -> Option<RedirectRule> {
    let mut own = RedirectRule {
        path: PathPattern::Regex(rule.get("regex")?.as_text()?.to_owned()),
        when: Vec::new(),
        to: RedirectTo::Target(rule.get("to")?.as_text()?.to_owned()),
        status: REDIRECT_STATUS,
        keep_query: true,
    };
    for (key, value) in rule {
        match (key.as_str(), value) {
            ("regex" | "to", _) => {}
            ("status", Value::Integer(status)) => own.status = u16::try_from(*status).ok()?,
            ("keep_query", Value::Boolean(keep)) => own.keep_query = *keep,
            _ => return None,
        }
    }
    Some(own)
}

/// `httpResponseStatus` for a status.
fn redirect_status(status: u16) -> Option<&'static str> {
    Some(match status {
        301 => "Permanent",
        302 => "Found",
        307 => "Temporary",
        308 => "PermRedirect",
        _ => return None,
    })
}
