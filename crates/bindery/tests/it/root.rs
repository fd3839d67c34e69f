//! Giving up root: who the server is afterwards, and what it may still do.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::Path,
};

use rustix::process::Signal;

use crate::{
    program::{Background, Folder, free_port, local, skipped},
    run::plain,
};

fn site(name: &str, port: u16) -> String {
    format!(
        "[[site]]\nname = '{name}'\nrespond = '{name}'\n\
         bindings = ['http/127.0.0.1:{port}:{name}.example']\n"
    )
}

/// A folder that everybody may read, where this is root.
fn folder(config: &str) -> Option<Folder> {
    if !rustix::process::geteuid().is_root() {
        skipped("this is not root");
        return None;
    }
    let folder = Folder::new(config);
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    Some(folder)
}

/// A line of what the kernel knows of a process.
fn kernel(server: &Background, key: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A port that only root may open.
fn privileged_port() -> u16 {
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (600..1024).rev().find(free).unwrap()
}

/// User and group of `nobody` on this machine.
fn nobody() -> (u32, u32) {
    let text = fs::read_to_string("/etc/passwd").unwrap();
    let line = text.lines().find(|line| line.starts_with("nobody:")).unwrap();
    let mut fields = line.split(':').skip(2).map(|field| field.parse().unwrap());
    (fields.next().unwrap(), fields.next().unwrap())
}

#[tokio::test]
async fn root_is_given_up_and_low_ports_can_still_be_opened() {
    let Some(folder) = folder("") else { return };
    let low = privileged_port();
    let config = format!("[server]\nuser = 'nobody'\n{}", site("a", low));
    folder.configure(&config);
    let mut server = Background::serving(&folder);
    let log = server.logged("listening", 1);
    assert!(!log.contains("no status"), "{log}");

    let (uid, gid) = nobody();
    assert_eq!(kernel(&server, "Uid"), [uid; 4].map(|id| id.to_string()).join(" "));
    assert_eq!(kernel(&server, "Gid"), [gid; 4].map(|id| id.to_string()).join(" "));
    assert_eq!(kernel(&server, "Groups"), gid.to_string(), "its own, and none of root's");
    // NET_BIND_SERVICE is number 10.
    for set in ["CapEff", "CapPrm"] {
        assert_eq!(kernel(&server, set), "0000000000000400", "{set}");
    }
    for set in ["CapInh", "CapAmb"] {
        assert_eq!(kernel(&server, set), "0000000000000000", "{set}");
    }

    let another = privileged_port();
    folder.configure(&format!("{config}{}", site("b", another)));
    server.signal(Signal::HUP);
    server.logged("configuration reloaded", 1);
    assert_eq!(plain(local(another)).await.get("b.example", "/").await.unwrap().text(), "b");

    // Every thread, not only the first.
    for task in fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap() {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        assert!(status.contains("CapEff:\t0000000000000400\n"), "{status}");
    }
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn who_checks_as_root_sees_what_the_user_of_the_server_sees() {
    let config = "[server]\nuser = 'nobody'\n[[site]]\nname = 'a'\nroot = 'www'\n\
                  bindings = ['http/127.0.0.1:80:a.example']\n\
                  [[site.virtual_directories]]\npath = '/own'\nroot = 'own'\n";
    let Some(folder) = folder(config) else { return };
    let mode = |path: &str, mode: u32| {
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(folder.path().join(path), permissions).unwrap();
    };
    for (path, bits) in [("www", 0o755), ("own", 0o700)] {
        fs::create_dir(folder.path().join(path)).unwrap();
        mode(path, bits);
    }
    for (path, bits) in [("www/a.txt", 0o644), ("www/b.txt", 0o600)] {
        fs::write(folder.path().join(path), "x").unwrap();
        mode(path, bits);
    }
    let checked = folder.run("check --json");
    let problems = checked.json();
    assert_eq!((checked.code, problems.as_array().unwrap().len()), (1, 1), "{}", checked.out);
    assert_eq!(problems[0]["code"], "unreadable-folder");
    assert!(problems[0]["message"].as_str().unwrap().contains("Permission denied"));
    let ask = |path: &str| folder.run(&format!("explain http://a.example{path} --ip 127.0.0.1"));
    ask("/a.txt").check(0, &["200: "]);
    ask("/b.txt").check(0, &["! 403: /b.txt is refused: permission denied; let the"]);
}

#[test]
fn the_user_owns_the_state_folder_and_its_socket() {
    let port = free_port();
    let Some(folder) = folder(&format!("[server]\nuser = 'nobody'\n{}", site("a", port))) else {
        return;
    };
    let mut server = Background::serving(&folder);
    server.logged("listening", 1);
    let state = folder.path().join("state");
    let (uid, gid) = nobody();
    for path in [state.clone(), state.join("control.sock")] {
        let found = fs::metadata(&path).unwrap();
        assert_eq!((found.uid(), found.gid()), (uid, gid), "{}", path.display());
    }
    folder.run("status").check(0, &["problems       0\n"]);
    assert_eq!(server.stop(), Some(0));
    assert!(!state.join("control.sock").exists(), "the user may remove it");
}

#[test]
fn a_folder_that_was_there_is_not_given_away() {
    let port = free_port();
    let Some(folder) = folder(&format!("[server]\nuser = 'nobody'\n{}", site("a", port))) else {
        return;
    };
    let state = folder.path().join("state");
    fs::create_dir(&state).unwrap();
    let mut server = Background::serving(&folder);
    server.logged("commands cannot ask: the state folder cannot be used", 1);
    assert_eq!(fs::metadata(&state).unwrap().uid(), 0);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_user_that_is_not_there_is_an_error_that_says_what_to_do() {
    let config = format!("[server]\nuser = 'no-such-user'\n{}", site("a", free_port()));
    let Some(folder) = folder(&config) else { return };
    let done = folder.refused(&[]);
    assert_eq!(done.code, 1);
    assert_eq!(
        done.err.lines().last(),
        Some(
            "bindery: there is no user no-such-user; \
             create it: useradd --system --user-group no-such-user"
        )
    );
    assert!(!folder.path().join("state").exists(), "nothing was made before");
}

/// Who a server is to become: somebody else where this is root, and else the same.
fn other_user() -> (String, (u32, u32)) {
    let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    match own.0 {
        0 => ("nobody".to_owned(), nobody()),
        user => (bindery_control::api::user_name(user), own),
    }
}

/// Everything below a folder belongs to this user.
#[track_caller]
fn all_belong_to(path: &Path, owner: (u32, u32)) {
    let found = fs::symlink_metadata(path).unwrap();
    assert_eq!((found.uid(), found.gid()), owner, "{}", path.display());
    if found.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            all_belong_to(&entry.unwrap().path(), owner);
        }
    }
}

#[tokio::test]
async fn commands_and_a_server_of_another_user_change_the_same_files() {
    let (name, owner) = other_user();
    let port = free_port();
    let folder = Folder::new(&format!("[server]\nuser = '{name}'\n{}", site("a", port)));
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let iis = |at: &Path, host: &str| {
        let text = format!(
            "<configuration><system.applicationHost><sites><site name=\"{host}\" id=\"1\">\
             <application path=\"/\"><virtualDirectory path=\"/\" physicalPath=\"{}\" />\
             </application><bindings><binding protocol=\"http\" \
             bindingInformation=\"127.0.0.1:{port}:{host}.example\" /></bindings></site></sites>\
             </system.applicationHost></configuration>",
            at.display()
        );
        fs::write(at.join("applicationHost.config"), text).unwrap();
    };
    for config in ["bindery.toml", "applicationHost.config"] {
        if config == "applicationHost.config" {
            fs::remove_dir_all(folder.path().join("state")).unwrap();
            let companion = format!("[server]\nuser = '{name}'\n");
            folder.configure_in("bindery.toml", &companion);
            iis(folder.path(), "a");
        }
        for entry in fs::read_dir(folder.path()).unwrap() {
            chown(entry.unwrap().path(), Some(owner.0), Some(owner.1)).unwrap();
        }
        chown(folder.path(), Some(owner.0), Some(owner.1)).unwrap();
        let run = |words: &str| folder.run(&format!("{words} --config {config}"));
        let changed = |words: &str| {
            run(words).check(0, &["connections disturbed: 0"]);
            all_belong_to(folder.path(), owner);
        };
        // As root, where this is root, and without a server.
        changed(&format!("binding add a http/127.0.0.1:{port}:offline.example"));
        run("token add t --role read").check(0, &["t."]);
        run("appcmd add backup B").check(0, &["BACKUP object \"B\" added"]);
        all_belong_to(folder.path(), owner);
        for round in 0..2 {
            let server = Background::serving_in(&folder, config);
            assert_eq!(kernel(&server, "Uid").split(' ').next(), Some(&*owner.0.to_string()));
            changed(&format!("binding add a http/127.0.0.1:{port}:online{round}.example"));
            let host = format!("online{round}.example");
            let status = plain(local(port)).await.get(&host, "/").await.unwrap().status;
            assert_eq!(status, if config == "bindery.toml" { 200 } else { 403 });
            changed("undo");
            changed("undo");
            assert_eq!(server.stop(), Some(0));
            changed("site stop a");
            changed("site start a");
        }
    }
}

#[test]
fn a_file_that_the_server_may_not_replace_is_left_and_it_says_so() {
    let port = free_port();
    let Some(folder) = folder(&format!("[server]\nuser = 'nobody'\n{}", site("a", port))) else {
        return;
    };
    let before = fs::read_to_string(folder.path().join("bindery.toml")).unwrap();
    let server = Background::serving(&folder);
    let refused = folder.run("site set a respond=other");
    assert_eq!(refused.code, 1);
    assert!(
        refused.err.contains("nothing was changed: bindery.toml cannot be replaced"),
        "{refused:?}"
    );
    assert!(refused.err.contains("help: "), "{refused:?}");
    assert_eq!(fs::read_to_string(folder.path().join("bindery.toml")).unwrap(), before);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn what_root_writes_while_no_server_runs_is_whose_the_state_folder_is() {
    let Some(folder) = folder(&site("a", free_port())) else { return };
    folder.certificate("c", &["c.example"]);
    let owner = nobody();
    let state = folder.path().join("state");
    fs::create_dir(&state).unwrap();
    chown(&state, Some(owner.0), Some(owner.1)).unwrap();
    for words in [
        "binding add a http/127.0.0.1:1:b.example",
        "appcmd add backup B",
        "netsh http add sslcert ipport=0.0.0.0:444 appid={4dc3e181-e14b-4a21-b022-59fc669b0914}",
        "undo 1",
    ] {
        folder.run(words);
        all_belong_to(&state, owner);
    }
    let done = folder.run("history");
    assert!(done.out.contains("undo to 1"), "{done:?}");
}
