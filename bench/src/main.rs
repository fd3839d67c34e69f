//! `bindery-bench`: Bindery, nginx, HAProxy, Caddy and h2o side by side in one run.
//!
//! `run` does everything; the other commands are its parts, to be used on a server that is already
//! there.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for the terminal: its results are what it prints"
)]

mod client;
mod failure;
mod fleet;
mod idle;
mod live;
mod peers;
mod process;
mod random;
mod run;
mod upstreams;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand};

use client::exchange::Task;
use client::generator::{Course, Generator, as_f64};
use client::{Audit, Group, Offer, Version};
use failure::{Context, Failure};
use fleet::Fleet;
use process::Used;

#[derive(Parser)]
#[command(version, about = "Bindery, nginx, HAProxy, Caddy and h2o side by side in one run")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a local CA and a certificate for each of N names
    Certs(CertsArguments),
    /// Full or resumed handshakes with random server names, one request each
    Handshakes(HandshakesArguments),
    /// Open many connections and tell what each costs the server in memory
    Idle(IdleArguments),
    /// Start the servers in turn and compare them
    Run(run::RunArguments),
    /// Change running servers: when a new name answers, and what others notice
    Live(live::LiveArguments),
}

#[derive(Args)]
struct CertsArguments {
    #[arg(long, default_value_t = 10_000)]
    names: u32,
    /// Receives ca.pem, certs/ and www/
    #[arg(long)]
    out: PathBuf,
}

#[derive(Args)]
struct HandshakesArguments {
    /// On 127.0.0.1
    #[arg(long)]
    port: u16,
    #[arg(long, default_value_t = 10_000)]
    names: u32,
    #[arg(long, default_value = "1.3")]
    tls: Version,
    #[arg(long, default_value = "x25519")]
    group: Group,
    /// Get a session for each name first, then resume it
    #[arg(long)]
    resume: bool,
    #[arg(long, default_value_t = 16)]
    concurrency: usize,
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Stop after this many connections instead
    #[arg(long)]
    count: Option<u64>,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Ask for each name once and check that it shows the certificate made for it
    #[arg(long, value_name = "DIR of certs")]
    verify: Option<PathBuf>,
    /// Count the processor time of this process and its children
    #[arg(long, value_name = "PID")]
    server: Option<u32>,
}

#[derive(Args)]
struct IdleArguments {
    /// On 127.0.0.1
    #[arg(long)]
    port: u16,
    /// The server's process; its children are counted too
    #[arg(long, value_name = "PID")]
    server: u32,
    #[arg(long, default_value_t = 9_000)]
    connections: usize,
    #[arg(long, default_value = "localhost")]
    name: String,
    /// Ask for one file over HTTP/1.1 before the silence
    #[arg(long)]
    request: bool,
    /// Ask for it over HTTP/2
    #[arg(long, conflicts_with = "request")]
    http2: bool,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Certs(arguments) => certs(&arguments),
        Command::Handshakes(arguments) => handshakes(&arguments),
        Command::Idle(arguments) => idle(&arguments),
        Command::Run(arguments) => run::run(&arguments),
        Command::Live(arguments) => live::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bindery-bench: {}", failure.chain());
            ExitCode::FAILURE
        }
    }
}

fn certs(arguments: &CertsArguments) -> Result<(), Failure> {
    let start = Instant::now();
    let fleet = Fleet::create(&arguments.out, arguments.names)?;
    let seconds = start.elapsed().as_secs_f64();
    println!("{} certificates in {} ({seconds:.1} s)", fleet.names, fleet.folder.display());
    Ok(())
}

fn handshakes(arguments: &HandshakesArguments) -> Result<(), Failure> {
    let sessions = if arguments.resume { arguments.names } else { 0 };
    let offer =
        Offer { version: arguments.tls, group: arguments.group, sessions, protocol: "http/1.1" };
    let audit = arguments
        .verify
        .as_ref()
        .map(|folder| Audit::of(&Fleet { folder: folder.clone(), names: arguments.names }));
    let verifies = audit.is_some();
    let names = Arc::new(client::server_names(arguments.names)?);
    let mut generator = Generator::new(local(arguments.port), &offer, &names, audit.transpose()?)?
        .with_concurrency(arguments.concurrency)
        .with_seed(arguments.seed);
    if arguments.resume {
        generator.run(Course::EachName)?;
    }
    let course = match arguments.count {
        _ if verifies => Course::EachName,
        Some(count) => Course::Count(count),
        None => Course::For(Duration::from_secs_f64(arguments.seconds.clamp(0.0, 3600.0))),
    };
    let used = |pid: Option<u32>| pid.map(Used::by).transpose();
    let before = used(arguments.server)?;
    let summary = generator.run(course)?.summary();
    let after = used(arguments.server)?;
    print_json(&summary)?;
    if let (Some(before), Some(after)) = (before, after) {
        let micros = as_f64(after.since(&before)) / 1e3 / as_f64(summary.operations.max(1));
        println!("server: {micros:.1} µs of processor time for each operation");
    }
    match summary.errors {
        0 => Ok(()),
        errors => Err(Failure::new(format!("{errors} connections failed"))),
    }
}

fn idle(arguments: &IdleArguments) -> Result<(), Failure> {
    process::raise_open_files()?;
    let task = match (arguments.request, arguments.http2) {
        (true, _) => Task::KeepHttp1,
        (_, true) => Task::KeepHttp2,
        _ => Task::Handshake,
    };
    let name = client::server_name(arguments.name.clone())?;
    let load = (arguments.server, arguments.connections);
    print_json(&idle::measure(local(arguments.port), name, task, load)?)
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).context(|| "cannot print".to_owned())?;
    println!("{text}");
    Ok(())
}
