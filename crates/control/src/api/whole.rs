//! The configuration as a whole: its text, changes of all kinds, its history, what it explains and
//! what the server does with it.

use std::{io, path::PathBuf, sync::Arc};

use axum::response::{IntoResponse as _, Response};
use bindery_iis::netsh::records::Records;
use bindery_model::{
    change::Difference,
    decide::{Order, windows::Windows},
    name::HostName,
};
use bindery_server::{clock, snapshot::Snapshot};
use http::{
    HeaderValue, StatusCode,
    header::{CONTENT_TYPE, ETAG},
};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use super::{
    Call, Page, body,
    problem::{Kind, Problem, ProblemItem, etag},
    things::limit,
};
use crate::{
    applier::{Kept, Refused, What},
    explain::{Known, Target, Unserved, explanation, unserved},
    history::Record,
    home::{Form, Home},
    status::{self, Status},
};

/// A change with the text that it made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionRecord {
    /// The change.
    #[serde(flatten)]
    pub record: Record,
    /// The text of the configuration after it.
    pub text: String,
    /// Certificate records after it.
    pub records: Records,
}

/// Which server this is, and what it serves; of the same size whatever that is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Its version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// The file that is the truth, through every link.
    pub file: PathBuf,
    /// `toml` or `iis`.
    pub form: Form,
    /// The revision in force.
    pub revision: u64,
}

/// What differs between two revisions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionDifference {
    /// The earlier one, as a rule.
    pub from: u64,
    /// The other one.
    pub to: u64,
    /// What it has otherwise.
    pub difference: Difference,
}

pub(super) fn about(call: &Call) -> Result<Response, Problem> {
    let current = call.current();
    let about = About {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        file: current.home.file.clone(),
        form: current.home.form,
        revision: current.revision,
    };
    call.tagged(current.revision, &about)
}

pub(super) fn records(call: &Call) -> Result<Response, Problem> {
    let current = call.current();
    call.tagged(current.revision, &current.records)
}

pub(super) fn changes(call: &Call) -> Result<Response, Problem> {
    let (changes, records) = body::changes(&call.head.headers, &call.body)?;
    call.change(match (changes.is_empty(), records.is_empty()) {
        (false, true) => What::Changes(changes),
        (true, false) => What::Records(records),
        _ => What::Both(changes, records),
    })
}

pub(super) fn text(call: &Call) -> Result<Response, Problem> {
    let current = call.current();
    if body::has_already(&call.head.headers, current.revision) {
        let tag = [(ETAG, etag(current.revision))];
        return Ok((StatusCode::NOT_MODIFIED, tag).into_response());
    }
    let media_type = HeaderValue::from_static(match current.home.form {
        Form::Toml => "application/toml",
        Form::Iis => "application/xml",
    });
    let headers = [(CONTENT_TYPE, media_type), (ETAG, etag(current.revision))];
    Ok((headers, current.text.clone()).into_response())
}

pub(super) fn put_text(call: &Call) -> Result<Response, Problem> {
    let form = call.current().home.form;
    body::expect_type(&call.head.headers, body::media_types(form))?;
    let text = String::from_utf8(call.body.to_vec()).map_err(|error| {
        Problem::new(Kind::Malformed, format!("the body is not UTF-8: {}", error.utf8_error()))
    })?;
    call.change(What::Text(text))
}

pub(super) fn reload(call: &Call) -> Result<Response, Problem> {
    call.change(What::Anew)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Undo {
    to: u64,
}

pub(super) fn undo(call: &Call) -> Result<Response, Problem> {
    let Undo { to } = body::json(&call.head.headers, &call.body)?;
    call.change(What::Undo(to))
}

pub(super) fn status(call: &Call) -> Result<Response, Problem> {
    let applier = &call.shared.applier;
    let Some(server) = applier.server() else {
        return Err(Problem::new(Kind::Unavailable, "no server runs yet"));
    };
    let told = status::of(server, &applier.current().home.path, applier.problems().to_vec());
    super::json(StatusCode::OK, &Status { edited: applier.edited().to_vec(), ..told })
}

pub(super) fn history(call: &Call) -> Result<Response, Problem> {
    let limit = limit(call)?;
    let read = call.shared.applier.history(call.query.number("before"), limit + 1);
    let mut items = read.map_err(|error| unreadable(&error))?;
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|record| record.revision.to_string());
    super::json(StatusCode::OK, &Page { items, next })
}

fn unreadable(error: &io::Error) -> Problem {
    tracing::warn!(%error, "the history cannot be read");
    Problem::new(Kind::Unavailable, format!("the history cannot be read: {error}"))
}

