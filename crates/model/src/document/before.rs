//! What was read of another text, for one that is nearly the same: a site that stands there letter
//! for letter is not read again, nor is a certificate.
//!
//! That a part of a text says the same wherever it stands is all that this rests on. What it depends
//! on beside its own letters is in [`Circumstances`], and what is said *about* a part, a problem, has
//! to be said anew, so such a part is read again. What is found by a look at all of them together
//! is looked for in all of them, whether they were read or taken over.

use std::{ops::Range, path::Path, sync::Arc};

use super::{
    BindingPosition, CertificatePosition, Configuration, NamedPath, Positions, SitePosition,
    certificate,
    cut::{Kind, Part},
};
use crate::{
    binding::Binding,
    certificate::CertificateSource,
    problem::{Code, Problem, Severity, Span},
    site::Site,
};

/// Where nothing fits any more, parts are looked for so many times as there are parts: what is
/// found then saves more than the search costs, and a text with nothing in common is given up.
const ROUNDS_MAX: usize = 8;

/// A text, and what was read of it.
#[derive(Clone, Copy, Debug)]
pub struct Before<'b> {
    /// The text.
    pub text: &'b str,
    /// Where its relative paths begin.
    pub folder: &'b Path,
    /// What it says.
    pub configuration: &'b Configuration,
    /// Where that stands.
    pub positions: &'b Positions,
    /// What is wrong with it.
    pub problems: &'b [Problem],
}

/// The parts of a text, and what they say.
#[derive(Debug)]
pub struct Known<'b> {
    before: Before<'b>,
    /// In the order of the text.
    parts: Vec<KnownPart<'b>>,
    /// For each site, its places among the paths.
    paths: Vec<Range<usize>>,
}

#[derive(Debug)]
struct KnownPart<'b> {
    text: &'b str,
    part: &'b Part,
    /// Its place in the list of its kind.
    place: usize,
    /// Whether it is read again: something is said about it, or it says so itself.
    again: bool,
}

/// A site that was read before, with its places in the text that is read now.
#[derive(Debug)]
pub struct KnownSite<'b> {
    /// The site.
    pub site: &'b Arc<Site>,
    /// Where it stands.
    pub position: SitePosition,
    /// The place of its first binding among all.
    pub first_binding: usize,
    /// Its bindings.
    pub bindings: Vec<(&'b Binding, BindingPosition)>,
    /// What it names.
    pub paths: Vec<NamedPath>,
}

