//! Where the keys of `bindery.toml` stand in IIS's form, and what has no place there.

mod location;

use bindery_model::change::{EditError, Fields, Place, Value};

pub(super) use self::location::at_location;
use self::location::in_location;

use super::{edit::Editor, host::Host, pools};
use crate::xml::{
    draft::{Draft, Node},
    edit::{NewElement, Position},
};

const CENTRAL: u32 = 2;
const NO_HTTP2: u32 = 4;
const NO_TLS13: u32 = 32;

/// What `hsts = true` stands for.
const YEAR_SECONDS: i64 = 365 * 24 * 3600;

/// Sets one key of a site, an application, a virtual directory or a binding; without a value it
/// is taken away.
pub(super) fn set(
    editor: &mut Editor<'_>,
    at: &Place,
    node: Node,
    key: &str,
    value: Option<&Value>,
) -> Result<(), EditError> {
    let (head, rest) = key.split_once('.').map_or((key, None), |(head, rest)| (head, Some(rest)));
    match at {
        Place::Binding { .. } => return of_binding(editor, at, node, (head, rest), value),
        // The list of a site holds bindings with their keys.
        Place::Site(_) if editor.host.draft.name(node) == "binding" => {
            return of_binding(editor, at, node, (head, rest), value);
        }
        Place::Site(_) => {
            if let Some(done) = of_site(editor, at, node, (head, rest), value) {
                return done;
            }
        }
        _ => {}
    }
    if rest.is_some() {
        return editor.no_place(at, key);
    }
    match key {
        "root" => set_root(editor, at, node, value),
        pools::POOL => {
            let application = match at {
                Place::Site(_) => editor.host.application(node, "/"),
                Place::Application { .. } => Some(node),
                _ => None,
            };
            match application {
                Some(application) => pools::set_pool(&mut editor.host, at, application, value),
                None => editor.no_place(at, key),
            }
        }
        _ => in_location(editor, at, node, key, value),
    }
}

/// What only sites have; nothing for everything else.
fn of_site(
    editor: &mut Editor<'_>,
    at: &Place,
    site: Node,
    (head, rest): (&str, Option<&str>),
    value: Option<&Value>,
) -> Option<Result<(), EditError>> {
    let done = match (head, rest) {
        ("state", None) => {
            let stopped = match value.map(|value| text(at, head, value)) {
                None | Some(Ok("started")) => false,
                Some(Ok("stopped")) => true,
                Some(Ok(_)) => return Some(Err(wrong(at, head, "\"started\" or \"stopped\""))),
                Some(Err(error)) => return Some(Err(error)),
            };
            set_started(&mut editor.host, site, !stopped);
            Ok(())
        }
        ("access_log", None) => value.map(|value| boolean(at, head, value)).transpose().map(|on| {
            set_unless_default(editor, site, ("logFile", "enabled"), on.unwrap_or(true));
        }),
        ("https_redirect", None) => {
            value.map(|value| boolean(at, head, value)).transpose().map(|on| {
                let draft = &mut editor.host.draft;
                match on {
                    Some(on) => {
                        let hsts = draft.ensure(site, "hsts");
                        draft.set(hsts, "redirectHttpToHttps", on.to_string());
                    }
                    None => unset_in(draft, site, "hsts", &["redirectHttpToHttps"]),
                }
            })
        }
        ("hsts", None) => set_hsts(editor, at, site, value),
        ("limits", None) => match value {
            None => {
                let names = ["maxConnections", "maxBandwidth"];
                unset_in(&mut editor.host.draft, site, "limits", &names);
                Ok(())
            }
            Some(Value::Table(fields)) => ["requests_max", "bytes_per_second_max"]
                .iter()
                .try_for_each(|key| set_limit(editor, at, site, key, fields.get(*key))),
            Some(_) => Err(wrong(at, head, "a table")),
        },
        ("limits", Some(key)) => set_limit(editor, at, site, key, value),
        _ => return None,
    };
    Some(done)
}

/// Whether a site is started with the server: IIS has no other lasting state.
pub(crate) fn set_started(host: &mut Host<'_>, site: Node, started: bool) {
    let usual = host.defaults("siteDefaults").and_then(|node| {
        host.draft.value(node, "serverAutoStart").map(|value| value.eq_ignore_ascii_case("true"))
    });
    set_flag(&mut host.draft, site, "serverAutoStart", started, usual.unwrap_or(true));
}

/// Whether a site is started with the server.
pub(crate) fn is_started(host: &Host<'_>, site: Node) -> bool {
    let own = host
        .draft
        .value(site, "serverAutoStart")
        .or_else(|| host.draft.value(host.defaults("siteDefaults")?, "serverAutoStart"));
    own.is_none_or(|value| value.eq_ignore_ascii_case("true"))
}

