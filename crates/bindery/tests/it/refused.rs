//! What is said where something cannot be: of the thing that was asked for, and what to do.

use std::fs;

use crate::{
    program::{Background, Done, Folder, free_port, local},
    session::typed,
    trap::application_host,
};

fn site(name: &str, port: u16) -> String {
    format!(
        "[[site]]\nname = \"{name}\"\nrespond = \"{name}\"\nbindings = [\"http/127.0.0.1:{port}:\"]\n"
    )
}

/// Nothing that is said has a line and column of this file.
#[track_caller]
fn has_no_place(said: &str, file: &str) {
    let begins = format!("{file}:");
    let mut behind = said.split(&begins).skip(1);
    assert!(!behind.any(|rest| rest.starts_with(|c: char| c.is_ascii_digit())), "{said}");
}

#[test]
fn a_change_is_refused_by_what_it_asks_for_and_not_by_lines_that_nobody_has() {
    let port = free_port();
    let folder = Folder::new(&site("a", port));
    let refused = |folder: &Folder| {
        for (command, texts) in [
            (
                format!("bindery site add b --root nowhere --binding http/127.0.0.1:{port}:b"),
                ["error[unreadable-folder]: the folder", "of site \"b\" cannot be read"],
            ),
            (
                "bindery site set a colour=red".to_owned(),
                ["error[unknown-key]: site \"a\": \"colour\"", "no key"],
            ),
            (
                format!("bindery site add c --root . --binding http/127.0.0.1:{port}:"),
                ["error[duplicate-binding]: http/127.0.0.1:", "site \"c\" and of site \"a\""],
            ),
            (
                format!(
                    "bindery appcmd add site /name:d /physicalPath:/nowhere /bindings:http/*:{port}:d"
                ),
                ["/nowhere of site \"d\" cannot be read", "help: create it"],
            ),
        ] {
            let said = typed(folder.path(), &command);
            has_no_place(&said, "bindery.toml");
            let flat = said.split_whitespace().collect::<Vec<_>>().join(" ");
            for text in texts {
                assert!(flat.contains(text), "{text:?} is missing\n{said}");
            }
        }
    };
    refused(&folder);
    let server = Background::serving(&folder);
    refused(&folder);
    // What somebody wrote into the file is there to be looked at.
    folder.configure(&(site("a", port) + "colour = \"red\"\n"));
    let said = typed(folder.path(), "bindery site stop a");
    assert!(said.contains("bindery.toml:8:1: site \"a\": \"colour\""), "{said}");
    drop(server);
}

#[test]
fn the_best_certificate_is_the_same_by_every_door() {
    let port = free_port();
    let store = "[server]\ncentral_store = { folder = \"store\" }\n";
    let certificate = "[[certificate]]\nname = \"own\"\nfile = \"own.pem\"\n";
    let folder = Folder::new(&format!("{store}{certificate}{}", site("a", port)));
    folder.certificate("own", &["own.example", "other.example"]);
    fs::create_dir(folder.path().join("store")).unwrap();
    let leaf = folder.ca.leaf(&["stored.example"]);
    drop(leaf.write(&folder.path().join("store"), "stored.example"));
    let appcmd = |host: &str, flags: u8| {
        let binding =
            format!("protocol='https',bindingInformation='*:443:{host}',sslFlags='{flags}'");
        typed(folder.path(), &format!("bindery appcmd set site a \"/+bindings.[{binding}]\""))
    };
    let said = appcmd("own.example", 1)
        + &typed(folder.path(), "bindery binding add a https/*:443:other.example");
    assert!(!said.contains("ERROR") && !said.contains("error"), "{said}");
    let text = fs::read_to_string(folder.path().join("bindery.toml")).unwrap();
    assert!(!text.contains("\"central\""), "{text}");
    assert_eq!(folder.run("check").code, 0);
    // One that is only in the store is not the best, and it is said how it is asked for.
    let cli = typed(folder.path(), "bindery binding add a https/*:443:stored.example");
    for said in [appcmd("stored.example", 1), cli] {
        assert!(said.contains("no certificate covers stored.example"), "{said}");
        assert!(said.contains("the central store has a file for it"), "{said}");
    }
    let said = appcmd("stored.example", 3);
    assert!(said.contains("SITE object \"a\" changed"), "{said}");
    let text = fs::read_to_string(folder.path().join("bindery.toml")).unwrap();
    assert!(text.contains("certificate = \"central\""), "{text}");
    // What is in force stays as it is when another is added.
    let said = appcmd("other.example", 1);
    assert!(said.contains("duplicate"), "{said}");
}

