//! `bindery demo`: a folder with a local CA, five sites with a certificate each on one port, and a
//! server for them. No configuration and no root are needed, and nothing stays behind.

mod authority;

use std::{
    fmt::Write as _,
    fs, io,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::ExitCode,
};

use bindery_control::words::hex;
use bindery_server::{clock, tls::keys::facts_of_der};

use self::authority::Authority;
use crate::{
    config,
    output::{self, Failure},
    serve::{serve, start_log},
};

/// What `demo` takes.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The port of all sites.
    #[arg(long, default_value_t = 8443)]
    port: u16,
    /// Where to put everything, and leave it; otherwise a temporary folder, removed at the end.
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// Nobody but this machine shall see the demo.
const FIRST: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// Linux answers on all of 127.0.0.0/8.
const SECOND: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A site of the demo.
struct Demo {
    site: &'static str,
    address: Ipv4Addr,
    /// The host of its binding.
    host: &'static str,
    /// What a client opens; `None` for the address itself.
    opened: Option<&'static str>,
    /// What its certificate is for.
    certified: &'static [&'static str],
    what: &'static str,
}

const SITES: [Demo; 5] = [
    Demo {
        site: "shop",
        address: FIRST,
        host: "shop.example",
        opened: Some("shop.example"),
        certified: &["shop.example"],
        what: "an exact name",
    },
    Demo {
        site: "blog",
        address: FIRST,
        host: "blog.example",
        opened: Some("blog.example"),
        certified: &["blog.example"],
        what: "another name on the same port, with another certificate",
    },
    Demo {
        site: "tenants",
        address: FIRST,
        host: "*.tenants.example",
        opened: Some("a.tenants.example"),
        certified: &["*.tenants.example"],
        what: "a wildcard: every customer, one certificate",
    },
    Demo {
        site: "partners",
        address: SECOND,
        host: "partners.example",
        opened: Some("partners.example"),
        certified: &["partners.example"],
        what: "a name on an address of its own",
    },
    Demo {
        site: "everyone",
        address: FIRST,
        host: "",
        opened: None,
        certified: &["localhost", "127.0.0.1"],
        what: "for clients that send no server name (SNI)",
    },
];

/// The site that has more than files.
const APPLICATION_OF: &str = "shop";
const APPLICATION: &str = r#"
[[site.redirects]]
prefix = "/v1"
to = "/api"

[[site.applications]]
path = "/api"
respond = { body = '{"site":"shop"}', content_type = "application/json" }
"#;

/// Serves the demo until it is stopped.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let port = free_port(arguments.port)?;
    // Kept to the end: dropping it removes the folder.
    let temporary = match &arguments.folder {
        Some(_) => None,
        None => {
            let made = tempfile::Builder::new().prefix("bindery-").tempdir();
            Some(made.map_err(|error| Failure::because("no temporary folder can be made", error))?)
        }
    };
    let folder = match (&arguments.folder, &temporary) {
        (Some(folder), _) => own_folder(folder)?,
        (None, Some(temporary)) => temporary.path().to_owned(),
        (None, None) => return Err(Failure::new("no folder")),
    };
    let config = write_all(&folder, port).map_err(|error| {
        Failure::because(format!("{} cannot be written", folder.display()), error)
    })?;
    let told = told(&folder, &config, port, temporary.is_some());
    let code = serve(config::load(&config)?, |_| {
        output::print(told);
        // Only now, so that the log does not stand before the list.
        start_log(false, false);
    })?;
    if let Some(temporary) = temporary {
        let path = temporary.path().to_owned();
        temporary.close().map_err(|error| {
            Failure::because(format!("{} cannot be removed", path.display()), error)
        })?;
    }
    Ok(code)
}

