//! Changes in the words of `bindery.toml`, made in the text of `applicationHost.config`.

use bindery_model::{
    binding::{BindingInformation, Protocol},
    change::{Act, Change, EditError, Fields, Place, Value},
    name::HostPattern,
};

use super::{host::Host, keys, pools};
use crate::xml::{
    self,
    draft::{Draft, Node},
    edit::{NewElement, Position},
};

/// What messages call the file.
pub(super) const FILE: &str = "applicationHost.config";

/// The text with changes made in it; every byte outside of them stays.
///
/// A certificate is no part of this form, as in IIS: of a binding's `certificate` only `"best"`
/// and `"central"` have a place. New sites get the lowest number that is free.
///
/// # Errors
///
/// When one cannot be made, above all where this form has no place for it.
pub fn edit(text: &str, changes: &[Change]) -> Result<String, EditError> {
    let tree = xml::parse(text).map_err(|error| unreadable(text, &error))?;
    let mut editor = Editor::new(Draft::new(&tree), None);
    for change in changes {
        editor.change(change)?;
    }
    Ok(editor.host.draft.finish())
}

fn unreadable(text: &str, error: &xml::XmlError) -> EditError {
    let before = text.get(..error.span.start).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    EditError::Unreadable(format!("line {line}, column {column}: {error}"))
}

/// A text that changes are made in.
pub(super) struct Editor<'t> {
    pub(super) host: Host<'t>,
    /// Where what has no place is noted; otherwise it is an error.
    pub(super) left_out: Option<Vec<String>>,
}

impl<'t> Editor<'t> {
    pub(super) fn new(draft: Draft<'t>, left_out: Option<Vec<String>>) -> Self {
        Self { host: Host::new(draft), left_out }
    }

    /// Makes one change.
    pub(super) fn change(&mut self, change: &Change) -> Result<(), EditError> {
        let at = &change.at;
        match (at, &change.act) {
            (Place::Server, Act::Add(fields)) => {
                fields.iter().try_for_each(|(key, value)| self.of_server(at, key, Some(value)))
            }
            (Place::Server, Act::Set(keys)) => {
                keys.iter().try_for_each(|(key, value)| self.of_server(at, key, value.as_ref()))
            }
            // Listeners and certificates stand in the bindery.toml beside this file.
            (Place::Server | Place::Listener(_) | Place::Certificate(_) | Place::Record(_), _) => {
                self.no_place(at, "it")
            }
            (Place::Site(name), Act::Add(fields)) => self.add_site(at, name, fields),
            (Place::Binding { site, on }, Act::Add(fields)) => {
                let site = self.site(at, site)?;
                let mut fields = fields.clone();
                fields.insert("on".to_owned(), Value::Text(on.clone()));
                self.add_binding(at, site, &Value::Table(fields))
            }
            (Place::Application { site, path }, Act::Add(fields)) => {
                let site = self.site(at, site)?;
                self.add_application(at, site, path, fields)
            }
            (Place::VirtualDirectory { site, path }, Act::Add(fields)) => {
                let site = self.site(at, site)?;
                self.add_directory(at, site, path, fields)
            }
            (_, Act::Set(keys)) => {
                let node = self.find(at)?;
                // The name last: what else is set is found by the one it has.
                let naming = |key: &str| matches!(key, "name" | "path" | "on");
                let (names, others): (Vec<_>, Vec<_>) =
                    keys.iter().partition(|(key, _)| naming(key));
                for (key, value) in others.into_iter().chain(names) {
                    self.set(at, node, key, value.as_ref())?;
                }
                Ok(())
            }
            (_, Act::Remove) => {
                let node = self.find(at)?;
                match at {
                    Place::Site(_) => self.host.remove_site(node),
                    Place::Application { path, .. } if path == "/" => {
                        let reason = "it is the root of its site; remove the site".to_owned();
                        return Err(EditError::Wrong { at: at.clone(), reason });
                    }
                    _ => self.host.draft.remove(node),
                }
                Ok(())
            }
        }
    }

    /// What is IIS's too; other settings stand in the `bindery.toml` beside this file.
    fn of_server(&mut self, at: &Place, key: &str, value: Option<&Value>) -> Result<(), EditError> {
        match key {
            pools::POOLS => pools::set_pools(self, at, value),
            key => self.no_place(at, key),
        }
    }

    pub(super) fn no_place(&mut self, at: &Place, key: &str) -> Result<(), EditError> {
        match &mut self.left_out {
            Some(left_out) => {
                left_out.push(format!("{at}: {key}"));
                Ok(())
            }
            None => Err(EditError::NoPlace { at: at.clone(), key: key.to_owned(), file: FILE }),
        }
    }

    fn site(&self, at: &Place, name: &str) -> Result<Node, EditError> {
        let missing = || match at {
            Place::Site(_) => EditError::NotFound(at.clone()),
            _ => EditError::NotFound(Place::Site(name.to_owned())),
        };
        self.host.site(name).ok_or_else(missing)
    }

