//! `bindery run`: how it starts, how it ends, and what keeps it from starting.

use std::{
    fs::{self, File},
    net::{SocketAddr, TcpListener, TcpStream as StdTcpStream},
    time::{Duration, Instant},
};

use bindery_testkit::{
    http1::Http1,
    rustls::AlertDescription,
    tls::{Refused, TestClient},
};
use rustix::process::Signal;
use tokio::net::TcpStream;

use crate::program::{Background, Folder, free_port, local, until};

/// More than the buffers of a connection take, so that a client that stops reading stops the answer.
const LARGE: usize = 64 * 1024 * 1024;

/// A connection to a server, over plain HTTP.
pub(crate) async fn plain(address: SocketAddr) -> Http1<TcpStream> {
    Http1::new(TcpStream::connect(address).await.unwrap())
}

/// A server with one large file, and a client that has begun to read it.
async fn with_download(folder: &Folder, port: u16) -> (Background, Http1<TcpStream>) {
    fs::create_dir(folder.path().join("www")).unwrap();
    File::create(folder.path().join("www/large.bin")).unwrap().set_len(LARGE as u64).unwrap();
    let server = Background::serving(folder);
    let mut client = plain(local(port)).await;
    client.send("GET /large.bin HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
    assert_eq!(client.head().await.unwrap().status, 200);
    (server, client)
}

fn files(port: u16) -> String {
    format!(
        "[server]\ndrain_seconds = 600\n[[site]]\nname = 'a'\nroot = 'www'\n\
         bindings = ['http/127.0.0.1:{port}:a.example']\n"
    )
}

#[tokio::test]
async fn a_stop_lets_a_download_finish_and_takes_nobody_new() {
    let port = free_port();
    let folder = Folder::new(&files(port));
    let (mut server, mut client) = with_download(&folder, port).await;
    server.signal(Signal::TERM);
    until("the end of listening", || StdTcpStream::connect(local(port)).is_err());
    let mut left = LARGE;
    while left > 0 {
        let part = left.min(1024 * 1024);
        client.take(part).await.unwrap();
        left -= part;
    }
    assert!(client.is_closed().await.unwrap());
    assert_eq!(server.ended(), Some(0));
    let log = server.log();
    assert!(log.contains("stopping connections="), "{log}");
    assert!(log.trim_end().ends_with("stopped"), "{log}");
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    for second in [Signal::TERM, Signal::INT] {
        let port = free_port();
        let folder = Folder::new(&files(port));
        let (mut server, mut client) = with_download(&folder, port).await;
        server.signal(Signal::TERM);
        until("the end of listening", || StdTcpStream::connect(local(port)).is_err());
        let began = Instant::now();
        server.signal(second);
        assert_eq!(server.ended(), Some(0));
        assert!(began.elapsed() < Duration::from_secs(20), "it did not wait for the download");
        assert!(server.log().contains("stopped at once, by a second signal"));
        assert!(client.take(LARGE).await.is_err(), "the download is cut off");
    }
}

#[test]
fn an_interrupt_stops_it_too() {
    let port = free_port();
    let folder = Folder::new(&files(port));
    let mut server = Background::serving(&folder);
    server.signal(Signal::INT);
    assert_eq!(server.ended(), Some(0));
}

#[tokio::test]
async fn a_drain_time_of_nothing_cuts_off() {
    let port = free_port();
    let folder = Folder::new(&files(port).replace("600", "0"));
    let (mut server, _client) = with_download(&folder, port).await;
    server.signal(Signal::TERM);
    assert_eq!(server.ended(), Some(0));
    assert!(server.log().contains("cut off at the end of the drain time connections=1"));
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let folder = Folder::new(&files(port));
    let done = folder.refused(&[]);
    assert_eq!(done.code, 1);
    assert_eq!(
        done.err,
        format!(
            "bindery: cannot listen: 127.0.0.1:{port} is taken by another program \
             (`ss -ltnp 'sport = :{port}'` shows which): Address in use (os error 98)\n"
        )
        .replace("Address in use", "Address already in use")
    );
}

#[test]
fn a_second_server_does_not_share_the_port_and_leaves_the_first_as_it_is() {
    let port = free_port();
    let folder = Folder::new(&files(port));
    let first = Background::serving(&folder);
    for config in [files(port), files(port).replace("127.0.0.1", "*")] {
        folder.configure_in("other.toml", &config);
        let done = folder.refused(&["--config", "other.toml"]);
        assert_eq!(done.code, 1);
        assert!(done.err.contains(" is taken by another program"), "{}", done.err);
        folder.run("status").check(0, &["listening      127.0.0.1:"]);
    }
    assert_eq!(first.stop(), Some(0));
}

#[test]
fn a_server_that_cannot_have_the_socket_does_not_remove_it() {
    let (port, other) = (free_port(), free_port());
    let folder = Folder::new(&files(port));
    let first = Background::serving(&folder);
    folder.configure_in("other.toml", &files(other));
    let mut second = Background::serving_in(&folder, "other.toml");
    second.logged("another server uses this state_dir", 1);
    assert_eq!(second.stop(), Some(0));
    folder.run("status").check(0, &[&format!("process {},", first.pid())]);
    assert_eq!(first.stop(), Some(0));
    assert!(!folder.path().join("state/control.sock").exists());
}

#[test]
fn a_configuration_with_errors_is_not_served() {
    let port = free_port();
    let folder = Folder::new(&format!("{}colour = 'red'\n", files(port)));
    let done = folder.refused(&[]);
    assert_eq!(done.code, 1);
    assert!(done.err.starts_with("error[unknown-key]: "), "{}", done.err);
    assert!(done.err.contains("--> bindery.toml:9:1\n"), "{}", done.err);
    assert!(done.err.ends_with("1 error\n\nbindery: bindery.toml cannot be served\n"));
    assert!(StdTcpStream::connect(local(port)).is_err());
}

#[test]
fn a_configuration_that_is_not_there_is_named() {
    let folder = Folder::new("");
    let done = folder.refused(&["--config", "other.toml"]);
    assert_eq!(done.code, 1);
    assert_eq!(
        done.err,
        "bindery: other.toml cannot be read: No such file or directory (os error 2)\n"
    );
}

#[tokio::test]
async fn an_authority_for_clients_that_is_missing_stops_its_own_binding_only() {
    let port = free_port();
    let folder = Folder::new(&format!(
        "[[certificate]]\nname = 'a'\nfile = 'a.pem'\n\
         [[site]]\nname = 'a'\nrespond = ''\nbindings = [\n\
         'https/127.0.0.1:{port}:b.example',\n\
         {{ on = 'https/127.0.0.1:{port}:a.example',\n\
            tls = {{ client_certificate = 'require', client_ca = 'gone.pem' }} }}]\n"
    ));
    folder.certificate("a", &["a.example", "b.example"]);
    let mut server = Background::serving(&folder);
    let log = server.logged("[unreadable-file]", 1);
    assert!(log.contains("gone.pem"), "{log}");
    let client = TestClient::default();
    let refused = client.connect(local(port), Some("a.example")).await.unwrap_err();
    assert_eq!(refused.alert(), Some(AlertDescription::InternalError));
    assert!(client.connect(local(port), Some("b.example")).await.is_ok());
    assert_eq!(server.stop(), Some(0));
}

#[tokio::test]
async fn a_state_folder_that_cannot_be_used_is_a_warning() {
    let port = free_port();
    let folder = Folder::new(&files(port));
    fs::create_dir(folder.path().join("www")).unwrap();
    fs::write(folder.path().join("www/index.html"), "hello").unwrap();
    fs::write(folder.path().join("state"), "no folder").unwrap();
    let mut server = Background::serving(&folder);
    let log = server.logged("commands cannot ask: the state folder cannot be used", 1);
    assert!(log.contains(" WARN "), "{log}");
    assert_eq!(plain(local(port)).await.get("a.example", "/").await.unwrap().status, 200);
    assert_eq!(server.stop(), Some(0));
}

#[tokio::test]
async fn a_broken_certificate_is_logged_at_the_start_and_stops_its_own_names_only() {
    let port = free_port();
    let folder = Folder::new(&format!(
        "[[certificate]]\nname = 'good'\nfile = 'good.pem'\n\
         [[certificate]]\nname = 'broken'\nfile = 'broken.pem'\n\
         [[site]]\nname = 'a'\nrespond = 'hello'\nbindings = [\n\
         {{ on = 'https/127.0.0.1:{port}:good.example', certificate = 'good' }},\n\
         {{ on = 'https/127.0.0.1:{port}:broken.example', certificate = 'broken' }}]\n"
    ));
    folder.certificate("good", &["good.example"]);
    fs::write(folder.path().join("broken.pem"), "no certificate").unwrap();
    let mut server = Background::serving(&folder);
    let log = server.logged("[bad-certificate]", 1);
    let line = log.lines().find(|line| line.contains("[bad-certificate]")).unwrap();
    assert!(line.contains(" ERROR bindery.toml:9:9: certificate broken: "), "{line}");

    let client = TestClient::default();
    let refused = client.connect(local(port), Some("broken.example")).await.unwrap_err();
    assert_eq!(refused.alert(), Some(AlertDescription::InternalError));
    let good = client.connect(local(port), Some("good.example")).await;
    let good = good.map_err(|error: Refused| format!("{error:?}")).unwrap();
    let answer = Http1::new(good.stream).get("good.example", "/").await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    folder.run("status").check(0, &["problems       1", "error: certificate broken: "]);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn the_log_as_json_is_a_record_a_line() {
    let port = free_port();
    let folder = Folder::new(&files(port));
    let mut server = Background::start(folder.path(), &["run", "--log-json"]);
    server.wait_for(local(port));
    let log = server.logged("[unreadable-folder]", 1);
    for line in log.trim_end().lines() {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(record["level"].is_string() && record["message"].is_string(), "{record}");
    }
    assert_eq!(server.stop(), Some(0));
}
