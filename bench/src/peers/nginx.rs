//! nginx: one server block for each name.

use crate::failure::Failure;
use crate::peers::{CONNECTIONS_MAX, IDLE_TIMEOUT_SECONDS, Launch, Peer, Place};
use crate::upstreams::Ports;

pub(super) fn configure(peer: &Peer, place: &Place) -> Result<Launch, Failure> {
    let modern = has_http2_directive(&peer.version);
    let file = place.write("nginx.conf", &text(place, modern))?;
    let folder = place.folder.display().to_string();
    let log = place.folder.join("error.log").display().to_string();
    Ok(Launch::new(["-p", &folder, "-c", &file, "-e", &log]))
}

/// From 1.25.1 on HTTP/2 is a directive of its own; before it is a word of `listen`.
fn has_http2_directive(version: &str) -> bool {
    let number = version.split_once("nginx/").map_or("", |(_, rest)| rest);
    let mut parts = number.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse().ok());
    let mut next = || parts.next().unwrap_or(0_u32);
    (next(), next(), next()) >= (1, 25, 1)
}

fn text(place: &Place, modern: bool) -> String {
    let www = place.fleet.www();
    let (word, directive) = if modern { ("", "http2 on;") } else { (" http2", "") };
    let cache = if place.given.open_file_cache {
        "open_file_cache max=1000 inactive=60s; open_file_cache_valid 60s;"
    } else {
        ""
    };
    let log =
        if place.given.access_log { "access_log access.log combined" } else { "access_log off" };
    let (groups, locations) = upstreams(place);
    let mut text = format!(
        "worker_processes 1;
worker_rlimit_nofile 20000;
daemon off;
pid nginx.pid;
events {{ worker_connections {CONNECTIONS_MAX}; }}
http {{
    {log};
{groups}    sendfile on;
    tcp_nopush on;
    {cache}
    default_type application/octet-stream;
    keepalive_timeout {IDLE_TIMEOUT_SECONDS}s;
    client_header_timeout {IDLE_TIMEOUT_SECONDS}s;
    keepalive_requests 1000000000;
    server_names_hash_max_size 131072;
    server_names_hash_bucket_size 128;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_tickets on;
    root {};
    {directive}
",
        www.display()
    );
    for (host, certificate) in place.fleet.hosts() {
        text.push_str(&format!(
            "    server {{ listen 127.0.0.1:{}{word} ssl; server_name {host}; \
             ssl_certificate {file}; ssl_certificate_key {file};{locations} }}\n",
            place.port,
            file = certificate.display(),
        ));
    }
    text.push_str("}\n");
    text
}

/// The upstreams, with connections that are kept, and what leads to them.
fn upstreams(place: &Place) -> (String, String) {
    let Some(Ports { files, echo, fastcgi }) = place.given.upstreams else {
        return Default::default();
    };
    let groups = format!(
        "    upstream files {{ server 127.0.0.1:{files}; keepalive 64; keepalive_requests 1000000000; }}
    upstream program {{ server 127.0.0.1:{fastcgi}; keepalive 64; keepalive_requests 1000000000; }}
"
    );
    let locations = format!(
        "
        location /proxied/ {{ proxy_pass http://files/; proxy_http_version 1.1;
            proxy_set_header Connection \"\"; }}
        location /echo {{ proxy_pass http://127.0.0.1:{echo}; proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; }}
        location ~ \\.php$ {{ fastcgi_pass program; fastcgi_keep_conn on; include {PARAMETERS};
            fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name; }}"
    );
    (groups, locations)
}

/// What Debian's nginx sends to PHP.
const PARAMETERS: &str = "/etc/nginx/fastcgi_params";

#[cfg(test)]
mod tests {
    use super::has_http2_directive;

    #[test]
    fn the_http2_directive_is_known_from_1_25_1_on() {
        assert!(has_http2_directive("nginx version: nginx/1.31.3, built with OpenSSL 3.3.7"));
        assert!(has_http2_directive("nginx version: nginx/1.25.1"));
        assert!(!has_http2_directive("nginx version: nginx/1.25.0"));
        assert!(!has_http2_directive("nginx version: nginx/1.22.1, built with OpenSSL 3.0.22"));
        assert!(!has_http2_directive(""));
    }
}
