//! Properties of an element: found without regard to case, set as the schema writes them.

use std::{
    borrow::Cow,
    collections::{HashMap, hash_map::Entry},
    net::Ipv4Addr,
};

use super::{
    Done, Failure, Run,
    grammar::{Act, Item, Parameter, Place, Segment},
    locks, schema,
};
use crate::xml::{
    Element,
    draft::{Draft, Node},
    edit::{NewElement, Position},
};

/// Finds the value of a property by its dotted path: what is written, otherwise the default.
pub(super) fn value(draft: &Draft<'_>, node: Node, kind: &str, path: &str) -> Option<String> {
    let (mut node, mut kind) = (Some(node), kind.to_owned());
    let mut names: Vec<_> = path.split('.').collect();
    let name = names.pop()?;
    for step in names {
        let known = schema::child(&kind, step).map(str::to_owned);
        let own = node.and_then(|node| {
            let mut all = draft.children(node).into_iter();
            all.find(|child| draft.name(*child).eq_ignore_ascii_case(step))
        });
        let step = known.or_else(|| own.map(|own| draft.name(own).to_owned()))?;
        kind = format!("{kind}/{step}");
        node = own;
    }
    let own = node.map(|node| draft.attributes(node)).unwrap_or_default();
    let own = own.into_iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
    let default = || schema::at(&kind)?.attribute(name)?.1.map(str::to_owned);
    own.map(|(_, value)| value).or_else(default)
}

impl Run<'_, '_> {
    /// Does what a parameter says to an element. `inherited` is what a section has from above.
    pub(super) fn apply(
        &mut self,
        node: Node,
        kind: &str,
        parameter: &Parameter,
        inherited: Option<&NewElement>,
    ) -> Done {
        let Some((last, steps)) = parameter.path.split_last() else { return Ok(()) };
        let (mut node, mut kind) = (node, kind.to_owned());
        let mut inherited = inherited.cloned();
        for step in steps {
            match step {
                Segment::Name(name) => {
                    let name = child_name(&self.host.draft, node, &kind, name)?;
                    locks::check_element(inherited.as_ref(), &kind, &name)?;
                    node = self.host.draft.ensure(node, &name);
                    let above = inherited.as_ref().map(|above| above.children.iter());
                    inherited = above.and_then(|mut children| {
                        children.find(|child| child.name == name).cloned()
                    });
                    kind = format!("{kind}/{name}");
                }
                Segment::Item(item) => {
                    let found = find(&self.host.draft, node, &kind, item);
                    node = found.ok_or_else(no_element)?;
                    kind = format!("{kind}/{}", self.host.draft.name(node));
                    inherited = None;
                }
            }
        }
        match (parameter.act, last) {
            (Act::Set, Segment::Name(name)) => {
                let name = attribute_name(&self.host.draft, node, &kind, name)?;
                let Some(value) = &parameter.value else {
                    let message = format!("Must specify a value for attribute \"{name}\".");
                    return Err(Failure::usage(message));
                };
                check_value(&kind, &name, value)?;
                locks::check_attribute(inherited.as_ref(), &kind, &name)?;
                self.host.draft.set(node, &name, value.as_str());
                Ok(())
            }
            (Act::Add, Segment::Item(item)) => self.add_item(node, &kind, item, inherited.as_ref()),
            (Act::Remove, Segment::Item(item)) => {
                self.remove_item(node, &kind, item, inherited.as_ref())
            }
            (Act::Remove | Act::Clear, Segment::Name(name)) => {
                if let Ok(attribute) = attribute_name(&self.host.draft, node, &kind, name) {
                    locks::check_attribute(inherited.as_ref(), &kind, &attribute)?;
                    if self.host.draft.unset(node, &attribute) {
                        return Ok(());
                    }
                }
                let name = child_name(&self.host.draft, node, &kind, name)?;
                locks::check_element(inherited.as_ref(), &kind, &name)?;
                if let Some(child) = self.host.draft.child(node, &name) {
                    self.host.draft.remove(child);
                }
                Ok(())
            }
            (Act::Add, Segment::Name(_)) | (Act::Set | Act::Clear, Segment::Item(_)) => {
                Err(Failure::unknown(&parameter.text))
            }
        }
    }

