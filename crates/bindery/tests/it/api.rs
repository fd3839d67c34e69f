//! The API of the running program: by curl at its socket, and by token on the loopback address.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    process::Command,
    time::{Duration, Instant},
};

use bindery_server::clock;

use crate::program::{Background, Done, Folder, PROGRAM, free_port, local, until};

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

/// A connection to the admin address, with the head of a request by this token sent.
fn begun(admin: u16, token: &str, asked: &str, more: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(local(admin)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(
        stream,
        "{asked} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n{more}\r\n"
    )
    .unwrap();
    BufReader::new(stream)
}

/// The lines up to one that is this.
fn lines_until(stream: &mut BufReader<TcpStream>, last: &str) -> String {
    let mut lines = String::new();
    loop {
        let start = lines.len();
        assert!(stream.read_line(&mut lines).unwrap() > 0, "it has ended: {lines}");
        if lines[start..].trim_end() == last {
            return lines;
        }
    }
}

#[test]
fn a_token_that_is_taken_back_ends_what_it_began() {
    let (port, admin) = (free_port(), free_port());
    let folder = Folder::new(&one_site(port, admin));
    let server = Background::serving(&folder);
    let file = folder.path().join("state/tokens.json");
    let add = |name: &str, role: &str| {
        let made = folder.run(&format!("token add {name} --role {role}"));
        made.check(0, &[]);
        made.out.trim().to_owned()
    };
    let remove = |name: &str| folder.run(&format!("token remove {name}")).check(0, &[]);
    // By hand, as an editor does: another file in its place.
    let edit = |name: &str| {
        let text = fs::read_to_string(&file).unwrap();
        let mut all: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        all.retain(|token| token["name"] != name);
        let new = file.with_extension("new");
        fs::write(&new, serde_json::to_string(&all).unwrap()).unwrap();
        fs::rename(new, &file).unwrap();
    };
    // By hand, in place.
    let empty = || fs::write(&file, "[]").unwrap();
    for name in ["one", "two", "three"] {
        let (other, token) = (add(&format!("{name}-stays"), "read"), add(name, "admin"));
        let listen = |token: &str| {
            let mut stream = begun(admin, token, "GET /v1/events", "");
            assert!(lines_until(&mut stream, "").starts_with("HTTP/1.1 200"));
            stream
        };
        let (mut stays, mut ends) = (listen(&other), listen(&token));
        let body = "{\"respond\": \"never\"}";
        // Who is told to go on was let in.
        let json = format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\nExpect: 100-continue\r\n",
            body.len()
        );
        let mut under_way = begun(admin, &token, "PATCH /v1/sites/shop", &json);
        assert!(lines_until(&mut under_way, "").starts_with("HTTP/1.1 100"));
        under_way.get_mut().write_all(&body.as_bytes()[..5]).unwrap();

        let began = Instant::now();
        match name {
            "one" => remove(name),
            "two" => edit(name),
            _ => empty(),
        }
        let mut rest = String::new();
        ends.read_to_string(&mut rest).unwrap();
        let took = began.elapsed();
        assert!(took < Duration::from_millis(1900), "{name}: {took:?}, so nobody told of it");
        assert!(!rest.contains("event:"), "{rest}");

        under_way.get_mut().write_all(&body.as_bytes()[5..]).unwrap();
        let mut answer = String::new();
        under_way.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 401"), "{name}: {answer}\n{}", server.log());
        assert!(answer.contains("was taken back"), "{answer}");
        let sites = format!("http://127.0.0.1:{admin}/v1/sites");
        assert_eq!(curl(&["-H", &format!("Authorization: Bearer {token}"), &sites]).0, 401);

        let text = format!("after-{name}");
        folder.run(&format!("site set shop respond={text}")).check(0, &[]);
        if name == "three" {
            let mut rest = String::new();
            stays.read_to_string(&mut rest).unwrap();
            assert!(!rest.contains("event:"), "it was taken back too: {rest}");
        } else {
            let told = lines_until(&mut stays, "event: changed");
            assert!(!told.contains("never"), "{told}");
        }
    }
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_token_whose_time_is_over_ends_what_it_began() {
    let (port, admin) = (free_port(), free_port());
    let folder = Folder::new(&one_site(port, admin));
    let server = Background::serving(&folder);
    let made = folder.run("token add short --role read --days 1");
    made.check(0, &[]);
    let token = made.out.trim().to_owned();
    let file = folder.path().join("state/tokens.json");
    let mut all: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let now = || clock::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    all[0]["expires"] = (now() + 3).into();
    fs::write(&file, all.to_string()).unwrap();
    let mut stream = begun(admin, &token, "GET /v1/events", "");
    assert!(lines_until(&mut stream, "").starts_with("HTTP/1.1 200"));
    stream.read_to_string(&mut String::new()).unwrap();
    assert!(Some(now()) >= all[0]["expires"].as_u64(), "not before");
    assert_eq!(server.stop(), Some(0));
}

/// So many change something at once, by every door.
const WRITERS: usize = 50;

#[test]
#[allow(clippy::too_many_lines, reason = "five doors")]
fn fifty_writers_by_all_doors_lose_nothing() {
    let (port, admin) = (free_port(), free_port());
    let folder = Folder::new(&one_site(port, admin));
    let server = Background::serving(&folder);
    let (path, file) = (folder.path(), folder.path().join("bindery.toml"));
    let socket = path.join("state/control.sock");
    let socket = socket.to_str().unwrap();
    let has = |name: &str| {
        let url = format!("http://localhost/v1/sites/{name}");
        curl(&["--unix-socket", socket, &url]).0 == 200
    };
    let links = path.join("links");
    fs::create_dir(&links).unwrap();
    std::os::unix::fs::symlink(PROGRAM, links.join("appcmd")).unwrap();
    let by_api = |name: &str| {
        let body = format!(
            "{{\"name\": \"{name}\", \"respond\": \"{name}\", \
             \"bindings\": [\"http/127.0.0.1:{port}:{name}.example\"]}}"
        );
        let json = ["-H", "Content-Type: application/json", "-d", &body];
        let url = ["--unix-socket", socket, "http://localhost/v1/sites"];
        // Who writes into the file at that very moment is the server's business.
        let (status, text) = curl(&[&json[..], &url].concat());
        assert_eq!(status, 201, "{text}");
    };
    let by_command = |name: &str| {
        let binding = format!("--binding http/127.0.0.1:{port}:{name}.example");
        folder.run(&format!("site add {name} respond={name} {binding}")).check(0, &[]);
    };
    let by_appcmd = |name: &str| {
        let binding = format!("/bindings:http/127.0.0.1:{port}:{name}.example");
        let mut command = Command::new(links.join("appcmd"));
        command.args(["add", "site", &format!("/name:{name}"), "/physicalPath:/", &binding]);
        let done = Done::of(&command.current_dir(path).output().unwrap());
        done.check(0, &[&format!("SITE object \"{name}\" added")]);
    };
    // Who edits by hand looks whether it is there afterwards: the file may have been another one
    // already when it was written.
    let by_hand = |name: &str| {
        until("an edit by hand", || {
            let text = fs::read_to_string(&file).unwrap();
            if !text.contains(&format!("\"{name}\"")) {
                let site = format!(
                    "[[site]]\nname = \"{name}\"\nrespond = \"{name}\"\n\
                     bindings = [\"http/127.0.0.1:{port}:{name}.example\"]\n"
                );
                let mut file = fs::OpenOptions::new().append(true).open(&file).unwrap();
                file.write_all(site.as_bytes()).unwrap();
            }
            has(name)
        });
    };
    std::thread::scope(|scope| {
        for number in 0..WRITERS {
            let (by_api, by_command) = (&by_api, &by_command);
            let (by_appcmd, by_hand) = (&by_appcmd, &by_hand);
            scope.spawn(move || match number % 5 {
                0 | 1 => by_api(&format!("api{number}")),
                2 => by_command(&format!("cli{number}")),
                3 => by_appcmd(&format!("appcmd{number}")),
                _ => by_hand(&format!("hand{number}")),
            });
        }
    });
    let doors = ["api", "api", "cli", "appcmd", "hand"];
    for number in 0..WRITERS {
        let name = format!("{}{number}", doors[number % 5]);
        assert!(has(&name), "{name} is lost");
        let host = format!("Host: {name}.example");
        let (status, text) = curl(&["-H", &host, &format!("http://127.0.0.1:{port}/")]);
        assert!(status == 200 && text == name || name.starts_with("appcmd"), "{name}: {text}");
    }
    let listed = folder.run("history --json -n 200").json();
    let numbers: Vec<_> =
        listed.as_array().unwrap().iter().map(|one| one["revision"].as_u64().unwrap()).collect();
    let expected: Vec<_> = (1..=numbers[0]).rev().collect();
    assert_eq!(numbers, expected, "one after the other");
    folder.run("diff").check(0, &["nothing differs"]);
    folder.run("site set shop respond=x --expect 1").check(1, &[]);
    assert_eq!(server.stop(), Some(0));
}

/// Fifty writers on one `applicationHost.config`: `appcmd`, `netsh`, commands and, where a server
/// runs, the API.
#[allow(clippy::too_many_lines, reason = "four doors")]
fn fifty_writers_of_application_host_config(is_served: bool) {
    const CONFIG: &str = "applicationHost.config";
    let port = free_port();
    let folder = Folder::new("\n[[certificate]]\nname = \"x\"\nfile = \"x.pem\"\n");
    folder.certificate("x", &["x.example"]);
    fs::create_dir(folder.path().join("www")).unwrap();
    let www = folder.path().join("www").display().to_string();
    let site = |name: &str, id: u32| {
        format!(
            "<site name=\"{name}\" id=\"{id}\"><application path=\"/\"><virtualDirectory path=\"/\" \
             physicalPath=\"{www}\" /></application><bindings><binding protocol=\"http\" \
             bindingInformation=\"127.0.0.1:{port}:{name}.example\" /></bindings></site>"
        )
    };
    let text = format!(
        "<configuration><!-- kept -->\n<system.applicationHost><sites>\n{}\n</sites>\
         </system.applicationHost></configuration>\n",
        site("first", 1)
    );
    fs::write(folder.path().join(CONFIG), text).unwrap();
    let server = is_served.then(|| Background::serving_in(&folder, CONFIG));
    let hash = folder.run(&format!("cert list --json --config {CONFIG}")).json();
    let hash = hash[0]["thumbprint"].as_str().unwrap().to_owned();
    let (path, links) = (folder.path(), folder.path().join("links"));
    fs::create_dir(&links).unwrap();
    for name in ["appcmd", "netsh"] {
        std::os::unix::fs::symlink(PROGRAM, links.join(name)).unwrap();
    }
    let linked = |name: &str, words: &[&str], expected: &str| {
        let mut command = Command::new(links.join(name));
        command.args(words).args(["--config", CONFIG]);
        Done::of(&command.current_dir(path).output().unwrap()).check(0, &[expected]);
    };
    let socket = path.join("state/control.sock");
    let write = |number: usize| match number % 5 {
        0 | 1 if is_served => {
            let body = format!(
                "{{\"name\": \"w{number}\", \"root\": \"{www}\", \
                 \"bindings\": [\"http/127.0.0.1:{port}:w{number}.example\"]}}"
            );
            let url = "http://localhost/v1/sites";
            let socket = socket.to_str().unwrap();
            let json = ["-H", "Content-Type: application/json", "-d", &body];
            let (status, text) = curl(&[&json[..], &["--unix-socket", socket, url]].concat());
            assert_eq!(status, 201, "{text}");
        }
        0 | 2 => {
            let binding = format!("--binding http/127.0.0.1:{port}:w{number}.example");
            let words = format!("site add w{number} --root {www} {binding} --config {CONFIG}");
            let done = folder.run(&words);
            assert_eq!(done.code, 0, "{}", done.err);
        }
        1 | 3 => {
            let binding = format!("/bindings:http/127.0.0.1:{port}:w{number}.example");
            let (name, folder) = (format!("/name:w{number}"), format!("/physicalPath:{www}"));
            let added = format!("SITE object \"w{number}\" added");
            linked("appcmd", &["add", "site", &name, &folder, &binding], &added);
        }
        _ => {
            let key = format!("hostnameport=w{number}.example:443");
            let (hash, id) = (format!("certhash={hash}"), "{4dc3e181-e14b-4a21-b022-59fc669b0914}");
            let id = format!("appid={id}");
            let words = ["http", "add", "sslcert", &key, &hash, &id];
            linked("netsh", &words, "SSL Certificate successfully added");
        }
    };
    std::thread::scope(|scope| {
        for number in 0..WRITERS {
            scope.spawn(move || write(number));
        }
    });
    let sites = folder.run(&format!("site list --json --config {CONFIG}")).json();
    let sites: Vec<_> =
        sites.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    let records = folder.run(&format!("netsh http show sslcert --config {CONFIG}"));
    for number in 0..WRITERS {
        let is_there = match number % 5 {
            4 => records.out.contains(&format!(": w{number}.example:443\n")),
            _ => sites.contains(&format!("w{number}").as_str()),
        };
        assert!(is_there, "w{number} is lost: {sites:?}\n{}", records.out);
    }
    let text = fs::read_to_string(folder.path().join(CONFIG)).unwrap();
    assert!(text.starts_with("<configuration><!-- kept -->\n<system.applicationHost><sites>\n"));
    assert!(text.contains(&site("first", 1)), "{text}");
    let listed = folder.run(&format!("history --json -n 200 --config {CONFIG}")).json();
    let numbers: Vec<_> =
        listed.as_array().unwrap().iter().map(|one| one["revision"].as_u64().unwrap()).collect();
    let expected: Vec<_> = (1..=WRITERS as u64 + 1).rev().collect();
    assert_eq!(numbers, expected, "one after the other");
    if let Some(server) = server {
        assert_eq!(server.stop(), Some(0));
    }
}

#[test]
fn fifty_writers_lose_nothing_in_application_host_config_with_a_server() {
    fifty_writers_of_application_host_config(true);
}

#[test]
fn fifty_writers_lose_nothing_in_application_host_config_without_a_server() {
    fifty_writers_of_application_host_config(false);
}

#[test]
fn tokens_are_tried_before_they_are_made_and_taken_back() {
    let folder = Folder::new("");
    fs::create_dir(folder.path().join("state")).unwrap();
    let file = folder.path().join("state/tokens.json");
    let tried = folder.run("token add one --role read --dry-run --state-dir state");
    tried.check(0, &["+ token one\nthis was a dry run"]);
    assert!(!file.exists());
    let made = folder.run("token add one --role read --json --state-dir state").json();
    assert_eq!((made["name"].as_str(), made["changed"].as_bool()), (Some("one"), Some(true)));
    assert!(made["token"].as_str().is_some_and(|token| token.len() > 20));
    assert_eq!(folder.run("token add one --role read --dry-run --state-dir state").code, 1);
    let before = fs::read_to_string(&file).unwrap();
    let tried = folder.run("token remove one --dry-run --json --state-dir state").json();
    assert_eq!(tried["changed"], false);
    assert_eq!(folder.run("token remove two --dry-run --state-dir state").code, 1);
    assert_eq!(fs::read_to_string(&file).unwrap(), before);
    folder.run("token remove one --state-dir state").check(0, &[]);
    assert_eq!(
        folder.run("token list --json --state-dir state").json().as_array().unwrap().len(),
        0
    );
}
