//! `appcmd`, on the text of `applicationHost.config`: the same commands, lines, texts and exit codes
//! as the program of IIS.
//!
//! | module | answers |
//! |---|---|
//! | [`grammar`] | what was typed? |
//! | `schema` | which elements and attributes are there? |
//! | `property` | how is a property read and set? |
//! | `objects` | sites, applications, virtual directories, pools |
//! | `section` | `config` |
//! | `locks` | what may not be set below an element? |
//! | `shown` | what is printed of an object |

pub mod grammar;
mod locks;
mod objects;
mod property;
mod schema;
mod section;
mod shown;

use grammar::{Command, GrammarError};

use crate::{config::host::Host, xml, xml::draft::Draft};

/// What `appcmd` sees of the world.
pub struct World<'a> {
    /// The text of `applicationHost.config`.
    pub text: &'a str,
    /// Names of backups.
    pub backups: &'a [String],
    /// The name of a backup for which none is given: IIS takes the time, as `20060519T172530`.
    pub backup_name: &'a str,
    /// Requests under way.
    pub requests: &'a [Request],
}

/// A request under way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Its id.
    pub id: String,
    /// `GET`, as a rule.
    pub verb: String,
    /// Path and query.
    pub url: String,
    /// How long it runs.
    pub time_ms: u64,
    /// The client's address.
    pub client: String,
    /// The name of its site.
    pub site: String,
    /// The number of its site.
    pub site_id: u32,
}

/// What a command comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// What is printed, errors too, as the program of IIS prints them.
    pub output: String,
    /// What Windows would see as its exit code. Unix sees the lowest 8 bits of it: 1168 is 144.
    pub exit: u16,
    /// The new configuration, where it is another.
    pub text: Option<String>,
    /// What is to be done besides, by the caller.
    pub effect: Option<Effect>,
    /// Attributes and collections that are otherwise now: not those that were set to what they were,
    /// be it written, from above or by default.
    pub changed: Vec<String>,
    /// What has no counterpart here. No part of the output, which scripts read.
    pub notes: Vec<String>,
}

/// What the configuration's text cannot say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The configuration is kept under this name.
    AddBackup(String),
    /// The configuration becomes the one that was kept.
    RestoreBackup(String),
    /// What was kept is removed.
    DeleteBackup(String),
}

/// What went wrong, as it is printed and as scripts see it.
#[derive(Debug)]
struct Failure {
    exit: u16,
    message: String,
    /// What IIS does not say, and who asked wants to know.
    note: Option<String>,
}

/// Win32's ERROR_NOT_SUPPORTED.
const NOT_SUPPORTED: u16 = 50;
/// The terminal that help is laid out for.
const COLUMNS: usize = 80;
const USAGE: u16 = 87;
const EXISTS: u16 = 183;
const NOT_FOUND: u16 = 1168;

impl Failure {
    fn new(exit: u16, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), note: None }
    }

    fn usage(message: impl Into<String>) -> Self {
        Self::new(USAGE, message)
    }

    fn missing(object: &str, name: &str) -> Self {
        let message = format!("Cannot find {object} object with identifier \"{name}\".");
        Self::new(NOT_FOUND, message)
    }

    fn exists(name: &str) -> Self {
        let message = format!("Failed to add duplicate collection element \"{name}\".");
        Self::new(EXISTS, message)
    }

    /// A number that another site has, of which IIS says no more than the name of this one.
    fn number_taken(name: &str, id: u32, other: &str) -> Self {
        let note = format!("site \"{other}\" has the id {id}");
        Self { note: Some(note), ..Self::exists(name) }
    }

    fn unknown(name: &str) -> Self {
        Self::usage(format!("Unknown attribute \"{name}\".  Replace with -? for help."))
    }
}

impl From<GrammarError> for Failure {
    fn from(error: GrammarError) -> Self {
        Self::usage(error.to_string())
    }
}

/// A command under way.
struct Run<'a, 't> {
    world: &'a World<'a>,
    host: Host<'t>,
    answer: Answer,
}

type Done = Result<(), Failure>;

const OBJECTS: [(&str, &str); 11] = [
    ("SITE", "list set add delete start stop"),
    ("APP", "list set add delete"),
    ("VDIR", "list set add delete"),
    ("APPPOOL", "list set add delete start stop recycle"),
    ("CONFIG", "list set search lock unlock clear reset migrate"),
    ("WP", "list"),
    ("REQUEST", "list"),
    ("MODULE", "list"),
    ("BACKUP", "list add delete restore"),
    ("TRACE", "list"),
    ("BINDING", ""),
];

/// Executes the words behind `appcmd`. With several objects, from `/in`, all are changed or none.
#[must_use]
pub fn run(words: &[String], stdin: Option<&str>, world: &World<'_>) -> Answer {
    match answer(words, stdin, world) {
        Ok(answer) => answer,
        Err(failure) => Answer {
            output: format!("ERROR ( message:{} )\n", failure.message),
            exit: failure.exit,
            notes: failure.note.into_iter().collect(),
            ..Answer::default()
        },
    }
}

