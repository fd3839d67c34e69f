//! A server that runs: started on its core, ended when it is no longer needed.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::client::exchange::Task;
use crate::client::{Offer, Version, probe};
use crate::failure::{Context, Failure};
use crate::fleet::LOCALHOST;
use crate::peers::{Peer, Place};
use crate::process;

/// A server that does not answer by then is given up.
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// A server that has not ended by then is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// The cores of the two sides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    pub server: usize,
    pub client: usize,
}

/// A server process. Dropping it ends it and its children.
pub(crate) struct Running {
    pub peer: Peer,
    pub place: Place,
    /// From the start of the process to its first answer.
    pub start_seconds: f64,
    child: Child,
}

impl Running {
    /// Starts a server on its core and waits for its first answer.
    pub(crate) fn start(peer: &Peer, place: Place, cores: Cores) -> Result<Self, Failure> {
        fs::create_dir_all(&place.folder)
            .context(|| format!("cannot create {}", place.folder.display()))?;
        let mut command = command(peer, &place)?;
        // A child runs where the thread runs that starts it.
        process::pin(cores.server)?;
        let started = Instant::now();
        let spawned =
            command.spawn().context(|| format!("cannot start {}", peer.program.display()));
        process::pin(cores.client)?;
        let mut running = Self { peer: peer.clone(), place, start_seconds: 0.0, child: spawned? };
        running.wait_for_answer(started)?;
        running.start_seconds = started.elapsed().as_secs_f64();
        Ok(running)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.place.port))
    }

    fn wait_for_answer(&mut self, started: Instant) -> Result<(), Failure> {
        let plain = Offer::PLAIN;
        let old = Offer { version: Version::Tls12, ..plain };
        loop {
            if let Some(status) = self.child.try_wait().context(|| "cannot wait".to_owned())? {
                let (peer, log) = (&self.peer, self.log_end());
                return Err(Failure::new(format!("{peer} ended with {status}: {log}")));
            }
            let mut error = None;
            for offer in [&plain, &old] {
                match probe(self.address(), offer, LOCALHOST, Task::KeepHttp1) {
                    Ok(()) => return Ok(()),
                    Err(failure) => error = Some(failure),
                }
            }
            if started.elapsed() > START_TIMEOUT {
                let last = error.map_or_else(String::new, |failure| failure.chain());
                let peer = &self.peer;
                return Err(Failure::new(format!("{peer} does not answer: {last}")));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn log_end(&self) -> String {
        let files = [self.place.folder.join("output.log"), self.place.folder.join("error.log")];
        let text: String = files.iter().filter_map(|file| fs::read_to_string(file).ok()).collect();
        let lines: Vec<_> = text.lines().rev().take(3).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }

    fn stop(&mut self) {
        let members = process::tree(self.pid());
        signal(self.pid(), Signal::TERM);
        let asked = Instant::now();
        while asked.elapsed() < STOP_TIMEOUT && matches!(self.child.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(20));
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            for pid in members {
                signal(pid, Signal::KILL);
            }
            // It has been killed, so there is nothing left to learn from its status.
            let _status = self.child.wait();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

fn command(peer: &Peer, place: &Place) -> Result<Command, Failure> {
    let launch = peer.configure(place)?;
    let log_file = place.folder.join("output.log");
    let what = || format!("cannot write {}", log_file.display());
    let log = File::create(&log_file).context(what)?;
    let mut command = Command::new(&peer.program);
    command
        .args(&launch.arguments)
        .envs(launch.environment)
        .current_dir(&place.folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().context(what)?)
        .stderr(log);
    Ok(command)
}

fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended by itself, which is as good.
        let _gone = kill_process(pid, signal);
    }
}

/// A port that is free at this moment.
pub(crate) fn free_port() -> Result<u16, Failure> {
    let what = || "no free port".to_owned();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context(what)?;
    Ok(listener.local_addr().context(what)?.port())
}
