//! Reads `[[site]]`: name, number, state and bindings. What answers is read by [`super::action`].

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use super::{
    BindingPosition, SitePosition, action,
    before::{Circumstances, Known, KnownSite},
    binding,
    certificate::Certificates,
    cut::{Kind, Part},
    files, pools,
    read::{Reader, Section, Text},
    route::{self, Inherited},
    rules,
};
use crate::{
    binding::{Binding, Protocol},
    problem::{Code, Problem, Span},
    rules::Rules,
    site::{Route, RouteAction, RouteKind, Site, SiteId, SiteLimits, SiteState},
};

/// The most bytes of a name: what a log line or a folder named after it can take.
const NAME_BYTES_MAX: usize = 255;

/// The sites of the file and their bindings, those of one site together.
#[derive(Default)]
pub(super) struct Sites {
    /// In the order of the file; also those with errors, so that places fit.
    pub(super) sites: Vec<Arc<Site>>,
    /// Where they stand.
    pub(super) positions: Vec<SitePosition>,
    /// Those whose text was understood.
    pub(super) bindings: Vec<Binding>,
    /// Where they stand.
    pub(super) binding_positions: Vec<BindingPosition>,
    /// Where names stand, in lower case.
    names: HashMap<String, Span>,
    numbers: Numbers,
}

/// Reads every `[[site]]`; nothing where one of the parts is no TOML.
pub(super) fn read<'d>(
    reader: &mut Reader<'d>,
    root: &Section<'d>,
    certificates: &Certificates,
    (parts, known): (Option<&[Part]>, Option<&Known<'_>>),
) -> Option<Sites> {
    let mut all = Sites::default();
    let logged = root.entry("server").is_some_and(|server| server.has("access_log"));
    let circumstances = Circumstances {
        certificates: &certificates.sources,
        logged,
        central_store: certificates.central_store,
    };
    let known = known.filter(|known| known.fits(reader.folder(), &circumstances));
    let constant = Constant { certificates, logged, keys: keys(), plain: Arc::default() };
    match parts {
        None => reader.each(root, "site", |reader, section| all.read(reader, section, &constant)),
        Some(parts) => {
            all.reserve(parts.iter().filter(|part| part.kind == Kind::Site).count());
            for part in parts.iter().filter(|part| part.kind == Kind::Site) {
                match known.and_then(|known| known.site(part)) {
                    Some(site) => all.take(reader, site),
                    None => reader.part("site", &part.span, |reader, section| {
                        all.read(reader, section, &constant);
                    })?,
                }
            }
        }
    }
    let numbers = std::mem::take(&mut all.numbers);
    for (site, id) in all.sites.iter_mut().zip(numbers.assign()) {
        if site.id != id {
            Arc::make_mut(site).id = id;
        }
    }
    Some(all)
}

/// What is the same for all sites.
struct Constant<'c> {
    certificates: &'c Certificates,
    /// Whether there is a log.
    logged: bool,
    keys: Vec<&'static str>,
    /// The rules of a site that says nothing of any.
    plain: Arc<Rules>,
}

impl Sites {
    /// Makes room: lists that grow are copied each time they do.
    fn reserve(&mut self, count: usize) {
        self.sites.reserve(count);
        self.positions.reserve(count);
        self.bindings.reserve(count);
        self.binding_positions.reserve(count);
        self.names.reserve(count);
        self.numbers.written.reserve(count);
    }

    /// Takes over a site that was read before.
    fn take(&mut self, reader: &mut Reader<'_>, known: KnownSite<'_>) {
        let KnownSite { site, position, bindings, paths, .. } = known;
        self.report_name_twice(reader, &site.name, &position.name);
        let number = position.number.clone().map(|span| (site.id.0, span));
        self.numbers.add(reader, number, || format!("site {:?}", site.name));
        let own = u32::try_from(self.sites.len()).unwrap_or(u32::MAX);
        for (binding, at) in bindings {
            self.bindings.push(Binding { site: own, ..binding.clone() });
            self.binding_positions.push(at);
        }
        reader.paths.extend(paths);
        self.sites.push(Arc::clone(site));
        self.positions.push(position);
    }

