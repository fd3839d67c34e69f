//! What happens around the answer of a route, over real sockets.

use std::{
    fs,
    io::Read as _,
    time::{Duration, Instant},
};

use bindery_testkit::{
    eventually,
    http1::{Answer, Http1},
    programs::run,
    server::TestServer,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::oneshot,
};

use crate::setup::{Setup, http, https};

/// A plain site with these lines, and the port it is on.
struct Plain {
    setup: Setup,
    port: u16,
}

const HOST: &str = "a.example";
/// `ann:secret` and `bob:other`; by `htpasswd -nbs`.
const HTPASSWD: &str =
    "ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\nbob:{SHA}0JSOw4hQMFvGTY1FpoZ7aEqDWxY=\n";
const ANN: &str = "Authorization: Basic YW5uOnNlY3JldA==\r\n";

impl Plain {
    fn new(lines: &str) -> Self {
        let mut setup = Setup::new();
        let port = setup.port();
        fs::create_dir(setup.folder().join("www")).unwrap();
        setup.site_with("a", &[&format!("http/127.0.0.1:{port}:{HOST}")], lines);
        Self { setup, port }
    }

    /// A site of files.
    fn files(lines: &str, files: &[(&str, &str)]) -> Self {
        let plain = Self::new(&format!("root = \"www\"\n{lines}"));
        for (name, content) in files {
            plain.write(&format!("www/{name}"), content);
        }
        plain
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.setup.folder().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn start(&mut self) -> TestServer {
        self.setup.start()
    }

    /// The answer to a request with these fields, on a connection of its own.
    async fn ask(&self, request: &str, fields: &str) -> Answer {
        self.send(&format!("{request} HTTP/1.1\r\nHost: {HOST}\r\n{fields}"), "").await
    }

    async fn send(&self, head: &str, content: &str) -> Answer {
        let mut client = http(self.port).await;
        client.send(format!("{head}Connection: close\r\n\r\n{content}")).await.unwrap();
        let is_head = head.starts_with("HEAD");
        if is_head { client.head().await.unwrap() } else { client.answer().await.unwrap() }
    }

    async fn status(&self, request: &str, fields: &str) -> u16 {
        self.ask(request, fields).await.status
    }

    /// What curl says with these arguments; `None` where there is no curl.
    async fn curl(&self, path: &str, arguments: &[&str]) -> Option<String> {
        let resolve = format!("{HOST}:{0}:127.0.0.1", self.port);
        let url = format!("http://{HOST}:{}{path}", self.port);
        let mut all = vec!["-sS", "--noproxy", "*", "--resolve", &resolve];
        all.extend(arguments);
        all.push(&url);
        let said = run("curl", &all, "").await?;
        assert!(said.ok(), "{said:?}");
        Some(said.stdout)
    }
}

fn fields<'a>(answer: &'a Answer, name: &str) -> Vec<&'a str> {
    answer.fields.iter().filter(|(own, _)| own == name).map(|(_, value)| value.as_str()).collect()
}

#[tokio::test]
async fn what_is_for_https_only_is_refused_without_tls() {
    let lines = "https_only = true\napplications = [{ path = \"/open\", root = \"www\", https_only = false }]";
    let mut site = Plain::files(lines, &[("f", "file")]);
    let _server = site.start();
    assert_eq!(site.status("GET /f", "").await, 403);
    // Nobody is believed who says otherwise.
    assert_eq!(site.status("GET /f", "X-Forwarded-Proto: https\r\n").await, 403);
    assert_eq!(site.status("GET /open/f", "").await, 200);
}

#[tokio::test]
async fn routes_may_be_found_without_regard_to_case() {
    let lines = "ignore_case = true\napplications = [{ path = \"/Admin\", root = \"www/in\", access = [\"deny all\"] }, { path = \"/Img\", root = \"www/in\" }]";
    let mut site = Plain::files(lines, &[("in/f", "file"), ("admin/f", "secret")]);
    let _server = site.start();
    for path in ["/Admin/f", "/admin/f", "/ADMIN/f", "/%61dmin/f"] {
        assert_eq!(site.status(&format!("GET {path}"), "").await, 403, "{path}");
    }
    assert_eq!(site.status("GET /IMG/f", "").await, 200);
    assert_eq!(site.status("GET /IMG/F", "").await, 404);
}

