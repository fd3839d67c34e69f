//! HAProxy: a folder of certificates. It serves no files, so the answer comes from memory, where
//! it has put the file at its start.

use crate::failure::Failure;
use crate::fleet::BODY_PATH;
use crate::peers::{CONNECTIONS_MAX, IDLE_TIMEOUT_SECONDS, Launch, Place};
use crate::upstreams::Ports;

pub(super) fn configure(place: &Place) -> Result<Launch, Failure> {
    let mut text = format!(
        "global
    nbthread 1
    maxconn {CONNECTIONS_MAX}
    ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
    mode http
    timeout connect 5s
    timeout server {IDLE_TIMEOUT_SECONDS}s
    timeout client {IDLE_TIMEOUT_SECONDS}s
    timeout http-request {IDLE_TIMEOUT_SECONDS}s
    timeout http-keep-alive {IDLE_TIMEOUT_SECONDS}s
frontend sites
    bind 127.0.0.1:{port} ssl crt {certificates}/ alpn h2,http/1.1
    http-request return status 200 content-type application/octet-stream file {www}{BODY_PATH} if {{ path {BODY_PATH} }}
",
        port = place.port,
        certificates = place.fleet.certificates().display(),
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
