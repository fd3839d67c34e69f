//! What a server writes about its requests, and about what never was one.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bindery_model::{
    document::Configuration,
    log::{AccessLog, LogFormat, Roll},
};
use bindery_server::{limits::LOG_FILES_OPEN_MAX, metrics::older_text};
use bindery_testkit::{
    http2::Http2,
    programs::{must_not_skip, run},
    rustls::version::{TLS12, TLS13},
    server::TestServer,
    soon,
    tls::{ClientOptions, Sessions, TestClient},
};
use bytes::Bytes;
use http::Request;
use tokio::{io::AsyncReadExt as _, net::TcpStream};

use crate::{
    http1::bytes_of,
    setup::{Setup, connected, get, http, https, local, shown},
};

/// A line, by the names of its fields.
pub(crate) type Line = BTreeMap<String, String>;

pub(crate) fn logging(setup: &Setup) -> impl FnOnce(&mut Configuration) + use<> {
    let log = AccessLog::of(setup.folder().join("logs"));
    move |configuration| configuration.settings.access_log = Some(log)
}

/// The only file of a folder whose name begins so.
pub(crate) fn file(folder: &Path, prefix: &str) -> Option<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).ok()?.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.file_name().unwrap().to_str().unwrap().starts_with(prefix));
    assert!(files.len() < 2, "{files:?}");
    files.pop()
}

/// The lines of a W3C file.
pub(crate) fn w3c(path: &Path) -> Vec<Line> {
    let (mut names, mut lines) = (Vec::new(), Vec::new());
    for line in fs::read_to_string(path).unwrap().lines() {
        assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line:?}");
        if let Some(fields) = line.strip_prefix("#Fields: ") {
            names = fields.split(' ').map(str::to_owned).collect();
        } else if !line.starts_with('#') {
            let values: Vec<_> = line.split(' ').map(str::to_owned).collect();
            assert_eq!(values.len(), names.len(), "{line}");
            lines.push(names.iter().cloned().zip(values).collect());
        }
    }
    lines
}

/// The lines of the first site, when there are as many as that.
pub(crate) async fn lines(setup: &Setup, server: &TestServer, count: usize) -> Vec<Line> {
    lines_of(&setup.folder().join("logs/W3SVC1"), "u_ex", server, count).await
}

pub(crate) async fn lines_of(
    folder: &Path,
    prefix: &str,
    server: &TestServer,
    count: usize,
) -> Vec<Line> {
    until(server, || {
        let lines = file(folder, prefix).map(|file| w3c(&file)).unwrap_or_default();
        assert!(lines.len() <= count, "{lines:?}");
        (lines.len() == count).then_some(lines)
    })
    .await
}

