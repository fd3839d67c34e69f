//! `bindery check`: what is wrong with the files that a configuration names, with place and help.
//! Whole answers are in `transcripts/`; with `REWRITE_TRANSCRIPTS` set they are written anew.

use std::{fs, path::PathBuf};

use bindery_testkit::{
    ca::{LeafOptions, TestCa, Validity},
    openssl::{PfxEncryption, made, write_pfx},
};
use serde_json::Value;

use crate::program::{Done, Folder};

/// A certificate `a` of `file` for a site with bindings that are good otherwise.
fn with_certificate(certificate: &str) -> String {
    format!(
        "[[certificate]]\nname = \"a\"\n{certificate}\n\n[[site]]\nname = \"a\"\n\
         respond = \"hello\"\nbindings = [\n  {{ on = \"https/*:443:a.example\", certificate = \"a\" }},\n]\n"
    )
}

fn valid(validity: Validity) -> LeafOptions<'static> {
    LeafOptions { validity, ..LeafOptions::default() }
}

/// What `check` prints is in the file of this name, `FOLDER` standing for where it ran.
#[track_caller]
fn transcript(folder: &Folder, name: &str) -> Done {
    let done = folder.run("check");
    let whole = fs::canonicalize(folder.path()).unwrap();
    let out = done.out.replace(whole.to_str().unwrap(), "FOLDER");
    let said = format!("$ bindery check; echo $?\n{out}{}\n", done.code);
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it/transcripts")
        .join(format!("{name}.txt"));
    if std::env::var_os("REWRITE_TRANSCRIPTS").is_some() {
        fs::write(&path, &said).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(said == expected, "{}:\n{expected}\nis not what was said:\n{said}", path.display());
    assert_eq!(done.err, "");
    done
}

/// That exactly one problem that is no hint is found: of this kind, at this text, saying this.
#[track_caller]
fn one_problem(folder: &Folder, (severity, code): (&str, &str), at: &str, says: &str) -> Value {
    let done = folder.run("check --json");
    let all = done.json();
    let mut found = all.as_array().unwrap().iter().filter(|one| one["severity"] != "hint");
    let problem = found.next().expect("a problem").clone();
    assert!(found.next().is_none(), "{all:#}");
    assert_eq!((&problem["severity"], &problem["code"]), (&severity.into(), &code.into()));
    assert_eq!(problem["file"], "bindery.toml");
    let text = fs::read_to_string(folder.path().join("bindery.toml")).unwrap();
    let place = |key: &str| usize::try_from(problem[key].as_u64().unwrap()).unwrap() - 1;
    let line = text.lines().nth(place("line")).unwrap();
    assert!(line[place("column")..].starts_with(at), "{problem:#}\n{line}");
    let message = problem["message"].as_str().unwrap();
    assert!(message.contains(says), "{message}");
    assert!(!problem["help"].as_str().unwrap().is_empty(), "{problem:#}");
    assert_eq!(done.code, i32::from(severity == "error"));
    problem
}

const ERROR: &str = "error";

#[test]
fn nothing_wrong_is_said_as_well() {
    let folder = Folder::new(&with_certificate("file = \"a.pem\""));
    folder.certificate("a", &["a.example"]);
    transcript(&folder, "no-problems");
    assert_eq!(folder.run("check --json").json().as_array().unwrap().len(), 1, "a hint");
}

#[test]
fn a_file_that_is_missing_is_marked() {
    let folder = Folder::new(&with_certificate("file = \"gone.pem\""));
    one_problem(&folder, (ERROR, "unreadable-file"), "gone.pem", "/gone.pem");
    transcript(&folder, "unreadable-file");

    let folder = Folder::new(&with_certificate("file = \"a.pem\"\nkey = \"gone.key\""));
    folder.certificate("a", &["a.example"]);
    one_problem(&folder, (ERROR, "unreadable-file"), "gone.key", "/gone.key");

    let certificate = "file = \"a.pfx\"\npassword_file = \"gone.txt\"";
    let folder = Folder::new(&with_certificate(certificate));
    fs::write(folder.path().join("a.pfx"), "").unwrap();
    one_problem(&folder, (ERROR, "unreadable-file"), "gone.txt", "/gone.txt");
}

#[test]
fn an_authority_for_clients_that_is_missing_is_marked() {
    let folder = Folder::new(
        &with_certificate("file = \"a.pem\"").replace(
            "certificate = \"a\" }",
            "certificate = \"a\", tls = { client_certificate = \"require\", client_ca = \"gone.pem\" } }",
        ),
    );
    folder.certificate("a", &["a.example"]);
    one_problem(&folder, (ERROR, "unreadable-file"), "gone.pem", "gone.pem");
}

#[test]
fn a_key_of_another_certificate_is_marked() {
    let folder = Folder::new(&with_certificate("file = \"a.crt\"\nkey = \"other.key\""));
    drop(folder.ca.leaf(&["a.example"]).write_apart(folder.path(), "a"));
    drop(folder.ca.leaf(&["a.example"]).write_apart(folder.path(), "other"));
    one_problem(&folder, (ERROR, "key-mismatch"), "other.key", "certificate a: ");
    transcript(&folder, "key-mismatch");
}

#[test]
fn a_certificate_that_is_over_or_has_not_begun_is_marked() {
    let folder = Folder::new(&with_certificate("file = \"a.pem\""));
    let leaf = |validity| {
        drop(folder.ca.leaf_with(&["a.example"], valid(validity)).write(folder.path(), "a"));
    };
    leaf(Validity::Expired);
    let says = "certificate a has expired ";
    one_problem(&folder, (ERROR, "certificate-expired"), "a.pem", says);
    leaf(Validity::NotYet);
    let says = "certificate a is not valid before ";
    one_problem(&folder, (ERROR, "certificate-not-yet-valid"), "a.pem", says);
}

#[test]
fn a_certificate_that_ends_soon_is_a_warning() {
    let folder = Folder::new(&with_certificate("file = \"a.pem\""));
    let now = bindery_server::clock::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let days = |number: u64| std::time::Duration::from_secs(number * 24 * 3600);
    let until = now + days(5) + std::time::Duration::from_secs(600);
    let validity = valid(Validity::Between(now - days(80), until));
    drop(folder.ca.leaf_with(&["a.example"], validity).write(folder.path(), "a"));
    let kind = ("warning", "certificate-expires-soon");
    one_problem(&folder, kind, "a.pem", "certificate a expires in 5 days");
    let done = transcript(&folder, "certificate-expires-soon");
    assert_eq!(done.code, 0, "it can be served");
}

#[test]
fn a_certificate_for_other_names_is_marked_at_the_binding() {
    let folder = Folder::new(&with_certificate("file = \"a.pem\""));
    folder.certificate("a", &["b.example", "*.c.example"]);
    let says = "certificate a does not cover a.example; it is for b.example, *.c.example";
    one_problem(&folder, (ERROR, "name-not-covered"), "a", says);
    transcript(&folder, "name-not-covered");
}

#[test]
fn a_name_that_no_certificate_covers_is_marked() {
    let folder = Folder::new(&with_certificate("file = \"a.pem\"").replace(
        "{ on = \"https/*:443:a.example\", certificate = \"a\" }",
        "\"https/*:443:a.example\", \"https/*:443:www.b.example\"",
    ));
    folder.certificate("a", &["a.example", "*.www.b.example"]);
    let says = "no certificate covers www.b.example";
    one_problem(&folder, (ERROR, "no-certificate"), "https/*:443:www.b.example", says);
    transcript(&folder, "no-certificate");
}

#[test]
fn a_folder_that_is_missing_is_marked() {
    let folder = Folder::new(
        "[[site]]\nname = \"a\"\nroot = \"www\"\nbindings = [\"http/*:80:a.example\"]\n",
    );
    let says = "of site \"a\" cannot be read: No such file or directory";
    one_problem(&folder, (ERROR, "unreadable-folder"), "www", says);
    transcript(&folder, "unreadable-folder");
    fs::write(folder.path().join("www"), "").unwrap();
    let says = "of site \"a\" cannot be read: Not a directory";
    one_problem(&folder, (ERROR, "unreadable-folder"), "www", says);

    let folder = Folder::new(
        "[server]\ncentral_store = { folder = \"gone\" }\n[[site]]\nname = \"a\"\nrespond = \"\"\n\
         bindings = [\"http/*:80:a.example\"]\n",
    );
    let says = "the central store ";
    one_problem(&folder, (ERROR, "unreadable-folder"), "", says);
}

#[test]
fn an_address_of_another_machine_is_marked() {
    // For documentation: no machine has it.
    let folder = Folder::new(
        "[[site]]\nname = \"a\"\nrespond = \"hello\"\nbindings = [\n  \"http/192.0.2.1:80:a.example\",\n]\n",
    );
    let says = "192.0.2.1 is no address of this machine";
    one_problem(&folder, (ERROR, "address-not-local"), "http/192.0.2.1:80:a.example", says);
    transcript(&folder, "address-not-local");
}

#[test]
fn a_file_that_holds_no_usable_certificate_is_marked() {
    let folder = Folder::new(&with_certificate("file = \"a.pem\""));
    let path = folder.path().join("a.pem");
    let leaf = TestCa::new().leaf(&["a.example"]);
    let broken = leaf.certificate_pem.replace('M', "!");
    let contents =
        ["", "hello", leaf.key_pem.as_str(), broken.as_str(), leaf.certificate_pem.as_str()];
    for content in contents {
        fs::write(&path, content).unwrap();
        one_problem(&folder, (ERROR, "bad-certificate"), "a.pem", "certificate a: ");
    }
    fs::write(&path, "hello").unwrap();
    transcript(&folder, "bad-certificate");
}

#[test]
fn a_wrong_password_is_not_shown() {
    let certificate = "file = \"a.pfx\"\npassword_file = \"password.txt\"";
    let folder = Folder::new(&with_certificate(certificate));
    let leaf = folder.ca.leaf(&["a.example"]);
    let written = write_pfx(&leaf, folder.path(), "a", "right-one", PfxEncryption::Aes256);
    let Some(_) = made(written) else { return };
    fs::write(folder.path().join("password.txt"), "wrong-one\n").unwrap();
    one_problem(&folder, (ERROR, "bad-certificate"), "", "password");
    let done = transcript(&folder, "wrong-password");
    assert!(!done.out.contains("wrong-one"));
    fs::write(folder.path().join("password.txt"), "right-one\n").unwrap();
    assert_eq!(folder.run("check").code, 0);
}

#[test]
fn a_central_store_is_looked_into_for_the_names_that_use_it() {
    let config = "[server]\ncentral_store = { folder = \"store\", password_file = \"password.txt\" }\n\
                  [[site]]\nname = \"a\"\nrespond = \"\"\nbindings = [\n\
                  { on = \"https/*:443:a.example\", certificate = \"central\" }]\n";
    let folder = Folder::new(config);
    let store = folder.path().join("store");
    fs::create_dir(&store).unwrap();
    fs::write(folder.path().join("password.txt"), "secret").unwrap();
    let says = "the central store has no file for a.example";
    one_problem(&folder, (ERROR, "no-certificate"), "central", says);
    let leaf = folder.ca.leaf(&["b.example"]);
    let Some(_) = made(write_pfx(&leaf, &store, "a.example", "secret", PfxEncryption::Aes256))
    else {
        return;
    };
    let says = "a.example.pfx does not cover a.example; it is for b.example";
    one_problem(&folder, (ERROR, "name-not-covered"), "central", says);
    fs::write(folder.path().join("password.txt"), "other").unwrap();
    one_problem(&folder, (ERROR, "bad-certificate"), "central", "password");
}

#[test]
fn all_problems_are_found_in_one_pass_and_counted() {
    let folder = Folder::new(
        "[[certificate]]\nname = \"a\"\nfile = \"gone.pem\"\n\n[[site]]\nname = \"a\"\nroot = \"www\"\n\
         colour = \"red\"\nbindings = [\n  \"https/192.0.2.1:443:a.example\",\n]\n",
    );
    let done = transcript(&folder, "many-problems");
    assert_eq!(done.code, 1);
    let places: Vec<(u64, u64)> = folder
        .run("check --json")
        .json()
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["line"].as_u64().unwrap(), one["column"].as_u64().unwrap()))
        .collect();
    assert!(places.is_sorted(), "{places:?}");
}

