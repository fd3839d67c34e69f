//! What a configuration says, with positions, and what is wrong with it; above all, what
//! `bindery.toml` says.
//!
//! | module | answers |
//! |---|---|
//! | `parse` | what does a text say? |
//! | `cut` | which parts of a text can be read by themselves? |
//! | `before` | which of them were read already? |
//! | `read` | what is a value, and where does it stand? |
//! | `settings`, `certificate`, `site`, `route`, `binding`, `log` | what does each table mean? |
//! | `pools` | which application pools are kept? |
//! | `action`, `files`, `proxy`, `fastcgi` | what answers? |
//! | `rules`, `rewrite`, `fields`, `cors` | what happens around it? |
//! | `value`, `address`, `target` | what is a media type, a network, a server, a URL? |
//! | `conflicts` | what cannot stand together? |
//! | `secrets` | what is served that should not be? |
//! | `review` | what is valid and probably not meant? |
//! | `nearest` | what was probably meant? |
//! | `parts` | what do all pieces come to? |
//! | [`write`] | how is what is valid written, and what differs? |
//! | [`edit`] | how is a change made in the text, with all else kept? |

mod action;
mod address;
mod before;
mod binding;
mod certificate;
mod conflicts;
mod cors;
mod cut;
pub mod edit;
mod fastcgi;
mod fields;
mod files;
mod log;
mod nearest;
mod parse;
mod parts;
mod pools;
mod proxy;
mod read;
mod review;
mod rewrite;
mod route;
mod rules;
mod secrets;
mod settings;
mod site;
mod target;
mod value;
pub mod write;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use ipnet::IpNet;

pub use action::REDIRECT_STATUS;
pub use before::{Before, Known, KnownSite, Walk};
pub use cut::{Kind as PartKind, Part};
pub use fields::is_of_the_server;
pub use files::is_http_date;
pub use parse::{DOCUMENT_BYTES_MAX, parse, parse_after, parse_settings};
pub use parts::Parts;
pub use pools::{DEFAULT_POOL, PoolAttributes, is_kept, is_pool_name, pools_of};
pub use review::review;
pub use target::{read_path_target, read_target};
pub use value::{is_field_value, is_media_type, is_token};

use crate::{
    binding::{Endpoint, Protocol},
    decide::{ListenerRules, Order},
    log::AccessLog,
    problem::{Problem, Span},
    record::Records,
    table::MemoryTable,
    upstream::ServerAddress,
};

/// What is valid: everything a server needs to know to serve.
#[derive(Debug, Default, PartialEq)]
pub struct Configuration {
    /// What holds for the whole server.
    pub settings: Settings,
    /// Listeners that differ from the defaults.
    pub listeners: Vec<Listener>,
    /// Sites, bindings and certificates.
    pub table: MemoryTable,
    /// In IIS's form: what it says of certificates apart from bindings.
    pub records: Option<Records>,
}

/// What holds for the whole server: the table `[server]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where state is kept between runs; `None` for `/var/lib/bindery` of a configuration in `/etc`,
    /// and for `.bindery` beside every other.
    pub state_dir: Option<PathBuf>,
    /// Threads that serve; `None` for one a core.
    pub workers: Option<usize>,
    /// In which order keys are tried.
    pub order: Order,
    /// The folder of certificates named after hosts.
    pub central_store: Option<CentralStore>,
    /// Who to become once the sockets are open, where the server starts as root.
    pub user: Option<String>,
    /// How long running requests may take to finish after a stop, in seconds.
    pub drain_seconds: u64,
    /// Whose `Forwarded` and `X-Forwarded-*` fields are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Where requests are logged, if they are.
    pub access_log: Option<AccessLog>,
    /// Where metrics can be asked for, without TLS: a loopback address.
    pub admin: Option<SocketAddr>,
    /// Connections open at once; further ones wait.
    pub connections_max: Option<u32>,
    /// Connections of one client (an IPv4 address or an IPv6 /64) at once; further ones are closed.
    pub connections_per_address_max: Option<u32>,
    /// Who signs client certificates, for bindings that ask for them and name no authorities: those
    /// of an `applicationHost.config`.
    pub client_ca: Option<PathBuf>,
    /// Where the folders of Windows are here, as the table `[paths]` has them: `C:\\inetpub` is
    /// `/srv/inetpub`. Only who reads `applicationHost.config` goes by it.
    pub paths: Vec<(String, PathBuf)>,
    /// Which FastCGI servers stand for programs of Windows, as the table `[fastcgi]` has them:
    /// `C:\\PHP\\php-cgi.exe` is `unix:/run/php/php-fpm.sock`. As for `paths`.
    pub fastcgi: Vec<(String, ServerAddress)>,
    /// Application pools by name, with what was set of each. The default one is there in any case.
    pub application_pools: BTreeMap<String, PoolAttributes>,
}

