//! `httpErrors` and `httpProtocol`: pages of errors, and fields of answers.

use std::{path::PathBuf, rc::Rc};

use bindery_model::{
    document::{NamedPath, PathKind, is_field_value, is_of_the_server, is_token},
    problem::Code,
    rules::ErrorStatus,
};

use super::{
    sections::{Sections, Shared, Written},
    value::{self, word},
};
use crate::xml::Element;

/// Endings of files whose content is a page as it is.
const STATIC: [&str; 6] = ["htm", "html", "txt", "xml", "json", "svg"];

/// `httpErrors`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Errors {
    detailed: bool,
    pass_through: bool,
    pages: Vec<(u16, i32, Page)>,
}

/// Where the content of an error answer is.
#[derive(Clone, Debug, PartialEq)]
enum Page {
    /// Nowhere: Bindery has its own.
    Own,
    /// In a file.
    File(PathBuf),
    /// In a file of the site, by its path there.
    OfSite(String),
}

/// The word for a mode and the number of its value in the schema.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    File,
    ExecuteUrl,
    Redirect,
}

const MODES: [(&str, u32, Mode); 3] =
    [("File", 0, Mode::File), ("ExecuteURL", 1, Mode::ExecuteUrl), ("Redirect", 2, Mode::Redirect)];

impl Errors {
    /// Whether a page is found only where the site is known.
    pub(super) fn depend_on_site(&self) -> bool {
        self.pages.iter().any(|(.., page)| matches!(page, Page::OfSite(_)))
    }

    /// The pages by status; `file_of` says where a path of the site is.
    pub(super) fn pages(
        &self,
        file_of: impl Fn(&str) -> Option<PathBuf>,
    ) -> Vec<(ErrorStatus, PathBuf)> {
        if self.detailed || self.pass_through {
            return Vec::new();
        }
        let mut pages: Vec<_> = self
            .pages
            .iter()
            .filter_map(|(status, sub, page)| {
                let status = ErrorStatus { status: *status, sub: u16::try_from(*sub).ok() };
                Some(match page {
                    Page::Own => return None,
                    Page::File(path) => (status, path.clone()),
                    Page::OfSite(path) => (status, file_of(path)?),
                })
            })
            .collect();
        pages.sort_unstable();
        pages.dedup_by_key(|(status, _)| *status);
        pages
    }
}

impl Sections {
    pub(super) fn read_errors(&mut self, written: &Written<'_, '_>, shared: &mut Shared<'_>) {
        let errors = Rc::make_mut(&mut self.errors);
        let mut values = written.values(shared);
        let modes = [("DetailedLocalOnly", 0, false), ("Custom", 1, false), ("Detailed", 2, true)];
        let takes = "DetailedLocalOnly, Custom or Detailed";
        if let Some(detailed) = values.read("errorMode", takes, |text| word(text, &modes)) {
            errors.detailed = detailed;
        }
        let modes = [("Auto", 0, false), ("Replace", 1, false), ("PassThrough", 2, true)];
        let takes = "Auto, Replace or PassThrough";
        if let Some(pass) = values.read("existingResponse", takes, |text| word(text, &modes)) {
            errors.pass_through = pass;
        }
        for entry in written.children() {
            let status = entry.value("statusCode").and_then(|text| text.trim().parse::<u16>().ok());
            let sub = entry.value("subStatusCode");
            let sub = sub.and_then(|text| text.trim().parse().ok()).filter(|sub| *sub < 1000);
            let key = (status, sub.unwrap_or(-1));
            match entry.name() {
                "clear" => errors.pages.clear(),
                "remove" => errors.pages.retain(|(own, sub, _)| (Some(*own), *sub) != key),
                "error" => {
                    written.look_at(entry, "error", shared);
                    let Some(status) = status else {
                        let message = "an error needs a statusCode";
                        let (source, span) = (&*written.level.source, entry.tag());
                        shared.report.bad(source, span, message, "write it as statusCode=\"404\"");
                        continue;
                    };
                    if errors.pages.iter().any(|(own, sub, _)| (Some(*own), *sub) == key) {
                        written.twice(entry, &format!("{status}"), shared);
                        errors.pages.retain(|(own, sub, _)| (Some(*own), *sub) != key);
                    }
                    if let Some(page) = read_page(written, entry, shared) {
                        errors.pages.push((status, key.1, page));
                    }
                }
                _ => written.unknown(entry, shared),
            }
        }
        errors.pages.retain(|(status, ..)| (400..=599).contains(status));
    }

