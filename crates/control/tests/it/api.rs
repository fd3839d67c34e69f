//! The API at its socket: things that are looked at, made, changed and removed by it, and what it
//! says when that cannot be.

use std::{os::unix::fs::PermissionsExt as _, path::PathBuf};

use bindery_control::{
    api::{self, Api},
    applier::Applier,
    home::Form,
    steps::Observer,
};
use bindery_testkit::ca::TestCa;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{UnixListener, UnixStream};

use crate::setup::Setup;

/// A server with the API to it.
pub(crate) struct Served {
    pub(crate) setup: Setup,
    pub(crate) applier: Applier,
    pub(crate) api: Api,
    pub(crate) socket: PathBuf,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Said {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// That it is a problem of this kind.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, word: &str) -> Value {
        let json = self.json();
        assert_eq!(
            (self.status, json["status"].as_u64()),
            (status, Some(status.into())),
            "{self:?}"
        );
        assert_eq!(json["type"], format!("urn:bindery:problem:{word}"), "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        for key in ["title", "detail"] {
            assert!(json[key].as_str().is_some_and(|text| !text.is_empty()), "{self:?}");
        }
        json
    }
}

/// What is sent as a body.
pub(crate) enum Sent {
    Nothing,
    Json(Value),
    Raw(String, String),
}

/// What is true of the API whatever the form of the configuration: a test for each of the two.
macro_rules! on_both_forms {
    ($($test:ident)+) => {
        mod toml {
            $(#[tokio::test]
            async fn $test() {
                super::$test(bindery_control::home::Form::Toml).await;
            })+
        }
        mod iis {
            $(#[tokio::test]
            async fn $test() {
                super::$test(bindery_control::home::Form::Iis).await;
            })+
        }
    };
}
pub(crate) use on_both_forms;

on_both_forms! {
    a_site_is_made_changed_and_removed_and_serves_meanwhile
    what_belongs_to_a_site_is_found_by_its_text_or_path
    a_site_is_stopped_and_started
    a_revision_is_what_a_change_is_based_on_and_a_reader_has
    a_dry_run_says_what_would_be
    several_changes_are_one_or_none
    the_whole_text_is_read_and_replaced
    the_history_is_told_compared_and_brought_back
    it_explains_as_the_command_does
}

impl Served {
    /// One that has these lines beside its site `a`. Within a runtime.
    pub(crate) fn with(more: &str) -> Self {
        let setup = Setup::new();
        setup.write(&(setup.text(&["a"]) + more));
        Self::serving(setup)
    }

    /// One with a site `a` in this form. Within a runtime.
    pub(crate) fn of(form: Form) -> Self {
        Self::serving(Setup::of(form))
    }

    pub(crate) fn serving(mut setup: Setup) -> Self {
        let applier = setup.serving(Observer::default());
        let api = Api::new(applier.clone());
        let state = setup.folder.path().join("state");
        let listener = UnixListener::from_std(api::listen(&state).unwrap()).unwrap();
        tokio::spawn(api::serve(listener, api.clone()));
        Self { applier, api, socket: api::socket_path(&state), setup }
    }

    pub(crate) fn new() -> Self {
        Self::with("")
    }

    /// The key that makes a site say this, with its value: a page in IIS's form, which has no
    /// answers of its own.
    pub(crate) fn says(&self, text: &str) -> (&'static str, Value) {
        match self.setup.form {
            Form::Toml => ("respond", json!(text)),
            Form::Iis => ("root", json!(self.setup.page(text))),
        }
    }

    /// The keys of something that says this.
    pub(crate) fn saying(&self, text: &str, keys: Value) -> Value {
        let (key, value) = self.says(text);
        let Value::Object(mut keys) = keys else { unreachable!("{keys}") };
        keys.insert(key.to_owned(), value);
        Value::Object(keys)
    }

