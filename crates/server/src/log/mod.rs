//! Logs: of requests, of what never was one, and the bound on lines about strangers.
//!
//! | module | answers |
//! |---|---|
//! | [`line`] | what does a line of the access log say? |
//! | [`substatus`] | by which numbers does IIS say more than a status? |
//! | [`errors`] | what does a line of the errors log say? |
//! | [`escape`] | how does a stranger's value stay within its field? |
//! | [`date`] | what time is it, in the words of logs? |
//! | [`access`] | where do lines wait, and requests get counted? |
//! | [`writer`] | who writes them? |
//! | [`files`] | into which file? |
//! | [`sweep`] | what becomes of files that are full? |

pub(crate) mod access;
mod date;
pub mod errors;
mod escape;
mod files;
pub(crate) mod line;
pub(crate) mod substatus;
mod sweep;
mod writer;

#[cfg(test)]
mod tests;

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tracing::warn;

use crate::limits::STRANGER_LOG_LINES_PER_SECOND;

/// Log lines about strangers, who may make as many of them as they like: written up to a bound,
/// counted beyond it.
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
