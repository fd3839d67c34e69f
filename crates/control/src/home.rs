//! Where the truth is: one file, `bindery.toml` or `applicationHost.config`, by what it contains.

use std::path::{Path, PathBuf};

use bindery_iis::netsh::records::Records;
use bindery_model::{
    change::{Change, EditError},
    document::Document,
};

/// Which form a configuration has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `bindery.toml`.
    Toml,
    /// `applicationHost.config`.
    Iis,
}

/// A configuration as it was read.
#[derive(Debug)]
pub struct Loaded {
    /// The bytes of the file, as text. A byte order mark is part of it.
    pub text: String,
    /// What it says, with what belongs to it: for IIS's form, the `bindery.toml` beside it,
    /// `web.config` files and certificate records.
    pub document: Document,
}

/// The file that is the truth.
#[derive(Clone, Debug)]
pub struct Home {
    /// Where it is, as it was named.
    pub path: PathBuf,
    /// Through every link.
    pub file: PathBuf,
    /// Where relative paths begin.
    pub folder: PathBuf,
    /// Its form.
    pub form: Form,
}

impl Home {
    /// Finds the file and its form.
    ///
    /// # Errors
    ///
    /// When there is no such file, or it cannot be read.
    pub fn find(_path: &Path) -> Result<Self, HomeError> {
        todo!()
    }

    /// Reads the file. What is wrong inside it is no error: the document lists it.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is no UTF-8.
    pub fn load(&self) -> Result<Loaded, HomeError> {
        todo!()
    }

    /// What a text would say in the place of the file, with these certificate records.
    #[must_use]
    pub fn read(&self, _text: &str, _records: &Records) -> Document {
        todo!()
    }

    /// The text with changes made in it.
    ///
    /// # Errors
    ///
    /// When one cannot be made.
    pub fn edit(&self, _text: &str, _changes: &[Change]) -> Result<String, EditError> {
        todo!()
    }

    /// Replaces the file: whole, durable, and only if it still has the text `before`.
    ///
    /// # Errors
    ///
    /// [`HomeError::Edited`] when somebody else has changed it; otherwise what the disk says. The
    /// file is then as it was.
    pub fn commit(&self, _before: &str, _after: &str) -> Result<(), HomeError> {
        todo!()
    }
}

/// Why a file cannot be read or replaced.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// The disk, or permission.
    #[error("{} cannot be {what}", file.display())]
    Io {
        /// `read` or `replaced`.
        what: &'static str,
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not UTF-8.
    #[error("{} is not UTF-8", file.display())]
    NotText {
        /// The file.
        file: PathBuf,
        /// Where it is none.
        source: std::str::Utf8Error,
    },
    /// Somebody else has changed it meanwhile.
    #[error("{} was changed by somebody else meanwhile", file.display())]
    Edited {
        /// The file.
        file: PathBuf,
    },
}
