//! A configuration as `applicationHost.config`.

use std::collections::BTreeSet;

use bindery_model::{
    change::{Act, Change, Fields, Place, Value},
    document::{Configuration, write as model},
    problem::Span,
    site::DEFAULT_DOCUMENTS,
};

use super::{edit::Editor, keys};
use crate::xml::{self, draft::Draft};

/// A file without sites and sections: everything in it is as IIS has it by default.
pub const BARE: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<configuration>
    <system.applicationHost>
        <applicationPools>
            <add name=\"DefaultAppPool\" />
        </applicationPools>
        <sites>
            <applicationDefaults applicationPool=\"DefaultAppPool\" />
        </sites>
    </system.applicationHost>
    <system.webServer />
</configuration>
";

/// What is never sent there.
const HIDDEN: &str = "web.config";

/// Keys of sites whose default of `bindery.toml` has no place there: what holds there instead, and
/// whether they are about files.
const OTHERWISE: [(&str, Value, bool); 4] = [
    ("charset", Value::Text(String::new()), true),
    ("https_redirect", Value::Boolean(false), false),
    ("ignore_case", Value::Boolean(true), false),
    ("precompressed", Value::Boolean(false), true),
];

/// A configuration as `applicationHost.config`, and what of it has no place there: for each its
/// place and key.
///
/// It is what a change to an empty file comes to that adds everything, so whatever can be edited
/// can be exported. Defaults of `bindery.toml` that IIS has otherwise are said for the whole
/// server; those that cannot be said are left out of every site.
#[must_use]
pub fn write(configuration: &Configuration) -> (String, Vec<String>) {
    let difference = model::difference(&Configuration::default(), configuration);
    let mut changes = model::changes(&difference);
    let mut otherwise = BTreeSet::new();
    for change in &mut changes {
        if let (Place::Site(_), Act::Add(fields)) = (&change.at, &mut change.act) {
            without_what_comes_from_above(fields);
            adapt(fields, &mut otherwise);
        }
    }
    let (text, mut left_out) = changed(&changes);
    left_out.splice(0..0, otherwise.into_iter().map(|key| format!("every site: {key}")));
    (text, left_out)
}

/// What IIS says of a path holds below it: where the next path above says the same it is not said
/// again, so that both follow when it is said otherwise there.
fn without_what_comes_from_above(site: &mut Fields) {
    let path = |own: &Fields| own.get("path").and_then(Value::as_text).map(str::to_owned);
    let tables = |value: &Value| match value {
        Value::List(all) => all.clone(),
        _ => Vec::new(),
    };
    let lists = ["applications", "virtual_directories"];
    let all = lists.iter().filter_map(|list| site.get(*list)).flat_map(tables);
    let all: Vec<(String, Fields)> = all
        .filter_map(|own| match own {
            Value::Table(own) => Some((path(&own)?, own)),
            _ => None,
        })
        .collect();
    for list in lists {
        let Some(Value::List(own)) = site.get_mut(list) else { continue };
        for fields in own {
            let Value::Table(fields) = fields else { continue };
            let Some(path) = path(fields) else { continue };
            let above = all.iter().filter(|(above, _)| {
                path.strip_prefix(above.as_str()).is_some_and(|rest| rest.starts_with('/'))
            });
            if let Some((_, above)) = above.max_by_key(|(above, _)| above.len()) {
                fields.retain(|key, own| {
                    !PASSED_ON.contains(&key.as_str()) || above.get(key) != Some(own)
                });
            }
        }
    }
}

/// Keys of a path that hold below it in IIS, and that are no list others are added to.
const PASSED_ON: [&str; 3] = ["default_documents", "https_only", "listing"];

