//! Waiting for many connections in one thread.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::time::Timespec;

use crate::failure::{Context, Failure};

/// An epoll instance (edge-triggered) and its event buffer.
pub(crate) struct Poll {
    epoll: OwnedFd,
    events: Vec<Event>,
}

impl Poll {
    pub(crate) fn new() -> Result<Self, Failure> {
        let epoll = epoll::create(CreateFlags::CLOEXEC).context(|| "cannot poll".to_owned())?;
        Ok(Self { epoll, events: Vec::with_capacity(256) })
    }

    /// Reports `slot` whenever the stream becomes readable or writable. Closing it ends this.
    pub(crate) fn add(&self, stream: impl AsFd, slot: usize) -> Result<(), Failure> {
        let data = EventData::new_u64(u64::try_from(slot).unwrap_or(u64::MAX));
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
        epoll::add(&self.epoll, stream, data, flags).context(|| "cannot poll a socket".to_owned())
    }

    /// The slots with news; none when `limit` has passed first.
    pub(crate) fn wait(&mut self, limit: Duration) -> Result<Vec<usize>, Failure> {
        self.events.clear();
        let timeout = Timespec::try_from(limit).context(|| "cannot wait so long".to_owned())?;
        match epoll::wait(
            &self.epoll,
            rustix::buffer::spare_capacity(&mut self.events),
            Some(&timeout),
        ) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context(|| "cannot wait for sockets".to_owned()),
        }
        Ok(self.events.iter().filter_map(|event| usize::try_from(event.data.u64()).ok()).collect())
    }
}
