//! The manual: its examples are configurations that can be served, its links lead somewhere, and
//! what it lists is there.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bindery_model::{document::parse, problem::Severity};

fn repository() -> PathBuf {
    fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")).unwrap()
}

/// Every page with its text.
fn pages() -> Vec<(PathBuf, String)> {
    let root = repository();
    let mut paths = Vec::new();
    for folder in [root.clone(), root.join("docs"), root.join("docs/decisions")] {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        paths.extend(entries.filter(|path| path.extension().is_some_and(|end| end == "md")));
    }
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path, text)
    };
    paths.into_iter().map(read).collect()
}

/// What stands between the fences of a language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    let starts = text.split(fence.as_str()).skip(1);
    starts.map(|rest| rest.split("\n```").next().unwrap()).collect()
}

/// The errors of a configuration's text.
fn errors(text: &str) -> Vec<String> {
    let problems = parse(text, Path::new("/etc/bindery")).problems.into_iter();
    let errors = problems.filter(|problem| problem.severity() == Severity::Error);
    errors.map(|problem| problem.message).collect()
}

#[test]
fn every_example_is_a_configuration_that_can_be_served() {
    const SITE: &str = "[[site]]\nname = 'own'\nbindings = ['http/*:80:own.example']\n";
    // A part is one of the file, of the server, or of a site.
    let places = [
        String::new(),
        "[server]\n".to_owned(),
        SITE.to_owned(),
        format!("{SITE}root = '/srv/own'\n"),
        format!("{SITE}proxy = 'http://a.example'\n"),
    ]
    .map(|place| format!("version = 1\n{place}"));
    let mut count = 0;
    for (path, text) in pages() {
        for block in blocks(&text, "toml") {
            let tried: Vec<_> = match block.contains("version = 1") {
                true => vec![errors(block)],
                false => places.iter().map(|place| errors(&format!("{place}{block}\n"))).collect(),
            };
            let path = path.display();
            assert!(tried.iter().any(Vec::is_empty), "{path}:\n{block}\n{tried:#?}");
            count += 1;
        }
    }
    assert!(count > 20, "they are found: {count}");
}

/// A heading as GitHub names it.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().trim().to_lowercase().replace(' ', "-")
}

#[test]
fn every_link_leads_somewhere() {
    let mut count = 0;
    for (path, text) in pages() {
        for link in text.split("](").skip(1) {
            let link = link.split(')').next().unwrap();
            if link.contains("://") || link.contains('\n') || link.contains(' ') {
                continue;
            }
            let (file, fragment) = link.split_once('#').unwrap_or((link, ""));
            let target =
                if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            assert!(target.exists(), "{}: {link}", path.display());
            if !fragment.is_empty() {
                let text = fs::read_to_string(&target).unwrap();
                let mut headings = text.lines().filter(|line| line.starts_with('#'));
                let found = headings.any(|line| anchor(line.trim_start_matches('#')) == fragment);
                assert!(found, "{}: {link}", path.display());
            }
            count += 1;
        }
    }
    assert!(count > 30, "they are found: {count}");
}
