//! `bindery run`: wires configuration, sockets, server, signals and the API together.

use std::{
    net::TcpListener, num::NonZero, path::Path, process::ExitCode, sync::Arc, time::Duration,
};

use bindery_control::{
    api::{self, About, Api},
    applier::{Applier, Outcome, Request, What},
    client::Client,
    history::{Actor, Door},
    home::{Home, Loaded},
    problems::PlacedProblem,
    steps::Observer,
    watch,
};
use bindery_model::document::Settings;
use bindery_server::{
    blocking::{self, Background},
    inspect::has_errors,
    limits::BLOCKING_THREADS_MAX,
    listener::{self, ListenError},
    scheduling,
    server::Server,
    text_of,
};
use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;
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
    admin::{self, Admin, Answers, Metrics},
    commands::change::helped,
    config,
    output::{self, Failure},
    privileges::{self, User},
    problems,
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
    if has_errors(&loaded.document.problems) || !loaded.beside.is_empty() {
        let file = path.display().to_string();
        let (found, own) = (&loaded.document.problems, (file.as_str(), loaded.text.as_str()));
        output::note(problems::rendered(&loaded.beside, found, own, false));
        return Err(Failure::new(format!("{file} cannot be served")));
    }
    serve(loaded, |_| {})
}

/// Log lines go to standard error, with a time unless a journal adds its own. Only ours: what
/// libraries say of strangers has no bound.
pub(crate) fn start_log(verbose: bool, json: bool) {
    let level = if verbose { Level::DEBUG } else { Level::INFO };
    let crates = ["bindery", "bindery_control", "bindery_server"];
    let ours = Targets::new().with_targets(crates.map(|name| (name, level)));
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
    let settings = loaded.document.configuration.settings.clone();
    let state_dir = loaded.state_folder();
    let user = settings.user.as_deref().map(User::to_become).transpose()?.flatten();
    let sockets =
        listener::prepare(&loaded.document.configuration.table, &Default::default(), inherited())
            .map_err(|error| not_listening(error, &loaded.home, &state_dir))?;
    // Before giving up root, as the others.
    let admin_socket = admin::prepare(settings.admin)?;
    let state_folder = privileges::make_state_folder(&state_dir, user.as_ref());
    if let Some(user) = user {
        user.replace_root()?;
    }
    // After giving up root, so that the socket is the user's own and can be removed by it.
    let control_socket = state_folder.and_then(|()| api::listen(&state_dir)).inspect_err(|error| {
        let folder = state_dir.display();
        warn!(%folder, %error, "commands cannot ask: the state folder cannot be used");
    });
    let has_socket = control_socket.is_ok();
    // After giving up root: what is read now must be readable later, at every change.
    let applier = Applier::open(loaded, Observer::default())
        .map_err(|refused| Failure::because("the server cannot start", refused))?;
    if let Err(error) = applier.state() {
        warn!(%error, "nothing but the file can be changed: the state folder cannot be used");
    }
    let (proof, revision) = applier.proof();

    let runtime = runtime(&settings)?;
    let code = runtime.block_on(async {
        // First: from now on a signal does what it says, whatever has been told to whom.
        let signals = Signals::listen()?;
        let server = Server::start(proof, sockets, revision)
            .map_err(|error| Failure::because("the server cannot start", error))?;
        let server = Arc::new(server);
        let answers = Answers { metrics: metrics(&server), api: Api::new(applier.clone()) };
        let api = answers.api.clone();
        let admin = Arc::new(Admin::new(answers));
        admin.adopt(admin_socket);
        applier.serve(Arc::clone(&server), admin::beside(&admin));
        if let Ok(socket) = control_socket
            && let Ok(socket) = UnixListener::from_std(socket)
        {
            tokio::spawn(api::serve(socket, api));
        }
        let running = Running { server, applier, _admin: admin };
        // Before anybody can change anything.
        let known = running.applier.problems();
        // Who is told that it is ready may edit the file at once.
        let _watch = watch::watch(running.applier.clone())
            .inspect_err(|error| warn!(%error, "edits of the file are not seen"));
        ready(&running.server);
        notify(&[NotifyState::Ready]);
        tokio::spawn(inspect_in_background(running.applier.clone(), known));
        running.until_stopped(signals).await
    });
    if has_socket {
        drop(std::fs::remove_file(api::socket_path(&state_dir)));
    }
    // What the end of the drain time left is not waited for again.
    runtime.shutdown_background();
    code
}

