//! The PROXY protocol: believed where a load balancer is known to stand, required there, ignored
//! elsewhere, and sent on.

use std::{fmt::Write as _, fs, net::SocketAddr, process::Stdio, sync::Arc};

use bindery_model::{
    binding::{Endpoint, Protocol},
    decide::ListenerRules,
    document::{Configuration, Listener},
    site::RouteAction,
    upstream::{ProxyProtocol, UpstreamProtocol},
};
use bindery_server::limits::HANDSHAKE_TIMEOUT;
use bindery_testkit::{
    eventually, http1::Http1, http2::Http2, server::TestServer, soon, tls::TestClient,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    process::{Child, Command},
    sync::mpsc,
};

use crate::{
    setup::{Setup, local},
    tunnel::{proxy_to, upstream},
};

/// The header of a client, 203.0.113.9, that came to 192.0.2.80:443.
const V1: &[u8] = b"PROXY TCP4 203.0.113.9 192.0.2.80 40000 443\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x09\xc0\0\x02\x50\x9c\x40\x01\xbb";

/// An upstream that answers whom a request is for.
async fn who() -> u16 {
    upstream(async |mut met| {
        let client = met.field("x-forwarded-for").unwrap_or_default().to_owned();
        let (length, port) = (client.len(), met.field("x-forwarded-port").unwrap_or_default());
        let head = format!("HTTP/1.1 200 OK\r\nX-Port: {port}\r\nContent-Length: {length}");
        met.say(format!("{head}\r\n\r\n{client}")).await;
    })
    .await
}

/// Whose word is taken on these ports.
fn behind_balancers(configuration: &mut Configuration, ports: &[(Protocol, u16)], network: &str) {
    for (protocol, port) in ports {
        configuration.listeners.push(Listener {
            protocol: *protocol,
            endpoint: Endpoint { address: Some(local(0).ip()), port: *port },
            rules: ListenerRules::default(),
            proxy_protocol: vec![network.parse().unwrap()],
        });
    }
}

struct Site {
    setup: Setup,
    plain: u16,
    port: u16,
    server: TestServer,
}

/// A site that says whom it believes to talk to, where `network` is of load balancers.
async fn site(network: &str) -> Site {
    let upstream = who().await;
    let mut setup = Setup::new();
    let (plain, port) = (setup.port(), setup.port());
    setup.certificate("a", &["a.example"]);
    let bindings =
        [format!("http/127.0.0.1:{plain}:a.example"), format!("https/127.0.0.1:{port}:a.example")];
    let lines = "respond = \"\"\nhttps_redirect = false";
    setup.site_with("a", &[&bindings[0], &bindings[1]], lines);
    let server = setup.start_changed(|configuration| {
        let action = RouteAction::Proxy(Box::new(proxy_to(upstream)));
        Arc::make_mut(&mut configuration.table.sites[0]).root.action = action;
        let ports = [(Protocol::Http, plain), (Protocol::Https, port)];
        behind_balancers(configuration, &ports, network);
    });
    Site { setup, plain, port, server }
}

/// A connection that begins with these bytes.
async fn after(port: u16, header: &[u8]) -> TcpStream {
    let mut tcp = TcpStream::connect(local(port)).await.unwrap();
    tcp.write_all(header).await.unwrap();
    tcp
}

async fn said_over_tls(port: u16, header: &[u8], http2: bool) -> String {
    let client = if http2 { TestClient::with_alpn(&["h2"]) } else { TestClient::default() };
    let tcp = after(port, header).await;
    let stream = client.connect_over(tcp, Some("a.example")).await.unwrap().stream;
    match http2 {
        true => Http2::new(stream).await.get("a.example", "/").await.unwrap().text(),
        false => Http1::new(stream).get("a.example", "/").await.unwrap().text(),
    }
}

async fn said(port: u16, header: &[u8]) -> String {
    Http1::new(after(port, header).await).get("a.example", "/").await.unwrap().text()
}

