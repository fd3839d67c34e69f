//! Sites that were read of another text, for one that is nearly the same.
//!
//! A site that stands there letter for letter is passed over while the text is read, and taken over.
//! What it says depends on more than its own letters: on what holds for all, which must be the same
//! or everything is read; on each `location` of its name and on certificate records of its bindings,
//! which must be the same or the site is read; and on files, which who reads knows to be the same.
//! What is found by a look at all sites together is looked for in all of them.

use std::{collections::BTreeSet, sync::Arc};

use bindery_model::{
    binding::{Binding, BindingInformation, Protocol},
    document::{Before, Document, Known, KnownSite, Part, PartKind},
    problem::Span,
    record::RecordKey,
};
use hashbrown::HashSet;

use super::{Found, Location, Reader, sections::Shared, sites::Taken};
use crate::{
    config::Sources,
    netsh::records::Records,
    xml::{self, ELEMENTS_MAX, Element, Passed},
};

/// Where a site stands that can be passed over. As elsewhere it is read with everything else.
const PATH: [&str; 4] = ["configuration", "system.applicationHost", "sites", "site"];

/// Sites that are taken over.
pub(super) struct Taking<'a> {
    known: &'a Known<'a>,
    /// Where they stand, in the order of the text, and which part of the other text they are.
    found: Vec<(usize, usize)>,
    next: usize,
}

/// Reads a text after another that was read with `records`; nothing where too much differs.
pub(super) fn read(
    sources: &Sources<'_>,
    before: Before<'_>,
    records: &Records,
) -> Option<Document> {
    if before.folder != sources.folder {
        return None;
    }
    // How many elements there are is not known of what is passed over.
    if sources.text.bytes().filter(|byte| *byte == b'<').count() > ELEMENTS_MAX {
        return None;
    }
    let known = Known::of(before)?;
    let changed = sources.records.differing(records);
    let mut again = BTreeSet::new();
    loop {
        let mut found = Vec::new();
        let mut walk = known.walk();
        let mut end = |at: usize| {
            let (part, end) = walk.at(sources.text, at)?;
            (!known.is_read_again(part) && !again.contains(&part)).then(|| {
                found.push((at, part));
                end
            })
        };
        let passed = Passed { path: &PATH, end: &mut end };
        let tree = xml::parse_passing(sources.text, Some(passed)).ok()?;
        let mut reader = Reader::new(sources);
        let sites = reader.read_around(tree.root());
        if !reader.is_alike(&known) {
            return None;
        }
        let others = reader.others(&known, &sites, &found, &changed);
        if others.is_empty() {
            reader.ruler.sites = &before.configuration.table.sites;
            reader.taking = Some(Taking { known: &known, found, next: 0 });
            reader.read_sites(&sites);
            return Some(reader.finish());
        }
        // What those say is not in the tree: they were passed over.
        again.extend(others);
    }
}

impl<'a> Reader<'a> {
    /// Notes what is of no site: it may hold for all. Only where sites stand as in files of IIS.
    pub(super) fn note_rest(&mut self, root: Element<'a>, found: &Found<'a>) {
        let [own, host_name, sites_name, _] = PATH;
        let mut hosts = root.children_named("system.applicationHost");
        let (Some(host), None, [sites], []) =
            (hosts.next(), hosts.next(), found.sites.as_slice(), found.loose.as_slice())
        else {
            return;
        };
        let is_in = |element: Element<'a>, parent: Element<'a>| {
            element.parent().is_some_and(|above| above.id() == parent.id())
        };
        if (root.name(), sites.name()) != (own, sites_name) || !is_in(*sites, host) {
            return;
        }
        debug_assert_eq!(host.name(), host_name, "as it was asked for");
        let of_sites = self.locations.values().flatten().map(|location| location.element.id());
        let of_sites: HashSet<_> = of_sites.collect();
        let above = root.children().filter(|one| {
            one.id() != host.id() && !(one.name() == "location" && of_sites.contains(&one.id()))
        });
        let beside = host.children().filter(|one| one.id() != sites.id());
        let within = sites.children().filter(|one| one.name() != "site");
        let mut spans: Vec<_> = above.chain(beside).chain(within).map(Element::span).collect();
        // Begin and end, so that nothing can go from one into another unseen.
        for around in [root, host, *sites] {
            spans.extend([around.tag(), around.content().end..around.span().end]);
        }
        spans.sort_by_key(|span| (span.start, span.end));
        let rest = spans.into_iter().map(|span| Part::new(PartKind::Rest, span));
        self.parts.positions.parts.extend(rest);
        self.in_parts = true;
    }

    /// Whether what holds for all is as it was.
    fn is_alike(&self, known: &Known<'_>) -> bool {
        let text = |part: &Part| self.sources.text.get(part.span.clone());
        self.in_parts
            && self.parts.positions.parts.iter().filter_map(text).eq(known.texts(PartKind::Rest))
            && self.parts.settings == known.before().configuration.settings
    }

