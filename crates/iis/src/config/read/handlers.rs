//! `handlers`: which program answers for which paths. Those of FastCGI are run where the table
//! `[fastcgi]` of the `bindery.toml` beside the file says which server stands for their program.

use std::rc::Rc;

use bindery_model::{
    problem::{Code, Problem},
    upstream::ServerAddress,
};

use super::{
    sections::{Sections, Shared, Written},
    value::place,
};
use crate::xml::Element;

/// What is to be done about a program without a server; the line of `[fastcgi]` follows.
const ADD: &str = "add to bindery.toml beside this file, below [fastcgi]: ";

/// The server that is proposed.
const SERVER: &str = "unix:/run/php/php-fpm.sock";

/// Modules that answer with files, or with nothing of their own.
const OF_FILES: [&str; 6] = [
    "StaticFileModule",
    "DefaultDocumentModule",
    "DirectoryListingModule",
    "ProtocolSupportModule",
    "HttpRedirectionModule",
    "CustomErrorModule",
];

/// The lines that `[fastcgi]` lacks, as problems propose them: a program of Windows, and the server
/// that could stand for it here.
pub(super) fn proposed_programs(problems: &[Problem]) -> Vec<(String, ServerAddress)> {
    let unmapped = problems.iter().filter(|problem| problem.code == Code::UnmappedPath);
    let lines = unmapped.filter_map(|problem| problem.help.strip_prefix(ADD));
    let programs = lines.filter_map(|line| {
        let (key, value) = line.split_once(" = ")?;
        let socket = value.trim_matches('"').strip_prefix("unix:")?;
        Some((key.trim_matches('\'').to_owned(), ServerAddress::Unix(socket.into())))
    });
    programs.collect()
}

/// Which servers stand for programs of Windows.
#[derive(Default)]
pub(super) struct Programs {
    mapped: Vec<(String, ServerAddress)>,
    /// Those that nothing stands for, each told once.
    missing: Vec<String>,
    /// How often nothing stood for one.
    pub(super) missing_count: usize,
}

impl Programs {
    pub(super) fn new(mapped: &[(String, ServerAddress)]) -> Self {
        let mapped = mapped.iter().map(|(key, server)| (folded(key), server.clone())).collect();
        Self { mapped, ..Self::default() }
    }

    fn find(&self, program: &str) -> Option<&ServerAddress> {
        let program = folded(program);
        self.mapped.iter().find(|(own, _)| *own == program).map(|(_, server)| server)
    }
}

/// Paths of Windows have no case, and slashes of either kind.
fn folded(program: &str) -> String {
    program.replace('/', "\\").to_lowercase()
}

/// `handlers`, in the order in which they are asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Handlers {
    list: Vec<Handler>,
    /// Whether programs may not run, by `accessPolicy`.
    no_scripts: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct Handler {
    name: String,
    /// The endings that it is for, lower case, where it is for endings.
    endings: Vec<String>,
    /// The server that runs it, of FastCGI.
    server: Option<ServerAddress>,
}

impl Handlers {
    /// The server that runs scripts, and their endings. It is one: that of the first script.
    pub(super) fn scripts(&self) -> Option<(ServerAddress, Vec<String>)> {
        if self.no_scripts {
            return None;
        }
        let mut asked: Vec<&String> = Vec::new();
        let mut found: Option<(ServerAddress, Vec<String>)> = None;
        for handler in &self.list {
            for ending in &handler.endings {
                // The first that is for an ending answers.
                if asked.contains(&ending) {
                    continue;
                }
                asked.push(ending);
                match (&mut found, &handler.server) {
                    (None, Some(server)) => found = Some((server.clone(), vec![ending.clone()])),
                    (Some((own, endings)), Some(server)) if own == server => {
                        endings.push(ending.clone());
                    }
                    _ => {}
                }
            }
        }
        found
    }
}

