//! `bindery netsh`, also through a link named `netsh`: what HTTP.SYS would print of the
//! configuration.

use std::{collections::HashSet, ffi::OsString, fs, io, path::PathBuf, process::ExitCode};

use bindery_control::explain::{choice, unserved};
use bindery_iis::netsh::{
    grammar::{self, Request, Verb, Which},
    plan::{Known, plan},
    records::{self, ApplicationId, Flag, Record, RecordChange, RecordKey, Records},
    sslcert::{Table, table},
    state, text,
};
use bindery_model::{
    binding::{Binding, Protocol},
    document::Configuration,
    name::HostPattern,
    tls::{ClientCertificate, TlsVersion},
    trap::Home,
};
use bindery_server::snapshot::Snapshot;

use super::unserved::block_on;
use crate::{
    ConfigOption,
    output::{self, Failure},
};

/// What scripts expect a certificate to be in.
const STORE_NAME: &str = "MY";

/// What `netsh` takes.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// As `http show sslcert`, in netsh's grammar; and --config FILE, --dry-run.
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
    let Words { words, config: named, dry_run } = own_options(words)?;
    let config = ConfigOption { config: named.or(config) };
    let request = match grammar::parse(&words) {
        Ok(request) => request,
        Err(error) => {
            output::print(text::not_understood(&error));
            if text::explains(&error) {
                output::note(format_args!("bindery: {error}"));
            }
            return Ok(ExitCode::FAILURE);
        }
    };
    let (verb, changes) = match request {
        Request::ShowSslcert { which, json } => return show(&config, &which, json),
        Request::ShowServicestate => return tell(&config, state::service_state),
        Request::ShowIplisten => return tell(&config, state::ip_listen),
        Request::ShowUrlacl => {
            output::print(state::url_reservations());
            output::note("bindery: URLs need no reservation: see http show servicestate");
            return Ok(ExitCode::SUCCESS);
        }
        Request::Sslcert(change) => (Verb::of(&change), vec![change]),
        Request::SslcertFile { verb, file } => (verb, read_changes(verb, &file)?),
    };
    if !dry_run {
        let message = "records are only shown so far: --dry-run says what a change would come to";
        return Err(Failure::new(message));
    }
    try_changes(&config, verb, &changes)
}

fn tell(
    config: &ConfigOption,
    text: impl Fn(&Configuration) -> String,
) -> Result<ExitCode, Failure> {
    output::print(text(&config.load()?.document.configuration));
    Ok(ExitCode::SUCCESS)
}

fn show(config: &ConfigOption, which: &Which, json: bool) -> Result<ExitCode, Failure> {
    let unserved = unserved(config.load()?, None);
    for problem in &unserved.problems {
        output::note(format_args!("bindery: {problem}"));
    }
    let kept = kept(&unserved.snapshot.configuration)?;
    let mut found = block_on(found(&unserved.snapshot, &kept))?;
    match which {
        Which::All => {}
        Which::One(key) => found.retain(|found| found.record.key == *key),
        Which::ScopedCentralStore => found.clear(),
    }
    if found.is_empty() && *which != Which::All {
        output::print(text::NOT_FOUND);
        return Ok(ExitCode::FAILURE);
    }
    for problem in found.iter().flat_map(|found| &found.problems) {
        output::note(format_args!("bindery: {problem}"));
    }
    let records = found.iter().map(|found| &found.record);
    match json {
        true => output::print_json(&records.collect::<Table<'_>>())?,
        false => output::print(table(records)),
    }
    Ok(ExitCode::SUCCESS)
}

/// Says what changes to records would come to, and makes none.
fn try_changes(
    config: &ConfigOption,
    verb: Verb,
    changes: &[RecordChange],
) -> Result<ExitCode, Failure> {
    let unserved = unserved(config.load()?, None);
    let snapshot = &unserved.snapshot;
    let index = block_on(snapshot.certificates())?;
    let thumbprints: HashSet<[u8; 20]> = index
        .entries
        .iter()
        .flatten()
        .filter_map(|facts| Some(facts.as_ref().ok()?.thumbprint))
        .collect();
    let records = kept(&snapshot.configuration)?;
    for change in changes {
        let known = Known {
            home: Home::Toml,
            configuration: &snapshot.configuration,
            records: &records,
            has_certificate: &|hash| thumbprints.contains(hash),
        };
        match plan(change, &known) {
            Ok(plan) => {
                output::print(format_args!("{plan}"));
                for note in &plan.notes {
                    output::note(format_args!("bindery: {note}"));
                }
            }
            Err(error) => {
                output::print(text::failed(verb, &error));
                output::note(format_args!("bindery: {error}"));
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn read_changes(verb: Verb, file: &str) -> Result<Vec<RecordChange>, Failure> {
    let text = fs::read_to_string(file);
    let text = text.map_err(|error| Failure::because(format!("{file} cannot be read"), error))?;
    let wrong = |error| Failure::because(format!("{file} has no records"), error);
    records::changes_of_json(verb, &text).map_err(wrong)
}

/// Records that no binding has taken yet, kept in the state folder.
fn kept(configuration: &Configuration) -> Result<Records, Failure> {
    let file = configuration.settings.state_dir.join("sslcert.json");
    let named = |what: &str| format!("{} {what}", file.display());
    match fs::read(&file) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map_err(|error| Failure::because(named("is damaged"), error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Records::default()),
        Err(error) => Err(Failure::because(named("cannot be read"), error)),
    }
}

/// The words of netsh, and what is ours among them.
#[derive(Default)]
struct Words {
    words: Vec<String>,
    config: Option<PathBuf>,
    dry_run: bool,
}

/// Takes out `--config FILE`, `--config=FILE` and `--dry-run`, which may stand anywhere.
fn own_options(words: Vec<OsString>) -> Result<Words, Failure> {
    let mut own = Words::default();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let text = word.to_string_lossy().into_owned();
        if text == "--config" {
            let file = words.next().ok_or_else(|| Failure::new("--config names no file"))?;
            own.config = Some(PathBuf::from(file));
        } else if let Some(file) = text.strip_prefix("--config=") {
            own.config = Some(PathBuf::from(file));
        } else if text == "--dry-run" {
            own.dry_run = true;
        } else {
            own.words.push(text);
        }
    }
    Ok(own)
}

/// A record with what is wrong with its certificate.
struct Found {
    record: Record,
    problems: Vec<String>,
}

/// A record for each https binding and those that wait for one, in HTTP.SYS's order: addresses,
/// names, central stores.
async fn found(snapshot: &Snapshot, kept: &Records) -> Vec<Found> {
    let kept = kept.iter().map(|record| Found { record: record.clone(), problems: Vec::new() });
    let mut found: Vec<_> = kept.collect();
    for binding in &snapshot.configuration.table.bindings {
        if binding.information.protocol == Protocol::Https {
            found.push(record(snapshot, binding).await);
        }
    }
    found.sort_by(|one, other| one.record.key.cmp(&other.record.key));
    // All bindings of a port that use the central store share its record.
    found.dedup_by(|next, before| next.record.key == before.record.key);
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