    fn add_item(
        &mut self,
        node: Node,
        kind: &str,
        item: &Item,
        inherited: Option<&NewElement>,
    ) -> Done {
        let (name, keys) = items(kind);
        locks::check_element(inherited, kind, name)?;
        let inner = format!("{kind}/{name}");
        let mut element = NewElement::new(name);
        for (attribute, value) in &item.attributes {
            let attribute = match schema::at(&inner) {
                Some(known) => {
                    let found = known.attribute(attribute).map(|(name, _)| name);
                    let found = found.or_else(|| locks::name(attribute));
                    found.ok_or_else(|| Failure::unknown(attribute))?.to_owned()
                }
                None => attribute.clone(),
            };
            check_value(&inner, &attribute, value)?;
            element.attributes.push((attribute, value.clone()));
        }
        check_keys(&element, &keys)?;
        let given = |key: &&str| element.value(key).is_some();
        let key: Vec<_> = keys.iter().copied().filter(given).collect();
        let key = Item {
            attributes: element
                .attributes
                .iter()
                .filter(|(own, _)| key.is_empty() || key.contains(&own.as_str()))
                .cloned()
                .collect(),
            position: None,
        };
        let twice = find(&self.host.draft, node, kind, &key).is_some()
            || inherited.is_some_and(|above| above.children.iter().any(|own| is(own, name, &key)));
        if twice {
            let values: Vec<_> = key.attributes.iter().map(|(_, value)| value.as_str()).collect();
            return Err(Failure::exists(&values.join(", ")));
        }
        let draft = &mut self.host.draft;
        let old = |draft: &Draft<'_>, at: usize| {
            let own = draft.children_named(node, name).into_iter().nth(at);
            own.and_then(|own| draft.element(own)).map(|own| Position::Before(own.id()))
        };
        let at = match item.position {
            Some(Place::Start) => old(draft, 0),
            Some(Place::At(at)) => old(draft, at),
            Some(Place::End) | None => None,
        };
        match at {
            Some(at) => draft.insert(node, at, &element),
            None if draft.children_named(node, name).is_empty() => {
                draft.insert(node, Position::End, &element)
            }
            None => draft.insert_behind(node, &element),
        };
        Ok(())
    }

    fn remove_item(
        &mut self,
        node: Node,
        kind: &str,
        item: &Item,
        inherited: Option<&NewElement>,
    ) -> Done {
        let draft = &mut self.host.draft;
        match all(draft, node, kind, item).as_slice() {
            [] => {}
            [found] => {
                draft.remove(*found);
                return Ok(());
            }
            several => {
                let (name, keys) = items(kind);
                return Err(Failure::usage(format!(
                    "{} <{name}> elements are meant: name one by {}.",
                    several.len(),
                    keys.join(" and ")
                )));
            }
        }
        // What comes from above is taken out of this level.
        let (name, keys) = items(kind);
        locks::check_element(inherited, kind, "remove")?;
        let above =
            inherited.and_then(|above| above.children.iter().find(|own| is(own, name, item)));
        let above = above.ok_or_else(no_element)?;
        locks::check_item(above, kind)?;
        let mut removed = NewElement::new("remove");
        let own = above.attributes.iter();
        removed.attributes = own
            .filter(|(own, _)| keys.is_empty() || keys.contains(&own.as_str()))
            .cloned()
            .collect();
        draft.insert(node, Position::End, &removed);
        Ok(())
    }

    /// Gives a site other bindings, in this order: `http/*:80:a.com,https/*:443:a.com`, or as
    /// addresses of pages, `http://a.com:80`. Those that stay have what they had, and are not touched
    /// as long as they follow one another.
    pub(super) fn set_bindings(&mut self, site: Node, list: &str) -> Done {
        let host = &mut self.host;
        let bindings = host.draft.ensure(site, "bindings");
        let mut wanted = Vec::new();
        for text in list.split(',').map(str::trim).filter(|text| !text.is_empty()) {
            let Some((protocol, information)) = binding(text) else {
                let message = format!(
                    "\"{text}\" is neither protocol/bindingInformation nor http://domain:port."
                );
                return Err(Failure::usage(message));
            };
            wanted.push((protocol, information));
        }
        let mut staying = HashMap::new();
        for own in host.draft.children_named(bindings, "binding") {
            let text = crate::config::text_of(&host.draft, own).to_ascii_lowercase();
            match staying.entry(text) {
                Entry::Vacant(free) => drop(free.insert(own)),
                Entry::Occupied(_) => host.draft.remove(own),
            }
        }
        let wanted: Vec<_> = wanted
            .into_iter()
            .map(|(protocol, information)| {
                let text = format!("{protocol}/{information}");
                let new = NewElement::new("binding").with("protocol", protocol);
                let new = new.with("bindingInformation", information);
                (staying.remove(&text.to_ascii_lowercase()), new)
            })
            .collect();
        staying.into_values().for_each(|own| host.draft.remove(own));
        let place = |node: &Node| host.draft.element(*node).map(Element::id);
        let places: Vec<_> = wanted.iter().map(|(own, _)| own.as_ref().and_then(place)).collect();
        let mut before = None;
        for ((own, new), place) in wanted.into_iter().zip(&places) {
            if place.is_some() && *place > before {
                before = *place;
                continue;
            }
            let new = own.map_or(new, |own| {
                let same = host.draft.copy(own);
                host.draft.remove(own);
                same
            });
            let at = match (before, places.iter().flatten().next()) {
                (Some(before), _) => Position::After(before),
                (None, Some(first)) => Position::Before(*first),
                (None, None) => Position::End,
            };
            host.draft.insert(bindings, at, &new);
        }
        Ok(())
    }
}

