//! What is printed of an object: a line, its properties, or XML.

use super::{
    Failure, Run,
    grammar::{Act, Command},
    property::value,
    section::without_secrets,
};
use crate::{
    config::{
        host::below,
        keys,
        pools::{self, pool_of},
        text_of,
    },
    xml::{
        draft::{Draft, Node},
        edit::NewElement,
    },
};

/// An object as `list` shows it.
pub(super) struct Listed {
    /// `SITE` and the like.
    pub(super) object: &'static str,
    /// What names it.
    pub(super) name: String,
    /// Its element, where it has one, and what kind that is.
    pub(super) node: Option<(Node, &'static str)>,
    /// What is no attribute of its element, in the order of XML.
    virtuals: Vec<(&'static str, String)>,
    /// What stands in the brackets of its line.
    facts: String,
}

impl Listed {
    pub(super) fn value(&self, draft: &Draft<'_>, name: &str) -> Option<String> {
        let own = self.virtuals.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        own.map(|(_, value)| value.clone())
            .or_else(|| self.node.and_then(|(node, kind)| value(draft, node, kind, name)))
    }

    fn line(&self) -> String {
        match self.facts.is_empty() {
            true => format!("{} \"{}\"", self.object, self.name),
            false => format!("{} \"{}\" ({})", self.object, self.name, self.facts),
        }
    }
}

/// Bindings as one text.
pub(super) fn bindings(draft: &Draft<'_>, site: Node) -> String {
    let all = draft.child(site, "bindings").map(|all| draft.children_named(all, "binding"));
    let texts: Vec<_> =
        all.unwrap_or_default().into_iter().map(|one| text_of(draft, one)).collect();
    texts.join(",")
}

impl Run<'_, '_> {
    /// All objects of a kind.
    pub(super) fn all(&self, object: &str) -> Vec<Listed> {
        match object {
            "SITE" => self.host.sites().into_iter().map(|site| self.site(site)).collect(),
            "APP" => self.apps(),
            "VDIR" => self.vdirs(),
            "APPPOOL" => self.pools(),
            "REQUEST" => self.requests(),
            "BACKUP" => {
                let all = self.world.backups.iter();
                all.map(|name| Listed {
                    object: "BACKUP",
                    name: name.clone(),
                    node: None,
                    virtuals: vec![("BACKUP.NAME", name.clone())],
                    facts: String::new(),
                })
                .collect()
            }
            _ => Vec::new(),
        }
    }

    fn site(&self, site: Node) -> Listed {
        let draft = &self.host.draft;
        let of = |name| draft.value(site, name).unwrap_or_default().into_owned();
        let (name, id, bindings) = (of("name"), of("id"), bindings(draft, site));
        let state = if keys::is_started(&self.host, site) { "Started" } else { "Stopped" };
        Listed {
            object: "SITE",
            facts: format!("id:{id},bindings:{bindings},state:{state}"),
            virtuals: vec![
                ("SITE.NAME", name.clone()),
                ("SITE.ID", id),
                ("bindings", bindings),
                ("state", state.to_owned()),
            ],
            name,
            node: Some((site, "site")),
        }
    }

    fn apps(&self) -> Vec<Listed> {
        let draft = &self.host.draft;
        let mut all = Vec::new();
        for site in self.host.sites() {
            let name = draft.value(site, "name").unwrap_or_default();
            for node in draft.children_named(site, "application") {
                let path = draft.value(node, "path").unwrap_or_default().into_owned();
                let pool = pool_of(&self.host, node);
                let app = format!("{name}{path}");
                all.push(Listed {
                    object: "APP",
                    name: app.clone(),
                    node: Some((node, "site/application")),
                    facts: format!("applicationPool:{pool}"),
                    virtuals: vec![
                        ("path", path),
                        ("APP.NAME", app),
                        ("APPPOOL.NAME", pool.clone()),
                        ("SITE.NAME", name.clone().into_owned()),
                        ("applicationPool", pool),
                    ],
                });
            }
        }
        all
    }

    fn vdirs(&self) -> Vec<Listed> {
        let draft = &self.host.draft;
        let mut all = Vec::new();
        for app in self.apps() {
            let Some((application, _)) = app.node else { continue };
            let site = app.value(draft, "SITE.NAME").unwrap_or_default();
            for node in draft.children_named(application, "virtualDirectory") {
                let of = |name| draft.value(node, name).unwrap_or_default().into_owned();
                let (path, folder) = (of("path"), of("physicalPath"));
                let name = format!("{}{path}", app.name.trim_end_matches('/'));
                all.push(Listed {
                    object: "VDIR",
                    name: name.clone(),
                    node: Some((node, "site/application/virtualDirectory")),
                    facts: format!("physicalPath:{folder}"),
                    virtuals: vec![
                        ("physicalPath", folder),
                        ("path", path),
                        ("APP.NAME", app.name.clone()),
                        ("VDIR.NAME", name),
                        ("SITE.NAME", site.clone()),
                    ],
                });
            }
        }
        all
    }

    fn pools(&self) -> Vec<Listed> {
        let draft = &self.host.draft;
        let Some(pools) = pools::node(draft) else { return Vec::new() };
        let defaults = draft.child(pools, "applicationPoolDefaults");
        let all = draft.children_named(pools, "add").into_iter();
        all.map(|node| {
            let of = |name: &str| {
                let own = draft.value(node, name);
                let own = own.or_else(|| draft.value(defaults?, name));
                let own = own.map(std::borrow::Cow::into_owned);
                own.or_else(|| value(draft, node, "apppool", name)).unwrap_or_default()
            };
            let (name, version, mode) =
                (of("name"), of("managedRuntimeVersion"), of("managedPipelineMode"));
            let started = of("autoStart").eq_ignore_ascii_case("true");
            let state = if started { "Started" } else { "Stopped" };
            Listed {
                object: "APPPOOL",
                facts: format!("MgdVersion:{version},MgdMode:{mode},state:{state}"),
                virtuals: vec![
                    ("APPPOOL.NAME", name.clone()),
                    ("PipelineMode", mode),
                    ("RuntimeVersion", version),
                    ("state", state.to_owned()),
                ],
                name,
                node: Some((node, "apppool")),
            }
        })
        .collect()
    }

    fn requests(&self) -> Vec<Listed> {
        let all = self.world.requests.iter();
        all.map(|request| {
            let (url, time) = (format!("{} {}", request.verb, request.url), request.time_ms);
            Listed {
                object: "REQUEST",
                name: request.id.clone(),
                node: None,
                facts: format!("url:{url},time:{time} msec,client:{}", request.client),
                virtuals: vec![
                    ("REQUEST.NAME", request.id.clone()),
                    ("SITE.ID", request.site_id.to_string()),
                    ("SITE.NAME", request.site.clone()),
                    ("APPPOOL.NAME", self.pool_at(&request.site, &request.url)),
                    ("VERB", request.verb.clone()),
                    ("url", request.url.clone()),
                    ("time", time.to_string()),
                    ("client", request.client.clone()),
                ],
            }
        })
        .collect()
    }

    /// The pool of the application that serves a URL of a site; nothing where there is none.
    fn pool_at(&self, site: &str, url: &str) -> String {
        let Some(site) = self.host.site(site) else { return String::new() };
        let path = url.split('?').next().unwrap_or_default();
        let all = self.host.draft.children_named(site, "application").into_iter();
        let serving = all.filter_map(|node| {
            let own = self.host.draft.value(node, "path")?;
            below(path, &own).is_some().then_some((own.len(), node))
        });
        let found = serving.max_by_key(|(length, _)| *length);
        found.map(|(_, node)| pool_of(&self.host, node)).unwrap_or_default()
    }

    /// Whether an object is the one that an identifier names: by its name, or by a URL that it
    /// serves.
    pub(super) fn is_named(&self, listed: &Listed, identifier: &str) -> bool {
        let name = listed.name.to_lowercase();
        let asked = identifier.to_lowercase();
        name == asked || (matches!(listed.object, "APP" | "VDIR") && name == format!("{asked}/"))
    }

    /// The objects of a kind that an identifier names; all where there is none.
    pub(super) fn named(&self, object: &str, identifier: Option<&str>) -> Vec<Listed> {
        let all = self.all(object);
        let Some(identifier) = identifier else { return all };
        if let Some((scheme, rest)) = identifier.split_once("://") {
            return self.by_url(all, scheme, rest);
        }
        all.into_iter().filter(|listed| self.is_named(listed, identifier)).collect()
    }

    /// What serves a URL: the site by its binding, of the rest the longest path.
    fn by_url(&self, all: Vec<Listed>, scheme: &str, rest: &str) -> Vec<Listed> {
        let draft = &self.host.draft;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let bracket = authority.rfind(']').unwrap_or(0);
        let port = authority.rfind(':').filter(|at| *at > bracket);
        let usual = if scheme.eq_ignore_ascii_case("https") { "443" } else { "80" };
        let (host, port) = match port {
            Some(at) => (authority.get(..at), authority.get(at + 1..)),
            None => (Some(authority), Some(usual)),
        };
        let (host, port) = (host.unwrap_or_default(), port.unwrap_or_default());
        let rank = |text: &str| {
            let (protocol, information) = text.split_once('/')?;
            let (address, own) = information.rsplit_once(':')?;
            let (_, own_port) = address.rsplit_once(':')?;
            let fits = protocol.eq_ignore_ascii_case(scheme) && own_port == port;
            let parent = host.split_once('.').map(|(_, parent)| parent);
            let rank = match own {
                own if own.eq_ignore_ascii_case(host) => 3,
                own if own.strip_prefix("*.").is_some_and(|own| Some(own) == parent) => 2,
                "" => 1,
                _ => return None,
            };
            fits.then_some(rank)
        };
        let sites = self.host.sites().into_iter().filter_map(|site| {
            let best = bindings(draft, site).split(',').filter_map(rank).max()?;
            Some((best, site))
        });
        // The first of those that fit equally well.
        let best = sites.fold(None, |best: Option<(i32, Node)>, (rank, site)| match best {
            Some((own, _)) if own >= rank => best,
            _ => Some((rank, site)),
        });
        let Some((_, site)) = best else { return Vec::new() };
        let name = draft.value(site, "name").unwrap_or_default().into_owned();
        let asked = format!("{name}/{}", path.split(['?', '#']).next().unwrap_or_default());
        let fits = |listed: &Listed| match listed.object {
            "SITE" => (listed.name == name).then_some(0),
            _ => below(&asked, &listed.name).map(|_| listed.name.len()),
        };
        let found = all.into_iter().filter_map(|listed| Some((fits(&listed)?, listed)));
        found.max_by_key(|(length, _)| *length).map(|(_, listed)| listed).into_iter().collect()
    }

    /// `list` of everything but configuration.
    pub(super) fn list(&mut self, command: &Command) -> Result<(), Failure> {
        let mut all = self.named(&command.object, command.identifier.as_deref());
        let mut filtered = command.identifier.is_some();
        for filter in command.properties().filter(|own| own.act == Act::Set) {
            filtered = true;
            let (name, wanted) = (filter.name(), filter.value.clone().unwrap_or_default());
            let draft = &self.host.draft;
            all.retain(|listed| match (listed.object, name.to_lowercase().as_str()) {
                ("REQUEST", "elapsed") => {
                    let time =
                        listed.value(draft, "time").and_then(|time| time.parse::<u64>().ok());
                    wanted.parse::<u64>().ok().zip(time).is_some_and(|(least, time)| time >= least)
                }
                _ => listed
                    .value(draft, &name)
                    .is_some_and(|own| own.to_lowercase() == wanted.to_lowercase()),
            });
        }
        if matches!(command.object.as_str(), "WP" | "MODULE" | "TRACE") {
            let note = match command.object.as_str() {
                "WP" => "there are no worker processes: one process serves all sites",
                "MODULE" => "there are no modules to be loaded: what they do is built in",
                _ => "failed requests are not traced; see the error log",
            };
            self.answer.notes.push(note.to_owned());
        }
        self.print(command, &all);
        // Nothing is an answer too, unless something was asked for by name.
        self.answer.exit = u16::from(all.is_empty() && filtered);
        Ok(())
    }

    fn print(&mut self, command: &Command, all: &[Listed]) {
        let mut output = String::new();
        let draft = &self.host.draft;
        let config =
            |listed: &Listed| listed.node.map(|(node, _)| without_secrets(draft.copy(node)));
        if command.general("xml").is_some() {
            let mut whole = NewElement::new("appcmd");
            for listed in all {
                let mut element = NewElement::new(listed.object);
                for (name, value) in &listed.virtuals {
                    element.set(name, value.as_str());
                }
                let wanted = command.general("config").is_some();
                element.children.extend(config(listed).filter(|_| wanted));
                whole.children.push(element);
            }
            output =
                format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{}\n", whole.text("    "));
        } else if let Some(text) = command.general("text") {
            for listed in all {
                if text == "*" {
                    output.push_str(&self.block(listed));
                } else if text.is_empty() {
                    output.push_str(&listed.line());
                    output.push('\n');
                } else {
                    output.push_str(&listed.value(draft, text).unwrap_or_default());
                    output.push('\n');
                }
            }
        } else if command.general("config").is_some() {
            for element in all.iter().filter_map(config) {
                output.push_str(&element.text("  "));
                output.push('\n');
            }
        } else {
            for listed in all {
                output.push_str(&listed.line());
                output.push('\n');
            }
        }
        self.answer.output.push_str(&output);
    }

    /// Everything about an object.
    fn block(&self, listed: &Listed) -> String {
        let mut text = format!("{}\n", listed.object);
        for (name, value) in &listed.virtuals {
            text.push_str(&format!("  {name}:\"{value}\"\n"));
        }
        if let Some((node, _)) = listed.node {
            let element = without_secrets(self.host.draft.copy(node));
            let name = if listed.object == "APPPOOL" { "add" } else { element.name.as_str() };
            write_block(&element, name, 1, &mut text);
        }
        text.push('\n');
        text
    }
}

fn write_block(element: &NewElement, name: &str, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    text.push_str(&format!("{indent}[{name}]\n"));
    for (name, value) in &element.attributes {
        text.push_str(&format!("{indent}  {name}:\"{value}\"\n"));
    }
    for child in &element.children {
        write_block(child, &child.name, depth + 1, text);
    }
}
