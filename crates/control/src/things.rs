//! Sites and what belongs to them as what is told of them: the keys of `bindery.toml`, with the one
//! that names the thing. The API answers with these, and commands print them.

use bindery_model::{
    binding::{BindingInformation, parse_listener},
    change::{Fields, Place, Value},
    document::{Configuration, write},
    name::HostPattern,
    site::{RouteKind, Site},
    table::MemoryTable,
};

/// The key that names a thing, and has its name in its [`Place`]; nothing for the server.
#[must_use]
pub fn naming_key(at: &Place) -> Option<&'static str> {
    match at {
        Place::Server | Place::Record(_) => None,
        Place::Certificate(_) | Place::Site(_) => Some("name"),
        Place::Listener(_) | Place::Binding { .. } => Some("on"),
        Place::Application { .. } | Place::VirtualDirectory { .. } => Some("path"),
    }
}

/// The command that lists what is like this thing.
#[must_use]
pub fn list(at: &Place) -> &'static str {
    match at {
        Place::Server => "`bindery server show`",
        Place::Listener(_) => "`bindery listener list`",
        Place::Certificate(_) => "`bindery cert list`",
        Place::Site(_) => "`bindery site list`",
        Place::Binding { .. } => "`bindery binding list`",
        Place::Application { .. } => "`bindery app list`",
        Place::VirtualDirectory { .. } => "`bindery vdir list`",
        Place::Record(_) => "`bindery netsh http show sslcert`",
    }
}

/// The keys of a thing with the one that names it, as it is written; nothing where there is none.
#[must_use]
pub fn one(configuration: &Configuration, at: &Place) -> Option<Fields> {
    let fields = write::fields(configuration, at)?;
    let table = &configuration.table;
    let name = match at {
        Place::Server | Place::Record(_) => return Some(fields),
        Place::Listener(on) => {
            let (protocol, endpoint) = parse_listener(on).ok()?;
            format!("{protocol}/{endpoint}")
        }
        Place::Certificate(name) => {
            let own = table.certificates.iter().find(|own| is_same(&own.name, name));
            own.map_or(name, |own| &own.name).clone()
        }
        Place::Site(name) => {
            let own = table.sites.iter().find(|own| is_same(&own.name, name));
            own.map_or(name, |own| &own.name).clone()
        }
        Place::Binding { on, .. } => on.parse::<BindingInformation>().ok()?.to_string(),
        Place::Application { path, .. } | Place::VirtualDirectory { path, .. } => path.clone(),
    };
    Some(named(fields, naming_key(at)?, name))
}

fn named(mut fields: Fields, key: &str, name: impl Into<String>) -> Fields {
    fields.insert(key.to_owned(), Value::Text(name.into()));
    fields
}

/// Whether two names are one: case does not count.
#[must_use]
pub fn is_same(one: &str, other: &str) -> bool {
    one == other || one.to_lowercase() == other.to_lowercase()
}

/// Numbers and places of the sites whose name or a host has `search` in it; of those with a higher
/// number than `after`. In no order.
#[must_use]
pub fn sites(table: &MemoryTable, search: Option<&str>, after: Option<u32>) -> Vec<(u32, u32)> {
    let search = search.map(str::to_lowercase);
    let wanted = table.sites.iter().zip(0_u32..).filter(|(site, place)| {
        after.is_none_or(|after| site.id.0 > after)
            && search.as_deref().is_none_or(|search| has(table, site, *place, search))
    });
    wanted.map(|(site, place)| (site.id.0, place)).collect()
}

/// Whether the name of a site or one of its hosts has `search` in it.
fn has(table: &MemoryTable, site: &Site, place: u32, search: &str) -> bool {
    let in_host = |host: &HostPattern| match host {
        HostPattern::Exact(name) => name.as_str().contains(search),
        HostPattern::Wildcard(_) => host.to_string().contains(search),
        HostPattern::Any => false,
    };
    site.name.to_lowercase().contains(search)
        || table.bindings_of(place).any(|binding| in_host(&binding.information.host))
}

/// The keys of the site at this place.
#[must_use]
pub fn site(table: &MemoryTable, place: u32) -> Fields {
    let fields = write::site(table, place);
    match table.sites.get(place as usize) {
        Some(site) => named(fields, "name", site.name.as_str()),
        None => fields,
    }
}

/// The bindings of a site that is told of by these keys.
#[must_use]
pub fn bindings(site: &Fields) -> Vec<Fields> {
    let own = |value: &Value| match value {
        // As it is written where it has no other keys.
        Value::Text(on) => Some(named(Fields::new(), "on", on.as_str())),
        Value::Table(fields) => Some(fields.clone()),
        Value::Boolean(_) | Value::Integer(_) | Value::List(_) => None,
    };
    values(site, "bindings").iter().filter_map(own).collect()
}

/// The key of a site that its applications or virtual directories stand in.
#[must_use]
pub fn routes_key(kind: RouteKind) -> &'static str {
    match kind {
        RouteKind::Application => "applications",
        RouteKind::VirtualDirectory => "virtual_directories",
    }
}

/// The applications or virtual directories of a site that is told of by these keys.
#[must_use]
pub fn routes(site: &Fields, kind: RouteKind) -> Vec<Fields> {
    let own = |value: &Value| match value {
        Value::Table(fields) => Some(fields.clone()),
        Value::Text(_) | Value::Boolean(_) | Value::Integer(_) | Value::List(_) => None,
    };
    values(site, routes_key(kind)).iter().filter_map(own).collect()
}

fn values<'a>(fields: &'a Fields, key: &str) -> &'a [Value] {
    match fields.get(key) {
        Some(Value::List(values)) => values,
        _ => &[],
    }
}

/// A text of a thing; an empty one where it is absent.
#[must_use]
pub fn text<'a>(fields: &'a Fields, key: &str) -> &'a str {
    fields.get(key).and_then(Value::as_text).unwrap_or_default()
}

/// Listeners that have rules of their own.
#[must_use]
pub fn listeners(configuration: &Configuration) -> Vec<Fields> {
    let all = configuration.listeners.iter();
    let all = all.map(|own| Place::Listener(format!("{}/{}", own.protocol, own.endpoint)));
    all.filter_map(|at| one(configuration, &at)).collect()
}
