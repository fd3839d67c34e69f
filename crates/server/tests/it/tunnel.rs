//! Connections that stop speaking HTTP: WebSocket with programs that others wrote, and upgrades as
//! bytes, with upstreams that lie, stop and die.

use std::{
    future::Future,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bindery_model::{
    document::Configuration,
    site::RouteAction,
    upstream::{Proxy, ServerAddress, Upstream, UpstreamProtocol, UpstreamServer},
};
use bindery_testkit::{
    DEADLINE, eventually,
    http1::Http1,
    programs::{must_not_skip, run},
    server::TestServer,
    soon,
};
use bytes::Bytes;
use http::{Method, Request, Response};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    sync::mpsc,
};

use crate::setup::{Setup, connected, http, https};

/// A connection to an upstream, with the head of its first request.
pub(crate) struct Met {
    pub(crate) head: String,
    pub(crate) stream: TcpStream,
}

impl Met {
    /// The value of a field of the request.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let lines = self.head.split("\r\n").filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub(crate) async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Switches to what was asked for.
    pub(crate) async fn switch(&mut self) {
        let protocol = self.field("upgrade").unwrap().to_owned();
        self.say(format!("{SWITCHING}Upgrade: {protocol}\r\n\r\n")).await;
    }

    pub(crate) async fn hear(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        soon("what the client says", self.stream.read_exact(&mut bytes)).await.unwrap();
        bytes
    }
}

const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n";

/// An upstream server that treats each connection so, once the head of a request has come.
pub(crate) async fn upstream<F, Fut>(treat: F) -> u16
where
    F: Fn(Met) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => break,
                }
            }
            if head.is_empty() {
                continue;
            }
            let head = String::from_utf8(head).unwrap();
            tokio::spawn(treat(Met { head, stream }));
        }
    });
    port
}

/// One whose connections come out of a queue.
pub(crate) async fn upstream_queue() -> (u16, mpsc::UnboundedReceiver<Met>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let port = upstream(move |met| {
        drop(sender.send(met));
        std::future::ready(())
    })
    .await;
    (port, receiver)
}

/// What is proxied to this port.
pub(crate) fn proxy_to(port: u16) -> Proxy {
    let address = ServerAddress::Tcp { host: "127.0.0.1".to_owned(), port };
    Proxy::to(Upstream::of(vec![UpstreamServer {
        address,
        https: false,
        weight: 1,
        backup: false,
    }]))
}

/// A site `a.example` on both protocols, which does that.
pub(crate) struct Site {
    pub(crate) setup: Setup,
    pub(crate) plain: u16,
    pub(crate) port: u16,
    proxy: Proxy,
}

impl Site {
    pub(crate) fn new(proxy: Proxy) -> Self {
        let mut setup = Setup::new();
        let (plain, port) = (setup.port(), setup.port());
        setup.certificate("a", &["a.example"]);
        let bindings = [
            format!("http/127.0.0.1:{plain}:a.example"),
            format!("https/127.0.0.1:{port}:a.example"),
        ];
        let lines = "respond = \"\"\nhttps_redirect = false";
        setup.site_with("a", &[&bindings[0], &bindings[1]], lines);
        Self { setup, plain, port, proxy }
    }

    pub(crate) fn start(&mut self) -> TestServer {
        self.start_changed(|_| {})
    }

    pub(crate) fn start_changed(&mut self, change: impl FnOnce(&mut Configuration)) -> TestServer {
        let proxy = self.proxy.clone();
        self.setup.start_changed(|configuration| {
            Arc::make_mut(&mut configuration.table.sites[0]).root.action =
                RouteAction::Proxy(Box::new(proxy));
            change(configuration);
        })
    }
}

const ASK: &str =
    "GET /chat HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n";

pub(crate) async fn switched(
    client: &mut Http1<impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>,
) {
    client.send(ASK).await.unwrap();
    let head = client.head().await.unwrap();
    assert_eq!(head.status, 101);
    assert_eq!(head.field("upgrade"), Some("test"));
    assert_eq!(head.field("connection"), Some("upgrade"));
    assert_eq!(head.field("content-length"), None);
}

