//! The OpenAPI document (3.1.0), made of the table of operations and the schemas beside it.

use axum::response::Response;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{
    Call,
    body::JSON,
    operations::{Gives, Kind as ParameterKind, OPERATIONS, Operation, Parameter, Takes},
    problem::{Kind, PROBLEM, Problem},
    things::LIMIT_MAX,
};

/// The schemas that operations name.
const SCHEMAS: &str = include_str!("schemas.json");

/// The media types of configurations.
const TEXTS: [&str; 2] = ["application/toml", "application/xml"];

pub(super) fn show(_call: &Call) -> Result<Response, Problem> {
    super::json(StatusCode::OK, &document())
}

/// The document.
///
/// # Panics
///
/// Never: the schemas in it are tested.
#[must_use]
#[allow(clippy::expect_used, reason = "a test reads the same text")]
pub fn document() -> Value {
    let schemas: Value = serde_json::from_str(SCHEMAS).expect("schemas.json is JSON");
    let mut paths = Map::new();
    for operation in OPERATIONS {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        if let Value::Object(path) = path {
            path.insert(operation.verb.word().to_owned(), described(operation));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Bindery",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What a running server can be asked, and changed by. On the Unix \
                socket control.sock in its state folder, for root and its own user; and on the \
                loopback address of `admin`, with a token. Things have the keys of bindery.toml.",
            "license": { "name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT" },
        },
        "servers": [{ "url": "http://127.0.0.1:9180" }],
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Made by `bindery token add`. Not needed at the socket.",
                },
            },
            "responses": problems(),
        },
    })
}

fn described(operation: &Operation) -> Value {
    let mut told = json!({
        "operationId": operation.id,
        "summary": operation.about,
        "x-role": operation.role.word(),
        "responses": responses(operation),
    });
    let mut parameters: Vec<_> = parts(operation.path).map(in_path).collect();
    parameters.extend(operation.parameters.iter().map(in_query));
    if operation.is_change() {
        parameters.push(in_header("If-Match", "The revision that the change is based on."));
    } else if has_tag(operation) {
        parameters.push(in_header("If-None-Match", "The revision that is known already."));
    } else if operation.gives == Gives::Events {
        parameters.push(in_header("Last-Event-ID", "The last revision that was seen."));
    }
    if let Value::Object(told) = &mut told {
        if !parameters.is_empty() {
            told.insert("parameters".to_owned(), parameters.into());
        }
        let content = match operation.takes {
            Takes::Nothing => None,
            Takes::Json(schema) => Some(json!({ JSON: { "schema": reference(schema) } })),
            Takes::Text => Some(texts()),
        };
        if let Some(content) = content {
            let body = json!({ "required": true, "content": content });
            told.insert("requestBody".to_owned(), body);
        }
    }
    told
}

/// Whether the answer is a part of the configuration, so that its tag is the revision.
fn has_tag(operation: &Operation) -> bool {
    match operation.gives {
        Gives::Json(schema) => !matches!(
            schema,
            "Status" | "Explanation" | "Revision" | "RevisionDifference" | "OpenApi" | "Backup"
        ),
        Gives::Page(schema) => !matches!(schema, "Record" | "RunningRequest" | "Backup"),
        Gives::Text => true,
        Gives::Outcome | Gives::Created | Gives::New(_) | Gives::Events => false,
    }
}

fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

fn in_path(name: &str) -> Value {
    json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })
}

fn in_header(name: &str, about: &str) -> Value {
    json!({ "name": name, "in": "header", "description": about, "schema": { "type": "string" } })
}

