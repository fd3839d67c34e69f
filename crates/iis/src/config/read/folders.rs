//! Where the folders of Windows are here: environment variables, then the longest folder of
//! `[paths]` that holds a path, without regard to case.

use std::path::{Path, PathBuf};

use bindery_model::problem::{Code, Problem, Span};

/// Variables that every Windows has, where this machine does not say otherwise.
const VARIABLES: [(&str, &str); 8] = [
    ("SystemDrive", "C:"),
    ("SystemRoot", "C:\\Windows"),
    ("windir", "C:\\Windows"),
    ("ProgramFiles", "C:\\Program Files"),
    ("ProgramFiles(x86)", "C:\\Program Files (x86)"),
    ("ProgramData", "C:\\ProgramData"),
    ("AllUsersProfile", "C:\\ProgramData"),
    ("PUBLIC", "C:\\Users\\Public"),
];

/// How many places are shown beside the first where a folder is missing.
const RELATED_MAX: usize = 8;

/// What is to be done about a folder without a place; the line of `[paths]` follows.
const ADD: &str = "add to bindery.toml beside this file, below [paths]: ";

/// The lines that `[paths]` lacks, as problems propose them: a folder of Windows, and where it could
/// be here.
pub(super) fn proposed_paths(problems: &[Problem]) -> Vec<(String, PathBuf)> {
    let unmapped = problems.iter().filter(|problem| problem.code == Code::UnmappedPath);
    let lines = unmapped.filter_map(|problem| problem.help.strip_prefix(ADD));
    let paths = lines.filter_map(|line| {
        let (key, value) = line.split_once(" = ")?;
        Some((key.trim_matches('\'').to_owned(), value.trim_matches('"').into()))
    });
    paths.collect()
}

/// Where folders are.
pub(super) struct Folders<'a> {
    /// Segments in lower case and where that is, the longest first.
    mapped: Vec<(Vec<String>, PathBuf)>,
    folder: &'a Path,
    environment: &'a dyn Fn(&str) -> Option<String>,
    /// What could not be found, by the line that would help.
    missing: Vec<Missing>,
    /// How often something could not be found.
    pub(super) missing_count: usize,
}

struct Missing {
    /// What `[paths]` must have: the folder of Windows.
    key: String,
    /// Where it could be here.
    value: String,
    first: Span,
    message: String,
    others: Vec<(Span, String)>,
    more: usize,
}

/// Why a path leads nowhere.
#[derive(Clone)]
enum Wrong {
    /// A variable that nobody knows.
    Variable(String),
    /// It leads above its drive.
    Above,
}

impl<'a> Folders<'a> {
    pub(super) fn new(
        paths: &[(String, PathBuf)],
        folder: &'a Path,
        environment: &'a dyn Fn(&str) -> Option<String>,
    ) -> Self {
        let mut mapped: Vec<_> = paths
            .iter()
            .map(|(key, path)| (segments(key).map(str::to_lowercase).collect(), path.clone()))
            .collect();
        mapped.sort_by_key(|(key, _): &(Vec<String>, _)| std::cmp::Reverse(key.len()));
        Self { mapped, folder, environment, missing: Vec::new(), missing_count: 0 }
    }

    /// Where the folder or file of a path is here. What cannot be found is remembered, to be
    /// reported once for all that one line of `[paths]` would help.
    pub(super) fn find(&mut self, text: &str, span: &Span, owner: &str) -> Option<PathBuf> {
        let expanded = self.expand(text);
        let found = expanded.as_deref().map_err(Clone::clone).and_then(|path| self.look(path));
        self.missing_count += usize::from(!matches!(found, Ok(Some(_))));
        let wrong = match found {
            Ok(Some(found)) => return Some(found),
            Ok(None) => {
                self.miss(&expanded.unwrap_or_default(), span, owner);
                return None;
            }
            Err(wrong) => wrong,
        };
        let (message, value) = match wrong {
            Wrong::Variable(name) => (
                format!("{text:?} of {owner}: there is no environment variable {name}"),
                format!("start the server with {name}=..., or write the path itself"),
            ),
            Wrong::Above => (
                format!("{text:?} of {owner} leads above its drive"),
                "write the path without ..".to_owned(),
            ),
        };
        let (key, first, others) = (String::new(), span.clone(), Vec::new());
        self.missing.push(Missing { key, value, first, message, others, more: 0 });
        None
    }