/// Sets an attribute that is `true` or `false`: not written where it is as `usual`, unless that is
/// what already stands there.
pub(crate) fn set_flag(draft: &mut Draft<'_>, node: Node, name: &str, on: bool, usual: bool) {
    let own = draft.value(node, name).map(|value| value.eq_ignore_ascii_case("true"));
    if own == Some(on) || (own.is_none() && on == usual) {
        return;
    }
    if on == usual {
        draft.unset(node, name);
    } else {
        draft.set(node, name, on.to_string());
    }
}

fn set_unless_default(editor: &mut Editor<'_>, site: Node, (child, name): (&str, &str), on: bool) {
    let host = &mut editor.host;
    let usual = host.defaults("siteDefaults").and_then(|node| {
        let child = host.draft.child(node, child)?;
        Some(host.draft.value(child, name)?.eq_ignore_ascii_case("true"))
    });
    let usual = usual.unwrap_or(true);
    let draft = &mut host.draft;
    match draft.child(site, child) {
        Some(node) => set_flag(draft, node, name, on, usual),
        None if on == usual => return,
        None => {
            let node = draft.ensure(site, child);
            draft.set(node, name, on.to_string());
        }
    }
    drop_bare(draft, site, child);
}

/// Takes attributes of a child away, and the child itself where nothing is left of it.
fn unset_in(draft: &mut Draft<'_>, parent: Node, child: &str, names: &[&str]) {
    let Some(node) = draft.child(parent, child) else { return };
    let changed = names.iter().filter(|name| draft.unset(node, name)).count();
    if changed > 0 {
        drop_bare(draft, parent, child);
    }
}

fn drop_bare(draft: &mut Draft<'_>, parent: Node, child: &str) {
    let Some(node) = draft.child(parent, child) else { return };
    if draft.is_left_bare(node) {
        draft.remove(node);
    }
}

fn set_limit(
    editor: &mut Editor<'_>,
    at: &Place,
    site: Node,
    key: &str,
    value: Option<&Value>,
) -> Result<(), EditError> {
    let name = match key {
        "requests_max" => "maxConnections",
        "bytes_per_second_max" => "maxBandwidth",
        _ => return editor.no_place(at, &format!("limits.{key}")),
    };
    let draft = &mut editor.host.draft;
    let Some(value) = value else {
        unset_in(draft, site, "limits", &[name]);
        return Ok(());
    };
    // Both are 32 bits wide there.
    let number: u32 = number(at, &format!("limits.{key}"), value)?;
    let limits = draft.ensure(site, "limits");
    draft.set(limits, name, number.to_string());
    Ok(())
}

fn set_hsts(
    editor: &mut Editor<'_>,
    at: &Place,
    site: Node,
    value: Option<&Value>,
) -> Result<(), EditError> {
    let draft = &mut editor.host.draft;
    let table = match value {
        None | Some(Value::Boolean(false)) => {
            let names = ["enabled", "max-age", "includeSubDomains", "preload"];
            unset_in(draft, site, "hsts", &names);
            return Ok(());
        }
        Some(Value::Boolean(true)) => &Fields::new(),
        Some(Value::Table(table)) => table,
        Some(_) => return Err(wrong(at, "hsts", "true, false or a table")),
    };
    let flag = |key| match table.get(key) {
        Some(value) => boolean(at, &format!("hsts.{key}"), value),
        None => Ok(false),
    };
    let max_age = match table.get("max_age") {
        Some(Value::Integer(seconds)) => *seconds,
        Some(_) => return Err(wrong(at, "hsts.max_age", "a number")),
        None => YEAR_SECONDS,
    };
    let (include, preload) = (flag("include_subdomains")?, flag("preload")?);
    let hsts = draft.ensure(site, "hsts");
    draft.set(hsts, "enabled", "true");
    draft.set(hsts, "max-age", max_age.to_string());
    set_flag(draft, hsts, "includeSubDomains", include, false);
    set_flag(draft, hsts, "preload", preload, false);
    Ok(())
}

/// Sets the folder of a site, an application or a virtual directory. It stays where nothing is
/// said: there is no site without one.
fn set_root(
    editor: &mut Editor<'_>,
    at: &Place,
    node: Node,
    value: Option<&Value>,
) -> Result<(), EditError> {
    let Some(value) = value else { return Ok(()) };
    let folder = text(at, "root", value)?.to_owned();
    let host = &mut editor.host;
    let application = match at {
        Place::Site(_) => Some(host.application(node, "/")),
        Place::Application { .. } => Some(Some(node)),
        _ => None,
    };
    let directory = match application {
        None => node,
        Some(application) => {
            let application = application.unwrap_or_else(|| {
                let new = NewElement::new("application").with("path", "/");
                host.draft.insert(node, Position::Start, &new)
            });
            match host.directory(application, "/") {
                Some(directory) => directory,
                None => {
                    let new = NewElement::new("virtualDirectory").with("path", "/");
                    host.draft.insert(application, Position::Start, &new)
                }
            }
        }
    };
    host.draft.set(directory, "physicalPath", folder);
    Ok(())
}

