//! What is said to who asked for something that cannot be: problem documents (RFC 9457).

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use bindery_iis::netsh::records::RecordError;
use bindery_model::{change::EditError, problem::Way};
use bindery_server::text_of;
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{CONTENT_TYPE, ETAG},
};
use serde::{Deserialize, Serialize};

use crate::{
    applier::Refused,
    home::HomeError,
    problems::{FilePlace, PlacedProblem},
};

/// The media type of a problem document.
pub(crate) const PROBLEM: &str = "application/problem+json";

/// What the URNs of problems begin with.
const URN: &str = "urn:bindery:problem:";

/// A problem document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemDocument {
    /// Its kind: `urn:bindery:problem:` and a word that does not change.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// The status of the answer.
    pub status: u16,
    /// What it is this time.
    pub detail: String,
    /// What to do about it, where there is a way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The revision in force, where the request was based on another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// What is wrong, one by one, where that can be told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<ProblemItem>,
}

impl ProblemDocument {
    /// The word of its kind: `outdated`, `not-found` and the like.
    #[must_use]
    pub fn word(&self) -> &str {
        self.kind.strip_prefix(URN).unwrap_or(&self.kind)
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemItem {
    /// `error`, `warning` or `hint`.
    pub severity: String,
    /// Its stable code, as `bindery check` has it.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub help: String,
    /// Ways out, each of which will do, where there are commands for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ways: Vec<Way>,
    /// Where in the body of the request (RFC 6901), where that can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// The file whose text it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line, from 1; of the body where there is no file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The column, from 1, in characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
}

impl ProblemItem {
    /// An error at a place of the body.
    pub(crate) fn at(pointer: impl Into<String>, code: &str, message: impl Into<String>) -> Self {
        Self {
            severity: "error".to_owned(),
            code: code.to_owned(),
            message: message.into(),
            pointer: Some(pointer.into()),
            ..Self::default()
        }
    }
}

impl From<PlacedProblem> for ProblemItem {
    fn from(placed: PlacedProblem) -> Self {
        let PlacedProblem { severity, code, place, message, help, ways } = placed;
        let (file, at) = match place {
            Some(FilePlace { file, line, column }) => (Some(file), Some((line, column))),
            None => (None, None),
        };
        Self {
            severity,
            code,
            message,
            help,
            ways,
            pointer: None,
            file,
            line: at.map(|(line, _)| line),
            column: at.map(|(_, column)| column),
        }
    }
}

macro_rules! kinds {
    ($($name:ident = $status:ident, $word:literal, $title:literal;)+) => {
        /// The kinds of problems. Their words are part of the interface.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Kind { $($name,)+ }

        impl Kind {
            /// Every kind, for the OpenAPI document.
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)+];

            pub(crate) fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)+ }
            }

            pub(crate) fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)+ }
            }

            pub(crate) fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }
        }
    };
}

kinds! {
    Malformed = BAD_REQUEST, "malformed", "The request cannot be understood";
    Unauthorized = UNAUTHORIZED, "unauthorized", "A token is needed";
    Forbidden = FORBIDDEN, "forbidden", "This is not for you";
    NotFound = NOT_FOUND, "not-found", "There is no such thing";
    Method = METHOD_NOT_ALLOWED, "method", "This cannot be done with it";
    Timeout = REQUEST_TIMEOUT, "timeout", "The request took too long to arrive";
    Exists = CONFLICT, "exists", "There is one already";
    Outdated = PRECONDITION_FAILED, "outdated", "It is based on another revision";
    TooLarge = PAYLOAD_TOO_LARGE, "too-large", "The body is too large";
    MediaType = UNSUPPORTED_MEDIA_TYPE, "media-type", "The body is of another type";
    NotServable = UNPROCESSABLE_ENTITY, "not-servable", "What it would make cannot be served";
    Edited = LOCKED, "edited", "The file was edited by hand";
    TooMany = TOO_MANY_REQUESTS, "too-many", "Too many requests";
    Internal = INTERNAL_SERVER_ERROR, "internal", "The server has a defect";
    Unavailable = SERVICE_UNAVAILABLE, "unavailable", "It cannot be done now";
}

/// A problem in the making.
#[derive(Debug)]
pub(crate) struct Problem(Box<Parts>);

#[derive(Debug)]
struct Parts {
    kind: Kind,
    detail: Cow<'static, str>,
    help: Option<String>,
    revision: Option<u64>,
    items: Vec<ProblemItem>,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Problem {
    pub(crate) fn new(kind: Kind, detail: impl Into<Cow<'static, str>>) -> Self {
        let (detail, items) = (detail.into(), Vec::new());
        let (help, revision, header) = (None, None, None);
        Self(Box::new(Parts { kind, detail, help, revision, items, header }))
    }

    pub(crate) fn with(mut self, items: Vec<ProblemItem>) -> Self {
        self.0.items = items;
        self
    }

    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.header = Some((name, value));
        self
    }

    /// One thing in the body is wrong.
    pub(crate) fn of_body(item: ProblemItem) -> Self {
        let detail = item.message.clone();
        Self::new(Kind::Malformed, detail).with(vec![item])
    }

    /// The request is based on another revision than `current`.
    pub(crate) fn outdated(detail: String, current: u64) -> Self {
        let mut problem = Self::new(Kind::Outdated, detail);
        problem.0.revision = Some(current);
        problem
    }

    /// What is said to who has asked for it by a body of JSON; `pointers` are the keys of that
    /// body, each with its place.
    pub(crate) fn of_refused(refused: Refused, pointers: &[(String, String)]) -> Self {
        let help = refused.help();
        let mut problem = Self::of_reason(refused, pointers);
        problem.0.help = help;
        problem
    }

