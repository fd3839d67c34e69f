//! Sites and what belongs to them, certificates, listeners, the server: looked at, made, changed and
//! removed in the keys of `bindery.toml`.

use std::collections::BTreeMap;

use axum::response::Response;
use bindery_model::{
    change::{Act, Change, Fields, Place, Value},
    document::Configuration,
    site::{RouteKind, SiteState},
};

use super::{
    Call, Page, body,
    operations::{Operation, Takes},
    path_of,
    problem::{Kind, Problem},
};
use crate::{applier::What, things};

/// So many things are on a page when nobody says.
const LIMIT: usize = 100;

/// So many at most.
pub(super) const LIMIT_MAX: usize = 1000;

pub(super) fn show(call: &Call) -> Result<Response, Problem> {
    let (current, at) = (call.current(), place(call));
    let found = things::one(&current.configuration, &at);
    call.tagged(current.revision, &found.ok_or_else(|| not_found(&at))?)
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
    let mut all = current.configuration.table.sites.iter();
    let own = all.find(|own| things::is_same(&own.name, call.part("site")));
    if own.ok_or_else(|| not_found(&at))?.state == state {
        return call.change(What::Changes(Vec::new()));
    }
    // What is not written is started: a stop and a start leave the file as it was.
    let word = match state {
        SiteState::Started => None,
        SiteState::Stopped => Some(Value::Text("stopped".to_owned())),
    };
    let act = Act::Set(BTreeMap::from([("state".to_owned(), word)]));
    call.change(What::Changes(vec![Change { at, act }]))
}

pub(super) fn add_site(call: &Call) -> Result<Response, Problem> {
    add(call, "name", Place::Site)
}

pub(super) fn add_certificate(call: &Call) -> Result<Response, Problem> {
    add(call, "name", Place::Certificate)
}

pub(super) fn add_listener(call: &Call) -> Result<Response, Problem> {
    add(call, "on", Place::Listener)
}

pub(super) fn add_binding(call: &Call) -> Result<Response, Problem> {
    let site = call.part("site").to_owned();
    add(call, "on", |on| Place::Binding { site, on })
}

pub(super) fn add_route(call: &Call) -> Result<Response, Problem> {
    let site = call.part("site").to_owned();
    add(call, "path", |path| match kind(call.operation) {
        RouteKind::Application => Place::Application { site, path },
        RouteKind::VirtualDirectory => Place::VirtualDirectory { site, path },
    })
}

fn add(call: &Call, key: &str, at: impl FnOnce(String) -> Place) -> Result<Response, Problem> {
    let (name, fields) = body::named(body::object(&call.head.headers, &call.body)?, key)?;
    let change = Change { at: at(name), act: Act::Add(fields) };
    let location = path_of(&change.at);
    call.create(What::Changes(vec![change]), &location)
}

fn kind(operation: &Operation) -> RouteKind {
    match operation.path.contains("/virtual_directories") {
        true => RouteKind::VirtualDirectory,
        false => RouteKind::Application,
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
    let all = things::sites(table, call.query.text("search"), after);
    let (found, more) = page(all, None, limit(call)?);
    let next = found.last().filter(|_| more).map(|(id, _)| id.to_string());
    let items: Vec<_> = found.iter().map(|(_, place)| things::site(table, *place)).collect();
    call.tagged(current.revision, &Page { items, next })
}

/// A page of things, in the order of what the key `name` of each says.
fn page_by(
    call: &Call,
    name: &str,
    all: impl FnOnce(&Configuration) -> Result<Vec<Fields>, Problem>,
) -> Result<Response, Problem> {
    let current = call.current();
    let all = all(&current.configuration)?.into_iter();
    let all = all.map(|fields| (things::text(&fields, name).to_owned(), fields)).collect();
    let (found, next) = page_of(call, all)?;
    let items: Vec<_> = found.into_iter().map(|(_, fields)| fields).collect();
    call.tagged(current.revision, &Page { items, next })
}

/// The site that the path names.
fn site_of(call: &Call, configuration: &Configuration) -> Result<Fields, Problem> {
    let at = Place::Site(call.part("site").to_owned());
    things::one(configuration, &at).ok_or_else(|| not_found(&at))
}

pub(super) fn bindings(call: &Call) -> Result<Response, Problem> {
    page_by(call, "on", |own| Ok(things::bindings(&site_of(call, own)?)))
}

pub(super) fn routes(call: &Call) -> Result<Response, Problem> {
    let kind = kind(call.operation);
    page_by(call, "path", |own| Ok(things::routes(&site_of(call, own)?, kind)))
}

pub(super) fn listeners(call: &Call) -> Result<Response, Problem> {
    page_by(call, "on", |own| Ok(things::listeners(own)))
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
