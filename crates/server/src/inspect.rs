//! What is wrong with a configuration that only this machine can tell: files, certificates and
//! addresses. It reads everything that the configuration names, so `check` runs it, and a server
//! beside its start and before each change.

mod named;
mod scope;
mod shared;

pub use scope::Scope;

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr, TcpListener},
    path::Path,
    time::{Duration, SystemTime},
};

use bindery_model::{
    binding::{Binding, BindingInformation, Protocol},
    certificate::{CertificateChoice, CertificateFiles, CertificateId, CertificateReference},
    document::{BindingPosition, Configuration, Positions},
    name::HostPattern,
    problem::{Code, Problem, Severity, Span},
    record::RecordKey,
};

use shared::Sharing;

use crate::{
    text_of,
    tls::{
        central::CentralFolder,
        index::IndexedCertificates,
        keys::{self, CertificateError, CertificateFacts},
        policy::{self, PolicyConfig},
    },
};

/// A certificate that ends sooner than this is worth a warning.
const EXPIRY_WARNING: Duration = Duration::from_secs(14 * 24 * 3600);

/// Everything within `scope` that does not hold on this machine at `now`. Blocks.
#[must_use]
pub fn inspect(
    (configuration, positions): (&Configuration, &Positions),
    certificates: &IndexedCertificates,
    now: SystemTime,
    scope: &Scope,
) -> Vec<Problem> {
    let mut inspector = Inspector {
        configuration,
        positions,
        certificates,
        now,
        problems: Vec::new(),
        local: HashMap::new(),
        policies: HashMap::new(),
        central: None,
        shared: Sharing::of(configuration, scope),
    };
    inspector.central_store(scope);
    let paths = positions.paths.iter().zip(0..).filter(|(_, place)| scope.paths.has(*place));
    inspector.problems.extend(named::inspect(paths.map(|(path, _)| path)));
    inspector.certificates(scope);
    inspector.bindings(scope);
    let mut problems = inspector.problems;
    problems.sort_by_key(|problem| problem.span.start);
    problems
}

/// An inspection under way.
struct Inspector<'a> {
    configuration: &'a Configuration,
    positions: &'a Positions,
    certificates: &'a IndexedCertificates,
    now: SystemTime,
    problems: Vec<Problem>,
    /// Whether this machine has an address.
    local: HashMap<IpAddr, bool>,
    policies: HashMap<std::path::PathBuf, Option<String>>,
    central: Option<CentralFolder>,
    /// Bindings that share a certificate.
    shared: Sharing<'a>,
}

