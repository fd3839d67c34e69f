//! SIGHUP: what a changed configuration does to a server that runs.

use std::{fs, net::TcpStream as StdTcpStream};

use bindery_testkit::{
    ca::{LeafOptions, Validity},
    http1::Http1,
    tls::TestClient,
};
use rustix::process::Signal;

use crate::{
    program::{Background, Folder, free_port, local, until},
    run::plain,
};

const RELOADED: &str = "configuration reloaded";
const REFUSED: &str = "the configuration was not reloaded; the old one stays in force";

/// A site over plain HTTP that answers with its name.
fn site(name: &str, address: &str, port: u16) -> String {
    format!(
        "[[site]]\nname = '{name}'\nrespond = '{name}'\n\
         bindings = ['http/{address}:{port}:{name}.example']\n"
    )
}

/// A certificate and a site that shows it.
fn secure(name: &str, port: u16) -> String {
    format!(
        "[[certificate]]\nname = '{name}'\nfile = '{name}.pem'\n\
         [[site]]\nname = '{name}'\nrespond = '{name}'\nbindings = [\n\
         {{ on = 'https/127.0.0.1:{port}:{name}.example', certificate = '{name}' }}]\n"
    )
}

impl Background {
    /// Reloads, for the `times`th time with this outcome. The log.
    #[track_caller]
    fn reload(&mut self, outcome: &str, times: usize) -> String {
        self.signal(Signal::HUP);
        self.logged(outcome, times)
    }
}

#[tokio::test]
async fn a_new_site_is_live_and_an_open_connection_goes_on() {
    let port = free_port();
    let folder = Folder::new(&secure("a", port));
    folder.certificate("a", &["a.example"]);
    folder.certificate("b", &["b.example"]);
    let mut server = Background::serving(&folder);
    let client = TestClient::default();
    let open = client.connect(local(port), Some("a.example")).await.unwrap();
    let mut open = Http1::new(open.stream);
    assert_eq!(open.get("a.example", "/").await.unwrap().text(), "a");

    folder.configure(&format!(
        "{}{}",
        secure("a", port).replace("respond = 'a'", "respond = 'new'"),
        secure("b", port)
    ));
    let log = server.reload(RELOADED, 1);
    assert!(log.contains("configuration reloaded disturbed=0"), "{log}");
    let new = client.connect(local(port), Some("b.example")).await.unwrap();
    assert_eq!(Http1::new(new.stream).get("b.example", "/").await.unwrap().text(), "b");
    assert_eq!(open.get("a.example", "/").await.unwrap().text(), "new", "judged by the new one");
    assert_eq!(server.stop(), Some(0));
}

#[tokio::test]
async fn an_edited_file_needs_no_signal() {
    let port = free_port();
    let folder = Folder::new(&site("a", "127.0.0.1", port));
    let mut server = Background::serving(&folder);
    folder.configure(&format!("{}colour = 'red'\n", site("a", "127.0.0.1", port)));
    let log = server.logged("the edited configuration cannot be served", 1);
    assert!(log.contains(" ERROR bindery.toml:8:1: "), "{log}");
    folder.configure(&format!("{}{}", site("a", "127.0.0.1", port), site("b", "127.0.0.1", port)));
    server.logged("the edited configuration is in force revision=2 disturbed=0", 1);
    assert_eq!(plain(local(port)).await.get("b.example", "/").await.unwrap().text(), "b");
    assert_eq!(server.stop(), Some(0));
    // Numbers go on.
    let server = Background::serving(&folder);
    folder.run("status").check(0, &["bindery.toml (revision 2)"]);
    assert_eq!(server.stop(), Some(0));
}

