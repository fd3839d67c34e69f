//! HAProxy: a folder of certificates. It serves no files, so the answer comes from memory, where
//! it has put the file at its start.

use crate::failure::Failure;
use crate::fleet::BODY_PATH;
use crate::peers::{CONNECTIONS_MAX, IDLE_TIMEOUT_SECONDS, Launch, Place};
use crate::upstreams::Ports;

pub(super) fn configure(place: &Place) -> Result<Launch, Failure> {
    let (certificates, socket, known) = match place.given.changeable {
        true => changeable(place)?,
        false => (format!("crt {}/", place.fleet.certificates().display()), String::new(), ""),
    };
    let mut text = format!(
        "global
    nbthread 1
    maxconn {CONNECTIONS_MAX}
{socket}    ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
    mode http
    timeout connect 5s
    timeout server {IDLE_TIMEOUT_SECONDS}s
    timeout client {IDLE_TIMEOUT_SECONDS}s
    timeout http-request {IDLE_TIMEOUT_SECONDS}s
    timeout http-keep-alive {IDLE_TIMEOUT_SECONDS}s
frontend sites
    bind 127.0.0.1:{port} ssl {certificates} alpn h2,http/1.1
    http-request return status 200 content-type application/octet-stream file {www}{BODY_PATH} if {{ path {BODY_PATH} }}{known}
",
        port = place.port,
        www = place.fleet.www().display(),
    );
    if let Some(Ports { files, echo, .. }) = place.given.upstreams {
        text.push_str(&format!(
            "    use_backend files if {{ path_beg /proxied/ }}
    use_backend echo if {{ path /echo }}
backend files
    http-reuse always
    http-request set-path %[path,regsub(^/proxied/,/)]
    server files 127.0.0.1:{files}
backend echo
    server echo 127.0.0.1:{echo}
"
        ));
    }
    let file = place.write("haproxy.cfg", &text)?;
    Ok(Launch::new(["-db", "-f", &file]))
}

/// What its runtime API can change: a list of certificates, and a map of the hosts that are there.
/// Gives the list, the line of the socket, and the condition.
fn changeable(place: &Place) -> Result<(String, String, &'static str), Failure> {
    let (mut list, mut map) = (String::new(), String::new());
    for (host, file) in place.fleet.hosts() {
        list.push_str(&format!("{}\n", file.display()));
        map.push_str(&format!("{host} {host}\n"));
    }
    let list = place.write("certificates.list", &list)?;
    place.write("hosts.map", &map)?;
    let socket = place.folder.join("runtime.sock");
    let socket = format!("    stats socket {} level admin\n", socket.display());
    Ok((format!("crt-list {list}"), socket, KNOWN))
}

/// Ports are no part of the map.
const KNOWN: &str = " { req.hdr(host),field(1,:),map(hosts.map) -m found }";