/// Why sockets cannot be opened: the port is taken by a server of the same file, as a rule.
fn not_listening(error: ListenError, home: &Home, state_dir: &Path) -> Failure {
    let is_taken = matches!(error, ListenError::Taken { .. });
    let running = Client::new(state_dir, Door::Cli).and_then(|client| client.about());
    match running {
        Ok(About { pid, file, .. }) if is_taken && file == home.file => {
            let what = format!("a server of {} runs already, process {pid}", home.path.display());
            let help = format!(
                "it takes up what is changed in the file at once, and reads everything again on \
                 `kill -HUP {pid}`; `bindery status` shows what it does; to start another one, \
                 end it first, by `kill {pid}` or by systemctl where systemd has started it"
            );
            Failure::new(what).with(&helped(&help))
        }
        _ => Failure::because("cannot listen", error),
    }
}

/// What a server counts, for as long as it is there.
fn metrics(server: &Arc<Server>) -> Metrics {
    let server = Arc::downgrade(server);
    Arc::new(move || server.upgrade().map(|server| server.metrics_text()).unwrap_or_default())
}

fn runtime(settings: &Settings) -> Result<Runtime, Failure> {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(settings.workers.unwrap_or(cores))
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_name("bindery")
        .on_thread_start(scheduling::serve)
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

/// A server with the one who changes it.
struct Running {
    server: Arc<Server>,
    applier: Applier,
    _admin: Arc<Admin>,
}

impl Running {
    async fn until_stopped(&self, signals: Signals) -> Result<ExitCode, Failure> {
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

    /// Reads the file again, with everything that it names, and serves what it says now. If that
    /// cannot be served, the old configuration stays in force and the log says why.
    async fn reload(&self) {
        // systemd wants the time with it (sd_notify(3), RELOADING=1).
        match NotifyState::monotonic_usec_now() {
            Ok(now) => notify(&[NotifyState::Reloading, now]),
            Err(error) => warn!(%error, "systemd is not told of the reload"),
        }
        let applier = self.applier.clone();
        let actor = Actor { name: "SIGHUP".to_owned(), door: Door::File };
        let request =
            Request { what: What::Anew, expected: None, actor, dry_run: false, force: false };
        match blocking::run("reload", move || applier.apply(&request)).await {
            Ok(Ok(Outcome { disturbed, .. })) => info!(disturbed, "configuration reloaded"),
            Ok(Err(refused)) => {
                error!(error = %text_of(&refused), "the configuration was not reloaded; the old one stays in force");
            }
            Err(error) => error!(%error, "the configuration was not reloaded"),
        }
        notify(&[NotifyState::Ready]);
    }
}

/// Looks at all files of the configuration once it is served, and says what is broken: each stops
/// its own names only, and nobody should have to find out by a visitor.
async fn inspect_in_background(applier: Applier, known: Arc<Vec<PlacedProblem>>) {
    let background = Background::start("bindery-inspect");
    let inspected =
        background.run("inspect the configuration", move || applier.inspect_untold(&known));
    let Ok(problems) = inspected.await else { return };
    for problem in &problems {
        let PlacedProblem { severity, code, .. } = problem;
        let said = problem.said();
        match severity.as_str() {
            "error" => {
                error!("{said} [{code}]{}", problem.advice());
            }
            "warning" => warn!("{said} [{code}]"),
            _ => {}
        }
    }
}
