//! The comparison: start the servers, load them in turn, count their processor time.
//!
//! All servers are started once, each on the server core, and stay up: one that has nothing to do
//! costs nothing. A round of a scenario loads them one after the other, so that whatever disturbs
//! the machine disturbs all of them.

pub(crate) mod machine;
mod measure;
mod report;
mod scenario;
pub(crate) mod tools;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use crate::client::{self, Offer, Version};
use crate::failure::{Context, Failure};
use crate::fleet::Fleet;
use crate::peers::{Cores, Given, Kind, Peer, Place, Running, free_port};
use crate::upstreams::Upstreams;
use crate::{idle, process};
use measure::{Names, Subject};
use report::{Report, Start};
use scenario::{IDLE_TASKS, Scenario, Setting};

/// Names where the number of names is not what is measured. Some servers look through all of them
/// for each request, and with thousands that would be all that is seen.
const FEW_NAMES: u32 = 16;

/// With so many names a server is tried that cannot start with all.
const FEWER_NAMES: u32 = 1_000;

#[derive(Args)]
pub(crate) struct RunArguments {
    /// Only these scenarios
    #[arg(long, value_delimiter = ',', value_name = "SCENARIO,..")]
    only: Vec<Scenario>,
    /// Only these servers
    #[arg(long, value_delimiter = ',', value_name = "PEER,..")]
    peers: Vec<Kind>,
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// The length of one round for one server
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// For handshakes; requests on kept connections and idle connections have few names
    #[arg(long, default_value_t = 10_000)]
    names: u32,
    #[arg(long, default_value_t = 9_000)]
    idle_connections: usize,
    /// An nginx; given more than once, each is a row, and the first is the base of all ratios
    #[arg(long, value_name = "PATH")]
    nginx: Vec<PathBuf>,
    #[arg(long, value_name = "PATH")]
    haproxy: Option<PathBuf>,
    #[arg(long, value_name = "PATH")]
    caddy: Option<PathBuf>,
    #[arg(long, value_name = "PATH")]
    h2o: Option<PathBuf>,
    #[arg(long, value_name = "PATH", default_value = "target/release/bindery")]
    bindery: PathBuf,
    /// Let nginx remember open files for a minute instead of opening them for each request
    #[arg(long)]
    nginx_open_file_cache: bool,
    #[arg(long, default_value_t = 0)]
    server_core: usize,
    #[arg(long, default_value_t = 1)]
    client_core: usize,
    /// Every single figure, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl RunArguments {
    fn scenarios(&self) -> Vec<Scenario> {
        let mut chosen = if self.only.is_empty() { Scenario::all() } else { self.only.clone() };
        chosen.sort_unstable();
        chosen.dedup();
        chosen
    }

    /// The programs to compare, nginx first. What is missing is noted.
    fn find_peers(&self, report: &mut Report) -> Vec<Peer> {
        let nginx: Vec<_> = self.nginx.iter().map(|path| Some(path.as_path())).collect();
        let nginx = if nginx.is_empty() { vec![None] } else { nginx };
        let mut wanted: Vec<_> = nginx.into_iter().map(|path| (Kind::Nginx, path)).collect();
        wanted.extend([
            (Kind::Haproxy, self.haproxy.as_deref()),
            (Kind::Caddy, self.caddy.as_deref()),
            (Kind::H2o, self.h2o.as_deref()),
            (Kind::Bindery, Some(self.bindery.as_path())),
        ]);
        wanted.retain(|(kind, _)| self.peers.is_empty() || self.peers.contains(kind));
        let mut found: Vec<Peer> = Vec::new();
        for (kind, path) in wanted {
            let same = found.iter().filter(|peer| peer.kind == kind).count();
            let label = match same {
                0 => kind.name().to_owned(),
                _ => format!("{}-{}", kind.name(), same + 1),
            };
            match Peer::find(kind, &label, path) {
                Ok(peer) => found.push(peer),
                Err(failure) => report.note(failure.chain()),
            }
        }
        found
    }

    fn cores(&self) -> Cores {
        Cores { server: self.server_core, client: self.client_core }
    }

