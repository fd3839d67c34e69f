//! What the API says of itself: its OpenAPI document, and the examples of docs/api.md.

use std::{fs, path::Path};

use bindery_control::{api::openapi, home::Form};
use bindery_testkit::ca::TestCa;
use serde_json::{Value, json};

use crate::api::{Said, Sent, Served, on_both_forms};

/// With it set, docs/openapi.json is written anew.
const REWRITE: &str = "REWRITE_OPENAPI";

fn docs(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name)
}

#[test]
fn the_document_is_the_one_in_docs() {
    let mut text = serde_json::to_string_pretty(&openapi()).unwrap();
    text.push('\n');
    let file = docs("openapi.json");
    if std::env::var_os(REWRITE).is_some() {
        fs::write(&file, &text).unwrap();
    }
    let kept = fs::read_to_string(&file).unwrap_or_default();
    assert!(kept == text, "the API has changed: look at it, and run this test with {REWRITE}=1");
}

on_both_forms! {
    every_operation_is_done_and_answered_as_the_document_says
    every_operation_refuses_what_is_none_as_the_document_says
}

/// The document with what it refers to.
struct Document(Value);

impl Document {
    fn resolved<'a>(&'a self, json: &'a Value) -> &'a Value {
        match json["$ref"].as_str() {
            Some(reference) => self.resolved(self.0.pointer(&reference[1..]).unwrap()),
            None => json,
        }
    }

    /// Why a value is not what a schema says; the part of JSON Schema that the document uses.
    fn wrong(&self, schema: &Value, value: &Value, at: &str) -> Option<String> {
        let schema = self.resolved(schema).as_object().unwrap();
        for (word, rule) in schema {
            let all = || rule.as_array().unwrap().iter();
            let wrong = match word.as_str() {
                "type" => {
                    let is = match rule.as_str().unwrap() {
                        "object" => value.is_object(),
                        "array" => value.is_array(),
                        "string" => value.is_string(),
                        "integer" => value.is_i64() || value.is_u64(),
                        "number" => value.is_number(),
                        "boolean" => value.is_boolean(),
                        "null" => value.is_null(),
                        other => panic!("{other}"),
                    };
                    (!is).then(|| format!("{at} is no {rule}: {value}"))
                }
                "enum" => (!all().any(|one| one == value)).then(|| format!("{at} is {value}")),
                "const" => (rule != value).then(|| format!("{at} is {value}")),
                "required" => all()
                    .map(|key| key.as_str().unwrap())
                    .find(|key| value.get(key).is_none())
                    .map(|key| format!("{at}/{key} is missing")),
                "properties" => rule.as_object().unwrap().iter().find_map(|(key, rule)| {
                    self.wrong(rule, value.get(key)?, &format!("{at}/{key}"))
                }),
                "additionalProperties" => {
                    value.as_object().into_iter().flatten().find_map(|(key, value)| {
                        let known = schema.get("properties").and_then(|own| own.get(key));
                        match (known, rule) {
                            (Some(_), _) => None,
                            (None, Value::Bool(allowed)) => {
                                (!allowed).then(|| format!("{at}/{key} is not known"))
                            }
                            (None, rule) => self.wrong(rule, value, &format!("{at}/{key}")),
                        }
                    })
                }
                "minProperties" => {
                    let few = value.as_object().is_some_and(|own| {
                        own.len() < usize::try_from(rule.as_u64().unwrap()).unwrap()
                    });
                    few.then(|| format!("{at} has too few keys"))
                }
                "items" => value.as_array().into_iter().flatten().zip(0..).find_map(
                    |(item, place): (_, usize)| self.wrong(rule, item, &format!("{at}/{place}")),
                ),
                "allOf" => all().find_map(|rule| self.wrong(rule, value, at)),
                "oneOf" | "anyOf" => {
                    let why: Option<Vec<_>> =
                        all().map(|rule| self.wrong(rule, value, at)).collect();
                    why.map(|why| why.join(", or "))
                }
                "minItems" | "maxItems" => {
                    let (count, bound) = (value.as_array().map_or(0, Vec::len), rule.as_u64());
                    let fits = match word.as_str() {
                        "minItems" => bound <= Some(count as u64),
                        _ => bound >= Some(count as u64),
                    };
                    (!fits).then(|| format!("{at} has {count} items"))
                }
                "description" | "format" => None,
                other => panic!("the document uses {other}, which nobody looks at here"),
            };
            if wrong.is_some() {
                return wrong;
            }
        }
        None
    }