#[tokio::test]
async fn a_broken_file_changes_nothing_and_the_log_says_where() {
    let port = free_port();
    let folder = Folder::new(&site("a", "127.0.0.1", port));
    let mut server = Background::serving(&folder);
    let mut open = plain(local(port)).await;

    folder.configure(&format!(
        "{}{}colour = 'red'\n",
        site("a", "127.0.0.1", port),
        site("b", "*", 0)
    ));
    let log = server.reload(REFUSED, 1);
    let error = log.lines().find(|line| line.contains("[unknown-key]")).unwrap();
    assert!(error.contains(" ERROR bindery.toml:12:1: "), "{log}");
    assert!(log.contains(&format!("{REFUSED} error=it has 2 errors\n")), "{log}");
    assert_eq!(open.get("a.example", "/").await.unwrap().text(), "a");
    folder.run("status").check(0, &["bindery.toml (revision 1)", "problems       0\n"]);

    fs::write(folder.path().join("bindery.toml"), b"version = 1 \xff").unwrap();
    let log = server.reload(REFUSED, 2);
    assert!(log.contains("error=bindery.toml is not UTF-8: "), "{log}");
    fs::remove_file(folder.path().join("bindery.toml")).unwrap();
    let log = server.reload(REFUSED, 3);
    assert!(log.contains("error=bindery.toml cannot be read: No such file"), "{log}");
    assert_eq!(open.get("a.example", "/").await.unwrap().text(), "a");

    folder.configure(&format!("{}{}", site("a", "127.0.0.1", port), site("b", "127.0.0.1", port)));
    server.reload(RELOADED, 1);
    assert_eq!(open.get("b.example", "/").await.unwrap().text(), "b");
    assert_eq!(server.stop(), Some(0));
}

#[tokio::test]
async fn a_new_certificate_that_is_broken_is_refused() {
    let port = free_port();
    let folder = Folder::new(&secure("a", port));
    folder.certificate("a", &["a.example"]);
    fs::write(folder.path().join("b.pem"), "no certificate").unwrap();
    let mut server = Background::serving(&folder);
    folder.configure(&format!("{}{}", secure("a", port), secure("b", port)));
    let log = server.reload(REFUSED, 1);
    assert!(log.contains(": certificate b: ") && log.contains("[bad-certificate]"), "{log}");
    let client = TestClient::default();
    assert!(client.connect(local(port), Some("a.example")).await.is_ok());
    assert!(client.connect(local(port), Some("b.example")).await.is_err());
    assert_eq!(server.stop(), Some(0));
}

#[tokio::test]
async fn a_certificate_that_was_broken_before_is_in_nobodys_way() {
    let port = free_port();
    let folder = Folder::new(&secure("a", port));
    folder.certificate("b", &["b.example"]);
    let mut server = Background::serving(&folder);
    // At once: what the start has not looked at yet counts as well.
    folder.configure(&format!("{}{}", secure("a", port), secure("b", port)));
    server.reload(RELOADED, 1);
    let client = TestClient::default();
    assert!(client.connect(local(port), Some("b.example")).await.is_ok());
    assert!(client.connect(local(port), Some("a.example")).await.is_err());
    assert_eq!(server.stop(), Some(0));
}

#[tokio::test]
async fn a_certificate_that_expires_while_it_runs_is_in_nobodys_way() {
    let port = free_port();
    let folder = Folder::new(&secure("a", port));
    folder.certificate("a", &["a.example"]);
    folder.certificate("b", &["b.example"]);
    let mut server = Background::serving(&folder);
    // As if time had passed: the one in force has expired, and was good at the start.
    server.reload(RELOADED, 1);
    let expired = LeafOptions { validity: Validity::Expired, ..LeafOptions::default() };
    drop(folder.ca.leaf_with(&["a.example"], expired).write(folder.path(), "a"));
    folder.configure(&format!("{}{}", secure("a", port), secure("b", port)));
    server.reload(RELOADED, 2);
    assert!(TestClient::default().connect(local(port), Some("b.example")).await.is_ok());
    folder.run("status").check(0, &["error: certificate a has expired"]);

    // One that the configuration in force does not have is refused all the same.
    drop(folder.ca.leaf_with(&["c.example"], expired).write(folder.path(), "c"));
    let all = format!("{}{}{}", secure("a", port), secure("b", port), secure("c", port));
    folder.configure(&all);
    let log = server.reload(REFUSED, 1);
    assert!(log.contains("error=it has an error"), "{log}");
    assert!(log.contains(": certificate c has expired"), "{log}");
    assert_eq!(server.stop(), Some(0));
}

