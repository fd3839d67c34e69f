//! Reads `sites`: name, number, state, limits, what they inherit.

use std::sync::Arc;

use bindery_model::{
    document::SitePosition,
    problem::{Code, Problem, Span},
    rules::Hsts,
    site::{Site, SiteId, SiteLimits, SiteState},
};
use hashbrown::HashMap;

use super::{
    Found, Named, Reader,
    report::Source,
    support::{self, Kind},
    value::{self, boolean},
};
use crate::xml::Element;

/// What IIS writes for "no limit".
const NO_LIMIT: u64 = 4_294_967_295;
/// The most bytes of a name, as in `bindery.toml`.
const NAME_BYTES_MAX: usize = 255;

/// What sites do not say themselves.
#[derive(Clone, Copy, Default)]
pub(super) struct Defaults<'a> {
    pub(super) site: Option<Element<'a>>,
    pub(super) application: Option<Element<'a>>,
    pub(super) virtual_directory: Option<Element<'a>>,
}

/// Names and numbers that are taken.
#[derive(Default)]
pub(super) struct Taken {
    names: HashMap<String, Span>,
    numbers: HashMap<u32, (Span, String)>,
    next: u32,
}

impl<'a> Reader<'a> {
    pub(super) fn read_sites(&mut self, found: &Found<'a>) {
        let mut taken = Taken::default();
        let all = found.sites.iter().flat_map(|sites| sites.children_named("site"));
        let mut count = 0;
        for site in all.chain(found.loose.iter().copied()) {
            count += 1;
            let number = site.value("id").and_then(|id| id.trim().parse().ok());
            taken.next = taken.next.max(number.unwrap_or(0));
        }
        taken.names.reserve(count);
        taken.numbers.reserve(count);
        self.parts.sites.reserve(count);
        self.parts.positions.sites.reserve(count);
        self.parts.positions.parts.reserve(count);
        // Most have two.
        self.parts.bindings.reserve(2 * count);
        self.parts.positions.bindings.reserve(2 * count);
        self.shared.paths.reserve(count);
        for sites in &found.sites {
            let defaults = Defaults {
                site: sites.child("siteDefaults"),
                application: sites.child("applicationDefaults"),
                virtual_directory: sites.child("virtualDirectoryDefaults"),
            };
            for element in sites.children() {
                match element.name() {
                    "site" => self.read_site(element, &defaults, &mut taken),
                    "siteDefaults" => {
                        self.look_at(element, "sites/siteDefaults");
                        self.look_below(element, "sites/site");
                    }
                    "virtualDirectoryDefaults" => {
                        self.look_at(element, "sites/virtualDirectoryDefaults");
                    }
                    "applicationDefaults" => {}
                    name => {
                        let message = format!("<{name}> in sites is not known here");
                        self.shared.report.hint(&Source::Main, element.tag(), message);
                    }
                }
            }
        }
        for element in &found.loose {
            self.read_site(*element, &Defaults::default(), &mut taken);
        }
        self.drop_bindings_of_stopped_sites();
    }

    fn read_site(&mut self, element: Element<'a>, defaults: &Defaults<'a>, taken: &mut Taken) {
        if self.take(element, taken) {
            return;
        }
        let before = self.found_so_far();
        let elsewhere = self.locations_of(element).iter().map(|one| one.element.span()).collect();
        self.look_at(element, "sites/site");
        self.look_below(element, "sites/site");
        let named = self.read_name(element, taken);
        let id = self.read_number(element, &named, taken);
        let started = self.inherited(element, defaults, "serverAutoStart", boolean).unwrap_or(true);
        let limits = self.read_limits(element, defaults);
        let (hsts, to_https) = self.read_hsts(element, defaults);
        let log = self.read_log_file(element, defaults, &named.owner);
        let made = self.read_routes(element, defaults, &named, hsts);
        let name = element.value("name").unwrap_or_default().trim().to_owned();
        self.parts.sites.push(Arc::new(Site {
            id,
            name,
            state: if started { SiteState::Started } else { SiteState::Stopped },
            https_redirect: to_https,
            limits,
            access_log: log && !made.not_logged,
            ignore_case: true,
            root: made.root,
            routes: made.routes,
        }));
        let number = element.value("id").map(|_| value::place(element, "id"));
        let position = SitePosition { name: named.span.clone(), action: made.action_at, number };
        self.parts.positions.sites.push(position);
        self.read_bindings(element, &named, &made.client_certificate);
        let part = self.part_of(element, elsewhere, &before);
        self.parts.positions.parts.push(part);
    }

    /// Reports what is not served of an element.
    pub(super) fn look_at(&mut self, element: Element<'a>, path: &str) {
        if let Some(kind) = support::kind(path) {
            self.shared.report.attributes(&Source::Main, element, kind);
        }
    }

    /// Reports what is not served of the elements in one, at any depth.
    fn look_below(&mut self, element: Element<'a>, path: &str) {
        for child in element.children() {
            let name = child.name();
            match name {
                "bindings" | "application" | "virtualDirectoryDefaults" | "applicationDefaults" => {
                }
                _ => match support::kind(&format!("{path}/{name}")) {
                    Some(kind) => self.look_at_known(child, kind),
                    None => {
                        let message = format!("<{name}> of <{}> is not known here", element.name());
                        self.shared.report.hint(&Source::Main, child.tag(), message);
                    }
                },
            }
        }
    }

    fn look_at_known(&mut self, element: Element<'a>, kind: &'static Kind) {
        let report = &mut self.shared.report;
        report.attributes(&Source::Main, element, kind);
        let fields = element.child("customFields").filter(|list| list.child("add").is_some());
        if let Some(fields) = fields {
            let message = "customFields of <logFile>: further fields of a line are not written";
            report.hint(&Source::Main, fields.tag(), message);
        }
    }

