//! The reverse proxy: what an upstream gets, what the client gets, and what happens when either
//! does not behave.

use std::sync::{Arc, Mutex};

use bindery_model::{
    document::Configuration,
    site::RouteAction,
    upstream::{HealthCheck, Proxy, ServerAddress, Sticky, Upstream, UpstreamHost, UpstreamServer},
};
use bindery_testkit::{
    eventually, http1::Http1, http2::Http2, server::TestServer, soon, tls::TestClient,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::setup::{Setup, connected, http, https};

/// A member at a port of loopback.
pub(crate) fn at(port: u16) -> UpstreamServer {
    let address = ServerAddress::Tcp { host: "127.0.0.1".to_owned(), port };
    UpstreamServer { address, https: false, weight: 1, backup: false }
}

/// Requests handed on to the members at these ports.
pub(crate) fn to(ports: &[u16]) -> Proxy {
    Proxy::to(Upstream::of(ports.iter().map(|port| at(*port)).collect()))
}

/// Sites by name that hand everything on.
pub(crate) fn proxied<'a>(
    proxies: impl IntoIterator<Item = (&'a str, Proxy)>,
) -> impl FnOnce(&mut Configuration) {
    let proxies: Vec<_> = proxies.into_iter().collect();
    move |configuration| {
        for (name, proxy) in proxies {
            let sites = &mut configuration.table.sites;
            let site = sites.iter_mut().find(|site| site.name == name).expect("a site");
            Arc::make_mut(site).root.action = RouteAction::Proxy(Box::new(proxy));
        }
    }
}

/// A server with one site, `a.example`, without TLS at the first port and with it at the second.
pub(crate) struct Front {
    pub(crate) plain: u16,
    pub(crate) tls: u16,
    pub(crate) server: TestServer,
    setup: Setup,
}

impl Front {
    #[track_caller]
    pub(crate) fn new(proxy: Proxy) -> Self {
        Self::with(proxy, |_| {})
    }

    #[track_caller]
    pub(crate) fn with(proxy: Proxy, change: impl FnOnce(&mut Configuration)) -> Self {
        let mut setup = Setup::new();
        let (plain, tls) = (setup.port(), setup.port());
        setup.certificate("a", &["a.example"]);
        let bindings = [
            format!("http/127.0.0.1:{plain}:a.example"),
            format!("https/127.0.0.1:{tls}:a.example"),
        ];
        setup.site("a", &[&bindings[0], &bindings[1]]);
        setup.line("https_redirect = false");
        let server = setup.start_changed(|configuration| {
            proxied([("a", proxy)])(configuration);
            change(configuration);
        });
        Self { plain, tls, server, setup }
    }

    /// The certificate of the authority that vouches for `a.example`.
    pub(crate) fn ca_file(&self) -> std::path::PathBuf {
        self.setup.ca.write(self.setup.folder(), "front-ca")
    }

    pub(crate) async fn http2(&self) -> Http2 {
        let client = TestClient::with_alpn(&["h2"]);
        Http2::new(connected(&client, self.tls, "a.example").await.stream).await
    }

    pub(crate) async fn http(&self) -> Http1<TcpStream> {
        http(self.plain).await
    }
}

/// An upstream that answers each request on its connections with the next of what it was told to
/// say, and keeps what it was sent.
pub(crate) struct Told {
    pub(crate) port: u16,
    heads: Arc<Mutex<Vec<String>>>,
    connections: Arc<Mutex<usize>>,
}

impl Told {
    /// Says `answers` in turn, the last one for ever.
    pub(crate) async fn new(answers: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (heads, connections) =
            (Arc::<Mutex<Vec<String>>>::default(), Arc::<Mutex<usize>>::default());
        let answers: Arc<Vec<String>> =
            Arc::new(answers.iter().map(|one| (*one).to_owned()).collect());
        let said = Arc::new(Mutex::new(0_usize));
        let told = Self { port, heads: Arc::clone(&heads), connections: Arc::clone(&connections) };
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                *connections.lock().unwrap() += 1;
                let (heads, answers, said) = (heads.clone(), answers.clone(), said.clone());
                tokio::spawn(async move {
                    let mut bytes = Vec::new();
                    loop {
                        let end = loop {
                            if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n")
                            {
                                break at + 4;
                            }
                            if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                                return;
                            }
                        };
                        let head: Vec<u8> = bytes.drain(..end).collect();
                        heads.lock().unwrap().push(String::from_utf8(head).unwrap());
                        let answer = {
                            let mut said = said.lock().unwrap();
                            let answer = answers[(*said).min(answers.len() - 1)].clone();
                            *said += 1;
                            answer
                        };
                        if answer == "CLOSE" {
                            return;
                        }
                        let (text, close) = match answer.strip_suffix("CLOSE") {
                            Some(text) => (text, true),
                            None => (answer.as_str(), false),
                        };
                        stream.write_all(text.as_bytes()).await.unwrap();
                        if close {
                            return;
                        }
                    }
                });
            }
        });
        told
    }

    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

