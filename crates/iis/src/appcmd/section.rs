//! `config`: sections, at the server or at a path of a site.

use super::{
    Done, Failure, Run,
    grammar::{Act, Command, Parameter},
    locks,
    property::is_name,
    schema,
};
use crate::xml::{
    draft::Node,
    edit::{NewElement, Position},
};

/// Where everything stands: `applicationHost.config`.
pub(super) const HOST: &str = "MACHINE/WEBROOT/APPHOST";

impl Run<'_, '_> {
    /// Every verb of `config`.
    pub(super) fn config(&mut self, command: &Command) -> Done {
        if command.verb == "MIGRATE" {
            let message = "Nothing can be migrated: httpModules and httpHandlers of system.web are of ASP.NET, which is not run here.";
            return Err(Failure::new(super::NOT_SUPPORTED, message));
        }
        let location = self.location_of(command)?;
        let section = match command.general("section") {
            Some(name) => Some(self.section_of(name)?),
            None => None,
        };
        if let (Some(commit), true) = (command.general("commit"), command.verb != "LIST") {
            committed(commit, &location)?;
        }
        let Some(section) = section else {
            return match command.verb.as_str() {
                "LIST" => {
                    self.list_sections(command, &location);
                    Ok(())
                }
                "SEARCH" => {
                    self.search(command, &location, None);
                    Ok(())
                }
                _ => Err(Failure::usage("Must specify the section with /section:name.")),
            };
        };
        match command.verb.as_str() {
            "LIST" => {
                self.list_section(command, &location, &section);
                Ok(())
            }
            "SEARCH" => {
                self.search(command, &location, Some(&section));
                Ok(())
            }
            "SET" => self.set_section(command, &location, &section),
            "RESET" => {
                // Whether anything was set or not: afterwards nothing is.
                self.host.remove_section(&location, &section);
                self.applied(command, &location, &section);
                Ok(())
            }
            "CLEAR" if command.properties().next().is_some() => {
                self.clear_in(command, &location, &section)
            }
            "CLEAR" => {
                if !self.host.remove_section(&location, &section) {
                    let message =
                        format!("Section \"{section}\" is not set at {}.", shown(&location));
                    return Err(Failure::new(super::NOT_FOUND, message));
                }
                self.applied(command, &location, &section);
                Ok(())
            }
            verb => {
                self.relock(&location, &section, verb == "LOCK");
                let word = if verb == "LOCK" { "Locked" } else { "Unlocked" };
                let path = shown(&location);
                self.line(&format!(
                    "{word} section \"{section}\" at configuration path \"{path}\"."
                ));
                Ok(())
            }
        }
    }

    /// The path that a command is about: nothing for the server. A URL stands for the path that
    /// serves it.
    fn location_of(&self, command: &Command) -> Result<String, Failure> {
        let Some(identifier) = &command.identifier else { return Ok(String::new()) };
        let path = match identifier.get(..HOST.len()) {
            Some(head) if head.eq_ignore_ascii_case(HOST) => &identifier[HOST.len()..],
            _ => identifier,
        };
        if path.contains("://") {
            let found = self.named("APP", Some(path)).into_iter().next();
            let found = found.ok_or_else(|| Failure::missing("CONFIG", identifier))?;
            return Ok(found.name.trim_matches('/').to_owned());
        }
        let path = path.trim_matches('/');
        if path.is_empty() {
            return Ok(String::new());
        }
        let (site, rest) = path.split_once('/').map_or((path, ""), |(site, rest)| (site, rest));
        let node = self.host.site(site).ok_or_else(|| Failure::missing("CONFIG", identifier))?;
        let site = self.host.draft.value(node, "name").unwrap_or_default();
        Ok(format!("{site}/{rest}").trim_end_matches('/').to_owned())
    }

