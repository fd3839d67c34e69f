//! Reading TOML with positions: each value by the type that its key takes, and a problem where it
//! is of another. What the keys mean is not known here.

use std::{
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use toml_edit::{Array, ArrayOfTables, Formatted, Item, Table, TableLike, Value};

use super::{NamedPath, PathKind, nearest::nearest};
use crate::problem::{Code, Problem, Span};

/// How many words are compared to find what was meant. A file with thousands of wrong names gets
/// suggestions for the first of them.
const COMPARISONS_MAX: usize = 200_000;

/// The text, and what was found wrong so far.
pub(super) struct Reader<'d> {
    text: &'d str,
    folder: &'d Path,
    /// Everything wrong.
    pub(super) problems: Vec<Problem>,
    /// Whether something was not understood that decides which binding answers: then nothing may
    /// be said about what is missing or out of reach.
    pub(super) incomplete: bool,
    /// Files and folders that only the machine can tell about.
    pub(super) paths: Vec<NamedPath>,
    /// Keys that only a site has; below another table TOML takes them for keys of that.
    pub(super) site_keys: Vec<&'static str>,
    comparisons_left: usize,
}

/// A table of the text.
pub(super) struct Section<'d> {
    table: &'d dyn TableLike,
    /// Where the part of the text begins that it was read from.
    base: usize,
    /// Its header; all of it where it stands in a line.
    pub(super) span: Span,
    /// Whose table it is, as messages begin.
    pub(super) owner: String,
}

/// A value of the text.
pub(super) struct Entry<'d> {
    node: Node<'d>,
    base: usize,
    /// Where the value stands.
    pub(super) span: Span,
    /// What its key is called.
    pub(super) key: &'d str,
    /// Where its key stands; the value itself where it is one of an array.
    pub(super) key_span: Span,
}

#[derive(Clone, Copy)]
enum Node<'d> {
    Text(&'d Formatted<String>),
    Integer(i64),
    Boolean(bool),
    Table(&'d dyn TableLike),
    Array(&'d Array),
    Tables(&'d ArrayOfTables),
    Other(&'static str),
}

/// A string of the text.
pub(super) struct Text<'d> {
    /// What it says.
    pub(super) value: &'d str,
    /// Where: between its quotes, if it stands there as it is.
    pub(super) span: Span,
    exact: bool,
}

impl Text<'_> {
    /// Where a part of the value stands: all of it where escapes hide the places.
    pub(super) fn part(&self, part: &Span) -> Span {
        match self.exact {
            true => self.span.start + part.start..self.span.start + part.end,
            false => self.span.clone(),
        }
    }
}

impl<'d> Section<'d> {
    /// The same table, called otherwise in messages.
    pub(super) fn called(&self, owner: String) -> Self {
        Self { table: self.table, base: self.base, span: self.span.clone(), owner }
    }

    /// The value of a key.
    pub(super) fn entry(&self, key: &str) -> Option<Entry<'d>> {
        let (key, item) = self.table.get_key_value(key)?;
        let base = self.base;
        let key_span = from(base, key.span()).unwrap_or_else(|| self.span.clone());
        let node = Node::of_item(item)?;
        let span = from(base, item.span()).unwrap_or_else(|| key_span.clone());
        Some(Entry { node, base, span, key: key.get(), key_span })
    }

    /// Where a key stands; the table itself where it has none such.
    pub(super) fn key_at(&self, key: &str) -> Span {
        self.entry(key).map_or_else(|| self.span.clone(), |entry| entry.key_span)
    }

    /// The values of all keys, for tables whose keys are names that people choose.
    pub(super) fn entries(&self) -> Vec<Entry<'d>> {
        self.table.iter().filter_map(|(key, _)| self.entry(key)).collect()
    }

    /// The first of these keys that is there.
    pub(super) fn first_of(&self, keys: &[&str]) -> Option<Entry<'d>> {
        keys.iter().find_map(|key| self.entry(key))
    }
}

impl<'d> Node<'d> {
    fn of_item(item: &'d Item) -> Option<Self> {
        Some(match item {
            Item::None => return None,
            Item::Value(value) => Self::of_value(value),
            Item::Table(table) => Self::Table(table),
            Item::ArrayOfTables(tables) => Self::Tables(tables),
        })
    }

