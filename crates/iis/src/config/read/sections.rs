//! The sections of `system.webServer` at one level, and what a text changes of them: what is
//! locked, what is inherited, what is new.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
};

use bindery_model::{
    document::NamedPath,
    problem::{Code, Span},
};

use super::{
    content::{Cache, Compression},
    errors::Errors,
    folders::Folders,
    handlers::{Handlers, Programs},
    redirect::Redirect,
    report::{Report, Source},
    rewrite::{Maps, Rules},
    security::{Access, Authorized, Filtering, Networks},
    support::{self, How, Kind},
    value::Values,
};
use crate::xml::Element;

/// What all levels are read with.
pub(super) struct Shared<'a> {
    pub(super) report: Report,
    pub(super) folders: Folders<'a>,
    pub(super) programs: Programs,
    pub(super) paths: Vec<NamedPath>,
    /// Who signs client certificates, where it is said.
    pub(super) client_ca: Option<PathBuf>,
}

/// A level: the place that a text speaks of.
pub(super) struct Level<'a> {
    pub(super) source: Rc<Source>,
    /// Below which path of its site: `/` for the server too.
    pub(super) path: &'a str,
    /// Its folder, where it has one.
    pub(super) folder: Option<&'a Path>,
    /// What messages call it.
    pub(super) owner: &'a str,
}

/// The sections in force at one level. What nothing was said of is `None` or its default.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sections {
    pub(super) locks: Rc<Locks>,
    pub(super) documents: Option<Rc<Vec<String>>>,
    pub(super) no_documents: bool,
    pub(super) listing: bool,
    /// Types by ending, lower case, without the dot.
    pub(super) types: Option<Arc<[(String, String)]>>,
    /// Whether every ending has a type.
    pub(super) any_type: bool,
    pub(super) cache: Rc<Cache>,
    pub(super) compression: Rc<Compression>,
    pub(super) errors: Rc<Errors>,
    pub(super) headers: Rc<Vec<(String, String)>>,
    pub(super) redirect: Rc<Redirect>,
    pub(super) access: Access,
    pub(super) networks: Rc<Networks>,
    pub(super) filtering: Rc<Filtering>,
    /// Whether nobody may read who gives no name.
    pub(super) no_anonymous: bool,
    /// Who may read; everybody where nothing is said.
    pub(super) authorization: Option<Rc<Vec<Authorized>>>,
    pub(super) rules: Rc<Rules>,
    pub(super) maps: Rc<Maps>,
    /// Whether other servers get the Host of the request, and not their own name.
    pub(super) keep_host: bool,
    pub(super) not_logged: bool,
    pub(super) handlers: Rc<Handlers>,
}

/// What a `web.config` may not set.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Locks {
    /// By section: whether it is locked, where that is said.
    sections: BTreeMap<String, bool>,
    /// By section: attributes and elements that are locked in it.
    parts: BTreeMap<String, Vec<String>>,
    /// By section: attributes that are not, where all others are.
    excepted: BTreeMap<String, Vec<String>>,
    /// By section: elements that are not, where all others are.
    excepted_elements: BTreeMap<String, Vec<String>>,
    /// By section: entries of its collections.
    items: BTreeMap<String, Vec<Item>>,
}

impl Locks {
    /// Says that a section is locked or not.
    pub(super) fn set(&mut self, path: &str, locked: bool) {
        self.sections.insert(path.to_owned(), locked);
    }

    fn is_locked(&self, path: &str) -> bool {
        let said = self.sections.get(path).copied();
        said.unwrap_or_else(|| support::section(path).is_some_and(|kind| kind.locked))
    }

    /// The attributes and elements of a section that are locked and that `element` has.
    fn parts_of(&self, path: &str, element: Element<'_>) -> Vec<String> {
        let listed = self.parts.get(path).map(Vec::as_slice).unwrap_or_default();
        let attributes = element.attributes().map(|own| (own.name(), self.excepted.get(path)));
        let elements = element.children().map(|own| (own.name(), self.excepted_elements.get(path)));
        let locked = attributes.chain(elements).filter(|(name, excepted)| {
            listed.iter().any(|own| own == name || own == "*")
                || excepted.is_some_and(|names| {
                    !name.starts_with("lock") && !names.iter().any(|own| own == name)
                })
        });
        locked.map(|(name, _)| name.to_owned()).collect()
    }

