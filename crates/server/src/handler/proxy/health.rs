//! Whether a member is well: by what becomes of requests, and by asking it.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// How a member fares.
pub(super) struct Health {
    failures_max: u32,
    failed_for: Duration,
    /// Whether there is anything but good to say of it. Nearly always not, and then requests look
    /// no further.
    troubled: AtomicBool,
    record: Mutex<Record>,
}

#[derive(Default)]
struct Record {
    /// Failures in a row, and when the first of them was.
    failures: u32,
    since: Option<Instant>,
    /// Until when nobody is sent there.
    out_until: Option<Instant>,
    /// Whether it was asked and found unwell.
    unwell: bool,
    /// Answers of the other kind in a row.
    turning: u32,
}

/// What is known of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Condition {
    /// Nothing bad.
    Well,
    /// Requests have failed. It is asked when no other is left.
    Failing,
    /// It was asked and found unwell. It is not asked until it is found well.
    Unwell,
}

impl Health {
    pub(super) fn new(failures_max: u32, failed_for: Duration) -> Self {
        Self {
            failures_max,
            failed_for,
            troubled: AtomicBool::new(false),
            record: Mutex::default(),
        }
    }

    fn record(&self) -> std::sync::MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, record: &Record) {
        let troubled = record.failures > 0 || record.out_until.is_some() || record.unwell;
        self.troubled.store(troubled, Ordering::Relaxed);
    }

    /// What is known of it.
    pub(super) fn condition(&self) -> Condition {
        if !self.troubled.load(Ordering::Relaxed) {
            return Condition::Well;
        }
        let mut record = self.record();
        if record.unwell {
            return Condition::Unwell;
        }
        match record.out_until {
            Some(until) if until > Instant::now() => Condition::Failing,
            Some(_) => {
                record.out_until = None;
                self.note(&record);
                Condition::Well
            }
            None => Condition::Well,
        }
    }

    /// A request was answered.
    pub(super) fn succeeded(&self) {
        if self.troubled.load(Ordering::Relaxed) {
            let mut record = self.record();
            (record.failures, record.since, record.out_until) = (0, None, None);
            self.note(&record);
        }
    }

    /// A request was not answered. Whether that takes it out.
    pub(super) fn failed(&self) -> bool {
        if self.failures_max == 0 {
            return false;
        }
        let now = Instant::now();
        let mut record = self.record();
        // A row of failures has all of them within the time.
        if record.since.is_none_or(|since| now - since > self.failed_for) {
            (record.failures, record.since) = (0, Some(now));
        }
        record.failures += 1;
        let out = record.failures >= self.failures_max;
        if out {
            (record.failures, record.since) = (0, None);
            record.out_until = Some(now + self.failed_for);
        }
        self.note(&record);
        out
    }

    /// It was asked. `needed` answers of one kind in a row change what is known. Whether it
    /// changed.
    pub(super) fn asked(&self, well: bool, needed: u32) -> bool {
        let mut record = self.record();
        if well != record.unwell {
            record.turning = 0;
            return false;
        }
        record.turning += 1;
        if record.turning < needed {
            return false;
        }
        record.turning = 0;
        record.unwell = !well;
        if well {
            (record.failures, record.since, record.out_until) = (0, None, None);
        }
        self.note(&record);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_take_a_member_out_for_a_while() {
        let health = Health::new(3, Duration::from_secs(10));
        assert!(!health.failed() && !health.failed());
        assert_eq!(health.condition(), Condition::Well);
        health.succeeded();
        assert!(!health.failed() && !health.failed());
        assert!(health.failed(), "the third in a row");
        assert_eq!(health.condition(), Condition::Failing);
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(health.condition(), Condition::Failing);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(health.condition(), Condition::Well);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_far_apart_are_no_row() {
        let health = Health::new(2, Duration::from_secs(10));
        for _ in 0..5 {
            assert!(!health.failed());
            tokio::time::advance(Duration::from_secs(11)).await;
        }
        assert_eq!(health.condition(), Condition::Well);
    }

    #[tokio::test(start_paused = true)]
    async fn a_success_brings_a_member_back_at_once() {
        let health = Health::new(1, Duration::from_secs(10));
        assert!(health.failed());
        health.succeeded();
        assert_eq!(health.condition(), Condition::Well);
    }

    #[test]
    fn with_no_bound_nothing_takes_a_member_out() {
        let health = Health::new(0, Duration::from_secs(10));
        assert!((0..100).all(|_| !health.failed()));
        assert_eq!(health.condition(), Condition::Well);
    }

    #[tokio::test(start_paused = true)]
    async fn answers_of_one_kind_in_a_row_change_what_is_known() {
        let health = Health::new(3, Duration::from_secs(10));
        assert!(!health.asked(false, 2));
        assert!(!health.asked(true, 2), "the row is broken");
        assert!(!health.asked(false, 2));
        assert!(health.asked(false, 2));
        assert_eq!(health.condition(), Condition::Unwell);
        health.succeeded();
        assert_eq!(health.condition(), Condition::Unwell, "only asking brings it back");
        assert!(!health.asked(true, 2));
        assert!(health.asked(true, 2));
        assert_eq!(health.condition(), Condition::Well);
    }
}
