//! `bindery appcmd`, also through a link named `appcmd`: the program of IIS, on either form of
//! configuration.

use std::{collections::HashSet, ffi::OsString, io, path::PathBuf, process::ExitCode};

use bindery_control::{
    api::RequestRecord,
    applier::{Request, What},
    history,
    home::Form,
    problems::PlacedProblem,
    words::timestamp,
};
use bindery_iis::{
    appcmd::{self, Answer, Effect, Lost, World, grammar},
    config::{self, Sources},
    netsh::records::Records,
};
use bindery_model::{
    certificate::CertificateChoice,
    change::{Difference, Entry, How, Place},
    document::{Configuration, Document, write},
    name::HostPattern,
    problem::{Code, Problem, Severity},
};
use bindery_server::{clock, text_of};

use super::{
    change::{refused_said, warned_said},
    dialect::{Words, own_options},
    request::NO_SERVER,
    sni::asked_without_sni,
    steps::{COLUMNS, wrapped},
};
use crate::{
    ConfigOption,
    door::{Door, NotMade, Seen, actor, backups, running},
    output::{self, Failure},
};

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

/// Somebody else may be faster. Then it is looked once more at what is to be changed: IIS's program
/// waits for its turn, and scripts run several at a time.
fn answer(mut own: Words) -> Result<ExitCode, Failure> {
    take_config(&mut own.words, &mut own.config);
    let input = has_input(&own.words).then(|| io::read_to_string(io::stdin())).transpose();
    let input = input.map_err(|error| Failure::because("the input cannot be read", error))?;
    loop {
        match answer_once(&own, input.as_deref()) {
            Ok(Some(code)) => return Ok(code),
            Ok(None) => {}
            Err(failure) => {
                // Where scripts look for it, whoever found it.
                output::print(format_args!("ERROR ( message:{} )\n", first_line(&failure)));
                return Err(failure);
            }
        }
    }
}

fn first_line(failure: &Failure) -> String {
    text_of(failure).lines().next().unwrap_or_default().to_owned()
}

/// Nothing where somebody else was faster.
fn answer_once(own: &Words, input: Option<&str>) -> Result<Option<ExitCode>, Failure> {
    let Words { words, config, dry_run } = own;
    let seen = Seen::look(config)?;
    let text = match seen.home.form {
        Form::Iis => seen.text.clone(),
        Form::Toml => config::write(seen.configuration()).0,
    };
    let names = if is_about_backups(words) { backups(config)? } else { Vec::new() };
    let now: String = timestamp(clock::now()).chars().filter(char::is_ascii_alphanumeric).collect();
    let requests = requests(words, config)?;
    let world = World {
        text: &text,
        backups: &names,
        backup_name: now.trim_end_matches('Z'),
        requests: requests.as_deref().unwrap_or_default(),
    };
    let mut answer = appcmd::run(words, input, &world);
    if seen.home.form == Form::Toml && answer.text.is_some() {
        // A note of where it stands in a file that is not there.
        answer.notes.retain(|note| !note.contains("applicationHost.config"));
    }
    if let (Some(new), Form::Toml) = (&answer.text, seen.home.form) {
        let after = read(&seen, new).configuration;
        answer.notes.extend(asked_without_sni(seen.configuration(), &after));
    }
    let what = match (&answer.text, &answer.effect) {
        (Some(_), _) => Some(change_of(&seen, words, &text, &mut answer)),
        (None, Some(Effect::RestoreBackup(name))) => Some(Ok(What::Restore(name.clone()))),
        (None, _) => None,
    };
    let what = match what {
        Some(Err(refused)) => return refuse(&refused).map(Some),
        // It is so already.
        Some(Ok(What::Changes(all))) if all.is_empty() => None,
        Some(Ok(what)) => Some(what),
        None => None,
    };
    let mut warned = Vec::new();
    if let Some(what) = what {
        let request = Request {
            what,
            expected: None,
            actor: actor(history::Door::Appcmd),
            dry_run: *dry_run,
            force: false,
        };
        let door = Door::open(config, history::Door::Appcmd)?;
        // What it was made from is what it may replace.
        let Some(made) = door.apply_to(&seen.basis(), request) else { return Ok(None) };
        match made {
            Ok(outcome) if *dry_run => {
                output::print(&outcome.difference);
                told(&answer);
                return Ok(Some(ExitCode::SUCCESS));
            }
            Ok(outcome) => warned = outcome.problems,
            Err(refused) => return refuse(&refused).map(Some),
        }
    }
    if let (Some(effect), false) = (&answer.effect, *dry_run) {
        keep(effect, config)?;
    }
    output::print(&answer.output);
    told(&answer);
    warned_said(&warned);
    if requests.is_none() {
        output::note(format_args!("bindery: {NO_SERVER}"));
    }
    // Of the number that Windows has, a shell sees the lowest byte.
    Ok(Some(ExitCode::from(answer.exit.to_le_bytes()[0])))
}

