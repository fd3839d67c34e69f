//! What is read from a request: keys of `bindery.toml` in JSON, parameters, preconditions.

use std::collections::BTreeMap;

use bindery_iis::netsh::records::RecordChange;
use bindery_model::change::{Change, Fields, Value};
use http::{
    HeaderMap,
    header::{CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH},
};
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    operations::{Kind as ParameterKind, Parameter},
    problem::{Kind, Problem, ProblemItem},
};
use crate::home::Form;

/// The media type of JSON.
pub(crate) const JSON: &str = "application/json";

/// The essence of a media type, in lower case: without parameters.
fn essence(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// The media types of a form, that which is answered first.
pub(crate) fn media_types(form: Form) -> &'static [&'static str] {
    match form {
        Form::Toml => &["application/toml"],
        Form::Iis => &["application/xml", "text/xml"],
    }
}

/// That the body has one of these types.
pub(crate) fn expect_type(headers: &HeaderMap, allowed: &[&str]) -> Result<(), Problem> {
    let given = essence(headers);
    if given.as_deref().is_some_and(|given| allowed.contains(&given)) {
        return Ok(());
    }
    let wanted = allowed.join(" or ");
    let given = given.unwrap_or_else(|| "no Content-Type".to_owned());
    let detail = format!("the body has {given}; send Content-Type: {wanted}");
    Err(Problem::new(Kind::MediaType, detail))
}

/// A body of JSON.
pub(crate) fn json<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, Problem> {
    expect_type(headers, &[JSON])?;
    serde_json::from_slice(body).map_err(|error| {
        let item = ProblemItem {
            severity: "error".to_owned(),
            code: "json".to_owned(),
            message: error.to_string(),
            line: Some(error.line()),
            column: Some(error.column()),
            ..ProblemItem::default()
        };
        Problem::new(Kind::Malformed, format!("the body: {error}")).with(vec![item])
    })
}

type Object = serde_json::Map<String, serde_json::Value>;

/// A body that is an object.
pub(crate) fn object(headers: &HeaderMap, body: &[u8]) -> Result<Object, Problem> {
    match json(headers, body)? {
        serde_json::Value::Object(object) => Ok(object),
        _ => Err(Problem::of_body(ProblemItem::at("", "wrong-type", "the body is no object"))),
    }
}

/// The keys of a body that makes something: the one that names it, and the others.
pub(crate) fn named(object: Object, key: &str) -> Result<(String, Fields), Problem> {
    let mut fields = fields(object, "")?;
    match fields.remove(key) {
        Some(Value::Text(name)) => Ok((name, fields)),
        Some(_) => {
            let item =
                ProblemItem::at(format!("/{key}"), "wrong-type", format!("{key} is no text"));
            Err(Problem::of_body(item))
        }
        None => {
            let message = format!("{key} is missing: it names what is made");
            Err(Problem::of_body(ProblemItem::at("", "missing-key", message)))
        }
    }
}

/// The keys of a body that changes something; null takes one out.
pub(crate) fn settings(object: Object) -> Result<BTreeMap<String, Option<Value>>, Problem> {
    if object.is_empty() {
        let item = ProblemItem::at("", "missing-key", "no key is to be changed");
        return Err(Problem::of_body(item));
    }
    let one = |(key, json): (String, serde_json::Value)| {
        let pointer = format!("/{}", escaped(&key));
        let value = if json.is_null() { None } else { Some(value(json, &pointer)?) };
        Ok((key, value))
    };
    object.into_iter().map(one).collect()
}

fn fields(object: Object, pointer: &str) -> Result<Fields, Problem> {
    let one = |(key, json): (String, serde_json::Value)| {
        let value = value(json, &format!("{pointer}/{}", escaped(&key)))?;
        Ok((key, value))
    };
    object.into_iter().map(one).collect()
}