    fn read<'d>(
        &mut self,
        reader: &mut Reader<'d>,
        section: &Section<'d>,
        constant: &Constant<'_>,
    ) {
        let Constant { certificates, logged, keys, plain } = constant;
        let known = reader.known(section, keys);
        let name = reader.required_text(section, "name", "shop");
        let name = name.and_then(|name| read_name(reader, section, name));
        if let Some(name) = &name {
            self.report_name_twice(reader, name.value, &name.span);
        }
        let number = self.numbers.read(reader, section);
        let states = [("started", SiteState::Started), ("stopped", SiteState::Stopped)];
        let state = reader.choice(section, "state", &states).unwrap_or_default();
        let https_redirect = reader.boolean(section, "https_redirect").unwrap_or(true);
        let name_at = name.as_ref().map_or_else(|| section.span.clone(), |name| name.span.clone());
        let access_log = reader.boolean(section, "access_log");
        if access_log == Some(true) && !*logged {
            let message =
                format!("{}: access_log does nothing: no log is configured", section.owner);
            let help = "add access_log = \"/var/log/bindery\" to [server]";
            reader.problem(Code::NoEffect, section.key_at("access_log"), message, help);
        }
        let ignore_case = reader.boolean(section, "ignore_case").unwrap_or(false);
        let limits = read_limits(reader, section);
        let read = read_routes(reader, section, &name_at, plain);
        // A key that is not known may be the bindings, mistyped.
        reader.incomplete |= !known;
        let problems = reader.problems.len();
        reader.deciding(|reader| self.read_bindings(reader, section, certificates));
        if known && reader.problems.len() == problems {
            self.report_plain_hsts(reader, section);
        }
        if section.entry("bindings").is_none_or(|entry| entry.is_empty()) && known {
            let message = format!("{} has no binding, so nobody can reach it", section.owner);
            let help = "add a line such as bindings = [\"https/*:443:www.example.com\"]";
            reader.problem(Code::NoBinding, name_at.clone(), message, help);
        }
        let name = name.map_or_else(String::new, |name| name.value.to_owned());
        self.sites.push(Arc::new(Site {
            id: SiteId(0),
            name,
            state,
            https_redirect,
            limits,
            access_log: access_log.unwrap_or(true),
            ignore_case,
            root: read.root,
            routes: read.routes,
        }));
        self.positions.push(SitePosition { name: name_at, action: read.action_at, number });
    }

    fn report_name_twice(&mut self, reader: &mut Reader<'_>, name: &str, span: &Span) {
        let key = name.to_lowercase();
        if let Some(first) = self.names.get(&key) {
            let message = format!("two sites are called {name:?}");
            let help = "give each site a name of its own; case does not count";
            let problem = Problem::new(Code::DuplicateSite, span.clone(), message, help);
            reader.problems.push(problem.with_related(first.clone(), "the first"));
            return;
        }
        self.names.insert(key, span.clone());
    }
}

/// Everything that a site can have.
pub(super) fn keys() -> Vec<&'static str> {
    let own = [
        "name",
        "id",
        "state",
        "bindings",
        "https_redirect",
        "limits",
        "access_log",
        "ignore_case",
        "application_pool",
        "applications",
        "virtual_directories",
    ];
    own.iter().chain(&action::ACTIONS).chain(&files::OPTIONS).chain(&rules::KEYS).copied().collect()
}

/// What answers at the paths of a site.
struct Routes {
    root: Route,
    /// Where it stands what answers at `/`.
    action_at: Span,
    routes: Vec<Route>,
}

fn read_routes<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    name_at: &Span,
    plain: &Arc<Rules>,
) -> Routes {
    let standard = files::standard();
    let rules = rules::read(reader, section, plain);
    let (action, action_at) = action::read(reader, section, &standard, name_at);
    let files = match &action {
        RouteAction::Files(files) => files,
        RouteAction::FastCgi(program) => &program.files,
        RouteAction::Proxy(_) | RouteAction::Redirect { .. } | RouteAction::Respond { .. } => {
            &standard
        }
    };
    let routes = route::read(reader, section, &Inherited { rules: &rules, files });
    let kind = RouteKind::Application;
    let pool = pools::read_pool(reader, section);
    let root = Route { kind, path: "/".to_owned(), action, rules, pool };
    rules::report_idle(reader, section);
    Routes { root, action_at, routes }
}

fn read_limits<'d>(reader: &mut Reader<'d>, section: &Section<'d>) -> SiteLimits {
    let owner = || format!("limits of {}", section.owner);
    let Some(limits) = reader.table(section, "limits", owner) else {
        return SiteLimits::default();
    };
    reader.known(&limits, &["requests_max", "bytes_per_second_max"]);
    let bytes = reader.integer(&limits, "bytes_per_second_max", 1..=i64::MAX);
    SiteLimits {
        requests_max: reader.count(&limits, "requests_max", 1..=u32::MAX),
        bytes_per_second_max: bytes.map(|(bytes, _)| bytes.unsigned_abs()),
    }
}

