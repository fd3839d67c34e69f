//! What this machine says against a configuration. Only what a change brings is looked at; what was
//! wrong before is remembered, with its place, and is in nobody's way.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    sync::Arc,
};

use bindery_model::{
    document::{Configuration, NamedPath, PathKind, Positions},
    problem::{Code, Problem, Severity, Span},
};
use bindery_server::{
    clock,
    inspect::{Scope, inspect},
    snapshot::Snapshot,
    tls::index::IndexedCertificates,
};

use super::{Current, Inner, Writer};
use crate::problems::{PlacedProblem, all_placed};

/// A configuration with its places in the text.
pub(super) type Read<'a> = (&'a Configuration, &'a Positions);

/// What an inspection came to.
pub(super) struct Inspected {
    /// Everything that is known to be wrong now.
    pub(super) machine: Vec<Problem>,
    /// Errors that were not there before.
    pub(super) new_errors: Vec<Problem>,
    /// What is in the certificates.
    pub(super) certificates: Arc<IndexedCertificates>,
}

impl Current {
    pub(super) fn read(&self) -> Read<'_> {
        (&self.configuration, &self.positions)
    }
}

/// Inspects what `next` brings beside `current`; everything when it is `anew`, and as what somebody
/// wrote into the file when it is that.
pub(super) fn inspected(
    writer: &Writer,
    current: Read<'_>,
    next: Read<'_>,
    serving: Option<&Snapshot>,
    (anew, by_hand): (bool, bool),
) -> Inspected {
    let now = clock::now();
    let table = &next.0.table;
    if anew {
        let certificates = Arc::new(IndexedCertificates::read(&table.certificates));
        let found = inspect(next, &certificates, now, &Scope::all());
        let then = &current.0.table.certificates;
        let before = IndexedCertificates::after(&certificates, &table.certificates, then);
        let mut before = inspect(current, &before, now, &Scope::all());
        if writer.inspected {
            // Files that were broken since are news; what time alone has brought is not.
            before.retain(|problem| is_of_time(problem.code));
        }
        before.extend_from_slice(&writer.machine);
        let new_errors = new_errors(&found, &before);
        return Inspected { machine: found, new_errors, certificates };
    }
    let scope = Scope::between(current, next);
    let scope = if by_hand { scope.written_by_hand() } else { scope };
    let known = serving.and_then(|snapshot| match scope.asks_all_certificates(table) {
        true => Some(snapshot.certificates_now()),
        false => snapshot.known_certificates(),
    });
    let certificates =
        scope.certificates(table, known.as_ref().map(|known| (known, &current.0.table)));
    let found = inspect(next, &certificates, now, &scope);
    let new_errors = new_errors(&found, &writer.machine);
    let machine = with(carried(&writer.machine, current, next, &scope), found);
    Inspected { machine, new_errors, certificates }
}

impl Inner {
    /// Looks at everything that is in force. Gives what is wrong, and what of it was known before.
    pub(super) fn inspect(&self) -> [Arc<Vec<PlacedProblem>>; 2] {
        let current = Arc::clone(&self.shown().current);
        let snapshot = self.running.get().map(|running| running.server.snapshot());
        let snapshot = snapshot.filter(|snapshot| snapshot.revision.0 == current.revision);
        let certificates = match snapshot {
            Some(snapshot) => snapshot.certificates_now(),
            None => {
                let sources = &current.configuration.table.certificates;
                Arc::new(IndexedCertificates::read(sources))
            }
        };
        let found = inspect(current.read(), &certificates, clock::now(), &Scope::all());
        let mut writer = self.writer();
        let now = Arc::clone(&self.shown().current);
        writer.machine = match Arc::ptr_eq(&now, &current) {
            true => found,
            // Changes that were made meanwhile have looked at what they brought.
            false => {
                let scope = Scope::between(current.read(), now.read());
                let old = carried(&found, current.read(), now.read(), &scope);
                with(old, std::mem::take(&mut writer.machine))
            }
        };
        writer.inspected = true;
        let problems = all(&now.problems, &writer.machine);
        let file = now.home.path.display().to_string();
        let placed = Arc::new(all_placed(&problems, &file, &now.text));
        let before = std::mem::replace(&mut self.shown().problems, Arc::clone(&placed));
        [placed, before]
    }
}

