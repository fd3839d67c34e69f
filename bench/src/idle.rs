//! What an idle connection costs a server in memory.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use rustls_pki_types::ServerName;
use serde::Serialize;

use crate::client::Offer;
use crate::client::exchange::{Exchange, Fault, Progress, Task};
use crate::client::generator::as_f64;
use crate::client::poll::Poll;
use crate::failure::Failure;
use crate::process;

/// So many connections are in their handshake at a time.
const OPENING_MAX: usize = 64;

/// Connections opened and left open before the first measurement, so that what a server allocates
/// once is not counted.
const WARM_UP: usize = 256;

/// How long connections are left alone before they count as idle: a server may keep the buffers of
/// a connection for some seconds after its last byte.
const SILENCE: Duration = Duration::from_secs(10);

/// All connections must be open by then.
const OPEN_TIMEOUT: Duration = Duration::from_secs(120);

/// Memory per idle connection.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Cost {
    /// Connections that were open at both measurements' difference.
    pub connections: usize,
    /// Of these, closed by the server before the second measurement.
    pub lost: usize,
    pub bytes_each: f64,
    pub before_bytes: u64,
    pub after_bytes: u64,
}

/// Connections that are held open.
struct Crowd {
    poll: Poll,
    target: SocketAddr,
    name: ServerName<'static>,
    task: Task,
    members: Vec<Exchange>,
}

/// Opens connections to `target`, and measures the process tree `server` before and after.
pub(crate) fn measure(
    target: SocketAddr,
    name: ServerName<'static>,
    task: Task,
    (server, connections): (u32, usize),
) -> Result<Cost, Failure> {
    let mut crowd = Crowd { poll: Poll::new()?, target, name, task, members: Vec::new() };
    crowd.grow(WARM_UP)?;
    thread::sleep(SILENCE);
    let before_bytes = settled_memory(server)?;
    crowd.grow(connections)?;
    thread::sleep(SILENCE);
    let after_bytes = settled_memory(server)?;
    let lost = crowd.lost();
    let growth = as_f64(after_bytes) - as_f64(before_bytes);
    let count = as_f64(u64::try_from(connections).unwrap_or(u64::MAX));
    Ok(Cost { connections, lost, bytes_each: growth / count.max(1.0), before_bytes, after_bytes })
}

/// The memory once it has stopped moving: servers may still be working off what came last.
fn settled_memory(server: u32) -> Result<u64, Failure> {
    const PAUSE: Duration = Duration::from_millis(300);
    let mut last = process::memory_bytes(server)?;
    for _ in 0..10 {
        thread::sleep(PAUSE);
        let now = process::memory_bytes(server)?;
        if now.abs_diff(last) < 256 * 1024 {
            return Ok(now);
        }
        last = now;
    }
    Ok(last)
}

impl Crowd {
    /// Opens so many more, and waits until each has what it asked for.
    fn grow(&mut self, count: usize) -> Result<(), Failure> {
        let config = Offer { protocol: self.task.protocol(), ..Offer::PLAIN }.config(None)?;
        let start = Instant::now();
        let end = self.members.len() + count;
        let mut opening = 0;
        let mut done = vec![true; self.members.len()];
        done.resize(end, false);
        while done.iter().any(|done| !done) {
            while opening < OPENING_MAX && self.members.len() < end {
                let exchange = Exchange::start(self.target, &config, (0, &self.name), self.task)
                    .map_err(|fault| refused(self.members.len(), &fault))?;
                self.poll.add(exchange.stream(), self.members.len())?;
                self.members.push(exchange);
                opening += 1;
            }
            for slot in self.poll.wait(Duration::from_millis(200))? {
                let (Some(exchange), Some(done)) = (self.members.get_mut(slot), done.get_mut(slot))
                else {
                    continue;
                };
                match exchange.drive() {
                    Ok(Progress::Waiting) => {}
                    Ok(Progress::Whole | Progress::Closed) if *done => {}
                    Ok(Progress::Whole) => {
                        *done = true;
                        opening -= 1;
                    }
                    Ok(Progress::Closed) => return Err(refused(slot, &Fault::Answer("closed"))),
                    Err(fault) => return Err(refused(slot, &fault)),
                }
            }
            if start.elapsed() > OPEN_TIMEOUT {
                return Err(refused(self.members.len(), &Fault::Answer("not open in time")));
            }
        }
        Ok(())
    }

    /// How many the server has closed.
    fn lost(&mut self) -> usize {
        let open = |exchange: &mut Exchange| {
            matches!(exchange.drive(), Ok(Progress::Whole | Progress::Waiting))
        };
        self.members.iter_mut().filter_map(|exchange| (!open(exchange)).then_some(())).count()
    }
}

fn refused(number: usize, fault: &Fault) -> Failure {
    Failure::new(format!("connection {number} failed: {fault}"))
}
