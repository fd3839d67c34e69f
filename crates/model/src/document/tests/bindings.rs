use super::*;

#[test]
fn a_certificate_has_a_name_and_a_file_and_what_goes_with_it() {
    let user = site("bindings = ['http/*:80:', { on = 'https/*:443:', certificate = 'c' }]");
    let certificate = |lines: &str| format!("[[certificate]]\n{lines}\n{user}");
    let nameless = certificate("file = 'c.pem'").replace("[[certificate]]", "‹[[certificate]]›");
    check(
        &nameless.replace("'c'", "'‹c›'"),
        &[
            ("missing-key", "a certificate without name: name is missing"),
            ("unknown-certificate", "there is no certificate \"c\""),
        ],
    );
    // Its bindings find the name, and are not blamed.
    let fileless = certificate("name = 'c'").replace("[[certificate]]", "‹[[certificate]]›");
    check(&fileless, &[("missing-key", "certificate \"c\": file is missing")]);
    check(
        &certificate("name = 'c'\nfile = ‹''›"),
        &[("bad-value", "certificate \"c\": file is empty")],
    );
    check(
        &certificate("name = 'c'\nfile = 'c.PFX'\n‹key› = 'k'\npassword_file = 'p'"),
        &[("exclusive", "key does not go with \"c.PFX\": a PFX file has its key inside")],
    );
    check_certificate(
        "‹password_file› = 'p'",
        "exclusive",
        "only a PFX file (.pfx or .p12) has a password",
    );
    check(
        &certificate("name = 'c'\nfile = 'c.pem'\n[[certificate]]\nname = '‹Best›'\nfile = 'b'"),
        &[("bad-value", "certificate \"Best\": the name has a meaning of its own")],
    );
}

#[test]
fn two_certificates_with_one_name_are_refused() {
    let user = site("bindings = [{ on = 'https/*:443:', certificate = 'C' }]");
    let document = check(
        &format!(
            "[[certificate]]\nname = 'c'\nfile = 'c'\n[[certificate]]\nname = '‹C›'\nfile = 'd'\n{user}"
        ),
        &[("duplicate-certificate", "two certificates are called \"C\"")],
    );
    assert_eq!(document.problems[0].related[0].1, "the first");
    let first = CertificateReference::Source(CertificateId(0));
    let binding = &document.configuration.table.bindings[0];
    assert_eq!(binding.certificate, CertificateChoice::Listed(vec![first]));
}

#[track_caller]
fn check_choice(choice: &str, code: &str, part: &str) {
    check_binding(&format!("{{ on = 'https/*:443:', certificate = {choice} }}"), code, part);
}

#[test]
fn a_certificate_is_named_or_given_by_its_digest_or_left_to_be_found() {
    let choice = |choice: &str| {
        let binding = format!(
            "bindings = ['https/*:443:', {{ on = 'https/*:443:a', certificate = {choice} }}]"
        );
        let text = format!("{}[server]\ncentral_store.folder = 'c'", site(&binding));
        check(&text, &[]).configuration.table.bindings[1].certificate.clone()
    };
    let sha1 = "00112233445566778899aabbccddeeff00112233";
    let bytes: Vec<u8> = sha1
        .as_bytes()
        .chunks(2)
        .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
        .collect();
    let thumbprint = CertificateReference::Thumbprint(bytes.try_into().unwrap());
    let pasted =
        format!("\u{200e}{} ", sha1.to_uppercase()).replace("EE", "EE ").replace("AA", ":AA");
    assert_eq!(choice(&format!("'{sha1}'")), CertificateChoice::Listed(vec![thumbprint.clone()]));
    assert_eq!(choice(&format!("'{pasted}'")), CertificateChoice::Listed(vec![thumbprint.clone()]));
    let fingerprint = CertificateReference::Fingerprint([0xab; 32]);
    let both = format!("['{}', '{sha1}']", "ab".repeat(32));
    assert_eq!(choice(&both), CertificateChoice::Listed(vec![fingerprint, thumbprint]));
    assert_eq!(choice("'best'"), CertificateChoice::Best);
    assert_eq!(choice("'Central'"), CertificateChoice::Central);
}

