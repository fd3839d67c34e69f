//! Application pools: which there are, which attributes each has, and which application is in which.

use std::{borrow::Cow, collections::BTreeMap};

use bindery_model::{
    change::{EditError, Place, Value},
    document::{DEFAULT_POOL, PoolAttributes, is_kept, is_pool_name, pools_of},
};

use super::{edit::Editor, host::Host, keys::wrong};
use crate::xml::{
    Element,
    draft::{Draft, Node},
    edit::{NewElement, Position},
};

/// The keys of `bindery.toml` that are about pools: of the server, and of an application.
pub(super) const POOLS: &str = "application_pools";
pub(super) const POOL: &str = "application_pool";

/// What stands in a list is no attribute.
const LIST: [&str; 3] = ["add", "remove", "clear"];

/// The pools of `system.applicationHost`, with their attributes. The default one only where
/// something is set of it.
pub(super) fn read(host: Element<'_>) -> BTreeMap<String, PoolAttributes> {
    let mut pools = BTreeMap::new();
    let all = host.children_named("applicationPools").flat_map(|own| own.children_named("add"));
    for element in all {
        let Some(name) = element.value("name").filter(|name| is_pool_name(name)) else { continue };
        let mut attributes = PoolAttributes::new();
        flatten(element, "", &mut attributes);
        if !(attributes.is_empty() && name == DEFAULT_POOL) {
            pools.insert(name.into_owned(), attributes);
        }
    }
    pools
}

fn is_plain(name: &str) -> bool {
    name.starts_with(|one: char| one.is_ascii_alphabetic())
        && name.bytes().all(|one| one.is_ascii_alphanumeric() || b"-_".contains(&one))
}

fn flatten(element: Element<'_>, prefix: &str, attributes: &mut PoolAttributes) {
    for own in element.attributes() {
        let path = format!("{prefix}{}", own.name());
        if is_plain(own.name()) && is_kept(&path) {
            attributes.insert(path, own.value().into_owned());
        }
    }
    for child in element.children().filter(|child| is_plain(child.name())) {
        if !LIST.contains(&child.name()) {
            flatten(child, &format!("{prefix}{}.", child.name()), attributes);
        }
    }
}

/// The element that pools stand in.
pub(crate) fn node(draft: &Draft<'_>) -> Option<Node> {
    let groups = draft.children_named(draft.root(), "system.applicationHost");
    groups.into_iter().find_map(|group| draft.child(group, "applicationPools"))
}

/// The same, made where it is missing; nothing where the text has no place for it.
pub(crate) fn ensure(draft: &mut Draft<'_>) -> Option<Node> {
    if let Some(found) = node(draft) {
        return Some(found);
    }
    let root = draft.root();
    if draft.name(root) != "configuration" {
        return None;
    }
    let group = draft.ensure(root, "system.applicationHost");
    // Where IIS has it: before the sites.
    let first = draft.children(group).into_iter().find_map(|child| draft.element(child));
    let at = first.map_or(Position::End, |first| Position::Before(first.id()));
    Some(draft.insert(group, at, &NewElement::new("applicationPools")))
}

/// The pool of an application.
pub(crate) fn pool_of(host: &Host<'_>, application: Node) -> String {
    let draft = &host.draft;
    let own = draft.value(application, "applicationPool");
    let of_site = || {
        let defaults = draft.child(draft.parent(application)?, "applicationDefaults")?;
        draft.value(defaults, "applicationPool")
    };
    let of_all = || draft.value(host.defaults("applicationDefaults")?, "applicationPool");
    let found = own.or_else(of_site).or_else(of_all);
    found.map_or_else(|| DEFAULT_POOL.to_owned(), Cow::into_owned)
}

/// Puts an application into a pool; into the default one where none is named.
pub(super) fn set_pool(
    host: &mut Host<'_>,
    at: &Place,
    application: Node,
    value: Option<&Value>,
) -> Result<(), EditError> {
    let name = match value {
        None => DEFAULT_POOL,
        Some(Value::Text(name)) => name,
        Some(_) => return Err(wrong(at, POOL, "a text")),
    };
    if value.is_none() {
        host.draft.unset(application, "applicationPool");
    }
    if !pool_of(host, application).eq_ignore_ascii_case(name) {
        host.draft.set(application, "applicationPool", name);
    }
    Ok(())
}

/// Makes the pools those of `value`. What is not kept of one stays as it is.
pub(super) fn set_pools(
    editor: &mut Editor<'_>,
    at: &Place,
    value: Option<&Value>,
) -> Result<(), EditError> {
    let wanted = match value {
        None => BTreeMap::new(),
        Some(value) => pools_of(value).ok_or_else(|| wrong(at, POOLS, "tables of texts"))?,
    };
    let draft = &mut editor.host.draft;
    let named = |draft: &Draft<'_>, node: Node| -> String {
        draft.value(node, "name").unwrap_or_default().to_lowercase()
    };
    let mut known: Vec<(String, Node)> = Vec::new();
    for own in node(draft).map(|all| draft.children_named(all, "add")).unwrap_or_default() {
        let name = named(draft, own);
        let stays = wanted.keys().any(|one| one.to_lowercase() == name);
        if stays || name == DEFAULT_POOL.to_lowercase() {
            known.push((name, own));
        } else {
            draft.remove(own);
        }
    }
    for (name, attributes) in &wanted {
        let lower = name.to_lowercase();
        let found = known.iter().find(|(own, _)| *own == lower).map(|(_, own)| *own);
        let pool = match found {
            Some(pool) => pool,
            None => {
                let Some(all) = ensure(draft) else { return editor.no_place(at, POOLS) };
                draft.insert_behind(all, &NewElement::new("add").with("name", name.as_str()))
            }
        };
        set_attributes(draft, pool, attributes);
    }
    let default = known.iter().find(|(own, _)| *own == DEFAULT_POOL.to_lowercase());
    if let Some((_, pool)) = default
        && !wanted.keys().any(|one| one.eq_ignore_ascii_case(DEFAULT_POOL))
    {
        set_attributes(draft, *pool, &PoolAttributes::new());
    }
    Ok(())
}

fn set_attributes(draft: &mut Draft<'_>, pool: Node, wanted: &PoolAttributes) {
    unset_others(draft, pool, "", wanted);
    for (path, value) in wanted {
        let mut steps: Vec<_> = path.split('.').collect();
        let name = steps.pop().unwrap_or_default();
        let element = steps.into_iter().fold(pool, |element, step| draft.ensure(element, step));
        if draft.value(element, name).as_deref() != Some(value) {
            draft.set(element, name, value.as_str());
        }
    }
}

fn unset_others(draft: &mut Draft<'_>, element: Node, prefix: &str, wanted: &PoolAttributes) {
    for (name, _) in draft.attributes(element) {
        let path = format!("{prefix}{name}");
        if is_plain(&name) && is_kept(&path) && !wanted.contains_key(&path) {
            draft.unset(element, &name);
        }
    }
    for child in draft.children(element) {
        let name = draft.name(child).to_owned();
        if is_plain(&name) && !LIST.contains(&name.as_str()) {
            unset_others(draft, child, &format!("{prefix}{name}."), wanted);
        }
    }
}
