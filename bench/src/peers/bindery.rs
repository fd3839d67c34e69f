//! Bindery: one site with one binding and one certificate for each name.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::failure::{Context, Failure};
use crate::fleet::{Fleet, thumbprint};
use crate::peers::{Launch, Place};

pub(super) fn configure(place: &Place) -> Result<Launch, Failure> {
    let state = place.folder.join("state");
    let mut text =
        format!("version = 1\n\n[server]\nworkers = 1\nstate_dir = \"{}\"\n", state.display());
    if place.given.access_log {
        text.push_str(&format!("access_log = \"{}\"\n", place.folder.join("log").display()));
    }
    if let Some(more) = place.given.iis {
        return configure_iis(place, text, more);
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

/// The same in IIS's form: sites in `applicationHost.config`, certificates beside them by records.
fn configure_iis(place: &Place, mut settings: String, more: u32) -> Result<Launch, Failure> {
    let all = Fleet { names: place.fleet.names + more, ..place.fleet.clone() };
    for (number, (_, certificate)) in all.hosts().enumerate() {
        settings.push_str(&format!(
            "\n[[certificate]]\nname = \"name{number:05}\"\nfile = \"{}\"\n",
            certificate.display(),
        ));
    }
    place.write("bindery.toml", &settings)?;
    let mut sites = String::new();
    let mut records = Vec::new();
    for (number, (host, certificate)) in (1..).zip(place.fleet.hosts()) {
        sites.push_str(&format!(
            "      <site name=\"{host}\" id=\"{number}\">\r\n        \
             <application path=\"/\">\r\n          \
             <virtualDirectory path=\"/\" physicalPath=\"{www}\" />\r\n        \
             </application>\r\n        <bindings>\r\n          \
             <binding protocol=\"https\" bindingInformation=\"127.0.0.1:{port}:{host}\" \
             sslFlags=\"1\" />\r\n        </bindings>\r\n      </site>\r\n",
            www = place.fleet.www().display(),
            port = place.port,
        ));
        records.push(record(place.port, &host, &certificate)?);
    }
    let state = place.folder.join("state");
    fs::create_dir_all(&state).context(|| format!("cannot create {}", state.display()))?;
    place.write("state/sslcert.json", &json!({ "version": 1, "records": records }).to_string())?;
    // Types as a server with IIS has them, by far not all.
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<configuration>\r\n  \
         <system.applicationHost>\r\n    <sites>\r\n{sites}    </sites>\r\n  \
         </system.applicationHost>\r\n  <system.webServer>\r\n    <staticContent>\r\n      \
         <mimeMap fileExtension=\".bin\" mimeType=\"application/octet-stream\" />\r\n    \
         </staticContent>\r\n  </system.webServer>\r\n</configuration>\r\n"
    );
    let file = place.write("applicationHost.config", &text)?;
    Ok(Launch::new(["run", "--config", &file]))
}

/// The certificate record of a name.
pub(crate) fn record(port: u16, host: &str, certificate: &Path) -> Result<Value, Failure> {
    Ok(json!({
        "key": format!("hostnameport=127.0.0.1:{port}:{host}"),
        "certificate_hash": thumbprint(certificate)?,
        "application_id": "{4dc3e181-e14b-4a21-b022-59fc669b0914}",
    }))
}
