//! A real php-fpm. It is started here, in the foreground, with a folder and a socket of its own.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use bindery_testkit::{eventually, http2::Http2, server::TestServer, soon, tls::TestClient};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    process::{Child, Command},
};

use super::{Log, ask, get, post};
use crate::{
    http1::bytes_of,
    setup::{Setup, connected, local},
};

/// A php-fpm. It ends with the test.
struct Php {
    program: PathBuf,
    folder: PathBuf,
    /// As the configuration of a site names it.
    address: String,
    child: Child,
}

impl Drop for Php {
    /// With all its processes, which would live on without it.
    fn drop(&mut self) {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(group) = id.and_then(Pid::from_raw) {
            kill_process_group(group, Signal::KILL).ok();
        }
    }
}

impl Php {
    /// One that listens at `address`, with so many processes. `None`, with a line that says so,
    /// when it is not installed and need not be.
    async fn start(folder: &Path, address: String, children: usize) -> Option<Self> {
        let program = program()?;
        let log = folder.join("fpm.log");
        let user = match is_root() {
            true => "user = root\ngroup = root\n",
            false => "",
        };
        let text = format!(
            "[global]\nerror_log = {}\ndaemonize = no\n[www]\n{user}listen = {}\npm = static\n\
             pm.max_children = {children}\nphp_admin_value[post_max_size] = 100M\n\
             php_admin_value[memory_limit] = 256M\nphp_admin_flag[log_errors] = on\n\
             php_admin_flag[display_errors] = off\nphp_admin_flag[html_errors] = off\n",
            log.display(),
            address.strip_prefix("unix:").unwrap_or(&address),
        );
        fs::write(folder.join("fpm.conf"), text).unwrap();
        let child = spawn(&program, folder);
        let mut php = Self { program, folder: folder.to_owned(), address, child };
        php.ready().await;
        Some(php)
    }

    async fn ready(&mut self) {
        let address = self.address.clone();
        eventually("php-fpm listens", async || match address.strip_prefix("unix:") {
            Some(path) => UnixStream::connect(path).await.is_ok(),
            None => TcpStream::connect(&address).await.is_ok(),
        })
        .await;
        if let Some(status) = self.child.try_wait().unwrap() {
            let log = fs::read_to_string(self.folder.join("fpm.log")).unwrap_or_default();
            panic!("php-fpm ended, {status}: {log}");
        }
    }

    /// Ends it with all its processes.
    async fn kill(&mut self) {
        // It takes its children with it on this signal, not on a harder one.
        let id = self.child.id().unwrap().to_string();
        let killed = Command::new("kill").args(["-TERM", &id]).status().await.unwrap();
        assert!(killed.success());
        soon("the end of php-fpm", self.child.wait()).await.unwrap();
    }

    async fn restart(&mut self) {
        self.child = spawn(&self.program, &self.folder);
        self.ready().await;
    }
}

