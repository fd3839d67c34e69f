//! A server that does not take connections: whoever connects waits.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    time::timeout,
};

/// On loopback connections come about at once; one that has not by then waits for a place.
const PATIENCE: Duration = Duration::from_millis(300);

/// A socket that listens and whose queue is full, so that the kernel answers nobody.
pub struct Deaf {
    address: SocketAddr,
    _listener: TcpListener,
    /// Those who wait to be accepted.
    _queue: Vec<TcpStream>,
}

impl Deaf {
    /// One at `address`, any port where that is 0.
    ///
    /// # Errors
    ///
    /// When it cannot listen there.
    pub async fn at(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        // The kernel makes room for one more than that.
        let listener = socket.listen(1)?;
        let address = listener.local_addr()?;
        let mut queue = Vec::new();
        while let Ok(connected) = timeout(PATIENCE, TcpStream::connect(address)).await {
            queue.push(connected?);
        }
        Ok(Self { address, _listener: listener, _queue: queue })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
