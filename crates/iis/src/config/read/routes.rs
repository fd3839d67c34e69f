//! What answers below each path of a site: applications, virtual directories, and each folder that
//! has settings of its own, by a `location` or a `web.config`.
//!
//! Levels are read from short paths to long ones. At each: what `location` elements of
//! `applicationHost.config` say of it, then those of `web.config` files above it, then its own
//! `web.config`; all upon what its parent came to.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
};

use bindery_model::{
    document::{DEFAULT_POOL, NamedPath, PathKind},
    problem::{Code, Problem, Span},
    rules::{Hsts, Rules},
    site::{FastCgi, Route, RouteAction, RouteKind},
    tls::ClientCertificate,
};
use hashbrown::{HashMap, HashSet};

use super::{
    Location, Named, Reader, below, is_own_only,
    report::{Source, is_encrypted},
    rules::Ruled,
    sections::{self, Level, Sections},
    security::everybody,
    sites::Defaults,
    value::{self, boolean},
};
use crate::xml::{self, Element, Tree, XmlError};

/// What answers at a site.
pub(super) struct Made {
    pub(super) root: Route,
    pub(super) routes: Vec<Route>,
    /// Where the folder of its root stands.
    pub(super) action_at: Span,
    pub(super) not_logged: bool,
    pub(super) client_certificate: ClientCertificate,
}

/// An application or virtual directory.
struct Directory {
    path: String,
    /// Whether it is the folder of an application.
    application: bool,
    folder: Option<PathBuf>,
    /// Where its path stands.
    at: Span,
    /// Where its folder stands.
    span: Span,
    /// Whether folders below may have a `web.config`.
    sub_config: bool,
    /// The pool of an application, where it is not the default one.
    pool: Option<Arc<str>>,
}

/// The text of a `web.config`.
struct WebConfig {
    path: String,
    folder: PathBuf,
    text: String,
    /// Why there is no text.
    unread: Option<String>,
    span: Span,
}

impl WebConfig {
    fn tree(&self) -> Result<Tree<'_>, XmlError> {
        match &self.unread {
            None => xml::parse(&self.text),
            Some(why) => Err(XmlError { span: 0..0, message: why.clone() }),
        }
    }
}

/// A level, and what is said of it, in order.
#[derive(Default)]
struct Node<'t> {
    path: String,
    directory: Option<usize>,
    said: Vec<Said<'t>>,
    /// Whether its `web.config` cannot be read.
    broken: bool,
    /// Whether it surely is a folder.
    is_folder: bool,
}

struct Said<'t> {
    container: Element<'t>,
    source: Rc<Source>,
    own_only: bool,
}

/// What a level came to.
#[derive(Clone)]
struct State {
    path: String,
    own: Rc<Sections>,
    /// What applications below inherit.
    handed: Rc<Sections>,
    folder: Option<PathBuf>,
    /// Whether its folder is not there.
    absent: bool,
    broken: bool,
    closed: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn read_routes(
        &mut self,
        site: Element<'a>,
        defaults: &Defaults<'a>,
        named: &Named,
        hsts: Option<Hsts>,
    ) -> Made {
        let directories = self.read_directories(site, defaults, named);
        let mut locations = Vec::new();
        if !self.locations.is_empty() {
            let name = site.value("name").unwrap_or_default().trim().to_lowercase();
            locations = self.locations.remove(&name).unwrap_or_default();
        }
        let files = self.web_configs(&directories);
        let trees: Vec<_> = files.iter().map(WebConfig::tree).collect();
        let nodes = self.nodes(&directories, &locations, &files, &trees);
        let mut site = SiteReader { reader: self, directories: &directories, named, hsts };
        site.make(nodes)
    }

