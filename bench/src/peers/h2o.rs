//! h2o: one host for each name.

use crate::failure::Failure;
use crate::peers::{CONNECTIONS_MAX, IDLE_TIMEOUT_SECONDS, Launch, Place};

pub(super) fn configure(place: &Place) -> Result<Launch, Failure> {
    let (port, www) = (place.port, place.fleet.www());
    let log = match place.given.access_log {
        true => format!("access-log: {}\n", place.folder.join("access.log").display()),
        false => String::new(),
    };
    // Without the interval it starts a process for each certificate to ask for OCSP answers.
    let mut text = format!(
        "num-threads: 1
num-name-resolution-threads: 1
max-connections: {CONNECTIONS_MAX}
http1-request-timeout: {IDLE_TIMEOUT_SECONDS}
http2-idle-timeout: {IDLE_TIMEOUT_SECONDS}
{log}hosts:
"
    );
    let upstreams = place.given.upstreams.map_or_else(String::new, |ports| {
        format!(
            ", \"/proxied\": {{ proxy.reverse.url: \"http://127.0.0.1:{}\" }}, \"/echo\": {{ \
             proxy.reverse.url: \"http://127.0.0.1:{}/echo\", proxy.websocket: ON }}",
            ports.files, ports.echo
        )
    });
    for (host, certificate) in place.fleet.hosts() {
        text.push_str(&format!(
            "  \"{host}:{port}\":
    listen:
      host: 127.0.0.1
      port: {port}
      ssl: {{ certificate-file: {file}, key-file: {file}, ocsp-update-interval: 0 }}
    paths: {{ \"/\": {{ file.dir: {www} }}{upstreams} }}
",
            file = certificate.display(),
            www = www.display(),
        ));
    }
    let file = place.write("h2o.conf", &text)?;
    Ok(Launch::new(["-c", &file]))
}
