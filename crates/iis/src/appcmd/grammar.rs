//! What is typed behind `appcmd`: a verb, an object, what names it, and parameters.
//!
//! Words come from any shell: quotes in brackets may be there, of either kind, or may be gone.

use crate::xml::is_character;

/// A command as it was typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// The verb, in upper case.
    pub verb: String,
    /// The object, in upper case and singular.
    pub object: String,
    /// What names one object.
    pub identifier: Option<String>,
    /// Everything else, in order.
    pub parameters: Vec<Parameter>,
}

/// `/name:value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// What is done.
    pub act: Act,
    /// What it is about.
    pub path: Vec<Segment>,
    /// What stands behind the colon; nothing where there is none.
    pub value: Option<String>,
    /// As it was typed, without its first mark.
    pub text: String,
    /// Whether it was typed `/!name`: a property, even where a general parameter is called so.
    pub escaped: bool,
}

/// What a parameter does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// `/name:value`
    Set,
    /// `/+name`
    Add,
    /// `/-name`
    Remove,
    /// `/~name`
    Clear,
}

/// A part of a property's path; parts are separated by dots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// An element or an attribute.
    Name(String),
    /// `[name='value',...]`: an element of a collection.
    Item(Item),
}

/// An element of a collection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Item {
    /// Attributes that it has, or gets.
    pub attributes: Vec<(String, String)>,
    /// `@start`, `@end`, `@3`: where it goes.
    pub position: Option<Place>,
}

/// Where an element of a collection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Before all others.
    Start,
    /// Behind all others.
    End,
    /// Before the one of this number, from 0.
    At(usize),
}

/// Why words are no command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrammarError {
    /// More words than one that begin with neither `/` nor `-`.
    #[error("The parameter \"{0}\" must begin with a / or - (HRESULT=80070057).")]
    Stray(String),
    /// A property's path that does not end, or has an empty part.
    #[error(
        "Malformed collection indexer; format is [@position,name='value',name2='value2',...].  The @position specifier is optional, and be '@start', '@end', or '@N' where N is a numeric index into the collection."
    )]
    Brackets,
    /// What no file in XML can hold (XML 1.0, 2.2).
    #[error("The parameter \"{0}\" has a character that cannot be written to the configuration.")]
    Character(String),
    /// One of them would be lost.
    #[error("The parameter \"{0}\" is given twice.")]
    Twice(String),
    /// A parameter without a name.
    #[error("The parameter \"{0}\" has no name.")]
    NoName(String),
}

/// Parameters that are not properties of an object.
const GENERAL: [&str; 10] =
    ["?", "text", "xml", "in", "config", "metadata", "commit", "apphostconfig", "debug", "section"];

impl Command {
    /// The value of a general parameter; empty where it has none.
    #[must_use]
    pub fn general(&self, name: &str) -> Option<&str> {
        let own = self.parameters.iter().find(|own| own.is_general() && own.is(name))?;
        Some(own.value.as_deref().unwrap_or_default())
    }

    /// What is about properties.
    pub fn properties(&self) -> impl Iterator<Item = &Parameter> {
        self.parameters.iter().filter(|own| !own.is_general())
    }
}

impl Parameter {
    /// Whether it has this name, whatever its case.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name().eq_ignore_ascii_case(name)
    }

    /// Its whole name, dots included; empty where brackets are in it.
    #[must_use]
    pub fn name(&self) -> String {
        let mut names = Vec::new();
        for segment in &self.path {
            match segment {
                Segment::Name(name) => names.push(name.as_str()),
                Segment::Item(_) => return String::new(),
            }
        }
        names.join(".")
    }

    fn is_general(&self) -> bool {
        !self.escaped && self.act == Act::Set && GENERAL.iter().any(|name| self.is(name))
    }
}

/// Reads the words behind `appcmd`.
///
/// # Errors
///
/// When a word is neither verb, object, identifier nor parameter, or a parameter is there twice.
pub fn parse(words: &[String]) -> Result<Command, GrammarError> {
    let mut command = Command::default();
    let mut plain = 0;
    for word in words {
        if !word.chars().all(is_character) {
            return Err(GrammarError::Character(word.escape_debug().to_string()));
        }
        if let Some(rest) = parameter_text(word) {
            command.parameters.push(parameter(rest)?);
            continue;
        }
        plain += 1;
        match plain {
            1 => command.verb = word.to_uppercase(),
            2 => command.object = singular(&word.to_uppercase()),
            3 => command.identifier = Some(word.clone()),
            _ => return Err(GrammarError::Stray(word.clone())),
        }
    }
    let set = command.parameters.iter().filter(|own| own.act == Act::Set && !own.name().is_empty());
    let mut names: Vec<_> = set.map(|own| own.name().to_lowercase()).collect();
    names.sort_unstable();
    if let Some((twice, _)) = names.iter().zip(names.iter().skip(1)).find(|(one, next)| one == next)
    {
        return Err(GrammarError::Twice(twice.clone()));
    }
    Ok(command)
}

