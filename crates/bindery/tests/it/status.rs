//! `bindery status`: what a running server says of itself.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
};

use bindery_testkit::tls::TestClient;

use crate::{
    program::{Background, Folder, free_port, local, until},
    run::plain,
};

fn two_sites(port: u16) -> String {
    format!(
        "[[site]]\nname = 'shop'\nid = 7\nrespond = 'hello'\n\
         bindings = ['http/127.0.0.1:{port}:shop.example', 'http/127.0.0.1:{port}:www.shop.example']\n\
         [[site]]\nname = 'old'\nid = 9\nstate = 'stopped'\nrespond = ''\n\
         bindings = ['http/127.0.0.1:{port}:old.example']\n"
    )
}

#[tokio::test]
async fn it_shows_what_a_server_does_as_text_and_as_json() {
    let port = free_port();
    let folder = Folder::new(&two_sites(port));
    let server = Background::serving(&folder);
    let mut client = plain(local(port)).await;
    for _ in 0..3 {
        assert_eq!(client.get("shop.example", "/").await.unwrap().status, 200);
    }
    let done = folder.run("status");
    done.check(0, &["requests       3\n", "handshakes     0 failed\n", "problems       0\n"]);
    let version = env!("CARGO_PKG_VERSION");
    let start = format!("bindery {version}, process {}, up ", server.pid());
    assert!(done.out.starts_with(&start), "{}", done.out);
    let middle =
        format!("configuration  bindery.toml (revision 1)\nlistening      127.0.0.1:{port}\n");
    assert!(done.out.contains(&middle), "{}", done.out);
    let sites = format!(
        "sites          2, 1 stopped\n     7  shop\n        http/127.0.0.1:{port}:shop.example\n        \
         http/127.0.0.1:{port}:www.shop.example\n     9  old  (stopped)\n        \
         http/127.0.0.1:{port}:old.example\n"
    );
    assert!(done.out.contains(&sites), "{}", done.out);

    let status = folder.run("status --json").json();
    assert_eq!(status["pid"], server.pid());
    assert_eq!(status["version"], version);
    assert_eq!(status["revision"], 1);
    assert_eq!(status["listeners"][0], format!("127.0.0.1:{port}"));
    assert_eq!(
        (&status["sites"][1]["id"], &status["sites"][1]["state"]),
        (&9.into(), &"stopped".into())
    );
    assert_eq!(status["connections"], 1);
    assert_eq!(status["requests_total"], 3);
    assert!(status["uptime_seconds"].is_u64() && status["connections_total"].is_u64());
    folder.run("status --state-dir state --config gone.toml").check(0, &["requests       3\n"]);
    assert_eq!(server.stop(), Some(0));
}

#[tokio::test]
async fn handshakes_that_fail_and_certificates_in_memory_are_counted() {
    let port = free_port();
    let folder = Folder::new(&format!(
        "[[certificate]]\nname = 'a'\nfile = 'a.pem'\n[[site]]\nname = 'a'\nrespond = ''\n\
         bindings = ['https/127.0.0.1:{port}:a.example']\n"
    ));
    folder.certificate("a", &["a.example"]);
    let server = Background::serving(&folder);
    let client = TestClient::default();
    assert!(client.connect(local(port), Some("a.example")).await.is_ok());
    assert!(client.connect(local(port), Some("b.example")).await.is_err());
    // Counted when the alert is on its way already.
    until("a handshake that failed", || {
        folder.run("status --json").json()["failed_handshakes"] == 1
    });
    folder.run("status").check(0, &["certificates   1 in memory\n"]);
    assert_eq!(server.stop(), Some(0));
}

