//! `bindery import`: the sites of an IIS server, with a report of what was taken and what was not.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use bindery_control::{
    applier::What,
    history,
    home::{Form, Home},
    problems::{PlacedProblem, all_placed},
    things,
};
use bindery_iis::{
    config::{self, Proposed},
    netsh::records::{Records, parse_output},
};
use bindery_model::{
    certificate::{CertificateFiles, CertificateSource},
    change::{Act, Change, Fields, How, Place, Value},
    document::{self, Configuration, Document, edit, write},
    problem::Code,
};
use bindery_server::{text_of, tls::index::IndexedCertificates};
use serde_json::json;

use super::{
    appcmd::without_standards,
    change::{ChangeOptions, problems_text, said},
    steps::{COLUMNS, wrapped},
};
use crate::{
    door::Door,
    output::{self, Failure},
};

/// Endings of files that may hold a certificate.
const ENDINGS: [&str; 5] = ["pfx", "p12", "pem", "crt", "cer"];

/// The key of the server that has application pools.
const POOLS: &str = "application_pools";
/// The key of the server that has the folder which bindings take their certificates from.
const CENTRAL_STORE: &str = "central_store";

/// From where.
#[derive(clap::Subcommand)]
pub(crate) enum ImportCommand {
    /// Import the sites of an applicationHost.config.
    ///
    /// They are added to the configuration that is meant, or where there is none written to a new
    /// bindery.toml here. Folders of Windows are found by the table [paths] of a bindery.toml
    /// beside the file.
    Iis(Arguments),
    /// Import the certificate records of a Windows server.
    ///
    /// They are what `netsh http show sslcert` printed there, and become records beside an
    /// applicationHost.config, or certificates of the bindings of a bindery.toml. Their
    /// certificates are found by thumbprint among those that are configured.
    Sslcert(super::sslcert::Arguments),
}

/// What `import iis` takes.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The applicationHost.config.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What `netsh http show sslcert` printed there, in any language.
    #[arg(long, value_name = "FILE")]
    sslcert: Option<PathBuf>,
    /// A folder of PFX or PEM files, whose certificates are named after them.
    #[arg(long, value_name = "FOLDER")]
    certificates: Option<PathBuf>,
    /// The file that has the password of PFX files.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Write a new bindery.toml there; one that is there is replaced by --force only.
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Leave the defaults of IIS behind: sites have those of bindery.toml.
    #[arg(long)]
    plain: bool,
    #[command(flatten)]
    change: ChangeOptions,
}

/// What was found.
struct Found {
    changes: Vec<Change>,
    /// What is wrong, or not supported, in the file.
    problems: Vec<PlacedProblem>,
    /// What is wrong with what stands beside it.
    notes: Vec<String>,
    /// The lines that the bindery.toml beside the file lacks.
    proposed: Proposed,
}

/// Imports it.
pub(crate) fn run(command: &ImportCommand) -> Result<ExitCode, Failure> {
    let arguments = match command {
        ImportCommand::Iis(arguments) => arguments,
        ImportCommand::Sslcert(arguments) => return super::sslcert::run(arguments),
    };
    let target = match &arguments.to {
        Some(to) => Some(to.clone()),
        None if arguments.change.config.path().is_err() => Some(PathBuf::from("bindery.toml")),
        None => None,
    };
    // Where the defaults of IIS hold they are not written out for each site, and cannot be.
    let has_them = match target {
        Some(_) => false,
        None => arguments.change.config.find()?.0.form == Form::Iis,
    };
    let found = find(arguments, target.is_some(), arguments.plain || has_them)?;
    let wrong = found.problems.iter().any(PlacedProblem::is_error);
    if !arguments.change.json {
        output::print(report(&found, target.is_some()));
    }
    if wrong && !arguments.change.force {
        return Err(Failure::new(
            "nothing was imported: mend what is wrong, or leave it out by --force",
        ));
    }
    match target {
        Some(target) => to_new_file(&target, &found, &arguments.change),
        None => into_what_is_there(found, &arguments.change),
    }
}