impl Sites {
    fn read_bindings<'d>(
        &mut self,
        reader: &mut Reader<'d>,
        section: &Section<'d>,
        certificates: &Certificates,
    ) {
        let site = u32::try_from(self.sites.len()).unwrap_or(u32::MAX);
        for entry in reader.elements(section, "bindings", "an array") {
            if let Some((binding, at)) = binding::read(reader, section, &entry, certificates) {
                self.bindings.push(Binding { site, ..binding });
                self.binding_positions.push(at);
            }
        }
    }
}

impl Sites {
    /// Reports hsts at a site that is reached without TLS only; its bindings were read last.
    fn report_plain_hsts(&self, reader: &mut Reader<'_>, section: &Section<'_>) {
        let site = u32::try_from(self.sites.len()).unwrap_or(u32::MAX);
        let mut own = self.bindings.iter().rev().take_while(|binding| binding.site == site);
        let hsts = section.entry("hsts").filter(|entry| !entry.is_false());
        let Some(entry) = hsts else { return };
        if own.clone().next().is_some()
            && own.all(|binding| binding.information.protocol == Protocol::Http)
        {
            let message = format!("{}: hsts does nothing: no binding is https", section.owner);
            let help = "browsers believe it over https only: add a binding, or remove hsts";
            reader.problem(Code::NoEffect, entry.key_span, message, help);
        }
    }
}

/// Takes a text as a name, of a site or a certificate, if it can be one.
pub(super) fn read_name<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    name: Text<'d>,
) -> Option<Text<'d>> {
    let wrong = if name.value.trim().is_empty() {
        "a name cannot be empty".to_owned()
    } else if name.value.len() > NAME_BYTES_MAX {
        format!("a name has at most {NAME_BYTES_MAX} bytes, and this has {}", name.value.len())
    } else {
        // Tools write "site/application" and "site?query" and take names apart there.
        let unusable = |c: &char| matches!(c, '/' | '?') || c.is_control();
        let letter = name.value.chars().find(unusable);
        let Some(letter) = letter else { return Some(name) };
        format!("a name cannot have {letter:?} in it")
    };
    let owner =
        if name.value.len() > NAME_BYTES_MAX { "a name that is too long" } else { &section.owner };
    reader.problem(Code::BadValue, name.span, format!("{owner}: {wrong}"), "take another name");
    None
}

/// The numbers of the sites.
#[derive(Default)]
struct Numbers {
    written: Vec<Option<u32>>,
    taken: HashMap<u32, (Span, String)>,
}

impl Numbers {
    /// Reads the number of a site. Gives where it stands.
    fn read<'d>(&mut self, reader: &mut Reader<'d>, section: &Section<'d>) -> Option<Span> {
        let id = reader.integer(section, "id", 1..=i64::from(u32::MAX));
        let id = id.and_then(|(id, span)| Some((u32::try_from(id).ok()?, span)));
        let at = id.as_ref().map(|(_, span)| span.clone());
        self.add(reader, id, || section.owner.clone());
        at
    }

    /// Adds the number of a site, which messages call so.
    fn add(
        &mut self,
        reader: &mut Reader<'_>,
        id: Option<(u32, Span)>,
        owner: impl FnOnce() -> String,
    ) {
        self.written.push(id.as_ref().map(|(id, _)| *id));
        let Some((id, span)) = id else { return };
        let own = owner();
        if let Some((first, owner)) = self.taken.get(&id) {
            let message = format!("{own} and {owner} both have the number {id}");
            let help = "give it another number, or none: then it gets the next that is free";
            let problem = Problem::new(Code::DuplicateSite, span, message, help);
            reader.problems.push(problem.with_related(first.clone(), "the first"));
            return;
        }
        self.taken.insert(id, (span, own));
    }

    /// The number of each site: the written one, or the next that none has.
    fn assign(self) -> impl Iterator<Item = SiteId> {
        let taken: HashSet<u32> = self.taken.into_keys().collect();
        let mut free = (1..=u32::MAX).filter(move |id| !taken.contains(id));
        self.written.into_iter().filter_map(move |id| id.or_else(|| free.next()).map(SiteId))
    }
}