impl Sections {
    pub(super) fn read_handlers(&mut self, written: &Written<'_, '_>, shared: &mut Shared<'_>) {
        let handlers = Rc::make_mut(&mut self.handlers);
        if let Some(policy) = written.element.value("accessPolicy") {
            let may =
                |word: &str| policy.split(',').any(|own| own.trim().eq_ignore_ascii_case(word));
            handlers.no_scripts = !may("Script") && !may("Execute");
        }
        let mut added: Vec<Handler> = Vec::new();
        for entry in written.children() {
            let name = entry.value("name").unwrap_or_default().into_owned();
            let is_other = |own: &Handler| !own.name.eq_ignore_ascii_case(&name);
            match entry.name() {
                "clear" => {
                    handlers.list.clear();
                    added.clear();
                }
                "remove" => {
                    handlers.list.retain(is_other);
                    added.retain(is_other);
                }
                "add" => {
                    let path = entry.value("path").unwrap_or_default();
                    let endings: Option<Vec<String>> = path.split(',').map(ending).collect();
                    let server = server_of(entry, &path, endings.is_some(), written, shared);
                    let endings = endings.unwrap_or_default();
                    added.push(Handler { name, endings, server });
                }
                _ => written.unknown(entry, shared),
            }
        }
        // As in IIS, those of an inner level are asked before the others.
        handlers.list.splice(0..0, added);
    }
}

/// The ending of `*.php`.
fn ending(path: &str) -> Option<String> {
    let ending = path.trim().strip_prefix("*.")?;
    let plain = !ending.is_empty() && ending.bytes().all(|byte| byte.is_ascii_alphanumeric());
    plain.then(|| ending.to_ascii_lowercase())
}

/// The server of a handler, where it is one of FastCGI and has one; otherwise it is told.
fn server_of(
    entry: Element<'_>,
    path: &str,
    by_ending: bool,
    written: &Written<'_, '_>,
    shared: &mut Shared<'_>,
) -> Option<ServerAddress> {
    let modules = entry.value("modules").unwrap_or_default();
    let has = |name: &str| modules.split(',').any(|own| own.trim().eq_ignore_ascii_case(name));
    let program = entry.value("scriptProcessor").unwrap_or_default();
    if !has("FastCgiModule") {
        // Those of the server are there in every installation.
        if written.level.folder.is_some() && !OF_FILES.iter().any(|name| has(name)) {
            let what = meaning(&modules, &program, entry.value("type").is_some());
            let message = format!("the handler of {path:?} does not run: {what}");
            written.hint(entry.tag(), message, shared);
        }
        return None;
    }
    if !by_ending {
        let message = format!(
            "the handler of {path:?} does not run: FastCGI is for endings, as \"*.php\"; [[site]] in bindery.toml has proxy for programs that answer for every path"
        );
        written.hint(entry.tag(), message, shared);
        return None;
    }
    // What stands behind the bar are its arguments.
    let program = program.split('|').next().unwrap_or_default();
    let program = shared.folders.expanded(program.trim().trim_matches('"'));
    let found = shared.programs.find(&program).cloned();
    shared.programs.missing_count += usize::from(found.is_none());
    if found.is_none() && !shared.programs.missing.contains(&folded(&program)) {
        shared.programs.missing.push(folded(&program));
        let message = format!(
            "{path} is run by {program:?}, and nothing says which FastCGI server stands for it here: its scripts are answered 404"
        );
        let help = format!("{ADD}'{program}' = \"{SERVER}\"");
        let span = place(entry, "scriptProcessor");
        let source = &*written.level.source;
        shared.report.problem((source, span), Code::UnmappedPath, message, help);
    }
    found
}

/// What becomes of a handler that is not run, and what to do about it.
fn meaning(modules: &str, program: &str, is_managed: bool) -> &'static str {
    let has = |name: &str| [modules, program].iter().any(|text| text.to_lowercase().contains(name));
    if has("aspnetcore") {
        "run the ASP.NET Core program as a service, and give [[site]] in bindery.toml proxy for its address"
    } else if has("iisnode") || has("httpplatformhandler") {
        "run its program as a service, and give [[site]] in bindery.toml proxy for its address"
    } else if is_managed || has("aspnet") || has("isapimodule") {
        "ASP.NET and ISAPI stay on Windows; rules of rewrite or [[site]] in bindery.toml can hand requests to a server there"
    } else if has("cgimodule") {
        "CGI programs are not started; FastCGI and proxies are served"
    } else {
        "its module is one of IIS"
    }
}
