//! Everything together, through one `bindery.toml`: files, a proxy before nginx, PHP, rules, logs,
//! metrics; and what a reload and a dead upstream server do to it.

use std::{
    fs,
    net::TcpStream as StdTcpStream,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use bindery_testkit::{
    http1::{Answer, Http1},
    tls::TestClient,
};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    program::{Background, Folder, free_port, local, skipped, until},
    run::plain,
};

/// A program that ends with the test, and takes its own children with it.
pub(crate) struct Helper(Child);

impl Helper {
    /// `None`, with a line that says so, where it is not installed and need not be.
    fn start(command: &mut Command) -> Option<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        match command.spawn() {
            Ok(child) => Some(Self(child)),
            Err(_) if !must_not_skip() => {
                skipped(&format!("{} is not installed", command.get_program().display()));
                None
            }
            Err(error) => panic!("{} cannot be run: {error}", command.get_program().display()),
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        kill_process(Pid::from_child(&self.0), Signal::TERM).ok();
        drop(self.0.wait());
    }
}

/// Whether a missing program is a failure.
fn must_not_skip() -> bool {
    #[allow(clippy::disallowed_methods, reason = "where tests run is for the environment to say")]
    std::env::var("CI").is_ok()
}

/// An nginx that says what it was asked for.
fn nginx(folder: &Path, port: u16) -> Option<Helper> {
    let own = folder.join("nginx");
    fs::create_dir(&own).unwrap();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("{kind}_temp_path {kind};\n"))
        .collect();
    let text = format!(
        "daemon off; master_process off; pid pid; error_log stderr;\nevents {{}}\n\
         http {{ access_log off; {temporary} default_type text/plain;\n\
         server {{ listen 127.0.0.1:{port};\n\
         return 200 '$request_uri of $host, $http_x_forwarded_proto'; }} }}"
    );
    fs::write(own.join("nginx.conf"), text).unwrap();
    let mut command = Command::new("nginx");
    command.args(["-e", "stderr", "-c", "nginx.conf", "-p"]).arg(&own);
    let nginx = Helper::start(&mut command)?;
    until("nginx listens", || StdTcpStream::connect(local(port)).is_ok());
    Some(nginx)
}

/// A php-fpm at `php.sock`.
pub(crate) fn php(folder: &Path) -> Option<Helper> {
    let root = rustix::process::geteuid().is_root();
    let user = if root { "user = root\ngroup = root\n" } else { "" };
    let socket = folder.join("php.sock");
    let text = format!(
        "[global]\nerror_log = {}\ndaemonize = no\n[www]\n{user}listen = {}\npm = static\n\
         pm.max_children = 2\n",
        folder.join("fpm.log").display(),
        socket.display(),
    );
    fs::write(folder.join("fpm.conf"), text).unwrap();
    let mut command = Command::new(php_program());
    command.args(["-n", "-F", "-y"]).arg(folder.join("fpm.conf"));
    if root {
        command.arg("-R");
    }
    let php = Helper::start(&mut command)?;
    until("php-fpm listens", || UnixStream::connect(&socket).is_ok());
    Some(php)
}

/// Debian's is named by its version.
fn php_program() -> PathBuf {
    let folder = fs::read_dir("/usr/sbin").into_iter().flatten().flatten();
    let mut names = folder.map(|entry| entry.path());
    let is_php = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("php-fpm"))
    };
    names.find(is_php).unwrap_or_else(|| PathBuf::from("php-fpm"))
}

/// Where things are.
struct Ports {
    https: u16,
    http: u16,
    admin: u16,
    nginx: u16,
    dead: u16,
}

impl Ports {
    fn new() -> Self {
        let [https, http, admin, nginx, dead] = [(); 5].map(|()| free_port());
        Self { https, http, admin, nginx, dead }
    }
}

fn config(ports: &Ports) -> String {
    let Ports { https, http, admin, nginx, dead } = ports;
    format!(
        r#"[server]
access_log = "logs"
admin = "127.0.0.1:{admin}"

[[certificate]]
name = "all"
file = "all.pem"

[[listener]]
on = "https/127.0.0.1:{https}"
no_sni = "refuse"

[[site]]
name = "shop"
root = "shop"
bindings = ["http/127.0.0.1:{http}:shop.example", "https/127.0.0.1:{https}:shop.example"]
redirects = [{{ path = "/old", to = "/" }}]
rewrites = [{{ regex = "^/p/([0-9]+)$", to = "/product.txt?id=$1" }}]
response_headers = {{ set = {{ X-Site = "shop" }} }}

[[site.applications]]
path = "/api"
proxy = "http://127.0.0.1:{nginx}"

[[site.applications]]
path = "/dead"
proxy = "http://127.0.0.1:{dead}"

[[site.applications]]
path = "/once"
respond = "once"
rate_limit = {{ requests = 1, seconds = 3600 }}

[[site.applications]]
path = "/private"
root = "shop"
basic_auth = {{ file = "users" }}

[[site]]
name = "blog"
root = "blog"
fastcgi = "unix:php.sock"
bindings = ["https/127.0.0.1:{https}:blog.example"]
"#
    )
}

