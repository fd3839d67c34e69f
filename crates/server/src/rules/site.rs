//! How much of the machine a site may take: requests under way, and bytes a second.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bindery_model::site::{Site, SiteId, SiteLimits};
use bytes::Bytes;
use http_body::{Body as _, Frame};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{
    http::{body::Body, error::RequestError},
    limits::{FILE_CHUNK_BYTES, THROTTLE_BURST, THROTTLED_FRAME_BYTES_MIN},
};

/// What is under way at all sites that have limits. Outlives a change of the configuration.
#[derive(Default)]
pub(crate) struct SiteLoads(Mutex<HashMap<SiteId, Weak<SiteLoad>>>);

/// What is under way at a site.
#[derive(Default)]
pub(crate) struct SiteLoad {
    requests: AtomicU32,
    /// When what was given out so far will have been sent.
    sent_at: Mutex<Option<Instant>>,
}

impl SiteLoads {
    fn of(&self, site: SiteId) -> Arc<SiteLoad> {
        let mut loads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(load) = loads.get(&site).and_then(Weak::upgrade) {
            return load;
        }
        loads.retain(|_, load| load.strong_count() > 0);
        let load = Arc::default();
        loads.insert(site, Arc::downgrade(&load));
        load
    }
}

/// The limits of a site and what is under way at it.
pub(crate) struct LimitedSite {
    name: String,
    limits: SiteLimits,
    load: Arc<SiteLoad>,
}

impl LimitedSite {
    /// `None` for a site without limits.
    pub(crate) fn new(site: &Site, loads: &SiteLoads) -> Option<Self> {
        let limits = site.limits.clone();
        let is_limited = limits != SiteLimits::default();
        is_limited.then(|| Self { name: site.name.clone(), limits, load: loads.of(site.id) })
    }

    /// What a request that was let in has become, a tunnel: it counts until the guard is dropped.
    pub(crate) fn go_on(&self) -> Share {
        self.load.requests.fetch_add(1, Ordering::AcqRel);
        Share { load: Arc::clone(&self.load), throttle: None }
    }

    /// The pace of what is sent to one client; `None` where there is no limit.
    pub(crate) fn pace(&self) -> Option<Pace> {
        let bytes_per_second = self.limits.bytes_per_second_max?.max(1);
        Some(Pace { load: Arc::clone(&self.load), bytes_per_second, next: None, timer: None })
    }

    /// One request more.
    ///
    /// # Errors
    ///
    /// 503 when the site has as many as it may.
    pub(crate) fn begin(&self) -> Result<Share, RequestError> {
        let before = self.load.requests.fetch_add(1, Ordering::AcqRel);
        let throttle = self.pace().map(|pace| Throttle { pace, held: Bytes::new() });
        let share = Share { load: Arc::clone(&self.load), throttle };
        match self.limits.requests_max {
            // The share that is dropped here counts down again.
            Some(requests_max) if before >= requests_max => {
                Err(RequestError::SiteBusy { site: self.name.clone(), requests_max })
            }
            _ => Ok(share),
        }
    }
}

#[cfg(test)]
impl LimitedSite {
    /// Of a site that is only this.
    pub(crate) fn of(limits: SiteLimits) -> Self {
        Self { name: "a".to_owned(), limits, load: Arc::default() }
    }
}

/// The part that a request has in the load of its site, until its answer is sent or given up.
pub(crate) struct Share {
    load: Arc<SiteLoad>,
    throttle: Option<Throttle>,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.load.requests.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Share {
    /// What comes next of `body`, when its time has come.
    pub(crate) fn poll_frame(
        &mut self,
        body: &mut Body,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        match &mut self.throttle {
            Some(throttle) => throttle.poll_frame(body, cx),
            None => Pin::new(body).poll_frame(cx),
        }
    }

    /// Bytes that were taken out of the body and not sent.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.throttle.as_ref().map_or(0, |throttle| throttle.held.len() as u64)
    }
}

