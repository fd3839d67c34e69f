//! What is typed behind `netsh`: words without regard to case, each as short as it stays clear, and
//! `tag=value`.

use super::records::{ApplicationId, Flag, Record, RecordChange, RecordKey, Settings, parse_hash};

/// A command that is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// `/?`, or nothing behind `http`: what there is.
    Help,
    /// `http show sslcert`.
    ShowSslcert {
        /// Which records.
        which: Which,
        /// Whether JSON is asked for by `json=enable`.
        json: bool,
    },
    /// `http add`, `update` or `delete sslcert`.
    Sslcert(RecordChange),
    /// `http add` or `update sslcert json=FILE`: what the file says, as
    /// [`super::records::changes_of_json`] reads it.
    SslcertFile {
        /// Which of the two.
        verb: Verb,
        /// The file.
        file: String,
    },
    /// `http show urlacl`.
    ShowUrlacl,
    /// `http show servicestate`.
    ShowServicestate,
    /// `http show iplisten`.
    ShowIplisten,
}

/// Which records are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// All.
    All,
    /// The one with this key.
    One(RecordKey),
    /// `scopedccs=`: the central store for one name. There is never a record of that kind.
    ScopedCentralStore,
}

/// What is done with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// It is shown.
    Show,
    /// It is made.
    Add,
    /// It is changed.
    Update,
    /// It is taken away.
    Delete,
}

impl Verb {
    /// What a change does.
    #[must_use]
    pub fn of(change: &RecordChange) -> Self {
        match change {
            RecordChange::Add(_) => Self::Add,
            RecordChange::Update { .. } => Self::Update,
            RecordChange::Delete(_) => Self::Delete,
        }
    }
}

/// What is said to everything else.
pub const SUPPORTED: &str = "\
The supported commands are:

http show sslcert   [ipport=ADDRESS:PORT | hostnameport=NAME:PORT | ccs=PORT]
                    [json=enable]
http add sslcert    {ipport=ADDRESS:PORT | hostnameport=NAME:PORT | ccs=PORT}
                    certhash=HASH appid=GUID [certstorename=NAME] [FLAG=enable]
http update sslcert {ipport=ADDRESS:PORT | hostnameport=NAME:PORT | ccs=PORT}
                    [certhash=HASH] [appid=GUID] [FLAG=enable|disable]
http delete sslcert {ipport=ADDRESS:PORT | hostnameport=NAME:PORT | ccs=PORT}
http show servicestate
http show iplisten
http show urlacl

hostnameport=ADDRESS:PORT:NAME is a record for that address alone.
";

/// Why a command is not answered, in netsh's manner.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrammarError {
    /// No such command here.
    #[error("The following command was not found: {0}.")]
    UnknownCommand(String),
    /// No such tag, or the beginning of several.
    #[error("{0} is not a valid argument for this command.")]
    UnknownTag(String),
    /// A value that is none.
    #[error("The parameter is incorrect: {tag}={value}.")]
    Value {
        /// What was to be done.
        verb: Verb,
        /// The tag.
        tag: &'static str,
        /// What was given.
        value: String,
    },
    /// Two keys.
    #[error("The parameter is incorrect: only one of ipport, hostnameport and ccs can be given.")]
    TwoKeys,
    /// One thing twice.
    #[error("The parameter is incorrect: {0} is given twice.")]
    Twice(&'static str),
    /// Something is missing without which nothing can be done.
    #[error("One or more essential parameters were not entered: {0} is missing.")]
    Missing(&'static str),
}

impl GrammarError {
    /// What a value should be, where one was given that is none.
    #[must_use]
    pub fn help(&self) -> Option<&'static str> {
        let Self::Value { tag, .. } = self else { return None };
        Some(match *tag {
            "ipport" => "write ADDRESS:PORT, as in 0.0.0.0:443, 192.0.2.1:443 or [2001:db8::1]:443",
            "hostnameport" => {
                "write NAME:PORT, as in www.example.com:443 or *.example.com:443; a record for an \
                 address or for every name is ipport="
            }
            "scopedccs" => "write NAME:PORT, as in www.example.com:443",
            "ccs" => "write the port, as in ccs=443",
            "certhash" => {
                "a thumbprint has 40 hexadecimal digits, without spaces; `bindery cert list \
                 --json` has those there are"
            }
            "appid" => {
                "write a GUID in braces; IIS's is {4dc3e181-e14b-4a21-b022-59fc669b0914}. Quote \
                 it where the shell takes braces"
            }
            "certstorename" | "sslctlidentifier" | "sslctlstorename" => "write a name",
            "revocationfreshnesstime" | "urlretrievaltimeout" => "write a number",
            _ => "write enable or disable",
        })
    }
}