fn value(json: serde_json::Value, pointer: &str) -> Result<Value, Problem> {
    let wrong = |message: String| Problem::of_body(ProblemItem::at(pointer, "wrong-type", message));
    Ok(match json {
        serde_json::Value::Null => {
            return Err(wrong(
                "null takes out a key of what is changed, and is no value".to_owned(),
            ));
        }
        serde_json::Value::Bool(yes) => Value::Boolean(yes),
        serde_json::Value::Number(number) => {
            let whole = number.as_i64();
            Value::Integer(whole.ok_or_else(|| wrong(format!("{number} is no whole number")))?)
        }
        serde_json::Value::String(text) => Value::Text(text),
        serde_json::Value::Array(values) => {
            let one = |(json, place): (_, usize)| value(json, &format!("{pointer}/{place}"));
            Value::List(values.into_iter().zip(0..).map(one).collect::<Result<_, _>>()?)
        }
        serde_json::Value::Object(object) => Value::Table(fields(object, pointer)?),
    })
}

/// A key as a part of a pointer (RFC 6901, 3).
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Every key of a body of JSON, with its place: what messages can be about.
pub(crate) fn pointers(body: &[u8]) -> Vec<(String, String)> {
    /// Bodies of more are made by programs, which look at the message.
    const POINTERS_MAX: usize = 200;
    fn walk(json: &serde_json::Value, pointer: &str, found: &mut Vec<(String, String)>) {
        if found.len() >= POINTERS_MAX {
            return;
        }
        match json {
            serde_json::Value::Object(object) => {
                for (key, value) in object {
                    let pointer = format!("{pointer}/{}", escaped(key));
                    walk(value, &pointer, found);
                    found.push((key.clone(), pointer));
                }
            }
            serde_json::Value::Array(values) => {
                for (value, place) in values.iter().zip(0_usize..) {
                    walk(value, &format!("{pointer}/{place}"), found);
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    if let Ok(json) = serde_json::from_slice(body) {
        walk(&json, "", &mut found);
    }
    found.retain(|(key, _)| !key.is_empty());
    found
}

/// Changes of places, and of certificate records, that are made as one.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Both {
    #[serde(default)]
    changes: Vec<Change>,
    #[serde(default)]
    records: Vec<RecordChange>,
}

/// A body of changes: a list of them, or an object that has such lists.
pub(crate) fn changes(
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(Vec<Change>, Vec<RecordChange>), Problem> {
    let is_list = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let Both { changes, records } = match is_list {
        true => Both { changes: json(headers, body)?, ..Both::default() },
        false => json(headers, body)?,
    };
    if changes.is_empty() && records.is_empty() {
        let item = ProblemItem::at("", "missing-key", "there is no change in it");
        return Err(Problem::of_body(item));
    }
    Ok((changes, records))
}

/// The parameters of a request: those that its operation has, each once.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn read(
        given: Vec<(String, String)>,
        allowed: &[Parameter],
    ) -> Result<Self, Problem> {
        let mut seen: Vec<&str> = Vec::new();
        for (name, value) in &given {
            let Some(parameter) = allowed.iter().find(|one| one.name == name) else {
                let known: Vec<_> = allowed.iter().map(|one| one.name).collect();
                let known = match known.as_slice() {
                    [] => "there are none here".to_owned(),
                    known => format!("there are {}", known.join(", ")),
                };
                let detail = format!("{name:?} is no parameter; {known}");
                return Err(Problem::new(Kind::Malformed, detail));
            };
            if seen.contains(&parameter.name) {
                return Err(Problem::new(Kind::Malformed, format!("{name} is there twice")));
            }
            seen.push(parameter.name);
            let is_right = match parameter.kind {
                ParameterKind::Text => true,
                ParameterKind::Number | ParameterKind::Count => value.parse::<u64>().is_ok(),
                ParameterKind::Yes => matches!(value.as_str(), "true" | "false"),
            };
            if !is_right {
                let wanted = match parameter.kind {
                    ParameterKind::Number | ParameterKind::Count => "a whole number",
                    ParameterKind::Text | ParameterKind::Yes => "true or false",
                };
                let detail = format!("{name} is {value:?}, and takes {wanted}");
                return Err(Problem::new(Kind::Malformed, detail));
            }
        }
        Ok(Self(given))
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }

    pub(crate) fn yes(&self, name: &str) -> bool {
        self.text(name) == Some("true")
    }
}

/// The revision that a request is based on (RFC 9110, 13.1.1): none where any will do.
///
/// # Errors
///
/// When it cannot be the one in force.
pub(crate) fn expected(headers: &HeaderMap, current: u64) -> Result<Option<u64>, Problem> {
    let mut last = None;
    for tag in tags(headers, &IF_MATCH) {
        if tag == "*" {
            return Ok(None);
        }
        // Weak tags are of no use here.
        let number = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
        let number = number.and_then(|number| number.parse().ok());
        if number == Some(current) {
            return Ok(Some(current));
        }
        last = Some((tag, number));
    }
    match last {
        None => Ok(None),
        Some((_, Some(number))) => Ok(Some(number)),
        Some((tag, None)) => {
            let detail = format!("If-Match: {tag} is no revision; {current} is in force");
            Err(Problem::outdated(detail, current))
        }
    }
}

/// Whether who asks has this revision already (RFC 9110, 13.1.2).
pub(crate) fn has_already(headers: &HeaderMap, revision: u64) -> bool {
    let own = format!("\"{revision}\"");
    tags(headers, &IF_NONE_MATCH)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == own)
}

fn tags<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|tag| !tag.is_empty())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn headers(name: http::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn what_json_has_and_a_configuration_has_not_is_pointed_at() {
        let check = |json: serde_json::Value, pointer: &str| {
            let serde_json::Value::Object(object) = json else { unreachable!("an object") };
            let problem = fields(object, "").unwrap_err().into_document();
            assert_eq!(problem.problems[0].pointer.as_deref(), Some(pointer), "{problem:?}");
        };
        check(json!({"limits": {"requests_max": 1.5}}), "/limits/requests_max");
        check(json!({"bindings": ["a", null]}), "/bindings/1");
        check(json!({"headers": {"a/b~": 1e300}}), "/headers/a~1b~0");
        check(json!({"id": u64::MAX}), "/id");
    }

    #[test]
    fn a_precondition_is_the_revision_or_anything() {
        let of = |value| expected(&headers(IF_MATCH, value), 7);
        assert_eq!(expected(&HeaderMap::new(), 7).unwrap(), None);
        assert_eq!(of("*").unwrap(), None);
        assert_eq!(of("\"7\"").unwrap(), Some(7));
        assert_eq!(of("\"3\", \"7\"").unwrap(), Some(7));
        assert_eq!(of("\"3\"").unwrap(), Some(3));
        for other in ["W/\"7\"", "7", "\"x\""] {
            assert_eq!(of(other).unwrap_err().kind(), Kind::Outdated, "{other}");
        }
        for (value, has) in [("\"7\"", true), ("W/\"7\"", true), ("*", true), ("\"8\"", false)] {
            assert_eq!(has_already(&headers(IF_NONE_MATCH, value), 7), has, "{value}");
        }
    }

    proptest! {
        #[test]
        fn keys_come_through_as_they_are(keys in proptest::collection::btree_map("[a-z~/]{1,4}", any::<i64>(), 0..5)) {
            let object = keys.iter().map(|(key, number)| (key.clone(), json!(number))).collect();
            let read = fields(object, "").unwrap();
            let wanted = keys.into_iter().map(|(key, number)| (key, Value::Integer(number)));
            prop_assert_eq!(read, wanted.collect::<Fields>());
        }

        #[test]
        fn no_body_is_a_panic(text in "[\\[\\]{}:,\"a-z0-9. ]{0,30}") {
            let headers = headers(CONTENT_TYPE, JSON);
            drop(changes(&headers, text.as_bytes()));
            drop(object(&headers, text.as_bytes()).and_then(settings));
            drop(pointers(text.as_bytes()));
        }
    }
}