fn number(call: &Call) -> Result<u64, Problem> {
    let text = call.part("revision");
    text.parse().map_err(|_| {
        Problem::new(Kind::NotFound, format!("{text:?} is no revision; revisions are numbers"))
    })
}

fn no_revision(revision: u64) -> Problem {
    Problem::new(Kind::NotFound, format!("revision {revision} is not in the history"))
}

pub(super) fn revision(call: &Call) -> Result<Response, Problem> {
    let revision = number(call)?;
    let found = call.shared.applier.history(Some(revision.saturating_add(1)), 1);
    let found =
        found.map_err(|error| unreadable(&error))?.pop().filter(|own| own.revision == revision);
    let record = found.ok_or_else(|| no_revision(revision))?;
    let kept = call.shared.applier.kept(revision).map_err(|error| unreadable(&error))?;
    let Kept { text, records } = kept.ok_or_else(|| no_revision(revision))?;
    super::json(StatusCode::OK, &RevisionRecord { record, text, records })
}

pub(super) fn difference(call: &Call) -> Result<Response, Problem> {
    let to = number(call)?;
    let from = match call.query.number("from") {
        Some(from) => from,
        None => {
            let before =
                call.shared.applier.history(Some(to), 1).map_err(|error| unreadable(&error))?;
            before
                .first()
                .map(|own| own.revision)
                .ok_or_else(|| no_revision(to.saturating_sub(1)))?
        }
    };
    let difference = call.shared.applier.difference(from, to);
    let difference = difference.map_err(|refused| match refused {
        Refused::State(error) => unreadable(&error),
        refused => Problem::of_refused(refused, &[]),
    })?;
    super::json(StatusCode::OK, &RevisionDifference { from, to, difference })
}

pub(super) fn explain(call: &Call) -> Result<Response, Problem> {
    let query = &call.query;
    let wrong = |name: &str, error: &dyn std::fmt::Display| {
        let message = format!("{name}: {error}");
        Problem::new(Kind::Malformed, message.clone())
            .with(vec![ProblemItem { pointer: None, ..ProblemItem::at("", "parameter", message) }])
    };
    let parsed = |name: &str| -> Result<Option<HostName>, Problem> {
        let Some(text) = query.text(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|error| wrong(name, &error))
    };
    let target: Option<Target> = match query.text("url") {
        Some(url) => Some(url.parse().map_err(|error| wrong("url", &error))?),
        None => None,
    };
    let address = match query.text("ip") {
        Some(ip) => Some(ip.parse().map_err(|error| wrong("ip", &error))?),
        None => None,
    };
    let port = match query.number("port") {
        None => None,
        Some(port) => match u16::try_from(port) {
            Ok(port) if port > 0 => Some(port),
            _ => return Err(wrong("port", &format!("{port} is no port"))),
        },
    };
    let known = Known {
        target,
        server_name: parsed("sni")?,
        no_server_name: query.yes("no_sni"),
        address,
        port,
        windows: None,
    };
    if known.server_name.is_some() && known.no_server_name {
        return Err(wrong("no_sni", &"it excludes sni"));
    }
    let asks = known.target.is_some() || known.address.is_some() || known.server_name.is_some();
    if !asks && !known.no_server_name {
        return Err(wrong("url", &"it is missing, and so are sni, no_sni and ip"));
    }
    let (order, windows) = match query.text("as") {
        None => (None, None),
        Some("host-first") => (Some(Order::HostFirst), None),
        Some("http.sys") => (Some(Order::HttpSys), None),
        Some("iis7") => (None, Some(Windows::Iis7)),
        Some("iis") => (None, Some(Windows::Iis)),
        Some(word) => {
            let words = "host-first, http.sys, iis7 or iis";
            return Err(wrong("as", &format!("{word:?} is not {words}")));
        }
    };
    let known = Known { windows, ..known };
    let asked = asked(call, order)?;
    let told = Handle::current().block_on(explanation(&asked, &known.into(), clock::now()));
    super::json(StatusCode::OK, &told)
}

/// What is in force, to be asked questions.
fn asked(call: &Call, order: Option<Order>) -> Result<Unserved, Problem> {
    let current = call.current();
    let configuration = &current.configuration;
    let is_other = order.is_some_and(|order| order != configuration.settings.order);
    if is_other || configuration.settings.central_store.is_some() {
        // Read once more: what is in force does not change.
        let loaded = Home::loaded(current.home.clone(), current.text.clone())
            .map_err(|error| Problem::new(Kind::Unavailable, bindery_server::text_of(&error)))?;
        return Ok(unserved(loaded, order));
    }
    Ok(Unserved {
        config: current.home.path.clone(),
        folder: current.home.folder.clone(),
        snapshot: Snapshot::unserved(Arc::clone(configuration), None),
        problems: Vec::new(),
    })
}
