//! `bindery appcmd`, also through a link named `appcmd`: the program of IIS, on either form of
//! configuration.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::fs::{MetadataExt as _, lchown},
    path::{Path, PathBuf},
    process::ExitCode,
};

use bindery_control::{
    applier::{Request, What},
    history,
    home::Form,
    words::timestamp,
};
use bindery_iis::{
    appcmd::{self, Answer, Effect, Warning, World, grammar},
    config::{self, Sources},
    netsh::records::Records,
};
use bindery_model::{
    change::{Difference, Entry, How, Place},
    document::{Configuration, Document, write},
    problem::{Problem, Severity},
};
use bindery_server::clock;

use super::{
    change::refused_said,
    dialect::{Words, own_options},
    steps::{COLUMNS, wrapped},
};
use crate::{
    ConfigOption,
    door::{Door, NotMade, Seen, actor, form_name},
    output::{self, Failure},
};

/// Where backups are, in the state folder: a folder for each, with the configuration in it.
const BACKUPS: &str = "backup";

/// What is said where pools are made or changed, and there is no place to keep them.
const POOLS: &str = "bindery.toml has no application pools: one process serves all sites, and \
                     nothing was kept";

/// What `appcmd` takes.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// As `list sites`, in appcmd's grammar; and --config FILE, --dry-run.
    #[arg(value_name = "WORDS", trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
    #[command(flatten)]
    config: ConfigOption,
}

/// Answers as a subcommand.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    answer(own_options(arguments.words.clone(), arguments.config.clone())?)
}

/// Answers as `appcmd`: `words` are all that stands behind the program's name.
pub(crate) fn run_as_appcmd(
    words: impl IntoIterator<Item = OsString>,
) -> Result<ExitCode, Failure> {
    answer(own_options(words.into_iter().collect(), ConfigOption::default())?)
}

fn answer(own: Words) -> Result<ExitCode, Failure> {
    let Words { words, config, dry_run } = own;
    let seen = Seen::look(&config)?;
    let backups = Backups(seen.configuration().settings.state_dir.join(BACKUPS));
    let text = match seen.home.form {
        Form::Iis => seen.text.clone(),
        Form::Toml => config::write(seen.configuration()).0,
    };
    let input = has_input(&words).then(|| io::read_to_string(io::stdin())).transpose();
    let input = input.map_err(|error| Failure::because("the input cannot be read", error))?;
    let names = backups.names();
    let now: String = timestamp(clock::now()).chars().filter(char::is_ascii_alphanumeric).collect();
    let world = World {
        text: &text,
        backups: &names,
        backup_name: now.trim_end_matches('Z'),
        requests: &[],
    };
    let mut answer = appcmd::run(&words, input.as_deref(), &world);
    if is_about_pools(&words) && seen.home.form == Form::Toml && answer.text.take().is_some() {
        answer.notes.push(POOLS.to_owned());
    }
    let what = match (&answer.text, &answer.effect) {
        (Some(new), _) => Some(change_of(&seen, &text, new)?),
        (None, Some(Effect::RestoreBackup(name))) => Some(Ok(backups.restored(&seen, name)?)),
        (None, _) => None,
    };
    let what = match what {
        Some(Err(refused)) => return refuse(&refused),
        Some(Ok(what)) => Some(what),
        None => None,
    };
    if let Some(what) = what {
        let request = Request {
            what,
            // What it was made from is what it may replace.
            expected: seen.revision,
            actor: actor(history::Door::Appcmd),
            dry_run,
            force: false,
        };
        let door = Door::open(&config, history::Door::Appcmd)?;
        match door.apply(&request) {
            Ok(outcome) if dry_run => {
                output::print(&outcome.difference);
                told(&answer);
                return Ok(ExitCode::SUCCESS);
            }
            Ok(_) => {}
            Err(refused) => return refuse(&refused),
        }
    }
    if !dry_run {
        match &answer.effect {
            Some(Effect::AddBackup(name)) => backups.add(&seen, name)?,
            Some(Effect::DeleteBackup(name)) => backups.delete(name)?,
            Some(Effect::RestoreBackup(_)) | None => {}
        }
    }
    output::print(&answer.output);
    told(&answer);
    if is_about_requests(&words) {
        output::note("bindery: requests under way are counted, not listed: see `bindery status`");
    }
    // Of the number that Windows has, a shell sees the lowest byte.
    Ok(ExitCode::from(answer.exit.to_le_bytes()[0]))
}

/// What is no part of appcmd's own output.
fn told(answer: &Answer) {
    for note in &answer.notes {
        output::note(wrapped(&format!("bindery: {note}"), COLUMNS).join("\n"));
    }
    if let Some(warning) = &answer.warning {
        output::note_text(&warning_text(warning));
    }
}

