//! Sites, applications, virtual directories and pools: added, set, deleted, started, stopped.

use bindery_model::document::is_pool_name;

use super::{
    Done, Failure, Run,
    grammar::{Act, Command, Parameter, Segment},
    shown::Listed,
};
use crate::{
    config::{keys, pools},
    xml::{self, Element, draft::Node, edit::NewElement},
};

const NO_POOLS: &str =
    "application pools are kept and shown; there are no worker processes, one process serves all";

impl Run<'_, '_> {
    /// Every verb but `list`.
    pub(super) fn object(&mut self, command: &Command) -> Done {
        if command.object == "APPPOOL" && command.verb != "DELETE" {
            self.answer.notes.push(NO_POOLS.to_owned());
        }
        if command.verb == "ADD" {
            return self.add(command, None);
        }
        let command = &with_identifier(command);
        let Command { object, verb, .. } = command;
        let Some(identifier) = &command.identifier else {
            return Err(Failure::usage(format!(
                "Must specify the {object} object with identifier."
            )));
        };
        let found = self.named(object, Some(identifier));
        let Some(listed) = found.into_iter().next() else {
            return Err(Failure::missing(object, identifier));
        };
        if !self.is_named(&listed, identifier) {
            let message =
                format!("Must use exact identifier for {object} object with verb {verb}.");
            return Err(Failure::usage(message));
        }
        let Some((node, kind)) = listed.node else { return Ok(()) };
        match verb.as_str() {
            "SET" => self.set(command, &listed, node, kind),
            "DELETE" => {
                match object.as_str() {
                    "SITE" => self.host.remove_site(node),
                    _ => self.host.draft.remove(node),
                }
                self.line(&format!("{object} object \"{}\" deleted", listed.name));
                Ok(())
            }
            "START" | "STOP" => {
                let start = verb == "START";
                match object.as_str() {
                    "SITE" => keys::set_started(&mut self.host, node, start),
                    _ => keys::set_flag(&mut self.host.draft, node, "autoStart", start, true),
                }
                // The second without a full stop, as IIS prints it.
                self.line(&match start {
                    true => format!("\"{}\" successfully started.", listed.name),
                    false => format!("\"{}\" successfully stopped", listed.name),
                });
                Ok(())
            }
            _ => {
                self.line(&format!("\"{}\" successfully recycled", listed.name));
                Ok(())
            }
        }
    }

    fn set(&mut self, command: &Command, listed: &Listed, node: Node, kind: &str) -> Done {
        for parameter in command.properties() {
            self.set_property(node, kind, parameter)?;
        }
        self.line(&format!("{} object \"{}\" changed", listed.object, listed.name));
        Ok(())
    }

    fn set_property(&mut self, node: Node, kind: &str, parameter: &Parameter) -> Done {
        let value = parameter.value.as_deref();
        match (kind, parameter.name().to_lowercase().as_str(), parameter.act, value) {
            ("site", "bindings", Act::Set, Some(list)) => self.set_bindings(node, list),
            ("site", "name", Act::Set, Some(name)) => {
                if self.host.site(name).is_some_and(|other| other != node) {
                    return Err(Failure::exists(name));
                }
                self.host.rename_site(node, name);
                Ok(())
            }
            ("site", "id", Act::Set, Some(id)) => {
                let id = site_id(id)?;
                let name = self.host.draft.value(node, "name").unwrap_or_default().into_owned();
                let own =
                    self.host.draft.value(node, "id").is_some_and(|own| own == id.to_string());
                if let Some(other) = self.host.name_of_id(id).filter(|_| !own) {
                    return Err(Failure::number_taken(&name, id, &other));
                }
                self.host.set_id(node, id);
                Ok(())
            }
            _ => self.apply(node, kind, parameter, None),
        }
    }

    /// Adds an object with the properties of a command; what stands in `copied` comes first.
    fn add(&mut self, command: &Command, copied: Option<NewElement>) -> Done {
        match command.object.as_str() {
            "SITE" => self.add_site(command, copied),
            "APP" => self.add_app(command, copied),
            "VDIR" => self.add_vdir(command, copied),
            _ => self.add_pool(command, copied),
        }
    }

