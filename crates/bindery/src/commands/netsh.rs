//! `bindery netsh`, also through a link named `netsh`: what HTTP.SYS would print of the
//! configuration.

use std::{collections::HashSet, ffi::OsString, fmt::Display, fs, process::ExitCode};

use bindery_control::{
    applier::{Outcome, Request as Asked, What},
    explain::{choice, unserved},
    history,
    home::{Form, Loaded},
};
use bindery_iis::netsh::{
    grammar::{self, Request, Verb, Which},
    plan::{Home, Known, Plan, is_shown, plan},
    records::{self, ApplicationId, Flag, Record, RecordChange, RecordError, RecordKey, Records},
    sslcert::{Table, table},
    state, text,
};
use bindery_model::{
    binding::{Binding, Protocol},
    document::Configuration,
    name::HostPattern,
    tls::{ClientCertificate, TlsVersion},
};
use bindery_server::snapshot::Snapshot;

use super::{
    change::{refused_said, warned_said},
    dialect::{Words, own_options},
    steps::{COLUMNS, wrapped},
    unserved::block_on,
};
use crate::{
    ConfigOption,
    door::{Door, NotMade, Seen, actor},
    output::{self, Failure},
};

/// What scripts expect a certificate to be in.
const STORE_NAME: &str = "MY";
/// What to do where nobody has a certificate.
pub(super) const NO_CERTIFICATE_HELP: &str = "help: give bindery.toml a [[certificate]] with its file; \
                                   `bindery cert list --json` has the thumbprints there are";

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
    answer(own_options(arguments.words.clone(), arguments.config.clone())?)
}

/// Answers as `netsh`: `words` are all that stands behind the program's name.
pub(crate) fn run_as_netsh(words: impl IntoIterator<Item = OsString>) -> Result<ExitCode, Failure> {
    answer(own_options(words.into_iter().collect(), ConfigOption::default())?)
}