/// What two bindings that share a certificate come to, and the ways out. Commands are not broken.
pub(crate) fn warning_text(warning: &Warning) -> String {
    let mut text = wrapped(&format!("bindery: {}", warning.message), COLUMNS).join("\n");
    text.push('\n');
    for (number, way) in (1..).zip(&warning.ways) {
        let what = wrapped(&format!("{number}. {}", way.what), COLUMNS).join("\n   ");
        text.push_str(&format!("{what}\n"));
        for command in &way.commands {
            text.push_str(&format!("     {command}\n"));
        }
    }
    text
}

/// A change that was understood and cannot be made.
fn refuse(refused: &NotMade) -> Result<ExitCode, Failure> {
    let said = refused.problems.first().map_or(&refused.what, |first| &first.message);
    output::print(format_args!("ERROR ( message:{said} )\n"));
    refused_said(refused, false)?;
    Ok(ExitCode::FAILURE)
}

fn has_input(words: &[String]) -> bool {
    grammar::parse(words).is_ok_and(|command| command.general("in").is_some())
}

/// Pools alone, or the pool of an application.
fn is_about_pools(words: &[String]) -> bool {
    grammar::parse(words).is_ok_and(|command| {
        let mut properties = command.properties();
        command.object == "APPPOOL"
            || command.object == "APP"
                && command.verb == "SET"
                && properties.all(|own| own.is("applicationPool"))
    })
}

fn is_about_requests(words: &[String]) -> bool {
    grammar::parse(words).is_ok_and(|command| command.object == "REQUEST")
}

/// What makes the new text of IIS's form so, here.
fn change_of(seen: &Seen, text: &str, after: &str) -> Result<Result<What, NotMade>, Failure> {
    if seen.home.form == Form::Iis {
        return Ok(Ok(What::Text(after.to_owned())));
    }
    let (before, after) = (read(seen, text), read(seen, after));
    let is_new = |problem: &&Problem| {
        problem.severity() == Severity::Error
            && !before.problems.iter().any(|own| own.message == problem.message)
    };
    if let Some(problem) = after.problems.iter().find(is_new) {
        let help = Some(problem.help.clone()).filter(|help| !help.is_empty());
        return Ok(Err(NotMade { what: problem.message.clone(), problems: Vec::new(), help }));
    }
    let mut difference = write::difference(&before.configuration, &after.configuration);
    let (empty, _) = config::write(&Configuration::default());
    without_standards(&empty, &|text| read(seen, text), &mut difference, &["root"]);
    if difference.0.is_empty() {
        let what = "bindery.toml has no place for what was changed".to_owned();
        let help = Some("it would stay without effect, and be lost".to_owned());
        return Ok(Err(NotMade { what, problems: Vec::new(), help }));
    }
    let difference = moved_bindings(difference);
    Ok(Ok(What::Changes(write::changes(&difference))))
}

/// A new site has what `bindery.toml` has by default, not what IIS has: of its keys those are taken
/// out that a site has of which nobody has said anything, in a text without other sites; but not
/// those that are `kept`.
pub(crate) fn without_standards(
    empty: &str,
    read: &dyn Fn(&str) -> Document,
    difference: &mut Difference,
    kept: &[&str],
) {
    const NAME: &str = "a site without anything of its own";
    let is_site =
        |entry: &Entry| matches!((&entry.at, &entry.how), (Place::Site(_), How::Added(_)));
    if !difference.0.iter().any(is_site) {
        return;
    }
    let words = ["add", "site", &format!("/name:{NAME}"), "/physicalPath:/"].map(str::to_owned);
    let world = World { text: empty, backups: &[], backup_name: "", requests: &[] };
    let Some(text) = appcmd::run(&words, None, &world).text else { return };
    let plain = write::fields(&read(&text).configuration, &Place::Site(NAME.to_owned()));
    let plain = plain.unwrap_or_default();
    for entry in difference.0.iter_mut().filter(|entry| is_site(entry)) {
        if let How::Added(keys) = &mut entry.how {
            keys.retain(|key, value| kept.contains(&key.as_str()) || plain.get(key) != Some(value));
        }
    }
}

/// What a text of IIS's form says with the settings of `bindery.toml`. Certificates stay where
/// they are.
fn read(seen: &Seen, text: &str) -> Document {
    let settings = seen.configuration().settings.clone();
    let configuration = Configuration { settings, ..Configuration::default() };
    let positions = Default::default();
    let companion = Document { configuration, positions, problems: Vec::new() };
    config::read(Sources {
        text,
        folder: &seen.home.folder,
        companion,
        records: &Records::default(),
        web_config: &|_| None,
        folders_with_web_config: &|_| Vec::new(),
        folder_named: &|folder| Some(folder.to_owned()),
        environment: &|name| std::env::var_os(name)?.into_string().ok(),
    })
}