/// The port, tried on both addresses; another one for 0.
fn free_port(port: u16) -> Result<u16, Failure> {
    let first = TcpListener::bind((FIRST, port));
    let port = first.as_ref().ok().and_then(|own| own.local_addr().ok()).map_or(port, |a| a.port());
    match first.and_then(|_| TcpListener::bind((SECOND, port))) {
        Ok(_) => Ok(port),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(Failure::new(format!(
            "port {port} is taken by another program; choose another one by --port"
        ))),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let what = format!("port {port} is not for this user; choose one above 1023 by --port");
            Err(Failure::because(what, error))
        }
        Err(error) => Err(Failure::because(format!("cannot listen on port {port}"), error)),
    }
}

/// A folder that somebody named must not lose anything.
fn own_folder(folder: &Path) -> Result<PathBuf, Failure> {
    let because = |error| Failure::because(format!("{} cannot be used", folder.display()), error);
    fs::create_dir_all(folder).map_err(because)?;
    let mut entries = fs::read_dir(folder).map_err(because)?;
    if entries.next().is_some() {
        let folder = folder.display();
        return Err(Failure::new(format!("{folder} is not empty; name a new folder by --folder")));
    }
    fs::canonicalize(folder).map_err(because)
}

/// Everything the demo needs. The path of the configuration.
fn write_all(folder: &Path, port: u16) -> io::Result<PathBuf> {
    let authority = Authority::new(clock::now()).map_err(io::Error::other)?;
    fs::write(folder.join("ca.pem"), authority.certificate_pem())?;
    let mut config = head(port);
    for demo in &SITES {
        let leaf = authority.leaf(demo.certified).map_err(io::Error::other)?;
        let pem = format!("{}{}", leaf.certificate_pem, leaf.key_pem);
        write_private(&folder.join(format!("{}.pem", demo.site)), &pem)?;
        let facts = facts_of_der(&leaf.certificate_der).map_err(io::Error::other)?;
        let root = folder.join(demo.site);
        fs::create_dir(&root)?;
        fs::write(root.join("index.html"), page(demo, port, &hex(&facts.thumbprint)))?;
        config.push_str(&site(demo, port));
        if demo.site == APPLICATION_OF {
            config.push_str(APPLICATION);
        }
    }
    let path = folder.join("bindery.toml");
    fs::write(&path, config)?;
    Ok(path)
}

/// A file with a key is for its owner only.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    io::Write::write_all(&mut file, text.as_bytes())
}

fn head(port: u16) -> String {
    format!(
        r#"# Five sites on one port, each with its own certificate. Made by `bindery demo`.
version = 1

[server]
state_dir = "state"
drain_seconds = 2

[[listener]]
on = "https/{FIRST}:{port}"
unknown_name = "refuse"          # the catch-all is for clients that send no name

[[listener]]
on = "https/{SECOND}:{port}"
no_sni = "refuse"                # a name must be said here
"#
    )
}

fn site(demo: &Demo, port: u16) -> String {
    let Demo { site, address, host, .. } = demo;
    format!(
        r#"
[[certificate]]
name = "{site}"
file = "{site}.pem"

[[site]]
name = "{site}"
root = "{site}"

[[site.bindings]]
on = "https/{address}:{port}:{host}"
certificate = "{site}"
"#
    )
}

fn page(demo: &Demo, port: u16, thumbprint: &str) -> String {
    let Demo { site, address, host, what, .. } = demo;
    let binding = format!("https/{address}:{port}:{host}");
    include_str!("page.html")
        .replace("{site}", site)
        .replace("{what}", what)
        .replace("{binding}", &binding)
        .replace("{names}", &demo.certified.join(", "))
        .replace("{thumbprint}", thumbprint)
}

