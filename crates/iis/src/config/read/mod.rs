//! From the text of `applicationHost.config`, and what belongs to it, to a [`Document`].
//!
//! | module | answers |
//! |---|---|
//! | `companion` | what does the `bindery.toml` beside it say? |
//! | `sites`, `bindings`, `log` | what does `system.applicationHost` say? |
//! | `sections` | what holds at a level, and what may a `web.config` change of it? |
//! | `content`, `errors`, `handlers`, `security` (`denied`), `redirect`, `rewrite` (`template`, `upstream`) | what does each section mean? |
//! | `routes`, `rules` | what answers below each path of a site? |
//! | `known` | which sites were read already? |
//! | `folders` | where is a folder of Windows here? |
//! | `support` | what becomes of each element and attribute? |
//! | `report`, `value` | what is wrong, and what is a value? |

mod bindings;
mod companion;
mod content;
mod denied;
mod errors;
mod folders;
mod handlers;
mod known;
mod log;
mod redirect;
mod report;
mod rewrite;
mod routes;
mod rules;
mod sections;
mod security;
mod sites;
mod support;
mod support_host;
mod support_sections;
mod template;
mod upstream;
mod value;

use std::{path::PathBuf, rc::Rc};

use bindery_model::{
    document::{Before, Document, Parts},
    problem::{Code, Problem, Span},
    upstream::ServerAddress,
};
use hashbrown::HashMap;

pub(super) use self::redirect::written as redirect_written;
use self::{
    folders::Folders,
    handlers::Programs,
    known::Taking,
    report::{Report, Source},
    rules::Ruler,
    sections::{Level, Sections, Shared},
};
use super::{Sources, pools};
use crate::{
    netsh::records::Records,
    xml::{self, Element},
};

/// The lines that the `bindery.toml` beside a file lacks, as problems propose them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Proposed {
    /// Of `[paths]`: a folder of Windows, and where it could be here.
    pub paths: Vec<(String, PathBuf)>,
    /// Of `[fastcgi]`: a program of Windows, and the server that could stand for it here.
    pub fastcgi: Vec<(String, ServerAddress)>,
}

impl Proposed {
    /// Whether no line is lacking.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty() && self.fastcgi.is_empty()
    }
}

/// What problems propose.
#[must_use]
pub fn proposed(problems: &[Problem]) -> Proposed {
    Proposed {
        paths: folders::proposed_paths(problems),
        fastcgi: handlers::proposed_programs(problems),
    }
}

/// What a text says of sites, before they are made.
struct Reader<'a> {
    sources: &'a Sources<'a>,
    shared: Shared<'a>,
    /// By site, in lower case: what `location` elements say of it.
    locations: HashMap<String, Vec<Location<'a>>>,
    /// The sections of the server.
    server: Rc<Sections>,
    ruler: Ruler<'a>,
    parts: Parts,
    /// Whether sites stand where they can be read by themselves.
    in_parts: bool,
    /// Sites that are not read.
    taking: Option<Taking<'a>>,
}

/// A `location` of a site.
#[derive(Clone)]
struct Location<'a> {
    /// Below which path of the site.
    path: String,
    element: Element<'a>,
    /// Whether applications below do not inherit it.
    own_only: bool,
}

/// Reads everything.
pub(super) fn read(sources: &Sources<'_>) -> Document {
    let tree = match xml::parse(sources.text) {
        Ok(tree) => tree,
        Err(error) => {
            let span = error.span.clone();
            let message = format!("the file is not XML: {}", error.message);
            let help = "everything else is looked at once this is right";
            return Document::unread(Problem::new(Code::Syntax, span, message, help));
        }
    };
    let mut reader = Reader::new(sources);
    let found = reader.read_around(tree.root());
    reader.read_sites(&found);
    reader.finish()
}

/// The same, for a text that is nearly that of `before`, which was read with these records.
pub(super) fn read_after(sources: &Sources<'_>, before: Before<'_>, records: &Records) -> Document {
    known::read(sources, before, records).unwrap_or_else(|| read(sources))
}

impl<'a> Reader<'a> {
    fn new(sources: &'a Sources<'a>) -> Self {
        let mut parts = companion::parts(sources.companion);
        let shared = Shared {
            report: Report::default(),
            folders: Folders::new(&parts.settings.paths, sources.folder, sources.environment),
            programs: Programs::new(&parts.settings.fastcgi),
            paths: std::mem::take(&mut parts.positions.paths),
            client_ca: parts.settings.client_ca.clone(),
        };
        Reader {
            sources,
            shared,
            locations: HashMap::new(),
            server: Rc::default(),
            ruler: Ruler::default(),
            parts,
            in_parts: false,
            taking: None,
        }
    }