    /// The name of a site, and how messages call it.
    pub(super) fn read_name(&mut self, element: Element<'a>, taken: &mut Taken) -> Named {
        let name = element.value("name").unwrap_or_default();
        let name = name.trim();
        let span = value::place(element, "name");
        let owner = match name {
            "" => "a site without name".to_owned(),
            name => format!("site {name:?}"),
        };
        let unusable = |c: char| matches!(c, '/' | '?' | '\\') || c.is_control();
        let wrong = if name.is_empty() {
            Some((Code::MissingKey, "a site needs a name".to_owned()))
        } else if let Some(letter) = name.chars().find(|c| unusable(*c)) {
            Some((Code::BadValue, format!("the name {name:?} cannot have {letter:?} in it")))
        } else if name.len() > NAME_BYTES_MAX {
            Some((Code::BadValue, format!("a name has at most {NAME_BYTES_MAX} bytes")))
        } else {
            None
        };
        if let Some((code, message)) = wrong {
            let problem = Problem::new(code, span.clone(), message, "write another name");
            self.shared.report.problems.push(problem);
        } else if let Err(first) = taken.names.try_insert(name.to_lowercase(), span.clone()) {
            let message = format!("two sites are called {name:?}");
            let help = "give each site a name of its own; case does not count";
            let problem = Problem::new(Code::DuplicateSite, span.clone(), message, help);
            let first = first.entry.get().clone();
            self.shared.report.problems.push(problem.with_related(first, "the first"));
        }
        Named { span, owner }
    }

    pub(super) fn read_number(
        &mut self,
        element: Element<'a>,
        named: &Named,
        taken: &mut Taken,
    ) -> SiteId {
        let read = |text: &str| text.parse().ok().filter(|number: &u32| *number > 0);
        let number = self.values(element).read("id", "a number from 1 on", read);
        let Some(number) = number else {
            taken.next = taken.next.saturating_add(1);
            return SiteId(taken.next);
        };
        let span = value::place(element, "id");
        if let Some((first, owner)) = taken.numbers.get(&number) {
            let message = format!("{} and {owner} both have the number {number}", named.owner);
            let help = "give each site a number of its own";
            let problem = Problem::new(Code::DuplicateSite, span, message, help);
            self.shared.report.problems.push(problem.with_related(first.clone(), "the first"));
        } else {
            taken.numbers.insert(number, (span, named.owner.clone()));
        }
        SiteId(number)
    }

    /// An attribute of a site, or of the defaults of all sites.
    fn inherited<T>(
        &mut self,
        element: Element<'a>,
        defaults: &Defaults<'a>,
        name: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        [Some(element), defaults.site]
            .into_iter()
            .flatten()
            .find_map(|one| self.values(one).read(name, "true or false", &read))
    }

    fn read_limits(&mut self, element: Element<'a>, defaults: &Defaults<'a>) -> SiteLimits {
        let both = [Some(element), defaults.site].map(|one| one?.child("limits"));
        let mut number = |name: &str| {
            both.into_iter()
                .flatten()
                .find_map(|one| self.values(one).number(name))
                .filter(|number| *number < NO_LIMIT)
        };
        SiteLimits {
            requests_max: number("maxConnections").and_then(|count| u32::try_from(count).ok()),
            bytes_per_second_max: number("maxBandwidth").filter(|bytes| *bytes > 0),
        }
    }

    /// `hsts`, and whether requests without TLS are sent to https.
    fn read_hsts(&mut self, element: Element<'a>, defaults: &Defaults<'a>) -> (Option<Hsts>, bool) {
        let both = [Some(element), defaults.site].map(|one| one?.child("hsts"));
        let Some(hsts) = both.into_iter().flatten().next() else { return (None, false) };
        let mut values = self.values(hsts);
        if values.boolean("enabled") != Some(true) {
            return (None, false);
        }
        let to_https = values.boolean("redirectHttpToHttps").unwrap_or(false);
        let hsts = Hsts {
            max_age: values.number("max-age").unwrap_or(0),
            include_subdomains: values.boolean("includeSubDomains").unwrap_or(false),
            preload: values.boolean("preload").unwrap_or(false),
        };
        (Some(hsts), to_https)
    }

    /// Whether a site is logged. Folder and format are the same for all; where one wants others it
    /// is told.
    fn read_log_file(
        &mut self,
        element: Element<'a>,
        defaults: &Defaults<'a>,
        owner: &str,
    ) -> bool {
        let own = element.child("logFile");
        let standard = defaults.site.and_then(|defaults| defaults.child("logFile"));
        let enabled = [own, standard].into_iter().flatten();
        let mut enabled = enabled.filter_map(|file| boolean(file.value("enabled")?.trim()));
        let enabled = enabled.next().unwrap_or(true);
        for (file, name, usual) in
            [(own, "directory", super::log::DIRECTORY), (own, "period", "Daily")]
        {
            let Some(value) = file.and_then(|file| file.value(name)) else { continue };
            let usual = standard.and_then(|file| file.value(name)).unwrap_or_else(|| usual.into());
            if enabled && !value.eq_ignore_ascii_case(&usual) {
                let message = format!(
                    "{name}={value:?} of <logFile> of {owner}: all sites are logged alike, as siteDefaults or access_log in bindery.toml says"
                );
                let span = file.map_or(0..0, |file| value::place(file, name));
                self.shared.report.hint(&Source::Main, span, message);
            }
        }
        if let Some(file) = own {
            self.report_log_format(file);
        }
        enabled
    }
}