/// What to try.
fn told(folder: &Path, config: &Path, port: u16, temporary: bool) -> String {
    // As it was called, so that the lines can be pasted.
    let program = std::env::args().next().unwrap_or_else(|| "bindery".to_owned());
    let end = if temporary { " and removes the folder" } else { "; the folder stays" };
    let mut out = format!(
        "{0} sites with {0} certificates on port {port}, in {1}\nCtrl-C ends it{end}.\n",
        SITES.len(),
        folder.display()
    );
    let ca = format!("--cacert {}", folder.join("ca.pem").display());
    let config = format!("--config {}", config.display());
    let mut lines = |title: &str,
                     (name, address): (Option<&str>, Ipv4Addr),
                     path: &str,
                     explained| {
        let (resolve, ip) = match name {
            Some(name) => (format!("--resolve {name}:{port}:{address}"), format!("--ip {address}")),
            None => (String::new(), String::new()),
        };
        let host = name.map_or_else(|| address.to_string(), str::to_owned);
        let url = format!("https://{host}:{port}{path}");
        let follow = if path == "/" { "" } else { "--location" };
        let curl = command(&["curl", follow, &ca, &resolve, &url]);
        // Writing to a string does not fail.
        writeln!(out, "\n{title}\n{curl}").ok();
        if explained {
            let explain = command(&[&format!("{program} explain"), &config, &ip, &url]);
            writeln!(out, "{explain}").ok();
        }
    };
    for Demo { site, address, opened, what, .. } in &SITES {
        let title = format!("{site}, at {address}: {what}");
        lines(&title, (*opened, *address), "/", *site == APPLICATION_OF);
    }
    lines(
        &format!("{APPLICATION_OF}, below /v1: redirected to its application /api"),
        (Some("shop.example"), FIRST),
        "/v1/users",
        true,
    );
    lines(
        "nobody: an unknown name gets an alert, no foreign certificate",
        (Some("unknown.example"), FIRST),
        "/",
        true,
    );
    let ca = format!("--ca {}", folder.join("ca.pem").display());
    let connect = format!("--connect {FIRST}:{port}");
    let url = format!("https://shop.example:{port}/");
    let probe = command(&[&format!("{program} probe"), &config, &ca, &connect, &url]);
    writeln!(out, "\na connection, step by step\n{probe}\n").ok();
    out
}

/// A command that can be pasted, broken where it would be wider than a terminal.
fn command(parts: &[&str]) -> String {
    const COLUMNS: usize = 80;
    let mut lines = vec![String::from("  ")];
    for part in parts.iter().filter(|part| !part.is_empty()) {
        let Some(line) = lines.last_mut() else { continue };
        if line.trim().is_empty() {
            line.push_str(part);
        } else if line.len() + 1 + part.len() + " \\".len() <= COLUMNS {
            line.push_str(&format!(" {part}"));
        } else {
            lines.push(format!("    {part}"));
        }
    }
    lines.join(" \\\n")
}

#[cfg(test)]
mod tests {
    use bindery_model::document::parse;

    use super::*;

    #[test]
    fn the_configuration_that_is_written_has_no_problems() {
        let folder = tempfile::tempdir().unwrap();
        let config = write_all(folder.path(), 8443).unwrap();
        let document = parse(&fs::read_to_string(config).unwrap(), folder.path());
        let problems: Vec<_> = document.problems.iter().map(|one| &one.message).collect();
        assert_eq!(document.configuration.table.bindings.len(), SITES.len());
        assert_eq!(problems, [""; 0]);
    }

    #[test]
    fn every_line_fits_a_terminal_when_the_folder_is_where_it_usually_is() {
        let folder = Path::new("/tmp/bindery-AbCdEf");
        let told = told(folder, &folder.join("bindery.toml"), 8443, true);
        let own = std::env::args().next().unwrap();
        for line in told.lines().map(|line| line.replace(&own, "bindery")) {
            assert!(line.len() <= 80, "{line}");
        }
    }

    #[test]
    fn a_folder_with_something_in_it_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "b").unwrap();
        assert!(own_folder(folder.path()).unwrap_err().to_string().contains("not empty"));
        assert!(own_folder(&folder.path().join("new")).is_ok());
    }
}
