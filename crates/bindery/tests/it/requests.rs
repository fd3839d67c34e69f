//! Requests under way, as `appcmd list request` and `bindery request list` show them.

use std::{fs, net::TcpListener};

use bindery_testkit::http1::Http1;
use tokio::net::TcpStream;

use crate::{
    program::{Background, Folder, free_port, local, until},
    run::plain,
};

/// Servers that take connections and never answer.
fn silent() -> (TcpListener, String) {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    (silent, address)
}

async fn asks(port: u16, host: &str, target: &str) -> Http1<TcpStream> {
    let mut client = plain(local(port)).await;
    client.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await.unwrap();
    client
}

/// What an administrator sees, on either form of configuration.
#[track_caller]
fn shows_what_runs(folder: &Folder, options: &str) {
    let appcmd = |words: &str| folder.run_linked("appcmd", &format!("{options}{words}"));
    until("both requests", || appcmd("list requests").out.lines().count() == 2);
    let lines = appcmd("list request");
    assert_eq!(lines.code, 0, "{lines:?}");
    let first = lines.out.lines().find(|line| line.contains("/wait")).unwrap();
    let (id, rest) = first.strip_prefix("REQUEST \"").unwrap().split_once("\" (").unwrap();
    assert!(id.len() == 16 && id.bytes().all(|one| one.is_ascii_hexdigit()), "{first}");
    let rest = rest.strip_prefix("url:GET /wait.aspx?time=10000,time:").unwrap();
    let (time, rest) = rest.split_once(' ').unwrap();
    assert!(time.parse::<u64>().is_ok(), "{first}");
    assert_eq!(rest, "msec,client:localhost)");

    let count = |words: &str| {
        let done = appcmd(&format!("list requests {words}"));
        let found = done.out.lines().count();
        assert_eq!(done.code, i32::from(found == 0), "{words}");
        found
    };
    assert_eq!(count("/url:/wait.aspx?time=10000"), 1);
    assert_eq!((count("/site.name:X"), count("/site.id:1"), count("/site.id:2")), (1, 1, 1));
    assert_eq!((count("/site.name:Z"), count("/elapsed:600000")), (0, 0));
    assert_eq!((count("/apppool.name:DefaultAppPool"), count("/apppool.name:none")), (2, 0));
    assert_eq!(count("/wp.name:1"), 0);
    assert_eq!(count(id), 1);
    until("it takes a while", || count("/elapsed:50") == 2);

    let xml = appcmd("list requests /xml /site.name:X").out;
    let attributes = format!("<REQUEST REQUEST.NAME=\"{id}\" SITE.ID=\"1\" SITE.NAME=\"X\"");
    assert!(xml.contains(&attributes) && xml.contains("url=\"/wait.aspx?time=10000\""), "{xml}");
    let text = appcmd("list requests /text:url /site.name:Y").out;
    assert_eq!(text, "/\n");

    let options = options.trim();
    let list = folder.run(&format!("request list {options} --site x"));
    list.check(0, &["GET x.com/wait.aspx?time=10000", id]);
    let json = folder.run(&format!("request list --json --search y.com {options}")).json();
    assert_eq!((&json[0]["site"], &json[0]["site_id"]), (&"Y".into(), &2.into()), "{json}");
    assert!(json[0]["elapsed_ms"].as_u64().unwrap() >= 50, "{json}");
}

#[tokio::test]
async fn what_runs_is_listed_with_filters_and_gone_with_its_client() {
    let port = free_port();
    let (_silent, upstream) = silent();
    let site = |name: &str, host: &str| {
        format!(
            "[[site]]\nname = '{name}'\nproxy = 'http://{upstream}'\n\
             bindings = ['http/127.0.0.1:{port}:{host}']\n"
        )
    };
    let folder = Folder::new(&(site("X", "x.com") + &site("Y", "y.com")));
    let none = folder.run_linked("appcmd", "list requests");
    assert_eq!((none.code, none.out.as_str()), (0, ""), "{none:?}");
    assert!(none.err.contains("no server runs"), "{none:?}");
    let none = folder.run("request list --json");
    assert_eq!((none.code, none.json()), (0, serde_json::json!([])));
    assert!(none.err.contains("no server runs"), "{none:?}");

    let server = Background::serving(&folder);
    let none = folder.run_linked("appcmd", "list requests");
    assert_eq!((none.code, none.out.as_str(), none.err.as_str()), (0, "", ""));
    let clients =
        [asks(port, "x.com", "/wait.aspx?time=10000").await, asks(port, "y.com", "/").await];
    shows_what_runs(&folder, "");
    drop(clients);
    until("the end of both", || folder.run_linked("appcmd", "list request").out.is_empty());
    assert_eq!(server.stop(), Some(0));
}

#[tokio::test]
async fn a_file_that_a_slow_client_reads_is_listed_on_a_configuration_of_iis() {
    let port = free_port();
    let folder = Folder::new("");
    fs::create_dir(folder.path().join("www")).unwrap();
    for name in ["wait.aspx", "index.html"] {
        fs::write(folder.path().join("www").join(name), vec![b'x'; 64 * 1024 * 1024]).unwrap();
    }
    let www = fs::canonicalize(folder.path().join("www")).unwrap();
    let site = |id: u32, name: &str, host: &str| {
        format!(
            "<site name=\"{name}\" id=\"{id}\"><application path=\"/\"><virtualDirectory \
             path=\"/\" physicalPath=\"{}\" /></application><bindings><binding protocol=\"http\" \
             bindingInformation=\"127.0.0.1:{port}:{host}\" /></bindings></site>",
            www.display()
        )
    };
    let text = format!(
        "<configuration><system.applicationHost><sites>{}{}</sites></system.applicationHost>\
         <system.webServer><staticContent><mimeMap fileExtension=\".aspx\" \
         mimeType=\"text/plain\" /><mimeMap fileExtension=\".html\" mimeType=\"text/html\" />\
         </staticContent></system.webServer></configuration>",
        site(1, "X", "x.com"),
        site(2, "Y", "y.com"),
    );
    fs::write(folder.path().join("applicationHost.config"), text).unwrap();
    let server = Background::serving_in(&folder, "applicationHost.config");
    let mut clients =
        [asks(port, "x.com", "/wait.aspx?time=10000").await, asks(port, "y.com", "/").await];
    for client in &mut clients {
        assert_eq!(client.head().await.unwrap().status, 200);
    }
    shows_what_runs(&folder, "--config=applicationHost.config ");
    drop(clients);
    assert_eq!(server.stop(), Some(0));
}