    fn read_directories(
        &mut self,
        site: Element<'a>,
        defaults: &Defaults<'a>,
        named: &Named,
    ) -> Vec<Directory> {
        let mut directories: Vec<Directory> = Vec::new();
        for application in site.children_named("application") {
            self.look_at(application, "sites/site/application");
            let pool = pool_of([
                Some(application),
                site.child("applicationDefaults"),
                defaults.application,
            ]);
            for element in application.children_named("virtualDirectory") {
                self.look_at(element, "sites/site/application/virtualDirectory");
                let inner = element.value("path").unwrap_or_default();
                let Some(path) = self.read_path(application, element, named) else { continue };
                let above = [Some(application), Some(site)]
                    .map(|one| one?.child("virtualDirectoryDefaults"));
                let all =
                    [Some(element)].into_iter().chain(above).chain([defaults.virtual_directory]);
                let sub_config =
                    all.flatten().find_map(|one| boolean(one.value("allowSubDirConfig")?.trim()));
                let owner = match path.as_str() {
                    "/" => named.owner.clone(),
                    path => format!("{path} of {}", named.owner),
                };
                let (folder, span) = self.read_folder(element, &owner);
                directories.push(Directory {
                    at: value::place(element, "path"),
                    application: matches!(inner.trim(), "/" | ""),
                    path,
                    folder,
                    span,
                    sub_config: sub_config.unwrap_or(true),
                    pool: pool.clone(),
                });
            }
        }
        self.drop_taken(&mut directories, named);
        if !directories.iter().any(|directory| directory.path == "/") {
            let message = format!("{} has no folder at /: requests are answered 503", named.owner);
            let help = "add <application path=\"/\"><virtualDirectory path=\"/\" physicalPath=\"...\" /></application>";
            let problem = Problem::new(Code::NoEffect, named.span.clone(), message, help);
            self.shared.report.problems.push(problem);
        }
        directories
    }

    /// Takes directories away whose path another has.
    fn drop_taken(&mut self, directories: &mut Vec<Directory>, named: &Named) {
        if directories.len() < 2 {
            return;
        }
        let mut taken: HashMap<String, Span> = HashMap::new();
        let problems = &mut self.shared.report.problems;
        directories.retain(|directory| {
            let Some(first) = taken.get(&directory.path.to_lowercase()) else {
                taken.insert(directory.path.to_lowercase(), directory.at.clone());
                return true;
            };
            let message = format!("{}: two folders are at {:?}", named.owner, directory.path);
            let help = "give each application and virtual directory a path of its own; case does not count";
            let problem = Problem::new(Code::DuplicateRoute, directory.at.clone(), message, help);
            problems.push(problem.with_related(first.clone(), "the first"));
            false
        });
    }

    /// Where a virtual directory begins, below its application.
    fn read_path(
        &mut self,
        application: Element<'a>,
        element: Element<'a>,
        named: &Named,
    ) -> Option<String> {
        let outer = application.value("path").unwrap_or_default();
        let inner = element.value("path").unwrap_or_default();
        let mut whole = String::new();
        for part in outer.trim().split('/').chain(inner.trim().split('/')) {
            if !part.is_empty() {
                whole.push('/');
                whole.push_str(part);
            }
        }
        let unusable = |c: char| matches!(c, '\\' | '?' | '#') || c.is_control();
        let dots = whole.split('/').any(|part| matches!(part, "." | ".."));
        if dots || whole.contains(unusable) {
            let message = format!("{}: nothing can begin at {whole:?}", named.owner);
            let span = value::place(element, "path");
            self.shared.report.bad(&Source::Main, span, message, "write it as in /shop/images");
            return None;
        }
        Some(if whole.is_empty() { "/".to_owned() } else { whole })
    }

    fn read_folder(&mut self, element: Element<'a>, owner: &str) -> (Option<PathBuf>, Span) {
        let span = value::place(element, "physicalPath");
        let text = element.value("physicalPath").unwrap_or_default();
        if text.trim().is_empty() {
            let message = format!("{owner} has no physicalPath: requests are answered 503");
            let help = "write physicalPath=\"C:\\inetpub\\wwwroot\"";
            self.shared.report.problem(
                (&Source::Main, span.clone()),
                Code::NoEffect,
                message,
                help,
            );
            return (None, span);
        }
        if is_encrypted(text.trim()) {
            let message = format!(
                "the folder of {owner} is encrypted by another machine: requests are answered 503"
            );
            let help = "write it anew; only the machine that encrypted it can read it";
            self.shared.report.problem(
                (&Source::Main, span.clone()),
                Code::UnmappedPath,
                message,
                help,
            );
            return (None, span);
        }
        let folder = self.shared.folders.find(text.trim(), &span, owner);
        if let Some(path) = folder.clone() {
            let owner = owner.to_owned();
            let kind = PathKind::Root;
            self.shared.paths.push(NamedPath { kind, path, span: span.clone(), owner });
        }
        (folder, span)
    }

