//! Clients that others wrote: `curl` and `openssl s_client`.

use bindery_testkit::{eventually, programs::run};

use crate::{http1::bytes_of, setup::Setup};

#[tokio::test]
async fn curl_gets_every_site_by_both_versions_and_believes_its_certificate() {
    let mut setup = Setup::new();
    let port = setup.port();
    let names: Vec<_> = (0..50).map(|number| format!("site{number}.example")).collect();
    for name in &names {
        setup.certificate(name, &[name]);
        setup.site(name, &[&format!("https/127.0.0.1:{port}:{name}")]);
    }
    let ca = setup.ca.write(setup.folder(), "ca");
    let _server = setup.start();
    for version in ["--http1.1", "--http2"] {
        // All in one run: curl then keeps connections and resumes sessions as it likes.
        let mut arguments =
            vec!["-sS", version, "--noproxy", "*", "--cacert", ca.to_str().unwrap()];
        let resolve: Vec<_> = names.iter().map(|name| format!("{name}:{port}:127.0.0.1")).collect();
        let urls: Vec<_> = names.iter().map(|name| format!("https://{name}:{port}/")).collect();
        arguments.extend(resolve.iter().flat_map(|one| ["--resolve", one.as_str()]));
        arguments.extend(["-w", " %{http_code} %{http_version} %{ssl_verify_result}\n"]);
        arguments.extend(urls.iter().map(String::as_str));
        let Some(said) = run("curl", &arguments, "").await else { return };
        assert!(said.ok(), "{said:?}");
        let number = if version == "--http2" { "2" } else { "1.1" };
        let lines: Vec<_> = said.stdout.lines().collect();
        assert_eq!(lines.len(), names.len());
        for (line, name) in lines.iter().zip(&names) {
            assert_eq!(*line, format!("{name} 200 {number} 0"));
        }
    }
}

#[tokio::test]
async fn curl_is_told_when_a_name_is_nobody_s() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example"]);
    setup.site("a", &[&format!("https/127.0.0.1:{port}:a.example")]);
    let _server = setup.start();
    let resolve = format!("b.example:{port}:127.0.0.1");
    let url = format!("https://b.example:{port}/");
    let arguments = ["-sS", "--noproxy", "*", "-k", "--resolve", &resolve, &url];
    let Some(said) = run("curl", &arguments, "").await else { return };
    assert_eq!(said.code, Some(35), "a handshake that failed: {said:?}");
    assert!(said.stderr.contains("unrecognized name"), "{said:?}");

    let url = format!("http://127.0.0.1:{port}/");
    let Some(said) = run("curl", &["-sS", "--noproxy", "*", &url], "").await else { return };
    assert!(said.stdout.contains("https://"), "{said:?}");
}

#[tokio::test]
async fn curl_follows_the_way_to_https_and_loads_and_resumes_a_large_file() {
    let mut setup = Setup::new();
    let (plain, port) = (setup.port(), setup.port());
    setup.certificate("a", &["a.example"]);
    let content = bytes_of(3 * 1024 * 1024);
    let both =
        [format!("http/127.0.0.1:{plain}:a.example"), format!("https/127.0.0.1:{port}:a.example")];
    let both: Vec<_> = both.iter().map(String::as_str).collect();
    setup.files("a", &both, &[("large.bin", &content)]);
    let ca = setup.ca.write(setup.folder(), "ca");
    let _server = setup.start();
    let here = setup.folder().join("got.bin");
    std::fs::write(&here, &content[..1_000_000]).unwrap();
    let resolve = [plain, port].map(|port| format!("a.example:{port}:127.0.0.1"));
    let (ca, here) = (ca.to_str().unwrap(), here.to_str().unwrap());
    let url = format!("http://a.example:{plain}/large.bin");
    let arguments = [
        "-sS",
        "-L",
        "-C",
        "-",
        "-o",
        here,
        "--noproxy",
        "*",
        "--cacert",
        ca,
        "--resolve",
        &resolve[0],
        "--resolve",
        &resolve[1],
        "-w",
        "%{http_code} %{num_redirects}",
        &url,
    ];
    let Some(said) = run("curl", &arguments, "").await else { return };
    assert!(said.ok(), "{said:?}");
    assert_eq!(said.stdout, "206 1");
    assert!(std::fs::read(here).unwrap() == content);
}