    /// What a place names.
    fn find(&self, at: &Place) -> Result<Node, EditError> {
        let found = match at {
            Place::Site(name) => Some(self.site(at, name)?),
            Place::Binding { site, on } => self.binding(self.site(at, site)?, on),
            Place::Application { site, path } => self.host.application(self.site(at, site)?, path),
            Place::VirtualDirectory { site, path } => {
                let holder = self.host.holder(self.site(at, site)?, path);
                holder.and_then(|(application, rest)| self.host.directory(application, &rest))
            }
            Place::Server | Place::Listener(_) | Place::Certificate(_) | Place::Record(_) => None,
        };
        found.ok_or_else(|| EditError::NotFound(at.clone()))
    }

    /// The binding of a site that means what a text means.
    pub(super) fn binding(&self, site: Node, on: &str) -> Option<Node> {
        let asked = on.parse::<BindingInformation>().ok();
        let draft = &self.host.draft;
        let bindings = draft.child(site, "bindings")?;
        draft.children_named(bindings, "binding").into_iter().find(|node| {
            let text = text_of(draft, *node);
            match &asked {
                Some(asked) => text.parse().as_ref() == Ok(asked),
                None => text.eq_ignore_ascii_case(on),
            }
        })
    }

    fn add_site(&mut self, at: &Place, name: &str, fields: &Fields) -> Result<(), EditError> {
        if self.host.site(name).is_some() {
            return Err(EditError::Exists(at.clone()));
        }
        let id = match fields.get("id") {
            Some(id) => keys::number(at, "id", id)?,
            None => self.host.next_id(),
        };
        if self.host.has_id(id) {
            let reason = format!("another site has the number {id}");
            return Err(EditError::Wrong { at: at.clone(), reason });
        }
        // In the order in which IIS writes them.
        let site = NewElement::new("site").with("name", name).with("id", id.to_string());
        let root = NewElement::new("virtualDirectory").with("path", "/");
        let root = root.with("physicalPath", "");
        let application = NewElement::new("application").with("path", "/").holding(root);
        let site = site.holding(application).holding(NewElement::new("bindings"));
        let Some(site) = self.host.add_site(&site) else {
            let reason = "the text is no whole configuration".to_owned();
            return Err(EditError::Unreadable(reason));
        };
        for (key, value) in fields.iter().filter(|(key, _)| !matches!(key.as_str(), "id" | "name"))
        {
            self.set(at, site, key, Some(value))?;
        }
        Ok(())
    }

    fn add_binding(&mut self, at: &Place, site: Node, value: &Value) -> Result<(), EditError> {
        let text = match value {
            Value::Text(text) => Some(text.as_str()),
            Value::Table(fields) => match fields.get("on") {
                Some(Value::Text(text)) => Some(text.as_str()),
                _ => None,
            },
            _ => None,
        };
        let Some(text) = text else { return Err(keys::wrong(at, "bindings", "texts or tables")) };
        if self.binding(site, text).is_some() {
            return Err(EditError::Exists(at.clone()));
        }
        let bindings = self.host.draft.ensure(site, "bindings");
        let binding = self.host.draft.insert(bindings, Position::End, &NewElement::new("binding"));
        self.set_on(at, binding, text)?;
        if let Value::Table(fields) = value {
            for (key, value) in fields.iter().filter(|(key, _)| *key != "on") {
                self.set(at, binding, key, Some(value))?;
            }
        }
        Ok(())
    }

    /// Sets what a binding is on. An https binding with a name asks for a certificate of its own
    /// (SNI); one without a name cannot.
    pub(super) fn set_on(&mut self, at: &Place, node: Node, on: &str) -> Result<(), EditError> {
        let information: BindingInformation = on
            .parse()
            .map_err(|error| EditError::Wrong { at: at.clone(), reason: format!("{error}") })?;
        let draft = &mut self.host.draft;
        draft.set(node, "protocol", information.protocol.to_string());
        let text = format!("{}:{}", information.endpoint, unicode(&information.host));
        draft.set(node, "bindingInformation", text);
        let named = information.host != HostPattern::Any;
        let sni = named && information.protocol == Protocol::Https;
        let flags = (keys::flags(draft, node) & !1) | u32::from(sni);
        let flags = if information.protocol == Protocol::Https { flags } else { 0 };
        keys::set_flags(draft, node, flags);
        Ok(())
    }

    fn add_application(
        &mut self,
        at: &Place,
        site: Node,
        path: &str,
        fields: &Fields,
    ) -> Result<(), EditError> {
        if self.host.application(site, path).is_some() {
            return Err(EditError::Exists(at.clone()));
        }
        let root = NewElement::new("virtualDirectory").with("path", "/");
        let root = root.with("physicalPath", "");
        let element = NewElement::new("application").with("path", path).holding(root);
        let node = self.host.draft.insert_behind(site, &element);
        for (key, value) in fields.iter().filter(|(key, _)| *key != "path") {
            self.set(at, node, key, Some(value))?;
        }
        Ok(())
    }