/// Waits for what is true once all lines are written. A line ends after the client has its answer.
pub(crate) async fn until<T>(server: &TestServer, mut ready: impl FnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            server.server().flush_logs().await;
            if let Some(value) = ready() {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("lines of a log", wait).await
}

#[track_caller]
pub(crate) fn check(line: &Line, expected: &[(&str, &str)]) {
    for (name, value) in expected {
        assert_eq!(line.get(*name).map(String::as_str), Some(*value), "{name} of {line:?}");
    }
}

#[tokio::test]
async fn a_line_says_who_asked_for_what_and_how_it_was_answered() {
    let mut setup = Setup::new();
    let (port, plain) = (setup.port(), setup.port());
    setup.certificate("a", &["a.example"]);
    let bindings = [format!("https/127.0.0.1:{port}:a.example")];
    setup.files("a", &bindings.each_ref().map(String::as_str), &[("x.txt", b"four")]);
    setup.site("b", &[&format!("http/127.0.0.1:{plain}:b.example")]);
    let server = setup.start_changed(logging(&setup));
    let mut client = https(port, "a.example").await;
    let head = "Host: a.example\r\nUser-Agent: Some Agent/1.0\r\nReferer: https://b.example/?q\r\n";
    client.send(format!("GET /x.txt?a=b&c HTTP/1.1\r\n{head}\r\n")).await.unwrap();
    assert_eq!(client.answer().await.unwrap().status, 200);
    client.send(format!("HEAD /x.txt HTTP/1.1\r\n{head}\r\n")).await.unwrap();
    assert_eq!(client.head().await.unwrap().status, 200);
    assert_eq!(client.get("a.example", "/none").await.unwrap().status, 404);
    client
        .send("POST /x.txt HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\n12345")
        .await
        .unwrap();
    assert_eq!(client.answer().await.unwrap().status, 405);
    assert_eq!(http(plain).await.get("b.example", "/").await.unwrap().status, 200);
    let lines = lines(&setup, &server, 4).await;
    let port_text = port.to_string();
    check(
        &lines[0],
        &[
            ("s-ip", "127.0.0.1"),
            ("cs-method", "GET"),
            ("cs-uri-stem", "/x.txt"),
            ("cs-uri-query", "a=b&c"),
            ("s-port", &port_text),
            ("cs-username", "-"),
            ("c-ip", "127.0.0.1"),
            ("cs(User-Agent)", "Some+Agent/1.0"),
            ("cs(Referer)", "https://b.example/?q"),
            ("sc-status", "200"),
            ("sc-substatus", "0"),
            ("sc-win32-status", "0"),
            ("cs-host", "a.example"),
            ("cs-version", "HTTP/1.1"),
            ("sc-bytes", "4"),
            ("cs-bytes", "0"),
            ("x-tls-server-name", "a.example"),
            ("x-tls-version", "TLSv1.3"),
            ("x-tls-group", "X25519MLKEM768"),
            ("x-tls-resumed", "0"),
        ],
    );
    assert!(lines[0]["x-tls-cipher"].starts_with("TLS_"), "{:?}", lines[0]);
    assert_eq!(lines[0]["x-tls-thumbprint"].len(), 40);
    assert!(lines[0]["time-taken"].parse::<u64>().unwrap() < 10_000);
    assert_eq!((lines[0]["date"].len(), lines[0]["time"].len()), (10, 8));
    // No content comes, and none is missing.
    check(&lines[1], &[("cs-method", "HEAD"), ("sc-win32-status", "0"), ("sc-bytes", "0")]);
    check(&lines[2], &[("sc-status", "404"), ("sc-win32-status", "2"), ("cs-uri-query", "-")]);
    check(&lines[3], &[("sc-status", "405"), ("cs-bytes", "5"), ("cs(User-Agent)", "-")]);
    let plain = lines_of(&setup.folder().join("logs/W3SVC2"), "u_ex", &server, 1).await;
    check(&plain[0], &[("x-tls-version", "-"), ("x-tls-server-name", "-"), ("sc-bytes", "1")]);
}

#[tokio::test]
async fn a_line_says_what_the_handshake_agreed_on() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example"]);
    setup.site("a", &[&format!("https/127.0.0.1:{port}:a.example")]);
    let server = setup.start_changed(logging(&setup));
    for version in [&TLS12, &TLS13] {
        let client = TestClient::new(ClientOptions {
            versions: &[version],
            alpn: &["h2"],
            sessions: Sessions::OfTheName,
            ..ClientOptions::default()
        });
        for _ in 0..2 {
            let connection = connected(&client, port, "a.example").await;
            let mut http2 = Http2::new(connection.stream).await;
            assert_eq!(http2.get("a.example", "/").await.unwrap().status, 200);
            let request = Request::post("https://a.example/").body(()).unwrap();
            http2.ask_with(request, Bytes::from_static(b"12345")).await.unwrap();
        }
    }
    let lines = lines(&setup, &server, 8).await;
    for (place, line) in lines.iter().enumerate() {
        let (version, suite) = match place {
            0..4 => ("TLSv1.2", "TLS_ECDHE_ECDSA_WITH_AES_"),
            _ => ("TLSv1.3", "TLS_AES_"),
        };
        let resumed = if place % 4 < 2 { "0" } else { "1" };
        let received = if place % 2 == 0 { "0" } else { "5" };
        check(
            line,
            &[
                ("cs-version", "HTTP/2.0"),
                ("x-tls-version", version),
                ("x-tls-resumed", resumed),
                ("cs-bytes", received),
                ("sc-bytes", "1"),
            ],
        );
        assert!(line["x-tls-cipher"].starts_with(suite), "{line:?}");
    }
}