pub(crate) const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// The value of a field in a head as it was sent.
fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

#[tokio::test]
async fn a_request_is_handed_on_and_its_answer_back_on_kept_connections() {
    let upstream = Told::new(&[HELLO]).await;
    let front = Front::new(to(&[upstream.port]));
    let mut client = front.http().await;
    for _ in 0..5 {
        let answer = client.get("a.example", "/a%20b/../c?d=e").await.unwrap();
        assert_eq!(answer.status, 400, "dot segments are not for upstreams");
        let answer = client.get("a.example", "/a%2Fb//c?d=e").await.unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
        assert_eq!(answer.field("server"), Some("Bindery"));
    }
    let mut tls = https(front.tls, "a.example").await;
    assert_eq!(tls.get("a.example", "/").await.unwrap().text(), "hello");
    let mut http2 = front.http2().await;
    assert_eq!(http2.get("a.example", "/2?x").await.unwrap().text(), "hello");
    assert_eq!(upstream.connections(), 1);
    let heads = upstream.heads();
    assert_eq!(heads.len(), 7);
    assert!(heads[0].starts_with("GET /a%2Fb//c?d=e HTTP/1.1\r\n"), "{}", heads[0]);
    assert!(heads[6].starts_with("GET /2?x HTTP/1.1\r\n"), "{}", heads[6]);
    for head in heads {
        assert_eq!(field(&head, "host"), Some("a.example"));
    }
}

#[tokio::test]
async fn what_concerns_one_connection_ends_there_in_both_directions() {
    let upstream = Told::new(&[
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: x-secret, keep-alive\r\nX-Secret: 1\r\n\
         Keep-Alive: timeout=5\r\nProxy-Connection: a\r\nUpgrade: h2c\r\nX-Kept: 2\r\n\r\nok",
    ])
    .await;
    let front = Front::new(to(&[upstream.port]));
    let mut client = front.http().await;
    client
        .send(
            "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: keep-alive, X-Drop, Content-Length, Host\r\n\
             X-Drop: 1\r\nKeep-Alive: 300\r\nProxy-Connection: keep-alive\r\nUpgrade: foo\r\n\
             TE: trailers;q=1, gzip\r\nX-Keep: 2\r\nTrailer: X-T\r\n\r\n",
        )
        .await
        .unwrap();
    let answer = client.answer().await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    for gone in ["x-secret", "keep-alive", "proxy-connection", "upgrade", "connection"] {
        assert_eq!(answer.field(gone), None, "{gone}");
    }
    assert_eq!(answer.field("x-kept"), Some("2"));
    let head = &upstream.heads()[0];
    for gone in ["x-drop", "keep-alive", "proxy-connection", "upgrade"] {
        assert_eq!(field(head, gone), None, "{gone}");
    }
    assert_eq!(field(head, "te"), Some("trailers"));
    assert_eq!(field(head, "connection"), Some("te"));
    assert_eq!(field(head, "trailer"), Some("X-T"));
    assert_eq!(field(head, "x-keep"), Some("2"));
    assert_eq!(field(head, "via"), Some("1.1 bindery"));
    assert_eq!(field(head, "host"), Some("a.example"));
}