#[tokio::test]
async fn connections_that_one_client_had_too_many_of_are_counted() {
    let port = free_port();
    let folder =
        Folder::new(&format!("[server]\nconnections_per_address_max = 1\n{}", two_sites(port)));
    let server = Background::serving(&folder);
    let mut first = plain(local(port)).await;
    assert_eq!(first.get("shop.example", "/").await.unwrap().text(), "hello");
    assert!(plain(local(port)).await.is_closed().await.unwrap());
    folder.run("status").check(0, &[", 1 refused: too many of one client\n"]);
    assert_eq!(folder.run("status --json").json()["connections_refused"], 1);
    assert_eq!(first.get("shop.example", "/").await.unwrap().text(), "hello", "it goes on");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_long_list_fits_on_a_terminal() {
    let port = free_port();
    let many: String = (0..40)
        .map(|number| {
            format!(
                "[[site]]\nname = 's{number}'\nrespond = ''\nbindings = [\
                 'http/127.0.0.1:{port}:s{number}.example', 'http/127.0.{number}.1:{port}:']\n"
            )
        })
        .collect();
    let folder = Folder::new(&many);
    let server = Background::serving(&folder);
    folder.run("status").check(0, &["  and 20 more sites\n", "problems       0\n"]);
    let status = folder.run("status --json").json();
    assert_eq!(status["sites"].as_array().unwrap().len(), 40);
    assert_eq!(status["listeners"].as_array().unwrap().len(), 40);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn without_a_server_it_says_so() {
    let folder = Folder::new("");
    let done = folder.run("status");
    assert_eq!((done.code, done.out.as_str()), (1, ""));
    assert!(
        done.err.starts_with("bindery: no server runs with this state folder ("),
        "{}",
        done.err
    );
    assert!(done.err.contains("/state/control.sock)"), "{}", done.err);
}

#[test]
fn the_socket_is_for_its_user_only_and_one_that_was_left_is_replaced() {
    let port = free_port();
    let folder = Folder::new(&two_sites(port));
    let path = folder.path().join("state/control.sock");
    fs::create_dir(folder.path().join("state")).unwrap();
    // What a server leaves that was killed.
    drop(UnixListener::bind(&path).unwrap());
    let done = folder.run("status");
    assert!(done.err.contains("no server runs with this state folder"), "{}", done.err);

    let server = Background::serving(&folder);
    folder.run("status").check(0, &["problems       0\n"]);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(server.stop(), Some(0));
    assert!(!path.exists());
}

#[tokio::test]
async fn a_configuration_that_names_no_folder_has_its_state_beside_it() {
    let port = free_port();
    let folder = Folder::new("");
    let file = folder.path().join("bindery.toml");
    fs::write(&file, format!("version = 1\n{}", two_sites(port))).unwrap();
    let server = Background::serving(&folder);
    folder.run("site stop shop").check(0, &["connections disturbed: 0\n"]);
    folder.run("status").check(0, &["(revision 2)\n", "2, 2 stopped\n"]);
    let state = folder.path().join(".bindery");
    assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(server.stop(), Some(0));
    folder.run("site start shop").check(0, &["revision 3, "]);
    folder.run("history").check(0, &["3  ", "2  ", "1  "]);
    assert!(state.join("history/records.jsonl").exists());
}

#[test]
fn a_state_folder_that_cannot_be_used_is_no_empty_history() {
    let folder = Folder::new("[[site]]\nname = 'a'\nrespond = 'a'\n");
    let state = folder.path().join("state");
    fs::write(&state, "no folder").unwrap();
    let said = format!("{}: ", fs::canonicalize(&state).unwrap().display());
    for words in ["history", "undo", "undo 1", "diff 1"] {
        let done = folder.run(words);
        let err = done.err.replace('\n', " ");
        assert_eq!(done.code, 1, "{words}: {done:?}");
        assert!(err.contains(&said), "{words}: {done:?}");
        assert!(!err.contains("ask as root"), "{words}: {done:?}");
    }
}

#[test]
fn a_server_that_breaks_off_is_not_said_to_have_changed_nothing() {
    use std::io::Write as _;
    let folder = Folder::new("[[site]]\nname = 'a'\nrespond = 'a'\n");
    let state = folder.path().join("state");
    fs::create_dir(&state).unwrap();
    let file = fs::canonicalize(folder.path()).unwrap().join("bindery.toml");
    let about = format!(
        "{{\"version\":\"1\",\"pid\":1,\"file\":{file:?},\"form\":\"toml\",\"revision\":1}}"
    );
    let socket = UnixListener::bind(state.join("control.sock")).unwrap();
    let server = std::thread::spawn(move || {
        let head = |stream: &std::os::unix::net::UnixStream| {
            let mut lines = std::io::BufRead::lines(std::io::BufReader::new(stream));
            lines.find(|line| line.as_ref().unwrap().is_empty());
        };
        let (mut first, _) = socket.accept().unwrap();
        head(&first);
        let length = about.len();
        write!(first, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{about}").unwrap();
        let (second, _) = socket.accept().unwrap();
        head(&second);
    });
    let done = folder.run("site stop a");
    server.join().unwrap();
    assert_eq!(done.code, 1, "{done:?}");
    assert!(!done.err.contains("nothing was changed"), "{done:?}");
    assert!(done.err.contains("`bindery history` shows whether"), "{done:?}");
}

#[test]
fn a_file_that_was_edited_and_is_not_in_force_is_told_of_and_not_compared() {
    let port = free_port();
    let folder = Folder::new(&two_sites(port));
    let server = Background::serving(&folder);
    let status = folder.run("status");
    assert!(!status.out.contains("edited"), "{status:?}");
    folder.configure("[[site\n");
    until("the edit is seen", || folder.run("status").out.contains("edited  "));
    let status = folder.run("status");
    status.check(0, &["not in force: errors 1\n  bindery.toml:4:7: ", "sites          2"]);
    let told = folder.run("status --json").json();
    assert_eq!(told["edited"][0]["code"], "syntax", "{told}");
    for words in ["diff", "diff --json"] {
        let done = folder.run(words);
        assert_eq!((done.code, done.out.as_str()), (1, ""), "{done:?}");
        assert!(done.err.contains("bindery.toml:4:7: "), "{done:?}");
    }
    folder.configure(&two_sites(port));
    until("it is mended", || !folder.run("status").out.contains("edited  "));
    folder.run("diff").check(0, &["nothing differs"]);
    assert_eq!(server.stop(), Some(0));
}