#[tokio::test]
async fn a_log_that_could_not_be_written_before_is_in_nobodys_way() {
    let port = free_port();
    let with_log = |text: &str| format!("[server]\naccess_log = 'bindery.toml/log'\n{text}");
    let folder = Folder::new(&with_log(&site("a", "127.0.0.1", port)));
    let mut server = Background::serving(&folder);
    let both = format!("{}{}", site("a", "127.0.0.1", port), site("b", "127.0.0.1", port));
    folder.configure(&with_log(&both));
    server.reload(RELOADED, 1);
    assert_eq!(plain(local(port)).await.get("b.example", "/").await.unwrap().text(), "b");
    let log = server.logged("lines of the access log were lost", 1);
    assert!(log.contains("bindery.toml/log"), "{log}");

    folder.configure(&with_log(&both).replace("toml/log", "toml/other"));
    let log = server.reload(REFUSED, 1);
    assert!(log.contains("[unwritable-folder]"), "one that is new is refused: {log}");
    assert_eq!(server.stop(), Some(0));
}

#[tokio::test]
async fn an_endpoint_that_is_removed_closes_and_the_others_stay() {
    let (port, other) = (free_port(), free_port());
    let both = format!("{}{}", site("a", "127.0.0.1", port), site("b", "127.0.0.1", other));
    let folder = Folder::new(&both);
    let mut server = Background::serving(&folder);
    let (mut a, mut b) = (plain(local(port)).await, plain(local(other)).await);
    assert_eq!(a.get("a.example", "/").await.unwrap().text(), "a");
    assert_eq!(b.get("b.example", "/").await.unwrap().text(), "b");
    folder.configure(&site("a", "127.0.0.1", port));
    let log = server.reload(RELOADED, 1);
    assert!(log.contains(&format!("no longer listening endpoint=127.0.0.1:{other}")), "{log}");
    // By the signal, or by the watch over the file, whichever was first.
    assert!(log.contains("configuration published revision=2 disturbed=1"), "{log}");
    assert!(b.is_closed().await.unwrap());
    until("the end of listening", || StdTcpStream::connect(local(other)).is_err());
    assert_eq!(a.get("a.example", "/").await.unwrap().text(), "a");
    folder.configure(&both);
    server.reload(RELOADED, 2);
    assert_eq!(plain(local(other)).await.get("b.example", "/").await.unwrap().text(), "b");
    assert_eq!(server.stop(), Some(0));
}

#[tokio::test]
async fn all_addresses_can_be_added_beside_one_and_taken_away_again() {
    let port = free_port();
    let one = site("a", "127.0.0.1", port);
    let folder = Folder::new(&one);
    let mut server = Background::serving(&folder);
    let mut a = plain(local(port)).await;
    assert_eq!(a.get("a.example", "/").await.unwrap().text(), "a");
    let elsewhere = std::net::SocketAddr::from(([127, 0, 0, 2], port));
    assert!(StdTcpStream::connect(elsewhere).is_err());

    folder.configure(&format!("{one}{}", site("b", "*", port)));
    let log = server.reload(RELOADED, 1);
    assert!(log.contains("configuration reloaded disturbed=0"), "{log}");
    assert_eq!(plain(elsewhere).await.get("b.example", "/").await.unwrap().text(), "b");
    assert_eq!(a.get("b.example", "/").await.unwrap().text(), "b");

    folder.configure(&one);
    server.reload(RELOADED, 2);
    until("the end of listening", || StdTcpStream::connect(elsewhere).is_err());
    assert_eq!(a.get("a.example", "/").await.unwrap().text(), "a");
    assert_eq!(server.stop(), Some(0));
}

#[tokio::test]
async fn a_port_that_somebody_else_has_is_refused() {
    let port = free_port();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let other = taken.local_addr().unwrap().port();
    let folder = Folder::new(&site("a", "127.0.0.1", port));
    let mut server = Background::serving(&folder);
    let both = format!("{}{}", site("a", "127.0.0.1", port), site("b", "127.0.0.1", other));
    folder.configure(&both);
    let log = server.reload(REFUSED, 1);
    assert!(
        log.contains(&format!("cannot listen: 127.0.0.1:{other} is taken by another")),
        "{log}"
    );
    drop(taken);
    server.reload(RELOADED, 1);
    assert_eq!(plain(local(other)).await.get("b.example", "/").await.unwrap().text(), "b");
    assert_eq!(server.stop(), Some(0));
}
