//! What the kernel knows of a process and its children: processor time and memory. And where
//! threads run.

use std::collections::BTreeMap;
use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

use crate::failure::{Context, Failure};

/// Runs the calling thread, and what it starts from now on, on one core.
pub(crate) fn pin(core: usize) -> Result<(), Failure> {
    let mut set = CpuSet::new();
    set.set(core);
    run_on(&set)
}

/// Runs the calling thread on any of these cores.
pub(crate) fn run_on(cores: &CpuSet) -> Result<(), Failure> {
    sched_setaffinity(None, cores).context(|| "cannot choose a core".to_owned())
}

/// The cores on which the calling thread may run.
pub(crate) fn cores() -> Result<CpuSet, Failure> {
    sched_getaffinity(None).context(|| "cannot ask for the cores".to_owned())
}

/// Nanoseconds that the calling thread has run.
pub(crate) fn own_nanoseconds() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// Allows as many open files as the hard limit does; returns how many.
pub(crate) fn raise_open_files() -> Result<u64, Failure> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
        .context(|| "cannot raise the number of open files".to_owned())?;
    Ok(maximum.unwrap_or(u64::MAX))
}

/// A process with all its descendants, as they are at this moment.
pub(crate) fn tree(root: u32) -> Vec<u32> {
    let parents = parents();
    let mut members = vec![root];
    let mut next = 0;
    while let Some(&parent) = members.get(next) {
        members.extend(parents.iter().filter(|(_, of)| **of == parent).map(|(child, _)| *child));
        next += 1;
    }
    members
}

/// The parent of every process.
fn parents() -> BTreeMap<u32, u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid: u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            Some((pid, parent(&stat)?))
        })
        .collect()
}

/// The parent in a line of `/proc/PID/stat`. The name before it may hold blanks and brackets.
fn parent(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Nanoseconds that a process tree has run, by the scheduler's own account of every thread.
/// Threads that have ended are not in it.
pub(crate) fn cpu_nanoseconds(root: u32) -> Result<u64, Failure> {
    if !fs::exists(format!("/proc/{root}")).unwrap_or(false) {
        return Err(Failure::new(format!("process {root} has ended")));
    }
    let processes = tree(root);
    let threads = processes
        .iter()
        .flat_map(|pid| fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten());
    Ok(threads
        .filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok())
        .filter_map(|text| text.split_ascii_whitespace().next()?.parse::<u64>().ok())
        .sum())
}

/// Bytes of memory that a process tree uses, shared pages divided among those who share them.
pub(crate) fn memory_bytes(root: u32) -> Result<u64, Failure> {
    let mut total = 0;
    for pid in tree(root) {
        let file = format!("/proc/{pid}/smaps_rollup");
        let text = fs::read_to_string(&file).context(|| format!("cannot read {file}"))?;
        total += pss_bytes(&text).ok_or_else(|| Failure::new(format!("no Pss in {file}")))?;
    }
    Ok(total)
}

fn pss_bytes(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_parent_is_found_behind_any_name() {
        assert_eq!(super::parent("12 (nginx) S 7 12 12"), Some(7));
        assert_eq!(super::parent("12 (a) b) (c) R 8 12 12"), Some(8));
        assert_eq!(super::parent("nonsense"), None);
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let text = "0-1 ---p 0 00:00 0 [rollup]\nRss:  1768 kB\nPss:  364 kB\nPss_Dirty: 1 kB\n";
        assert_eq!(super::pss_bytes(text), Some(364 * 1024));
        assert_eq!(super::pss_bytes(""), None);
    }

    #[test]
    fn a_process_is_in_its_own_tree_and_uses_memory() {
        let own = std::process::id();
        assert!(super::tree(own).contains(&own));
        assert!(super::memory_bytes(own).unwrap() > 4096);
        super::cpu_nanoseconds(own).unwrap();
    }

    #[test]
    fn a_process_that_has_ended_is_an_error() {
        super::cpu_nanoseconds(u32::MAX).unwrap_err();
    }
}
