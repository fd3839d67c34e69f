//! Certificates as real files: what is read, and every way it can be wrong.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use bindery_testkit::{
    ca::{KeyAlgorithm, LeafOptions, TestCa, TestLeaf, Validity},
    openssl::{
        PfxEncryption, encrypted_key, encrypted_traditional_key, made, run, traditional_key,
        write_pfx,
    },
};
use proptest::prelude::{any, prop, proptest};
use tempfile::TempDir;

use super::{
    Certificate, CertificateError, CertificateFiles, FileStamp, KeyKind, NotACertificate,
    facts_of_der, load,
};

fn files(file: impl Into<PathBuf>) -> CertificateFiles {
    CertificateFiles { file: file.into(), key: None, password_file: None }
}

fn files_apart(file: PathBuf, key: PathBuf) -> CertificateFiles {
    CertificateFiles { file, key: Some(key), password_file: None }
}

/// A folder for one test.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn put(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, contents).unwrap();
        path
    }

    /// What is wrong with a file of these contents, as the administrator reads it, with `DIR` for
    /// the folder.
    fn problem(&self, name: &str, contents: impl AsRef<[u8]>) -> String {
        self.problem_of(&files(self.put(name, contents)))
    }

    fn problem_of(&self, files: &CertificateFiles) -> String {
        let error = load(files).unwrap_err();
        let mut text = error.to_string();
        if let Some(source) = std::error::Error::source(&error) {
            text = format!("{text}: {source}");
        }
        text.replace(self.path().to_str().unwrap(), "DIR")
    }
}

/// The chain as DER, after proving that key and leaf sign and verify as one.
fn chain(certificate: &Certificate) -> Vec<&[u8]> {
    certificate.key.keys_match().unwrap();
    assert_eq!(certificate.facts.chain_length, certificate.key.cert.len());
    certificate.key.cert.iter().map(AsRef::as_ref).collect()
}

#[test]
fn chain_and_key_are_read_from_one_file_in_any_order_or_from_two() {
    let (folder, ca) = (Folder::new(), TestCa::new());
    let middle = ca.intermediate("Middle");
    let leaf = middle.leaf(&["a.example"]);
    let (leaf_pem, key, middle_pem) =
        (&leaf.certificate_pem, &leaf.key_pem, middle.certificate_pem());
    let expected = [leaf.certificate_der.as_slice(), middle.certificate_der()];
    for (text, moved) in [
        (format!("{leaf_pem}{middle_pem}{key}"), false),
        (format!("{key}{leaf_pem}{middle_pem}"), false),
        (format!("{leaf_pem}{key}{middle_pem}"), false),
        (format!("{middle_pem}{leaf_pem}{key}"), true),
        (format!("{leaf_pem}{middle_pem}{leaf_pem}{key}"), false),
        (format!("{middle_pem}{leaf_pem}{leaf_pem}{key}"), true),
    ] {
        let certificate = load(&files(folder.put("a.pem", &text))).unwrap();
        assert_eq!(chain(&certificate), expected, "{text}");
        assert_eq!(certificate.leaf_moved, moved, "{text}");
    }
    let (file, key) = leaf.write_apart(folder.path(), "a");
    assert_eq!(chain(&load(&files_apart(file, key)).unwrap()), expected);
}

#[test]
fn line_ends_marks_comments_and_other_blocks_do_not_matter() {
    let (folder, leaf) = (Folder::new(), TestCa::new().leaf(&["a.example"]));
    let text = format!("{}{}", leaf.chain_pem, leaf.key_pem);
    let crl = "-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n";
    let parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----";
    for text in [
        text.replace('\n', "\r\n"),
        format!("\u{feff}{text}"),
        format!("subject=CN = a\n{text}# end"),
        format!("{crl}{parameters}\n{text}"),
    ] {
        let certificate = load(&files(folder.put("a.pem", &text))).unwrap();
        assert_eq!(chain(&certificate), [leaf.certificate_der.as_slice()], "{text}");
    }
}

