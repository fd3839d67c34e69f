//! What the dialects of Windows share: words of ours among theirs.

use std::{ffi::OsString, path::PathBuf};

use crate::{ConfigOption, output::Failure};

/// The words of a dialect, and what is ours among them.
#[derive(Default)]
pub(crate) struct Words {
    /// What is not ours.
    pub(crate) words: Vec<String>,
    /// Where the configuration is.
    pub(crate) config: ConfigOption,
    /// Whether nothing is changed.
    pub(crate) dry_run: bool,
}

/// Takes out `--config FILE`, `--config=FILE` and `--dry-run`, which may stand anywhere.
pub(crate) fn own_options(words: Vec<OsString>, config: ConfigOption) -> Result<Words, Failure> {
    let mut own = Words { config, ..Words::default() };
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let text = word.to_string_lossy().into_owned();
        if text == "--config" {
            let file = words.next().ok_or_else(|| Failure::usage("--config names no file"))?;
            own.config.config = Some(PathBuf::from(file));
        } else if let Some(file) = text.strip_prefix("--config=") {
            own.config.config = Some(PathBuf::from(file));
        } else if text == "--dry-run" {
            own.dry_run = true;
        } else {
            own.words.push(text);
        }
    }
    Ok(own)
}
