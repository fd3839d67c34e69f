//! `bindery probe`: a real connection, step by step, with times and bytes, and whether it is what
//! `explain` says.
//!
//! | module | answers |
//! |---|---|
//! | `tls` | what happened in the handshake? |
//! | `http` | what was answered? |
//! | `record` | what is said, for programs |
//! | `text` | how is it said to people? |

mod http;
mod record;
mod text;
mod tls;

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant, SystemTime},
};

use bindery_control::{
    explain::{Asked, Explanation, NO_NAME_FOR_ADDRESS, Target, explanation, resolve, unserved},
    words::{days_until, hex, timestamp},
};
use bindery_model::{
    binding::Protocol,
    name::{Host, HostName},
};
use bindery_server::{clock, tls::keys::facts_of_der};

use self::{
    record::{
        Answer, Connect, Explained, Handshake, Hello, Probe, Request, Resolve, ServerHello, Shown,
        Verification,
    },
    tls::{Seen, Stream, Trust},
};
use super::unserved::block_on;
use crate::{
    ConfigOption, config,
    output::{self, Failure},
};

/// So long each wait for the server may take.
const WAIT_TIMEOUT: Duration = Duration::from_secs(10);

/// What `probe` takes.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What is opened, as https://shop.example.com/path.
    #[arg(value_name = "URL")]
    target: Target,
    /// Connect there, whatever the name resolves to.
    #[arg(long, visible_alias = "resolve", value_name = "ADDRESS:PORT")]
    connect: Option<SocketAddr>,
    /// The server name in the hello, where it is not the host of the URL.
    #[arg(long, value_name = "NAME", conflicts_with = "no_sni")]
    sni: Option<HostName>,
    /// Send no server name.
    #[arg(long)]
    no_sni: bool,
    /// Believe the authorities in this PEM file, instead of this machine's.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Do not verify the certificate.
    #[arg(long, conflicts_with = "ca")]
    insecure: bool,
    /// Do not ask, by a second handshake, whether the server would choose HTTP/2.
    #[arg(long)]
    http1: bool,
    /// Print all of it as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigOption,
}

/// Probes. Fails, with exit code 1, when no answer came, when the certificate is not trusted, and
/// when it is not what `explain` says.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let now = clock::now();
    let mut probe = Probe { url: arguments.target.to_string(), ..Probe::default() };
    if let Some(address) = arguments.address(&mut probe) {
        probed(arguments, address, now, &mut probe);
        probe.total_ms = total_ms(&probe);
        probe.explained = explained(arguments, address, now, &probe)?;
    }
    probe.good = probe.answer.is_some()
        && probe.verification.as_ref().is_none_or(|verification| verification.good)
        && probe.explained.as_ref().is_none_or(|explained| explained.same);
    if arguments.json {
        output::print_json(&probe)?;
    } else {
        output::print(text::text(&probe, output::is_colourful()));
    }
    Ok(if probe.good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Arguments {
    /// Where to connect.
    fn address(&self, probe: &mut Probe) -> Option<SocketAddr> {
        let started = Instant::now();
        let (by, found) = match (self.connect, &self.target.host) {
            (Some(address), _) => ("option", Ok(vec![address.ip()])),
            (None, Host::Address(address)) => ("literal", Ok(vec![*address])),
            (None, Host::Name(name)) => ("resolver", resolve(name.as_str())),
        };
        let addresses = found.unwrap_or_else(|error| {
            let error = format!("no address for {}: {error}", self.target.host);
            probe.error = Some(error);
            Vec::new()
        });
        let port = self.connect.map_or(self.target.port, |address| address.port());
        probe.resolve = Resolve {
            ms: ms(started.elapsed()),
            addresses: addresses.iter().map(ToString::to_string).collect(),
            by,
        };
        addresses.first().map(|address| SocketAddr::new(*address, port))
    }

    /// The name in the hello, or why there is none.
    fn server_name(&self) -> Result<HostName, &'static str> {
        match (&self.sni, &self.target.host) {
            (Some(name), _) => Ok(name.clone()),
            (None, _) if self.no_sni => Err("by --no-sni"),
            (None, Host::Name(name)) => Ok(name.clone()),
            (None, Host::Address(_)) => Err(NO_NAME_FOR_ADDRESS),
        }
    }

    fn trust(&self) -> Trust {
        match &self.ca {
            _ if self.insecure => Trust::Everybody,
            Some(path) => Trust::File(path.clone()),
            None => Trust::System,
        }
    }
}

