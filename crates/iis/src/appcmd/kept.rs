//! Whether what a command did in the text of `applicationHost.config` holds where another form
//! keeps the configuration: what has no place there would be lost, and the command said success.

use std::collections::{BTreeMap, BTreeSet};

use super::schema;
use crate::xml::{self, Element, ElementId, edit::Edits};

/// The bits of `sslFlags` that change what is served here: central store, no HTTP/2, no TLS 1.3.
/// The others ask for what is so anyway.
const SSL_FLAGS_SERVED: u32 = 2 | 4 | 32;

/// What was asked for and is not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The element, from its object or the root of the file on: `apppool/environmentVariables/add`.
    pub kind: String,
    /// Its attribute; nothing where the whole element is not kept.
    pub attribute: Option<String>,
    /// What it is, for people, without its value: `logFile.directory of site "X"`.
    pub shown: String,
    /// Whether it says more of an element that is new and is kept: a site that was added, say.
    pub is_detail: bool,
}

/// An attribute, or an element of a collection.
#[derive(Debug)]
struct Fact {
    element: ElementId,
    kind: String,
    attribute: Option<String>,
    value: String,
    shown: String,
    /// The element of a collection that it is, or is an attribute of.
    item: Option<String>,
}

/// By what each is found in any text: its path, without regard to case, and its attribute.
type Facts = BTreeMap<(String, String), Fact>;

/// Where a walk through a text is.
#[derive(Clone, Default)]
struct At {
    kind: String,
    path: String,
    /// What people call the object: `site "X"`.
    object: String,
    /// The names from the object on.
    names: Vec<String>,
}

/// What a command did to the text `before` that is not in the configuration which `after` was read
/// as. `kept` is that configuration, written again; `differs` says whether a text means anything
/// else than `after`.
///
/// What stands in `kept` is kept, and so is what is so by default. Of the rest that is kept without
/// which `after` would mean something else: it is written in other words. What was taken away was
/// there because the configuration said so, unless all means the same as before. So nothing is lost
/// that counts, whichever sections there are.
#[must_use]
pub fn lost(before: &str, after: &str, kept: &str, differs: &dyn Fn(&str) -> bool) -> Vec<Lost> {
    let text = before;
    let (Ok(before), Ok(after), Ok(kept)) =
        (xml::parse(before), xml::parse(after), xml::parse(kept))
    else {
        return Vec::new();
    };
    let [before, new, kept] = [&before, &after, &kept].map(|tree| facts(tree.root()));
    let gone: Vec<_> = before.iter().filter(|(key, _)| !new.contains_key(*key)).collect();
    if !gone.is_empty() && !differs(text) {
        return gone.into_iter().map(|(_, fact)| fact.lost(false)).collect();
    }
    let says = |facts: &Facts, key: &(String, String), value: &str| {
        facts.get(key).is_some_and(|own| own.value.eq_ignore_ascii_case(value))
    };
    let open = new.iter().filter(|(key, fact)| {
        !says(&before, key, &fact.value) && !says(&kept, key, &fact.value) && !fact.is_default()
    });
    let mut groups: BTreeMap<(&str, Option<&str>), Vec<_>> = BTreeMap::new();
    for (key, fact) in open {
        groups.entry((&fact.kind, fact.attribute.as_deref())).or_default().push((key, fact));
    }
    let mut lost: Vec<Lost> = Vec::new();
    let mut lost_items: BTreeSet<&str> = BTreeSet::new();
    // Elements come before what is in them.
    for group in groups.into_values() {
        let group: Vec<_> = group
            .into_iter()
            .filter(|((path, _), _)| {
                !lost_items.iter().any(|item| path.strip_prefix(item).is_some_and(is_within))
            })
            .collect();
        let mut without = Edits::new(&after);
        for (key, fact) in &group {
            match (&fact.attribute, before.get(*key)) {
                (None, _) => without.remove(fact.element),
                (Some(name), None) => without.remove_attribute(fact.element, name),
                (Some(name), Some(old)) => {
                    without.set_attribute(fact.element, name, old.value.as_str());
                }
            }
        }
        if group.is_empty() || differs(&without.finish()) {
            continue;
        }
        for ((path, _), fact) in group {
            if fact.attribute.is_none() {
                lost_items.insert(path);
            }
            let item = fact.item.clone().map(|item| (item, String::new()));
            lost.push(fact.lost(item.is_some_and(|item| !before.contains_key(&item))));
        }
    }
    lost
}