    fn of_value(value: &'d Value) -> Self {
        match value {
            Value::String(text) => Self::Text(text),
            Value::Integer(number) => Self::Integer(*number.value()),
            Value::Boolean(yes) => Self::Boolean(*yes.value()),
            Value::Array(array) => Self::Array(array),
            Value::InlineTable(table) => Self::Table(table),
            Value::Float(_) => Self::Other("a number with a fraction"),
            Value::Datetime(_) => Self::Other("a date or time"),
        }
    }

    fn type_name(self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Boolean(_) => "a boolean",
            Self::Table(_) => "a table",
            Self::Array(_) => "an array",
            Self::Tables(_) => "an array of tables",
            Self::Other(name) => name,
        }
    }
}

impl Entry<'_> {
    /// The number that it is.
    pub(super) fn integer(&self) -> Option<i64> {
        match self.node {
            Node::Integer(number) => Some(number),
            _ => None,
        }
    }

    /// Whether it is the word `false`, which switches off what is inherited.
    pub(super) fn is_false(&self) -> bool {
        matches!(self.node, Node::Boolean(false))
    }

    /// Whether it is the word `true`, which takes the defaults.
    pub(super) fn is_true(&self) -> bool {
        matches!(self.node, Node::Boolean(true))
    }

    /// Whether it is a table.
    pub(super) fn is_table(&self) -> bool {
        matches!(self.node, Node::Table(_))
    }

    /// Whether it is a string; the other form of some keys is a table.
    pub(super) fn is_text(&self) -> bool {
        matches!(self.node, Node::Text(_))
    }

    /// Whether it is a table with that key.
    pub(super) fn has(&self, key: &str) -> bool {
        matches!(self.node, Node::Table(table) if table.contains_key(key))
    }

    /// Where a key of the table that it is stands.
    pub(super) fn place_of(&self, key: &str) -> Option<Span> {
        let Node::Table(table) = self.node else { return None };
        from(self.base, table.key(key).and_then(toml_edit::Key::span))
    }

    /// Whether it is an array with nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self.node, Node::Array(array) if array.is_empty())
    }

    /// Whether it is an array, of tables or of anything.
    pub(super) fn is_array(&self) -> bool {
        matches!(self.node, Node::Array(_) | Node::Tables(_))
    }
}

impl<'d> Reader<'d> {
    pub(super) fn new(text: &'d str, folder: &'d Path) -> Self {
        Self {
            text,
            folder,
            problems: Vec::new(),
            incomplete: false,
            paths: Vec::new(),
            site_keys: Vec::new(),
            comparisons_left: COMPARISONS_MAX,
        }
    }

