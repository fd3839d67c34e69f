//! `bindery netsh`, also through a link named `netsh`: what HTTP.SYS would print of the
//! configuration.

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use bindery_control::explain::{choice, unserved};
use bindery_iis::netsh::{
    grammar::{self, Request, SUPPORTED},
    records::{ApplicationId, Flag, Record, RecordKey},
    sslcert::{Table, table},
};
use bindery_model::{
    binding::{Binding, Protocol},
    name::HostPattern,
    tls::{ClientCertificate, TlsVersion},
};
use bindery_server::snapshot::Snapshot;

use super::unserved::block_on;
use crate::{
    ConfigOption,
    output::{self, Failure},
};

/// What scripts expect a certificate to be in.
const STORE_NAME: &str = "MY";
/// What Windows says when a record is not there.
const NOT_FOUND: &str = "\nThe system cannot find the file specified.\n\n";

/// What `netsh` takes.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// As `http show sslcert`, in netsh's grammar; and --config FILE.
    #[arg(value_name = "WORDS", trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
    #[command(flatten)]
    config: ConfigOption,
}

/// Answers as a subcommand.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    answer(arguments.words.clone(), arguments.config.config.clone())
}

/// Answers as `netsh`: `words` are all that stands behind the program's name.
pub(crate) fn run_as_netsh(words: impl IntoIterator<Item = OsString>) -> Result<ExitCode, Failure> {
    answer(words.into_iter().collect(), None)
}

fn answer(words: Vec<OsString>, config: Option<PathBuf>) -> Result<ExitCode, Failure> {
    let (words, named) = without_config(words)?;
    let config = ConfigOption { config: named.or(config) };
    let request = match grammar::parse(&words) {
        Ok(request) => request,
        Err(error) => {
            output::print(format_args!("{error}\n{SUPPORTED}\n"));
            return Ok(ExitCode::FAILURE);
        }
    };
    let Request::ShowSslcert { key, json } = request;
    let unserved = unserved(config.load()?, None);
    for problem in &unserved.problems {
        output::note(format_args!("bindery: {problem}"));
    }
    let mut found = block_on(found(&unserved.snapshot))?;
    if let Some(key) = key {
        found.retain(|found| found.record.key == key);
        if found.is_empty() {
            output::print(NOT_FOUND);
            return Ok(ExitCode::FAILURE);
        }
    }
    for problem in found.iter().flat_map(|found| &found.problems) {
        output::note(format_args!("bindery: {problem}"));
    }
    let records: Vec<_> = found.into_iter().map(|found| found.record).collect();
    match json {
        true => output::print_json(&records.iter().collect::<Table<'_>>())?,
        false => output::print(table(&records)),
    }
    Ok(ExitCode::SUCCESS)
}

/// The words without `--config FILE` or `--config=FILE`, which may stand anywhere among them.
fn without_config(words: Vec<OsString>) -> Result<(Vec<String>, Option<PathBuf>), Failure> {
    let (mut rest, mut config) = (Vec::new(), None);
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let text = word.to_string_lossy().into_owned();
        if text == "--config" {
            let file = words.next().ok_or_else(|| Failure::new("--config names no file"))?;
            config = Some(PathBuf::from(file));
        } else if let Some(file) = text.strip_prefix("--config=") {
            config = Some(PathBuf::from(file));
        } else {
            rest.push(text);
        }
    }
    Ok((rest, config))
}

/// A record with what is wrong with its certificate.
struct Found {
    record: Record,
    problems: Vec<String>,
}

/// A record for each https binding, in HTTP.SYS's order: addresses, names, central stores.
async fn found(snapshot: &Snapshot) -> Vec<Found> {
    let mut found = Vec::new();
    for binding in &snapshot.configuration.table.bindings {
        if binding.information.protocol == Protocol::Https {
            found.push(record(snapshot, binding).await);
        }
    }
    found.sort_by(|one, other| one.record.key.cmp(&other.record.key));
    // All bindings of a port that use the central store share its record.
    found.dedup_by(|next, before| {
        let key = &next.record.key;
        *key == before.record.key && matches!(key, RecordKey::CentralStore(_))
    });
    found
}

async fn record(snapshot: &Snapshot, binding: &Binding) -> Found {
    let key = RecordKey::of(binding);
    let central = matches!(key, RecordKey::CentralStore(_));
    let (mut certificate_hash, mut problems) = (None, Vec::new());
    if !central {
        let name = match &binding.information.host {
            HostPattern::Exact(name) => Some(name),
            HostPattern::Wildcard(_) | HostPattern::Any => None,
        };
        let choice = choice(snapshot, binding, name).await;
        let broken = choice.broken.iter();
        problems.extend(broken.map(|problem| format!("{}: {problem}", binding.information)));
        certificate_hash = choice.shown.map(|(_, certificate)| certificate.facts.thumbprint);
    }
    let tls = &binding.tls;
    let asks = tls.client_certificate != ClientCertificate::Off;
    let flags = [
        // Revocation is not looked up.
        (Flag::VerifyRevocation, false),
        (Flag::NegotiateClientCertificate, asks),
        (Flag::DisableHttp2, !tls.http2),
        // Neither QUIC nor versions before TLS 1.2 are spoken at all.
        (Flag::DisableQuic, true),
        (Flag::DisableLegacyTls, true),
        (Flag::DisableTls12, tls.minimum > TlsVersion::Tls12),
        (Flag::DisableTls13, tls.maximum < TlsVersion::Tls13),
        (Flag::DisableOcspStapling, true),
        (Flag::EnableSessionTicket, !asks),
        (Flag::DisableSessionId, true),
    ];
    let record = Record {
        certificate_hash,
        store_name: (!central).then(|| STORE_NAME.to_owned()),
        flags: flags.into_iter().collect(),
        ..Record::new(key, ApplicationId::IIS)
    };
    Found { record, problems }
}