    /// The entries in a section that would take a locked one away or change it.
    fn against_items<'a>(&self, path: &str, element: Element<'a>) -> Vec<Element<'a>> {
        let Some(locked) = self.items.get(path) else { return Vec::new() };
        let mut against = Vec::new();
        for (list, entry) in entries(element) {
            let same = |own: &&Item| own.list == list;
            let touched = match entry.name() {
                "clear" => locked.iter().any(|own| same(&own)),
                _ => {
                    let key = item_key(entry);
                    locked.iter().filter(same).any(|own| own.key == key)
                }
            };
            if touched {
                against.push(entry);
            }
        }
        against
    }

    fn learn(&mut self, path: &str, element: Element<'_>) {
        let list = |text: &str| -> Vec<String> {
            text.split(',').map(|name| name.trim().to_owned()).collect()
        };
        for attribute in element.attributes() {
            let names = list(&attribute.value());
            match attribute.name() {
                "lockAttributes" | "lockElements" => {
                    self.parts.entry(path.to_owned()).or_default().extend(names);
                }
                "lockAllAttributesExcept" => {
                    self.excepted.insert(path.to_owned(), names);
                }
                "lockAllElementsExcept" => {
                    self.excepted_elements.insert(path.to_owned(), names);
                }
                // Of a section it is the section.
                "lockItem" if names == ["true"] => self.set(path, true),
                _ => {}
            }
        }
        for (list, entry) in entries(element) {
            if entry.value("lockItem").as_deref() == Some("true") {
                let item = Item { list: list.to_owned(), key: item_key(entry) };
                self.items.entry(path.to_owned()).or_default().push(item);
            }
        }
    }
}

/// An entry of a collection.
#[derive(Clone, Debug, PartialEq)]
struct Item {
    /// The element that it is in; empty for the section.
    list: String,
    key: String,
}

/// The entries of a section and of the collections in it, each with the name of its collection.
fn entries<'a>(section: Element<'a>) -> impl Iterator<Item = (&'a str, Element<'a>)> {
    let own = section.children().map(|entry| ("", entry));
    own.chain(
        section.children().flat_map(|list| list.children().map(move |entry| (list.name(), entry))),
    )
}

/// What tells an entry of a collection from the others.
fn item_key(entry: Element<'_>) -> String {
    const KEYS: [&str; 10] = [
        "name",
        "fileExtension",
        "segment",
        "wildcard",
        "verb",
        "statusCode",
        "ipAddress",
        "mimeType",
        "accessType",
        "value",
    ];
    let key = KEYS.into_iter().find_map(|name| entry.value(name)).unwrap_or_default();
    let sub = entry.value("subStatusCode");
    let sub = sub.as_deref().map(str::trim).filter(|sub| *sub != "-1").unwrap_or_default();
    format!("{} {sub}", key.trim().to_lowercase())
}

/// Something that is written below `system.webServer`.
pub(super) struct Written<'a, 'l> {
    pub(super) path: &'l str,
    pub(super) element: Element<'a>,
    pub(super) level: &'l Level<'l>,
    /// Its attributes and elements that are locked.
    pub(super) locked: &'l [String],
    /// Entries in it that would change a locked one.
    against: &'l [Element<'a>],
}

