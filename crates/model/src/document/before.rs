//! What was read of another text, for one that is nearly the same: a site that stands there letter
//! for letter is not read again, nor is a certificate.

use std::path::Path;

use hashbrown::HashMap;

use super::{
    BindingPosition, CertificatePosition, Configuration, NamedPath, Positions, SitePosition,
    certificate,
    cut::{Parts, cut},
};
use crate::{
    binding::Binding,
    certificate::CertificateSource,
    problem::{Code, Problem, Severity, Span},
    site::Site,
};

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

/// The sites of a text by theirs.
pub(super) struct Known<'b> {
    before: Before<'b>,
    parts: Parts,
    /// The place of a site by its text.
    places: HashMap<&'b str, usize>,
    /// The place of a certificate by its text.
    certificates: HashMap<&'b str, usize>,
    /// For each site, its places among the paths.
    paths: Vec<Vec<usize>>,
}

/// A site that was read before, with its places in the text that is read now.
pub(super) struct KnownSite<'b> {
    pub(super) site: &'b Site,
    pub(super) position: SitePosition,
    pub(super) bindings: Vec<(&'b Binding, BindingPosition)>,
    pub(super) paths: Vec<NamedPath>,
}

impl<'b> Known<'b> {
    /// What can be taken over: nothing where the text had errors, or was read at once.
    pub(super) fn of(before: Before<'b>) -> Option<Self> {
        if before.problems.iter().any(|problem| problem.severity() == Severity::Error) {
            return None;
        }
        let parts = cut(before.text)?;
        let place_of = |at: usize| place_in(&parts.sites, at);
        let table = &before.configuration.table;
        if table.sites.len() != parts.sites.len()
            || table.certificates.len() != parts.certificates.len()
        {
            return None;
        }
        let of_part = |part: &Span| before.text.get(part.clone()).unwrap_or_default();
        let mut places: HashMap<_, _> = parts.sites.iter().map(of_part).zip(0..).collect();
        let all = parts.certificates.iter();
        let mut certificates: HashMap<_, _> = all.map(of_part).zip(0..).collect();
        // What is said of a site has to be said again; what is found between sites is looked for
        // in all of them anyway. One thing is said of a site only where nothing was wrong above it.
        if before.problems.iter().any(|one| !is_between_sites(one.code)) {
            places.retain(|text, _| !text.contains("hsts"));
        }
        for problem in before.problems.iter().filter(|one| !is_between_sites(one.code)) {
            let at = problem.span.start;
            let part = place_of(at).and_then(|place| parts.sites.get(place));
            part.and_then(|part| places.remove(of_part(part)));
            let part = place_in(&parts.certificates, at);
            let part = part.and_then(|place| parts.certificates.get(place));
            part.and_then(|part| certificates.remove(of_part(part)));
        }
        let mut paths = vec![Vec::new(); parts.sites.len()];
        for (path, own) in before.positions.paths.iter().zip(0..) {
            if let Some(of_site) = place_of(path.span.start).and_then(|place| paths.get_mut(place))
            {
                of_site.push(own);
            }
        }
        Some(Self { before, parts, places, certificates, paths })
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

    /// A certificate by its text, which begins at `start` now; its paths are taken from `folder`.
    pub(super) fn certificate(
        &self,
        folder: &Path,
        text: &str,
        start: usize,
    ) -> Option<(&'b CertificateSource, CertificatePosition)> {
        if self.before.folder != folder {
            return None;
        }
        let place = *self.certificates.get(text)?;
        let from = self.parts.certificates.get(place)?.start;
        let moved = |span: &Span| span.start - from + start..span.end - from + start;
        let at = self.before.positions.certificates.get(place)?;
        let position = CertificatePosition {
            name: moved(&at.name),
            file: moved(&at.file),
            key: moved(&at.key),
            password_file: moved(&at.password_file),
        };
        Some((self.before.configuration.table.certificates.get(place)?, position))
    }

    /// A site by its text, which begins at `start` now.
    pub(super) fn site(&self, text: &str, start: usize) -> Option<KnownSite<'b>> {
        let place = *self.places.get(text)?;
        let Before { configuration, positions, .. } = self.before;
        let from = self.parts.sites.get(place)?.start;
        let moved = |span: &Span| span.start - from + start..span.end - from + start;
        let table = &configuration.table;
        let own = u32::try_from(place).ok()?;
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
        let paths = self.paths.get(place)?.iter().filter_map(|at| positions.paths.get(*at));
        let paths = paths.map(|path| NamedPath { span: moved(&path.span), ..path.clone() });
        let at = positions.sites.get(place)?;
        Some(KnownSite {
            site: table.sites.get(place)?,
            position: SitePosition {
                name: moved(&at.name),
                action: moved(&at.action),
                number: at.number.as_ref().map(moved),
            },
            bindings: bindings.collect(),
            paths: paths.collect(),
        })
    }
}

/// The place of the part that something stands in.
fn place_in(parts: &[Span], at: usize) -> Option<usize> {
    let place = parts.partition_point(|part| part.start <= at).checked_sub(1)?;
    parts.get(place).filter(|part| at < part.end).map(|_| place)
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
