//! The Unix socket in the state folder.

use std::{
    fs, io,
    os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{fs::Mode, process::umask};
use tokio::{
    net::{UnixListener, UnixStream},
    time::sleep,
};
use tracing::warn;

use super::{Api, Connections, Peer, serve_connection};

/// After an accept that failed for want of descriptors or memory.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Where a server with this state folder answers.
#[must_use]
pub fn socket_path(state_dir: &Path) -> PathBuf {
    state_dir.join("control.sock")
}

/// Opens the socket. One that a dead server left is replaced; a living one is an error.
///
/// # Errors
///
/// When another server answers there, or the folder cannot be written.
pub fn listen(state_dir: &Path) -> io::Result<StdUnixListener> {
    let path = socket_path(state_dir);
    if path.symlink_metadata().is_ok() {
        if StdUnixStream::connect(&path).is_ok() {
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

/// Answers who asks there, until it is aborted.
pub async fn serve(socket: UnixListener, api: Api) {
    let connections = Connections::default();
    // Who is one too many is not accepted yet, rather than turned away.
    while let Some(place) = connections.place().await {
        match socket.accept().await {
            Ok((stream, _)) => {
                let api = api.clone();
                tokio::spawn(async move {
                    answer(stream, api).await;
                    drop(place);
                });
            }
            Err(error) => {
                // No descriptor left: who asks still waits, and would be lost again at once.
                warn!(%error, "somebody who asked at the socket was lost");
                sleep(RETRY_DELAY).await;
            }
        }
    }
}

async fn answer(stream: UnixStream, api: Api) {
    // Who has gone already needs no answer.
    let Ok(user) = stream.peer_cred().map(|peer| peer.uid()) else { return };
    serve_connection(stream, move |request| {
        let api = api.clone();
        async move { api.answer(request, Peer::User(user)).await }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::{applier::Applier, home::Home, steps::Observer};

    #[tokio::test]
    async fn who_is_one_too_many_waits_for_those_before() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bindery.toml");
        fs::write(&file, "version = 1\n[server]\nstate_dir = 'state'\n").unwrap();
        let applier = Applier::open(Home::load(&file).unwrap(), Observer::default()).unwrap();
        let socket = UnixListener::from_std(listen(folder.path()).unwrap()).unwrap();
        let server = tokio::spawn(serve(socket, Api::new(applier)));
        let path = socket_path(folder.path());
        let mut silent = Vec::new();
        for _ in 0..Connections::MAX {
            silent.push(UnixStream::connect(&path).await.unwrap());
        }
        let mut asked = Vec::new();
        for _ in 0..100 {
            let mut stream = UnixStream::connect(&path).await.unwrap();
            stream.write_all(b"GET /v1 HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
            asked.push(stream);
        }
        drop(silent);
        for mut stream in asked {
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        }
        server.abort();
    }

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