impl Inspector<'_> {
    fn report(&mut self, code: Code, span: Span, message: String, help: impl Into<String>) {
        self.problems.push(Problem::new(code, span, message, help));
    }

    fn central_store(&mut self, scope: &Scope) {
        let Some(store) = &self.configuration.settings.central_store else { return };
        // A large folder takes a while to be listed.
        if !scope.central_store && !scope.asks_central(&self.configuration.table) {
            return;
        }
        let folder = CentralFolder::open(store.folder.clone(), store.password_file.clone());
        match folder.refresh() {
            Ok(_) => self.central = Some(folder),
            Err(error) => {
                let span = self.positions.central_store.clone().unwrap_or_default();
                let message =
                    format!("the central store {} cannot be read: {error}", store.folder.display());
                self.report(
                    Code::UnreadableFolder,
                    span,
                    message,
                    "create the folder, or correct its path",
                );
            }
        }
    }

    fn certificates(&mut self, scope: &Scope) {
        let sources = self.configuration.table.certificates.iter();
        let all = sources.zip(&self.positions.certificates).zip(&self.certificates.entries);
        for (((source, position), entry), place) in all.zip(0..) {
            let Some(entry) = entry.as_ref().filter(|_| scope.certificates.has(place)) else {
                continue;
            };
            match entry {
                Ok(facts) => {
                    let name = format!("certificate {}", source.name);
                    self.validity(&name, facts, position.file.clone());
                    if facts.names_from_common_name {
                        let message = format!("{name} has no subject alternative names");
                        let help =
                            "browsers read no others and refuse it (RFC 9525): have it issued anew";
                        self.report(Code::CommonNameOnly, position.file.clone(), message, help);
                    }
                }
                Err(error) => {
                    let (code, help) = certificate_problem(error);
                    let span = match code {
                        Code::KeyMismatch => position.key.clone(),
                        _ if error_is_about(error, source.files.key.as_deref()) => {
                            position.key.clone()
                        }
                        _ if error_is_about(error, source.files.password_file.as_deref()) => {
                            position.password_file.clone()
                        }
                        _ => position.file.clone(),
                    };
                    let message =
                        format!("certificate {}: {}", source.name, text_of(error.as_ref()));
                    self.report(code, span, message, help);
                }
            }
        }
    }

    fn validity(&mut self, what: &str, facts: &CertificateFacts, span: Span) {
        if facts.not_after <= self.now {
            let message = format!("{what} has expired {}", ago(self.now, facts.not_after));
            self.report(Code::Expired, span, message, "renew it; browsers refuse it");
        } else if facts.not_before > self.now {
            let message = format!(
                "{what} is not valid before {}",
                ago(facts.not_before, self.now).replace("ago", "from now")
            );
            self.report(Code::NotYetValid, span, message, "look at this machine's clock, or wait");
        } else if facts.not_after < self.now + EXPIRY_WARNING {
            let message = format!("{what} expires in {}", days(self.now, facts.not_after));
            self.report(Code::ExpiresSoon, span, message, "renew it");
        }
    }

    fn bindings(&mut self, scope: &Scope) {
        let bindings = self.configuration.table.bindings.iter().zip(&self.positions.bindings);
        for ((binding, position), place) in
            bindings.zip(0..).filter(|(_, at)| scope.bindings.has(*at))
        {
            self.address(binding, position);
            if binding.information.protocol == Protocol::Https {
                self.client_ca(binding, position);
                self.certificate_of(place, binding, position);
            }
        }
    }

    fn address(&mut self, binding: &Binding, position: &BindingPosition) {
        let Some(address) = binding.information.endpoint.address else { return };
        if !*self.local.entry(address).or_insert_with(|| is_local(address)) {
            let message = format!("{address} is no address of this machine");
            let help = "`ip address` lists those it has; `*` stands for all of them";
            self.report(Code::AddressNotLocal, position.on.clone(), message, help);
        }
    }

    fn client_ca(&mut self, binding: &Binding, position: &BindingPosition) {
        let Some(ca) = binding.tls.client_certificate.ca() else { return };
        let why = self.policies.entry(ca.clone()).or_insert_with(|| {
            PolicyConfig::new(&binding.tls, &policy::provider()).err().map(|error| text_of(&error))
        });
        if let Some(why) = why.clone() {
            let help = "client_ca is a PEM file with the certificates of the authorities that sign clients";
            self.report(Code::UnreadableFile, position.client_ca.clone(), why, help);
        }
    }

    fn certificate_of(&mut self, place: usize, binding: &Binding, position: &BindingPosition) {
        match &binding.certificate {
            CertificateChoice::Listed(references) => {
                for reference in references {
                    self.listed((place, binding), reference, position);
                }
            }
            CertificateChoice::Best => {
                self.best((place, binding), position);
                self.chosen_by_name(place);
            }
            CertificateChoice::None => self.without((place, binding), position),
            CertificateChoice::Central => self.central_file((place, binding), position),
        }
    }

    fn listed(
        &mut self,
        (place, binding): (usize, &Binding),
        reference: &CertificateReference,
        position: &BindingPosition,
    ) {
        let id = match reference {
            CertificateReference::Source(id) => Some(*id),
            CertificateReference::Thumbprint(bytes) => self.certificates.thumbprint(bytes),
            CertificateReference::Fingerprint(bytes) => self.certificates.fingerprint(bytes),
        };
        let Some(id) = id else {
            let message = format!("no certificate has the thumbprint {reference}");
            let help = "`bindery netsh http show sslcert` lists the thumbprints of those there are";
            self.report(Code::UnknownCertificate, position.certificate.clone(), message, help);
            return;
        };
        // One that cannot be read is reported where it is declared.
        let Some(facts) = self.certificates.facts(id) else { return };
        if !covers(facts, &binding.information.host) {
            if let Some(problem) = self.shown_anothers(place, binding, id) {
                return self.problems.push(problem);
            }
            let name = self.name_of(id);
            let message = format!(
                "certificate {name} does not cover {}; it is for {}",
                binding.information.host,
                names(facts)
            );
            let help = "browsers will refuse it: choose another certificate, or leave the choice to Bindery";
            self.report(Code::NotCovered, position.certificate.clone(), message, help);
        }
    }

    fn best(&mut self, (place, binding): (usize, &Binding), position: &BindingPosition) {
        let found = match &binding.information.host {
            HostPattern::Exact(name) => self.certificates.best(name, self.now),
            HostPattern::Wildcard(parent) => self.certificates.best_for_wildcard(parent, self.now),
            HostPattern::Any => Vec::new(),
        };
        if !found.is_empty() {
            return;
        }
        if self.configuration.records.is_some() {
            // As on Windows, where who adds a binding adds its record afterwards.
            return self.without((place, binding), position);
        }
        let information = &binding.information;
        let in_store = self.has_central_file(&information.host);
        let (message, help) = match &information.host {
            HostPattern::Any => (
                format!("{information} has no host name to choose a certificate by"),
                "say which: { on = \"...\", certificate = \"...\" }".to_owned(),
            ),
            host if in_store => (
                format!("no certificate covers {host}"),
                "the central store has a file for it, which certificate = \"central\" takes; that \
                 is --certificate central of `bindery binding`, and sslFlags 3 of appcmd"
                    .to_owned(),
            ),
            host => (
                format!("no certificate covers {host}"),
                format!("add a [[certificate]] for {host}, or name one by certificate = \"...\""),
            ),
        };
        self.report(Code::NoCertificate, position.certificate.clone(), message, help);
    }

    /// Whether the central store has a file for a host.
    fn has_central_file(&mut self, host: &HostPattern) -> bool {
        let HostPattern::Exact(name) = host else { return false };
        if self.central.is_none()
            && let Some(store) = &self.configuration.settings.central_store
        {
            let folder = CentralFolder::open(store.folder.clone(), store.password_file.clone());
            self.central = folder.refresh().is_ok().then_some(folder);
        }
        self.central.as_ref().is_some_and(|central| central.find(name.as_str()).is_some())
    }

    fn without(&mut self, (place, binding): (usize, &Binding), position: &BindingPosition) {
        let message = format!(
            "{} of site {:?} has no certificate: handshakes that lead to it are refused",
            binding.information,
            self.configuration.table.site(binding).name
        );
        let help = without_certificate_help(self.configuration, place, binding);
        let span = position.certificate.clone();
        self.report(Code::WithoutCertificate, span, message, help);
    }

    fn central_file(&mut self, (place, binding): (usize, &Binding), position: &BindingPosition) {
        let (Some(central), HostPattern::Exact(name)) = (&self.central, &binding.information.host)
        else {
            return;
        };
        let Some(file) = central.find(name.as_str()) else {
            if self.configuration.records.as_ref().is_some_and(|own| !own.asks_central(place)) {
                // It takes a file from there only for want of a record, which may come later.
                return self.without((place, binding), position);
            }
            let message = format!("the central store has no file for {name}");
            let help =
                format!("put {name}.pfx there, or _.{}.pfx", name.parent().unwrap_or_default());
            self.report(Code::NoCertificate, position.certificate.clone(), message, help);
            return;
        };
        self.central_contents(&file.files, &binding.information.host, position);
    }

    fn central_contents(
        &mut self,
        files: &CertificateFiles,
        host: &HostPattern,
        position: &BindingPosition,
    ) {
        let span = position.certificate.clone();
        match keys::load(files) {
            Ok(certificate) => {
                let what = files.file.display().to_string();
                self.validity(&what, &certificate.facts, span.clone());
                if !covers(&certificate.facts, host) {
                    let message = format!(
                        "{what} does not cover {host}; it is for {}",
                        names(&certificate.facts)
                    );
                    self.report(
                        Code::NotCovered,
                        span,
                        message,
                        "replace the file by one for the name",
                    );
                }
            }
            Err(error) => {
                let (code, help) = certificate_problem(&error);
                self.report(code, span, text_of(&error), help);
            }
        }
    }

    fn name_of(&self, id: CertificateId) -> String {
        let source = self.configuration.table.certificate(id);
        source.map(|source| source.name.clone()).unwrap_or_default()
    }
}

