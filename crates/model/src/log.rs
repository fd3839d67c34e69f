//! What is written about requests, and where.

use std::path::PathBuf;

/// The access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// The folder; each site has a folder `W3SVC<id>` in it, unless all share one file.
    pub folder: PathBuf,
    /// How a line looks.
    pub format: LogFormat,
    /// Whether all sites share one file.
    pub shared: bool,
    /// When a new file begins.
    pub roll: Roll,
    /// Whether files that are no longer written are compressed with gzip.
    pub compress: bool,
    /// Days that files are kept; `None` for ever.
    pub keep_days: Option<u32>,
}

impl AccessLog {
    /// A log in a folder with the defaults of everything else.
    #[must_use]
    pub fn of(folder: PathBuf) -> Self {
        Self {
            folder,
            format: LogFormat::default(),
            shared: false,
            roll: Roll::default(),
            compress: true,
            keep_days: None,
        }
    }
}

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// W3C extended, with the default fields of IIS in its order, `cs-host` and TLS behind them.
    #[default]
    W3c,
    /// One JSON object a line.
    Json,
    /// The combined format of Apache.
    Combined,
}

/// When a new file begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Roll {
    /// At midnight, UTC.
    #[default]
    Daily,
    /// Every hour.
    Hourly,
    /// When the file has so many bytes.
    Size(u64),
}
