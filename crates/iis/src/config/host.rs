//! Where sites, what is in them, and sections stand in `applicationHost.config`, while it is
//! changed. Names and paths are compared without regard to case, as IIS does.

use std::collections::{HashMap, HashSet};

use crate::xml::{
    draft::{Draft, Node},
    edit::{NewElement, Position},
};

/// A configuration that is changed.
pub(crate) struct Host<'t> {
    pub(crate) draft: Draft<'t>,
    /// The element `sites`, once it was looked for.
    sites: Option<Node>,
    /// What stands beside the sites: defaults.
    defaults: Vec<Node>,
    /// Sites by their names in lower case.
    names: HashMap<String, Node>,
    /// Numbers of sites.
    ids: HashSet<u32>,
    /// The first `location` of a path.
    locations: Option<HashMap<String, Node>>,
}

impl<'t> Host<'t> {
    pub(crate) fn new(draft: Draft<'t>) -> Self {
        let mut host = Self {
            draft,
            sites: None,
            defaults: Vec::new(),
            names: HashMap::new(),
            ids: HashSet::new(),
            locations: None,
        };
        host.sites = host.find_sites();
        let beside = host.sites.map(|sites| host.draft.children(sites)).unwrap_or_default();
        host.defaults = beside.into_iter().filter(|one| host.draft.name(*one) != "site").collect();
        let sites = host.sites();
        host.names.reserve(sites.len());
        host.ids.reserve(sites.len());
        for site in sites {
            host.know(site);
        }
        host
    }

    fn find_sites(&self) -> Option<Node> {
        let root = self.draft.root();
        match self.draft.name(root) {
            "sites" => return Some(root),
            "configuration" => {}
            _ => return None,
        }
        let groups = self.draft.children_named(root, "system.applicationHost");
        groups.into_iter().find_map(|group| self.draft.child(group, "sites"))
    }

    fn know(&mut self, site: Node) {
        if let Some(name) = self.draft.value(site, "name") {
            let name = name.to_lowercase();
            self.names.entry(name).or_insert(site);
        }
        let id: Option<u32> = self.draft.value(site, "id").and_then(|id| id.parse().ok());
        self.ids.extend(id);
    }

    /// All sites, in order.
    pub(crate) fn sites(&self) -> Vec<Node> {
        match self.sites {
            Some(sites) => self.draft.children_named(sites, "site"),
            None if self.draft.name(self.draft.root()) == "site" => vec![self.draft.root()],
            None => Vec::new(),
        }
    }

    /// Defaults of sites, applications or virtual directories.
    pub(crate) fn defaults(&self, name: &str) -> Option<Node> {
        self.defaults.iter().copied().find(|one| self.draft.name(*one) == name)
    }

    /// The site of a name.
    pub(crate) fn site(&self, name: &str) -> Option<Node> {
        self.names.get(&name.to_lowercase()).copied()
    }

    /// Whether a site has this number.
    pub(crate) fn has_id(&self, id: u32) -> bool {
        self.ids.contains(&id)
    }

    /// The name of the site that has this number.
    pub(crate) fn name_of_id(&self, id: u32) -> Option<String> {
        if !self.has_id(id) {
            return None;
        }
        let is_it = |site: &Node| {
            self.draft.value(*site, "id").is_some_and(|own| own.trim().parse() == Ok(id))
        };
        let site = self.sites().into_iter().find(is_it);
        Some(site.and_then(|site| self.draft.value(site, "name")).unwrap_or_default().into_owned())
    }

    /// The lowest number that no site has.
    pub(crate) fn next_id(&self) -> u32 {
        (1..=u32::MAX).find(|id| !self.ids.contains(id)).unwrap_or(u32::MAX)
    }

    /// Adds a site behind all others, before the defaults that follow them. Nothing where the text
    /// has no place for sites.
    pub(crate) fn add_site(&mut self, element: &NewElement) -> Option<Node> {
        let root = self.draft.root();
        let sites = match self.sites {
            Some(sites) => sites,
            None if self.draft.name(root) == "configuration" => {
                let group = self.draft.ensure(root, "system.applicationHost");
                self.draft.ensure(group, "sites")
            }
            None => return None,
        };
        self.sites = Some(sites);
        let site = self.draft.insert_behind(sites, element);
        self.know(site);
        Some(site)
    }

    /// Removes a site. Its `location` elements stay, as IIS leaves them: a site of the same name
    /// takes them up again.
    pub(crate) fn remove_site(&mut self, site: Node) {
        let name = self.draft.value(site, "name").map(|name| name.to_lowercase());
        let id = self.draft.value(site, "id").and_then(|id| id.parse::<u32>().ok());
        self.names.remove(&name.unwrap_or_default());
        if let Some(id) = id {
            self.ids.remove(&id);
        }
        self.draft.remove(site);
    }

    /// Gives a site another name; its `location` elements follow, for otherwise it would lose its
    /// settings.
    pub(crate) fn rename_site(&mut self, site: Node, name: &str) {
        let old = self.draft.value(site, "name").unwrap_or_default().into_owned();
        self.names.remove(&old.to_lowercase());
        self.names.insert(name.to_lowercase(), site);
        self.draft.set(site, "name", name);
        let below = format!("{}/", old.to_lowercase());
        for location in self.draft.children_named(self.draft.root(), "location") {
            let path = self.draft.value(location, "path").unwrap_or_default().into_owned();
            let lower = path.to_lowercase();
            if lower == old.to_lowercase() || lower.starts_with(&below) {
                let rest = path.get(old.len()..).unwrap_or_default().to_owned();
                self.draft.set(location, "path", format!("{name}{rest}"));
            }
        }
        self.locations = None;
    }

