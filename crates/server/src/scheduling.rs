//! How soon a thread gets the core that it waits for: those that serve before those that work behind
//! them.
//!
//! Linux takes turns in slices. A thread that wakes up waits until the one that runs has had its
//! slice, whatever its niceness, and that is looked at by a timer with up to 10 ms between two looks:
//! a request would wait so long whenever something is computed on the same core. Unless it asks for
//! shorter slices than the one that runs (`PREEMPT_SHORT`, since Linux 6.12): then it has the core
//! at once. How much of the core each has in the end is left as it is.
#![allow(unsafe_code, reason = "one system call, which no safe library has: see set_slice")]

use std::{io, mem::size_of, time::Duration};

use rustix::process::{getpriority_process, nice};

/// The slices of threads that serve: the shortest that Linux has.
const SERVING_SLICE: Duration = Duration::from_micros(100);

/// How far a background thread gives way, as `nice` counts. Where it shares a core with threads that
/// serve, it has what they leave, and a tenth beside them: on a machine that has more to do than it
/// can, a change still comes through within a second.
const NICENESS: i32 = 10;

/// From now on the calling thread has a core as soon as it has something to do, if those that run
/// there have longer slices. Before Linux 6.12 nothing changes.
pub fn serve() {
    // It is allowed to everybody; where it is not, everything works without.
    set_slice(Some(SERVING_SLICE)).ok();
}

/// From now on the calling thread gives way to those that serve.
pub fn give_way() {
    // As above. A thread begins with the slices of the one that has started it.
    nice(NICENESS).ok();
    set_slice(None).ok();
}

/// Sets how long the calling thread may run before Linux looks for another, or takes that back. Its
/// policy and its niceness stay as they are.
fn set_slice(slice: Option<Duration>) -> io::Result<()> {
    let attributes = libc::sched_attr {
        size: u32::try_from(size_of::<libc::sched_attr>()).map_err(io::Error::other)?,
        sched_policy: 0,
        sched_flags: u64::try_from(libc::SCHED_FLAG_KEEP_POLICY).map_err(io::Error::other)?,
        // Of the calling thread, in Linux.
        sched_nice: getpriority_process(None)?,
        sched_priority: 0,
        sched_runtime: slice
            .map_or(Ok(0), |slice| u64::try_from(slice.as_nanos()))
            .map_err(io::Error::other)?,
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

    /// What Linux says of the calling thread, where it says it (since 6.6).
    fn slice() -> Option<u64> {
        let said = fs::read_to_string("/proc/thread-self/sched").ok()?;
        let line = said.lines().find(|line| line.starts_with("se.slice"))?;
        line.rsplit(':').next()?.trim().parse().ok()
    }

    /// What a new thread is after `work`: its slice and its niceness.
    fn after(work: fn()) -> (Option<u64>, i32) {
        let thread = thread::spawn(move || {
            work();
            (slice(), getpriority_process(None).unwrap())
        });
        thread.join().unwrap()
    }

    #[test]
    fn who_serves_has_shorter_slices_than_who_works_behind_and_is_as_nice_as_before() {
        let (usual, niceness) = after(|| ());
        let (serving, same) = after(serve);
        let (behind, nicer) = after(give_way);
        assert_eq!((behind, same), (usual, niceness));
        assert_eq!(nicer, (niceness + NICENESS).min(19));
        // Linux before 6.12 lets nobody ask.
        assert!(serving == usual || serving == Some(100_000), "{serving:?}");
    }

    #[test]
    fn a_background_thread_does_not_begin_with_the_slices_of_who_starts_it() {
        let (usual, _) = after(|| ());
        let thread = thread::spawn(|| {
            serve();
            after(give_way)
        });
        assert_eq!(thread.join().unwrap().0, usual);
    }
}
