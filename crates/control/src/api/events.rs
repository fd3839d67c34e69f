//! Changes as they are made, as server-sent events. The number of an event is its revision, so that
//! who was away asks with `Last-Event-ID` and gets what the history has since. Who listens by a token
//! is told as long as it is good.

use std::{collections::VecDeque, convert::Infallible, future::pending, sync::Arc, time::Duration};

use axum::response::{
    IntoResponse as _, Response,
    sse::{Event as SseEvent, KeepAlive, Sse},
};
use futures_util::{FutureExt as _, StreamExt as _, stream};
use serde::Serialize;
use tokio::sync::{
    OwnedSemaphorePermit,
    broadcast::{Receiver, error::RecvError},
};

use super::{
    Call, Shared,
    connection::Lasting,
    problem::{Kind, Problem},
};
use crate::{applier::Event, history::Record, problems::PlacedProblem};
use bindery_server::blocking;

/// A stream that has nothing to say says so after this time, so that who listens knows that the
/// server lives, and the server that somebody listens.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// So many changes are told to who was away: all that the history keeps.
const MISSED_MAX: usize = crate::history::REVISIONS_KEPT_MAX;

/// Somebody who listens.
struct Listener {
    shared: Arc<Shared>,
    events: Receiver<Event>,
    /// What is to be told before what comes.
    missed: VecDeque<Record>,
    /// The last change that was told.
    last: u64,
    #[allow(dead_code, reason = "given back with the stream")]
    place: OwnedSemaphorePermit,
}

#[derive(Serialize)]
struct Refused<'a> {
    problems: &'a [PlacedProblem],
}

pub(super) fn stream(call: &Call) -> Result<Response, Problem> {
    let place = Arc::clone(&call.shared.streams).try_acquire_owned();
    let place = place
        .map_err(|_| Problem::new(Kind::Unavailable, "too many listen already; end another one"))?;
    // Before the history is read, so that nothing falls between them.
    let events = call.shared.applier.events();
    let current = call.current().revision;
    let last = match call.head.headers.get("last-event-id") {
        None => current,
        Some(id) => {
            let number = id.to_str().ok().and_then(|id| id.parse().ok());
            let detail = "Last-Event-ID is no revision; leave it away to begin now";
            number.ok_or_else(|| Problem::new(Kind::Malformed, detail))?
        }
    };
    let shared = Arc::clone(&call.shared);
    let mut listener = Listener { shared, events, missed: VecDeque::new(), last, place };
    if last < current {
        listener.missed = missed(&listener.shared, last).map_err(|error| {
            Problem::new(Kind::Unavailable, format!("the history cannot be read: {error}"))
        })?;
    }
    let all = stream::unfold(listener, |mut listener| async move {
        let event = listener.next().await?;
        Some((Ok::<_, Infallible>(event), listener))
    });
    let tokens = Arc::clone(&call.shared.tokens);
    let over = match call.caller.pass.clone() {
        Some(pass) => tokens.taken_back(pass).boxed(),
        None => pending().boxed(),
    };
    let all = all.take_until(over);
    let alive = KeepAlive::new().interval(HEARTBEAT).text("alive");
    let mut response = Sse::new(all).keep_alive(alive).into_response();
    response.extensions_mut().insert(Lasting);
    Ok(response)
}

/// Changes after a revision, oldest first. Blocks.
fn missed(shared: &Shared, last: u64) -> std::io::Result<VecDeque<Record>> {
    let records = shared.applier.history(None, MISSED_MAX)?;
    Ok(records.into_iter().rev().filter(|record| record.revision > last).collect())
}

impl Listener {
    /// The next event; nothing when there will be none.
    async fn next(&mut self) -> Option<SseEvent> {
        loop {
            if let Some(record) = self.missed.pop_front() {
                return Some(self.changed(&record));
            }
            match self.events.recv().await {
                Ok(Event::Changed(record)) if record.revision > self.last => {
                    return Some(self.changed(&record));
                }
                // It was in the history already.
                Ok(Event::Changed(_)) => {}
                Ok(Event::Refused { problems }) => {
                    return told("refused", &Refused { problems: &problems });
                }
                Err(RecvError::Lagged(_)) => {
                    let (shared, last) = (Arc::clone(&self.shared), self.last);
                    let read = blocking::run("the history", move || missed(&shared, last));
                    // Who listens comes back and asks for what it has missed.
                    self.missed = read.await.ok()?.ok()?;
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }

    fn changed(&mut self, record: &Record) -> SseEvent {
        self.last = record.revision;
        let event = told("changed", record).unwrap_or_default();
        event.id(record.revision.to_string())
    }
}

fn told(name: &str, what: &impl Serialize) -> Option<SseEvent> {
    let text = serde_json::to_string(what).ok()?;
    Some(SseEvent::default().event(name).data(text))
}