/// Reads it. A new file has the folders without a place where they could be.
fn find(arguments: &Arguments, is_new: bool, plain: bool) -> Result<Found, Failure> {
    let Arguments { file, sslcert, certificates, .. } = arguments;
    let unread = |error| Failure::because(format!("{} cannot be imported", file.display()), error);
    let home = Home::find(file).map_err(unread)?.as_source();
    let text = home.text().map_err(unread)?;
    if home.form != Form::Iis {
        let message = format!("{} is no applicationHost.config", file.display());
        return Err(Failure::new(message));
    }
    let mut notes = Vec::new();
    let records = match sslcert {
        None => Records::default(),
        Some(file) => records_of(file, &mut notes)?,
    };
    let (document, beside) = home.read(&text, &records);
    let proposed = config::proposed(&document.problems);
    let assumed = (is_new && !proposed.is_empty())
        .then(|| home.read_assuming(&text, &records, &proposed).0.configuration);
    let whole = assumed.as_ref().unwrap_or(&document.configuration);
    let mut difference = write::difference(&Configuration::default(), whole);
    if plain {
        // Where http goes to https, that is no matter of taste.
        let kept = ["root", "https_redirect"];
        let read = |text: &str| home.read(text, &records).0;
        without_standards(config::BARE, &read, &mut difference, &kept);
    }
    let Document { problems, .. } = &document;
    let name = file.display().to_string();
    let problems = [beside, all_placed(problems, &name, &text)].concat();
    // Settings of the whole server are those of the one that takes the sites, which have their
    // pools, and a place that their certificates come from.
    difference.0.retain_mut(|entry| match &mut entry.how {
        How::Changed(keys) if entry.at == Place::Server => {
            keys.retain(|key, _| [POOLS, CENTRAL_STORE].contains(&key.as_str()));
            !keys.is_empty()
        }
        _ => entry.at != Place::Server,
    });
    let mut changes = Vec::new();
    if let Some(folder) = certificates {
        changes = certificates_of(folder, arguments.password_file.as_deref(), &mut notes)?;
        without_those_beside(&mut changes, &whole.table.certificates, &mut notes);
    }
    changes.extend(write::changes(&difference));
    Ok(Found { changes, problems, notes, proposed })
}

/// The records that `netsh http show sslcert` printed. What cannot be read is noted.
pub(super) fn records_of(file: &Path, notes: &mut Vec<String>) -> Result<Records, Failure> {
    let named = file.display();
    // Windows' own redirection writes UTF-16.
    let bytes = fs::read(file)
        .map_err(|error| Failure::because(format!("{named} cannot be read"), error))?;
    let text = match bytes.as_slice() {
        [0xff, 0xfe, rest @ ..] => {
            let units = rest.chunks_exact(2).map(|pair| match pair {
                &[low, high] => u16::from_le_bytes([low, high]),
                _ => 0,
            });
            String::from_utf16_lossy(&units.collect::<Vec<_>>())
        }
        bytes => String::from_utf8_lossy(bytes).into_owned(),
    };
    let (records, unread) = parse_output(&text);
    notes.extend(unread.iter().map(|own| format!("{named}:{}: {}", own.line, own.why)));
    if records.is_empty() {
        return Err(Failure::new(format!(
            "{named} has no certificate records; it is what `netsh http show sslcert` prints"
        )));
    }
    Ok(records)
}