impl<'a> Written<'a, '_> {
    /// The values of its attributes.
    pub(super) fn values<'r>(&'r self, shared: &'r mut Shared<'_>) -> Values<'a, 'r> {
        let (element, source, locked) = (self.element, &*self.level.source, self.locked);
        Values { element, source, locked, report: &mut shared.report }
    }

    /// The elements in it that are not locked.
    pub(super) fn children(&self) -> impl Iterator<Item = Element<'a>> + '_ {
        let locked = |name: &str| self.locked.iter().any(|own| own == name);
        let children = self.element.children().filter(move |child| !locked(child.name()));
        children.filter(|child| self.is_free(*child))
    }

    /// Whether an entry changes no locked one.
    fn is_free(&self, entry: Element<'a>) -> bool {
        !self.against.iter().any(|own| own.tag() == entry.tag())
    }

    /// The elements of a child, where it is there.
    pub(super) fn children_of(&self, name: &str) -> impl Iterator<Item = Element<'a>> + '_ {
        let name = name.to_owned();
        let lists = self.children().filter(move |child| child.name() == name);
        lists.flat_map(Element::children).filter(|entry| self.is_free(*entry))
    }

    /// The values of an element in it.
    pub(super) fn values_of<'r>(
        &'r self,
        element: Element<'a>,
        shared: &'r mut Shared<'_>,
    ) -> Values<'a, 'r> {
        Values { element, source: &self.level.source, locked: &[], report: &mut shared.report }
    }

    /// Reports what is not served of an element in it.
    pub(super) fn look_at(&self, element: Element<'a>, below: &str, shared: &mut Shared<'_>) {
        let path = format!("{}/{below}", self.path);
        if let Some(kind) = support::section(&path) {
            shared.report.attributes(&self.level.source, element, kind);
        }
    }

    /// A hint at an element in it.
    pub(super) fn hint(&self, span: Span, message: impl Into<String>, shared: &mut Shared<'_>) {
        shared.report.hint(&self.level.source, span, message);
    }

    /// Reports an element that nobody knows here.
    pub(super) fn unknown(&self, element: Element<'a>, shared: &mut Shared<'_>) {
        let message = format!("<{}> in {} is not known here", element.name(), self.path);
        self.hint(element.tag(), message, shared);
    }

    /// Reports an entry that is there already: IIS takes no second one.
    pub(super) fn twice(&self, element: Element<'a>, what: &str, shared: &mut Shared<'_>) {
        let message = format!("{what} is in {} already; the later one counts", self.path);
        let help = "write a <remove> before it: IIS answers 500.19 where one is added twice";
        let (source, span) = (&*self.level.source, element.tag());
        shared.report.problem((source, span), Code::BadWebConfig, message, help);
    }
}

/// Reads what is said of sections in `container`: the whole file, or a `location` of it.
pub(super) fn read(
    sections: &mut Rc<Sections>,
    container: Element<'_>,
    level: &Level<'_>,
    shared: &mut Shared<'_>,
) {
    for child in container.children() {
        match child.name() {
            "system.webServer" => group(sections, "", child, level, shared),
            "configSections" | "configProtectedData" | "system.applicationHost" | "location" => {}
            name => {
                let message = format!("<{name}> is not read: nothing that is served depends on it");
                shared.report.hint(&level.source, child.tag(), message);
            }
        }
    }
    if container.name() == "location" {
        lock_sections(sections, container, level, shared);
    }
}

/// What `overrideMode` of a `location` says of the sections in it, for all levels below.
fn lock_sections(
    sections: &mut Rc<Sections>,
    location: Element<'_>,
    level: &Level<'_>,
    shared: &mut Shared<'_>,
) {
    let mode = location.value("overrideMode").or_else(|| location.value("allowOverride"));
    let locked = match mode.as_deref().map(str::to_ascii_lowercase).as_deref() {
        None | Some("inherit") => return,
        Some("allow" | "true") => false,
        Some("deny" | "false") => true,
        Some(_) => {
            let message = "overrideMode takes Allow, Deny or Inherit";
            let span = super::value::place(location, "overrideMode");
            return shared.report.bad(&level.source, span, message, "write one of them");
        }
    };
    for group in location.children_named("system.webServer") {
        for path in section_paths("", group) {
            Rc::make_mut(&mut Rc::make_mut(sections).locks).set(&path, locked);
        }
    }
}

/// The paths of the sections in a group.
pub(super) fn section_paths(prefix: &str, group: Element<'_>) -> Vec<String> {
    let mut paths = Vec::new();
    for child in group.children() {
        let path = join(prefix, child.name());
        match support::is_group(&path) {
            true => paths.extend(section_paths(&path, child)),
            false => paths.push(path),
        }
    }
    paths
}

pub(super) fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") }
}

