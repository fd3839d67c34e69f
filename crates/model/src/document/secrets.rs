//! Finds secrets and logs inside of folders whose files are served. By the names of paths alone:
//! nothing here looks at the disk.

use std::{
    borrow::Cow,
    fmt,
    path::{Component, Path, PathBuf},
};

use hashbrown::HashMap;

use super::{Parts, PathKind};
use crate::problem::{Code, Problem, Span};

/// What nobody should be sent.
enum Secret<'a> {
    Passwords(&'a str),
    Log,
    Key(&'a str),
}

impl fmt::Display for Secret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passwords(owner) => write!(f, "the password file of {owner}"),
            Self::Log => f.write_str("the access log"),
            Self::Key(name) => write!(f, "the private key of certificate {name:?}"),
        }
    }
}

/// Reports each password file, private key and log folder below a root.
pub(super) fn served(all: &Parts) -> Vec<Problem> {
    let mut roots: Vec<(Cow<'_, Path>, &Span)> = Vec::new();
    let mut secrets: Vec<(&Path, &Span, Secret<'_>)> = Vec::new();
    for named in &all.positions.paths {
        let what = match named.kind {
            PathKind::Root => {
                roots.push((resolved(&named.path), &named.span));
                continue;
            }
            PathKind::Passwords => Secret::Passwords(&named.owner),
            PathKind::LogFolder => Secret::Log,
            PathKind::ErrorPage | PathKind::UpstreamCa | PathKind::Socket => continue,
        };
        secrets.push((&named.path, &named.span, what));
    }
    if roots.is_empty() {
        return Vec::new();
    }
    for (source, position) in all.certificates.iter().zip(&all.positions.certificates) {
        let key = source.files.key.as_ref().unwrap_or(&source.files.file);
        secrets.push((key, &position.key, Secret::Key(&source.name)));
    }
    // By their bytes: a hash of a path takes it apart each time.
    let mut by_name: HashMap<&[u8], (&Path, &Span)> = HashMap::with_capacity(roots.len());
    for (root, span) in &roots {
        by_name.entry(bytes(root)).or_insert((root, span));
    }
    let mut problems = Vec::new();
    for (path, span, what) in secrets {
        let path = resolved(path);
        let found = folders(bytes(&path)).find_map(|folder| by_name.get(folder));
        let Some((root, root_at)) = found.filter(|(root, _)| !is_hidden(root, &path)) else {
            continue;
        };
        let message = format!("{what} is in {}, whose files are served", root.display());
        let help = "move it out of that folder";
        let problem = Problem::new(Code::SecretServed, span.clone(), message, help);
        problems.push(problem.with_related((*root_at).clone(), "served here"));
    }
    problems
}

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_encoded_bytes()
}

/// A resolved path and every folder that it is in.
fn folders(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(path), |path| {
        let parent = path.iter().rposition(|byte| *byte == b'/')?;
        // The root of all is a slash, and in nothing.
        let length = if parent == 0 { 1 } else { parent };
        path.get(..length).filter(|parent| parent.len() < path.len())
    })
}

/// Whether a name on the way from the root begins with a dot: such files are not sent.
fn is_hidden(root: &Path, path: &Path) -> bool {
    let below = path.strip_prefix(root).unwrap_or(path);
    below.components().any(|part| part.as_os_str().as_encoded_bytes().starts_with(b"."))
}

/// The path without `.`, `..` and slashes that mean nothing, as it is written.
fn resolved(path: &Path) -> Cow<'_, Path> {
    let parts = bytes(path).strip_prefix(b"/").map(|rest| rest.split(|byte| *byte == b'/'));
    if parts.is_some_and(|mut parts| parts.all(|part| !matches!(part, b"" | b"." | b".."))) {
        return Cow::Borrowed(path);
    }
    let mut whole = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                whole.pop();
            }
            other => whole.push(other),
        }
    }
    Cow::Owned(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_those_of_the_path() {
        for path in ["/a/b.c/d", "/a", "/", "a/b", "a", ""] {
            let own: Vec<_> = folders(path.as_bytes()).collect();
            let parents = Path::new(path).ancestors().map(bytes);
            assert!(
                own.iter()
                    .copied()
                    .eq(parents.filter(|parent| !parent.is_empty() || path.is_empty())),
                "{path}"
            );
        }
    }

    #[test]
    fn what_is_resolved_already_is_not_written_again() {
        for (path, plain) in
            [("/a/b", true), ("/a//b", false), ("/a/../b", false), ("/a/", false), ("a", false)]
        {
            let resolved = resolved(Path::new(path));
            assert_eq!(matches!(resolved, Cow::Borrowed(_)), plain, "{path}");
        }
        assert_eq!(resolved(Path::new("/a/./b/../c/")), Path::new("/a/c"));
    }
}