    /// The media type of the whole text.
    pub(crate) fn media_type(&self) -> &'static str {
        match self.setup.form {
            Form::Toml => "application/toml",
            Form::Iis => "application/xml",
        }
    }

    /// The text of a plain binding of this name.
    pub(crate) fn on(&self, name: &str) -> String {
        format!("http/127.0.0.1:{}:{name}.example", self.setup.port)
    }

    pub(crate) async fn send(&self, asked: &str, headers: &[(&str, &str)], sent: Sent) -> Said {
        let (method, target) = asked.split_once(' ').unwrap();
        let mut request = Request::builder().method(Method::try_from(method).unwrap()).uri(target);
        request = request.header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = match sent {
            Sent::Nothing => String::new(),
            Sent::Json(json) => {
                request = request.header("content-type", "application/json");
                json.to_string()
            }
            Sent::Raw(media_type, text) => {
                request = request.header("content-type", media_type);
                text
            }
        };
        let stream = UnixStream::connect(&self.socket).await.unwrap();
        let (mut sender, connection) =
            http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let response = sender.send_request(request.body(Full::from(body)).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(body.to_vec()).unwrap();
        Said { status: head.status.as_u16(), headers: head.headers, text }
    }

    pub(crate) async fn ask(&self, asked: &str) -> Said {
        self.send(asked, &[], Sent::Nothing).await
    }

    pub(crate) async fn tell(&self, asked: &str, json: Value) -> Said {
        self.send(asked, &[], Sent::Json(json)).await
    }
}

async fn a_site_is_made_changed_and_removed_and_serves_meanwhile(form: Form) {
    let served = Served::of(form);
    let on = served.on("shop");
    let before = served.setup.read();
    let site = served.saying("hello", json!({"name": "shop", "id": 7, "bindings": [on]}));
    let made = served.tell("POST /v1/sites", site.clone()).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!((made.header("location"), made.header("etag")), ("/v1/sites/shop", "\"2\""));
    let outcome = made.json();
    assert_eq!((&outcome["revision"], &outcome["changed"]), (&json!(2), &json!(true)));
    assert_eq!((&outcome["disturbed"], &outcome["problems"]), (&json!(0), &json!([])));
    assert_eq!(outcome["difference"][0]["at"], json!({"site": "shop"}));
    assert_eq!(served.setup.answer("shop").await.as_deref(), Some("hello"));
    let mut rest = served.setup.read();
    let kept = before.lines().all(|line| match rest.find(line) {
        Some(at) => {
            rest = rest.split_off(at + line.len());
            true
        }
        None => false,
    });
    assert!(kept, "all else stays as it is written");

    let shown = served.ask("GET /v1/sites/SHOP").await.json();
    for (key, value) in site.as_object().unwrap() {
        assert_eq!(shown[key], *value, "in the words of the file");
    }
    let set = served.tell("PATCH /v1/sites/shop", served.saying("bye", json!({}))).await;
    assert_eq!((set.status, set.header("etag")), (200, "\"3\""), "{set:?}");
    assert_eq!(served.setup.answer("shop").await.as_deref(), Some("bye"));
    let limits = json!({"limits.requests_max": 5, "access_log": false});
    assert_eq!(served.tell("PATCH /v1/sites/shop", limits).await.status, 200);
    let shown = served.ask("GET /v1/sites/shop").await.json();
    assert_eq!(
        (&shown["limits"], &shown["access_log"]),
        (&json!({"requests_max": 5}), &json!(false))
    );
    let taken = json!({"limits": null, "access_log": null});
    assert_eq!(served.tell("PATCH /v1/sites/shop", taken).await.status, 200);
    assert_eq!(served.ask("GET /v1/sites/shop").await.json()["limits"], Value::Null);

    let gone = served.ask("DELETE /v1/sites/shop").await;
    assert_eq!((gone.status, gone.json()["revision"].as_u64()), (200, Some(6)));
    assert_eq!(served.setup.answer("shop").await, None);
    assert_eq!(served.setup.read(), before);
    served.ask("GET /v1/sites/shop").await.refused(404, "not-found");
}

