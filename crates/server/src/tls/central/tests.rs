//! A real folder, listed.

use std::{fs, path::Path};

use tempfile::TempDir;

use super::CentralFolder;

fn folder_with(names: &[&str]) -> (TempDir, CentralFolder) {
    let dir = tempfile::tempdir().unwrap();
    for name in names {
        put(dir.path(), name);
    }
    let central = CentralFolder::open(dir.path().to_owned(), Some("password.txt".into()));
    assert!(central.is_empty(), "opening lists nothing");
    central.refresh().unwrap();
    (dir, central)
}

fn put(dir: &Path, name: &str) {
    fs::write(dir.join(name), "").unwrap();
}

/// The name of the file that answers for `host`, with a mark when it is a wildcard's.
fn found(central: &CentralFolder, host: &str) -> Option<String> {
    let found = central.find(host)?;
    let name = found.files.file.file_name().unwrap().to_str().unwrap().to_owned();
    Some(if found.wildcard { format!("{name} (wildcard)") } else { name })
}

#[test]
fn the_host_s_own_file_comes_first_then_the_wildcard_one_label_above() {
    let (_dir, central) = folder_with(&["shop.example.com.pfx", "_.example.com.pfx"]);
    for (host, expected) in [
        ("shop.example.com", Some("shop.example.com.pfx")),
        ("SHOP.example.com.", Some("shop.example.com.pfx")),
        ("www.example.com", Some("_.example.com.pfx (wildcard)")),
        ("a.www.example.com", None),
        ("example.com", None),
        ("com", None),
        ("*.example.com", None),
        ("_.example.com", Some("_.example.com.pfx (wildcard)")),
        ("", None),
        ("../shop.example.com", None),
    ] {
        assert_eq!(found(&central, host).as_deref(), expected, "{host:?}");
    }
}

#[test]
fn names_are_compared_as_lower_case_a_labels_and_files_keep_their_spelling() {
    let (dir, central) =
        folder_with(&["Shop.Example.COM.PFX", "bücher.example.pfx", "_.Ümlaut.example.pfx"]);
    assert_eq!(found(&central, "shop.example.com").unwrap(), "Shop.Example.COM.PFX");
    assert_eq!(found(&central, "xn--bcher-kva.example").unwrap(), "bücher.example.pfx");
    assert_eq!(
        found(&central, "a.xn--mlaut-jva.example").unwrap(),
        "_.Ümlaut.example.pfx (wildcard)"
    );
    let file = central.find("shop.example.com").unwrap().files.file;
    assert_eq!(file, dir.path().join("Shop.Example.COM.PFX"));
}

#[test]
fn a_pfx_comes_before_a_pem_and_only_a_pfx_has_the_password() {
    let (_dir, central) = folder_with(&["a.example.pem", "a.example.pfx", "b.example.pem"]);
    assert_eq!(central.len(), 2);
    let pfx = central.find("a.example").unwrap().files;
    assert!(pfx.file.ends_with("a.example.pfx"));
    assert_eq!(pfx.password_file.as_deref(), Some(Path::new("password.txt")));
    let pem = central.find("b.example").unwrap().files;
    assert!(pem.file.ends_with("b.example.pem"));
    assert_eq!(pem.password_file, None);
}

#[test]
fn of_two_spellings_of_one_host_the_plain_one_answers() {
    let (_dir, central) = folder_with(&["A.example.pfx", "a.example.pfx"]);
    assert_eq!(found(&central, "a.example").unwrap(), "a.example.pfx");
}

#[test]
fn other_files_and_folders_are_ignored() {
    let (dir, central) = folder_with(&[
        "readme.txt",
        ".a.example.pfx",
        "a.example.pfx.tmp",
        "a.example.pfx~",
        "~a.example.pfx",
        "a example.pfx",
        ".pfx",
        "_.pfx",
        "pfx",
        "*.example.pfx",
        "a..example.pfx",
    ]);
    fs::create_dir(dir.path().join("folder.example.pfx")).unwrap();
    central.refresh().unwrap();
    // `_` alone is a label, if not one anybody asks for.
    assert_eq!(central.len(), 1);
    assert_eq!(found(&central, "a.example"), None);
}

#[test]
fn a_change_of_the_folder_is_seen_and_no_change_is_none() {
    let (dir, central) = folder_with(&["a.example.pfx"]);
    assert!(!central.refresh().unwrap());
    assert!(!central.refresh().unwrap());
    put(dir.path(), "b.example.pfx");
    assert!(central.refresh().unwrap());
    assert!(found(&central, "b.example").is_some());
    fs::remove_file(dir.path().join("a.example.pfx")).unwrap();
    assert!(central.refresh().unwrap());
    assert_eq!(found(&central, "a.example"), None);
    put(dir.path(), "notes.txt");
    assert!(!central.refresh().unwrap(), "no certificate came or went");
}

#[test]
fn a_file_that_comes_in_the_moment_of_the_listing_is_seen_by_the_next() {
    let (dir, central) = folder_with(&["a.example.pfx"]);
    let folder = fs::File::open(dir.path()).unwrap();
    let modified = folder.metadata().unwrap().modified().unwrap();
    put(dir.path(), "b.example.pfx");
    // As if the clock of the file system had not ticked.
    folder.set_modified(modified).unwrap();
    assert!(central.refresh().unwrap());
    assert!(found(&central, "b.example").is_some());
}

#[test]
fn a_folder_that_is_gone_is_an_error_and_its_files_stay_known() {
    let (dir, central) = folder_with(&["a.example.pfx"]);
    dir.close().unwrap();
    assert!(central.refresh().is_err());
    assert!(found(&central, "a.example").is_some());
}

#[test]
fn a_hundred_thousand_files_can_be_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let count = 100_000;
    for index in 0..count {
        put(dir.path(), &format!("host-{index}.example.pfx"));
    }
    let central = CentralFolder::open(dir.path().to_owned(), None);
    assert!(central.refresh().unwrap());
    assert_eq!(central.len(), count);
    for index in [0, 1, 50_000, 99_999] {
        let host = format!("host-{index}.example");
        assert_eq!(found(&central, &host), Some(format!("{host}.pfx")));
    }
    assert_eq!(found(&central, "host-100000.example"), None);
}