/// Keeps what is in force under a name, or takes away what was kept.
fn keep(effect: &Effect, config: &ConfigOption) -> Result<(), Failure> {
    match effect {
        Effect::AddBackup(name) => Door::open(config, history::Door::Appcmd)?.add_backup(name),
        Effect::DeleteBackup(name) => {
            Door::open(config, history::Door::Appcmd)?.remove_backup(name)
        }
        // A change as any other, and made.
        Effect::RestoreBackup(_) => Ok(()),
    }
}

/// What is no part of appcmd's own output.
fn told(answer: &Answer) {
    for note in &answer.notes {
        output::note(wrapped(&format!("bindery: {note}"), COLUMNS).join("\n"));
    }
}

/// A change that was understood and cannot be made.
fn refuse(refused: &NotMade) -> Result<ExitCode, Failure> {
    let said = match refused.problems.first() {
        // What has a place in the file already is not wrong with what was asked for.
        Some(PlacedProblem { place: Some(place), message, .. }) => &format!(
            "Configuration error in {}, line {}: {message}; {}",
            place.file, place.line, refused.what
        ),
        Some(first) => &first.message,
        None => &refused.what,
    };
    output::print(format_args!("ERROR ( message:{said} )\n"));
    refused_said(refused, false)?;
    Ok(ExitCode::FAILURE)
}

fn has_input(words: &[String]) -> bool {
    grammar::parse(words).is_ok_and(|command| command.general("in").is_some())
}

/// Takes `/apphostconfig:FILE` out, which says where the configuration is, as `--config` does.
fn take_config(words: &mut Vec<String>, config: &mut ConfigOption) {
    const NAME: &str = "apphostconfig:";
    words.retain(|word| {
        let rest = word.strip_prefix(['/', '-']).unwrap_or_default();
        match rest.get(..NAME.len()) {
            Some(head) if head.eq_ignore_ascii_case(NAME) => {
                let file = rest.get(NAME.len()..).unwrap_or_default().trim_matches('"');
                config.config = Some(PathBuf::from(file));
                false
            }
            _ => true,
        }
    });
}

/// What to do where nothing more is known.
const UNKEPT_HELP: &str = "it would stay without effect, and be lost: leave it out; \
                           docs/configuration.md says what there is, and `bindery site set` sets it";

/// What was set of IIS and is not served here is not written into `bindery.toml`, where nothing
/// would keep it: what to do then.
fn instead_of(problem: &Problem) -> Option<&str> {
    match problem.code {
        Code::NotEnforced => Some(
            "bindery.toml has its own: client certificates by `tls` of a binding, names and \
             passwords by `basic_auth` (docs/configuration.md)",
        ),
        Code::NotSupportedHere if problem.help.is_empty() => Some(UNKEPT_HELP),
        Code::UnmappedPath => Some("name a folder of this machine, as in /srv/shop"),
        Code::NotSupportedHere => Some(&problem.help),
        _ if problem.severity() == Severity::Error && problem.help.is_empty() => Some(UNKEPT_HELP),
        _ if problem.severity() == Severity::Error => Some(&problem.help),
        _ => None,
    }
}

/// What to do instead of what `bindery.toml` has no place for; first what is said of it.
fn instead(lost: &Lost) -> (Option<&'static str>, &'static str) {
    let kind = lost.kind.split('/').take(2).collect::<Vec<_>>().join("/");
    let attribute = lost.attribute.as_deref().unwrap_or_default();
    match (kind.as_str(), attribute) {
        (_, name) if name.starts_with("lock") || name.starts_with("overrideMode") => (
            Some(
                "bindery.toml has no locks: no web.config is read beside it that could override it",
            ),
            "who may change what is said by the roles of tokens: `bindery token add --role`",
        ),
        (kind, "") if kind.starts_with("apppool") => (
            Some("of an application pool bindery.toml keeps attributes, no lists"),
            "give the program that needs them its environment or schedule itself",
        ),
        (kind, "password") if kind.starts_with("apppool") => (
            Some("of an application pool bindery.toml keeps no password"),
            "there are no worker processes that could be started with it; leave it out",
        ),
        ("site/logFile", _) => (
            Some("sites of bindery.toml are logged alike, each in its own folder W3SVC<id>"),
            "`bindery server set access_log=FOLDER` says below which folder; for more, access_log \
             in docs/configuration.md",
        ),
        ("site/traceFailedRequestsLogging", _) => (
            Some("failed requests are not traced"),
            "the errors log beside the access log has what was refused, and why",
        ),
        _ => (None, UNKEPT_HELP),
    }
}

