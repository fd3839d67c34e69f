//! Sites and what belongs to them, certificates, listeners, the server: looked at, made, changed and
//! removed in the keys of `bindery.toml`.

use std::collections::BTreeMap;

use axum::response::Response;
use bindery_model::{
    binding::{BindingInformation, Protocol, parse_listener},
    change::{Act, Change, Fields, Place, Value},
    document::{Configuration, write},
    name::HostPattern,
    site::{RouteKind, Site, SiteState},
    table::MemoryTable,
};

use super::{
    Call, Page, body,
    operations::{Operation, Takes},
    part_of_path,
    problem::{Kind, Problem},
};
use crate::applier::What;

/// So many things are on a page when nobody says.
const LIMIT: usize = 100;

/// So many at most.
const LIMIT_MAX: usize = 1000;

pub(super) fn show(call: &Call) -> Result<Response, Problem> {
    let (current, at) = (call.current(), place(call));
    let found = shown(&current.configuration, &at);
    call.tagged(current.revision, &found.ok_or_else(|| not_found(&at))?)
}

/// The keys of a thing with the one that names it.
pub(super) fn shown(configuration: &Configuration, at: &Place) -> Option<Fields> {
    let fields = write::fields(configuration, at)?;
    let table = &configuration.table;
    Some(match at {
        Place::Server => fields,
        Place::Listener(on) => {
            let (protocol, endpoint) = parse_listener(on).ok()?;
            named(fields, "on", format!("{protocol}/{endpoint}"))
        }
        Place::Certificate(name) => {
            let own = table.certificates.iter().find(|own| is_same(&own.name, name));
            named(fields, "name", own.map_or(name.as_str(), |own| &own.name))
        }
        Place::Site(name) => {
            let own = table.sites.iter().find(|own| is_same(&own.name, name));
            named(fields, "name", own.map_or(name.as_str(), |own| &own.name))
        }
        Place::Binding { on, .. } => {
            let on: BindingInformation = on.parse().ok()?;
            named(fields, "on", on.to_string())
        }
        Place::Application { path, .. } | Place::VirtualDirectory { path, .. } => {
            named(fields, "path", path.as_str())
        }
    })
}

fn named(mut fields: Fields, key: &str, name: impl Into<String>) -> Fields {
    fields.insert(key.to_owned(), Value::Text(name.into()));
    fields
}

/// Whether two names are one: case does not count.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    one == other || one.to_lowercase() == other.to_lowercase()
}

pub(super) fn set(call: &Call) -> Result<Response, Problem> {
    let at = place(call);
    let settings = body::settings(body::object(&call.head.headers, &call.body)?)?;
    call.change(What::Changes(vec![Change { at, act: Act::Set(settings) }]))
}

pub(super) fn remove(call: &Call) -> Result<Response, Problem> {
    call.change(What::Changes(vec![Change { at: place(call), act: Act::Remove }]))
}

pub(super) fn start(call: &Call) -> Result<Response, Problem> {
    switch(call, SiteState::Started)
}

pub(super) fn stop(call: &Call) -> Result<Response, Problem> {
    switch(call, SiteState::Stopped)
}

fn switch(call: &Call, state: SiteState) -> Result<Response, Problem> {
    let (current, at) = (call.current(), place(call));
    let own =
        current.configuration.table.sites.iter().find(|own| is_same(&own.name, call.part("site")));
    let own = own.ok_or_else(|| not_found(&at))?;
    let word = match state {
        // What is not written is started; a file that says nothing is not made to say it.
        SiteState::Started if own.state == SiteState::Started => None,
        SiteState::Started => Some("started"),
        SiteState::Stopped => Some("stopped"),
    };
    let changes = match word {
        None => Vec::new(),
        Some(word) => {
            let settings =
                BTreeMap::from([("state".to_owned(), Some(Value::Text(word.to_owned())))]);
            vec![Change { at, act: Act::Set(settings) }]
        }
    };
    call.change(What::Changes(changes))
}

pub(super) fn add_site(call: &Call) -> Result<Response, Problem> {
    add(call, "name", "/v1/sites", Place::Site)
}

pub(super) fn add_certificate(call: &Call) -> Result<Response, Problem> {
    add(call, "name", "/v1/certificates", Place::Certificate)
}

