//! Reads `[[site.applications]]` and `[[site.virtual_directories]]`: what answers below a path. Both
//! are read as the site itself, whose rules and options of files they inherit.

use std::sync::Arc;

use hashbrown::HashMap;

use super::{
    action, files, pools,
    read::{Reader, Section, Text, called},
    rules, value,
};
use crate::{
    problem::{Code, Problem, Span},
    rules::Rules,
    site::{Files, Route, RouteAction, RouteKind},
};

impl RouteKind {
    /// The key of all of them.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Application => "applications",
            Self::VirtualDirectory => "virtual_directories",
        }
    }

    /// What messages call one.
    fn name(self) -> &'static str {
        match self {
            Self::Application => "application",
            Self::VirtualDirectory => "virtual directory",
        }
    }

    fn example(self) -> &'static str {
        match self {
            Self::Application => "/api",
            Self::VirtualDirectory => "/images",
        }
    }

    /// The keys of one.
    fn keys(self) -> Vec<&'static str> {
        let (own, actions) = match self {
            Self::Application => {
                (["path", "application_pool"].as_slice(), action::ACTIONS.as_slice())
            }
            Self::VirtualDirectory => (["path"].as_slice(), ["root"].as_slice()),
        };
        let options = files::OPTIONS.iter().chain(&rules::KEYS);
        own.iter().chain(actions).chain(options).copied().collect()
    }
}

/// What a site hands down.
pub(super) struct Inherited<'a> {
    pub(super) rules: &'a Arc<Rules>,
    pub(super) files: &'a Files,
}

/// The paths of a site that are taken.
#[derive(Default)]
struct Taken {
    /// By path: where it stands.
    paths: HashMap<String, Span>,
    /// By path in lower case: the path, and where it stands.
    folded: HashMap<String, (String, Span)>,
}

/// Reads every route of a site, applications first.
pub(super) fn read<'d>(
    reader: &mut Reader<'d>,
    site: &Section<'d>,
    inherited: &Inherited<'_>,
) -> Vec<Route> {
    let mut routes = Vec::new();
    let mut taken = Taken::default();
    for kind in [RouteKind::Application, RouteKind::VirtualDirectory] {
        let owner =
            |own: &Section<'d>| format!("{} of {}", called(kind.name(), own, "path"), site.owner);
        for section in reader.tables(site, kind.key(), owner) {
            routes.extend(read_route(reader, &section, kind, inherited, &mut taken));
        }
    }
    routes
}

fn read_route<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    kind: RouteKind,
    inherited: &Inherited<'_>,
    taken: &mut Taken,
) -> Option<Route> {
    let path = reader.required_text(section, "path", kind.example());
    let path_at = path.as_ref().map_or_else(|| section.span.clone(), |path| path.span.clone());
    let path = path.and_then(|text| read_path(reader, section, &text, taken));
    let action = match kind {
        RouteKind::Application => {
            reader.known(section, &kind.keys());
            action::read(reader, section, inherited.files, &path_at).0
        }
        RouteKind::VirtualDirectory => {
            report_other_actions(reader, section);
            reader.known_beside(section, &kind.keys(), &action::ACTIONS);
            read_folder(reader, section, inherited.files)
        }
    };
    let rules = rules::read(reader, section, inherited.rules);
    rules::report_idle(reader, section);
    let pool = match kind {
        RouteKind::Application => pools::read_pool(reader, section),
        RouteKind::VirtualDirectory => None,
    };
    Some(Route { kind, path: path?, action, rules, pool })
}

/// Reports what an application can have and a virtual directory cannot.
fn report_other_actions(reader: &mut Reader<'_>, section: &Section<'_>) {
    let others = action::ACTIONS.into_iter().filter(|key| *key != "root");
    for entry in others.filter_map(|key| section.entry(key)) {
        let message = format!("{}: a virtual directory has files only", section.owner);
        let help = format!("write [[site.applications]] for {}", entry.key);
        reader.problem(Code::Exclusive, entry.key_span, message, help);
    }
}

fn read_folder<'d>(reader: &mut Reader<'d>, section: &Section<'d>, options: &Files) -> RouteAction {
    let read = files::read(reader, section, options);
    if section.entry("root").is_none() {
        let message = format!("{}: root is missing", section.owner);
        let help = "add a line such as root = \"/srv/images\"";
        reader.problem(Code::MissingKey, section.span.clone(), message, help);
    }
    read.map_or_else(action::nothing, |(files, _)| RouteAction::Files(files))
}

/// Reads where a route begins, if no other does.
fn read_path(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    text: &Text<'_>,
    taken: &mut Taken,
) -> Option<String> {
    let path = text.value;
    let wrong = match value::site_path(path) {
        // Without a slash at the end too, which would be wrong next.
        Err(wrong) if path.ends_with('/') && !path.starts_with('/') => {
            let help = format!("write \"/{}\"", path.trim_end_matches('/'));
            Some(value::Wrong { help, ..wrong })
        }
        Err(wrong) => Some(wrong),
        Ok(()) if path == "/" => {
            let help = "write what answers there beside the name of the site";
            Some(value::Wrong::whole(path, "the path / is the site's own", help))
        }
        Ok(()) if path.ends_with('/') => {
            let help = format!(
                "write {:?}: it stands for itself and all below",
                path.trim_end_matches('/')
            );
            Some(value::Wrong::whole(path, "a slash ends the path", help))
        }
        Ok(()) => None,
    };
    if let Some(wrong) = wrong {
        reader.wrong(Code::BadValue, section, text, wrong);
        return None;
    }
    if let Some(first) = taken.paths.get(path) {
        let message = format!("{}: another answers at {path:?}", section.owner);
        let help = "give each application and virtual directory a path of its own";
        let problem = Problem::new(Code::DuplicateRoute, text.span.clone(), message, help);
        reader.problems.push(problem.with_related(first.clone(), "the first"));
        return None;
    }
    let folded = path.to_lowercase();
    if let Some((other, first)) = taken.folded.get(&folded) {
        let message = format!("{}: {path:?} and {other:?} differ in case only", section.owner);
        let help = "both are served, as case counts in paths here; in IIS it does not";
        let problem = Problem::new(Code::CaseDiffers, text.span.clone(), message, help);
        reader.problems.push(problem.with_related(first.clone(), "the other"));
    }
    taken.paths.insert(path.to_owned(), text.span.clone());
    taken.folded.entry(folded).or_insert_with(|| (path.to_owned(), text.span.clone()));
    Some(path.to_owned())
}