#[tokio::test]
async fn an_upstream_is_told_who_asks_and_not_what_a_stranger_says() {
    let upstream = Told::new(&[HELLO]).await;
    let lies = "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: gopher\r\nX-Forwarded-Host: evil\r\n\
                X-Forwarded-Port: 1\r\nForwarded: for=1.1.1.1\r\nX_Forwarded_For: 1.1.1.1\r\n\
                X-Forwarded-Prefix: /evil\r\nX_Forwarded-Prefix: /evil\r\n\
                x-forwarded_proto: https\r\nVia: 1.0 old\r\n";
    let request = format!("GET / HTTP/1.1\r\nHost: a.example\r\n{lies}\r\n");

    let front = Front::new(to(&[upstream.port]));
    let mut client = front.http().await;
    client.send(&request).await.unwrap();
    client.answer().await.unwrap();
    let mut client = https(front.tls, "a.example").await;
    client.send(&request).await.unwrap();
    client.answer().await.unwrap();
    let heads = upstream.heads();
    for (head, scheme, port) in [(&heads[0], "http", front.plain), (&heads[1], "https", front.tls)]
    {
        assert_eq!(field(head, "x-forwarded-for"), Some("127.0.0.1"));
        assert_eq!(field(head, "x-forwarded-proto"), Some(scheme));
        assert_eq!(field(head, "x-forwarded-host"), Some("a.example"));
        assert_eq!(field(head, "x-forwarded-port"), Some(port.to_string().as_str()));
        for gone in ["forwarded", "x_forwarded_for", "x-forwarded_proto"] {
            assert_eq!(field(head, gone), None, "{gone}");
        }
        assert!(!head.contains("1.1.1.1") && !head.contains("evil"), "{head}");
        assert!(head.contains("via: 1.0 old\r\n") && head.contains("via: 1.1 bindery\r\n"));
    }

    // From a trusted proxy it is passed on, with what is known here.
    let proxy = Proxy { forwarded: true, ..to(&[upstream.port]) };
    let front = Front::with(proxy, |configuration| {
        configuration.settings.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    });
    let mut client = front.http().await;
    let fields = "X-Forwarded-For: 1.1.1.1, 192.0.2.9\r\nX-Forwarded-Proto: https\r\n\
                  X-Forwarded-Port: 443\r\nForwarded: for=192.0.2.9\r\n";
    client.send(format!("GET / HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n")).await.unwrap();
    client.answer().await.unwrap();
    let head = &upstream.heads()[2];
    assert_eq!(field(head, "x-forwarded-for"), Some("1.1.1.1, 192.0.2.9, 127.0.0.1"));
    assert_eq!(field(head, "x-forwarded-proto"), Some("https"));
    assert_eq!(field(head, "x-forwarded-port"), Some("443"));
    let forwarded = "for=192.0.2.9, for=127.0.0.1;host=a.example;proto=https";
    assert_eq!(field(head, "forwarded"), Some(forwarded));
}

