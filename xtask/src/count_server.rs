//! A server under callgrind, and who asks it.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use crate::count::{Programs, because, output, total};

/// The only name that is asked for.
const NAME: &str = "name00000.bench.test";
/// So long a server may take to start or to stop: under valgrind all takes fifty times as long.
const PATIENCE: Duration = Duration::from_secs(120);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Lets `valgrind` count the instructions of `program`.
pub(crate) fn counted<'a>(
    valgrind: &'a mut Command,
    folder: &Path,
    program: &Path,
) -> &'a mut Command {
    let file = folder.join("callgrind.out");
    valgrind
        .args(["--quiet", "--tool=callgrind"])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(program)
}

/// One site with one name and a fixed answer of 1,024 bytes: no file is looked at, which would
/// depend on the time.
pub(crate) struct Site {
    folder: PathBuf,
    bindery: PathBuf,
    bench: PathBuf,
    port: u16,
}

impl Site {
    pub(crate) fn make(programs: &Programs, folder: &Path) -> Result<Self, String> {
        let bench = programs.bench.clone();
        output(Command::new(&bench).args(["certs", "--names", "1", "--out"]).arg(folder))?;
        let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let port = free.map_err(|error| format!("no free port: {error}"))?.port();
        let text = format!(
            "version = 1\n[server]\nworkers = 1\nstate_dir = 'state'\n\
             [[certificate]]\nname = 'a'\nfile = 'certs/00000.pem'\n\
             [[site]]\nname = 'a'\nrespond = '{}'\nbindings = ['https/127.0.0.1:{port}:{NAME}']\n",
            "x".repeat(1024)
        );
        let path = folder.join("bindery.toml");
        fs::write(&path, text).map_err(|error| because(&path, &error))?;
        Ok(Self { folder: folder.to_owned(), bindery: programs.bindery.clone(), bench, port })
    }

    /// The instructions of a server from its start to its end, with `work` between.
    pub(crate) fn count(
        &self,
        work: impl FnOnce(&Self) -> Result<(), String>,
    ) -> Result<u64, String> {
        let mut command = Command::new("valgrind");
        counted(&mut command, &self.folder, &self.bindery)
            .arg("run")
            .current_dir(&self.folder)
            .stderr(Stdio::null());
        let child = command.spawn().map_err(|error| format!("valgrind cannot be run: {error}"))?;
        let mut server = Running(child);
        server.wait("starts", |_| Ok(TcpStream::connect(("127.0.0.1", self.port)).is_ok()))?;
        work(self)?;
        output(Command::new("kill").arg(server.0.id().to_string()))?;
        server.wait("stops", |child| Ok(child.try_wait()?.is_some()))?;
        total(&self.folder)
    }

    /// So many connections one after another, with one request each.
    pub(crate) fn handshakes(&self, times: u64, resume: bool) -> Result<(), String> {
        let mut command = Command::new(&self.bench);
        command.args(["handshakes", "--names", "1", "--concurrency", "1"]);
        command.args(["--port", &self.port.to_string(), "--count", &times.to_string()]);
        if resume {
            command.arg("--resume");
        }
        output(&mut command).map(drop)
    }

    /// So many requests one after another on one connection.
    pub(crate) fn requests(&self, times: u64, http2: bool) -> Result<(), String> {
        let port = self.port;
        let mut command = Command::new("curl");
        command
            .args(["--silent", "--show-error", "--fail", "--insecure", "--user-agent", ""])
            .arg(if http2 { "--http2" } else { "--http1.1" })
            .args(["--resolve", &format!("{NAME}:{port}:127.0.0.1")])
            .args(["--output", "/dev/null", "--write-out", "%{http_version} %{num_connects}\n"])
            .arg(format!("https://{NAME}:{port}/?[1-{times}]"));
        let text = output(&mut command)?;
        let version = if http2 { "2 0" } else { "1.1 0" };
        // All but the first came on a connection that was open.
        let kept = text.lines().filter(|line| *line == version).count();
        match u64::try_from(kept).is_ok_and(|kept| kept + 1 == times) {
            true => Ok(()),
            false => Err(format!("{kept} of {times} requests came on a kept connection")),
        }
    }
}

/// A program that is killed when it is no longer wanted.
struct Running(Child);

impl Running {
    fn wait(
        &mut self,
        what: &str,
        mut holds: impl FnMut(&mut Child) -> std::io::Result<bool>,
    ) -> Result<(), String> {
        let began = Instant::now();
        while !holds(&mut self.0).map_err(|error| error.to_string())? {
            if began.elapsed() > PATIENCE {
                return Err(format!("the server never {what}"));
            }
            sleep(POLL_INTERVAL);
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