fn in_query(parameter: &Parameter) -> Value {
    let Parameter { name, kind, about } = parameter;
    let schema = match kind {
        ParameterKind::Text => json!({ "type": "string" }),
        ParameterKind::Number => json!({ "type": "integer", "minimum": 0 }),
        ParameterKind::Count => json!({ "type": "integer", "minimum": 1, "maximum": LIMIT_MAX }),
        ParameterKind::Yes => json!({ "type": "boolean" }),
    };
    json!({ "name": name, "in": "query", "description": about, "schema": schema })
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

fn texts() -> Value {
    let schema = || json!({ "schema": { "type": "string" } });
    TEXTS.into_iter().map(|text| (text.to_owned(), schema())).collect::<Map<_, _>>().into()
}

fn responses(operation: &Operation) -> Value {
    let as_json = |schema: Value| json!({ JSON: { "schema": schema } });
    let tag =
        || json!({ "ETag": { "description": "The revision.", "schema": { "type": "string" } } });
    let mut all = Map::new();
    let mut add = |status: &str, about: &str, content: Option<Value>, headers: Option<Value>| {
        let mut response = Map::new();
        response.insert("description".to_owned(), about.into());
        response.extend(headers.map(|headers| ("headers".to_owned(), headers)));
        response.extend(content.map(|content| ("content".to_owned(), content)));
        all.insert(status.to_owned(), response.into());
    };
    let tagged = has_tag(operation).then(tag);
    if tagged.is_some() {
        add("304", "The revision is the one that is known.", None, Some(tag()));
    }
    match operation.gives {
        Gives::Json(schema) => add("200", "It.", Some(as_json(reference(schema))), tagged),
        Gives::New(schema) => {
            add("201", "It was made.", Some(as_json(reference(schema))), None);
        }
        Gives::Page(schema) => {
            let page = json!({
                "type": "object",
                "required": ["items"],
                "properties": {
                    "items": { "type": "array", "items": reference(schema) },
                    "next": { "type": "string" },
                },
            });
            add("200", "Some of them.", Some(as_json(page)), tagged);
        }
        Gives::Text => add("200", "The text, in the form that it has.", Some(texts()), tagged),
        Gives::Events => {
            let schema = json!({ "text/event-stream": { "schema": { "type": "string" } } });
            let about = "Events `changed`, a Record each, and `refused`, with its problems.";
            add("200", about, Some(schema), None);
        }
        Gives::Outcome | Gives::Created => {
            let outcome = || Some(as_json(reference("Outcome")));
            let about = "What it came to; nothing was changed where `changed` is false.";
            add("200", about, outcome(), Some(tag()));
            if operation.gives == Gives::Created {
                let mut headers = tag();
                if let Value::Object(headers) = &mut headers {
                    let location = json!({ "schema": { "type": "string" } });
                    headers.insert("Location".to_owned(), location);
                }
                add("201", "It was made.", outcome(), Some(headers));
            }
        }
    }
    for kind in problems_of(operation) {
        let status = kind.status().as_u16().to_string();
        all.insert(status, json!({ "$ref": format!("#/components/responses/{}", kind.word()) }));
    }
    all.into()
}

/// What can be in the way of an operation.
fn problems_of(operation: &Operation) -> Vec<Kind> {
    let mut kinds = vec![Kind::Malformed, Kind::Unauthorized, Kind::Forbidden, Kind::TooMany];
    if operation.path.contains('{') || operation.is_change() {
        kinds.push(Kind::NotFound);
    }
    if operation.takes != Takes::Nothing {
        kinds.extend([Kind::Timeout, Kind::TooLarge, Kind::MediaType]);
    }
    if operation.is_change() {
        kinds.extend([Kind::Exists, Kind::Outdated, Kind::NotServable, Kind::Edited]);
    }
    if matches!(operation.gives, Gives::New(_)) {
        kinds.push(Kind::Exists);
    }
    kinds.extend([Kind::Internal, Kind::Unavailable]);
    kinds
}

fn problems() -> Value {
    let one = |kind: &Kind| {
        let content = json!({ PROBLEM: { "schema": reference("Problem") } });
        let told = json!({ "description": kind.title(), "content": content });
        (kind.word().to_owned(), told)
    };
    Kind::ALL.iter().map(one).collect::<Map<_, _>>().into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Every `$ref` of a document.
    fn references(json: &Value, found: &mut BTreeSet<String>) {
        match json {
            Value::Object(object) => {
                if let Some(Value::String(reference)) = object.get("$ref") {
                    found.insert(reference.clone());
                }
                object.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn what_is_referred_to_is_there_and_what_is_there_is_referred_to() {
        let document = document();
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        for reference in &found {
            assert!(document.pointer(&reference[1..]).is_some(), "{reference}");
        }
        for kind in ["schemas", "responses"] {
            let Value::Object(all) = &document["components"][kind] else { unreachable!("{kind}") };
            for name in all.keys() {
                let reference = format!("#/components/{kind}/{name}");
                assert!(found.contains(&reference) || kind == "responses", "{reference}");
            }
        }
    }

    #[test]
    fn operations_have_names_of_their_own() {
        let ids: BTreeSet<_> = OPERATIONS.iter().map(|operation| operation.id).collect();
        assert_eq!(ids.len(), OPERATIONS.len());
    }
}