/// What stands behind the mark of a parameter; nothing for other words. A lone `-` stands for
/// `/in`.
fn parameter_text(word: &str) -> Option<&str> {
    match word {
        "-" => Some("in"),
        _ => word.strip_prefix('/').or_else(|| word.strip_prefix('-')),
    }
}

pub(super) fn singular(object: &str) -> String {
    match object {
        "SITES" | "APPS" | "VDIRS" | "APPPOOLS" | "CONFIGS" | "WPS" | "REQUESTS" | "MODULES"
        | "BACKUPS" | "TRACES" | "BINDINGS" => object.trim_end_matches('S').to_owned(),
        _ => object.to_owned(),
    }
}

fn parameter(text: &str) -> Result<Parameter, GrammarError> {
    let (escaped, rest) = match text.strip_prefix('!') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (act, rest) = match rest.chars().next() {
        Some('+') => (Act::Add, &rest[1..]),
        Some('-') => (Act::Remove, &rest[1..]),
        Some('~') => (Act::Clear, &rest[1..]),
        _ => (Act::Set, rest),
    };
    // Of /+"[value='x']" some shells leave the quotes.
    let bare = rest.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(rest);
    let (path, value) = path(bare)?;
    if path.is_empty() {
        return Err(GrammarError::NoName(text.to_owned()));
    }
    let value = value.map(|value| unquoted(value).to_owned());
    Ok(Parameter { act, path, value, text: text.to_owned(), escaped })
}

/// A value without quotes around all of it.
fn unquoted(value: &str) -> &str {
    let inner = |mark| {
        let inner: &str = value.strip_prefix(mark)?.strip_suffix(mark)?;
        Some(inner).filter(|inner| !inner.contains(mark))
    };
    inner('"').or_else(|| inner('\'')).unwrap_or(value)
}

/// Reads a property's path, and what stands behind the colon that ends it.
fn path(text: &str) -> Result<(Vec<Segment>, Option<&str>), GrammarError> {
    let mut segments = Vec::new();
    let mut rest = text;
    loop {
        if let Some(inner) = rest.strip_prefix('[') {
            let (item, behind) = item(inner)?;
            segments.push(Segment::Item(item));
            rest = behind;
        } else {
            let end = rest.find([':', '.', '[']).unwrap_or(rest.len());
            let (name, behind) = rest.split_at(end);
            if !name.is_empty() {
                segments.push(Segment::Name(name.to_owned()));
            }
            rest = behind;
        }
        match rest.chars().next() {
            None => return Ok((segments, None)),
            Some(':') => return Ok((segments, rest.get(1..))),
            Some('.') => rest = rest.get(1..).unwrap_or_default(),
            Some('[') => {}
            Some(_) => return Err(GrammarError::Brackets),
        }
    }
}

/// Reads `name='value',name2='value2'` up to the bracket that ends it, and what stands behind.
fn item(text: &str) -> Result<(Item, &str), GrammarError> {
    let mut item = Item::default();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if let Some(behind) = rest.strip_prefix(']') {
            return Ok((item, behind));
        }
        if let Some(behind) = rest.strip_prefix('@') {
            let end = behind.find([',', ']']).ok_or(GrammarError::Brackets)?;
            let (word, behind) = behind.split_at(end);
            let word = word.trim().to_ascii_lowercase();
            item.position = Some(match word.as_str() {
                "start" => Place::Start,
                "end" => Place::End,
                number => Place::At(number.parse().map_err(|_| GrammarError::Brackets)?),
            });
            rest = behind;
        } else {
            let (name, behind) = rest.split_once('=').ok_or(GrammarError::Brackets)?;
            let (value, behind) = value(behind.trim_start())?;
            // An element has an attribute once.
            let again = |own: &(String, String)| own.0.eq_ignore_ascii_case(name.trim());
            let letter = |one: char| one.is_ascii_alphanumeric() || "-_.:".contains(one);
            let is_name = name.trim().starts_with(|one: char| one.is_ascii_alphabetic())
                && name.trim().chars().all(letter);
            if !is_name || item.attributes.iter().any(again) {
                return Err(GrammarError::Brackets);
            }
            item.attributes.push((name.trim().to_owned(), value));
            rest = behind;
        }
        rest = rest.trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest);
        if rest.is_empty() {
            return Err(GrammarError::Brackets);
        }
    }
}