    /// Reads all but sites, and says where those are.
    fn read_around(&mut self, root: Element<'a>) -> Found<'a> {
        let level =
            Level { source: Rc::new(Source::Main), path: "/", folder: None, owner: "the server" };
        if root.name() == "configuration" {
            self.read_locks(root);
            sections::read(&mut self.server, root, &level, &mut self.shared);
        }
        for element in root.children_named("location") {
            self.read_location(element, &level);
        }
        let mut found = Found::default();
        found.look(root);
        match found.sites.as_slice() {
            [] if found.loose.is_empty() => {
                let message = "the file has no sites: no <sites> and no <site>";
                let help = "give the applicationHost.config of an IIS, or what `appcmd list site /config /xml` prints";
                let problem = Problem::new(Code::MissingKey, root.tag(), message, help);
                self.shared.report.problems.push(problem);
            }
            _ => {}
        }
        if let Some(host) = root.child("system.applicationHost") {
            self.read_host(host);
        }
        self.read_log(root.child("system.applicationHost"), found.sites.first().copied());
        self.note_rest(root, &found);
        found
    }

    /// What `configSections` says of locks.
    fn read_locks(&mut self, root: Element<'a>) {
        let Some(sections) = root.child("configSections") else { return };
        let mut locks = sections::Locks::default();
        for group in sections.children_named("sectionGroup") {
            if group.value("name").as_deref() == Some("system.webServer") {
                learn_locks(&mut locks, "", group);
            }
        }
        Rc::make_mut(&mut self.server).locks = Rc::new(locks);
    }

    /// Remembers a `location` for its site, or reads it at once where it is for the server.
    fn read_location(&mut self, element: Element<'a>, level: &Level<'_>) {
        let path = element.value("path").unwrap_or_default();
        let path = path.trim().trim_matches('/');
        let path = path.strip_prefix("MACHINE/WEBROOT/APPHOST").unwrap_or(path);
        let path = path.trim_start_matches('/');
        if matches!(path, "" | ".") {
            return sections::read(&mut self.server, element, level, &mut self.shared);
        }
        let (site, below) = path.split_once('/').unwrap_or((path, ""));
        let location = Location {
            path: format!("/{}", below.trim_matches('/')),
            element,
            own_only: is_own_only(element),
        };
        self.locations.entry(site.to_lowercase()).or_default().push(location);
    }

    /// Reports each `location` of a site that is not there.
    fn report_locations(&mut self) {
        for location in self.locations.values().flatten() {
            let message = format!(
                "location {:?} is of no site",
                location.element.value("path").unwrap_or_default()
            );
            let help = "correct its path, or remove it";
            let span = value::place(location.element, "path");
            self.shared.report.problem((&Source::Main, span), Code::NoEffect, message, help);
        }
    }

    /// What `system.applicationHost` has beside sites and logs.
    fn read_host(&mut self, host: Element<'a>) {
        self.parts.settings.application_pools = pools::read(host);
        let report = &mut self.shared.report;
        for element in host.children() {
            match (element.name(), support::kind(element.name())) {
                ("sites" | "log", _) => {}
                ("customMetadata", _) => report_metadata(report, element),
                (_, Some(kind)) => report.attributes(&Source::Main, element, kind),
                (name, None) => {
                    let message = format!("<{name}> is not known here and does nothing");
                    report.hint(&Source::Main, element.tag(), message);
                }
            }
        }
    }

    fn finish(mut self) -> Document {
        self.report_locations();
        let records = self.sources.records.iter();
        let certificates = records.map(|own| (own.key.clone(), own.certificate_hash)).collect();
        self.parts.records.get_or_insert_default().certificates = certificates;
        let Self { shared, mut parts, in_parts, .. } = self;
        if !in_parts {
            parts.positions.parts.clear();
        }
        parts.positions.parts.sort_by_key(|part| part.span.start);
        let Shared { report, folders, paths, .. } = shared;
        parts.problems.extend(report.problems);
        parts.problems.extend(folders.problems());
        parts.positions.paths = paths;
        parts.finish()
    }
}

/// Where the sites of a text stand.
#[derive(Default)]
struct Found<'a> {
    /// Each `sites`.
    sites: Vec<Element<'a>>,
    /// Each `site` that stands in none, as `appcmd list site /config` prints them.
    loose: Vec<Element<'a>>,
}

impl<'a> Found<'a> {
    fn look(&mut self, element: Element<'a>) {
        match element.name() {
            "sites" => self.sites.push(element),
            "site" => self.loose.push(element),
            "configuration" | "system.applicationHost" | "appcmd" | "SITE" => {
                for child in element.children() {
                    self.look(child);
                }
            }
            _ => {}
        }
    }
}

/// Whether `inheritInChildApplications` says that applications below go without.
fn is_own_only(location: Element<'_>) -> bool {
    let said = location.value("inheritInChildApplications");
    said.and_then(|text| value::boolean(text.trim())) == Some(false)
}

fn learn_locks(locks: &mut sections::Locks, prefix: &str, group: Element<'_>) {
    for child in group.children() {
        let Some(name) = child.value("name") else { continue };
        let path = sections::join(prefix, &name);
        match child.name() {
            "sectionGroup" => learn_locks(locks, &path, child),
            "section" => {
                let mode = child.value("overrideModeDefault");
                // What only the server may say is locked whatever its mode.
                let server_only = child.value("allowDefinition").is_some_and(|at| {
                    matches!(&*at, "AppHostOnly" | "MachineOnly" | "MachineToRootWeb")
                });
                let denied = mode.is_some_and(|mode| mode.eq_ignore_ascii_case("Deny"));
                locks.set(&path, server_only || denied);
            }
            _ => {}
        }
    }
}

/// Reports what IIS 6 left behind of certificates.
fn report_metadata(report: &mut Report, metadata: Element<'_>) {
    for property in metadata.children().flat_map(Element::children) {
        if property.value("id").as_deref() == Some("5506") {
            let message = "property 5506 of customMetadata is the certificate of an IIS 6 and is never used; on Windows it can delete a certificate record";
            report.problem(
                (&Source::Main, property.tag()),
                Code::NotSupportedHere,
                message,
                "remove it: certificates come from certificate records",
            );
        }
    }
}

/// A path below a folder, by the segments of a path of a site.
fn below(folder: &std::path::Path, path: &str) -> PathBuf {
    let parts = path.split('/').filter(|part| !matches!(*part, "" | "." | ".."));
    parts.fold(folder.to_owned(), |whole, part| whole.join(part))
}

/// Where something stands, and what it is called.
#[derive(Clone)]
struct Named {
    span: Span,
    owner: String,
}

#[cfg(test)]
mod tests;