    fn add_site(&mut self, command: &Command, copied: Option<NewElement>) -> Done {
        let given = |name: &str| {
            let own = command.properties().find(|own| own.act == Act::Set && own.is(name));
            own.and_then(|own| own.value.clone())
        };
        let from = copied.as_ref();
        let of = |name| from.and_then(|from| from.value(name)).map(str::to_owned);
        let name = given("name").or_else(|| command.identifier.clone()).or_else(|| of("name"));
        let Some(name) = name else { return Err(missing("SITE", "name")) };
        let id = match given("id").or_else(|| of("id")) {
            Some(id) => site_id(&id)?,
            None => self.host.next_id(),
        };
        // IIS names the site even where only the number is taken.
        if self.host.site(&name).is_some() {
            return Err(Failure::exists(&name));
        }
        if let Some(other) = self.host.name_of_id(id) {
            return Err(Failure::number_taken(&name, id, &other));
        }
        let folder = given("physicalPath");
        let mut element = NewElement::new("site").with("name", name.as_str());
        element.set("id", id.to_string());
        let copied = copied.unwrap_or_default();
        for (attribute, value) in
            copied.attributes.iter().filter(|(own, _)| own != "id" && own != "name")
        {
            element.set(attribute, value.as_str());
        }
        element.children = copied.children;
        if let Some(folder) = &folder {
            let root = NewElement::new("virtualDirectory").with("path", "/");
            let root = root.with("physicalPath", folder.as_str());
            let application = NewElement::new("application").with("path", "/").holding(root);
            element.children.insert(0, application);
        }
        element.child("bindings");
        let Some(site) = self.host.add_site(&element) else { return Err(no_place()) };
        let own = ["name", "id", "physicalPath"];
        for parameter in
            command.properties().filter(|parameter| !own.iter().any(|own| parameter.is(own)))
        {
            self.set_property(site, "site", parameter)?;
        }
        self.line(&format!("SITE object \"{name}\" added"));
        if folder.is_some() {
            self.line(&format!("APP object \"{name}/\" added"));
            self.line(&format!("VDIR object \"{name}/\" added"));
        }
        Ok(())
    }

    fn add_app(&mut self, command: &Command, copied: Option<NewElement>) -> Done {
        let of = |name| copied.as_ref().and_then(|from| from.value(name)).map(str::to_owned);
        let site = given(command, "site.name");
        let path = given(command, "path").or_else(|| of("path"));
        let (site, path) = match (site, path, command.identifier.as_deref()) {
            (Some(site), Some(path), _) => (site, path),
            (None, _, Some(whole)) => {
                let (site, path) = whole.split_once('/').unwrap_or((whole, ""));
                (site.to_owned(), format!("/{path}"))
            }
            (None, _, None) => return Err(missing("APP", "site.name")),
            (Some(_), None, _) => return Err(missing("APP", "path")),
        };
        let Some(node) = self.host.site(&site) else { return Err(Failure::missing("SITE", &site)) };
        let site = self.host.draft.value(node, "name").unwrap_or_default().into_owned();
        let path = rooted(&path);
        let name = format!("{site}{path}");
        if self.host.application(node, &path).is_some() {
            return Err(Failure::exists(&path));
        }
        let folder = given(command, "physicalPath");
        let mut element = NewElement::new("application").with("path", path.as_str());
        let copied = copied.unwrap_or_default();
        for (attribute, value) in copied.attributes.iter().filter(|(own, _)| own != "path") {
            element.set(attribute, value.as_str());
        }
        element.children = copied.children;
        if let Some(folder) = &folder {
            let root = NewElement::new("virtualDirectory").with("path", "/");
            element.children.insert(0, root.with("physicalPath", folder.as_str()));
        }
        let new = self.host.draft.insert_behind(node, &element);
        let own = ["site.name", "path", "physicalPath"];
        for parameter in
            command.properties().filter(|parameter| !own.iter().any(|own| parameter.is(own)))
        {
            self.apply(new, "site/application", parameter, None)?;
        }
        self.line(&format!("APP object \"{name}\" added"));
        if folder.is_some() {
            self.line(&format!("VDIR object \"{}/\" added", name.trim_end_matches('/')));
        }
        Ok(())
    }

