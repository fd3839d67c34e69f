//! Where requests are logged: what `log` and `siteDefaults` say, unless the companion says it.

use bindery_model::{
    document::{NamedPath, PathKind},
    log::{AccessLog, Roll},
    problem::Span,
};

use super::{
    Reader,
    report::Source,
    support,
    value::{self, Values, word},
};
use crate::xml::Element;

/// Where IIS logs as it is installed.
pub(super) const DIRECTORY: &str = "%SystemDrive%\\inetpub\\logs\\LogFiles";
/// IIS's `truncateSize`, where nothing is said.
const TRUNCATE_BYTES: u64 = 20_971_520;
/// The smallest `truncateSize` there is.
const TRUNCATE_BYTES_MIN: u64 = 1_048_576;

impl<'a> Reader<'a> {
    pub(super) fn read_log(&mut self, host: Option<Element<'a>>, sites: Option<Element<'a>>) {
        let log = host.and_then(|host| host.child("log"));
        let mut shared = false;
        if let (Some(log), Some(kind)) = (log, support::kind("log")) {
            self.shared.report.attributes(&Source::Main, log, kind);
            let modes = [("Site", 0, 0), ("CentralBinary", 1, 1), ("CentralW3C", 2, 2)];
            let takes = "Site, CentralBinary or CentralW3C";
            let mode =
                self.values(log).read("centralLogFileMode", takes, |text| word(text, &modes));
            shared = mode == Some(2);
            if mode == Some(1) {
                let message = "CentralBinary: there is no binary log; each site has its own";
                let span = value::place(log, "centralLogFileMode");
                self.shared.report.hint(&Source::Main, span, message);
            }
        }
        let defaults = sites.and_then(|sites| sites.child("siteDefaults"));
        let file = match shared {
            true => log.and_then(|log| log.child("centralW3CLogFile")),
            false => defaults.and_then(|defaults| defaults.child("logFile")),
        };
        if let Some(element) = file {
            let path = if shared { "log/centralW3CLogFile" } else { "sites/site/logFile" };
            if let Some(kind) = support::kind(path) {
                self.shared.report.attributes(&Source::Main, element, kind);
            }
            self.report_log_format(element);
        }
        if self.parts.settings.access_log.is_some() {
            return;
        }
        self.parts.settings.access_log = self.access_log(file, shared);
    }

    fn access_log(&mut self, file: Option<Element<'a>>, shared: bool) -> Option<AccessLog> {
        let written = file.and_then(|file| file.value("directory"));
        let span: Span = file.map_or(0..0, |file| value::place(file, "directory"));
        let folder = match &written {
            Some(text) => self.shared.folders.find(text, &span, "the access log")?,
            // Nobody asked for it: where its folder is not known there is none.
            None => self.shared.folders.find_quietly(DIRECTORY)?,
        };
        let roll = file.map_or(Roll::Daily, |file| self.roll(file));
        let path = NamedPath {
            kind: PathKind::LogFolder,
            path: folder.clone(),
            span,
            owner: "the access log".to_owned(),
        };
        self.shared.paths.push(path);
        Some(AccessLog { shared, roll, compress: false, ..AccessLog::of(folder) })
    }

    fn roll(&mut self, file: Element<'a>) -> Roll {
        let periods = [
            ("MaxSize", 0, 0_u8),
            ("Daily", 1, 1),
            ("Weekly", 2, 2),
            ("Monthly", 3, 2),
            ("Hourly", 4, 4),
        ];
        let takes = "MaxSize, Daily, Weekly, Monthly or Hourly";
        let mut values = self.values(file);
        let period = values.read("period", takes, |text| word(text, &periods)).unwrap_or(1);
        let bytes = values.number("truncateSize").unwrap_or(TRUNCATE_BYTES);
        match period {
            0 => Roll::Size(bytes.max(TRUNCATE_BYTES_MIN)),
            4 => Roll::Hourly,
            2 => {
                let message = "a file for a week or month: one begins each day";
                self.shared.report.hint(&Source::Main, value::place(file, "period"), message);
                Roll::Daily
            }
            _ => Roll::Daily,
        }
    }

    /// Says which form lines do not have.
    pub(super) fn report_log_format(&mut self, file: Element<'a>) {
        let format = file.value("logFormat");
        if let Some(format) = format.filter(|format| !format.eq_ignore_ascii_case("W3C")) {
            let message = format!("logFormat={format:?}: lines are written in the W3C form");
            self.shared.report.hint(&Source::Main, value::place(file, "logFormat"), message);
        }
    }

    pub(super) fn values<'r>(&'r mut self, element: Element<'a>) -> Values<'a, 'r> {
        let report = &mut self.shared.report;
        Values { element, source: &Source::Main, locked: &[], report }
    }
}