/// Reads a value in brackets: quoted, with a doubled quote for one, or bare.
fn value(text: &str) -> Result<(String, &str), GrammarError> {
    let Some(mark) = text.chars().next().filter(|one| matches!(one, '\'' | '"')) else {
        let end = text.find([',', ']']).ok_or(GrammarError::Brackets)?;
        let (value, behind) = text.split_at(end);
        return Ok((value.trim().to_owned(), behind));
    };
    let mut value = String::new();
    let mut rest = text.get(1..).unwrap_or_default();
    loop {
        let (part, behind) = rest.split_once(mark).ok_or(GrammarError::Brackets)?;
        value.push_str(part);
        match behind.strip_prefix(mark) {
            Some(behind) => {
                value.push(mark);
                rest = behind;
            }
            None => return Ok((value, behind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(words: &[&str]) -> Result<Command, GrammarError> {
        parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    fn property(word: &str) -> Parameter {
        read(&["set", "site", "X", word]).unwrap().parameters.remove(0)
    }

    fn attributes(segment: &Segment) -> Vec<(&str, &str)> {
        let Segment::Item(item) = segment else { panic!("{segment:?}") };
        item.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    #[test]
    fn verbs_objects_and_marks_have_no_case_and_two_forms() {
        let command = read(&["LIST", "Sites", "Default Web Site", "-TEXT:Name", "/state:Started"]);
        let command = command.unwrap();
        assert_eq!((command.verb.as_str(), command.object.as_str()), ("LIST", "SITE"));
        assert_eq!(command.identifier.as_deref(), Some("Default Web Site"));
        assert_eq!(command.general("text"), Some("Name"));
        assert_eq!(command.properties().count(), 1);
        assert_eq!(read(&["add", "site", "-"]).unwrap().general("in"), Some(""));
        assert!(property("/!text:x").escaped);
        assert!(matches!(read(&["list", "site", "a", "b"]), Err(GrammarError::Stray(_))));
    }

    #[test]
    fn items_are_read_with_any_quotes_or_none() {
        let expected = vec![("protocol", "https"), ("bindingInformation", "*:443:x.com")];
        for word in [
            "/+bindings.[protocol='https',bindingInformation='*:443:x.com']",
            "/+bindings.[protocol=https,bindingInformation=*:443:x.com]",
            "/+bindings.[protocol=\"https\", bindingInformation=\"*:443:x.com\"]",
            "-+bindings.[protocol='https',bindingInformation='*:443:x.com']",
            "/+\"bindings.[protocol='https',bindingInformation='*:443:x.com']\"",
        ] {
            let own = property(word);
            assert_eq!((own.act, attributes(&own.path[1])), (Act::Add, expected.clone()), "{word}");
        }
        let set = property(
            "/bindings.[protocol='http',bindingInformation='*:80:'].bindingInformation:*:81:",
        );
        assert_eq!(set.value.as_deref(), Some("*:81:"));
        assert_eq!(set.path.len(), 3);
        let nested = property("/[path='/'].[path='/'].physicalPath:D:\\x");
        assert_eq!((nested.path.len(), nested.value.as_deref()), (3, Some("D:\\x")));
        let quoted = property("/+[value='it''s',@2]");
        assert_eq!(attributes(&quoted.path[0]), [("value", "it's")]);
        assert!(
            matches!(&quoted.path[0], Segment::Item(item) if item.position == Some(Place::At(2)))
        );
        assert_eq!(
            property("/bindings:\"http/*:80:a,https/*:443:a\"").value.as_deref(),
            Some("http/*:80:a,https/*:443:a")
        );
        for broken in ["/+[a='b'", "/+[a]", "/+[@x]", "/[a='b']c", "/+[='b']", "/+[a='b',A='c']"] {
            assert_eq!(
                read(&["set", "site", "X", broken]),
                Err(GrammarError::Brackets),
                "{broken}"
            );
        }
        assert!(matches!(read(&["set", "site", "X", "/"]), Err(GrammarError::NoName(_))));
        let unwritable = read(&["set", "config", "X", "/+a.[name='\u{2}']"]);
        assert!(matches!(unwritable, Err(GrammarError::Character(_))), "{unwritable:?}");
    }

    proptest! {
        #[test]
        fn any_words_are_read_or_refused(
            words in prop::collection::vec("\\PC{0,20}|[/+~-]{0,2}[a-z.]{0,8}[\\[\\]='\",:@.a-z0-9]{0,24}", 0..6)
        ) {
            if let Ok(command) = parse(&words) {
                let plain = words.iter().filter(|word| parameter_text(word).is_none()).count();
                prop_assert_eq!(command.parameters.len() + plain, words.len());
            }
        }
    }
}