/// Reads the words behind `netsh`.
///
/// # Errors
///
/// When it is not a command that is answered.
pub fn parse(words: &[String]) -> Result<Request, GrammarError> {
    let unknown = || GrammarError::UnknownCommand(words.join(" "));
    let asks =
        |word: &String| matches!(word.to_ascii_lowercase().as_str(), "/?" | "-?" | "?" | "help");
    match words {
        [] => return Ok(Request::Help),
        [http] if is_short_for(http, "http") => return Ok(Request::Help),
        [.., last] if asks(last) => return Ok(Request::Help),
        _ => {}
    }
    let [http, verb, object, rest @ ..] = words else { return Err(unknown()) };
    if !is_short_for(http, "http") {
        return Err(unknown());
    }
    let verbs = [
        ("show", Verb::Show),
        ("add", Verb::Add),
        ("update", Verb::Update),
        ("delete", Verb::Delete),
    ];
    let verb = verbs.into_iter().find(|(full, _)| is_short_for(verb, full));
    let verb = verb.map(|(_, verb)| verb).ok_or_else(unknown)?;
    let objects = ["sslcert", "urlacl", "servicestate", "iplisten"];
    let object = objects.into_iter().find(|full| is_short_for(object, full));
    match (verb, object) {
        (_, Some("sslcert")) => sslcert(verb, rest),
        (Verb::Show, Some("urlacl")) => {
            only(rest, &["url"])?;
            Ok(Request::ShowUrlacl)
        }
        (Verb::Show, Some("servicestate")) => {
            only(rest, &["view", "verbose"])?;
            Ok(Request::ShowServicestate)
        }
        (Verb::Show, Some("iplisten")) => {
            only(rest, &[])?;
            Ok(Request::ShowIplisten)
        }
        _ => Err(unknown()),
    }
}

/// Whether `word` is the beginning of `full`. Below two letters netsh has too much to choose from.
fn is_short_for(word: &str, full: &str) -> bool {
    let length = word.len();
    length >= 2 && full.get(..length).is_some_and(|start| start.eq_ignore_ascii_case(word))
}