    /// Has each table of an array of tables read, one after the other.
    pub(super) fn each(
        &mut self,
        root: &Section<'d>,
        key: &'static str,
        mut read: impl FnMut(&mut Self, &Section<'d>),
    ) {
        let before = self.problems.len();
        let sections = self.tables(root, key, |section| called(key, section, "name"));
        // Without its sites nobody knows who answers; without a certificate they do.
        self.incomplete |= key == "site" && self.problems.len() > before;
        sections.iter().for_each(|section| read(self, section));
    }

    /// Has the one table of an array of tables read that a part of the text holds; nothing where
    /// that is no TOML.
    pub(super) fn part(
        &mut self,
        key: &'static str,
        part: &Span,
        mut read: impl for<'c> FnMut(&mut Reader<'c>, &Section<'c>),
    ) -> Option<()> {
        let text = self.text.get(part.clone()).unwrap_or_default();
        let parsed = toml_edit::Document::parse(text).ok()?;
        self.within(|reader| {
            let Section { span, .. } = reader.root(parsed.as_table());
            let (table, base) = (parsed.as_table(), part.start);
            let root = Section { table, base, span, owner: String::new() };
            for section in reader.tables(&root, key, |section| called(key, section, "name")) {
                read(reader, &section);
            }
        });
        Some(())
    }

    /// Reads something that lives shorter than the rest.
    fn within<'c>(&mut self, read: impl FnOnce(&mut Reader<'c>))
    where
        'd: 'c,
    {
        let mut inner = Reader {
            text: self.text,
            folder: self.folder,
            problems: std::mem::take(&mut self.problems),
            incomplete: self.incomplete,
            paths: std::mem::take(&mut self.paths),
            site_keys: std::mem::take(&mut self.site_keys),
            comparisons_left: self.comparisons_left,
        };
        read(&mut inner);
        let Reader { problems, incomplete, paths, site_keys, comparisons_left, .. } = inner;
        (self.problems, self.paths, self.site_keys) = (problems, paths, site_keys);
        (self.incomplete, self.comparisons_left) = (incomplete, comparisons_left);
    }

    /// The whole document as a table.
    pub(super) fn root(&self, table: &'d Table) -> Section<'d> {
        let start = if self.text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        Section { table, base: 0, span: start..start, owner: "the file".to_owned() }
    }

    /// Where relative paths begin.
    pub(super) fn folder(&self) -> &'d Path {
        self.folder
    }

    pub(super) fn problem(
        &mut self,
        code: Code,
        span: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.problems.push(Problem::new(code, span, message, help));
    }

    /// A value that its key does not take.
    pub(super) fn bad(
        &mut self,
        section: &Section<'_>,
        span: Span,
        wrong: impl std::fmt::Display,
        help: impl Into<String>,
    ) {
        let message = format!("{}: {wrong}", section.owner);
        self.problem(Code::BadValue, span, message, help);
    }

    /// Remembers a path for the look at the machine.
    pub(super) fn name_path(
        &mut self,
        section: &Section<'_>,
        kind: PathKind,
        path: &Path,
        span: &Span,
    ) {
        let owner = section.owner.clone();
        self.paths.push(NamedPath { kind, path: path.to_owned(), span: span.clone(), owner });
    }

    /// Reads something on which the decision depends: if it has an error, the picture of who
    /// answers what is incomplete.
    pub(super) fn deciding<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.problems.len();
        let value = read(self);
        self.incomplete |= self.problems.len() > before;
        value
    }

    /// The known word nearest to `wanted`, as a sentence; nothing if there is none.
    pub(super) fn did_you_mean<'a>(
        &mut self,
        wanted: &str,
        known: impl ExactSizeIterator<Item = &'a str>,
    ) -> Option<String> {
        self.comparisons_left = self.comparisons_left.checked_sub(known.len())?;
        nearest(wanted, known).map(|word| format!("did you mean {word:?}?"))
    }

    /// Whether the table has none but these keys; a problem for each other one.
    pub(super) fn known(&mut self, section: &Section<'_>, keys: &[&'static str]) -> bool {
        self.known_beside(section, keys, &[])
    }

    /// The same, without a word on keys that were reported already.
    pub(super) fn known_beside(
        &mut self,
        section: &Section<'_>,
        keys: &[&'static str],
        reported: &[&str],
    ) -> bool {
        let mut all = true;
        for (key, item) in section.table.iter() {
            if keys.contains(&key) || reported.contains(&key) {
                continue;
            }
            all = false;
            let span = section.table.key(key).and_then(toml_edit::Key::span);
            let span = from(section.base, span.or_else(|| item.span()));
            let help = if self.site_keys.contains(&key) {
                "it is a key of [[site]]: write it there, above tables such as [site.proxy], which \
                 take all keys below them"
                    .to_owned()
            } else {
                self.did_you_mean(key, keys.iter().copied())
                    .unwrap_or_else(|| format!("the keys here are {}", keys.join(", ")))
            };
            let message = format!("{}: {key:?} is no key that is known here", section.owner);
            self.problem(
                Code::UnknownKey,
                span.unwrap_or_else(|| section.span.clone()),
                message,
                help,
            );
        }
        all
    }

    /// A value of another type than its key takes.
    pub(super) fn wrong_type(&mut self, section: &Section<'_>, entry: &Entry<'_>, takes: &str) {
        let Section { owner, .. } = section;
        let message =
            format!("{owner}: {} takes {takes}, not {}", entry.key, entry.node.type_name());
        let help = match (&entry.node, takes) {
            _ if example(entry.key).is_some() => {
                let example = example(entry.key).unwrap_or_default();
                format!("write it as {} = {example}", entry.key)
            }
            (Node::Integer(_) | Node::Other(_) | Node::Boolean(_), "a string") => {
                let raw = self.text.get(entry.span.clone()).unwrap_or_default();
                format!("put it in quotes: {} = \"{raw}\"", entry.key)
            }
            (Node::Text(text), "an array") => {
                format!("put it in brackets: {} = [{:?}]", entry.key, text.value())
            }
            (Node::Table(_), "an array of tables") => {
                format!("write the header as [[{}]]", entry.key)
            }
            (Node::Text(text), _) if ["true", "false"].contains(&text.value().as_str()) => {
                format!("write it without quotes: {} = {}", entry.key, text.value())
            }
            (Node::Text(text), _) if text.value().parse::<i64>().is_ok() => {
                format!("write it without quotes: {} = {}", entry.key, text.value())
            }
            _ => format!("write {takes} there"),
        };
        self.problem(Code::WrongType, entry.span.clone(), message, help);
    }

    /// A string of the table.
    pub(super) fn text(&mut self, section: &Section<'d>, key: &str) -> Option<Text<'d>> {
        let entry = section.entry(key)?;
        self.text_of(section, &entry)
    }

    /// A string that must be there.
    pub(super) fn required_text(
        &mut self,
        section: &Section<'d>,
        key: &str,
        example: &str,
    ) -> Option<Text<'d>> {
        match section.entry(key) {
            Some(entry) => self.text_of(section, &entry),
            None => {
                let message = format!("{}: {key} is missing", section.owner);
                let help = format!("add a line such as {key} = {example:?}");
                self.problem(Code::MissingKey, section.span.clone(), message, help);
                None
            }
        }
    }

    /// The string that an entry is.
    pub(super) fn text_of(&mut self, section: &Section<'_>, entry: &Entry<'d>) -> Option<Text<'d>> {
        let Node::Text(text) = entry.node else {
            self.wrong_type(section, entry, "a string");
            return None;
        };
        let value = text.value().as_str();
        let raw = self.text.get(entry.span.clone()).unwrap_or_default();
        let inside = ["\"\"\"", "'''", "\"", "'"].into_iter().find_map(|quotes| {
            let inner = raw.strip_prefix(quotes)?.strip_suffix(quotes)?;
            let break_after_quotes = inner.strip_suffix(value)?;
            ["", "\n", "\r\n"].contains(&break_after_quotes).then_some(())?;
            let start = entry.span.start + quotes.len() + break_after_quotes.len();
            Some(start..start + value.len())
        });
        // Nothing can be marked between the quotes of an empty string: they are marked themselves.
        let inside = inside.filter(|span| !span.is_empty());
        let exact = inside.is_some();
        Some(Text { value, span: inside.unwrap_or_else(|| entry.span.clone()), exact })
    }

    /// One of some words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        section: &Section<'d>,
        key: &str,
        choices: &[(&str, T)],
    ) -> Option<T> {
        let text = self.text(section, key)?;
        if let Some((_, choice)) = choices.iter().find(|(word, _)| *word == text.value) {
            return Some(*choice);
        }
        let words: Vec<_> = choices.iter().map(|(word, _)| format!("{word:?}")).collect();
        let words = words.join(" or ");
        let help = self
            .did_you_mean(text.value, choices.iter().map(|(word, _)| *word))
            .unwrap_or_else(|| format!("write {words}"));
        let message = format!("{}: {key} takes {words}, not {:?}", section.owner, text.value);
        self.problem(Code::BadValue, text.span, message, help);
        None
    }

    /// A whole number within bounds.
    pub(super) fn integer(
        &mut self,
        section: &Section<'d>,
        key: &str,
        bounds: RangeInclusive<i64>,
    ) -> Option<(i64, Span)> {
        let entry = section.entry(key)?;
        let Node::Integer(number) = entry.node else {
            self.wrong_type(section, &entry, "an integer");
            return None;
        };
        if bounds.contains(&number) {
            return Some((number, entry.span));
        }
        let (low, high) = (bounds.start(), bounds.end());
        let message = format!("{}: {key} goes from {low} to {high}, not {number}", section.owner);
        self.problem(
            Code::BadValue,
            entry.span,
            message,
            format!("write a number from {low} to {high}"),
        );
        None
    }

    /// True or false.
    pub(super) fn boolean(&mut self, section: &Section<'d>, key: &str) -> Option<bool> {
        let entry = section.entry(key)?;
        let Node::Boolean(yes) = entry.node else {
            self.wrong_type(section, &entry, "true or false");
            return None;
        };
        Some(yes)
    }

    /// Every string of an array; nothing where the key is not there.
    pub(super) fn texts(&mut self, section: &Section<'d>, key: &str) -> Option<Vec<Text<'d>>> {
        section.entry(key)?;
        let elements = self.elements(section, key, "an array");
        Some(elements.iter().filter_map(|element| self.text_of(section, element)).collect())
    }

    /// A path, from the folder of the document.
    pub(super) fn path(&mut self, section: &Section<'d>, key: &str) -> Option<(PathBuf, Span)> {
        let text = self.text(section, key)?;
        self.path_of(section, key, text)
    }

    /// The path that a text is.
    pub(super) fn path_of(
        &mut self,
        section: &Section<'_>,
        key: &str,
        text: Text<'_>,
    ) -> Option<(PathBuf, Span)> {
        if text.value.is_empty() || text.value.contains(char::is_control) {
            let wrong = if text.value.is_empty() { "is empty" } else { "has a control character" };
            let message = format!("{}: {key} {wrong}", section.owner);
            self.problem(
                Code::BadValue,
                text.span,
                message,
                "write a path; \".\" is the folder of this file",
            );
            return None;
        }
        Some((self.folder.join(text.value), text.span))
    }

    /// The table that an entry is.
    pub(super) fn section(
        &mut self,
        section: &Section<'_>,
        entry: &Entry<'d>,
        owner: impl FnOnce() -> String,
    ) -> Option<Section<'d>> {
        let Node::Table(table) = entry.node else {
            self.wrong_type(section, entry, "a table");
            return None;
        };
        Some(Section { table, base: entry.base, span: entry.span.clone(), owner: owner() })
    }

    /// The table of a key, if there is one.
    pub(super) fn table(
        &mut self,
        section: &Section<'d>,
        key: &str,
        owner: impl FnOnce() -> String,
    ) -> Option<Section<'d>> {
        let entry = section.entry(key)?;
        self.section(section, &entry, owner)
    }

    /// What stands in an array, written as `[[key]]` or in brackets; nothing where the key is not
    /// there.
    pub(super) fn elements(
        &mut self,
        section: &Section<'d>,
        key: &str,
        takes: &'static str,
    ) -> Vec<Entry<'d>> {
        let Some(array) = section.entry(key) else { return Vec::new() };
        let element = |node, span: Option<Span>| {
            let span = from(array.base, span).unwrap_or_else(|| array.span.clone());
            Entry { node, base: array.base, key_span: span.clone(), span, key: array.key }
        };
        match array.node {
            Node::Tables(tables) => {
                tables.iter().map(|table| element(Node::Table(table), table.span())).collect()
            }
            Node::Array(values) => {
                values.iter().map(|value| element(Node::of_value(value), value.span())).collect()
            }
            _ => {
                self.wrong_type(section, &array, takes);
                // One without its brackets: what is wrong in it is said too.
                match array.node {
                    Node::Text(_) | Node::Table(_) => vec![element(array.node, None)],
                    _ => Vec::new(),
                }
            }
        }
    }

    /// As [`Self::elements`], for who has had it read before: what is no array holds nothing.
    pub(super) fn elements_if_any(&mut self, section: &Section<'d>, key: &str) -> Vec<Entry<'d>> {
        match section.entry(key) {
            Some(entry) if entry.is_array() => self.elements(section, key, "an array"),
            _ => Vec::new(),
        }
    }

    /// Each table of an array of tables.
    pub(super) fn tables(
        &mut self,
        section: &Section<'d>,
        key: &'static str,
        owner: impl Fn(&Section<'d>) -> String,
    ) -> Vec<Section<'d>> {
        let mut sections = Vec::new();
        for entry in self.elements(section, key, "an array of tables") {
            if let Some(mut one) = self.section(section, &entry, String::new) {
                one.owner = owner(&one);
                sections.push(one);
            }
        }
        sections
    }
}

/// Where something stands in the text that stands so in the part of it that begins at `base`.
fn from(base: usize, span: Option<Span>) -> Option<Span> {
    span.map(|span| base + span.start..base + span.end)
}

/// How messages call something by the text of one of its keys, before that is read.
pub(super) fn called(what: &str, section: &Section<'_>, key: &str) -> String {
    match section.entry(key).map(|entry| entry.node) {
        Some(Node::Text(text)) if !text.value().is_empty() => format!("{what} {:?}", text.value()),
        _ if what.starts_with('a') => format!("an {what} without {key}"),
        _ => format!("a {what} without {key}"),
    }
}

/// How the value of a key looks that people take for something simpler than it is.
fn example(key: &str) -> Option<&'static str> {
    Some(match key {
        "rate_limit" => "{ requests = 10, seconds = 1 }",
        "basic_auth" => "{ file = \"htpasswd\" }",
        "health_check" => "{ path = \"/healthz\" }",
        "admin" => "\"127.0.0.1:9180\"",
        _ => return None,
    })
}