#[tokio::test]
async fn the_client_is_whom_the_load_balancer_names() {
    let site = site("127.0.0.0/8").await;
    for header in [V1, V2] {
        assert_eq!(said(site.plain, header).await, "203.0.113.9");
        assert_eq!(said_over_tls(site.port, header, false).await, "203.0.113.9");
        assert_eq!(said_over_tls(site.port, header, true).await, "203.0.113.9");
    }
    let mut client = Http1::new(after(site.plain, V1).await);
    let answer = client.get("a.example", "/").await.unwrap();
    assert_eq!(answer.field("x-port"), Some("443"), "where the client came to");
    drop(client);
    let six = b"PROXY TCP6 2001:db8::9 2001:db8::80 40000 443\r\n";
    assert_eq!(said(site.plain, six).await, "2001:db8::9");
    // It speaks for itself.
    for header in [&b"PROXY UNKNOWN\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"] {
        assert_eq!(said(site.plain, header).await, "127.0.0.1");
        assert_eq!(said_over_tls(site.port, header, false).await, "127.0.0.1");
    }
    eventually("all are gone", async || site.server.counters().connections == 0).await;
    assert_eq!(site.server.counters().connections_total, 12);
}

#[tokio::test]
async fn a_header_and_what_follows_may_come_in_any_pieces() {
    let site = site("127.0.0.1/32").await;
    let request = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
    for header in [V1, V2] {
        // All at once, and byte by byte.
        let all = [header, request].concat();
        let mut at_once = Http1::new(after(site.plain, &all).await);
        assert_eq!(at_once.answer().await.unwrap().text(), "203.0.113.9");
        let mut dripped = TcpStream::connect(local(site.plain)).await.unwrap();
        dripped.set_nodelay(true).unwrap();
        for byte in &all {
            dripped.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert_eq!(Http1::new(dripped).answer().await.unwrap().text(), "203.0.113.9");
    }
}

/// What the server says to these bytes before it ends the connection.
async fn answer_to(port: u16, bytes: &[u8]) -> Vec<u8> {
    let mut tcp = after(port, bytes).await;
    let mut heard = Vec::new();
    // Closed or reset: both are the end.
    drop(soon("the end", tcp.read_to_end(&mut heard)).await);
    heard
}

#[tokio::test]
async fn without_a_header_a_load_balancer_is_not_served() {
    let site = site("127.0.0.0/8").await;
    let mut long = b"PROXY UNKNOWN ".to_vec();
    long.resize(5000, b'x');
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PROXY TCP4 here there 1 2\r\nGET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
        &long,
    ] {
        for port in [site.plain, site.port] {
            assert_eq!(answer_to(port, bytes).await, b"", "{}", bytes.escape_ascii());
        }
    }
    // One that only looks whether the port is open.
    drop(TcpStream::connect(local(site.plain)).await.unwrap());
    eventually("all are gone", async || site.server.counters().connections == 0).await;
    assert_eq!(said(site.plain, V1).await, "203.0.113.9", "others are served as before");
}

#[tokio::test]
async fn a_header_of_somebody_else_is_never_read() {
    let site = site("10.0.0.0/8").await;
    let mut client = Http1::new(after(site.plain, V1).await);
    assert_eq!(client.answer().await.unwrap().status, 400);
    assert!(
        TestClient::default()
            .connect_over(after(site.port, V2).await, Some("a.example"))
            .await
            .is_err()
    );
    assert_eq!(said(site.plain, b"").await, "127.0.0.1");
    assert_eq!(said_over_tls(site.port, b"", true).await, "127.0.0.1");
}

