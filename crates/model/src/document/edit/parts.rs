//! The parts of a site: bindings, applications, virtual directories; and how things are written, for
//! the next of their kind.

use toml_edit::{Item, Value as Written};

use super::{
    blocks::{Step, blocks},
    keys::{Body, Held, find, indents, join, meaning},
    pieces::name_key,
    things::{identity, set_keys},
};
use crate::{
    change::{Fields, Value},
    document::write::layout::Bindings,
};

/// How a thing is written, for the next of its kind.
pub(super) struct Style {
    /// What is in front of its header.
    pub(super) outer: String,
    /// What is in front of its keys.
    pub(super) own: String,
    pub(super) bindings: Bindings,
}

/// What is done with a site, and with the parts of one.
impl Body<'_> {
    /// Whether there is something at a place.
    pub(super) fn has(&self, at: &[Step]) -> Result<bool, String> {
        Ok(find(self.read()?.as_table(), at).is_some())
    }

    /// How many elements the array at a place has, if it is one in brackets.
    pub(super) fn list(&self, at: &[Step]) -> Result<Option<usize>, String> {
        let document = self.read()?;
        let last = match at.last() {
            Some(Step::Key(key)) => key.as_ref(),
            _ => "it",
        };
        match find(document.as_table(), at).map(|found| found.held) {
            None | Some(Held::Tables(_)) => Ok(None),
            Some(Held::Array(array)) => Ok(Some(array.len())),
            Some(_) => Err(format!("{last} is no array")),
        }
    }

    /// How the last thing of a kind is written.
    pub(super) fn style(&self, kind: &str) -> Result<Style, String> {
        let document = self.read()?;
        let all = blocks(self.text, document.as_table(), Vec::new());
        let own = [Step::key(kind)];
        let last = all.iter().rfind(|block| block.path.len() == 2 && block.belongs_to(&own));
        let (outer, keys) =
            last.map_or(("", ""), |block| indents(self.text, block.header.end, block.end));
        let path = last.map_or(&own[..], |block| &block.path);
        let bindings = find(document.as_table(), path).and_then(|found| found.held.get("bindings"));
        let bindings = match bindings {
            Some(Held::Tables(_)) => Bindings::Sections,
            Some(Held::Array(_)) => Bindings::Array,
            _ => Bindings::Auto,
        };
        Ok(Style { outer: outer.to_owned(), own: keys.to_owned(), bindings })
    }

    /// What the parts of a site are called, in their order.
    pub(super) fn names(&self, site: &[Step], kind: &str) -> Result<Vec<Option<String>>, String> {
        let document = self.read()?;
        let held = find(document.as_table(), site).and_then(|found| found.held.get(kind));
        let key = name_key(kind);
        let name = |text: Option<&str>| text.map(|text| identity(kind, text));
        Ok(match held {
            None => Vec::new(),
            Some(Held::Tables(tables)) => {
                tables.iter().map(|table| name(table.get(key).and_then(Item::as_str))).collect()
            }
            Some(Held::Array(array)) => array
                .iter()
                .map(|value| match value {
                    Written::InlineTable(own) => name(own.get(key).and_then(Written::as_str)),
                    other => name(other.as_str()),
                })
                .collect(),
            Some(_) => return Err(format!("{kind} is no array")),
        })
    }

    /// One more part of a site, written as the others are.
    pub(super) fn add_part(
        &mut self,
        site: &[Step],
        kind: &str,
        fields: &Fields,
    ) -> Result<(), String> {
        let key = Step::key(kind);
        let short = kind == "bindings" && fields.len() == 1;
        let value = match fields.get("on") {
            Some(on) if short => on.clone(),
            _ => Value::Table(fields.clone()),
        };
        let document = self.read()?;
        let Some(found) = find(document.as_table(), site) else { return Ok(()) };
        let braces = matches!(found.held, Held::Inline(_));
        match found.held.get(kind) {
            Some(Held::Array(array)) => {
                let count = array.len();
                drop(document);
                self.insert_element(&join(site, key), count, &value.to_string())
            }
            None if short || braces => {
                drop(document);
                self.assign(site, kind, &Value::List(vec![value]))
            }
            _ => {
                drop(document);
                self.add_section(site, kind, fields, true)
            }
        }
    }

    /// Sets keys of a part of a site. A binding that is a text becomes a table, and a text again
    /// when nothing else is left.
    pub(super) fn set_part(
        &mut self,
        list: &[Step],
        place: usize,
        keys: &std::collections::BTreeMap<String, Option<Value>>,
    ) -> Result<(), String> {
        let at = join(list, Step::Index(place));
        let document = self.read()?;
        let held = find(document.as_table(), &at).map(|found| found.held);
        let text = match held {
            Some(Held::Value(value)) => meaning(value),
            _ => None,
        };
        let braces = matches!(held, Some(Held::Inline(_)));
        drop(document);
        if let Some(text) = text {
            let renamed = keys.get("on").cloned().flatten();
            if keys.iter().all(|(key, value)| key == "on" || value.is_none()) {
                return match renamed {
                    Some(on) => self.assign_element(list, place, &on),
                    None => Ok(()),
                };
            }
            let table = Fields::from([("on".to_owned(), text)]);
            self.assign_element(list, place, &Value::Table(table))?;
            return set_keys(self, &at, keys);
        }
        set_keys(self, &at, keys)?;
        let emptied = braces && keys.values().any(Option::is_none) && self.keys(&at)? == ["on"];
        if !emptied {
            return Ok(());
        }
        let document = self.read()?;
        let on = find(document.as_table(), &join(&at, Step::key("on")));
        let on = on.and_then(|found| match found.held {
            Held::Value(value) => meaning(value),
            _ => None,
        });
        drop(document);
        on.map_or(Ok(()), |on| self.assign_element(list, place, &on))
    }

    /// Takes an element out of an array, and the array with its last.
    pub(super) fn remove_last_too(
        &mut self,
        parent: &[Step],
        key: &str,
        place: usize,
    ) -> Result<(), String> {
        let list = join(parent, Step::key(key));
        self.remove_element(&list, place)?;
        match self.is_bare(&list)? {
            true => self.unset(parent, key),
            false => Ok(()),
        }
    }
}
