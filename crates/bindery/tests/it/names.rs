//! Names of upstream servers, as the resolver of the system gives their addresses. The program runs
//! with names of the test's own, in a mount namespace that nobody else sees.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener},
    process::Command,
};

use crate::{
    program::{Background, Folder, PROGRAM, free_port, local, skipped},
    run::plain,
};

/// The shell that runs `line` where `hosts` of the folder are the names of this machine.
fn among_own_names(folder: &Folder, line: &str) -> Command {
    let mut command = Command::new("unshare");
    let line = format!("mount --bind hosts /etc/hosts && {line}");
    command.args(["--mount", "--map-root-user", "sh", "-c", &line]).current_dir(folder.path());
    command
}

/// A server at an address of loopback that answers every connection with a text.
fn member(address: Ipv4Addr, text: &'static str) -> u16 {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            let length = text.len();
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{text}"
            )
            .unwrap();
        }
    });
    port
}

#[tokio::test]
async fn of_a_name_with_several_addresses_one_that_refuses_is_passed_over() {
    // Whichever address comes first, it is closed for one of the two.
    let (one, two) = (Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 2));
    let ports = [member(one, "one"), member(two, "two")];
    let port = free_port();
    let site = |name: &str, member: u16| {
        format!(
            "[[site]]\nname = '{name}'\nproxy = 'http://up.example:{member}'\n\
             bindings = ['http/127.0.0.1:{port}:{name}.example']\n"
        )
    };
    let folder = Folder::new(&[site("one", ports[0]), site("two", ports[1])].concat());
    let names = format!("127.0.0.1 localhost\n{one} up.example\n{two} up.example\n");
    fs::write(folder.path().join("hosts"), names).unwrap();
    let known = among_own_names(&folder, "getent ahosts up.example").output();
    let known = known.map(|known| String::from_utf8_lossy(&known.stdout).into_owned());
    if !known.is_ok_and(|known| known.contains("127.0.0.1 ") && known.contains("127.0.0.2 ")) {
        return skipped("this machine allows no names of a test's own");
    }
    let mut server = Background::of(&mut among_own_names(&folder, &format!("exec {PROGRAM} run")));
    server.wait_for(local(port));
    for expected in ["one", "two"] {
        let mut client = plain(local(port)).await;
        let answer = client.get(&format!("{expected}.example"), "/").await.unwrap();
        assert_eq!(answer.text(), expected, "{}", server.log());
    }
    assert_eq!(server.stop(), Some(0));
}