#[tokio::test]
async fn host_and_path_are_what_the_configuration_says() {
    let upstream = Told::new(&[HELLO]).await;
    for (host, expected) in [
        (UpstreamHost::Keep, "a.example:99".to_owned()),
        (UpstreamHost::Server, format!("127.0.0.1:{}", upstream.port)),
        (UpstreamHost::Fixed("fixed.example".to_owned()), "fixed.example".to_owned()),
    ] {
        let path = Some("/v2/".to_owned());
        let front = Front::new(Proxy { host, path, ..to(&[upstream.port]) });
        let mut client = front.http().await;
        client
            .send("GET http://a.example:99/x?y HTTP/1.1\r\nHost: a.example:99\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(client.answer().await.unwrap().status, 200);
        let head = upstream.heads().pop().unwrap();
        assert!(head.starts_with("GET /v2/x?y HTTP/1.1\r\n"), "{head}");
        assert_eq!(field(&head, "host"), Some(expected.as_str()));
        assert_eq!(field(&head, "x-forwarded-host"), Some("a.example:99"));
    }
}

#[tokio::test]
async fn answers_without_content_have_none_and_keep_their_fields() {
    for (method, answer, status, length) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n", 200, Some("1234")),
        ("GET", "HTTP/1.1 204 No Content\r\nX: 1\r\n\r\n", 204, None),
        ("GET", "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n", 304, None),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, Some("0")),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 0, 0\r\n\r\n", 200, Some("0")),
        ("GET", "HTTP/1.1 299 Odd\r\nContent-Length: 0\r\n\r\n", 299, Some("0")),
    ] {
        let upstream = Told::new(&[answer]).await;
        let front = Front::new(to(&[upstream.port]));
        let mut client = front.http().await;
        for _ in 0..2 {
            client.send(format!("{method} / HTTP/1.1\r\nHost: a.example\r\n\r\n")).await.unwrap();
            let got = client.head().await.unwrap();
            assert_eq!((got.status, got.field("content-length")), (status, length), "{answer}");
        }
        let mut client = front.http2().await;
        let request =
            http::Request::builder().method(method).uri("https://a.example/").body(()).unwrap();
        let got = client.ask(request).await.unwrap();
        assert_eq!(got.status, status, "{answer}");
        assert_eq!(upstream.connections(), 1, "{answer}: the connection is kept");
    }
}