pub(super) fn add_listener(call: &Call) -> Result<Response, Problem> {
    add(call, "on", "/v1/listeners", Place::Listener)
}

pub(super) fn add_binding(call: &Call) -> Result<Response, Problem> {
    let site = call.part("site").to_owned();
    let below = format!("/v1/sites/{}/bindings", part_of_path(&site));
    add(call, "on", &below, |on| Place::Binding { site, on })
}

pub(super) fn add_route(call: &Call) -> Result<Response, Problem> {
    let kind = kind(call.operation);
    let site = call.part("site").to_owned();
    let below = format!("/v1/sites/{}/{}", part_of_path(&site), word(kind));
    add(call, "path", &below, |path| match kind {
        RouteKind::Application => Place::Application { site, path },
        RouteKind::VirtualDirectory => Place::VirtualDirectory { site, path },
    })
}

fn add(
    call: &Call,
    key: &str,
    below: &str,
    at: impl FnOnce(String) -> Place,
) -> Result<Response, Problem> {
    let (name, fields) = body::named(body::object(&call.head.headers, &call.body)?, key)?;
    let location = format!("{below}/{}", part_of_path(&name));
    let change = Change { at: at(name), act: Act::Add(fields) };
    call.create(What::Changes(vec![change]), &location)
}

fn kind(operation: &Operation) -> RouteKind {
    match operation.path.contains("/virtual_directories") {
        true => RouteKind::VirtualDirectory,
        false => RouteKind::Application,
    }
}

fn word(kind: RouteKind) -> &'static str {
    match kind {
        RouteKind::Application => "applications",
        RouteKind::VirtualDirectory => "virtual_directories",
    }
}

/// What the path of a request is about.
pub(super) fn place(call: &Call) -> Place {
    let path = call.operation.path;
    let part = |name| call.part(name).to_owned();
    let site = || part("site");
    if path.contains("{binding}") {
        Place::Binding { site: site(), on: part("binding") }
    } else if path.contains("{path}") {
        match kind(call.operation) {
            RouteKind::Application => Place::Application { site: site(), path: part("path") },
            RouteKind::VirtualDirectory => {
                Place::VirtualDirectory { site: site(), path: part("path") }
            }
        }
    } else if path.contains("{site}") {
        Place::Site(site())
    } else if path.contains("{certificate}") {
        Place::Certificate(part("certificate"))
    } else if path.contains("{listener}") {
        Place::Listener(part("listener"))
    } else {
        debug_assert!(matches!(call.operation.takes, Takes::Nothing | Takes::Json("Settings")));
        Place::Server
    }
}

pub(super) fn not_found(at: &Place) -> Problem {
    Problem::new(Kind::NotFound, format!("there is no {at}"))
}

/// How many are asked for.
pub(super) fn limit(call: &Call) -> Result<usize, Problem> {
    let Some(limit) = call.query.number("limit") else { return Ok(LIMIT) };
    match usize::try_from(limit) {
        Ok(limit) if (1..=LIMIT_MAX).contains(&limit) => Ok(limit),
        _ => {
            let detail = format!("limit is {limit}, and goes from 1 to {LIMIT_MAX}");
            Err(Problem::new(Kind::Malformed, detail))
        }
    }
}

/// Those of `all` that follow the one that was asked with, in the order of their keys; and whether
/// there are more.
pub(super) fn page<K: Ord + Clone, T>(
    mut all: Vec<(K, T)>,
    after: Option<&K>,
    limit: usize,
) -> (Vec<(K, T)>, bool) {
    all.retain(|(key, _)| after.is_none_or(|after| key > after));
    let more = all.len() > limit;
    if more {
        // Only those that are shown are put in order.
        all.select_nth_unstable_by(limit, |(one, _), (other, _)| one.cmp(other));
        all.truncate(limit);
    }
    all.sort_by(|(one, _), (other, _)| one.cmp(other));
    (all, more)
}

/// Things with the texts that they are ordered by.
type Keyed<T> = Vec<(String, T)>;

/// A page of things whose keys are texts.
pub(super) fn page_of<T>(
    call: &Call,
    all: Keyed<T>,
) -> Result<(Keyed<T>, Option<String>), Problem> {
    let after = call.query.text("after").map(str::to_owned);
    let (items, more) = page(all, after.as_ref(), limit(call)?);
    let next = items.last().filter(|_| more).map(|(key, _)| key.clone());
    Ok((items, next))
}

