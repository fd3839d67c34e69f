//! What a running server tells `bindery status`: a JSON record for each caller of a Unix socket in
//! its state folder, which only its own user and root can open.

use std::{
    fs, io,
    os::unix::net::UnixListener as StdUnixListener,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bindery_control::problems::PlacedProblem;
use bindery_model::{document::Configuration, site::SiteState};
use bindery_server::{handler::proxy::MemberStatus, server::Server};
use rustix::{fs::Mode, process::umask};
use serde::{Deserialize, Serialize};
use tokio::{
    io::AsyncWriteExt as _,
    net::UnixListener,
    time::{sleep, timeout},
};
use tracing::warn;

use crate::{privileges::User, serve::Running};

/// What a server says about itself.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) version: String,
    pub(crate) pid: u32,
    pub(crate) config: PathBuf,
    pub(crate) revision: u64,
    pub(crate) uptime_seconds: u64,
    pub(crate) listeners: Vec<String>,
    pub(crate) sites: Vec<SiteStatus>,
    pub(crate) connections: usize,
    pub(crate) connections_total: u64,
    pub(crate) requests_total: u64,
    /// Closed because their client had too many. Absent in what older servers say, as what
    /// upstream servers do.
    #[serde(default)]
    pub(crate) connections_refused: u64,
    pub(crate) failed_handshakes: u64,
    pub(crate) certificates_in_memory: usize,
    #[serde(default)]
    pub(crate) upstreams: Vec<UpstreamStatus>,
    pub(crate) problems: Vec<PlacedProblem>,
}

/// What a server says about another one that it asks.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct UpstreamStatus {
    /// Its URL.
    pub(crate) server: String,
    /// Whether requests are sent to it.
    pub(crate) well: bool,
    /// Requests under way.
    pub(crate) requests: u32,
    /// Connections that are kept open.
    pub(crate) connections: usize,
}

/// What a server says about a site.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SiteStatus {
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) bindings: Vec<String>,
}

/// Where a server with this state folder answers.
pub(crate) fn socket_path(state_dir: &Path) -> PathBuf {
    state_dir.join("status.sock")
}

/// Makes the state folder if it is not there; it belongs to the user that the server becomes.
pub(crate) fn make_folder(state_dir: &Path, user: Option<&User>) -> io::Result<()> {
    if state_dir.exists() {
        return Ok(());
    }
    fs::create_dir_all(state_dir)?;
    user.map_or(Ok(()), |user| user.own(state_dir))
}

/// Opens the socket. One that a dead server left is replaced; a living one is an error.
pub(crate) fn listen(state_dir: &Path) -> io::Result<StdUnixListener> {
    let path = socket_path(state_dir);
    if path.exists() {
        if std::os::unix::net::UnixStream::connect(&path).is_ok() {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                "another server uses this state_dir",
            ));
        }
        fs::remove_file(&path)?;
    }
    // The socket is born closed to others. To close it afterwards would leave a moment in which it
    // is open, or in which the path is made to lead to another file.
    let before = umask(Mode::from_raw_mode(0o177));
    let socket = StdUnixListener::bind(&path);
    umask(before);
    let socket = socket?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// How long a caller may take to read its answer, and how long a failed `accept` is left alone.
const CALLER_TIMEOUT: Duration = Duration::from_secs(2);

/// Answers every caller with the status, until it is aborted.
pub(crate) async fn answer(socket: UnixListener, running: Arc<Running>) {
    loop {
        match socket.accept().await {
            Ok((mut caller, _)) => {
                let status = running.status();
                match serde_json::to_vec(&status) {
                    // A caller that went away needs no answer, and one that does not read must
                    // not keep others from theirs.
                    Ok(text) => drop(timeout(CALLER_TIMEOUT, caller.write_all(&text)).await),
                    Err(error) => warn!(%error, "the status cannot be written"),
                }
            }
            Err(error) => {
                // No descriptor left: the caller still waits, and would be lost again at once.
                warn!(%error, "a caller for the status was lost");
                sleep(CALLER_TIMEOUT).await;
            }
        }
    }
}

/// The status of `server`.
pub(crate) fn of(server: &Server, config: &Path, problems: Vec<PlacedProblem>) -> Status {
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn the_socket_is_for_its_own_user_and_another_server_does_not_take_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = socket_path(folder.path());
        let first = listen(folder.path()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(listen(folder.path()).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        let _next = listen(folder.path()).unwrap();
    }

    #[test]
    fn a_link_in_its_place_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let other = folder.path().join("other");
        fs::write(&other, "").unwrap();
        let mode = fs::metadata(&other).unwrap().mode();
        std::os::unix::fs::symlink(&other, socket_path(folder.path())).unwrap();
        let _socket = listen(folder.path()).unwrap();
        assert_eq!(fs::metadata(&other).unwrap().mode(), mode);
        assert!(other.exists());
    }
}