    /// That an answer is one of those that an operation has.
    #[track_caller]
    fn check(&self, operation: &Value, asked: &str, said: &Said) {
        let response = &operation["responses"][said.status.to_string()];
        assert!(response.is_object(), "{asked}: {said:?}");
        let response = self.resolved(response);
        let headers = response["headers"].as_object().into_iter().flatten();
        for (name, _) in headers {
            assert!(said.headers.contains_key(name), "{asked}: {name} is missing: {said:?}");
        }
        let Some(content) = response.get("content") else {
            assert_eq!(said.text, "", "{asked}");
            return;
        };
        let media_type = said.header("content-type").split(';').next().unwrap();
        let schema = &content[media_type]["schema"];
        assert!(schema.is_object(), "{asked}: {media_type}");
        if media_type.ends_with("json") {
            let wrong = self.wrong(schema, &said.json(), "");
            assert_eq!(wrong, None, "{asked}: {said:?}");
        }
    }

    /// Operations by verb and path, as `GET /v1/sites/{site}`.
    fn operations(&self) -> Vec<(String, Value)> {
        let paths = self.0["paths"].as_object().unwrap().iter();
        let operations = paths.flat_map(|(path, all)| {
            let all = all.as_object().unwrap().iter();
            all.map(move |(verb, own)| (format!("{} {path}", verb.to_uppercase()), own.clone()))
        });
        operations.collect()
    }
}

/// Whether something that is asked is an operation.
fn is(operation: &str, asked: &str) -> bool {
    let parts = |text: &str| -> Vec<String> {
        let path = text.split('?').next().unwrap_or_default();
        path.split('/').map(str::to_owned).collect()
    };
    let (one, other) = (parts(operation), parts(asked));
    one.len() == other.len()
        && one.iter().zip(&other).all(|(one, other)| one.starts_with('{') || one == other)
}

/// Of IIS's form these stand in the bindery.toml beside it, which is not changed from here.
fn is_beside(form: Form, asked: &str) -> bool {
    let below = |path| asked.split_once(' ').unwrap().1.starts_with(path);
    form == Form::Iis && ["/v1/certificates", "/v1/listeners", "/v1/server"].into_iter().any(below)
}

