//! The connections that are open: how many, on which address, and how each is told to end.

use std::{
    collections::HashMap,
    future::poll_fn,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    task::Poll,
    time::Instant,
};

use bindery_model::binding::BindingInformation;
use futures_util::task::AtomicWaker;
use tokio::sync::Notify;

use crate::{
    http::waits::Waits,
    running::{Running, RunningRequest},
    snapshot::Snapshot,
};

/// Neighbours in time fall into different shards, so that cores seldom meet.
const SHARDS: usize = 16;

/// All open connections.
pub struct Connections {
    next: AtomicU64,
    open: AtomicUsize,
    /// Of connections that are closed.
    requests: AtomicU64,
    closed: Notify,
    shards: [Mutex<HashMap<u64, Arc<Connection>>>; SHARDS],
}

/// What others may know and ask of a connection.
pub struct Connection {
    /// The address of this machine that the client, or the load balancer before it, came to.
    /// Bindings are found by it.
    pub local: SocketAddr,
    /// The client; behind a load balancer that speaks the PROXY protocol, as that says.
    pub peer: SocketAddr,
    /// The address that the client came to: `local`, or what a PROXY protocol header says.
    pub destination: SocketAddr,
    draining: AtomicBool,
    in_flight: AtomicU32,
    /// How many requests have begun.
    requests: AtomicU64,
    /// Whether an answer was finished while its request still had content to come.
    unread_content: AtomicBool,
    /// How many requests wait for something that is not the client.
    waiting_for_us: AtomicU32,
    /// Bytes of content that came from the client or were there to be sent to it.
    content: AtomicU64,
    /// Whether the last request that began is another server's to answer.
    upstream: AtomicBool,
    waker: AtomicWaker,
    /// What it came for: the binding of its handshake, or without TLS that of its first request.
    binding: Mutex<Option<BindingInformation>>,
    /// Its requests that take time.
    pub(crate) running: Running,
}

impl Connection {
    fn new(local: SocketAddr, peer: SocketAddr, destination: SocketAddr) -> Self {
        Self {
            local,
            peer,
            destination,
            draining: AtomicBool::new(false),
            in_flight: AtomicU32::new(0),
            requests: AtomicU64::new(0),
            unread_content: AtomicBool::new(false),
            waiting_for_us: AtomicU32::new(0),
            content: AtomicU64::new(0),
            upstream: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            binding: Mutex::default(),
            running: Running::default(),
        }
    }

    /// It came for this, unless something was noted already.
    pub(crate) fn came_for(&self, binding: &BindingInformation) {
        let mut own = self.binding.lock().unwrap_or_else(PoisonError::into_inner);
        own.get_or_insert_with(|| binding.clone());
    }

    /// Whether what it came for is not there in `snapshot`, and it was not told so yet.
    pub(crate) fn lost(&self, snapshot: &Snapshot) -> bool {
        let own = self.binding.lock().unwrap_or_else(PoisonError::into_inner);
        own.as_ref().is_some_and(|own| !snapshot.configuration.table.has(own))
            && !self.is_draining()
    }