/// The folder of a whole configuration.
fn folder(ports: &Ports) -> Folder {
    let folder = Folder::new(&config(ports));
    folder.certificate("all", &["shop.example", "blog.example"]);
    let at = |name: &str| folder.path().join(name);
    for name in ["shop", "blog"] {
        fs::create_dir(at(name)).unwrap();
    }
    fs::write(at("shop/index.html"), "the shop").unwrap();
    fs::write(at("shop/product.txt"), "a product").unwrap();
    fs::write(at("blog/index.php"), "<?php echo 'by php: ', $_SERVER['REQUEST_URI'];").unwrap();
    // Of "secret", by `htpasswd -nbs`.
    fs::write(at("users"), "anna:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n").unwrap();
    folder
}

/// Asks over a connection of its own.
async fn get(ports: &Ports, host: &str, path: &str, fields: &str) -> Answer {
    let connected = TestClient::default().connect(local(ports.https), Some(host)).await.unwrap();
    let mut client = Http1::new(connected.stream);
    let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n");
    client.send(head).await.unwrap();
    client.answer().await.unwrap()
}

/// What the address of metrics says.
async fn metrics(port: u16) -> String {
    plain(local(port)).await.get("localhost", "/metrics").await.unwrap().text()
}

/// The lines of requests in the one log file of a folder, once there are so many.
fn lines(folder: &Path, count: usize) -> Vec<String> {
    let mut found = Vec::new();
    until("the lines of the log", || {
        let Ok(entries) = fs::read_dir(folder) else { return false };
        // Beside the log stands whose folder it is.
        let files = entries.map(|entry| entry.unwrap().path());
        let logs = files.filter(|file| file.extension().is_some_and(|end| end == "log"));
        let text: String = logs.map(|log| fs::read_to_string(log).unwrap()).collect();
        found = text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
        found.len() >= count
    });
    assert_eq!(found.len(), count, "{found:#?}");
    found
}

#[tokio::test]
async fn files_a_proxy_php_rules_logs_and_metrics_work_together() {
    let ports = Ports::new();
    let folder = folder(&ports);
    let Some(_nginx) = nginx(folder.path(), ports.nginx) else { return };
    let Some(_php) = php(folder.path()) else { return };
    folder.run("check").check(0, &["no problems"]);
    let server = Background::serving(&folder);

    let password = "Authorization: Basic YW5uYTpzZWNyZXQ=\r\n";
    for (host, path, fields, status, content) in [
        ("shop.example", "/", "", 200, "the shop"),
        ("shop.example", "/p/7", "", 200, "a product"),
        ("shop.example", "/api/users?a=b", "", 200, "/api/users?a=b of shop.example, https"),
        ("shop.example", "/once", "", 200, "once"),
        ("shop.example", "/once", "", 429, "<h1>429 Too Many Requests</h1>"),
        ("shop.example", "/private/", "", 401, "<h1>401 Unauthorized</h1>"),
        ("shop.example", "/private/", password, 200, "the shop"),
        ("shop.example", "/old", "", 308, ""),
        ("blog.example", "/", "", 200, "by php: /"),
        ("blog.example", "/index.php/a?b=c", "", 200, "by php: /index.php/a?b=c"),
    ] {
        let answer = get(&ports, host, path, fields).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert!(answer.text().contains(content), "{path}: {}", answer.text());
        let own = (host == "shop.example").then_some("shop");
        assert_eq!(answer.field("x-site"), own, "{path}");
    }
    let redirect = plain(local(ports.http)).await.get("shop.example", "/api").await.unwrap();
    let https = format!("https://shop.example:{}/api", ports.https);
    assert_eq!(redirect.field("location"), Some(https.as_str()));

    let shop = lines(&folder.path().join("logs/W3SVC1"), 9);
    let has = |text: &str| assert!(shop.iter().any(|line| line.contains(text)), "{shop:#?}");
    has(" GET /p/7 - ");
    has(" GET /api/users a=b ");
    has(&format!(" GET /private/ - {} anna 127.0.0.1 ", ports.https));
    assert_eq!(lines(&folder.path().join("logs/W3SVC2"), 2).len(), 2);
    let text = metrics(ports.admin).await;
    for (handler, count) in [("proxy", 1), ("fastcgi", 2), ("respond", 2)] {
        let line = format!("bindery_handled_requests_total{{handler=\"{handler}\"}} {count}\n");
        assert!(text.contains(&line), "{line}{text}");
    }
    folder.run("status").check(0, &["requests       11\n", "upstreams      2, 0 out\n"]);
    assert_eq!(server.stop(), Some(0));
}

