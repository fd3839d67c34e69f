//! Finds secrets and logs inside of folders whose files are served. By the names of paths alone:
//! nothing here looks at the disk.

use std::path::{Component, Path, PathBuf};

use hashbrown::HashMap;

use super::{Parts, PathKind};
use crate::problem::{Code, Problem, Span};

/// Reports each password file, private key and log folder below a root.
pub(super) fn served(all: &Parts) -> Vec<Problem> {
    let mut roots: HashMap<PathBuf, Span> = HashMap::new();
    let mut secrets: Vec<(&Path, Span, String)> = Vec::new();
    for named in &all.positions.paths {
        let what = match named.kind {
            PathKind::Root => {
                roots.entry(resolved(&named.path)).or_insert_with(|| named.span.clone());
                continue;
            }
            PathKind::Passwords => format!("the password file of {}", named.owner),
            PathKind::LogFolder => "the access log".to_owned(),
            PathKind::ErrorPage | PathKind::UpstreamCa | PathKind::Socket => continue,
        };
        secrets.push((&named.path, named.span.clone(), what));
    }
    for (source, position) in all.certificates.iter().zip(&all.positions.certificates) {
        let key = source.files.key.as_ref().unwrap_or(&source.files.file);
        let what = format!("the private key of certificate {:?}", source.name);
        secrets.push((key, position.key.clone(), what));
    }
    let mut problems = Vec::new();
    if roots.is_empty() {
        return problems;
    }
    for (path, span, what) in secrets {
        let path = resolved(path);
        let root = path.ancestors().find_map(|folder| roots.get_key_value(folder));
        let Some((root, root_at)) = root.filter(|(root, _)| !is_hidden(root, &path)) else {
            continue;
        };
        let message = format!("{what} is in {}, whose files are served", root.display());
        let help = "move it out of that folder";
        let problem = Problem::new(Code::SecretServed, span, message, help);
        problems.push(problem.with_related(root_at.clone(), "served here"));
    }
    problems
}

/// Whether a name on the way from the root begins with a dot: such files are not sent.
fn is_hidden(root: &Path, path: &Path) -> bool {
    let below = path.strip_prefix(root).unwrap_or(path);
    below.components().any(|part| part.as_os_str().as_encoded_bytes().starts_with(b"."))
}

/// The path without `.` and `..`, as it is written.
fn resolved(path: &Path) -> PathBuf {
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
    whole
}