/// Certificates of a folder, each as `[[certificate]]`. What cannot be read is noted.
fn certificates_of(
    folder: &Path,
    password_file: Option<&Path>,
    notes: &mut Vec<String>,
) -> Result<Vec<Change>, Failure> {
    let unread =
        |error| Failure::because(format!("the folder {} cannot be read", folder.display()), error);
    let folder = fs::canonicalize(folder).map_err(unread)?;
    let password_file = password_file
        .map(std::path::absolute)
        .transpose()
        .map_err(|error| Failure::because("the password file cannot be told", error))?;
    let mut files: Vec<_> =
        fs::read_dir(&folder).map_err(unread)?.flatten().map(|entry| entry.path()).collect();
    files.sort();
    let mut sources = Vec::new();
    for file in files {
        let ending = file.extension().and_then(|own| own.to_str()).unwrap_or_default();
        let ending = ending.to_ascii_lowercase();
        let Some(stem) = file.file_stem().and_then(|own| own.to_str()) else { continue };
        if !ENDINGS.contains(&ending.as_str()) {
            continue;
        }
        let (name, key) = (stem.to_owned(), file.with_extension("key"));
        let is_pfx = ["pfx", "p12"].contains(&ending.as_str());
        let key = (!is_pfx && key.is_file()).then_some(key);
        let password_file = password_file.clone().filter(|_| is_pfx);
        sources
            .push(CertificateSource { name, files: CertificateFiles { file, key, password_file } });
    }
    let read = IndexedCertificates::read(&sources);
    let mut changes: Vec<Change> = Vec::new();
    for (source, entry) in sources.iter().zip(&read.entries) {
        let CertificateFiles { file, key, password_file } = &source.files;
        if let Some(Err(error)) = entry {
            notes.push(format!("{}: {}", file.display(), text_of(&**error)));
            continue;
        }
        let mut fields = Fields::from([("file".to_owned(), Value::from(file.as_path()))]);
        let more = [("key", key), ("password_file", password_file)];
        let more = more.into_iter().filter_map(|(name, own)| Some((name, own.as_ref()?)));
        fields.extend(more.map(|(name, own)| (name.to_owned(), Value::from(own.as_path()))));
        let at = Place::Certificate(source.name.clone());
        match changes.iter().any(|change| change.at == at) {
            true => {
                notes.push(format!("{}: not taken, another file of this name is", file.display()));
            }
            false => changes.push(Change { at, act: Act::Add(fields) }),
        }
    }
    Ok(changes)
}

/// Takes away what the `bindery.toml` beside the file names already.
fn without_those_beside(
    changes: &mut Vec<Change>,
    beside: &[CertificateSource],
    notes: &mut Vec<String>,
) {
    let beside: Vec<_> = beside
        .iter()
        .map(|own| {
            (own, fs::canonicalize(&own.files.file).unwrap_or_else(|_| own.files.file.clone()))
        })
        .collect();
    changes.retain(|change| {
        let (Place::Certificate(name), Act::Add(fields)) = (&change.at, &change.act) else {
            return true;
        };
        let is_its = |file: &Path| fields.get("file") == Some(&Value::from(file));
        if beside.iter().any(|(_, file)| is_its(file)) {
            return false;
        }
        let other = beside.iter().find(|(own, _)| own.name == *name);
        if let Some((_, file)) = other {
            notes.push(format!(
                "certificate {name:?} of the folder is not taken: the bindery.toml beside the file \
                 calls {} so",
                file.display()
            ));
        }
        other.is_none()
    });
}

fn counted(changes: &[Change]) -> String {
    let names = [
        "site",
        "binding",
        "application",
        "virtual directory",
        "certificate",
        "listener",
        "application pool",
    ];
    let [mut sites, mut bindings, mut applications, mut directories] = [0_usize; 4];
    let [mut certificates, mut listeners, mut pools] = [0_usize; 3];
    for Change { at, act } in changes {
        let inner = |key: &str| match act {
            Act::Add(fields) => match fields.get(key) {
                Some(Value::List(values)) => values.len(),
                _ => 0,
            },
            Act::Set(_) | Act::Remove => 0,
        };
        match at {
            Place::Site(_) => {
                sites += 1;
                bindings += inner("bindings");
                applications += inner("applications");
                directories += inner("virtual_directories");
            }
            Place::Certificate(_) => certificates += 1,
            Place::Listener(_) => listeners += 1,
            Place::Binding { .. } => bindings += 1,
            Place::Application { .. } => applications += 1,
            Place::VirtualDirectory { .. } => directories += 1,
            Place::Server => pools += pools_of(act).map_or(0, BTreeMap::len),
            Place::Record(_) => {}
        }
    }
    let counts = [sites, bindings, applications, directories, certificates, listeners, pools];
    let some = counts.iter().zip(names).filter(|(count, _)| **count > 0);
    let words: Vec<_> = some
        .map(|(count, name)| match (count, name) {
            (1, name) => format!("1 {name}"),
            (count, "virtual directory") => format!("{count} virtual directories"),
            (count, name) => format!("{count} {name}s"),
        })
        .collect();
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}