    /// Gives a site another number.
    pub(crate) fn set_id(&mut self, site: Node, id: u32) {
        let old: Option<u32> = self.draft.value(site, "id").and_then(|id| id.parse().ok());
        if let Some(old) = old {
            self.ids.remove(&old);
        }
        self.ids.insert(id);
        self.draft.set(site, "id", id.to_string());
    }

    /// The application of a path.
    pub(crate) fn application(&self, site: Node, path: &str) -> Option<Node> {
        self.with_path(site, "application", path)
    }

    /// The virtual directory of a path within its application.
    pub(crate) fn directory(&self, application: Node, path: &str) -> Option<Node> {
        self.with_path(application, "virtualDirectory", path)
    }

    fn with_path(&self, parent: Node, name: &str, path: &str) -> Option<Node> {
        let lower = path.to_lowercase();
        let mut all = self.draft.children_named(parent, name).into_iter();
        all.find(|one| {
            self.draft.value(*one, "path").is_some_and(|own| own.to_lowercase() == lower)
        })
    }

    /// The application that holds a path of a site, and what is left of the path.
    pub(crate) fn holder(&self, site: Node, path: &str) -> Option<(Node, String)> {
        let applications = self.draft.children_named(site, "application").into_iter();
        let held = applications.filter_map(|one| {
            let own = self.draft.value(one, "path")?;
            let rest = below(path, &own)?;
            Some((own.len(), one, rest.to_owned()))
        });
        let (_, application, rest) = held.max_by_key(|(length, ..)| *length)?;
        Some((application, if rest.is_empty() { "/".to_owned() } else { rest }))
    }

    /// The `location` of a path, as `Site/app`; the whole server has none.
    pub(crate) fn location(&mut self, path: &str) -> Option<Node> {
        let lower = path.trim_matches('/').to_lowercase();
        if self.locations.is_none() {
            let all = self.draft.children_named(self.draft.root(), "location");
            let mut known = HashMap::with_capacity(all.len());
            for one in all {
                let path = self.draft.value(one, "path").unwrap_or_default();
                known.entry(path.trim_matches('/').to_lowercase()).or_insert(one);
            }
            self.locations = Some(known);
        }
        self.locations.as_ref()?.get(&lower).copied()
    }

    /// The section of a path, as `system.webServer/defaultDocument`, in the `location` of another;
    /// for the whole server outside of any where `location` is empty. Among several `location`
    /// elements of one path the one that has the section.
    pub(crate) fn section(&mut self, location: &str, section: &str) -> Option<Node> {
        let root = self.draft.root();
        if location.is_empty() {
            return self.descend(root, section).or_else(|| {
                // The form that a default file has for handlers and modules.
                let inner = self.location("").or_else(|| self.location("."))?;
                self.descend(inner, section)
            });
        }
        let first = self.location(location)?;
        self.descend(first, section).or_else(|| {
            let lower = location.trim_matches('/').to_lowercase();
            let all = self.draft.children_named(root, "location").into_iter();
            let same = all.filter(|one| {
                let path = self.draft.value(*one, "path").unwrap_or_default();
                path.trim_matches('/').to_lowercase() == lower
            });
            same.filter_map(|one| self.descend(one, section)).next()
        })
    }

    fn descend(&self, from: Node, path: &str) -> Option<Node> {
        path.split('/').try_fold(from, |node, name| self.draft.child(node, name))
    }

    /// The same, made where it is missing.
    pub(crate) fn ensure_section(&mut self, location: &str, section: &str) -> Node {
        if let Some(found) = self.section(location, section) {
            return found;
        }
        let root = self.draft.root();
        let mut node = root;
        if !location.is_empty() {
            let path = location.trim_matches('/');
            node = self.location(path).unwrap_or_else(|| {
                let new = NewElement::new("location").with("path", path);
                let new = self.draft.insert(root, Position::End, &new);
                if let Some(known) = &mut self.locations {
                    known.insert(path.to_lowercase(), new);
                }
                new
            });
        }
        for name in section.split('/') {
            node = self.draft.ensure(node, name);
        }
        node
    }

    /// Removes a section, and what is empty around it up to its `location`.
    pub(crate) fn remove_section(&mut self, location: &str, section: &str) -> bool {
        let Some(mut node) = self.section(location, section) else { return false };
        loop {
            let parent = self.draft.parent(node);
            self.draft.remove(node);
            let Some(parent) = parent else { return true };
            let is_location = self.draft.name(parent) == "location";
            let bare = self.draft.children(parent).is_empty()
                && (is_location || self.draft.attributes(parent).is_empty());
            let noted = self.draft.element(parent).is_some_and(|element| {
                // What somebody noted there is kept.
                element.source().contains("<!--")
            });
            if !bare || noted || location.is_empty() || self.draft.name(parent) == "configuration" {
                return true;
            }
            if is_location {
                self.locations = None;
            }
            node = parent;
        }
    }
}

/// What is left of `path` below `own`: nothing where it is the same, otherwise from a slash on.
pub(crate) fn below<'p>(path: &'p str, own: &str) -> Option<&'p str> {
    let own = own.trim_end_matches('/');
    let head = path.get(..own.len())?;
    let rest = path.get(own.len()..)?;
    let same = head.to_lowercase() == own.to_lowercase();
    (same && (rest.is_empty() || rest.starts_with('/'))).then_some(rest)
}
