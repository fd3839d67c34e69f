//! What was in force when: each site's state in each revision, and what a client may have seen.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bindery_control::applier::Current;
use bindery_model::{
    change::{Fields, Value},
    document::write,
};

use super::ground::MARK;

/// What a site is in a revision, or seems to be to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It answers with this mark.
    Marked(String),
    /// It is stopped.
    Stopped,
    /// There is none, or none is reached.
    Absent,
}

/// What a client has seen of a site, and the revisions between which that was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sight {
    pub(crate) site: String,
    /// In force before the request.
    pub(crate) first: u64,
    /// In force after the answer.
    pub(crate) last: u64,
    pub(crate) seen: Seen,
}

type Sites = BTreeMap<String, Seen>;

/// Every revision that was in force.
#[derive(Default)]
pub(crate) struct Timeline(Mutex<BTreeMap<u64, Sites>>);

impl Timeline {
    fn revisions(&self) -> MutexGuard<'_, BTreeMap<u64, Sites>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what is in force now.
    pub(crate) fn keep(&self, current: &Current) {
        let table = &current.configuration.table;
        let names = table.sites.iter().map(|site| site.name.clone());
        let sites = (0..).map(|place| seen(&write::site(table, place)));
        let known = self.revisions().insert(current.revision, names.zip(sites).collect());
        assert!(known.is_none(), "revision {} came twice", current.revision);
    }

    /// How many there were.
    pub(crate) fn len(&self) -> usize {
        self.revisions().len()
    }

    /// Whether a site was ever seen so.
    pub(crate) fn was(&self, site: &str, seen: &Seen) -> bool {
        self.revisions().values().any(|sites| sites.get(site) == Some(seen))
    }

    /// Every number between the first and the last has one.
    pub(crate) fn check_numbers(&self) {
        let revisions = self.revisions();
        let numbers: Vec<_> = revisions.keys().copied().collect();
        let all: Vec<_> = (numbers[0]..=numbers[numbers.len() - 1]).collect();
        assert_eq!(numbers, all);
    }

    /// What was seen was in force while it was seen.
    pub(crate) fn check(&self, sight: &Sight) {
        let revisions = self.revisions();
        let state = |sites: &Sites| sites.get(&sight.site).cloned().unwrap_or(Seen::Absent);
        let possible: Vec<_> =
            revisions.range(sight.first..=sight.last).map(|(_, sites)| state(sites)).collect();
        assert!(possible.contains(&sight.seen), "{sight:?}, and in force were {possible:?}");
    }
}

/// What the keys of a site say of it.
pub(crate) fn seen(keys: &Fields) -> Seen {
    if keys.get("state") == Some(&Value::Text("stopped".to_owned())) {
        return Seen::Stopped;
    }
    let table = |value: &Value, key: &str| match value {
        Value::Table(table) => table.get(key).cloned(),
        _ => None,
    };
    let set = keys.get("response_headers").and_then(|headers| table(headers, "set"));
    match set.and_then(|set| table(&set, MARK)) {
        Some(Value::Text(mark)) => Seen::Marked(mark),
        _ => Seen::Marked(String::new()),
    }
}