fn group(
    sections: &mut Rc<Sections>,
    prefix: &str,
    group_element: Element<'_>,
    level: &Level<'_>,
    shared: &mut Shared<'_>,
) {
    let mut elements: Vec<_> = group_element.children().collect();
    // Rules look up maps wherever those stand.
    elements.sort_by_key(|element| element.name() != "rewriteMaps");
    for element in elements {
        let path = join(prefix, element.name());
        if support::is_group(&path) {
            group(sections, &path, element, level, shared);
        } else {
            section(sections, &path, element, level, shared);
        }
    }
}

fn section(
    sections: &mut Rc<Sections>,
    path: &str,
    element: Element<'_>,
    level: &Level<'_>,
    shared: &mut Shared<'_>,
) {
    let source = &*level.source;
    let (mut locked, mut against) = (Vec::new(), Vec::new());
    if source.is_delegated() {
        if sections.locks.is_locked(path) {
            let message = format!("{path} is locked by applicationHost.config and not obeyed here");
            let help = format!("unlock it: bindery appcmd unlock config /section:{path}");
            let (code, span) = (Code::LockedSection, element.tag());
            return shared.report.problem((source, span), code, message, help);
        }
        locked = sections.locks.parts_of(path, element);
        for name in &locked {
            let message = format!("{name} of {path} is locked by applicationHost.config");
            let help = "remove it here, or its name from the lock there";
            let (code, span) = (Code::LockedSection, element.tag());
            shared.report.problem((source, span), code, message, help);
        }
        against = sections.locks.against_items(path, element);
        for entry in &against {
            let message = format!(
                "<{}> in {path} changes an entry that applicationHost.config locks",
                entry.name()
            );
            let help = "remove it here, or lockItem there";
            shared.report.problem((source, entry.tag()), Code::LockedSection, message, help);
        }
    }
    let has_lock =
        |own: Element<'_>| own.attributes().any(|attribute| attribute.name().starts_with("lock"));
    if has_lock(element) || entries(element).any(|(_, entry)| has_lock(entry)) {
        Rc::make_mut(&mut Rc::make_mut(sections).locks).learn(path, element);
    }
    let Some(kind) = support::section(path) else {
        let message = format!("the section {path} is not known here and does nothing");
        return shared.report.hint(source, element.tag(), message);
    };
    match kind.how {
        How::Served => {
            shared.report.attributes(source, element, kind);
            let written = Written { path, element, level, locked: &locked, against: &against };
            serve(Rc::make_mut(sections), &written, shared);
        }
        How::Kept => shared.report.attributes(source, element, kind),
        How::Reported => report_section(kind, element, level, shared),
    }
}

fn report_section(kind: &Kind, element: Element<'_>, level: &Level<'_>, shared: &mut Shared<'_>) {
    let empty = element.children().next().is_none() && element.attributes().next().is_none();
    if !empty {
        let message = format!("{}: {}", kind.path, kind.meaning);
        shared.report.hint(&level.source, element.tag(), message);
    }
}

/// Reads a section that is served.
fn serve(sections: &mut Sections, written: &Written<'_, '_>, shared: &mut Shared<'_>) {
    match written.path {
        "defaultDocument" => sections.read_documents(written, shared),
        "directoryBrowse" => {
            if let Some(listing) = written.values(shared).boolean("enabled") {
                sections.listing = listing;
            }
        }
        "staticContent" => sections.read_static_content(written, shared),
        "httpCompression" => sections.read_http_compression(written, shared),
        "urlCompression" => sections.read_url_compression(written, shared),
        "httpErrors" => sections.read_errors(written, shared),
        "httpProtocol" => sections.read_protocol(written, shared),
        "httpRedirect" => sections.read_redirect(written, shared),
        "httpLogging" => sections.read_logging(written, shared),
        "security/access" => sections.read_access(written, shared),
        "security/ipSecurity" => sections.read_networks(written, shared),
        "security/requestFiltering" => sections.read_filtering(written, shared),
        "security/authorization" => sections.read_authorization(written, shared),
        "security/authentication/anonymousAuthentication" => {
            sections.read_anonymous(written, shared);
        }
        "rewrite/rules" | "rewrite/globalRules" => sections.read_rules(written, shared),
        "rewrite/rewriteMaps" => sections.read_maps(written, shared),
        "proxy" => sections.read_proxy(written, shared),
        "handlers" => sections.read_handlers(written, shared),
        // The table has no others that are served.
        _ => {}
    }
}
