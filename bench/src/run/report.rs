//! What is printed: medians in Markdown, every single figure in JSON.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::idle::Cost;
use crate::run::scenario::{IDLE_TASKS, Scenario};

/// One round of one scenario on one server.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sample {
    pub operations: u64,
    pub errors: u64,
    /// The server's processor time, the whole process tree's.
    pub cpu_us: f64,
    pub operations_per_second: f64,
    pub latency_us: Option<(f64, f64)>,
    /// The part of the operations that resumed a session.
    pub resumed: Option<f64>,
}

/// A server that was started with all names.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Start {
    pub names: u32,
    pub seconds: f64,
    pub memory_bytes: u64,
}

/// Everything that a run has found out.
#[derive(Default, Serialize)]
pub(crate) struct Report {
    pub machine: Vec<String>,
    /// Label and version of the servers, in the order of the rows. The first is the base of ratios.
    pub peers: Vec<(String, String)>,
    pub starts: BTreeMap<String, Start>,
    pub samples: BTreeMap<String, BTreeMap<String, Vec<Sample>>>,
    pub idle: BTreeMap<String, Vec<(String, Cost)>>,
    pub notes: Vec<String>,
}

impl Report {
    pub(crate) fn note(&mut self, text: String) {
        eprintln!("note: {text}");
        self.notes.push(text);
    }

    pub(crate) fn add(&mut self, scenario: Scenario, peer: &str, sample: Sample) {
        let peers = self.samples.entry(scenario.title().to_owned()).or_default();
        peers.entry(peer.to_owned()).or_default().push(sample);
    }

    /// The whole report in Markdown.
    pub(crate) fn markdown(&self, scenarios: &[Scenario]) -> String {
        let mut text = String::new();
        for line in &self.machine {
            line_into(&mut text, &format!("- {line}"));
        }
        for (label, version) in &self.peers {
            line_into(&mut text, &format!("- {label}: {version}"));
        }
        self.overview(&mut text, scenarios);
        self.starts_table(&mut text);
        for scenario in scenarios {
            match scenario {
                Scenario::Idle => self.idle_table(&mut text),
                _ => self.scenario_table(&mut text, *scenario),
            }
        }
        if !self.notes.is_empty() {
            line_into(&mut text, "\nNotes:\n");
        }
        for note in &self.notes {
            line_into(&mut text, &format!("- {note}"));
        }
        text
    }

    /// Processor time of all scenarios, with the ratio to the base.
    fn overview(&self, text: &mut String, scenarios: &[Scenario]) {
        let columns: Vec<_> = scenarios
            .iter()
            .filter(|scenario| self.samples.contains_key(scenario.title()))
            .collect();
        if columns.is_empty() {
            return;
        }
        line_into(
            text,
            "\n### Server CPU µs per operation (in brackets: times as fast as the first)\n",
        );
        let titles: Vec<_> = columns.iter().map(|scenario| scenario.title()).collect();
        head(text, &titles);
        for (label, _) in &self.peers {
            let cells: Vec<_> =
                columns.iter().map(|scenario| self.overview_cell(**scenario, label)).collect();
            row(text, label, &cells);
        }
    }

    fn overview_cell(&self, scenario: Scenario, label: &str) -> String {
        match (self.cpu(scenario, label), self.ratio(scenario, label)) {
            (Some(cpu), Some(ratio)) => format!("{cpu:.1} ({ratio:.2})"),
            (Some(cpu), None) => format!("{cpu:.1}"),
            _ => "–".to_owned(),
        }
    }

    fn scenario_table(&self, text: &mut String, scenario: Scenario) {
        let Some(peers) = self.samples.get(scenario.title()) else { return };
        line_into(text, &format!("\n### {}\n", scenario.title()));
        let titles = [
            "CPU µs/op",
            "lowest – highest",
            "ratio",
            "ops/s",
            "p50 µs",
            "p99 µs",
            "errors",
            "resumed",
        ];
        head(text, &titles);
        for (label, _) in &self.peers {
            let Some(samples) = peers.get(label) else { continue };
            let median_of = |value: fn(&Sample) -> Option<f64>| {
                median(samples.iter().filter_map(value).collect())
            };
            let shown = |value: Option<f64>| {
                value.map_or_else(|| "–".to_owned(), |value| format!("{value:.0}"))
            };
            let errors: u64 = samples.iter().map(|sample| sample.errors).sum();
            let resumed = median_of(|sample| sample.resumed);
            row(
                text,
                label,
                &[
                    median_of(|sample| Some(sample.cpu_us)).map_or_else(String::new, tenth),
                    range(samples),
                    self.ratio(scenario, label)
                        .map_or_else(|| "–".to_owned(), |r| format!("{r:.2}")),
                    shown(median_of(|sample| Some(sample.operations_per_second))),
                    shown(median_of(|sample| sample.latency_us.map(|(p50, _)| p50))),
                    shown(median_of(|sample| sample.latency_us.map(|(_, p99)| p99))),
                    errors.to_string(),
                    resumed.map_or_else(|| "–".to_owned(), |part| format!("{:.0} %", part * 100.0)),
                ],
            );
        }
    }

