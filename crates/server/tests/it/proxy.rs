//! The reverse proxy: what an upstream gets, what the client gets, and what happens when either
//! does not behave.

use std::sync::{Arc, Mutex};

use bindery_model::{
    document::Configuration,
    site::RouteAction,
    upstream::{Proxy, ServerAddress, Upstream, UpstreamServer},
};
use bindery_testkit::{http1::Http1, server::TestServer, soon};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::setup::{Setup, http, https};

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
            site.root.action = RouteAction::Proxy(Box::new(proxy));
        }
    }
}

/// A server with one site, `a.example`, without TLS at the first port and with it at the second.
pub(crate) struct Front {
    pub(crate) plain: u16,
    pub(crate) tls: u16,
    pub(crate) server: TestServer,
    _setup: Setup,
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
        Self { plain, tls, server, _setup: setup }
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
    assert_eq!(
        https(front.tls, "a.example").await.get("a.example", "/").await.unwrap().text(),
        "hello"
    );
    assert_eq!(upstream.connections(), 1);
    assert_eq!(upstream.heads().len(), 6);
    let heads = upstream.heads();
    assert!(heads[0].starts_with("GET /a%2Fb//c?d=e HTTP/1.1\r\n"), "{}", heads[0]);
    assert!(heads[0].contains("\r\nhost: a.example\r\n"), "{}", heads[0]);
}