    /// Finish what runs, then end.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Whether it was told to end.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Waits until it is told to end. One task at a time may wait, or [`Self::register`].
    pub(crate) async fn drained(&self) {
        poll_fn(|cx| {
            self.register(cx.waker());
            if self.is_draining() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Requests under way.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Acquire)
    }

    /// How many requests have begun.
    pub(crate) fn begun(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(crate) fn note_unread_content(&self) {
        self.unread_content.store(true, Ordering::Relaxed);
    }

    pub(crate) fn has_unread_content(&self) -> bool {
        self.unread_content.load(Ordering::Relaxed)
    }

    /// What was not read of content has been, or will be by nobody.
    pub(crate) fn forget_unread_content(&self) {
        self.unread_content.store(false, Ordering::Relaxed);
    }

    pub(crate) fn add_waiting_for_us(&self) {
        self.waiting_for_us.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn remove_waiting_for_us(&self) {
        self.waiting_for_us.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether any request waits for something that is not the client.
    pub(crate) fn waits_for_us(&self) -> bool {
        self.waiting_for_us.load(Ordering::Acquire) > 0
    }

    /// So much content came, or was there to be sent.
    pub(crate) fn count_content(&self, bytes: usize) {
        // Nearly always by the connection's own task; what is lost to another one matters little.
        let content = self.content.load(Ordering::Relaxed);
        self.content.store(content.wrapping_add(bytes as u64), Ordering::Relaxed);
    }

    /// Content in either direction, in bytes.
    pub(crate) fn content_bytes(&self) -> u64 {
        self.content.load(Ordering::Relaxed)
    }

    /// The request under way is another server's to answer.
    pub(crate) fn note_upstream(&self) {
        self.upstream.store(true, Ordering::Relaxed);
    }

    /// Whether another server is waited for. Of HTTP/1.1, where one request is under way at a time.
    pub(crate) fn waits_for_upstream(&self) -> bool {
        self.upstream.load(Ordering::Relaxed) && self.waits_for_us()
    }

    /// The task to wake when it is told to end.
    pub(crate) fn register(&self, waker: &std::task::Waker) {
        self.waker.register(waker);
    }

    /// One request more, until the guard is dropped with the last of its answer.
    pub(crate) fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        // Counted here and summed up when asked: a count that all share would be fought over by
        // all cores.
        self.requests.fetch_add(1, Ordering::Relaxed);
        // On HTTP/1.1 the one before has been read to its end.
        self.forget_unread_content();
        self.upstream.store(false, Ordering::Relaxed);
        InFlight { connection: Arc::clone(self), waits: None }
    }

    /// What a request has become goes on, and counts as it did, until the guard is dropped.
    pub(crate) fn go_on(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        InFlight { connection: Arc::clone(self), waits: None }
    }
}

/// A request under way.
pub(crate) struct InFlight {
    connection: Arc<Connection>,
    waits: Option<Arc<Waits>>,
}

impl InFlight {
    /// The same, and this tells what it waits for.
    pub(crate) fn watched_by(mut self, waits: &Arc<Waits>) -> Self {
        self.waits = Some(Arc::clone(waits));
        self
    }

    /// More of its answer was asked for, and is not there yet, or is: so many bytes.
    pub(crate) fn note_answer(&mut self, bytes: Option<usize>) {
        if let Some(bytes) = bytes {
            self.connection.count_content(bytes);
        }
        if bytes.is_none() && self.waits.is_none() {
            self.waits = Some(Waits::new(&self.connection));
        }
        if let Some(waits) = &self.waits {
            waits.set_source(bytes.is_none());
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(waits) = &self.waits {
            waits.set_source(false);
            waits.unlist();
        }
        self.connection.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            next: AtomicU64::new(0),
            open: AtomicUsize::new(0),
            requests: AtomicU64::new(0),
            closed: Notify::new(),
            shards: std::array::from_fn(|_| Mutex::default()),
        }
    }
}

impl Connections {
    /// Takes a connection in, until the answer is dropped.
    pub fn enter(&self, local: SocketAddr, peer: SocketAddr) -> Entered<'_> {
        let connection = Arc::new(Connection::new(local, peer, local));
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::AcqRel);
        self.shard(id).insert(id, Arc::clone(&connection));
        Entered { all: self, id, connection }
    }

    /// How many are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// How many were ever taken in.
    pub fn total(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// How many requests were ever begun.
    pub fn requests(&self) -> u64 {
        let of_open = |shard: &Mutex<HashMap<u64, Arc<Connection>>>| -> u64 {
            let open = shard.lock().unwrap_or_else(PoisonError::into_inner);
            open.values().map(|one| one.requests.load(Ordering::Relaxed)).sum()
        };
        let closed = self.requests.load(Ordering::Relaxed);
        closed + self.shards.iter().map(of_open).sum::<u64>()
    }

    /// The requests that take time and are under way, in no order. Looks at every connection.
    pub fn running(&self) -> Vec<RunningRequest> {
        let (mut all, now) = (Vec::new(), Instant::now());
        for shard in &self.shards {
            let open = shard.lock().unwrap_or_else(PoisonError::into_inner);
            for (id, connection) in open.iter() {
                connection.running.show(*id, now, &mut all);
            }
        }
        all
    }

    /// Tells those to end that `which` names. Answers how many.
    pub fn drain(&self, which: impl Fn(&Connection) -> bool) -> usize {
        let mut told = 0;
        for shard in &self.shards {
            for connection in shard.lock().unwrap_or_else(PoisonError::into_inner).values() {
                if which(connection) {
                    connection.drain();
                    told += 1;
                }
            }
        }
        told
    }

    /// Waits until none is open.
    pub async fn all_closed(&self) {
        loop {
            let closed = self.closed.notified();
            if self.open() == 0 {
                return;
            }
            closed.await;
        }
    }

    fn shard(&self, id: u64) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<Connection>>> {
        #[allow(clippy::cast_possible_truncation, reason = "a remainder below SHARDS")]
        #[allow(clippy::indexing_slicing, reason = "a remainder below SHARDS")]
        self.shards[id as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that counts as open.
pub struct Entered<'a> {
    all: &'a Connections,
    id: u64,
    /// What others know of it.
    pub connection: Arc<Connection>,
}

impl Entered<'_> {
    /// Whom a PROXY protocol header names as the client, and where that came to. Before the first
    /// request.
    pub(crate) fn is_for(&mut self, peer: SocketAddr, destination: SocketAddr) {
        // Within the shard's lock: who is told to end meanwhile is told once, before or after.
        let mut shard = self.all.shard(self.id);
        let connection = Connection::new(self.connection.local, peer, destination);
        connection.draining.store(self.connection.is_draining(), Ordering::Release);
        self.connection = Arc::new(connection);
        shard.insert(self.id, Arc::clone(&self.connection));
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let mut shard = self.all.shard(self.id);
        // Within the shard's lock, so that a sum has each request once or, for a moment, not yet.
        self.all
            .requests
            .fetch_add(self.connection.requests.load(Ordering::Relaxed), Ordering::Relaxed);
        shard.remove(&self.id);
        drop(shard);
        if self.all.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.all.closed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn only_the_connections_that_are_meant_are_told_to_end() {
        let all = Connections::default();
        let peer = address("192.0.2.1:1");
        let one = all.enter(address("10.0.0.1:443"), peer);
        let two = all.enter(address("10.0.0.1:80"), peer);
        assert_eq!((all.open(), all.total()), (2, 2));
        assert_eq!(all.drain(|connection| connection.local.port() == 80), 1);
        assert!(two.connection.is_draining() && !one.connection.is_draining());
        drop(two);
        assert_eq!((all.open(), all.total()), (1, 2));
        assert_eq!(all.drain(|_| true), 1);
    }

    #[test]
    fn a_connection_for_another_client_stays_one_connection_and_told_what_it_was_told() {
        let all = Connections::default();
        let (local, balancer) = (address("10.0.0.1:443"), address("10.0.0.9:1"));
        let (client, destination) = (address("192.0.2.1:1"), address("203.0.113.1:443"));
        let mut entered = all.enter(local, balancer);
        assert_eq!(entered.connection.destination, local);
        entered.is_for(client, destination);
        let now = Arc::clone(&entered.connection);
        assert_eq!((now.local, now.peer, now.destination), (local, client, destination));
        assert!(!now.is_draining());
        assert_eq!(all.drain(|connection| connection.peer == client), 1);
        assert!(now.is_draining());
        entered.is_for(client, destination);
        assert!(entered.connection.is_draining());
        assert_eq!((all.open(), all.total()), (1, 1));
        drop(entered);
        assert_eq!(all.open(), 0);
    }

    #[test]
    fn a_request_counts_until_its_guard_is_dropped() {
        let all = Connections::default();
        let entered = all.enter(address("10.0.0.1:443"), address("192.0.2.1:1"));
        let guard = entered.connection.begin();
        assert_eq!(entered.connection.in_flight(), 1);
        drop(guard);
        assert_eq!(entered.connection.in_flight(), 0);
    }
}