    /// Which sites that were found say something else than they did.
    fn others(
        &self,
        known: &Known<'_>,
        sites: &Found<'a>,
        found: &[(usize, usize)],
        changed: &BTreeSet<&RecordKey>,
    ) -> Vec<usize> {
        let mut found = found.iter().peekable();
        let mut others = Vec::new();
        for site in sites.sites.iter().flat_map(|sites| sites.children_named("site")) {
            let Some((at, part)) = found.next_if(|(at, _)| *at == site.span().start) else {
                continue;
            };
            let locations = self.locations_of(site).iter().map(|one| one.element.source());
            let same = locations.eq(known.elsewhere(*part))
                && (changed.is_empty() || !has_record(known, (*at, *part), changed));
            if !same {
                others.push(*part);
            }
        }
        others
    }

    /// What `location` elements say of a site.
    pub(super) fn locations_of(&self, site: Element<'a>) -> &[Location<'a>] {
        if self.locations.is_empty() {
            return &[];
        }
        let name = site.value("name").unwrap_or_default().trim().to_lowercase();
        self.locations.get(&name).map(Vec::as_slice).unwrap_or_default()
    }

    /// Takes a site over, where it was read before.
    pub(super) fn take(&mut self, element: Element<'a>, taken: &mut Taken) -> bool {
        let at = element.span().start;
        let Some(taking) = &mut self.taking else { return false };
        let Some((_, part)) = taking.found.get(taking.next).filter(|(own, _)| *own == at) else {
            return false;
        };
        taking.next += 1;
        let known = taking.known;
        let Some(site) = known.site_at(*part, at) else { return false };
        let before = self.found_so_far();
        // Its name and number must be no other's.
        let named = self.read_name(element, taken);
        self.read_number(element, &named, taken);
        self.take_site(known, site);
        let elsewhere = self.locations_of(element).iter().map(|one| one.element.span()).collect();
        if !self.locations.is_empty() {
            let name = element.value("name").unwrap_or_default().trim().to_lowercase();
            self.locations.remove(&name);
        }
        let part = self.part_of(element, elsewhere, &before);
        self.parts.positions.parts.push(part);
        true
    }

    fn take_site(&mut self, known: &Known<'_>, known_site: KnownSite<'_>) {
        let KnownSite { site, position, first_binding, bindings, paths } = known_site;
        let number = u32::try_from(self.parts.sites.len()).unwrap_or(u32::MAX);
        self.parts.sites.push(Arc::clone(site));
        self.parts.positions.sites.push(position);
        let flags = ssl_flags(known).get(first_binding..first_binding + bindings.len());
        let records = self.parts.records.get_or_insert_default();
        records.ssl_flags.extend_from_slice(flags.unwrap_or_default());
        for (binding, position) in bindings {
            self.parts.bindings.push(Binding { site: number, ..binding.clone() });
            self.parts.positions.bindings.push(position);
        }
        self.shared.paths.extend(paths);
    }

    /// What was found so far, to see what a site adds.
    pub(super) fn found_so_far(&self) -> SoFar {
        SoFar {
            problems: self.shared.report.problems.len(),
            paths: self.shared.paths.len(),
            missing: self.missing_count(),
        }
    }

    fn missing_count(&self) -> usize {
        let Shared { folders, programs, .. } = &self.shared;
        folders.missing_count + programs.missing_count
    }

    /// The part that a site is which was just read, or taken over.
    pub(super) fn part_of(
        &self,
        element: Element<'a>,
        elsewhere: Vec<Span>,
        before: &SoFar,
    ) -> Part {
        let own = element.span();
        let is_own = |span: &Span| own.start <= span.start && span.end <= own.end;
        let problems = self.shared.report.problems.iter().skip(before.problems);
        let mut problems = problems.flat_map(|problem| {
            std::iter::once(&problem.span).chain(problem.related.iter().map(|(span, _)| span))
        });
        let mut paths = self.shared.paths.iter().skip(before.paths).map(|path| &path.span);
        let is_numbered = element.value("id").is_some();
        let mut part = Part::new(PartKind::Site, own.clone());
        part.elsewhere = elsewhere;
        part.again = !is_numbered
            || before.missing != self.missing_count()
            || !problems.all(is_own)
            || !paths.all(is_own);
        part
    }
}

/// How much was found.
pub(super) struct SoFar {
    problems: usize,
    paths: usize,
    /// Folders that are nowhere, which are told together, and programs, which are told once.
    missing: usize,
}

fn ssl_flags<'k>(known: &'k Known<'_>) -> &'k [u32] {
    let records = known.before().configuration.records.as_ref();
    records.map(|records| records.ssl_flags.as_slice()).unwrap_or_default()
}

/// Whether a binding of a site looks for one of these records.
fn has_record(
    known: &Known<'_>,
    (at, part): (usize, usize),
    changed: &BTreeSet<&RecordKey>,
) -> bool {
    let Some(KnownSite { first_binding, bindings, .. }) = known.site_at(part, at) else {
        return true;
    };
    let flags = ssl_flags(known).iter().skip(first_binding);
    bindings.iter().zip(flags).any(|((binding, _), flags)| {
        let BindingInformation { host, endpoint, protocol } = &binding.information;
        *protocol == Protocol::Https
            && RecordKey::candidates(host, *endpoint, *flags)
                .iter()
                .any(|key| changed.contains(key))
    })
}