#[allow(clippy::too_many_lines, reason = "every operation")]
async fn every_operation_is_done_and_answered_as_the_document_says(form: Form) {
    let served = Served::of(form);
    let document = Document(served.ask("GET /v1/openapi.json").await.json());
    assert_eq!(document.0, openapi());
    let (port, text) = (served.setup.port, served.setup.read());
    let (listener, more) = (format!("http/127.0.0.1:{port}"), served.on("more"));
    let binding = format!("/v1/sites/shop/bindings/{}", more.replace('/', "%2F"));
    let leaf = TestCa::new().leaf(&["shop.example"]);
    let file = leaf.write(served.setup.folder.path(), "shop");
    let images = served.setup.page("images");
    let record = json!({"add": {
        "key": "hostnameport=records.example:443",
        "certificate_hash": "07".repeat(20),
        "application_id": "{4dc3e181-e14b-4a21-b022-59fc669b0914}",
    }});
    let says = |text: &str| served.saying(text, json!({}));
    let none = || Value::Null;
    let all = [
        ("GET /v1", none()),
        (
            "POST /v1/sites",
            served.saying("shop", json!({"name": "shop", "bindings": [served.on("shop")]})),
        ),
        ("GET /v1/sites", none()),
        ("GET /v1/sites?search=shop&limit=1", none()),
        ("GET /v1/sites/shop", none()),
        ("PATCH /v1/sites/shop", says("other")),
        ("POST /v1/sites/shop/stop", none()),
        ("POST /v1/sites/shop/start", none()),
        ("POST /v1/sites/shop/bindings", json!({"on": more})),
        ("GET /v1/sites/shop/bindings", none()),
        (&format!("GET {binding}"), none()),
        (&format!("PATCH {binding}"), json!({"on": served.on("most")})),
        (&format!("DELETE {}", binding.replace("more", "most")), none()),
        ("POST /v1/sites/shop/applications", served.saying("app", json!({"path": "/app"}))),
        ("GET /v1/sites/shop/applications", none()),
        ("GET /v1/sites/shop/applications/%2Fapp", none()),
        ("PATCH /v1/sites/shop/applications/%2Fapp", says("other")),
        ("DELETE /v1/sites/shop/applications/%2Fapp", none()),
        ("POST /v1/sites/shop/virtual_directories", json!({"path": "/img", "root": images})),
        ("GET /v1/sites/shop/virtual_directories", none()),
        ("GET /v1/sites/shop/virtual_directories/%2Fimg", none()),
        (
            "PATCH /v1/sites/shop/virtual_directories/%2Fimg",
            json!({"root": served.setup.page("b")}),
        ),
        ("DELETE /v1/sites/shop/virtual_directories/%2Fimg", none()),
        ("POST /v1/certificates", json!({"name": "shop", "file": file})),
        ("GET /v1/certificates", none()),
        ("GET /v1/certificates/shop", none()),
        ("PATCH /v1/certificates/shop", json!({"name": "other"})),
        ("DELETE /v1/certificates/other", none()),
        ("POST /v1/listeners", json!({"on": listener, "unknown_name": "refuse"})),
        ("GET /v1/listeners", none()),
        (&format!("GET /v1/listeners/{}", listener.replace('/', "%2F")), none()),
        (
            &format!("PATCH /v1/listeners/{}", listener.replace('/', "%2F")),
            json!({"unknown_name": null}),
        ),
        (&format!("DELETE /v1/listeners/{}", listener.replace('/', "%2F")), none()),
        ("GET /v1/server", none()),
        ("PATCH /v1/server", json!({"drain_seconds": 7})),
        (
            "POST /v1/changes",
            json!({
                "changes": [{"at": {"site": "shop"}, "act": {"set": {"name": "shops"}}}],
                "records": [record],
            }),
        ),
        ("GET /v1/records", none()),
        ("GET /v1/configuration", none()),
        ("POST /v1/reload", none()),
        ("GET /v1/explain?url=http%3A%2F%2Fa.example&ip=127.0.0.1", none()),
        ("GET /v1/explain?url=https%3A%2F%2Fa.example&ip=127.0.0.1&as=iis", none()),
        ("GET /v1/status", none()),
        ("GET /v1/history", none()),
        ("GET /v1/requests", none()),
        ("GET /v1/history/2", none()),
        ("GET /v1/history/3/difference?from=1", none()),
        ("POST /v1/backups", json!({"name": "before"})),
        ("GET /v1/backups", none()),
        ("DELETE /v1/sites/shops", none()),
        ("POST /v1/backups/before/restore", none()),
        ("DELETE /v1/backups/before", none()),
        ("POST /v1/undo", json!({"to": 2})),
        ("PUT /v1/configuration", json!(text)),
        ("GET /v1/openapi.json", none()),
    ];
    let mut operations = document.operations();
    for (asked, body) in all {
        let found = document.operations().into_iter().find(|(name, _)| is(name, asked));
        let (name, operation) = found.unwrap_or_else(|| panic!("{asked} is no operation"));
        operations.retain(|(own, _)| *own != name);
        let sent = match body {
            Value::Null => Sent::Nothing,
            Value::String(text) => Sent::Raw(served.media_type().to_owned(), text),
            body => Sent::Json(body),
        };
        let said = served.send(asked, &[], sent).await;
        document.check(&operation, asked, &said);
        match is_beside(form, asked) && said.status != 200 {
            true if name.starts_with("GET") => drop(said.refused(404, "not-found")),
            true => {
                let problem = said.refused(422, "not-servable");
                let help = problem["help"].as_str().unwrap_or_default();
                assert!(help.contains("bindery.toml beside it"), "{asked}: {problem}");
            }
            false => assert!(matches!(said.status, 200 | 201), "{asked}: {said:?}"),
        }
        if !said.header("etag").is_empty() && asked.starts_with("GET") {
            let known = [("if-none-match", said.header("etag"))];
            let again = served.send(asked, &known, Sent::Nothing).await;
            assert_eq!(again.status, 304, "{asked}");
            document.check(&operation, asked, &again);
        }
    }
    let left: Vec<_> = operations.into_iter().map(|(name, _)| name).collect();
    assert_eq!(left, ["GET /v1/events"], "what is not asked here; events have no end");
}

