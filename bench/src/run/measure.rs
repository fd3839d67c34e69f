//! One scenario on one server: prepared once, then measured round by round.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::client::exchange::Task;
use crate::client::generator::{Course, Generator, Summary, as_f64};
use crate::client::{self, Audit, Offer, ServerNames, echo};
use crate::failure::Failure;
use crate::fleet::{Fleet, LOCALHOST};
use crate::peers::Running;
use crate::process::Used;
use crate::run::report::Sample;
use crate::run::scenario::Load;
use crate::run::tools::{self, Count};

/// What a server is asked to see whether it answers.
pub(crate) const PROBE: Task = Task::KeepHttp1;

/// The load before the first round, so that a server's caches are filled.
const WARM_UP: Duration = Duration::from_secs(1);

/// The names of a run, and the certificates they must show.
pub(crate) struct Names {
    audit: Audit,
    servers: Arc<ServerNames>,
}

impl Names {
    pub(crate) fn of(fleet: &Fleet) -> Result<Self, Failure> {
        let servers = Arc::new(client::server_names(fleet.names)?);
        Ok(Self { audit: Audit::of(fleet)?, servers })
    }

    /// The names that this server was given.
    fn on(&self, server: &Running) -> Arc<ServerNames> {
        let count = usize::try_from(server.place.fleet.names).unwrap_or(usize::MAX);
        match self.servers.get(..count) {
            Some(some) if some.len() < self.servers.len() => Arc::new(some.to_vec()),
            _ => Arc::clone(&self.servers),
        }
    }
}

/// Asks for every name once, with all checks.
pub(crate) fn check_names(server: &Running, offer: &Offer, names: &Names) -> Result<(), Failure> {
    let (servers, audit) = (names.on(server), Some(names.audit.clone()));
    let mut generator = Generator::new(server.address(), offer, &servers, audit)?;
    without_errors(&generator.run(Course::EachName)?.summary())
}

fn without_errors(summary: &Summary) -> Result<(), Failure> {
    match (summary.operations, summary.faults.first_key_value()) {
        (_, Some((fault, _))) => {
            let (errors, all) = (summary.errors, summary.errors + summary.operations);
            Err(Failure::new(format!("{errors} of {all} connections failed: {fault}")))
        }
        (0, None) => Err(Failure::new("no connection succeeded")),
        _ => Ok(()),
    }
}

/// A server in a scenario.
pub(crate) struct Subject<'a> {
    server: &'a Running,
    kind: Source,
}

enum Source {
    Handshakes { generator: Box<Generator>, resumes: bool },
    Wrk(&'static str),
    H2load(&'static str),
    Echo,
    Large,
}

impl<'a> Subject<'a> {
    /// Finds out whether the server can do this at all, and warms it up.
    pub(crate) fn prepare(server: &'a Running, load: Load, names: &Names) -> Result<Self, Failure> {
        let probe = |offer: &Offer, task| client::probe(server.address(), offer, LOCALHOST, task);
        let kind = match load {
            Load::Handshakes(offer) => {
                probe(&Offer { sessions: 0, ..offer }, PROBE)?;
                let servers = names.on(server);
                let mut generator = Generator::new(server.address(), &offer, &servers, None)?;
                let resumes = offer.sessions > 0;
                let course = if resumes { Course::EachName } else { Course::For(WARM_UP) };
                without_errors(&generator.run(course)?.summary())?;
                Source::Handshakes { generator: Box::new(generator), resumes }
            }
            Load::Wrk(path) => {
                probe(&Offer::PLAIN, Task::KeepHttp1)?;
                Source::Wrk(path)
            }
            Load::H2load(path) => {
                probe(&Offer::PLAIN, Task::KeepHttp2)?;
                Source::H2load(path)
            }
            Load::Echo => {
                echo::run(server.address(), WARM_UP)?;
                Source::Echo
            }
            Load::Large => {
                tools::curl(server.address(), Duration::ZERO)?;
                Source::Large
            }
            Load::Idle => return Err(Failure::new("idle connections are no load")),
        };
        Ok(Self { server, kind })
    }

    pub(crate) fn server(&self) -> &Running {
        self.server
    }

    /// One round.
    pub(crate) fn sample(&mut self, time: Duration, folder: &Path) -> Result<Sample, Failure> {
        let (target, pid) = (self.server.address(), self.server.pid());
        let before = Used::by(pid)?;
        let mut resumed = None;
        let count = match &mut self.kind {
            Source::Handshakes { generator, resumes } => {
                let summary = generator.run(Course::For(time))?.summary();
                let share = as_f64(summary.resumed) / as_f64(summary.operations.max(1));
                resumed = resumes.then_some(share);
                Count::from(&summary)
            }
            Source::Wrk(path) => tools::wrk(target, path, time, folder)?,
            Source::H2load(path) => tools::h2load(target, path, time)?,
            Source::Echo => echo::run(target, time)?,
            Source::Large => tools::curl(target, time)?,
        };
        let nanoseconds = Used::by(pid)?.since(&before);
        if count.operations == 0 {
            return Err(Failure::new("not one operation succeeded"));
        }
        Ok(Sample {
            operations: count.operations,
            errors: count.errors,
            cpu_us: as_f64(nanoseconds) / 1e3 / as_f64(count.operations),
            operations_per_second: as_f64(count.operations) / count.seconds,
            latency_us: count.latency_us,
            resumed,
        })
    }
}

impl From<&Summary> for Count {
    fn from(summary: &Summary) -> Self {
        Self {
            operations: summary.operations,
            errors: summary.errors,
            seconds: summary.seconds,
            latency_us: Some((summary.p50_us, summary.p99_us)),
        }
    }
}