fn spawn(program: &Path, folder: &Path) -> Child {
    let mut command = Command::new(program);
    command.args(["-n", "-d", "extension=posix", "-F", "-y"]).arg(folder.join("fpm.conf"));
    if is_root() {
        command.arg("-R");
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    command.spawn().unwrap()
}

#[allow(clippy::print_stderr, reason = "a skipped test says so where tests speak")]
fn program() -> Option<PathBuf> {
    let found = ["/usr/sbin", "/usr/local/sbin"].into_iter().find_map(|folder| {
        let mut names: Vec<_> = fs::read_dir(folder).ok()?.flatten().collect();
        names.sort_by_key(fs::DirEntry::file_name);
        let mut names = names.into_iter().map(|entry| entry.path());
        names.rfind(|path| path.file_name().unwrap().to_string_lossy().starts_with("php-fpm"))
    });
    #[allow(clippy::disallowed_methods, reason = "where tests run is for the environment to say")]
    let must = std::env::var("CI").is_ok();
    assert!(found.is_some() || !must, "php-fpm is not installed");
    if found.is_none() {
        eprintln!("skipped: php-fpm is not installed");
    }
    found
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// What scripts all tests may ask for.
const SCRIPTS: [(&str, &str); 13] = [
    ("hello.php", "hello"),
    (
        "env.php",
        "<?php header('Content-Type: application/json'); echo json_encode($_SERVER, JSON_INVALID_UTF8_SUBSTITUTE);",
    ),
    ("form.php", "<?php echo $_POST['a'] . '|' . $_POST['b'] . '|' . $_COOKIE['c'];"),
    (
        "hash.php",
        "<?php $h = hash_init('sha256'); $n = 0; $in = fopen('php://input', 'r'); while (($s = fread($in, 65536)) !== '' && $s !== false) { $n += strlen($s); hash_update($h, $s); } echo $n . ' ' . hash_final($h);",
    ),
    (
        "large.php",
        "<?php while (ob_get_level()) ob_end_clean(); $s = ''; for ($i = 0; $i < 65536; $i++) $s .= chr($i % 251); if (isset($_GET['l'])) header('Content-Length: ' . 800 * 65536); for ($i = 0; $i < 800; $i++) echo $s;",
    ),
    (
        "log.php",
        "<?php error_log(\"first\\nsecond \\x1b[31m\"); echo 'before '; flush(); error_log('third'); echo $undefined; echo 'after';",
    ),
    (
        "kill.php",
        "<?php echo 'begun'; flush(); usleep(200000); posix_kill(getmypid(), 9); sleep(60);",
    ),
    ("die.php", "<?php posix_kill(getmypid(), 9); sleep(60);"),
    ("exit.php", "<?php echo 'begun'; flush(); exit(3);"),
    ("slow.php", "<?php usleep(1000 * (int) $_GET['ms']); echo 'slow';"),
    (
        "early.php",
        "<?php while (ob_get_level()) ob_end_clean(); echo 'early '; flush(); echo file_get_contents('php://input');",
    ),
    (
        "status.php",
        "<?php header('Location: /elsewhere'); setcookie('a', '1'); setcookie('b', '2'); header('X-Powered-By: nothing'); http_response_code((int) $_GET['s']); echo 'text';",
    ),
    (
        "gone.php",
        "<?php ignore_user_abort(true); while (ob_get_level()) ob_end_clean(); for ($i = 0; $i < 3000 && !connection_aborted(); $i++) { echo str_repeat('x', 65536); flush(); usleep(10000); } file_put_contents(__DIR__ . '/gone.txt', connection_aborted() ? 'gone' : 'there');",
    ),
];

/// A site with scripts, and the php-fpm that runs them.
pub(super) struct Site {
    php: Php,
    pub(super) port: u16,
    pub(super) server: TestServer,
    pub(super) setup: Setup,
}

impl Site {
    fn root(&self) -> PathBuf {
        self.setup.folder().join("www")
    }
}

/// A site with these lines in its `fastcgi`, over a Unix socket.
pub(super) async fn site(children: usize, lines: &str) -> Option<Site> {
    site_at(children, lines, |folder| format!("unix:{}", folder.join("fpm.sock").display())).await
}

async fn site_at(
    children: usize,
    lines: &str,
    address: impl FnOnce(&Path) -> String,
) -> Option<Site> {
    let mut setup = Setup::new();
    let port = setup.port();
    let root = setup.folder().join("www");
    fs::create_dir(&root).unwrap();
    for (name, text) in SCRIPTS {
        fs::write(root.join(name), text).unwrap();
    }
    let php = Php::start(setup.folder(), address(setup.folder()), children).await?;
    let text = format!("root = \"www\"\n[site.fastcgi]\nto = \"{}\"\n{lines}", php.address);
    setup.site_with("shop", &[&format!("http/127.0.0.1:{port}:a.example")], &text);
    let server = setup.start();
    Some(Site { php, port, server, setup })
}

/// What `hash.php` says of this content.
pub(super) async fn hash_of(content: &[u8]) -> String {
    let mut child =
        Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(content).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    format!("{} {}", content.len(), text.split(' ').next().unwrap())
}

pub(super) fn value(json: &str, name: &str) -> Option<String> {
    // Enough for what the tests send: no quote is in it.
    let from = json.split_once(&format!("\"{name}\":"))?.1;
    let value = match from.strip_prefix('"') {
        Some(text) => text.split_once('"')?.0,
        None => from.split([',', '}']).next()?,
    };
    Some(value.replace("\\/", "/"))
}

#[tokio::test]
async fn a_script_is_told_what_php_expects() {
    let Some(site) = site(2, "parameters = { APP_ENV = \"test\" }").await else {
        return;
    };
    let (port, root) = (site.port, site.root());
    let said = ask(
        port,
        "GET /env.php/a%20b/c?q=%20&r HTTP/1.1\r\nHost: A.Example:8080\r\nConnection: close\r\n\
         Proxy: evil\r\nX_Under: u\r\nX.Dot: d\r\nX-Two: a\r\nX-Two: b\r\nCookie: c=1\r\n\
         Cookie: d=2\r\nAuthorization: Basic YTpi\r\n\r\n",
    )
    .await;
    let root = root.to_str().unwrap();
    let json = said.text();
    let file = format!("{root}/env.php");
    let translated = format!("{root}/a b/c");
    let port_text = port.to_string();
    for (name, expected) in [
        ("GATEWAY_INTERFACE", Some("CGI/1.1")),
        ("SERVER_SOFTWARE", Some("Bindery")),
        ("SERVER_PROTOCOL", Some("HTTP/1.1")),
        ("SERVER_NAME", Some("A.Example")),
        ("SERVER_PORT", Some(port_text.as_str())),
        ("SERVER_ADDR", Some("127.0.0.1")),
        ("REMOTE_ADDR", Some("127.0.0.1")),
        ("REQUEST_METHOD", Some("GET")),
        ("REQUEST_URI", Some("/env.php/a%20b/c?q=%20&r")),
        ("DOCUMENT_URI", Some("/env.php/a b/c")),
        ("DOCUMENT_ROOT", Some(root)),
        ("SCRIPT_NAME", Some("/env.php")),
        ("SCRIPT_FILENAME", Some(file.as_str())),
        ("PHP_SELF", Some("/env.php/a b/c")),
        ("PATH_INFO", Some("/a b/c")),
        ("PATH_TRANSLATED", Some(translated.as_str())),
        ("QUERY_STRING", Some("q=%20&r")),
        ("REQUEST_SCHEME", Some("http")),
        ("REDIRECT_STATUS", Some("200")),
        ("HTTP_HOST", Some("A.Example:8080")),
        ("HTTP_X_TWO", Some("a, b")),
        ("HTTP_COOKIE", Some("c=1; d=2")),
        ("PHP_AUTH_USER", Some("a")),
        ("APP_ENV", Some("test")),
        ("HTTPS", None),
        ("HTTP_PROXY", None),
        ("HTTP_X_UNDER", None),
        ("HTTP_X_DOT", None),
        ("HTTP_CONNECTION", None),
        ("CONTENT_LENGTH", None),
        ("REMOTE_USER", None),
    ] {
        assert_eq!(value(&json, name).as_deref(), expected, "{name} in {json}");
    }
    assert!(value(&json, "REMOTE_PORT").unwrap().parse::<u16>().is_ok(), "{json}");
}

#[tokio::test]
async fn a_script_is_told_of_tls_and_http2() {
    let Some(mut site) = site(1, "").await else { return };
    let tls = site.setup.port();
    site.setup.certificate("a", &["a.example"]);
    let text = format!("root = \"www\"\nfastcgi = \"{}\"", site.php.address);
    site.setup.site_with("tls", &[&format!("https/127.0.0.1:{tls}:a.example")], &text);
    site.setup.replace(&site.server);
    let client = TestClient::with_alpn(&["h2"]);
    let mut http2 = Http2::new(connected(&client, tls, "a.example").await.stream).await;
    let json = http2.get("a.example", "/env.php").await.unwrap().text();
    for (name, expected) in [
        ("SERVER_PROTOCOL", Some("HTTP/2.0")),
        ("HTTPS", Some("on")),
        ("REQUEST_SCHEME", Some("https")),
        ("HTTP_HOST", Some("a.example")),
        ("SERVER_NAME", Some("a.example")),
        ("SSL_TLS_SNI", Some("a.example")),
        ("SSL_PROTOCOL", Some("TLSv1.3")),
        ("PATH_TRANSLATED", None),
        ("QUERY_STRING", Some("")),
        ("REQUEST_URI", Some("/env.php")),
    ] {
        assert_eq!(value(&json, name).as_deref(), expected, "{name} in {json}");
    }
}

#[tokio::test]
async fn scripts_are_asked_for_over_tcp_and_over_a_unix_socket() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let tcp = site_at(2, "", move |_| free.to_string()).await;
    let unix = site(2, "").await;
    for site in [tcp, unix].into_iter().flatten() {
        for _ in 0..3 {
            assert_eq!(get(site.port, "/hello.php").await.text(), "hello", "{}", site.php.address);
        }
        let head = "HEAD /hello.php HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
        let answer = ask(site.port, head).await;
        assert_eq!((answer.status(), answer.answer.content.len()), (200, 0));
        let form = "Content-Type: application/x-www-form-urlencoded\r\nCookie: c=3\r\n";
        let answer = post(site.port, "/form.php", form, b"a=1%202&b=%C3%A4").await;
        assert_eq!(answer.text(), "1 2|ä|3");
    }
}

#[tokio::test]
async fn large_content_arrives_as_it_was_sent() {
    let Some(site) = site(2, "").await else { return };
    let content = bytes_of(50 * 1024 * 1024);
    let expected = hash_of(&content).await;
    let fields = "Content-Type: application/octet-stream\r\n";
    assert_eq!(post(site.port, "/hash.php", fields, &content).await.text(), expected);
    assert_eq!(post(site.port, "/hash.php", fields, b"").await.text(), hash_of(b"").await);
    // Without a length, small and large.
    for length in [0, 10, 64 * 1024, 64 * 1024 + 1, 3_000_000] {
        let content = &content[..length];
        let mut request = b"POST /hash.php HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\
            Transfer-Encoding: chunked\r\nContent-Type: a/b\r\n\r\n"
            .to_vec();
        for chunk in content.chunks(10_000) {
            request.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            request.extend_from_slice(chunk);
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"0\r\n\r\n");
        assert_eq!(ask(site.port, request).await.text(), hash_of(content).await, "{length} bytes");
    }
}

#[tokio::test]
async fn large_answers_arrive_as_they_were_sent() {
    let Some(site) = site(2, "").await else { return };
    let piece: Vec<_> = (0..65536_u32).map(|place| u8::try_from(place % 251).unwrap()).collect();
    for (path, length) in [("/large.php", None), ("/large.php?l", Some("52428800"))] {
        let answer = get(site.port, path).await;
        assert!(answer.complete);
        assert_eq!(answer.field("content-length"), length);
        assert_eq!(answer.answer.content.len(), 800 * 65536);
        assert!(answer.answer.content.chunks(65536).all(|chunk| chunk == piece));
    }
    // Its length is kept where nothing is sent.
    let head = "HEAD /large.php?l HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
    assert_eq!(ask(site.port, head).await.field("content-length"), Some("52428800"));
}

#[tokio::test]
async fn an_answer_may_begin_before_the_content_ends() {
    let Some(site) = site(2, "").await else { return };
    let mut stream = TcpStream::connect(local(site.port)).await.unwrap();
    let head = "PUT /early.php HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\
        Content-Type: a/b\r\nContent-Length: 4\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut got = Vec::new();
    while !got.windows(6).any(|six| six == b"early ") {
        soon("the first words", stream.read_buf(&mut got)).await.unwrap();
    }
    stream.write_all(b"late").await.unwrap();
    soon("the end", stream.read_to_end(&mut got)).await.unwrap();
    assert_eq!(super::parse(&got).text(), "early late");
}

#[tokio::test]
async fn what_a_script_logs_is_in_our_log_with_the_name_of_the_site() {
    let Some(site) = site(1, "").await else { return };
    let (log, _guard) = Log::begin();
    assert_eq!(get(site.port, "/log.php").await.text(), "before after");
    eventually("the log is written", async || log.text().contains("ndefined")).await;
    let text = log.text();
    for part in ["first", "second  [31m", "third"] {
        let line =
            text.lines().find(|line| line.contains(part)).unwrap_or_else(|| panic!("{text}"));
        assert!(line.contains("WARN") && line.contains("site=shop"), "{line}");
        assert!(line.contains("script=/log.php"), "{line}");
    }
}

#[tokio::test]
async fn a_script_may_end_in_the_middle_and_a_process_too() {
    let Some(site) = site(1, "").await else { return };
    let (log, _guard) = Log::begin();
    assert_eq!(get(site.port, "/exit.php").await.text(), "begun");
    let answer = get(site.port, "/kill.php").await;
    assert_eq!((answer.status(), answer.complete), (200, false));
    assert!(log.text().contains("answer broken off"), "{}", log.text());
    eventually("there is a process again", async || {
        get(site.port, "/hello.php").await.status() == 200
    })
    .await;
    // Asked twice for what may be asked twice, and once for what may not.
    assert_eq!(post(site.port, "/die.php", "", b"").await.status(), 502);
    assert!(log.text().contains("request failed"), "{}", log.text());
}

#[tokio::test]
async fn a_program_that_was_restarted_is_asked_anew() {
    let Some(mut site) = site(2, "connect_timeout_seconds = 1").await else { return };
    let (log, _guard) = Log::begin();
    for _ in 0..3 {
        assert_eq!(get(site.port, "/hello.php").await.text(), "hello");
        assert_eq!(post(site.port, "/hello.php", "", b"content").await.text(), "hello");
        site.php.kill().await;
        site.php.restart().await;
    }
    assert_eq!(post(site.port, "/hello.php", "", b"content").await.text(), "hello");
    assert_eq!(log.text(), "");
    site.php.kill().await;
    assert_eq!(get(site.port, "/hello.php").await.status(), 502);
    let text = log.text();
    assert!(text.contains("gave no answer") && text.contains("fpm.sock"), "{text}");
    site.php.restart().await;
    assert_eq!(get(site.port, "/hello.php").await.text(), "hello");
}

#[tokio::test]
async fn a_script_that_takes_too_long_is_given_up() {
    let Some(site) = site(2, "first_byte_timeout_seconds = 1").await else { return };
    assert_eq!(get(site.port, "/slow.php?ms=5000").await.status(), 504);
    assert_eq!(get(site.port, "/slow.php?ms=300").await.text(), "slow");
}

#[tokio::test]
async fn a_kept_connection_never_keeps_a_process_from_others() {
    let Some(mut site) = site(1, "idle_connections_max = 8").await else { return };
    // Another site of the same program.
    let other = site.setup.port();
    let text = format!("root = \"www\"\nfastcgi = \"{}\"", site.php.address);
    site.setup.site_with("other", &[&format!("http/127.0.0.1:{other}:a.example")], &text);
    site.setup.replace(&site.server);
    assert_eq!(get(site.port, "/hello.php").await.text(), "hello");
    assert_eq!(get(other, "/hello.php").await.text(), "hello");
    let began = std::time::Instant::now();
    let asked: Vec<_> = (0..8)
        .map(|number| {
            let port = if number % 2 == 0 { site.port } else { other };
            tokio::spawn(async move { get(port, "/slow.php?ms=100").await.text() })
        })
        .collect();
    for answer in asked {
        assert_eq!(answer.await.unwrap(), "slow");
    }
    // One process does one after the other, and none waits for a connection to be given up.
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_status_and_fields_are_the_script_s() {
    let Some(site) = site(1, "").await else { return };
    for status in [201, 302, 404, 500] {
        let answer = get(site.port, &format!("/status.php?s={status}")).await;
        assert_eq!(answer.status(), status);
        assert_eq!(answer.field("location"), Some("/elsewhere"));
        assert_eq!(answer.field("x-powered-by"), Some("nothing"));
        assert_eq!(answer.field("server"), Some("Bindery"));
        let cookies = answer.answer.fields.iter().filter(|(name, _)| name == "set-cookie");
        assert_eq!(cookies.count(), 2);
        assert_eq!(answer.text(), "text");
    }
    for status in [204, 304] {
        let answer = get(site.port, &format!("/status.php?s={status}")).await;
        assert_eq!((answer.status(), answer.text()), (status, String::new()));
    }
}

#[tokio::test]
async fn a_client_that_goes_away_ends_its_script_s_connection() {
    let Some(site) = site(1, "").await else { return };
    let mut stream = TcpStream::connect(local(site.port)).await.unwrap();
    stream.write_all(b"GET /gone.php HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
    let mut some = [0; 100];
    soon("the first bytes", stream.read_exact(&mut some)).await.unwrap();
    drop(stream);
    let marker = site.root().join("gone.txt");
    eventually("the script notices", async || {
        fs::read_to_string(&marker).is_ok_and(|text| text == "gone")
    })
    .await;
    assert_eq!(get(site.port, "/hello.php").await.text(), "hello");
}

#[tokio::test]
async fn files_are_sent_beside_scripts_and_never_a_script_s_source() {
    let Some(site) = site(1, "").await else { return };
    let root = site.root();
    let source = "<?php echo 'ran'; # secret";
    fs::create_dir_all(root.join("dir/app.php")).unwrap();
    for name in
        ["index.php", "UP.PHP", "dir/x.php", "dir/app.php/y.php", "old.php.gz", "old.php.br"]
    {
        fs::write(root.join(name), source).unwrap();
    }
    for name in ["hello.php.gz", "hello.php.br", "hello.php.zst"] {
        fs::write(root.join(name), source).unwrap();
    }
    fs::write(root.join("plain.txt"), "plain").unwrap();
    fs::write(root.join("upload.jpg"), "<?php echo 'hole';").unwrap();
    for (path, status, text) in [
        ("/", 200, Some("ran")),
        ("/plain.txt", 200, Some("plain")),
        ("/dir/x.php", 200, Some("ran")),
        ("/dir/app.php/y.php/z", 200, Some("ran")),
        ("/dir", 301, None),
        ("/none.php", 404, None),
        ("/none", 404, None),
        ("/upload.jpg", 200, Some("<?php echo 'hole';")),
        ("/upload.jpg/x.php", 404, None),
        ("/upload.jpg%00.php", 400, None),
        ("/old.php", 404, None),
        ("/old.php.gz", 404, None),
        ("/hello.php", 200, Some("hello")),
        ("/hello.php.br", 404, None),
        ("/hello.PHP", 404, None),
        ("/dir/app.php", 301, None),
        ("/dir/", 403, None),
    ] {
        for fields in ["", "Accept-Encoding: br, gzip, zstd\r\n", "Range: bytes=0-5\r\n"] {
            let request = format!(
                "GET {path} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n{fields}\r\n"
            );
            let answer = ask(site.port, request).await;
            if !(fields.starts_with("Range") && answer.status() == 206) {
                assert_eq!(answer.status(), status, "{path} with {fields:?}");
                if let Some(text) = text {
                    assert_eq!(answer.text(), text, "{path} with {fields:?}");
                }
            }
            assert!(!answer.answer.text().contains("secret"), "{path} with {fields:?}");
        }
    }
    // php-fpm itself may refuse the ending; its source is not shown in any case.
    assert!(!get(site.port, "/UP.PHP").await.answer.text().contains("secret"));
}

#[tokio::test]
async fn a_front_controller_answers_for_what_is_not_there() {
    let Some(site) = site(2, "front_controller = \"/front.php\"").await else { return };
    let root = site.root();
    let text = "<?php echo $_SERVER['SCRIPT_NAME'] . ' ' . $_SERVER['REQUEST_URI'] . ' ' . $_SERVER['REQUEST_METHOD'];";
    fs::write(root.join("front.php"), text).unwrap();
    fs::write(root.join("plain.txt"), "plain").unwrap();
    for (path, expected) in [
        ("/", "/front.php / GET"),
        ("/a/b?c", "/front.php /a/b?c GET"),
        ("/none.php", "/front.php /none.php GET"),
        ("/plain.txt", "plain"),
        ("/hello.php", "hello"),
    ] {
        // The second time from memory, where it is a file.
        for _ in 0..2 {
            assert_eq!(get(site.port, path).await.text(), expected, "{path}");
        }
    }
    assert_eq!(post(site.port, "/a", "", b"x").await.text(), "/front.php /a POST");
    assert_eq!(post(site.port, "/plain.txt", "", b"x").await.status(), 405);
}

#[tokio::test]
async fn an_application_below_a_path_knows_its_own() {
    let Some(mut site) = site(1, "").await else { return };
    let port = site.setup.port();
    let text = format!(
        "respond = \"root\"\n[[site.applications]]\npath = \"/app\"\nroot = \"www\"\nfastcgi = \"{}\"",
        site.php.address
    );
    site.setup.site_with("app", &[&format!("http/127.0.0.1:{port}:a.example")], &text);
    site.setup.replace(&site.server);
    let json = get(port, "/app/env.php/x").await.text();
    let file = format!("{}/env.php", site.root().display());
    for (name, expected) in [
        ("SCRIPT_NAME", "/app/env.php"),
        ("SCRIPT_FILENAME", file.as_str()),
        ("PATH_INFO", "/x"),
        ("REQUEST_URI", "/app/env.php/x"),
        ("DOCUMENT_URI", "/app/env.php/x"),
        ("PHP_SELF", "/app/env.php/x"),
    ] {
        assert_eq!(value(&json, name).as_deref(), Some(expected), "{name} in {json}");
    }
}
