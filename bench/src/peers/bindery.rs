//! Bindery: one site with one binding and one certificate for each name.

use crate::failure::Failure;
use crate::peers::{Launch, Place};

pub(super) fn configure(place: &Place) -> Result<Launch, Failure> {
    let state = place.folder.join("state");
    let mut text =
        format!("version = 1\n\n[server]\nworkers = 1\nstate_dir = \"{}\"\n", state.display());
    if place.given.access_log {
        text.push_str(&format!("access_log = \"{}\"\n", place.folder.join("log").display()));
    }
    let applications = place.given.upstreams.map_or_else(String::new, |ports| {
        format!(
            "applications = [
  {{ path = \"/proxied\", proxy = \"http://127.0.0.1:{}/\" }},
  {{ path = \"/echo\", proxy = \"http://127.0.0.1:{}\" }},
  {{ path = \"/app\", root = \"{}\", fastcgi = {{ to = \"127.0.0.1:{}\", idle_connections_max = 64 }} }},
]
",
            ports.files,
            ports.echo,
            place.fleet.www().display(),
            ports.fastcgi
        )
    });
    for (number, (host, certificate)) in place.fleet.hosts().enumerate() {
        text.push_str(&format!(
            "
[[certificate]]
name = \"name{number:05}\"
file = \"{file}\"

[[site]]
name = \"name{number:05}\"
root = \"{www}\"
{applications}
[[site.bindings]]
on = \"https/127.0.0.1:{port}:{host}\"
certificate = \"name{number:05}\"
",
            file = certificate.display(),
            www = place.fleet.www().display(),
            port = place.port,
        ));
    }
    let file = place.write("bindery.toml", &text)?;
    Ok(Launch::new(["run", "--config", &file]))
}
