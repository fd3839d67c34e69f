//! What systemd is told, and the sockets it passes in.

use std::{
    net::{SocketAddr, TcpListener, TcpStream as StdTcpStream},
    os::{fd::OwnedFd, unix::net::UnixDatagram},
    process::{Command, Stdio},
    time::Duration,
};

use rustix::{
    net::{AddressFamily, SocketType, bind, listen, sockopt},
    process::Signal,
};

use crate::{
    program::{Background, Folder, PROGRAM, free_port, local, skipped},
    run::plain,
};

fn site(port: u16) -> String {
    format!(
        "[[site]]\nname = 'a'\nrespond = 'hello'\nbindings = ['http/127.0.0.1:{port}:a.example']\n"
    )
}

/// What a service manager listens with.
struct Manager(UnixDatagram);

impl Manager {
    fn said(&self) -> String {
        let mut message = [0; 1024];
        let length = self.0.recv(&mut message).expect("a message");
        String::from_utf8(message[..length].to_vec()).unwrap()
    }
}

#[test]
fn readiness_reloads_and_the_stop_are_told() {
    let port = free_port();
    let folder = Folder::new(&site(port));
    let path = folder.path().join("notify");
    let manager = Manager(UnixDatagram::bind(&path).unwrap());
    manager.0.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut server = Background::of(
        Command::new(PROGRAM).arg("run").current_dir(folder.path()).env("NOTIFY_SOCKET", &path),
    );
    assert_eq!(manager.said(), "READY=1\n");
    assert!(StdTcpStream::connect(local(port)).is_ok(), "ready means ready");
    for text in [site(port), "colour = 'red'\n".to_owned()] {
        folder.configure(&text);
        server.signal(Signal::HUP);
        let reloading = manager.said();
        let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(time.trim_end().parse::<u64>().unwrap() > 0, "{reloading}");
        assert_eq!(manager.said(), "READY=1\n", "also when it was refused");
    }
    server.signal(Signal::TERM);
    assert_eq!(manager.said(), "STOPPING=1\n");
    assert_eq!(server.ended(), Some(0));
}

#[test]
fn a_manager_that_went_away_is_a_warning() {
    let port = free_port();
    let folder = Folder::new(&site(port));
    let mut server = Background::of(
        Command::new(PROGRAM)
            .arg("run")
            .current_dir(folder.path())
            .env("NOTIFY_SOCKET", folder.path().join("gone")),
    );
    server.logged("systemd cannot be told", 1);
    assert_eq!(server.stop(), Some(0));
}

/// A server with these two as its descriptors 3 and 4. A shell puts them there: `LISTEN_PID` is to
/// be the process that it becomes.
fn passed(folder: &Folder, third: OwnedFd, fourth: OwnedFd) -> Background {
    let script = "exec 3<&0 4<&1 </dev/null >/dev/null; LISTEN_PID=$$ exec \"$0\" run";
    Background::of(
        Command::new("sh")
            .args(["-c", script, PROGRAM])
            .current_dir(folder.path())
            .env("LISTEN_FDS", "2")
            .stdin(Stdio::from(third))
            .stdout(Stdio::from(fourth)),
    )
}

#[tokio::test]
async fn a_socket_that_is_passed_in_serves_its_endpoint_and_one_without_a_binding_is_closed() {
    // Not shared, so that nobody else could open it again.
    let (used, useless) =
        (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = used.local_addr().unwrap().port();
    let other = useless.local_addr().unwrap().port();
    let folder = Folder::new(&site(port));
    // Comes before the server does, and is not lost.
    let mut early = plain(local(port)).await;
    let mut server = passed(&folder, used.into(), useless.into());
    assert_eq!(early.get("a.example", "/").await.unwrap().text(), "hello");
    let text = "a socket was passed in that no binding needs; it is closed";
    let log = server.logged(text, 1);
    assert!(log.contains(&format!("{text} endpoint=127.0.0.1:{other}")), "{log}");
    assert!(StdTcpStream::connect(local(other)).is_err());
    assert_eq!(server.stop(), Some(0));
}

#[tokio::test]
async fn all_addresses_can_be_added_beside_a_socket_that_was_opened_to_be_shared() {
    for share in [true, false] {
        let one = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        sockopt::set_socket_reuseport(&one, share).unwrap();
        bind(&one, &local(0)).unwrap();
        listen(&one, 16).unwrap();
        let one = TcpListener::from(one);
        let port = one.local_addr().unwrap().port();
        let folder = Folder::new(&site(port));
        let useless = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut server = passed(&folder, one.into(), useless.into());
        let mut open = plain(local(port)).await;
        assert_eq!(open.get("a.example", "/").await.unwrap().text(), "hello");
        let everywhere = site(port).replace("'a'", "'b'").replace("127.0.0.1", "*");
        folder.configure(&format!("{}{everywhere}", site(port)));
        server.signal(Signal::HUP);
        if share {
            server.logged("configuration reloaded", 1);
            let elsewhere = SocketAddr::from(([127, 0, 0, 2], port));
            let answer = plain(elsewhere).await.get("a.example", "/").await.unwrap();
            assert_eq!(answer.text(), "hello");
        } else {
            server.logged(&format!("cannot listen: *:{port} is taken"), 1);
        }
        assert_eq!(open.get("a.example", "/").await.unwrap().text(), "hello");
        assert_eq!(server.stop(), Some(0));
    }
}

#[tokio::test]
async fn what_is_no_listening_socket_is_closed_with_a_warning() {
    let used = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = used.local_addr().unwrap().port();
    let folder = Folder::new(&site(port));
    let path = folder.path().join("datagrams");
    let datagrams = UnixDatagram::bind(&path).unwrap();
    let mut server = passed(&folder, datagrams.into(), used.into());
    server.logged("a descriptor was passed in that is no TCP socket", 1);
    assert_eq!(plain(local(port)).await.get("a.example", "/").await.unwrap().text(), "hello");
    assert!(UnixDatagram::unbound().unwrap().connect(&path).is_err(), "it is closed");
    assert_eq!(server.stop(), Some(0));
}

#[tokio::test]
async fn a_socket_for_each_of_both_families_serves_all_addresses() {
    let port = free_port();
    let Ok(sixth) = only_ipv6(port) else {
        skipped("no IPv6");
        return;
    };
    let fourth = TcpListener::bind(SocketAddr::from(([0, 0, 0, 0], port))).unwrap();
    let folder = Folder::new(&site(port).replace("127.0.0.1", "*"));
    let mut server = passed(&folder, sixth.into(), fourth.into());
    for address in [local(port), SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port))] {
        assert_eq!(plain(address).await.get("a.example", "/").await.unwrap().text(), "hello");
    }
    server.logged("listening", 1);
    assert_eq!(server.stop(), Some(0));
}

/// A socket for IPv6 alone.
fn only_ipv6(port: u16) -> rustix::io::Result<TcpListener> {
    let socket = rustix::net::socket(AddressFamily::INET6, SocketType::STREAM, None)?;
    sockopt::set_ipv6_v6only(&socket, true)?;
    bind(&socket, &SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 0], port)))?;
    listen(&socket, 16)?;
    Ok(socket.into())
}