    fn of_reason(refused: Refused, pointers: &[(String, String)]) -> Self {
        let detail = text_of(&refused);
        match refused {
            Refused::Outdated { current, .. } => Self::outdated(detail, current),
            Refused::Edit(error) => Self::of_edit(&error, pointers, detail),
            Refused::Records(error) => {
                let kind = match error {
                    RecordError::Exists(_) => Kind::Exists,
                    RecordError::NotFound(_) => Kind::NotFound,
                    RecordError::Parameter { .. } => Kind::Malformed,
                    RecordError::NoCertificate { .. } => Kind::NotServable,
                };
                Self::new(kind, detail)
            }
            Refused::Problems(problems) | Refused::Inspected(problems) => {
                Self::of_problems(problems, pointers, detail)
            }
            Refused::Edited(problems) => {
                let items = problems.into_iter().map(ProblemItem::from).collect();
                Self::new(Kind::Edited, detail).with(items)
            }
            Refused::NoRevision(_) | Refused::NoBackup(_) => Self::new(Kind::NotFound, detail),
            Refused::Listen(_) | Refused::Beside(_) => Self::new(Kind::NotServable, detail),
            Refused::Home(HomeError::Edited { .. }) => Self::new(Kind::Edited, detail),
            Refused::Home(_) | Refused::Lost { .. } | Refused::State(_) => {
                Self::new(Kind::Unavailable, detail)
            }
        }
    }

    fn of_edit(error: &EditError, pointers: &[(String, String)], detail: String) -> Self {
        let (kind, message) = match error {
            EditError::NotFound(_) => (Kind::NotFound, ""),
            EditError::Exists(_) => (Kind::Exists, ""),
            EditError::Wrong { reason, .. } => (Kind::Malformed, reason.as_str()),
            EditError::NoPlace { key, .. } => (Kind::NotServable, key.as_str()),
            EditError::Unreadable(_) => (Kind::NotServable, ""),
        };
        let items = match pointer_to(message, pointers) {
            Some(pointer) => vec![ProblemItem::at(pointer, "edit", detail.clone())],
            None => Vec::new(),
        };
        Self::new(kind, detail).with(items)
    }

    fn of_problems(
        problems: Vec<PlacedProblem>,
        pointers: &[(String, String)],
        detail: String,
    ) -> Self {
        // Keys that mean nothing are an error of who wrote them into the body.
        let of_keys = |one: &PlacedProblem| {
            matches!(one.code.as_str(), "unknown-key" | "missing-key" | "wrong-type")
        };
        let mut errors = problems.iter().filter(|one| one.is_error());
        let is_malformed = !pointers.is_empty() && errors.all(of_keys);
        let kind = if is_malformed { Kind::Malformed } else { Kind::NotServable };
        let placed = |problem: PlacedProblem| {
            let pointer = pointer_to(&problem.message, pointers);
            ProblemItem { pointer, ..problem.into() }
        };
        Self::new(kind, detail).with(problems.into_iter().map(placed).collect())
    }

    pub(crate) fn kind(&self) -> Kind {
        self.0.kind
    }

    pub(crate) fn into_document(self) -> ProblemDocument {
        let Parts { kind, detail, help, revision, items, .. } = *self.0;
        ProblemDocument {
            kind: format!("{URN}{}", kind.word()),
            title: kind.title().to_owned(),
            status: kind.status().as_u16(),
            detail: detail.into_owned(),
            help,
            revision,
            problems: items,
        }
    }
}

/// The place of the one key of the body that a message is about: the longest of those that it
/// names as a word.
fn pointer_to(message: &str, pointers: &[(String, String)]) -> Option<String> {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    let names = |key: &str| {
        message.match_indices(key).any(|(at, _)| {
            let before = message.get(..at).and_then(|text| text.chars().next_back());
            let after = message.get(at + key.len()..).and_then(|text| text.chars().next());
            !before.is_some_and(is_part) && !after.is_some_and(is_part)
        })
    };
    let mut named: Vec<_> = pointers.iter().filter(|(key, _)| names(key)).collect();
    named.sort_by_key(|(key, _)| std::cmp::Reverse(key.len()));
    match named.as_slice() {
        [(_, pointer)] => Some(pointer.clone()),
        [(first, pointer), (second, _), ..] if first.len() > second.len() => Some(pointer.clone()),
        _ => None,
    }
}

impl IntoResponse for Problem {
    fn into_response(mut self) -> Response {
        let status = self.kind().status();
        let (header, revision) = (self.0.header.take(), self.0.revision);
        let text = serde_json::to_vec(&self.into_document()).unwrap_or_default();
        let mut response = (status, text).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
        headers.extend(header);
        headers.extend(revision.map(|revision| (ETAG, etag(revision))));
        response
    }
}

/// The tag of a revision.
pub(crate) fn etag(revision: u64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{revision}\"")).unwrap_or(HeaderValue::from_static("\"0\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_points_to_the_key_that_it_names() {
        let pointers = ["root", "limits", "requests_max", "bindings"]
            .map(|key| (key.to_owned(), format!("/{key}")));
        let check = |message: &str, expected: Option<&str>| {
            assert_eq!(pointer_to(message, &pointers).as_deref(), expected, "{message}");
        };
        check("site \"shop\": limits.requests_max is no number", Some("/requests_max"));
        check("site \"shop\": root cannot be read", Some("/root"));
        check("site \"shop\": roots cannot be read", None);
        check("nothing of it", None);
    }
}