#[test]
fn a_certificate_that_is_not_there_names_the_nearest() {
    let text = format!(
        "[[certificate]]\nname = 'partners'\nfile = 'c'\n{}",
        site("bindings = [{ on = 'https/*:443:', certificate = ['partners', '‹partner›'] }]"),
    );
    check(&text, &[("unknown-certificate", "did you mean \"partners\"?")]);
    check_choice(
        "'‹zz›'",
        "unknown-certificate",
        "binding \"https/*:443:\" of site \"a\": there is no certificate \"zz\"",
    );
    check_choice(&format!("'‹{}›'", "a".repeat(39)), "unknown-certificate", "40 or 64 hex digits");
    check_choice(&format!("'‹{}›'", "a".repeat(65)), "unknown-certificate", "40 or 64 hex digits");
    check_choice("'‹acme›'", "not-supported", "no certificates of kind \"acme\"");
    check_choice("'‹local›'", "not-supported", "no certificates of kind \"local\"");
    check_choice("'‹central›'", "no-central-store", "add central_store = { folder");
    check_choice("‹[]›", "bad-value", "is empty");
    check_choice("['‹best›']", "bad-value", "cannot stand in a list");
    check_choice("['‹central›']", "bad-value", "cannot stand in a list");
    check_choice("‹7›", "wrong-type", "certificate takes a string");
    let sha1 = "a".repeat(40);
    check_choice(&format!("['{sha1}', '‹{sha1}›']"), "bad-value", "listed twice");
}

#[test]
fn a_certificate_that_no_binding_could_use_is_a_hint() {
    let with = |binding: &str| {
        format!(
            "[[certificate]]\nname = '‹c›'\nfile = 'c'\n{}",
            site(&format!("bindings = [{binding}]"))
        )
    };
    let hint = [("unused-certificate", "no binding uses the certificate \"c\"")];
    let document = check(&with("'http/*:80:'"), &hint);
    assert_eq!(document.problems[0].severity(), Severity::Hint);
    let used = |binding: &str| check(&with(binding).replace(['‹', '›'], ""), &[]);
    used("{ on = 'https/*:443:', certificate = 'C' }");
    used("'https/*:443:'");
    used(&format!("{{ on = 'https/*:443:', certificate = '{}' }}", "a".repeat(40)));
}

#[test]
fn a_key_is_held_once_however_it_is_spelled() {
    let twice = |first: &str, second: &str, part: &str| {
        let text = format!(
            "[[site]]\nname = 'x'\nroot = 'a'\nbindings = ['{first}']\n[[site]]\nname = 'y'\nroot = 'a'\nbindings = ['‹{second}›']"
        );
        let document = check(&text, &[("duplicate-binding", part)]);
        let (span, why) = &document.problems[0].related[0];
        assert!(why.ends_with("of site \"x\""), "{why}");
        let (text, _) = unmark(&format!("version = 1\n{text}"));
        assert_eq!(&text[span.clone()], first);
    };
    twice("http/*:80:a", "http/*:80:a", "http/*:80:a is a binding of site \"y\" and of site \"x\"");
    twice("https/*:443:a", "HTTPS/0.0.0.0:443:A.", "https/*:443:a is");
    twice("https/:443:", "https/[::]:443:", "");
    twice("http/*:80:bücher.example", "http/*:80:xn--bcher-kva.example", "");
    twice("http/192.0.2.1:80:", "http/[::ffff:192.0.2.1]:80:", "");
    check(
        &site(
            "bindings = ['http/*:80:a', '‹http/*:80:a›', 'http/*:80:*.a', 'http/192.0.2.1:80:a']",
        ),
        &[("duplicate-binding", "site \"a\" has the binding http/*:80:a twice")],
    );
}

#[test]
fn a_central_catch_all_and_an_ordinary_one_are_two_keys() {
    let text = |second: &str| {
        format!(
            "[server]\ncentral_store.folder = 'c'\n{}",
            site(&format!(
                "bindings = ['https/*:443:', {{ on = 'https/*:443:', certificate = 'central' }}, {second}]"
            )),
        )
    };
    check(&text(""), &[]);
    check(
        &text("{ on = '‹https/*:443:›', certificate = 'central' }"),
        &[("duplicate-binding", "twice")],
    );
}

