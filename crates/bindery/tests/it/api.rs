//! The API of the running program: by curl at its socket, and by token on the loopback address.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use crate::program::{Background, Done, Folder, free_port};

fn curl(words: &[&str]) -> (u16, String) {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "20", "-w", "\n%{http_code}"]);
    let done = Done::of(&command.args(words).output().unwrap());
    assert_eq!(done.code, 0, "{}", done.err);
    let (text, status) = done.out.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), text.to_owned())
}

fn one_site(port: u16, admin: u16) -> String {
    format!(
        "[server]\nadmin = '127.0.0.1:{admin}'\n\
         [[site]]\nname = 'shop'\nrespond = 'hello'\n\
         bindings = ['http/127.0.0.1:{port}:shop.example']\n"
    )
}

#[test]
fn the_api_is_at_the_socket_and_with_a_token_at_the_admin_address_and_nowhere_else() {
    let (port, admin) = (free_port(), free_port());
    let folder = Folder::new(&one_site(port, admin));
    let server = Background::serving(&folder);

    let socket = folder.path().join("state/control.sock");
    let socket = socket.to_str().unwrap();
    let at_socket = ["--unix-socket", socket, "http://localhost/v1/sites/shop"];
    assert_eq!(curl(&at_socket).0, 200);
    let json = ["-H", "Content-Type: application/json"];
    let patch = ["-X", "PATCH", "-d", "{\"respond\": \"changed\"}"];
    let (status, text) = curl(&[&at_socket[..], &json, &patch].concat());
    assert_eq!(status, 200, "{text}");
    let site = format!("http://127.0.0.1:{port}/");
    let host = ["-H", "Host: shop.example"];
    assert_eq!(curl(&[&host[..], &[site.as_str()]].concat()), (200, "changed".to_owned()));

    // Nobody without a token gets further on the loopback address.
    let base = format!("http://127.0.0.1:{admin}");
    let sites = format!("{base}/v1/sites");
    assert_eq!(curl(&[&sites]).0, 401);
    assert_eq!(curl(&[&format!("{base}/metrics")]).0, 200);
    let made = folder.run("token add backup --role read --days 9");
    made.check(0, &[]);
    assert!(made.err.contains("shown once"), "{}", made.err);
    let token = format!("Authorization: Bearer {}", made.out.trim());
    let (status, text) = curl(&["-H", &token, &sites]);
    assert_eq!(status, 200, "{text}");
    let (status, text) = curl(&["-H", &token, "-X", "DELETE", &format!("{sites}/shop")]);
    assert_eq!(status, 403, "{text}");
    assert_eq!(curl(&["-H", &token, "-H", "Host: evil.example", &sites]).0, 403);
    let file = folder.path().join("state/tokens.json");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let secret = made.out.trim().split_once('.').unwrap().1;
    assert!(!fs::read_to_string(&file).unwrap().contains(secret));
    let listed = folder.run("token list");
    listed.check(0, &["backup  read     made "]);
    assert!(listed.out.contains("  ends "), "{}", listed.out);
    let listed = folder.run("token list --json");
    assert_eq!(listed.json()[0]["role"], "read");
    assert!(!listed.out.contains("hash"), "{}", listed.out);
    folder.run("token add backup --role admin").check(1, &[]);
    folder.run("token remove backup").check(0, &[]);
    assert_eq!(curl(&["-H", &token, &sites]).0, 401, "it was taken back");
    folder.run("token remove backup").check(1, &[]);

    // Who visits sites does not reach it.
    let there = format!("http://127.0.0.1:{port}/v1/sites");
    assert_eq!(curl(&[&host[..], &[there.as_str()]].concat()), (200, "changed".to_owned()));
    assert!(!server.log().contains(secret));
    assert_eq!(server.stop(), Some(0));
    assert!(!folder.path().join("state/control.sock").exists());
}
