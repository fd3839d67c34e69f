//! What one client may have of the room for uploads without a length, and what programs are told of
//! clients.

use bindery_server::limits::FASTCGI_GATHERED_BYTES_PER_CLIENT_MAX;
use bindery_testkit::eventually;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpSocket, TcpStream},
};

use super::{
    Read, ask,
    php::{hash_of, site, value},
    read,
};
use crate::{attacks::queues, http1::bytes_of, setup::local};

const MIB: usize = 1024 * 1024;

const HEAD: &str = "POST /hash.php HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\
                    Transfer-Encoding: chunked\r\nContent-Type: a/b\r\n\r\n";

/// A connection of this client to a port.
async fn connect(client: &str, port: u16) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{client}:0").parse().unwrap()).unwrap();
    socket.connect(local(port)).await.unwrap()
}

/// The head of a request and so much of its content, in chunks. Who does not want it may close.
async fn begin(stream: &mut TcpStream, content: &[u8]) -> std::io::Result<()> {
    stream.write_all(HEAD.as_bytes()).await?;
    for chunk in content.chunks(MIB) {
        stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).await?;
        stream.write_all(chunk).await?;
        stream.write_all(b"\r\n").await?;
    }
    Ok(())
}

/// The answer to all of it.
async fn upload(client: &str, port: u16, content: &[u8]) -> Read {
    let mut stream = connect(client, port).await;
    if begin(&mut stream, content).await.is_ok() {
        drop(stream.write_all(b"0\r\n\r\n").await);
    }
    read(&mut stream).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_client_s_uploads_without_a_length_leave_room_for_those_of_others() {
    let Some(site) = site(2, "").await else { return };
    let most = usize::try_from(FASTCGI_GATHERED_BYTES_PER_CLIENT_MAX).unwrap();
    let large = bytes_of(most + MIB);
    let small = &large[..2 * MIB];
    let hash = hash_of(small).await;

    // Nearly all that it may have, in an upload that does not end.
    let mut greedy = connect("127.0.0.2", site.port).await;
    begin(&mut greedy, &large[..most - MIB]).await.unwrap();
    // Not before: what asks for room meanwhile would take it away from the upload.
    let port = greedy.local_addr().unwrap().port();
    eventually("the server has read it all", async || {
        queues([port; 2]).iter().all(|queue| queue == "00000000:00000000")
    })
    .await;
    eventually("the client has its share", async || {
        let refused = upload("127.0.0.2", site.port, small).await;
        assert!(matches!(refused.status(), 200 | 503), "{}", refused.status());
        refused.status() == 503 && refused.field("retry-after") == Some("10")
    })
    .await;
    assert_eq!(upload("127.0.0.3", site.port, small).await.text(), hash, "others have theirs");
    let within = &large[..MIB / 2];
    let answer = upload("127.0.0.2", site.port, within).await;
    assert_eq!(answer.text(), hash_of(within).await, "what is left is its own");

    // When it goes its share is free again.
    drop(greedy);
    eventually("the share is given back", async || {
        let answer = upload("127.0.0.2", site.port, small).await;
        answer.status() == 200 && answer.text() == hash
    })
    .await;

    // What is more than anybody may have would be taken with a length.
    assert_eq!(upload("127.0.0.3", site.port, &large).await.status(), 411);
}

#[tokio::test]
async fn a_script_is_told_who_asks_and_not_what_a_stranger_says() {
    let Some(mut site) = site(1, "").await else { return };
    let request = "GET /env.php HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\
                   X-Forwarded-For: 1.1.1.1, 192.0.2.9, 127.0.0.9\r\nX-Forwarded-Proto: https\r\n\
                   X-Forwarded-Host: evil.example\r\nX-Forwarded-Port: 444\r\n\
                   X-Forwarded-Prefix: /evil\r\nX_Forwarded_For: 1.1.1.1\r\n\
                   Forwarded: for=1.1.1.1;proto=https\r\n\r\n";
    let json = ask(site.port, request).await.text();
    assert!(!json.contains("FORWARDED") && !json.contains("1.1.1.1"), "{json}");
    assert_eq!(value(&json, "REMOTE_ADDR").as_deref(), Some("127.0.0.1"));
    assert_eq!(value(&json, "REQUEST_SCHEME").as_deref(), Some("http"));

    site.setup.line("[server]\ntrusted_proxies = [\"127.0.0.0/8\"]");
    site.setup.replace(&site.server);
    let json = ask(site.port, request).await.text();
    for (name, expected) in [
        ("REMOTE_ADDR", Some("192.0.2.9")),
        ("REMOTE_PORT", None),
        ("HTTPS", Some("on")),
        ("HTTP_X_FORWARDED_FOR", Some("192.0.2.9")),
        ("HTTP_X_FORWARDED_PROTO", Some("https")),
        ("HTTP_X_FORWARDED_HOST", Some("evil.example")),
        ("HTTP_X_FORWARDED_PORT", Some("444")),
        ("HTTP_X_FORWARDED_PREFIX", Some("/evil")),
        ("HTTP_FORWARDED", Some("for=192.0.2.9;host=evil.example;proto=https")),
    ] {
        assert_eq!(value(&json, name).as_deref(), expected, "{name} in {json}");
    }
    assert!(!json.contains("1.1.1.1"), "{json}");
}