#[tokio::test]
async fn sites_come_in_pages_in_the_order_of_their_numbers() {
    let more: String = (0..5)
        .map(|number| {
            let id = 100 - number;
            format!("[[site]]\nname = 'Many{number}'\nid = {id}\nrespond = ''\nbindings = []\n")
        })
        .collect();
    let served = Served::with(&more);
    let mut seen = Vec::new();
    let mut target = "GET /v1/sites?search=many&limit=2".to_owned();
    loop {
        let page = served.ask(&target).await.json();
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 2);
        seen.extend(items.iter().map(|site| site["id"].as_u64().unwrap()));
        let Some(next) = page["next"].as_str() else { break };
        target = format!("GET /v1/sites?search=many&limit=2&after={next}");
    }
    assert_eq!(seen, [96, 97, 98, 99, 100]);
    let all = served.ask("GET /v1/sites").await.json();
    assert_eq!(all["items"].as_array().unwrap().len(), 6);
    let by_host = served.ask("GET /v1/sites?search=A.EXAMPLE").await.json();
    assert_eq!(by_host["items"][0]["name"], "a");
    assert_eq!(served.ask("GET /v1/sites?search=none").await.json()["items"], json!([]));
    for wrong in ["limit=0", "limit=1001", "limit=x", "after=x", "lmit=1", "limit=1&limit=2"] {
        served.ask(&format!("GET /v1/sites?{wrong}")).await.refused(400, "malformed");
    }
}

async fn what_belongs_to_a_site_is_found_by_its_text_or_path(form: Form) {
    let served = Served::of(form);
    let folder = served.setup.page("images");
    let on = served.on("more");
    let made = served.tell("POST /v1/sites/a/bindings", json!({"on": on})).await;
    assert_eq!(made.status, 201, "{made:?}");
    let binding = made.header("location").to_owned();
    assert!(binding.starts_with("/v1/sites/a/bindings/http%2F127.0.0.1%3A"), "{binding}");
    assert_eq!(served.ask(&format!("GET {binding}")).await.json(), json!({"on": on}));
    let all = served.ask("GET /v1/sites/a/bindings").await.json();
    assert_eq!(all["items"], json!([{"on": served.on("a")}, {"on": on}]));
    let other = served.on("other");
    let set = served.tell(&format!("PATCH {binding}"), json!({"on": other})).await;
    assert_eq!(set.status, 200, "{set:?}");
    served.ask(&format!("GET {binding}")).await.refused(404, "not-found");
    let other = other.replace('/', "%2F");
    let gone = served.ask(&format!("DELETE /v1/sites/a/bindings/{other}")).await;
    assert_eq!(gone.status, 200, "{gone:?}");

    for (kind, body) in [
        ("applications", served.saying("shop", json!({"path": "/shop"}))),
        ("virtual_directories", json!({"path": "/shop/images", "root": folder})),
    ] {
        let made = served.tell(&format!("POST /v1/sites/a/{kind}"), body.clone()).await;
        assert_eq!(made.status, 201, "{made:?}");
        let location = made.header("location").to_owned();
        assert_eq!(served.ask(&format!("GET {location}")).await.json(), body);
        let all = served.ask(&format!("GET /v1/sites/a/{kind}")).await.json();
        assert_eq!(all, json!({"items": [body]}));
        let again = served.tell(&format!("POST /v1/sites/a/{kind}"), body).await;
        again.refused(409, "exists");
    }
    let set = served
        .tell("PATCH /v1/sites/a/applications/%2Fshop", served.saying("other", json!({})))
        .await;
    assert_eq!(set.status, 200, "{set:?}");
    for gone in ["virtual_directories/%2Fshop%2Fimages", "applications/%2Fshop"] {
        assert_eq!(served.ask(&format!("DELETE /v1/sites/a/{gone}")).await.status, 200);
        served.ask(&format!("GET /v1/sites/a/{gone}")).await.refused(404, "not-found");
    }
    served.ask("GET /v1/sites/none/bindings").await.refused(404, "not-found");
}

