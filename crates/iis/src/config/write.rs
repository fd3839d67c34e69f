//! A configuration as `applicationHost.config`.

use bindery_model::{
    document::{Configuration, write as model},
    problem::Span,
};

use super::edit::Editor;
use crate::xml::{self, draft::Draft};

/// What every file begins with.
const EMPTY: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>
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

/// A configuration as `applicationHost.config`, and what of it has no place there: for each its
/// place and key.
///
/// It is what a change to an empty file comes to that adds everything, so whatever can be edited
/// can be exported.
#[must_use]
pub fn write(configuration: &Configuration) -> (String, Vec<String>) {
    let difference = model::difference(&Configuration::default(), configuration);
    changed(&model::changes(&difference))
}

fn changed(changes: &[bindery_model::change::Change]) -> (String, Vec<String>) {
    let tree = match xml::parse(EMPTY) {
        Ok(tree) => tree,
        Err(error) => return (EMPTY.to_owned(), vec![at(&error.span, &error.message)]),
    };
    let mut editor = Editor::new(Draft::new(&tree), Some(Vec::new()));
    let mut left_out = Vec::new();
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
    use bindery_model::change::{Act, Change, Fields, Place, Value};

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
