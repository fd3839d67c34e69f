//! Bindery's program: which command, or which dialect by the name it was called with.

mod commands;
mod config;
mod output;
mod privileges;
mod problems;
mod serve;
mod status;

use std::{path::PathBuf, process::ExitCode};

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
    /// Show what a running server does.
    Status(commands::status::Arguments),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Run(arguments) => serve::run(&arguments),
        Command::Check(arguments) => commands::check::run(&arguments),
        Command::Explain(arguments) => commands::explain::run(&arguments),
        Command::Status(arguments) => commands::status::run(&arguments),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            output::error(&error);
            ExitCode::FAILURE
        }
    }
}
