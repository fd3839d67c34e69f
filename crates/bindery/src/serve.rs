//! `bindery run`: wires configuration, sockets, server, signals and status together.

use std::{
    collections::HashSet,
    net::TcpListener,
    num::NonZero,
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bindery_model::{
    document::Settings,
    problem::{Code, Problem, Severity},
};
use bindery_server::{
    blocking,
    inspect::has_errors,
    limits::BLOCKING_THREADS_MAX,
    listener,
    server::{Proof, Server, prove},
    text_of,
};
use listenfd::ListenFd;
use sd_notify::NotifyState;
use tokio::{
    net::UnixListener,
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
};
use tracing::{Level, error, info, warn};
use tracing_subscriber::{
    Layer as _, filter::Targets, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::{
    ConfigOption,
    commands::check::all_problems,
    config::{self, Loaded},
    output::{self, Failure},
    privileges,
    problems::{self, PlacedProblem},
    status,
};

/// What `run` takes.
#[derive(clap::Args)]
pub(crate) struct RunArguments {
    #[command(flatten)]
    config: ConfigOption,
    /// Log every refused request too.
    #[arg(long, short)]
    verbose: bool,
    /// Log as JSON, a record a line.
    #[arg(long)]
    log_json: bool,
}

/// Serves until a signal ends it.
pub(crate) fn run(arguments: &RunArguments) -> Result<ExitCode, Failure> {
    start_log(arguments.verbose, arguments.log_json);
    let path = arguments.config.path()?;
    let loaded = config::load(&path)?;
    if has_errors(&loaded.document.problems) {
        let file = path.display().to_string();
        output::note(problems::rendered(&loaded.document.problems, &file, &loaded.text, false));
        return Err(Failure::new(format!("{file} cannot be served")));
    }
    serve(loaded, |_| {})
}

/// Log lines go to standard error, with a time unless a journal adds its own. Only ours: what
/// libraries say of strangers has no bound.
pub(crate) fn start_log(verbose: bool, json: bool) {
    let level = if verbose { Level::DEBUG } else { Level::INFO };
    let ours = Targets::new().with_target("bindery", level).with_target("bindery_server", level);
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let lines = fmt::layer().with_target(false).with_ansi(false).with_writer(std::io::stderr);
    let lines = match (json, journal) {
        (true, _) => lines.json().flatten_event(true).boxed(),
        (false, true) => lines.without_time().boxed(),
        (false, false) => lines.boxed(),
    };
    // A second call changes nothing, and nothing depends on which was first.
    tracing_subscriber::registry().with(lines.with_filter(ours)).try_init().ok();
}

/// Serves a configuration that has no errors. `ready` is called once it does.
pub(crate) fn serve(loaded: Loaded, ready: impl FnOnce(&Server)) -> Result<ExitCode, Failure> {
    privileges::raise_file_limit();
    let Loaded { path, folder, text, document } = loaded;
    let settings = document.configuration.settings.clone();
    let sockets =
        listener::prepare(&document.configuration.table, &Default::default(), inherited())
            .map_err(|error| Failure::because("cannot listen", error))?;
    let status_socket = status::listen(&settings.state_dir).map_err(|error| {
        let folder = settings.state_dir.display();
        warn!(%folder, %error, "no status: the state folder cannot be used");
    });
    // Where it is another server's, it stays.
    let answers_status = status_socket.is_ok();
    if let Some(user) = &settings.user {
        privileges::become_user(user)?;
    }
    // After giving up root: what is read now must be readable later, at every change.
    let problems = document.problems;
    let proof = prove(document.configuration)
        .map_err(|error| Failure::because(path.display().to_string(), error))?;

    let runtime = runtime(&settings)?;
    let code = runtime.block_on(async {
        let server = Server::start(proof, sockets)
            .map_err(|error| Failure::because("the server cannot start", error))?;
        let running = Arc::new(Running::new(server, path, (folder, text), &problems));
        if let Ok(socket) = status_socket
            && let Ok(socket) = UnixListener::from_std(socket)
        {
            tokio::spawn(status::answer(socket, Arc::clone(&running)));
        }
        // Before anybody is told: who knows that it serves may stop it at once.
        let signals = Signals::listen()?;
        ready(&running.server);
        notify(&[NotifyState::Ready]);
        tokio::spawn(inspect_in_background(Arc::clone(&running)));
        running.until_stopped(signals).await
    });
    if answers_status {
        drop(std::fs::remove_file(status::socket_path(&settings.state_dir)));
    }
    // What the end of the drain time left is not waited for again.
    runtime.shutdown_background();
    code
}

fn runtime(settings: &Settings) -> Result<Runtime, Failure> {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(settings.workers.unwrap_or(cores))
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_name("bindery")
        .enable_all()
        .build()
        .map_err(|error| Failure::because("the threads cannot be started", error))
}

/// Sockets that systemd opened.
fn inherited() -> Vec<TcpListener> {
    let mut passed = ListenFd::from_env();
    (0..passed.len()).filter_map(|place| passed.take_tcp_listener(place).ok().flatten()).collect()
}

/// The signals that a server obeys.
struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on they do not end the process by themselves. Within a tokio runtime.
    fn listen() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| Failure::because("signals cannot be received", error))
        };
        Ok(Self {
            hangup: listen(SignalKind::hangup())?,
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }
}

