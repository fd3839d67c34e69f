//! What the kernel knows of a process and its children: processor time and memory. And where
//! threads run.

use std::collections::BTreeMap;
use std::fs;

use rustix::param::clock_ticks_per_second;
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

/// Processor time that a process tree has used until now.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Used {
    /// By the scheduler's account of each living thread: exact, but a thread that ends takes its
    /// part away with it.
    threads_nanoseconds: u64,
    /// By the processes' own account, with ended threads and children, in steps of a clock tick.
    processes_nanoseconds: u64,
    processes: u64,
}

impl Used {
    /// What a process tree has used.
    pub(crate) fn by(root: u32) -> Result<Self, Failure> {
        if !fs::exists(format!("/proc/{root}")).unwrap_or(false) {
            return Err(Failure::new(format!("process {root} has ended")));
        }
        let tick = 1_000_000_000 / clock_ticks_per_second().max(1);
        let mut used = Self::default();
        for pid in tree(root) {
            used.processes += 1;
            used.threads_nanoseconds += threads_nanoseconds(pid);
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            used.processes_nanoseconds += ticks(&stat).unwrap_or(0) * tick;
        }
        Ok(used)
    }

    /// Nanoseconds used since `before`. The exact figure, unless the other one shows that threads
    /// have ended in between: then it falls short by more than rounding can explain.
    pub(crate) fn since(&self, before: &Self) -> u64 {
        let rounding = 4 * self.processes * (1_000_000_000 / clock_ticks_per_second().max(1));
        let exact = self.threads_nanoseconds.saturating_sub(before.threads_nanoseconds);
        let whole = self.processes_nanoseconds.saturating_sub(before.processes_nanoseconds);
        if whole > exact + rounding { whole } else { exact }
    }
}

/// What the threads of a process have run, as far as they still live.
fn threads_nanoseconds(pid: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads
        .filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok())
        .filter_map(|text| text.split_ascii_whitespace().next()?.parse::<u64>().ok())
        .sum()
}

/// User and system time of a process and of its children that have ended, in a line of
/// `/proc/PID/stat` (fields 14 to 17).
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields = rest.split_ascii_whitespace().skip(11).take(4);
    fields.map(|field| field.parse::<u64>().ok()).sum()
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
    use super::Used;

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
    }

    #[test]
    fn a_process_that_has_ended_is_an_error() {
        Used::by(u32::MAX).unwrap_err();
    }

    #[test]
    fn the_time_of_a_thread_that_has_ended_is_counted() {
        let own = std::process::id();
        let before = Used::by(own).unwrap();
        std::thread::spawn(|| while super::own_nanoseconds() < 300_000_000 {}).join().unwrap();
        let used = Used::by(own).unwrap().since(&before);
        assert!(used > 250_000_000, "{used}");
    }

    #[test]
    fn the_exact_figure_is_taken_while_it_is_whole() {
        let used = |threads_nanoseconds, processes_nanoseconds| Used {
            threads_nanoseconds,
            processes_nanoseconds,
            processes: 1,
        };
        let before = used(1_000_000_000, 1_000_000_000);
        assert_eq!(used(2_345_678_901, 2_350_000_000).since(&before), 1_345_678_901);
        assert_eq!(used(1_900_000_000, 2_350_000_000).since(&before), 1_350_000_000);
        assert_eq!(used(500_000_000, 2_350_000_000).since(&before), 1_350_000_000);
    }

    #[test]
    fn times_of_ended_children_are_ticks_too() {
        let stat = "12 (a b) S 7 12 12 0 -1 4194560 1 0 0 0 100 20 3 4 20 0 1 0 5";
        assert_eq!(super::ticks(stat), Some(127));
        assert_eq!(super::ticks("nonsense"), None);
    }
}