/// A program that says everything again, and where.
#[allow(clippy::print_stderr, reason = "a skipped test says so where tests speak")]
async fn echo_server() -> Option<(Child, u16)> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/scripts/echo_server.py");
    let said = run(PYTHON, &["-c", "import websockets"], "").await?;
    if !said.ok() {
        assert!(!must_not_skip(), "python3-websockets is not installed");
        eprintln!("skipped: python3-websockets is not installed");
        return None;
    }
    let mut child =
        Command::new(PYTHON).arg(script).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = soon("its port", lines.next_line()).await.unwrap().unwrap();
    Some((child, line.parse().unwrap()))
}

/// Debian's: it has the package.
const PYTHON: &str = "/usr/bin/python3";

#[tokio::test]
async fn websocket_passes_between_programs_that_others_wrote() {
    let Some((_echo, upstream)) = echo_server().await else { return };
    let mut site = Site::new(proxy_to(upstream));
    let ca = site.setup.ca.write(site.setup.folder(), "ca");
    let _server = site.start();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/scripts/echo_client.py");
    for (scheme, port) in [("ws", site.plain), ("wss", site.port)] {
        let url = format!("{scheme}://a.example:{port}/chat?room=1");
        let arguments = [script, &url, &port.to_string(), ca.to_str().unwrap()];
        let said = run(PYTHON, &arguments, "").await.unwrap();
        assert!(said.ok() && said.stdout.contains("said and heard 1000"), "{said:?}");
    }
}

/// An HTTP/2 connection, and what can be asked on it once the server's settings have come.
pub(crate) async fn http2(port: u16) -> h2::client::SendRequest<Bytes> {
    let client = bindery_testkit::tls::TestClient::with_alpn(&["h2"]);
    let stream = connected(&client, port, "a.example").await.stream;
    let (requests, connection) = soon("settings", h2::client::handshake(stream)).await.unwrap();
    tokio::spawn(connection);
    eventually("extended CONNECT is on offer", async || {
        requests.is_extended_connect_protocol_enabled()
    })
    .await;
    requests
}

fn connect(protocol: &'static str) -> Request<()> {
    Request::builder()
        .method(Method::CONNECT)
        .uri("https://a.example/chat")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", "echo")
        .extension(h2::ext::Protocol::from_static(protocol))
        .body(())
        .unwrap()
}

/// A stream that was asked for by an extended CONNECT.
pub(crate) struct Stream2 {
    send: h2::SendStream<Bytes>,
    receive: h2::RecvStream,
    unread: Vec<u8>,
}

pub(crate) async fn stream2(
    requests: &mut h2::client::SendRequest<Bytes>,
    protocol: &'static str,
) -> Response<Stream2> {
    let (answer, send) = requests.send_request(connect(protocol), false).unwrap();
    let answer = soon("an answer", answer).await.unwrap();
    answer.map(|receive| Stream2 { send, receive, unread: Vec::new() })
}

impl Stream2 {
    pub(crate) async fn say(&mut self, bytes: &[u8]) {
        let mut left = Bytes::copy_from_slice(bytes);
        while !left.is_empty() {
            self.send.reserve_capacity(left.len());
            let room = std::future::poll_fn(|cx| self.send.poll_capacity(cx));
            let room = soon("a window", room).await.unwrap().unwrap();
            self.send.send_data(left.split_to(room.min(left.len())), false).unwrap();
        }
    }

    pub(crate) async fn hear(&mut self, length: usize) -> Vec<u8> {
        while self.unread.len() < length {
            let chunk = soon("an echo", self.receive.data()).await.unwrap().unwrap();
            self.receive.flow_control().release_capacity(chunk.len()).unwrap();
            self.unread.extend_from_slice(&chunk);
        }
        self.unread.drain(..length).collect()
    }

    async fn is_ended(&mut self) -> bool {
        // The end may come in a frame of its own, which is empty.
        while let Some(Ok(more)) = soon("its end", self.receive.data()).await {
            self.unread.extend(more);
        }
        self.unread.is_empty() && self.receive.is_end_stream()
    }
}