#[test]
fn every_kind_of_key_is_read_in_each_of_its_encodings() {
    let (folder, ca) = (Folder::new(), TestCa::new());
    for (key, kind) in [
        (KeyAlgorithm::EcdsaP256, KeyKind::EcdsaP256),
        (KeyAlgorithm::EcdsaP384, KeyKind::EcdsaP384),
        (KeyAlgorithm::EcdsaP521, KeyKind::EcdsaP521),
        (KeyAlgorithm::Ed25519, KeyKind::Ed25519),
        (KeyAlgorithm::Rsa2048, KeyKind::Rsa(2048)),
    ] {
        let leaf = ca.leaf_with(&["a.example"], LeafOptions { key, ..LeafOptions::default() });
        let mut encodings = vec![leaf.key_pem.clone()];
        if key != KeyAlgorithm::Ed25519 {
            encodings.extend(made(traditional_key(&leaf)));
        }
        for encoding in encodings {
            let path = folder.put("a.pem", format!("{}{encoding}", leaf.chain_pem));
            let certificate = load(&files(path)).unwrap();
            assert_eq!(certificate.facts.key_kind, kind);
            assert_eq!(chain(&certificate).len(), 1, "{kind}");
        }
    }
}

#[test]
fn a_certificate_and_a_key_are_read_as_der() {
    let (folder, leaf) = (Folder::new(), TestCa::new().leaf(&["a.example"]));
    let file = folder.put("a.cer", &leaf.certificate_der);
    let key = folder.put("a.der", &leaf.key_der);
    let certificate = load(&files_apart(file.clone(), key)).unwrap();
    assert_eq!(chain(&certificate), [leaf.certificate_der.as_slice()]);
    let problem = folder.problem_of(&files(file));
    assert!(problem.starts_with("there is no private key in DIR/a.cer"), "{problem}");
}

#[test]
fn what_is_missing_or_too_much_is_named_with_its_file() {
    let (folder, leaf) = (Folder::new(), TestCa::new().leaf(&["a.example"]));
    let TestLeaf { chain_pem, key_pem, .. } = &leaf;
    assert_eq!(folder.problem("a.pem", ""), "there is no certificate in DIR/a.pem");
    assert_eq!(folder.problem("a.pem", key_pem), "there is no certificate in DIR/a.pem");
    assert_eq!(
        folder.problem("a.pem", chain_pem),
        "there is no private key in DIR/a.pem, name the file that has it with `key`"
    );
    assert_eq!(
        folder.problem("a.pem", format!("{chain_pem}{key_pem}{key_pem}")),
        "there are 2 private keys in DIR/a.pem, keep one certificate with its key in a file"
    );
    let (file, _) = leaf.write_apart(folder.path(), "b");
    let empty = folder.put("empty.key", "");
    assert!(matches!(
        load(&files_apart(file, empty.clone())).unwrap_err(),
        CertificateError::NoKey { path } if path == empty
    ));
    let missing = folder.problem_of(&files(folder.path().join("missing.pem")));
    assert!(missing.starts_with("DIR/missing.pem could not be read: No such file"), "{missing}");
    let of_folder = folder.problem_of(&files(folder.path()));
    assert_eq!(of_folder, "DIR could not be read: not a regular file");
    assert_eq!(
        folder.problem("large.pem", vec![b'a'; 1024 * 1024 + 1]),
        "DIR/large.pem has more than 1048576 bytes"
    );
}

#[test]
fn a_key_that_belongs_to_no_certificate_is_refused() {
    let (folder, ca) = (Folder::new(), TestCa::new());
    let (one, other) = (ca.leaf(&["a.example"]), ca.leaf(&["a.example"]));
    assert_eq!(
        folder.problem("a.pem", format!("{}{}", one.chain_pem, other.key_pem)),
        "the private key in DIR/a.pem belongs to no certificate in DIR/a.pem"
    );
    let (file, _) = one.write_apart(folder.path(), "one");
    let (_, key) = other.write_apart(folder.path(), "other");
    assert_eq!(
        folder.problem_of(&files_apart(file, key)),
        "the private key in DIR/other.key belongs to no certificate in DIR/one.crt"
    );
}