#[test]
fn http_and_https_do_not_share_an_endpoint() {
    let document = check(
        &site(
            "bindings = ['http/*:80:', 'http/*:80:a', '‹https/192.0.2.1:80:›', '‹https/*:80:a›', 'https/*:443:']",
        ),
        &[
            (
                "mixed-protocols",
                "https/192.0.2.1:80: of site \"a\" needs https on 192.0.2.1:80, where another binding needs http",
            ),
            ("mixed-protocols", "https/*:80:a"),
        ],
    );
    assert!(
        document.problems.iter().all(|problem| problem.related[0].1 == "http/*:80: of site \"a\"")
    );
    check(&site("bindings = ['http/192.0.2.1:80:', '‹https/*:80:›']"), &[("mixed-protocols", "")]);
    check(&site("bindings = ['http/192.0.2.1:443:', 'https/192.0.2.2:443:']"), &[]);
}

#[test]
fn the_wrong_part_of_a_binding_is_marked() {
    check_binding("'‹ftp›/*:21:'", "bad-binding", "site \"a\": \"ftp\" is no protocol");
    check_binding("'https/‹host›:443:'", "bad-binding", "is no address");
    check_binding("'https/*:‹0›:'", "bad-binding", "is no port");
    check_binding("'https/*:‹›:'", "bad-binding", "is no port");
    check_binding("'‹https/*:443›'", "bad-binding", "did you mean \"https/*:443:\"?");
    check_binding("'‹shop.example.com›'", "bad-binding", "write protocol/address:port:host");
    check_binding("‹''›", "bad-binding", "write protocol/address:port:host");
    check_binding("'https/*:443:‹a b›'", "bad-host", "character");
    check_binding("'https/*:443:‹192.0.2.1›'", "bad-host", "put the address in front of the port");
    check_binding("'https/*:443:‹a..b›'", "bad-host", "two dots");
    check_binding("'https/*:443:‹x*.example›'", "bad-wildcard", "whole left-most label");
    check_binding("'https/*:443:‹*.*.example›'", "bad-wildcard", "one more label");
    check_binding("{ on = 'https/*:443:‹x.*.example›' }", "bad-wildcard", "");
    check_binding("\"https/*:443:‹bü cher›\"", "bad-host", "");
    // Escapes hide the places of letters.
    check_binding("‹\"https/*:443:a\\u0020b\"›", "bad-host", "");
    check_binding("‹{ }›", "missing-key", "a binding of site \"a\": on is missing");
}

#[test]
fn tls_is_for_https_and_speaks_what_can_be_spoken() {
    let tls = |tls: &str, code, part| {
        check_binding(&format!("{{ on = 'https/*:443:', tls = {{ {tls} }} }}"), code, part);
    };
    tls("minimum = '‹1.0›'", "bad-value", "cannot be spoken (RFC 8996)");
    tls("maximum = '‹1.1›'", "bad-value", "cannot be spoken (RFC 8996)");
    tls("maximum = '‹1.4›'", "bad-value", "no such version");
    tls(
        "minimum = '‹1.3›', maximum = '1.2'",
        "bad-value",
        "the minimum of TLS, 1.3, is above the maximum, 1.2",
    );
    tls("http2 = ‹'no'›", "wrong-type", "true or false");
    tls("‹client_certificate› = 'require'", "missing-key", "client_ca is missing");
    tls("‹client_ca› = 'ca.pem'", "missing-key", "client_certificate is missing");
    tls(
        "client_certificate = '‹required›', client_ca = 'ca.pem'",
        "bad-value",
        "did you mean \"require\"?",
    );
    check_binding(
        "{ on = 'http/*:80:', ‹tls› = {} }",
        "tls-without-https",
        "tls means nothing without TLS",
    );
    check_binding(
        "{ on = 'http/*:80:', ‹certificate› = 'best' }",
        "tls-without-https",
        "certificate means nothing",
    );
    let binding = "{ on = 'https/*:443:', tls = { maximum = '1.2', client_certificate = 'optional', client_ca = 'ca' } }";
    let document = check(&site(&format!("bindings = [{binding}]")), &[]);
    let policy = &document.configuration.table.bindings[0].tls;
    assert_eq!(
        (policy.minimum, policy.maximum, policy.http2),
        (TlsVersion::Tls12, TlsVersion::Tls12, true)
    );
    let ca = Path::new("/etc/bindery/ca").to_owned();
    assert_eq!(policy.client_certificate, ClientCertificate::Optional { ca });
    check(
        &site(
            "bindings = [{ on = 'https/*:443:', tls = { client_certificate = 'off', client_ca = 'ca' } }]",
        ),
        &[],
    );
}