    pub(super) fn read_protocol(&mut self, written: &Written<'_, '_>, shared: &mut Shared<'_>) {
        for child in written.children() {
            match child.name() {
                "customHeaders" => {}
                "redirectHeaders" if child.child("add").is_none() => {}
                "redirectHeaders" => {
                    let message =
                        "httpProtocol/redirectHeaders: fields of redirects alone are not written";
                    written.hint(child.tag(), message, shared);
                }
                _ => written.unknown(child, shared),
            }
        }
        let headers = Rc::make_mut(&mut self.headers);
        for entry in written.children_of("customHeaders") {
            let name = entry.value("name").unwrap_or_default().into_owned();
            let same = |(own, _): &(String, String)| own.eq_ignore_ascii_case(&name);
            match entry.name() {
                "clear" => headers.clear(),
                "remove" => headers.retain(|own| !same(own)),
                "add" => {
                    written.look_at(entry, "customHeaders/add", shared);
                    if headers.iter().any(same) {
                        written.twice(entry, &name, shared);
                        headers.retain(|own| !same(own));
                    }
                    let value = entry.value("value").unwrap_or_default().trim().to_owned();
                    let why = if !is_token(&name) {
                        "it is no name of a field"
                    } else if !is_field_value(&value) {
                        "its value is not visible ASCII"
                    } else if is_of_the_server(&name) || name.eq_ignore_ascii_case("host") {
                        "the server writes it as it must be"
                    } else {
                        headers.push((name, value));
                        continue;
                    };
                    written.hint(entry.tag(), format!("the field {name:?}: {why}"), shared);
                }
                _ => written.unknown(entry, shared),
            }
        }
    }
}

fn read_page<'a>(
    written: &Written<'a, '_>,
    entry: Element<'a>,
    shared: &mut Shared<'_>,
) -> Option<Page> {
    let path = entry.value("path").unwrap_or_default().trim().to_owned();
    let takes = "File, ExecuteURL or Redirect";
    let mode =
        written.values_of(entry, shared).read("responseMode", takes, |text| word(text, &MODES));
    let (mode, span) = (mode.unwrap_or(Mode::File), value::place(entry, "path"));
    match mode {
        Mode::File => read_file(written, entry, &path, shared),
        Mode::ExecuteUrl => {
            let ending = path.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
            let is_static = ending.is_some_and(|ending| STATIC.contains(&ending.as_str()));
            if is_static && path.starts_with('/') && !path.split('/').any(|part| part == "..") {
                return Some(Page::OfSite(path));
            }
            let message = format!("ExecuteURL {path:?}: only static files of the site are pages");
            written.hint(span, message, shared);
            None
        }
        Mode::Redirect => {
            let message = format!("the page {path:?}: errors are answered and not redirected");
            written.hint(span, message, shared);
            None
        }
    }
}

fn read_file<'a>(
    written: &Written<'a, '_>,
    entry: Element<'a>,
    path: &str,
    shared: &mut Shared<'_>,
) -> Option<Page> {
    let prefix = entry.value("prefixLanguageFilePath").unwrap_or_default().trim().to_owned();
    let span = value::place(entry, "path");
    let stock = prefix.trim_end_matches('\\').to_ascii_lowercase().ends_with("\\inetpub\\custerr");
    if stock {
        return Some(Page::Own);
    }
    let absolute = path.starts_with(['\\', '/', '%']) || path.get(1..2) == Some(":");
    let whole = match prefix.is_empty() {
        true => path.to_owned(),
        // The folder of a language; no other is looked for.
        false => format!("{prefix}\\en-US\\{path}"),
    };
    if (absolute || !prefix.is_empty()) && written.level.source.is_delegated() {
        let message = format!("the page {whole:?}: a web.config names files below its own folder");
        let help = "write a relative path; IIS answers 500.19 here";
        let source = &*written.level.source;
        shared.report.problem((source, span), Code::BadWebConfig, message, help);
        return None;
    }
    let file = match absolute || !prefix.is_empty() {
        true => shared.folders.find(&whole, &main_span(written, span.clone()), "httpErrors")?,
        false => {
            let Some(folder) = written.level.folder else {
                let message = format!("the page {path:?}: it is in no folder that is known");
                written.hint(span, message, shared);
                return None;
            };
            let parts = path.split(['\\', '/']).filter(|part| !matches!(*part, "" | "." | ".."));
            parts.fold(folder.to_owned(), |whole, part| whole.join(part))
        }
    };
    let owner = written.level.owner.to_owned();
    let span = main_span(written, span);
    shared.paths.push(NamedPath { kind: PathKind::ErrorPage, path: file.clone(), span, owner });
    Some(Page::File(file))
}

/// Where something stands in `applicationHost.config`.
fn main_span(
    written: &Written<'_, '_>,
    span: bindery_model::problem::Span,
) -> bindery_model::problem::Span {
    written.level.source.in_main(span)
}
