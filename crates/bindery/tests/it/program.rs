//! The built program in a folder of its own, with certificates of a CA of its own.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::{
        fs::{PermissionsExt as _, symlink},
        net::UnixDatagram,
    },
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

use bindery_testkit::ca::TestCa;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::{NamedTempFile, TempDir};

/// The built program.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_bindery");
/// So long anything may take that is waited for.
const DEADLINE: Duration = Duration::from_secs(30);

/// A folder with a configuration.
pub(crate) struct Folder {
    pub(crate) dir: TempDir,
    pub(crate) ca: TestCa,
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Folder {
    /// A folder with this `bindery.toml`, its head added, and the CA in `ca.pem`.
    pub(crate) fn new(config: &str) -> Self {
        let folder = Self { dir: tempfile::tempdir().unwrap(), ca: TestCa::new() };
        drop(folder.ca.write(folder.path(), "ca"));
        folder.configure(config);
        folder
    }

    /// Writes the configuration anew; a server that runs takes it up.
    pub(crate) fn configure(&self, config: &str) {
        self.configure_in("bindery.toml", config);
    }

    /// Writes a configuration into a file of this name.
    pub(crate) fn configure_in(&self, name: &str, config: &str) {
        let (server, rest) = match config.trim_start().strip_prefix("[server]") {
            Some(rest) => ("", format!("[server]{rest}")),
            None => ("[server]\n", config.to_owned()),
        };
        let mut text = format!("version = 1\n{server}{rest}");
        text = text.replacen("[server]\n", "[server]\nstate_dir = \"state\"\n", 1);
        fs::write(self.path().join(name), text).unwrap();
    }

    /// A certificate for these names in `<name>.pem`.
    pub(crate) fn certificate(&self, name: &str, names: &[&str]) {
        drop(self.ca.leaf(names).write(self.path(), name));
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Runs `bindery` with these words, in the folder.
    pub(crate) fn run(&self, words: &str) -> Done {
        self.run_as(Path::new(PROGRAM), words)
    }

    /// Runs a server that is not to start.
    #[track_caller]
    pub(crate) fn refused(&self, words: &[&str]) -> Done {
        let mut server = Background::start(self.path(), &[&["run"], words].concat());
        let code = server.ended().unwrap_or(-1);
        Done { code, out: String::new(), err: server.log() }
    }

    /// Runs the program through a link of this name.
    pub(crate) fn run_linked(&self, name: &str, words: &str) -> Done {
        let link = self.path().join(name);
        if !link.exists() {
            symlink(PROGRAM, &link).unwrap();
        }
        self.run_as(&link, words)
    }

    fn run_as(&self, program: &Path, words: &str) -> Done {
        let mut command = Command::new(program);
        let output = command.args(words.split_whitespace()).current_dir(self.path()).output();
        Done::of(&output.unwrap())
    }
}

impl Done {
    pub(crate) fn of(output: &std::process::Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout.clone()).unwrap(),
            err: String::from_utf8(output.stderr.clone()).unwrap(),
        }
    }

    /// That the exit code is this, and every one of these texts is in the output: as it is, or
    /// broken over lines.
    #[track_caller]
    pub(crate) fn check(&self, code: i32, texts: &[&str]) {
        let Self { out, err, .. } = self;
        let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        for text in texts {
            let found = out.contains(text) || flat(out).contains(&flat(text));
            assert!(found, "{text:?} is missing\n{out}\n{err}");
        }
        assert_eq!(self.code, code, "{out}\n{err}");
        for line in out.lines() {
            assert!(line.chars().count() <= 80, "too wide for a terminal: {line}");
        }
    }

    /// The output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).expect("the output is JSON")
    }
}

/// A port that nobody listens on, at any address. The program must be told it before it starts, so
/// the kernel cannot choose it; what it chooses are ports that other tests' clients draw from too.
/// These lie below those (net.ipv4.ip_local_port_range), and each is given once.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 200 * 100).expect("less than 20,000");
    loop {
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + first.wrapping_add(next) % 20_000;
        if TcpListener::bind(SocketAddr::from(([0, 0, 0, 0], port))).is_ok() {
            return port;
        }
    }
}

