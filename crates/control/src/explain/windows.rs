//! What Windows would have done for the same client, and what is different here.

use std::net::SocketAddr;

use bindery_model::{
    binding::{Binding, Protocol},
    decide::windows::{FoundCertificate, Shows, Windows, certificate, site},
    name::{HostName, HostPattern},
    record::RecordKey,
};
use bindery_server::{snapshot::Snapshot, tls::keys};

use super::{
    ask::Asked,
    record::{AsWindows, Explanation, WindowsCertificate},
    unserved::{choice, name_of},
};
use crate::words::hex;

/// What this Windows would do; nothing where no connection comes about.
pub(super) async fn told(
    windows: Windows,
    snapshot: &Snapshot,
    asked: &Asked,
    here: &Explanation,
) -> Option<AsWindows> {
    if here.connect.problem.is_some() {
        return None;
    }
    let table = &snapshot.configuration.table;
    let local = SocketAddr::new(here.resolve.used, asked.target.port);
    let mut told = AsWindows {
        version: windows.to_string(),
        certificate: None,
        certificate_text: None,
        site: None,
        site_text: String::new(),
        differences: Vec::new(),
    };
    if asked.target.protocol == Protocol::Https {
        let has_file = |name: &str| snapshot.central().is_some_and(|own| own.find(name).is_some());
        let name = asked.server_name.as_ref();
        let found = certificate(windows, &snapshot.configuration, local, name, has_file);
        let Some(found) = found else {
            told.certificate_text = Some("none: the connection ends in the handshake".to_owned());
            told.site_text = "none is asked".to_owned();
            told.differences = differences(&told, here);
            return Some(told);
        };
        let shown = shown(windows, snapshot, &found, asked).await;
        told.certificate_text = Some(certificate_text(windows, &found, shown.as_ref(), asked));
        told.certificate = shown;
    }
    match site(windows, table, local, asked.target.host.name()) {
        Some((key, binding)) => {
            let name = &table.site(binding).name;
            told.site = Some(name.clone());
            told.site_text = format!("{name}, by {key}");
        }
        None => {
            told.site_text = "none: 400, the request hostname is invalid".to_owned();
        }
    }
    told.differences = differences(&told, here);
    Some(told)
}

/// What the record shows, where that is among what is known here.
async fn shown(
    windows: Windows,
    snapshot: &Snapshot,
    found: &FoundCertificate<'_>,
    asked: &Asked,
) -> Option<WindowsCertificate> {
    let (files, facts) = match found.shows {
        Shows::Nothing => return None,
        Shows::Certificate(hash) => {
            let table = &snapshot.configuration.table;
            let index = snapshot.certificates().await;
            let id = index.thumbprint(&hash)?;
            let files = table.certificate(id)?.files.clone();
            (files, index.facts(id)?.clone())
        }
        Shows::File => {
            let name = asked.server_name.as_ref()?;
            let files = snapshot.central()?.find(name.as_str())?.files;
            let certificate = keys::load(&files).ok()?;
            (files, certificate.facts)
        }
        Shows::Binding(binding) => {
            // By name, the certificate is that of the client's name; a record of an address cannot
            // know it.
            let name = match (windows, &found.record) {
                (Windows::Iis, RecordKey::HostnamePort { .. } | RecordKey::CentralStore(_)) => {
                    asked.server_name.as_ref()
                }
                (Windows::Iis | Windows::Iis7, _) => own_name(binding),
            };
            let (files, certificate) = choice(snapshot, binding, name).await.shown?;
            (files, certificate.facts)
        }
    };
    let called = name_of(snapshot, &files).map(str::to_owned);
    Some(WindowsCertificate {
        record: found.record.clone().into(),
        binding: found.binding.map(|binding| binding.information.to_string()),
        sharing: found.sharing,
        name: called.unwrap_or_else(|| files.file.display().to_string()),
        thumbprint: hex(&facts.thumbprint),
        covers: facts.covers(&asked.target.host.to_string()),
    })
}

fn own_name(binding: &Binding) -> Option<&HostName> {
    match &binding.information.host {
        HostPattern::Exact(name) => Some(name),
        HostPattern::Wildcard(_) | HostPattern::Any => None,
    }
}

fn certificate_text(
    windows: Windows,
    found: &FoundCertificate<'_>,
    shown: Option<&WindowsCertificate>,
    asked: &Asked,
) -> String {
    let record = String::from(found.record.clone());
    let name = match (shown, found.shows) {
        (Some(shown), _) => shown.name.clone(),
        (None, Shows::Certificate(hash)) => {
            format!("the certificate {}, which is not among those here", hex(&hash))
        }
        (None, _) => "none that can be shown".to_owned(),
    };
    let mut text = format!("{name}, of the record {record}");
    if found.sharing > 1 {
        text.push_str(&format!(", which {} bindings share", found.sharing));
        if let Shows::Binding(binding) = found.shows {
            let first = &binding.information;
            text.push_str(&format!(": taken to be that of the first, {first}"));
        }
    }
    if windows == Windows::Iis7 && asked.server_name.is_some() {
        text.push_str("; the server name is not looked at");
    }
    if shown.is_some_and(|shown| !shown.covers) {
        let host = &asked.target.host;
        text.push_str(&format!("; it does not cover {host}: browsers refuse it"));
    }
    text
}

fn differences(told: &AsWindows, here: &Explanation) -> Vec<String> {
    let mut differences = Vec::new();
    let shown = here.certificate.as_ref().and_then(|step| step.shown.as_ref());
    let theirs = told.certificate.as_ref().map(|own| own.thumbprint.as_str());
    let secure = told.certificate_text.is_some();
    if secure && shown.map(|own| own.thumbprint.as_str()) != theirs {
        differences.push(match shown {
            Some(own) => {
                let file = || own.file.display().to_string();
                let name = own.name.clone().unwrap_or_else(file);
                format!("the certificate is {name}")
            }
            None => "no certificate is shown".to_owned(),
        });
    }
    let winner = here.request.as_ref().and_then(|request| request.winner.as_ref());
    let status = here.request.as_ref().and_then(|request| request.status);
    let site = winner.map(|winner| winner.site.as_str());
    match (status, site) {
        (Some(status), _) if told.site.is_some() || status != 400 => {
            differences.push(format!("the answer is {status}"));
        }
        (None, Some(site)) if told.site.as_deref() != Some(site) => {
            differences.push(format!("site {site} answers"));
        }
        (None, None) if told.site.is_some() => {
            differences.push("no site answers: the handshake fails".to_owned());
        }
        _ => {}
    }
    differences
}