#[test]
fn a_key_behind_a_password_in_pem_is_refused_with_what_to_do() {
    let (folder, leaf) = (Folder::new(), TestCa::new().leaf(&["a.example"]));
    for key in [encrypted_key(&leaf, "secret"), encrypted_traditional_key(&leaf, "secret")] {
        let Some(key) = made(key) else { return };
        let problem = folder.problem("a.pem", format!("{}{key}", leaf.chain_pem));
        assert!(problem.starts_with("the private key in DIR/a.pem is encrypted"), "{problem}");
        assert!(problem.contains("openssl pkey"), "{problem}");
    }
}

#[test]
fn a_key_that_cannot_sign_here_is_refused_with_its_kind() {
    let folder = Folder::new();
    for (arguments, expected) in [
        ("rsa:1024", "not supported: RSA with 1024 bits, at least 2048 are needed"),
        ("ec:secp256k1", "not supported: ECDSA on curve 1.3.132.0.10"),
        ("ed448:", "not supported: key algorithm 1.3.101.113"),
    ] {
        let (algorithm, option) = arguments.split_once(':').unwrap();
        let option = match algorithm {
            "rsa" => format!("rsa_keygen_bits:{option}"),
            _ => format!("ec_paramgen_curve:{option}"),
        };
        let mut arguments = vec!["genpkey", "-algorithm", algorithm];
        if algorithm != "ed448" {
            arguments.extend(["-pkeyopt", &option]);
        }
        let Some(key) = made(run(&arguments, &[])) else { return };
        let key_path = folder.put("a.key", &key);
        let request =
            ["req", "-x509", "-subj", "/CN=a.example", "-key", key_path.to_str().unwrap()];
        let Some(certificate) = made(run(&request, &[])) else { return };
        let problem = folder.problem("a.pem", [certificate, key].concat());
        assert!(problem.ends_with(expected), "{problem}");
    }
}

#[test]
fn broken_certificates_keys_and_pem_are_named() {
    let (folder, leaf) = (Folder::new(), TestCa::new().leaf(&["a.example"]));
    let TestLeaf { chain_pem, key_pem, .. } = &leaf;
    let nothing = |label: &str| format!("-----BEGIN {label}-----\nMAA=\n-----END {label}-----\n");
    assert_eq!(
        folder.problem("a.pem", format!("{chain_pem}{}{key_pem}", nothing("CERTIFICATE"))),
        "certificate 2 in DIR/a.pem cannot be read"
    );
    for label in ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"] {
        assert_eq!(
            folder.problem("a.pem", format!("{chain_pem}{}", nothing(label))),
            "the private key in DIR/a.pem cannot be read"
        );
    }
    assert_eq!(
        folder.problem("a.pem", format!("\n\n{}", chain_pem.replace("-----END", "-----AND"))),
        "DIR/a.pem is not well-formed pem: the block that begins in line 3 has no end"
    );
}

#[test]
fn a_pfx_is_known_by_its_contents_and_by_its_name() {
    let (folder, leaf) = (Folder::new(), TestCa::new().intermediate("Middle").leaf(&["a.example"]));
    let written = write_pfx(&leaf, folder.path(), "a", "", PfxEncryption::Aes256);
    let Some(path) = made(written) else { return };
    let certificate = load(&files(&path)).unwrap();
    assert_eq!(certificate.facts.names, ["a.example"]);
    assert_eq!(chain(&certificate).len(), 2);
    let bytes = fs::read(&path).unwrap();
    assert_eq!(load(&files(folder.put("a.bin", bytes))).unwrap().facts, certificate.facts);
    assert_eq!(
        folder.problem("b.PFX", "hello"),
        "DIR/b.PFX cannot be opened as pfx: it is damaged or no pfx: its outermost part"
    );
    let pem = format!("{}{}", leaf.chain_pem, leaf.key_pem);
    assert_eq!(load(&files(folder.put("c.pfx", pem))).unwrap().facts, certificate.facts);
}

