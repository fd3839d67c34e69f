//! One upstream server: its idle connections, how busy it is, and whether it is well.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU32, Ordering},
};

use tokio::time::Instant;

use super::{connect::Way, health::Health, link::Link};
use crate::{limits::UPSTREAM_IDLE_TIMEOUT, log::StrangerLog};

/// An upstream server.
pub(super) struct Member {
    /// As in a URL.
    pub(super) name: String,
    pub(super) way: Way,
    pub(super) health: Health,
    /// Bounds what is written about it.
    pub(super) faults: Arc<StrangerLog>,
    /// Connections without a request, those used last at the end.
    idle: Mutex<Vec<Box<Link>>>,
    /// Requests under way.
    active: AtomicU32,
}

impl Member {
    pub(super) fn new(name: String, way: Way, health: Health, faults: Arc<StrangerLog>) -> Self {
        Self { name, way, health, faults, idle: Mutex::default(), active: AtomicU32::new(0) }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Box<Link>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that was used before and is good for another request.
    pub(super) fn idle_link(&self) -> Option<Box<Link>> {
        loop {
            // Its own statement: the lock is not held while the connection is looked at.
            let link = self.idle().pop();
            let mut link = link?;
            if link.is_fit() {
                return Some(link);
            }
        }
    }

    /// Keeps a connection for the next request, unless so many are kept already.
    pub(super) fn keep(&self, mut link: Box<Link>, idle_max: u32) {
        link.idle_since = Instant::now();
        let mut idle = self.idle();
        if idle.len() < usize::try_from(idle_max).unwrap_or(usize::MAX) {
            idle.push(link);
        }
    }

    /// Closes connections that nobody has used for long or that the other side has closed.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        let all = std::mem::take(&mut *self.idle());
        let mut left: Vec<_> = all
            .into_iter()
            .filter_map(|mut link| {
                let young = now - link.idle_since < UPSTREAM_IDLE_TIMEOUT;
                (young && link.is_fit()).then_some(link)
            })
            .collect();
        let mut idle = self.idle();
        left.append(&mut idle);
        *idle = left;
    }

    /// Requests under way.
    pub(super) fn active(&self) -> u32 {
        self.active.load(Ordering::Relaxed)
    }

    /// Connections without a request.
    pub(super) fn idle_connections(&self) -> usize {
        self.idle().len()
    }
}

/// A request under way at a member.
pub(super) struct Lease(pub(super) Arc<Member>);

impl Lease {
    pub(super) fn new(member: &Arc<Member>) -> Self {
        member.active.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(member))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}
