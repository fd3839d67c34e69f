//! Reads `[[site.applications]]` and `[[site.virtual_directories]]`: what answers below a path. Both
//! are read as the site itself, whose rules and options of files they inherit.

use std::sync::Arc;

use hashbrown::HashMap;

use super::{
    action, files,
    read::{Reader, Section, Text, called},
    rules, value,
};
use crate::{
    problem::{Code, Problem, Span},
    rules::Rules,
    site::{Files, Route, RouteAction},
};

/// The kinds of routes beside that of the site: the key, and what messages call one.
const KINDS: [(&str, &str); 2] =
    [("applications", "application"), ("virtual_directories", "virtual directory")];

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

/// Reads every route of a site, and tells which of them go by the site's own `rules` alone.
pub(super) fn read<'d>(
    reader: &mut Reader<'d>,
    site: &Section<'d>,
    inherited: &Inherited<'_>,
) -> Vec<Route> {
    let mut routes = Vec::new();
    let mut taken = Taken::default();
    for (key, what) in KINDS {
        let owner = |own: &Section<'d>| format!("{} of {}", called(what, own, "path"), site.owner);
        for section in reader.tables(site, key, owner) {
            routes.extend(read_route(reader, &section, what, inherited, &mut taken));
        }
    }
    routes
}

fn read_route<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    what: &str,
    inherited: &Inherited<'_>,
    taken: &mut Taken,
) -> Option<Route> {
    let is_application = what == "application";
    let actions: &[&str] = if is_application { &action::ACTIONS } else { &["root"] };
    let keys: Vec<&'static str> = ["path"]
        .iter()
        .chain(action::ACTIONS.iter().filter(|key| actions.contains(key)))
        .chain(&files::OPTIONS)
        .chain(&rules::KEYS)
        .copied()
        .collect();
    if !is_application {
        report_applications_keys(reader, section);
    }
    reader.known_beside(section, &keys, if is_application { &[] } else { &NOT_IN_DIRECTORIES });
    let path =
        reader.required_text(section, "path", if is_application { "/api" } else { "/images" });
    let path_at = path.as_ref().map_or_else(|| section.span.clone(), |path| path.span.clone());
    let path = path.and_then(|text| read_path(reader, section, &text, taken));
    let action = match is_application {
        true => action::read(reader, section, inherited.files, &path_at).0,
        false => read_folder(reader, section, inherited.files),
    };
    let rules = rules::read(reader, section, inherited.rules);
    let route = Route { path: path?, action, rules };
    rules::report_idle(reader, section, std::iter::once(&route));
    Some(route)
}

/// What an application can have and a virtual directory cannot.
const NOT_IN_DIRECTORIES: [&str; 4] = ["proxy", "fastcgi", "redirect", "respond"];

fn report_applications_keys(reader: &mut Reader<'_>, section: &Section<'_>) {
    for entry in NOT_IN_DIRECTORIES.into_iter().filter_map(|key| section.entry(key)) {
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