fn probed(arguments: &Arguments, address: SocketAddr, now: SystemTime, probe: &mut Probe) {
    let started = Instant::now();
    let tcp = connected(address);
    probe.connect = Connect {
        ms: ms(started.elapsed()),
        address: address.to_string(),
        from: tcp.as_ref().ok().and_then(|tcp| tcp.local_addr().ok()).map(|own| own.to_string()),
    };
    let tcp = match tcp {
        Ok(tcp) => tcp,
        Err(error) => {
            probe.error = Some(error.to_string());
            return;
        }
    };
    let stream: Option<Box<dyn Stream>> = match arguments.target.protocol {
        Protocol::Http => Some(Box::new(tcp)),
        Protocol::Https => secured(arguments, tcp, now, probe),
    };
    if let Some(mut stream) = stream {
        asked(arguments, stream.as_mut(), probe);
    }
    if !arguments.http1
        && let Some(handshake) = &mut probe.handshake
    {
        handshake.alpn = chosen_protocol(arguments, address);
    }
}

fn connected(address: SocketAddr) -> std::io::Result<TcpStream> {
    let tcp = TcpStream::connect_timeout(&address, WAIT_TIMEOUT)?;
    tcp.set_read_timeout(Some(WAIT_TIMEOUT))?;
    tcp.set_write_timeout(Some(WAIT_TIMEOUT))?;
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

fn secured(
    arguments: &Arguments,
    tcp: TcpStream,
    now: SystemTime,
    probe: &mut Probe,
) -> Option<Box<dyn Stream>> {
    let name = arguments.server_name().ok();
    // Only what can be spoken by hand; a second handshake asks for more.
    let alpn = ["http/1.1"];
    let hello =
        tls::Hello { server_name: name.as_ref(), host: &arguments.target.host, alpn: &alpn };
    let (seen, stream) = tls::handshake(tcp, &hello, &arguments.trust());
    note(seen, probe, (name, arguments.insecure, stream.is_some()), now);
    stream
}

fn note(
    seen: Seen,
    probe: &mut Probe,
    (name, insecure, finished): (Option<HostName>, bool, bool),
    now: SystemTime,
) {
    let (bytes, took) = seen.hello;
    probe.hello = (bytes > 0).then(|| Hello {
        ms: ms(took),
        bytes,
        server_name: name.map(|name| name.to_string()),
        alpn: vec!["http/1.1".to_owned()],
    });
    probe.server_hello =
        seen.first_answer.filter(|_| seen.version.is_some()).map(|first| ServerHello {
            ms: ms(first.1),
            bytes: first.0,
            version: seen.version,
            cipher: seen.cipher,
            group: seen.group,
            retried: seen.retried,
        });
    probe.certificates = seen.chain.iter().map(|der| shown(der, now)).collect();
    probe.verification = seen.verified.map(|(verdict, took)| Verification {
        ms: ms(took),
        tried: !insecure,
        good: verdict.is_ok(),
        why: verdict.err(),
    });
    probe.handshake = finished.then(|| Handshake {
        ms: ms(seen.time),
        sent: seen.sent,
        received: seen.received,
        alpn: None,
        client_certificate_asked: seen.client_certificate_asked,
    });
    probe.alert = seen.alert;
    probe.error = seen.error;
}

fn shown(der: &[u8], now: SystemTime) -> Shown {
    let Ok(facts) = facts_of_der(der) else {
        return Shown {
            bytes: der.len(),
            subject: "not a certificate".to_owned(),
            issuer: String::new(),
            names: Vec::new(),
            key: String::new(),
            not_before: String::new(),
            not_after: String::new(),
            days_left: 0,
            thumbprint: String::new(),
            fingerprint: String::new(),
        };
    };
    let addresses = facts.addresses.iter().map(ToString::to_string);
    Shown {
        bytes: der.len(),
        subject: facts.subject.clone(),
        issuer: facts.issuer.clone(),
        names: facts.names.iter().cloned().chain(addresses).collect(),
        key: facts.key_kind.to_string(),
        not_before: timestamp(facts.not_before),
        not_after: timestamp(facts.not_after),
        days_left: days_until(now, facts.not_after),
        thumbprint: hex(&facts.thumbprint),
        fingerprint: hex(&facts.fingerprint),
    }
}

fn asked(arguments: &Arguments, stream: &mut dyn Stream, probe: &mut Probe) {
    let target = &arguments.target;
    let (seen, done) = http::exchange(stream, &target.authority(), &target.path);
    probe.request = (seen.request_bytes > 0).then(|| Request {
        ms: ms(seen.sent_in),
        bytes: seen.request_bytes,
        line: format!("GET {} for {}", target.path, target.authority()),
    });
    if let Err(error) = done {
        // In TLS 1.3 a server judges the client's certificate after the client is done.
        probe.alert = tls::alert_of(&error);
        probe.error = Some(error.to_string());
    }
    probe.answer = seen.status.map(|status| Answer {
        first_byte_ms: ms(seen.first_byte.unwrap_or_default()),
        ms: ms(seen.total),
        bytes: seen.answer_bytes,
        status,
        status_line: seen.status_line.unwrap_or_default(),
        location: seen.location,
    });
}

/// From the question to the resolver to the last byte, without what a probe does beside.
fn total_ms(probe: &Probe) -> f64 {
    let handshake = probe.handshake.as_ref().map_or(0.0, |handshake| handshake.ms);
    let answer = probe.answer.as_ref().map_or(0.0, |answer| answer.ms);
    ((probe.resolve.ms + probe.connect.ms + handshake + answer) * 1e3).round() / 1e3
}

/// What the server chooses of HTTP/2 and HTTP/1.1, asked by a handshake of its own.
fn chosen_protocol(arguments: &Arguments, address: SocketAddr) -> Option<String> {
    let name = arguments.server_name().ok();
    let alpn = ["h2", "http/1.1"];
    let hello =
        tls::Hello { server_name: name.as_ref(), host: &arguments.target.host, alpn: &alpn };
    let (seen, _) = tls::handshake(connected(address).ok()?, &hello, &Trust::Everybody);
    seen.alpn
}

/// Compares with what `explain` says, where a configuration is at hand: one that is named, or the
/// one of this machine for an address of this machine.
fn explained(
    arguments: &Arguments,
    address: SocketAddr,
    now: SystemTime,
    probe: &Probe,
) -> Result<Option<Explained>, Failure> {
    let path = match (&arguments.config.config, arguments.config.path()) {
        (Some(path), _) => path.clone(),
        (None, Ok(path)) if TcpListener::bind((address.ip(), 0)).is_ok() => path,
        (None, _) => return Ok(None),
    };
    let unserved = unserved(config::load(&path)?, None);
    let (server_name, why_none) = match arguments.server_name() {
        Ok(name) => (Some(name), None),
        Err(why) => (None, Some(why)),
    };
    let asked = Asked {
        target: Target { port: address.port(), ..arguments.target.clone() },
        server_name,
        why_none,
        address: Some(address.ip().to_canonical()),
        windows: None,
    };
    let told = block_on(explanation(&unserved, &asked, now))?;
    let differences = differences(&told, probe);
    let config = path.display().to_string();
    Ok(Some(Explained { config, same: differences.is_empty(), differences }))
}

fn differences(told: &Explanation, probe: &Probe) -> Vec<String> {
    let mut found = Vec::new();
    if told.connect.socket.is_none() {
        if probe.connect.from.is_some() {
            found.push("explain says that nothing listens there".to_owned());
        }
        return found;
    }
    if probe.connect.from.is_none() {
        return vec!["explain says that the connection is taken; does the server run?".to_owned()];
    }
    let alert = told.handshake.as_ref().and_then(|handshake| handshake.alert);
    let shown = told.certificate.as_ref().and_then(|step| step.shown.as_ref());
    match (alert, shown, probe.certificates.first()) {
        (Some(alert), ..) if probe.alert.as_deref() != Some(alert) => {
            found.push(format!("explain says alert {alert}"));
        }
        (None, Some(shown), Some(leaf)) if shown.thumbprint != leaf.thumbprint => {
            found.push(format!("explain says thumbprint {}", shown.thumbprint));
        }
        (None, Some(shown), None) => {
            found.push(format!("explain says a certificate, thumbprint {}", shown.thumbprint));
        }
        _ => {}
    }
    let got = probe.answer.as_ref().map(|answer| answer.status);
    if let (Some(status), Some(got)) = (told.sure_status(), got)
        && status != got
    {
        found.push(format!("explain says status {status}"));
    }
    found
}

/// Milliseconds, to the microsecond.
fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