    /// The whole path of a section: one that IIS has, that the file declares, or that it has.
    fn section_of(&self, name: &str) -> Result<String, Failure> {
        let asked = name.trim_matches('/');
        if let Some(known) = schema::section(asked) {
            return Ok(known.to_owned());
        }
        let mut found = Vec::new();
        let draft = &self.host.draft;
        if let Some(sections) = draft.child(draft.root(), "configSections") {
            self.declared(sections, "", &mut found);
        }
        let fits = |path: &&String| {
            let last = path.rsplit('/').next().unwrap_or_default();
            path.eq_ignore_ascii_case(asked) || last.eq_ignore_ascii_case(asked)
        };
        if let Some(path) = found.iter().find(fits) {
            return Ok(path.clone());
        }
        let plain = asked.contains('/') && asked.split('/').all(is_name);
        match plain {
            true => Ok(asked.to_owned()),
            false => Err(Failure::usage(format!(
                "Unknown config section \"{name}\".  Replace with -? for help."
            ))),
        }
    }

    fn declared(&self, node: Node, path: &str, found: &mut Vec<String>) {
        for child in self.host.draft.children(node) {
            let Some(name) = self.host.draft.value(child, "name") else { continue };
            let whole = if path.is_empty() { name.into_owned() } else { format!("{path}/{name}") };
            match self.host.draft.name(child) {
                "section" => found.push(whole),
                _ => self.declared(child, &whole, found),
            }
        }
    }

    /// What holds at a path: the server's, then that of each part of the path.
    fn effective(&mut self, location: &str, section: &str) -> Option<NewElement> {
        let name = section.rsplit('/').next().unwrap_or(section);
        let mut whole = NewElement::new(name);
        let mut any = false;
        for level in levels(location) {
            if let Some(node) = self.host.section(level, section) {
                let own = self.host.draft.copy(node);
                merge(&mut whole, &own, section);
                any = true;
            }
        }
        any.then_some(whole)
    }

    fn set_section(&mut self, command: &Command, location: &str, section: &str) -> Done {
        let inherited = match location.rsplit_once('/') {
            _ if location.is_empty() => None,
            Some((above, _)) => self.effective(above, section),
            None => self.effective("", section),
        };
        if command.properties().next().is_none() {
            return Err(Failure::usage("Must specify what to set, as in /attribute:value."));
        }
        let node = self.host.ensure_section(location, section);
        for parameter in command.properties() {
            self.apply(node, section, parameter, inherited.as_ref())?;
        }
        self.applied(command, location, section);
        Ok(())
    }

    /// Takes attributes and elements out of a section, which stays.
    fn clear_in(&mut self, command: &Command, location: &str, section: &str) -> Done {
        let Some(node) = self.host.section(location, section) else {
            let message = format!("Section \"{section}\" is not set at {}.", shown(location));
            return Err(Failure::new(super::NOT_FOUND, message));
        };
        for parameter in command.properties() {
            let act = match (parameter.act, &parameter.value) {
                (Act::Set, None) => Act::Clear,
                (act @ (Act::Remove | Act::Clear), None) => act,
                _ => {
                    return Err(Failure::usage(format!(
                        "\"{}\" sets something: to clear an attribute or element say its name.",
                        parameter.text
                    )));
                }
            };
            let own = Parameter { act, ..parameter.clone() };
            self.apply(node, section, &own, None)?;
        }
        self.applied(command, location, section);
        Ok(())
    }

    fn applied(&mut self, command: &Command, location: &str, section: &str) {
        let host = command.general("commit").is_some_and(is_host);
        if !host && !location.is_empty() {
            let note = format!(
                "written to the location element of {location:?} in applicationHost.config, as with /commit:apphost; IIS would write a web.config, and what such a one says still goes before it"
            );
            if !self.answer.notes.contains(&note) {
                self.answer.notes.push(note);
            }
        }
        let path = shown(location);
        self.line(&format!(
            "Applied configuration changes to section \"{section}\" for \"{path}\" at configuration commit path \"{HOST}\""
        ));
    }

    fn list_section(&mut self, command: &Command, location: &str, section: &str) {
        let name = section.rsplit('/').next().unwrap_or(section);
        let mut whole = self.effective(location, section).unwrap_or_else(|| NewElement::new(name));
        if command.general("config") == Some("*") {
            with_defaults(&mut whole, section);
        }
        self.print_section(command, location, section, without_secrets(whole));
    }

