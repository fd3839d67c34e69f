//! What a running server says of itself.

use std::path::{Path, PathBuf};

use bindery_model::{document::Configuration, site::SiteState};
use bindery_server::{handler::proxy::MemberStatus, server::Server};
use serde::{Deserialize, Serialize};

use crate::problems::PlacedProblem;

/// What a server says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub pid: u32,
    pub config: PathBuf,
    pub revision: u64,
    pub uptime_seconds: u64,
    pub listeners: Vec<String>,
    pub sites: Vec<SiteStatus>,
    pub connections: usize,
    pub connections_total: u64,
    pub requests_total: u64,
    /// Closed because their client had too many. Absent in what older servers say, as what
    /// upstream servers do.
    #[serde(default)]
    pub connections_refused: u64,
    pub failed_handshakes: u64,
    pub certificates_in_memory: usize,
    #[serde(default)]
    pub upstreams: Vec<UpstreamStatus>,
    pub problems: Vec<PlacedProblem>,
    /// What is wrong with what somebody wrote into the file, while the last good state serves on.
    #[serde(default)]
    pub edited: Vec<PlacedProblem>,
}

/// What a server says about another one that it asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamStatus {
    /// Its URL.
    pub server: String,
    /// Whether requests are sent to it.
    pub well: bool,
    /// Requests under way.
    pub requests: u32,
    /// Connections that are kept open.
    pub connections: usize,
}

/// What a server says about a site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteStatus {
    pub id: u32,
    pub name: String,
    pub state: String,
    pub bindings: Vec<String>,
}

/// The status of `server`.
pub fn of(server: &Server, config: &Path, problems: Vec<PlacedProblem>) -> Status {
    let counters = server.counters();
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        config: config.to_owned(),
        revision: counters.revision,
        uptime_seconds: counters.uptime.as_secs(),
        listeners: counters.endpoints.iter().map(ToString::to_string).collect(),
        sites: sites(&server.snapshot().configuration),
        connections: counters.connections,
        connections_total: counters.connections_total,
        requests_total: counters.requests_total,
        connections_refused: counters.connections_refused,
        failed_handshakes: counters.failed_handshakes,
        certificates_in_memory: counters.certificates_in_memory,
        upstreams: server.upstreams().into_iter().map(upstream).collect(),
        problems,
        edited: Vec::new(),
    }
}

fn upstream(member: MemberStatus) -> UpstreamStatus {
    let MemberStatus { name, well, active, kept_connections, .. } = member;
    UpstreamStatus { server: name, well, requests: active, connections: kept_connections }
}

fn sites(configuration: &Configuration) -> Vec<SiteStatus> {
    let table = &configuration.table;
    let mut sites: Vec<SiteStatus> = table
        .sites
        .iter()
        .map(|site| SiteStatus {
            id: site.id.0,
            name: site.name.clone(),
            state: match site.state {
                SiteState::Started => "started".to_owned(),
                SiteState::Stopped => "stopped".to_owned(),
            },
            bindings: Vec::new(),
        })
        .collect();
    for binding in &table.bindings {
        if let Some(site) = sites.get_mut(binding.site as usize) {
            site.bindings.push(binding.information.to_string());
        }
    }
    sites
}
