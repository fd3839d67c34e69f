//! What some records have otherwise than others.

use std::collections::{BTreeMap, BTreeSet};

use bindery_model::change::{Entry, Fields, How, Place, Value};

use super::{Record, RecordKey, Records};

impl Records {
    /// What `after` has otherwise, in the order of keys. Records are told in the words of their
    /// stored form; a flag is a key of the table `flags`.
    #[must_use]
    pub fn difference(&self, after: &Self) -> Vec<Entry> {
        // They are shared as long as nobody changes one.
        if self == after {
            return Vec::new();
        }
        let keys: BTreeSet<&RecordKey> =
            self.iter().chain(after.iter()).map(|own| &own.key).collect();
        let entry = |key: &RecordKey| {
            let how = match (self.find(key), after.find(key)) {
                (None, Some(new)) => How::Added(fields(new)),
                (Some(old), None) => How::Removed(fields(old)),
                (Some(old), Some(new)) if old != new => How::Changed(changed(old, new)),
                _ => return None,
            };
            Some(Entry { at: Place::Record(key.clone()), how })
        };
        keys.into_iter().filter_map(entry).collect()
    }
}

/// What a record says beside its key.
fn fields(record: &Record) -> Fields {
    let stored = serde_json::to_value(record).and_then(serde_json::from_value);
    let mut fields: Fields = stored.unwrap_or_default();
    fields.remove("key");
    fields.retain(|_, value| !matches!(value, Value::Table(inner) if inner.is_empty()));
    fields
}

fn changed(old: &Record, new: &Record) -> BTreeMap<String, (Option<Value>, Option<Value>)> {
    let (mut old, new) = (fields(old), fields(new));
    let mut keys: BTreeMap<_, _> = new
        .into_iter()
        .map(|(key, after)| {
            let before = old.remove(&key);
            (key, (before, Some(after)))
        })
        .collect();
    keys.extend(old.into_iter().map(|(key, before)| (key, (Some(before), None))));
    keys.retain(|_, (before, after)| before != after);
    keys
}

#[cfg(test)]
mod tests {
    use bindery_model::change::Difference;

    use super::*;
    use crate::netsh::records::{ApplicationId, Flag};

    fn record(key: &str, hash: u8) -> Record {
        let key = key.parse().unwrap();
        Record { certificate_hash: Some([hash; 20]), ..Record::new(key, ApplicationId::IIS) }
    }

    fn said(before: &[Record], after: &[Record]) -> String {
        let of = |records: &[Record]| records.iter().cloned().collect::<Records>();
        Difference(of(before).difference(&of(after))).to_string()
    }

    #[test]
    fn records_that_come_change_and_go_are_told_as_everything_else_is() {
        let own = record("ipport=0.0.0.0:443", 0xab);
        let named = record("hostnameport=a.example:443", 1);
        let central = Record::new("ccs=443".parse().unwrap(), ApplicationId::IIS);
        assert_eq!(said(std::slice::from_ref(&own), std::slice::from_ref(&own)), "");
        let hash = "ab".repeat(20);
        let id = ApplicationId::IIS;
        assert_eq!(
            said(&[], &[central, own.clone()]),
            format!(
                "+ record 0.0.0.0:443\n    application_id = \"{id}\"\n    certificate_hash = \
                 \"{hash}\"\n+ record ccs=443\n    application_id = \"{id}\"\n"
            )
        );
        let mut other = Record { store_name: Some("WebHosting".to_owned()), ..own.clone() };
        other.certificate_hash = Some([0xcd; 20]);
        other.flags = [(Flag::DisableHttp2, true)].into_iter().collect();
        assert_eq!(
            said(&[own, named], &[other]),
            format!(
                "~ record 0.0.0.0:443\n    certificate_hash:\n      - \"{hash}\"\n      + \"{}\"\n    \
                 + flags.disablehttp2 = true\n    + store_name = \"WebHosting\"\n- record \
                 a.example:443\n    application_id = \"{id}\"\n    certificate_hash = \"{}\"\n",
                "cd".repeat(20),
                "01".repeat(20),
            )
        );
    }
}
