//! One upstream server: its idle connections, how busy it is, and whether it is well.

use std::{
    ops::Deref,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use tokio::time::Instant;
use tracing::warn;

use super::{
    connect::{Purpose, Way},
    health::Health,
    http2,
    link::Link,
};
use crate::{
    limits::{UPSTREAM_BURST_CONNECTIONS_MAX, UPSTREAM_IDLE_TIMEOUT},
    log::StrangerLog,
};

#[allow(clippy::vec_box, reason = "a connection is large and is handed about, not copied")]
type Links = Vec<Box<Link>>;

/// An upstream server.
pub(super) struct Member {
    /// As in a URL.
    pub(super) name: String,
    pub(super) way: Way,
    pub(super) health: Health,
    /// Bounds what is written about it.
    pub(super) faults: Arc<StrangerLog>,
    /// Connections that requests share.
    pub(super) http2: http2::Connections,
    /// Connections without a request, those used last at the end.
    idle: Mutex<Links>,
    /// How many may stay so.
    idle_max: AtomicU32,
    /// Requests under way.
    active: AtomicU32,
}

fn in_memory(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

impl Member {
    pub(super) fn new(name: String, way: Way, health: Health, faults: Arc<StrangerLog>) -> Self {
        Self {
            name,
            way,
            health,
            faults,
            http2: http2::Connections::default(),
            idle: Mutex::default(),
            idle_max: AtomicU32::new(0),
            active: AtomicU32::new(0),
        }
    }

    fn idle(&self) -> MutexGuard<'_, Links> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that was used before and is good for another request.
    pub(super) fn idle_link(&self, purpose: Purpose, now: Instant) -> Option<Box<Link>> {
        loop {
            // Its own statement: the lock is not held while the connection is looked at.
            let link = {
                let mut idle = self.idle();
                match purpose {
                    Purpose { upgrade: true, .. } => None,
                    Purpose { client: None, .. } => idle.pop(),
                    Purpose { client: Some(_), .. } => {
                        let fit = idle.iter().rposition(|link| link.purpose == purpose);
                        fit.map(|place| idle.remove(place))
                    }
                }
            };
            let mut link = link?;
            if link.is_fit(now) {
                return Some(link);
            }
        }
    }

    /// Keeps a connection for the next request. What is more than `idle_max` is closed by the next
    /// sweep that finds it: a burst does not open connections and close them at once.
    pub(super) fn keep(&self, mut link: Box<Link>, idle_max: u32) {
        self.idle_max.store(idle_max, Ordering::Relaxed);
        if idle_max == 0 {
            return;
        }
        link.rest();
        let mut idle = self.idle();
        let most = UPSTREAM_BURST_CONNECTIONS_MAX.max(in_memory(idle_max));
        if link.purpose.client.is_some() && idle.len() >= most {
            // Those of clients that went away are of no use to others.
            idle.remove(0);
        }
        if idle.len() < most {
            idle.push(link);
        }
    }

    /// Closes connections that nobody has used for long or that the other side has closed.
    pub(super) fn sweep(&self) {
        self.http2.sweep();
        let now = Instant::now();
        let all = std::mem::take(&mut *self.idle());
        let mut left: Vec<_> = all
            .into_iter()
            .filter_map(|mut link| {
                let young = now - link.idle_since < UPSTREAM_IDLE_TIMEOUT;
                (young && link.is_fit(now)).then_some(link)
            })
            .collect();
        let mut idle = self.idle();
        left.append(&mut idle);
        let surplus = left.len().saturating_sub(in_memory(self.idle_max.load(Ordering::Relaxed)));
        // Those that were used last are at the end.
        let closed: Links = left.drain(..surplus).collect();
        *idle = left;
        drop(idle);
        drop(closed);
    }

    /// A request was not answered.
    pub(super) fn has_failed(&self) {
        if self.health.failed() {
            warn!(upstream = %self.name, "requests fail; others are preferred for a while");
        }
    }

    /// Requests under way.
    pub(super) fn active(&self) -> u32 {
        self.active.load(Ordering::Relaxed)
    }

    /// Connections that are kept: those without a request, and those that requests share.
    pub(super) fn kept_connections(&self) -> usize {
        self.idle().len() + self.http2.count()
    }
}

/// A request under way at a member.
pub(super) struct Lease<M: Deref<Target = Member>>(pub(super) M);

impl<M: Deref<Target = Member>> Lease<M> {
    pub(super) fn new(member: M) -> Self {
        member.active.fetch_add(1, Ordering::Relaxed);
        Self(member)
    }
}

impl<M: Deref<Target = Member>> Drop for Lease<M> {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}