#[tokio::test]
async fn networks_are_let_in_or_not() {
    for (access, expected) in [
        (r#"["deny 127.0.0.0/8"]"#, 403),
        (r#"["allow 127.0.0.1", "deny all"]"#, 200),
        (r#"["allow 192.0.2.0/24"]"#, 403),
        (r#"["deny 192.0.2.0/24"]"#, 200),
    ] {
        let mut site = Plain::files(&format!("access = {access}"), &[("f", "file")]);
        let _server = site.start();
        for _ in 0..2 {
            assert_eq!(site.status("GET /f", "").await, expected, "{access}");
        }
        assert_eq!(site.status("GET /none", "").await, if expected == 200 { 404 } else { 403 });
    }
}

#[tokio::test]
async fn a_client_that_comes_too_often_waits_also_after_a_change_of_the_configuration() {
    let lines = "rate_limit = { requests = 1, seconds = 60, burst = 3 }";
    let mut site = Plain::files(lines, &[("f", "file")]);
    let server = site.start();
    for expected in [200, 200, 404, 429, 429] {
        let path = if expected == 404 { "GET /none" } else { "GET /f" };
        assert_eq!(site.status(path, "").await, expected);
    }
    site.setup.replace(&server);
    let answer = site.ask("GET /f", "").await;
    assert_eq!(answer.status, 429);
    let wait: u32 = answer.field("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    site.setup.text = site.setup.text.replace("burst = 3", "burst = 4");
    site.setup.replace(&server);
    assert_eq!(site.status("GET /f", "").await, 200, "another rule counts anew");
}

#[tokio::test]
async fn a_password_is_asked_for_and_remembered_and_its_file_may_change() {
    let lines = "basic_auth = { file = \"htpasswd\", realm = \"staff\" }";
    let mut site = Plain::files(lines, &[("f", "file")]);
    site.write("htpasswd", HTPASSWD);
    let _server = site.start();
    let answer = site.ask("GET /f", "").await;
    assert_eq!(answer.status, 401);
    let challenge = r#"Basic realm="staff", charset="UTF-8""#;
    assert_eq!(answer.field("www-authenticate"), Some(challenge));
    for _ in 0..3 {
        let answer = site.ask("GET /f", ANN).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "file"));
    }
    // bob with ann's password, nobody, and a field that is no Basic.
    for wrong in ["Basic Ym9iOnNlY3JldA==", "Basic bm9ib2R5OnNlY3JldA==", "Bearer abc"] {
        assert_eq!(site.status("GET /f", &format!("Authorization: {wrong}\r\n")).await, 401);
    }
    assert_eq!(site.status("GET /none", "").await, 401, "nobody learns what is there");
    assert_eq!(site.status("GET /none", ANN).await, 404);
    site.write("htpasswd", "bob:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n");
    eventually("the changed file holds", async || site.status("GET /f", ANN).await == 401).await;
    fs::remove_file(site.setup.folder().join("htpasswd")).unwrap();
    eventually("the file is gone", async || site.status("GET /f", ANN).await == 500).await;
}

#[tokio::test]
async fn curl_and_htpasswd_agree_with_us_on_every_hash() {
    let lines = "basic_auth = { file = \"htpasswd\", realm = \"staff\" }";
    let mut site = Plain::files(lines, &[("f", "file")]);
    site.write("htpasswd", "");
    let file = site.setup.folder().join("htpasswd");
    let password = "pass wörd:";
    for (name, option) in [("bcrypt", "-bB"), ("apr1", "-bm"), ("sha1", "-bs")] {
        let arguments = [option, file.to_str().unwrap(), name, password];
        let Some(said) = run("htpasswd", &arguments, "").await else { return };
        assert!(said.ok(), "{said:?}");
    }
    let _server = site.start();
    for name in ["bcrypt", "apr1", "sha1"] {
        for (password, expected) in [(password, "file200"), ("wrong", "401")] {
            let user = format!("{name}:{password}");
            let arguments = ["-u", &user, "-w", "%{http_code}"];
            let Some(said) = site.curl("/f", &arguments).await else { return };
            assert!(said.ends_with(expected), "{name} {said}");
        }
    }
}

#[tokio::test]
async fn who_guesses_passwords_is_stopped() {
    let lines = "basic_auth = { file = \"htpasswd\", realm = \"staff\" }";
    let mut site = Plain::files(lines, &[("f", "file")]);
    site.write("htpasswd", HTPASSWD);
    let _server = site.start();
    assert_eq!(site.status("GET /f", ANN).await, 200);
    let wrong = "Authorization: Basic YW5uOndyb25n\r\n";
    let mut statuses = Vec::new();
    for _ in 0..30 {
        statuses.push(site.status("GET /f", wrong).await);
    }
    assert_eq!(statuses.first(), Some(&401));
    assert_eq!(statuses.last(), Some(&429));
    assert_eq!(site.status("GET /f", ANN).await, 200, "who is known goes on");
}

#[tokio::test]
async fn requests_are_sent_elsewhere() {
    let lines = r#"redirects = [
        { path = "/old", to = "/new" },
        { path = "/drop", to = "/new", status = 301, keep_query = false },
        { prefix = "/blog", to = "https://blog.example", status = 302 },
        { suffix = ".asp", to = "/gone", status = 303 },
        { regex = "^/u/(?P<who>\\d+)$", to = "/users/${who}" },
        { regex = "(?s)^/to(.*)$", to = "https://h.example/$1" },
    ]"#;
    let mut site = Plain::files(lines, &[("f", "file"), ("old", "never seen")]);
    let _server = site.start();
    for (path, status, location) in [
        ("/old?a=b", 308, "/new?a=b"),
        ("/%6fld", 308, "/new"),
        ("//old", 308, "/new"),
        ("/drop?a=b", 301, "/new"),
        ("/blog/a%20b?c", 302, "https://blog.example/a%20b?c"),
        ("/blog//evil.example", 302, "https://blog.example/evil.example"),
        ("/a/b.asp", 303, "/gone"),
        ("/u/17", 308, "/users/17"),
        ("/to%0d%0ab:c", 308, "https://h.example/%0D%0Ab:c"),
        ("/to.evil.example", 308, "https://h.example/.evil.example"),
    ] {
        let answer = site.ask(&format!("GET {path}"), "").await;
        let expected = (status, Some(location));
        assert_eq!((answer.status, answer.field("location")), expected, "{path}");
    }
    assert_eq!(site.status("GET /f", "").await, 200);
    assert_eq!(site.status("GET /u/x", "").await, 404);
    let Some(said) = site.curl("/u/17", &["-o", "/dev/null", "-w", "%{redirect_url}"]).await else {
        return;
    };
    assert_eq!(said, format!("http://{HOST}:{}/users/17", site.port));
}

#[tokio::test]
async fn a_path_is_rewritten_once_and_may_lead_to_another_route() {
    let lines = r#"rewrites = [
        { path = "/one", to = "/two" },
        { path = "/two", to = "/three" },
        { prefix = "/closed", to = "/staff" },
        { regex = "^/page/(.*)$", to = "/other/$1" },
        { regex = "^/app", to = "/index.txt", unless_file = true },
    ]
    [[site.applications]]
    path = "/staff"
    root = "www/staff"
    basic_auth = { file = "htpasswd", realm = "staff" }
    response_headers = { set = { X-Route = "staff" } }
    rewrites = [{ path = "/staff/f", to = "/one" }]
    [[site.applications]]
    path = "/other"
    respond = "other"
    rewrites = []"#;
    let files = [
        ("two", "second"),
        ("three", "third"),
        ("index.txt", "the app"),
        ("app/real.txt", "a file"),
        ("staff/f", "for staff"),
    ];
    let mut site = Plain::files(lines, &files);
    site.write("htpasswd", HTPASSWD);
    let _server = site.start();
    for (path, expected) in [
        ("/one", "second"),
        ("/two", "third"),
        ("/three", "third"),
        ("/page/x", "other"),
        ("/app/real.txt", "a file"),
        ("/app/route?q", "the app"),
        ("/app", "the app"),
    ] {
        let answer = site.ask(&format!("GET {path}"), "").await;
        let known = answer.status == 200 && answer.text() == expected;
        // A folder is there as well as a file.
        assert!(known || (path == "/app" && answer.status == 301), "{path} {answer:?}");
    }
    // The rules of the route that it leads to hold.
    assert_eq!(site.status("GET /closed/f", "").await, 401);
    let answer = site.ask("GET /closed/f", ANN).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "for staff"));
    assert_eq!(answer.field("x-route"), Some("staff"));
}

