//! What becomes of each element and attribute. The reader goes by this table, and the manual prints
//! it (`docs/iis.md`).

use super::{support_host::HOST, support_sections::SECTIONS};

/// What becomes of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// It does what it does in IIS, as far as its meaning says.
    Served,
    /// It stays in the file, and nothing that is served depends on it.
    Kept,
    /// It stays in the file and is not done; `check` says so at each place.
    Reported,
}

/// An attribute of an element.
#[derive(Debug)]
pub(super) struct Attribute {
    pub(super) name: &'static str,
    pub(super) how: How,
    /// The value that is not worth a word.
    pub(super) default: Option<&'static str>,
    pub(super) meaning: &'static str,
}

/// An element or a section.
#[derive(Debug)]
pub(super) struct Kind {
    /// Its path: below `system.applicationHost` or `system.webServer`.
    pub(super) path: &'static str,
    pub(super) how: How,
    /// Whether a `web.config` may not set it unless it is unlocked (IIS: overrideModeDefault).
    pub(super) locked: bool,
    pub(super) meaning: &'static str,
    pub(super) attributes: &'static [Attribute],
}

impl Kind {
    /// What becomes of an attribute, where it is known.
    pub(super) fn attribute(&self, name: &str) -> Option<&'static Attribute> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }
}

/// What becomes of an element, where it is known.
pub(super) fn kind(path: &str) -> Option<&'static Kind> {
    HOST.iter().chain(SECTIONS).find(|kind| kind.path == path)
}

/// What becomes of a section of `system.webServer`, where it is known.
pub(super) fn section(path: &str) -> Option<&'static Kind> {
    SECTIONS.iter().find(|kind| kind.path == path)
}

/// An attribute that is served.
pub(super) const fn served(name: &'static str, meaning: &'static str) -> Attribute {
    Attribute { name, how: How::Served, default: None, meaning }
}

/// An attribute that nothing depends on.
pub(super) const fn kept(name: &'static str, meaning: &'static str) -> Attribute {
    Attribute { name, how: How::Kept, default: None, meaning }
}

/// An attribute that is not done, worth a word unless it has its default.
pub(super) const fn reported(
    name: &'static str,
    default: Option<&'static str>,
    meaning: &'static str,
) -> Attribute {
    Attribute { name, how: How::Reported, default, meaning }
}

/// Whether sections stand below an element: it is none itself.
pub(super) fn is_group(path: &str) -> bool {
    matches!(path, "security" | "security/authentication" | "rewrite" | "tracing" | "webdav")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The table of the manual.
    fn table() -> String {
        let word = |how: How| match how {
            How::Served => "served",
            How::Kept => "kept",
            How::Reported => "reported",
        };
        let mut lines = vec!["| Element | Attribute | Is | What it does |".to_owned()];
        lines.push("|---|---|---|---|".to_owned());
        for kind in HOST.iter().chain(SECTIONS) {
            let (path, how) = (kind.path, word(kind.how));
            lines.push(format!("| `{path}` | | {how} | {} |", kind.meaning));
            for Attribute { name, how, meaning, .. } in kind.attributes {
                lines.push(format!("| | `{name}` | {} | {meaning} |", word(*how)));
            }
        }
        lines.join("\n")
    }

    #[test]
    fn the_manual_has_this_table() {
        let page = include_str!("../../../../../docs/iis.md");
        let begin = "<!-- support: begin -->\n";
        let shown =
            page.split_once(begin).and_then(|(_, rest)| rest.split_once("\n<!-- support: end -->"));
        assert_eq!(shown.map(|(table, _)| table), Some(table().as_str()), "write:\n{}", table());
    }

    #[test]
    fn everything_stands_in_the_table_once() {
        let mut paths = BTreeSet::new();
        for kind in HOST.iter().chain(SECTIONS) {
            assert!(paths.insert(kind.path), "{} twice", kind.path);
            assert!(!kind.meaning.is_empty(), "{}", kind.path);
            let mut names = BTreeSet::new();
            for attribute in kind.attributes {
                assert!(names.insert(attribute.name), "{}/{} twice", kind.path, attribute.name);
                assert!(!attribute.meaning.is_empty(), "{}/{}", kind.path, attribute.name);
            }
        }
    }
}