#[tokio::test]
async fn an_answer_that_the_client_does_not_take_whole_is_marked() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example"]);
    let binding = format!("https/127.0.0.1:{port}:a.example");
    setup.files("a", &[&binding], &[("large", &bytes_of(20_000_000))]);
    let server = setup.start_changed(logging(&setup));
    let mut client = https(port, "a.example").await;
    client.send("GET /large HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
    client.take(1000).await.unwrap();
    drop(client);
    let connection = connected(&TestClient::with_alpn(&["h2"]), port, "a.example").await;
    let mut http2 = Http2::new(connection.stream).await;
    let request = Request::get("https://a.example/large").body(()).unwrap();
    let answer = http2.begin(request).await.unwrap().await.unwrap();
    // Which resets the stream; the connection goes on.
    drop(answer);
    assert_eq!(http2.get("a.example", "/none").await.unwrap().status, 404);
    let lines = lines(&setup, &server, 3).await;
    let broken: Vec<_> = lines.iter().filter(|line| line["cs-uri-stem"] == "/large").collect();
    assert_eq!(broken.len(), 2);
    for line in broken {
        check(line, &[("sc-status", "200"), ("sc-win32-status", "64")]);
        assert!(line["sc-bytes"].parse::<u64>().unwrap() < 20_000_000);
    }
}

#[tokio::test]
async fn nothing_that_a_client_sends_breaks_a_line() {
    let hostile = b"GET /%0d%0aFields:%20x\"?'\\ HTTP/1.1\r\nHost: a.example\r\n\
        User-Agent: a\tb \"c\" \xff\xc3\xa4 \\ {}\r\nReferer: \"\",\"status\":200\r\n\r\n";
    for format in [LogFormat::W3c, LogFormat::Json, LogFormat::Combined] {
        let mut setup = Setup::new();
        let port = setup.port();
        setup.site("a", &[&format!("http/127.0.0.1:{port}:a.example")]);
        let log = AccessLog { format, ..AccessLog::of(setup.folder().join("logs")) };
        let server = setup.start_changed(|all| all.settings.access_log = Some(log));
        let mut client = http(port).await;
        client.send(hostile).await.unwrap();
        let status = client.answer().await.unwrap().status.to_string();
        let folder = setup.folder().join("logs/W3SVC1");
        let text = until(&server, || fs::read_to_string(file(&folder, "u_")?).ok()).await;
        let line = text.lines().last().unwrap().to_owned();
        assert!(
            text.bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)),
            "{text:?}"
        );
        match format {
            LogFormat::W3c => {
                let path = file(&folder, "u_ex").unwrap();
                check(
                    &w3c(&path)[0],
                    &[
                        ("sc-status", &status),
                        ("cs(User-Agent)", "a%09b+%22c%22+%FF%C3%A4+\\+{}"),
                        ("cs(Referer)", "%22%22,%22status%22:200"),
                        ("cs-uri-stem", "/%0d%0aFields:%20x%22"),
                    ],
                );
            }
            LogFormat::Json => {
                let value: serde_json::Value = serde_json::from_str(&line).unwrap();
                assert_eq!(value["sc-status"].to_string(), status);
                assert_eq!(value["cs(User-Agent)"], "a\tb \"c\" \u{fffd}ä \\ {}");
                assert_eq!(value["cs(Referer)"], "\"\",\"status\":200");
                assert_eq!(
                    (&value["s-sitename"], &value["c-ip"]),
                    (&"W3SVC1".into(), &"127.0.0.1".into())
                );
                assert_eq!(value["s-port"], port);
            }
            LogFormat::Combined => {
                assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
                assert!(
                    line.ends_with("\"a\\x09b \\x22c\\x22 \\xFF\\xC3\\xA4 \\x5C {}\""),
                    "{line}"
                );
                assert_eq!(line.matches('"').count(), 6, "{line}");
            }
        }
    }
}