#[tokio::test]
async fn a_rewrite_may_go_on_to_later_rules() {
    let lines = r#"redirects = [{ regex = "[A-Z]", to = "${lower:path}" }]
    rewrites = [
        { regex = "^/decoded/(.*)$", to = "/in/${decode:1}" },
        { regex = "^/old/(.*)$", to = "/new/$1", next = 1 },
        { prefix = "/new/gone", status = 410 },
        { regex = '^/new/(.*)\.asp$', to = "https://${host}/$1?from=${encode:uri}", status = 301, keep_query = false },
        { regex = "^/new/(.*)$", to = "/staff/$1", next = 2 },
        { regex = ".", to = "/never" },
        { regex = "^/staff/", when = { file = true }, to = false },
        { regex = "^/(staff|other)/", when = { texts = { "${host}/$1" = "^a.example/staff$" } }, to = "/none", keep_query = false },
    ]
    [[site.applications]]
    path = "/staff"
    root = "www/in"
    access = ["allow all"]
    response_headers = { set = { X-Route = "staff" } }"#;
    let files = [("in/f", "in staff"), ("none", "nothing there"), ("never", "passed over")];
    let mut site = Plain::files(lines, &files);
    let _server = site.start();
    for (path, status, expected) in [
        ("/old/f", 200, "in staff"),
        ("/new/f", 200, "in staff"),
        ("/old/x?q", 200, "nothing there"),
        ("/old/gone", 410, ""),
        ("/x", 200, "passed over"),
    ] {
        let answer = site.ask(&format!("GET {path}"), "").await;
        assert_eq!(answer.status, status, "{path} {answer:?}");
        assert!(status != 200 || answer.text() == expected, "{path} {answer:?}");
        let route = (path.ends_with("/f")).then_some("staff");
        assert_eq!(answer.field("x-route"), route, "{path}");
    }
    for (path, status, expected) in [
        ("/old/A.asp", 308, "/old/a.asp"),
        ("/old/a.asp?b=c", 301, "https://a.example/a?from=%2Fnew%2Fa.asp%3Fb%3Dc"),
    ] {
        let answer = site.ask(&format!("GET {path}"), "").await;
        assert_eq!((answer.status, answer.field("location")), (status, Some(expected)), "{path}");
    }
    // A path that climbs is no path, whoever writes it.
    assert_eq!(site.status("GET /decoded/%252e%252e/never", "").await, 400);
    assert_eq!(site.status("GET /decoded/%2574wice", "").await, 404);
}