    /// The same, without a word where it cannot be found.
    pub(super) fn find_quietly(&self, text: &str) -> Option<PathBuf> {
        self.expand(text).and_then(|path| self.look(&path)).ok().flatten()
    }

    /// A path with the values of its variables, or as it is where one is not known.
    pub(super) fn expanded(&self, text: &str) -> String {
        self.expand(text).unwrap_or_else(|_| text.to_owned())
    }

    fn look(&self, path: &str) -> Result<Option<PathBuf>, Wrong> {
        if path.starts_with('/') && !path.starts_with("//") {
            return Ok(Some(PathBuf::from(path)));
        }
        let parts = resolved(path)?;
        if !is_absolute(path) {
            let whole = parts.iter().fold(self.folder.to_owned(), |whole, part| whole.join(part));
            return Ok(Some(whole));
        }
        let holds = |key: &[String]| {
            key.len() <= parts.len()
                && key.iter().zip(&parts).all(|(own, part)| {
                    own.eq_ignore_ascii_case(part) || *own == part.to_lowercase()
                })
        };
        let mapped = self.mapped.iter().find(|(key, _)| holds(key));
        Ok(mapped.map(|(key, folder)| {
            let rest = parts.iter().skip(key.len());
            rest.fold(folder.clone(), |whole, part| whole.join(part))
        }))
    }

    fn miss(&mut self, path: &str, span: &Span, owner: &str) {
        // A share, or the first folder of a drive.
        let shared = path.starts_with('\\') || path.starts_with('/');
        let head: Vec<&str> = segments(path).take(2).collect();
        let key = if shared { format!("\\\\{}", head.join("\\")) } else { head.join("\\") };
        let named = head.last().map_or_else(String::new, |last| {
            last.trim_end_matches([':', '$']).to_lowercase().replace(' ', "-")
        });
        if let Some(missing) =
            self.missing.iter_mut().find(|one| one.key.eq_ignore_ascii_case(&key))
        {
            match missing.others.len() < RELATED_MAX {
                true => missing.others.push((span.clone(), owner.to_owned())),
                false => missing.more += 1,
            }
            return;
        }
        let taken = |value: &str| self.missing.iter().any(|one| one.value == value);
        let mut value = format!("/srv/{named}");
        if taken(&value) {
            let drive = head.first().map_or("", |head| head.trim_end_matches(':'));
            value = format!("/srv/{}-{named}", drive.to_lowercase().replace(' ', "-"));
        }
        let message = format!("nothing says where {path:?} of {owner} is on this machine");
        let (first, others) = (span.clone(), Vec::new());
        self.missing.push(Missing { key, value, first, message, others, more: 0 });
    }

    /// Replaces `%NAME%` by what the environment has. The names of Windows have no case.
    fn expand(&self, text: &str) -> Result<String, Wrong> {
        if !text.contains('%') {
            return Ok(text.to_owned());
        }
        let mut whole = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('%') {
            whole.push_str(before);
            let Some((name, after)) = behind.split_once('%') else {
                whole.push('%');
                rest = behind;
                continue;
            };
            let known = VARIABLES.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
            let value = (self.environment)(name)
                .or_else(|| (self.environment)(&name.to_uppercase()))
                .or_else(|| known.map(|(_, value)| (*value).to_owned()));
            whole.push_str(&value.ok_or_else(|| Wrong::Variable(name.to_owned()))?);
            rest = after;
        }
        whole.push_str(rest);
        Ok(whole)
    }

    /// One problem for each line that `[paths]` lacks.
    pub(super) fn problems(self) -> impl Iterator<Item = Problem> {
        self.missing.into_iter().map(|missing| {
            let Missing { key, value, first, mut message, others, more } = missing;
            let count = others.len() + more;
            if count > 0 {
                message = format!("{message}, nor {count} more below {key}");
            }
            let help = match key.as_str() {
                "" => value,
                key => format!("{ADD}'{key}' = \"{value}\""),
            };
            let mut problem = Problem::new(Code::UnmappedPath, first, message, help);
            problem.related = others;
            problem
        })
    }
}

