//! Bindery's program: which command, or which dialect by the name it was called with.

mod admin;
mod commands;
mod config;
mod door;
mod output;
mod privileges;
mod problems;
mod serve;

use std::{ffi::OsStr, path::PathBuf, process::ExitCode};

use bindery_model::site::RouteKind;
use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::CompleteEnv;

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
#[derive(clap::Args, Clone, Debug, Default)]
struct ConfigOption {
    /// The configuration. Otherwise bindery.toml here, or else in /etc/bindery; or the
    /// applicationHost.config that lies there, where bindery.toml has no sites.
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
    /// Answer in appcmd's grammar; also through a link named appcmd.
    Appcmd(commands::appcmd::Arguments),
    /// Answer in netsh's grammar; also through a link named netsh.
    Netsh(commands::netsh::Arguments),
    /// Serve five sites with five certificates, without any configuration.
    Demo(commands::demo::Arguments),
    /// Show what a running server does.
    Status(commands::status::Arguments),
    /// Make, show and take back tokens for the API.
    Token(commands::token::Arguments),
    /// Sites: list, show, add, set, remove, start, stop.
    #[command(subcommand)]
    Site(commands::site::SiteCommand),
    /// Bindings of sites: list, add, set, remove.
    #[command(subcommand)]
    Binding(commands::binding::BindingCommand),
    /// Applications of sites: list, show, add, set, remove.
    #[command(subcommand)]
    App(commands::route::RouteCommand),
    /// Virtual directories of sites: list, show, add, set, remove.
    #[command(subcommand)]
    Vdir(commands::route::RouteCommand),
    /// Certificates: list.
    #[command(subcommand)]
    Cert(commands::server::CertCommand),
    /// Listeners that differ from the defaults: list, add, set, remove.
    #[command(subcommand)]
    Listener(commands::server::ListenerCommand),
    /// Requests under way: list.
    #[command(subcommand)]
    Request(commands::request::RequestCommand),
    /// Settings of the whole server: show, set.
    #[command(subcommand)]
    Server(commands::server::ServerCommand),
    /// Show what differs between revisions, or between the file and what is in force.
    Diff(commands::history::DiffArguments),
    /// List changes: who, when, by which door, what.
    History(commands::history::HistoryArguments),
    /// Go back to an earlier revision.
    Undo(commands::history::UndoArguments),
    /// Print what is in force as bindery.toml, as applicationHost.config or as JSON.
    Export(commands::export::Arguments),
    /// Import sites of another server.
    #[command(subcommand)]
    Import(commands::import::ImportCommand),
    /// Print what a shell needs to complete commands and names.
    Completions(commands::completions::CompletionsArguments),
    /// Write manual pages.
    Man(commands::completions::ManArguments),
}

fn main() -> ExitCode {
    // Ends here where a shell asks for completions.
    CompleteEnv::with_factory(Cli::command).var(commands::completions::VARIABLE).complete();
    let mut words = std::env::args_os();
    let called = words.next().map(PathBuf::from).unwrap_or_default();
    let done = match called.file_stem().and_then(OsStr::to_str) {
        Some(name) if name.eq_ignore_ascii_case("netsh") => commands::netsh::run_as_netsh(words),
        Some(name) if name.eq_ignore_ascii_case("appcmd") => commands::appcmd::run_as_appcmd(words),
        _ => run(Cli::parse().command),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            output::error(&error);
            error.code()
        }
    }
}

fn run(command: Command) -> Result<ExitCode, output::Failure> {
    match command {
        Command::Run(arguments) => serve::run(&arguments),
        Command::Check(arguments) => commands::check::run(&arguments),
        Command::Explain(arguments) => commands::explain::run(&arguments),
        Command::Probe(arguments) => commands::probe::run(&arguments),
        Command::Appcmd(arguments) => commands::appcmd::run(&arguments),
        Command::Netsh(arguments) => commands::netsh::run(&arguments),
        Command::Demo(arguments) => commands::demo::run(&arguments),
        Command::Status(arguments) => commands::status::run(&arguments),
        Command::Token(arguments) => commands::token::run(&arguments),
        Command::Site(command) => commands::site::run(&command),
        Command::Binding(command) => commands::binding::run(&command),
        Command::App(command) => commands::route::run(RouteKind::Application, &command),
        Command::Vdir(command) => commands::route::run(RouteKind::VirtualDirectory, &command),
        Command::Cert(command) => commands::server::run_cert(&command),
        Command::Listener(command) => commands::server::run_listener(&command),
        Command::Request(command) => commands::request::run(&command),
        Command::Server(command) => commands::server::run(&command),
        Command::Diff(arguments) => commands::history::diff(&arguments),
        Command::History(arguments) => commands::history::history(&arguments),
        Command::Undo(arguments) => commands::history::undo(&arguments),
        Command::Export(arguments) => commands::export::run(&arguments),
        Command::Import(command) => commands::import::run(&command),
        Command::Completions(arguments) => commands::completions::run(&arguments),
        Command::Man(arguments) => commands::completions::man(&arguments, Cli::command()),
    }
}