/// Whether the rest of a path stands within what comes before it.
fn is_within(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with('/')
}

impl Fact {
    fn lost(&self, is_detail: bool) -> Lost {
        let Self { kind, attribute, shown, .. } = self;
        Lost { kind: kind.clone(), attribute: attribute.clone(), shown: shown.clone(), is_detail }
    }

    /// Whether it is so where nothing is said.
    fn is_default(&self) -> bool {
        let Some(name) = &self.attribute else { return false };
        if name == "sslFlags" && self.kind == "site/bindings/binding" {
            return self.value.parse::<u32>().is_ok_and(|bits| bits & SSL_FLAGS_SERVED == 0);
        }
        // Errors always have the pages that there are.
        if name == "errorMode" && self.value.eq_ignore_ascii_case("Custom") {
            return true;
        }
        // That is the pool where none is named.
        if name == "applicationPool" && self.value == bindery_model::document::DEFAULT_POOL {
            return true;
        }
        let default = schema::at(&self.kind).and_then(|kind| kind.attribute(name)?.1);
        default.unwrap_or_default().eq_ignore_ascii_case(&self.value)
    }
}

fn facts(root: Element<'_>) -> Facts {
    let mut facts = Facts::new();
    for child in root.children() {
        let mut at = At { object: "the server".to_owned(), ..At::default() };
        if child.name() != "location" {
            walk(child, &at, &mut facts);
            continue;
        }
        let path = child.value("path").unwrap_or_default();
        let path = path.trim_matches('/');
        if !matches!(path, "" | ".") {
            at.object = format!("{path:?}");
            at.path = format!("location {path}").to_lowercase();
        }
        let own = At { kind: "location".to_owned(), ..at.clone() };
        attributes(child, &own, &["path"], None, &mut facts);
        child.children().for_each(|inner| walk(inner, &at, &mut facts));
    }
    facts
}

fn walk(element: Element<'_>, above: &At, facts: &mut Facts) {
    let name = element.name();
    let mut at = above.clone();
    at.kind = match (above.kind.as_str(), name) {
        ("system.applicationHost/sites", "site") => "site".to_owned(),
        ("system.applicationHost/applicationPools", "add") => "apppool".to_owned(),
        ("", name) => name.to_owned(),
        (kind, name) => format!("{kind}/{name}"),
    };
    let named = |key: &str| element.value(key).unwrap_or_default().into_owned();
    match at.kind.as_str() {
        "site" => (at.object, at.names) = (format!("site {:?}", named("name")), Vec::new()),
        "apppool" => {
            at.object = format!("application pool {:?}", named("name"));
            at.names.clear();
        }
        "site/application" => at.object = format!("application {} of {}", named("path"), at.object),
        // Groups of sections say nothing.
        kind if kind.starts_with("system.") && !kind.contains('/') => {}
        _ => at.names.push(name.to_owned()),
    }
    let identity = identity(element, &above.kind, &at.kind);
    at.path = format!("{}/{name}", above.path).to_lowercase();
    let keys: Vec<&str> = identity.iter().flatten().map(|(key, _)| key.as_str()).collect();
    let item = identity.as_ref().map(|identity| {
        let said = identity.iter().map(|(key, value)| format!("{key}={value:?}"));
        at.path.push_str(&format!("[{}]", said.collect::<Vec<_>>().join(",")).to_lowercase());
        at.path.clone()
    });
    if let Some(item) = &item {
        let fact = Fact {
            element: element.id(),
            kind: at.kind.clone(),
            attribute: None,
            value: String::new(),
            shown: shown(&at, None),
            item: None,
        };
        facts.insert((item.clone(), String::new()), fact);
    }
    attributes(element, &at, &keys, item.as_ref(), facts);
    element.children().for_each(|child| walk(child, &at, facts));
}

fn attributes(
    element: Element<'_>,
    at: &At,
    keys: &[&str],
    item: Option<&String>,
    facts: &mut Facts,
) {
    for own in element.attributes().filter(|own| !keys.contains(&own.name())) {
        let fact = Fact {
            element: element.id(),
            kind: at.kind.clone(),
            attribute: Some(own.name().to_owned()),
            value: own.value().into_owned(),
            shown: shown(at, Some(own.name())),
            item: item.cloned(),
        };
        facts.insert((at.path.clone(), own.name().to_lowercase()), fact);
    }
}