#[tokio::test]
async fn some_requests_go_no_further() {
    let upstream = Told::new(&[HELLO]).await;
    let front = Front::new(to(&[upstream.port]));
    let mut client = front.http().await;
    client.send("TRACE / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
    assert_eq!(client.answer().await.unwrap().status, 405);
    client.send("OPTIONS * HTTP/1.1\r\nHost: a.example\r\nMax-Forwards: 0\r\n\r\n").await.unwrap();
    let answer = client.answer().await.unwrap();
    assert_eq!((answer.status, answer.field("allow").is_some()), (200, true));
    assert!(upstream.heads().is_empty());
    client.send("OPTIONS * HTTP/1.1\r\nHost: a.example\r\nMax-Forwards: 3\r\n\r\n").await.unwrap();
    assert_eq!(client.answer().await.unwrap().text(), "hello");
    let head = &upstream.heads()[0];
    assert!(head.starts_with("OPTIONS * HTTP/1.1\r\n"), "{head}");
    assert_eq!(field(head, "max-forwards"), Some("2"));
}

#[tokio::test]
async fn requests_go_round_and_past_members_that_are_dead() {
    let (one, two) = (Told::new(&[HELLO]).await, Told::new(&[HELLO]).await);
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let front = Front::new(to(&[one.port, dead, two.port]));
    let mut client = front.http().await;
    for _ in 0..12 {
        client
            .send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\nhi")
            .await
            .unwrap();
        let answer = client.answer().await.unwrap();
        assert_eq!(answer.status, 200, "nothing had been sent: even POST may try again");
    }
    let (one, two) = (one.heads().len(), two.heads().len());
    assert_eq!(one + two, 12);
    assert!(one >= 4 && two >= 4, "{one} {two}");
    let status = front.server.server().upstreams();
    let well: Vec<_> = status.iter().filter(|one| one.well).collect();
    assert_eq!((status.len(), well.len()), (3, 2), "{status:?}");
}

#[tokio::test]
async fn backups_answer_only_when_nobody_else_can() {
    let backup = Told::new(&[HELLO]).await;
    let first = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = first.local_addr().unwrap().port();
    let mut proxy = to(&[port, backup.port]);
    proxy.upstream.servers[1].backup = true;
    drop(first);
    let front = Front::new(proxy);
    let mut client = front.http().await;
    assert_eq!(client.get("a.example", "/").await.unwrap().text(), "hello");
    assert_eq!(backup.heads().len(), 1);
}

#[tokio::test]
async fn a_request_is_tried_again_only_where_that_is_safe() {
    // The first answer is that the connection is kept; then it is closed on the next request.
    let post = "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\nhi";
    let get = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let put = "PUT / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\nhi";
    for (request, status, why) in [
        (get, 200, "idempotent, without content"),
        (post, 502, "it may have had an effect"),
        (put, 502, "its content is gone"),
    ] {
        let upstream = Told::new(&[HELLO, "CLOSE", HELLO]).await;
        let front = Front::new(to(&[upstream.port]));
        let mut client = front.http().await;
        assert_eq!(client.get("a.example", "/").await.unwrap().status, 200);
        client.send(request).await.unwrap();
        assert_eq!(client.answer().await.unwrap().status, status, "{why}");
        assert_eq!(client.get("a.example", "/").await.unwrap().status, 200, "the client is well");
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_or_says_too_much_is_not_used_again() {
    for after in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloCLOSE",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    ] {
        let upstream = Told::new(&[after]).await;
        let front = Front::new(to(&[upstream.port]));
        let mut client = front.http().await;
        for round in 1..4 {
            // Not even POST notices.
            client
                .send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n")
                .await
                .unwrap();
            assert_eq!(client.answer().await.unwrap().text(), "hello");
            assert_eq!(upstream.connections(), round);
            // The end of the connection comes behind the answer.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn a_client_stays_with_its_member_by_cookie() {
    let members = [Told::new(&[HELLO]).await, Told::new(&[HELLO]).await, Told::new(&[HELLO]).await];
    let mut proxy = to(&[members[0].port, members[1].port, members[2].port]);
    proxy.upstream.sticky = Sticky::Cookie("route".to_owned());
    let front = Front::new(proxy);
    let mut client = https(front.tls, "a.example").await;
    let answer = client.get("a.example", "/").await.unwrap();
    let cookie = answer.field("set-cookie").expect("a cookie").to_owned();
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure"), "{cookie}");
    assert!(!cookie.contains("127.0.0.1"));
    let own = cookie.split(';').next().unwrap();
    for _ in 0..6 {
        client
            .send(format!("GET / HTTP/1.1\r\nHost: a.example\r\nCookie: a=b; {own}\r\n\r\n"))
            .await
            .unwrap();
        let answer = client.answer().await.unwrap();
        assert_eq!(answer.field("set-cookie"), None);
    }
    let counts: Vec<_> = members.iter().map(|member| member.heads().len()).collect();
    assert!(counts.contains(&7), "{counts:?}");
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\nCookie: route=forged\r\n\r\n").await.unwrap();
    assert!(client.answer().await.unwrap().field("set-cookie").is_some());
}

#[tokio::test]
async fn members_are_asked_whether_they_are_well() {
    let sick = Told::new(&["HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\nCLOSE"]).await;
    let well = Told::new(&[HELLO]).await;
    let mut proxy = to(&[sick.port, well.port]);
    proxy.upstream.health_check = Some(HealthCheck {
        path: "/healthz".to_owned(),
        interval: std::time::Duration::from_millis(20),
        timeout: std::time::Duration::from_secs(2),
        rise: 2,
        fall: 2,
    });
    let front = Front::new(proxy);
    let mut client = front.http().await;
    client.get("a.example", "/").await.unwrap();
    eventually("the sick member is out", async || {
        front.server.server().upstreams().iter().any(|member| !member.well)
    })
    .await;
    for _ in 0..4 {
        assert_eq!(client.get("a.example", "/").await.unwrap().status, 200);
    }
    let head = well.heads().into_iter().find(|head| head.contains("/healthz")).unwrap();
    assert!(head.starts_with("GET /healthz HTTP/1.1\r\n"), "{head}");
    drop(front);
}

#[tokio::test]
async fn an_upstream_that_keeps_silent_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut proxy = to(&[port]);
    proxy.timeouts.first_byte = std::time::Duration::from_millis(50);
    proxy.timeouts.idle = std::time::Duration::from_millis(50);
    let front = Front::new(proxy);
    let mut client = front.http().await;
    assert_eq!(client.get("a.example", "/").await.unwrap().status, 504);
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut bytes = Vec::new();
    soon("the end of the connection", stream.read_to_end(&mut bytes)).await.unwrap();
    assert!(bytes.starts_with(b"GET / "));
    // It begins and falls silent.
    let (answer, ()) = tokio::join!(client.get("a.example", "/"), async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfour").await.unwrap();
        soon("the end", stream.read_to_end(&mut bytes)).await.unwrap();
    });
    assert!(answer.is_err(), "an answer that broke off never ends in peace: {answer:?}");
}

#[tokio::test]
async fn a_client_that_goes_takes_its_request_along() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let front = Front::new(to(&[port]));
    for round in 0..3 {
        let mut client = front.http().await;
        client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut bytes = vec![0; 1024];
        soon("the request", stream.read(&mut bytes)).await.unwrap();
        if round == 1 {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfour").await.unwrap();
            client.head().await.unwrap();
        }
        if round == 2 {
            client.into_inner().set_zero_linger().unwrap();
        } else {
            drop(client);
        }
        let read = soon("the end of the request", stream.read(&mut bytes)).await.unwrap_or(0);
        assert_eq!(read, 0);
    }
}

/// An upstream with one connection, which the test itself speaks on.
struct Manual(TcpListener);

impl Manual {
    async fn new() -> (Self, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (Self(listener), port)
    }

    async fn accept(&self) -> TcpStream {
        soon("a connection", self.0.accept()).await.unwrap().0
    }
}

/// Reads until these bytes have come, and gives all.
async fn until(stream: &mut TcpStream, end: &str) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end.as_bytes()) {
        let read = soon(end, stream.read_buf(&mut bytes)).await.unwrap();
        assert!(read > 0, "{end:?} is missing in {:?}", String::from_utf8_lossy(&bytes));
    }
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn content_and_answer_are_streams_at_the_same_time_with_trailers() {
    let (upstream, port) = Manual::new().await;
    let front = Front::new(to(&[port]));
    let mut client = TcpStream::connect(crate::setup::local(front.plain)).await.unwrap();
    client
        .write_all(
            b"POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\
              Trailer: X-Up, Forwarded\r\n\r\n3\r\none\r\n",
        )
        .await
        .unwrap();
    let mut up = upstream.accept().await;
    let head = until(&mut up, "3\r\none\r\n").await;
    assert!(head.contains("transfer-encoding: chunked\r\n"), "{head}");
    up.write_all(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Down\r\n\r\n4\r\nfour\r\n",
    )
    .await
    .unwrap();
    let answer = until(&mut client, "4\r\nfour\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "before the content has ended: {answer}");
    client.write_all(b"3\r\ntwo\r\n").await.unwrap();
    until(&mut up, "3\r\ntwo\r\n").await;
    client.write_all(b"0\r\nX-Up: 1\r\nForwarded: for=1.2.3.4\r\n\r\n").await.unwrap();
    let end = until(&mut up, "\r\n\r\n").await;
    assert_eq!(end.to_lowercase(), "0\r\nx-up: 1\r\n\r\n");
    up.write_all(b"0\r\nX-Down: 2\r\n\r\n").await.unwrap();
    let end = until(&mut client, "\r\n\r\n").await;
    assert_eq!(end.to_lowercase(), "0\r\nx-down: 2\r\n\r\n");
    // Both connections are good for another.
    client.write_all(b"GET /next HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
    assert!(until(&mut up, "\r\n\r\n").await.starts_with("GET /next "));
}

#[tokio::test]
async fn an_upstream_that_answers_early_and_closes_is_heard() {
    for round in 0..10 {
        let (upstream, port) = Manual::new().await;
        let front = Front::new(to(&[port]));
        let content = vec![b'x'; 4 * 1024 * 1024];
        let mut client = front.http().await;
        let head = format!(
            "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: {}\r\n\r\n",
            content.len()
        );
        let sending = async {
            client.send(head).await.unwrap();
            // The server drops what it has no use for, and may close at last.
            drop(client.send(&content).await);
            client.answer().await
        };
        let answering = async {
            let mut up = upstream.accept().await;
            let mut bytes = vec![0; 1024];
            assert!(soon("the head", up.read(&mut bytes)).await.unwrap() > 0);
            up.write_all(b"HTTP/1.1 413 No\r\nContent-Length: 4\r\n\r\nlong").await.unwrap();
            // With bytes unread: the connection is reset.
        };
        let (answer, ()) = tokio::join!(sending, answering);
        assert_eq!(answer.unwrap().status, 413, "round {round}");
    }
}

#[tokio::test]
async fn a_client_is_told_to_go_on_only_when_the_upstream_wants_its_content() {
    let (upstream, port) = Manual::new().await;
    let front = Front::new(to(&[port]));
    let request =
        "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    // It refuses: the client never hears a 100.
    let mut client = front.http().await;
    client.send(request).await.unwrap();
    let mut up = upstream.accept().await;
    assert!(until(&mut up, "\r\n\r\n").await.contains("expect: 100-continue\r\n"));
    up.write_all(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    assert_eq!(client.head().await.unwrap().status, 403);
    // It wants it.
    let mut client = front.http().await;
    client.send(request).await.unwrap();
    let mut up = upstream.accept().await;
    until(&mut up, "\r\n\r\n").await;
    up.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
    assert_eq!(client.head().await.unwrap().status, 100);
    client.send("hi").await.unwrap();
    until(&mut up, "hi").await;
    up.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    assert_eq!(client.head().await.unwrap().status, 200);
    // It never says so.
    client.send(request).await.unwrap();
    until(&mut up, "\r\n\r\n").await;
    assert_eq!(soon("patience to end", client.head()).await.unwrap().status, 100);
}

#[tokio::test]
async fn content_that_breaks_off_never_looks_whole_to_the_upstream() {
    let (upstream, port) = Manual::new().await;
    let front = Front::new(to(&[port]));
    for framing in ["Content-Length: 9", "Transfer-Encoding: chunked"] {
        let mut client = front.http().await;
        client
            .send(format!("POST / HTTP/1.1\r\nHost: a.example\r\n{framing}\r\n\r\n3\r\none\r\n"))
            .await
            .unwrap();
        let mut up = upstream.accept().await;
        until(&mut up, "one\r\n").await;
        drop(client);
        let mut rest = Vec::new();
        // Closed or reset: either is an end without the end.
        drop(soon("the end", up.read_to_end(&mut rest)).await);
        assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
    }
}

#[tokio::test]
async fn cookies_in_pieces_are_one_field_again() {
    let upstream = Told::new(&[HELLO]).await;
    let front = Front::new(to(&[upstream.port]));
    let request =
        http::Request::get("https://a.example/").header("cookie", "a=1").header("cookie", "b=2");
    front.http2().await.ask(request.body(()).unwrap()).await.unwrap();
    assert_eq!(field(&upstream.heads()[0], "cookie"), Some("a=1; b=2"));
}

#[tokio::test]
async fn a_change_of_configuration_closes_no_connection_to_an_upstream() {
    let upstream = Told::new(&[HELLO]).await;
    let mut setup = Setup::new();
    let port = setup.port();
    setup.site("a", &[&format!("http/127.0.0.1:{port}:a.example")]);
    let server = setup.start_changed(proxied([("a", to(&[upstream.port]))]));
    let mut client = http(port).await;
    client.get("a.example", "/").await.unwrap();
    let mut proxy = to(&[upstream.port]);
    proxy.upstream.balance = bindery_model::upstream::Balance::LeastConnections;
    server.replace_with(setup.changed(proxied([("a", proxy)])), Default::default());
    assert_eq!(client.get("a.example", "/").await.unwrap().text(), "hello");
    assert_eq!(upstream.connections(), 1);
    // Without the site nothing is left of it.
    server.replace_with(setup.changed(|_| {}), Default::default());
    assert_eq!(client.get("a.example", "/").await.unwrap().text(), "a");
    eventually("the upstream is forgotten", async || server.server().upstreams().is_empty()).await;
}

#[tokio::test]
async fn no_connection_is_kept_where_none_may_be() {
    let upstream = Told::new(&[HELLO]).await;
    let mut proxy = to(&[upstream.port]);
    proxy.upstream.idle_connections_max = 0;
    let front = Front::new(proxy);
    let mut client = front.http().await;
    for _ in 0..3 {
        assert_eq!(client.get("a.example", "/").await.unwrap().text(), "hello");
    }
    assert_eq!(upstream.connections(), 3);
}