    fn add_directory(
        &mut self,
        at: &Place,
        site: Node,
        path: &str,
        fields: &Fields,
    ) -> Result<(), EditError> {
        let Some((application, rest)) = self.host.holder(site, path) else {
            return Err(EditError::NotFound(at.clone()));
        };
        if self.host.directory(application, &rest).is_some() {
            return Err(EditError::Exists(at.clone()));
        }
        let element = NewElement::new("virtualDirectory").with("path", rest);
        let element = element.with("physicalPath", "");
        let draft = &mut self.host.draft;
        let node = draft.insert_behind(application, &element);
        for (key, value) in fields.iter().filter(|(key, _)| *key != "path") {
            self.set(at, node, key, Some(value))?;
        }
        Ok(())
    }

    /// Sets one key of a thing, or takes it away.
    fn set(
        &mut self,
        at: &Place,
        node: Node,
        key: &str,
        value: Option<&Value>,
    ) -> Result<(), EditError> {
        match (at, key, value) {
            (Place::Site(_), "name", Some(Value::Text(name))) => {
                if self.host.site(name).is_some_and(|other| other != node) {
                    return Err(EditError::Exists(Place::Site(name.clone())));
                }
                self.host.rename_site(node, name);
                Ok(())
            }
            (Place::Site(_), "id", Some(value)) => {
                let id = keys::number(at, key, value)?;
                let own =
                    self.host.draft.value(node, "id").is_some_and(|own| own == id.to_string());
                if !own && self.host.has_id(id) {
                    let reason = format!("another site has the number {id}");
                    return Err(EditError::Wrong { at: at.clone(), reason });
                }
                self.host.set_id(node, id);
                Ok(())
            }
            // A number is there already, and stays where none is asked for.
            (Place::Site(_), "id", None) => Ok(()),
            (Place::Site(_), "bindings", value) => self.set_bindings(at, node, value),
            (Place::Site(name), "applications" | "virtual_directories", Some(Value::List(all))) => {
                all.iter().try_for_each(|one| self.add_route(at, name, key, one))
            }
            (Place::Binding { .. }, "on", Some(Value::Text(on))) => self.set_on(at, node, on),
            (
                Place::Application { .. } | Place::VirtualDirectory { .. },
                "path",
                Some(Value::Text(path)),
            ) => self.move_route(at, node, path),
            (_, "name" | "path" | "on", _) => Err(keys::wrong(at, key, "a text")),
            _ => keys::set(self, at, node, key, value),
        }
    }

    fn set_bindings(
        &mut self,
        at: &Place,
        site: Node,
        value: Option<&Value>,
    ) -> Result<(), EditError> {
        let empty = Vec::new();
        let all = match value {
            Some(Value::List(all)) => all,
            None => &empty,
            Some(_) => return Err(keys::wrong(at, "bindings", "an array")),
        };
        let draft = &mut self.host.draft;
        let bindings = draft.ensure(site, "bindings");
        for old in draft.children_named(bindings, "binding") {
            // Bindings of other protocols are none of bindery's.
            let text = text_of(draft, old).to_lowercase();
            if text.starts_with("http/") || text.starts_with("https/") {
                draft.remove(old);
            }
        }
        all.iter().try_for_each(|binding| self.add_binding(at, site, binding))
    }

    /// One of a site's `applications` or `virtual_directories`, written in the site itself.
    fn add_route(
        &mut self,
        at: &Place,
        site: &str,
        key: &str,
        value: &Value,
    ) -> Result<(), EditError> {
        let Value::Table(fields) = value else { return Err(keys::wrong(at, key, "tables")) };
        let Some(Value::Text(path)) = fields.get("path") else {
            return Err(keys::wrong(at, &format!("{key}.path"), "a text"));
        };
        let (site, path) = (site.to_owned(), path.clone());
        let at = match key {
            "applications" => Place::Application { site, path },
            _ => Place::VirtualDirectory { site, path },
        };
        self.change(&Change { at, act: Act::Add(fields.clone()) })
    }

    /// Gives an application or a virtual directory another path, within the same parent.
    fn move_route(&mut self, at: &Place, node: Node, path: &str) -> Result<(), EditError> {
        let mut own = path.to_owned();
        if let Place::VirtualDirectory { site, .. } = at {
            let site = self.site(at, site)?;
            let Some((application, rest)) = self.host.holder(site, path) else {
                return Err(EditError::NotFound(at.clone()));
            };
            if Some(application) != self.host.draft.parent(node) {
                let reason = format!("{path} belongs to another application; remove it and add it");
                return Err(EditError::Wrong { at: at.clone(), reason });
            }
            own = rest;
        }
        self.host.draft.set(node, "path", own);
        Ok(())
    }
}

/// A binding as IIS and bindery write it: `protocol/bindingInformation`.
pub(crate) fn text_of(draft: &Draft<'_>, node: Node) -> String {
    let of = |name| draft.value(node, name).unwrap_or_default();
    format!("{}/{}", of("protocol"), of("bindingInformation"))
}

/// A host as IIS keeps it: in Unicode.
fn unicode(host: &HostPattern) -> String {
    match host {
        HostPattern::Any => String::new(),
        HostPattern::Exact(name) => name.to_unicode(),
        HostPattern::Wildcard(parent) => format!("*.{}", parent.to_unicode()),
    }
}