/// By which attributes an element of a collection is told apart; nothing for other elements.
fn identity(element: Element<'_>, above: &str, kind: &str) -> Option<Vec<(String, String)>> {
    let value = |key: &str| {
        let default = || schema::at(kind)?.attribute(key)?.1;
        element
            .value(key)
            .map(std::borrow::Cow::into_owned)
            .or_else(|| default().map(str::to_owned))
    };
    let items = schema::at(above).and_then(schema::Kind::items);
    let keys = match items {
        Some((name, keys)) if name == element.name() => keys,
        _ if element.attribute("name").is_some() => vec!["name"],
        _ if matches!(element.name(), "add" | "remove" | "clear") => {
            let own = element.attributes().map(|own| own.name().to_owned());
            return Some(own.map(|own| (own.clone(), value(&own).unwrap_or_default())).collect());
        }
        _ => return None,
    };
    let keys = keys.into_iter().map(|key| (key.to_owned(), value(key).unwrap_or_default()));
    Some(keys.collect())
}

fn shown(at: &At, attribute: Option<&str>) -> String {
    let names: Vec<_> = at.names.iter().map(String::as_str).chain(attribute).collect();
    match names.as_slice() {
        [] => at.object.clone(),
        names => format!("{} of {}", names.join("."), at.object),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "<configuration><system.applicationHost><applicationPools>\
        <add name=\"P\" queueLength=\"5\"/></applicationPools><sites><site name=\"X\" id=\"1\"/>\
        </sites></system.applicationHost></configuration>";

    /// Lost of a text that differs from another only where `counts` is in one of them.
    fn of(after: &str, kept: &str, counts: &str) -> Vec<(String, bool)> {
        let differs = |text: &str| text.contains(counts) != after.contains(counts);
        let lost = lost(BEFORE, after, kept, &differs);
        lost.into_iter().map(|own| (own.shown, own.is_detail)).collect()
    }

    #[test]
    fn what_is_kept_or_so_anyway_or_counts_is_not_lost() {
        let after = BEFORE.replace(
            "id=\"1\"/>",
            "id=\"2\" serverAutoStart=\"true\"><limits maxBandwidth=\"7\" maxUrlSegments=\"9\"/>\
             </site>",
        );
        let kept = BEFORE.replace("id=\"1\"", "id=\"2\"");
        let segments = "limits.maxUrlSegments of site \"X\"".to_owned();
        assert_eq!(of(&after, &kept, "maxBandwidth"), [(segments, false)]);
        assert_eq!(of(&after, &after, "nothing"), []);
        assert_eq!(of(BEFORE, BEFORE, "nothing"), []);
    }

    #[test]
    fn an_element_is_lost_as_one_and_never_with_its_value() {
        let after = BEFORE.replace(
            "queueLength=\"5\"/>",
            "queueLength=\"6\"><environmentVariables><add name=\"A\" value=\"secret\"/>\
             </environmentVariables></add><add name=\"Q\"><processModel password=\"secret\"/></add>",
        );
        let kept = BEFORE.replace("</applicationPools>", "<add name=\"Q\"/></applicationPools>");
        let lost = of(&after, &kept, "queueLength=\"5\"");
        assert_eq!(
            lost,
            [
                ("environmentVariables.add of application pool \"P\"".to_owned(), false),
                ("processModel.password of application pool \"Q\"".to_owned(), false),
            ]
        );
    }

    #[test]
    fn what_more_is_said_of_something_new_that_is_kept_is_a_detail() {
        let site = "<site name=\"Y\" id=\"2\"><application path=\"/\" preloadEnabled=\"true\"/>";
        let after = BEFORE.replace("</sites>", &format!("{site}</site></sites>"));
        let kept = after.replace(" preloadEnabled=\"true\"", "");
        let shown = "preloadEnabled of application / of site \"Y\"".to_owned();
        assert_eq!(of(&after, &kept, "nothing"), [(shown, true)]);
    }

    #[test]
    fn flags_that_ask_for_what_is_so_anyway_are_not_lost() {
        let binding = |flags: u32| {
            let own = format!(
                "<site name=\"X\" id=\"1\"><bindings><binding protocol=\"https\" \
                 bindingInformation=\"*:443:a\" sslFlags=\"{flags}\"/></bindings></site>"
            );
            BEFORE.replace("<site name=\"X\" id=\"1\"/>", &own)
        };
        for (flags, count) in [(0, 0), (1 | 8 | 16 | 64, 0), (1 | 4, 1)] {
            assert_eq!(of(&binding(flags), &binding(1), "nothing").len(), count, "{flags}");
        }
    }
}
