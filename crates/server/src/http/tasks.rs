//! The streams of an HTTP/2 connection as futures of the connection's own task: no other task is
//! woken for a request, and answers that are ready together leave together.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use futures_util::stream::{FuturesUnordered, Stream as _};

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where hyper puts new streams.
#[derive(Clone, Default)]
pub(super) struct NewTasks(Arc<Mutex<Vec<Task>>>);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for NewTasks {
    fn execute(&self, task: F) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Box::pin(task));
    }
}

/// The streams that are under way.
#[derive(Default)]
pub(super) struct Tasks {
    new: NewTasks,
    waiting: FuturesUnordered<Task>,
}

impl Tasks {
    pub(super) fn executor(&self) -> NewTasks {
        self.new.clone()
    }

    /// Polls what can go on. Whether any did, so that the connection has something to write.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        let new = std::mem::take(&mut *self.new.0.lock().unwrap_or_else(PoisonError::into_inner));
        for mut task in new {
            moved = true;
            // Most end at once and need no place among those that wait.
            if task.as_mut().poll(cx).is_pending() {
                self.waiting.push(task);
            }
        }
        while !self.waiting.is_empty() {
            match Pin::new(&mut self.waiting).poll_next(cx) {
                Poll::Ready(Some(())) => moved = true,
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        moved
    }
}
