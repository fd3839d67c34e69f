//! The reverse proxy before real servers: nginx, and a gRPC server with a gRPC client.

use std::{fs, path::PathBuf, process::Stdio, time::Duration};

use bindery_model::upstream::{Proxy, ServerAddress, Upstream, UpstreamProtocol, UpstreamServer};
use bindery_testkit::{ca::TestCa, eventually, soon};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::UnixStream,
    process::{Child, Command},
};

use crate::http1::bytes_of;
use crate::proxy::Front;
use crate::setup::https;

/// An nginx that serves a folder over Unix sockets, with TLS and without.
struct Nginx {
    folder: TempDir,
    ca: PathBuf,
    _child: Child,
}

impl Nginx {
    /// `None` where it is not installed, except where nothing may be skipped.
    async fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let authority = TestCa::new();
        let pair = authority.leaf(&["app.internal"]).write(folder.path(), "up");
        let ca = authority.write(folder.path(), "ca");
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|kind| format!("{kind}_temp_path {};\n", at(kind).display()))
            .collect();
        let text = format!(
            "daemon off; master_process off; pid {pid}; error_log stderr;\n\
             events {{}}\n\
             http {{ access_log off; {temporary} client_max_body_size 64m;\n\
             server {{ listen unix:{plain}; listen unix:{tls} ssl; listen unix:{http2} http2;\n\
             ssl_certificate {pair}; ssl_certificate_key {pair}; root {root};\n\
             location /put/ {{ dav_methods PUT DELETE; create_full_put_path on; }}\n\
             location /echo {{ add_header X-Got \"$http_x_forwarded_proto $host $ssl_server_name\"; return 204; }}\n\
             }} }}",
            pair = pair.display(),
            pid = at("pid").display(),
            plain = at("plain.sock").display(),
            tls = at("tls.sock").display(),
            http2 = at("http2.sock").display(),
            root = folder.path().display(),
        );
        fs::write(at("nginx.conf"), text).unwrap();
        let child = Command::new("nginx")
            .args(["-e", "stderr", "-p"])
            .arg(folder.path())
            .arg("-c")
            .arg(at("nginx.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        let child = started(child, "nginx")?;
        eventually("nginx listens", async || UnixStream::connect(at("http2.sock")).await.is_ok())
            .await;
        Some(Self { folder, ca, _child: child })
    }

    fn proxy(&self, socket: &str, https: bool) -> Proxy {
        let address = ServerAddress::Unix(self.folder.path().join(socket));
        let server = UpstreamServer { address, https, weight: 1, backup: false };
        Proxy::to(Upstream::of(vec![server]))
    }
}

