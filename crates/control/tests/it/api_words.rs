//! What the API says of itself: its OpenAPI document, and the examples of docs/api.md.

use std::{fs, path::Path};

use bindery_control::api::openapi;
use serde_json::Value;

use crate::api::{Sent, Served};

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

#[tokio::test]
async fn every_operation_of_the_document_is_answered_as_it_says() {
    let served = Served::new();
    let served_document = served.ask("GET /v1/openapi.json").await.json();
    assert_eq!(served_document, openapi());
    let Value::Object(paths) = &served_document["paths"] else { unreachable!("paths") };
    for (path, operations) in paths {
        let Value::Object(operations) = operations else { unreachable!("{path}") };
        let target: Vec<_> =
            path.split('/').map(|part| if part.starts_with('{') { "none" } else { part }).collect();
        for (verb, operation) in operations.iter().filter(|(verb, _)| *verb != "delete") {
            let asked = format!("{} {}", verb.to_uppercase(), target.join("/"));
            if operation["operationId"] == "events" {
                continue;
            }
            let said =
                served.send(&asked, &[], Sent::Raw("application/json", "{}".to_owned())).await;
            let status = said.status.to_string();
            assert!(operation["responses"].get(&status).is_some(), "{asked}: {said:?}");
            let other = said.text.contains("there is nothing at") || said.status == 405;
            assert!(!other, "{asked}: {said:?}");
        }
        let other = served.ask(&format!("TRACE {}", target.join("/"))).await;
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