fn answer(words: &[String], stdin: Option<&str>, world: &World<'_>) -> Result<Answer, Failure> {
    let command = grammar::parse(words)?;
    if command.verb.is_empty() || command.general("?").is_some() {
        return Ok(Answer { output: help(&command), exit: 1, ..Answer::default() });
    }
    check(&command)?;
    if command.general("apphostconfig").is_some() {
        let message = "/apphostconfig is not supported: name the configuration to bindery itself.";
        return Err(Failure::usage(message));
    }
    let tree = xml::parse(world.text).map_err(|error| {
        let line = 1 + world.text.get(..error.span.start).unwrap_or_default().matches('\n').count();
        let message =
            format!("Configuration error in applicationHost.config, line {line}: {error}");
        Failure::new(13, message)
    })?;
    let mut run = Run { world, host: Host::new(Draft::new(&tree)), answer: Answer::default() };
    match command.general("in") {
        Some(_) => run.each_of_input(&command, stdin.unwrap_or_default())?,
        None => run.execute(&command)?,
    }
    let text = run.host.draft.finish();
    if text != world.text {
        // Names and characters are looked at where they are typed; depths and numbers here.
        if let Err(error) = xml::parse(&text) {
            let message = format!("This would write what cannot be read again: {error}.");
            return Err(Failure::usage(message));
        }
        run.answer.text = Some(text);
    }
    Ok(run.answer)
}

/// Whether there is such an object, and such a verb for it.
fn check(command: &Command) -> Done {
    let Command { verb, object, .. } = command;
    if object.is_empty() {
        return Err(Failure::usage(
            "Missing object type.  Run 'appcmd.exe /?' to display supported objects.",
        ));
    }
    let Some((_, verbs)) = OBJECTS.iter().find(|(own, _)| own == object) else {
        let message = format!(
            "Object '{object}' is not supported.  Run 'appcmd.exe /?' to display supported objects."
        );
        return Err(Failure::usage(message));
    };
    if !verbs.split(' ').any(|own| own.eq_ignore_ascii_case(verb)) {
        let message = format!(
            "Command '{verb}' is not supported on object '{object}'.  Run 'appcmd.exe {object} /?' to display supported commands."
        );
        return Err(Failure::usage(message));
    }
    Ok(())
}

fn help(command: &Command) -> String {
    let mut text = String::from(
        "APPCMD (command) (object-type) <identifier> </parameter1:value1 ...>\n\nSupported object types:\n\n",
    );
    // Of `appcmd site /?` the first word is the object.
    let is_asked = |own: &str| match command.object.is_empty() {
        true => own == grammar::singular(&command.verb),
        false => own == command.object,
    };
    let all = || OBJECTS.iter().filter(|(_, verbs)| !verbs.is_empty());
    let any = all().any(|(own, _)| is_asked(own));
    for (object, verbs) in all().filter(|(own, _)| !any || is_asked(own)) {
        text.push_str(&format!("  {object:<8}  {verbs}\n"));
    }
    if let Some(of) = all().find_map(|(own, _)| is_asked(own).then(|| properties_of(own))?) {
        text.push_str("\nProperties to be set and chosen by:\n\n");
        text.push_str(&of);
    }
    text.push_str(
        "\nGeneral parameters:\n\n  /?  /text[:*|:attribute]  /xml  /in  -  /config[:*]  /commit:apphost\n  /section:NAME  /apphostconfig:FILE  /!name:value\n",
    );
    text
}

/// What an object may have, a line for each of its elements.
fn properties_of(object: &str) -> Option<String> {
    let root = match object {
        "SITE" => "site",
        "APP" => "site/application",
        "VDIR" => "site/application/virtualDirectory",
        "APPPOOL" => "apppool",
        _ => return None,
    };
    let mut text = String::new();
    for kind in schema::within(root) {
        let below = kind.path.get(root.len()..).unwrap_or_default().replace('/', ".");
        for (name, default) in kind.attributes() {
            let name = format!("/{}", format!("{below}.{name}").trim_start_matches('.'));
            let whole = default.map(|default| format!("{name}:{default}"));
            // Some defaults are long paths.
            let line = whole.filter(|line| line.len() < COLUMNS - 2).unwrap_or(name);
            text.push_str(&format!("  {line}\n"));
        }
    }
    Some(text)
}

impl Run<'_, '_> {
    fn execute(&mut self, command: &Command) -> Done {
        match (command.object.as_str(), command.verb.as_str()) {
            ("CONFIG", _) => self.config(command),
            ("BACKUP", verb) if verb != "LIST" => self.backup(command),
            (_, "LIST") => self.list(command),
            _ => self.object(command),
        }
    }

    fn line(&mut self, line: &str) {
        self.answer.output.push_str(line);
        self.answer.output.push('\n');
    }

    fn backup(&mut self, command: &Command) -> Done {
        let own = command.parameters.iter().find(|own| own.is("name"));
        let named = command.identifier.clone().or_else(|| own.and_then(|own| own.value.clone()));
        let known = |name: &str| {
            let mut all = self.world.backups.iter();
            all.find(|own| own.eq_ignore_ascii_case(name)).cloned()
        };
        if command.verb == "ADD" {
            let name = named.unwrap_or_else(|| self.world.backup_name.to_owned());
            if known(&name).is_some() {
                return Err(Failure::exists(&name));
            }
            // It is going to be a folder.
            if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\', '\0', ':']) {
                let message = format!("\"{name}\" cannot be the name of a backup.");
                return Err(Failure::usage(message));
            }
            self.line(&format!("BACKUP object \"{name}\" added"));
            self.answer.effect = Some(Effect::AddBackup(name));
            return Ok(());
        }
        let Some(name) = named else {
            return Err(Failure::usage("Must specify the BACKUP object with identifier."));
        };
        let Some(name) = known(&name) else { return Err(Failure::missing("BACKUP", &name)) };
        if command.verb == "DELETE" {
            self.line(&format!("BACKUP object \"{name}\" deleted"));
            self.answer.effect = Some(Effect::DeleteBackup(name));
        } else {
            self.line(&format!("Restored configuration from backup \"{name}\""));
            self.answer.effect = Some(Effect::RestoreBackup(name));
        }
        Ok(())
    }
}
