//! `bindery explain`: who would answer a client, and why. No server is needed: the configuration is
//! asked as a server asks it.
//!
//! | module | answers |
//! |---|---|
//! | `record` | what is said, for programs |
//! | `ask` | what does the configuration say to this client? |
//! | `certificate` | which certificate is shown, and what is wrong with it? |
//! | `request` | who answers once the handshake is done? |
//! | `rules` | which route of the site, and what do its rules do? |
//! | `windows` | what would Windows have done? |
//! | `text` | how is it said to people? |

mod ask;
mod certificate;
mod record;
mod request;
mod rules;
mod text;
mod windows;

use std::{net::IpAddr, process::ExitCode};

use bindery_model::{
    binding::Protocol,
    decide::{Order, windows::Windows},
    name::{Host, HostName},
};
use bindery_server::clock;

pub(crate) use ask::{Asked, NO_NAME_FOR_ADDRESS, explanation};
pub(crate) use record::Explanation;

use super::{
    target::Target,
    unserved::{block_on, unserved},
};
use crate::{
    ConfigOption,
    output::{self, Failure},
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
    let unserved = unserved(loaded, arguments.whom.and_then(Whom::order));
    let asked = arguments.asked();
    let told = block_on(async {
        let mut told = explanation(&unserved, &asked, clock::now()).await;
        if let Some(whom) = arguments.whom.and_then(Whom::windows) {
            told.windows = windows::told(whom, &unserved.snapshot, &asked, &told).await;
        }
        told
    })?;
    if arguments.json {
        output::print_json(&told)?;
    } else {
        output::print(text::text(&told, output::is_colourful()));
    }
    Ok(if told.answered { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Arguments {
    fn asked(&self) -> Asked {
        let host = || match (&self.sni, self.ip) {
            (Some(name), _) => Some(Host::Name(name.clone())),
            (None, Some(address)) => Some(Host::Address(address)),
            (None, None) => None,
        };
        let mut target = self.target.clone().unwrap_or_else(|| Target {
            protocol: Protocol::Https,
            // A client that names nobody and no address: whichever address is assumed for it.
            host: host().unwrap_or(Host::Address(ask::ASSUMED_ADDRESS)),
            port: Target::default_port(Protocol::Https),
            path: "/".to_owned(),
        });
        target.port = self.port.unwrap_or(target.port);
        let (server_name, why_none) = match (&self.sni, self.no_sni, &target.host) {
            (Some(name), _, _) => (Some(name.clone()), None),
            (None, true, _) => (None, Some("by --no-sni")),
            (None, false, Host::Name(name)) => (Some(name.clone()), None),
            (None, false, Host::Address(_)) => (None, Some(NO_NAME_FOR_ADDRESS)),
        };
        Asked { target, server_name, why_none, address: self.ip.map(|ip| ip.to_canonical()) }
    }
}