#[test]
fn what_routes_and_logs_name_is_looked_at() {
    let folder = Folder::new(
        r#"
[server]
access_log = "file/logs"

[[site]]
name = "a"
root = "www"
bindings = ["http/*:80:"]
basic_auth = { file = "passwords" }
error_pages = { 404 = "404.html" }

[[site.applications]]
path = "/api"
proxy = { to = ["https://127.0.0.1:9000", "unix:app.sock"], tls = { ca = "file" } }

[[site.applications]]
path = "/php"
root = "www"
fastcgi = "unix:file"

[[site.virtual_directories]]
path = "/images"
root = "images"
"#,
    );
    fs::create_dir(folder.path().join("www")).unwrap();
    fs::write(folder.path().join("file"), "no PEM").unwrap();
    transcript(&folder, "named-paths");
}

#[test]
fn what_routes_and_logs_name_is_good_once_it_is_there() {
    let folder = Folder::new(
        "[server]\naccess_log = 'not/yet'\n[[site]]\nname = 'a'\nroot = 'www'\n\
         bindings = ['http/*:80:']\nbasic_auth.file = 'passwords'\nerror_pages = { 404 = 'e' }\n\
         applications = [{ path = '/a', proxy = { to = ['https://b', 'unix:s'], tls.ca = 'ca.pem' } }]\n",
    );
    fs::create_dir(folder.path().join("www")).unwrap();
    for name in ["passwords", "e"] {
        fs::write(folder.path().join(name), "").unwrap();
    }
    drop(TestCa::self_signed(&["b"]).write(folder.path(), "ca"));
    let _listens = std::os::unix::net::UnixListener::bind(folder.path().join("s")).unwrap();
    let done = folder.run("check");
    assert_eq!((done.out.trim(), done.code), ("no problems", 0));
}

/// The mistakes that people make, on 80 columns.
#[test]
fn many_mistakes_are_readable() {
    let folder = Folder::new(include_str!("transcripts/mistakes.toml"));
    transcript(&folder, "mistakes");
}

#[test]
fn errors_of_the_file_beside_are_counted_and_fail() {
    let folder = Folder::new("[fastcgi]\n'C:\\php.exe' = 'ftp:no'\n");
    let sites = "<configuration><system.applicationHost><sites></sites>\
                 </system.applicationHost></configuration>";
    fs::write(folder.path().join("applicationHost.config"), sites).unwrap();
    let done = folder.run("check");
    assert!(done.out.contains("error[bad-value]: "), "{}", done.out);
    assert!(done.out.contains("bindery.toml:"), "{}", done.out);
    assert_eq!((done.out.lines().last(), done.code), (Some("1 error"), 1), "{}", done.out);
}
