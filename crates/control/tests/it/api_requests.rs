//! Requests under way, as the API lists them.

use std::net::TcpListener;

use bindery_control::api::{Page, RequestRecord};
use bindery_testkit::{eventually, http1::Http1};
use tokio::net::TcpStream;

use crate::api::Served;

async fn listed(served: &Served, query: &str) -> Page<RequestRecord> {
    let said = served.ask(&format!("GET /v1/requests{query}")).await;
    assert_eq!(said.status, 200, "{said:?}");
    serde_json::from_str(&said.text).unwrap()
}

#[tokio::test]
async fn requests_under_way_are_listed_filtered_and_in_pages() {
    // It takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = silent.local_addr().unwrap();
    let served = Served::new();
    for name in ["slow", "other"] {
        let on = served.on(name);
        let site = serde_json::json!({
            "name": name, "proxy": format!("http://{upstream}"), "bindings": [on],
        });
        assert_eq!(served.tell("POST /v1/sites", site).await.status, 201, "{name}");
    }
    assert!(listed(&served, "").await.items.is_empty());
    let mut clients = Vec::new();
    for (host, path) in [("slow", "/one?a=b"), ("slow", "/two"), ("other", "/three")] {
        let stream = TcpStream::connect(("127.0.0.1", served.setup.port)).await.unwrap();
        let mut client = Http1::new(stream);
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}.example\r\n\r\n");
        client.send(request).await.unwrap();
        clients.push(client);
    }
    eventually("all requests", async || listed(&served, "").await.items.len() == 3).await;

    let slow = listed(&served, "?site=SLOW").await.items;
    let mut urls: Vec<_> = slow.iter().map(|one| one.url.as_str()).collect();
    urls.sort_unstable();
    assert_eq!(urls, ["/one?a=b", "/two"]);
    let one = slow.iter().find(|one| one.url.starts_with("/one")).unwrap();
    assert_eq!((one.method.as_str(), one.host.as_str()), ("GET", "slow.example"));
    assert_eq!((one.site.as_deref(), one.client.is_loopback()), (Some("slow"), true));
    assert_eq!(listed(&served, "?search=THREE").await.items.len(), 1);
    assert_eq!(listed(&served, "?search=slow.example&site=other").await.items.len(), 0);
    assert!(listed(&served, "?elapsed_ms=600000").await.items.is_empty());
    eventually("they take longer", async || {
        listed(&served, "?elapsed_ms=20").await.items.len() == 3
    })
    .await;

    let first = listed(&served, "?limit=2").await;
    let after = first.next.unwrap();
    let second = listed(&served, &format!("?limit=2&after={after}")).await;
    assert_eq!((first.items.len(), second.items.len(), second.next), (2, 1, None));
    assert!(second.items[0].id > first.items[1].id);

    // One whose site has another name is found by that.
    let renamed = serde_json::json!({ "name": "renamed" });
    assert_eq!(served.tell("PATCH /v1/sites/other", renamed).await.status, 200);
    assert_eq!(listed(&served, "?site=renamed").await.items.len(), 1);
    served.ask("GET /v1/requests?limit=0").await.refused(400, "malformed");
    drop(clients);
    eventually("no request", async || listed(&served, "").await.items.is_empty()).await;
}