/// What was taken, what is wrong or otherwise here, and what is not supported.
fn report(found: &Found, is_new: bool) -> String {
    let Found { changes, problems, notes, proposed } = found;
    let mut out = format!("taken: {}\n", counted(changes));
    let not_here = Code::NotSupportedHere.as_str();
    let (not_supported, mut others): (Vec<_>, Vec<_>) =
        problems.iter().cloned().partition(|own| own.code == not_here);
    others.retain(|own| own.severity != "hint");
    if !others.is_empty() || !notes.is_empty() {
        out.push_str("\nto look at:\n");
        out.push_str(&problems_text(&others));
        for note in notes {
            writeln!(out, "{}", wrapped(note, COLUMNS).join("\n  ")).ok();
        }
    }
    if !not_supported.is_empty() {
        out.push_str("\nnot supported, and without effect here:\n");
        for problem in &not_supported {
            let text = format!("line {}: {}", problem.line().unwrap_or(1), problem.message);
            writeln!(out, "{}", wrapped(&text, COLUMNS).join("\n  ")).ok();
        }
    }
    let Proposed { paths, fastcgi } = proposed;
    if !paths.is_empty() {
        let what = match is_new {
            true => {
                "folders without a place here; they are written as if a bindery.toml beside the file had this, to be corrected there before another import, or in what is written"
            }
            false => {
                "folders without a place here, whose requests are answered 503; in a bindery.toml beside the file, before another import"
            }
        };
        writeln!(out, "\n{}:\n\n[paths]", wrapped(what, COLUMNS).join("\n")).ok();
        for (folder, place) in paths {
            writeln!(out, "'{folder}' = {:?}", place.display().to_string()).ok();
        }
    }
    if !fastcgi.is_empty() {
        let what = match is_new {
            true => {
                "programs without a FastCGI server here; sites are written as if a bindery.toml beside the file had this, to be corrected as above"
            }
            false => {
                "programs without a FastCGI server here, whose scripts are answered 404; in a bindery.toml beside the file, before another import"
            }
        };
        writeln!(out, "\n{}:\n\n[fastcgi]", wrapped(what, COLUMNS).join("\n")).ok();
        for (program, server) in fastcgi {
            writeln!(out, "'{program}' = {:?}", server.to_string()).ok();
        }
    }
    out.push('\n');
    out
}