/// Tells one answer or tunnel when its bytes may leave, at the pace of its site. Each has one piece
/// in line at a time, and pieces leave in the order in which they came: nobody who takes more of
/// them keeps others from theirs.
pub(crate) struct Pace {
    load: Arc<SiteLoad>,
    bytes_per_second: u64,
    /// The piece that is in line: what of it is not sent yet, and its time.
    next: Option<(usize, Instant)>,
    /// Armed only while something waits.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    /// Whether a piece waits for its time.
    pub(crate) fn is_in_line(&self) -> bool {
        self.next.is_some_and(|(_, at)| Instant::now() < at)
    }

    /// How many of `length` bytes, which are not none, may leave, when their time has come. To be
    /// told with [`Self::sent`] which of them have left.
    pub(crate) fn poll_turn(&mut self, length: usize, cx: &mut Context<'_>) -> Poll<usize> {
        let (length, at) = *self.next.get_or_insert_with(|| {
            let length = length.min(piece(self.bytes_per_second));
            (length, self.load.reserve(time(length, self.bytes_per_second), Instant::now()))
        });
        if Instant::now() < at {
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
            if timer.deadline() != at {
                timer.as_mut().reset(at);
            }
            std::task::ready!(timer.as_mut().poll(cx));
        }
        Poll::Ready(length)
    }

    /// So many of the bytes whose turn it is have left.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.next = self.next.and_then(|(length, at)| {
            Some((length.checked_sub(bytes).filter(|left| *left > 0)?, at))
        });
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        // What waits is not sent any more: others may have its time.
        if let Some((length, _)) = self.next {
            self.load.give_back(time(length, self.bytes_per_second));
        }
    }
}

/// Lets the bytes of an answer out at the pace of its site.
struct Throttle {
    pace: Pace,
    /// What was taken out of a body and not sent.
    held: Bytes,
}

