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