/// Tells systemd, where it listens.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!(%error, "systemd cannot be told");
    }
}

/// A server with its configuration file.
pub(crate) struct Running {
    server: Server,
    path: PathBuf,
    /// What is wrong with the configuration in force.
    problems: Mutex<Vec<PlacedProblem>>,
    /// Its text, and where its relative paths begin.
    in_force: Mutex<(PathBuf, String)>,
}

impl Running {
    fn new(
        server: Server,
        path: PathBuf,
        in_force: (PathBuf, String),
        problems: &[Problem],
    ) -> Self {
        let file = path.display().to_string();
        let placed =
            problems.iter().map(|problem| problems::placed(problem, &file, &in_force.1)).collect();
        Self { server, path, problems: Mutex::new(placed), in_force: Mutex::new(in_force) }
    }

    fn in_force(&self) -> (PathBuf, String) {
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What it says about itself.
    pub(crate) fn status(&self) -> status::Status {
        let problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner).clone();
        status::of(&self.server, &self.path, problems)
    }

    async fn until_stopped(self: &Arc<Self>, signals: Signals) -> Result<ExitCode, Failure> {
        let Signals { mut hangup, mut terminate, mut interrupt } = signals;
        loop {
            tokio::select! {
                _ = hangup.recv() => self.reload().await,
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
            }
        }
        notify(&[NotifyState::Stopping]);
        let drain = self.server.snapshot().configuration.settings.drain_seconds;
        tokio::select! {
            _ = self.server.stop(Duration::from_secs(drain)) => info!("stopped"),
            _ = terminate.recv() => warn!("stopped at once, by a second signal"),
            _ = interrupt.recv() => warn!("stopped at once, by a second signal"),
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Reads the file again and serves what it says now. If that cannot be served, the old
    /// configuration stays in force and the log says why.
    async fn reload(self: &Arc<Self>) {
        // systemd wants the time with it (sd_notify(3), RELOADING=1).
        match NotifyState::monotonic_usec_now() {
            Ok(now) => notify(&[NotifyState::Reloading, now]),
            Err(error) => warn!(%error, "systemd is not told of the reload"),
        }
        let running = Arc::clone(self);
        let work = blocking::run("reload", move || running.replacement());
        match work.await {
            Ok(Ok(Replacement { proof, sockets, problems, in_force })) => {
                let disturbed = self.server.replace(proof, sockets);
                *self.in_force.lock().unwrap_or_else(PoisonError::into_inner) = in_force;
                *self.problems.lock().unwrap_or_else(PoisonError::into_inner) = problems;
                info!(disturbed, "configuration reloaded");
            }
            Ok(Err(error)) => {
                error!(error = %text_of(&error), "the configuration was not reloaded; the old one stays in force");
            }
            Err(error) => error!(%error, "the configuration was not reloaded"),
        }
        notify(&[NotifyState::Ready]);
    }

    /// All of a reload that may fail. Blocks.
    fn replacement(&self) -> Result<Replacement, Failure> {
        let loaded = config::load(&self.path)?;
        let file = self.path.display().to_string();
        let found = all_problems(&loaded);
        let placed: Vec<_> =
            found.iter().map(|problem| problems::placed(problem, &file, &loaded.text)).collect();
        let new = self.new_errors(&found);
        for problem in &new {
            let PlacedProblem { file, line, column, code, message, help, .. } =
                problems::placed(problem, &file, &loaded.text);
            error!("{file}:{line}:{column}: {message} [{code}]; {help}");
        }
        match new.len() {
            0 => {}
            1 => return Err(Failure::new("it has an error")),
            refused => return Err(Failure::new(format!("it has {refused} errors"))),
        }
        let sockets = listener::prepare(
            &loaded.document.configuration.table,
            &self.server.endpoints(),
            Vec::new(),
        )
        .map_err(|error| Failure::because("cannot listen", error))?;
        let proof =
            prove(loaded.document.configuration).map_err(|error| Failure::because(file, error))?;
        let in_force = (loaded.folder, loaded.text);
        Ok(Replacement { proof, sockets, problems: placed, in_force })
    }

    /// The errors of a new configuration that stand in its way. Those of files do not where the
    /// configuration in force has them too by now: a certificate that has expired since, or a
    /// folder that is gone, must not keep other sites from being changed.
    fn new_errors<'a>(&self, found: &'a [Problem]) -> Vec<&'a Problem> {
        let errors: Vec<_> =
            found.iter().filter(|problem| problem.severity() == Severity::Error).collect();
        // To look at all files once more takes as long as the first time, and is seldom needed.
        if !errors.iter().any(|problem| is_of_files(problem.code)) {
            return errors;
        }
        let (folder, text) = self.in_force();
        unknown(errors, &all_problems(&config::parsed(&self.path, &folder, text)))
    }
}