#[tokio::test]
async fn a_rule_is_for_requests_of_which_its_conditions_are_true() {
    let lines = r#"redirects = [
        { prefix = "/.well-known", to = false },
        { suffix = ".bak", status = 404 },
        { regex = "^/(.*)$", when = { fields = { User-Agent = "^Old" }, method = "^GET$" }, to = "https://${host}/old/$1" },
        { regex = "^/up", when = { host = '^(?P<name>[a-z]+)\.example$', uri = '\?x=(?P<x>.*)$' }, to = "${scheme}://${name}.test/${x}", keep_query = false },
        { regex = "^/there/(.*)$", when = { file = true }, to = "/is/$1" },
        { regex = "^/there/(.*)$", when = { folder = true }, unless = { query = "stay" }, status = 403 },
    ]
    rewrites = [
        { path = "/stay", to = false },
        { regex = "^/(stay|go)$", unless = { scheme = "https", client = "^::" }, to = "/f" },
    ]"#;
    let files = [("f", "file"), ("there/f", "there"), ("there/d/f", "deep"), ("x.bak", "old")];
    let mut site = Plain::files(lines, &files);
    let _server = site.start();
    for (path, fields, status, expected) in [
        ("/.well-known/x.bak", "", 404, None),
        ("/x.bak", "", 404, None),
        ("/f", "User-Agent: Older\r\n", 308, Some("https://a.example/old/f")),
        ("/f", "User-Agent: New\r\n", 200, None),
        ("/up?x=y", "", 308, Some("http://a.test/y")),
        ("/up?z", "", 404, None),
        ("/there/f", "", 308, Some("/is/f")),
        ("/there/d", "", 403, None),
        ("/there/d?stay", "", 301, Some("/there/d/?stay")),
        ("/there/none", "", 404, None),
        ("/stay", "", 404, None),
        ("/go", "", 200, None),
    ] {
        let answer = site.ask(&format!("GET {path}"), fields).await;
        assert_eq!((answer.status, answer.field("location")), (status, expected), "{path}");
    }
    assert_eq!(site.status("HEAD /f", "User-Agent: Older\r\n").await, 200);
}

