//! What is counted, and how it is told: the text of OpenMetrics. Nothing that a client chooses is
//! a label, so there are as many lines after a year as after a minute.

mod text;

use std::time::Duration;

use http::Version;

pub(crate) use self::text::Scrape;
pub use self::text::older_text;
use crate::tls::Negotiated;

/// What answered a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum HandlerKind {
    /// The server itself, before a route was found: redirects to https, stopped sites.
    #[default]
    Server,
    /// Files.
    Files,
    /// Another server.
    Proxy,
    /// A program that speaks FastCGI.
    FastCgi,
    /// Another address.
    Redirect,
    /// A fixed answer.
    Respond,
}

const HANDLERS: [&str; 6] = ["server", "files", "proxy", "fastcgi", "redirect", "respond"];
const VERSIONS: [&str; 3] = ["HTTP/1.0", "HTTP/1.1", "HTTP/2"];
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The upper ends of the classes of duration. The last, without an end, is not among them.
const DURATIONS: [Duration; 12] = [
    Duration::from_micros(100),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(60),
];

/// How a request ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) version: Version,
    pub(crate) status: u16,
    pub(crate) kind: HandlerKind,
    /// From the head of the request to the end of the answer.
    pub(crate) taken: Duration,
    /// Content of the answer, in bytes.
    pub(crate) sent: u64,
    /// Content of the request, in bytes.
    pub(crate) received: u64,
    /// Whether the client took all of it.
    pub(crate) complete: bool,
}

/// What is counted for requests and handshakes, in one place or over all of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stats {
    requests: [[u64; CLASSES.len()]; VERSIONS.len()],
    handlers: [u64; HANDLERS.len()],
    durations: [u64; DURATIONS.len() + 1],
    taken: Duration,
    sent: u64,
    received: u64,
    incomplete: u64,
    /// Requests to servers behind this one that ended with 502, 503 or 504.
    upstream_failures: u64,
    /// As many as there are suites and groups, times four.
    handshakes: Vec<(Negotiated, u64)>,
    /// By the word of [`crate::tls::HandshakeError::word`].
    failed_handshakes: Vec<(&'static str, u64)>,
}

fn add_at(counts: &mut [u64], place: usize, count: u64) {
    if let Some(own) = counts.get_mut(place) {
        *own += count;
    }
}

fn add_to<T: PartialEq>(counts: &mut Vec<(T, u64)>, what: T, count: u64) {
    match counts.iter_mut().find(|(own, _)| *own == what) {
        Some((_, own)) => *own += count,
        None => counts.push((what, count)),
    }
}

impl Stats {
    pub(crate) fn count(&mut self, outcome: &Outcome) {
        let version = match outcome.version {
            Version::HTTP_10 => 0,
            Version::HTTP_2 => 2,
            _ => 1,
        };
        let class = usize::from(outcome.status / 100).saturating_sub(1);
        if let Some(classes) = self.requests.get_mut(version) {
            add_at(classes, class, 1);
        }
        add_at(&mut self.handlers, outcome.kind as usize, 1);
        let duration = DURATIONS.iter().position(|end| outcome.taken <= *end);
        add_at(&mut self.durations, duration.unwrap_or(DURATIONS.len()), 1);
        self.taken += outcome.taken;
        self.sent += outcome.sent;
        self.received += outcome.received;
        self.incomplete += u64::from(!outcome.complete);
        let upstream = matches!(outcome.kind, HandlerKind::Proxy | HandlerKind::FastCgi);
        self.upstream_failures += u64::from(upstream && (502..=504).contains(&outcome.status));
    }

    pub(crate) fn count_handshake(&mut self, negotiated: Negotiated) {
        add_to(&mut self.handshakes, negotiated, 1);
    }

    pub(crate) fn count_failed_handshake(&mut self, word: &'static str) {
        add_to(&mut self.failed_handshakes, word, 1);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (own, other) in self.requests.iter_mut().zip(&other.requests) {
            for (place, count) in other.iter().enumerate() {
                add_at(own, place, *count);
            }
        }
        for (place, count) in other.handlers.iter().enumerate() {
            add_at(&mut self.handlers, place, *count);
        }
        for (place, count) in other.durations.iter().enumerate() {
            add_at(&mut self.durations, place, *count);
        }
        self.taken += other.taken;
        self.sent += other.sent;
        self.received += other.received;
        self.incomplete += other.incomplete;
        self.upstream_failures += other.upstream_failures;
        for (negotiated, count) in &other.handshakes {
            add_to(&mut self.handshakes, *negotiated, *count);
        }
        for (word, count) in &other.failed_handshakes {
            add_to(&mut self.failed_handshakes, word, *count);
        }
    }
}