pub(super) fn sites(call: &Call) -> Result<Response, Problem> {
    let current = call.current();
    let table = &current.configuration.table;
    let after = match call.query.text("after") {
        None => None,
        Some(text) => {
            let number = text.parse::<u32>();
            let detail = || format!("after is {text:?}, and takes the number of a site");
            Some(number.map_err(|_| Problem::new(Kind::Malformed, detail()))?)
        }
    };
    let search = call.query.text("search").map(str::to_lowercase);
    let wanted = table.sites.iter().map(|site| &**site).zip(0_u32..).filter(|(site, place)| {
        after.is_none_or(|after| site.id.0 > after)
            && search.as_deref().is_none_or(|search| has(table, site, *place, search))
    });
    let all = wanted.map(|(site, place)| (site.id.0, (site, place))).collect();
    let (found, more) = page(all, None, limit(call)?);
    let next = found.last().filter(|_| more).map(|(id, _)| id.to_string());
    let show = |(_, (site, place)): (u32, (&Site, u32))| {
        named(write::site(table, place), "name", site.name.as_str())
    };
    let items: Vec<_> = found.into_iter().map(show).collect();
    call.tagged(current.revision, &Page { items, next })
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

/// The place of the site that the path names.
fn site_of(call: &Call, table: &MemoryTable) -> Result<u32, Problem> {
    let name = call.part("site");
    let place = table.sites.iter().position(|own| is_same(&own.name, name));
    let place = place.and_then(|place| u32::try_from(place).ok());
    place.ok_or_else(|| not_found(&Place::Site(name.to_owned())))
}

pub(super) fn bindings(call: &Call) -> Result<Response, Problem> {
    let current = call.current();
    let table = &current.configuration.table;
    let all = table.bindings_of(site_of(call, table)?);
    let all = all.map(|binding| (binding.information.to_string(), binding)).collect();
    let (found, next) = page_of(call, all)?;
    let show = |(on, own)| named(write::binding(table, own), "on", on);
    let items: Vec<_> = found.into_iter().map(show).collect();
    call.tagged(current.revision, &Page { items, next })
}

pub(super) fn routes(call: &Call) -> Result<Response, Problem> {
    let current = call.current();
    let table = &current.configuration.table;
    let kind = kind(call.operation);
    let fields = write::site(table, site_of(call, table)?);
    let all = match fields.get(word(kind)) {
        Some(Value::List(all)) => all.clone(),
        _ => Vec::new(),
    };
    let keyed = |route: Value| {
        let Value::Table(fields) = route else { return None };
        let path = fields.get("path")?.as_text()?.to_owned();
        Some((path, fields))
    };
    let (found, next) = page_of(call, all.into_iter().filter_map(keyed).collect())?;
    let items: Vec<_> = found.into_iter().map(|(_, fields)| fields).collect();
    call.tagged(current.revision, &Page { items, next })
}

pub(super) fn listeners(call: &Call) -> Result<Response, Problem> {
    let current = call.current();
    let configuration = &current.configuration;
    let name = |protocol: Protocol, endpoint| format!("{protocol}/{endpoint}");
    let all = configuration.listeners.iter();
    let all = all.map(|own| (name(own.protocol, own.endpoint), ())).collect();
    let (found, next) = page_of(call, all)?;
    let show = |(on, ()): (String, ())| shown(configuration, &Place::Listener(on));
    let items: Vec<_> = found.into_iter().filter_map(show).collect();
    call.tagged(current.revision, &Page { items, next })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pages_are_all_there_is_in_order(keys in proptest::collection::btree_set(0_u32..100, 0..40), limit in 1_usize..10) {
            let all: Vec<_> = keys.iter().rev().map(|key| (*key, ())).collect();
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let (found, more) = page(all.clone(), after.as_ref(), limit);
                prop_assert!(found.len() <= limit);
                seen.extend(found.into_iter().map(|(key, ())| key));
                after = seen.last().copied();
                if !more {
                    break;
                }
            }
            prop_assert_eq!(seen, keys.into_iter().collect::<Vec<_>>());
        }
    }
}