fn to_new_file(target: &Path, found: &Found, options: &ChangeOptions) -> Result<ExitCode, Failure> {
    let named = target.display();
    let failed = |error| Failure::because(format!("{named} cannot be written"), error);
    let text = edit::apply("version = 1\n", &found.changes)
        .map_err(|error| Failure::because("it cannot be written as bindery.toml", error))?;
    let folder = std::path::absolute(target).map_err(failed)?;
    let document = document::parse(&text, folder.parent().unwrap_or_else(|| Path::new("/")));
    let problems = all_placed(&document.problems, &named.to_string(), &text);
    let problems: Vec<_> = problems.into_iter().filter(PlacedProblem::is_error).collect();
    if !problems.is_empty() && !options.force {
        output::note_text(&problems_text(&problems));
        return Err(Failure::new("nothing was imported: what it comes to cannot be served"));
    }
    if !options.dry_run {
        let mut open = fs::OpenOptions::new();
        open.write(true);
        match options.force {
            true => open.create(true).truncate(true),
            false => open.create_new(true),
        };
        let written = open.open(target).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
        written.map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                Failure::new(format!("{named} is there already; --force replaces it"))
            }
            _ => failed(error),
        })?;
    }
    if options.json {
        let Found { changes, problems, notes, proposed } = found;
        let fastcgi = proposed.fastcgi.iter().map(|(key, server)| (key, server.to_string()));
        output::print_json(&json!({
            "to": target,
            "changes": changes,
            "problems": problems,
            "notes": notes,
            "paths": proposed.paths.iter().cloned().collect::<BTreeMap<_, _>>(),
            "fastcgi": fastcgi.collect::<BTreeMap<_, _>>(),
        }))?;
    } else if options.dry_run {
        output::print(text);
    } else {
        output::print(format_args!("written to {named}; `bindery check` looks at its files\n"));
    }
    Ok(ExitCode::SUCCESS)
}

/// The application pools that a change sets.
fn pools_of(act: &Act) -> Option<&Fields> {
    match act {
        Act::Set(keys) => match keys.get(POOLS) {
            Some(Some(Value::Table(pools))) => Some(pools),
            _ => None,
        },
        Act::Add(_) | Act::Remove => None,
    }
}

/// What of a change is not there yet: certificates and listeners may stand there as they are, from
/// an earlier import or as those of the `bindery.toml` beside both; pools are added to those that
/// are there; the central store is the one that is there.
fn not_there(mut change: Change, there: &Configuration) -> Option<Change> {
    let own = things::one(there, &change.at);
    match (&change.at, &mut change.act) {
        (Place::Certificate(_) | Place::Listener(_), Act::Add(fields)) => {
            let mut own = own.unwrap_or_default();
            own.retain(|key, _| !["name", "on"].contains(&key.as_str()));
            (own != *fields).then_some(change)
        }
        (Place::Server, Act::Set(keys)) => {
            let mut own = own.unwrap_or_default();
            keys.retain(|key, _| key != CENTRAL_STORE || !own.contains_key(key));
            if let Some(Some(Value::Table(pools))) = keys.get_mut(POOLS)
                && let Some(Value::Table(mut all)) = own.remove(POOLS)
            {
                let is_there = |name: &String| {
                    all.keys().any(|known| known.to_lowercase() == name.to_lowercase())
                };
                pools.retain(|name, _| !is_there(name));
                match pools.is_empty() {
                    true => drop(keys.remove(POOLS)),
                    false => {
                        all.append(pools);
                        *pools = all;
                    }
                }
            }
            (!keys.is_empty()).then_some(change)
        }
        _ => Some(change),
    }
}

/// Adds it to the configuration that is meant. A number that another site has is not taken over.
fn into_what_is_there(found: Found, options: &ChangeOptions) -> Result<ExitCode, Failure> {
    let door = Door::open(&options.config, history::Door::Cli)?;
    let seen = door.seen()?;
    let taken: Vec<Value> =
        seen.configuration().table.sites.iter().map(|site| Value::from(site.id.0)).collect();
    let there = seen.configuration();
    let changes = found.changes.into_iter().filter_map(|change| not_there(change, there));
    let mut changes: Vec<_> = changes.collect();
    if seen.home.form == Form::Iis {
        // There it stands in the bindery.toml beside it.
        changes.retain_mut(|change| match &mut change.act {
            Act::Set(keys) if change.at == Place::Server => {
                keys.remove(CENTRAL_STORE);
                !keys.is_empty()
            }
            _ => true,
        });
    }
    for change in &mut changes {
        if let (Place::Site(_), Act::Add(fields)) = (&change.at, &mut change.act)
            && fields.get("id").is_some_and(|id| taken.contains(id))
        {
            fields.remove("id");
        }
    }
    said(door.apply(&options.request(What::Changes(changes), history::Door::Cli)), options)
}