#[tokio::test]
async fn content_that_is_too_large_is_refused_before_it_is_read() {
    let mut site = Plain::new("respond = \"taken\"\nrequest_bytes_max = 10");
    let _server = site.start();
    let head = |rest: &str| format!("POST / HTTP/1.1\r\nHost: {HOST}\r\n{rest}\r\n");
    let send = async |rest: &str, content: &str| site.send(&head(rest), content).await.status;
    assert_eq!(send("Content-Length: 10", "0123456789").await, 200);
    assert_eq!(send("Content-Length: 11", "0123456789a").await, 413);
    assert_eq!(send("Content-Length: 100000000", "").await, 413);
    assert_eq!(send("Content-Length: 11\r\nExpect: 100-continue", "").await, 413);
    let chunked = "Transfer-Encoding: chunked";
    assert_eq!(send(chunked, "a\r\n0123456789\r\n0\r\n\r\n").await, 200);
    assert_eq!(send(chunked, "b\r\n0123456789a\r\n0\r\n\r\n").await, 413);
    assert_eq!(site.status("GET /", "").await, 200);
}

#[tokio::test]
async fn pages_of_other_origins_are_told_what_they_may() {
    let lines = r#"cors = { origins = ["https://app.example"], methods = ["GET", "PUT"], headers = ["x-a"], credentials = true, max_age = 60 }
        basic_auth = { file = "htpasswd", realm = "staff" }"#;
    let mut site = Plain::files(lines, &[("f", "file")]);
    site.write("htpasswd", HTPASSWD);
    let _server = site.start();
    let origin = "Origin: https://app.example\r\n";
    let preflight = format!("{origin}Access-Control-Request-Method: PUT\r\n");
    let answer = site.ask("OPTIONS /f", &preflight).await;
    assert_eq!(answer.status, 204, "a preflight brings no password");
    for (name, value) in [
        ("access-control-allow-origin", "https://app.example"),
        ("access-control-allow-methods", "GET, PUT"),
        ("access-control-allow-headers", "x-a"),
        ("access-control-allow-credentials", "true"),
        ("access-control-max-age", "60"),
        ("vary", "Origin"),
    ] {
        assert_eq!(answer.field(name), Some(value), "{name}");
    }
    let answer = site.ask("GET /f", &format!("{origin}{ANN}")).await;
    assert_eq!(answer.field("access-control-allow-origin"), Some("https://app.example"));
    let answer = site.ask("GET /f", origin).await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.field("access-control-allow-origin"), Some("https://app.example"));
    let answer = site.ask("GET /f", &format!("Origin: https://evil.example\r\n{ANN}")).await;
    assert_eq!((answer.status, answer.field("access-control-allow-origin")), (200, None));
    assert_eq!(answer.field("vary"), Some("Origin"));
    assert_eq!(site.status("OPTIONS /f", origin).await, 401, "without a method it is no preflight");
}

#[tokio::test]
async fn fields_are_changed_on_every_answer_and_hsts_is_for_https() {
    let mut setup = Setup::new();
    let (plain, port) = (setup.port(), setup.port());
    setup.certificate("a", &[HOST]);
    let on = [format!("http/127.0.0.1:{plain}:{HOST}"), format!("https/127.0.0.1:{port}:{HOST}")];
    let lines = "root = \"a\"\nhttps_redirect = false\nhsts = true\n\
        response_headers = { set = { X-A = \"1\", Server = \"mine\" }, add = { X-B = \"2\" }, \
        remove = [\"ETag\"] }";
    fs::create_dir(setup.folder().join("a")).unwrap();
    fs::write(setup.folder().join("a/f"), "file").unwrap();
    setup.site_with("a", &[&on[0], &on[1]], lines);
    let _server = setup.start();
    let mut clear = http(plain).await;
    let mut secure = https(port, HOST).await;
    for (path, status) in [("/f", 200), ("/f", 200), ("/none", 404), ("/a/../b", 400)] {
        let answers = [clear.get(HOST, path).await.unwrap(), secure.get(HOST, path).await.unwrap()];
        for (answer, hsts) in answers.iter().zip([None, Some("max-age=31536000")]) {
            assert_eq!(answer.status, status);
            if status == 400 {
                // It has no route, and so no rules.
                assert_eq!(answer.field("server"), Some("Bindery"));
                continue;
            }
            assert_eq!(answer.field("x-a"), Some("1"));
            assert_eq!(answer.field("x-b"), Some("2"));
            assert_eq!(answer.field("server"), Some("mine"));
            assert_eq!(answer.field("etag"), None);
            assert_eq!(answer.field("strict-transport-security"), hsts);
        }
    }
}