    fn add_vdir(&mut self, command: &Command, copied: Option<NewElement>) -> Done {
        let of = |name| copied.as_ref().and_then(|from| from.value(name)).map(str::to_owned);
        let app = given(command, "app.name").or_else(|| given(command, "parent"));
        let Some(app) = app else { return Err(missing("VDIR", "app.name")) };
        let path = given(command, "path").or_else(|| of("path"));
        let Some(path) = path else { return Err(missing("VDIR", "path")) };
        let path = rooted(&path);
        let found = self.named("APP", Some(&app)).into_iter().next();
        let Some((name, (node, _))) = found.and_then(|found| Some((found.name, found.node?)))
        else {
            return Err(Failure::missing("APP", &app));
        };
        if self.host.directory(node, &path).is_some() {
            return Err(Failure::exists(&path));
        }
        let mut element = NewElement::new("virtualDirectory").with("path", path.as_str());
        for (attribute, value) in
            copied.unwrap_or_default().attributes.iter().filter(|(own, _)| own != "path")
        {
            element.set(attribute, value.as_str());
        }
        let new = self.host.draft.insert_behind(node, &element);
        let own = ["app.name", "parent", "path"];
        for parameter in
            command.properties().filter(|parameter| !own.iter().any(|own| parameter.is(own)))
        {
            self.apply(new, "site/application/virtualDirectory", parameter, None)?;
        }
        self.line(&format!("VDIR object \"{}{path}\" added", name.trim_end_matches('/')));
        Ok(())
    }

    fn add_pool(&mut self, command: &Command, copied: Option<NewElement>) -> Done {
        let of = |name| copied.as_ref().and_then(|from| from.value(name)).map(str::to_owned);
        let name =
            given(command, "name").or_else(|| command.identifier.clone()).or_else(|| of("name"));
        let Some(name) = name else { return Err(missing("APPPOOL", "name")) };
        if !self.named("APPPOOL", Some(&name)).is_empty() {
            return Err(Failure::exists(&name));
        }
        if !is_pool_name(&name) {
            let message = format!("\"{name}\" cannot be the name of an application pool.");
            return Err(Failure::usage(message));
        }
        let Some(pools) = pools::ensure(&mut self.host.draft) else { return Err(no_place()) };
        let mut element = NewElement::new("add").with("name", name.as_str());
        let copied = copied.unwrap_or_default();
        for (attribute, value) in copied.attributes.iter().filter(|(own, _)| own != "name") {
            element.set(attribute, value.as_str());
        }
        element.children = copied.children;
        let new = self.host.draft.insert_behind(pools, &element);
        for parameter in command.properties().filter(|parameter| !parameter.is("name")) {
            self.apply(new, "apppool", parameter, None)?;
        }
        self.line(&format!("APPPOOL object \"{name}\" added"));
        Ok(())
    }

    /// Executes a command for each object of `/in`: what `list ... /xml` wrote.
    pub(super) fn each_of_input(&mut self, command: &Command, input: &str) -> Done {
        let tree = xml::parse(input).map_err(|error| {
            let line = 1 + input.get(..error.span.start).unwrap_or_default().matches('\n').count();
            Failure::usage(format!("Input contains invalid XML, line {line}: {error}"))
        })?;
        let root = tree.root();
        if !root.name().eq_ignore_ascii_case("appcmd") {
            return Err(Failure::usage("Input contains no <appcmd> element."));
        }
        for element in root.children() {
            self.of_input(command, element)?;
        }
        Ok(())
    }

    fn of_input(&mut self, command: &Command, element: Element<'_>) -> Done {
        let object = command.object.as_str();
        let named = |name: &str| {
            let mut all = element.attributes();
            let own = all.find(|own| own.name().eq_ignore_ascii_case(name));
            own.map(|own| own.value().into_owned())
        };
        let same = element.name().eq_ignore_ascii_case(object);
        if command.verb == "ADD" && same {
            return self.add_input(command, element, &named);
        }
        let mut own = command.clone();
        own.parameters.retain(|parameter| !parameter.is("in"));
        if own.object == "CONFIG" {
            own.identifier = named("SITE.NAME").or_else(|| named("APP.NAME"));
            return self.execute(&own);
        }
        if same {
            own.identifier = named(&format!("{object}.NAME"));
            return self.execute(&own);
        }
        // Objects of another kind choose among these: the applications of sites.
        let key = format!("{}.NAME", element.name());
        let Some(value) = named(&key) else {
            let message = format!("Input object {} has no {key}.", element.name());
            return Err(Failure::usage(message));
        };
        own.parameters.push(filter(&key, &value));
        if own.verb == "LIST" {
            return self.execute(&own);
        }
        let chosen = Command { verb: "LIST".to_owned(), ..own.clone() };
        let names: Vec<_> = self.matching(&chosen);
        own.parameters.pop();
        names.into_iter().try_for_each(|name| {
            own.identifier = Some(name);
            self.execute(&own)
        })
    }