/// A command is not done where anything of it would be lost.
fn not_kept(lost: &Lost) -> NotMade {
    let (what, help) = instead(lost);
    let shown = &lost.shown;
    let what = match what {
        Some(what) => format!("{what}: there is no place for {shown}"),
        None => format!("bindery.toml has no place for {shown}"),
    };
    NotMade { what, help: Some(help.to_owned()), ..NotMade::default() }
}

fn is_about_backups(words: &[String]) -> bool {
    grammar::parse(words).is_ok_and(|command| command.object == "BACKUP")
}

fn is_about_requests(words: &[String]) -> bool {
    grammar::parse(words).is_ok_and(|command| command.object == "REQUEST")
}

/// The requests under way, for a command that lists them; `None` where there is no server to ask.
fn requests(
    words: &[String],
    config: &ConfigOption,
) -> Result<Option<Vec<appcmd::Request>>, Failure> {
    if !is_about_requests(words) {
        return Ok(Some(Vec::new()));
    }
    let found = running(config, |client| client.requests(None, None, None))?;
    Ok(found.map(|all| all.into_iter().map(request).collect()))
}

/// A request under way as appcmd shows it.
fn request(own: RequestRecord) -> appcmd::Request {
    let RequestRecord { id, site, site_id, method, url, client, elapsed_ms, .. } = own;
    appcmd::Request {
        id,
        verb: method,
        url,
        time_ms: elapsed_ms,
        client: match client.is_loopback() {
            true => "localhost".to_owned(),
            false => client.to_string(),
        },
        site: site.unwrap_or_default(),
        site_id,
    }
}

/// What makes the new text of IIS's form so, here. What is left out of something new is noted.
fn change_of(
    seen: &Seen,
    words: &[String],
    text: &str,
    answer: &mut Answer,
) -> Result<What, NotMade> {
    let after = answer.text.clone().unwrap_or_default();
    if seen.home.form == Form::Iis {
        return Ok(What::Text(after));
    }
    let (before, new) = (read(seen, text), read(seen, &after));
    let known: HashSet<&str> = before.problems.iter().map(|own| own.message.as_str()).collect();
    let found = new.problems.iter().filter(|own| !known.contains(own.message.as_str()));
    if let Some((problem, help)) = found.filter_map(|own| Some((own, instead_of(own)?))).next() {
        let (what, help) = (problem.message.clone(), Some(help.to_owned()));
        return Err(NotMade { what, help, ..NotMade::default() });
    }
    let means_else = |text: &str| {
        let other = read(seen, text);
        let errors = other.problems.iter().any(|one| one.severity() == Severity::Error);
        errors || !write::difference(&other.configuration, &new.configuration).0.is_empty()
    };
    let kept = config::write(&new.configuration).0;
    let lost = appcmd::lost(text, &after, &kept, &means_else);
    if let Some(lost) = lost.iter().find(|lost| !lost.is_detail) {
        return Err(not_kept(lost));
    }
    answer.notes.extend(
        lost.iter()
            .map(|lost| format!("bindery.toml has no place for {}: it is left out", lost.shown)),
    );
    let mut difference = write::difference(&before.configuration, &new.configuration);
    let (empty, _) = config::write(&Configuration::default());
    without_standards(&empty, &|text| read(seen, text), &mut difference, &["root"]);
    let set_for_all = grammar::parse(words).is_ok_and(|command| {
        command.object == "CONFIG" && command.verb == "SET" && command.identifier.is_none()
    });
    let sites = difference
        .0
        .iter()
        .filter(|own| matches!((&own.at, &own.how), (Place::Site(_), How::Changed(_))));
    if set_for_all && sites.count() > 1 {
        answer.notes.push(
            "bindery.toml says so of each site: it was set at those there are, and sites to come \
             do not have it"
                .to_owned(),
        );
    }
    let difference = moved_bindings(difference);
    Ok(What::Changes(write::changes(&difference)))
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
    let mut document = config::read(&Sources {
        text,
        folder: &seen.home.folder,
        companion: &companion,
        records: &Records::default(),
        web_config: &|_| None,
        folders_with_web_config: &|_| Vec::new(),
        folder_named: &|folder| Some(folder.to_owned()),
        environment: &|name| std::env::var_os(name)?.into_string().ok(),
    });
    let Configuration { table, records, .. } = &mut document.configuration;
    for (place, binding) in table.bindings.iter_mut().enumerate() {
        let asks = records.as_ref().is_some_and(|records| records.asks_central(place));
        if binding.certificate == CertificateChoice::Central && !asks {
            // Beside IIS's form a store is for every binding without a record. Here it is for those
            // that say so, and the others have the best, as from every other door.
            binding.certificate = match binding.information.host {
                HostPattern::Any => CertificateChoice::None,
                HostPattern::Exact(_) | HostPattern::Wildcard(_) => CertificateChoice::Best,
            };
        }
    }
    document
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