fn answer(own: Words) -> Result<ExitCode, Failure> {
    let Words { words, config, dry_run } = own;
    let request = match grammar::parse(&words) {
        Ok(request) => request,
        Err(error) => {
            output::print(text::not_understood(&error));
            if text::explains(&error) {
                noted(&error);
            }
            if let Some(help) = error.help() {
                output::note(wrapped(&format!("help: {help}"), COLUMNS).join("\n"));
            }
            return Ok(ExitCode::FAILURE);
        }
    };
    let (verb, changes) = match request {
        Request::Help => {
            output::print(grammar::SUPPORTED);
            return Ok(ExitCode::SUCCESS);
        }
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
    change(&config, (verb, &changes), dry_run)
}

fn tell(
    config: &ConfigOption,
    text: impl Fn(&Configuration) -> String,
) -> Result<ExitCode, Failure> {
    output::print(text(Seen::look(config)?.configuration()));
    Ok(ExitCode::SUCCESS)
}

fn show(config: &ConfigOption, which: &Which, json: bool) -> Result<ExitCode, Failure> {
    let seen = Seen::look(config)?;
    let (form, kept) = (seen.home.form, seen.records.clone());
    let unserved = unserved(seen.into_loaded(), None);
    for problem in &unserved.problems {
        output::note(format_args!("bindery: {problem}"));
    }
    // As on Windows the records are all there is, where bindings have no certificates of their own.
    let table_of = match form {
        Form::Iis => None,
        Form::Toml => Some(&unserved.snapshot),
    };
    let mut found = block_on(found(table_of, &kept))?;
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

/// Makes changes to records, as one. Where somebody else is faster it is looked once more at what
/// is to be changed.
fn change(
    config: &ConfigOption,
    changes: (Verb, &[RecordChange]),
    dry_run: bool,
) -> Result<ExitCode, Failure> {
    loop {
        if let Some(code) = change_once(config, changes, dry_run)? {
            return Ok(code);
        }
    }
}

/// Nothing where somebody else was faster.
fn change_once(
    config: &ConfigOption,
    (verb, changes): (Verb, &[RecordChange]),
    dry_run: bool,
) -> Result<Option<ExitCode>, Failure> {
    let door = Door::open(config, history::Door::Netsh)?;
    let seen = door.seen()?;
    let basis = seen.basis();
    let home = form_of(seen.home.form);
    let mut records = seen.records.clone();
    let (found_at, text) = (seen.home.clone(), seen.text.clone());
    let unserved = unserved(seen.into_loaded(), None);
    let snapshot = &unserved.snapshot;
    let thumbprints = block_on(thumbprints(snapshot))?;
    let mut whole = Plan::default();
    for change in changes {
        let known = Known {
            home,
            configuration: &snapshot.configuration,
            records: &records,
            has_certificate: &|hash| thumbprints.contains(hash),
        };
        let planned =
            plan(change, &known).and_then(|plan| Ok((records.apply(&plan.records)?, plan)));
        match planned {
            Ok((after, plan)) => {
                records = after;
                whole.changes.extend(plan.changes);
                whole.records.extend(plan.records);
                whole.notes.extend(plan.notes);
            }
            Err(error) => {
                output::print(text::failed(verb, &error));
                noted(&error);
                if matches!(error, RecordError::NoCertificate { .. }) {
                    output::note(wrapped(NO_CERTIFICATE_HELP, COLUMNS).join("\n"));
                }
                return Ok(Some(ExitCode::FAILURE));
            }
        }
    }
    let mut notes = std::mem::take(&mut whole.notes);
    if whole.changes.is_empty() && whole.records.is_empty() {
        if dry_run {
            noted("it is so already: nothing would be changed");
        } else {
            output::print(text::done(verb));
        }
        notes.iter().for_each(noted);
        return Ok(Some(ExitCode::SUCCESS));
    }
    if home == Home::Iis {
        let (document, _) = found_at.read(&text, &records);
        let after = Loaded { home: found_at, text, records, document, beside: Vec::new() };
        notes.extend(block_on(left_to_choice(snapshot, changes, after))?);
    }
    let what = What::Both(whole.changes, whole.records);
    let actor = actor(history::Door::Netsh);
    let asked = Asked { what, expected: None, actor, dry_run, force: false };
    let Some(made) = door.apply_to(&basis, asked) else { return Ok(None) };
    said(made, verb, dry_run, &notes).map(Some)
}

/// Says what came of a change as netsh does, and what netsh has no words for beside it.
fn said(
    made: Result<Outcome, NotMade>,
    verb: Verb,
    dry_run: bool,
    notes: &[String],
) -> Result<ExitCode, Failure> {
    let outcome = match made {
        Ok(outcome) => outcome,
        Err(refused) => {
            output::print(text::not_made(verb));
            refused_said(&refused, false)?;
            return Ok(ExitCode::FAILURE);
        }
    };
    match dry_run {
        true => output::print(&outcome.difference),
        false => output::print(text::done(verb)),
    }
    warned_said(&outcome.problems);
    notes.iter().for_each(noted);
    Ok(ExitCode::SUCCESS)
}

/// On Windows a handshake fails where its record is gone. Here a binding with a name takes the best
/// certificate that covers it then: which, and how to have none.
async fn left_to_choice(before: &Snapshot, changes: &[RecordChange], after: Loaded) -> Vec<String> {
    let is_deleted = |key: RecordKey| {
        changes.iter().any(|one| matches!(one, RecordChange::Delete(own) if *own == key))
    };
    let after = unserved(after, None).snapshot;
    let mut notes = Vec::new();
    let table = &before.configuration.table;
    for (place, binding) in table.bindings.iter().enumerate() {
        let own = before.configuration.records.as_ref();
        let key = own.and_then(|records| records.of_binding(place, binding));
        if !key.is_some_and(is_deleted) {
            continue;
        }
        let Some(now) = after.configuration.table.bindings.get(place) else { continue };
        let name = match &now.information.host {
            HostPattern::Exact(name) => Some(name),
            HostPattern::Wildcard(_) | HostPattern::Any => None,
        };
        let Some((_, shown)) = choice(&after, now, name).await.shown else { continue };
        let (on, site) = (&now.information, &table.site(binding).name);
        notes.push(format!(
            "clients of {on} get the certificate {} from now on: without a record the best one that \
             covers the name is shown. On Windows their handshakes would fail. To have none, take \
             the binding away: `bindery binding remove {site:?} {on}`, or its certificate out of \
             [[certificate]]; only bindery.toml has a place for `certificate = \"none\"`",
            records::hex(&shown.facts.thumbprint)
        ));
    }
    notes
}

/// What is no part of netsh's own output.
fn noted(what: impl Display) {
    output::note(wrapped(&format!("bindery: {what}"), COLUMNS).join("\n"));
}

/// How records are kept beside a configuration of this form.
pub(super) fn form_of(form: Form) -> Home {
    match form {
        Form::Toml => Home::Toml,
        Form::Iis => Home::Iis,
    }
}

/// Those of all certificates that are configured and can be read.
pub(super) async fn thumbprints(snapshot: &Snapshot) -> HashSet<[u8; 20]> {
    let index = snapshot.certificates().await;
    let read = index.entries.iter().flatten();
    read.filter_map(|facts| Some(facts.as_ref().ok()?.thumbprint)).collect()
}

fn read_changes(verb: Verb, file: &str) -> Result<Vec<RecordChange>, Failure> {
    let text = fs::read_to_string(file);
    let text = text.map_err(|error| Failure::because(format!("{file} cannot be read"), error))?;
    let wrong = |error| Failure::because(format!("{file} has no records"), error);
    records::changes_of_json(verb, &text).map_err(wrong)
}

/// A record with what is wrong with its certificate.
struct Found {
    record: Record,
    problems: Vec<String>,
}

/// A record for each https binding and those that wait for one, in HTTP.SYS's order: addresses,
/// names, central stores.
async fn found(snapshot: Option<&Snapshot>, kept: &Records) -> Vec<Found> {
    let mut found = Vec::new();
    if let Some(snapshot) = snapshot {
        for binding in &snapshot.configuration.table.bindings {
            if binding.information.protocol == Protocol::Https && is_shown(binding) {
                found.push(record(snapshot, binding).await);
            }
        }
    }
    // Behind the bindings: one beside a binding that did not take it is not in force.
    let kept = kept.iter().map(|record| Found { record: record.clone(), problems: Vec::new() });
    found.extend(kept);
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