#[tokio::test]
async fn what_is_compressed_is_read_by_curl_by_every_coding() {
    let text = "some words that come again and again, ".repeat(20_000);
    let small = &text[..10_000];
    let lines = "compress = { bytes_min = 1000, types = [\"text/*\"] }";
    let files = [
        ("large.txt", text.as_str()),
        ("small.txt", small),
        ("tiny.txt", "tiny"),
        ("a.png", small),
    ];
    let mut site = Plain::files(lines, &files);
    let _server = site.start();
    let report = "%{stderr}%{http_code} %{size_download} %header{content-encoding}";
    for coding in ["br", "zstd", "gzip"] {
        for (path, content) in [("/large.txt", text.as_str()), ("/small.txt", small)] {
            let accept = format!("Accept-Encoding: {coding}");
            let arguments = ["--compressed", "-H", &accept, "-w", report];
            let Some(said) = site.curl(path, &arguments).await else { return };
            assert!(said == content, "{coding} {path}: {} bytes", said.len());
        }
    }
    let accept = "Accept-Encoding: gzip, br\r\n";
    let answer = site.ask("GET /small.txt", accept).await;
    assert_eq!(answer.field("content-encoding"), Some("br"));
    assert!(answer.content.len() < small.len() / 10);
    assert!(answer.field("etag").unwrap().starts_with("W/"));
    let head = site.ask("HEAD /small.txt", accept).await;
    assert_eq!(head.field("content-encoding"), Some("br"));
    assert_eq!(head.field("content-length"), None);
    for (path, fields) in [
        ("/small.txt", ""),
        ("/small.txt", "Accept-Encoding: gzip;q=0\r\n"),
        ("/tiny.txt", accept),
        ("/a.png", accept),
    ] {
        let answer = site.ask(&format!("GET {path}"), fields).await;
        assert_eq!(answer.field("content-encoding"), None, "{path}");
        let varies = fields_of_text(path).then_some("Accept-Encoding");
        assert_eq!(answer.field("vary"), varies, "{path}");
    }
    let answer = site.ask("GET /small.txt", &format!("{accept}Range: bytes=0-99\r\n")).await;
    assert_eq!((answer.status, answer.field("content-encoding")), (206, None));
    // A tag that was made weak is known again.
    let tag = head.field("etag").unwrap();
    let again = site.ask("GET /small.txt", &format!("{accept}If-None-Match: {tag}\r\n")).await;
    assert_eq!(again.status, 304);
}

fn fields_of_text(path: &str) -> bool {
    path == "/small.txt"
}

#[tokio::test]
async fn an_error_has_the_page_of_its_status_and_our_own_where_it_is_missing() {
    let lines = "error_pages = { 404 = \"errors/404.html\", 405 = \"errors/none.html\", \
        403 = \"errors/403.json\" }\naccess = [\"allow all\"]\n\
        [[site.applications]]\npath = \"/closed\"\nroot = \"www\"\naccess = [\"deny all\"]\n\
        [[site.applications]]\npath = \"/own\"\nrespond = { body = \"ours\", status = 404 }";
    let mut site = Plain::files(lines, &[("f", "file")]);
    site.write("errors/404.html", "<p>lost");
    site.write("errors/403.json", "{}");
    let _server = site.start();
    for _ in 0..2 {
        let answer = site.ask("GET /none", "").await;
        assert_eq!((answer.status, answer.text().as_str()), (404, "<p>lost"));
        assert_eq!(answer.field("content-type"), Some("text/html; charset=utf-8"));
        let answer = site.ask("POST /f", "Content-Length: 0\r\n").await;
        assert!(answer.status == 405 && answer.text().contains("405"), "{answer:?}");
        assert!(answer.field("allow").is_some());
        let answer = site.ask("GET /closed/f", "").await;
        assert_eq!((answer.status, answer.text().as_str()), (403, "{}"));
        assert_eq!(answer.field("content-type"), Some("application/json"));
    }
    assert_eq!(site.ask("GET /own", "").await.text(), "ours", "what a handler says stays");
    let head = site.ask("HEAD /none", "").await;
    assert_eq!((head.status, head.field("content-length")), (404, Some("7")));
    site.write("errors/404.html", "<p>lost again");
    eventually("the new page is sent", async || {
        site.ask("GET /none", "").await.text() == "<p>lost again"
    })
    .await;
}

