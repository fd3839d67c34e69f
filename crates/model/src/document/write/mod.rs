//! What is valid, in the words of `bindery.toml`: whole, or one thing at a time.
//!
//! | module | writes |
//! |---|---|
//! | `settings` | the server, listeners, certificates |
//! | `site`, `action`, `rules` | a site, its bindings and routes; what answers; what is around it |
//! | `layout` | lines and tables as a person writes them |
//! | `text` | a whole file |
//! | `difference` | what two configurations have otherwise, and the changes that make it so |

mod action;
mod difference;
pub(super) mod layout;
mod rules;
mod settings;
mod site;
mod text;

use super::Configuration;
use crate::{
    binding::{BindingInformation, parse_listener},
    change::{Fields, Place, Value},
    site::RouteKind,
    table::MemoryTable,
};

pub use difference::{changes, difference};
pub use site::{binding, site};
pub use text::text;

/// The keys of one thing beside the one that names it, without those that are at their default;
/// but the number of a site always. Those of a site have all that belongs to it: `bindings`,
/// `applications` and `virtual_directories`, with the keys that name those. Applications and
/// virtual directories have only what they do not inherit. `None` where there is no such thing.
///
/// Looks through all sites for one by its name; who has its place takes [`site`].
#[must_use]
pub fn fields(configuration: &Configuration, at: &Place) -> Option<Fields> {
    let Configuration { settings, listeners, table, records: _ } = configuration;
    match at {
        Place::Server => Some(settings::server(settings)),
        Place::Listener(on) => {
            let (protocol, endpoint) = parse_listener(on).ok()?;
            let is = |own: &&super::Listener| (own.protocol, own.endpoint) == (protocol, endpoint);
            listeners.iter().find(is).map(settings::listener)
        }
        Place::Certificate(name) => {
            let mut all = table.certificates.iter();
            all.find(|own| same_name(&own.name, name)).map(settings::certificate)
        }
        Place::Site(name) => place_of(table, name).map(|place| site(table, place)),
        Place::Binding { site, on } => {
            let on: BindingInformation = on.parse().ok()?;
            let mut own = table.bindings_of(place_of(table, site)?);
            own.find(|binding| binding.information == on).map(|found| binding(table, found))
        }
        Place::Application { site, path } => route(table, site, path, RouteKind::Application),
        Place::VirtualDirectory { site, path } => {
            route(table, site, path, RouteKind::VirtualDirectory)
        }
        // It stands beside the configuration.
        Place::Record(_) => None,
    }
}

fn route(table: &MemoryTable, site: &str, path: &str, kind: RouteKind) -> Option<Fields> {
    let own = table.sites.get(place_of(table, site)? as usize)?;
    let found = own.routes.iter().find(|route| route.kind == kind && route.path == path)?;
    Some(site::route(own, found))
}

/// The place of a site in its table.
fn place_of(table: &MemoryTable, name: &str) -> Option<u32> {
    let place = table.sites.iter().position(|own| same_name(&own.name, name))?;
    u32::try_from(place).ok()
}

/// Whether two names are one: case does not count.
pub(super) fn same_name(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
        || !(one.is_ascii() && other.is_ascii()) && one.to_lowercase() == other.to_lowercase()
}

/// Keys in the making.
#[derive(Default)]
struct Keys(Fields);

impl Keys {
    fn put(&mut self, key: &str, value: impl Into<Value>) {
        self.0.insert(key.to_owned(), value.into());
    }

    /// The key, where it is there.
    fn put_some(&mut self, key: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.put(key, value);
        }
    }

    /// The key, where it differs from what it is when it is absent.
    fn put_other<T: PartialEq, V: Into<Value>>(
        &mut self,
        key: &str,
        (own, absent): (T, T),
        value: impl FnOnce(T) -> V,
    ) {
        if own != absent {
            self.put(key, value(own));
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