async fn a_site_is_stopped_and_started(form: Form) {
    let served = Served::of(form);
    let before = served.setup.read();
    let stopped = served.ask("POST /v1/sites/a/stop").await;
    assert_eq!((stopped.status, stopped.header("etag")), (200, "\"2\""), "{stopped:?}");
    assert_eq!(served.setup.answer("a").await, None);
    assert_eq!(served.ask("GET /v1/sites/a").await.json()["state"], "stopped");
    let again = served.ask("POST /v1/sites/a/stop").await;
    assert_eq!((again.status, again.json()["changed"].as_bool()), (200, Some(false)));
    assert_eq!(served.ask("POST /v1/sites/a/start").await.header("etag"), "\"3\"");
    assert_eq!(served.setup.answer("a").await.as_deref(), Some("a"));
    assert_eq!(served.setup.read(), before, "nothing of it stays in the file");
    let again = served.ask("POST /v1/sites/a/start").await;
    assert_eq!((again.status, again.json()["changed"].as_bool()), (200, Some(false)));
    served.ask("POST /v1/sites/none/stop").await.refused(404, "not-found");
}

async fn a_revision_is_what_a_change_is_based_on_and_a_reader_has(form: Form) {
    let served = Served::of(form);
    let set = async |tag, text| {
        let sent = Sent::Json(served.saying(text, json!({})));
        served.send("PATCH /v1/sites/a", &[("if-match", tag)], sent).await
    };
    assert_eq!(set("\"1\"", "b").await.status, 200);
    let old = set("\"1\"", "c").await;
    let problem = old.refused(412, "outdated");
    assert_eq!((&problem["revision"], old.header("etag")), (&json!(2), "\"2\""));
    assert_eq!(served.setup.answer("a").await.as_deref(), Some("b"));
    for target in ["sites", "sites/a", "server", "configuration", "certificates", "records"] {
        let target = format!("GET /v1/{target}");
        let first = served.ask(&target).await;
        assert_eq!((first.status, first.header("etag")), (200, "\"2\""), "{target}");
        let known = [("if-none-match", "\"2\"")];
        let again = served.send(&target, &known, Sent::Nothing).await;
        assert_eq!((again.status, again.text.as_str()), (304, ""), "{target}");
        let other = served.send(&target, &[("if-none-match", "\"1\"")], Sent::Nothing).await;
        assert_eq!(other.status, 200, "{target}");
    }
    let head = served.ask("HEAD /v1/sites").await;
    assert_eq!((head.status, head.text.as_str()), (200, ""));
}

async fn a_dry_run_says_what_would_be(form: Form) {
    let served = Served::of(form);
    let before = served.setup.read();
    let site = served.saying("b", json!({"name": "b", "bindings": [served.on("b")]}));
    let would = served.tell("POST /v1/sites?dry_run=true", site).await;
    assert_eq!((would.status, would.header("location")), (200, ""));
    let outcome = would.json();
    assert_eq!((&outcome["changed"], &outcome["revision"]), (&json!(false), &json!(1)));
    assert_eq!(outcome["difference"].as_array().unwrap().len(), 1);
    assert_eq!(served.setup.read(), before);
}

async fn several_changes_are_one_or_none(form: Form) {
    let served = Served::of(form);
    let add = |name: &str| {
        let fields = served.saying(name, json!({"bindings": [served.on(name)]}));
        json!({"at": {"site": name}, "act": {"add": fields}})
    };
    let remove = |name: &str| json!({"at": {"site": name}, "act": "remove"});
    let both = json!([add("b"), remove("none")]);
    served.tell("POST /v1/changes", both).await.refused(404, "not-found");
    assert_eq!(served.setup.answer("b").await, None);
    let set =
        json!({"at": {"site": "a"}, "act": {"set": served.saying("new", json!({"id": null}))}});
    let both = json!({"changes": [add("b"), set]});
    let made = served.tell("POST /v1/changes", both).await;
    assert_eq!((made.status, made.header("etag")), (200, "\"2\""), "{made:?}");
    for (name, text) in [("a", "new"), ("b", "b")] {
        assert_eq!(served.setup.answer(name).await.as_deref(), Some(text));
    }
}