fn only(words: &[String], tags: &[&'static str]) -> Result<(), GrammarError> {
    for word in words {
        let name = word.split_once('=').map_or(word.as_str(), |(name, _)| name);
        tag(name, tags.iter().copied())?;
    }
    Ok(())
}

/// The one tag that is meant by a name, which may be its beginning.
fn tag(name: &str, tags: impl Iterator<Item = &'static str>) -> Result<&'static str, GrammarError> {
    let name = name.to_ascii_lowercase();
    let mut found = tags.filter(|full| !name.is_empty() && full.starts_with(&name)).peekable();
    let first = found.next();
    match (first, found.next()) {
        (Some(full), next) if full == name || next.is_none() => Ok(full),
        (Some(_), Some(next)) if next == name => Ok(next),
        _ => Err(GrammarError::UnknownTag(name)),
    }
}

/// Tags of values, as the documentation orders them. The first ones need no tag in this order.
const VALUES: [&str; 12] = [
    "ipport",
    "certhash",
    "appid",
    "hostnameport",
    "ccs",
    "scopedccs",
    "json",
    "certstorename",
    "sslctlidentifier",
    "sslctlstorename",
    "revocationfreshnesstime",
    "urlretrievaltimeout",
];
/// So many of [`VALUES`] need no tag.
const WITHOUT_TAG: usize = 3;

/// What the words behind `sslcert` say.
#[derive(Default)]
struct Given {
    key: Option<RecordKey>,
    scoped: bool,
    json: Option<String>,
    settings: Settings,
}

fn sslcert(verb: Verb, words: &[String]) -> Result<Request, GrammarError> {
    let changes = matches!(verb, Verb::Add | Verb::Update);
    let known = |full: &&'static str| match *full {
        "ipport" | "hostnameport" | "ccs" => true,
        "scopedccs" => verb == Verb::Show,
        "json" => verb != Verb::Delete,
        _ => changes,
    };
    let flags = super::records::FLAGS.iter().map(|facts| facts.tag);
    let tags: Vec<&'static str> = VALUES.into_iter().chain(flags).filter(known).collect();
    let untagged = if changes { WITHOUT_TAG } else { 1 };
    let mut given = Given::default();
    let mut seen = Vec::new();
    for (place, word) in words.iter().enumerate() {
        let (full, value) = match (word.split_once('='), VALUES.get(place)) {
            (Some((name, value)), _) => (tag(name, tags.iter().copied())?, value),
            (None, Some(full)) if place < untagged => (*full, word.as_str()),
            (None, _) => return Err(GrammarError::UnknownTag(word.clone())),
        };
        if seen.contains(&full) {
            return Err(GrammarError::Twice(full));
        }
        seen.push(full);
        given.take(full, value).ok_or_else(|| GrammarError::Value {
            verb,
            tag: full,
            value: value.to_owned(),
        })??;
    }
    given.request(verb)
}

impl Given {
    /// Takes one value; nothing where it is none.
    fn take(&mut self, tag: &'static str, value: &str) -> Option<Result<(), GrammarError>> {
        let settings = &mut self.settings;
        match tag {
            "ipport" => return RecordKey::ip_port(value).map(|key| self.take_key(key)),
            "hostnameport" => return RecordKey::hostname_port(value).map(|key| self.take_key(key)),
            "ccs" => return RecordKey::central_store(value).map(|key| self.take_key(key)),
            "scopedccs" => {
                RecordKey::hostname_port(value)?;
                self.scoped = true;
            }
            "json" => self.json = Some(value.to_owned()),
            "certhash" => settings.certificate_hash = Some(parse_hash(visible(value))?),
            "appid" => settings.application_id = Some(visible(value).parse().ok()?),
            "certstorename" => settings.store_name = Some(text(value)?),
            "sslctlidentifier" => settings.ctl_identifier = Some(text(value)?),
            "sslctlstorename" => settings.ctl_store_name = Some(text(value)?),
            "revocationfreshnesstime" => {
                settings.revocation_freshness_seconds = Some(value.parse().ok()?);
            }
            "urlretrievaltimeout" => {
                settings.url_retrieval_milliseconds = Some(value.parse().ok()?);
            }
            flag => settings.flags.say(Flag::by_tag(flag)?, switch(value)?),
        }
        Some(Ok(()))
    }

    fn take_key(&mut self, key: RecordKey) -> Result<(), GrammarError> {
        match self.key.replace(key) {
            None => Ok(()),
            Some(_) => Err(GrammarError::TwoKeys),
        }
    }

    fn request(self, verb: Verb) -> Result<Request, GrammarError> {
        let Self { key, scoped, json, settings } = self;
        if verb == Verb::Show {
            let wrong = |value: String| GrammarError::Value { verb, tag: "json", value };
            let json = match json {
                Some(value) => switch(&value).ok_or_else(|| wrong(value))?,
                None => false,
            };
            let which = match (key, scoped) {
                (Some(_), true) => return Err(GrammarError::TwoKeys),
                (Some(key), false) => Which::One(key),
                (None, true) => Which::ScopedCentralStore,
                (None, false) => Which::All,
            };
            return Ok(Request::ShowSslcert { which, json });
        }
        if let (Some(file), None) = (json, &key) {
            return Ok(Request::SslcertFile { verb, file });
        }
        let key = key.ok_or(GrammarError::Missing("ipport, hostnameport or ccs"))?;
        Ok(Request::Sslcert(match verb {
            Verb::Show | Verb::Delete => RecordChange::Delete(key),
            Verb::Update if settings == Settings::default() => {
                return Err(GrammarError::Missing("what is to be updated"));
            }
            Verb::Update => RecordChange::Update { key, settings },
            Verb::Add => RecordChange::Add(added(key, &settings)?),
        }))
    }
}

/// The record that `add` makes.
pub(super) fn added(key: RecordKey, settings: &Settings) -> Result<Record, GrammarError> {
    let central = matches!(key, RecordKey::CentralStore(_));
    if settings.certificate_hash.is_none() && !central {
        return Err(GrammarError::Missing("certhash"));
    }
    let id: ApplicationId = settings.application_id.ok_or(GrammarError::Missing("appid"))?;
    Ok(Record::new(key, id).with(settings))
}

/// Without the marks that stand, unseen, before a thumbprint copied from a Windows dialog.
fn visible(value: &str) -> &str {
    value.trim_matches(|own: char| {
        own.is_whitespace()
            || matches!(own, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{feff}')
    })
}

fn text(value: &str) -> Option<String> {
    (!value.is_empty()).then(|| value.to_owned())
}

fn switch(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "enable" | "yes" => Some(true),
        "disable" | "no" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
