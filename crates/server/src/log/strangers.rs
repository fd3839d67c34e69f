//! Log lines about strangers, who may make as many of them as they like: written up to a bound,
//! counted beyond it.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tracing::warn;

use crate::limits::STRANGER_LOG_LINES_PER_SECOND;

/// Says which lines are written.
#[derive(Debug, Default)]
pub(crate) struct StrangerLog(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    began: Option<Instant>,
    written: u32,
    left_out: u64,
}

impl StrangerLog {
    /// Whether the next line may be written. Says itself, once a second, how many were not.
    pub(crate) fn may_write(&self) -> bool {
        let left_out = {
            let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let over = window.began.is_none_or(|began| now - began >= Duration::from_secs(1));
            let left_out = if over { window.left_out } else { 0 };
            if over {
                *window = Window { began: Some(now), ..Window::default() };
            }
            if window.written == STRANGER_LOG_LINES_PER_SECOND {
                window.left_out += 1;
                return false;
            }
            window.written += 1;
            left_out
        };
        if left_out > 0 {
            warn!(left_out, "lines about clients were left out");
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_lines_is_cut_to_its_bound() {
        let log = StrangerLog::default();
        let written = (0..1000).filter(|_| log.may_write()).count();
        // A second may begin while the loop runs, hardly two.
        assert!((20..=40).contains(&written), "{written}");
    }
}
