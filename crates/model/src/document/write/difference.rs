//! What two configurations have otherwise, and the changes that make one of the other.

use std::{collections::BTreeMap, hash::Hash, ops::Range};

use hashbrown::HashMap;

use super::{same_name, settings, site};
use crate::{
    apart::middles,
    binding::{Binding, BindingInformation},
    certificate::{CertificateChoice, CertificateReference},
    change::{Act, Change, Difference, Entry, Fields, How, Place, Value},
    document::{Configuration, Listener},
    site::{Route, RouteKind, Site},
    table::MemoryTable,
};

/// What differs between two configurations. Costs what differs: what is equal is compared and not
/// written out.
///
/// A site is the same if its name is; if it has a name that was not there before, and the number of
/// one whose name is gone, it is that one with another name. Order does not count: two
/// configurations without a difference may have their sites or bindings in another order.
#[must_use]
pub fn difference(before: &Configuration, after: &Configuration) -> Difference {
    let mut entries = Vec::new();
    if before.settings != after.settings {
        let (old, new) = (settings::server(&before.settings), settings::server(&after.settings));
        push_changed(&mut entries, Place::Server, &old, &new);
    }
    listeners(&mut entries, &before.listeners, &after.listeners);
    certificates(&mut entries, &before.table, &after.table);
    sites(&mut entries, &before.table, &after.table);
    Difference(entries)
}

fn push_changed(entries: &mut Vec<Entry>, at: Place, old: &Fields, new: &Fields) {
    let mut keys: BTreeMap<String, (Option<Value>, Option<Value>)> = BTreeMap::new();
    for (key, value) in old.iter().filter(|(key, value)| new.get(*key) != Some(value)) {
        keys.insert(key.clone(), (Some(value.clone()), new.get(key).cloned()));
    }
    for (key, value) in new.iter().filter(|(key, _)| !old.contains_key(*key)) {
        keys.insert(key.clone(), (None, Some(value.clone())));
    }
    if !keys.is_empty() {
        entries.push(Entry { at, how: How::Changed(keys) });
    }
}

fn named(mut fields: Fields, key: &str, name: impl Into<Value>) -> Fields {
    fields.insert(key.to_owned(), name.into());
    fields
}

/// Two lists put side by side.
struct Pairs<'a, T> {
    gone: Vec<&'a T>,
    both: Vec<(&'a T, &'a T)>,
    new: Vec<&'a T>,
}

impl<'a, T> Pairs<'a, T> {
    /// By a key that each has once; where several have it, the first with the first.
    fn by<K: Eq + Hash>(
        before: impl IntoIterator<Item = &'a T>,
        after: impl IntoIterator<Item = &'a T>,
        key: impl Fn(&'a T) -> K,
    ) -> Self {
        let mut old: HashMap<K, Vec<&T>> = HashMap::new();
        let mut order = Vec::new();
        for one in before {
            order.push(one);
            old.entry(key(one)).or_default().push(one);
        }
        old.values_mut().for_each(|same| same.reverse());
        let (mut both, mut new) = (Vec::new(), Vec::new());
        for one in after {
            match old.get_mut(&key(one)).and_then(Vec::pop) {
                Some(before) => both.push((before, one)),
                None => new.push(one),
            }
        }
        let left = |one: &&'a T| {
            let rest = old.get(&key(one)).into_iter().flatten();
            rest.into_iter().any(|own| std::ptr::eq(*own, *one))
        };
        Self { gone: order.into_iter().filter(left).collect(), both, new }
    }
}

fn listeners(entries: &mut Vec<Entry>, before: &[Listener], after: &[Listener]) {
    if before == after {
        return;
    }
    let place = |own: &Listener| Place::Listener(settings::listener_name(own));
    let pairs = Pairs::by(before, after, |own| own.endpoint);
    for own in pairs.gone {
        entries.push(Entry { at: place(own), how: How::Removed(settings::listener(own)) });
    }
    for (old, new) in pairs.both.into_iter().filter(|(old, new)| old != new) {
        let fields = |own| named(settings::listener(own), "on", settings::listener_name(own));
        push_changed(entries, place(new), &fields(old), &fields(new));
    }
    for own in pairs.new {
        entries.push(Entry { at: place(own), how: How::Added(settings::listener(own)) });
    }
}