#[tokio::test]
async fn goaccess_reads_every_line() {
    for (format, name, shared) in [
        (LogFormat::W3c, "W3C", false),
        (LogFormat::W3c, GOACCESS_SHARED, true),
        (LogFormat::Combined, "COMBINED", false),
    ] {
        let mut setup = Setup::new();
        let (port, plain) = (setup.port(), setup.port());
        setup.certificate("a", &["a.example"]);
        setup.site(
            "a",
            &[
                &format!("https/127.0.0.1:{port}:a.example"),
                &format!("http/127.0.0.1:{plain}:a.example"),
            ],
        );
        let log = AccessLog { format, shared, ..AccessLog::of(setup.folder().join("logs")) };
        let server = setup.start_changed(|all| all.settings.access_log = Some(log));
        let (mut tls, mut clear) = (https(port, "a.example").await, http(plain).await);
        for number in 0..10 {
            let agent = if number % 2 == 0 { "" } else { "User-Agent: Some \"Agent\" (X; é)\r\n" };
            let request =
                format!("GET /{number}\"?a=%20b HTTP/1.1\r\nHost: a.example\r\n{agent}\r\n");
            tls.send(&request).await.unwrap();
            tls.answer().await.unwrap();
            clear.send(&request).await.unwrap();
            clear.answer().await.unwrap();
        }
        let folder = setup.folder().join(if shared { "logs" } else { "logs/W3SVC1" });
        let path = until(&server, || {
            let path = file(&folder, "u_")?;
            let text = fs::read_to_string(&path).unwrap();
            (text.lines().filter(|line| !line.starts_with('#')).count() == 20).then_some(path)
        })
        .await;
        let report = setup.folder().join("report.json");
        let (path, report) = (path.to_str().unwrap(), report.to_str().unwrap());
        let format = format!("--log-format={name}");
        let arguments = [
            path,
            "--no-global-config",
            &format,
            "--date-format=%Y-%m-%d",
            "--time-format=%H:%M:%S",
            "--no-progress",
            "-o",
            report,
        ];
        // Its own formats bring their own dates.
        let arguments: Vec<_> = arguments
            .into_iter()
            .filter(|one| shared || !(one.contains("date-f") || one.contains("time-f")))
            .collect();
        let Some(said) = run("goaccess", &arguments, "").await else { return };
        assert!(said.ok(), "{said:?}");
        let report: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(report).unwrap()).unwrap();
        let general = &report["general"];
        assert_eq!(general["failed_requests"], 0, "{name}: {general}");
        assert_eq!(general["valid_requests"], 20, "{name}: {general}");
    }
}

/// goaccess has no name for IIS's fields with the site among them.
const GOACCESS_SHARED: &str = "%d %t %v %^ %m %U %q %^ %e %h %u %R %s %^ %^ %L %^";

#[tokio::test]
async fn a_site_may_stay_out_of_the_log() {
    let mut setup = Setup::new();
    let port = setup.port();
    for name in ["a", "b"] {
        setup.site(name, &[&format!("http/127.0.0.1:{port}:{name}.example")]);
    }
    let log = AccessLog { shared: true, ..AccessLog::of(setup.folder().join("logs")) };
    let server = setup.start_changed(|all| {
        all.settings.access_log = Some(log);
        Arc::make_mut(&mut all.table.sites[1]).access_log = false;
    });
    let mut client = http(port).await;
    for host in ["b.example", "a.example"] {
        client.get(host, "/").await.unwrap();
    }
    let lines = lines_of(&setup.folder().join("logs"), "u_ex", &server, 1).await;
    check(&lines[0], &[("s-sitename", "W3SVC1"), ("cs-host", "a.example")]);
}