#[tokio::test]
async fn openssl_is_shown_the_certificate_of_the_name_it_asks_for() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example"]);
    setup.certificate("b", &["b.example"]);
    setup.certificate("rest", &["rest.example"]);
    setup.site("a", &[&format!("https/127.0.0.1:{port}:a.example")]);
    setup.site("b", &[&format!("https/127.0.0.1:{port}:b.example")]);
    let on = format!("https/127.0.0.1:{port}:");
    setup.site("rest", &[&format!(r#"{{ on = "{on}", certificate = "rest" }}"#)]);
    let ca = setup.ca.write(setup.folder(), "ca");
    let _server = setup.start();
    let (connect, ca) = (format!("127.0.0.1:{port}"), ca.to_str().unwrap());
    for version in ["-tls1_2", "-tls1_3"] {
        for (name, shown) in [
            (Some("a.example"), "a.example"),
            (Some("b.example"), "b.example"),
            (Some("c.example"), "rest.example"),
            (None, "rest.example"),
        ] {
            let mut arguments = vec!["s_client", "-connect", &connect, "-CAfile", ca, version];
            arguments.extend(["-verify_return_error", "-verify_hostname", shown, "-brief"]);
            match name {
                Some(name) => arguments.extend(["-servername", name]),
                None => arguments.push("-noservername"),
            }
            let Some(said) = run("openssl", &arguments, "").await else { return };
            assert!(said.ok(), "{name:?}: {said:?}");
            let said = format!("{}{}", said.stdout, said.stderr);
            assert!(said.contains("Verification: OK"), "{name:?}: {said}");
            assert!(said.contains(&format!("Verified peername: {shown}")), "{name:?}: {said}");
        }
    }
}

#[tokio::test]
async fn openssl_is_told_when_nobody_answers() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example"]);
    setup.site("a", &[&format!("https/127.0.0.1:{port}:a.example")]);
    let _server = setup.start();
    let connect = format!("127.0.0.1:{port}");
    for name in [["-servername", "b.example"].as_slice(), &["-noservername"]] {
        for version in ["-tls1_2", "-tls1_3"] {
            let arguments = [&["s_client", "-connect", &connect, version], name].concat();
            let Some(said) = run("openssl", &arguments, "").await else { return };
            assert!(!said.ok(), "{name:?}");
            // Alert 112 is unrecognized_name (RFC 6066, 3).
            let said = said.stderr.to_lowercase();
            assert!(
                said.contains("unrecognized name") || said.contains("alert number 112"),
                "{said}"
            );
        }
    }
}

#[tokio::test]
async fn openssl_resumes_a_session() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("a", &["a.example"]);
    setup.site("a", &[&format!("https/127.0.0.1:{port}:a.example")]);
    let _server = setup.start();
    let connect = format!("127.0.0.1:{port}");
    let request = "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
    for version in ["-tls1_2", "-tls1_3"] {
        let file = setup.folder().join("session.pem");
        let file = file.to_str().unwrap();
        let base = ["s_client", "-connect", &connect, "-servername", "a.example", version];
        let base = [&base[..], &["-ign_eof"]].concat();
        let first = [&base[..], &["-sess_out", file]].concat();
        let Some(said) = run("openssl", &first, request).await else { return };
        assert!(said.stdout.contains("New, TLSv1."), "{version}: {said:?}");
        let second = [&base[..], &["-sess_in", file]].concat();
        let Some(said) = run("openssl", &second, request).await else { return };
        assert!(said.stdout.contains("Reused, TLSv1."), "{version}: {said:?}");
        assert!(said.stdout.contains("200 OK"), "{version}: {said:?}");
    }
}

#[tokio::test]
async fn a_server_name_that_is_no_name_is_refused_even_where_there_is_a_catch_all() {
    let mut setup = Setup::new();
    let port = setup.port();
    setup.certificate("rest", &["rest.example"]);
    let on = format!("https/127.0.0.1:{port}:");
    setup.site("rest", &[&format!(r#"{{ on = "{on}", certificate = "rest" }}"#)]);
    let server = setup.start();
    let connect = format!("127.0.0.1:{port}");
    let long = format!("{}.example", "x".repeat(64));
    let names = ["a..b", "a b", "a/b", "*.example", "-", "\u{1}", &long];
    for name in names {
        let arguments = ["s_client", "-connect", &connect, "-servername", name];
        let Some(said) = run("openssl", &arguments, "").await else { return };
        assert!(!said.ok() && said.stderr.contains("alert"), "{name:?}: {said:?}");
    }
    let refused = names.len() as u64;
    eventually("all are counted", async || server.counters().failed_handshakes == refused).await;
    // An address is none either (RFC 6066, 3); clients that send one all the same mean no name.
    let arguments = ["s_client", "-connect", &connect, "-servername", "127.0.0.1"];
    let Some(said) = run("openssl", &arguments, "").await else { return };
    assert!(said.ok(), "{said:?}");
}