/// A configuration that can be served instead of the one in force.
struct Replacement {
    proof: Proof,
    sockets: listener::Prepared,
    problems: Vec<PlacedProblem>,
    in_force: (PathBuf, String),
}

/// Those of `errors` that are not `known`, and all that are not of files.
fn unknown<'a>(mut errors: Vec<&'a Problem>, known: &[Problem]) -> Vec<&'a Problem> {
    let known: HashSet<_> =
        known.iter().map(|known| (known.code, known.message.as_str())).collect();
    errors.retain(|error| {
        !is_of_files(error.code) || !known.contains(&(error.code, error.message.as_str()))
    });
    errors
}

/// Whether a problem is one of files, which can come and go without the configuration changing.
fn is_of_files(code: Code) -> bool {
    matches!(
        code,
        Code::UnreadableFile
            | Code::UnreadableFolder
            | Code::BadCertificate
            | Code::KeyMismatch
            | Code::Expired
            | Code::NotYetValid
            | Code::NotCovered
            | Code::NoCertificate
            | Code::AddressNotLocal
    )
}

/// Looks at all files of the configuration once it is served, and says what is broken: each stops
/// its own names only, and nobody should have to find out by a visitor.
async fn inspect_in_background(running: Arc<Running>) {
    // What is served, not what may stand in the file by now.
    let (folder, text) = running.in_force();
    let path = running.path.clone();
    let inspected = blocking::run("inspect the configuration", move || {
        let loaded = config::parsed(&path, &folder, text);
        let file = path.display().to_string();
        let problems = all_problems(&loaded);
        let placed: Vec<_> =
            problems.iter().map(|p| problems::placed(p, &file, &loaded.text)).collect();
        (placed, loaded.text)
    });
    let Ok((problems, text)) = inspected.await else { return };
    for problem in &problems {
        let PlacedProblem { severity, file, line, column, code, message, .. } = problem;
        match severity.as_str() {
            "error" => error!("{file}:{line}:{column}: {message} [{code}]"),
            "warning" => warn!("{file}:{line}:{column}: {message} [{code}]"),
            _ => {}
        }
    }
    // A reload that came between knows better.
    let in_force = running.in_force.lock().unwrap_or_else(PoisonError::into_inner);
    if in_force.1 == text {
        *running.problems.lock().unwrap_or_else(PoisonError::into_inner) = problems;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_files_that_is_there_already_does_not_stand_in_the_way() {
        let problem = |code, message: &str| Problem::new(code, 0..0, message, "");
        let expired = problem(Code::Expired, "certificate a has expired 2 days ago");
        let other = problem(Code::Expired, "certificate b has expired 2 days ago");
        let wrong = problem(Code::UnknownKey, "x");
        let found = [&expired, &other, &wrong];
        let left = unknown(found.to_vec(), &[expired.clone(), wrong.clone()]);
        assert_eq!(left.len(), 2);
        assert!(std::ptr::eq(left[0], &other) && std::ptr::eq(left[1], &wrong));
    }
}