#[tokio::test]
async fn a_change_of_the_configuration_moves_the_log_at_the_next_request() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.site("a", &[&format!("http/127.0.0.1:{port}:a.example")]);
    let server = setup.start_changed(logging(&setup));
    let mut client = http(port).await;
    client.get("a.example", "/one").await.unwrap();
    let mut configuration = setup.changed(|_| {});
    let json = AccessLog {
        format: LogFormat::Json,
        roll: Roll::Hourly,
        ..AccessLog::of(setup.folder().join("other"))
    };
    configuration.settings.access_log = Some(json);
    server.replace_with(configuration, Default::default());
    client.get("a.example", "/two").await.unwrap();
    server.replace_with(setup.changed(|_| {}), Default::default());
    client.get("a.example", "/three").await.unwrap();
    let first = lines(&setup, &server, 1).await;
    check(&first[0], &[("cs-uri-stem", "/one")]);
    let folder = setup.folder().join("other/W3SVC1");
    let text = until(&server, || fs::read_to_string(file(&folder, "u_js")?).ok()).await;
    assert_eq!(text.lines().count(), 1);
    assert!(text.contains("\"cs-uri-stem\":\"/two\""), "{text}");
}

#[tokio::test]
async fn a_stop_writes_what_waits() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.site("a", &[&format!("http/127.0.0.1:{port}:a.example")]);
    let server = setup.start_changed(logging(&setup));
    let mut client = http(port).await;
    client.get("a.example", "/").await.unwrap();
    assert_eq!(server.stop(Duration::from_secs(10)).await, 0);
    let file = file(&setup.folder().join("logs/W3SVC1"), "u_ex").unwrap();
    assert_eq!(w3c(&file).len(), 1);
}

#[tokio::test]
async fn a_full_disk_loses_lines_and_no_request() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.site("a", &[&format!("http/127.0.0.1:{port}:a.example")]);
    let folder = setup.folder().join("logs");
    fs::create_dir(&folder).unwrap();
    let Some(_disk) = Disk::mount(&folder).await else { return };
    let server = setup.start_changed(logging(&setup));
    let mut client = http(port).await;
    let path = format!("/{}", "x".repeat(2000));
    for _ in 0..100 {
        assert_eq!(client.get("a.example", &path).await.unwrap().status, 200);
    }
    let lost = |server: &TestServer| metric(server, "bindery_log_lines_lost_total");
    until(&server, || {
        (lost(&server) + metric(&server, "bindery_log_lines_total") == 100).then_some(())
    })
    .await;
    assert!(lost(&server) > 50, "{}", lost(&server));
    // Whole lines only.
    let file = file(&folder.join("W3SVC1"), "u_ex").unwrap();
    let before = w3c(&file).len();
    assert!(fs::read_to_string(&file).unwrap().ends_with('\n'));
    // Room again.
    fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(0).unwrap();
    let lost_before = lost(&server);
    assert_eq!(client.get("a.example", "/room").await.unwrap().status, 200);
    until(&server, || fs::read_to_string(&file).unwrap().contains("/room").then_some(())).await;
    assert!(before > 0 && lost(&server) == lost_before);
}

/// A disk of 64 KiB.
struct Disk(PathBuf);

