//! The closed loop: a fixed number of connections at a time, each with the next name.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ClientConfig, NamedGroup};
use rustls_pki_types::ServerName;
use serde::Serialize;

use crate::client::exchange::{Exchange, Fault, Progress, Task};
use crate::client::poll::Poll;
use crate::client::{Audit, Offer};
use crate::failure::Failure;
use crate::process;
use crate::random::Random;

/// A connection without an end by then is given up and counted as an error.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);

/// Errors in a row, without a single success between, after which a run ends early.
const ERRORS_MAX: u64 = 1_000;

/// Which names, and when to stop.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Course {
    /// Random names until the time is over.
    For(Duration),
    /// This many connections with random names.
    Count(u64),
    /// Each name once, in order.
    EachName,
}

/// Closed-loop load on one server. Sessions are kept from run to run.
pub(crate) struct Generator {
    target: SocketAddr,
    config: Arc<ClientConfig>,
    group: NamedGroup,
    names: Arc<Vec<ServerName<'static>>>,
    audit: Option<Audit>,
    concurrency: usize,
    random: Random,
}

impl Generator {
    /// Load on `target` with these names; with an audit, every certificate is checked.
    pub(crate) fn new(
        target: SocketAddr,
        offer: &Offer,
        names: &Arc<Vec<ServerName<'static>>>,
        audit: Option<Audit>,
    ) -> Result<Self, Failure> {
        Ok(Self {
            target,
            config: offer.config(audit.as_ref())?,
            group: offer.group.number(),
            names: Arc::clone(names),
            audit,
            concurrency: 16,
            random: Random::new(1),
        })
    }

    pub(crate) fn with_concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = concurrency.max(1);
        self
    }

    pub(crate) fn with_seed(mut self, seed: u64) -> Self {
        self.random = Random::new(seed);
        self
    }

    /// Runs until the course is done and every connection has ended.
    pub(crate) fn run(&mut self, course: Course) -> Result<Tally, Failure> {
        let own_before = process::own_nanoseconds();
        let mut run = Run {
            course,
            poll: Poll::new()?,
            slots: Vec::new(),
            tally: Tally::new(self.names.len()),
            begun: 0,
            start: Instant::now(),
            failed_in_a_row: 0,
        };
        for slot in 0..self.concurrency {
            run.slots.push(None);
            self.fill(&mut run, slot)?;
        }
        let mut swept = Instant::now();
        while run.slots.iter().any(Option::is_some) {
            for slot in run.poll.wait(Duration::from_millis(200))? {
                self.drive(&mut run, slot)?;
            }
            if swept.elapsed() > Duration::from_secs(1) {
                swept = Instant::now();
                self.give_up_late(&mut run)?;
            }
        }
        run.tally.elapsed = run.start.elapsed();
        run.tally.own_nanoseconds = process::own_nanoseconds() - own_before;
        Ok(run.tally)
    }

    /// Starts the next connection in this slot, if there is one to start.
    fn fill(&mut self, run: &mut Run, slot: usize) -> Result<(), Failure> {
        while let Some(name) = self.next_name(run) {
            let index = usize::try_from(name).unwrap_or(usize::MAX);
            let Some(server) = self.names.get(index) else { return Ok(()) };
            run.begun += 1;
            run.tally.seen(index);
            match Exchange::start(self.target, &self.config, (name, server), Task::CloseHttp1) {
                Ok(exchange) => {
                    run.poll.add(exchange.stream(), slot)?;
                    if let Some(place) = run.slots.get_mut(slot) {
                        *place = Some(exchange);
                    }
                    return Ok(());
                }
                Err(fault) => run.failed(&fault),
            }
        }
        Ok(())
    }

    fn next_name(&mut self, run: &Run) -> Option<u32> {
        let names = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        let goes_on = run.failed_in_a_row < ERRORS_MAX
            && match run.course {
                Course::For(limit) => run.start.elapsed() < limit,
                Course::Count(limit) => run.begun < limit,
                Course::EachName => run.begun < u64::from(names),
            };
        match run.course {
            _ if !goes_on || names == 0 => None,
            Course::EachName => u32::try_from(run.begun).ok(),
            Course::For(_) | Course::Count(_) => Some(self.random.below(names)),
        }
    }

    fn drive(&mut self, run: &mut Run, slot: usize) -> Result<(), Failure> {
        let Some(place) = run.slots.get_mut(slot) else { return Ok(()) };
        let Some(exchange) = place else { return Ok(()) };
        let outcome = match exchange.drive() {
            Ok(Progress::Waiting | Progress::Whole) => return Ok(()),
            Ok(Progress::Closed) => self.checked(exchange),
            Err(fault) => Err(fault),
        };
        let done = place.take();
        match (outcome, done) {
            (Ok(()), Some(exchange)) => run.succeeded(&exchange),
            (Err(fault), _) => run.failed(&fault),
            (Ok(()), None) => {}
        }
        self.fill(run, slot)
    }

    fn checked(&self, exchange: &Exchange) -> Result<(), Fault> {
        if exchange.group().is_some_and(|group| group != self.group) {
            return Err(Fault::Answer("another key exchange was negotiated"));
        }
        match &self.audit {
            Some(audit) if !audit.is_own(exchange.name, exchange.certificate()) => {
                Err(Fault::Answer("the certificate is another name's"))
            }
            _ => Ok(()),
        }
    }

    fn give_up_late(&mut self, run: &mut Run) -> Result<(), Failure> {
        for slot in 0..run.slots.len() {
            let Some(place) = run.slots.get_mut(slot) else { continue };
            if place.as_ref().is_some_and(|exchange| exchange.started.elapsed() > EXCHANGE_TIMEOUT)
            {
                *place = None;
                run.failed(&Fault::Answer("timed out"));
                self.fill(run, slot)?;
            }
        }
        Ok(())
    }
}

