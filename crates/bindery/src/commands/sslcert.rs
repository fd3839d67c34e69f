//! `bindery import sslcert`: the certificate records of a Windows server, as
//! `netsh http show sslcert` printed them there.

use std::{path::PathBuf, process::ExitCode};

use bindery_control::{applier::What, explain::unserved, history};
use bindery_iis::netsh::{
    plan::{Known, plan},
    records::{Record, RecordChange, RecordError},
};

use super::{
    change::{ChangeOptions, said},
    import::records_of,
    netsh::{NO_CERTIFICATE_HELP, form_of, thumbprints},
    steps::{COLUMNS, wrapped},
    unserved::block_on,
};
use crate::{
    door::Door,
    output::{self, Failure},
};

/// What `import sslcert` takes.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What `netsh http show sslcert` printed there, in any language.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    change: ChangeOptions,
}

/// Takes all records that can be taken, as one change, and says which cannot.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let Arguments { file, change: options } = arguments;
    let mut notes = Vec::new();
    let wanted = records_of(file, &mut notes)?;
    let door = Door::open(&options.config, history::Door::Cli)?;
    let seen = door.seen()?;
    let home = form_of(seen.home.form);
    let mut records = seen.records.clone();
    let unserved = unserved(seen.into_loaded(), None);
    let snapshot = &unserved.snapshot;
    let thumbprints = block_on(thumbprints(snapshot))?;
    let (mut changes, mut record_changes) = (Vec::new(), Vec::new());
    let (mut taken, mut there, mut lacks) = (0_usize, 0_usize, false);
    for record in wanted.iter() {
        if records.iter().any(|own| own == record) {
            there += 1;
            continue;
        }
        let known = Known {
            home,
            configuration: &snapshot.configuration,
            records: &records,
            has_certificate: &|hash| thumbprints.contains(hash),
        };
        let try_to = |change: &RecordChange| {
            plan(change, &known).and_then(|plan| Ok((records.apply(&plan.records)?, plan)))
        };
        let planned = match try_to(&RecordChange::Add(record.clone())) {
            Err(RecordError::Exists(_)) if options.force => try_to(&update(record)),
            planned => planned,
        };
        match planned {
            Ok((after, plan)) => {
                records = after;
                taken += 1;
                changes.extend(plan.changes);
                record_changes.extend(plan.records);
                notes.extend(plan.notes);
            }
            Err(error) => {
                lacks |= matches!(error, RecordError::NoCertificate { .. });
                let way = match error {
                    RecordError::Exists(_) => "; --force lets this one take its place",
                    _ => "",
                };
                notes.push(format!("{error}{way}"));
            }
        }
    }
    if !options.json {
        output::print(report((taken, there), &notes, lacks));
    }
    match (taken, there) {
        (0, 0) => return Err(Failure::new("nothing was imported: no record can be taken")),
        (0, _) => return Ok(ExitCode::SUCCESS),
        _ => {}
    }
    let what = What::Both(changes, record_changes);
    said(door.apply(&options.request(what, history::Door::Cli)), options)
}

fn update(record: &Record) -> RecordChange {
    RecordChange::Update { key: record.key.clone(), settings: record.to_settings() }
}

fn report((taken, there): (usize, usize), notes: &[String], lacks_certificates: bool) -> String {
    let counted = |count: usize| match count {
        1 => "1 certificate record".to_owned(),
        count => format!("{count} certificate records"),
    };
    let mut out = format!("taken: {}\n", counted(taken));
    if there > 0 {
        out.push_str(&format!("there already: {}\n", counted(there)));
    }
    if !notes.is_empty() {
        out.push_str("\nto look at:\n");
    }
    for note in notes {
        out.push_str(&wrapped(note, COLUMNS).join("\n  "));
        out.push('\n');
    }
    if lacks_certificates {
        out.push_str(&wrapped(NO_CERTIFICATE_HELP, COLUMNS).join("\n"));
        out.push('\n');
    }
    out.push('\n');
    out
}