#[test]
fn an_import_brings_the_central_store_along() {
    let folder = Folder::new("");
    let iis = folder.path().join("iis");
    fs::create_dir_all(iis.join("store")).unwrap();
    let leaf = folder.ca.leaf(&["a.example"]);
    drop(leaf.write(&iis.join("store"), "a.example"));
    let text = "version = 1\n[server]\ncentral_store = { folder = \"store\" }\n";
    fs::write(iis.join("bindery.toml"), text).unwrap();
    let binding =
        r#"<binding protocol="https" bindingInformation="*:443:a.example" sslFlags="3" />"#;
    let site = format!(
        r#"<site name="a" id="1"><application path="/"><virtualDirectory path="/" physicalPath="{}" /></application><bindings>{binding}</bindings></site>"#,
        iis.display()
    );
    fs::write(iis.join("applicationHost.config"), application_host(&[site])).unwrap();
    folder.run("import iis iis/applicationHost.config --to new.toml").check(0, &["1 site"]);
    let new = fs::read_to_string(folder.path().join("new.toml")).unwrap();
    let store = fs::canonicalize(iis.join("store")).unwrap();
    assert!(
        new.contains(&format!("central_store = {{ folder = \"{}\" }}", store.display())),
        "{new}"
    );
    assert_eq!(folder.run("check --config new.toml").code, 0);
    // Who has one keeps it.
    let own = "[server]\ncentral_store = { folder = \"iis/store\" }\n";
    folder.configure(own);
    let said = folder.run("import iis iis/applicationHost.config");
    assert!(said.out.contains("revision 2"), "{said:?}");
    let text = fs::read_to_string(folder.path().join("bindery.toml")).unwrap();
    assert!(text.contains("central_store = { folder = \"iis/store\" }"), "{text}");
    assert!(text.contains("certificate = \"central\""), "{text}");
}

#[test]
fn a_second_server_of_the_same_file_is_told_of_the_first() {
    let port = free_port();
    let folder = Folder::new(&site("a", port));
    let first = Background::serving(&folder);
    let Done { code, err, .. } = folder.refused(&[]);
    assert_eq!(code, 1);
    let what = format!("a server of bindery.toml runs already, process {}\n", first.pid());
    assert!(err.starts_with(&format!("bindery: {what}")), "{err}");
    assert!(err.contains("  help: it takes up what is changed in the file at once"), "{err}");
    assert!(err.contains(&format!("`kill {}`", first.pid())), "{err}");
    assert!(std::net::TcpStream::connect(local(port)).is_ok());
    assert_eq!(first.stop(), Some(0));
}

#[test]
fn certificate_records_that_are_broken_come_back_as_it_is_said() {
    let port = free_port();
    let folder = Folder::new(&site("a", port));
    let key = "ccs=8443";
    let id = "appid={4dc3e181-e14b-4a21-b022-59fc669b0914}";
    folder.run(&format!("netsh http add sslcert {key} {id}")).check(0, &[]);
    let file = folder.path().join("state/sslcert.json");
    let good = fs::read_to_string(&file).unwrap();
    fs::write(&file, good.split_at(good.len() / 2).0).unwrap();
    let Done { code, err, .. } = folder.refused(&[]);
    assert_eq!(code, 1);
    assert!(err.contains("state/sslcert.json cannot be read as certificate records: "), "{err}");
    assert!(err.contains(" at line "), "{err}");
    let commands: Vec<_> = err.lines().filter_map(|line| line.strip_prefix("       ")).collect();
    assert_eq!(commands.len(), 2, "{err}");
    let said = typed(folder.path(), &commands.join("\n"));
    assert!(said.contains("revision 4, "), "{said}");
    assert_eq!(fs::read_to_string(&file).unwrap(), good);
    drop(Background::serving(&folder));
}

#[test]
fn what_was_is_shown_while_the_file_has_errors() {
    let port = free_port();
    let folder = Folder::new(&site("a", port));
    folder.run("site set a respond=other").check(0, &["revision 2"]);
    let good = fs::read_to_string(folder.path().join("bindery.toml")).unwrap();
    let listed = folder.run("history").out;
    let differs = folder.run("diff 1 2").out;
    for broken in [format!("{good}colour = \"red\"\n"), format!("{good}[[")] {
        fs::write(folder.path().join("bindery.toml"), &broken).unwrap();
        let history = folder.run("history");
        history.check(0, &[&listed]);
        folder.run("diff 1 2").check(0, &[&differs]);
        assert_eq!(folder.run("diff 1 7").code, 1);
        // What cannot go without the file says what is wrong with it, and what to do.
        for command in ["site stop a", "diff 1", "diff", "undo"] {
            let Done { code, err, .. } = folder.run(command);
            assert_eq!(code, 1, "{command}: {err}");
            assert!(err.contains("bindery.toml has errors, and cannot be changed"), "{err}");
            assert!(err.contains("error[") && err.contains("  help: "), "{command}: {err}");
            assert!(err.lines().all(|line| line.chars().count() <= 80), "{err}");
        }
        assert_eq!(fs::read_to_string(folder.path().join("bindery.toml")).unwrap(), broken);
    }
    fs::write(folder.path().join("bindery.toml"), &good).unwrap();
    folder.run("history").check(0, &[&listed]);
}