    /// Every `web.config` of a site, from short paths to long ones.
    fn web_configs(&self, directories: &[Directory]) -> Vec<WebConfig> {
        let mut files = Vec::new();
        for directory in directories {
            let Some(folder) = &directory.folder else { continue };
            let mut add = |path: String, folder: &Path| {
                if let Some(read) = (self.sources.web_config)(folder) {
                    let (folder, span) = (folder.to_owned(), directory.span.clone());
                    let (text, unread) = match read {
                        Ok(text) => (text, None),
                        Err(why) => (String::new(), Some(why)),
                    };
                    files.push(WebConfig { path, folder, text, unread, span });
                }
            };
            add(directory.path.clone(), folder);
            if !directory.sub_config {
                continue;
            }
            for own in (self.sources.folders_with_web_config)(folder) {
                let path = path_of(directory, &own).filter(|path| *path != directory.path);
                // Another directory may take the place of the folder of that name.
                let path = path.filter(|path| {
                    !directories.iter().any(|other| {
                        other.path.len() > directory.path.len() && covers(&other.path, path)
                    })
                });
                if let Some(path) = path {
                    add(path, &own);
                }
            }
        }
        files.sort_by_key(|file| file.path.len());
        files
    }

    /// Every level of a site, with what is said of it.
    fn nodes<'t>(
        &mut self,
        directories: &[Directory],
        locations: &[Location<'t>],
        files: &'t [WebConfig],
        trees: &'t [Result<Tree<'t>, XmlError>],
    ) -> BTreeMap<String, Node<'t>> {
        let mut nodes: BTreeMap<String, Node<'t>> = BTreeMap::new();
        node(&mut nodes, "/");
        for (place, directory) in directories.iter().enumerate() {
            node(&mut nodes, &directory.path).directory = Some(place);
        }
        let main = Rc::new(Source::Main);
        for Location { path, element, own_only } in locations {
            let (container, own_only) = (*element, *own_only);
            let said = Said { container, source: Rc::clone(&main), own_only };
            node(&mut nodes, path).said.push(said);
        }
        for (file, tree) in files.iter().zip(trees) {
            let source =
                Source::web_config(file.folder.join("web.config"), &file.text, file.span.clone());
            let source = Rc::new(source);
            let own = node(&mut nodes, &file.path);
            own.is_folder = true;
            let root = match tree {
                Ok(tree) if tree.root().name() == "configuration" => tree.root(),
                Ok(tree) => {
                    own.broken = true;
                    let span = tree.root().tag();
                    self.report_broken(
                        &source,
                        span,
                        "its outermost element is no <configuration>",
                    );
                    continue;
                }
                Err(error) => {
                    own.broken = true;
                    self.report_broken(&source, error.span.clone(), &error.message);
                    continue;
                }
            };
            own.said.push(Said { container: root, source: Rc::clone(&source), own_only: false });
            for location in root.children_named("location") {
                let path = location.value("path").unwrap_or_default();
                let path = path.trim().trim_matches('/');
                let path = if path == "." { "" } else { path };
                let whole = format!("{}/{path}", file.path.trim_end_matches('/'));
                let said = Said {
                    container: location,
                    source: Rc::clone(&source),
                    own_only: is_own_only(location),
                };
                node(&mut nodes, &whole).said.push(said);
            }
        }
        nodes
    }

    fn report_broken(&mut self, source: &Source, span: Span, why: &str) {
        let message = format!("the web.config cannot be read: {why}; its folder is answered 500");
        let help = "correct it; IIS answers 500.19 there";
        self.shared.report.problem((source, span), Code::BadWebConfig, message, help);
    }
}