    fn round(&self) -> Duration {
        Duration::from_secs_f64(self.seconds.clamp(0.1, 3600.0))
    }
}

/// Does everything and prints the report.
pub(crate) fn run(arguments: &RunArguments) -> Result<(), Failure> {
    process::raise_open_files()?;
    let scenarios = arguments.scenarios();
    let mut report = Report { machine: machine::describe(), ..Report::default() };
    let peers = arguments.find_peers(&mut report);
    report.peers = peers.iter().map(|peer| (peer.label.clone(), peer.version.clone())).collect();
    let folder = tempfile::Builder::new()
        .prefix("bindery-bench-")
        .tempdir()
        .context(|| "cannot create a temporary folder".to_owned())?;
    open_to_all(folder.path())?;
    for setting in Setting::ALL {
        let group = Group {
            setting,
            scenarios: scenarios.iter().copied().filter(|one| one.setting() == setting).collect(),
            folder: folder.path().join(setting.title()),
            names: if setting == Setting::ManyNames { arguments.names } else { FEW_NAMES },
        };
        if !group.scenarios.is_empty() {
            group.run(arguments, &peers, &mut report)?;
        }
    }
    println!("{}", report.markdown(&scenarios));
    match &arguments.json {
        Some(file) => write_json(file, &report),
        None => Ok(()),
    }
}

/// Scenarios that share servers.
struct Group {
    setting: Setting,
    scenarios: Vec<Scenario>,
    folder: PathBuf,
    names: u32,
}

impl Group {
    fn run(
        &self,
        arguments: &RunArguments,
        peers: &[Peer],
        report: &mut Report,
    ) -> Result<(), Failure> {
        eprintln!("making {} certificates", self.names);
        // The client's core is set only now: certificates are made on all of them.
        let fleet = Fleet::create(&self.folder, self.names)?;
        let everywhere = process::cores()?;
        process::pin(arguments.client_core)?;
        let loaded: Vec<_> =
            self.scenarios.iter().copied().filter(|one| *one != Scenario::Idle).collect();
        if !loaded.is_empty() {
            self.compare(arguments, (&fleet, &loaded), peers, report)?;
        }
        if self.scenarios.contains(&Scenario::Idle) {
            for peer in peers {
                idle_costs(arguments, &fleet, peer, report);
            }
        }
        process::run_on(&everywhere)
    }

    /// All scenarios under load.
    fn compare(
        &self,
        arguments: &RunArguments,
        (fleet, scenarios): (&Fleet, &[Scenario]),
        peers: &[Peer],
        report: &mut Report,
    ) -> Result<(), Failure> {
        let names = Names::of(fleet)?;
        let upstreams = match self.setting {
            Setting::FewNames => Some(Upstreams::start(fleet)?),
            Setting::ManyNames | Setting::Logged => None,
        };
        let given = Given {
            upstreams: upstreams.as_ref().map(|upstreams| upstreams.ports),
            access_log: self.setting == Setting::Logged,
            open_file_cache: arguments.nginx_open_file_cache,
            changeable: false,
            iis: None,
        };
        let mut running = Vec::new();
        for peer in peers {
            match start_with_names(arguments, (fleet, given), peer, report) {
                Ok(server) if is_right(&server, &names, report) => running.push(server),
                Ok(_) => {}
                Err(failure) => report.note(format!("{peer} is left out: {}", failure.chain())),
            }
        }
        for scenario in scenarios {
            let mut subjects = Vec::new();
            for server in &running {
                eprintln!("{}: {} warms up", scenario.title(), server.peer);
                match Subject::prepare(server, scenario.load(self.names), &names) {
                    Ok(subject) => subjects.push(subject),
                    Err(failure) => report.note(skipped(&server.peer, *scenario, &failure)),
                }
            }
            for round in 1..=arguments.rounds {
                eprintln!("{}: round {round}", scenario.title());
                subjects.retain_mut(|subject| self.sampled(arguments, *scenario, subject, report));
            }
        }
        Ok(())
    }

