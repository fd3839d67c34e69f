//! Who is waited for: a connection whose client keeps everything waiting comes to an end, one whose
//! upstream server or disk does not.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU32, Ordering},
    },
    task::{Context, Poll},
};

use crate::{
    connections::Connection,
    running::{Listed, Noted},
};

/// What one request waits for. Shared by its content, its answer, and who makes the answer.
pub(crate) struct Waits {
    connection: Arc<Connection>,
    bits: AtomicU8,
    /// Its number among the requests under way; 0 where it is not among them.
    listed: AtomicU32,
}

/// The answer, or more of it, is not there yet.
const SOURCE: u8 = 1;
/// The client is to send more content.
const CONTENT: u8 = 2;
/// The answer has begun. From then on client and source may talk as slowly as they like, each
/// waiting for the other: the source has clocks of its own.
const ANSWERED: u8 = 4;

impl Waits {
    pub(crate) fn new(connection: &Arc<Connection>) -> Arc<Self> {
        let connection = Arc::clone(connection);
        Arc::new(Self { connection, bits: AtomicU8::new(0), listed: AtomicU32::new(0) })
    }

    /// Polls who makes the answer, and looks whether it has come.
    pub(crate) fn poll<F: Future + ?Sized>(
        &self,
        answer: Pin<&mut F>,
        cx: &mut Context<'_>,
    ) -> Poll<F::Output> {
        let polled = answer.poll(cx);
        self.set(SOURCE, polled.is_pending());
        self.set(ANSWERED, polled.is_ready());
        polled
    }

    /// Whether more of the answer is not there yet.
    pub(crate) fn set_source(&self, pending: bool) {
        self.set(SOURCE, pending);
    }

    /// Whether the client is to send more content.
    pub(crate) fn set_content(&self, pending: bool) {
        self.set(CONTENT, pending);
    }

    /// From now on the request is among those under way, until [`Self::unlist`].
    pub(crate) fn list(&self, request: Noted) {
        let number = self.connection.running.add(request);
        self.listed.store(number, Ordering::Relaxed);
    }

    /// The request is over.
    pub(crate) fn unlist(&self) {
        drop(self.hand_over());
    }

    /// What the request has become, a tunnel, is under way in its place.
    pub(crate) fn hand_over(&self) -> Option<Listed> {
        match self.listed.swap(0, Ordering::Relaxed) {
            0 => None,
            number => Some(Listed::new(&self.connection, number)),
        }
    }

    fn set(&self, bit: u8, on: bool) {
        let before = self.bits.load(Ordering::Acquire);
        if (before & bit != 0) == on {
            return;
        }
        let before = match on {
            true => self.bits.fetch_or(bit, Ordering::AcqRel),
            false => self.bits.fetch_and(!bit, Ordering::AcqRel),
        };
        let after = if on { before | bit } else { before & !bit };
        match (is_ours(before), is_ours(after)) {
            (false, true) => self.connection.add_waiting_for_us(),
            (true, false) => self.connection.remove_waiting_for_us(),
            _ => {}
        }
    }
}

/// Whether somebody other than the client is waited for.
fn is_ours(bits: u8) -> bool {
    bits & SOURCE != 0 && (bits & CONTENT == 0 || bits & ANSWERED != 0)
}

impl Drop for Waits {
    fn drop(&mut self) {
        if is_ours(*self.bits.get_mut()) {
            self.connection.remove_waiting_for_us();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connections::Connections;

    #[test]
    fn a_request_waits_for_us_until_its_client_keeps_it_waiting() {
        let all = Connections::default();
        let address = "192.0.2.1:1".parse().unwrap();
        let entered = all.enter(address, address);
        let connection = &entered.connection;
        let waits = Waits::new(connection);
        let mut answer = std::pin::pin!(std::future::pending::<()>());
        assert!(!connection.waits_for_us());
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(waits.poll(answer.as_mut(), &mut cx).is_pending());
        assert!(connection.waits_for_us(), "for the answer");
        waits.set_content(true);
        assert!(!connection.waits_for_us(), "for the client's content");
        waits.set_content(false);
        assert!(connection.waits_for_us(), "which has come");
        waits.set_content(true);
        waits.set(ANSWERED, true);
        assert!(connection.waits_for_us(), "both talk");
        waits.set_source(false);
        assert!(!connection.waits_for_us(), "the client does not take its answer");
        waits.set_source(true);
        drop(waits);
        assert!(!connection.waits_for_us(), "it is over");
    }
}