/// The level at a path. Two spellings of one path are one.
fn node<'n, 't>(nodes: &'n mut BTreeMap<String, Node<'t>>, path: &str) -> &'n mut Node<'t> {
    let path = match path.trim_end_matches('/') {
        "" => "/",
        path => path,
    };
    nodes
        .entry(path.to_lowercase())
        .or_insert_with(|| Node { path: path.to_owned(), ..Node::default() })
}

/// The path of a folder below a directory.
fn path_of(directory: &Directory, folder: &Path) -> Option<String> {
    let below = folder.strip_prefix(directory.folder.as_ref()?).ok()?;
    let mut path = directory.path.trim_end_matches('/').to_owned();
    for part in below.components() {
        path.push('/');
        path.push_str(part.as_os_str().to_str()?);
    }
    Some(if path.is_empty() { "/".to_owned() } else { path })
}

fn covers(prefix: &str, path: &str) -> bool {
    let (prefix, path) = (prefix.to_lowercase(), path.to_lowercase());
    path.strip_prefix(&prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Makes the routes of one site.
struct SiteReader<'r, 'a> {
    reader: &'r mut Reader<'a>,
    directories: &'r [Directory],
    named: &'r Named,
    hsts: Option<Hsts>,
}

impl SiteReader<'_, '_> {
    fn make(&mut self, nodes: BTreeMap<String, Node<'_>>) -> Made {
        let server = Rc::clone(&self.reader.server);
        let mut states: HashMap<String, State> = HashMap::with_capacity(nodes.len());
        let mut routes = Vec::new();
        let mut root = None;
        let mut asks = false;
        let mut paths: HashSet<String> = nodes.keys().cloned().collect();
        for (key, node) in nodes {
            let parent = parent_of(&states, &key).cloned().unwrap_or_else(|| State {
                path: "/".to_owned(),
                own: Rc::clone(&server),
                handed: Rc::clone(&server),
                folder: None,
                absent: false,
                broken: false,
                closed: false,
            });
            let mut state = self.read_node(&node, &parent);
            asks |= state.own.access.asks();
            self.close(&node, &mut state, &parent, states.get("/"));
            if node.path == "/" {
                root = Some(self.route(&node, &state));
            } else if self.is_route(&node, &state, &parent) {
                routes.push(self.route(&node, &state));
            }
            if node.path == "/" || !Rc::ptr_eq(&state.own.rules, &parent.own.rules) {
                let new = self.handed(&node.path, &state);
                routes.extend(
                    new.into_iter().filter(|route| paths.insert(route.path.to_lowercase())),
                );
            }
            states.insert(key, state);
        }
        let root_state = states.get("/");
        let sections = root_state.map_or(&server, |state| &state.own);
        let action_at = self.directories.iter().find(|directory| directory.path == "/");
        let requires = sections.access.requires();
        let ca = self.reader.shared.client_ca.clone();
        let client_certificate = match ca {
            Some(ca) if requires => ClientCertificate::Required { ca },
            Some(ca) if asks => ClientCertificate::Optional { ca },
            _ => ClientCertificate::Off,
        };
        let nothing = || Route {
            path: "/".to_owned(),
            kind: RouteKind::Application,
            action: respond(503),
            rules: Arc::new(Rules::default()),
            pool: None,
        };
        Made {
            root: root.unwrap_or_else(nothing),
            routes,
            action_at: action_at.map_or_else(|| self.named.span.clone(), |own| own.span.clone()),
            not_logged: sections.not_logged,
            client_certificate,
        }
    }

    /// Routes of what rules of a level hand to other servers.
    fn handed(&mut self, path: &str, state: &State) -> Vec<Route> {
        let directories = self.directories;
        let mut routes = Vec::new();
        for handed in state.own.rules.handed() {
            if path != "/" && !covers(path, &handed.path) {
                continue;
            }
            let file_of = |path: &str| file_of(directories, path);
            let Ruled { rules, files, .. } = self.reader.ruler.rule(&state.own, self.hsts, file_of);
            for path in &handed.except {
                let rest = path.get(state.path.trim_end_matches('/').len()..).unwrap_or_default();
                let Some(folder) = state.folder.as_ref().map(|folder| below(folder, rest)) else {
                    continue;
                };
                let files = bindery_model::site::Files { root: folder, ..files.clone() };
                routes.push(Route {
                    path: path.clone(),
                    kind: RouteKind::VirtualDirectory,
                    action: RouteAction::Files(files),
                    rules: Arc::clone(&rules),
                    pool: None,
                });
            }
            routes.push(Route {
                path: handed.path.clone(),
                kind: RouteKind::Application,
                action: RouteAction::Proxy(Box::new(handed.proxy.clone())),
                rules,
                pool: None,
            });
        }
        routes
    }

    /// What a level comes to.
    fn read_node(&mut self, node: &Node<'_>, parent: &State) -> State {
        let directory = node.directory.and_then(|place| self.directories.get(place));
        let folder = match directory {
            Some(directory) => directory.folder.clone(),
            None => {
                let rest = node.path.get(parent.path.trim_end_matches('/').len()..);
                let rest = rest.unwrap_or_default();
                let whole = parent.folder.as_ref().map(|folder| below(folder, rest));
                whole.and_then(|folder| (self.reader.sources.folder_named)(&folder))
            }
        };
        let absent =
            directory.is_none() && folder.is_none() && (parent.absent || parent.folder.is_some());
        let leaves = directory.is_some_and(|own| own.application) && node.path != "/";
        let mut state = State {
            path: node.path.clone(),
            own: Rc::clone(if leaves { &parent.handed } else { &parent.own }),
            handed: Rc::clone(&parent.handed),
            broken: parent.broken || node.broken,
            closed: false,
            folder,
            absent,
        };
        let owner = match node.path.as_str() {
            "/" => self.named.owner.clone(),
            path => format!("{path} of {}", self.named.owner),
        };
        for said in &node.said {
            let level = Level {
                source: Rc::clone(&said.source),
                path: &node.path,
                folder: state.folder.as_deref(),
                owner: &owner,
            };
            let shared = &mut self.reader.shared;
            let same = Rc::ptr_eq(&state.own, &state.handed);
            sections::read(&mut state.own, said.container, &level, shared);
            match (said.own_only, same) {
                (true, _) => {}
                (false, true) => state.handed = Rc::clone(&state.own),
                (false, false) => {
                    // The same once more, without its own part and without a word.
                    let known = shared.report.problems.len();
                    sections::read(&mut state.handed, said.container, &level, shared);
                    shared.report.problems.truncate(known);
                }
            }
        }
        state
    }

    /// Closes what requires client certificates that cannot be asked for.
    fn close(&mut self, node: &Node<'_>, state: &mut State, parent: &State, root: Option<&State>) {
        let shared = &mut self.reader.shared;
        let access = &state.own.access;
        let new = state.own.access != parent.own.access || node.path == "/";
        let owner = format!("{} of {}", node.path, self.named.owner);
        let ca = shared.client_ca.is_some();
        if access.requires() {
            let for_all = root.map_or(node.path == "/", |root| root.own.access.requires());
            let (why, help) = match (ca, for_all) {
                (true, true) => return,
                (false, _) => (
                    "nothing says whose are good",
                    "add to bindery.toml beside this file, below [server]: client_ca = \"clients-ca.pem\"",
                ),
                (true, false) => (
                    "they are asked for before a path is known, for a whole site",
                    "require them for the site, or make it a site of its own",
                ),
            };
            state.closed = true;
            if new {
                access.report_closed(&owner, why, help, shared);
            }
        } else if access.asks() && !ca && new {
            access.report_not_asked(&owner, shared);
        }
    }

    /// Whether a level answers otherwise than its parent.
    fn is_route(&mut self, node: &Node<'_>, state: &State, parent: &State) -> bool {
        if node.directory.is_some() || node.broken || state.closed != parent.closed {
            return true;
        }
        let (own, above) = (&state.own, &parent.own);
        if Rc::ptr_eq(own, above) || own == above {
            return false;
        }
        let last = node.path.rsplit('/').next().unwrap_or_default();
        let is_file = !node.is_folder && last.contains('.');
        if !is_file {
            return true;
        }
        let protects = own.access != above.access
            || own.networks != above.networks
            || own.is_closed() != above.is_closed();
        if let Some(said) = node.said.first() {
            let span = said.container.tag();
            let report = &mut self.reader.shared.report;
            match protects {
                true => {
                    let message = format!(
                        "{} is protected as one file, and folders only can be: the answer is 403",
                        node.path
                    );
                    let help = "protect its folder, or move it into one of its own";
                    report.problem((&said.source, span), Code::NotEnforced, message, help);
                }
                false => {
                    let message = format!(
                        "settings for the one file {}: folders only have settings of their own",
                        node.path
                    );
                    report.hint(&said.source, span, message);
                }
            }
        }
        protects
    }

    fn route(&mut self, node: &Node<'_>, state: &State) -> Route {
        let directories = self.directories;
        let file_of = |path: &str| file_of(directories, path);
        let Ruled { files, rules } = self.reader.ruler.rule(&state.own, self.hsts, file_of);
        let last = node.path.rsplit('/').next().unwrap_or_default();
        let is_file = node.directory.is_none() && !node.is_folder && last.contains('.');
        let handed = state.own.rules.handed().find_map(|handed| handed.at(&node.path));
        let handed = handed.map(|proxy| RouteAction::Proxy(Box::new(proxy)));
        let action = match &state.folder {
            _ if state.broken => respond(500),
            _ if is_file && node.path != "/" => respond(403),
            _ if handed.is_some() => handed.unwrap_or_else(|| respond(503)),
            None if state.absent => respond(404),
            None => respond(503),
            Some(folder) => {
                let files = bindery_model::site::Files { root: folder.clone(), ..files };
                let filtering = &state.own.filtering;
                let scripts = state.own.handlers.scripts().map(|(server, mut endings)| {
                    endings.retain(|ending| filtering.admits(ending));
                    (server, endings)
                });
                match scripts.filter(|(_, endings)| !endings.is_empty()) {
                    Some((server, extensions)) => RouteAction::FastCgi(Box::new(FastCgi {
                        extensions,
                        ..FastCgi::to(server, files)
                    })),
                    None => RouteAction::Files(files),
                }
            }
        };
        let rules = match state.closed {
            false => rules,
            true => {
                let access = everybody(false).to_vec();
                Arc::new(Rules { access, ..Rules::clone(&rules) })
            }
        };
        let own = node.directory.and_then(|place| self.directories.get(place));
        // The root of a site is the folder of its root application, and a virtual directory has
        // files only.
        let is_application = node.path == "/" || own.is_some_and(|own| own.application);
        let kind = match is_application || !matches!(action, RouteAction::Files(_)) {
            true => RouteKind::Application,
            false => RouteKind::VirtualDirectory,
        };
        let pool = own.filter(|own| own.application).and_then(|own| own.pool.clone());
        Route { path: node.path.clone(), kind, action, rules, pool }
    }
}

/// The pool that the first of these names, where that is not the default one.
fn pool_of(all: [Option<Element<'_>>; 3]) -> Option<Arc<str>> {
    let named = all.into_iter().flatten().find_map(|one| one.value("applicationPool"))?;
    let named = named.trim();
    (!named.is_empty() && !named.eq_ignore_ascii_case(DEFAULT_POOL)).then(|| named.into())
}

/// Where the file of a path of the site is.
fn file_of(directories: &[Directory], path: &str) -> Option<PathBuf> {
    let covering = directories.iter().filter(|own| own.path == "/" || covers(&own.path, path));
    let nearest = covering.max_by_key(|own| own.path.len())?;
    let rest = path.get(nearest.path.trim_end_matches('/').len()..)?;
    Some(below(nearest.folder.as_ref()?, rest))
}

/// The nearest level above a path.
fn parent_of<'s>(states: &'s HashMap<String, State>, path: &str) -> Option<&'s State> {
    let mut rest = path;
    while let Some((above, _)) = rest.rsplit_once('/') {
        let key = if above.is_empty() { "/" } else { above };
        if let Some(state) = states.get(key).filter(|_| key != path) {
            return Some(state);
        }
        rest = above;
    }
    None
}

fn respond(status: u16) -> RouteAction {
    let content_type = "text/plain; charset=utf-8".to_owned();
    RouteAction::Respond { status, body: String::new(), content_type }
}
