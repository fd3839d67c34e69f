//! Certificate records as HTTP.SYS keeps them, apart from sites: what `netsh http add sslcert` made.

use serde::{Deserialize, Serialize};

/// The records of a server, in the order of their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Records {}

/// A change to them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecordChange {}
