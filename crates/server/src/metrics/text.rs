//! The text of OpenMetrics: every metric with its name and what it means.

use std::fs;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet, text::encode},
    metrics::MetricType,
    registry::{Registry, Unit},
};

use super::{CLASSES, DURATIONS, HANDLERS, Stats, VERSIONS};
use crate::{process::Process, server::Counters};

/// The name that all metrics of our own begin with.
const PREFIX: &str = "bindery";

/// All that is told when somebody asks.
#[derive(Debug)]
pub(crate) struct Scrape {
    stats: Stats,
    counters: Counters,
    lines: u64,
    lost: u64,
    files: usize,
    file_bytes: u64,
    /// All in use, and those that are out.
    upstream_servers: (usize, usize),
    memory: Option<u64>,
    descriptors: Option<u64>,
}

type Outcome = Result<(), std::fmt::Error>;

impl Scrape {
    pub(crate) fn new(process: &Process, counters: &Counters) -> Self {
        let logs = process.logs.inner();
        let upstreams = process.upstreams.status();
        let out = upstreams.iter().filter(|member| !member.well).count();
        Self {
            stats: logs.stats(),
            counters: counters.clone(),
            lines: logs.written(),
            lost: logs.lost(),
            files: process.files.len(),
            file_bytes: process.files.weight(),
            upstream_servers: (upstreams.len(), out),
            memory: resident_bytes(),
            descriptors: open_files(),
        }
    }

    pub(crate) fn text(self) -> String {
        let mut registry = Registry::with_prefix(PREFIX);
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        // Writing into memory does not fail.
        encode(&mut text, &registry).ok();
        text
    }

    fn connections(&self, to: &mut Encoder<'_>) -> Outcome {
        let counters = &self.counters;
        to.gauge("connections_open", "Connections that are open", counters.connections as u64)?;
        to.counter("connections", "Connections since the start", counters.connections_total)?;
        let help = "Connections closed because their client had too many";
        to.counter("connections_refused", help, counters.connections_refused)?;
        let negotiated = self.stats.handshakes.iter().map(|(negotiated, count)| {
            let resumed = if negotiated.resumed { "true" } else { "false" };
            let labels = [
                ("version", negotiated.version),
                ("cipher", negotiated.cipher_suite),
                ("group", negotiated.group),
                ("resumed", resumed),
            ];
            (labels, *count)
        });
        to.counters("tls_handshakes", "Handshakes that succeeded", negotiated)?;
        let failed = self.stats.failed_handshakes.iter();
        let failed = failed.map(|(word, count)| ([("reason", *word)], *count));
        to.counters("tls_handshakes_failed", "Handshakes that came to nothing", failed)
    }

    fn requests(&self, to: &mut Encoder<'_>) -> Outcome {
        let stats = &self.stats;
        let requests = VERSIONS.iter().zip(&stats.requests).flat_map(|(version, classes)| {
            let counts = CLASSES.iter().zip(classes);
            counts.map(|(class, count)| ([("protocol", *version), ("status", *class)], *count))
        });
        to.counters("requests", "Requests by version and class of status", requests)?;
        let handlers = HANDLERS.iter().zip(&stats.handlers);
        let handlers = handlers.map(|(handler, count)| ([("handler", *handler)], *count));
        to.counters("handled_requests", "Requests by what answered them", handlers)?;
        let of = |name: &str| {
            let mut own = HANDLERS.iter().zip(&stats.handlers);
            own.find(|(handler, _)| **handler == name).map_or(0, |(_, count)| *count)
        };
        let upstream = of("proxy") + of("fastcgi");
        to.counter("upstream_requests", "Requests that other servers were to answer", upstream)?;
        let help = "Of those, answered with 502, 503 or 504";
        to.counter("upstream_failures", help, stats.upstream_failures)?;
        let (all, out) = self.upstream_servers;
        to.gauge("upstream_servers", "Servers that proxies may ask", all as u64)?;
        to.gauge("upstream_servers_out", "Of those, avoided because they failed", out as u64)?;
        let help = "Answers that did not come to their end";
        to.counter("requests_incomplete", help, stats.incomplete)?;
        to.bytes_counter("sent", "Content of answers", stats.sent)?;
        to.bytes_counter("received", "Content of requests", stats.received)?;
        let ends = DURATIONS.iter().map(std::time::Duration::as_secs_f64).chain([f64::INFINITY]);
        let buckets: Vec<_> = ends.zip(stats.durations).collect();
        let count = stats.durations.iter().sum();
        let help = "From the head of a request to the end of its answer";
        let (unit, kind) = (Some(&Unit::Seconds), MetricType::Histogram);
        let mut metric = to.0.encode_descriptor("request_duration", help, unit, kind)?;
        metric.encode_histogram::<NoLabelSet>(stats.taken.as_secs_f64(), count, &buckets, None)
    }

    fn state(&self, to: &mut Encoder<'_>) -> Outcome {
        let counters = &self.counters;
        to.gauge("configuration_revision", "The configuration in force", counters.revision)?;
        let certificates = counters.certificates_in_memory as u64;
        to.gauge("certificates_in_memory", "Certificates in memory", certificates)?;
        let problems = counters.certificate_problems.len() as u64;
        to.gauge("certificates_broken", "Certificates that cannot be read", problems)?;
        to.gauge("files_in_memory", "Small files in memory", self.files as u64)?;
        to.gauge("files_in_memory_bytes", "What they take", self.file_bytes)?;
        to.counter("log_lines", "Lines written to the logs", self.lines)?;
        to.counter("log_lines_lost", "Lines that could not be written", self.lost)?;
        to.gauge("uptime_seconds", "Since the start", counters.uptime.as_secs())?;
        if let Some(bytes) = self.memory {
            to.gauge("memory_resident_bytes", "Memory of the process", bytes)?;
        }
        if let Some(open) = self.descriptors {
            to.gauge("open_files", "Descriptors of the process", open)?;
        }
        let mut metric = to.0.encode_descriptor("build", "What runs", None, MetricType::Info)?;
        metric.encode_info(&[("version", env!("CARGO_PKG_VERSION"))])
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Outcome {
        let mut to = Encoder(encoder);
        self.connections(&mut to)?;
        self.requests(&mut to)?;
        self.state(&mut to)
    }
}

/// Writes whole metrics.
struct Encoder<'a>(DescriptorEncoder<'a>);

impl Encoder<'_> {
    fn gauge(&mut self, name: &str, help: &str, value: u64) -> Outcome {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        metric.encode_gauge(&value)
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> Outcome {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    fn bytes_counter(&mut self, name: &str, help: &str, value: u64) -> Outcome {
        let unit = Some(&Unit::Bytes);
        let mut metric = self.0.encode_descriptor(name, help, unit, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl Iterator<Item = (L, u64)>,
    ) -> Outcome {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in values {
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }
}

/// What the process holds in memory (proc_pid_status(5)).
fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// How many descriptors the process has. Newer kernels say it as the size of the folder.
fn open_files() -> Option<u64> {
    let folder = "/proc/self/fd";
    match fs::metadata(folder).ok()?.len() {
        0 => Some(fs::read_dir(folder).ok()?.count() as u64),
        count => Some(count),
    }
}