    /// One round of one server; false when it is to be left out from now on.
    fn sampled(
        &self,
        arguments: &RunArguments,
        scenario: Scenario,
        subject: &mut Subject<'_>,
        report: &mut Report,
    ) -> bool {
        let sample = subject.sample(arguments.round(), &self.folder);
        let peer = &subject.server().peer;
        match sample {
            Ok(sample) => report.add(scenario, &peer.label, sample),
            Err(failure) => {
                report.note(skipped(peer, scenario, &failure));
                return false;
            }
        }
        true
    }
}

fn skipped(peer: &Peer, scenario: Scenario, failure: &Failure) -> String {
    format!("{peer} is left out of \"{}\": {}", scenario.title(), failure.chain())
}

/// Starts a server with all names, or with fewer when it cannot.
fn start_with_names(
    arguments: &RunArguments,
    (fleet, given): (&Fleet, Given),
    peer: &Peer,
    report: &mut Report,
) -> Result<Running, Failure> {
    eprintln!("starting {peer} with {} names", fleet.names);
    let server = match start(arguments, (fleet, given), peer) {
        Ok(server) => server,
        Err(failure) if fleet.names > FEWER_NAMES => {
            let all = failure.chain();
            report.note(format!("{peer} is given {FEWER_NAMES} names, as with all of them: {all}"));
            let fewer = Fleet { names: FEWER_NAMES, ..fleet.clone() };
            start(arguments, (&fewer, given), peer)?
        }
        Err(failure) => return Err(failure),
    };
    let start = Start {
        names: server.place.fleet.names,
        seconds: server.start_seconds,
        memory_bytes: process::memory_bytes(server.pid())?,
    };
    // The first start is the one with many names, if any scenario has them.
    report.starts.entry(peer.label.clone()).or_insert(start);
    Ok(server)
}

fn start(
    arguments: &RunArguments,
    (fleet, given): (&Fleet, Given),
    peer: &Peer,
) -> Result<Running, Failure> {
    let place = Place {
        fleet: fleet.clone(),
        port: free_port()?,
        folder: fleet.folder.join(&peer.label),
        given,
    };
    Running::start(peer, place, arguments.cores())
}

/// Whether every name shows its own certificate and is answered. Also warms the server up.
fn is_right(server: &Running, names: &Names, report: &mut Report) -> bool {
    let peer = &server.peer;
    eprintln!("{peer}: checking the certificate of each name");
    let plain = Offer::PLAIN;
    let tls13 = client::probe(server.address(), &plain, crate::fleet::LOCALHOST, measure::PROBE);
    let version = if tls13.is_ok() { Version::Tls13 } else { Version::Tls12 };
    let offer = Offer { version, ..plain };
    match measure::check_names(server, &offer, names) {
        Ok(()) => true,
        Err(failure) => {
            report.note(format!("{peer} is left out: {}", failure.chain()));
            false
        }
    }
}

/// Memory of idle connections in each state; a fresh server each time, as freed memory is reused.
fn idle_costs(arguments: &RunArguments, fleet: &Fleet, peer: &Peer, report: &mut Report) {
    for (task, title) in IDLE_TASKS {
        eprintln!("Idle connections: {peer}, {title}");
        let cost = start(arguments, (fleet, Given::default()), peer).and_then(|server| {
            let name = client::server_name(crate::fleet::LOCALHOST.to_owned())?;
            let load = (server.pid(), arguments.idle_connections);
            idle::measure(server.address(), name, task, load)
        });
        match cost {
            Ok(cost) => {
                report.idle.entry(peer.label.clone()).or_default().push((title.to_owned(), cost));
            }
            Err(failure) => report.note(format!("{peer}, idle, {title}: {}", failure.chain())),
        }
    }
}

/// Servers that give up root must still be able to read the files.
pub(crate) fn open_to_all(folder: &Path) -> Result<(), Failure> {
    fs::set_permissions(folder, Permissions::from_mode(0o755))
        .context(|| format!("cannot open {} to all", folder.display()))
}

fn write_json(file: &Path, report: &Report) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(report).context(|| "cannot print".to_owned())?;
    fs::write(file, text).context(|| format!("cannot write {}", file.display()))
}
