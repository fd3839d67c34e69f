//! `bindery run`: wires configuration, sockets, server, signals and status together.

use std::{
    collections::HashSet,
    net::TcpListener,
    num::NonZero,
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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
    server::{Server, prove},
    text_of,
};
use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;
use sd_notify::NotifyState;
use tokio::{
    net::UnixListener,
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
};
use tracing::{Level, error, info, warn};
use tracing_subscriber::{
    Layer as _, filter::Targets, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::{
    ConfigOption,
    admin::{Admin, Metrics},
    commands::check::all_problems,
    config::{self, Loaded},
    output::{self, Failure},
    privileges::{self, User},
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
    let Loaded { path, text, folder, document } = loaded;
    let settings = document.configuration.settings.clone();
    let user = settings.user.as_deref().map(User::to_become).transpose()?.flatten();
    let sockets =
        listener::prepare(&document.configuration.table, &Default::default(), inherited())
            .map_err(|error| Failure::because("cannot listen", error))?;
    // Before giving up root, as the others.
    let admin = Admin::default();
    let admin_socket = admin.prepare(settings.admin)?;
    let state_folder = status::make_folder(&settings.state_dir, user.as_ref());
    if let Some(user) = user {
        user.replace_root()?;
    }
    // After giving up root, so that the socket is the user's own and can be removed by it.
    let status_socket =
        state_folder.and_then(|()| status::listen(&settings.state_dir)).inspect_err(|error| {
            let folder = settings.state_dir.display();
            warn!(%folder, %error, "no status: the state folder cannot be used");
        });
    let has_status = status_socket.is_ok();
    let file = path.display().to_string();
    let in_force = InForce { problems: all_placed(&document.problems, &file, &text), text, folder };
    // After giving up root: what is read now must be readable later, at every change.
    let proof = prove(document.configuration);

    let runtime = runtime(&settings)?;
    let code = runtime.block_on(async {
        // First: from now on a signal does what it says, whatever has been told to whom.
        let signals = Signals::listen()?;
        let server = Server::start(proof, sockets)
            .map_err(|error| Failure::because("the server cannot start", error))?;
        let running = Arc::new(Running { server, path, admin, in_force: Mutex::new(in_force) });
        running.admin.adopt(admin_socket, &running.metrics());
        if let Ok(socket) = status_socket
            && let Ok(socket) = UnixListener::from_std(socket)
        {
            tokio::spawn(status::answer(socket, Arc::clone(&running)));
        }
        ready(&running.server);
        notify(&[NotifyState::Ready]);
        let inspection = tokio::spawn(inspect_in_background(Arc::clone(&running)));
        running.until_stopped(signals, inspection).await
    });
    if has_status {
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

/// Sockets that systemd opened. What else it passes in is of no use here, and closed.
fn inherited() -> Vec<TcpListener> {
    let mut passed = ListenFd::from_env();
    let mut sockets = Vec::new();
    for place in 0..passed.len() {
        match passed.take_tcp_listener(place) {
            Ok(Some(socket)) if socket_acceptconn(&socket).unwrap_or(false) => sockets.push(socket),
            Ok(socket) => {
                warn!("a descriptor was passed in that is no listening socket; it is closed");
                drop(socket);
            }
            Err(_) => {
                warn!("a descriptor was passed in that is no TCP socket; it is not used");
                drop(passed.take_unix_listener(place));
                drop(passed.take_unix_datagram(place));
                drop(passed.take_udp_socket(place));
            }
        }
    }
    sockets
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
    admin: Admin,
    in_force: Mutex<InForce>,
}

/// The configuration in force as it was read.
struct InForce {
    text: String,
    folder: PathBuf,
    /// What was wrong with it when it was last looked at.
    problems: Vec<PlacedProblem>,
}

impl Running {
    /// What it says about itself.
    pub(crate) fn status(&self) -> status::Status {
        let problems = self.in_force().problems.clone();
        status::of(&self.server, &self.path, problems)
    }

    /// What it counts, for as long as it is there.
    fn metrics(self: &Arc<Self>) -> Metrics {
        let own = Arc::downgrade(self);
        Arc::new(move || own.upgrade().map(|own| own.server.metrics_text()).unwrap_or_default())
    }

    fn in_force(&self) -> MutexGuard<'_, InForce> {
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn until_stopped(
        self: &Arc<Self>,
        signals: Signals,
        mut inspection: JoinHandle<()>,
    ) -> Result<ExitCode, Failure> {
        let Signals { mut hangup, mut terminate, mut interrupt } = signals;
        loop {
            tokio::select! {
                _ = hangup.recv() => {
                    // A reload is judged by what is broken already, so that must be known.
                    if !inspection.is_finished() {
                        (&mut inspection).await.ok();
                    }
                    self.reload().await;
                }
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
            Ok(Ok((proof, sockets, admin, next))) => {
                let before = self.server.snapshot();
                let disturbed = self.server.replace(proof, sockets);
                self.admin.adopt(admin, &self.metrics());
                let last = std::mem::replace(&mut *self.in_force(), next);
                self.warn_of_news(&last.problems);
                warn_of_restart(
                    &before.configuration.settings,
                    &self.server.snapshot().configuration.settings,
                );
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
        let placed = all_placed(&found, &file, &loaded.text);
        self.refuse_new_errors(&found, &placed)?;
        let sockets = listener::prepare(
            &loaded.document.configuration.table,
            &self.server.endpoints(),
            Vec::new(),
        )
        .map_err(|error| Failure::because("cannot listen", error))?;
        let admin = self.admin.prepare(loaded.document.configuration.settings.admin)?;
        let proof = prove(loaded.document.configuration);
        let Loaded { text, folder, .. } = loaded;
        Ok((proof, sockets, admin, InForce { text, folder, problems: placed }))
    }

    /// What is wrong with one site's files must not keep others from being changed, so only errors
    /// that the configuration in force does not have already stand in the way. Errors of the text
    /// always do.
    fn refuse_new_errors(
        &self,
        found: &[Problem],
        placed: &[PlacedProblem],
    ) -> Result<(), Failure> {
        let mut in_force = self.in_force().problems.clone();
        if found.iter().any(|problem| is_of_time(problem.code)) {
            in_force.extend(self.problems_of_time());
        }
        let known: HashSet<_> =
            in_force.iter().map(|p| (p.code.as_str(), p.message.as_str())).collect();
        let mut refused = 0;
        for (problem, placed) in found.iter().zip(placed) {
            let is_known = known.contains(&(placed.code.as_str(), placed.message.as_str()));
            if problem.severity() == Severity::Error && !(is_known && is_of_files(problem.code)) {
                refused += 1;
                let PlacedProblem { file, line, column, code, message, help, .. } = placed;
                error!("{file}:{line}:{column}: {message} [{code}]; {help}");
            }
        }
        match refused {
            0 => Ok(()),
            1 => Err(Failure::new("it has an error")),
            _ => Err(Failure::new(format!("it has {refused} errors"))),
        }
    }

    /// Writes what a new configuration is warned of and the `last` one was not.
    fn warn_of_news(&self, last: &[PlacedProblem]) {
        let known: HashSet<_> = last.iter().map(|p| (&p.code, &p.message)).collect();
        for problem in &self.in_force().problems {
            if problem.severity == "warning" && !known.contains(&(&problem.code, &problem.message))
            {
                let PlacedProblem { file, line, column, code, message, .. } = problem;
                warn!("{file}:{line}:{column}: {message} [{code}]");
            }
        }
    }

    /// What has become wrong with the configuration in force by time alone. Blocks.
    fn problems_of_time(&self) -> Vec<PlacedProblem> {
        let loaded = {
            let in_force = self.in_force();
            Loaded::again(&self.path, &in_force.text, &in_force.folder)
        };
        let mut problems = all_problems(&loaded);
        problems.retain(|problem| is_of_time(problem.code));
        all_placed(&problems, &self.path.display().to_string(), &loaded.text)
    }
}

/// Writes which settings were changed that a server takes only when it starts. Each reload compares
/// with the one before, so that a change is said once.
fn warn_of_restart(before: &Settings, now: &Settings) {
    let changed = [
        ("state_dir", before.state_dir != now.state_dir),
        ("workers", before.workers != now.workers),
        ("user", before.user != now.user),
    ];
    for (key, _) in changed.into_iter().filter(|(_, changed)| *changed) {
        warn!(key, "changed, and counts from the next start");
    }
}

type Replacement =
    (bindery_server::server::Proof, listener::Prepared, crate::admin::Prepared, InForce);

fn all_placed(problems: &[Problem], file: &str, text: &str) -> Vec<PlacedProblem> {
    problems.iter().map(|problem| problems::placed(problem, file, text)).collect()
}

/// Whether a problem comes by time alone, with nobody changing anything.
fn is_of_time(code: Code) -> bool {
    matches!(code, Code::Expired | Code::NotYetValid)
}

/// Whether a problem is one of files, which can come and go without the configuration changing.
fn is_of_files(code: Code) -> bool {
    matches!(
        code,
        Code::UnreadableFile
            | Code::UnreadableFolder
            | Code::UnwritableFolder
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
    let own = Arc::clone(&running);
    let inspected = blocking::run("inspect the configuration", move || {
        let loaded = {
            let in_force = own.in_force();
            Loaded::again(&own.path, &in_force.text, &in_force.folder)
        };
        all_placed(&all_problems(&loaded), &own.path.display().to_string(), &loaded.text)
    });
    let Ok(problems) = inspected.await else { return };
    for problem in &problems {
        let PlacedProblem { severity, file, line, column, code, message, .. } = problem;
        match severity.as_str() {
            "error" => error!("{file}:{line}:{column}: {message} [{code}]"),
            "warning" => warn!("{file}:{line}:{column}: {message} [{code}]"),
            _ => {}
        }
    }
    running.in_force().problems = problems;
}