async fn the_whole_text_is_read_and_replaced(form: Form) {
    let served = Served::of(form);
    let text = served.ask("GET /v1/configuration").await;
    // A key that means nothing and a table that is none; an element that ends nowhere.
    let own = served.media_type();
    let (other, wrong, broken) = match form {
        Form::Toml => ("application/xml", "colour = 'red'\n[[sit]]\n", "version = 1\n[[site]\n"),
        Form::Iis => ("application/toml", "<site>", "<configuration>\n<site\n"),
    };
    assert_eq!((text.status, text.header("content-type")), (200, own));
    assert_eq!(text.text, served.setup.read());
    let new = served.setup.text(&["a", "b"]) + "\n";
    let put = async |media_type: &str, text| {
        let headers = [("if-match", "*")];
        served.send("PUT /v1/configuration", &headers, Sent::Raw(media_type.to_owned(), text)).await
    };
    let made = put(&format!("{own}; charset=utf-8"), new.clone()).await;
    assert_eq!((made.status, made.header("etag")), (200, "\"2\""), "{made:?}");
    assert_eq!(served.setup.read(), new);
    put("application/json", new.clone()).await.refused(415, "media-type");
    put(other, new.clone()).await.refused(415, "media-type");
    let problem = put(own, new.clone() + wrong).await.refused(422, "not-servable");
    let line = new.lines().count() + 1;
    assert_eq!(problem["problems"][0]["line"], line, "{problem}");
    let code = match form {
        Form::Toml => "unknown-key",
        Form::Iis => "syntax",
    };
    assert_eq!(problem["problems"][0]["code"], code, "{problem}");
    assert_eq!(served.setup.read(), new);

    // Somebody edits the file meanwhile, and is not done.
    served.setup.write(broken);
    let problem = put(own, new.clone()).await.refused(423, "edited");
    assert!(problem["problems"][0]["line"].as_u64() >= Some(2), "{problem}");
    assert_eq!(served.setup.read(), broken);
    served.setup.write(&served.setup.text(&["c"]));
    let reloaded = served.ask("POST /v1/reload").await;
    assert_eq!((reloaded.status, reloaded.header("etag")), (200, "\"3\""), "{reloaded:?}");
    assert_eq!(served.setup.answer("c").await.as_deref(), Some("c"));
}

async fn the_history_is_told_compared_and_brought_back(form: Form) {
    let served = Served::of(form);
    let first = served.setup.read();
    for text in ["b", "c", "d"] {
        let set = served.tell("PATCH /v1/sites/a", served.saying(text, json!({}))).await;
        assert_eq!(set.status, 200, "{set:?}");
    }
    let page = served.ask("GET /v1/history?limit=3").await.json();
    let revisions = |page: &Value| -> Vec<u64> {
        let items = page["items"].as_array().unwrap().iter();
        items.map(|record| record["revision"].as_u64().unwrap()).collect()
    };
    assert_eq!((revisions(&page), &page["next"]), (vec![4, 3, 2], &json!("2")));
    assert_eq!(page["items"][0]["actor"]["door"], "api");
    let rest = served.ask("GET /v1/history?before=2").await.json();
    assert_eq!((revisions(&rest), &rest["next"]), (vec![1], &Value::Null));

    let one = served.ask("GET /v1/history/1").await.json();
    assert_eq!((&one["text"], &one["actor"]["door"]), (&json!(first), &json!("start")));
    let difference = served.ask("GET /v1/history/4/difference?from=2").await.json();
    assert_eq!((&difference["from"], &difference["to"]), (&json!(2), &json!(4)));
    let ((key, b), (_, d)) = (served.says("b"), served.says("d"));
    let changed = json!({ key: [b, d] });
    assert_eq!(
        difference["difference"],
        json!([{"at": {"site": "a"}, "how": {"changed": changed}}])
    );
    let before = served.ask("GET /v1/history/4/difference").await.json();
    assert_eq!(before["from"], 3);
    for none in ["99", "x", "99/difference", "1/difference", "4/difference?from=99"] {
        served.ask(&format!("GET /v1/history/{none}")).await.refused(404, "not-found");
    }
    let undone = served.tell("POST /v1/undo", json!({"to": 1})).await;
    assert_eq!((undone.status, undone.header("etag")), (200, "\"5\""), "{undone:?}");
    assert_eq!(served.setup.read(), first);
    let record = served.ask("GET /v1/history/5").await.json();
    assert_eq!(record["undo_to"], 1);
    served.tell("POST /v1/undo", json!({"to": 99})).await.refused(404, "not-found");
    served.tell("POST /v1/undo", json!({"too": 1})).await.refused(400, "malformed");
}

