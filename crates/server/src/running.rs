//! Requests under way, as who looks at a running server sees them.
//!
//! Only requests that take time are noted: what is answered at once is over before anybody can look.
//! Each connection has a list of its own, as long as it has streams, so that noting one meets no
//! other core. Who looks walks all connections.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bindery_model::site::SiteId;
use http::Method;

use crate::{connections::Connection, limits::RUNNING_URL_BYTES_MAX};

/// A request under way, or the tunnel that it has become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningRequest {
    /// No other request under way has it.
    pub id: u64,
    /// Its site.
    pub site: SiteId,
    /// How it asks.
    pub method: Method,
    /// The host that it asks for.
    pub host: String,
    /// Path and query as the client wrote them, cut where they are long.
    pub url: String,
    /// Who asks: the peer, or whom a trusted proxy speaks for.
    pub client: IpAddr,
    /// How long it is under way.
    pub elapsed: Duration,
}

/// What is noted of a request.
pub(crate) struct Noted {
    pub(crate) site: SiteId,
    pub(crate) method: Method,
    pub(crate) host: Arc<str>,
    pub(crate) url: Box<str>,
    pub(crate) client: IpAddr,
    pub(crate) begun: Instant,
}

/// The requests under way of a connection.
#[derive(Default)]
pub(crate) struct Running(Mutex<List>);

#[derive(Default)]
struct List {
    last: u32,
    requests: Vec<(u32, Noted)>,
}

/// The bits of an id that tell requests of one connection apart.
const NUMBER_BITS: u32 = 24;

impl Running {
    /// Notes a request, and gives the number by which it is taken out again.
    pub(crate) fn add(&self, request: Noted) -> u32 {
        let mut list = self.list();
        // Never 0; unique among far more than a connection has streams.
        list.last = list.last % ((1 << NUMBER_BITS) - 1) + 1;
        let number = list.last;
        if list.requests.capacity() == 0 {
            // On HTTP/1.1 there is never another one.
            list.requests.reserve_exact(1);
        }
        list.requests.push((number, request));
        number
    }

    pub(crate) fn remove(&self, number: u32) {
        let mut list = self.list();
        let place = list.requests.iter().position(|(own, _)| *own == number);
        let removed = place.map(|place| list.requests.swap_remove(place));
        drop(list);
        drop(removed);
    }

    /// Adds those of the connection of this number to `all`.
    pub(crate) fn show(&self, connection: u64, now: Instant, all: &mut Vec<RunningRequest>) {
        let list = self.list();
        all.extend(list.requests.iter().map(|(number, request)| RunningRequest {
            id: (connection << NUMBER_BITS) | u64::from(*number),
            site: request.site,
            method: request.method.clone(),
            host: request.host.to_string(),
            url: request.url.to_string(),
            client: request.client,
            elapsed: now.saturating_duration_since(request.begun),
        }));
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a request among those under way until it is dropped.
pub(crate) struct Listed {
    connection: Arc<Connection>,
    number: u32,
}

impl Listed {
    /// The request of this number.
    pub(crate) fn new(connection: &Arc<Connection>, number: u32) -> Self {
        Self { connection: Arc::clone(connection), number }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.connection.running.remove(self.number);
    }
}

/// A path and query, cut where they are long.
pub(crate) fn cut(url: &str) -> Box<str> {
    if url.len() <= RUNNING_URL_BYTES_MAX {
        return url.into();
    }
    let mut heads = (0..=RUNNING_URL_BYTES_MAX).rev().filter_map(|end| url.get(..end));
    format!("{}...", heads.next().unwrap_or_default()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(url: &str) -> Noted {
        Noted {
            site: SiteId(7),
            method: Method::GET,
            host: "a.example".into(),
            url: cut(url),
            client: IpAddr::from([192, 0, 2, 1]),
            begun: Instant::now(),
        }
    }

    fn shown(running: &Running) -> Vec<RunningRequest> {
        let mut all = Vec::new();
        running.show(3, Instant::now(), &mut all);
        all
    }

    #[test]
    fn requests_are_listed_until_they_are_taken_out() {
        let running = Running::default();
        let (one, two) = (running.add(noted("/one")), running.add(noted("/two?a=b")));
        let all = shown(&running);
        let urls: Vec<_> = all.iter().map(|one| one.url.as_str()).collect();
        assert_eq!(urls, ["/one", "/two?a=b"]);
        assert_ne!(all[0].id, all[1].id);
        assert!(all.iter().all(|one| one.id >> NUMBER_BITS == 3));
        running.remove(one);
        running.remove(one);
        assert_eq!(shown(&running).len(), 1);
        running.remove(two);
        assert!(shown(&running).is_empty());
    }

    #[test]
    fn numbers_begin_anew_before_they_reach_into_that_of_the_connection() {
        let running = Running::default();
        running.list().last = (1 << NUMBER_BITS) - 1;
        assert_eq!(running.add(noted("/")), 1);
        assert_eq!(running.add(noted("/")), 2);
    }

    #[test]
    fn long_urls_are_cut_between_characters() {
        let long = format!("/{}", "é".repeat(RUNNING_URL_BYTES_MAX));
        let cut = cut(&long);
        assert!(cut.len() <= RUNNING_URL_BYTES_MAX + 3 && cut.ends_with("é..."), "{}", cut.len());
        assert_eq!(&*super::cut("/a"), "/a");
    }
}