#[test]
fn the_password_of_a_pfx_comes_from_its_file_without_one_line_end() {
    let (folder, leaf) = (Folder::new(), TestCa::new().leaf(&["a.example"]));
    let written = write_pfx(&leaf, folder.path(), "a", "secret ", PfxEncryption::Aes256);
    let Some(file) = made(written) else { return };
    let mut files = files(file);
    assert_eq!(
        folder.problem_of(&files),
        "DIR/a.pfx has a password, name a file that holds it with `password_file`"
    );
    let password_file = folder.put("password.txt", "");
    files.password_file = Some(password_file.clone());
    for password in ["secret ", "secret \n", "secret \r\n"] {
        fs::write(&password_file, password).unwrap();
        assert!(load(&files).is_ok(), "{password:?}");
    }
    for password in ["", "secret", "secret \n\n", " secret "] {
        fs::write(&password_file, password).unwrap();
        assert_eq!(
            folder.problem_of(&files),
            "the password in DIR/password.txt does not open DIR/a.pfx",
            "{password:?}"
        );
    }
    fs::write(&password_file, b"secret\xff").unwrap();
    assert_eq!(folder.problem_of(&files), "the password in DIR/password.txt is not text in utf-8");
    fs::write(&password_file, vec![b'a'; 5000]).unwrap();
    assert_eq!(folder.problem_of(&files), "DIR/password.txt has more than 4096 bytes");
    fs::remove_file(&password_file).unwrap();
    assert!(folder.problem_of(&files).starts_with("DIR/password.txt could not be read"));
}

#[test]
fn the_chain_of_a_pfx_is_made_by_following_the_issuers() {
    let (folder, ca) = (Folder::new(), TestCa::new());
    let upper = ca.intermediate("Upper");
    let lower = upper.intermediate("Lower");
    let mut leaf = lower.leaf(&["a.example"]);
    let stranger = TestCa::named("Stranger");
    // The command puts the leaf first; the others are as mixed as Windows leaves them.
    leaf.chain_pem = [
        leaf.certificate_pem.as_str(),
        ca.certificate_pem(),
        stranger.certificate_pem(),
        upper.certificate_pem(),
        lower.certificate_pem(),
    ]
    .concat();
    let written = write_pfx(&leaf, folder.path(), "a", "", PfxEncryption::TripleDes);
    let Some(file) = made(written) else { return };
    let certificate = load(&files(file)).unwrap();
    assert_eq!(
        chain(&certificate),
        [leaf.certificate_der.as_slice(), lower.certificate_der(), upper.certificate_der()]
    );
}

#[test]
fn the_facts_are_those_of_the_leaf() {
    let (folder, ca) = (Folder::new(), TestCa::named("Test \"Root\", R1"));
    let (from, until) = (Duration::from_secs(1_700_000_000), Duration::from_secs(1_800_000_000));
    let leaf = ca.leaf_with(
        &["Shop.Example.com", "*.shop.example.com", "192.0.2.1", "2001:db8::1"],
        LeafOptions {
            validity: Validity::Between(from, until),
            common_name: Some("ignored.example.com"),
            ..LeafOptions::default()
        },
    );
    let facts = load(&files(leaf.write(folder.path(), "a"))).unwrap().facts;
    assert_eq!(facts, facts_of_der(&leaf.certificate_der).unwrap());
    assert_eq!(facts.subject, "CN=ignored.example.com");
    assert_eq!(facts.issuer, "CN=Test \\\"Root\\\"\\, R1");
    assert_eq!(facts.names, ["shop.example.com", "*.shop.example.com"]);
    assert!(!facts.names_from_common_name);
    assert_eq!(
        facts.addresses,
        ["192.0.2.1", "2001:db8::1"].map(|text| text.parse::<IpAddr>().unwrap())
    );
    assert_eq!((facts.not_before, facts.not_after), (UNIX_EPOCH + from, UNIX_EPOCH + until));
    assert_eq!(facts.key_kind, KeyKind::EcdsaP256);
    assert_eq!((facts.chain_length, facts.self_signed), (1, false));
    assert!(facts_of_der(ca.certificate_der()).unwrap().self_signed);
}

#[test]
fn fingerprint_and_thumbprint_are_what_openssl_prints() {
    let leaf = TestCa::new().leaf(&["a.example"]);
    let facts = facts_of_der(&leaf.certificate_der).unwrap();
    for (option, hash) in [("-sha256", &facts.fingerprint[..]), ("-sha1", &facts.thumbprint[..])] {
        let arguments = ["x509", "-noout", "-fingerprint", option];
        let Some(text) = made(run(&arguments, leaf.certificate_pem.as_bytes())) else { return };
        let expected: Vec<String> = hash.iter().map(|byte| format!("{byte:02X}")).collect();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text.trim().split_once('=').unwrap().1, expected.join(":"));
    }
}