    fn idle_table(&self, text: &mut String) {
        if self.idle.is_empty() {
            return;
        }
        line_into(text, "\n### Idle TLS connections, bytes each\n");
        head(text, &IDLE_TASKS.map(|(_, title)| title));
        for (label, _) in &self.peers {
            let Some(costs) = self.idle.get(label) else { continue };
            let cells = IDLE_TASKS.map(|(_, title)| {
                let cost = costs.iter().find(|(of, _)| of == title).map(|(_, cost)| cost);
                match cost {
                    Some(cost) if cost.lost > 0 => {
                        format!(
                            "{:.0} ({} of {} lost)",
                            cost.bytes_each, cost.lost, cost.connections
                        )
                    }
                    Some(cost) => format!("{:.0}", cost.bytes_each),
                    None => "–".to_owned(),
                }
            });
            row(text, label, &cells);
        }
    }

    fn starts_table(&self, text: &mut String) {
        if self.starts.is_empty() {
            return;
        }
        line_into(text, "\n### Start\n");
        head(text, &["names", "s to the first answer", "MiB after it"]);
        for (label, _) in &self.peers {
            let Some(start) = self.starts.get(label) else { continue };
            let mebibytes = start.memory_bytes / (1024 * 1024);
            let cells =
                [start.names.to_string(), format!("{:.2}", start.seconds), mebibytes.to_string()];
            row(text, label, &cells);
        }
    }

    fn cpu(&self, scenario: Scenario, label: &str) -> Option<f64> {
        let samples = self.samples.get(scenario.title())?.get(label)?;
        median(samples.iter().map(|sample| sample.cpu_us).collect())
    }

    /// How many times as many operations as the base's fit into the same processor time.
    fn ratio(&self, scenario: Scenario, label: &str) -> Option<f64> {
        let (base, _) = self.peers.first()?;
        Some(self.cpu(scenario, base)? / self.cpu(scenario, label)?)
    }
}

fn range(samples: &[Sample]) -> String {
    let values = || samples.iter().map(|sample| sample.cpu_us);
    let lowest = values().fold(f64::INFINITY, f64::min);
    let highest = values().fold(0.0, f64::max);
    format!("{lowest:.1} – {highest:.1}")
}

fn tenth(value: f64) -> String {
    format!("{value:.1}")
}

/// The middle value; of an even number the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let high = *values.get(values.len() / 2)?;
    let low = *values.get(values.len().saturating_sub(1) / 2)?;
    Some(f64::midpoint(low, high))
}

fn head(text: &mut String, titles: &[&str]) {
    line_into(text, &format!("| | {} |", titles.join(" | ")));
    line_into(text, &format!("|---|{}", "---:|".repeat(titles.len())));
}

fn row(text: &mut String, label: &str, cells: &[String]) {
    line_into(text, &format!("| {label} | {} |", cells.join(" | ")));
}

fn line_into(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::{Report, Sample, median};
    use crate::run::scenario::Scenario;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 9.0]), Some(3.0));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn a_server_that_needs_half_the_time_is_twice_as_fast() {
        let mut report = Report {
            peers: vec![("nginx".to_owned(), "1".to_owned()), ("other".to_owned(), "2".to_owned())],
            ..Report::default()
        };
        for (label, cpu_us) in [("nginx", 200.0), ("other", 100.0)] {
            report.add(Scenario::Tls13, label, sample(cpu_us));
        }
        let text = report.markdown(&[Scenario::Tls13, Scenario::Tls12]);
        assert!(text.contains("| other | 100.0 (2.00) |"), "{text}");
        assert!(!text.contains("TLS 1.2"), "{text}");
    }

    #[test]
    fn without_the_base_there_is_no_ratio() {
        let mut report = Report {
            peers: vec![("nginx".to_owned(), "1".to_owned()), ("other".to_owned(), "2".to_owned())],
            ..Report::default()
        };
        report.add(Scenario::Tls13, "other", sample(100.0));
        let text = report.markdown(&[Scenario::Tls13]);
        assert!(text.contains("| nginx | – |") && text.contains("| other | 100.0 |"), "{text}");
    }

    fn sample(cpu_us: f64) -> Sample {
        Sample {
            operations: 10,
            errors: 0,
            cpu_us,
            operations_per_second: 10.0,
            latency_us: None,
            resumed: None,
        }
    }
}
