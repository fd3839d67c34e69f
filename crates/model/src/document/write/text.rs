//! Writes a whole file.

use std::sync::Arc;

use super::{
    layout::{self, Bindings},
    settings, site,
};
use crate::{
    change::Fields,
    document::{Configuration, settings::VERSION},
    site::Site,
};

/// The whole configuration as a file that a person could have written: the server, listeners,
/// certificates and sites in their order, without what is at its default. Paths are as the
/// configuration has them, from the root on. Sites have their number where it is not the one that
/// they would get by themselves.
#[must_use]
pub fn text(configuration: &Configuration) -> String {
    let Configuration { settings, listeners, table, records: _ } = configuration;
    let mut out = format!("version = {VERSION}\n");
    let server = settings::server(settings);
    if !server.is_empty() {
        out.push_str("\n[server]\n");
        layout::table(&mut out, "server", &server, Bindings::Auto);
    }
    for listener in listeners {
        let on = settings::listener_name(listener);
        element(&mut out, "listener", ("on", on), settings::listener(listener));
    }
    for source in &table.certificates {
        let name = source.name.clone();
        element(&mut out, "certificate", ("name", name), settings::certificate(source));
    }
    let written = numbers(&table.sites);
    for ((place, own), written) in (0..).zip(&table.sites).zip(written) {
        let mut fields = site(table, place);
        if !written {
            fields.remove("id");
        }
        element(&mut out, "site", ("name", own.name.clone()), fields);
    }
    out
}

fn element(out: &mut String, path: &str, (key, name): (&str, String), mut fields: Fields) {
    fields.insert(key.to_owned(), name.into());
    out.push('\n');
    layout::element(out, path, &fields, Bindings::Auto);
}

/// Which sites must have their number written down. The others get theirs when it is read: the
/// smallest that none has, in their order.
fn numbers(sites: &[Arc<Site>]) -> Vec<bool> {
    let mut taken: Vec<u32> = sites.iter().map(|site| site.id.0).collect();
    taken.sort_unstable();
    // Up to here each number is some site's.
    let gapless = (1..).zip(&taken).take_while(|(number, id)| number == *id).count();
    let mut last = 0;
    let written = sites.iter().map(|site| {
        let id = site.id.0;
        let follows = id > last && usize::try_from(id).is_ok_and(|id| id <= gapless);
        if follows {
            last = id;
        }
        !follows
    });
    written.collect()
}