impl<'b> Known<'b> {
    /// What can be taken over: nothing where the text had errors, or was read at once.
    #[must_use]
    pub fn of(before: Before<'b>) -> Option<Self> {
        let Before { text, configuration, positions, problems, .. } = before;
        if problems.iter().any(|problem| problem.severity() == Severity::Error) {
            return None;
        }
        let (mut sites, mut certificates, mut others) = (0, 0, 0);
        let part = |part: &'b Part| {
            let count = match part.kind {
                Kind::Site => &mut sites,
                Kind::Certificate => &mut certificates,
                Kind::Rest => &mut others,
            };
            let place = *count;
            *count += 1;
            let text = text.get(part.span.clone())?;
            Some(KnownPart { text, part, place, again: part.again })
        };
        let mut parts = positions.parts.iter().map(part).collect::<Option<Vec<_>>>()?;
        let table = &configuration.table;
        // Those of IIS's form stand in another text.
        let own = if configuration.records.is_some() { 0 } else { table.certificates.len() };
        if parts.is_empty() || (table.sites.len(), own) != (sites, certificates) {
            return None;
        }
        for problem in problems.iter().filter(|one| !is_between_sites(one.code)) {
            let part = part_with(&positions.parts, problem.span.start);
            if let Some(part) = part.and_then(|part| parts.get_mut(part)) {
                part.again = true;
            }
        }
        // Those of one site stand together.
        let mut paths = vec![0..0; sites];
        for (path, own) in positions.paths.iter().zip(0..) {
            let part = part_with(&positions.parts, path.span.start);
            if let Some(site) = part
                .filter(|part| positions.parts.get(*part).is_some_and(|own| own.kind == Kind::Site))
                .and_then(|part| paths.get_mut(parts.get(part)?.place))
            {
                *site = if site.end == 0 { own..own + 1 } else { site.start..own + 1 };
            }
        }
        Some(Self { before, parts, paths })
    }

    /// Walks over the parts, beside those of a text that is nearly the same.
    #[must_use]
    pub fn walk(&self) -> Walk<'_, 'b> {
        Walk { known: self, next: 0, comparisons_left: self.parts.len() * ROUNDS_MAX }
    }

    /// The text, and what was read of it.
    #[must_use]
    pub fn before(&self) -> Before<'b> {
        self.before
    }

    /// The texts of a kind of parts, in their order.
    pub fn texts(&self, kind: Kind) -> impl Iterator<Item = &'b str> {
        let own = self.parts.iter().filter(move |known| known.part.kind == kind);
        own.map(|known| known.text)
    }

    /// The texts of what else was of a part alone.
    pub fn elsewhere(&self, part: usize) -> impl Iterator<Item = &'b str> {
        let spans = self.parts.get(part).map(|known| known.part.elsewhere.as_slice());
        let spans = spans.unwrap_or_default().iter();
        spans.map(|span| self.before.text.get(span.clone()).unwrap_or_default())
    }

    /// Whether a part is read again though it stands there as it did.
    #[must_use]
    pub fn is_read_again(&self, part: usize) -> bool {
        self.parts.get(part).is_none_or(|known| known.again)
    }

    /// Whether a text was read under the same circumstances: what a site means depends on them.
    pub(super) fn fits(&self, folder: &Path, now: &Circumstances<'_>) -> bool {
        let Configuration { settings, table, .. } = self.before.configuration;
        let Circumstances { certificates, logged, central_store } = now;
        self.before.folder == folder
            && settings.access_log.is_some() == *logged
            && settings.central_store.is_some() == *central_store
            && certificates.strip_prefix(&*table.certificates).is_some_and(|more| {
                // What is named already is found at the same place. A name that reads as a hash
                // would take the place of what that hash stood for.
                more.iter().all(|one| certificate::digest(&one.name).is_none())
            })
    }

    /// The part at a place, unless it is read again.
    fn part(&self, part: usize) -> Option<&KnownPart<'b>> {
        self.parts.get(part).filter(|known| !known.again)
    }

    /// A certificate that is the same as before; its paths are taken from `folder`.
    pub(super) fn certificate(
        &self,
        folder: &Path,
        part: &Part,
    ) -> Option<(&'b CertificateSource, CertificatePosition)> {
        if self.before.folder != folder {
            return None;
        }
        let known = self.part(part.known?)?;
        let moved = |span: &Span| moved(span, known.part.span.start, part.span.start);
        let at = self.before.positions.certificates.get(known.place)?;
        let position = CertificatePosition {
            name: moved(&at.name),
            file: moved(&at.file),
            key: moved(&at.key),
            password_file: moved(&at.password_file),
        };
        Some((self.before.configuration.table.certificates.get(known.place)?, position))
    }

    /// A site that is the same as before.
    pub(super) fn site(&self, part: &Part) -> Option<KnownSite<'b>> {
        self.site_at(part.known?, part.span.start)
    }

    /// The site that a part is, which stands at `start` now; nothing where that is read again.
    #[must_use]
    pub fn site_at(&self, part: usize, start: usize) -> Option<KnownSite<'b>> {
        let known = self.part(part).filter(|known| known.part.kind == Kind::Site)?;
        let moved = |span: &Span| moved(span, known.part.span.start, start);
        let Before { configuration, positions, .. } = self.before;
        let table = &configuration.table;
        let own = u32::try_from(known.place).ok()?;
        let first = table.bindings.partition_point(|binding| binding.site < own);
        let bindings = table.bindings_of(own).zip(positions.bindings.iter().skip(first));
        let bindings = bindings.map(|(binding, at)| {
            let at = BindingPosition {
                on: moved(&at.on),
                certificate: moved(&at.certificate),
                client_ca: moved(&at.client_ca),
            };
            (binding, at)
        });
        let paths = positions.paths.get(self.paths.get(known.place)?.clone())?.iter();
        let paths = paths.map(|path| NamedPath { span: moved(&path.span), ..path.clone() });
        let at = positions.sites.get(known.place)?;
        Some(KnownSite {
            site: table.sites.get(known.place)?,
            position: SitePosition {
                name: moved(&at.name),
                action: moved(&at.action),
                number: at.number.as_ref().map(moved),
            },
            first_binding: first,
            bindings: bindings.collect(),
            paths: paths.collect(),
        })
    }
}

/// A place that moves with its part.
fn moved(span: &Span, from: usize, to: usize) -> Span {
    span.start - from + to..span.end - from + to
}

/// A walk over known parts.
#[derive(Debug)]
pub struct Walk<'k, 'b> {
    known: &'k Known<'b>,
    /// The part that comes next where nothing has changed.
    next: usize,
    comparisons_left: usize,
}

impl Walk<'_, '_> {
    /// Which part begins at a place of the text that is read now, and where it ends there; nothing
    /// where none does that was not passed already.
    pub fn at(&mut self, text: &str, at: usize) -> Option<(usize, usize)> {
        let rest = text.get(at..)?;
        for (place, part) in self.known.parts.iter().enumerate().skip(self.next) {
            self.comparisons_left = self.comparisons_left.checked_sub(1)?;
            if rest.as_bytes().starts_with(part.text.as_bytes()) {
                self.next = place + 1;
                return Some((place, at + part.text.len()));
            }
        }
        None
    }
}

/// The place of the part that something stands in.
fn part_with(parts: &[Part], at: usize) -> Option<usize> {
    let place = parts.partition_point(|part| part.span.start <= at).checked_sub(1)?;
    parts.get(place).filter(|part| at < part.span.end).map(|_| place)
}

/// What a site is read under.
pub(super) struct Circumstances<'c> {
    pub(super) certificates: &'c [CertificateSource],
    /// Whether there is a log.
    pub(super) logged: bool,
    pub(super) central_store: bool,
}

/// Whether a problem is looked for when all sites are known, whatever was taken over.
fn is_between_sites(code: Code) -> bool {
    matches!(
        code,
        Code::OrderDiffers
            | Code::NoCatchAll
            | Code::Unreachable
            | Code::UnusedCertificate
            | Code::IdleListener
            | Code::SecretServed
    )
}