/// What `bindery.toml` has by default and IIS otherwise, in the words of sites.
fn standards() -> [(&'static str, Value); 4] {
    [
        ("default_documents", Value::texts(DEFAULT_DOCUMENTS)),
        ("hidden", Value::texts([HIDDEN])),
        ("request_bytes_max", false.into()),
        ("unknown_types", "bytes".into()),
    ]
}

/// Takes out of a site's keys what is so anyway, and notes what cannot be otherwise.
fn adapt(site: &mut Fields, otherwise: &mut BTreeSet<&'static str>) {
    let has_files = ["root", "fastcgi"].iter().any(|key| site.contains_key(*key));
    // Where there is hsts there is a place for this.
    if site.get("hsts").is_some_and(|hsts| *hsts != Value::Boolean(false)) {
        site.entry("https_redirect".to_owned()).or_insert(Value::Boolean(true));
    }
    for (key, there, of_files) in &OTHERWISE {
        match site.get(*key) {
            Some(_) if *key == "https_redirect" && site.contains_key("hsts") => {}
            Some(own) if own == there => drop(site.remove(*key)),
            None if has_files || !of_files => drop(otherwise.insert(key)),
            _ => {}
        }
    }
    let hides = match site.get("hidden") {
        Some(Value::List(names)) => names
            .iter()
            .any(|own| own.as_text().is_some_and(|own| own.eq_ignore_ascii_case(HIDDEN))),
        _ => false,
    };
    if has_files && !hides {
        otherwise.insert("hidden");
    }
}

fn changed(changes: &[Change]) -> (String, Vec<String>) {
    let tree = match xml::parse(BARE) {
        Ok(tree) => tree,
        Err(error) => return (BARE.to_owned(), vec![at(&error.span, &error.message)]),
    };
    let mut editor = Editor::new(Draft::new(&tree), Some(Vec::new()));
    let mut left_out = Vec::new();
    for (key, value) in standards() {
        if let Err(error) = keys::at_location(&mut editor, &Place::Server, "", key, Some(&value)) {
            left_out.push(error.to_string());
        }
    }
    for change in changes {
        if let Err(error) = editor.change(change) {
            left_out.push(error.to_string());
        }
    }
    left_out.splice(0..0, editor.left_out.take().unwrap_or_default());
    (editor.host.draft.finish(), left_out)
}

fn at(span: &Span, message: &str) -> String {
    format!("{}: {message}", span.start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add<const N: usize>(at: Place, keys: [(&str, Value); N]) -> Change {
        let text = |(key, value): (&str, Value)| (key.to_owned(), value);
        Change { at, act: Act::Add(keys.into_iter().map(text).collect::<Fields>()) }
    }

    #[test]
    fn an_export_is_what_adding_everything_comes_to() {
        let text = |text: &str| Value::Text(text.to_owned());
        let site = || "a".to_owned();
        let changes = [
            add(Place::Server, [("workers", Value::Integer(2))]),
            add(Place::Site(site()), [("id", Value::Integer(7)), ("root", text("/srv/a"))]),
            add(
                Place::Binding { site: site(), on: "https/*:443:a".to_owned() },
                [("certificate", text("mine"))],
            ),
            add(
                Place::Application { site: site(), path: "/b".to_owned() },
                [("proxy", text("http://b"))],
            ),
        ];
        let (file, left_out) = changed(&changes);
        assert_eq!(
            left_out,
            [
                "server: workers",
                "binding https/*:443:a of site \"a\": certificate",
                "application /b of site \"a\": proxy",
            ]
        );
        let expected = "        <sites>
            <site name=\"a\" id=\"7\">
                <application path=\"/\">
                    <virtualDirectory path=\"/\" physicalPath=\"/srv/a\" />
                </application>
                <application path=\"/b\">
                    <virtualDirectory path=\"/\" physicalPath=\"\" />
                </application>
                <bindings>
                    <binding protocol=\"https\" bindingInformation=\"*:443:a\" sslFlags=\"1\" />
                </bindings>
            </site>
            <applicationDefaults applicationPool=\"DefaultAppPool\" />
        </sites>
";
        assert!(file.contains(expected), "{file}");
    }
}