fn of_binding(
    editor: &mut Editor<'_>,
    at: &Place,
    node: Node,
    (head, rest): (&str, Option<&str>),
    value: Option<&Value>,
) -> Result<(), EditError> {
    match (head, rest, value) {
        ("certificate", None, None) => {
            with_flag(editor, node, CENTRAL, false);
            Ok(())
        }
        ("certificate", None, Some(Value::Text(word)))
            if matches!(word.as_str(), "best" | "central") =>
        {
            with_flag(editor, node, CENTRAL, word == "central");
            Ok(())
        }
        // So it is there, as long as there is no record.
        ("certificate", None, Some(Value::Text(word)))
            if word == "none" && is_catch_all(&editor.host.draft, node) =>
        {
            with_flag(editor, node, CENTRAL, false);
            Ok(())
        }
        ("tls", None, None) => {
            with_flag(editor, node, NO_HTTP2 | NO_TLS13, false);
            Ok(())
        }
        ("tls", None, Some(Value::Table(table))) => {
            with_flag(editor, node, NO_HTTP2 | NO_TLS13, false);
            table.iter().try_for_each(|(key, value)| set_tls(editor, at, node, key, Some(value)))
        }
        ("tls", Some(key), value) => set_tls(editor, at, node, key, value),
        // Which certificate is shown stands in the certificate records, as in IIS.
        _ => editor.no_place(at, head),
    }
}

fn set_tls(
    editor: &mut Editor<'_>,
    at: &Place,
    node: Node,
    key: &str,
    value: Option<&Value>,
) -> Result<(), EditError> {
    let (flag, on) = match (key, value) {
        ("http2", value) => {
            let on = value.map(|value| boolean(at, "tls.http2", value)).transpose()?;
            (NO_HTTP2, !on.unwrap_or(true))
        }
        ("maximum", None) => (NO_TLS13, false),
        ("maximum", Some(Value::Text(version))) if version == "1.3" => (NO_TLS13, false),
        ("maximum", Some(Value::Text(version))) if version == "1.2" => (NO_TLS13, true),
        ("minimum", None) => return Ok(()),
        // Nothing older is spoken anyway.
        ("minimum", Some(Value::Text(version))) if version == "1.2" => return Ok(()),
        // Client certificates and what is newer than 1.2 belong to the certificate record.
        ("client_certificate", Some(Value::Text(word))) if word == "off" => return Ok(()),
        ("client_certificate" | "client_ca", None) => return Ok(()),
        _ => return editor.no_place(at, &format!("tls.{key}")),
    };
    with_flag(editor, node, flag, on);
    Ok(())
}

fn is_catch_all(draft: &Draft<'_>, node: Node) -> bool {
    draft.value(node, "bindingInformation").is_some_and(|text| text.trim_end().ends_with(':'))
}

fn with_flag(editor: &mut Editor<'_>, node: Node, flag: u32, on: bool) {
    let draft = &mut editor.host.draft;
    let own = flags(draft, node);
    set_flags(draft, node, if on { own | flag } else { own & !flag });
}

/// `sslFlags` of a binding.
pub(crate) fn flags(draft: &Draft<'_>, node: Node) -> u32 {
    draft.value(node, "sslFlags").and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

/// Sets `sslFlags`; none are not written, as IIS does, unless they were.
pub(crate) fn set_flags(draft: &mut Draft<'_>, node: Node, new: u32) {
    if flags(draft, node) == new {
        return;
    }
    match new {
        0 => {
            draft.unset(node, "sslFlags");
        }
        _ => draft.set(node, "sslFlags", new.to_string()),
    }
}

/// The error of a value that does not fit its key.
pub(super) fn wrong(at: &Place, key: &str, what: &str) -> EditError {
    EditError::Wrong { at: at.clone(), reason: format!("{key} is {what}") }
}

fn text<'v>(at: &Place, key: &str, value: &'v Value) -> Result<&'v str, EditError> {
    match value {
        Value::Text(text) => Ok(text),
        _ => Err(wrong(at, key, "a text")),
    }
}

fn texts(at: &Place, key: &str, value: &Value) -> Result<Vec<String>, EditError> {
    let Value::List(all) = value else { return Err(wrong(at, key, "an array of texts")) };
    all.iter().map(|one| text(at, key, one).map(str::to_owned)).collect()
}

fn boolean(at: &Place, key: &str, value: &Value) -> Result<bool, EditError> {
    match value {
        Value::Boolean(on) => Ok(*on),
        _ => Err(wrong(at, key, "true or false")),
    }
}

/// A whole number of 32 bits.
pub(super) fn number(at: &Place, key: &str, value: &Value) -> Result<u32, EditError> {
    let number = match value {
        Value::Integer(number) => u32::try_from(*number).ok(),
        _ => None,
    };
    number.ok_or_else(|| wrong(at, key, "a whole number up to 4294967295"))
}
