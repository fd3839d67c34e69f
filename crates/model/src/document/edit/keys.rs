//! Changes of keys in a part of a text that is TOML by itself. Each step reads the part anew, makes
//! one change, and leaves all other bytes as they are.

use toml_edit::{Array, ArrayOfTables, InlineTable, Item, Table, Value as Written};

use super::{
    Splice,
    blocks::{Step, blanks_above, blocks, indent, leaves, line_end, line_start},
    list::{self, List},
    part, splice,
};
use crate::{
    change::{Fields, Value, toml_key},
    document::write::layout::{self, Bindings},
};

/// A part of a text.
pub(super) struct Body<'t> {
    pub(super) text: &'t mut String,
}

/// What is at a place.
#[derive(Clone, Copy)]
pub(super) enum Held<'d> {
    Table(&'d Table),
    Inline(&'d InlineTable),
    Array(&'d Array),
    Tables(&'d ArrayOfTables),
    Value(&'d Written),
}

/// What holds the keys of a table: a header, or braces.
enum Holder<'d> {
    Section(&'d Table, Vec<Step>),
    Inline(&'d InlineTable),
}

pub(super) struct Found<'d> {
    pub(super) held: Held<'d>,
    holder: Holder<'d>,
    /// The keys from the holder to the table: one that is written with dots.
    dotted: Vec<String>,
}

/// What is to be done about a key.
enum Plan {
    Splices(Vec<Splice>),
    /// Each key of the table for itself; these are to go.
    Keys(Vec<String>),
    /// Taken out, and written anew.
    Anew,
    /// Elements from one place on take the place of so many.
    Elements(usize, usize),
    /// A table for each, of which so many are there.
    Sections(usize),
    /// One more table with a header.
    Section,
}

impl<'d> Held<'d> {
    fn of_item(item: &'d Item) -> Option<Self> {
        Some(match item {
            Item::None => return None,
            Item::Value(value) => Self::of_value(value),
            Item::Table(table) => Self::Table(table),
            Item::ArrayOfTables(tables) => Self::Tables(tables),
        })
    }

    fn of_value(value: &'d Written) -> Self {
        match value {
            Written::Array(array) => Self::Array(array),
            Written::InlineTable(table) => Self::Inline(table),
            _ => Self::Value(value),
        }
    }

    pub(super) fn get(self, key: &str) -> Option<Self> {
        match self {
            Self::Table(table) => table.get(key).and_then(Self::of_item),
            Self::Inline(table) => table.get(key).map(Self::of_value),
            Self::Array(_) | Self::Tables(_) | Self::Value(_) => None,
        }
    }

    fn keys(self) -> Vec<String> {
        match self {
            Self::Table(table) => table.iter().map(|(key, _)| key.to_owned()).collect(),
            Self::Inline(table) => table.iter().map(|(key, _)| key.to_owned()).collect(),
            Self::Array(_) | Self::Tables(_) | Self::Value(_) => Vec::new(),
        }
    }
}

pub(super) fn find<'d>(root: &'d Table, at: &[Step]) -> Option<Found<'d>> {
    let mut found = Found {
        held: Held::Table(root),
        holder: Holder::Section(root, Vec::new()),
        dotted: Vec::new(),
    };
    for (depth, step) in at.iter().enumerate() {
        let held = match (step, found.held) {
            (Step::Key(key), held) => held.get(key.as_ref())?,
            (Step::Index(place), Held::Array(array)) => Held::of_value(array.get(*place)?),
            (Step::Index(place), Held::Tables(tables)) => Held::Table(tables.get(*place)?),
            _ => return None,
        };
        match (held, step) {
            (Held::Table(table), _) if !table.is_dotted() => {
                let path = at.get(..=depth).unwrap_or_default().to_vec();
                (found.holder, found.dotted) = (Holder::Section(table, path), Vec::new());
            }
            (Held::Inline(table), _) if !table.is_dotted() => {
                (found.holder, found.dotted) = (Holder::Inline(table), Vec::new());
            }
            (_, Step::Key(key)) => found.dotted.push(key.to_string()),
            (_, Step::Index(_)) => {}
        }
        found.held = held;
    }
    Some(found)
}

/// What a value says, where a configuration can have it.
pub(super) fn meaning(value: &Written) -> Option<Value> {
    Some(match value {
        Written::String(text) => Value::Text(text.value().clone()),
        Written::Integer(number) => Value::Integer(*number.value()),
        Written::Boolean(yes) => Value::Boolean(*yes.value()),
        Written::Float(_) | Written::Datetime(_) => return None,
        Written::Array(array) => {
            Value::List(array.iter().map(meaning).collect::<Option<Vec<_>>>()?)
        }
        Written::InlineTable(table) => {
            let keys = table.iter().map(|(key, own)| Some((key.to_owned(), meaning(own)?)));
            Value::Table(keys.collect::<Option<Fields>>()?)
        }
    })
}

/// The table that a key stands for which has a shorter form: `to` of a proxy, `hsts = true`.
fn long_form(key: &str, value: &Written) -> Option<Fields> {
    let value = meaning(value)?;
    let only = |name: &str, value: Value| Fields::from([(name.to_owned(), value)]);
    match (key, value) {
        ("proxy", value @ (Value::Text(_) | Value::List(_))) => Some(only("to", value)),
        ("fastcgi" | "redirect", value @ Value::Text(_)) => Some(only("to", value)),
        ("respond", value @ Value::Text(_)) => Some(only("body", value)),
        ("access_log", value @ Value::Text(_)) => Some(only("folder", value)),
        ("hsts" | "compress", Value::Boolean(true)) => Some(Fields::new()),
        ("cors", Value::Text(word)) if word == "any" => Some(Fields::new()),
        _ => None,
    }
}

pub(super) fn join(at: &[Step], step: Step) -> Vec<Step> {
    at.iter().cloned().chain([step]).collect()
}

/// A path of tables as their header has it.
pub(super) fn header_path(at: &[Step]) -> String {
    let keys = at.iter().filter_map(|step| match step {
        Step::Key(key) => Some(toml_key(key)),
        Step::Index(_) => None,
    });
    keys.collect::<Vec<_>>().join(".")
}

/// The text is read before and after each step, so that it is TOML is known.
const UNREADABLE: &str = "the text cannot be read";

impl Body<'_> {
    pub(super) fn read(&self) -> Result<toml_edit::Document<&str>, String> {
        toml_edit::Document::parse(self.text.as_str()).map_err(|_| UNREADABLE.to_owned())
    }

    fn make(&mut self, splices: Vec<Splice>) {
        splice(self.text, splices);
    }

    /// Sets a key or, with nothing, takes it out. Several keys lead through tables.
    pub(super) fn set(
        &mut self,
        at: &[Step],
        keys: &[String],
        value: Option<&Value>,
    ) -> Result<(), String> {
        let Some((key, rest)) = keys.split_first() else { return Ok(()) };
        if rest.is_empty() {
            return match value {
                Some(value) => self.assign(at, key, value),
                None => self.unset(at, key),
            };
        }
        let inner = join(at, Step::key(key));
        let document = self.read()?;
        let held = find(document.as_table(), at).and_then(|found| found.held.get(key));
        match (held, value) {
            (None, None) => Ok(()),
            (None, Some(value)) => {
                let nest = |value, key: &String| Value::Table(Fields::from([(key.clone(), value)]));
                let value = rest.iter().rev().fold(value.clone(), nest);
                self.assign(at, key, &value)
            }
            (Some(Held::Table(_) | Held::Inline(_)), _) => {
                drop(document);
                self.set(&inner, rest, value)?;
                match value {
                    None if self.is_empty_inline(&inner)? => self.unset(at, key),
                    _ => Ok(()),
                }
            }
            (Some(held), _) => {
                let long = match held {
                    Held::Value(value) => long_form(key, value),
                    Held::Array(array) => long_form(key, &Written::Array(array.clone())),
                    _ => None,
                };
                drop(document);
                match (long, value) {
                    (Some(_), None) => Ok(()),
                    (Some(mut long), Some(value)) => {
                        let nest = |value, key: &String| {
                            Value::Table(Fields::from([(key.clone(), value)]))
                        };
                        if let Some((first, rest)) = rest.split_first() {
                            let value = rest.iter().rev().fold(value.clone(), nest);
                            long.insert(first.clone(), value);
                        }
                        self.assign(at, key, &Value::Table(long))
                    }
                    (None, _) => Err(format!("{key} is no table")),
                }
            }
        }
    }

    fn is_empty_inline(&self, at: &[Step]) -> Result<bool, String> {
        let document = self.read()?;
        let found = find(document.as_table(), at);
        Ok(found.is_some_and(|found| match found.held {
            Held::Inline(table) => !table.is_dotted() && table.is_empty(),
            _ => false,
        }))
    }

    /// Gives a key this value, whatever it had. What is in it already as it should be stays.
    pub(super) fn assign(&mut self, at: &[Step], key: &str, value: &Value) -> Result<(), String> {
        let plan = self.plan(at, key, value)?;
        let inner = join(at, Step::key(key));
        match (plan, value) {
            (Plan::Splices(splices), _) => self.make(splices),
            (Plan::Keys(gone), Value::Table(fields)) => {
                self.assign_keys(&inner, fields, &gone)?;
            }
            (Plan::Elements(first, count), Value::List(list)) => {
                self.assign_elements(&inner, list, first, count)?;
            }
            (Plan::Sections(count), Value::List(list)) => {
                self.assign_sections(&inner, list, count)?;
            }
            (Plan::Section, Value::Table(fields)) => self.add_section(at, key, fields, false)?,
            _ => {
                self.unset(at, key)?;
                self.assign(at, key, value)?;
            }
        }
        Ok(())
    }

    fn plan(&self, at: &[Step], key: &str, value: &Value) -> Result<Plan, String> {
        let document = self.read()?;
        let found = find(document.as_table(), at).ok_or("there is no such table")?;
        if !matches!(found.held, Held::Table(_) | Held::Inline(_)) {
            return Err(match at.last() {
                Some(Step::Key(key)) => format!("{key} is no table"),
                _ => "it is no table".to_owned(),
            });
        }
        let replaced = |span: Option<std::ops::Range<usize>>| match span {
            Some(range) => Plan::Splices(vec![Splice { range, with: value.to_string() }]),
            None => Plan::Anew,
        };
        let gone = |held: Held<'_>, fields: &Fields| {
            held.keys().into_iter().filter(|key| !fields.contains_key(key)).collect()
        };
        Ok(match (found.held.get(key), value) {
            (None, _) => self.added(&found, at, key, value),
            (Some(held @ Held::Inline(own)), Value::Table(fields))
                if !own.is_empty() && !fields.is_empty() =>
            {
                Plan::Keys(gone(held, fields))
            }
            (Some(Held::Inline(own)), _) if own.is_dotted() => Plan::Anew,
            (Some(Held::Inline(own)), _) => replaced(own.span()),
            (Some(held @ Held::Table(_)), Value::Table(fields)) if !fields.is_empty() => {
                Plan::Keys(gone(held, fields))
            }
            (Some(Held::Table(_)), _) => Plan::Anew,
            (Some(Held::Array(own)), Value::List(list)) if !own.is_empty() && !list.is_empty() => {
                let old: Vec<_> = own.iter().map(meaning).collect();
                let same = |(old, new): (&Option<Value>, &Value)| old.as_ref() == Some(new);
                let first = old.iter().zip(list).take_while(|pair| same(*pair)).count();
                let rest = old.len().min(list.len()) - first;
                let ends = old.iter().rev().zip(list.iter().rev()).take(rest);
                let last = ends.take_while(|pair| same(*pair)).count();
                Plan::Elements(first, old.len() - first - last)
            }
            (Some(Held::Array(own)), _) => replaced(own.span()),
            (Some(Held::Tables(own)), Value::List(list))
                if !list.is_empty() && list.iter().all(|own| layout::as_table(own).is_some()) =>
            {
                Plan::Sections(own.len())
            }
            (Some(Held::Tables(_)), _) => Plan::Anew,
            (Some(Held::Value(own)), _) if meaning(own).as_ref() == Some(value) => {
                Plan::Splices(Vec::new())
            }
            (Some(Held::Value(own)), _) => replaced(own.span()),
        })
    }

    /// A key that is not there, behind the last of its table.
    fn added(&self, found: &Found<'_>, at: &[Step], key: &str, value: &Value) -> Plan {
        let text = self.text.as_str();
        let dotted: String = found.dotted.iter().map(|key| format!("{}.", toml_key(key))).collect();
        let (table, path) = match &found.holder {
            Holder::Inline(table) => {
                let new = format!("{dotted}{} = {value}", toml_key(key));
                let list = List::of_table(text, table);
                return Plan::Splices(list.map_or_else(Vec::new, |list| list.push(text, &new)));
            }
            Holder::Section(table, path) => (*table, path),
        };
        let mut line = dotted;
        layout::line(&mut line, key, value);
        if matches!(value, Value::Table(_)) && !at.is_empty() && found.dotted.is_empty() {
            let length = line.trim_end().chars().count();
            if length > layout::LINE_MAX {
                return Plan::Section;
            }
        }
        let all = leaves(table);
        let own = all.iter().rfind(|leaf| leaf.path.starts_with(&found.dotted));
        let (place, blanks) = match (own, table.span()) {
            (Some(leaf), _) => (line_end(text, leaf.value.end), indent(text, leaf.key).to_owned()),
            (None, Some(span)) if !table.is_implicit() && !path.is_empty() => {
                (line_end(text, span.end), indent(text, span.start).to_owned())
            }
            (None, _) if path.is_empty() => (0, String::new()),
            (None, _) => return self.headed(path, &line),
        };
        Plan::Splices(vec![Splice::insert(place, indented(&line, &blanks, &blanks))])
    }

    /// The header of a table that has none yet, as only tables in it have one.
    fn headed(&self, path: &[Step], line: &str) -> Plan {
        let text = self.text.as_str();
        let Ok(document) = self.read() else { return Plan::Splices(Vec::new()) };
        let all = blocks(text, document.as_table(), Vec::new());
        let Some(first) = all.iter().find(|block| block.belongs_to(path)) else {
            return Plan::Splices(Vec::new());
        };
        let blanks = indent(text, first.header.start).to_owned();
        let lines = indented(&format!("[{}]\n{line}", header_path(path)), &blanks, &blanks);
        Plan::Splices(vec![Splice::insert(first.start, format!("{lines}\n"))])
    }

    fn assign_keys(&mut self, at: &[Step], fields: &Fields, gone: &[String]) -> Result<(), String> {
        for (key, value) in crate::change::in_order(fields) {
            self.assign(at, key, value)?;
        }
        gone.iter().try_for_each(|key| self.unset(at, key))
    }

    /// Elements from `first` on take the place of `count` in an array.
    fn assign_elements(
        &mut self,
        at: &[Step],
        list: &[Value],
        first: usize,
        count: usize,
    ) -> Result<(), String> {
        let old = self.elements(at)?;
        let kept = old - first - count;
        let new = list.get(first..list.len() - kept).unwrap_or_default();
        for (place, value) in (first..first + count).zip(new) {
            self.assign_element(at, place, value)?;
        }
        for place in (first + new.len()..first + count).rev() {
            self.remove_element(at, place)?;
        }
        for (place, value) in (first..).zip(new).skip(count) {
            self.insert_element(at, place, &value.to_string())?;
        }
        Ok(())
    }

    /// How many elements an array has.
    pub(super) fn elements(&self, at: &[Step]) -> Result<usize, String> {
        let document = self.read()?;
        Ok(match find(document.as_table(), at).map(|found| found.held) {
            Some(Held::Array(array)) => array.len(),
            Some(Held::Tables(tables)) => tables.len(),
            _ => 0,
        })
    }

    /// Gives an element of an array another value.
    pub(super) fn assign_element(
        &mut self,
        at: &[Step],
        place: usize,
        value: &Value,
    ) -> Result<(), String> {
        let inner = join(at, Step::Index(place));
        let document = self.read()?;
        let Some(found) = find(document.as_table(), &inner) else { return Ok(()) };
        let span = match (found.held, value) {
            (held @ Held::Inline(_), Value::Table(fields)) if !fields.is_empty() => {
                let gone = held.keys().into_iter().filter(|key| !fields.contains_key(key));
                let gone: Vec<_> = gone.collect();
                drop(document);
                return self.assign_keys(&inner, fields, &gone);
            }
            (Held::Inline(own), _) => own.span(),
            (Held::Array(own), _) => own.span(),
            (Held::Value(own), _) => own.span(),
            (Held::Table(_) | Held::Tables(_), _) => None,
        };
        drop(document);
        if let Some(range) = span {
            self.make(vec![Splice { range, with: value.to_string() }]);
        }
        Ok(())
    }

    fn in_list(
        &mut self,
        at: &[Step],
        splices: impl FnOnce(&str, List) -> Vec<Splice>,
    ) -> Result<(), String> {
        let document = self.read()?;
        let list = match find(document.as_table(), at).map(|found| found.held) {
            Some(Held::Array(array)) => List::of_array(array),
            _ => None,
        };
        drop(document);
        let Some(list) = list else { return Err("there is no array".to_owned()) };
        let splices = splices(self.text, list);
        self.make(splices);
        Ok(())
    }

    /// One more element of an array, in front of the one at `place`; behind the last where there
    /// is none. A line that would be too long is broken.
    pub(super) fn insert_element(
        &mut self,
        at: &[Step],
        place: usize,
        new: &str,
    ) -> Result<(), String> {
        self.in_list(at, |text, list| match list.span(place) {
            Some(_) => list.insert(text, place, new),
            None => match list.broken(text, new) {
                Some(broken) => vec![broken],
                None => list.push(text, new),
            },
        })
    }

    /// Takes an element out of an array.
    pub(super) fn remove_element(&mut self, at: &[Step], place: usize) -> Result<(), String> {
        self.in_list(at, |text, list| list.remove(text, place))
    }

    /// Whether an array has nothing in it, not even a comment.
    pub(super) fn is_bare(&mut self, at: &[Step]) -> Result<bool, String> {
        let mut bare = false;
        self.in_list(at, |text, list| {
            bare = list.is_bare(text);
            Vec::new()
        })?;
        Ok(bare)
    }

    fn assign_sections(&mut self, at: &[Step], list: &[Value], count: usize) -> Result<(), String> {
        let Some((Step::Key(key), parent)) = at.split_last() else { return Ok(()) };
        let tables: Vec<_> = list.iter().filter_map(layout::as_table).collect();
        for (place, fields) in tables.iter().enumerate().take(count) {
            let inner = join(at, Step::Index(place));
            let gone = self.keys(&inner)?;
            let gone: Vec<_> = gone.into_iter().filter(|key| !fields.contains_key(key)).collect();
            self.assign_keys(&inner, fields, &gone)?;
        }
        for place in (tables.len()..count).rev() {
            self.remove_blocks(&join(at, Step::Index(place)))?;
        }
        for fields in tables.iter().skip(count) {
            self.add_section(parent, key, fields, true)?;
        }
        Ok(())
    }

    /// The keys of a table.
    pub(super) fn keys(&self, at: &[Step]) -> Result<Vec<String>, String> {
        let document = self.read()?;
        Ok(find(document.as_table(), at).map_or_else(Vec::new, |found| found.held.keys()))
    }

    /// One more table with a header, behind all that belongs to its parent; one of several behind
    /// the last of them, and written as that.
    pub(super) fn add_section(
        &mut self,
        parent: &[Step],
        key: &str,
        fields: &Fields,
        several: bool,
    ) -> Result<(), String> {
        let document = self.read()?;
        let all = blocks(self.text, document.as_table(), Vec::new());
        let kind = join(parent, Step::key(key));
        let last = |path: &[Step]| all.iter().rposition(|block| block.belongs_to(path));
        let is_first = |path: &[Step]| {
            all.iter().rfind(|block| block.path.len() == path.len() && block.belongs_to(path))
        };
        let twin =
            all.iter().rfind(|block| block.path.len() == kind.len() + 1 && block.belongs_to(&kind));
        let model = twin.or_else(|| is_first(parent));
        let text = self.text.as_str();
        let (outer, own) =
            model.map_or(("", ""), |block| indents(text, block.header.end, block.end));
        let header = header_path(&kind);
        let mut lines = String::new();
        if several {
            layout::element(&mut lines, &header, fields, Bindings::Auto);
        } else {
            lines = format!("[{header}]\n");
            layout::table(&mut lines, &header, fields, Bindings::Auto);
        }
        let lines = indented(&lines, outer, own);
        let behind = twin.and_then(|_| last(&kind)).or_else(|| last(parent));
        let place = behind.and_then(|place| all.get(place)).map_or(text.len(), |block| block.end);
        let gap = twin.and_then(|twin| {
            let before = all.iter().rfind(|block| block.end <= twin.start)?;
            let gap = part(text, before.end..twin.start);
            gap.trim().is_empty().then_some(gap)
        });
        let lines = format!("{}{lines}", gap.unwrap_or("\n"));
        drop(document);
        self.make(vec![Splice::insert(place, lines)]);
        Ok(())
    }

    /// Takes a key out, whatever it holds. Nothing where it is not there.
    pub(super) fn unset(&mut self, at: &[Step], key: &str) -> Result<(), String> {
        loop {
            let document = self.read()?;
            let root = document.as_table();
            let Some(found) = find(root, at) else { return Ok(()) };
            if found.held.get(key).is_none() {
                return Ok(());
            }
            let mut path = found.dotted.clone();
            path.push(key.to_owned());
            let splices = match &found.holder {
                // One by one, as commas between them are shared.
                Holder::Inline(table) => {
                    let all = list::inner(table);
                    let place = all.iter().position(|own| own.path.starts_with(&path));
                    let list = List::of_table(self.text, table);
                    match (list, place) {
                        (Some(list), Some(place)) => list.remove(self.text, place),
                        // A dotted table without a key.
                        _ => return Ok(()),
                    }
                }
                Holder::Section(table, _) => {
                    let own = leaves(table).into_iter().filter(|leaf| leaf.path.starts_with(&path));
                    let lines = own.map(|leaf| {
                        let (start, end) = (leaf.key, leaf.value.end);
                        Splice::remove(line_start(self.text, start)..line_end(self.text, end))
                    });
                    let mut splices: Vec<_> = lines.collect();
                    let inner = join(at, Step::key(key));
                    splices.extend(self.blocks_of(root, &inner));
                    splices
                }
            };
            drop(document);
            if splices.is_empty() {
                return Ok(());
            }
            self.make(splices);
        }
    }

    /// Takes out tables with headers and what is in them, with their comments and the blank lines
    /// above.
    pub(super) fn remove_blocks(&mut self, at: &[Step]) -> Result<(), String> {
        let document = self.read()?;
        let splices = self.blocks_of(document.as_table(), at);
        drop(document);
        self.make(splices);
        Ok(())
    }

    fn blocks_of(&self, root: &Table, at: &[Step]) -> Vec<Splice> {
        let all = blocks(self.text, root, Vec::new());
        let ends = [0].into_iter().chain(all.iter().map(|block| block.end));
        let own = all.iter().zip(ends).filter(|(block, _)| block.belongs_to(at));
        own.map(|(block, before)| {
            Splice::remove(blanks_above(self.text, block.start, before)..block.end)
        })
        .collect()
    }
}

/// How a table that is there is indented: its header, and its keys.
pub(super) fn indents(text: &str, header: usize, end: usize) -> (&str, &str) {
    let outer = indent(text, header.saturating_sub(1));
    let next = line_end(text, header);
    let own = part(text, next..end).split_inclusive('\n').find(|line| !line.trim().is_empty());
    let blanks = |line: &str| line.len() - line.trim_start_matches([' ', '\t']).len();
    let own = own.filter(|line| !line.trim_start().starts_with('['));
    (outer, own.map_or(outer, |line| part(line, 0..blanks(line))))
}

/// Lines behind blanks: headers behind some, all others behind others.
pub(super) fn indented(lines: &str, outer: &str, own: &str) -> String {
    let mut out = String::new();
    for line in lines.split_inclusive('\n') {
        match line {
            "\n" => {}
            _ if line.starts_with('[') => out.push_str(outer),
            _ => out.push_str(own),
        }
        out.push_str(line);
    }
    out
}