fn certificates(entries: &mut Vec<Entry>, before: &MemoryTable, after: &MemoryTable) {
    let (before, after) = (&before.certificates, &after.certificates);
    if before == after {
        return;
    }
    let (old, new) = middles(before, after, |old, new| old == new);
    let before = before.get(old).unwrap_or_default();
    let after = after.get(new).unwrap_or_default();
    let pairs = Pairs::by(before, after, |own| own.name.to_lowercase());
    for own in pairs.gone {
        let how = How::Removed(settings::certificate(own));
        entries.push(Entry { at: Place::Certificate(own.name.clone()), how });
    }
    for (old, new) in pairs.both.into_iter().filter(|(old, new)| old != new) {
        let fields = |own: &crate::certificate::CertificateSource| {
            named(settings::certificate(own), "name", own.name.as_str())
        };
        let at = Place::Certificate(new.name.clone());
        push_changed(entries, at, &fields(old), &fields(new));
    }
    for own in pairs.new {
        let how = How::Added(settings::certificate(own));
        entries.push(Entry { at: Place::Certificate(own.name.clone()), how });
    }
}

/// A site with its bindings.
struct Whole<'a> {
    place: u32,
    site: &'a Site,
    bindings: &'a [Binding],
}

/// Every site with its bindings, in one pass: bindings stand site by site.
fn whole(table: &MemoryTable) -> Vec<Whole<'_>> {
    let mut rest = table.bindings.as_slice();
    let sites = (0..).zip(&table.sites).map(|(place, site)| {
        let count = rest.iter().take_while(|binding| binding.site == place).count();
        let (bindings, others) = rest.split_at_checked(count).unwrap_or_default();
        rest = others;
        Whole { place, site, bindings }
    });
    sites.collect()
}

/// Both tables, and what a place in the list of certificates before is called after.
struct Tables<'a> {
    before: &'a MemoryTable,
    after: &'a MemoryTable,
    same_certificates: bool,
}

fn sites(entries: &mut Vec<Entry>, before: &MemoryTable, after: &MemoryTable) {
    let names = (&before.certificates, &after.certificates);
    let same_certificates =
        names.0.iter().map(|own| &own.name).eq(names.1.iter().map(|own| &own.name));
    let tables = Tables { before, after, same_certificates };
    let (old, new) = (whole(before), whole(after));
    let pairs = pair_sites(&old, &new);
    for own in pairs.gone {
        let how = How::Removed(site(before, own.place));
        entries.push(Entry { at: Place::Site(own.site.name.clone()), how });
    }
    for (old, new) in pairs.both {
        if old.site != new.site {
            let fields = |own: &Site| named(site::own(own), "name", own.name.as_str());
            let at = Place::Site(new.site.name.clone());
            push_changed(entries, at, &fields(old.site), &fields(new.site));
        }
        bindings(entries, &tables, old, new);
        if old.site != new.site {
            routes(entries, old.site, new.site);
        }
    }
    for own in pairs.new {
        let how = How::Added(site(after, own.place));
        entries.push(Entry { at: Place::Site(own.site.name.clone()), how });
    }
}

/// Sites by name, and those that are left by number. What has its name at its place from the
/// beginning or from the end on is found without a look at the others.
fn pair_sites<'a>(old: &'a [Whole<'a>], new: &'a [Whole<'a>]) -> Pairs<'a, Whole<'a>> {
    let middles = middles(old, new, |old, new| old.site.name == new.site.name);
    let parts = |all: &'a [Whole<'a>], middle: Range<usize>| {
        let (rest, last) = all.split_at_checked(middle.end).unwrap_or_default();
        let (first, middle) = rest.split_at_checked(middle.start).unwrap_or_default();
        (first.iter().chain(last), middle)
    };
    let (old_ends, old_middle) = parts(old, middles.0);
    let (new_ends, new_middle) = parts(new, middles.1);
    let mut both: Vec<_> = old_ends.zip(new_ends).collect();
    let by_name = Pairs::by(old_middle, new_middle, |own| own.site.name.to_lowercase());
    let by_number = Pairs::by(by_name.gone, by_name.new, |own| own.site.id);
    both.extend(by_name.both);
    both.extend(by_number.both);
    both.sort_by_key(|(_, new)| new.place);
    Pairs { gone: by_number.gone, both, new: by_number.new }
}

