//! A change to a running server: from asking for a new name until it answers with its certificate,
//! and what a load that goes on meanwhile notices.

mod change;
mod client;
mod report;

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use crate::failure::{Context, Failure};
use crate::fleet::{Fleet, LOCALHOST, host};
use crate::peers::{Cores, Given, Kind, Peer, Place, Running, free_port};
use crate::process;
use crate::run::machine;
use change::Changer;
use client::{Load, New};
use report::{Made, Report, Row};

/// What Bindery's configuration is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// bindery.toml
    Toml,
    /// applicationHost.config, with a certificate record for each site
    Iis,
}

#[derive(Args)]
pub(crate) struct LiveArguments {
    /// Sites that are there already
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1_000, 10_000])]
    sites: Vec<u32>,
    /// Changes of each server with each number of sites
    #[arg(long, default_value_t = 20)]
    changes: u32,
    /// Between two changes
    #[arg(long, default_value_t = 1.0)]
    pause_seconds: f64,
    /// No further change is begun after so long
    #[arg(long, default_value_t = 30.0)]
    seconds: f64,
    /// Before the load: what a server does behind its start is done then
    #[arg(long, default_value_t = 3.0)]
    settle_seconds: f64,
    /// Load without changes, to compare with
    #[arg(long, default_value_t = 10.0)]
    quiet_seconds: f64,
    /// A folder made by `certs`, with certificates for all sites and changes; else it is made
    #[arg(long, value_name = "DIR")]
    certs: Option<PathBuf>,
    /// Only these servers
    #[arg(long, value_delimiter = ',', value_name = "PEER,..")]
    peers: Vec<Kind>,
    /// What Bindery's sites are written in
    #[arg(long, value_enum, default_value_t = Form::Toml)]
    form: Form,
    #[arg(long, value_name = "PATH", default_value = "target/release/bindery")]
    bindery: PathBuf,
    #[arg(long, default_value_t = 0)]
    server_core: usize,
    #[arg(long, default_value_t = 1)]
    client_core: usize,
}

impl LiveArguments {
    fn find_peers(&self, report: &mut Report) -> Vec<Peer> {
        let all = [Kind::Nginx, Kind::Haproxy, Kind::Caddy, Kind::Bindery];
        let wanted = |kind: &Kind| self.peers.is_empty() || self.peers.contains(kind);
        let mut found = Vec::new();
        for kind in all.into_iter().filter(wanted) {
            let path = (kind == Kind::Bindery).then_some(self.bindery.as_path());
            match Peer::find(kind, kind.name(), path) {
                Ok(peer) => found.push(peer),
                Err(failure) => report.note(failure.chain()),
            }
        }
        found
    }

    /// Certificates for all sites, and one for each change.
    fn fleet(&self, folder: &Path) -> Result<Fleet, Failure> {
        let names = self.sites.iter().max().unwrap_or(&0) + self.changes;
        match &self.certs {
            Some(folder) => Ok(Fleet { folder: folder.clone(), names }),
            None => Fleet::create(folder, names),
        }
    }
}

/// Does everything and prints the report.
pub(crate) fn run(arguments: &LiveArguments) -> Result<(), Failure> {
    process::raise_open_files()?;
    let mut report = Report::new(machine::describe());
    let peers = arguments.find_peers(&mut report);
    report.peers = peers.iter().map(|peer| (peer.label.clone(), peer.version.clone())).collect();
    let folder = tempfile::Builder::new()
        .prefix("bindery-bench-")
        .tempdir()
        .context(|| "cannot create a temporary folder".to_owned())?;
    crate::run::open_to_all(folder.path())?;
    let fleet = arguments.fleet(&folder.path().join("fleet"))?;
    process::pin(arguments.client_core)?;
    for &sites in &arguments.sites {
        for peer in &peers {
            eprintln!("{peer}, {sites} sites");
            let at = folder.path().join(format!("{}-{sites}", peer.label));
            match measured(arguments, (&fleet, sites), peer, at) {
                Ok(row) => report.rows.push(row),
                Err(failure) => {
                    report.note(format!("{peer} is left out at {sites}: {}", failure.chain()));
                }
            }
        }
    }
    println!("{}", report.markdown());
    Ok(())
}

/// One server with one number of sites.
fn measured(
    arguments: &LiveArguments,
    (fleet, sites): (&Fleet, u32),
    peer: &Peer,
    folder: PathBuf,
) -> Result<Row, Failure> {
    let served = Fleet { names: sites, ..fleet.clone() };
    let iis = (arguments.form == Form::Iis).then_some(arguments.changes);
    let given = Given { changeable: true, iis, ..Given::default() };
    let place = Place { fleet: served, port: free_port()?, folder, given };
    let cores = Cores { server: arguments.server_core, client: arguments.client_core };
    let server = Running::start(peer, place, cores)?;
    let mut changer = Changer::new(&server)?;
    let load = Load::new(server.address(), LOCALHOST);
    thread::sleep(Duration::from_secs_f64(arguments.settle_seconds.clamp(0.0, 600.0)));
    let quiet = load.start();
    thread::sleep(Duration::from_secs_f64(arguments.quiet_seconds.clamp(0.1, 600.0)));
    let quiet = quiet.end();
    let busy = load.start();
    let begun = Instant::now();
    let pause = Duration::from_secs_f64(arguments.pause_seconds.clamp(0.0, 600.0));
    let mut made = Vec::new();
    for number in sites..sites + arguments.changes {
        if begun.elapsed().as_secs_f64() > arguments.seconds {
            break;
        }
        let new = New::of(fleet, number, server.address())?;
        let asked = Instant::now();
        changer.add(&host(number), &fleet.certificate(number))?;
        let returned = asked.elapsed();
        let visible = new.wait(asked)?;
        made.push(Made { returned, visible });
        thread::sleep(pause);
    }
    let busy = busy.end();
    let start_seconds = server.start_seconds;
    let form = if iis.is_some() && peer.kind == Kind::Bindery { ", IIS's form" } else { "" };
    Ok(Row { peer: format!("{}{form}", peer.label), sites, start_seconds, made, quiet, busy })
}