    /// The names of what a `list` would show.
    fn matching(&mut self, command: &Command) -> Vec<String> {
        let Some(filter) = command.parameters.last() else { return Vec::new() };
        let all = self.all(&command.object);
        let (name, wanted) = (filter.name(), filter.value.clone().unwrap_or_default());
        let fits = |listed: &Listed| {
            let own = listed.value(&self.host.draft, &name);
            own.is_some_and(|own| own.to_lowercase() == wanted.to_lowercase())
        };
        all.into_iter().filter(fits).map(|listed| listed.name).collect()
    }

    fn add_input(
        &mut self,
        command: &Command,
        element: Element<'_>,
        named: &dyn Fn(&str) -> Option<String>,
    ) -> Done {
        let mut own = command.clone();
        own.parameters.retain(|parameter| !parameter.is("in"));
        let config = element.children().next().map(NewElement::of);
        let has_config = config.is_some();
        let mut wanted: Vec<(&str, &str)> = Vec::new();
        match command.object.as_str() {
            "SITE" if !has_config => {
                wanted.extend([("name", "SITE.NAME"), ("id", "SITE.ID"), ("bindings", "bindings")]);
            }
            "APP" => wanted.extend([("site.name", "SITE.NAME"), ("path", "path")]),
            "VDIR" => wanted.extend([("app.name", "APP.NAME"), ("path", "path")]),
            "APPPOOL" if !has_config => wanted.push(("name", "APPPOOL.NAME")),
            _ => {}
        }
        if command.object == "VDIR" && !has_config {
            wanted.push(("physicalPath", "physicalPath"));
        }
        if command.object == "APP" && !has_config {
            wanted.push(("applicationPool", "APPPOOL.NAME"));
        }
        for (parameter, attribute) in wanted {
            // What the command itself says goes before.
            if own.parameters.iter().any(|given| given.is(parameter)) {
                continue;
            }
            if let Some(value) = named(attribute) {
                own.parameters.push(filter(parameter, &value));
            }
        }
        self.add(&own, config)
    }
}

/// A command with its object's name where that is looked for: scripts also write `/site.name:X`.
fn with_identifier(command: &Command) -> Command {
    let mut own = command.clone();
    let name = format!("{}.name", own.object);
    let is_name = |given: &Parameter| given.act == Act::Set && given.is(&name);
    if own.identifier.is_none() {
        let named = own.properties().find(|given| is_name(given));
        own.identifier = named.and_then(|given| given.value.clone());
        own.parameters.retain(|given| !is_name(given));
    }
    own
}

fn filter(name: &str, value: &str) -> Parameter {
    Parameter {
        act: Act::Set,
        path: vec![Segment::Name(name.to_owned())],
        value: Some(value.to_owned()),
        text: format!("{name}:{value}"),
        escaped: true,
    }
}

fn given(command: &Command, name: &str) -> Option<String> {
    let own = command.properties().find(|own| own.act == Act::Set && own.is(name));
    own.and_then(|own| own.value.clone())
}

fn missing(object: &str, name: &str) -> Failure {
    Failure::usage(format!(
        "New {object} object missing required attributes.  The attribute \"{name}\" must be specified."
    ))
}

fn no_place() -> Failure {
    Failure::new(13, "The configuration has no place for it.")
}

fn site_id(text: &str) -> Result<u32, Failure> {
    let id = text.parse().ok().filter(|id| *id > 0);
    id.ok_or_else(|| {
        Failure::usage(format!("\"{text}\" is not a valid value for attribute \"id\"."))
    })
}

/// A path that begins with a slash and ends with none.
fn rooted(path: &str) -> String {
    format!("/{}", path.trim_matches('/'))
}
