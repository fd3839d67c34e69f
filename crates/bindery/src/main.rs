//! Bindery's program: which command, or which dialect by the name it was called with.

mod admin;
mod commands;
mod config;
mod output;
mod privileges;
mod problems;
mod serve;

use std::{ffi::OsStr, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Many websites, one port 443: each with its own certificate, and every decision explained.
#[derive(Parser)]
#[command(name = "bindery", version, max_term_width = 80)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Where the configuration is.
#[derive(clap::Args, Clone, Debug)]
struct ConfigOption {
    /// The configuration. Otherwise bindery.toml here, or else in /etc/bindery.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the sites of a configuration.
    Run(serve::RunArguments),
    /// Find everything that is wrong with a configuration.
    Check(commands::check::Arguments),
    /// Explain who would answer a client, with which certificate, and why.
    Explain(commands::explain::Arguments),
    /// Connect to a server as a client does, and show each step.
    Probe(commands::probe::Arguments),
    /// Answer in netsh's grammar; also through a link named netsh.
    Netsh(commands::netsh::Arguments),
    /// Serve five sites with five certificates, without any configuration.
    Demo(commands::demo::Arguments),
    /// Show what a running server does.
    Status(commands::status::Arguments),
}

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let called = words.next().map(PathBuf::from).unwrap_or_default();
    let done = match called.file_stem().and_then(OsStr::to_str) {
        Some("netsh") => commands::netsh::run_as_netsh(words),
        _ => run(Cli::parse().command),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            output::error(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode, output::Failure> {
    match command {
        Command::Run(arguments) => serve::run(&arguments),
        Command::Check(arguments) => commands::check::run(&arguments),
        Command::Explain(arguments) => commands::explain::run(&arguments),
        Command::Probe(arguments) => commands::probe::run(&arguments),
        Command::Netsh(arguments) => commands::netsh::run(&arguments),
        Command::Demo(arguments) => commands::demo::run(&arguments),
        Command::Status(arguments) => commands::status::run(&arguments),
    }
}
