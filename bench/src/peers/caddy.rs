//! Caddy: all certificates loaded from files, one route with the file server for all names, which
//! is cheaper than a route for each.

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::peers::{IDLE_TIMEOUT_SECONDS, Launch, Place};
use crate::upstreams::Ports;

pub(super) fn configure(place: &Place) -> Result<Launch, Failure> {
    let certificates: Vec<Value> =
        place.fleet.hosts().map(|(_, file)| json!({ "certificate": file, "key": file })).collect();
    let timeout = format!("{IDLE_TIMEOUT_SECONDS}s");
    let mut routes = Vec::new();
    if let Some(Ports { files, echo, .. }) = place.given.upstreams {
        let to = |port| json!([{ "dial": format!("127.0.0.1:{port}") }]);
        routes.push(json!({
            "match": [{ "path": ["/proxied/*"] }],
            "handle": [
                { "handler": "rewrite", "strip_path_prefix": "/proxied" },
                { "handler": "reverse_proxy", "upstreams": to(files) },
            ],
        }));
        routes.push(json!({
            "match": [{ "path": ["/echo"] }],
            "handle": [{ "handler": "reverse_proxy", "upstreams": to(echo) }],
        }));
    }
    routes.push(json!({ "handle": [{ "handler": "file_server", "root": place.fleet.www() }] }));
    let server = json!({
        "listen": [format!("127.0.0.1:{}", place.port)],
        "automatic_https": { "disable": true },
        "tls_connection_policies": [{}],
        "protocols": ["h1", "h2"],
        "idle_timeout": timeout,
        "routes": routes,
        "logs": place.given.access_log.then(|| json!({})),
    });
    let log = match place.given.access_log {
        true => json!({ "writer": {
            "output": "file", "filename": place.folder.join("access.log"), "roll": false,
        } }),
        false => json!({ "level": "ERROR" }),
    };
    let admin = match place.given.changeable {
        true => json!({
            "listen": format!("unix/{}", place.folder.join("admin.sock").display()),
            "origins": ["localhost"],
            "config": { "persist": false },
        }),
        false => json!({ "disabled": true, "config": { "persist": false } }),
    };
    let config = json!({
        "admin": admin,
        "logging": { "logs": { "default": log } },
        "storage": { "module": "file_system", "root": place.folder.join("storage") },
        "apps": {
            "tls": {
                "certificates": { "load_files": certificates },
                "cache": { "capacity": certificates.len().saturating_mul(2).max(100) },
            },
            "http": { "servers": { "sites": server } },
        },
    });
    let file = place.write("caddy.json", &config.to_string())?;
    let mut launch = Launch::new(["run", "--config", &file]);
    let folder = place.folder.display().to_string();
    launch.environment = vec![
        ("GOMAXPROCS", "1".to_owned()),
        ("HOME", folder.clone()),
        ("XDG_DATA_HOME", folder.clone()),
        ("XDG_CONFIG_HOME", folder),
    ];
    Ok(launch)
}