/// An address of this machine.
pub(crate) fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Says why a test ends before it has begun.
#[allow(clippy::print_stderr, reason = "a skipped test says so where tests speak")]
pub(crate) fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}

/// Waits until something holds.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < DEADLINE, "{what} took longer than {DEADLINE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A program that runs until it is told to stop; killed when dropped.
pub(crate) struct Background {
    child: Child,
    out: Option<BufReader<ChildStdout>>,
    log: NamedTempFile,
    /// Who is told what it does; kept, so that it can be told.
    manager: Option<(UnixDatagram, TempDir)>,
}

impl Background {
    pub(crate) fn start(folder: &Path, words: &[&str]) -> Self {
        Self::of(Command::new(PROGRAM).args(words).current_dir(folder).stdout(Stdio::piped()))
    }

    /// A server with the configuration of a folder, once it says that it is ready.
    #[track_caller]
    pub(crate) fn serving(folder: &Folder) -> Self {
        Self::serving_in(folder, "bindery.toml")
    }

    /// The same with the configuration in a file of this name.
    #[track_caller]
    pub(crate) fn serving_in(folder: &Folder, name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_nonblocking(true).unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        let mut command = Command::new(PROGRAM);
        command.args(["run", "--verbose", "--config", name]).current_dir(folder.path());
        command.env("NOTIFY_SOCKET", &path);
        let mut server = Self::of(&mut command);
        let mut message = [0; 64];
        until("a server that is ready", || {
            let ended = server.child.try_wait().unwrap();
            assert!(ended.is_none(), "it has ended\n{}", server.log());
            manager.recv(&mut message).is_ok()
        });
        assert!(message.starts_with(b"READY=1\n"));
        server.manager = Some((manager, dir));
        server
    }

    /// A command with everything set but where its log goes.
    pub(crate) fn of(command: &mut Command) -> Self {
        let log = NamedTempFile::new().unwrap();
        let mut child = command.stderr(log.reopen().unwrap()).spawn().unwrap();
        let out = child.stdout.take().map(BufReader::new);
        Self { child, out, log, manager: None }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// What it has logged until now.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log.path()).unwrap()
    }

    /// Waits until this is in the log, so many times.
    #[track_caller]
    pub(crate) fn logged(&mut self, text: &str, times: usize) -> String {
        let started = Instant::now();
        loop {
            let ended = self.child.try_wait().unwrap();
            let log = self.log();
            if log.matches(text).count() >= times {
                return log;
            }
            assert!(ended.is_none(), "it has ended without {text:?}\n{log}");
            assert!(started.elapsed() < DEADLINE, "{text:?} is not logged\n{log}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for its end. Its exit code.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> Option<i32> {
        let mut end = None;
        until("the end of the program", || {
            end = self.child.try_wait().unwrap();
            end.is_some()
        });
        end.and_then(|status| status.code())
    }

    /// Waits until somebody listens there.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, address: SocketAddr) {
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(self.child.try_wait().unwrap().is_none(), "it has ended\n{}", self.log());
            assert!(started.elapsed() < DEADLINE, "nobody listens on {address}");
            std::thread::yield_now();
        }
    }

    /// What it prints, up to the line that begins with `last`.
    pub(crate) fn printed_until(&mut self, last: &str) -> String {
        let out = self.out.as_mut().expect("standard output is piped");
        let mut text = String::new();
        loop {
            let start = text.len();
            assert!(out.read_line(&mut text).unwrap() > 0, "it has ended after\n{text}");
            if text[start..].trim_start().starts_with(last) {
                return text;
            }
        }
    }

    /// Stops it as a service manager does. Its exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        let mut rest = String::new();
        if let Some(out) = &mut self.out {
            // Ends when the program does.
            out.read_to_string(&mut rest).unwrap();
        }
        self.child.wait().unwrap().code()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
