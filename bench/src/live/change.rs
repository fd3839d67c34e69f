//! How each server is told of a new name with its certificate, as its manual says.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::failure::{Context, Failure};
use crate::peers::{Kind, Running, bindery};

/// A server that has not answered by then is given up.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Tells one server.
pub(super) struct Changer<'s> {
    server: &'s Running,
    /// The configuration of nginx as it is now.
    text: String,
}

impl<'s> Changer<'s> {
    pub(super) fn new(server: &'s Running) -> Result<Self, Failure> {
        let file = server.place.folder.join("nginx.conf");
        let text = match server.peer.kind {
            Kind::Nginx => fs::read_to_string(&file).context(|| unreadable(&file))?,
            _ => String::new(),
        };
        Ok(Self { server, text })
    }

    /// Asks for a name, and comes back when the server, or its tool, does.
    pub(super) fn add(&mut self, host: &str, certificate: &Path) -> Result<(), Failure> {
        match self.server.peer.kind {
            Kind::Nginx => self.tell_nginx(host, certificate),
            Kind::Haproxy => self.tell_haproxy(host, certificate),
            Kind::Caddy => self.tell_caddy(certificate),
            Kind::Bindery => self.tell_bindery(host, certificate),
            Kind::H2o => Err(Failure::new("h2o has no way to change but a new start")),
        }
    }

    /// A server block, and the signal that `nginx -s reload` sends, without the time that command
    /// takes to read the configuration itself.
    fn tell_nginx(&mut self, host: &str, certificate: &Path) -> Result<(), Failure> {
        let block = format!(
            "    server {{ listen 127.0.0.1:{}{}; server_name {host}; ssl_certificate {file}; \
             ssl_certificate_key {file}; }}\n}}\n",
            self.server.place.port,
            if self.text.contains(" http2 ssl;") { " http2 ssl" } else { " ssl" },
            file = certificate.display(),
        );
        let end = self.text.trim_end().strip_suffix('}').map_or(0, str::len);
        self.text.truncate(end);
        self.text.push_str(&block);
        let file = self.server.place.folder.join("nginx.conf");
        fs::write(&file, &self.text).context(|| format!("cannot write {}", file.display()))?;
        let pid = i32::try_from(self.server.pid()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| Failure::new("nginx has no process"))?;
        kill_process(pid, Signal::HUP).context(|| "cannot signal nginx".to_owned())
    }

    /// Its runtime API: a certificate, a line of the list of certificates, a line of the map of
    /// hosts. Nothing of it is in a file afterwards.
    fn tell_haproxy(&self, host: &str, certificate: &Path) -> Result<(), Failure> {
        let folder = &self.server.place.folder;
        let list = folder.join("certificates.list");
        let pem = fs::read_to_string(certificate).context(|| unreadable(certificate))?;
        let file = certificate.display();
        for command in [
            format!("new ssl cert {file}\n"),
            format!("set ssl cert {file} <<\n{pem}\n"),
            format!("commit ssl cert {file}\n"),
            format!("add ssl crt-list {} {file}\n", list.display()),
            format!("add map hosts.map {host} {host}\n"),
        ] {
            let said = talk(&folder.join("runtime.sock"), command.as_bytes())?;
            let said = String::from_utf8_lossy(&said).trim().to_owned();
            let is_done = said.is_empty()
                || said.contains("Success")
                || said.contains("New empty")
                || said.contains("created");
            if !is_done {
                let command = command.lines().next().unwrap_or_default();
                return Err(Failure::new(format!("HAProxy says to {command}: {said}")));
            }
        }
        Ok(())
    }

    /// One more file of the list. All names share a route.
    fn tell_caddy(&self, certificate: &Path) -> Result<(), Failure> {
        let body = json!({ "certificate": certificate, "key": certificate });
        let at = "/config/apps/tls/certificates/load_files";
        post(&self.server.place.folder.join("admin.sock"), at, &body)
    }

    /// A certificate and a site, as one change; in IIS's form, a certificate record and a site.
    fn tell_bindery(&self, host: &str, certificate: &Path) -> Result<(), Failure> {
        let socket = self.server.place.folder.join("state/control.sock");
        let on = format!("https/127.0.0.1:{}:{host}", self.server.place.port);
        if self.server.place.given.iis.is_some() {
            let site = json!({
                "root": self.server.place.fleet.www(),
                "bindings": [{ "on": on }],
            });
            let record = bindery::record(self.server.place.port, host, certificate)?;
            let body = json!({
                "records": [{ "add": record }],
                "changes": [{ "at": { "site": host }, "act": { "add": site } }],
            });
            return post(&socket, "/v1/changes", &body);
        }
        let site = json!({
            "root": self.server.place.fleet.www(),
            "bindings": [{ "on": on, "certificate": host }],
        });
        let body = json!({ "records": [], "changes": [
            { "at": { "certificate": host }, "act": { "add": { "file": certificate } } },
            { "at": { "site": host }, "act": { "add": site } },
        ]});
        post(&socket, "/v1/changes", &body)
    }
}

fn unreadable(file: &Path) -> String {
    format!("cannot read {}", file.display())
}

/// Says something and hears everything until the end.
fn talk(socket: &PathBuf, words: &[u8]) -> Result<Vec<u8>, Failure> {
    let said = || -> std::io::Result<Vec<u8>> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.write_all(words)?;
        stream.shutdown(Shutdown::Write)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    };
    said().context(|| format!("nobody answers at {}", socket.display()))
}

fn post(socket: &Path, path: &str, body: &Value) -> Result<(), Failure> {
    let request = || -> std::io::Result<String> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let body = body.to_string();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all([head, body].concat().as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = request().context(|| format!("nobody answers at {}", socket.display()))?;
    if answer.starts_with("HTTP/1.1 2") {
        return Ok(());
    }
    Err(Failure::new(format!("{path} is refused: {answer}")))
}