/// A program that was started; `None`, with a line that says so, where it is not installed.
#[allow(clippy::print_stderr, reason = "a skipped test says so where tests speak")]
fn started(child: std::io::Result<Child>, name: &str) -> Option<Child> {
    match child {
        Ok(child) => Some(child),
        Err(_) if std::env::var_os("CI").is_none() => {
            eprintln!("skipped: {name} is not installed");
            None
        }
        Err(error) => panic!("{name} cannot be run: {error}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_nginx_arrive_whole_by_every_way() {
    let Some(nginx) = Nginx::start().await else { return };
    let large = bytes_of(8 * 1024 * 1024);
    fs::write(nginx.folder.path().join("large"), &large).unwrap();
    fs::write(nginx.folder.path().join("small"), "small").unwrap();
    let mut tls = nginx.proxy("tls.sock", true);
    tls.upstream.tls.ca = Some(nginx.ca.clone());
    tls.upstream.tls.server_name = Some("app.internal".to_owned());
    let mut http2 = nginx.proxy("http2.sock", false);
    http2.upstream.protocol = UpstreamProtocol::Http2;
    for proxy in [nginx.proxy("plain.sock", false), tls, http2] {
        let front = Front::new(proxy);
        let mut plain = front.http().await;
        let mut secure = https(front.tls, "a.example").await;
        let mut second = front.http2().await;
        for _ in 0..3 {
            assert_eq!(plain.get("a.example", "/small").await.unwrap().text(), "small");
            assert_eq!(second.get("a.example", "/small").await.unwrap().text(), "small");
            assert!(secure.get("a.example", "/large").await.unwrap().content == large);
            assert!(second.get("a.example", "/large").await.unwrap().content == large);
            assert_eq!(plain.get("a.example", "/none").await.unwrap().status, 404);
        }
        let answer = secure.get("a.example", "/echo").await.unwrap();
        assert_eq!(answer.status, 204);
        assert!(answer.field("x-got").unwrap().starts_with("https a.example"), "{answer:?}");
        // Up and down again.
        let put = format!(
            "PUT /put/x HTTP/1.1\r\nHost: a.example\r\nContent-Length: {}\r\n\r\n",
            large.len()
        );
        secure.send(put).await.unwrap();
        secure.send(&large).await.unwrap();
        assert!(matches!(soon("created", secure.head()).await.unwrap().status, 201 | 204));
        assert!(second.get("a.example", "/put/x").await.unwrap().content == large);
        let request = http::Request::put("https://a.example/put/y").body(()).unwrap();
        let answer = second.ask_with(request, "from HTTP/2".into()).await.unwrap();
        assert!(matches!(answer.status, 201 | 204));
        assert_eq!(plain.get("a.example", "/put/y").await.unwrap().text(), "from HTTP/2");
        let chunked = "PUT /put/z HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n";
        plain.send(chunked).await.unwrap();
        assert_eq!(soon("go on", plain.head()).await.unwrap().status, 100);
        plain.send("5\r\nhello\r\n6\r\n again\r\n0\r\n\r\n").await.unwrap();
        assert!(matches!(soon("created", plain.head()).await.unwrap().status, 201 | 204));
        assert_eq!(second.get("a.example", "/put/z").await.unwrap().text(), "hello again");
        for name in ["x", "y", "z"] {
            fs::remove_file(nginx.folder.path().join("put").join(name)).unwrap();
        }
    }
}

#[tokio::test]
async fn an_upstream_must_show_the_certificate_that_is_expected() {
    let Some(nginx) = Nginx::start().await else { return };
    fs::write(nginx.folder.path().join("small"), "small").unwrap();
    let other = TestCa::new().write(nginx.folder.path(), "other");
    let missing = nginx.folder.path().join("missing.pem");
    let own = nginx.ca.clone();
    let app = || Some("app.internal".to_owned());
    for (ca, server_name, insecure, status, why) in [
        (Some(own.clone()), app(), false, 200, "its authority and its name"),
        (Some(own.clone()), Some("other.internal".to_owned()), false, 502, "another name"),
        (Some(own), None, false, 502, "a Unix socket has no name of its own"),
        (Some(other), app(), false, 502, "another authority"),
        (Some(missing), app(), false, 502, "no file"),
        (None, app(), false, 502, "the system does not know it"),
        (None, app(), true, 200, "anybody will do"),
    ] {
        let mut proxy = nginx.proxy("tls.sock", true);
        let tls = &mut proxy.upstream.tls;
        (tls.ca, tls.server_name, tls.insecure) = (ca, server_name, insecure);
        let front = Front::new(proxy);
        let answer = front.http().await.get("a.example", "/small").await.unwrap();
        assert_eq!(answer.status, status, "{why}");
    }
    // What is spoken is agreed upon: this one speaks no HTTP/2 over TLS.
    let mut proxy = nginx.proxy("tls.sock", true);
    proxy.upstream.tls.insecure = true;
    proxy.upstream.tls.server_name = app();
    proxy.upstream.protocol = UpstreamProtocol::Http2;
    let front = Front::new(proxy);
    assert_eq!(front.http().await.get("a.example", "/small").await.unwrap().status, 502);
}

/// The Python of the system, which has Debian's packages.
const PYTHON: &str = "/usr/bin/python3";

const GRPC_SERVER: &str = r#"
import grpc, sys
from concurrent import futures
raw = lambda x: x
class Handler(grpc.GenericRpcHandler):
    def service(self, details):
        if details.method == "/t.T/Unary":
            def unary(request, context):
                context.send_initial_metadata((("x-first", "1"),))
                context.set_trailing_metadata((("x-last", "2"),))
                return request[::-1]
            return grpc.unary_unary_rpc_method_handler(unary)
        if details.method == "/t.T/Both":
            def both(requests, context):
                for request in requests:
                    yield b"echo " + request
            return grpc.stream_stream_rpc_method_handler(both)
        if details.method == "/t.T/Fail":
            def fail(request, context):
                context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not now")
            return grpc.unary_unary_rpc_method_handler(fail)
server = grpc.server(futures.ThreadPoolExecutor(4))
server.add_generic_rpc_handlers((Handler(),))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
server.wait_for_termination()
"#;

const GRPC_CLIENT: &str = r#"
import grpc, queue, sys
target, ca = sys.argv[1], open(sys.argv[2], "rb").read()
options = (("grpc.ssl_target_name_override", "a.example"),)
channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(ca), options)
unary = channel.unary_unary("/t.T/Unary")
for size in (0, 1, 100000):
    body = bytes(i % 251 for i in range(size))
    answer, call = unary.with_call(body, timeout=20)
    assert answer == body[::-1], size
    assert ("x-first", "1") in [tuple(x) for x in call.initial_metadata()]
    assert ("x-last", "2") in [tuple(x) for x in call.trailing_metadata()]
waiting = queue.Queue()
answers = channel.stream_stream("/t.T/Both")(iter(waiting.get, None), timeout=20)
for number in range(20):
    # The next is sent only when the answer to the last has come.
    waiting.put(b"%d" % number)
    assert next(answers) == b"echo %d" % number
waiting.put(None)
assert list(answers) == [] and answers.code() == grpc.StatusCode.OK
for name, code in (("Fail", grpc.StatusCode.FAILED_PRECONDITION), ("None", grpc.StatusCode.UNIMPLEMENTED)):
    try:
        channel.unary_unary("/t.T/" + name)(b"", timeout=20)
        raise SystemExit("no error from " + name)
    except grpc.RpcError as error:
        assert error.code() == code, error
print("all well")
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_goes_through_in_both_directions_with_its_status() {
    let folder = tempfile::tempdir().unwrap();
    let (server, client) = (folder.path().join("server.py"), folder.path().join("client.py"));
    fs::write(&server, GRPC_SERVER).unwrap();
    fs::write(&client, GRPC_CLIENT).unwrap();
    let child = Command::new(PYTHON).arg(&server).stdout(Stdio::piped()).kill_on_drop(true).spawn();
    let Some(mut child) = started(child, "python3-grpcio") else { return };
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = soon("the port of the gRPC server", lines.next_line()).await.unwrap();
    let Some(line) = line else {
        assert!(std::env::var_os("CI").is_none(), "python3-grpcio is not installed");
        return;
    };
    let mut proxy = crate::proxy::to(&[line.parse().unwrap()]);
    proxy.upstream.protocol = UpstreamProtocol::Http2;
    proxy.timeouts.idle = Duration::from_secs(20);
    let front = Front::new(proxy);
    let ca = front.ca_file();
    let output = Command::new(PYTHON)
        .arg(&client)
        .arg(format!("127.0.0.1:{}", front.tls))
        .arg(ca)
        .kill_on_drop(true)
        .output();
    let output = soon("the gRPC client", output).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