/// A frame as a client sends it (RFC 6455, 5.2), under a mask that changes nothing.
fn frame(opcode: u8, content: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match content.len() {
        short @ 0..126 => frame.push(0x80 | u8::try_from(short).unwrap()),
        long => {
            frame.push(0x80 | 127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(content);
    frame
}

#[tokio::test]
async fn websocket_over_http2_reaches_an_upstream_that_knows_only_http1() {
    let Some((_echo, upstream)) = echo_server().await else { return };
    let mut site = Site::new(proxy_to(upstream));
    let _server = site.start();
    let mut requests = http2(site.port).await;
    let answer = stream2(&mut requests, "websocket").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["sec-websocket-protocol"], "echo");
    for name in ["sec-websocket-accept", "upgrade", "connection", "content-length"] {
        assert!(!answer.headers().contains_key(name), "{name}");
    }
    let mut stream = answer.into_body();
    stream.say(&frame(1, b"hello")).await;
    assert_eq!(stream.hear(7).await, b"\x81\x05hello");
    let large: Vec<u8> = (0..1024 * 1024_u32).map(|at| (at % 251) as u8).collect();
    let mut other = stream2(&mut requests, "websocket").await.into_body();
    for stream in [&mut stream, &mut other] {
        stream.say(&frame(2, &large)).await;
        assert_eq!(stream.hear(10).await[..2], [0x82, 127]);
        assert!(stream.hear(large.len()).await == large);
    }
    // The farewell of each side, and the end.
    stream.say(&frame(8, &1000_u16.to_be_bytes())).await;
    assert_eq!(stream.hear(4).await, [0x88, 2, 3, 0xe8]);
    assert!(stream.is_ended().await);
    other.say(&frame(1, b"still here")).await;
    assert_eq!(other.hear(12).await[2..], *b"still here");
}

#[tokio::test]
async fn a_tunnel_counts_as_a_request_of_its_site_until_it_ends() {
    let port = upstream(async |mut met| {
        met.switch().await;
        met.hear(3).await;
    })
    .await;
    let mut site = Site::new(proxy_to(port));
    let proxy = site.proxy.clone();
    let _server = site.setup.start_changed(|configuration| {
        let site = Arc::make_mut(&mut configuration.table.sites[0]);
        site.root.action = RouteAction::Proxy(Box::new(proxy));
        site.limits.requests_max = Some(1);
    });
    let status = async || http(site.plain).await.get("a.example", "/").await.unwrap().status;
    let mut client = http(site.plain).await;
    switched(&mut client).await;
    assert_eq!(status().await, 503);
    client.send("end").await.unwrap();
    drop(client);
    eventually("the end of the tunnel", async || status().await != 503).await;

    let mut requests = http2(site.port).await;
    let mut stream = stream2(&mut requests, "test").await;
    assert_eq!((stream.status().as_u16(), status().await), (200, 503));
    stream.body_mut().send.send_data("end".into(), true).unwrap();
    eventually("the end of the tunnel", async || status().await != 503).await;
}

#[tokio::test]
async fn the_pace_of_a_site_holds_in_its_tunnels() {
    const BYTES: usize = 200_000;
    let port = upstream(async |mut met| {
        met.switch().await;
        met.say(vec![7; BYTES]).await;
        met.hear(5).await;
        met.say("heard").await;
    })
    .await;
    let mut site = Site::new(proxy_to(port));
    let proxy = site.proxy.clone();
    let _server = site.setup.start_changed(|configuration| {
        let site = Arc::make_mut(&mut configuration.table.sites[0]);
        site.root.action = RouteAction::Proxy(Box::new(proxy));
        site.limits.bytes_per_second_max = Some(100_000);
    });
    // What leaves at once, and pieces that are due at the same moment, are no tenth of it.
    let least = Duration::from_millis(1500);
    let began = std::time::Instant::now();
    let mut client = https(site.port, "a.example").await;
    switched(&mut client).await;
    assert!(client.take(BYTES).await.unwrap().iter().all(|byte| *byte == 7));
    assert!(began.elapsed() > least, "{:?}", began.elapsed());
    client.send("hello").await.unwrap();
    assert_eq!(client.rest().await.unwrap(), b"heard");

    let began = std::time::Instant::now();
    let mut stream = stream2(&mut http2(site.port).await, "test").await.into_body();
    assert!(stream.hear(BYTES).await.iter().all(|byte| *byte == 7));
    assert!(began.elapsed() > least, "{:?}", began.elapsed());
    stream.say(b"hello").await;
    assert_eq!(stream.hear(5).await, b"heard");
    assert!(stream.is_ended().await);
}

#[tokio::test]
async fn what_either_side_says_right_behind_the_101_arrives() {
    let port = upstream(async |mut met| {
        assert_eq!(met.field("connection"), Some("upgrade"));
        met.say(format!("{SWITCHING}Upgrade: test\r\n\r\nearly")).await;
        assert_eq!(met.hear(5).await, b"reply");
        met.say("the end").await;
    })
    .await;
    let mut site = Site::new(proxy_to(port));
    let server = site.start();
    let mut plain = http(site.plain).await;
    switched(&mut plain).await;
    plain.send("reply").await.unwrap();
    assert_eq!(plain.rest().await.unwrap(), b"earlythe end");
    let mut tls = https(site.port, "a.example").await;
    switched(&mut tls).await;
    tls.send("reply").await.unwrap();
    assert_eq!(tls.rest().await.unwrap(), b"earlythe end");
    let mut stream = stream2(&mut http2(site.port).await, "test").await.into_body();
    stream.say(b"reply").await;
    assert_eq!(stream.hear(12).await, b"earlythe end");
    assert!(stream.is_ended().await);
    drop((plain, tls, stream));
    eventually("nothing is left", async || server.counters().connections == 0).await;
}

#[tokio::test]
async fn a_member_that_speaks_http2_over_tls_is_asked_for_an_upgrade_by_http1() {
    let port = upstream(async |mut met| {
        if met.field("upgrade").is_none() {
            return met.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
        met.switch().await;
        assert_eq!(met.hear(5).await, b"hello");
        met.say("the end").await;
    })
    .await;
    // Another Bindery is the member.
    let mut back = Site::new(proxy_to(port));
    let back_server = back.start();
    let mut proxy = proxy_to(back.port);
    proxy.upstream.servers[0].https = true;
    proxy.upstream.protocol = UpstreamProtocol::Http2;
    proxy.upstream.tls.insecure = true;
    proxy.upstream.tls.server_name = Some("a.example".to_owned());
    let mut site = Site::new(proxy);
    let _server = site.start();
    let mut client = https(site.port, "a.example").await;
    for _ in 0..2 {
        assert_eq!(client.get("a.example", "/").await.unwrap().text(), "ok");
    }
    assert_eq!(back_server.counters().connections, 1);
    switched(&mut client).await;
    assert_eq!(back_server.counters().connections, 2);
    client.send("hello").await.unwrap();
    assert_eq!(client.rest().await.unwrap(), b"the end");
    let mut stream = stream2(&mut http2(site.port).await, "test").await.into_body();
    stream.say(b"hello").await;
    assert_eq!(stream.hear(7).await, b"the end");
}

#[tokio::test]
async fn an_upstream_that_does_not_switch_answers_as_always() {
    let port = upstream(async |mut met| {
        assert!(met.field("upgrade").is_some());
        let status = if met.head.contains("/chat") { 403 } else { 200 };
        met.say(format!("HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nno")).await;
    })
    .await;
    let mut site = Site::new(proxy_to(port));
    let _server = site.start();
    let mut client = https(site.port, "a.example").await;
    for _ in 0..3 {
        client.send(ASK).await.unwrap();
        let answer = client.answer().await.unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (403, "no"));
    }
    client.send(ASK.replace("/chat", "/")).await.unwrap();
    assert_eq!(client.answer().await.unwrap().status, 200);

    let mut requests = http2(site.port).await;
    let refused = stream2(&mut requests, "websocket").await;
    assert_eq!(refused.status(), 403);
    assert_eq!(refused.into_body().hear(2).await, b"no");
    // Of an extended CONNECT a 200 would say that there is a tunnel.
    let mut request = connect("websocket");
    *request.uri_mut() = "https://a.example/".parse().unwrap();
    let (answer, _send) = requests.send_request(request, false).unwrap();
    assert_eq!(soon("an answer", answer).await.unwrap().status(), 502);
}

#[tokio::test]
async fn an_upstream_that_switches_to_something_else_has_not_answered() {
    for upgrade in ["Upgrade: other\r\n", "", "Upgrade: test, other\r\n"] {
        let port = upstream(move |mut met| async move {
            met.say(format!("{SWITCHING}{upgrade}\r\nGET / HTTP/1.1\r\n\r\n")).await;
        })
        .await;
        let mut site = Site::new(proxy_to(port));
        let _server = site.start();
        let mut client = http(site.plain).await;
        client.send(ASK).await.unwrap();
        assert_eq!(client.answer().await.unwrap().status, 502, "{upgrade}");
        // Nor one that switches of its own accord.
        assert_eq!(client.get("a.example", "/").await.unwrap().status, 502, "{upgrade}");
        let mut requests = http2(site.port).await;
        assert_eq!(stream2(&mut requests, "websocket").await.status(), 502);
    }
}

#[tokio::test]
async fn an_upgrade_to_http_itself_or_with_content_is_not_handed_on() {
    let port = upstream(async |mut met| {
        let upgrade = met.field("upgrade").is_some() || met.field("http2-settings").is_some();
        met.say(format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{upgrade:5}")).await;
    })
    .await;
    let mut site = Site::new(proxy_to(port));
    let _server = site.start();
    for request in [
        "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
         HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Content-Length: 1\r\n\r\na",
    ] {
        let mut client = http(site.plain).await;
        client.send(request).await.unwrap();
        assert_eq!(client.answer().await.unwrap().text(), "false", "{request}");
    }
}

#[tokio::test]
async fn who_is_no_proxy_makes_no_tunnel_and_nobody_connects_to_elsewhere() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example"]);
    setup.site("a", &[&format!("https/127.0.0.1:{port}:a.example")]);
    let _server = setup.start();
    let mut requests = http2(port).await;
    assert_eq!(stream2(&mut requests, "websocket").await.status(), 405);
    let port = upstream(async |met| panic!("it was asked: {}", met.head)).await;
    let mut site = Site::new(proxy_to(port));
    let _server = site.start();
    let mut client = http(site.plain).await;
    client.send("CONNECT a.example:80 HTTP/1.1\r\nHost: a.example:80\r\n\r\n").await.unwrap();
    assert_eq!(client.answer().await.unwrap().status, 405);
    let mut requests = http2(site.port).await;
    let plain = Request::builder().method(Method::CONNECT).uri("a.example:443").body(()).unwrap();
    let (answer, _send) = requests.send_request(plain, false).unwrap();
    assert_eq!(soon("an answer", answer).await.unwrap().status(), 405);
}

#[tokio::test]
async fn a_reader_that_is_slow_makes_the_upstream_wait() {
    const ENOUGH: usize = 64 * 1024 * 1024;
    let pushed = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&pushed);
    let port = upstream(move |mut met| {
        let count = Arc::clone(&count);
        async move {
            met.switch().await;
            while count.load(Ordering::Relaxed) < ENOUGH {
                let Ok(sent) = met.stream.write(&[7; 64 * 1024]).await else { return };
                count.fetch_add(sent, Ordering::Relaxed);
            }
        }
    })
    .await;
    let mut site = Site::new(proxy_to(port));
    let _server = site.start();
    let mut plain = http(site.plain).await;
    switched(&mut plain).await;
    let stands_still = async |from: usize| {
        loop {
            let before = pushed.load(Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(300)).await;
            if before > from && pushed.load(Ordering::Relaxed) == before {
                return before;
            }
        }
    };
    // What the sockets between hold on loopback, and not what is to come.
    let first = soon("it waits", stands_still(0)).await;
    assert!(first < ENOUGH / 2, "{first}");
    let mut heard = plain.take(first).await.unwrap().len();
    let mut stream = stream2(&mut http2(site.port).await, "test").await.into_body();
    let second = soon("it waits", stands_still(first)).await;
    assert!(second < ENOUGH, "{second}");
    while pushed.load(Ordering::Relaxed) < ENOUGH {
        heard += plain.take(64 * 1024).await.unwrap().len();
        assert!(stream.hear(64 * 1024).await.iter().all(|byte| *byte == 7));
    }
    assert!(heard > first);
}

#[tokio::test]
async fn when_one_side_dies_the_other_is_told() {
    let (port, mut met) = upstream_queue().await;
    let mut site = Site::new(proxy_to(port));
    let server = site.start();
    let mut next = async || soon("a connection", met.recv()).await.unwrap();

    // The upstream, by an end and by a reset.
    for reset in [false, true] {
        let mut client = https(site.port, "a.example").await;
        let (mut upstream, ()) = tokio::join!(
            async {
                let mut upstream = next().await;
                upstream.switch().await;
                upstream
            },
            switched(&mut client)
        );
        upstream.say("last words").await;
        assert_eq!(client.take(10).await.unwrap(), b"last words");
        if reset {
            upstream.stream.set_zero_linger().unwrap();
        }
        drop(upstream);
        assert!(client.is_closed().await.unwrap());
    }
    // The client.
    for reset in [false, true] {
        let mut client = http(site.plain).await;
        let (mut upstream, ()) = tokio::join!(
            async {
                let mut upstream = next().await;
                upstream.switch().await;
                upstream
            },
            switched(&mut client)
        );
        client.send("last words").await.unwrap();
        assert_eq!(upstream.hear(10).await, b"last words");
        let client = client.into_inner();
        if reset {
            client.set_zero_linger().unwrap();
        }
        drop(client);
        assert_eq!(soon("its end", upstream.stream.read(&mut [0])).await.unwrap_or(0), 0);
    }
    // The client of a stream of HTTP/2: the other streams go on.
    let mut requests = http2(site.port).await;
    let begin = async |requests: &mut h2::client::SendRequest<Bytes>| {
        stream2(requests, "test").await.into_body()
    };
    let switch = async |mut upstream: Met| {
        upstream.switch().await;
        upstream
    };
    let (mut one, mut its) =
        tokio::join!(begin(&mut requests), async { switch(next().await).await });
    let (mut two, mut other) =
        tokio::join!(begin(&mut requests), async { switch(next().await).await });
    one.send.send_reset(h2::Reason::CANCEL);
    drop(one);
    assert_eq!(soon("its end", its.stream.read(&mut [0])).await.unwrap_or(0), 0);
    two.say(b"hello").await;
    assert_eq!(other.hear(5).await, b"hello");
    drop((requests, two));
    assert_eq!(soon("its end", other.stream.read(&mut [0])).await.unwrap_or(0), 0);
    drop((its, other));
    eventually("nothing is left", async || server.counters().connections == 0).await;
}

#[tokio::test]
async fn a_half_that_has_ended_leaves_the_other_open() {
    let port = upstream(async |mut met| {
        met.switch().await;
        let mut heard = Vec::new();
        met.stream.read_to_end(&mut heard).await.unwrap();
        met.say(heard).await;
    })
    .await;
    let mut site = Site::new(proxy_to(port));
    let _server = site.start();
    let mut client = http(site.plain).await;
    switched(&mut client).await;
    client.send("the question").await.unwrap();
    let mut stream = client.into_inner();
    stream.shutdown().await.unwrap();
    let mut heard = Vec::new();
    soon("the answer", stream.read_to_end(&mut heard)).await.unwrap();
    assert_eq!(heard, b"the question");
}

#[tokio::test]
async fn a_stop_waits_for_tunnels_until_its_deadline_and_a_change_leaves_them_alone() {
    let (port, mut met) = upstream_queue().await;
    let mut site = Site::new(proxy_to(port));
    let server = site.start();
    let mut client = https(site.port, "a.example").await;
    let switch = async {
        let mut upstream = soon("a connection", met.recv()).await.unwrap();
        upstream.switch().await;
        upstream
    };
    let (mut upstream, ()) = tokio::join!(switch, switched(&mut client));
    // It is no proxy any more, and yet what was opened stays open.
    site.setup.replace(&server);
    client.send("hello").await.unwrap();
    assert_eq!(upstream.hear(5).await, b"hello");

    let stopping = server.stop(Duration::from_secs(1));
    let talking = async {
        eventually("it is stopping", async || server.server().endpoints().is_empty()).await;
        upstream.say("still here").await;
        assert_eq!(client.take(10).await.unwrap(), b"still here");
        (client, upstream)
    };
    let (cut_off, open) = soon("the stop", async { tokio::join!(stopping, talking) }).await;
    assert_eq!(cut_off, 1);
    drop(open);
}

#[tokio::test]
async fn a_stop_is_over_as_soon_as_the_last_tunnel_is() {
    let (port, mut met) = upstream_queue().await;
    let mut site = Site::new(proxy_to(port));
    let server = site.start();
    let mut client = http(site.plain).await;
    let switch = async {
        let mut upstream = soon("a connection", met.recv()).await.unwrap();
        upstream.switch().await;
        upstream
    };
    let (upstream, ()) = tokio::join!(switch, switched(&mut client));
    let ending = async {
        eventually("it is stopping", async || server.server().endpoints().is_empty()).await;
        drop(upstream);
        assert!(client.is_closed().await.unwrap());
        drop(client);
    };
    let stopping = server.stop(DEADLINE);
    let (cut_off, ()) = soon("the stop", async { tokio::join!(stopping, ending) }).await;
    assert_eq!(cut_off, 0);
}

#[tokio::test]
async fn a_tunnel_in_which_nothing_is_said_is_closed() {
    const IDLE: Duration = Duration::from_millis(400);
    let (port, mut met) = upstream_queue().await;
    let mut proxy = proxy_to(port);
    proxy.timeouts.idle = IDLE;
    let mut site = Site::new(proxy);
    let server = site.start();
    let mut next = async || {
        let mut upstream = soon("a connection", met.recv()).await.unwrap();
        upstream.switch().await;
        upstream
    };
    let mut client = http(site.plain).await;
    let (mut one, ()) = tokio::join!(next(), switched(&mut client));
    let mut requests = http2(site.port).await;
    let (mut two, answer) = tokio::join!(next(), stream2(&mut requests, "test"));
    let mut stream = answer.into_body();
    for _ in 0..8 {
        tokio::time::sleep(IDLE / 3).await;
        one.say("a").await;
        stream.say(b"b").await;
        assert_eq!(client.take(1).await.unwrap(), b"a");
        assert_eq!(two.hear(1).await, b"b");
    }
    let began = std::time::Instant::now();
    assert!(client.is_closed().await.unwrap());
    assert!(began.elapsed() > IDLE / 2);
    assert_eq!(soon("its end", two.stream.read(&mut [0])).await.unwrap_or(0), 0);
    assert_eq!(soon("its end", one.stream.read(&mut [0])).await.unwrap_or(0), 0);
    // The connection itself goes on.
    drop((requests, stream, client));
    eventually("nothing is left", async || server.counters().connections == 0).await;
}

#[tokio::test]
async fn who_speaks_before_it_is_told_to_is_disconnected() {
    let (port, mut met) = upstream_queue().await;
    let mut site = Site::new(proxy_to(port));
    let _server = site.start();
    let mut client = http(site.plain).await;
    client.send([ASK.as_bytes(), b"\x81\x05hello"].concat()).await.unwrap();
    let mut upstream = soon("a connection", met.recv()).await.unwrap();
    upstream.switch().await;
    assert_eq!(client.head().await.unwrap().status, 101);
    assert!(client.is_closed().await.unwrap());
    assert_eq!(soon("its end", upstream.stream.read(&mut [0])).await.unwrap_or(0), 0);
}