#[tokio::test]
async fn a_dead_upstream_server_is_named_and_harms_no_other_request() {
    let ports = Ports::new();
    let folder = folder(&ports);
    let mut server = Background::serving(&folder);
    let open = TestClient::default().connect(local(ports.https), Some("shop.example")).await;
    let mut open = Http1::new(open.unwrap().stream);
    for _ in 0..3 {
        assert_eq!(open.get("shop.example", "/dead/x").await.unwrap().status, 502);
        assert_eq!(open.get("shop.example", "/").await.unwrap().text(), "the shop");
    }
    let log = server.logged("request failed", 3);
    let dead = format!("http://127.0.0.1:{}", ports.dead);
    let failed = log.lines().find(|line| line.contains("request failed")).unwrap();
    assert!(failed.contains(" host=\"shop.example\" uri=/dead/x "), "{failed}");
    assert!(failed.contains(&format!("error={dead} gave no answer: Connection refused")));

    // Three in a row take it out.
    folder.run("status").check(0, &["upstreams      2, 1 out\n", &format!("  {dead}  (out)\n")]);
    let status = folder.run("status --json").json();
    let named = status["upstreams"].as_array().unwrap().iter().find(|one| one["server"] == *dead);
    assert_eq!(named.unwrap()["well"], false);
    let text = metrics(ports.admin).await;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let name = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| name.strip_suffix(end))
            .unwrap_or(name);
        assert!(include_str!("../../../../docs/logs.md").contains(&format!("`{name}`")), "{name}");
    }
    assert!(text.contains("bindery_upstream_servers 2\n"), "{text}");
    assert!(text.contains("bindery_upstream_servers_out 1\n"), "{text}");
    assert!(text.contains("bindery_upstream_failures_total 3\n"), "{text}");
    assert_eq!(server.stop(), Some(0));
}

#[tokio::test]
async fn a_reload_adds_an_application_and_moves_the_log_and_the_metrics() {
    let mut ports = Ports::new();
    let folder = folder(&ports);
    let mut server = Background::serving(&folder);
    assert_eq!(get(&ports, "shop.example", "/new", "").await.status, 404);
    let before = ports.admin;
    assert!(metrics(before).await.contains("\nbindery_requests_total{"));

    ports.admin = free_port();
    let log = "{ folder = \"other\", format = \"json\", shared = true }";
    let text = config(&ports).replace("\"logs\"", log);
    let new = "\n[[site.applications]]\npath = \"/new\"\nrespond = \"new\"\n";
    folder.configure(&format!("{text}{new}"));
    server.signal(Signal::HUP);
    let log = server.logged("configuration reloaded", 1);
    // Of the site that was written last.
    assert_eq!(get(&ports, "blog.example", "/new", "").await.text(), "new");
    assert!(log.contains(&format!(
        "metrics at /metrics, the API below /v1 address=127.0.0.1:{}",
        ports.admin
    )));
    assert!(metrics(ports.admin).await.contains("bindery_configuration_revision 2\n"));
    until("the old address is closed", || StdTcpStream::connect(local(before)).is_err());
    let line = lines(&folder.path().join("other"), 1).remove(0);
    assert!(line.contains("\"cs-uri-stem\":\"/new\"") && line.contains("\"W3SVC2\""), "{line}");
    assert_eq!(lines(&folder.path().join("logs/W3SVC1"), 1).len(), 1, "what was logged stays");

    // An address of somebody else's is no reason to lose what is there.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    ports.admin = taken.local_addr().unwrap().port();
    folder.configure(&config(&ports));
    server.signal(Signal::HUP);
    let log = server.logged("the old one stays in force", 1);
    assert!(log.contains(&format!("cannot listen on {} for metrics", local(ports.admin))), "{log}");
    assert_eq!(get(&ports, "blog.example", "/new", "").await.text(), "new");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_reload_says_what_it_warns_of_and_what_waits_for_the_next_start() {
    let port = free_port();
    let site = format!(
        "[[site]]\nname = 'a'\nroot = '.'\nbindings = ['http/127.0.0.1:{port}:a.example']\n"
    );
    let folder = Folder::new(&site);
    let mut server = Background::serving(&folder);
    folder.configure(&format!("[server]\nworkers = 3\n{site}fastcgi = 'unix:gone.sock'\n"));
    for times in 1..=2 {
        server.signal(Signal::HUP);
        server.logged("configuration reloaded", times);
    }
    let log = server.log();
    for line in ["changed, and counts from the next start key=\"workers\"", "[no-socket]"] {
        assert_eq!(log.matches(line).count(), 1, "{line}: once\n{log}");
    }
    assert_eq!(server.stop(), Some(0));
}