async fn every_operation_refuses_what_is_none_as_the_document_says(form: Form) {
    let served = Served::of(form);
    let document = Document(openapi());
    let before = served.setup.read();
    for (name, operation) in document.operations() {
        if operation["operationId"] == "events" {
            continue;
        }
        let parts: Vec<_> =
            name.split('/').map(|part| if part.starts_with('{') { "none" } else { part }).collect();
        let asked = parts.join("/");
        let json = || Sent::Raw("application/json".to_owned(), "{}".to_owned());
        let said = served.send(&asked, &[], json()).await;
        document.check(&operation, &asked, &said);
        let other = said.text.contains("there is nothing at") || said.status == 405;
        assert!(!other, "{asked}: {said:?}");
        if name.contains('{') && (name.starts_with("GET") || name.starts_with("DELETE")) {
            match is_beside(form, &asked) && name.starts_with("DELETE") {
                true => said.refused(422, "not-servable"),
                false => said.refused(404, "not-found"),
            };
        }
        let unknown = served.send(&format!("{asked}?colour=red"), &[], json()).await;
        document.check(&operation, &asked, &unknown);
        unknown.refused(400, "malformed");
        if operation["x-role"] != "read" {
            let old = served.send(&asked, &[("if-match", "\"99\"")], json()).await;
            document.check(&operation, &asked, &old);
        }
    }
    assert_eq!(served.setup.read(), before, "nothing was changed");
    let Value::Object(paths) = &document.0["paths"] else { unreachable!("paths") };
    for (path, operations) in paths {
        let target: Vec<_> =
            path.split('/').map(|part| if part.starts_with('{') { "none" } else { part }).collect();
        let other = served.ask(&format!("TRACE {}", target.join("/"))).await;
        let operations = operations.as_object().unwrap();
        let mut allowed: Vec<_> = operations.keys().map(|verb| verb.to_uppercase()).collect();
        allowed.extend(operations.contains_key("get").then(|| "HEAD".to_owned()));
        allowed.sort();
        let mut told: Vec<_> = other.header("allow").split(',').map(str::to_owned).collect();
        told.sort();
        assert_eq!(told, allowed, "{path}");
        other.refused(405, "method");
    }
}

#[tokio::test]
async fn the_examples_of_the_manual_work() {
    let served = Served::new();
    let text = fs::read_to_string(docs("api.md")).unwrap();
    let examples: Vec<_> = text
        .split("```sh\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .filter(|example| example.contains("curl"))
        .collect();
    assert!(examples.len() >= 10, "{}", examples.len());
    let state = served.setup.folder.path().join("state");
    let tokens = bindery_control::api::TokenFile::of(&state);
    let token = tokens.add("manual", bindery_control::api::Role::Admin, None).unwrap();
    let port = served.setup.port.to_string();
    for example in examples {
        // What is there on a real machine is here on another port, and of another folder.
        let script = example
            .replace("/var/lib/bindery", &state.display().to_string())
            .replace("curl ", "curl --fail-with-body --silent --show-error --max-time 20 ")
            .replace("*:80:", &format!("127.0.0.1:{port}:"))
            .replace("*%3A80%3A", &format!("127.0.0.1%3A{port}%3A"));
        if script.contains("127.0.0.1:9180") || script.contains("/v1/events") {
            continue;
        }
        let mut shell = std::process::Command::new("sh");
        shell.args(["-euc", &script]).env("TOKEN", &token);
        let done = bindery_server::blocking::run("an example", move || shell.output());
        let done = done.await.unwrap().unwrap();
        let out = String::from_utf8_lossy(&done.stdout).into_owned();
        let err = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "{example}\n{out}\n{err}");
    }
}
