//! One waker for everything that moves an exchange: socket, upload, answer.
//!
//! hyper's client is made for a task of its own, which it wakes for every step. Here it is polled
//! within the request's own future, so a wake from within the poll means "poll me once more", not
//! "wake the task": only what happens between two polls wakes it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Wake},
};

use futures_util::task::AtomicWaker;

/// How often a poll goes round before others have their turn.
const ROUNDS_MAX: u32 = 16;

/// The meeting point of a connection's parts.
#[derive(Default)]
pub(super) struct Hub {
    /// The task of the request.
    task: AtomicWaker,
    polling: AtomicBool,
    woken: AtomicBool,
    /// Bytes that the socket took.
    sent: AtomicU64,
    /// Bytes that it gave.
    received: AtomicU64,
    /// Whether the next read only looks whether there is something.
    probing: AtomicBool,
    /// Whether the other side takes nothing any more.
    deaf: AtomicBool,
}

impl Wake for Hub {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        if !self.polling.load(Ordering::SeqCst) {
            self.task.wake();
        }
    }
}

impl Hub {
    /// Goes round in `step` until it is ready or nothing in it asks to be polled again.
    pub(super) fn drive<T>(&self, cx: &Context<'_>, mut step: impl FnMut() -> Poll<T>) -> Poll<T> {
        self.task.register(cx.waker());
        self.polling.store(true, Ordering::SeqCst);
        let mut rounds = 0;
        let result = loop {
            self.woken.store(false, Ordering::SeqCst);
            if let Poll::Ready(value) = step() {
                break Poll::Ready(value);
            }
            if !self.woken.load(Ordering::SeqCst) {
                break Poll::Pending;
            }
            rounds += 1;
            if rounds == ROUNDS_MAX {
                cx.waker().wake_by_ref();
                break Poll::Pending;
            }
        };
        self.polling.store(false, Ordering::SeqCst);
        // A wake between the last look and the line above has woken nobody.
        if result.is_pending() && self.woken.load(Ordering::SeqCst) {
            cx.waker().wake_by_ref();
        }
        result
    }

    /// Forgets the task that was woken so far.
    pub(super) fn forget_task(&self) {
        drop(self.task.take());
    }

    pub(super) fn note_sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn note_received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Bytes sent and received since the connection was opened.
    pub(super) fn moved(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.received.load(Ordering::Relaxed))
    }

    pub(super) fn set_deaf(&self) {
        self.deaf.store(true, Ordering::Relaxed);
    }

    /// Whether what is written goes nowhere: an answer may still come, but no other request may go.
    pub(super) fn is_deaf(&self) -> bool {
        self.deaf.load(Ordering::Relaxed)
    }

    pub(super) fn set_probing(&self, probing: bool) {
        self.probing.store(probing, Ordering::Relaxed);
    }

    pub(super) fn is_probing(&self) -> bool {
        self.probing.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use futures_util::task::noop_waker;

    use super::*;

    #[test]
    fn a_wake_from_within_goes_round_and_wakes_nobody() {
        let hub = Arc::new(Hub::default());
        let waker = Waker::from(Arc::clone(&hub));
        let task = noop_waker();
        let mut left = 3;
        let result = hub.drive(&Context::from_waker(&task), || {
            left -= 1;
            if left == 0 {
                return Poll::Ready("done");
            }
            waker.wake_by_ref();
            Poll::Pending
        });
        assert_eq!(result, Poll::Ready("done"));
    }

    #[test]
    fn a_part_that_wakes_itself_for_ever_lets_others_have_their_turn() {
        let hub = Arc::new(Hub::default());
        let waker = Waker::from(Arc::clone(&hub));
        let other = Arc::new(Hub::default());
        let task = Waker::from(Arc::clone(&other));
        let mut rounds = 0;
        let result: Poll<()> = hub.drive(&Context::from_waker(&task), || {
            rounds += 1;
            waker.wake_by_ref();
            Poll::Pending
        });
        assert!(result.is_pending());
        assert_eq!(rounds, ROUNDS_MAX);
        assert!(other.woken.load(Ordering::SeqCst), "the task is polled again");
    }

    #[test]
    fn a_wake_from_outside_wakes_the_task() {
        let hub = Arc::new(Hub::default());
        let other = Arc::new(Hub::default());
        let task = Waker::from(Arc::clone(&other));
        let result: Poll<()> = hub.drive(&Context::from_waker(&task), || Poll::Pending);
        assert!(result.is_pending());
        assert!(!other.woken.load(Ordering::SeqCst));
        Waker::from(Arc::clone(&hub)).wake();
        assert!(other.woken.load(Ordering::SeqCst));
    }
}