    fn print_section(
        &mut self,
        command: &Command,
        location: &str,
        section: &str,
        whole: NewElement,
    ) {
        if command.general("xml").is_some() {
            let mode = self.host.location(location).filter(|_| !location.is_empty());
            let mode = mode.and_then(|node| self.host.draft.value(node, "overrideMode"));
            let mode = mode.map_or_else(|| "Inherit".to_owned(), std::borrow::Cow::into_owned);
            let locked = self.is_locked(location, section);
            let config = NewElement::new("CONFIG")
                .with("CONFIG.SECTION", section)
                .with("path", shown(location))
                .with("overrideMode", mode)
                .with("locked", locked.to_string())
                .holding(whole);
            let text = NewElement::new("appcmd").holding(config).text("    ");
            self.line(&format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{text}"));
            return;
        }
        if let Some(name) = command.general("text").filter(|name| !matches!(*name, "" | "*")) {
            let mut element = Some(&whole);
            let mut steps: Vec<_> = name.split('.').collect();
            let last = steps.pop().unwrap_or_default();
            for step in steps {
                element = element.and_then(|own| {
                    own.children.iter().find(|child| child.name.eq_ignore_ascii_case(step))
                });
            }
            let own = element.and_then(|own| {
                own.attributes.iter().find(|(own, _)| own.eq_ignore_ascii_case(last))
            });
            let default = || schema::at(section)?.attribute(last)?.1.map(str::to_owned);
            let value = own.map(|(_, value)| value.clone()).or_else(default).unwrap_or_default();
            self.line(&value);
            return;
        }
        let groups: Vec<_> = section.split('/').collect();
        let outer = groups.iter().rev().skip(1);
        let nested = outer.fold(whole, |inner, name| NewElement::new(name).holding(inner));
        let text = nested.text("  ");
        self.line(&text);
    }

    /// Every section that holds at a path.
    fn list_sections(&mut self, command: &Command, location: &str) {
        for group in ["system.applicationHost", "system.webServer"] {
            // What is of the server alone is shown there.
            if !location.is_empty() && group == "system.applicationHost" {
                continue;
            }
            if let Some(whole) = self.effective(location, group) {
                self.print_section(command, location, group, without_secrets(whole));
            }
        }
    }

    /// The paths that set a section, or something of it.
    fn search(&mut self, command: &Command, location: &str, section: Option<&str>) {
        let draft = &self.host.draft;
        let mut paths: Vec<String> = vec![String::new()];
        for node in draft.children_named(draft.root(), "location") {
            let path = draft.value(node, "path").unwrap_or_default();
            let path = path.trim_matches('/').to_owned();
            if !path.is_empty() && path != "." && !paths.contains(&path) {
                paths.push(path);
            }
        }
        let mut found = false;
        let below = location.to_lowercase();
        paths.retain(|path| {
            location.is_empty()
                || crate::config::host::below(&path.to_lowercase(), &below).is_some()
        });
        for path in paths {
            let node = match section {
                Some(section) => self.host.section(&path, section),
                None => self.host.section(&path, "system.webServer"),
            };
            let Some(node) = node else { continue };
            let own = self.host.draft.copy(node);
            let fits = command.properties().all(|filter| says(&own, filter));
            if fits {
                found = true;
                self.line(&format!("CONFIGSEARCH \"{}\"", shown(&path)));
            }
        }
        self.answer.exit = u16::from(!found);
    }

    /// Whether a section cannot be set below a path.
    fn is_locked(&mut self, location: &str, section: &str) -> bool {
        let declared = self.declared_mode(section);
        let mut locked = declared.is_some_and(|mode| mode.eq_ignore_ascii_case("Deny"));
        for level in levels(location) {
            let holder = self.host.section(level, section).and_then(|node| self.holder(node));
            let mode = holder.and_then(|holder| self.host.draft.value(holder, "overrideMode"));
            match mode.as_deref() {
                Some(mode) if mode.eq_ignore_ascii_case("Deny") => locked = true,
                Some(mode) if mode.eq_ignore_ascii_case("Allow") => locked = false,
                _ => {}
            }
        }
        locked
    }

    /// Where the file declares a section.
    fn declaration(&self, section: &str) -> Option<Node> {
        let draft = &self.host.draft;
        let sections = draft.child(draft.root(), "configSections")?;
        section.split('/').try_fold(sections, |node, name| {
            let mut all = draft.children(node).into_iter();
            all.find(|child| draft.value(*child, "name").is_some_and(|own| own == name))
        })
    }

    fn declared_mode(&self, section: &str) -> Option<String> {
        let node = self.declaration(section)?;
        Some(self.host.draft.value(node, "overrideModeDefault")?.into_owned())
    }

    /// Says whether a section can be set below a path. Where the file declares it that is said
    /// there, as long as nothing closer says otherwise; elsewhere in a `location` element of its
    /// own, which takes what the section has at that path along.
    fn relock(&mut self, location: &str, section: &str, lock: bool) {
        let mode = if lock { "Deny" } else { "Allow" };
        let root = self.host.draft.root();
        let declared = self.declaration(section);
        let node = self.host.section(location, section);
        let holder = node.and_then(|node| self.holder(node));
        let draft = &mut self.host.draft;
        let said = holder.and_then(|holder| draft.value(holder, "overrideMode"));
        if said.is_some_and(|said| said.eq_ignore_ascii_case(mode)) {
            return;
        }
        if let (Some(declared), None, true) = (declared, holder, location.is_empty()) {
            draft.set(declared, "overrideModeDefault", mode);
            return;
        }
        let own = node.map(|node| draft.copy(node));
        if let Some(holder) = holder
            && section_count(&draft.copy(holder)) == 1
        {
            draft.set(holder, "overrideMode", mode);
            return;
        }
        if let Some(node) = node {
            draft.remove(node);
        }
        let name = section.rsplit('/').next().unwrap_or(section);
        let own = own.unwrap_or_else(|| NewElement::new(name));
        let groups: Vec<_> = section.split('/').rev().skip(1).collect();
        let nested = groups.iter().fold(own, |inner, name| NewElement::new(name).holding(inner));
        let new = NewElement::new("location").with("path", location).with("overrideMode", mode);
        draft.insert(root, Position::End, &new.holding(nested));
    }

    /// The `location` element that an element stands in.
    fn holder(&self, node: Node) -> Option<Node> {
        let mut around = Some(node);
        while let Some(own) = around {
            if self.host.draft.name(own) == "location" {
                return Some(own);
            }
            around = self.host.draft.parent(own);
        }
        None
    }
}

/// Whether an element has what a filter of `search` asks for: an attribute, of an element in it
/// where dots are, with this value or any.
fn says(element: &NewElement, filter: &Parameter) -> bool {
    let mut steps: Vec<_> = filter.name().split('.').map(str::to_owned).collect();
    let last = steps.pop().unwrap_or_default();
    let mut found = Some(element);
    for step in steps {
        found = found.and_then(|own| {
            own.children.iter().find(|child| child.name.eq_ignore_ascii_case(&step))
        });
    }
    let mut own = found.into_iter().flat_map(|own| &own.attributes);
    own.any(|(name, own)| {
        let wanted = filter.value.as_ref();
        name.eq_ignore_ascii_case(&last)
            && wanted.is_none_or(|wanted| own.to_lowercase() == wanted.to_lowercase())
    })
}

/// How many sections a `location` element has.
fn section_count(element: &NewElement) -> usize {
    let is_group = |name: &str| {
        matches!(
            name,
            "system.webServer" | "security" | "authentication" | "rewrite" | "tracing" | "location"
        )
    };
    element
        .children
        .iter()
        .map(|child| if is_group(&child.name) { section_count(child) } else { 1 })
        .sum()
}

/// The server, and each path down to one.
fn levels(location: &str) -> Vec<&str> {
    let mut levels = vec![""];
    let ends = location.match_indices('/').map(|(at, _)| at).chain([location.len()]);
    levels.extend(ends.filter_map(|end| location.get(..end)).filter(|level| !level.is_empty()));
    levels
}

/// Adds what a level says: attributes and new elements, and `clear` and `remove` of collections.
fn merge(whole: &mut NewElement, own: &NewElement, kind: &str) {
    for (name, value) in &own.attributes {
        // What is locked above stays so.
        match whole.value(name).filter(|_| locks::is_list(name)) {
            Some(before) => whole.set(name, locks::union(before, value)),
            None => whole.set(name, value.as_str()),
        }
    }
    let item = schema::at(kind).and_then(schema::Kind::items).map(|(name, _)| name);
    let is_item = |name: &str| {
        Some(name) == item
            || matches!(name, "add" | "rule" | "error" | "mimeMap" | "scheme" | "site")
    };
    // Of collections with mergeAppend="false" in IIS's schema inner elements come first.
    let first =
        matches!(kind, "system.webServer/defaultDocument/files" | "system.webServer/handlers");
    let mut place = 0;
    for child in &own.children {
        match child.name.as_str() {
            "clear" => whole.children.retain(|own| !is_item(&own.name)),
            "remove" => whole.children.retain(|own| {
                let inner = format!("{kind}/{}", own.name);
                let same = child.attributes.iter().all(|(name, value)| {
                    let usual = || schema::at(&inner)?.attribute(name)?.1;
                    let own = own.value(name).or_else(usual);
                    own.is_some_and(|own| own.eq_ignore_ascii_case(value))
                });
                !(is_item(&own.name) && same)
            }),
            name if is_item(name) && first => {
                whole.children.insert(place.min(whole.children.len()), child.clone());
                place += 1;
            }
            name if is_item(name) => whole.children.push(child.clone()),
            name => merge(whole.child(name), child, &format!("{kind}/{name}")),
        }
    }
}

fn with_defaults(element: &mut NewElement, kind: &str) {
    if let Some(known) = schema::at(kind) {
        for (name, default) in known.attributes() {
            if let (Some(default), None) = (default, element.value(name)) {
                element.set(name, default);
            }
        }
    }
    for child in &mut element.children {
        let inner = format!("{kind}/{}", child.name);
        with_defaults(child, &inner);
    }
}

/// The element without passwords that anybody could read.
pub(super) fn without_secrets(mut element: NewElement) -> NewElement {
    let readable = |name: &str, value: &str| {
        name.eq_ignore_ascii_case("password") && !value.starts_with("[enc:") && !value.is_empty()
    };
    element.attributes.retain(|(name, value)| !readable(name, value));
    element.children = element.children.into_iter().map(without_secrets).collect();
    element
}

/// A path as messages show it.
fn shown(location: &str) -> String {
    match location {
        "" => HOST.to_owned(),
        path => format!("{HOST}/{path}"),
    }
}

/// Whether `/commit` names `applicationHost.config`.
fn is_host(commit: &str) -> bool {
    commit.eq_ignore_ascii_case("apphost") || commit.eq_ignore_ascii_case(HOST)
}

/// Changes go to `applicationHost.config`, to the `location` of their path: what holds there is the
/// same whichever file on the way to it says so. A `web.config` belongs to who owns its folder.
fn committed(commit: &str, location: &str) -> Done {
    const WAYS: [&str; 5] = ["path", "url", "site", "app", "parent"];
    let above = || {
        let path = commit.get(HOST.len()..)?.trim_matches('/');
        let head = commit.get(..HOST.len())?.eq_ignore_ascii_case(HOST);
        (head && crate::config::host::below(location, path).is_some()).then_some(())
    };
    if is_host(commit) || above().is_some() {
        return Ok(());
    }
    if WAYS.iter().any(|way| commit.eq_ignore_ascii_case(way)) {
        return match location {
            "" => Err(Failure::usage(format!(
                "/commit:{commit} needs a path of a site to set the section for."
            ))),
            _ => Ok(()),
        };
    }
    if ["webroot", "machine"].iter().any(|way| commit.eq_ignore_ascii_case(way)) {
        return Err(Failure::usage(format!(
            "/commit:{commit} is not supported: there is no .NET framework here whose configuration could be changed.  Use /commit:apphost."
        )));
    }
    Err(Failure::usage(format!(
        "/commit:{commit} is not supported.  Use /commit:apphost, or path, site, app, parent or url for a path of a site."
    )))
}
