//! What of a configuration is looked at: all of it, or what a change brought. A site that was broken
//! before is in nobody's way, and a change costs what it changes.

use std::{
    collections::{HashMap, HashSet},
    ffi::OsStr,
    ops::Range,
    sync::Arc,
};

use bindery_model::{
    apart,
    binding::{Binding, BindingInformation, Protocol},
    certificate::{CertificateChoice, CertificateFiles, CertificateReference},
    document::{Configuration, NamedPath, PathKind, Positions},
    record::RecordKey,
    table::MemoryTable,
    trap::RecordStand,
};

use crate::tls::index::IndexedCertificates;

/// What of a configuration is looked at.
#[derive(Debug)]
pub struct Scope {
    pub(super) bindings: Places,
    pub(super) certificates: Places,
    pub(super) paths: Places,
    pub(super) central_store: bool,
    /// In IIS's form, where something is asked for: what is in force.
    pub(super) asked: Asked,
}

/// What comes new, where certificates are in records.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// The bindings that were not there, by their places: each with the one of its site that it
    /// takes the place of, if that can be told.
    pub(super) bindings: HashMap<usize, Option<BindingInformation>>,
    /// Records that were not there, or named another certificate.
    pub(super) records: HashMap<RecordKey, RecordStand>,
    /// Whether somebody wrote it into the file.
    pub(super) in_file: bool,
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
            asked: Asked::default(),
        }
    }

    /// The same, for what stands in the file already.
    #[must_use]
    pub fn written_by_hand(mut self) -> Self {
        self.asked.in_file = true;
        self
    }

    /// What `now` has and `before` has not; and of what both have, what may fare otherwise because
    /// something else is gone: a binding that takes the best certificate of those there are.
    #[must_use]
    pub fn between(
        before: (&Configuration, &Positions),
        now: (&Configuration, &Positions),
    ) -> Self {
        let (then, table) = (&before.0.table, &now.0.table);
        let (gone, new) = (&then.certificates, &table.certificates);
        let middles = apart::middles(gone, new, |old, new| old.files == new.files);
        let old: HashSet<_> = within(gone, &middles.0).map(|(source, _)| &source.files).collect();
        let certificates = pick(within(new, &middles.1), |source| !old.contains(&source.files));
        let new: HashSet<_> = within(new, &middles.1).map(|(source, _)| &source.files).collect();
        let fewer = old.iter().any(|files| !new.contains(files));

        let central_store = before.0.settings.central_store != now.0.settings.central_store;
        let same = |old: &Binding, new: &Binding| {
            old.information == new.information
                && old.tls == new.tls
                && is_same_choice((then, old), (table, new))
        };
        let (gone, new) = apart::middles(&then.bindings, &table.bindings, same);
        let known: HashMap<_, _> = within(&then.bindings, &gone)
            .map(|(binding, _)| (&binding.information, binding))
            .collect();
        let bindings = pick(within(&table.bindings, &new), |binding| {
            !known.get(&binding.information).is_some_and(|old| same(old, binding))
        });
        let depends = |binding: &Binding| match &binding.certificate {
            CertificateChoice::Central => central_store,
            CertificateChoice::None => false,
            CertificateChoice::Best => fewer,
            CertificateChoice::Listed(all) => {
                fewer && !all.iter().all(|one| matches!(one, CertificateReference::Source(_)))
            }
        };
        let all = 0..table.bindings.len();
        let bindings = bindings.chain(pick(within(&table.bindings, &all), depends));

        let (gone, new) =
            apart::middles(&before.1.paths, &now.1.paths, |old, new| key(old) == key(new));
        let known: HashSet<_> = within(&before.1.paths, &gone).map(|(path, _)| key(path)).collect();
        let paths = pick(within(&now.1.paths, &new), |path| !known.contains(&key(path)));
        Self {
            bindings: bindings.collect(),
            certificates: certificates.collect(),
            paths: paths.collect(),
            central_store,
            asked: Asked::between(before.0, now.0),
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
                CertificateChoice::Central | CertificateChoice::None => {}
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

impl Asked {
    fn between(before: &Configuration, now: &Configuration) -> Self {
        let Some(records) = &now.records else { return Self::default() };
        let known = before.records.as_ref();
        let stands = records.certificates.iter().filter_map(|(key, certificate)| {
            let stand = match known.and_then(|own| own.certificates.get(key)) {
                None => RecordStand::Asked,
                Some(before) if before == certificate => return None,
                Some(_) => RecordStand::Changed,
            };
            Some((key.clone(), stand))
        });
        let records = stands.collect();
        let (then, table) = (&before.table, &now.table);
        let same = |old: &Binding, new: &Binding| {
            old.information == new.information && then.site(old).name == table.site(new).name
        };
        let (gone, new) = apart::middles(&then.bindings, &table.bindings, same);
        let keys = |table: &MemoryTable, part: &Range<usize>| -> HashSet<_> {
            let all = within(&table.bindings, part).map(|(binding, _)| binding);
            let secure = all.filter(|own| own.information.protocol == Protocol::Https);
            secure.map(|own| (table.site(own).name.clone(), own.information.clone())).collect()
        };
        let places = within(&table.bindings, &new);
        let (old, new) = (keys(then, &gone), keys(table, &new));
        let mut gone: HashMap<&str, Vec<&BindingInformation>> = HashMap::new();
        for (site, information) in old.difference(&new) {
            gone.entry(site).or_default().push(information);
        }
        let mut came: HashMap<&str, usize> = HashMap::new();
        for (site, _) in new.difference(&old) {
            *came.entry(site).or_default() += 1;
        }
        let bindings = places.filter_map(|(own, place)| {
            let site = table.site(own).name.clone();
            let key = (site, own.information.clone());
            if own.information.protocol != Protocol::Https || old.contains(&key) {
                return None;
            }
            let moved =
                match (gone.get(key.0.as_str()).map(Vec::as_slice), came.get(key.0.as_str())) {
                    (Some([one]), Some(1)) => Some((*one).clone()),
                    _ => None,
                };
            Some((place, moved))
        });
        Self { bindings: bindings.collect(), records, in_file: false }
    }
}

/// A part of a list, each with its place in the whole.
fn within<'a, T>(all: &'a [T], part: &Range<usize>) -> impl Iterator<Item = (&'a T, usize)> {
    all.get(part.clone()).unwrap_or_default().iter().zip(part.start..)
}

fn pick<'a, T: 'a>(
    all: impl Iterator<Item = (&'a T, usize)>,
    which: impl Fn(&'a T) -> bool,
) -> impl Iterator<Item = usize> {
    all.filter(move |(one, _)| which(one)).map(|(_, place)| place)
}

/// By the letters of the path: to compare paths as such takes them apart each time.
fn key(path: &NamedPath) -> (PathKind, &OsStr, &str) {
    (path.kind, path.path.as_os_str(), &path.owner)
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