/// Whether a path begins at a drive or a server.
fn is_absolute(path: &str) -> bool {
    let bytes = path.as_bytes();
    let drive = matches!(bytes, [drive, b':', ..] if drive.is_ascii_alphabetic());
    drive || bytes.starts_with(b"\\\\") || bytes.starts_with(b"//")
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    // The prefix that switches long paths on, of a drive and of a share.
    let path =
        path.strip_prefix("\\\\?\\UNC\\").or_else(|| path.strip_prefix("\\\\?\\")).unwrap_or(path);
    path.split(['\\', '/']).filter(|part| !matches!(*part, "" | "."))
}

fn resolved(path: &str) -> Result<Vec<&str>, Wrong> {
    let mut parts = Vec::new();
    for part in segments(path) {
        match part {
            ".." if parts.len() <= 1 => return Err(Wrong::Above),
            ".." => drop(parts.pop()),
            other => parts.push(other),
        }
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let paths = [
            ("C:\\inetpub", "/srv/inetpub"),
            ("c:/inetpub/wwwroot/", "/srv/default"),
            ("D:", "/srv/d"),
            ("\\\\files\\pub", "/mnt/pub"),
        ];
        let paths = paths.map(|(key, path)| (key.to_owned(), PathBuf::from(path)));
        let environment = |name: &str| (name == "SITES").then(|| "D:\\Sites".to_owned());
        let mut folders = Folders::new(&paths, Path::new("/etc/iis"), &environment);
        let found = folders.find(text, &(0..1), "site \"a\"");
        assert_eq!(found.as_deref(), expected.map(Path::new), "{text}");
        assert_eq!(folders.problems().count(), usize::from(expected.is_none()), "{text}");
    }

    #[test]
    fn the_longest_folder_that_holds_a_path_says_where_it_is() {
        check("C:\\inetpub\\logs", Some("/srv/inetpub/logs"));
        check("c:\\INETPUB\\Logs\\", Some("/srv/inetpub/Logs"));
        check("%SystemDrive%\\inetpub\\wwwroot", Some("/srv/default"));
        check("%SYSTEMDRIVE%\\inetpub\\wwwroot\\a\\.\\b", Some("/srv/default/a/b"));
        check("C:/inetpub/wwwroot2", Some("/srv/inetpub/wwwroot2"));
        check("D:\\x\\..\\y", Some("/srv/d/y"));
        check("%sites%\\shop", Some("/srv/d/Sites/shop"));
        check("\\\\FILES\\Pub\\a", Some("/mnt/pub/a"));
        check("\\\\?\\UNC\\files\\pub\\a", Some("/mnt/pub/a"));
        check("\\\\?\\C:\\inetpub\\a", Some("/srv/inetpub/a"));
    }

    #[test]
    fn paths_of_this_machine_are_what_they_are() {
        check("/var/www", Some("/var/www"));
        check("www\\shop", Some("/etc/iis/www/shop"));
    }

    #[test]
    fn what_is_nowhere_is_reported() {
        check("C:\\inetpubs", None);
        check("E:\\x", None);
        check("E:", None);
        check("\\\\files\\other", None);
        check("%NOBODY%\\x", None);
        check("D:\\..\\..\\x", None);
        check("100%", Some("/etc/iis/100%"));
    }

    #[test]
    fn one_line_that_is_missing_is_one_problem() {
        let mut folders = Folders::new(&[], Path::new("/"), &|_| None);
        for number in 0..20 {
            let owner = format!("site \"{number}\"");
            assert_eq!(
                folders.find(&format!("D:\\Sites\\{number}"), &(number..number + 1), &owner),
                None
            );
        }
        assert_eq!(folders.find("\\\\nas\\web$\\a", &(30..31), "site \"b\""), None);
        let problems: Vec<_> = folders.problems().collect();
        let helps: Vec<_> = problems.iter().map(|problem| problem.help.as_str()).collect();
        assert!(helps[0].ends_with("'D:\\Sites' = \"/srv/sites\""), "{helps:?}");
        assert!(helps[1].ends_with("'\\\\nas\\web$' = \"/srv/web\""), "{helps:?}");
        assert!(
            problems[0].message.ends_with("nor 19 more below D:\\Sites"),
            "{}",
            problems[0].message
        );
        assert_eq!(problems[0].related.len(), RELATED_MAX);
        let proposed = proposed_paths(&problems);
        assert_eq!(proposed[0], ("D:\\Sites".to_owned(), "/srv/sites".into()));
        assert_eq!(proposed[1], ("\\\\nas\\web$".to_owned(), "/srv/web".into()));
    }
}