/// Protocol and `bindingInformation` of one binding in a list: `http/*:80:a.com`, or in the form of
/// an address, `http://a.com:80` or `http://*:80`.
fn binding(text: &str) -> Option<(&str, Cow<'_, str>)> {
    let (protocol, information) =
        text.split_once('/').filter(|(protocol, rest)| !protocol.is_empty() && !rest.is_empty())?;
    let Some(scheme) = protocol.strip_suffix(':') else {
        return Some((protocol, Cow::Borrowed(information)));
    };
    let authority = information.strip_prefix('/')?;
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let usual = match scheme.to_ascii_lowercase().as_str() {
        "http" => "80",
        "https" => "443",
        "ftp" => "21",
        _ => return None,
    };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (authority, usual),
    };
    let is_port = !port.is_empty() && port.bytes().all(|own| own.is_ascii_digit());
    let is_host = !host.contains(['/', '?', '#', '@'])
        && (host.starts_with('[') == host.ends_with(']'))
        && (host.starts_with('[') || !host.contains(':'));
    let is_address = host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok();
    let information = match host {
        "" | "*" => format!("*:{port}:"),
        address if is_address => format!("{address}:{port}:"),
        name => format!("*:{port}:{name}"),
    };
    (is_port && is_host).then_some((scheme, Cow::Owned(information)))
}

fn no_element() -> Failure {
    Failure::new(super::NOT_FOUND, "Cannot find requested collection element.")
}

fn check_value(kind: &str, attribute: &str, value: &str) -> Done {
    match schema::at(kind).is_none_or(|kind| kind.takes(attribute, value)) {
        true => Ok(()),
        false => Err(Failure::usage(format!(
            "\"{value}\" is not a valid value for attribute \"{attribute}\"."
        ))),
    }
}

/// A binding needs all that tells it apart; others have defaults for a part of that.
fn check_keys(element: &NewElement, keys: &[&str]) -> Done {
    let lacks = |key: &&str| element.value(key).is_none_or(|value| value.trim().is_empty());
    let missing = match element.name.as_str() {
        "binding" => keys.iter().copied().find(lacks),
        _ if keys.iter().all(lacks) => keys.first().copied(),
        _ => None,
    };
    match missing {
        None => Ok(()),
        Some(key) => Err(Failure::usage(format!(
            "New {} element missing required attributes.  The attribute \"{key}\" must be specified.",
            element.name
        ))),
    }
}

/// What a collection holds.
fn items(kind: &str) -> (&'static str, Vec<&'static str>) {
    schema::at(kind).and_then(schema::Kind::items).unwrap_or_else(|| ("add", Vec::new()))
}

fn find(draft: &Draft<'_>, node: Node, kind: &str, item: &Item) -> Option<Node> {
    all(draft, node, kind, item).into_iter().next()
}

fn all(draft: &Draft<'_>, node: Node, kind: &str, item: &Item) -> Vec<Node> {
    let (name, _) = items(kind);
    let mut found = draft.children_named(node, name);
    found.retain(|child| {
        let own = draft.attributes(*child);
        item.attributes.iter().all(|wanted| own.iter().any(|own| same(own, wanted)))
    });
    found
}

fn is(element: &NewElement, name: &str, item: &Item) -> bool {
    let has = |wanted| element.attributes.iter().any(|own| same(own, wanted));
    element.name == name && item.attributes.iter().all(has)
}

fn same(own: &(String, String), wanted: &(String, String)) -> bool {
    own.0.eq_ignore_ascii_case(&wanted.0) && own.1.to_lowercase() == wanted.1.to_lowercase()
}

fn child_name(draft: &Draft<'_>, node: Node, kind: &str, name: &str) -> Result<String, Failure> {
    if let Some(known) = schema::child(kind, name) {
        return Ok(known.to_owned());
    }
    let mut own = draft.children(node).into_iter();
    match own.find(|child| draft.name(*child).eq_ignore_ascii_case(name)) {
        Some(own) => Ok(draft.name(own).to_owned()),
        None if !schema::knows(kind) && is_name(name) => Ok(name.to_owned()),
        None => Err(Failure::unknown(name)),
    }
}

fn attribute_name(
    draft: &Draft<'_>,
    node: Node,
    kind: &str,
    name: &str,
) -> Result<String, Failure> {
    let known = schema::at(kind).and_then(|kind| kind.attribute(name)).map(|(name, _)| name);
    let lock = || locks::name(name).filter(|_| kind.starts_with("system."));
    if let Some(known) = known.or_else(lock) {
        return Ok(known.to_owned());
    }
    let own = draft.attributes(node).into_iter();
    let own = own.map(|(own, _)| own).find(|own| own.eq_ignore_ascii_case(name));
    match own {
        Some(own) => Ok(own),
        None if !schema::knows(kind) && is_name(name) => Ok(name.to_owned()),
        None => Err(Failure::unknown(name)),
    }
}

/// What can be written as a name in XML without a second thought.
pub(super) fn is_name(name: &str) -> bool {
    name.starts_with(|one: char| one.is_ascii_alphabetic() || one == '_')
        && name.chars().all(|one| one.is_ascii_alphanumeric() || matches!(one, '_' | '-' | '.'))
}
