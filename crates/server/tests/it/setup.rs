//! A configuration in the making: a folder, an authority, certificates, sites, and the sockets
//! that they will be served on.

use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use bindery_testkit::{
    ca::{LeafOptions, TestCa, TestLeaf},
    http1::{Answer, Http1},
    server::{Sockets, TestServer},
    tls::{Refused, TestClient, TestConnection},
};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// A configuration in the making.
pub(crate) struct Setup {
    pub(crate) ca: TestCa,
    pub(crate) sockets: Sockets,
    pub(crate) text: String,
    folder: TempDir,
}

impl Setup {
    pub(crate) fn new() -> Self {
        Self {
            ca: TestCa::new(),
            sockets: Sockets::new(),
            text: "version = 1\n".to_owned(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// The folder of everything.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A free port of 127.0.0.1, with its socket.
    pub(crate) fn port(&mut self) -> u16 {
        self.sockets.open("127.0.0.1")
    }

    /// A certificate for these names under this name. Gives what a client must be shown.
    pub(crate) fn certificate(&mut self, name: &str, hosts: &[&str]) -> Vec<u8> {
        self.certificate_with(name, hosts, LeafOptions::default())
    }

    /// The same with options.
    pub(crate) fn certificate_with(
        &mut self,
        name: &str,
        hosts: &[&str],
        options: LeafOptions<'_>,
    ) -> Vec<u8> {
        let leaf = self.ca.leaf_with(hosts, options);
        self.certificate_of(name, &leaf);
        leaf.certificate_der
    }

    /// This certificate under this name.
    pub(crate) fn certificate_of(&mut self, name: &str, leaf: &TestLeaf) -> PathBuf {
        let path = leaf.write(self.folder.path(), name);
        writeln!(self.text, "[[certificate]]\nname = \"{name}\"\nfile = \"{name}.pem\"").unwrap();
        path
    }

    /// A site that answers everything with its name. A binding is its text, or an inline table.
    pub(crate) fn site(&mut self, name: &str, bindings: &[&str]) {
        self.site_with(name, bindings, &format!("respond = \"{name}\""));
    }

    /// A site with these lines instead.
    pub(crate) fn site_with(&mut self, name: &str, bindings: &[&str], lines: &str) {
        let bindings: Vec<_> = bindings
            .iter()
            .map(|one| if one.starts_with('{') { (*one).to_owned() } else { format!("\"{one}\"") })
            .collect();
        let bindings = bindings.join(", ");
        writeln!(self.text, "[[site]]\nname = \"{name}\"\nbindings = [{bindings}]\n{lines}")
            .unwrap();
    }

    /// A site that serves a folder of its name, which is made with these files.
    pub(crate) fn files(&mut self, name: &str, bindings: &[&str], files: &[(&str, &[u8])]) {
        let root = self.folder.path().join(name);
        fs::create_dir_all(&root).unwrap();
        for (file, content) in files {
            fs::write(root.join(file), content).unwrap();
        }
        self.site_with(name, bindings, &format!("root = \"{name}\""));
    }

    /// Anything else.
    pub(crate) fn line(&mut self, text: &str) {
        writeln!(self.text, "{text}").unwrap();
    }

    /// Serves it.
    #[track_caller]
    pub(crate) fn start(&mut self) -> TestServer {
        TestServer::start(&self.text, self.folder.path(), std::mem::take(&mut self.sockets))
    }

    /// Serves it, changed by `change`.
    #[track_caller]
    pub(crate) fn start_changed(
        &mut self,
        change: impl FnOnce(&mut bindery_model::document::Configuration),
    ) -> TestServer {
        let configuration = self.changed(change);
        TestServer::start_with(configuration, std::mem::take(&mut self.sockets))
    }

    /// Its configuration, changed by `change`.
    #[track_caller]
    pub(crate) fn changed(
        &self,
        change: impl FnOnce(&mut bindery_model::document::Configuration),
    ) -> bindery_model::document::Configuration {
        let mut configuration =
            bindery_testkit::server::configuration(&self.text, self.folder.path());
        change(&mut configuration);
        configuration
    }

    /// Serves it from now on instead of what `server` serves.
    #[track_caller]
    pub(crate) fn replace(&mut self, server: &TestServer) -> usize {
        server.replace(&self.text, self.folder.path(), std::mem::take(&mut self.sockets))
    }
}

/// 127.0.0.1 and this port.
pub(crate) fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// The certificate that a client gets who asks for `name`, or why it gets none.
pub(crate) async fn shown(port: u16, name: Option<&str>) -> Result<Vec<u8>, Refused> {
    TestClient::default().connect(local(port), name).await.map(|connection| connection.leaf)
}

/// A TLS connection that speaks HTTP/1.1.
pub(crate) async fn https(port: u16, name: &str) -> Http1<TlsStream<TcpStream>> {
    Http1::new(connected(&TestClient::default(), port, name).await.stream)
}

/// A connection that must come about.
pub(crate) async fn connected(client: &TestClient, port: u16, name: &str) -> TestConnection {
    client.connect(local(port), Some(name)).await.unwrap()
}

/// A connection without TLS.
pub(crate) async fn http(port: u16) -> Http1<TcpStream> {
    Http1::new(TcpStream::connect(local(port)).await.unwrap())
}

/// What `host` answers on a connection of its own.
pub(crate) async fn get(port: u16, host: &str) -> Answer {
    https(port, host).await.get(host, "/").await.unwrap()
}