#[test]
fn a_subject_with_many_parts_is_one_line_as_openssl_writes_it() {
    let folder = Folder::new();
    let leaf = TestCa::new().leaf(&["a.example"]);
    let (_, key) = leaf.write_apart(folder.path(), "a");
    let subject = "/C=DE/ST=Bayern/O=Bücher, Inc./OU=a\\+b/CN=shop.example.com";
    let key = key.to_str().unwrap();
    let arguments = ["req", "-x509", "-utf8", "-subj", subject, "-key", key, "-outform", "DER"];
    let Some(der) = made(run(&arguments, &[])) else { return };
    let facts = facts_of_der(&der).unwrap();
    assert_eq!(facts.subject, "CN=shop.example.com,OU=a\\+b,O=Bücher\\, Inc.,ST=Bayern,C=DE");
    assert!(facts.self_signed);
    assert_eq!(facts.names, ["shop.example.com"]);
    assert!(facts.names_from_common_name);
}

#[test]
fn the_common_name_counts_only_where_there_are_no_alternative_names() {
    let ca = TestCa::new();
    let options = |common_name| LeafOptions { common_name, ..LeafOptions::default() };
    for (names, common_name, expected) in [
        (&[][..], Some("a.example"), &["a.example"][..]),
        (&["b.example"], Some("a.example"), &["b.example"]),
        (&["192.0.2.1"], Some("a.example"), &[]),
        (&[], Some("Not a Host"), &[]),
        (&[], None, &[]),
    ] {
        let leaf = ca.leaf_with(names, options(common_name));
        let facts = facts_of_der(&leaf.certificate_der).unwrap();
        assert_eq!(facts.names, expected, "{names:?} {common_name:?}");
    }
}

#[test]
fn certificates_out_of_their_time_are_read_and_their_facts_tell() {
    let (folder, ca) = (Folder::new(), TestCa::new());
    let now = UNIX_EPOCH + Duration::from_secs(1_750_000_000);
    for (validity, begun, ended) in [
        (Validity::Now, true, false),
        (Validity::Expired, true, true),
        (Validity::NotYet, false, false),
    ] {
        let leaf = ca.leaf_with(&["a.example"], LeafOptions { validity, ..LeafOptions::default() });
        let facts = load(&files(leaf.write(folder.path(), "a"))).unwrap().facts;
        assert_eq!(
            (facts.not_before <= now, facts.not_after < now),
            (begun, ended),
            "{validity:?}"
        );
    }
}

#[test]
fn a_certificate_covers_its_names_and_one_label_under_its_wildcards() {
    let leaf = TestCa::new().leaf(&["example.com", "*.example.com", "192.0.2.1", "2001:db8::1"]);
    let facts = facts_of_der(&leaf.certificate_der).unwrap();
    for (host, expected) in [
        ("example.com", true),
        ("EXAMPLE.com.", true),
        ("www.example.com", true),
        ("a.www.example.com", false),
        ("wwwexample.com", false),
        ("com", false),
        ("example.org", false),
        ("*.example.com", false),
        ("", false),
        (".example.com", false),
        ("bücher.example.com", true),
        ("192.0.2.1", true),
        ("192.0.2.2", false),
        ("[2001:db8::1]", true),
        ("2001:DB8:0::1", true),
        ("[2001:db8::2]", false),
    ] {
        assert_eq!(facts.covers(host), expected, "{host:?}");
    }
    for (pattern, expected) in [
        ("*.example.com", true),
        ("*.EXAMPLE.com", true),
        ("www.example.com", true),
        ("*.www.example.com", false),
        ("*.com", false),
        ("*", false),
        ("", false),
    ] {
        assert_eq!(facts.covers_pattern(pattern), expected, "{pattern:?}");
    }
    let exact = facts_of_der(&TestCa::new().leaf(&["www.example.com"]).certificate_der).unwrap();
    assert!(!exact.covers_pattern("*.example.com"));
    let address = facts_of_der(&TestCa::self_signed(&["a.example"]).certificate_der).unwrap();
    assert!(!address.covers("192.0.2.1"));
}

