//! Values as configurations have them, and how they are written in TOML.

use std::{borrow::Cow, collections::BTreeMap, fmt, path::Path};

use serde::{Deserialize, Serialize};

/// A value as configurations have them. TOML and JSON agree on these. Displayed as TOML, in one
/// line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number. There are no others.
    Integer(i64),
    /// A text.
    Text(String),
    /// An array.
    List(Vec<Self>),
    /// A table.
    Table(Fields),
}

/// Keys of `bindery.toml` with their values. What stands in a table stands in a [`Value::Table`].
pub type Fields = BTreeMap<String, Value>;

/// The order in which people write keys: what names a thing, what it is, what it has. Others
/// follow by the alphabet.
const ORDER: [&str; 56] = [
    "name",
    "on",
    "path",
    "prefix",
    "suffix",
    "regex",
    "to",
    "value",
    "id",
    "state",
    "file",
    "folder",
    "key",
    "password_file",
    "state_dir",
    "user",
    "workers",
    "order",
    "certificate",
    "tls",
    "minimum",
    "maximum",
    "root",
    "fastcgi",
    "proxy",
    "redirect",
    "respond",
    "status",
    "content_type",
    "body",
    "bindings",
    "https_redirect",
    "limits",
    "access_log",
    "default_documents",
    "listing",
    "fallback",
    "symlinks",
    "precompressed",
    "media_types",
    "unknown_types",
    "hidden",
    "charset",
    "cache_control",
    "https_only",
    "access",
    "rate_limit",
    "basic_auth",
    "redirects",
    "rewrites",
    "request_bytes_max",
    "cors",
    "request_headers",
    "response_headers",
    "hsts",
    "compress",
];

impl Value {
    /// An array of texts.
    pub fn texts<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Self {
        Self::List(texts.into_iter().map(|text| Self::Text(text.into())).collect())
    }

    /// The text that it is, if it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Where a key stands in the order in which people write them.
pub(crate) fn rank(key: &str) -> usize {
    ORDER.iter().position(|own| *own == key).unwrap_or(ORDER.len())
}

/// Keys with their values in the order in which people write them.
#[must_use]
pub fn in_order(fields: &Fields) -> Vec<(&str, &Value)> {
    let mut all: Vec<_> = fields.iter().map(|(key, value)| (key.as_str(), value)).collect();
    all.sort_by_key(|(key, _)| rank(key));
    all
}

/// A key as TOML has it: bare where it can be.
#[must_use]
pub fn toml_key(key: &str) -> Cow<'_, str> {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    match !key.is_empty() && key.bytes().all(bare) {
        true => Cow::Borrowed(key),
        false => Cow::Owned(Quoted(key).to_string()),
    }
}

/// A text as TOML has it: in single quotes where something would have to be escaped otherwise.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        let Self(text) = self;
        if text.contains(['"', '\\']) && !text.contains(|c: char| c == '\'' || c.is_control()) {
            return write!(f, "'{text}'");
        }
        f.write_char('"')?;
        for letter in text.chars() {
            match letter {
                '"' | '\\' => write!(f, "\\{letter}")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                _ if letter.is_control() => write!(f, "\\u{:04X}", u32::from(letter))?,
                _ => f.write_char(letter)?,
            }
        }
        f.write_char('"')
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(yes) => yes.fmt(f),
            Self::Integer(number) => number.fmt(f),
            Self::Text(text) => Quoted(text).fmt(f),
            Self::List(values) => {
                f.write_str("[")?;
                for (place, value) in values.iter().enumerate() {
                    let between = if place == 0 { "" } else { ", " };
                    write!(f, "{between}{value}")?;
                }
                f.write_str("]")
            }
            Self::Table(fields) if fields.is_empty() => f.write_str("{}"),
            Self::Table(fields) => {
                for (place, (key, value)) in in_order(fields).into_iter().enumerate() {
                    let between = if place == 0 { "{ " } else { ", " };
                    write!(f, "{between}{} = {value}", toml_key(key))?;
                }
                f.write_str(" }")
            }
        }
    }
}

impl From<bool> for Value {
    fn from(yes: bool) -> Self {
        Self::Boolean(yes)
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Integer(number.into())
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<u64> for Value {
    /// Numbers that TOML does not have become the largest that it has.
    fn from(number: u64) -> Self {
        Self::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&Path> for Value {
    fn from(path: &Path) -> Self {
        Self::Text(path.to_string_lossy().into_owned())
    }
}

impl From<Vec<Self>> for Value {
    fn from(values: Vec<Self>) -> Self {
        Self::List(values)
    }
}

impl From<Fields> for Value {
    fn from(fields: Fields) -> Self {
        Self::Table(fields)
    }
}