fn bindings(entries: &mut Vec<Entry>, tables: &Tables<'_>, old: &Whole<'_>, new: &Whole<'_>) {
    let same = |(old, new): (&Binding, &Binding)| tables.same(old, new);
    let count = old.bindings.len();
    if count == new.bindings.len() && old.bindings.iter().zip(new.bindings).all(same) {
        return;
    }
    let name = &new.site.name;
    let place = |on: &BindingInformation| Place::Binding { site: name.clone(), on: on.to_string() };
    // A site may have one text twice: with the central store, and without.
    let key = |own: &Binding| (own.information.clone(), own.is_central_catch_all());
    let pairs = Pairs::by(old.bindings, new.bindings, key);
    let again = Pairs::by(pairs.gone, pairs.new, |own| own.information.clone());
    for own in again.gone {
        let how = How::Removed(site::binding(tables.before, own));
        entries.push(Entry { at: place(&own.information), how });
    }
    let both = pairs.both.into_iter().chain(again.both);
    for (old, new) in both.filter(|(old, new)| !tables.same(old, new)) {
        let fields = (site::binding(tables.before, old), site::binding(tables.after, new));
        push_changed(entries, place(&new.information), &fields.0, &fields.1);
    }
    for own in again.new {
        let how = How::Added(site::binding(tables.after, own));
        entries.push(Entry { at: place(&own.information), how });
    }
}

impl Tables<'_> {
    /// Whether two bindings are equal, wherever their sites and certificates stand in the lists.
    fn same(&self, old: &Binding, new: &Binding) -> bool {
        old.information == new.information
            && old.tls == new.tls
            && match (&old.certificate, &new.certificate) {
                (old, new) if self.same_certificates => old == new,
                (CertificateChoice::Listed(old), CertificateChoice::Listed(new)) => {
                    let same = |(old, new)| self.same_reference(old, new);
                    old.len() == new.len() && old.iter().zip(new).all(same)
                }
                (old, new) => old == new,
            }
    }

    fn same_reference(&self, old: &CertificateReference, new: &CertificateReference) -> bool {
        match (old, new) {
            (CertificateReference::Source(old), CertificateReference::Source(new)) => {
                let (old, new) = (self.before.certificate(*old), self.after.certificate(*new));
                match (old, new) {
                    (Some(old), Some(new)) => same_name(&old.name, &new.name),
                    (old, new) => old.is_none() && new.is_none(),
                }
            }
            _ => old == new,
        }
    }
}

fn routes(entries: &mut Vec<Entry>, old: &Site, new: &Site) {
    let place = |own: &Route| match own.kind {
        RouteKind::Application => {
            Place::Application { site: new.name.clone(), path: own.path.clone() }
        }
        RouteKind::VirtualDirectory => {
            Place::VirtualDirectory { site: new.name.clone(), path: own.path.clone() }
        }
    };
    let pairs = Pairs::by(&old.routes, &new.routes, |own| (own.kind, own.path.as_str()));
    for own in pairs.gone {
        entries.push(Entry { at: place(own), how: How::Removed(site::route(old, own)) });
    }
    for (before, after) in pairs.both {
        let fields = (site::route(old, before), site::route(new, after));
        push_changed(entries, place(after), &fields.0, &fields.1);
    }
    for own in pairs.new {
        entries.push(Entry { at: place(own), how: How::Added(site::route(new, own)) });
    }
}

/// The changes that make a difference, in an order in which they can be made.
///
/// They are exact where the text has no key that says again what is inherited, and no site two
/// bindings of one text. Where it may have such, read the result, take the difference again and
/// make what is left. Certificate records are left out: they are no part of a configuration.
#[must_use]
pub fn changes(difference: &Difference) -> Vec<Change> {
    let is_record = |entry: &&Entry| matches!(entry.at, Place::Record(_));
    difference.0.iter().filter(|entry| !is_record(entry)).map(change).collect()
}

fn change(entry: &Entry) -> Change {
    match &entry.how {
        How::Added(fields) => Change { at: entry.at.clone(), act: Act::Add(fields.clone()) },
        How::Removed(_) => Change { at: entry.at.clone(), act: Act::Remove },
        How::Changed(keys) => {
            let name = |key: &str| match keys.get(key) {
                Some((Some(Value::Text(before)), _)) => Some(before.clone()),
                _ => None,
            };
            // What is changed is still called as it was.
            let at = match &entry.at {
                Place::Listener(on) => Place::Listener(name("on").unwrap_or_else(|| on.clone())),
                Place::Certificate(own) => {
                    Place::Certificate(name("name").unwrap_or_else(|| own.clone()))
                }
                Place::Site(own) => Place::Site(name("name").unwrap_or_else(|| own.clone())),
                other => other.clone(),
            };
            let after = keys.iter().map(|(key, (_, after))| (key.clone(), after.clone()));
            Change { at, act: Act::Set(after.collect()) }
        }
    }
}
