//! Certificate records as HTTP.SYS keeps them, apart from sites: what `netsh http add sslcert` made.
//!
//! | module | answers |
//! |---|---|
//! | `difference` | what do some have otherwise than others? |
//! | `record` | what is a record, and what is it found by? |
//! | `output` | what did netsh print on some Windows? |
//! | `json` | what does it say as JSON? |

mod difference;
mod json;
mod output;
mod record;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct as _};

pub use bindery_model::record::{RecordKey, RecordKeyError};
pub use json::changes_of_json;
pub use output::{Unread, parse_output};
pub use record::{
    ApplicationId, ApplicationIdError, Flag, Flags, Record, Settings, hex, parse_hash,
};
pub(crate) use record::{FLAGS, FlagFacts};

/// The version of the stored form. One that is higher may mean something else and is refused.
const VERSION: u32 = 1;

/// Records in the order of their keys, each key once. Its serialized form is that of
/// `sslcert.json` in the state folder. Clones share them until one is changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Records(Arc<BTreeMap<RecordKey, Record>>);

/// A change to records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordChange {
    /// A record is made.
    Add(Record),
    /// Some of what a record says is said otherwise.
    Update {
        /// Which.
        key: RecordKey,
        /// What is said; the rest stays.
        settings: Settings,
    },
    /// A record is taken away.
    Delete(RecordKey),
}

/// Why a change to records cannot be made. HTTP.SYS has a number for each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// 183: one with this key is there.
    #[error("there is a certificate record for {0} already")]
    Exists(RecordKey),
    /// 2: none with this key is there.
    #[error("there is no certificate record for {0}")]
    NotFound(RecordKey),
    /// 87: what is asked for cannot be.
    #[error("certificate record for {key}: {reason}")]
    Parameter {
        /// Which.
        key: RecordKey,
        /// Why not.
        reason: String,
    },
    /// 1312: nobody has a certificate with this hash and its private key.
    #[error("certificate record for {key}: there is no certificate with the thumbprint {}", hex(.hash))]
    NoCertificate {
        /// Which.
        key: RecordKey,
        /// The hash.
        hash: [u8; 20],
    },
}

impl RecordError {
    /// The system's number of the error.
    #[must_use]
    pub fn number(&self) -> u32 {
        match self {
            Self::Exists(_) => 183,
            Self::NotFound(_) => 2,
            Self::Parameter { .. } => 87,
            Self::NoCertificate { .. } => 1312,
        }
    }

    /// The system's text of the error, without a line end.
    #[must_use]
    pub fn system_text(&self) -> &'static str {
        match self {
            Self::Exists(_) => "Cannot create a file when that file already exists.",
            Self::NotFound(_) => "The system cannot find the file specified.",
            Self::Parameter { .. } => "The parameter is incorrect.",
            Self::NoCertificate { .. } => {
                "A specified logon session does not exist. It may already have been terminated."
            }
        }
    }
}

impl Records {
    /// The record with this very key.
    #[must_use]
    pub fn find(&self, key: &RecordKey) -> Option<&Record> {
        self.0.get(key)
    }

    /// The first of these keys that has a record.
    #[must_use]
    pub fn first_of(&self, keys: &[RecordKey]) -> Option<&Record> {
        keys.iter().find_map(|key| self.find(key))
    }

    /// All of them, in the order of their keys: addresses, names, central stores.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Record> {
        self.0.values()
    }

    /// The keys whose records differ from those of others, or are there in one of both alone.
    pub(crate) fn differing<'k>(&'k self, other: &'k Self) -> BTreeSet<&'k RecordKey> {
        if Arc::ptr_eq(&self.0, &other.0) {
            return BTreeSet::new();
        }
        let missing = |of: &'k Self, among: &'k Self| {
            let own = of.0.iter().filter(|(key, record)| among.0.get(*key) != Some(*record));
            own.map(|(key, _)| key)
        };
        missing(self, other).chain(missing(other, self)).collect()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The records with `record` among them, unless its key has one.
    fn insert(&mut self, record: Record) -> Result<(), RecordError> {
        if self.0.contains_key(&record.key) {
            return Err(RecordError::Exists(record.key));
        }
        complete(&record)?;
        Arc::make_mut(&mut self.0).insert(record.key.clone(), record);
        Ok(())
    }

    /// The records with all `changes` made, in their order.
    ///
    /// # Errors
    ///
    /// When one of them cannot be made; then none is.
    pub fn apply(&self, changes: &[RecordChange]) -> Result<Self, RecordError> {
        let mut after = self.clone();
        for change in changes {
            match change {
                RecordChange::Add(record) => after.insert(record.clone())?,
                RecordChange::Update { key, settings } => {
                    let Some(record) = Arc::make_mut(&mut after.0).get_mut(key) else {
                        return Err(RecordError::NotFound(key.clone()));
                    };
                    let updated = record.clone().with(settings);
                    complete(&updated)?;
                    *record = updated;
                }
                RecordChange::Delete(key) => {
                    if Arc::make_mut(&mut after.0).remove(key).is_none() {
                        return Err(RecordError::NotFound(key.clone()));
                    }
                }
            }
        }
        Ok(after)
    }
}

/// Only the central store finds certificates without being told one.
fn complete(record: &Record) -> Result<(), RecordError> {
    match (&record.key, record.certificate_hash) {
        (RecordKey::CentralStore(_), _) | (_, Some(_)) => Ok(()),
        (key, None) => Err(RecordError::Parameter {
            key: key.clone(),
            reason: "it names no certificate".to_owned(),
        }),
    }
}

/// Later records of a key that has one are left out.
impl FromIterator<Record> for Records {
    fn from_iter<T: IntoIterator<Item = Record>>(records: T) -> Self {
        let mut map = BTreeMap::new();
        for record in records {
            map.entry(record.key.clone()).or_insert(record);
        }
        Self(Arc::new(map))
    }
}

/// The stored form. What it has besides is passed over.
#[derive(Deserialize)]
struct Stored {
    version: u32,
    #[serde(default)]
    records: Vec<Record>,
}

impl Serialize for Records {
    /// As [`Stored`].
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct All<'a>(&'a BTreeMap<RecordKey, Record>);
        impl Serialize for All<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_seq(self.0.values())
            }
        }
        let mut stored = serializer.serialize_struct("Stored", 2)?;
        stored.serialize_field("version", &VERSION)?;
        stored.serialize_field("records", &All(&self.0))?;
        stored.end()
    }
}

impl TryFrom<Stored> for Records {
    type Error = String;

    fn try_from(stored: Stored) -> Result<Self, Self::Error> {
        if stored.version > VERSION {
            return Err(format!(
                "version {} of the certificate records is later than {VERSION}, which is read here",
                stored.version
            ));
        }
        let mut records = Self::default();
        for record in stored.records {
            records.insert(record).map_err(|error| error.to_string())?;
        }
        Ok(records)
    }
}

#[cfg(test)]
mod tests;