/// The state of one run.
struct Run {
    course: Course,
    poll: Poll,
    slots: Vec<Option<Exchange>>,
    tally: Tally,
    begun: u64,
    start: Instant,
    failed_in_a_row: u64,
}

impl Run {
    fn succeeded(&mut self, exchange: &Exchange) {
        self.failed_in_a_row = 0;
        self.tally.operations += 1;
        self.tally.resumed += u64::from(exchange.was_resumed());
        if let Some(answered) = exchange.answered {
            self.tally.latencies.push(answered - exchange.started);
        }
    }

    fn failed(&mut self, fault: &Fault) {
        self.failed_in_a_row += 1;
        self.tally.errors += 1;
        *self.tally.faults.entry(fault.to_string()).or_default() += 1;
    }
}

/// What a run did.
pub(crate) struct Tally {
    /// Connections that were answered with status 200 and the whole body, and closed by the server.
    pub operations: u64,
    pub errors: u64,
    /// How often each error happened.
    pub faults: BTreeMap<String, u64>,
    /// How many of the operations resumed a session.
    pub resumed: u64,
    pub elapsed: Duration,
    own_nanoseconds: u64,
    latencies: Vec<Duration>,
    names: Vec<bool>,
}

/// A tally as it is printed.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    pub operations: u64,
    pub errors: u64,
    pub faults: BTreeMap<String, u64>,
    pub resumed: u64,
    pub seconds: f64,
    pub operations_per_second: f64,
    /// From the call of `connect` to the last byte of the answer.
    pub p50_us: f64,
    pub p99_us: f64,
    /// Processor time of this client for each operation.
    pub client_us: f64,
    /// How many different names were asked for.
    pub names_seen: usize,
    /// How many are to be expected when this many names are drawn evenly.
    pub names_expected: f64,
}

impl Tally {
    fn new(names: usize) -> Self {
        Self {
            operations: 0,
            errors: 0,
            faults: BTreeMap::new(),
            resumed: 0,
            elapsed: Duration::ZERO,
            own_nanoseconds: 0,
            latencies: Vec::new(),
            names: vec![false; names],
        }
    }

    fn seen(&mut self, index: usize) {
        if let Some(name) = self.names.get_mut(index) {
            *name = true;
        }
    }

    /// Sorts and counts.
    pub(crate) fn summary(mut self) -> Summary {
        self.latencies.sort_unstable();
        let seconds = self.elapsed.as_secs_f64();
        Summary {
            operations: self.operations,
            errors: self.errors,
            resumed: self.resumed,
            seconds,
            operations_per_second: as_f64(self.operations) / seconds.max(f64::MIN_POSITIVE),
            p50_us: quantile(&self.latencies, 50),
            p99_us: quantile(&self.latencies, 99),
            client_us: as_f64(self.own_nanoseconds) / 1e3 / as_f64(self.operations.max(1)),
            names_seen: self.names.iter().filter(|seen| **seen).count(),
            names_expected: expected(self.names.len(), self.operations + self.errors),
            faults: self.faults,
        }
    }
}

/// Of `names` names, how many are drawn at least once in so many draws.
fn expected(names: usize, draws: u64) -> f64 {
    let names = as_f64(u64::try_from(names).unwrap_or(u64::MAX));
    if names == 0.0 { 0.0 } else { names * (1.0 - (-as_f64(draws) / names).exp()) }
}

/// The latency in microseconds below which so many per cent of the sorted values lie.
fn quantile(sorted: &[Duration], percent: usize) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get(last * percent / 100).map_or(0.0, |value| value.as_secs_f64() * 1e6)
}

/// Counts here stay far below 2^52, where a float holds every integer.
pub(crate) fn as_f64(count: u64) -> f64 {
    let halves = (u32::try_from(count >> 32), u32::try_from(count & 0xffff_ffff));
    match halves {
        (Ok(high), Ok(low)) => f64::from(high) * 4_294_967_296.0 + f64::from(low),
        _ => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    #[test]
    fn a_quantile_is_a_value_that_was_measured() {
        let values: Vec<_> = (1..=101).map(Duration::from_micros).collect();
        assert!((super::quantile(&values, 50) - 51.0).abs() < 1e-6);
        assert!((super::quantile(&values, 99) - 100.0).abs() < 1e-6);
        assert!(super::quantile(&[], 50).abs() < 1e-6);
    }

    #[test]
    fn few_draws_see_few_names_and_many_see_all() {
        assert!((super::expected(10_000, 100) - 99.5).abs() < 0.1);
        assert!((super::expected(10_000, 200_000) - 10_000.0).abs() < 0.1);
        assert!(super::expected(0, 5).abs() < 1e-9);
    }

    #[test]
    fn large_counts_keep_their_value() {
        assert!((super::as_f64(5_000_000_000) - 5e9).abs() < 0.5);
    }
}