impl Throttle {
    fn poll_frame(
        &mut self,
        body: &mut Body,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        while self.held.is_empty() {
            match std::task::ready!(Pin::new(&mut *body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => self.held = bytes,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                other => return Poll::Ready(other),
            }
        }
        let length = std::task::ready!(self.pace.poll_turn(self.held.len(), cx));
        let bytes = self.held.split_to(length);
        self.pace.sent(length);
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}

impl SiteLoad {
    /// When something that takes `time` to send may be sent.
    fn reserve(&self, time: Duration, now: Instant) -> Instant {
        let mut sent_at = self.sent_at.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = now.checked_sub(THROTTLE_BURST).unwrap_or(now);
        let at = sent_at.map_or(earliest, |sent_at| sent_at.max(earliest));
        *sent_at = Some(at + time);
        at
    }

    fn give_back(&self, time: Duration) {
        let mut sent_at = self.sent_at.lock().unwrap_or_else(PoisonError::into_inner);
        *sent_at = sent_at.and_then(|sent_at| sent_at.checked_sub(time));
    }
}

/// How much leaves at once: a tenth of a second.
fn piece(bytes_per_second: u64) -> usize {
    let tenth = usize::try_from(bytes_per_second / 10).unwrap_or(usize::MAX);
    tenth.clamp(THROTTLED_FRAME_BYTES_MIN, FILE_CHUNK_BYTES)
}

fn time(bytes: usize, bytes_per_second: u64) -> Duration {
    let nanoseconds = bytes as u128 * 1_000_000_000 / u128::from(bytes_per_second);
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, path::PathBuf};

    use bindery_model::{
        rules::Rules,
        site::{Files, Route, RouteAction, RouteKind, SiteState},
    };

    use super::*;

    fn site(requests_max: Option<u32>, bytes_per_second_max: Option<u64>) -> Site {
        Site {
            id: SiteId(1),
            name: "a".to_owned(),
            state: SiteState::Started,
            https_redirect: false,
            limits: SiteLimits { requests_max, bytes_per_second_max },
            access_log: true,
            ignore_case: false,
            root: Route {
                kind: RouteKind::Application,
                path: "/".to_owned(),
                action: RouteAction::Files(Files::of(PathBuf::new())),
                rules: Arc::new(Rules::default()),
                pool: None,
            },
            routes: Vec::new(),
        }
    }

    /// Sends so many bytes; gives how long it took.
    async fn send(share: &mut Share, bytes: usize) -> Duration {
        let begun = Instant::now();
        let mut body = Body::full(vec![7; bytes]);
        let mut sent = 0;
        while let Some(frame) = poll_fn(|cx| share.poll_frame(&mut body, cx)).await {
            sent += frame.unwrap().into_data().unwrap().len();
            assert_eq!(share.held_bytes(), (bytes - sent) as u64);
        }
        assert_eq!(sent, bytes);
        begun.elapsed()
    }

    #[test]
    fn a_site_has_no_more_requests_than_it_may_and_a_change_does_not_forget_them() {
        let loads = SiteLoads::default();
        assert!(LimitedSite::new(&site(None, None), &loads).is_none());
        let two = LimitedSite::new(&site(Some(2), None), &loads).unwrap();
        let shares = [two.begin().unwrap(), two.begin().unwrap()];
        assert_eq!(two.begin().err().unwrap().status(), 503);
        drop(two);
        let three = LimitedSite::new(&site(Some(3), None), &loads).unwrap();
        let third = three.begin().unwrap();
        assert!(three.begin().is_err());
        drop(shares);
        let fourth = three.begin().unwrap();
        let tunnel = three.go_on();
        drop((third, fourth));
        let _two_more = [three.begin().unwrap(), three.begin().unwrap()];
        assert!(three.begin().is_err(), "a tunnel counts");
        drop(tunnel);
        assert!(three.begin().is_ok());
        let mut other = site(Some(1), None);
        other.id = SiteId(2);
        assert!(LimitedSite::new(&other, &loads).unwrap().begin().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn the_bytes_of_all_answers_leave_at_the_pace_of_the_site() {
        let loads = SiteLoads::default();
        let limited = LimitedSite::new(&site(None, Some(100_000)), &loads).unwrap();
        let (mut one, mut two) = (limited.begin().unwrap(), limited.begin().unwrap());
        let begun = Instant::now();
        let (first, second) = tokio::join!(send(&mut one, 300_000), send(&mut two, 300_000));
        let took = begun.elapsed().as_secs_f64();
        assert!((5.5..=6.2).contains(&took), "{took}");
        let apart = first.abs_diff(second);
        assert!(apart < Duration::from_millis(600), "each gets its part: {first:?} {second:?}");
        // After a pause there is a burst again, and no more than that.
        tokio::time::sleep(Duration::from_secs(60)).await;
        let took = send(&mut one, 100_000).await.as_secs_f64();
        assert!((0.5..=1.1).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_small_answer_does_not_wait_for_a_large_one_to_end() {
        let loads = SiteLoads::default();
        let limited = LimitedSite::new(&site(None, Some(100_000)), &loads).unwrap();
        let (mut large, mut small) = (limited.begin().unwrap(), limited.begin().unwrap());
        let long = tokio::spawn(async move { send(&mut large, 1_000_000).await });
        tokio::time::sleep(Duration::from_secs(1)).await;
        let took = send(&mut small, 1000).await;
        assert!(took < Duration::from_millis(400), "{took:?}");
        assert!(long.await.unwrap() > Duration::from_secs(9));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_given_up_gives_its_time_back() {
        let loads = SiteLoads::default();
        let limited = LimitedSite::new(&site(None, Some(1000)), &loads).unwrap();
        send(&mut limited.begin().unwrap(), 1000).await;
        for _ in 0..100 {
            let mut share = limited.begin().unwrap();
            let mut body = Body::full(vec![7; 512]);
            let polled = poll_fn(|cx| Poll::Ready(share.poll_frame(&mut body, cx).is_pending()));
            assert!(polled.await);
        }
        let took = send(&mut limited.begin().unwrap(), 512).await;
        assert!(took < Duration::from_secs(2), "{took:?}");
    }

    #[test]
    fn extreme_paces_are_paces() {
        for pace in [1, 511, 100_000, u64::MAX] {
            assert!((THROTTLED_FRAME_BYTES_MIN..=FILE_CHUNK_BYTES).contains(&piece(pace)));
            assert!(time(usize::MAX, pace) >= time(1, pace));
        }
    }
}
