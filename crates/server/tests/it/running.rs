//! Requests under way, as who looks at a server sees them: as long as they are, and no longer.

use std::time::Duration;

use bindery_server::running::RunningRequest;
use bindery_testkit::{eventually, http2::Http2, server::TestServer, soon};
use http::{Method, Request};

use crate::{
    setup::{connected, http},
    tunnel::{Met, Site, http2, proxy_to, stream2, switched, upstream_queue},
};

fn running(server: &TestServer) -> Vec<RunningRequest> {
    server.server().running()
}

async fn nothing_runs(server: &TestServer) {
    eventually("the end of all requests", async || running(server).is_empty()).await;
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn a_request_is_listed_until_its_answer_has_gone() {
    let (port, mut queue) = upstream_queue().await;
    let mut site = Site::new(proxy_to(port));
    let server = site.start();
    let mut client = http(site.plain).await;
    client.send("GET /slow?time=1 HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
    let mut met = soon("the request", queue.recv()).await.unwrap();
    let all = running(&server);
    let [one] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!((one.site.0, &one.method, one.host.as_str()), (1, &Method::GET, "a.example"));
    assert_eq!((one.url.as_str(), one.client.to_string().as_str()), ("/slow?time=1", "127.0.0.1"));
    let later = Duration::from_millis(30);
    eventually("time passes", async || running(&server)[0].elapsed > later).await;
    assert_eq!(running(&server)[0].id, one.id, "it is the same request");
    // The head of the answer is not its end.
    met.say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab").await;
    assert_eq!(client.head().await.unwrap().status, 200);
    client.take(2).await.unwrap();
    assert_eq!(running(&server).len(), 1, "half of it is to come");
    met.say("cd").await;
    assert_eq!(client.take(2).await.unwrap(), b"cd");
    nothing_runs(&server).await;
}

#[tokio::test]
async fn streams_of_one_connection_are_listed_each_and_gone_with_their_client() {
    let (port, mut queue) = upstream_queue().await;
    let mut site = Site::new(proxy_to(port));
    let server = site.start();
    let client = bindery_testkit::tls::TestClient::with_alpn(&["h2"]);
    let mut client = Http2::new(connected(&client, site.port, "a.example").await.stream).await;
    let (mut answers, mut met) = (Vec::new(), Vec::new());
    for path in ["/1", "/2", "/3"] {
        let request = Request::post(format!("https://a.example{path}")).body(()).unwrap();
        answers.push(client.begin(request).await.unwrap());
        met.push(soon("the request", queue.recv()).await.unwrap());
    }
    let all = running(&server);
    let mut urls: Vec<_> = all.iter().map(|one| one.url.as_str()).collect();
    urls.sort_unstable();
    assert_eq!(urls, ["/1", "/2", "/3"]);
    assert!(all.windows(2).all(|two| two[0].id < two[1].id), "{all:?}");
    // One is reset by its client, one is answered, and one ends with the connection.
    drop(answers.remove(0));
    eventually("the end of one", async || running(&server).len() == 2).await;
    let asked = |met: &Met| met.head.split(' ').nth(1).unwrap().to_owned();
    let second = met.iter_mut().find(|met| asked(met) == "/2").unwrap();
    second.say(OK).await;
    assert_eq!(bindery_testkit::http2::read(answers.remove(0)).await.unwrap().status, 200);
    eventually("the end of another", async || running(&server).len() == 1).await;
    assert_eq!(running(&server)[0].url, "/3");
    drop((client, answers));
    nothing_runs(&server).await;
}

#[tokio::test]
async fn a_client_that_goes_away_takes_its_request_along() {
    let (port, mut queue) = upstream_queue().await;
    let mut site = Site::new(proxy_to(port));
    let server = site.start();
    let mut client = http(site.plain).await;
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
    let _met = soon("the request", queue.recv()).await.unwrap();
    assert_eq!(running(&server).len(), 1);
    drop(client);
    nothing_runs(&server).await;
}

#[tokio::test]
async fn a_tunnel_is_a_request_under_way_as_long_as_it_lives() {
    let (port, mut queue) = upstream_queue().await;
    let mut site = Site::new(proxy_to(port));
    let server = site.start();
    let switching = tokio::spawn(async move {
        let mut met = Vec::new();
        for _ in 0..2 {
            let mut one = queue.recv().await.unwrap();
            one.switch().await;
            met.push(one);
        }
        met
    });
    let mut client = http(site.plain).await;
    switched(&mut client).await;
    let mut requests = http2(site.port).await;
    let mut stream = stream2(&mut requests, "test").await.into_body();
    let mut met = soon("both tunnels", switching).await.unwrap();
    // Bytes pass, so the requests of HTTP are over.
    met[0].say("hi").await;
    assert_eq!(client.take(2).await.unwrap(), b"hi");
    met[1].say("ho").await;
    assert_eq!(stream.hear(2).await, b"ho");
    let all = running(&server);
    let mut methods: Vec<_> = all.iter().map(|one| one.method.as_str()).collect();
    methods.sort_unstable();
    assert_eq!(methods, ["CONNECT", "GET"]);
    assert!(all.iter().all(|one| one.url == "/chat"), "{all:?}");
    // Both sides have ended.
    drop((client, met.remove(0)));
    eventually("the end of one", async || running(&server).len() == 1).await;
    drop((stream, requests, met));
    nothing_runs(&server).await;
}

#[tokio::test]
async fn what_is_answered_at_once_is_never_listed() {
    let mut setup = crate::setup::Setup::new();
    let port = setup.port();
    setup.site("a", &[&format!("http/127.0.0.1:{port}:a.example")]);
    let server = setup.start();
    let mut client = http(port).await;
    assert_eq!(client.get("a.example", "/").await.unwrap().text(), "a");
    assert!(running(&server).is_empty());
}