impl Disk {
    /// `None` where this user may mount none, with a line that says so.
    #[allow(clippy::print_stderr, reason = "a skipped test says so where tests speak")]
    async fn mount(folder: &Path) -> Option<Self> {
        let path = folder.to_str().unwrap();
        let arguments = ["-t", "tmpfs", "-o", "size=64k,mode=777", "tmpfs", path];
        let said = run("mount", &arguments, "").await?;
        if !said.ok() {
            assert!(!must_not_skip(), "no disk can be mounted: {}", said.stderr);
            eprintln!("skipped: no disk can be mounted: {}", said.stderr);
            return None;
        }
        Some(Self(folder.to_owned()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        std::process::Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}

/// The value of a metric without labels, or the sum over all of them.
pub(crate) fn metric(server: &TestServer, name: &str) -> u64 {
    let text = server.server().metrics_text();
    let values = text.lines().filter_map(|line| {
        let (own, value) = line.rsplit_once(' ')?;
        (own.split('{').next() == Some(name)).then(|| value.parse::<u64>().unwrap())
    });
    values.sum()
}

/// The lines of the errors log, when there are as many as that.
async fn errors(setup: &Setup, server: &TestServer, count: usize) -> Vec<Line> {
    lines_of(&setup.folder().join("logs/HTTPERR"), "httperr", server, count).await
}

#[tokio::test]
async fn what_never_reaches_a_site_is_in_the_errors_log() {
    let mut setup = Setup::new();
    let (port, plain) = (setup.port(), setup.port());
    setup.certificate("a", &["a.example"]);
    setup.site(
        "a",
        &[
            &format!("https/127.0.0.1:{port}:a.example"),
            &format!("http/127.0.0.1:{plain}:a.example"),
        ],
    );
    let server = setup.start_changed(logging(&setup));
    shown(port, Some("b.example")).await.unwrap_err();
    let mut client = http(port).await;
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
    assert_eq!(client.answer().await.unwrap().status, 400);
    errors(&setup, &server, 2).await;
    assert_eq!(http(plain).await.get("b.example", "/x?y").await.unwrap().status, 400);
    let mut client = http(plain).await;
    client.send("GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(client.answer().await.unwrap().status, 400);
    errors(&setup, &server, 4).await;
    let mut client = http(plain).await;
    client.send("no request at all\r\n\r\n").await.unwrap();
    drop(client.answer().await);
    errors(&setup, &server, 5).await;
    let mut client = http(plain).await;
    client.send(format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(40_000))).await.unwrap();
    assert_eq!(client.answer().await.unwrap().status, 431);
    drop(client);
    errors(&setup, &server, 6).await;
    assert_eq!(get_misdirected(port).await, 421);
    let lines = errors(&setup, &server, 7).await;
    let (port, plain) = (port.to_string(), plain.to_string());
    check(
        &lines[0],
        &[
            ("c-ip", "127.0.0.1"),
            ("s-port", &port),
            ("cs-method", "-"),
            ("s-reason", "TLS_NoBinding"),
            ("x-tls-server-name", "b.example"),
        ],
    );
    check(&lines[1], &[("s-reason", "TLS_PlainHttp"), ("x-tls-server-name", "-")]);
    check(
        &lines[2],
        &[
            ("s-port", &plain),
            ("cs-version", "HTTP/1.1"),
            ("cs-method", "GET"),
            ("cs-uri", "/x?y"),
            ("sc-status", "400"),
            ("s-reason", "Hostname"),
            ("s-siteid", "-"),
            ("s-queuename", "-"),
            ("x-detail", "no+site+answers+for+%22b.example%22"),
        ],
    );
    check(&lines[3], &[("s-reason", "Hostname"), ("x-detail", "bad+request:+no+Host+field")]);
    check(&lines[4], &[("s-reason", "BadRequest"), ("sc-status", "400"), ("cs-uri", "-")]);
    check(&lines[5], &[("s-reason", "RequestLength"), ("sc-status", "431")]);
    check(
        &lines[6],
        &[("s-reason", "Hostname"), ("sc-status", "421"), ("x-tls-server-name", "a.example")],
    );
    assert!(file(&setup.folder().join("logs"), "W3SVC").is_none(), "no site was reached");
}

async fn get_misdirected(port: u16) -> u16 {
    https(port, "a.example").await.get("other.example", "/").await.unwrap().status
}

/// Reads until the end, however that comes.
async fn closed(mut stream: TcpStream) {
    drop(stream.read_to_end(&mut Vec::new()).await);
}

/// Waits for lines while the server's time stands still.
fn errors_without_time(setup: &Setup, count: usize) -> Vec<Line> {
    let folder = setup.folder().join("logs/HTTPERR");
    for _ in 0..2000 {
        let lines = file(&folder, "httperr").map(|file| w3c(&file)).unwrap_or_default();
        if lines.len() == count {
            return lines;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("{count} lines never came");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_cut_off_for_its_slowness_is_in_the_errors_log() {
    let mut setup = Setup::new();
    let (port, plain) = (setup.port(), setup.port());
    setup.certificate("a", &["a.example"]);
    setup.site("t", &[&format!("https/127.0.0.1:{port}:a.example")]);
    let binding = format!("http/127.0.0.1:{plain}:a.example");
    setup.files("a", &[&binding], &[("large", &bytes_of(20_000_000))]);
    let _server = setup.start_changed(logging(&setup));
    let mut expected = Vec::new();
    closed(TcpStream::connect(local(plain)).await.unwrap()).await;
    expected.push("Timer_ConnectionIdle");
    let mut slow = http(plain).await;
    slow.send("GET / HTTP/1.1\r\nHos").await.unwrap();
    closed(slow.into_inner()).await;
    expected.push("Timer_HeaderWait");
    let mut slow = http(plain).await;
    slow.send("GET /large HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
    slow.take(100).await.unwrap();
    tokio::time::sleep(Duration::from_secs(100)).await;
    expected.push("Timer_MinBytesPerSecond");
    let mut silent = TcpStream::connect(local(port)).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut silent, &[22, 3]).await.unwrap();
    closed(silent).await;
    expected.push("TLS_Timeout");
    let lines = errors_without_time(&setup, expected.len());
    let reasons: Vec<_> = lines.iter().map(|line| line["s-reason"].as_str()).collect();
    assert_eq!(reasons, expected);
}

#[tokio::test]
async fn metrics_count_what_happened_and_have_a_bound() {
    let mut setup = Setup::new();
    let (port, plain) = (setup.port(), setup.port());
    setup.certificate("a", &["a.example"]);
    let bindings =
        [format!("https/127.0.0.1:{port}:a.example"), format!("http/127.0.0.1:{plain}:a.example")];
    let bindings: Vec<_> = bindings.iter().map(String::as_str).collect();
    setup.files("a", &bindings, &[("x.txt", b"four")]);
    let server = setup.start_changed(|all| all.settings.admin = Some(local(1)));
    let mut client = https(port, "a.example").await;
    for _ in 0..3 {
        assert_eq!(client.get("a.example", "/x.txt").await.unwrap().status, 200);
    }
    assert_eq!(client.get("a.example", "/none").await.unwrap().status, 404);
    shown(port, Some("b.example")).await.unwrap_err();
    assert_eq!(http(plain).await.get("other.example", "/").await.unwrap().status, 400);
    let many = || {
        metric(&server, "bindery_requests_total") == 5
            && metric(&server, "bindery_tls_handshakes_failed_total") == 1
    };
    until(&server, || many().then_some(())).await;
    let text = server.server().metrics_text();
    for line in [
        "bindery_requests_total{protocol=\"HTTP/1.1\",status=\"2xx\"} 3",
        "bindery_requests_total{protocol=\"HTTP/1.1\",status=\"4xx\"} 2",
        "bindery_requests_total{protocol=\"HTTP/2\",status=\"2xx\"} 0",
        "bindery_handled_requests_total{handler=\"files\"} 4",
        "bindery_handled_requests_total{handler=\"server\"} 1",
        "bindery_tls_handshakes_failed_total{reason=\"TLS_NoBinding\"} 1",
        "bindery_request_duration_seconds_count 5",
        "bindery_request_duration_seconds_bucket{le=\"+Inf\"} 5",
        "bindery_connections_refused_total 0",
        "bindery_upstream_servers_out 0",
        "bindery_connections_total 3",
        "bindery_configuration_revision 1",
        "bindery_certificates_in_memory 1",
        "bindery_files_in_memory 1",
        "bindery_upstream_failures_total 0",
        "# TYPE bindery_request_duration_seconds histogram",
    ] {
        assert!(text.lines().any(|own| own == line), "{line} in\n{text}");
    }
    assert!(metric(&server, "bindery_memory_resident_bytes") > 1_000_000);
    assert!(metric(&server, "bindery_open_files") > 3);
    well_formed(&text);
    for line in [
        "bindery_certificates_expiring{within=\"1d\"} 0",
        "bindery_certificates_expiring{within=\"30d\"} 0",
    ] {
        assert!(text.lines().any(|own| own == line), "{line} in\n{text}");
    }
    let first = metric(&server, "bindery_certificates_first_expiry_timestamp_seconds");
    assert!(first > 1_700_000_000, "{first}");
    let older = older_text(&text);
    assert!(older.contains("\n# TYPE bindery_connections_total counter\n"), "{older}");
    assert!(older.contains("\n# TYPE bindery_build_info gauge\n"), "{older}");
    if let Some(said) = run("promtool", &["check", "metrics"], &older).await {
        assert!(said.ok() && said.stdout.is_empty() && said.stderr.is_empty(), "{said:?}");
    }
    let before = text.lines().count();
    for number in 0..50 {
        client.get("a.example", &format!("/{number}")).await.unwrap();
        shown(port, Some(&format!("{number}.example"))).await.unwrap_err();
    }
    assert_eq!(server.server().metrics_text().lines().count(), before, "strangers make no lines");
}

/// The text as OpenMetrics wants it: each metric with its type once, before its values, every value
/// a number, no line twice, and the mark of the end.
#[track_caller]
fn well_formed(text: &str) {
    let (mut types, mut seen) = (Vec::new(), Vec::new());
    let text = text.strip_suffix("# EOF\n").unwrap();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let name = rest.split(' ').next().unwrap().to_owned();
            assert!(!types.contains(&name), "{name} twice");
            types.push(name);
        } else if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(name.starts_with(types.last().unwrap().as_str()), "{line}");
            assert!(!seen.contains(&name), "{name} twice");
            seen.push(name);
        }
    }
    assert!(seen.len() > 30);
}

/// How many files below a folder this process has open.
fn open_below(folder: &Path) -> usize {
    let open = fs::read_dir("/proc/self/fd").unwrap().flatten();
    open.filter(|one| fs::read_link(one.path()).is_ok_and(|to| to.starts_with(folder))).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_sites_write_their_own_logs_with_some_files_open() {
    const SITES: usize = 2000;
    const CLIENTS: usize = 4;
    const ROUNDS: usize = 3;
    let mut setup = Setup::new();
    let port = setup.port();
    for site in 1..=SITES {
        setup.site(&format!("s{site}"), &[&format!("http/127.0.0.1:{port}:s{site}.example")]);
    }
    let server = setup.start_changed(logging(&setup));
    let logs = setup.folder().canonicalize().unwrap().join("logs");
    let (most, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let watching = std::thread::spawn({
        let (logs, most, done) = (logs.clone(), Arc::clone(&most), Arc::clone(&done));
        move || {
            while !done.load(Ordering::Relaxed) {
                most.fetch_max(open_below(&logs), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    });
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            tokio::spawn(async move {
                let mut connection = http(port).await;
                for number in 0..SITES * ROUNDS {
                    // Each from another place on.
                    let site = (number + client * SITES / CLIENTS) % SITES + 1;
                    let answer = connection.get(&format!("s{site}.example"), "/").await.unwrap();
                    assert_eq!(answer.text(), format!("s{site}"));
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    let own = |site: usize| {
        let file = file(&logs.join(format!("W3SVC{site}")), "u_ex")?;
        let lines = w3c(&file);
        assert!(
            lines.iter().all(|line| line["cs-host"] == format!("s{site}.example")),
            "{lines:?}"
        );
        (lines.len() == CLIENTS * ROUNDS).then_some(())
    };
    until(&server, || (1..=SITES).try_for_each(own)).await;
    done.store(true, Ordering::Relaxed);
    watching.join().unwrap();
    let most = most.load(Ordering::Relaxed).max(open_below(&logs));
    assert!(
        (LOG_FILES_OPEN_MAX / 2..=LOG_FILES_OPEN_MAX).contains(&most),
        "{most} files were open"
    );
}

#[tokio::test]
async fn without_a_log_and_without_metrics_nothing_is_written_or_counted() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example"]);
    setup.site("a", &[&format!("https/127.0.0.1:{port}:a.example")]);
    let server = setup.start();
    assert_eq!(get(port, "a.example").await.status, 200);
    assert_eq!(metric(&server, "bindery_requests_total"), 0);
    assert_eq!(server.counters().requests_total, 1, "which the connections count");
    assert!(!setup.folder().join("logs").exists());
}
