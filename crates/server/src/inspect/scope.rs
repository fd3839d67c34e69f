//! What of a configuration is looked at: all of it, or what a change brought. A site that was broken
//! before is in nobody's way, and a change costs what it changes.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    sync::Arc,
};

use bindery_model::{
    binding::Binding,
    certificate::{CertificateChoice, CertificateFiles, CertificateReference},
    document::{Configuration, NamedPath, PathKind, Positions},
    table::MemoryTable,
};

use crate::tls::index::IndexedCertificates;

/// What of a configuration is looked at.
#[derive(Debug)]
pub struct Scope {
    pub(super) bindings: Places,
    pub(super) certificates: Places,
    pub(super) paths: Places,
    pub(super) central_store: bool,
}

/// Places in a list.
#[derive(Debug)]
pub(super) enum Places {
    All,
    Some(HashSet<usize>),
}

impl Places {
    pub(super) fn has(&self, place: usize) -> bool {
        match self {
            Self::All => true,
            Self::Some(places) => places.contains(&place),
        }
    }
}

impl FromIterator<usize> for Places {
    fn from_iter<T: IntoIterator<Item = usize>>(places: T) -> Self {
        Self::Some(places.into_iter().collect())
    }
}

impl Scope {
    /// Everything.
    #[must_use]
    pub fn all() -> Self {
        Self {
            bindings: Places::All,
            certificates: Places::All,
            paths: Places::All,
            central_store: true,
        }
    }

    /// What `now` has and `before` has not; and of what both have, what may fare otherwise because
    /// something else is gone: a binding that takes the best certificate of those there are.
    #[must_use]
    pub fn between(
        before: (&Configuration, &Positions),
        now: (&Configuration, &Positions),
    ) -> Self {
        let (then, table) = (&before.0.table, &now.0.table);
        let old: HashSet<_> = then.certificates.iter().map(|source| &source.files).collect();
        let new: HashSet<_> = table.certificates.iter().map(|source| &source.files).collect();
        let fewer = old.iter().any(|files| !new.contains(files));
        let central_store = before.0.settings.central_store != now.0.settings.central_store;
        let known: HashMap<_, _> =
            then.bindings.iter().map(|binding| (&binding.information, binding)).collect();
        let differs = |binding: &Binding| {
            let known = known.get(&binding.information);
            let same = known.is_some_and(|other| {
                other.tls == binding.tls && is_same_choice((then, other), (table, binding))
            });
            let depends = match &binding.certificate {
                CertificateChoice::Central => central_store,
                CertificateChoice::Best => fewer,
                CertificateChoice::Listed(all) => {
                    fewer && !all.iter().all(|one| matches!(one, CertificateReference::Source(_)))
                }
            };
            !same || depends
        };
        let paths: HashSet<_> = before.1.paths.iter().map(key).collect();
        let places = 0_usize..;
        Self {
            bindings: pick(table.bindings.iter().zip(places.clone()), differs),
            certificates: pick(table.certificates.iter().zip(places.clone()), |source| {
                !old.contains(&source.files)
            }),
            paths: pick(now.1.paths.iter().zip(places), |path| !paths.contains(&key(path))),
            central_store,
        }
    }

    /// What is in the certificates that an inspection of this scope asks for. Where `known` says
    /// what was in those of another table, only the others are read; otherwise those that are asked
    /// for, which are all where a binding takes the best. Blocks.
    #[must_use]
    pub fn certificates(
        &self,
        table: &MemoryTable,
        known: Option<(&Arc<IndexedCertificates>, &MemoryTable)>,
    ) -> Arc<IndexedCertificates> {
        let sources = &table.certificates;
        if let Some((known, before)) = known {
            return IndexedCertificates::after(known, &before.certificates, sources);
        }
        Arc::new(match self.asked(table) {
            Some(places) => IndexedCertificates::read_some(sources, &places),
            None => IndexedCertificates::read(sources),
        })
    }

    /// Whether a binding of it asks for what is in all certificates.
    #[must_use]
    pub fn asks_all_certificates(&self, table: &MemoryTable) -> bool {
        self.asked(table).is_none()
    }

    /// Whether the binding at a place of the table is looked at.
    #[must_use]
    pub fn has_binding(&self, place: usize) -> bool {
        self.bindings.has(place)
    }

    /// Whether the certificate at a place of the table is looked at.
    #[must_use]
    pub fn has_certificate(&self, place: usize) -> bool {
        self.certificates.has(place)
    }

    /// Whether the path at a place of the positions is looked at.
    #[must_use]
    pub fn has_path(&self, place: usize) -> bool {
        self.paths.has(place)
    }

    /// The places of the certificates that are asked for; `None` for all.
    fn asked(&self, table: &MemoryTable) -> Option<HashSet<usize>> {
        let Places::Some(places) = &self.certificates else { return None };
        let mut asked = places.clone();
        for (binding, _) in table.bindings.iter().zip(0..).filter(|(_, at)| self.bindings.has(*at))
        {
            match &binding.certificate {
                CertificateChoice::Central => {}
                CertificateChoice::Best => return None,
                CertificateChoice::Listed(all) => {
                    for one in all {
                        let CertificateReference::Source(id) = one else { return None };
                        asked.insert(id.0 as usize);
                    }
                }
            }
        }
        Some(asked)
    }

    /// Whether a binding of it takes its certificate from the central store.
    pub(super) fn asks_central(&self, table: &MemoryTable) -> bool {
        let is_central = |binding: &Binding| binding.certificate == CertificateChoice::Central;
        match &self.bindings {
            Places::All => table.bindings.iter().any(is_central),
            Places::Some(places) => {
                places.iter().filter_map(|place| table.bindings.get(*place)).any(is_central)
            }
        }
    }
}

fn pick<'a, T: 'a>(
    all: impl Iterator<Item = (&'a T, usize)>,
    which: impl Fn(&T) -> bool,
) -> Places {
    all.filter(|(one, _)| which(one)).map(|(_, place)| place).collect()
}

fn key(path: &NamedPath) -> (PathKind, &Path, &str) {
    (path.kind, &path.path, &path.owner)
}

/// Whether two bindings want the same certificates, whatever place those have.
fn is_same_choice(
    (then, one): (&MemoryTable, &Binding),
    (now, other): (&MemoryTable, &Binding),
) -> bool {
    match (&one.certificate, &other.certificate) {
        (CertificateChoice::Listed(one), CertificateChoice::Listed(other)) => {
            let is_same = |(one, other): (&_, &_)| meant(then, one) == meant(now, other);
            one.len() == other.len() && one.iter().zip(other).all(is_same)
        }
        (one, other) => one == other,
    }
}

/// A reference by what it leads to.
#[derive(PartialEq, Eq)]
enum Meant<'a> {
    Files(Option<&'a CertificateFiles>),
    Leaf(&'a CertificateReference),
}

fn meant<'a>(table: &'a MemoryTable, reference: &'a CertificateReference) -> Meant<'a> {
    match reference {
        CertificateReference::Source(id) => {
            Meant::Files(table.certificate(*id).map(|source| &source.files))
        }
        leaf => Meant::Leaf(leaf),
    }
}