#[tokio::test]
async fn certificates_are_listed_with_what_is_in_them_and_who_shows_them() {
    let served = Served::new();
    let folder = served.setup.folder.path();
    let leaf = TestCa::new().leaf(&["shop.example", "*.shop.example"]);
    let file = leaf.write(folder, "shop");
    let made = served.tell("POST /v1/certificates", json!({"name": "shop", "file": file})).await;
    assert_eq!((made.status, made.header("location")), (201, "/v1/certificates/shop"), "{made:?}");
    let changes = json!([
        {"at": {"site": "a"}, "act": {"set": {"bindings": [
            {"on": "https/127.0.0.1:9:shop.example", "certificate": "shop"},
        ]}}},
    ]);
    let would = served.tell("POST /v1/changes?dry_run=true", changes).await;
    assert_eq!(would.status, 200, "{would:?}");

    let all = served.ask("GET /v1/certificates").await.json();
    let shop = &all["items"][0];
    assert_eq!((&shop["name"], &shop["file"]), (&json!("shop"), &json!(file)));
    assert_eq!(shop["names"], json!(["shop.example", "*.shop.example"]));
    assert_eq!(shop["fingerprint"].as_str().unwrap().len(), 64);
    assert_eq!(shop["thumbprint"].as_str().unwrap().len(), 40);
    assert!(shop["not_after"].as_str().unwrap().ends_with('Z'), "{shop}");
    assert_eq!((&shop["problems"], &shop["bindings"]), (&json!([]), &json!([])));
    assert_eq!(served.ask("GET /v1/certificates/SHOP").await.json(), *shop);
    assert_eq!(served.ask("GET /v1/certificates?search=none").await.json()["items"], json!([]));

    std::fs::write(&file, "no certificate").unwrap();
    let reloaded = served.ask("POST /v1/reload?force=true").await;
    assert_eq!(reloaded.status, 200, "{reloaded:?}");
    let broken = served.ask("GET /v1/certificates/shop").await.json();
    assert_eq!(broken["problems"].as_array().unwrap().len(), 1, "{broken}");
    let gone = served.ask("DELETE /v1/certificates/shop").await;
    assert_eq!(gone.status, 200, "{gone:?}");
    assert!(file.exists(), "its files stay");
    served.ask("GET /v1/certificates/shop").await.refused(404, "not-found");
}