#[tokio::test(start_paused = true)]
async fn a_header_that_does_not_come_to_its_end_is_given_up_with_the_handshake() {
    let site = site("127.0.0.0/8").await;
    for port in [site.plain, site.port] {
        for begun in [&b""[..], b"PROXY TCP4 203.0.113.9 "] {
            let began = tokio::time::Instant::now();
            assert_eq!(answer_to(port, begun).await, b"");
            let took = began.elapsed();
            assert!(took >= HANDSHAKE_TIMEOUT && took < HANDSHAKE_TIMEOUT * 2, "{took:?}");
        }
    }
    // The deadline is one for both: who sends the header late has less time for the hello.
    let mut tcp = TcpStream::connect(local(site.port)).await.unwrap();
    let began = tokio::time::Instant::now();
    tokio::time::sleep(HANDSHAKE_TIMEOUT * 2 / 3).await;
    tcp.write_all(V1).await.unwrap();
    assert_eq!(tcp.read(&mut [0]).await.unwrap_or(0), 0);
    assert!(began.elapsed() < HANDSHAKE_TIMEOUT * 4 / 3, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_header() {
    let site = site("127.0.0.0/8").await;
    let silent = TcpStream::connect(local(site.plain)).await.unwrap();
    eventually("it is taken in", async || site.server.counters().connections == 1).await;
    let began = std::time::Instant::now();
    assert_eq!(soon("the stop", site.server.stop(HANDSHAKE_TIMEOUT)).await, 0);
    assert!(began.elapsed() < HANDSHAKE_TIMEOUT / 2);
    drop(silent);
}

/// A program that serves on a port of its own until it is dropped.
async fn started(program: &str, arguments: &[&str], port: u16) -> Option<Child> {
    let present = bindery_testkit::programs::run(program, &["-v"], "").await?;
    assert!(present.ok(), "{present:?}");
    let child = Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    eventually("it listens", async || TcpStream::connect(local(port)).await.is_ok()).await;
    Some(child)
}

/// A port that nobody listens on. It may be taken by another in between; then the test fails.
fn free_port() -> u16 {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

#[tokio::test]
async fn haproxy_in_front_says_who_asks() {
    let site = site("127.0.0.0/8").await;
    for version in ["send-proxy", "send-proxy-v2", "send-proxy-v2-ssl"] {
        let (plain, tls) = (free_port(), free_port());
        let mut text =
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n"
                .to_owned();
        for (from, to) in [(plain, site.plain), (tls, site.port)] {
            writeln!(text, "listen l{from}\n bind 127.0.0.1:{from}\n server s 127.0.0.1:{to} source 127.0.0.77 {version}")
                .unwrap();
        }
        let file = site.setup.folder().join("haproxy.cfg");
        fs::write(&file, text).unwrap();
        let arguments = ["-db", "-f", file.to_str().unwrap()];
        let Some(_haproxy) = started("/usr/sbin/haproxy", &arguments, plain).await else { return };
        // From 127.0.0.5, which only the header can tell.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 5], 0))).unwrap();
        let mut client = Http1::new(socket.connect(local(plain)).await.unwrap());
        assert_eq!(client.get("a.example", "/").await.unwrap().text(), "127.0.0.5", "{version}");
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 6], 0))).unwrap();
        let tcp = socket.connect(local(tls)).await.unwrap();
        let stream = TestClient::with_alpn(&["h2"])
            .connect_over(tcp, Some("a.example"))
            .await
            .unwrap()
            .stream;
        let answer = Http2::new(stream).await.get("a.example", "/").await.unwrap();
        assert_eq!(answer.text(), "127.0.0.6", "{version}");
    }
}

/// Where a member with a PROXY protocol header is, and what its connections begin with.
async fn member() -> (u16, mpsc::UnboundedReceiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let sender = sender.clone();
            tokio::spawn(async move {
                let (mut heard, mut chunk) = (Vec::new(), [0; 4096]);
                let mut told = false;
                while let Ok(read @ 1..) = tcp.read(&mut chunk).await {
                    heard.extend_from_slice(&chunk[..read]);
                    let Some(at) = heard.windows(4).position(|four| four == b"GET ") else {
                        continue;
                    };
                    if heard.ends_with(b"\r\n\r\n") {
                        if !std::mem::replace(&mut told, true) {
                            drop(sender.send(heard[..at].to_vec()));
                        }
                        heard.clear();
                        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                        tcp.write_all(answer).await.unwrap();
                    }
                }
            });
        }
    });
    (port, receiver)
}

/// A site on a plain port before a member that is told by such a header.
fn telling(member: u16, version: ProxyProtocol) -> (Setup, u16, TestServer) {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.site("a", &[&format!("http/127.0.0.1:{port}:a.example")]);
    let mut proxy = proxy_to(member);
    proxy.upstream.proxy_protocol = Some(version);
    let server = setup.start_changed(|configuration| {
        Arc::make_mut(&mut configuration.table.sites[0]).root.action =
            RouteAction::Proxy(Box::new(proxy));
        behind_balancers(configuration, &[(Protocol::Http, port)], "127.0.0.9/32");
    });
    (setup, port, server)
}

async fn from(address: [u8; 4], port: u16) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((address, 0))).unwrap();
    socket.connect(local(port)).await.unwrap()
}