/// Problems of a text and of the machine, in the order of the text.
pub(super) fn all(text: &[Problem], machine: &[Problem]) -> Vec<Problem> {
    let mut all = [text, machine].concat();
    all.sort_by_key(|problem| problem.span.start);
    all
}

/// Whether a problem comes by time alone, with nobody changing anything.
fn is_of_time(code: Code) -> bool {
    matches!(code, Code::Expired | Code::NotYetValid)
}

fn new_errors(found: &[Problem], before: &[Problem]) -> Vec<Problem> {
    let known: HashSet<_> = before.iter().map(said).collect();
    let errors = found.iter().filter(|problem| problem.severity() == Severity::Error);
    errors.filter(|problem| !known.contains(&said(problem))).cloned().collect()
}

/// What makes two problems one: their places may differ.
fn said(problem: &Problem) -> (Code, &str) {
    (problem.code, &problem.message)
}

/// Both, each once.
fn with(mut old: Vec<Problem>, new: Vec<Problem>) -> Vec<Problem> {
    let known: HashSet<_> = new.iter().map(said).collect();
    old.retain(|problem| !known.contains(&said(problem)));
    old.extend(new);
    old.sort_by_key(|problem| problem.span.start);
    old
}

/// Of `problems`, which are those of `before`, the ones about what `now` has too and `scope` does
/// not look at again; at the places that those have now.
fn carried(problems: &[Problem], before: Read<'_>, now: Read<'_>, scope: &Scope) -> Vec<Problem> {
    if problems.is_empty() {
        return Vec::new();
    }
    let mut places = Places(problems.iter().map(|one| (one.span.start, None)).collect());
    let (then, table) = (&before.0.table, &now.0.table);

    let new = table.bindings.iter().zip(&now.1.bindings).zip(0..);
    let new: HashMap<_, _> = new
        .filter(|(_, place)| !scope.has_binding(*place))
        .map(|((binding, position), _)| (&binding.information, position))
        .collect();
    for (binding, old) in then.bindings.iter().zip(&before.1.bindings) {
        if let Some(new) = new.get(&binding.information) {
            places.moved(&old.on, &new.on);
            places.moved(&old.certificate, &new.certificate);
            places.moved(&old.client_ca, &new.client_ca);
        }
    }

    let new = table.certificates.iter().zip(&now.1.certificates).zip(0..);
    let new: HashMap<_, _> = new
        .filter(|(_, place)| !scope.has_certificate(*place))
        .map(|((source, position), _)| (source, position))
        .collect();
    for (source, old) in then.certificates.iter().zip(&before.1.certificates) {
        if let Some(new) = new.get(source) {
            places.moved(&old.name, &new.name);
            places.moved(&old.file, &new.file);
            places.moved(&old.key, &new.key);
            places.moved(&old.password_file, &new.password_file);
        }
    }

    let wanted: Vec<_> =
        before.1.paths.iter().filter(|path| places.0.contains_key(&path.span.start)).collect();
    if !wanted.is_empty() {
        let new = now.1.paths.iter().zip(0..).filter(|(_, place)| !scope.has_path(*place));
        let new: HashMap<_, _> = new.map(|(path, _)| (key(path), &path.span)).collect();
        for old in wanted {
            if let Some(new) = new.get(&key(old)) {
                places.moved(&old.span, new);
            }
        }
    }

    if let (Some(old), Some(new)) = (&before.1.central_store, &now.1.central_store)
        && before.0.settings.central_store == now.0.settings.central_store
    {
        places.moved(old, new);
    }

    let carry = |problem: &Problem| {
        let span = places.0.get(&problem.span.start).cloned().flatten()?;
        Some(Problem { span, ..problem.clone() })
    };
    problems.iter().filter_map(carry).collect()
}

fn key(path: &NamedPath) -> (PathKind, &Path, &str) {
    (path.kind, &path.path, &path.owner)
}

/// Where the places that problems point to are now, as far as they are anywhere.
struct Places(HashMap<usize, Option<Span>>);

impl Places {
    fn moved(&mut self, old: &Span, new: &Span) {
        if let Some(place) = self.0.get_mut(&old.start) {
            *place = Some(new.clone());
        }
    }
}