#[tokio::test]
async fn listeners_and_the_server_have_keys_too() {
    let served = Served::new();
    let port = served.setup.port;
    let on = format!("http/127.0.0.1:{port}");
    let made = served.tell("POST /v1/listeners", json!({"on": on, "unknown_name": "refuse"})).await;
    assert_eq!(made.status, 201, "{made:?}");
    let location = made.header("location").to_owned();
    let shown = served.ask(&format!("GET {location}")).await.json();
    assert_eq!(shown, json!({"on": on, "unknown_name": "refuse"}));
    assert_eq!(served.ask("GET /v1/listeners").await.json(), json!({"items": [shown]}));
    let keys = json!({"unknown_name": null, "proxy_protocol": ["192.0.2.0/24"]});
    assert_eq!(served.tell(&format!("PATCH {location}"), keys).await.status, 200);
    assert_eq!(served.ask(&format!("DELETE {location}")).await.status, 200);
    served.ask(&format!("GET {location}")).await.refused(404, "not-found");

    let set = served.tell("PATCH /v1/server", json!({"drain_seconds": 5})).await;
    assert_eq!(set.status, 200, "{set:?}");
    assert_eq!(served.ask("GET /v1/server").await.json()["drain_seconds"], 5);
    let status = served.ask("GET /v1/status").await.json();
    assert_eq!(
        (&status["sites"][0]["name"], &status["revision"]),
        (&json!("a"), &set.json()["revision"])
    );
    assert_eq!(served.ask("GET /v1/records").await.json()["records"], json!([]));
}

async fn it_explains_as_the_command_does(form: Form) {
    let served = Served::of(form);
    let port = served.setup.port;
    let url = format!("http%3A%2F%2Fa.example%3A{port}%2F");
    let told = served.ask(&format!("GET /v1/explain?url={url}&ip=127.0.0.1")).await.json();
    assert_eq!(
        (&told["answered"], &told["request"]["winner"]["site"]),
        (&json!(true), &json!("a"))
    );
    let told = served.ask(&format!("GET /v1/explain?url={url}&ip=127.0.0.1&as=iis")).await.json();
    assert!(told["windows"].is_object(), "{told}");
    let none =
        served.ask("GET /v1/explain?url=https%3A%2F%2Fnone.example&ip=127.0.0.1").await.json();
    assert_eq!(none["answered"], false);
    for wrong in ["", "url=ftp%3A%2F%2Fa", "ip=x", "url=a&as=nginx", "url=a&port=0", "no_sni=1"] {
        served.ask(&format!("GET /v1/explain?{wrong}")).await.refused(400, "malformed");
    }
}