#[tokio::test]
async fn a_member_is_told_whom_each_connection_serves_and_it_serves_nobody_else() {
    for version in [ProxyProtocol::V1, ProxyProtocol::V2] {
        let (member, mut headers) = member().await;
        let (_setup, port, _server) = telling(member, version);
        let mut seen = Vec::new();
        let (mut one, mut two) = (Vec::new(), Vec::new());
        for clients in [&mut one, &mut two] {
            let tcp = from([127, 0, 0, 5], port).await;
            seen.push(tcp.local_addr().unwrap());
            clients.push(Http1::new(tcp));
        }
        // Each again and again, one between those of the other.
        for _ in 0..3 {
            for client in one.iter_mut().chain(&mut two) {
                assert_eq!(client.get("a.example", "/").await.unwrap().text(), "ok");
            }
        }
        for client in &seen {
            let header = soon("a header", headers.recv()).await.unwrap();
            let expected = match version {
                ProxyProtocol::V1 => {
                    format!("PROXY TCP4 127.0.0.5 127.0.0.1 {} {port}\r\n", client.port())
                        .into_bytes()
                }
                ProxyProtocol::V2 => {
                    let mut bytes =
                        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x05\x7f\0\0\x01".to_vec();
                    bytes.extend(client.port().to_be_bytes());
                    bytes.extend(port.to_be_bytes());
                    bytes
                }
            };
            assert_eq!(header, expected);
        }
        assert!(headers.try_recv().is_err(), "one connection for each client");
    }
}

#[tokio::test]
async fn connections_of_http2_serve_nobody_else_either() {
    // Another Bindery is the member.
    let back = site("127.0.0.0/8").await;
    let mut setup = Setup::new();
    let port = setup.port();
    setup.site("a", &[&format!("http/127.0.0.1:{port}:a.example")]);
    let mut proxy = proxy_to(back.port);
    proxy.upstream.servers[0].https = true;
    proxy.upstream.protocol = UpstreamProtocol::Http2;
    proxy.upstream.tls.insecure = true;
    proxy.upstream.tls.server_name = Some("a.example".to_owned());
    proxy.upstream.proxy_protocol = Some(ProxyProtocol::V2);
    let _server = setup.start_changed(|configuration| {
        Arc::make_mut(&mut configuration.table.sites[0]).root.action =
            RouteAction::Proxy(Box::new(proxy));
    });
    let mut one = Http1::new(from([127, 0, 0, 5], port).await);
    let mut two = Http1::new(from([127, 0, 0, 6], port).await);
    for _ in 0..3 {
        assert_eq!(one.get("a.example", "/").await.unwrap().text(), "127.0.0.5");
        assert_eq!(two.get("a.example", "/").await.unwrap().text(), "127.0.0.6");
    }
    assert_eq!(back.server.counters().connections, 2);
}

#[tokio::test]
async fn what_a_load_balancer_says_is_passed_on() {
    let (member, mut headers) = member().await;
    let (_setup, port, _server) = telling(member, ProxyProtocol::V1);
    let mut tcp = from([127, 0, 0, 9], port).await;
    tcp.write_all(V2).await.unwrap();
    assert_eq!(Http1::new(tcp).get("a.example", "/").await.unwrap().text(), "ok");
    assert_eq!(soon("a header", headers.recv()).await.unwrap(), V1);
}

#[tokio::test]
async fn nginx_behind_believes_what_it_is_told() {
    let nginx = free_port();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display();
    let text = format!(
        "daemon off; master_process off; error_log stderr; pid {path}/pid;\nevents {{}}\nhttp {{ access_log off;\n\
         client_body_temp_path {path}/b; proxy_temp_path {path}/p; fastcgi_temp_path {path}/f;\n\
         uwsgi_temp_path {path}/u; scgi_temp_path {path}/s;\n\
         server {{ listen 127.0.0.1:{nginx} proxy_protocol;\n\
         return 200 \"$proxy_protocol_addr $proxy_protocol_server_port\"; }} }}\n"
    );
    let file = folder.path().join("nginx.conf");
    fs::write(&file, text).unwrap();
    let arguments = ["-c", file.to_str().unwrap()];
    let Some(_nginx) = started("/usr/sbin/nginx", &arguments, nginx).await else { return };
    for version in [ProxyProtocol::V1, ProxyProtocol::V2] {
        let (_setup, port, _server) = telling(nginx, version);
        let mut client = Http1::new(from([127, 0, 0, 7], port).await);
        for _ in 0..2 {
            let answer = client.get("a.example", "/").await.unwrap();
            assert_eq!(answer.text(), format!("127.0.0.7 {port}"), "{version:?}");
        }
    }
}