#[tokio::test]
async fn a_site_has_no_more_requests_under_way_than_it_may() {
    let lines = "limits = { requests_max = 1 }";
    let content = "x".repeat(30_000_000);
    let mut site = Plain::files(lines, &[("large", &content), ("f", "file")]);
    let _server = site.start();
    let mut reader = http(site.port).await;
    reader.send(format!("GET /large HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await.unwrap();
    assert_eq!(reader.head().await.unwrap().status, 200);
    let answer = site.ask("GET /f", "").await;
    assert_eq!((answer.status, answer.field("retry-after")), (503, Some("1")));
    assert_eq!(reader.take(content.len()).await.unwrap().len(), content.len());
    eventually("there is room again", async || site.status("GET /f", "").await == 200).await;
    // One that is given up counts no longer either.
    let mut reader = http(site.port).await;
    reader.send(format!("GET /large HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await.unwrap();
    assert_eq!(reader.head().await.unwrap().status, 200);
    drop(reader);
    eventually("there is room again", async || site.status("GET /f", "").await == 200).await;
}

#[tokio::test]
async fn a_site_sends_no_faster_than_it_may() {
    let lines = "limits = { bytes_per_second_max = 200000 }";
    let content = "x".repeat(150_000);
    let mut site = Plain::files(lines, &[("f", &content)]);
    let _server = site.start();
    let begun = Instant::now();
    let (one, two) = tokio::join!(site.ask("GET /f", ""), site.ask("GET /f", ""));
    let took = begun.elapsed();
    assert!(one.text() == content && two.text() == content);
    assert!(took > Duration::from_secs(1), "300 KB at 200 KB a second took {took:?}");
}

#[tokio::test]
async fn rules_of_a_route_take_the_place_of_those_of_the_site() {
    let lines = "access = [\"deny all\"]\nresponse_headers = { set = { X-Site = \"1\" } }\n\
        [[site.applications]]\npath = \"/open\"\nroot = \"www\"\naccess = []";
    let mut site = Plain::files(lines, &[("f", "file")]);
    let _server = site.start();
    assert_eq!(site.status("GET /f", "").await, 403);
    let answer = site.ask("GET /open/f", "").await;
    assert_eq!((answer.status, fields(&answer, "x-site")), (200, vec!["1"]));
}

#[tokio::test]
async fn the_client_behind_a_trusted_proxy_is_who_is_meant() {
    let lines = "access = [\"deny 192.0.2.0/24\"]\nhsts = true";
    let mut site = Plain::files(lines, &[("f", "file")]);
    let server = "version = 1\n[server]\ntrusted_proxies = [\"127.0.0.0/8\"]\n";
    site.setup.text = site.setup.text.replace("version = 1\n", server);
    let _server = site.start();
    let behind = |client: &str| format!("X-Forwarded-For: {client}\r\n");
    assert_eq!(site.status("GET /f", "").await, 200);
    assert_eq!(site.status("GET /f", &behind("198.51.100.1")).await, 200);
    assert_eq!(site.status("GET /f", &behind("192.0.2.1")).await, 403);
    assert_eq!(site.status("GET /f", &behind("198.51.100.1, 192.0.2.1")).await, 403);
    assert_eq!(site.status("GET /f", &behind("192.0.2.1, 198.51.100.1")).await, 200);
    let secure = format!("{}X-Forwarded-Proto: https\r\n", behind("198.51.100.1"));
    let answer = site.ask("GET /f", &secure).await;
    assert!(answer.field("strict-transport-security").is_some(), "{answer:?}");
}

#[tokio::test]
async fn a_stranger_cannot_say_who_it_is() {
    let mut site = Plain::files("access = [\"deny 127.0.0.0/8\"]", &[("f", "file")]);
    let _server = site.start();
    assert_eq!(site.status("GET /f", "X-Forwarded-For: 198.51.100.1\r\n").await, 403);
}

/// Reads one chunk of an answer in chunks (RFC 9112, 7.1).
async fn chunk<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    client: &mut Http1<S>,
) -> Vec<u8> {
    let mut size = Vec::new();
    while !size.ends_with(b"\r\n") {
        size.extend(client.take(1).await.unwrap());
    }
    let size = usize::from_str_radix(std::str::from_utf8(&size).unwrap().trim_end(), 16).unwrap();
    let mut bytes = client.take(size + 2).await.unwrap();
    bytes.truncate(size);
    bytes
}

#[tokio::test]
async fn events_of_an_upstream_arrive_one_by_one_and_its_request_has_changed_fields() {
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = upstream.local_addr().unwrap().port();
    let (go_on, may_go_on) = oneshot::channel::<()>();
    let says = tokio::spawn(async move {
        let (mut stream, _) = upstream.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let begin = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
            Transfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n";
        stream.write_all(begin.as_bytes()).await.unwrap();
        may_go_on.await.unwrap();
        stream.write_all(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n").await.unwrap();
        String::from_utf8(head).unwrap().to_ascii_lowercase()
    });
    let lines = format!(
        "proxy = \"http://127.0.0.1:{port}\"\ncompress = true\n\
         request_headers = {{ set = {{ X-Site = \"a\" }}, remove = [\"Cookie\"] }}"
    );
    let mut site = Plain::new(&lines);
    let _server = site.start();
    let mut client = http(site.port).await;
    let fields = "Accept-Encoding: gzip\r\nCookie: secret\r\nX-Site: mine\r\n";
    client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n")).await.unwrap();
    assert_eq!(client.head().await.unwrap().field("content-encoding"), Some("gzip"));
    let mut sent = chunk(&mut client).await;
    let mut first = [0; 9];
    flate2::read::GzDecoder::new(&sent[..]).read_exact(&mut first).unwrap();
    assert_eq!(&first, b"data: 1\n\n");
    go_on.send(()).unwrap();
    loop {
        let next = chunk(&mut client).await;
        if next.is_empty() {
            break;
        }
        sent.extend(next);
    }
    let mut whole = String::new();
    flate2::read::GzDecoder::new(&sent[..]).read_to_string(&mut whole).unwrap();
    assert_eq!(whole, "data: 1\n\ndata: 2\n\n");
    let head = says.await.unwrap();
    assert!(head.contains("x-site: a\r\n") && !head.contains("mine"), "{head}");
    assert!(!head.contains("cookie"), "{head}");
}

#[tokio::test]
async fn http2_is_compressed_throttled_and_limited_alike() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &[HOST]);
    let text = "words and words, ".repeat(20_000);
    setup.files("a", &[&format!("https/127.0.0.1:{port}:{HOST}")], &[("f.txt", text.as_bytes())]);
    setup.line("compress = true\nlimits = { bytes_per_second_max = 100000000, requests_max = 50 }");
    let ca = setup.ca.write(setup.folder(), "ca");
    let _server = setup.start();
    let resolve = format!("{HOST}:{port}:127.0.0.1");
    let url = format!("https://{HOST}:{port}/f.txt");
    let all = ["-sS", "--noproxy", "*", "--http2", "--cacert", ca.to_str().unwrap(), "--resolve"];
    for coding in ["br", "zstd", "gzip"] {
        let accept = format!("Accept-Encoding: {coding}");
        let get = [&all[..], &[&resolve, "--compressed", "-H", &accept, &url]].concat();
        let Some(said) = run("curl", &get, "").await else { return };
        assert!(
            said.ok() && said.stdout == text,
            "{coding}: {} {}",
            said.stdout.len(),
            said.stderr
        );
        let head = [&all[..], &[&resolve, "-I", "-H", &accept, &url]].concat();
        let Some(said) = run("curl", &head, "").await else { return };
        assert!(said.ok() && said.stdout.contains(&format!("content-encoding: {coding}")));
        assert!(!said.stdout.contains("content-length"), "{}", said.stdout);
    }
}
