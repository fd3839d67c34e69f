//! The text of OpenMetrics: every metric with its name and what it means.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    time::{Duration, UNIX_EPOCH},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet, text::encode},
    metrics::MetricType::{self, Gauge},
    registry::{Registry, Unit},
};

use super::{CLASSES, DURATIONS, HANDLERS, Stats, VERSIONS};
use crate::{clock, limits::METRICS_UPSTREAM_SERVERS_MAX, process::Process, server::Counters};

/// The name that all metrics of our own begin with.
const PREFIX: &str = "bindery";

/// Certificates that expire within so long are counted: time enough to renew one, to act, and none.
const EXPIRING: [(&str, Duration); 3] =
    [("30d", DAY.saturating_mul(30)), ("7d", DAY.saturating_mul(7)), ("1d", DAY)];

const DAY: Duration = Duration::from_secs(24 * 3600);

/// All that is told when somebody asks.
#[derive(Debug)]
pub(crate) struct Scrape {
    stats: Stats,
    counters: Counters,
    lines: u64,
    lost: u64,
    files: usize,
    file_bytes: u64,
    /// Whether each of them is well, by name.
    upstream_servers: BTreeMap<String, bool>,
    /// How many of them are there with all settings, and how many are out.
    upstream_counts: (usize, usize),
    /// When the first certificate in memory expires, in seconds since 1970.
    first_expiry: Option<u64>,
    /// How many expire within each of [`EXPIRING`].
    expiring: [u64; EXPIRING.len()],
    memory: Option<u64>,
    descriptors: Option<u64>,
}

type Outcome = Result<(), std::fmt::Error>;

impl Scrape {
    pub(crate) fn new(process: &Process, counters: &Counters) -> Self {
        let logs = process.logs.inner();
        let upstreams = process.upstreams.status();
        let out = upstreams.iter().filter(|member| !member.well).count();
        let upstream_counts = (upstreams.len(), out);
        let mut upstream_servers = BTreeMap::new();
        for member in upstreams {
            // One address may be there with several settings.
            *upstream_servers.entry(member.name).or_insert(true) &= member.well;
        }
        let now = clock::now();
        let (mut first_expiry, mut expiring) = (None, [0; EXPIRING.len()]);
        for end in process.certificates.expiries() {
            let seconds = end.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            first_expiry = Some(first_expiry.map_or(seconds, |first: u64| first.min(seconds)));
            let left = end.duration_since(now).unwrap_or_default();
            for (count, (_, within)) in expiring.iter_mut().zip(EXPIRING) {
                *count += u64::from(left < within);
            }
        }
        Self {
            stats: logs.stats(),
            counters: counters.clone(),
            lines: logs.written(),
            lost: logs.lost(),
            files: process.files.len(),
            file_bytes: process.files.weight(),
            upstream_servers,
            upstream_counts,
            first_expiry,
            expiring,
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
        let (all, out) = self.upstream_counts;
        to.gauge("upstream_servers", "Servers that proxies may ask", all as u64)?;
        to.gauge("upstream_servers_out", "Of those, avoided because they failed", out as u64)?;
        let help = "Whether a server that proxies may ask is well (1), the first thousand by name";
        let mut metric = to.0.encode_descriptor("upstream_server_up", help, None, Gauge)?;
        for (name, well) in self.upstream_servers.iter().take(METRICS_UPSTREAM_SERVERS_MAX) {
            metric.encode_family(&[("server", name.as_str())])?.encode_gauge(&u64::from(*well))?;
        }
        let help = "Answers that did not come to their end";
        to.counter("requests_incomplete", help, stats.incomplete)?;
        to.bytes_counter("sent", "Content of answers", stats.sent)?;
        to.bytes_counter("received", "Content of requests", stats.received)?;
        let ends = DURATIONS.iter().map(Duration::as_secs_f64).chain([f64::INFINITY]);
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
        if let Some(first) = self.first_expiry {
            let help = "When the first certificate in memory expires";
            to.gauge("certificates_first_expiry_timestamp_seconds", help, first)?;
        }
        let help = "Certificates in memory that expire within so long, or have expired";
        let mut metric = to.0.encode_descriptor("certificates_expiring", help, None, Gauge)?;
        for (count, (within, _)) in self.expiring.iter().zip(EXPIRING) {
            metric.encode_family(&[("within", within)])?.encode_gauge(count)?;
        }
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
        let mut metric = self.0.encode_descriptor(name, help, None, Gauge)?;
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

/// The text of OpenMetrics as the older text format of Prometheus (0.0.4) has it, for collectors that
/// ask for that: counters are declared by the whole name of their values, there are no units, no
/// infos and no end.
#[must_use]
pub fn older_text(text: &str) -> String {
    let mut older = String::with_capacity(text.len());
    let mut help = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest;
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                kind => ("", kind),
            };
            let help = help.strip_prefix(name).unwrap_or_default();
            // Writing into memory does not fail.
            writeln!(older, "# HELP {name}{suffix}{help}\n# TYPE {name}{suffix} {kind}").ok();
        } else if !line.starts_with('#') {
            older.push_str(line);
            older.push('\n');
        }
    }
    older
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
