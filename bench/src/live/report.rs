//! What is printed.

use std::time::Duration;

use crate::live::client::Noticed;

/// One change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Made {
    /// From asking until the server, or its tool, came back.
    pub(super) returned: Duration,
    /// From asking until the name answered with its certificate.
    pub(super) visible: Duration,
}

/// One server with one number of sites.
pub(super) struct Row {
    pub(super) peer: String,
    pub(super) sites: u32,
    pub(super) start_seconds: f64,
    pub(super) made: Vec<Made>,
    /// The load before, and while changes were made.
    pub(super) quiet: Noticed,
    pub(super) busy: Noticed,
}

pub(super) struct Report {
    machine: Vec<String>,
    pub(super) peers: Vec<(String, String)>,
    pub(super) rows: Vec<Row>,
    notes: Vec<String>,
}

const TITLES: [&str; 10] = [
    "sites",
    "",
    "changes",
    "returns ms",
    "visible ms",
    "slowest ms",
    "load p99 ms, quiet",
    "load p99 ms, changes",
    "failed",
    "closed",
];

impl Report {
    pub(super) fn new(machine: Vec<String>) -> Self {
        Self { machine, peers: Vec::new(), rows: Vec::new(), notes: Vec::new() }
    }

    pub(super) fn note(&mut self, text: String) {
        eprintln!("note: {text}");
        self.notes.push(text);
    }

    pub(super) fn markdown(&self) -> String {
        let peers = self.peers.iter().map(|(label, version)| format!("{label}: {version}"));
        let mut lines: Vec<_> =
            self.machine.iter().cloned().chain(peers).map(|line| format!("- {line}")).collect();
        lines.push(String::new());
        lines.push(format!("| {} |", TITLES.join(" | ")));
        lines.push(format!("|---:|---|{}", "---:|".repeat(TITLES.len() - 2)));
        lines.extend(self.rows.iter().map(Row::line));
        lines.push(String::new());
        lines.extend(self.notes.iter().map(|note| format!("- {note}")));
        lines.join("\n")
    }
}

impl Row {
    fn line(&self) -> String {
        let sorted = |time: fn(&Made) -> Duration| {
            let mut all: Vec<_> = self.made.iter().map(time).collect();
            all.sort_unstable();
            all
        };
        let (returned, visible) = (sorted(|one| one.returned), sorted(|one| one.visible));
        let shown = |time: Option<&Duration>| {
            time.map_or_else(|| "–".to_owned(), |time| format!("{:.1}", time.as_secs_f64() * 1e3))
        };
        let p99 = |noticed: &Noticed| shown(at(&noticed.latencies, 99));
        let cells = [
            self.sites.to_string(),
            format!("{} ({:.1} s)", self.peer, self.start_seconds),
            self.made.len().to_string(),
            shown(at(&returned, 50)),
            shown(at(&visible, 50)),
            shown(visible.last()),
            p99(&self.quiet),
            p99(&self.busy),
            (self.quiet.failed + self.busy.failed).to_string(),
            self.busy.closed.to_string(),
        ];
        format!("| {} |", cells.join(" | "))
    }
}

/// The value below which so many per cent of sorted ones lie.
fn at(sorted: &[Duration], percent: usize) -> Option<&Duration> {
    sorted.get(sorted.len().checked_sub(1)? * percent / 100)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Made, Noticed, Row};

    #[test]
    fn a_row_has_the_median_the_slowest_and_the_99th_of_a_hundred() {
        let times = [1, 9, 4].map(Duration::from_millis);
        let made = times.map(|time| Made { returned: time, visible: time * 10 }).to_vec();
        let latencies = (0..=100).map(Duration::from_millis).collect();
        let busy = Noticed { latencies, failed: 2, closed: 3 };
        let quiet = Noticed::default();
        let row = Row { peer: "x".to_owned(), sites: 5, start_seconds: 1.0, made, quiet, busy };
        assert_eq!(row.line(), "| 5 | x (1.0 s) | 3 | 4.0 | 40.0 | 90.0 | – | 99.0 | 2 | 3 |");
    }
}