/// Where a site has one binding less and one more, it is the same one with another text: it keeps
/// its certificate, of which IIS's form says nothing.
fn moved_bindings(difference: Difference) -> Difference {
    let mut entries = difference.0;
    let sites: Vec<String> = entries
        .iter()
        .filter_map(|entry| match (&entry.at, &entry.how) {
            (Place::Binding { site, .. }, How::Added(_)) => Some(site.clone()),
            _ => None,
        })
        .collect();
    for own in sites {
        let of = |entry: &Entry, added: bool| {
            matches!(&entry.at, Place::Binding { site, .. } if *site == own)
                && match entry.how {
                    How::Added(_) => added,
                    How::Removed(_) => !added,
                    How::Changed(_) => false,
                }
        };
        let places = |added| -> Vec<usize> {
            (0..).zip(&entries).filter(|(_, one)| of(one, added)).map(|(at, _)| at).collect()
        };
        let (&[gone], &[new]) = (places(false).as_slice(), places(true).as_slice()) else {
            continue;
        };
        let Some(Place::Binding { on, .. }) = entries.get(new).map(|one| one.at.clone()) else {
            continue;
        };
        if let Some(entry) = entries.get_mut(gone)
            && let Place::Binding { on: before, .. } = &entry.at
        {
            let keys = (Some(before.as_str().into()), Some(on.as_str().into()));
            entry.how = How::Changed([("on".to_owned(), keys)].into());
            entries.remove(new);
        }
    }
    Difference(entries)
}

/// The folder of backups.
struct Backups(PathBuf);

impl Backups {
    fn names(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(&self.0) else { return Vec::new() };
        let folders = entries.flatten().filter(|entry| entry.path().is_dir());
        let mut names: Vec<_> =
            folders.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// Keeps the configuration under a name.
    fn add(&self, seen: &Seen, name: &str) -> Result<(), Failure> {
        let folder = self.0.join(name);
        let kept = || {
            fs::create_dir_all(&folder)?;
            fs::write(folder.join(form_name(seen.home.form)), &seen.text)?;
            self.give()
        };
        kept().map_err(|error| Failure::because(format!("backup {name} cannot be kept"), error))
    }

    /// Backups belong to who has the state folder.
    fn give(&self) -> io::Result<()> {
        if !rustix::process::geteuid().is_root() {
            return Ok(());
        }
        let owner = fs::metadata(self.0.parent().unwrap_or(&self.0))?;
        own_all(&self.0, (owner.uid(), owner.gid()))
    }

    fn delete(&self, name: &str) -> Result<(), Failure> {
        fs::remove_dir_all(self.0.join(name))
            .map_err(|error| Failure::because(format!("backup {name} cannot be removed"), error))
    }

    /// What was kept, to be put in the place of what is.
    fn restored(&self, seen: &Seen, name: &str) -> Result<What, Failure> {
        let file = self.0.join(name).join(form_name(seen.home.form));
        fs::read_to_string(&file).map(What::Text).map_err(|error| {
            Failure::because(
                format!(
                    "backup {name} cannot be restored: it has no {} that can be read ({})",
                    form_name(seen.home.form),
                    file.display()
                ),
                error,
            )
        })
    }
}

fn own_all(path: &Path, owner: (u32, u32)) -> io::Result<()> {
    lchown(path, Some(owner.0), Some(owner.1))?;
    if path.symlink_metadata()?.is_dir() {
        for entry in fs::read_dir(path)? {
            own_all(&entry?.path(), owner)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bindery_model::change::{Act, Change, Fields};

    use super::*;

    fn entry(site: &str, on: &str, how: How) -> Entry {
        Entry { at: Place::Binding { site: site.to_owned(), on: on.to_owned() }, how }
    }

    #[test]
    fn a_binding_that_moves_is_changed_and_two_are_not_guessed_at() {
        let (added, removed) = (How::Added(Fields::new()), How::Removed(Fields::new()));
        let moved = moved_bindings(Difference(vec![
            entry("a", "https/*:444:", removed.clone()),
            entry("a", "https/*:443:a.example", added.clone()),
            entry("b", "https/*:443:b.example", added.clone()),
        ]));
        let changes = write::changes(&moved);
        assert_eq!(changes.len(), 2);
        let to = [("on".to_owned(), Some("https/*:443:a.example".into()))];
        let at = Place::Binding { site: "a".to_owned(), on: "https/*:444:".to_owned() };
        assert_eq!(changes[0], Change { at, act: Act::Set(to.into()) });
        let several = Difference(vec![
            entry("a", "https/*:444:", removed.clone()),
            entry("a", "https/*:445:", removed),
            entry("a", "https/*:443:a.example", added),
        ]);
        assert_eq!(moved_bindings(several.clone()), several);
    }
}