/// Whether any of `problems` keeps something from being served.
#[must_use]
pub fn has_errors(problems: &[Problem]) -> bool {
    problems.iter().any(|problem| problem.severity() == Severity::Error)
}

fn without_certificate_help(
    configuration: &Configuration,
    place: usize,
    binding: &Binding,
) -> String {
    let Some(records) = &configuration.records else {
        return "give it one: `certificate` at the binding, or `bindery netsh http add sslcert`"
            .to_owned();
    };
    let flags = records.ssl_flags.get(place).copied().unwrap_or_default();
    let BindingInformation { host, endpoint, .. } = &binding.information;
    let key = RecordKey::candidates(host, *endpoint, flags & 1).into_iter().next();
    format!(
        "give it one: bindery netsh http add sslcert {} certhash=THUMBPRINT \
         appid={{4dc3e181-e14b-4a21-b022-59fc669b0914}}",
        key.map(String::from).unwrap_or_default()
    )
}

fn covers(facts: &CertificateFacts, host: &HostPattern) -> bool {
    match host {
        HostPattern::Any => true,
        HostPattern::Exact(name) => facts.covers(name.as_str()),
        HostPattern::Wildcard(_) => facts.covers_pattern(&host.to_string()),
    }
}

/// The names of a certificate, the first few of many.
fn names(facts: &CertificateFacts) -> String {
    const SHOWN: usize = 4;
    let mut text = facts.names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if facts.names.len() > SHOWN {
        text.push_str(&format!(" and {} more", facts.names.len() - SHOWN));
    }
    if text.is_empty() { "no name".to_owned() } else { text }
}

