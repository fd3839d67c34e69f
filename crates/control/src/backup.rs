//! Backups: the configuration and its certificate records as they were when somebody kept them under
//! a name, each in a folder of the state folder. They stay until they are taken away, whatever
//! becomes of the history.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use bindery_iis::netsh::records::Records;

use crate::{home::Form, replace::sync_folder};

/// Where backups are, in the state folder.
const FOLDER: &str = "backup";
/// The certificate records of one. Earlier ones have none, and leave those in force.
const RECORDS: &str = "sslcert.json";
/// What the folder of one begins with until it is whole.
const UNFINISHED: char = '.';

/// The backups of a state folder.
#[derive(Clone, Debug)]
pub struct Backups(PathBuf);

/// What was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) text: String,
    pub(crate) records: Option<Records>,
}

impl Backups {
    /// Those of this state folder.
    #[must_use]
    pub fn of(state_dir: &Path) -> Self {
        Self(state_dir.join(FOLDER))
    }

    /// Their names, in order.
    ///
    /// # Errors
    ///
    /// When they cannot be read.
    pub fn names(&self) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string()
                && is_name(&name)
                && entry.path().is_dir()
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Keeps a configuration: whole and durable, or not at all.
    pub(crate) fn add(
        &self,
        name: &str,
        form: Form,
        text: &str,
        records: &Records,
    ) -> io::Result<()> {
        check(name)?;
        let folder = self.0.join(name);
        if folder.exists() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let beside = self.0.join(format!("{UNFINISHED}{name}"));
        if beside.exists() {
            fs::remove_dir_all(&beside)?;
        }
        fs::create_dir_all(&beside)?;
        let write = |name: &str, content: &[u8]| {
            let mut file = File::create(beside.join(name))?;
            file.write_all(content)?;
            file.sync_all()
        };
        write(file_name(form), text.as_bytes())?;
        write(RECORDS, &serde_json::to_vec_pretty(records)?)?;
        sync_folder(&beside)?;
        fs::rename(&beside, &folder)?;
        sync_folder(&self.0)
    }

    /// Takes one away.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        check(name)?;
        fs::remove_dir_all(self.0.join(name))
    }

    /// What was kept of a configuration of this form.
    pub(crate) fn read(&self, name: &str, form: Form) -> io::Result<Kept> {
        check(name)?;
        let folder = self.0.join(name);
        let text = fs::read_to_string(folder.join(file_name(form)))?;
        let records = match fs::read(folder.join(RECORDS)) {
            Ok(records) => Some(serde_json::from_slice(&records)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        Ok(Kept { text, records })
    }
}

fn file_name(form: Form) -> &'static str {
    match form {
        Form::Toml => "bindery.toml",
        Form::Iis => "applicationHost.config",
    }
}

/// Whether a backup can be called so: it is a folder.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let is_part = |c: char| !matches!(c, '/' | '\\' | ':') && !c.is_control();
    !name.is_empty()
        && name.len() <= 200
        && !name.starts_with(UNFINISHED)
        && name.chars().all(is_part)
}

fn check(name: &str) -> io::Result<()> {
    match is_name(name) {
        true => Ok(()),
        false => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{name:?} cannot be the name of a backup"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_as_it_was_and_names_lead_nowhere_else() {
        let state = tempfile::tempdir().unwrap();
        let backups = Backups::of(state.path());
        assert_eq!(backups.names().unwrap(), [""; 0]);
        backups.add("B", Form::Toml, "version = 1\n", &Records::default()).unwrap();
        let again = backups.add("B", Form::Toml, "", &Records::default()).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        let kept = backups.read("B", Form::Toml).unwrap();
        assert_eq!(kept.text, "version = 1\n");
        assert_eq!(kept.records, Some(Records::default()));
        let other = backups.read("B", Form::Iis).unwrap_err();
        assert_eq!(other.kind(), io::ErrorKind::NotFound, "of another form");
        for wrong in ["", "..", ".B", "../state", "a/b", "a\\b", "a\nb"] {
            let error = backups.add(wrong, Form::Toml, "", &Records::default()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{wrong:?}");
            assert_eq!(backups.remove(wrong).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
        assert_eq!(backups.names().unwrap(), ["B"]);
        backups.remove("B").unwrap();
        assert_eq!(backups.names().unwrap(), [""; 0]);
    }
}