#[test]
fn a_stamp_tells_when_any_file_was_written_replaced_or_removed() {
    let (folder, leaf) = (Folder::new(), TestCa::new().leaf(&["a.example"]));
    let (file, key) = leaf.write_apart(folder.path(), "a");
    let files = files_apart(file.clone(), key.clone());
    let stamp = load(&files).unwrap().stamp;
    assert!(!stamp.changed(&files));
    let text = fs::read(&key).unwrap();
    fs::write(folder.path().join("new.key"), &text).unwrap();
    fs::rename(folder.path().join("new.key"), &key).unwrap();
    assert!(stamp.changed(&files), "the key was replaced by one that looks alike");
    let stamp = FileStamp::of(&files);
    assert!(!stamp.changed(&files));
    fs::write(&file, format!("{}\n", leaf.chain_pem)).unwrap();
    assert!(stamp.changed(&files), "the chain was written to");
    fs::remove_file(&file).unwrap();
    let gone = FileStamp::of(&files);
    assert!(!gone.changed(&files), "a failure is worth no other try while nothing changes");
    fs::write(&file, &leaf.chain_pem).unwrap();
    assert!(gone.changed(&files));
}

#[test]
fn renewing_with_the_same_key_takes_the_first_of_the_two_certificates() {
    let (folder, ca) = (Folder::new(), TestCa::new());
    let old = ca.leaf(&["a.example"]);
    let new = ca.renew(&old, &["a.example", "b.example"]);
    let text = format!("{}{}{}", new.certificate_pem, old.certificate_pem, old.key_pem);
    let certificate = load(&files(folder.put("a.pem", text))).unwrap();
    assert_eq!(certificate.facts.names, ["a.example", "b.example"]);
}

#[test]
fn keys_and_passwords_appear_in_no_error_and_no_debug_output() {
    let (folder, ca) = (Folder::new(), TestCa::new());
    let leaf = ca.leaf(&["a.example"]);
    let secret_line = leaf.key_pem.lines().nth(1).unwrap().to_owned();
    let secrets = [secret_line.as_str(), &format!("{:?}", &leaf.key_der[40..50]), "hunter2"];
    let mut texts = vec![format!("{:?}", load(&files(leaf.write(folder.path(), "good"))).unwrap())];
    let other = ca.leaf(&["a.example"]);
    let broken_key = leaf.key_pem.replacen('\n', "\n!", 2);
    for text in [
        format!("{}{}", other.chain_pem, leaf.key_pem),
        format!("{}{broken_key}", leaf.chain_pem),
        format!("{}{}", leaf.chain_pem, leaf.key_pem.replace("-----END", "-----")),
        format!("{}{}{}", leaf.chain_pem, leaf.key_pem, leaf.key_pem),
        leaf.key_pem.clone(),
    ] {
        let error = load(&files(folder.put("bad.pem", text))).unwrap_err();
        texts.push(format!("{error} {error:?}"));
    }
    if let Some(file) = made(write_pfx(&leaf, folder.path(), "a", "x", PfxEncryption::Aes256)) {
        for password in [&b"hunter2"[..], b"hunter2\xff"] {
            let password_file = Some(folder.put("password.txt", password));
            let files = CertificateFiles { file: file.clone(), key: None, password_file };
            let error = load(&files).unwrap_err();
            texts.push(format!("{error} {error:?}"));
        }
    }
    for text in texts {
        assert!(secrets.iter().all(|secret| !text.contains(secret)), "{text}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_reading_facts_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        assert_eq!(facts_of_der(&bytes), Err(NotACertificate));
    }

    #[test]
    fn no_damage_to_a_certificate_makes_reading_it_panic(at in 0_usize..300, mask in 1_u8..) {
        let mut der = TestCa::self_signed(&["a.example", "192.0.2.1"]).certificate_der;
        let at = at % der.len();
        der[at] ^= mask;
        drop(facts_of_der(&der));
    }
}
