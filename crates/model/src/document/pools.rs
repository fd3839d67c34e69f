//! Application pools: names that applications are put into, with attributes as IIS has them. One
//! process serves all sites, so nothing comes of them; they are kept for who administers by them.

use std::{collections::BTreeMap, sync::Arc};

use super::read::{Entry, Reader, Section};
use crate::change::{Fields, Value};

/// The pool of an application that names none. It is always there.
pub const DEFAULT_POOL: &str = "DefaultAppPool";

/// What an application pool has beside its name: attributes by their names, those of elements in it
/// with dots before, as `processModel.idleTimeout`. No lists, and no passwords.
pub type PoolAttributes = BTreeMap<String, String>;

/// The most bytes of a name, as in IIS.
const NAME_BYTES_MAX: usize = 64;
/// Elements lie in one another so deep in IIS, and one more.
const DEPTH_MAX: usize = 5;

/// Whether IIS takes a text as the name of a pool.
#[must_use]
pub fn is_pool_name(name: &str) -> bool {
    let unusable = |one: char| one.is_control() || "|<>&\"/[]+=;:,?*@".contains(one);
    !name.trim().is_empty() && name.len() <= NAME_BYTES_MAX && !name.contains(unusable)
}

/// Whether an attribute of a pool is kept: `name` names it, and passwords stand in no
/// configuration.
#[must_use]
pub fn is_kept(path: &str) -> bool {
    let last = path.rsplit('.').next().unwrap_or_default();
    path != "name" && !last.eq_ignore_ascii_case("password")
}

/// Reads the key `application_pool` of a site or an application.
pub(super) fn read_pool<'d>(reader: &mut Reader<'d>, section: &Section<'d>) -> Option<Arc<str>> {
    let text = reader.text(section, "application_pool")?;
    if !is_pool_name(text.value) {
        let wrong = format!("{:?} is no name of an application pool", text.value);
        reader.bad(section, text.span, wrong, "take another name");
        return None;
    }
    (!text.value.eq_ignore_ascii_case(DEFAULT_POOL)).then(|| text.value.into())
}

/// Reads the table `application_pools` of `[server]`.
pub(super) fn read_pools<'d>(
    reader: &mut Reader<'d>,
    server: &Section<'d>,
) -> BTreeMap<String, PoolAttributes> {
    let mut pools: BTreeMap<String, PoolAttributes> = BTreeMap::new();
    let owner = || "application_pools".to_owned();
    let Some(table) = reader.table(server, "application_pools", owner) else { return pools };
    for entry in table.entries() {
        let name = entry.key;
        let twice = pools.keys().any(|own| own.to_lowercase() == name.to_lowercase());
        if !is_pool_name(name) || twice {
            let wrong = match twice {
                true => format!("{name:?} is there twice; case does not count"),
                false => format!("{name:?} is no name of an application pool"),
            };
            reader.bad(&table, entry.key_span, wrong, "take another name");
            continue;
        }
        let owner = || format!("application pool {name:?}");
        let Some(pool) = reader.section(&table, &entry, owner) else { continue };
        let mut attributes = PoolAttributes::new();
        read_attributes(reader, &pool, "", &mut attributes);
        if !(attributes.is_empty() && name == DEFAULT_POOL) {
            pools.insert(name.to_owned(), attributes);
        }
    }
    pools
}

fn read_attributes<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    prefix: &str,
    attributes: &mut PoolAttributes,
) {
    for entry in section.entries() {
        let Entry { key, .. } = entry;
        let path = format!("{prefix}{key}");
        let is_name = key.starts_with(|one: char| one.is_ascii_alphabetic())
            && key.bytes().all(|one| one.is_ascii_alphanumeric() || b"-_".contains(&one));
        if !is_name || !is_kept(&path) || path.matches('.').count() >= DEPTH_MAX {
            let wrong = format!("{path:?} is no attribute that is kept of a pool");
            let help = "write attributes as IIS has them, without names and passwords";
            reader.bad(section, entry.key_span, wrong, help);
        } else if entry.is_table() {
            let owner = || section.owner.clone();
            if let Some(inner) = reader.section(section, &entry, owner) {
                read_attributes(reader, &inner, &format!("{path}."), attributes);
            }
        } else if let Some(text) = reader.text_of(section, &entry) {
            attributes.insert(path, text.value.to_owned());
        }
    }
}

/// Pools as a table of tables.
pub(super) fn value(pools: &BTreeMap<String, PoolAttributes>) -> Value {
    let table = |attributes: &PoolAttributes| {
        let mut whole = Fields::new();
        attributes.iter().for_each(|(path, value)| put(&mut whole, path, value));
        Value::Table(whole)
    };
    let all = pools.iter().map(|(name, attributes)| (name.clone(), table(attributes)));
    Value::Table(all.collect())
}