#[tokio::test]
async fn what_cannot_be_is_said_with_its_place() {
    let served = Served::new();
    let on = served.on("a");
    let cases = [
        ("POST /v1/sites", json!([1]), 400, "malformed", Some("")),
        ("POST /v1/sites", json!({"root": "x"}), 400, "malformed", Some("")),
        ("POST /v1/sites", json!({"name": 1}), 400, "malformed", Some("/name")),
        ("POST /v1/sites", json!({"name": "b", "id": 1.5}), 400, "malformed", Some("/id")),
        (
            "POST /v1/sites",
            json!({"name": "b", "colour": "red"}),
            400,
            "malformed",
            Some("/colour"),
        ),
        ("POST /v1/sites", json!({"name": "a", "respond": ""}), 409, "exists", None),
        (
            "POST /v1/sites",
            json!({"name": "b", "respond": "", "bindings": ["https/x"]}),
            422,
            "not-servable",
            None,
        ),
        ("POST /v1/sites/a/bindings", json!({"on": on}), 409, "exists", None),
        ("POST /v1/sites/none/bindings", json!({"on": on}), 404, "not-found", None),
        ("PATCH /v1/sites/a", json!({}), 400, "malformed", Some("")),
        ("PATCH /v1/sites/none", json!({"respond": ""}), 404, "not-found", None),
        ("PATCH /v1/sites/a", json!({"colour": "red"}), 400, "malformed", Some("/colour")),
        ("PATCH /v1/sites/a", json!({"limits": {"requests_max": -1}}), 422, "not-servable", None),
        ("PUT /v1/sites/a", json!({}), 405, "method", None),
        ("GET /v2/sites", json!({}), 404, "not-found", None),
        ("POST /v1/changes", json!([]), 400, "malformed", Some("")),
        ("POST /v1/changes", json!({"chnges": []}), 400, "malformed", None),
    ];
    let before = served.setup.read();
    for (asked, body, status, word, pointer) in cases {
        let said = served.tell(asked, body).await;
        let problem = said.refused(status, word);
        let told: Vec<_> = problem["problems"].as_array().into_iter().flatten().collect();
        let has = |pointer: &str| told.iter().any(|one| one["pointer"] == pointer);
        assert!(pointer.is_none_or(has), "{asked}: {problem}");
    }
    let not_allowed = served.ask("DELETE /v1/sites").await;
    not_allowed.refused(405, "method");
    assert_eq!(not_allowed.header("allow"), "GET,HEAD,POST");
    let text = Sent::Raw("application/json".to_owned(), "{\n \"name\": }".to_owned());
    let problem = served.send("POST /v1/sites", &[], text).await.refused(400, "malformed");
    let place = (&problem["problems"][0]["line"], &problem["problems"][0]["column"]);
    assert_eq!(place, (&json!(2), &json!(10)));
    let text = Sent::Raw("text/plain".to_owned(), "{}".to_owned());
    served.send("POST /v1/sites", &[], text).await.refused(415, "media-type");
    let large = Sent::Raw("application/json".to_owned(), " ".repeat(1024 * 1024 + 1));
    served.send("POST /v1/sites", &[], large).await.refused(413, "too-large");
    assert_eq!(served.setup.read(), before);
    let mode = std::fs::metadata(&served.socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn backups_are_kept_listed_and_restored_as_one_change() {
    let served = Served::new();
    let none = served.ask("GET /v1/backups").await;
    assert_eq!(none.json(), json!({"items": []}));
    let key = "ipport=0.0.0.0:8443";
    let record = json!({
        "key": key,
        "certificate_hash": "07".repeat(20),
        "application_id": "{4dc3e181-e14b-4a21-b022-59fc669b0914}",
    });
    let added = served.tell("POST /v1/changes", json!({"records": [{"add": record}]})).await;
    assert_eq!(added.status, 200, "{added:?}");
    let (text, records) = (served.setup.read(), served.ask("GET /v1/records").await.json());

    let kept = served.tell("POST /v1/backups", json!({"name": "B 1"})).await;
    assert_eq!((kept.status, kept.json()), (201, json!({"name": "B 1"})), "{kept:?}");
    served.tell("POST /v1/backups", json!({"name": "B 1"})).await.refused(409, "exists");
    served.tell("POST /v1/backups", json!({"name": "../B"})).await.refused(400, "malformed");
    assert_eq!(served.ask("GET /v1/backups").await.json(), json!({"items": [{"name": "B 1"}]}));

    let changes = json!({
        "changes": [{"at": {"site": "a"}, "act": {"set": {"respond": "other"}}}],
        "records": [{"delete": key}],
    });
    assert_eq!(served.tell("POST /v1/changes", changes).await.status, 200);
    let would = served.ask("POST /v1/backups/B%201/restore?dry_run=true").await.json();
    assert_eq!(would["changed"], false, "{would}");
    let restored = served.ask("POST /v1/backups/B%201/restore").await.json();
    assert_eq!((&restored["changed"], &restored["revision"]), (&json!(true), &json!(4)));
    assert_eq!(
        restored["difference"].as_array().unwrap().len(),
        2,
        "the site, the record: {restored}"
    );
    assert_eq!(restored["difference"], would["difference"]);
    assert_eq!(served.setup.read(), text);
    assert_eq!(served.ask("GET /v1/records").await.json(), records);

    let undone = served.tell("POST /v1/undo", json!({"to": 3})).await;
    assert_eq!(undone.status, 200, "{undone:?}");
    assert!(served.setup.read().contains("other"));
    assert_eq!(served.ask("GET /v1/records").await.json()["records"], json!([]));

    served.ask("POST /v1/backups/none/restore").await.refused(404, "not-found");
    assert_eq!(served.ask("DELETE /v1/backups/B%201").await.status, 200);
    served.ask("DELETE /v1/backups/B%201").await.refused(404, "not-found");
    served.ask("DELETE /v1/backups/..").await;
    assert!(served.setup.folder.path().join("state").exists());
}