fn certificate_problem(error: &CertificateError) -> (Code, &'static str) {
    match error {
        CertificateError::Read { .. } => {
            (Code::UnreadableFile, "correct the path, or let the server's user read the file")
        }
        CertificateError::KeyMismatch { .. } => (
            Code::KeyMismatch,
            "`openssl x509 -pubkey` and `openssl pkey -pubout` show which belong together",
        ),
        _ => {
            (Code::BadCertificate, "the names of this certificate get an alert until it is mended")
        }
    }
}

fn error_is_about(error: &CertificateError, path: Option<&Path>) -> bool {
    match error {
        CertificateError::Read { path: wrong, .. }
        | CertificateError::WrongPassword { password_file: wrong, .. } => path == Some(wrong),
        _ => false,
    }
}

/// Whether a socket can be bound to an address: true for those of this machine only.
fn is_local(address: IpAddr) -> bool {
    match TcpListener::bind(SocketAddr::new(address, 0)) {
        Ok(_) => true,
        Err(error) => error.kind() != std::io::ErrorKind::AddrNotAvailable,
    }
}

fn ago(now: SystemTime, then: SystemTime) -> String {
    format!("{} ago", days(then, now))
}

/// A span of time as people say it.
fn days(from: SystemTime, to: SystemTime) -> String {
    let hours = to.duration_since(from).unwrap_or_default().as_secs() / 3600;
    match hours {
        0 => "less than an hour".to_owned(),
        1 => "an hour".to_owned(),
        2..=47 => format!("{hours} hours"),
        _ => format!("{} days", hours / 24),
    }
}
