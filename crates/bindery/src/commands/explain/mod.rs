//! `bindery explain`: who would answer a client, and why. No server is needed: the configuration is
//! asked as a server asks it.

mod text;

use std::{net::IpAddr, process::ExitCode};

use bindery_control::explain::{Known, Target, explanation, unserved};
use bindery_model::{
    decide::{Order, windows::Windows},
    name::HostName,
};
use bindery_server::clock;

use super::unserved::block_on;
use crate::{
    ConfigOption,
    output::{self, Failure},
    privileges,
};

/// What `explain` takes.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What a client opens, as https://shop.example.com/path.
    #[arg(value_name = "URL", required_unless_present_any = ["sni", "no_sni", "ip"])]
    target: Option<Target>,
    /// The server name in the hello, where it is not the host of the URL.
    #[arg(long, value_name = "NAME", conflicts_with = "no_sni")]
    sni: Option<HostName>,
    /// The client sends no server name.
    #[arg(long)]
    no_sni: bool,
    /// The address of this machine that the client comes to.
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<IpAddr>,
    /// The port that the client comes to, where it is not that of the URL.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Explain in this order instead of the configured one; or beside it what IIS would do.
    #[arg(long = "as", value_name = "WHOM")]
    whom: Option<Whom>,
    /// Print all of it as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigOption,
}

/// As whom to explain.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Whom {
    /// Names before catch-alls.
    HostFirst,
    /// In HTTP.SYS's order.
    #[value(name = "http.sys")]
    HttpSys,
    /// With what IIS 7 would have done: one certificate for each address and port.
    Iis7,
    /// With what IIS 8 and later would do.
    Iis,
}

impl Whom {
    fn order(self) -> Option<Order> {
        match self {
            Self::HostFirst => Some(Order::HostFirst),
            Self::HttpSys => Some(Order::HttpSys),
            Self::Iis7 | Self::Iis => None,
        }
    }

    fn windows(self) -> Option<Windows> {
        match self {
            Self::HostFirst | Self::HttpSys => None,
            Self::Iis7 => Some(Windows::Iis7),
            Self::Iis => Some(Windows::Iis),
        }
    }
}

/// Explains. Fails, with exit code 1, when no site would answer.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let loaded = arguments.config.load()?;
    privileges::look_as(loaded.document.configuration.settings.user.as_deref())?;
    let unserved = unserved(loaded, arguments.whom.and_then(Whom::order));
    let asked = arguments.known().into();
    let told = block_on(explanation(&unserved, &asked, clock::now()))?;
    if arguments.json {
        output::print_json(&told)?;
    } else {
        output::print(text::text(&told, output::is_colourful()));
    }
    Ok(if told.answered { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Arguments {
    fn known(&self) -> Known {
        Known {
            target: self.target.clone(),
            server_name: self.sni.clone(),
            no_server_name: self.no_sni,
            address: self.ip,
            port: self.port,
            windows: self.whom.and_then(Whom::windows),
        }
    }
}