/// Puts an attribute into its table. A name is an attribute's or an element's, not both's.
fn put(table: &mut Fields, path: &str, value: &str) {
    let Some((step, rest)) = path.split_once('.') else {
        table.insert(path.to_owned(), value.into());
        return;
    };
    let inner = table.entry(step.to_owned()).or_insert_with(|| Value::Table(Fields::new()));
    if let Value::Table(inner) = inner {
        put(inner, rest, value);
    }
}

/// Pools out of a table of tables, as a change gives them; nothing where it is none.
#[must_use]
pub fn pools_of(value: &Value) -> Option<BTreeMap<String, PoolAttributes>> {
    let Value::Table(all) = value else { return None };
    let mut pools = BTreeMap::new();
    for (name, value) in all {
        let Value::Table(own) = value else { return None };
        let mut attributes = PoolAttributes::new();
        flatten(own, "", &mut attributes)?;
        pools.insert(name.clone(), attributes);
    }
    Some(pools)
}

fn flatten(table: &Fields, prefix: &str, attributes: &mut PoolAttributes) -> Option<()> {
    for (key, value) in table {
        let path = format!("{prefix}{key}");
        match value {
            Value::Text(text) => drop(attributes.insert(path, text.clone())),
            Value::Table(inner) => flatten(inner, &format!("{path}."), attributes)?,
            Value::Boolean(_) | Value::Integer(_) | Value::List(_) => return None,
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::document::{Document, parse};

    fn read(text: &str) -> Document {
        let text = format!("version = 1\n{text}");
        parse(&text, Path::new("/etc/bindery"))
    }

    const SITE: &str = "[[site]]\nname = 'a'\nrespond = ''\nbindings = ['http/*:80:a']\n";

    #[test]
    fn pools_are_read_with_their_attributes_and_applications_with_their_pool() {
        let document = read(&format!(
            "[server.application_pools.P]\nautoStart = 'false'\nprocessModel.idleTimeout = '00:00:00'\n\
             [server.application_pools.'Q R']\n[server.application_pools.DefaultAppPool]\n\
             {SITE}application_pool = 'P'\n[[site.applications]]\npath = '/b'\nrespond = ''\n\
             application_pool = 'defaultapppool'\n[[site.applications]]\npath = '/c'\nrespond = ''\n\
             application_pool = 'Q R'\n"
        ));
        assert!(document.problems.is_empty(), "{:?}", document.problems);
        let pools = &document.configuration.settings.application_pools;
        assert_eq!(pools.keys().collect::<Vec<_>>(), ["P", "Q R"], "what is there anyway is not");
        let own: Vec<_> =
            pools["P"].iter().map(|(path, own)| (path.as_str(), own.as_str())).collect();
        assert_eq!(own, [("autoStart", "false"), ("processModel.idleTimeout", "00:00:00")]);
        let site = &document.configuration.table.sites[0];
        let pools: Vec<_> = site.routes.iter().map(|route| route.pool.as_deref()).collect();
        assert_eq!((site.root.pool.as_deref(), pools), (Some("P"), vec![None, Some("Q R")]));
        assert_eq!(
            pools_of(&value(&document.configuration.settings.application_pools)).unwrap(),
            { document.configuration.settings.application_pools.clone() }
        );
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        for (wrong, why) in [
            ("{ 'a/b' = {} }", "\"a/b\" is no name of an application pool"),
            ("{ P = {}, p = {} }", "there twice"),
            ("{ P = { queueLength = 5 } }", "string"),
            ("{ P = { processModel = { password = 'x' } } }", "no attribute that is kept"),
            ("{ P = { name = 'x' } }", "no attribute that is kept"),
            ("{ P = { 'a b' = 'x' } }", "no attribute that is kept"),
            ("{ P = { a.b.c.d.e.f.g = 'x' } }", "no attribute that is kept"),
            ("'P'", "a table"),
        ] {
            let document = read(&format!("[server]\napplication_pools = {wrong}\n{SITE}"));
            let [problem] = document.problems.as_slice() else { panic!("{:?}", document.problems) };
            let told = format!("{} {}", problem.message, problem.help);
            assert!(told.contains(why), "{wrong}: {told}");
            assert!(!told.contains('x') || !wrong.contains("password"), "{told}");
        }
        let document = read(&format!("{SITE}application_pool = 'a<b'\n"));
        assert!(document.problems[0].message.contains("no name of an application pool"));
    }
}