/// A folder of certificates named after hosts, as IIS's central certificate store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CentralStore {
    /// The folder.
    pub folder: PathBuf,
    /// The password of all its PFX files, alone in a file.
    pub password_file: Option<PathBuf>,
}

/// An endpoint with rules of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// What is spoken there.
    pub protocol: Protocol,
    /// Where.
    pub endpoint: Endpoint,
    /// Who may be answered by a catch-all.
    pub rules: ListenerRules,
    /// From where connections begin with a PROXY protocol header; there they must.
    pub proxy_protocol: Vec<IpNet>,
}

/// What a text says, and everything that is wrong with it, found in one pass.
#[derive(Debug)]
pub struct Document {
    /// What was understood. It may be served only if no problem is an error.
    pub configuration: Configuration,
    /// Where in the text it stands.
    pub positions: Positions,
    /// What is wrong, in the order of the text.
    pub problems: Vec<Problem>,
}

/// Where things stand in the text. Each list goes with the list of the table of that name.
#[derive(Debug, Default)]
pub struct Positions {
    /// For each site.
    pub sites: Vec<SitePosition>,
    /// For each binding.
    pub bindings: Vec<BindingPosition>,
    /// For each certificate.
    pub certificates: Vec<CertificatePosition>,
    /// For each listener: its text.
    pub listeners: Vec<Span>,
    /// The folder of `central_store`, where there is one.
    pub central_store: Option<Span>,
    /// Files and folders that the text names and only the machine can tell about; certificates
    /// and what belongs to them aside.
    pub paths: Vec<NamedPath>,
    /// The parts that the text was read in, in its order; none where it was read at once.
    pub parts: Vec<Part>,
}

/// A file or folder that the text names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPath {
    /// What it is for.
    pub kind: PathKind,
    /// The whole path.
    pub path: PathBuf,
    /// Where it stands.
    pub span: Span,
    /// Whose it is, as messages begin.
    pub owner: String,
}

/// What a file or folder is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PathKind {
    /// A folder whose files are served.
    Root,
    /// A file of names and passwords.
    Passwords,
    /// The content of an error answer.
    ErrorPage,
    /// Authorities that sign certificates of upstream servers.
    UpstreamCa,
    /// The socket of another server.
    Socket,
    /// The folder of the access log.
    LogFolder,
}

/// Where a site stands.
#[derive(Clone, Debug)]
pub struct SitePosition {
    /// Its name.
    pub name: Span,
    /// Its folder, or what else answers.
    pub action: Span,
    /// Its number, where one is written.
    pub number: Option<Span>,
}

/// Where a binding stands.
#[derive(Clone, Debug)]
pub struct BindingPosition {
    /// Its text.
    pub on: Span,
    /// Its choice of a certificate; its text where it made none.
    pub certificate: Span,
    /// The file of authorities for client certificates; its text where it names none.
    pub client_ca: Span,
}

/// Where a certificate stands.
#[derive(Clone, Debug)]
pub struct CertificatePosition {
    /// Its name.
    pub name: Span,
    /// Its file.
    pub file: Span,
    /// Its key; its file where that has the key.
    pub key: Span,
    /// Its password file; its file where there is none.
    pub password_file: Span,
}

impl Configuration {
    /// The rules for clients that come to `local`: those of its own address, or of all addresses,
    /// or the defaults.
    #[must_use]
    pub fn rules(&self, local: SocketAddr) -> ListenerRules {
        self.listener(local).map(|listener| listener.rules).unwrap_or_default()
    }

    /// The listener whose rules hold for clients that come to `local`, where there is one.
    #[must_use]
    pub fn listener(&self, local: SocketAddr) -> Option<&Listener> {
        let of = |address| {
            let endpoint = Endpoint { address, port: local.port() };
            self.listeners.iter().find(|listener| listener.endpoint == endpoint)
        };
        of(Some(local.ip())).or_else(|| of(None))
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            state_dir: None,
            workers: None,
            order: Order::default(),
            central_store: None,
            user: None,
            drain_seconds: 30,
            trusted_proxies: Vec::new(),
            access_log: None,
            admin: None,
            connections_max: None,
            connections_per_address_max: None,
            client_ca: None,
            paths: Vec::new(),
            fastcgi: Vec::new(),
            application_pools: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests;
