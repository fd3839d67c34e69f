//! `bindery probe` against a server that runs.

use std::{net::SocketAddr, thread};

use crate::program::{Background, Folder, free_port};

struct Running {
    folder: Folder,
    port: u16,
    #[allow(dead_code, reason = "stops the server when it is dropped")]
    server: Background,
}

fn running() -> Running {
    let (port, plain) = (free_port(), free_port());
    let folder = Folder::new(&format!(
        "[[certificate]]\nname = 'a'\nfile = 'a.pem'\n\
         [[certificate]]\nname = 'gone'\nfile = 'gone.pem'\n\
         [[site]]\nname = 'a'\nrespond = 'hello'\nbindings = [\n\
         'https/127.0.0.1:{port}:a.example', 'http/127.0.0.1:{plain}:a.example']\n\
         [[site]]\nname = 'b'\nrespond = ''\nbindings = [\n\
         {{ on = 'https/127.0.0.1:{port}:m.example', certificate = 'a',\n\
           tls = {{ client_certificate = 'require', client_ca = 'ca.pem', http2 = false }} }},\n\
         {{ on = 'https/127.0.0.1:{port}:gone.example', certificate = 'gone' }}]\n"
    ));
    folder.certificate("a", &["a.example"]);
    let mut server = Background::start(folder.path(), &["run"]);
    server.wait_for(SocketAddr::from(([127, 0, 0, 1], port)));
    Running { folder, port, server }
}

impl Running {
    fn probe(&self, name: &str, words: &str) -> crate::program::Done {
        let port = self.port;
        self.folder
            .run(&format!("probe https://{name}:{port}/x --connect 127.0.0.1:{port} {words}"))
    }
}

#[test]
fn nine_steps_are_seen_and_are_as_explained() {
    let running = running();
    let done = running.probe("a.example", "--ca ca.pem");
    done.check(
        0,
        &[
            "1  resolve",
            "127.0.0.1, by --connect\n",
            "2  connect",
            "3  hello",
            "server name a.example\n",
            "4  server hello",
            "TLS 1.3, X25519MLKEM768\n",
            "5  certificate",
            "for a.example\n",
            "by CN=Test Root\n",
            "6  verify",
            "  trusted\n",
            "7  handshake",
            "h2 if offered h2\n",
            "8  request",
            "9  answer",
            "HTTP/1.1 200 OK, ",
            "As explained by bindery.toml: yes\n",
        ],
    );
    let seen = running.probe("a.example", "--ca ca.pem --json").json();
    assert_eq!(seen["good"], true);
    assert_eq!(seen["answer"]["status"], 200);
    assert_eq!(seen["handshake"]["alpn"], "h2");
    assert!(seen["hello"]["bytes"].as_u64().unwrap() > 1000, "the hello has a hybrid key share");
    let port = running.port;
    let told =
        running.folder.run(&format!("explain https://a.example:{port} --ip 127.0.0.1 --json"));
    assert_eq!(
        told.json()["certificate"]["shown"]["thumbprint"],
        seen["certificates"][0]["thumbprint"]
    );
    let once = running.probe("a.example", "--ca ca.pem --http1 --json").json();
    assert!(once["handshake"]["alpn"].is_null());
}

#[test]
fn an_untrusted_certificate_is_shown_and_the_probe_goes_on() {
    let running = running();
    let done = running.probe("a.example", "");
    done.check(1, &["thumbprint ", "NOT trusted\n", "! ", "HTTP/1.1 200 OK, "]);
    running.probe("a.example", "--insecure").check(0, &["not tried, by --insecure\n"]);
    let done = running.probe("b.example", "--sni a.example --ca ca.pem");
    done.check(1, &["NOT trusted\n", "HTTP/1.1 421 ", "As explained by bindery.toml: yes\n"]);
}

