//! How soon a thread gets the core that it waits for: those that serve before those that work behind
//! them.
//!
//! Linux takes turns in slices. A thread that wakes up waits until the one that runs has had its
//! slice, whatever its niceness, and a timer looks at that every 1 to 10 ms: so long would a request
//! wait whenever something is computed on the same core. Unless it asks for shorter slices than the
//! one that runs (since Linux 6.12): then it has the core at once. And a thread of the batch policy
//! takes it from nobody when it wakes up. How much of the core each has in the end is left to
//! niceness.
#![allow(unsafe_code, reason = "one system call, which no safe library has: see `set`")]

use std::{io, mem::size_of, time::Duration};

use libc::{SCHED_BATCH, SCHED_FLAG_KEEP_POLICY, c_int, sched_attr};
use rustix::process::getpriority_process;

/// The slices of threads that serve: the shortest that Linux has.
const SERVING_SLICE: Duration = Duration::from_micros(100);

/// How far a background thread gives way, as `nice` counts. Where it shares a core with threads that
/// serve, it has what they leave, and a tenth beside them: on a machine that has more to do than it
/// can, a change still comes through within a second.
const NICENESS: i32 = 10;

/// The most that there is.
const NICENESS_MAX: i32 = 19;

/// From now on the calling thread has a core as soon as it has something to do, if those that run
/// there have longer slices. Before Linux 6.12 nothing changes.
pub fn serve() {
    // It is allowed to everybody; where it is not, everything works without.
    set(None, 0, SERVING_SLICE).ok();
}

/// From now on the calling thread gives way to those that serve.
pub fn give_way() {
    // As above. A thread begins with the slices of the one that has started it.
    let usual_slice = Duration::ZERO;
    set(Some(SCHED_BATCH), NICENESS, usual_slice).ok();
}

/// Sets how the calling thread takes its turns: the policy or, where there is none, what it has; how
/// much nicer it is than now; how long it may run before Linux looks for another.
fn set(policy: Option<c_int>, nicer: i32, slice: Duration) -> io::Result<()> {
    let flags = if policy.is_none() { SCHED_FLAG_KEEP_POLICY } else { 0 };
    let attributes = sched_attr {
        size: u32::try_from(size_of::<sched_attr>()).map_err(io::Error::other)?,
        sched_policy: u32::try_from(policy.unwrap_or(0)).map_err(io::Error::other)?,
        sched_flags: u64::try_from(flags).map_err(io::Error::other)?,
        // Of the calling thread, in Linux.
        sched_nice: (getpriority_process(None)? + nicer).min(NICENESS_MAX),
        sched_priority: 0,
        sched_runtime: u64::try_from(slice.as_nanos()).map_err(io::Error::other)?,
        sched_deadline: 0,
        sched_period: 0,
    };
    let (calling_thread, no_flags): (libc::pid_t, libc::c_uint) = (0, 0);
    // SAFETY: the kernel reads `size` bytes at the pointer, which are those of `attributes`: a value
    // without padding or references, all of it initialized, that lives until the call is over. It
    // keeps no pointer and writes nothing there, and this call changes no memory of the process.
    let done = unsafe {
        libc::syscall(libc::SYS_sched_setattr, calling_thread, &raw const attributes, no_flags)
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, thread};

    use super::*;

    #[derive(Debug, PartialEq)]
    struct Seen {
        niceness: i32,
        policy: Option<u64>,
        slice: Option<u64>,
    }

    /// What a new thread is after `work`. Not every kernel tells everything.
    fn after(work: fn()) -> Seen {
        let thread = thread::spawn(move || {
            work();
            let told = fs::read_to_string("/proc/thread-self/sched").unwrap_or_default();
            let number = |name: &str| {
                let line = told.lines().find(|line| line.split([' ', ':']).next() == Some(name))?;
                line.rsplit(':').next()?.trim().parse().ok()
            };
            let niceness = getpriority_process(None).unwrap();
            Seen { niceness, policy: number("policy"), slice: number("se.slice") }
        });
        thread.join().unwrap()
    }

    #[test]
    fn who_serves_has_shorter_slices_than_who_works_behind_and_is_as_nice_as_before() {
        let usual = after(|| ());
        let serving = after(serve);
        assert_eq!((serving.niceness, serving.policy), (usual.niceness, usual.policy));
        // Linux before 6.12 lets nobody ask.
        let slices = [usual.slice, Some(100_000)];
        assert!(slices.contains(&serving.slice), "{serving:?}");
        let behind = after(give_way);
        let niceness = (usual.niceness + NICENESS).min(NICENESS_MAX);
        assert_eq!((behind.niceness, behind.slice), (niceness, usual.slice));
        let batch = usual.policy.map(|_| u64::try_from(SCHED_BATCH).unwrap());
        assert_eq!(behind.policy, batch);
    }

    #[test]
    fn a_background_thread_does_not_begin_with_the_slices_of_who_starts_it() {
        let started = thread::spawn(|| {
            serve();
            after(give_way)
        });
        assert_eq!(started.join().unwrap(), after(give_way));
    }
}
