//! From the text of `bindery.toml` to a [`Document`].
//!
//! Everything is read in one pass, whatever is wrong on the way: a value that is not understood
//! costs that value, never the rest of the file. Nothing here looks at a file of the machine.

use std::path::Path;

use toml_edit::Table;

use super::{
    Configuration, Document, Parts, Positions, Settings,
    before::{Before, Known},
    certificate,
    cut::{self, cut},
    read::Reader,
    settings, site,
};
use crate::problem::{Code, Problem, Span};

/// The largest text that is read. A hundred thousand sites fit into a third of it; more belong
/// into the store.
pub const DOCUMENT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Reads the text of a configuration, finding everything that is wrong with it. Relative paths are
/// taken from `folder`. A text that is no TOML gives an empty configuration and one problem.
#[must_use]
pub fn parse(text: &str, folder: &Path) -> Document {
    parse_known(text, folder, None)
}

/// The same, for a text that is nearly that which stood there `before`: what is the same in both
/// is taken over, so that it costs what differs.
#[must_use]
pub fn parse_after(text: &str, folder: &Path, before: Before<'_>) -> Document {
    parse_known(text, folder, Known::of(before).as_ref())
}

/// So many lines before an error are left out to find one behind which the text is whole.
const LINES_LEFT_OUT_MAX: usize = 32;

/// The settings of a text alone, in a small part of the time that all of it takes. Of a text that
/// is no TOML, those that stand before the error: while somebody edits it, others have to find
/// where its server is.
#[must_use]
pub fn parse_settings(text: &str, folder: &Path) -> Settings {
    let rest = cut(text, None).map(|parts| parts.rest);
    let mut text = rest.as_deref().unwrap_or(text);
    for _ in 0..LINES_LEFT_OUT_MAX {
        let Err(error) = toml_edit::Document::parse(text) else { break };
        let at = error.span().map_or(0, |span| span.start).min(text.len());
        let bytes = text.as_bytes().get(..at).unwrap_or_default();
        // The line of the error, or where that is at the end of the text, the last one.
        let line = bytes.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
        text = text.get(..line).unwrap_or_default();
    }
    parse(text, folder).configuration.settings
}

fn parse_known(text: &str, folder: &Path, known: Option<&Known<'_>>) -> Document {
    if text.len() > DOCUMENT_BYTES_MAX {
        let message =
            format!("the file has {} bytes, and {DOCUMENT_BYTES_MAX} are read", text.len());
        let help = "keep that many sites in the store";
        return Document::unread(Problem::new(Code::TooLarge, 0..0, message, help));
    }
    in_parts(text, folder, known).unwrap_or_else(|| whole(text, folder))
}

/// Reads a text a part at a time; nothing where that cannot be, or where a part is no TOML.
pub(super) fn in_parts(text: &str, folder: &Path, known: Option<&Known<'_>>) -> Option<Document> {
    let parts = cut(text, known)?;
    let rest = toml_edit::Document::parse(parts.rest.as_str()).ok()?;
    let root = rest.as_table();
    if ["site", "certificate"].into_iter().any(|key| root.contains_key(key)) {
        return None;
    }
    let mut read = read((text, folder), root, Some(&parts.things), known)?;
    read.positions.parts = parts.things;
    Some(read)
}

/// Reads a text at once.
pub(super) fn whole(text: &str, folder: &Path) -> Document {
    match toml_edit::Document::parse(text) {
        Ok(parsed) => read((text, folder), parsed.as_table(), None, None).unwrap_or_else(|| {
            Document::unread(Problem::new(Code::Syntax, 0..0, "the file is not TOML", ""))
        }),
        Err(error) => Document::unread(syntax(text, &error)),
    }
}

fn read<'d>(
    (text, folder): (&'d str, &'d Path),
    root: &'d Table,
    parts: Option<&[cut::Part]>,
    known: Option<&Known<'_>>,
) -> Option<Document> {
    let mut reader = Reader::new(text, folder);
    reader.site_keys = site::keys();
    // Others have these too.
    reader.site_keys.retain(|key| !["name", "id"].contains(key));
    let root = reader.root(root);
    let mut positions = Positions::default();
    settings::read_version(&mut reader, &root);
    reader.deciding(|reader| {
        let keys = ["version", "server", "listener", "certificate", "site", "paths", "fastcgi"];
        reader.known(&root, &keys)
    });
    let mut settings = settings::read_server(&mut reader, &root, &mut positions);
    let listeners =
        reader.deciding(|reader| settings::read_listeners(reader, &root, &mut positions));
    let central_store = settings::names_central_store(&root);
    let certificates = certificate::read(&mut reader, &root, central_store, (parts, known))?;
    let sites = site::read(&mut reader, &root, &certificates, (parts, known))?;
    settings.paths = settings::read_paths(&mut reader, &root, !sites.sites.is_empty());
    settings.fastcgi = settings::read_programs(&mut reader, &root, !sites.sites.is_empty());

    positions.sites = sites.positions;
    positions.bindings = sites.binding_positions;
    positions.certificates = certificates.positions;
    let Reader { problems, incomplete, paths, .. } = reader;
    positions.paths = paths;
    let parts = Parts {
        settings,
        listeners,
        sites: sites.sites,
        bindings: sites.bindings,
        certificates: certificates.sources,
        records: None,
        positions,
        problems,
        incomplete,
    };
    Some(parts.finish())
}

impl Document {
    /// What a text gives of which nothing can be understood, and why not.
    #[must_use]
    pub fn unread(problem: Problem) -> Self {
        Self {
            configuration: Configuration::default(),
            positions: Positions::default(),
            problems: vec![problem],
        }
    }
}

fn syntax(text: &str, error: &toml_edit::TomlError) -> Problem {
    let span = on_characters(text, &error.span().unwrap_or_default());
    let message = format!("the file is not TOML: {}", error.message());
    let help = match error.message() {
        "duplicate key" => {
            "one table has a key once; [[site]] with two brackets begins one more site"
        }
        _ => "everything else is looked at once this is right",
    };
    Problem::new(Code::Syntax, span, message, help)
}

/// The span, inside of the text and on whole characters.
fn on_characters(text: &str, span: &Span) -> Span {
    let mut start = span.start.min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let mut end = span.end.clamp(start, text.len());
    while !text.is_char_boundary(end) {
        end += 1;
    }
    start..end
}