#[test]
fn alerts_have_their_names() {
    let running = running();
    let refused = "! the server refused: alert ";
    let yes = "As explained by bindery.toml: yes\n";
    let unknown = format!("{refused}unrecognized_name\n");
    running.probe("x.example", "--ca ca.pem").check(1, &[&unknown, yes]);
    running
        .probe("a.example", "--ca ca.pem --no-sni")
        .check(1, &["no server name\n", &unknown, yes]);
    let internal = format!("{refused}internal_error\n");
    running.probe("gone.example", "--ca ca.pem").check(1, &[&internal, yes]);
    let required = format!("{refused}certificate_required\n");
    running
        .probe("m.example", "--ca ca.pem")
        .check(1, &["a client certificate was asked for; none was given\n", &required, yes]);
}

#[test]
fn what_is_not_as_explained_is_said() {
    let running = running();
    running.folder.certificate("other", &["a.example"]);
    let port = running.port;
    std::fs::write(
        running.folder.path().join("other.toml"),
        format!(
            "version = 1\n[[certificate]]\nname = 'other'\nfile = 'other.pem'\n\
             [[site]]\nname = 'a'\nrespond = {{ status = 202 }}\n\
             bindings = ['https/127.0.0.1:{port}:a.example']\n"
        ),
    )
    .unwrap();
    running.probe("a.example", "--ca ca.pem --config other.toml").check(
        1,
        &["As explained by other.toml: NO, explain says thumbprint ", "explain says status 202"],
    );
}

#[test]
fn nobody_who_listens_and_something_that_is_not_tls_are_told_apart() {
    let folder = Folder::new("");
    let closed = free_port();
    let done = folder.run(&format!("probe https://127.0.0.1:{closed}/ --insecure"));
    done.check(1, &["! Connection refused"]);

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answering = thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let (mut client, _) = listener.accept().unwrap();
        client.read_exact(&mut [0; 100]).unwrap();
        client.write_all(b"SSH-2.0-no-tls\r\n").unwrap();
    });
    let done = folder.run(&format!("probe https://127.0.0.1:{port}/ --insecure"));
    answering.join().unwrap();
    done.check(1, &["! the answer is not TLS; is something else spoken there?\n"]);
}

#[test]
fn what_is_served_is_what_is_explained_at_every_address_for_every_name_in_both_orders() {
    let port = free_port();
    let bindings = [
        "127.0.0.1:{port}:a.b.example",
        "*:{port}:a.b.example",
        "127.0.0.2:{port}:*.b.example",
        "*:{port}:*.b.example",
        "127.0.0.2:{port}:",
        "*:{port}:",
    ];
    let mut sites = "[[listener]]\non = 'https/127.0.0.3:{port}'\nno_sni = 'refuse'\n\
                     unknown_name = 'refuse'\n"
        .to_owned();
    for (number, binding) in bindings.iter().enumerate() {
        sites.push_str(&format!(
            "[[certificate]]\nname = 'c{number}'\nfile = 'c{number}.pem'\n\
             [[site]]\nname = 's{number}'\nrespond = {{ status = {} }}\n\
             bindings = [{{ on = 'https/{binding}', certificate = 'c{number}' }}]\n",
            210 + number
        ));
    }
    for order in ["host-first", "http.sys"] {
        let config = format!("[server]\norder = '{order}'\n{sites}");
        let folder = Folder::new(&config.replace("{port}", &port.to_string()));
        for number in 0..bindings.len() {
            folder.certificate(&format!("c{number}"), &["a.b.example", "*.b.example"]);
        }
        let mut server = Background::start(folder.path(), &["run"]);
        server.wait_for(SocketAddr::from(([127, 0, 0, 1], port)));
        for address in ["127.0.0.1", "127.0.0.2", "127.0.0.3"] {
            for name in ["a.b.example", "x.b.example", "x.y.b.example", "other.example", ""] {
                let words = match name {
                    "" => format!("probe https://{address}:{port}/"),
                    _ => format!("probe https://{name}:{port}/ --connect {address}:{port}"),
                };
                let seen = folder.run(&format!("{words} --insecure --http1 --json")).json();
                assert_eq!(seen["explained"]["same"], true, "{words} in {order}: {seen:#}");
                let came = seen["answer"]["status"].is_u64() || seen["alert"].is_string();
                assert!(came, "{words} in {order}: {seen:#}");
            }
        }
        assert_eq!(server.stop(), Some(0));
    }
}
